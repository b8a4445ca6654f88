-- What is uncertain is shown with its candidates; what someone decides of it is remembered.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, identifier, email) VALUES
    ('north', 'student', 'Ana', 'Lee', '1', 'ana@x.example'), ('north', 'student', 'Bo', 'Ray', '2', NULL),
    ('north', 'student', 'Bob', 'Ray', '2', NULL),
    ('north', 'student', 'Di', 'Fox', '9', 'di@x.example'), ('south', 'student', 'Elsewhere', 'Fox', '9', NULL);
SELECT stage('s1', 'student', 'Zoe', 'Other', identifier => '1', email => 'ana@x.example'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '2'),
    stage('s3', 'student', 'Di', 'Fox', identifier => '3', email => 'di@x.example'),
    stage('t1', 'teacher', 'Tea', 'Ray', username => 'tea', identifier => 't'),
    stage('t2', 'teacher', 'Tea', 'Ray', username => 'tea', identifier => 't'),
    stage('a1', 'administrator', 'Tea', 'Ray', username => 'tea'),
    stage('g1', 'guardian', 'Gil', 'One');
SELECT FROM run_merge('preview');
SELECT run = last_run() AS latest, category, sourced_ids, sourced_id, person_id, found_by, reason FROM roster_conflicts
    ORDER BY sourced_ids, sourced_id, person_id;

-- a new person: not the one with that number, nor the one with that address
SELECT roster_decide('north', 's1', 'new person');
-- one of two
SELECT roster_decide('north', 's2', 'same person', 'P3');
-- never the one with the same address: no one else is left, so it is a new person
SELECT roster_decide('north', 's3', 'never the same', 'P4');
SELECT sourced_id, person_id FROM match_decisions ORDER BY sourced_id;
SELECT linked();
SELECT FROM run_merge();
SELECT action, person, ids, after, rule FROM shown() WHERE ids ~ '^s';
SELECT linked();
SELECT again();
-- used from then on: the rows leave the roster and come back; a link stays what it is, and so does a decision
SELECT unstage('s1', 's2', 's3');
DELETE FROM links WHERE sourced_id IN ('s1', 's3');
SELECT FROM run_merge('preview');
SELECT stage('s1', 'student', 'Zoe', 'Other', identifier => '1', email => 'ana@x.example'),
    stage('s3', 'student', 'Di', 'Fox', email => 'di@x.example');
DELETE FROM people WHERE person_id IN ('P6', 'P7');
SELECT FROM run_merge('preview');
SELECT action, person, ids FROM shown() WHERE ids ~ '^s[13]';
-- whom a row is never, another row may be; and no one in a decision is in a conflict after it
SELECT stage('s4', 'student', 'Di', 'Fox', identifier => '9');
SELECT FROM run_merge('preview');
SELECT action, person, ids FROM shown() WHERE ids ~ '^s[34]';
-- undecided again
SELECT roster_decide('north', 's1', 'undecided'), roster_decide('north', 's2', 'undecided'),
    roster_decide('north', 's3', 'undecided'), roster_decide('north', 's3', 'undecided');
SELECT count(*) FROM match_decisions;
SELECT linked();
SELECT unstage('s4'), stage('s2', 'student', 'Bo', 'Ray', identifier => '2');
SELECT FROM run_merge('preview');
SELECT sourced_ids, person_id, found_by FROM roster_conflicts WHERE sourced_ids[1] ~ '^s' ORDER BY sourced_ids,
    person_id;
-- decided again replaces what was decided
SELECT roster_decide('north', 's2', 'never the same', 'P2'), roster_decide('north', 's2', 'never the same', 'P2'),
    roster_decide('north', 's2', 'never the same', 'P3');
SELECT person_id FROM match_decisions ORDER BY person_id;
SELECT roster_decide('north', 's2', 'same person', 'P2');
SELECT count(*) FROM match_decisions;
SELECT linked();
SELECT roster_decide('north', 's2', 'same person', 'P3');
SELECT linked();
SELECT FROM run_merge();

-- refused, and nothing is stored
SELECT refused($$SELECT roster_decide('nobody', 's1', 'new person')$$);
SELECT refused($$SELECT roster_decide('north', 's1', 'maybe')$$);
SELECT refused($$SELECT roster_decide('north', 's1', NULL)$$);
SELECT refused($$SELECT roster_decide('north', NULL, 'new person')$$);
SELECT refused($$SELECT roster_decide('north', 's1', 'same person')$$);
SELECT refused($$SELECT roster_decide('north', 's1', 'new person', 'P1')$$);
SELECT refused($$SELECT roster_decide('north', 'S1', 'new person')$$);
SELECT refused($$SELECT roster_decide('north', 's1', 'same person', 'P999')$$);
SELECT refused($$SELECT roster_decide('north', 's1', 'same person', 'P5')$$);
SELECT refused($$SELECT roster_decide('north', 'g1', 'same person', 'P1')$$);
SELECT refused($$SELECT roster_decide('north', 't1', 'same person', 'P3')$$);
SELECT linked();
SELECT refused($$SELECT roster_decide('north', 's3', 'new person')$$);
SELECT refused($$SELECT roster_decide('north', 's3', 'never the same', 'P4')$$);
SELECT count(*) FROM match_decisions;
-- whom it is instead may be said of a linked row too
SELECT roster_decide('north', 's3', 'same person', 'P2');
SELECT linked();
\set ECHO none
\i :fixture_end
