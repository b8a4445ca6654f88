-- A night on which many ids of the SIS are other ones: no one is created twice, archived or taken for another, until
-- someone moves the links. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION held(wanted bigint DEFAULT last_run(), OUT action text, OUT category text, OUT number bigint,
    OUT state_reason text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT c.action, c.category, count(*), c.state_reason FROM changes c WHERE c.run = wanted AND c.state = 'held'
    GROUP BY c.action, c.category, c.state_reason ORDER BY c.action, c.category
$$;
CREATE FUNCTION everybody() RETURNS text LANGUAGE sql AS $$ SELECT md5(string_agg(p::text, '' ORDER BY person_id))
    FROM people p $$;
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 9) n;
SELECT stage('s10', 'student', 'Sam10', 'Day'), stage('s11', 'student', 'Sam11', 'Day', email => 'sam11@x'),
    stage('s12', 'student', 'Sam12', 'Day');
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', identifier => 't' || n, username => 'kim' || n)
    FROM generate_series(1, 4) n;
SELECT stage('a1', 'administrator', 'Kim1', 'Day', username => 'kim1');
SELECT stage('a' || n, 'administrator', 'Lou' || n, 'Day', identifier => 'a' || n) FROM generate_series(2, 9) n;
SELECT FROM run_merge();
UPDATE people SET role = 'manager' WHERE identifier = '8';
UPDATE people SET role = 'leader' WHERE identifier = '9';
UPDATE people SET archived_at = '2026-01-01' WHERE identifier = '7';
UPDATE links SET archived_run = 1 WHERE sourced_id = 's7';
SELECT everybody() AS before \gset

