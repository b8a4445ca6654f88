-- Who is who: the people whom each group could be, by link, former ID, identifier or email. Must survive people who
-- contradict a row (it becomes a conflict, and no one in it is changed) and thousands of people with one address or
-- number: no step compares each with each.

CREATE FUNCTION minga_roster_internal.find_former_ids(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF NOT (SELECT s.campus_metadata FROM minga_roster.sis s WHERE s.sis = connection.sis) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('former');
    INSERT INTO plan_told_ids (label, sourced_id, family, legacy_id)
    SELECT o.label, o.sourced_id, o.family, s.legacy_id
    FROM plan_rows o
    JOIN minga_roster.staged_users s ON s.connection = find_former_ids.connection.connection
        AND s.sourced_id = o.sourced_id
    WHERE o.staged AND o.usable AND NOT o.linked AND s.legacy_id IS NOT NULL
        AND o.label NOT IN (SELECT c.label FROM plan_candidates c);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- In OneRoster 1.1 a letter for the role stands before it. Two people of one family behind it tell nothing.
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT t.label, min(p.person_id), 'former id'
    FROM plan_told_ids t
    JOIN (
        SELECT l.person_id, minga_roster_internal.family_of(l.category) AS family,
            unnest(ARRAY[l.sourced_id, substring(l.sourced_id FROM '^[A-Za-z][+]?(.+)$')]) COLLATE "C" AS id
        FROM minga_roster.links l
        WHERE l.connection = find_former_ids.connection.connection
    ) f ON f.id = t.legacy_id AND f.family = t.family
    JOIN plan_people p ON p.person_id = f.person_id
    LEFT JOIN minga_roster.match_decisions d ON d.connection = find_former_ids.connection.connection
        AND d.sourced_id = t.sourced_id AND coalesce(d.person_id, p.person_id) = p.person_id
    GROUP BY t.label
    HAVING count(DISTINCT p.person_id) = 1 AND count(d.sourced_id) = 0;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_former_ids(connections) IS
'Adds to plan_candidates the person whom an unlinked row is by the ID that the row had in OneRoster 1.1, if Infinite '
    'Campus 1.2 tells it: that is exact, no other key of the row is looked at, and the former ID needs no proof of '
    'absence as long as it is not listed.';

CREATE FUNCTION minga_roster_internal.find_keys() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    row_keys bytea;
    people_keys bytea;
BEGIN
    IF NOT EXISTS (SELECT FROM plan_people) THEN
        RETURN;
    END IF;
    row_keys := (
        SELECT minga_roster_internal.key_set(o.identifier, o.email)
        FROM plan_rows o
        WHERE o.person_id IS NULL AND o.standing <> 'absent' AND o.family IN ('student', 'staff'));
    INSERT INTO plan_candidate_people
    SELECT p.*, lower(p.identifier COLLATE "C"), lower(p.email COLLATE "C")
    FROM plan_people p
    WHERE minga_roster_internal.in_key_set(row_keys, p.identifier, p.email)
        OR p.person_id IN (SELECT c.person_id FROM plan_candidates c);
    PERFORM minga_roster_internal.analyze_if_large('plan_candidate_people');
    people_keys := (SELECT minga_roster_internal.key_set(p.identifier, p.email) FROM plan_candidate_people p);
    IF row_keys IS NULL OR people_keys IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO plan_keys (entry, label, sourced_id, family, identifier, email, given_name, family_name,
        preferred_name)
    SELECT row_number() OVER (), k.*
    FROM (
        SELECT g.label, NULL::text COLLATE "C" AS sourced_id, g.family,
            lower(g.match_identifier COLLATE "C") AS identifier, lower(g.match_email COLLATE "C") AS email,
            g.match_given_name AS given_name, g.match_family_name AS family_name,
            g.match_preferred_name AS preferred_name
        FROM plan_groups g
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff')
            AND minga_roster_internal.in_key_set(people_keys, g.match_identifier, g.match_email)
            AND g.label NOT IN (SELECT c.label FROM plan_contradictions c)
            AND g.label NOT IN (SELECT f.label FROM plan_candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT DISTINCT g.label, NULL::text COLLATE "C", g.family, lower(g.match_identifier COLLATE "C"),
            lower(o.email COLLATE "C"), g.match_given_name, g.match_family_name, g.match_preferred_name
        FROM plan_groups g
        JOIN plan_rows o ON o.label = g.label AND lower(o.email COLLATE "C") <> lower(g.match_email COLLATE "C")
        WHERE g.linked_person IS NULL AND g.family IN ('student', 'staff') AND o.standing <> 'absent'
            AND minga_roster_internal.in_key_set(people_keys, g.match_identifier, o.email)
            AND g.label NOT IN (SELECT c.label FROM plan_contradictions c)
            AND g.label NOT IN (SELECT f.label FROM plan_candidates f WHERE f.step = 'former id')
        UNION ALL
        SELECT o.label, o.sourced_id, o.family, lower(o.identifier COLLATE "C"), lower(o.email COLLATE "C"),
            o.given_name, o.family_name, o.preferred_name
        FROM plan_contradictions c JOIN plan_rows o ON o.label = c.label
        WHERE o.standing <> 'absent' AND o.family IN ('student', 'staff')
            AND minga_roster_internal.in_key_set(people_keys, o.identifier, o.email)
    ) k;
    PERFORM minga_roster_internal.analyze_if_large('plan_keys');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_keys() IS 'Fills plan_keys and plan_candidate_people.';

CREATE FUNCTION minga_roster_internal.find_found_people(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_found_people (person_id, archived, identifier_key, email_key, given_name, family_name,
        preferred_name, families, absent)
    SELECT f.*
    FROM (
        SELECT p.person_id, p.archived, p.identifier_key, p.email_key,
            minga_roster_internal.clean_name(p.given_name), minga_roster_internal.clean_name(p.family_name),
            minga_roster_internal.clean_name(p.preferred_name),
            coalesce(l.families, ARRAY[coalesce(minga_roster_internal.role_family(p.role), w.family)]) AS families,
            coalesce(l.absent, false) AS absent
        FROM plan_candidate_people p
        LEFT JOIN (
            -- Proved absent tonight, and not listed by another connection.
            SELECT k.person_id, array_agg(DISTINCT minga_roster_internal.family_of(k.category)) AS families,
                bool_or(k.connection = find_found_people.connection.connection)
                    AND bool_and(CASE WHEN k.connection = find_found_people.connection.connection
                        THEN coalesce(o.standing = 'absent' AND minga_roster_internal.family_of(k.category)
                            IN (SELECT f.family FROM plan_proved_families f), false)
                        ELSE n.retired_at IS NOT NULL OR k.missed_since IS NOT NULL END) AS absent
            FROM minga_roster.links k
            JOIN minga_roster.connections n ON n.connection = k.connection
                AND n.people = find_found_people.connection.people
            LEFT JOIN plan_rows o ON o.sourced_id = k.sourced_id
                AND k.connection = find_found_people.connection.connection
            WHERE k.site = find_found_people.connection.site
                AND k.person_id IN (SELECT c.person_id FROM plan_candidate_people c)
            GROUP BY k.person_id
        ) l ON l.person_id = p.person_id
        LEFT JOIN (SELECT r.role, min(r.family) AS family FROM plan_rules r WHERE r.role IS NOT NULL GROUP BY r.role
            HAVING count(DISTINCT r.family) = 1) w ON w.role = p.role
    ) f
    -- An account that rosters never write is no candidate, unless a roster has linked it.
    WHERE (f.families = ARRAY['other']) IS NOT TRUE;
    PERFORM minga_roster_internal.analyze_if_large('plan_found_people');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_found_people(connections) IS 'Fills plan_found_people.';

CREATE FUNCTION minga_roster_internal.clean_keys(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    INSERT INTO plan_found_keys (entry, label, sourced_id, family, identifier, email, given_name, family_name,
        preferred_name, shared)
    WITH cleaned AS MATERIALIZED (
        SELECT k.entry, k.label, k.sourced_id, k.family, k.identifier, k.email,
            minga_roster_internal.clean_name(k.given_name) AS given_name,
            minga_roster_internal.clean_name(k.family_name) AS family_name,
            minga_roster_internal.clean_name(k.preferred_name) AS preferred_name
        FROM plan_keys k
        WHERE k.identifier IN (SELECT p.identifier_key FROM plan_found_people p WHERE p.identifier_key IS NOT NULL)
            OR k.email IN (SELECT p.email_key FROM plan_found_people p WHERE p.email_key IS NOT NULL)
    ), listed AS MATERIALIZED (
        -- Readable rows, those of one group once.
        SELECT r.family, w.email, min(coalesce(o.label, s.sourced_id)) AS first_label,
            max(coalesce(o.label, s.sourced_id)) AS last_label
        FROM minga_roster.staged_users s
        JOIN plan_rules r ON r.roster_role = s.role
        JOIN (SELECT DISTINCT c.family, c.email FROM cleaned c
            WHERE c.email IN (SELECT p.email_key FROM plan_found_people p WHERE p.email_key IS NOT NULL)) w
            ON w.email = lower(s.email COLLATE "C") AND w.family = r.family
        LEFT JOIN plan_rows o ON o.sourced_id = s.sourced_id
        WHERE s.connection = clean_keys.connection.connection AND NOT s.damaged
            AND coalesce(s.status, 'active') IN ('active', 'inactive')
            AND s.ctid NOT IN (SELECT k.place FROM plan_skipped_rows k)
        GROUP BY r.family, w.email
    ), contradicting AS MATERIALIZED (
        -- Rows that contradict each other could be several people, of whom a readable one has its address.
        SELECT t.family, t.email, min(t.sourced_id) AS first_row, max(t.sourced_id) AS last_row
        FROM cleaned t JOIN plan_rows o ON o.sourced_id = t.sourced_id
        WHERE o.standing NOT IN ('damaged', 'unknown')
        GROUP BY t.family, t.email
    )
    SELECT k.entry, k.label, k.sourced_id, k.family, k.identifier, k.email, k.given_name, k.family_name,
        k.preferred_name,
        coalesce(l.first_label <> k.label OR l.last_label <> k.label, false)
            OR coalesce(c.first_row <> k.sourced_id OR c.last_row <> k.sourced_id, false)
    FROM cleaned k
    LEFT JOIN listed l ON l.family = k.family AND l.email = k.email
    LEFT JOIN contradicting c ON c.family = k.family AND c.email = k.email;
    PERFORM minga_roster_internal.analyze_if_large('plan_found_keys');
    INSERT INTO plan_exclusions (entry, person_id)
    SELECT DISTINCT k.entry, d.person_id
    FROM plan_found_keys k
    JOIN plan_rows o ON o.label = k.label AND (k.sourced_id IS NULL OR k.sourced_id = o.sourced_id)
    JOIN plan_decided_rows d ON d.sourced_id = o.sourced_id;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.clean_keys(connections) IS 'Fills plan_found_keys and plan_exclusions.';

CREATE FUNCTION minga_roster_internal.find_pairs() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- If many rows of a family have an identifier of many people, two of these are enough, but the first row names all.
    INSERT INTO plan_crowded (identifier, family, crowded, first_person, last_person, first_entry)
    SELECT k.identifier, k.family, k.entries * p.people > 10000, p.first_person, p.last_person, k.first_entry
    FROM (SELECT identifier, family, count(*) AS entries, min(entry) AS first_entry FROM plan_found_keys
        WHERE identifier IS NOT NULL GROUP BY identifier, family) k
    JOIN (SELECT f.identifier_key, r.family, count(*) AS people,
            min(f.person_id) FILTER (WHERE NOT f.archived) AS first_person,
            max(f.person_id) FILTER (WHERE NOT f.archived) AS last_person
        FROM plan_found_people f CROSS JOIN unnest(ARRAY['student', 'staff']) r (family)
        WHERE f.identifier_key IS NOT NULL AND (r.family = ANY (f.families) OR f.families[1] IS NULL)
        GROUP BY f.identifier_key, r.family) p
        ON p.identifier_key = k.identifier AND p.family = k.family;
    INSERT INTO plan_crowds (entry, label, person_id)
    SELECT k.entry, k.label, p.person_id
    FROM plan_found_keys k
    JOIN plan_crowded c ON c.identifier = k.identifier AND c.family = k.family AND c.crowded
    JOIN plan_found_people p ON p.identifier_key = k.identifier AND NOT p.archived
        AND (k.entry = c.first_entry OR p.person_id IN (c.first_person, c.last_person))
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
    WHERE (k.family = ANY (p.families) OR p.families[1] IS NULL) AND x.entry IS NULL;

    -- A person whom a decision excludes is no candidate, but has the address all the same.
    INSERT INTO plan_pairs (entry, label, person_id, step, archived, known, given_agrees, family_agrees,
        identifiers_differ, absent, excluded)
    SELECT k.entry, k.label, p.person_id, 'identifier', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name, false, p.absent, false
    FROM plan_found_keys k
    JOIN plan_crowded c ON c.identifier = k.identifier AND c.family = k.family AND NOT c.crowded
    JOIN plan_found_people p ON p.identifier_key = k.identifier
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
    WHERE (k.family = ANY (p.families) OR p.families[1] IS NULL) AND x.entry IS NULL
    UNION ALL
    -- An address of one row alone; judge_shared looks at the others.
    SELECT k.entry, k.label, p.person_id, 'e-mail', p.archived, p.families[1] IS NOT NULL,
        minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name, p.preferred_name),
        k.family_name = p.family_name, coalesce(k.identifier <> p.identifier_key, false), p.absent,
        x.entry IS NOT NULL
    FROM plan_found_keys k
    JOIN plan_found_people p ON p.email_key = k.email AND (NOT p.archived OR p.family_name = k.family_name)
    LEFT JOIN plan_exclusions x ON x.entry = k.entry AND x.person_id = p.person_id
    WHERE NOT k.shared AND (k.family = ANY (p.families) OR p.families[1] IS NULL)
        AND k.entry NOT IN (SELECT n.entry FROM plan_exclusions n WHERE n.person_id IS NULL);
    PERFORM minga_roster_internal.analyze_if_large('plan_pairs');
END
$$;
COMMENT ON FUNCTION minga_roster_internal.find_pairs() IS 'Fills plan_crowded, plan_crowds and plan_pairs.';

CREATE FUNCTION minga_roster_internal.judge_shared(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB'
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM plan_found_keys k WHERE k.shared) THEN
        RETURN;
    END IF;
    PERFORM minga_roster_internal.make_plan_tables('address');
    -- People of one name at one address are as one.
    INSERT INTO plan_held_addresses (family, email, family_name, given_name, preferred_name, archived, person_id,
        identifier, holder)
    SELECT f.family, p.email_key, p.family_name, p.given_name, p.preferred_name, p.archived, p.person_id,
        p.identifier_key, dense_rank() OVER (ORDER BY f.family, p.email_key, p.family_name, p.given_name,
            p.preferred_name, p.archived)
    FROM plan_found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT k.email FROM plan_found_keys k WHERE k.shared);
    PERFORM minga_roster_internal.analyze_if_large('plan_held_addresses', 'holder');
    INSERT INTO plan_holders (holder, family, email, family_name, given_name, preferred_name, archived, people,
        person_id, identifier)
    SELECT a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived,
        count(*), min(a.person_id), min(a.identifier)
    FROM plan_held_addresses a
    GROUP BY a.holder, a.family, a.email, a.family_name, a.given_name, a.preferred_name, a.archived;
    PERFORM minga_roster_internal.analyze_if_large('plan_holders');
    INSERT INTO plan_addresses (family, email, people, person_id)
    SELECT f.family, p.email_key, count(*) FILTER (WHERE NOT p.archived AND NOT p.absent),
        min(p.person_id) FILTER (WHERE NOT p.archived AND NOT p.absent)
    FROM plan_found_people p CROSS JOIN LATERAL unnest(p.families) f (family)
    WHERE f.family IN ('student', 'staff') AND p.email_key IN (SELECT h.email FROM plan_holders h)
    GROUP BY f.family, p.email_key;

    INSERT INTO plan_namesakes (entry, label, family, email, person_id, archived, people, identifiers_differ)
    WITH asked AS MATERIALIZED (
        SELECT k.* FROM plan_found_keys k
        WHERE k.shared AND k.given_name IS NOT NULL AND k.family_name IS NOT NULL
    ), begun AS MATERIALIZED (
        SELECT k.entry, k.family, k.email, k.family_name, left(k.given_name, n) AS given_name
        FROM asked k CROSS JOIN LATERAL generate_series(3, length(k.given_name) - 1) n
    ), begun_holders AS MATERIALIZED (
        SELECT h.person_id, h.family, h.email, h.family_name, left(h.given_name, n) AS given_name
        FROM plan_holders h CROSS JOIN LATERAL generate_series(3, length(h.given_name) - 1) n
    ), found AS (
        SELECT k.entry, h.person_id FROM asked k JOIN plan_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM begun k JOIN plan_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id FROM asked k JOIN begun_holders h USING (family, email, family_name, given_name)
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN plan_holders h ON h.family = k.family AND h.email = k.email
            AND h.family_name = k.family_name AND h.preferred_name = k.given_name
        WHERE h.given_name IS NOT NULL
        UNION
        SELECT k.entry, h.person_id
        FROM asked k JOIN plan_holders h ON h.family = k.family AND h.email = k.email
            AND h.family_name = k.family_name AND h.given_name = k.preferred_name
    )
    SELECT k.entry, k.label, k.family, k.email, f.person_id, h.archived, h.people,
        coalesce(k.identifier <> h.identifier, false)
    FROM found f
    JOIN plan_found_keys k ON k.entry = f.entry
    JOIN plan_holders h ON h.person_id = f.person_id AND h.family = k.family AND h.email = k.email
    LEFT JOIN plan_exclusions x ON x.entry = k.entry
        AND (x.person_id IS NULL OR (x.person_id = f.person_id AND h.people = 1))
    WHERE x.entry IS NULL;

    -- The person who alone has the address, and whose own row of the roster has it too, or is of a role whose
    -- addresses are not staged.
    INSERT INTO plan_listed_holders (family, email, person_id)
    SELECT DISTINCT a.family, a.email, a.person_id
    FROM plan_addresses a
    JOIN minga_roster.links l ON l.connection = judge_shared.connection.connection AND l.person_id = a.person_id
    JOIN minga_roster.staged_users s ON s.connection = l.connection AND s.sourced_id = l.sourced_id
    LEFT JOIN plan_rules r ON r.roster_role = s.role
    WHERE a.people = 1 AND NOT s.damaged AND coalesce(s.status, 'active') IN ('active', 'inactive')
        AND (lower(s.email COLLATE "C") = a.email OR (r.family IN ('student', 'staff')) IS NOT TRUE);

    INSERT INTO plan_shared_verdicts (entry, label, person_id, verdict)
    WITH verdict AS MATERIALIZED (
        SELECT n.entry, n.label, n.person_id,
            CASE WHEN coalesce(a.people, 0) + n.archived_people > 1 THEN 'address_of_two'
                WHEN n.identifiers_differ THEN 'identifiers_differ'
                WHEN h.person_id IS NOT NULL THEN 'candidate_linked'
                ELSE 'address_shared' END AS verdict
        FROM (
            SELECT s.*, coalesce(sum(s.people) FILTER (WHERE s.archived) OVER (PARTITION BY s.entry), 0)
                AS archived_people
            FROM plan_namesakes s
        ) n
        JOIN plan_addresses a ON a.family = n.family AND a.email = n.email
        LEFT JOIN plan_listed_holders h ON h.family = n.family AND h.email = n.email AND h.person_id = n.person_id
        UNION ALL
        -- The row of a person who may have got another name since.
        SELECT k.entry, k.label, p.person_id, CASE WHEN k.identifier <> p.identifier_key THEN 'identifiers_differ'
            ELSE 'candidate_linked' END
        FROM plan_found_keys k
        JOIN plan_listed_holders h ON h.family = k.family AND h.email = k.email
        JOIN plan_found_people p ON p.person_id = h.person_id
        LEFT JOIN plan_namesakes s ON s.entry = k.entry
        LEFT JOIN plan_exclusions x ON x.entry = k.entry AND coalesce(x.person_id, p.person_id) = p.person_id
        WHERE k.shared AND s.entry IS NULL AND x.entry IS NULL
            AND minga_roster_internal.given_names_agree(k.given_name, k.preferred_name, p.given_name,
                p.preferred_name)
    ), named AS (
        SELECT v.entry, v.label, v.person_id, v.verdict FROM verdict v
        UNION ALL
        -- A row that has both names of one of them could be another of the same names; very many are named by the
        -- first row alone.
        SELECT v.entry, v.label, p.person_id, v.verdict
        FROM (
            SELECT t.*, min(t.entry) OVER (PARTITION BY t.person_id) AS first_entry
            FROM verdict t WHERE t.entry IN (SELECT s.entry FROM plan_namesakes s)
        ) v
        JOIN plan_found_keys k ON k.entry = v.entry
        JOIN plan_holders h ON h.person_id = v.person_id AND h.family = k.family AND h.email = k.email
            AND h.people > 1
        JOIN plan_held_addresses p ON p.holder = h.holder AND p.person_id <> v.person_id
        WHERE h.people <= 100 OR v.entry = v.first_entry
    )
    SELECT n.entry, n.label, n.person_id, n.verdict
    FROM named n LEFT JOIN plan_exclusions x ON x.entry = n.entry AND x.person_id = n.person_id
    WHERE x.entry IS NULL;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_shared(connections) IS
'Fills plan_shared_verdicts: rows whose email address other rows have too, so that it is no key, but that could be a '
    'person of the family who has it: by both names, or by the given name if a row of that one person alone has it.';

CREATE FUNCTION minga_roster_internal.judge_keys(this_round integer) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    -- By identifier: active people but for leavers with another name, archived ones with the same; a person who has a
    -- part of it is in the way.
    INSERT INTO plan_by_identifier (round, entry, label, person_id, counts, differ)
    SELECT this_round, c.entry, c.label, c.person_id, c.counts, NOT c.suffices
    FROM (
        SELECT s.*, s.suffices OR NOT s.archived AS counts,
            bool_or(s.suffices OR NOT s.archived) OVER (PARTITION BY s.entry) AS any_counts
        FROM (
            SELECT p.*, minga_roster_internal.names_suffice(p.archived, p.known, p.given_agrees, p.family_agrees)
                    AS suffices,
                p.absent AND (p.family_agrees IS DISTINCT FROM false
                    OR p.person_id NOT IN (SELECT r.person_id FROM plan_returned_people r)) AS is_absent
            FROM plan_pairs p WHERE p.step = 'identifier'
        ) s
        WHERE (NOT s.given_agrees AND NOT s.family_agrees AND (s.archived OR s.is_absent)) IS NOT TRUE
    ) c
    WHERE c.counts OR NOT c.any_counts;

    -- By email: the only person of the family who has the address, of archived people those of the same name.
    INSERT INTO plan_by_email (round, entry, label, person_id, archived, given_agrees, family_agrees,
        identifiers_differ, excluded, holders)
    SELECT this_round, p.entry, p.label, p.person_id, p.archived, p.given_agrees, p.family_agrees,
        p.identifiers_differ, p.excluded, count(*) OVER (PARTITION BY p.entry)
    FROM plan_pairs p
    WHERE p.step = 'e-mail' AND p.known
        AND CASE WHEN p.archived THEN coalesce(p.given_agrees AND p.family_agrees, false)
            ELSE (p.absent AND p.person_id NOT IN (SELECT r.person_id FROM plan_returned_people r)
                AND NOT p.family_agrees AND (NOT p.given_agrees OR p.identifiers_differ)) IS NOT TRUE END;

    -- If the identifier has told, the address has a say only if it is one row's and one person's, and tells another.
    INSERT INTO plan_told (round, entry, person_id, sure)
    SELECT this_round, b.entry, min(b.person_id), count(*) = 1 AND bool_and(NOT b.differ)
    FROM plan_by_identifier b WHERE b.round = this_round GROUP BY b.entry
    UNION ALL
    SELECT DISTINCT this_round, c.entry, NULL::text, false FROM plan_crowds c;
    INSERT INTO plan_told_twice (round, label, person_id)
    SELECT DISTINCT this_round, b.label, b.person_id
    FROM plan_by_email b JOIN plan_told t ON t.entry = b.entry AND t.round = this_round AND t.sure
    WHERE b.round = this_round AND b.holders = 1 AND NOT b.archived AND NOT b.excluded AND b.given_agrees
        AND b.person_id <> t.person_id;
    INSERT INTO plan_key_verdicts (round, entry, label, person_id, verdict)
    SELECT this_round, v.*
    FROM (
        SELECT b.entry, b.label, b.person_id,
            CASE
                WHEN b.holders > 1 THEN 'address_of_two'
                WHEN b.identifiers_differ THEN 'identifiers_differ'
                WHEN coalesce(b.given_agrees, false) THEN 'found'
                ELSE 'names_differ'
            END
        FROM plan_by_email b
        WHERE b.round = this_round AND NOT b.excluded
            AND CASE WHEN b.holders > 1 THEN coalesce(b.given_agrees AND b.family_agrees, false)
                -- With another name and another number it is another person at the same address.
                ELSE (b.identifiers_differ AND NOT b.given_agrees) IS NOT TRUE END
        UNION ALL
        SELECT p.entry, p.label, p.person_id, 'family_unknown'
        FROM plan_pairs p
        WHERE p.step = 'e-mail' AND NOT p.known AND NOT p.excluded AND p.given_agrees AND p.family_agrees
            AND p.entry NOT IN (SELECT b.entry FROM plan_by_email b WHERE b.round = this_round)
        UNION ALL
        SELECT s.entry, s.label, s.person_id, s.verdict FROM plan_shared_verdicts s
    ) v
    WHERE v.entry NOT IN (SELECT t.entry FROM plan_told t WHERE t.round = this_round);
END
$$;
COMMENT ON FUNCTION minga_roster_internal.judge_keys(integer) IS
'Fills plan_by_identifier, plan_by_email, plan_told, plan_told_twice and plan_key_verdicts for a round.';

CREATE FUNCTION minga_roster_internal.match_by_keys(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
DECLARE
    last_round integer := 1;
BEGIN
    PERFORM minga_roster_internal.make_plan_tables('match');
    PERFORM minga_roster_internal.find_found_people(connection);
    PERFORM minga_roster_internal.clean_keys(connection);
    PERFORM minga_roster_internal.find_pairs();
    PERFORM minga_roster_internal.judge_shared(connection);
    PERFORM minga_roster_internal.judge_keys(1);
    -- A person whom a row could be tonight is not absent. Only keys of people of another family name ask for that, and
    -- people who return bring no one else back.
    IF EXISTS (SELECT FROM plan_pairs p WHERE p.absent AND NOT p.family_agrees) THEN
        INSERT INTO plan_returned_people (person_id)
        SELECT DISTINCT p.person_id
        FROM plan_pairs p
        WHERE p.absent AND NOT p.family_agrees AND p.person_id IN (
            SELECT c.person_id FROM plan_candidates c
            UNION ALL
            SELECT b.person_id FROM plan_by_identifier b
            UNION ALL
            SELECT c.person_id FROM plan_crowds c
            UNION ALL
            SELECT t.person_id FROM plan_told_twice t
            UNION ALL
            SELECT v.person_id FROM plan_key_verdicts v);
        IF FOUND THEN
            PERFORM minga_roster_internal.judge_keys(2);
            last_round := 2;
        END IF;
    END IF;
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT DISTINCT b.label, b.person_id, 'identifier' FROM plan_by_identifier b WHERE b.round = last_round
    UNION ALL
    SELECT DISTINCT c.label, c.person_id, 'identifier' FROM plan_crowds c
    UNION ALL
    SELECT t.label, t.person_id, 'e-mail' FROM plan_told_twice t WHERE t.round = last_round
    UNION ALL
    SELECT DISTINCT v.label, v.person_id, 'e-mail' FROM plan_key_verdicts v WHERE v.round = last_round;
    INSERT INTO plan_found_conflicts (label, conflict, priority)
    SELECT DISTINCT c.label, 'several_candidates', 2 FROM plan_crowds c
    UNION ALL
    SELECT b.label, CASE WHEN count(*) > 1 AND bool_and(b.counts) THEN 'several_candidates' ELSE 'names_differ' END, 2
    FROM plan_by_identifier b
    WHERE b.round = last_round
    GROUP BY b.entry, b.label
    HAVING count(*) > 1 OR bool_or(b.differ) OR NOT bool_and(b.counts)
    UNION ALL
    SELECT DISTINCT t.label, 'two_people_by_keys', 3 FROM plan_told_twice t WHERE t.round = last_round
    UNION ALL
    SELECT DISTINCT v.label, v.verdict, 4 FROM plan_key_verdicts v WHERE v.round = last_round AND v.verdict <> 'found'
    UNION ALL
    SELECT v.label, 'two_people_by_keys', 3
    FROM plan_key_verdicts v
    WHERE v.round = last_round AND v.verdict = 'found'
    GROUP BY v.label HAVING count(DISTINCT v.person_id) > 1;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_by_keys(connections) IS
'Adds to plan_candidates and plan_found_conflicts what identifiers and email addresses tell of the groups in '
    'plan_keys.';

CREATE FUNCTION minga_roster_internal.match_groups(connection connections) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off SET work_mem = '64MB' AS $$
BEGIN
    INSERT INTO plan_candidates (label, person_id, step)
    SELECT g.label, g.linked_person, 'link' FROM plan_groups g WHERE g.linked_person IS NOT NULL
    UNION
    SELECT p.label, p.person_id, 'row' FROM plan_named_people p;
    PERFORM minga_roster_internal.find_former_ids(connection);
    PERFORM minga_roster_internal.find_keys();
    INSERT INTO plan_found_conflicts (label, conflict, priority)
    SELECT g.label, g.contradiction, 1 FROM plan_groups g WHERE g.contradiction IS NOT NULL;
    IF EXISTS (SELECT FROM plan_keys) THEN
        PERFORM minga_roster_internal.match_by_keys(connection);
    END IF;
    PERFORM minga_roster_internal.analyze_if_large('plan_candidates');

    IF EXISTS (SELECT FROM plan_candidates c WHERE c.step <> 'link') THEN
        INSERT INTO plan_found_conflicts (label, conflict, priority)
        SELECT c.label, 'candidate_linked', 5
        FROM plan_candidates c
        JOIN minga_roster.links l ON l.person_id = c.person_id AND l.connection = connection.connection
        LEFT JOIN plan_rows o ON o.sourced_id = l.sourced_id
        WHERE c.step IN ('former id', 'identifier', 'e-mail') AND NOT coalesce(o.standing = 'absent'
            AND (c.step = 'former id' OR minga_roster_internal.family_of(l.category)
                IN (SELECT f.family FROM plan_proved_families f)), false)
        UNION ALL
        SELECT c.label, 'names_differ', 5
        FROM plan_candidates c JOIN plan_groups g USING (label) JOIN plan_candidate_people p USING (person_id)
        WHERE c.step = 'former id'
            AND minga_roster_internal.clean_name(p.family_name)
                <> minga_roster_internal.clean_name(g.match_family_name)
            AND NOT minga_roster_internal.given_names_agree(minga_roster_internal.clean_name(p.given_name),
                minga_roster_internal.clean_name(p.preferred_name),
                minga_roster_internal.clean_name(g.match_given_name),
                minga_roster_internal.clean_name(g.match_preferred_name))
        UNION ALL
        -- Rows that are linked go on.
        SELECT c.label, 'several_rows', 6
        FROM plan_candidates c
        WHERE c.step <> 'link' AND c.person_id IN (SELECT t.person_id FROM plan_candidates t WHERE t.step <> 'link'
            GROUP BY t.person_id HAVING count(DISTINCT t.label) > 1);
    END IF;
    INSERT INTO plan_conflicts (label, conflict)
    SELECT DISTINCT ON (f.label) f.label, f.conflict FROM plan_found_conflicts f
    ORDER BY f.label, f.priority, f.conflict;
    -- Of a table that it does not know the planner takes for possible that a join is better off with the other side in
    -- memory: that is a large one here.
    IF (SELECT count(*) FROM plan_groups) > 1000 THEN
        PERFORM minga_roster_internal.analyze_if_large('plan_conflicts', 'label');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.match_groups(connections) IS
'Fills plan_candidates (the people whom each group could be: by link, else by identifier within a family, else by an '
    'e-mail address that is unique on both sides; never a person whom roster_decide excluded) and plan_conflicts '
    '(groups for which nothing is done, and the code of why).';
