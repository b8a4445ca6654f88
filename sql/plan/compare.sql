-- What the plan compares by: families, names without their spelling, values byte for byte.

CREATE FUNCTION minga_roster_internal.repeated_add(internal, text) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_add';
COMMENT ON FUNCTION minga_roster_internal.repeated_add(internal, text) IS
'Transition function of the aggregate repeated.';

CREATE FUNCTION minga_roster_internal.repeated_values(internal) RETURNS text[]
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_repeated_values';
COMMENT ON FUNCTION minga_roster_internal.repeated_values(internal) IS 'Final function of the aggregate repeated.';

CREATE AGGREGATE minga_roster_internal.repeated(text) (SFUNC = minga_roster_internal.repeated_add, STYPE = internal,
    SSPACE = 16777216, FINALFUNC = minga_roster_internal.repeated_values);
COMMENT ON AGGREGATE minga_roster_internal.repeated(text) IS
'The values that come more than once, each at least once, byte for byte; an empty array where there are none. Two '
    'values of one 64-bit hash count as one that came twice.';

CREATE FUNCTION minga_roster_internal.key_set_add(internal, text, text) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_key_set_add';
COMMENT ON FUNCTION minga_roster_internal.key_set_add(internal, text, text) IS
'Transition function of the aggregate key_set.';

CREATE FUNCTION minga_roster_internal.key_set_keys(internal) RETURNS bytea
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_key_set_keys';
COMMENT ON FUNCTION minga_roster_internal.key_set_keys(internal) IS 'Final function of the aggregate key_set.';

CREATE AGGREGATE minga_roster_internal.key_set(text, text) (SFUNC = minga_roster_internal.key_set_add,
    STYPE = internal, SSPACE = 8388608, FINALFUNC = minga_roster_internal.key_set_keys);
COMMENT ON AGGREGATE minga_roster_internal.key_set(text, text) IS
'A set of two kinds of keys for in_key_set, ASCII letters in any case; NULL where there is none. Two keys of one '
    '64-bit hash count as one.';

CREATE FUNCTION minga_roster_internal.in_key_set(keys bytea, one text, other text) RETURNS boolean
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_in_key_set';
COMMENT ON FUNCTION minga_roster_internal.in_key_set(bytea, text, text) IS
'Whether the set has one of these keys of the first or of the second kind. To find the few rows of many that a join '
    'would find.';

CREATE FUNCTION minga_roster_internal.tally_add(internal, VARIADIC "any") RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_tally_add';
COMMENT ON FUNCTION minga_roster_internal.tally_add(internal, "any") IS
'Transition function of the aggregate tally.';

CREATE FUNCTION minga_roster_internal.tally_rows(internal) RETURNS jsonb
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_tally_rows';
COMMENT ON FUNCTION minga_roster_internal.tally_rows(internal) IS 'Final function of the aggregate tally.';

CREATE AGGREGATE minga_roster_internal.tally(VARIADIC "any") (SFUNC = minga_roster_internal.tally_add,
    STYPE = internal, SSPACE = 65536, FINALFUNC = minga_roster_internal.tally_rows);
COMMENT ON AGGREGATE minga_roster_internal.tally("any") IS
'For each first argument, a text, an array: it, the number of its rows, and of those in which each further argument is '
    'not NULL. As GROUP BY and count(...), beside other aggregates of all rows.';

CREATE FUNCTION minga_roster_internal.names_add(internal, jsonb) RETURNS internal
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_names_add';
COMMENT ON FUNCTION minga_roster_internal.names_add(internal, jsonb) IS
'Transition function of the aggregate names_of.';

CREATE FUNCTION minga_roster_internal.names(internal) RETURNS text[]
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_names';
COMMENT ON FUNCTION minga_roster_internal.names(internal) IS 'Final function of the aggregate names_of.';

CREATE AGGREGATE minga_roster_internal.names_of(jsonb) (SFUNC = minga_roster_internal.names_add, STYPE = internal,
    SSPACE = 8192, FINALFUNC = minga_roster_internal.names);
COMMENT ON AGGREGATE minga_roster_internal.names_of(jsonb) IS
'The names that the objects have, each once; an empty array where there are none.';

CREATE FUNCTION minga_roster_internal.agrees(VARIADIC pairs "any") RETURNS boolean
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_agrees';
COMMENT ON FUNCTION minga_roster_internal.agrees("any") IS
'Whether of each pair of texts the first is NULL or, byte for byte, the second.';

