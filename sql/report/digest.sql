-- The digest of a district: one mail an evening, a line for each site, once all its evenings are over. Counts and
-- states alone.

CREATE FUNCTION minga_roster_internal.require_district(function name, district text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF district IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no district was given',
            HINT = 'List the districts: SELECT DISTINCT district FROM minga_roster.roster_district_status.';
    END IF;
    IF NOT minga_roster_internal.manages(minga_roster_internal.caller(), district) THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for district "%s"', district),
            DETAIL = format('Either it does not exist, or "%s" lacks the level "district_manager" there, which %s '
                'requires.', minga_roster_internal.caller(), function),
            HINT = format('Ask the DBA for the level: SELECT minga_roster.roster_grant(%L, ''district_manager'', '
                'district => ''...'').', minga_roster_internal.caller());
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_district(name, text) IS
'Raises 42501 unless the caller manages the district, in the same words whether it exists or not.';

CREATE FUNCTION minga_roster_internal.do_notify_district(district text, email text, send text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_district('roster_notify_district', district);
    IF NOT EXISTS (SELECT FROM minga_roster.connections c
        WHERE c.district = do_notify_district.district AND c.retired_at IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('no connection is in district "%s"', district),
            HINT = 'List the districts: SELECT DISTINCT district FROM minga_roster.roster_district_status.';
    END IF;
    PERFORM minga_roster_internal.check_email(email, 'roster_notify_district');
    IF send IS NULL OR send NOT IN ('always', 'problems', 'never') THEN
        PERFORM minga_roster_internal.refuse_parameter('send', send,
            'Valid values are "always", "problems" and "never".',
            'Use "problems" for evenings on which a site needs someone, "never" to keep the address and send nothing.');
    END IF;
    DELETE FROM minga_roster.district_recipients r
    WHERE r.district = do_notify_district.district AND lower(r.email) = lower(do_notify_district.email);
    INSERT INTO minga_roster.district_recipients (district, email, send)
    VALUES (do_notify_district.district, do_notify_district.email, do_notify_district.send);
    IF send <> 'never' THEN
        PERFORM minga_roster_internal.warn_of_mail_settings();
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_notify_district(text, text, text) IS 'Implements roster_notify_district.';

CREATE FUNCTION roster_notify_district(district text, email text, send text DEFAULT 'always') RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_notify_district(text, text, text) IS
'Adds or changes a recipient of a district''s digest: one mail an evening, a line for each site, once all its evenings '
'are over. send: "always", "problems" if a site failed or needs a decision, "never". A WARNING says if '
'minga_roster.smtp_url or smtp_from is not set. For district managers and the DBA. 42704 for a district without a '
'connection, 22023 for a bad address or an unknown send.';

CREATE FUNCTION minga_roster_internal.do_remove_district_recipient(district text, email text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM minga_roster_internal.require_district('roster_remove_district_recipient', district);
    DELETE FROM minga_roster.district_recipients r
    WHERE r.district = do_remove_district_recipient.district
        AND lower(r.email) = lower(do_remove_district_recipient.email);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is not a recipient of district "%s"', left(email, 100), district),
            HINT = format('List the recipients: SELECT email FROM minga_roster.district_recipients '
                'WHERE district = %L.', district);
    END IF;
    -- Waiting mail was meant for them too.
    DELETE FROM minga_roster.outbox o
    WHERE o.district = do_remove_district_recipient.district
        AND lower(o.email) = lower(do_remove_district_recipient.email) AND o.state = 'waiting';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_remove_district_recipient(text, text) IS
'Implements roster_remove_district_recipient.';

CREATE FUNCTION roster_remove_district_recipient(district text, email text) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_remove_district_recipient(text, text) IS
'Removes an address from the recipients of a district''s digest, with its waiting mail. For district managers and the '
'DBA. 42704 for an address that is not a recipient.';

CREATE FUNCTION minga_roster_internal.digest_lines(district text, evening date, OUT site text, OUT place text,
    OUT state text, OUT needs_someone boolean, OUT words text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH told AS (
        SELECT c.site, c.school_name, c.number, r.state, r.incomplete, coalesce(r.created, 0) AS created,
            coalesce(r.updated, 0) AS updated, coalesce(r.restored, 0) AS restored, coalesce(r.archived, 0) AS archived,
            coalesce(r.held, 0) + coalesce((SELECT sum(o.held) FROM minga_roster.run_objects o WHERE o.run = r.run), 0)
                AS held, coalesce(r.conflicts, 0) AS conflicts, coalesce(r.rejects, 0) AS rejects,
            CASE WHEN r.run IS NULL AND c.automatic AND c.paused_cause IS NOT NULL THEN 'paused'
                WHEN r.run IS NULL THEN 'off' WHEN r.state_cause = 'evening_missed' THEN 'missed'
                WHEN r.state = 'succeeded' AND r.incomplete THEN 'incomplete' ELSE r.state END AS code,
            CASE WHEN r.state = 'failed' THEN minga_roster_internal.failure_cause(r.sqlstate, r.phase) END AS cause
        FROM minga_roster.connections c
        LEFT JOIN LATERAL (
            SELECT * FROM minga_roster.runs t
            WHERE t.connection = c.connection AND t.evening = digest_lines.evening
            ORDER BY t.run DESC LIMIT 1
        ) r ON r.site = c.site
        WHERE c.district = digest_lines.district AND c.retired_at IS NULL
    ), sites AS (
        SELECT t.site, min(coalesce(t.school_name, t.site)) AS place,
            (array_agg(t.code ORDER BY array_position(ARRAY['missed', 'failed', 'paused', 'canceled', 'incomplete',
                'succeeded', 'running', 'queued', 'off'], t.code), t.number))[1] AS code,
            min(t.cause) AS cause, sum(t.created) AS created, sum(t.updated) AS updated, sum(t.restored) AS restored,
            sum(t.archived) AS archived, sum(t.held) AS held, sum(t.conflicts) AS conflicts, sum(t.rejects) AS rejects
        FROM told t GROUP BY t.site
    )
    SELECT s.site, minga_roster_internal.readable(minga_roster_internal.cut(s.place, 60)), s.code,
        s.code IN ('missed', 'failed', 'paused', 'canceled', 'incomplete') OR s.held + s.conflicts + s.rejects > 0,
        coalesce((
            SELECT string_agg(w.words, ', ' ORDER BY w.place)
            FROM (VALUES
                (1, s.code = 'missed', 'evening missed'),
                (1, s.code = 'failed', 'failed: ' || (SELECT f.short FROM minga_roster_internal.failure_words() f
                    WHERE f.cause = s.cause)),
                (1, s.code = 'paused', 'paused'),
                (1, s.code = 'canceled', 'canceled'),
                (1, s.code = 'off', 'no evening sync'),
                (1, s.code IN ('running', 'queued'), 'not finished'),
                (1, s.code = 'incomplete', 'not read completely'),
                (2, s.held > 0, minga_roster_internal.figure(s.held::bigint) || ' on hold'),
                (3, s.conflicts > 0, minga_roster_internal.figures(s.conflicts::bigint, 'conflict')),
                (4, s.rejects > 0, minga_roster_internal.figures(s.rejects::bigint, 'rejected row')),
                (5, s.created > 0, minga_roster_internal.figure(s.created::bigint) || ' added'),
                (6, s.updated > 0, minga_roster_internal.figure(s.updated::bigint) || ' updated'),
                (7, s.restored > 0, minga_roster_internal.figure(s.restored::bigint) || ' restored'),
                (8, s.archived > 0, minga_roster_internal.figure(s.archived::bigint) || ' archived')
            ) AS w (place, is_so, words)
            WHERE w.is_so), 'nothing to do')
    FROM sites s
$$;
COMMENT ON FUNCTION minga_roster_internal.digest_lines(text, date) IS
'The lines of a digest: for each site of the district how its evening ended and what it changed, in counts. state: '
'missed, failed, paused, canceled, incomplete, succeeded, running, queued, or off if no evening sync is due there.';

CREATE FUNCTION minga_roster_internal.digest_section(lines text[], heading text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN lines IS NULL THEN ''
        ELSE format(E'%s\n', heading) || string_agg(minga_roster_internal.text_item(l.line, '- ', width), ''
            ORDER BY l.place) || E'\n' END
    FROM unnest(lines) WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.digest_section(text[], text, integer) IS
'A heading and its lines as text; empty without lines.';

CREATE FUNCTION minga_roster_internal.digest_html(lines text[], heading text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN lines IS NULL THEN ''
        ELSE minga_roster_internal.html_heading(heading)
            || string_agg(minga_roster_internal.html_text(l.line), E'\n' ORDER BY l.place) END
    FROM unnest(lines) WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.digest_html(text[], text) IS
'A heading and its lines as HTML; empty without lines.';

CREATE FUNCTION minga_roster_internal.write_digest(district text, evening date) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    needing text[];
    fine text[];
    day text := minga_roster_internal.day_in_words(evening);
    mail_subject text;
    intro text;
    mail_text text;
    mail_html text;
BEGIN
    INSERT INTO minga_roster.district_digests (district, evening, written_at)
    VALUES (write_digest.district, write_digest.evening, now);
    SELECT array_agg(l.line ORDER BY l.place, l.site) FILTER (WHERE l.needs_someone),
        array_agg(l.line ORDER BY l.place, l.site) FILTER (WHERE NOT l.needs_someone)
    INTO needing, fine
    FROM (
        SELECT d.site, d.place, d.needs_someone,
            format('%s: %s', CASE d.place WHEN d.site THEN d.site ELSE format('%s (%s)', d.place, d.site) END,
                d.words) AS line
        FROM minga_roster_internal.digest_lines(write_digest.district, write_digest.evening) d
    ) l;
    mail_subject := minga_roster_internal.readable(format('District %s: %s', minga_roster_internal.cut(
        write_digest.district, 60),
        CASE WHEN needing IS NULL
            THEN minga_roster_internal.figures(coalesce(cardinality(fine), 0), 'site') || ', no action needed'
            ELSE format('%s of %s', minga_roster_internal.figure(cardinality(needing)),
                minga_roster_internal.figures(cardinality(needing) + coalesce(cardinality(fine), 0), 'site'))
                || CASE cardinality(needing) WHEN 1 THEN ' needs' ELSE ' need' END || ' someone' END));
    intro := format('This is the evening of %s in district %s.', day, write_digest.district);
    mail_text := array_to_string(minga_roster_internal.wrapped(intro, 78), E'\n') || E'\n\n'
        || minga_roster_internal.digest_section(needing, 'Sites that need someone', 78)
        || minga_roster_internal.digest_section(fine, 'No action needed', 78);
    mail_html := minga_roster_internal.html_text(intro)
        || minga_roster_internal.digest_html(needing, 'Sites that need someone')
        || minga_roster_internal.digest_html(fine, 'No action needed');
    INSERT INTO minga_roster.outbox (district, email, subject, body_text, body_html, next_attempt_at, created_at,
        origin)
    SELECT write_digest.district, r.email, mail_subject,
        minga_roster_internal.readable_lines(mail_text || E'-- \n'
            || array_to_string(minga_roster_internal.wrapped(f.footer, 78), E'\n') || E'\n'),
        minga_roster_internal.readable_lines(minga_roster_internal.html_page(mail_subject, mail_html,
            minga_roster_internal.html_escaped(f.footer))),
        now, now, minga_roster_internal.server_origin()
    FROM minga_roster.district_recipients r
    CROSS JOIN LATERAL (SELECT format('You get this mail because %s is a recipient for district %s: %s. To change or '
        'stop this, ask the database administrator, who uses roster_notify_district. The reports of each site have '
        'the details.', r.email, r.district, CASE r.send WHEN 'always' THEN 'one mail an evening'
        ELSE 'evenings on which a site needs someone' END) AS footer) f
    WHERE r.district = write_digest.district AND (r.send = 'always' OR (r.send = 'problems' AND needing IS NOT NULL))
    ORDER BY r.email;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_digest(text, date) IS
'Writes the digest of a district''s evening for its recipients.';

CREATE FUNCTION minga_roster_internal.write_digests() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    due record;
BEGIN
    -- Whether there is anything to tell is found out by recent runs alone, since this is asked each minute.
    IF NOT EXISTS (SELECT FROM minga_roster.district_recipients r WHERE r.send <> 'never') OR NOT EXISTS (
        SELECT FROM minga_roster.runs r
        WHERE r.queued_at > now - interval '3 days' AND r.trigger = 'evening' AND r.finished_at IS NOT NULL
            AND EXISTS (SELECT FROM minga_roster.district_recipients p WHERE p.district = r.district)
            AND NOT EXISTS (SELECT FROM minga_roster.district_digests d
                WHERE d.district = r.district AND d.evening >= r.evening)) THEN
        RETURN;
    END IF;
    FOR due IN
        -- The latest evening that has begun at every site. Five minutes after its end a missed one is on record.
        WITH here AS (
            SELECT c.connection, c.site, c.district, e.evening, e.closes, e.is_taken, e.tries, e.retry_at,
                min(e.evening) OVER (PARTITION BY c.district) AS told
            FROM minga_roster_internal.evenings() e
            JOIN minga_roster.connections c USING (connection)
            WHERE e.runs_here AND e.evening IS NOT NULL
                AND c.district IN (SELECT r.district FROM minga_roster.district_recipients r WHERE r.send <> 'never')
        )
        SELECT h.district, h.told AS evening
        FROM here h
        WHERE NOT EXISTS (SELECT FROM minga_roster.district_digests d
            WHERE d.district = h.district AND d.evening >= h.told)
        GROUP BY h.district, h.told
        HAVING bool_and(h.evening > h.told OR h.closes + interval '5 minutes' <= now
                OR ((h.is_taken OR (h.tries > 0 AND h.retry_at IS NULL))
                    AND NOT EXISTS (SELECT FROM minga_roster.runs r
                        WHERE r.connection = h.connection AND r.state IN ('queued', 'running')
                            AND r.evening = h.evening)))
            AND bool_or(EXISTS (SELECT FROM minga_roster.runs r
                WHERE r.connection = h.connection AND r.site = h.site AND r.evening = h.told))
        ORDER BY h.district
    LOOP
        PERFORM minga_roster_internal.write_digest(due.district, due.evening);
    END LOOP;
    DELETE FROM minga_roster.district_digests d
    WHERE d.written_at < now - make_interval(days => minga_roster_internal.setting('keep_runs')::integer);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_digests() IS
'Writes the digests of districts whose evenings are over at every site: done, failed for good, or their time is up.';
