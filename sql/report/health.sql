-- Health: what stops rostering on this server, as codes and words. roster_status tells what concerns a connection,
-- roster_health what the DBA can do something about.

CREATE FUNCTION minga_roster_internal.background_workers(OUT used integer, OUT cron_launcher boolean)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_background_workers';
COMMENT ON FUNCTION minga_roster_internal.background_workers() IS
'How many of max_worker_processes are in use, and whether pg_cron''s launcher runs. Only for the role that the '
'extension acts with.';

CREATE FUNCTION minga_roster_internal.time_zone_release() RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_time_zone_release';
COMMENT ON FUNCTION minga_roster_internal.time_zone_release() IS
'The release of the time zones that the server uses, such as "2025b"; NULL if their file tzdata.zi is missing. Only '
'for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.is_silent(beat_at timestamptz, started_at timestamptz, now timestamptz)
    RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN greatest(beat_at, started_at) < now - interval '5 minutes' OR beat_at > now + interval '5 minutes';
COMMENT ON FUNCTION minga_roster_internal.is_silent(timestamptz, timestamptz, timestamptz) IS
'Whether a heartbeat is too old, for a server that was started at started_at; one that is yet to come was written '
'before the clock was put back.';

CREATE FUNCTION minga_roster_internal.silent_since() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.beat_at FROM minga_roster_internal.heartbeat b
    WHERE minga_roster_internal.is_silent(b.beat_at, pg_postmaster_start_time(), now())
$$;
COMMENT ON FUNCTION minga_roster_internal.silent_since() IS
'Since when no worker of roster_run_due has begun, if that is more than five minutes, and the server was up all the '
'time; NULL if one has.';

