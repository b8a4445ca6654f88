-- The guard by the calendar: a season with other limits, a freeze without archives, and grace before someone is
-- archived. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set ECHO none
\set clock '2026-08-01 05:30:00+00'
\i :set_clock
\set ECHO none
\i :fixture
SELECT FROM roster_configure('north', time_zone => 'America/Denver');
\set ECHO all

SELECT toggle(archive => true);
SELECT stage('s' || lpad(n::text, 3, '0'), 'student', 'Sam' || n, 'Day') FROM generate_series(1, 100) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day') FROM generate_series(1, 8) n;
SELECT FROM run_merge();
CREATE FUNCTION verdicts() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', category, state, count(*), state_reason) FROM changes WHERE run = last_run()
        AND action = 'archive'
    GROUP BY category, state, state_reason ORDER BY category, state
$$;
-- the season begins on 1 August: in Denver it is still July
SELECT FROM roster_configure('north', season_dates => '[2026-08-01,2026-09-15]');
SELECT unstage(VARIADIC ARRAY(SELECT 's' || lpad(n::text, 3, '0') FROM generate_series(1, 55) n));
SELECT unstage('t1', 't2', 't3', 't4');
SELECT FROM run_merge('preview');
SELECT verdicts();
\set clock '2026-08-01 06:30:00+00'
\set ECHO none
\i :set_clock
SELECT FROM run_merge('preview');
SELECT verdicts();
-- 61 of 100 are more than 60 percent; an empty list of teachers archives none of them, whatever the season
SELECT unstage(VARIADIC ARRAY(SELECT 's' || lpad(n::text, 3, '0') FROM generate_series(56, 61) n));
SELECT unstage('t5', 't6', 't7', 't8'), stage('a1', 'administrator', 'Lou', 'Day');
SELECT FROM run_merge('preview');
SELECT verdicts();
-- a lower limit than the usual one holds more
SELECT FROM roster_configure('north', season_percent => 5);
SELECT stage('s' || lpad(n::text, 3, '0'), 'student', 'Sam' || n, 'Day') FROM generate_series(1, 54) n;
SELECT FROM run_merge('preview');
SELECT verdicts();
-- a freeze holds one leaver too, and what it held can be approved; unproven says more
SELECT FROM roster_configure('north', freeze_dates => '[2026-07-31,2026-08-01]', season_dates => 'empty');
SELECT stage('s' || lpad(n::text, 3, '0'), 'student', 'Sam' || n, 'Day') FROM generate_series(55, 60) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day') FROM generate_series(1, 8) n;
SELECT FROM run_merge();
SELECT verdicts();
SELECT last_run() AS frozen \gset
SELECT FROM run_merge('approve', :frozen);
SELECT state FROM changes WHERE run = :frozen AND action = 'archive';
SELECT unstage('s060');
UPDATE connections SET unproven = true, unproven_since = now() - interval '100 years' WHERE connection = 'north';
SELECT FROM run_merge('preview');
SELECT verdicts();
UPDATE connections SET unproven = false WHERE connection = 'north';
\set clock '2026-08-02 06:30:00+00'
\set ECHO none
\i :set_clock
SELECT FROM run_merge();
SELECT verdicts();

-- grace: absent in three complete full reads; one that was not read whole does not count, nor does a preview
SELECT FROM roster_configure('north', guard_grace => 3, freeze_dates => 'empty');
SELECT unstage('s059');
SELECT FROM run_merge();
SELECT verdicts();
SELECT missed_run = last_run() AS first_missed FROM links WHERE sourced_id = 's059';
SELECT FROM run_merge('preview');
SELECT verdicts();
INSERT INTO unread VALUES ('students');
SELECT FROM run_merge();
SELECT verdicts();
DELETE FROM unread;
SELECT FROM run_merge();
SELECT verdicts();
-- back in between: counted from the start
SELECT stage('s059', 'student', 'Sam59', 'Day');
SELECT FROM run_merge();
SELECT missed_run FROM links WHERE sourced_id = 's059';
SELECT unstage('s059');
SELECT FROM run_merge();
SELECT verdicts();
SELECT again();
SELECT verdicts();
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM run_merge();
SELECT verdicts();
SELECT again();
\set ECHO none
\i :fixture_end
\set clock ''
\i :set_clock
