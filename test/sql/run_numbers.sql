-- The numbers of a run are the same wherever they stand: in its row, its counts, its changes and its report.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION numbers(OUT what text, OUT of_run bigint, OUT of_counts bigint, OUT of_changes bigint,
    OUT reported text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT w.what, w.of_run,
        (SELECT coalesce(sum(c.count), 0) FROM run_counts c WHERE c.run = r.run AND c.action = w.what),
        (SELECT count(*) FROM changes c WHERE c.run = r.run AND c.action = w.what AND c.state = w.state),
        substring(roster_report(r.run) FROM '(\d+ ' || w.what || ')')
    FROM runs r CROSS JOIN LATERAL (VALUES ('conflict', r.conflicts, 'noted'), ('reject', r.rejects, 'noted'),
    ('create', r.created, 'applied'),
        ('update', r.updated, 'applied'), ('link', r.linked, 'applied'), ('restore', r.restored, 'applied'),
        ('archive', r.archived, 'applied')) w (what, of_run, state)
    WHERE r.run = last_run()
$$;

-- a person of several rows who could be either of two people is one conflict
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'teacher', 'Ana', 'Lee', '1'),
    ('north', 'teacher', 'Ana', 'Lee', '1'),
    ('north', 'student', 'Bo', 'Ray', '2'), ('north', 'student', 'Cy', 'Fox', '3');
SELECT toggle(auto_update => true, archive => true);
SELECT stage('t1', 'teacher', 'Ana', 'Lee', identifier => '1', username => 'alee'),
    stage('a1', 'administrator', 'Ana', 'Lee', identifier => '1', username => 'alee'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '2', grade => '9'), stage('s4', 'student', 'Di', NULL),
    stage('s5', 'student', 'Ed', 'Gum', damaged => true),
    stage('s6', 'student', 'Flo', 'Hay', identifier => '6');
SELECT FROM run_merge();
SELECT * FROM numbers();
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT (SELECT sum(count) FROM run_counts WHERE run = last_run()) = (SELECT count(*) FROM staged_users
    WHERE connection = 'north');
SELECT outcomes();
-- rows without a sourcedId are no one's reject: they are told by themselves
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, is_full)
    VALUES ('north', 'north', 'sync', 'manual', 'running', 'test', true);
INSERT INTO collections (run, collection, family, complete, proof, rows, distinct_ids, without_id)
VALUES (last_run(), 'students', 'student', false, 'total', 7, 5, 2), (last_run(), 'teachers', 'staff', true, 'total', 1,
    1, 0), (last_run(), 'administrators', 'staff', true, 'total', 1, 1, 0);
SELECT merge_as_worker(last_run());
UPDATE runs SET state = 'succeeded', finished_at = clock_timestamp() WHERE run = last_run();
SELECT * FROM numbers() WHERE what IN ('conflict', 'reject');
SELECT f.finding, f.amount, f.detail FROM minga_roster.run_findings f WHERE f.run = last_run() ORDER BY f.position;
-- an applied preview has the numbers of its changes
SELECT stage('s7', 'student', 'Gil', 'Ivy');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge('apply', :preview);
SELECT r.conflicts, r.rejects, r.created,
    (SELECT count(*) FROM changes c WHERE c.run = :preview AND c.action = 'conflict') AS conflict_changes,
    (SELECT count(*) FROM changes c WHERE c.run = :preview AND c.action = 'reject') AS reject_changes
FROM runs r WHERE r.run = last_run();
\set ECHO none
\i :fixture_end
