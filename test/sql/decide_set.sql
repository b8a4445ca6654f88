-- Many conflicts settled in one query, and rows that no one wants.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
-- The owner of the site, as in docs/operations.md.
CREATE ROLE regress_decider;
SELECT roster_grant('regress_decider', 'owner', site => (SELECT site FROM connections WHERE connection = 'north'));
GRANT SELECT ON roster_conflicts, match_decisions TO regress_decider;
SELECT coalesce(max(entry), 0) AS entry FROM audit \gset
-- The worked example of docs/operations.md.
INSERT INTO people (site, person_id, role, given_name, family_name, identifier, email) VALUES
    ('north', '41', 'student', 'Sofia', 'Lopez', '1001', 'sofia@mesa.example'),
    ('north', '42', 'student', 'Sam', 'Day', '1002', NULL),
    ('north', '43', 'student', 'Kim', 'Fox', '1003', NULL), ('north', '44', 'student', 'Max', 'Poe', '1004', NULL);
SELECT stage('s-1', 'student', 'Ximena', 'Ortiz', '1001'), stage('s-2', 'student', 'Ann', 'Lee', '1002'),
    stage('s-3', 'student', 'Joaquin', 'Cruz', '1003'),
    stage('s-4', 'student', 'Test', 'Account', '1004'), stage('s-5', 'student', 'Nina', 'Ray', '1005');
SELECT FROM run_merge();
SELECT sourced_id, given_name, family_name, identifier, person_id, person_given_name, person_family_name, agrees,
    differs FROM roster_conflicts WHERE connection = 'north' ORDER BY 1;
SET ROLE regress_decider;
SELECT roster_decide(connection, sourced_id, 'same person', person_id) FROM roster_conflicts WHERE connection = 'north'
    AND sourced_id = 's-1';
SELECT roster_decide(connection, sourced_id, 'new person') FROM roster_conflicts WHERE connection = 'north'
    AND sourced_id IN ('s-2', 's-3');
SELECT roster_decide(connection, sourced_id, 'skip') FROM roster_conflicts WHERE connection = 'north'
    AND sourced_id = 's-4';
SELECT sourced_id, person_id, decision, decided_by FROM match_decisions WHERE connection = 'north' ORDER BY 1;
RESET ROLE;
SELECT roster_revoke('regress_decider', 'owner', site => (SELECT site FROM connections WHERE connection = 'north'));
DROP OWNED BY regress_decider;
DROP ROLE regress_decider;
SELECT function, connection, given FROM audit WHERE function = 'roster_decide' AND entry > :entry ORDER BY entry;
SELECT FROM run_merge();
SELECT action, person, ids, after FROM shown();
SELECT outcomes();
SELECT count(*) FROM roster_conflicts WHERE connection = 'north';
SELECT again();

-- A set may name a row once for each candidate; never the same as any of them.
SELECT roster_decide('north', 's-2', 'undecided');
INSERT INTO people (site, person_id, role, given_name, family_name, identifier) VALUES
    ('north', '51', 'student', 'Bo', 'Ray', '2001'), ('north', '52', 'student', 'Bob', 'Ray', '2001');
SELECT stage('s-6', 'student', 'Bo', 'Ray', '2001');
SELECT FROM run_merge('preview');
SELECT sourced_id, person_id FROM roster_conflicts WHERE connection = 'north' ORDER BY 1, 2;
SELECT roster_decide(connection, sourced_id, 'never the same', person_id) FROM roster_conflicts
    WHERE connection = 'north' AND sourced_id = 's-6';
SELECT roster_decide(connection, sourced_id, 'skip') FROM roster_conflicts WHERE connection = 'north'
    AND sourced_id = 's-6';
SELECT sourced_id, person_id, decision FROM match_decisions WHERE connection = 'north' AND sourced_id = 's-6'
    ORDER BY 2;
-- One that is refused settles none of the set.
SELECT refused($$SELECT roster_decide('north', i, 'skip') FROM unnest(ARRAY['s-5', 's-6']) i$$);
SELECT refused($$SELECT roster_decide('north', 's-6', 'skip', '51')$$);
SELECT refused($$SELECT roster_decide('north', 's-6', 'undecided', '51')$$);
SELECT refused($$SELECT roster_decide('north', 's-99', 'skip')$$);
SELECT stage('g-1', 'guardian', 'Gil', 'One');
SELECT refused($$SELECT roster_decide('north', 'g-1', 'skip')$$);

-- Skipped: present, matched with no one, created never, until the decision is taken back.
SELECT clear();
DELETE FROM match_decisions;
INSERT INTO people (site, person_id, role, given_name, family_name, identifier)
    VALUES ('north', '61', 'student', 'Ann', 'Lee', '1');
SELECT stage('s-1', 'student', 'Ann', 'Lee', '1'), stage('s-2', 'student', 'New', 'Comer', '2'),
    stage('s-3', 'student', 'Un', 'Readable', '3', damaged => true),
    stage('t-1', 'teacher', 'Tea', 'Poe', '7', username => 'tea'),
    stage('a-1', 'administrator', 'Tea', 'Poe', '7', username => 'tea'), stage('s-4', 'student', 'Nobody', NULL, '4');
