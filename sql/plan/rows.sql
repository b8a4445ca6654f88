-- The rows that need a look: the full join of stage, links and people, less the rows that are as they should be. On an
-- unchanged night that is almost none. Must survive a roster as large as a district's: no step here is more than
-- linear.

CREATE FUNCTION minga_roster_internal.find_repeated(connection connections, others text[]) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
    SELECT minga_roster_internal.repeated(l.person_id)
    FROM minga_roster.links l
    WHERE l.site = (find_repeated.connection).site
        AND (l.connection = (find_repeated.connection).connection
            OR (l.connection = ANY (others) AND l.missed_since IS NULL))
$$;
COMMENT ON FUNCTION minga_roster_internal.find_repeated(connections, text[]) IS
'The people with more than one link, counting the links of this connection and the live links of the others.';

CREATE FUNCTION minga_roster_internal.find_shared_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_shared_rows (sourced_id)
    WITH new_key AS MATERIALIZED (
        SELECT lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier
        FROM plan_open_rows o
        WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND (o.username IS NOT NULL OR o.identifier IS NOT NULL)
    ), keyed AS MATERIALIZED (
        SELECT s.sourced_id, r.family, lower(s.username COLLATE "C") AS username,
            lower(s.identifier COLLATE "C") AS identifier
        FROM minga_roster.staged_users s JOIN plan_rules r ON r.roster_role = s.role
            AND r.family IN ('student', 'staff')
        WHERE s.connection = find_shared_rows.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND EXISTS (SELECT FROM new_key)
            AND (lower(s.username COLLATE "C") IN (SELECT k.username FROM new_key k WHERE k.username IS NOT NULL)
                OR lower(s.identifier COLLATE "C") IN (SELECT k.identifier FROM new_key k
                    WHERE k.identifier IS NOT NULL))
    )
    SELECT k.sourced_id FROM keyed k
    WHERE (k.family, k.username) IN (
            SELECT t.family, t.username FROM keyed t WHERE t.username IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1)
        OR (k.family, k.identifier) IN (
            SELECT t.family, t.identifier FROM keyed t WHERE t.identifier IS NOT NULL
            GROUP BY 1, 2 HAVING count(*) > 1);
    ANALYZE plan_shared_rows;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_shared_rows(connections) IS
'Fills plan_shared_rows.';

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
    ANALYZE plan_special_people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_special_people(runs, connections, text[], text[]) IS
'Fills plan_special_people.';

CREATE FUNCTION minga_roster_internal.plain_terms(connection connections) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$(
        l.missed_since IS NULL AND l.archived_run IS NULL AND NOT p.archived AND p.protection IS NULL
        AND coalesce(s.status, 'active') = 'active' AND s.enabled AND NOT s.damaged
        AND l.category = {category_of_row}
        AND ({values_agree})
        AND {parent_agrees}
    )$template$,
        'category_of_row', coalesce((
            SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.category), ' '
                ORDER BY r.rank, r.roster_role) || ' END'
            FROM plan_rules r WHERE r.rostered), 'NULL'),
        'values_agree', minga_roster_internal.agreement(connection, ARRAY(
            SELECT c FROM unnest(minga_roster_internal.written_columns()) c
            WHERE people.columns ? c AND c NOT LIKE 'parent\_%' AND c <> ALL (people.local_columns))),
        'parent_agrees', CASE
            WHEN (connection).parent_contact AND 'parent_contact' <> ALL (people.local_columns) THEN coalesce((
                SELECT '((t.parent_name IS NULL AND (t.sourced_id IS NULL OR p.parent_rule IS NULL)) OR ('
                    || string_agg(minga_roster_internal.fill_template(
                        '(t.{name:I} IS NOT DISTINCT FROM p.{name:I}'
                        ' OR z.sent ->> {name:L} = minga_roster_internal.value_hash(t.{name:I})::text)',
                        'name', c), ' AND ')
                    || '))'
                FROM unnest(minga_roster_internal.written_columns()) c
                WHERE people.columns ? c AND c LIKE 'parent\_%'), 'true')
            ELSE 'true' END)
    FROM (
        SELECT r.columns, minga_roster_internal.local_columns((plain_terms.connection).connection) AS local_columns
        FROM minga_roster.people_relations r WHERE r.relation = (plain_terms.connection).people
    ) people
$$;
COMMENT ON FUNCTION minga_roster_internal.plain_terms(connections) IS
'An SQL expression over the staged row s, its link l, the person p, the parent contact t and plan_as_sent z: whether '
    'the row is readable and active, of a rostered category, linked to an active person whom a roster may write, and '
    'every value is as it should be.';

