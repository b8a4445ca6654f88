-- Each function that sets, decides, cancels, forgets or has accounts changed leaves one row in audit: who, when, which
-- function, for which connection or run, and the names of the arguments, never a value.
\getenv abs_srcdir PG_ABS_SRCDIR
\set fixture :abs_srcdir '/fixtures/merge.sql'
\set fixture_end :abs_srcdir '/fixtures/merge_end.sql'
\set ECHO none
\i :fixture
\set ECHO all
SELECT toggle(auto_update => true, archive => true);
-- A SIS that changed all IDs: links wait for roster_relink.
SELECT stage('s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 25) n;
SELECT FROM run_merge();
DELETE FROM staged_users WHERE connection = 'north';
SELECT stage('new-s' || n, 'student', 'Sam' || n, 'Day', identifier => n::text) FROM generate_series(1, 25) n;
SELECT FROM run_merge();
CREATE TABLE calls (nth integer GENERATED ALWAYS AS IDENTITY, function name, call text);
INSERT INTO calls (function, call) VALUES
    ('roster_create_people', $$roster_create_people('school.value_people', owner => 'regress_people_owner')$$),
    ('roster_attach_people', $$roster_attach_people('school.value_people', roles => '{"student": ["value"]}')$$),
    ('roster_connect', $$roster_connect('audited', url => 'https://value.example/campus/api/oneroster/v1p1/value',
        client_id => 'value', client_secret => 'value', school_id => 'value', people => 'school.value_people',
        site => 'audited', time_zone => 'UTC')$$),
    ('roster_release_people', $$roster_release_people('school.value_people', 'value')$$),
    ('roster_withdraw_people', $$roster_withdraw_people('school.value_people', 'value')$$),
    ('roster_grant', $$roster_grant('regress_people_owner', 'reader', site => 'audited')$$),
    ('roster_revoke', $$roster_revoke('regress_people_owner', 'reader', site => 'audited')$$),
    ('roster_configure', $$roster_configure('audited', district => 'value', guard_floor => 77)$$),
    ('roster_set_secret', $$roster_set_secret('audited', 'value')$$),
    ('roster_public_key', $$roster_public_key()$$),
    ('roster_rotate_key', $$roster_rotate_key()$$),
    ('roster_toggle', $$roster_toggle('audited', 'student', archive => true)$$),
    ('roster_set_column_owner', $$roster_set_column_owner('audited', 'phone', 'local')$$),
    ('roster_map_column', $$roster_map_column('audited', 'phone', 'metadata.value')$$),
    ('roster_notify', $$roster_notify('audited', 'value@x.example')$$),
    ('roster_remove_recipient', $$roster_remove_recipient('audited', 'value@x.example')$$),
    ('roster_import_links', $$roster_import_links('audited', '{"site": "audited", "school_id": "value", "links": [],
        "decisions": []}')$$),
    ('roster_notify_district', $$roster_notify_district('value', 'value@x.example', 'never')$$),
    ('roster_remove_district_recipient', $$roster_remove_district_recipient('value', 'value@x.example')$$),
    ('roster_enable', $$roster_enable('audited')$$),
    ('roster_disable', $$roster_disable('audited')$$),
    ('roster_disconnect', $$roster_disconnect('audited')$$),
    ('roster_decide', $$roster_decide('north', 'new-s2', 'undecided')$$),
    ('roster_relink', $$roster_relink((SELECT max(run) FROM changes))$$),
    ('roster_cancel', $$roster_cancel((SELECT run FROM runs WHERE state = 'queued' AND connection = 'north'))$$),
    ('roster_forget', $$roster_forget('north', sourced_id => 'new-s1')$$),
    ('roster_remember', $$roster_remember('north', sourced_id => 'new-s1')$$);
INSERT INTO runs (connection, site, kind, trigger, state, requested_by)
VALUES ('north', 'north', 'fetch', 'manual', 'queued', 'test');
CREATE FUNCTION audited(call text) RETURNS TABLE (function name, role_is_caller boolean, connection text,
    has_run boolean, site text, given text[])
LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT coalesce(max(entry), 0) FROM audit);
BEGIN
    BEGIN
        EXECUTE 'SELECT ' || call;
    EXCEPTION WHEN OTHERS THEN
        RETURN QUERY SELECT ('failed: ' || left(SQLERRM, 50))::name, NULL::boolean, NULL, NULL::boolean, NULL,
            NULL::text[];
    END;
    RETURN QUERY SELECT a.function, a.role = current_user, a.connection, a.run IS NOT NULL, a.site, a.given
        FROM audit a
        WHERE a.entry > before;
END
$$;
SELECT max(entry) AS before FROM audit \gset
SELECT c.function AS called, a.* FROM calls c LEFT JOIN LATERAL audited(c.call) a ON true ORDER BY c.nth, a.function;
SELECT count(*) FROM audit a WHERE entry > :before AND a::text LIKE '%value%';
-- A call that fails or is rolled back did nothing, and leaves none.
SELECT refused($$SELECT roster_set_secret('unknown', 'value')$$);
SELECT count(*) FROM audit WHERE connection = 'unknown';

-- Runs that change accounts; the others are in runs alone, with requested_by.
SELECT max(entry) AS before FROM audit \gset
SELECT insert_run(nextval('minga_roster.runs_run_seq'), 'north', kind, CASE WHEN kind IN ('approve', 'apply', 'undo')
    THEN last_run() END, 'queued', 'asker')
FROM unnest(ARRAY['test', 'diagnose', 'fetch', 'preview', 'sync', 'approve', 'apply', 'undo']) kind;
SELECT role, function, connection, run IS NOT NULL AS has_run, site, given FROM audit WHERE entry > :before
    ORDER BY entry;

-- All other functions read, start the runs above, or take a secret from elsewhere (test/t/038_secret_ways.pl). A new
-- function has to be called here or be in this list.
SELECT DISTINCT p.proname FROM pg_proc p WHERE p.pronamespace = 'minga_roster'::regnamespace
EXCEPT SELECT function FROM calls ORDER BY 1;

DELETE FROM secrets WHERE connection = 'forgotten';
DELETE FROM audit;
DELETE FROM runs WHERE connection = 'audited';
DELETE FROM connections WHERE connection = 'audited';
\set ECHO none
\i :fixture_end
