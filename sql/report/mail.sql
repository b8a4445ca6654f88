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
            WHEN 'failures' THEN 'evening syncs that fail, are missed or do not read the roster completely'
            WHEN 'decisions' THEN 'evening syncs that need a decision'
            ELSE 'evening syncs that fail or need a decision' END,
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
    IF reported.state = 'succeeded' AND NOT EXISTS (SELECT FROM minga_roster.recipients r
        WHERE r.connection = reported.connection AND (reported.trigger = 'evening' OR r.manual))
    THEN
        UPDATE minga_roster.runs r SET reported = true WHERE r.run = reported.run;
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
            WHEN facts.done <> '[]' OR facts.done_to_objects IS NOT NULL THEN ARRAY['changes'] ELSE '{}' END
            || CASE WHEN minga_roster_internal.is_failure(facts) OR facts.recovered THEN ARRAY['failures']
                ELSE '{}' END
            || CASE WHEN minga_roster_internal.is_decision(facts) THEN ARRAY['decisions'] ELSE '{}' END;
        INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at,
            created_at, origin, site)
        WITH p AS MATERIALIZED (
            SELECT r.email, minga_roster_internal.mail_footer(facts, r) AS footer
            FROM minga_roster.recipients r
            JOIN minga_roster.connections c USING (connection)
            WHERE r.connection = reported.connection AND c.site = reported.site AND r.send = ANY (wants)
                AND (reported.trigger = 'evening' OR r.manual)
                AND coalesce(c.enabled_origin,
                    minga_roster_internal.server_origin()) = minga_roster_internal.server_origin()
        ), m AS MATERIALIZED (
            -- The report is made once, however many get it, and not at all for no one.
            SELECT minga_roster_internal.report_subject(reported.run) AS subject,
                minga_roster_internal.report_text(reported.run) AS report,
                minga_roster_internal.report_body(reported.run) AS body,
                minga_roster_internal.server_origin() AS origin
            FROM (SELECT FROM p LIMIT 1) any_one
        )
        SELECT reported.run, reported.connection, p.email, m.subject,
            minga_roster_internal.readable_lines(m.report || E'\n-- \n'
                || array_to_string(minga_roster_internal.wrapped(p.footer, 78), E'\n') || E'\n'),
            minga_roster_internal.readable_lines(minga_roster_internal.html_page(m.subject, m.body,
                minga_roster_internal.html_escaped(p.footer))),
            minga_roster_internal.clock(), minga_roster_internal.clock(), m.origin, reported.site
        FROM p CROSS JOIN m
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
'success after a failure, on decisions or failures alone, or on changes. After a manual '
'sync, approval, apply or undo: for recipients who asked for '
'that. No mail is written for a failure that will be tried again, nor on a restored copy. Never raises an error; a '
'second call does nothing.';

CREATE FUNCTION minga_roster_internal.back_off(attempts integer) RETURNS interval
LANGUAGE sql IMMUTABLE
RETURN make_interval(mins => (ARRAY[1, 5, 15, 60])[least(attempts, 4)]);
COMMENT ON FUNCTION minga_roster_internal.back_off(integer) IS
'How long mail, or the mail server, is left alone after so many attempts: 1, 5, 15 and then 60 minutes.';

CREATE FUNCTION minga_roster_internal.mail_settings() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT md5(concat_ws(E'\n', minga_roster_internal.setting('smtp_url'), minga_roster_internal.setting('smtp_user'),
        minga_roster_internal.setting('smtp_from'), minga_roster_internal.setting('smtp_ca_file'),
        minga_roster_internal.setting('smtp_token_url'), minga_roster_internal.setting('smtp_client_id'),
        minga_roster_internal.setting('smtp_scope'), minga_roster_internal.setting('key_file'),
        (SELECT s.binding FROM minga_roster.secrets s WHERE s.connection = 'smtp')))
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_settings() IS
'What tells whether a setting of the mail server, or its secret, is another one than before.';

