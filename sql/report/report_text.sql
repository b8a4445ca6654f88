-- A report as plain text, in lines of 78 characters.

CREATE FUNCTION minga_roster_internal.text_item(content text, mark text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT mark || array_to_string(minga_roster_internal.wrapped(content, width - length(mark)), E'\n'
        || repeat(' ', length(mark))) || E'\n'
$$;
COMMENT ON FUNCTION minga_roster_internal.text_item(text, text, integer) IS
'A wrapped paragraph with a mark before its first line.';

CREATE FUNCTION minga_roster_internal.text_items(items jsonb, mark text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(minga_roster_internal.text_item(i.item, mark, width), '' ORDER BY i.place), '')
    FROM jsonb_array_elements_text(items) WITH ORDINALITY i (item, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_items(jsonb, text, integer) IS
'The items of a list, one paragraph each.';

CREATE FUNCTION minga_roster_internal.text_heading(title text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT title || E'\n' || repeat('-', length(title)) || E'\n'
$$;
COMMENT ON FUNCTION minga_roster_internal.text_heading(text) IS 'An underlined title.';

CREATE FUNCTION minga_roster_internal.text_decision(content jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.text_heading(content ->> 'title')
        || string_agg(minga_roster_internal.text_item(format('%s: %s', l.line ->> 0, l.line ->> 1), '', width)
            -- The reasons follow what happened.
            || CASE l.place WHEN 1 THEN minga_roster_internal.text_items(content -> 'items', '  - ', width) ELSE '' END,
                ''
                ORDER BY l.place)
    FROM jsonb_array_elements(content -> 'lines') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_decision(jsonb, integer) IS 'The result of decision() as text.';

CREATE FUNCTION minga_roster_internal.text_pairs(pairs jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.text_item(p.pair ->> 1, rpad((p.pair ->> 0) || ':', w.label), width), ''
        ORDER BY p.place)
    FROM jsonb_array_elements(pairs) WITH ORDINALITY p (pair, place)
    CROSS JOIN (SELECT max(length(l ->> 0)) + 3 AS label FROM jsonb_array_elements(pairs) l) w
$$;
COMMENT ON FUNCTION minga_roster_internal.text_pairs(jsonb, integer) IS 'Labels and values, with the values aligned.';

CREATE FUNCTION minga_roster_internal.text_counts(counts jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(rtrim(minga_roster_internal.text_item(c.line ->> 2,
            rpad(c.line ->> 0, w.label) || lpad(c.line ->> 1, w.number) || '   ', width), E' \n') || E'\n', ''
                ORDER BY c.place)
    FROM jsonb_array_elements(counts) WITH ORDINALITY c (line, place)
    CROSS JOIN (SELECT max(length(l ->> 0)) + 3 AS label, max(length(l ->> 1)) AS number
        FROM jsonb_array_elements(counts) l) w
$$;
COMMENT ON FUNCTION minga_roster_internal.text_counts(jsonb, integer) IS
'What was done: label, right-aligned number, who of them.';

CREATE FUNCTION minga_roster_internal.text_evenings(evenings jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format(E'%s  %s  %s\n', rpad(e.evening ->> 'short', 6),
            rpad(repeat('#', ceil((e.evening ->> 'number')::bigint * 20.0 / greatest(m.most, 1))::integer), 20),
                e.evening ->> 'words'), '' ORDER BY e.place)
    FROM jsonb_array_elements(evenings) WITH ORDINALITY e (evening, place)
    CROSS JOIN (SELECT max((l.evening ->> 'number')::bigint) AS most, min(l.place)
        FILTER (WHERE l.evening ->> 'tone' <> 'none') AS first
                FROM jsonb_array_elements(evenings) WITH ORDINALITY l (evening, place)) m
    WHERE e.place >= m.first
$$;
COMMENT ON FUNCTION minga_roster_internal.text_evenings(jsonb) IS
'The last evenings, one line each, starting with the first evening on record.';

CREATE FUNCTION minga_roster_internal.text_statements(statements jsonb, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.text_item((s.pair ->> 0) || ':', '', width) || '    ' || (s.pair ->> 1)
        || E'\n',
        E'\n' ORDER BY s.place)
    FROM jsonb_array_elements(statements) WITH ORDINALITY s (pair, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.text_statements(jsonb, integer) IS
'Statements, each on one line below its purpose, ready to copy.';

CREATE FUNCTION minga_roster_internal.report_text(run bigint) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    width CONSTANT integer := 78;
    report text := '';
    piece record;
BEGIN
    FOR piece IN
        SELECT p.part, p.content, p.content #>> '{}' AS line, lag(p.part) OVER (ORDER BY p.nth) AS before
        FROM minga_roster_internal.report_parts(run) p ORDER BY p.nth
    LOOP
        -- A heading goes directly above its content.
        report := report || CASE WHEN piece.before <> 'heading' THEN E'\n' ELSE '' END || CASE piece.part
            WHEN 'lead' THEN minga_roster_internal.text_item(piece.content ->> 'words', '', width)
            -- A long name continues on the next line, but never at its beginning.
            WHEN 'context' THEN array_to_string(minga_roster_internal.wrapped(piece.line, width - 2), E'\n  ') || E'\n'
            WHEN 'heading' THEN minga_roster_internal.text_heading(piece.line)
            WHEN 'decision' THEN minga_roster_internal.text_decision(piece.content, width)
            WHEN 'counts' THEN minga_roster_internal.text_counts(piece.content, width)
            WHEN 'evenings' THEN minga_roster_internal.text_evenings(piece.content)
            WHEN 'items' THEN minga_roster_internal.text_items(piece.content, '- ', width)
            WHEN 'details' THEN minga_roster_internal.text_pairs(piece.content, width)
            WHEN 'statements' THEN minga_roster_internal.text_statements(piece.content, width) END;
    END LOOP;
    RETURN minga_roster_internal.readable_lines(report);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.report_text(bigint) IS
'The report of a run as text, without the mail footer.';

CREATE FUNCTION minga_roster_internal.do_report(run bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.report_text(run)
$$;
COMMENT ON FUNCTION minga_roster_internal.do_report(bigint) IS 'Implements roster_report.';

CREATE FUNCTION roster_report(run bigint) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(bigint) IS
'The report of a run, as it is mailed, in lines of 78 characters (statements for the database administrator are not '
'wrapped). The first sentence says what was done and whether someone has to act. It names no one; minga_roster.changes '
'says who. 42704 for an unknown run.';

CREATE FUNCTION minga_roster_internal.latest_reported_run(connection text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known minga_roster.connections := minga_roster_internal.known_connection(connection);
    latest bigint;
BEGIN
    SELECT r.run INTO latest
    FROM minga_roster.runs r
    WHERE r.connection = known.connection AND r.site = known.site AND r.finished_at IS NOT NULL
        AND (r.trigger = 'evening' OR r.kind IN ('sync', 'approve', 'apply', 'undo'))
    ORDER BY r.run DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('connection "%s" has no report yet', known.connection),
            DETAIL = 'It has no finished sync.',
            HINT = format('Run a sync: SELECT * FROM minga_roster.roster_sync(%L).', known.connection);
    END IF;
    RETURN latest;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.latest_reported_run(text) IS
'The newest finished run of a connection that has a report; 55000 if there is none, 42704 for an unknown connection.';

CREATE FUNCTION minga_roster_internal.do_report(connection text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.do_report(minga_roster_internal.latest_reported_run(connection));
COMMENT ON FUNCTION minga_roster_internal.do_report(text) IS 'Implements roster_report.';

CREATE FUNCTION roster_report(connection text) RETURNS text
LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_report(text) IS
'The latest report of a connection: of its newest finished evening, sync, approval, apply or undo. 42704 for an '
'unknown connection, 55000 if there is no report yet.';
