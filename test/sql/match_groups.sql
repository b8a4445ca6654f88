-- Which rows of a roster are one person: rows of one role that a SIS sends for each school, rows that share a key and
-- contradict, and a row between two people.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set matching :abs_srcdir '/fixtures/matching.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :matching
\set ECHO all
SELECT fresh();
SELECT stay();

-- a row for each school is one person, who leaves with the last of them
SELECT stage('a1', 'student', 'Ana', 'Lee', identifier => '1', username => 'alee', email => 'ana@x.example'),
    stage('b1', 'student', 'Ana', 'Lee', identifier => '1', username => 'ALEE', email => 'Ana@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT outcomes();
SELECT again();
SELECT outcomes();
SELECT unstage('a1');
SELECT FROM run_merge();
SELECT told();
SELECT again();
SELECT unstage('b1');
SELECT FROM run_merge();
SELECT told();
-- the second row later; a nickname; keys that one of them lacks
SELECT stage('a1', 'student', 'Ana', 'Lee', identifier => '1', username => 'alee');
SELECT FROM run_merge();
SELECT stage('b1', 'student', 'Anabel', 'LEE', identifier => '1', email => 'ana@x.example');
SELECT FROM run_merge();
SELECT told();
SELECT linked() ~ 'a1>P10.*b1>P10';
SELECT again();
-- linked to one person they are one, whatever they say later
SELECT stage('b1', 'student', 'Zoe', 'Other', identifier => '77', username => 'zoe');
SELECT FROM run_merge();
SELECT told();
SELECT again();
SELECT unstage('a1', 'b1');
SELECT FROM run_merge();
DELETE FROM people WHERE given_name IN ('Ana', 'Anabel', 'Zoe');
DELETE FROM links WHERE sourced_id IN ('a1', 'b1');

-- one number and other names, user names or addresses: a conflict, also when no one is there yet
SELECT stage('a1', 'student', 'Ana', 'Lee', identifier => '1'), stage('b1', 'student', 'Bo', 'Ray', identifier => '1');
SELECT stage('a2', 'student', 'Ana', 'Lee', identifier => '2', username => 'one'),
    stage('b2', 'student', 'Ana', 'Lee', identifier => '2', username => 'two');
SELECT stage('a3', 'student', 'Ana', 'Lee', identifier => '3', email => 'one@x.example'),
    stage('b3', 'student', 'Ana', 'Lee', identifier => '3', email => 'two@x.example');
SELECT stage('a4', 'student', 'Ana', 'Lee', identifier => '4'), stage('b4', 'student', 'Ana', '...', identifier => '4');
-- one user name, and no number or another
SELECT stage('a5', 'student', 'Ana', 'Lee', username => 'five'),
    stage('b5', 'student', 'Ana', 'Lee', username => 'five');
SELECT stage('a6', 'student', 'Ana', 'Lee', username => 'six', identifier => '6'),
    stage('b6', 'student', 'Ana', 'Lee', username => 'six', identifier => '66');
-- names of which each agrees with one of the others alone
SELECT stage('a7', 'student', 'Kat', 'Lee', identifier => '7'), stage('b7', 'student', 'Katherine', 'Lee',
    identifier => '7'), stage('c7', 'student', 'Kathleen', 'Lee', identifier => '7');
SELECT FROM run_merge();
SELECT told();
SELECT outcomes() ~ 'create';
-- staff: each address of the rows of one is a key: whom the second one tells is not made again, and two people by two
-- addresses are a conflict
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email) VALUES
    ('north', 'staff', 'Cy', 'Dow', 'cy@home.example'), ('north', 'staff', 'Dina', 'Hay', 'di@one.example'),
    ('north', 'teacher', 'Dina', 'Hay', 'di@two.example'),
    ('north', 'staff', 'Edith', 'Ivy', 'ed@home.example');
SELECT stage('t1', 'teacher', 'Cy', 'Dow', identifier => '1', email => 'cy@school.example'),
    stage('a1', 'administrator', 'Cy', 'Dow', identifier => '1', email => 'CY@home.example'),
    stage('t2', 'teacher', 'Dina', 'Hay', username => 'dh', email => 'di@one.example'),
    stage('a2', 'administrator', 'Dina', 'Hay', username => 'dh', email => 'di@two.example'),
    stage('t3', 'teacher', 'Ed', 'Ivy', username => 'ei', email => 'ed@school.example'),
    stage('a3', 'administrator', 'Ed', 'Ivy', username => 'ei', email => 'ed@home.example');
SELECT FROM run_merge();
SELECT told();
SELECT again();
-- two roles that share a key are one person unless both names differ
SELECT fresh();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'one'),
    stage('a1', 'administrator', 'Bo', 'Ray', username => 'one');
SELECT stage('t2', 'teacher', 'Ana', 'Lee', identifier => '2'),
    stage('a2', 'administrator', 'Ana', 'Ray', identifier => '2');
SELECT stage('t3', 'teacher', 'Ana', 'Lee', identifier => '3', username => 'x'),
    stage('a3', 'administrator', 'Bo', 'Ray', identifier => '3', username => 'y');
SELECT stage('t4', 'teacher', 'Ana', 'Lee', identifier => '4'), stage('u4', 'teacher', 'Ana', 'Lee', identifier => '4'),
    stage('a4', 'administrator', 'Ana', 'Lee', identifier => '4');
