-- The first sync of a site that has no one, beside sites that have people, waits for one approval: the site may be
-- mistyped.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
\set ECHO all

INSERT INTO people (site, role, given_name, family_name, identifier) SELECT 'NORTH', 'student', 'Sam' || n, 'Day',
    n::text FROM generate_series(1, 3) n;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', n::text) FROM generate_series(1, 3) n;
SELECT stage('t1', 'teacher', 'Tea', 'Poe', '7', username => 'tea'),
    stage('a1', 'administrator', 'Tea', 'Poe', '7', username => 'tea'), stage('s9', 'student', NULL, NULL, '9');

-- A preview shows it, and its apply creates no one.
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT did();
SELECT roster_report(:preview) ~ '4 new accounts would be on hold';
SELECT action, sourced_ids, state, state_cause, state_reason FROM changes WHERE run = :preview ORDER BY change;
SELECT FROM run_merge('apply', :preview);
SELECT did();
SELECT count(*) FILTER (WHERE site = 'north'), (SELECT count(*) FROM links WHERE connection = 'north') FROM people;
-- So does a sync; the next one judges again.
SELECT FROM run_merge();
SELECT did();
SELECT outcomes();
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT held, blocked_reason FROM roster_status WHERE connection = 'north';
SELECT roster_report(last_run()) ~ '^Action needed: 4 new accounts on hold',
    roster_report(last_run()) ~ format('SELECT minga_roster.roster_approve\(%s\);', last_run()),
    roster_report(last_run()) ~ 'first\s+sync\s+of\s+"north"',
    roster_report_html(last_run()) ~ '4 new accounts on hold';
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT did();
SELECT state, state_cause, count(*) FROM changes WHERE action = 'create' AND run < :night GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FILTER (WHERE site = 'north') FROM people;
-- One approval makes them, with their links; nothing is left to approve, and the next sync changes nothing.
SELECT FROM run_merge('approve', :night);
SELECT did();
SELECT site, role, given_name, identifier FROM people WHERE site = 'north' ORDER BY identifier;
SELECT linked();
SELECT action, sourced_ids, person_id, state, state_cause FROM changes WHERE run = :night AND action = 'create'
    ORDER BY change;
SELECT count(*) FROM planned_links;
SELECT refused(format('SELECT run_merge(''approve'', %s)', :'night'));
SELECT again();
-- Later people of the site are created as ever.
SELECT stage('s4', 'student', 'New', 'Comer', '4');
SELECT FROM run_merge();
SELECT did();
-- The approval is taken back as a whole.
SELECT clear();
INSERT INTO people (site, role, given_name, family_name) VALUES ('south', 'student', 'Sam', 'Day');
SELECT stage('s1', 'student', 'Ann', 'Lee', '1'), stage('s2', 'student', 'Bo', 'Ray', '2', email => 'bo@x.example'),
    stage('s3', 'student', 'Cy', 'Dow', '3'), stage('s4', 'student', 'Di', 'Fox', '4');
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT FROM run_merge('approve', :night);
SELECT last_run() AS approval \gset
SELECT did();
SELECT FROM run_merge('undo', :approval);
SELECT did();
SELECT linked();
SELECT count(*) FILTER (WHERE archived_at IS NULL), count(*) FROM people WHERE site = 'north';

-- Each is checked again: who came, was linked, or was decided since, and categories that are off.
SELECT clear();
INSERT INTO people (site, role, given_name, family_name) VALUES ('south', 'student', 'Sam', 'Day');
SELECT stage('s1', 'student', 'Ann', 'Lee', '1'), stage('s2', 'student', 'Bo', 'Ray', '2', email => 'bo@x.example'),
    stage('s3', 'student', 'Cy', 'Dow', '3'), stage('s4', 'student', 'Di', 'Fox', '4'),
    stage('t1', 'teacher', 'Tea', 'Poe', '7'), stage('s5', 'student', 'Ed', 'Gum', '5');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT FROM run_merge('apply', :preview);
INSERT INTO people (site, person_id, role, given_name, family_name, identifier, email) VALUES
    ('north', 'P90', 'student', 'Ann', 'Lee', '1', NULL), ('north', 'P91', 'student', 'Bob', 'Ray', NULL,
    'BO@x.example'), ('north', 'P92', 'student', 'Cyrus', 'Dow', NULL, NULL);
SELECT roster_decide('north', 's3', 'same person', 'P92'), roster_decide('north', 's4', 'skip');
SELECT toggle(roster => false, category => 'teacher');
SELECT FROM run_merge('approve', :preview);
SELECT did();
SELECT sourced_ids, state, regexp_replace(state_reason, '\d+', 'N') FROM changes WHERE run = :preview
    AND action = 'create' ORDER BY sourced_ids;
SELECT linked();
SELECT toggle(roster => true, category => 'teacher');
SELECT FROM run_merge();
SELECT did();

-- Not where the site has someone, archived or of another connection; nor where the relation has no one at all.
SELECT clear();
DELETE FROM match_decisions;
INSERT INTO people (site, role, given_name, family_name, archived_at) VALUES ('south', 'student', 'Sam', 'Day', NULL),
    ('north', 'parent', 'Pat', 'Day', now());
SELECT stage('s1', 'student', 'Ann', 'Lee', '1');
SELECT FROM run_merge();
SELECT did();
SELECT clear();
SELECT stage('s1', 'student', 'Ann', 'Lee', '1');
SELECT FROM run_merge();
SELECT did();
-- Nor once the connection has linked someone, whatever became of the people.
DELETE FROM people;
INSERT INTO people (site, role, given_name, family_name) VALUES ('south', 'student', 'Sam', 'Day');
SELECT FROM run_merge();
SELECT did();
\i :fixture_end
