-- The plan's rows: numbered and in words, with the outcome of each staged user. They reach `changes` once, in their
-- final state, when the run has written people or, of a preview, when it has noted how it saw them. Must survive
-- anything: each staged user has one outcome, and the sum is checked.

CREATE FUNCTION minga_roster_internal.same_names(connection connections, OUT label text, OUT people text[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH created AS MATERIALIZED (
        SELECT d.label FROM plan_decisions d WHERE 'create' IN (d.outcome, d.held_as)
    ), keyless AS MATERIALIZED (
        SELECT p.person_id, p.role, minga_roster_internal.clean_name(p.given_name) AS given_name,
            minga_roster_internal.clean_name(p.family_name) AS family_name
        FROM plan_people p
        WHERE NOT p.archived AND coalesce(p.identifier, '') = '' AND coalesce(p.email, '') = '' AND p.role <> 'other'
            AND EXISTS (SELECT FROM created)
    ), named AS MATERIALIZED (
        SELECT g.label, g.family, k.person_id, k.role
        FROM plan_groups g
        JOIN created d ON d.label = g.label
        JOIN keyless k ON k.given_name = minga_roster_internal.clean_name(g.given_name)
            AND k.family_name = minga_roster_internal.clean_name(g.family_name)
        WHERE EXISTS (SELECT FROM keyless)
    )
    SELECT n.label, (array_agg(n.person_id ORDER BY n.person_id))[1:100]
    FROM named n
    LEFT JOIN (
        -- Someone who is a listed row is not this one.
        SELECT l.person_id, array_agg(DISTINCT minga_roster_internal.family_of(l.category)) AS families,
            bool_or(CASE WHEN l.connection = (same_names.connection).connection
                THEN coalesce(o.standing, '') <> 'absent'
                ELSE c.retired_at IS NULL AND l.missed_since IS NULL END) AS listed
        FROM minga_roster.links l
        JOIN minga_roster.connections c ON c.connection = l.connection AND c.people = (same_names.connection).people
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id AND l.connection = (same_names.connection).connection
        WHERE l.site = (same_names.connection).site AND l.person_id IN (SELECT person_id FROM named)
        GROUP BY l.person_id
    ) l ON l.person_id = n.person_id
    WHERE l.listed IS NOT TRUE AND CASE WHEN l.families IS NOT NULL THEN n.family = ANY (l.families)
        ELSE coalesce(minga_roster_internal.role_family(n.role), n.family) = n.family END
    GROUP BY n.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.same_names(connections) IS
'For each person to be created the active people of that name and family who have neither an identifier nor an email '
    'address, and whom no listed row is; a hundred at most.';

CREATE FUNCTION minga_roster_internal.change_place(action text, category text, first_row text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE action WHEN 'archive' THEN '1' WHEN 'conflict' THEN '2' WHEN 'create' THEN '3' WHEN 'link' THEN '4'
        WHEN 'protect' THEN '5' WHEN 'reject' THEN '6' WHEN 'restore' THEN '7' ELSE '8' END
    || CASE category WHEN 'admin' THEN '1' WHEN 'contact' THEN '2' WHEN 'staff' THEN '3' WHEN 'student' THEN '4'
        WHEN 'teacher' THEN '5' ELSE '6' END
    || coalesce(first_row, '');
COMMENT ON FUNCTION minga_roster_internal.change_place(text, text, text) IS
'What changes are numbered by: action, category and first row, as one key. Of thousands of new students it differs in '
    'its first bytes.';

CREATE FUNCTION minga_roster_internal.plan_changes(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '40MB' AS $$
DECLARE
    word text := (SELECT r.archive_words ->> 'archived' FROM minga_roster.people_relations r
        WHERE r.relation = connection.people);
BEGIN
    INSERT INTO plan_changes (change, label, category, person_id, sourced_ids, action, rule, reason, before, after,
        state, state_reason, state_cause, conflict, same_name)
    WITH sentences AS MATERIALIZED (
        -- Many changes are held for one reason: its sentence is made once.
        SELECT h.cause, h.figures, minga_roster_internal.held_reason(h.cause, h.figures) AS sentence
        FROM (SELECT DISTINCT v.cause, coalesce(v.figures, '{}') AS figures FROM plan_vetoes v
            WHERE v.outcome = 'held') h
    ), planned AS (
        SELECT d.label, d.category, d.person_id, d.sourced_ids, coalesce(d.held_as, d.outcome) AS action, d.rule,
            CASE WHEN d.conflict = 'not_unique' THEN minga_roster_internal.unique_index_reason(d.figures ->> 'index',
                    d.figures ? 'person', coalesce((d.figures -> 'absent')::boolean, false))
                ELSE minga_roster_internal.change_reason(CASE WHEN d.outcome = 'conflict' THEN 'conflict'
                    ELSE d.verdict END, d.rule, d.conflict,
                    CASE WHEN s.people IS NOT NULL THEN 'same_name' ELSE d.detail END) END AS reason,
            d.before, d.after, d.held_cause AS cause, d.figures, d.conflict, s.people AS same_name
        FROM plan_decisions d
        LEFT JOIN minga_roster_internal.same_names(connection) s ON s.label = d.label
        WHERE d.told
        UNION ALL
        -- A first match is linked, although its update is held.
        SELECT d.label, d.category, d.person_id, d.sourced_ids, 'link', d.rule,
            minga_roster_internal.change_reason('link', d.rule, NULL, NULL), '{}', '{}', NULL, NULL, NULL, NULL
        FROM plan_decisions d
        WHERE d.held_as = 'update' AND d.links
        UNION ALL
        SELECT o.sourced_id, o.category, o.person_id, ARRAY[o.sourced_id::text], 'reject', 'unreadable',
            minga_roster_internal.change_reason('reject', 'unreadable', NULL,
                CASE WHEN o.damaged_field IS NOT NULL THEN 'field:' || o.damaged_field
                    WHEN o.standing = 'damaged' THEN 'characters' ELSE 'status' END),
            '{}', '{}', NULL, NULL, NULL, NULL
        FROM plan_rows o
        LEFT JOIN plan_decisions d ON d.label = o.label AND d.outcome = 'conflict'
        WHERE o.standing IN ('damaged', 'unknown') AND coalesce(o.rostered, true)
            AND o.family IS DISTINCT FROM 'contact' AND d.label IS NULL
        UNION ALL
        SELECT l.label, l.category, l.person_id, l.sourced_ids, a.action,
            CASE a.action WHEN 'archive' THEN 'absent' ELSE 'protected' END,
            minga_roster_internal.change_reason(a.action, 'absent', NULL,
                CASE a.action WHEN 'protect' THEN 'absent' END),
            CASE a.action WHEN 'archive' THEN jsonb_build_object('archived_at', l.status) ELSE '{}' END,
            CASE WHEN a.action = 'archive' AND word IS NOT NULL THEN jsonb_build_object('archived_at', word)
                ELSE '{}' END,
            v.cause, v.figures, NULL, NULL
        FROM plan_leavers l
        LEFT JOIN plan_vetoes v ON v.label = l.label
        CROSS JOIN LATERAL (SELECT CASE WHEN l.protection IS NULL THEN 'archive' ELSE 'protect' END) a (action)
    )
    SELECT row_number() OVER (ORDER BY n.place, n.sourced_ids), n.label, n.category, n.person_id,
        n.sourced_ids, n.action, n.rule, n.reason, n.before, n.after,
        CASE WHEN n.cause IS NOT NULL THEN 'held' WHEN n.action IN ('conflict', 'reject', 'protect') THEN 'noted'
            ELSE 'planned' END,
        CASE WHEN n.cause IS NOT NULL THEN h.sentence
            WHEN n.figures ? 'person' THEN minga_roster_internal.state_reason('holder', n.figures ->> 'person') END,
        n.cause, n.conflict, n.same_name
    FROM (
        SELECT p.*, minga_roster_internal.change_place(p.action, p.category, p.sourced_ids[1]) COLLATE "C" AS place
        FROM planned p
    ) n
    LEFT JOIN sentences h ON h.cause = n.cause AND h.figures = coalesce(n.figures, '{}');
    PERFORM minga_roster_internal.analyze_if_large('plan_changes', 'change, label, person_id, action, state');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_changes(connections) IS
'Fills plan_changes with the decisions, the unreadable rows and the leavers.';

CREATE FUNCTION minga_roster_internal.settled_changes_query(changes text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $query$
    SELECT minga_roster_internal.fill_template($template$
        SELECT $1, c.change, ($2).site, c.category,
            CASE WHEN c.state <> 'planned' OR c.action <> 'create' THEN c.person_id WHEN w.done THEN w.person_id END,
            c.sourced_ids,
            CASE WHEN w.code = 'kept' THEN CASE WHEN w.links THEN 'link' ELSE c.action END
                WHEN w.code = 'not stored' AND c.action = 'create' THEN 'conflict'
                WHEN w.code IS NOT NULL THEN 'reject'
                ELSE c.action END,
            CASE w.code WHEN 'refused' THEN 'refused by people' WHEN 'not stored' THEN 'not stored' ELSE c.rule END,
            CASE WHEN w.code IN ('refused', 'not stored') THEN w.failure ELSE c.reason END,
            CASE WHEN w.links THEN '{}' ELSE c.before END,
            CASE WHEN c.action = 'archive' AND w.done
                    THEN jsonb_build_object('archived_at', $3) || c.after
                WHEN w.links THEN '{}'
                ELSE c.after END,
            CASE WHEN c.state <> 'planned' THEN c.state
                WHEN w.code IN ('refused', 'not stored') THEN 'noted'
                WHEN coalesce(w.done, true) OR w.links THEN 'applied'
                ELSE 'refused' END,
            $3,
            CASE WHEN c.state <> 'planned' THEN c.state_reason
                WHEN w.code = 'kept' THEN w.failure
                WHEN w.code IS NULL AND NOT coalesce(w.done, true)
                    THEN minga_roster_internal.state_reason('changed_since', NULL) END,
            CASE WHEN c.state <> 'planned' THEN c.state_cause
                ELSE CASE w.code WHEN 'refused' THEN 'refused_by_people' WHEN 'not stored' THEN 'not_stored'
                    WHEN 'kept' THEN 'kept_by_people' END END,
            coalesce(w.seen, c.seen),
            CASE WHEN c.state = 'planned' AND (coalesce(w.done, true) OR w.links) THEN ($2).run END,
            CASE WHEN w.code = 'not stored' AND c.action = 'create' THEN 'not_stored' ELSE c.conflict END,
            c.same_name, w.stored
        FROM {changes}
    $template$, 'changes', changes)
$query$;
COMMENT ON FUNCTION minga_roster_internal.settled_changes_query(text) IS
'A query over changes c and what became of them w (columns of plan_changes and plan_written), planned in the run $1, '
    'as the run $2 (a row of runs), which has carried out the planned ones by the time $3, leaves them. As a part of a '
    'statement it keeps no row; a function would keep all.';

CREATE FUNCTION minga_roster_internal.keep_changes(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    changes text;
BEGIN
    IF run.kind = 'preview' THEN
        INSERT INTO minga_roster.changes (run, change, site, category, person_id, sourced_ids, action, rule, reason,
            before, after, state, state_at, state_reason, state_cause, seen, conflict, same_name)
        SELECT run.run, c.change, run.site, c.category, c.person_id, c.sourced_ids, c.action, c.rule, c.reason,
            c.before, c.after, c.state, minga_roster_internal.clock(), c.state_reason, c.state_cause, s.seen,
            c.conflict, c.same_name
        FROM plan_changes c LEFT JOIN plan_sights s ON s.change = c.change;
    ELSE
        FOREACH changes IN ARRAY array_remove(ARRAY[
            CASE WHEN EXISTS (SELECT FROM plan_changes) THEN
                'plan_changes c LEFT JOIN plan_written w ON w.change = c.change' END,
            CASE WHEN EXISTS (SELECT FROM plan_writes w WHERE w.action = 'new') THEN
                minga_roster_internal.new_changes((minga_roster_internal.known_connection(run.connection)).people) END],
            NULL)
        LOOP
            EXECUTE 'INSERT INTO minga_roster.changes ' || minga_roster_internal.settled_changes_query(changes)
            USING run.run, run, minga_roster_internal.clock();
        END LOOP;
    END IF;
    INSERT INTO minga_roster.conflict_candidates (run, change, person_id, found_by)
    SELECT DISTINCT run.run, c.change, k.person_id, k.step
    FROM plan_changes c
    JOIN plan_candidates k ON k.label = c.label
    WHERE c.action = 'conflict'
    UNION ALL
    SELECT run.run, c.change, v.figures ->> 'person', 'unique index'
    FROM plan_changes c
    JOIN plan_vetoes v ON v.label = c.label AND v.cause = 'not_unique'
    JOIN plan_people p ON p.person_id = v.figures ->> 'person'
    WHERE c.action = 'conflict';
    INSERT INTO minga_roster.planned_links (run, sourced_id, deed, change, category, role_written, rule, missing,
        returned)
    SELECT run.run, o.sourced_id, 'insert', c.change, o.category, d.after ->> 'role', d.rule, false, false
    FROM plan_decisions d
    JOIN plan_changes c ON c.label = d.label AND c.action = 'create' AND c.state = 'held'
    JOIN plan_rows o ON o.label = d.label AND o.usable
    WHERE d.held_cause = 'new_site';
    PERFORM minga_roster_internal.keep_conflict_pairs(run);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_changes(runs) IS
'Writes the plan''s rows to changes, in their final state; with them the people whom a conflict names, both sides of '
    'each conflict for roster_conflicts, and the links of creates held for a new site, which an approval writes.';
