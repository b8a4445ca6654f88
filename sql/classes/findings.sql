-- Findings about objects: what a run noticed in the lists of terms, courses, classes, enrollments, contacts and birth
-- dates, as plan/findings.sql has it of people. Costs nothing on a night on which all is as it was.

CREATE FUNCTION minga_roster_internal.note_object_findings(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    enrollments bigint := 0;
    without_role bigint := 0;
    before bigint;
    noted integer;
BEGIN
    IF connection.classes THEN
        SELECT count(*), count(*) FILTER (WHERE s.role IS NULL
            OR s.role NOT IN ('student', 'teacher', 'aide', 'administrator', 'proctor'))
        INTO enrollments, without_role
        FROM plan_objects p
        JOIN minga_roster.staged_enrollments s ON s.connection = note_object_findings.run.connection
            AND s.sourced_id = p.sourced_id
        WHERE p.object = 'enrollment' AND p.action IN ('add', 'change', 'return');
    END IF;
    IF without_role = 0 AND NOT EXISTS (SELECT FROM minga_roster.run_objects o
        WHERE o.run = note_object_findings.run.run AND (o.listed = 0 OR o.damaged >= 4))
    THEN
        RETURN;
    END IF;
    before := minga_roster_internal.former_read(run, connection);
    noted := (SELECT coalesce(max(f.position), 0) FROM minga_roster.run_findings f
        WHERE f.run = note_object_findings.run.run);
    INSERT INTO minga_roster.run_findings (run, position, finding, amount, "of", detail, needs_look)
    WITH found AS (
        -- What was not read to its end is a finding of its own, and so are students, or agents, that are gone.
        SELECT 1 AS place, 'objects_empty' AS finding, 0::bigint AS amount, b.listed AS "of", o.object AS subject,
            true AS looks
        FROM minga_roster.run_objects o
        JOIN minga_roster.run_objects b ON b.run = before AND b.object = o.object AND b.listed > 0
        JOIN (VALUES ('academic_session', 'session'), ('course', 'course'), ('class', 'class'),
            ('enrollment', 'enrollment'), ('contact', 'contact'), ('demographics', 'demographics')) k (object, family)
            ON k.object = o.object
        WHERE o.run = note_object_findings.run.run AND note_object_findings.run.is_full IS NOT FALSE
            AND o.listed = 0 AND o.not_chosen = 0
            AND NOT EXISTS (SELECT FROM minga_roster.collections c
                WHERE c.run = o.run AND c.family = k.family AND (NOT c.complete OR c.proof = 'weak'))
            AND (o.object <> 'contact' OR (
                EXISTS (SELECT FROM minga_roster.collections c
                    WHERE c.run = o.run AND c.family = 'student' AND c.rows > c.elsewhere)
                AND NOT EXISTS (SELECT FROM minga_roster.run_findings f
                    WHERE f.run = o.run AND f.finding = 'field_vanished' AND f.detail ->> 'subject' = 'agents')))
        UNION ALL
        -- Of birth dates the list may be the whole district's.
        SELECT 3, 'objects_unreadable', o.damaged, l.number, o.object, true
        FROM minga_roster.run_objects o
        CROSS JOIN LATERAL (SELECT CASE o.object WHEN 'demographics' THEN o.listed - o.unknown_user - o.not_chosen
            ELSE o.listed END AS number) l
        WHERE o.run = note_object_findings.run.run AND o.object <> 'user' AND o.damaged >= 4
            AND o.damaged * 2 >= l.number
        UNION ALL
        SELECT 2, 'enrollment_role', without_role, enrollments, NULL,
            without_role >= 4 AND without_role * 2 >= enrollments
        WHERE without_role > 0
    )
    SELECT note_object_findings.run.run, noted + row_number() OVER (ORDER BY f.place, f.subject), f.finding, f.amount,
        f."of", jsonb_strip_nulls(jsonb_build_object('subject', f.subject)),
        f.looks AND NOT EXISTS (SELECT FROM minga_roster.run_findings k
            WHERE k.run = before AND k.finding = f.finding AND k.detail ->> 'subject' IS NOT DISTINCT FROM f.subject)
    FROM found f;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_object_findings(runs, connections) IS
'Notes in run_findings which objects the SIS no longer lists at all, of which most rows cannot be read, and how many '
'of the enrollments that are new or different have a role that OneRoster does not know.';
