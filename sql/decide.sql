-- Conflicts that a person has to settle: who could be meant, and what somebody decided, which is remembered and used from then on.

CREATE VIEW roster_conflicts AS
    WITH latest AS (
        SELECT DISTINCT ON (r.connection) r.connection, r.run
        FROM minga_roster.runs r
        JOIN minga_roster.connections n ON n.connection = r.connection AND n.retired_at IS NULL
        WHERE r.kind IN ('preview', 'sync') AND r.state = 'succeeded'
        ORDER BY r.connection, r.run DESC
    )
    SELECT l.connection, c.site, c.run, c.category, c.sourced_ids, c.reason, k.person_id AS candidate, k.found_by
    FROM latest l
    JOIN minga_roster.changes c ON c.run = l.run AND c.action = 'conflict'
    LEFT JOIN minga_roster.conflict_candidates k ON k.run = c.run AND k.change = c.change;
COMMENT ON VIEW roster_conflicts IS
'The conflicts of each connection''s latest plan, a row for each person who could be meant; roster_decide settles them.';
COMMENT ON COLUMN roster_conflicts.candidate IS 'person_id of somebody whom the rows could be; NULL where the rows contradict each other and nobody of the site is meant.';
COMMENT ON COLUMN roster_conflicts.found_by IS 'What speaks for him: link, identifier or e-mail; unique index: he has a value that the rows bring too, and that an index of people allows once.';

CREATE FUNCTION do_decide(connection text, sourced_id text, decision text, person_id text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster.known_connection(connection);
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = known.people);
    staged record;
    rival text;
