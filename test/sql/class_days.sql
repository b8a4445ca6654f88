-- What the views of classes show on the days around the ends of terms, in the time zone of the school; and the errors
-- of the functions that show a past time.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_classes :abs_srcdir '/fixtures/classes.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set ECHO none
\i :fixture
\i :fixture_classes
-- The lists of each class as of the day; and which classes the views of today count.
CREATE FUNCTION lists() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s of %s', class_id, array_to_string(students, '+'), array_to_string(teachers, '+')),
        '; ' ORDER BY class_id COLLATE "C")
    FROM roster_class_lists
$$;
CREATE FUNCTION today() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT 'schedules: ' || string_agg(DISTINCT class_id, ' ' ORDER BY class_id) FROM roster_schedules
    UNION ALL
    SELECT 'homerooms: ' || string_agg(DISTINCT class_id, ' ' ORDER BY class_id) FROM roster_homerooms
    UNION ALL
    SELECT 'who teaches whom: ' || string_agg(DISTINCT class_id, ' ' ORDER BY class_id) FROM roster_teacher_students
    UNION ALL
    SELECT 'without classes: ' || string_agg(user_id, ' ' ORDER BY user_id) FROM roster_students_without_classes
    UNION ALL
    SELECT 'without teacher: ' || string_agg(class_id, ' ' ORDER BY class_id) FROM roster_classes_without_teacher
$$;
\set clock '2026-11-02 19:00+00'
\i :set_clock
SELECT FROM roster_configure('north', classes => true, class_terms => 'all', time_zone => 'America/Denver');
SELECT prepare_stage_as_worker('north');
INSERT INTO stages VALUES ('north', 0, true, true);
SELECT stage_term('T1', 'Fall', '2026-08-20', '2026-12-18'), stage_term('T2', 'Spring', '2027-01-05', '2027-05-28'),
    stage_term('T3', 'Upside down', '2027-01-05', '2026-01-05'), stage_term('T4', 'No dates', NULL, NULL),
    stage_term('T5', 'Open end', '2027-01-05', NULL);
SELECT stage('t1', 'teacher', 'Tess', 'Lee'), stage('t2', 'teacher', 'Tess', 'Lee'),
    stage('s1', 'student', 'Sam', 'Day'), stage('s2', 'student', 'Sue', 'Fox'), stage('s3', 'student', 'Sue', 'Fox');
-- Of Fall, of Spring, of both; without terms, of a term that no list has, and of terms with odd dates.
SELECT stage_class(id, 'Class ' || id, term => 'T1')
FROM unnest('{fall,spring,both,none,lost,odd,open,bare}'::text[]) id;
SELECT stage_class('homefall', 'Home', kind => 'homeroom'), stage_class('homespring', 'Home', 'T2', kind => 'homeroom');
UPDATE staged_classes SET term_ids = t.ids
FROM (VALUES ('spring', '{T2}'::text[]), ('both', '{T2,T1}'), ('none', NULL), ('lost', '{T77}'), ('odd', '{T3,T4}'),
    ('open', '{T5}'), ('bare', '{T2}')) t (id, ids) WHERE sourced_id = t.id;
SELECT enroll('t1' || sourced_id, 't1', sourced_id, 'teacher') FROM staged_classes WHERE sourced_id <> 'bare';
SELECT enroll('s1' || sourced_id, 's1', sourced_id) FROM staged_classes;
-- Two with one name, the second one in Spring only; one enrolled twice; one who left in October; two of no list.
SELECT enroll('2', 's2', 'spring'), enroll('3', 's3', 'spring'), enroll('4', 's3', 'spring'),
    enroll('5', 's2', 'fall', ends => '2026-12-18'), enroll('6', 's3', 'fall', ends => '2026-10-01'),
    enroll('7', NULL, 'fall'), enroll('8', 'x2', 'none'), enroll('9', 'x1', 'none');
UPDATE staged_enrollments SET begin_date = '2027-01-05' WHERE class_id = 'spring';
UPDATE staged_enrollments SET end_date = '2027-05-28' WHERE class_id = 'spring';
SELECT FROM run_merge();
\set ECHO all
-- The last evening of Fall.
\set clock '2026-12-19 06:30+00'
\i :set_clock
SELECT lists();
SELECT today();
SELECT name, cardinality(managers) AS managers, cardinality(members) AS members FROM roster_lists('north') ORDER BY 1;
-- Half an hour into the first day of the holidays: the lists stay as they were on the last day, and nothing of them is
-- today's.
\set clock '2026-12-19 07:30+00'
\i :set_clock
SELECT lists();
SELECT today();
SELECT name, cardinality(managers) AS managers, cardinality(members) AS members FROM roster_lists('north') ORDER BY 1;
-- The last day of the holidays, and the first of Spring.
\set clock '2027-01-05 06:59+00'
\i :set_clock
SELECT today();
\set clock '2027-01-05 07:01+00'
\i :set_clock
SELECT lists();
SELECT today();
-- The last day of Spring, and the day after.
\set clock '2027-05-28 20:00+00'
\i :set_clock
SELECT today();
\set clock '2027-05-29 20:00+00'
\i :set_clock
SELECT lists();
SELECT today();
-- A class that has two terms, between them: as of the nearer one.
\set clock '2026-12-20 20:00+00'
\i :set_clock
UPDATE enrollment_rows SET end_date = '2026-12-18' WHERE sourced_id = 's1both';
SELECT students FROM roster_class_lists WHERE class_id = 'both';
\set clock '2027-01-04 20:00+00'
\i :set_clock
SELECT students FROM roster_class_lists WHERE class_id = 'both';
-- A time that is missing or impossible.
SELECT refused($$SELECT roster_people_as_of('north', NULL)$$);
SELECT refused($$SELECT roster_enrollments_as_of('north', NULL)$$);
SELECT refused($$SELECT roster_diff('north', NULL, now())$$);
SELECT refused($$SELECT roster_diff('north', now(), NULL)$$);
SELECT refused($$SELECT roster_diff('north', '2027-01-02 00:00+00', '2027-01-01 00:00+00')$$);
SELECT refused($$SELECT roster_people_as_of('nowhere', now())$$);
SELECT refused($$SELECT roster_lists(NULL)$$);
SELECT count(*) FROM roster_people_as_of('north', '-infinity');
SELECT count(*) FROM roster_people_as_of('north', 'infinity');
\set clock ''
\i :set_clock
\set ECHO none
\i :fixture_end
