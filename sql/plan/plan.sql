-- The plan: one full join of the stage, the links and the people, and what is to be done for each row that is not as it should be.
-- Reads people once, writes nothing but changes and the outcomes in the stage. What later steps need stays in temp tables until
-- the transaction ends. Must survive rosters that contradict themselves: whoever is not certain is not touched.

CREATE FUNCTION minga_roster_internal.repeated_add(internal, text) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_add';
COMMENT ON FUNCTION minga_roster_internal.repeated_add(internal, text) IS 'Transition function of the aggregate repeated.';

CREATE FUNCTION minga_roster_internal.repeated_values(internal) RETURNS text[]
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_values';
COMMENT ON FUNCTION minga_roster_internal.repeated_values(internal) IS 'Final function of the aggregate repeated.';

CREATE AGGREGATE minga_roster_internal.repeated(text) (SFUNC = minga_roster_internal.repeated_add, STYPE = internal, SSPACE = 16777216, FINALFUNC = minga_roster_internal.repeated_values);
COMMENT ON AGGREGATE minga_roster_internal.repeated(text) IS 'The values that come more than once, each at least once, byte for byte; an empty array where there are none. Two values of one 64-bit hash count as one that came twice.';

CREATE FUNCTION minga_roster_internal.agrees(VARIADIC pairs "any") RETURNS boolean
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_agrees';
COMMENT ON FUNCTION minga_roster_internal.agrees("any") IS 'Whether of each pair of texts the first is NULL or, byte for byte, the second.';

