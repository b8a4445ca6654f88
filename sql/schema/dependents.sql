-- What belongs to a row goes with it. By triggers and not by foreign keys: the tables and their keys come with the
-- extension, before a dump's rows, and pg_restore -j would fill them in an order that foreign keys refuse. Only
-- functions of the extension write to these tables.

CREATE FUNCTION minga_roster_internal.delete_dependents() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dependent text;
BEGIN
    IF EXISTS (SELECT FROM gone) THEN
        FOREACH dependent IN ARRAY TG_ARGV[1:]
        LOOP
            EXECUTE minga_roster_internal.fill_template(
                'DELETE FROM minga_roster.{dependent:I} WHERE ({key}) IN (SELECT {key} FROM gone)',
                'dependent', dependent, 'key', TG_ARGV[0]);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.delete_dependents() IS
'Deletes the rows of other tables that belong to deleted ones: the arguments are the columns that both have, and the '
'tables.';

CREATE FUNCTION minga_roster_internal.keep_what_is_used() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    used_by text;
    name text := CASE TG_TABLE_NAME WHEN 'sis' THEN to_jsonb(OLD) ->> 'sis' ELSE to_jsonb(OLD) ->> 'relation' END;
BEGIN
    SELECT c.connection INTO used_by
    FROM minga_roster.connections c
    WHERE CASE TG_TABLE_NAME WHEN 'sis' THEN c.sis ELSE c.people::text END = name
    ORDER BY c.retired_at DESC NULLS FIRST, c.connection
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation',
            MESSAGE = format('%s "%s" is used by connection "%s"',
                CASE TG_TABLE_NAME WHEN 'sis' THEN 'preset' ELSE 'people relation' END, name, used_by),
            HINT = 'Move its connections with minga_roster.roster_configure first. Retired ones go '
                'minga_roster.keep_runs days after roster_disconnect.';
    END IF;
    IF TG_TABLE_NAME = 'sis' THEN
        DELETE FROM minga_roster.role_rules r WHERE r.sis = OLD.sis;
    ELSE
        DELETE FROM minga_roster.people_releases r WHERE r.relation = OLD.relation;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keep_what_is_used() IS
'Refuses (23503) to delete a preset or a people relation that a connection uses, or to give it another name; deletes '
'the roles of the preset or the releases of the relation.';

CREATE TRIGGER keep_what_is_used AFTER DELETE ON sis
    FOR EACH ROW EXECUTE FUNCTION minga_roster_internal.keep_what_is_used();
CREATE TRIGGER keep_the_name AFTER UPDATE OF sis ON sis
    FOR EACH ROW WHEN (OLD.sis <> NEW.sis) EXECUTE FUNCTION minga_roster_internal.keep_what_is_used();
CREATE TRIGGER keep_what_is_used AFTER DELETE ON people_relations
    FOR EACH ROW EXECUTE FUNCTION minga_roster_internal.keep_what_is_used();
CREATE TRIGGER keep_the_name AFTER UPDATE OF relation ON people_relations
    FOR EACH ROW WHEN (OLD.relation <> NEW.relation) EXECUTE FUNCTION minga_roster_internal.keep_what_is_used();
CREATE TRIGGER delete_dependents AFTER DELETE ON connections REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION minga_roster_internal.delete_dependents('connection', 'toggles', 'tokens',
    'server_facts', 'links', 'match_decisions', 'column_owners', 'column_paths', 'stored_values', 'recipients',
    'academic_sessions', 'academic_sessions_versions', 'courses', 'courses_versions', 'classes', 'classes_versions',
    'enrollment_rows', 'enrollment_rows_versions', 'contact_rows', 'contact_rows_versions', 'user_rows',
    'user_rows_versions', 'object_marks');
CREATE TRIGGER delete_dependents AFTER DELETE ON column_owners REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION minga_roster_internal.delete_dependents('connection, column_name',
    'written_values');
CREATE TRIGGER delete_dependents AFTER DELETE ON runs REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION minga_roster_internal.delete_dependents('run', 'run_counts', 'run_steps',
    'findings', 'collections', 'run_figures', 'run_findings', 'changes', 'planned_links', 'link_changes', 'run_objects',
    'held_objects');
CREATE TRIGGER delete_dependents AFTER DELETE ON changes REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION minga_roster_internal.delete_dependents('run, change', 'conflict_candidates',
    'conflict_pairs');
