-- A person is erased from every table, and no later night makes the person again; everyone else stays as they were.
-- Planted: rows of tables that only rare nights fill, and errors that name a person, which no error of ours does.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- Each column of the extension's tables whose text has the word in it, partitions and statistics included.
CREATE FUNCTION places(word text DEFAULT 'needle') RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    place record;
    found boolean;
BEGIN
    FOR place IN
        SELECT c.oid::regclass AS relation, c.relname, a.attname
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
            AND c.relkind = 'r' AND NOT a.attisdropped
        ORDER BY 2, 3
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s t WHERE position($1 IN lower(t.%I::text)) > 0)',
            place.relation, place.attname) INTO found USING word;
        IF found THEN
            RETURN NEXT regexp_replace(place.relname, '_\d+$', '') || '.' || place.attname;
        END IF;
    END LOOP;
    RETURN QUERY SELECT 'statistics of ' || regexp_replace(s.tablename, '_\d+$', '') || '.' || s.attname
        FROM pg_stats s
        WHERE s.schemaname IN ('minga_roster', 'minga_roster_internal')
            AND position(word IN lower(concat(s.most_common_vals, s.histogram_bounds, s.most_common_elems))) > 0
        ORDER BY 1;
END
$$;
-- All rows without the word, to be found again afterwards.
CREATE FUNCTION rows_without(word text DEFAULT 'needle') RETURNS TABLE (relation text, content text)
LANGUAGE plpgsql AS $$
DECLARE
    this record;
BEGIN
    FOR this IN SELECT c.oid::regclass AS relation, c.relname FROM pg_class c
        WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
            AND c.relkind = 'r' ORDER BY 2
    LOOP
        RETURN QUERY EXECUTE format('SELECT %L, t::text FROM %s t WHERE position($1 IN lower(t::text)) = 0',
            this.relname, this.relation) USING word;
    END LOOP;
END
$$;

-- A school with two connections, and a student of whom every value is a needle.
SELECT clear();
SELECT connect('second');
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, email => 'sam' || n || '@x.example',
    agents => CASE n WHEN 1 THEN '{g1,needle-id}'::text[] END) FROM generate_series(1, 5) n;
INSERT INTO people (site, person_id, role, given_name, family_name, identifier, email)
VALUES ('north', 'needle-person', 'student', 'Needle-given', 'Needle-family', 'Needle-number', 'needle@x.example'),
    ('south', 'needle-person', 'student', 'Needle-given', 'Needle-family', 'Needle-number', 'needle@x.example');
CREATE FUNCTION stage_needle(sourced_id text DEFAULT 'needle-id', connection text DEFAULT 'north',
    given_name text DEFAULT 'Needle-given', family_name text DEFAULT 'Needle-family',
    identifier text DEFAULT 'needle-NUMBER', email text DEFAULT 'needle@x.example') RETURNS SETOF void
LANGUAGE sql AS $$
    SELECT stage(stage_needle.sourced_id, 'student', stage_needle.given_name, stage_needle.family_name,
        identifier => stage_needle.identifier, username => 'needle-user', email => stage_needle.email,
        grade => 'needle', phone => 'needle 1', middle_name => 'needle-m', agents => '{needle-mother,needle-aunt}',
        connection => stage_needle.connection);
    UPDATE staged_users s SET preferred_name = 'needle', date_last_modified = 'needle', org_ids = '{needle}',
        legacy_id = 'needle-legacy', relationships = '[{"id": "needle-mother", "type": "needle"}]',
        damaged_field = 'needle', roles = '{needle}', sms = 'needle', user_ids = '{needle}', birth_date = 'needle',
        status = NULL
    WHERE s.sourced_id = stage_needle.sourced_id AND s.connection = stage_needle.connection
$$;
SELECT stage('needle-mother', 'guardian', 'needle', 'needle'), stage('g1', 'guardian', 'Gus', 'Day'),
    stage('needle-aunt', 'guardian', 'needle', 'needle', connection => 'second');
