-- Values that people store in another form than the roster gives them: seen in what is there afterwards, remembered,
-- and not written again. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- A night: what it did, how many people there are, and whether a row of them was written.
CREATE FUNCTION night(relation regclass DEFAULT 'people') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before text := versions(relation);
BEGIN
    PERFORM run_merge();
    RETURN (SELECT concat_ws(' ', 'created', r.created, 'linked', r.linked, 'updated', r.updated, 'restored',
        r.restored, 'archived', r.archived,
            'unchanged', r.unchanged, 'skipped', r.skipped, 'conflicts', r.conflicts, 'rejects', r.rejects,
            CASE WHEN before IS NOT DISTINCT FROM versions(relation) THEN 'nothing written' ELSE 'written' END)
            FROM runs r WHERE r.run = last_run());
END
$$;
\set three_nights 'SELECT night(); SELECT night(); SELECT night();'
CREATE FUNCTION noted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', action, array_to_string(sourced_ids, ' '), rule, reason, state, state_reason,
        before - 'archived_at', after - 'archived_at', stored)
    FROM changes WHERE run = last_run() ORDER BY change
$$;
CREATE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER change_on_write BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change_on_write();

-- a column of another type
ALTER TABLE people ALTER grade TYPE integer USING grade::integer;
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', grade => '0' || n) FROM generate_series(1, 5) n;
:three_nights
SELECT given_name, grade FROM people ORDER BY 1;
-- another value of the SIS is written, and so is one that someone changed by hand
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '08');
UPDATE people SET grade = 11 WHERE given_name = 'Sam2';
:three_nights
SELECT given_name, grade FROM people ORDER BY 1;
-- taken back by an undo, which does not take what is stored for an edit
SELECT stage('s3', 'student', 'Sam3', 'Day', grade => '07');
SELECT FROM run_merge();
SELECT noted();
SELECT FROM run_merge('undo', last_run());
SELECT c.state, c.stored, p.grade FROM changes c JOIN people p USING (person_id) WHERE c.action = 'update'
    AND p.given_name = 'Sam3';
:three_nights
-- a preview plans nothing for them, and its apply remembers as well
SELECT stage('s4', 'student', 'Sam4', 'Day', grade => '06');
SELECT FROM run_merge('preview');
SELECT noted();
SELECT FROM run_merge('apply', last_run());
SELECT FROM run_merge('preview');
SELECT noted();
:three_nights
-- who is there before: nothing is written where the column would make the same of it
SELECT clear();
INSERT INTO people (site, role, given_name, family_name, identifier, grade)
    VALUES ('north', 'student', 'Ana', 'Lee', '1', 9);
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', grade => '09');
SELECT versions('people') AS before \gset
SELECT toggle(auto_update => true);
:three_nights
SELECT versions('people') = :'before';
-- also where so many of them would differ that the guard would hold the updates; those that do change something are
-- held
INSERT INTO people (site, role, given_name, family_name, identifier, grade) SELECT 'north', 'student', 'Sam' || n,
    'Day', 'i' || n, n % 9 FROM generate_series(2, 31) n;
SELECT FROM roster_configure('north', guard_update_percent => 75);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => 'i' || n, grade => '0' || n % 9)
    FROM generate_series(2, 31) n;
SELECT versions('people') AS before \gset
:three_nights
SELECT held FROM runs WHERE run = last_run();
SELECT versions('people') = :'before';
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => 'i' || n, grade => '0' || n % 9 + 1)
    FROM generate_series(2, 31) n;
:three_nights
SELECT held FROM runs WHERE run = last_run();
SELECT versions('people') = :'before';
SELECT FROM run_merge('approve', last_run());
SELECT updated FROM runs WHERE run = last_run();
:three_nights
SELECT versions('people') AS before \gset
-- what was remembered is forgotten, as by attaching the relation again: it is asked once more, and still no row is
-- written
DELETE FROM stored_values;
:three_nights
SELECT versions('people') = :'before';
SELECT clear();
ALTER TABLE people ALTER grade TYPE text;

