-- roster_attach_people: which relations fit, and that everything unfit is named at once.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA attach_people;
GRANT USAGE ON SCHEMA attach_people TO regress_people_owner;
SET search_path = attach_people, minga_roster, minga_roster_internal, public;

-- The least that is needed, under its own names.
CREATE TABLE minimal (site text, person_id bigint GENERATED ALWAYS AS IDENTITY, role varchar(20), given_name text,
    family_name text, archived_at timestamptz);
ALTER TABLE minimal OWNER TO regress_people_owner;
SELECT roster_attach_people('minimal');
SELECT columns, roles FROM people_relations WHERE relation = 'minimal'::regclass;

-- Columns under other names; a column that stands for something else does not stand for itself too.
CREATE TABLE renamed (school varchar(40), id uuid DEFAULT gen_random_uuid(), kind text, first_name text, last_name text,
    gone timestamptz,
    mail text, identifier text, email text, roster_managed boolean GENERATED ALWAYS AS (kind <> 'guest') STORED,
    updated_at timestamptz NOT NULL, note text NOT NULL DEFAULT '');
ALTER TABLE renamed OWNER TO regress_people_owner;
SELECT roster_attach_people('renamed',
    '{"site": "school", "person_id": "id", "role": "kind", "given_name": "first_name", "family_name": "last_name",
    "archived_at": "gone", "email": "mail", "username": "email"}',
    '{"student": "STUDENT", "teacher": "TEACHER", "manager": "MANAGER"}');
SELECT e.key, e.value FROM people_relations, jsonb_each_text(columns) e WHERE relation = 'renamed'::regclass ORDER BY 1;
SELECT roles FROM people_relations WHERE relation = 'renamed'::regclass;
-- Again: the new map replaces the old one.
SELECT roster_attach_people('renamed',
    '{"site": "school", "person_id": "id", "role": "kind", "given_name": "first_name", "family_name": "last_name",
    "archived_at": "gone"}');
SELECT columns ->> 'email', columns ? 'username', roles FROM people_relations WHERE relation = 'renamed'::regclass;
-- A refused one leaves the old one.
SELECT pg_temp.refusal($$SELECT roster_attach_people('renamed')$$);
SELECT columns ->> 'email' FROM people_relations WHERE relation = 'renamed'::regclass;

-- Domains, a partitioned table, unusual names.
CREATE DOMAIN name_text AS text CHECK (VALUE <> '');
CREATE DOMAIN short_name AS name_text;
CREATE TABLE "Odd ""People""" (site text, person_id integer DEFAULT 1, role text, given_name short_name,
    "Family Name" text, archived_at timestamptz)
    PARTITION BY LIST (site);
ALTER TABLE "Odd ""People""" OWNER TO regress_people_owner;
SELECT roster_attach_people('"Odd ""People"""', '{"family_name": "Family Name"}');
SELECT relation, columns ->> 'family_name' FROM people_relations WHERE relation = '"Odd ""People"""'::regclass;

-- Views: one that is updatable, with a default of its own; one with triggers; those that are not.
CREATE VIEW updatable AS SELECT site, person_id, role, given_name, family_name, archived_at FROM minimal;
ALTER VIEW updatable OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('updatable')$$);
ALTER VIEW updatable ALTER COLUMN person_id SET DEFAULT 7;
SELECT roster_attach_people('updatable');
CREATE VIEW computed AS SELECT site, person_id, role, upper(given_name) AS given_name, family_name, archived_at
    FROM minimal;
ALTER VIEW computed ALTER COLUMN person_id SET DEFAULT 7;
ALTER VIEW computed OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('computed')$$);
CREATE VIEW distinct_people AS SELECT DISTINCT * FROM minimal;
SELECT pg_temp.refusal($$SELECT roster_attach_people('distinct_people')$$);
CREATE VIEW triggered AS SELECT DISTINCT * FROM minimal;
ALTER VIEW triggered ALTER COLUMN person_id SET DEFAULT 7;
ALTER VIEW triggered OWNER TO regress_people_owner;
CREATE FUNCTION write_people() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER write_people INSTEAD OF INSERT OR UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION write_people();
SELECT roster_attach_people('triggered');

