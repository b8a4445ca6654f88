-- The stage: what is read by the toggles, partitions, and what is set right once collections are read.
-- Planted: states that only a SIS, an earlier night or time would make.
\set VERBOSITY terse
SET search_path = public, minga_roster, minga_roster_internal;
SELECT roster_create_people('public.stage_people', owner => 'regress_people_owner');
SELECT connection FROM roster_connect('stage', url => 'https://campus.example/campus/api/oneroster/v1p1/minga',
    client_id => 'c', school_id => 'S1',
    people => 'public.stage_people', time_zone => 'America/Denver');

-- What is read
CREATE FUNCTION public.reads(connection text DEFAULT 'stage') RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(collection, ' ' ORDER BY "position") FROM minga_roster_internal.collections_to_read(connection) $$;
SELECT * FROM collections_to_read('stage');
SELECT count(*) FROM roster_toggle('stage', 'student', roster => false);
SELECT reads();
SELECT connection FROM roster_configure('stage', parent_contact => true);
-- no contacts of students who are not rostered
SELECT reads();
SELECT count(*) FROM roster_toggle('stage', 'student', roster => true);
SELECT reads();
-- staff and admin come from one collection
SELECT count(*) FROM roster_toggle('stage', 'staff', roster => false);
SELECT reads();
SELECT count(*) FROM roster_toggle('stage', 'admin', roster => false);
SELECT reads();
-- archives of one staff category need all collections of staff
SELECT count(*) FROM roster_toggle('stage', 'teacher', archive => true);
SELECT reads();
SELECT count(*) FROM roster_toggle('stage', 'teacher', roster => false);
-- no one is archived of a category that is not rostered
SELECT reads();
SELECT count(*) FROM roster_toggle('stage', 'student', roster => false, archive => true);
SELECT reads();
SELECT count(*) FROM roster_toggle('stage', roster => true, archive => false);
SELECT connection FROM roster_connect('plain', url => 'https://sis.example/ims/oneroster/v1p1',
    token_url => 'https://sis.example/token',
    client_id => 'c', school_id => 'S1', people => 'public.stage_people', site => 'plain',
    time_zone => 'America/Denver', sis => 'oneroster_1.1');
SELECT collection, path, roles FROM collections_to_read('plain');
SELECT reads('nobody');

-- Partitions
CREATE FUNCTION public.partitions() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s of %s, %s, %s', regexp_replace(c.relname, '[0-9]+$', 'N'), i.inhparent::regclass,
        CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END,
        CASE WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
        AND d.deptype = 'e') THEN 'member' ELSE 'no member' END)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent IN ('minga_roster.staged_users'::regclass, 'minga_roster.staged_orgs'::regclass)
    ORDER BY 1
$$;
SELECT prepare_stage('stage');
SELECT partitions();
INSERT INTO staged_users (connection, sourced_id, collection, enabled, damaged)
    VALUES ('stage', 's1', 'students', true, false);
INSERT INTO staged_users (connection, sourced_id, collection, enabled, damaged)
    VALUES ('plain', 's1', 'students', true, false);
SELECT prepare_stage('stage');
SELECT partitions();
SELECT count(*) FROM staged_users;

-- One row for each id, the latest, else the one of the school's own endpoint; contacts whom a student names
INSERT INTO runs (run, connection, site, kind, trigger, state, requested_by)
    VALUES (-1, 'stage', 'stage', 'fetch', 'manual', 'running', current_user);
INSERT INTO staged_users (connection, sourced_id, collection, role, given_name, enabled, damaged, date_last_modified,
    agent_ids) VALUES
    ('stage', 's1', 'students', 'student', 'older', true, false, '2026-01-01T00:00:00.000Z', '{g9}'),
    ('stage', 's1', 'students', 'student', 'latest', true, false, '2026-02-01T00:00:00.000Z', '{g1,g2}'),
    ('stage', 's1', 'students', 'student', 'no date', true, false, NULL, NULL),
    ('stage', 't1', 'administrators', 'teacher', 'of administrators', true, false, '2026-01-01T00:00:00.000Z', NULL),
    ('stage', 't1', 'guardians', 'teacher', 'of the district', true, false, '2026-01-01T00:00:00.000Z', NULL),
    ('stage', 'g1', 'guardians', 'guardian', 'named', true, false, NULL, '{s1}'),
    ('stage', 'g3', 'guardians', 'guardian', 'not named', true, false, NULL, '{s1}'),
    ('stage', 'g2', 'relatives', 'relative', 'named', true, false, NULL, NULL),
    ('stage', 'g9', 'relatives', 'relative', 'named by a row that is gone', true, false, NULL, NULL);
SELECT distinct_staged('stage', 'students', 'student'), distinct_staged('stage', 'relatives', 'contact'),
    distinct_staged('stage', 'teachers', 'staff');
SELECT store_collection(-1, 'stage', 'students', 'student', true, 'total', 1, 3, 1, 1, 0, 0, false, NULL, NULL);
SELECT store_collection(-1, 'stage', 'guardians', 'contact', true, 'total', 1, 3, 3, 3, 0, 0, true, 'fallback', NULL);
SELECT store_collection(-1, 'stage', 'relatives', 'contact', true, 'total', 1, 2, 2, 2, 0, 5, false, NULL, NULL);
SELECT settle_stage(-1, 'stage');
SELECT sourced_id, collection, given_name FROM staged_users ORDER BY sourced_id;
SELECT collection, complete, proof, rows, distinct_ids, elsewhere, fallback, detail FROM collections WHERE run = -1
    ORDER BY collection;
-- those elsewhere, kept by id until the end of their collection is judged
INSERT INTO staged_users (connection, sourced_id, collection, enabled, damaged, outcome) VALUES
    ('stage', 'a1', 'administrators', true, false, 'elsewhere'),
    ('stage', 'a2', 'administrators', true, false, 'unchanged'),
    ('stage', 'a3', 'teachers', true, false, 'elsewhere');
SELECT store_collection(-1, 'stage', 'administrators', 'staff', true, 'total', 1, 2, 2, 2, 0, 1, true, NULL, NULL);
SELECT sourced_id FROM staged_users WHERE sourced_id LIKE 'a%' ORDER BY 1;

SELECT drop_stage('stage');
SELECT drop_stage('stage');
SELECT settle_stage(-1, 'stage');
SELECT partitions();

DELETE FROM runs WHERE run = -1;
DELETE FROM connections WHERE connection IN ('stage', 'plain');
DELETE FROM people_relations WHERE relation = 'public.stage_people'::regclass;
DROP TABLE public.stage_people;
DROP FUNCTION public.reads(text), public.partitions();
