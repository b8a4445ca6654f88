-- Who is who: which rows of the roster are one person, and whom of the site that person could be. Works on the temp tables that
-- plan.sql made before. Must survive rows and people that contradict each other: they become conflicts, and nobody in one is touched.

CREATE FUNCTION group_rows() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    moved bigint;
BEGIN
    CREATE TEMP TABLE nodes ON COMMIT DROP AS
    SELECT o.sourced_id, o.label, o.person_id, o.roster_role AS role, lower(o.username COLLATE "C") AS username, lower(o.identifier COLLATE "C") AS identifier,
        h.sourced_id IS NOT NULL AS shares
    FROM open_rows o
    LEFT JOIN shared_rows h ON h.sourced_id = o.sourced_id
    LEFT JOIN special_people x ON x.person_id = o.person_id
    WHERE o.standing <> 'absent' AND (h.sourced_id IS NOT NULL OR x.own_links > 1);

    CREATE TEMP TABLE edges ON COMMIT DROP AS
    WITH classes AS MATERIALIZED (
        -- Rows of one role with the same keys have the same neighbours.
        SELECT n.role, n.username, n.identifier, min(n.sourced_id) AS sourced_id
        FROM nodes n WHERE n.shares
        GROUP BY n.role, n.username, n.identifier
    ), pairs AS MATERIALIZED (
        SELECT a.sourced_id AS a, b.sourced_id AS b
        FROM classes a JOIN classes b ON b.username = a.username AND b.identifier = a.identifier WHERE a.role <> b.role
        UNION
        SELECT a.sourced_id, b.sourced_id
        FROM classes a JOIN classes b ON b.username = a.username WHERE a.identifier IS NULL AND a.role <> b.role
        UNION
        SELECT a.sourced_id, b.sourced_id
        FROM classes a JOIN classes b ON b.identifier = a.identifier WHERE a.username IS NULL AND a.role <> b.role
    ), edge AS (
        SELECT p.a, p.b FROM pairs p
        UNION
        SELECT n.sourced_id, c.sourced_id
        FROM nodes n
        JOIN classes c ON c.role = n.role AND coalesce(c.username, '') = coalesce(n.username, '')
            AND coalesce(c.identifier, '') = coalesce(n.identifier, '')
        WHERE n.shares AND c.sourced_id IN (SELECT p.a FROM pairs p UNION SELECT p.b FROM pairs p)
        UNION
        SELECT n.sourced_id, same.sourced_id
        FROM nodes n
        JOIN (SELECT person_id, min(sourced_id) AS sourced_id FROM nodes WHERE person_id IS NOT NULL GROUP BY person_id) same USING (person_id)
    )
    SELECT e.a, e.b FROM edge e WHERE e.a <> e.b UNION SELECT e.b, e.a FROM edge e WHERE e.a <> e.b;

    -- Each row takes the least label of its neighbours, then the label of its label, until nothing moves.
    LOOP
        UPDATE nodes n SET label = least.label
        FROM (SELECT e.a, min(m.label) AS label FROM edges e JOIN nodes m ON m.sourced_id = e.b GROUP BY e.a) least
        WHERE least.a = n.sourced_id AND least.label < n.label;
        GET DIAGNOSTICS moved = ROW_COUNT;
        EXIT WHEN moved = 0;
        UPDATE nodes n SET label = m.label FROM nodes m WHERE m.sourced_id = n.label AND m.label < n.label;
    END LOOP;
    UPDATE open_rows o SET label = n.label FROM nodes n WHERE n.sourced_id = o.sourced_id AND n.label <> o.label;

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
        CASE WHEN o.person_id IS NOT NULL AND minga_roster.family_of(o.link_category) <> o.family THEN
            'The roster lists somebody known as a student as staff, or the other way round.' END AS contradiction,
        o.given_name AS match_given_name, o.family_name AS match_family_name, o.identifier AS match_identifier, o.email AS match_email,
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
        CASE
            WHEN count(DISTINCT m.family) > 1 OR bool_or(m.person_id IS NOT NULL AND minga_roster.family_of(m.link_category) <> m.family) THEN
                'The roster lists somebody known as a student as staff, or the other way round.'
            WHEN count(DISTINCT m.person_id) > 1 THEN
                'Rows of the roster that belong together by user name or identifier are linked to different people.'
            WHEN count(m.roster_role) > count(DISTINCT m.roster_role) THEN
                'Two rows of the roster with the same role seem to be one person.'
            WHEN count(DISTINCT lower(m.username COLLATE "C")) > 1 AND count(m.username) FILTER (WHERE m.person_id IS NULL) > 0 THEN
                'Rows of the roster that belong together have different user names.'
            WHEN count(DISTINCT lower(m.identifier COLLATE "C")) > 1 AND count(m.identifier) FILTER (WHERE m.person_id IS NULL) > 0 THEN
                'Rows of the roster that belong together have different identifiers.'
        END,
        (array_agg(m.given_name ORDER BY m.nth) FILTER (WHERE m.given_name IS NOT NULL))[1],
        (array_agg(m.family_name ORDER BY m.nth) FILTER (WHERE m.family_name IS NOT NULL))[1],
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
    ANALYZE groups (label, linked_person, match_identifier, match_email);
