-- The facts behind a report: the run, its connection, and what needs a decision. The subject and the first sentence are
-- made from them.

CREATE TYPE minga_roster_internal.report_facts AS (
    run runs,
    school connections,
    place text,
    zone text,
    planned_in bigint,
    is_missed boolean,
    is_first boolean,
    recovered boolean,
    done jsonb,
    held_archives bigint,
    held_updates bigint,
    held_creates bigint,
    moves bigint,
    conflicts bigint,
    rejects bigint,
    kept bigint,
    unread text[],
    still_unread text[],
    noticed text[],
    failed_step text,
    cause text,
    tries bigint,
    retry_at timestamptz,
    next_evening timestamptz,
    held_objects text,
    done_to_objects text,
    done_verb text
);
COMMENT ON TYPE minga_roster_internal.report_facts IS
'place: the name of the school in the SIS. planned_in: the run that has the changes. is_first: no sync succeeded '
'before. recovered: the evening before failed. done: what was done to people, as pairs of number and word. unread, '
'still_unread: lists not proved complete, newly or as before. noticed: findings that need a look. cause: of a failure. '
'retry_at: time of the next try. held_objects, done_to_objects: classes, enrollments and the like that are on hold, '
'and that were written, in words; NULL if there are none. done_verb: changed, or ended if that is all.';

CREATE FUNCTION minga_roster_internal.failure_cause(sqlstate text, phase text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN sqlstate IN ('F0000', '58P01', 'XX001') THEN 'key'
        WHEN sqlstate = '55P03' THEN 'lock'
        WHEN sqlstate = '57P02' THEN 'crash'
        WHEN sqlstate = '57014' THEN 'slow'
        WHEN coalesce(phase, 'fetch') <> 'fetch' THEN CASE WHEN left(sqlstate, 2) IN ('22', '23', '42', 'P0')
            THEN 'people' ELSE 'database' END
        WHEN left(sqlstate, 2) = '28' THEN 'login'
        WHEN sqlstate = '08001' THEN 'name'
        WHEN sqlstate = '08004' THEN 'certificate'
        WHEN sqlstate = '08P01' OR sqlstate IN ('22021', '22032') THEN 'answer'
        WHEN left(sqlstate, 2) = '08' THEN 'network'
        WHEN sqlstate = '53400' THEN 'rate'
        WHEN sqlstate = '54000' THEN 'size'
        WHEN sqlstate = '42501' THEN 'access'
        WHEN sqlstate = '42704' THEN 'unknown'
        WHEN sqlstate = '22023' THEN 'settings'
        WHEN sqlstate = '55000' THEN 'time'
        ELSE 'database' END
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_cause(text, text) IS
'What an SQLSTATE means to the school: a row of failure_words().';

CREATE FUNCTION minga_roster_internal.failure_words(OUT cause text, OUT short text, OUT next_step text,
    OUT mends_itself boolean) RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    VALUES
    ('login', 'the SIS rejected the login',
        'The SIS administrator checks that the connection is still enabled, and gives the database administrator the '
            'current Client ID and Client Secret.',
        false),
    ('name', 'the address of the SIS was not found',
        'The SIS administrator confirms the address. The database administrator compares it with the stored one, and '
            'checks DNS on the server.',
        false),
    ('certificate', 'the SIS could not prove its identity',
        'The SIS administrator checks the certificate of the SIS. It has expired, or it is for another address.',
        false),
    ('network', 'the SIS could not be reached',
        'No action is needed yet. If it happens again on the next evening, ask the SIS administrator whether the SIS '
            'was down or a firewall blocks the connection.',
        true),
    ('rate', 'the SIS asked for fewer requests',
        'No action is needed yet. If it happens again on the next evening, ask the SIS administrator at which hours '
            'the SIS allows requests.',
        true),
    ('answer', 'the SIS did not send a complete roster',
        'The SIS administrator sends the details at the end of this report to the SIS vendor.',
        false),
    ('size', 'the roster was too large to be read completely',
        'The SIS administrator sends the details at the end of this report to the SIS vendor.',
        false),
    ('access', 'the SIS denied access to this connection',
        'The SIS administrator shares the school''s roster with the connection. If it is shared, the database '
            'administrator follows the details below.',
        false),
    ('unknown', 'the SIS does not know the school',
        'The SIS administrator confirms the address and the School ID, and the database administrator corrects them.',
        false),
    ('settings', 'the settings of the connection do not match the SIS',
        'The SIS administrator confirms the address, the School ID and the shared data. The database administrator '
            'corrects the settings.',
        false),
    ('zone', 'the server no longer knows the school''s time zone',
        'The database administrator installs the time zone names that are missing, or names the school''s zone by '
            'another name. The details are at the end of this report.',
        false),
    ('time', 'it could not be done at this time',
        'The database administrator reads the details below.',
        false),
    ('key', 'the stored SIS login could not be decrypted',
        'The database administrator restores the server''s key file.',
        false),
    ('lock', 'another session kept the people table locked',
        'No action is needed yet. If it happens again on the next evening, the database administrator finds out what '
            'locks the people table at that time.',
        true),
    ('crash', 'the database server stopped during the run',
        'No action is needed yet. If it happens again on the next evening, the database administrator reads the server '
            'log.',
        true),
    ('slow', 'it took too long',
        'The database administrator finds out what slows down the people table.',
        false),
    ('people', 'the people table rejected the changes',
        'The database administrator checks the constraints and triggers of the people table.',
        false),
    ('database', 'an error in the database',
        'The database administrator reads the details below.',
        false)
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_words() IS
'For each cause of a failure: what happened, who does what next, and whether it may go away by itself.';

CREATE FUNCTION minga_roster_internal.done_to_people(run runs) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(jsonb_agg(jsonb_build_array(d.number, d.word) ORDER BY d.place), '[]')
    FROM (VALUES (1, (run).created, 'added'),
            (2, (run).restored, 'restored'),
            (3, (run).updated, CASE (run).kind WHEN 'undo' THEN 'changed back' ELSE 'updated' END),
            (4, (run).linked, CASE (run).kind WHEN 'undo' THEN 'unmatched' ELSE 'matched' END),
            (5, (run).archived, 'archived')) AS d (place, number, word)
    WHERE d.number > 0);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.done_to_people(runs) IS
