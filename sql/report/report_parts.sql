-- What a report says, in reading order: the first sentence, what needs a decision, what was done, the last evenings,
-- notes, and what the database administrator needs for all of this.

CREATE FUNCTION minga_roster_internal.report_findings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(
        array_agg(minga_roster_internal.readable(w.words) ORDER BY f.run DESC, f.position),
        greatest(count(*) - 12, 0), 12)
    FROM minga_roster.run_findings f
    CROSS JOIN LATERAL minga_roster_internal.finding_text(f.finding, f.category, f.amount, f."of", f.detail) w (words)
    WHERE f.run IN (facts.planned_in, (facts.run).run) AND (facts.run).kind <> 'approve'
        AND f.finding NOT IN ('incomplete', 'mass_update_held')
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_findings(minga_roster_internal.report_facts) IS
'What the run, or the preview that it applies, noticed, except what other parts say; NULL for nothing.';

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
            (8, 'skip', 'Inactive or different, skipped', NULL),
            (9, 'protect', 'Protected from the roster', NULL),
            (10, 'merged', 'Duplicate SIS records merged', NULL),
            (11, 'conflict', 'Conflicts', (facts.run).conflicts),
            (12, 'reject', 'Rejected rows', (facts.run).rejects),
            (13, 'contact', 'Parents and guardians', NULL),
            (14, 'ignore', 'Deleted or not rostered', NULL),
            (15, 'forgotten', 'Left out, erased on request', NULL),
            (16, 'kept', 'Not undone', NULL)
    ), waiting AS (
        -- People on hold whose row the run skipped count only as on hold.
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
        UNION ALL
        -- An approval or undo lists none.
        SELECT 20 + o.place, o.label, coalesce(nullif(r.listed, 0), r.changed + r.ended), concat_ws(', ',
            minga_roster_internal.figure(nullif(r.added, 0)) || ' added',
            minga_roster_internal.figure(nullif(r.changed, 0)) || ' changed',
            minga_roster_internal.figure(nullif(r.returned, 0)) || ' listed again',
            minga_roster_internal.figure(nullif(r.ended, 0)) || ' ended',
            minga_roster_internal.figure(nullif(r.held, 0)) || ' on hold',
            minga_roster_internal.figure(nullif(r.unknown_user, 0)) || CASE r.object WHEN 'contact'
                THEN ' more not listed' ELSE ' of unknown users' END,
            minga_roster_internal.figure(nullif(r.unknown_class, 0)) || ' of unknown classes',
            minga_roster_internal.figure(nullif(r.unknown_term, 0)) || ' of unknown terms',
            minga_roster_internal.figure(nullif(r.damaged, 0)) || ' not readable')
        FROM minga_roster.run_objects r
        JOIN (VALUES (1, 'academic_session', 'Terms'), (2, 'course', 'Courses'), (3, 'class', 'Classes'),
            (4, 'enrollment', 'Enrollments'), (5, 'contact', 'Contacts of students')) o (place, object, label)
            USING (object)
        WHERE r.run = (facts.run).run
    )
    SELECT jsonb_agg(jsonb_build_array(l.label, minga_roster_internal.figure(l.number), coalesce(l.who, ''))
        ORDER BY l.place)
    FROM lines l WHERE l.number > 0 OR l.place > 20 AND l.who <> ''
$$;
COMMENT ON FUNCTION minga_roster_internal.report_counts(minga_roster_internal.report_facts) IS
'What was done, line by line: [label, number, who of them]; NULL if there is nothing to count.';

CREATE FUNCTION minga_roster_internal.report_evenings(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH known AS (
        SELECT DISTINCT ON (r.evening) r.evening, r.state, r.state_cause = 'evening_missed' AS is_missed,
            coalesce(r.created, 0) + coalesce(r.linked, 0) + coalesce(r.updated, 0) + coalesce(r.restored,
                0) + coalesce(r.archived, 0) AS number,
            coalesce(r.held, 0) + coalesce((SELECT sum(o.held) FROM minga_roster.run_objects o
                WHERE o.run = r.run), 0)::bigint AS held
        FROM minga_roster.runs r
        WHERE r.connection = (facts.run).connection AND r.site = (facts.run).site AND r.evening IS NOT NULL
            AND r.run <= (facts.run).run
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
            'words', CASE WHEN k.state = 'succeeded' THEN CASE WHEN k.number = 0 THEN 'no accounts changed'
                ELSE minga_roster_internal.figures(k.number, 'change') END
                    || CASE WHEN k.held > 0 THEN format(', %s on hold', minga_roster_internal.figure(k.held))
                        ELSE '' END
                WHEN k.is_missed THEN 'missed'
                WHEN k.state = 'failed' THEN 'no sync: it failed'
                ELSE 'no sync' END) ORDER BY d.evening)
    FROM last l
    CROSS JOIN LATERAL generate_series(l.evening - 13, l.evening, interval '1 day') AS d (evening)
    LEFT JOIN known k ON k.evening = d.evening::date
    HAVING bool_or(k.state IN ('succeeded', 'failed') OR k.is_missed)