BEGIN
    IF decision IS NULL OR decision NOT IN ('same person', 'never the same', 'new person', 'undecided') THEN
        PERFORM minga_roster.refuse_parameter('decision', decision, 'Known are "same person", "never the same", "new person" and "undecided".',
            '"undecided" takes back what was decided of a row before.');
    END IF;
    IF sourced_id IS NULL OR (decision IN ('same person', 'never the same')) <> (person_id IS NOT NULL AND decision <> 'undecided') THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('decision "%s" needs a sourcedId%s', decision,
                CASE WHEN decision IN ('same person', 'never the same') THEN ' and a person_id' ELSE ' and no person_id' END),
            DETAIL = '"same person" and "never the same" speak of a row and a person, "new person" and "undecided" of a row.',
            HINT = 'SELECT sourced_ids, candidate, reason FROM minga_roster.roster_conflicts shows both.';
    END IF;
    PERFORM minga_roster.check_people_relation(known.people);
    PERFORM minga_roster.claim_connection(known);
    PERFORM minga_roster.require_full_read(known.connection);

    SELECT r.category, s.role INTO staged
    FROM minga_roster.staged_users s
    LEFT JOIN minga_roster.role_rules r ON r.sis = known.sis AND r.roster_role = s.role AND r.category <> 'contact'
    WHERE s.connection = known.connection AND s.sourced_id = do_decide.sourced_id;
    IF decision <> 'undecided' AND NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('the latest fetch of connection "%s" has no user with this sourcedId', known.connection),
            DETAIL = 'A decision speaks of a row that the SIS lists. The id is not repeated here.',
            HINT = format('SELECT sourced_ids FROM minga_roster.roster_conflicts WHERE connection = %L lists those in conflict; ids are case-sensitive.', known.connection);
    END IF;
    IF decision = 'same person' AND staged.category IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('users with role "%s" are nobody''s rows', staged.role),
            DETAIL = format('Contacts, and roles without a rule in minga_roster.role_rules for "%s", are not matched with people.', known.sis),
            HINT = 'Decide of a student, a teacher or another member of staff.';
    END IF;
    IF person_id IS NOT NULL AND minga_roster.as_owner(known.people, format('SELECT FROM %s p WHERE %s AND p.%I::pg_catalog.text = $2',
        known.people, minga_roster.equal_terms(known.people, map ->> 'site', '$1'), map ->> 'person_id'), known.site, person_id) = 0
    THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('site "%s" has no person with this person_id', known.site),
            DETAIL = format('It is none in "%s". The id is not repeated here.', known.people),
            HINT = format('SELECT candidate FROM minga_roster.roster_conflicts WHERE connection = %L lists who could be meant.', known.connection);
    END IF;
    SELECT l.sourced_id INTO rival
    FROM minga_roster.links l
    JOIN minga_roster.staged_users s ON s.connection = l.connection AND s.sourced_id = l.sourced_id
    WHERE l.connection = known.connection AND l.site = known.site AND l.person_id = do_decide.person_id
        AND l.sourced_id <> do_decide.sourced_id AND s.role = staged.role AND s.status IS DISTINCT FROM 'tobedeleted';
    IF decision = 'same person' AND FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'this person is another row of the roster already',
            DETAIL = format('The SIS lists him as %s under another sourcedId, and nobody holds one role twice.', staged.role),
            HINT = 'Ask the school to remove one of the two rows in its SIS, or decide "undecided" of the other row first.';
    END IF;

    IF decision = 'same person' AND EXISTS (SELECT FROM minga_roster.links l
        WHERE l.connection = known.connection AND l.site = known.site AND l.person_id = do_decide.person_id
            AND l.sourced_id <> do_decide.sourced_id AND minga_roster.family_of(l.category) <> minga_roster.family_of(staged.category))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'nobody is a student and staff at once',
            DETAIL = format('The row is of a %s, and the person is linked to a row of the other family.', staged.role),
            HINT = 'Decide "new person": a student who joins the staff is somebody new there.';
    END IF;

    -- That a row is somebody is a link. One that a decision made is taken back by the next.
    DELETE FROM minga_roster.links l
    WHERE l.connection = known.connection AND l.sourced_id = do_decide.sourced_id
        AND (decision = 'same person' OR l.rule = 'decided');
    DELETE FROM minga_roster.match_decisions d
    WHERE d.connection = known.connection AND d.sourced_id = do_decide.sourced_id
        AND (decision IN ('same person', 'undecided') OR d.person_id IS NOT DISTINCT FROM do_decide.person_id);
    IF decision = 'same person' THEN
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, rule, linked_run)
        VALUES (known.connection, sourced_id, known.site, person_id, staged.category, 'decided',
            coalesce((SELECT max(r.run) FROM minga_roster.runs r WHERE r.connection = known.connection), 0));
    ELSIF decision <> 'undecided' THEN
        IF EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = known.connection AND l.sourced_id = do_decide.sourced_id
            AND (decision = 'new person' OR l.person_id = do_decide.person_id))
        THEN
            RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
                MESSAGE = 'this row of the roster is linked to a person already',
                DETAIL = 'A link says who a row is, and no decision against a match undoes it.',
                HINT = 'Decide "same person" with the person whom it is instead, or leave the link as it is.';
        END IF;
        INSERT INTO minga_roster.match_decisions (connection, sourced_id, person_id, decided_by, decided_at)
        VALUES (known.connection, sourced_id, person_id, minga_roster.caller(), minga_roster.clock());
    END IF;
END
$$;
COMMENT ON FUNCTION do_decide(text, text, text, text) IS 'roster_decide behind the door.';

CREATE FUNCTION roster_decide(connection text, sourced_id text, decision text, person_id text DEFAULT NULL) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_decide(text, text, text, text) IS
'Decides who a row of the roster is: "same person" as person_id (it is linked to him), "never the same" as person_id, a "new person" whom nobody of the site is, or "undecided" again. Remembered, and used by each plan from then on. Errors: 22023 another decision, 22004 sourcedId or person_id missing or too many, 42704 an unknown connection, row or person, 55000 where the person holds that role by another row or the row is linked already, 55006 while a run of the connection works.';
