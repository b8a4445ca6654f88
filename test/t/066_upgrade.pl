# Each release with rows in all its tables is updated to the present version: the catalog is that of a fresh
# installation, the rows are there, the school's next sync changes nothing, and the regression tests pass in it. An
# update runs no code that others added, and does not run beside a run.

use strict;
use warnings;

use Cwd qw(getcwd);
use PostgreSQL::Test::Utils;

use Catalog;
use FullDatabase;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $top = getcwd();
my $server = OneRosterServer->new(FullDatabase::school());
my $roster = RosterCluster->new('upgrade');
my $node = $roster->node;

FullDatabase::use_key($roster);
$roster->set(ca_file => $server->ca_file);
my ($version) = slurp_file("$top/minga_roster.control") =~ /^default_version *= *'(.*)'/m;
my @releases = map { m{--([^/]*)\.sql$} } sort glob("$top/sql/releases/*.sql");
cmp_ok(scalar @releases, '>', 0, 'there are releases');

sub in_database
{
	my ($database, $statement) = @_;
	return $node->safe_psql($database, $statement);
}

# The rows of the tables that a database had, in the columns that they had.
sub rows_of
{
	my ($database, $columns) = @_;
	return { map { $_ => in_database($database,
		"SET search_path = pg_catalog; SELECT row($columns->{$_})::text FROM $_ ORDER BY 1") } keys %$columns };
}

FullDatabase::play($server, 3);
in_database('postgres', 'CREATE DATABASE fresh TEMPLATE template0');
in_database('fresh', 'CREATE EXTENSION minga_roster');
my @fresh = Catalog::facts($node, 'fresh');
cmp_ok(scalar @fresh, '>', 3000, 'the catalog says much of a fresh installation');

