# Automatic Rostering with pg_cron itself: what roster_enable asks of pg_cron, an evening from the job to the mail, a
# restored copy of the database, and a job that outlives the extension by less than two of its minutes.
# Planted: a connection that is on, as a restored copy has it.

use strict;
use warnings;

use MIME::QuotedPrint ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 11);
my $mail_server = SmtpServer->new(certs => $server->certs);
my $roster = RosterCluster->new('evening');
my $node = $roster->node;

$roster->connect_school('mesa-high', $server);

# What pg_cron needs, each lack with what to put where
sub restart_with
{
	my ($setting, $value) = @_;
	$node->adjust_conf('postgresql.conf', $setting, $value);
	$node->restart;
	return;
}

restart_with('cron.use_background_workers', 'off');
like($roster->error("SELECT roster_enable('mesa-high')"),
	RosterCluster::in_order(qr/ERROR:  55000: .*"mesa-high"/s,
		qr/DETAIL:  pg_cron connects through libpq \(cron\.use_background_workers is off\)/s,
		qr/HINT:  Ask the DBA to do this: set cron\.use_background_workers = on in postgresql\.conf \(/s,
		qr/postgresql\.conf\) and restart PostgreSQL\./s),
	'libpq mode is refused, with what to put where');
restart_with('cron.database_name', "'template1'");
like($roster->error("SELECT roster_enable('mesa-high')"),
	RosterCluster::in_order(qr/DETAIL:  pg_cron runs jobs in database "template1"/s,
		RosterCluster::pattern(qr/HINT:  Ask the DBA to do this: set cron\.database_name = 'postgres' and /s,
			qr/cron\.use_background_workers = on in/s)),
	'... and a pg_cron for another database');
restart_with('shared_preload_libraries', "'auto_explain'");
like($roster->error("SELECT roster_enable('mesa-high')"),
	RosterCluster::in_order(qr/DETAIL:  pg_cron is not preloaded\./s,
		RosterCluster::pattern(qr/HINT:  Ask the DBA to do this: set shared_preload_libraries = 'auto_explain, /s,
			qr/pg_cron' and cron\.database_name = 'postgres' and cron\.use_background_workers = /s,
			qr/on in/s)),
	'... and a pg_cron that is not preloaded');
is($roster->sql("UPDATE connections SET automatic = true, enabled_origin = minga_roster_internal.server_origin() "
	  . "RETURNING (SELECT blocked_reason FROM roster_status)"),
	'Automatic Rostering is off', 'nothing was turned on');
is($roster->sql('SELECT blocked_reason FROM roster_status'), 'pg_cron is not preloaded',
	'roster_status names it too');
$roster->sql('UPDATE connections SET automatic = false, enabled_origin = NULL');
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'pg_cron'");
$node->adjust_conf('postgresql.conf', 'cron.database_name', "'postgres'");
restart_with('cron.use_background_workers', 'on');

# An evening
$roster->set(smtp_url => $mail_server->url);
$roster->set(smtp_user => $mail_server->user);
$roster->set(smtp_from => 'roster@minga.example');
$roster->set(smtp_ca_file => $mail_server->ca_file);
$roster->sql("SELECT roster_set_secret('smtp', " . RosterCluster::quote($mail_server->password) . ')');
$roster->sql("SELECT roster_notify('mesa-high', 'it\@mesa.example')");
$roster->set(test_clock => '2026-09-02 00:59:00+00');
is($roster->sql("SELECT automatic, enabled_at FROM roster_enable('mesa-high')"), 't|2026-09-02 00:59:00+00',
	'switched on before the evening');
is($roster->sql('SELECT blocked_reason, next_evening FROM roster_status'),
	'waiting for the evening window|2026-09-02 01:00:00+00',
	'roster_status says what comes next');
$roster->set(test_clock => '2026-09-02 01:00:00+00');
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE trigger = 'evening' AND finished_at IS NOT NULL");
is($roster->sql("SELECT connection, kind, evening, state, error FROM runs WHERE trigger = 'evening'"),
	'mesa-high|sync|2026-09-01|succeeded|',
	'pg_cron starts the evening, and the sync succeeds');
