-- Collisions: values of the plan that a unique index of the people relation would refuse. They become conflicts before anybody is written.
-- Must survive indexes that it does not understand: what it leaves out, apply finds.

CREATE FUNCTION minga_roster_internal.unique_keys(relation regclass, OUT index_name text, OUT expressions text[], OUT types text[], OUT collations text[], OUT operators text[],
    OUT predicate text, OUT nulls_equal boolean, OUT key_columns text[], OUT attributes text[])
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.relname, k.expressions, k.types, k.collations, k.operators, pg_get_expr(i.indpred, i.indrelid), i.indnullsnotdistinct, u.key_columns, u.attributes
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) AS expressions,
            -- An index keeps a name as cstring, which no table can.
            array_agg(CASE WHEN a.atttypid = 'cstring'::regtype THEN 'name' ELSE format_type(a.atttypid, a.atttypmod) END ORDER BY n) AS types,
            array_agg(CASE WHEN l.oid IS NULL THEN '' ELSE format(' COLLATE %I.%I', ls.nspname, l.collname) END ORDER BY n) AS collations,
            array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY n) AS operators,
            bool_and(o.oid IS NOT NULL) AS known
        FROM generate_series(1, i.indnkeyatts) n
        JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = n
        JOIN pg_opclass oc ON oc.oid = i.indclass[n - 1]
        LEFT JOIN pg_collation l ON l.oid = i.indcollation[n - 1]
        LEFT JOIN pg_namespace ls ON ls.oid = l.collnamespace
        LEFT JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amoplefttype = oc.opcintype AND m.amoprighttype = oc.opcintype AND m.amopstrategy = 3
            AND m.amopmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
        LEFT JOIN pg_operator o ON o.oid = m.amopopr
        LEFT JOIN pg_namespace s ON s.oid = o.oprnamespace
    ) k
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname::text) AS attributes, coalesce(bool_or(a.attgenerated <> ''), false) AS generated,
            array_agg(a.attname::text) FILTER (WHERE a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS key_columns
        FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (a.attnum = ANY (i.indkey)
            OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0))
    ) u
    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND k.known AND NOT u.generated
$$;
COMMENT ON FUNCTION minga_roster_internal.unique_keys(regclass) IS
'The unique indexes of a relation that can be checked beforehand, with their keys and predicate, the columns that are keys themselves, and all columns that keys and predicate are of; none over generated columns.';

