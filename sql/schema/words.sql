-- Small tools for sentences: numbers with their nouns, lists, and templates with named holes.

CREATE FUNCTION minga_roster_internal.figure(number bigint) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(number, 'FM999,999,999,999,999,990');
COMMENT ON FUNCTION minga_roster_internal.figure(bigint) IS '"812", "5,000".';

CREATE FUNCTION minga_roster_internal.figures(number bigint, one text, several text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE
RETURN minga_roster_internal.figure(number) || ' '
    || CASE WHEN number = 1 THEN one ELSE coalesce(several, one || 's') END;
COMMENT ON FUNCTION minga_roster_internal.figures(bigint, text, text) IS '"1 person", "5,000 people".';

CREATE FUNCTION minga_roster_internal.counted(number bigint, noun text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s %s%s', number, noun, CASE WHEN number <> 1 THEN 's' END)
$$;
COMMENT ON FUNCTION minga_roster_internal.counted(bigint, text) IS '"1 archive", "1204 archives".';

CREATE FUNCTION minga_roster_internal.people_of(category text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE category WHEN 'staff' THEN 'staff member' ELSE category END || CASE number WHEN 1 THEN '' ELSE 's' END;
COMMENT ON FUNCTION minga_roster_internal.people_of(text, bigint) IS
'The noun for this many people of a category: "student", "staff members".';

CREATE FUNCTION minga_roster_internal.with_article(noun text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE WHEN noun ~ '^[aeiou]' THEN 'an ' ELSE 'a ' END || noun;
COMMENT ON FUNCTION minga_roster_internal.with_article(text) IS '"a sync", "an undo".';

CREATE FUNCTION minga_roster_internal.capitalized(words text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN upper(left(words, 1)) || substr(words, 2);
COMMENT ON FUNCTION minga_roster_internal.capitalized(text) IS
'The words with a capital letter at the beginning, for a sentence or title.';

CREATE FUNCTION minga_roster_internal.local_minute(moment timestamptz, zone text) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(moment AT TIME ZONE zone, 'YYYY-MM-DD HH24:MI');
COMMENT ON FUNCTION minga_roster_internal.local_minute(timestamptz, text) IS '"2026-09-01 19:00" in that time zone.';

CREATE FUNCTION minga_roster_internal.in_list(words text[]) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE cardinality(words) WHEN 0 THEN NULL WHEN 1 THEN words[1]
        ELSE array_to_string(words[:cardinality(words) - 1], ', ')
            || CASE WHEN words[cardinality(words)] LIKE '% and %' THEN ', and ' ELSE ' and ' END
            || words[cardinality(words)] END
$$;
COMMENT ON FUNCTION minga_roster_internal.in_list(text[]) IS '"a", "a and b", "a, b and c", "a, and b and c".';

CREATE FUNCTION minga_roster_internal.filled(template text, holes jsonb) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN p.place % 2 = 1 THEN p.piece ELSE coalesce(holes ->> p.piece, '') END, ''
        ORDER BY p.place)
    FROM regexp_split_to_table(template, '[{}]') WITH ORDINALITY p (piece, place)
$$;
COMMENT ON FUNCTION minga_roster_internal.filled(text, jsonb) IS
'The template with each {name} replaced by the value of that name. Braces in a value are left alone. fill_template() '
'does the same for SQL.';
