# The crash matrix: at each step of a run (token, pages, plan, apply, close, commit, queue, mail) its worker dies in
# each way (killed, killed with the postmaster, terminated, canceled, canceled by roster_cancel, fast and immediate
# shutdown). Afterwards no run is half applied or left open, the next sync works, a second one finds nothing to do, no
# one is there twice, and each mail is sent once. The school reads classes and contacts too.
#
# By default each step but mail dies once. CRASH_CELLS=all plays the whole; CRASH_CELLS='apply/killed mail/fast' some of
# it.

use strict;
use warnings;

use IO::Socket::INET;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my @ways = qw(killed postmaster terminated canceled roster_cancel fast immediate);
my @steps = qw(token pages plan apply close commit queue mail);
my @cells = map { [ split /\// ] } split / /,
	$ENV{CRASH_CELLS} // 'token/roster_cancel pages/killed plan/immediate apply/postmaster close/terminated '
	  . 'commit/immediate queue/killed';

if (($ENV{CRASH_CELLS} // '') eq 'all')
{
	@cells = ();
	foreach my $step (@steps) { push @cells, [ $step, $_ ] foreach @ways; }
}

my $server = OneRosterServer->new(people => 60, seed => 5);
my $mail_server = SmtpServer->new(certs => $server->certs, args => ['--no-auth']);
my $roster = RosterCluster->new('crashes', conf => "restart_after_crash = on\nminga_roster.max_workers = 2\n",
	init => { allows_streaming => 1 });
my $node = $roster->node;
# Accepts connections and never says a word.
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Timeout => 180)
  or die "no silent server: $!";
my $asked;
my $day = 0;
my $locker;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_toggle('mesa', auto_update => true, archive => true); "
	  . "SELECT roster_configure('mesa', guard_percent => 100, guard_update_percent => 100, classes => true, "
	  . 'contacts => true); '
	  . "SELECT roster_notify('mesa', 'it\@mesa.example', send => 'always', manual => true)");
$roster->set(smtp_from => 'roster@minga.example');
$roster->set(smtp_ca_file => $mail_server->ca_file);
$roster->set(smtp_url => $mail_server->url);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a first sync');
cmp_ok($roster->sql('SELECT count(*) FROM enrollments WHERE person_id IS NOT NULL'), '>', 60, '... with classes');
# The sessions of this test do not wait for the standby that is missing; a worker goes by the server's setting.
$roster->sql('ALTER DATABASE postgres SET synchronous_commit = local');

# People; then classes, enrollments and contacts, and what they were before.
my @objects = qw(academic_sessions courses classes enrollment_rows contact_rows user_rows);
sub people
{
	return $roster->sql("SELECT md5(string_agg((to_jsonb(p) - 'updated_at')::text, ',' ORDER BY person_id)) "
		  . 'FROM public.people p; '
		  . join('; ', map { "SELECT md5(string_agg(to_jsonb(o)::text, ',' ORDER BY to_jsonb(o)::text)) FROM $_ o" }
			  map { ($_, "${_}_versions") } @objects));
}
sub written { return $roster->sql("SELECT coalesce(sum(added + changed + returned + ended), 0) FROM run_objects "
	  . 'WHERE run = (SELECT max(run) FROM runs)'); }

sub hold
{
	my ($lock) = @_;
	$locker = $node->background_psql('postgres');
	$locker->set_query_timer_restart;
	$locker->query_safe('BEGIN');
	$locker->query_safe($lock);
	return;
}

sub asked_for
{
	my ($pattern) = @_;
	$server->wait_for(sub { return scalar grep { $_->{path} =~ $pattern } $server->log });
	return;
}

sub waits_for_lock
{
	my ($run) = @_;
	$roster->wait_for("SELECT EXISTS (SELECT FROM pg_locks l JOIN runs r USING (pid) WHERE r.run = $run "
		  . 'AND NOT l.granted)');
	return;
}

# What brings a run to each step, and what shows that it is there.
my %inject = (
	token => sub {
		$roster->sql("SELECT roster_set_secret('mesa', " . RosterCluster::quote($server->client_secret) . ')');
		$server->faults({ hang => { path => 'token' } });
	},
	pages => sub { $server->faults({ hang => { path => 'students' } }) },
	plan => sub { hold('LOCK TABLE public.people') },
	apply => sub { hold('SELECT count(*) FROM (SELECT FROM public.people FOR UPDATE) s') },
	close => sub { hold('LOCK TABLE outbox IN SHARE MODE') },
	commit => sub { hold('LOCK TABLE public.people') },
	queue => sub { $server->faults({ hang => { path => 'students' } }) },
	mail => sub { $roster->set(smtp_url => 'smtp://127.0.0.1:' . $silent->sockport) });
my %reached = (
	token => sub { asked_for(qr/token/) },
	pages => sub { asked_for(qr/students/) },
	plan => \&waits_for_lock, apply => \&waits_for_lock, close => \&waits_for_lock,
	# The merge begins, and by its end it commits for a standby that is missing.
	commit => sub {
		waits_for_lock(@_);
		$node->append_conf('postgresql.conf', "synchronous_standby_names = 'missing'\n");
		$node->reload;
		$roster->wait_for("SELECT current_setting('synchronous_standby_names') = 'missing'");
		$locker->query_safe('ROLLBACK');
		$roster->wait_for("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'minga_roster' "
			  . "AND wait_event = 'SyncRep')");
	},
	queue => sub { asked_for(qr/students/) },
	mail => sub {
		$asked = undef;
		$asked = $silent->accept or die 'no one came to the silent mail server';
	});

# What takes away what the step was brought to by.
sub release
{
	my ($step) = @_;
	$server->clear_faults;
	# A worker that lives on waits for the silent server otherwise, as long as it may.
	undef $asked;
	if (defined $locker)
	{
		eval { $locker->quit };
		undef $locker;
	}
	if ($step eq 'commit')
	{
		$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "''");
		$node->reload if is_up();
	}
	return;
}

# Mail that the silent server did not take is tried again at once.
sub send_mail
{
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	$roster->sql("UPDATE outbox SET next_attempt_at = clock_timestamp() WHERE state = 'waiting'; "
		  . 'DELETE FROM mail_server; SELECT roster_run_due()');
	$roster->wait_for("SELECT count(*) = 0 FROM outbox WHERE state = 'waiting'");
	return;
}

sub is_up { return ($node->psql('postgres', 'SELECT 1', timeout => 30))[0] == 0; }

# Waits until the process is gone; how long that took.
sub gone
{
	my ($pid) = @_;
	my $began = time;
	while (kill 0, $pid)
	{
		die "process $pid outlives its end by a minute" if time - $began > 60;
		select(undef, undef, undef, 0.1);
	}
	return time - $began;
}

my %dies_by = (
	killed => sub { my ($pid) = @_; kill 'KILL', $pid; gone($pid); },
	postmaster => sub { my ($pid) = @_; $node->kill9; gone($pid); },
	terminated => sub { my ($pid) = @_; $roster->sql("SELECT pg_terminate_backend($pid)"); },
	canceled => sub { my ($pid) = @_; $roster->sql("SELECT pg_cancel_backend($pid)"); },
	roster_cancel => sub {
		my ($pid, $run) = @_;
		# A run that has ended can't be canceled.
		$node->psql('postgres', "SELECT roster_cancel($run)");
	},
	fast => sub { my ($pid) = @_; $node->stop('fast'); },
	immediate => sub { my ($pid) = @_; $node->stop('immediate'); });

foreach my $cell (@cells)
{
	my ($step, $way) = @$cell;
	my $name = "$step, $way";
	my $began = time;
	my ($run, $queued, $pid);

	$day += 2;
	$server->day($day);
	$server->clear_log;
	my $before = people();
	$inject{$step}->();
	if ($step eq 'queue')
	{
		$run = $roster->sql("SELECT roster_start('mesa', 'fetch')");
		$reached{$step}->($run);
		$queued = $roster->sql("SELECT roster_start('mesa')");
		$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $queued");
	}
	else
	{
		$run = $roster->sql("SELECT roster_start('mesa')");
		$reached{$step}->($run);
	}
	$pid = $roster->sql($step eq 'mail' || $step eq 'commit'
		? "SELECT pid FROM pg_stat_activity WHERE backend_type = 'minga_roster'"
		: "SELECT pid FROM runs WHERE run = $run");
	my $told = time;
	$dies_by{$way}->($pid, $run);
	cmp_ok(time - $told, '<', 45, "$name: over in time");
	release($step);
	if ($way eq 'postmaster' || $way eq 'fast' || $way eq 'immediate')
	{
		gone($pid);
		$node->start;
	}
	else
	{
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	}
	$roster->set(smtp_url => $mail_server->url);
	$roster->sql('SELECT roster_run_due()');
	$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
	my $state = $roster->sql("SELECT concat_ws(' ', state, sqlstate) FROM runs WHERE run = $run");
	my $expected = $step eq 'mail' || $step eq 'commit' ? qr/^succeeded$/
	  : $way =~ /cancel/ ? qr/^canceled 57014$/ : $way eq 'terminated' || $way eq 'fast' ? qr/^failed 57P0[12]$/
	  : qr/^failed 57P02$/;
	like($state, $expected, "$name: the run is closed");
	if (defined $queued)
	{
		is($roster->sql("SELECT state FROM runs WHERE run = $queued"), 'succeeded', "$name: the queued run was worked");
	}
	elsif ($state eq 'succeeded')
	{
		is($roster->sql("SELECT count(*) FROM changes WHERE run = $run "
				  . "AND state NOT IN ('applied', 'noted', 'held')"), '0',
			"$name: all of it was applied");
	}
	else
	{
		is(people(), $before, "$name: nothing of it was applied");
		is($roster->sql("SELECT count(*) FROM changes WHERE run = $run"), '0', "$name: ... or is on record");
	}
	is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', "$name: the next sync works");
	my $after = people();
	is($roster->sql("SELECT state, created + linked + updated + restored + archived FROM roster_sync('mesa')"),
		'succeeded|0', "$name: a second one has nothing to do");
	is(written(), '0', "$name: ... nor with classes");
	is(people(), $after, "$name: ... and does nothing");
	is($roster->sql("SELECT count(*) FROM (SELECT FROM people WHERE identifier IS NOT NULL AND archived_at IS NULL "
		  . 'GROUP BY site, identifier HAVING count(*) > 1) s'), '0', "$name: no one is there twice");
	send_mail();
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	# A fetch is reported to no one.
	like($roster->sql("SELECT subject FROM outbox WHERE run = $run AND state = 'sent'"),
		$state =~ /^failed/ ? qr/sync failed, /
		: $state =~ /^canceled/ ? qr/sync .*canceled/ : qr/\d added|nothing changed|on hold/,
		"$name: the recipient is told how it ended") if $step ne 'queue';
	is($roster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', "$name: no lock is left");
	note("$name: $state, " . (time - $began) . ' s');
}

cmp_ok($roster->sql('SELECT count(*) FROM enrollment_rows WHERE ended_at IS NOT NULL OR written_run > '
	  . "(SELECT min(run) FROM runs WHERE kind = 'sync')"), '>', 5, 'enrollments began and ended meanwhile');
# What crashed workers have left in temporary schemas is in the way of no later worker, whichever schema it gets
my @sessions;
foreach my $n (1 .. 5)
{
	is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded',
		"a sync beside $n sessions more or less, so that its worker gets another temporary schema");
	push @sessions, $node->background_psql('postgres');
}
$_->quit foreach @sessions;
send_mail();

# Each mail arrived once
is($roster->sql("SELECT count(*) FROM outbox WHERE state <> 'sent'"), '0', 'each mail was sent');
my %arrived;
foreach my $mail ($mail_server->mails)
{
	my ($id) = $mail->{raw} =~ /^Message-ID: (\S+)/mi;
	$arrived{ $id // 'none' }++;
}
is(join(' ', grep { $arrived{$_} > 1 } sort keys %arrived), '', '... and arrived once');
is(scalar(keys %arrived), $roster->sql('SELECT count(*) FROM outbox'), '... all of them');

$roster->stop;
$server->stop;
done_testing();