SELECT stage_needle(), stage_needle('needle-second', 'second');
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT FROM run_merge(connection => 'second');
UPDATE people SET phone = '1' WHERE person_id = 'needle-person';
SELECT FROM run_merge();
-- ... in the tables that rare nights fill, each time beside a row of someone else.
SELECT person_id AS other FROM people WHERE given_name = 'Sam1' \gset
SELECT last_run() AS run \gset
INSERT INTO link_changes (run, sourced_id, before) VALUES (:run, 'needle-id', '{"person_id": "other"}'),
    (:run, 'former', '{"person_id": "needle-person", "sourced_id": "needle-id"}'), (:run, 's1', '{"person_id": "P1"}');
INSERT INTO planned_links (run, sourced_id, deed, person_id, missing, returned) VALUES
    (:run, 'needle-id', 'insert', 'needle-person', false, false), (:run, 's1', 'insert', 'P1', false, false);
INSERT INTO match_decisions (connection, sourced_id, person_id, decision, decided_by, decided_at) VALUES
    ('north', 's1', 'needle-person', 'never the same', 'test', now()),
    ('north', 'needle-id', NULL, 'skip', 'test', now()),
    ('north', 's2', 'P9', 'never the same', 'test', now());
INSERT INTO column_owners (connection, column_name, owner) VALUES ('north', 'phone', 'sis unless edited');
INSERT INTO written_values VALUES ('north', 'phone', 'needle-person', 1), ('north', 'phone', 'P1', 1);
INSERT INTO stored_values VALUES ('north', 'needle-person', 'phone', 1, 1), ('north', 'P1', 'phone', 1, 1);
INSERT INTO changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state, state_at,
    state_reason, conflict, same_name, before, after, stored)
VALUES (:run, 901, 'north', 'student', 'needle-person', '{s1,needle-id}', 'conflict', 'identifier', 'Two rows.',
        'noted', now(), NULL, 'several_rows', '{P1,needle-person}', '{}', '{}', NULL),
    (:run, 902, 'north', 'student', NULL, '{s2}', 'create', 'new', 'New.', 'planned', now(), NULL, NULL,
        '{needle-person,P1}', '{}', '{"given_name": "Sue"}', NULL),
    (:run, 903, 'north', 'student', NULL, '{s3}', 'conflict', 'unique', 'A unique index.', 'noted', now(),
        state_reason('holder', 'needle-person'), 'not_unique', NULL, '{}', '{}', NULL),
    (:run, 904, 'north', 'student', 'needle-person', '{needle-id}', 'archive', 'absent', 'needle-person left.', 'held',
        now(), 'Held for needle-person.', NULL, NULL, '{"phone": "needle"}', '{"phone": "needle"}',
        '{"phone": "needle"}'),
    (:run, 905, 'north', 'student', 'P1', '{s1}', 'update', 'link', 'P1 changed.', 'planned', now(), NULL, NULL, NULL,
        '{"phone": "1"}', '{"phone": "2"}', NULL);
INSERT INTO conflict_candidates VALUES (:run, 901, 'needle-person', 'identifier'), (:run, 901, 'P1', 'identifier');
INSERT INTO conflict_pairs (run, change, pair, sourced_id, given_name, family_name, identifier, email, username, role,
    person_id, found_by, person_given_name, person_family_name, person_identifier, person_email, person_username,
    person_role, agrees, differs)
VALUES (:run, 901, 1, 'needle-id', 'needle', 'needle', 'needle', 'needle', 'needle', 'student', 'P1', 'identifier',
        'Sam1', 'Day', '1', 'sam1@x.example', 'sam1', 'student', '{}', '{}'),
    (:run, 901, 2, 's1', 'Sam1', 'Day', '1', 'sam1@x.example', 'sam1', 'student', 'needle-person', 'identifier',
        'needle', 'needle', 'needle', 'needle', 'needle', 'student', '{}', '{}'),
    (:run, 901, 3, 's1', 'Sam1', 'Day', '1', 'sam1@x.example', 'sam1', 'student', 'P1', 'identifier',
        'Sam1', 'Day', '1', 'sam1@x.example', 'sam1', 'student', '{}', '{}');
