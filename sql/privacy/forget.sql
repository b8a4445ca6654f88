-- Forgetting: a person is erased from all that the extension keeps, and known again by keyed hashes alone, so that no
-- later sync creates the person again. And what is erased of archived people once their time is over. Must survive a
-- person who is linked by several connections, listed under several IDs, or never was linked at all; and ids of others
-- that look alike.

CREATE FUNCTION minga_roster_internal.keyed_hash(VARIADIC parts text[]) RETURNS bytea
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_keyed_hash';
COMMENT ON FUNCTION minga_roster_internal.keyed_hash(text[]) IS
'HMAC-SHA-256 of the parts, with the key of forgotten people; NULL if a part is NULL. F0000 if the key cannot be '
'opened. VOLATILE, since a plan is made with a snapshot that does not see a key that was made just now.';

CREATE FUNCTION minga_roster_internal.make_hash_key() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    row_id uuid := gen_random_uuid();
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.secrets s WHERE s.connection = 'forgotten') THEN
        INSERT INTO minga_roster.secrets (connection, binding, sealed)
        VALUES ('forgotten', row_id, minga_roster_internal.seal(row_id, 'forgotten', '',
            replace(concat(gen_random_uuid(), gen_random_uuid(), gen_random_uuid()), '-', '')))
        ON CONFLICT ON CONSTRAINT secrets_pkey DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_hash_key() IS
'Makes the key of forgotten people, unless there is one: random, and sealed like a secret under the name "forgotten".';

CREATE FUNCTION minga_roster_internal.blank_forgotten(connection text) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    here minga_roster.connections;
    forgotten text[];
BEGIN
    SELECT * INTO here FROM minga_roster.connections c WHERE c.connection = blank_forgotten.connection;
    IF NOT EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = here.site) THEN
        RETURN '{}';
    END IF;
    SELECT coalesce(array_agg(DISTINCT n.sourced_id), '{}') INTO forgotten
    FROM (
        SELECT s.sourced_id, h.hash
        FROM (SELECT u.*, lower(u.identifier COLLATE "C") AS number, lower(u.email COLLATE "C") AS address,
                nullif(minga_roster_internal.plain_name(u.given_name), '') AS given,
                nullif(minga_roster_internal.plain_name(u.family_name), '') AS family
            FROM minga_roster.staged_users u
            WHERE u.connection = here.connection AND u.outcome IS DISTINCT FROM 'forgotten'
            OFFSET 0) s
        LEFT JOIN (SELECT k.sourced_id FROM minga_roster.links k WHERE k.connection = here.connection) l
            ON l.sourced_id = s.sourced_id
        CROSS JOIN LATERAL (VALUES
            (minga_roster_internal.keyed_hash('row', here.site, here.connection, s.sourced_id)),
            (minga_roster_internal.keyed_hash('former', here.site, here.connection, s.legacy_id)),
            (minga_roster_internal.keyed_hash('id and given name', here.site, s.sourced_id, s.given)),
            (minga_roster_internal.keyed_hash('id and family name', here.site, s.sourced_id, s.family)),
            (minga_roster_internal.keyed_hash('number and given name', here.site, s.number, s.given)),
            (minga_roster_internal.keyed_hash('number and family name', here.site, s.number, s.family)),
            (minga_roster_internal.keyed_hash('address and names', here.site, s.address, s.given, s.family))
        ) h (hash)
        WHERE l.sourced_id IS NULL AND h.hash IS NOT NULL
        UNION ALL
        -- Someone whom only an enrollment names, in a delta for instance.
        SELECT e.user_id, minga_roster_internal.keyed_hash('row', here.site, here.connection, e.user_id)
        FROM (SELECT DISTINCT n.user_id FROM minga_roster.staged_enrollments n
            WHERE n.connection = here.connection AND n.user_id IS NOT NULL) e
        LEFT JOIN (SELECT u.sourced_id FROM minga_roster.staged_users u WHERE u.connection = here.connection) u
            ON u.sourced_id = e.user_id
        LEFT JOIN (SELECT k.sourced_id FROM minga_roster.links k WHERE k.connection = here.connection) l
            ON l.sourced_id = e.user_id
        WHERE u.sourced_id IS NULL AND l.sourced_id IS NULL
    ) n
    JOIN (SELECT DISTINCT f.hash FROM minga_roster.forgotten_people f WHERE f.site = here.site) f ON f.hash = n.hash;
    IF forgotten = '{}' THEN
        RETURN forgotten;
    END IF;
    UPDATE minga_roster.staged_users s
    SET agent_ids = ARRAY(SELECT a.id FROM unnest(s.agent_ids) WITH ORDINALITY a (id, nth)
            WHERE a.id <> ALL (forgotten) ORDER BY a.nth),
        relationships = (SELECT jsonb_agg(r.entry ORDER BY r.nth)
            FROM jsonb_array_elements(s.relationships) WITH ORDINALITY r (entry, nth)
            WHERE (r.entry ->> 'id' = ANY (forgotten)) IS NOT TRUE)
    WHERE s.connection = here.connection AND (s.agent_ids && forgotten
        OR EXISTS (SELECT FROM jsonb_array_elements(s.relationships) e WHERE e ->> 'id' = ANY (forgotten)));
    UPDATE minga_roster.staged_users s
    SET sourced_id = 'forgotten ' || encode(minga_roster_internal.keyed_hash('stage', here.site, here.connection,
            s.sourced_id), 'hex'),
        status = NULL, enabled = false, damaged = false, given_name = NULL, family_name = NULL, middle_name = NULL,
        preferred_name = NULL, username = NULL, identifier = NULL, email = NULL, phone = NULL, grade = NULL,
        date_last_modified = NULL, org_ids = NULL, agent_ids = NULL, outcome = 'forgotten', roles = NULL,
        damaged_field = NULL, legacy_id = NULL, relationships = NULL, id_sent = NULL, sms = NULL, user_ids = NULL,
        birth_date = NULL
    WHERE s.connection = here.connection AND s.sourced_id = ANY (forgotten);
    DELETE FROM minga_roster.staged_enrollments e
    WHERE e.connection = here.connection AND e.user_id = ANY (forgotten);
    DELETE FROM minga_roster.staged_demographics d
    WHERE d.connection = here.connection AND d.sourced_id = ANY (forgotten);
    RETURN forgotten;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.blank_forgotten(text) IS
