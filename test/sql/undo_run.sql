-- Undo takes a run back: people and links are as they were, column by column; who was changed since is kept and listed.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set night :abs_srcdir '/fixtures/night.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION people_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg((to_jsonb(p) - 'updated_at')::text, E'\n' ORDER BY person_id) FROM people p $$;
CREATE FUNCTION links_now() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(to_jsonb(l)::text, E'\n'
    ORDER BY connection, sourced_id) FROM links l WHERE connection = 'north' $$;
\set ECHO none
\i :night
SELECT people_now() AS people, links_now() AS links \gset
SELECT FROM run_merge();
SELECT last_run() AS sync \gset
SELECT action, ids, state FROM shown(:sync);
SELECT action, before -> 'archived_at', after -> 'archived_at' = to_jsonb(state_at) FROM changes
    WHERE run = :sync AND before ? 'archived_at' AND sourced_ids <> '{s1}' ORDER BY change;
SELECT people_now() = :'people', links_now() = :'links';
UPDATE connections SET automatic = true WHERE connection = 'north';
INSERT INTO runs (connection, site, kind, trigger, evening, state, requested_by)
    VALUES ('north', 'north', 'sync', 'evening', '2026-01-01', 'queued', 'test');
SELECT FROM run_merge('undo', :sync);
-- but for the new person, who is archived, everything is as it was
SELECT given_name, archived_at IS NOT NULL FROM people WHERE given_name = 'New';
DELETE FROM people WHERE given_name = 'New';
SELECT people_now() = :'people', links_now() = :'links';
SELECT action, ids, state FROM shown(:sync) WHERE state <> 'noted';
SELECT DISTINCT regexp_replace(state_reason, '\d+', 'N') FROM changes WHERE run = :sync AND state = 'undone';
SELECT created, linked, updated, restored, archived, held FROM runs WHERE run = last_run();
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT count(*) FROM link_changes WHERE run = :sync;
-- Automatic Rostering is paused, and the evening that waited does not do it all again
SELECT automatic, paused_cause, paused_reason = format('run %s was undone', :sync) FROM connections
    WHERE connection = 'north';
SELECT state, error FROM runs WHERE connection = 'north' AND trigger = 'evening';
SELECT blocked_reason LIKE 'paused: run % was undone' FROM roster_status WHERE connection = 'north';
SELECT regexp_replace(roster_report(last_run()), '(Began|Took|Run|Undoes): .*|run \d+', '\1', 'ng');
UPDATE connections SET automatic = false, paused_cause = NULL, paused_reason = NULL WHERE connection = 'north';
-- an undo is done once, and cannot be undone
SELECT refused('SELECT run_merge(''undo'', ' || :sync || ')');
SELECT refused('SELECT run_merge(''undo'', ' || max(run) || ')') FROM runs WHERE kind = 'undo';
-- the next sync does it all again
SELECT FROM run_merge();
SELECT count(*) FILTER (WHERE state = 'applied') = (SELECT count(*) FROM changes WHERE run = :sync AND state = 'undone')
    FROM changes WHERE run = last_run();

-- who was changed since is kept, with all links
\set ECHO none
\i :night
SELECT FROM run_merge();
SELECT last_run() AS sync \gset
UPDATE people SET phone = '1' WHERE given_name IN ('New', 'Samuel3');
UPDATE people SET archived_at = NULL WHERE given_name = 'Sam2';
UPDATE people SET archived_at = now() WHERE given_name = 'Sam1';
UPDATE people SET roster_managed = false WHERE given_name = 'Sam5';
UPDATE people SET role = 'manager' WHERE given_name = 'Here';
DELETE FROM people WHERE given_name = 'Max';
SELECT people_now() AS people, (SELECT string_agg(to_jsonb(l)::text, E'\n' ORDER BY sourced_id) FROM links l
    WHERE connection = 'north' AND sourced_id IN ('s50', 's3', 's2', 's1', 's5', 's77', 'x1')) AS links \gset
