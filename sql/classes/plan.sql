-- What a run would do to objects, planned for all kinds before any is written, so that a preview counts what its apply
-- does. Must survive lists that contradict each other: a reference that leads nowhere is kept and counted, and what is
-- absent ends only if its lists were read completely.

CREATE FUNCTION minga_roster_internal.proved_lists(run runs, connection connections) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN ARRAY(
        SELECT c.family
        FROM minga_roster.collections c
        WHERE c.run = proved_lists.run.run AND proved_lists.run.is_full
        GROUP BY c.family
        HAVING bool_or(c.rows > c.elsewhere) AND bool_and(c.complete AND c.without_id = 0
            -- One list may be empty beside others of its family, if the last sync or preview on record that read rows
            -- of it completely, and in full, found so few that the guard would let them go; or if none had any.
            AND (c.rows > c.elsewhere OR coalesce((
                SELECT b.rows - b.elsewhere <= proved_lists.connection.guard_floor
                FROM minga_roster.collections b
                WHERE b.run = ANY (ARRAY(SELECT r.run FROM minga_roster.runs r
                        WHERE r.connection = proved_lists.connection.connection AND r.kind IN ('sync', 'preview')
                            AND r.state = 'succeeded' AND r.is_full))
                    AND b.collection = c.collection AND b.complete AND b.rows > b.elsewhere
                ORDER BY b.run DESC LIMIT 1), NOT EXISTS (
                SELECT FROM minga_roster.collections b
                WHERE b.run = ANY (ARRAY(SELECT r.run FROM minga_roster.runs r
                        WHERE r.connection = proved_lists.connection.connection AND r.kind IN ('sync', 'preview')
                            AND r.state = 'succeeded'))
                    AND b.collection = c.collection AND b.rows > b.elsewhere))))
        ORDER BY c.family);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.proved_lists(runs, connections) IS
'The families of which the run has read all lists completely, in full, each with rows, unless it last had none or few.';

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
    proved CONSTANT text[] := minga_roster_internal.proved_lists(read_by, connection);
    -- A stage that was filled before, for a preview, was filled by the settings of then.
    given CONSTANT text := CASE WHEN run.run = read_by.run
        THEN minga_roster_internal.objects_given(run, connection, proved) END;
    students_proved CONSTANT boolean := 'student' = ANY (proved);
    staff_proved CONSTANT boolean := 'staff' = ANY (proved);
    families text[];
    kind record;
    is_proved boolean;
    cause text;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('objects');
    IF given IS NOT NULL AND minga_roster_internal.take_over_counts(run, connection, given) THEN
        RETURN;
    END IF;
    IF connection.classes THEN
        PERFORM minga_roster_internal.choose_classes(run, connection);
    END IF;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(connection) o LOOP
        -- The users of a category that is not rostered are not missed.
        families := CASE kind.object WHEN 'user' THEN
            ARRAY(SELECT DISTINCT r.family FROM plan_rules r WHERE r.rostered AND r.family <> 'contact')
            ELSE kind.families END;
        is_proved := families <> '{}' AND families <@ proved;
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
        -- Users are here as the SIS lists them; whether they are archived is guarded where that is planned.
        cause := CASE WHEN kind.object <> 'user' THEN
            minga_roster_internal.guard_objects(run, connection, kind.object, kind.relation) END;
        PERFORM minga_roster_internal.count_objects(run, connection, kind.object, proved, is_proved, cause);
    END LOOP;
    IF given IS NOT NULL THEN
        PERFORM minga_roster_internal.mark_objects(run, connection, given);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_objects(runs, runs, connections) IS
'Fills plan_objects: for each kind of object what is added, changed, returns, ends or is held, and stores the counts '
'in run_objects. An unchanged night has no rows in it; if a mark shows that it is one, nothing is compared. read_by: '
'the run whose fetch filled the stage.';

CREATE FUNCTION minga_roster_internal.count_objects(run runs, connection connections, object text, proved text[],
    is_proved boolean, held_cause text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    -- What a partial or incomplete list leaves out is as it was.
    has_users CONSTANT boolean := '{student,staff}' <@ proved;
    has_courses CONSTANT boolean := 'course' = ANY (proved);
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
    SELECT run.run, count_objects.object, is_proved, rows, count(*) FILTER (WHERE p.action = 'add'),
        count(*) FILTER (WHERE p.action = 'change'), count(*) FILTER (WHERE p.action = 'return'),
        count(*) FILTER (WHERE p.action = 'end'), count(*) FILTER (WHERE p.action = 'hold'), no_user,
        no_class, no_course, no_term, others, broken, count_objects.held_cause
    FROM plan_objects p WHERE p.object = count_objects.object;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.count_objects(runs, connections, text, text[], boolean, text) IS
'Stores what a run does to objects of a kind, and how many of its references lead nowhere.';

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
