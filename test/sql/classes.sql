-- Terms, courses, classes, enrollments and contacts: what a night does to them, what is held, undone and kept.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_classes :abs_srcdir '/fixtures/classes.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :fixture_classes
CREATE FUNCTION ended() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'class ' || sourced_id || ' ' || ended_cause FROM classes WHERE ended_at IS NOT NULL
    UNION ALL
    SELECT 'enrollment ' || sourced_id || ' ' || ended_cause FROM enrollment_rows WHERE ended_at IS NOT NULL
    ORDER BY 1
$$;
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set clock '2026-11-02 19:00+00'
\i :set_clock
SELECT FROM roster_configure('north', classes => true);
SELECT prepare_stage_as_worker('north');
INSERT INTO stages VALUES ('north', 0, true, true);
SELECT stage_term('T1', 'Fall', '2026-08-20', '2026-12-18'),
    stage_term('T2', 'Spring', '2027-01-05', '2027-05-28'),
    stage_term('T0', 'Summer', '2026-06-01', '2026-08-01');
INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged, title, course_code)
VALUES ('north', 'C1', 'courses', false, false, 'Algebra', 'ALG'),
    ('north', 'C9', 'courses', false, false, 'Latin', 'L');
SELECT stage('t1', 'teacher', 'Tess', 'Lee'), stage('t2', 'teacher', 'Ted', 'Ray'),
    stage('s1', 'student', 'Sam', 'Day', grade => '9'), stage('s2', 'student', 'Sue', 'Fox', grade => '9'),
    stage('s3', 'student', 'Sid', 'Hill', grade => '10');
SELECT stage_class('K1', 'Algebra 1'), stage_class('K2', 'Homeroom 9', kind => 'homeroom', period => 'HR'),
    stage_class('K3', 'Algebra 2', term => 'T2'), stage_class('K4', 'Old', term => 'T0'),
    stage_class('K5', 'Nowhere', term => 'T7', course => 'C7');
SELECT enroll('e1', 't1', 'K1', 'teacher', true), enroll('e2', 't2', 'K1', 'teacher', false),
    enroll('e3', 's1', 'K1'), enroll('e4', 's2', 'K1'), enroll('e5', 's1', 'K2'), enroll('e6', 't2', 'K2', 'teacher'),
    enroll('e7', 's9', 'K1'), enroll('e8', 's1', 'K9'), enroll('e9', 's3', 'K3');
-- A preview counts, and writes nothing.
SELECT FROM run_merge('preview');
SELECT counted();
SELECT reported();
SELECT count(*) FROM classes;
SELECT FROM run_merge('apply', last_run());
SELECT counted();
SELECT class, course, terms, periods, room, teachers, students FROM roster_class_lists ORDER BY class_id;
SELECT name, role, period, class FROM roster_schedules ORDER BY user_id, period;
SELECT student, homeroom, teachers FROM roster_homerooms;
SELECT teacher, student, class FROM roster_teacher_students ORDER BY 1, 2, 3;
SELECT student, grade FROM roster_students_without_classes;
SELECT class, students FROM roster_classes_without_teacher;
SELECT * FROM roster_lists('north');
SELECT sourced_id, person_id FROM enrollments ORDER BY 1;
-- A second night rewrites no row.
SELECT versions('classes') || versions('enrollment_rows') || versions('academic_sessions') || versions('user_rows')
    AS before \gset
SELECT FROM run_merge();
SELECT counted();
SELECT :'before' = versions('classes') || versions('enrollment_rows') || versions('academic_sessions')
    || versions('user_rows') AS unchanged;
