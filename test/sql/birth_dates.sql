-- Birth dates: whose a row of demographics is, what of the list stays in the stage, and how a date is written.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
-- The end of a fetch that has read demographics. The date after which none is a birth date is the clock's.
CREATE FUNCTION settle_as_worker(run bigint) RETURNS void LANGUAGE plpgsql SET role = minga_roster_dba AS $$
BEGIN
    PERFORM minga_roster_internal.settle_birth_dates(run, 'north');
END
$$;
CREATE FUNCTION settle(is_full boolean DEFAULT true) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    this bigint := nextval(pg_get_serial_sequence('runs', 'run'));
BEGIN
    PERFORM minga_roster_internal.insert_run(this, 'north', 'fetch', NULL, 'running', 'test');
    UPDATE runs SET is_full = settle.is_full WHERE run = this;
    PERFORM minga_roster_internal.store_collection(this, 'north', 'demographics', 'demographics', true, 'total', 1, 0,
        0, NULL, 0, 0, false, NULL, NULL);
    PERFORM settle_as_worker(this);
    UPDATE runs SET state = 'succeeded', finished_at = now() WHERE run = this;
    RETURN QUERY SELECT concat_ws(', ', CASE WHEN complete THEN 'complete' END, 'listed ' || listed, 'unknown user '
        || unknown_user, 'not chosen ' || not_chosen, 'damaged ' || damaged) FROM run_objects WHERE run = this;
END
$$;
CREATE FUNCTION born(id text, born date, status text DEFAULT NULL, damaged_field text DEFAULT NULL)
RETURNS SETOF void LANGUAGE sql AS $$
    INSERT INTO staged_demographics (connection, sourced_id, collection, status, elsewhere, damaged, damaged_field,
        birth_date)
    VALUES ('north', id, 'demographics', status, false, false, damaged_field, born)
$$;
CREATE FUNCTION known_as(id text, VARIADIC ids text[]) RETURNS SETOF void LANGUAGE sql AS $$
    UPDATE staged_users SET user_ids = ids WHERE connection = 'north' AND sourced_id = id
$$;
CREATE FUNCTION staged() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT sourced_id || ' ' || coalesce(birth_date, '-') || coalesce(' ' || user_ids::text, '') FROM staged_users
    WHERE connection = 'north' ORDER BY sourced_id
$$;
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set clock '2026-11-02 19:00+00'
\i :set_clock
\set ECHO all
-- Without a column there is nothing to read, which a warning says.
SELECT FROM roster_configure('north', birth_dates => true);
SELECT count(*) FROM collections_to_read('north') WHERE family = 'demographics';
ALTER TABLE people ADD birth_date timestamp;
SELECT refused($$SELECT roster_attach_people('people')$$);
ALTER TABLE people ALTER birth_date TYPE date;
SELECT roster_attach_people('people');
SELECT family, path, paths FROM collections_to_read('north') WHERE family IN ('demographics', 'student') ORDER BY 1;
SELECT prepare_stage_as_worker('north');
INSERT INTO stages VALUES ('north', 0, true, true);
-- By the ID of the user; by an identifier of userIds that only one user has and that leads to one row; else not.
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 8) n;
SELECT stage('t1', 'teacher', 'Tess', 'Lee'), stage('g1', 'guardian', 'Gus', 'Day');
SELECT known_as('s2', 'G2', 'other'), known_as('s3', 'G3'), known_as('s4', 'G3'), known_as('s5', 'G5', 'G6'),
    known_as('s6', 'G7');
SELECT born('s1', '2010-05-31'), born('G2', '2010-02-28'), born('G3', '2010-03-03'), born('G5', '2010-05-05'),
    born('G6', '2010-06-06'), born('s6', '2012-02-29'), born('G7', '2010-07-07'), born('t1', '1980-12-01'),
    born('g1', '1979-01-01'), born('elsewhere', '2011-01-01'), born('s3', '2011-11-11', 'tobedeleted'),
    born('s7', '1900-01-01'), born('s8', '2026-11-03'), born('s4', NULL, NULL, 'birthDate');
