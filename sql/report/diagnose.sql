-- The diagnosis of a SIS: what its rows are like, counted from the stage, and the text that a school can send to its
-- vendor. Shows no personal data: only numbers, roles known to OneRoster, and schools.

CREATE FUNCTION minga_roster_internal.share_in_words(part bigint, whole bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s of %s', part, whole) || CASE WHEN part > 0 AND whole > 0
        THEN format(' (%s %%)', round(100.0 * part / whole, 1)) ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.share_in_words(bigint, bigint) IS '"12 of 1204 (1.0 %)".';

CREATE FUNCTION minga_roster_internal.statistics_of_classes(connection text, OUT nth integer, OUT finding text,
    OUT value text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
AS $$
    WITH session AS (
        SELECT s.sourced_id, coalesce(s.type, 'unknown') AS type, s.parent_id, s.start_date, s.end_date,
            s.start_date <= s.end_date AS has_dates
        FROM minga_roster.staged_academic_sessions s
        WHERE s.connection = statistics_of_classes.connection AND s.status IS DISTINCT FROM 'tobedeleted'
    ), class AS (
        SELECT k.sourced_id, k.class_type, k.term_ids, c.sourced_id IS NOT NULL AS has_course,
            cardinality(coalesce(k.term_ids, '{}')) > 0 AS has_terms
        FROM minga_roster.staged_classes k
        LEFT JOIN minga_roster.staged_courses c ON c.connection = k.connection AND c.sourced_id = k.course_id
            AND c.status IS DISTINCT FROM 'tobedeleted'
        WHERE k.connection = statistics_of_classes.connection AND k.status IS DISTINCT FROM 'tobedeleted'
    ), named AS (
        SELECT DISTINCT k.sourced_id
        FROM class k CROSS JOIN LATERAL unnest(k.term_ids) t (id) JOIN session s ON s.sourced_id = t.id COLLATE "C"
    ), enrollment AS MATERIALIZED (
        SELECT e.class_id, e.user_id, e.role, e.begin_date > e.end_date AS is_reversed,
            u.sourced_id IS NOT NULL AS has_user, k.sourced_id IS NOT NULL AS has_class,
            l.sourced_id IS NOT NULL AS is_linked, k.class_type
        FROM minga_roster.staged_enrollments e
        LEFT JOIN minga_roster.staged_users u ON u.connection = e.connection AND u.sourced_id = e.user_id
            AND u.status IS DISTINCT FROM 'tobedeleted'
        LEFT JOIN class k ON k.sourced_id = e.class_id
        LEFT JOIN minga_roster.links l ON l.connection = e.connection AND l.sourced_id = e.user_id
        WHERE e.connection = statistics_of_classes.connection AND e.status IS DISTINCT FROM 'tobedeleted'
    ), student AS (
        SELECT u.sourced_id, bool_or(e.user_id IS NOT NULL) AS has_class,
            coalesce(bool_or(e.class_type = 'homeroom'), false) AS has_homeroom
        FROM minga_roster.staged_users u
        LEFT JOIN enrollment e ON e.user_id = u.sourced_id AND e.role = 'student' AND e.has_class
        WHERE u.connection = statistics_of_classes.connection AND u.role = 'student'
            AND u.status IS DISTINCT FROM 'tobedeleted' AND u.outcome IS DISTINCT FROM 'forgotten'
        GROUP BY u.sourced_id
    ), overlap AS (
        SELECT count(*) AS pairs
        FROM session a JOIN session b ON b.type = a.type AND b.parent_id IS NOT DISTINCT FROM a.parent_id
            AND b.sourced_id > a.sourced_id AND b.has_dates AND b.start_date <= a.end_date
            AND b.end_date >= a.start_date
        WHERE a.has_dates
    ), object AS (
        SELECT 'terms' AS label, s.damaged, s.damaged_field, s.date_last_modified
        FROM minga_roster.staged_academic_sessions s WHERE s.connection = statistics_of_classes.connection
        UNION ALL
        SELECT 'courses', s.damaged, s.damaged_field, s.date_last_modified
        FROM minga_roster.staged_courses s WHERE s.connection = statistics_of_classes.connection
        UNION ALL
        SELECT 'classes', s.damaged, s.damaged_field, s.date_last_modified
        FROM minga_roster.staged_classes s WHERE s.connection = statistics_of_classes.connection
        UNION ALL
        SELECT 'enrollments', s.damaged, s.damaged_field, s.date_last_modified
        FROM minga_roster.staged_enrollments s WHERE s.connection = statistics_of_classes.connection
    ), unreadable AS (
        SELECT o.label, count(*) AS rows, string_agg(DISTINCT o.damaged_field, ', ') AS fields
        FROM object o
        WHERE o.damaged OR o.damaged_field IS NOT NULL
        GROUP BY o.label
    ), undated AS (
        SELECT o.label, count(*) AS rows
        FROM object o
        WHERE o.date_last_modified IS NULL
        GROUP BY o.label
    ), measure AS (
        SELECT 2 AS nth, 'terms without usable dates' AS what, count(*) FILTER (WHERE s.has_dates IS NOT TRUE) AS part,
            count(*) AS whole, true AS strict, 'OneRoster requires startDate and endDate. A term without dates, or one '
                'that ends before it begins, counts as current. The school corrects the dates in its SIS.' AS hint
        FROM session s
        UNION ALL
        SELECT 4, 'classes without terms', count(*) FILTER (WHERE NOT k.has_terms), count(*), true,
            'OneRoster requires at least one. A class without a term counts as current until the SIS no longer lists '
            'it. Ask the SIS vendor.'
        FROM class k
        UNION ALL
        SELECT 5, 'classes of unknown terms', count(*) FILTER (WHERE k.has_terms AND n.sourced_id IS NULL), count(*),
            true, 'No term that they name is listed, so they count as current. Ask the SIS vendor to list all terms.'
        FROM class k LEFT JOIN named n ON n.sourced_id = k.sourced_id
        UNION ALL
        SELECT 6, 'classes without a listed course', count(*) FILTER (WHERE NOT k.has_course), count(*), false,
            'They have no course title. If no class has a course, ask the SIS vendor.'
        FROM class k
        UNION ALL
        SELECT 7, 'classes without a teacher', count(*) FILTER (WHERE t.class_id IS NULL), count(*), false,
            'If no class has a teacher, the key may not see the enrollments of teachers. Ask the district''s SIS '
            'administrator.'
        FROM class k LEFT JOIN (SELECT DISTINCT e.class_id FROM enrollment e WHERE e.role = 'teacher') t
            ON t.class_id = k.sourced_id
        UNION ALL
        SELECT 9, 'enrollments with a role unknown to OneRoster', count(*) FILTER (WHERE e.role IS NULL
            OR e.role NOT IN ('student', 'teacher', 'aide', 'administrator', 'proctor')), count(*), true,
            'They are kept, and are in no class list. Ask the SIS vendor which roles it sends.'
        FROM enrollment e
        UNION ALL
        SELECT 10, 'enrollments that end before they begin', count(*) FILTER (WHERE e.is_reversed), count(*), true,
            'They are never valid, so the people are in no class list. The school corrects the dates in its SIS.'
        FROM enrollment e
        UNION ALL
        SELECT 11, 'students without classes', count(*) FILTER (WHERE NOT s.has_class), count(*), false,
            'If no student has a class, the key may not see the enrollments of students, or students are not '
            'scheduled yet. Ask the district''s SIS administrator.'
        FROM student s
    )
    SELECT 1, 'terms and school years', count(*)::text, count(*) > 0,
        (SELECT string_agg(format('%s %s', t.number, t.type), ', ' ORDER BY t.type)
            FROM (SELECT CASE WHEN s.type IN ('term', 'semester', 'schoolyear', 'gradingperiod') THEN s.type
                ELSE 'of another type' END AS type, count(*) AS number FROM session s GROUP BY 1) t) || '.',
        CASE WHEN count(*) = 0 THEN 'Without terms all classes count as current. Ask the district''s SIS administrator '
            'to share them with this connection.' END
    FROM session
    UNION ALL
    SELECT m.nth, m.what, minga_roster_internal.share_in_words(m.part, m.whole),
        CASE WHEN m.part = 0 THEN true WHEN m.strict OR m.part = m.whole THEN false END, NULL,
        CASE WHEN m.part > 0 THEN m.hint END
    FROM measure m WHERE m.whole > 0
    UNION ALL
    SELECT 3, 'terms that overlap', minga_roster_internal.counted(o.pairs, 'pair'), o.pairs = 0,
        'Of one type in the same school year.',
        CASE WHEN o.pairs > 0 THEN 'On days that two terms share, the classes of both are current. The school corrects '
            'the dates in its SIS, unless it has several schedules on purpose.' END
    FROM overlap o
    UNION ALL
    SELECT 8, 'enrollments that resolve', minga_roster_internal.share_in_words(e.resolved, e.whole),
        CASE WHEN e.whole = 0 THEN false WHEN e.resolved = e.whole THEN true WHEN e.resolved * 10 < e.whole * 9
            THEN false END,
        concat_ws(' ', format('%s name a user whom no list has, %s a class that no list has.', e.no_user, e.no_class),
            CASE WHEN e.linked > 0 THEN format('%s name a user who is linked to a person.', e.linked) END),
        CASE WHEN e.whole = 0 THEN 'No one is in a class. Ask the district''s SIS administrator to share enrollments '
                'with this connection.'
            WHEN e.resolved < e.whole THEN 'The key may not see all users or classes of the school. Ask the '
                'district''s SIS administrator what is shared with this connection.' END
    FROM (
        SELECT count(*) AS whole, count(*) FILTER (WHERE e.has_user AND e.has_class) AS resolved,
            count(*) FILTER (WHERE NOT e.has_user) AS no_user, count(*) FILTER (WHERE NOT e.has_class) AS no_class,
            count(*) FILTER (WHERE e.is_linked) AS linked
        FROM enrollment e
    ) e
    UNION ALL
    SELECT 12, 'students with a homeroom', minga_roster_internal.share_in_words(count(*) FILTER (WHERE s.has_homeroom),
            count(*)), NULL, NULL,
        CASE WHEN NOT bool_or(s.has_homeroom) THEN 'No class has the classType homeroom. If the school has homerooms, '
            'ask the SIS vendor how they are marked.' END
    FROM student s HAVING count(*) > 0
    UNION ALL
    SELECT 13, 'rows of classes that cannot be read cleanly', coalesce(sum(u.rows), 0)::text, count(*) = 0,
        string_agg(format('%s of %s%s', u.rows, u.label, ' (' || u.fields || ')'), ', ' ORDER BY u.label) || '.',
        CASE WHEN count(*) > 0 THEN 'A value that cannot be read counts as absent, and a row that was there before '
            'keeps its values. Ask the SIS vendor.' END
    FROM unreadable u
    UNION ALL
    SELECT 14, 'rows of classes without dateLastModified', coalesce(sum(u.rows), 0)::text, count(*) = 0,
        string_agg(format('%s of %s', u.rows, u.label), ', ' ORDER BY u.label) || '.',
        CASE WHEN count(*) > 0 THEN 'OneRoster requires it. Without it, changes cannot be requested by date: an '
            'evening with delta may not see them. Ask the SIS vendor.' END
    FROM undated u
$$;
COMMENT ON FUNCTION minga_roster_internal.statistics_of_classes(text) IS
'What the staged terms, classes and enrollments of a connection are like. Numbers only.';

CREATE FUNCTION minga_roster_internal.statistics_of_stage(run bigint, OUT part integer, OUT nth bigint,
    OUT finding text, OUT value text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '1MB'
AS $$
    WITH this AS (
        SELECT r.run, c.connection, c.sis, c.school_id, c.parent_contact OR c.contacts AS wants_contacts,
            c.birth_dates,
            coalesce(r.reduced_roles, '{}') AS reduced_roles,
            coalesce((SELECT p.columns ? 'grade' FROM minga_roster.people_relations p
                WHERE p.relation = c.people), false) AS has_grade
        FROM minga_roster.runs r JOIN minga_roster.connections c USING (connection)
        WHERE r.run = statistics_of_stage.run
    ), read AS (
        SELECT c.* FROM minga_roster.collections c WHERE c.run = statistics_of_stage.run
    ), school AS (
        SELECT o.sourced_id, left(coalesce(o.name, o.sourced_id), 80) AS name
        FROM this JOIN minga_roster.staged_orgs o USING (connection)
        WHERE lower(o.type) = 'school' OR o.type IS NULL OR o.sourced_id = this.school_id
    ), person AS (
        SELECT s.role, l.role AS known_role, coalesce(l.role, 'other role') AS shown_role,
            CASE WHEN l.category = 'student' THEN 'students' WHEN l.category = 'contact' THEN 'guardians'
                WHEN l.category IS NOT NULL THEN 'staff' END AS family,
            s.status, s.enabled, s.damaged, s.given_name, s.family_name, s.username, s.identifier,
                lower(s.email) AS email, s.grade,
            s.date_last_modified, s.sourced_id, s.org_ids, s.agent_ids, cardinality(s.roles) > 1 AS holds_several,
            this.has_grade
        FROM this
        JOIN minga_roster.staged_users s USING (connection)
        LEFT JOIN LATERAL (SELECT r.roster_role AS role, r.category FROM minga_roster.role_rules r
                           WHERE r.sis = this.sis AND r.roster_role = s.role) l ON true
        -- Rows of forgotten people are not as the SIS sent them.
        WHERE s.outcome IS DISTINCT FROM 'forgotten'
    ), by_org AS MATERIALIZED (
        SELECT org.id, p.shown_role, count(*) AS people
        FROM person p CROSS JOIN LATERAL (SELECT DISTINCT unnest(p.org_ids) COLLATE "C" AS id) org
        WHERE p.family IN ('students', 'staff')
        GROUP BY org.id, p.shown_role
    ), measure AS (
        SELECT p.family, m.place, m.what, m.strict, m.hint, count(*) FILTER (WHERE m.lacks) AS part, count(*) AS whole
        FROM person p
        CROSS JOIN LATERAL (VALUES
            (1, 'without email', p.email IS NULL, false, 'If no one has an email address, the district''s SIS '
                'administrator may not share the field with this connection.'),
            (2, 'without identifier', p.identifier IS NULL, false, 'The identifier is the number by which the school '
                'knows a person. Existing people are found by it.'),
            (3, 'without email and identifier', p.email IS NULL AND p.identifier IS NULL, true,
                'Existing people cannot be recognized, and would be created a second time.'),
            (4, 'without a given or family name', p.given_name IS NULL OR p.family_name IS NULL, true,
                'OneRoster requires both. No one is created without a name.'),
            (5, 'without dateLastModified', p.date_last_modified IS NULL, true,
                'OneRoster requires it. Without it, changes cannot be requested by date.'),
            (6, 'without grade', CASE WHEN p.family = 'students' AND p.has_grade THEN p.grade IS NULL END, false, NULL),
            (7, 'that cannot be read cleanly', p.damaged, true, 'Rows with invalid UTF-8, control characters or fields '
                'of the wrong type are not used. Ask the SIS vendor.')
        ) AS m (place, what, lacks, strict, hint)
        WHERE p.family IN ('students', 'staff') AND m.lacks IS NOT NULL
        GROUP BY p.family, m.place, m.what, m.strict, m.hint
    ), by_role AS (
        SELECT p.family, k.kind, k.key COLLATE "C" AS key, p.role, count(*) AS people
        FROM person p
        CROSS JOIN LATERAL (VALUES ('identifier', p.identifier), ('username', p.username),
            ('e-mail', p.email)) AS k (kind, key)
        WHERE k.key IS NOT NULL AND p.family IN ('students', 'staff')
        GROUP BY p.family, k.kind, k.key COLLATE "C", p.role
    ), by_key AS (
        SELECT r.family, r.kind, count(*) > 1 AS several_roles, max(r.people) > 1 AS twice_in_a_role
        FROM by_role r
        GROUP BY r.family, r.kind, r.key HAVING sum(r.people) > 1
    ), shared AS (
        SELECT f.family, k.kind, k.place, count(*) FILTER (WHERE b.several_roles) AS several_roles, count(*)
            FILTER (WHERE b.twice_in_a_role) AS twice_in_a_role
        FROM (VALUES ('students'), ('staff')) f (family)
        CROSS JOIN (VALUES (1, 'identifier'), (2, 'username'), (3, 'e-mail')) k (place, kind)
        LEFT JOIN by_key b ON b.family = f.family AND b.kind = k.kind
        GROUP BY f.family, k.kind, k.place
    ), agent AS (
        SELECT DISTINCT a.id COLLATE "C" AS id
        FROM person p CROSS JOIN LATERAL unnest(p.agent_ids) AS a (id)
        WHERE p.family = 'students'
    ), student AS (
        SELECT count(*) AS whole, count(*) FILTER (WHERE cardinality(p.agent_ids) > 0) AS with_agents
        FROM person p WHERE p.family = 'students'
    )
    SELECT 1, row_number() OVER (ORDER BY array_position(ARRAY['student', 'staff', 'contact', 'session', 'course',
            'class', 'enrollment', 'demographics'], c.family), c.collection),
        format('full list of %s', c.collection),
        CASE WHEN c.proof IS NULL THEN 'denied'
             WHEN c.claimed_total IS NULL THEN minga_roster_internal.counted(c.distinct_ids, 'row')
             ELSE format('%s rows, %s claimed', c.distinct_ids, c.claimed_total) END,
        CASE WHEN c.proof IS NULL AND c.family = 'contact' THEN NULL ELSE c.complete AND c.proof <> 'weak'
            AND c.proof IS NOT NULL END,
        concat_ws(' ', c.detail, CASE WHEN c.proof <> 'weak'
            THEN format('Read in %s; its end is proved by %s.', minga_roster_internal.counted(c.pages, 'page'),
                CASE c.proof WHEN 'total' THEN 'the claimed total' ELSE 'an empty page' END) END,
            CASE WHEN c.elsewhere > 0 AND c.family = 'contact'
                THEN format('%s belong to no student of this school.', c.elsewhere)
                 WHEN c.elsewhere > 0 AND c.family NOT IN ('student', 'staff')
                THEN format('%s are of another school.', c.elsewhere)
                 WHEN c.elsewhere > 0 THEN format('%s are of another school or role.', c.elsewhere) END),
        CASE WHEN c.proof IS NULL THEN 'Ask the school to share it (in Infinite Campus: Data to Share of the '
            'connection).'
             WHEN (NOT c.complete OR c.proof = 'weak') AND c.family IN ('student', 'staff', 'contact')
                 THEN 'No one is archived by a list whose end is not proved. Ask the SIS vendor.'
             WHEN NOT c.complete OR c.proof = 'weak'
                 THEN 'Nothing ends by a list whose end is not proved. Ask the SIS vendor.' END
    FROM read c
    UNION ALL
    SELECT 2, 1, 'rows listed twice', r.twice::text, r.twice = 0, NULL,
        CASE WHEN r.twice > 0 THEN 'Each ID must be listed once. Ask the SIS vendor whether the order is stable.' END
    FROM (SELECT coalesce(sum(c.rows - c.without_id - c.distinct_ids), 0) AS twice FROM read c) r
    UNION ALL
    SELECT 2, 2, 'rows without sourcedId', r.without_id::text, r.without_id = 0, NULL,
        CASE WHEN r.without_id > 0
            THEN 'OneRoster requires it. A row without one cannot be tracked. Ask the SIS vendor.' END
    FROM (SELECT coalesce(sum(c.without_id), 0) AS without_id FROM read c) r
    UNION ALL
    SELECT 3, 1, 'schools that the key can see', count(*)::text, NULL,
        CASE WHEN count(*) = 0 THEN 'The key cannot list schools.' END, NULL FROM school
    UNION ALL
    SELECT 4, row_number() OVER (ORDER BY count(*) DESC, p.shown_role), format('role %s', p.shown_role), count(*)::text,
        CASE WHEN p.known_role IS NULL THEN false END,
        CASE WHEN p.known_role IS NULL
            THEN 'The role is missing, or unknown to OneRoster and to this connection''s preset.' END,
        CASE WHEN p.known_role IS NULL THEN 'These people count as present and are otherwise ignored. The DBA '
            'can add a row to role_rules.' END
    FROM person p GROUP BY p.known_role, p.shown_role
    UNION ALL
    SELECT 5, row_number() OVER (ORDER BY o.own DESC, o.people DESC, o.name), format('people of %s', o.name), o.roles,
        NULL,
        CASE WHEN NOT o.own THEN 'People of this school who are also there.' END, NULL
    FROM (SELECT c.sourced_id, c.name, c.sourced_id = this.school_id AS own, sum(c.people) AS people,
              string_agg(format('%s %s', c.people, c.shown_role), ', ' ORDER BY c.people DESC, c.shown_role) AS roles
          FROM this CROSS JOIN (SELECT s.sourced_id, s.name, b.shown_role, b.people FROM by_org b JOIN school s
              ON s.sourced_id = b.id) c
          GROUP BY c.sourced_id, c.name, this.school_id
          ORDER BY own DESC, people DESC, c.name LIMIT 50) o
    UNION ALL
    SELECT CASE m.family WHEN 'students' THEN 6 ELSE 7 END, m.place, format('%s %s', m.family, m.what),
        minga_roster_internal.share_in_words(m.part, m.whole),
        CASE WHEN m.part = 0 THEN true WHEN m.strict OR m.part = m.whole THEN false END, NULL,
            CASE WHEN m.part > 0 THEN m.hint END
    FROM measure m
    UNION ALL
    SELECT 8, 1, 'people marked as gone or disabled', count(*)
        FILTER (WHERE p.status = 'tobedeleted' OR NOT p.enabled)::text, NULL,
        format('%s with status tobedeleted, %s with enabledUser false.', count(*)
            FILTER (WHERE p.status = 'tobedeleted'), count(*) FILTER (WHERE NOT p.enabled)), NULL
    FROM person p
    UNION ALL
    SELECT 8, 2, 'staff in several roles', coalesce(max(s.several_roles), 0)::text, NULL,
        'By a shared ' || string_agg(format('%s: %s', s.kind, s.several_roles), ', ' ORDER BY s.place) || '.',
        CASE WHEN max(s.several_roles) > 0 THEN 'Rows that share an identifier or username are one person; rows that '
            'share only an email address are not.' END
    FROM shared s WHERE s.family = 'staff'
    UNION ALL
    SELECT 8, 3, 'people with several roles in one row', count(*) FILTER (WHERE p.holds_several)::text, NULL, NULL, NULL
        FROM person p
    UNION ALL
    SELECT 8, CASE s.family WHEN 'students' THEN 4 ELSE 5 END, format('%s who share a key in one role', s.family),
        max(s.twice_in_a_role)::text, max(s.twice_in_a_role) = 0,
        'By ' || string_agg(format('%s: %s', s.kind, s.twice_in_a_role), ', ' ORDER BY s.place) || '.',
        CASE WHEN max(s.twice_in_a_role) > 0 THEN 'Rows of one role with the same identifier or username become '
            'conflicts and are not used; a shared email address identifies no one. The school corrects them in its SIS.'
            END
    FROM shared s GROUP BY s.family
    UNION ALL
    SELECT 9, 1, 'students with guardians', minga_roster_internal.share_in_words(s.with_agents, s.whole),
        CASE WHEN s.with_agents > 0 THEN true END, NULL,
        CASE WHEN s.with_agents = 0 THEN 'Contacts are known only if the SIS names guardians as agents of the '
            'students. Ask the SIS vendor.' END
    FROM student s CROSS JOIN this WHERE s.whole > 0 AND this.wants_contacts
    UNION ALL
    SELECT 9, 2, 'guardians reachable',
        CASE WHEN this.wants_contacts THEN minga_roster_internal.share_in_words(a.found, a.named) ELSE 'not read' END,
        CASE WHEN this.wants_contacts AND a.named > 0 THEN a.found = a.named END,
        CASE WHEN this.wants_contacts THEN 'Of the guardians named by students, this many are listed.'
            ELSE 'Parent contacts are off for this connection.' END,
        CASE WHEN this.wants_contacts AND a.found < a.named THEN 'The others are named by sourcedId but not listed. '
            'Ask the SIS vendor, or ask the district which contacts it shares.' END
    FROM this CROSS JOIN (
        SELECT (SELECT count(*) FROM agent) AS named,
            (SELECT count(*) FROM (SELECT agent.id FROM agent INTERSECT SELECT p.sourced_id
                FROM person p) listed) AS found) a
    UNION ALL
    SELECT 9, 3, 'birth dates of users of this school', minga_roster_internal.share_in_words(d.joined, d.listed),
        CASE WHEN d.listed > 0 THEN d.joined > 0 AND d.damaged = 0 END,
        concat_ws(' ', format('%s of demographics are of no user of a rostered category; these were deleted at once.',
                minga_roster_internal.counted(d.listed - d.joined, 'row')),
            CASE WHEN d.damaged > 0 THEN format('%s cannot be read as a birth date.', d.damaged) END),
        CASE WHEN d.listed > 0 AND d.joined = 0 THEN 'Demographics have other IDs than users (Infinite Campus in '
                'OneRoster 1.1: the person GUID), so no birth date is written. Ask the SIS vendor for the GUID in '
                'userIds, or use OneRoster 1.2.'
            WHEN d.damaged > 0 THEN 'Ask the SIS vendor. A birth date is written as 2010-05-31.' END
    FROM this
    JOIN (
        SELECT o.run, o.listed, o.damaged, o.listed - o.unknown_user - o.not_chosen AS joined
        FROM minga_roster.run_objects o WHERE o.object = 'demographics'
    ) d ON d.run = this.run
    WHERE this.birth_dates
    UNION ALL
    SELECT 9, 3 + row_number() OVER (ORDER BY m.family DESC, m.column_name),
        format('%s with %s from %s', m.family, m.column_name, m.path),
        minga_roster_internal.share_in_words(m.part, m.whole), m.part > 0, NULL,
        CASE WHEN m.part < m.whole THEN 'A row that has nothing at this path has no value for the column, and its '
            'field of OneRoster is not read. Ask the SIS vendor, or change the path with roster_map_column.' END
    FROM (
        SELECT p.column_name, p.path, CASE r.category WHEN 'student' THEN 'students' ELSE 'staff' END AS family,
            count(*) AS whole, count(to_jsonb(s) ->> p.column_name) AS part
        FROM this
        JOIN minga_roster.column_paths p ON p.connection = this.connection
        JOIN minga_roster.staged_users s ON s.connection = this.connection AND s.outcome IS DISTINCT FROM 'forgotten'
        JOIN minga_roster.role_rules r ON r.sis = this.sis AND r.roster_role = s.role AND r.category <> 'contact'
        WHERE s.role <> ALL (this.reduced_roles)
        GROUP BY 1, 2, 3
    ) m
    UNION ALL
    SELECT 10, o.nth, o.finding, o.value, o.ok, o.detail, o.hint
    FROM this
    JOIN minga_roster.connections c ON c.connection = this.connection AND c.classes
    CROSS JOIN LATERAL minga_roster_internal.statistics_of_classes(this.connection) o
$$;
COMMENT ON FUNCTION minga_roster_internal.statistics_of_stage(bigint) IS
'What the staged rows of a diagnosis are like: lists, schools, roles, missing values, people with several roles or '
'shared keys, guardians, classes. Numbers only.';

CREATE FUNCTION minga_roster_internal.store_facts(run bigint, last_position integer) RETURNS integer
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT row_number() OVER (ORDER BY f.fact) AS nth, w.finding, f.value, w.detail, w.hint
        FROM minga_roster.server_facts f
        JOIN (VALUES
            ('fields', 'known: fields', 'The SIS rejects requests that name fields, so full rows are requested.',
             'Other fields are not stored. Ask the SIS vendor to support the fields parameter of OneRoster.'),
            ('limit', 'known: largest page', 'The SIS rejects larger pages, so pages of this size are requested.',
             'Set roster_configure(page_size => ...) to it, or ask the SIS vendor for the largest page.'),
            ('order', 'known: descending order',
                'A list cannot be read from its end, where the last row would prove that it was read completely.',
             'Ask the SIS vendor to support sort with orderBy=desc, or X-Total-Count.'),
            ('overlap', 'known: offset inside a list',
                'The SIS serves only offsets at page boundaries, so a list that moves during the read cannot be '
                    'detected.',
             'Without X-Total-Count, a list of several pages is not proved complete. Ask the SIS vendor for it.'),
            ('paging', 'known: paging',
                'limit and offset do not work as OneRoster specifies. Lists are read anyway.',
             'Ask the SIS vendor to make offset and limit count rows.'),
            ('sort', 'known: sort', 'The SIS rejects requests that name an order, so lists come in the order of the '
                'SIS.',
             'Ask the SIS vendor to support the sort parameter of OneRoster.')) AS w (fact, finding, detail, hint)
                 USING (fact)
        WHERE f.connection = (SELECT r.connection FROM minga_roster.runs r WHERE r.run = store_facts.run)
    ), stored AS (
        INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint)
        SELECT store_facts.run, store_facts.last_position + k.nth, k.finding, k.value, false, k.detail, k.hint
        FROM known k
    )
    SELECT store_facts.last_position + count(*)::integer FROM known
$$;
COMMENT ON FUNCTION minga_roster_internal.store_facts(bigint, integer) IS
'Adds the known limits of the SIS to the findings of a diagnosis; returns the last position.';

CREATE FUNCTION minga_roster_internal.store_statistics(run bigint, last_position integer) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO minga_roster.findings (run, position, finding, value, ok, detail, hint)
    SELECT store_statistics.run, store_statistics.last_position + row_number() OVER (ORDER BY s.part, s.nth), s.finding,
        s.value, s.ok, nullif(s.detail, ''), s.hint
    FROM minga_roster_internal.statistics_of_stage(store_statistics.run) s
$$;
COMMENT ON FUNCTION minga_roster_internal.store_statistics(bigint, integer) IS
'Adds the statistics of the stage to the findings of a diagnosis, after last_position.';

CREATE FUNCTION minga_roster_internal.do_diagnosis(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT integer := 78;
    diagnosed minga_roster.runs := minga_roster_internal.known_run(run);
    facts text;
    wrong text;
    found text;
BEGIN
    IF diagnosed.kind <> 'diagnose' THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s is not a diagnosis', diagnosed.run),
            DETAIL = format('Its kind is "%s".', diagnosed.kind),
            HINT = format('Run one with SELECT * FROM minga_roster.roster_diagnose(%L); see this run with '
                'roster_report(%s).', diagnosed.connection, diagnosed.run);
    END IF;
    SELECT string_agg(rpad(f.label || ':', 12) || array_to_string(minga_roster_internal.wrapped(f.value, width - 12),
        E'\n' || repeat(' ', 12)) || E'\n', '' ORDER BY f.place)
    INTO facts
    FROM (SELECT c.*, s.title, minga_roster_internal.usable_zone(c.time_zone) AS zone,
              left(c.school_name, 80) AS listed_as
          FROM (VALUES (diagnosed.connection)) asked (connection)
          LEFT JOIN minga_roster.connections c ON c.connection = asked.connection AND c.site = diagnosed.site
          LEFT JOIN minga_roster.sis s USING (sis)) c
    CROSS JOIN LATERAL (VALUES
        (1, 'Server', substring(c.base_url FROM '^[a-z]+://([^/?#@]+)(?:[/?#]|$)')),
        (2, 'Product', format('%s (preset "%s")', c.title, c.sis)),
        (3, 'School', CASE WHEN c.listed_as IS NULL THEN c.school_id
            ELSE format('%s (%s)', c.listed_as, c.school_id) END),
        (4, 'Examined', format('%s %s, %s; run %s',
            minga_roster_internal.local_minute(coalesce(diagnosed.started_at, diagnosed.queued_at), c.zone),
            c.zone,
            coalesce('took ' || minga_roster_internal.duration_in_words(diagnosed.finished_at - diagnosed.started_at),
                diagnosed.state), diagnosed.run)),
        (5, 'Asked', format('%s, %s repeated, %s KB read',
            minga_roster_internal.counted(diagnosed.requests, 'request'), diagnosed.retries,
            (diagnosed.bytes + 1023) / 1024)),
        (6, 'Client', format('minga_roster %s on PostgreSQL %s',
            (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'minga_roster'),
            split_part(current_setting('server_version'), ' ', 1)))
        ) AS f (place, label, value)
    WHERE c.connection IS NOT NULL AND f.value IS NOT NULL;

    SELECT string_agg(format(E'%s: %s\n', f.finding, f.value)
            || (SELECT coalesce(string_agg('    ' || array_to_string(minga_roster_internal.wrapped(t.line, width - 4),
                E'\n    ') || E'\n', '' ORDER BY t.place), '')
                FROM (VALUES (1, f.detail), (2, f.hint)) t (place, line) WHERE t.line <> ''), E'\n' ORDER BY f.position)
        INTO wrong
    FROM minga_roster.findings f WHERE f.run = diagnosed.run AND NOT f.ok;
    SELECT string_agg(format('%s %s', CASE WHEN f.ok THEN 'ok' WHEN NOT f.ok THEN ' !' ELSE '  ' END,
            array_to_string(minga_roster_internal.wrapped(format('%s: %s%s', f.finding, f.value,
                CASE WHEN f.ok IS NOT FALSE THEN '. ' || f.detail ELSE '' END), width - 3), E'\n   '))
            || E'\n', '' ORDER BY f.position)
        INTO found
    FROM minga_roster.findings f WHERE f.run = diagnosed.run;

    RETURN minga_roster_internal.readable_lines('Diagnosis of a OneRoster service' || E'\n\n'
        || coalesce(facts || E'\n', '')
        || CASE WHEN diagnosed.state = 'succeeded' THEN ''
            ELSE format(E'The diagnosis is %s. What it found so far:\n\n', diagnosed.state) END
        || E'Problems\n--------\n'
            || coalesce(wrong, CASE WHEN found IS NULL THEN E'The diagnosis found nothing.\n' ELSE E'None.\n' END)
        || coalesce(E'\nAll findings (! marks the problems above)\n-----------------------------------------\n'
            || found, '')
        || E'\nThis text names no one. It holds only numbers and names of schools.\n');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_diagnosis(bigint) IS 'Implements roster_diagnosis.';

CREATE FUNCTION roster_diagnosis(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_diagnosis(bigint) IS
'The findings of a diagnosis as text that a school can send to its SIS vendor: server, product, dates, times and '
'findings, and no name, ID or address of a person. 42704 for an unknown run, 55000 for a run that is not a diagnosis.';
