-- Findings: what a run noticed in the roster besides what it changed. They are codes with numbers; report.sql turns
-- them into sentences. Must survive a SIS that sends anything: names of roles come from the SIS, and are kept short and
-- few.

CREATE FUNCTION minga_roster_internal.former_read(run runs, connection connections) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT r.run
    FROM minga_roster.runs r
    WHERE r.connection = (former_read.run).connection AND r.run <> (former_read.run).run
        AND r.state = 'succeeded' AND r.is_full AND r.finished_at >= (former_read.connection).unproven_since
        AND minga_roster_internal.carried_out_by(r) IS NOT NULL
    ORDER BY r.run DESC
    LIMIT 1);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.former_read(runs, connections) IS
'The last full sync or applied preview that succeeded before the run, of the same address, SIS and school; NULL if '
'there is none.';

CREATE FUNCTION minga_roster_internal.collections_without_role(connection text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN (
        SELECT jsonb_agg(DISTINCT s.collection) FROM minga_roster.staged_users s
        WHERE s.connection = collections_without_role.connection AND s.role IS NULL AND NOT s.damaged
            AND s.status IS DISTINCT FROM 'tobedeleted');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.collections_without_role(text) IS
'The collections that list readable rows without a role.';

CREATE FUNCTION minga_roster_internal.keep_figures(run runs, connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT p.columns FROM minga_roster.people_relations p WHERE p.relation = connection.people);
BEGIN
    IF run.is_full IS FALSE THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.run_figures (run, category, people, inactive, filled)
    SELECT run.run, r.category, sum(l.people), sum(l.inactive),
        -- What is not requested has not vanished.
        jsonb_strip_nulls(jsonb_build_object('given_name', sum(l.given_name), 'family_name', sum(l.family_name),
            'middle_name', CASE WHEN map ? 'middle_name' THEN sum(l.middle_name) END,
            'preferred_name', sum(l.preferred_name), 'email', sum(l.email), 'username', sum(l.username),
            'identifier', sum(l.identifier), 'grade', CASE WHEN map ? 'grade' THEN sum(l.grade) END,
            'phone', CASE WHEN map ? 'phone' THEN sum(l.phone) END,
            'agents', CASE WHEN connection.parent_contact OR connection.contacts THEN sum(l.agents) END))
    FROM plan_listed_roles l JOIN plan_rules r ON r.roster_role = l.role
    WHERE r.rostered AND l.people > 0
    GROUP BY r.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_figures(runs, connections) IS
'Of a full run, keeps in run_figures for the next run to compare with: how many rows of each category are listed, are '
'inactive, and have a value in each field.';

CREATE FUNCTION minga_roster_internal.note_findings(run runs, connection connections, looks boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
DECLARE
    roles_named CONSTANT integer := 5;
    before bigint := minga_roster_internal.former_read(run, connection);
    staying jsonb := '{}';
    held jsonb := '[]';
BEGIN
    PERFORM minga_roster_internal.keep_figures(run, connection);
    IF looks THEN
        SELECT coalesce(jsonb_object_agg(s.category, s.people), '{}') INTO staying
        FROM (
            SELECT o.category, count(DISTINCT p.person_id) AS people
            FROM plan_rows o
            LEFT JOIN plan_decisions d ON d.label = o.label
            JOIN plan_candidate_people p ON p.person_id = coalesce(o.person_id, d.person_id) AND NOT p.archived
            WHERE o.standing = 'inactive' AND o.category IS NOT NULL
            GROUP BY o.category
        ) s;
        SELECT coalesce(jsonb_agg(to_jsonb(m)), '[]') INTO held FROM plan_mass_updates m;
    ELSIF EXISTS (SELECT FROM plan_open_rows o WHERE o.standing = 'inactive' AND o.linked) THEN
        SELECT coalesce(jsonb_object_agg(s.category, s.people), '{}') INTO staying
        FROM (
            SELECT o.category, count(DISTINCT p.person_id) AS people
            FROM plan_open_rows o JOIN plan_people p ON p.person_id = o.person_id AND NOT p.archived
            WHERE o.standing = 'inactive' AND o.category IS NOT NULL
            GROUP BY o.category
        ) s;
    END IF;
    INSERT INTO minga_roster.run_findings (run, position, finding, category, amount, "of", detail, needs_look)
    WITH read_collections AS MATERIALIZED (
        SELECT c.*, e.entry -> 'categories' AS categories
        FROM minga_roster.collections c
        JOIN minga_roster.sis s ON s.sis = connection.sis
        CROSS JOIN LATERAL jsonb_array_elements(s.collections) AS e (entry)
        WHERE c.run = note_findings.run.run AND e.entry ->> 'collection' = c.collection
    ), unknown AS MATERIALIZED (
        SELECT left(l.role, 40) AS role, sum(l.people) AS people,
            row_number() OVER (ORDER BY sum(l.people) DESC, left(l.role, 40)) AS nth
        FROM plan_listed_roles l LEFT JOIN plan_rules r ON r.roster_role = l.role
        WHERE l.role IS NOT NULL AND l.people > 0 AND r.roster_role IS NULL
        GROUP BY left(l.role, 40)
    ), found AS (
        SELECT 1 AS place, CASE WHEN f.inactive = f.people THEN 'inactive_all' ELSE 'inactive_some' END AS finding,
            f.category, f.inactive AS amount, f.people AS "of",
            jsonb_build_object('accounts', coalesce((staying ->> f.category)::bigint, 0))
                || CASE WHEN f.inactive < f.people AND f.people >= 4 AND f.inactive * 2 >= f.people
                    THEN '{"subject": "most"}'::jsonb ELSE '{}' END AS detail,
            f.inactive = f.people OR (f.people >= 4 AND f.inactive * 2 >= f.people) AS looks
        FROM minga_roster.run_figures f
        WHERE f.run = note_findings.run.run AND f.inactive > 0
        UNION ALL
        SELECT 2, 'category_empty', b.category, 0, b.people, '{}'::jsonb, true
        FROM minga_roster.run_figures b
        JOIN (SELECT DISTINCT ON (r.category) r.category, r.rostered FROM plan_rules r
            ORDER BY r.category, r.rank, r.roster_role) c ON c.category = b.category AND c.rostered
        LEFT JOIN minga_roster.run_figures f ON f.run = note_findings.run.run AND f.category = b.category
        WHERE b.run = before AND note_findings.run.is_full AND f.category IS NULL
            AND EXISTS (SELECT FROM read_collections r WHERE r.categories ? b.category AND r.proof IS NOT NULL)
        UNION ALL
        -- Gone from everyone, or from nine of ten people where most had a value.
        SELECT 3, 'field_vanished', f.category, n.number, f.people,
            jsonb_build_object('subject', n.field, 'before', b.number, 'before_of', p.people), true
        FROM minga_roster.run_figures f
        JOIN minga_roster.run_figures p ON p.run = before AND p.category = f.category
        CROSS JOIN LATERAL (SELECT a.key AS field, a.value::bigint AS number FROM jsonb_each_text(f.filled) a) n
        CROSS JOIN LATERAL (SELECT (p.filled ->> n.field)::bigint AS number) b
        WHERE f.run = note_findings.run.run AND b.number >= 2 AND b.number * 20 >= p.people
            AND (n.number = 0 OR (b.number * 2 >= p.people AND n.number * 10 * p.people <= b.number * f.people))
        UNION ALL
        SELECT 4, 'roles_ended', NULL, r.roles_ended, r.rows,
            jsonb_build_object('subject', r.collection, 'left', r.rows - r.elsewhere), true
        FROM read_collections r
        WHERE r.roles_ended > 0 AND (r.rows - r.elsewhere) * 10 <= r.roles_ended
        UNION ALL
        SELECT 5, 'no_role', NULL, r.without_role, r.rows - r.elsewhere,
            jsonb_build_object('subject', r.collection, 'told', true), false
        FROM read_collections r
        WHERE r.without_role > 0
        UNION ALL
        SELECT 6, 'no_role', NULL, l.people, NULL,
            jsonb_build_object('collections',
                minga_roster_internal.collections_without_role(note_findings.run.connection)), true
        FROM plan_listed_roles l
        WHERE l.role IS NULL AND l.people > 0
        UNION ALL
        SELECT 7, 'unknown_role', NULL, sum(u.people), NULL,
            CASE WHEN u.nth <= roles_named THEN jsonb_build_object('subject', min(u.role))
                ELSE jsonb_build_object('others', count(*)) END, true
        FROM unknown u
        GROUP BY CASE WHEN u.nth <= roles_named THEN u.nth END, u.nth <= roles_named
        UNION ALL
        SELECT 8, 'without_id', NULL, r.without_id, r.rows, jsonb_build_object('subject', r.collection), true
        FROM read_collections r
        WHERE r.without_id > 0
        UNION ALL
        SELECT 9, 'incomplete', NULL, r.distinct_ids, r.claimed_total,
            jsonb_strip_nulls(jsonb_build_object('subject', r.collection, 'family', r.family, 'cause', r.weak_cause)),
            true
        FROM read_collections r
        WHERE (NOT r.complete OR r.proof = 'weak') AND (note_findings.run.is_full IS NOT FALSE OR r.proof IS NULL)
        UNION ALL
        SELECT 10, 'mass_update_held', m.category, m.changed, m.people,
            jsonb_build_object('subject', m.column_name, 'percent', connection.guard_update_percent), true
        FROM jsonb_to_recordset(held) m (category text, column_name text, changed bigint, people bigint)
    )
    SELECT note_findings.run.run,
        row_number() OVER (ORDER BY f.place, array_position(minga_roster_internal.categories(), f.category),
            f.amount DESC,
            f.detail),
        f.finding, f.category, f.amount, f."of", f.detail,
        -- Reported once. What waits for a decision is reported as long as it waits.
        f.looks AND (f.finding = 'mass_update_held' OR NOT EXISTS (
            SELECT FROM minga_roster.run_findings k
            WHERE k.run = before AND k.finding = f.finding AND k.category IS NOT DISTINCT FROM f.category
                AND k.detail ->> 'subject' IS NOT DISTINCT FROM f.detail ->> 'subject'
                AND k.detail ->> 'cause' IS NOT DISTINCT FROM f.detail ->> 'cause'))
    FROM found f;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_findings(runs, connections, boolean) IS
'Notes in run_findings what the run noticed in the roster; looks is what plan_run returns.';

CREATE FUNCTION minga_roster_internal.mark_incomplete(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    UPDATE minga_roster.runs r SET incomplete = true
    WHERE r.run = mark_incomplete.run AND NOT r.incomplete AND EXISTS (
        SELECT FROM minga_roster.collections c
        WHERE c.run = r.run AND (NOT c.complete OR c.proof = 'weak') AND (r.is_full IS NOT FALSE OR c.proof IS NULL));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_incomplete(bigint) IS
'Marks the run as incomplete if a list was not proved complete. A delta needs no proof; it is incomplete if a list '
'could not be read at all.';
