-- The links as the run would leave them: which are new, which move from an absent sourcedId to the one that took its
-- place, which go missing or return. Planned before the guard, whose base they are.

CREATE FUNCTION minga_roster_internal.plan_links() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF (SELECT count(*) FROM plan_verdicts) > 1000 THEN
        PERFORM minga_roster_internal.analyze_if_large('plan_vetoes', 'label');
    END IF;
    INSERT INTO plan_links (sourced_id, deed, label, person_id, category, rule, linked_run, missing, returned)
    SELECT o.sourced_id, CASE WHEN o.linked THEN 'replace' ELSE 'insert' END, d.label, d.person_id, o.category, d.rule,
        d.first_run, false, false
    FROM plan_verdicts d
    JOIN plan_rows o ON o.label = d.label
    LEFT JOIN plan_vetoes v ON v.label = d.label
    WHERE d.links AND d.outcome NOT IN ('conflict', 'reject') AND v.label IS NULL AND o.usable
        AND o.person_id IS NULL;
    INSERT INTO plan_links (sourced_id, deed, label, person_id, category, rule, linked_run, missing, returned)
    WITH settled AS (
        SELECT d.label, d.person_id, d.links AND v.label IS NULL AS links, d.step
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE d.outcome NOT IN ('conflict', 'reject') AND v.outcome IS DISTINCT FROM 'conflict'
    ), gone AS MATERIALIZED (
        -- A link moves from an absent sourcedId to the one that took its place.
        SELECT o.sourced_id, min(s.label) AS label
        FROM settled s JOIN plan_rows o ON o.person_id = s.person_id
        WHERE s.links AND s.step IN ('former id', 'identifier', 'e-mail') AND o.standing = 'absent' AND o.linked
        GROUP BY o.sourced_id
    ), kept AS (
        SELECT o.sourced_id,
            CASE WHEN s.label IS NOT NULL AND o.usable AND o.person_id IS NOT NULL AND o.link_category <> o.category
                THEN o.category END AS category,
            -- Absence is recorded once, when it is proved, and ends with the row's return.
            o.standing = 'absent' AND NOT o.missed AND minga_roster_internal.family_of(o.link_category)
                IN (SELECT f.family FROM plan_proved_families f) AS missing,
            o.standing <> 'absent' AND o.missed AS returned
        FROM plan_rows o LEFT JOIN settled s ON s.label = o.label
        WHERE o.linked
            AND o.sourced_id NOT IN (SELECT g.sourced_id FROM gone g)
            AND o.sourced_id NOT IN (SELECT n.sourced_id FROM plan_links n)
    )
    SELECT g.sourced_id, 'delete', g.label, NULL, NULL, NULL, NULL::bigint, false, false FROM gone g
    UNION ALL
    SELECT k.sourced_id, 'update', NULL, NULL, k.category, NULL, NULL, k.missing, k.returned FROM kept k
    WHERE k.category IS NOT NULL OR k.missing OR k.returned;
    PERFORM minga_roster_internal.analyze_if_large('plan_links', 'sourced_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_links() IS
'Fills plan_links: what becomes of the links, one row for each. Insert, replace and delete wait for the change of the '
    'verdict that they are of.';