'Empties the staged rows of forgotten people, but for role and collection, removes their enrollments and demographics, '
'and takes their IDs out of the rows of others; returns the IDs. A row is such a person''s by its ID in this '
'connection; by its ID in another connection of the site, or its identifier, if not both names differ; or by its email '
'address with both names. Rows with a link are someone else''s.';

CREATE FUNCTION minga_roster_internal.blank_unfinished_stage(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- It was emptied for a page that was not taken after all.
    DELETE FROM minga_roster.stages g
    WHERE g.connection = run.connection AND g.run <> run.run
        AND (SELECT coalesce(sum(pg_relation_size(to_regclass(p.partition))), 0) = 0
            FROM minga_roster_internal.stage_partitions(run.connection, true) p);
    -- Of which only what joins users may stay.
    DELETE FROM minga_roster.staged_demographics d
    WHERE d.connection = run.connection
        AND NOT EXISTS (SELECT FROM minga_roster.stages g WHERE g.connection = run.connection);
    IF run.kind IN ('diagnose', 'fetch', 'preview', 'sync')
        AND EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = run.site) THEN
        BEGIN
            PERFORM minga_roster_internal.blank_forgotten(run.connection);
        EXCEPTION
            -- Without the key of the hashes no row can be told from another.
            WHEN OTHERS THEN
                DELETE FROM minga_roster.staged_users s WHERE s.connection = run.connection;
                DELETE FROM minga_roster.staged_enrollments e WHERE e.connection = run.connection;
                DELETE FROM minga_roster.staged_demographics d WHERE d.connection = run.connection;
        END;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.blank_unfinished_stage(runs) IS
'After a run that failed: takes the mark of a whole stage from one that lost its rows; blank_forgotten for what a '
'fetch left that broke off; if the key of the hashes cannot be opened, removes all of it. Of a list of birth dates '
'that was not joined with users nothing stays.';

CREATE FUNCTION minga_roster_internal.word_pattern(words text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT format('(?<![[:alnum:]])(?:%s)(?![[:alnum:]])',
        string_agg(regexp_replace(w.word, E'[][(){}.*+?^$|\\\\-]', E'\\\\\\&', 'g'), '|' ORDER BY length(w.word) DESC))
    FROM unnest(words) w (word) WHERE w.word <> '' HAVING count(*) > 0);
COMMENT ON FUNCTION minga_roster_internal.word_pattern(text[]) IS
'A regular expression for any of the words, the longest first; NULL if there are none.';

CREATE FUNCTION minga_roster_internal.erase_words(relation text, columns text[], runs bigint[], pattern text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        UPDATE minga_roster.{relation:I} t SET {settings}
        WHERE t.run = ANY ($1) AND concat_ws(E'\n', {texts}) ~* $2
    $statement$,
        'relation', relation,
        'settings', (SELECT string_agg(minga_roster_internal.fill_template(
            '{name:I} = regexp_replace(t.{name:I}, $2, ''(erased)'', ''gi'')', 'name', c), ', ')
            FROM unnest(columns) c),
        'texts', (SELECT string_agg(format('t.%I', c), ', ') FROM unnest(columns) c))
    USING runs, pattern;
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.erase_words(text, text[], bigint[], text) IS
'Puts "(erased)" for what the pattern matches, in these columns of the rows of these runs; returns the number of rows '
'that had it.';

