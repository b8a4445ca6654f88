-- Relink: a SIS that gives its people new ids, as with another version of its API or in place of another SIS. Must survive that night
-- without anybody created twice, archived or quietly taken for somebody else: what follows from the new ids waits for a person.

CREATE FUNCTION minga_roster_internal.find_former_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
BEGIN
    IF NOT (SELECT s.campus_metadata FROM minga_roster.sis s WHERE s.sis = connection.sis) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE told_ids ON COMMIT DROP AS
    SELECT o.label, o.sourced_id, o.family, s.legacy_id
    FROM open_rows o
    JOIN minga_roster.staged_users s ON s.connection = find_former_ids.connection.connection
        AND s.sourced_id = o.sourced_id
    WHERE o.staged AND o.usable AND NOT o.linked AND s.legacy_id IS NOT NULL
        AND o.label NOT IN (SELECT c.label FROM candidates c);
    IF NOT EXISTS (SELECT FROM told_ids) THEN
        RETURN;
    END IF;
    -- In OneRoster 1.1 a letter for the role stands before it. Two people of one family behind it tell nothing.
    INSERT INTO candidates
    SELECT t.label, min(p.person_id), 'former id'
    FROM told_ids t
    JOIN (
        SELECT l.person_id, minga_roster_internal.family_of(l.category) AS family,
            unnest(ARRAY[l.sourced_id, substring(l.sourced_id FROM '^[A-Za-z][+]?(.+)$')]) COLLATE "C" AS id
        FROM minga_roster.links l
        WHERE l.connection = find_former_ids.connection.connection
    ) f ON f.id = t.legacy_id AND f.family = t.family
    JOIN current_people p ON p.person_id = f.person_id
    LEFT JOIN minga_roster.match_decisions d ON d.connection = find_former_ids.connection.connection
        AND d.sourced_id = t.sourced_id
        AND coalesce(d.person_id, p.person_id) = p.person_id
    GROUP BY t.label
    HAVING count(DISTINCT p.person_id) = 1 AND count(d.sourced_id) = 0;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_former_ids(connections) IS
'Adds to candidates whom an unlinked row is by the id that the row had in OneRoster 1.1, where Infinite Campus 1.2 '
    'tells it: that is exact, no other key of the row is looked at, and the former id needs no proof that it is gone '
    'as long as it is not listed.';