SELECT settle();
SELECT staged();
SELECT sourced_id, birth_date FROM staged_demographics WHERE connection = 'north' ORDER BY 1;
SELECT FROM run_merge();
SELECT given_name, birth_date FROM people ORDER BY given_name;
SELECT again();
-- Auto update follows the SIS; what the SIS does not say clears nothing; the column may be the school's own.
SELECT toggle(auto_update => true);
UPDATE staged_users SET birth_date = CASE sourced_id WHEN 's1' THEN '2010-06-01' END WHERE connection = 'north';
SELECT FROM run_merge();
SELECT action, person, before, after FROM shown();
SELECT again();
SELECT roster_set_column_owner('north', 'birth_date', 'local');
UPDATE staged_users SET birth_date = '2010-06-02' WHERE connection = 'north' AND sourced_id = 's1';
SELECT FROM run_merge();
SELECT birth_date FROM people WHERE given_name = 'Sam1';
SELECT roster_set_column_owner('north', 'birth_date', 'sis');
-- In a column of text the date is as it was compared.
ALTER TABLE people ALTER birth_date TYPE text;
SELECT roster_attach_people('people');
SELECT FROM run_merge();
SELECT given_name, birth_date FROM people WHERE birth_date IS NOT NULL ORDER BY given_name;
SELECT again();
-- A list of changes alone cannot show that an identifier is one user's, nor that a row is no one's.
SELECT prepare_stage_as_worker('north');
SELECT stage('s1', 'student', 'Sam1', 'Day'), stage('s2', 'student', 'Sam2', 'Day');
SELECT known_as('s2', 'G2');
SELECT born('s1', '2010-05-30'), born('G2', '2010-02-27'), born('s5', '2010-01-01');
SELECT settle(is_full => false);
SELECT staged();
SELECT sourced_id FROM staged_demographics WHERE connection = 'north' ORDER BY 1;
-- Of a category that is off no one has a birth date.
SELECT born('s2', '2010-02-26');
CREATE FUNCTION settle_reduced() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    this bigint := nextval(pg_get_serial_sequence('runs', 'run'));
BEGIN
    PERFORM minga_roster_internal.insert_run(this, 'north', 'fetch', NULL, 'running', 'test');
    UPDATE runs SET is_full = true, reduced_roles = '{student}' WHERE run = this;
    PERFORM minga_roster_internal.store_collection(this, 'north', 'demographics', 'demographics', true, 'total', 1, 0,
        0, NULL, 0, 0, false, NULL, NULL);
    UPDATE staged_users SET birth_date = NULL WHERE connection = 'north';
    PERFORM settle_as_worker(this);
    UPDATE runs SET state = 'succeeded', finished_at = now() WHERE run = this;
    RETURN QUERY SELECT 'listed ' || listed || ', not chosen ' || not_chosen FROM run_objects WHERE run = this;
END
$$;
SELECT settle_reduced();
SELECT staged();
SELECT count(*) FROM staged_demographics WHERE connection = 'north';
-- Of a fetch that broke off nothing stays of the list.
SELECT born('s1', '2010-05-30'), born('elsewhere', '2010-05-30');
CREATE FUNCTION break_off() RETURNS void LANGUAGE plpgsql SET role = minga_roster_dba AS $$
DECLARE
    this minga_roster.runs;
BEGIN
    SELECT r.* INTO this FROM minga_roster.runs r WHERE r.connection = 'north' ORDER BY r.run DESC LIMIT 1;
    PERFORM minga_roster_internal.blank_unfinished_stage(this);
END
$$;
DELETE FROM stages WHERE connection = 'north';
SELECT break_off();
SELECT count(*) FROM staged_demographics WHERE connection = 'north';
\set clock ''
\i :set_clock
\set ECHO none
\i :fixture_end
