# Bytes that are no roster: web pages, halves, bad characters, depth, and pages without measure; the worker's private
# memory stays small.

use strict;
use warnings;

use HostileNight;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $night = HostileNight->new('bytes', guard_percent => 100);
my @students = $night->students;
my $middle = 'students.*offset=20&';

# Syncs under the faults; the most private memory that its worker was seen to have, in kB.
sub private_memory
{
	my ($faults) = @_;
	my ($roster, $peak) = ($night->roster, 0);

	# Slow enough that the run is still there when it is looked at.
	$night->server->faults({ %$faults, delay_ms => 100 });
	my $run = $roster->sql("SELECT roster_start('mesa')");
	$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE run = $run AND pid IS NOT NULL");
	my $pid = $roster->sql("SELECT pid FROM runs WHERE run = $run");
	my $give_up = time + 180;
	while (-r "/proc/$pid/status" && time < $give_up)
	{
		my %size = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } split /\n/,
			(eval { slurp_file("/proc/$pid/status") } // '');
		$peak = $size{RssAnon} if ($size{RssAnon} // 0) > $peak;
		select undef, undef, undef, 0.005;
	}
	$roster->wait_for("SELECT state <> 'running' FROM runs WHERE run = $run");
	$night->server->clear_faults;
	return $peak;
}

# What is no JSON
foreach my $path ('students', $middle)
{
	my $where = $path eq 'students' ? 'at once' : 'in the middle';
	$night->falls("a login page $where", { html => { path => $path } }, sqlstate => '08P01',
		error => qr/^the SIS answered the request for students with a web page$/, detail => qr/text\/html/,
		hint => qr/SIS vendor/);
	$night->falls("half a page $where", { truncated => { path => $path } }, sqlstate => '08P01',
		error => qr/^the SIS broke off in the middle of its answer to the request for students$/,
		hint => qr/SIS vendor/);
}
$night->falls('a byte order mark', { byte_order_mark => { path => 'students' } }, collection => 'students|t|total');

# Bad characters
foreach my $name (qw(invalid_utf8 nul_escape lone_surrogate))
{
	$night->falls($name, { $name => { sourced_id => $students[2] } }, collection => 'students|t|total',
		after => sub { is($night->roster->sql("SELECT sourced_id, outcome FROM staged_users WHERE damaged"),
		"$students[2]|reject", '... one row is a reject, and present') });
}

# Depth and length
$night->falls('nesting 10,000 deep', { nesting => { sourced_id => $students[2], depth => 10000 }, ignore_fields => 1 },
	sqlstate => '22032',
	error => qr/^the SIS answered the request for students with JSON nested too deep$/, detail => qr/64/,
	hint => qr/SIS vendor/);
$night->falls('a field of 1 MB', { override => { $students[2] => { familyName => 'x' x 1_000_000 } } },
	collection => 'students|t|total',
	after => sub { is($night->roster->sql("SELECT sourced_id, outcome FROM staged_users WHERE damaged"),
	"$students[2]|reject", '... its row is a reject, and present') });
$night->falls('a sourcedId of 1 MB', { override => { $students[2] => { sourcedId => 'x' x 1_000_000 } } },
	collection => 'students|f|weak');
$night->falls('gzip', { gzip => { path => 'students' } }, collection => 'students|t|total');
$night->falls('gzip that breaks off', { gzip => { path => 'students' },
	reset_connection => { path => 'students', times => 1 } }, collection => 'students|t|total');

SKIP:
{
	skip 'needs /proc', 1 unless -r '/proc/self/status';
	$night->roster->sql("SELECT roster_configure('mesa', sync_at => '00:01', window_end => '00:00', max_requests "
		  . "=> 5)");
	foreach my $case (
		[ 'a page of 200 MB', { padding => { path => 'students', megabytes => 200 } }, 'failed|54000' ],
		[ 'a gzip bomb of 128 MB',
		{ padding => { path => 'students', megabytes => 128 }, gzip => { path => 'students' } }, 'failed|54000' ],
		[ 'a page of 19 MB', { padding => { path => $middle, megabytes => 19 } }, 'succeeded|' ],
		[ '19 MB with bad characters', { padding => { path => 'students.*offset=0&', megabytes => 19 },
		invalid_utf8 => { sourced_id => $students[2] } }, 'succeeded|' ],
		[ 'several pages of 4 MB at once', { padding => { path => 'students|teachers', megabytes => 4 } },
		'succeeded|' ],
		[ 'several pages of 16 MB at once',
		{ padding => { path => 'students.*offset=[1-3]0&|teachers', megabytes => 16 } }, 'succeeded|' ],
		[ 'a field of 1 MB', { override => { $students[2] => { familyName => 'x' x 1_000_000 } } }, 'succeeded|' ])
	{
		my ($name, $faults, $outcome) = @$case;
		my $peak = private_memory($faults);
		is($night->newest('state, sqlstate'), $outcome, $name);
		cmp_ok($peak, '>', 0, '... its memory was seen');
		cmp_ok($peak, '<', 64 * 1024, "... and is less than 64 MB ($peak kB)");
	}
	$night->passes;
}
$night->falls('a page of 200 MB', { padding => { path => 'students', megabytes => 200 } }, sqlstate => '54000',
	error => qr/^a page from "localhost" is too large$/,
	detail => qr/^More than 20 MB came for .*students from offset 0\.$/, hint => qr/page_size.*SIS vendor/);
$night->falls('a gzip bomb of 128 MB',
	{ padding => { path => 'students', megabytes => 128 }, gzip => { path => 'students' } }, sqlstate => '54000',
	error => qr/^a page from "localhost" is too large$/, hint => qr/page_size.*SIS vendor/);

done_testing();
