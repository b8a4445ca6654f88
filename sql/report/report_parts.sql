-- What a report says, in the order of reading: the one sentence, what needs a decision, what was done, the last
-- evenings, what is good to know, and what the database administrator needs for all that.

CREATE FUNCTION minga_roster_internal.decision(title text, happened text, items jsonb, means text, next_step text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('title', title, 'items', coalesce(items, '[]'), 'lines', jsonb_build_array(
        jsonb_build_array('What happened', happened),
        jsonb_build_array('What it means', means),
        jsonb_build_array('What to do', next_step)))
$$;
COMMENT ON FUNCTION minga_roster_internal.decision(text, text, jsonb, text, text) IS
'A part of a report that needs a person: what happened, with the reasons one by one, what it means for the school, '
'who does what next and by when.';

CREATE FUNCTION minga_roster_internal.until_in_words(facts minga_roster_internal.report_facts) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN (facts.school).delta AND NOT (facts.school).filter_unusable
        THEN 'the next sync that reads the whole roster'
        WHEN facts.next_evening IS NULL THEN 'the next sync'
        ELSE 'the next sync, on ' || minga_roster_internal.time_in_words(facts.next_evening, facts.zone) END
$$;
COMMENT ON FUNCTION minga_roster_internal.until_in_words(minga_roster_internal.report_facts) IS 'Until when what is on hold can be decided.';

CREATE FUNCTION minga_roster_internal.held_reasons(run bigint, action text, OUT items jsonb, OUT who text) RETURNS record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS (
        SELECT c.category, coalesce(c.state_reason, c.reason) AS why, count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = held_reasons.run AND c.action = held_reasons.action AND c.state = 'held'
        GROUP BY 1, 2
    ), ranked AS (
        SELECT h.*, row_number() OVER (ORDER BY h.number DESC, h.category, h.why) AS place FROM held h
    )
    SELECT minga_roster_internal.first_items(array_agg(format('%s: %s', minga_roster_internal.counted_people(r.category, r.number), r.why)
        ORDER BY r.place) FILTER (WHERE r.place <= 8),
            coalesce(sum(r.number) FILTER (WHERE r.place > 8), 0)::bigint, 8),
        (SELECT minga_roster_internal.in_list(array_agg(minga_roster_internal.counted_people(k.category, k.number)
            ORDER BY k.number DESC, k.category))
         FROM (SELECT h.category, sum(h.number)::bigint AS number FROM held h GROUP BY h.category) k)
    FROM ranked r
$$;
COMMENT ON FUNCTION minga_roster_internal.held_reasons(bigint, text) IS
'Why changes of a run are on hold, by category, and whom they concern: "200 students and 4 teachers".';

CREATE FUNCTION minga_roster_internal.is_of_table(conflict text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(conflict IN ('not_unique', 'not_stored'), false)
$$;
COMMENT ON FUNCTION minga_roster_internal.is_of_table(text) IS
'Whether a conflict is about what the people table takes, and not about who somebody is.';

CREATE FUNCTION minga_roster_internal.noted_reasons(run bigint, actions text[], states text[], since timestamptz
    DEFAULT '-infinity', of_table boolean DEFAULT NULL) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH noted AS (
        SELECT c.category, CASE WHEN c.rule = 'refused by people'
            THEN 'The people table refused what was to be written.'
                WHEN c.state = 'noted' THEN c.reason
                ELSE coalesce(c.state_reason, 'A later sync has looked again.') END AS why, count(*) AS number
        FROM minga_roster.changes c
        WHERE c.run = noted_reasons.run AND c.action = ANY (actions) AND c.state = ANY (states) AND c.state_at >= since
            AND (of_table IS NULL OR minga_roster_internal.is_of_table(c.conflict) = of_table)
        GROUP BY 1, 2
    ), ranked AS (
        SELECT n.*, row_number() OVER (ORDER BY n.number DESC, n.category, n.why) AS place FROM noted n
    )
    SELECT minga_roster_internal.first_items(array_agg(format('%s: %s', minga_roster_internal.counted_people(r.category, r.number), r.why)
        ORDER BY r.place) FILTER (WHERE r.place <= 8),
        coalesce(sum(r.number) FILTER (WHERE r.place > 8), 0)::bigint, 8)
    FROM ranked r
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.noted_reasons(bigint, text[], text[], timestamptz, boolean) IS
'Why changes of a run were not carried out, by category and reason, the most frequent first; of_table: of conflicts, '
    'those that is_of_table() tells, or the others.';

CREATE FUNCTION minga_roster_internal.unread_means(family text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE family WHEN 'student' THEN 'No student is archived.' WHEN 'staff'
        THEN 'No teacher, staff member or administrator is archived.'
        ELSE 'Parent contacts may be missing.' END
$$;
COMMENT ON FUNCTION minga_roster_internal.unread_means(text) IS
'What follows for the school where a list of a family was not read completely.';

CREATE FUNCTION minga_roster_internal.report_findings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(array_agg(minga_roster_internal.readable(minga_roster_internal.finding_text(f.finding, f.category,
        f.amount, f."of", f.detail)) ORDER BY f.position),
        greatest(count(*) - 12, 0), 12)
    FROM minga_roster.run_findings f
    WHERE f.run = facts.planned_in AND (facts.run).kind <> 'approve'
        AND f.finding NOT IN ('incomplete', 'mass_update_held')
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_findings(minga_roster_internal.report_facts) IS 'What the run noticed in the SIS, but for what other parts say; '
    'NULL for nothing.';

CREATE FUNCTION minga_roster_internal.report_decisions(facts minga_roster_internal.report_facts) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    this minga_roster.runs := facts.run;
    here minga_roster.connections := facts.school;
    is_preview CONSTANT boolean := this.kind = 'preview';
    unchanged CONSTANT text := 'No account was added, changed or archived. All of them are as they were before.';
    until_settled CONSTANT text := 'There is no deadline: a conflict comes back each evening until it is settled.';
    not_taken bigint;
    comes_again text := CASE
        WHEN facts.retry_at IS NOT NULL THEN format('It is tried again at %s.',
            to_char(facts.retry_at AT TIME ZONE facts.zone, 'FMHH12:MI AM'))
        WHEN facts.next_evening IS NOT NULL THEN format('The next sync starts by itself on %s.',
            minga_roster_internal.time_in_words(facts.next_evening, facts.zone))
        ELSE 'No evening sync is coming up by itself.' END;
    failure record;
    held record;
    exact bigint;
    denied text[];
    unproven text[];
BEGIN
    SELECT * INTO failure FROM minga_roster_internal.failure_words() w WHERE w.cause = facts.cause;
    IF facts.is_missed THEN
        RETURN NEXT minga_roster_internal.decision('The evening was missed',
            format('No sync began on %s: %s.', minga_roster_internal.day_in_words(this.evening), CASE this.state
                WHEN 'canceled' THEN 'other syncs kept the server busy until the evening was over'
                ELSE 'the database server or its scheduler was not running' END),
            NULL, unchanged,
            format('If the server was off on purpose, nothing. Otherwise the database administrator finds the cause '
                'before the next evening. %s', comes_again));
    ELSIF this.state = 'failed' THEN
        RETURN NEXT minga_roster_internal.decision(upper(left(failure.short, 1)) || substr(failure.short, 2),
            concat_ws(' ', CASE WHEN facts.cause <> 'time' AND this.kind IN ('approve', 'apply', 'undo')
                THEN 'It stopped while the people were compared or written.'
                WHEN facts.cause <> 'time' AND coalesce(this.phase, 'fetch') <> 'fetch'
                THEN 'The roster was read, and the sync stopped while the people were compared or written.'
                WHEN facts.cause IN ('key', 'lock', 'crash', 'slow', 'database') OR this.error IS NULL
                    THEN 'The database server could not do it.'
                ELSE minga_roster_internal.cut(upper(left(this.error, 1)) || rtrim(substr(this.error, 2), '.'), 400) || '.' END,
                CASE WHEN facts.tries > 1 THEN format('%s tries on this evening failed.', facts.tries) END),
            NULL, unchanged, concat_ws(' ', failure.next_step, CASE WHEN this.evening IS NOT NULL THEN comes_again END,
                CASE WHEN this.evening IS NOT NULL AND facts.next_evening IS NOT NULL AND facts.retry_at IS NULL
                    AND NOT failure.mends_itself THEN 'It fails in the same way until this is done.' END));
    END IF;
    IF this.state <> 'succeeded' THEN
        RETURN;
    END IF;

    IF facts.moves > 0 THEN
        SELECT * INTO held FROM minga_roster_internal.held_reasons(this.run, 'link');
        SELECT count(*) INTO exact FROM minga_roster.changes c WHERE c.run = this.run AND c.state = 'held'
            AND c.action = 'link' AND c.rule = 'former id';
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.moves, 'id') || ' changed in the SIS',
            format('The SIS lists %s under ids that it never used before. That happens when a school changes to '
                'another SIS, or to another version of its API. They were found by %s.', held.who,
                CASE exact WHEN 0 THEN 'number or e-mail address'
                    WHEN facts.moves THEN 'their former ids, which the SIS tells, and which is exact'
                    ELSE format('their former ids, which the SIS tells of %s of them, and by number or e-mail address',
                        minga_roster_internal.figure(exact)) END),
            held.items,
            'These kinds of people were not added, changed or archived. Everyone else was synced as usual.',
            'Ask the SIS administrator whether the ids were changed on purpose. If so, the database administrator lets '
                'all of them keep their accounts under the new ids, and the next sync goes on. Until then each sync '
                'waits for this.');
    END IF;
    IF facts.held_archives > 0 THEN
        SELECT * INTO held FROM minga_roster_internal.held_reasons(facts.planned_in, 'archive');
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.held_archives, 'archive') || CASE WHEN is_preview
            THEN ' would be on hold' ELSE ' on hold' END,
            format('The SIS does not list %s any more. So many at once can be a mistake, so they %s archived.',
                held.who, CASE WHEN is_preview THEN 'would not be' ELSE 'were not' END),
            held.items,
            'They keep their accounts until somebody decides. Everyone else ' || CASE WHEN is_preview THEN 'would be'
                ELSE 'was' END || ' synced as usual.',
            CASE WHEN is_preview THEN 'Find out whether these people have really left before you sync.' ELSE
                'Find out whether these people have really left; the database administrator can list them. If they '
                    'have, the database administrator archives them for you. '
                || 'You can decide until ' || minga_roster_internal.until_in_words(facts)
                    || '. It looks again, and holds those who are missing then.' END);
    END IF;
    IF facts.held_updates > 0 THEN
        SELECT * INTO held FROM minga_roster_internal.held_reasons(facts.planned_in, 'update');
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.held_updates, 'update') || CASE WHEN is_preview
            THEN ' would be on hold' ELSE ' on hold' END,
            format('The SIS has another value for most people of a kind at once: %s. That can be a mistake, so '
                'they %s updated.', held.who, CASE WHEN is_preview THEN 'would not be' ELSE 'were not' END),
            held.items,
            'They stay as they are until somebody decides. Everyone else ' || CASE WHEN is_preview THEN 'would be'
                ELSE 'was' END || ' synced as usual.',
            CASE WHEN is_preview THEN 'Ask the SIS administrator whether this was changed on purpose before you sync.'
                ELSE
                'Ask the SIS administrator whether this was changed on purpose. If so, the database administrator '
                    'carries the updates out for you. '
                || 'You can decide until ' || minga_roster_internal.until_in_words(facts)
                    || '. It looks again, and holds what is still to be changed then.' END);
    END IF;
    IF facts.held_creates > 0 THEN
        SELECT * INTO held FROM minga_roster_internal.held_reasons(facts.planned_in, 'create');
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.held_creates, 'new account') || CASE
            WHEN is_preview THEN ' would be on hold' ELSE ' on hold' END,
            format('This is the first sync of "%s", which has no accounts yet, beside schools that have some. If the '
                'site is mistyped, everyone would get a second account.', minga_roster_internal.readable(this.site)),
            held.items,
            CASE WHEN is_preview THEN 'No account would be added until somebody decides.'
                ELSE 'No account was added. The people of the other schools are as they were before.' END,
            CASE WHEN is_preview THEN 'Ask the database administrator whether the site is the right one before you '
                'sync.' ELSE
                'Ask the database administrator whether the site is the right one. If so, one approval adds all of '
                    'them, and this does not come again. '
                || 'You can decide until ' || minga_roster_internal.until_in_words(facts) || '. It holds them again.' END);
    END IF;
    IF facts.conflicts > 0 AND this.kind <> 'approve' THEN
        SELECT least(count(*), facts.conflicts) INTO not_taken FROM minga_roster.changes c
        WHERE c.run = facts.planned_in
            AND c.action = 'conflict' AND c.state = 'noted' AND minga_roster_internal.is_of_table(c.conflict);
        IF facts.conflicts > not_taken THEN
            RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.conflicts - not_taken, 'conflict'),
                'The SIS lists people who cannot be told apart from others with certainty.',
                minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => false),
                'The people in a conflict were not changed or archived.',
                'Somebody who knows the school says who is who. The database administrator shows both sides and enters '
                    'the decision, which is remembered. ' || until_settled);
        END IF;
        IF not_taken > 0 THEN
            RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(not_taken, 'conflict') || ' with the people table',
                'The people table does not take these people as the SIS has them.',
                minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['conflict'], ARRAY['noted'], of_table => true),
                'These people were not added, changed or archived.',
                'The database administrator changes what stands in the way: a value, an index or a trigger of the '
                    'people table. For a row that nobody wants, the database administrator enters that, which is '
                    'remembered. ' || until_settled);
        END IF;
    END IF;
    IF facts.rejects > 0 AND this.kind <> 'approve' THEN
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.rejects, 'reject'),
            'The SIS sent rows that could not be used.',
            minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['reject'], ARRAY['noted']),
            'These rows changed no account. The people in them who have one keep it.',
            'The school corrects the rows in the SIS, and the next sync takes them up. Where the people table refused '
                'them, the database administrator looks at its rules.');
    END IF;
    IF facts.unread <> '{}' THEN
        SELECT coalesce(array_agg(u.name ORDER BY u.place) FILTER (WHERE d.collection IS NOT NULL), '{}'),
            coalesce(array_agg(u.name ORDER BY u.place) FILTER (WHERE d.collection IS NULL), '{}')
        INTO denied, unproven
        FROM unnest(facts.unread) WITH ORDINALITY AS u (name, place)
        LEFT JOIN minga_roster.collections d ON d.run = this.run AND d.weak_cause = 'denied'
            AND minga_roster_internal.readable(d.collection) = u.name;
        RETURN NEXT minga_roster_internal.decision(format('%s not read completely', CASE cardinality(facts.unread) WHEN 1
            THEN '1 list was'
                ELSE minga_roster_internal.figure(cardinality(facts.unread)) || ' lists were' END),
            concat_ws(' ',
                'The SIS does not share its list of ' || minga_roster_internal.in_list(denied[:6]
                    || CASE WHEN cardinality(denied) > 6 THEN ARRAY[format('%s more lists', cardinality(denied) - 6)]
                        ELSE '{}' END) || ' with the connection.',
                'The SIS did not show that it had sent all ' || minga_roster_internal.in_list(unproven[:6]
                    || CASE WHEN cardinality(unproven) > 6 THEN ARRAY[format('%s more lists',
                        cardinality(unproven) - 6)] ELSE '{}' END) || '.'),
            NULL,
            (SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ') FROM minga_roster.collections c
             WHERE c.run = this.run AND c.collection = ANY (facts.unread))
                || ' Everything else was done as usual.',
            concat_ws(' ',
                CASE WHEN denied <> '{}' THEN 'The SIS administrator shares the list with the connection (in Infinite '
                    'Campus: Data to Share).' END,
                CASE WHEN unproven <> '{}' THEN 'If it happens again on the next evening, the SIS administrator sends '
                    'the details at the end of this report to the vendor of the SIS.' END));
    END IF;
    IF facts.kept > 0 THEN
        RETURN NEXT minga_roster_internal.decision(minga_roster_internal.figures(facts.kept, 'change') || ' could not be taken back',
            'These people were changed again in the meantime.',
            minga_roster_internal.noted_reasons((SELECT minga_roster_internal.planned_in(r) FROM minga_roster.runs r
                WHERE r.run = this.of_run),
                ARRAY['create', 'link', 'update', 'restore', 'archive'], ARRAY['kept']),
            'They stay as they are now. Everyone else is as before.',
            'Somebody who knows the school looks at these people one by one; the database administrator can list '
                'them.');
    END IF;
    IF facts.failed_step IS NOT NULL THEN
        RETURN NEXT minga_roster_internal.decision('The connection test failed',
            format('The SIS could not be used at the step "%s".', facts.failed_step), NULL,
                'No sync would succeed now.',
            'The steps at the end of this report say who can mend it.');
    END IF;
    IF here.automatic AND here.retired_at IS NULL AND here.paused_cause <> 'restored'
        AND this.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        RETURN NEXT minga_roster_internal.decision('Automatic Rostering is paused',
            format('It was paused, as %s.', here.paused_reason), NULL,
            'No sync runs in the evening until it is switched on again.',
            'Once the cause is settled, the database administrator switches it on.');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_decisions(minga_roster_internal.report_facts) IS 'What needs a decision, each as decision() makes it.';

