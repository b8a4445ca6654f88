# A database moves: by pg_dump and a parallel restore, from the dump of a release, by pg_upgrade, to a standby that is
# promoted, by logical replication of people, and through DROP EXTENSION with saved links. Each table has rows, they
# come along, and a sync afterwards changes nothing.
# UPGRADE_BINDIR=DIRECTORY[:DIRECTORY …] moves it by dumps and by pg_upgrade through other versions of PostgreSQL.
# RELEASE_DATA=FILE writes the rows for sql/releases (docs/develop.md).

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

use Catalog;
use Cwd qw(getcwd);
use FullDatabase;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $top = getcwd();
my $server = OneRosterServer->new(FullDatabase::school());
my $roster = RosterCluster->new('moves', init => { allows_streaming => 'logical' });
my $node = $roster->node;
my $files = PostgreSQL::Test::Utils::tempdir();

FullDatabase::use_key($roster);
FullDatabase::fill($roster, $server);
is(join(' ', FullDatabase::empty_tables($node, 'postgres')), '', 'each table has rows');
is($node->safe_psql('postgres', "SELECT count(birth_date) > 50, count(*) FILTER (WHERE preferred_name ~ '^Annie') > 0 "
	  . 'FROM public.people'), 't|t',
	'... people have birth dates, and values from paths');
FullDatabase::write_file($roster, $ENV{RELEASE_DATA}) if $ENV{RELEASE_DATA};
# Without its job: an evening would come between what is compared. The enrollment that is on hold stays so.
$roster->sql("SELECT roster_configure('mesa-high', guard_percent => 0, guard_floor => 0), "
	  . "roster_enable('mesa-high'); UPDATE cron.job SET active = false");

# The rows of the tables that a dump carries, in the columns that both versions have.
sub dumped_rows
{
	my ($here, $database, $columns) = @_;
	my @tables = split /\n/, $here->safe_psql($database, 'SET search_path = pg_catalog; SELECT u.config::regclass '
		  . "FROM pg_extension e CROSS JOIN unnest(e.extconfig) u (config) JOIN pg_class c ON c.oid = u.config "
		  . "WHERE e.extname = 'minga_roster' AND c.relkind = 'r' ORDER BY 1");
	my %rows;

	foreach my $table (@tables)
	{
		$columns->{$table} //= $here->safe_psql($database, "SELECT string_agg(quote_ident(attname), ', ' ORDER BY "
			  . "attnum) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped");
		$rows{$table} = $here->safe_psql($database,
			"SET search_path = pg_catalog; SELECT row($columns->{$table})::text FROM $table ORDER BY 1");
	}
	return \%rows;
}

# The names of the tables whose rows are not the same.
sub different
{
	my ($rows, $others) = @_;
	return join ' ', grep { !defined $others->{$_} || $rows->{$_} ne $others->{$_} } sort keys %$rows;
}

# Where the rows are that an unchanged sync must not write, not even with the values that they have.
sub places
{
	my ($here, $database) = @_;
	return join "\n", map { "$_ " . $here->safe_psql($database,
		"SELECT count(*), md5(string_agg(ctid::text || xmin::text, ',' ORDER BY ctid)) FROM $_") }
	  'public.people', map { "minga_roster.$_" } qw(links written_values stored_values column_paths academic_sessions
	  courses classes enrollment_rows contact_rows user_rows);
}

# What a sync does where nothing changed in the SIS: to people, to how many kinds of classes and contacts, and whether
# it left rows where they were.
sub sync
{
	my ($here, $database) = @_;
	my $places = places($here, $database);
	my $people = $here->safe_psql($database, 'SELECT state, created, linked, updated, restored, archived, held FROM '
		  . "minga_roster.roster_sync('mesa-high')");
	my $objects = $here->safe_psql($database, 'SELECT count(*), count(*) FILTER (WHERE added + changed + returned + '
		  . 'ended > 0) FROM minga_roster.run_objects WHERE run = (SELECT max(run) FROM minga_roster.runs)');
	my $after = places($here, $database);
	is($after, $places, 'a sync writes no row') if $people =~ /^\w+\|0\|0\|0\|0\|0\|0$/;
	return "$people, $objects";
}
my $unchanged = 'succeeded|0|0|0|0|0|0, 7|0';