cmp_ok($roster->sql('SELECT count(*) FROM public.people WHERE archived_at IS NULL'), '>', 0, 'people have come');
$roster->wait_for("SELECT state <> 'waiting' FROM outbox");
is($roster->sql('SELECT email, state, last_error FROM outbox'), 'it@mesa.example|sent|', 'the owner is told');
my @mails = $mail_server->mails;
is(scalar(@mails), 1, 'one mail arrived');
like($mails[0]{raw}, qr/^Subject: Mesa High: first sync: \d+ added\r?$/m, '... with the one thing in the subject');
my $text = MIME::QuotedPrint::decode($mails[0]{raw});
like($text, qr/^This was the first sync\. \d+ people were added\. There is nothing to do\.\r?$/m,
	'... and first in the text');
my ($name) = $roster->sql("SELECT given_name || ' ' || family_name FROM public.people ORDER BY person_id::text "
	  . "LIMIT 1") =~ /(.+)/;
ok(defined $name && index($text, $name) < 0, '... and no name');
is($roster->sql('SELECT blocked_reason, next_evening FROM roster_status'),
	'waiting for the evening window|2026-09-03 01:00:00+00', 'done for this evening');
is($roster->sql("SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"), '0', 'the job has not failed');

# A restored copy tells no one and asks no SIS, also when an evening is due in it; run where the copy's own clock says
# so
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'bash', '-c',
	sprintf('pg_dump -e minga_roster -h %s -p %s postgres | psql -qX -v ON_ERROR_STOP=1 -h %s -p %s copy',
			$node->host, $node->port, $node->host, $node->port) ], 'the database is dumped and restored beside itself');
is($node->safe_psql('copy',
	"INSERT INTO minga_roster.runs (connection, site, kind, trigger, evening, state, requested_by) "
		  . "SELECT connection, site, 'sync', 'evening', '2026-08-31', 'queued', current_user "
		  . "FROM minga_roster.connections; "
		  . 'SELECT count(*) FROM minga_roster_internal.queued_runs()'), '0',
		  'no worker takes an evening run that came in the copy');
$server->clear_log;
$roster->set(test_clock => '2026-09-03 02:00:00+00');
$node->safe_psql('copy', 'SELECT minga_roster.roster_run_due()');
ok($node->poll_query_until('copy', "SELECT paused_cause = 'restored' FROM minga_roster.connections"),
	'the copy pauses the connection');
is($node->safe_psql('copy', "SELECT automatic, blocked_reason, next_evening FROM minga_roster.roster_status"),
	't|paused: restored|', '... and says so');
is($node->safe_psql('copy', "SELECT count(*) FROM minga_roster.runs WHERE evening > '2026-09-01'"), '0',
	'... and queues nothing');
like(($node->psql('copy', "\\set VERBOSITY verbose\nSELECT minga_roster.roster_enable('mesa-high')"))[2],
	RosterCluster::in_order(qr/ERROR:  55000: .*DETAIL:  pg_cron runs jobs in database "postgres"/s,
		qr/The extension pg_cron is not installed in database "copy"/s),
	'a database beside that of pg_cron cannot be switched on');

# The extension goes, and its job with it
$roster->wait_for("SELECT count(*) = 2 FROM runs WHERE trigger = 'evening' AND finished_at IS NOT NULL");
$roster->sql('DROP EXTENSION minga_roster CASCADE');
my $last = $roster->sql('SELECT max(runid) FROM cron.job_run_details');
$roster->wait_for("SELECT count(*) = 0 FROM cron.job WHERE jobname = 'minga_roster'");
pass('the job unschedules itself');
is($roster->sql("SELECT string_agg(DISTINCT status, ',') FROM cron.job_run_details WHERE status <> 'succeeded'"), '',
	'... without an error');
cmp_ok($roster->sql('SELECT count(*) FROM public.people'), '>', 0, 'people stay');
unlike($roster->log_contents, qr/ERROR:  .*(?:roster_run_due|unschedule)/, 'nor one in the log');

$roster->stop;
done_testing();
