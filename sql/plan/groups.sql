-- Which rows are one person: rows of different staff roles that share a username or identifier, rows of one role with
-- one identifier and agreeing names, rows linked to one person. Must survive rows that contradict each other (they
-- become one conflict) and thousands of rows with one address or number: no step compares each with each.

CREATE FUNCTION minga_roster_internal.find_nodes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_decided_rows (sourced_id, person_id)
    SELECT d.sourced_id, d.person_id
    FROM minga_roster.match_decisions d JOIN plan_open_rows o ON o.sourced_id = d.sourced_id
    WHERE d.connection = find_nodes.connection.connection
        AND o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
        AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k);
    -- A row that was decided to be a new person is known, as a linked one is.
    INSERT INTO plan_nodes
    SELECT n.*, dense_rank() OVER (ORDER BY n.role, n.username, n.identifier, n.person IS NOT NULL,
        CASE WHEN n.decided THEN n.sourced_id END)
    FROM (
        SELECT o.sourced_id, o.person_id, o.roster_role AS role, o.family,
            (CASE WHEN o.person_id IS NOT NULL THEN 'P' || o.person_id
                WHEN d.is_new THEN 'R' || o.sourced_id END) COLLATE "C" AS person,
            d.sourced_id IS NOT NULL AND o.person_id IS NULL AND NOT d.is_new AS decided,
            o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family AS moved_family,
            lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier,
            lower(o.email COLLATE "C") AS email,
            minga_roster_internal.clean_name(o.given_name) AS given_name,
            minga_roster_internal.clean_name(o.family_name) AS family_name,
            minga_roster_internal.clean_name(o.preferred_name) AS preferred_name,
            h.sourced_id IS NOT NULL AS shares
        FROM plan_open_rows o
        LEFT JOIN plan_shared_rows h ON h.sourced_id = o.sourced_id
        LEFT JOIN plan_special_people x ON x.person_id = o.person_id
        LEFT JOIN (SELECT r.sourced_id, bool_or(r.person_id IS NULL) AS is_new FROM plan_decided_rows r
            GROUP BY r.sourced_id) d ON d.sourced_id = o.sourced_id
        WHERE o.standing <> 'absent' AND (h.sourced_id IS NOT NULL OR x.own_links > 1)
            AND o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
            AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k)
    ) n;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_nodes(connections) IS 'Fills plan_decided_rows and plan_nodes.';

