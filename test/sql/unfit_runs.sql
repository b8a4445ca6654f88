-- Approve, apply and undo of runs that are not fit for it: each with a clear error, and no one is changed.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION all_now() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    people_now text := 'dropped';
BEGIN
    IF to_regclass('people') IS NOT NULL THEN
        EXECUTE 'SELECT string_agg(p::text, '' '' ORDER BY site, person_id) FROM people p' INTO people_now;
    END IF;
    RETURN md5(
        concat_ws(' ', people_now, (SELECT string_agg(l::text, ' ' ORDER BY connection, sourced_id) FROM links l),
        (SELECT string_agg(c::text, ' ' ORDER BY run, change) FROM changes c),
        (SELECT string_agg(c::text, ' ' ORDER BY connection) FROM connections c)));
END
$$;
-- what each of the three, or some of them, makes of a run
CREATE FUNCTION unfit(target bigint, kinds text[] DEFAULT '{apply,approve,undo}',
    connection text DEFAULT 'north') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    before text := all_now();
    kind text;
    answer text;
BEGIN
    FOREACH kind IN ARRAY kinds LOOP
        answer := refused(format('SELECT run_merge(%L, %L, %L)', kind, target, connection));
        RETURN NEXT kind || ': ' || regexp_replace(answer, '(roster_undo\(|OID )\d+', '\1N', 'g') || CASE
            WHEN all_now() = before THEN '' ELSE E'\nCHANGED' END;
    END LOOP;
END
$$;
CREATE FUNCTION row_of(kind text, state text DEFAULT 'succeeded', of_run bigint DEFAULT NULL) RETURNS bigint
    LANGUAGE sql AS $$
    INSERT INTO runs (connection, site, kind, trigger, of_run, state, requested_by, finished_at)
    VALUES ('north', 'north', kind, 'manual', of_run, state, 'test', CASE WHEN state IN ('queued', 'running') THEN NULL
    ELSE clock_timestamp() END) RETURNING run
$$;
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', grade => '3') FROM generate_series(1, 8) n;

-- no number, and one that is none
SELECT unfit(NULL);
SELECT unfit(0);

-- kinds that plan nothing, hold nothing, change no one
SELECT unfit(row_of(k)) FROM unnest('{test,fetch,diagnose}'::text[]) k;
-- a sync that did nothing, and what was done to it
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT FROM run_merge();
SELECT unfit(last_run());
SELECT unfit(row_of('approve', of_run => :first));
SELECT unfit(row_of('undo', of_run => :first), '{apply,approve}');
SELECT unfit(row_of('undo', of_run => :first), '{undo}');
DELETE FROM runs WHERE of_run = :first;

-- unfinished, broken off, failed
SELECT stage('n1', 'student', 'Nia', 'Fox', grade => '3'), stage('s1', 'student', 'Sam1', 'Day', grade => '4'),
    unstage('s5', 's6', 's7', 's8');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
BEGIN;
UPDATE runs SET state = 'queued', finished_at = NULL WHERE run IN (:preview, :first);
SELECT unfit(:preview);
SELECT unfit(:first, '{approve,undo}');
UPDATE runs SET state = 'running', finished_at = NULL WHERE run IN (:preview, :first);
SELECT unfit(:preview);
SELECT unfit(:first, '{approve,undo}');
UPDATE runs SET state = 'failed', finished_at = now() WHERE run IN (:preview, :first);
SELECT unfit(:preview);
SELECT unfit(:first, '{approve,undo}');
UPDATE runs SET state = 'canceled', finished_at = now() WHERE run IN (:preview, :first);
SELECT unfit(:preview);
SELECT unfit(:first, '{approve,undo}');
ROLLBACK;
-- a preview that was not applied is neither approved nor undone
SELECT unfit(:preview, '{approve,undo}');

-- of another connection, another site, an earlier connection of the name
SELECT connect('second');
SELECT unfit(:preview, '{apply,approve}', 'second');
SELECT unfit(:first, '{approve,undo}', 'second');
BEGIN;
UPDATE connections SET site = 'south' WHERE connection = 'north';
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{approve,undo}');
ROLLBACK;
BEGIN;
UPDATE connections SET created_at = clock_timestamp() WHERE connection = 'north';
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{approve,undo}');
ROLLBACK;

-- older than what is kept, before and after retention
BEGIN;
UPDATE connections SET created_at = '2000-01-01' WHERE connection = 'north';
UPDATE runs SET queued_at = queued_at - (setting('keep_changes')::integer + 1) * interval '1 day'
    WHERE run IN (:preview, :first);
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{undo}');
DELETE FROM changes WHERE run IN (:preview, :first);
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{approve,undo}');
ROLLBACK;

-- the connection was retired, the relation or a column of it dropped
BEGIN;
UPDATE connections SET retired_at = '2026-01-01' WHERE connection = 'north';
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{approve,undo}');
ROLLBACK;
SELECT FROM roster_configure('north', guard_percent => 0, guard_floor => 0);
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
BEGIN;
DROP TABLE people CASCADE;
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{undo}');
ROLLBACK;
BEGIN;
ALTER TABLE people DROP COLUMN phone;
SELECT unfit(:preview, '{apply}');
SELECT unfit(:first, '{undo}');
ROLLBACK;

-- what was done is not done again
SELECT FROM run_merge('apply', :preview);
SELECT last_run() AS apply \gset
SELECT unfit(:preview, '{apply,undo}');
SELECT unfit(:apply, '{apply}');
BEGIN;
DROP TABLE people CASCADE;
SELECT unfit(:preview, '{approve}');
ROLLBACK;
SELECT FROM run_merge('approve', :preview);
SELECT last_run() AS approve \gset
SELECT unfit(:preview);
SELECT unfit(:approve, '{apply,approve}');
SELECT unfit(:apply, '{approve}');
SELECT FROM run_merge('undo', :approve);
SELECT unfit(:approve);
SELECT FROM run_merge('undo', :apply);
SELECT unfit(:apply);
SELECT unfit(last_run());
SELECT string_agg(given_name || coalesce(' ' || grade, '') || CASE WHEN archived_at IS NOT NULL THEN ' archived' ELSE ''
    END, ', ' ORDER BY person_id) FROM people;

-- attached again without a column: what would write it is refused, everyone else is applied; who was written with it is
-- kept by an undo
SELECT FROM run_merge();
SELECT last_run() AS sync \gset
SELECT stage('n2', 'student', 'Noa', 'Fox', grade => '5'), stage('n3', 'student', 'Nic', 'Fox'),
    stage('s2', 'student', 'Sam2', 'Day', grade => '5'), stage('s3', 'student', 'Samuel', 'Day');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
ALTER TABLE people RENAME grade TO class;
SELECT roster_attach_people('people');
SELECT FROM run_merge('apply', :preview);
SELECT action, sourced_ids, state, state_reason FROM changes WHERE run = :preview AND action <> 'archive'
    ORDER BY change;
SELECT FROM run_merge('approve', :preview);
SELECT FROM run_merge('undo', :sync);
SELECT action, sourced_ids, state, regexp_replace(state_reason, '[0-9]+', 'N') FROM changes WHERE run = :sync
    ORDER BY change;
SELECT string_agg(concat_ws(' ', given_name, class, CASE WHEN archived_at IS NOT NULL THEN 'archived' END), ', '
    ORDER BY person_id) FROM people;
\set ECHO none
\i :fixture_end