CREATE FUNCTION minga_roster_internal.family_of(category text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE category WHEN 'student' THEN 'student' WHEN 'contact' THEN 'contact' WHEN NULL THEN NULL ELSE 'staff' END;
COMMENT ON FUNCTION minga_roster_internal.family_of(text) IS 'What absence and matching are judged in: students, and teacher, staff and admin together.';

CREATE FUNCTION minga_roster_internal.role_family(role text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN role IN ('student', 'student_leader') THEN 'student'
    WHEN role IN ('teacher', 'staff', 'admin', 'owner', 'manager') THEN 'staff'
    WHEN role = 'other' THEN 'other'
END;
COMMENT ON FUNCTION minga_roster_internal.role_family(text) IS
'The family that a person''s role names, in the contract''s words: student, staff, other for accounts that a roster '
    'never writes; NULL where it names none.';

CREATE FUNCTION minga_roster_internal.clean_name(name text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_clean_name';
COMMENT ON FUNCTION minga_roster_internal.clean_name(text) IS
'What of a name is compared: its letters and digits, in lower case after NFKD; NULL where none is left. The same in '
    'every locale.';

CREATE FUNCTION minga_roster_internal.given_names_agree(one text, one_preferred text, other text, other_preferred text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN one IS NOT NULL AND other IS NOT NULL THEN
    one = other OR (length(one) >= 3 AND starts_with(other, one)) OR (length(other) >= 3 AND starts_with(one, other))
        OR coalesce(one = other_preferred, false) OR coalesce(other = one_preferred, false) END;
COMMENT ON FUNCTION minga_roster_internal.given_names_agree(text, text, text, text) IS
'Whether two cleaned given names agree: they are equal, one of three letters or more begins the other, or one is the '
    'preferred name beside the other; NULL where one is empty.';

CREATE FUNCTION minga_roster_internal.read_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET default_statistics_target = 1 AS $$
BEGIN
    CREATE TEMP TABLE current_people (person_id text, role text, role_word text, role_first boolean, archived boolean,
        archived_at timestamptz, status text, managed boolean, given_name text, family_name text, middle_name text,
        preferred_name text, email text, username text, identifier text, grade text, phone text, parent_name text,
        parent_email text, parent_phone text, parent_rule text, protection text) ON COMMIT DROP;
    -- A deferred trigger could not fire inside the restricted operation; from here to the end of the transaction none is.
    SET CONSTRAINTS ALL IMMEDIATE;
    PERFORM minga_roster_internal.read_as_owner(connection.people,
        minga_roster_internal.people_query(connection.people), 'pg_temp.current_people', connection.site);
    ANALYZE current_people (person_id, identifier, email);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_people(connections) IS
'Copies the people of the connection''s site into the temp table current_people, in the contract''s names and the '
    'roster''s words for roles; role_word is the relation''s own, and role_first whether a sync writes that one.';

CREATE FUNCTION minga_roster_internal.read_rules(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE roster_rules ON COMMIT DROP AS
    SELECT r.roster_role, r.category, minga_roster_internal.family_of(r.category) AS family, r.role, r.rank,
        coalesce(t.roster, r.category <> 'contact') AS rostered, coalesce(t.auto_update, false) AS auto_update,
        coalesce(t.archive, false) AS archive
    FROM minga_roster.role_rules r
    LEFT JOIN minga_roster.toggles t ON t.connection = connection.connection AND t.category = r.category
    WHERE r.sis = connection.sis;
    -- What a category stands for where no row of tonight says more.
    CREATE TEMP TABLE category_rules ON COMMIT DROP AS
    SELECT DISTINCT ON (r.category) r.category, r.family, r.role, r.rank, r.rostered, r.auto_update, r.archive
    FROM roster_rules r ORDER BY r.category, r.rank, r.roster_role;

    CREATE TEMP TABLE proved_families ON COMMIT DROP AS
    SELECT e.entry ->> 'family' AS family
    FROM minga_roster.runs this
    CROSS JOIN minga_roster.sis s
    CROSS JOIN LATERAL jsonb_array_elements(s.collections) AS e (entry)
    LEFT JOIN minga_roster.collections c ON c.run = read_rules.run AND c.collection = e.entry ->> 'collection'
    WHERE this.run = read_rules.run AND this.is_full AND s.sis = connection.sis
    GROUP BY e.entry ->> 'family'
    HAVING bool_and(c.run IS NOT NULL AND c.complete AND c.without_id = 0
        AND (c.rows > c.elsewhere
            OR NOT EXISTS (
                SELECT FROM minga_roster.links l
                WHERE l.connection = read_rules.connection.connection AND e.entry -> 'categories' ? l.category)
            -- Several collections may hold one category: what no sync or preview on record ever found somebody in linked nobody.
            OR (SELECT bool_and(b.rows <= b.elsewhere)
                FROM minga_roster.collections b
                JOIN minga_roster.runs r ON r.run = b.run
                WHERE r.connection = read_rules.connection.connection AND r.kind IN ('sync', 'preview') AND r.state = 'succeeded'
                    AND b.collection = c.collection)));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.read_rules(connections, bigint) IS
'Makes the temp tables roster_rules and category_rules (the preset''s rules with the connection''s toggles) and proved_families: those of which every collection was read whole in this run and not empty, but for one that never had a linked person (of contacts: a row). A delta proves none.';

CREATE FUNCTION minga_roster_internal.choose_parents(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE parents (sourced_id text COLLATE "C", parent_name text, parent_email text, parent_phone text, parent_rule text)
        ON COMMIT DROP;
    IF NOT connection.parent_contact THEN
        RETURN;
    END IF;
    -- Where the first contact cannot be read, the next one is not the right one either; nor where a row might be a contact's.
    INSERT INTO parents
    WITH steps AS MATERIALIZED (
        SELECT r.rank, r.roles, string_agg('no ' || r.roles || '; ', '') OVER (ORDER BY r.rank ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS passed
        FROM (SELECT c.rank, string_agg(c.roster_role, ' or ' ORDER BY c.roster_role) AS roles
            FROM roster_rules c WHERE c.family = 'contact' GROUP BY c.rank) r
    ), said AS MATERIALIZED (
        -- A relationship may stand with either of the two; what is said both ways is not said.
        SELECT n.one, n.other, CASE WHEN bool_or(n.guardian) = bool_and(n.guardian)
            THEN bool_or(n.guardian) END AS guardian,
            CASE WHEN min(n.type) = max(n.type) THEN lower(min(n.type)) END AS type
        FROM (
            SELECT unnest(ARRAY[u.sourced_id, e.entry ->> 'id']) COLLATE "C" AS one,
                unnest(ARRAY[e.entry ->> 'id', u.sourced_id]) COLLATE "C" AS other,
                (e.entry ->> 'guardian')::boolean AS guardian, e.entry ->> 'type' AS type
            FROM minga_roster.staged_users u CROSS JOIN LATERAL jsonb_array_elements(u.relationships) AS e (entry)
            WHERE u.connection = choose_parents.connection.connection
                AND (SELECT p.campus_metadata FROM minga_roster.sis p WHERE p.sis = choose_parents.connection.sis)
        ) n
        GROUP BY n.one, n.other
    )
    SELECT c.sourced_id, c.name, c.email, c.phone,
        CASE WHEN c.guardian THEN concat('guardian by the SIS', ': ' || c.type, CASE
            WHEN c.several THEN '; first of several in the order of agents' END)
            ELSE concat(c.role, ': ', w.passed, CASE WHEN c.others_ruled_out
                THEN 'by the SIS others are no guardian; ' END,
                CASE WHEN c.several THEN format('first %s in the order of agents', w.roles)
                    ELSE format('only %s', w.roles) END) END
    FROM (
        SELECT DISTINCT ON (s.sourced_id) s.sourced_id, g.damaged, concat_ws(' ', g.given_name, g.family_name) AS name, g.email, g.phone, g.role, gr.rank,
            n.guardian, n.type, n.guardian IS NULL AND bool_or(NOT n.guardian) OVER (PARTITION BY s.sourced_id,
                gr.rank) IS TRUE AS others_ruled_out,
            min(g.sourced_id) OVER equals <> max(g.sourced_id) OVER equals AS several
        FROM minga_roster.staged_users s
        JOIN roster_rules sr ON sr.roster_role = s.role AND sr.family = 'student'
        CROSS JOIN LATERAL unnest(s.agent_ids) WITH ORDINALITY AS a (id, position)
        JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = a.id COLLATE "C"
        LEFT JOIN roster_rules gr ON gr.roster_role = g.role
        LEFT JOIN said n ON n.one = s.sourced_id AND n.other = g.sourced_id
        WHERE s.connection = connection.connection AND g.status IS DISTINCT FROM 'tobedeleted'
            AND (gr.family = 'contact' OR (g.damaged AND gr.roster_role IS NULL))
            AND (g.damaged OR g.given_name IS NOT NULL OR g.family_name IS NOT NULL)
        WINDOW equals AS (PARTITION BY s.sourced_id, n.guardian, gr.rank)
        ORDER BY s.sourced_id, n.guardian IS NOT TRUE, gr.rank NULLS FIRST, n.guardian IS FALSE, a.position
    ) c
    JOIN steps w ON w.rank = c.rank
    WHERE NOT c.damaged;
    IF EXISTS (SELECT FROM minga_roster.runs r WHERE r.run = choose_parents.run AND r.is_full IS FALSE)
        OR EXISTS (SELECT FROM minga_roster.collections c
            WHERE c.run = choose_parents.run AND c.family = 'contact' AND (NOT c.complete OR c.without_id > 0))
    THEN
        -- An agent who could not be read, or was not asked for, might come first.
        DELETE FROM parents p
        USING (
            SELECT s.sourced_id
            FROM minga_roster.staged_users s
            CROSS JOIN LATERAL unnest(s.agent_ids) AS a (id)
            LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = a.id COLLATE "C"
            WHERE s.connection = connection.connection AND g.sourced_id IS NULL
        ) unread
        WHERE unread.sourced_id = p.sourced_id;
    END IF;
    IF connection.clear_parent_contact AND (SELECT count(*) FROM proved_families f WHERE f.family IN ('student', 'contact')) = 2 THEN
        -- Gone is a contact whom the SIS does not name any more, or calls deleted; who is named and not listed may be anybody.
        INSERT INTO parents (sourced_id)
        SELECT s.sourced_id
        FROM minga_roster.staged_users s
        JOIN roster_rules sr ON sr.roster_role = s.role AND sr.family = 'student'
        LEFT JOIN LATERAL unnest(s.agent_ids) AS a (id) ON true
        LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = a.id COLLATE "C"
        WHERE s.connection = connection.connection
        GROUP BY s.sourced_id
        HAVING bool_and(a.id IS NULL OR coalesce(g.status = 'tobedeleted' AND NOT g.damaged, false));
    END IF;
    ANALYZE parents (sourced_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.choose_parents(connections, bigint) IS
'Makes the temp table parents: for each staged student the primary contact: the guardian by what Infinite Campus 1.2 '
    'says of the relationship, then guardian or parent before relative, then the order of agents, with the rule that '
    'chose in words. OneRoster marks no contact as primary. With clear_parent_contact also, all but the id NULL, '
    'each student of whose contacts a proved read has none left.';

CREATE FUNCTION minga_roster_internal.find_repeated(connection connections, others text[]) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    contact_roles text[] := ARRAY(SELECT r.roster_role FROM roster_rules r WHERE r.family = 'contact' AND connection.parent_contact);
    people text[];
BEGIN
    SELECT minga_roster_internal.repeated(l.person_id) INTO people
    FROM minga_roster.links l
    WHERE l.site = connection.site
        AND (l.connection = find_repeated.connection.connection OR (l.connection = ANY (others) AND l.missed_since IS NULL));
    CREATE TEMP TABLE listed_users ON COMMIT DROP AS
    SELECT count(*) AS rows, count(*) FILTER (WHERE s.role = ANY (contact_roles)) AS contacts
    FROM minga_roster.staged_users s
    WHERE s.connection = find_repeated.connection.connection;
    RETURN people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_repeated(connections, text[]) IS
'People with more than one link of this connection and the others; makes the temp table listed_users, how many rows '
    'the stage has, and how many of them are contacts that the plan leaves aside.';

CREATE FUNCTION minga_roster_internal.find_shared_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE shared_rows (sourced_id text COLLATE "C") ON COMMIT DROP;
    CREATE TEMP TABLE new_keys ON COMMIT DROP AS
    SELECT o.family, lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier
    FROM open_rows o
    WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff')
        AND (o.username IS NOT NULL OR o.identifier IS NOT NULL);
    IF NOT EXISTS (SELECT FROM new_keys) THEN
        RETURN;
    END IF;
    WITH keyed AS MATERIALIZED (
        SELECT s.sourced_id, r.family, lower(s.username COLLATE "C") AS username,
            lower(s.identifier COLLATE "C") AS identifier
        FROM minga_roster.staged_users s JOIN roster_rules r ON r.roster_role = s.role
            AND r.family IN ('student', 'staff')
        WHERE s.connection = find_shared_rows.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND (lower(s.username COLLATE "C") IN (SELECT k.username FROM new_keys k WHERE k.username IS NOT NULL)
                OR lower(s.identifier COLLATE "C") IN (SELECT k.identifier FROM new_keys k
                    WHERE k.identifier IS NOT NULL))
    )
    INSERT INTO shared_rows
    SELECT k.sourced_id FROM keyed k
    WHERE (k.family, k.username) IN (SELECT t.family, t.username FROM keyed t WHERE t.username IS NOT NULL GROUP BY 1,
        2 HAVING count(*) > 1)
        OR (k.family, k.identifier) IN (SELECT t.family, t.identifier FROM keyed t WHERE t.identifier IS NOT NULL
            GROUP BY 1, 2 HAVING count(*) > 1);
    ANALYZE shared_rows;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_shared_rows(connections) IS
'Makes the temp table shared_rows: listed rows that share a user name or an identifier within a family with others, '
    'where one of them is linked to nobody.';

CREATE FUNCTION minga_roster_internal.find_open_rows(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    others text[] := ARRAY(
        SELECT c.connection FROM minga_roster.connections c
        WHERE c.site = connection.site AND c.people = connection.people AND c.retired_at IS NULL
            AND c.connection <> find_open_rows.connection.connection);
    repeated text[] := minga_roster_internal.find_repeated(connection, others);
    due_role text := (SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.role), ' '
        ORDER BY r.rank, r.roster_role) || ' END'
        FROM roster_rules r);
    plain text;
    read_rows text;
    read_rules text;
BEGIN
    -- The join tells plain rows of single links by what it has at hand; only what is left is looked at closely.
    plain := '(l.missed_since IS NULL AND l.archived_run IS NULL AND NOT p.archived AND p.managed AND p.role <> '
        '''owner'' AND p.role <> ''manager'' AND p.role <> ''other'' '
        'AND coalesce(s.status, ''active'') = ''active'' AND s.enabled AND NOT s.damaged AND l.category = '
        || coalesce((SELECT 'CASE s.role ' || string_agg(format('WHEN %L THEN %L', r.roster_role, r.category), ' '
            ORDER BY r.rank, r.roster_role) || ' END'
            FROM roster_rules r WHERE r.rostered), 'NULL')
        || format(' AND (%s)', minga_roster_internal.agreement(connection,
            ARRAY(SELECT c FROM unnest(minga_roster_internal.written_columns()) c
            WHERE map ? c AND c NOT LIKE 'parent\_%' AND c <> ALL (minga_roster_internal.local_columns(connection.connection)))))
        || CASE WHEN connection.parent_contact
            AND 'parent_contact' <> ALL (minga_roster_internal.local_columns(connection.connection)) THEN
            coalesce((SELECT ' AND ((t.parent_name IS NULL AND (t.sourced_id IS NULL OR p.parent_rule IS NULL)) OR ('
                    || string_agg(format('(t.%1$I IS NOT DISTINCT FROM p.%1$I OR z.sent ->> %1$L = '
                        'minga_roster_internal.value_hash(t.%1$I)::text)', c), ' AND ')
                    || '))'
                FROM unnest(minga_roster_internal.written_columns()) c WHERE map ? c AND c LIKE 'parent\_%'), '') ELSE '' END
        || ')';
    read_rows := format($statement$
        SELECT j.sourced_id, j.sourced_id AS label, j.staged, j.place,
            CASE WHEN NOT j.staged OR j.status = 'tobedeleted' THEN 'absent'
                WHEN j.damaged THEN 'damaged'
                WHEN j.status NOT IN ('active', 'inactive') THEN 'unknown'
                WHEN j.status = 'inactive' OR NOT j.enabled THEN 'inactive'
                ELSE 'active' END AS standing,
            coalesce(r.rostered AND r.family IN ('student', 'staff') AND NOT j.damaged
                AND coalesce(j.status, 'active') IN ('active', 'inactive'), false) AS usable,
            j.roster_role, r.category, r.family, r.role, r.rank, r.rostered,
            j.linked, j.person_id, j.link_category, j.role_written, j.linked_run, j.missed_since IS NOT NULL AS missed, j.archived_run,
            j.given_name, j.family_name, j.middle_name, j.preferred_name, j.email, j.username, j.identifier, j.grade, j.phone,
            j.parent_name, j.parent_email, j.parent_phone, j.parent_rule,
            j.plain, j.damaged_field
        FROM (
            SELECT coalesce(s.sourced_id, l.sourced_id) AS sourced_id, s.sourced_id IS NOT NULL AS staged, s.place, s.status, s.damaged, s.enabled,
                s.role AS roster_role, l.sourced_id IS NOT NULL AS linked, p.person_id, l.category AS link_category, l.role_written,
                l.linked_run, l.missed_since, l.archived_run,
                s.given_name, s.family_name, s.middle_name, s.preferred_name, s.email, s.username, s.identifier,
                s.grade, s.phone, %2$s,
                %4$s AS plain, s.damaged_field
            FROM (SELECT *, ctid AS place FROM minga_roster.staged_users WHERE connection = %1$L) s
            FULL JOIN (SELECT * FROM minga_roster.links WHERE connection = %1$L) l ON l.sourced_id = s.sourced_id
            LEFT JOIN current_people p ON p.person_id = l.person_id LEFT JOIN as_sent z ON z.person_id = p.person_id%3$s
            WHERE $statement$,
        connection.connection,
        (SELECT string_agg(format(CASE WHEN connection.parent_contact THEN 't.%1$I' ELSE 'NULL::text AS %1$I' END, c), ', ' ORDER BY c)
            FROM unnest(minga_roster_internal.written_columns()) c WHERE c LIKE 'parent\_%'),
        CASE WHEN connection.parent_contact THEN ' LEFT JOIN parents t ON t.sourced_id = s.sourced_id' END,
        plain);
    read_rules := format($statement$
            OFFSET 0
        ) j
        LEFT JOIN roster_rules r ON r.roster_role = j.roster_role
        WHERE NOT %L OR j.linked OR r.category IS DISTINCT FROM 'contact'
        $statement$, connection.parent_contact);
    EXECUTE 'CREATE TEMP TABLE open_rows ON COMMIT DROP AS ' || read_rows
        || format('(%s AND (l.role_written IS NULL OR l.role_written = %s) AND l.person_id <> ALL ($1)) IS NOT TRUE%s',
            plain, due_role,
            -- Students whom a delta does not list have not changed.
            CASE WHEN run.is_full IS FALSE THEN ' AND (s.sourced_id IS NOT NULL OR l.category <> ''student'')' END)
        || read_rules
    USING repeated;
    PERFORM minga_roster_internal.find_shared_rows(connection);
    IF EXISTS (SELECT FROM shared_rows h LEFT JOIN open_rows o ON o.sourced_id = h.sourced_id
        WHERE o.sourced_id IS NULL) THEN
        EXECUTE 'INSERT INTO open_rows ' || read_rows || 's.sourced_id = ANY ($1)' || read_rules
        USING ARRAY(SELECT h.sourced_id FROM shared_rows h LEFT JOIN open_rows o ON o.sourced_id = h.sourced_id
            WHERE o.sourced_id IS NULL);
    END IF;

    CREATE TEMP TABLE special_people ON COMMIT DROP AS
    SELECT l.person_id, count(*) FILTER (WHERE l.own) AS own_links,
        min(l.linked_run) FILTER (WHERE l.own) AS first_own, min(l.linked_run) FILTER (WHERE NOT l.own) AS first_elsewhere,
        -- Rows of this connection alone: nothing special as long as each of them is plain.
        bool_and(l.own) AS only_own,
        (array_agg(r.role ORDER BY r.rank))[1] AS best_role
    FROM (
        SELECT o.person_id, true AS own, o.linked_run, o.link_category AS category
        FROM open_rows o WHERE o.person_id IS NOT NULL AND run.is_full IS NOT FALSE
        UNION ALL
        -- A delta leaves out links of those whom it does not list.
        SELECT k.person_id, true, k.linked_run, k.category
        FROM minga_roster.links k
        WHERE k.connection = find_open_rows.connection.connection AND k.person_id = ANY (repeated)
            AND run.is_full IS FALSE
        UNION ALL
        SELECT k.person_id, false, k.linked_run, k.category
        FROM minga_roster.links k WHERE k.connection = ANY (others) AND k.site = connection.site AND k.missed_since IS NULL
    ) l
    LEFT JOIN category_rules r ON r.category = l.category
    GROUP BY l.person_id
    HAVING count(*) > 1 OR NOT bool_and(l.own);
    ANALYZE special_people;

    -- A person of several rows is plain when all of them are; the first in rank stands for him.
    CREATE TEMP TABLE settled_rows ON COMMIT DROP AS
    SELECT j.sourced_id, j.place, j.category, j.nth = 1 AS main
    FROM (
        SELECT o.sourced_id, o.place, o.category, row_number() OVER (PARTITION BY o.person_id ORDER BY o.rank, o.sourced_id) AS nth,
            every(o.plain IS TRUE AND (o.role_written IS NULL OR o.role_written = x.best_role)
                AND o.sourced_id NOT IN (SELECT h.sourced_id FROM shared_rows h)) OVER (PARTITION BY o.person_id) AS settled
        FROM open_rows o JOIN special_people x ON x.person_id = o.person_id AND x.only_own
    ) j
    WHERE j.settled;
    DELETE FROM open_rows o USING settled_rows t WHERE t.sourced_id = o.sourced_id;
    ANALYZE open_rows (sourced_id, label, person_id, standing);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_open_rows(runs, connections) IS
'Makes the temp table open_rows: of the full join of stage, links and people each row that is not plain. Plain is a readable, active row of a rostered category, linked to one active, managed person whom no other row, link or connection speaks of, with every value as it should be: nothing is to be done and its outcome is unchanged.';

CREATE FUNCTION minga_roster_internal.decide_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    local_columns text[] := minga_roster_internal.local_columns(connection.connection);
BEGIN
    PERFORM minga_roster_internal.find_edited(connection);
    CREATE TEMP TABLE decisions ON COMMIT DROP AS
    WITH held AS MATERIALIZED (
        -- Ranks of rows that are not active: somebody keeps one, and never rises to it, with the role that was written (the role he is created
        -- with); who never got a role, marked by an empty text, has the best.
        SELECT DISTINCT ON (r.label, r.role_written) r.*
        FROM (
            SELECT o.label, unnest(ARRAY[c.role, CASE WHEN c.rostered THEN '' END]) AS role_written, c.category, c.role, c.rank, c.rostered
            FROM (
                SELECT n.label, CASE WHEN n.standing = 'inactive' OR (n.standing = 'active' AND n.family <> 'contact')
                    THEN n.category ELSE n.link_category END AS category
                FROM open_rows n
                WHERE n.standing <> 'absent' AND NOT (n.usable AND n.standing = 'active') AND (n.usable OR n.person_id IS NOT NULL)
                UNION ALL
                SELECT k.label, n.link_category
                FROM open_rows n JOIN candidates k ON k.person_id = n.person_id
                WHERE n.standing = 'absent' AND minga_roster_internal.family_of(n.link_category) NOT IN (SELECT f.family FROM proved_families f)
            ) o JOIN category_rules c ON c.category = o.category
        ) r
        WHERE r.role_written IS NOT NULL
        ORDER BY r.label, r.role_written, r.rank
    ), moved AS MATERIALIZED (
        SELECT o.person_id, min(o.role_written) AS role_written, min(o.linked_run) AS linked_run
        FROM open_rows o WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id
    ), matched AS MATERIALIZED (
        SELECT g.*, c.person_id, c.step, k.conflict, n.person_id AS named_person,
            coalesce(g.role_written, v.role_written) AS last_role, v.linked_run AS first_run,
            CASE WHEN h.rank < g.rank AND h.rostered THEN h.category ELSE g.category END AS due_category,
            CASE WHEN h.rank < g.rank AND h.role = coalesce(g.role_written, v.role_written) THEN h.role ELSE g.role END AS due_role,
            coalesce(x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1), false) AS owned_elsewhere
        FROM groups g
        LEFT JOIN conflicts k ON k.label = g.label
        LEFT JOIN candidates c ON c.label = g.label AND k.label IS NULL
        LEFT JOIN (SELECT label, min(person_id) AS person_id FROM candidates GROUP BY label HAVING count(DISTINCT person_id) = 1) n
            ON n.label = k.label
        LEFT JOIN special_people x ON x.person_id = c.person_id
        LEFT JOIN moved v ON v.person_id = c.person_id
        LEFT JOIN held h ON h.label = g.label AND k.label IS NULL AND minga_roster_internal.family_of(h.category) = g.family
            AND h.role_written = coalesce(g.role_written, v.role_written, CASE WHEN c.person_id IS NULL THEN g.role ELSE '' END)
        WHERE g.usable
    ), faced AS MATERIALIZED (
        SELECT m.*, r.auto_update AND NOT m.owned_elsewhere AS auto_update, r.auto_update AS wants_update,
            p.archived, p.role AS role_now, NOT p.managed OR p.role IN ('owner', 'manager', 'other') AS protected,
            coalesce(d.before, '{}') || CASE WHEN writes_role THEN jsonb_build_object('role', p.role) ELSE '{}' END AS before,
            coalesce(d.after, '{}') || CASE WHEN writes_role THEN jsonb_build_object('role', m.due_role) ELSE '{}' END AS after
        FROM matched m
        JOIN category_rules r ON r.category = m.due_category
        LEFT JOIN candidate_people p ON p.person_id = m.person_id
        LEFT JOIN edited_people e ON e.person_id = m.person_id
        LEFT JOIN as_sent z ON z.person_id = m.person_id
        -- A contact with a rule beside it was written by a roster; any other is the school's own.
        LEFT JOIN parents gone ON gone.sourced_id = m.main_row AND gone.parent_name IS NULL AND p.parent_rule IS NOT NULL
        CROSS JOIN LATERAL (SELECT p.person_id IS NULL
            OR (m.last_role IS NOT NULL AND m.due_role <> m.last_role AND ((p.role = m.last_role AND p.role_first)
                OR z.sent ->> 'role' = minga_roster_internal.value_hash(m.last_role)::text)
                AND (z.sent ->> 'role') IS DISTINCT FROM minga_roster_internal.value_hash(m.due_role)::text)) w (writes_role)
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(v.name, v.now) AS before, jsonb_object_agg(v.name, v.due) AS after
            FROM (VALUES ('given_name', p.given_name, m.given_name), ('family_name', p.family_name, m.family_name),
                ('middle_name', p.middle_name, m.middle_name), ('preferred_name', p.preferred_name, m.preferred_name),
                ('email', p.email, m.email), ('username', p.username, m.username), ('identifier', p.identifier, m.identifier),
                ('grade', p.grade, m.grade), ('phone', p.phone, m.phone), ('parent_name', p.parent_name, m.parent_name),
                ('parent_email', p.parent_email, m.parent_email), ('parent_phone', p.parent_phone, m.parent_phone),
                ('parent_rule', p.parent_rule, m.parent_rule)) AS v (name, now, due)
            WHERE (m.active OR p.person_id IS NOT NULL) AND map ? v.name AND v.due IS DISTINCT FROM v.now
                AND (z.sent ->> v.name) IS DISTINCT FROM minga_roster_internal.value_hash(v.due)::text
                AND (v.due IS NOT NULL OR ((m.parent_name IS NOT NULL OR gone.sourced_id IS NOT NULL) AND v.name LIKE 'parent\_%'))
                AND (p.person_id IS NULL OR minga_roster_internal.ownership_unit(v.name) <> ALL (local_columns || coalesce(e.columns, '{}')))
        ) d
    ), decided AS (
        SELECT f.*,
            CASE
                WHEN f.conflict IS NOT NULL THEN 'conflict'
                WHEN f.person_id IS NULL AND NOT f.active THEN 'skip'
                WHEN f.person_id IS NULL AND (f.given_name IS NULL OR f.family_name IS NULL) THEN 'reject'
                WHEN f.person_id IS NULL THEN 'create'
                WHEN f.protected THEN 'protect'
                WHEN f.archived AND NOT f.active THEN 'skip'
                WHEN f.archived THEN 'restore'
                WHEN f.auto_update AND f.after <> '{}' THEN 'update'
                WHEN f.joins THEN 'link'
                WHEN f.after <> '{}' THEN 'skip'
                ELSE 'unchanged'
            END AS outcome
        FROM faced f
    )
    SELECT d.label, d.main_row, d.sourced_ids, coalesce(d.person_id, d.named_person) AS person_id, d.step, d.due_category AS category, d.due_role AS role, d.last_role, d.first_run, d.outcome,
        d.joins AND d.outcome IN ('create', 'protect', 'restore', 'update', 'link') AS links,
        CASE WHEN d.outcome IN ('update', 'restore') AND d.auto_update THEN d.before ELSE '{}' END AS before,
        CASE WHEN d.outcome = 'create' OR (d.outcome IN ('update', 'restore') AND d.auto_update) THEN d.after ELSE '{}' END AS after,
        CASE
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN d.outcome = 'reject' THEN 'incomplete'
            WHEN d.outcome = 'create' THEN 'new'
            WHEN d.outcome = 'protect' THEN 'protected'
            WHEN d.step = 'link' AND d.joins THEN 'same person'
            WHEN d.step = 'link' THEN 'linked'
            ELSE d.step
        END AS rule,
        CASE d.outcome
            WHEN 'conflict' THEN minga_roster_internal.conflict_text(d.conflict)
            WHEN 'reject' THEN 'The roster gives no given name or no family name.'
            WHEN 'create' THEN 'Nobody of the site is this person.'
            WHEN 'protect' THEN CASE WHEN d.role_now = 'other'
                THEN 'Rosters do not write to accounts whose role the map of roles calls other.'
                ELSE 'Rosters do not write to owners, managers and people who are not managed by a roster.' END
            WHEN 'restore' THEN 'The roster lists the archived person as active again.'
            WHEN 'update' THEN CASE WHEN d.after -> 'parent_rule' = 'null' THEN
                    CASE WHEN EXISTS (SELECT FROM jsonb_each(d.after) a WHERE a.value <> 'null') THEN 'The roster has other values, and names no parent contact of the student any more.'
                    ELSE 'The roster names no parent contact of the student any more.' END
                ELSE 'The roster has other values.' END
            WHEN 'link' THEN CASE WHEN d.step = 'link' THEN 'A further row of the roster is this person.'
                WHEN d.step = 'former id' THEN 'By the SIS this row had the id of the person before.'
                ELSE format('A person of the site has the same %s.', d.step) END
        END AS reason,
        -- A protection is told where something would have been done.
        d.outcome IN ('conflict', 'reject', 'create', 'restore', 'update', 'link')
            OR (d.outcome = 'protect' AND (d.joins OR (d.archived AND d.active) OR (NOT d.archived AND d.auto_update AND d.after <> '{}'))) AS told,
        NULL::text AS held_as, NULL::text AS held_cause, NULL::text AS held_reason, d.conflict
    FROM decided d;
    ANALYZE decisions (label, person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.decide_groups(connections) IS 'Makes the temp table decisions: for each group with a usable row the outcome of its first row, and the change.';

CREATE FUNCTION minga_roster_internal.plan_changes(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    word text := (SELECT r.archive_words ->> 'archived' FROM minga_roster.people_relations r WHERE r.relation = connection.people);
BEGIN
    -- Absent with every link, in families that were proved, and nobody whom a listed row could be.
    CREATE TEMP TABLE leavers ON COMMIT DROP AS
    WITH gone AS MATERIALIZED (
        SELECT o.person_id, array_agg(o.sourced_id ORDER BY o.sourced_id)::text[] AS sourced_ids, count(*) AS links, c.family,
            max(coalesce(l.missed_run, run.run)) AS missed_run,
            -- The best rank among the rows seen last.
            (array_agg(o.link_category ORDER BY l.missed_since DESC NULLS FIRST, c.rank))[1] AS category
        FROM open_rows o
        JOIN minga_roster.links l ON l.connection = connection.connection AND l.sourced_id = o.sourced_id
        JOIN category_rules c ON c.category = o.link_category
        JOIN proved_families f ON f.family = c.family
        WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id, c.family
    ), whole_reads AS MATERIALIZED (
        SELECT r.run, c.family
        FROM minga_roster.runs r
        -- An apply goes by what its preview read.
        JOIN minga_roster.collections c ON c.run = CASE r.kind WHEN 'apply' THEN r.of_run ELSE r.run END
        LEFT JOIN minga_roster.collections tonight ON tonight.run = plan_changes.run.run AND tonight.collection = c.collection
        WHERE connection.guard_grace > 1 AND r.connection = plan_changes.connection.connection AND r.kind IN ('sync', 'apply')
            AND r.state = 'succeeded' AND r.is_full
        GROUP BY r.run, c.family
        -- Of a collection that is empty tonight too nothing else is known.
        HAVING bool_and(c.complete AND (c.rows > c.elsewhere OR coalesce(tonight.rows <= tonight.elsewhere, false)))
    )
    SELECT g.person_id, g.sourced_ids, g.category, p.status,
        CASE WHEN NOT p.managed OR p.role IN ('owner', 'manager', 'other') THEN 'protect' ELSE 'archive' END AS action
    FROM gone g
    JOIN category_rules c ON c.category = g.category AND c.rostered AND c.archive
    JOIN current_people p ON p.person_id = g.person_id AND NOT p.archived
    LEFT JOIN special_people x ON x.person_id = g.person_id
    WHERE g.links = coalesce(x.own_links, 1) AND x.first_elsewhere IS NULL
        AND g.person_id NOT IN (SELECT k.person_id FROM candidates k)
        -- Tonight's read counts with those before it.
        AND (connection.guard_grace = 1
            OR 1 + (SELECT count(*) FROM whole_reads w WHERE w.family = g.family AND w.run >= g.missed_run) >= connection.guard_grace);

    INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason,
        before, after, state, state_at, state_reason,
        state_cause, conflict, same_name)
    SELECT run.run, row_number() OVER (ORDER BY n.action, n.category, n.sourced_ids), run.site, n.category, n.person_id, n.sourced_ids,
        n.action, n.rule, n.reason, n.before, n.after,
        CASE WHEN n.held_reason IS NOT NULL THEN 'held' WHEN n.action IN ('conflict', 'reject', 'protect') THEN 'noted' ELSE 'planned' END,
        minga_roster_internal.clock(), n.held_reason, n.held_cause, n.conflict, n.same_name
    FROM (
        SELECT d.category, d.person_id, d.sourced_ids, coalesce(d.held_as, d.outcome) AS action, d.rule,
            CASE WHEN s.people IS NULL THEN d.reason
                ELSE 'Nobody of the site has the keys of this person, but somebody without an identifier and e-mail '
                    'address has the same name.' END AS reason,
            CASE d.outcome WHEN 'restore' THEN d.before || jsonb_build_object('archived_at', coalesce(to_jsonb(p.status), to_jsonb(p.archived_at))) ELSE d.before END AS before,
            CASE d.outcome WHEN 'restore' THEN d.after || jsonb_build_object('archived_at', f.status)
                ELSE d.after END AS after, d.held_reason, d.held_cause,
            d.conflict, s.people AS same_name
        FROM decisions d
        LEFT JOIN same_names s ON s.label = d.label
        LEFT JOIN candidate_people p ON p.person_id = d.person_id AND d.outcome = 'restore'
        LEFT JOIN former_statuses f ON f.person_id = d.person_id AND d.outcome = 'restore'
        WHERE d.told
        UNION ALL
        -- A first match is linked, although its update waits.
        SELECT d.category, d.person_id, d.sourced_ids, 'link', d.rule,
            CASE WHEN d.step = 'link' THEN 'A further row of the roster is this person.'
                ELSE format('A person of the site has the same %s.', d.step) END,
            '{}', '{}', NULL, NULL, NULL, NULL
        FROM decisions d
        WHERE d.held_as = 'update' AND d.links
        UNION ALL
        SELECT o.category, o.person_id, ARRAY[o.sourced_id::text], 'reject', 'unreadable',
            CASE WHEN o.damaged_field IS NOT NULL THEN
                    format('Its field "%s" has a type that OneRoster does not have for it, or is too long.',
                        o.damaged_field)
                WHEN o.standing = 'damaged' THEN 'The row holds characters that could not be read.'
                ELSE 'The row has a status that OneRoster does not have.' END, '{}', '{}', NULL, NULL, NULL, NULL
        FROM open_rows o
        LEFT JOIN decisions d ON d.label = o.label AND d.outcome = 'conflict'
        WHERE o.standing IN ('damaged', 'unknown') AND coalesce(o.rostered, true) AND o.family IS DISTINCT FROM 'contact' AND d.label IS NULL
        UNION ALL
        SELECT l.category, l.person_id, l.sourced_ids, l.action, CASE l.action WHEN 'archive' THEN 'absent' ELSE 'protected' END,
            CASE l.action WHEN 'archive' THEN 'The roster was read whole and does not list the person any more.'
                ELSE 'The roster does not list the person any more, but does not archive owners, managers and people who are not managed by a roster.' END,
            CASE l.action WHEN 'archive' THEN jsonb_build_object('archived_at', l.status) ELSE '{}' END,
            CASE WHEN l.action = 'archive' AND word IS NOT NULL THEN jsonb_build_object('archived_at', word)
                ELSE '{}' END, NULL, NULL, NULL, NULL
        FROM leavers l
    ) n;

    INSERT INTO minga_roster.conflict_candidates (run, change, person_id, found_by)
    SELECT DISTINCT c.run, c.change, k.person_id, k.step
    FROM minga_roster.changes c
    JOIN decisions d ON d.sourced_ids = c.sourced_ids AND d.outcome = 'conflict'
    JOIN candidates k ON k.label = d.label
    WHERE c.run = run.run AND c.action = 'conflict';

    -- What was not looked at closely is unchanged, as it was staged.
    CREATE TEMP TABLE outcomes ON COMMIT DROP AS
    SELECT o.place, o.category,
        CASE
            WHEN o.family = 'contact' THEN 'contact'
            WHEN o.standing = 'absent' THEN 'ignore'
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN NOT o.rostered THEN 'ignore'
            WHEN o.standing IN ('damaged', 'unknown') THEN 'reject'
            WHEN o.category IS NULL THEN 'ignore'
            WHEN o.sourced_id = d.main_row THEN d.outcome
            ELSE 'merged'
        END AS outcome,
        d.outcome = 'conflict' AND o.sourced_id <> d.main_row AS is_further
    FROM open_rows o LEFT JOIN decisions d ON d.label = o.label
    WHERE o.staged
    UNION ALL
    SELECT t.place, t.category, CASE WHEN t.main THEN 'unchanged' ELSE 'merged' END, false
    FROM settled_rows t LEFT JOIN open_rows p ON p.sourced_id = t.sourced_id
    WHERE p.sourced_id IS NULL
    UNION ALL
    SELECT k.place, k.category, 'skip', false FROM skipped_rows k;
    UPDATE minga_roster.staged_users s SET outcome = o.outcome
    FROM outcomes o
    WHERE s.connection = connection.connection AND s.ctid = ANY (ARRAY(SELECT place FROM outcomes)) AND s.ctid = o.place
        AND s.outcome IS DISTINCT FROM o.outcome;
    IF connection.parent_contact THEN
        UPDATE minga_roster.staged_users s SET outcome = 'contact'
        FROM roster_rules r
        WHERE s.connection = connection.connection AND r.roster_role = s.role AND r.category = 'contact' AND s.outcome IS DISTINCT FROM 'contact';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_changes(runs, connections) IS
'Writes the decisions, the unreadable rows and those who are gone as changes of the run, and the outcomes of the staged users where they are not unchanged.';

CREATE FUNCTION minga_roster_internal.count_outcomes(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off AS $$
DECLARE
    listed bigint;
    counted bigint;
    twice bigint;
BEGIN
    INSERT INTO minga_roster.run_counts (run, category, action, count)
    WITH seen AS MATERIALIZED (
        -- A conflict counts once, however many rows are in it.
        SELECT coalesce(o.category, 'none') AS category, w.outcome, count(*) AS rows
        FROM outcomes o CROSS JOIN LATERAL (SELECT CASE WHEN o.outcome = 'conflict' AND o.is_further THEN 'merged'
            ELSE o.outcome END) w (outcome)
        GROUP BY o.category, w.outcome
    ), plain AS MATERIALIZED (
        SELECT l.category, count(*) AS rows
        FROM minga_roster.links l
        WHERE l.connection = count_outcomes.run.connection
            AND (count_outcomes.run.is_full IS NOT FALSE
                OR l.sourced_id IN (SELECT u.sourced_id FROM minga_roster.staged_users u WHERE u.connection = count_outcomes.run.connection))
        GROUP BY l.category
    )
    SELECT run.run, n.category, n.outcome, sum(n.rows)
    FROM (
        SELECT s.category, s.outcome, s.rows FROM seen s
        UNION ALL
        SELECT p.category, 'unchanged', p.rows FROM plain p
        UNION ALL
        SELECT o.link_category, 'unchanged', -count(*) FROM open_rows o WHERE o.linked AND (o.staged OR run.is_full IS NOT FALSE) GROUP BY o.link_category
        UNION ALL
        SELECT t.category, 'unchanged', -count(*) FROM settled_rows t GROUP BY t.category
        UNION ALL
        SELECT 'contact', 'contact', l.contacts - (SELECT count(*) FROM outcomes o WHERE o.category = 'contact') FROM listed_users l
        WHERE connection.parent_contact
    ) n
    GROUP BY n.category, n.outcome
    HAVING sum(n.rows) <> 0;

    -- Nobody is dropped in silence: whoever the plan did not look at closely has one link.
    SELECT l.rows INTO listed FROM listed_users l;
    SELECT coalesce(sum(c.count), 0) INTO counted FROM minga_roster.run_counts c WHERE c.run = count_outcomes.run.run;
    SELECT count(*) - count(DISTINCT o.sourced_id) INTO twice FROM open_rows o;
    IF counted <> listed OR twice > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'internal_error',
            MESSAGE = 'the outcomes of the staged users do not add up',
            DETAIL = format('Users listed: %s; outcomes: %s; users listed twice: %s.', listed, counted, twice),
            HINT = 'No account was changed. Start the run again; if it stays so, the DBA should report it to the '
                'makers of minga_roster.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_outcomes(runs, connections) IS
'Counts the outcomes of the staged users into run_counts, those looked at closely one by one and the others, unchanged, by their links, and checks that the sum is the number of users staged; XX000 where it is not.';

CREATE FUNCTION minga_roster_internal.plan_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(plan_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.read_rules(connection, run);
    PERFORM minga_roster_internal.find_stored(connection);
    PERFORM minga_roster_internal.choose_parents(connection, run);
    PERFORM minga_roster_internal.find_open_rows(this, connection);
    PERFORM minga_roster_internal.set_aside_skipped(connection);
    PERFORM minga_roster_internal.group_rows(connection);
    PERFORM minga_roster_internal.match_groups(connection);
    PERFORM minga_roster_internal.decide_groups(connection);
    PERFORM minga_roster_internal.find_former_statuses(connection);
    PERFORM minga_roster_internal.find_collisions(connection);
    PERFORM minga_roster_internal.hold_moves(connection);
    PERFORM minga_roster_internal.withhold_identifiers();
    PERFORM minga_roster_internal.find_kept(this, connection);
    PERFORM minga_roster_internal.hold_updates(this, connection);
    PERFORM minga_roster_internal.hold_new_site(connection);
    PERFORM minga_roster_internal.find_same_names(connection);
    PERFORM minga_roster_internal.plan_changes(this, connection);
    PERFORM minga_roster_internal.name_collisions(run);
    PERFORM minga_roster_internal.keep_conflict_pairs(this);
    PERFORM minga_roster_internal.keep_held_links(this, connection);
    PERFORM minga_roster_internal.count_outcomes(this, connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_run(bigint) IS
'Plans the run from the stage of its connection: rows of changes, outcomes of the staged users and their counts. Touches nobody. guard_run and apply_run of the same transaction go on from its temp tables.';
