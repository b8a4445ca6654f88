# What a database sets is no matter to the extension: it is installed, updated and runs where a backslash in a string
# means something and a role is set. And an update script can add a column with a default to each of its tables.
use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

# A secret that ends in what "\s" becomes without its backslash.
my $server = OneRosterServer->new(people => 40, seed => 65, client_secret => 'secrets');
my $roster = RosterCluster->new('settings');
my $node = $roster->node;

sub warnings_of
{
	my ($statement) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $statement);
	return $err;
}

# Backslashes in strings

$roster->sql('DROP EXTENSION minga_roster; ALTER DATABASE postgres SET standard_conforming_strings = off; '
	  . 'ALTER DATABASE postgres SET escape_string_warning = on');
is(warnings_of('CREATE EXTENSION minga_roster'), '',
	'with standard_conforming_strings = off the extension is installed, and no string of it means something else');
is($roster->sql('SHOW standard_conforming_strings'), 'off', '... in a database that has it so');
$roster->connect_school('mesa', $server);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded',
	'a secret that ends in s is taken, and a sync runs');
is($roster->sql('SELECT count(*) > 0 FROM people'), 't', '... and makes people');
# Functions that views and policies call have no settings of their own.
is($roster->sql("SELECT minga_roster_internal.cut(repeat('a', 9), 4), minga_roster_internal.wrapped(E'a b\\ts', 1), "
	  . "minga_roster_internal.ownership_unit('parents')"),
	"aaa\x{e2}\x{80}\x{a6}|{a,b,s}|parents", 'what is called outside of the door reads its strings the same way');

# A role of the database

$roster->sql('CREATE ROLE of_database; ALTER DATABASE postgres SET role = of_database');
$ENV{PGOPTIONS} = '-c role=none';
my $run = $roster->sql("SELECT roster_start('mesa', 'sync')");
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE run = $run AND state NOT IN ('queued', 'running')");
is($roster->sql("SELECT state, error FROM runs WHERE run = $run"), 'succeeded|',
	'a worker does not take the role of the database');
# What a worker does after its run would lock the tables in another order than what follows.
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'minga_roster%'");
$roster->sql('ALTER DATABASE postgres RESET role');
delete $ENV{PGOPTIONS};

# Update scripts: each table with rows in it can get a column that has a default.

my @tables = split /\n/, $roster->sql("SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.objid = c.oid "
	  . "AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension "
	  . "WHERE extname = 'minga_roster') WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1");
cmp_ok(scalar @tables, '>', 20, 'the tables of the extension');
is(warnings_of(join ' ', 'BEGIN;', (map { "ALTER TABLE $_ ADD COLUMN made_later integer NOT NULL DEFAULT 7;" } @tables),
	'ROLLBACK'), '', 'each can get a column with a default: no other object uses its row type');

done_testing();
