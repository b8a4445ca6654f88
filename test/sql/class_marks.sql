-- Nights on which no list has anything new are known by digests, and nothing is compared; and what has to end that:
-- another day, setting, proof or list, and whatever writes or removes a row.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_classes :abs_srcdir '/fixtures/classes.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set ECHO none
\i :fixture
\i :fixture_classes
-- A night: whether all is taken over, and what is counted of classes and enrollments.
CREATE FUNCTION night(kind text DEFAULT 'sync', of_run bigint DEFAULT NULL, is_full boolean DEFAULT true)
RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    this bigint := run_merge(kind, of_run, is_full => is_full);
BEGIN
    RETURN NEXT CASE WHEN is_taken_over(this) THEN 'taken over' ELSE 'compared' END;
    RETURN QUERY SELECT c FROM counted(this) c WHERE c ~ '^(class|enrollment)';
END
$$;
\set clock '2026-11-02 19:00+00'
\i :set_clock
SELECT FROM roster_configure('north', classes => true, time_zone => 'America/Denver', guard_floor => 100);
SELECT prepare_stage_as_worker('north');
INSERT INTO stages VALUES ('north', 0, true, true);
UPDATE connections SET unproven = false;
SELECT stage_term('T1', 'Fall', '2026-08-20', '2026-12-18'), stage_term('T2', 'Spring', '2027-01-05', '2027-05-28');
INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged) VALUES
    ('north', 'C1', 'courses', false, false);
SELECT stage('t1', 'teacher', 'Tess', 'Lee'), stage('s1', 'student', 'Sam', 'Day'),
    stage('s2', 'student', 'Sue', 'Fox');
SELECT stage_class('fall', 'Algebra', grades => '{9}'), stage_class('spring', 'Biology', 'T2', grades => '{9}'),
    stage_class('lost', 'Chemistry', 'T7', course => 'C7');
SELECT enroll('1', 't1', 'fall', 'teacher'), enroll('2', 's1', 'fall'), enroll('3', 's2', 'lost'),
    enroll('4', 'x1', 'fall'), enroll('5', 's1', 'nowhere'), enroll('6', 's2', 'spring');
\set ECHO all
-- The first night, one that compares all, and then those on which all is as it was.
SELECT night();
SELECT night();
SELECT night();
SELECT night('preview');
SELECT reported();
\set clock '2026-11-20 19:00+00'
\i :set_clock
SELECT night();
-- A list that was read where others are listed too tells no role of its rows. Another version may plan another way.
BEGIN;
SELECT is_taken_over(last_run());
UPDATE collections SET fallback = true WHERE run = last_run() AND collection = 'teachers';
SELECT is_taken_over(last_run());
ROLLBACK;
BEGIN;
SET LOCAL allow_system_table_mods = on;
UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'minga_roster';
SELECT is_taken_over(last_run());
ROLLBACK;
-- A row is another one. A delta without rows leaves all as it was; one with a row does not.
SELECT enroll('2', 's1', 'fall', ends => '2026-12-01');
SELECT night('preview');
SELECT night();
SELECT night();
SELECT night();
SELECT enroll('2', 's1', 'fall', ends => '2026-12-02');
SELECT night(is_full => false);
SELECT night();
SELECT night();
-- A list that is not proved, and is again.
INSERT INTO unread VALUES ('classes');
SELECT night();
SELECT night();
DELETE FROM unread;
SELECT night();
SELECT night();
-- Settings.
SELECT FROM roster_configure('north', class_grades => '{10}');
SELECT night();
SELECT FROM roster_configure('north', class_grades => '{9}');
SELECT night();
SELECT night();
SELECT FROM roster_toggle('north', 'teacher', roster => false);
SELECT night();
SELECT FROM roster_toggle('north', 'teacher', roster => true);
SELECT night();
SELECT night();
SELECT night();
-- One that is changed while a run works counts from the next one on.
CREATE FUNCTION flip() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE minga_roster.toggles SET roster = false WHERE connection = 'north' AND category = 'teacher';
    RETURN NULL;
END
$$;
CREATE TRIGGER flip AFTER INSERT ON run_counts EXECUTE FUNCTION flip();
DELETE FROM object_marks;
SELECT night();
DROP TRIGGER flip ON run_counts;
SELECT night();
SELECT object, ended FROM run_objects WHERE run = last_run() AND ended > 0;
SELECT FROM roster_toggle('north', 'teacher', roster => true);
SELECT FROM night();
SELECT FROM night();
-- An undo of what brought a row.
SELECT unenroll('2');
SELECT night();
SELECT night();
SELECT night();
SELECT FROM roster_undo((SELECT max(run) FROM run_objects WHERE ended > 0));
SELECT night();
SELECT night();
SELECT night();
-- Days go by, and Spring comes near; the clock is put back.
\set clock '2026-12-21 19:00+00'
\i :set_clock
SELECT night();
SELECT night();
\set clock '2026-12-22 19:00+00'
\i :set_clock
SELECT night();
SELECT night();
\set clock '2026-12-19 19:00+00'
\i :set_clock
SELECT night();
SELECT night();
-- History is pruned, and with it the class that an enrollment was left out by.
\set clock '2027-01-06 19:00+00'
\i :set_clock
DELETE FROM staged_classes WHERE sourced_id = 'fall';
SELECT night();
SELECT night();
SELECT night();
\set clock '2028-02-06 19:00+00'
\i :set_clock
SELECT night();
SELECT night();
SELECT night();
SELECT minga_roster_internal.prune_history();
SELECT night();
SELECT night();
-- A person is forgotten.
SELECT night();
SELECT night();
SELECT sum(erased) > 0 FROM roster_forget('north', sourced_id => 'x1');
SELECT count(*) FROM object_marks;
SELECT night();
SELECT night();
\set ECHO none
\i :fixture_end