-- What is no table or view.
CREATE MATERIALIZED VIEW frozen AS SELECT * FROM minimal;
CREATE SEQUENCE numbers;
CREATE TEMP TABLE fleeting (LIKE minimal);
SELECT pg_temp.refusal($$SELECT roster_attach_people('frozen')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('numbers')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('fleeting')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('missing')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people(4294967294::oid)$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people(NULL)$$);

-- Everything missing or unfit, in one error.
CREATE TABLE unfit (site integer, person_id uuid, role text, first_name text, archived_at timestamp NOT NULL,
    email text NOT NULL, grade integer,
    username text GENERATED ALWAYS AS ('x') STORED, updated_at date, roster_managed text, tenant text NOT NULL,
    seats integer NOT NULL DEFAULT 0);
ALTER TABLE unfit OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('unfit',
    '{"given_name": "first_name", "family_name": "last_name", "nickname": "first_name", "phone": 7,
    "middle_name": "first_name"}',
    '{"student": "", "teacher": "staff", "pupil": "PUPIL", "owner": null}')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('minimal', '["site"]')$$);
SELECT pg_temp.refusal($$SELECT roster_attach_people('minimal', '{}', '"x"')$$);
CREATE TABLE bad_id (site text, person_id uuid GENERATED ALWAYS AS ('d7ef7ae0-9f0b-4b8b-9d3c-1f2f3a4b5c6d') STORED,
    role text, given_name text, family_name text, archived_at timestamptz);
ALTER TABLE bad_id OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('bad_id')$$);
CREATE TABLE incomparable (site text, person_id json DEFAULT '1', role text, given_name text, family_name text,
    archived_at timestamptz);
ALTER TABLE incomparable OWNER TO regress_people_owner;
SELECT pg_temp.refusal($$SELECT roster_attach_people('incomparable')$$);
ALTER TABLE minimal ADD roster_managed boolean NOT NULL;
SELECT pg_temp.refusal($$SELECT roster_attach_people('minimal')$$);

SELECT relation FROM people_relations WHERE relation::text LIKE 'attach_people.%' OR relation IN ('minimal'::regclass,
    'renamed', 'updatable', 'triggered', '"Odd ""People"""') ORDER BY relation::text;

-- Only the owner, or a role with the owner's rights.
CREATE ROLE regress_roster_owner;
CREATE ROLE regress_roster_member IN ROLE regress_roster_owner;
CREATE ROLE regress_roster_stranger;
CREATE TABLE owned (LIKE updatable);
ALTER TABLE owned ALTER person_id SET DEFAULT 1, OWNER TO regress_roster_owner;
GRANT ALL ON owned TO regress_roster_stranger;
GRANT USAGE ON SCHEMA minga_roster, attach_people TO regress_roster_owner, regress_roster_stranger;
GRANT EXECUTE ON FUNCTION roster_attach_people(regclass, jsonb, jsonb, jsonb) TO regress_roster_owner,
    regress_roster_stranger;
SET ROLE regress_roster_stranger;
SELECT pg_temp.refusal($$SELECT roster_attach_people('owned')$$);
SET ROLE regress_roster_member;
SELECT roster_attach_people('owned');
RESET ROLE;
SELECT count(*) FROM people_relations WHERE relation = 'owned'::regclass;

DELETE FROM people_relations
    WHERE relation IN ('minimal'::regclass, 'renamed', 'updatable', 'triggered', '"Odd ""People"""', 'owned');
SET client_min_messages = warning;
DROP SCHEMA attach_people CASCADE;
DROP OWNED BY regress_roster_owner, regress_roster_member, regress_roster_stranger;
DROP ROLE regress_roster_owner, regress_roster_member, regress_roster_stranger;