$$;
COMMENT ON FUNCTION minga_roster_internal.report_evenings(minga_roster_internal.report_facts) IS
'The last 14 evenings, oldest first: day, date, number of changes, tone (good, held, bad, none) and words; NULL before '
'the first evening.';

CREATE FUNCTION minga_roster_internal.report_notes(facts minga_roster_internal.report_facts) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(n.line ORDER BY n.place), '{}')
    FROM (SELECT facts.run AS run, facts.school AS school,
        (minga_roster_internal.clock() AT TIME ZONE facts.zone)::date AS today) f
    CROSS JOIN LATERAL (VALUES
        (1, CASE WHEN (f.school).enabled_origin IS NOT NULL
            AND (f.school).enabled_origin <> minga_roster_internal.server_origin() THEN
            'This database is a copy. Automatic Rostering was turned on in the original, so no evening sync runs here '
                'and no mail is sent.' END),
        (2, CASE WHEN (f.run).state = 'canceled' AND NOT facts.is_missed
            THEN concat_ws(' ', 'It changed no accounts.',
            'The next sync starts automatically on ' || minga_roster_internal.time_in_words(facts.next_evening,
                facts.zone)
                || '.') END),
        (3, CASE WHEN (f.school).unproven AND (f.school).retired_at IS NULL AND (f.run).state = 'succeeded' THEN
            'Archives are on hold until a full sync shows that the connection reaches the right school.' END),
        (4, CASE WHEN (f.school).credentials_expire < f.today THEN
                format('The SIS credentials expired on %s. Ask the SIS administrator for new ones.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY'))
            WHEN (f.school).credentials_expire <= f.today + 30 THEN
                format('The SIS credentials expire on %s. Ask the SIS administrator for new ones before that date.',
                    to_char((f.school).credentials_expire, 'FMMonth FMDD, YYYY')) END),
        (5, 'As on earlier evenings, the SIS did not show that it sent all '
            || minga_roster_internal.in_list(facts.still_unread[:6]) || '. '
            || (SELECT string_agg(DISTINCT minga_roster_internal.unread_means(c.family), ' ')
                FROM minga_roster.collections c
                WHERE c.run = (f.run).run AND c.collection = ANY (facts.still_unread))),
        (6, (SELECT CASE WHEN count(*) = 1 THEN 'A new person has'
                ELSE minga_roster_internal.figure(count(*)) || ' new people have' END
                || ' the same name as an active person without an identifier or email address. They may be the same '
                    'person. The '
                || 'database administrator can list them.'
            FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND (f.run).kind IN ('sync', 'preview') AND c.same_name IS NOT NULL
                AND c.state IN ('planned', 'applied')
            HAVING count(*) > 0)),
        (7, CASE WHEN (f.run).is_full IS FALSE THEN
            'Only changes since the last sync were read. The next full sync finds out who has left.' END),
        (8, CASE WHEN (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL THEN
            'The SIS ignores or rejects the filter on dateLastModified, so every evening sync reads the full roster.'
            END),
        -- In summer no class may be current.
        (9, CASE WHEN ((f.school).class_terms <> '{current}' OR (f.school).class_grades IS NOT NULL)
            AND EXISTS (SELECT FROM minga_roster.run_objects o
                WHERE o.run = (f.run).run AND o.object = 'class' AND o.listed = 0 AND o.not_chosen > 0)
            AND NOT EXISTS (SELECT FROM minga_roster.run_findings n
                WHERE n.run = (f.run).run AND n.finding = 'no_class_chosen')
            THEN 'No class in the SIS is of the chosen terms and grades, so none is kept. If that is a mistake, the '
                'database administrator corrects class_terms or class_grades with roster_configure.' END)
        ) AS n (place, line)
    WHERE n.line IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_notes(minga_roster_internal.report_facts) IS
