-- The plan: from the stage to the rows of `changes`. Each step reads what earlier steps have written and inserts into
-- tables of its own; docs/plan.md shows them in this order. Reads people once and writes to none. Must survive rosters
-- that contradict themselves: what is not certain changes no one.

CREATE FUNCTION minga_roster_internal.plan_run(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(plan_run.run);
    connection minga_roster.connections := minga_roster_internal.known_connection(this.connection);
BEGIN
    -- What is read
    PERFORM minga_roster_internal.read_people(connection);
    PERFORM minga_roster_internal.read_rules(connection, run);
    PERFORM minga_roster_internal.find_stored(connection);
    PERFORM minga_roster_internal.choose_parents(connection, run);
    -- Who is who
    PERFORM minga_roster_internal.find_open_rows(this, connection);
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
    PERFORM minga_roster_internal.note_findings(this, connection);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_run(bigint) IS
'Plans the run from the stage of its connection: fills the tables of plan_tables() up to plan_changes, and notes '
    'findings. Changes no one. merge_run goes on from these tables in the same transaction.';
