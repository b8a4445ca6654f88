-- What the people relation does with written values. Triggers, types and views may store another form of a value, give
-- a new person another ID, or store nothing: a run reads back what is there, continues with that, and rolls back what
-- it cannot see. Must survive relations that hide, move or renumber people: anyone who appears is a new person of this
-- site, or no one.

CREATE FUNCTION minga_roster_internal.owner_error(OUT of_a_row boolean, OUT told text, OUT at_change integer)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_owner_error';
COMMENT ON FUNCTION minga_roster_internal.owner_error() IS
'About the last error of as_owner or read_as_owner: whether a single row may have caused it, so that the other rows '
'can be written without it; its message, NULL if the message may quote a person; and the change of the new person who '
'was written last, which a trigger may have set as well. Superusers only.';

CREATE FUNCTION minga_roster_internal.told_name(kind text, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN CASE kind
            WHEN 'constraint' THEN EXISTS (SELECT FROM pg_constraint c WHERE c.conname = told_name.name)
                OR EXISTS (SELECT FROM pg_class c WHERE c.relname = told_name.name AND c.relkind IN ('i', 'I'))
            ELSE EXISTS (SELECT FROM pg_attribute a WHERE a.attname = told_name.name AND a.attnum > 0) END
        THEN format(', %s "%s"', kind, name) ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.told_name(text, text) IS
'The constraint or column that an error names, for a sentence; empty if the database has no such name, because then a '
'trigger may have made it from personal data.';

CREATE FUNCTION minga_roster_internal.value_hash(value text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(hashtextextended(value, 0), 0);
COMMENT ON FUNCTION minga_roster_internal.value_hash(text) IS 'The hash of a value in stored_values; 0 for NULL.';

CREATE FUNCTION minga_roster_internal.missing_people(connection connections, action text, low integer, high integer)
RETURNS integer[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    twice text[] := (
        SELECT minga_roster_internal.repeated(t.person_id)
        FROM (SELECT n.person_id FROM plan_new_people n UNION ALL SELECT f.person_id FROM plan_found f) t);
BEGIN
    -- The first people of a site can be no one else.
    IF twice = '{}' AND NOT EXISTS (SELECT FROM plan_people) AND NOT EXISTS (SELECT FROM plan_written d WHERE d.done)
        AND NOT EXISTS (SELECT FROM minga_roster.links l WHERE l.site = connection.site)
        AND (SELECT count(*) FROM plan_new_people n) + (SELECT count(*) FROM plan_found f)
            = (SELECT count(*) FROM plan_writes w
                WHERE w.action = missing_people.action AND w.code IS NULL AND w.change BETWEEN low AND high)
    THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(
        WITH created AS MATERIALIZED (
            SELECT w.change, coalesce(n.person_id, f.person_id) AS person_id
            FROM plan_writes w
            LEFT JOIN plan_new_people n ON n.change = w.change
            LEFT JOIN plan_found f ON f.change = w.change
            WHERE w.action = missing_people.action AND w.code IS NULL AND w.change BETWEEN low AND high
        ), known AS MATERIALIZED (
            SELECT c.person_id FROM created c JOIN plan_people p ON p.person_id = c.person_id
            UNION ALL
            SELECT c.person_id FROM created c JOIN plan_written d ON d.person_id = c.person_id AND d.done
            UNION ALL
            SELECT c.person_id
            FROM created c JOIN minga_roster.links l ON l.site = connection.site AND l.person_id = c.person_id
            UNION ALL
            SELECT unnest(twice)
        )
        SELECT c.change FROM created c
        WHERE c.person_id IS NULL OR c.person_id IN (SELECT k.person_id FROM known k));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.missing_people(connections, text, integer, integer) IS
'The writes of an action (new or create) in a range whose people cannot be identified at the site: not found, found '
'twice, there before the run, or linked.';

CREATE FUNCTION minga_roster_internal.find_newcomers(connection connections, missing integer[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('newcomers');
    PERFORM minga_roster_internal.read_as_owner(connection.people,
        minga_roster_internal.newcomers_query(connection.people), 'pg_temp.plan_newcomers', connection.site);
    DELETE FROM plan_newcomers n
    WHERE n.person_id IN (SELECT p.person_id FROM plan_people p)
        OR n.person_id IN (SELECT d.person_id FROM plan_written d WHERE d.done)
        OR n.person_id IN (SELECT f.person_id FROM plan_found f WHERE f.change <> ALL (missing));
    UPDATE plan_writes w SET person_id = m.person_id
    FROM (
        SELECT t.change, t.person_id, count(*) OVER (PARTITION BY t.change) AS newcomers,
            count(*) OVER (PARTITION BY t.person_id) AS rows
        FROM (
            SELECT w.change, n.person_id
            FROM plan_writes w
            JOIN plan_newcomers n ON lower(n.given_name) = lower(w.after ->> 'given_name')
                AND lower(n.family_name) = lower(w.after ->> 'family_name')
            WHERE w.change = ANY (missing)
                AND (lower(n.identifier) <> lower(w.after ->> 'identifier')
                    OR lower(n.email) <> lower(w.after ->> 'email')
                    OR lower(n.username) <> lower(w.after ->> 'username')) IS NOT TRUE
        ) t
    ) m
    WHERE m.change = w.change AND m.newcomers = 1 AND m.rows = 1;
    DELETE FROM plan_newcomers;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_newcomers(connections, integer[]) IS
'Looks for new people to whom the relation gave another ID than it reported: people who appeared at the site in this '
'run with the same names and no other identifier, email address or username, if only one could be meant.';

CREATE FUNCTION minga_roster_internal.remember_stored(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF EXISTS (SELECT FROM minga_roster.stored_values v WHERE v.connection = remember_stored.connection.connection) THEN
        DELETE FROM minga_roster.stored_values v
        USING (
            SELECT d.person_id, k.name, d.stored, w.after
            FROM plan_written d JOIN plan_writes w ON w.change = d.change
            CROSS JOIN LATERAL jsonb_object_keys(w.after) k (name)
            WHERE d.done OR d.code = 'kept'
        ) n
        WHERE v.connection = remember_stored.connection.connection AND v.person_id = n.person_id
            AND v.column_name = n.name
            AND ((n.stored ? n.name) IS NOT TRUE OR v.stored <> minga_roster_internal.value_hash(n.stored ->> n.name)
                OR v.sent <> minga_roster_internal.value_hash(n.after ->> n.name));
    END IF;
    INSERT INTO minga_roster.stored_values (connection, person_id, column_name, sent, stored)
    SELECT remember_stored.connection.connection, d.person_id, k.key,
        minga_roster_internal.value_hash(w.after ->> k.key), minga_roster_internal.value_hash(k.value)
    FROM plan_written d JOIN plan_writes w ON w.change = d.change
    CROSS JOIN LATERAL jsonb_each_text(d.stored) k
    WHERE (d.done OR d.code = 'kept') AND d.stored IS NOT NULL
    ON CONFLICT ON CONSTRAINT stored_values_pkey DO NOTHING;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_stored(connections) IS
'After the writes: remembers which values the relation stored in another form or did not store, so that the next sync '
'recognizes them.';

CREATE FUNCTION minga_roster_internal.event_triggers_of(context text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT array_agg(e.evtname ORDER BY e.evtname)
        FROM pg_event_trigger e JOIN pg_proc f ON f.oid = e.evtfoid
        WHERE e.evtenabled IN ('O', 'A') AND position(format('%s(', f.proname) IN context) > 0);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.event_triggers_of(text) IS
'The event triggers whose functions the CONTEXT of an error names; NULL for none.';

CREATE FUNCTION minga_roster_internal.check_event_triggers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context text;
    names text[];
BEGIN
    IF NOT EXISTS (SELECT FROM pg_event_trigger e WHERE e.evtenabled IN ('O', 'A')) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE probe (nth integer) ON COMMIT DROP;
    CREATE TEMP TABLE probe_of_query ON COMMIT DROP AS SELECT p.nth FROM probe p;
    CREATE INDEX ON probe (nth);
    GRANT SELECT ON probe TO CURRENT_USER;
    DROP TABLE probe, probe_of_query;
EXCEPTION
    WHEN OTHERS OR assert_failure THEN
        GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
        names := minga_roster_internal.event_triggers_of(context);
        IF names IS NULL THEN
            RAISE;
        END IF;
        RAISE EXCEPTION USING ERRCODE = SQLSTATE,
            MESSAGE = format('event trigger "%s" rejects the temporary tables of a run',
                array_to_string(names, '", "')),
            DETAIL = format('Its message: %s', SQLERRM),
            HINT = format('Make its function skip temporary tables (schema_name "pg_temp" in '
                'pg_event_trigger_ddl_commands()), or disable it: ALTER EVENT TRIGGER %I DISABLE.%s', names[1],
                CASE WHEN SQLSTATE = '42501' THEN
                    format(' The function runs with the rights of "%s"; if it needs more, make it SECURITY DEFINER.',
                        current_user) END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_event_triggers() IS
'Raises an error that names the event trigger if one keeps a run from creating temporary tables, before the run '
'creates any.';