CREATE FUNCTION minga_roster_internal.report_counts(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH words (place, action, label, total) AS (
        VALUES (1, 'create', 'Added', (facts.run).created),
            (2, 'restore', 'Restored', (facts.run).restored),
            (3, 'update', CASE (facts.run).kind WHEN 'undo' THEN 'Changed back' ELSE 'Updated' END,
                (facts.run).updated),
            (4, 'link', CASE (facts.run).kind WHEN 'undo' THEN 'No longer matched' ELSE 'Matched with an account' END,
                (facts.run).linked),
            (5, 'archive', 'Archived', (facts.run).archived),
            (6, 'held', CASE WHEN facts.held_archives + facts.held_updates + facts.held_creates + facts.moves > 0
                THEN 'On hold' ELSE 'Was on hold' END, (facts.run).held),
            (7, 'unchanged', 'Unchanged', CASE WHEN (facts.run).kind NOT IN ('undo', 'apply')
                THEN (facts.run).unchanged END),
            (8, 'skip', 'Different in the SIS, left as is', NULL),
            (9, 'protect', 'Protected from the roster', NULL),
            (10, 'merged', 'Duplicate SIS records merged', NULL),
            (11, 'conflict', 'Conflicts', (facts.run).conflicts),
            (12, 'reject', 'Rejects', (facts.run).rejects),
            (13, 'contact', 'Parents and guardians', NULL),
            (14, 'ignore', 'Deleted or not rostered', NULL),
            (15, 'kept', 'Not taken back', NULL)
    ), waiting AS (
        -- People on hold whose row the run skipped: they are told as on hold, not as left as they are too.
        SELECT h.category, count(*) AS number
        FROM minga_roster.changes h
        WHERE h.run = (facts.run).run AND h.action IN ('create', 'update')
            AND (h.state = 'held' AND h.state_cause IN ('mass_update', 'new_site') OR h.done_by <> h.run)
            AND NOT EXISTS (SELECT FROM minga_roster.changes l
                WHERE l.run = h.run AND l.action = 'link' AND l.person_id = h.person_id)
        GROUP BY 1
    ), counted AS (
        SELECT c.action, c.category, sum(c.count)::bigint - CASE c.action WHEN 'skip'
            THEN coalesce((SELECT h.number FROM waiting h WHERE h.category = c.category), 0) ELSE 0 END AS number
        FROM minga_roster.run_counts c
        WHERE c.run = (facts.run).run AND c.count > 0 AND c.action NOT IN ('conflict', 'reject', 'refused archive')
        GROUP BY 1, 2
        UNION ALL
        -- People, as the run counts them: several rows may be one conflict.
        SELECT c.action, c.category, count(*)
        FROM minga_roster.changes c
        WHERE c.run = facts.planned_in AND (facts.run).kind <> 'approve' AND c.action IN ('conflict', 'reject')
            AND c.state = 'noted'
        GROUP BY 1, 2
    ), lines AS (
        SELECT w.place, w.label, coalesce(w.total, (SELECT sum(c.number) FROM counted c
            WHERE c.action = w.action))::bigint AS number,
            (SELECT string_agg(minga_roster_internal.counted_people(c.category, c.number), ', '
                ORDER BY array_position(ARRAY['student', 'teacher', 'staff', 'admin'], c.category), c.category)
             FROM counted c WHERE c.action = w.action AND c.number > 0
                AND c.category IN ('student', 'teacher', 'staff', 'admin')) AS who
        FROM words w
    )
    SELECT jsonb_agg(jsonb_build_array(l.label, minga_roster_internal.figure(l.number), coalesce(l.who, '')) ORDER BY l.place)
    FROM lines l WHERE l.number > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_counts(minga_roster_internal.report_facts) IS 'What was done, [label, number, who of them] line by line; NULL '
    'where nothing is to be counted.';

CREATE FUNCTION minga_roster_internal.report_evenings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT DISTINCT ON (r.evening) r.evening, r.state, r.state_cause = 'evening_missed' AS is_missed,
            coalesce(r.created, 0) + coalesce(r.linked, 0) + coalesce(r.updated, 0) + coalesce(r.restored,
                0) + coalesce(r.archived, 0) AS number,
            coalesce(r.held, 0) AS held
        FROM minga_roster.runs r
        WHERE r.connection = (facts.run).connection AND r.evening IS NOT NULL AND r.run <= (facts.run).run
        ORDER BY r.evening, r.state = 'succeeded' DESC, r.run DESC
    ), last AS (
        SELECT coalesce((facts.run).evening, max(k.evening)) AS evening FROM known k
    )
    SELECT jsonb_agg(jsonb_build_object(
            'day', to_char(d.evening, 'FMDD'),
            'short', to_char(d.evening, 'FMMon FMDD'),
            'date', minga_roster_internal.day_in_words(d.evening::date),
            'number', CASE k.state WHEN 'succeeded' THEN k.number ELSE 0 END,
            'tone', CASE WHEN k.state = 'succeeded' AND k.held > 0 THEN 'held' WHEN k.state = 'succeeded' THEN 'good'
                WHEN k.is_missed OR k.state = 'failed' THEN 'bad' ELSE 'none' END,
            'words', CASE WHEN k.state = 'succeeded' THEN CASE WHEN k.number = 0 THEN 'nothing changed'
                ELSE minga_roster_internal.figures(k.number, 'change') END
                    || CASE WHEN k.held > 0 THEN format(', %s on hold', minga_roster_internal.figure(k.held)) ELSE '' END
                WHEN k.is_missed THEN 'missed'
                WHEN k.state = 'failed' THEN 'no sync: it failed'
                ELSE 'no sync' END) ORDER BY d.evening)
    FROM last l
    CROSS JOIN LATERAL generate_series(l.evening - 13, l.evening, interval '1 day') AS d (evening)
    LEFT JOIN known k ON k.evening = d.evening::date
    HAVING bool_or(k.state IN ('succeeded', 'failed') OR k.is_missed)
