-- New people whom the relation gives another id, puts elsewhere or hides: the run links who is there, and takes back
-- what it cannot see, so that no night makes a second copy.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- A night: what it did, how many people there are, how many links are right, and whether a row of people was written.
CREATE FUNCTION night(relation regclass DEFAULT 'people', below regclass DEFAULT NULL) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    before text := versions(coalesce(below, relation));
    found text;
BEGIN
    PERFORM run_merge();
    EXECUTE format(
        'SELECT count(DISTINCT p) FILTER (WHERE p.site = ''north'') || '' people, '' '
        '|| count(DISTINCT l.sourced_id) || '' linked, ''
        || count(DISTINCT l.sourced_id) FILTER (WHERE p.site = ''north'' AND p.given_name = s.given_name) || '' right''
        FROM %s p FULL JOIN (SELECT * FROM links WHERE connection = ''north'') l ON l.person_id = p.person_id::text
        LEFT JOIN staged_users s ON s.connection = ''north'' AND s.sourced_id = l.sourced_id', relation) INTO found;
    RETURN (SELECT concat_ws(' ', 'created', r.created, 'linked', r.linked, 'updated', r.updated, 'restored',
        r.restored, 'archived', r.archived,
            'unchanged', r.unchanged, 'conflicts', r.conflicts, 'rejects', r.rejects || ':', found || ',',
            CASE WHEN before IS NOT DISTINCT FROM versions(coalesce(below, relation)) THEN 'nothing written'
            ELSE 'written' END)
        FROM runs r WHERE r.run = last_run());
END
$$;
\set three_nights 'SELECT night(); SELECT night(); SELECT night();'
CREATE FUNCTION noted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws('|', action, person_id, array_to_string(sourced_ids, ' '), rule, reason, state) FROM changes
        WHERE run = last_run() AND state = 'noted' ORDER BY change
$$;
CREATE FUNCTION sums() RETURNS text LANGUAGE sql AS $$
    SELECT (SELECT sum(count) FROM run_counts WHERE run = last_run() AND action NOT IN ('archive', 'held',
        'refused archive'))::int = (SELECT count(*) FROM staged_users WHERE connection = 'north')
        AND NOT EXISTS (SELECT FROM (SELECT outcome, count(*) AS n FROM staged_users WHERE connection = 'north'
        GROUP BY 1) s
            FULL JOIN (SELECT action AS outcome, sum(count) AS n FROM run_counts WHERE run = last_run() AND count > 0
            AND action NOT IN ('archive', 'held', 'refused archive') GROUP BY 1) c USING (outcome) WHERE s.n IS DISTINCT
            FROM c.n)
$$;
CREATE TABLE people_elsewhere (LIKE people INCLUDING DEFAULTS);
ALTER TABLE people_elsewhere OWNER TO regress_people_owner;
CREATE FUNCTION fresh() RETURNS SETOF void LANGUAGE sql AS $$
    SELECT clear();
    DELETE FROM people_elsewhere;
    SELECT toggle(auto_update => true, archive => true);
    SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 1000);
    SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => CASE WHEN n <> 3 THEN n::text END)
        FROM generate_series(1, 5) n;
$$;
CREATE SEQUENCE own_id;
CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.person_id := 'own '
    || nextval('school.own_id'); RETURN NEW; END $$;
CREATE TRIGGER on_insert BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION on_insert();

-- a trigger that sets the id itself
SELECT fresh();
:three_nights
SELECT linked();
-- in a preview that is applied
SELECT stage('s6', 'student', 'Sam6', 'Day');
SELECT FROM run_merge('preview');
SELECT FROM run_merge('apply', last_run());
SELECT action, state, person_id FROM changes WHERE run = (SELECT of_run FROM runs WHERE run = last_run());
:three_nights
-- an undo of that
SELECT FROM run_merge('undo', (SELECT max(run) FROM runs WHERE created = 1 AND kind = 'apply'));
SELECT person_id, archived_at IS NOT NULL FROM people WHERE given_name = 'Sam6';
-- for some of them, while others are thrown away
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.given_name IN ('Sam2', 'Sam5') THEN RETURN NULL; END IF;
    IF NEW.given_name <> 'Sam4' THEN NEW.person_id := 'own ' || nextval('school.own_id'); END IF;
    RETURN NEW;
END
$$;
SELECT fresh();
:three_nights
SELECT noted();
SELECT sums();
SELECT given_name, person_id ~ '^own' FROM people ORDER BY 1;

-- a trigger that stores the row elsewhere and returns NULL: said each night, and the row elsewhere is taken back
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO school.people_elsewhere
    SELECT NEW.*; RETURN NULL; END $$;
SELECT fresh();
:three_nights
SELECT noted();
SELECT sums(), (SELECT count(*) FROM people_elsewhere);
SELECT sourced_ids, category, conflict, given_name, person_id FROM roster_conflicts WHERE connection = 'north'
    ORDER BY 1;
SELECT regexp_replace(roster_report(last_run()), '\s+', ' ', 'g') ~ 'did not appear among the people',
    roster_report(last_run()) !~ 'Sam';
