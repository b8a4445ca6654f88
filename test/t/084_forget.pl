# A student is erased while the school has a SIS and mail: nothing of them is in a dump, in the stage, in the server's
# log or in mail that is sent later, and no later night makes them again.
# Planted: mail that names a student, which no mail of ours does, and a conflict.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 23);
my $smtp = SmtpServer->new(certs => $server->certs);
my $roster = RosterCluster->new('forget', conf => "log_min_error_statement = 'error'\n");
my $node = $roster->node;

$roster->connect_school('mesa-high', $server, site => 'mesa');
$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->set(smtp_user => $smtp->user);
$roster->set(smtp_from => 'roster@minga.example');
$roster->sql(
	"SELECT roster_set_secret('smtp', " . RosterCluster::quote($smtp->password) . '); '
	  . "SELECT roster_notify('mesa-high', 'office\@mesa.example', manual => true); "
	  . "SELECT roster_configure('mesa-high', page_size => 10); "
	  . "SELECT roster_toggle('mesa-high', auto_update => true, archive => true)");
$roster->sql("SELECT roster_sync('mesa-high')");

# The student, and all by which they would be found: each is of no one else.
my ($sourced_id, $person, $given, $family, $email, $identifier) = split /\|/, $roster->sql(<<'SQL');
SELECT s.sourced_id, l.person_id, s.given_name, s.family_name, s.email, s.identifier
FROM staged_users s JOIN links l ON l.sourced_id = s.sourced_id
WHERE s.role = 'student' AND s.email <> '' AND s.identifier <> '' AND (
	SELECT count(*) FROM staged_users o WHERE (o.given_name, o.family_name) = (s.given_name, s.family_name)
		OR o.email = s.email OR o.identifier = s.identifier) = 1
ORDER BY s.sourced_id LIMIT 1
SQL
my %needles = (
	sourcedId => $sourced_id, person => $person, email => $email, identifier => $identifier,
	name => "$given $family", 'name in order' => "$family, $given");

# Which of the needles a text has, as words of their own.
sub needles_in
{
	my ($text) = @_;
	return join ', ', sort grep { $text =~ /(?<![\w-])\Q$needles{$_}\E(?![\w-])/i } keys %needles;
}

# What the extension has: a dump without the people table, and the stage, which no dump has.
sub all_data
{
	my ($stdout, $stderr) =
	  run_command([ 'pg_dump', '-d', $node->connstr('postgres'), '--exclude-table=public.people' ]);

	is($stderr, '', 'dumped');
	return $stdout . $roster->sql('SELECT s FROM staged_users s');
}

# What the night did to accounts, and how many rows it left out.
sub night
{
	my $run = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
	return $roster->sql("SELECT concat_ws(' ', created, linked, updated, restored, archived, held), (SELECT sum(count) "
		  . "FROM run_counts c WHERE c.run = r.run AND action = 'forgotten') FROM runs r WHERE run = $run");
}

sub forgotten { return $roster->sql("SELECT count(*) FROM staged_users WHERE outcome = 'forgotten'"); }

is(night(), '0 0 0 0 0 0|', 'a night on which nothing changes');
$roster->sql(<<"SQL");
UPDATE outbox SET subject = 'About $given $family', body_text = 'For $family, $given ($sourced_id, $identifier).',
	body_html = '<b>$given $family</b> $email $person'
WHERE mail = (SELECT max(mail) FROM outbox WHERE state = 'waiting');
INSERT INTO changes (run, change, site, sourced_ids, action, rule, reason, state, state_at)
	SELECT max(run), 1000, 'mesa', ARRAY['$sourced_id'], 'conflict', 'conflict', 'r', 'noted', now() FROM runs;
INSERT INTO conflict_candidates SELECT max(run), 1000, '$person', 'e-mail' FROM runs;
SQL
is(needles_in(all_data()), join(', ', sort keys %needles), 'the data has the student in all ways');

# While a run is running
$server->faults({ hang => { path => 'students' } });
my $running = $roster->sql("SELECT roster_start('mesa-high', 'fetch')");
$roster->wait_for("SELECT state = 'running' FROM runs WHERE run = $running");
like($roster->error("SELECT roster_forget('mesa', '$person')"),
	qr/ERROR:  55006: connection "mesa-high" is busy.*HINT:  Wait until it has finished/s,
	'a run that is running is in the way');
$roster->sql("SELECT roster_cancel($running)");
$server->clear_faults;
$roster->wait_for("SELECT state = 'canceled' FROM runs WHERE run = $running");
is($roster->sql('SELECT count(*) FROM forgotten_people'), '0', '... and nothing was erased');
$roster->sql("SELECT roster_fetch('mesa-high')");

