-- Relink: a SIS that gives its people new IDs, as with another version of its API or in place of another SIS. The plan
-- holds what follows from the new IDs (veto_changed_ids); here a person lets the links move.

CREATE FUNCTION minga_roster_internal.do_relink(run bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(do_relink.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    carried_out_by bigint;
    moved bigint;
BEGIN
    PERFORM minga_roster_internal.claim_connection(connection);
    -- For an applied preview, the number of either run works.
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
                WHEN this.kind NOT IN ('sync', 'preview') THEN
                    format('It is %s.', minga_roster_internal.with_article(this.kind))
                WHEN this.state <> 'succeeded' THEN minga_roster_internal.state_words(this.state) || '.'
                WHEN EXISTS (
                    SELECT FROM minga_roster.changes c WHERE c.run = this.run AND c.state_cause = 'relinked') THEN
                    'They have already been moved.'
                WHEN EXISTS (
                    SELECT FROM minga_roster.changes c
                    WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired') THEN
                    coalesce((
                            SELECT min(c.state_reason) FROM minga_roster.changes c
                            WHERE c.run = this.run AND c.action = 'link' AND c.state = 'expired'
                                AND c.state_cause = 'run_undone'),
                        'They have expired: a later sync decided again.')
                ELSE 'It held none. Links move automatically unless many IDs change in one night.'
            END,
            HINT = format('Find the sync that holds some: SELECT DISTINCT c.run FROM minga_roster.changes c JOIN '
                'minga_roster.runs r USING (run) WHERE r.connection = %L AND c.action = ''link'' AND c.state = '
                '''held''.', this.connection);
    END IF;

    WITH held AS MATERIALIZED (
        SELECT c.change, c.person_id, c.category, c.sourced_ids, c.rule
        FROM minga_roster.changes c
        WHERE c.run = this.run AND c.action = 'link' AND c.state = 'held'
    ), ids AS MATERIALIZED (
        SELECT h.change, h.person_id, i.sourced_id
        FROM held h CROSS JOIN LATERAL unnest(h.sourced_ids) AS i (sourced_id)
    ), verdicts AS MATERIALIZED (
        SELECT h.change, h.person_id, h.category, h.sourced_ids, h.rule, o.role_written, o.linked_run, o.archived_run,
            CASE
                WHEN o.person_id IS NULL THEN 'not_linked'
                -- An exact move was judged by what was listed, not by what was proved absent.
                WHEN o.listed AND h.rule <> 'former id' THEN 'listed_by_former_id'
                WHEN taken.change IS NOT NULL THEN 'id_linked'
                WHEN decided.change IS NOT NULL THEN 'decided_not'
            END AS refusal
        FROM held h
        LEFT JOIN (
            SELECT l.person_id, min(l.role_written) AS role_written, min(l.linked_run) AS linked_run,
                max(l.archived_run) AS archived_run, bool_or(l.missed_since IS NULL) AS listed
            FROM minga_roster.links l
            WHERE l.connection = this.connection
            GROUP BY l.person_id
        ) o ON o.person_id = h.person_id
        LEFT JOIN (
            SELECT DISTINCT i.change
            FROM ids i JOIN minga_roster.links l
                ON l.connection = this.connection AND l.sourced_id = i.sourced_id
        ) taken ON taken.change = h.change
        LEFT JOIN (
            SELECT DISTINCT i.change
            FROM ids i JOIN minga_roster.match_decisions d
                ON d.connection = this.connection AND d.sourced_id = i.sourced_id
            WHERE coalesce(d.person_id, i.person_id) = i.person_id
        ) decided ON decided.change = h.change
    ), gone AS (
        DELETE FROM minga_roster.links l
        USING verdicts v
        WHERE v.refusal IS NULL AND l.connection = this.connection AND l.person_id = v.person_id
    ), come AS (
        INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule,
            linked_run, archived_run)
        SELECT this.connection, n.sourced_id, this.site, v.person_id, v.category, v.role_written, v.rule, v.linked_run,
            v.archived_run
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
            SELECT n.sourced_id, NULL FROM verdicts v CROSS JOIN LATERAL unnest(v.sourced_ids) AS n (sourced_id)
                WHERE v.refusal IS NULL
        ) k
        -- A former link that the run marked as absent is kept as it was before that.
        WHERE NOT EXISTS (
            SELECT FROM minga_roster.link_changes c WHERE c.run = carried_out_by AND c.sourced_id = k.sourced_id)
    ), settled AS (
        UPDATE minga_roster.changes c
        SET state = CASE WHEN v.refusal IS NULL THEN 'applied' ELSE 'refused' END,
            state_at = minga_roster_internal.clock(),
            state_reason = minga_roster_internal.state_reason(coalesce(v.refusal, 'relinked'), NULL),
            state_cause = CASE WHEN v.refusal IS NULL THEN 'relinked' END,
            done_by = CASE WHEN v.refusal IS NULL THEN carried_out_by END
        FROM verdicts v
        WHERE c.run = this.run AND c.change = v.change
    )
    SELECT count(*) INTO moved FROM verdicts v WHERE v.refusal IS NULL;
    PERFORM minga_roster_internal.require_full_read(this.connection);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_relink(bigint) IS 'Implements roster_relink.';

CREATE FUNCTION roster_relink(run bigint) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_relink(bigint) IS
'Moves the links that a sync held because many IDs changed in the SIS in one night: each person keeps the account '
'under the new ID. If the SIS sends the former ID (Infinite Campus 1.2), the move is exact, and its change has the '
'rule "former id". Returns the number of people moved. People who are listed under a former ID again, whose new ID '
'is linked, or whom roster_decide excluded become refused. People are not changed: the next sync continues with '
'them, creates the people it held and decides again who is absent. roster_undo of the sync moves the links back. For '
'an applied preview, the number of either run works. 42704 for an unknown run, 55000 if there is nothing to move, '
'55006 while the connection is busy.';
