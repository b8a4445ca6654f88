-- The outbox, as mail.c works it.

CREATE FUNCTION claim_mail() RETURNS SETOF outbox
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET attempts = o.attempts + 1,
        next_attempt_at = minga_roster.clock() + make_interval(mins => (ARRAY[1, 5, 15, 60])[least(o.attempts + 1, 4)])
    WHERE o.mail = (SELECT w.mail FROM minga_roster.outbox w
                    WHERE w.state = 'waiting' AND w.next_attempt_at <= minga_roster.clock() AND w.origin = minga_roster.server_origin()
                    ORDER BY w.next_attempt_at, w.mail LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
$$;
COMMENT ON FUNCTION claim_mail() IS
'Takes the mail that is due longest, with its next attempt in 1, 5, 15 and then 60 minutes, should this one not end. Mail written on another server is left alone.';

CREATE FUNCTION mark_mail(mail bigint, is_sent boolean, is_refused boolean, error text) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    UPDATE minga_roster.outbox o
    SET state = CASE WHEN is_sent THEN 'sent'
                     WHEN is_refused OR o.created_at < minga_roster.clock() - interval '5 days' THEN 'failed'
                     ELSE 'waiting' END,
        sent_at = CASE WHEN is_sent THEN minga_roster.clock() END,
        last_error = mark_mail.error
    WHERE o.mail = mark_mail.mail
$$;
COMMENT ON FUNCTION mark_mail(bigint, boolean, boolean, text) IS
'Notes how sending a mail went: sent; failed, when the mail server refused it for good or five days of attempts are over; else waiting for its next attempt.';