CREATE FUNCTION minga_roster_internal.is_mail_due() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM minga_roster.outbox o
            WHERE o.state = 'waiting' AND o.next_attempt_at <= minga_roster_internal.clock()
                AND o.origin = minga_roster_internal.server_origin())
        AND NOT EXISTS (SELECT FROM minga_roster_internal.mail_server m
            WHERE m.next_attempt_at > minga_roster_internal.clock()
                -- Later than that only by a clock that was wrong.
                AND m.next_attempt_at <= minga_roster_internal.clock() + minga_roster_internal.back_off(4)
                AND m.settings = minga_roster_internal.mail_settings())
$$;
COMMENT ON FUNCTION minga_roster_internal.is_mail_due() IS
'Whether mail is due and the mail server may be asked: it is left alone for a while after it failed, unless a setting '
'changed.';

CREATE FUNCTION minga_roster_internal.note_mail_server(cause text, error text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now CONSTANT timestamptz := minga_roster_internal.clock();
    here CONSTANT text := minga_roster_internal.mail_settings();
BEGIN
    IF cause IS NULL THEN
        DELETE FROM minga_roster_internal.mail_server;
        RETURN;
    END IF;
    INSERT INTO minga_roster_internal.mail_server AS m (settings, cause, error, failing_since, attempts,
        next_attempt_at)
    VALUES (here, note_mail_server.cause, note_mail_server.error, now, 1, now + minga_roster_internal.back_off(1))
    ON CONFLICT ON CONSTRAINT mail_server_pkey DO UPDATE
    SET settings = excluded.settings, cause = excluded.cause, error = excluded.error,
        attempts = CASE WHEN m.settings = excluded.settings THEN m.attempts + 1 ELSE 1 END,
        next_attempt_at = now + minga_roster_internal.back_off(CASE WHEN m.settings = excluded.settings
            THEN m.attempts + 1 ELSE 1 END);
    UPDATE minga_roster.outbox o SET last_error = note_mail_server.error, cause = note_mail_server.cause
    WHERE o.state = 'waiting' AND o.origin = minga_roster_internal.server_origin()
        AND (o.last_error, o.cause) IS DISTINCT FROM (note_mail_server.error, note_mail_server.cause);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.note_mail_server(text, text) IS
'Records that the mail server, or a setting for it, keeps all mail from being sent, and when it is asked again; or, '
'without a cause, that it takes mail. The mail that waits shows the error.';

CREATE FUNCTION minga_roster_internal.claim_mail() RETURNS SETOF outbox
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET attempts = o.attempts + 1,
        next_attempt_at = minga_roster_internal.clock() + minga_roster_internal.back_off(o.attempts + 1)
    WHERE o.mail = (SELECT w.mail FROM minga_roster.outbox w
                    WHERE w.state = 'waiting' AND w.next_attempt_at <= minga_roster_internal.clock()
                        AND w.origin = minga_roster_internal.server_origin()
                        AND NOT EXISTS (SELECT FROM minga_roster.runs r
                            WHERE r.run = w.run AND r.kind = 'mail' AND r.state = 'running')
                    ORDER BY w.next_attempt_at, w.mail LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_mail() IS
'Takes the mail that has been due longest and sets its next attempt in 1, 5, 15 and then 60 minutes, in case this one '
'does not finish. Mail written on another server is left alone, and that of a running test.';

CREATE FUNCTION minga_roster_internal.claim_test_mail(run bigint) RETURNS SETOF outbox
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET attempts = 1, next_attempt_at = minga_roster_internal.clock() + minga_roster_internal.back_off(1)
    WHERE o.mail = (SELECT min(w.mail) FROM minga_roster.outbox w
                    WHERE w.run = claim_test_mail.run AND w.state = 'waiting' AND w.attempts = 0)
    RETURNING *
$$;
COMMENT ON FUNCTION minga_roster_internal.claim_test_mail(bigint) IS
'Takes a mail of a test that was not tried yet.';

CREATE FUNCTION minga_roster_internal.mark_mail(mail bigint, cause text, words text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET state = CASE WHEN mark_mail.cause IS NULL THEN 'sent'
                     WHEN mark_mail.cause = 'recipient'
                         OR (o.created_at < minga_roster_internal.clock() - interval '5 days'
                         AND minga_roster_internal.clock_holds()) THEN 'failed'
                     ELSE 'waiting' END,
        sent_at = CASE WHEN mark_mail.cause IS NULL THEN minga_roster_internal.clock() END,
        cause = mark_mail.cause,
        last_error = CASE WHEN mark_mail.cause IS NOT NULL THEN mark_mail.words END,
        answer = CASE WHEN mark_mail.cause IS NULL THEN mark_mail.words END
    WHERE o.mail = mark_mail.mail
$$;
COMMENT ON FUNCTION minga_roster_internal.mark_mail(bigint, text, text) IS
'Records the result of an attempt, with the words of the mail server: sent, if there is no cause; failed, if the '
'recipient was refused for good or the mail is five days old; otherwise waiting for the next attempt.';

CREATE FUNCTION minga_roster_internal.mail_hint(cause text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE cause
        WHEN 'settings' THEN 'Set what the error names: settings with ALTER SYSTEM, then SELECT pg_reload_conf(); the '
            'secret with roster_set_secret_from_file(''smtp'', ''smtp'').'
        WHEN 'unreachable' THEN 'Check minga_roster.smtp_url, and whether a firewall lets the database server through '
            'to it.'
        WHEN 'timeout' THEN 'Check minga_roster.smtp_url and the firewall; if they are right, ask the administrator of '
            'the mail server.'
        WHEN 'tls' THEN 'Name the authority of the mail server''s certificate in minga_roster.smtp_ca_file. smtp:// '
            'needs STARTTLS; smtps:// is TLS from the start.'
        WHEN 'login' THEN 'Compare minga_roster.smtp_user and the secret "smtp" with the account at the mail server. '
            'Microsoft 365 and Google take tokens: set minga_roster.smtp_token_url.'
        WHEN 'token' THEN 'Compare minga_roster.smtp_token_url, smtp_client_id, smtp_scope and the secret "smtp" with '
            'the registration of the application. The secret may have expired.'
        WHEN 'sender' THEN 'Set minga_roster.smtp_from to an address from which the account may send.'
        WHEN 'protocol' THEN 'Check minga_roster.smtp_url: smtp://host:587, or smtps://host for port 465.'
        WHEN 'recipient' THEN 'Correct the address: roster_remove_recipient, then roster_notify.'
        WHEN 'deferred' THEN 'Try again in some minutes. Reports are tried again by themselves.'
        WHEN 'content' THEN 'Ask the administrator of the mail server why it does not take this mail.'
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.mail_hint(text) IS 'What to do about a cause of outbox.cause.';

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
    SET state = 'failed', last_error = coalesce(o.last_error, t.last_error), cause = coalesce(o.cause, t.cause)
    FROM (SELECT max(w.last_error) AS last_error, max(w.cause) AS cause FROM minga_roster.outbox w
        WHERE w.run = end_test_mail.run) t
    WHERE o.run = end_test_mail.run AND o.state = 'waiting'
$$;
COMMENT ON FUNCTION minga_roster_internal.end_test_mail(bigint) IS
'Gives up the test mail of a run that was not sent, with the error.';

CREATE FUNCTION roster_send_test_mail(connection text, OUT email text, OUT ok boolean,
    OUT error text, OUT answer text, OUT hint text) RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_send_test_mail';
COMMENT ON FUNCTION roster_send_test_mail(text) IS
'Sends a test mail to each recipient of the connection, except those with send "never", and returns the results: the '
'mail server''s own words in answer if it took the mail, otherwise in error, with a hint. A background worker sends '
'it. 42704 for an unknown connection, 55000 if minga_roster.smtp_url or smtp_from is not set or there is no recipient, '
'25001 inside a transaction block.';
