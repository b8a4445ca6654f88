-- The roster of any past time, and what changed between two.

CREATE FUNCTION minga_roster_internal.all_versions(relation text, columns text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('SELECT %1$s FROM minga_roster.%2$I UNION ALL SELECT %1$s FROM minga_roster.%3$I',
        (SELECT string_agg(format('%I', c), ', ') FROM unnest(columns) c), relation, relation || '_versions')
$$;
COMMENT ON FUNCTION minga_roster_internal.all_versions(text, text[]) IS
'A query for all versions of the rows of a table of objects.';

CREATE FUNCTION minga_roster_internal.require_time(function text, argument text, at timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF at IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('%s needs a time, and %s is NULL', function, argument),
            HINT = format('Name a time, such as %s => now() - interval ''1 day''.', argument);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_time(text, text, timestamptz) IS
'Raises 22004 if the argument of a function is NULL.';

CREATE FUNCTION minga_roster_internal.do_people_as_of(connection text, at timestamptz, OUT sourced_id text,
    OUT person_id text, OUT role text, OUT status text, OUT enabled boolean, OUT given_name text, OUT family_name text,
    OUT middle_name text, OUT preferred_name text, OUT username text, OUT identifier text, OUT email text,
    OUT phone text, OUT grade text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    known CONSTANT text := (minga_roster_internal.known_connection(do_people_as_of.connection)).connection;
BEGIN
    PERFORM minga_roster_internal.require_time('roster_people_as_of', 'at', do_people_as_of.at);
    RETURN QUERY SELECT u.sourced_id, l.person_id, u.role, u.status, u.enabled, u.given_name, u.family_name,
        u.middle_name, u.preferred_name, u.username, u.identifier, u.email, u.phone, u.grade
    FROM (
        SELECT c.sourced_id, c.role, c.status, c.enabled, c.given_name, c.family_name, c.middle_name,
            c.preferred_name, c.username, c.identifier, c.email, c.phone, c.grade
        FROM minga_roster.user_rows c WHERE c.connection = known AND c.valid @> do_people_as_of.at
        UNION ALL
        SELECT v.sourced_id, v.role, v.status, v.enabled, v.given_name, v.family_name, v.middle_name,
            v.preferred_name, v.username, v.identifier, v.email, v.phone, v.grade
        FROM minga_roster.user_rows_versions v WHERE v.connection = known AND v.valid @> do_people_as_of.at
    ) u
    LEFT JOIN minga_roster.links l ON l.connection = known AND l.sourced_id = u.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_people_as_of(text, timestamptz) IS 'Implements roster_people_as_of.';
CREATE FUNCTION roster_people_as_of(connection text, at timestamptz, OUT sourced_id text,
    OUT person_id text, OUT role text, OUT status text, OUT enabled boolean, OUT given_name text, OUT family_name text,
    OUT middle_name text, OUT preferred_name text, OUT username text, OUT identifier text, OUT email text,
    OUT phone text, OUT grade text)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_people_as_of(text, timestamptz) IS
'What the SIS said about each user of a connection with classes or contacts at a time: one row for each sourcedId '
'listed then. person_id is the person whom the sourcedId is linked to today. 42704 for an unknown connection, 22004 '
'for no time.';

CREATE FUNCTION minga_roster_internal.do_enrollments_as_of(connection text, at timestamptz, OUT sourced_id text,
    OUT user_id text, OUT person_id text, OUT class_id text, OUT class text, OUT role text, OUT is_primary boolean,
    OUT begin_date date, OUT end_date date)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    known CONSTANT text := (minga_roster_internal.known_connection(do_enrollments_as_of.connection)).connection;
BEGIN
    PERFORM minga_roster_internal.require_time('roster_enrollments_as_of', 'at', do_enrollments_as_of.at);
    RETURN QUERY SELECT e.sourced_id, e.user_id, l.person_id, e.class_id, k.title, e.role, e.is_primary, e.begin_date,
        e.end_date
    FROM (
        SELECT c.sourced_id, c.user_id, c.class_id, c.role, c.is_primary, c.begin_date, c.end_date
        FROM minga_roster.enrollment_rows c WHERE c.connection = known AND c.valid @> do_enrollments_as_of.at
        UNION ALL
        SELECT v.sourced_id, v.user_id, v.class_id, v.role, v.is_primary, v.begin_date, v.end_date
        FROM minga_roster.enrollment_rows_versions v WHERE v.connection = known AND v.valid @> do_enrollments_as_of.at
    ) e
    LEFT JOIN (
        SELECT c.sourced_id, c.title
        FROM minga_roster.classes c WHERE c.connection = known AND c.valid @> do_enrollments_as_of.at
        UNION ALL
        SELECT v.sourced_id, v.title
        FROM minga_roster.classes_versions v WHERE v.connection = known AND v.valid @> do_enrollments_as_of.at
    ) k ON k.sourced_id = e.class_id
    LEFT JOIN minga_roster.links l ON l.connection = known AND l.sourced_id = e.user_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_enrollments_as_of(text, timestamptz) IS
'Implements roster_enrollments_as_of.';
CREATE FUNCTION roster_enrollments_as_of(connection text, at timestamptz, OUT sourced_id text,
    OUT user_id text, OUT person_id text, OUT class_id text, OUT class text, OUT role text, OUT is_primary boolean,
    OUT begin_date date, OUT end_date date)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_enrollments_as_of(text, timestamptz) IS
'Who was in which class of a connection at a time, with the class''s title of then. person_id is the person whom the '
'user is linked to today. 42704 for an unknown connection, 22004 for no time.';

CREATE FUNCTION minga_roster_internal.do_diff(connection text, since timestamptz, until timestamptz, OUT object text,
    OUT sourced_id text, OUT student_id text, OUT change text, OUT before jsonb, OUT after jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
#variable_conflict use_column
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(do_diff.connection);
    kind record;
BEGIN
    PERFORM minga_roster_internal.require_time('roster_diff', 'since', do_diff.since);
    PERFORM minga_roster_internal.require_time('roster_diff', 'until', do_diff.until);
    IF do_diff.since > do_diff.until THEN
        PERFORM minga_roster_internal.refuse_parameter('since', do_diff.since::text,
            format('It must not be after until, "%s".', do_diff.until),
            'Use for example roster_diff(''mesa-high'', now() - interval ''1 day'', now()).');
    END IF;
    known.classes := true;
    known.contacts := true;
    FOR kind IN SELECT o.* FROM minga_roster_internal.objects(known) o ORDER BY o.nth LOOP
        -- A version that held at both times is no change, whatever it says.
        RETURN QUERY EXECUTE minga_roster_internal.fill_template($statement$
            WITH version AS ({versions})
            SELECT {object:L}::text, coalesce(a.sourced_id, b.sourced_id)::text, {student}::text,
                CASE WHEN b.sourced_id IS NULL THEN 'added' WHEN a.sourced_id IS NULL THEN 'ended' ELSE 'changed' END,
                (SELECT jsonb_object_agg(x.key, x.value) FROM jsonb_each(b.told) x
                    WHERE a.told IS NULL OR a.told -> x.key <> x.value),
                (SELECT jsonb_object_agg(x.key, x.value) FROM jsonb_each(a.told) x
                    WHERE b.told IS NULL OR b.told -> x.key <> x.value)
            FROM (SELECT v.*, to_jsonb(v) - {unsaid:L}::text[] AS told FROM version v
                WHERE v.connection = $1 AND v.valid @> $2 AND NOT v.valid @> $3) b
            FULL JOIN (SELECT v.*, to_jsonb(v) - {unsaid:L}::text[] AS told FROM version v
                WHERE v.connection = $1 AND v.valid @> $3 AND NOT v.valid @> $2) a
                ON a.sourced_id = b.sourced_id {same_student}
            WHERE a.told IS DISTINCT FROM b.told
            ORDER BY 2, 3
        $statement$,
            'object', kind.object,
            'versions', minga_roster_internal.all_versions(kind.relation,
                ARRAY['connection', 'valid'] || kind.keys || kind.columns),
            'student', CASE kind.object WHEN 'contact' THEN 'coalesce(a.student_id, b.student_id)' ELSE 'NULL' END,
            'same_student', CASE kind.object WHEN 'contact' THEN 'AND a.student_id = b.student_id' ELSE '' END,
            'unsaid', (ARRAY['connection', 'valid'] || kind.keys)::text)
        USING known.connection, do_diff.since, do_diff.until;
    END LOOP;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_diff(text, timestamptz, timestamptz) IS 'Implements roster_diff.';
CREATE FUNCTION roster_diff(connection text, since timestamptz, until timestamptz, OUT object text,
    OUT sourced_id text, OUT student_id text, OUT change text, OUT before jsonb, OUT after jsonb)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_diff(text, timestamptz, timestamptz) IS
'What the SIS changed between two times, for a connection with classes or contacts: one row for each object (user, '
'academic_session, course, class, enrollment, contact) that was added, changed or ended; before and after hold the '
'values that differ. student_id is set for contacts. 42704 for an unknown connection, 22004 for a time that is NULL, '
'22023 for times out of order.';

CREATE FUNCTION minga_roster_internal.do_lists(connection text, OUT class_id text, OUT name text, OUT managers text[],
    OUT members text[], OUT terms text[], OUT periods text[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    known CONSTANT text := (minga_roster_internal.known_connection(do_lists.connection)).connection;
BEGIN
    RETURN QUERY SELECT k.sourced_id, concat_ws(', ', coalesce(k.title, c.title, k.class_code, k.sourced_id),
            CASE WHEN k.periods IS NOT NULL THEN 'period ' || array_to_string(k.periods, ', ') END),
        coalesce(m.managers, '{}'), coalesce(m.members, '{}'), t.terms, k.periods
    FROM minga_roster.classes k
    JOIN minga_roster_internal.class_terms t ON t.connection = k.connection AND t.sourced_id = k.sourced_id
    LEFT JOIN minga_roster.courses c ON c.connection = k.connection AND c.sourced_id = k.course_id
    LEFT JOIN (
        SELECT m.class_id,
            array_agg(DISTINCT m.person_id ORDER BY m.person_id) FILTER (WHERE m.role = 'teacher') AS managers,
            array_agg(DISTINCT m.person_id ORDER BY m.person_id) FILTER (WHERE m.role = 'student') AS members
        FROM minga_roster_internal.class_members m
        WHERE m.connection = known AND m.person_id IS NOT NULL AND m.role IN ('teacher', 'student')
        GROUP BY m.class_id
    ) m ON m.class_id = k.sourced_id
    WHERE k.connection = known AND k.ended_at IS NULL
    ORDER BY 2, 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_lists(text) IS 'Implements roster_lists.';
CREATE FUNCTION roster_lists(connection text, OUT class_id text, OUT name text, OUT managers text[],
    OUT members text[], OUT terms text[], OUT periods text[])
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_lists(text) IS
'The user lists that the classes of a connection make, for the terms and grades chosen with roster_configure: the '
'name, the person_ids of list managers (teachers) and of members (students). Users who are linked to no one are left '
'out. 42704 for an unknown connection.';
