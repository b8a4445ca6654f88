-- Whatever the people relation refuses one person for: that person is a reject with the SQLSTATE and the constraint,
-- all others are written, and the same three nights in a row. What the server says of itself fails the run. Planted:
-- states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION night(relation regclass DEFAULT 'people') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := versions(relation);
BEGIN
    PERFORM run_merge();
    RETURN (SELECT concat_ws(' ', 'created', r.created, 'updated', r.updated, 'restored', r.restored, 'archived',
        r.archived, 'unchanged', r.unchanged,
            'conflicts', r.conflicts, 'rejects', r.rejects,
            CASE WHEN before IS NOT DISTINCT FROM versions(relation) THEN 'nothing written' ELSE 'written' END)
            FROM runs r WHERE r.run = last_run());
END
$$;
\set three_nights 'SELECT night(); SELECT night(); SELECT night(); SELECT noted();'
CREATE FUNCTION noted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', array_to_string(sourced_ids, ' '), action, rule, reason, state) FROM changes
        WHERE run = last_run() AND state = 'noted' ORDER BY sourced_ids
$$;
-- Twenty who are there, ten new ones.
CREATE FUNCTION fresh() RETURNS SETOF void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM clear();
    PERFORM toggle(auto_update => true, archive => true);
    PERFORM FROM roster_configure('north', guard_percent => 100, guard_floor => 1000);
    PERFORM stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(10, 29) n;
    PERFORM run_merge();
    PERFORM stage('s' || n, 'student', 'Sam' || n, 'Day', grade => '5') FROM generate_series(10, 29) n;
    PERFORM stage('n' || n, 'student', 'New' || n, 'Day', grade => '5') FROM generate_series(10, 19) n;
END
$$;

-- a view with a check option: one new, one who is there
CREATE VIEW known AS SELECT * FROM people WHERE phone IS DISTINCT FROM '555-0199' WITH CHECK OPTION;
ALTER VIEW known ALTER person_id SET DEFAULT 'V' || nextval('school.person');
ALTER VIEW known OWNER TO regress_people_owner;
SELECT roster_attach_people('known');
SELECT fresh();
SELECT use_people('known');
SELECT stage('s12', 'student', 'Sam12', 'Day', phone => '555-0199'),
    stage('n12', 'student', 'New12', 'Day', phone => '555-0199');
:three_nights
SELECT count(*), count(*) FILTER (WHERE grade = '5') FROM people;
SELECT roster_report(last_run()) !~ '555|Sam|New', roster_report(last_run()) ~ '44000';
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'known'::regclass;
DROP VIEW known;

-- constraints of all kinds, each hit by someone new and by someone who is there
CREATE TABLE grades (grade text PRIMARY KEY);
ALTER TABLE grades OWNER TO regress_people_owner;
INSERT INTO grades VALUES ('5'), ('6');
CREATE DOMAIN short_name AS text CHECK (length(VALUE) < 10);
CREATE TYPE house AS ENUM ('red', 'blue');
SELECT fresh();
ALTER TABLE people ADD FOREIGN KEY (grade) REFERENCES grades, ADD CONSTRAINT short_phone CHECK (length(phone) < 9),
    ALTER preferred_name TYPE short_name,
    ALTER middle_name TYPE varchar(3), ADD lowered text GENERATED ALWAYS AS (left(lower(username), 3)) STORED,
    ADD CONSTRAINT one_address EXCLUDE USING btree (email WITH =),
    ALTER parent_phone TYPE house USING parent_phone::house;
