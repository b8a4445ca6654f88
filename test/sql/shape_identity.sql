-- A deployment with 200,000 people in it before the first sync: bigint GENERATED ALWAYS AS IDENTITY, columns and roles
-- by other names, the roles an enum, e-mail unique without regard to case, tables that refer to people. All of them are
-- linked, none is doubled or rewritten. Planted: states that only a SIS, an earlier night or time would make.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
\set ECHO all

CREATE TYPE account_role AS ENUM ('STUDENT', 'TEACHER', 'EMPLOYEE', 'OWNER');
CREATE TABLE tenants (slug text PRIMARY KEY);
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text NOT NULL REFERENCES tenants,
    role account_role NOT NULL DEFAULT 'STUDENT',
    first_name text NOT NULL, last_name text NOT NULL, mail text, number varchar(20), class text DEFAULT 'none',
    locale text NOT NULL DEFAULT 'en',
    deleted_at timestamptz, changed_at timestamptz NOT NULL DEFAULT now());
CREATE UNIQUE INDEX users_mail ON users (lower(mail));
CREATE TABLE passes (pass bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint NOT NULL REFERENCES users
    ON DELETE RESTRICT, taken_at timestamptz NOT NULL);
INSERT INTO tenants VALUES ('north'), ('south');
INSERT INTO users (tenant, role, first_name, last_name, mail, number)
SELECT CASE WHEN n <= 200000 THEN 'north' ELSE 'south' END, CASE WHEN n % 20 = 0 THEN 'TEACHER' ELSE 'STUDENT'
    END::account_role, 'First' || n, 'Last' || n,
    'User' || n || '@North.Example', CASE WHEN n % 20 = 0 THEN NULL ELSE n::text END
FROM generate_series(1, 200300) n;
-- Of the south, with numbers that the north has too; and two whom the SIS does not know.
UPDATE users SET number = (id - 200000)::text WHERE tenant = 'south';
INSERT INTO users (tenant, role, first_name, last_name) VALUES ('north', 'OWNER', 'Olga', 'Owner'),
    ('north', 'EMPLOYEE', 'Guy', 'Guest');
INSERT INTO passes (user_id, taken_at) SELECT id, '2026-01-05' FROM users WHERE id % 100 = 1;
VACUUM ANALYZE users;
ALTER TABLE users OWNER TO regress_people_owner;
SELECT roster_attach_people('users',
    '{"site": "tenant", "person_id": "id", "given_name": "first_name", "family_name": "last_name", "email": "mail",
    "identifier": "number",
    "grade": "class", "archived_at": "deleted_at", "updated_at": "changed_at"}',
    '{"student": "STUDENT", "teacher": "TEACHER", "staff": "EMPLOYEE", "owner": "OWNER"}');
SELECT use_people('users');
-- The SIS knows staff by address alone, and has three whom the school has not.
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name,
    identifier, email, outcome)
SELECT 'north', 'u' || n, CASE WHEN n % 20 = 0 THEN 'teachers' ELSE 'students' END, CASE WHEN n % 20 = 0 THEN 'teacher'
    ELSE 'student' END, true, false,
    'First' || n, 'Last' || n, CASE WHEN n % 20 = 0 THEN NULL ELSE n::text END, CASE WHEN n % 2000 = 0
    THEN lower('User' || n || '@North.Example') ELSE 'User' || n || '@North.Example' END, 'unchanged'
FROM generate_series(1, 200000) n;
SELECT stage('j1', 'student', 'Jo', 'Iner', identifier => '300001', grade => '9'),
    stage('j2', 'teacher', 'Joy', 'Iner', email => 'joy@north.example'),
    stage('j3', 'administrator', 'Jon', 'Iner');
CREATE FUNCTION written() RETURNS TABLE (inserted bigint, updated bigint, deleted bigint) LANGUAGE sql AS $$
    SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_all_tables WHERE relid = 'school.users'::regclass $$;
CREATE FUNCTION people_now() RETURNS text LANGUAGE sql AS $$
    SELECT md5(string_agg(ROW(id, tenant, role, first_name, last_name, mail, number, class, locale, deleted_at)::text,
        ' ' ORDER BY id)) FROM users WHERE first_name <> 'Jim' $$;
SELECT pg_stat_force_next_flush();
SELECT updated FROM written() \gset

-- the first sync
SELECT FROM run_merge();
SELECT did();
SELECT action, rule, state, count(*) FROM changes WHERE run = last_run() GROUP BY 1, 2, 3 ORDER BY 4 DESC;
SELECT count(*), count(DISTINCT person_id), count(*) FILTER (WHERE sourced_id = 'u' || person_id) FROM links
    WHERE connection = 'north';
SELECT pg_stat_force_next_flush();
SELECT inserted, updated - :updated AS updated, deleted FROM written();
SELECT role, first_name, class, locale, changed_at > '2026-01-01' FROM users WHERE last_name = 'Iner'
    ORDER BY first_name;
SELECT again('users');

-- a night with everything
SELECT toggle(auto_update => true, archive => true);
SELECT people_now() AS before \gset
SELECT unstage('u1', 'u101', 'u20');
SELECT stage('u2', 'student', 'First2', 'Last2', identifier => '2', grade => '10', email => 'User2@North.Example'),
    stage('u40', 'administrator', 'First40', 'Last40', email => 'User40@North.Example'),
    stage('u3', 'student', 'First3', 'Last3', identifier => '3', email => 'USER200001@north.example'),
    stage('j4', 'student', 'Jim', 'Iner', identifier => '300004');
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT did();
SELECT * FROM moved() WHERE moved NOT LIKE 'update u%000 %';
SELECT count(*) FROM moved() WHERE moved LIKE 'update u%000 %';
SELECT state_reason = format('Person "%s" has the value.',
    (SELECT id FROM users WHERE mail = 'User200001@North.Example')) FROM changes
    WHERE run = :night AND action = 'conflict';
SELECT id, role, class, deleted_at IS NOT NULL FROM users WHERE id IN (1, 2, 3, 20, 40, 101) OR first_name = 'Jim'
    ORDER BY id;
SELECT count(*) FROM passes JOIN users ON id = user_id WHERE deleted_at IS NOT NULL;
SELECT again('users');

-- taken back, and done again; then one comes back
SELECT FROM run_merge('undo', :night);
SELECT did();
SELECT deleted_at IS NOT NULL FROM users WHERE first_name = 'Jim';
SELECT people_now() = :'before';
SELECT count(*) FROM users WHERE tenant = 'south'
    AND (deleted_at IS NOT NULL OR mail <> 'User' || id || '@North.Example');
SELECT FROM run_merge();
SELECT stage('u1', 'student', 'First1', 'Last1', identifier => '1', email => 'User1@North.Example');
SELECT FROM run_merge();
SELECT did();
SELECT * FROM moved();
SELECT count(*), count(*) FILTER (WHERE deleted_at IS NOT NULL) FROM users;
\set ECHO none
\i :fixture_end