SELECT count(*) FROM classes_versions;
-- Changed, gone, new.
SELECT stage_class('K1', 'Algebra I'), unenroll('e4'), enroll('e10', 's3', 'K1');
\set clock '2026-11-03 19:00+00'
\i :set_clock
SELECT FROM run_merge();
SELECT counted();
SELECT ended();
SELECT title, upper_inf(valid), written_run = last_run() FROM classes WHERE sourced_id = 'K1';
SELECT title, upper_inf(valid), replaced_run = last_run() FROM classes_versions;
SELECT object, sourced_id, change, before, after
FROM roster_diff('north', '2026-11-03 12:00+00', '2026-11-04 00:00+00');
SELECT * FROM roster_people_as_of('north', NULL);
SELECT * FROM roster_enrollments_as_of('north', NULL);
SELECT * FROM roster_diff('north', NULL, '2026-11-04 00:00+00');
SELECT * FROM roster_diff('north', '2026-11-04 00:00+00', NULL);
SELECT * FROM roster_diff('north', '2026-11-04 00:00+00', '2026-11-03 00:00+00');
\set clock '2026-11-04 19:00+00'
\i :set_clock
SELECT FROM run_merge('undo', last_run());
SELECT counted();
SELECT reported();
SELECT ended();
SELECT title FROM classes WHERE sourced_id = 'K1';
SELECT class, sourced_id, user_id FROM roster_enrollments_as_of('north', '2026-11-03 12:00+00') ORDER BY 2;
-- What is again as it was is no difference, whatever was in between.
SELECT object, sourced_id, change FROM roster_diff('north', '2026-11-03 12:00+00', '2026-11-05 00:00+00');
-- Not proved: nothing ends.
INSERT INTO unread VALUES ('enrollments');
SELECT unenroll('e3', 'e5');
SELECT FROM run_merge();
SELECT counted();
DELETE FROM unread;
-- Too many at once are held, and approved as a set.
SELECT FROM roster_configure('north', guard_floor => 1);
SELECT FROM run_merge();
SELECT counted();
SELECT reported();
SELECT FROM run_merge('approve', last_run());
SELECT counted();
SELECT reported();
SELECT ended();
-- A term that is over ends its classes and enrollments at once, and the next one's begin; an ID that comes again keeps
-- what it was.
\set clock '2027-01-10 19:00+00'
\i :set_clock
SELECT stage_class('K1', 'Geometry', term => 'T2'), stage_class('K2', 'Homeroom 9', term => 'T1', kind => 'homeroom');
SELECT FROM run_merge();
SELECT counted();
SELECT ended();
SELECT sourced_id, title, lower(valid)::date AS since FROM classes WHERE ended_at IS NULL ORDER BY 1;
SELECT sourced_id, title, lower(valid)::date AS since, upper(valid)::date AS until FROM classes_versions
WHERE sourced_id = 'K1' ORDER BY valid;
-- The grades and terms that are chosen.
SELECT stage_class('K3', 'Algebra 2', term => 'T2', grades => '{09}'),
    stage_class('K6', 'Physics', term => 'T2', grades => '{10,11}'), enroll('e11', 's3', 'K6');
SELECT FROM roster_configure('north', class_grades => '10, k', class_terms => 'all');
SELECT class_terms, class_grades FROM connections WHERE connection = 'north';
SELECT FROM run_merge();
SELECT counted();
SELECT sourced_id, ended_cause FROM classes ORDER BY 1;
SELECT FROM roster_configure('north', class_grades => '', class_terms => 'spring');
SELECT FROM run_merge();
SELECT sourced_id, ended_cause FROM classes ORDER BY 1;
-- A choice that fits no term, or no grade, is a mistake: it ends nothing, and the run says so.
SELECT FROM roster_configure('north', class_terms => 'Sprng, Semester 9');
SELECT FROM run_merge();
SELECT sourced_id, ended_cause FROM classes ORDER BY 1;
SELECT finding, minga_roster_internal.finding_text(finding, category, amount, "of", detail), needs_look
FROM run_findings WHERE run = last_run() ORDER BY position;
SELECT findings FROM roster_status WHERE connection = 'north';
SELECT FROM roster_configure('north', class_terms => 'Sprng, spring', class_grades => 'x');
SELECT FROM run_merge();
SELECT sourced_id, ended_cause FROM classes ORDER BY 1;
SELECT finding FROM run_findings WHERE run = last_run() ORDER BY position;
SELECT FROM roster_configure('north', class_terms => 'spring', class_grades => '');
SELECT FROM run_merge();
SELECT finding FROM run_findings WHERE run = last_run() ORDER BY position;
-- Of a connection that no longer reads them, no classes are shown.
SELECT count(*) > 0 AS shown FROM roster_class_lists;
SELECT FROM roster_configure('north', classes => false);
SELECT count(*) > 0 AS shown FROM roster_class_lists;
SELECT count(*) > 0 AS shown FROM roster_lists('north');
SELECT count(*) > 0 AS shown FROM roster_students_without_classes;
SELECT FROM roster_configure('north', classes => true);
-- One that the SIS has not listed.
SELECT FROM roster_configure('north', class_terms => 'SPRING, Autumn');
SELECT refused($$SELECT roster_configure('north', class_terms => 'all, T1')$$);
SELECT refused($$SELECT roster_configure('north', class_terms => '')$$);
SELECT refused($$SELECT roster_configure('north', class_grades => 'all')$$);
SELECT refused($$SELECT roster_configure('north', class_terms => '{"Fall')$$);
-- Contacts, in the order of the SIS; the primary one is marked, and someone whom two students name has two rows.
SELECT FROM roster_configure('north', contacts => true);
SELECT stage('s1', 'student', 'Sam', 'Day', grade => '9', agents => '{g1,r1}'),
    stage('s2', 'student', 'Sue', 'Fox', grade => '9', agents => '{r1,g9}'),
    stage('g1', 'guardian', 'Gus', 'Day', email => 'gus@x.example', phone => '1'),
    stage('r1', 'relative', 'Rae', 'Day', phone => '2'), stage('r9', 'relative', 'Of', 'Others');
