# A trap for tests: operators, functions, casts, types and relations that a plain role plants in a schema, each of which
# counts and logs that it ran, as whom, and for which statement.
#
#   Planted::plant($node, 'postgres', 'evil', 'db_owner')   in schema evil, which ALTER SCHEMA may rename; returns what
#   Planted::ran($node)                                     what ran since the last call, by the log, a line each
#   Planted::counted($node, 'postgres')                     how often something ran since planting, by a sequence
#   Planted::temporary()                                    SQL that plants relations and types in a session's pg_temp
package Planted;

use strict;
use warnings;

use PostgreSQL::Test::Utils;

# The temporary tables that a plan works on.
my @plan = qw(
  plan_addresses plan_as_sent plan_by_email plan_by_identifier plan_candidate_people plan_candidates plan_categories
  plan_changed_ids plan_changes plan_collisions plan_components plan_conflicts plan_contradictions plan_crowded
  plan_crowds plan_decided_rows plan_decided_since plan_decisions plan_drawn_ids plan_due_links plan_edges
  plan_equals plan_exclusions plan_found plan_found_conflicts plan_found_keys plan_found_people plan_groups
  plan_held_addresses plan_hits plan_holders plan_index_keys plan_key_verdicts plan_keys plan_known_rows
  plan_label_rounds plan_labels plan_leavers plan_link_writes plan_linked_people plan_links plan_listed_holders
  plan_listed_roles plan_mass_updates plan_members plan_moved_links plan_named_people plan_namesakes plan_newcomers
  plan_nodes plan_open_rows plan_outcomes plan_pairs plan_parents plan_people plan_plain_rows plan_proved_families
  plan_refusals plan_returned_people plan_rows plan_rules plan_seen_people plan_seen_values plan_settled_rows
  plan_shared_rows plan_shared_verdicts plan_sights plan_skipped_rows plan_special_people plan_taken plan_told
  plan_told_ids plan_told_twice plan_undo_links plan_undoing plan_values plan_verdicts plan_vetoes plan_writes
  plan_written);

