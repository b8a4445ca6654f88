-- The people relation: created for deployments without one, checked and attached for the others. Only its shape is
-- checked here; obstacles.sql finds what else would stop a sync.

CREATE FUNCTION minga_roster_internal.people_columns(OUT "position" integer, OUT "column" text, OUT type text,
    OUT required boolean, OUT may_be_empty boolean, OUT written text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT c."position", c."column", c.type, c.required, c.may_be_empty, c.written
    FROM (VALUES
        (1, 'site', 'text', true, false, 'create'),
        (2, 'person_id', 'any', true, false, 'create'),
        (3, 'role', 'text or enum', true, false, 'rule'),
        (4, 'given_name', 'text', true, false, 'value'),
        (5, 'family_name', 'text', true, false, 'value'),
        (6, 'archived_at', 'timestamp with time zone', true, true, 'rule'),
        (7, 'middle_name', 'text', false, true, 'value'),
        (8, 'preferred_name', 'text', false, true, 'value'),
        (9, 'email', 'text', false, true, 'value'),
        (10, 'username', 'text', false, true, 'value'),
        (11, 'identifier', 'text', false, true, 'value'),
        (12, 'grade', 'text', false, true, 'value'),
        (13, 'phone', 'text', false, true, 'value'),
        (14, 'parent_name', 'text', false, true, 'value'),
        (15, 'parent_email', 'text', false, true, 'value'),
        (16, 'parent_phone', 'text', false, true, 'value'),
        (17, 'parent_rule', 'text', false, true, 'value'),
        (18, 'updated_at', 'timestamp with time zone', false, false, 'rule'),
        (19, 'roster_managed', 'boolean', false, false, NULL),
        (20, 'birth_date', 'text or date', false, true, 'value')
    ) AS c ("position", "column", type, required, may_be_empty, written)
    ORDER BY c."position";
END;
COMMENT ON FUNCTION minga_roster_internal.people_columns() IS
'The columns of the people relation''s contract. may_be_empty: NULL is written to it, so it cannot be NOT NULL. '
'written: "create" for new people only, "value" takes values of the roster, "rule" has a rule of its own, NULL is only '
'read.';

CREATE FUNCTION minga_roster_internal.written_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN (SELECT array_agg(c."column" ORDER BY c."position") FROM minga_roster_internal.people_columns() c
    WHERE c.written = 'value');
COMMENT ON FUNCTION minga_roster_internal.written_columns() IS
'The columns that take values of the roster, birth_date last. What is read, compared, hashed and written of a person '
'follows from them.';

CREATE FUNCTION minga_roster_internal.fits_type(column_type oid, wanted text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    base oid := minga_roster_internal.base_type(column_type);
BEGIN
    RETURN CASE wanted
        WHEN 'any' THEN true
        WHEN 'text' THEN base IN ('text'::regtype, 'varchar'::regtype)
            -- citext and similar types: text under another name, which read and write like text.
            OR (EXISTS (SELECT FROM pg_cast c WHERE c.castsource = base AND c.casttarget = 'text'::regtype
                            AND c.castmethod = 'b' AND c.castcontext = 'i')
                AND EXISTS (SELECT FROM pg_cast c WHERE c.castsource = 'text'::regtype AND c.casttarget = base
                    AND c.castcontext IN ('a', 'i')))
        WHEN 'text or enum' THEN EXISTS (SELECT FROM pg_type t WHERE t.oid = base AND t.typtype = 'e')
            OR minga_roster_internal.fits_type(base, 'text')
        WHEN 'text or date' THEN base = 'date'::regtype OR minga_roster_internal.fits_type(base, 'text')
        WHEN 'text, boolean or enum' THEN base = 'boolean'::regtype
            OR minga_roster_internal.fits_type(base, 'text or enum')
        ELSE base = to_regtype(wanted)
    END;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.fits_type(oid, text) IS
'Whether a column of this type (for a domain, its base type) can hold what people_columns() says.';

-- The checks of a domain are written by its owner, so they run with the rights of the relation's owner.
CREATE FUNCTION minga_roster_internal.takes_word(relation regclass, type text, word text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN minga_roster_internal.as_owner(relation, minga_roster_internal.word_query(type), word) = 1;
EXCEPTION
    WHEN data_exception OR integrity_constraint_violation OR raise_exception THEN
        RETURN false;
    WHEN insufficient_privilege THEN
        -- people_obstacles reports missing rights.
        RETURN true;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.takes_word(regclass, text, text) IS
'Whether a column of this type would hold the word unchanged.';

CREATE FUNCTION minga_roster_internal.words_of_type(type oid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT '; it has ' || CASE WHEN base = 'boolean'::regtype THEN 'true, false'
        ELSE (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = base) END
    FROM minga_roster_internal.base_type(words_of_type.type) AS base
$$;
COMMENT ON FUNCTION minga_roster_internal.words_of_type(oid) IS
'The words of an enumerated type, as the end of a sentence; NULL for other types.';

CREATE FUNCTION minga_roster_internal.require_people_owner(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
BEGIN
    SELECT n.nspname || '.' || c.relname AS title, c.relowner INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF NOT pg_has_role(minga_roster_internal.caller(), class.relowner, 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('must be owner of relation "%s"', class.title),
            DETAIL = format('It belongs to "%s", and a sync writes with that role''s rights; you are "%s".',
                pg_get_userbyid(class.relowner), minga_roster_internal.caller()),
            HINT = format('Ask a superuser or a member of "%s" to do it.', pg_get_userbyid(class.relowner));
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_people_owner(regclass) IS
'42501 unless the caller owns the relation, is a member of its owner, or is a superuser: who attaches people or '
'connects a SIS to them decides what is written to them.';

CREATE FUNCTION minga_roster_internal.more_than_plain(role oid) RETURNS text
LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'roster_more_than_plain';
COMMENT ON FUNCTION minga_roster_internal.more_than_plain(oid) IS
'Why a role is or can become more than a plain role, in words: it is a superuser or the role that the extension acts '
'with, is a member of one or of a predefined role that allows it, or can grant itself such a membership (CREATEROLE '
'before PostgreSQL 16); NULL for a plain role.';

CREATE FUNCTION minga_roster_internal.require_temporary() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT has_database_privilege(current_database(), 'TEMPORARY') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('role "%s" cannot create temporary tables in database "%s"',
                current_user, current_database()),
            DETAIL = 'A run reads people into temporary tables, with the rights of the role that owns the extension''s '
                'objects.',
            HINT = format('GRANT TEMPORARY ON DATABASE %I TO %I.', current_database(), current_user);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_temporary() IS
'42501 unless the extension''s role may create temporary tables. CREATE EXTENSION grants that, and the owner of the '
'database can revoke it.';

CREATE FUNCTION minga_roster_internal.check_people_relation(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
BEGIN
    SELECT n.nspname || '.' || c.relname AS title, n.nspname AS schema_name, pg_get_userbyid(c.relowner) AS owner,
        c.relkind, minga_roster_internal.more_than_plain(c.relowner) AS more_than_plain,
        has_schema_privilege(c.relowner, n.oid, 'USAGE') AS reaches_schema,
        (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.objsubid = 0
                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS extension
    INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = check_people_relation.relation;
    IF class.extension IS NOT NULL OR class.schema_name LIKE E'pg\\_%'
        OR class.schema_name IN ('information_schema', 'minga_roster', 'minga_roster_internal') THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('relation "%s" cannot hold people', class.title),
            DETAIL = CASE WHEN class.extension IS NOT NULL THEN format('It belongs to extension "%s".', class.extension)
                ELSE format('It is in schema "%s", which is not for other tables.', class.schema_name)
            END,
            HINT = 'Name your own table or updatable view, or create a table: SELECT '
                'minga_roster.roster_create_people(''public.people'', owner => ''people_owner'').';
    END IF;
    IF class.more_than_plain IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('relation "%s" belongs to %s', class.title, class.more_than_plain),
            DETAIL = 'A sync runs the triggers, defaults and policies of the relation with its owner''s rights, so '
                'every role that can create one gets these rights.',
            HINT = format('Give it a plain owner (if there is none, CREATE ROLE people_owner NOLOGIN): ALTER %s %s '
                'OWNER TO people_owner.',
                CASE class.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, relation);
    END IF;
    IF NOT class.reaches_schema THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('owner "%s" of relation "%s" cannot use schema "%s"',
                class.owner, class.title, class.schema_name),
            DETAIL = 'A sync reads and writes the relation with its owner''s rights.',
            HINT = format('GRANT USAGE ON SCHEMA %I TO %I.', class.schema_name, class.owner);
    END IF;
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        PERFORM minga_roster_internal.check_distributed(relation);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_people_relation(regclass) IS
'Raises an error unless the relation may hold people: not a member of an extension and not in a system schema (42809), '
'owned by a plain role that can use its schema (42501), and such that Citus, if there, takes a sync. Does nothing for '
'a relation that does not exist.';

CREATE FUNCTION minga_roster_internal.is_distributed(relation regclass) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    answer boolean := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL THEN
        EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition d WHERE d.logicalrelid = $1)'
        INTO answer USING relation;
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.is_distributed(regclass) IS
'Whether the rows of a table are on the nodes of Citus.';

CREATE FUNCTION minga_roster_internal.check_distributed(relation regclass) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    distributed text;
    owner name;
    has_other_nodes boolean;
BEGIN
    WITH RECURSIVE below (relation) AS (
        SELECT c.oid FROM pg_class c WHERE c.oid = check_distributed.relation AND c.relkind = 'v'
        UNION
        SELECT d.refobjid
        FROM below b
        JOIN pg_rewrite w ON w.ev_class = b.relation AND w.ev_type = '1'
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
            AND d.refclassid = 'pg_class'::regclass
    )
    SELECT min(b.relation::regclass::text) INTO distributed
    FROM below b WHERE minga_roster_internal.is_distributed(b.relation);
    IF distributed IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('view "%s" shows the distributed table "%s"', relation, distributed),
            DETAIL = 'Citus does not write through a view.',
            HINT = format('Attach the table itself, and map the columns that have other names: SELECT '
                'minga_roster.roster_attach_people(%L, columns => ''{"given_name": "first_name"}'').', distributed);
    END IF;
    SELECT r.rolname INTO owner
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.oid = relation AND NOT r.rolcanlogin AND minga_roster_internal.is_distributed(relation);
    IF owner IS NULL THEN
        RETURN;
    END IF;
    EXECUTE 'SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_node n WHERE n.isactive AND n.shouldhaveshards '
        'AND n.groupid <> (SELECT l.groupid FROM pg_catalog.pg_dist_local_group l))'
    INTO has_other_nodes;
    IF has_other_nodes THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('owner "%s" of the distributed table "%s" cannot log in', owner, relation),
            DETAIL = 'A sync reads and writes the relation with its owner''s rights, and Citus logs in on its nodes as '
                'that role.',
            HINT = format('ALTER ROLE %I LOGIN. Let the coordinator log in as that role on each node (pg_hba.conf '
                'there, pg_dist_authinfo or .pgpass here).', owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_distributed(regclass) IS
'With Citus: 0A000 for a view above a distributed table, and 42501 for a distributed table whose owner cannot log in '
    'on other nodes.';

CREATE FUNCTION minga_roster_internal.given_words(roles jsonb, OUT role text, OUT word jsonb, OUT "position" bigint)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT e.key, w.value, w."position"
    FROM jsonb_each(given_words.roles) e
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.value) WHEN 'array' THEN e.value
        ELSE jsonb_build_array(e.value) END)
        WITH ORDINALITY w (value, "position");
END;
COMMENT ON FUNCTION minga_roster_internal.given_words(jsonb) IS
'The words of a role map as given, one per row: {"student": "STUDENT"} as {"student": ["STUDENT"]}.';

CREATE FUNCTION minga_roster_internal.known_words(roles jsonb, OUT role text, OUT word text, OUT is_first boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT g.role, g.word #>> '{}', g."position" = 1
    FROM minga_roster_internal.given_words(known_words.roles) g
    UNION ALL
    SELECT k.role, k.role, true
    FROM minga_roster_internal.known_roles() k (role)
    WHERE NOT known_words.roles ? k.role;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.known_words(jsonb) IS
'The words for each role: those of the map, and for a role that the map does not name, the role itself. A sync writes '
'the first.';

CREATE FUNCTION minga_roster_internal.do_attach_people(relation regclass, columns jsonb, roles jsonb,
    archive_words jsonb)
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    class record;
    map jsonb := coalesce(columns, '{}');
    words jsonb := coalesce(roles, '{}');
    archive jsonb := coalesce(archive_words, '{}');
    misshapen text;
    resolved jsonb;
    problems text;
    only_roles boolean;
BEGIN
    IF relation IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = 'no people relation was given',
            HINT = 'Name a table or an updatable view: SELECT minga_roster.roster_attach_people(''public.people'').';
    END IF;
    misshapen := CASE WHEN jsonb_typeof(map) <> 'object' THEN 'columns' WHEN jsonb_typeof(words) <> 'object'
        THEN 'roles'
        WHEN jsonb_typeof(archive) <> 'object' THEN 'archive_words' END;
    IF misshapen IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s must be a JSON object', misshapen),
            DETAIL = format('Found: %s.', CASE misshapen WHEN 'columns' THEN map WHEN 'roles' THEN words
                ELSE archive END),
            HINT = 'Examples: columns => ''{"given_name": "first_name"}'', roles => ''{"student": "STUDENT"}'', '
                'archive_words => ''{"active": "ACTIVE", "archived": "ARCHIVED"}''.';
    END IF;
    SELECT c.relkind, c.relpersistence, c.relowner, CASE c.relpersistence WHEN 't' THEN 'pg_temp' ELSE n.nspname END
        || '.' || c.relname AS title,
        c.relkind = 'v' AND pg_relation_is_updatable(c.oid, true) & 12 <> 12 AS read_only,
        -- If triggers of the view do the writing, they decide which columns can be written.
        c.relkind = 'v' AND pg_relation_is_updatable(c.oid, false) & 12 = 12
            AND (SELECT count(DISTINCT e.event) FROM pg_trigger t
                JOIN (VALUES (4), (16)) e (event) ON t.tgtype & 64 <> 0 AND t.tgtype & e.event <> 0
                WHERE t.tgrelid = c.oid) < 2 AS auto_updatable
    INTO class
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_table',
            MESSAGE = format('relation "%s" does not exist', relation),
            HINT = 'Name a table or an updatable view, or create one with roster_create_people.';
    END IF;
    PERFORM minga_roster_internal.require_people_owner(relation);
    IF class.relkind NOT IN ('r', 'p', 'v') OR class.relpersistence = 't' OR class.read_only THEN
        RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
            MESSAGE = format('relation "%s" cannot be attached', class.title),
            DETAIL = CASE
                WHEN class.relpersistence = 't' THEN 'It is temporary, so the worker that writes to it cannot see it.'
                WHEN class.relkind = 'v' THEN 'It is a view that cannot be inserted into and updated.'
                WHEN class.relkind = 'm' THEN 'It is a materialized view.'
                WHEN class.relkind = 'f' THEN 'It is a foreign table.'
                ELSE 'It is neither a table nor a view.'
            END,
            HINT = 'Name a table or an updatable view, or create a table with roster_create_people.';
    END IF;
    PERFORM minga_roster_internal.check_people_relation(relation);

    WITH named AS (
        SELECT e.key AS "column", e.value #>> '{}' AS attribute FROM jsonb_each(map) e
            WHERE jsonb_typeof(e.value) = 'string'
    ), meant AS (
        -- A column that is mapped to something else does not stand for the contract column of the same name.
        SELECT c."position", c."column", c.required, c.written,
            CASE WHEN c."column" = 'archived_at' AND archive <> '{}' THEN 'text, boolean or enum'
                ELSE c.type END AS type,
            -- People who are not archived have a status too.
            c.may_be_empty AND NOT (c."column" = 'archived_at' AND archive <> '{}') AS may_be_empty,
            coalesce(n.attribute, c."column") AS attribute, n.attribute IS NOT NULL AS is_named
        FROM minga_roster_internal.people_columns() c LEFT JOIN named n USING ("column")
        WHERE n.attribute IS NOT NULL
            OR (c."column" NOT IN (SELECT attribute FROM named)
                AND jsonb_typeof(map -> c."column") IS DISTINCT FROM 'null')
    ), present AS (
        SELECT m.*, a.attnum, a.atttypid, a.atttypmod, a.attgenerated, a.attnotnull OR t.typnotnull AS is_not_null,
            a.atthasdef OR a.attidentity <> '' AS has_default,
            CASE WHEN m.is_named THEN format('"%s" (%s)', m.attribute, m."column")
                ELSE format('"%s"', m.attribute) END AS title
        FROM meant m
        JOIN pg_attribute a ON a.attrelid = relation AND a.attname = m.attribute AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid
    ), problem (section, position, problem) AS (
        SELECT 1, 0, format('Column "%s" is not part of the contract, which has %s.', e.key,
            (SELECT string_agg(c."column", ', ') FROM minga_roster_internal.people_columns() c))
        FROM jsonb_each(map) e WHERE e.key NOT IN (SELECT c."column" FROM minga_roster_internal.people_columns() c)
        UNION ALL
        SELECT 2, 0, format('The name given for column "%s" is not a string: %s.', e.key, e.value)
        FROM jsonb_each(map) e WHERE jsonb_typeof(e.value) NOT IN ('string', 'null')
        UNION ALL
        SELECT 3, 0, format('Column "%s" is mapped more than once: %s.', n.attribute,
            string_agg(n."column", ', ' ORDER BY n."column"))
        FROM named n GROUP BY n.attribute HAVING count(*) > 1
        UNION ALL
        SELECT 4, c.position, CASE WHEN map ? c."column"
            AND n.attribute IS NULL THEN format('Column "%s" is required and cannot be left out.', c."column")
            WHEN n.attribute IS NULL THEN format('Column "%s" is missing.', c."column")
            ELSE format('Column "%s" (%s) does not exist.', n.attribute, c."column") END
        FROM minga_roster_internal.people_columns() c LEFT JOIN named n USING ("column")
        WHERE (c.required OR n.attribute IS NOT NULL) AND c."column" NOT IN (SELECT p."column" FROM present p)
        UNION ALL
        SELECT 5, p.position, format('Column %s has type %s; %s is required%s.', p.title,
            format_type(p.atttypid, p.atttypmod), p.type,
            CASE WHEN p."column" <> 'archived_at' THEN ''
                WHEN archive <> '{}' THEN ' with archive_words'
                WHEN minga_roster_internal.fits_type(p.atttypid, 'text, boolean or enum') THEN
                    ', or set archive_words for its statuses: {"active": ..., "archived": ...}' ELSE '' END)
        FROM present p WHERE NOT minga_roster_internal.fits_type(p.atttypid, p.type)
        UNION ALL
        SELECT 5, p.position, format('Column %s has type %s, which has no equality operator, so people could not be '
            'found by it.',
            p.title, format_type(p.atttypid, p.atttypmod))
        FROM present p
        WHERE p."column" IN ('site', 'person_id') AND minga_roster_internal.fits_type(p.atttypid, p.type)
            AND (minga_roster_internal.equality(p.atttypid)).operator IS NULL
        UNION ALL
        SELECT 6, p.position, format('Column %s is generated and cannot be written.', p.title)
        FROM present p WHERE p.attgenerated <> '' AND p.written IS NOT NULL
        UNION ALL
        SELECT 7, p.position, format('Column %s cannot be written through the view.', p.title)
        FROM present p
        WHERE class.auto_updatable AND p.written IS NOT NULL AND NOT pg_column_is_updatable(relation, p.attnum, false)
        UNION ALL
        SELECT 8, p.position, format('Column %s has no default and is not an identity column, so new people would get '
            'no ID%s.', p.title,
            CASE class.relkind WHEN 'v'
                THEN ' (a view needs its own default: ALTER VIEW ... ALTER COLUMN ... SET DEFAULT ...)' ELSE '' END)
        FROM present p WHERE p."column" = 'person_id' AND NOT p.has_default
        UNION ALL
        SELECT 9, p.position, format('Column %s is NOT NULL, but %s.', p.title,
            CASE p."column" WHEN 'archived_at' THEN 'it must be NULL for people who are not archived'
                ELSE 'not every person has a value in the roster' END)
        FROM present p WHERE p.may_be_empty AND p.is_not_null
        UNION ALL
        SELECT 10, a.attnum, format('Column "%s" is NOT NULL without a default, and a roster does not write it.',
            a.attname)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR t.typnotnull)
            AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL
            AND a.attname NOT IN (SELECT p.attribute FROM present p WHERE p.written IS NOT NULL)
        UNION ALL
        SELECT 11, 0, format('The word given for role "%s" is not a nonempty string: %s.', g.role, g.word)
        FROM minga_roster_internal.given_words(words) g WHERE jsonb_typeof(g.word) <> 'string'
            OR g.word #>> '{}' !~ '[^[:space:]]'
        UNION ALL
        SELECT 11, 0, format('The list of words for role "%s" is empty.', e.key) FROM jsonb_each(words) e
        WHERE e.value = '[]'
        UNION ALL
        SELECT 12, 0, format('Role "%s" is unknown; the known roles are %s, and other.', e.key,
            (SELECT string_agg(k.role, ', ' ORDER BY k.role) FROM minga_roster_internal.known_roles() AS k (role)))
        FROM jsonb_each(words) e WHERE e.key <> 'other' AND e.key NOT IN (SELECT minga_roster_internal.known_roles())
        UNION ALL
        SELECT 13, 0, CASE WHEN min(w.role) = max(w.role)
            THEN format('The word "%s" is given twice for role "%s".', w.word, min(w.role))
            ELSE format('The word "%s" stands for more than one role: %s.', w.word,
                string_agg(DISTINCT w.role, ', ')) END
        FROM minga_roster_internal.known_words(words) w
        WHERE w.word ~ '[^[:space:]]'
        GROUP BY w.word HAVING count(*) > 1
        UNION ALL
        SELECT 13, 1, format('The word "%s" is given for role "%s", but accounts with this word count as %s in any '
            'letter case.',
            w.word, w.role, lower(w.word COLLATE "C"))
        FROM minga_roster_internal.known_words(words) w
        WHERE lower(w.word COLLATE "C") IN ('owner', 'manager') AND w.role <> lower(w.word COLLATE "C")
        UNION ALL
        SELECT 14, 0, CASE WHEN k.is_written THEN
                format('Role %s would be written as "%s", which column %s of type %s does not accept%s.', k.role,
                    k.word, p.title,
                    format_type(p.atttypid, p.atttypmod), minga_roster_internal.words_of_type(p.atttypid))
            ELSE format('The word "%s" is given for role %s, but column %s of type %s does not accept it%s.', k.word,
                k.role, p.title,
                format_type(p.atttypid, p.atttypmod), minga_roster_internal.words_of_type(p.atttypid)) END
        FROM present p
        CROSS JOIN (
            SELECT w.role, w.word, w.is_first AND w.role IN (SELECT r.role FROM minga_roster.role_rules r) AS is_written
            FROM minga_roster_internal.known_words(words) w
        ) k
        WHERE p."column" = 'role' AND minga_roster_internal.fits_type(p.atttypid, p.type) AND k.word ~ '[^[:space:]]'
            AND (k.is_written OR words ? k.role)
            AND NOT minga_roster_internal.takes_word(relation, format_type(p.atttypid, p.atttypmod), k.word)
        UNION ALL
        SELECT 15, 0, format('archive_words does not accept "%s"; it has the words for active and archived.', e.key)
        FROM jsonb_object_keys(archive) e (key) WHERE e.key NOT IN ('active', 'archived')
        UNION ALL
        SELECT 16, 0, format('archive_words has no word for %s.', k.state)
        FROM (VALUES ('active'), ('archived')) k (state) WHERE archive <> '{}' AND NOT archive ? k.state
        UNION ALL
        SELECT 17, 0, format('The word given for %s is not a nonempty string: %s.', e.key, e.value)
        FROM jsonb_each(archive) e
        WHERE e.key IN ('active', 'archived') AND (jsonb_typeof(e.value) NOT IN ('string', 'boolean')
            OR btrim(e.value #>> '{}') = '')
        UNION ALL
        SELECT 18, 0, format('The words given for active and archived are both "%s".', archive ->> 'active')
        WHERE archive ->> 'active' = archive ->> 'archived'
        UNION ALL
        SELECT 19, 0, format('Column %s has type %s and does not accept "%s" for %s%s.', p.title,
            format_type(p.atttypid, p.atttypmod),
            e.value, e.key, minga_roster_internal.words_of_type(p.atttypid))
        FROM present p CROSS JOIN jsonb_each_text(archive) e
        WHERE p."column" = 'archived_at' AND minga_roster_internal.fits_type(p.atttypid, p.type)
            AND e.key IN ('active', 'archived') AND btrim(e.value) <> ''
            AND NOT minga_roster_internal.takes_word(relation, format_type(p.atttypid, p.atttypmod), e.value)
    )
    SELECT (SELECT jsonb_object_agg(p."column", p.attribute) FROM present p),
        (SELECT string_agg(p.problem, E'\n' ORDER BY p.section, p.position, p.problem) FROM problem p),
        (SELECT bool_and(p.section BETWEEN 11 AND 14) FROM problem p)
    INTO resolved, problems, only_roles;

    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_table_definition',
            MESSAGE = format('relation "%s" cannot be attached', class.title),
            DETAIL = problems,
            HINT = CASE WHEN only_roles
                THEN 'Give each role its own words, and list accounts that a roster never writes under "other": roles '
                    '=> ''{"student": ["STUDENT", "STUDENT_LEADER"], "teacher": "TEACHER", "other": ["PARENT"]}''.'
                ELSE format('Change the relation, map columns that have other names, as in roster_attach_people(%L, '
                    'columns => ''{"given_name": "first_name"}''), or attach an updatable view that has what is '
                    'required.',
                relation) END;
    END IF;

    INSERT INTO minga_roster.people_relations (relation, columns, roles, archive_words)
    VALUES (do_attach_people.relation, resolved, coalesce((SELECT jsonb_object_agg(r.role, r.words)
        FROM (SELECT g.role, jsonb_agg(g.word ORDER BY g."position") AS words
            FROM minga_roster_internal.given_words(words) g
            GROUP BY g.role) r), '{}'), archive)
    ON CONFLICT ON CONSTRAINT people_relations_pkey DO UPDATE
    SET columns = excluded.columns, roles = excluded.roles, archive_words = excluded.archive_words;
    DELETE FROM minga_roster.stored_values v USING minga_roster.connections c
    WHERE c.people = do_attach_people.relation AND v.connection = c.connection;
    PERFORM minga_roster_internal.require_full_read(c.connection) FROM minga_roster.connections c
        WHERE c.people = do_attach_people.relation;
    PERFORM minga_roster_internal.tell_obstacles(relation);
    PERFORM minga_roster_internal.tell_roles(relation);
    PERFORM minga_roster_internal.tell_contact_columns(c) FROM minga_roster.connections c
    WHERE c.people = do_attach_people.relation AND c.retired_at IS NULL AND c.parent_contact;
    PERFORM minga_roster_internal.tell_birth_date_column(c) FROM minga_roster.connections c
    WHERE c.people = do_attach_people.relation AND c.retired_at IS NULL AND c.birth_dates;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.do_attach_people(regclass, jsonb, jsonb, jsonb) IS
'Implements roster_attach_people.';

CREATE FUNCTION roster_attach_people(relation regclass, columns jsonb DEFAULT '{}', roles jsonb DEFAULT '{}',
    archive_words jsonb DEFAULT '{}')
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_door';
COMMENT ON FUNCTION roster_attach_people(regclass, jsonb, jsonb, jsonb) IS
'Attaches a table or updatable view of people, or attaches it again. columns maps a column of the contract to its '
    'name in the relation, {"given_name": "first_name"}; what is not named goes by its own name. roles maps a role '
    'to the deployment''s word for it or to a list of words, of which the first is written, {"student": ["STUDENT", '
    '"STUDENT_LEADER"]}; "other" has the words of accounts that a roster never writes, {"other": ["PARENT"]}. '
    'archive_words are given where archived_at is mapped to a status column (text, boolean or enum): the status of '
    'those who are active and of those who are archived, {"active": "ACTIVE", "archived": "ARCHIVED"}; any other '
    'status is not archived. Required: site, person_id (with a default or identity), role, given_name, family_name, '
    'archived_at (timestamptz, or a status column); written where present: email, username, identifier, grade, '
    'phone, middle_name, preferred_name, parent_name, parent_email, parent_phone, parent_rule, '
    'birth_date (date or text), updated_at (timestamptz); read where present: roster_managed (boolean). Checks the '
    'shape and what its owner may do, and reads which roles there are. A column that is mapped to null is left out. '
    'A WARNING lists roles that name no family, and says where a publication or missing partitions would stop a sync. '
    '42P16 names everything that is missing or unfit; 42809 for what is no table or updatable view, or '
    'belongs to an extension or the '
    'system; 42501 unless the caller owns the relation or is superuser, and where its owner is a superuser, may not '
    'use its schema, or may not read and write the relation; 0A000 where a rule rewrites what a sync writes, and for a '
    'view of a table that Citus distributes.';

CREATE FUNCTION minga_roster_internal.known_roles() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT r.role FROM role_rules r WHERE r.role IS NOT NULL UNION VALUES ('owner'), ('manager');
END;
COMMENT ON FUNCTION minga_roster_internal.known_roles() IS
'Roles that a roster writes, and those that it protects (owner, manager).';

CREATE FUNCTION minga_roster_internal.relation_named(schema_name name, relation_name name) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid FROM pg_class c
    WHERE c.relname = relation_named.relation_name
        AND c.relnamespace = CASE relation_named.schema_name WHEN 'pg_temp' THEN pg_my_temp_schema()
            ELSE to_regnamespace(quote_ident(relation_named.schema_name))::oid END
$$;
COMMENT ON FUNCTION minga_roster_internal.relation_named(name, name) IS
'The relation of that name, in a schema that the extension''s role may be unable to use; NULL if there is none.';

CREATE FUNCTION minga_roster_internal.check_new_people(schema_name name, relation_name name, owner name) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := format('%I.%I', schema_name, relation_name);
    more_than_plain text;
BEGIN
    IF to_regnamespace(quote_ident(schema_name)) IS NULL AND schema_name <> 'pg_temp' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_schema_name',
            MESSAGE = format('schema "%s" does not exist', schema_name),
            HINT = format('Name an existing schema, or create it: CREATE SCHEMA %I.', schema_name);
    END IF;
    IF minga_roster_internal.relation_named(schema_name, relation_name) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'duplicate_table',
            MESSAGE = format('relation "%s.%s" already exists', schema_name, relation_name),
            HINT = format('Check and attach it: SELECT minga_roster.roster_attach_people(%L).',
                qualified);
    END IF;
    IF to_regrole(quote_ident(owner)) IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'undefined_object',
            MESSAGE = format('role "%s" does not exist', owner),
            HINT = format('Create it first: CREATE ROLE %I NOLOGIN.', owner);
    END IF;
    more_than_plain := minga_roster_internal.more_than_plain(to_regrole(quote_ident(owner)));
    IF more_than_plain IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('people cannot belong to %s', more_than_plain),
            DETAIL = 'A sync runs the triggers, defaults and policies of the relation with its owner''s rights, so '
                'every role that can create one gets these rights.',
            HINT = format('Name a plain owner: CREATE ROLE people_owner NOLOGIN; '
                'SELECT minga_roster.roster_create_people(%L, owner => ''people_owner'');', qualified);
    END IF;
    IF NOT has_schema_privilege(minga_roster_internal.caller(), to_regnamespace(quote_ident(schema_name)),
        'CREATE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for schema %s', schema_name),
            DETAIL = format('You are "%s", and the table is created with your rights.', minga_roster_internal.caller()),
            HINT = format('GRANT CREATE ON SCHEMA %I TO %I.', schema_name, minga_roster_internal.caller());
    END IF;
    IF NOT has_schema_privilege(owner, to_regnamespace(quote_ident(schema_name)), 'USAGE') THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
            MESSAGE = format('owner "%s" cannot use schema "%s"', owner, schema_name),
            DETAIL = 'A sync reads and writes the relation with its owner''s rights.',
            HINT = format('GRANT USAGE ON SCHEMA %I TO %I.', schema_name, owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.check_new_people(name, name, name) IS
'What roster_create_people checks before it creates a table: that the name is free, and that the owner is a plain role '
'that can use the schema.';

-- Runs with the rights of roster_create_people's caller, so it uses nothing from the extension.
CREATE FUNCTION minga_roster_internal.make_people(schema_name name, relation_name name, owner name) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    qualified text := format('%I.%I', schema_name, relation_name);
BEGIN
    EXECUTE replace($ddl$
        CREATE TABLE {people} (
            site text NOT NULL,
            person_id uuid NOT NULL DEFAULT gen_random_uuid(),
            role text NOT NULL,
            given_name text NOT NULL,
            family_name text NOT NULL,
            middle_name text,
            preferred_name text,
            email text,
            username text,
            identifier text,
            grade text,
            phone text,
            parent_name text,
            parent_email text,
            parent_phone text,
            parent_rule text,
            birth_date date,
            roster_managed boolean NOT NULL DEFAULT true,
            archived_at timestamptz,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (site, person_id)
        );
        CREATE INDEX ON {people} (site, identifier);
        CREATE INDEX ON {people} (site, lower(email));
        COMMENT ON TABLE {people} IS 'People of the sites, kept in step with their student information systems by '
            'minga_roster.';
        COMMENT ON COLUMN {people}.site IS 'The school; the first column of every key.';
        COMMENT ON COLUMN {people}.role IS 'student, teacher, staff, or another role set by the school; a roster never '
            'changes owner and manager.';
        COMMENT ON COLUMN {people}.identifier IS 'The number by which the school knows the person.';
        COMMENT ON COLUMN {people}.email IS 'Not unique: parents and siblings share addresses.';
        COMMENT ON COLUMN {people}.parent_rule IS 'The rule by which the roster chose the primary parent contact.';
        COMMENT ON COLUMN {people}.roster_managed IS 'false: never written, archived or restored by a roster.';
        COMMENT ON COLUMN {people}.archived_at IS 'When the person was archived; NULL for active.'
        $ddl$, '{people}', qualified);
    IF owner <> current_user THEN
        EXECUTE format('ALTER TABLE %s OWNER TO %I', qualified, owner);
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_people(name, name, name) IS
'Creates a people table with this name for the owner.';

CREATE FUNCTION minga_roster_internal.attach_new_people(schema_name name, relation_name name, owner name)
RETURNS regclass
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made regclass := minga_roster_internal.relation_named(schema_name, relation_name);
BEGIN
    PERFORM minga_roster_internal.do_attach_people(made, '{}', '{}', '{}');
    RETURN made;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.attach_new_people(name, name, name) IS
'Attaches the table that make_people created.';

CREATE FUNCTION roster_create_people(relation text, owner name DEFAULT NULL) RETURNS regclass
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'roster_create_people';
COMMENT ON FUNCTION roster_create_people(text, name) IS
'Creates a people table with all contract columns, attaches it and returns it. It belongs to the owner, or to the '
'caller if none is given, and is not a member of the extension, so DROP EXTENSION keeps it. The owner is a plain role '
'that can use the schema, because syncs run with its rights (22023 for a superuser, 42704 if it does not exist, 42501 '
'without USAGE). IDs are random UUIDs: they stay unique when sites move between databases, cannot be guessed, and need '
'no sequence if the table is distributed by site. There is no unique index on email. 42P07 if the relation exists (use '
'roster_attach_people).';
