-- From 0.1.0 to 0.2.0: what changes in tables that 0.1.0 has, and in their rows. New tables, functions, views,
-- comments, policies and privileges come from the install script by themselves.

-- Triggers take the place of foreign keys.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname)
        FROM pg_constraint k
        WHERE k.contype = 'f' AND k.connamespace = 'minga_roster'::regnamespace
            AND k.confrelid IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'minga_roster'::regnamespace)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