-- students and teachers have new ids, of the others one. s10 and s12 have no key; s6 is gone indeed, and n1 is new
DELETE FROM staged_users WHERE connection = 'north';
SELECT stage('new-s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, grade => '9')
    FROM unnest(ARRAY[1, 2, 3, 4, 5, 7, 8, 9]) n;
SELECT stage('new-s10', 'student', 'Sam10', 'Day'), stage('new-s11', 'student', 'Sam11', 'Day', email => 'SAM11@x'),
    stage('s12', 'student', 'Sam12', 'Day'),
    stage('n1', 'student', 'New', 'Comer', identifier => '77');
SELECT stage('new-t' || n, 'teacher', 'Kim' || n, 'Day', identifier => 't' || n, username => 'kim' || n)
    FROM generate_series(1, 4) n;
SELECT stage('new-a1', 'administrator', 'Kim1', 'Day', username => 'kim1');
SELECT stage('new-a2', 'administrator', 'Lou2', 'Day', identifier => 'a2');
SELECT stage('a' || n, 'administrator', 'Lou' || n, 'Day', identifier => 'a' || n) FROM generate_series(3, 8) n;
SELECT stage('n2', 'administrator', 'New', 'Admin', identifier => 'a77');
SELECT FROM run_merge('preview');
SELECT * FROM held();
SELECT refused(format('SELECT roster_relink(%s)', last_run()));
SELECT FROM run_merge();
SELECT * FROM held();
-- of the admins, who are too few to count, links move, and who is gone or new is
SELECT action, category, ids, rule, state FROM shown() WHERE state <> 'held';
SELECT action, person, ids, before, after, rule FROM shown() WHERE state = 'held' AND category = 'student';
SELECT outcomes();
SELECT * FROM (SELECT created, linked, updated, archived, held, skipped FROM runs WHERE run = last_run()) r;
SELECT count(*) FROM people WHERE identifier IN ('1', '2', '3', '4', '5', '77') OR given_name IN ('Sam10', 'Sam12');
SELECT count(*) FILTER (WHERE missed_since IS NOT NULL), count(*) FROM links WHERE category = 'student';
SELECT roster_report(last_run()) ~ '^Action needed: 13 IDs changed in the SIS and 2 archives on hold\.';
SELECT part, content ->> 'title', jsonb_pretty(content -> 'items') FROM report_parts(last_run()) WHERE part = 'decision'
    AND content ->> 'title' LIKE '%IDs%';
SELECT roster_report(last_run()) ~ format('SELECT minga_roster\.roster_relink\(%s\);', last_run());
SELECT report_subject(last_run());
SELECT held, blocked_reason FROM roster_status WHERE connection = 'north';
-- so night after night
SELECT everybody() AS before \gset
SELECT FROM run_merge();
SELECT * FROM held();
SELECT state, count(*) FROM changes WHERE action = 'link' AND category = 'student' GROUP BY state ORDER BY state;
SELECT everybody() = :'before';
-- an approval takes archives and nothing else
SELECT last_run() AS judged \gset
SELECT FROM run_merge('approve', :judged);
SELECT * FROM held(:judged);
SELECT identifier, given_name FROM people WHERE archived_at IS NOT NULL ORDER BY identifier, given_name;

-- one student is listed by the former id again, another is no longer linked
UPDATE links SET missed_since = NULL WHERE sourced_id = 's1';
UPDATE changes SET person_id = 'gone' WHERE run = :judged AND sourced_ids = ARRAY['new-s3'];
SELECT roster_relink(:judged);
SELECT sourced_ids, state, state_reason FROM changes WHERE run = :judged AND action = 'link'
    AND category IN ('student', 'teacher') ORDER BY sourced_ids;
SELECT sourced_id, category, role_written, rule, linked_run = (SELECT min(run) FROM runs WHERE connection = 'north')
    AS first, missed_since IS NULL AS listed, archived_run
FROM links WHERE sourced_id LIKE 'new-%' ORDER BY sourced_id;
SELECT refused(format('SELECT roster_relink(%s)', :judged));
UPDATE links SET missed_since = now() WHERE sourced_id = 's1';
-- the next sync goes on
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
SELECT * FROM held();
SELECT sourced_id, category FROM links WHERE sourced_id LIKE 'new-%1' ORDER BY sourced_id;
SELECT refused(format('SELECT roster_relink(%s)', :judged - 1));
SELECT refused(format('SELECT roster_relink(%s)', last_run()));
SELECT refused('SELECT roster_relink(NULL)');

-- fewer than five, or fewer than a third: links move
SELECT clear();
SELECT toggle(archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 4) n;
SELECT FROM run_merge();
UPDATE staged_users SET sourced_id = 'x' || sourced_id WHERE connection = 'north';
SELECT FROM run_merge();
SELECT action, ids, state FROM shown();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(5, 20) n;
SELECT FROM run_merge();
UPDATE staged_users SET sourced_id = 'y' || sourced_id WHERE connection = 'north' AND identifier::int <= 6;
SELECT FROM run_merge();
SELECT action, ids, state FROM shown();
UPDATE staged_users SET sourced_id = 'z' || sourced_id WHERE connection = 'north' AND identifier::int <= 7;
SELECT FROM run_merge();
SELECT action, ids, state FROM shown();
-- where a delta is due, all is read until the links are moved and the next sync has gone on
SELECT FROM roster_configure('north', delta => true);
UPDATE connections SET newest_modified = '-infinity' WHERE connection = 'north';
UPDATE staged_users SET date_last_modified = '2026-09-01T08:00:00.000Z' WHERE connection = 'north';
SELECT FROM run_merge();
SELECT newest_modified FROM connections WHERE connection = 'north';
SELECT roster_relink(last_run());
SELECT newest_modified FROM connections WHERE connection = 'north';
UPDATE connections SET newest_modified = '-infinity' WHERE connection = 'north';
SELECT FROM run_merge();
SELECT newest_modified FROM connections WHERE connection = 'north';
-- a preview that was applied holds them too; an undo of what carried them out moves the links back
SELECT clear();
SELECT toggle(archive => true, auto_update => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 6) n;
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT string_agg(to_jsonb(l)::text, ' ' ORDER BY sourced_id) AS before FROM links l WHERE connection = 'north' \gset
UPDATE staged_users SET sourced_id = 'x' || sourced_id WHERE connection = 'north';
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT refused(format('SELECT roster_relink(%s)', :preview));
SELECT FROM run_merge('apply', :preview);
SELECT last_run() AS applied \gset
SELECT action, ids, state FROM shown(:preview);
SELECT count(*) FILTER (WHERE missed_since IS NOT NULL), count(*) FROM links WHERE connection = 'north';
SELECT roster_relink(:applied);
SELECT linked();
SELECT FROM run_merge('undo', :first);
SELECT created, archived, unchanged FROM runs WHERE run = last_run();
SELECT DISTINCT regexp_replace(state_reason, '\d+', 'N') FROM changes WHERE run = :first;
SELECT FROM run_merge('undo', :applied);
SELECT DISTINCT state FROM changes WHERE run = :preview;
SELECT string_agg(to_jsonb(l)::text, ' ' ORDER BY sourced_id) = :'before' FROM links l WHERE connection = 'north';
-- a connection that is unproven, since it was led to another SIS, is proven once its people are known again
UPDATE connections SET unproven = true, unproven_since = now() WHERE connection = 'north';
SELECT stage('s7', 'student', 'Sam7', 'Day', identifier => '7');
SELECT FROM run_merge();
SELECT unproven, roster_relink(last_run()) FROM connections WHERE connection = 'north';
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
SELECT count(*) FROM people;
\set ECHO none
\i :fixture_end
