-- Run by test/citus.sh on the coordinator: the same school twice, "north" with distributed people and "second" with a
-- plain table. After each run both have the same people, links and changes but for IDs, or the script ends with an
-- error. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\i :fixture
\set QUIET on

CREATE FUNCTION fail_unless(holds boolean, what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF holds IS NOT TRUE THEN
        RAISE EXCEPTION 'not so: %', what;
    END IF;
END
$$;
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
-- What both schools have, without IDs and times.
CREATE FUNCTION people_of(wanted_connection text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    known connections := (SELECT c FROM connections c WHERE c.connection = wanted_connection);
    map jsonb := (SELECT r.columns FROM people_relations r WHERE r.relation = known.people);
    told text;
BEGIN
    EXECUTE format(
        'SELECT string_agg(t.told, E''\n'' ORDER BY t.told) FROM (SELECT concat_ws('' '', l.sourced_id, '
        '(to_jsonb(p) - $2)::text, p.%1$I IS NULL) AS told FROM %2$s p LEFT JOIN links l '
        'ON l.connection = $1 AND l.person_id = p.%3$I::text WHERE p.%4$I = $3) t',
        map ->> 'archived_at', known.people, map ->> 'person_id', map ->> 'site')
    INTO told
    USING wanted_connection, ARRAY[map ->> 'person_id', map ->> 'site', map ->> 'updated_at', 'created_at']
        || CASE WHEN (SELECT r.archive_words FROM people_relations r WHERE r.relation = known.people) = '{}'
            THEN ARRAY[map ->> 'archived_at'] ELSE '{}' END, known.site;
    RETURN told;
END
$$;
CREATE FUNCTION changes_of(wanted bigint) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', c.action, c.category, array_to_string(c.sourced_ids, '+'),
        CASE WHEN c.before ->> 'archived_at' LIKE '20%' THEN c.before - 'archived_at' ELSE c.before END,
        CASE WHEN c.after ->> 'archived_at' LIKE '20%' THEN c.after - 'archived_at' ELSE c.after END,
        c.rule, c.state, c.state_cause, c.conflict), E'\n' ORDER BY c.sourced_ids, c.action)
    FROM changes c WHERE c.run = wanted
$$;
-- What a run did to classes and the like, and what its school has of them. An enrollment finds its person by the link.
CREATE FUNCTION objects_of(wanted bigint) RETURNS text LANGUAGE sql AS $$
    WITH known AS (SELECT r.connection FROM runs r WHERE r.run = wanted)
    SELECT string_agg(t.told, E'\n' ORDER BY t.told COLLATE "C")
    FROM (
        SELECT 'run ' || (to_jsonb(o) - 'run')::text FROM run_objects o WHERE o.run = wanted
        UNION ALL
        SELECT concat_ws(' ', 'class', c.sourced_id, c.title, c.ended_cause)
        FROM classes c JOIN known USING (connection)
        UNION ALL
        SELECT concat_ws(' ', 'enrollment', e.sourced_id, e.user_id, e.class_id, e.role, l.sourced_id, e.ended_cause)
        FROM enrollments e JOIN known USING (connection)
        LEFT JOIN links l ON l.connection = e.connection AND l.person_id = e.person_id
        UNION ALL
        SELECT concat_ws(' ', 'contact', c.student_id, c.sourced_id, c.given_name, c.person_id IS NOT NULL)
        FROM contacts c JOIN known USING (connection)
        UNION ALL
        SELECT concat_ws(' ', 'list', l.class, l.teachers, l.students)
        FROM roster_class_lists l JOIN known USING (connection)
    ) t (told)
$$;
CREATE FUNCTION counts_of(wanted bigint) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', kind || ':', created || ' created', linked || ' linked', updated || ' updated',
        restored || ' restored', archived || ' archived', held || ' held', unchanged || ' unchanged',
        conflicts || ' conflicts', rejects || ' rejects')
    FROM runs WHERE run = wanted