UPDATE runs SET error = 'needle-person failed', detail = 'Row needle-id.', hint = 'See Needle-family, Needle-given.'
    WHERE run = :run;
INSERT INTO run_steps (run, position, step, detail, hint) VALUES
    (:run, 1, 'people', 'needle@x.example', 'needle-number'), (:run, 2, 'url', 'fine', 'none');
INSERT INTO findings (run, position, finding, value, detail, hint) VALUES (:run, 1, 'f', 'needle-id', 'needle-person',
    'needle-person'), (:run, 2, 'f', 'v', 'd', 'h');
UPDATE collections SET detail = 'Row needle-id' WHERE run = :run AND collection = 'students';
-- Mail that waits, that was sent, and that could not be sent.
INSERT INTO outbox (run, connection, email, subject, body_text, body_html, state, next_attempt_at, created_at, origin,
    last_error)
SELECT :run, 'north', s || '@x.example', 'About Needle-given Needle-family',
    'For Needle-given Needle-family (needle-id)', '<b>Needle-given Needle-family</b>', s, now(), now(), 'x',
    'refused needle@x.example'
FROM unnest(ARRAY['waiting', 'sent', 'failed']) s;
-- What the SIS said, now and before: rows of the student, of a contact, and of others.
INSERT INTO user_rows (connection, sourced_id, site, role, given_name, valid, written_run)
SELECT 'north', i, 'north', 'student', i, tstzrange(now(), NULL), :run FROM unnest('{needle-id,s1}'::text[]) i;
INSERT INTO enrollment_rows (connection, sourced_id, site, user_id, class_id, role, valid, written_run)
SELECT 'north', 'e-' || i, 'north', i, 'c1', 'student', tstzrange(now(), NULL), :run
FROM unnest('{needle-id,s1}'::text[]) i;
INSERT INTO contact_rows (connection, student_id, sourced_id, site, given_name, is_chosen, valid, written_run)
SELECT 'north', s, c, 'north', c, true, tstzrange(now(), NULL), :run
FROM (VALUES ('needle-id', 'g1'), ('s1', 'needle-id'), ('s1', 'g1')) v (s, c);
INSERT INTO user_rows_versions (connection, sourced_id, site, role, given_name, valid, written_run, replaced_run)
SELECT connection, sourced_id, site, role, given_name, valid, written_run, :run FROM user_rows;
INSERT INTO enrollment_rows_versions (connection, sourced_id, site, user_id, valid, written_run, replaced_run)
SELECT connection, sourced_id, site, user_id, valid, written_run, :run FROM enrollment_rows;
INSERT INTO contact_rows_versions (connection, student_id, sourced_id, site, given_name, is_chosen, valid, written_run,
    replaced_run)
SELECT connection, student_id, sourced_id, site, given_name, is_chosen, valid, written_run, :run FROM contact_rows;
INSERT INTO held_objects (run, object, sourced_id, student_id) VALUES (:run, 'contact', 'g1', 'needle-id'),
    (:run, 'user', 'needle-id', ''), (:run, 'user', 's1', '');
ANALYZE staged_users, links, changes, outbox, conflict_pairs, user_rows, contact_rows_versions;
-- As autovacuum does, which makes statistics of partitions alone.
DELETE FROM pg_statistic WHERE starelid = 'staged_users'::regclass;

-- Where the student is.
SELECT DISTINCT places() ORDER BY 1;
-- Columns of text in which the extension keeps nothing of a person. A new column has to be in one of the two lists.
SELECT DISTINCT regexp_replace(c.relname, '_\d+$', '') || '.' || a.attname AS place
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) AND c.relkind = 'r'
    AND NOT a.attisdropped
    AND a.atttypid IN ('text'::regtype, 'text[]'::regtype, 'jsonb'::regtype, 'json'::regtype, 'name'::regtype,
        'varchar'::regtype, 'bytea'::regtype)
