-- Approval of held archives: each is checked again; what fails is refused; a later sync lets what was held expire.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 20) n;
SELECT FROM run_merge();
SELECT unstage(VARIADIC ARRAY(SELECT 's' || n FROM generate_series(1, 12) n));
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT count(*), state FROM shown(:held) GROUP BY state;
-- neither a preview nor a run that holds nothing can be approved, nor one of another connection
SELECT refused('SELECT run_merge(''approve'', ' || :preview || ')');
SELECT refused('SELECT run_merge(''approve'', ' || min(run) || ')') FROM runs WHERE connection = 'north';
-- what changed since: listed again, unmanaged, archived by hand, owner, gone, another connection's
UPDATE people SET roster_managed = false WHERE given_name = 'Sam2';
UPDATE people SET archived_at = '2026-01-01' WHERE given_name = 'Sam3';
UPDATE people SET role = 'owner' WHERE given_name = 'Sam4';
DELETE FROM people WHERE given_name = 'Sam5';
UPDATE links SET missed_since = NULL WHERE sourced_id = 's6';
INSERT INTO connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people, time_zone,
    retired_at)
SELECT c, 'north', 'infinite_campus', 'https://two.example/x', 'https://two.example/t', 'oauth2', 'client', 'school',
    'people', 'UTC', r
FROM (VALUES ('second', NULL::timestamptz), ('third', now())) v (c, r);
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
SELECT c, 'x' || p.person_id, 'north', p.person_id, 'student', 'new', 1 FROM people p,
    (VALUES ('second', 'Sam7'), ('third', 'Sam8')) v (c, g) WHERE p.given_name = v.g;
SELECT FROM run_merge('approve', :held);
SELECT ids, c.state, state_reason LIKE 'Approved by run %', CASE WHEN state_reason NOT LIKE 'Approved%'
    THEN state_reason END
FROM shown(:held) s JOIN changes c ON c.run = :held AND c.sourced_ids[1] = s.ids ORDER BY substr(ids, 2)::int;
SELECT archived, held, created FROM runs WHERE run = last_run();
SELECT category, action, count FROM run_counts WHERE run = last_run();
SELECT given_name, archived_at IS NOT NULL FROM people ORDER BY substr(person_id, 2)::int;
SELECT sourced_id, archived_run = :held FROM links WHERE archived_run IS NOT NULL ORDER BY substr(sourced_id, 2)::int;
-- a second call
SELECT refused('SELECT run_merge(''approve'', ' || :held || ')');
-- the toggle
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 6) n;
SELECT FROM run_merge();
SELECT unstage('s1', 's2', 's3', 's4');
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT toggle(archive => false);
SELECT FROM run_merge('approve', :held);
SELECT state, state_reason FROM changes WHERE run = :held AND action = 'archive' LIMIT 1;
-- a later sync judges again, and what was held expires; a preview does not
SELECT toggle(archive => true);
SELECT FROM run_merge();
SELECT last_run() AS held \gset
SELECT FROM run_merge('preview');
SELECT count(*), state FROM shown(:held) GROUP BY state;
SELECT FROM run_merge();
SELECT count(*), state FROM shown(:held) GROUP BY state;
SELECT refused('SELECT run_merge(''approve'', ' || :held || ')');
-- approving the newest full sync proves the connection, also where nothing is held
UPDATE connections SET unproven = true, unproven_since = '2020-01-01' WHERE connection = 'north';
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(2, 4) n;
SELECT toggle(archive => false);
SELECT FROM run_merge();
SELECT last_run() AS older \gset
SELECT FROM run_merge();
SELECT last_run() AS newest \gset
SELECT held, (SELECT unproven FROM connections WHERE connection = 'north') FROM runs WHERE run = :newest;
SELECT refused('SELECT run_merge(''approve'', ' || :older || ')');
SELECT FROM run_merge('approve', :newest);
SELECT unproven FROM connections WHERE connection = 'north';
SELECT refused('SELECT run_merge(''approve'', ' || :newest || ')');
\set ECHO none
\i :fixture_end
