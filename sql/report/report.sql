-- Words that reports are made of. A report is for the owner of a school: what happened, what it means, and who does
-- what next and by when. Only its last section has SQL. It gives numbers, rules and reasons, and no name, email
-- address, sourcedId or other value of a person. report_facts.sql and report_parts.sql decide what it says,
-- report_text.sql and report_html.sql how it looks. Must survive odd data, because it is written while a run is being
-- closed.

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
    FOREACH word IN ARRAY regexp_split_to_array(btrim(content), E'\\s+') LOOP
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
COMMENT ON FUNCTION minga_roster_internal.wrapped(text, integer) IS
'Lines of at most that many characters; a longer word gets its own line.';

CREATE FUNCTION minga_roster_internal.html_escaped(content text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(replace(replace(replace(replace(content, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'),
        '''', '&#39;')
$$;
COMMENT ON FUNCTION minga_roster_internal.html_escaped(text) IS
'Escapes text for use in HTML and in quoted HTML attributes.';

CREATE FUNCTION minga_roster_internal.readable_lines(content text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(minga_roster_internal.readable(l.line), E'\n' ORDER BY l.place)
    FROM string_to_table(content, E'\n') WITH ORDINALITY l (line, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.readable_lines(text) IS 'readable() for text with several lines.';

CREATE FUNCTION minga_roster_internal.counted_people(category text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN category IN ('student', 'teacher', 'staff', 'admin') THEN minga_roster_internal.figure(number)
        || ' '
        || minga_roster_internal.people_of(category, number)
        ELSE minga_roster_internal.figures(number, 'row') END
$$;
COMMENT ON FUNCTION minga_roster_internal.counted_people(text, bigint) IS
'"1 student", "12 staff members"; without a category "3 rows".';

CREATE FUNCTION minga_roster_internal.names_of_objects(object text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE object WHEN 'academic_session' THEN 'terms' WHEN 'class' THEN 'classes'
        WHEN 'demographics' THEN 'birth dates' ELSE object || 's' END
$$;
COMMENT ON FUNCTION minga_roster_internal.names_of_objects(text) IS '"classes", for a kind of objects.';

CREATE FUNCTION minga_roster_internal.object_words(object text, number bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.figures(number, CASE object WHEN 'academic_session' THEN 'term'
        ELSE object END, minga_roster_internal.names_of_objects(object))
$$;
COMMENT ON FUNCTION minga_roster_internal.object_words(text, bigint) IS '"3 classes", for objects of this kind.';

CREATE FUNCTION minga_roster_internal.unread_means(family text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE family WHEN 'student' THEN 'No students are archived.' WHEN 'staff'
        THEN 'No teachers, staff members or administrators are archived.'
        WHEN 'session' THEN 'Terms may be missing.' WHEN 'course' THEN 'Courses may be missing.'
        WHEN 'class' THEN 'Classes may be missing, and none ends.'
        WHEN 'enrollment' THEN 'Enrollments may be missing, and none ends.'
        WHEN 'demographics' THEN 'Birth dates may be missing.'
        ELSE 'Parent contacts may be missing.' END
$$;
COMMENT ON FUNCTION minga_roster_internal.unread_means(text) IS
'The consequence if a list of this family was not read completely.';

CREATE FUNCTION minga_roster_internal.finding_holes(category text, amount bigint, "of" bigint, detail jsonb)
    RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT detail || jsonb_build_object(
        'amount', amount,
        'of', "of",
        'is', CASE amount WHEN 1 THEN 'is' ELSE 'are' END,
        'gets', CASE amount WHEN 1 THEN 'gets' ELSE 'get' END,
        'has', CASE amount WHEN 1 THEN 'has' ELSE 'have' END,
        'objects', minga_roster_internal.names_of_objects(detail ->> 'subject'),
        'people', minga_roster_internal.people_of(category, 2),
        'rows', minga_roster_internal.figures(amount, 'row'),
        'portion', CASE detail ->> 'left' WHEN '0' THEN 'all' ELSE 'nearly all' END,
        'other_roles', minga_roster_internal.figures((detail ->> 'others')::bigint, 'other unknown role'),
        'lists', (SELECT string_agg(c.name, ', ') FROM jsonb_array_elements_text(detail -> 'collections') c (name)))
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_holes(text, bigint, bigint, jsonb) IS
'The values for the holes in the sentences of finding_words() and finding_text().';

CREATE FUNCTION minga_roster_internal.finding_words(finding text, category text, amount bigint, "of" bigint,
    detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE finding
        WHEN 'inactive_all' THEN 'all {of} {people} are inactive in the SIS'
        WHEN 'inactive_some' THEN '{amount} of {of} {people} {is} inactive in the SIS'
        WHEN 'category_empty' THEN 'the SIS no longer lists any {people}'
        WHEN 'field_vanished' THEN '{subject}: {amount} of {of} {people}'
        WHEN 'roles_ended' THEN '{portion} roles in the {subject} list have ended'
        WHEN 'no_role' THEN '{rows} without a role'
        WHEN 'unknown_role' THEN CASE WHEN detail ? 'subject' THEN '{rows} with the unknown role "{subject}"'
            ELSE '{rows} with {other_roles}' END
        WHEN 'without_id' THEN '{rows} in the {subject} list without a sourcedId'
        WHEN 'incomplete' THEN 'the {subject} list was not read completely'
        WHEN 'mass_update_held' THEN '{subject} would change for {amount} of {of} {people}'
        WHEN 'no_class_chosen' THEN 'no class is of the chosen terms and grades'
        WHEN 'classes_not_applied' THEN 'classes and contacts were not applied'
        WHEN 'objects_empty' THEN 'the SIS no longer lists any {objects}'
        WHEN 'objects_unreadable' THEN '{amount} of {of} {objects} cannot be read cleanly'
        WHEN 'enrollment_role' THEN '{amount} of {of} changed enrollments without a known role'
    END, minga_roster_internal.finding_holes(category, amount, "of", detail))
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_words(text, text, bigint, bigint, jsonb) IS
'A finding in a few words, without a capital letter or a period.';

CREATE FUNCTION minga_roster_internal.inactive_accounts(amount bigint, accounts bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN accounts >= amount THEN CASE amount WHEN 1 THEN 'The account is kept.' ELSE 'Their accounts are kept.' END
        WHEN accounts = 0 THEN CASE amount WHEN 1 THEN 'There is no account here, and none is created.'
            ELSE 'None of them has an account here, and none is created.' END
        WHEN accounts = 1 THEN '1 of them has an account here, which is kept.'
        ELSE format('%s of them have accounts here, which are kept.', accounts)
    END
$$;
COMMENT ON FUNCTION minga_roster_internal.inactive_accounts(bigint, bigint) IS
'What happens to the accounts of people who are inactive in the SIS.';

CREATE FUNCTION minga_roster_internal.finding_text(finding text, category text, amount bigint, "of" bigint,
    detail jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT minga_roster_internal.filled(CASE finding
        WHEN 'inactive_all' THEN '{Words}. {accounts_kept} Ask the school whether this is intended.'
        WHEN 'inactive_some' THEN '{Words}. {accounts_kept}'
        WHEN 'category_empty' THEN
            '{Words}; there were {of} before. Ask the school whether this is intended. If not, ask the SIS vendor.'
        WHEN 'field_vanished' THEN
            'Field "{subject}" has a value for {amount} of {of} {people}; before, it had one for {before} of '
            '{before_of}. Existing values are kept. Ask the SIS vendor whether the field is still shared.'
        WHEN 'roles_ended' THEN
            '{Words} ({amount} of {of} rows, {left} left), so these people count as absent. Ask the school whether '
            'this year''s roles are in the SIS yet.'
        WHEN 'no_role' THEN CASE WHEN detail ? 'told'
            THEN '{Words} in the {subject} list {gets} the role that the list is for.'
            ELSE '{Words} ({lists}) {is} ignored. Ask the SIS vendor to send the role.' END
        WHEN 'unknown_role' THEN
            '{Words} {is} ignored. If these people belong to the school, the database administrator adds the role to '
            'role_rules.'
        WHEN 'without_id' THEN
            '{Words} {is} ignored, and no one in the same family of roles is archived. Ask the SIS vendor to send '
            'the sourcedId.'
        WHEN 'incomplete' THEN CASE WHEN "of" > amount THEN '{Words} ({amount} of {of} rows). {consequence}'
            ELSE '{Words}. {consequence}' END
        WHEN 'mass_update_held' THEN
            'Column "{subject}" would change for {amount} of {of} {people} in one run, more than {percent} percent. '
            'These updates are on hold for approval.'
        WHEN 'no_class_chosen' THEN
            '{Words}, so the {of} classes that are known stay as they are, and new ones wait. Correct class_terms or '
            'class_grades with roster_configure.'
        WHEN 'classes_not_applied' THEN CASE detail ->> 'cause'
            WHEN 'stage_gone' THEN '{Words}, since the rows that the preview read are gone. '
            ELSE '{Words}, since settings, terms or classes changed after the preview. ' END
            || 'The next sync brings them. To see them before, start another preview.'
        WHEN 'objects_empty' THEN
            '{Words}; there were {of} before. What was listed stays as it was. Ask the school whether this is '
            'intended. If not, ask the SIS vendor.'
        WHEN 'objects_unreadable' THEN
            '{Words}, so the rows may stay as they were before. Ask the SIS vendor. roster_diagnose tells which lists '
            'have such rows.'
        WHEN 'enrollment_role' THEN
            'Of {of} enrollments that are new or changed, {amount} {has} no role that OneRoster knows, so these users '
            'are not shown in their classes. Ask the SIS vendor which roles it sends.'
    END, minga_roster_internal.finding_holes(category, amount, "of", detail) || jsonb_build_object(
        'Words', upper(left(w.words, 1)) || substr(w.words, 2),
        'accounts_kept', minga_roster_internal.inactive_accounts(amount, coalesce((detail ->> 'accounts')::bigint, 0)),
        'consequence', minga_roster_internal.unread_means(detail ->> 'family')))
    FROM (SELECT minga_roster_internal.finding_words(finding, category, amount, "of", detail) AS words) w
$$;
COMMENT ON FUNCTION minga_roster_internal.finding_text(text, text, bigint, bigint, jsonb) IS
'A row of run_findings in sentences: the fact, the consequence, and what to do.';

CREATE FUNCTION minga_roster_internal.cut(content text, width integer) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN length(content) > width THEN rtrim(left(content, width - 1)) || '…' ELSE content END
$$;
COMMENT ON FUNCTION minga_roster_internal.cut(text, integer) IS
'The text in at most that many characters; an ellipsis marks the cut.';

CREATE FUNCTION minga_roster_internal.first_items(items text[], others bigint, places integer) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_jsonb((SELECT array_agg(minga_roster_internal.cut(i.item, 300) ORDER BY i.place)
                     FROM unnest(items) WITH ORDINALITY i (item, place) WHERE i.place <= places)
        || CASE WHEN others > 0 THEN ARRAY[format('and %s more', minga_roster_internal.figure(others))] ELSE '{}' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.first_items(text[], bigint,
    integer) IS 'The first items of a list, and how many more there are; NULL for no items.';

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
COMMENT ON FUNCTION minga_roster_internal.time_in_words(timestamptz, text) IS
'"Tuesday, September 1 at 7:00 PM" in that time zone.';
