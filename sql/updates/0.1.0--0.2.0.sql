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
ALTER TABLE connections DROP CONSTRAINT connections_paused_cause_check,
    ADD CONSTRAINT connections_paused_cause_check
        CHECK (paused_cause IN ('restored', 'run_undone', 'evenings_failed'));
ALTER TABLE runs DROP CONSTRAINT runs_state_cause_check,
    ADD CONSTRAINT runs_state_cause_check CHECK (state_cause IN ('evening_missed', 'time_zone_lost'));

-- Mail: recipients of decisions or failures alone, digests of districts, what the mail server said.
ALTER TABLE recipients DROP CONSTRAINT recipients_send_check, ADD CONSTRAINT recipients_send_check
    CHECK (send IN ('always', 'changes', 'problems', 'decisions', 'failures', 'never'));
ALTER TABLE outbox ALTER COLUMN run DROP NOT NULL, ALTER COLUMN connection DROP NOT NULL,
    ADD COLUMN cause text CHECK (cause IN ('settings', 'unreachable', 'timeout', 'tls', 'login', 'token', 'sender',
        'protocol', 'recipient', 'deferred', 'content')),
    ADD COLUMN answer text,
    ADD COLUMN district text,
    ADD CONSTRAINT outbox_check CHECK ((district IS NULL) = (run IS NOT NULL AND connection IS NOT NULL));

-- Each fetch empties the stage.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN
        SELECT i.inhrelid::regclass FROM pg_inherits i
        WHERE i.inhparent IN ('minga_roster.staged_users'::regclass, 'minga_roster.staged_orgs'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off, toast.autovacuum_enabled = off)', partition);
    END LOOP;
END
$$;
-- Classes, contacts and birth dates.
ALTER TABLE sis ADD COLUMN object_collections jsonb NOT NULL DEFAULT '[]'
    CHECK (jsonb_typeof(object_collections) = 'array');
ALTER TABLE connections ADD COLUMN classes boolean NOT NULL DEFAULT false,
    ADD COLUMN contacts boolean NOT NULL DEFAULT false,
    ADD COLUMN birth_dates boolean NOT NULL DEFAULT false,
    ADD COLUMN class_terms text[] NOT NULL DEFAULT '{current}' CHECK (class_terms <> '{}'),
    ADD COLUMN class_grades text[];
ALTER TABLE collections DROP CONSTRAINT collections_family_check,
    ADD CONSTRAINT collections_family_check CHECK (family IN ('student', 'staff', 'contact', 'session', 'course',
        'class', 'enrollment', 'demographics')),
    DROP CONSTRAINT collections_weak_cause_check,
    ADD CONSTRAINT collections_weak_cause_check CHECK (weak_cause IN ('denied', 'row_missing', 'total_larger',
        'total_unfiltered', 'total_smaller', 'moved', 'unchecked', 'limit_as_end', 'offset_as_page', 'not_paged',
        'end_refused', 'end_object', 'end_repeated', 'end_unproved', 'without_id', 'nowhere', 'broken_off'));
ALTER TABLE run_findings DROP CONSTRAINT run_findings_finding_check,
    ADD CONSTRAINT run_findings_finding_check CHECK (finding IN ('inactive_some', 'inactive_all', 'category_empty',
        'field_vanished', 'roles_ended', 'no_role', 'unknown_role', 'without_id', 'incomplete', 'mass_update_held',
        'no_class_chosen', 'classes_not_applied', 'objects_empty', 'enrollment_role', 'objects_unreadable'));
ALTER TABLE stages ADD COLUMN digest text;
ALTER TABLE staged_users ADD COLUMN sms text, ADD COLUMN user_ids text[], ADD COLUMN birth_date text;

-- Afterwards, with all that is new there.

-- The database is told from its copies by a token, and no longer by the system identifier, which pg_upgrade changes.
DO $$
DECLARE
    old_origin CONSTANT text := format('%s/%s', (SELECT p.system_identifier FROM pg_control_system() p),
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()));
    new_origin CONSTANT text := minga_roster_internal.server_origin();
BEGIN
    UPDATE minga_roster.connections c SET enabled_origin = new_origin WHERE c.enabled_origin = old_origin;
    UPDATE minga_roster.outbox o SET origin = new_origin WHERE o.origin = old_origin;
    UPDATE minga_roster.role_levels l SET origin = new_origin WHERE l.origin = old_origin;
END
$$;

-- By the names that systems keep.
UPDATE minga_roster.connections c SET time_zone = minga_roster_internal.lasting_zone(c.time_zone)
WHERE c.time_zone <> minga_roster_internal.lasting_zone(c.time_zone);