-- through a preview as well
SELECT FROM run_merge('preview');
SELECT FROM run_merge('apply', last_run());
SELECT created, conflicts, rejects FROM runs WHERE run = last_run();
SELECT count(*) FROM roster_conflicts WHERE connection = 'north' AND conflict = 'not_stored';
SELECT count(*) FROM people_elsewhere;
-- more than a hundred of them do not fail the school, nor keep others from being written
SELECT fresh();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(6, 400) n;
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF right(NEW.given_name, 1) = '7' THEN RETURN NEW; END IF;
    INSERT INTO school.people_elsewhere SELECT NEW.*;
    RETURN NULL;
END
$$;
:three_nights
SELECT sums(), (SELECT count(*) FROM people_elsewhere);
-- once it is mended, they are created
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
:three_nights
-- a trigger that hides others each time comes to an end
CREATE SEQUENCE mood;
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE
    WHEN nextval('school.mood') % 3 > 0 THEN NEW END; END $$;
SELECT fresh();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(6, 60) n;
SELECT FROM run_merge();
SELECT created + conflicts, sums(), (SELECT count(*) FROM people) = created FROM runs WHERE run = last_run();

-- a trigger that stores the row in a table of which people shows it, as partitions were made before there were any
CREATE TABLE people_of_year () INHERITS (people);
ALTER TABLE people_of_year OWNER TO regress_people_owner;
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO school.people_of_year
    SELECT NEW.*; RETURN NULL; END $$;
SELECT fresh();
:three_nights
SELECT linked();
-- under an id of its own, which it does not give back: known by who came in the run, unless two could be meant
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.person_id := 'own ' || nextval('school.own_id'); INSERT INTO school.people_of_year SELECT NEW.*; RETURN NULL;
    END $$;
SELECT fresh();
SELECT stage('s6', 'student', 'Sam5', 'Day', identifier => '6'), stage('s7', 'student', 'Sam7', 'Day'),
    stage('s8', 'student', 'Sam7', 'Day');
:three_nights
SELECT noted();
SELECT count(*) FROM people WHERE given_name = 'Sam7';
DROP TABLE people_of_year;

-- a trigger that puts people into another site: no one stays there
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.site := 'south'; RETURN NEW;
    END $$;
SELECT fresh();
:three_nights
SELECT count(*) FROM people WHERE site = 'south';
-- one that stores them archived, with other names, or as an owner: they are linked, and known again
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE NEW.given_name WHEN 'Sam1' THEN NEW.archived_at := now(); WHEN 'Sam2'
        THEN NEW.given_name := 'Samuel'; NEW.identifier := '99';
        WHEN 'Sam3' THEN NEW.role := 'owner'; WHEN 'Sam4' THEN NEW.roster_managed := false; ELSE NULL; END CASE;
    RETURN NEW;
END
$$;
SELECT fresh();
:three_nights
SELECT given_name, role, identifier, archived_at IS NULL, roster_managed FROM people ORDER BY 1;

-- one that finds the person there by a key, writes to that row and returns NULL: no one is linked, and the row is as
-- before
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE school.people SET email = 'taken@x.example' WHERE given_name = NEW.given_name;
    RETURN CASE WHEN NOT FOUND THEN NEW END;
END
$$;
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'owner', 'Sam1', 'Rich'),
    ('south', 'student', 'Sam2', 'Day');
:three_nights
SELECT noted();
SELECT site, role, email FROM people WHERE family_name = 'Rich' OR site = 'south';
-- one that says another row of the plan, or none: no one gets another one's link
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('roster_write.change', '1', true);
    NEW.person_id := 'own ' || nextval('school.own_id');
    RETURN NEW;
END
$$;
SELECT fresh();
:three_nights
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM set_config('roster_write.change', NEW.given_name, true); RETURN NEW; END $$;
SELECT fresh();
:three_nights
SELECT count(*), max(reason) FROM changes WHERE run = last_run() AND rule = 'refused by people';
-- an id of someone who is gone, whose link is there still
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger
    LANGUAGE plpgsql AS $$ BEGIN NEW.person_id := NEW.family_name; RETURN NEW; END $$;
SELECT fresh();
SELECT unstage('s2', 's3', 's4', 's5');
:three_nights
DELETE FROM people;
SELECT unstage('s1'), stage('s6', 'student', 'Sue', 'Day');
:three_nights
SELECT linked();
DROP TRIGGER on_insert ON people;

-- an update that gives the person another id, or moves the person to another site, is taken back
CREATE FUNCTION on_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.given_name = 'Sam1' THEN NEW.person_id := 'own ' || nextval('school.own_id'); ELSIF NEW.given_name = 'Sam2'
        THEN NEW.site := 'south'; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER on_update BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION on_update();
SELECT fresh();
SELECT FROM run_merge();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Night', identifier => n::text) FROM generate_series(1, 4) n;
:three_nights
SELECT noted();
SELECT site, given_name, family_name FROM people ORDER BY 2;
DROP TRIGGER on_update ON people;

