# Mail servers as they are: OAuth 2.0 alone, refusals at each step, answers that take their time or never come; what a
# mail server does to the rest.
# Planted: mails in the outbox, which runs would write, and times that have passed.

use strict;
use warnings;

use JSON::PP ();
use MailServer;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;
use Time::HiRes qw(time usleep);

my $server = OneRosterServer->new(people => 30, seed => 3);
my $mail_server = MailServer->new;
my $secret_directory = PostgreSQL::Test::Utils::tempdir();
my $roster = RosterCluster->new('mail_server');

$roster->connect_school('mesa-high', $server);
$roster->sql("SELECT roster_notify('mesa-high', 'it\@mesa.example', manual => true)");
$roster->set(secret_directory => $secret_directory);
$roster->set(smtp_ca_file => $mail_server->ca_file);
$roster->set(smtp_user => 'roster@mesa.example');
$roster->set(smtp_from => 'Roster <roster@mesa.example>');
$roster->set(smtp_url => $mail_server->url);

# Mails as post_report would write them, due at once; the number of the last one.
sub write_mail
{
	my ($to, $count) = @_;
	return $roster->sql("INSERT INTO outbox (run, connection, email, subject, body_text, body_html, next_attempt_at, "
		  . "created_at, origin, site) "
		  . "SELECT (SELECT least(min(run), 0) FROM outbox) - n, 'mesa-high', '$to', 'Nothing to do', 'Nothing.', "
		  . "'<p>Nothing.</p>', now(), now(), server_origin(), 'mesa-high' FROM generate_series(1, "
		  . ($count // 1) . ') n; SELECT max(mail) FROM outbox');
}
sub send_mail { $roster->sql('SELECT roster_run_due()'); return; }

# Writes a mail, has it sent, and returns state, cause and error or answer once it was tried.
sub outcome
{
	my ($to) = @_;
	$roster->sql("DELETE FROM outbox; DELETE FROM mail_server");
	my $mail = write_mail($to // 'it@mesa.example');
	send_mail();
	$roster->wait_for("SELECT cause IS NOT NULL OR state = 'sent' FROM outbox WHERE mail = $mail");
	wait_until_idle();
	return $roster->sql("SELECT concat_ws('|', state, cause, coalesce(last_error, answer)) FROM outbox "
		  . "WHERE mail = $mail");
}
sub workers { return $roster->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'minga_roster'"); }
sub wait_until_idle
{
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	return;
}

# Waits until the mail server has come to a step so many times since it was last asked to forget.
sub wait_for_step
{
	my ($step, $count) = @_;
	foreach (1 .. 3000)
	{
		return if seen($step) >= $count;
		usleep(100_000);
	}
	die "the mail server was never asked for $step";
}
sub seen { my ($step) = @_; return scalar grep { $_ eq $step } @{ $mail_server->state->{seen} }; }

# Microsoft 365: a token by client credentials, one for all mails of a session
$roster->set(smtp_token_url => $mail_server->token_url);
like(outcome(), qr/^waiting\|settings\|no password for the mail server has been set/, 'a token takes a client secret');
$roster->sql("SELECT roster_set_secret('smtp', 'client+S3cret&~')");
like(outcome(), qr/^waiting\|settings\|minga_roster\.smtp_client_id is not set/, '... and a client ID');
$roster->set(smtp_client_id => 'client-1');
is(outcome(), 'sent|250 2.0.0 Ok: queued as 1', 'a mail is sent with a token by client credentials');
write_mail("nr$_\@mesa.example") foreach 1 .. 3;
send_mail();
$roster->wait_for("SELECT count(*) = 4 FROM outbox WHERE state = 'sent'");
wait_until_idle();
my $state = $mail_server->state;
is_deeply($state->{requests}[0],
	{
		path => '/tenant/oauth2/v2.0/token', form =>
		  {
			grant_type => 'client_credentials', client_id => 'client-1', client_secret => 'client+S3cret&~',
			scope => 'https://outlook.office365.com/.default'
		  }
	},
	'the token endpoint gets what Microsoft wants');
is(scalar(@{ $state->{requests} }), 2, '... once for a session, whatever it sends');
my ($login) = grep { /^XOAUTH2 / } @{ $state->{seen} };
like($login, qr/^XOAUTH2 user=roster\@mesa\.example\^auth=Bearer token-1-x+\^\^$/, 'the mail server gets the token');
like($state->{mails}[1]{content}, qr/^From: Roster <roster\@mesa\.example>$/m, '... and the mail');

# A token that is taken back before its time is renewed, once; one whose time is over is not used
$mail_server->order(once => 1, close_after => 1);
$roster->sql('DELETE FROM outbox');
write_mail('it@mesa.example', 3);
send_mail();
$roster->wait_for("SELECT count(*) = 3 FROM outbox WHERE state = 'sent'");
wait_until_idle();
$state = $mail_server->state;
is(scalar(@{ $state->{requests} }), 5, 'a refused token is renewed, and the mails of closed sessions go out');
is(scalar(@{ $state->{mails} }), 7, '... each of them once');
$mail_server->order(expires_in => 1, close_after => 1, delay_at => { dot => 1.5 });
write_mail('it@mesa.example', 2);
send_mail();
$roster->wait_for("SELECT count(*) = 5 FROM outbox WHERE state = 'sent'");
wait_until_idle();
is(scalar(@{ $mail_server->state->{requests} }), 7, 'a token whose time is over is renewed without a try');

# Refused: by the token endpoint, by the mail server (Google's way, with a reason before the refusal, and Microsoft's)
$mail_server->order(token_error => [ 401, { error => 'invalid_client', error_description =>
			"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 0f8fad5b-d9cb-469f-a165-70867728950e" } ]);
my $error = outcome();
is($error, 'waiting|token|the token endpoint answered 401: invalid_client: AADSTS7000215: Invalid client secret '
	. 'provided. Trace ID: ...', 'what the token endpoint says is on record');
$mail_server->order(mechanisms => ['OAUTHBEARER'], refuse_tokens => 1, token_error => [ 500, {} ]);
is(outcome(), 'waiting|token|the token endpoint answered 500 without a token', '... and that it says nothing');
my $connections = $mail_server->state->{connections};
$mail_server->order(answers => { auth => ['535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is '
			. 'disabled for the Tenant. roster@mesa.example'] });
is(outcome(), 'waiting|login|the mail server refused the log-in: 535 5.7.139 Authentication unsuccessful, '
	. 'SmtpClientAuthentication is disabled for the Tenant. ...', 'what the mail server says is on record');
is($mail_server->state->{connections}, $connections + 1, '... a new token is tried once');

# A hundred mails behind a refused log-in: one try for all, then peace
$roster->sql('DELETE FROM outbox; DELETE FROM mail_server');
$connections = $mail_server->state->{connections};
write_mail('it@mesa.example', 100);
send_mail();
$roster->wait_for("SELECT count(*) = 100 FROM outbox WHERE cause = 'login' AND state = 'waiting' AND attempts = 0");
wait_until_idle();
send_mail() foreach 1 .. 3;
$roster->sql("SELECT roster_fetch('mesa-high')");
wait_until_idle();
is($mail_server->state->{connections}, $connections + 1, 'a hundred mails behind a refused log-in are one try');
is($roster->sql("SELECT mail_cause, mail_error ~ '535 5.7.139', waiting_mail FROM roster_status"), 'login|t|100',
	'... the status has its code and words');
foreach my $minutes (5, 15, 60, 60)
{
	$roster->sql('UPDATE mail_server SET next_attempt_at = now()');
	send_mail();
	$roster->wait_for("SELECT next_attempt_at > now() + interval '1 minute' FROM mail_server");
	is($roster->sql("SELECT round(extract(epoch FROM next_attempt_at - now()) / 60) FROM mail_server"), $minutes,
		"... the next try is in $minutes minutes");
	wait_until_idle();
}
is($mail_server->state->{connections}, $connections + 5, '... one each time');
is($roster->sql("SELECT email, ok, answer IS NULL, hint ~ 'smtp_token_url' FROM roster_send_test_mail('mesa-high')"),
	'it@mesa.example|f|t|t', 'a test mail is tried at once, and has a hint');
$mail_server->order;
is($roster->sql("SELECT email, ok, error IS NULL, answer ~ '^250 2.0.0 Ok: queued', hint IS NULL "
	  . "FROM roster_send_test_mail('mesa-high')"),
	'it@mesa.example|t|t|t|t', '... and tells what the mail server answered');
send_mail();
$roster->wait_for("SELECT count(*) = 101 FROM outbox WHERE state = 'sent'");
is($roster->sql('SELECT count(*) FROM mail_server'), '0', '... after which the rest goes out');

# Google Workspace: the key of a service account signs for the mailbox
open(my $file, '>', "$secret_directory/smtp") or die "could not write the key: $!";
print $file $mail_server->account_key;
close($file);
chmod(0600, "$secret_directory/smtp") or die "could not close the key to others: $!";
$roster->sql("SELECT roster_set_secret_from_file('smtp', 'smtp')");
$mail_server->order(mechanisms => ['OAUTHBEARER']);
like(outcome(), qr/^sent\|/, 'a mail is sent with a token by the key of a service account, and by OAUTHBEARER');
$state = $mail_server->state;
my $form = $state->{requests}[-1]{form};
is("$form->{grant_type} $form->{header}{alg} $form->{header}{kid}",
	'urn:ietf:params:oauth:grant-type:jwt-bearer RS256 key-1', 'the assertion is signed with the key');
my $claims = $form->{claims};
is(join(' ', map { $claims->{$_} } qw(iss sub scope aud)), join(' ', 'roster@project.iam.example',
		'roster@mesa.example', 'https://mail.google.com/', $mail_server->token_url), '... and says what Google wants');
is($claims->{exp} - $claims->{iat}, 3600, '... for an hour');
like((grep { /^OAUTHBEARER / } @{ $state->{seen} })[-1],
	qr/^OAUTHBEARER n,a=roster\@mesa\.example,\^auth=Bearer \S+\^\^$/,
	'the mail server gets the token as RFC 7628 has it');
$roster->set(smtp_scope => 'mail.send');
$mail_server->order(answers => { mail => ['550 5.7.60 Client does not have permissions to send as this sender'] });
is(outcome(), 'waiting|sender|the mail server refused the sender: 550 5.7.60 Client does not have permissions to send '
	. 'as this sender', 'a refused sender is about the server');
is($mail_server->state->{requests}[-1]{form}{claims}{scope}, 'mail.send', 'the scope can be set');
$roster->set(smtp_scope => '');
$roster->sql(q(SELECT roster_set_secret('smtp', '{"client_email": "a@b.example", "private_key": "none"}')));
like(outcome(), qr/^waiting\|settings\|the private_key of the secret "smtp" is no RSA key/,
	'a key that is none is told');
$roster->sql(q(SELECT roster_set_secret('smtp', '{"client_id": "1"}')));
like(outcome(), qr/^waiting\|settings\|.*it lacks client_email or private_key/, '... and what lacks one');
$roster->sql("SELECT roster_set_secret('smtp', 'client+S3cret&~')");

# What a server says of a token, before it refuses it
$mail_server->order(answers => {}, token_error => [ 200, { access_token => 'made-up', expires_in => 3599 } ]);
is(outcome(), 'waiting|login|the mail server refused the log-in: 535 5.7.8 Username and Password not accepted. For '
	. 'more information, go to https://support.mail.example/?p=BadCredentials '
	. '{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}',
	'the reason behind a challenge is told');
ok((grep { $_ eq q(answer '') } @{ $mail_server->state->{seen} }), '... and the challenge answered');

# No log-in that both know
$mail_server->order(mechanisms => [qw(LOGIN PLAIN)]);
is(outcome(), 'waiting|login|the mail server offers no log-in by a token (it offers: LOGIN PLAIN)',
	'a server that takes passwords alone');
$roster->set(smtp_token_url => '');
$mail_server->order(mechanisms => [qw(XOAUTH2)]);
is(outcome(), 'waiting|login|the mail server offers no log-in by a password (it offers: XOAUTH2)',
	'... and one that takes tokens alone');
$mail_server->order(mechanisms => [qw(PLAIN)], answers => { auth => ['535 5.7.3 Authentication unsuccessful'] });
is(outcome(), 'waiting|login|the mail server refused the log-in: 535 5.7.3 Authentication unsuccessful',
	'a refused password, in the words of the server');
$roster->set(smtp_token_url => $mail_server->token_url);

# Refusals at each step. Of one mail: the next one is sent in the same session. Of all: none is tried.
my @refusals = (
	[ 'greeting', '554 5.3.2 no service for 192.0.2.7', 'sender', 'the mail server refused the connection: %s' ],
	[ 'rcpt', '550 5.1.1 <it@mesa.example>: no such mailbox', 'recipient',
		'the mail server refused the recipient: %s' ],
	[ 'rcpt', '452 4.2.2 mailbox full', 'deferred', 'the mail server put off the recipient: %s' ],
	[ 'data', '554 5.5.1 no valid recipients', 'content', 'the mail server refused the mail: %s' ],
	[ 'dot', '552 5.3.4 message too big', 'content', 'the mail server refused the mail: %s' ],
	[ 'dot', '451 4.7.1 greylisted, try again', 'deferred', 'the mail server put off the mail: %s' ],
	[ 'dot', 'HTTP/1.1 400 Bad Request', 'protocol', 'the mail server did not answer the mail in SMTP' ]);
foreach my $refusal (@refusals)
{
	my ($step, $words, $cause, $error) = @$refusal;
	$mail_server->order(answers => { $step => [$words] });
	my $told = $words =~ s/<\S+:/.../r;
	is(outcome(), join('|', $cause eq 'recipient' ? 'failed' : 'waiting', $cause, $error =~ s{%s}{$told}r),
		"$step: $words");
	is($roster->sql("SELECT count(*) FROM mail_server"), $cause =~ /sender|protocol/ ? '1' : '0',
		'... is of the ' . ($cause =~ /sender|protocol/ ? 'server' : 'mail'));
}
$mail_server->order(recipients => { 'full@mesa.example' => ['452 4.2.2 mailbox full'],
	'gone@mesa.example' => ['550 5.1.1 no such mailbox'] });
$roster->sql('DELETE FROM outbox; DELETE FROM mail_server');
$connections = $mail_server->state->{connections};
write_mail($_) foreach ('full@mesa.example', 'it@mesa.example', 'gone@mesa.example', 'principal@mesa.example');
send_mail();
$roster->wait_for("SELECT count(*) = 4 FROM outbox WHERE attempts = 1 AND (state = 'sent' OR cause IS NOT NULL)");
is($roster->sql("SELECT string_agg(concat_ws(' ', split_part(email, '\@', 1), state, cause), ', ' ORDER BY mail) "
	  . 'FROM outbox'),
	'full waiting deferred, it sent, gone failed recipient, principal sent', 'a refused mail stops no other');
wait_until_idle();
is($mail_server->state->{connections}, $connections + 1, '... in one session');
$mail_server->order(close_at => 'dot');
is(outcome(), 'waiting|unreachable|the mail server hung up instead of answering the mail', 'a server that hangs up');

# An answer that takes longer than any other wait: the mail is taken once, nothing waits for it, and no second worker
# sends meanwhile
$roster->set(request_timeout => '5s');
$mail_server->order(delay_at => { dot => 8 });
my $steps = seen('dot');
$roster->sql('DELETE FROM outbox; DELETE FROM mail_server');
write_mail('slow@mesa.example');
send_mail();
wait_for_step('dot', $steps + 1);
is($roster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'minga_roster' AND xact_start IS NOT NULL"),
	'0', 'no transaction is open while the mail server thinks');
is($roster->sql("SELECT a.query = 'minga_roster: mail ' || o.mail FROM pg_stat_activity a, outbox o "
	  . "WHERE a.backend_type = 'minga_roster'"), 't', '... and pg_stat_activity shows which mail waits for it');
$roster->sql("UPDATE outbox SET next_attempt_at = now()");
send_mail();
is($roster->sql("SELECT state FROM roster_fetch('mesa-high')"), 'succeeded', 'a run goes on meanwhile');
$roster->wait_for("SELECT state = 'sent' FROM outbox WHERE email = 'slow\@mesa.example'");
wait_until_idle();
is($roster->sql("SELECT attempts FROM outbox"), '1', '... the mail is claimed by one worker');
is(scalar(grep { $_->{to} eq 'slow@mesa.example' } @{ $mail_server->state->{mails} }), 1, '... and arrives once');
$mail_server->order(silent_at => 'mail');
is(outcome(), 'waiting|timeout|the mail server did not answer MAIL within 5 s', 'other answers have less time');
$roster->sql('ALTER SYSTEM RESET minga_roster.request_timeout');
$roster->sql('SELECT pg_reload_conf()');

# A worker that dies between the answer and the commit: the mail is sent again, as the same one
$mail_server->order(delay_at => { dot => 120 });
$roster->sql('DELETE FROM outbox; DELETE FROM mail_server');
my $mail = write_mail('twice@mesa.example');
$steps = seen('dot');
send_mail();
wait_for_step('dot', $steps + 1);
my $holder = $roster->node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE outbox IN SHARE MODE');
$mail_server->order;
$roster->wait_for("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'outbox'::regclass AND NOT granted");
kill 'KILL', split /\n/, workers();
# The server may have ended by itself: restart_after_crash is off.
$roster->node->stop('immediate', fail_ok => 1);
$holder->quit;
$roster->node->start;
is($roster->sql("SELECT state, attempts FROM outbox WHERE mail = $mail"), 'waiting|1',
	'after a crash the mail is not known to be sent');
$mail_server->order;
$roster->sql('UPDATE outbox SET next_attempt_at = now()');
send_mail();
$roster->wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
my %ids = map { $_->{content} =~ /^(Message-ID: .*)$/m ? ($1 => 1) : () }
  grep { $_->{to} eq 'twice@mesa.example' } @{ $mail_server->state->{mails} };
is(scalar(grep { $_->{to} eq 'twice@mesa.example' } @{ $mail_server->state->{mails} }), 2, '... it is sent again');
is(scalar(keys %ids), 1, '... with the same Message-ID');

# A server that accepts and says nothing: a shutdown and the death of the postmaster end the worker at once
foreach my $step (qw(greeting ehlo token data dot))
{
	$mail_server->order(silent_at => $step);
	$roster->sql('DELETE FROM outbox; DELETE FROM mail_server');
	write_mail('it@mesa.example');
	$steps = seen($step);
	send_mail();
	wait_for_step($step, $steps + 1);
	my $worker = workers();
	is($roster->sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'minga_roster'"),
		'minga_roster: ' . ($step =~ /data|dot/ ? 'mail ' . $roster->sql('SELECT mail FROM outbox')
			: 'log-in at the mail server'), "$step: what is waited for is shown");
	my $begun = time;
	if ($step eq 'token')
	{
		my $postmaster = $roster->node->{_pid};
		kill 'KILL', $postmaster;
		usleep(100_000) while kill(0, $worker) && time - $begun < 60;
		cmp_ok(time - $begun, '<', 30, "$step: the worker leaves when the postmaster dies");
		$roster->node->stop('immediate', fail_ok => 1);
		$roster->node->{_pid} = undef;
	}
	else
	{
		$roster->node->stop('fast');
		cmp_ok(time - $begun, '<', 30, "$step: a fast shutdown does not wait for the mail server");
	}
	$roster->node->start;
	is($roster->sql("SELECT state FROM outbox"), 'waiting', '... and the mail waits');
}

unlike($roster->log_contents, qr/client\+S3cret|token-\d+-x|PRIVATE KEY/, 'no log has a secret or a token');
is($roster->sql('SELECT count(*) FROM tokens'), '1', 'no token for mail is stored');
$roster->stop;
$mail_server->stop;
$server->stop;
done_testing();
