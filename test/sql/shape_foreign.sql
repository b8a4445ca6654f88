-- A deployment with people in another database: a view of a foreign table of postgres_fdw, which here leads back to
-- this server. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
CREATE EXTENSION postgres_fdw;
SELECT format('CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname %L, port %L, host %L)',
    current_database(), current_setting('port'),
    split_part(current_setting('unix_socket_directories'), ',', 1)) \gexec
-- The owner of the view is no superuser, and would need a password.
SELECT format('CREATE USER MAPPING FOR regress_people_owner SERVER elsewhere '
    'OPTIONS (user %L, password_required ''false'')', current_user) \gexec
\set ECHO all

CREATE SCHEMA elsewhere;
CREATE TABLE elsewhere.pupils (id bigint PRIMARY KEY, campus text NOT NULL, role text NOT NULL, first text NOT NULL,
    last text NOT NULL, mail text, number text, class text CONSTRAINT known_class CHECK (class <> '13'),
    gone timestamptz);
CREATE UNIQUE INDEX ON elsewhere.pupils (campus, lower(mail));
CREATE FOREIGN TABLE pupils (site text OPTIONS (column_name 'campus'), person_id bigint OPTIONS (column_name 'id'),
    role text, given_name text OPTIONS (column_name 'first'), family_name text OPTIONS (column_name 'last'),
    email text OPTIONS (column_name 'mail'), identifier text OPTIONS (column_name 'number'),
    grade text OPTIONS (column_name 'class'), archived_at timestamptz OPTIONS (column_name 'gone'))
SERVER elsewhere OPTIONS (schema_name 'elsewhere', table_name 'pupils');
ALTER FOREIGN TABLE pupils OWNER TO regress_people_owner;
SELECT refused('SELECT roster_attach_people(''pupils'')');
CREATE VIEW people_elsewhere AS SELECT * FROM pupils;
CREATE SEQUENCE pupil_id START 1000;
ALTER VIEW people_elsewhere ALTER person_id SET DEFAULT nextval('school.pupil_id');
ALTER VIEW people_elsewhere OWNER TO regress_people_owner;
SELECT roster_attach_people('people_elsewhere');
SELECT use_people('people_elsewhere');
INSERT INTO elsewhere.pupils (id, campus, role, first, last, number)
SELECT n, 'north', 'student', 'Sam' || n, 'Day', n::text FROM generate_series(1, 30) n;
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 30) n;
CREATE FUNCTION people_now() RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(p::text, E'\n' ORDER BY id) FROM elsewhere.pupils p WHERE first !~ '^New' $$;

-- the first sync links, and writes no one
SELECT versions('elsewhere.pupils') AS written \gset
SELECT FROM run_merge();
SELECT did();
SELECT FROM run_merge();
SELECT did();
SELECT versions('elsewhere.pupils') = :'written';
SELECT keeps_ids('people_elsewhere');
-- a night with everything; what the other database rejects is a reject
SELECT toggle(auto_update => true, archive => true);
SELECT people_now() AS before \gset
SELECT unstage('s1'), stage('s2', 'student', 'Sam2', 'Night', identifier => '2', grade => '9'),
    stage('s3', 'student', 'Sam3', 'Day', identifier => '3', grade => '13'),
    stage('s4', 'student', 'Sam4', 'Day', identifier => '4', email => 'one@north.example'),
    stage('s5', 'student', 'Sam5', 'Day', identifier => '5', email => 'ONE@north.example'),
    stage('n1', 'student', 'New1', 'Day', identifier => '31'),
    stage('n2', 'student', 'New2', 'Day', identifier => '32', grade => '13');
SELECT FROM run_merge('preview');
SELECT did();
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT did();
SELECT * FROM moved();
SELECT sourced_ids, reason FROM changes WHERE run = :night AND action = 'reject' ORDER BY 1;
SELECT id, last, class, gone IS NOT NULL FROM elsewhere.pupils WHERE id IN (1, 2, 3) OR id >= 1000 ORDER BY 1;
SELECT roster_report(:night) !~ 'New2|Sam3';
SELECT versions('elsewhere.pupils') AS written \gset
SELECT FROM run_merge();
SELECT did();
SELECT versions('elsewhere.pupils') = :'written';
-- taken back
SELECT FROM run_merge('undo', :night);
SELECT did();
SELECT people_now() = :'before';
SELECT FROM run_merge();
SELECT did();

-- a partition that is a foreign table may do what it likes with new people
CREATE TABLE mixed (LIKE people INCLUDING DEFAULTS) PARTITION BY LIST (site);
CREATE TABLE mixed_here PARTITION OF mixed DEFAULT;
SELECT keeps_ids('mixed');
CREATE FOREIGN TABLE mixed_elsewhere PARTITION OF mixed FOR VALUES IN ('north') SERVER elsewhere;
SELECT keeps_ids('mixed');

-- the other server does not answer: the run fails, and tells it
DELETE FROM staged_users WHERE connection = 'north' AND sourced_id > 's3';
ALTER SERVER elsewhere OPTIONS (SET host '/nowhere');
SELECT refused('SELECT run_merge()');
SELECT people_now() ~ 'Sam9';
\set ECHO none
DROP SERVER elsewhere CASCADE;
DROP EXTENSION postgres_fdw;
DROP SCHEMA elsewhere CASCADE;
\i :fixture_end
