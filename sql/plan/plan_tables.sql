-- The tables of a run's transaction: what a row is, and its columns. The steps of the plan read tables that earlier
-- steps have filled, and insert into their own; docs/plan.md tells who makes and who reads each. They are temporary,
-- made once for each session and emptied at commit, so that a night of 2,000 schools does not grow the catalog. Must
-- survive sessions in which others have made temporary relations of these names.

CREATE FUNCTION minga_roster_internal.plan_tables(wanted text DEFAULT NULL, OUT made_for text, OUT name text,
    OUT columns text, OUT row_is text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.made_for, t.name, regexp_replace(t.columns, E'\\s+', ' ', 'g'), t.row_is
    FROM (VALUES
    -- What is read
    ('plan', 'plan_people', 'person_id text, archived boolean, protection text, given_name text, family_name text,
        middle_name text, preferred_name text, email text, username text, identifier text, grade text, phone text,
        parent_name text, parent_email text, parent_phone text, parent_rule text, birth_date text, role text,
        role_word text, role_first boolean, archived_at timestamp with time zone, status text, managed boolean',
        'A person of the site.'),
    ('plan', 'plan_rules', 'roster_role text, category text, family text, role text, rank integer, rostered boolean,
        auto_update boolean, archive boolean',
        'A role of the roster: the preset''s rule with the connection''s toggles.'),
    ('rows', 'plan_categories', 'category text, family text, role text, rank integer, rostered boolean,
        auto_update boolean, archive boolean',
        'A category with the rule of its best rank, for links whose row says no more.'),
    ('rows', 'plan_proved_families', 'family text',
        'A family whose absent people are absent: each of its collections was read to a proved end.'),
    ('rows', 'plan_as_sent', 'person_id text, sent jsonb',
        'A person who still has what the people relation made of values: a hash of each value as it was sent.'),
    ('rows', 'plan_parents', 'sourced_id text COLLATE "C", parent_name text, parent_email text, parent_phone text,
        parent_rule text, contact_id text COLLATE "C"',
        'A student''s primary parent contact; all NULL if the contact that a roster wrote is to be cleared.'),
    -- Rows
    ('plan', 'plan_open_rows', 'sourced_id text COLLATE "C", staged boolean, place tid, standing text, usable boolean,
        roster_role text, category text, family text, role text, rank integer, rostered boolean, linked boolean,
        person_id text, link_category text, role_written text, linked_run bigint, missed boolean, archived_run bigint,
        given_name text, family_name text, middle_name text, preferred_name text, email text, username text,
        identifier text, grade text, phone text, parent_name text, parent_email text, parent_phone text,
        parent_rule text, birth_date text, plain boolean, damaged_field text,
        settled_as text',
        'A row of the roster or a link, with the person linked, that is not plainly as it should be; settled_as: its '
        'outcome, if it is known whatever the other rows are.'),
    ('rows', 'plan_shared_rows', 'sourced_id text COLLATE "C"',
        'A listed row that shares a username or an identifier with another of its family, one of them without a link.'),
    ('rows', 'plan_special_people', 'person_id text, own_links bigint, first_own bigint, first_elsewhere bigint,
        only_own boolean, best_role text',
        'A person with several links, or with a live link of another connection.'),
    ('rows', 'plan_settled_rows', 'sourced_id text COLLATE "C", place tid, category text, is_main boolean',
        'An open row of a person of several rows, all of which are plain.'),
    ('rows', 'plan_skipped_rows', 'sourced_id text COLLATE "C", place tid, category text, outcome text',
        'An open row for which someone decided "skip", or of a person whom someone decided to forget.'),
    ('rows', 'plan_disputed_rows', 'sourced_id text COLLATE "C"',
        'A row of a first load of which more may be known than that it is new.'),
    ('rows', 'plan_rows', 'label text COLLATE "C", sourced_id text COLLATE "C", staged boolean, place tid,
        standing text, usable boolean, roster_role text, category text, family text, role text, rank integer,
        rostered boolean, linked boolean, person_id text, link_category text, role_written text, linked_run bigint,
        missed boolean, archived_run bigint, given_name text, family_name text, middle_name text, preferred_name text,
        email text, username text, identifier text, grade text, phone text, parent_name text, parent_email text,
        parent_phone text, parent_rule text, birth_date text, plain boolean, damaged_field text, settled_as text',
        'An open row that is neither settled nor skipped, with the label of its group: the least sourcedId in it.'),
    -- Groups
    ('rows', 'plan_decided_rows', 'sourced_id text COLLATE "C", person_id text',
        'A person whom an open row is not, by roster_decide; NULL: it is a new person.'),
    ('rows', 'plan_nodes', 'sourced_id text COLLATE "C", person_id text, role text, family text,
        person text COLLATE "C", decided boolean, moved_family boolean, username text COLLATE "C",
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text,
        shares boolean, class bigint',
        'A row that others may be one person with, its keys and names as they are compared.'),
    ('group', 'plan_known_rows', 'person text COLLATE "C", sourced_id text COLLATE "C"',
        'A known person among the nodes, and the first row that is this person.'),
    ('group', 'plan_members', 'kind text, key text COLLATE "C", sourced_id text COLLATE "C", role text,
        person text COLLATE "C", username text COLLATE "C", identifier text COLLATE "C", email text COLLATE "C",
        given_name text, family_name text, preferred_name text',
        'A node with one of its two keys.'),
    ('group', 'plan_equals', 'kind text, role text, key text COLLATE "C", sourced_id text COLLATE "C", agree boolean',
        'A key that several rows of one role have, and whether these rows are one person.'),
    ('group', 'plan_edges', 'a text COLLATE "C", b text COLLATE "C"',
        'Two rows that are one person, or share a key in one role.'),
    ('group', 'plan_label_rounds', 'round integer, sourced_id text COLLATE "C", label text COLLATE "C"',
        'A node''s label after a round of spreading labels along the edges.'),
    ('group', 'plan_components', 'sourced_id text COLLATE "C", component text COLLATE "C"',
        'A node with its last label: connected nodes have the same.'),
    ('rows', 'plan_contradictions', 'component text COLLATE "C", label text COLLATE "C", conflict text',
        'Connected rows that contradict each other, the label of those without a link, and why.'),
    ('rows', 'plan_named_people', 'label text COLLATE "C", person_id text',
        'A person with whose rows contradicting rows are connected.'),
    ('rows', 'plan_labels', 'sourced_id text COLLATE "C", label text COLLATE "C"',
        'A node with the label of its group.'),
    ('rows', 'plan_groups', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], usable boolean,
        active boolean, family text, category text, rank integer, role text, linked_person text, role_written text,
        joins boolean, contradiction text, match_given_name text, match_family_name text, match_preferred_name text,
        match_identifier text, match_email text, given_name text, family_name text, middle_name text,
        preferred_name text, email text, username text, identifier text, grade text, phone text, parent_name text,
        parent_email text, parent_phone text, parent_rule text, birth_date text',
        'Present rows that are one person.'),
    -- Match
    ('rows', 'plan_candidates', 'label text COLLATE "C", person_id text, step text',
        'A person whom a group could be, and what says so.'),
    ('rows', 'plan_found_conflicts', 'label text COLLATE "C", conflict text, priority integer',
        'A reason why nothing is done for a group.'),
    ('rows', 'plan_conflicts', 'label text COLLATE "C", conflict text',
        'A group for which nothing is done, and the first reason.'),
    ('rows', 'plan_keys', 'entry bigint, label text COLLATE "C", sourced_id text COLLATE "C", family text,
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text',
        'The identifier and an email address of a group without a link, one of which a person has; of a group that '
        'contradicts itself, of each row.'),
    ('rows', 'plan_candidate_people', 'person_id text, archived boolean, protection text, given_name text,
        family_name text, middle_name text, preferred_name text, email text, username text, identifier text, grade text,
        phone text, parent_name text, parent_email text, parent_phone text, parent_rule text, birth_date text,
        role text, role_word text, role_first boolean, archived_at timestamp with time zone, status text,
        managed boolean, identifier_key text COLLATE "C", email_key text COLLATE "C"',
        'A person to whom a key or a link leads.'),
    ('match', 'plan_found_people', 'person_id text, archived boolean, identifier_key text COLLATE "C",
        email_key text COLLATE "C", given_name text, family_name text, preferred_name text, families text[],
        absent boolean',
        'A person to whom a key leads, names as they are compared; absent: proved absent tonight.'),
    ('former', 'plan_told_ids', 'label text COLLATE "C", sourced_id text COLLATE "C", family text,
        legacy_id text COLLATE "C"',
        'A row without a link, with the ID that the SIS says it had before.'),
    ('match', 'plan_found_keys', 'entry bigint, label text COLLATE "C", sourced_id text COLLATE "C", family text,
        identifier text COLLATE "C", email text COLLATE "C", given_name text, family_name text, preferred_name text,
        shared boolean',
        'An entry of plan_keys that leads to someone, names as they are compared; shared: others have its address.'),
    ('match', 'plan_exclusions', 'entry bigint, person_id text',
        'A person whom an entry is not, by roster_decide; NULL: it is no one of the site.'),
    ('match', 'plan_crowded', 'identifier text COLLATE "C", family text, crowded boolean, first_person text,
        last_person text, first_entry bigint',
        'An identifier of entries and people of a family, and whether there are too many to pair each with each.'),
    ('match', 'plan_crowds', 'entry bigint, label text COLLATE "C", person_id text',
        'A person for an entry with a crowded identifier.'),
    ('match', 'plan_pairs', 'entry bigint, label text COLLATE "C", person_id text, step text, archived boolean,
        known boolean, given_agrees boolean, family_agrees boolean, identifiers_differ boolean, absent boolean,
        excluded boolean',
        'An entry with a person who has its identifier or address, and what of the names agrees.'),
    ('address', 'plan_held_addresses', 'family text, email text COLLATE "C", family_name text, given_name text,
        preferred_name text, archived boolean, person_id text, identifier text COLLATE "C", holder bigint',
        'A person who has an address that several rows have, by family.'),
    ('address', 'plan_holders', 'holder bigint, family text, email text COLLATE "C", family_name text,
        given_name text, preferred_name text, archived boolean, people bigint, person_id text,
        identifier text COLLATE "C"',
        'The people of one name at such an address.'),
    ('address', 'plan_addresses', 'family text, email text COLLATE "C", people bigint, person_id text',
        'Such an address, and how many active people have it.'),
    ('address', 'plan_namesakes', 'entry bigint, label text COLLATE "C", family text, email text COLLATE "C",
        person_id text, archived boolean, people bigint, identifiers_differ boolean',
        'An entry with holders of its address whose names agree with its own.'),
    ('address', 'plan_listed_holders', 'family text, email text COLLATE "C", person_id text',
        'The only holder of an address, whose own row has it too, or is of a role without one in the stage.'),
    ('match', 'plan_shared_verdicts', 'entry bigint, label text COLLATE "C", person_id text, verdict text',
        'What an address that several rows have tells of an entry.'),
    ('match', 'plan_by_identifier', 'round integer, entry bigint, label text COLLATE "C", person_id text,
        counts boolean, differ boolean',
        'A person whom the identifier of an entry tells, or who is in the way.'),
    ('match', 'plan_by_email', 'round integer, entry bigint, label text COLLATE "C", person_id text,
        archived boolean, given_agrees boolean, family_agrees boolean, identifiers_differ boolean, excluded boolean,
        holders bigint',
        'A person of the family who has the address of an entry.'),
    ('match', 'plan_told', 'round integer, entry bigint, person_id text, sure boolean',
        'An entry whose identifier has told.'),
    ('match', 'plan_told_twice', 'round integer, label text COLLATE "C", person_id text',
        'Another person whom the address of such an entry tells.'),
    ('match', 'plan_key_verdicts', 'round integer, entry bigint, label text COLLATE "C", person_id text, verdict text',
        'What the address of an entry tells, whose identifier has told nothing.'),
    ('match', 'plan_returned_people', 'person_id text',
        'A person proved absent whom a row could be tonight.'),
    -- Verdicts
    ('rows', 'plan_verdicts', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], person_id text,
        step text, category text, role text, last_role text, first_run bigint, outcome text, links boolean,
        before jsonb, after jsonb, rule text, detail text, told boolean, conflict text',
        'What is to be done for a group, as if nothing spoke against it.'),
    ('rows', 'plan_vetoes', 'label text COLLATE "C", outcome text, cause text, figures jsonb',
        'What overrules the verdict of a group or the archive of a leaver: "conflict" or "held", and why.'),
    ('unique', 'plan_values', 'index_name text, label text COLLATE "C", person_id text, outcome text, after jsonb',
        'A person to be written, whose values a unique index could refuse.'),
    ('unique', 'plan_collisions', 'label text COLLATE "C", index_name text, other text',
        'A group whose values a unique index would refuse, for the sake of another person or (NULL) another group.'),
    ('rows', 'plan_changed_ids', 'category text, figures jsonb',
        'A category of which many people have a new sourcedId tonight.'),
    ('rows', 'plan_links', 'sourced_id text COLLATE "C", deed text, label text COLLATE "C", person_id text,
        category text, rule text, linked_run bigint, missing boolean, returned boolean',
        'A link that would change: insert, replace, update or delete.'),
    ('guard', 'plan_linked_people', 'person_id text, category text, archived boolean, listed boolean,
        writable boolean',
        'A person linked once the run is done, the base of the guard.'),
    ('rows', 'plan_mass_updates', 'category text, column_name text, changed bigint, people bigint',
        'A column that updates would change for most people of a category.'),
    ('rows', 'plan_decisions', 'label text COLLATE "C", main_row text COLLATE "C", sourced_ids text[], person_id text,
        step text, category text, last_role text, first_run bigint, verdict text, outcome text, links boolean,
        before jsonb, after jsonb, rule text, detail text, told boolean, conflict text, held_as text, held_cause text,
        figures jsonb',
        'A verdict as its veto leaves it.'),
    ('rows', 'plan_leavers', 'label text COLLATE "C", person_id text, sourced_ids text[], category text, status text,
        protection text',
        'An active person who is absent with every link.'),
    -- Changes
    ('rows', 'plan_changes', 'change integer, label text COLLATE "C", category text, person_id text,
        sourced_ids text[], action text, rule text, reason text, before jsonb, after jsonb, state text,
        state_reason text, state_cause text, conflict text, same_name text[], seen bigint',
        'A change of the run, as planned; of an apply or an approval, a change of the earlier run.'),
    ('plan', 'plan_outcomes', 'place tid, category text, outcome text, is_further boolean',
        'A staged user that was looked at, and what became of it.'),
    ('plan', 'plan_linked_rows', 'category text, rows bigint',
        'A category: how many links it has; in a delta, how many of them are listed.'),
    ('rows', 'plan_plain_rows', 'category text, rows bigint',
        'A category: how many of its rows were not looked at.'),
    ('plan', 'plan_listed_roles', 'role text, people bigint, inactive bigint, given_name bigint, family_name bigint,
        middle_name bigint, preferred_name bigint, email bigint, username bigint, identifier bigint, grade bigint,
        phone bigint, agents bigint, rows bigint',
        'A role of staged rows: how many are listed and have a value in each field, and how many there are in all.'),
    -- Apply
    ('rows', 'plan_refusals', 'change integer, code text, detail text',
        'A change of an earlier run, and why it is not carried out (NULL: it is).'),
    ('rows', 'plan_writes', 'change integer, action text, category text, person_id text, sourced_id text COLLATE "C",
        before jsonb, after jsonb, code text, failure text, place tid, is_noted boolean, planned_as integer,
        role text, given_name text, family_name text, middle_name text, preferred_name text, email text,
        username text, identifier text, grade text, phone text, parent_name text, parent_email text,
        parent_phone text, parent_rule text, birth_date text',
        'A change to be written to a person; code and failure: why the relation does not take it. A create of a first '
        'load ("new") has values in place of after; and of a row that is only new the place in the stage, and whether '
        'it says "create" already, else the number that plan_changes had for it.'),
    ('rows', 'plan_written', 'change integer, action text, category text, person_id text, done boolean, code text,
        failure text, seen bigint, stored jsonb, links boolean',
        'What became of a write: stored has values that are not as they were sent.'),
    ('rows', 'plan_drawn_ids', 'change integer, person_id text',
        'An ID that the relation''s default drew for a new person.'),
    ('write', 'plan_hits', 'change integer, person_id text',
        'A person whom the statement of a range wrote, by its RETURNING.'),
    ('write', 'plan_found', 'change integer, person_id text, seen bigint, fits boolean, archived boolean, now jsonb',
        'A person as the relation shows it after the statement.'),
    ('write', 'plan_new_people', 'change integer, person_id text, seen bigint',
        'A person whom a range created for a row that is only new, with the hash of all that a roster reads.'),
    ('newcomers', 'plan_newcomers', 'person_id text, given_name text, family_name text, identifier text, email text,
        username text',
        'A person of the site who was not there before the run.'),
    ('rows', 'plan_link_writes', 'sourced_id text COLLATE "C", deed text, change integer, person_id text,
        category text, role_written text, rule text, linked_run bigint, missing boolean, returned boolean,
        archived boolean',
        'A link to be written, one row for each.'),
    ('link', 'plan_due_links', 'sourced_id text COLLATE "C", deed text, change integer, person_id text, category text,
        role_written text, rule text, linked_run bigint, missing boolean, returned boolean, archived boolean',
        'A link write whose change was carried out; without plain new links.'),
    ('values', 'plan_seen_values', 'column_name text, person_id text, hash bigint, wrote boolean, is_new boolean',
        'A person''s value of a column that is the SIS''s unless edited, after the writes.'),
    -- Actions
    ('seen', 'plan_seen_people', 'person_id text, seen bigint',
        'A person with the hash of all that a roster reads.'),
    ('seen', 'plan_sights', 'change integer, seen bigint',
        'A change with the hash of its person, or of the people who have a key of a new person.'),
    ('apply', 'plan_moved_links', 'sourced_id text COLLATE "C", change integer',
        'A link that was changed after the preview.'),
    ('apply', 'plan_decided_since', 'change integer, sourced_id text COLLATE "C"',
        'A row or person of the preview about whom roster_decide was called later.'),
    ('approve', 'plan_taken', 'change integer, code text',
        'A held create that is out of date, and why.'),
    ('undo', 'plan_undo_links', 'sourced_id text COLLATE "C", before jsonb, person_now text, person_before text,
        later_run bigint',
        'A link that the run wrote, as it was before.'),
    ('rows', 'plan_relationships', 'one text COLLATE "C", other text COLLATE "C", guardian boolean, type text',
        'What Infinite Campus says of how two users are related.'),
    ('objects', 'plan_sessions', 'sourced_id text COLLATE "C", is_known boolean, is_chosen boolean, is_over boolean,
        is_year boolean',
        'An academic session, and whether classes of it are rostered; not known if the SIS no longer lists it.'),
    ('objects', 'plan_classes', 'sourced_id text COLLATE "C", course_id text COLLATE "C", is_listed boolean,
        is_known boolean, is_chosen boolean, is_over boolean',
        'A class of the stage, or one that was there before, and whether it is rostered; not known if it has ended.'),
    ('objects', 'plan_objects', 'object text, sourced_id text COLLATE "C", student_id text COLLATE "C", action text,
        cause text',
        'An object that is added, changes, returns, ends or is held; an unchanged one has no row.'),
    ('undo', 'plan_undoing', 'run bigint, change integer, person_id text, category text, did text, nth integer,
        action text, before jsonb, after jsonb, code text, detail text, failure text',
        'A change that the run carried out, with what undoes it, or why it is kept.')
    ) AS t (made_for, name, columns, row_is)
    WHERE plan_tables.wanted IS NULL OR t.made_for = plan_tables.wanted