# pg_dump and pg_restore -j
my %columns;
my $rows = dumped_rows($node, 'postgres', \%columns);
cmp_ok(scalar keys %$rows, '>', 25, 'a dump carries tables');
command_ok([ 'pg_dump', '-Fd', '-d', $node->connstr('postgres'), '-f', "$files/dump" ], 'pg_dump');
my ($list) = run_command([ 'pg_restore', '-l', "$files/dump" ]);
append_to_file("$files/list", join "\n", (grep { !/ cron | pg_cron/ } split /\n/, $list), '');
foreach my $jobs (1, 4)
{
	my $copy = "copy_$jobs";
	$node->safe_psql('postgres', "CREATE DATABASE $copy TEMPLATE template0");
	command_ok([ 'pg_restore', '-e', '-j', $jobs, '-L', "$files/list", '-d', $node->connstr($copy), "$files/dump" ],
		"pg_restore -j $jobs");
	is(different($rows, dumped_rows($node, $copy, \%columns)), '', '... has the same rows');
	is(join("\n", Catalog::differences('the copy', [ Catalog::facts($node, $copy) ], 'the original',
		[ Catalog::facts($node, 'postgres') ])), '', '... and the same catalog');
	like($node->safe_psql($copy,
		"SELECT blocked_reason FROM minga_roster.roster_status WHERE connection = 'mesa-high'"),
		qr/copy|restored/i, '... and is known for a copy');
}
is(sync($node, 'copy_4'), $unchanged, 'a sync of the copy changes nothing');

# The dump of a release, restored where the present version is installed
my ($release) = map { m{--([^/]*)\.sql$} } sort glob("$top/sql/releases/*.sql");
$node->safe_psql('postgres', "CREATE DATABASE former TEMPLATE template0");
$node->safe_psql('postgres', 'CREATE DATABASE present TEMPLATE template0');
FullDatabase::load($node, 'former', $release, "$top/test/releases/$release.dump");
my %former;
my $former_rows = dumped_rows($node, 'former', \%former);
command_ok([ 'pg_dump', '-Fd', '-d', $node->connstr('former'), '-f', "$files/former" ], "pg_dump of $release");
command_ok([ 'pg_restore', '-e', '-j', 4, '-d', $node->connstr('present'), "$files/former" ],
	"pg_restore of a dump of $release");
is(different($former_rows, dumped_rows($node, 'present', \%former)), '', '... has the same rows');
isnt($node->safe_psql('present', "SELECT extversion FROM pg_extension WHERE extname = 'minga_roster'"), $release,
	'... in the present version');
FullDatabase::meet($node, 'present', $server);
is(sync($node, 'present'), $unchanged =~ s/7/0/r, '... and a sync changes nothing');

# A standby reads, and refuses in one way what writes; promoted, it goes on.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "cron.database_name = 'nowhere'");
$standby->start;
$node->wait_for_catchup($standby);
like($standby->safe_psql('postgres', 'SELECT minga_roster.roster_report(max(run)) FROM minga_roster.runs '
	  . "WHERE kind = 'sync'"), qr/Mesa|school/i, 'a standby reports');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM minga_roster.roster_status'), '2', '... shows the status');