SELECT FROM run_merge();
SELECT told();
SELECT again();
-- decided one by one
SELECT roster_decide('north', 't1', 'new person'), roster_decide('north', 'a1', 'new person');
SELECT FROM run_merge();
SELECT told();
SELECT again();

-- linked rows are two people whatever they come to share; a third row that would join them is a conflict that names
-- both, and they go on
SELECT fresh();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'one', identifier => '1'),
    stage('a1', 'administrator', 'Ana', 'Ray', username => 'two', identifier => '2');
SELECT FROM run_merge();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'one', identifier => '2');
SELECT FROM run_merge();
SELECT told();
SELECT stage('i1', 'aide', 'Ana', 'Lee', username => 'one', identifier => '2'),
    stage('a1', 'administrator', 'Ana', 'Ray', identifier => '2', phone => '5');
SELECT FROM run_merge();
SELECT told();
-- of one role, beside a linked row: the linked row goes on
SELECT fresh();
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1');
SELECT FROM run_merge();
SELECT stage('s1', 'student', 'Ana', 'Lee', identifier => '1', grade => '5'),
    stage('s2', 'student', 'Bo', 'Ray', identifier => '1');
SELECT FROM run_merge();
SELECT told();
SELECT roster_decide('north', 's2', 'never the same', 'P1');
SELECT FROM run_merge();
SELECT told();
-- of two rows that contradict each other the address of a readable one is its own beside one that is not
SELECT fresh();
INSERT INTO people (site, role, given_name, family_name, email) VALUES
    ('north', 'student', 'Bo', 'Ray', 'bo@x.example'), ('north', 'student', 'Flo', 'Hay', 'flo@x.example');
SELECT stage('s1', 'student', 'Ana', 'Lee', username => 'one', email => 'bo@x.example'),
    stage('s2', 'student', 'Ana', 'Lee', username => 'one', email => 'bo@x.example', damaged => true),
    stage('s3', 'student', 'Ed', 'Gum', username => 'two', email => 'flo@x.example'),
    stage('s4', 'student', 'Ed', 'Gum', username => 'two', email => 'flo@x.example');
SELECT FROM run_merge();
SELECT told();
-- a row that is decided not to be a person does not become it by way of another row
SELECT fresh();
SELECT stage('a1', 'administrator', 'Ana', 'Lee', username => 'one');
SELECT FROM run_merge();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'one'), stage('i1', 'aide', 'Ana', 'Lee', username => 'one');
SELECT roster_decide('north', 't1', 'never the same', 'P1');
SELECT FROM run_merge();
SELECT told();
-- nor do several rows of one role beside which a row of that person has their user name
SELECT fresh();
SELECT stage('s1', 'student', 'Ana', 'Lee', username => 'one', identifier => '1');
SELECT FROM run_merge();
SELECT stage('s2', 'student', 'Bo', 'Lee', username => 'one'), stage('s3', 'student', 'Bo', 'Lee', username => 'one');
SELECT FROM (SELECT roster_decide('north', s, 'never the same', 'P1') FROM unnest(ARRAY['s2', 's3']) s) d;
SELECT FROM run_merge();
SELECT told();
-- a row that shares a key with rows of several people, and second rows of some of them: one conflict that names all
SELECT fresh();
SELECT stage('s' || n, 'student', 'Ana' || n, 'Lee', identifier => n::text) FROM generate_series(1, 3) n;
SELECT FROM run_merge();
SELECT stage('s' || n, 'student', 'Ana' || n, 'Lee', identifier => n::text, username => 'x')
    FROM generate_series(1, 3) n;
SELECT stage('new', 'student', 'Bo', 'Ray', username => 'x'),
    stage('second', 'student', 'Ana2', 'Lee', identifier => '2');
SELECT FROM run_merge();
SELECT told();
-- the same with other roles
SELECT fresh();
SELECT stage('t' || n, 'teacher', 'Ana' || n, 'Lee', identifier => n::text) FROM generate_series(1, 3) n;
SELECT stage('z2', 'administrator', 'Ana2', 'Lee', identifier => '2');
SELECT FROM run_merge();
SELECT stage('t' || n, 'teacher', 'Ana' || n, 'Lee', username => 'x') FROM generate_series(1, 3) n;
SELECT stage('new', 'aide', 'Ana1', 'Lee', username => 'x'), stage('second', 'aide', 'Ana2', 'Lee', identifier => '2');
SELECT FROM run_merge();
SELECT told();
-- thousands of rows with one number
SELECT fresh();
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => 'none') FROM generate_series(1, 5000) n;
SELECT FROM run_merge();
SELECT action, conflict, count(*), sum(cardinality(sourced_ids)) FROM changes WHERE run = last_run() GROUP BY 1, 2
    ORDER BY 1, 2;
SELECT fresh();
SELECT stage('t' || n, (ARRAY['teacher', 'administrator', 'aide'])[n % 3 + 1], 'Sam' || n, 'Day', identifier => 'none',
    username => CASE WHEN n % 2 = 0 THEN 'u' || n END) FROM generate_series(1, 3000) n;
SELECT FROM run_merge();
SELECT action, conflict, count(*), sum(cardinality(sourced_ids)) FROM changes WHERE run = last_run() GROUP BY 1, 2
    ORDER BY 1, 2;
\set ECHO none
\i :fixture_end
