-- The guard holds archives back, by category: a share of the week's leavers, half of a category, and all of them while
-- a connection is unproven. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(archive => true);
SELECT stage('s' || lpad(n::text, 3, '0'), 'student', 'Sam' || n, 'Day') FROM generate_series(1, 100) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day') FROM generate_series(1, 6) n;
SELECT stage('a' || n, 'administrator', 'Lou' || n, 'Day') FROM generate_series(1, 3) n;
SELECT FROM run_merge();
CREATE FUNCTION verdicts() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', category, state, count(*), state_reason) FROM changes WHERE run = last_run()
        AND action = 'archive'
    GROUP BY category, state, state_reason ORDER BY category, state
$$;
-- ten of a hundred: not more than ten percent; by category: two of six teachers are fewer than the floor, three of
-- three administrators fewer than four
SELECT unstage(VARIADIC ARRAY(SELECT 's' || lpad(n::text, 3, '0') FROM generate_series(1, 10) n));
SELECT unstage('t1', 't2', 'a1', 'a2');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM run_merge();
SELECT verdicts();
SELECT archived, held FROM runs WHERE run = last_run();
SELECT again();
-- one more within a week is one too many; new people of tonight widen the base; what else is to be done is done
SELECT unstage('s011'), stage('s500', 'student', 'New', 'Day');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT stage('s' || n, 'student', 'New' || n, 'Day') FROM generate_series(501, 515) n;
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT unstage(VARIADIC ARRAY(SELECT 's' || n FROM generate_series(501, 515) n));
SELECT FROM run_merge();
SELECT verdicts();
SELECT created, archived, held FROM runs WHERE run = last_run();
SELECT category, action, count FROM run_counts WHERE run = last_run() AND action IN ('archive', 'held');
SELECT count(*) FROM people WHERE archived_at IS NULL AND given_name = 'Sam11';
-- archives of longer ago, approved ones and people who are back do not count
UPDATE changes SET state_at = state_at - interval '8 days' WHERE action = 'archive' AND state = 'applied'
    AND category = 'student';
SELECT FROM run_merge('preview');
SELECT verdicts();
UPDATE changes SET state_at = now(), state_cause = 'approved' WHERE action = 'archive' AND state = 'applied'
    AND category = 'student';
SELECT FROM run_merge('preview');
SELECT verdicts();
UPDATE changes SET state_cause = NULL WHERE action = 'archive' AND state = 'applied' AND category = 'student';
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT stage('s010', 'student', 'Sam10', 'Day');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT unstage('s010');
SELECT FROM run_merge('preview');
SELECT verdicts();
UPDATE people SET archived_at = NULL WHERE given_name = 'Sam9';
SELECT stage('s009', 'student', 'Sam9', 'Day');
SELECT FROM run_merge('preview');
SELECT verdicts();
-- the floor, the percentage, and half of four or more
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day') FROM generate_series(1, 20) n;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 4) n;
SELECT stage('a' || n, 'administrator', 'Lou' || n, 'Day') FROM generate_series(1, 4) n;
SELECT FROM run_merge();
SELECT unstage('t1', 't2', 't3', 't4', 't5', 's1', 's2', 'a1', 'a2', 'a3');
SELECT stage('a9', 'administrator', 'New', 'Day'), stage('a8', 'administrator', 'Nex', 'Day');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT unstage('t6');
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM roster_configure('north', guard_percent => 30);
SELECT FROM run_merge('preview');
SELECT verdicts();
SELECT FROM roster_configure('north', guard_percent => 10, guard_floor => 6);
SELECT FROM run_merge('preview');
SELECT verdicts();

-- unproven: all are held, until a full sync in which no one is newly missing
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 30) n;
SELECT FROM run_merge();
UPDATE connections SET unproven = true, unproven_since = now() WHERE connection = 'north';
SELECT unstage('s1');
SELECT FROM run_merge();
SELECT verdicts();
SELECT unproven FROM connections WHERE connection = 'north';
SELECT FROM run_merge();
SELECT verdicts();
SELECT unproven FROM connections WHERE connection = 'north';
SELECT stage('s1', 'student', 'Sam1', 'Day');
SELECT FROM run_merge('preview');
SELECT unproven FROM connections WHERE connection = 'north';
INSERT INTO unread VALUES ('students'), ('teachers');
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
DELETE FROM unread;
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
-- with archiving off a leaver is newly missing all the same
UPDATE connections SET unproven = true, unproven_since = now() WHERE connection = 'north';
SELECT toggle(archive => false);
SELECT unstage('s2');
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
-- who was missing before does not matter
UPDATE connections SET unproven_since = now() WHERE connection = 'north';
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
-- who sinks to a category tonight is of its people already tonight: two of five, not two of four; the sync after would
-- judge so
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee'), stage('i1', 'aide', 'Ana', 'Lee', username => 'alee'),
    stage('t2', 'teacher', 'Bo', 'Ray');
SELECT stage('i' || n, 'aide', 'Kim' || n, 'Day') FROM generate_series(2, 5) n;
SELECT FROM run_merge();
SELECT unstage('t1', 'i2', 'i3');
SELECT FROM run_merge();
SELECT verdicts();
SELECT again();
\set ECHO none
\i :fixture_end
