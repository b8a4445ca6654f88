# Who holds what runs need, and code of people that does not let a run end: any role that takes each advisory lock there
# is, a trigger that lets go of all that the worker holds, one that catches each cancel, one that sleeps or waits for a
# lock. Runs go on, or end, and change no one then.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 5);
my $roster = RosterCluster->new('attack_locks',
	conf => "max_locks_per_transaction = 1024\nminga_roster.max_workers = 2\nrestart_after_crash = on\n");
my $node = $roster->node;

sub newest { return $roster->sql('SELECT max(run) FROM runs'); }
sub people { return $roster->sql('SELECT count(*), count(archived_at), md5(string_agg(p::text, $$,$$ '
	  . 'ORDER BY person_id)) FROM public.people p'); }
sub all_ended { $roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')"); return; }
sub outcome { my ($run) = @_; return $roster->sql("SELECT state, coalesce(sqlstate, '') FROM runs WHERE run = $run"); }

$roster->connect_school('mesa', $server);
$roster->connect_school('twin', $server, site => 'mesa');
$roster->connect_school('other', $server);
$roster->sql("SELECT roster_toggle(c, auto_update => true, archive => true) FROM unnest(ARRAY['mesa', 'other']) c; "
	  . "SELECT roster_toggle('twin', roster => false)");
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a first sync');

# A role that may connect, and takes each advisory lock that it can name
$roster->sql('CREATE ROLE locker LOGIN');
$server->faults({ hang => { path => 'students' } });
my $hanging = $roster->sql("SELECT roster_start('mesa', 'fetch')");
$roster->wait_for("SELECT state = 'running' AND phase = 'fetch' FROM runs WHERE run = $hanging");
my @held = split /\n/,
	$roster->sql("SELECT l.classid, l.objid, l.objsubid FROM pg_locks l JOIN runs r USING (pid) "
	  . "WHERE l.locktype = 'advisory' ORDER BY 1, 2");
cmp_ok(scalar @held, '>=', 3, 'pg_locks shows the locks of a run: ' . join(' ', @held));
is(join(',', grep { !/\|3$/ } @held), '', '... none of which a function of SQL could name');
my $locker = $node->background_psql('postgres', extra_params => [ '-U', 'locker' ]);
$locker->set_query_timer_restart;
my ($pairs, $numbers) = ('', '');
foreach (@held)
{
	my ($class, $number) = split /\|/;
	# as psql takes them: two signed numbers of 32 bits, one of 64
	$pairs .= sprintf "SELECT pg_advisory_lock(%d, %d);\n", map { unpack 'l', pack 'L', $_ } $class, $number;
	$numbers .= sprintf "SELECT pg_advisory_lock(%d), pg_advisory_lock(%d), pg_advisory_lock(%d);\n",
		unpack('q', pack('LL', $number, $class)), $class, $number;
}
$locker->query_safe($pairs);
$locker->query_safe($numbers);
$locker->query_safe('SELECT count(pg_advisory_lock(c, n)) FROM generate_series(1297219585, 1297219590) c, '
	  . 'generate_series(0, 1000) n');
$locker->query_safe('SELECT count(pg_advisory_lock((c::bigint << 32) | n)) '
	  . 'FROM generate_series(1297219585, 1297219590) c, generate_series(0, 1000) n');
$locker->query_safe('SELECT count(pg_advisory_lock(c::bigint)) FROM generate_series(1297219585, 1297219590) c');
cmp_ok($roster->sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'locker' "
	  . "AND l.locktype = 'advisory'"), '>', 12000, 'a role holds each lock of our classes');
