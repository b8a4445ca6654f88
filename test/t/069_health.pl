# What stops rostering on a server is told: by roster_health, by roster_status and, where a run can notice it, by mail;
# and the end of each run is announced. Faults of connections and people are in the regression test health.
# Planted: a collation's version, as another operating system would have it.
use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 69);
my $roster = RosterCluster->new('health', init => { allows_streaming => 1 });
my $node = $roster->node;

$roster->connect_school('mesa-high', $server);
$roster->set(test_clock => '2026-09-01 12:00-06');
$roster->sql("SELECT roster_notify('mesa-high', 'owner\@mesa.example', send => 'problems')");
$roster->sql("SELECT roster_enable('mesa-high')");
# Runs begin when this test says so.
$roster->sql("UPDATE cron.job SET schedule = '0 0 1 1 *'");

# "check" and detail of what is not ok, a line for each.
my $faults = q{SELECT "check", detail, hint FROM roster_health() WHERE NOT ok AND detail NOT LIKE 'no mail can be%'};
sub faults { return $roster->sql($faults); }
# The same of a transaction that is rolled back.
sub faults_after
{
	my ($statement) = @_;
	return $roster->sql("BEGIN; $statement; $faults; ROLLBACK");
}

is(faults(), '', 'nothing is wrong with a server that is set up');
is($roster->sql('SELECT blocked_code FROM roster_status'), 'window', 'roster_status waits for the evening');

# Waits until a query answers true.
sub reached
{
	my ($query, $name) = @_;
	is(eval { $roster->wait_for($query); 1 }, 1, $name);
	return;
}

# The heartbeat
my $beat = $roster->sql('SELECT beat_at FROM heartbeat');
$roster->sql('SELECT roster_run_due()');
reached("SELECT beat_at > '$beat' FROM heartbeat", 'roster_run_due leaves a heartbeat');
is($roster->sql(q{SELECT string_agg(is_silent(now() - beat, now() - up, now())::text, ' ') FROM (VALUES
	(interval '6 min', interval '1 hour'), ('6 min', '1 min'), ('4 min', '1 hour'), ('-6 min', '1 min')) v (beat, up)}),
	'true false false true', 'it is missed after five minutes, not before the server has been up for so long');
my $pages = 'SELECT pg_relation_size(\'heartbeat\') / 8192';
$roster->sql("SELECT 'SELECT beat()' FROM generate_series(1, 1440)\n\\gexec");
# All versions together would fill ten; a snapshot somewhere keeps some of them for a while.
cmp_ok($roster->sql($pages), '<=', 4, 'a day of heartbeats stays in its pages');

# pg_cron
like($roster->sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
	  . "WHERE backend_type = 'pg_cron launcher'; " . $faults . '; SELECT blocked_code FROM roster_status'),
	qr/^t\ncron_launcher\|the launcher of pg_cron is not running\|.*\ncron_launcher$/s, 'a launcher that is gone');
# The job is away over the restart: with the setting off, pg_cron 1.6.5 to 1.6.7 (Debian 13) crashes at a superuser's
# job, and the server goes down with it.
$roster->sql('CREATE TABLE kept AS TABLE cron.job; DELETE FROM cron.job');
$node->append_conf('postgresql.conf', 'cron.enable_superuser_jobs = off');
$node->restart;
reached("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'pg_cron launcher'", 'the launcher is back');
like(faults_after('INSERT INTO cron.job TABLE kept; SELECT blocked_code FROM roster_status'),
	qr/^cron_settings\ncron_settings\|pg_cron starts no job: cron\.enable_superuser_jobs is off\|Turn on what is off/,
	'jobs that are not started block, and the setting is named');
$node->append_conf('postgresql.conf', 'cron.enable_superuser_jobs = on');
$node->restart;
$roster->sql('INSERT INTO cron.job TABLE kept; DROP TABLE kept');
is(faults(), '', 'all of it mended');
like(faults_after('UPDATE cron.job SET active = false'),
	qr/^cron_job\|pg_cron job \d+ is not active\|Run roster_enable for one connection: it makes the job and activates/,
	'a job that is switched off');
