-- Who is who: which rows of the roster are one person, and whom of the site that person could be. Works on the temp tables that
-- plan.sql made before. Must survive rows and people that contradict each other: they become conflicts, and nobody in
-- one is changed; and thousands of them with one address or one number: no step compares each with each.

CREATE FUNCTION minga_roster_internal.names_suffice(archived boolean, known boolean, given_agrees boolean, family_agrees boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN archived THEN coalesce(given_agrees AND family_agrees, false)
    WHEN NOT known THEN coalesce(given_agrees, false)
    ELSE coalesce(given_agrees OR family_agrees, given_agrees IS NULL AND family_agrees IS NULL)
END;
COMMENT ON FUNCTION minga_roster_internal.names_suffice(boolean, boolean, boolean, boolean) IS
'Whether names let a person be whom an identifier tells. Of active people one of them agrees, unless there is none to '
    'compare; of those whose family is not known, the given name (a parent may have the number of a child); of '
    'archived ones both.';

CREATE FUNCTION minga_roster_internal.find_edges() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE edges (a text COLLATE "C", b text COLLATE "C") ON COMMIT DROP;
    CREATE TEMP TABLE mismatches (sourced_id text COLLATE "C") ON COMMIT DROP;
    CREATE TEMP TABLE known_rows ON COMMIT DROP AS
    SELECT n.person, min(n.sourced_id) AS sourced_id FROM nodes n WHERE n.person IS NOT NULL GROUP BY n.person;
    INSERT INTO edges SELECT n.sourced_id, k.sourced_id FROM nodes n JOIN known_rows k ON k.person = n.person
    WHERE n.sourced_id <> k.sourced_id;
    IF NOT EXISTS (SELECT FROM nodes n WHERE n.person IS NULL) THEN
        RETURN;
    END IF;

    -- Different roles of staff. Rows of a class, of one role with the same keys, have the same neighbours, of which two
    -- people are enough.
    INSERT INTO edges
    WITH classes AS MATERIALIZED (
        SELECT n.class, n.role, n.username, n.identifier, bool_or(n.person IS NOT NULL) AS known,
            bool_or(n.decided) AS decided, min(n.sourced_id) AS sourced_id,
            min(n.person) AS first_person, max(n.person) AS last_person
        FROM nodes n WHERE n.shares AND n.family = 'staff'
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
            o.sourced_id AS other_id, o.first_person, o.last_person
        FROM (SELECT a, b FROM alike UNION SELECT b, a FROM alike) p
        JOIN classes n ON n.class = p.a AND NOT n.known
        JOIN classes o ON o.class = p.b
    )
    SELECT p.sourced_id, p.other_id FROM pairs p WHERE NOT p.known
    UNION
    SELECT p.sourced_id, k.sourced_id FROM pairs p JOIN known_rows k ON k.person = p.first_person WHERE p.known
        AND NOT p.decided
    UNION
    SELECT p.sourced_id, k.sourced_id FROM pairs p JOIN known_rows k ON k.person = p.last_person WHERE p.known
        AND NOT p.decided
    UNION
    SELECT p.sourced_id, k.sourced_id
    FROM pairs p
    JOIN nodes n ON n.class = p.other_class
    JOIN known_rows k ON k.person = n.person
    LEFT JOIN decided_rows d ON d.sourced_id = p.sourced_id AND d.person_id = n.person_id
    WHERE p.known AND p.decided AND d.sourced_id IS NULL
    UNION
    SELECT n.sourced_id, p.sourced_id
    FROM (SELECT DISTINCT new_class, sourced_id FROM pairs) p JOIN nodes n ON n.class = p.new_class
    WHERE n.sourced_id <> p.sourced_id;

    -- One role. A row that was decided not to be a person is not judged beside the rows of that person.
    CREATE TEMP TABLE members ON COMMIT DROP AS
    SELECT 'identifier' AS kind, n.identifier AS key, n.* FROM nodes n WHERE n.shares AND n.identifier IS NOT NULL
    UNION ALL
    SELECT 'username', n.username, n.* FROM nodes n WHERE n.shares AND n.username IS NOT NULL;
    DELETE FROM members m
    USING (
        SELECT n.role, n.kind, n.key, min(n.sourced_id) AS sourced_id FROM members n WHERE n.person IS NULL
        GROUP BY n.role, n.kind, n.key HAVING count(*) = 1 AND bool_or(n.decided)
    ) alone JOIN decided_rows d ON d.sourced_id = alone.sourced_id
    WHERE m.role = alone.role AND m.kind = alone.kind AND m.key = alone.key AND m.person_id = d.person_id;
    CREATE TEMP TABLE equals ON COMMIT DROP AS
    SELECT m.kind, m.role, m.key, min(m.sourced_id) FILTER (WHERE m.person IS NULL) AS sourced_id,
        min(m.person) AS first_person, max(m.person) AS last_person,
        CASE m.kind
            -- All of them share the identifier too, which tells whether they are one.
            WHEN 'username' THEN CASE WHEN count(m.identifier) < count(*)
                OR count(DISTINCT m.identifier) > 1 THEN false END
            ELSE count(DISTINCT m.person) <= 1 AND count(m.given_name) = count(*) AND count(m.family_name) = count(*)
                AND count(DISTINCT m.family_name) = 1
                AND (count(m.username) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.username) = 1)
                AND (count(m.email) FILTER (WHERE m.person IS NULL) = 0 OR count(DISTINCT m.email) = 1)
        END AS agree,
        count(DISTINCT m.given_name) > 1 AS given_names_vary
    FROM members m
    GROUP BY m.kind, m.role, m.key
    HAVING count(*) > 1 AND count(*) FILTER (WHERE m.person IS NULL) > 0;
    IF EXISTS (SELECT FROM equals e WHERE e.agree AND e.given_names_vary) THEN
        WITH names AS MATERIALIZED (
            SELECT DISTINCT m.role, m.key, m.given_name, m.preferred_name, m.person IS NOT NULL AS known
            FROM members m JOIN equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
            WHERE e.kind = 'identifier' AND e.agree AND e.given_names_vary
        ), many AS MATERIALIZED (
            -- Of so many names two are different.
            SELECT n.role, n.key FROM names n GROUP BY n.role, n.key HAVING count(*) > 50
        ), few AS MATERIALIZED (
            SELECT n.* FROM names n WHERE (n.role, n.key) NOT IN (SELECT m.role, m.key FROM many m)
        )
        UPDATE equals e SET agree = false
        FROM (
            SELECT m.role, m.key FROM many m
            UNION
            SELECT a.role, a.key
            FROM few a JOIN few b ON b.role = a.role AND b.key = a.key
            WHERE NOT (a.known AND b.known)
                AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name, b.preferred_name)
        ) w
        WHERE e.kind = 'identifier' AND e.role = w.role AND e.key = w.key;
    END IF;
    INSERT INTO mismatches
    SELECT m.sourced_id
    FROM members m JOIN equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    WHERE NOT e.agree AND m.person IS NULL;
    INSERT INTO edges
    SELECT m.sourced_id, e.sourced_id
    FROM members m JOIN equals e ON e.kind = m.kind AND e.role = m.role AND e.key = m.key
    WHERE m.person IS NULL AND m.sourced_id <> e.sourced_id AND e.agree IS NOT NULL
    UNION
    SELECT e.sourced_id, k.sourced_id FROM equals e JOIN known_rows k ON k.person = e.first_person
    WHERE e.agree IS NOT NULL
    UNION
    SELECT e.sourced_id, k.sourced_id FROM equals e JOIN known_rows k ON k.person = e.last_person
    WHERE e.agree IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_edges() IS
