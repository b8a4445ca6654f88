-- Objects: what kinds there are, which rows of them the stage has, and which terms and classes a connection chooses.
-- What a run calls is PL/pgSQL, since SQL functions are planned at each call.

CREATE FUNCTION minga_roster_internal.objects(connection connections, OUT nth integer, OUT object text,
    OUT families text[], OUT relation text, OUT keys text[], OUT columns text[], OUT lasting text[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT o.nth, o.object, o.families, o.relation, o.keys, o.columns,
        CASE o.object WHEN 'enrollment' THEN ARRAY['user_id', 'class_id', 'role'] WHEN 'contact' THEN ARRAY['is_chosen']
            ELSE '{}' END
    FROM (VALUES
        (1, 'academic_session', ARRAY['session'], 'academic_sessions', ARRAY['sourced_id'],
            ARRAY['title', 'type', 'start_date', 'end_date', 'school_year', 'parent_id'], connection.classes),
        (2, 'class', ARRAY['class'], 'classes', ARRAY['sourced_id'],
            ARRAY['title', 'class_code', 'class_type', 'location', 'grades', 'subjects', 'periods', 'course_id',
                'term_ids'], connection.classes),
        (3, 'course', ARRAY['course'], 'courses', ARRAY['sourced_id'],
            ARRAY['title', 'course_code', 'grades', 'subjects'], connection.classes),
        (4, 'enrollment', ARRAY['enrollment'], 'enrollment_rows', ARRAY['sourced_id'],
            ARRAY['user_id', 'class_id', 'role', 'is_primary', 'begin_date', 'end_date'], connection.classes),
        (5, 'user', ARRAY['student', 'staff'], 'user_rows', ARRAY['sourced_id'],
            ARRAY['role', 'status', 'enabled', 'given_name', 'family_name', 'middle_name', 'preferred_name', 'username',
                'identifier', 'email', 'phone', 'grade'], connection.classes OR connection.contacts),
        (6, 'contact', ARRAY['student', 'contact'], 'contact_rows', ARRAY['student_id', 'sourced_id'],
            ARRAY['position', 'role', 'given_name', 'family_name', 'email', 'phone', 'sms', 'relationship',
                'is_guardian', 'is_chosen'], connection.contacts)
    ) AS o (nth, object, families, relation, keys, columns, is_wanted)
    WHERE o.is_wanted
    ORDER BY o.nth;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.objects(connections) IS
'The kinds of objects that a connection rosters, in the order in which they are planned: of which families their lists '
'are, the table, its key and the columns that come from the SIS; lasting: those of them that keep the value that they '
'have while the SIS has none.';

CREATE FUNCTION minga_roster_internal.object_source(object text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN CASE object
        WHEN 'academic_session' THEN
            'SELECT s.*, ''''::text AS student_id FROM minga_roster.staged_academic_sessions s
            WHERE s.connection = $1 AND s.status IS DISTINCT FROM ''tobedeleted'''
        WHEN 'course' THEN
            'SELECT s.*, ''''::text AS student_id FROM minga_roster.staged_courses s
            WHERE s.connection = $1 AND s.status IS DISTINCT FROM ''tobedeleted''
                AND s.sourced_id IN (SELECT k.course_id FROM plan_classes k WHERE k.is_chosen AND k.is_known
                    AND k.sourced_id NOT IN (
                        SELECT p.sourced_id FROM plan_objects p WHERE p.object = ''class'' AND p.action = ''end''))'
        WHEN 'class' THEN
            'SELECT s.*, ''''::text AS student_id FROM minga_roster.staged_classes s
            JOIN plan_classes k ON k.sourced_id = s.sourced_id AND k.is_chosen
            WHERE s.connection = $1 AND s.status IS DISTINCT FROM ''tobedeleted'''
        WHEN 'enrollment' THEN
            -- Most nights leave out no class, and then this asks nothing of a row.
            'SELECT s.*, ''''::text AS student_id FROM minga_roster.staged_enrollments s
            WHERE s.connection = $1 AND s.status IS DISTINCT FROM ''tobedeleted'' AND (s.class_id IN (
                SELECT k.sourced_id FROM plan_classes k WHERE NOT k.is_chosen)) IS NOT TRUE'
        WHEN 'user' THEN
            'SELECT s.*, ''''::text AS student_id FROM minga_roster.staged_users s
            JOIN plan_rules r ON r.roster_role = s.role AND r.rostered AND r.family <> ''contact''
            WHERE s.connection = $1 AND s.status IS DISTINCT FROM ''tobedeleted''
                AND s.outcome IS DISTINCT FROM ''forgotten'''
        WHEN 'contact' THEN
            -- Agents are unnested as in choose_parents.
            'SELECT DISTINCT ON (s.sourced_id, g.sourced_id) s.sourced_id AS student_id, g.sourced_id,
                s.position, CASE WHEN gr.family = ''contact'' THEN g.role ELSE (SELECT r.roster_role FROM plan_rules r
                    WHERE r.family = ''contact'' AND r.roster_role = ANY (g.roles)
                    ORDER BY r.rank, r.roster_role LIMIT 1) END AS role,
                g.given_name, g.family_name, g.email, g.phone, g.sms,
                n.type AS relationship, n.guardian AS is_guardian,
                CASE WHEN p.sourced_id IS NOT NULL THEN p.contact_id IS NOT DISTINCT FROM g.sourced_id END AS is_chosen,
                g.damaged
            FROM (SELECT u.sourced_id, unnest(u.agent_ids) COLLATE "C" AS agent_id,
                    generate_subscripts(u.agent_ids, 1) AS position
                FROM minga_roster.staged_users u
                JOIN plan_rules r ON r.roster_role = u.role AND r.family = ''student'' AND r.rostered
                WHERE u.connection = $1 AND u.status IS DISTINCT FROM ''tobedeleted''
                    AND u.outcome IS DISTINCT FROM ''forgotten'') s
            JOIN minga_roster.staged_users g ON g.connection = $1 AND g.sourced_id = s.agent_id
            JOIN plan_rules gr ON gr.roster_role = g.role
            LEFT JOIN plan_relationships n ON n.one = s.sourced_id AND n.other = g.sourced_id
            LEFT JOIN plan_parents p ON p.sourced_id = s.sourced_id
            -- In OneRoster 1.2 a teacher who is a parent is one user with two roles.
            WHERE (gr.family = ''contact'' OR (gr.rostered AND g.roles && (
                    SELECT array_agg(r.roster_role) FROM plan_rules r WHERE r.family = ''contact'')))
                AND g.status IS DISTINCT FROM ''tobedeleted'' AND g.outcome IS DISTINCT FROM ''forgotten''
            ORDER BY s.sourced_id, g.sourced_id, s.position'
    END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.object_source(text) IS
'The query for the rows of a kind that the roster has tonight, of the connection $1. Courses are those of the classes '
'that are planned to go on. is_chosen of contacts is NULL if tonight''s lists do not tell it.';

CREATE FUNCTION minga_roster_internal.grade_key(grade text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT regexp_replace(upper(btrim(grade)), '^0+(?=.)', '')
$$;
COMMENT ON FUNCTION minga_roster_internal.grade_key(text) IS
'A grade as it is compared: "09" and "9" are one, "k" is "K".';

CREATE FUNCTION minga_roster_internal.choose_classes(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    ahead CONSTANT integer := minga_roster_internal.days_ahead(connection);
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    chosen CONSTANT text[] := ARRAY(SELECT lower(btrim(t)) FROM unnest(connection.class_terms) t);
    chosen_grades CONSTANT text[] := ARRAY(
        SELECT minga_roster_internal.grade_key(g) FROM unnest(connection.class_grades) g);
BEGIN
    -- A term that was not listed tonight, or cannot be read, is as it was. So is one that has ended: its classes may
    -- still be listed. One that ends before it begins has no dates.
    INSERT INTO plan_sessions (sourced_id, is_known, is_chosen, is_over, is_year)
    SELECT t.sourced_id, t.is_known,
        CASE WHEN chosen = '{all}' THEN true
            WHEN chosen = '{current}' THEN coalesce(t.start_date - ahead <= today, true)
                AND coalesce(t.end_date >= today, true)
            ELSE coalesce(lower(t.sourced_id COLLATE "default") = ANY (chosen), false)
                OR coalesce(lower(btrim(t.title)) = ANY (chosen), false) END,
        coalesce(t.end_date < today, false), t.type IS NOT DISTINCT FROM 'schoolyear'
    FROM (
        SELECT n.sourced_id, n.title, n.type, n.is_known, CASE WHEN n.start_date <= n.end_date IS NOT FALSE
            THEN n.start_date END AS start_date, CASE WHEN n.start_date <= n.end_date IS NOT FALSE
            THEN n.end_date END AS end_date
        FROM (
            SELECT s.sourced_id, s.title, s.type, s.start_date, s.end_date, true AS is_known
            FROM minga_roster.staged_academic_sessions s
            WHERE s.connection = choose_classes.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
                AND NOT (s.damaged AND EXISTS (SELECT FROM minga_roster.academic_sessions c
                    WHERE c.connection = s.connection AND c.sourced_id = s.sourced_id AND c.ended_at IS NULL))
            UNION ALL
            SELECT c.sourced_id, c.title, c.type, c.start_date, c.end_date, c.ended_at IS NULL
            FROM minga_roster.academic_sessions c
            LEFT JOIN minga_roster.staged_academic_sessions s ON s.connection = c.connection
                AND s.sourced_id = c.sourced_id AND s.status IS DISTINCT FROM 'tobedeleted'
            WHERE c.connection = choose_classes.connection.connection
                AND (s.sourced_id IS NULL OR (s.damaged AND c.ended_at IS NULL))
        ) n
    ) t;

    -- The terms of all classes are looked up at once: a join for each class would read each term for each class.
    INSERT INTO plan_classes (sourced_id, course_id, is_listed, is_known, is_chosen, is_over)
    WITH k (sourced_id, course_id, is_listed, is_known, is_doubtful, grades, term_ids) AS MATERIALIZED (
        -- One that cannot be read keeps the values that it had. One that has ended may still have enrollments listed.
        SELECT s.sourced_id, s.course_id, true, true, false, s.grades, s.term_ids
        FROM minga_roster.staged_classes s
        WHERE s.connection = choose_classes.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND NOT (s.damaged AND EXISTS (SELECT FROM minga_roster.classes c
                WHERE c.connection = s.connection AND c.sourced_id = s.sourced_id AND c.ended_at IS NULL))
        UNION ALL
        SELECT c.sourced_id, c.course_id, s.sourced_id IS NOT NULL, c.ended_at IS NULL, false, c.grades, c.term_ids
        FROM minga_roster.classes c
        LEFT JOIN minga_roster.staged_classes s ON s.connection = c.connection AND s.sourced_id = c.sourced_id
            AND s.status IS DISTINCT FROM 'tobedeleted'
        WHERE c.connection = choose_classes.connection.connection
            AND (s.sourced_id IS NULL OR (s.damaged AND c.ended_at IS NULL))
        UNION ALL
        -- It is chosen by what can be read of it, too: that would bring it back on the night after it ended.
        SELECT s.sourced_id, NULL, NULL, NULL, true, s.grades, s.term_ids
        FROM minga_roster.staged_classes s
        JOIN minga_roster.classes c ON c.connection = s.connection AND c.sourced_id = s.sourced_id
        WHERE s.connection = choose_classes.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND s.damaged AND c.ended_at IS NULL
    ), judged AS (
        SELECT k.sourced_id, k.course_id, k.is_listed, k.is_known, k.is_doubtful,
            (chosen_grades = '{}' OR k.grades IS NULL
                OR chosen_grades && ARRAY(SELECT minga_roster_internal.grade_key(g) FROM unnest(k.grades) g))
                AND t.is_chosen IS NOT FALSE AS is_chosen,
            coalesce(t.is_over, false) AS is_over
        FROM k
        LEFT JOIN (
            -- A class of a semester is no class of the whole school year, if it names both.
            SELECT i.class_id, i.is_doubtful,
                CASE WHEN chosen = '{current}' AND NOT bool_and(p.is_year)
                    THEN bool_or(p.is_chosen AND NOT p.is_year) ELSE bool_or(p.is_chosen) END AS is_chosen,
                coalesce(bool_and(p.is_over) FILTER (WHERE NOT p.is_year), bool_and(p.is_over)) AS is_over
            FROM (SELECT k.sourced_id, k.is_doubtful, unnest(k.term_ids) COLLATE "C" FROM k)
                i (class_id, is_doubtful, term_id)
            JOIN plan_sessions p ON p.sourced_id = i.term_id
            GROUP BY i.class_id, i.is_doubtful
        ) t ON t.class_id = k.sourced_id AND t.is_doubtful = k.is_doubtful
    )
    SELECT j.sourced_id, j.course_id, j.is_listed, j.is_known,
        j.is_chosen OR j.sourced_id IN (SELECT o.sourced_id FROM judged o WHERE o.is_doubtful AND o.is_chosen),
        j.is_over
    FROM judged j WHERE NOT j.is_doubtful;
    PERFORM minga_roster_internal.analyze_if_large('plan_classes', 'sourced_id');

    -- A choice that fits nothing at all is no evidence that classes are over.
    IF (NOT chosen <@ '{current,all}' AND EXISTS (SELECT FROM plan_sessions)
            AND NOT EXISTS (SELECT FROM plan_sessions p WHERE p.is_chosen))
        OR (chosen_grades <> '{}' AND (
            SELECT NOT bool_or(chosen_grades && ARRAY(
                SELECT minga_roster_internal.grade_key(g) FROM unnest(k.grades) g))
            FROM (
                SELECT s.grades FROM minga_roster.staged_classes s
                WHERE s.connection = choose_classes.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
                UNION ALL
                SELECT c.grades FROM minga_roster.classes c
                WHERE c.connection = choose_classes.connection.connection AND c.ended_at IS NULL
            ) k
            WHERE k.grades IS NOT NULL))
    THEN
        UPDATE plan_classes k SET is_chosen = EXISTS (SELECT FROM minga_roster.classes c
            WHERE c.connection = choose_classes.connection.connection AND c.sourced_id = k.sourced_id
                AND coalesce(c.ended_cause, '') NOT IN ('term_over', 'not_chosen'));
        INSERT INTO minga_roster.run_findings (run, position, finding, amount, "of", detail, needs_look)
        SELECT choose_classes.run.run, coalesce(max(f.position), 0) + 1, 'no_class_chosen', 0,
            (SELECT count(*) FROM plan_classes k WHERE k.is_known), '{}', true
        FROM minga_roster.run_findings f WHERE f.run = choose_classes.run.run
        -- An apply reports what its preview has noted.
        HAVING choose_classes.run.kind <> 'apply';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.choose_classes(runs, connections) IS
'Fills plan_sessions and plan_classes: which terms and classes the connection''s class_terms and class_grades choose, '
'and which are over. A class that names no known term is chosen. Names that no known term has, and '
'grades that no class has, are taken for a mistake: the finding no_class_chosen, and classes are chosen as they were.';