my $audited = $roster->sql('SELECT max(entry) FROM audit');
my $told = $roster->sql("SELECT * FROM roster_forget('mesa', '$person')");
like($told, qr/^links\|1\|$/m, 'the link is erased');
like($told, qr/^backups\|\|.*forget the person again/m, '... and backups are named, which have it');
is(needles_in($told), '', 'the answer names no one');
is(needles_in(all_data()), '', 'nothing of the student is in the data');
is($roster->sql("SELECT function, role, connection, run, given FROM audit WHERE entry > $audited"),
	'roster_forget|' . $roster->sql('SELECT current_user') . '|||{site,person_id}', 'audit has the call, and no value');
is($roster->sql("SELECT count(*) FROM public.people WHERE person_id::text = '$person'"), '1',
	'the account is the deployment\'s');
isnt($roster->sql('SELECT count(*) FROM forgotten_people'), '0', 'hashes are kept');
is($roster->sql("SELECT count(*) FROM forgotten_people WHERE hash IN (sha256('$sourced_id'), sha256('$identifier'), "
	  . "sha256('$email'), sha256('$person'))"), '0', '... which are not those of the IDs alone');

# Mail that waited is sent now.
$roster->set(smtp_url => $smtp->url);
$roster->sql('SELECT roster_run_due()');
$roster->wait_for("SELECT bool_and(state = 'sent') FROM outbox");
my @mails = $smtp->mails;
cmp_ok(scalar @mails, '>', 0, 'mail was sent');
is(needles_in(join "\n", map { $_->{raw} =~ s/=\r?\n//gr } @mails), '', '... and names no student');
$roster->set(smtp_url => '');

# Nights after: the account still there, then deleted; the row listed, gone, under another ID, and back.
is(night(), '0 0 0 0 0 0|1', 'with the account still there, the row is left out');
$roster->sql("DELETE FROM public.people WHERE person_id::text = '$person'");
is(night(), '0 0 0 0 0 0|1', 'with the account deleted, no one is created');
is(needles_in(all_data()), '', '... and nothing is kept');
like($roster->sql("SELECT roster_report('mesa-high')"), qr/^Left out, erased on request +1\b/m,
	'the report has a number');
$server->faults({ remove_rows => [$sourced_id] });
is(night(), '0 0 0 0 0 0|', 'absent: no one is archived');
$server->clear_faults;
$server->faults({ override => { $sourced_id => { sourcedId => 'another-id' } } });
is(night(), '0 0 0 0 0 0|1', 'under another ID: no one is created');
is(needles_in(all_data()), '', '... and nothing is kept');
$server->faults({ override => { $sourced_id => { sourcedId => 'yet-another-id', identifier => undef } } });
is(night(), '0 0 0 0 0 0|1', 'under another ID and without a number: no one is created');
$server->clear_faults;

# A fetch that breaks off behind the page with the student
$server->faults({ html => { path => '/(?:teachers|administrators)' } });
like($roster->error("SELECT roster_fetch('mesa-high')"), qr/ERROR:/, 'a fetch breaks off');
cmp_ok($roster->sql("SELECT count(*) FROM staged_users WHERE role = 'student'"), '>', 0, '... after students');
is(needles_in(all_data()), '', '... and leaves nothing of the student');
$server->clear_faults;

# What was done is undone but for the student.
my $first = $roster->sql("SELECT min(run) FROM runs WHERE kind = 'sync'");
is($roster->sql("SELECT archived > 0 FROM roster_undo($first)"), 't', 'the first sync is undone');
is($roster->sql("SELECT DISTINCT state_reason FROM changes WHERE run = $first AND sourced_ids = '{}'"),
	'The data of the person was erased.', '... but not for a person who was erased');
is($roster->sql("SELECT string_agg(DISTINCT function || coalesce(' ' || connection, ''), ', ') FROM audit WHERE "
	  . "entry > $audited"), 'roster_forget, roster_sync mesa-high, roster_undo mesa-high', 'each call is in audit');

# Remembered again
is($roster->sql("SELECT roster_remember('mesa', sourced_id => '$sourced_id')"), '1', 'remembered again');
$roster->sql("SELECT roster_sync('mesa-high')");
is($roster->sql("SELECT count(*) FROM public.people WHERE identifier = '$identifier'"), '1',
	'... the student gets a new account');

# Errors, and the log with all statements that failed
like($roster->error("SELECT roster_forget('mesa', 'needle-person')"),
	RosterCluster::in_order(qr/ERROR:  42704: nothing is known of this person at site "mesa"/),
	'an unknown person');
$roster->error("SELECT roster_remember('mesa', sourced_id => 'needle-row')");
$roster->error("DO \$\$ BEGIN PERFORM roster_forget('mesa', 'needle-' || 'nested'); END \$\$");
my $log = $roster->log_contents;
like($log, qr/STATEMENT:  roster_forget\('mesa', \.\.\.\)/, 'the log shows the call without its IDs');
unlike($log, qr/needle-person|needle-row/, '... and no ID of a failed call');

$roster->stop;
$server->stop;
$smtp->stop;
done_testing();
