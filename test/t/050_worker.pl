# The worker: who writes a run's row, the queue, one run at a time for a connection, several connections side by side,
# no free slot, cancel, statement_timeout, a dead worker, a transaction block, a caller that blocks its own run.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 5);
my $roster = RosterCluster->new('worker', conf => "minga_roster.max_workers = 2\nrestart_after_crash = on\n");
my $node = $roster->node;

$roster->connect_school($_, $server) foreach qw(one two three);

sub hang { $server->faults({ hang => { path => 'students' } }); return; }
sub newest { return $roster->sql('SELECT max(run) FROM runs'); }

# Starts a run that the hanging server keeps running, and returns its number.
sub start_hanging
{
	my ($connection) = @_;
	my $run = $roster->sql("SELECT roster_start('$connection', 'fetch')");
	$roster->wait_for("SELECT state = 'running' AND phase = 'fetch' FROM runs WHERE run = $run");
	return $run;
}

sub finish
{
	$roster->sql("SELECT roster_cancel(run) FROM runs WHERE state IN ('queued', 'running')");
	$server->clear_faults;
	$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
	return;
}

# Who writes the row
is($roster->sql("SELECT state, trigger, requested_by, started_at IS NOT NULL, pid IS NULL FROM roster_fetch('one')"),
	'succeeded|manual|' . $roster->sql('SELECT current_user') . '|t|t', 'a fetch succeeds and its row is returned');

$server->faults({ status => { path => 'students', code => 500 } });
my $error = $roster->error("SELECT roster_fetch('one')");
like($error, qr/ERROR:  08\w{3}: run \d+ of connection "one": /,
	'a failed run raises its error with SQLSTATE, run and connection');
like($error, qr/DETAIL: .*HINT: /s, '... with detail and hint');
is($roster->sql('SELECT state, left(sqlstate, 2), error IS NOT NULL FROM runs ORDER BY run DESC LIMIT 1'),
	'failed|08|t', 'the failed run is on record, although the caller was rolled back');
$server->clear_faults;

# Refusals
like($roster->error("BEGIN; SELECT roster_fetch('one');"), qr/ERROR:  25001: .*HINT: .*roster_start/s,
	'a call in a transaction block is refused');
like($roster->error("DO \$\$ BEGIN PERFORM roster_fetch('one'); EXCEPTION WHEN data_exception THEN NULL; END \$\$"),
	qr/ERROR:  25001/, 'a call in a subtransaction is refused');
like($roster->error("WITH w AS (INSERT INTO public.people (site, role, given_name, family_name) "
	  . "VALUES ('x', 'staff', 'A', 'B') RETURNING 1) "
	  . "SELECT roster_fetch('one') FROM w"),
	qr/ERROR:  25001: .*has written/, 'a call is refused once the transaction has written');
is($roster->sql('SELECT count(*) FROM public.people'), '0', '... which is rolled back');
my $runs_before = newest();
is($roster->sql("SELECT string_agg((roster_fetch(connection)).state, ',') FROM (SELECT connection "
	  . "FROM connections, generate_series(1, 12)) AS c"),
	join(',', ('succeeded') x 36),
	'one statement may run many connections one after the other, though drawing a number assigns an id now and then');
is(newest() - $runs_before, 36, '... each of them once');
like($roster->error("SELECT roster_fetch('nowhere')"), qr/ERROR:  42704: .*"nowhere"/,
	'an unknown connection is refused');
like($roster->error('SELECT roster_cancel(999999)'), qr/ERROR:  42704: .*999999.*HINT: /s, 'an unknown run is refused');
like($roster->error('SELECT roster_approve(999999)'), qr/ERROR:  42704: .*999999/,
	'an unknown run to approve is refused');
like($roster->error("SELECT roster_start('one', 'undo')"), qr/ERROR:  22023: .*"undo"/,
	'a kind that cannot be started is refused');
is(newest(), $runs_before + 36, 'a refused call leaves no run');