isnt($standby->safe_psql('postgres', 'SELECT count(*) FROM minga_roster.roster_health()'), '0', '... and its health');
foreach my $call ("roster_toggle('mesa-high', 'student', archive => true)", "roster_sync('mesa-high')",
	"roster_configure('mesa-high', guard_percent => 5)", "roster_enable('mesa-high')", "roster_run_due()",
	"roster_set_secret('mesa-high', 'x')", "roster_notify('mesa-high', 'a\@b.example')",
	"roster_decide('mesa-high', 'new-2', 'skip')", "roster_forget('mesa', sourced_id => 'new-2')",
	"roster_grant('mesa_reader', 'owner', site => 'mesa')", 'roster_rotate_key()')
{
	my ($name) = $call =~ /^(\w+)/;
	like(($standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT minga_roster.$call"))[2],
		RosterCluster::in_order(qr/ERROR:  25006: cannot execute $name during recovery/,
			qr/HINT:  Call it on the primary server/), "... and refuses $name");
}

# People are replicated: a subscriber gets what a sync changes.
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init;
$subscriber->start;
my ($definition) = run_command([ 'pg_dump', '-s', '-t', 'public.people', '-d', $node->connstr('postgres') ]);
$definition = join "\n", grep { !/^\\|OWNER TO|^(?:CREATE TRIGGER|SELECT pg_catalog\.set_config)/ }
  split /\n/, $definition;
$subscriber->safe_psql('postgres', $definition);
$roster->sql('CREATE PUBLICATION people FOR TABLE public.people');
$subscriber->safe_psql('postgres', 'CREATE SUBSCRIPTION people CONNECTION '
	  . RosterCluster::quote($node->connstr('postgres')) . ' PUBLICATION people');
$subscriber->wait_for_subscription_sync($node, 'people');
FullDatabase::play($server, 4);
$roster->sql("SELECT roster_configure('mesa-high', guard_percent => 100, guard_floor => 5)");
my $changed = $roster->sql("SELECT created + updated + archived FROM roster_sync('mesa-high')");
cmp_ok($changed, '>', 5, 'a sync changes people');
$node->wait_for_catchup('people');
my $people = 'SELECT md5(string_agg(p::text, \',\' ORDER BY person_id)) FROM public.people p';
is($subscriber->safe_psql('postgres', $people), $roster->sql($people), '... and the subscriber has them so');
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION people');
$subscriber->stop;

$node->wait_for_catchup($standby);
$standby->promote;
is(sync($standby, 'postgres'), $unchanged, 'a promoted standby goes on');
is($standby->safe_psql('postgres', "SELECT c.enabled_origin = minga_roster_internal.server_origin() "
	  . "FROM minga_roster.connections c WHERE connection = 'mesa-high'"), 't', '... with its evenings');
$standby->stop;

# To another server, of another version with UPGRADE_BINDIR: by pg_upgrade, and by the dump of the newer pg_dump
my @bindirs = split /:/, $ENV{UPGRADE_BINDIR} // $node->config_data('--bindir');
$roster->sql('DROP PUBLICATION people');
$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(copy_1 copy_4 former present);
my $settings = join "\n", (grep { /^(?:shared_preload|cron\.|max_worker|jit|minga_roster\.)/ } split /\n/,
	slurp_file($node->data_dir . '/postgresql.conf')), "minga_roster.ca_file = '" . $server->ca_file . "'";

sub new_server
{
	my ($name, $bindir, $old) = @_;
	my $new = PostgreSQL::Test::Cluster->new($name, $ENV{UPGRADE_BINDIR} ? (install_path => "$bindir/..") : ());
	my ($version) = (run_command([ "$bindir/pg_config", '--version' ]))[0] =~ /(\d+)/;
	# Since 18 the default, and pg_upgrade wants both servers to have them or not.
	my $checksums = $version >= 18 && $old->safe_psql('postgres', 'SHOW data_checksums') eq 'off';

	$new->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', $checksums ? '--no-data-checksums' : () ]);
	$new->append_conf('postgresql.conf', "$settings\n");
	return ($new, $version);
}

# Minor releases since 15.20 note a version with each column, which the pg_dump of an older minor release of the new
# version cannot restore, whatever the table.
sub forget_versions
{
	my ($here, $bindir) = @_;

	return if slurp_file("$bindir/pg_dump") =~ /pg_attver/;
	$here->safe_psql('postgres', "UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text ~ '^.pg_attver='");
	return;
}

# Whether a database that moved has the catalog of a fresh installation there. MAINTAIN is there since 17, and
# pg_upgrade notes it as a first privilege of the owner.
sub compare_with_fresh
{
	my ($here, $what) = @_;
	my $expected_to_differ = qr/^initial privilege\|[^|]*\|MAINTAIN |privilege\|minga_roster\|USAGE TO mesa_reader/;

	$here->safe_psql('postgres', 'CREATE DATABASE fresh TEMPLATE template0');
	$here->safe_psql('fresh', 'CREATE EXTENSION minga_roster');
	my ($moved, $fresh) = map { [ grep { !/$expected_to_differ/ } Catalog::facts($here, $_) ] } qw(postgres fresh);
	is(join("\n", Catalog::differences('what moved', $moved, 'a fresh one', $fresh)), '',
		"... the catalog is that of a fresh installation of $what");
	$here->safe_psql('postgres', 'DROP DATABASE fresh');
	return;
}

my ($upgraded, $restored) = ($node, $node);
foreach my $bindir (@bindirs)
{
	if ($ENV{UPGRADE_BINDIR})
	{
		my ($new, $version) = new_server("restored_$bindir" =~ s/\W+/_/gr, $bindir, $restored);
		my $dump = "$files/dump_$version";

		$new->start;
		forget_versions($restored, $bindir);
		$rows = dumped_rows($restored, 'postgres', \%columns);
		# The superuser is there already.
		my ($roles) = run_command([ "$bindir/pg_dumpall", '-g', '-d', $restored->connstr('postgres') ]);
		$new->safe_psql('postgres', join "\n", grep { !/^\\|^(?:CREATE|ALTER) ROLE postgres\b/ } split /\n/, $roles);
		# A dump of pg_cron before 1.6 would make it in a schema that later versions refuse.
		$new->safe_psql('postgres', 'CREATE EXTENSION pg_cron');
		command_ok([ "$bindir/pg_dump", '-Fd', '-d', $restored->connstr('postgres'), '-f', $dump ],
			"pg_dump of PostgreSQL $version");
		command_ok([ "$bindir/pg_restore", '-e', '-j', 4, '-d', $new->connstr('postgres'), $dump ], '... pg_restore');
		is(different($rows, dumped_rows($new, 'postgres', \%columns)), '', '... has the same rows');
		compare_with_fresh($new, "PostgreSQL $version");
		like($new->safe_psql('postgres',
			"SELECT blocked_reason FROM minga_roster.roster_status WHERE connection = 'mesa-high'"),
			qr/copy|restored/i, '... is known for a copy');
		$new->safe_psql('postgres', "SELECT minga_roster.roster_enable('mesa-high'); "
			  . 'UPDATE cron.job SET active = false');
		is(sync($new, 'postgres'), $unchanged, "... and a sync on PostgreSQL $version changes nothing");
		$restored->stop if $restored->name ne $node->name;
		$restored = $new;
	}

	my ($new, $version) = new_server("upgraded_$bindir" =~ s/\W+/_/gr, $bindir, $upgraded);
	$rows = dumped_rows($upgraded, 'postgres', \%columns);
	forget_versions($upgraded, $bindir);
	$upgraded->stop;
	chdir($files) or die "could not change to $files: $!";
	command_ok([ "$bindir/pg_upgrade", '-b', $upgraded->config_data('--bindir'), '-B', $bindir, '-d',
		$upgraded->data_dir, '-D', $new->data_dir, '-s', $new->host, '-p', $upgraded->port, '-P', $new->port ],
		"pg_upgrade to PostgreSQL $version");
	chdir($top) or die "could not change to $top: $!";
	$new->start;
	is(different($rows, dumped_rows($new, 'postgres', \%columns)), '', '... has the same rows');
	compare_with_fresh($new, "PostgreSQL $version");
	is($new->safe_psql('postgres', "SELECT paused_cause IS NULL AND c.enabled_origin = "
		  . "minga_roster_internal.server_origin() FROM minga_roster.connections c WHERE connection = 'mesa-high'"),
		't', '... evenings go on');
	is(sync($new, 'postgres'), $unchanged, "... and a sync on PostgreSQL $version changes nothing");
	$upgraded = $new;
}
$restored->stop if $restored->name ne $node->name;
my $new = $upgraded;

# DROP EXTENSION, and create it again with the links that were saved
my $m = 'SET search_path = public, minga_roster;';
my ($secret, $url) = map { RosterCluster::quote($_) } $server->client_secret, $server->url;
my $reconnect = "$m SELECT roster_attach_people('public.people'); SELECT roster_connect('mesa-high', url => $url, "
  . "client_id => '@{[$server->client_id]}', client_secret => $secret, app_name => 'minga', school_id => "
  . "'@{[$server->school_id]}', people => 'public.people', site => 'mesa', time_zone => 'America/Denver'); "
  . "SELECT roster_toggle('mesa-high', auto_update => true, archive => true); "
  . "SELECT roster_configure('mesa-high', parent_contact => true, guard_percent => 100);";
$new->safe_psql('postgres', "$m CREATE TABLE saved_links AS SELECT connection, roster_export_links(connection) "
	  . 'AS links FROM connections; UPDATE people SET identifier = NULL, email = NULL '
	  . 'WHERE person_id = (SELECT p.person_id FROM '
	  . "people p JOIN links l ON l.person_id = p.person_id::text WHERE l.connection = 'mesa-high' "
	  . "AND p.archived_at IS NULL AND p.role = 'student' ORDER BY 1 LIMIT 1)");
my $links = $new->safe_psql('postgres', "SELECT count(*) FROM minga_roster.links");
$new->safe_psql('postgres', 'DROP EXTENSION minga_roster; CREATE EXTENSION minga_roster');
$new->safe_psql('postgres', $reconnect);
like(($new->psql('postgres', "\\set VERBOSITY verbose\nSELECT minga_roster.roster_import_links('mesa-high', "
		  . "jsonb_set(links, '{site}', '\"elsewhere\"')) FROM saved_links WHERE connection = 'mesa-high'"))[2],
	qr/ERROR:  22023: invalid value for links: "site elsewhere, /, 'links of another site are refused');
like(($new->psql('postgres', "\\set VERBOSITY verbose\nSELECT minga_roster.roster_import_links('mesa-high', '{}')"))[2],
	qr/ERROR:  22023: invalid value for links: "\{\}"/, '... and what is no export');
is($new->safe_psql('postgres', "SELECT minga_roster.roster_import_links(connection, links) FROM saved_links "
	  . "WHERE connection = 'mesa-high'"), $links, 'the links are imported');
like(($new->psql('postgres', "\\set VERBOSITY verbose\nSELECT minga_roster.roster_import_links(connection, links) "
		  . "FROM saved_links WHERE connection = 'mesa-high'"))[2],
	qr/ERROR:  55000: connection "mesa-high" has links already/, '... once');
# Who was forgotten is not in an export, and is known by identifier now.
like(sync($new, 'postgres'), qr/^succeeded\|0\|1\|1\|0\|0\|0,/,
	'a sync creates no one, and gives the student back what the SIS has');
is($new->safe_psql('postgres', 'SELECT sourced_id FROM minga_roster.links WHERE linked_run > 0'), 'new-4',
	'... and links only who was forgotten');

$new->stop;
$server->stop;
done_testing();
