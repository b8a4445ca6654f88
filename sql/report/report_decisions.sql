-- The decisions that a report asks for: failures first, then what is on hold, conflicts, and what could not be read.
-- Each decision_on function makes one card: what happened, what it means for the school, and who does what next.

CREATE FUNCTION minga_roster_internal.decision(title text, happened text, items jsonb, means text, next_step text)
RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('title', title, 'items', coalesce(items, '[]'), 'lines', jsonb_build_array(
        jsonb_build_array('What happened', happened),
        jsonb_build_array('What it means', means),
        jsonb_build_array('What to do', next_step)))
$$;
COMMENT ON FUNCTION minga_roster_internal.decision(text, text, jsonb, text, text) IS
'A part of a report that asks someone to act: what happened, with the reasons one by one, what it means for the '
'school, and who does what next and by when.';

CREATE FUNCTION minga_roster_internal.reason_items(categories text[], reasons text[], numbers bigint[]) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(
        array_agg(format('%s: %s', minga_roster_internal.counted_people(r.category, r.number), r.reason)
            ORDER BY r.place)
            FILTER (WHERE r.place <= 8),
        coalesce(sum(r.number) FILTER (WHERE r.place > 8), 0)::bigint, 8)
    FROM (
        SELECT u.*, row_number() OVER (ORDER BY u.number DESC, u.category, u.reason) AS place
        FROM unnest(categories, reasons, numbers) AS u (category, reason, number)
    ) r
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.reason_items(text[], text[], bigint[]) IS
'"12 students: reason", the most frequent first: eight items, and how many people the others are about.';

CREATE FUNCTION minga_roster_internal.held_reasons(run bigint, action text, OUT items jsonb, OUT who text)
RETURNS record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS (
        SELECT c.category, coalesce(c.state_reason, c.reason) AS why, count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = held_reasons.run AND c.action = held_reasons.action AND c.state = 'held'
        GROUP BY 1, 2
    )
    SELECT (SELECT minga_roster_internal.reason_items(array_agg(h.category), array_agg(h.why), array_agg(h.number))
        FROM held h),
        (SELECT minga_roster_internal.in_list(array_agg(minga_roster_internal.counted_people(k.category, k.number)
            ORDER BY k.number DESC, k.category))
         FROM (SELECT h.category, sum(h.number)::bigint AS number FROM held h GROUP BY h.category) k)
$$;
COMMENT ON FUNCTION minga_roster_internal.held_reasons(bigint, text) IS
'Why changes of a run are on hold, by category, and how many people are concerned: "200 students and 4 teachers".';

