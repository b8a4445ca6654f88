-- Archive as a status: what is archived, restored, created and taken back, with statuses that no one has told of.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

ALTER TABLE people ADD status text DEFAULT 'NEW';
SELECT roster_attach_people('people', '{"archived_at": "status"}',
    archive_words => '{"active": "ACTIVE", "archived": "ARCHIVED"}');
CREATE FUNCTION statuses() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(given_name || '=' || coalesce(status, '-'), ' ' ORDER BY given_name) FROM people
        WHERE status IS DISTINCT FROM 'ACTIVE' $$;
CREATE FUNCTION moved(wanted bigint DEFAULT last_run()) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', action, sourced_ids[1], before, after, state) FROM changes WHERE run = wanted
        ORDER BY change $$;
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT toggle(archive => true);
-- created with the word for active, whatever the column's default
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 40) n;
SELECT FROM run_merge();
SELECT * FROM moved() LIMIT 1;
SELECT status, count(*) FROM people GROUP BY 1;
SELECT again();
-- any other status, and none, is not archived; who was archived by hand gets the word for active
UPDATE people SET status = 'SUSPENDED' WHERE given_name = 'Sam1';
UPDATE people SET status = NULL WHERE given_name = 'Sam2';
UPDATE people SET status = 'archived' WHERE given_name = 'Sam3';
UPDATE people SET status = 'ARCHIVED' WHERE given_name = 'Sam4';
SELECT FROM run_merge('preview');
SELECT * FROM moved();
SELECT FROM run_merge();
SELECT statuses();
SELECT again();
-- archived with what was there before, brought back to it
SELECT unstage('s1', 's2', 's3', 's5');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT statuses();
SELECT again();
UPDATE people SET grade = '7' WHERE given_name = 'Sam5';
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1'),
    stage('s2', 'student', 'Sam2', 'Day', identifier => '2'),
    stage('s55', 'student', 'Sam5', 'Day', identifier => '5');
SELECT FROM run_merge();
SELECT last_run() AS back \gset
SELECT * FROM moved();
SELECT statuses();
SELECT again();
-- undo of it: archived again, with their status kept for the next time
SELECT FROM run_merge('undo', :back);
SELECT statuses();
SELECT state FROM changes WHERE run = :back;
SELECT FROM run_merge();
SELECT statuses();

-- undo of an archive brings the third status back, and none where there was none
SELECT unstage('s1', 's2', 's6');
SELECT FROM run_merge();
SELECT last_run() AS gone \gset
SELECT statuses();
UPDATE people SET status = 'EXPELLED' WHERE given_name = 'Sam6';
SELECT FROM run_merge('undo', :gone);
SELECT sourced_ids, state, state_reason LIKE 'Undone%' OR state_reason = 'The person was changed in the meantime.'
    FROM changes WHERE run = :gone ORDER BY change;
SELECT statuses();
-- undo of a create archives
SELECT stage('s8', 'student', 'Sam8', 'Day');
SELECT unstage('s1', 's2', 's6');
SELECT FROM run_merge();
SELECT FROM run_merge('undo', last_run());
SELECT statuses();

-- who has another status than the plan saw is refused
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1'),
    stage('s2', 'student', 'Sam2', 'Day', identifier => '2'),
    stage('s6', 'student', 'Sam6', 'Day', identifier => '6');
SELECT unstage('s8');
SELECT FROM run_merge();
SELECT statuses();
SELECT unstage('s1', 's2', 's6');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT * FROM moved();
UPDATE people SET status = 'AWAY' WHERE given_name = 'Sam1';
SELECT FROM run_merge('apply', :preview);
SELECT sourced_ids, before, after, state, state_reason FROM changes WHERE run = :preview ORDER BY change;
SELECT statuses();
-- what an apply archived comes back as it was too
SELECT stage('s2', 'student', 'Sam2', 'Day', identifier => '2');
SELECT FROM run_merge();
SELECT * FROM moved();
-- and what was held and approved
SELECT FROM roster_configure('north', guard_percent => 0, guard_floor => 0);
UPDATE people SET status = 'SUSPENDED' WHERE given_name = 'Sam7';
SELECT unstage('s7');
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT * FROM moved();
SELECT FROM run_merge('approve', :held);
SELECT * FROM moved(:held);
SELECT statuses();
SELECT stage('s7', 'student', 'Sam7', 'Day', identifier => '7');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT statuses();

-- a boolean, the other way round
SELECT clear();
ALTER TABLE people DROP status, ADD is_active boolean NOT NULL DEFAULT true;
SELECT roster_attach_people('people', '{"archived_at": "is_active"}',
    archive_words => '{"active": true, "archived": false}');
SELECT toggle(archive => true, auto_update => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 12) n;
SELECT FROM run_merge();
SELECT unstage('s1'), stage('s2', 'student', 'Sam2', 'Day', identifier => '2', grade => '3');
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT * FROM moved();
SELECT string_agg(given_name, ' ') FROM people WHERE NOT is_active;
SELECT again();
SELECT stage('s1', 'student', 'Sammy', 'Day', identifier => '1');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT FROM run_merge('undo', last_run());
SELECT given_name FROM people WHERE NOT is_active;
SELECT FROM run_merge('undo', :night);
SELECT count(*) FILTER (WHERE is_active), count(grade) FROM people;

-- from a time to a status: what was archived before stays so in neither
SELECT clear();
SELECT roster_attach_people('people');
SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 12) n;
SELECT FROM run_merge();
SELECT unstage('s1');
SELECT FROM run_merge();
SELECT last_run() AS timed \gset
UPDATE people SET is_active = archived_at IS NULL;
SELECT roster_attach_people('people', '{"archived_at": "is_active"}',
    archive_words => '{"active": true, "archived": false}');
SELECT again();
SELECT FROM run_merge('undo', :timed);
SELECT state, state_reason FROM changes WHERE run = :timed;
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1');
SELECT FROM run_merge();
SELECT * FROM moved();
\set ECHO none
\i :fixture_end
