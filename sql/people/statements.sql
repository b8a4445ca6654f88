-- All SQL that runs on a people relation is built here; the steps of a run only pass it to as_owner and read_as_owner.
-- In each statement p is the people relation and w a row of the run's temporary table; $1 is the site, $2 the time of
-- the run, $3 and $4 are the first and last change of plan_writes. A function named ..._terms returns expressions, any
-- other one a whole statement. Statements are built for each run, because ALTER TABLE may change the relation between
-- two runs. They name everything with its schema, because the owner, with whose rights they run, may be hostile.

-- Running a statement

CREATE FUNCTION minga_roster_internal.as_owner(relation regclass, statement text,
    VARIADIC arguments text[] DEFAULT '{}') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_as_owner';
COMMENT ON FUNCTION minga_roster_internal.as_owner(regclass, text, text[]) IS
'Runs a statement with the rights of the relation''s owner inside a security-restricted operation, with row_security '
'off and the search_path of a new session, and returns how many rows it processed. Superusers only. Its errors keep '
'their SQLSTATE, but not a text that may quote a row.';

CREATE FUNCTION minga_roster_internal.read_as_owner(relation regclass, query text, target regclass,
    VARIADIC arguments text[] DEFAULT '{}') RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_read_as_owner';
COMMENT ON FUNCTION minga_roster_internal.read_as_owner(regclass, text, regclass, text[]) IS
'Runs a query as as_owner runs a statement, and puts its rows into a temp table with the same columns, where one UUID '
'may be a text, on which the owner needs no right. Superusers only.';

CREATE FUNCTION minga_roster_internal.grant_temp(relation regclass, temp_table text, rights text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF minga_roster_internal.is_distributed(relation) THEN
        EXECUTE format('GRANT %s ON pg_temp.%I TO %s', rights, temp_table,
            (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = relation));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.grant_temp(regclass, text, text) IS
'Gives the owner of the people relation rights on a temporary table of the run, where Citus plans parts of it again. '
    'Elsewhere as_owner lends its statement what it needs. The table outlives the run: revoke_temp takes them back.';

CREATE FUNCTION minga_roster_internal.revoke_temp(relation regclass, temp_table text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF minga_roster_internal.is_distributed(relation) THEN
        EXECUTE format('REVOKE ALL ON pg_temp.%I FROM %s', temp_table,
            (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = relation));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.revoke_temp(regclass, text) IS
'Takes the rights of grant_temp back, so that no role is named in a table that outlives the run.';

-- Expressions: columns

CREATE FUNCTION minga_roster_internal.base_type(type oid) RETURNS oid
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_base_type';
COMMENT ON FUNCTION minga_roster_internal.base_type(oid) IS
'The type that a domain is based on; any other type itself; NULL for an OID that is no type.';

CREATE FUNCTION minga_roster_internal.type_name(type oid) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_type_name';
COMMENT ON FUNCTION minga_roster_internal.type_name(oid) IS
'The name of a type, quoted and with its schema; NULL for an OID that is no type.';

CREATE FUNCTION minga_roster_internal.equality(type oid, OUT operand text, OUT operator text)
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_equality';
COMMENT ON FUNCTION minga_roster_internal.equality(oid) IS
'The equality of a type''s default btree operator class, with its schema, and the type that it compares: the type '
    'itself, the base of a domain, or the type that it is stored like (text for varchar). NULL for a type that has '
    'none, and for rows.';

CREATE FUNCTION minga_roster_internal.column_type(relation regclass, attribute text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid))
    FROM pg_attribute a
    WHERE a.attrelid = relation AND a.attname = attribute);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.column_type(regclass, text) IS
'The type of a column, or the base type of its domain, without a length: an explicit cast to char(36), or to a domain '
    'over it, would cut a value short. The column itself applies length and checks when it is written.';

CREATE FUNCTION minga_roster_internal.stored_type(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN b.typcategory IN ('S', 'V') OR (b.oid = a.atttypid AND a.atttypmod = -1) THEN
            minga_roster_internal.type_name(b.oid)
        ELSE format_type(a.atttypid, a.atttypmod)
    END
    FROM pg_attribute a
    JOIN pg_type b ON b.oid = minga_roster_internal.base_type(a.atttypid)
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.stored_type(regclass, text) IS
'The type to which a value is cast to become what the column will hold: rounded as by numeric(6, 2) or timestamptz(0), '
    'but not cut to a length, because the column rejects a longer value.';

CREATE FUNCTION minga_roster_internal.column_default(relation regclass, attribute text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT coalesce(
        pg_get_expr(d.adbin, d.adrelid),
        CASE WHEN a.attidentity <> '' THEN
            (SELECT format('nextval(%L::regclass)', d.objid::regclass) FROM pg_depend d
                WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                    AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype = 'i') END,
        pg_get_expr(t.typdefaultbin, 0))
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attrelid = relation AND a.attname = attribute);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.column_default(regclass, text) IS
'The expression of a column''s default or, for an identity column, of its next value; NULL if there is none. A view '
    'has only its own defaults.';

CREATE FUNCTION minga_roster_internal.constant_default(relation regclass, attribute text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s)::%s', pg_get_expr(d.adbin, d.adrelid),
        minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid)))
    FROM pg_attribute a
    JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum AND d.adbin::text LIKE '{CONST %'
    WHERE a.attrelid = relation AND a.attname = attribute
$$;
COMMENT ON FUNCTION minga_roster_internal.constant_default(regclass, text) IS
'The default of a column if it is a constant, so that evaluating it has no effect; otherwise NULL.';

