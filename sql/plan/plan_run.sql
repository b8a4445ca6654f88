-- The plan: from the stage to the rows of `changes`. Each step reads what earlier steps have written and inserts into
-- tables of its own; docs/plan.md shows them in this order. Reads people once and writes to none. Must survive rosters
-- that contradict themselves: what is not certain changes no one.

CREATE FUNCTION minga_roster_internal.looks_at_rows(run runs, connection connections) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN run.kind = 'preview' OR connection.unproven OR connection.parent_contact OR connection.contacts
        OR minga_roster_internal.has_stored(connection.connection)
        OR EXISTS (SELECT FROM minga_roster.column_owners o
            WHERE o.connection = (looks_at_rows.connection).connection AND o.owner = 'sis unless edited');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.looks_at_rows(runs, connections) IS
'Whether the plan has more to look at than open rows.';

CREATE FUNCTION minga_roster_internal.plan_run(run bigint) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(plan_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
    looks boolean := minga_roster_internal.looks_at_rows(this, connection);
    others text[] := ARRAY(
        SELECT c.connection FROM minga_roster.connections c
        WHERE c.site = connection.site AND c.people = connection.people AND c.retired_at IS NULL
            AND c.connection <> this.connection);
    repeated text[];
    shared_keys bytea;
    is_first boolean;
BEGIN
    -- What is read
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.read_rules(connection, run);
    IF looks THEN
        PERFORM minga_roster_internal.read_proof(connection, run);
        PERFORM minga_roster_internal.find_stored(connection);
        PERFORM minga_roster_internal.choose_parents(connection, run);
    END IF;
    repeated := minga_roster_internal.read_links(this, connection, others);
    is_first := minga_roster_internal.creates_at_once(this, connection);
    IF is_first THEN
        IF NOT looks THEN
            looks := true;
            PERFORM minga_roster_internal.read_proof(connection, run);
        END IF;
        shared_keys := minga_roster_internal.read_stage(connection, is_first);
        is_first := minga_roster_internal.find_disputed_rows(connection, shared_keys);
        PERFORM minga_roster_internal.find_open_rows(this, connection, repeated, is_first);
        -- All rows that share a key are open.
        shared_keys := NULL;
    ELSE
        PERFORM minga_roster_internal.find_open_rows(this, connection, repeated, is_first);
        shared_keys := minga_roster_internal.read_stage(connection, is_first);
    END IF;
    IF NOT looks AND (shared_keys IS NOT NULL
        OR NOT minga_roster_internal.open_rows_are_settled(this, connection, others, repeated))
    THEN
        looks := true;
        PERFORM minga_roster_internal.read_proof(connection, run);
    END IF;
    IF NOT looks THEN
        PERFORM minga_roster_internal.note_findings(this, connection, looks);
        RETURN looks;
    END IF;
    PERFORM minga_roster_internal.find_joint_rows(this, connection, shared_keys, others, repeated);
    -- Who is who
    PERFORM minga_roster_internal.group_rows(connection);
    PERFORM minga_roster_internal.count_plain_rows(this);
    PERFORM minga_roster_internal.match_groups(connection);
    -- What is to be done, and what overrules it
    PERFORM minga_roster_internal.judge_groups(connection);
    PERFORM minga_roster_internal.veto_collisions(connection);
    PERFORM minga_roster_internal.veto_changed_ids(connection);
    PERFORM minga_roster_internal.veto_withheld_identifiers();
    PERFORM minga_roster_internal.veto_new_site(connection);
    PERFORM minga_roster_internal.plan_links();
    PERFORM minga_roster_internal.veto_mass_updates(this, connection);
    PERFORM minga_roster_internal.settle_verdicts();
    PERFORM minga_roster_internal.find_leavers(this, connection);
    PERFORM minga_roster_internal.veto_archives(this, connection);
    -- What is told
    PERFORM minga_roster_internal.plan_changes(connection);
    IF is_first THEN
        PERFORM minga_roster_internal.open_new_writes(connection);
    END IF;
    PERFORM minga_roster_internal.note_findings(this, connection, looks);
    RETURN looks;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_run(bigint) IS
'Plans the run from the stage of its connection: fills the tables of plan_tables() up to plan_changes, and notes '
    'findings. Changes no one. merge_run goes on from these tables in the same transaction. Returns false if '
    'there was nothing to look at: the outcome of each row is known by itself, and the tables of group "rows" may be '
    'missing.';