SELECT FROM run_merge();
SELECT counted();
SELECT reported();
SELECT student, contact, role, is_chosen, phone, position FROM roster_contacts ORDER BY student_id, position;
SELECT again();
SELECT unstage('r1');
SELECT FROM roster_configure('north', guard_floor => 5);
SELECT FROM run_merge();
SELECT student_id, sourced_id, ended_cause FROM contacts ORDER BY 1, 2;
-- A link that moves takes the enrollments with it.
SELECT DISTINCT person_id FROM enrollments WHERE user_id = 's1';
UPDATE links SET person_id = 'P77' WHERE sourced_id = 's1';
SELECT DISTINCT person_id FROM enrollments WHERE user_id = 's1';
-- The rest begins with an empty school, in another year.
\set clock '2026-01-10 19:00+00'
\i :set_clock
\set ECHO none
DELETE FROM academic_sessions; DELETE FROM courses; DELETE FROM classes; DELETE FROM enrollment_rows;
DELETE FROM user_rows; DELETE FROM contact_rows; DELETE FROM academic_sessions_versions; DELETE FROM courses_versions;
DELETE FROM classes_versions; DELETE FROM enrollment_rows_versions; DELETE FROM user_rows_versions;
DELETE FROM contact_rows_versions;
SELECT clear();
SELECT FROM roster_configure('north', contacts => false, class_terms => 'all', guard_percent => 100);
CREATE FUNCTION stage_course(id text, title text) RETURNS SETOF void LANGUAGE sql AS $$
    DELETE FROM staged_courses WHERE connection = 'north' AND sourced_id = id;
    INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged, title)
    VALUES ('north', id, 'courses', false, false, title);
$$;
-- The rows that are there, by table; those that ended with their cause.
CREATE FUNCTION standing() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT o.object || ': ' || string_agg(concat_ws(' ', o.id, o.cause), ', ' ORDER BY o.id COLLATE "C")
    FROM (SELECT 'session', sourced_id, ended_cause FROM academic_sessions
        UNION ALL SELECT 'course', sourced_id, ended_cause FROM courses
        UNION ALL SELECT 'class', sourced_id, ended_cause FROM classes
        UNION ALL SELECT 'enrollment', sourced_id, ended_cause FROM enrollment_rows
        UNION ALL SELECT 'user', sourced_id, ended_cause FROM user_rows
        UNION ALL SELECT 'contact', student_id || '/' || sourced_id, ended_cause FROM contact_rows)
        AS o (object, id, cause)
    GROUP BY o.object ORDER BY o.object
$$;
-- A delta lists what is staged between these two.
CREATE FUNCTION stage_tables() RETURNS SETOF text LANGUAGE sql AS $$
    VALUES ('users'), ('academic_sessions'), ('courses'), ('classes'), ('enrollments') $$;
SELECT format('CREATE TABLE full_%s AS SELECT * FROM staged_%1$s WITH NO DATA', t) FROM stage_tables() t \gexec
CREATE FUNCTION begin_delta() RETURNS SETOF void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT t FROM stage_tables() t LOOP
        EXECUTE format('INSERT INTO full_%s SELECT * FROM staged_%1$s; DELETE FROM staged_%1$s', name);
    END LOOP;