'What is good to know and needs no decision.';

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
            minga_roster_internal.local_minute(coalesce((f.run).started_at, (f.run).queued_at), f.zone) || ' '
                || f.zone),
        (5, 'Took', minga_roster_internal.duration_in_words((f.run).finished_at - (f.run).started_at)),
        (6, 'Read', CASE WHEN (f.run).pages > 0 THEN format('%s in %s',
            -- Staged are users alone.
            minga_roster_internal.figures(greatest((f.run).rows_staged, (SELECT sum(c.rows)
                FROM minga_roster.collections c WHERE c.run = (f.run).run)::bigint), 'row'),
            minga_roster_internal.figures((f.run).pages, 'page')) END),
        (7, 'Asked for', CASE WHEN (f.run).is_full IS FALSE
            THEN format('%s changed since %s %s, and all staff', CASE WHEN EXISTS (SELECT
                FROM minga_roster.run_objects o WHERE o.run = (f.run).run AND o.object = 'class')
                THEN 'students, contacts, classes and enrollments' ELSE 'students and contacts' END,
            minga_roster_internal.local_minute((f.run).modified_since, f.zone), f.zone) END),
        (8, 'Approves', CASE (f.run).kind WHEN 'approve' THEN format('what run %s put on hold', (f.run).of_run) END),
        (9, 'Applies', CASE (f.run).kind WHEN 'apply' THEN format('the preview in run %s', (f.run).of_run) END),
        (10, 'Undoes', CASE (f.run).kind WHEN 'undo' THEN format('run %s', (f.run).of_run) END),
        (11, 'Error', CASE WHEN f.ended_badly THEN coalesce((f.run).error, 'none is recorded')
            || coalesce(' (SQLSTATE ' || (f.run).sqlstate || ')', '') END),
        (12, 'Detail', CASE WHEN f.ended_badly THEN nullif((f.run).detail, '') END),
        (13, 'Hint', CASE WHEN f.ended_badly THEN nullif((f.run).hint, '') END)
        ) AS d (place, label, value)
    WHERE d.value IS NOT NULL
$$;
COMMENT ON FUNCTION minga_roster_internal.report_details(minga_roster_internal.report_facts) IS
'What the database administrator needs to know about the run: pairs of label and value.';

