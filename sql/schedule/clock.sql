-- The clock of the server, watched: history is removed by it, so it has to be right. Must survive a clock that jumps
-- for a minute or for good, a server that slept, a new host, and a copy of the database.

CREATE TABLE minga_roster_internal.clock_seen (
    only_one boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (only_one),
    seen_at timestamptz NOT NULL,
    boot text,
    uptime interval,
    believed_at timestamptz NOT NULL,
    jumped_at timestamptz,
    is_proven boolean NOT NULL DEFAULT false,
    CHECK (jumped_at IS NOT NULL OR NOT is_proven)
) WITH (fillfactor = 50);
COMMENT ON TABLE minga_roster_internal.clock_seen IS
'One row: the time that the worker of roster_run_due found each minute. Never dumped: it tells of this server alone.';
COMMENT ON COLUMN minga_roster_internal.clock_seen.boot IS
'Which start of the operating system it was; NULL if the system does not tell, and under minga_roster.test_clock.';
COMMENT ON COLUMN minga_roster_internal.clock_seen.uptime IS
'How long that system had been up, by a clock that no one can set.';
COMMENT ON COLUMN minga_roster_internal.clock_seen.believed_at IS
'The last time that was not in doubt.';
COMMENT ON COLUMN minga_roster_internal.clock_seen.jumped_at IS
'The time to which the clock jumped, while that is in doubt; NULL otherwise.';
COMMENT ON COLUMN minga_roster_internal.clock_seen.is_proven IS
'The clock was set, since the system was up all the while. Otherwise the server may just have been off.';

CREATE FUNCTION minga_roster_internal.system_uptime(OUT boot text, OUT uptime interval)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_system_uptime';
COMMENT ON FUNCTION minga_roster_internal.system_uptime() IS
'Which start of the operating system this is, and how long ago that was by a clock that no one can set. NULLs if the '
'system does not tell, and under minga_roster.test_clock.';

CREATE FUNCTION minga_roster_internal.watch_clock(now timestamptz, boot text, uptime interval) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    too_far CONSTANT interval := '1 day';
    seen minga_roster_internal.clock_seen;
    is_same_boot boolean;
    step interval;
BEGIN
    SELECT * INTO seen FROM minga_roster_internal.clock_seen FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO minga_roster_internal.clock_seen (seen_at, boot, uptime, believed_at)
        VALUES (now, boot, uptime, now);
        RETURN;
    END IF;
    is_same_boot := coalesce(seen.boot = watch_clock.boot, false);
    -- What the clock went on more than time did; how long time was is known only while the system was up.
    step := now - seen.seen_at - CASE WHEN is_same_boot THEN watch_clock.uptime - seen.uptime ELSE '0' END;
    IF step NOT BETWEEN -too_far AND too_far THEN
        IF seen.jumped_at IS NOT NULL AND now BETWEEN seen.believed_at - too_far AND seen.believed_at + too_far THEN
            RAISE LOG USING MESSAGE = format('the clock of the server is back at %s', now);
            seen.jumped_at := NULL;
        ELSE
            RAISE LOG USING
                MESSAGE = format('the clock of the server jumped from %s to %s', seen.seen_at, now),
                DETAIL = 'minga_roster removes nothing by age until the new time has held for a day.',
                HINT = 'Check the clock, and what sets it.';
            seen.jumped_at := now;
            seen.is_proven := is_same_boot;
        END IF;
        -- What a false time put off for years is due again.
        UPDATE minga_roster.outbox o SET next_attempt_at = now
        WHERE o.state = 'waiting' AND o.next_attempt_at > now + too_far;
    ELSIF now >= seen.jumped_at + too_far THEN
        seen.jumped_at := NULL;
    END IF;
    UPDATE minga_roster_internal.clock_seen c
    SET seen_at = now, boot = watch_clock.boot, uptime = watch_clock.uptime, jumped_at = seen.jumped_at,
        is_proven = seen.jumped_at IS NOT NULL AND seen.is_proven,
        believed_at = CASE WHEN seen.jumped_at IS NULL THEN now ELSE c.believed_at END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.watch_clock(timestamptz, text, interval) IS
'Notes the time, and whether the clock jumped by more than a day since it was noted last. A jump is in doubt until the '
'new time has held for a day, or the old one is back.';

CREATE FUNCTION minga_roster_internal.note_clock() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.watch_clock(minga_roster_internal.clock(), s.boot, s.uptime)
    FROM minga_roster_internal.system_uptime() s
$$;
COMMENT ON FUNCTION minga_roster_internal.note_clock() IS 'watch_clock with the present, once a minute.';

CREATE FUNCTION minga_roster_internal.clock_holds() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT NOT EXISTS (
        SELECT FROM minga_roster_internal.clock_seen c
        WHERE c.jumped_at IS NOT NULL
            OR minga_roster_internal.clock() NOT BETWEEN c.seen_at - interval '1 day' AND c.seen_at + interval '1 day')
$$;
COMMENT ON FUNCTION minga_roster_internal.clock_holds() IS
'Whether the clock is not in doubt, so that what is old by it may be removed or given up.';

CREATE FUNCTION minga_roster_internal.clock_was_set(held interval) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM minga_roster_internal.clock_seen c
        WHERE c.is_proven AND minga_roster_internal.clock() < c.jumped_at + clock_was_set.held)
$$;
COMMENT ON FUNCTION minga_roster_internal.clock_was_set(interval) IS
'Whether the clock was set to another day, and the new time has held for less than this.';

CREATE FUNCTION minga_roster_internal.clock_doubt() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('the clock jumped from %s to %s; nothing is removed by age before %s',
        to_char(c.believed_at, 'YYYY-MM-DD HH24:MI'), to_char(c.jumped_at, 'YYYY-MM-DD HH24:MI'),
        to_char(c.jumped_at + interval '1 day', 'YYYY-MM-DD HH24:MI'))
    FROM minga_roster_internal.clock_seen c WHERE c.jumped_at IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.clock_doubt() IS 'Why the clock is in doubt, in words; NULL if it is not.';