END
$$;
CREATE FUNCTION end_delta() RETURNS SETOF void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT t FROM stage_tables() t LOOP
        EXECUTE format('INSERT INTO staged_%s SELECT * FROM full_%1$s WHERE sourced_id NOT IN (SELECT sourced_id '
            'FROM staged_%1$s); DELETE FROM full_%1$s', name);
    END LOOP;
END
$$;
SELECT stage_term('T1', 'Fall', '2025-08-20', '2025-12-18'), stage_term('T2', 'Spring', '2026-01-05', '2026-05-28'),
    stage_course('C1', 'Algebra'), stage_course('C2', 'Latin'), stage('t1', 'teacher', 'Tess', 'Lee'),
    stage('s1', 'student', 'Sam', 'Day'), stage('s2', 'student', 'Sue', 'Fox'), stage('s3', 'student', 'Sid', 'Hill'),
    stage_class('K1', 'Algebra 1', term => 'T2'), stage_class('K2', 'Latin', term => 'T2', course => 'C2'),
    stage_class('K3', 'Over', term => 'T1'), enroll('e1', 't1', 'K1', 'teacher'), enroll('e2', 's1', 'K1'),
    enroll('e3', 's2', 'K2'), enroll('e4', 's3', 'K3'), enroll('e5', 's2', 'K1', ends => '2026-01-08'),
    enroll('e6', 's3', 'K9');
SELECT FROM run_merge();
\set ECHO all
SELECT standing();
-- A delta ends nothing that it leaves out, be it over; and what it names is known from before.
SELECT begin_delta();
SELECT enroll('e7', 's1', 'K2'), stage_class('K4', 'Algebra 2', term => 'T2');
SELECT FROM run_merge(is_full => false);
SELECT counted();
SELECT standing();
SELECT end_delta();
SELECT FROM run_merge();
SELECT counted();
-- Nor does a list that was not read to its end.
INSERT INTO unread VALUES ('courses'), ('terms'), ('classes'), ('enrollments');
SELECT begin_delta();
SELECT stage('s1', 'student', 'Sam', 'Day'), stage('s2', 'student', 'Sue', 'Fox'),
    stage('s3', 'student', 'Sid', 'Hill'), stage('t1', 'teacher', 'Tess', 'Lee');
SELECT FROM run_merge();
SELECT standing();
SELECT end_delta();
DELETE FROM unread;
-- A course ends with its last class, in the same night.
DELETE FROM staged_classes WHERE sourced_id = 'K2';
SELECT FROM run_merge();
SELECT standing();
SELECT FROM run_merge();
SELECT counted();
-- A class of a term that the SIS no longer lists does not come back.
SELECT FROM roster_configure('north', class_terms => 'current');
SELECT FROM run_merge();
DELETE FROM staged_academic_sessions WHERE sourced_id = 'T1';
SELECT FROM run_merge();
SELECT FROM run_merge();
SELECT counted();
SELECT standing();
-- Nor do its enrollments, if the SIS lists these alone.
DELETE FROM staged_classes WHERE sourced_id = 'K3';
SELECT FROM run_merge();
SELECT FROM run_merge();
SELECT counted();
-- A class and a user who cannot be read stay as they are, and so does the course of the class.
UPDATE staged_classes SET damaged = true, course_id = NULL, term_ids = NULL, title = NULL WHERE sourced_id = 'K1';
UPDATE staged_users SET damaged = true, role = NULL WHERE sourced_id = 's3';
SELECT FROM run_merge();
SELECT counted();
SELECT stage_class('K1', 'Algebra 1', term => 'T2'), stage('s3', 'student', 'Sid', 'Hill');
-- A category that is not rostered is not missed.
SELECT toggle(roster => false, category => 'teacher');
SELECT FROM run_merge();
SELECT counted();
SELECT toggle(roster => true, category => 'teacher');
SELECT FROM run_merge();
-- In a season its own limit counts.
SELECT FROM roster_configure('north', guard_floor => 0, season_dates => '[2026-01-01,2026-02-01)',
    season_percent => 20);