CREATE FUNCTION minga_roster_internal.find_edges() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_known_rows (person, sourced_id)
    SELECT n.person, min(n.sourced_id) FROM plan_nodes n WHERE n.person IS NOT NULL GROUP BY n.person;
    INSERT INTO plan_edges (a, b)
    SELECT n.sourced_id, k.sourced_id FROM plan_nodes n JOIN plan_known_rows k ON k.person = n.person
    WHERE n.sourced_id <> k.sourced_id;
    IF NOT EXISTS (SELECT FROM plan_nodes n WHERE n.person IS NULL) THEN
        RETURN;
    END IF;

    -- Different roles of staff. Rows of a class, of one role with the same keys, have the same neighbors: one row of
    -- the class has them, and leads to the others.
    INSERT INTO plan_edges (a, b)
    WITH classes AS MATERIALIZED (
        SELECT n.class, n.role, n.username, n.identifier, bool_or(n.person IS NOT NULL) AS known,
            bool_or(n.decided) AS decided, min(n.sourced_id) AS sourced_id, min(n.person) AS first_person
        FROM plan_nodes n WHERE n.shares AND n.family = 'staff'
        GROUP BY n.class, n.role, n.username, n.identifier
    ), alike AS MATERIALIZED (
        SELECT a.class AS a, b.class AS b
        FROM classes a JOIN classes b ON b.username = a.username AND b.identifier = a.identifier
        WHERE a.role <> b.role AND NOT (a.known AND b.known)
        UNION
        SELECT a.class, b.class
        FROM classes a JOIN classes b ON b.username = a.username WHERE a.identifier IS NULL AND a.role <> b.role
            AND NOT (a.known AND b.known)
        UNION
        SELECT a.class, b.class
        FROM classes a JOIN classes b ON b.identifier = a.identifier WHERE a.username IS NULL AND a.role <> b.role
            AND NOT (a.known AND b.known)
    ), pairs AS MATERIALIZED (
        SELECT n.class AS new_class, n.sourced_id, n.decided, o.class AS other_class, o.known,
            o.sourced_id AS other_id, o.first_person
        FROM (SELECT a, b FROM alike UNION SELECT b, a FROM alike) p
        JOIN classes n ON n.class = p.a AND NOT n.known
        JOIN classes o ON o.class = p.b
    )
    SELECT p.sourced_id, p.other_id FROM pairs p WHERE NOT p.known
    UNION
    SELECT p.sourced_id, k.sourced_id FROM pairs p JOIN plan_known_rows k ON k.person = p.first_person
    WHERE p.known AND NOT p.decided
    UNION
    SELECT f.sourced_id, k.sourced_id
    FROM (SELECT DISTINCT other_class, first_person FROM pairs WHERE known AND NOT decided) p
    JOIN plan_nodes n ON n.class = p.other_class AND n.person <> p.first_person
    JOIN plan_known_rows f ON f.person = p.first_person
    JOIN plan_known_rows k ON k.person = n.person
    UNION
    SELECT p.sourced_id, k.sourced_id
    FROM pairs p
    JOIN plan_nodes n ON n.class = p.other_class
    JOIN plan_known_rows k ON k.person = n.person
    LEFT JOIN plan_decided_rows d ON d.sourced_id = p.sourced_id AND d.person_id = n.person_id
    WHERE p.known AND p.decided AND d.sourced_id IS NULL
    UNION
    SELECT n.sourced_id, p.sourced_id
    FROM (SELECT DISTINCT new_class, sourced_id FROM pairs) p JOIN plan_nodes n ON n.class = p.new_class
    WHERE n.sourced_id <> p.sourced_id;

    -- One role. Rows that all were decided not to be a person are not judged beside the rows of that person.
    INSERT INTO plan_members
    WITH member AS MATERIALIZED (
        SELECT 'identifier' AS kind, n.identifier AS key, n.* FROM plan_nodes n
        WHERE n.shares AND n.identifier IS NOT NULL
        UNION ALL
        SELECT 'username', n.username, n.* FROM plan_nodes n WHERE n.shares AND n.username IS NOT NULL
    ), unlinked AS (
        SELECT n.role, n.kind, n.key, count(*) AS rows FROM member n WHERE n.person IS NULL
        GROUP BY n.role, n.kind, n.key
    ), parted AS (
        SELECT n.role, n.kind, n.key, d.person_id
        FROM member n
        JOIN plan_decided_rows d ON d.sourced_id = n.sourced_id
        JOIN unlinked u ON u.role = n.role AND u.kind = n.kind AND u.key = n.key
        WHERE n.person IS NULL
        GROUP BY n.role, n.kind, n.key, d.person_id
        HAVING count(*) = min(u.rows)
    )
    SELECT m.kind, m.key, m.sourced_id, m.role, m.person, m.username, m.identifier, m.email, m.given_name,
        m.family_name, m.preferred_name
    FROM member m
    LEFT JOIN parted x ON x.role = m.role AND x.kind = m.kind AND x.key = m.key AND x.person_id = m.person_id
    WHERE x.person_id IS NULL;

    INSERT INTO plan_equals (kind, role, key, sourced_id, agree)
    WITH shared AS MATERIALIZED (
        SELECT m.kind, m.role, m.key, min(m.sourced_id) FILTER (WHERE m.person IS NULL) AS sourced_id,
            CASE m.kind
                -- All of them share the identifier too, which tells whether they are one.
                WHEN 'username' THEN CASE WHEN count(m.identifier) < count(*)
                    OR count(DISTINCT m.identifier) > 1 THEN false END
                ELSE count(DISTINCT m.person) <= 1 AND count(m.given_name) = count(*)
                    AND count(m.family_name) = count(*) AND count(DISTINCT m.family_name) = 1
                    AND (count(m.username) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.username) = 1)
                    AND (count(m.email) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.email) = 1)
            END AS agree,
            count(DISTINCT m.given_name) > 1 AS given_names_vary
        FROM plan_members m
        GROUP BY m.kind, m.role, m.key
        HAVING count(*) > 1 AND count(*) FILTER (WHERE m.person IS NULL) > 0
    ), names AS MATERIALIZED (
        SELECT DISTINCT m.role, m.key, m.given_name, m.preferred_name, m.person IS NOT NULL AS known
        FROM plan_members m JOIN shared e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
        WHERE e.kind = 'identifier' AND e.agree AND e.given_names_vary
    ), many AS MATERIALIZED (
        -- Of more than 50 names two are different.
        SELECT n.role, n.key FROM names n GROUP BY n.role, n.key HAVING count(*) > 50
    ), few AS MATERIALIZED (
        SELECT n.* FROM names n WHERE (n.role, n.key) NOT IN (SELECT m.role, m.key FROM many m)
    ), differing AS (
        SELECT m.role, m.key FROM many m
        UNION
        SELECT a.role, a.key
        FROM few a JOIN few b ON b.role = a.role AND b.key = a.key
        WHERE NOT (a.known AND b.known)
            AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name,
                b.preferred_name)
    )
    SELECT e.kind, e.role, e.key, e.sourced_id, e.agree AND d.key IS NULL
    FROM shared e LEFT JOIN differing d ON e.kind = 'identifier' AND d.role = e.role AND d.key = e.key;
    INSERT INTO plan_edges (a, b)
    SELECT m.sourced_id, e.sourced_id
    FROM plan_members m JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    WHERE m.person IS NULL AND m.sourced_id <> e.sourced_id AND e.agree IS NOT NULL
    UNION
    SELECT e.sourced_id, k.sourced_id
    FROM plan_members m
    JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    JOIN plan_known_rows k ON k.person = m.person
    WHERE e.agree IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_edges() IS