CREATE FUNCTION minga_roster_internal.cron_checks(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    facts record;
    workers record;
    owner record;
    off CONSTANT text[] := ARRAY(
        SELECT s.name FROM (VALUES ('cron.launch_active_jobs'), ('cron.enable_superuser_jobs')) s (name)
        WHERE minga_roster_internal.server_setting(s.name) = 'off');
    silent CONSTANT timestamptz := minga_roster_internal.silent_since();
    wanted CONSTANT boolean := EXISTS (SELECT FROM minga_roster.connections c
        WHERE c.automatic AND c.retired_at IS NULL AND c.paused_cause IS NULL);
BEGIN
    SELECT * INTO facts FROM minga_roster_internal.cron_facts();
    SELECT * INTO workers FROM minga_roster_internal.background_workers();
    SELECT r.rolname, r.rolcanlogin, r.rolsuper INTO owner
    FROM pg_extension e JOIN pg_roles r ON r.oid = e.extowner WHERE e.extname = 'minga_roster';
    RETURN QUERY
    SELECT k.code, CASE WHEN k.fault IS NULL THEN CASE WHEN k.unknown IS NULL THEN true END WHEN wanted THEN false END,
        coalesce(k.fault, k.unknown, k.fine), CASE WHEN k.fault IS NOT NULL THEN k.advice END
    FROM (VALUES
        ('cron_preloaded', CASE WHEN NOT facts.preloaded THEN 'pg_cron is not preloaded' END, NULL,
            'pg_cron is preloaded',
            'Add pg_cron to shared_preload_libraries in postgresql.conf, and restart PostgreSQL.'),
        ('cron_database', CASE WHEN facts.preloaded AND facts.database_name IS DISTINCT FROM current_database() THEN
            format('pg_cron runs jobs in database "%s" (cron.database_name)', facts.database_name) END,
            CASE WHEN NOT facts.preloaded THEN 'pg_cron is not preloaded' END,
            'pg_cron runs jobs in this database',
            format('Set cron.database_name = %L in postgresql.conf, and restart PostgreSQL.', current_database())),
        ('cron_installed', CASE WHEN NOT facts.installed THEN 'pg_cron is not installed in this database' END, NULL,
            'pg_cron is installed here', 'Run CREATE EXTENSION pg_cron, then roster_enable for one connection.'),
        ('cron_launcher', CASE WHEN facts.preloaded AND NOT workers.cron_launcher THEN
            'the launcher of pg_cron is not running' END,
            CASE WHEN NOT facts.preloaded THEN 'pg_cron is not preloaded' END,
            'the launcher of pg_cron is running',
            'Look into the server log for what ended it, and restart PostgreSQL.'),
        ('cron_job', CASE WHEN facts.job IS NULL THEN 'pg_cron has no job'
            WHEN NOT facts.job_active THEN format('pg_cron job %s is not active', facts.job) END, NULL,
            format('pg_cron job %s is active', facts.job),
            'Run roster_enable for one connection: it makes the job and activates it.'),
        ('cron_owner', CASE WHEN NOT owner.rolcanlogin THEN
            format('the owner of the pg_cron job, "%s", cannot log in', owner.rolname) END, NULL,
            format('the owner of the pg_cron job, "%s", can log in', owner.rolname),
            format('pg_cron runs a job as its owner: ALTER ROLE %I LOGIN.', owner.rolname)),
        ('cron_settings', CASE WHEN off <> '{}' THEN
            format('pg_cron starts no job: %s off', array_to_string(off, ' and ')
                || CASE cardinality(off) WHEN 1 THEN ' is' ELSE ' are' END)
            WHEN facts.background_workers IS FALSE AND silent IS NOT NULL THEN
            'pg_cron connects through libpq (cron.use_background_workers is off)' END, NULL,
            format('cron.max_running_jobs is %s, cron.log_run is %s',
                coalesce(minga_roster_internal.server_setting('cron.max_running_jobs'), 'unknown'),
                coalesce(minga_roster_internal.server_setting('cron.log_run'), 'unknown')),
            CASE WHEN off <> '{}' THEN 'Turn on what is off in postgresql.conf, and restart PostgreSQL.'
                ELSE 'Set cron.use_background_workers = on in postgresql.conf, and restart PostgreSQL.' END),
        ('cron_result', CASE WHEN facts.last_failure IS NOT NULL THEN
            'the pg_cron job fails: ' || facts.last_failure END,
            CASE WHEN facts.job IS NULL THEN 'pg_cron has no job' END,
            'the latest run of the pg_cron job on record did not fail',
            'See cron.job_run_details and the server log.'),
        ('heartbeat', CASE WHEN silent IS NOT NULL THEN format('nothing has called roster_run_due since %s',
            minga_roster_internal.local_minute(silent, 'UTC') || ' UTC') END,
            CASE WHEN facts.job IS NULL THEN 'pg_cron has no job' END,
            'roster_run_due is called each minute',
            'Call SELECT minga_roster.roster_run_due() once. If it warns, raise max_worker_processes. If not, look for '
                'pg_cron in the server log.')
    ) AS k (code, fault, unknown, fine, advice);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.cron_checks() IS
'What has to be so that roster_run_due is called each minute: a row for each condition, in the order in which they '
'depend on each other. ok is NULL where one does not hold and no connection needs it, and where it cannot be judged. '
'The first that is false is the cause of the rest.';

CREATE FUNCTION minga_roster_internal.some_names(names text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.in_list((SELECT array_agg(format('"%s"', n.name) ORDER BY n.nth)
        FROM unnest(names) WITH ORDINALITY n (name, nth) WHERE n.nth <= 5)
        || CASE WHEN cardinality(names) > 5 THEN ARRAY[format('%s more', cardinality(names) - 5)] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.some_names(text[]) IS
'"a" and "b"; of more than five, how many more there are.';

CREATE FUNCTION minga_roster_internal.read_key_file() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_read_key_file';
COMMENT ON FUNCTION minga_roster_internal.read_key_file() IS
'Reads the key file and forgets it; raises what is wrong with it. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.opens(row_id uuid, connection text, origins text, sealed bytea) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_opens';
COMMENT ON FUNCTION minga_roster_internal.opens(uuid, text, text, bytea) IS
'Whether what seal made opens with a key of the key file. Only for the role that the extension acts with.';

CREATE FUNCTION minga_roster_internal.key_file_fault(OUT fault text, OUT advice text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.read_key_file();
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS fault = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.key_file_fault() IS
'What is wrong with the key file, and what to do about it; NULL if it holds a key.';

CREATE FUNCTION minga_roster_internal.key_checks(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    key record;
    lacking text[];
    closed text[] := '{}';
BEGIN
    SELECT * INTO key FROM minga_roster_internal.key_file_fault();
    IF key.fault IS NULL THEN
        SELECT coalesce(array_agg(s.connection ORDER BY s.connection), '{}') INTO closed
        FROM minga_roster.secrets s
        LEFT JOIN minga_roster.connections c USING (connection)
        WHERE c.retired_at IS NULL
            AND NOT minga_roster_internal.opens(s.binding, s.connection,
                CASE WHEN c.connection IS NULL THEN ''
                    ELSE minga_roster_internal.secret_origins(c.base_url, c.token_url) END, s.sealed);
    END IF;
    SELECT coalesce(array_agg(c.connection ORDER BY c.connection), '{}') INTO lacking
    FROM minga_roster.connections c
    WHERE c.automatic AND c.retired_at IS NULL
        AND NOT EXISTS (SELECT FROM minga_roster.secrets s WHERE s.connection = c.connection);
    "check" := 'key_file';
    ok := CASE WHEN key.fault IS NULL THEN true
        WHEN EXISTS (SELECT FROM minga_roster.secrets) THEN false END;
    detail := coalesce(key.fault, 'the key file holds a key');
    hint := key.advice;
    RETURN NEXT;
    "check" := 'secrets';
    ok := lacking = '{}' AND closed = '{}';
    detail := coalesce(nullif(concat_ws('; ',
        'no client secret: ' || minga_roster_internal.some_names(nullif(lacking, '{}')),
        'sealed with another key, or altered: ' || minga_roster_internal.some_names(nullif(closed, '{}'))), ''),
        CASE WHEN key.fault IS NULL THEN 'each stored secret opens' ELSE 'no stored secret can be opened' END);
    IF key.fault IS NOT NULL AND ok THEN
        ok := NULL;
    END IF;
    hint := CASE WHEN closed <> '{}' THEN 'Put the former key into the key file, on a line below the present one, or '
            'set each secret again with roster_set_secret.'
        WHEN lacking <> '{}' THEN 'Set each with roster_set_secret.' END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.key_checks() IS
'Whether the key file can be used, and whether it opens what is sealed.';

CREATE FUNCTION minga_roster_internal.server_checks(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    beat minga_roster_internal.heartbeat;
    slots CONSTANT integer := current_setting('max_worker_processes')::integer;
    wanted CONSTANT integer := minga_roster_internal.setting('max_workers')::integer;
    used integer;
    release CONSTANT text := minga_roster_internal.time_zone_release();
    collated text[];
BEGIN
    SELECT * INTO beat FROM minga_roster_internal.heartbeat;
    SELECT w.used INTO used FROM minga_roster_internal.background_workers() w;
    SELECT array_agg(x.fault ORDER BY x.fault) INTO collated
    FROM (
        SELECT format('database "%s" was made with version %s, and the server has %s', d.datname, d.datcollversion,
            coalesce(pg_database_collation_actual_version(d.oid), 'none')) AS fault
        FROM pg_database d
        WHERE d.datname = current_database()
            AND d.datcollversion <> coalesce(pg_database_collation_actual_version(d.oid), '')
        UNION ALL
        SELECT format('collation "%s" was made with version %s, and the server has %s', c.collname, c.collversion,
            coalesce(pg_collation_actual_version(c.oid), 'none'))
        FROM pg_collation c
        WHERE c.oid IN (SELECT a.attcollation FROM minga_roster.people_relations p
                JOIN pg_attribute a ON a.attrelid = p.relation AND a.attnum > 0)
            AND c.collversion <> coalesce(pg_collation_actual_version(c.oid), '')
    ) x;
    RETURN QUERY
    SELECT k.code, CASE WHEN k.matters THEN k.fault IS NULL END, coalesce(k.fault, k.fine),
        CASE WHEN k.fault IS NOT NULL THEN k.advice END
    FROM (VALUES
        ('standby', NOT pg_is_in_recovery(), NULL::text,
            CASE WHEN pg_is_in_recovery() THEN 'this server is a standby: runs work on the primary server'
                ELSE 'this server is not a standby' END, NULL::text),
        ('duty', true, CASE WHEN beat.failed_at > beat.beat_at - interval '5 minutes' THEN
            format('a part of the minute''s duty fails with SQLSTATE %s: %s', beat.failed_sqlstate, beat.failed_part)
            END, 'each part of the minute''s duty succeeded',
            'Run the statement by hand, after SET ROLE minga_roster_dba, to see why.'),
        ('worker_slots', true, CASE
            WHEN used >= slots THEN format('all of max_worker_processes (%s) are in use', slots)
            WHEN slots < wanted + 3 THEN format('max_worker_processes is %s, and minga_roster.max_workers is %s', slots,
                wanted) END,
            format('%s of max_worker_processes (%s) in use, and minga_roster.max_workers is %s', used, slots, wanted),
            format('Raise max_worker_processes and restart PostgreSQL: runs need %s, the worker of each minute one, '
                'pg_cron and its jobs two, besides those of other extensions and of parallel queries.', wanted)),
        ('tzdata', release IS NOT NULL, CASE
            WHEN left(release, 4) < to_char(minga_roster_internal.clock() - interval '2 years', 'YYYY') THEN
            format('the time zones of the server are of release %s', release) END,
            format('the time zones of the server are of %s', coalesce('release ' || release, 'an unknown release')),
            'Update the operating system''s package tzdata (or PostgreSQL, if it brings its own), and restart '
                'PostgreSQL: evenings go by the time of the school.'),
        ('collation', true, minga_roster_internal.capitalized(array_to_string(collated, '; ')),
            'collations are of the version that indexes were made with',
            'Rebuild the indexes, then note the new version: REINDEX DATABASE; ALTER DATABASE ... REFRESH COLLATION '
                'VERSION, or ALTER COLLATION ... REFRESH VERSION.')
    ) AS k (code, matters, fault, fine, advice);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.server_checks() IS 'What runs need of the server.';

CREATE FUNCTION minga_roster_internal.people_checks(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone text[];
    owned text[];
    keyless record;
BEGIN
    SELECT coalesce(array_agg(c.connection ORDER BY c.connection) FILTER (WHERE r.oid IS NULL), '{}'),
        coalesce(array_agg(DISTINCT r.oid::regclass::text) FILTER (WHERE r.fault IS NOT NULL), '{}')
    INTO gone, owned
    FROM minga_roster.connections c
    LEFT JOIN (SELECT r.oid, minga_roster_internal.more_than_plain(r.relowner) AS fault
               FROM pg_class r WHERE r.oid IN (SELECT p.relation FROM minga_roster.people_relations p)) r
        ON r.oid = c.people
    WHERE c.retired_at IS NULL;
    -- Below a view are the tables that its rule names, and what a partitioned table is made of.
    WITH RECURSIVE below (relation) AS (
        SELECT p.relation::oid FROM minga_roster.people_relations p
        UNION
        SELECT n.relation
        FROM below b
        CROSS JOIN LATERAL (
            SELECT d.refobjid AS relation
            FROM pg_rewrite w
            JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> b.relation
            WHERE w.ev_class = b.relation AND w.ev_type = '1'
            UNION ALL
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = b.relation
        ) n
    ), published AS (
        SELECT DISTINCT c.oid, p.pubname
        FROM below b
        JOIN pg_class c ON c.oid = b.relation AND c.relkind = 'r' AND c.relpersistence = 'p'
        CROSS JOIN pg_publication p
        WHERE (p.pubupdate OR p.pubdelete)
            AND (p.puballtables
                OR EXISTS (SELECT FROM pg_publication_namespace n
                    WHERE n.pnpubid = p.oid AND n.pnnspid = c.relnamespace)
                OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid
                    AND r.prrelid IN (SELECT c.oid UNION ALL SELECT a.relid FROM pg_partition_ancestors(c.oid) a)))
            AND (c.relreplident = 'n'
                OR (c.relreplident = 'd' AND NOT EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = c.oid AND i.indisprimary))
                OR (c.relreplident = 'i' AND NOT EXISTS (SELECT FROM pg_index i
                    WHERE i.indrelid = c.oid AND i.indisreplident)))
    )
    SELECT count(*) AS tables, array_agg(DISTINCT p.oid::regclass::text) AS named,
        array_agg(DISTINCT p.pubname::text) AS publications
    INTO keyless FROM published p;
    RETURN QUERY
    SELECT k.code, k.fault IS NULL, coalesce(k.fault, k.fine), CASE WHEN k.fault IS NOT NULL THEN k.advice END
    FROM (VALUES
        ('people', CASE
            WHEN gone <> '{}' THEN
                'the people relation was dropped of ' || minga_roster_internal.some_names(gone)
            WHEN owned <> '{}' THEN format('%s %s to a role that is more than a plain role',
                minga_roster_internal.some_names(owned), CASE cardinality(owned) WHEN 1 THEN 'belongs' ELSE 'belong'
                END) END,
            'each people relation is there, and belongs to a plain role',
            CASE WHEN gone <> '{}' THEN 'Restore it, or attach another one with roster_attach_people and '
                'roster_configure.'
                ELSE 'Give it a plain owner (if there is none, CREATE ROLE people_owner NOLOGIN): ALTER TABLE ... '
                'OWNER TO people_owner.' END),
        ('replica_identity', CASE WHEN keyless.tables > 0 THEN
            format('publication %s publishes updates of %s, which cannot be updated without a primary key',
                minga_roster_internal.some_names(keyless.publications),
                minga_roster_internal.some_names(keyless.named)) END,
            'people can be updated under each publication',
            format('Give each table a primary key, or another replica identity: ALTER TABLE %s REPLICA IDENTITY FULL.',
                keyless.named[1]))
    ) AS k (code, fault, fine, advice);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_checks() IS
'What syncs need of the people relations, by the catalogs. A connection test tries it.';

CREATE FUNCTION minga_roster_internal.work_checks(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    queue record;
    locks record;
    post record;
    mail_server minga_roster_internal.mail_server;
    missing CONSTANT text := minga_roster_internal.mail_settings_missing();
BEGIN
    SELECT count(*) FILTER (WHERE r.state = 'queued') AS queued, count(*) FILTER (WHERE r.state = 'running') AS running,
        min(r.queued_at) FILTER (WHERE r.state = 'queued') AS oldest,
        count(*) FILTER (WHERE r.state = 'running' AND NOT EXISTS (SELECT FROM pg_stat_get_activity(r.pid) a)) AS dead
    INTO queue FROM minga_roster.runs r WHERE r.state IN ('queued', 'running');
    SELECT count(*) AS runs, array_agg(r.connection ORDER BY r.run) AS connections, min(l.waitstart) AS since,
        (array_agg(pg_blocking_pids(r.pid) ORDER BY l.waitstart))[1:1] AS blockers
    INTO locks
    FROM minga_roster.runs r JOIN pg_locks l ON l.pid = r.pid AND NOT l.granted
    -- A tenth of the time after which the run fails, 90 seconds by default.
    WHERE r.state = 'running' AND l.waitstart < clock_timestamp()
        - minga_roster_internal.setting('lock_timeout')::interval / 10;
    SELECT count(*) FILTER (WHERE o.state = 'waiting') AS waiting,
        min(o.created_at) FILTER (WHERE o.state = 'waiting') AS oldest,
        count(*) FILTER (WHERE o.state = 'failed') AS failed
    INTO post
    FROM minga_roster.outbox o
    WHERE o.origin = minga_roster_internal.server_origin()
        -- What became of a test mail, its caller has been told.
        AND (o.state = 'waiting' OR (o.state = 'failed' AND o.created_at > now - interval '1 day'
            AND NOT EXISTS (SELECT FROM minga_roster.runs r WHERE r.run = o.run AND r.kind = 'mail')));
    SELECT * INTO mail_server FROM minga_roster_internal.mail_server;
    RETURN QUERY
    SELECT k.code, k.fault IS NULL, coalesce(k.fault, k.fine), CASE WHEN k.fault IS NOT NULL THEN k.advice END
    FROM (VALUES
        ('queue', CASE
            WHEN queue.dead > 0 THEN format('%s no worker',
                minga_roster_internal.figures(queue.dead, 'running run has', 'running runs have'))
            WHEN queue.running = 0 AND queue.oldest < now - interval '5 minutes' THEN
                format('%s since %s UTC, and no worker is running',
                    minga_roster_internal.figures(queue.queued, 'run is queued', 'runs are queued'),
                    minga_roster_internal.local_minute(queue.oldest, 'UTC')) END,
            format('%s running, %s queued', queue.running, queue.queued),
            'Call SELECT minga_roster.roster_run_due(): it closes dead runs and works the queue.'),
        ('clock', minga_roster_internal.clock_doubt(), 'the clock of the server has not jumped',
            'Check the clock, and what sets it. Nothing has to be done here: the doubt ends by itself.'),
        ('locks', CASE WHEN locks.runs > 0 THEN format('%s for a lock since %s UTC: %s',
            minga_roster_internal.figures(locks.runs, 'run waits', 'runs wait'),
            minga_roster_internal.local_minute(locks.since, 'UTC'),
            minga_roster_internal.some_names(locks.connections)) END,
            'no run waits long for a lock',
            format('End what process %s does, or wait until the run fails after minga_roster.lock_timeout: SELECT '
                'pg_cancel_backend(%s).', array_to_string(locks.blockers, ', '), (locks.blockers)[1][1])),
        ('mail', CASE
            WHEN missing IS NOT NULL AND EXISTS (SELECT FROM minga_roster.recipients r
                JOIN minga_roster.connections c USING (connection) WHERE c.automatic AND c.retired_at IS NULL
                    AND r.send <> 'never') THEN format('no mail can be sent: %s not set', missing
                || CASE WHEN missing LIKE '% and %' THEN ' are' ELSE ' is' END)
            WHEN mail_server.cause IS NOT NULL THEN format('the mail server cannot be used since %s UTC (%s): %s',
                minga_roster_internal.local_minute(mail_server.failing_since, 'UTC'), mail_server.cause,
                minga_roster_internal.figures(post.waiting, 'mail waits', 'mails wait'))
            WHEN post.oldest < now - interval '1 hour' THEN format('%s, the oldest since %s UTC',
                minga_roster_internal.figures(post.waiting, 'mail waits', 'mails wait'),
                minga_roster_internal.local_minute(post.oldest, 'UTC'))
            WHEN post.failed > 0 THEN format('%s of the last day could not be sent',
                minga_roster_internal.figures(post.failed, 'mail')) END,
            format('%s', minga_roster_internal.figures(post.waiting, 'mail waits', 'mails wait')),
            'See mail_error in roster_status, and try SELECT * FROM minga_roster.roster_send_test_mail(''...'').')
    ) AS k (code, fault, fine, advice);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.work_checks() IS
'How runs and mail go on now. It names no address and no words of the mail server.';

CREATE FUNCTION minga_roster_internal.connection_checks(OUT "check" text, OUT ok boolean, OUT detail text,
    OUT hint text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    here CONSTANT text := minga_roster_internal.server_origin();
    zones record;
    paused record;
    late text[];
    never text[];
    ending text[];
BEGIN
    SELECT array_agg(c.connection ORDER BY c.connection) AS connections,
        array_agg(DISTINCT c.time_zone) AS names, (array_agg(c.time_zone ORDER BY c.connection))[1] AS zone
    INTO zones
    FROM minga_roster.connections c
    WHERE c.retired_at IS NULL AND c.time_zone IN (SELECT z.time_zone
        FROM (SELECT DISTINCT k.time_zone FROM minga_roster.connections k WHERE k.retired_at IS NULL) z
        WHERE NOT minga_roster_internal.zone_exists(z.time_zone));
    SELECT array_agg(c.connection ORDER BY c.connection)
            FILTER (WHERE coalesce(c.paused_cause, '') NOT IN ('', 'restored')) AS stopped,
        array_agg(c.connection ORDER BY c.connection)
            FILTER (WHERE c.enabled_origin IS DISTINCT FROM here OR c.paused_cause = 'restored') AS restored
    INTO paused
    FROM minga_roster.connections c WHERE c.automatic AND c.retired_at IS NULL;
    SELECT array_agg(c.connection ORDER BY c.connection) FILTER (WHERE s.finished_at IS NOT NULL),
        array_agg(c.connection ORDER BY c.connection) FILTER (WHERE s.finished_at IS NULL)
    INTO late, never
    FROM minga_roster.connections c
    LEFT JOIN LATERAL (
        SELECT r.finished_at, r.site FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.kind = 'sync' AND r.state = 'succeeded'
        ORDER BY r.run DESC LIMIT 1
    ) s ON s.site = c.site
    WHERE c.automatic AND c.retired_at IS NULL AND c.paused_cause IS NULL AND c.enabled_origin = here
        AND c.enabled_at < now - interval '36 hours'
        AND coalesce(s.finished_at, '-infinity') < now - interval '36 hours';
    SELECT array_agg(c.connection ORDER BY c.connection) INTO ending
    FROM minga_roster.connections c
    WHERE c.automatic AND c.retired_at IS NULL AND c.credentials_expire < now::date + 30;
    RETURN QUERY
    SELECT k.code, k.fault IS NULL, coalesce(k.fault, k.fine), CASE WHEN k.fault IS NOT NULL THEN k.advice END
    FROM (VALUES
        ('time_zones', 'the server does not know the time zone ' || minga_roster_internal.some_names(zones.names)
            || ' of ' || minga_roster_internal.some_names(zones.connections),
            'the server knows the time zone of each connection',
            minga_roster_internal.lost_zone_hint(zones.zone, zones.connections[1])),
        ('restored', 'turned on in another database, of which this one is a copy: '
            || minga_roster_internal.some_names(paused.restored),
            'each connection was turned on in this database',
            'Turn on Automatic Rostering for those that are to run here with roster_enable, and off for the others '
                'with roster_disable.'),
        ('paused', 'Automatic Rostering is paused for ' || minga_roster_internal.some_names(paused.stopped),
            'Automatic Rostering is paused for no connection',
            'See blocked_reason in roster_status. When the cause is fixed, call roster_enable.'),
        ('last_success', nullif(concat_ws('; ',
            'no sync succeeded for 36 hours: ' || minga_roster_internal.some_names(late),
            'no sync has ever succeeded: ' || minga_roster_internal.some_names(never)), ''),
            'a sync of each connection succeeded within 36 hours',
            'See last_error and blocked_reason in roster_status, and call roster_test_connection.'),
        ('credentials', 'credentials end within 30 days, or have ended: ' || minga_roster_internal.some_names(ending),
            'no credentials_expire is within 30 days',
            'Ask the SIS administrator for new ones. Set them with roster_set_secret, and the date with '
                'roster_configure(credentials_expire => ...).')
    ) AS k (code, fault, fine, advice);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.connection_checks() IS
'What stops single connections, by their names.';

CREATE FUNCTION minga_roster_internal.do_health(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT h."check", h.ok, minga_roster_internal.readable(h.detail), h.hint
    FROM (
        SELECT * FROM minga_roster_internal.cron_checks()
        UNION ALL SELECT * FROM minga_roster_internal.server_checks()
        UNION ALL SELECT * FROM minga_roster_internal.key_checks()
        UNION ALL SELECT * FROM minga_roster_internal.people_checks()
        UNION ALL SELECT * FROM minga_roster_internal.work_checks()
        UNION ALL SELECT * FROM minga_roster_internal.connection_checks()
    ) h
$$;
COMMENT ON FUNCTION minga_roster_internal.do_health() IS 'Implements roster_health.';

CREATE FUNCTION roster_health(OUT "check" text, OUT ok boolean, OUT detail text, OUT hint text) RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_health() IS
'Checks what stops rostering on this server, a row for each check, always the same ones: pg_cron and its job, whether '
'roster_run_due is called, background workers, key file and secrets, time zones, collations, people relations and '
'publications, queue, locks, mail, and connections that are paused or late. ok is NULL for a check that does not '
'apply. Writes nothing, so it may be called on a standby. No row holds personal data.';

