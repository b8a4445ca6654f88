-- Views for reports in SQL: who joined and left, and what is incomplete in the SIS. They show IDs and no names or
-- addresses, except roster_same_names. Join the people relation to see names. What they show of the SIS is the state at
-- the latest fetch, as long as the stage holds it (stages). They read tables with the rights of who reads them, so that
-- policies apply; roster_changes_by_day alone, which counts people for readers, does not.

CREATE VIEW roster_joiners WITH (security_invoker = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE minga_roster_internal.usable_zone(n.time_zone))::date AS day,
        c.category, c.person_id, c.sourced_ids,
        c.action = 'restore' AS came_back, c.state_at AS joined_at, c.run
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.action IN ('create', 'restore') AND c.state = 'applied';
COMMENT ON VIEW roster_joiners IS
'People whom runs created or restored, as long as changes are kept. day is local to the connection''s time zone.';
COMMENT ON COLUMN roster_joiners.came_back IS 'The person was archived here before, and was restored.';

CREATE VIEW roster_leavers WITH (security_invoker = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE minga_roster_internal.usable_zone(n.time_zone))::date AS day,
        c.category, c.person_id, c.sourced_ids,
        c.state AS state, c.reason, c.state_reason, CASE c.state WHEN 'applied' THEN c.state_at END AS left_at,
        c.state = 'applied' AND EXISTS (SELECT FROM minga_roster.links l
            WHERE l.connection = r.connection AND l.site = c.site AND l.person_id = c.person_id
                AND l.archived_run = c.run) AS still_archived,
        c.run
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.action = 'archive' AND c.state IN ('applied', 'held');
COMMENT ON VIEW roster_leavers IS
'People whom runs archived, or whose archive is held, as long as changes are kept. day is local to the connection''s '
'time zone.';
COMMENT ON COLUMN roster_leavers.state IS 'applied; or held, until roster_approve.';
COMMENT ON COLUMN roster_leavers.still_archived IS
'The person is still archived by this run; false once a run found the person restored, by a roster or by hand.';

CREATE VIEW roster_changes_by_day WITH (security_barrier = true) AS
    SELECT r.connection, c.site, (c.state_at AT TIME ZONE minga_roster_internal.usable_zone(n.time_zone))::date AS day,
        c.category, c.action, count(*) AS people
    FROM minga_roster.changes c
    JOIN minga_roster.runs r ON r.run = c.run
    LEFT JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = c.site
    WHERE c.state = 'applied' AND ((SELECT minga_roster_internal.sees_all())
        OR c.site IN (SELECT minga_roster_internal.sites_of('reader')))
    GROUP BY r.connection, c.site,
        (c.state_at AT TIME ZONE minga_roster_internal.usable_zone(n.time_zone))::date, c.category, c.action;
COMMENT ON VIEW roster_changes_by_day IS
'How many people were created, linked, updated, restored and archived on each local day, by category, as long as '
'changes are kept.';

CREATE VIEW roster_listed_twice WITH (security_invoker = true) AS
    WITH listed AS (
        SELECT s.connection, n.site, CASE r.category WHEN 'student' THEN 'student' ELSE 'staff' END AS family,
            s.sourced_id, s.role,
            s.identifier, s.username, s.email, l.person_id
        FROM minga_roster.staged_users s
        JOIN minga_roster.stages g ON g.connection = s.connection
        JOIN minga_roster.connections n ON n.connection = s.connection
        JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category <> 'contact'
        LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
        WHERE n.retired_at IS NULL AND s.status IS DISTINCT FROM 'tobedeleted'
    ), keyed AS (
        SELECT d.connection, d.site, d.family, d.sourced_id, d.role, d.person_id, k.shared,
            lower(k.value COLLATE "C") AS value
        FROM listed d
        CROSS JOIN LATERAL (VALUES ('identifier', d.identifier), ('user name', d.username),
            ('e-mail', d.email)) AS k (shared, value)
        WHERE k.value IS NOT NULL
    )
    SELECT k.connection, k.site, k.family, k.shared, array_agg(k.sourced_id::text ORDER BY k.sourced_id) AS sourced_ids,
        array_agg(DISTINCT k.role) AS roles, array_agg(DISTINCT k.person_id)
            FILTER (WHERE k.person_id IS NOT NULL) AS person_ids,
        count(k.person_id) = count(*) AND count(DISTINCT k.person_id) = 1 AS known_as_one
    FROM keyed k
    GROUP BY k.connection, k.site, k.family, k.shared, k.value
    HAVING count(DISTINCT k.sourced_id) > 1;
