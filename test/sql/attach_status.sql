-- roster_attach_people with a status column in place of a time, and with roles of an enum.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\i :fixture
CREATE SCHEMA attach_status;
GRANT USAGE ON SCHEMA attach_status TO regress_people_owner;
SET search_path = attach_status, minga_roster, minga_roster_internal, public;
CREATE TYPE kind AS ENUM ('STUDENT', 'TEACHER', 'STAFF', 'OWNER');
CREATE TYPE state AS ENUM ('ACTIVE', 'SUSPENDED', 'GONE');
CREATE DOMAIN live_state AS state NOT NULL;
CREATE DOMAIN word AS text CHECK (VALUE IN ('in', 'out'));
CREATE TABLE people (site text, person_id bigint GENERATED ALWAYS AS IDENTITY, role kind NOT NULL, given_name text,
    family_name text,
    archived_at timestamptz, state state NOT NULL, live live_state, is_active boolean NOT NULL, word word,
    short varchar(6) NOT NULL DEFAULT 'x', number integer,
    made boolean GENERATED ALWAYS AS (true) STORED);
\set roles '''{"student": "STUDENT", "teacher": "TEACHER", "staff": "STAFF", "owner": "OWNER"}'''
ALTER TABLE people ALTER state SET DEFAULT 'ACTIVE', ALTER is_active SET DEFAULT true, ALTER live SET DEFAULT 'ACTIVE',
    OWNER TO regress_people_owner;

-- Whatever holds two words: an enum and its domain, a boolean, a text of any kind; none of them has to take NULL.
SELECT roster_attach_people('people', '{"archived_at": "state"}', :roles, '{"active": "ACTIVE", "archived": "GONE"}');
SELECT columns ->> 'archived_at', roles ->> 'staff', archive_words FROM people_relations
    WHERE relation = 'people'::regclass;
SELECT roster_attach_people('people', '{"archived_at": "live"}', :roles, '{"active": "ACTIVE", "archived": "GONE"}');
SELECT roster_attach_people('people', '{"archived_at": "is_active"}', :roles, '{"active": true, "archived": "false"}');
SELECT archive_words FROM people_relations WHERE relation = 'people'::regclass;
SELECT roster_attach_people('people', '{"archived_at": "word"}', :roles, '{"active": "in", "archived": "out"}');
SELECT roster_attach_people('people', '{"archived_at": "short"}', :roles, '{"active": "ACTIVE", "archived": "GONE"}');
-- A time needs no words.
SELECT roster_attach_people('people', '{}', :roles);
SELECT columns ->> 'archived_at', archive_words FROM people_relations WHERE relation = 'people'::regclass;

-- Columns and words that do not go together.
SELECT pg_temp.refusal($$SELECT roster_attach_people('people', '{"archived_at": "state"}')$$);
SELECT pg_temp.refusal(
    format($$SELECT roster_attach_people('people', '{}', %L, '{"active": "ACTIVE", "archived": "GONE"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "number"}', %L,
    '{"active": "1", "archived": "0"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "number"}', %L)$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "made"}', %L,
    '{"active": "true", "archived": "false"}')$$, :roles));
-- Words that the column does not take, or would take for something else.
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "state"}', %L,
    '{"active": "active", "archived": "ARCHIVED"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "live"}', %L,
    '{"active": "ACTIVE", "archived": "ARCHIVED"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "is_active"}', %L,
    '{"active": "t", "archived": "no"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "word"}', %L,
    '{"active": "in", "archived": "gone"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "short"}', %L,
    '{"active": "ACTIVE", "archived": "ARCHIVED"}')$$, :roles));
-- Words that are none.
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "short"}', %L,
    '{"active": "IN", "archived": "IN"}')$$, :roles));
SELECT pg_temp.refusal(
    format($$SELECT roster_attach_people('people', '{"archived_at": "short"}', %L, '{"archived": "GONE"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "short"}', %L,
    '{"active": 1, "archived": " ", "suspended": "OUT"}')$$, :roles));
SELECT pg_temp.refusal(format($$SELECT roster_attach_people('people', '{"archived_at": "short"}', %L, '"GONE"')$$,
    :roles));
-- Roles that the enum does not have; owners and managers are never written.
SELECT pg_temp.refusal($$SELECT roster_attach_people('people', '{}',
    '{"student": "STUDENT", "teacher": "Teacher", "manager": "MANAGER"}')$$);
-- A refused one leaves what was there.
SELECT columns ->> 'archived_at', archive_words FROM people_relations WHERE relation = 'people'::regclass;

-- What a domain's check does, it does with the owner's rights.
CREATE ROLE regress_roster_owner;
CREATE TABLE tried (who text);
GRANT USAGE ON SCHEMA minga_roster TO regress_roster_owner;
GRANT USAGE, CREATE ON SCHEMA attach_status TO regress_roster_owner;
GRANT INSERT ON tried TO regress_roster_owner;
GRANT EXECUTE ON FUNCTION roster_attach_people(regclass, jsonb, jsonb, jsonb) TO regress_roster_owner;
SET ROLE regress_roster_owner;
CREATE FUNCTION note(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO attach_status.tried
    VALUES (current_user); RETURN true; END $$;
CREATE DOMAIN noted AS text CHECK (attach_status.note(VALUE));
CREATE TABLE theirs (site text, person_id integer DEFAULT 1, role text, given_name text, family_name text,
    state noted NOT NULL);
SELECT roster_attach_people('theirs', '{"archived_at": "state"}',
    archive_words => '{"active": "IN", "archived": "OUT"}');
RESET ROLE;
SELECT DISTINCT who FROM tried;

DELETE FROM people_relations WHERE relation IN ('people'::regclass, 'theirs');
SET client_min_messages = warning;
DROP SCHEMA attach_status CASCADE;
DROP OWNED BY regress_roster_owner;
DROP ROLE regress_roster_owner;