CREATE FUNCTION minga_roster_internal.hold_moves(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
BEGIN
    CREATE TEMP TABLE changed_ids (category text, reason text) ON COMMIT DROP;
    CREATE TEMP TABLE moves ON COMMIT DROP AS
    SELECT d.label, d.person_id, d.step = 'former id' AS exact FROM decisions d WHERE d.links
        AND d.step IN ('former id', 'identifier', 'e-mail') AND d.first_run IS NOT NULL;
    IF (SELECT count(*) FROM moves) < 5 THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE linked_people ON COMMIT DROP AS
    SELECT DISTINCT ON (l.person_id) l.person_id, l.category, p.archived
    FROM minga_roster.links l
    JOIN category_rules c ON c.category = l.category
    JOIN current_people p ON p.person_id = l.person_id
    WHERE l.connection = hold_moves.connection.connection
    ORDER BY l.person_id, l.missed_since DESC NULLS FIRST, c.rank;

    WITH figures AS (
        SELECT l.category, count(*) AS people, count(m.person_id) AS moved, count(*) FILTER (WHERE m.exact) AS exact
        FROM linked_people l LEFT JOIN moves m ON m.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY l.category
    ), many AS (
        SELECT f.*, sum(f.moved) OVER () AS moved_in_all FROM figures f WHERE f.moved > 0 AND f.moved * 3 >= f.people
    )
    INSERT INTO changed_ids
    SELECT m.category, format('Many ids of the SIS changed tonight: %s of %s people have another one%s.', m.moved,
        m.people,
        CASE WHEN m.exact > 0 THEN format(', and the SIS tells the former one of %s', m.exact) END)
    FROM many m WHERE m.moved_in_all >= 5;

    UPDATE decisions d SET outcome = 'skip', links = false, told = true, before = '{}', after = '{}',
        held_as = 'link', held_cause = 'ids_changed',
        held_reason = i.reason
    FROM moves m JOIN linked_people l ON l.person_id = m.person_id JOIN changed_ids i ON i.category = l.category
    WHERE d.label = m.label;
    -- Whom no key tells may be somebody known with a new id too.
    UPDATE decisions d SET outcome = 'skip', links = false, held_as = 'create', held_cause = 'ids_changed',
        held_reason = i.reason
    FROM changed_ids i
    WHERE d.outcome = 'create' AND d.category = i.category;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.hold_moves(connections) IS
'Makes the temp table changed_ids: categories of which a third of the people or more, and five in all or more, are found under another id while their own is gone. Their links do not move and nobody is created there; both become held changes, and the guard holds the archives. Works on the temp tables of plan_run.';

CREATE FUNCTION minga_roster_internal.do_relink(run bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(do_relink.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    carried_out_by bigint;
    moved bigint;
BEGIN
    PERFORM minga_roster_internal.claim_connection(connection);
    -- Of an applied preview the number of either run will do.
    IF this.kind = 'apply' THEN
        this := minga_roster_internal.known_run(this.of_run);
    END IF;
    carried_out_by := minga_roster_internal.carried_out_by(this);
    PERFORM FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'link' AND c.state = 'held' FOR UPDATE;
    IF NOT FOUND OR carried_out_by IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('run %s has no links to move', this.run),
            DETAIL = CASE
                WHEN this.kind = 'preview' AND carried_out_by IS NULL THEN 'It is a preview that has not been applied.'
                WHEN this.kind NOT IN ('sync', 'preview') THEN format('It is %s %s.', CASE WHEN this.kind IN ('approve', 'undo') THEN 'an' ELSE 'a' END, this.kind)
                WHEN this.state <> 'succeeded' THEN format('It is %s.', this.state)
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.state_cause = 'relinked')
                    THEN
                    'They have been moved already.'
                WHEN EXISTS (SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired') THEN
                    coalesce((SELECT min(c.state_reason) FROM minga_roster.changes c
                            WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired'
                                AND c.state_cause = 'run_undone'),
                        'They have expired: a later sync has decided again.')
                ELSE 'It held none: links move by themselves unless many ids change in one night.'
            END,
            HINT = format('SELECT DISTINCT c.run FROM minga_roster.changes c JOIN minga_roster.runs r USING (run) WHERE r.connection = %L AND c.action = ''link'' AND c.state = ''held'' shows the sync that holds some.',
                this.connection);
    END IF;

    WITH held AS MATERIALIZED (
        SELECT c.change, c.person_id, c.category, c.sourced_ids, c.rule
        FROM minga_roster.changes c
        WHERE c.run = this.run AND c.action = 'link' AND c.state = 'held'
    ), ids AS MATERIALIZED (
        SELECT h.change, h.person_id, i.sourced_id FROM held h CROSS JOIN LATERAL unnest(h.sourced_ids) AS i (sourced_id)
    ), verdicts AS MATERIALIZED (
        SELECT h.change, h.person_id, h.category, h.sourced_ids, h.rule, o.role_written, o.linked_run, o.archived_run,
            CASE
                WHEN o.person_id IS NULL THEN 'The person is not linked any more.'
                -- An exact move was judged by what was listed, and not by what was proved to be gone.
                WHEN o.listed AND h.rule <> 'former id' THEN 'The roster lists the person by an id known before.'
                WHEN taken.change IS NOT NULL THEN 'The id is linked already.'
                WHEN decided.change IS NOT NULL THEN 'It was decided that the row is not this person.'
            END AS refusal
        FROM held h
        LEFT JOIN (
            SELECT l.person_id, min(l.role_written) AS role_written, min(l.linked_run) AS linked_run, max(l.archived_run) AS archived_run,
                bool_or(l.missed_since IS NULL) AS listed
            FROM minga_roster.links l WHERE l.connection = this.connection
            GROUP BY l.person_id
        ) o ON o.person_id = h.person_id
        LEFT JOIN (
            SELECT DISTINCT i.change FROM ids i JOIN minga_roster.links l ON l.connection = this.connection AND l.sourced_id = i.sourced_id
        ) taken ON taken.change = h.change
        LEFT JOIN (
            SELECT DISTINCT i.change
            FROM ids i JOIN minga_roster.match_decisions d ON d.connection = this.connection AND d.sourced_id = i.sourced_id
            WHERE coalesce(d.person_id, i.person_id) = i.person_id
        ) decided ON decided.change = h.change
    ), gone AS (
        DELETE FROM minga_roster.links l
        USING verdicts v
        WHERE v.refusal IS NULL AND l.connection = this.connection AND l.person_id = v.person_id
    ), come AS (
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run, archived_run)
        SELECT this.connection, n.sourced_id, this.site, v.person_id, v.category, v.role_written, v.rule, v.linked_run, v.archived_run
        FROM verdicts v CROSS JOIN LATERAL unnest(v.sourced_ids) AS n (sourced_id)
        WHERE v.refusal IS NULL
    ), kept AS (
        INSERT INTO minga_roster.link_changes (run, sourced_id, before)
        SELECT carried_out_by, k.sourced_id, k.before
        FROM (
            SELECT l.sourced_id, to_jsonb(l) AS before
            FROM verdicts v JOIN minga_roster.links l ON l.connection = this.connection AND l.person_id = v.person_id
            WHERE v.refusal IS NULL
            UNION ALL
            SELECT n.sourced_id, NULL FROM verdicts v CROSS JOIN LATERAL unnest(v.sourced_ids) AS n (sourced_id) WHERE v.refusal IS NULL
        ) k
        -- A former link that the run marked as missing is kept as it was before that.
        WHERE NOT EXISTS (SELECT FROM minga_roster.link_changes c WHERE c.run = carried_out_by AND c.sourced_id = k.sourced_id)
    ), told AS (
        UPDATE minga_roster.changes c
        SET state = CASE WHEN v.refusal IS NULL THEN 'applied' ELSE 'refused' END, state_at = minga_roster_internal.clock(),
            state_reason = coalesce(v.refusal, 'moved by roster_relink'), state_cause = CASE
                WHEN v.refusal IS NULL THEN 'relinked' END, done_by = CASE
                WHEN v.refusal IS NULL THEN carried_out_by END
        FROM verdicts v
        WHERE c.run = this.run AND c.change = v.change
    )
    SELECT count(*) INTO moved FROM verdicts v WHERE v.refusal IS NULL;
    PERFORM minga_roster_internal.require_full_read(this.connection);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_relink(bigint) IS 'roster_relink behind the door.';

CREATE FUNCTION roster_relink(run bigint) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_relink(bigint) IS
'Moves the links that a sync held because many ids of the SIS changed in one night: each person keeps the account, '
    'under the new id. Where the SIS tells the former id (Infinite Campus 1.2) the move is exact, and its change has '
    'the rule "former id". Returns how many people it moved; those who are listed by a former id again, whose new id '
    'is linked, or of whom roster_decide says that the row is not theirs, become refused. People themselves are not '
    'changed: the next sync goes on with them, creates whom it held and decides again who is gone. roster_undo of the '
    'sync moves them back. Of an applied preview the number of either run will do. 42704 an unknown run, 55000 where '
    'there is nothing to move, 55006 while a run of the connection works.';
