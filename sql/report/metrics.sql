-- Figures for monitoring: one row for each figure and label. They hold names of connections and numbers, and no
-- personal data. What is of the whole server is for those who may call roster_health.

CREATE FUNCTION minga_roster_internal.sees_health() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.is_dba(minga_roster_internal.caller())
    OR has_function_privilege(minga_roster_internal.caller(), 'minga_roster.roster_health()', 'EXECUTE');
COMMENT ON FUNCTION minga_roster_internal.sees_health() IS
'Whether the caller may call roster_health, which the DBA grants to roles of monitoring: they see the figures of all '
'sites and of the server.';

CREATE FUNCTION minga_roster_internal.server_figures(OUT figure text, OUT label text, OUT value double precision)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'health', h."check", h.ok::integer FROM minga_roster_internal.do_health() h WHERE h.ok IS NOT NULL
    UNION ALL
    SELECT 'heartbeat_age_seconds', '', extract(epoch FROM clock_timestamp() - b.beat_at)
    FROM minga_roster_internal.heartbeat b
    UNION ALL
    SELECT v.figure, '', v.value
    FROM (SELECT count(*) FILTER (WHERE r.state = 'queued') AS queued,
              count(*) FILTER (WHERE r.state = 'running') AS running,
              coalesce(extract(epoch FROM minga_roster_internal.clock()
                  - min(r.queued_at) FILTER (WHERE r.state = 'queued')), 0) AS oldest
          FROM minga_roster.runs r WHERE r.state IN ('queued', 'running')) q
    CROSS JOIN LATERAL (VALUES ('runs_queued', q.queued), ('runs_running', q.running),
        ('runs_queued_oldest_seconds', q.oldest),
        ('max_workers', minga_roster_internal.setting('max_workers')::numeric)) v (figure, value)
    UNION ALL
    SELECT v.figure, '', v.value
    FROM (SELECT count(*) FILTER (WHERE o.state = 'waiting') AS waiting,
              coalesce(extract(epoch FROM minga_roster_internal.clock()
                  - min(o.created_at) FILTER (WHERE o.state = 'waiting')), 0) AS oldest
          FROM minga_roster.outbox o
          WHERE o.state = 'waiting' AND o.origin = minga_roster_internal.server_origin()) m
    CROSS JOIN LATERAL (VALUES ('mail_waiting', m.waiting), ('mail_waiting_oldest_seconds', m.oldest),
        ('mail_server_failing', (SELECT count(*) FROM minga_roster_internal.mail_server)))
        v (figure, value)
$$;
COMMENT ON FUNCTION minga_roster_internal.server_figures() IS 'The figures of the whole server.';

CREATE FUNCTION minga_roster_internal.do_metrics(OUT figure text, OUT label text, OUT value double precision,
    OUT site text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    sees_all CONSTANT boolean := minga_roster_internal.sees_health();
BEGIN
    IF sees_all THEN
        RETURN QUERY SELECT f.figure, f.label, f.value, NULL::text FROM minga_roster_internal.server_figures() f;
    END IF;
    RETURN QUERY
    SELECT v.figure, c.connection, v.value::double precision, c.site
    FROM minga_roster.connections c
    LEFT JOIN LATERAL (
        SELECT r.* FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.kind = 'sync' AND r.finished_at IS NOT NULL
        ORDER BY r.run DESC LIMIT 1
    ) l ON l.site = c.site
    LEFT JOIN LATERAL (
        SELECT r.* FROM minga_roster.runs r
        WHERE r.connection = c.connection AND r.kind = 'sync' AND r.state = 'succeeded'
        ORDER BY r.run DESC LIMIT 1
    ) g ON g.site = c.site
    LEFT JOIN LATERAL (
        SELECT sum(o.listed) AS listed, sum(o.added) AS added, sum(o.changed) AS changed, sum(o.returned) AS returned,
            sum(o.ended) AS ended
        FROM minga_roster.run_objects o WHERE o.run = g.run AND o.object <> 'user'
    ) o ON true
    LEFT JOIN (
        SELECT r.connection, r.site, count(*) AS changes
        FROM (SELECT c.run FROM minga_roster.changes c WHERE c.state = 'held'
              UNION ALL SELECT o.run FROM minga_roster.held_objects o) h JOIN minga_roster.runs r ON r.run = h.run
        GROUP BY r.connection, r.site
    ) h ON h.connection = c.connection AND h.site = c.site
    CROSS JOIN LATERAL (VALUES
        ('automatic', c.automatic::integer::numeric),
        ('paused', (c.automatic AND (c.paused_cause IS NOT NULL
            OR c.enabled_origin IS DISTINCT FROM minga_roster_internal.server_origin()))::integer),
        ('unproven', c.unproven::integer),
        ('last_success_timestamp_seconds', coalesce(extract(epoch FROM g.finished_at), 0)),
        ('last_sync_failed', (l.state IS NOT NULL AND l.state <> 'succeeded')::integer),
        ('last_sync_duration_seconds', extract(epoch FROM g.finished_at - g.started_at)),
        ('last_sync_rows', g.rows_staged),
        ('last_sync_created', g.created), ('last_sync_updated', g.updated), ('last_sync_restored', g.restored),
        ('last_sync_archived', g.archived), ('last_sync_conflicts', g.conflicts), ('last_sync_rejects', g.rejects),
        ('last_sync_objects', o.listed), ('last_sync_objects_added', o.added),
        ('last_sync_objects_changed', o.changed), ('last_sync_objects_returned', o.returned),
        ('last_sync_objects_ended', o.ended),
        ('held', coalesce(h.changes, 0)),
        ('credentials_left_seconds', extract(epoch FROM c.credentials_expire - minga_roster_internal.clock()))
    ) v (figure, value)
    WHERE c.retired_at IS NULL AND v.value IS NOT NULL
        AND (sees_all OR c.site IN (SELECT minga_roster_internal.caller_sites()));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_metrics() IS 'Implements metrics.';

CREATE FUNCTION minga_roster_internal.metrics(OUT figure text, OUT label text, OUT value double precision,
    OUT site text)
RETURNS SETOF record
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION minga_roster_internal.metrics() IS
'The rows of the view roster_metrics, read with the rights of the extension''s owner.';

CREATE VIEW roster_metrics WITH (security_invoker = true) AS
    SELECT figure, label, value, site FROM minga_roster_internal.metrics();
COMMENT ON VIEW roster_metrics IS
'Figures for monitoring, one row for each figure and label: of the connections at whose sites the current user has a '
'level; for a role that may call roster_health, of all connections and of the server. Holds no personal data.';
COMMENT ON COLUMN roster_metrics.figure IS
'What is counted or measured; those that end with _seconds are in seconds, with _timestamp_seconds since 1970.';
COMMENT ON COLUMN roster_metrics.label IS
'The connection; for health the check of roster_health; empty for other figures of the server.';
COMMENT ON COLUMN roster_metrics.value IS 'The number. For health and for what is or is not so: 1 or 0.';
COMMENT ON COLUMN roster_metrics.site IS 'The site of the connection; NULL for figures of the server.';

