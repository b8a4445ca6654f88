-- Words of reports. A report is written for the owner of a school: what happened, what it means, who does what next
-- and by when; SQL stands in its last section alone. It names numbers, rules and reasons, never a person: no name,
-- e-mail, sourcedId or value of one. What it says is in report_facts.sql and report_parts.sql, how it looks in
-- report_text.sql and report_html.sql. Must survive odd data, since it is written while a run is being closed.

CREATE FUNCTION minga_roster_internal.duration_in_words(elapsed interval) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN s.seconds < 1 THEN 'under 1 s'
                WHEN s.seconds < 60 THEN format('%s s', s.seconds)
                WHEN s.seconds < 3600 THEN format('%s min %s s', s.seconds / 60, s.seconds % 60)
                ELSE format('%s h %s min', s.seconds / 3600, s.seconds % 3600 / 60) END
    FROM (SELECT floor(extract(epoch FROM elapsed))::bigint AS seconds) s
$$;
COMMENT ON FUNCTION minga_roster_internal.duration_in_words(interval) IS '"45 s", "3 min 20 s", "1 h 5 min".';

CREATE FUNCTION minga_roster_internal.wrapped(content text, width integer) RETURNS text[]
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
COMMENT ON FUNCTION minga_roster_internal.wrapped(text, integer) IS 'Lines of at most that many characters; a longer word has a line of its own.';

