-- How the people relation says who is archived: with a timestamp, or with a status column that has a word for it. All
-- SQL about archiving people comes from here. Must survive unknown statuses: they are not archived, and a person who is
-- restored gets the earlier status back.

CREATE FUNCTION minga_roster_internal.find_former_statuses(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET jit = off
    SET work_mem = '64MB' AS $$
DECLARE
    words jsonb := (SELECT r.archive_words FROM minga_roster.people_relations r WHERE r.relation = connection.people);
BEGIN
    CREATE TEMP TABLE former_statuses (person_id text, status text) ON COMMIT DROP;
    IF words = '{}' THEN
        RETURN;
    END IF;
    INSERT INTO former_statuses
    SELECT DISTINCT ON (d.person_id) d.person_id, CASE WHEN c.run IS NULL THEN words ->> 'active'
        ELSE c.before ->> 'archived_at' END
    FROM decisions d
    LEFT JOIN minga_roster.links l ON l.site = connection.site AND l.person_id = d.person_id
        AND l.archived_run IS NOT NULL
    -- An archive by timestamp has no earlier status.
    LEFT JOIN minga_roster.changes c ON c.site = connection.site AND c.person_id = d.person_id AND c.action = 'archive'
        AND c.state = 'applied'
        AND l.archived_run IN (c.run, c.done_by) AND c.after ->> 'archived_at' = words ->> 'archived'
    WHERE d.outcome = 'restore'
    ORDER BY d.person_id, c.run DESC NULLS LAST;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_former_statuses(connections) IS
'Makes the temp table former_statuses: the status that each person to be restored had before a run archived them, '
'otherwise the word for active; empty for a timestamp.';