$server->clear_faults;
$roster->wait_for("SELECT state = 'succeeded' FROM runs WHERE run = $hanging");
pass('a run goes on');
$server->day(2);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', '... and a sync');
my $before = people();
$server->day(4);
is($roster->sql("SELECT count(*) > 0 FROM roster_preview('mesa')"), 't', '... and a preview');
my $preview = newest();
is($roster->sql("SELECT state FROM roster_apply($preview)"), 'succeeded', '... and its apply');
my $apply = newest();
isnt(people(), $before, '... which changes people');
is($roster->sql("SELECT state FROM roster_undo($apply)"), 'succeeded', '... and its undo');
is($roster->sql("SELECT count(*) FROM roster_test_connection('mesa') WHERE NOT ok"), '0', '... and a test');
my $school = $server->school_id;
is($roster->sql("SELECT (roster_configure('mesa', school_id => '$school', url => '" . $server->legacy_url
	  . "')).connection"), 'mesa', '... and roster_configure');
is($roster->sql("SELECT (roster_configure('mesa', url => '" . $server->url . "')).connection"), 'mesa',
	'... once more');
$roster->set(test_clock => '2026-09-02 00:59:00+00');
is($roster->sql("SELECT automatic FROM roster_enable('mesa')"), 't', '... and roster_enable');
$roster->set(test_clock => '2026-09-02 01:05:00+00');
$roster->sql('SELECT roster_run_due()');
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE trigger = 'evening' AND state = 'succeeded'");
pass('... and an evening');
is($roster->sql("SELECT automatic FROM roster_disable('mesa')"), 'f', '... and roster_disable');
$roster->sql("SELECT roster_disconnect('other')");
pass('... and roster_disconnect');
$roster->set(test_clock => '');
$locker->quit;

# Code of people: does what app.mode says.
$roster->sql(<<'SQL');
CREATE SCHEMA app;
CREATE TABLE app.mode (mode text);
INSERT INTO app.mode VALUES ('nothing');
GRANT USAGE ON SCHEMA app TO people_owner; GRANT CREATE ON SCHEMA app TO people_owner;
	GRANT SELECT ON app.mode TO people_owner;
SET ROLE people_owner;
CREATE FUNCTION app.act() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	mode text := (SELECT m.mode FROM app.mode m);
	n integer := 0;
BEGIN
	IF mode = 'nothing' THEN RETURN NULL; END IF;
	IF mode = 'let go' THEN PERFORM pg_advisory_unlock_all(); END IF;
	PERFORM pg_advisory_xact_lock_shared(78);	-- seen in pg_locks
	CASE mode
		WHEN 'let go' THEN PERFORM pg_advisory_xact_lock(77);
		WHEN 'sleep' THEN PERFORM pg_sleep(600);
		WHEN 'loop' THEN LOOP BEGIN PERFORM pg_sleep(0.2); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;
		WHEN 'loop over all' THEN LOOP BEGIN PERFORM pg_sleep(0.2); EXCEPTION WHEN query_canceled OR OTHERS
			OR assert_failure THEN NULL; END; END LOOP;
		WHEN 'busy' THEN LOOP BEGIN LOOP n := (n + 1) % 1000; END LOOP; EXCEPTION WHEN query_canceled THEN NULL; END;
			END LOOP;
		WHEN 'swallow' THEN BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
		WHEN 'raise' THEN RAISE EXCEPTION USING ERRCODE = '57014', MESSAGE = 'canceling statement due to user request';
		WHEN 'raise end' THEN RAISE EXCEPTION USING ERRCODE = '57P01',
			MESSAGE = 'terminating connection due to administrator command';
		WHEN 'set' THEN SET lock_timeout = 0; SET statement_timeout = 0; PERFORM set_config('lock_timeout', '0', false);
		WHEN 'set and wait' THEN SET lock_timeout = 0; SET statement_timeout = 0; PERFORM pg_advisory_xact_lock(77);
	END CASE;
	RETURN NULL;
END $$;
CREATE TRIGGER act BEFORE INSERT OR UPDATE ON public.people FOR EACH STATEMENT EXECUTE FUNCTION app.act();
SQL
my $in_trigger = "EXISTS (SELECT FROM pg_locks l JOIN runs r USING (pid) WHERE l.locktype = 'advisory' "
  . "AND l.objid = 78 AND l.objsubid = 1 AND l.granted AND r.run = %s)";
my $day = 10;

