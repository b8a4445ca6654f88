-- Collisions: values of the plan that a unique index of the people relation would refuse. They become conflicts before anybody is written.
-- Must survive indexes that it does not understand: what it leaves out, apply finds.

CREATE FUNCTION unique_keys(relation regclass, OUT index_name text, OUT expressions text[], OUT types text[], OUT operators text[], OUT attributes text[])
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.relname, k.expressions, k.types, k.operators,
        ARRAY(SELECT a.attname::text FROM pg_attribute a
            WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND (a.attnum = ANY (i.indkey)
                OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0)))
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) AS expressions,
            array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY n) AS types,
            array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY n) AS operators,
            bool_and(o.oid IS NOT NULL) AS known
        FROM generate_series(1, i.indnkeyatts) n
        JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = n
        JOIN pg_opclass oc ON oc.oid = i.indclass[n - 1]
        LEFT JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amoplefttype = oc.opcintype AND m.amoprighttype = oc.opcintype AND m.amopstrategy = 3
            AND m.amopmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
        LEFT JOIN pg_operator o ON o.oid = m.amopopr
        LEFT JOIN pg_namespace s ON s.oid = o.oprnamespace
    ) k
    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND NOT i.indnullsnotdistinct AND k.known
$$;
COMMENT ON FUNCTION unique_keys(regclass) IS
'The unique indexes of a relation that can be checked beforehand, with their keys and the columns that these are of; neither partial ones nor those for which NULLs are equal.';

CREATE FUNCTION find_collisions(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    names jsonb := (SELECT jsonb_object_agg(m.value, m.key) FROM jsonb_each_text(map) m WHERE m.key = ANY (minga_roster.written_columns() || 'role'::text));
    index record;
BEGIN
    CREATE TEMP TABLE collisions (label text COLLATE "C", index_name text, other text) ON COMMIT DROP;
    FOR index IN
        -- Ids are drawn by the relation itself.
        SELECT k.*, format('%s', (SELECT string_agg(format('%s AS k%s', e, n), ', ' ORDER BY n) FROM unnest(k.expressions) WITH ORDINALITY u (e, n))) AS keys
        FROM minga_roster.unique_keys(people) k
        WHERE NOT map ->> 'person_id' = ANY (k.attributes) AND names ?| k.attributes
        ORDER BY k.index_name
    LOOP
        BEGIN
            EXECUTE (SELECT format('CREATE TEMP TABLE planned_keys (label text COLLATE "C", person_id text, %s) ON COMMIT DROP', string_agg(format('k%s %s', n, t), ', ' ORDER BY n))
                FROM unnest(index.types) WITH ORDINALITY u (t, n));
            CREATE TEMP TABLE planned_values ON COMMIT DROP AS
            SELECT d.label, d.person_id, d.after
            FROM decisions d
            WHERE d.outcome IN ('create', 'update', 'restore') AND (d.outcome = 'create'
                OR d.after ?| ARRAY(SELECT names ->> a FROM unnest(index.attributes) a WHERE names ? a));
            PERFORM minga_roster.grant_temp(people, 'planned_keys');
            PERFORM minga_roster.grant_temp(people, 'planned_values');
            PERFORM minga_roster.grant_temp(people, 'collisions');
            PERFORM minga_roster.as_owner(people, format(
                'INSERT INTO pg_temp.planned_keys SELECT "minga_roster label", "minga_roster person", %s FROM '
                '(SELECT w.label AS "minga_roster label", w.person_id AS "minga_roster person", %s '
                'FROM pg_temp.planned_values w LEFT JOIN %s p ON p.%I = $1 AND p.%I = w.person_id::%s) f',
                array_to_string(index.expressions, ', '),
                (SELECT string_agg(format('%s AS %I', CASE
                        WHEN a = map ->> 'site' THEN format('$1::%s', minga_roster.column_type(people, a))
                        WHEN names ->> a = 'role' THEN format('CASE WHEN w.after ? ''role'' THEN (%s)::%s ELSE p.%I END',
                            minga_roster.role_words(people, 'w.after ->> ''role''', false), minga_roster.column_type(people, a), a)
                        WHEN names ? a THEN format('CASE WHEN w.after ? %1$L THEN (w.after ->> %1$L)::%2$s ELSE p.%3$I END', names ->> a, minga_roster.column_type(people, a), a)
                        ELSE format('p.%I', a) END, a), ', ') FROM unnest(index.attributes) a),
                people, map ->> 'site', map ->> 'person_id', minga_roster.column_type(people, map ->> 'person_id')), connection.site);
            PERFORM minga_roster.as_owner(people, format(
                'INSERT INTO pg_temp.collisions (label, index_name, other) '
                'SELECT k.label, $2, pg_catalog.min(q."minga_roster person") FROM pg_temp.planned_keys k '
                'JOIN (SELECT p.%I::pg_catalog.text AS "minga_roster person", %s FROM %s p%s) q ON %s '
                'WHERE q."minga_roster person" IS DISTINCT FROM k.person_id GROUP BY k.label',
                map ->> 'person_id', index.keys, people,
                CASE WHEN map ->> 'site' = ANY (index.attributes) THEN format(' WHERE p.%I = $1', map ->> 'site') END,
                (SELECT string_agg(format('q.k%1$s %2$s k.k%1$s', n, o), ' AND ' ORDER BY n) FROM unnest(index.operators) WITH ORDINALITY u (o, n))),
                connection.site, index.index_name);
            PERFORM minga_roster.as_owner(people, format(
                'INSERT INTO pg_temp.collisions (label, index_name) '
                'SELECT k.label, $1 FROM pg_temp.planned_keys k JOIN (SELECT %1$s FROM pg_temp.planned_keys GROUP BY %1$s HAVING pg_catalog.count(*) > 1) q ON %2$s',
                (SELECT string_agg(format('k%s', n), ', ' ORDER BY n) FROM generate_subscripts(index.types, 1) n),
                (SELECT string_agg(format('q.k%1$s %2$s k.k%1$s', n, o), ' AND ' ORDER BY n) FROM unnest(index.operators) WITH ORDINALITY u (o, n))),
                index.index_name);
            DROP TABLE planned_keys, planned_values;
        EXCEPTION
            -- A value that does not fit its column keeps the index from being checked, and nobody else from being written.
            WHEN data_exception OR integrity_constraint_violation OR raise_exception OR undefined_function THEN
                NULL;
        END;
    END LOOP;

    UPDATE decisions d
    SET outcome = 'conflict', links = false, told = true, before = '{}', after = '{}', rule = 'unique index',
        reason = format(CASE WHEN c.other IS NULL THEN 'Another row of the roster would get a value that the unique index "%s" of people allows once.'
            ELSE 'Somebody has a value already that the unique index "%s" of people allows once.' END, c.index_name)
    FROM (SELECT DISTINCT ON (s.label) s.label, s.index_name, s.other FROM collisions s ORDER BY s.label, s.other IS NULL, s.index_name) c
    WHERE d.label = c.label;
END
$$;
COMMENT ON FUNCTION find_collisions(connections) IS
'Turns decisions into conflicts whose values a unique index of the people relation would refuse, for the sake of somebody there or of each other. Makes the temp table collisions.';

CREATE FUNCTION name_collisions(run bigint) RETURNS void
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
COMMENT ON FUNCTION name_collisions(bigint) IS
'Says in state_reason, which no report repeats, and in conflict_candidates who has the value that a planned change collides with.';
