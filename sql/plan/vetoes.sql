-- What overrules a verdict: each is a row of plan_vetoes, one for a verdict at most; the first one counts. A veto makes
-- a conflict of it, or a held change that waits for a person. Must survive that a SIS gives its people new IDs, that a
-- roster is connected to the wrong site, and unique indexes that no one mentioned.

CREATE FUNCTION minga_roster_internal.veto_collisions(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    people regclass := connection.people;
    map jsonb := (SELECT r.columns FROM minga_roster.people_relations r WHERE r.relation = connection.people);
    names jsonb := (SELECT jsonb_object_agg(m.value, m.key) FROM jsonb_each_text(map) m
        WHERE m.key = ANY (minga_roster_internal.written_columns() || 'role'::text));
    -- IDs are drawn by the relation itself.
    indexes minga_roster_internal.unique_key[] := ARRAY(
        SELECT k FROM minga_roster_internal.unique_keys(connection.people, map ->> 'person_id') k
        WHERE names ?| k.attributes OR map ->> 'archived_at' = ANY (k.attributes));
    index minga_roster_internal.unique_key;
BEGIN
    IF indexes = '{}'
        OR NOT EXISTS (SELECT FROM plan_verdicts d WHERE d.outcome IN ('create', 'update', 'restore')) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('unique');
    FOREACH index IN ARRAY indexes LOOP
        INSERT INTO plan_values (index_name, label, person_id, outcome, after)
        SELECT index.index_name, d.label, CASE WHEN d.outcome <> 'create' THEN d.person_id END, d.outcome, d.after
        FROM plan_verdicts d
        WHERE d.outcome = 'create' OR (d.outcome = 'restore' AND map ->> 'archived_at' = ANY (index.attributes))
            OR (d.outcome IN ('update', 'restore')
                AND d.after ?| ARRAY(SELECT names ->> a FROM unnest(index.attributes) a WHERE names ? a));
        CONTINUE WHEN NOT FOUND;
        BEGIN
            -- The only table that is made for a run: its columns are the index's.
            PERFORM minga_roster_internal.make_key_table(index);
            PERFORM minga_roster_internal.grant_temp(people, 'plan_index_keys', 'SELECT, INSERT');
            PERFORM minga_roster_internal.grant_temp(people, 'plan_values', 'SELECT');
            PERFORM minga_roster_internal.as_owner(people,
                minga_roster_internal.planned_keys_statement(people, index), connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.holders_query(people, index), 'pg_temp.plan_collisions',
                connection.site, index.index_name);
            PERFORM minga_roster_internal.read_as_owner(people,
                minga_roster_internal.repeated_keys_query(index), 'pg_temp.plan_collisions', index.index_name);
            PERFORM minga_roster_internal.revoke_temp(people, 'plan_values');
            DROP TABLE plan_index_keys;
        EXCEPTION
            -- A value that does not fit its column keeps the index from being checked, and no one else from being
            -- written. So does a key or a predicate of the whole row.
            WHEN data_exception OR integrity_constraint_violation OR raise_exception OR undefined_function
                OR undefined_table THEN
                NULL;
        END;
    END LOOP;
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT DISTINCT ON (s.label) s.label, 'conflict', 'not_unique',
        jsonb_strip_nulls(jsonb_build_object('index', s.index_name, 'person', s.other,
            'absent', p.archived OR EXISTS (SELECT FROM plan_rows o WHERE o.person_id = s.other
                AND o.standing = 'absent')))
    FROM plan_collisions s LEFT JOIN plan_people p ON p.person_id = s.other
    ORDER BY s.label, s.other IS NULL, s.index_name;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_collisions(connections) IS
'Makes a conflict of each verdict whose values a unique index of the people relation would refuse, because of a person '
    'there or of another verdict.';

CREATE FUNCTION minga_roster_internal.veto_changed_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF (SELECT count(*) FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE v.label IS NULL AND d.links AND d.step IN ('former id', 'identifier', 'e-mail')
            AND d.first_run IS NOT NULL) < 5
    THEN
        RETURN;
    END IF;
    WITH move AS MATERIALIZED (
        SELECT d.label, d.person_id, d.step = 'former id' AS exact
        FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
        WHERE v.label IS NULL AND d.links AND d.step IN ('former id', 'identifier', 'e-mail')
            AND d.first_run IS NOT NULL
    ), linked AS MATERIALIZED (
        SELECT DISTINCT ON (l.person_id) l.person_id, l.category, p.archived
        FROM minga_roster.links l
        JOIN plan_categories c ON c.category = l.category
        JOIN plan_people p ON p.person_id = l.person_id
        WHERE l.connection = veto_changed_ids.connection.connection
        ORDER BY l.person_id, l.missed_since DESC NULLS FIRST, c.rank
    ), figures AS (
        SELECT l.category, count(*) AS people, count(m.person_id) AS moved, count(*) FILTER (WHERE m.exact) AS exact
        FROM linked l LEFT JOIN move m ON m.person_id = l.person_id
        WHERE NOT l.archived
        GROUP BY l.category
    ), many AS (
        SELECT f.*, sum(f.moved) OVER () AS moved_in_all FROM figures f WHERE f.moved > 0 AND f.moved * 3 >= f.people
    ), changed AS (
        INSERT INTO plan_changed_ids (category, figures)
        SELECT m.category, jsonb_build_object('moved', m.moved, 'people', m.people, 'exact', m.exact)
        FROM many m WHERE m.moved_in_all >= 5
        RETURNING category, figures
    )
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT m.label, 'held', 'ids_changed', i.figures
    FROM move m JOIN linked l ON l.person_id = m.person_id JOIN changed i ON i.category = l.category
    UNION ALL
    -- A person whom no key tells may be a known person with a new ID too.
    SELECT d.label, 'held', 'ids_changed', i.figures
    FROM plan_verdicts d
    JOIN changed i ON i.category = d.category
    LEFT JOIN plan_vetoes v ON v.label = d.label
    WHERE d.outcome = 'create' AND v.label IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_changed_ids(connections) IS
'Fills plan_changed_ids: the categories of which at least a third of the people, and at least five people in all, are '
    'found under another sourcedId while their own is absent. Holds their links and the creates of these categories; '
    'the guard holds the archives.';

CREATE FUNCTION minga_roster_internal.veto_withheld_identifiers() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM plan_candidates c WHERE c.step = 'e-mail') THEN
        RETURN;
    END IF;
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    WITH standing AS MATERIALIZED (
        SELECT d.* FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label WHERE v.label IS NULL
    ), unsettled AS (
        SELECT g.family, lower(g.match_identifier COLLATE "C") AS identifier
        FROM plan_groups g
        JOIN plan_candidates c ON c.label = g.label AND c.step = 'e-mail'
        LEFT JOIN standing o ON o.label = g.label AND o.links
        WHERE g.match_identifier IS NOT NULL AND o.label IS NULL
        GROUP BY 1, 2
    )
    SELECT d.label, 'conflict', 'identifier_withheld', NULL
    FROM standing d
    JOIN unsettled u ON u.identifier = lower((d.after ->> 'identifier') COLLATE "C")
        AND u.family = minga_roster_internal.family_of(d.category)
    WHERE d.outcome IN ('create', 'update', 'restore');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_withheld_identifiers() IS