CREATE UNIQUE INDEX people_lowered ON people (lowered);
CREATE INDEX people_identifier ON people (identifier);
SELECT stage('s11', 'student', 'Sam11', 'Day', grade => '7'), stage('n11', 'student', 'New11', 'Day', grade => '8'),
    stage('s12', 'student', 'Sam12', 'Day', phone => '1234567890'),
    stage('n12', 'student', 'New12', 'Day', phone => '1234567890'),
    stage('s13', 'student', 'Sam13', 'Day', middle_name => 'long'),
    stage('n13', 'student', 'New13', 'Day', middle_name => 'long'),
    stage('s14', 'student', 'Sam14', 'Day', username => 'one.sam'),
    stage('n14', 'student', 'New14', 'Day', username => 'ONE.new'),
    stage('s15', 'student', 'Sam15', 'Day', email => 'one@x.example'),
    stage('n15', 'student', 'New15', 'Day', email => 'one@x.example'),
    -- not compressed, and too large for an index
    stage('n16', 'student', 'New16', 'Day',
        identifier => (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n));
UPDATE staged_users SET preferred_name = 'much too long' WHERE sourced_id IN ('s17', 'n17');
:three_nights
SELECT count(*), count(*) FILTER (WHERE grade = '5') FROM people;
ALTER TABLE people DROP CONSTRAINT people_grade_fkey, DROP CONSTRAINT short_phone, ALTER preferred_name TYPE text,
    ALTER middle_name TYPE text, DROP lowered,
    DROP CONSTRAINT one_address, ALTER parent_phone TYPE text;
DROP INDEX people_identifier;

-- NOT NULL, a word that an enum does not have, a number that is none, set on columns that were attached without
SELECT fresh();
UPDATE people SET phone = '1';
ALTER TABLE people ALTER phone SET NOT NULL, ALTER phone SET DEFAULT '2', ALTER username TYPE house USING NULL,
    ALTER identifier TYPE integer USING identifier::integer;
CREATE FUNCTION empties() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.given_name IN ('Sam11', 'New11')
    THEN NEW.phone := NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER empties BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION empties();
SELECT stage('s12', 'student', 'Sam12', 'Day', username => 'green'),
    stage('n12', 'student', 'New12', 'Day', username => 'lime'),
    stage('n10', 'student', 'New10', 'Day', username => 'red'),
    stage('s13', 'student', 'Sam13', 'Day', identifier => 'A13'),
    stage('n13', 'student', 'New13', 'Day', identifier => '99999999999');
:three_nights
SELECT count(*), count(*) FILTER (WHERE grade = '5') FROM people;
DROP TRIGGER empties ON people;
ALTER TABLE people ALTER phone DROP NOT NULL, ALTER phone DROP DEFAULT, ALTER username TYPE text,
    ALTER identifier TYPE text;

-- a trigger that raises, whatever it says
CREATE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state text := (ARRAY['P0001', '42501', 'ZX001', '22012', '23001', '55000', '0A000', '28000', 'P0002',
        '2F003'])[right(NEW.given_name, 1)::integer + 1];
BEGIN
    IF NEW.given_name ~ '^(Sam|New)1' THEN
        RAISE EXCEPTION 'no % here', NEW.given_name USING ERRCODE = state, CONSTRAINT = NEW.given_name,
            COLUMN = NEW.given_name;
    END IF;
    RETURN NEW;
END
$$;
SELECT fresh();
CREATE TRIGGER raises BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION raises();
SELECT stage('n' || n, 'student', 'New' || n, 'Day', grade => '5') FROM generate_series(20, 25) n;
:three_nights
SELECT count(*), count(*) FILTER (WHERE grade = '5') FROM people;
-- after the row, at the end of the statement, or by what it runs into
CREATE OR REPLACE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE NEW.given_name
        WHEN 'New10' THEN EXECUTE format('SELECT %I', NEW.given_name);
        WHEN 'New11' THEN PERFORM NEW.given_name::regclass;
        WHEN 'New12' THEN PERFORM 1 / (length(NEW.given_name) - 5);
        WHEN 'New13' THEN ASSERT NEW.given_name IS NULL, NEW.given_name;
        WHEN 'New14' THEN PERFORM school.deeper(NEW.given_name);
        WHEN 'Sam15' THEN
            IF pg_trigger_depth() = 1 THEN UPDATE school.people SET phone = 'x' WHERE person_id = NEW.person_id; END IF;
        WHEN 'New16' THEN PERFORM (SELECT 1 UNION ALL SELECT 2);
        ELSE NULL;
    END CASE;
    RETURN NEW;