my $trap = <<'SQL';
CREATE SCHEMA trap;
CREATE SEQUENCE trap.ran;
CREATE FUNCTION trap.sprung(what text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    RAISE LOG 'planted ran: % as %, superuser %, path %, by %', what, current_user,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_setting('search_path'),
            replace(context, E'\n', ' / ');
    PERFORM nextval('trap.ran');
    RETURN true;
END
$$;
CREATE FUNCTION trap.sprung_trigger() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM trap.sprung(format('trigger of %s', TG_RELID::regclass));
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
GRANT USAGE, SELECT ON SEQUENCE trap.ran TO PUBLIC;
CREATE TABLE trap.planted (kind text NOT NULL, count integer NOT NULL);
SQL

# Generated over the catalogs. What cannot be made, as a plpgsql function of "any", is left out.
my $plant = <<'SQL';
SET check_function_bodies = off;
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE TYPE evil.mood AS ENUM ('same', 'person');
CREATE TYPE evil.pair AS (a text, b text);

CREATE FUNCTION trap.body(what text, answer text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT format('BEGIN PERFORM trap.sprung(%L::pg_catalog.text); RETURN %s; END', what, answer)
$$;
CREATE FUNCTION trap.answer(type oid) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN type = 'void'::regtype THEN '' WHEN type = 'boolean'::regtype THEN 'true'
        WHEN type IN ('text'::regtype, 'varchar'::regtype, 'name'::regtype, 'bpchar'::regtype) THEN '''planted'''
        WHEN type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype)
            THEN '1' ELSE 'NULL' END
$$;
CREATE FUNCTION trap.try(kind text, command text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    INSERT INTO trap.planted VALUES (kind, 1);
EXCEPTION
    WHEN OTHERS THEN NULL;
END
$$;

DO $do$
DECLARE
    types text[] := ARRAY(
        SELECT format('%I.%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'pg_catalog' AND t.typname IN ('text', 'varchar', 'bpchar', 'name', 'char', 'uuid',
                'int2', 'int4', 'int8', 'numeric', 'bool', 'date', 'time', 'timestamptz', 'timestamp', 'interval',
	'jsonb',
                'json', '_text', '_int4', 'oid', 'regclass', 'bytea', 'daterange', 'regtype')
            OR t.typname IN ('citext', 'role_word')
        ORDER BY t.oid);
    words text[] := ARRAY['text', 'varchar', 'int8', 'int4', 'name', 'regclass', 'date', 'jsonb', 'bool',
        'timestamptz'];
    operator text;
    result text;
    l text;
    r text;
    f record;
    made integer := 0;
BEGIN
    FOREACH l IN ARRAY types LOOP
        FOREACH r IN ARRAY types LOOP
            EXECUTE format('CREATE FUNCTION evil.op_bool(a %1$s, b %2$s) RETURNS bool LANGUAGE plpgsql AS %3$L', l, r,
                trap.body(format('operator of %s and %s', l, r), 'true'));
            EXECUTE format('CREATE FUNCTION evil.op_left(a %1$s, b %2$s) RETURNS %1$s LANGUAGE plpgsql AS %3$L', l, r,
                trap.body(format('operator of %s and %s', l, r), 'a'));
            EXECUTE format('CREATE FUNCTION evil.op_text(a %1$s, b %2$s) RETURNS text LANGUAGE plpgsql AS %3$L', l, r,
                trap.body(format('operator of %s and %s', l, r), '''planted'''));
            FOREACH operator IN ARRAY string_to_array(
                '= <> < <= > >= ~~ !~~ ~~* !~~* ~ !~ ~* !~* ^@ || -> ->> #>> #> ? ?| ?& @> <@ '
                || '+ - * / % & | && #- @@ -|-', ' ')
            LOOP
                result := CASE WHEN operator IN ('||', '+', '-', '*', '/', '%', '&', '|', '#-') THEN 'op_left'
                    WHEN operator IN ('->', '->>', '#>', '#>>') THEN 'op_text' ELSE 'op_bool' END;
                EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.%s, LEFTARG = %s, RIGHTARG = %s)',
                    operator, result, l, r);
                made := made + 1;
            END LOOP;
        END LOOP;
    END LOOP;
    INSERT INTO trap.planted VALUES ('operators', made);

    -- Functions of the system and of the extension, with their own arguments and with other text in place of text
    FOR f IN
        SELECT p.proname, p.proretset, p.prorettype, pg_get_function_arguments(p.oid) AS arguments,
            pg_get_function_result(p.oid) AS result,
            n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS title,
            CASE WHEN p.proretset OR p.proargmodes IS NOT NULL THEN '' ELSE trap.answer(p.prorettype) END AS answer,
            CASE WHEN 'text'::regtype = ANY (p.proargtypes) AND p.proargmodes IS NULL THEN
                (SELECT string_agg(CASE t WHEN 'text'::regtype THEN '%s' ELSE format_type(t, -1) END, ', ' ORDER BY i)
                 FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i)) END AS pattern
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('pg_catalog', 'minga_roster', 'minga_roster_internal') AND p.prokind = 'f'
            AND NOT p.proargtypes::oid[] && ARRAY['internal', 'cstring', '"any"', 'trigger',
                'event_trigger']::regtype[]::oid[]
            AND p.prorettype <> ALL (ARRAY['internal', 'cstring', 'trigger', 'event_trigger']::regtype[]::oid[])
    LOOP
        PERFORM trap.try('functions', format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            f.proname, f.arguments, f.result,
            trap.body(f.title, f.answer)));
        IF f.pattern IS NOT NULL THEN
            FOREACH l IN ARRAY ARRAY['varchar', 'name', 'extras.citext'] LOOP
                PERFORM trap.try('functions',
                    format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname,
                    replace(f.pattern, '%s', l), f.result, trap.body(f.title || ' of ' || l, f.answer)));
            END LOOP;
        END IF;
    END LOOP;
    FOR f IN
        SELECT v.name, string_agg(t, ', ' ORDER BY i) AS arguments
        FROM unnest(ARRAY['format', 'concat', 'concat_ws', 'jsonb_build_object', 'jsonb_build_array',
            'json_build_object', 'num_nulls', 'num_nonnulls', 'count',
                'string_agg', 'pg_typeof']) AS v (name)
        CROSS JOIN (SELECT ARRAY[a] AS types FROM unnest(words) a
                    UNION ALL SELECT ARRAY[a, b] FROM unnest(words) a, unnest(words) b
                    UNION ALL SELECT array_fill('text'::text, ARRAY[n]) FROM generate_series(3, 9) n) s
        CROSS JOIN LATERAL unnest(s.types) WITH ORDINALITY AS u (t, i)
        GROUP BY v.name, s.types
    LOOP
        PERFORM trap.try('functions', format('CREATE FUNCTION evil.%I(%s) RETURNS text LANGUAGE plpgsql AS %L',
            f.name, f.arguments,
            trap.body(format('%s(%s)', f.name, f.arguments), '''planted''')));
    END LOOP;
    -- The extension's own names with arguments that fit better
    FOREACH l IN ARRAY ARRAY['as_owner(regclass, text)', 'as_owner(regclass, text, text)',
        'as_owner(regclass, text, text, text)', 'merge_run(bigint)',
        'merge_run(integer)', 'roster_run_due(integer DEFAULT 1)', 'known_run(integer)',
            'known_connection(varchar)', 'setting(varchar)', 'equality(regtype)'] LOOP
        PERFORM trap.try('functions', format('CREATE FUNCTION evil.%s RETURNS bigint LANGUAGE plpgsql AS %L', l,
            trap.body(l, '1')));
    END LOOP;
    FOR f IN
        SELECT p.proname, format_type(p.prorettype, -1) AS result, nullif(oidvectortypes(p.proargtypes), '')
            AS arguments, row_number() OVER () AS nth
        FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'a'
            AND '"any"'::regtype <> ALL (p.proargtypes)
    LOOP
        PERFORM trap.try('state functions of aggregates',
            format('CREATE FUNCTION evil.agg_%s(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.nth,
            concat_ws(', ', f.result, f.arguments), f.result, trap.body(format('aggregate %s(%s)', f.proname,
                coalesce(f.arguments, '*')), '$1')));
        PERFORM trap.try('aggregates', format('CREATE AGGREGATE evil.%I(%s) (SFUNC = evil.agg_%s, STYPE = %s)',
            f.proname, coalesce(f.arguments, '*'),
            f.nth, f.result));
    END LOOP;

    -- Casts to and from types of the one who plants them
    FOREACH l IN ARRAY ARRAY['mood', 'pair'] LOOP
        FOREACH r IN ARRAY ARRAY['text', 'varchar', 'jsonb', 'name', 'int8', 'uuid'] LOOP
            EXECUTE format(
                'CREATE FUNCTION evil.cast_of(a evil.%1$s, b pg_catalog.%2$s DEFAULT NULL) '
                || 'RETURNS pg_catalog.%2$s LANGUAGE plpgsql AS %3$L',
                l, r, trap.body(format('cast of %s to %s', l, r), 'NULL'));
            EXECUTE format(
	'CREATE FUNCTION evil.cast_to_%2$s(a evil.%1$s) RETURNS pg_catalog.%2$s LANGUAGE plpgsql AS %3$L', l, r,
                trap.body(format('cast of %s to %s', l, r), 'NULL'));
            EXECUTE format(
	'CREATE FUNCTION evil.cast_to_%1$s(a pg_catalog.%2$s) RETURNS evil.%1$s LANGUAGE plpgsql AS %3$L', l, r,
                trap.body(format('cast of %2$s to %1$s', l, r), 'NULL'));
            PERFORM trap.try('casts',
	format('CREATE CAST (evil.%s AS pg_catalog.%s) WITH FUNCTION evil.cast_to_%2$s(evil.%1$s) AS IMPLICIT', l, r));
            PERFORM trap.try('casts',
	format('CREATE CAST (pg_catalog.%2$s AS evil.%1$s) WITH FUNCTION evil.cast_to_%1$s(pg_catalog.%2$s) AS %3$s',
                l, r, CASE WHEN r = 'jsonb' THEN 'ASSIGNMENT' ELSE 'IMPLICIT' END));
        END LOOP;
    END LOOP;

    -- Relations of the system, the extension and its plans
    FOR f IN
        SELECT c.relname, string_agg(format('NULL::%s AS %I', CASE WHEN n.nspname = 'pg_catalog' AND t.typtype <> 'p'
            THEN format('pg_catalog.%I', t.typname) ELSE 'pg_catalog.text' END, a.attname), ', ' ORDER BY a.attnum)
                AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE c.relnamespace IN ('pg_catalog'::regnamespace, (SELECT s.oid FROM pg_namespace s
            WHERE s.nspname = 'minga_roster'))
            AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        GROUP BY c.relname
        UNION ALL
        SELECT p, 'NULL::pg_catalog.text AS person_id, NULL::pg_catalog.text AS label'
            FROM unnest(string_to_array(:'plan', ' ')) AS p
    LOOP
        PERFORM trap.try('relations', format('CREATE VIEW evil.%I AS SELECT %s WHERE trap.sprung(%L)', f.relname,
            f.columns, 'relation ' || f.relname));
        PERFORM trap.try('triggers',
            format('CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OR DELETE ON evil.%I '
            || 'FOR EACH ROW EXECUTE FUNCTION trap.sprung_trigger()',
            f.relname));
    END LOOP;
    EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC';

    FOR f IN
        SELECT n.name, coalesce(n.base, n.name) AS base
        FROM (VALUES ('text', NULL), ('varchar', NULL), ('int2', NULL), ('int4', NULL), ('int8', NULL), ('integer',
            'int4'), ('bigint', 'int8'), ('boolean', 'bool'),
            ('bool', NULL), ('name', NULL), ('oid', NULL), ('regclass', NULL), ('regtype', NULL), ('jsonb', NULL),
                ('uuid', NULL), ('timestamptz', NULL),
            ('timestamp', NULL), ('date', NULL), ('time', NULL), ('interval', NULL), ('numeric', NULL),
                ('daterange', NULL), ('bytea', NULL), ('inet', NULL))
            AS n (name, base)
    LOOP
        PERFORM trap.try('types', format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (trap.sprung(%L))', f.name,
            f.base, 'domain ' || f.name));
    END LOOP;