CREATE FUNCTION minga_roster_internal.changed_values(columns text[], cleared text[], role text, due_role text,
    VARIADIC pairs "any", OUT before jsonb, OUT after jsonb)
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_changed_values';
COMMENT ON FUNCTION minga_roster_internal.changed_values(text[], text[], text, text, "any") IS
'Of pairs of texts, what is there now and what is due, those that differ byte for byte. columns has a name for each '
    'pair, NULL for one that is left out; a NULL that is due counts only in cleared columns. A role that is due is in '
    'both in any case.';

CREATE FUNCTION minga_roster_internal.new_values(role text, VARIADIC pairs "any") RETURNS jsonb
LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'roster_new_values';
COMMENT ON FUNCTION minga_roster_internal.new_values(text, "any") IS
'The values of a new person as an object, of pairs of a name and a text those with a text, and the role: what '
    'changed_values has in after where there is no one.';

CREATE FUNCTION minga_roster_internal.family_of(category text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE category WHEN 'student' THEN 'student' WHEN 'contact' THEN 'contact' WHEN NULL THEN NULL ELSE 'staff' END;
COMMENT ON FUNCTION minga_roster_internal.family_of(text) IS
'What absence and matching are judged in: students, and teacher, staff and admin together.';

CREATE FUNCTION minga_roster_internal.role_family(role text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN CASE
    WHEN role IN ('student', 'student_leader') THEN 'student'
    WHEN role IN ('teacher', 'staff', 'admin', 'owner', 'manager') THEN 'staff'
    WHEN role = 'other' THEN 'other'
END;
COMMENT ON FUNCTION minga_roster_internal.role_family(text) IS
'The family that a person''s role names, in the contract''s words: student, staff, other for accounts that a roster '
    'never writes; NULL where it names none.';

CREATE FUNCTION minga_roster_internal.clean_name(name text) RETURNS text
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'roster_clean_name';
COMMENT ON FUNCTION minga_roster_internal.clean_name(text) IS
'What of a name is compared: its letters and digits, in lower case after NFKD; NULL where none is left. The same in '
    'every locale. Between hide_names(true) and hide_names(false), in a form that can only be compared; a name in that '
    'form stays as it is.';

CREATE FUNCTION minga_roster_internal.plain_name(name text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_plain_name';
COMMENT ON FUNCTION minga_roster_internal.plain_name(text) IS
'As clean_name, but never hidden, for what is compared with other sessions; NULL for a hidden name.';

CREATE FUNCTION minga_roster_internal.hide_names(are_hidden boolean) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_hide_names';
COMMENT ON FUNCTION minga_roster_internal.hide_names(boolean) IS
'Whether clean_name hides names, in this process, from now on: under a key that is new with each call, and stored '
    'nowhere.';

CREATE FUNCTION minga_roster_internal.shown_name(name text) RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'roster_shown_name';
COMMENT ON FUNCTION minga_roster_internal.shown_name(text) IS 'The name; NULL if it is hidden (hide_names).';

CREATE FUNCTION minga_roster_internal.given_names_agree(one text, one_preferred text, other text,
    other_preferred text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN one IS NOT NULL AND other IS NOT NULL THEN
    one = other OR (length(one) >= 3 AND starts_with(other, one)) OR (length(other) >= 3 AND starts_with(one, other))
        OR coalesce(one = other_preferred, false) OR coalesce(other = one_preferred, false) END;
COMMENT ON FUNCTION minga_roster_internal.given_names_agree(text, text, text, text) IS
'Whether two cleaned given names agree: they are equal, one of three letters or more begins the other, or one is the '
    'preferred name beside the other; NULL where one is empty.';

CREATE FUNCTION minga_roster_internal.names_suffice(archived boolean, known boolean, given_agrees boolean,
    family_agrees boolean)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN archived THEN coalesce(given_agrees AND family_agrees, false)
    WHEN NOT known THEN coalesce(given_agrees, false)
    ELSE coalesce(given_agrees OR family_agrees, given_agrees IS NULL AND family_agrees IS NULL)
END;
COMMENT ON FUNCTION minga_roster_internal.names_suffice(boolean, boolean, boolean, boolean) IS
'Whether names let a person be whom an identifier tells. Of active people one of them agrees, unless there is none to '
    'compare; of those whose family is not known, the given name (a parent may have the number of a child); of '
    'archived ones both.';