-- a view whose trigger lets the table below give the id, and returns the row as it was sent
SELECT fresh();
CREATE TABLE pupils (id bigint GENERATED ALWAYS AS IDENTITY (START 1000) PRIMARY KEY, site text, role text, first text,
    last text, number text, gone timestamptz);
ALTER TABLE pupils OWNER TO regress_people_owner;
CREATE VIEW directory AS SELECT site, id AS person_id, role, first AS given_name, last AS family_name,
    number AS identifier, gone AS archived_at FROM pupils;
CREATE SEQUENCE directory_id;
ALTER SEQUENCE directory_id OWNER TO regress_people_owner;
ALTER VIEW directory ALTER person_id SET DEFAULT nextval('school.directory_id');
ALTER VIEW directory OWNER TO regress_people_owner;
CREATE FUNCTION write_pupil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO school.pupils (site, role, first, last, number, gone)
            VALUES (NEW.site, NEW.role, upper(NEW.given_name), NEW.family_name, NEW.identifier, NEW.archived_at);
    ELSE
        UPDATE school.pupils SET role = NEW.role, first = upper(NEW.given_name), last = NEW.family_name,
            number = NEW.identifier, gone = NEW.archived_at WHERE id = OLD.person_id;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER write_pupil INSTEAD OF INSERT OR UPDATE ON directory FOR EACH ROW EXECUTE FUNCTION write_pupil();
SELECT roster_attach_people('directory');
SELECT use_people('directory');
INSERT INTO pupils (site, role, first, last) VALUES ('north', 'student', 'Sam5', 'Day');
SELECT stage('s6', 'student', 'Sam6', 'Day'), stage('s7', 'student', 'Sam6', 'Day'),
    stage('s8', 'student', 'Sam6', 'Dax');
SELECT night('directory', 'pupils'); SELECT night('directory', 'pupils'); SELECT night('directory', 'pupils');
SELECT count(*), count(DISTINCT (first, last)) FROM pupils;
SELECT sourced_id, first, last FROM links JOIN pupils ON id::text = person_id ORDER BY 1;
SELECT noted();
-- and one that says the id of someone who is there
CREATE OR REPLACE FUNCTION write_pupil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.person_id := 1000; RETURN NEW;
    END $$;
SELECT stage('s9', 'student', 'Sam9', 'Day');
SELECT night('directory', 'pupils'); SELECT night('directory', 'pupils');
SELECT count(*) FROM links WHERE person_id = '1000';
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'directory'::regclass;
SELECT clear();

-- a trigger that removes, moves or renumbers the row after it was inserted
SELECT fresh();
CREATE FUNCTION after_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CASE NEW.given_name WHEN 'Sam1' THEN DELETE FROM school.people WHERE person_id = NEW.person_id;
        WHEN 'Sam2' THEN UPDATE school.people SET person_id = 'own ' || nextval('school.own_id')
            WHERE person_id = NEW.person_id;
        WHEN 'Sam3' THEN UPDATE school.people SET site = 'south' WHERE person_id = NEW.person_id; ELSE NULL; END CASE;
    RETURN NULL;
END
$$;
CREATE TRIGGER after_insert AFTER INSERT ON people FOR EACH ROW EXECUTE FUNCTION after_insert();
:three_nights
SELECT noted();
DROP TRIGGER after_insert ON people;
-- a view that does not show everyone whom it takes
CREATE VIEW shown_people AS SELECT * FROM people WHERE grade IS DISTINCT FROM '13';
ALTER VIEW shown_people ALTER person_id SET DEFAULT 'V' || nextval('school.person');
ALTER VIEW shown_people OWNER TO regress_people_owner;
SELECT roster_attach_people('shown_people');
SELECT fresh();
SELECT use_people('shown_people');
SELECT FROM run_merge();
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1', grade => '13'),
    stage('s2', 'student', 'Sam2', 'Day', identifier => '2', grade => '12'),
    stage('s6', 'student', 'Sam6', 'Day', grade => '13');
SELECT night('shown_people', 'people'); SELECT night('shown_people', 'people'); SELECT night('shown_people', 'people');
SELECT noted();
SELECT count(*), count(*) FILTER (WHERE grade = '13') FROM people;
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'shown_people'::regclass;
DROP VIEW shown_people;
SELECT clear();

-- partitions, with a default one; each person in its own
ALTER TABLE people RENAME TO people_before;
CREATE TABLE people (LIKE people_before INCLUDING DEFAULTS) PARTITION BY LIST (site);
CREATE TABLE people_north PARTITION OF people FOR VALUES IN ('north');
CREATE TABLE people_others PARTITION OF people DEFAULT;
ALTER TABLE people OWNER TO regress_people_owner;
ALTER TABLE people_north OWNER TO regress_people_owner;
CREATE OR REPLACE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.person_id := 'own '
    || nextval('school.own_id'); RETURN NEW; END $$;
CREATE TRIGGER on_insert BEFORE INSERT ON people_north FOR EACH ROW EXECUTE FUNCTION on_insert();
SELECT roster_attach_people('people');
SELECT use_people('people');
SELECT fresh();
SELECT night('people'); SELECT night('people'); SELECT night('people');
\set ECHO none
\i :fixture_end
