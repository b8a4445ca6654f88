# What the host and its other users can do to runs: locks that are held, a standby that is missing, limits that are
# reached. Each run ends in time, says what it met, and the next one finds everything in order.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 5);
my $roster = RosterCluster->new('host_faults',
	conf => "minga_roster.max_workers = 2\nrestart_after_crash = on\nmax_prepared_transactions = 4\n",
	init => { allows_streaming => 1 });
my $node = $roster->node;

sub newest { return $roster->sql('SELECT max(run) FROM runs'); }
sub run_row { my ($run, $columns) = @_; return $roster->sql("SELECT $columns FROM runs WHERE run = $run"); }
sub all_ended { $roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')"); return; }
sub ended { my ($run) = @_; $roster->wait_for("SELECT state NOT IN ('queued', 'running') FROM runs WHERE run = $run"); }

# A session that keeps what it takes; quit lets it go.
sub session
{
	my (@statements) = @_;
	my $session = $node->background_psql('postgres');
	$session->set_query_timer_restart;
	$session->query_safe($_) foreach @statements;
	return $session;
}

# Locks: five schools of one people table, one of another, and two workers
$roster->sql("SELECT roster_create_people('public.others', owner => 'people_owner')");
$roster->connect_school($_, $server) foreach qw(a1 a2 a3 a4 a5 a6);
$roster->connect_school('b1', $server, people => 'public.others');
# A site without anyone, beside sites that have people, would be held for review.
$roster->sql("INSERT INTO public.people (site, role, given_name, family_name) "
	  . "SELECT 'a' || n, 'owner', 'The', 'Owner' FROM generate_series(1, 6) n");
my $blocker = session('BEGIN', 'LOCK TABLE public.people IN SHARE MODE');
my $blocker_pid = $blocker->query_safe('SELECT pg_backend_pid()');
my %run = map { $_ => $roster->sql("SELECT roster_start('$_')") } qw(a1 a2 a3 a4 a5 b1);
ended($run{b1});
is(run_row($run{b1}, 'state'), 'succeeded', 'a school of another table goes on while people of five are locked');
$roster->wait_for("SELECT count(*) = 4 AND "
	  . "bool_and(blocked_reason ~ '^run \\d+ waits for a lock on public\\.people\$') "
	  . "FROM roster_status WHERE state LIKE '%queued%'");
pass('... and roster_status says what four of the five wait for');
is($roster->sql("SELECT count(*) FROM runs WHERE state = 'running'"), '1', '... while one worker waits for the lock');
$blocker->query_safe('ROLLBACK');
all_ended();
is($roster->sql("SELECT count(DISTINCT connection) FROM runs WHERE state = 'succeeded'"), '6',
	'all succeed once the lock is gone');
$roster->set(lock_timeout => '5s');
$blocker->query_safe('BEGIN');
$blocker->query_safe('LOCK TABLE public.people IN SHARE MODE');
like($roster->error("SELECT roster_sync('a6')"),
	RosterCluster::in_order(qr/ERROR:  55P03: .*could not write to the people relation "public\.people"/,
		qr/It waited 5 s for relation "public\.people"\. It was blocked by process $blocker_pid /,
		qr/\(application "\S+", idle in transaction, transaction began 20[^,]+, query began 20[^,]+\)\./,
		qr/end the transaction that holds the lock.*An evening is tried again\./),
	'a run that waited for minga_roster.lock_timeout fails, and says who blocked it, and what to do');
is(run_row(newest(), 'state, sqlstate'), 'failed|55P03', '... on record too');
$blocker->query_safe('ROLLBACK');
is($roster->sql("SELECT state FROM roster_sync('a6')"), 'succeeded', '... and the next one succeeds');

# ... behind a session that waits itself, for rows, and for a table of the extension
$roster->set(lock_timeout => '1s');
my $reader = session('BEGIN', 'SELECT count(*) FROM public.people');
my $reader_pid = $reader->query_safe('SELECT pg_backend_pid()');
my $altering = $node->background_psql('postgres', on_error_stop => 0);
$altering->query_until(qr/altering/, "\\echo altering\nALTER TABLE public.people ADD COLUMN later text;\n");
$roster->wait_for("SELECT count(*) = 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted");
like($roster->error("SELECT roster_sync('a1')"), qr/ERROR:  55P03: .*blocked by process $reader_pid \(/s,
	'of a queue for a lock, the session at its head is named');
$reader->query_safe('ROLLBACK');
$altering->quit;
$roster->sql('ALTER TABLE public.people DROP COLUMN IF EXISTS later');
$server->day(2);
$roster->sql("SELECT roster_toggle('a1', auto_update => true)");
$blocker->query_safe('BEGIN');
$blocker->query_safe("SELECT count(*) FROM (SELECT FROM public.people WHERE site = 'a1' FOR UPDATE) s");
like($roster->error("SELECT roster_sync('a1')"),
	qr/ERROR:  55P03: .*for rows that another transaction has changed or locked.*by process $blocker_pid \(/s,
	'rows that are locked');
$blocker->query_safe('ROLLBACK');
$blocker->query_safe('BEGIN');
$blocker->query_safe('LOCK TABLE changes');
like($roster->error("SELECT roster_sync('a1')"),
	qr/ERROR:  55P03: .*a lock was waited for too long.*"minga_roster\.changes".*by process $blocker_pid \(/s,
	'a table of the extension that is locked');
$blocker->query_safe('ROLLBACK');
$roster->sql("BEGIN; LOCK TABLE public.people IN SHARE MODE; PREPARE TRANSACTION 'forgotten'");
like($roster->error("SELECT roster_sync('a1')"),
	qr/ERROR:  55P03: .*by a prepared transaction \(see pg_prepared_xacts\)/s,
	'a prepared transaction');
$roster->sql("ROLLBACK PREPARED 'forgotten'");
is($roster->sql("SELECT state, updated > 0 FROM roster_sync('a1')"), 'succeeded|t', 'and all goes well afterwards');
unlike($roster->sql("SELECT string_agg(concat_ws(' ', error, detail, hint), ' ') FROM runs"), qr/FOR UPDATE|LOCK TABLE/,
	'no text of another session is on record');
$roster->set(lock_timeout => '15min');

# A synchronous standby that is missing: commits wait for it, and a shutdown does not
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'missing'\n");
$node->reload;
$server->day(4);
my $psql = $node->background_psql('postgres', on_error_stop => 0);
$psql->query_until(qr/begun/, "\\echo begun\nSET synchronous_commit = local;\nSELECT roster_start('a1');\n");
$roster->wait_for("SELECT count(*) >= 1 FROM pg_stat_activity WHERE backend_type = 'minga_roster' "
	  . "AND wait_event = 'SyncRep'");
pass('a run waits for a standby that is missing');
my $asked = time;
$node->stop('fast');
cmp_ok(time - $asked, '<', 30, '... and a fast shutdown ends all the same');
$node->adjust_conf('postgresql.conf', 'synchronous_standby_names', "''");
$node->start;
is($roster->sql("SELECT state FROM roster_sync('a2')"), 'succeeded', '... and the next run works');
is($roster->sql("SELECT count(*) FROM runs WHERE state IN ('queued', 'running')"), '0', '... and no run is left open');


# Settings of the database, of roles and of the server that would end or hold a worker
my $free = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0; ";
my $writing = $free . 'SET default_transaction_read_only = off; ';
$roster->sql($writing . "ALTER DATABASE postgres SET statement_timeout = '1ms'; "
	  . "ALTER DATABASE postgres SET lock_timeout = '1ms'; "
	  . "ALTER DATABASE postgres SET idle_in_transaction_session_timeout = '1ms'; "
	  . "ALTER DATABASE postgres SET default_transaction_read_only = on; "
	  . "ALTER DATABASE postgres SET work_mem = '64kB'; ALTER ROLE minga_roster_dba SET statement_timeout = '1ms'; "
	  . "ALTER ROLE people_owner SET statement_timeout = '1ms'; ALTER ROLE CURRENT_USER SET lock_timeout = '1ms'");
$server->day(6);
is($roster->sql("$writing SELECT state FROM roster_sync('a1')"), 'succeeded',
	'a run does not go by what database and roles have set');
like($roster->error("$free SELECT roster_sync('a1')"), qr/ERROR:  25006: .*read-only transaction/,
	'... but its caller does');
$roster->sql($writing . 'ALTER DATABASE postgres RESET ALL; '
	  . 'ALTER DATABASE postgres SET search_path = public, minga_roster, minga_roster_internal; '
	  . 'ALTER ROLE minga_roster_dba RESET ALL; ALTER ROLE people_owner RESET ALL; ALTER ROLE CURRENT_USER RESET ALL');
$node->append_conf('postgresql.conf', "statement_timeout = '1ms'\nlock_timeout = '1ms'\n"
	  . "idle_in_transaction_session_timeout = '1ms'\ndefault_transaction_read_only = on\n");
$node->reload;
$roster->wait_for("SELECT current_setting('default_transaction_read_only') = 'on'");
is($roster->sql("$writing SELECT state FROM roster_sync('a1')"), 'succeeded', '... nor by timeouts of the server');
$node->adjust_conf('postgresql.conf', $_, $_ =~ /read_only/ ? 'off' : '0') foreach qw(statement_timeout lock_timeout
	idle_in_transaction_session_timeout default_transaction_read_only);
$node->reload;
$roster->wait_for("SELECT current_setting('statement_timeout') = '0'");

# No connection left: a worker needs none
my $open = $node->background_psql('postgres', on_error_stop => 0);
$open->set_query_timer_restart;
$open->query_safe('SET client_min_messages = warning');
my @sessions;
foreach (1 .. 200)
{
	my ($rc) = $node->psql('postgres', 'SELECT 1');
	last if $rc != 0;
	push @sessions, session('SELECT 1');
}
cmp_ok(scalar(@sessions), '>', 3, 'no connection is left');
is($open->query_safe("SELECT state FROM roster_sync('a1')"), 'succeeded', '... and a run works');
$_->quit foreach @sessions;
$roster->wait_for('SELECT true');
$roster->sql('ALTER DATABASE postgres CONNECTION LIMIT 0');
is($open->query_safe("SELECT state FROM roster_sync('a1')"), 'succeeded', '... also where the database takes none');
$roster->sql('ALTER DATABASE postgres CONNECTION LIMIT -1');

# The table of locks is full
my $greedy = $node->background_psql('postgres', on_error_stop => 0);
$greedy->set_query_timer_restart;
$greedy->query('SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 2000 * 1000) n');
like($greedy->{stderr}, qr/out of shared memory/, 'a session takes each lock that the server has room for');
$open->query("SELECT state FROM roster_sync('a1')");
like($open->{stderr}, qr/ERROR: .*(out of shared memory|ended before the run was on record|a statement of the run)/s,
	'... and a run does not begin, or fails');
$greedy->quit;
$roster->wait_for("SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'");
$roster->sql('SELECT roster_run_due()');
all_ended();
is($roster->sql("SELECT state FROM roster_sync('a1')"), 'succeeded', '... and the next run works');

# The database goes while a run asks the SIS
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION minga_roster');
$node->safe_psql('other', "SELECT minga_roster.roster_create_people('public.people', owner => 'people_owner')");
$node->safe_psql('other', "SELECT minga_roster.roster_connect('a1', url => '" . $server->url . "', client_id => '"
	  . $server->client_id . "', client_secret => " . RosterCluster::quote($server->client_secret) . ", app_name => '"
	  . $server->app_name . "', school_id => '" . $server->school_id . "', people => 'public.people', "
	  . "time_zone => 'UTC')");
$server->faults({ hang => { path => 'students' } });
$node->safe_psql('other', "SELECT minga_roster.roster_start('a1')");
$node->poll_query_until('other', "SELECT count(*) = 1 FROM minga_roster.runs WHERE state = 'running' "
	  . "AND phase = 'fetch'") or die 'the run did not begin';
like(($node->psql('postgres', "\\set VERBOSITY verbose\nDROP DATABASE other"))[2], qr/ERROR:  55006/,
	'a database is not dropped while a run works in it');
is(($node->psql('postgres', 'DROP DATABASE other WITH (FORCE)'))[0], 0, '... but by force it is');
$server->clear_faults;
$open->quit;

# A disk that is full: people are on a small file system of their own, which only this server sees
my $small = PostgreSQL::Test::Utils::tempdir();
my ($uid, $gid) = ($>, (split / /, $))[0]);
my @inside = ('unshare', '-Urm', 'sh', '-c', 'mount -t tmpfs -o size=16m tmpfs "$0" && exec unshare -U --map-user='
	  . "$uid --map-group=$gid \"\$@\"", $small);
SKIP:
{
	skip 'no file system can be mounted here', 4 if system(@inside, 'true') != 0;
	$node->stop;
	# The data directory stays where it is: only the tablespace is on the small file system.
	system(@inside, 'pg_ctl', '-w', '-s', '-D', $node->data_dir, '-l', $node->logfile, '-o',
		'--cluster-name=host_faults', 'start') == 0 or die 'the server did not start on the small file system';
	$node->_update_pid(1);
	$roster->sql("CREATE TABLESPACE small LOCATION '$small'");
	$roster->sql('ALTER TABLE public.people SET TABLESPACE small; ALTER TABLE public.people ADD COLUMN ballast text; '
		  . 'ALTER TABLE public.people SET (autovacuum_enabled = off); '
		  . 'CREATE TABLE filler (content text) TABLESPACE small; '
		  . 'ALTER TABLE filler ALTER content SET STORAGE EXTERNAL');
	$roster->sql("UPDATE public.people SET ballast = string_agg FROM (SELECT string_agg(md5(n::text), '') "
		  . 'FROM generate_series(1, 200) n) s');
	# Until no page of people has room for a row, either.
	foreach my $row ("filler VALUES (repeat('x', 8000))", "filler VALUES ('x')",
		"public.people (site, role, given_name, family_name) VALUES ('full', 'owner', 'The', 'Owner')")
	{
		$node->psql('postgres', "DO \$\$ BEGIN LOOP INSERT INTO $row; COMMIT; END LOOP; END \$\$");
	}
	my $before = $roster->sql('SELECT count(*), count(archived_at) FROM public.people');
	$server->day(30);
	$roster->sql("SELECT roster_configure('a1', guard_percent => 100, guard_update_percent => 100)");
	like($roster->error("SELECT roster_sync('a1')"), qr/ERROR:  53100: .*No space left on device.*HINT: /s,
		'a disk that is full is told');
	is($roster->sql('SELECT state, sqlstate FROM runs ORDER BY run DESC LIMIT 1'), 'failed|53100', '... and on record');
	is($roster->sql('SELECT count(*), count(archived_at) FROM public.people'), $before, '... no one is changed');
	$roster->sql('DROP TABLE filler');
	is($roster->sql("SELECT state FROM roster_sync('a1')"), 'succeeded', '... and the next run works');
	$roster->sql('ALTER TABLE public.people SET TABLESPACE pg_default');
	$roster->sql('DROP TABLESPACE small');
}

$roster->stop;
$server->stop;
done_testing();
