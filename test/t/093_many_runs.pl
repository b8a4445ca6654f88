# Many runs, one after the other, in workers that live for whole evenings: the memory of a worker, the files of the
# database and the size of its catalogs stay as they are. Each fifth school reads classes and contacts too. By default
# some evenings of some schools; RUNS=10000 plays that many (an hour or two), and prints a line for each evening. Open
# files of a worker cannot be counted: it hides them, as it hides its secrets.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;
use Time::HiRes qw(usleep);

# Within its first forty runs a worker still meets what it has not met before.
my $runs = $ENV{RUNS} // 180;
my $schools = $runs > 1000 ? 100 : 60;
my $evenings = int($runs / $schools);
my $server = OneRosterServer->new(people => 20, seed => 5);
my $roster = RosterCluster->new('many_runs', conf => "minga_roster.max_workers = 1\nautovacuum_naptime = 1\n");
my $node = $roster->node;
my $data = $node->data_dir;
my $database = $roster->sql("SELECT oid FROM pg_database WHERE datname = 'postgres'");

sub files { my @all = glob("$data/base/$database/*"); return scalar @all; }
sub temporary { my @all = glob("$data/base/pgsql_tmp/*"); return scalar @all; }

# The memory of a process that is its own, in kB; 0 when it is gone.
sub memory
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return 0;
	my $status = do { local $/; <$file> };
	return $status =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

$roster->connect_school('s1', $server);
$roster->sql("SELECT count(roster_connect('s' || n, url => '" . $server->url . "', client_id => '" . $server->client_id
	  . "', client_secret => " . RosterCluster::quote($server->client_secret) . ", app_name => '" . $server->app_name
	  . "', school_id => '" . $server->school_id . "', people => 'public.people', time_zone => 'America/Denver')) "
	  . "FROM generate_series(2, $schools) n");
$roster->sql("INSERT INTO people (site, role, given_name, family_name) SELECT site, 'owner', 'The', 'Owner' "
	  . "FROM connections; SELECT roster_toggle(connection, auto_update => true, archive => true) FROM connections; "
	  . "SELECT roster_configure(connection, classes => true, contacts => true) FROM connections "
	  . "WHERE substr(connection, 2)::integer % 5 = 0; "
	  . "UPDATE connections SET automatic = true, enabled_origin = server_origin(), enabled_at = "
	  . "'2026-01-03 12:00+00'");
my $catalogs = "SELECT sum(pg_relation_size(oid)) / 1024 FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace "
  . "AND relkind = 'r'";
my (@catalog_size, @files, @grown);
foreach my $evening (1 .. $evenings)
{
	my $clock = $roster->sql("SELECT '2026-01-02 12:00+00'::timestamptz + $evening * interval '1 day' "
		  . "+ interval '14 hours'");
	my %memory;    # when so many runs were over

	$server->day($evening);
	$roster->set(test_clock => $clock);
	$roster->sql('SELECT roster_run_due()');
	my $done = 0;
	my $give_up = time + 60 + 20 * $schools;
	while ($done < $schools)
	{
		die "evening $evening is not over" if time > $give_up;
		usleep(100_000);
		my ($finished, $pid) = split /\|/, $roster->sql('SELECT (SELECT count(*) FROM runs '
			  . "WHERE finished_at IS NOT NULL AND queued_at = '$clock'), "
			  . "coalesce((SELECT max(pid) FROM runs WHERE state = 'running'), 0)");
		my $kilobytes = $pid == 0 ? 0 : memory($pid);
		$memory{$finished} = $kilobytes if $kilobytes > 0;
		$done = $finished;
	}
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	# What a truncated table had is removed by a checkpoint.
	$roster->sql('CHECKPOINT');
	push @catalog_size, int($roster->sql($catalogs));
	push @files, files();
	# What a run adds once the worker has met all there is: over the last third of the evening.
	my @late = grep { $_ >= 2 * $schools / 3 } sort { $a <=> $b } keys %memory;
	push @grown, @late > 1 ? ($memory{ $late[-1] } - $memory{ $late[0] }) / ($late[-1] - $late[0]) : 0;
	my ($least, $most) = (sort { $a <=> $b } values %memory)[ 0, -1 ];
	diag(sprintf '%d runs: worker %d to %d kB, %.0f kB for each late run, catalogs %d kB, %d files, %d temporary',
		$evening * $schools, $least // 0, $most // 0, $grown[-1], $catalog_size[-1], $files[-1], temporary())
	  if $runs > 1000;
}
is($roster->sql("SELECT count(*) FROM runs WHERE state <> 'succeeded'"), '0', 'each run succeeded');
is($roster->sql('SELECT count(*) FROM runs'), $evenings * $schools, '... and there were as many as should be');
is($roster->sql("SELECT count(DISTINCT run) FROM run_objects WHERE object = 'enrollment'"),
	$evenings * int($schools / 5), '... with classes where they are read');
# One evening may do something for the first time in its last third.
my ($grown) = (sort { $a <=> $b } @grown)[ @grown / 2 ];
cmp_ok($grown, '<', 100, 'a run adds next to nothing to the memory of its worker (kB)');
my $middle = int(@files / 2);
cmp_ok($files[-1] - $files[$middle], '<=', 30, 'the database does not get more files');
cmp_ok($catalog_size[-1], '<=', 1.1 * $catalog_size[$middle] + 512, '... its catalogs stay as large as they are');
is(temporary(), 0, 'no temporary file is left');
is($roster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', 'no lock is left');
is($roster->sql("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND NOT EXISTS (SELECT FROM pg_stat_activity "
	  . "WHERE backend_type = 'minga_roster')"), '0', 'no temporary table is left');
note("memory: $grown kB a run; catalogs: @catalog_size kB; files: @files");

$roster->stop;
$server->stop;
done_testing();
