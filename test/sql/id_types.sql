-- Ids and sites of many types: each id is whole, a second sync changes nothing, and who was updated or archived
-- is as before once that is undone.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE EXTENSION citext SCHEMA school;
CREATE DOMAIN padded AS char(36);
CREATE DOMAIN padded_too AS padded CHECK (VALUE <> '');
CREATE DOMAIN short AS varchar(5);
CREATE TABLE shapes (nth integer GENERATED ALWAYS AS IDENTITY, site text, id text, first_id text);
INSERT INTO shapes (site, id, first_id) VALUES
    ('varchar(20)', 'varchar(12)', '''P'' || nextval(''school.person'')'),
    ('text', 'char(36)', 'gen_random_uuid()'),
    ('text', 'padded_too', 'gen_random_uuid()'),
    ('text', 'char(36)', 'rpad(''P'' || nextval(''school.person''), 36)'),
    ('short', 'short', '''P'' || nextval(''school.person'')'),
    ('citext', 'citext', '''P'' || nextval(''school.person'')'),
    ('text', 'name', '''P'' || nextval(''school.person'')'),
    ('text', '"char"', 'chr(64 + nextval(''school.person'')::integer)::"char"'),
    -- The column makes a whole number of it.
    ('text', 'bigint', 'nextval(''school.person'') + 0.4'),
    ('text', 'numeric(6, 2)', 'nextval(''school.person'')'),
    ('text', 'bit(8)', 'nextval(''school.person'')::integer::bit(8)'),
    ('text', 'timestamptz(0)', '''2026-01-01''::timestamptz + nextval(''school.person'') * interval ''1.4 seconds'''),
    ('text', 'cidr', '(''10.0.0.'' || nextval(''school.person''))::cidr'),
    ('text', 'text[]', 'ARRAY[''P'', nextval(''school.person'')::text]'),
    ('text', 'int4range', 'int4range(nextval(''school.person'')::integer, NULL)');
CREATE FUNCTION found(step text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN format('%s: %s; ids %s; %s', step,
        (SELECT concat_ws(' ', created, linked, updated, restored, archived, rejects) FROM runs WHERE run = last_run()),
        -- As many as there are people, and each of them the link's.
        (SELECT CASE WHEN count(DISTINCT p.person_id::text) = 4 AND bool_and(l.person_id IS NOT NULL) THEN 'whole'
                ELSE string_agg(p.person_id::text, ' ') END
            FROM ids p LEFT JOIN links l ON l.connection = 'north' AND l.person_id = p.person_id::text
            WHERE p.site::text = 'north'),
        (SELECT string_agg(p.given_name || CASE WHEN p.archived_at IS NULL THEN '' ELSE ' (archived)' END, ' '
        ORDER BY p.family_name)
            FROM ids p WHERE p.site::text = 'north'));
END
$$;
-- The comparison is that of the type, in full, and finds each person by site and id as text.
CREATE FUNCTION compared() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    terms text := equal_terms('ids', 'person_id', 'w.id');
    number bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM ids p JOIN (SELECT person_id::text AS id FROM ids) w ON %s WHERE %s',
        terms, equal_terms('ids', 'site', '$1'))
    INTO number USING 'north';
    RETURN number || ' by ' || terms;
END
$$;
-- The same nights with each of them.
\set ECHO none
SELECT s.statement
FROM shapes
CROSS JOIN LATERAL (VALUES
    (1, format('CREATE TABLE ids (site %s, person_id %s DEFAULT %s, role text, given_name text, family_name text, '
        'archived_at timestamptz, PRIMARY KEY (site, person_id))', shapes.site, id, first_id)),
    (2, format('SELECT %L', concat_ws(', ', shapes.site, id, first_id))),
    (3, 'ALTER TABLE ids OWNER TO regress_people_owner'),
    (4, 'SELECT FROM roster_attach_people(''ids'')'),
    (5, 'UPDATE connections SET people = ''ids'', guard_percent = 100 WHERE connection = ''north'''),
    (6, 'SELECT toggle(auto_update => true, archive => true)'),
    (7, 'SELECT stage(''s'' || n, ''student'', ''Sam'', ''Day'' || n) FROM generate_series(1, 4) n'),
    (8, 'SELECT FROM run_merge()'),
    (9, 'INSERT INTO ids (site, role, given_name, family_name) VALUES (''south'', ''student'', ''Ada'', ''A'')'),
    (10, 'SELECT found(''created'')'),
    (11, 'SELECT again(''ids'')'),
    (12, 'SELECT compared()'),
    (13, 'SELECT unstage(''s4''), stage(''s1'', ''student'', ''Tom'', ''Day1'')'),
    (14, 'SELECT FROM run_merge()'),
    (15, 'SELECT found(''changed'')'),
    (16, 'SELECT FROM run_merge(''undo'', last_run())'),
    (17, 'SELECT found(''undone'')'),
    (18, 'SELECT concat(count(*), '' of the other'') FROM ids WHERE site::text = ''south'' AND given_name = ''Ada'''),
    (19, 'UPDATE connections SET people = ''people'' WHERE connection = ''north'''),
    (20, 'DELETE FROM people_relations WHERE relation = ''ids''::regclass'),
    (21, 'DROP TABLE ids'),
    (22, 'SELECT clear()')) s (place, statement)
ORDER BY nth, place \gexec
\set ECHO all
-- Further types, without a sync; none for what cannot be compared.
CREATE TYPE campus AS ENUM ('north', 'south');
CREATE TYPE pair AS (a integer, b integer);
CREATE TABLE further (a uuid, b padded, c bigint, d varbit(8), e date, f interval(0), g campus, h oidvector, i regclass,
    j int4multirange, k campus[], no1 json, no2 xml, no3 point, no4 json[], no5 pair);
SELECT attname, column_type('further', attname), stored_type('further', attname), equal_terms('further', attname, 'x')
FROM pg_attribute WHERE attrelid = 'further'::regclass AND attnum > 0 AND attname !~ '^no' ORDER BY attnum;
SELECT refused(format('SELECT equal_terms(''further'', %L, ''x'')', attname))
FROM pg_attribute WHERE attrelid = 'further'::regclass AND attname ~ '^no' ORDER BY attnum;
SELECT equal_terms('further', 'gone', 'x');
-- A value that is too long for a domain is refused, as for any column, and not cut.
ALTER TABLE people ALTER grade TYPE short, ALTER phone TYPE varchar(5);
SELECT stage('s1', 'student', 'Ada', 'Day', grade => 'Kindergarten'),
    stage('s2', 'student', 'Bea', 'Day', phone => '555-0199'),
    stage('s3', 'student', 'Cy', 'Day', grade => 'K', phone => '555');
SELECT FROM run_merge();
SELECT action, ids, rule FROM shown();
SELECT given_name, grade, phone FROM people;
\set ECHO none
\i :fixture_end