CREATE FUNCTION minga_roster_internal.report_lists(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.first_items(array_agg(l.line ORDER BY l.place), greatest(count(*) - 12, 0), 12)
    FROM (
        SELECT row_number() OVER (ORDER BY c.collection) AS place,
            minga_roster_internal.readable(format('%s: %s', c.collection,
                coalesce(c.detail, 'its end was not proved'))) AS line
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
            minga_roster_internal.readable(format('%s: %s', minga_roster_internal.figures(r.number, 'rejected row'),
                r.reason))
        FROM (SELECT c.reason, count(*) AS number FROM minga_roster.changes c
              WHERE c.run = facts.planned_in AND c.action = 'reject' AND c.rule = 'refused by people'
                  AND (facts.run).kind <> 'approve' GROUP BY c.reason) r
        ) l
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION minga_roster_internal.report_lists(minga_roster_internal.report_facts) IS
'Which lists were not read completely and why, the steps of a connection test, and why the people table rejected '
'something; NULL for none.';

CREATE FUNCTION minga_roster_internal.report_statements(facts minga_roster_internal.report_facts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_array(s.why, minga_roster_internal.readable(s.statement)) ORDER BY s.place)
    FROM (SELECT facts.run AS run, facts.school AS school, facts.planned_in AS planned_in,
        (facts.run).state = 'succeeded' AS succeeded,
            (facts.run).kind IN ('sync', 'apply') AS acts) f
    CROSS JOIN LATERAL (VALUES
        (0, f.acts AND facts.held_creates > 0, 'New accounts on hold',
            format('SELECT sourced_ids, category, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''create'' AND state = ''held'';', f.planned_in)),
        (1, f.acts AND facts.moves > 0, 'People found under new IDs',
            format('SELECT person_id, sourced_ids, rule FROM minga_roster.changes WHERE run = %s AND action = ''link'' '
            'AND state = ''held'';', (f.run).run)),
        (2, f.acts AND facts.moves > 0, 'Move them to their new IDs; they keep their accounts',
            format('SELECT minga_roster.roster_relink(%s);', (f.run).run)),
        (3, f.acts AND facts.held_archives > 0, 'Archives on hold',
            format('SELECT person_id, category, sourced_ids FROM minga_roster.changes WHERE run = %s AND action = '
            '''archive'' AND state = ''held'';', f.planned_in)),
        (4, f.acts AND facts.held_updates > 0, 'Updates on hold',
            format('SELECT person_id, category, before, after FROM minga_roster.changes WHERE run = %s AND action = '
            '''update'' AND state = ''held'';', f.planned_in)),
        (5, f.acts AND facts.held_archives + facts.held_updates + facts.held_creates > 0, 'Carry out what is on hold',
            format('SELECT minga_roster.roster_approve(%s);', (f.run).run)),
        (6, f.succeeded AND facts.conflicts > 0, 'The conflicts with both sides; roster_decide settles them',
            format('SELECT * FROM minga_roster.roster_conflicts WHERE connection = %L;', (f.run).connection)),
        (7, f.succeeded AND facts.rejects > 0, 'The rejected rows',
            format('SELECT sourced_ids, reason FROM minga_roster.changes WHERE run = %s AND action = ''reject'';',
            f.planned_in)),
        (8, f.succeeded AND facts.noticed <> '{}', 'The findings',
            format('SELECT finding, category, amount, "of", detail FROM minga_roster.run_findings WHERE run = %s;',
            f.planned_in)),
        (17, f.succeeded AND (f.run).kind IN ('sync', 'preview') AND EXISTS (SELECT FROM minga_roster.changes c
            WHERE c.run = (f.run).run AND c.same_name IS NOT NULL AND c.state IN ('planned', 'applied')),
            'New people with the same name as someone already here',
            format('SELECT * FROM minga_roster.roster_same_names WHERE connection = %L;', (f.run).connection)),
        (9, facts.kept > 0, 'Changes that could not be undone',
            format('SELECT person_id, action, state_reason FROM minga_roster.changes WHERE run = %s AND state = '
                '''kept'';',
                (SELECT minga_roster_internal.planned_in(r) FROM minga_roster.runs r WHERE r.run = (f.run).of_run))),
        (11, facts.cause = 'login', 'Store a new Client Secret',
            format('SELECT minga_roster.roster_set_secret(%L, ''...'');', (f.run).connection)),
        (12, (f.run).state = 'failed' AND (f.run).state_cause IS NULL AND coalesce((f.run).phase, 'fetch') = 'fetch'
            AND (f.run).kind IN ('sync', 'preview', 'fetch'), 'Test the connection',
            format('SELECT * FROM minga_roster.roster_test_connection(%L);', (f.run).connection)),
        (13, (f.run).kind = 'sync' AND ((f.run).state = 'failed' OR facts.is_missed)
            AND facts.cause IS DISTINCT FROM 'zone', 'Sync now',
            format('SELECT run, state FROM minga_roster.roster_sync(%L);', (f.run).connection)),
        (14, (f.run).kind = 'diagnose' AND f.succeeded, 'The diagnosis as text for the SIS vendor',
            format('SELECT minga_roster.roster_diagnosis(%s);', (f.run).run)),
        (15, (f.school).automatic AND (f.school).retired_at IS NULL AND (f.school).paused_cause <> 'restored',
            'Turn Automatic Rostering on again', format('SELECT minga_roster.roster_enable(%L);',
            (f.run).connection)),
        (16, (f.school).delta AND (f.school).filter_unusable AND (f.school).retired_at IS NULL,
            'Ask for changes only, once the vendor has fixed the filter',
            format('SELECT minga_roster.roster_configure(%L, delta => true);', (f.run).connection))
        ) AS s (place, is_due, why, statement)
    WHERE s.is_due
$$;
COMMENT ON FUNCTION minga_roster_internal.report_statements(minga_roster_internal.report_facts) IS
'The exact statements for what the report asks the database administrator to do: pairs of purpose and statement.';

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
            ELSE minga_roster_internal.noted_reasons(facts.planned_in,
                ARRAY['create', 'link', 'update', 'restore', 'archive'],
                ARRAY['refused', 'expired']) END;
    END IF;
    RETURN QUERY
    SELECT row_number() OVER (ORDER BY p.place, p.within)::integer, p.part, p.content
    FROM (
        SELECT 1, 0::bigint, 'lead', jsonb_build_object('tone', l.tone, 'words', l.content)
            FROM minga_roster_internal.report_lead(facts) l
        UNION ALL
        SELECT 2, 0, 'context', to_jsonb(format('%s: %s%s', facts.place, minga_roster_internal.run_in_words(this),
            CASE WHEN this.kind IN ('test', 'fetch', 'diagnose', 'preview') THEN '. No accounts were changed.'
                ELSE '' END))
        UNION ALL
        SELECT 3, d.place, 'decision', d.content
            FROM minga_roster_internal.report_decisions(facts) WITH ORDINALITY d (content,
            place)
        UNION ALL
        SELECT 3, 1000 + c.place, c.part, c.content
        FROM minga_roster_internal.report_findings(facts) n (lines)
        CROSS JOIN LATERAL (VALUES (1, 'heading', to_jsonb('Findings in the SIS'::text)),
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
'The report of a run in reading order. part and content: lead: tone and words; context, heading: a string; decision: '
'title, lines and items; counts: [label, number, who]; items: strings; evenings: as report_evenings() returns them; '
'details: pairs of label and value; statements: pairs of purpose and statement.';
