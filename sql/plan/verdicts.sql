-- The verdicts: what is to be done for each group of rows, as if nothing spoke against it. Written once; what overrules
-- a verdict is a row of plan_vetoes. Must survive anything that the steps before have left open: what is not certain
-- changes no one.

CREATE FUNCTION minga_roster_internal.judge_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    words jsonb := (SELECT r.archive_words FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    local_columns text[] := minga_roster_internal.local_columns(connection.connection);
    -- The columns of the values below, in their order; NULL: one that is not written.
    columns_of_new text[] := ARRAY(SELECT CASE WHEN map ? c.name THEN c.name END
        FROM unnest(ARRAY['given_name', 'family_name', 'middle_name', 'preferred_name', 'email', 'username',
            'identifier', 'grade', 'phone', 'parent_name', 'parent_email', 'parent_phone', 'parent_rule', 'birth_date'])
            WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    columns_of_known text[] := ARRAY(
        SELECT CASE WHEN minga_roster_internal.ownership_unit(c.name) <> ALL (local_columns) THEN c.name END
        FROM unnest(columns_of_new) WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    columns_of_parent text[] := ARRAY(SELECT c FROM unnest(columns_of_new) c WHERE c LIKE E'parent\\_%');
    none text[] := array_fill(NULL::text, ARRAY[cardinality(columns_of_new)]);
BEGIN
    INSERT INTO plan_verdicts
    WITH kept_rank AS MATERIALIZED (
        -- The ranks of rows that are not active: a person keeps such a rank, but never rises to it, with the role that
        -- was written (a new person: with the role of the new account); one who never got a role, marked by an empty
        -- text, has the best.
        SELECT DISTINCT ON (r.label, r.role_written) r.*
        FROM (
            SELECT o.label, unnest(ARRAY[c.role, CASE WHEN c.rostered THEN '' END]) AS role_written, c.category,
                c.role, c.rank, c.rostered
            FROM (
                SELECT n.label, CASE WHEN n.standing = 'inactive' OR (n.standing = 'active' AND n.family <> 'contact')
                    THEN n.category ELSE n.link_category END AS category
                FROM plan_rows n
                WHERE n.standing <> 'absent' AND NOT (n.usable AND n.standing = 'active')
                    AND (n.usable OR n.person_id IS NOT NULL)
                UNION ALL
                SELECT k.label, n.link_category
                FROM plan_rows n JOIN plan_candidates k ON k.person_id = n.person_id
                WHERE n.standing = 'absent' AND minga_roster_internal.family_of(n.link_category)
                    NOT IN (SELECT f.family FROM plan_proved_families f)
            ) o JOIN plan_categories c ON c.category = o.category
        ) r
        WHERE r.role_written IS NOT NULL
        ORDER BY r.label, r.role_written, r.rank
    ), moved AS MATERIALIZED (
        SELECT o.person_id, min(o.role_written) AS role_written, min(o.linked_run) AS linked_run
        FROM plan_rows o WHERE o.standing = 'absent' AND o.person_id IS NOT NULL
        GROUP BY o.person_id
    ), edited AS MATERIALIZED (
        -- Columns that are the SIS's unless edited, and were edited.
        SELECT p.person_id, array_agg(w.column_name) AS columns
        FROM minga_roster.written_values w
        JOIN plan_candidate_people p ON p.person_id = w.person_id
        WHERE w.connection = judge_groups.connection.connection
            AND w.hash IS DISTINCT FROM minga_roster_internal.written_hash(w.column_name, to_jsonb(p))
        GROUP BY p.person_id
    ), matched AS (
        SELECT g.*, c.person_id, c.step, k.conflict, n.person_id AS named_person,
            coalesce(g.role_written, v.role_written) AS last_role, v.linked_run AS first_run,
            CASE WHEN h.rank < g.rank AND h.rostered THEN h.category ELSE g.category END AS due_category,
            CASE WHEN h.rank < g.rank AND h.role = coalesce(g.role_written, v.role_written) THEN h.role
                ELSE g.role END AS due_role,
            coalesce(x.first_elsewhere < coalesce(x.first_own, x.first_elsewhere + 1), false) AS owned_elsewhere
        FROM plan_groups g
        LEFT JOIN plan_conflicts k ON k.label = g.label
        LEFT JOIN plan_candidates c ON c.label = g.label AND k.label IS NULL
        LEFT JOIN (SELECT label, min(person_id) AS person_id FROM plan_candidates
            GROUP BY label HAVING count(DISTINCT person_id) = 1) n ON n.label = k.label
        LEFT JOIN plan_special_people x ON x.person_id = c.person_id
        LEFT JOIN moved v ON v.person_id = c.person_id
        LEFT JOIN kept_rank h ON h.label = g.label AND k.label IS NULL
            AND minga_roster_internal.family_of(h.category) = g.family
            AND h.role_written = coalesce(g.role_written, v.role_written,
                CASE WHEN c.person_id IS NULL THEN g.role ELSE '' END)
        WHERE g.usable
        -- As it is, no part of it is computed twice, and none of it is kept.
        OFFSET 0
    ), compared AS (
        SELECT m.*, r.auto_update AND NOT m.owned_elsewhere AS auto_update,
            p.archived, p.protection, p.status AS status_now, p.archived_at AS archived_at_now,
            z.sent,
            minga_roster_internal.changed_values(
                CASE
                    WHEN p.person_id IS NULL AND NOT m.active THEN none
                    WHEN p.person_id IS NULL THEN columns_of_new
                    WHEN e.columns IS NULL THEN columns_of_known
                    ELSE ARRAY(
                        SELECT CASE WHEN minga_roster_internal.ownership_unit(c.name) <> ALL (e.columns) THEN c.name
                            END
                        FROM unnest(columns_of_known) WITH ORDINALITY c (name, nth) ORDER BY c.nth)
                END,
                CASE WHEN m.parent_name IS NOT NULL OR gone.sourced_id IS NOT NULL THEN columns_of_parent END,
                p.role,
                CASE WHEN p.person_id IS NULL OR (m.last_role IS NOT NULL AND m.due_role <> m.last_role
                    AND ((p.role = m.last_role AND p.role_first)
                        OR z.sent ->> 'role' = minga_roster_internal.value_hash(m.last_role)::text)
                    AND (z.sent ->> 'role') IS DISTINCT FROM minga_roster_internal.value_hash(m.due_role)::text)
                    THEN m.due_role END,
                p.given_name, m.given_name, p.family_name, m.family_name, p.middle_name, m.middle_name,
                p.preferred_name, m.preferred_name, p.email, m.email, p.username, m.username, p.identifier,
                m.identifier, p.grade, m.grade, p.phone, m.phone, p.parent_name, m.parent_name, p.parent_email,
                m.parent_email, p.parent_phone, m.parent_phone, p.parent_rule, m.parent_rule, p.birth_date,
                m.birth_date) AS v
        FROM matched m
        JOIN plan_categories r ON r.category = m.due_category
        LEFT JOIN plan_candidate_people p ON p.person_id = m.person_id
        LEFT JOIN edited e ON e.person_id = m.person_id
        LEFT JOIN plan_as_sent z ON z.person_id = m.person_id
        -- A contact with a rule beside it was written by a roster; any other is the school's own.
        LEFT JOIN plan_parents gone ON gone.sourced_id = m.main_row AND gone.parent_name IS NULL
            AND p.parent_rule IS NOT NULL
        -- As a function in FROM it would keep what it returns.
        OFFSET 0
    ), faced AS (
        SELECT c.*, (c.v).before - k.names AS before, (c.v).after - k.names AS after
        FROM compared c
        -- What the relation made of a value that it was sent is as it should be.
        CROSS JOIN LATERAL (SELECT CASE WHEN c.sent IS NULL OR (c.v).after = '{}' THEN '{}'
            ELSE ARRAY(SELECT a.key FROM jsonb_each_text((c.v).after - 'role') a
                WHERE c.sent ->> a.key = minga_roster_internal.value_hash(a.value)::text) END::text[]) k (names)
        OFFSET 0
    ), judged AS (
        SELECT f.*,
            CASE
                WHEN f.conflict IS NOT NULL THEN 'conflict'
                WHEN f.person_id IS NULL AND NOT f.active THEN 'skip'
                WHEN f.person_id IS NULL AND (f.given_name IS NULL OR f.family_name IS NULL) THEN 'reject'
                WHEN f.person_id IS NULL THEN 'create'
                WHEN f.protection IS NOT NULL THEN 'protect'
                WHEN f.archived AND NOT f.active THEN 'skip'
                WHEN f.archived THEN 'restore'
                WHEN f.auto_update AND f.after <> '{}' THEN 'update'
                WHEN f.joins THEN 'link'
                WHEN f.after <> '{}' THEN 'skip'
                ELSE 'unchanged'
            END AS outcome
        FROM faced f
    ), restored AS MATERIALIZED (
        -- The status before a run archived the person, else the word for active. An archive by a time says nothing of a
        -- status.
        SELECT DISTINCT ON (p.person_id) p.person_id,
            CASE WHEN c.run IS NULL THEN words ->> 'active' ELSE c.before ->> 'archived_at' END AS status
        FROM plan_candidate_people p
        LEFT JOIN minga_roster.links l ON l.site = connection.site AND l.person_id = p.person_id
            AND l.archived_run IS NOT NULL
        LEFT JOIN minga_roster.changes c ON c.site = connection.site AND c.person_id = p.person_id
            AND c.action = 'archive' AND c.state = 'applied' AND l.archived_run IN (c.run, c.done_by)
            AND c.after ->> 'archived_at' = words ->> 'archived'
        WHERE p.archived AND words <> '{}'
        ORDER BY p.person_id, c.run DESC NULLS LAST
    )
    SELECT d.label, d.main_row, d.sourced_ids, coalesce(d.person_id, d.named_person), d.step, d.due_category,
        d.due_role, d.last_role, d.first_run, d.outcome,
        d.joins AND d.outcome IN ('create', 'protect', 'restore', 'update', 'link'),
        CASE d.outcome
            WHEN 'update' THEN d.before
            WHEN 'restore' THEN CASE WHEN d.auto_update THEN d.before ELSE '{}' END
                || jsonb_build_object('archived_at', coalesce(to_jsonb(d.status_now), to_jsonb(d.archived_at_now)))
            ELSE '{}' END,
        CASE d.outcome
            WHEN 'create' THEN d.after
            WHEN 'update' THEN d.after
            WHEN 'restore' THEN CASE WHEN d.auto_update THEN d.after ELSE '{}' END
                || jsonb_build_object('archived_at', r.status)
            ELSE '{}' END,
        CASE
            WHEN d.outcome = 'conflict' THEN 'conflict'
            WHEN d.outcome = 'reject' THEN 'incomplete'
            WHEN d.outcome = 'create' THEN 'new'
            WHEN d.outcome = 'protect' THEN 'protected'
            WHEN d.step = 'link' AND d.joins THEN 'same person'
            WHEN d.step = 'link' THEN 'linked'
            ELSE d.step
        END,
        CASE WHEN d.outcome = 'protect' AND d.protection = 'other_role' THEN 'other_role'
            WHEN d.outcome = 'update' AND d.after -> 'parent_rule' = 'null' THEN
                CASE WHEN EXISTS (SELECT FROM jsonb_each(d.after) a WHERE a.value <> 'null')
                    THEN 'parent_gone_and_more' ELSE 'parent_gone' END
        END,
        -- A protection is told if something would have been done.
        d.outcome IN ('conflict', 'reject', 'create', 'restore', 'update', 'link')
            OR (d.outcome = 'protect' AND (d.joins OR (d.archived AND d.active)
                OR (NOT d.archived AND d.auto_update AND d.after <> '{}'))),
        d.conflict
    FROM judged d
    LEFT JOIN restored r ON r.person_id = d.person_id AND d.outcome = 'restore';
    PERFORM minga_roster_internal.analyze_if_large('plan_verdicts', 'label, person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_groups(connections) IS
'Fills plan_verdicts: for each group with a usable row the outcome of its main row, and the change.';