END
$$;
CREATE FUNCTION deeper(name text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN school.deeper(name || 'x'); END $$;
:three_nights
DROP TRIGGER raises ON people;
CREATE CONSTRAINT TRIGGER raises AFTER INSERT OR UPDATE ON people DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION raises();
:three_nights
DROP TRIGGER raises ON people;
-- one that takes no archive and no restore
CREATE OR REPLACE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.given_name = 'Sam11' AND NEW.archived_at IS NOT NULL OR NEW.given_name = 'Sam12' AND NEW.archived_at IS NULL
        THEN
        RAISE check_violation USING MESSAGE = NEW.given_name, CONSTRAINT = 'people_pkey';
    END IF;
    RETURN NEW;
END
$$;
SELECT fresh();
SELECT FROM run_merge();
SELECT unstage('s12');
SELECT FROM run_merge();
CREATE TRIGGER raises BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION raises();
SELECT stage('s12', 'student', 'Sam12', 'Day', grade => '5'), unstage('s11', 's13');
:three_nights
SELECT given_name FROM people WHERE archived_at IS NOT NULL ORDER BY 1;
DROP TRIGGER raises ON people;

-- people in partitions of which none is for one of them
ALTER TABLE people RENAME TO people_before;
CREATE TABLE people (LIKE people_before INCLUDING DEFAULTS) PARTITION BY LIST (grade);
CREATE TABLE people_5 PARTITION OF people FOR VALUES IN ('5', NULL);
ALTER TABLE people OWNER TO regress_people_owner;
ALTER TABLE people_5 OWNER TO regress_people_owner;
SELECT roster_attach_people('people');
SELECT use_people('people');
SELECT fresh();
SELECT stage('s11', 'student', 'Sam11', 'Day', grade => '6'), stage('n11', 'student', 'New11', 'Day', grade => '6');
SELECT night('people'); SELECT night('people'); SELECT night('people'); SELECT noted();
SELECT count(*), count(*) FILTER (WHERE grade = '5') FROM people;

-- what the server says of itself, or of its locks, is no person's fault: the run fails, and no one is changed
CREATE OR REPLACE FUNCTION raises() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no % here',
    NEW.given_name USING ERRCODE = TG_ARGV[0]; END $$;
SELECT stage('n50', 'student', 'New50', 'Day', grade => '5');
SELECT versions('people') AS before \gset
\set ECHO none
SELECT s.statement
FROM unnest(ARRAY['53100', '53200', '57P01', '58030', '40001', '40P01', '55P03', 'XX000', '08006']) WITH ORDINALITY c (
    code, nth)
CROSS JOIN LATERAL (
    VALUES (1, format('CREATE TRIGGER raises BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION raises(%L)', code)),
    (2, 'SELECT split_part(refused(''SELECT run_merge()''), chr(10), 1)'), (3, 'DROP TRIGGER raises ON people')) s (
    place, statement)
ORDER BY nth, place \gexec
\set ECHO all
SELECT versions('people') = :'before';
-- a right that the owner lacks is everyone's, and is told with its object
ALTER TABLE people OWNER TO postgres;
CREATE ROLE regress_no_writer;
GRANT USAGE ON SCHEMA school TO regress_no_writer;
ALTER TABLE people OWNER TO regress_no_writer;
REVOKE UPDATE ON people FROM regress_no_writer;
SELECT refused('SELECT run_merge()');
ALTER TABLE people OWNER TO regress_people_owner;
REVOKE ALL ON SCHEMA school FROM regress_no_writer;
DROP ROLE regress_no_writer;

-- only superusers hear of the last error
SET ROLE regress_people_owner;
SELECT minga_roster_internal.owner_error();
RESET ROLE;
\set ECHO none
\i :fixture_end