SELECT unenroll('e2', 'e5', 'e6');
SELECT FROM run_merge();
SELECT counted();
-- What a delta lists is no longer held; the approval ends the others.
SELECT begin_delta();
SELECT enroll('e2', 's1', 'K1');
SELECT FROM run_merge(is_full => false);
SELECT sourced_id FROM held_objects;
SELECT FROM run_merge('approve', last_run() - 1);
SELECT counted();
SELECT end_delta();
-- A preview that was applied holds, and is approved by its own number or that of its apply.
SELECT unenroll('e2', 'e1');
SELECT FROM run_merge('preview');
SELECT FROM run_merge('apply', last_run());
SELECT counted();
SELECT FROM run_merge('approve', last_run());
SELECT counted();
-- Where settings make another plan than the preview's, or its stage is gone, an apply leaves classes out and says so.
SELECT enroll('e2', 's2', 'K1');
SELECT FROM run_merge('preview');
SELECT counted();
SELECT FROM roster_configure('north', classes => false);
SELECT FROM run_merge('apply', last_run());
SELECT FROM roster_configure('north', classes => true);
SELECT finding, detail FROM run_findings WHERE run = last_run();
SELECT count(*) FROM run_objects WHERE run = last_run();
SELECT FROM run_merge('preview');
UPDATE stages SET run = 0 WHERE connection = 'north';
SELECT FROM run_merge('apply', last_run());
SELECT minga_roster_internal.finding_text(finding, category, amount, "of", detail) FROM run_findings
WHERE run = last_run();
SELECT roster_report('north') ~ 'Classes and contacts were not applied' AS told;
SELECT ended_at IS NOT NULL AS ended FROM enrollments WHERE sourced_id = 'e2';
SELECT unenroll('e2');
-- A row that came again and was undone ends as it had, and may come once more at the same time.
SELECT enroll('e2', 's1', 'K1');
SELECT FROM run_merge();
SELECT FROM run_merge('undo', last_run());
SELECT counted();
SELECT FROM run_merge();
SELECT FROM run_merge();
SELECT counted();
SELECT count(*) AS versions, count(DISTINCT v.valid) AS different, bool_or(v.valid && o.valid) AS overlap
FROM enrollment_rows_versions v JOIN enrollment_rows o USING (connection, sourced_id) WHERE v.sourced_id = 'e2';
-- A clock that steps back makes no row of two.
\set clock '2026-01-10 18:00+00'
\i :set_clock
SELECT stage_class('K1', 'Algebra One', term => 'T2'), unenroll('e2');
SELECT FROM roster_configure('north', guard_floor => 5);
SELECT FROM run_merge();
SELECT enroll('e2', 's1', 'K1');
SELECT FROM run_merge();
SELECT count(*) FROM (
    SELECT sourced_id, valid FROM classes UNION ALL SELECT sourced_id, valid FROM classes_versions) a (id, valid)
JOIN (SELECT sourced_id, valid FROM classes UNION ALL SELECT sourced_id, valid FROM classes_versions) b (id, valid)
    ON b.id = a.id AND b.valid && a.valid AND b.valid <> a.valid;
SELECT title, upper_inf(valid) FROM classes WHERE sourced_id = 'K1';
-- A class that cannot be read is chosen by what it was, or by what can be read of it: it does not end to come again.
SELECT stage_class('K1', 'Algebra One', term => 'T2', grades => '{9}');
SELECT FROM run_merge();
SELECT stage_class('K1', 'Algebra One', term => 'T2', grades => '{10}', damaged => true);
SELECT FROM roster_configure('north', class_grades => '10');
SELECT FROM run_merge();
SELECT grades, upper_inf(valid) FROM classes WHERE sourced_id = 'K1';
SELECT FROM run_merge();
SELECT object, returned, ended FROM run_objects WHERE run = last_run() AND returned + ended > 0;
SELECT FROM roster_configure('north', class_grades => '');
SELECT stage_class('K1', 'Algebra One', term => 'T2');
SELECT FROM run_merge();
-- No primary contact changes because a list is not whole.
SELECT FROM roster_configure('north', contacts => true);
SELECT stage('s1', 'student', 'Sam', 'Day', agents => '{g1,r1}'), stage('g1', 'guardian', 'Gus', 'Day'),
    stage('r1', 'relative', 'Rae', 'Day');
