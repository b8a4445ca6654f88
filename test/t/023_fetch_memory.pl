# Private memory of the worker is that of a page, whatever the size of the roster. No times, only sizes.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

plan skip_all => 'needs /proc' unless -r '/proc/self/status';

my $roster = RosterCluster->new('fetch_memory');
my $page_size = 500;
my $page_kb = 500;				# of a page with 500 users, about
my %private;

foreach my $people (2000, 20000)
{
	my $server = OneRosterServer->new(people => $people, seed => 51);
	my $connection = "school-$people";

	$roster->connect_school($connection, $server);
	$roster->sql("SELECT roster_configure('$connection', page_size => $page_size)");
	# Teachers come after the students: there the worker waits, with all students staged.
	$server->faults({ hang => { path => 'teachers' } });
	$server->clear_log;
	my $run = $roster->sql("SELECT roster_start('$connection', 'fetch')");
	$roster->wait_for("SELECT count(*) = 1 FROM collections WHERE run = $run AND collection = 'students'");
	my $pid = $roster->sql("SELECT pid FROM runs WHERE run = $run");
	my %size = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } split /\n/, slurp_file("/proc/$pid/status");
	$private{$people} = $size{VmHWM} - $size{RssFile} - $size{RssShmem};
	cmp_ok($roster->sql("SELECT rows FROM collections WHERE run = $run AND collection = 'students'"), '>',
		$people * 0.8, "$people people: the students are read");
	$server->clear_faults;
	$roster->wait_for("SELECT state = 'succeeded' FROM runs WHERE run = $run");
	$server->stop;
}

cmp_ok($private{20000}, '<', 16 * 1024 + 4 * $page_kb,
	"private memory stays below 16 MB and four pages ($private{2000} and $private{20000} kB)");
cmp_ok($private{20000}, '<', $private{2000} * 1.1 + 1024, '... the same for ten times as many people');

done_testing();