-- types: padded, without regard to case, of one word of many, of a number, of a day
CREATE EXTENSION citext SCHEMA school;
CREATE TYPE level AS ENUM ('9', '10', 'KG');
CREATE DOMAIN trimmed AS text CHECK (VALUE = btrim(VALUE));
ALTER TABLE people ALTER grade TYPE char(4), ALTER email TYPE citext,
    ALTER identifier TYPE numeric(10, 2) USING identifier::numeric, ALTER middle_name TYPE trimmed,
    ALTER phone TYPE date USING phone::date, ALTER username TYPE bigint USING username::bigint;
SELECT toggle(auto_update => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => '00' || n, email => 'Sam' || n || '@X.example',
    grade => 'K' || n, phone => '2026-1-0' || n,
    username => '0' || n, middle_name => 'M') FROM generate_series(1, 3) n;
:three_nights
SELECT given_name, identifier, email, grade, phone, username FROM people ORDER BY 1;
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '001', email => 'SAM1@X.example', grade => 'K1',
    phone => '2026-01-09', username => '0001', middle_name => 'M');
:three_nights
SELECT clear();
ALTER TABLE people ALTER grade TYPE level USING NULL, ALTER email TYPE text, ALTER identifier TYPE text,
    ALTER middle_name TYPE text, ALTER phone TYPE text,
    ALTER username TYPE text;
SELECT toggle(auto_update => true);
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '9'), stage('s2', 'student', 'Sam2', 'Day', grade => '09');
:three_nights
SELECT given_name, grade FROM people ORDER BY 1;
SELECT clear();
ALTER TABLE people ALTER grade TYPE text;

-- triggers: lower case, trimmed, cut short, emptied, a default; before the write, and after it
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.email := lower(NEW.email);
    NEW.identifier := ltrim(NEW.identifier, '0');
    NEW.grade := left(NEW.grade, 2);
    NEW.phone := NULL;
    NEW.role := CASE NEW.role WHEN 'student' THEN 'Pupil' ELSE NEW.role END;
    RETURN NEW;
END
$$;
CREATE FUNCTION change_after_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE school.people SET username = upper(username) WHERE person_id = NEW.person_id AND username <> upper(username);
    RETURN NULL;
END
$$;
CREATE TRIGGER change_after_write AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change_after_write();
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => '00' || n, email => 'Sam' || n || '@X.example',
    grade => 'KG' || n, phone => '55' || n,
    username => 'sam' || n) FROM generate_series(1, 4) n;
:three_nights
SELECT role, given_name, identifier, email, grade, phone, username FROM people ORDER BY given_name;
-- one column changes, others stay as they are; a leaver goes and comes back
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '001', email => 'Sammy@X.example', grade => 'KG1',
    phone => '551', username => 'sam1'), unstage('s2');
:three_nights
SELECT stage('s2', 'student', 'Sam2', 'Day', identifier => '002', email => 'Sam2@X.example', grade => 'KG2',
    phone => '552', username => 'sam2');
:three_nights
SELECT role, given_name, identifier, email, grade, phone, username, archived_at IS NULL FROM people ORDER BY given_name;
-- what was written is undone, also where a trigger changes it after the write
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '001', email => 'Sam1@X.example', grade => 'KG1',
    phone => '551', username => 'samuel');
SELECT FROM run_merge();
SELECT FROM run_merge('undo', last_run());
SELECT state, state_reason IS NOT NULL, count(*) FROM changes
    WHERE run = (SELECT of_run FROM runs WHERE run = last_run()) GROUP BY 1, 2;
SELECT given_name, email, username FROM people WHERE given_name = 'Sam1';
-- a column that is the SIS's unless edited: what the trigger makes of it is no edit
SELECT clear();
SELECT toggle(auto_update => true);
SELECT FROM roster_set_column_owner('north', 'email', 'sis unless edited');
SELECT stage('s1', 'student', 'Sam1', 'Day', email => 'Sam1@X.example'),
    stage('s2', 'student', 'Sam2', 'Day', email => 'Sam2@X.example');