$$;
COMMENT ON FUNCTION minga_roster_internal.plan_tables(text) IS
'The temporary tables of a run''s transaction, or those that are made for this: what they are made for, name, columns '
    'and what a row is.';

CREATE FUNCTION minga_roster_internal.free_temp_name(name text) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_free_temp_name';
COMMENT ON FUNCTION minga_roster_internal.free_temp_name(text) IS
'Drops a type that code of a deployment left in the temporary schema of a worker under the name of a table to be made.';

CREATE FUNCTION minga_roster_internal.make_temp_table(name text, columns text[], types oid[], modifiers integer[],
    collations oid[]) RETURNS regclass
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_make_temp_table';
COMMENT ON FUNCTION minga_roster_internal.make_temp_table(text, text[], oid[], integer[], oid[]) IS
'Creates a temporary table that is dropped at the end of the transaction, also behind the door and with types that the '
'extension''s role may not use. Drops a type of that name first.';

CREATE FUNCTION minga_roster_internal.keep_plan_table(made_for text, plan_table regclass) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_keep_plan_table';
COMMENT ON FUNCTION minga_roster_internal.keep_plan_table(text, regclass) IS
'From now on, a temporary table that this session has made as it is declared is emptied at each commit.';

CREATE FUNCTION minga_roster_internal.has_plan_tables(made_for text, declaration regprocedure) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'roster_has_plan_tables';
COMMENT ON FUNCTION minga_roster_internal.has_plan_tables(text, regprocedure) IS
'Whether this session has made all tables that are made for this, as that function declares them, and has them still.';