'Makes of the temp table nodes the temp tables edges, rows that are one person or share a key in one role, each by '
    'way of others at the least, and mismatches: rows linked to nobody that share an identifier or a user name with '
    'one of their own role without being the same person for certain.';

CREATE FUNCTION minga_roster_internal.find_contradictions() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    -- Rows that are linked contradict nobody: a link is identity.
    INSERT INTO contradictions
    WITH odd AS MATERIALIZED (
        SELECT n.label FROM nodes n WHERE n.person IS NULL GROUP BY n.label
    ), member AS MATERIALIZED (
        SELECT n.* FROM nodes n JOIN odd USING (label)
    ), excluding AS MATERIALIZED (
        SELECT m.sourced_id, m.label, x.person_id FROM member m JOIN decided_rows x ON x.sourced_id = m.sourced_id
    ), of_role AS MATERIALIZED (
        SELECT m.label, m.role
        FROM member m
        GROUP BY m.label, m.role
        HAVING count(*) > 1 AND bool_or(m.person IS NULL)
            AND (count(m.identifier) < count(*) OR count(DISTINCT m.identifier) > 1)
    ), named AS MATERIALIZED (
        SELECT DISTINCT m.label, m.given_name, m.family_name, m.preferred_name, m.person IS NOT NULL AS known
        FROM member m
        WHERE m.label IN (SELECT v.label FROM member v GROUP BY v.label HAVING count(DISTINCT v.given_name) > 1
            AND count(DISTINCT v.family_name) > 1)
    ), many AS MATERIALIZED (
        SELECT n.label FROM named n GROUP BY n.label HAVING count(*) > 50
    ), few AS MATERIALIZED (
        SELECT n.* FROM named n WHERE n.label NOT IN (SELECT m.label FROM many m)
    ), differing AS MATERIALIZED (
        SELECT m.label FROM many m
        UNION
        SELECT a.label
        FROM few a JOIN few b ON b.label = a.label AND b.family_name <> a.family_name
        WHERE NOT (a.known AND b.known)
            AND NOT minga_roster_internal.given_names_agree(a.given_name, a.preferred_name, b.given_name, b.preferred_name)
    )
    SELECT m.label,
        CASE
            WHEN bool_or(m.moved_family) OR count(DISTINCT m.family) > 1 THEN 'other_family'
            WHEN count(DISTINCT m.person) > 1 THEN 'row_joins_two'
            WHEN bool_or(w.sourced_id IS NOT NULL) OR bool_or(r.label IS NOT NULL) THEN 'same_role_twice'
            WHEN (count(DISTINCT m.username) > 1 AND count(m.username) FILTER (WHERE m.person IS NULL) > 0)
                OR (count(DISTINCT m.identifier) > 1 AND count(m.identifier) FILTER (WHERE m.person IS NULL) > 0)
                OR bool_or(d.sourced_id IS NOT NULL) THEN 'keys_contradict'
            WHEN bool_or(f.label IS NOT NULL) THEN 'rows_differ'
        END AS conflict
    FROM member m
    LEFT JOIN (SELECT DISTINCT x.sourced_id FROM mismatches x) w ON w.sourced_id = m.sourced_id
    LEFT JOIN of_role r ON r.label = m.label AND r.role = m.role
    LEFT JOIN differing f ON f.label = m.label
    LEFT JOIN (SELECT DISTINCT e.sourced_id FROM excluding e
        JOIN member p ON p.label = e.label AND p.person_id = e.person_id) d ON d.sourced_id = m.sourced_id
    GROUP BY m.label;
    DELETE FROM contradictions c WHERE c.conflict IS NULL;

    -- Whom such rows would have joined is named, and goes on by the linked rows alone.
    INSERT INTO named_people
    SELECT DISTINCT n.label, n.person_id FROM nodes n JOIN contradictions c ON c.label = n.label
    WHERE n.person_id IS NOT NULL;
    UPDATE nodes n SET label = s.new_label
    FROM (
        SELECT m.sourced_id, min(m.sourced_id) OVER (PARTITION BY m.label, m.person) AS new_label, m.label, m.person
        FROM nodes m JOIN contradictions c ON c.label = m.label
    ) s
    WHERE n.sourced_id = s.sourced_id AND s.new_label <> s.label;
    UPDATE contradictions c SET label = s.new_label
    FROM (SELECT m.first_label, min(m.label) AS new_label FROM nodes m WHERE m.person IS NULL GROUP BY m.first_label) s
    WHERE s.first_label = c.label AND s.new_label <> c.label;
    UPDATE named_people p SET label = s.new_label
    FROM (SELECT m.first_label, min(m.label) AS new_label FROM nodes m WHERE m.person IS NULL GROUP BY m.first_label) s
    WHERE s.first_label = p.label AND s.new_label <> p.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_contradictions() IS
'Fills the temp tables contradictions, labels of rows linked to nobody that contradict each other or those whom they '
    'would join, and why, and named_people: whom they would join. Gives the linked rows among them labels of their '
    'own.';

