-- A night on which no list has anything new: known by digests, so that nothing has to be compared. Must not take
-- another night for one: what the outcome depends on, beside the lists, is part of what has to be the same.

CREATE FUNCTION minga_roster_internal.days_ahead(connection connections) RETURNS integer
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN greatest(14, CASE WHEN connection.delta THEN connection.full_every END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.days_ahead(connections) IS
'How many days before its first one a term is current, so that lists are ready on that day; with delta as early as a '
'full read may be the last before that.';

CREATE FUNCTION minga_roster_internal.objects_given(run runs, connection connections, proved text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    staged CONSTANT text := (SELECT g.digest FROM minga_roster.stages g
        WHERE g.connection = objects_given.connection.connection AND g.run = objects_given.run.run AND g.is_full);
BEGIN
    -- Which rows are those of forgotten people depends on links and names.
    IF staged IS NULL OR run.is_full IS NOT TRUE OR EXISTS (SELECT FROM minga_roster.forgotten_people f
        WHERE f.site = objects_given.connection.site) THEN
        RETURN NULL;
    END IF;
    connection.newest_modified := NULL;
    connection.full_read_on := NULL;
    connection.filter_unusable := NULL;
    -- History that is pruned takes ended terms and classes with it, by which enrollments may have been left out.
    RETURN encode(sha256(convert_to(concat_ws(E'\n', staged, proved, run.reduced_roles::text, connection::text,
        (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'minga_roster'),
        (SELECT s::text FROM minga_roster.sis s WHERE s.sis = objects_given.connection.sis),
        -- As the plan has read them: a toggle may have been changed since.
        (SELECT string_agg(r::text, ' ' ORDER BY r.roster_role) FROM plan_rules r),
        -- A list that was read where others are listed too does not tell the role of its rows.
        (SELECT string_agg(format('%s %s %s %s', c.collection, c.complete, c.without_id, c.fallback), ' '
                ORDER BY c.collection)
            FROM minga_roster.collections c WHERE c.run = objects_given.run.run),
        (SELECT count(*) FROM minga_roster.academic_sessions s
            WHERE s.connection = objects_given.connection.connection),
        (SELECT count(*) FROM minga_roster.classes k WHERE k.connection = objects_given.connection.connection)),
        'UTF8')), 'hex');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.objects_given(runs, connections, text[]) IS
'A hash of what the plan of objects depends on, beside the day and what is stored of them; NULL if it cannot be told. '
'proved: the families whose lists the run has read completely.';

CREATE FUNCTION minga_roster_internal.take_over_counts(run runs, connection connections, given text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO minga_roster.run_objects (run, object, complete, listed, unknown_user, unknown_class, unknown_course,
        unknown_term, not_chosen, damaged)
    SELECT take_over_counts.run.run, o.object, o.complete, o.listed, o.unknown_user, o.unknown_class, o.unknown_course,
        o.unknown_term, o.not_chosen, o.damaged
    FROM minga_roster.object_marks m
    JOIN minga_roster.run_objects o ON o.run = m.run AND o.object <> 'demographics'
    WHERE m.connection = take_over_counts.connection.connection AND m.given = take_over_counts.given
        AND m.days @> (minga_roster_internal.clock() AT TIME ZONE take_over_counts.connection.time_zone)::date;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.take_over_counts(runs, connections, text) IS
'Whether nothing has changed since a run that found nothing to do; the run then has its counts.';

CREATE FUNCTION minga_roster_internal.mark_objects(run runs, connection connections, given text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    today CONSTANT date := (minga_roster_internal.clock() AT TIME ZONE connection.time_zone)::date;
BEGIN
    IF EXISTS (SELECT FROM plan_objects)
        OR EXISTS (SELECT FROM minga_roster.run_findings f
            WHERE f.run = mark_objects.run.run AND f.finding = 'no_class_chosen') THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.object_marks AS m (connection, run, given, days)
    SELECT mark_objects.connection.connection, mark_objects.run.run, mark_objects.given,
        daterange(today, min(d.day) FILTER (WHERE d.day > today))
    FROM minga_roster.academic_sessions s
    CROSS JOIN LATERAL (VALUES (s.start_date - minga_roster_internal.days_ahead(mark_objects.connection)),
        (s.end_date + 1)) AS d (day)
    WHERE s.connection = mark_objects.connection.connection
    ON CONFLICT ON CONSTRAINT object_marks_pkey DO UPDATE
    SET run = EXCLUDED.run, given = EXCLUDED.given, days = EXCLUDED.days;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_objects(runs, connections, text) IS
'Notes that the run has compared all objects, if there was nothing to do and nothing to find.';

CREATE FUNCTION minga_roster_internal.unmark_objects(connections text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM minga_roster.object_marks m WHERE m.connection = ANY (connections);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.unmark_objects(text[]) IS
'For each that writes objects: the next run compares them.';
