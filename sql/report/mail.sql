-- The mail of a run, and the outbox as outbox.c works it.

CREATE FUNCTION minga_roster_internal.mail_footer(facts minga_roster_internal.report_facts, recipient recipients)
    RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('You get this mail because %s is a recipient for %s: %s%s. To change or stop this, ask the database '
        'administrator, who uses roster_notify. SIS means the school''s student information system.',
        (recipient).email,
        facts.place,
        CASE (recipient).send WHEN 'always' THEN 'every evening sync' WHEN 'changes'
            THEN 'evening syncs that change something or need a decision'
            ELSE 'evening syncs that need a decision' END,
        CASE WHEN (recipient).manual THEN ', and runs started by hand' ELSE '' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_footer(minga_roster_internal.report_facts, recipients) IS
'Why a recipient gets mail, and how to change that.';

CREATE FUNCTION minga_roster_internal.post_report(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs;
    facts minga_roster_internal.report_facts;
    wants text[];
BEGIN
    SELECT * INTO reported FROM minga_roster.runs r WHERE r.run = post_report.run;
    IF NOT FOUND OR reported.state IN ('queued', 'running') OR reported.reported THEN
        RETURN;
    END IF;
    facts := minga_roster_internal.facts_of(reported.run);
    IF facts.retry_at IS NOT NULL THEN
        RETURN;
    END IF;
    IF minga_roster_internal.pause_after_failures(reported) THEN
        facts := minga_roster_internal.facts_of(reported.run);
    END IF;
    IF reported.trigger = 'evening' OR reported.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        wants := ARRAY['always'] || CASE
            WHEN minga_roster_internal.is_problem(facts) OR facts.recovered THEN ARRAY['problems', 'changes']
            WHEN facts.done <> '[]' THEN ARRAY['changes'] ELSE '{}' END;
        INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at,
            created_at, origin, site)
        SELECT reported.run, reported.connection, p.email, m.subject,
            minga_roster_internal.readable_lines(m.report || E'\n-- \n'
                || array_to_string(minga_roster_internal.wrapped(p.footer, 78), E'\n') || E'\n'),
            minga_roster_internal.readable_lines(minga_roster_internal.html_page(m.subject, m.body,
                minga_roster_internal.html_escaped(p.footer))),
            minga_roster_internal.clock(), minga_roster_internal.clock(), m.origin, reported.site
        FROM (SELECT r.email, minga_roster_internal.mail_footer(facts, r) AS footer
              FROM minga_roster.recipients r
              JOIN minga_roster.connections c USING (connection)
              WHERE r.connection = reported.connection AND c.site = reported.site AND r.send = ANY (wants)
                  AND (reported.trigger = 'evening' OR r.manual)
                  AND coalesce(c.enabled_origin,
                      minga_roster_internal.server_origin()) = minga_roster_internal.server_origin()) p
        CROSS JOIN (SELECT minga_roster_internal.report_subject(reported.run) AS subject,
                        minga_roster_internal.report_text(reported.run) AS report,
                        minga_roster_internal.report_body(reported.run) AS body,
                            minga_roster_internal.server_origin() AS origin
                    OFFSET 0) m
        ON CONFLICT ON CONSTRAINT outbox_run_email_key DO NOTHING;
    END IF;
    UPDATE minga_roster.runs r SET reported = true WHERE r.run = reported.run;
EXCEPTION
    WHEN OTHERS THEN
        -- A report that cannot be written must not keep a run from being closed. The message is not shown, because it
        -- could hold personal values.
        RAISE WARNING USING MESSAGE = format('could not write the report of run %s', run),
            DETAIL = format('SQLSTATE %s.', SQLSTATE);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.post_report(bigint) IS
'Writes the mail of a finished run for its recipients. After an evening run: always, on problems and on the first '
'success after a failure, or on changes. After a manual sync, approval, apply or undo: for recipients who asked for '
'that. No mail is written for a failure that will be tried again, nor on a restored copy. Never raises an error; a '
'second call does nothing.';

CREATE FUNCTION minga_roster_internal.claim_mail() RETURNS SETOF outbox
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET attempts = o.attempts + 1,
        next_attempt_at = minga_roster_internal.clock() + make_interval(mins => (ARRAY[1, 5, 15,
            60])[least(o.attempts + 1, 4)])
    WHERE o.mail = (SELECT w.mail FROM minga_roster.outbox w
                    WHERE w.state = 'waiting' AND w.next_attempt_at <= minga_roster_internal.clock()
                        AND w.origin = minga_roster_internal.server_origin()
                    ORDER BY w.next_attempt_at, w.mail LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_mail() IS
'Takes the mail that has been due longest and sets its next attempt in 1, 5, 15 and then 60 minutes, in case this one '
'does not finish. Mail written on another server is left alone.';

CREATE FUNCTION minga_roster_internal.mark_mail(mail bigint, is_sent boolean, is_refused boolean, error text)
    RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET state = CASE WHEN is_sent THEN 'sent'
                     WHEN is_refused OR (o.created_at < minga_roster_internal.clock() - interval '5 days'
                         AND minga_roster_internal.clock_holds()) THEN 'failed'
                     ELSE 'waiting' END,
        sent_at = CASE WHEN is_sent THEN minga_roster_internal.clock() END,
        last_error = mark_mail.error
    WHERE o.mail = mark_mail.mail
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_mail(bigint, boolean, boolean, text) IS
'Records the result of an attempt: sent; failed, if the mail server rejected the mail for good or it is five days old; '
'otherwise waiting for the next attempt.';

CREATE FUNCTION minga_roster_internal.mail_settings_missing() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg('minga_roster.' || s.name, ' and ')
    FROM (VALUES ('smtp_url'), ('smtp_from')) AS s (name) WHERE coalesce(minga_roster_internal.setting(s.name), '') = ''
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_settings_missing() IS
'The settings needed to send mail that are not set; NULL if all are set.';

CREATE FUNCTION minga_roster_internal.write_test_mail(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(write_test_mail.run);
    missing text := minga_roster_internal.mail_settings_missing();
    subject text := minga_roster_internal.readable(format('%s: test mail', this.connection));
    body text;
BEGIN
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'mail cannot be sent yet',
            DETAIL = format('Not set: %s.', missing),
            HINT = 'Set them with ALTER SYSTEM, then run SELECT pg_reload_conf(). docs/operations.md has an example.';
    END IF;
    body := format('This is a test mail. Roster reports for "%s" will reach this address.', this.connection);
    INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at,
        created_at, origin, site)
    SELECT this.run, this.connection, r.email, subject, body || E'\n',
        minga_roster_internal.readable_lines(minga_roster_internal.html_page(subject,
            minga_roster_internal.html_text(body), '')),
        -- Ahead of other mail: the caller waits for the result.
        '-infinity', minga_roster_internal.clock(), minga_roster_internal.server_origin(), this.site
    FROM minga_roster.recipients r
    WHERE r.connection = this.connection AND r.send <> 'never';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no recipient', this.connection),
            DETAIL = 'Its reports are not mailed to anyone.',
            HINT = format('Add one: SELECT minga_roster.roster_notify(%L, ''it@school.example'').', this.connection);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_test_mail(bigint) IS
'Writes a test mail to each recipient of the run''s connection, except those with send "never". 55000 if no mail '
'server is set or there is no recipient.';

CREATE FUNCTION minga_roster_internal.end_test_mail(run bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    -- A test ends after one attempt. A fault of the mail server is the same for every recipient, so it is met only
    -- once.
    UPDATE minga_roster.outbox o
    SET state = 'failed', last_error = coalesce(o.last_error, t.last_error)
    FROM (SELECT max(w.last_error) AS last_error FROM minga_roster.outbox w WHERE w.run = end_test_mail.run) t
    WHERE o.run = end_test_mail.run AND o.state = 'waiting'
$$;
COMMENT ON FUNCTION minga_roster_internal.end_test_mail(bigint) IS
'Gives up the test mail of a run that was not sent, with the error.';

CREATE FUNCTION roster_send_test_mail(connection text, OUT email text, OUT ok boolean,
    OUT error text) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_send_test_mail';
COMMENT ON FUNCTION roster_send_test_mail(text) IS
'Sends a test mail to each recipient of the connection, except those with send "never", and returns the results; error '
'has the mail server''s own words. A background worker sends it. 42704 for an unknown connection, 55000 if '
'minga_roster.smtp_url or smtp_from is not set or there is no recipient, 25001 inside a transaction block.';