'[[30, "added"], [9, "archived"]]: what the run did to people, or what a sync would do after a preview.';

CREATE FUNCTION minga_roster_internal.held_in_words(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.in_list(array_agg(minga_roster_internal.object_words(h.object, h.number)
        ORDER BY array_position(ARRAY['academic_session', 'course', 'class', 'enrollment', 'contact'], h.object)))
    FROM (
        SELECT o.object, count(*) AS number FROM minga_roster.held_objects o
        WHERE o.run = held_in_words.run GROUP BY o.object
        UNION ALL
        -- A preview writes none.
        SELECT o.object, o.held FROM minga_roster.run_objects o JOIN minga_roster.runs r USING (run)
        WHERE o.run = held_in_words.run AND o.held > 0 AND r.kind = 'preview'
            AND minga_roster_internal.carried_out_by(r) IS NULL
    ) h);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.held_in_words(bigint) IS
'"4 classes and 312 enrollments": what a run holds of classes and the like, or a preview would hold; NULL if nothing.';

CREATE FUNCTION minga_roster_internal.facts_of(run bigint) RETURNS minga_roster_internal.report_facts
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := minga_roster_internal.known_run(run);
    here minga_roster.connections;
    facts minga_roster_internal.report_facts;
BEGIN
    -- The name may be another site's today.
    SELECT * INTO here FROM minga_roster.connections c WHERE c.connection = this.connection AND c.site = this.site;
    facts.run := this;
    facts.school := here;
    facts.place := minga_roster_internal.readable(minga_roster_internal.cut(coalesce(here.school_name, this.connection),
        80));
    facts.zone := minga_roster_internal.usable_zone(here.time_zone);
    facts.planned_in := minga_roster_internal.planned_in(this);
    facts.is_missed := coalesce(this.state_cause = 'evening_missed', false);
    facts.done := CASE WHEN this.state = 'succeeded' THEN minga_roster_internal.done_to_people(this) ELSE '[]' END;
    facts.conflicts := coalesce(this.conflicts, 0);
    facts.rejects := coalesce(this.rejects, 0);
    SELECT count(*) FILTER (WHERE c.action = 'archive'), count(*) FILTER (WHERE c.action = 'update'),
        count(*) FILTER (WHERE c.action = 'link'), count(*) FILTER (WHERE c.state_cause = 'new_site')
    INTO facts.held_archives, facts.held_updates, facts.moves, facts.held_creates
    FROM minga_roster.changes c
    WHERE c.run = facts.planned_in AND this.kind <> 'approve' AND c.state = 'held';
    -- A delta needs no proof. A list that it could not read at all is reported.
    SELECT coalesce(array_agg(c.name ORDER BY c.name) FILTER (WHERE c.is_new), '{}'),
        coalesce(array_agg(c.name ORDER BY c.name) FILTER (WHERE NOT c.is_new), '{}')
    INTO facts.unread, facts.still_unread
    FROM (SELECT minga_roster_internal.readable(c.collection) AS name, coalesce(f.needs_look, true) AS is_new
          FROM minga_roster.collections c
          LEFT JOIN minga_roster.run_findings f ON f.run = c.run AND f.finding = 'incomplete'
              AND f.detail ->> 'subject' = c.collection
          WHERE c.run = this.run AND (NOT c.complete OR c.proof = 'weak') AND this.kind <> 'test'
              AND this.state = 'succeeded'
              AND (this.is_full IS NOT FALSE OR c.proof IS NULL)) c;
    facts.noticed := ARRAY(SELECT minga_roster_internal.readable(CASE f.finding
            WHEN 'field_vanished' THEN format('the field "%s" of the %s disappeared', f.detail ->> 'subject',
                minga_roster_internal.people_of(f.category, 2))
            ELSE minga_roster_internal.finding_words(f.finding, f.category, f.amount, f."of", f.detail) END)
        FROM minga_roster.run_findings f
        WHERE f.run IN (facts.planned_in, this.run) AND this.kind <> 'approve' AND f.needs_look
            AND f.finding NOT IN ('incomplete', 'mass_update_held')
        ORDER BY f.run DESC, f.position);
    facts.held_objects := CASE WHEN this.kind <> 'approve' THEN minga_roster_internal.held_in_words(facts.planned_in)
        END;
    IF this.state = 'succeeded' THEN
        SELECT minga_roster_internal.in_list(array_agg(minga_roster_internal.object_words(o.object,
            o.added + o.changed + o.returned + o.ended) ORDER BY k.nth)),
            CASE WHEN sum(o.added + o.changed + o.returned) = 0 THEN 'ended' ELSE 'changed' END
        INTO facts.done_to_objects, facts.done_verb
        FROM minga_roster.run_objects o
        JOIN unnest(ARRAY['academic_session', 'course', 'class', 'enrollment', 'contact']) WITH ORDINALITY k (object,
            nth) USING (object)
        WHERE o.run = this.run AND o.added + o.changed + o.returned + o.ended > 0;
    END IF;
    SELECT coalesce(sum(c.count), 0) INTO facts.kept FROM minga_roster.run_counts c WHERE c.run = this.run
        AND c.action = 'kept';
    SELECT s.step INTO facts.failed_step FROM minga_roster.run_steps s WHERE s.run = this.run AND NOT s.ok
        ORDER BY s.position LIMIT 1;
    facts.is_first := this.kind = 'sync' AND this.state = 'succeeded' AND NOT EXISTS (SELECT FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.kind IN ('sync', 'apply')
            AND r.state = 'succeeded'
            AND r.run < this.run);
    facts.recovered := this.evening IS NOT NULL AND this.state = 'succeeded'
        AND coalesce((SELECT r.state = 'failed' FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.kind = 'sync' AND r.run < this.run
            AND r.evening IS DISTINCT FROM this.evening
            AND r.state IN ('succeeded', 'failed', 'canceled')
        ORDER BY r.run DESC LIMIT 1), false);

    SELECT n.next_opens INTO facts.next_evening
    FROM minga_roster_internal.latest_evening(here.sync_at, here.window_end, here.time_zone,
        minga_roster_internal.clock()) n
    WHERE here.automatic AND here.paused_cause IS NULL AND here.retired_at IS NULL
        AND here.enabled_origin = minga_roster_internal.server_origin();
    IF this.state = 'failed' AND NOT facts.is_missed THEN
        -- A refused apply, approval or undo is not a fault of the database.
        facts.cause := CASE WHEN this.state_cause = 'time_zone_lost' THEN 'zone'
            WHEN this.kind IN ('approve', 'apply', 'undo') AND this.sqlstate = '55000' THEN 'time'
            ELSE minga_roster_internal.failure_cause(this.sqlstate, this.phase) END;
        SELECT count(*) INTO facts.tries FROM minga_roster.runs r
        WHERE r.connection = this.connection AND r.site = this.site AND r.evening = this.evening
            AND r.state = 'failed' AND r.run <= this.run;
        IF this.evening IS NOT NULL THEN
            SELECT e.retry_at INTO facts.retry_at FROM minga_roster_internal.evenings(this.connection) e
            WHERE e.evening = this.evening AND e.last_try = this.run;
        END IF;
    END IF;
    RETURN facts;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.facts_of(bigint) IS