END
$$;
COMMENT ON FUNCTION group_rows() IS
'Makes the temp table groups of open_rows that are present: rows of different staff roles that share a user name or an identifier without contradiction in the other are one person, and so are rows linked to one person, transitively. What a group takes from its rows, it takes from active ones and the highest rank first.';

CREATE FUNCTION match_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE candidates (label text COLLATE "C", person_id text, step text) ON COMMIT DROP;
    INSERT INTO candidates
    SELECT DISTINCT o.label, o.person_id, 'link' FROM open_rows o WHERE o.standing <> 'absent' AND o.person_id IS NOT NULL;
    PERFORM minga_roster.find_former_ids(connection);

    -- Whom a group could be by a key, and whom it is linked to.
    CREATE TEMP TABLE keys ON COMMIT DROP AS
    SELECT g.label, g.family, lower(g.match_family_name) AS family_name,
        lower(g.match_identifier COLLATE "C") AS identifier, lower(g.match_email COLLATE "C") AS email
    FROM groups g
    WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff') AND (g.match_identifier IS NOT NULL OR g.match_email IS NOT NULL)
        AND g.label NOT IN (SELECT c.label FROM candidates c WHERE c.step = 'former id');
    ANALYZE keys;
    CREATE TEMP TABLE candidate_people ON COMMIT DROP AS
    SELECT p.* FROM current_people p
    WHERE (EXISTS (SELECT FROM keys) OR EXISTS (SELECT FROM candidates))
        AND (lower(p.identifier COLLATE "C") IN (SELECT k.identifier FROM keys k WHERE k.identifier IS NOT NULL)
            OR lower(p.email COLLATE "C") IN (SELECT k.email FROM keys k WHERE k.email IS NOT NULL)
            OR p.person_id IN (SELECT c.person_id FROM candidates c));
    ANALYZE candidate_people;

    -- Archived people only with the same family name; a person whose role says nothing about the family, and who has no link, may be of either.
    INSERT INTO candidates
    WITH found AS MATERIALIZED (
        SELECT k.label, k.family, p.person_id, p.role
        FROM candidate_people p JOIN keys k ON k.identifier = lower(p.identifier COLLATE "C")
        WHERE NOT p.archived OR lower(p.family_name) = k.family_name
    )
    SELECT f.label, f.person_id, 'identifier'
    FROM found f LEFT JOIN (SELECT DISTINCT l.person_id, minga_roster.family_of(l.category) AS family
        FROM minga_roster.links l WHERE l.site = connection.site AND l.person_id IN (SELECT person_id FROM found)) l USING (person_id)
    LEFT JOIN (SELECT DISTINCT r.role, r.family FROM roster_rules r WHERE r.role IS NOT NULL UNION VALUES ('owner', 'staff'), ('manager', 'staff')) w
        ON w.role = f.role
    WHERE f.family = coalesce(l.family, w.family, f.family);

    DELETE FROM candidates c
    USING minga_roster.match_decisions d, open_rows o
    WHERE d.connection = match_groups.connection.connection AND o.sourced_id = d.sourced_id AND c.label = o.label AND c.step <> 'link'
        AND c.person_id = coalesce(d.person_id, c.person_id);

    CREATE TEMP TABLE found_by_email ON COMMIT DROP AS
    SELECT k.label, k.family, k.email AS key, p.person_id, p.role
    FROM candidate_people p JOIN keys k ON k.email = lower(p.email COLLATE "C")
    WHERE (NOT p.archived OR lower(p.family_name) = k.family_name) AND k.label NOT IN (SELECT c.label FROM candidates c);
    DELETE FROM found_by_email f
    USING minga_roster.match_decisions d, open_rows o
    WHERE d.connection = match_groups.connection.connection AND o.sourced_id = d.sourced_id AND f.label = o.label
        AND f.person_id = coalesce(d.person_id, f.person_id);
    IF EXISTS (SELECT FROM found_by_email) THEN
        DELETE FROM found_by_email f
        USING (
            SELECT w.family, w.key
            FROM minga_roster.staged_users s
            JOIN roster_rules r ON r.roster_role = s.role
            JOIN (SELECT DISTINCT family, key FROM found_by_email) w ON w.key = lower(s.email COLLATE "C") AND w.family = r.family
            LEFT JOIN open_rows o ON o.sourced_id = s.sourced_id
            WHERE s.connection = connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            GROUP BY w.family, w.key
            HAVING count(DISTINCT coalesce(o.label, s.sourced_id)) > 1
        ) shared
        WHERE shared.family = f.family AND shared.key = f.key;
        INSERT INTO candidates
        SELECT f.label, min(f.person_id), 'e-mail'
        FROM found_by_email f LEFT JOIN (SELECT DISTINCT l.person_id, minga_roster.family_of(l.category) AS family
            FROM minga_roster.links l WHERE l.site = connection.site AND l.person_id IN (SELECT person_id FROM found_by_email)) l USING (person_id)
        LEFT JOIN (SELECT DISTINCT r.role, r.family FROM roster_rules r WHERE r.role IS NOT NULL UNION VALUES ('owner', 'staff'), ('manager', 'staff')) w
            ON w.role = f.role
        WHERE f.family = coalesce(l.family, w.family, f.family)
        GROUP BY f.label
        HAVING count(DISTINCT f.person_id) = 1;
    END IF;
    ANALYZE candidates;

    CREATE TEMP TABLE conflicts (label text COLLATE "C", reason text) ON COMMIT DROP;
    INSERT INTO conflicts
    SELECT DISTINCT ON (f.label) f.label, f.reason
    FROM (
        SELECT 1 AS position, g.label, g.contradiction AS reason FROM groups g WHERE g.contradiction IS NOT NULL
        UNION ALL
        SELECT 2, c.label, format('Several people could be meant by the same %s.', min(c.step))
        FROM candidates c GROUP BY c.label HAVING count(DISTINCT c.person_id) > 1
        UNION ALL
        SELECT 3, c.label, 'The person found is linked to another row of the roster, which is still listed or not proved to be gone.'
        FROM candidates c
        JOIN minga_roster.links l ON l.person_id = c.person_id AND l.connection = connection.connection
        LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id
        WHERE c.step <> 'link' AND NOT coalesce(o.standing = 'absent'
            AND (c.step = 'former id' OR minga_roster.family_of(l.category) IN (SELECT f.family FROM proved_families f)), false)
        UNION ALL
        SELECT 4, c.label, 'Several rows of the roster could be the same person.'
        FROM candidates c
        WHERE c.person_id IN (SELECT t.person_id FROM candidates t GROUP BY t.person_id HAVING count(DISTINCT t.label) > 1)
        UNION ALL
        SELECT 5, c.label, format('The person with the same %s has another given name and another family name.', c.step)
        FROM candidates c JOIN groups g USING (label) JOIN candidate_people p USING (person_id)
        WHERE c.step <> 'link' AND lower(p.given_name) <> lower(g.match_given_name) AND lower(p.family_name) <> lower(g.match_family_name)
        UNION ALL
        SELECT 6, c.label, 'The person with the same e-mail has another identifier.'
        FROM candidates c JOIN groups g USING (label) JOIN candidate_people p USING (person_id)
        WHERE c.step = 'e-mail' AND lower(p.identifier COLLATE "C") <> lower(g.match_identifier COLLATE "C")
    ) f
    ORDER BY f.label, f.position;

    -- Whoever is named in a conflict is in it with all rows. Groups are by now, since they name a person who is named twice; not so rows that
    -- were plain.
    CREATE TEMP TABLE conflict_people ON COMMIT DROP AS
    SELECT DISTINCT c.person_id FROM candidates c JOIN conflicts k USING (label);
    IF EXISTS (SELECT FROM conflict_people) THEN
        WITH pulled AS (
            INSERT INTO open_rows (sourced_id, label, staged, place, standing, usable, roster_role, category, family, role, rank, rostered,
                linked, person_id, link_category, role_written, linked_run, missed)
            SELECT s.sourced_id, s.sourced_id, true, s.ctid, 'active', true, s.role, r.category, r.family, r.role, r.rank, r.rostered,
                true, l.person_id, l.category, l.role_written, l.linked_run, false
            FROM conflict_people c
            JOIN minga_roster.links l ON l.person_id = c.person_id AND l.connection = connection.connection
            JOIN minga_roster.staged_users s ON s.sourced_id = l.sourced_id AND s.connection = connection.connection
            JOIN roster_rules r ON r.roster_role = s.role
            LEFT JOIN open_rows o ON o.sourced_id = l.sourced_id
            WHERE o.sourced_id IS NULL
            RETURNING label, sourced_id, person_id, family, category, rank, role
        ), grouped AS (
            INSERT INTO groups (label, main_row, sourced_ids, usable, active, family, category, rank, role, linked_person, joins)
            SELECT p.label, p.sourced_id, ARRAY[p.sourced_id], true, true, p.family, p.category, p.rank, p.role, p.person_id, false
            FROM pulled p
        ), candidate AS (
            INSERT INTO candidates SELECT p.label, p.person_id, 'link' FROM pulled p
        )
        INSERT INTO conflicts SELECT p.label, 'Another row of the roster seems to be the same person.' FROM pulled p;
    END IF;
