-- What is decided or becomes known between two runs: the apply of a preview, an undo and the next plan go by it.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- decided between a preview and its apply: who a row is, is not, or is no more
SELECT toggle(archive => true, auto_update => true);
SELECT FROM roster_configure('north', guard_floor => 50);
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ana', 'Day', '1', NULL), ('north', 'student', 'Bo', 'Day', '2', NULL),
    ('north', 'student', 'Cy', 'Day', NULL, 'cy@x.example'),
    ('north', 'student', 'Di', 'Day', '4', NULL), ('north', 'owner', 'Flo', 'Day', '6', NULL);
SELECT stage('a1', 'student', 'Ana', 'Day', identifier => '1'), stage('a2', 'student', 'Eve', 'Day', identifier => '5');
SELECT stage('f' || n, 'student', 'Fil' || n, 'Day') FROM generate_series(1, 12) n;
SELECT FROM run_merge();
SELECT count(*), count(archived_at) FROM people;
SELECT stage('a1', 'student', 'Anna', 'Day', identifier => '1'), unstage('a2'),
    stage('b1', 'student', 'Evelyn', 'Day', identifier => '55'),
    stage('b2', 'student', 'Bo', 'Day', identifier => '2'),
    stage('b3', 'student', 'Cy', 'Day', email => 'cy@x.example'),
    stage('b4', 'student', 'Di', 'Day', identifier => '4'),
    stage('b6', 'administrator', 'Flo', 'Day', identifier => '6');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT action, person, ids, after, rule, state FROM shown(:preview);
SELECT roster_decide('north', 'a1', 'same person', 'P4');
SELECT roster_decide('north', 'b1', 'same person', 'P6');
SELECT roster_decide('north', 'b2', 'never the same', 'P2');
SELECT roster_decide('north', 'b3', 'new person');
SELECT roster_decide('north', 'b6', 'never the same', 'P5');
SELECT FROM run_merge('apply', :preview);
SELECT c.action, c.person_id, c.sourced_ids, c.state, c.state_reason FROM changes c WHERE c.run = :preview
    ORDER BY change;
SELECT person_id, given_name, identifier, archived_at IS NOT NULL AS archived FROM people WHERE person_id ~ '^P[1-6]$'
    ORDER BY 1;
SELECT sourced_id, person_id, rule FROM links WHERE sourced_id !~ '^f' ORDER BY 1;
SELECT FROM run_merge();
SELECT sourced_id, person_id, rule FROM links WHERE sourced_id ~ '^b' ORDER BY 1;
-- the decided row has taken name and number of P4, who was b4 by them
SELECT FROM run_merge();
SELECT action, person, ids, rule FROM shown();
SELECT again();

-- undecided since: the row lends no values after that
SELECT clear();
SELECT toggle(auto_update => true);
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'student', 'Ana', 'Day');
SELECT stage('a1', 'student', 'Ann', 'Day', identifier => '1');
SELECT FROM run_merge('preview');
SELECT roster_decide('north', 'a1', 'same person', 'P1');
SELECT FROM run_merge('preview');
SELECT action, person, ids, after, rule FROM shown();
SELECT roster_decide('north', 'a1', 'undecided');
SELECT FROM run_merge('apply', last_run());
SELECT given_name, identifier FROM people;

-- another connection of the site lists the student again since
SELECT clear();
SELECT toggle(archive => true);
SELECT connect('second');
SELECT stage('f' || n, 'student', 'Fil' || n, 'Day', identifier => n::text) FROM generate_series(1, 12) n;
SELECT stage('x1', 'student', 'Fil1', 'Day', identifier => '1', connection => 'second'),
    stage('x2', 'student', 'Fil2', 'Day', identifier => '2', connection => 'second');
SELECT FROM run_merge();
SELECT FROM run_merge(connection => 'second');
SELECT unstage('x1');
SELECT FROM run_merge(connection => 'second');
SELECT unstage('f1');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT action, person, state FROM shown();
SELECT stage('x1', 'student', 'Fil1', 'Day', identifier => '1', connection => 'second');
SELECT FROM run_merge(connection => 'second');
SELECT FROM run_merge('apply', :preview);
SELECT action, person_id, state, state_reason FROM changes WHERE run = :preview;
SELECT FROM links WHERE sourced_id = 'f1' AND missed_since IS NOT NULL;