$$;
COMMENT ON FUNCTION minga_roster_internal.report_evenings(minga_roster_internal.report_facts) IS
'The last 14 evenings, oldest first: day, date, number of changes, tone (good, held, bad, none) and words; NULL where '
    'there was no evening yet.';

CREATE FUNCTION minga_roster_internal.report_notes(facts minga_roster_internal.report_facts) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(n.line ORDER BY n.place), '{}')
    FROM (SELECT facts.run AS run, facts.school AS school,
        (minga_roster_internal.clock() AT TIME ZONE facts.zone)::date AS today) f
    CROSS JOIN LATERAL (VALUES
        (1, CASE WHEN (f.school).enabled_origin IS NOT NULL
            AND (f.school).enabled_origin <> minga_roster_internal.server_origin() THEN
            'This database is a copy of the one in which Automatic Rostering was switched on: no evening sync runs '
                'here, and no mail is sent.' END),
        (2, CASE WHEN (f.run).state = 'canceled' AND NOT facts.is_missed
            THEN concat_ws(' ', 'No account was changed by it.',
            'The next sync starts by itself on ' || minga_roster_internal.time_in_words(facts.next_evening, facts.zone)
                || '.') END),
        (3, CASE WHEN (f.school).unproven AND (f.school).retired_at IS NULL AND (f.run).state = 'succeeded' THEN
            'Archives are on hold until a full sync has shown that the connection reaches the right school.' END),
        (4, CASE WHEN (f.school).credentials_expire < f.today THEN
                format('The credentials of the SIS expired on %s: ask the SIS administrator for new ones.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY'))
            WHEN (f.school).credentials_expire <= f.today + 30 THEN
                format('The credentials of the SIS expire on %s: ask the SIS administrator for new ones before.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY')) END),
        (5, 'As on evenings before, the SIS did not show that it had sent all '
            || minga_roster_internal.in_list(facts.still_unread[:6]) || '. '
            || (SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ') FROM minga_roster.collections c
                WHERE c.run = (f.run).run AND c.collection = ANY (facts.still_unread))),
        (6, (SELECT CASE WHEN count(*) = 1 THEN 'A new person has'
                ELSE minga_roster_internal.figure(count(*)) || ' new people have' END
                || ' the name of somebody here without a number and an e-mail address. They may be the same: the '
                || 'database administrator can list them.'
            FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND (f.run).kind IN ('sync', 'preview') AND c.same_name IS NOT NULL
                AND c.state IN ('planned', 'applied')
            HAVING count(*) > 0)),
        (7, CASE WHEN (f.run).is_full IS FALSE THEN
            'Only what changed since the last sync was read. The next full sync looks at who has left.' END),
        (8, CASE WHEN (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL THEN
            'The SIS ignores or refuses the filter on dateLastModified, so every evening reads the whole roster.' END)
        ) AS n (place, line)
    WHERE n.line IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_notes(minga_roster_internal.report_facts) IS 'What is good to know and needs no decision tonight.';