CREATE FUNCTION minga_roster_internal.open_rows_query(connection connections, condition text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
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
            j.identifier, j.grade, j.phone, j.parent_name, j.parent_email, j.parent_phone, j.parent_rule,
            j.plain, j.damaged_field
        FROM (
            SELECT coalesce(s.sourced_id, l.sourced_id) AS sourced_id, s.sourced_id IS NOT NULL AS staged, s.place,
                s.status, s.damaged, s.enabled, s.role AS roster_role, l.sourced_id IS NOT NULL AS linked, p.person_id,
                l.category AS link_category, l.role_written, l.linked_run, l.missed_since, l.archived_run,
                s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username, s.identifier,
                s.grade, s.phone, {parent_columns}, {plain} AS plain, s.damaged_field
            FROM (SELECT *, ctid AS place FROM minga_roster.staged_users WHERE connection = {connection:L}) s
            FULL JOIN (SELECT * FROM minga_roster.links WHERE connection = {connection:L}) l
                ON l.sourced_id = s.sourced_id
            LEFT JOIN plan_people p ON p.person_id = l.person_id
            LEFT JOIN plan_as_sent z ON z.person_id = p.person_id
            {join_parents}
            WHERE {condition}
            OFFSET 0
        ) j
        LEFT JOIN plan_rules r ON r.roster_role = j.roster_role
        WHERE {contacts_too} OR j.linked OR r.category IS DISTINCT FROM 'contact'
    $template$,
        'connection', (connection).connection,
        'parent_columns', (
            SELECT string_agg(format(CASE WHEN (connection).parent_contact THEN 't.%I' ELSE 'NULL::text AS %I' END,
                c), ', ' ORDER BY c)
            FROM unnest(minga_roster_internal.written_columns()) c WHERE c LIKE 'parent\_%'),
        'join_parents', CASE WHEN (connection).parent_contact
            THEN 'LEFT JOIN plan_parents t ON t.sourced_id = s.sourced_id' ELSE '' END,
        'plain', minga_roster_internal.plain_terms(connection),
        'condition', condition,
        'contacts_too', (NOT (connection).parent_contact)::text)
$$;
COMMENT ON FUNCTION minga_roster_internal.open_rows_query(connections, text) IS
'The query that reads plan_open_rows: the full join of stage, links and people, of the rows for which the condition '
    'holds. Contacts whose values are columns of a student are left out.';

CREATE FUNCTION minga_roster_internal.find_open_rows(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    others text[] := ARRAY(
        SELECT c.connection FROM minga_roster.connections c
        WHERE c.site = connection.site AND c.people = connection.people AND c.retired_at IS NULL
            AND c.connection <> find_open_rows.connection.connection);
    repeated text[] := minga_roster_internal.find_repeated(connection, others);
    due_role text := (SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.role), ' '
        ORDER BY r.rank, r.roster_role) || ' END'
        FROM plan_rules r);
    unopened text[];
    twice bigint;
BEGIN
    -- The join tells plain rows of single links by what it has at hand; only the others are looked at closely.
    EXECUTE 'INSERT INTO plan_open_rows ' || minga_roster_internal.open_rows_query(connection,
        minga_roster_internal.fill_template(
            '({plain} AND (l.role_written IS NULL OR l.role_written = {due_role}) AND l.person_id <> ALL ($1)) '
            'IS NOT TRUE',
            'plain', minga_roster_internal.plain_terms(connection),
            'due_role', coalesce(due_role, 'NULL'))
        -- Students whom a delta does not list have not changed.
        || CASE WHEN run.is_full IS FALSE THEN ' AND (s.sourced_id IS NOT NULL OR l.category <> ''student'')'
            ELSE '' END)
    USING repeated;

    SELECT count(*) - count(DISTINCT o.sourced_id) INTO twice FROM plan_open_rows o;
    IF twice > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the stage lists users twice',
            DETAIL = format('Users listed twice: %s.', twice),
            HINT = 'No account was changed. Start the run again. If the error stays, report it to the makers of '
                'minga_roster.';
    END IF;

    -- A row that shares a key with a new row is looked at together with it.
    PERFORM minga_roster_internal.find_shared_rows(connection);
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
        INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
        SELECT o.sourced_id, o.place, o.category, 'forgotten'
        FROM plan_open_rows o
        JOIN minga_roster.staged_users s ON s.connection = find_open_rows.connection.connection
            AND s.outcome = 'forgotten' AND s.sourced_id = o.sourced_id;
    END IF;
    INSERT INTO plan_skipped_rows (sourced_id, place, category, outcome)
    SELECT o.sourced_id, o.place, o.category, 'skip'
    FROM plan_open_rows o
    JOIN minga_roster.match_decisions d ON d.connection = find_open_rows.connection.connection
        AND d.decision = 'skip' AND d.sourced_id = o.sourced_id
    WHERE o.staged AND o.standing <> 'absent' AND NOT o.linked AND o.family IS DISTINCT FROM 'contact';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_open_rows(runs, connections) IS
'Fills plan_open_rows and plan_shared_rows, plan_special_people, and plan_settled_rows and plan_skipped_rows, the open '
    'rows that later steps leave out. XX000 if the stage lists a user twice.';