like(faults_after('DELETE FROM cron.job'), qr/^cron_job\|pg_cron has no job\|/, 'a job that is gone');
like(faults_after('INSERT INTO cron.job_run_details (jobid, runid, status, return_message) '
		  . "SELECT jobid, 1000000, 'failed', 'connection failed' FROM cron.job"),
	qr/^cron_result\|the pg_cron job fails: connection failed\|/, 'a job that fails');
like(faults_after('DO $$ BEGIN EXECUTE format(\'ALTER ROLE %I NOLOGIN\', current_user); END $$'),
	qr/^cron_owner\|the owner of the pg_cron job, ".*", cannot log in\|.*LOGIN\.$/, 'an owner who cannot log in');
like(faults_after('DROP EXTENSION pg_cron'), qr/^cron_installed\|pg_cron is not installed in this database\|/,
	'pg_cron that is not here');
$node->adjust_conf('postgresql.conf', 'cron.database_name', "'template1'");
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '4');
$node->restart;
like(faults(), qr/^cron_database\|pg_cron runs jobs in database "template1" \(cron\.database_name\)\|/m,
	'pg_cron of another database');
like(faults(), qr/^worker_slots\|max_worker_processes is 4, and minga_roster\.max_workers is 2\|Raise max_worker/m,
	'too few worker processes');
$node->adjust_conf('postgresql.conf', 'cron.database_name', "'postgres'");
$node->adjust_conf('postgresql.conf', 'max_worker_processes', '16');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'auto_explain'");
$node->restart;
like(faults(), qr/^cron_preloaded\|pg_cron is not preloaded\|Add pg_cron to shared_preload_libraries/,
	'pg_cron that is not preloaded');
is($roster->sql(q{SELECT string_agg("check", ' ') FROM roster_health() WHERE ok IS NULL
		AND detail = 'pg_cron is not preloaded'}), 'cron_database cron_launcher', '... and what cannot be known then');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'pg_cron'");
$node->restart;
# No one needs pg_cron while nothing is to run by itself.
is($roster->sql('BEGIN; UPDATE connections SET automatic = false; DROP EXTENSION pg_cron; '
		. q{SELECT ok IS NULL, detail FROM roster_health() WHERE "check" = 'cron_installed'; ROLLBACK}),
	't|pg_cron is not installed in this database', 'where nothing needs pg_cron its lack is no fault');

# The key file
chmod 0644, $roster->key_file;
like(faults(), qr/^key_file\|key file ".*" is open to group or others\|Run chmod 0600 on it\./,
	'a key file open to others');
is($roster->sql('SELECT ok IS NULL, detail FROM roster_health() WHERE "check" = \'secrets\''),
	't|no stored secret can be opened', '... nothing is known of the secrets then');
like($roster->sql('SELECT blocked_code, blocked_reason FROM roster_status'),
	qr/^key_file\|key file ".*" is open to group/, '... and roster_status says so');
chmod 0600, $roster->key_file;

# The minute's duty
$roster->sql('ALTER FUNCTION apply_retention() RENAME TO regress_retention');
$roster->sql('SELECT roster_run_due()');
reached('SELECT failed_at IS NOT NULL FROM heartbeat', 'a part of the duty that fails is noted');
like(faults(), qr/^duty\|a part of the minute's duty fails with SQLSTATE 42883: SELECT .*apply_retention\(\)\|/,
	'... and told');
$roster->sql('ALTER FUNCTION regress_retention() RENAME TO apply_retention');
$roster->sql('UPDATE heartbeat SET failed_at = NULL');

# Time zones of a release that is two years old, by a clock that goes ahead; collations that sort otherwise.
$roster->set(test_clock => '2099-01-01 00:00+00');
like($roster->sql('SELECT detail, hint FROM roster_health() WHERE "check" = \'tzdata\' AND NOT ok'),
	qr/^the time zones of the server are of release \d{4}[a-z]\|Update the operating system's package tzdata/,
	'time zones that are old');
$roster->set(test_clock => '2026-09-01 12:00-06');
like(faults_after("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()"),
	qr/^collation\|Database "postgres" was made with version 0, and the server has none\|Rebuild the indexes/,
	'a collation of another version');