COMMENT ON VIEW roster_listed_twice IS
'Rows of the latest fetch that share an identifier, username or email address within students or within staff: one '
'person with several rows, or a mistake in the SIS.';
COMMENT ON COLUMN roster_listed_twice.shared IS
'What they share: identifier, user name or e-mail. The value is in staged_users.';
COMMENT ON COLUMN roster_listed_twice.known_as_one IS
'All of the rows are linked to one person. Campus 1.1 lists a person once for each role.';

CREATE VIEW roster_without_email WITH (security_invoker = true) AS
    SELECT s.connection, n.site, r.category, s.role, s.sourced_id::text AS sourced_id, l.person_id
    FROM minga_roster.staged_users s
    JOIN minga_roster.stages g ON g.connection = s.connection
    JOIN minga_roster.connections n ON n.connection = s.connection
    JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category <> 'contact'
    LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
    WHERE n.retired_at IS NULL AND s.email IS NULL AND coalesce(s.status, 'active') = 'active' AND s.enabled;
COMMENT ON VIEW roster_without_email IS
'Active users of the latest fetch without an email address in the SIS; person_id if they are linked.';

CREATE VIEW roster_students_without_guardian WITH (security_invoker = true) AS
    WITH reachable AS (
        SELECT DISTINCT s.connection, s.sourced_id
        FROM (SELECT u.connection, u.sourced_id, unnest(u.agent_ids) COLLATE "C" AS agent_id
            FROM minga_roster.staged_users u) s
        JOIN minga_roster.staged_users g ON g.connection = s.connection AND g.sourced_id = s.agent_id
        JOIN minga_roster.connections n ON n.connection = s.connection
        JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = g.role AND r.category = 'contact'
        WHERE g.status IS DISTINCT FROM 'tobedeleted' AND (g.email IS NOT NULL OR g.phone IS NOT NULL)
    )
    SELECT s.connection, n.site, s.sourced_id::text AS sourced_id, l.person_id,
        coalesce(cardinality(s.agent_ids), 0) AS agents
    FROM minga_roster.staged_users s
    JOIN minga_roster.stages g ON g.connection = s.connection AND g.is_full AND g.has_contacts
    JOIN minga_roster.connections n ON n.connection = s.connection AND n.parent_contact
    JOIN minga_roster.role_rules r ON r.sis = n.sis AND r.roster_role = s.role AND r.category = 'student'
    LEFT JOIN minga_roster.links l ON l.connection = s.connection AND l.sourced_id = s.sourced_id
    LEFT JOIN reachable h ON h.connection = s.connection AND h.sourced_id = s.sourced_id
    WHERE n.retired_at IS NULL AND coalesce(s.status, 'active') = 'active' AND s.enabled AND h.sourced_id IS NULL;
COMMENT ON VIEW roster_students_without_guardian IS
'Active students of the latest fetch without a guardian, parent or relative who has an email address or phone number. '
'Only for connections with parent_contact, because the others do not read contacts.';
COMMENT ON COLUMN roster_students_without_guardian.agents IS
'How many agents the SIS names for the student; 0 for none.';

CREATE VIEW roster_same_names WITH (security_invoker = true) AS
    SELECT l.connection, c.site, c.run, c.category, c.sourced_ids, c.after ->> 'given_name' AS given_name,
        c.after ->> 'family_name' AS family_name,
        c.after ->> 'identifier' AS identifier, c.after ->> 'email' AS email, c.person_id, n.id AS same_name, c.state
    FROM minga_roster_internal.latest_plans l
    JOIN minga_roster.changes c ON c.run = l.run AND c.action = 'create'
    CROSS JOIN LATERAL unnest(c.same_name) n (id);
COMMENT ON VIEW roster_same_names IS
'New people in each connection''s latest plan who have the same name and family of roles as an active person without '
'an identifier or email address. They may be one person listed twice, or two people with one name. Shows names and '
'addresses.';
COMMENT ON COLUMN roster_same_names.person_id IS 'The new person; NULL until the change is carried out.';
COMMENT ON COLUMN roster_same_names.same_name IS 'person_id of the existing person with that name.';
