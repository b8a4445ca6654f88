-- How many rows a merge reads grows with the roster and not faster: no step reads all rows of a list for each row of
-- another. The planner knows nothing of a new stage or a new table of the plan, so a statement that it may plan as
-- loops is planned so here. Lists are skewed too: a class with everyone, a user with most enrollments, no classes.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\set fixture :abs_srcdir '/fixtures/merge.sql'
\i :fixture
\set ECHO all
\set students 500
SELECT FROM roster_configure('north', classes => true, contacts => true, parent_contact => true,
    clear_parent_contact => true, guard_percent => 100);
SELECT toggle(auto_update => true);
SELECT prepare_stage_as_worker('north');
INSERT INTO stages VALUES ('north', 0, true, true);
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name, username,
    identifier, email, agent_ids, outcome)
SELECT 'north', 's' || n, 'students', 'student', true, false, 'Given ' || n, 'Family ' || n, 'user' || n,
    'i' || n, 'user' || n || '@mesa.example', ARRAY['g' || n, 'g' || n % :students + 1], 'unchanged'
FROM generate_series(1, :students) n
UNION ALL
SELECT 'north', 'g' || n, 'guardians', 'guardian', true, false, 'Guardian ' || n, 'Family ' || n, NULL, NULL,
    'home' || n || '@mesa.example', NULL, 'unchanged'
FROM generate_series(1, :students) n
UNION ALL
SELECT 'north', 't' || n, 'teachers', 'teacher', true, false, 'Teacher ' || n, 'Name ' || n, 'teacher' || n,
    'j' || n, 'teacher' || n || '@mesa.example', NULL, 'unchanged'
FROM generate_series(1, :students / 20) n;
INSERT INTO staged_academic_sessions (connection, sourced_id, collection, elsewhere, damaged, title, type)
VALUES ('north', 'T1', 'terms', false, false, 'Fall', 'term');
INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged, title)
SELECT 'north', 'C' || n, 'courses', false, false, 'Course ' || n FROM generate_series(1, 50) n;
INSERT INTO staged_classes (connection, sourced_id, collection, elsewhere, damaged, title, course_id, term_ids, periods)
SELECT 'north', 'K' || n, 'classes', false, false, 'Class ' || n, 'C' || n % 50 + 1, '{T1}', ARRAY[n % 6 + 1]::text[]
FROM generate_series(1, :students / 4) n;
INSERT INTO staged_enrollments (connection, sourced_id, collection, elsewhere, damaged, user_id, class_id, role)
SELECT 'north', 'e' || n || '-' || p, 'enrollments', false, false, 's' || n, 'K' || (n + p * 7) % (:students / 4) + 1,
    'student'
FROM generate_series(1, :students) n CROSS JOIN generate_series(1, 6) p;
-- Each relation of which the statement reads 80 times as many rows as the longest list has, and how many times. What
-- reads all of a list for each row of another comes to more.
CREATE FUNCTION rows_read(OUT relid oid, OUT relation text, OUT number bigint) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT t.relid, regexp_replace(t.relname, '_\d+$', ''), t.seq_tup_read + coalesce(t.idx_tup_fetch, 0)
    FROM pg_stat_xact_all_tables t WHERE t.schemaname <> 'pg_catalog'
$$;
CREATE TABLE read_before (relid oid PRIMARY KEY, number bigint);
CREATE FUNCTION reads_of(statement text, OUT relation text, OUT times bigint) RETURNS SETOF record
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM read_before;
    INSERT INTO read_before SELECT r.relid, r.number FROM rows_read() r;
    EXECUTE statement;
    RETURN QUERY SELECT r.relation, (r.number - coalesce(b.number, 0)) / 3000
    FROM rows_read() r LEFT JOIN read_before b USING (relid)
    WHERE (r.number - coalesce(b.number, 0)) / 3000 >= 80 ORDER BY 1;
END
$$;
SELECT reads_of('SELECT run_merge()');
SELECT reads_of('SELECT run_merge()');
UPDATE staged_enrollments SET class_id = 'K' || ascii(right(sourced_id, 1)) % 20 WHERE sourced_id LIKE '%7-%';
UPDATE staged_users SET email = 'new' || email WHERE sourced_id LIKE '%7';
SELECT reads_of('SELECT run_merge()');
SELECT reads_of(format('SELECT run_merge(''undo'', %s)', last_run()));
-- The tables that stay are analyzed by autovacuum.
ANALYZE academic_sessions, courses, classes, enrollment_rows, user_rows, contact_rows, links;
SELECT reads_of('SELECT * FROM roster_class_lists');
SELECT reads_of('SELECT * FROM roster_schedules');
SELECT reads_of('SELECT * FROM roster_homerooms');
SELECT reads_of('SELECT * FROM roster_teacher_students');
SELECT reads_of('SELECT * FROM roster_contacts');
SELECT reads_of('SELECT * FROM roster_students_without_classes');
SELECT reads_of('SELECT * FROM roster_classes_without_teacher');
SELECT reads_of('SELECT * FROM roster_lists(''north'')');
SELECT reads_of('SELECT * FROM roster_students_without_guardian');
SELECT reads_of('SELECT * FROM roster_people_as_of(''north'', now())');
SELECT reads_of('SELECT * FROM roster_enrollments_as_of(''north'', now())');
SELECT reads_of('SELECT * FROM roster_diff(''north'', now() - interval ''1 day'', now())');
UPDATE staged_enrollments SET class_id = 'K1';
SELECT reads_of('SELECT run_merge()');
UPDATE staged_enrollments SET user_id = 's1' WHERE sourced_id NOT LIKE '%7-%';
SELECT reads_of('SELECT run_merge()');
UPDATE staged_enrollments SET class_id = NULL;
SELECT reads_of('SELECT run_merge()');
-- That a connection has no links yet is looked up, and not found by reading those of all others.
BEGIN;
SELECT count(*) > 500 FROM links;
INSERT INTO read_before SELECT r.relid, r.number FROM rows_read() r WHERE r.relation = 'links'
    ON CONFLICT (relid) DO UPDATE SET number = excluded.number;
SELECT has_links('south');
SELECT r.number - b.number AS read FROM rows_read() r JOIN read_before b USING (relid) WHERE r.relation = 'links';
ROLLBACK;
\set ECHO none
\i :fixture_end