EXCEPT SELECT places() ORDER BY 1;
CREATE TEMP TABLE before AS SELECT * FROM rows_without();

SELECT * FROM roster_forget('north', 'needle-person');
SELECT DISTINCT places() ORDER BY 1;
-- No row of anyone else is lost, and what is new says who was forgotten to no one.
SELECT relation, content FROM before EXCEPT ALL SELECT * FROM rows_without();
SELECT regexp_replace(relation, '_\d+$', '') AS relation, count(*)
FROM (SELECT * FROM rows_without() EXCEPT ALL TABLE before) n GROUP BY 1 ORDER BY 1;
SELECT function, connection, run, given FROM audit ORDER BY entry DESC LIMIT 1;
-- What is left of rows that others are in too.
SELECT change, person_id, sourced_ids, state, state_cause, state_reason, same_name, reason FROM changes
    WHERE run = :run AND change > 900 ORDER BY change;
SELECT error, detail, hint FROM runs WHERE run = :run;
SELECT subject, body_text, body_html, state, last_error FROM outbox WHERE run = :run ORDER BY state;
SELECT sourced_id, agent_ids FROM staged_users WHERE sourced_id = 's1' AND connection = 'north';
SELECT count(*) FROM staged_users WHERE sourced_id = 'needle-aunt';
-- The account belongs to the deployment, and so do people of other sites.
SELECT site, archived_at FROM people WHERE person_id = 'needle-person' ORDER BY 1;

-- A site whose connection has had the name of another since: rows of the new site stay.
SELECT run FROM runs WHERE connection = 'second' LIMIT 1 \gset second_
BEGIN;
UPDATE runs SET connection = 'far' WHERE run = :second_run;
INSERT INTO user_rows (connection, sourced_id, site, valid, written_run)
VALUES ('far', 'needle-id', 'south', tstzrange(now(), NULL), :run);
SELECT place, erased FROM roster_forget('north', sourced_id => 'needle-id') WHERE erased > 0;
SELECT connection, sourced_id, site FROM user_rows WHERE site = 'south';
ROLLBACK;

-- Undo leaves the person alone, and takes back what it did to others.
SELECT FROM run_merge('undo', :first);
SELECT c.state, c.action, regexp_replace(c.state_reason, '\d+', 'N'), count(*) FROM changes c
    WHERE run = :first AND c.state <> 'undone' GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT count(*) FROM people WHERE site = 'north' AND archived_at IS NOT NULL;
UPDATE people SET archived_at = NULL;

-- The nights after: the row is listed, not listed, comes with another ID and the same number or address, in either
-- connection. No one is created, linked or archived for it.
CREATE FUNCTION night(connection text DEFAULT 'north') RETURNS TABLE (action text, "row" text)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM settle_stage(last_run(), night.connection);
    PERFORM run_merge(connection => night.connection);
    RETURN QUERY SELECT c.category || ' ' || c.action, c.count::text FROM run_counts c WHERE c.run = last_run()
        ORDER BY 1;
    RETURN QUERY SELECT s.action, s.ids FROM shown() s WHERE s.state <> 'noted' ORDER BY 1, 2;
END
$$;
DELETE FROM people WHERE person_id = 'needle-person';
SELECT FROM run_merge();
SELECT unstage(VARIADIC array_agg(sourced_id)) FROM staged_users WHERE outcome = 'forgotten' AND connection = 'north';
SELECT stage_needle();
SELECT * FROM night();
SELECT DISTINCT places() ORDER BY 1;
SELECT role, sourced_id ~ '^forgotten [0-9a-f]{64}$' FROM staged_users WHERE outcome = 'forgotten'
    AND connection = 'north';