'Fills plan_known_rows, plan_members, plan_equals and plan_edges: rows that are one person, or share a key in one '
    'role, are connected, directly or by way of others.';

CREATE FUNCTION minga_roster_internal.find_components() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this integer := 0;
BEGIN
    -- In each round each row takes the least label of itself and its neighbors, then the label of the row that the
    -- label names, until a round changes nothing.
    INSERT INTO plan_label_rounds (round, sourced_id, label)
    SELECT 0, n.sourced_id, n.sourced_id FROM plan_nodes n;
    LOOP
        INSERT INTO plan_label_rounds (round, sourced_id, label)
        WITH nearest AS MATERIALIZED (
            SELECT n.sourced_id, least(n.label, e.label) AS label
            FROM plan_label_rounds n
            LEFT JOIN (
                SELECT e.a, min(m.label) AS label
                FROM (SELECT a, b FROM plan_edges UNION ALL SELECT b, a FROM plan_edges) e
                JOIN plan_label_rounds m ON m.round = this AND m.sourced_id = e.b
                GROUP BY e.a
            ) e ON e.a = n.sourced_id
            WHERE n.round = this
        )
        SELECT this + 1, n.sourced_id, m.label FROM nearest n JOIN nearest m ON m.sourced_id = n.label;
        this := this + 1;
        EXIT WHEN NOT EXISTS (
            SELECT FROM plan_label_rounds n
            JOIN plan_label_rounds f ON f.round = this - 1 AND f.sourced_id = n.sourced_id
            WHERE n.round = this AND n.label <> f.label);
    END LOOP;
    INSERT INTO plan_components (sourced_id, component)
    SELECT n.sourced_id, n.label FROM plan_label_rounds n WHERE n.round = this;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_components() IS
