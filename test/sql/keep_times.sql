-- How long data of archived people, links of retired connections and the record of calls are kept.
-- Planted: rows that only years would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set ECHO none
\i :fixture
-- No test before this one has set the clock.
DELETE FROM minga_roster_internal.clock_seen;
\set ECHO all

-- The present is 2030; the runs are named by the days since they ended.
SELECT connect('second');
SELECT connect('third', 'third');
\set clock '2030-01-01 13:00:00+00'
\i :set_clock
CREATE FUNCTION run_of(days integer, connection text DEFAULT 'north') RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO runs (connection, site, kind, trigger, state, requested_by, queued_at, finished_at)
    SELECT c.connection, c.site, 'sync', 'manual', 'succeeded', 'test', t.ended - interval '1 hour', t.ended
    FROM connections c, (SELECT clock() - make_interval(days => days) AS ended) t
    WHERE c.connection = run_of.connection RETURNING run
$$;
CREATE FUNCTION archived(person_id text, days integer, still_listed_by text DEFAULT NULL) RETURNS SETOF void
LANGUAGE sql AS $$
    INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run, archived_run, missed_since)
    SELECT 'north', 's-' || person_id, 'north', person_id, 'student', 'new', r.run, r.run,
        clock() - make_interval(days => days)
    FROM run_of(days) r (run);
    INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    SELECT c.connection, 'x-' || person_id, c.site, person_id, 'student', 'new', 1 FROM connections c
    WHERE c.connection = still_listed_by;
    INSERT INTO changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, before, after,
        state, state_at)
    SELECT l.archived_run, n, 'north', 'student', person_id, ARRAY['s-' || person_id],
        (ARRAY['update', 'archive', 'conflict', 'restore'])[n], 'link', 'r',
        '{"given_name": "Old"}', '{"given_name": "New"}', (ARRAY['applied', 'applied', 'noted', 'held'])[n],
        clock() - make_interval(days => days)
    FROM links l, generate_series(1, 4) n WHERE l.sourced_id = 's-' || archived.person_id;
    INSERT INTO stored_values VALUES ('north', person_id, 'phone', 1, 1);
    INSERT INTO written_values VALUES ('north', 'phone', person_id, 1)
$$;
INSERT INTO column_owners (connection, column_name, owner) VALUES ('north', 'phone', 'sis unless edited');
SELECT archived('long-ago', 401), archived('today-due', 400), archived('recently', 399),
    archived('at-second', 500, 'second'), archived('elsewhere', 500, 'third');
-- A person who was archived long ago, by a run that is no longer on record, and one who is not archived.
SELECT archived('unknown-run', 600), archived('active', 700);
UPDATE links SET archived_run = -1 WHERE person_id = 'unknown-run';
UPDATE links SET archived_run = NULL, missed_since = NULL WHERE person_id = 'active';
-- Their changes are kept longer than the default for this.
ALTER SYSTEM SET minga_roster.keep_changes = 5000;
ALTER SYSTEM SET minga_roster.keep_runs = 5000;
\set clock '2030-01-01 13:00:01+00'
\i :set_clock
SELECT setting('keep_archived') AS keep_archived, setting('keep_audit') AS keep_audit,
    setting('keep_runs') AS keep_runs;

CREATE FUNCTION kept() RETURNS TABLE (person text, changes text, hashes bigint, links bigint) LANGUAGE sql AS $$
    SELECT l.person_id,
        (SELECT string_agg(c.action || CASE WHEN c.before = '{}' AND c.after = '{}' AND c.sourced_ids = '{}' THEN ''
            ELSE '*' END, ' ' ORDER BY c.change) FROM changes c WHERE c.person_id = l.person_id),
        (SELECT count(*) FROM stored_values v WHERE v.person_id = l.person_id)
            + (SELECT count(*) FROM written_values w WHERE w.person_id = l.person_id), count(*)
    FROM links l WHERE l.site IN ('north', 'third') GROUP BY 1 ORDER BY 1
$$;
-- A star is a change with its values.
SELECT * FROM kept();
SELECT apply_retention();
SELECT * FROM kept();
-- A second time it finds nothing, and writes to no row.
SELECT versions('changes') AS before \gset
SELECT apply_retention();
SELECT versions('changes') = :'before';
-- Not before a week is over, however short the setting.
ALTER SYSTEM SET minga_roster.keep_archived = 1;
\set clock '2030-01-01 14:00:00+00'
\i :set_clock
SELECT archived('seven-days', 7), archived('nine-days', 9);
SELECT apply_retention();
SELECT * FROM kept() WHERE person IN ('seven-days', 'nine-days', 'recently');
ALTER SYSTEM RESET minga_roster.keep_archived;
ALTER SYSTEM RESET minga_roster.keep_changes;
ALTER SYSTEM RESET minga_roster.keep_runs;
\set clock '2030-01-01 14:30:00+00'
\i :set_clock

-- Links of a retired connection end with keep_runs, and the connection after its last run. Those of others stay.
DELETE FROM links;
DELETE FROM runs WHERE connection IN ('north', 'second', 'third');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
SELECT c.connection, 's' || n, c.site, 'p' || n, 'student', 'new', 1 FROM connections c, generate_series(1, 3) n
WHERE c.connection IN ('north', 'second', 'third');
UPDATE connections SET retired_at = clock() - interval '399 days' WHERE connection = 'second';
UPDATE connections SET retired_at = clock() - interval '401 days' WHERE connection = 'third';
SELECT FROM drop_stage('third');
SELECT FROM run_of(100, 'third');
SELECT apply_retention();
SELECT c.connection, count(l.sourced_id) FROM connections c LEFT JOIN links l USING (connection)
WHERE c.connection IN ('north', 'second', 'third') GROUP BY 1 ORDER BY 1;
DELETE FROM runs WHERE connection = 'third';
SELECT apply_retention();
SELECT connection FROM connections WHERE connection IN ('north', 'second', 'third') ORDER BY 1;

-- Who called what is kept for keep_audit days, longer than the runs.
DELETE FROM audit;
INSERT INTO audit (called_at, role, function, given)
SELECT clock() - make_interval(days => n), 'test', 'roster_toggle', '{}'
FROM unnest(ARRAY[1, 1000, 1094, 1096, 5000]) n;
SELECT apply_retention();
SELECT date_part('day', clock() - called_at) AS days FROM audit ORDER BY 1;
DELETE FROM audit;

\set clock ''
\i :set_clock
\set ECHO none
\i :fixture_end
