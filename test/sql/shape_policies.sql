-- A deployment with text keys and row-level security: what an owner cannot see is an error, never an omission.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set deployment :abs_srcdir '/fixtures/deployment.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\i :deployment
\set ECHO all

CREATE ROLE school_app;
CREATE SEQUENCE members_key;
CREATE TABLE members (tenant text NOT NULL, key text PRIMARY KEY DEFAULT 'M-'
    || to_char(nextval('school.members_key'), 'FM000000'), role text NOT NULL, first_name text NOT NULL,
    last_name text NOT NULL, email text, archived_at timestamptz);
INSERT INTO members (tenant, role, first_name, last_name, email)
SELECT t, 'student', 'Sam' || n, 'Day', 'sam' || n || '@' || t || '.example' FROM unnest(ARRAY['north', 'south']) t,
    generate_series(1, 30) n;
GRANT USAGE ON SCHEMA school TO school_app;
GRANT USAGE ON SEQUENCE members_key TO school_app;
ALTER TABLE members OWNER TO school_app;
SELECT roster_attach_people('members',
    '{"site": "tenant", "person_id": "key", "given_name": "first_name", "family_name": "last_name"}');
SELECT use_people('members');
ALTER TABLE members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON members USING (tenant = current_setting('app.tenant', true));
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', email => 'sam' || n || '@north.example')
    FROM generate_series(1, 30) n;
SELECT stage('n1', 'student', 'New', 'Day');

-- forced upon its owner, also where the policy would show all
SELECT refused('SELECT run_merge()');
CREATE POLICY all_of_them ON members USING (true);
SELECT refused('SELECT run_merge()');
DROP POLICY all_of_them ON members;
SELECT count(*), (SELECT count(*) FROM links WHERE connection = 'north') FROM members;
-- an owner who bypasses them
ALTER ROLE school_app BYPASSRLS;
SELECT FROM run_merge('preview');
SELECT did();
ALTER ROLE school_app NOBYPASSRLS;
-- not forced upon the owner
ALTER TABLE members NO FORCE ROW LEVEL SECURITY;
SELECT FROM run_merge();
SELECT did();
SELECT again('members');
SELECT toggle(auto_update => true, archive => true);
SELECT unstage('s1'), stage('s2', 'student', 'Sammy', 'Day', email => 'sam2@north.example'),
    stage('n2', 'student', 'Ned', 'Day');
SELECT (SELECT string_agg(m::text, ' ' ORDER BY key) FROM members m) AS before \gset
SELECT FROM run_merge();
SELECT last_run() AS night \gset
SELECT did();
SELECT * FROM moved();
SELECT key, first_name, archived_at IS NOT NULL FROM members WHERE tenant = 'north'
    AND (first_name !~ '^Sam' OR first_name IN ('Sam1', 'Sammy')) ORDER BY key;
SELECT again('members');
SELECT FROM run_merge('undo', :night);
SELECT did();
DELETE FROM members WHERE first_name = 'Ned';
SELECT (SELECT string_agg(m::text, ' ' ORDER BY key) FROM members m) = :'before';
SELECT FROM run_merge();
SELECT stage('s1', 'student', 'Sam1', 'Day', email => 'sam1@north.example');
SELECT FROM run_merge();
SELECT * FROM moved();
SELECT count(*) FILTER (WHERE archived_at IS NULL) FROM members WHERE tenant = 'south';
-- others are under the policy as before
GRANT SELECT ON members TO PUBLIC;
CREATE ROLE school_reader;
GRANT USAGE ON SCHEMA school TO school_reader;
SET ROLE school_reader;
SET app.tenant = 'south';
SELECT count(*), min(tenant) FROM school.members;
RESET ROLE;
DELETE FROM links WHERE connection = 'north';
DELETE FROM runs WHERE connection = 'north';
SELECT use_people('people');
DELETE FROM people_relations WHERE relation = 'members'::regclass;
DROP TABLE members;
DROP OWNED BY school_app, school_reader;
DROP ROLE school_app, school_reader;
\set ECHO none
\i :fixture_end
