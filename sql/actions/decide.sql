-- Conflicts that a person has to settle: who could be meant, and what was decided, which is remembered and used by
-- every later plan.

CREATE FUNCTION minga_roster_internal.drop_conflict_pairs(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    DELETE FROM minga_roster.conflict_pairs k
    WHERE k.run IN (SELECT r.run FROM minga_roster.runs r WHERE r.connection = drop_conflict_pairs.connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.drop_conflict_pairs(text) IS
'Removes what roster_conflicts shows for a connection.';

CREATE FUNCTION minga_roster_internal.keep_conflict_pairs(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM minga_roster_internal.drop_conflict_pairs(run.connection);
    IF NOT EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = keep_conflict_pairs.run.run
        AND c.action = 'conflict') THEN
        RETURN;
    END IF;
    INSERT INTO minga_roster.conflict_pairs
    SELECT p.run, p.change, row_number() OVER (PARTITION BY p.change ORDER BY p.sourced_id COLLATE "C",
        p.person_id COLLATE "C"), p.sourced_id,
        minga_roster_internal.shown_name(s.given_name), minga_roster_internal.shown_name(s.family_name), s.identifier,
        s.email, s.username, s.role, p.person_id, p.found_by,
        minga_roster_internal.readable(h.given_name), minga_roster_internal.readable(h.family_name),
        minga_roster_internal.readable(h.identifier), minga_roster_internal.readable(h.email),
        minga_roster_internal.readable(h.username), minga_roster_internal.readable(h.role_word), h.archived, a.agrees,
        a.differs
    FROM (
        WITH candidate AS MATERIALIZED (
            SELECT k.change, k.person_id, string_agg(k.found_by, ', ' ORDER BY k.found_by) AS found_by
            FROM minga_roster.conflict_candidates k WHERE k.run = keep_conflict_pairs.run.run
            GROUP BY k.change, k.person_id
        ), conflict AS MATERIALIZED (
            SELECT c.run, c.change, c.sourced_ids, n.first_person,
                coalesce(n.people * cardinality(c.sourced_ids) > 1000, false) AS is_large
            FROM minga_roster.changes c
            LEFT JOIN (SELECT d.change, count(*) AS people, min(d.person_id) AS first_person FROM candidate d
                GROUP BY d.change) n ON n.change = c.change
            WHERE c.run = keep_conflict_pairs.run.run AND c.action = 'conflict'
        ), pair AS (
            SELECT c.run, c.change, i.id AS sourced_id, k.person_id
            FROM conflict c CROSS JOIN LATERAL unnest(c.sourced_ids) i (id) LEFT JOIN candidate k ON k.change = c.change
            WHERE NOT c.is_large
            UNION ALL
            -- If there are too many pairs: each row with the first person, and each person with the first row.
            SELECT c.run, c.change, i.id, c.first_person FROM conflict c
            CROSS JOIN LATERAL unnest(c.sourced_ids) i (id) WHERE c.is_large
            UNION ALL
            SELECT c.run, c.change, c.sourced_ids[1], k.person_id FROM conflict c
            JOIN candidate k ON k.change = c.change AND k.person_id <> c.first_person
            WHERE c.is_large
        )
        SELECT p.run, p.change, p.sourced_id, p.person_id, k.found_by
        FROM pair p LEFT JOIN candidate k ON k.change = p.change AND k.person_id = p.person_id
    ) p
    LEFT JOIN (SELECT * FROM minga_roster.staged_users u WHERE u.connection = keep_conflict_pairs.run.connection) s
        ON s.sourced_id = p.sourced_id COLLATE "C"
    LEFT JOIN plan_people h ON h.person_id = p.person_id
    CROSS JOIN LATERAL (
        SELECT array_agg(v.name ORDER BY v.nth) FILTER (WHERE v.same) AS agrees,
            array_agg(v.name ORDER BY v.nth) FILTER (WHERE NOT v.same) AS differs
        FROM (VALUES
            (1, 'given_name', minga_roster_internal.given_names_agree(minga_roster_internal.clean_name(s.given_name),
                minga_roster_internal.clean_name(s.preferred_name),
                minga_roster_internal.clean_name(h.given_name), minga_roster_internal.clean_name(h.preferred_name))),
            (2, 'family_name',
                minga_roster_internal.clean_name(s.family_name) = minga_roster_internal.clean_name(h.family_name)),
            (3, 'identifier', lower(s.identifier COLLATE "C") = lower(h.identifier COLLATE "C")),
            (4, 'email', lower(s.email COLLATE "C") = lower(h.email COLLATE "C")),
            (5, 'username', lower(s.username COLLATE "C") = lower(h.username COLLATE "C"))) AS v (nth, name, same)
        WHERE h.person_id IS NOT NULL
    ) a;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_conflict_pairs(runs) IS
'Stores both sides of the plan''s conflicts for roster_conflicts, replacing those of the connection''s previous plan.';

CREATE VIEW minga_roster_internal.latest_plans WITH (security_invoker = true) AS
    SELECT DISTINCT ON (r.connection) r.connection, r.run
    FROM minga_roster.runs r
    JOIN minga_roster.connections n ON n.connection = r.connection AND n.site = r.site AND n.retired_at IS NULL
    WHERE r.kind IN ('preview', 'sync') AND r.state = 'succeeded'
    ORDER BY r.connection, r.run DESC;
COMMENT ON VIEW minga_roster_internal.latest_plans IS 'The newest successful preview or sync of each connection.';

CREATE VIEW roster_conflicts WITH (security_invoker = true) AS
    SELECT l.connection, c.site, c.run, c.category, k.sourced_id, k.person_id, c.conflict, c.reason, k.found_by,
        k.given_name, k.family_name, k.identifier, k.email, k.username, k.role,
        k.person_given_name, k.person_family_name, k.person_identifier, k.person_email, k.person_username,
        k.person_role, k.person_archived,
        k.agrees, k.differs, c.sourced_ids
    FROM minga_roster_internal.latest_plans l
    JOIN minga_roster.changes c ON c.run = l.run AND c.action = 'conflict'
    JOIN minga_roster.conflict_pairs k ON k.run = c.run AND k.change = c.change;
COMMENT ON VIEW roster_conflicts IS
'The conflicts in each connection''s latest plan: one row for each roster row and each person it could be, side by '
'side, as the plan saw them. roster_decide settles them. Shows names and addresses.';
COMMENT ON COLUMN roster_conflicts.person_id IS
'A person whom the row could be; NULL if the rows contradict each other and no person of the site is involved.';
COMMENT ON COLUMN roster_conflicts.conflict IS
'The kind of conflict as a code (changes.conflict); reason is the sentence for it.';
COMMENT ON COLUMN roster_conflicts.found_by IS
'What points to the person: link, former id, identifier or e-mail; row: another row of the person would be joined with '
'this one; unique index: the person has a value of the row that a unique index of the people relation allows once.';
COMMENT ON COLUMN roster_conflicts.given_name IS
'This and the next five columns are the roster row; the columns that begin with person_ are the person.';
COMMENT ON COLUMN roster_conflicts.agrees IS
'Fields in which the row and the person agree, out of given_name, family_name, identifier, email and username. A field '
'that is empty on either side is neither here nor in differs.';
COMMENT ON COLUMN roster_conflicts.sourced_ids IS 'All roster rows that form this conflict.';

CREATE FUNCTION minga_roster_internal.do_decide(connection text, sourced_id text, decision text, person_id text)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    staged record;
    is_staged boolean;
BEGIN
    IF decision IS NULL OR decision NOT IN ('same person', 'never the same', 'new person', 'skip', 'undecided') THEN
        PERFORM minga_roster_internal.refuse_parameter('decision', decision,
            'Valid decisions are "same person", "never the same", "new person", "skip" and "undecided".',
            'Use "undecided" to remove an earlier decision.');
    END IF;
    IF sourced_id IS NULL OR (decision IN ('same person', 'never the same')) <> (person_id IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('decision "%s" needs a sourcedId%s', decision,
                CASE WHEN decision IN ('same person', 'never the same') THEN ' and a person_id'
                    ELSE ' and no person_id' END),
            DETAIL = '"same person" and "never the same" are about a row and a person; "new person", "skip" and '
                '"undecided" are about a row.',
            HINT = 'Find both with SELECT sourced_id, person_id, reason FROM minga_roster.roster_conflicts.';
    END IF;
    PERFORM minga_roster_internal.check_people_relation(known.people);
    PERFORM minga_roster_internal.claim_connection(known);
    PERFORM minga_roster_internal.require_full_read(known.connection);

    is_staged := EXISTS (SELECT FROM minga_roster.stages g WHERE g.connection = known.connection);
    SELECT r.category, s.role INTO staged
    FROM (
        SELECT u.role FROM minga_roster.staged_users u
        WHERE u.connection = known.connection AND u.sourced_id = do_decide.sourced_id
            AND u.outcome IS DISTINCT FROM 'forgotten'
        UNION ALL
        -- Rows in conflict are kept with the plan.
        SELECT k.role
        FROM minga_roster_internal.latest_plans l JOIN minga_roster.conflict_pairs k ON k.run = l.run
        WHERE NOT is_staged AND l.connection = known.connection AND k.sourced_id = do_decide.sourced_id
    ) s
    LEFT JOIN minga_roster.role_rules r ON r.sis = known.sis AND r.roster_role = s.role AND r.category <> 'contact'
    LIMIT 1;
    IF decision <> 'undecided' AND NOT FOUND AND NOT is_staged THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no rows to decide about', known.connection),
            DETAIL = 'The rows of its latest fetch were not kept: minga_roster.keep_stage is off, or the fetch did not '
                'come to its end. Only rows in conflict can be decided.',
            HINT = format('Decide about a row of minga_roster.roster_conflicts; or set minga_roster.keep_stage to on '
                'and run SELECT * FROM minga_roster.roster_fetch(%L).', known.connection);
    END IF;
    IF decision <> 'undecided' AND NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('the latest fetch of connection "%s" has no user with this sourcedId', known.connection),
            DETAIL = 'A decision is about a row that the SIS lists. The ID is not shown here.',
            HINT = format('List the rows in conflict: SELECT sourced_id FROM minga_roster.roster_conflicts WHERE '
                'connection = %L. IDs are case-sensitive.', known.connection);
    END IF;
    IF decision IN ('same person', 'skip') AND staged.category IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('users with role "%s" are not matched with people', staged.role),
            DETAIL = format('They are contacts, or minga_roster.role_rules has no rule for the role and "%s".',
                known.sis),
            HINT = 'Decide about a student, a teacher or another staff member.';
    END IF;
    IF person_id IS NOT NULL AND minga_roster_internal.as_owner(known.people,
        minga_roster_internal.person_query(known.people), known.site, person_id) = 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('site "%s" has no person with this person_id', known.site),
            DETAIL = format('There is no such person in "%s". The ID is not shown here.', known.people),
            HINT = format('List the people who could be meant: SELECT person_id FROM minga_roster.roster_conflicts '
                'WHERE connection = %L.', known.connection);
    END IF;
    IF decision = 'same person' AND EXISTS (SELECT FROM minga_roster.links l
        WHERE l.connection = known.connection AND l.site = known.site AND l.person_id = do_decide.person_id
            AND l.sourced_id <> do_decide.sourced_id
            AND minga_roster_internal.family_of(l.category) <> minga_roster_internal.family_of(staged.category))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a person cannot be both a student and staff',
            DETAIL = format('The row has role %s, and the person is linked to a row of the other family of roles.',
                staged.role),
            HINT = 'Decide "new person": a student who joins the staff gets a new account.';
    END IF;

    -- That a row is a person is stored as a link. A link made by a decision is removed by the next decision.
    DELETE FROM minga_roster.links l
    WHERE l.connection = known.connection AND l.sourced_id = do_decide.sourced_id
        AND (decision = 'same person' OR l.rule = 'decided');
    DELETE FROM minga_roster.match_decisions d
    WHERE d.connection = known.connection AND d.sourced_id = do_decide.sourced_id
        AND (do_decide.decision IN ('same person', 'undecided')
            OR d.person_id IS NOT DISTINCT FROM do_decide.person_id);
    IF decision = 'same person' THEN
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, rule, linked_run)
        VALUES (known.connection, sourced_id, known.site, person_id, staged.category, 'decided',
            coalesce((SELECT max(r.run) FROM minga_roster.runs r WHERE r.connection = known.connection), 0));
    ELSIF decision <> 'undecided' THEN
        IF EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = known.connection
            AND l.sourced_id = do_decide.sourced_id
            AND (decision IN ('new person', 'skip') OR l.person_id = do_decide.person_id))
        THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'this roster row is already linked to a person',
                DETAIL = 'A link says who a row is. A decision against a match does not remove it.',
                HINT = 'Decide "same person" with the right person instead, or leave the link as it is.';
        END IF;
        INSERT INTO minga_roster.match_decisions (connection, sourced_id, person_id, decision, decided_by, decided_at)
        VALUES (known.connection, sourced_id, person_id, decision, minga_roster_internal.caller(),
            minga_roster_internal.clock());
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_decide(text, text, text, text) IS 'Implements roster_decide.';

CREATE FUNCTION roster_decide(connection text, sourced_id text, decision text, person_id text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_decide(text, text, text, text) IS
'Decides who a roster row is: "same person" as person_id (the row is linked to that person), "never the same" as '
'person_id, "new person" (no one at the site), "skip" (the row is ignored: it matches no one, creates no one and is '
'never a conflict), or "undecided" again. The decision is remembered and used by every later plan. Works in a query '
'over roster_conflicts. Errors: 22023 for an unknown decision, 22004 for a missing or unneeded sourcedId or person_id, '
'42704 for an unknown connection, row or person, 55000 if the row is already linked or the person is of the other '
'family of roles, 55006 while the connection is busy.';