SELECT roster_decide('north', i, 'skip') FROM unnest(ARRAY['s-1', 's-2', 's-3', 's-4', 't-1']) i;
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT category, action, count FROM run_counts WHERE run = last_run() ORDER BY 1, 2;
SELECT linked();
SELECT again();
-- In a delta, in a category that is off, and once the row is deleted in the SIS.
SELECT FROM run_merge(is_full => false);
SELECT outcomes();
SELECT toggle(roster => false, category => 'student');
SELECT FROM run_merge();
SELECT outcomes();
SELECT toggle(roster => true, category => 'student');
SELECT stage('s-1', 'student', 'Ann', 'Lee', '1', status => 'tobedeleted');
SELECT FROM run_merge();
SELECT outcomes();
SELECT stage('s-1', 'student', 'Ann', 'Lee', '1');
SELECT roster_decide('north', i, 'undecided') FROM unnest(ARRAY['s-1', 's-2', 's-3', 's-4', 't-1']) i;
SELECT FROM run_merge();
SELECT action, person, ids, rule, state FROM shown();
SELECT linked();
-- Whom a row is linked to it stays.
SELECT refused($$SELECT roster_decide('north', 's-1', 'skip')$$);
-- Decided between preview and apply: the new person is not made.
SELECT stage('s-7', 'student', 'Late', 'Comer', '8'), stage('s-8', 'student', 'Later', 'Comer', '9');
SELECT FROM run_merge('preview');
SELECT last_run() AS preview \gset
SELECT roster_decide('north', 's-7', 'skip');
SELECT FROM run_merge('apply', :preview);
SELECT action, sourced_ids, state, state_reason FROM changes WHERE run = :preview AND sourced_ids && ARRAY['s-7', 's-8']
    ORDER BY change;

-- An address that a skipped row has too is the other row's alone.
SELECT clear();
DELETE FROM match_decisions;
INSERT INTO people (site, person_id, role, given_name, family_name, email)
    VALUES ('north', '71', 'student', 'Ann', 'Lee', 'ann@x.example');
SELECT stage('s-1', 'student', 'Ann', 'Lee', email => 'ann@x.example'),
    stage('s-2', 'student', 'Test', 'Account', email => 'ann@x.example');
SELECT FROM run_merge('preview');
SELECT outcomes();
SELECT roster_decide('north', 's-2', 'skip');
SELECT FROM run_merge();
SELECT outcomes();
SELECT linked();
-- Two rows of one role that are one person, whatever the SIS calls them.
SELECT clear();
DELETE FROM match_decisions;
INSERT INTO people (site, person_id, role, given_name, family_name) VALUES ('north', '81', 'owner', 'The', 'Owner');
SELECT stage('s-1', 'student', 'Ann', 'Lee', '1'), stage('s-2', 'student', 'Maria', 'Lopez', '1');
SELECT FROM run_merge();
SELECT sourced_id, person_id, conflict FROM roster_conflicts WHERE connection = 'north' ORDER BY 1;
SELECT roster_decide('north', 's-1', 'new person');
SELECT FROM run_merge();
SELECT sourced_id, person_id, conflict FROM roster_conflicts WHERE connection = 'north' ORDER BY 1, 2;
SELECT roster_decide(connection, sourced_id, 'same person',
    (SELECT l.person_id FROM links l WHERE l.connection = 'north' AND l.sourced_id = 's-1'))
FROM roster_conflicts WHERE connection = 'north' AND sourced_id = 's-2';
SELECT linked();
SELECT FROM run_merge();
SELECT outcomes();
SELECT again();
-- Staff of two schools, where an address is unique over all schools: one decision settles each, for good.
SELECT clear();
DELETE FROM match_decisions;
CREATE UNIQUE INDEX people_email ON people (lower(email));
INSERT INTO people (site, person_id, role, given_name, family_name, email)
SELECT 'south', 'S' || n, 'teacher', 'Tea' || n, 'Poe', 'tea' || n || '@mesa.example' FROM generate_series(1, 3) n;
SELECT stage('t-' || n, 'teacher', 'Tea' || n, 'Poe', email => 'tea' || n || '@mesa.example')
    FROM generate_series(1, 3) n;
SELECT stage('t-4', 'teacher', 'Own', 'Poe', email => 'own@mesa.example');
SELECT stage('s-0', 'student', 'Sam', 'Day');
INSERT INTO people (site, person_id, role, given_name, family_name) VALUES ('north', 'N0', 'staff', 'Office', 'North');
SELECT FROM run_merge();
SELECT outcomes();
SELECT sourced_id, conflict, person_id FROM roster_conflicts WHERE connection = 'north' ORDER BY 1;
SELECT roster_decide(connection, sourced_id, 'skip') FROM roster_conflicts WHERE connection = 'north'
    AND conflict = 'not_unique';
SELECT FROM run_merge();
SELECT outcomes();
SELECT conflicts, rejects FROM runs WHERE run = last_run();
SELECT again();
\i :fixture_end