-- an undo leaves what was decided after the run
SELECT clear();
DELETE FROM links WHERE connection = 'second';
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'student', 'Ana', 'Day'),
    ('north', 'student', 'Bo', 'Day');
SELECT stage('a1', 'student', 'Anna', 'Day', identifier => '1'), stage('a2', 'student', 'Bob', 'Day', damaged => true),
    stage('a3', 'teacher', 'Cy', 'Day'), stage('a4', 'administrator', 'Cyrus', 'Day', damaged => true);
SELECT FROM run_merge();
SELECT last_run() AS first \gset
SELECT roster_decide('north', 'a1', 'same person', 'P1'), roster_decide('north', 'a2', 'same person', 'P2');
SELECT roster_decide('north', 'a4', 'same person', p.person_id) FROM people p WHERE p.given_name = 'Cy';
SELECT FROM run_merge('undo', :first);
SELECT sourced_id, person_id, rule FROM links ORDER BY 1;
SELECT sourced_ids, state, CASE state WHEN 'kept' THEN state_reason END FROM changes
    WHERE run = :first AND state <> 'noted' ORDER BY 1;
SELECT person_id, given_name, archived_at IS NOT NULL FROM people ORDER BY 1;

-- nor does a link that waited for roster_relink move against a decision
SELECT clear();
SELECT stage('o' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 7) n;
SELECT FROM run_merge();
DELETE FROM staged_users WHERE connection = 'north';
SELECT stage('n' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 7) n;
SELECT FROM run_merge();
SELECT last_run() AS holds \gset
SELECT roster_decide('north', 'n1', 'never the same', 'P1'), roster_decide('north', 'n2', 'new person'),
    roster_decide('north', 'n3', 'never the same', 'P1');
SELECT roster_relink(:holds);
SELECT person_id, state, state_reason FROM changes WHERE run = :holds AND state = 'refused' ORDER BY 1;
SELECT linked();
DELETE FROM match_decisions;

-- what a run held goes with it
SELECT clear();
SELECT toggle(archive => true);
SELECT stage('f' || n, 'student', 'Fil' || n, 'Day') FROM generate_series(1, 6) n;
SELECT FROM run_merge();
SELECT unstage('f1', 'f2', 'f3', 'f4');
SELECT FROM run_merge();
SELECT last_run() AS holds \gset
SELECT FROM run_merge('undo', :holds);
SELECT state, count(*) FROM changes WHERE run = :holds GROUP BY 1;
SELECT refused('SELECT run_merge(''approve'', ' || :holds || ')');
UPDATE connections SET unproven = true WHERE connection = 'north';
SELECT refused('SELECT run_merge(''approve'', ' || :holds || ')');
SELECT roster_report(:holds) ~ 'Run [0-9]+ was undone';
UPDATE connections SET unproven = false WHERE connection = 'north';

-- reads of applied previews count for grace; a read that listed no one at all does not
SELECT clear();
SELECT toggle(archive => true);
SELECT FROM roster_configure('north', guard_grace => 3);
SELECT stage('f' || n, 'student', 'Fil' || n, 'Day') FROM generate_series(1, 12) n;
SELECT FROM run_merge();
SELECT unstage('f1');
SELECT FROM run_merge('preview');
SELECT FROM run_merge('apply', last_run());
CREATE TABLE away AS SELECT * FROM staged_users WHERE connection = 'north';
DELETE FROM staged_users WHERE connection = 'north';
SELECT FROM run_merge();
INSERT INTO staged_users SELECT * FROM away;
SELECT FROM run_merge('preview');
SELECT action, ids FROM shown();
SELECT FROM run_merge('apply', last_run());
SELECT FROM run_merge('preview');
SELECT action, ids, state FROM shown();

-- what retention may have begun to remove is neither applied nor undone
SELECT FROM run_merge();
SELECT last_run() AS sync \gset
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT (setting('keep_changes')::integer + 1) * interval '1 day' AS age \gset
UPDATE runs SET queued_at = queued_at - :'age'::interval WHERE run IN (:sync, :preview);
SELECT refused('SELECT run_merge(''apply'', ' || :preview || ')');
SELECT refused('SELECT run_merge(''undo'', ' || :sync || ')');
SELECT count(archived_at) FROM people;
\set ECHO none
\i :fixture_end