sub mode { my ($mode) = @_; $roster->sql('UPDATE app.mode SET mode = ' . RosterCluster::quote($mode)); return; }

# Starts a sync that has something to do, and waits until the trigger is at it; its number.
sub start_in_trigger
{
	my ($mode) = @_;
	mode($mode);
	my $run = $roster->sql("SELECT roster_start('mesa')");
	$roster->wait_for('SELECT ' . sprintf($in_trigger, $run));
	return $run;
}

# What is left of the run once the worker is gone, and that later runs work.
sub ends
{
	my ($name, $run, $pid, $expected, $before) = @_;
	$roster->wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid "
		  . "AND backend_type = 'minga_roster' AND (SELECT state IN ('queued', 'running') FROM runs "
		  . "WHERE run = $run))");
	mode('nothing');
	$roster->sql('SELECT roster_run_due()');
	$roster->wait_for("SELECT state NOT IN ('queued', 'running') FROM runs WHERE run = $run");
	like(outcome($run), $expected, "$name: the run is closed");
	is(people(), $before, '... people are as before');
	is($roster->sql("SELECT count(*) FROM changes WHERE run = $run"), '0',
		'... and nothing of it is on record as planned');
	all_ended();
	is($roster->sql("SELECT count(*) > 0 FROM roster_preview('mesa')"), 't', '... and later runs work');
	return;
}

# Locks let go below a sync
my $gate = $node->background_psql('postgres');
$gate->set_query_timer_restart;
$gate->query_safe('SELECT pg_advisory_lock(77)');
$server->day($day);
my $run = start_in_trigger('let go');
$roster->wait_for("SELECT EXISTS (SELECT FROM pg_locks l JOIN runs r USING (pid) WHERE r.run = $run "
	  . "AND l.locktype = 'advisory' AND NOT l.granted AND l.objid = 77)");
my $second = $roster->sql("SELECT roster_start('mesa')");
my $of_site = $roster->sql("SELECT roster_start('twin')");
$roster->wait_for("SELECT count(*) = 2 FROM runs WHERE run IN ($second, $of_site) AND state = 'queued'");
pass('a trigger that lets go of all locks: another sync of the connection or the site waits all the same');
is($roster->sql('SELECT close_dead_runs()'), '0', '... close_dead_runs does not take the run for dead');
$roster->sql('SELECT roster_run_due()');
like($roster->error("SELECT * FROM roster_test_connection('mesa')"), qr/ERROR:  55006/,
	'... a test finds the connection busy');
like($roster->error("SELECT roster_configure('mesa', school_id => 'another')"), qr/ERROR:  55006/,
	'... and roster_configure too');
like($roster->error("SELECT roster_disconnect('mesa')"), qr/ERROR:  55006/, '... and roster_disconnect');
is($roster->sql("SELECT string_agg(state, ',' ORDER BY run) FROM runs WHERE run IN ($run, $second, $of_site)"),
	'running,queued,queued', '... and all are as they were');
mode('nothing');
$gate->query_safe('SELECT pg_advisory_unlock(77)');
all_ended();
is($roster->sql("SELECT string_agg(state, ',' ORDER BY run) FROM runs WHERE run IN ($run, $second, $of_site)"),
	'succeeded,succeeded,succeeded', '... the run ends well, and the others after it');
is($roster->sql("SELECT started.started_at >= first.finished_at FROM runs started, runs first "
	  . "WHERE started.run = $second AND first.run = $run"), 't', '... not before');
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
is($roster->sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' "
	  . "AND l.objsubid = 3"), '0', '... and no lock is left');

# Code that catches the cancel and goes on
$server->day(20);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a sync before');
$server->day(30);
my %by = (
	roster_cancel => sub { $roster->sql("SELECT roster_cancel($_[0])") },
	pg_cancel_backend => sub { $roster->sql("SELECT pg_cancel_backend($_[1])") },
	pg_terminate_backend => sub { $roster->sql("SELECT pg_terminate_backend($_[1])") },
	'a fast shutdown' => sub { $node->stop('fast'); $node->start; });