CREATE FUNCTION minga_roster_internal.is_of_table(conflict text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(conflict IN ('not_unique', 'not_stored'), false)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_of_table(text) IS
'Whether a conflict is about what the people table accepts instead of who a person is.';

CREATE FUNCTION minga_roster_internal.noted_reasons(run bigint, actions text[], states text[],
    since timestamptz DEFAULT '-infinity',
    of_table boolean DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.reason_items(array_agg(n.category), array_agg(n.why), array_agg(n.number))
    FROM (
        SELECT c.category,
            CASE WHEN c.rule = 'refused by people' THEN 'The people table rejected the new values.'
                WHEN c.state = 'noted' THEN c.reason
                ELSE coalesce(c.state_reason, minga_roster_internal.state_reason('superseded', NULL)) END AS why,
            count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = noted_reasons.run AND c.action = ANY (actions) AND c.state = ANY (states) AND c.state_at >= since
            AND (of_table IS NULL OR minga_roster_internal.is_of_table(c.conflict) = of_table)
        GROUP BY 1, 2
    ) n
$$;
COMMENT ON FUNCTION minga_roster_internal.noted_reasons(bigint, text[], text[], timestamptz, boolean) IS
'Why changes of a run were not carried out, by category and reason, the most frequent first; NULL for none. '
'of_table picks the conflicts for which is_of_table() is true or false.';

CREATE FUNCTION minga_roster_internal.until_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN (facts.school).delta AND NOT (facts.school).filter_unusable THEN 'the next sync that reads the full roster'
        WHEN facts.next_evening IS NULL THEN 'the next sync'
        ELSE 'the next sync, on ' || minga_roster_internal.time_in_words(facts.next_evening, facts.zone) END
$$;
COMMENT ON FUNCTION minga_roster_internal.until_in_words(minga_roster_internal.report_facts) IS
'The deadline for what is on hold.';

CREATE FUNCTION minga_roster_internal.next_try_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN facts.retry_at IS NOT NULL THEN
            format('The next try is at %s.', to_char(facts.retry_at AT TIME ZONE facts.zone, 'FMHH12:MI AM'))
        WHEN facts.next_evening IS NOT NULL THEN
            format('The next sync starts automatically on %s.',
                minga_roster_internal.time_in_words(facts.next_evening, facts.zone))
        ELSE 'No evening sync is scheduled.' END
$$;
COMMENT ON FUNCTION minga_roster_internal.next_try_in_words(minga_roster_internal.report_facts) IS
'When the connection syncs the next time, as a sentence.';

CREATE FUNCTION minga_roster_internal.nothing_changed() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN 'No accounts were added, changed or archived. All of them are as they were before.';
COMMENT ON FUNCTION minga_roster_internal.nothing_changed() IS 'What a failed run means for the school.';

CREATE FUNCTION minga_roster_internal.decision_on_missed_evening(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('The evening was missed',
        format('No sync began on %s: %s.', minga_roster_internal.day_in_words((facts.run).evening),
            CASE (facts.run).state
            WHEN 'canceled' THEN 'other syncs kept the server busy until the evening was over'
            ELSE 'the database server or its scheduler was not running' END),
        NULL, minga_roster_internal.nothing_changed(),
        'If the server was off on purpose, nothing. Otherwise the database administrator finds the cause before the '
        'next evening. ' || minga_roster_internal.next_try_in_words(facts))
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_missed_evening(minga_roster_internal.report_facts) IS
'An evening without a sync.';

CREATE FUNCTION minga_roster_internal.failure_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT concat_ws(' ',
        CASE
            WHEN facts.cause <> 'time' AND (facts.run).kind IN ('approve', 'apply', 'undo') THEN
                'The run stopped while people were compared or written.'
            WHEN facts.cause <> 'time' AND coalesce((facts.run).phase, 'fetch') <> 'fetch' THEN
                'The roster was read, but the sync stopped while people were compared or written.'
            WHEN facts.cause IN ('key', 'lock', 'crash', 'slow', 'database') OR (facts.run).error IS NULL THEN
                'The database server could not finish the run.'
            ELSE minga_roster_internal.cut(minga_roster_internal.capitalized(rtrim((facts.run).error, '.')), 400)
                || '.' END,
        CASE WHEN facts.tries > 1 THEN format('%s tries failed this evening.', facts.tries) END)
$$;
COMMENT ON FUNCTION minga_roster_internal.failure_in_words(minga_roster_internal.report_facts) IS
'What happened to a failed run. The error is quoted only if it came before people were read.';

CREATE FUNCTION minga_roster_internal.decision_on_failure(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.capitalized(w.short),
        minga_roster_internal.failure_in_words(facts), NULL, minga_roster_internal.nothing_changed(),
        concat_ws(' ',
            CASE WHEN w.mends_itself AND minga_roster_internal.is_paused_by(facts) THEN
                'The SIS administrator finds out whether the SIS is down, a firewall blocks the connection, or the SIS '
                    'allows no requests at that hour.'
                ELSE w.next_step END,
            CASE WHEN (facts.run).evening IS NOT NULL THEN minga_roster_internal.next_try_in_words(facts) END,
            CASE WHEN (facts.run).evening IS NOT NULL AND facts.next_evening IS NOT NULL AND facts.retry_at IS NULL
                AND NOT w.mends_itself THEN 'Every sync fails in the same way until this is done.' END))
    FROM minga_roster_internal.failure_words() w
    WHERE w.cause = facts.cause
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_failure(minga_roster_internal.report_facts) IS
'A failed run: its cause, and who can fix it.';

CREATE FUNCTION minga_roster_internal.decision_on_changed_ids(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.moves, 'ID') || ' changed in the SIS',
        format('The SIS lists %s under IDs that it never used before. That happens when a school moves to another '
            'SIS or to another version of its API. %s', h.who,
            CASE e.exact
                WHEN 0 THEN 'These people were found by identifier or email address.'
                WHEN facts.moves THEN 'These people were found by their former IDs, which the SIS sends. This is exact.'
                ELSE format('%s of these people were found by their former IDs, which the SIS sends, and the others '
                    'by identifier or email address.', minga_roster_internal.figure(e.exact)) END),
        h.items,
        'No one in these categories was added, changed or archived. Everyone else was synced as usual.',
        'Ask the SIS administrator whether the IDs were changed on purpose. If so, the database administrator moves '
        'all of these people to their new IDs. They keep their accounts, and the next sync continues. Until then each '
        'sync waits for this decision.')
    FROM minga_roster_internal.held_reasons((facts.run).run, 'link') h,
        (SELECT count(*) AS exact FROM minga_roster.changes c
         WHERE c.run = (facts.run).run AND c.state = 'held' AND c.action = 'link' AND c.rule = 'former id') e
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_changed_ids(minga_roster_internal.report_facts) IS
'Links that wait for roster_relink.';

CREATE FUNCTION minga_roster_internal.decision_on_hold(facts minga_roster_internal.report_facts, action text,
    number bigint, noun text, happened text,
    means text, in_preview text, in_sync text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, noun)
        || CASE WHEN p.is_preview THEN ' would be on hold' ELSE ' on hold' END,
        minga_roster_internal.filled(happened, p.holes || jsonb_build_object('who', h.who, 'site',
            minga_roster_internal.readable((facts.run).site))),
        h.items,
        minga_roster_internal.filled(means, p.holes),
        CASE WHEN p.is_preview THEN in_preview
            ELSE minga_roster_internal.filled(in_sync, jsonb_build_object('until',
                minga_roster_internal.until_in_words(facts))) END)
    FROM minga_roster_internal.held_reasons(facts.planned_in, action) h,
        (SELECT (facts.run).kind = 'preview' AS is_preview,
            CASE (facts.run).kind WHEN 'preview' THEN '{"was": "would be", "not": "would not be"}'
                ELSE '{"was": "was", "not": "were not"}' END::jsonb AS holes) p
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_hold(minga_roster_internal.report_facts, text, bigint, text, text,
    text, text, text) IS
'Held changes with this action. The texts have holes for who, site, was, not ("were not" or, in a preview, "would not '
'be") and until.';

CREATE FUNCTION minga_roster_internal.decision_on_archives(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'archive', facts.held_archives, 'archive',
        'The SIS no longer lists {who}. So many at once can be a mistake, so they {not} archived.',
        'They keep their accounts until someone decides. Everyone else {was} synced as usual.',
        'Find out whether these people have really left before you sync.',
        'Find out whether these people have really left. The database administrator can list them. If they have '
        'left, the database administrator archives them. You can decide until {until}. That sync decides again and '
        'holds those who are still missing.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_archives(minga_roster_internal.report_facts) IS
'Archives that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_updates(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'update', facts.held_updates, 'update',
        'The SIS has a new value for most people in a category at once: {who}. That can be a mistake, so they {not} '
        'updated.',
        'They stay as they are until someone decides. Everyone else {was} synced as usual.',
        'Ask the SIS administrator whether this was changed on purpose before you sync.',
        'Ask the SIS administrator whether this was changed on purpose. If so, the database administrator carries out '
        'the updates. You can decide until {until}. That sync decides again and holds what is still different.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_updates(minga_roster_internal.report_facts) IS
'Mass updates that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_objects(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(facts.held_objects || ' on hold',
        'The SIS no longer lists them. So many at once can be a mistake, so they did not end.',
        NULL,
        'They go on until someone decides. Everything else was synced as usual.',
        'Find out whether they have really ended. If so, the database administrator ends them. You can decide until '
            || minga_roster_internal.until_in_words(facts)
            || '. That sync decides again and holds those that are still missing.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_objects(minga_roster_internal.report_facts) IS
'Classes, enrollments and the like that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_new_site(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision_on_hold(facts, 'create', facts.held_creates, 'new account',
        'This is the first sync of "{site}", which has no accounts yet, while other schools have some. If the site is '
        'misspelled, everyone would get a second account.',
        CASE (facts.run).kind WHEN 'preview' THEN 'No accounts would be added until someone decides.'
            ELSE 'No accounts were added. The people at the other schools are unchanged.' END,
        'Ask the database administrator whether the site is the right one before you sync.',
        'Ask the database administrator whether the site is the right one. If so, one approval adds all of them, and '
        'the question does not come up again. You can decide until {until}. That sync holds them again.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_new_site(minga_roster_internal.report_facts) IS
'Creates of a new site that wait for roster_approve.';

CREATE FUNCTION minga_roster_internal.decision_on_conflicts(facts minga_roster_internal.report_facts, number bigint)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, 'conflict'),
        'The SIS lists people who cannot be told apart from others with certainty.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => false),
        'The people in a conflict were not changed or archived.',
        'Someone who knows the school decides who is who. The database administrator shows both sides and enters the '
        'decision, which is remembered. There is no deadline: a conflict comes back each evening until it is settled.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_conflicts(minga_roster_internal.report_facts, bigint) IS
'Conflicts about who a person is.';

CREATE FUNCTION minga_roster_internal.decision_on_table_conflicts(facts minga_roster_internal.report_facts,
    number bigint) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(number, 'conflict') || ' with the people table',
        'The people table does not accept these people as the SIS has them.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => true),
        'These people were not added, changed or archived.',
        'The database administrator changes what blocks them: a value, an index or a trigger of the people table. If '
        'a row is not wanted, the database administrator can skip it, which is remembered. There is no deadline: a '
        'conflict comes back each evening until it is settled.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_table_conflicts(minga_roster_internal.report_facts, bigint) IS
'Conflicts about what the people table accepts.';

CREATE FUNCTION minga_roster_internal.decision_on_rejects(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.rejects, 'rejected row'),
        'The SIS sent rows that could not be used.',
        minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['reject'], ARRAY['noted']),
        'These rows changed no accounts. People who already have an account keep it.',
        'The school corrects the rows in the SIS, and the next sync uses them. If the people table rejected a row, '
        'the database administrator checks its constraints and triggers.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_rejects(minga_roster_internal.report_facts) IS