'Makes a conflict of each verdict that would give a person the identifier of a row that could be another person by '
    'e-mail, but is linked to no one tonight: the identifier comes first, so the next sync would take that row for the '
    'person who got it.';

CREATE FUNCTION minga_roster_internal.veto_new_site(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- A mistyped site has no people, so everyone of the right site would be created a second time.
    IF EXISTS (SELECT FROM plan_people) OR NOT EXISTS (SELECT FROM plan_verdicts d WHERE d.outcome = 'create')
        OR minga_roster_internal.has_links(connection.connection)
        OR minga_roster_internal.as_owner(connection.people,
            minga_roster_internal.any_person_query(connection.people)) = 0
    THEN
        RETURN;
    END IF;
    INSERT INTO plan_vetoes (label, outcome, cause, figures)
    SELECT d.label, 'held', 'new_site', jsonb_build_object('site', connection.site)
    FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label
    WHERE d.outcome = 'create' AND v.label IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.veto_new_site(connections) IS
'Holds all creates for a site without people, if the people relation has people of other sites and the connection has '
    'linked no one yet: the site may be mistyped.';

CREATE FUNCTION minga_roster_internal.settle_verdicts() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_decisions
    SELECT d.label, d.main_row, d.sourced_ids, d.person_id, d.step, d.category, d.last_role, d.first_run,
        d.outcome,
        CASE WHEN v.outcome = 'conflict' THEN 'conflict'
            WHEN v.cause = 'mass_update' AND d.links THEN 'link'
            WHEN v.outcome = 'held' THEN 'skip'
            ELSE d.outcome END,
        d.links AND (v.label IS NULL OR v.cause = 'mass_update'),
        CASE WHEN v.outcome = 'conflict' OR (v.cause = 'ids_changed' AND d.outcome <> 'create') THEN '{}'
            ELSE d.before END,
        CASE WHEN v.outcome = 'conflict' OR (v.cause = 'ids_changed' AND d.outcome <> 'create') THEN '{}'
            ELSE d.after END,
        CASE v.cause WHEN 'not_unique' THEN 'unique index' WHEN 'identifier_withheld' THEN 'conflict' ELSE d.rule END,
        d.detail, d.told OR v.label IS NOT NULL,
        CASE WHEN v.outcome = 'conflict' THEN v.cause ELSE d.conflict END,
        CASE WHEN v.outcome = 'held' THEN CASE v.cause WHEN 'mass_update' THEN 'update' WHEN 'new_site' THEN 'create'
            WHEN 'ids_changed' THEN CASE WHEN d.outcome = 'create' THEN 'create' ELSE 'link' END END END,
        CASE WHEN v.outcome = 'held' THEN v.cause END,
        v.figures
    FROM plan_verdicts d LEFT JOIN plan_vetoes v ON v.label = d.label;
    PERFORM minga_roster_internal.analyze_if_large('plan_decisions', 'label, person_id');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.settle_verdicts() IS
'Fills plan_decisions: each verdict as its veto, if there is one, leaves it.';