CREATE FUNCTION minga_roster_internal.report_details(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(d.label, minga_roster_internal.cut(minga_roster_internal.readable(d.value), 600))
        ORDER BY d.place, d.label)
    FROM (SELECT facts.run AS run, facts.zone AS zone, coalesce((facts.run).state IN ('failed', 'canceled'),
        false) AS ended_badly) f
    CROSS JOIN LATERAL (VALUES
        (1, 'Connection', (f.run).connection),
        (2, 'Site', minga_roster_internal.cut((f.run).site, 120)),
        (3, 'Run', format('%s (%s, %s)', (f.run).run, (f.run).kind, CASE WHEN (f.run).evening IS NOT NULL
            THEN format('evening of %s', (f.run).evening)
            ELSE format('requested by %s', (f.run).requested_by) END)),
        (4, CASE WHEN (f.run).started_at IS NOT NULL THEN 'Began' WHEN facts.is_missed THEN 'Recorded'
            ELSE 'Queued' END,
            to_char(coalesce((f.run).started_at, (f.run).queued_at) AT TIME ZONE f.zone, 'YYYY-MM-DD HH24:MI') || ' '
                || f.zone),
        (5, 'Took', minga_roster_internal.duration_in_words((f.run).finished_at - (f.run).started_at)),
        (6, 'Read', CASE WHEN (f.run).pages > 0 THEN format('%s in %s',
            minga_roster_internal.figures((f.run).rows_staged, 'row'), minga_roster_internal.figures((f.run).pages, 'page')) END),
        (7, 'Asked for', CASE WHEN (f.run).is_full IS FALSE
            THEN format('students and contacts changed since %s %s, and all staff',
            to_char((f.run).modified_since AT TIME ZONE f.zone, 'YYYY-MM-DD HH24:MI'), f.zone) END),
        (8, 'Approves', CASE (f.run).kind WHEN 'approve' THEN format('what run %s put on hold', (f.run).of_run) END),
        (9, 'Applies', CASE (f.run).kind WHEN 'apply' THEN format('the preview that is run %s', (f.run).of_run) END),
        (10, 'Takes back', CASE (f.run).kind WHEN 'undo' THEN format('run %s', (f.run).of_run) END),
        (11, 'Error', CASE WHEN f.ended_badly THEN coalesce((f.run).error, 'none is on record')
            || coalesce(' (SQLSTATE ' || (f.run).sqlstate || ')', '') END),
        (12, 'Detail', CASE WHEN f.ended_badly THEN nullif((f.run).detail, '') END),
        (13, 'Hint', CASE WHEN f.ended_badly THEN nullif((f.run).hint, '') END)
        ) AS d (place, label, value)
    WHERE d.value IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_details(minga_roster_internal.report_facts) IS