CREATE FUNCTION minga_roster_internal.label_nodes() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    moved bigint;
BEGIN
    PERFORM minga_roster_internal.find_edges();
    -- Each row takes the least label of its neighbours, then the label of its label, until nothing moves.
    CREATE TEMP TABLE neighbours ON COMMIT DROP AS
    SELECT e.a, e.b FROM edges e UNION SELECT e.b, e.a FROM edges e;
    LOOP
        UPDATE nodes n SET label = least.label
        FROM (SELECT e.a, min(m.label) AS label FROM neighbours e JOIN nodes m ON m.sourced_id = e.b GROUP BY e.a) least
        WHERE least.a = n.sourced_id AND least.label < n.label;
        GET DIAGNOSTICS moved = ROW_COUNT;
        EXIT WHEN moved = 0;
        UPDATE nodes n SET label = m.label FROM nodes m WHERE m.sourced_id = n.label AND m.label < n.label;
    END LOOP;
    UPDATE nodes n SET first_label = n.label;
    PERFORM minga_roster_internal.find_contradictions();
    UPDATE open_rows o SET label = n.label FROM nodes n WHERE n.sourced_id = o.sourced_id AND n.label <> o.label;
    UPDATE decided_rows d SET label = n.label FROM nodes n WHERE n.sourced_id = d.sourced_id AND n.label <> d.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.label_nodes() IS
'Gives the rows of the temp table nodes that are one person one label, in open_rows and decided_rows too, and fills '
    'the temp tables contradictions and named_people.';