SELECT FROM run_merge();
SELECT student_id, sourced_id, is_chosen FROM contacts ORDER BY 2;
SELECT begin_delta();
SELECT stage('s1', 'student', 'Sam', 'Day', agents => '{g1,r1}'), stage('r1', 'relative', 'Rae', 'Dey');
SELECT FROM run_merge(is_full => false);
SELECT student_id, sourced_id, family_name, is_chosen, ended_cause FROM contacts ORDER BY 2;
SELECT end_delta();
-- A list that had more rows than the guard would let go ends nothing when it is empty beside another. A teacher is a
-- contact by another role. No one is a contact of students who are not rostered.
SELECT stage('s1', 'student', 'Sam', 'Day', agents => '{g1,r1,t1,t2}');
UPDATE staged_users SET roles = '{teacher,relative,guardian}' WHERE sourced_id = 't1';
SELECT FROM run_merge();
SELECT sourced_id, role, given_name FROM contacts ORDER BY 1;
-- What a delta or a list that broke off had of it says nothing.
SELECT FROM roster_configure('north', guard_floor => 1);
SELECT stage('s1', 'student', 'Sam', 'Day', agents => '{g1,g2,r1,t1,t2}'), stage('g2', 'guardian', 'Gil', 'Day');
UPDATE staged_users SET roles = '{teacher,relative,guardian}' WHERE sourced_id = 't1';
SELECT FROM run_merge();
SELECT begin_delta();
SELECT stage('g1', 'guardian', 'Gus', 'Day');
SELECT FROM run_merge(is_full => false);
SELECT end_delta();
SELECT unstage('g1', 'g2');
SELECT FROM run_merge();
SELECT complete, ended FROM run_objects WHERE run = last_run() AND object = 'contact';
SELECT stage('g1', 'guardian', 'Gus', 'Day');
INSERT INTO unread VALUES ('guardians');
SELECT FROM run_merge();
DELETE FROM unread;
SELECT unstage('g1');
SELECT FROM run_merge();
SELECT complete, ended FROM run_objects WHERE run = last_run() AND object = 'contact';
SELECT stage('s1', 'student', 'Sam', 'Day', agents => '{g1,r1,t1,t2}'), stage('g1', 'guardian', 'Gus', 'Day');
SELECT FROM run_merge();
SELECT unstage('g1');
SELECT FROM roster_configure('north', guard_floor => 0);
SELECT FROM run_merge();
SELECT complete, ended FROM run_objects WHERE run = last_run() AND object = 'contact';
SELECT FROM roster_configure('north', guard_floor => 1);
SELECT FROM run_merge();
SELECT complete, ended FROM run_objects WHERE run = last_run() AND object = 'contact';
SELECT FROM roster_configure('north', guard_floor => 5);
SELECT stage('g1', 'guardian', 'Gus', 'Day');
SELECT toggle(roster => false, category => 'student');
SELECT FROM run_merge();
SELECT sourced_id, ended_cause FROM contacts ORDER BY 1;
SELECT toggle(roster => true, category => 'student');
-- Who has no classes is not asked where no classes are read.
SELECT unenroll('e2', 'e10', 'e11');
SELECT FROM run_merge();
SELECT count(*) FROM roster_students_without_classes;
SELECT FROM roster_configure('north', classes => false);
SELECT count(*) FROM roster_students_without_classes;
SELECT FROM roster_configure('north', classes => true);
-- Someone who was erased does not come back by an enrollment.
SELECT FROM run_merge();
SELECT place, erased FROM roster_forget('north', sourced_id => 's1') WHERE erased > 0;
SELECT enroll('e2', 's1', 'K1');
CREATE FUNCTION blank_as_worker() RETURNS bigint LANGUAGE sql SET role = minga_roster_dba AS $$
    SELECT cardinality(minga_roster_internal.blank_forgotten('north'))::bigint
$$;
SELECT blank_as_worker();
SELECT count(*) FROM staged_enrollments WHERE user_id = 's1';
DELETE FROM forgotten_people;
DELETE FROM secrets WHERE connection = 'forgotten';
-- A retired connection has no classes and no one without any.
SELECT (SELECT count(*) > 0 FROM roster_class_lists) AS classes,
    (SELECT count(*) > 0 FROM roster_students_without_classes) AS students,
    (SELECT count(*) FROM classes WHERE ended_at IS NULL) > 0 AS kept;
SELECT FROM roster_disconnect('north');
SELECT (SELECT count(*) FROM roster_class_lists) + (SELECT count(*) FROM roster_classes_without_teacher)
    + (SELECT count(*) FROM roster_students_without_classes) + (SELECT count(*) FROM roster_contacts) AS shown,
    (SELECT count(*) FROM classes WHERE ended_at IS NULL) > 0 AS kept;
\set clock ''
\i :set_clock
\set ECHO none
\i :fixture_end