'Fills plan_components: connected rows get one label, the least sourcedId.';

CREATE FUNCTION minga_roster_internal.find_contradictions() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- Rows that are linked contradict no one: a link is identity.
    INSERT INTO plan_contradictions (component, label, conflict)
    WITH node AS MATERIALIZED (
        SELECT c.component, n.* FROM plan_nodes n JOIN plan_components c ON c.sourced_id = n.sourced_id
    ), member AS MATERIALIZED (
        SELECT n.* FROM node n WHERE n.component IN (SELECT o.component FROM node o WHERE o.person IS NULL)
    ), excluded AS MATERIALIZED (
        SELECT DISTINCT x.sourced_id
        FROM member m
        JOIN plan_decided_rows x ON x.sourced_id = m.sourced_id
        JOIN member p ON p.component = m.component AND p.person_id = x.person_id
    ), mismatched AS MATERIALIZED (
        -- Rows that share a key with one of their own role without being the same person for certain.
        SELECT DISTINCT m.sourced_id
        FROM plan_members m JOIN plan_equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
        WHERE NOT e.agree AND m.person IS NULL
    ), of_role AS MATERIALIZED (
        SELECT m.component, m.role
        FROM member m
        GROUP BY m.component, m.role
        HAVING count(*) > 1 AND bool_or(m.person IS NULL)
            AND (count(m.identifier) < count(*) OR count(DISTINCT m.identifier) > 1)
    ), named AS MATERIALIZED (
        SELECT DISTINCT m.component, m.given_name, m.family_name, m.preferred_name, m.person IS NOT NULL AS known
        FROM member m
        WHERE m.component IN (SELECT v.component FROM member v GROUP BY v.component
            HAVING count(DISTINCT v.given_name) > 1 AND count(DISTINCT v.family_name) > 1)
    ), many AS MATERIALIZED (
        SELECT n.component FROM named n GROUP BY n.component HAVING count(*) > 50
    ), few AS MATERIALIZED (
        SELECT n.* FROM named n WHERE n.component NOT IN (SELECT m.component FROM many m)
    ), differing AS MATERIALIZED (
        SELECT m.component FROM many m
        UNION
        SELECT a.component
        FROM few a JOIN few b ON b.component = a.component AND b.family_name <> a.family_name
        WHERE NOT (a.known AND b.known)
            AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name,
                b.preferred_name)
    ), verdicts AS (
        SELECT m.component, min(m.sourced_id) FILTER (WHERE m.person IS NULL) AS label,
            CASE
                WHEN bool_or(m.moved_family) OR count(DISTINCT m.family) > 1 THEN 'other_family'
                WHEN count(DISTINCT m.person) > 1 THEN 'row_joins_two'
                WHEN bool_or(w.sourced_id IS NOT NULL) OR bool_or(r.component IS NOT NULL) THEN 'same_role_twice'
                WHEN (count(DISTINCT m.username) > 1 AND count(m.username) FILTER (WHERE m.person IS NULL) > 0)
                    OR (count(DISTINCT m.identifier) > 1 AND count(m.identifier) FILTER (WHERE m.person IS NULL) > 0)
                    OR bool_or(d.sourced_id IS NOT NULL) THEN 'keys_contradict'
                WHEN bool_or(f.component IS NOT NULL) THEN 'rows_differ'
            END AS conflict
        FROM member m
        LEFT JOIN mismatched w ON w.sourced_id = m.sourced_id
        LEFT JOIN of_role r ON r.component = m.component AND r.role = m.role
        LEFT JOIN differing f ON f.component = m.component
        LEFT JOIN excluded d ON d.sourced_id = m.sourced_id
        GROUP BY m.component
    )
    SELECT v.component, v.label, v.conflict FROM verdicts v WHERE v.conflict IS NOT NULL;

    -- The people with whom such rows would have been joined are named; their linked rows are a group of their own.
    INSERT INTO plan_named_people (label, person_id)
    SELECT DISTINCT x.label, n.person_id
    FROM plan_contradictions x
    JOIN plan_components c ON c.component = x.component
    JOIN plan_nodes n ON n.sourced_id = c.sourced_id AND n.person_id IS NOT NULL;
    INSERT INTO plan_labels (sourced_id, label)
    SELECT c.sourced_id, CASE WHEN x.component IS NULL THEN c.component
        ELSE min(c.sourced_id) OVER (PARTITION BY c.component, n.person) END
    FROM plan_components c
    JOIN plan_nodes n ON n.sourced_id = c.sourced_id
    LEFT JOIN plan_contradictions x ON x.component = c.component;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_contradictions() IS