'Rows that could not be used.';

CREATE FUNCTION minga_roster_internal.list_names(names text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.in_list(names[:6] || CASE WHEN cardinality(names) > 6
        THEN ARRAY[format('%s more lists', cardinality(names) - 6)] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.list_names(text[]) IS
'Names of at most six lists, and how many more there are; NULL for none.';

CREATE FUNCTION minga_roster_internal.unread_consequences(run bigint, lists text[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ')
    FROM minga_roster.collections c
    WHERE c.run = unread_consequences.run AND c.collection = ANY (lists)
$$;
COMMENT ON FUNCTION minga_roster_internal.unread_consequences(bigint, text[]) IS
'The consequences of lists that a run did not read completely.';

CREATE FUNCTION minga_roster_internal.decision_on_unread_lists(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(cardinality(facts.unread), 'list was',
        'lists were') || ' not read completely',
        concat_ws(' ',
            'The SIS does not share its list of ' || minga_roster_internal.list_names(u.denied)
                || ' with the connection.',
            'The SIS did not show that it sent all ' || minga_roster_internal.list_names(u.unproven) || '.'),
        NULL,
        minga_roster_internal.unread_consequences((facts.run).run, facts.unread)
            || ' Everything else was done as usual.',
        concat_ws(' ',
            CASE WHEN u.denied <> '{}' THEN
                'The SIS administrator shares the list with the connection (in Infinite Campus: Data to Share).' END,
            CASE WHEN u.unproven <> '{}' THEN
                'If it happens again on the next evening, the SIS administrator sends the details at the end of this '
                'report to the SIS vendor.' END))
    FROM (
        SELECT coalesce(array_agg(l.name ORDER BY l.place) FILTER (WHERE d.collection IS NOT NULL), '{}') AS denied,
            coalesce(array_agg(l.name ORDER BY l.place) FILTER (WHERE d.collection IS NULL), '{}') AS unproven
        FROM unnest(facts.unread) WITH ORDINALITY AS l (name, place)
        LEFT JOIN minga_roster.collections d
            ON d.run = (facts.run).run AND d.weak_cause = 'denied'
                AND minga_roster_internal.readable(d.collection) = l.name
    ) u
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_unread_lists(minga_roster_internal.report_facts) IS
'Lists that the SIS does not share, or that were not proved complete.';

CREATE FUNCTION minga_roster_internal.decision_on_kept_changes(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision(minga_roster_internal.figures(facts.kept, 'change') || ' could not be undone',
        'These people were changed again later.',
        minga_roster_internal.noted_reasons(minga_roster_internal.planned_in(r),
            ARRAY['create', 'link', 'update', 'restore', 'archive'], ARRAY['kept']),
        'They stay as they are now. Everyone else is as before the run.',
        'Someone who knows the school checks these people one by one. The database administrator can list them.')
    FROM (VALUES ((facts.run).of_run)) AS undone (run)
    LEFT JOIN minga_roster.runs r USING (run)
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_kept_changes(minga_roster_internal.report_facts) IS
'Changes that an undo could not undo.';

CREATE FUNCTION minga_roster_internal.decision_on_test(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('The connection test failed',
        format('The SIS could not be used at the step "%s".', facts.failed_step), NULL,
        'No sync would succeed now.',
        'The steps at the end of this report show who can fix it.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_test(minga_roster_internal.report_facts) IS
'A connection test that failed.';

CREATE FUNCTION minga_roster_internal.decision_on_pause(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.decision('Automatic Rostering is paused',
        format('It was paused because %s.', (facts.school).paused_reason), NULL,
        'No sync runs in the evening until it is turned on again.',
        'When the cause is fixed, the database administrator turns it on.')
$$;
COMMENT ON FUNCTION minga_roster_internal.decision_on_pause(minga_roster_internal.report_facts) IS
'Automatic Rostering that someone has to turn on again.';

CREATE FUNCTION minga_roster_internal.report_decisions(facts minga_roster_internal.report_facts) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := facts.run;
    here minga_roster.connections := facts.school;
    of_table bigint;
BEGIN
    IF facts.is_missed THEN
        RETURN NEXT minga_roster_internal.decision_on_missed_evening(facts);
    ELSIF this.state = 'failed' THEN
        RETURN NEXT minga_roster_internal.decision_on_failure(facts);
        IF minga_roster_internal.is_paused_by(facts) THEN
            RETURN NEXT minga_roster_internal.decision_on_pause(facts);
        END IF;
    END IF;
    IF this.state <> 'succeeded' THEN
        RETURN;
    END IF;
    IF facts.moves > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_changed_ids(facts);
    END IF;
    IF facts.held_archives > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_archives(facts);
    END IF;
    IF facts.held_updates > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_updates(facts);
    END IF;
    IF facts.held_creates > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_new_site(facts);
    END IF;
    IF facts.held_objects IS NOT NULL THEN
        RETURN NEXT minga_roster_internal.decision_on_objects(facts);
    END IF;
    IF facts.conflicts > 0 AND this.kind <> 'approve' THEN
        SELECT least(count(*), facts.conflicts) INTO of_table
        FROM minga_roster.changes c
        WHERE c.run = facts.planned_in AND c.action = 'conflict' AND c.state = 'noted'
            AND minga_roster_internal.is_of_table(c.conflict);
        IF facts.conflicts > of_table THEN
            RETURN NEXT minga_roster_internal.decision_on_conflicts(facts, facts.conflicts - of_table);
        END IF;
        IF of_table > 0 THEN
            RETURN NEXT minga_roster_internal.decision_on_table_conflicts(facts, of_table);
        END IF;
    END IF;
    IF facts.rejects > 0 AND this.kind <> 'approve' THEN
        RETURN NEXT minga_roster_internal.decision_on_rejects(facts);
    END IF;
    IF facts.unread <> '{}' THEN
        RETURN NEXT minga_roster_internal.decision_on_unread_lists(facts);
    END IF;
    IF facts.kept > 0 THEN
        RETURN NEXT minga_roster_internal.decision_on_kept_changes(facts);
    END IF;
    IF facts.failed_step IS NOT NULL THEN
        RETURN NEXT minga_roster_internal.decision_on_test(facts);
    END IF;
    IF here.automatic AND here.retired_at IS NULL AND here.paused_cause <> 'restored'
        AND this.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        RETURN NEXT minga_roster_internal.decision_on_pause(facts);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_decisions(minga_roster_internal.report_facts) IS
'What needs a decision, as decision() returns it.';