SELECT FROM run_merge('undo', :sync);
SELECT s.action, ids, c.state, CASE c.state WHEN 'kept' THEN state_reason END FROM shown(:sync) s
    JOIN changes c ON c.run = :sync AND array_to_string(c.sourced_ids, ' ') = s.ids AND c.action = s.action
    WHERE c.state <> 'noted' ORDER BY ids;
SELECT people_now() = :'people', (SELECT string_agg(to_jsonb(l)::text, E'\n' ORDER BY sourced_id) FROM links l
    WHERE connection = 'north' AND sourced_id IN ('s50', 's3', 's2', 's1', 's5', 's77', 'x1')) = :'links';
SELECT linked();
SELECT split_part(roster_report(last_run()), E'\n', 1), report_subject(last_run());
SELECT regexp_replace(roster_report(last_run()), '^.*(\n7 changes could not be undone\n.*\n)What was done.*$', '\1');

-- of an older run only what no later run has changed
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 20) n;
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT stage('s1', 'student', 'Samuel1', 'Day', identifier => '1'), unstage('s2'),
    stage('s3', 'student', 'Sam3', 'Day', identifier => '3', grade => '7');
SELECT FROM run_merge();
SELECT last_run() AS second \gset
SELECT stage('s3', 'student', 'Sam3', 'Day', identifier => '3', grade => '8');
SELECT FROM run_merge();
SELECT last_run() AS third \gset
SELECT FROM run_merge('undo', :second);
SELECT sourced_ids, state, replace(state_reason, :'third', 'THIRD') LIKE 'Run THIRD %' FROM changes WHERE run = :second
    ORDER BY change;
SELECT given_name, grade, archived_at IS NOT NULL FROM people WHERE given_name IN ('Sam1', 'Samuel1', 'Sam2', 'Sam3')
    ORDER BY given_name;
SELECT FROM run_merge('undo', :first);
SELECT sourced_ids, state FROM changes WHERE run = :first AND sourced_ids[1] IN ('s1', 's2', 's3', 's4') ORDER BY 1;
SELECT count(*) FROM people WHERE archived_at IS NULL;
SELECT linked();

-- an apply and an approval are undone separately
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 8) n;
SELECT FROM run_merge();
SELECT unstage('s1', 's2', 's3', 's4', 's5');
SELECT stage('s9', 'student', 'Sam9', 'Day');
SELECT people_now() AS people, links_now() AS links \gset
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge('apply', :preview);
SELECT last_run() AS apply \gset
SELECT people_now() AS applied_people, links_now() AS applied_links \gset
SELECT FROM run_merge('approve', :apply);
SELECT last_run() AS approve \gset
SELECT count(*) FROM people WHERE archived_at IS NOT NULL;
SELECT FROM run_merge('undo', :approve);
SELECT people_now() = :'applied_people', links_now() = :'applied_links';
SELECT FROM run_merge('undo', :apply);
DELETE FROM people WHERE given_name = 'Sam9';
SELECT people_now() = :'people', links_now() = :'links';
SELECT state, count(*) FROM changes WHERE run = :preview GROUP BY 1 ORDER BY 1;

-- what cannot be undone
SELECT replace(refused('SELECT run_merge(''undo'', ' || :preview || ')'), :'apply', 'N');
SELECT FROM run_merge('preview');
SELECT refused('SELECT run_merge(''undo'', ' || last_run() || ')');
SELECT refused('SELECT run_merge(''undo'', 0)');
SELECT FROM run_merge();
SELECT FROM run_merge();
SELECT last_run() AS idle \gset
SELECT refused('SELECT run_merge(''undo'', ' || :idle || ')');
UPDATE runs SET state = 'failed' WHERE run = :idle;
SELECT refused('SELECT run_merge(''undo'', ' || :idle || ')');
UPDATE runs SET state = 'succeeded', created = 1 WHERE run = :idle;
SELECT refused('SELECT run_merge(''undo'', ' || :idle || ')');
SELECT connect('second');
SELECT refused('SELECT run_merge(''undo'', ' || min(run) || ', ''second'')') FROM runs WHERE connection = 'north';
\set ECHO none
\i :fixture_end