'The facts for the report of a run; 42704 for an unknown run.';

CREATE FUNCTION minga_roster_internal.is_paused_by(facts minga_roster_internal.report_facts) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((facts.school).automatic AND (facts.school).retired_at IS NULL
        AND (facts.school).paused_cause = 'evenings_failed' AND (facts.run).state = 'failed'
        AND (facts.run).run = (SELECT max(r.run) FROM minga_roster.runs r
            WHERE r.connection = (facts.run).connection AND r.site = (facts.run).site AND r.trigger = 'evening'), false)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_paused_by(minga_roster_internal.report_facts) IS
'Whether the run is the failed evening after which Automatic Rostering was paused.';

CREATE FUNCTION minga_roster_internal.is_problem(facts minga_roster_internal.report_facts) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (facts.run).state = 'failed' OR facts.is_missed OR minga_roster_internal.needs_of(facts) <> '{}';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.is_problem(minga_roster_internal.report_facts) IS
'Whether recipients who want mail only about problems get this report.';

CREATE FUNCTION minga_roster_internal.is_failure(facts minga_roster_internal.report_facts) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (facts.run).state = 'failed' OR facts.is_missed OR facts.unread <> '{}' OR facts.failed_step IS NOT NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.is_failure(minga_roster_internal.report_facts) IS
'Whether recipients who want mail only about failures get this report.';