CREATE FUNCTION minga_roster_internal.find_person(relation regclass, site text, person_id text,
    OUT given_name text, OUT family_name text, OUT identifier text, OUT email text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_temporary();
    PERFORM minga_roster_internal.make_temp_table('minga_roster person',
        ARRAY['given_name', 'family_name', 'identifier', 'email'], array_fill('text'::regtype::oid, ARRAY[4]),
        array_fill(-1, ARRAY[4]), array_fill('default'::regcollation::oid, ARRAY[4]));
    PERFORM minga_roster_internal.read_as_owner(relation, minga_roster_internal.person_keys_query(relation),
        'pg_temp."minga_roster person"', site, person_id);
    RETURN QUERY SELECT p.* FROM pg_temp."minga_roster person" p;
    DROP TABLE pg_temp."minga_roster person";
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_person(regclass, text, text) IS
'The names and keys of a person as the people relation has them; no row if the site has no such person.';

CREATE FUNCTION minga_roster_internal.erase_rows(site text, person_id text, own_connections text[], own_ids text[],
    about_runs bigint[], about_changes integer[], OUT place text, OUT erased bigint) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    condition text;
    connections CONSTANT text[] := ARRAY(SELECT c.connection FROM minga_roster.connections c
        WHERE c.site = erase_rows.site);
    runs CONSTANT bigint[] := ARRAY(SELECT r.run FROM minga_roster.runs r WHERE r.site = erase_rows.site);
BEGIN
    -- $1 the site, $2 the person, $3 the site's connections, $4 its runs. own: the person's rows in the SIS.
    FOR place, condition IN SELECT t.place, t.condition FROM (VALUES
        (1, 'links', 't.site = $1 AND t.person_id = $2'),
        (2, 'link_changes', 't.run = ANY ($4) AND (t.before ->> ''person_id'' = $2
            OR (t.run, t.sourced_id) IN (SELECT o.run, o.id FROM own_of_runs o))'),
        (3, 'planned_links', 't.run = ANY ($4) AND (t.person_id = $2
            OR (t.run, t.sourced_id) IN (SELECT o.run, o.id FROM own_of_runs o))'),
        (4, 'match_decisions', 't.connection = ANY ($3) AND (t.person_id = $2
            OR (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o))'),
        (5, 'written_values', 't.connection = ANY ($3) AND t.person_id = $2'),
        (6, 'stored_values', 't.connection = ANY ($3) AND t.person_id = $2'),
        (7, 'conflict_pairs', 't.run = ANY ($4) AND (t.person_id = $2
            OR (t.run, t.sourced_id) IN (SELECT o.run, o.id FROM own_of_runs o))'),
        (8, 'conflict_candidates', 't.run = ANY ($4) AND (t.person_id = $2
            OR (t.run, t.change) IN (SELECT a.run, a.change FROM unnest($7, $8) a (run, change)))'),
        (9, 'user_rows', 't.site = $1 AND (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o)'),
        (10, 'user_rows_versions', 't.site = $1
            AND (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o)'),
        (11, 'enrollment_rows', 't.site = $1 AND (t.connection, t.user_id) IN (SELECT o.connection, o.id FROM own o)'),
        (12, 'enrollment_rows_versions', 't.site = $1
            AND (t.connection, t.user_id) IN (SELECT o.connection, o.id FROM own o)'),
        (13, 'contact_rows', 't.site = $1
            AND ((t.connection, t.student_id) IN (SELECT o.connection, o.id FROM own o)
                OR (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o))'),
        (14, 'contact_rows_versions', 't.site = $1
            AND ((t.connection, t.student_id) IN (SELECT o.connection, o.id FROM own o)
                OR (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o))'),
        (15, 'held_objects', 't.run = ANY ($4)
            AND ((t.run, t.student_id) IN (SELECT o.run, o.id FROM own_of_runs o)
                OR (t.run, t.sourced_id) IN (SELECT o.run, o.id FROM own_of_runs o))'),
        (16, 'staged_enrollments', 't.connection = ANY ($3)
            AND (t.connection, t.user_id) IN (SELECT o.connection, o.id FROM own o)'),
        (17, 'staged_demographics', 't.connection = ANY ($3)
            AND (t.connection, t.sourced_id) IN (SELECT o.connection, o.id FROM own o)')
    ) t (nth, place, condition) ORDER BY t.nth LOOP
        EXECUTE minga_roster_internal.fill_template($statement$
            WITH own AS (
                SELECT o.connection, o.id COLLATE "C" AS id FROM unnest($5, $6) o (connection, id)
            ), own_of_runs AS (
                SELECT r.run, o.id FROM own o JOIN minga_roster.runs r ON r.connection = o.connection
                WHERE r.run = ANY ($4)
            )
            DELETE FROM minga_roster.{place:I} t WHERE {condition}
        $statement$, 'place', place, 'condition', condition)
        USING site, person_id, connections, runs, own_connections, own_ids, about_runs, about_changes;
        GET DIAGNOSTICS erased = ROW_COUNT;
        RETURN NEXT;
    END LOOP;
    PERFORM minga_roster_internal.unmark_objects(connections);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.erase_rows(text, text, text[], text[], bigint[], integer[]) IS
'Deletes the rows about a forgotten person from the tables of the extension that keep none of them: by the person, by '
'the rows of the SIS (own_connections, own_ids), and by the changes that are about them. Links go first, since '
'blank_forgotten takes a row with a link for someone else''s.';

CREATE FUNCTION minga_roster_internal.do_forget(site text, person_id text, sourced_id text, OUT place text,
    OUT erased bigint, OUT remains text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    wanted_site CONSTANT text := do_forget.site;
    wanted CONSTANT text := do_forget.sourced_id;
    person text := do_forget.person_id;
    linked_person text;
    known minga_roster.connections;
    own_connections text[];
    own_ids text[];
    own_runs bigint[];
    about_runs bigint[];
    about_changes integer[];
    given_names text[];
    family_names text[];
    identifiers text[];
    addresses text[];
    pattern text;
    guardians text[];
    blanked text[];
    hashes bytea[];
    one record;
    people_with text[] := '{}';
    unread_people text[] := '{}';
    this_erasure uuid := gen_random_uuid();
    number bigint;
    total bigint := 0;
BEGIN
    IF wanted_site IS NULL OR (person IS NULL AND wanted IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'roster_forget needs a site, and a person_id or a sourcedId',
            HINT = 'SELECT * FROM minga_roster.roster_forget(''mesa'', person_id => ''…''); or, for a row of the SIS '
                'without an account, sourced_id => ''…''.';
    END IF;
    PERFORM minga_roster_internal.known_site(wanted_site);
    FOR known IN SELECT * FROM minga_roster.connections c WHERE c.site = wanted_site AND c.retired_at IS NULL
        ORDER BY c.number LOOP
        PERFORM minga_roster_internal.claim_connection(known);
    END LOOP;
    own_runs := ARRAY(SELECT r.run FROM minga_roster.runs r WHERE r.site = wanted_site);

    -- A row of the SIS that is linked is a person.
    IF wanted IS NOT NULL THEN
        SELECT count(DISTINCT l.person_id), min(l.person_id) INTO number, linked_person
        FROM minga_roster.links l
        WHERE l.site = wanted_site AND l.sourced_id = wanted;
        IF number > 1 OR (number = 1 AND person <> linked_person) THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'this sourcedId is linked to another person',
                DETAIL = CASE WHEN number > 1 THEN 'Connections of the site link it to different people.'
                    ELSE 'It is not the person with the person_id that was given.' END,
                HINT = 'Give the person_id alone. All rows that are linked to that person are forgotten.';
        END IF;
        person := coalesce(person, linked_person);
    END IF;

    -- The IDs that the person has or had, by connection, unless they are linked to someone else.
    SELECT coalesce(array_agg(n.connection), '{}'), coalesce(array_agg(n.sourced_id), '{}')
    INTO own_connections, own_ids
    FROM (
        SELECT l.connection, l.sourced_id FROM minga_roster.links l
        WHERE l.site = wanted_site AND l.person_id = person
        UNION
        SELECT r.connection, c.sourced_id
        FROM minga_roster.link_changes c JOIN minga_roster.runs r ON r.run = c.run
        WHERE r.site = wanted_site AND c.before ->> 'person_id' = person
        UNION
        SELECT r.connection, p.sourced_id
        FROM minga_roster.planned_links p JOIN minga_roster.runs r ON r.run = p.run
        WHERE r.site = wanted_site AND p.person_id = person
        UNION
        SELECT r.connection, i.id COLLATE "C"
        FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
        CROSS JOIN LATERAL unnest(c.sourced_ids) i (id)
        WHERE c.site = wanted_site AND c.person_id = person AND c.action <> 'conflict'
        UNION
        SELECT n.connection, wanted COLLATE "C"
        FROM (SELECT c.connection FROM minga_roster.connections c WHERE c.site = wanted_site
            UNION SELECT r.connection FROM minga_roster.runs r WHERE r.site = wanted_site) n
        WHERE wanted IS NOT NULL
    ) n
    LEFT JOIN minga_roster.links other ON other.connection = n.connection AND other.site = wanted_site
        AND other.sourced_id = n.sourced_id AND other.person_id IS DISTINCT FROM person
    WHERE other.connection IS NULL;

    -- The changes that are about the person, and about no one else.
    SELECT coalesce(array_agg(c.run), '{}'), coalesce(array_agg(c.change), '{}') INTO about_runs, about_changes
    FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE c.site = wanted_site
        AND ((c.person_id = person AND c.action <> 'conflict')
            OR (c.sourced_ids <> '{}' AND c.sourced_ids <@ ARRAY(
                SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
                WHERE o.connection = r.connection)));

    -- Who the person is, by all that is known.
    FOR one IN SELECT DISTINCT c.people FROM minga_roster.connections c JOIN pg_class t ON t.oid = c.people
        WHERE c.site = wanted_site AND person IS NOT NULL ORDER BY c.people LOOP
        DECLARE
            relation regclass := one.people;
            found_person record;
        BEGIN
            PERFORM minga_roster_internal.check_people_relation(relation);
            SELECT * INTO found_person FROM minga_roster_internal.find_person(relation, wanted_site, person);
            IF FOUND THEN
                people_with := people_with || relation::text;
                given_names := given_names || found_person.given_name;
                family_names := family_names || found_person.family_name;
                identifiers := identifiers || found_person.identifier;
                addresses := addresses || found_person.email;
            END IF;
        EXCEPTION
            -- A relation that cannot be read must not keep a person from being erased here.
            WHEN OTHERS THEN
                unread_people := unread_people || relation::text;
        END;
    END LOOP;
    SELECT given_names || array_agg(t.given_name), family_names || array_agg(t.family_name),
        identifiers || array_agg(t.identifier), addresses || array_agg(t.email)
    INTO given_names, family_names, identifiers, addresses
    FROM (
        SELECT s.given_name, s.family_name, s.identifier, s.email
        FROM unnest(own_connections, own_ids) o (connection, id)
        JOIN minga_roster.staged_users s ON s.connection = o.connection AND s.sourced_id = o.id COLLATE "C"
        UNION ALL
        SELECT v.told ->> 'given_name', v.told ->> 'family_name', v.told ->> 'identifier', v.told ->> 'email'
        FROM unnest(about_runs, about_changes) a (run, change)
        JOIN minga_roster.changes c ON c.run = a.run AND c.change = a.change
        CROSS JOIN LATERAL (VALUES (c.before), (c.after), (c.stored)) v (told)
    ) t;
    given_names := ARRAY(SELECT DISTINCT n FROM unnest(given_names) n WHERE n <> '');
    family_names := ARRAY(SELECT DISTINCT n FROM unnest(family_names) n WHERE n <> '');
    identifiers := ARRAY(SELECT DISTINCT n FROM unnest(identifiers) n WHERE n <> '');
    addresses := ARRAY(SELECT DISTINCT n FROM unnest(addresses) n WHERE n <> '');

    -- Rows that no link tells of, such as those of a preview from before the account was there: by the values that
    -- blank_forgotten compares.
    SELECT own_connections || coalesce(array_agg(n.connection), '{}'),
        own_ids || coalesce(array_agg(n.sourced_id), '{}')
    INTO own_connections, own_ids
    FROM (
        SELECT DISTINCT v.connection, v.sourced_id
        FROM (
            SELECT s.connection, s.sourced_id, s.given_name, s.family_name, s.identifier, s.email
            FROM minga_roster.staged_users s
            WHERE s.connection IN (SELECT c.connection FROM minga_roster.connections c
                WHERE c.site = wanted_site AND c.retired_at IS NULL)
            UNION ALL
            SELECT r.connection, i.id COLLATE "C", c.after ->> 'given_name', c.after ->> 'family_name',
                c.after ->> 'identifier', c.after ->> 'email'
            FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
            CROSS JOIN LATERAL unnest(c.sourced_ids) i (id)
            WHERE c.site = wanted_site AND c.action = 'create' AND c.person_id IS NULL
        ) v
        CROSS JOIN LATERAL (SELECT
            nullif(minga_roster_internal.plain_name(v.given_name), '') = ANY (ARRAY(
                SELECT minga_roster_internal.plain_name(g) FROM unnest(given_names) g)) AS given,
            nullif(minga_roster_internal.plain_name(v.family_name), '') = ANY (ARRAY(
                SELECT minga_roster_internal.plain_name(f) FROM unnest(family_names) f)) AS family) same
        WHERE (lower(v.identifier COLLATE "C") = ANY (ARRAY(SELECT lower(i COLLATE "C") FROM unnest(identifiers) i))
                AND (same.given OR same.family))
            OR (lower(v.email COLLATE "C") = ANY (ARRAY(SELECT lower(a COLLATE "C") FROM unnest(addresses) a))
                AND same.given AND same.family)
    ) n
    LEFT JOIN minga_roster.links other ON other.connection = n.connection AND other.site = wanted_site
        AND other.sourced_id = n.sourced_id AND other.person_id IS DISTINCT FROM person
    WHERE other.connection IS NULL
        AND NOT EXISTS (SELECT FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = n.connection AND o.id = n.sourced_id);
    -- With these rows too.
    SELECT coalesce(array_agg(c.run), '{}'), coalesce(array_agg(c.change), '{}') INTO about_runs, about_changes
    FROM minga_roster.changes c JOIN minga_roster.runs r ON r.run = c.run
    WHERE c.site = wanted_site
        AND ((c.person_id = person AND c.action <> 'conflict')
            OR (c.sourced_ids <> '{}' AND c.sourced_ids <@ ARRAY(
                SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
                WHERE o.connection = r.connection)));

    -- The hashes by which the person is known from now on.
    PERFORM minga_roster_internal.make_hash_key();
    INSERT INTO minga_roster.forgotten_people (site, erasure, hash)
    SELECT DISTINCT wanted_site, this_erasure, h.hash
    FROM (
        WITH id AS (
            SELECT DISTINCT i.id FROM unnest(own_ids) i (id)
        ), named AS (
            SELECT DISTINCT 'given name' AS kind, minga_roster_internal.plain_name(n) AS name FROM unnest(given_names) n
            UNION
            SELECT 'family name', minga_roster_internal.plain_name(n) FROM unnest(family_names) n
        ), number AS (
            SELECT DISTINCT lower(n COLLATE "C") AS number FROM unnest(identifiers) n
        )
        SELECT minga_roster_internal.keyed_hash('person', wanted_site, person) AS hash
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('id', wanted_site, id.id) FROM id
        UNION ALL
        SELECT minga_roster_internal.keyed_hash(k.kind, wanted_site, o.connection, k.id)
        FROM unnest(own_connections, own_ids) o (connection, id)
        CROSS JOIN LATERAL (VALUES ('row', o.id), ('former', o.id),
            ('former', substring(o.id FROM '^[A-Za-z][+]?(.+)$'))) k (kind, id)
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('id and ' || n.kind, wanted_site, id.id, n.name)
        FROM id CROSS JOIN named n WHERE n.name <> ''
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('number and ' || n.kind, wanted_site, m.number, n.name)
        FROM number m CROSS JOIN named n WHERE n.name <> ''
        UNION ALL
        SELECT minga_roster_internal.keyed_hash('address and names', wanted_site, lower(a COLLATE "C"), g.name, f.name)
        FROM unnest(addresses) a
        JOIN named g ON g.kind = 'given name' AND g.name <> ''
        JOIN named f ON f.kind = 'family name' AND f.name <> ''
    ) h
    WHERE h.hash IS NOT NULL;

    FOR place, erased IN
        SELECT e.place, e.erased FROM minga_roster_internal.erase_rows(wanted_site, person, own_connections, own_ids,
            about_runs, about_changes) e
    LOOP
        total := total + erased;
        RETURN NEXT;
    END LOOP;
    -- The stage, with the contacts that no one else names.
    erased := 0;
    FOR known IN SELECT * FROM minga_roster.connections c WHERE c.site = wanted_site AND c.retired_at IS NULL
        ORDER BY c.number LOOP
        guardians := ARRAY(SELECT DISTINCT a.id FROM minga_roster.staged_users s
            CROSS JOIN LATERAL unnest(s.agent_ids) a (id)
            WHERE s.connection = known.connection AND s.sourced_id = ANY (own_ids) AND a.id <> '');
        blanked := minga_roster_internal.blank_forgotten(known.connection);
        DELETE FROM minga_roster.staged_users s
        USING minga_roster.role_rules r
        WHERE s.connection = known.connection AND s.sourced_id = ANY (guardians) AND r.sis = known.sis
            AND r.roster_role = s.role AND r.category = 'contact'
            AND s.sourced_id NOT IN (SELECT a.id COLLATE "C" FROM minga_roster.staged_users o
                CROSS JOIN LATERAL unnest(o.agent_ids) a (id)
                WHERE o.connection = known.connection AND o.agent_ids && guardians);
        GET DIAGNOSTICS number = ROW_COUNT;
        erased := erased + cardinality(blanked) + number;
    END LOOP;
    place := 'staged_users';
    total := total + erased;
    RETURN NEXT;

    -- Texts name no one but for a person_id here and there. What a text has all the same is taken out.
    pattern := minga_roster_internal.word_pattern(ARRAY(
        SELECT t.word
        FROM (
            SELECT a.word FROM unnest(addresses || own_ids || identifiers || ARRAY[person]) a (word)
            WHERE length(a.word) >= 8
            UNION
            SELECT f.form FROM unnest(given_names) g (name) CROSS JOIN unnest(family_names) n (name)
            CROSS JOIN LATERAL (VALUES (g.name || ' ' || n.name), (n.name || ', ' || g.name)) f (form)
            UNION
            SELECT minga_roster_internal.state_reason('holder', person) WHERE person IS NOT NULL
        ) s
        CROSS JOIN LATERAL (VALUES (s.word), (minga_roster_internal.html_escaped(s.word))) t (word)
    ));

    -- Changes stay, so that what a run counted stays true, and say no more of whom.
    place := 'changes';
    UPDATE minga_roster.changes c
    SET person_id = NULL, sourced_ids = '{}', before = '{}', after = '{}', same_name = NULL, stored = NULL, seen = NULL,
        state = CASE WHEN w.waits THEN 'refused' ELSE c.state END,
        state_cause = CASE WHEN w.waits THEN 'erased' ELSE c.state_cause END,
        state_reason = CASE WHEN w.waits THEN minga_roster_internal.state_reason('erased', NULL)
            ELSE c.state_reason END
    FROM unnest(about_runs, about_changes) a (run, change)
    JOIN minga_roster.changes k ON k.run = a.run AND k.change = a.change
    CROSS JOIN LATERAL (SELECT k.state IN ('planned', 'held')) w (waits)
    WHERE c.run = a.run AND c.change = a.change;
    UPDATE minga_roster.changes c
    SET person_id = nullif(c.person_id, person),
        sourced_ids = ARRAY(SELECT i.id FROM unnest(c.sourced_ids) WITH ORDINALITY i (id, nth)
            WHERE i.id <> ALL (n.ids) ORDER BY i.nth),
        same_name = nullif(array_remove(c.same_name, person), '{}')
    FROM (SELECT r.run, ARRAY(SELECT o.id FROM unnest(own_connections, own_ids) o (connection, id)
            WHERE o.connection = r.connection) AS ids
        FROM minga_roster.runs r WHERE r.site = wanted_site) n
    WHERE c.site = wanted_site AND n.run = c.run AND (c.person_id = person OR c.same_name @> ARRAY[person]
        OR c.sourced_ids && n.ids);
    GET DIAGNOSTICS number = ROW_COUNT;
    erased := cardinality(about_runs) + number;
    total := total + erased;
    RETURN NEXT;

    FOR one IN
        SELECT t.relation, t.columns, t.title
        FROM (VALUES
            (0, 'changes', ARRAY['reason', 'state_reason'], 'changes (reasons)'),
            (1, 'runs', ARRAY['error', 'detail', 'hint'], 'runs'),
            (2, 'run_steps', ARRAY['detail', 'hint'], 'run_steps'),
            (3, 'findings', ARRAY['value', 'detail', 'hint'], 'findings'),
            (4, 'collections', ARRAY['detail'], 'collections'),
            (5, 'outbox', ARRAY['subject', 'body_text', 'body_html', 'last_error'], 'outbox')
        ) t (nth, relation, columns, title)
        ORDER BY t.nth
    LOOP
        place := one.title;
        erased := minga_roster_internal.erase_words(one.relation, one.columns, own_runs, pattern);
        total := total + erased;
        RETURN NEXT;
    END LOOP;

    hashes := ARRAY[minga_roster_internal.keyed_hash('person', wanted_site, person),
        minga_roster_internal.keyed_hash('id', wanted_site, wanted)];
    IF total = 0 AND people_with = '{}' AND unread_people = '{}' AND NOT EXISTS (
        SELECT FROM minga_roster.forgotten_people f
        WHERE f.site = wanted_site AND f.erasure <> this_erasure AND f.hash = ANY (hashes))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('nothing is known of this person at site "%s"', wanted_site),
            DETAIL = 'Neither the people relation nor a table of minga_roster has the ID. It is not shown here.',
            HINT = 'IDs are case-sensitive. For a row of the SIS without an account, give sourced_id after a fetch.';
    END IF;
    -- The planner's statistics hold samples of the values.
    FOR one IN
        SELECT DISTINCT p.schemaname, p.tablename
        FROM pg_stats p
        -- pg_stats also has indexes, which are analyzed with their tables.
        JOIN pg_tables t ON t.schemaname = p.schemaname AND t.tablename = p.tablename
        WHERE p.schemaname = 'minga_roster' OR format('%I.%I', p.schemaname, p.tablename) IN (
            SELECT h.partition FROM minga_roster.connections c
            CROSS JOIN LATERAL minga_roster_internal.stage_partitions(c.connection, true) h
            WHERE c.site = wanted_site)
        ORDER BY 1, 2
    LOOP
        EXECUTE format('ANALYZE %I.%I', one.schemaname, one.tablename);
    END LOOP;
    RETURN QUERY SELECT t.place, NULL::bigint, t.remains
        FROM minga_roster_internal.what_remains(wanted_site, people_with, unread_people, addresses) t;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_forget(text, text, text) IS 'Implements roster_forget.';

CREATE FUNCTION minga_roster_internal.what_remains(site text, people_with text[], unread_people text[],
    addresses text[], OUT place text, OUT remains text) RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.place, r.remains
    FROM (VALUES
        (1, 'people relation', CASE
            WHEN people_with <> '{}' THEN format('The account in %s belongs to the deployment, which deletes it '
                'there. Until then a sync leaves it alone.', minga_roster_internal.in_list(people_with))
            WHEN unread_people <> '{}' THEN format('%s could not be read. See whether the account is there, and '
                'whether each row of the person was forgotten.', minga_roster_internal.in_list(unread_people)) END),
        (2, 'recipients', CASE WHEN EXISTS (SELECT FROM minga_roster.recipients c
            JOIN minga_roster.connections n ON n.connection = c.connection AND n.site = what_remains.site
            WHERE lower(c.email) = ANY (ARRAY(SELECT lower(a) FROM unnest(addresses) a)))
            THEN 'The address gets mail about runs, which is on record in outbox. roster_remove_recipient ends it.'
            WHEN EXISTS (SELECT FROM minga_roster.district_recipients c
                WHERE c.district = minga_roster_internal.district_of(what_remains.site)
                    AND lower(c.email) = ANY (ARRAY(SELECT lower(a) FROM unnest(addresses) a)))
            THEN 'The address gets the digest of the district, which is on record in outbox. '
                'roster_remove_district_recipient ends it.'
            END),
        (3, 'SIS', 'The SIS lists the person until the school ends it there. Each fetch receives the row, and keeps '
            'its role alone.'),
        (4, 'mail', 'Mail that was sent is out of reach. Reports hold numbers, and no names.'),
        (5, 'backups', 'Dumps, base backups and archived WAL hold the data until they expire. After a restore, forget '
            'the person again.'),
        (6, 'standbys', 'Standbys and subscribers follow as soon as they receive the change; delayed ones later.'),
        (7, 'server log', 'Logged statements may hold the ID. Remove them as the retention of the log demands.'),
        (8, 'data files', 'Deleted rows stay in the files of the tables until VACUUM, and their bytes until the space '
            'is used again. VACUUM FULL of the tables above rewrites the files.')
    ) AS r (nth, place, remains)
    WHERE r.remains IS NOT NULL
    ORDER BY r.nth
$$;
COMMENT ON FUNCTION minga_roster_internal.what_remains(text, text[], text[], text[]) IS
'Where data of a forgotten person may still be, and what to do about it.';

CREATE FUNCTION minga_roster_internal.known_site(site text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.connections c WHERE c.site = known_site.site)
        AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.site = known_site.site) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('site "%s" does not exist', site),
            DETAIL = 'No connection and no run is of this site.',
            HINT = 'List the sites: SELECT DISTINCT site FROM minga_roster.connections.';
    END IF;
    RETURN site;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_site(text) IS 'The site; 42704 for one that no connection or run has.';

CREATE FUNCTION roster_forget(site text, person_id text DEFAULT NULL, sourced_id text DEFAULT NULL, OUT place text,
    OUT erased bigint, OUT remains text) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_forget(text, text, text) IS
'Erases a person of a site from all tables of the extension, in all connections of the site, and keeps keyed hashes by '
'which later syncs leave the rows of the person out (outcome forgotten). sourced_id is for a row of the SIS without an '
'account, or in place of the person_id. Returns for each table how many rows were erased, then what is out of reach '
'(remains): the account in the people relation, backups, logs. What runs counted stays. 22004 without a site and an '
'ID, 42704 for an unknown site or person, 55000 if the sourcedId is linked to someone else, 55006 while a connection '
'of the site is busy.';

CREATE FUNCTION minga_roster_internal.do_remember(site text, person_id text, sourced_id text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    lifted bigint;
    wanted_hash bytea;
BEGIN
    IF site IS NULL OR (person_id IS NULL) = (sourced_id IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'roster_remember needs a site, and either a person_id or a sourcedId',
            HINT = 'The SIS shows the sourcedId: SELECT minga_roster.roster_remember(''mesa'', sourced_id => ''…'').';
    END IF;
    PERFORM minga_roster_internal.known_site(site);
    IF EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = do_remember.site) THEN
        wanted_hash := coalesce(minga_roster_internal.keyed_hash('person', site, person_id),
            minga_roster_internal.keyed_hash('id', site, sourced_id));
        WITH gone AS (
            DELETE FROM minga_roster.forgotten_people f
            WHERE f.site = do_remember.site AND f.erasure IN (
                SELECT k.erasure FROM minga_roster.forgotten_people k
                WHERE k.site = do_remember.site AND k.hash = wanted_hash)
            RETURNING f.erasure
        )
        SELECT count(DISTINCT g.erasure) INTO lifted FROM gone g;
    END IF;
    IF coalesce(lifted, 0) = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('no one with this ID was forgotten at site "%s"', site),
            DETAIL = 'The ID is not shown here.',
            HINT = 'IDs are case-sensitive. Another ID that the person had works too.';
    END IF;
    -- A delta would not list a person whose row has not changed.
    PERFORM minga_roster_internal.require_full_read(c.connection) FROM minga_roster.connections c
    WHERE c.site = do_remember.site AND c.retired_at IS NULL;
    RETURN lifted;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_remember(text, text, text) IS 'Implements roster_remember.';

CREATE FUNCTION roster_remember(site text, person_id text DEFAULT NULL, sourced_id text DEFAULT NULL) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_remember(text, text, text) IS
'Takes roster_forget back for people who have this person_id or sourcedId, and returns how many they were: the next '
'sync treats their rows like any others. What was erased does not come back. 22004 without a site and one ID, 42704 if '
'no one with the ID was forgotten at the site.';

CREATE FUNCTION minga_roster_internal.erase_archived() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' AS $$
DECLARE
    batch CONSTANT integer := 10000;
    archived_before CONSTANT timestamptz := minga_roster_internal.clock()
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_archived')::integer));
BEGIN
    WITH due AS MATERIALIZED (
        SELECT l.site, l.person_id
        FROM minga_roster.links l
        LEFT JOIN minga_roster.runs r ON r.run = l.archived_run
        WHERE l.archived_run IS NOT NULL
        GROUP BY l.site, l.person_id
        -- A run that is no longer on record is older than keep_runs.
        HAVING max(coalesce(r.finished_at, l.missed_since, '-infinity')) < archived_before
    ), alive AS MATERIALIZED (
        SELECT d.site, d.person_id
        FROM due d JOIN minga_roster.links l ON l.site = d.site AND l.person_id = d.person_id
        JOIN minga_roster.connections c ON c.connection = l.connection AND c.retired_at IS NULL
        WHERE l.archived_run IS NULL
    ), gone AS MATERIALIZED (
        SELECT d.site, d.person_id FROM due d
        EXCEPT
        SELECT a.site, a.person_id FROM alive a
    ), written AS (
        DELETE FROM minga_roster.written_values w USING gone g, minga_roster.connections c
        WHERE c.connection = w.connection AND c.site = g.site AND w.person_id = g.person_id
    ), stored AS (
        DELETE FROM minga_roster.stored_values v USING gone g, minga_roster.connections c
        WHERE c.connection = v.connection AND c.site = g.site AND v.person_id = g.person_id
    ), paired AS (
        DELETE FROM minga_roster.conflict_pairs k USING gone g, minga_roster.runs r
        WHERE r.run = k.run AND r.site = g.site AND k.person_id = g.person_id AND r.finished_at < archived_before
    ), old AS MATERIALIZED (
        SELECT c.run, c.change, c.person_id
        FROM gone g JOIN minga_roster.changes c ON c.site = g.site AND c.person_id = g.person_id
        JOIN minga_roster.runs r ON r.run = c.run AND r.state NOT IN ('queued', 'running')
        WHERE c.sourced_ids <> '{}' AND c.state NOT IN ('planned', 'held') AND c.state_at < archived_before
            AND c.action <> 'conflict'
        LIMIT batch
    )
    UPDATE minga_roster.changes c
    SET sourced_ids = '{}', before = '{}', after = '{}', same_name = NULL, stored = NULL, seen = NULL
    FROM old o
    WHERE c.run = o.run AND c.change = o.change;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.erase_archived() IS
'Of people whom runs archived more than minga_roster.keep_archived days ago (at least 8), and whom no other connection '
'lists: empties their changes (at most 10,000 per call), and deletes the hashes of their values and their former '
'conflicts. Links stay, so that who returns gets the same account.';