foreach my $release (@releases)
{
	my $name = "from $release";
	in_database('postgres', "CREATE DATABASE \"$name\" TEMPLATE template0");
	FullDatabase::load($node, $name, $release, "$top/test/releases/$release.dump");
	is(join(' ', FullDatabase::empty_tables($node, $name)), '', "$name: each table has rows");
	my %columns = map { $_ => in_database($name, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM "
			  . "pg_attribute WHERE attrelid = '$_'::regclass AND attnum > 0 AND NOT attisdropped "
			  . "AND attname !~ 'origin\$'") }
	  grep { !/function_levels|table_levels/ } FullDatabase::tables($node, $name);
	my $before = rows_of($name, \%columns);

	# What a deployment adds: a view on ours, and rights. Planted: evenings, for which pg_cron would be needed here.
	in_database($name, <<'SQL');
CREATE VIEW public.overview AS SELECT connection, site, last_state FROM minga_roster.roster_status;
GRANT SELECT ON public.overview TO mesa_reader;
GRANT SELECT ON minga_roster.runs TO mesa_reader;
UPDATE minga_roster.connections SET enabled_origin = minga_roster_internal.server_origin()
WHERE connection = 'mesa-high';
GRANT EXECUTE ON FUNCTION minga_roster.roster_run_due() TO mesa_reader;
CREATE POLICY dashboards ON minga_roster.runs FOR SELECT TO mesa_reader USING (false);
SQL

	# The library refuses to work with the schema of another version.
	like((
		$node->psql($name,
			"\\set VERBOSITY verbose\nSELECT minga_roster.roster_sync('mesa-high')"))[2],
		RosterCluster::in_order(
			qr/ERROR:  55000: the library of minga_roster is version \Q$version\E, /,
			qr/and its schema is version \Q$release\E/,
			qr/HINT:  .*ALTER EXTENSION minga_roster UPDATE/),
		"$name: a sync before the update is refused");
	is(in_database($name, 'SELECT count(*) FROM minga_roster.runs'), '9', '... and leaves no run');
	isnt(in_database($name, 'SELECT count(*) FROM minga_roster.roster_joiners'), '0',
		'... what is on record can be read');

	# Code that others added
	my %planted = (
		'CREATE FUNCTION minga_roster_internal.figure(integer) RETURNS text LANGUAGE sql RETURN current_user' =>
		  qr/42P15: a schema of minga_roster has an object .* function minga_roster_internal\.figure\(integer\)/s,
		'CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$; '
		  . 'CREATE TRIGGER evil BEFORE UPDATE ON minga_roster.runs FOR EACH ROW EXECUTE FUNCTION public.evil()' =>
		  qr/42P16: a table of minga_roster calls a function .* trigger evil on table runs/s,
		'CREATE FUNCTION public.wicked() RETURNS boolean LANGUAGE sql RETURN true; '
		  . 'ALTER TABLE minga_roster.sis ADD CONSTRAINT wicked CHECK (public.wicked()) NOT VALID' =>
		  qr/42P16: a table of minga_roster calls a function .* constraint wicked on table sis/s,
		'CREATE FUNCTION public.worse() RETURNS text LANGUAGE sql IMMUTABLE RETURN 1; '
		  . 'ALTER TABLE minga_roster.sis ALTER scope SET DEFAULT public.worse()' =>
		  qr/42P16: a table of minga_roster calls a function .* default value for column scope of table sis/s);
	in_database($name, 'GRANT CREATE ON SCHEMA public TO minga_roster_dba');
	foreach my $plant (sort keys %planted)
	{
		# In a transaction of its own: nothing of it stays.
		my ($rc, $stdout, $stderr) = $node->psql($name, "\\set VERBOSITY verbose\nBEGIN; SET ROLE minga_roster_dba; "
			  . "$plant; RESET ROLE; ALTER EXTENSION minga_roster UPDATE");
		like($stderr, $planted{$plant}, "$name: not with what a member of the role added");
	}
	in_database($name, 'REVOKE CREATE ON SCHEMA public FROM minga_roster_dba');
	in_database($name, 'CREATE FUNCTION minga_roster.mine() RETURNS integer LANGUAGE sql RETURN 1');

	in_database($name, 'ALTER EXTENSION minga_roster UPDATE');
	in_database($name, 'DROP FUNCTION minga_roster.mine()');
	is(in_database($name, "SELECT count(*) FROM public.overview"), '2', "$name: a view on ours still works");
	is(in_database($name, "SELECT has_function_privilege('mesa_reader', 'minga_roster.roster_run_due()', 'EXECUTE'), "
		  . "has_table_privilege('mesa_reader', 'minga_roster.runs', 'SELECT')"), 't|t', '... rights are kept');
	is(in_database($name, "SELECT polname FROM pg_policy WHERE polname <> 'levels'"), 'dashboards',
		'... and a policy');
	my ($dump) = run_command([ 'pg_dump', '-s', '-d', $node->connstr($name) ]);
	like($dump, qr/^GRANT ALL ON FUNCTION minga_roster\.roster_run_due\(\) TO mesa_reader/m,
		'... a dump has the right to call a function');
	like($dump, qr/^GRANT SELECT ON TABLE minga_roster\.runs TO mesa_reader/m, '... and to read a table');
	in_database($name, 'DROP VIEW public.overview; REVOKE ALL ON minga_roster.runs FROM mesa_reader; '
		  . 'REVOKE ALL ON FUNCTION minga_roster.roster_run_due() FROM mesa_reader; '
		  . 'DROP POLICY dashboards ON minga_roster.runs');

	my @updated = grep { !/privilege\|minga_roster\|USAGE TO mesa_reader/ } Catalog::facts($node, $name);
	is(join("\n", Catalog::differences('only updated', \@updated, 'only fresh', \@fresh)), '',
		"$name: the catalog is that of a fresh installation");
	my $after = rows_of($name, \%columns);
	foreach my $table (sort keys %columns)
	{
		next if $table =~ /\.(?:sis|role_rules)$/;
		is($after->{$table}, $before->{$table}, "$name: $table has its rows");
	}

	# What was done here is still known for that.
	is(in_database($name, "SELECT (SELECT count(*) FROM minga_roster.outbox WHERE origin = h.here) > 0, "
		  . "(SELECT count(*) FROM minga_roster.role_levels WHERE origin = h.here) > 0, "
		  . "(SELECT enabled_origin = h.here FROM minga_roster.connections WHERE connection = 'mesa-high') "
		  . "FROM (SELECT minga_roster_internal.server_origin() AS here) h"), 't|t|t',
		"$name: mail, levels and evenings are those of this database");

	# The school goes on where it was.
	is(in_database($name, 'SELECT minga_roster.roster_rotate_key()'), '0', "$name: secrets open");
	FullDatabase::meet($node, $name, $server);
	is(in_database($name, "SELECT state, created, linked, updated, restored, archived, held FROM "
		  . "minga_roster.roster_sync('mesa-high')"), 'succeeded|0|0|0|0|0|0', "$name: a sync changes nothing");
	is(in_database($name, "SELECT state, created > 50 FROM minga_roster.roster_apply(6)"), 'succeeded|t',
		'... a preview of the old version is applied');
	like(in_database($name, 'SELECT minga_roster.roster_report(5)'), qr/people/i, '... an old run can be reported');
}

