-- A reviewed preview is applied exactly, without another fetch; who was changed since is refused, and says why.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set night :abs_srcdir '/fixtures/night.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

CREATE FUNCTION school_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', site, role, given_name, family_name, email, identifier, grade,
        archived_at IS NOT NULL), E'\n' ORDER BY given_name) FROM people
$$;
CREATE FUNCTION links_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(concat_ws(' ', l.sourced_id, p.given_name, l.category, l.role_written, l.rule,
        l.missed_since IS NOT NULL, l.archived_run IS NOT NULL), E'\n'
        ORDER BY l.sourced_id) FROM links l LEFT JOIN people p USING (person_id) WHERE l.connection = 'north'
$$;
\set ECHO none
\i :night
SELECT FROM run_merge();
CREATE TABLE by_sync AS SELECT school_now() AS people, links_now() AS links,
    (SELECT concat_ws(' ', created, linked, updated, restored, archived, held, conflicts) FROM runs
    WHERE run = last_run()) AS counts;
SELECT people FROM by_sync;
SELECT links FROM by_sync;
\set ECHO none
\i :night
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT * FROM shown(:preview);
SELECT action, ids, before -> 'archived_at' IS NOT NULL FROM changes c,
    LATERAL (SELECT array_to_string(sourced_ids, ' ') AS ids) i WHERE run = :preview AND before ? 'archived_at'
    ORDER BY 1;
-- the stage is not looked at again
SELECT unstage('s50', 's77');
SELECT FROM run_merge('apply', :preview);
-- the same people, links and counts as by a sync
SELECT school_now() = people, links_now() = links,
    (SELECT concat_ws(' ', created, linked, updated, restored, archived, held, conflicts) FROM runs
    WHERE run = last_run()) = counts FROM by_sync;
SELECT state, count(*), count(*) FILTER (WHERE done_by = last_run()) FROM changes WHERE run = :preview GROUP BY 1
    ORDER BY 1;
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT count(*) FROM planned_links;
SELECT stage('s50', 'student', 'New', 'Day', identifier => '50'),
    stage('s77', 'student', 'Here', 'Before', identifier => '77', email => 'here@x.example');
SELECT again();
SELECT regexp_replace(roster_report(run), '(Began|Took|Run|Applies): .*', '\1', 'ng') FROM runs
    WHERE run = (SELECT max(run) FROM runs WHERE kind = 'apply' AND connection = 'north');

-- who was changed since is refused, everyone else is applied
\set ECHO none
\i :night
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
UPDATE people SET phone = '1' WHERE given_name = 'Sam3';
UPDATE people SET archived_at = '2026-01-01' WHERE given_name = 'Sam2';
UPDATE people SET archived_at = NULL WHERE given_name = 'Sam1';
UPDATE people SET roster_managed = false WHERE given_name = 'Sam4';
UPDATE people SET identifier = '78' WHERE given_name = 'Here';
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'student', 'New', 'Day', '50');
DELETE FROM people WHERE given_name = 'Tess';
CREATE TABLE before_apply AS TABLE people;
SELECT FROM run_merge('apply', :preview);
SELECT s.action, ids, c.state, state_reason FROM shown(:preview) s JOIN changes c ON c.run = :preview
    AND array_to_string(c.sourced_ids, ' ') = s.ids AND c.action = s.action ORDER BY ids;
SELECT given_name FROM (TABLE people EXCEPT TABLE before_apply) d ORDER BY 1;
SELECT count(*) FROM (TABLE before_apply EXCEPT TABLE people) d;
SELECT sourced_id FROM links WHERE connection = 'north' AND sourced_id !~ '^s([5-9]|[12]\d|30)$' ORDER BY 1;
SELECT created, updated, archived FROM runs WHERE run = last_run();
-- toggles that were switched off since, someone who became an owner, and a decision
\set ECHO none
\i :night
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'student', 'Dora', 'Day');
SELECT toggle(archive => false, auto_update => false, category => 'student');
SELECT roster_decide('north', 's50', 'same person', person_id) FROM people WHERE given_name = 'Dora';
UPDATE people SET role = 'owner' WHERE given_name = 'Sam5';
SELECT FROM run_merge('apply', :preview);
SELECT s.action, ids, c.state, state_reason FROM shown(:preview) s JOIN changes c ON c.run = :preview
    AND array_to_string(c.sourced_ids, ' ') = s.ids AND c.action = s.action ORDER BY ids;

-- what the guard held stays held and is approved under the number of either run
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 10) n;
SELECT FROM run_merge();
SELECT unstage('s1', 's2', 's3', 's4', 's5', 's6');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT refused('SELECT run_merge(''approve'', ' || :preview || ')');
SELECT FROM run_merge('apply', :preview);
SELECT last_run() AS apply \gset
SELECT archived, held FROM runs WHERE run = :apply;
SELECT split_part(roster_report(:apply), E'\n', 1);
SELECT held FROM roster_status WHERE connection = 'north';
UPDATE people SET roster_managed = false WHERE given_name = 'Sam1';
SELECT FROM run_merge('approve', :apply);
SELECT count(*), state FROM shown(:preview) GROUP BY state ORDER BY state;
SELECT refused('SELECT run_merge(''approve'', ' || :preview || ')');
SELECT string_agg(given_name, ' ' ORDER BY given_name) FROM people WHERE archived_at IS NOT NULL;

-- what cannot be applied
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ')');
SELECT refused('SELECT run_merge(''apply'', ' || :apply || ')');
SELECT refused('SELECT run_merge(''apply'', 0)');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge();
SELECT refused('SELECT run_merge(''apply'', ' || last_run() || ')');
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ')');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
UPDATE runs SET state = 'failed' WHERE run = :preview;
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ')');
UPDATE runs SET state = 'succeeded' WHERE run = :preview;
UPDATE connections SET unproven = true, unproven_since = clock_timestamp() WHERE connection = 'north';
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ')');
UPDATE connections SET unproven = false WHERE connection = 'north';
SELECT connect('second');
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ', ''second'')');
\set ECHO none
\i :fixture_end
