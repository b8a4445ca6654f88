-- Rank within the staff family: what a row that is not active, off or gone does to role and category.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

-- an inactive row of a higher rank lends none, and does not raise anyone the night after
SELECT toggle(auto_update => true);
SELECT stage('t1', 'teacher', 'Bo', 'Ray', username => 'bray', enabled => false),
    stage('a1', 'administrator', 'Bo', 'Ray', username => 'bray');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT linked();
SELECT again();
SELECT role FROM people;
-- once it is active it does
SELECT stage('t1', 'teacher', 'Bo', 'Ray', username => 'bray');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
-- inactive again, it keeps the rank; so does a row that is not proved absent; proved absent it sinks
SELECT stage('t1', 'teacher', 'Bo', 'Ray', username => 'bray', status => 'inactive'),
    stage('t2', 'teacher', 'Di', 'Fox');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
SELECT again();
SELECT unstage('t1');
INSERT INTO unread VALUES ('teachers');
SELECT again();
DELETE FROM unread;
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();

-- who is gone with the last row belongs to that row's category, not to a better one that went before
SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT stage('a' || n, 'administrator', 'Kim' || n, 'Day') FROM generate_series(2, 5) n;
SELECT toggle(archive => true, category => 'teacher');
SELECT unstage('a1');
SELECT FROM run_merge();
SELECT action, ids FROM shown() WHERE action <> 'create';
SELECT toggle(archive => false);
SELECT toggle(archive => true, category => 'admin');
SELECT FROM run_merge();
SELECT * FROM shown();

-- owners and managers are protected in any case of letters
SELECT clear();
SELECT toggle(auto_update => true, archive => true);
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'OWNER', 'Ana', 'Lee', '1'),
    ('north', 'Manager', 'Cy', 'Dow', '2'), ('north', 'Teacher', 'Edd', 'Kay', '3');
SELECT stage('t1', 'teacher', 'Anna', 'Lee', identifier => '1'),
    stage('t2', 'teacher', 'Cyd', 'Dow', identifier => '2'), stage('t3', 'teacher', 'Eddie', 'Kay', identifier => '3'),
    stage('t4', 'teacher', 'Di', 'Fox');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT unstage('t1');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
-- a new inactive row lends someone who never got a role its rank at once, not only the night after; and whom it gives
-- no other role its category
SELECT clear();
INSERT INTO people (site, role, given_name, family_name, identifier) VALUES ('north', 'teacher', 'Flo', 'Hay', '7');
SELECT toggle(auto_update => true, category => 'teacher'), toggle(auto_update => true, category => 'admin');
SELECT stage('a1', 'administrator', 'Flo', 'Hay', identifier => '7', username => 'flo'),
    stage('i2', 'aide', 'Guy', 'Ivy', username => 'guy'),
    stage('a2', 'administrator', 'Gus', 'Ivy', username => 'guy', grade => '1', enabled => false);
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
SELECT stage('t1', 'teacher', 'Flo', 'Hay', username => 'flo', phone => '5', enabled => false);
SELECT toggle(auto_update => false, category => 'admin');
SELECT FROM run_merge();
SELECT * FROM shown();
SELECT again();
\set ECHO none
\i :fixture_end
