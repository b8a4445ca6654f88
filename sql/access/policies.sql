-- Who sees which rows. Each table is named once, with the least level that reads it and the column that says whose a
-- row is. PUBLIC may read the tables: without USAGE on the schema, which roster_grant gives, no role comes that far,
-- and row by row the policies ask for the level. No level writes to a table.

CREATE TABLE minga_roster_internal.table_levels (
    relation name NOT NULL PRIMARY KEY,
    level text NOT NULL CHECK (level IN ('everyone', 'reader', 'owner', 'district_manager', 'dba')),
    keyed_by name CHECK (keyed_by IN ('site', 'connection', 'run', 'relation', 'district')),
    CHECK ((keyed_by IS NULL) = (level IN ('everyone', 'dba')))
);
COMMENT ON TABLE minga_roster_internal.table_levels IS
'For each table of schema minga_roster the least level that may read its rows. everyone: rows of no site. dba: no one '
'else has SELECT.';
COMMENT ON COLUMN minga_roster_internal.table_levels.keyed_by IS
'The column that says whose the row is. Rows of a run are those of the run''s site, since the name of a connection may '
'be another site''s today.';

INSERT INTO minga_roster_internal.table_levels (relation, level, keyed_by) VALUES
    ('academic_sessions', 'owner', 'site'),
    ('academic_sessions_versions', 'owner', 'site'),
    ('audit', 'owner', 'site'),
    ('changes', 'owner', 'site'),
    ('classes', 'owner', 'site'),
    ('classes_versions', 'owner', 'site'),
    ('collections', 'reader', 'run'),
    ('column_owners', 'owner', 'connection'),
    ('column_paths', 'owner', 'connection'),
    ('conflict_candidates', 'owner', 'run'),
    ('conflict_pairs', 'owner', 'run'),
    ('connections', 'owner', 'site'),
    ('district_digests', 'dba', NULL),
    ('district_recipients', 'district_manager', 'district'),
    ('contact_rows', 'owner', 'site'),
    ('contact_rows_versions', 'owner', 'site'),
    ('courses', 'owner', 'site'),
    ('courses_versions', 'owner', 'site'),
    ('enrollment_rows', 'owner', 'site'),
    ('enrollment_rows_versions', 'owner', 'site'),
    ('findings', 'reader', 'run'),
    ('link_changes', 'owner', 'run'),
    ('forgotten_people', 'dba', NULL),
    ('held_objects', 'owner', 'run'),
    ('key_pairs', 'dba', NULL),
    ('links', 'owner', 'site'),
    ('match_decisions', 'owner', 'connection'),
    ('object_marks', 'dba', NULL),
    ('outbox', 'owner', 'site'),
    ('people_relations', 'owner', 'relation'),
    ('people_releases', 'owner', 'district'),
    ('planned_links', 'owner', 'run'),
    ('recipients', 'owner', 'connection'),
    ('role_levels', 'owner', 'district'),
    ('role_rules', 'everyone', NULL),
    ('run_counts', 'reader', 'run'),
    ('run_figures', 'reader', 'run'),
    ('run_findings', 'reader', 'run'),
    ('run_objects', 'reader', 'run'),
    ('run_steps', 'reader', 'run'),
    ('runs', 'reader', 'site'),
    ('secrets', 'dba', NULL),
    ('server_facts', 'owner', 'connection'),
    ('sis', 'everyone', NULL),
    ('staged_academic_sessions', 'owner', 'connection'),
    ('staged_classes', 'owner', 'connection'),
    ('staged_courses', 'owner', 'connection'),
    ('staged_demographics', 'owner', 'connection'),
    ('staged_enrollments', 'owner', 'connection'),
    ('staged_orgs', 'owner', 'connection'),
    ('staged_users', 'owner', 'connection'),
    ('stages', 'owner', 'connection'),
    ('stored_values', 'owner', 'connection'),
    ('toggles', 'owner', 'connection'),
    ('tokens', 'dba', NULL),
    ('user_rows', 'owner', 'site'),
    ('user_rows_versions', 'owner', 'site'),
    ('written_values', 'owner', 'connection');

-- Rows that are not a site's alone: a level is seen at its site, in its district, and by the role that has it; a people
-- relation and its releases by the relation's owner too.
CREATE POLICY levels ON role_levels FOR SELECT USING (
    site = ANY (ARRAY(SELECT minga_roster_internal.sites_of('owner')))
    OR district = ANY (ARRAY(SELECT minga_roster_internal.districts_of('owner')))
    OR pg_has_role(minga_roster_internal.holder(role, role_oid, origin), 'USAGE'));
CREATE POLICY levels ON people_releases FOR SELECT USING (
    district = ANY (ARRAY(SELECT minga_roster_internal.districts_of('owner')))
    OR pg_has_role((SELECT p.relowner FROM pg_class p WHERE p.oid = relation), 'USAGE'));
CREATE POLICY levels ON district_recipients FOR SELECT USING (
    district = ANY (ARRAY(SELECT minga_roster_internal.districts_of('district_manager'))));
CREATE POLICY levels ON people_relations FOR SELECT USING (
    relation IN (SELECT c.people FROM minga_roster.connections c
        UNION SELECT r.relation FROM minga_roster.people_releases r)
    OR pg_has_role((SELECT p.relowner FROM pg_class p WHERE p.oid = relation), 'USAGE'));

-- The sites are found once for a query. Rows of a connection or run are found by what their own policies show.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT pg_catalog.format('CREATE POLICY levels ON minga_roster.%I FOR SELECT USING (%s)', t.relation,
            CASE t.keyed_by
                WHEN 'site' THEN sees_site
                WHEN 'connection' THEN
                    'connection = ANY (ARRAY(SELECT c.connection FROM minga_roster.connections c))'
                WHEN 'run' THEN pg_catalog.format('EXISTS (SELECT FROM minga_roster.runs r WHERE r.run = %I.run%s)',
                    t.relation, CASE t.level WHEN 'owner' THEN ' AND r.' || sees_site ELSE '' END)
            END)
        FROM minga_roster_internal.table_levels t
        -- An array finds rows by an index on the site, a hashed subquery is faster where there is none.
        CROSS JOIN LATERAL pg_catalog.format(CASE WHEN t.relation IN ('changes', 'links')
            THEN 'site = ANY (ARRAY(SELECT minga_roster_internal.sites_of(%L)))'
            ELSE 'site IN (SELECT minga_roster_internal.sites_of(%L))' END, t.level) AS sees_site
        WHERE t.keyed_by IN ('site', 'connection', 'run')
        UNION ALL
        SELECT pg_catalog.format('ALTER TABLE minga_roster.%I ENABLE ROW LEVEL SECURITY', t.relation)
        FROM minga_roster_internal.table_levels t
        WHERE t.level <> 'everyone'
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
