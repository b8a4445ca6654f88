-- Delta: evenings between full reads request only changes. Must survive a SIS that ignores or rejects the filter, dates
-- in the future, clocks that differ, and a sync that stops halfway: anything uncertain is read in full the next time.

CREATE FUNCTION minga_roster_internal.with_filter(path text, since timestamptz) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    filter CONSTANT text := format('dateLastModified>''%s''', to_char(since AT TIME ZONE 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
BEGIN
    RETURN CASE
        WHEN since IS NULL THEN path
        WHEN path !~ '[?]' THEN format('%s?filter=%s', path, filter)
        WHEN path !~ '[?&]filter=' THEN format('%s&filter=%s', path, filter)
        -- OneRoster combines at most two comparisons.
        WHEN path ~* E'[?&]filter=[^&]*''\\s+(AND|OR)\\s' THEN path
        ELSE regexp_replace(path, '([?&]filter=[^&]*)', format(E'\\1 AND %s', filter))
    END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.with_filter(text, timestamptz) IS
'A path of a preset that also filters by a later dateLastModified; the unchanged path if its own filter leaves no room '
'for that.';

CREATE FUNCTION minga_roster_internal.require_full_read(connection text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.connections c SET newest_modified = NULL
    WHERE c.connection = require_full_read.connection AND c.newest_modified IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.require_full_read(text) IS
'Makes the next evening of a connection with delta read in full, even while a run is running. Called after anything '
'that needs more than the changed rows.';

CREATE FUNCTION minga_roster_internal.begin_read(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(begin_read.run);
    connection minga_roster.connections;
    is_delta boolean;
BEGIN
    SELECT * INTO connection FROM minga_roster.connections c WHERE c.connection = this.connection FOR UPDATE;
    IF NOT connection.delta OR this.kind <> 'sync' THEN
        RETURN;
    END IF;
    -- The filter was rejected (and the SIS not just down) if a delta got an answer that a full read does not get.
    IF (SELECT r.is_full IS FALSE AND r.state = 'failed' AND r.sqlstate = '08P01' FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.kind = 'sync' AND r.run < this.run ORDER BY r.run DESC LIMIT 1)
    THEN
        connection.filter_unusable := true;
    END IF;
    is_delta := this.trigger = 'evening' AND NOT connection.unproven AND NOT connection.filter_unusable
        AND coalesce(isfinite(connection.newest_modified)
            AND this.evening - connection.full_read_on < connection.full_every, false);
    IF is_delta THEN
        UPDATE minga_roster.runs r SET is_full = false,
            modified_since = connection.newest_modified - minga_roster_internal.delta_overlap()
        WHERE r.run = this.run;
    END IF;
    -- end_read restores it: after a run that did not end well, everything is read.
    UPDATE minga_roster.connections c SET newest_modified = '-infinity', filter_unusable = connection.filter_unusable
    WHERE c.connection = this.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.begin_read(bigint) IS
'Decides whether the run is a delta, and stores that in its row. Evening syncs of a connection with delta are, except '
'the first of full_every evenings, those of an unproven connection, the evening after changed settings or a sync that '
'did not end well, and those of a SIS that cannot filter.';

CREATE FUNCTION minga_roster_internal.delta_overlap() RETURNS interval
LANGUAGE sql IMMUTABLE RETURN interval '1 day';
COMMENT ON FUNCTION minga_roster_internal.delta_overlap() IS
'How far before the newest known dateLastModified a delta asks: for rows that were saved late, and for servers that '
'treat the time as local.';

CREATE FUNCTION minga_roster_internal.filter_is_ignored(run bigint, collection text, family text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(filter_is_ignored.run);
    -- A server may truncate the requested time to the day, or shift it by its time zone.
    too_old text := to_char((this.modified_since - interval '1 day') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS');
    is_ignored boolean;
    part record;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM minga_roster.%I s WHERE s.connection = $1 AND s.collection = $2 '
        'AND s.date_last_modified COLLATE "C" < $3 COLLATE "C")', minga_roster_internal.stage_of(family))
    INTO is_ignored USING this.connection, filter_is_ignored.collection, too_old;
    IF NOT is_ignored THEN
        RETURN false;
    END IF;
    UPDATE minga_roster.connections c SET filter_unusable = true WHERE c.connection = this.connection;
    FOR part IN SELECT p.* FROM minga_roster_internal.stage_partitions(this.connection, false) p
        WHERE p.parent <> 'staged_orgs' LOOP
        EXECUTE format('DELETE FROM %s', part.partition);
    END LOOP;
    DELETE FROM minga_roster.collections c WHERE c.run = this.run;
    UPDATE minga_roster.runs r SET is_full = NULL, rows_staged = 0, rows_expected = NULL WHERE r.run = this.run;
    RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.filter_is_ignored(bigint, text, text) IS
'Whether a delta received rows of the collection that are older than requested. If so, this run becomes a full read, '
'and so do later ones.';

CREATE FUNCTION minga_roster_internal.settle_read(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(settle_read.run);
BEGIN
    PERFORM minga_roster_internal.mark_incomplete(run);
    IF this.is_full IS NOT NULL THEN
        RETURN;
    END IF;
    UPDATE minga_roster.runs r SET is_full = true WHERE r.run = this.run;
    IF this.modified_since IS NOT NULL THEN
        UPDATE minga_roster.collections c SET detail = concat_ws(' ', c.detail,
            'The SIS ignored the filter on dateLastModified: asked again without it.')
        FROM minga_roster_internal.collections_to_read(this.connection, this.modified_since) f
        WHERE c.run = this.run AND f.collection = c.collection AND f.filtered;
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_read(bigint) IS
'Marks a run as full if it is not a delta, and as incomplete if a collection was not proved complete.';

CREATE FUNCTION minga_roster_internal.end_read(run runs) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    connection minga_roster.connections := minga_roster_internal.known_connection(run.connection);
    newest timestamptz := run.modified_since + minga_roster_internal.delta_overlap();
    read_whole boolean;
    links_wait boolean;
    updates_wait boolean;
BEGIN
    -- Settings that changed during the run (NULL) still apply to the next run.
    IF NOT connection.delta OR connection.newest_modified IS NULL THEN
        RETURN;
    END IF;
    SELECT bool_and(c.complete) INTO read_whole FROM minga_roster.collections c WHERE c.run = end_read.run.run;
    SELECT coalesce(bool_or(h.action = 'link'), false),
        coalesce(bool_or(h.action = 'update' OR h.state_cause = 'new_site'), false)
    INTO links_wait, updates_wait
    FROM minga_roster.changes h WHERE h.run = end_read.run.run AND h.state = 'held';
    read_whole := read_whole AND NOT links_wait AND NOT updates_wait;
    IF read_whole THEN
        -- Dates in the future are mistakes, and would hide changes until then.
        SELECT greatest(newest, max(s.date_last_modified COLLATE "C")::timestamptz) INTO newest
        FROM minga_roster.staged_users s
        WHERE s.connection = run.connection
            AND s.date_last_modified COLLATE "C" < to_char(minga_roster_internal.clock() AT TIME ZONE 'UTC',
                'YYYY-MM-DD"T"HH24:MI:SS') COLLATE "C";
    -- A delta would see only some of the people whose updates are held, and take a change of everyone for a change of
    -- few.
    ELSIF run.is_full OR updates_wait THEN
        newest := '-infinity';
    END IF;
    UPDATE minga_roster.connections c
    SET newest_modified = newest,
        full_read_on = CASE WHEN run.is_full THEN coalesce(run.evening,
            (minga_roster_internal.clock() AT TIME ZONE c.time_zone)::date) ELSE c.full_read_on END
    WHERE c.connection = run.connection;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.end_read(runs) IS
'At the end of a sync of a connection with delta: stores the newest dateLastModified, from which the next delta asks. '
'If a collection was not read completely, a delta leaves it unchanged, and a full read makes the next evening read in '
'full; so do links held for roster_relink, and held updates in any case.';
