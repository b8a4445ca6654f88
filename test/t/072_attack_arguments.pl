# Every function of the extension, called with arguments that no one means to give: as a superuser, and as a role
# that may call all of them. Whatever the arguments are, a call ends in a result or in an error of its own: the
# server lives, the session is who it was, and no error tells of a slip inside.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $combinations = 25;			# of hostile values for all arguments at once, for each function

my $roster = RosterCluster->new('arguments',
	conf => "restart_after_crash = on\nlog_min_messages = log\nmax_stack_depth = 2MB\n");
my $node = $roster->node;

# What each call did; each is undone.
$roster->sql(<<'SQL');
CREATE SCHEMA attack;
CREATE TABLE attack.outcomes (caller name DEFAULT current_user, statement text, state text, told text);
CREATE FUNCTION attack.session() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT concat_ws(', ', current_user, current_setting('role'), current_setting('search_path'),
        current_setting('row_security'))
$$;
CREATE FUNCTION attack.call(statement text) RETURNS void LANGUAGE plpgsql AS $$
<<here>>
DECLARE
    session text := attack.session();
    state text := '00000';
    told text := '';
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION SQLSTATE 'ZZ000';
    EXCEPTION
        WHEN SQLSTATE 'ZZ000' THEN NULL;
        WHEN query_canceled OR assert_failure OR OTHERS THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, told = MESSAGE_TEXT;
    END;
    IF attack.session() <> session THEN
        state := 'ZZ001';
        told := attack.session();
    END IF;
    -- Fails inside a security-restricted operation that was not left.
    CREATE TEMP TABLE attack_probe () ON COMMIT DROP;
    DROP TABLE attack_probe;
    INSERT INTO attack.outcomes (statement, state, told) VALUES (call.statement, here.state, here.told);
END
$$;

CREATE ROLE keeper;
CREATE ROLE attacker LOGIN;
GRANT USAGE ON SCHEMA attack, minga_roster TO attacker;
GRANT INSERT ON attack.outcomes TO attacker;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster TO attacker;
SELECT minga_roster.roster_grant('attacker', 'owner', site => 'x');
SELECT minga_roster.roster_grant('attacker', 'district_manager', district => 'x');

CREATE SCHEMA odd;
GRANT USAGE ON SCHEMA odd TO PUBLIC;
CREATE TABLE odd.kept (id serial PRIMARY KEY, site text, role text, name text, gone int);
ALTER TABLE odd.kept DROP gone;
ALTER TABLE odd.kept OWNER TO keeper;
INSERT INTO odd.kept (site, role, name) VALUES ('x', 'student', 'Zoe');
CREATE TABLE odd.none ();
CREATE TABLE odd.split (a text) PARTITION BY LIST (a);
CREATE VIEW odd.seen AS SELECT * FROM odd.kept;
CREATE MATERIALIZED VIEW odd.stored AS SELECT * FROM odd.kept;
CREATE TYPE odd.pair AS (a text, b int);
CREATE DOMAIN odd.word AS text CHECK (VALUE <> 'bad');
CREATE TYPE odd.mood AS ENUM ('good');
CREATE TABLE odd.dropped (a text);
SELECT 'odd.dropped'::regclass::oid::text INTO attack.dropped;
DROP TABLE odd.dropped;
GRANT SELECT ON ALL TABLES IN SCHEMA odd, attack TO attacker;
SQL
my $dropped = $roster->sql('SELECT * FROM attack.dropped');

# In each session, for what takes a temp table.
my $session = <<'SQL';
SET client_min_messages = error;
SET statement_timeout = '5s';
CREATE TEMP TABLE one_text (a text);
CREATE TEMP TABLE two_columns (a text, gone int, b boolean NOT NULL);
ALTER TABLE two_columns DROP gone;
CREATE TEMP TABLE no_column ();
CREATE TEMP TABLE computed (a text, b text GENERATED ALWAYS AS (a || 'x') STORED);
CREATE TEMP TABLE indexed (a text UNIQUE);
CREATE TEMP VIEW of_one AS SELECT * FROM one_text;
CREATE TEMP SEQUENCE counting;
CREATE TEMP TABLE split (a text) PARTITION BY LIST (a);
SQL

