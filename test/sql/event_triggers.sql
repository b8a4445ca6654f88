-- An event trigger that raises for temporary tables: the run fails at once, and its error names the trigger and the way
-- out.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all

SELECT stage('s1', 'student', 'Ana', 'Lee');
CREATE FUNCTION need_key() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF made.object_type = 'table'
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = made.objid AND i.indisprimary) THEN
            RAISE EXCEPTION 'table % needs a primary key', made.object_identity;
        END IF;
    END LOOP;
END
$$;
CREATE FUNCTION passes() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER passes ON ddl_command_end EXECUTE FUNCTION passes();
SELECT FROM run_merge();
CREATE EVENT TRIGGER "needs key" ON ddl_command_end EXECUTE FUNCTION need_key();
SELECT refused('SELECT run_merge()');
SELECT refused('SELECT run_merge(''preview'')');
SELECT count(*) FROM people;
-- so it does for the tables of the stage, which a connection gets once
UPDATE connections SET classes = true;
SELECT regexp_replace(refused('SELECT prepare_stage_as_worker(''north'')'), '_\d+ needs', '_N needs');
UPDATE connections SET classes = false;
-- for some commands alone
DROP EVENT TRIGGER "needs key";
CREATE EVENT TRIGGER "needs key" ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION need_key();
SELECT refused('SELECT run_merge()');
DROP EVENT TRIGGER "needs key";
CREATE FUNCTION no_drop() RETURNS event_trigger
    LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'drop nothing'; END $$;
CREATE EVENT TRIGGER no_drop ON sql_drop EXECUTE FUNCTION no_drop();
SELECT refused('SELECT run_merge()');
DROP EVENT TRIGGER no_drop;
CREATE EVENT TRIGGER no_start ON ddl_command_start WHEN TAG IN ('GRANT', 'CREATE INDEX') EXECUTE FUNCTION no_drop();
SELECT refused('SELECT run_merge()');
-- two of one function
CREATE EVENT TRIGGER no_start_either ON ddl_command_start EXECUTE FUNCTION no_drop();
ALTER EVENT TRIGGER no_start_either DISABLE;
SELECT refused('SELECT run_merge()');
-- switched off it says nothing, and one that leaves out temporary tables lets a run pass
ALTER EVENT TRIGGER no_start DISABLE;
CREATE OR REPLACE FUNCTION need_key() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE schema_name <> 'pg_temp' LOOP
        RAISE EXCEPTION 'table % needs a primary key', made.object_identity;
    END LOOP;
END
$$;
CREATE EVENT TRIGGER "needs key" ON ddl_command_end EXECUTE FUNCTION need_key();
SELECT FROM run_merge();
SELECT again();
DROP EVENT TRIGGER "needs key";
DROP EVENT TRIGGER passes;
DROP EVENT TRIGGER no_start;
DROP EVENT TRIGGER no_start_either;
SELECT count(*) FROM people;
\set ECHO none
\i :fixture_end
