-- What a run noticed of the roster: inactive people, fields and categories that vanished, roles that are missing,
-- unknown or over. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION found(wanted bigint DEFAULT last_run()) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', f.finding, f.category, f.amount, f."of", CASE WHEN f.needs_look THEN 'look' END,
        finding_text(f.finding, f.category, f.amount, f."of", f.detail))
    FROM minga_roster.run_findings f WHERE f.run = wanted ORDER BY f.position
$$;

-- a roster as it should be
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, email => 's' || n || '@x.example',
    grade => '9') FROM generate_series(1, 12) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', email => 't' || n || '@x.example') FROM generate_series(1, 3) n;
SELECT stage('a' || n, 'administrator', 'Lou' || n, 'Day') FROM generate_series(1, 2) n;
SELECT FROM run_merge();
SELECT found();
SELECT category, people, inactive, filled -> 'identifier' AS identifier FROM run_figures WHERE run = last_run()
    ORDER BY 1;

-- inactive and disabled people stay, and are told: some, and all of a category, which someone should look at, once
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1', email => 's1@x.example', grade => '9',
    status => 'inactive');
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, email => 's' || n || '@x.example',
    grade => '9', enabled => false) FROM generate_series(2, 3) n;
SELECT FROM run_merge();
SELECT found();
SELECT findings FROM roster_status WHERE connection = 'north';
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', email => 't' || n || '@x.example', enabled => false)
    FROM generate_series(1, 3) n;
SELECT FROM run_merge('preview');
SELECT found();
SELECT FROM run_merge();
SELECT found();
SELECT FROM run_merge();
SELECT found();
SELECT count(*) FROM people WHERE archived_at IS NULL;
-- half of a category and more is worth a look too; who has no account here gets none
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', enabled => false) FROM generate_series(21, 40) n;
SELECT FROM run_merge();
SELECT found();
SELECT unstage(VARIADIC ARRAY(SELECT 's' || n FROM generate_series(1, 12) n));
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', email => 't' || n || '@x.example') FROM generate_series(1, 3) n;
SELECT FROM run_merge();
SELECT found();

-- a field that vanishes for a category; one that few have; one that most lose
SELECT clear();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, email => 's' || n || '@x.example',
    grade => '9', phone => CASE WHEN n = 1 THEN '1' END) FROM generate_series(1, 40) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', identifier => 't' || n) FROM generate_series(1, 3) n;
SELECT FROM run_merge();
UPDATE staged_users SET identifier = NULL, phone = NULL WHERE role = 'student';
UPDATE staged_users SET email = NULL WHERE role = 'student' AND sourced_id NOT IN ('s1', 's2', 's3');
SELECT FROM run_merge('preview');
SELECT found();
SELECT FROM run_merge();
SELECT found();
SELECT count(identifier), count(email) FROM people WHERE role = 'student';
SELECT FROM run_merge();
SELECT found();
-- compared with what was applied, not with a delta, nor with another school
UPDATE staged_users SET identifier = sourced_id WHERE role = 'student';
SELECT FROM run_merge();
UPDATE staged_users SET identifier = NULL WHERE role = 'student';
SELECT FROM run_merge(is_full => false);
SELECT found();
SELECT count(*) FROM run_figures WHERE run = last_run();
BEGIN;
UPDATE connections SET unproven_since = clock_timestamp() WHERE connection = 'north';
SELECT FROM run_merge();
SELECT found();
ROLLBACK;
SELECT FROM run_merge();
SELECT found();

-- a category that is gone, with its toggle on and its list read
SELECT clear();
SELECT stage('s1', 'student', 'Sam', 'Day'), stage('t1', 'teacher', 'Kim', 'Day'),
    stage('a' || n, 'administrator', 'Lou' || n, 'Day') FROM generate_series(1, 3) n;
