-- From OneRoster 1.1 of Infinite Campus to 1.2: each row tells the id that it had, without the letter of its role. That
-- is exact, and comes before any other key. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
CREATE FUNCTION was(sourced_id text, legacy_id text) RETURNS SETOF void LANGUAGE sql AS $$
    UPDATE staged_users s SET legacy_id = was.legacy_id WHERE s.sourced_id = was.sourced_id
$$;
CREATE FUNCTION moves(wanted bigint DEFAULT last_run()) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' | ', c.category, array_to_string(c.sourced_ids, ' '), c.action, c.rule, c.state,
        (SELECT string_agg(l.sourced_id, ' ' ORDER BY l.sourced_id) FROM links l WHERE l.connection = 'north'
        AND l.person_id = c.person_id))
    FROM changes c WHERE c.run = wanted AND c.action IN ('link', 'create', 'conflict', 'archive', 'update')
    ORDER BY c.category, c.sourced_ids
$$;
\set ECHO all
UPDATE sis SET campus_metadata = true WHERE sis = 'infinite_campus';
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
-- Some have no key; the numbers of students and staff overlap. The only administrator is a teacher, and listed as
-- nothing else later: that list is empty then, and proves nothing of staff.
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => CASE WHEN n < 5 THEN n::text END)
    FROM generate_series(1, 9) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Fox', username => 'kim' || n) FROM generate_series(1, 6) n;
SELECT stage('a1', 'administrator', 'Kim1', 'Fox', username => 'kim1');
SELECT FROM run_merge();

-- s2 and s3 come with each other's number, s9 is gone, one is new; t4 and t5 have one id now, t6 comes as someone of
-- another name
DELETE FROM staged_users WHERE connection = 'north';
SELECT stage('u' || n, 'student', 'Sam' || n, 'Day', identifier => CASE n WHEN 2 THEN '3' WHEN 3 THEN '2' WHEN 4
    THEN '4' END) FROM generate_series(1, 8) n;
SELECT was('u' || n, n::text) FROM generate_series(1, 7) n;
SELECT was('u8', 's8');
SELECT stage('u77', 'student', 'New', 'Comer'), was('u77', '77');
SELECT stage('v' || n, 'teacher', 'Kim' || n, 'Fox', username => 'kim' || n) FROM generate_series(1, 3) n;
SELECT was('v' || n, n::text) FROM generate_series(1, 3) n;
SELECT stage('v4', 'teacher', 'Kim4', 'Fox'), was('v4', '4'), stage('v5', 'teacher', 'Kim4', 'Fox'), was('v5', '4');
SELECT stage('v6', 'teacher', 'Lou', 'Roe'), was('v6', '6');
SELECT FROM run_merge();
SELECT moves();
SELECT DISTINCT state_reason FROM changes WHERE run = last_run() AND state = 'held' AND action = 'link' ORDER BY 1;
SELECT substring(regexp_replace(roster_report(last_run()), '\s+', ' ', 'g') FROM 'They were found by [^.]*[.]');
SELECT count(*) AS people, count(archived_at) AS archived FROM people;
SELECT roster_relink(last_run());
SELECT FROM run_merge();
SELECT moves();
SELECT linked();
SELECT given_name, identifier FROM people WHERE given_name IN ('Sam2', 'Sam3') ORDER BY 1;

-- A few move by themselves; of another SIS nothing of it counts.
SELECT unstage('u1'), stage('w1', 'student', 'Sam1', 'Day'), was('w1', 'u1');
SELECT FROM run_merge();
SELECT moves();
UPDATE sis SET campus_metadata = false WHERE sis = 'infinite_campus';
SELECT unstage('u5'), stage('w5', 'student', 'Sam5', 'Day'), was('w5', 'u5');
SELECT FROM run_merge();
SELECT moves();
\set ECHO none
\i :fixture_end