CREATE FUNCTION minga_roster_internal.is_decision(facts minga_roster_internal.report_facts) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT facts.held_creates > 0 OR facts.moves > 0 OR facts.held_archives > 0 OR facts.held_updates > 0
        OR facts.conflicts > 0 OR facts.rejects > 0 OR facts.kept > 0 OR facts.noticed <> '{}'
        OR facts.held_objects IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.is_decision(minga_roster_internal.report_facts) IS
'Whether recipients who want mail only about what waits for a decision, or needs a look, get this report.';

CREATE FUNCTION minga_roster_internal.needs_of(facts minga_roster_internal.report_facts) RETURNS text[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(array_agg(n.words ORDER BY n.place), '{}')
    FROM (VALUES
        (0, facts.held_creates > 0, minga_roster_internal.figures(facts.held_creates, 'new account') || ' on hold'),
        (1, facts.moves > 0, minga_roster_internal.figures(facts.moves, 'ID') || ' changed in the SIS'),
        (2, facts.held_archives > 0, minga_roster_internal.figures(facts.held_archives, 'archive') || ' on hold'),
        (3, facts.held_updates > 0, minga_roster_internal.figures(facts.held_updates, 'update') || ' on hold'),
        (4, facts.held_objects IS NOT NULL, facts.held_objects || ' on hold'),
        (5, facts.conflicts > 0, minga_roster_internal.figures(facts.conflicts, 'conflict')),
        (6, facts.rejects > 0, minga_roster_internal.figures(facts.rejects, 'rejected row')),
        (7, facts.kept > 0, minga_roster_internal.figures(facts.kept, 'change') || ' could not be undone'),
        (8, facts.unread <> '{}', CASE cardinality(facts.unread) WHEN 1
            THEN minga_roster_internal.cut(facts.unread[1], 40)
            ELSE minga_roster_internal.figures(cardinality(facts.unread), 'list') END || ' not read completely'),
        (9, facts.noticed <> '{}', CASE cardinality(facts.noticed) WHEN 1
            THEN minga_roster_internal.cut(facts.noticed[1], 60)
            ELSE minga_roster_internal.figure(cardinality(facts.noticed)) || ' findings in the SIS' END),
        (10, facts.failed_step IS NOT NULL, format('the connection test failed at "%s"', facts.failed_step))
        ) AS n (place, is_so, words)
    WHERE n.is_so);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.needs_of(minga_roster_internal.report_facts) IS
'"204 archives on hold", "2 rejected rows": what needs a decision, for the subject and the first sentence.';