'Fills plan_contradictions, the components of which a row without a link contradicts another row, and why; '
    'plan_named_people; and plan_labels, in which the linked rows of such a component have labels of their own.';

CREATE FUNCTION minga_roster_internal.group_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.find_nodes(connection);
    IF EXISTS (SELECT FROM plan_nodes) THEN
        PERFORM minga_roster_internal.make_plan_tables('group');
        PERFORM minga_roster_internal.find_edges();
        PERFORM minga_roster_internal.find_components();
        PERFORM minga_roster_internal.find_contradictions();
    END IF;
    INSERT INTO plan_rows
    SELECT coalesce(n.label, o.sourced_id), o.*
    FROM plan_open_rows o LEFT JOIN plan_labels n ON n.sourced_id = o.sourced_id
    WHERE o.sourced_id NOT IN (SELECT t.sourced_id FROM plan_settled_rows t)
        AND o.sourced_id NOT IN (SELECT k.sourced_id FROM plan_skipped_rows k);
    PERFORM minga_roster_internal.analyze_if_large('plan_rows', 'sourced_id, label, person_id, standing, usable');
    -- A group has in each column the value of its first row that has one.
    INSERT INTO plan_groups
    WITH several AS MATERIALIZED (
        SELECT n.label FROM plan_labels n GROUP BY n.label HAVING count(*) > 1
    ), member AS MATERIALIZED (
        SELECT o.*, row_number() OVER (PARTITION BY o.label
            ORDER BY NOT o.usable, o.standing <> 'active', o.rank, o.sourced_id) AS nth
        FROM plan_rows o WHERE o.standing <> 'absent' AND o.label IN (SELECT s.label FROM several s)
    ), grouped AS (
        SELECT o.label, o.sourced_id AS main_row,
            CASE WHEN o.usable THEN ARRAY[o.sourced_id] ELSE '{}' END::text[] AS sourced_ids,
            o.usable, o.usable AND o.standing = 'active' AS active, o.family, o.category, o.rank, o.role,
            o.person_id AS linked_person, CASE WHEN o.person_id IS NOT NULL THEN o.role_written END AS role_written,
            o.usable AND o.person_id IS NULL AS joins,
            CASE WHEN o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family
                THEN 'other_family' END AS contradiction,
            o.given_name AS match_given_name, o.family_name AS match_family_name,
            o.preferred_name AS match_preferred_name, o.identifier AS match_identifier, o.email AS match_email,
            o.given_name, o.family_name, o.middle_name, o.preferred_name, o.email, o.username, o.identifier, o.grade,
            o.phone, o.parent_name, o.parent_email, o.parent_phone, o.parent_rule, o.birth_date
        FROM plan_rows o
        WHERE o.standing <> 'absent'
            AND (o.family IN ('student', 'staff') OR o.person_id IS NOT NULL OR o.standing = 'damaged')
            AND o.label NOT IN (SELECT s.label FROM several s)
        UNION ALL
        SELECT m.label, min(m.sourced_id) FILTER (WHERE m.nth = 1),
            coalesce(array_agg(m.sourced_id ORDER BY m.sourced_id) FILTER (WHERE m.usable), '{}')::text[],
            bool_or(m.usable), bool_or(m.usable AND m.standing = 'active'), min(m.family) FILTER (WHERE m.nth = 1),
            min(m.category) FILTER (WHERE m.nth = 1), min(m.rank) FILTER (WHERE m.nth = 1),
            min(m.role) FILTER (WHERE m.nth = 1), min(m.person_id),
            min(m.role_written) FILTER (WHERE m.person_id IS NOT NULL), bool_or(m.usable AND m.person_id IS NULL),
            CASE WHEN count(DISTINCT m.family) > 1 OR bool_or(m.person_id IS NOT NULL
                AND minga_roster_internal.family_of(m.link_category) <> m.family) THEN 'other_family' END,
            (array_agg(m.given_name ORDER BY m.nth) FILTER (WHERE m.given_name IS NOT NULL))[1],
            (array_agg(m.family_name ORDER BY m.nth) FILTER (WHERE m.family_name IS NOT NULL))[1],
            (array_agg(m.preferred_name ORDER BY m.nth) FILTER (WHERE m.preferred_name IS NOT NULL))[1],
            (array_agg(m.identifier ORDER BY m.nth) FILTER (WHERE m.identifier IS NOT NULL))[1],
            (array_agg(m.email ORDER BY m.nth) FILTER (WHERE m.email IS NOT NULL))[1],
            (array_agg(m.given_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.given_name IS NOT NULL))[1],
            (array_agg(m.family_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.family_name IS NOT NULL))[1],
            (array_agg(m.middle_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.middle_name IS NOT NULL))[1],
            (array_agg(m.preferred_name ORDER BY m.nth) FILTER (WHERE m.usable AND m.preferred_name IS NOT NULL))[1],
            (array_agg(m.email ORDER BY m.nth) FILTER (WHERE m.usable AND m.email IS NOT NULL))[1],
            (array_agg(m.username ORDER BY m.nth) FILTER (WHERE m.usable AND m.username IS NOT NULL))[1],
            (array_agg(m.identifier ORDER BY m.nth) FILTER (WHERE m.usable AND m.identifier IS NOT NULL))[1],
            (array_agg(m.grade ORDER BY m.nth) FILTER (WHERE m.usable AND m.grade IS NOT NULL))[1],
            (array_agg(m.phone ORDER BY m.nth) FILTER (WHERE m.usable AND m.phone IS NOT NULL))[1],
            min(m.parent_name) FILTER (WHERE m.nth = 1), min(m.parent_email) FILTER (WHERE m.nth = 1),
            min(m.parent_phone) FILTER (WHERE m.nth = 1), min(m.parent_rule) FILTER (WHERE m.nth = 1),
            (array_agg(m.birth_date ORDER BY m.nth) FILTER (WHERE m.usable AND m.birth_date IS NOT NULL))[1]
        FROM member m
        GROUP BY m.label
    )
    SELECT g.label, g.main_row, g.sourced_ids, g.usable, g.active, g.family, g.category, g.rank, g.role,
        g.linked_person, g.role_written, g.joins, coalesce(x.conflict, g.contradiction),
        g.match_given_name, g.match_family_name, g.match_preferred_name, g.match_identifier, g.match_email,
        g.given_name, g.family_name, g.middle_name, g.preferred_name, g.email, g.username, g.identifier, g.grade,
        g.phone, g.parent_name, g.parent_email, g.parent_phone, g.parent_rule, g.birth_date
    FROM grouped g LEFT JOIN plan_contradictions x ON x.label = g.label;
    PERFORM minga_roster_internal.analyze_if_large('plan_groups', 'label, linked_person, usable');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.group_rows(connections) IS
'Fills plan_rows and plan_groups: rows of different staff roles that share a username or identifier without a '
    'contradiction in the other are one person, and so are rows of one role with one identifier that agree in names, '
    'username and email, and rows linked to one person, transitively. A group takes its values from its active rows, '
    'the highest rank first.';
