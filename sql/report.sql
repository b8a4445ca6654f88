-- Reports: what a run did, as text and as HTML, and the mail that carries both. A report names numbers, rules and reasons, never a
-- person: no name, e-mail, sourcedId or value of one. Must survive odd data, since it is written while a run is being closed.

CREATE FUNCTION counted(number bigint, noun text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s %s%s', number, noun, CASE WHEN number <> 1 THEN 's' END)
$$;
COMMENT ON FUNCTION counted(bigint, text) IS '"1 archive", "12 archives".';

CREATE FUNCTION duration_in_words(elapsed interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN s.seconds < 1 THEN 'under 1 s'
                WHEN s.seconds < 60 THEN format('%s s', s.seconds)
                WHEN s.seconds < 3600 THEN format('%s min %s s', s.seconds / 60, s.seconds % 60)
                ELSE format('%s h %s min', s.seconds / 3600, s.seconds % 3600 / 60) END
    FROM (SELECT floor(extract(epoch FROM elapsed))::bigint AS seconds) s
$$;
COMMENT ON FUNCTION duration_in_words(interval) IS '"45 s", "3 min 20 s", "1 h 5 min".';

CREATE FUNCTION wrapped(content text, width integer) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lines text[] := '{}';
    line text;
    word text;
BEGIN
    FOREACH word IN ARRAY regexp_split_to_array(btrim(content), '\s+') LOOP
        IF line IS NULL THEN
            line := word;
        ELSIF length(line) + 1 + length(word) <= width THEN
            line := line || ' ' || word;
        ELSE
            lines := lines || line;
            line := word;
        END IF;
    END LOOP;
    RETURN lines || coalesce(line, '');
END
$$;
COMMENT ON FUNCTION wrapped(text, integer) IS 'Lines of at most that many characters; a longer word has a line of its own.';

CREATE FUNCTION html_escaped(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(replace(replace(replace(content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION html_escaped(text) IS 'Fit for text and for quoted attributes of HTML.';

CREATE FUNCTION readable_lines(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster.readable(l.line), E'\n' ORDER BY l.place)
    FROM string_to_table(content, E'\n') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION readable_lines(text) IS 'readable() for a text of several lines.';

CREATE FUNCTION run_findings(run bigint, OUT place text, OUT is_missed boolean, OUT applied bigint, OUT held bigint, OUT conflicts bigint,
    OUT rejects bigint, OUT kept bigint, OUT failed_step text, OUT unread text, OUT kind_in_words text, OUT needs text[], OUT is_problem boolean, OUT retry_at timestamptz, OUT moves bigint,
    OUT held_updates bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs;
BEGIN
    SELECT * INTO reported FROM minga_roster.runs r WHERE r.run = run_findings.run;
    -- The school's name as the SIS has it, where the stage knows it.
    SELECT coalesce(
        (SELECT nullif(o.name, '')
         FROM minga_roster.connections c
         JOIN minga_roster.staged_orgs o ON o.connection = c.connection AND lower(o.sourced_id) = lower(c.school_id)
         WHERE c.connection = reported.connection
         ORDER BY o.sourced_id = c.school_id DESC LIMIT 1),
        reported.site) INTO place;
    is_missed := coalesce(reported.error = 'evening missed', false);
    applied := coalesce(reported.created, 0) + coalesce(reported.linked, 0) + coalesce(reported.updated, 0)
        + coalesce(reported.restored, 0) + coalesce(reported.archived, 0);
    conflicts := coalesce(reported.conflicts, 0);
    rejects := coalesce(reported.rejects, 0);
    SELECT count(*) FILTER (WHERE c.action = 'archive'), count(*) FILTER (WHERE c.action = 'update'), count(*) FILTER (WHERE c.action = 'link')
    INTO held, held_updates, moves
    FROM minga_roster.changes c WHERE c.run = minga_roster.planned_in(reported) AND reported.kind <> 'approve' AND c.state = 'held';
    SELECT string_agg(c.collection, ' and ' ORDER BY c.collection) || CASE count(*) WHEN 1 THEN ' was not read whole' ELSE ' were not read whole' END INTO unread
    FROM minga_roster.collections c
    WHERE c.run = reported.run AND (NOT c.complete OR c.proof = 'weak') AND reported.kind <> 'test' AND reported.state = 'succeeded'
        -- A delta rests on no proof; what it could not read at all is worth a word.
        AND (reported.is_full IS NOT FALSE OR c.proof IS NULL);
    kind_in_words := CASE reported.kind WHEN 'test' THEN 'connection test' WHEN 'approve' THEN 'approval' WHEN 'diagnose' THEN 'diagnosis' ELSE reported.kind END;
    SELECT coalesce(sum(c.count), 0) INTO kept FROM minga_roster.run_counts c WHERE c.run = reported.run AND c.action = 'kept';
    SELECT s.step INTO failed_step FROM minga_roster.run_steps s WHERE s.run = reported.run AND NOT s.ok ORDER BY s.position LIMIT 1;

    needs := '{}';
    IF moves > 0 THEN
        needs := needs || format('%s changed in the SIS', minga_roster.counted(moves, 'id'));
    END IF;
    IF held > 0 THEN
        needs := needs || format('%s %s', minga_roster.counted(held, 'archive'),
            CASE WHEN reported.kind = 'preview' THEN 'would be held' WHEN held = 1 THEN 'is held' ELSE 'are held' END);
    END IF;
    IF held_updates > 0 THEN
        needs := needs || format('%s %s', minga_roster.counted(held_updates, 'update'),
            CASE WHEN reported.kind = 'preview' THEN 'would be held' WHEN held_updates = 1 THEN 'is held' ELSE 'are held' END);
    END IF;
    IF unread IS NOT NULL THEN
        needs := needs || unread;
    END IF;
    IF conflicts > 0 THEN
        needs := needs || minga_roster.counted(conflicts, 'conflict');
    END IF;
    IF rejects > 0 THEN
        needs := needs || minga_roster.counted(rejects, 'reject');
    END IF;
    IF kept > 0 THEN
        needs := needs || format('%s could not be taken back', minga_roster.counted(kept, 'change'));
    END IF;
    IF failed_step IS NOT NULL THEN
        needs := needs || format('the connection test failed at "%s"', failed_step);
    END IF;
    is_problem := reported.state = 'failed' OR is_missed OR needs <> '{}';

    IF reported.state = 'failed' AND reported.evening IS NOT NULL THEN
        SELECT e.retry_at INTO retry_at FROM minga_roster.evenings() e
        WHERE e.connection = reported.connection AND e.evening = reported.evening AND e.last_try = reported.run;
    END IF;
END
$$;
COMMENT ON FUNCTION run_findings(bigint) IS
'What a report says first: the school or site, how many changes were applied, archives, updates and links that are held still, conflicts, rejects, what was not read whole, and in words what needs a person. retry_at: when a failed evening run is tried again.';

CREATE FUNCTION report_parts(run bigint, OUT nth integer, OUT part text, OUT content jsonb)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs := minga_roster.known_run(run);
    school minga_roster.connections;
    finding record;
    show_error boolean;
    show_detail boolean;
    zone text;
    counts jsonb;
    listed jsonb;
    kind text;
    planned_in bigint := minga_roster.planned_in(reported);
    taken_back bigint;
    exact_moves bigint;
    categories CONSTANT text[] := ARRAY['student', 'teacher', 'staff', 'admin', 'contact', 'none'];
BEGIN
    SELECT * INTO school FROM minga_roster.connections c WHERE c.connection = reported.connection;
    SELECT minga_roster.planned_in(r) INTO taken_back FROM minga_roster.runs r WHERE r.run = reported.of_run;
    SELECT * INTO finding FROM minga_roster.run_findings(reported.run);
    zone := coalesce(school.time_zone, 'UTC');
    -- Once people are being compared or written, a text that is not ours may hold a person's values: Postgres' of data
    -- and constraints, and what the deployment's triggers raise.
    show_detail := coalesce(reported.phase, 'fetch') = 'fetch'
        OR coalesce(left(reported.sqlstate, 2) IN ('08', '0A', '25', '28', '40', '42', '53', '54', '55', '57', '58', 'F0', 'XX'), true);
    show_error := show_detail OR left(reported.sqlstate, 2) = '23';
    nth := 0;

    part := 'lead';
    content := to_jsonb(CASE
        WHEN finding.is_missed THEN 'Needs a person: the evening was missed.'
        WHEN reported.state = 'failed' THEN format('The %s failed: %s.', finding.kind_in_words,
            coalesce(CASE WHEN show_error THEN rtrim(reported.error, '.') END, 'SQLSTATE ' || reported.sqlstate, 'no error is on record'))
        WHEN reported.state = 'cancelled' THEN format('The %s was cancelled.', finding.kind_in_words)
        WHEN reported.state IN ('queued', 'running') THEN format('The %s is %s.', finding.kind_in_words, reported.state)
        WHEN finding.is_problem THEN format('Needs a person: %s.', array_to_string(finding.needs, ', '))
        ELSE 'Nothing to do.' END);
    RETURN NEXT;

    part := 'text';
    IF reported.state IN ('failed', 'cancelled') THEN
        IF NOT show_detail THEN
            nth := nth + 1;
            content := to_jsonb(format('The rest of the error may hold values of people and is not mailed: SELECT error, detail, hint FROM minga_roster.runs WHERE run = %s.',
                reported.run));
            RETURN NEXT;
        ELSE
            FOR content IN SELECT to_jsonb(t.line) FROM unnest(ARRAY[reported.detail, reported.hint]) WITH ORDINALITY t (line, place)
                           WHERE t.line <> '' ORDER BY t.place
            LOOP
                nth := nth + 1;
                RETURN NEXT;
            END LOOP;
        END IF;
        IF finding.retry_at IS NOT NULL THEN
            nth := nth + 1;
            content := to_jsonb(format('It is tried again at %s.', to_char(finding.retry_at AT TIME ZONE zone, 'HH24:MI')));
            RETURN NEXT;
        END IF;
        IF reported.kind IN ('sync', 'approve', 'apply', 'undo') AND NOT finding.is_missed THEN
            nth := nth + 1;
            content := to_jsonb('Nobody was changed by this run.'::text);
            RETURN NEXT;
        END IF;
    END IF;
    IF reported.kind IN ('test', 'diagnose', 'fetch', 'preview') AND reported.state = 'succeeded' THEN
        nth := nth + 1;
        content := to_jsonb(CASE reported.kind
            WHEN 'test' THEN CASE WHEN finding.failed_step IS NULL THEN 'The connection test passed.' ELSE 'What the test found stands below.' END
            WHEN 'diagnose' THEN format('The SIS was examined; nobody was changed. What was found: SELECT minga_roster.roster_diagnosis(%s).', reported.run)
            WHEN 'fetch' THEN 'The roster was fetched into the stage; nobody was changed.'
            ELSE 'This is a preview of what a sync would do; nobody was changed.' END);
        RETURN NEXT;
    END IF;

    nth := nth + 1;
    part := 'facts';
    SELECT jsonb_agg(jsonb_build_array(f.label, f.value) ORDER BY f.place) INTO content
    FROM (VALUES
        (1, 'Connection', reported.connection),
        (2, 'Site', reported.site),
        (3, 'School', CASE WHEN finding.place <> reported.site THEN finding.place END),
        (4, 'Run', format('%s (%s, %s)', reported.run, reported.kind, CASE WHEN reported.origin = 'evening' THEN format('evening of %s', reported.evening) ELSE 'manual' END)),
        (5, 'Requested by', CASE WHEN reported.origin = 'manual' THEN reported.requested_by::text END),
        (6, CASE WHEN reported.started_at IS NOT NULL THEN 'Began' WHEN finding.is_missed THEN 'Recorded' ELSE 'Queued' END, to_char(coalesce(reported.started_at, reported.queued_at) AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI') || ' ' || zone),
        (7, 'Took', minga_roster.duration_in_words(reported.finished_at - reported.started_at)),
        (8, 'Read', CASE WHEN reported.pages > 0 THEN format('%s in %s', minga_roster.counted(reported.rows_staged, 'row'), minga_roster.counted(reported.pages, 'page')) END),
        (9, 'Asked for', CASE WHEN reported.is_full IS FALSE THEN format('students and contacts changed since %s %s, and all staff; who is gone, the next full read tells',
            to_char(reported.modified_since AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI'), zone) END),
        (10, 'Approves', CASE WHEN reported.kind = 'approve' THEN format('what run %s held', reported.of_run) END),
        (11, 'Applies', CASE WHEN reported.kind = 'apply' THEN format('the preview that is run %s', reported.of_run) END),
        (12, 'Takes back', CASE WHEN reported.kind = 'undo' THEN format('run %s', reported.of_run) END)
        ) AS f (place, label, value)
    WHERE f.value IS NOT NULL;
    RETURN NEXT;

    IF EXISTS (SELECT FROM minga_roster.run_counts c WHERE c.run = reported.run AND c.count <> 0) THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb(CASE reported.kind WHEN 'preview' THEN 'What a sync would do' ELSE 'What was done' END);
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        WITH columns AS (
            SELECT c.category, row_number() OVER (ORDER BY coalesce(array_position(categories, c.category), 99), c.category) AS place
            FROM minga_roster.run_counts c WHERE c.run = reported.run AND c.count <> 0 GROUP BY c.category
        ), rows AS (
            SELECT c.action, coalesce(w.label, c.action) AS label, coalesce(w.place, 99) AS place
            FROM minga_roster.run_counts c
            LEFT JOIN (VALUES (1, 'create', 'created'), (2, 'link', 'linked'), (3, 'update', 'updated'), (4, 'restore', 'restored'),
                (5, 'archive', 'archived'), (6, 'held', 'held'), (7, 'unchanged', 'unchanged'), (8, 'skip', 'skipped'),
                (9, 'conflict', 'conflicts'), (10, 'reject', 'rejects'), (11, 'protect', 'protected'), (12, 'merged', 'further rows of a person'),
                (13, 'contact', 'parents and guardians'), (14, 'ignore', 'ignored'), (15, 'kept', 'kept as they are'), (16, 'refused archive', 'archives refused')) w (place, action, label) USING (action)
            WHERE c.run = reported.run AND c.count <> 0 GROUP BY c.action, w.label, w.place
        )
        SELECT jsonb_build_object(
            'head', (SELECT jsonb_agg(h.label ORDER BY h.place) FROM (SELECT 0 AS place, '' AS label
                     UNION ALL SELECT k.place, CASE k.category WHEN 'none' THEN 'no rule' ELSE k.category END FROM columns k
                     UNION ALL SELECT 100, 'all') h),
            'rows', (SELECT jsonb_agg(b.cells ORDER BY b.place, b.action) FROM (
                     SELECT r.place, r.action, jsonb_build_array(r.label)
                         || (SELECT jsonb_agg(coalesce(c.count, 0)::text ORDER BY k.place)
                             FROM columns k LEFT JOIN minga_roster.run_counts c ON c.run = reported.run AND c.category = k.category AND c.action = r.action)
                         || (SELECT jsonb_build_array(sum(c.count)::text) FROM minga_roster.run_counts c WHERE c.run = reported.run AND c.action = r.action) AS cells
                     FROM rows r) b)) INTO content;
        RETURN NEXT;
    END IF;

    SELECT jsonb_agg(jsonb_build_array(h.category, h.moves::text, h.newcomers::text, h.why) ORDER BY array_position(categories, h.category), h.why) INTO listed
    FROM (SELECT c.category, c.state_reason AS why, count(*) FILTER (WHERE c.action = 'link') AS moves, count(*) FILTER (WHERE c.action = 'create') AS newcomers
          FROM minga_roster.changes c WHERE c.run = reported.run AND c.state = 'held' AND c.action IN ('link', 'create') GROUP BY 1, 2) h;
    IF listed IS NOT NULL THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb('Ids that changed'::text);
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        content := jsonb_build_object('head', jsonb_build_array('category', 'known people', 'new people', 'why'), 'rows', listed);
        RETURN NEXT;
        IF reported.kind = 'sync' AND finding.moves > 0 THEN
            SELECT count(*) INTO exact_moves
            FROM minga_roster.changes c WHERE c.run = reported.run AND c.state = 'held' AND c.action = 'link' AND c.rule = 'former id';
            nth := nth + 1;
            part := 'text';
            content := to_jsonb(format('None of them was changed or created. The known people were found by %s: SELECT * FROM minga_roster.changes WHERE run = %s AND action = ''link'' AND state = ''held''. Where the SIS did give them new ids (another version of its API, another SIS), this lets them keep their accounts, and the next sync goes on:',
                CASE WHEN exact_moves = 0 THEN 'identifier or e-mail'
                    WHEN exact_moves = finding.moves THEN 'their former ids, which the SIS tells, and which is exact'
                    ELSE format('their former ids, which the SIS tells of %s of them, and which is exact, and the others by identifier or e-mail', exact_moves) END,
                reported.run));
            RETURN NEXT;
            nth := nth + 1;
            part := 'statement';
            content := to_jsonb(format('SELECT minga_roster.roster_relink(%s);', reported.run));
            RETURN NEXT;
        END IF;
    END IF;

    -- Held archives and updates, by what the guard says of each category.
    FOR kind, listed IN
        SELECT h.action, jsonb_agg(jsonb_build_array(h.category, h.number::text, h.why) ORDER BY array_position(categories, h.category), h.why)
        FROM (SELECT c.action, coalesce(c.category, '') AS category, coalesce(c.state_reason, c.reason) AS why, count(*) AS number
              FROM minga_roster.changes c WHERE c.run = planned_in AND reported.kind <> 'approve' AND c.action IN ('archive', 'update') AND c.state = 'held'
              GROUP BY 1, 2, 3) h
        GROUP BY h.action ORDER BY h.action
    LOOP
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb(format('Held %ss', kind));
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        content := jsonb_build_object('head', jsonb_build_array('category', kind || 's', 'why'), 'rows', listed);
        RETURN NEXT;
        IF reported.kind IN ('sync', 'apply') THEN
            nth := nth + 1;
            part := 'text';
            content := to_jsonb(format('They wait until somebody approves them, or the next sync looks again. To see who: SELECT * FROM minga_roster.changes WHERE run = %s AND action = %L AND state = ''held''. To %s:',
                planned_in, kind, CASE WHEN finding.held > 0 AND finding.held_updates > 0 THEN 'carry out all that the run held' WHEN kind = 'update' THEN 'write them' ELSE 'archive them' END));
            RETURN NEXT;
            nth := nth + 1;
            part := 'statement';
            content := to_jsonb(format('SELECT minga_roster.roster_approve(%s);', reported.run));
            RETURN NEXT;
        END IF;
    END LOOP;

    -- What became of what an approval spoke of; of a sync, what it was too late for.
    SELECT jsonb_agg(jsonb_build_array(d.action, d.state, d.number::text, d.why) ORDER BY d.action, d.state, d.number DESC, d.why) INTO listed
    FROM (SELECT c.action, c.state, CASE WHEN c.state = 'expired' AND c.state_cause IS DISTINCT FROM 'run_undone' THEN 'A later sync has judged anew.'
                ELSE coalesce(c.state_reason, '') END AS why, count(*) AS number
          FROM minga_roster.changes c
          JOIN minga_roster.runs s ON s.run = c.run
          WHERE CASE reported.kind
                WHEN 'approve' THEN c.run = planned_in AND c.action IN ('archive', 'update')
                    AND ((c.state_cause = 'approved' AND c.done_by = reported.run) OR (c.state = 'refused' AND c.state_at >= s.finished_at))
                WHEN 'undo' THEN c.run = taken_back AND c.done_by = reported.of_run AND c.state = 'kept'
                ELSE c.run = planned_in AND c.state IN ('refused', 'expired') END
          GROUP BY 1, 2, 3) d;
    IF listed IS NOT NULL AND reported.state = 'succeeded' THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb(CASE reported.kind WHEN 'approve' THEN 'Approved' WHEN 'undo' THEN 'Kept as they are' ELSE 'Not carried out' END);
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        content := jsonb_build_object('head', jsonb_build_array('what', 'state', 'number', 'why'), 'rows', listed);
        RETURN NEXT;
    END IF;

    SELECT jsonb_agg(jsonb_build_array(n.action, n.category, n.number::text, n.reason) ORDER BY n.action, n.number DESC, n.category, n.reason) INTO listed
    FROM (SELECT c.action, coalesce(c.category, '') AS category, c.reason, count(*) AS number
          FROM minga_roster.changes c WHERE c.run = planned_in AND reported.kind <> 'approve' AND c.action IN ('conflict', 'reject') GROUP BY 1, 2, 3) n;
    IF listed IS NOT NULL THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb('Conflicts and rejects'::text);
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        content := jsonb_build_object('head', jsonb_build_array('what', 'category', 'number', 'reason'), 'rows', listed);
        RETURN NEXT;
        nth := nth + 1;
        part := 'text';
        content := to_jsonb(format('Nobody named in them was touched. To see who: SELECT * FROM minga_roster.changes WHERE run = %s AND action IN (''conflict'', ''reject'').',
            planned_in));
        RETURN NEXT;
    END IF;

    SELECT jsonb_agg(jsonb_build_array(c.collection, coalesce(c.detail, 'Its end was not proved'),
            CASE c.family WHEN 'student' THEN 'No student is archived.' WHEN 'staff' THEN 'No teacher, staff member or admin is archived.'
                ELSE 'Parent contacts may be missing.' END) ORDER BY c.collection) INTO listed
    FROM minga_roster.collections c
    WHERE c.run = reported.run AND (NOT c.complete OR c.proof = 'weak') AND reported.state = 'succeeded'
        AND (reported.is_full IS NOT FALSE OR c.proof IS NULL);
    IF listed IS NOT NULL THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb('Not read whole'::text);
        RETURN NEXT;
        nth := nth + 1;
        part := 'facts';
        SELECT jsonb_agg(jsonb_build_array(l ->> 0, format('%s. %s', rtrim(l ->> 1, '.'), l ->> 2)) ORDER BY l ->> 0) INTO content FROM jsonb_array_elements(listed) l;
        RETURN NEXT;
    END IF;

    SELECT jsonb_agg(jsonb_build_array(s.step, CASE WHEN s.ok THEN 'ok' WHEN NOT s.ok THEN 'failed' ELSE 'not reached' END,
            coalesce(concat_ws(' ', s.detail, s.hint), '')) ORDER BY s.position) INTO listed
    FROM minga_roster.run_steps s WHERE s.run = reported.run;
    IF listed IS NOT NULL THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb('Steps'::text);
        RETURN NEXT;
        nth := nth + 1;
        part := 'table';
        content := jsonb_build_object('head', jsonb_build_array('step', '', 'found'), 'rows', listed);
        RETURN NEXT;
    END IF;

    SELECT jsonb_agg(w.line ORDER BY w.place) INTO listed
    FROM (VALUES
        (1, CASE WHEN school.enabled_origin IS NOT NULL AND school.enabled_origin <> minga_roster.server_origin() THEN
            'This database is a copy of the one that Automatic Rostering was switched on in: its evenings are paused and nobody is told.' END),
        (4, CASE WHEN school.automatic AND school.retired_at IS NULL AND school.paused_reason <> 'restored' THEN
            format('Automatic Rostering is paused, as %s: SELECT minga_roster.roster_enable(%L) goes on.', school.paused_reason, school.connection) END),
        (2, CASE WHEN school.unproven AND school.retired_at IS NULL THEN
            'The connection is unproven: archives are held until a full sync has shown that address and school are the right ones.' END),
        (3, CASE WHEN school.credentials_expire < (minga_roster.clock() AT TIME ZONE zone)::date THEN
                format('The credentials of the SIS expired on %s: ask the school for new ones.', school.credentials_expire)
            WHEN school.credentials_expire <= (minga_roster.clock() AT TIME ZONE zone)::date + 30 THEN
                format('The credentials of the SIS expire on %s: ask the school for new ones before.', school.credentials_expire) END),
        (4, CASE WHEN school.delta AND school.filter_unusable AND school.retired_at IS NULL THEN
            format('The SIS ignores or refuses the filter on dateLastModified, so that every evening reads the roster in full: switch delta off with SELECT minga_roster.roster_configure(%L, delta => false), or try again with delta => true once the vendor has mended it.',
                school.connection) END)
        ) AS w (place, line)
    WHERE w.line IS NOT NULL;
    IF listed IS NOT NULL THEN
        nth := nth + 1;
        part := 'heading';
        content := to_jsonb('To know'::text);
        RETURN NEXT;
        part := 'text';
        FOR content IN SELECT l FROM jsonb_array_elements(listed) l LOOP
            nth := nth + 1;
            RETURN NEXT;
        END LOOP;
    END IF;
END
$$;
COMMENT ON FUNCTION report_parts(bigint) IS
'The report of a run in the order of reading. part and content: lead, heading, text, statement: a string; facts: pairs of label and value; table: {"head": cells, "rows": [cells]}.';

CREATE FUNCTION number_columns(body jsonb) RETURNS boolean[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT array_agg(s.is_number ORDER BY s.place)
    FROM (SELECT c.place, bool_and(c.cell ~ '^[0-9]*$') AS is_number
          FROM jsonb_array_elements(body) r CROSS JOIN LATERAL jsonb_array_elements_text(r) WITH ORDINALITY c (cell, place)
          GROUP BY c.place) s
$$;
COMMENT ON FUNCTION number_columns(jsonb) IS 'Which columns of a table hold numbers only: they go to the right.';

CREATE FUNCTION text_table(head jsonb, body jsonb, width integer) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    columns CONSTANT integer := jsonb_array_length(head);
    widths integer[];
    right_aligned boolean[] := minga_roster.number_columns(body);
    indent integer;
    drawn text := '';
    drawn_row jsonb;
    line text;
BEGIN
    SELECT array_agg(s.width ORDER BY s.place) INTO widths
    FROM (SELECT c.place, max(length(c.cell)) AS width
          FROM jsonb_array_elements(jsonb_build_array(head) || body) r CROSS JOIN LATERAL jsonb_array_elements_text(r) WITH ORDINALITY c (cell, place)
          GROUP BY c.place) s;
    indent := (SELECT sum(w.width + 2) FROM unnest(widths[:columns - 1]) w (width));
    FOR drawn_row IN SELECT r FROM jsonb_array_elements(jsonb_build_array(head) || body) r LOOP
        line := (SELECT string_agg(CASE WHEN right_aligned[c.place] THEN lpad(c.cell, widths[c.place]) ELSE rpad(c.cell, widths[c.place]) END || '  ', '' ORDER BY c.place)
                 FROM jsonb_array_elements_text(drawn_row) WITH ORDINALITY c (cell, place) WHERE c.place < columns);
        IF right_aligned[columns] THEN
            line := line || lpad(drawn_row ->> (columns - 1), widths[columns]);
        ELSE
            -- The last column takes what is left of the width, and goes on below itself.
            line := line || array_to_string(minga_roster.wrapped(drawn_row ->> (columns - 1), greatest(width - indent, 24)), E'\n' || repeat(' ', indent));
        END IF;
        drawn := drawn || rtrim(line) || E'\n';
    END LOOP;
    RETURN drawn;
END
$$;
COMMENT ON FUNCTION text_table(jsonb, jsonb, integer) IS 'A table in columns: numbers to the right, text to the left, the last column wrapped.';

CREATE FUNCTION do_report(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT integer := 78;
    report text := '';
    piece record;
    label_width integer;
BEGIN
    FOR piece IN SELECT p.part, p.content, p.content #>> '{}' AS line FROM minga_roster.report_parts(run) p ORDER BY p.nth LOOP
        IF report <> '' THEN
            report := report || E'\n';
        END IF;
        CASE piece.part
            WHEN 'heading' THEN
                report := report || piece.line || E'\n' || repeat('-', length(piece.line)) || E'\n';
            WHEN 'statement' THEN
                report := report || '    ' || piece.line || E'\n';
            WHEN 'facts' THEN
                label_width := (SELECT max(length(f ->> 0)) + 3 FROM jsonb_array_elements(piece.content) f);
                report := report || (SELECT string_agg(rpad(f.pair ->> 0 || ':', label_width)
                        || array_to_string(minga_roster.wrapped(f.pair ->> 1, width - label_width), E'\n' || repeat(' ', label_width)) || E'\n', '' ORDER BY f.place)
                    FROM jsonb_array_elements(piece.content) WITH ORDINALITY f (pair, place));
            WHEN 'table' THEN
                report := report || minga_roster.text_table(piece.content -> 'head', piece.content -> 'rows', width);
            ELSE
                report := report || array_to_string(minga_roster.wrapped(piece.line, width), E'\n') || E'\n';
        END CASE;
    END LOOP;
    -- A heading stands right above what it heads.
    RETURN minga_roster.readable_lines(regexp_replace(report, E'\n(-+)\n\n', E'\n\\1\n', 'g'));
END
$$;
COMMENT ON FUNCTION do_report(bigint) IS 'roster_report behind the door.';

CREATE FUNCTION roster_report(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(bigint) IS
'The report of a run as it is mailed, in lines of 78 characters. The first line says "Nothing to do." or what needs a person. It names nobody: who, is in minga_roster.changes. 42704 for an unknown run.';

CREATE FUNCTION latest_reported_run(connection text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster.known_connection(connection);
    latest bigint;
BEGIN
    SELECT r.run INTO latest
    FROM minga_roster.runs r
    WHERE r.connection = known.connection AND r.finished_at IS NOT NULL
        AND (r.origin = 'evening' OR r.kind IN ('sync', 'approve', 'apply', 'undo'))
    ORDER BY r.run DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no report yet', known.connection),
            DETAIL = 'No sync of it has ended.',
            HINT = format('SELECT * FROM minga_roster.roster_sync(%L) makes one.', known.connection);
    END IF;
    RETURN latest;
END
$$;
COMMENT ON FUNCTION latest_reported_run(text) IS 'The newest run of a connection that has ended and has a report; 55000 where there is none, 42704 an unknown connection.';

CREATE FUNCTION do_report(connection text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster.do_report(minga_roster.latest_reported_run(connection));
COMMENT ON FUNCTION do_report(text) IS 'roster_report behind the door.';

CREATE FUNCTION roster_report(connection text) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(text) IS
'The latest report of a connection: of its newest evening, sync, approval, apply or undo that has ended. 42704 an unknown connection, 55000 where there is none yet.';

CREATE FUNCTION do_report_html(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cell CONSTANT text := 'padding:4px 14px 4px 0;vertical-align:top;border-bottom:1px solid #e3e6ea;';
    body text := '';
    title text;
    piece record;
BEGIN
    FOR piece IN SELECT p.part, p.content, minga_roster.html_escaped(p.content #>> '{}') AS line FROM minga_roster.report_parts(run) p ORDER BY p.nth LOOP
        body := body || CASE piece.part
            WHEN 'lead' THEN format('<p style="margin:0 0 16px;padding:12px 16px;font-size:18px;font-weight:bold;background-color:%s;border-left:6px solid %s;">%s</p>',
                CASE WHEN piece.line = 'Nothing to do.' THEN '#eaf6ec' ELSE '#fff3e0' END,
                CASE WHEN piece.line = 'Nothing to do.' THEN '#2e7d32' ELSE '#c75300' END, piece.line)
            WHEN 'heading' THEN format('<h2 style="margin:24px 0 8px;font-size:16px;">%s</h2>', piece.line)
            WHEN 'statement' THEN format('<pre style="margin:0 0 12px;padding:10px 14px;background-color:#f2f4f7;font-family:Consolas,Menlo,monospace;font-size:13px;white-space:pre-wrap;">%s</pre>', piece.line)
            WHEN 'facts' THEN format('<table role="presentation" cellpadding="0" cellspacing="0" style="border-collapse:collapse;font-size:14px;">%s</table>',
                (SELECT string_agg(format('<tr><td style="%1$scolor:#5a6472;white-space:nowrap;">%2$s</td><td style="%1$s">%3$s</td></tr>', cell,
                        minga_roster.html_escaped(f.pair ->> 0), minga_roster.html_escaped(f.pair ->> 1)), '' ORDER BY f.place)
                 FROM jsonb_array_elements(piece.content) WITH ORDINALITY f (pair, place)))
            WHEN 'table' THEN format('<table cellpadding="0" cellspacing="0" style="border-collapse:collapse;font-size:14px;"><tr>%s</tr>%s</table>',
                (SELECT string_agg(format('<th style="%stext-align:%s;color:#5a6472;">%s</th>', cell,
                        CASE WHEN n.is_number THEN 'right' ELSE 'left' END, minga_roster.html_escaped(h.label)), '' ORDER BY place)
                 FROM jsonb_array_elements_text(piece.content -> 'head') WITH ORDINALITY h (label, place)
                 JOIN unnest(minga_roster.number_columns(piece.content -> 'rows')) WITH ORDINALITY n (is_number, place) USING (place)),
                (SELECT string_agg('<tr>' || (SELECT string_agg(format('<td style="%s%s">%s</td>', cell, CASE WHEN n.is_number THEN 'text-align:right;' END,
                            minga_roster.html_escaped(c.value)), '' ORDER BY place)
                        FROM jsonb_array_elements_text(r.cells) WITH ORDINALITY c (value, place)
                        JOIN unnest(minga_roster.number_columns(piece.content -> 'rows')) WITH ORDINALITY n (is_number, place) USING (place)) || '</tr>', '' ORDER BY r.place)
                 FROM jsonb_array_elements(piece.content -> 'rows') WITH ORDINALITY r (cells, place)))
            ELSE format('<p style="margin:0 0 12px;font-size:14px;">%s</p>', piece.line) END || E'\n';
    END LOOP;
    title := minga_roster.html_escaped(minga_roster.report_subject(run));
    RETURN minga_roster.readable_lines(format(E'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<title>%s</title>\n</head>\n'
        '<body style="margin:0;padding:16px;background-color:#ffffff;color:#1c232b;font-family:Helvetica,Arial,sans-serif;line-height:1.45;">\n'
        '<div style="max-width:680px;">\n%s</div>\n</body>\n</html>\n', title, body));
END
$$;
COMMENT ON FUNCTION do_report_html(bigint) IS 'roster_report_html behind the door.';

CREATE FUNCTION roster_report_html(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report_html(bigint) IS
'The same report as one HTML page with inline styles, without images or scripts; every value is escaped. 42704 for an unknown run.';

CREATE FUNCTION report_subject(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs := minga_roster.known_run(run);
    finding record;
    what text;
BEGIN
    SELECT * INTO finding FROM minga_roster.run_findings(reported.run);
    what := CASE
        WHEN finding.is_missed THEN 'evening missed'
        WHEN reported.state IN ('failed', 'cancelled', 'queued', 'running') THEN format('%s %s', finding.kind_in_words, reported.state)
        WHEN finding.moves > 0 THEN format('%s changed in the SIS', minga_roster.counted(finding.moves, 'id'))
        WHEN finding.held > 0 OR finding.held_updates > 0 THEN format('%s held', concat_ws(' and ',
            CASE WHEN finding.held > 0 THEN minga_roster.counted(finding.held, 'archive') END,
            CASE WHEN finding.held_updates > 0 THEN minga_roster.counted(finding.held_updates, 'update') END))
        WHEN finding.unread IS NOT NULL THEN finding.unread
        WHEN finding.conflicts > 0 THEN minga_roster.counted(finding.conflicts, 'conflict')
        WHEN finding.rejects > 0 THEN minga_roster.counted(finding.rejects, 'reject')
        WHEN finding.kept > 0 THEN format('%s kept', minga_roster.counted(finding.kept, 'change'))
        WHEN finding.failed_step IS NOT NULL THEN 'connection test failed'
        ELSE 'nothing to do' END;
    RETURN minga_roster.readable(format('%s: %s', left(finding.place, 80), what));
END
$$;
COMMENT ON FUNCTION report_subject(bigint) IS 'Subject of the mail: the school, or the site while its name is not known, and the one thing to know.';

CREATE FUNCTION post_report(run bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported minga_roster.runs;
    finding record;
    wants text[];
BEGIN
    SELECT * INTO reported FROM minga_roster.runs r WHERE r.run = post_report.run;
    IF NOT FOUND OR reported.state IN ('queued', 'running') OR reported.reported THEN
        RETURN;
    END IF;
    SELECT * INTO finding FROM minga_roster.run_findings(reported.run);
    IF finding.retry_at IS NOT NULL THEN
        RETURN;
    END IF;
    IF reported.origin = 'evening' OR reported.kind IN ('sync', 'approve', 'apply', 'undo') THEN
        wants := ARRAY['always'] || CASE WHEN finding.is_problem THEN ARRAY['problems', 'changes']
                                         WHEN finding.applied > 0 THEN ARRAY['changes'] ELSE '{}' END;
        INSERT INTO minga_roster.outbox (run, connection, email, subject, body_text, body_html, next_attempt_at, created_at, origin)
        SELECT reported.run, reported.connection, p.email, m.subject, m.body_text, m.body_html, minga_roster.clock(), minga_roster.clock(), m.origin
        FROM (SELECT r.email
              FROM minga_roster.recipients r
              JOIN minga_roster.connections c USING (connection)
              WHERE r.connection = reported.connection AND r.send = ANY (wants) AND (reported.origin = 'evening' OR r.manual)
                  AND coalesce(c.enabled_origin, minga_roster.server_origin()) = minga_roster.server_origin()) p
        CROSS JOIN (SELECT minga_roster.report_subject(reported.run) AS subject, minga_roster.do_report(reported.run) AS body_text,
                        minga_roster.do_report_html(reported.run) AS body_html, minga_roster.server_origin() AS origin
                    OFFSET 0) m
        ON CONFLICT ON CONSTRAINT outbox_run_email_key DO NOTHING;
    END IF;
    UPDATE minga_roster.runs r SET reported = true WHERE r.run = reported.run;
EXCEPTION
    WHEN OTHERS THEN
        -- A report that cannot be written must not keep a run from being closed. The message could hold values of people.
        RAISE WARNING USING MESSAGE = format('the report of run %s could not be written', run), DETAIL = format('SQLSTATE %s.', SQLSTATE);
END
$$;
COMMENT ON FUNCTION post_report(bigint) IS
'Writes the mail of a finished run for the recipients who want it: after an evening run always, on problems, or on changes; after a manual sync, approval, apply or undo where the recipient asked for that. Nobody is told of a failure that will be tried again, nor by a restored copy. Never raises; a second call does nothing.';