# One run at a time for a connection; others side by side up to max_workers
hang();
my $first = start_hanging('one');
my $second = $roster->sql("SELECT roster_start('one', 'fetch')");
$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $second");
pass('a second run of a connection is queued');
my $other = start_hanging('two');
is($roster->sql("SELECT count(*) FROM runs WHERE state = 'running'"), '2', 'another connection works beside it');
like($roster->error("SELECT * FROM roster_test_connection('three')"), qr/ERROR:  53000: .*HINT: /s,
	'a test is not queued: no free slot');
$roster->set(max_workers => 3);
like($roster->error("SELECT * FROM roster_test_connection('one')"), qr/ERROR:  55006: .*"one" is busy/,
	'a test does not ask an SIS that a run is asking');
$roster->set(max_workers => 2);
my $third = $roster->sql("SELECT roster_start('three', 'fetch')");
$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $third");
pass('beyond max_workers a run is queued');

# Cancel
is($roster->sql("SELECT state FROM roster_cancel($second)"), 'canceled', 'a queued run is canceled at once');
$roster->sql("SELECT roster_cancel($first)");
$server->clear_faults;
$roster->wait_for("SELECT state = 'canceled' AND sqlstate = '57014' FROM runs WHERE run = $first");
pass('a running run is interrupted in the middle of a request');
$roster->wait_for("SELECT state = 'succeeded' FROM runs WHERE run = $third");
pass('the queue is worked without pg_cron');
like($roster->error("SELECT roster_cancel($first)"), qr/ERROR:  55000: run $first cannot be canceled/,
	'a finished run cannot be canceled');
finish();

# The queue is drained in order by the worker that becomes free
hang();
$roster->set(max_workers => 1);
$first = start_hanging('one');
my @queued = map { $roster->sql("SELECT roster_start('$_', 'fetch')") } qw(two three one);
push @queued, $roster->sql("SELECT roster_start('two', 'preview')");
is($roster->sql("SELECT roster_start('two', 'fetch')"), $queued[0],
	'one run of a kind is queued for a connection at a time');
like($roster->error("SELECT roster_fetch('two')"),
	qr/ERROR:  55006: run $queued[0] of connection "two" is queued already.*HINT: .*roster_cancel/s,
	'... and waited for by one caller');
$roster->wait_for('SELECT count(*) = 4 FROM runs WHERE state = \'queued\'');
my $waiting = $node->background_psql('postgres', on_error_stop => 0);
$waiting->query_until(qr/waiting/, "\\echo waiting\nSELECT count(*) FROM roster_preview('three');\n");
$roster->wait_for('SELECT count(*) = 5 FROM runs WHERE state = \'queued\'');
$roster->sql("SELECT roster_cancel($first)");
$server->clear_faults;
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
is($roster->sql("SELECT bool_and(state = 'succeeded') AND array_agg(run ORDER BY started_at) = array_agg(run "
	  . "ORDER BY run) FROM runs WHERE run > $first"),
	't', 'all queued runs were worked, in order');
$waiting->quit;
$roster->set(max_workers => 2);

# statement_timeout and cancel of the caller
hang();
like($roster->error("SET statement_timeout = '1s'; SELECT roster_fetch('one');"),
	qr/ERROR:  57014: canceling statement due to statement timeout/,
	'statement_timeout ends the wait');
$roster->wait_for("SELECT state = 'canceled' FROM runs ORDER BY run DESC LIMIT 1");
pass('... and cancels the run');
$first = start_hanging('one');
like($roster->error("SET statement_timeout = '1s'; SELECT roster_fetch('one');"),
	qr/NOTICE: .*is queued.*ERROR:  57014/s,
	'statement_timeout while the run is queued');
$roster->wait_for("SELECT state = 'canceled' FROM runs ORDER BY run DESC LIMIT 1");
is($roster->sql("SELECT state FROM runs WHERE run = $first"), 'running', '... cancels the queued run and no other');
finish();
hang();
$runs_before = newest();
# How long a worker takes to start is the machine's: longer and longer, until some have come that far.
my $ms = 10;
foreach (1 .. 25)
{
	last if newest() >= $runs_before + 4;
	$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state = 'queued'");
	like($roster->error("SET statement_timeout = '${ms}ms'; SELECT roster_fetch('one');"), qr/ERROR:  57014/,
		"a timeout after $ms ms, while the worker starts");
	$ms = int($ms * 1.4);
}
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
is($roster->sql("SELECT string_agg(DISTINCT state, ',') FROM runs WHERE run > $runs_before"), 'canceled',
	'... each run on record is canceled, none failed or left open');