$$;
-- A run of each school, each in a transaction of its own, and how it ended. of_north is the earlier run that it is
-- about; that of the other school is the one after it.
CREATE PROCEDURE each_school(kind text, of_north bigint DEFAULT NULL, expected text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    stage text;
    north bigint;
    second bigint;
BEGIN
    FOREACH stage IN ARRAY ARRAY['staged_users', 'staged_academic_sessions', 'staged_courses', 'staged_classes',
        'staged_enrollments'] LOOP
        EXECUTE format('DELETE FROM %s WHERE connection = ''second''', stage);
        EXECUTE format('INSERT INTO %1$s SELECT r.* FROM %1$s s CROSS JOIN LATERAL '
            'jsonb_populate_record(NULL::%1$s, to_jsonb(s) || ''{"connection": "second"}'') r '
            'WHERE s.connection = ''north''', stage);
    END LOOP;
    COMMIT;
    PERFORM FROM recover_prepared_transactions();
    COMMIT;
    north := run_merge(kind, of_north, 'north');
    COMMIT;
    second := run_merge(kind, of_north + 1, 'second');
    COMMIT;
    PERFORM fail_unless(second = north + 1, 'runs of both schools have consecutive numbers');
    IF (counts_of(north), changes_of(north), people_of('north'), objects_of(north))
        IS DISTINCT FROM (counts_of(second), changes_of(second), people_of('second'), objects_of(second))
    THEN
        RAISE EXCEPTION 'the schools differ'
            USING DETAIL = concat_ws(E'\n\n', counts_of(north), counts_of(second), changes_of(north),
                changes_of(second), people_of('north'), people_of('second'), objects_of(north), objects_of(second));
    END IF;
    RAISE NOTICE '%', counts_of(north);
    IF expected IS NOT NULL THEN
        PERFORM expect(counts_of(north), expected);
    END IF;
END
$$;
CREATE FUNCTION expect(answer text, expected text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF answer IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'answer: %, expected: %', answer, expected;
    END IF;
END
$$;
CREATE FUNCTION newest(connection text DEFAULT 'north') RETURNS bigint LANGUAGE sql AS $$
    SELECT max(run) FROM runs r WHERE r.connection = newest.connection
$$;

SELECT connect('second', 'north-plain');
SELECT FROM unnest(ARRAY['north', 'second']) c, roster_configure(c, guard_percent => 100, guard_floor => 1000,
    classes => true, contacts => true);
-- A stage with a place for classes.
SELECT FROM unnest(ARRAY['north', 'second']) c, prepare_stage_as_worker(c);
INSERT INTO stages SELECT c, 0, true, true FROM unnest(ARRAY['north', 'second']) c;

-- What a view and an owner without login run into is told when they are attached.
ALTER ROLE regress_people_owner LOGIN;
CREATE TABLE shaped (
    id bigint GENERATED BY DEFAULT AS IDENTITY, tenant text NOT NULL, kind text, first_name text, last_name text,
    deleted_at timestamptz, PRIMARY KEY (tenant, id));
ALTER TABLE shaped OWNER TO regress_people_owner;
SELECT FROM create_distributed_table('shaped', 'tenant');
CREATE VIEW shown AS SELECT tenant AS site, id AS person_id, kind AS role, first_name AS given_name,
    last_name AS family_name, deleted_at AS archived_at FROM shaped;
ALTER VIEW shown OWNER TO regress_people_owner;
SELECT expect(error_of($$SELECT roster_attach_people('shown')$$),
    '0A000 view "school.shown" shows the distributed table "school.shaped"');
DROP VIEW shown;
ALTER ROLE regress_people_owner NOLOGIN;
SELECT expect(
    error_of($$SELECT roster_attach_people('shaped', '{"site": "tenant", "person_id": "id", "role": "kind",
        "given_name": "first_name", "family_name": "last_name", "archived_at": "deleted_at"}')$$),
    '42501 owner "regress_people_owner" of the distributed table "school.shaped" cannot log in');
ALTER ROLE regress_people_owner LOGIN;
DROP TABLE shaped;

-- A school on a table as roster_create_people makes it, and one of other shape: enums for role and status, a number for
-- the ID, an address that is unique in the site without regard to case.
CREATE TYPE account_role AS ENUM ('STUDENT', 'TEACHER', 'EMPLOYEE', 'OWNER');
CREATE TYPE account_status AS ENUM ('INVITED', 'ENABLED', 'DISABLED');
SELECT roster_create_people('school.spread', 'regress_people_owner');
SELECT roster_create_people('school.gathered', 'regress_people_owner');
SELECT FROM create_distributed_table('spread', 'site');
CREATE TABLE accounts_spread (
    id bigint GENERATED BY DEFAULT AS IDENTITY, tenant text NOT NULL, role account_role NOT NULL,
    first_name text NOT NULL, last_name text NOT NULL, mail varchar(60), number varchar(20), class text,
    status account_status NOT NULL DEFAULT 'ENABLED', CONSTRAINT known_class CHECK (class <> '13'),
    PRIMARY KEY (tenant, id));
CREATE UNIQUE INDEX ON accounts_spread (tenant, lower(mail));
CREATE UNIQUE INDEX ON accounts_spread (tenant, number, last_name) NULLS NOT DISTINCT;
ALTER TABLE accounts_spread OWNER TO regress_people_owner;
CREATE TABLE accounts_gathered (LIKE accounts_spread INCLUDING ALL);
ALTER TABLE accounts_gathered OWNER TO regress_people_owner;
SELECT FROM create_distributed_table('accounts_spread', 'tenant');
SELECT roster_attach_people(t::regclass, '{"person_id": "id", "site": "tenant", "given_name": "first_name",
    "family_name": "last_name", "email": "mail", "identifier": "number", "grade": "class", "archived_at": "status"}',
    roles => '{"student": "STUDENT", "teacher": "TEACHER", "staff": "EMPLOYEE", "owner": "OWNER"}',
    archive_words => '{"active": "ENABLED", "archived": "DISABLED"}')
FROM unnest(ARRAY['school.accounts_spread', 'school.accounts_gathered']) t;

-- A class in each period of the day, in a term that goes on.
CREATE FUNCTION stage_classes() RETURNS void LANGUAGE sql AS $$
    INSERT INTO staged_academic_sessions (connection, sourced_id, collection, elsewhere, damaged, title, type,
        start_date, end_date, school_year)
    VALUES ('north', 'T1', 'terms', false, false, 'Term', 'term', current_date - 30, current_date + 30, 2027);
    INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged, title, course_code)
    VALUES ('north', 'C1', 'courses', false, false, 'Algebra', 'ALG');
    INSERT INTO staged_classes (connection, sourced_id, collection, elsewhere, damaged, title, class_type, location,
        periods, course_id, school_id, term_ids, grades)
    SELECT 'north', 'K' || n, 'classes', false, false, 'Algebra ' || n, 'scheduled', 'Room 7', ARRAY[n::text], 'C1',
        'school', '{T1}', '{5}'
    FROM generate_series(1, 5) n;
    INSERT INTO staged_enrollments (connection, sourced_id, collection, elsewhere, damaged, user_id, class_id,
        school_id, role, is_primary)
    SELECT 'north', 'e' || u || k, 'enrollments', false, false, u, 'K' || k, 'school',
        CASE left(u, 1) WHEN 't' THEN 'teacher' ELSE 'student' END, NULL
    FROM (SELECT 's' || n, 1 + n % 5 FROM generate_series(1, 40) n
        UNION ALL SELECT 't' || n, n FROM generate_series(1, 5) n) e (u, k);
$$;
-- The evenings of a school whose people are in these two tables.
CREATE PROCEDURE evenings(distributed regclass, plain regclass) LANGUAGE plpgsql AS $$
DECLARE
    night bigint;
BEGIN
    RAISE NOTICE '% and %', distributed, plain;
    DELETE FROM links WHERE connection IN ('north', 'second');
    DELETE FROM runs WHERE connection IN ('north', 'second');
    DELETE FROM staged_users WHERE connection = 'north';
    UPDATE connections SET people = CASE connection WHEN 'north' THEN distributed ELSE plain END, unproven = false
    WHERE connection IN ('north', 'second');
    PERFORM toggle(roster => true, auto_update => false, archive => false);
    DELETE FROM staged_academic_sessions WHERE connection = 'north';
    DELETE FROM staged_courses WHERE connection = 'north';
    DELETE FROM staged_classes WHERE connection = 'north';
    DELETE FROM staged_enrollments WHERE connection = 'north';
    PERFORM stage_classes();
    PERFORM stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text,
        email => 'sam' || n || '@north.example', grade => '5')
    FROM generate_series(1, 40) n;
    PERFORM stage('t' || n, 'teacher', 'Tess' || n, 'Day' || n, email => 'tess' || n || '@north.example')
    FROM generate_series(1, 5) n;
    PERFORM stage('g1', 'guardian', 'Gail', 'Day', email => 'gail@north.example'),
        stage('s1', 'student', 'Sam1', 'Day', identifier => '1', email => 'sam1@north.example', grade => '5',
            agents => '{g1}');
    CALL each_school('preview');
    CALL each_school('sync');
    CALL each_school('sync', NULL, 'sync: 0 created 0 linked 0 updated 0 restored 0 archived 0 held 45 unchanged '
        '0 conflicts 0 rejects');

    -- Updates alone: the coordinator has written down the transaction that a node prepared.
    PERFORM toggle(auto_update => true, archive => true);
    PERFORM stage('s' || n, 'student', 'Sam' || n, 'Night', identifier => n::text,
        email => 'sam.' || n || '@north.example', grade => '6')
    FROM generate_series(1, 10) n;
    PERFORM stage('t1', 'administrator', 'Tess1', 'Day1', email => 'tess1@north.example');
    CALL each_school('sync', NULL, 'sync: 0 created 0 linked 11 updated 0 restored 0 archived 0 held 34 unchanged '
        '0 conflicts 0 rejects');
    PERFORM fail_unless((SELECT count(*) > 0 FROM pg_dist_transaction), 'a run that only updates ends in two phases');
    CALL each_school('undo', newest());
    CALL each_school('sync');

    -- All that a night can bring.
    PERFORM unstage('s11', 's12', 't2');
    DELETE FROM staged_enrollments WHERE connection = 'north' AND user_id IN ('s11', 's12', 't2');
    PERFORM stage('s13', 'student', 'Sam13', 'Day', identifier => '13', email => 'SAM14@north.example', grade => '5'),
        stage('s15', 'student', 'Sam15', 'Day', identifier => '15', email => 'sam15@north.example', grade => '13'),
        stage('n1', 'student', 'New1', 'Day', identifier => '101', email => 'new1@north.example', grade => '5'),
        stage('n2', 'student', 'New2', 'Day', identifier => '102', email => 'sam16@north.example', grade => '5'),
        stage('n3', 'student', 'New3', 'Day', identifier => '103', email => 'new3@north.example', grade => '13'),
        stage('n4', 'teacher', 'New4', 'Doe'), stage('n5', 'teacher', 'New5', 'Doe');
    CALL each_school('preview');
    CALL each_school('apply', newest());
    CALL each_school('sync');
    CALL each_school('sync');
    PERFORM stage('s11', 'student', 'Sam11', 'Night', identifier => '11', email => 'sam11@north.example', grade => '5');
    CALL each_school('sync');
    CALL each_school('undo', newest());
END
$$;
CALL evenings('spread', 'gathered');
CALL evenings('accounts_spread', 'accounts_gathered');

-- Leavers who are held, and approved.
SELECT FROM unnest(ARRAY['north', 'second']) c, roster_configure(c, guard_percent => 10, guard_floor => 5);
SELECT FROM unstage(VARIADIC ARRAY(SELECT 's' || n FROM generate_series(20, 40) n));
CALL each_school('sync');
CALL each_school('approve', newest());
CALL each_school('sync');
SELECT expect((SELECT concat_ws(' ', count(*), count(e.ended_at), count(e.person_id)) FROM enrollments e
    WHERE e.connection = 'north'), '45 3 45');
SELECT expect((SELECT count(c.person_id)::text FROM contacts c WHERE c.connection = 'north'), '1');
SELECT fail_unless(NOT EXISTS (SELECT FROM run_command_on_workers('SELECT count(*) FROM pg_prepared_xacts') r
    WHERE r.result <> '0'), 'no node has a prepared transaction left');
SELECT 'People with Citus: all evenings as on a plain table';