'What the database administrator wants to know of the run: pairs of label and value.';

CREATE FUNCTION minga_roster_internal.report_lists(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(array_agg(l.line ORDER BY l.place), greatest(count(*) - 12, 0), 12)
    FROM (
        SELECT row_number() OVER (ORDER BY c.collection) AS place,
            minga_roster_internal.readable(format('%s: %s', c.collection, coalesce(c.detail, 'its end was not proved'))) AS line
        FROM minga_roster.collections c
        WHERE facts.unread || facts.still_unread <> '{}' AND c.run = (facts.run).run
            AND (NOT c.complete OR c.proof = 'weak')
            AND ((facts.run).is_full IS NOT FALSE OR c.proof IS NULL)
        UNION ALL
        SELECT 1000 + s.position, minga_roster_internal.readable(format('%s: %s', s.step,
            concat_ws('. ', CASE WHEN s.ok THEN 'ok' WHEN NOT s.ok THEN 'failed' ELSE 'not reached' END,
            rtrim(s.detail, '.'), s.hint)))
        FROM minga_roster.run_steps s WHERE s.run = (facts.run).run
        UNION ALL
        SELECT 2000 + row_number() OVER (ORDER BY r.number DESC, r.reason),
            minga_roster_internal.readable(format('%s: %s', minga_roster_internal.figures(r.number, 'reject'), r.reason))
        FROM (SELECT c.reason, count(*) AS number FROM minga_roster.changes c
              WHERE c.run = facts.planned_in AND c.action = 'reject' AND c.rule = 'refused by people'
                  AND (facts.run).kind <> 'approve' GROUP BY c.reason) r
        ) l
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_lists(minga_roster_internal.report_facts) IS
'Which lists were not read completely and why, the steps of a connection test, and why the people table refused '
    'something; NULL for none.';

CREATE FUNCTION minga_roster_internal.report_statements(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(s.why, minga_roster_internal.readable(s.statement)) ORDER BY s.place)
    FROM (SELECT facts.run AS run, facts.school AS school, facts.planned_in AS planned_in,
        (facts.run).state = 'succeeded' AS succeeded,
            (facts.run).kind IN ('sync', 'apply') AS acts) f
    CROSS JOIN LATERAL (VALUES
        (0, f.acts AND facts.held_creates > 0, 'Whose new accounts are on hold',
            format('SELECT sourced_ids, category, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''create'' AND state = ''held'';', f.planned_in)),
        (1, f.acts AND facts.moves > 0, 'Known people under new ids',
            format('SELECT person_id, sourced_ids, rule FROM minga_roster.changes WHERE run = %s AND action = ''link'' '
            'AND state = ''held'';', (f.run).run)),
        (2, f.acts AND facts.moves > 0, 'Let them keep their accounts under the new ids',
            format('SELECT minga_roster.roster_relink(%s);', (f.run).run)),
        (3, f.acts AND facts.held_archives > 0, 'Whose archives are on hold',
            format('SELECT person_id, category, sourced_ids FROM minga_roster.changes WHERE run = %s AND action = '
            '''archive'' AND state = ''held'';', f.planned_in)),
        (4, f.acts AND facts.held_updates > 0, 'Whose updates are on hold',
            format('SELECT person_id, category, before, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''update'' AND state = ''held'';', f.planned_in)),
        (5, f.acts AND facts.held_archives + facts.held_updates + facts.held_creates > 0, 'Carry out what is on hold',
            format('SELECT minga_roster.roster_approve(%s);', (f.run).run)),
        (6, f.succeeded AND facts.conflicts > 0, 'The conflicts, both sides; roster_decide settles one',
            format('SELECT * FROM minga_roster.roster_conflicts WHERE connection = %L;', (f.run).connection)),
        (7, f.succeeded AND facts.rejects > 0, 'The rejects',
            format('SELECT sourced_ids, reason FROM minga_roster.changes WHERE run = %s AND action = ''reject'';',
            f.planned_in)),
        (8, f.succeeded AND facts.noticed <> '{}', 'What was noticed',
            format('SELECT finding, category, amount, "of", detail FROM minga_roster.run_findings WHERE run = %s;',
            f.planned_in)),
        (17, f.succeeded AND (f.run).kind IN ('sync', 'preview') AND EXISTS (SELECT FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND c.same_name IS NOT NULL AND c.state IN ('planned', 'applied')),
            'New people beside whom somebody has the same name',
            format('SELECT * FROM minga_roster.roster_same_names WHERE connection = %L;', (f.run).connection)),
        (9, facts.kept > 0, 'Who could not be taken back',
            format('SELECT c.person_id, c.action, c.state_reason FROM minga_roster.changes c JOIN minga_roster.runs r '
            'ON r.run = %s WHERE c.run = minga_roster_internal.planned_in(r) AND c.state = ''kept'';', (f.run).of_run)),
        (11, facts.cause = 'login', 'Store a new Client Secret',
            format('SELECT minga_roster.roster_set_secret(%L, ''...'');', (f.run).connection)),
        (12, (f.run).state = 'failed' AND NOT facts.is_missed AND coalesce((f.run).phase, 'fetch') = 'fetch'
            AND (f.run).kind IN ('sync', 'preview', 'fetch'), 'Test the connection',
            format('SELECT * FROM minga_roster.roster_test_connection(%L);', (f.run).connection)),
        (13, (f.run).kind = 'sync' AND ((f.run).state = 'failed' OR facts.is_missed), 'Sync now',
            format('SELECT run, state FROM minga_roster.roster_sync(%L);', (f.run).connection)),
        (14, (f.run).kind = 'diagnose' AND f.succeeded, 'What was found, as a text for the vendor',
            format('SELECT minga_roster.roster_diagnosis(%s);', (f.run).run)),
        (15, (f.school).automatic AND (f.school).retired_at IS NULL AND (f.school).paused_cause <> 'restored',
            'Switch Automatic Rostering on again', format('SELECT minga_roster.roster_enable(%L);',
            (f.run).connection)),
        (16, (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL,
            'Ask for changes only again, once the vendor has mended the filter',
            format('SELECT minga_roster.roster_configure(%L, delta => true);', (f.run).connection))
        ) AS s (place, is_due, why, statement)
    WHERE s.is_due
$$;
COMMENT ON FUNCTION minga_roster_internal.report_statements(minga_roster_internal.report_facts) IS
'The exact statements for what the report asks of the database administrator: pairs of purpose and statement.';

CREATE FUNCTION minga_roster_internal.report_parts(run bigint, OUT nth integer, OUT part text, OUT content jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    facts minga_roster_internal.report_facts := minga_roster_internal.facts_of(run);
    this minga_roster.runs := facts.run;
    refused jsonb;
BEGIN
    IF this.state = 'succeeded' AND this.kind IN ('sync', 'apply', 'approve') THEN
        refused := CASE this.kind
            WHEN 'approve' THEN minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['archive', 'update'],
                ARRAY['refused'],
                (SELECT r.finished_at FROM minga_roster.runs r WHERE r.run = facts.planned_in))
            ELSE minga_roster_internal.noted_reasons(facts.planned_in, ARRAY['create', 'link', 'update', 'restore', 'archive'],
                ARRAY['refused', 'expired']) END;
    END IF;
    RETURN QUERY
    SELECT row_number() OVER (ORDER BY p.place, p.within)::integer, p.part, p.content
    FROM (
        SELECT 1, 0::bigint, 'lead', jsonb_build_object('tone', l.tone, 'words', l.content)
            FROM minga_roster_internal.report_lead(facts) l
        UNION ALL
        SELECT 2, 0, 'context', to_jsonb(format('%s: %s%s', facts.place, minga_roster_internal.run_in_words(this),
            CASE WHEN this.kind IN ('test', 'fetch', 'diagnose', 'preview') THEN '. No account was changed.'
                ELSE '' END))
        UNION ALL
        SELECT 3, d.place, 'decision', d.content FROM minga_roster_internal.report_decisions(facts) WITH ORDINALITY d (content,
            place)
        UNION ALL
        SELECT 3, 1000 + c.place, c.part, c.content
        FROM minga_roster_internal.report_findings(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('Noticed in the SIS'::text)),
            (2, 'items', n.lines)) c (place, part, content)
        WHERE n.lines IS NOT NULL
        UNION ALL
        SELECT 4, c.place, c.part, c.content
        FROM minga_roster_internal.report_counts(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb(CASE this.kind WHEN 'preview' THEN 'What a sync would do'
            ELSE 'What was done' END)),
            (2, 'counts', n.lines)) c (place, part, content)
        WHERE n.lines IS NOT NULL
        UNION ALL
        SELECT 5, c.place, c.part, c.content
        FROM (VALUES (1, 'heading', to_jsonb('Not carried out'::text)), (2, 'items', refused)) c (place, part, content)
        WHERE refused IS NOT NULL
        UNION ALL
        SELECT 6, c.place, c.part, c.content
        FROM minga_roster_internal.report_evenings(facts) n (evenings)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('The last 14 evenings'::text)),
            (2, 'evenings', n.evenings)) c (place, part, content)
        WHERE n.evenings IS NOT NULL AND this.finished_at IS NOT NULL
            AND this.kind IN ('sync', 'approve', 'apply', 'undo')
        UNION ALL
        SELECT 7, c.place, c.part, c.content
        FROM minga_roster_internal.report_notes(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('Good to know'::text)),
            (2, 'items', to_jsonb(n.lines))) c (place, part, content)
        WHERE n.lines <> '{}'
        UNION ALL
        SELECT 8, 1, 'heading', to_jsonb('For the database administrator'::text)
        UNION ALL
        SELECT 8, 2, 'details', minga_roster_internal.report_details(facts)
        UNION ALL
        SELECT 8, 3, 'items', l.lines FROM minga_roster_internal.report_lists(facts) l (lines) WHERE l.lines IS NOT NULL
        UNION ALL
        SELECT 8, 4, 'statements', s.lines FROM minga_roster_internal.report_statements(facts) s (lines)
            WHERE s.lines IS NOT NULL
    ) AS p (place, within, part, content);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_parts(bigint) IS
'The report of a run in the order of reading. part and content: lead: tone and words; context, heading: a string; '
    'decision: title, lines and items; counts: [label, number, who]; items: strings; evenings: as report_evenings() '
    'gives them; details: pairs of label and value; statements: pairs of purpose and statement.';