$server->clear_faults;

# A worker that is terminated closes its run and goes; one that is gone is found dead
hang();
$first = start_hanging('one');
$roster->sql("SELECT pg_terminate_backend(pid) FROM runs WHERE run = $first");
$roster->wait_for("SELECT state = 'failed' AND sqlstate = '57P01' FROM runs WHERE run = $first");
pass('a terminated worker closes its run');
$first = start_hanging('one');
$second = $roster->sql("SELECT roster_start('one', 'fetch')");
$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $second");
$roster->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
$roster->sql("SELECT pg_terminate_backend(pid) FROM runs WHERE run = $first");
$roster->wait_for("SELECT state = 'running' FROM runs WHERE run = $second");
pass('... and another worker takes over its queue');
finish();
hang();
$first = start_hanging('one');
my $pid = $roster->sql("SELECT pid FROM runs WHERE run = $first");
kill 'KILL', $pid;
$roster->wait_for('SELECT true');
$server->clear_faults;
is($roster->sql("SELECT state FROM runs WHERE run = $first"), 'running', 'after a crash the row is still running');
is($roster->sql("SELECT state FROM roster_fetch('one')"), 'succeeded', 'the connection works again');
is($roster->sql("SELECT state, sqlstate FROM runs WHERE run = $first"), 'failed|57P02',
	'... and the dead run is closed');
hang();
$first = start_hanging('one');
$node->stop('immediate');
$node->start;
is($roster->sql("SELECT state, sqlstate FROM roster_cancel($first)"), 'failed|57P02',
	'roster_cancel closes a dead run as failed');
$server->clear_faults;

# A worker that cannot even close its run
$roster->sql("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; "
	  . "END'");
$roster->sql("CREATE TRIGGER refuse BEFORE UPDATE OF finished_at ON runs FOR EACH ROW EXECUTE FUNCTION "
	  . "public.refuse()");
like($roster->error("SELECT roster_fetch('one')"), qr/ERROR:  08006: the worker of run \d+ ended without closing it/,
	'a worker that cannot close its run does not leave the caller waiting');
$roster->sql('DROP TRIGGER refuse ON runs');
my $unclosed = newest();
is($roster->sql("SELECT state FROM roster_fetch('one')"), 'succeeded', 'the connection works again');
is($roster->sql("SELECT state, sqlstate FROM runs WHERE run = $unclosed"), 'failed|57P02',
	'... and the next worker closed the run');

# No background worker to be had
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');    # the launchers of logical replication and pg_cron
$node->restart;
my ($rc, $stdout, $stderr) = $node->psql('postgres', "SELECT state FROM roster_fetch('one')");
is($stdout, 'queued', 'without a worker the run is queued by the caller');
like($stderr, qr/WARNING: .*no background worker could be registered.*HINT: /s, '... with a WARNING and a hint');
like($roster->error("SELECT * FROM roster_test_connection('one')"), qr/ERROR:  53000/, 'a test is an error then');
is($roster->sql("SELECT count(*) FROM runs WHERE state = 'queued'"), '1', 'the queued row is on record');
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
is($roster->sql("SELECT state FROM roster_fetch('two')"), 'succeeded', 'the next worker starts');
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state = 'queued'");
pass('... works the queue');

# A caller that blocks its own run
$roster->sql("CREATE FUNCTION public.wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM "
	  . "pg_advisory_xact_lock(77); RETURN NULL; END'");
$roster->sql('CREATE TRIGGER wait_for_lock AFTER INSERT ON public.people FOR EACH STATEMENT EXECUTE FUNCTION '
	  . 'public.wait_for_lock()');
like($roster->error("SELECT pg_advisory_lock(77); SELECT roster_sync('one');"),
	qr/ERROR:  40P01: run \d+ waits for a lock of the session.*HINT: .*roster_start/s,
	'a run blocked by its own caller is an error');