my @statements = split /\n/, <<'SQL';
SELECT 'x'
SELECT
SELECT 1
SELECT NULL
SELECT NULL::text
SELECT 'x' WHERE false
VALUES ('a', true), ('b', NULL)
SELECT 'x'; SELECT 'y'
SELECT 1; SELECT 2
;
--
/*
TABLE odd.kept
SELECT ROW(1, 2)
SELECT repeat('x', 10000000)
SELECT 1 INTO made
CREATE TEMP TABLE made (a text)
UPDATE odd.kept SET name = name RETURNING name
COMMIT
ROLLBACK
SAVEPOINT s
PREPARE TRANSACTION 'x'
VACUUM
COPY odd.kept FROM STDIN
COPY odd.kept TO STDOUT
SHOW all
EXPLAIN ANALYZE SELECT 1
DECLARE c CURSOR FOR SELECT 1
FETCH ALL FROM c
MOVE c
EXECUTE nothing
LISTEN x
CHECKPOINT
DISCARD ALL
RESET ALL
SET search_path = x
SET ROLE attacker
RESET ROLE
SET SESSION AUTHORIZATION DEFAULT
SET LOCAL row_security = off
DROP TABLE pg_temp.one_text
ALTER TABLE pg_temp.one_text ADD z int
TRUNCATE odd.kept
LOCK TABLE odd.kept
SELECT $1
SELECT $1, $2, $3
SELECT $1::int
SELECT $9999
DO 'BEGIN RAISE EXCEPTION USING ERRCODE = ''57014''; END'
DO 'BEGIN COMMIT; END'
SELECT pg_terminate_backend(0)
SELECT 1/0
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT n::text FROM r LIMIT 5000
SELECT a FROM pg_temp.one_text
INSERT INTO pg_temp.one_text SELECT g::text FROM generate_series(1, 5000) g RETURNING a
SQL

my @numbers = (qw(0 1 4294967295), $dropped);
my @times = map { "'$_'" } '-infinity', 'infinity', '4713-01-01 00:00 BC', '5874-12-31 23:59', '2026-03-08 02:30',
  '0001-01-01';
my %hostile = (
	text => [
		map({ "'$_'" } '', ' ', 'x', 'student', 'sync', '0', '-1', '9223372036854775808', 'NaN', '%s%n%1$s',
			q(''; DROP TABLE odd.kept; --), '"', '\\', '{', '$1', 'odd.kept', 'pg_catalog.pg_class',
			'no.such.thing.here', 'America/Denver', 'https://[::1', 'https://x:99999/', 'key_file',
			"\xe2\x80\xae\xef\xbb\xbf", '&#0;<script>'),
		q(E'a\n\r\t\x01\x1b[31m\x7f'), q{repeat('x', 1000000)}, q{repeat('é', 64)}, q{repeat('(', 20000)},
		q{'https://x/' || repeat('a/', 50000)}, q{repeat(' ', 100000) || 'x'} ],
	statement => [ map { "\$attack\$$_\$attack\$" } @statements ],
	bigint => [qw(0 1 -1 2 9223372036854775807 -9223372036854775808 2147483648 1297219585)],
	integer => [qw(0 1 -1 2 2147483647 -2147483648 63 1000000)],
	smallint => [qw(0 1 -1 32767 -32768)],
	numeric => [ map { "'$_'" } qw(0 -1 NaN Infinity 1e1000) ],
	'double precision' => [ map { "'$_'" } qw(0 -1 NaN Infinity -Infinity 1e308) ],
	boolean => [qw(true false)],
	regclass => [
		@numbers,
		map { "'$_'" } 'odd.kept', 'odd.none', 'odd.split', 'odd.seen', 'odd.stored', 'odd.pair', 'odd.kept_pkey',
		'odd.kept_id_seq', 'pg_catalog.pg_class', 'pg_catalog.pg_class_oid_index', 'pg_toast.pg_toast_1255',
		'pg_catalog.pg_authid', 'minga_roster.runs', 'minga_roster.roster_status', 'information_schema.tables',
		'one_text', 'two_columns', 'no_column', 'computed', 'indexed', 'of_one', 'counting', 'split' ],
	oid => [
		@numbers,
		map { "'$_'::regtype" } qw(text text[] record internal odd.word odd.mood odd.pair pg_catalog.pg_class cstring
		  anyelement int4range) ],
	regtype => [ qw(0 1), map { "'$_'" } qw(text record internal odd.pair) ],
	regrole => [qw(0 1 'attacker' 'keeper')],
	jsonb => [
		map({ "'$_'" } '{}', '[]', 'null', '""', 'true', '-1e999', '[null]', '[[[]]]', '{"": null}', '{"student": []}',
			'{"student": {"student": 1}}', '{"site": "site", "role": null, "person_id": 7}', '[1, "x", {}, [], null]',
			'{"a": "\u202e"}'),
		q{(repeat('[', 3000) || repeat(']', 3000))},
		q{(SELECT jsonb_object_agg(n, repeat('x', 50)) FROM generate_series(1, 20000) n)},
		q{(SELECT jsonb_agg(n) FROM generate_series(1, 50000) n)} ],
	'text[]' => [
		map({ "'$_'" } '{}', '{NULL}', '{""}', '{a,NULL,b}', '{{a,b},{c,d}}', '{{NULL},{x}}', '[-5:-4]={a,b}',
			'[2147483646:2147483646]={a}', '{site,role,"; DROP"}'),
		q{array_fill('x'::text, ARRAY[20000])}, q{array_fill('x'::text, ARRAY[2, 2, 2, 2, 2, 2])},
		q{ARRAY[repeat('x', 1000000)]} ],
	'integer[]' => [ map { "'$_'" } '{}', '{NULL}', '{0,-1,2147483647}', '{{1,2},{3,4}}', '[5:6]={1,1}' ],
	'bigint[]' => [
		map({ "'$_'" } '{}', '{NULL}', '{{1,2},{3,4}}', '[-5:-4]={1,2}'), q{array_fill(0::bigint, ARRAY[20000])} ],
	'oid[]' => [ map { "'$_'" } '{}', '{NULL}', '{0,1,4294967295}', '{{25,25},{25,25}}' ],
	date => \@times,
	'timestamp with time zone' => \@times,
	'timestamp without time zone' => \@times,
	'time without time zone' => [ map { "'$_'" } '00:00', '24:00', '02:30', '23:59:59.999999' ],
	interval => [
		map { "'$_'" } '0', '-1 day', '178000000 years', '-178000000 years', '2147483647 days', '1 month -31 days' ],
	int4range => [ map { "'$_'" } 'empty', '(,)', '[-2147483648,2147483646]', '[1,2)', '(,0)' ],
	daterange => [
		map { "'$_'" } 'empty', '(,)', '[-infinity,infinity]', '[2026-01-01,2026-01-02)', '(,2026-01-01)' ],
	inet => [
		map { "'$_'" } qw(0.0.0.0 0.0.0.0/0 255.255.255.255 127.0.0.1/8 :: ::/0 ::ffff:10.0.0.1 ::ffff:0:0/96 fe80::1
		  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 64:ff9b::7f00:1) ],
	bytea => [
		q(''), q('\x00'), q{decode(repeat('ff', 1000000), 'hex')}, q{decode(repeat('00', 28), 'hex')} ],
	uuid => [ q('00000000-0000-0000-0000-000000000000'), 'gen_random_uuid()' ],
	name => [ q(''), q('x'), q{repeat('x', 63)}, q('attacker') ],
	regprocedure => [ q('pg_catalog.now()'), q('0'), q('4294967295'), q('minga_roster.roster_run_due()') ],
	'"any"' => [
		q('x'), q('x'::text), q(''::text), q(NULL::text), q(1), q(NULL::int), q('{a,b}'::text[]), q(ROW(1, 'x')),
		q(repeat('x', 1000000)), q('x'::varchar), q('x'::name) ]);

# Columns of a table or composite type, each with its base type.
sub columns_of
{
	my ($type) = @_;

	return split /\n/, $roster->sql(qq{SELECT format_type(coalesce(nullif(b.typbasetype, 0), b.oid), NULL)
		FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid JOIN pg_type b ON b.oid = a.atttypid
		WHERE t.oid = '$type'::regtype AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum});
}

# What the values of an argument are chosen by: its type, and for a text whether it is a statement.
sub kind_of
{
	my ($type, $name) = @_;

	return $type eq 'text' && $name =~ /statement|query/ ? 'statement' : $type;
}

# Hostile values of an argument; NULL comes first.
my %values;
sub values_of
{
	my ($type, $name) = @_;
	my $kind = kind_of($type, $name);

	return ('NULL', @{ $hostile{$kind} }) if $kind eq '"any"';
	if (!$values{$kind})
	{
		my @values = @{ $hostile{$kind} // [] };
		if (!@values && $type =~ /^(.*)\[\]$/)
		{
			@values = ("'{}'", map { "ARRAY[$_]" } values_of($1, ''));
		}
		elsif (!@values)
		{
			my @columns = columns_of($type) or die "no hostile values are known for type $type";
			@values = ("jsonb_populate_record(NULL::$type, '{}')", "(SELECT r FROM $type r LIMIT 1)");
			foreach my $nth (0 .. 9)
			{
				my @fields;
				foreach my $column (@columns)
				{
					my $known = $hostile{$column} // ['NULL'];
					push @fields, "($known->[$nth % @$known])::$column";
				}
				push @values, 'ROW(' . join(', ', @fields) . ')';
			}
		}
		$values{$kind} = [ map { "($_)::$type" } 'NULL', @values ];
	}
	return @{ $values{$kind} };
}

# What an argument is while another one is hostile.
sub plain
{
	my ($type, $name, $values) = @_;
	my %plain = (text => 'x', statement => q(SELECT ''x''), regclass => $name eq 'target' ? 'one_text' : 'odd.kept');
	my $plain = $plain{ kind_of($type, $name) };

	return defined $plain ? "'$plain'::$type" : $values->[1];
}

sub pick
{
	my (@from) = @_;

	return $from[ int(rand(@from)) ];
}

# Ways to call an aggregate: over no row, by group, and as a window function.
sub aggregate_calls
{
	my ($name, @arguments) = @_;
	my $columns = join(', ', map { "$arguments[$_] AS a$_" } 0 .. $#arguments);
	my $rows = "FROM (SELECT $columns, n FROM generate_series(1, 15) n) x";
	my $call = join(', ', map { "CASE WHEN n % 5 <> 0 THEN a$_ END" } 0 .. $#arguments);
	my @frames = (
		'',
		'ORDER BY n',
		'PARTITION BY n % 3 ORDER BY n',
		'ORDER BY n ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING',
		'ORDER BY n ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING',
		'ORDER BY n ROWS BETWEEN 3 FOLLOWING AND 5 FOLLOWING',
		'ORDER BY n RANGE BETWEEN 4 PRECEDING AND 2 PRECEDING',
		'ORDER BY n GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE TIES',
		'ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW');

	return (
		"SELECT $name($call) $rows",
		"SELECT $name($call) $rows WHERE false",
		"SELECT $name(DISTINCT $call), $name($call ORDER BY n DESC) $rows",
		"SELECT $name($call) FILTER (WHERE n < 0) $rows",
		"SELECT n % 3, $name($call), $name($call) FILTER (WHERE n > 9) $rows GROUP BY CUBE (n % 3)",
		map { "SELECT $name($call) OVER ($_) $rows" } @frames);
}

# Ways to call a function with these arguments.
sub calls
{
	my ($function, @arguments) = @_;
	my $name = $function->{name};

	return aggregate_calls($name, @arguments) if $function->{kind} eq 'a';
	$arguments[-1] = "VARIADIC $arguments[-1]"
	  if $function->{variadic} && @arguments == @{ $function->{types} } && $arguments[-1] =~ /\[\]$/;
	my $list = join(', ', @arguments);
	return ("SELECT $name($list)", $function->{set} ? "SELECT * FROM $name($list)" : ());
}

# All calls of a function.
sub attacks
{
	my ($function) = @_;
	my @types = @{ $function->{types} };
	my @values = map { [ values_of($types[$_], $function->{names}[$_]) ] } 0 .. $#types;
	my @plain = map { plain($types[$_], $function->{names}[$_], $values[$_]) } 0 .. $#types;
	my @all;

	if (grep { $_ eq '"any"' } @types)
	{
		foreach my $count (1 .. 6, 99)
		{
			push @all, map { [ map { pick(@{ $values[0] }) } 1 .. $count ] } 1 .. $combinations;
		}
		push @all, map { ["VARIADIC $_"] } values_of('text[]', ''), 'NULL', q('x');
		return map { calls($function, @$_) } @all;
	}
	push @all, [ map { $_->[0] } @values ];
	foreach my $nth (0 .. $#types)
	{
		push @all, map { [ @plain[ 0 .. $nth - 1 ], $_, @plain[ $nth + 1 .. $#plain ] ] } @{ $values[$nth] };
	}
	push @all, map { [ map { pick(@$_) } @values ] } 1 .. (@types > 1 ? $combinations : 0);
	push @all, [ @plain[ 0 .. $#types - $_ ] ] foreach 1 .. $function->{defaults};
	return map { calls($function, @$_) } @all;
}

my @functions;
foreach my $row (split /\n/, $roster->sql(q{
	SET search_path = pg_catalog;
	SELECT concat_ws(E'\t', format('%I.%I', n.nspname, p.proname), p.prokind, p.proretset, p.provariadic <> 0,
		p.pronargdefaults,
		(SELECT string_agg(format_type(t.type, NULL), '|' ORDER BY t.nth)
			FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, nth)),
		coalesce(array_to_string(p.proargnames[:p.pronargs], '|', ''), repeat('|', p.pronargs)))
	FROM pg_proc p
	JOIN pg_namespace n ON n.oid = p.pronamespace
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE e.extname = 'minga_roster' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
	ORDER BY p.oid}))
{
	my %function;
	@function{qw(name kind set variadic defaults types names)} = split /\t/, $row, -1;
	$function{$_} = $function{$_} eq 't' foreach qw(set variadic);
	$function{$_} = [ split /\|/, $function{$_} // '', -1 ] foreach qw(types names);
	$function{types} = [] if "@{ $function{types} }" eq '';
	push @functions, \%function;
}
cmp_ok(scalar @functions, '>', 100, 'there are functions');

srand(72);
my $started = $roster->sql('SELECT pg_postmaster_start_time()');
my $seen = 0;
foreach my $function (@functions)
{
	my $title = "$function->{name}(" . join(', ', @{ $function->{types} }) . ')';

	# No one has a value of type internal, not even a NULL.
	if (grep { $_ eq 'internal' } @{ $function->{types} })
	{
		my $nulls = join(', ', ('NULL') x @{ $function->{types} });
		like($roster->error("SELECT $function->{name}($nulls)"), qr/42883: /, "$title cannot be called");
		next;
	}
	my $calls = join('', map { "SELECT attack.call('" . s/'/''/gr . "');\n" } attacks($function));
	foreach my $caller (qw(postgres attacker))
	{
		my ($out, $err) = ('', '');
		$node->psql('postgres', $session . $calls, connstr => $node->connstr('postgres') . " user=$caller",
			on_error_stop => 0, stdout => \$out, stderr => \$err);
		$node->poll_query_until('postgres', 'SELECT true') or BAIL_OUT('the server does not come back');

		my $log = slurp_file($node->logfile, $seen);
		$seen += length($log);
		my $death = qr/was terminated by signal|exited with exit code [^01]|PANIC: |Failed process was running/;
		my @deaths = grep { /$death/ } split /\n/, $log;
		is("@deaths", '', "$title: the server lives, called by $caller");
		is(substr($err, 0, 2000), '', '... and each call is over') if !@deaths;
	}
}

is($roster->sql('SELECT pg_postmaster_start_time()'), $started, 'the server that was started is the one that is there');
is( $roster->sql(q{SELECT caller, state, told, left(min(statement), 400), count(*) FROM attack.outcomes
	WHERE state LIKE 'XX%' OR state = 'ZZ001' GROUP BY caller, state, told}),
	'', 'no error tells of a slip inside, and no one becomes someone else');
note($roster->sql(q{SELECT format('%s calls by %s, %s of them with an error', count(*), caller,
	count(*) FILTER (WHERE state <> '00000')) FROM attack.outcomes GROUP BY caller}));
cmp_ok($roster->sql('SELECT count(*) FROM attack.outcomes'), '>', 5000, 'some thousands of calls were made');
$roster->stop;
done_testing();
