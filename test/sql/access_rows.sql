-- Which rows each level sees: of every table and view, of other sites, and of the former tenant of a name that was
-- retired and taken again.
-- Planted: rows of each table for each tenant, as runs would write them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/refusal.sql'
\set ECHO none
\i :fixture
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\set fixture :abs_srcdir '/fixtures/tenants.sql'
\i :fixture
\set ECHO all
-- The name rows-n was that of site rows-gone.
SELECT connect('rows-n', 'rows-gone', 'mesa');
SELECT plant('gone', 'rows-n', 920000002);
SELECT roster_disconnect('rows-n');
SELECT connect('rows-n', 'rows-north', 'mesa'), connect('rows-s', 'rows-south', 'mesa'),
    connect('rows-w', 'rows-west', 'far');
SELECT plant('north', 'rows-n', 920000004), plant('south', 'rows-s', 920000006), plant('west', 'rows-w', 920000008);
INSERT INTO tenants SELECT tenant, connection, run, connection FROM tenants WHERE tenant <> 'gone';
SELECT DISTINCT site FROM minga_roster.audit WHERE site LIKE 'rows-%' ORDER BY 1;

CREATE TABLE roles (place serial, label text, role name);
INSERT INTO roles (label, role) SELECT l, 'regress_rows_' || l FROM unnest(ARRAY['nobody', 'reader', 'readers', 'owner',
    'west', 'gone', 'manager', 'member', 'guest']) l;
SELECT format('CREATE ROLE %I %s', role, CASE label WHEN 'guest' THEN 'NOINHERIT' END) FROM roles ORDER BY place \gexec
SELECT roster_grant('regress_rows_reader', 'reader', site => 'rows-north'),
    roster_grant('regress_rows_readers', 'reader', district => 'mesa'),
    roster_grant('regress_rows_owner', 'owner', site => 'rows-north'),
    roster_grant('regress_rows_west', 'owner', site => 'rows-west'),
    roster_grant('regress_rows_gone', 'owner', site => 'rows-gone'),
    roster_grant('regress_rows_manager', 'district_manager', district => 'mesa');
GRANT USAGE ON SCHEMA minga_roster TO regress_rows_nobody, regress_rows_guest;
-- A member of a role has its level; one that does not inherit has it after SET ROLE.
GRANT regress_rows_owner TO regress_rows_member, regress_rows_guest;
SELECT format('CREATE ROLE regress_rows_dba IN ROLE %I', pg_get_userbyid(relowner)) FROM pg_class
    WHERE oid = 'role_levels'::regclass \gexec
INSERT INTO roles (label, role) VALUES ('dba', 'regress_rows_dba');
GRANT USAGE ON SCHEMA rows TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA rows TO PUBLIC;

