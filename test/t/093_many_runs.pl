# Many runs, one after the other, in workers that live for whole evenings: memory and open files of a worker, files of
# the database and the size of its catalogs stay as they are. By default some evenings of some schools;
# RUNS=10000 plays that many (an hour), and prints a line for each evening.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $runs = $ENV{RUNS} // 120;
my $schools = $runs > 1000 ? 100 : 15;
my $evenings = int($runs / $schools);
my $server = OneRosterServer->new(people => 20, seed => 5);
my $roster = RosterCluster->new('many_runs', conf => "minga_roster.max_workers = 1\nautovacuum_naptime = 1\n");
my $node = $roster->node;
my $data = $node->data_dir;
my $database = $roster->sql("SELECT oid FROM pg_database WHERE datname = 'postgres'");

sub files { my @all = glob("$data/base/$database/*"); return scalar @all; }
sub temporary { my @all = glob("$data/base/pgsql_tmp/*"); return scalar @all; }

# VmRSS without what it shares (kB), and open files of a process; nothing when it is gone.
sub process
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/status" or return;
	my $status = do { local $/; <$file> };
	my ($kilobytes) = $status =~ /^RssAnon:\s+(\d+)/m or return;
	my @open = glob("/proc/$pid/fd/*");
	return ($kilobytes, scalar @open);
}

$roster->connect_school('s1', $server);
$roster->sql("SELECT count(roster_connect('s' || n, url => '" . $server->url . "', client_id => '" . $server->client_id
	  . "', client_secret => " . RosterCluster::quote($server->client_secret) . ", app_name => '" . $server->app_name
	  . "', school_id => '" . $server->school_id . "', people => 'public.people', time_zone => 'America/Denver')) "
	  . "FROM generate_series(2, $schools) n");
$roster->sql("INSERT INTO people (site, role, given_name, family_name) SELECT site, 'owner', 'The', 'Owner' "
	  . "FROM connections; SELECT roster_toggle(connection, auto_update => true, archive => true) FROM connections; "
	  . "UPDATE connections SET automatic = true, enabled_origin = server_origin(), enabled_at = '2026-01-03'");
my $catalogs = "SELECT sum(pg_relation_size(oid)) / 1024 FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace "
  . "AND relkind = 'r'";
my (@catalog_size, @files, @grown, @open);
foreach my $evening (1 .. $evenings)
{
	my $clock = $roster->sql("SELECT '2026-01-02 12:00+00'::timestamptz + $evening * interval '1 day' "
		  . "+ interval '14 hours'");
	my (@memory, @descriptors);

	$server->day($evening);
	$roster->set(test_clock => $clock);
	$roster->sql('SELECT roster_run_due()');
	my $done = 0;
	my $give_up = time + 60 + 3 * $schools;
	while ($done < $schools)
	{
		die "evening $evening is not over" if time > $give_up;
		usleep(100_000);
		my ($finished, $pid) = split /\|/, $roster->sql('SELECT (SELECT count(*) FROM runs '
			  . "WHERE finished_at IS NOT NULL AND queued_at = '$clock'), "
			  . "coalesce((SELECT max(pid) FROM runs WHERE state = 'running'), 0)");
		if ($pid != 0 and my ($kilobytes, $open) = process($pid))
		{
			push @memory, $kilobytes;
			push @descriptors, $open;
		}
		$done = $finished;
	}
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	# What a truncated table had is removed by a checkpoint.
	$roster->sql('CHECKPOINT');
	push @catalog_size, int($roster->sql($catalogs));
	push @files, files();
	diag("evening $evening, kB: @memory") if $runs > 1000;
	# What the worker grew by between a run in which it had met all there is and its last one.
	push @grown, @memory > 4 ? $memory[-1] - $memory[ int(@memory / 3) ] : 0;
	push @open, @descriptors > 4 ? $descriptors[-1] - $descriptors[ int(@descriptors / 3) ] : 0;
	diag(sprintf '%d runs: worker %d to %d kB, %d files open, catalogs %d kB, %d files, %d temporary, runs %s kB',
		$evening * $schools, $memory[0] // 0, $memory[-1] // 0, $descriptors[-1] // 0, $catalog_size[-1], $files[-1],
		temporary(), $roster->sql("SELECT pg_total_relation_size('runs') / 1024")) if $runs > 1000;
}
is($roster->sql("SELECT count(*) FROM runs WHERE state <> 'succeeded'"), '0', 'each run succeeded');
is($roster->sql('SELECT count(*) FROM runs'), $evenings * $schools, '... and there were as many as should be');
my ($grown) = sort { $b <=> $a } @grown;
cmp_ok($grown, '<', 8 * 1024, 'a worker does not grow by its runs');
my ($open) = sort { $b <=> $a } @open;
cmp_ok($open, '<=', 10, '... and leaves no file open');
my $middle = int(@files / 2);
cmp_ok($files[-1] - $files[$middle], '<=', 30, 'the database does not get more files');
cmp_ok($catalog_size[-1], '<=', 1.1 * $catalog_size[$middle] + 512, '... its catalogs stay as large as they are');
is(temporary(), 0, 'no temporary file is left');
is($roster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', 'no lock is left');
is($roster->sql("SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND NOT EXISTS (SELECT FROM pg_stat_activity "
	  . "WHERE backend_type = 'minga_roster')"), '0', 'no temporary table is left');
note("memory: $grown kB; catalogs: @catalog_size kB; files: @files");

$roster->stop;
$server->stop;
done_testing();
