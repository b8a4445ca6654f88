-- Links out of one installation and into another: DROP EXTENSION loses them, and a person with neither identifier nor
-- unique email address would be created a second time.

CREATE FUNCTION minga_roster_internal.do_export_links(connection text) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
BEGIN
    RETURN jsonb_build_object('site', known.site, 'school_id', known.school_id,
        'links', (SELECT coalesce(jsonb_agg(to_jsonb(l) - 'connection' - 'site' ORDER BY l.sourced_id), '[]')
            FROM minga_roster.links l WHERE l.connection = known.connection),
        'decisions', (SELECT coalesce(jsonb_agg(to_jsonb(d) - 'connection' ORDER BY d.sourced_id, d.person_id), '[]')
            FROM minga_roster.match_decisions d WHERE d.connection = known.connection));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_export_links(text) IS 'Implements roster_export_links.';

CREATE FUNCTION roster_export_links(connection text) RETURNS jsonb
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_export_links(text) IS
'Which person each SIS row of a connection is, and what roster_decide remembers, for roster_import_links after the '
'extension was dropped and created again. It holds IDs of people. 42704 for an unknown connection.';

CREATE FUNCTION minga_roster_internal.do_import_links(connection text, links jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    -- Runs of the former installation are none of this one's, whatever their numbers. Which was first stays so.
    former CONSTANT bigint := 4611686018427387904;
    imported bigint;
BEGIN
    IF links IS NULL OR jsonb_typeof(links -> 'links') IS DISTINCT FROM 'array'
        OR jsonb_typeof(links -> 'decisions') IS DISTINCT FROM 'array' THEN
        PERFORM minga_roster_internal.refuse_parameter('links', left(links::text, 20), 'It has no links and decisions.',
            'Pass what roster_export_links returned.');
    END IF;
    IF (links ->> 'site', links ->> 'school_id') IS DISTINCT FROM (known.site, known.school_id) THEN
        PERFORM minga_roster_internal.refuse_parameter('links', format('site %s, school %s', links ->> 'site',
            links ->> 'school_id'), format('Connection "%s" is of site "%s" and school "%s".', known.connection,
            known.site, known.school_id), 'Import them into the connection of that site and school.');
    END IF;
    PERFORM minga_roster_internal.claim_connection(known);
    IF EXISTS (SELECT FROM minga_roster.links l WHERE l.connection = known.connection) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has links already', known.connection),
            HINT = 'Import links before the first sync.';
    END IF;
    INSERT INTO minga_roster.links (connection, sourced_id, site, person_id, category, role_written, rule, linked_run,
        missed_since, archived_run, missed_run)
    SELECT known.connection, l.sourced_id, known.site, l.person_id, l.category, l.role_written, l.rule,
        l.linked_run - former, l.missed_since, l.archived_run - former, l.missed_run - former
    FROM jsonb_to_recordset(links -> 'links') AS l (sourced_id text, person_id text, category text, role_written text,
        rule text, linked_run bigint, missed_since timestamptz, archived_run bigint, missed_run bigint);
    GET DIAGNOSTICS imported = ROW_COUNT;
    INSERT INTO minga_roster.match_decisions (connection, sourced_id, person_id, decision, decided_by, decided_at)
    SELECT known.connection, d.sourced_id, d.person_id, d.decision, d.decided_by, d.decided_at
    FROM jsonb_to_recordset(links -> 'decisions') AS d (sourced_id text, person_id text, decision text,
        decided_by name, decided_at timestamptz)
    WHERE NOT EXISTS (SELECT FROM minga_roster.match_decisions m
        WHERE m.connection = known.connection AND m.sourced_id = d.sourced_id
            AND m.person_id IS NOT DISTINCT FROM d.person_id);
    PERFORM minga_roster_internal.require_full_read(known.connection);
    RETURN imported;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_import_links(text, jsonb) IS 'Implements roster_import_links.';

CREATE FUNCTION roster_import_links(connection text, links jsonb) RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_import_links(text, jsonb) IS
'Takes what roster_export_links returned for the same site and school, before the first sync: each row is the person '
'that it was. Returns the number of links. A link to a person who is gone counts as none. 42704 for an unknown '
'connection, 22023 for another site or school or what is no export, 55000 if the connection has links, 55006 while it '
'is busy.';