foreach my $case ([ 'loop', 'roster_cancel', 'pg_cancel_backend', 'pg_terminate_backend', 'a fast shutdown' ],
	[ 'loop over all', 'roster_cancel', 'pg_terminate_backend' ], [ 'busy', 'roster_cancel' ],
	[ 'swallow', 'roster_cancel', 'pg_cancel_backend', 'pg_terminate_backend', 'a fast shutdown' ],
	[ 'sleep', 'roster_cancel', 'pg_terminate_backend', 'a fast shutdown' ])
{
	my ($mode, @ways) = @$case;
	foreach my $way (@ways)
	{
		my $before = people();
		my $run = start_in_trigger($mode);
		my $pid = $roster->sql("SELECT pid FROM runs WHERE run = $run");
		# Where the code lets the run end, it is on record as what it was.
		my $expected = $mode =~ /loop|busy/ ? qr/^(canceled\|57014|failed\|57P0[12])$/ : $way =~ /cancel/
			  ? qr/^canceled\|57014$/ : qr/^failed\|57P01$/;

		$by{$way}->($run, $pid);
		ends("$mode, $way", $run, $pid, $expected, $before);
	}
}

# Code that raises what a cancel or a shutdown would
foreach my $mode ('raise', 'raise end')
{
	my $before = people();
	mode($mode);
	like($roster->error("SELECT roster_sync('mesa')"), qr/ERROR:  57\w{3}: .*could not write to the people relation/,
		"$mode: a trigger that raises it");
	is(outcome(newest()), $mode eq 'raise' ? 'failed|57014' : 'failed|57P01',
		'... makes the run failed, not canceled');
	is(people(), $before, '... and no one is changed');
	mode('nothing');
}

# What takes too long
sub fails
{
	my ($name, $expected) = @_;
	my $before = people();
	my $error = $roster->error("SELECT roster_sync('mesa')");
	like($error, $expected, $name);
	like($error, qr/DETAIL: .*HINT: /s, '... which is told, with what to do');
	like(outcome(newest()), qr/^failed\|(55P03|57014)$/, '... and the run has failed');
	is(people(), $before, '... and no one is changed');
	return;
}

# The server was stopped meanwhile.
$gate = $node->background_psql('postgres');
$gate->set_query_timer_restart;
$roster->set(merge_timeout => '5s');
mode('sleep');
fails('minga_roster.merge_timeout ends a merge that sleeps',
	qr/ERROR:  57014: .*merge took too long.*merge_timeout is 5 s/s);
mode('loop');
my $before_loop = people();
my $looping = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for('SELECT ' . sprintf($in_trigger, $looping));
my $looping_pid = $roster->sql("SELECT pid FROM runs WHERE run = $looping");
ends('minga_roster.merge_timeout and a loop that catches the cancel', $looping, $looping_pid, qr/^failed\|/,
	$before_loop);
mode('set and wait');
$gate->query_safe('SELECT pg_advisory_lock(77)');
fails('a trigger that sets the timeouts of the session to 0 and waits', qr/ERROR:  (57014|55P03)/);
$gate->query_safe('SELECT pg_advisory_unlock(77)');
mode('nothing');
$roster->set(lock_timeout => '1s');
my $blocker = $node->background_psql('postgres');
$blocker->set_query_timer_restart;
$blocker->query_safe('BEGIN');
$blocker->query_safe("SELECT count(*) FROM (SELECT FROM public.people WHERE site = 'mesa' FOR UPDATE) s");
fails('minga_roster.lock_timeout ends a merge that waits for rows', qr/ERROR:  55P03/);
mode('set');
fails('... also where a trigger has set the session\'s to 0: by one limit or the other', qr/ERROR:  (57014|55P03)/);
mode('nothing');
$blocker->query_safe('ROLLBACK');
$blocker->query_safe('BEGIN');
$blocker->query_safe('LOCK TABLE public.people');
my $error = $roster->error("SELECT roster_sync('mesa')");
$blocker->query_safe('ROLLBACK');
like($error, qr/ERROR:  55P03: .*HINT: /s, '... and for the table');
is($roster->sql("SELECT state, sqlstate FROM runs ORDER BY run DESC LIMIT 1"), 'failed|55P03', '... as failed');
$roster->set(merge_timeout => '2h');
$roster->set(lock_timeout => '15min');