CREATE FUNCTION minga_roster_internal.group_rows(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE decided_rows ON COMMIT DROP AS
    SELECT d.sourced_id, d.person_id, o.label
    FROM minga_roster.match_decisions d JOIN open_rows o ON o.sourced_id = d.sourced_id
    WHERE d.connection = group_rows.connection.connection;
    -- A row that was decided to be somebody new is known, as a linked one is.
    CREATE TEMP TABLE nodes ON COMMIT DROP AS
    SELECT n.*, dense_rank() OVER (ORDER BY n.role, n.username, n.identifier, n.person IS NOT NULL, CASE
        WHEN n.decided THEN n.sourced_id END) AS class,
        NULL::text COLLATE "C" AS first_label
    FROM (
        SELECT o.sourced_id, o.label, o.person_id, o.roster_role AS role, o.family,
            (CASE WHEN o.person_id IS NOT NULL THEN 'P' || o.person_id
                WHEN d.is_new THEN 'R' || o.sourced_id END) COLLATE "C" AS person,
            d.sourced_id IS NOT NULL AND o.person_id IS NULL AND NOT d.is_new AS decided,
            o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family AS moved_family,
            lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier,
            lower(o.email COLLATE "C") AS email,
            minga_roster_internal.clean_name(o.given_name) AS given_name, minga_roster_internal.clean_name(o.family_name) AS family_name,
            minga_roster_internal.clean_name(o.preferred_name) AS preferred_name, h.sourced_id IS NOT NULL AS shares
        FROM open_rows o
        LEFT JOIN shared_rows h ON h.sourced_id = o.sourced_id
        LEFT JOIN special_people x ON x.person_id = o.person_id
        LEFT JOIN (SELECT r.sourced_id, bool_or(r.person_id IS NULL) AS is_new FROM decided_rows r
            GROUP BY r.sourced_id) d ON d.sourced_id = o.sourced_id
        WHERE o.standing <> 'absent' AND (h.sourced_id IS NOT NULL OR x.own_links > 1)
    ) n;
    CREATE TEMP TABLE contradictions (label text COLLATE "C", conflict text) ON COMMIT DROP;
    CREATE TEMP TABLE named_people (label text COLLATE "C", person_id text) ON COMMIT DROP;
    IF EXISTS (SELECT FROM nodes) THEN
        PERFORM minga_roster_internal.label_nodes();
    END IF;

    -- A column of a group is that of its first row that has one.
    CREATE TEMP TABLE groups ON COMMIT DROP AS
    WITH several AS MATERIALIZED (
        SELECT n.label FROM nodes n GROUP BY n.label HAVING count(*) > 1
    ), member AS MATERIALIZED (
        SELECT o.*, row_number() OVER (PARTITION BY o.label ORDER BY NOT o.usable, o.standing <> 'active', o.rank, o.sourced_id) AS nth
        FROM open_rows o WHERE o.standing <> 'absent' AND o.label IN (SELECT s.label FROM several s)
    )
    SELECT o.label, o.sourced_id AS main_row, CASE WHEN o.usable THEN ARRAY[o.sourced_id] ELSE '{}' END::text[] AS sourced_ids,
        o.usable, o.usable AND o.standing = 'active' AS active, o.family, o.category, o.rank, o.role,
        o.person_id AS linked_person, CASE WHEN o.person_id IS NOT NULL THEN o.role_written END AS role_written,
        o.usable AND o.person_id IS NULL AS joins,
        CASE WHEN o.person_id IS NOT NULL AND minga_roster_internal.family_of(o.link_category) <> o.family
            THEN 'other_family' END AS contradiction,
        o.given_name AS match_given_name, o.family_name AS match_family_name, o.preferred_name AS match_preferred_name,
        o.identifier AS match_identifier, o.email AS match_email,
        o.given_name, o.family_name, o.middle_name, o.preferred_name, o.email, o.username, o.identifier, o.grade, o.phone,
        o.parent_name, o.parent_email, o.parent_phone, o.parent_rule
    FROM open_rows o
    WHERE o.standing <> 'absent' AND (o.family IN ('student', 'staff') OR o.person_id IS NOT NULL OR o.standing = 'damaged')
        AND o.label NOT IN (SELECT s.label FROM several s)
    UNION ALL
    SELECT m.label, min(m.sourced_id) FILTER (WHERE m.nth = 1),
        coalesce(array_agg(m.sourced_id ORDER BY m.sourced_id) FILTER (WHERE m.usable), '{}')::text[],
        bool_or(m.usable), bool_or(m.usable AND m.standing = 'active'), min(m.family) FILTER (WHERE m.nth = 1),
        min(m.category) FILTER (WHERE m.nth = 1), min(m.rank) FILTER (WHERE m.nth = 1), min(m.role) FILTER (WHERE m.nth = 1),
        min(m.person_id), min(m.role_written) FILTER (WHERE m.person_id IS NOT NULL), bool_or(m.usable AND m.person_id IS NULL),
        CASE WHEN count(DISTINCT m.family) > 1 OR bool_or(m.person_id IS NOT NULL
            AND minga_roster_internal.family_of(m.link_category) <> m.family) THEN
            'other_family' END,
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
        min(m.parent_phone) FILTER (WHERE m.nth = 1), min(m.parent_rule) FILTER (WHERE m.nth = 1)
    FROM member m
    GROUP BY m.label;
    UPDATE groups g SET contradiction = c.conflict FROM contradictions c WHERE c.label = g.label;
    ANALYZE groups (label, linked_person, match_identifier, match_email);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.group_rows(connections) IS
'Makes the temp table groups of open_rows that are present: rows of different staff roles that share a user name or '
    'an identifier without contradiction in the other are one person, so are rows of one role with one identifier '
    'that agree in names, user name and e-mail, and rows linked to one person, transitively. What a group takes from '
    'its rows, it takes from active ones and the highest rank first.';

CREATE FUNCTION minga_roster_internal.find_keys() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    -- What is asked for: the keys of each group that is linked to nobody, once more with each further address of its
    -- rows; of one that contradicts itself, those of each of its rows.
    CREATE TEMP TABLE keys ON COMMIT DROP AS
    SELECT k.*, row_number() OVER () AS entry
    FROM (
        SELECT g.label, NULL::text COLLATE "C" AS sourced_id, g.family,
            lower(g.match_identifier COLLATE "C") AS identifier,
            lower(g.match_email COLLATE "C") AS email, g.match_given_name AS given_name,
            g.match_family_name AS family_name,
            g.match_preferred_name AS preferred_name
        FROM groups g
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff')
            AND (g.match_identifier IS NOT NULL OR g.match_email IS NOT NULL)
            AND g.label NOT IN (SELECT c.label FROM contradictions c)
            AND g.label NOT IN (SELECT f.label FROM candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT DISTINCT g.label, NULL::text COLLATE "C", g.family, lower(g.match_identifier COLLATE "C"),
            lower(o.email COLLATE "C"), g.match_given_name, g.match_family_name, g.match_preferred_name
        FROM groups g
        JOIN open_rows o ON o.label = g.label AND lower(o.email COLLATE "C") <> lower(g.match_email COLLATE "C")
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff') AND o.standing <> 'absent'
            AND g.label NOT IN (SELECT c.label FROM contradictions c)
            AND g.label NOT IN (SELECT f.label FROM candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT o.label, o.sourced_id, o.family, lower(o.identifier COLLATE "C"), lower(o.email COLLATE "C"),
            o.given_name, o.family_name, o.preferred_name
        FROM contradictions c JOIN open_rows o ON o.label = c.label
        WHERE o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND (o.identifier IS NOT NULL OR o.email IS NOT NULL)
    ) k;
    ANALYZE keys;
    CREATE TEMP TABLE candidate_people ON COMMIT DROP AS
    SELECT p.*, lower(p.identifier COLLATE "C") AS identifier_key, lower(p.email COLLATE "C") AS email_key
    FROM current_people p
    WHERE (EXISTS (SELECT FROM keys) OR EXISTS (SELECT FROM candidates))
        AND (lower(p.identifier COLLATE "C") IN (SELECT k.identifier FROM keys k WHERE k.identifier IS NOT NULL)
            OR lower(p.email COLLATE "C") IN (SELECT k.email FROM keys k WHERE k.email IS NOT NULL)
            OR p.person_id IN (SELECT c.person_id FROM candidates c));
    ANALYZE candidate_people;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_keys() IS
'Makes the temp tables keys, what is known of each group that is linked to nobody, and candidate_people, whom a key '
    'or a link leads to.';

CREATE FUNCTION minga_roster_internal.find_pairs(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE pairs (entry bigint, label text COLLATE "C", person_id text, step text, archived boolean,
        known boolean,
        given_agrees boolean, family_agrees boolean, identifiers_differ boolean, absent boolean,
        excluded boolean DEFAULT false) ON COMMIT DROP;
    CREATE TEMP TABLE crowds (entry bigint, label text COLLATE "C", person_id text) ON COMMIT DROP;
    CREATE TEMP TABLE found_people ON COMMIT DROP AS
    SELECT p.person_id, p.archived, p.identifier_key, p.email_key, minga_roster_internal.clean_name(p.given_name) AS given_name,
        minga_roster_internal.clean_name(p.family_name) AS family_name,
        minga_roster_internal.clean_name(p.preferred_name) AS preferred_name,
        coalesce(l.families, ARRAY[coalesce(minga_roster_internal.role_family(p.role), w.family)]) AS families,
        coalesce(l.absent, false) AS absent
    FROM candidate_people p
    LEFT JOIN (
        -- Proved absent tonight, and not listed by another connection.
        SELECT k.person_id, array_agg(DISTINCT minga_roster_internal.family_of(k.category)) AS families,
            bool_or(k.connection = find_pairs.connection.connection)
                AND bool_and(CASE WHEN k.connection = find_pairs.connection.connection
                    THEN coalesce(o.standing = 'absent' AND minga_roster_internal.family_of(k.category) IN (SELECT f.family
                        FROM proved_families f), false)
                    ELSE n.retired_at IS NOT NULL OR k.missed_since IS NOT NULL END) AS absent
        FROM minga_roster.links k
        JOIN minga_roster.connections n ON n.connection = k.connection AND n.people = find_pairs.connection.people
        LEFT JOIN open_rows o ON o.sourced_id = k.sourced_id AND k.connection = find_pairs.connection.connection
        WHERE k.site = find_pairs.connection.site AND k.person_id IN (SELECT c.person_id FROM candidate_people c)
            AND EXISTS (SELECT FROM keys)
        GROUP BY k.person_id
    ) l ON l.person_id = p.person_id
    LEFT JOIN (SELECT r.role, min(r.family) AS family FROM roster_rules r WHERE r.role IS NOT NULL GROUP BY r.role
        HAVING count(DISTINCT r.family) = 1) w
        ON w.role = p.role
    WHERE EXISTS (SELECT FROM keys);
    -- Accounts of others are nobody, unless a roster knows them.
    DELETE FROM found_people p WHERE p.families = ARRAY['other'];
    ANALYZE found_people;
    CREATE TEMP TABLE cleaned_keys ON COMMIT DROP AS
    SELECT k.entry, k.label, k.sourced_id, k.family, k.identifier, k.email,
        minga_roster_internal.clean_name(k.given_name) AS given_name,
        minga_roster_internal.clean_name(k.family_name) AS family_name,
        minga_roster_internal.clean_name(k.preferred_name) AS preferred_name, false AS shared
    FROM keys k
    WHERE k.identifier IN (SELECT p.identifier_key FROM found_people p WHERE p.identifier_key IS NOT NULL)
        OR k.email IN (SELECT p.email_key FROM found_people p WHERE p.email_key IS NOT NULL);
    UPDATE cleaned_keys k SET shared = true
    FROM (
        -- Readable rows, those of one group once.
        SELECT r.family, w.email, min(coalesce(o.label, s.sourced_id)) AS first_label,
            max(coalesce(o.label, s.sourced_id)) AS last_label
        FROM minga_roster.staged_users s
        JOIN roster_rules r ON r.roster_role = s.role
        JOIN (SELECT DISTINCT c.family, c.email FROM cleaned_keys c
            WHERE c.email IN (SELECT p.email_key FROM found_people p WHERE p.email_key IS NOT NULL)) w
            ON w.email = lower(s.email COLLATE "C") AND w.family = r.family
        LEFT JOIN open_rows o ON o.sourced_id = s.sourced_id
        WHERE s.connection = find_pairs.connection.connection AND NOT s.damaged
            AND coalesce(s.status, 'active') IN ('active', 'inactive')
            AND s.ctid NOT IN (SELECT k.place FROM skipped_rows k)
        GROUP BY r.family, w.email
    ) a
    WHERE a.family = k.family AND a.email = k.email AND (a.first_label <> k.label OR a.last_label <> k.label);
    -- Rows that contradict each other could be several people, of whom a readable one has its address.
    UPDATE cleaned_keys k SET shared = true
    FROM (
        SELECT t.family, t.email, min(t.sourced_id) AS first_row, max(t.sourced_id) AS last_row
        FROM cleaned_keys t JOIN open_rows o ON o.sourced_id = t.sourced_id
        WHERE o.standing NOT IN ('damaged', 'unknown')
        GROUP BY t.family, t.email
    ) a
    WHERE a.family = k.family AND a.email = k.email AND NOT k.shared
        AND (a.first_row <> k.sourced_id OR a.last_row <> k.sourced_id);
    ANALYZE cleaned_keys;

    -- Where many rows have an identifier of many people, two of them are enough, but the first row names all.
    CREATE TEMP TABLE crowded ON COMMIT DROP AS
    SELECT k.identifier, k.entries * p.people > 10000 AS crowded, p.first_person, p.last_person, k.first_entry
    FROM (SELECT identifier, count(*) AS entries, min(entry) AS first_entry FROM cleaned_keys
        WHERE identifier IS NOT NULL GROUP BY identifier) k
    JOIN (SELECT identifier_key, count(*) AS people, min(person_id) FILTER (WHERE NOT archived) AS first_person,
            max(person_id) FILTER (WHERE NOT archived) AS last_person FROM found_people
                WHERE identifier_key IS NOT NULL GROUP BY identifier_key) p
        ON p.identifier_key = k.identifier;
    INSERT INTO crowds
    SELECT k.entry, k.label, p.person_id
    FROM cleaned_keys k
    JOIN crowded c ON c.identifier = k.identifier AND c.crowded
    JOIN found_people p ON p.identifier_key = k.identifier AND NOT p.archived
        AND (k.entry = c.first_entry OR p.person_id IN (c.first_person, c.last_person))
    WHERE k.family = ANY (p.families) OR p.families[1] IS NULL;
    INSERT INTO pairs
    SELECT k.entry, k.label, p.person_id, 'identifier', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name, false, p.absent
    FROM cleaned_keys k
    JOIN crowded c ON c.identifier = k.identifier AND NOT c.crowded
    JOIN found_people p ON p.identifier_key = k.identifier
    WHERE k.family = ANY (p.families) OR p.families[1] IS NULL;
    -- Of an address that is one row's alone; judge_shared looks at the others.
    INSERT INTO pairs
    SELECT k.entry, k.label, p.person_id, 'e-mail', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name,
        coalesce(k.identifier <> p.identifier_key, false), p.absent
    FROM cleaned_keys k
    JOIN found_people p ON p.email_key = k.email AND (NOT p.archived OR p.family_name = k.family_name)
    WHERE NOT k.shared AND (k.family = ANY (p.families) OR p.families[1] IS NULL);

    -- Whom a decision excludes is nobody's candidate, and has the address all the same.
    DELETE FROM pairs p
    USING cleaned_keys k, decided_rows d
    WHERE k.entry = p.entry AND d.label = p.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND (d.person_id IS NULL OR (p.person_id = d.person_id AND p.step = 'identifier'));
    UPDATE pairs p SET excluded = true
    FROM cleaned_keys k, decided_rows d
    WHERE k.entry = p.entry AND d.label = p.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND p.person_id = d.person_id;
    DELETE FROM crowds c
    USING cleaned_keys k, decided_rows d
    WHERE k.entry = c.entry AND d.label = c.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND c.person_id = coalesce(d.person_id, c.person_id);
    ANALYZE pairs;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_pairs(connections) IS
'Makes the temp table pairs: each group or contradicting row with each person who has a key of it, and what of the '
    'names agrees; crowds where there are too many of both.';

CREATE FUNCTION minga_roster_internal.judge_shared(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE shared_verdicts (entry bigint, label text COLLATE "C", person_id text, verdict text)
        ON COMMIT DROP;
    IF NOT EXISTS (SELECT FROM cleaned_keys k WHERE k.shared) THEN
        RETURN;
    END IF;
    -- People of one name at one address are as one.
    CREATE TEMP TABLE held_addresses ON COMMIT DROP AS
    SELECT f.family, p.email_key AS email, p.family_name, p.given_name, p.preferred_name, p.archived, p.person_id,
        p.identifier_key, dense_rank() OVER (ORDER BY f.family, p.email_key, p.family_name, p.given_name,
            p.preferred_name, p.archived) AS holder
    FROM found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT k.email FROM cleaned_keys k WHERE k.shared);
    CREATE TEMP TABLE holders ON COMMIT DROP AS
    SELECT a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived,
        count(*) AS people, min(a.person_id) AS person_id, min(a.identifier_key) AS identifier
    FROM held_addresses a
    GROUP BY a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived;
    ANALYZE held_addresses (holder);
    ANALYZE holders;
    CREATE TEMP TABLE addresses ON COMMIT DROP AS
    SELECT f.family, p.email_key AS email, count(*) FILTER (WHERE NOT p.archived AND NOT p.absent) AS people,
        min(p.person_id) FILTER (WHERE NOT p.archived AND NOT p.absent) AS person_id
    FROM found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT h.email FROM holders h)
    GROUP BY f.family, p.email_key;
    CREATE TEMP TABLE namesakes ON COMMIT DROP AS
    WITH asked AS MATERIALIZED (
        SELECT k.* FROM cleaned_keys k WHERE k.shared AND k.given_name IS NOT NULL AND k.family_name IS NOT NULL
    ), begun AS MATERIALIZED (
        SELECT k.entry, k.family, k.email, k.family_name, left(k.given_name, n) AS given_name
        FROM asked k CROSS JOIN LATERAL generate_series(3, length(k.given_name) - 1) n
    ), begun_holders AS MATERIALIZED (
        SELECT h.person_id, h.family, h.email, h.family_name, left(h.given_name, n) AS given_name
        FROM holders h CROSS JOIN LATERAL generate_series(3, length(h.given_name) - 1) n
    ), found AS (
        SELECT k.entry, h.person_id FROM asked k JOIN holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM begun k JOIN holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM asked k JOIN begun_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN holders h ON h.family = k.family AND h.email = k.email AND h.family_name = k.family_name
            AND h.preferred_name = k.given_name
        WHERE h.given_name IS NOT NULL
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN holders h ON h.family = k.family AND h.email = k.email AND h.family_name = k.family_name
            AND h.given_name = k.preferred_name
    )
    SELECT k.entry, k.label, k.family, k.email, f.person_id, h.archived, h.people,
        coalesce(k.identifier <> h.identifier, false) AS identifiers_differ
    FROM found f
    JOIN cleaned_keys k ON k.entry = f.entry
    JOIN holders h ON h.person_id = f.person_id AND h.family = k.family AND h.email = k.email;
    DELETE FROM namesakes s
    USING cleaned_keys k, decided_rows d
    WHERE k.entry = s.entry AND d.label = s.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND (d.person_id IS NULL OR (s.person_id = d.person_id AND s.people = 1));

    -- Who has the address alone, and whose own row of the roster has it too.
    CREATE TEMP TABLE listed_holders ON COMMIT DROP AS
    SELECT DISTINCT a.family, a.email, a.person_id
    FROM addresses a
    JOIN minga_roster.links l ON l.connection = judge_shared.connection.connection AND l.person_id = a.person_id
    JOIN minga_roster.staged_users s ON s.connection = l.connection AND s.sourced_id = l.sourced_id
        AND lower(s.email COLLATE "C") = a.email
    WHERE a.people = 1 AND NOT s.damaged AND coalesce(s.status, 'active') IN ('active', 'inactive');

    INSERT INTO shared_verdicts
    SELECT n.entry, n.label, n.person_id,
        CASE WHEN coalesce(a.people, 0) + n.archived_people > 1 THEN 'address_of_two'
            WHEN n.identifiers_differ THEN 'identifiers_differ'
            WHEN h.person_id IS NOT NULL THEN 'candidate_linked'
            ELSE 'address_shared' END
    FROM (
        SELECT s.*, coalesce(sum(s.people) FILTER (WHERE s.archived) OVER (PARTITION BY s.entry),
            0) AS archived_people FROM namesakes s
    ) n
    JOIN addresses a ON a.family = n.family AND a.email = n.email
    LEFT JOIN listed_holders h ON h.family = n.family AND h.email = n.email AND h.person_id = n.person_id
    UNION ALL
    -- The row of somebody who may have got another name since.
    SELECT k.entry, k.label, p.person_id, CASE WHEN k.identifier <> p.identifier_key THEN 'identifiers_differ'
        ELSE 'candidate_linked' END
    FROM cleaned_keys k
    JOIN listed_holders h ON h.family = k.family AND h.email = k.email
    JOIN found_people p ON p.person_id = h.person_id
    LEFT JOIN namesakes s ON s.entry = k.entry
    LEFT JOIN decided_rows d ON d.label = k.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND coalesce(d.person_id, p.person_id) = p.person_id
    WHERE k.shared AND s.entry IS NULL AND d.label IS NULL
        AND minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name);
    -- Whom one of them could be, so could be others of the same name; where they are very many, the first row names
    -- them.
    INSERT INTO shared_verdicts
    SELECT v.entry, v.label, p.person_id, v.verdict
    FROM (SELECT t.*, min(t.entry) OVER (PARTITION BY t.person_id) AS first_entry FROM shared_verdicts t) v
    JOIN cleaned_keys k ON k.entry = v.entry
    JOIN holders h ON h.person_id = v.person_id AND h.family = k.family AND h.email = k.email AND h.people > 1
    JOIN held_addresses p ON p.holder = h.holder AND p.person_id <> v.person_id
    WHERE h.people <= 100 OR v.entry = v.first_entry;
    DELETE FROM shared_verdicts s
    USING cleaned_keys k, decided_rows d
    WHERE k.entry = s.entry AND d.label = s.label AND (k.sourced_id IS NULL OR k.sourced_id = d.sourced_id)
        AND s.person_id = d.person_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_shared(connections) IS
'Makes the temp table shared_verdicts: rows whose e-mail address other rows have too, so that it is no key, but that '
    'could be somebody of the family who has it: by both names, or by the given name where a row of that one person '
    'alone has it.';

CREATE FUNCTION minga_roster_internal.judge_keys() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    -- By identifier: active people but for leavers with another name, archived ones with the same; one who has a part
    -- of it is in the way.
    CREATE TEMP TABLE by_identifier ON COMMIT DROP AS
    SELECT c.entry, c.label, c.person_id, c.suffices OR NOT c.archived AS counts, NOT c.suffices AS differ, c.archived
    FROM (
        SELECT p.*, minga_roster_internal.names_suffice(p.archived, p.known, p.given_agrees, p.family_agrees) AS suffices
        FROM pairs p WHERE p.step = 'identifier'
    ) c
    WHERE (NOT c.given_agrees AND NOT c.family_agrees AND (c.archived OR c.absent)) IS NOT TRUE;
    DELETE FROM by_identifier b WHERE NOT b.counts AND b.entry IN (SELECT c.entry FROM by_identifier c WHERE c.counts);
    -- By e-mail: the only one of the family who has the address, of archived people those of the same name.
    CREATE TEMP TABLE by_email ON COMMIT DROP AS
    SELECT p.*, count(*) OVER (PARTITION BY p.entry) AS holders
    FROM pairs p
    WHERE p.step = 'e-mail' AND p.known
        AND CASE WHEN p.archived THEN coalesce(p.given_agrees AND p.family_agrees, false)
            ELSE (p.absent AND NOT p.family_agrees AND (NOT p.given_agrees OR p.identifiers_differ)) IS NOT TRUE END;
    CREATE TEMP TABLE verdicts ON COMMIT DROP AS
    SELECT b.entry, b.label, b.person_id,
        CASE
            WHEN b.holders > 1 THEN 'address_of_two'
            WHEN b.identifiers_differ THEN 'identifiers_differ'
            WHEN coalesce(b.given_agrees, false) THEN 'found'
            ELSE 'names_differ'
        END AS verdict
    FROM by_email b
    WHERE NOT b.excluded AND CASE WHEN b.holders > 1 THEN coalesce(b.given_agrees AND b.family_agrees, false)
        -- With another name and another number it is somebody else at the same address.
        ELSE (b.identifiers_differ AND NOT b.given_agrees) IS NOT TRUE END
    UNION ALL
    SELECT p.entry, p.label, p.person_id, 'family_unknown'
    FROM pairs p
    WHERE p.step = 'e-mail' AND NOT p.known AND NOT p.excluded AND p.given_agrees AND p.family_agrees
        AND p.entry NOT IN (SELECT b.entry FROM by_email b)
    UNION ALL
    SELECT s.entry, s.label, s.person_id, s.verdict FROM shared_verdicts s;
    -- Where the identifier has told, the address has a say only when it is one row's and one person's, and tells
    -- another.
    CREATE TEMP TABLE told ON COMMIT DROP AS
    SELECT b.entry, min(b.person_id) AS person_id, count(*) = 1
        AND bool_and(NOT b.differ) AS sure FROM by_identifier b GROUP BY b.entry
    UNION ALL
    SELECT DISTINCT c.entry, NULL::text, false FROM crowds c;
    CREATE TEMP TABLE told_twice ON COMMIT DROP AS
    SELECT DISTINCT b.label, b.person_id
    FROM by_email b JOIN told t ON t.entry = b.entry AND t.sure
    WHERE b.holders = 1 AND NOT b.archived AND NOT b.excluded AND b.given_agrees AND b.person_id <> t.person_id;
    DELETE FROM verdicts v WHERE v.entry IN (SELECT t.entry FROM told t);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_keys() IS
'Makes of the temp tables pairs, crowds and shared_verdicts the temp tables by_identifier, whom the identifier of each '
    'entry of keys tells, verdicts, whom its address tells where the identifier does not, and told_twice, whom the '
    'address tells besides.';

CREATE FUNCTION minga_roster_internal.match_by_keys(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.find_pairs(connection);
    PERFORM minga_roster_internal.judge_shared(connection);
    PERFORM minga_roster_internal.judge_keys();
    -- Nobody is gone whom a row could be tonight. Only keys of people of another family name ask for that, and those
    -- who come back bring nobody else back.
    IF EXISTS (SELECT FROM pairs p WHERE p.absent AND NOT p.family_agrees) THEN
        UPDATE pairs p SET absent = false
        WHERE p.absent AND NOT p.family_agrees AND p.person_id IN (
            SELECT c.person_id FROM candidates c
            UNION ALL
            SELECT b.person_id FROM by_identifier b
            UNION ALL
            SELECT c.person_id FROM crowds c
            UNION ALL
            SELECT t.person_id FROM told_twice t
            UNION ALL
            SELECT v.person_id FROM verdicts v);
        IF FOUND THEN
            DROP TABLE by_identifier, by_email, told, told_twice, verdicts;
            PERFORM minga_roster_internal.judge_keys();
        END IF;
    END IF;
    INSERT INTO candidates SELECT DISTINCT b.label, b.person_id, 'identifier' FROM by_identifier b;
    INSERT INTO candidates SELECT DISTINCT c.label, c.person_id, 'identifier' FROM crowds c;
    INSERT INTO found_conflicts
    SELECT DISTINCT c.label, 'several_candidates', 2 FROM crowds c
    UNION ALL
    SELECT b.label, CASE WHEN count(*) > 1 AND bool_and(b.counts) THEN 'several_candidates' ELSE 'names_differ' END, 2
    FROM by_identifier b
    GROUP BY b.entry, b.label
    HAVING count(*) > 1 OR bool_or(b.differ) OR NOT bool_and(b.counts);

    INSERT INTO candidates SELECT t.label, t.person_id, 'e-mail' FROM told_twice t;
    INSERT INTO found_conflicts SELECT DISTINCT t.label, 'two_people_by_keys', 3 FROM told_twice t;
    INSERT INTO candidates SELECT DISTINCT v.label, v.person_id, 'e-mail' FROM verdicts v;
    INSERT INTO found_conflicts
    SELECT DISTINCT v.label, v.verdict, 4 FROM verdicts v WHERE v.verdict <> 'found'
    UNION ALL
    SELECT v.label, 'two_people_by_keys', 3 FROM verdicts v WHERE v.verdict = 'found'
    GROUP BY v.label HAVING count(DISTINCT v.person_id) > 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_by_keys(connections) IS
'Adds to the temp tables candidates and found_conflicts what identifiers and e-mail addresses tell of the groups in '
    'keys.';

CREATE FUNCTION minga_roster_internal.match_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE candidates (label text COLLATE "C", person_id text, step text) ON COMMIT DROP;
    INSERT INTO candidates
    SELECT g.label, g.linked_person, 'link' FROM groups g WHERE g.linked_person IS NOT NULL
    UNION
    SELECT p.label, p.person_id, 'row' FROM named_people p;
    PERFORM minga_roster_internal.find_former_ids(connection);
    PERFORM minga_roster_internal.find_keys();
    CREATE TEMP TABLE found_conflicts (label text COLLATE "C", conflict text, priority integer) ON COMMIT DROP;
    INSERT INTO found_conflicts SELECT g.label, g.contradiction, 1 FROM groups g WHERE g.contradiction IS NOT NULL;
    IF EXISTS (SELECT FROM keys) THEN
        PERFORM minga_roster_internal.match_by_keys(connection);
    END IF;
    ANALYZE candidates;

    IF EXISTS (SELECT FROM candidates c WHERE c.step <> 'link') THEN
        INSERT INTO found_conflicts
        SELECT c.label, 'candidate_linked', 5
        FROM candidates c
        JOIN minga_roster.links l ON l.person_id = c.person_id AND l.connection = connection.connection
        LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id
        WHERE c.step IN ('former id', 'identifier', 'e-mail') AND NOT coalesce(o.standing = 'absent'
            AND (c.step = 'former id' OR minga_roster_internal.family_of(l.category) IN (SELECT f.family
                FROM proved_families f)), false)
        UNION ALL
        SELECT c.label, 'names_differ', 5
        FROM candidates c JOIN groups g USING (label) JOIN candidate_people p USING (person_id)
        WHERE c.step = 'former id'
            AND minga_roster_internal.clean_name(p.family_name) <> minga_roster_internal.clean_name(g.match_family_name)
            AND NOT minga_roster_internal.given_names_agree(minga_roster_internal.clean_name(p.given_name),
                minga_roster_internal.clean_name(p.preferred_name),
                minga_roster_internal.clean_name(g.match_given_name), minga_roster_internal.clean_name(g.match_preferred_name))
        UNION ALL
        -- Rows that are linked go on.
        SELECT c.label, 'several_rows', 6
        FROM candidates c
        WHERE c.step <> 'link' AND c.person_id IN (SELECT t.person_id FROM candidates t WHERE t.step <> 'link'
            GROUP BY t.person_id HAVING count(DISTINCT t.label) > 1);
    END IF;
    CREATE TEMP TABLE conflicts ON COMMIT DROP AS
    SELECT DISTINCT ON (f.label) f.label, f.conflict FROM found_conflicts f ORDER BY f.label, f.priority, f.conflict;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_groups(connections) IS
'Makes the temp tables candidates (whom each group could be: by link, else by identifier within a family, else by an '
    'e-mail that is unique on both sides; nobody whom roster_decide said it is not) and conflicts (groups that '
    'nothing is done for, and the code of why).';

CREATE FUNCTION minga_roster_internal.withhold_identifiers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    UPDATE decisions d
    SET outcome = 'conflict', links = false, told = true, before = '{}', after = '{}', rule = 'conflict',
        conflict = 'identifier_withheld',
        reason = minga_roster_internal.conflict_text('identifier_withheld')
    FROM (
        SELECT g.family, lower(g.match_identifier COLLATE "C") AS identifier
        FROM groups g
        JOIN candidates c ON c.label = g.label AND c.step = 'e-mail'
        LEFT JOIN decisions o ON o.label = g.label AND o.links
        WHERE g.match_identifier IS NOT NULL AND o.label IS NULL
        GROUP BY 1, 2
    ) unsettled
    WHERE d.outcome IN ('create', 'update', 'restore') AND unsettled.identifier = lower((d.after ->> 'identifier') COLLATE "C")
        AND unsettled.family = minga_roster_internal.family_of(d.category);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.withhold_identifiers() IS
'Turns decisions into conflicts that would give somebody the identifier of a row that could be somebody else by e-mail, but is linked to nobody tonight: the identifier comes first, so the next sync would not know that person in it any more.';

CREATE FUNCTION minga_roster_internal.find_same_names(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE same_names (label text COLLATE "C", people text[]) ON COMMIT DROP;
    IF NOT EXISTS (SELECT FROM decisions d WHERE 'create' IN (d.outcome, d.held_as)) THEN
        RETURN;
    END IF;
    INSERT INTO same_names
    WITH keyless AS MATERIALIZED (
        SELECT p.person_id, p.role, minga_roster_internal.clean_name(p.given_name) AS given_name,
            minga_roster_internal.clean_name(p.family_name) AS family_name
        FROM current_people p
        WHERE NOT p.archived AND coalesce(p.identifier, '') = '' AND coalesce(p.email, '') = '' AND p.role <> 'other'
    ), named AS MATERIALIZED (
        SELECT g.label, g.family, k.person_id, k.role
        FROM groups g
        JOIN decisions d ON d.label = g.label AND 'create' IN (d.outcome, d.held_as)
        JOIN keyless k ON k.given_name = minga_roster_internal.clean_name(g.given_name)
            AND k.family_name = minga_roster_internal.clean_name(g.family_name)
        WHERE EXISTS (SELECT FROM keyless)
    )
    SELECT n.label, (array_agg(n.person_id ORDER BY n.person_id))[1:100]
    FROM named n
    LEFT JOIN (
        -- Somebody whom a listed row is, is not this one.
        SELECT l.person_id, array_agg(DISTINCT minga_roster_internal.family_of(l.category)) AS families,
            bool_or(CASE WHEN l.connection = find_same_names.connection.connection
                THEN coalesce(o.standing, '') <> 'absent'
                ELSE c.retired_at IS NULL AND l.missed_since IS NULL END) AS listed
        FROM minga_roster.links l
        JOIN minga_roster.connections c ON c.connection = l.connection AND c.people = find_same_names.connection.people
        LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id AND l.connection = find_same_names.connection.connection
        WHERE l.site = find_same_names.connection.site AND l.person_id IN (SELECT person_id FROM named)
        GROUP BY l.person_id
    ) l ON l.person_id = n.person_id
    WHERE l.listed IS NOT TRUE AND CASE WHEN l.families IS NOT NULL THEN n.family = ANY (l.families)
        ELSE coalesce(minga_roster_internal.role_family(n.role), n.family) = n.family END
    GROUP BY n.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_same_names(connections) IS
'Makes the temp table same_names: for each person to be created the active people of that name and family who have '
    'neither an identifier nor an e-mail address, and whom no listed row is; a hundred at the most.';