CREATE FUNCTION minga_roster_internal.planned_value(connection connections, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN attribute = r.columns ->> 'site' THEN format('$1::%s', t)
        WHEN attribute = r.columns ->> 'archived_at' THEN
            format('CASE w.outcome WHEN ''create'' THEN %s WHEN ''restore'' THEN %s ELSE p.%I END', coalesce(a.as_created, d.value, 'NULL'), a.as_restored, attribute)
        WHEN m.name IS NOT NULL THEN
            format('CASE WHEN w.after ? %L THEN (%s)::%s WHEN w.outcome = ''create'' THEN %s ELSE p.%I END', m.name,
                CASE m.name WHEN 'role' THEN minga_roster_internal.role_words(r.relation, 'w.after ->> ''role''', false) ELSE format('w.after ->> %L', m.name) END,
                t, coalesce(d.value, 'NULL'), attribute)
        ELSE format('CASE WHEN w.outcome = ''create'' THEN %s ELSE p.%I END', coalesce(d.value, 'NULL'), attribute)
    END
    FROM minga_roster.people_relations r
    CROSS JOIN LATERAL minga_roster_internal.archive_terms(r.relation) a
    CROSS JOIN LATERAL minga_roster_internal.column_type(r.relation, attribute) t
    LEFT JOIN LATERAL (SELECT min(c.key) AS name FROM jsonb_each_text(r.columns) c
        WHERE c.value = attribute AND c.key = ANY (minga_roster_internal.written_columns() || 'role'::text)) m ON true
    -- Any other default than a constant might do something.
    LEFT JOIN LATERAL (SELECT format('(%s)::%s', pg_get_expr(f.adbin, f.adrelid), t) AS value
        FROM pg_attrdef f JOIN pg_attribute b ON b.attrelid = f.adrelid AND b.attnum = f.adnum
        WHERE f.adrelid = r.relation AND b.attname = attribute AND f.adbin::text LIKE '{CONST %') d ON true
    WHERE r.relation = connection.people
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_value(connections, text) IS
'An SQL expression of what a column of people will hold once a row w of planned_values is carried out on the person p; $1 is the site. Of new people a default is known where it is a constant, else NULL.';

CREATE FUNCTION minga_roster_internal.find_collisions(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    names jsonb := (SELECT jsonb_object_agg(m.value, m.key) FROM jsonb_each_text(map) m WHERE m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    index record;
BEGIN
    CREATE TEMP TABLE collisions (label text COLLATE "C", index_name text, other text) ON COMMIT DROP;
    FOR index IN
        -- Ids are drawn by the relation itself.
        SELECT k.*, n.*, coalesce('(' || k.predicate || ')', 'true') AS covered, map ->> 'archived_at' = ANY (k.attributes) AS of_archive
        FROM minga_roster_internal.unique_keys(people) k
        CROSS JOIN LATERAL (
            SELECT string_agg(format('%s%s AS k%s', e, c, n), ', ' ORDER BY n) AS keys,
                string_agg(format('k%s %s%s', n, t, c), ', ' ORDER BY n) AS key_types,
                string_agg(format('k%s', n), ', ' ORDER BY n) AS key_names,
                string_agg(format('q.k%1$s %2$s k.k%1$s', n, o), ' AND ' ORDER BY n) AS equal,
                string_agg(format('k%s IS NOT NULL', n), ' AND ' ORDER BY n) AS comparable
            FROM unnest(k.expressions, k.types, k.collations, k.operators) WITH ORDINALITY u (e, t, c, o, n)
        ) n
        WHERE NOT map ->> 'person_id' = ANY (k.attributes) AND (names ?| k.attributes OR map ->> 'archived_at' = ANY (k.attributes))
        ORDER BY k.index_name
    LOOP
        BEGIN
            EXECUTE format('CREATE TEMP TABLE planned_keys (label text COLLATE "C", person_id text, %s) ON COMMIT DROP', index.key_types);
            CREATE TEMP TABLE planned_values ON COMMIT DROP AS
            SELECT d.label, CASE WHEN d.outcome <> 'create' THEN d.person_id END AS person_id, d.outcome,
                CASE d.outcome WHEN 'restore' THEN d.after || jsonb_build_object('archived_at', f.status) ELSE d.after END AS after
            FROM decisions d
            LEFT JOIN former_statuses f ON f.person_id = d.person_id AND d.outcome = 'restore'
            WHERE d.outcome = 'create' OR (d.outcome = 'restore' AND index.of_archive)
                OR (d.outcome IN ('update', 'restore') AND d.after ?| ARRAY(SELECT names ->> a FROM unnest(index.attributes) a WHERE names ? a));
            PERFORM minga_roster_internal.grant_temp(people, 'planned_keys', 'SELECT, INSERT');
            PERFORM minga_roster_internal.grant_temp(people, 'planned_values', 'SELECT');
            PERFORM minga_roster_internal.as_owner(people, format(
                'INSERT INTO pg_temp.planned_keys SELECT "minga_roster label", "minga_roster person", %s FROM '
                '(SELECT w.label AS "minga_roster label", w.person_id AS "minga_roster person", %s '
                'FROM pg_temp.planned_values w LEFT JOIN %s p ON %s AND %s) f WHERE %s',
                array_to_string(index.expressions, ', '),
                (SELECT string_agg(format('%s AS %I', minga_roster_internal.planned_value(connection, a), a), ', ') FROM unnest(index.attributes) a),
                people, minga_roster_internal.equal_terms(people, map ->> 'site', '$1'),
                minga_roster_internal.equal_terms(people, map ->> 'person_id', 'w.person_id'),
                index.covered), connection.site);
            -- Rows as a whole are equal where both have NULL.
            PERFORM minga_roster_internal.read_as_owner(people, format(
                'SELECT k.label, $2, pg_catalog.min(q."minga_roster person") '
                'FROM (SELECT label, person_id, %1$s, ROW(%1$s) AS "minga_roster keys" FROM pg_temp.planned_keys) k '
                'JOIN (SELECT r.*, ROW(%1$s) AS "minga_roster keys" '
                'FROM (SELECT p.%2$I::pg_catalog.text AS "minga_roster person", %3$s FROM %4$s p WHERE %5$s%6$s) r) q ON %7$s '
                'WHERE q."minga_roster person" IS DISTINCT FROM k.person_id GROUP BY k.label',
                index.key_names, map ->> 'person_id', index.keys, people, index.covered,
                CASE WHEN map ->> 'site' = ANY (index.key_columns) THEN ' AND '
                    || minga_roster_internal.equal_terms(people, map ->> 'site', '$1') END,
                CASE WHEN index.nulls_equal THEN 'q."minga_roster keys" OPERATOR(pg_catalog.=) k."minga_roster keys"' ELSE index.equal END),
                'pg_temp.collisions', connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people, format(
                'SELECT c.label, $1, NULL::pg_catalog.text FROM (SELECT k.label, pg_catalog.count(*) OVER (PARTITION '
                    'BY %s) AS alike FROM pg_temp.planned_keys k WHERE %s) c WHERE c.alike > 1',
                index.key_names, CASE WHEN index.nulls_equal THEN 'true' ELSE index.comparable END),
                'pg_temp.collisions', index.index_name);
            DROP TABLE planned_keys, planned_values;
        EXCEPTION
            -- A value that does not fit its column keeps the index from being checked, and nobody else from being written. So does a key or
            -- a predicate of the whole row.
            WHEN data_exception OR integrity_constraint_violation OR raise_exception OR undefined_function OR undefined_table THEN
                NULL;
        END;
    END LOOP;

    UPDATE decisions d
    SET outcome = 'conflict', links = false, told = true, before = '{}', after = '{}', rule = 'unique index',
        conflict = 'not_unique',
        reason = format(CASE WHEN c.other IS NULL THEN 'Another row of the roster would get a value that the unique index "%s" of people allows once.'
            WHEN c.is_gone THEN 'Somebody who is archived or gone has a value that the unique index "%s" of people '
                'allows once. '
                'Clear it there, or make the index cover active people alone; the next sync goes on.'
            ELSE 'Somebody has a value already that the unique index "%s" of people allows once.' END, c.index_name)
    FROM (
        SELECT DISTINCT ON (s.label) s.label, s.index_name, s.other,
            p.archived OR EXISTS (SELECT FROM open_rows o WHERE o.person_id = s.other
                AND o.standing = 'absent') AS is_gone
        FROM collisions s LEFT JOIN current_people p ON p.person_id = s.other
        ORDER BY s.label, s.other IS NULL, s.index_name
    ) c
    WHERE d.label = c.label;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_collisions(connections) IS
'Turns decisions into conflicts whose values a unique index of the people relation would refuse, for the sake of somebody there or of each other. Makes the temp table collisions.';

CREATE FUNCTION minga_roster_internal.name_collisions(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM collisions) THEN
        RETURN;
    END IF;
    CREATE TEMP TABLE named_collisions ON COMMIT DROP AS
    SELECT DISTINCT ON (c.change) c.change, s.other, p.person_id IS NOT NULL AS is_of_site
    FROM minga_roster.changes c
    JOIN decisions d ON d.sourced_ids = c.sourced_ids AND d.outcome = 'conflict'
    JOIN collisions s ON s.label = d.label
    LEFT JOIN current_people p ON p.person_id = s.other
    WHERE c.run = name_collisions.run AND c.rule = 'unique index' AND s.other IS NOT NULL
    ORDER BY c.change, s.index_name;
    UPDATE minga_roster.changes c SET state_reason = format('Person "%s" has the value.', n.other)
    FROM named_collisions n
    WHERE c.run = name_collisions.run AND c.change = n.change;
    INSERT INTO minga_roster.conflict_candidates (run, change, person_id, found_by)
    SELECT name_collisions.run, n.change, n.other, 'unique index' FROM named_collisions n WHERE n.is_of_site;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.name_collisions(bigint) IS
'Says in state_reason, which no report repeats, and in conflict_candidates who has the value that a planned change collides with.';