SELECT left(roster_report(last_run()), 0), roster_report(last_run()) LIKE '%Left out, erased on request%1%';
SELECT unstage(VARIADIC array_agg(sourced_id)) FROM staged_users WHERE outcome = 'forgotten';
SELECT * FROM night();
SELECT stage_needle('needle-x1', identifier => 'NEEDLE-number', email => 'another@x.example');
SELECT stage_needle('needle-x2', given_name => 'needle GIVEN', identifier => NULL);
SELECT stage_needle('needle-x3', given_name => 'Needle-other');
SELECT stage_needle('needle-id', given_name => NULL, family_name => NULL, identifier => NULL, email => NULL);
SELECT * FROM night();
SELECT stage_needle('needle-second', 'second'), stage_needle('needle-id', 'second');
SELECT * FROM night('second');
SELECT DISTINCT places() ORDER BY 1;
-- A brother has the address, and another child gets the number: they are people of their own.
SELECT stage('brother', 'student', 'Ben', 'Needle-family', identifier => 'b1', email => 'needle@x.example'),
    stage('recycled', 'student', 'Rae', 'Cycled', identifier => 'needle-number');
SELECT * FROM night();
-- A delta lists changed rows alone.
SELECT stage_needle('needle-x4');
SELECT FROM settle_stage(last_run(), 'north');
SELECT FROM run_merge(is_full => false);
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
-- A fetch that breaks off leaves nothing either, with the key or without it.
SELECT stage_needle('needle-x5');
SELECT FROM close_run(:run, 'failed', NULL, NULL, NULL, NULL);
UPDATE runs SET state = 'running', finished_at = NULL, started_at = now(), kind = 'fetch' WHERE run = :run;
SELECT FROM close_run(:run, 'failed', '08006', 'the SIS broke off', NULL, NULL);
SELECT DISTINCT places('needle-given') ORDER BY 1;
SELECT stage_needle('needle-x6');
CREATE TEMP TABLE kept_key AS SELECT * FROM secrets WHERE connection = 'forgotten';
DELETE FROM secrets WHERE connection = 'forgotten';
SELECT refused('SELECT settle_stage(1, ''north'')');
UPDATE runs SET state = 'running', finished_at = NULL WHERE run = :run;
SELECT FROM close_run(:run, 'failed', '08006', 'the SIS broke off', NULL, NULL);
SELECT DISTINCT places('needle-given') ORDER BY 1;
SELECT count(*) FROM staged_users WHERE connection = 'north';
INSERT INTO secrets TABLE kept_key;

-- roster_remember takes it back: by any ID that the person had. The next full read creates an account.
SELECT refused($$SELECT roster_remember('north', sourced_id => 'needle-x1')$$);
SELECT refused($$SELECT roster_remember('south', sourced_id => 'needle-id')$$);
SELECT refused($$SELECT roster_remember('north', 'needle-person', 'needle-id')$$);
SELECT roster_remember('north', sourced_id => 'needle-second');
SELECT count(*) FROM forgotten_people;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text, email => 'sam' || n || '@x.example')
    FROM generate_series(1, 5) n;
SELECT stage_needle();
SELECT * FROM night();
SELECT given_name, family_name, identifier FROM people WHERE identifier = 'needle-NUMBER';
SELECT refused($$SELECT roster_remember('north', person_id => 'needle-person')$$);

-- Forgotten by the ID of a row: linked, or of someone who never got an account.
SELECT place, erased FROM roster_forget('north', sourced_id => 'needle-id') WHERE erased > 0;
SELECT stage('needle-new', 'student', 'Needle-nora', 'New'), stage('s90', 'student', 'Nick', 'New');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT place, erased FROM roster_forget('north', sourced_id => 'needle-new') WHERE erased > 0;
SELECT DISTINCT places('needle-n') ORDER BY 1;
SELECT FROM run_merge('apply', :preview);
SELECT c.action, c.sourced_ids, c.state, c.state_cause, c.state_reason FROM changes c WHERE run = :preview
    AND c.action = 'create' ORDER BY 2;
SELECT count(*) FROM people WHERE given_name = 'Needle-nora';
SELECT place, erased FROM roster_forget('north', sourced_id => 'needle-new') WHERE erased > 0;