# The tests of the suite's core, in a database that was updated.
my @tests = qw(setup toggle plan_matching guard_limits undo_run reports access_rows teardown);
in_database('postgres', 'CREATE DATABASE contrib_regression TEMPLATE template0');
in_database('contrib_regression', "CREATE EXTENSION minga_roster VERSION '$releases[0]'");
in_database('contrib_regression', 'ALTER EXTENSION minga_roster UPDATE');
my $output = PostgreSQL::Test::Utils::tempdir();
# pg_regress of all versions looks there first.
symlink("$top/expected", "$output/expected") or die "could not link the expected output: $!";
in_database('postgres', "LOAD 'minga_roster'; ALTER SYSTEM RESET ALL");
ok(run_log(
	[ $ENV{PG_REGRESS}, '--use-existing', '--dbname=contrib_regression', "--inputdir=$top/test", "--outputdir=$output",
		'--host=' . $node->host, '--port=' . $node->port, @tests ]),
	'regression tests in an updated database')
  or diag(-e "$output/regression.diffs" ? slurp_file("$output/regression.diffs") : 'no differences');

# Beside a run. The library works with its own version alone, so the database says only now that it is older.
$roster->set(ca_file => $server->ca_file);
$roster->set(key_file => $roster->key_file);
$roster->connect_school('mesa-high', $server);
$server->faults({ hang => { path => 'students' } });
my $run = $roster->sql("SELECT roster_start('mesa-high', 'fetch')");
$roster->wait_for("SELECT state = 'running' FROM runs WHERE run = $run");
my $older = "UPDATE pg_extension SET extversion = '$releases[0]' WHERE extname = 'minga_roster'";
like((
	$node->psql('postgres', "\\set VERBOSITY verbose\nBEGIN; $older; ALTER EXTENSION minga_roster UPDATE"))[2],
	RosterCluster::in_order(qr/ERROR:  55006: minga_roster cannot be updated while a run works/,
		qr/HINT:  Wait for it, or cancel its run/), 'no update beside a run');
$roster->sql("SELECT roster_cancel($run)");
$roster->wait_for("SELECT state = 'canceled' FROM runs WHERE run = $run");
$roster->wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'minga_roster')");
$server->clear_faults;

# pg_cron between an upgrade of the package and that of the extension
$roster->sql($older);
like($roster->error("SELECT roster_run_due()"), qr/ERROR:  55000: the library of minga_roster is version/,
	'no evening with the schema of another version');

$roster->stop;
$server->stop;
done_testing();
