# DROP EXTENSION while someone waits for a run: whatever the run is at, the drop goes through, nothing waits for good,
# and people are as they were before the run or as it left them.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 5);
my $roster = RosterCluster->new('drop_extension');
my $node = $roster->node;

sub people { return $roster->sql('SELECT count(*) FROM public.people'); }

# A statement in a session of its own, which is not waited for.
sub begin
{
	my ($name, $statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/begun/,
		"\\set VERBOSITY verbose\nSET application_name = '$name';\n\\echo begun\n$statement;\n");
	return $session;
}

# What the statement said, once it has ended.
sub end_of
{
	my ($session) = @_;
	$session->quit;
	return $session->{stdout} . $session->{stderr};
}

sub wait_until_waiting
{
	my ($who) = @_;
	$roster->wait_for("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
		  . "AND '$who' IN (application_name, backend_type)");
	return;
}

sub is_dropped
{
	my ($dropper) = @_;
	unlike(end_of($dropper), qr/ERROR/, '... and the drop goes through');
	is($roster->sql("SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('minga_roster')"), '0',
		'... and leaves nothing');
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	$roster->sql('CREATE EXTENSION minga_roster');
	$roster->sql("SELECT minga_roster.roster_attach_people('public.people')");
	$roster->connect_school('one', $server);
	return;
}

$roster->connect_school('one', $server);

# The worker asks the SIS and holds nothing: the drop waits for the caller's lock, and the worker's next transaction for
# the drop.
$server->faults({ hang => { path => 'students' } });
my $caller = begin('caller', "SELECT state FROM roster_sync('one')");
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE state = 'running' AND phase = 'fetch'");
my $dropper = begin('dropper', 'DROP EXTENSION minga_roster CASCADE');
wait_until_waiting('dropper');
$server->clear_faults;
like(end_of($caller),
	RosterCluster::in_order(qr/ERROR:  40P01: run \d+ waits for a lock of the session.*DETAIL:  /s,
		qr/, which is blocked by this session.*HINT: .*roster_start/s),
	'a drop during a fetch: the waiting caller gets an error');
is_dropped($dropper);
is(people(), '0', '... no one was changed');

# The run is in the queue: the worker that is to look at it waits for the drop.
my $busy = $node->background_psql('postgres');
my $number = $roster->sql("SELECT number FROM connections WHERE connection = 'one'");
$busy->query_safe("BEGIN; SELECT minga_roster_internal.try_run_lock('connection', $number)");
$caller = begin('caller', "SELECT state FROM roster_sync('one')");
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE state = 'queued'");
$dropper = begin('dropper', 'DROP EXTENSION minga_roster CASCADE');
like(end_of($caller), qr/ERROR:  40P01: run \d+ waits for a lock of the session/, 'dropped while queued: the same');
$busy->quit;
is_dropped($dropper);

# The worker is in its merge: the drop holds nothing that the run needs, and waits for its end.
my $school = $node->background_psql('postgres');
$school->query_safe('BEGIN');
$school->query_safe('LOCK TABLE public.people IN SHARE MODE');
$caller = begin('caller', "SELECT state FROM roster_sync('one')");
wait_until_waiting('minga_roster');
$dropper = begin('dropper', 'DROP EXTENSION minga_roster CASCADE');
wait_until_waiting('dropper');
$school->query_safe('COMMIT');
$school->quit;
like(end_of($caller), qr/^succeeded$/m, 'dropped during a merge: the run succeeds');
is_dropped($dropper);
cmp_ok(people(), '>', 0, '... and its people are there');

unlike($roster->log_contents, qr/deadlock detected/, 'no deadlock in the whole');

$roster->stop;
done_testing();
