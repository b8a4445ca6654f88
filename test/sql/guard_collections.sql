-- What has to be read before absence means something, and before a connection is proven.
-- Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT FROM roster_configure('north', guard_percent => 100, guard_floor => 100);
SELECT toggle(archive => true);
-- several collections hold one category: one that never had anyone may stay empty
UPDATE sis SET collections = collections
    || '[{"collection": "aides", "family": "staff", "categories": ["staff"], "path": "/users"}]'
    WHERE sis = 'infinite_campus';
SELECT stage('a' || n, 'administrator', 'Kim' || n, 'Day') FROM generate_series(1, 5) n;
INSERT INTO role_rules (sis, roster_role, category, role, rank)
    VALUES ('infinite_campus', 'monitor', 'staff', 'staff', 3);
SELECT stage('c1', 'monitor', 'Lou', 'Day'), stage('t1', 'teacher', 'Di', 'Fox');
SELECT FROM run_merge();
SELECT unstage('a5');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
-- one that had someone may not
UPDATE collections SET rows = 1, distinct_ids = 1 WHERE collection = 'aides' AND run = last_run();
SELECT unstage('a4');
SELECT FROM run_merge();
SELECT action, ids FROM shown();
SELECT linked();

-- no one missing proves a connection; someone not listed does not, though no absence is proved in the family
SELECT clear();
SELECT toggle(roster => false, category => 'teacher');
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day') FROM generate_series(1, 5) n;
SELECT stage('t1', 'teacher', 'Di', 'Fox');
UPDATE connections SET unproven = true, unproven_since = clock() WHERE connection = 'north';
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
UPDATE connections SET unproven = true, unproven_since = clock() WHERE connection = 'north';
SELECT unstage('s1', 's2');
INSERT INTO unread VALUES ('students');
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
SELECT stage('s1', 'student', 'Sam1', 'Day'), stage('s2', 'student', 'Sam2', 'Day');
SELECT FROM run_merge();
SELECT unproven FROM connections WHERE connection = 'north';
UPDATE sis SET collections = collections - (jsonb_array_length(collections) - 1) WHERE sis = 'infinite_campus';
DELETE FROM role_rules WHERE roster_role = 'monitor';
\set ECHO none
\i :fixture_end
