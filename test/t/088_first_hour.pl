# What a DBA meets in the first hour: why nothing happens, a mail server that refuses the password, a test mail, an undo
# that pauses, the latest report, and an environment whose locale is not there.
use strict;
use warnings;

# Set before anything is started: a locale that no machine has.
BEGIN { $ENV{LC_ALL} = $ENV{LANG} = 'xx_YY.UTF-8'; }

use OneRosterServer;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 3);
my $mail_server = SmtpServer->new(certs => $server->certs);
my $roster = RosterCluster->new('first_hour');
my $node = $roster->node;

$roster->connect_school('mesa-high', $server);
pass('a cluster and the test servers start in a locale that is not there');

sub status { return $roster->sql("SELECT $_[0] FROM roster_status WHERE connection = 'mesa-high'"); }

sub settings_for_mail
{
	$roster->set(smtp_ca_file => $mail_server->ca_file);
	$roster->set(smtp_url => $mail_server->url);
	$roster->set(smtp_from => 'roster@minga.example');
	$roster->set(smtp_user => $mail_server->user);
	return;
}

# The latest report, by the connection's name
like($roster->error("SELECT roster_report('mesa-high')"),
	qr/ERROR:  55000: connection "mesa-high" has no report yet.*HINT:  .*roster_sync\('mesa-high'\)/s,
	'no report before a first sync');
$roster->sql("SELECT roster_test_connection('mesa-high')");
like($roster->error("SELECT roster_report('mesa-high')"), qr/no report yet/, '... a connection test is none');
my $first = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
$roster->sql("SELECT roster_preview('mesa-high')");
is($roster->sql("SELECT roster_report('mesa-high') = roster_report($first)"), 't',
	'the latest report is that of the sync, whatever ran after it');
my $second = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
is($roster->sql("SELECT roster_report('mesa-high') = roster_report($second)"), 't',
	'... and of the next sync after that');

# A test mail: every way in which it cannot be sent, then one that arrives
like($roster->error("SELECT * FROM roster_send_test_mail('mesa-high')"),
	RosterCluster::in_order(qr/ERROR:  55000: .*mail cannot be sent yet/s,
		qr/DETAIL:  Not set: minga_roster\.smtp_url and minga_roster\.smtp_from\./s),
		'a test mail needs a mail server');
settings_for_mail();
like($roster->error("SELECT * FROM roster_send_test_mail('mesa-high')"),
	qr/ERROR:  55000: .*connection "mesa-high" has no recipient.*HINT:  .*roster_notify\('mesa-high'/s,
		'... and a recipient');
like($roster->error("SELECT * FROM roster_send_test_mail('nobody')"), qr/42704: connection "nobody" does not exist/,
	'... and a connection');
$roster->sql("SELECT roster_notify('mesa-high', 'it\@mesa.example', manual => true)");
$roster->sql("SELECT roster_notify('mesa-high', 'principal\@mesa.example', 'problems')");
$roster->sql("SELECT roster_notify('mesa-high', 'off\@mesa.example', 'never')");
$roster->sql("SELECT roster_set_secret('smtp', 'not the password')");

# A report waits behind the wrong password, and the status says why.
$roster->sql("SELECT roster_sync('mesa-high')");
$roster->wait_for("SELECT mail_error IS NOT NULL FROM roster_status WHERE connection = 'mesa-high'");
like(status('mail_error'), qr/\S/, 'the status has the mail error');
is(status('waiting_mail'), '1', '... beside the mail that waits');
is(status("mail_error = (SELECT last_error FROM outbox WHERE connection = 'mesa-high' ORDER BY mail DESC LIMIT 1)"),
	't', '... in the words of the outbox');

my $tried = $roster->sql("SELECT email, ok, error IS NOT NULL FROM roster_send_test_mail('mesa-high')");
is($tried, "it\@mesa.example|f|t\nprincipal\@mesa.example|f|t", 'a test mail tells the fault for each recipient');
is($roster->sql("SELECT count(*) FROM outbox WHERE state = 'waiting' AND run = (SELECT max(run) FROM runs)"), '0',
	'... and is not tried again');
is(scalar @{ [ $mail_server->mails ] }, 0, '... nothing has arrived');

$roster->sql("SELECT roster_set_secret('smtp', " . RosterCluster::quote($mail_server->password) . ')');
is($roster->sql("SELECT email, ok, error IS NULL FROM roster_send_test_mail('mesa-high')"),
	"it\@mesa.example|t|t\nprincipal\@mesa.example|t|t",
	'with the password it arrives');
is(join(',', sort map { @{ $_->{to} } } grep { $_->{raw} =~ /test mail/ } $mail_server->mails),
	'it@mesa.example,principal@mesa.example', '... at those who get mail');
is(status('mail_error IS NULL'), 't', '... and the status has no mail error');
is($roster->sql("SELECT kind, state FROM runs ORDER BY run DESC LIMIT 1"), 'mail|succeeded',
	'... on record as a run');

# An undo pauses Automatic Rostering, and says so.
$roster->sql("SELECT roster_configure('mesa-high', sync_at => (now() AT TIME ZONE 'America/Denver' + interval '3 "
	  . "hours')::time(0), "
	  . "window_end => (now() AT TIME ZONE 'America/Denver' + interval '4 hours')::time(0))");
my ($rc, $stdout, $stderr) = $node->psql('postgres', "SELECT roster_undo($first)");
unlike($stderr, qr/is paused/, 'an undo of a connection that is not automatic pauses nothing');
$first = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
$roster->sql("SELECT roster_enable('mesa-high')");
($rc, $stdout, $stderr) = $node->psql('postgres', "SELECT roster_undo($first)");
like($stderr,
	qr/NOTICE:  Automatic Rostering of "mesa-high" is paused\nDETAIL:  .*\nHINT:  .*roster_enable\('mesa-high'\)/,
		'an undo says that it pauses Automatic Rostering');
like(status('blocked_reason'), qr/^paused: run $first was undone/, '... and so does the status');

# pg_cron that works for another database
$roster->sql("SELECT roster_enable('mesa-high')");
is(status('blocked_reason'), 'waiting for the evening window', 'all is well');
$node->adjust_conf('postgresql.conf', 'cron.database_name', "'template1'");
$node->restart;
is(status('blocked_reason'), 'pg_cron runs jobs in database "template1" (cron.database_name)',
	'a pg_cron for another database is named');

done_testing();
