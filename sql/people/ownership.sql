-- Who owns a column of people: the SIS, the school, or the SIS unless someone edited it here. Auto update uses this.

CREATE FUNCTION minga_roster_internal.ownership_unit(column_name text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN column_name LIKE E'parent\\_%' THEN 'parent_contact' ELSE column_name END;
COMMENT ON FUNCTION minga_roster_internal.ownership_unit(text) IS
'The unit in which a written column is owned: the column itself; for contact columns, all of them together.';

CREATE FUNCTION minga_roster_internal.local_columns(connection text) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(array_agg(o.column_name), '{}') FROM minga_roster.column_owners o
        WHERE o.connection = local_columns.connection AND o.owner = 'local');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.local_columns(text) IS
'The columns that a sync of the connection writes only to new people.';

CREATE FUNCTION minga_roster_internal.do_set_column_owner(connection text, column_name text, owner text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    there text[] := ARRAY(SELECT DISTINCT minga_roster_internal.ownership_unit(c)
        FROM unnest(minga_roster_internal.written_columns()) c
        JOIN minga_roster.people_relations r ON r.relation = known.people AND r.columns ? c ORDER BY 1);
BEGIN
    IF column_name IS NULL OR column_name <> ALL (there) THEN
        PERFORM minga_roster_internal.refuse_parameter('column_name', column_name,
            format('A sync writes %s.', array_to_string(there, ', ')),
            'Use the contract''s column names, whatever the relation calls them; parent_contact stands for all columns '
                'of the contact.');
    END IF;
    IF owner IS NULL OR owner NOT IN ('sis', 'local', 'sis unless edited') THEN
        PERFORM minga_roster_internal.refuse_parameter('owner', owner,
            'Valid owners are "sis", "local" and "sis unless edited".',
            '"sis" is the default: Auto update writes what the SIS has.');
    END IF;
    PERFORM minga_roster_internal.claim_connection(known);
    PERFORM minga_roster_internal.require_full_read(known.connection);
    DELETE FROM minga_roster.column_owners o
    WHERE o.connection = known.connection AND o.column_name = do_set_column_owner.column_name
        AND o.owner <> do_set_column_owner.owner;
    INSERT INTO minga_roster.column_owners (connection, column_name, owner)
    SELECT known.connection, do_set_column_owner.column_name, do_set_column_owner.owner
    WHERE do_set_column_owner.owner <> 'sis'
        AND NOT EXISTS (SELECT FROM minga_roster.column_owners o WHERE o.connection = known.connection
            AND o.column_name = do_set_column_owner.column_name);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_set_column_owner(text, text, text) IS
'Implements roster_set_column_owner.';

CREATE FUNCTION roster_set_column_owner(connection text, column_name text, owner text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_set_column_owner(text, text, text) IS
'Sets who owns a column of people for this connection: "sis" (the default: Auto update writes it), "local" (written '
'to new people only, then the school''s own) or "sis unless edited" (written until its value differs from what a sync '
'wrote last, or found at first). parent_contact stands for all columns of the contact. Errors: 42704 for an unknown '
'connection, 22023 for a column that a sync does not write or an unknown owner, 55006 while the connection is busy.';

CREATE FUNCTION minga_roster_internal.do_map_column(connection text, column_name text, path text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    there text[] := ARRAY(SELECT c
        FROM unnest(minga_roster_internal.written_columns()) WITH ORDINALITY u (c, nth)
        JOIN minga_roster.people_relations r ON r.relation = known.people AND r.columns ? c
        WHERE c NOT LIKE E'parent\\_%' AND c <> 'birth_date' ORDER BY nth);
BEGIN
    IF column_name IS NULL OR column_name <> ALL (there) THEN
        PERFORM minga_roster_internal.refuse_parameter('column_name', column_name,
            format('A path can be mapped to %s.', array_to_string(there, ', ')),
            'Use the contract''s column names, whatever the relation calls them.');
    END IF;
    IF path IS NOT NULL AND (SELECT p.field IS NULL FROM minga_roster_internal.path_parts(path) p) IS NOT FALSE THEN
        PERFORM minga_roster_internal.refuse_parameter('path', path,
            'A path is a field, field.member, or list[key=value].member. Passwords are never requested.',
            'Examples: "userIds[type=studentNumber].identifier", "metadata.homeroom". NULL removes the path.');
    END IF;
    PERFORM minga_roster_internal.claim_connection(known);
    PERFORM minga_roster_internal.require_full_read(known.connection);
    DELETE FROM minga_roster.column_paths p
    WHERE p.connection = known.connection AND p.column_name = do_map_column.column_name
        AND p.path IS DISTINCT FROM do_map_column.path;
    INSERT INTO minga_roster.column_paths (connection, column_name, path)
    SELECT known.connection, do_map_column.column_name, do_map_column.path
    WHERE do_map_column.path IS NOT NULL
        AND NOT EXISTS (SELECT FROM minga_roster.column_paths p WHERE p.connection = known.connection
            AND p.column_name = do_map_column.column_name);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_map_column(text, text, text) IS 'Implements roster_map_column.';

CREATE FUNCTION roster_map_column(connection text, column_name text, path text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_map_column(text, text, text) IS
'Takes the value of a column of people from a path in the rows of the SIS, in place of its field of OneRoster: a '
'field, field.member ("metadata.homeroom"), or list[key=value].member ("userIds[type=studentNumber].identifier"). '
'NULL removes the path. Evidence, ownership and "never clears" apply as to any value. Errors: 42704 for an unknown '
'connection, 22023 for a column that takes no path or a text that is none, 55006 while the connection is busy.';

CREATE FUNCTION minga_roster_internal.written_hash(column_name text, person jsonb) RETURNS bigint
LANGUAGE sql STABLE
RETURN hashtextextended(CASE column_name
    WHEN 'parent_contact' THEN jsonb_build_array(person -> 'parent_name', person -> 'parent_email',
        person -> 'parent_phone', person -> 'parent_rule')::text
    ELSE person ->> column_name END, 0);
COMMENT ON FUNCTION minga_roster_internal.written_hash(text, jsonb) IS
'The hash of a person''s column in written_values; NULL for NULL.';

CREATE FUNCTION minga_roster_internal.remember_written(connection text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    defaulted text[];
BEGIN
    IF NOT EXISTS (SELECT FROM minga_roster.column_owners o WHERE o.connection = remember_written.connection
        AND o.owner = 'sis unless edited') THEN
        RETURN;
    END IF;
    defaulted := ARRAY(SELECT minga_roster_internal.ownership_unit(m.key)
        FROM minga_roster.connections c JOIN minga_roster.people_relations r ON r.relation = c.people CROSS
            JOIN LATERAL jsonb_each_text(r.columns) m
        WHERE c.connection = remember_written.connection AND m.key = ANY (minga_roster_internal.written_columns())
            AND minga_roster_internal.column_default(c.people, m.value) IS NOT NULL);
    PERFORM minga_roster_internal.make_plan_tables('values');
    INSERT INTO plan_seen_values (column_name, person_id, hash, wrote, is_new)
    SELECT o.column_name, s.person_id, minga_roster_internal.written_hash(o.column_name, s.person) AS hash,
        s.written IS NOT NULL AND EXISTS (SELECT FROM jsonb_object_keys(s.written) k
            WHERE minga_roster_internal.ownership_unit(k) = o.column_name) AS wrote,
        s.is_new
    FROM (
        SELECT p.person_id IS NULL AS is_new, coalesce(p.person_id, w.person_id) AS person_id,
            coalesce(to_jsonb(p), '{}') || coalesce(w.after, '{}') || coalesce(w.stored, '{}') AS person,
            w.after AS written
        FROM (SELECT p.* FROM plan_people p WHERE p.person_id IN (SELECT l.person_id FROM minga_roster.links l
            WHERE l.connection = remember_written.connection)) p
        FULL JOIN (SELECT d.person_id, w.after, d.stored
            FROM plan_written d JOIN plan_writes w ON w.change = d.change
            WHERE d.done AND w.after - 'archived_at' <> '{}') w ON w.person_id = p.person_id
    ) s
    CROSS JOIN minga_roster.column_owners o
    WHERE o.connection = remember_written.connection AND o.owner = 'sis unless edited';

    UPDATE minga_roster.written_values v SET hash = s.hash
    FROM plan_seen_values s
    WHERE s.wrote AND v.connection = remember_written.connection AND v.column_name = s.column_name
        AND v.person_id = s.person_id
        AND v.hash IS DISTINCT FROM s.hash;
    INSERT INTO minga_roster.written_values (connection, column_name, person_id, hash)
    SELECT remember_written.connection, s.column_name, s.person_id, s.hash
    FROM plan_seen_values s
    LEFT JOIN minga_roster.written_values v
        ON v.connection = remember_written.connection AND v.column_name = s.column_name AND v.person_id = s.person_id
    WHERE v.person_id IS NULL
        -- What a default wrote to a new person's column is seen by the next sync.
        AND (s.wrote OR NOT s.is_new OR s.column_name <> ALL (defaulted));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.remember_written(text) IS
'After the apply: remembers what was written to columns owned by the SIS unless edited, and what they hold for newly '
'linked people. Rewrites no unchanged row.';
