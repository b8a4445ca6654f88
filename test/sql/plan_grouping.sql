-- Rows of different staff roles that share a user name or an identifier are one person; so are rows linked to one.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- by user name; the highest rank and its values, gaps filled
SELECT stage('a1', 'administrator', 'Ann', 'Lee', username => 'alee', phone => '1', email => 'old@x.example');
SELECT stage('t1', 'teacher', 'Anna', 'Lee', username => 'ALEE', email => 'new@x.example');
-- by identifier
SELECT stage('a2', 'administrator', 'Bo', 'Ray', identifier => '2'),
    stage('t2', 'teacher', 'Bo', 'Ray', identifier => '2');
-- transitively
SELECT stage('a3', 'administrator', 'Cy', 'Dow', username => 'cdow', identifier => '3'),
    stage('t3', 'teacher', 'Cy', 'Dow', username => 'cdow'),
    stage('i3', 'aide', 'Cy', 'Dow', identifier => '3');
-- contradiction in the other key: two people
SELECT stage('a4', 'administrator', 'Di', 'Fox', username => 'dfox', identifier => '4'),
    stage('t4', 'teacher', 'Dora', 'Fox', username => 'dfox', identifier => '44');
-- e-mail alone never groups
SELECT stage('a5', 'administrator', 'Ed', 'Gum', email => 'office@x.example'),
    stage('t5', 'teacher', 'Eva', 'Hay', email => 'office@x.example');
-- students never group with staff; two of them with one user name are a conflict
SELECT stage('s6', 'student', 'Flo', 'Ivy', identifier => '6', username => 'six'),
    stage('t6', 'teacher', 'Flo', 'Ivy', identifier => '6', username => 'six'),
    stage('s7', 'student', 'Flo', 'Ivy', username => 'six');
-- a guardian's account is none
SELECT stage('g8', 'guardian', 'Guy', 'Jay', username => 'gjay'),
    stage('t8', 'teacher', 'Guy', 'Jay', username => 'gjay');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
SELECT again();
SELECT outcomes();

-- two rows of one role with one user name are a conflict, with others or alone
SELECT clear();
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'x'), stage('t2', 'teacher', 'Bo', 'Ray', username => 'x'),
    stage('a1', 'administrator', 'Ana', 'Lee', username => 'x');
SELECT stage('t3', 'teacher', 'Cy', 'Dow', username => 'y'), stage('t4', 'teacher', 'Di', 'Fox', username => 'y');
-- transitive and contradicting
SELECT stage('a5', 'administrator', 'Ed', 'Gum', username => 'ed'),
    stage('t5', 'teacher', 'Ed', 'Gum', username => 'ed', identifier => '5'),
    stage('i5', 'aide', 'Ed', 'Gum', username => 'ed', identifier => '6');
SELECT stage('a6', 'administrator', 'Flo', 'Hay', identifier => '7'),
    stage('t6', 'teacher', 'Flo', 'Hay', username => 'flo', identifier => '7'),
    stage('i6', 'aide', 'Flo', 'Hay', username => 'hay', identifier => '7');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();

-- linked to one person: one group whatever the keys say now; a third row that contradicts is a conflict, and they go on
SELECT clear();
SELECT stage('a1', 'administrator', 'Ana', 'Lee', username => 'alee'),
    stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee');
SELECT FROM run_merge();
SELECT stage('a1', 'administrator', 'Ana', 'Lee', username => 'other', identifier => '7');
SELECT toggle(auto_update => true);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT stage('i1', 'aide', 'Ana', 'Lee', username => 'other');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT unstage('i1');
-- a further row joins its person
SELECT stage('a1', 'administrator', 'Ana', 'Lee', username => 'alee'),
    stage('i1', 'aide', 'Ana', 'Lee', username => 'alee');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
-- an active row comes before an inactive one of a higher rank
SELECT clear();
SELECT stage('t1', 'teacher', 'Old', 'Lee', username => 'alee', enabled => false),
    stage('a1', 'administrator', 'New', 'Lee', username => 'alee');
SELECT FROM run_merge();
SELECT * FROM shown();
-- rows of a category that is not rostered lend neither rank nor values, and are not linked
SELECT clear();
SELECT toggle(roster => false, category => 'teacher');
SELECT stage('t1', 'teacher', 'Tea', 'Lee', username => 'alee', phone => '1'),
    stage('a1', 'administrator', 'Adm', 'Lee', username => 'alee');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
SELECT linked();
-- linked to two people: they are two, whatever they share
SELECT clear();
INSERT INTO people (site, role, given_name, family_name) VALUES ('north', 'teacher', 'Ana', 'Lee'),
    ('north', 'staff', 'Ana', 'Lee');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run)
    VALUES ('north', 't1', 'north', 'P1', 'teacher', 'new', 1), ('north', 'a1', 'north', 'P2', 'admin', 'new', 1);
SELECT stage('t1', 'teacher', 'Ana', 'Lee', username => 'alee'),
    stage('a1', 'administrator', 'Ana', 'Lee', username => 'ALEE');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT outcomes();
-- a long chain of rows, each sharing a key with the next
SELECT clear();
SELECT stage('t' || lpad(n::text, 3, '0'), CASE n % 2 WHEN 0 THEN 'teacher' ELSE 'administrator' END, 'Ana', 'Lee',
    username => CASE WHEN n % 4 <> 1 THEN 'u' || (n + 2) / 4 END, identifier => CASE WHEN n % 4 <> 3 THEN 'i' || n / 4
    END) FROM generate_series(0, 40) n;
SELECT FROM run_merge();
SELECT action, count(*), max(cardinality(sourced_ids)), min(reason) FROM changes WHERE run = last_run() GROUP BY action
    ORDER BY action;
\set ECHO none
\i :fixture_end
