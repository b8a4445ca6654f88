-- The rows that need a look: the full join of stage, links and people, less the rows that are as they should be. On an
-- unchanged night that is almost none. Must survive a roster as large as a district's: no step here is more than
-- linear.

CREATE FUNCTION minga_roster_internal.count_listed_links(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO plan_linked_rows (category, rows)
    SELECT l.category, count(*)
    FROM minga_roster.links l
    JOIN minga_roster.staged_users u ON u.connection = l.connection AND u.sourced_id = l.sourced_id
    WHERE l.connection = count_listed_links.connection
    GROUP BY l.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_listed_links(text) IS
'Fills plan_linked_rows in a delta.';

CREATE FUNCTION minga_roster_internal.read_links(run runs, connection connections, others text[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    -- The links of a large school are most of the table, which the plan for any school does not know.
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    repeated text[];
    categories jsonb;
BEGIN
    SELECT minga_roster_internal.repeated(l.person_id),
        minga_roster_internal.tally(l.category) FILTER (WHERE l.connection = read_links.connection.connection)
    INTO repeated, categories
    FROM minga_roster.links l
    WHERE l.site = connection.site
        AND (l.connection = read_links.connection.connection
            OR (l.connection = ANY (others) AND l.missed_since IS NULL));
    IF run.is_full IS NOT FALSE THEN
        INSERT INTO plan_linked_rows (category, rows)
        SELECT c.counts ->> 0, (c.counts ->> 1)::bigint FROM jsonb_array_elements(categories) c (counts);
    ELSE
        PERFORM minga_roster_internal.count_listed_links(connection.connection);
    END IF;
    RETURN repeated;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_links(runs, connections, text[]) IS
'The people with more than one link, counting the links of this connection and the live links of the others. Fills '
    'plan_linked_rows in the same pass.';

CREATE FUNCTION minga_roster_internal.scan_stage(connection text, is_first boolean, mostly_new boolean, new_keys bytea,
    OUT roles jsonb, OUT listed jsonb, OUT usernames text[], OUT identifiers text[])
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    twice bigint;
    repeated text[];
BEGIN
    SELECT minga_roster_internal.tally(s.role),
        minga_roster_internal.tally(s.role, CASE WHEN s.status = 'inactive' OR NOT s.enabled THEN true END,
            s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username, s.identifier, s.grade,
            s.phone, s.agent_ids)
            FILTER (WHERE s.status IS DISTINCT FROM 'tobedeleted' AND NOT (s.damaged AND s.role IS NULL)
                AND s.outcome IS DISTINCT FROM 'forgotten'),
        -- Keys of new rows that another row has too. Where most rows are new, all repeated ones: a set would hold all.
        minga_roster_internal.repeated(lower(s.username COLLATE "C"))
            FILTER (WHERE s.status IS DISTINCT FROM 'tobedeleted'
                AND (mostly_new OR minga_roster_internal.in_key_set(new_keys, s.username, NULL))),
        minga_roster_internal.repeated(lower(s.identifier COLLATE "C"))
            FILTER (WHERE s.status IS DISTINCT FROM 'tobedeleted'
                AND (mostly_new OR minga_roster_internal.in_key_set(new_keys, NULL, s.identifier))),
        minga_roster_internal.repeated(s.sourced_id) FILTER (WHERE is_first)
    INTO roles, listed, usernames, identifiers, repeated
    FROM minga_roster.staged_users s
    WHERE s.connection = scan_stage.connection;
    IF repeated <> '{}' THEN
        twice := (SELECT count(*) - count(DISTINCT s.sourced_id)
            FROM minga_roster.staged_users s WHERE s.connection = scan_stage.connection);
        IF twice > 0 THEN
            RAISE EXCEPTION USING ERRCODE = 'internal_error',
                MESSAGE = 'the stage lists users twice',
                DETAIL = format('Users listed twice: %s.', twice),
                HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                    'minga_roster.';
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.scan_stage(text, boolean, boolean, bytea) IS
'The pass over the stage of read_stage: rows and values by role, and keys that come more than once: those among '
    'new_keys or, if most rows are new, all. XX000 if a first load (is_first) lists a user twice.';

CREATE FUNCTION minga_roster_internal.read_stage(connection connections, is_first boolean) RETURNS bytea
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    mostly_new boolean := is_first OR (SELECT count(*) FROM plan_open_rows o WHERE o.person_id IS NULL)
        > (SELECT coalesce(sum(l.rows), 0) FROM plan_linked_rows l);
    new_keys bytea;
    usernames text[];
    identifiers text[];
    shared_keys bytea;
    roles jsonb;
    listed jsonb;
BEGIN
    IF NOT mostly_new THEN
        new_keys := (
            SELECT minga_roster_internal.key_set(o.username, o.identifier)
            FROM plan_open_rows o
            WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff'));
    END IF;
    SELECT c.* INTO roles, listed, usernames, identifiers
    FROM minga_roster_internal.scan_stage(connection.connection, is_first, mostly_new, new_keys) c;
    INSERT INTO plan_listed_roles
    SELECT a.counts ->> 0, coalesce(l.counts[1], 0), coalesce(l.counts[2], 0), l.counts[3], l.counts[4], l.counts[5],
        l.counts[6], l.counts[7], l.counts[8], l.counts[9], l.counts[10], l.counts[11], l.counts[12],
        (a.counts ->> 1)::bigint
    FROM jsonb_array_elements(roles) a (counts)
    LEFT JOIN (
        SELECT c.counts -> 0 AS role, ARRAY(SELECT n.number::bigint
            FROM jsonb_array_elements_text(c.counts - 0) WITH ORDINALITY n (number, nth) ORDER BY n.nth) AS counts
        FROM jsonb_array_elements(listed) c (counts)
    ) l ON l.role = a.counts -> 0;

    shared_keys := (
        SELECT minga_roster_internal.key_set(k.username, k.identifier)
        FROM unnest(usernames, identifiers) k (username, identifier));
    IF is_first THEN
        RETURN shared_keys;
    END IF;
    RETURN (
        SELECT minga_roster_internal.key_set(o.username, o.identifier)
        FROM plan_open_rows o
        WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND minga_roster_internal.in_key_set(shared_keys, o.username, o.identifier));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_stage(connections, boolean) IS
'Fills plan_listed_roles, by one pass over the stage, and returns the keys of new rows that other rows have too; NULL '
    'if there are none.';

CREATE FUNCTION minga_roster_internal.find_shared_rows(connection connections, new_keys bytea) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO plan_shared_rows (sourced_id)
    WITH keyed AS MATERIALIZED (
        SELECT s.sourced_id, r.family, lower(s.username COLLATE "C") AS username,
            lower(s.identifier COLLATE "C") AS identifier
        FROM minga_roster.staged_users s JOIN plan_rules r ON r.roster_role = s.role
            AND r.family IN ('student', 'staff')
        WHERE s.connection = find_shared_rows.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND minga_roster_internal.in_key_set(new_keys, s.username, s.identifier)
    )
    SELECT k.sourced_id FROM keyed k
    WHERE (k.family, k.username) IN (
            SELECT t.family, t.username FROM keyed t WHERE t.username IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1)
        OR (k.family, k.identifier) IN (
            SELECT t.family, t.identifier FROM keyed t WHERE t.identifier IS NOT NULL
            GROUP BY 1, 2 HAVING count(*) > 1);
    PERFORM minga_roster_internal.analyze_if_large('plan_shared_rows');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_shared_rows(connections, bytea) IS
'Fills plan_shared_rows, by one pass over the stage.';

CREATE FUNCTION minga_roster_internal.find_special_people(run runs, connection connections, others text[],
    repeated text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_special_people (person_id, own_links, first_own, first_elsewhere, only_own, best_role)
    SELECT l.person_id, count(*) FILTER (WHERE l.own), min(l.linked_run) FILTER (WHERE l.own),
        min(l.linked_run) FILTER (WHERE NOT l.own), bool_and(l.own), (array_agg(r.role ORDER BY r.rank))[1]
    FROM (
        SELECT o.person_id, true AS own, o.linked_run, o.link_category AS category
        FROM plan_open_rows o WHERE o.person_id IS NOT NULL AND run.is_full IS NOT FALSE
        UNION ALL
        -- In a delta the links of people who are not listed are not among the open rows.
        SELECT k.person_id, true, k.linked_run, k.category
        FROM minga_roster.links k
        WHERE k.connection = find_special_people.connection.connection AND run.is_full IS FALSE
            AND k.person_id IN (SELECT unnest(repeated))
        UNION ALL
        SELECT k.person_id, false, k.linked_run, k.category
        FROM minga_roster.links k
        WHERE k.connection = ANY (others) AND k.site = connection.site AND k.missed_since IS NULL
    ) l
    LEFT JOIN plan_categories r ON r.category = l.category
    GROUP BY l.person_id
    HAVING count(*) > 1 OR NOT bool_and(l.own);
    PERFORM minga_roster_internal.analyze_if_large('plan_special_people');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_special_people(runs, connections, text[], text[]) IS
'Fills plan_special_people.';

CREATE FUNCTION minga_roster_internal.plain_terms(connection connections, OUT same_category text, OUT agrees text,
    OUT plain text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    columns jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    local_columns text[] := minga_roster_internal.local_columns(connection.connection);
BEGIN
    same_category := coalesce((
        SELECT 'l.category = CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.category), ' '
            ORDER BY r.rank, r.roster_role) || ' END'
        FROM plan_rules r WHERE r.rostered), 'false');
    agrees := minga_roster_internal.agreement(connection, ARRAY(
        SELECT w.c FROM unnest(minga_roster_internal.written_columns()) w (c)
        WHERE columns ? w.c AND w.c NOT LIKE E'parent\\_%' AND w.c <> ALL (local_columns)));
    plain := minga_roster_internal.fill_template($template$(
        l.missed_since IS NULL AND l.archived_run IS NULL AND NOT p.archived AND p.protection IS NULL
        AND coalesce(s.status, 'active') = 'active' AND s.enabled AND NOT s.damaged
        AND {same_category}
        AND ({agrees})
        AND {parent_agrees}
    )$template$,
        'same_category', same_category, 'agrees', agrees,
        'parent_agrees', CASE
            WHEN connection.parent_contact AND 'parent_contact' <> ALL (local_columns) THEN coalesce((
                SELECT '((t.parent_name IS NULL AND (t.sourced_id IS NULL OR p.parent_rule IS NULL)) OR ('
                    || string_agg(minga_roster_internal.fill_template(
                        '(t.{name:I} IS NOT DISTINCT FROM p.{name:I}'
                        ' OR z.sent ->> {name:L} = minga_roster_internal.value_hash(t.{name:I})::text)',
                        'name', w.c), ' AND ')
                    || '))'
                FROM unnest(minga_roster_internal.written_columns()) w (c)
                WHERE columns ? w.c AND w.c LIKE E'parent\\_%'), 'true')
            ELSE 'true' END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plain_terms(connections) IS
'SQL expressions over the staged row s, its link l, the person p, the parent contact t and plan_as_sent z. '
    'same_category: whether the link is of the row''s category, which is rostered; agrees: whether every value of '
    'the row is as it should be. plain: whether the row is readable and active, of a rostered category, linked to an '
    'active person whom a roster may write, and every value is as it should be.';

CREATE FUNCTION minga_roster_internal.open_rows_query(connection connections, condition text,
    of_stage text DEFAULT 'true') RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.plain_terms(connection);
    -- The role that the row would give a person.
    same_role text := format('(l.role_written IS NULL OR l.role_written = %s)', coalesce((
        SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.role), ' '
            ORDER BY r.rank, r.roster_role) || ' END'
        FROM plan_rules r), 'NULL'));
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT j.sourced_id, j.staged, j.place,
            CASE WHEN NOT j.staged OR j.status = 'tobedeleted' THEN 'absent'
                WHEN j.damaged THEN 'damaged'
                WHEN j.status NOT IN ('active', 'inactive') THEN 'unknown'
                WHEN j.status = 'inactive' OR NOT j.enabled THEN 'inactive'
                ELSE 'active' END,
            coalesce(r.rostered AND r.family IN ('student', 'staff') AND NOT j.damaged
                AND coalesce(j.status, 'active') IN ('active', 'inactive'), false),
            j.roster_role, r.category, r.family, r.role, r.rank, r.rostered,
            j.linked, j.person_id, j.link_category, j.role_written, j.linked_run, j.missed_since IS NOT NULL,
            j.archived_run, j.given_name, j.family_name, j.middle_name, j.preferred_name, j.email, j.username,
            j.identifier, j.grade, j.phone, j.parent_name, j.parent_email, j.parent_phone, j.parent_rule, j.birth_date,
            j.plain, j.damaged_field,
            CASE
                WHEN NOT j.linked AND r.family = 'contact' THEN 'contact'
                WHEN NOT j.staged OR j.status = 'tobedeleted' THEN
                    CASE WHEN NOT j.linked OR (j.missed_since IS NOT NULL AND coalesce(j.archived, true))
                        THEN 'ignore' END
                WHEN j.damaged OR j.status NOT IN ('active', 'inactive') THEN NULL
                WHEN NOT j.linked AND r.rostered IS NOT TRUE THEN 'ignore'
                WHEN NOT j.linked AND (j.status = 'inactive' OR NOT j.enabled) THEN 'skip'
                -- What auto update is off for is seen, and left.
                WHEN j.missed_since IS NULL AND j.archived_run IS NULL AND NOT j.archived AND j.same_category
                    AND ((j.agrees AND j.same_role) OR NOT r.auto_update)
                    THEN CASE WHEN j.protection IS NOT NULL THEN 'protect' WHEN NOT j.agrees THEN 'skip'
                        WHEN j.same_role THEN 'unchanged' END
            END
        FROM (
            SELECT CASE WHEN num_nulls({in_order}) >= 0 THEN {plain} END AS plain,
                coalesce(s.sourced_id, l.sourced_id) AS sourced_id, s.sourced_id IS NOT NULL AS staged, s.place,
                s.status, s.damaged, s.enabled, s.role AS roster_role, l.sourced_id IS NOT NULL AS linked, p.person_id,
                l.category AS link_category, l.role_written, l.linked_run, l.missed_since, l.archived_run,
                s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username, s.identifier,
                s.grade, s.phone, {parent_columns}, s.birth_date, s.damaged_field,
                p.archived, p.protection, l.sourced_id IS NOT NULL AND {same_category} AS same_category,
                l.sourced_id IS NOT NULL AND ({agrees}) AS agrees, {same_role} AS same_role
            FROM (SELECT *, ctid AS place FROM minga_roster.staged_users s
                WHERE s.connection = {connection:L} AND {of_stage}) s
            FULL JOIN (SELECT * FROM minga_roster.links WHERE connection = {connection:L}) l
                ON l.sourced_id = s.sourced_id
            LEFT JOIN plan_people p ON p.person_id = l.person_id
            {join_sent}
            {join_parents}
            WHERE {condition}
            OFFSET 0
        ) j
        LEFT JOIN plan_rules r ON r.roster_role = j.roster_role
        WHERE {contacts_too} OR j.linked OR r.category IS DISTINCT FROM 'contact'
    $template$,
        'connection', connection.connection,
        'of_stage', of_stage,
        -- A query that names all columns first, in their order, takes the rows of links and people into its hash tables
        -- as they are. Otherwise each is taken apart and put together again, which takes longer than the rest.
        'in_order', (
            SELECT string_agg(format('%s.%I', t.name, a.attname), ', ' ORDER BY t.name, a.attnum)
            FROM (VALUES ('l', 'minga_roster.links'::regclass), ('p', 'pg_temp.plan_people'::regclass))
                t (name, relation)
            JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped),
        'parent_columns', (
            SELECT string_agg(format(CASE WHEN connection.parent_contact THEN 't.%I' ELSE 'NULL::text AS %I' END,
                w.c), ', ' ORDER BY w.c)
            FROM unnest(minga_roster_internal.written_columns()) w (c) WHERE w.c LIKE E'parent\\_%'),
        'join_sent', CASE WHEN minga_roster_internal.has_stored(connection.connection)
            THEN 'LEFT JOIN plan_as_sent z ON z.person_id = p.person_id'
            ELSE 'CROSS JOIN (SELECT NULL::text AS person_id, NULL::jsonb AS sent) z' END,
        'join_parents', CASE WHEN connection.parent_contact
            THEN 'LEFT JOIN plan_parents t ON t.sourced_id = s.sourced_id' ELSE '' END,
        'plain', terms.plain, 'same_category', terms.same_category, 'agrees', terms.agrees, 'same_role', same_role,
        'condition', replace(condition, '{not_plain}',
            format('(%s AND %s AND l.person_id <> ALL ($1)) IS NOT TRUE', terms.plain, same_role)),
        'contacts_too', (NOT (connection.parent_contact OR connection.contacts))::text);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_rows_query(connections, text, text) IS
'The query that reads plan_open_rows: the full join of stage, links and people, of the rows for which the condition '
    'holds; {not_plain} in it: which are not plainly as they should be, or of people with several links ($1). Contacts '
    'whose values are columns of a student are left out, and staged users for which of_stage does not hold.';

CREATE FUNCTION minga_roster_internal.skip_forgotten(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
    SELECT o.sourced_id, o.place, o.category, 'forgotten'
    FROM plan_open_rows o
    JOIN minga_roster.staged_users s ON s.connection = skip_forgotten.connection AND s.outcome = 'forgotten'
        AND s.sourced_id = o.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.skip_forgotten(text) IS
'Fills plan_skipped_rows with open rows of people who are forgotten.';

-- The people and links of a district fit into memory, which saves a night their way through files.
CREATE FUNCTION minga_roster_internal.find_open_rows(run runs, connection connections, repeated text[],
    is_first boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET hash_mem_multiplier = 2 AS $$
DECLARE
    twice bigint;
BEGIN
    -- The join tells plain rows of single links by what it has at hand; only the others are looked at closely.
    EXECUTE 'INSERT INTO plan_open_rows ' || minga_roster_internal.open_rows_query(connection,
        '{not_plain}'
        -- Students whom a delta does not list have not changed.
        || CASE WHEN run.is_full IS FALSE THEN ' AND (s.sourced_id IS NOT NULL OR l.category <> ''student'')'
            ELSE '' END,
        CASE WHEN is_first THEN minga_roster_internal.new_row_terms() || ' IS NOT TRUE' ELSE 'true' END)
    USING repeated;

    SELECT CASE WHEN minga_roster_internal.repeated(o.sourced_id) <> '{}'
        THEN count(*) - (SELECT count(DISTINCT t.sourced_id) FROM plan_open_rows t) END
    INTO twice FROM plan_open_rows o;
    IF twice > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the stage lists users twice',
            DETAIL = format('Users listed twice: %s.', twice),
            HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                'minga_roster.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_open_rows(runs, connections, text[], boolean) IS
'Fills plan_open_rows, with all rows of people who have several links (repeated). XX000 if the stage lists a user '
    'twice.';

CREATE FUNCTION minga_roster_internal.open_rows_are_settled(run runs, connection connections, others text[],
    repeated text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    keys bytea;
BEGIN
    -- Joins, since a search in an array looks at each of its people.
    IF EXISTS (SELECT FROM plan_open_rows o LEFT JOIN unnest(repeated) r (person_id) ON r.person_id = o.person_id
        WHERE o.settled_as IS NULL AND r.person_id IS NULL)
    THEN
        RETURN false;
    END IF;
    IF repeated <> '{}' AND (others <> '{}' OR run.is_full IS FALSE OR EXISTS (
        SELECT
        FROM (
            SELECT o.*, first_value(c.role) OVER (PARTITION BY o.person_id ORDER BY c.rank) AS best_role
            FROM plan_open_rows o
            LEFT JOIN (SELECT DISTINCT ON (r.category) r.category, r.role, r.rank FROM plan_rules r
                ORDER BY r.category, r.rank, r.roster_role) c ON c.category = o.link_category
            WHERE o.person_id IN (SELECT unnest(repeated))
        ) o
        WHERE (o.plain AND (o.role_written IS NULL OR o.role_written = o.best_role)) IS NOT TRUE))
    THEN
        RETURN false;
    END IF;
    IF NOT EXISTS (SELECT FROM plan_open_rows o WHERE NOT o.linked) THEN
        RETURN true;
    END IF;
    -- A row without a link could still be someone, be decided about, or be forgotten.
    keys := (SELECT minga_roster_internal.key_set(o.identifier, o.email) FROM plan_open_rows o
        WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff'));
    RETURN NOT ((SELECT p.campus_metadata FROM minga_roster.sis p WHERE p.sis = connection.sis)
        OR (keys IS NOT NULL
            AND EXISTS (SELECT FROM plan_people p WHERE minga_roster_internal.in_key_set(keys, p.identifier, p.email)))
        OR EXISTS (SELECT FROM minga_roster.match_decisions d JOIN plan_open_rows o ON o.sourced_id = d.sourced_id
            WHERE d.connection = open_rows_are_settled.connection.connection)
        OR EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = connection.site));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.open_rows_are_settled(runs, connections, text[], text[]) IS
'Whether the outcome of each open row is known by itself (settled_as; people with several rows: all are plain), so '
    'that later steps would do nothing.';

CREATE FUNCTION minga_roster_internal.find_joint_rows(run runs, connection connections, shared_keys bytea,
    others text[], repeated text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET hash_mem_multiplier = 2 AS $$
DECLARE
    unopened text[];
BEGIN
    -- A row that shares a key with a new row is looked at together with it.
    IF shared_keys IS NOT NULL THEN
        PERFORM minga_roster_internal.find_shared_rows(connection, shared_keys);
    END IF;
    unopened := ARRAY(SELECT h.sourced_id FROM plan_shared_rows h
        LEFT JOIN plan_open_rows o ON o.sourced_id = h.sourced_id WHERE o.sourced_id IS NULL);
    IF unopened <> '{}' THEN
        EXECUTE 'INSERT INTO plan_open_rows ' || minga_roster_internal.open_rows_query(connection,
            's.sourced_id = ANY ($1)') USING unopened;
    END IF;

    -- A person of several rows is plain if all of them are; the first in rank is the main one.
    PERFORM minga_roster_internal.find_special_people(run, connection, others, repeated);
    INSERT INTO plan_settled_rows (sourced_id, place, category, is_main)
    SELECT j.sourced_id, j.place, j.category, j.nth = 1
    FROM (
        SELECT o.sourced_id, o.place, o.category,
            row_number() OVER (PARTITION BY o.person_id ORDER BY o.rank, o.sourced_id) AS nth,
            every(o.plain IS TRUE AND (o.role_written IS NULL OR o.role_written = x.best_role)
                AND o.sourced_id NOT IN (SELECT h.sourced_id FROM plan_shared_rows h))
                OVER (PARTITION BY o.person_id) AS settled
        FROM plan_open_rows o JOIN plan_special_people x ON x.person_id = o.person_id AND x.only_own
    ) j
    WHERE j.settled;

    -- Rows for which someone decided "skip" are matched and grouped with no one, nor are those of forgotten people.
    IF EXISTS (SELECT FROM minga_roster.forgotten_people f WHERE f.site = connection.site) THEN
        PERFORM minga_roster_internal.skip_forgotten(connection.connection);
    END IF;
    INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
    SELECT o.sourced_id, o.place, o.category, 'skip'
    FROM plan_open_rows o
    JOIN minga_roster.match_decisions d ON d.connection = find_joint_rows.connection.connection
        AND d.decision = 'skip' AND d.sourced_id = o.sourced_id
    WHERE o.staged AND o.standing <> 'absent' AND NOT o.linked AND o.family IS DISTINCT FROM 'contact';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_joint_rows(runs, connections, bytea, text[], text[]) IS
'Adds to plan_open_rows those that share a key with a new one. Fills plan_shared_rows, plan_special_people, and '
    'plan_settled_rows and plan_skipped_rows, the open rows that later steps leave out.';