END
$do$;
SQL

my %log_read;

sub plant
{
	my ($node, $database, $schema, $role) = @_;
	my $sql = $plant;
	my $plan = join ' ', @plan;

	$sql =~ s/:'plan'/'$plan'/;
	$sql =~ s/\bevil\b/$schema/g;
	local $ENV{PGOPTIONS} = '-c search_path=pg_catalog';
	$node->psql($database, $trap . $sql, on_error_die => 1, extra_params => [ '-U', $role ]);
	return map { split /\|/ } split /\n/, $node->safe_psql($database, 'SELECT kind, sum(count) FROM trap.planted '
	  . 'GROUP BY kind ORDER BY kind');
}

sub ran
{
	my ($node) = @_;
	my $log = slurp_file($node->logfile, $log_read{ $node->logfile } // 0);

	$log_read{ $node->logfile } += length $log;
	return $log =~ /planted ran: (.*)/g;
}

sub counted
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, 'SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM trap.ran');
}

# In full, so that nothing of it springs another trap.
sub temporary
{
	my @relations = (@plan, qw(
  connections runs run_steps changes links staged_users toggles secrets tokens people_relations audit outbox sis
  role_rules pg_class pg_proc pg_roles pg_attribute pg_type pg_namespace pg_settings pg_depend pg_extension
  people));
	my @types = qw(text varchar int4 int8 bool name oid regclass jsonb uuid timestamptz date daterange);

	return join("\n", "SET client_min_messages = warning;",
		(map { "CREATE TEMP VIEW $_ AS SELECT NULL::pg_catalog.text AS connection, NULL::pg_catalog.text AS run "
		  . "WHERE trap.sprung('temporary $_');\n"
			  . "CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE OR DELETE ON pg_temp.$_ FOR EACH ROW EXECUTE FUNCTION "
			  . "trap.sprung_trigger();" } @relations),
		(map { "CREATE DOMAIN pg_temp.\"$_\" AS pg_catalog.$_ CHECK (trap.sprung('temporary domain $_'));" } @types),
		"RESET client_min_messages;") . "\n";
}

1;