END
$$;
COMMENT ON FUNCTION match_groups(connections) IS
'Makes the temp tables candidates (whom each group could be: by link, else by identifier within a family, else by an e-mail that is unique on both sides; nobody whom roster_decide said it is not) and conflicts (groups that nothing is done for, and why).';

CREATE FUNCTION withhold_identifiers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    UPDATE decisions d
    SET outcome = 'conflict', links = false, told = true, before = '{}', after = '{}', rule = 'conflict',
        reason = 'Another row of the roster with the same identifier could be somebody else by e-mail.'
    FROM (
        SELECT g.family, lower(g.match_identifier COLLATE "C") AS identifier
        FROM groups g
        JOIN candidates c ON c.label = g.label AND c.step = 'e-mail'
        LEFT JOIN decisions o ON o.label = g.label AND o.links
        WHERE g.match_identifier IS NOT NULL AND o.label IS NULL
        GROUP BY 1, 2
    ) unsettled
    WHERE d.outcome IN ('create', 'update', 'restore') AND unsettled.identifier = lower((d.after ->> 'identifier') COLLATE "C")
        AND unsettled.family = minga_roster.family_of(d.category);
END
$$;
COMMENT ON FUNCTION withhold_identifiers() IS
'Turns decisions into conflicts that would give somebody the identifier of a row that could be somebody else by e-mail, but is linked to nobody tonight: the identifier comes first, so the next sync would not know that person in it any more.';