CREATE FUNCTION minga_roster_internal.html_escaped(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(replace(replace(replace(content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;')
$$;
COMMENT ON FUNCTION minga_roster_internal.html_escaped(text) IS 'Fit for text and for quoted attributes of HTML.';

CREATE FUNCTION minga_roster_internal.readable_lines(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.readable(l.line), E'\n' ORDER BY l.place)
    FROM string_to_table(content, E'\n') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.readable_lines(text) IS 'readable() for a text of several lines.';

CREATE FUNCTION minga_roster_internal.counted_people(category text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category IN ('student', 'teacher', 'staff', 'admin') THEN minga_roster_internal.figure(number) || ' '
        || minga_roster_internal.people_of(category, number)
        ELSE minga_roster_internal.figures(number, 'row') END
$$;
COMMENT ON FUNCTION minga_roster_internal.counted_people(text, bigint) IS '"1 student", "12 staff members"; of no category "3 rows".';

CREATE FUNCTION minga_roster_internal.finding_words(finding text, category text, amount bigint, "of" bigint, detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE finding
        WHEN 'inactive_all' THEN format('all %s %s are inactive in the SIS', "of", minga_roster_internal.people_of(category, 2))
        WHEN 'inactive_some' THEN format('%s of %s %s %s inactive in the SIS', amount, "of",
            minga_roster_internal.people_of(category, 2), CASE WHEN amount = 1 THEN 'is' ELSE 'are' END)
        WHEN 'category_empty' THEN format('the SIS lists no %s any more', minga_roster_internal.people_of(category, 1))
        WHEN 'field_vanished' THEN format('%s: %s of %s %s', detail ->> 'subject', amount, "of",
            minga_roster_internal.people_of(category, 2))
        WHEN 'roles_ended' THEN format('%s roles in the list %s have ended', CASE detail ->> 'left' WHEN '0' THEN 'all'
            ELSE 'nearly all' END, detail ->> 'subject')
        WHEN 'no_role' THEN format('%s without a role', minga_roster_internal.figures(amount, 'row'))
        WHEN 'unknown_role' THEN CASE WHEN detail ? 'subject'
            THEN format('%s with the unknown role "%s"', minga_roster_internal.figures(amount, 'row'), detail ->> 'subject')
            ELSE format('%s with %s', minga_roster_internal.figures(amount, 'row'),
                minga_roster_internal.figures((detail ->> 'others')::bigint, 'further unknown role')) END
        WHEN 'without_id' THEN format('%s of the list %s without a sourcedId', minga_roster_internal.figures(amount, 'row'),
            detail ->> 'subject')
        WHEN 'incomplete' THEN format('%s was not read whole', detail ->> 'subject')
        WHEN 'mass_update_held' THEN format('%s of %s of %s %s would change', detail ->> 'subject', amount, "of",
            minga_roster_internal.people_of(category, 2))
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_words(text, text, bigint, bigint, jsonb) IS
'A finding in a few words, without a capital and a period.';

CREATE FUNCTION minga_roster_internal.finding_text(finding text, category text, amount bigint, "of" bigint, detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s%s%s', CASE finding WHEN 'field_vanished' THEN left(w.words, 1) ELSE upper(left(w.words, 1)) END,
        substr(w.words, 2),
        CASE
            WHEN finding IN ('inactive_all', 'inactive_some') THEN
                CASE WHEN a.accounts >= amount THEN CASE WHEN amount = 1 THEN '; the account stays.'
                    ELSE '; they stay.' END
                    WHEN a.accounts = 0 THEN CASE WHEN amount = 1 THEN '; there is no account here, and none is made.'
                        ELSE '; none of them has an account here, and none is made.' END
                    WHEN a.accounts = 1 THEN '; 1 of them has an account here, and keeps it.'
                    ELSE format('; %s of them have an account here, and keep it.', a.accounts) END
                || CASE finding WHEN 'inactive_all' THEN ' Ask the school whether it is meant so.' ELSE '' END
            WHEN finding = 'category_empty'
                THEN format('; before there were %s. Ask the school whether it is meant so, and the SIS vendor '
                'otherwise.', "of")
            WHEN finding = 'field_vanished'
                THEN format(' have a value; before %s of %s had one. Values that are there stay. Ask the SIS vendor '
                'whether the field is still shared.',
                detail ->> 'before', detail ->> 'before_of')
            WHEN finding = 'roles_ended' THEN format(' (%s of %s rows, %s left): they count as absent. Ask the school '
                'whether the roles of this year are in the SIS yet.',
                amount, "of", detail ->> 'left')
            WHEN finding = 'no_role' AND detail ? 'told'
                THEN format(' in the list %s, which tells it: they are taken for what the list is of.',
                detail ->> 'subject')
            WHEN finding = 'no_role' THEN format(' (%s): they are ignored. Ask the SIS vendor to send the role.',
                (SELECT string_agg(c.name, ', ') FROM jsonb_array_elements_text(detail -> 'collections') c (name)))
            WHEN finding = 'unknown_role' THEN ': ignored. Where they belong to the school, the database administrator '
                'adds the role to role_rules.'
            WHEN finding = 'without_id' THEN ': they cannot be told apart and are left out, and nobody of their family '
                'is archived. Ask the SIS vendor.'
            WHEN finding = 'incomplete' THEN CASE WHEN "of" > amount THEN format(' (%s of %s rows)', amount, "of")
                ELSE '' END
                || CASE detail ->> 'family' WHEN 'student' THEN '. No student is archived.' WHEN 'staff'
                    THEN '. No teacher, staff member or admin is archived.'
                    ELSE '. Parent contacts may be missing.' END
            WHEN finding = 'mass_update_held'
                THEN format(' in one run, more than %s percent: these updates wait for approval.', detail ->> 'percent')
        END)
    FROM (SELECT minga_roster_internal.finding_words(finding, category, amount, "of", detail) AS words) w,
        (SELECT coalesce((detail ->> 'accounts')::bigint, 0) AS accounts) a
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_text(text, text, bigint, bigint, jsonb) IS
'What a row of run_findings says, in sentences: the fact, what follows, and what to do.';

CREATE FUNCTION minga_roster_internal.cut(content text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN length(content) > width THEN rtrim(left(content, width - 1)) || U&'\2026' ELSE content END
$$;
COMMENT ON FUNCTION minga_roster_internal.cut(text, integer) IS 'The text in at most that many characters; an ellipsis shows where the rest '
    'was.';

CREATE FUNCTION minga_roster_internal.first_items(items text[], others bigint, places integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb((SELECT array_agg(minga_roster_internal.cut(i.item, 300) ORDER BY i.place)
                     FROM unnest(items) WITH ORDINALITY i (item, place) WHERE i.place <= places)
        || CASE WHEN others > 0 THEN ARRAY[format('and %s more', minga_roster_internal.figure(others))] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.first_items(text[], bigint,
    integer) IS 'The first items of a list, and how many others there are; NULL for no items.';

CREATE FUNCTION minga_roster_internal.day_in_words(day date) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_char(day, 'FMDay, FMMonth FMDD')
$$;
COMMENT ON FUNCTION minga_roster_internal.day_in_words(date) IS '"Tuesday, September 1".';

CREATE FUNCTION minga_roster_internal.time_in_words(moment timestamptz, zone text) RETURNS text
LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.day_in_words((moment AT TIME ZONE zone)::date)
        || to_char(moment AT TIME ZONE zone, '" at "FMHH12:MI AM')
$$;
COMMENT ON FUNCTION minga_roster_internal.time_in_words(timestamptz, text) IS '"Tuesday, September 1 at 7:00 PM", local to the time zone.';
