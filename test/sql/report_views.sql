-- The views for reports: who came and went, and what the SIS leaves open.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set set_clock :abs_srcdir '/fixtures/set_clock.sql'
\set ECHO none
\set clock '2026-09-02 03:30:00+00'
\i :set_clock
\set ECHO none
\i :fixture
SELECT FROM roster_configure('north', time_zone => 'America/Denver', parent_contact => true);
\set ECHO all

-- the evening of 1 September in Denver
SELECT stage('g1', 'guardian', 'Gil', 'One', email => 'gil@x.example'), stage('g2', 'guardian', 'Gia', 'Two'),
    stage('g3', 'guardian', 'Gus', 'Three', phone => '3', status => 'tobedeleted');
SELECT stage('s1', 'student', 'Ana', 'Day', identifier => '1', email => 'ana@x.example', agents => '{g2,g1}'),
    stage('s2', 'student', 'Bo', 'Day', identifier => '2', agents => '{g2,g3,gone}'),
    stage('s3', 'student', 'Cy', 'Day', identifier => '3', email => 'CY@x.example'),
    stage('s4', 'student', 'Di', 'Day', identifier => '4', status => 'inactive'),
    stage('s5', 'student', 'Ed', 'Day', identifier => '5', email => 'cy@x.example', enabled => false),
    stage('s6', 'student', 'Flo', 'Day', identifier => '6', status => 'tobedeleted');
SELECT stage('t1', 'teacher', 'Tea', 'Day', username => 'tea', email => 'tea@x.example'),
    stage('a1', 'administrator', 'Tea', 'Day', username => 'TEA', email => 'tea@x.example');
SELECT FROM run_merge();
SELECT connection, site, day, category, person_id, sourced_ids, came_back FROM roster_joiners ORDER BY category,
    person_id;
SELECT connection, day, category, action, people FROM roster_changes_by_day ORDER BY 2, 3, 4;
SELECT connection, family, shared, sourced_ids, roles, person_ids, known_as_one FROM roster_listed_twice
    ORDER BY family, shared;
SELECT connection, category, role, sourced_id, person_id FROM roster_without_email ORDER BY sourced_id;
SELECT connection, sourced_id, person_id, agents FROM roster_students_without_guardian ORDER BY sourced_id;

-- a leaver, who comes back; a second one whom the guard holds
SELECT toggle(archive => true);
SELECT unstage('s1');
SELECT FROM run_merge();
SELECT day, category, person_id, sourced_ids, state, left_at, still_archived, run = last_run() AS last
    FROM roster_leavers;
SELECT stage('s1', 'student', 'Ana', 'Day', identifier => '1');
SELECT FROM run_merge();
SELECT person_id, state, still_archived FROM roster_leavers;
SELECT day, person_id, came_back FROM roster_joiners WHERE came_back;
UPDATE connections SET unproven = true WHERE connection = 'north';
SELECT unstage('s2');
SELECT FROM run_merge();
SELECT category, person_id, state, left_at, still_archived FROM roster_leavers ORDER BY run;
SELECT action, people FROM roster_changes_by_day WHERE category = 'student' ORDER BY 1;

-- without parent_contact no one is said to lack a guardian; a retired connection is not reported
SELECT FROM roster_configure('north', parent_contact => false);
SELECT count(*) FROM roster_students_without_guardian;
SELECT FROM roster_disconnect('north');
SELECT (SELECT count(*) FROM roster_listed_twice), (SELECT count(*) FROM roster_without_email);
\set ECHO none
\i :fixture_end
\set clock ''
\i :set_clock
