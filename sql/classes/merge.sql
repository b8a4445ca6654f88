-- Objects: from the stage to the tables of classes/tables.sql, in the transaction of the run. What a run would do is
-- planned for all kinds before any is written, so that a preview counts what its apply does. Must survive lists that
-- contradict each other: a reference that leads nowhere is kept and counted, and what is absent ends only if its lists
-- were read completely. What a run calls is PL/pgSQL, since SQL functions are planned at each call.

CREATE FUNCTION minga_roster_internal.objects(connection connections, OUT nth integer, OUT object text,
    OUT families text[], OUT relation text, OUT keys text[], OUT columns text[], OUT lasting text[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT o.nth, o.object, o.families, o.relation, o.keys, o.columns,
        CASE o.object WHEN 'enrollment' THEN ARRAY['user_id', 'class_id'] WHEN 'contact' THEN ARRAY['is_chosen']
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
    -- A term counts before it begins, so that lists are ready on its first day; with delta as early as a full read
    -- may be the last before that.
    ahead CONSTANT integer := greatest(14, CASE WHEN connection.delta THEN connection.full_every END);
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    chosen CONSTANT text[] := ARRAY(SELECT lower(btrim(t)) FROM unnest(connection.class_terms) t);
    chosen_grades CONSTANT text[] := ARRAY(
        SELECT minga_roster_internal.grade_key(g) FROM unnest(connection.class_grades) g);
BEGIN
    -- A term that was not listed tonight, or cannot be read, is as it was. So is one that has ended: its classes may
    -- still be listed. One that ends before it begins has no dates.
    INSERT INTO plan_sessions (sourced_id, is_known, is_chosen, is_over)
    SELECT t.sourced_id, t.is_known,
        CASE WHEN chosen = '{all}' THEN true
            WHEN chosen = '{current}' THEN coalesce(t.start_date - ahead <= today, true)
                AND coalesce(t.end_date >= today, true)
            ELSE coalesce(lower(t.sourced_id COLLATE "default") = ANY (chosen), false)
                OR coalesce(lower(btrim(t.title)) = ANY (chosen), false) END,
        coalesce(t.end_date < today, false)
    FROM (
        SELECT n.sourced_id, n.title, n.is_known, CASE WHEN n.start_date <= n.end_date IS NOT FALSE
            THEN n.start_date END AS start_date, CASE WHEN n.start_date <= n.end_date IS NOT FALSE
            THEN n.end_date END AS end_date
        FROM (
            SELECT s.sourced_id, s.title, s.start_date, s.end_date, true AS is_known
            FROM minga_roster.staged_academic_sessions s
            WHERE s.connection = choose_classes.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
                AND NOT (s.damaged AND EXISTS (SELECT FROM minga_roster.academic_sessions c
                    WHERE c.connection = s.connection AND c.sourced_id = s.sourced_id AND c.ended_at IS NULL))
            UNION ALL
            SELECT c.sourced_id, c.title, c.start_date, c.end_date, c.ended_at IS NULL
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
            SELECT i.class_id, i.is_doubtful, bool_or(p.is_chosen) AS is_chosen, bool_and(p.is_over) AS is_over
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

CREATE FUNCTION minga_roster_internal.object_is_proved(run runs, families text[])
RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN run.is_full IS TRUE AND (
        SELECT count(*) = cardinality(families) AND bool_and(f.is_proved) IS TRUE
        FROM (
            SELECT c.family, bool_or(c.rows > c.elsewhere) AND bool_and(c.complete AND c.without_id = 0
                -- One list may be empty beside others of its family, if no sync or preview on record had rows in it.
                AND (c.rows > c.elsewhere OR NOT EXISTS (
                    SELECT FROM minga_roster.collections b JOIN minga_roster.runs r ON r.run = b.run
                    WHERE r.connection = object_is_proved.run.connection AND r.kind IN ('sync', 'preview')
                        AND r.state = 'succeeded' AND b.collection = c.collection AND b.rows > b.elsewhere)))
                AS is_proved
            FROM minga_roster.collections c
            WHERE c.run = object_is_proved.run.run AND c.family = ANY (families)
            GROUP BY c.family
        ) f);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.object_is_proved(runs, text[]) IS
'Whether the run has read all lists of these families completely, in full, each with rows, unless it never had any.';

CREATE FUNCTION minga_roster_internal.guard_objects(run runs, connection connections, object text, relation text)
RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    in_season CONSTANT boolean := coalesce(today <@ connection.season_dates, false);
    leavers bigint;
    others bigint;
    active bigint;
    cause text;
BEGIN
    -- The rows as tonight's run leaves them if it holds all: tomorrow's base, and so tonight's.
    SELECT count(*) FILTER (WHERE p.action = 'end' AND p.cause = 'absent'),
        count(*) FILTER (WHERE p.action IN ('add', 'return'))
            - count(*) FILTER (WHERE p.action = 'end' AND p.cause <> 'absent')
    INTO leavers, others
    FROM plan_objects p WHERE p.object = guard_objects.object;
    IF leavers > connection.guard_floor THEN
        EXECUTE format('SELECT count(*) FROM minga_roster.%I o WHERE o.connection = $1 AND o.ended_at IS NULL',
            relation) INTO active USING connection.connection;
        active := active + others;
    END IF;
    cause := CASE
        WHEN leavers = 0 THEN NULL
        WHEN connection.unproven THEN 'unproven'
        WHEN coalesce(today <@ connection.freeze_dates, false) THEN 'frozen'
        WHEN leavers <= connection.guard_floor THEN NULL
        WHEN in_season THEN CASE WHEN leavers * 100 > connection.season_percent * active THEN 'season_percent' END
        WHEN leavers * 100 > connection.guard_percent * active THEN 'percent'
    END;
    IF cause IS NOT NULL THEN
        UPDATE plan_objects p SET action = 'hold'
        WHERE p.object = guard_objects.object AND p.action = 'end' AND p.cause = 'absent';
    END IF;
    RETURN cause;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.guard_objects(runs, connections, text, text) IS
'Holds the rows of a kind that would end because they are absent, if they are too many at once by the settings of the '
'guard, and returns why; NULL for not. Rows of terms that are over, and of classes no longer chosen, are not counted.';

CREATE FUNCTION minga_roster_internal.unreadable_users() RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN 'SELECT u.sourced_id FROM minga_roster.staged_users u WHERE u.connection = $1 AND u.damaged '
        'AND u.status IS DISTINCT FROM ''tobedeleted''';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.unreadable_users() IS
'The query for users whose row cannot be read tonight: what is known of them, and of whom they are contacts, stays.';

CREATE FUNCTION minga_roster_internal.plan_objects(run runs, read_by runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
    students_proved CONSTANT boolean := minga_roster_internal.object_is_proved(read_by, '{student}');
    staff_proved CONSTANT boolean := minga_roster_internal.object_is_proved(read_by, '{staff}');
    families text[];
    kind record;
    is_proved boolean;
    cause text;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    IF connection.classes THEN
        PERFORM minga_roster_internal.choose_classes(run, connection);
    END IF;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o LOOP
        -- The users of a category that is not rostered are not missed.
        families := CASE kind.object WHEN 'user' THEN
            ARRAY(SELECT DISTINCT r.family FROM plan_rules r WHERE r.rostered AND r.family <> 'contact')
            ELSE kind.families END;
        is_proved := minga_roster_internal.object_is_proved(read_by, families);
        -- Without a proof a row ends only if tonight's choice leaves it out. The guard counts what is absent.
        EXECUTE minga_roster_internal.fill_template($statement$
            INSERT INTO plan_objects (object, sourced_id, student_id, action, cause)
            SELECT {object:L}, coalesce(c.listed_id, c.sourced_id), coalesce(c.listed_student, {own_student}),
                CASE WHEN c.sourced_id IS NULL THEN 'add' WHEN c.listed_id IS NULL THEN 'end'
                    WHEN c.ended_at IS NOT NULL THEN 'return' ELSE 'change' END,
                CASE WHEN c.listed_id IS NULL THEN {cause} END
            FROM (
                -- Rows as they were stay in here, so that the joins behind it are for the others alone.
                SELECT s.sourced_id AS listed_id, s.student_id AS listed_student, c.*
                FROM ({source}) s
                FULL JOIN (SELECT * FROM {relation} o WHERE o.connection = $1) c
                    ON c.sourced_id = s.sourced_id {same_student}
                WHERE c.sourced_id IS NULL
                    OR CASE WHEN s.sourced_id IS NULL THEN c.ended_at IS NULL
                        ELSE c.ended_at IS NOT NULL OR (NOT s.damaged AND ({differ})) END
                OFFSET 0
            ) c
            {beside}
            WHERE c.listed_id IS NOT NULL OR (({proved} OR {cause} <> 'absent') AND {readable})
        $statement$,
            'object', kind.object, 'relation', format('minga_roster.%I', kind.relation),
            'source', minga_roster_internal.object_source(kind.object),
            'own_student', CASE kind.object WHEN 'contact' THEN 'c.student_id' ELSE '''''' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND c.student_id = s.student_id' ELSE '' END,
            'beside', CASE kind.object
                WHEN 'class' THEN 'LEFT JOIN plan_classes k ON k.sourced_id = c.sourced_id'
                WHEN 'course' THEN 'LEFT JOIN (SELECT DISTINCT k.course_id FROM plan_classes k WHERE k.is_chosen '
                    'AND k.is_known AND k.sourced_id NOT IN (SELECT p.sourced_id FROM plan_objects p '
                    'WHERE p.object = ''class'' AND p.action = ''end'')) k ON k.course_id = c.sourced_id'
                WHEN 'enrollment' THEN 'LEFT JOIN plan_classes k ON k.sourced_id = c.class_id'
                WHEN 'user' THEN 'LEFT JOIN plan_rules r ON r.roster_role = c.role LEFT JOIN ('
                    || minga_roster_internal.unreadable_users() || ') d ON d.sourced_id = c.sourced_id'
                WHEN 'contact' THEN 'LEFT JOIN (' || minga_roster_internal.unreadable_users()
                    || ') d ON d.sourced_id = c.student_id LEFT JOIN (' || minga_roster_internal.unreadable_users()
                    || ') e ON e.sourced_id = c.sourced_id'
                ELSE '' END,
            'proved', CASE kind.object WHEN 'user' THEN format('CASE r.family WHEN ''student'' THEN %L::boolean '
                'WHEN ''staff'' THEN %L::boolean ELSE %L::boolean END', students_proved, staff_proved,
                students_proved AND staff_proved)
                ELSE format('%L::boolean', is_proved) END,
            'readable', CASE kind.object WHEN 'user' THEN 'd.sourced_id IS NULL'
                WHEN 'contact' THEN 'd.sourced_id IS NULL AND e.sourced_id IS NULL' ELSE 'true' END,
            'cause', CASE kind.object
                WHEN 'class' THEN format('CASE WHEN k.is_over AND (%L::boolean OR NOT k.is_chosen) THEN ''term_over'' '
                    'WHEN k.is_listed AND NOT k.is_chosen THEN ''not_chosen'' ELSE ''absent'' END', is_proved)
                WHEN 'enrollment' THEN format('CASE WHEN (%L::boolean OR NOT k.is_chosen) '
                    'AND (c.end_date < %L OR k.is_over) THEN ''term_over'' WHEN NOT k.is_chosen THEN ''not_chosen'' '
                    'ELSE ''absent'' END', is_proved, today)
                WHEN 'course' THEN 'CASE WHEN k.course_id IS NULL THEN ''not_chosen'' ELSE ''absent'' END'
                WHEN 'academic_session' THEN format('CASE WHEN c.end_date < %L AND %L::boolean THEN ''term_over'' '
                    'ELSE ''absent'' END', today, is_proved)
                WHEN 'user' THEN 'CASE WHEN NOT r.rostered THEN ''not_chosen'' ELSE ''absent'' END'
                -- Of students who are not rostered, nothing is kept.
                WHEN 'contact' THEN CASE WHEN EXISTS (SELECT FROM plan_rules r WHERE r.rostered
                    AND r.family = 'student') THEN '''absent''' ELSE '''not_chosen''' END
                ELSE '''absent''' END,
            'differ', (SELECT string_agg(format(CASE WHEN k.name = ANY (kind.lasting)
                THEN '(s.%1$I IS NOT NULL AND s.%1$I IS DISTINCT FROM c.%1$I)'
                ELSE 's.%1$I IS DISTINCT FROM c.%1$I' END, k.name), ' OR ' ORDER BY k.nth)
                FROM unnest(kind.columns) WITH ORDINALITY AS k (name, nth)))
        USING connection.connection;
        cause := minga_roster_internal.guard_objects(run, connection, kind.object, kind.relation);
        PERFORM minga_roster_internal.count_objects(run, read_by, connection, kind.object, is_proved, cause);
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_objects(runs, runs, connections) IS
'Fills plan_objects: for each kind of object what is added, changed, returns, ends or is held, and stores the counts '
'in run_objects. An unchanged night has no rows in it. read_by: the run whose fetch filled the stage.';

CREATE FUNCTION minga_roster_internal.count_objects(run runs, read_by runs, connection connections, object text,
    is_proved boolean, held_cause text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    -- What a partial or incomplete list leaves out is as it was.
    has_users CONSTANT boolean := minga_roster_internal.object_is_proved(read_by, '{student,staff}');
    has_courses CONSTANT boolean := minga_roster_internal.object_is_proved(read_by, '{course}');
    rows bigint;
    broken bigint;
    no_user bigint := 0;
    no_class bigint := 0;
    no_course bigint := 0;
    no_term bigint := 0;
    others bigint := 0;
BEGIN
    CASE object
        WHEN 'class' THEN
            SELECT count(*), count(*) FILTER (WHERE s.damaged OR s.damaged_field IS NOT NULL),
                count(*) FILTER (WHERE c.sourced_id IS NULL AND o.sourced_id IS NULL),
                count(*) FILTER (WHERE s.term_ids IS NULL OR EXISTS (SELECT FROM unnest(s.term_ids) t (id)
                    WHERE t.id COLLATE "C" NOT IN (SELECT p.sourced_id FROM plan_sessions p WHERE p.is_known)))
            INTO rows, broken, no_course, no_term
            FROM minga_roster.staged_classes s
            JOIN plan_classes k ON k.sourced_id = s.sourced_id AND k.is_chosen AND k.is_listed
            LEFT JOIN minga_roster.staged_courses c ON c.connection = s.connection AND c.sourced_id = s.course_id
                AND c.status IS DISTINCT FROM 'tobedeleted'
            LEFT JOIN minga_roster.courses o ON NOT has_courses AND o.connection = s.connection
                AND o.sourced_id = s.course_id AND o.ended_at IS NULL
            WHERE s.connection = count_objects.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted';
            SELECT count(*) INTO others FROM plan_classes k WHERE k.is_listed AND NOT k.is_chosen;
        WHEN 'enrollment' THEN
            SELECT count(*), count(*) FILTER (WHERE s.damaged OR s.damaged_field IS NOT NULL),
                count(*) FILTER (WHERE u.sourced_id IS NULL AND (s.user_id IN (
                    SELECT r.sourced_id FROM minga_roster.user_rows r
                    WHERE NOT has_users AND r.connection = count_objects.connection.connection
                        AND r.ended_at IS NULL)) IS NOT TRUE),
                count(*) FILTER (WHERE (s.class_id IN (SELECT k.sourced_id FROM plan_classes k
                    WHERE k.is_known AND k.sourced_id NOT IN (SELECT p.sourced_id FROM plan_objects p
                        WHERE p.object = 'class' AND p.action = 'end'))) IS NOT TRUE)
            INTO rows, broken, no_user, no_class
            FROM minga_roster.staged_enrollments s
            LEFT JOIN (SELECT u.sourced_id FROM minga_roster.staged_users u
                WHERE u.connection = count_objects.connection.connection
                    AND u.status IS DISTINCT FROM 'tobedeleted') u ON u.sourced_id = s.user_id
            WHERE s.connection = count_objects.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
                AND (s.class_id IN (SELECT k.sourced_id FROM plan_classes k WHERE NOT k.is_chosen)) IS NOT TRUE;
            IF EXISTS (SELECT FROM plan_classes k WHERE NOT k.is_chosen) THEN
                SELECT count(*) - rows INTO others FROM minga_roster.staged_enrollments s
                WHERE s.connection = count_objects.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted';
            END IF;
        ELSE
            EXECUTE format('SELECT count(*), count(*) FILTER (WHERE s.damaged%s) FROM (%s) s',
                CASE WHEN object <> 'contact' THEN ' OR s.damaged_field IS NOT NULL' END,
                minga_roster_internal.object_source(object)) INTO rows, broken USING connection.connection;
    END CASE;
    IF object = 'contact' THEN
        SELECT count(*) INTO no_user
        FROM minga_roster.staged_users s
        JOIN plan_rules r ON r.roster_role = s.role AND r.family = 'student' AND r.rostered
        CROSS JOIN LATERAL (SELECT DISTINCT a.id COLLATE "C" AS id FROM unnest(s.agent_ids) a (id)) a
        LEFT JOIN (SELECT u.sourced_id FROM minga_roster.staged_users u
            WHERE u.connection = count_objects.connection.connection
                AND u.status IS DISTINCT FROM 'tobedeleted') u ON u.sourced_id = a.id
        WHERE s.connection = count_objects.connection.connection AND s.status IS DISTINCT FROM 'tobedeleted'
            AND s.outcome IS DISTINCT FROM 'forgotten' AND u.sourced_id IS NULL
            AND (is_proved OR NOT EXISTS (SELECT FROM minga_roster.contact_rows c
                WHERE c.connection = s.connection AND c.student_id = s.sourced_id AND c.sourced_id = a.id
                    AND c.ended_at IS NULL));
    END IF;
    INSERT INTO minga_roster.run_objects (run, object, complete, listed, added, changed, returned, ended, held,
        unknown_user, unknown_class, unknown_course, unknown_term, not_chosen, damaged, held_cause)
    SELECT run.run, count_objects.object, coalesce(is_proved, false), rows, count(*) FILTER (WHERE p.action = 'add'),
        count(*) FILTER (WHERE p.action = 'change'), count(*) FILTER (WHERE p.action = 'return'),
        count(*) FILTER (WHERE p.action = 'end'), count(*) FILTER (WHERE p.action = 'hold'), no_user,
        no_class, no_course, no_term, others, broken, count_objects.held_cause
    FROM plan_objects p WHERE p.object = count_objects.object;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_objects(runs, runs, connections, text, boolean, text) IS
'Stores what a run does to objects of a kind, and how many of its references lead nowhere.';

CREATE FUNCTION minga_roster_internal.release_held(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    kind record;
BEGIN
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM minga_roster.held_objects h JOIN minga_roster.runs r ON r.run = h.run
            WHERE r.connection = release_held.run.connection AND h.object = o.object)
    LOOP
        EXECUTE format('DELETE FROM minga_roster.held_objects h USING minga_roster.runs r, (%s) s '
            'WHERE r.run = h.run AND r.connection = $1 AND h.object = $2 AND h.sourced_id = s.sourced_id '
            'AND h.student_id = s.student_id', minga_roster_internal.object_source(kind.object))
        USING connection.connection, kind.object;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.release_held(runs, connections) IS
'Forgets held rows that the stage lists, so that an approval does not end them.';

CREATE FUNCTION minga_roster_internal.write_objects(run runs, read_by runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
    columns text;
BEGIN
    -- A delta does not decide who is absent; but what it lists is not.
    IF read_by.is_full IS NOT FALSE THEN
        DELETE FROM minga_roster.held_objects h USING minga_roster.runs r
        WHERE r.run = h.run AND r.connection = write_objects.run.connection;
    ELSE
        PERFORM minga_roster_internal.release_held(run, connection);
    END IF;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM plan_objects p WHERE p.object = o.object) ORDER BY o.nth
    LOOP
        PERFORM minga_roster_internal.keep_versions(run, connection, kind.object, kind.relation,
            kind.keys || kind.columns, at);
        columns := (SELECT string_agg(format('%I', k), ', ') FROM unnest(kind.keys || kind.columns) k);
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {relation} c
            SET {assignments}, valid = tstzrange(greatest($3, lower(c.valid) + '1 microsecond'::interval,
                    c.ended_at), NULL), written_run = $2, ended_cause = NULL
            FROM plan_objects p JOIN ({source}) s ON s.sourced_id = p.sourced_id {same_source}
            WHERE p.object = {object:L} AND p.action IN ('change', 'return')
                AND c.connection = $1 AND c.sourced_id = p.sourced_id {same_student}
        $statement$,
            'relation', format('minga_roster.%I', kind.relation), 'object', kind.object,
            'source', minga_roster_internal.object_source(kind.object),
            'same_source', CASE kind.object WHEN 'contact' THEN 'AND s.student_id = p.student_id' ELSE '' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END,
            'assignments', (SELECT string_agg(format(CASE WHEN k = ANY (kind.lasting)
                THEN '%1$I = coalesce(s.%1$I, c.%1$I)' ELSE '%1$I = s.%1$I' END, k), ', ')
                FROM unnest(kind.columns) k))
        USING connection.connection, run.run, at;
        PERFORM minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        EXECUTE minga_roster_internal.fill_template($statement$
            INSERT INTO {relation} (connection, site, {columns}, valid, written_run)
            SELECT $1, $2, {values}, tstzrange($4, NULL), $3
            FROM plan_objects p JOIN ({source}) s ON s.sourced_id = p.sourced_id {same_source}
            WHERE p.object = {object:L} AND p.action = 'add'
        $statement$,
            'relation', format('minga_roster.%I', kind.relation), 'object', kind.object, 'columns', columns,
            'values', (SELECT string_agg(format(CASE k WHEN 'is_chosen' THEN 'coalesce(s.%I, false)' ELSE 's.%I' END,
                k), ', ') FROM unnest(kind.keys || kind.columns) k),
            'source', minga_roster_internal.object_source(kind.object),
            'same_source', CASE kind.object WHEN 'contact' THEN 'AND s.student_id = p.student_id' ELSE '' END)
        USING connection.connection, run.site, run.run, at;
    END LOOP;
    INSERT INTO minga_roster.held_objects (run, object, sourced_id, student_id)
    SELECT read_by.run, p.object, p.sourced_id, p.student_id FROM plan_objects p WHERE p.action = 'hold';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_objects(runs, runs, connections) IS
'Carries out plan_objects: what a row was goes to the versions of its table, and what it is now begins with this run. '
'read_by: the run that filled the stage, which is asked to approve what is held.';

CREATE FUNCTION minga_roster_internal.keep_versions(run runs, connection connections, object text, relation text,
    columns text[], at timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        INSERT INTO {versions} (connection, site, {columns}, valid, written_run, ended_cause, replaced_run)
        SELECT c.connection, c.site, {values},
            CASE WHEN c.ended_at IS NULL THEN tstzrange(lower(c.valid),
                greatest($3, lower(c.valid) + '1 microsecond'::interval)) ELSE c.valid END,
            c.written_run, c.ended_cause, $2
        FROM plan_objects p JOIN {relation} c ON c.connection = $1 AND c.sourced_id = p.sourced_id {same_student}
        WHERE p.object = {object:L} AND p.action IN ('change', 'return')
    $statement$,
        'versions', format('minga_roster.%I', relation || '_versions'), 'relation', format('minga_roster.%I', relation),
        'object', object,
        'columns', (SELECT string_agg(format('%I', k), ', ') FROM unnest(columns) k),
        'values', (SELECT string_agg(format('c.%I', k), ', ') FROM unnest(columns) k),
        'same_student', CASE object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END)
    USING connection.connection, run.run, at;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_versions(runs, connections, text, text, text[], timestamptz) IS
'Copies the rows of plan_objects that change or return to the versions of their table, until now.';

CREATE FUNCTION minga_roster_internal.end_objects(run runs, connection connections, object text, relation text,
    at timestamptz) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    amount bigint;
BEGIN
    EXECUTE minga_roster_internal.fill_template($statement$
        UPDATE {relation} c
        SET valid = tstzrange(lower(c.valid), greatest($3, lower(c.valid) + '1 microsecond'::interval)),
            written_run = $2, ended_cause = p.cause
        FROM plan_objects p
        WHERE p.object = {object:L} AND p.action = 'end' AND c.connection = $1 AND c.sourced_id = p.sourced_id
            AND c.ended_at IS NULL {same_student}
    $statement$,
        'relation', format('minga_roster.%I', relation), 'object', object,
        'same_student', CASE object WHEN 'contact' THEN 'AND c.student_id = p.student_id' ELSE '' END)
    USING connection.connection, run.run, at;
    GET DIAGNOSTICS amount = ROW_COUNT;
    RETURN amount;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.end_objects(runs, connections, text, text, timestamptz) IS
'Ends the rows of plan_objects that end, and returns how many.';

CREATE FUNCTION minga_roster_internal.approve_objects(run runs, approved runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
    amount bigint;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    INSERT INTO plan_objects (object, sourced_id, student_id, action, cause)
    SELECT h.object, h.sourced_id, h.student_id, 'end', 'absent'
    FROM minga_roster.held_objects h WHERE h.run = approved.run;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o
        WHERE EXISTS (SELECT FROM plan_objects p WHERE p.object = o.object) ORDER BY o.nth
    LOOP
        amount := minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        INSERT INTO minga_roster.run_objects (run, object, complete, listed, ended)
        VALUES (approve_objects.run.run, kind.object, true, 0, amount);
    END LOOP;
    DELETE FROM minga_roster.held_objects h WHERE h.run = approved.run;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.approve_objects(runs, runs, connections) IS
'Ends the rows that the approved run held back.';

CREATE FUNCTION minga_roster_internal.undo_objects(run runs, target runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    at CONSTANT timestamptz := minga_roster_internal.clock();
    kind record;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o ORDER BY o.nth LOOP
        -- What a later run has written is left as it is. A row that was added ends, and one that came again ends as it
        -- had; one that changed or ended is as it was before, from now on.
        EXECUTE minga_roster_internal.fill_template($statement$
            INSERT INTO plan_objects (object, sourced_id, student_id, action, cause)
            SELECT {object:L}, c.sourced_id, {student},
                CASE WHEN c.ended_at IS NOT NULL OR (v.sourced_id IS NOT NULL AND v.ended_cause IS NULL) THEN 'change'
                    ELSE 'end' END, coalesce(v.ended_cause, 'undone')
            FROM {relation} c
            LEFT JOIN {versions} v ON v.connection = c.connection AND v.replaced_run = $2
                AND v.sourced_id = c.sourced_id {same_version}
            WHERE c.connection = $1 AND c.written_run = $2
        $statement$,
            'object', kind.object, 'relation', format('minga_roster.%I', kind.relation),
            'versions', format('minga_roster.%I', kind.relation || '_versions'),
            'student', CASE kind.object WHEN 'contact' THEN 'c.student_id' ELSE '''''' END,
            'same_version', CASE kind.object WHEN 'contact' THEN 'AND v.student_id = c.student_id' ELSE '' END)
        USING connection.connection, target.run;
        PERFORM minga_roster_internal.keep_versions(run, connection, kind.object, kind.relation,
            kind.keys || kind.columns, at);
        EXECUTE minga_roster_internal.fill_template($statement$
            UPDATE {relation} c
            SET {assignments}, written_run = $3, ended_cause = NULL,
                valid = tstzrange(greatest($4, lower(c.valid) + '1 microsecond'::interval, c.ended_at), NULL)
            FROM (
                SELECT o.sourced_id, {own_student} AS student_id, {former}
                FROM plan_objects p
                JOIN {relation} o ON o.connection = $1 AND o.sourced_id = p.sourced_id {same_planned}
                LEFT JOIN {versions} f ON f.connection = $1 AND f.replaced_run = $2
                    AND f.sourced_id = o.sourced_id {same_former}
                WHERE p.object = {object:L} AND p.action = 'change'
            ) v
            WHERE c.connection = $1 AND c.sourced_id = v.sourced_id {same_student}
        $statement$,
            'object', kind.object, 'relation', format('minga_roster.%I', kind.relation),
            'versions', format('minga_roster.%I', kind.relation || '_versions'),
            'assignments', (SELECT string_agg(format('%1$I = v.%1$I', k), ', ') FROM unnest(kind.columns) k),
            'former', (SELECT string_agg(format('CASE WHEN f.sourced_id IS NULL THEN o.%1$I ELSE f.%1$I END AS %1$I',
                k), ', ') FROM unnest(kind.columns) k),
            'own_student', CASE kind.object WHEN 'contact' THEN 'o.student_id' ELSE '''''' END,
            'same_planned', CASE kind.object WHEN 'contact' THEN 'AND o.student_id = p.student_id' ELSE '' END,
            'same_former', CASE kind.object WHEN 'contact' THEN 'AND f.student_id = o.student_id' ELSE '' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND c.student_id = v.student_id' ELSE '' END)
        USING connection.connection, target.run, run.run, at;
        PERFORM minga_roster_internal.end_objects(run, connection, kind.object, kind.relation, at);
        INSERT INTO minga_roster.run_objects (run, object, complete, listed, changed, ended)
        SELECT undo_objects.run.run, kind.object, true, 0, count(*) FILTER (WHERE p.action = 'change'),
            count(*) FILTER (WHERE p.action = 'end')
        FROM plan_objects p WHERE p.object = kind.object
        HAVING count(*) > 0;
    END LOOP;
    DELETE FROM minga_roster.held_objects h
    WHERE target.kind <> 'approve' AND h.run = minga_roster_internal.planned_in(target);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.undo_objects(runs, runs, connections) IS
'Makes the rows that the target run wrote as they were, with a new version each, unless a later run has written them.';

CREATE FUNCTION minga_roster_internal.merge_objects(run runs, is_applied boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    connection minga_roster.connections := minga_roster_internal.known_connection(run.connection);
BEGIN
    IF NOT (connection.classes OR connection.contacts) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.plan_objects(run, run, connection);
    IF is_applied THEN
        PERFORM minga_roster_internal.write_objects(run, run, connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.merge_objects(runs, boolean) IS
'Plans what a run does to the objects of its connection, and does it unless it is a preview.';

CREATE FUNCTION minga_roster_internal.apply_objects(run runs, preview runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cause text;
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.run_objects o WHERE o.run = preview.run) THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM minga_roster.stages g WHERE g.connection = connection.connection
        AND g.run = preview.run)
    THEN
        cause := 'stage_gone';
    ELSE
        IF NOT EXISTS (SELECT FROM plan_rules) THEN
            PERFORM minga_roster_internal.read_rules(connection, preview.run);
            PERFORM minga_roster_internal.read_proof(connection, preview.run);
        END IF;
        IF NOT EXISTS (SELECT FROM plan_parents) THEN
            PERFORM minga_roster_internal.choose_parents(connection, preview.run);
        END IF;
        PERFORM minga_roster_internal.plan_objects(run, preview, connection);
        -- Settings of today may plan what no one has seen in the preview.
        SELECT 'changed' INTO cause
        FROM (
            SELECT o.object, o.added, o.changed, o.returned, o.ended, o.held FROM minga_roster.run_objects o
            WHERE o.run IN (apply_objects.run.run, preview.run)
            GROUP BY o.object, o.added, o.changed, o.returned, o.ended, o.held
            HAVING count(*) <> 2
        ) d
        LIMIT 1;
    END IF;
    IF cause IS NULL THEN
        PERFORM minga_roster_internal.write_objects(run, preview, connection);
    ELSE
        DELETE FROM minga_roster.run_objects o WHERE o.run = apply_objects.run.run;
        INSERT INTO minga_roster.run_findings (run, position, finding, amount, detail, needs_look)
        VALUES (apply_objects.run.run, 1, 'classes_not_applied', 0, jsonb_build_object('cause', cause), true);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.apply_objects(runs, runs, connections) IS
'Does to objects what a preview has counted, from its stage, in the run that applies it. If the stage is gone, or '
'would now give other counts, nothing is done, and the run notes classes_not_applied.';

CREATE FUNCTION minga_roster_internal.prune_history() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    batch CONSTANT integer := 10000;
    ended_before CONSTANT timestamptz := minga_roster_internal.clock()
        - make_interval(days => greatest(8, minga_roster_internal.setting('keep_history')::integer));
    relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['academic_sessions', 'courses', 'classes', 'enrollment_rows', 'user_rows',
        'contact_rows']
    LOOP
        EXECUTE format('DELETE FROM minga_roster.%1$I WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM minga_roster.%1$I o '
            'WHERE o.ended_at < $1 ORDER BY o.ended_at LIMIT $2))', relation || '_versions') USING ended_before, batch;
        EXECUTE format('DELETE FROM minga_roster.%1$I WHERE ctid = ANY (ARRAY(SELECT o.ctid FROM minga_roster.%1$I o '
            'WHERE o.ended_at < $1 ORDER BY o.ended_at LIMIT $2))', relation) USING ended_before, batch;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.prune_history() IS
'Deletes versions and rows that ended more than minga_roster.keep_history days ago (at least 8), at most 10,000 of '
'each table per call.';