CREATE FUNCTION minga_roster_internal.require_empty_plan() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM plan_people) OR EXISTS (SELECT FROM plan_rules) THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a run has been merged in this transaction already',
            DETAIL = 'Its temporary tables are emptied when the transaction ends.',
            HINT = 'Merge each run in a transaction of its own.';
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.require_empty_plan() IS
'55000 if the transaction has merged a run already.';

CREATE FUNCTION minga_roster_internal.make_plan_tables(wanted text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    declared record;
    names text[] := '{}';
    declaration CONSTANT regprocedure := 'minga_roster_internal.plan_tables(text)';
BEGIN
    IF minga_roster_internal.has_plan_tables(wanted, declaration) THEN
        PERFORM minga_roster_internal.require_empty_plan() WHERE wanted = 'plan';
        RETURN;
    END IF;
    -- ORDER BY: all rows are found before the first table is made. That one removes what a session that crashed has
    -- left in the temporary schema, and until then such tables look as if this session had them.
    FOR declared IN
        SELECT t.name, t.columns, c.oid IS NOT NULL AS is_there,
            c.relkind = 'r' AND c.relowner = current_user::regrole AS is_ours, pg_get_userbyid(c.relowner) AS owner,
            t.columns = (
                SELECT string_agg(format('%I %s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                    CASE WHEN a.attcollation = '"C"'::regcollation THEN ' COLLATE "C"' END), ', ' ORDER BY a.attnum)
                FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0) AS is_same,
            EXISTS (SELECT FROM pg_type y
                WHERE y.typnamespace = pg_my_temp_schema() AND y.typname = t.name) AS is_type
        FROM minga_roster_internal.plan_tables(wanted) t
        LEFT JOIN pg_class c ON c.relnamespace = pg_my_temp_schema() AND c.relname = t.name AND c.relkind <> 'c'
        ORDER BY t.name
    LOOP
        names := names || declared.name;
        IF declared.is_ours AND declared.is_same THEN
            CONTINUE;
        ELSIF declared.is_there AND NOT declared.is_ours THEN
            RAISE EXCEPTION USING ERRCODE = 'wrong_object_type',
                MESSAGE = format('temporary relation "%s" is not a table of minga_roster', declared.name),
                DETAIL = format('It was made in this session and belongs to role "%s".', declared.owner),
                HINT = 'Start the run in a new session.';
        ELSIF declared.is_there THEN
            EXECUTE format('DROP TABLE pg_temp.%I', declared.name);
        ELSIF declared.is_type THEN
            -- Code of a deployment may leave a type in the temporary schema of a worker, but no table.
            PERFORM minga_roster_internal.free_temp_name(declared.name);
        END IF;
        EXECUTE format('CREATE TEMP TABLE %I (%s) USING heap', declared.name, declared.columns);
    END LOOP;
    PERFORM minga_roster_internal.keep_plan_table(wanted, format('pg_temp.%I', n.name)::regclass)
    FROM unnest(names) n (name);
    PERFORM minga_roster_internal.require_empty_plan() WHERE wanted = 'plan';
END
$$;
COMMENT ON FUNCTION minga_roster_internal.make_plan_tables(text) IS
'Makes the temporary tables of plan_tables() that are wanted, unless this session has them, and makes those again that '
    'have other columns. 42809 for a relation of such a name that belongs to another role, 55000 if the transaction '
    'has merged a run already.';

CREATE FUNCTION minga_roster_internal.analyze_if_large(plan_table text, columns text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    large CONSTANT integer := 256 * 1024; -- about 2,000 rows
BEGIN
    IF pg_relation_size(format('pg_temp.%I', plan_table)::regclass) >= large THEN
        EXECUTE format('ANALYZE pg_temp.%I %s', plan_table, '(' || columns || ')');
    END IF;
END
$$;
COMMENT ON FUNCTION minga_roster_internal.analyze_if_large(text, text) IS
'Analyzes these columns of a table of the plan, or all, if it is so large that a plan may go wrong. For a small school '
'an ANALYZE costs more than it brings: it writes to the catalog, and each statement on the table is planned again.';