# roster_cancel comes back at once, whatever the run is at
sub cancels
{
	my ($name, $run) = @_;
	my $before = people();
	is($roster->sql("SELECT run FROM roster_cancel($run)"), $run, "$name: roster_cancel comes back");
	$roster->wait_for("SELECT state NOT IN ('queued', 'running') FROM runs WHERE run = $run");
	is(outcome($run), 'canceled|57014', '... and the run is canceled');
	is(people(), $before, '... and no one is changed');
	return;
}

$roster->sql(q{CREATE FUNCTION app.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM }
	  . q{pg_advisory_xact_lock_shared(78); PERFORM pg_sleep(600); RETURN NULL; END'});
$roster->sql('CREATE TRIGGER slow BEFORE INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION app.slow()');
$run = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for('SELECT ' . sprintf($in_trigger, $run));
cancels('a plan that takes long', $run);
$run = $roster->sql("SELECT roster_start('mesa', 'preview')");
$roster->wait_for('SELECT ' . sprintf($in_trigger, $run));
cancels('a preview that takes long', $run);
$roster->sql('DROP TRIGGER slow ON changes');
$run = start_in_trigger('sleep');
my $queued = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $queued");
is($roster->sql("SELECT state FROM roster_cancel($queued)"), 'canceled', 'a queued run is canceled at once');
is($roster->sql("SELECT state FROM runs WHERE run = $run"), 'running', '... and the one that runs is not');
cancels('an apply that takes long', $run);
mode('nothing');
$blocker->query_safe('BEGIN');
$blocker->query_safe("SELECT count(*) FROM (SELECT FROM public.people WHERE site = 'mesa' FOR UPDATE) s");
$run = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for("SELECT a.wait_event_type = 'Lock' FROM pg_stat_activity a JOIN runs r USING (pid) "
	  . "WHERE r.run = $run");
cancels('a wait for a lock', $run);
$blocker->query_safe('ROLLBACK');
$run = start_in_trigger('sleep');
$node->stop('immediate');
$node->start;
mode('nothing');
is($roster->sql("SELECT state, sqlstate FROM roster_cancel($run)"), 'failed|57P02',
	'a run whose worker died is closed');
like($roster->error("SELECT roster_cancel($run)"), qr/ERROR:  55000/, '... and cannot be canceled again');
is($roster->sql("SELECT state, created + updated + archived > 0 FROM roster_sync('mesa')"), 'succeeded|t',
	'and a sync works');

# What a role with CONNECT can lock of the extension itself
$roster->sql('CREATE ROLE plain LOGIN; GRANT TEMPORARY ON DATABASE postgres TO plain');
my $plain = $node->background_psql('postgres', extra_params => [ '-U', 'plain' ]);
$plain->query_safe("BEGIN; CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION "
	  . "pg_temp.f() DEPENDS ON EXTENSION minga_roster");
is($roster->sql("SET statement_timeout = '60s'; SELECT state FROM roster_sync('mesa')"), 'succeeded',
	'a lock on the extension that anyone can take stops no run');
$plain->quit;

# A transaction that a caller leaves open
my $idle = $node->background_psql('postgres');
$idle->query_safe("BEGIN; SELECT FROM roster_disable('mesa')");
is($roster->sql("SET statement_timeout = '60s'; SELECT queue_due_runs()"), '0',
	'a transaction that is left open stops no evenings');
$idle->quit;

# The run of a worker that had to die
$server->day(50);
$run = start_in_trigger('loop');
$roster->sql("SELECT roster_cancel($run)");
$roster->wait_for("SELECT state = 'failed' FROM runs WHERE run = $run");
pass('a run whose worker died is closed by another one, without pg_cron');
mode('nothing');

$roster->stop;
$server->stop;
done_testing();