SELECT FROM run_merge();
SELECT unstage('a1', 'a2', 'a3');
BEGIN;
SELECT toggle(roster => false, category => 'admin');
SELECT FROM run_merge();
SELECT found();
ROLLBACK;
SELECT FROM run_merge();
SELECT found();
SELECT FROM run_merge();
SELECT found();

-- rows without a role, and with roles that no rule knows: five are named
SELECT stage('n' || n, NULL, 'No' || n, 'Role') FROM generate_series(1, 3) n;
SELECT stage('x1', 'nurse', 'Ann', 'Lee'), stage('x2', 'nurse', 'Bo', 'Ray'),
    stage('x3', 'coach', 'Cy', 'Fox', status => 'tobedeleted');
SELECT FROM run_merge();
SELECT found();
SELECT stage('y' || n, 'role ' || repeat('x', 60) || n, 'Ann', 'Lee') FROM generate_series(1, 2) n;
SELECT stage('z' || n, 'role ' || n, 'Ann', 'Lee') FROM generate_series(1, 7) n;
SELECT FROM run_merge();
SELECT found();

-- lists that were not read whole: told as new once, and still said
SELECT clear();
SELECT stage('s1', 'student', 'Sam', 'Day'), stage('t1', 'teacher', 'Kim', 'Day');
INSERT INTO unread VALUES ('students');
SELECT FROM run_merge();
SELECT found();
SELECT FROM run_merge();
SELECT found();
-- another cause is news
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, is_full)
    VALUES ('north', 'north', 'sync', 'manual', 'running', 'test', true);
INSERT INTO collections (run, collection, family, complete, proof, rows, distinct_ids, claimed_total, weak_cause)
VALUES (last_run(), 'students', 'student', false, 'weak', 1, 1, 2497, 'total_larger'),
    (last_run(), 'teachers', 'staff', true, 'total', 1, 1, 1, NULL);
SELECT merge_as_worker(last_run());
UPDATE runs SET state = 'succeeded', finished_at = clock_timestamp() WHERE run = last_run();
SELECT found();
SELECT f.detail FROM minga_roster.run_findings f WHERE f.run = last_run();
-- the run's row says it once its fetch is over
INSERT INTO runs (connection, site, kind, trigger, state, requested_by)
    VALUES ('north', 'north', 'sync', 'manual', 'running', 'test');
INSERT INTO collections (run, collection, family, complete, proof, rows, distinct_ids)
    VALUES (last_run(), 'students', 'student', false, 'weak', 10, 10);
SELECT settle_read(last_run());
SELECT is_full, incomplete FROM runs WHERE run = last_run();
UPDATE runs SET state = 'succeeded', finished_at = clock_timestamp() WHERE run = last_run();
SELECT last_state FROM roster_status WHERE connection = 'north';

-- roles of the school's own list of one category are told by the list; roles that have all ended are said
SELECT clear();
SELECT stage('s1', NULL, 'Sam', 'Day'), stage('s2', 'student', 'Kim', 'Day'),
    stage('s3', NULL, 'Bad', 'Day', damaged => true), stage('d1', NULL, 'No', 'Role');
UPDATE staged_users SET collection = 'students' WHERE sourced_id LIKE 's%';
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, is_full)
    VALUES ('north', 'north', 'preview', 'manual', 'running', 'test', true);
INSERT INTO collections (run, collection, family, complete, proof, rows, distinct_ids, elsewhere, roles_ended)
VALUES (last_run(), 'students', 'student', true, 'total', 3, 3, 0, 0),
    (last_run(), 'teachers', 'staff', true, 'total', 12, 12, 12, 12),
    (last_run(), 'administrators', 'staff', true, 'total', 20, 20, 12, 8);
SELECT settle_stage(last_run(), 'north');
SELECT sourced_id, role FROM staged_users WHERE connection = 'north' ORDER BY 1;
SELECT collection, without_role FROM collections WHERE run = last_run() ORDER BY 1;
SELECT merge_as_worker(last_run());
SELECT found();
SELECT action, ids FROM shown();
\set ECHO none
\i :fixture_end