# A run that waits for a lock
$roster->set(lock_timeout => '5s');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE public.people');
my $run = $roster->sql("SELECT roster_start('mesa-high')");
reached(q{SELECT count(*) = 1 FROM roster_health() WHERE NOT ok AND "check" = 'locks'
	AND detail LIKE '1 run waits for a lock since % UTC: "mesa-high"'
	AND hint ~ '^End what process \d+ does, or wait until the run fails after minga_roster.lock_timeout'},
	'a run that waits for a lock, and for whom');
$holder->quit;
$roster->wait_for("SELECT finished_at IS NOT NULL FROM runs WHERE run = $run");
$roster->set(lock_timeout => '15min');

# The end of runs, as a program hears of it that listens: all that comes until a run's end came.
sub announced
{
	my ($what) = @_;
	my ($stdout, $stderr) = run_command([ '/usr/bin/python3', '-c', <<'PYTHON', $node->connstr('postgres'), $what ]);
import select, sys, psycopg2
heard = psycopg2.connect(sys.argv[1])
heard.autocommit = True
heard.cursor().execute("LISTEN minga_roster")
run = heard.cursor()
run.execute(sys.argv[2])
run = run.fetchone()[0]
while not any('"run": %s,' % run in n.payload for n in heard.notifies):
    if select.select([heard], [], [], 60) == ([], [], []):
        sys.exit("nothing was announced of run %s" % run)
    heard.poll()
print("\n".join(n.channel + " " + n.payload for n in heard.notifies))
PYTHON
	return $stdout . $stderr;
}
like(announced("SELECT minga_roster.roster_start('mesa-high')"),
	qr/^minga_roster \{"run": \d+, "held": 0, "kind": "sync", "site": "mesa-high", "state": "succeeded", .*\}$/,
	'the end of a run is announced, with the site');
my $heard = announced("SELECT minga_roster.roster_start('mesa-high')");
like($heard, qr/"created": 0, .*"trigger": "manual", .*"unchanged": \d\d.*"connection": "mesa-high"/,
	'... the connection and the counts');
