-- Absence is judged in families that were read whole; who is listed in any form is present.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 9) n;
SELECT stage('t' || n, 'teacher', 'Kim' || n, 'Day', identifier => 't' || n, username => 'kim' || n)
    FROM generate_series(1, 9) n;
SELECT FROM run_merge();
SELECT linked();
-- staff: an administrators collection without anyone ever linked may be empty; students: not read whole
INSERT INTO unread VALUES ('students');
SELECT unstage('s1', 't1');
SELECT FROM run_merge('preview');
SELECT * FROM shown();
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
DELETE FROM unread;
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
SELECT missed_run = archived_run FROM links WHERE sourced_id = 's1';
-- every link has to be proved absent
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
SELECT 'north', 'old-' || sourced_id, 'north', person_id, 'teacher', 'new', 1 FROM links WHERE sourced_id = 's9';
SELECT unstage('s9');
INSERT INTO unread VALUES ('teachers');
SELECT FROM run_merge();
SELECT * FROM shown();
DELETE FROM unread;
DELETE FROM links WHERE sourced_id = 'old-s9';
SELECT stage('s9', 'student', 'Sam9', 'Day', identifier => '9');
SELECT FROM run_merge();
SELECT * FROM shown();
-- all collections of a family are needed
SELECT unstage('t2');
INSERT INTO unread VALUES ('administrators');
SELECT FROM run_merge();
SELECT * FROM shown();
DELETE FROM unread;
-- a collection that had people and is empty proves nothing
SELECT stage('a1', 'administrator', 'Lou', 'Day');
SELECT stage('t2', 'teacher', 'Kim2', 'Day', identifier => 't2', username => 'kim2');
SELECT FROM run_merge();
SELECT unstage('a1', 't2');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT stage('a9', 'administrator', 'New', 'Day');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
-- inactive, disabled, damaged, of an unknown status, and of a contact's role: present. tobedeleted: absent
SELECT stage('s2', 'student', 'Sam2', 'Day', status => 'inactive'),
    stage('s3', 'student', 'Sam3', 'Day', enabled => false), stage('s4', 'student', 'Sam4', 'Day', damaged => true),
    stage('s5', 'student', 'Sam5', 'Day', status => 'pending'), stage('s6', 'guardian', 'Sam6', 'Day'),
    stage('s7', 'student', 'Sam7', 'Day', status => 'tobedeleted');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
-- a row of another id that could be the person keeps the person, though it is unreadable or its category is off
SELECT unstage('s8'), stage('s8b', 'student', 'Sam8', 'Day', identifier => '8', damaged => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT unstage('s8b'), unstage('t3'), stage('i3', 'aide', 'Kim3', 'Day', identifier => 't3');
SELECT toggle(roster => false, category => 'staff');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT archived_at IS NULL FROM people WHERE identifier = 't3';
SELECT toggle(roster => true);
SELECT unstage('i3');
-- listed in another category
SELECT unstage('t4'), stage('a4', 'administrator', 'Kim4', 'Day', username => 'kim4');
SELECT stage('t4', 'teacher', 'Kim4', 'Day', identifier => 't4', username => 'kim4');
SELECT FROM run_merge();
SELECT unstage('t4');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT unstage('a4');
SELECT FROM run_merge();
SELECT * FROM shown();
-- archive is off, or the category is not rostered
SELECT toggle(archive => false, category => 'teacher');
SELECT unstage('t5');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT missed_since IS NOT NULL FROM links WHERE sourced_id = 't5';
SELECT toggle(archive => true, roster => false, category => 'teacher');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT toggle(roster => true);

-- another connection's live link: never archived; its columns belong to who linked first
SELECT connect('second');
SELECT FROM roster_toggle('second', archive => true, auto_update => true);
SELECT stage('x5', 'teacher', 'Kimberly', 'Day', identifier => 't5', connection => 'second'),
    stage('x6', 'teacher', 'Ken', 'Day', identifier => 't6', connection => 'second'),
    stage('y1', 'teacher', 'Own', 'Day', identifier => 'y1', connection => 'second');
SELECT FROM run_merge(connection => 'second');
SELECT * FROM shown();
SELECT FROM run_merge();
SELECT * FROM shown();
-- t5 was missing in the first connection, so the second one owns it
SELECT linked();
SELECT unstage('x6');
SELECT FROM run_merge(connection => 'second');
SELECT * FROM shown();
SELECT FROM roster_disconnect('second');
SELECT toggle(archive => true);
SELECT FROM run_merge();
SELECT * FROM shown();
\set ECHO none
\i :fixture_end