$roster->wait_for("SELECT state = 'canceled' FROM runs ORDER BY run DESC LIMIT 1");
is($roster->sql('SELECT count(*) FROM public.people'), '0', '... and the run is canceled, no one changed');
$roster->sql('DROP TRIGGER wait_for_lock ON public.people');

# A run that waits for the stage, which a first load adds to, and not for people
$roster->connect_school('four', $server);
my $stage = $node->background_psql('postgres');
$stage->query_safe('BEGIN; LOCK TABLE minga_roster.staged_users IN SHARE UPDATE EXCLUSIVE MODE');
$roster->sql("SELECT roster_start('four', 'fetch')");
$roster->wait_for('SELECT count(*) > 0 FROM runs r JOIN pg_locks l USING (pid) WHERE NOT l.granted');
is($roster->sql("SELECT state FROM people_state('one')"), 'free', 'a run that waits for the stage keeps people free');
$stage->query_safe('COMMIT');
$stage->quit;
$roster->wait_for("SELECT state = 'succeeded' FROM runs ORDER BY run DESC LIMIT 1");
$roster->sql("SELECT roster_disconnect('four')");

# An error of the server's in a statement of ours may quote a row
$roster->sql('ALTER TABLE changes ADD CONSTRAINT no_changes CHECK (false) NOT VALID');
like($roster->error("SELECT roster_sync('one')"),
	qr/ERROR:  23514: .*DETAIL:  Its text may hold people's data.*"no_changes"/s,
	'an error that quotes a row keeps its text to itself');
is($roster->sql('SELECT count(*) FROM staged_users s JOIN runs r USING (connection) WHERE r.run = (SELECT max(run) '
	  . 'FROM runs) '
	  . "AND position(s.family_name IN concat_ws(' ', r.error, r.detail, r.hint)) > 0"), '0',
	  '... and no name is on record');
like($roster->sql('SELECT roster_report(max(run)) FROM runs'), qr/its\s+text\s+may\s+hold\s+people's\s+data/i,
	'... so the report can show all that is');
unlike($roster->log_contents, qr/Failing row contains/, '... nor in the log');
$roster->sql('ALTER TABLE changes DROP CONSTRAINT no_changes');

# A second cancel, while the run is closed because of the first and something has failed and been caught there
hang();
$first = start_hanging('one');
$roster->sql("CREATE TABLE dawdling AS SELECT; GRANT SELECT ON dawdling TO minga_roster_dba; "
	  . "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN "
	  . "BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; "
	  . "WHILE EXISTS (SELECT FROM public.dawdling) LOOP PERFORM pg_sleep(0.1); END LOOP; RETURN NEW; END \$\$");
$roster->sql("CREATE TRIGGER dawdle BEFORE UPDATE ON runs FOR EACH ROW WHEN (NEW.state = 'canceled') EXECUTE "
	  . "FUNCTION dawdle()");
my $worker = $roster->sql("SELECT pid FROM runs WHERE run = $first");
$roster->sql("SELECT pg_cancel_backend($worker)");
$roster->wait_for("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $worker");
$roster->sql("SELECT pg_cancel_backend($worker)");
$roster->sql('DELETE FROM dawdling');
$roster->wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $worker)");
is($roster->sql("SELECT state, sqlstate FROM runs WHERE run = $first"), 'canceled|57014',
	'a cancel that comes while a canceled run is closed does not keep it open');
$roster->sql('DROP FUNCTION dawdle() CASCADE; DROP TABLE dawdling');
finish();

# Nothing is held while the network is waited for
hang();
$first = start_hanging('one');
# What it stores of its progress is over at once; what it held for as long as it waits would never be gone.
$roster->wait_for("SELECT a.state = 'active' AND a.backend_xmin IS NULL AND a.backend_xid IS NULL "
	  . "AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype <> 'advisory') "
	  . "FROM pg_stat_activity a JOIN runs r USING (pid) WHERE r.run = $first");
pass('while the SIS is waited for no snapshot, transaction or lock is held');
finish();
is($roster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', 'no lock is left');

$roster->stop;
$server->stop;
done_testing();