-- What a query of one text returns for a role.
CREATE FUNCTION asked(role name, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    PERFORM set_config('role', asked.role, true);
    EXECUTE query INTO found;
    PERFORM set_config('role', 'none', true);
    RETURN coalesce(found, '-');
EXCEPTION WHEN insufficient_privilege THEN
    RETURN 'refused';
END
$$;
CREATE TABLE relations AS
    SELECT relation, coalesce(keyed_by, CASE relation WHEN 'forgotten_people' THEN 'site' ELSE 'connection' END) AS key
    FROM minga_roster_internal.table_levels
    WHERE level <> 'everyone' AND relation NOT IN ('people_relations', 'people_releases', 'role_levels', 'key_pairs',
        'district_recipients', 'district_digests')
    UNION ALL
    SELECT viewname, 'site' FROM pg_views WHERE schemaname = 'minga_roster' AND viewname <> 'roster_access';
GRANT SELECT ON relations TO PUBLIC;
-- The tenants whose rows each role sees, by their first letters.
CREATE TABLE seen AS
SELECT relation, label, asked(role, format('SELECT string_agg(DISTINCT left(t.tenant, 1), '''' ORDER BY '
    'left(t.tenant, 1)) FROM minga_roster.%I x JOIN rows.tenants t ON t.key = x.%I::text', relation, key)) AS tenants
FROM relations, roles;
SELECT 'relation', string_agg(label, ' ' ORDER BY place) FROM roles;
SELECT relation, string_agg(tenants, ' ' ORDER BY place) FROM seen JOIN roles USING (label)
GROUP BY relation ORDER BY relation COLLATE "C";
SET ROLE regress_rows_guest;
SELECT count(*) FROM minga_roster.connections;
SET ROLE regress_rows_owner;
SELECT connection, site FROM minga_roster.connections;
RESET ROLE;
-- No table is missing above.
SELECT c.relname FROM pg_class c
WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    AND c.relname NOT IN (SELECT t.relation FROM minga_roster_internal.table_levels t);
SELECT p.tablename, p.policyname, p.permissive, p.roles, p.cmd FROM pg_policies p
WHERE p.schemaname LIKE 'minga_roster%' AND (p.policyname, p.permissive, p.roles, p.cmd)
    <> ('levels', 'PERMISSIVE', '{public}', 'SELECT');

-- What has no policy is about no site. Partitions of the stage are read through it or not at all, and nothing is
-- written.
SELECT format('%I.%I', c.relnamespace::regnamespace, c.relname) AS partition FROM pg_class c
WHERE c.relname = format('staged_users_%s', (SELECT number FROM connections WHERE connection = 'rows-n')) \gset
SET ROLE regress_rows_owner;
SELECT count(*) > 0 AS all_see FROM minga_roster.sis JOIN minga_roster.role_rules USING (sis);
SELECT regexp_replace(pg_temp.refusal('TABLE ' || :'partition'), '_\d+|_internal', '', 'g');
SELECT pg_temp.refusal('DELETE FROM minga_roster.runs'),
    pg_temp.refusal('UPDATE minga_roster.toggles SET roster = true'),
    pg_temp.refusal('TRUNCATE minga_roster.staged_users'), pg_temp.refusal('TABLE minga_roster.secrets');
SELECT pg_temp.refusal('SET row_security = off; TABLE minga_roster.runs');
RESET ROLE;

-- A function that tells what it is given is asked after the policy.
CREATE FUNCTION leak(value text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
    RAISE WARNING 'sees %', value;
    RETURN true;
END
$$;
CREATE OPERATOR ~~~> (FUNCTION = leak, RIGHTARG = text);
SET ROLE regress_rows_reader;
SELECT count(*) FROM minga_roster.runs WHERE leak(site);
SELECT count(*) FROM minga_roster.run_counts WHERE leak(run::text);
SELECT count(*) FROM minga_roster.changes WHERE leak(after::text);
SELECT DISTINCT site FROM minga_roster.roster_changes_by_day WHERE leak(site) AND ~~~> connection;
SELECT count(*) FROM minga_roster.roster_access WHERE leak(role);
SELECT count(*) FROM minga_roster.people_relations WHERE leak(relation::text);
SET ROLE regress_rows_west;
SELECT count(*) FROM minga_roster.links WHERE ~~~> site;
SELECT count(*) FROM minga_roster.staged_users WHERE leak(connection) AND sourced_id = 'sid-1';
SELECT count(*) FROM minga_roster.roster_conflicts WHERE leak(site);
SELECT count(*) FROM minga_roster.roster_access WHERE leak(role);
-- One's own view on top changes nothing, nor does another role's.
RESET ROLE;
GRANT CREATE ON SCHEMA rows TO regress_rows_owner;
SET ROLE regress_rows_owner;
CREATE VIEW rows.of_owner AS SELECT site FROM minga_roster.runs;
CREATE VIEW rows.of_invoker WITH (security_invoker = true) AS SELECT site FROM minga_roster.runs;
GRANT SELECT ON rows.of_owner, rows.of_invoker TO regress_rows_west;
SET ROLE regress_rows_west;
SELECT DISTINCT site FROM rows.of_owner;
SELECT DISTINCT site FROM rows.of_invoker;
RESET ROLE;
-- A plan that was made for one role is not kept for another.
PREPARE sites AS SELECT DISTINCT site FROM minga_roster.runs ORDER BY 1;
SET plan_cache_mode = force_generic_plan;
SET ROLE regress_rows_owner;
EXECUTE sites;
SET ROLE regress_rows_west;
EXECUTE sites;
SET ROLE regress_rows_manager;
EXECUTE sites;
RESET ROLE;
RESET plan_cache_mode;

-- Relations and releases: for their owner, and where they are used or released.
SELECT roster_release_people('people', 'mesa', ARRAY['rows-north']);
SELECT label,
    asked(role, 'SELECT count(*) FROM minga_roster.people_relations WHERE relation = ''rows.people''::regclass'),
    asked(role, 'SELECT count(*) FROM minga_roster.people_releases WHERE relation = ''rows.people''::regclass')
FROM roles ORDER BY place;
GRANT USAGE ON SCHEMA minga_roster TO regress_people_owner;
SET ROLE regress_people_owner;
SELECT relation FROM minga_roster.people_relations WHERE relation = 'rows.people'::regclass;
SELECT relation, district, site FROM minga_roster.people_releases WHERE relation = 'rows.people'::regclass;
RESET ROLE;
REVOKE USAGE ON SCHEMA minga_roster FROM regress_people_owner;

-- Who gets the digest of a district: for its managers.
INSERT INTO district_recipients (district, email) VALUES ('mesa', 'it@mesa.example');
SELECT label, asked(role, 'SELECT count(*) FROM minga_roster.district_recipients') FROM roles ORDER BY place;
DELETE FROM district_recipients;

-- A reader gets reports with numbers and no person: neither in them nor in any table or view.
CREATE FUNCTION personal(content text) RETURNS boolean LANGUAGE sql
RETURN content ~ 'Zelda|sid-|pid-|id-1|[[:alnum:]]@[[:alnum:]]';
CREATE FUNCTION personal_in(relation name) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM minga_roster.%I x WHERE rows.personal(x::text)', relation) INTO found;
    RETURN found;
END
$$;
SET ROLE regress_rows_reader;
SELECT rows.personal(minga_roster.roster_report(920000004)), rows.personal(minga_roster.roster_report('rows-n')),
    rows.personal(minga_roster.roster_report_html(920000004)), rows.personal(minga_roster.roster_diagnosis(920000003));
SELECT relation, rows.personal_in(relation) FROM rows.relations
    WHERE relation NOT IN ('secrets', 'tokens', 'forgotten_people', 'object_marks') AND rows.personal_in(relation) > 0;
SELECT connection, site, district, mail_error FROM minga_roster.roster_status;
SET ROLE regress_rows_owner;
SELECT connection, site, district, mail_error FROM minga_roster.roster_status;
SELECT count(*) FROM rows.relations WHERE relation NOT IN ('secrets', 'tokens', 'forgotten_people', 'object_marks')
    AND rows.personal_in(relation) > 0;
RESET ROLE;
-- The former tenant's report says nothing of the present one, nor the other way round.
UPDATE connections SET school_name = 'North High' WHERE connection = 'rows-n';
SET ROLE regress_rows_gone;
SELECT minga_roster.roster_report(920000002) ~ 'North High|rows-north' AS tells;
SELECT minga_roster.roster_diagnosis(920000001) ~ 'sis.example' AS tells;
SELECT pg_temp.refusal('SELECT minga_roster.roster_report(''rows-n'')');
RESET ROLE;
DELETE FROM runs WHERE run IN (920000003, 920000004);
SET ROLE regress_rows_owner;
SELECT pg_temp.refusal('SELECT minga_roster.roster_report(''rows-n'')');
RESET ROLE;

-- Who has which level: owners see those at their site and in its district, managers those of the district.
SELECT label, asked(role, 'SELECT string_agg(replace(role, ''regress_rows_'', ''''), '' '' ORDER BY role) '
    'FROM minga_roster.roster_access WHERE role LIKE ''regress_rows_%''')
FROM roles ORDER BY place;
-- roster_grant granted it, as that role.
SET ROLE minga_roster_dba;
REVOKE USAGE ON SCHEMA minga_roster FROM regress_rows_reader;
RESET ROLE;
DROP OWNED BY regress_rows_reader;
DROP ROLE regress_rows_reader;
SELECT role, level, site, district, role_exists, granted_by FROM roster_access WHERE role LIKE 'regress_rows_%'
    ORDER BY role;
SELECT roster_revoke('regress_rows_reader', 'reader', site => 'rows-north');

-- A publication of all tables publishes updates of each.
SELECT c.oid::regclass FROM pg_class c
WHERE c.relnamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) AND c.relkind = 'r'
    AND c.relpersistence = 'p' AND c.relreplident <> 'f' AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary);

SELECT roster_disconnect(c) FROM unnest(ARRAY['rows-n', 'rows-s', 'rows-w']) c;
DELETE FROM connections WHERE connection LIKE 'rows-%';
DELETE FROM runs WHERE connection LIKE 'rows-%';
DELETE FROM outbox WHERE connection LIKE 'rows-%';
DELETE FROM forgotten_people WHERE site LIKE 'rows-%';
SELECT count(roster_revoke(role, level, site, district)::text) FROM role_levels WHERE role LIKE 'regress_rows_%';
DELETE FROM people_relations WHERE relation = 'rows.people'::regclass;
SELECT string_agg(role, ', ' ORDER BY place) AS roles FROM roles WHERE label <> 'reader' \gset
DROP SCHEMA rows CASCADE;
DROP OWNED BY :roles;
DROP ROLE :roles;