unlike($heard, qr/public|@/, '... and no one\'s data');
$roster->set(notify => 'run');
$heard = announced("SELECT minga_roster.roster_start('mesa-high')");
like($heard, qr/^minga_roster \{"run": \d+, .*"state": "succeeded", .*"unchanged": \d\d/,
	'the end of a run is announced without names, where that is set');
unlike($heard, qr/mesa|public|@/, '... with neither connection nor site');
$roster->set(notify => 'off');
my $silent = $node->background_psql('postgres');
$silent->query_safe('LISTEN minga_roster');
is($roster->sql("SELECT state FROM roster_sync('mesa-high')"), 'succeeded', 'a run of which nothing is announced');
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
unlike($silent->query('SELECT 1'), qr/minga_roster/, '... is not heard of');
$silent->quit;
$roster->set(notify => 'connection');
# A queue that is full is an error of the transaction that announces.
$roster->sql('ALTER FUNCTION end_of_run(runs, boolean) RENAME TO regress_end');
is($roster->sql("SELECT state FROM roster_sync('mesa-high')"), 'succeeded', 'a run that cannot be announced succeeds');
reached('SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = \'minga_roster\'', '... and its worker ends');
like($roster->log_contents, qr/function minga_roster_internal\.end_of_run\(.*\) does not exist/,
	'... and the log says why');
$roster->sql('ALTER FUNCTION regress_end(runs, boolean) RENAME TO end_of_run');

# A time zone that the server no longer knows
sub at
{
	my ($time) = @_;
	$roster->set(test_clock => $time);
	$roster->sql('SELECT roster_run_due()');
	return;
}
$roster->sql("UPDATE connections SET time_zone = 'US/Gone', enabled_at = '2026-09-01 12:00-06'");
at('2026-09-01 20:00-06');
reached("SELECT count(*) = 1 FROM outbox WHERE subject LIKE '%the server no longer knows the school''s time zone'",
	'the owner of a school whose time zone is lost is told');
at('2026-09-02 20:00-06');
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
is($roster->sql('SELECT count(*) FROM outbox'), '1', '... once');
like($roster->error("SELECT roster_sync('mesa-high')"),
	RosterCluster::in_order(qr/ERROR:  22023: run \d+ of connection "mesa-high": time zone "US\/Gone" does not exist/s,
		qr/HINT:  Install the package/s),
	'a sync says so');
is($roster->sql("SELECT count(*) FROM roster_test_connection('mesa-high') WHERE NOT ok"), '0',
	'the connection can be tested all the same');
like($roster->sql("SELECT roster_report('mesa-high')"), qr/US\/Gone.*tzdata-legacy/s, 'reports can be read');
$roster->sql("SELECT roster_configure('mesa-high', time_zone => 'US/Mountain')");
is($roster->sql('SELECT time_zone FROM connections'), 'America/Denver', 'the name that stays is stored');

# Evenings that fail: the secret is wrong.
$roster->sql("SELECT roster_set_secret('mesa-high', 'wrong')");
$roster->sql('DELETE FROM outbox');
foreach my $day (4, 5, 6)
{
	at("2026-09-0$day 20:00-06");
	reached("SELECT count(*) = 1 FROM runs WHERE evening = '2026-09-0$day' AND sqlstate = '28P01'",
		"evening $day fails");
}
is($roster->sql('SELECT automatic, paused_cause, paused_reason FROM connections'),
	't|evenings_failed|3 evenings in a row failed', 'after three the connection is paused');
is($roster->sql("SELECT subject ~ 'the SIS rejected the login; Automatic Rostering is paused\$', "
		. "body_text ~ 'SELECT minga_roster.roster_enable\\(''mesa-high''\\)' FROM outbox ORDER BY mail DESC LIMIT 1"),
	't|t', '... and its owner is told why and what to do');
like(faults(), qr/^paused\|Automatic Rostering is paused for "mesa-high"\|/, '... which roster_health tells too');
at('2026-09-07 20:00-06');
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
is($roster->sql("SELECT count(*) FROM runs WHERE evening = '2026-09-07'"), '0', 'the SIS is left alone then');
$roster->sql("SELECT roster_set_secret('mesa-high', " . RosterCluster::quote($server->client_secret) . ')');
$roster->sql('SELECT roster_enable(connection) FROM connections WHERE paused_cause = \'evenings_failed\'');
at('2026-09-07 20:01-06');
reached("SELECT count(*) = 1 FROM runs WHERE evening = '2026-09-07' AND state = 'succeeded'",
	'turned on again it runs that evening');

# A standby
$roster->set(test_clock => '');
$node->backup('standby');
my $standby = PostgreSQL::Test::Cluster->new('health_standby');
$standby->init_from_backup($node, 'standby', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT ok IS NULL, detail FROM roster_health() WHERE "check" = \'standby\''),
	't|this server is a standby: runs work on the primary server', 'a standby says what it is');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM roster_health() WHERE "check" = \'heartbeat\' AND ok'), '1',
	'... and sees the heartbeat of its primary server');

# ... and that is promoted while a run goes on, as the primary server is lost
$server->clear_log;
$server->faults({ hang => { path => 'students' } });
my $open = $roster->sql("SELECT roster_start('mesa-high')");
$server->wait_for(sub { return scalar grep { $_->{path} =~ /students/ } $server->log });
$node->wait_for_catchup($standby);
$node->stop('immediate');
$server->clear_faults;
is($standby->safe_psql('postgres', "SELECT state FROM minga_roster.runs WHERE run = $open"), 'running',
	'a run is open when its server is lost');
$standby->promote;
$standby->safe_psql('postgres', 'SELECT minga_roster.roster_run_due()');
is($standby->poll_query_until('postgres',
	"SELECT state = 'failed' AND sqlstate = '57P02' FROM minga_roster.runs WHERE run = $open"), 1,
	'... and the promoted server closes it');
is($standby->safe_psql('postgres', "SELECT state FROM minga_roster.roster_sync('mesa-high')"), 'succeeded',
	'... and goes on');
$standby->stop;
$server->stop;

done_testing();
