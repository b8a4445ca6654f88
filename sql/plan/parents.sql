-- The primary parent contact of each student. Must survive contacts that cannot be read: the next one is not the right
-- one.

CREATE FUNCTION minga_roster_internal.choose_parents(connection connections, run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    is_partial boolean;
BEGIN
    IF NOT (connection.parent_contact OR connection.contacts) THEN
        RETURN;
    END IF;
    is_partial := EXISTS (SELECT FROM minga_roster.runs r
            WHERE r.run = choose_parents.run AND r.is_full IS FALSE)
        OR EXISTS (SELECT FROM minga_roster.collections c
            WHERE c.run = choose_parents.run AND c.family = 'contact' AND (NOT c.complete OR c.without_id > 0));
    -- A relationship may stand with either of the two; what is said both ways is not said.
    INSERT INTO plan_relationships (one, other, guardian, type)
    SELECT n.one, n.other, CASE WHEN bool_or(n.guardian) = bool_and(n.guardian)
        THEN bool_or(n.guardian) END,
        CASE WHEN min(n.type) = max(n.type) THEN lower(min(n.type)) END
    FROM (
        SELECT unnest(ARRAY[u.sourced_id, e.entry ->> 'id']) COLLATE "C" AS one,
            unnest(ARRAY[e.entry ->> 'id', u.sourced_id]) COLLATE "C" AS other,
            (e.entry ->> 'guardian')::boolean AS guardian, e.entry ->> 'type' AS type
        FROM minga_roster.staged_users u CROSS JOIN LATERAL jsonb_array_elements(u.relationships) AS e (entry)
        WHERE u.connection = choose_parents.connection.connection
            AND (SELECT p.campus_metadata FROM minga_roster.sis p WHERE p.sis = choose_parents.connection.sis)
    ) n
    GROUP BY n.one, n.other;
    PERFORM minga_roster_internal.analyze_if_large('plan_relationships', 'one');
    -- If the first contact cannot be read, the next one is not the right one either; nor if a row might be a contact's.
    -- Agents are unnested in a select list: beside a LATERAL of theirs the planner, who knows nothing of a new stage,
    -- would join their rows for each student by itself.
    INSERT INTO plan_parents
    WITH unread AS MATERIALIZED (
        -- An agent who could not be read, or was not asked for, might come first.
        SELECT s.sourced_id
        FROM (SELECT u.sourced_id, unnest(u.agent_ids) COLLATE "C" AS agent_id FROM minga_roster.staged_users u
            WHERE is_partial AND u.connection = connection.connection) s
        LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = s.agent_id
        WHERE g.sourced_id IS NULL
    ), steps AS MATERIALIZED (
        SELECT r.rank, r.roles, string_agg('no ' || r.roles || '; ', '')
            OVER (ORDER BY r.rank ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS passed
        FROM (SELECT c.rank, string_agg(c.roster_role, ' or ' ORDER BY c.roster_role) AS roles
            FROM plan_rules c WHERE c.family = 'contact' GROUP BY c.rank) r
    )
    SELECT c.sourced_id, c.name, c.email, c.phone,
        CASE WHEN c.guardian THEN concat('guardian by the SIS', ': ' || c.type, CASE
            WHEN c.several THEN '; first of several in the order of agents' END)
            ELSE concat(c.role, ': ', w.passed, CASE WHEN c.others_ruled_out
                THEN 'by the SIS others are no guardian; ' END,
                CASE WHEN c.several THEN format('first %s in the order of agents', w.roles)
                    ELSE format('only %s', w.roles) END) END, c.contact_id
    FROM (
        SELECT DISTINCT ON (s.sourced_id) s.sourced_id, g.sourced_id AS contact_id, g.damaged,
            concat_ws(' ', g.given_name, g.family_name) AS name, g.email, g.phone, g.role, gr.rank,
            n.guardian, n.type, n.guardian IS NULL AND bool_or(NOT n.guardian) OVER (PARTITION BY s.sourced_id,
                gr.rank) IS TRUE AS others_ruled_out,
            min(g.sourced_id) OVER equals <> max(g.sourced_id) OVER equals AS several
        FROM (SELECT u.sourced_id, unnest(u.agent_ids) COLLATE "C" AS agent_id,
                generate_subscripts(u.agent_ids, 1) AS position
            FROM minga_roster.staged_users u
            JOIN plan_rules r ON r.roster_role = u.role AND r.family = 'student'
            WHERE u.connection = connection.connection) s
        JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = s.agent_id
        LEFT JOIN plan_rules gr ON gr.roster_role = g.role
        LEFT JOIN plan_relationships n ON n.one = s.sourced_id AND n.other = g.sourced_id
        WHERE g.status IS DISTINCT FROM 'tobedeleted'
            AND (gr.family = 'contact' OR (g.damaged AND gr.roster_role IS NULL))
            AND (g.damaged OR g.given_name IS NOT NULL OR g.family_name IS NOT NULL)
        WINDOW equals AS (PARTITION BY s.sourced_id, n.guardian, gr.rank)
        ORDER BY s.sourced_id, n.guardian IS NOT TRUE, gr.rank NULLS FIRST, n.guardian IS FALSE, s.position
    ) c
    JOIN steps w ON w.rank = c.rank
    WHERE NOT c.damaged AND c.sourced_id NOT IN (SELECT u.sourced_id FROM unread u);
    IF connection.clear_parent_contact
        AND (SELECT count(*) FROM plan_proved_families f WHERE f.family IN ('student', 'contact')) = 2
    THEN
        -- A contact is gone if the SIS no longer names it, or calls it deleted; one that is named and not listed may be
        -- anyone.
        INSERT INTO plan_parents (sourced_id)
        SELECT s.sourced_id
        FROM (SELECT u.sourced_id, unnest(coalesce(nullif(u.agent_ids, '{}'), '{NULL}')) COLLATE "C" AS agent_id
            FROM minga_roster.staged_users u
            JOIN plan_rules r ON r.roster_role = u.role AND r.family = 'student'
            WHERE u.connection = connection.connection) s
        LEFT JOIN minga_roster.staged_users g ON g.connection = connection.connection AND g.sourced_id = s.agent_id
        GROUP BY s.sourced_id
        HAVING bool_and(s.agent_id IS NULL OR coalesce(g.status = 'tobedeleted' AND NOT g.damaged, false));
    END IF;
    PERFORM minga_roster_internal.analyze_if_large('plan_parents', 'sourced_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.choose_parents(connections, bigint) IS
'Fills plan_parents: for each staged student the primary contact: the guardian by what Infinite Campus 1.2 '
    'says of the relationship, then guardian or parent before relative, then the order of agents, with the rule that '
    'chose in words. OneRoster marks no contact as primary. With clear_parent_contact also, all but the sourcedId '
    'NULL, each student of whose contacts a proved read has none left.';