CREATE FUNCTION minga_roster_internal.done_in_words(done jsonb, were text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.in_list(array_agg(
        CASE WHEN d.place > 1 THEN minga_roster_internal.figure((d.pair ->> 0)::bigint)
            ELSE minga_roster_internal.figures((d.pair ->> 0)::bigint, 'person ' || CASE were WHEN 'were' THEN 'was'
                ELSE were END, 'people ' || were) END
        || ' ' || (d.pair ->> 1) ORDER BY d.place))
    FROM jsonb_array_elements(done) WITH ORDINALITY d (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.done_in_words(jsonb,
    text) IS '"30 people were added, 11 updated and 9 archived"; NULL if nothing was done.';

CREATE FUNCTION minga_roster_internal.report_lead(facts minga_roster_internal.report_facts, OUT tone text,
    OUT content text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := facts.run;
    what text := minga_roster_internal.run_in_words(this);
    needs text[] := minga_roster_internal.needs_of(facts);
    short text := (SELECT w.short FROM minga_roster_internal.failure_words() w WHERE w.cause = facts.cause);
BEGIN
    tone := CASE WHEN this.state = 'failed' OR facts.is_missed THEN 'bad' WHEN this.state <> 'succeeded' THEN 'plain'
        WHEN needs <> '{}' THEN 'action'
        WHEN facts.still_unread <> '{}' THEN 'plain' ELSE 'good' END;
    content := CASE
        WHEN facts.is_missed THEN format('No sync on %s: the evening was missed.',
            minga_roster_internal.day_in_words(this.evening))
        WHEN this.state = 'failed' AND this.evening IS NOT NULL
            THEN format('No sync on %s: %s.', minga_roster_internal.day_in_words(this.evening), short)
        WHEN this.state = 'failed' THEN format('The %s failed: %s.', what, short)
        WHEN this.state = 'canceled' THEN format('The %s was canceled.', what)
        WHEN this.state <> 'succeeded' THEN format('The %s is %s.', what, this.state)
        WHEN this.kind = 'test' AND facts.failed_step IS NULL THEN 'The connection test passed.'
        WHEN this.kind = 'mail' THEN 'The test mail was sent.'
        WHEN this.kind = 'fetch' AND needs = '{}' THEN 'The roster was fetched completely.'
        WHEN this.kind = 'diagnose' AND needs = '{}' THEN 'The diagnosis is complete.'
        WHEN this.kind = 'preview' THEN concat_ws(' ', 'Preview:',
            coalesce(minga_roster_internal.done_in_words(facts.done, 'would be'), 'no account would change') || '.',
            'It would change ' || facts.done_to_objects || '.',
            'It would leave ' || minga_roster_internal.in_list(needs) || '.')
        ELSE concat_ws(' ',
            CASE WHEN facts.recovered THEN 'The sync works again.' END,
            CASE WHEN needs <> '{}' THEN format('Action needed: %s.', minga_roster_internal.in_list(needs)) END,
            CASE WHEN facts.is_first THEN 'This was the first sync.' END,
            CASE this.kind
                WHEN 'approve' THEN coalesce('The approval was carried out: '
                    || minga_roster_internal.done_in_words(facts.done, 'were') || '.',
                    CASE WHEN facts.done_to_objects IS NULL THEN 'The approval changed no accounts.'
                        ELSE 'The approval was carried out.' END)
                WHEN 'undo' THEN coalesce(format('The %s was undone: ',
                    coalesce((SELECT minga_roster_internal.run_in_words(r) FROM minga_roster.runs r
                        WHERE r.run = this.of_run),
                    'run'))
                        || minga_roster_internal.done_in_words(facts.done, 'were') || '.',
                    CASE WHEN facts.done_to_objects IS NULL THEN 'There was nothing left to undo.'
                        ELSE 'No accounts were changed.' END)
                ELSE minga_roster_internal.done_in_words(facts.done, 'were') || '.' END,
            CASE WHEN facts.done = '[]' AND this.kind IN ('sync', 'apply') THEN
                CASE WHEN needs <> '{}' OR facts.done_to_objects IS NOT NULL THEN 'No accounts were changed.'
                    WHEN facts.still_unread <> '{}' THEN 'Nothing changed.'
                    ELSE 'Nothing changed, and there is nothing to do.' END
                WHEN this.kind = 'undo' AND (facts.school).automatic AND (facts.school).paused_cause IS NOT NULL THEN
                    'Automatic Rostering is paused until someone turns it on again.' END,
            facts.done_to_objects || format(' %s.', facts.done_verb),
            CASE WHEN (facts.done <> '[]' OR facts.done_to_objects IS NOT NULL) AND needs = '{}'
                AND facts.still_unread = '{}' AND this.kind IN ('sync', 'apply') THEN 'There is nothing to do.' END,
            'As before, not all ' || minga_roster_internal.in_list(facts.still_unread) || ' were read.')
        END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_lead(minga_roster_internal.report_facts) IS
'The first sentence of a report, and its tone: good; action, if someone has to act; bad, if nothing was synced; plain.';

CREATE FUNCTION minga_roster_internal.run_in_words(run runs) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE (run).kind WHEN 'test' THEN 'connection test' WHEN 'approve' THEN 'approval' WHEN 'diagnose'
        THEN 'diagnosis'
        WHEN 'apply' THEN 'reviewed preview' WHEN 'mail' THEN 'test mail' ELSE (run).kind END
        || CASE WHEN (run).evening IS NOT NULL THEN ' of ' || minga_roster_internal.day_in_words((run).evening)
            ELSE '' END
$$;
COMMENT ON FUNCTION minga_roster_internal.run_in_words(runs) IS '"sync of Tuesday, September 1", "approval".';

CREATE FUNCTION minga_roster_internal.report_subject(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    longest CONSTANT integer := 150;
    facts minga_roster_internal.report_facts := minga_roster_internal.facts_of(run);
    this minga_roster.runs := facts.run;
    needs text := array_to_string(minga_roster_internal.needs_of(facts), ', ');
    done text := (SELECT string_agg(format('%s %s', minga_roster_internal.figure((d.pair ->> 0)::bigint), d.pair ->> 1),
        ', '
        ORDER BY d.place)
        FROM jsonb_array_elements(facts.done) WITH ORDINALITY d (pair, place));
    day text := to_char(this.evening, 'FMMonth FMDD');
    failure record;
    what text;
BEGIN
    SELECT * INTO failure FROM minga_roster_internal.failure_words() w WHERE w.cause = facts.cause;
    what := CASE
        WHEN facts.is_missed THEN format('action needed: the evening of %s was missed', day)
        WHEN this.state = 'failed' THEN
            CASE WHEN failure.mends_itself AND NOT minga_roster_internal.is_paused_by(facts) THEN ''
                ELSE 'action needed: ' END
            || CASE WHEN day IS NULL THEN format('%s failed', minga_roster_internal.run_in_words(this))
                ELSE 'no sync on '
                || day END || ', ' || failure.short
            || CASE WHEN minga_roster_internal.is_paused_by(facts) THEN '; Automatic Rostering is paused' ELSE '' END
        WHEN this.state = 'canceled' THEN minga_roster_internal.run_in_words(this) || ' canceled'
        WHEN this.state <> 'succeeded' THEN format('%s %s', minga_roster_internal.run_in_words(this), this.state)
        WHEN needs <> '' THEN CASE this.kind WHEN 'preview' THEN 'preview: ' ELSE 'action needed: ' END || needs
            -- All of what was done or, if that is too long, nothing.
            || CASE WHEN length(needs) + length(done) < 100 THEN '; ' || done ELSE '' END
        ELSE CASE WHEN facts.recovered THEN 'works again: ' WHEN facts.is_first THEN 'first sync: '
            WHEN this.kind = 'preview' THEN 'preview: '
                WHEN this.kind = 'undo' THEN 'undone: ' WHEN this.kind = 'approve' THEN 'approved: ' ELSE '' END
            || coalesce(done, facts.done_to_objects || CASE this.kind WHEN 'preview' THEN ' would change'
                ELSE ' ' || facts.done_verb END,
                CASE WHEN this.kind IN ('sync', 'preview', 'apply') THEN 'nothing changed'
                WHEN this.kind IN ('approve', 'undo') THEN 'no accounts changed'
                    ELSE minga_roster_internal.run_in_words(this)
                    || ' succeeded' END)
            || CASE WHEN this.kind = 'undo' AND (facts.school).automatic AND (facts.school).paused_cause IS NOT NULL
                THEN '; Automatic Rostering is paused' ELSE '' END
            || CASE WHEN facts.still_unread <> '{}' THEN '; not all '
                || minga_roster_internal.cut(minga_roster_internal.in_list(facts.still_unread), 60) || ' read'
                    ELSE '' END
        END;
    what := minga_roster_internal.cut(what, longest - 22);
    RETURN minga_roster_internal.readable(format('%s: %s', minga_roster_internal.cut(facts.place,
        longest - 2 - length(what)), what));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_subject(bigint) IS
'Subject of the mail: the school, then what needs a decision, then what was done; one line of at most 150 characters.';