-- A guardian: the student then has no contact.
SELECT stage('s3', 'student', 'Sam3', 'Day', identifier => '3', email => 'sam3@x.example', agents => '{g3}'),
    stage('g3', 'guardian', 'Gina', 'Day', email => 'gina@x.example');
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1', email => 'sam1@x.example', agents => '{needle-g2}'),
    stage('needle-g2', 'guardian', 'Needle-gus', 'Day', email => 'needle-gus@x.example');
SELECT FROM roster_configure('north', parent_contact => true, clear_parent_contact => true);
SELECT FROM run_merge();
SELECT given_name, parent_name, parent_email FROM people WHERE parent_name IS NOT NULL ORDER BY 1;
SELECT place, erased FROM roster_forget('north', sourced_id => 'needle-g2') WHERE erased > 0;
SELECT DISTINCT places('needle-gus') ORDER BY 1;
SELECT stage('s1', 'student', 'Sam1', 'Day', identifier => '1', email => 'sam1@x.example', agents => '{needle-g2}'),
    stage('needle-g2', 'guardian', 'Needle-gus', 'Day', email => 'needle-gus@x.example');
SELECT unstage(VARIADIC array_agg(sourced_id)) FROM staged_users WHERE sourced_id LIKE 'forgotten %';
SELECT * FROM night();
SELECT given_name, parent_name, parent_email FROM people WHERE parent_name IS NOT NULL;
SELECT FROM roster_configure('north', parent_contact => false, clear_parent_contact => false);

-- A preview of another connection, from before the account was there: who was forgotten is not created by it.
SELECT stage('needle-v' || n, 'student', 'Needle-vic' || n, 'Tims', identifier => 'needle-v' || n,
    email => 'needle-v@x.example', connection => CASE n WHEN 1 THEN 'north' ELSE 'second' END)
    FROM generate_series(1, 2) n;
SELECT stage('needle-v3', 'student', 'Needle-vic1', 'Tims', identifier => 'NEEDLE-v1', connection => 'second');
-- A name without a letter agrees with none.
SELECT stage('needle-v4', 'student', '.', 'Tims', identifier => 'needle-v4'),
    stage('needle-v5', 'student', '-', 'Lims', identifier => 'needle-v4', connection => 'second');
SELECT FROM run_merge('preview', connection => 'second');
SELECT last_run() AS preview \gset
SELECT FROM run_merge();
SELECT place, erased FROM roster_forget('north', (SELECT person_id FROM people WHERE given_name = 'Needle-vic1'))
WHERE erased > 0;
SELECT place, erased FROM roster_forget('north', (SELECT person_id FROM people WHERE given_name = '.'))
WHERE erased > 0;
DELETE FROM people WHERE given_name IN ('Needle-vic1', '.');
SELECT FROM run_merge('apply', :preview, connection => 'second');
SELECT c.sourced_ids, c.state, c.state_cause, c.after ->> 'given_name' FROM changes c
WHERE c.run = :preview AND c.action = 'create' ORDER BY c.sourced_ids;
SELECT given_name FROM people WHERE family_name IN ('Tims', 'Lims') ORDER BY 1;

-- What is refused.
SELECT refused($$SELECT roster_forget('north')$$);
SELECT refused($$SELECT roster_forget(NULL, 'P1')$$);
SELECT refused($$SELECT roster_forget('nowhere', 'P1')$$);
SELECT refused($$SELECT roster_forget('north', 'needle-never')$$);
SELECT refused($$SELECT roster_forget('north', 'P-other', sourced_id => 's1')$$);
-- A people relation that cannot be read keeps no one from being erased.
DELETE FROM links WHERE connection = 'second';
SELECT person_id AS last FROM people WHERE given_name = 'Sam2' \gset
ALTER TABLE people RENAME identifier TO number;
SELECT place, erased, remains FROM roster_forget('north', :'last') WHERE erased > 0 OR place = 'people relation';
ALTER TABLE people RENAME number TO identifier;

DELETE FROM forgotten_people;
DELETE FROM secrets WHERE connection = 'forgotten';
DELETE FROM audit WHERE function IN ('roster_forget', 'roster_remember');
\set ECHO none
\i :fixture_end