:three_nights
SELECT stage('s1', 'student', 'Sam1', 'Day', email => 'Samuel@X.example'),
    stage('s2', 'student', 'Sam2', 'Day', email => 'Sammy@X.example');
UPDATE people SET email = 'own@x.example' WHERE given_name = 'Sam2';
:three_nights
SELECT given_name, email FROM people ORDER BY 1;
DELETE FROM column_owners;
-- a role that is stored in another form is the one that was written
SELECT clear();
SELECT toggle(auto_update => true);
SELECT stage('t1', 'teacher', 'Tom', 'Day', username => 'tom');
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN NEW.role := upper(NEW.role); RETURN NEW; END $$;
:three_nights
SELECT stage('t1', 'administrator', 'Tom', 'Day', username => 'tom');
:three_nights
SELECT role, given_name FROM people;
-- unless someone gave the person another
UPDATE people SET role = 'coach';
SELECT stage('t1', 'teacher', 'Tom', 'Day', username => 'tom');
:three_nights
SELECT role, given_name FROM people;

-- a trigger that keeps the old value: the update is not counted as done, and is not tried again until the SIS has
-- another value
SELECT clear();
DROP TRIGGER change_after_write ON people;
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF TG_OP = 'UPDATE' THEN NEW.grade := OLD.grade; END IF; RETURN NEW; END $$;
SELECT toggle(auto_update => true);
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '8'), stage('s2', 'student', 'Sam2', 'Day', grade => '8');
:three_nights
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '9'), stage('s2', 'student', 'Samuel', 'Day', grade => '9');
SELECT FROM run_merge();
SELECT noted();
:three_nights
SELECT given_name, grade FROM people ORDER BY 1;
SELECT stage('s1', 'student', 'Sam1', 'Day', grade => '10');
:three_nights
:three_nights
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE TG_OP
    WHEN 'UPDATE' THEN OLD ELSE NEW END; END $$;
SELECT stage('s1', 'student', 'Sam1', 'Noon', grade => '10');
:three_nights
-- a first match of such a person is linked all the same
DELETE FROM links WHERE connection = 'north';
UPDATE people SET identifier = person_id;
DROP TRIGGER change_on_write ON people;
UPDATE people SET identifier = '7' WHERE given_name = 'Sam1';
CREATE TRIGGER change_on_write BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change_on_write();
SELECT unstage('s1', 's2'), stage('s7', 'student', 'Sam1', 'Day', identifier => '7', grade => '11');
SELECT FROM run_merge();
SELECT noted();
:three_nights

-- a trigger that takes no update at all, or no archive, or no restore: told each night, and nothing is written
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RETURN CASE WHEN TG_OP = 'UPDATE' AND OLD.family_name = 'Day' THEN NULL ELSE NEW END; END $$;
SELECT stage('s' || n, 'student', 'Sam' || n, CASE n WHEN 3 THEN 'Night' ELSE 'Day' END) FROM generate_series(1, 6) n;
SELECT FROM run_merge();
SELECT stage('s1', 'student', 'Sam1', 'Dawn'), stage('s3', 'student', 'Sam3', 'Dawn'), unstage('s2');
:three_nights
SELECT noted();
SELECT given_name, family_name, archived_at IS NULL FROM people WHERE given_name IN ('Sam1', 'Sam2', 'Sam3') ORDER BY 1;
SELECT sourced_id, archived_run IS NOT NULL, missed_since IS NOT NULL FROM links WHERE sourced_id IN ('s1', 's2', 's3')
    ORDER BY 1;
SELECT regexp_replace(roster_report(last_run()), '\s+', ' ', 'g') ~ 'ignored the update',
    roster_report(last_run()) !~ 'Sam|Dawn';