CREATE FUNCTION minga_roster_internal.equal_terms(relation regclass, attribute text, other text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    this record;
BEGIN
    SELECT format_type(a.atttypid, a.atttypmod) AS title, e.operator, e.operand,
        minga_roster_internal.type_name(a.atttypid) AS type,
        minga_roster_internal.type_name(minga_roster_internal.base_type(a.atttypid)) AS base_type
    INTO this
    FROM pg_attribute a
    CROSS JOIN LATERAL minga_roster_internal.equality(a.atttypid) e
    WHERE a.attrelid = equal_terms.relation AND a.attname = equal_terms.attribute AND NOT a.attisdropped;
    IF this.title IS NULL THEN
        -- The statement's own error names the missing column.
        RETURN format('p.%I OPERATOR(pg_catalog.=) (%s)', attribute, other);
    END IF;
    IF this.operator IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_function',
            MESSAGE = format('column "%s" of relation "%s" has type %s, which has no equality operator',
                attribute, relation, this.title),
            DETAIL = 'Its type was changed after the relation was attached.',
            HINT = format('Give the column a type that can be compared, then attach the relation again: '
                'SELECT minga_roster.roster_attach_people(%L).', relation);
    END IF;
    RETURN minga_roster_internal.fill_template('{column} {operator} ({other})::{base_type}{operand}',
        'column', CASE this.operand WHEN this.type THEN format('p.%I', attribute)
            ELSE format('(p.%I)::%s', attribute, this.operand) END,
        'operator', this.operator,
        'other', other,
        'base_type', this.base_type,
        'operand', CASE this.operand WHEN this.base_type THEN '' ELSE '::' || this.operand END);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.equal_terms(regclass, text, text) IS
'An expression that compares a column of p with another expression (a text, or of the column''s type) by the default '
    'equality of the column''s type. Indexes of the column serve it.';

CREATE FUNCTION minga_roster_internal.value_terms(map jsonb, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN map ? name THEN format('p.%I::pg_catalog.text', map ->> name) ELSE 'NULL::pg_catalog.text' END;
COMMENT ON FUNCTION minga_roster_internal.value_terms(jsonb, text) IS
'The value of p in a column of the contract, as text; NULL if the relation does not have the column.';

CREATE FUNCTION minga_roster_internal.word_terms(relation regclass, attribute text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- The cast of an enum to text is not immutable, because labels may be renamed. Citus takes no such cast where it
    -- decides which rows are updated; and comparing a few labels costs no more than looking one up. (CASE column WHEN
    -- would reach its nodes as CASE column WHEN NULL.)
    RETURN (
    SELECT CASE count(*) WHEN 0 THEN format('p.%I::pg_catalog.text', word_terms.attribute)
        ELSE format('CASE %s END', string_agg(
            minga_roster_internal.fill_template('WHEN p.{attribute:I} = {word:L}::{type} THEN {word:L}',
                'attribute', word_terms.attribute,
                'type', minga_roster_internal.type_name(e.enumtypid),
                'word', e.enumlabel::text),
            ' ' ORDER BY e.enumsortorder)) END
    FROM pg_attribute a
    JOIN pg_enum e ON e.enumtypid = minga_roster_internal.base_type(a.atttypid)
    WHERE a.attrelid = word_terms.relation AND a.attname = word_terms.attribute);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.word_terms(regclass, text) IS
'The word of p in a column for roles or a status, as text: of a text, a boolean or an enum, by an immutable '
    'expression.';

-- Expressions: roles

CREATE FUNCTION minga_roster_internal.role_terms(relation regclass, word text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    -- Owners and managers are known in any case, so that none of them is taken for someone else. A word "other" that
    -- the map does not name says nothing about its people.
    RETURN (
    SELECT minga_roster_internal.fill_template($template$
        CASE
            {words}
            WHEN {word} IN ('student', 'student_leader', 'teacher', 'staff', 'admin') THEN {word}
            WHEN pg_catalog.lower({word} COLLATE pg_catalog."C") IN ('owner', 'manager')
                THEN pg_catalog.lower({word} COLLATE pg_catalog."C")
            WHEN {word} = 'other' THEN '(other)'
            ELSE {word}
        END
        $template$,
        'word', role_terms.word,
        'words', coalesce(
            (SELECT string_agg(format('WHEN %s IN (%s) THEN %L', role_terms.word, g.words, g.role), ' '
                ORDER BY g.role <> 'student', g.role)
            FROM (
                SELECT w.role, string_agg(quote_literal(w.word #>> '{}'), ', ' ORDER BY w.word #>> '{}') AS words
                FROM minga_roster_internal.given_words(r.roles) w
                GROUP BY w.role
            ) g), ''))
    FROM minga_roster.people_relations r
    WHERE r.relation = role_terms.relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.role_terms(regclass, text) IS
'An expression that turns the relation''s word for a role into the contract''s: each of its words into the role, the '
    'words of other into other, owner and manager in any case. Any other word stays as it is.';

CREATE FUNCTION minga_roster_internal.role_word_terms(relation regclass, role text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.fill_template('CASE {words} WHEN false THEN NULL ELSE {role} END',
        'role', role_word_terms.role,
        'words', coalesce(
            (SELECT string_agg(format('WHEN %s = %L THEN %L', role_word_terms.role, w.role, w.word), ' '
                ORDER BY w.role)
            FROM minga_roster_internal.known_words(r.roles) w
            WHERE r.roles ? w.role AND w.is_first AND w.role <> 'other'), ''))
    FROM minga_roster.people_relations r
    WHERE r.relation = role_word_terms.relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.role_word_terms(regclass, text) IS
'An expression that turns a role of the contract into the word that a sync writes for it. A role without a word is its '
    'own word.';

CREATE FUNCTION minga_roster_internal.first_words(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT string_agg(quote_literal(w.word), ', ' ORDER BY w.role <> 'student', w.word)
    FROM minga_roster.people_relations r
    CROSS JOIN LATERAL minga_roster_internal.known_words(r.roles) w
    WHERE r.relation = first_words.relation AND w.is_first AND w.role <> 'other');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.first_words(regclass) IS
'The words that a sync writes for roles, as a list of literals.';

CREATE FUNCTION minga_roster_internal.rostered_words(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT string_agg(quote_literal(w.word), ', ' ORDER BY w.role <> 'student', w.word)
    FROM minga_roster.people_relations r
    CROSS JOIN LATERAL (
        SELECT g.role, g.word #>> '{}' FROM minga_roster_internal.given_words(r.roles) g
        UNION ALL
        SELECT u.word, u.word FROM unnest('{student,student_leader,teacher,staff,admin}'::text[]) u (word)
        WHERE u.word NOT IN (SELECT g.word #>> '{}' FROM minga_roster_internal.given_words(r.roles) g)
    ) w (role, word)
    WHERE r.relation = rostered_words.relation
        AND w.role IN ('student', 'student_leader', 'teacher', 'staff', 'admin'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.rostered_words(regclass) IS
'The words that role_terms turns into roles of which a roster has people, as a list of literals, those of students '
    'first; NULL if there are none.';

CREATE FUNCTION minga_roster_internal.protection_terms(relation regclass, managed text, word text, role text)
RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
-- Almost all people are told by their word alone.
RETURN minga_roster_internal.fill_template($template$
    CASE
        WHEN NOT {managed} THEN 'unmanaged'
        WHEN {word} IN ({rostered_words}) THEN NULL
        WHEN {role} IN ('owner', 'manager') THEN 'owner_or_manager'
        WHEN {role} = 'other' THEN 'other_role'
    END
    $template$,
    'managed', managed,
    'word', word,
    'rostered_words', coalesce(minga_roster_internal.rostered_words(relation), 'NULL'),
    'role', role);
COMMENT ON FUNCTION minga_roster_internal.protection_terms(regclass, text, text, text) IS
'The rule that says who is protected: an expression that is NULL for a person whom a sync may write, archive and '
    'restore, and otherwise the reason, a code of state_reason.';

-- Expressions: the archive

CREATE FUNCTION minga_roster_internal.archive_terms(relation regclass, OUT archived text, OUT archived_at text,
    OUT status text, OUT hashed text, OUT before text, OUT unchanged text, OUT as_archived text, OUT as_restored text,
    OUT as_created text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    attribute text;
    active_word text;
    archived_word text;
    type text;
BEGIN
    SELECT r.columns ->> 'archived_at', r.archive_words ->> 'active', r.archive_words ->> 'archived'
    INTO attribute, active_word, archived_word
    FROM minga_roster.people_relations r
    WHERE r.relation = archive_terms.relation;
    IF archived_word IS NULL THEN
        archived := format('p.%I IS NOT NULL', attribute);
        archived_at := format('p.%I', attribute);
        status := 'NULL::pg_catalog.text';
        hashed := format('pg_catalog.date_part(''epoch'', p.%I)', attribute);
        before := '(w.before ->> ''archived_at'')::pg_catalog.timestamptz';
        unchanged := archived_at;
        as_archived := 'coalesce((w.after ->> ''archived_at'')::pg_catalog.timestamptz, $2::pg_catalog.timestamptz)';
        as_restored := 'NULL::pg_catalog.timestamptz';
    ELSE
        type := minga_roster_internal.column_type(relation, attribute);
        status := minga_roster_internal.word_terms(relation, attribute);
        archived := format('(%s = %L) IS TRUE', status, archived_word);
        archived_at := 'NULL::pg_catalog.timestamptz';
        hashed := status;
        before := 'w.before ->> ''archived_at''';
        unchanged := status;
        as_archived := format('coalesce(w.after ->> ''archived_at'', %L)::%s', archived_word, type);
        as_restored := format('(w.after ->> ''archived_at'')::%s', type);
        as_created := format('%L::%s', active_word, type);
    END IF;
    unchanged := format('(NOT w.before ? ''archived_at'' OR %s IS NOT DISTINCT FROM w.archived_before)', unchanged);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.archive_terms(regclass) IS
'Expressions for the archive of a relation, which has a time or a status column: whether p is archived; its time and '
    'its status, one of them NULL; what stands for it in a hash; what w has of it in before, and whether p is as that '
    'says, once due_writes has it as archived_before; and what an archive, a restore and a create write. as_created is '
    'NULL for a time.';

CREATE FUNCTION minga_roster_internal.people_terms(relation regclass, OUT map jsonb, OUT people text, OUT of_site text,
    OUT person_id text, OUT role_word text, OUT role text, OUT managed text, OUT protection text, OUT "values" text[],
    OUT hash text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT r.columns INTO map FROM minga_roster.people_relations r WHERE r.relation = people_terms.relation;
    people := relation::text;
    of_site := minga_roster_internal.equal_terms(relation, map ->> 'site', '$1');
    person_id := minga_roster_internal.value_terms(map, 'person_id');
    role_word := minga_roster_internal.word_terms(relation, map ->> 'role');
    role := minga_roster_internal.role_terms(relation, role_word);
    managed := CASE WHEN map ? 'roster_managed' THEN format('coalesce(p.%I, true)', map ->> 'roster_managed')
        ELSE 'true' END;
    protection := minga_roster_internal.protection_terms(relation, managed, role_word, role);
    "values" := ARRAY(SELECT minga_roster_internal.value_terms(map, c.name)
        FROM unnest(minga_roster_internal.written_columns()) WITH ORDINALITY c (name, nth) ORDER BY c.nth);
    hash := minga_roster_internal.hash_terms(
        ARRAY[role_word, managed, (minga_roster_internal.archive_terms(relation)).hashed] || trim_array("values", 1),
        "values"[cardinality("values")]);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_terms(regclass) IS
'Expressions that most statements need: the map of columns, the relation, whether p is of the site $1, the id, the '
    'relation''s and the contract''s word for the role, whether p is managed, why p is protected, the columns that '
    'take values of the roster, and the hash of p.';

CREATE FUNCTION minga_roster_internal.hash_terms(parts text[], birth_date text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('pg_catalog.hashtextextended(pg_catalog.concat(ROW(%s)::pg_catalog.text, %s), 0)',
    array_to_string(parts, ', '), birth_date);
COMMENT ON FUNCTION minga_roster_internal.hash_terms(text[], text) IS
'The hash of all that a run sees of a person: the role''s word, whether the person is managed, the archive, and the '
    'columns that take values of the roster. Without a birth date it is what 0.1.0 made, which knew none.';

-- Statements: reading people

CREATE FUNCTION minga_roster_internal.people_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {person_id},
            {archived},
            {protection},
            {values},
            {role},
            {role_word},
            {role_word} IN ({first_words}),
            {archived_at},
            {status},
            {managed}
        FROM {people} p
        WHERE {of_site}
        $template$,
        -- read_as_owner writes a UUID faster than its cast.
        'person_id', CASE minga_roster_internal.column_type(relation, terms.map ->> 'person_id')
            WHEN 'pg_catalog.uuid' THEN format('p.%I::pg_catalog.uuid', terms.map ->> 'person_id')
            ELSE terms.person_id END,
        'archived', archive.archived,
        'protection', terms.protection,
        'values', array_to_string(terms."values", ', '),
        'role', terms.role,
        'role_word', terms.role_word,
        'first_words', minga_roster_internal.first_words(relation),
        'archived_at', archive.archived_at,
        'status', archive.status,
        'managed', terms.managed,
        'people', terms.people,
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.people_query(regclass) IS
'Reads the people of the site into plan_people.';

CREATE FUNCTION minga_roster_internal.seen_people_query() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN minga_roster_internal.fill_template('SELECT p.person_id, {hash} FROM plan_people p',
    'hash', minga_roster_internal.hash_terms(
        ARRAY['p.role_word', 'p.managed', 'coalesce(p.status, pg_catalog.date_part(''epoch'', p.archived_at)::text)']
        || trim_array(minga_roster_internal.written_columns(), 1), 'birth_date'));
COMMENT ON FUNCTION minga_roster_internal.seen_people_query() IS
'The hash of each row of plan_people: the same as the hash of people_terms for the person in the relation.';

CREATE FUNCTION minga_roster_internal.newcomers_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {person_id},
            {given_name},
            {family_name},
            {identifier},
            {email},
            {username}
        FROM {people} p
        WHERE {of_site}
        $template$,
        'person_id', terms.person_id,
        'given_name', minga_roster_internal.value_terms(terms.map, 'given_name'),
        'family_name', minga_roster_internal.value_terms(terms.map, 'family_name'),
        'identifier', minga_roster_internal.value_terms(terms.map, 'identifier'),
        'email', minga_roster_internal.value_terms(terms.map, 'email'),
        'username', minga_roster_internal.value_terms(terms.map, 'username'),
        'people', terms.people,
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.newcomers_query(regclass) IS
'Reads the names and keys of the people of the site.';

CREATE FUNCTION minga_roster_internal.any_person_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT FROM %s p LIMIT 1', relation);
COMMENT ON FUNCTION minga_roster_internal.any_person_query(regclass) IS
'One row if the relation has people of any site.';

CREATE FUNCTION minga_roster_internal.any_person_of_site_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT FROM %s p WHERE %s LIMIT 1', relation,
    (minga_roster_internal.people_terms(relation)).of_site);
COMMENT ON FUNCTION minga_roster_internal.any_person_of_site_query(regclass) IS
'One row if the relation has people of the site.';

CREATE FUNCTION minga_roster_internal.person_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template('SELECT FROM {people} p WHERE {of_site} AND {person_id} = $2',
        'people', terms.people,
        'of_site', terms.of_site,
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.person_query(regclass) IS
'One row if the site has the person with the person_id $2.';

CREATE FUNCTION minga_roster_internal.person_keys_query(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT {given_name},
            {family_name},
            {identifier},
            {email}
        FROM {people} p
        WHERE {of_site} AND {person_id} = $2
        $template$,
        'given_name', minga_roster_internal.value_terms(terms.map, 'given_name'),
        'family_name', minga_roster_internal.value_terms(terms.map, 'family_name'),
        'identifier', minga_roster_internal.value_terms(terms.map, 'identifier'),
        'email', minga_roster_internal.value_terms(terms.map, 'email'),
        'people', terms.people,
        'of_site', terms.of_site,
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.person_keys_query(regclass) IS
'Reads the names and keys of the person of the site who has the person_id $2.';

CREATE FUNCTION minga_roster_internal.words_query(relation regclass, "column" text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT r.word, pg_catalog.count(*)
        FROM (SELECT {value} AS word FROM {people} p LIMIT 1000000) r
        GROUP BY r.word
        ORDER BY pg_catalog.count(*) DESC, r.word COLLATE pg_catalog."C"
        LIMIT 1000
        $template$,
        'value', minga_roster_internal.value_terms(r.columns, words_query."column"),
        'people', relation::text)
    FROM minga_roster.people_relations r
    WHERE r.relation = words_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.words_query(regclass, text) IS
'The 1,000 most frequent values of a column of the contract in the first million rows, and how many people have each.';

-- Statements: writing people. Rows of w without a code, from change $3 to $4, are written.

CREATE FUNCTION minga_roster_internal.write_terms(kind text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('w.action = %L AND w.code IS NULL AND w.change BETWEEN $3::pg_catalog.int4 AND $4::pg_catalog.int4',
    kind);
COMMENT ON FUNCTION minga_roster_internal.write_terms(text) IS
'Whether w is one of the writes of this kind to carry out.';

CREATE FUNCTION minga_roster_internal.now_terms(relation regclass, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE name WHEN 'role' THEN
            minga_roster_internal.role_terms(r.relation,
                minga_roster_internal.word_terms(r.relation, r.columns ->> 'role'))
        ELSE minga_roster_internal.value_terms(r.columns, name) END
    FROM minga_roster.people_relations r
    WHERE r.relation = now_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.now_terms(regclass, text) IS
'The value of p in a column of the contract, in the words of before and after.';

CREATE FUNCTION minga_roster_internal.sent_terms(relation regclass, name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('(%s)::%s',
        CASE name WHEN 'role' THEN minga_roster_internal.role_word_terms(r.relation, 'w.after ->> ''role''')
            ELSE format('w.after ->> %L', name) END,
        minga_roster_internal.column_type(r.relation, r.columns ->> name))
    FROM minga_roster.people_relations r
    WHERE r.relation = sent_terms.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.sent_terms(regclass, text) IS
'The value in w.after for a column of the contract, of the column''s type.';

CREATE FUNCTION minga_roster_internal.due_writes(relation regclass, kind text, written text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    -- A planner pulls this up. Citus does not: it sends the rows to the nodes, and in what it runs there it takes no
    -- cast that is not immutable.
    RETURN minga_roster_internal.fill_template($template$
        (
            SELECT {columns}
            FROM pg_temp.plan_writes w
            WHERE {of_writes}
        ) w
        $template$,
        'columns', concat_ws(', ', 'w.change', 'w.person_id', 'w.before', 'w.after',
            archive.before || ' AS archived_before',
            CASE kind
                WHEN 'archive' THEN archive.as_archived || ' AS sent_archived_at'
                WHEN 'restore' THEN archive.as_restored || ' AS sent_archived_at'
            END,
            (SELECT string_agg(format('%s AS %I', minga_roster_internal.sent_terms(relation, c), 'sent_' || c), ', '
                ORDER BY c)
            FROM unnest(written) c)),
        'of_writes', minga_roster_internal.write_terms(kind));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.due_writes(regclass, text, text[]) IS
'The writes of this kind to carry out, as w, with what is sent to the written columns in the types of these.';

CREATE FUNCTION minga_roster_internal.fits_terms(relation regclass, kind text, compared text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    archive record := minga_roster_internal.archive_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template('({protection}) IS NULL AND {archived} AND {unchanged}{values}',
        'protection', (minga_roster_internal.people_terms(relation)).protection,
        'archived', CASE kind WHEN 'restore' THEN archive.archived ELSE format('NOT (%s)', archive.archived) END,
        'unchanged', archive.unchanged,
        'values', coalesce(
            (SELECT string_agg(
                minga_roster_internal.fill_template(
                    ' AND (NOT w.before ? {name:L} OR {now} IS NOT DISTINCT FROM w.before ->> {name:L})',
                    'name', c,
                    'now', minga_roster_internal.now_terms(relation, c)),
                '' ORDER BY c)
            FROM unnest(compared) c), ''));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fits_terms(regclass, text, text[]) IS
'Whether p is still as w expects: not protected, in or out of the archive, and with the values of before.';

CREATE FUNCTION minga_roster_internal.update_statement(relation regclass, kind text, written text[], fits text)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        WITH hit AS (
            UPDATE {people} p
            SET {assignments}
            FROM {writes}
            WHERE {of_site}
                AND {of_person}
                AND {fits}
            RETURNING w.change
        )
        SELECT h.change, NULL::pg_catalog.text FROM hit h
        $template$,
        'people', terms.people,
        'assignments', concat_ws(', ',
            CASE WHEN kind IN ('archive', 'restore') THEN
                format('%I = w.sent_archived_at', terms.map ->> 'archived_at') END,
            (SELECT string_agg(
                minga_roster_internal.fill_template(
                    '{attribute:I} = CASE WHEN w.after ? {name:L} THEN w.{sent:I} ELSE p.{attribute:I} END',
                    'attribute', terms.map ->> c,
                    'name', c,
                    'sent', 'sent_' || c),
                ', ' ORDER BY c)
            FROM unnest(written) c),
            CASE WHEN terms.map ? 'updated_at' THEN
                format('%I = $2::pg_catalog.timestamptz', terms.map ->> 'updated_at') END),
        'of_site', terms.of_site,
        'writes', minga_roster_internal.due_writes(relation, kind, written),
        'of_person', minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id'),
        'fits', fits);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.update_statement(regclass, text, text[], text) IS
'Archives, updates or restores the people who fit, and returns which writes reached a person.';

CREATE FUNCTION minga_roster_internal.keeps_ids(relation regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT c.relkind IN ('r', 'p') AND NOT c.relhasrules
        AND NOT EXISTS (
            SELECT FROM (
                SELECT c.oid
                UNION ALL
                SELECT t.relid FROM pg_partition_tree(c.oid) t
            ) t (oid)
            JOIN pg_class k ON k.oid = t.oid
            WHERE k.relkind = 'f'
                -- 4: of an INSERT
                OR EXISTS (SELECT FROM pg_trigger g
                    WHERE g.tgrelid = k.oid AND NOT g.tgisinternal AND g.tgtype & 4 <> 0))
    FROM pg_class c
    WHERE c.oid = relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keeps_ids(regclass) IS
'Whether new people have the ids that they are written with: in a table, partitioned or not, whose owner has given '
    'neither it nor a partition a rule or a trigger of inserts, and none of whose partitions is a foreign table.';

CREATE FUNCTION minga_roster_internal.two_phase_statement(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template(
        'INSERT INTO {people} ({site:I}) SELECT ($1)::{type} FROM pg_temp.plan_writes w WHERE false',
        'people', relation::text,
        'site', r.columns ->> 'site',
        'type', minga_roster_internal.column_type(r.relation, r.columns ->> 'site'))
    FROM minga_roster.people_relations r
    WHERE r.relation = two_phase_statement.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.two_phase_statement(regclass) IS
'Inserts no one, and makes Citus end the transaction in two phases. Of a transaction that only updates people on one '
    'node Citus would commit these first, and a crash between the two commits would leave people changed by a run '
    'that knows nothing of it.';

CREATE FUNCTION minga_roster_internal.insert_statement(relation regclass, written text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    attributes text;
    new_values text;
    new_people text;
BEGIN
    SELECT string_agg(quote_ident(terms.map ->> v.name), ', ' ORDER BY v.nth, v.name),
        string_agg(v.value, E',\n' ORDER BY v.nth, v.name)
    INTO attributes, new_values
    FROM (
        -- RETURNING does not tell which row of w a new person is. Rows are written one by one, so a setting tells it.
        SELECT 1, 'site', 'CASE WHEN pg_catalog.set_config(''roster_write.change'', w.change::pg_catalog.text, true) '
            'IS NOT NULL THEN $1 END'
        UNION ALL
        SELECT 2, 'person_id',
            format('w.person_id::%s', minga_roster_internal.column_type(relation, terms.map ->> 'person_id'))
        UNION ALL
        SELECT 3, 'role', minga_roster_internal.sent_terms(relation, 'role')
        UNION ALL
        -- If only some of the new people have a value, the others get the column's default.
        SELECT 4, c, CASE WHEN d IS NULL THEN minga_roster_internal.sent_terms(relation, c)
            ELSE minga_roster_internal.fill_template(
                'CASE WHEN w.after ? {name:L} THEN {sent} ELSE ({default})::{type} END',
                'name', c,
                'sent', minga_roster_internal.sent_terms(relation, c),
                'default', d,
                'type', minga_roster_internal.column_type(relation, terms.map ->> c)) END
        FROM unnest(written) c
        CROSS JOIN LATERAL minga_roster_internal.column_default(relation, terms.map ->> c) d
        WHERE c <> 'role'
        UNION ALL
        SELECT 5, 'updated_at', '$2::pg_catalog.timestamptz' WHERE terms.map ? 'updated_at'
        UNION ALL
        SELECT 6, 'archived_at', a.as_created
        FROM minga_roster_internal.archive_terms(relation) a
        WHERE a.as_created IS NOT NULL
    ) v (nth, name, value);
    new_people := minga_roster_internal.fill_template($template$
        INSERT INTO {people} AS p ({attributes}) OVERRIDING SYSTEM VALUE
        SELECT {values}
        FROM pg_temp.plan_writes w
        WHERE {of_writes}
        $template$,
        'people', terms.people,
        'attributes', attributes,
        'values', new_values,
        'of_writes', minga_roster_internal.write_terms('create'));
    IF minga_roster_internal.keeps_ids(relation) THEN
        -- Citus inserts by COPY where nothing is returned, and then raises all errors of its nodes as XX000.
        RETURN new_people || CASE WHEN minga_roster_internal.is_distributed(relation) THEN
            format(' RETURNING p.%I', terms.map ->> 'site') ELSE '' END;
    END IF;
    RETURN minga_roster_internal.fill_template($template$
        WITH hit AS (
            {new_people}
            RETURNING pg_catalog.current_setting('roster_write.change')::pg_catalog.int4 AS change,
                {person_id} AS person_id
        )
        SELECT h.change, h.person_id FROM hit h
        $template$,
        'new_people', new_people,
        'person_id', terms.person_id);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.insert_statement(regclass, text[]) IS
'Creates people with these columns, and returns which person each write became, unless that is known before.';

CREATE FUNCTION minga_roster_internal.keeps_values(relation regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    SELECT minga_roster_internal.keeps_ids(r.relation) AND NOT minga_roster_internal.is_distributed(r.relation)
        AND bool_and(CASE
            WHEN t.oid IN ('text'::regtype, 'varchar'::regtype) THEN true
            WHEN c = 'role' THEN t.typtype = 'e'
            -- A roster's dates are in the form of ISO.
            WHEN c = 'birth_date' THEN t.oid = 'date'::regtype AND current_setting('DateStyle') LIKE 'ISO%'
            ELSE false END)
    FROM minga_roster.people_relations r
    CROSS JOIN unnest(minga_roster_internal.written_columns() || 'role'::text) c
    JOIN pg_attribute a ON a.attrelid = r.relation AND a.attname = r.columns ->> c
    JOIN pg_type t ON t.oid = minga_roster_internal.base_type(a.atttypid)
    WHERE r.relation = keeps_values.relation
    GROUP BY r.relation);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.keeps_values(regclass) IS
'Whether new people are as they are written, so that RETURNING shows what a query would: keeps_ids, in columns of '
    'types that have one form of a value.';

CREATE FUNCTION minga_roster_internal.new_people_statement(relation regclass, written text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    archive record := minga_roster_internal.archive_terms(relation);
    attributes text;
    new_values text;
BEGIN
    SELECT string_agg(quote_ident(terms.map ->> v.name), ', ' ORDER BY v.nth, v.name),
        string_agg(v.value, E',\n' ORDER BY v.nth, v.name)
    INTO attributes, new_values
    FROM (
        -- Rows are written one by one, so a setting tells which one RETURNING and an error are about.
        SELECT 1, 'site', 'CASE WHEN pg_catalog.set_config(''roster_write.change'', w.change::pg_catalog.text, true) '
            'IS NOT NULL THEN $1 END'
        UNION ALL
        SELECT 2, 'role', format('(%s)::%s', minga_roster_internal.role_word_terms(relation, 'w.role'),
            minga_roster_internal.column_type(relation, terms.map ->> 'role'))
        UNION ALL
        SELECT 3, c, CASE WHEN d IS NULL THEN format('w.%I::%s', c, t)
            ELSE minga_roster_internal.fill_template(
                'CASE WHEN w.{name:I} IS NOT NULL THEN w.{name:I}::{type} ELSE ({default})::{type} END',
                'name', c,
                'default', d,
                'type', t) END
        FROM unnest(written) c
        CROSS JOIN LATERAL minga_roster_internal.column_default(relation, terms.map ->> c) d
        CROSS JOIN LATERAL minga_roster_internal.column_type(relation, terms.map ->> c) t
        UNION ALL
        SELECT 4, 'updated_at', '$2::pg_catalog.timestamptz' WHERE terms.map ? 'updated_at'
        UNION ALL
        SELECT 5, 'archived_at', archive.as_created WHERE archive.as_created IS NOT NULL
    ) v (nth, name, value);
    RETURN minga_roster_internal.fill_template($template$INSERT INTO {people} AS p ({attributes})
        SELECT {values}
        FROM pg_temp.plan_writes w
        WHERE {of_writes}
        RETURNING pg_catalog.current_setting('roster_write.change')::pg_catalog.int4,
            {person_id},
            {hash}
        $template$,
        'people', terms.people,
        'attributes', attributes,
        'values', new_values,
        'of_writes', minga_roster_internal.write_terms('new'),
        'person_id', terms.person_id,
        'hash', terms.hash);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.new_people_statement(regclass, text[]) IS
'Creates the people of rows that are only new, with these columns, in a relation that keeps values; draws their IDs, '
    'and returns plan_new_people.';

CREATE FUNCTION minga_roster_internal.has_person_index(relation regclass) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- The nodes of Citus cannot look up rows of a temporary table one by one.
    SELECT NOT minga_roster_internal.is_distributed(relation) AND EXISTS (
        SELECT FROM pg_index i
        JOIN minga_roster.people_relations r ON r.relation = i.indrelid
        JOIN pg_attribute p ON p.attrelid = i.indrelid AND p.attname = r.columns ->> 'person_id'
        JOIN pg_attribute s ON s.attrelid = i.indrelid AND s.attname = r.columns ->> 'site'
        WHERE i.indrelid = has_person_index.relation AND i.indisvalid AND i.indpred IS NULL
            AND (i.indkey[0] = p.attnum OR (i.indkey[0] = s.attnum AND i.indkey[1] = p.attnum)))
$$;
COMMENT ON FUNCTION minga_roster_internal.has_person_index(regclass) IS
'Whether an index finds a person by id, or by site and id.';

CREATE FUNCTION minga_roster_internal.written_query(relation regclass, kind text, written text[], fits text,
    one_by_one boolean)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    of_person text := minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id');
    differs text;
    now text;
BEGIN
    SELECT string_agg(
            minga_roster_internal.fill_template('(w.after ? {name:L} AND {now} IS DISTINCT FROM w.after ->> {name:L})',
                'name', c,
                'now', n),
            ' OR '),
        string_agg(format('%L, %s', c, n), ', ')
    INTO differs, now
    FROM unnest(written) c
    CROSS JOIN LATERAL minga_roster_internal.now_terms(relation, c) n;
    RETURN minga_roster_internal.fill_template($template$
        SELECT w.change,
            {person_id},
            {hash},
            ({fits}) IS TRUE,
            {archived},
            CASE WHEN {differs} THEN pg_catalog.jsonb_build_object({now}) END
        FROM {join}
        WHERE {of_site}
        $template$,
        'person_id', terms.person_id,
        'hash', terms.hash,
        'fits', fits,
        'archived', (minga_roster_internal.archive_terms(relation)).archived,
        'differs', coalesce(differs, 'false'),
        'now', coalesce(now, ''),
        'join', CASE WHEN one_by_one THEN minga_roster_internal.fill_template(
                '{writes} CROSS JOIN LATERAL (SELECT p.* FROM {people} p WHERE {of_site} AND {of_person} OFFSET 0) p',
                'writes', minga_roster_internal.due_writes(relation, kind, NULL),
                'people', terms.people,
                'of_site', terms.of_site,
                'of_person', of_person)
            ELSE minga_roster_internal.fill_template('{people} p JOIN {writes} ON {of_person}',
                'people', terms.people,
                'writes', minga_roster_internal.due_writes(relation, kind, NULL),
                'of_person', of_person) END,
        'of_site', terms.of_site);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.written_query(regclass, text, text[], text, boolean) IS
'Reads back the people of the writes of this kind: their hash, whether they still fit, whether they are archived, and '
    'the written columns if one of them is not as it was sent. one_by_one looks each of them up.';

CREATE TYPE minga_roster_internal.write_statement AS (
    action text,
    writes text,
    reads text,
    keeps_ids boolean,
    reads_few text
);
COMMENT ON TYPE minga_roster_internal.write_statement IS
'How a range of writes of this action is carried out, and how its people are read back; keeps_ids: the first returns '
    'nothing, since new people have the ids that they are written with. reads_few: for a few of many people, where an '
    'index finds them.';

CREATE FUNCTION minga_roster_internal.new_columns(relation regclass) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN (
    -- Once, whichever way the planner joins it
    WITH n AS MATERIALIZED (
        SELECT minga_roster_internal.tally(w.action, w.given_name, w.family_name, w.middle_name, w.preferred_name,
            w.email, w.username, w.identifier, w.grade, w.phone, w.parent_name, w.parent_email, w.parent_phone,
            w.parent_rule, w.birth_date) AS rows
        FROM plan_writes w
        WHERE w.action = 'new'
    )
    SELECT array_agg(c.name ORDER BY c.nth)
    FROM n
    JOIN minga_roster.people_relations r ON r.relation = new_columns.relation
    CROSS JOIN LATERAL unnest(ARRAY['given_name', 'family_name', 'middle_name', 'preferred_name', 'email', 'username',
        'identifier', 'grade', 'phone', 'parent_name', 'parent_email', 'parent_phone', 'parent_rule', 'birth_date'])
        WITH ORDINALITY c (name, nth)
    WHERE r.columns ? c.name AND (n.rows -> 0 ->> (c.nth + 1)::integer)::bigint > 0);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.new_columns(regclass) IS
'The columns that the rows that are only new have values for; NULL if there is no such row.';

CREATE FUNCTION minga_roster_internal.write_statements(relation regclass)
RETURNS SETOF minga_roster_internal.write_statement
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = on AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH actions AS (
        SELECT w.action, n.written, n.compared
        FROM (
            SELECT w.action, minga_roster_internal.names_of(w.after) AS named_after,
                minga_roster_internal.names_of(w.before) AS named_before
            FROM plan_writes w
            WHERE w.action <> 'new'
            GROUP BY w.action
        ) w
        CROSS JOIN LATERAL (
            SELECT array_agg(c) FILTER (WHERE c = ANY (w.named_after)),
                array_agg(c) FILTER (WHERE c = ANY (w.named_before))
            FROM unnest(minga_roster_internal.written_columns() || 'role'::text) c
        ) n (written, compared)
    )
    SELECT s.action, s.writes, s.reads, s.keeps_ids, s.reads_few
    FROM (
        SELECT a.action,
            CASE a.action WHEN 'create' THEN minga_roster_internal.insert_statement(relation, a.written)
                ELSE minga_roster_internal.update_statement(relation, a.action, a.written, f.fits) END,
            minga_roster_internal.written_query(relation, a.action, a.written, f.fits, false),
            a.action = 'create' AND minga_roster_internal.keeps_ids(relation),
            CASE WHEN minga_roster_internal.has_person_index(relation)
                THEN minga_roster_internal.written_query(relation, a.action, a.written, f.fits, true) END
        FROM actions a
        CROSS JOIN LATERAL (SELECT CASE a.action WHEN 'create' THEN 'true'
            ELSE minga_roster_internal.fits_terms(relation, a.action, a.compared) END AS fits) f
        UNION ALL
        SELECT 'new', minga_roster_internal.new_people_statement(relation, n.columns), NULL, true, NULL
        FROM minga_roster_internal.new_columns(relation) n (columns)
        WHERE n.columns IS NOT NULL
    ) s (action, writes, reads, keeps_ids, reads_few)
    ORDER BY array_position(ARRAY['archive', 'update', 'restore', 'create', 'new'], s.action);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.write_statements(regclass) IS
'The statements for the actions of plan_writes, over the columns that these have.';

CREATE FUNCTION minga_roster_internal.new_ids_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT w.change, (({default})::{type})::pg_catalog.text
        FROM pg_catalog.unnest($1::pg_catalog.int4[]) w (change)
        $template$,
        'default', minga_roster_internal.column_default(r.relation, r.columns ->> 'person_id'),
        'type', minga_roster_internal.stored_type(r.relation, r.columns ->> 'person_id'))
    FROM minga_roster.people_relations r
    WHERE r.relation = new_ids_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.new_ids_query(regclass) IS
'Draws an id for each of the changes $1 from the default of the relation.';

CREATE FUNCTION minga_roster_internal.lock_statement(relation regclass) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = lock_statement.relation);
BEGIN
    RETURN minga_roster_internal.fill_template('EXPLAIN UPDATE {people} p SET {attribute:I} = DEFAULT WHERE {of_site}',
        'people', relation::text,
        'attribute', map ->> 'given_name',
        'of_site', minga_roster_internal.equal_terms(relation, map ->> 'site', '$1'));
END
$$;
COMMENT ON FUNCTION minga_roster_internal.lock_statement(regclass) IS
'Takes the locks of an update, also on the tables below a view and on partitions. EXPLAIN needs no further right and '
    'fires no trigger.';

-- Statements: unique indexes of the relation

CREATE TYPE minga_roster_internal.unique_key AS (
    index_name text,
    expressions text[],
    types oid[],
    modifiers integer[],
    collation_oids oid[],
    collations text[],
    operators text[],
    predicate text,
    nulls_equal boolean,
    key_columns text[],
    attributes text[]
);
COMMENT ON TYPE minga_roster_internal.unique_key IS
'A unique index: its keys, its predicate, the columns that are keys themselves, and all columns that keys and '
    'predicate depend on.';

CREATE FUNCTION minga_roster_internal.unique_keys(relation regclass, beside text)
RETURNS SETOF minga_roster_internal.unique_key
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = on AS $$
#variable_conflict use_column
BEGIN
    -- Most relations have none.
    IF NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid
        AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = beside
            AND a.attnum = ANY (i.indkey)))
    THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.relname::text, k.expressions, k.types, k.modifiers, k.collation_oids, k.collations, k.operators,
        coalesce('(' || pg_get_expr(i.indpred, i.indrelid) || ')', 'true'), i.indnullsnotdistinct,
        u.key_columns, u.attributes
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid
    CROSS JOIN LATERAL (
        SELECT array_agg(pg_get_indexdef(i.indexrelid, n, true) ORDER BY n) AS expressions,
            -- An index stores a name as cstring, which a table cannot.
            array_agg(CASE WHEN a.atttypid = 'cstring'::regtype THEN 'name'::regtype ELSE a.atttypid END::oid
                ORDER BY n) AS types,
            array_agg(a.atttypmod ORDER BY n) AS modifiers,
            array_agg(i.indcollation[n - 1] ORDER BY n) AS collation_oids,
            array_agg(CASE WHEN l.oid IS NULL THEN ''
                ELSE format(' COLLATE %I.%I', ls.nspname, l.collname) END ORDER BY n) AS collations,
            array_agg(format('OPERATOR(%I.%s)', s.nspname, o.oprname) ORDER BY n) AS operators,
            bool_and(o.oid IS NOT NULL) AS known
        FROM generate_series(1, i.indnkeyatts) n
        JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = n
        JOIN pg_opclass oc ON oc.oid = i.indclass[n - 1]
        LEFT JOIN pg_collation l ON l.oid = i.indcollation[n - 1]
        LEFT JOIN pg_namespace ls ON ls.oid = l.collnamespace
        LEFT JOIN pg_amop m ON m.amopfamily = oc.opcfamily AND m.amoplefttype = oc.opcintype
            AND m.amoprighttype = oc.opcintype AND m.amopstrategy = 3
            AND m.amopmethod = (SELECT oid FROM pg_am WHERE amname = 'btree')
        LEFT JOIN pg_operator o ON o.oid = m.amopopr
        LEFT JOIN pg_namespace s ON s.oid = o.oprnamespace
    ) k
    CROSS JOIN LATERAL (
        SELECT array_agg(a.attname::text) AS attributes, coalesce(bool_or(a.attgenerated <> ''), false) AS generated,
            array_agg(a.attname::text) FILTER (
                WHERE a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) AS key_columns
        FROM pg_attribute a
        WHERE a.attrelid = i.indrelid AND a.attnum > 0
            AND (a.attnum = ANY (i.indkey)
                OR a.attnum IN (SELECT d.refobjsubid FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0))
    ) u
    WHERE i.indrelid = relation AND i.indisunique AND i.indisvalid AND k.known AND NOT u.generated
        AND beside <> ALL (u.attributes)
    ORDER BY c.relname;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.unique_keys(regclass, text) IS
'The unique indexes of a relation, beside those that need this column, that can be checked before anything is written; '
    'none over generated columns.';

CREATE FUNCTION minga_roster_internal.key_terms(index minga_roster_internal.unique_key, OUT keys text,
    OUT names text, OUT equal text, OUT comparable text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(format('%s%s AS k%s', u.expression, u."collation", u.nth), ', ' ORDER BY u.nth),
        string_agg(format('k%s', u.nth), ', ' ORDER BY u.nth),
        CASE WHEN (index).nulls_equal
            -- Rows as a whole are equal if both have NULL. As columns of a subquery Citus would not take them.
            THEN minga_roster_internal.fill_template($template$
                pg_catalog.hash_record_extended(ROW({of_q}), 0)
                        OPERATOR(pg_catalog.=) pg_catalog.hash_record_extended(ROW({of_k}), 0)
                    AND pg_catalog.record_eq(ROW({of_q}), ROW({of_k}))
                $template$,
                'of_q', string_agg('q.k' || u.nth, ', ' ORDER BY u.nth),
                'of_k', string_agg('k.k' || u.nth, ', ' ORDER BY u.nth))
            ELSE string_agg(format('q.k%s %s k.k%s', u.nth, u.operator, u.nth), ' AND ' ORDER BY u.nth) END,
        CASE WHEN (index).nulls_equal THEN 'true'
            ELSE string_agg(format('k%s IS NOT NULL', u.nth), ' AND ' ORDER BY u.nth) END
    FROM unnest((index).expressions, (index).collations, (index).operators)
        WITH ORDINALITY u (expression, "collation", operator, nth)
$$;
COMMENT ON FUNCTION minga_roster_internal.key_terms(minga_roster_internal.unique_key) IS
'The keys of an index as columns k1, k2 …: their expressions, their names, when those of q and k are equal, and when '
    'keys can be equal at all.';

CREATE FUNCTION minga_roster_internal.make_key_table(index minga_roster_internal.unique_key) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.make_temp_table('plan_index_keys',
        ARRAY['label', 'person_id'] || array_agg('k' || n.nth ORDER BY n.nth),
        ARRAY['text'::regtype, 'text'::regtype]::oid[] || (index).types, ARRAY[-1, -1] || (index).modifiers,
        ARRAY['"C"'::regcollation, 'default'::regcollation]::oid[] || (index).collation_oids)
    FROM generate_subscripts((index).types, 1) n (nth)
$$;
COMMENT ON FUNCTION minga_roster_internal.make_key_table(minga_roster_internal.unique_key) IS
'Makes plan_index_keys, with the keys of an index as columns k1, k2 …, for the rest of the transaction.';

CREATE FUNCTION minga_roster_internal.planned_terms(relation regclass, attribute text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = planned_terms.relation);
    name text := (SELECT min(m.key) FROM jsonb_each_text(map) m
        WHERE m.value = attribute AND m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    as_created text := coalesce(minga_roster_internal.constant_default(relation, attribute), 'NULL');
    archive record;
BEGIN
    IF attribute = map ->> 'site' THEN
        RETURN format('$1::%s', minga_roster_internal.column_type(relation, attribute));
    ELSIF attribute = map ->> 'archived_at' THEN
        archive := minga_roster_internal.archive_terms(relation);
        RETURN minga_roster_internal.fill_template($template$
            CASE w.outcome
                WHEN 'create' THEN {as_created}
                WHEN 'restore' THEN {as_restored}
                ELSE p.{attribute:I}
            END
            $template$,
            'as_created', coalesce(archive.as_created, as_created),
            'as_restored', archive.as_restored,
            'attribute', attribute);
    END IF;
    RETURN minga_roster_internal.fill_template($template$
        CASE
            {sent}
            WHEN w.outcome = 'create' THEN {as_created}
            ELSE p.{attribute:I}
        END
        $template$,
        'sent', CASE WHEN name IS NULL THEN 'WHEN false THEN NULL'
            ELSE format('WHEN w.after ? %L THEN %s', name, minga_roster_internal.sent_terms(relation, name)) END,
        'as_created', as_created,
        'attribute', attribute);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_terms(regclass, text) IS
'What a column will hold after w, a row of plan_values, is carried out on p. For a new person a default is known if '
    'it is a constant; otherwise the value is NULL.';

CREATE FUNCTION minga_roster_internal.planned_keys_statement(relation regclass, index minga_roster_internal.unique_key)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        INSERT INTO pg_temp.plan_index_keys
        SELECT "minga_roster label", "minga_roster person", {expressions}
        FROM (
            SELECT w.label AS "minga_roster label", w.person_id AS "minga_roster person", {planned}
            FROM pg_temp.plan_values w
            LEFT JOIN {people} p ON {of_site} AND {of_person}
            WHERE w.index_name = $2
        ) f
        WHERE {predicate}
        $template$,
        'expressions', array_to_string(index.expressions, ', '),
        'planned', (SELECT string_agg(format('%s AS %I', minga_roster_internal.planned_terms(relation, a), a), ', ')
            FROM unnest(index.attributes) a),
        'people', terms.people,
        'of_site', terms.of_site,
        'of_person', minga_roster_internal.equal_terms(relation, terms.map ->> 'person_id', 'w.person_id'),
        'predicate', index.predicate);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.planned_keys_statement(regclass, minga_roster_internal.unique_key) IS
'Computes the keys that plan_values will have in the index, and puts them into plan_index_keys.';

CREATE FUNCTION minga_roster_internal.holders_query(relation regclass, index minga_roster_internal.unique_key)
RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    terms record := minga_roster_internal.people_terms(relation);
    keys record := minga_roster_internal.key_terms(index);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT k.label, $2, pg_catalog.min(q."minga_roster person")
        FROM pg_temp.plan_index_keys k
        JOIN (
            SELECT {person_id} AS "minga_roster person", {keys}
            FROM {people} p
            WHERE {predicate} AND {of_site}
        ) q ON {equal}
        WHERE q."minga_roster person" IS DISTINCT FROM k.person_id
        GROUP BY k.label
        $template$,
        'person_id', terms.person_id,
        'keys', keys.keys,
        'people', terms.people,
        'predicate', index.predicate,
        -- An index without the site allows a value once in all sites.
        'of_site', CASE WHEN terms.map ->> 'site' = ANY (index.key_columns) THEN terms.of_site ELSE 'true' END,
        'equal', keys.equal);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.holders_query(regclass, minga_roster_internal.unique_key) IS
'The rows of plan_index_keys whose key someone else in the relation has, with the index ($2) and that person.';

CREATE FUNCTION minga_roster_internal.repeated_keys_query(index minga_roster_internal.unique_key) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys record := minga_roster_internal.key_terms(index);
BEGIN
    RETURN minga_roster_internal.fill_template($template$
        SELECT c.label, $1, NULL::pg_catalog.text
        FROM (
            SELECT k.label, pg_catalog.count(*) OVER (PARTITION BY {names}) AS alike
            FROM pg_temp.plan_index_keys k
            WHERE {comparable}
        ) c
        WHERE c.alike > 1
        $template$,
        'names', keys.names,
        'comparable', keys.comparable);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.repeated_keys_query(minga_roster_internal.unique_key) IS
'The rows of plan_index_keys whose key another row has too, with the index ($1).';

-- Statements: what would stop a sync. EXPLAIN resolves, rewrites and checks a statement, and carries nothing out.

CREATE FUNCTION minga_roster_internal.probe_statements(relation regclass, OUT "right" text, OUT statement text)
RETURNS SETOF record
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH columns AS (
        SELECT string_agg(minga_roster_internal.value_terms(r.columns, c."column"), ', ' ORDER BY c."position") AS read,
            string_agg(quote_ident(a), ', ' ORDER BY c."position") FILTER (WHERE c.written IS NOT NULL) AS attributes,
            string_agg(format('NULL::%s', t), ', ' ORDER BY c."position")
                FILTER (WHERE c.written IS NOT NULL) AS created,
            string_agg(format('%I = NULL::%s', a, t), ', ' ORDER BY c."position")
                FILTER (WHERE c.written IN ('value', 'rule')) AS assignments,
            min(minga_roster_internal.value_terms(r.columns, 'person_id')) AS person_id
        FROM minga_roster.people_relations r
        JOIN minga_roster_internal.people_columns() c ON r.columns ? c."column"
        CROSS JOIN LATERAL (SELECT r.columns ->> c."column") n (a)
        CROSS JOIN LATERAL minga_roster_internal.column_type(r.relation, n.a) t
        WHERE r.relation = probe_statements.relation
    )
    SELECT 'SELECT', minga_roster_internal.fill_template('EXPLAIN SELECT {read} FROM {people} p',
        'read', c.read,
        'people', relation::text)
    FROM columns c
    UNION ALL
    SELECT 'INSERT', minga_roster_internal.fill_template($template$
        EXPLAIN WITH hit AS (
            INSERT INTO {people} AS p ({attributes}) OVERRIDING SYSTEM VALUE
            SELECT {created}
            WHERE false
            RETURNING {person_id}
        )
        SELECT FROM hit
        $template$,
        'people', relation::text,
        'attributes', c.attributes,
        'created', c.created,
        'person_id', c.person_id)
    FROM columns c
    UNION ALL
    SELECT 'UPDATE', minga_roster_internal.fill_template($template$
        EXPLAIN WITH hit AS (
            UPDATE {people} p
            SET {assignments}
            RETURNING {person_id}
        )
        SELECT FROM hit
        $template$,
        'people', relation::text,
        'assignments', c.assignments,
        'person_id', c.person_id)
    FROM columns c
$$;
COMMENT ON FUNCTION minga_roster_internal.probe_statements(regclass) IS
'An EXPLAIN for each right that a sync needs (SELECT, INSERT, UPDATE), over all columns that it reads or writes.';

CREATE FUNCTION minga_roster_internal.site_partitions(relation regclass, attribute text) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH RECURSIVE parts (relation) AS (
        SELECT site_partitions.relation::oid
        UNION ALL
        SELECT i.inhrelid
        FROM parts p
        JOIN pg_partitioned_table k ON k.partrelid = p.relation AND k.partnatts = 1
        JOIN pg_attribute a ON a.attrelid = k.partrelid AND a.attnum = k.partattrs[0]
            AND a.attname = site_partitions.attribute
        JOIN pg_inherits i ON i.inhparent = k.partrelid
    )
    SELECT p.relation
    FROM parts p
    WHERE NOT EXISTS (
        SELECT FROM pg_partitioned_table k
        JOIN pg_attribute a ON a.attrelid = k.partrelid AND a.attnum = k.partattrs[0]
        WHERE k.partrelid = p.relation AND k.partnatts = 1 AND a.attname = site_partitions.attribute)
$$;
COMMENT ON FUNCTION minga_roster_internal.site_partitions(regclass, text) IS
'The partitions into which the site alone divides a relation; they may be divided once more by other columns. The '
    'relation itself where the site divides nothing.';

CREATE FUNCTION minga_roster_internal.partition_query(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT minga_roster_internal.fill_template($template$
        SELECT FROM (SELECT ($1)::{type} AS {site:I} OFFSET 0) p
        WHERE {bounds}
        $template$,
        'type', minga_roster_internal.column_type(r.relation, r.columns ->> 'site'),
        'site', r.columns ->> 'site',
        'bounds', coalesce(
            (SELECT string_agg(format('(%s)', coalesce(pg_get_partition_constraintdef(t), 'true')), ' OR ')
            FROM minga_roster_internal.site_partitions(r.relation, r.columns ->> 'site') t), 'false'))
    FROM minga_roster.people_relations r
    WHERE r.relation = partition_query.relation
$$;
COMMENT ON FUNCTION minga_roster_internal.partition_query(regclass) IS
'One row if a partition takes people of the site, by the levels that the site decides.';

CREATE FUNCTION minga_roster_internal.word_query(type text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN format('SELECT WHERE ($1::%s)::pg_catalog.text OPERATOR(pg_catalog.=) $1', type);
COMMENT ON FUNCTION minga_roster_internal.word_query(text) IS
'One row if a column of the type would hold the word $1 as it is.';
