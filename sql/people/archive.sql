-- Who is archived, as the people relation says it: by a time that is there or not, or by a status column that has a word for it. Whatever
-- reads or writes people takes its SQL about that from here. Must survive statuses that nobody has told of: they are not archived, and a
-- person who comes back gets his own again.

CREATE FUNCTION minga_roster_internal.archive_terms(relation regclass, OUT read_columns text, OUT archived text, OUT hashed text, OUT unchanged text,
    OUT as_archived text, OUT as_restored text, OUT as_created text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT
        CASE WHEN n.word IS NULL THEN format('p.%I, NULL::pg_catalog.text', n.attribute)
            ELSE format('NULL::pg_catalog.timestamptz, p.%I::pg_catalog.text', n.attribute) END,
        CASE WHEN n.word IS NULL THEN format('p.%I IS NOT NULL', n.attribute)
            ELSE format('(p.%I::pg_catalog.text = %L) IS TRUE', n.attribute, n.word) END,
        CASE WHEN n.word IS NULL THEN format('pg_catalog.date_part(''epoch'', p.%I)', n.attribute) ELSE format('p.%I::pg_catalog.text', n.attribute) END,
        format('(NOT w.before ? ''archived_at'' OR p.%1$I%2$s IS NOT DISTINCT FROM (w.before ->> ''archived_at'')%2$s)', n.attribute,
            CASE WHEN n.word IS NULL THEN '::pg_catalog.timestamptz' ELSE '::pg_catalog.text' END),
        CASE WHEN n.word IS NULL THEN 'coalesce((w.after ->> ''archived_at'')::pg_catalog.timestamptz, $2::pg_catalog.timestamptz)'
            ELSE format('coalesce(w.after ->> ''archived_at'', %L)::%s', n.word, n.type) END,
        CASE WHEN n.word IS NULL THEN 'NULL' ELSE format('(w.after ->> ''archived_at'')::%s', n.type) END,
        CASE WHEN n.word IS NOT NULL THEN format('%L::%s', n.active, n.type) END
    FROM (
        SELECT r.columns ->> 'archived_at' AS attribute, r.archive_words ->> 'archived' AS word, r.archive_words ->> 'active' AS active,
            minga_roster_internal.column_type(r.relation, r.columns ->> 'archived_at') AS type
        FROM minga_roster.people_relations r WHERE r.relation = archive_terms.relation
    ) n
$$;
COMMENT ON FUNCTION minga_roster_internal.archive_terms(regclass) IS
'SQL about the archive of a people relation: what is read of a person p (time and status, one of them NULL), whether he is archived, what stands for it in a hash, whether it is as a change w says it was before, and what archive, restore and create write; as_created is NULL where a time says it.';

CREATE FUNCTION minga_roster_internal.find_former_statuses(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off SET work_mem = '64MB' AS $$
DECLARE
    words jsonb := (SELECT r.archive_words FROM minga_roster.people_relations r WHERE r.relation = connection.people);
BEGIN
    CREATE TEMP TABLE former_statuses (person_id text, status text) ON COMMIT DROP;
    IF words = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO former_statuses
    SELECT DISTINCT ON (d.person_id) d.person_id, CASE WHEN c.run IS NULL THEN words ->> 'active' ELSE c.before ->> 'archived_at' END
    FROM decisions d
    LEFT JOIN minga_roster.links l ON l.site = connection.site AND l.person_id = d.person_id AND l.archived_run IS NOT NULL
    -- What was archived by a time says nothing of a status.
    LEFT JOIN minga_roster.changes c ON c.site = connection.site AND c.person_id = d.person_id AND c.action = 'archive' AND c.state = 'applied'
        AND l.archived_run IN (c.run, c.done_by) AND c.after ->> 'archived_at' = words ->> 'archived'
    WHERE d.outcome = 'restore'
    ORDER BY d.person_id, c.run DESC NULLS LAST;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_former_statuses(connections) IS
'Makes the temp table former_statuses: the status that each person to be restored had before a run archived him, else the word for active; empty where a time says who is archived.';