-- an archive that is written and not there
CREATE OR REPLACE FUNCTION change_on_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'UPDATE'
    THEN NEW.archived_at := OLD.archived_at; END IF; RETURN NEW; END $$;
SELECT stage('s1', 'student', 'Sam1', 'Day');
:three_nights
SELECT noted();
DROP TRIGGER change_on_write ON people;
:three_nights
-- nor a restore
CREATE TRIGGER change_on_write BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change_on_write();
SELECT stage('s2', 'student', 'Sam2', 'Day', grade => '4');
:three_nights
SELECT noted();
SELECT given_name, grade, archived_at IS NULL FROM people WHERE given_name = 'Sam2';
-- an approval of what was held is not taken either
DROP TRIGGER change_on_write ON people;
SELECT FROM run_merge();
UPDATE connections SET unproven = true, unproven_since = now() WHERE connection = 'north';
SELECT unstage('s4');
SELECT FROM run_merge();
SELECT last_run() AS held \gset
CREATE TRIGGER change_on_write BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION change_on_write();
SELECT FROM run_merge('approve', :held);
SELECT archived FROM runs WHERE run = last_run();
SELECT state, state_reason FROM changes WHERE run = :held AND action = 'archive';
DROP TRIGGER change_on_write ON people;

-- a view with casts, whose trigger returns the row as it was sent
SELECT clear();
CREATE TABLE pupils (site text, id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, role text, first text,
    last text, number integer, year smallint, gone timestamptz);
ALTER TABLE pupils OWNER TO regress_people_owner;
CREATE VIEW directory AS SELECT site, id AS person_id, role, first AS given_name, upper(last) AS family_name,
    number::text AS identifier, year::text AS grade,
    gone AS archived_at FROM pupils;
ALTER VIEW directory ALTER person_id SET DEFAULT nextval('school.pupils_id_seq');
ALTER VIEW directory OWNER TO regress_people_owner;
CREATE FUNCTION write_pupil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO school.pupils VALUES (NEW.site, NEW.person_id, NEW.role, NEW.given_name, NEW.family_name,
            NEW.identifier::integer, NEW.grade::smallint, NEW.archived_at);
    ELSE
        UPDATE school.pupils SET role = NEW.role, first = NEW.given_name, last = NEW.family_name,
            number = NEW.identifier::integer, year = NEW.grade::smallint,
            gone = NEW.archived_at WHERE id = OLD.person_id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER write_pupil INSTEAD OF INSERT OR UPDATE ON directory FOR EACH ROW EXECUTE FUNCTION write_pupil();
SELECT count(*) > 0 FROM stored_values WHERE connection = 'north';
SELECT roster_attach_people('people');
SELECT count(*) FROM stored_values WHERE connection = 'north';
SELECT roster_attach_people('directory');
SELECT use_people('directory');
SELECT toggle(auto_update => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => '000' || n, grade => '0' || n)
    FROM generate_series(1, 4) n;
SELECT night('pupils'); SELECT night('pupils'); SELECT night('pupils');
SELECT given_name, family_name, identifier, grade FROM directory ORDER BY 1;
SELECT stage('s1', 'student', 'Samuel', 'Day', identifier => '0001', grade => '05');
SELECT night('pupils'); SELECT night('pupils'); SELECT night('pupils');
SELECT FROM run_merge('undo', (SELECT max(run) FROM runs WHERE updated = 1));
SELECT given_name, family_name, identifier, grade FROM directory ORDER BY 1;
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'directory'::regclass;
SELECT clear();

-- nothing of a value is kept but a hash, and it goes with the connection
SELECT count(*) > 0 FROM stored_values;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'minga_roster.stored_values'::regclass
    AND attnum > 0 ORDER BY attnum;
DELETE FROM runs WHERE connection = 'north';
SELECT FROM minga_roster_internal.drop_stage('north');
DELETE FROM connections WHERE connection = 'north';
SELECT count(*) FROM stored_values;
\set ECHO none
\i :fixture_end
