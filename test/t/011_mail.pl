# Mail from the outbox: STARTTLS and AUTH, both parts, a mail server that is down, a wrong password, a refused
# recipient.
# Planted: mails in the outbox, which runs would write, and times that have passed.

use strict;
use warnings;

use IPC::Run ();
use OneRosterServer;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 30, seed => 3);
my $smtp = SmtpServer->new(certs => $server->certs, user => 'roster', password => 'mail+S3cret',
	args => [ '--reject-recipient', 'gone@mesa.example' ]);
my $roster;
{
	# A proxy of the environment, where no one listens: neither mail nor SIS is asked through it.
	local %ENV = (%ENV, map { $_ => 'http://127.0.0.1:1' } qw(all_proxy ALL_PROXY https_proxy));
	$roster = RosterCluster->new('mail');
}
$roster->connect_school('mesa-high', $server);

# A mail as post_report would write it, due at once; then the worker that sends it.
sub write_mail
{
	my ($to, $subject) = @_;
	return $roster->sql("INSERT INTO outbox (run, connection, email, subject, body_text, body_html, next_attempt_at, "
		  . "created_at, origin) "
		  . "SELECT coalesce(max(run), 0) + 1, 'mesa-high', '$to', '$subject', E'Nothing to do.\\n\\nZoë: Grüße', "
		  . "'<p>Nothing to do.</p>', now(), now(), server_origin() FROM outbox RETURNING mail");
}
sub send_mail { $roster->sql('SELECT roster_run_due()'); return; }
# As if the time for which a mail and the mail server are left alone had passed.
sub pass_time
{
	$roster->sql("UPDATE outbox SET next_attempt_at = now() WHERE state = 'waiting'");
	$roster->sql('UPDATE mail_server SET next_attempt_at = now()');
	return;
}
sub wait_for { my ($query) = @_; $roster->wait_for($query); return; }
sub state_of { return $roster->sql("SELECT state, attempts FROM outbox WHERE mail = $_[0]"); }

# Without a mail server a mail waits
my $mail = write_mail('it@mesa.example', 'Mesa High: nothing to do');
send_mail();
$roster->sql("SELECT state FROM roster_fetch('mesa-high')");
is(state_of($mail), 'waiting|0', 'without minga_roster.smtp_url a mail waits');

$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->set(smtp_user => 'roster');
$roster->set(smtp_from => 'roster@minga.example');
$roster->set(smtp_url => $smtp->url);

# A password is needed first, and has to be right
send_mail();
wait_for("SELECT last_error IS NOT NULL FROM outbox WHERE mail = $mail");
like($roster->sql("SELECT last_error FROM outbox WHERE mail = $mail"), qr/no password for the mail server/,
	'a missing password is told in the outbox');
$roster->sql("SELECT roster_set_secret('smtp', 'wrong')");
$roster->sql("UPDATE outbox SET next_attempt_at = now(), last_error = NULL");
send_mail();
wait_for("SELECT last_error ~ '535|[Ll]ogin' FROM outbox WHERE mail = $mail");
is($roster->sql("SELECT state FROM outbox WHERE mail = $mail"), 'waiting', 'a wrong password delays the mail');
$roster->sql("SELECT roster_set_secret('smtp', 'mail+S3cret')");
$roster->sql('UPDATE outbox SET next_attempt_at = now()');
send_mail();
wait_for("SELECT state = 'sent' AND sent_at IS NOT NULL FROM outbox WHERE mail = $mail");
pass('the right one sends it');
my ($kept) = $smtp->mails;
is(join(',', @{ $kept->{to} }), 'it@mesa.example', 'the mail goes to the recipient');
is($kept->{from}, 'roster@minga.example', 'the mail comes from the sender');
is($kept->{user}, 'roster', 'the mail is sent with AUTH');
ok($kept->{tls}, 'the mail is sent over STARTTLS');
like($kept->{raw}, qr/^Subject: Mesa High: nothing to do\r?$/m, 'the mail has its subject');
like($kept->{raw}, qr/^Date: \w{3}, \d+ \w{3} \d{4} [\d:]+ \+0000\r?$/m, 'date');
like($kept->{raw}, qr/^Message-ID: <minga-roster\.$mail\.[^>]+\@minga\.example>\r?$/m, 'the mail has a message id');
like($kept->{raw}, qr/^Auto-Submitted: auto-generated\r?$/m, 'the mail is marked as automatic');
like($kept->{raw},
	RosterCluster::in_order(qr{multipart/alternative.*text/plain; charset=utf-8.*Nothing to do\.}s,
		qr{text/html; charset=utf-8.*<p>Nothing to do\.</p>}s), 'the text part comes first and HTML last');
like($kept->{raw}, qr/Zo=C3=AB: Gr=C3=BC=C3=9Fe/, 'UTF-8 survives');

# A subject that is not ASCII; a mail is sent once
$mail = write_mail('it@mesa.example', 'École Élémentaire: nothing to do');
send_mail();
wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
like((($smtp->mails)[1])->{raw}, qr/^Subject: =\?UTF-8\?B\?/m, 'a subject that is not ASCII is encoded');
send_mail();
$roster->sql("SELECT state FROM roster_fetch('mesa-high')");
is(scalar($smtp->mails), 2, 'nothing is sent twice');

# A mail server that is down
$smtp->stop;
$mail = write_mail('it@mesa.example', 'while it was down');
send_mail();
wait_for("SELECT last_error IS NOT NULL FROM outbox WHERE mail = $mail");
is($roster->sql("SELECT state, attempts, cause FROM outbox WHERE mail = $mail"), 'waiting|0|unreachable',
	'a mail server that is down delays the mail');
is($roster->sql('SELECT cause, attempts, next_attempt_at > now() FROM mail_server'), 'unreachable|1|t',
	'... and is left alone for a while');
$smtp->start;
pass_time();
send_mail();
wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
is(scalar($smtp->mails), 3, '... and loses nothing');
is($roster->sql('SELECT count(*) FROM mail_server'), '0', '... and its trouble is over');
is($roster->sql("SELECT cause IS NULL, last_error IS NULL, answer FROM outbox WHERE mail = $mail"),
	't|t|250 2.0.0 kept', '... what it answered is on record');

# A recipient that is refused for good; mail of another server
$mail = write_mail('gone@mesa.example', 'refused');
my $foreign = write_mail('it@mesa.example', 'restored');
$roster->sql("UPDATE outbox SET origin = '1/1' WHERE mail = $foreign");
send_mail();
wait_for("SELECT state = 'failed' FROM outbox WHERE mail = $mail");
like($roster->sql("SELECT last_error FROM outbox WHERE mail = $mail"), qr/550/,
	'a refused recipient is final, with the answer');
is(state_of($foreign), 'waiting|0', 'a restored copy sends nothing that was written elsewhere');

# A subject with a line break never becomes a header of its own
my $count = $smtp->mails;
$mail = write_mail('it@mesa.example', "broken");
$roster->sql("UPDATE outbox SET subject = E'x\\r\\nBcc: all\@mesa.example' WHERE mail = $mail");
send_mail();
my $recipient = write_mail("it\@mesa.example\r\nRCPT TO:<all\@mesa.example>", 'broken');
my $next = write_mail('it@mesa.example', 'behind a broken one');
send_mail();
wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $next");
is($roster->sql("SELECT string_agg(state || ' ' || attempts || ' ' || last_error, ', ') FROM outbox "
	  . "WHERE mail IN ($mail, $recipient)"),
	join(', ', ('failed 1 the recipient or the subject contains a line break') x 2),
	'a line break in subject or recipient is final');
is(scalar($smtp->mails), $count + 1, '... nothing of it is sent, and the next mail is');

# Two parts and odd characters, read by another implementation of MIME
my $subject = 'Grüße von der École Élémentaire Jean-Baptiste Poquelin, 日本語 und noch viel mehr: nothing to do';
$mail = write_mail('it@mesa.example', $subject);
$roster->sql("UPDATE outbox SET body_text = E'.\n..dot first\n' || repeat('Zoë ', 500) || E'\nFrom here\n' "
	  . "WHERE mail = $mail");
$roster->set(smtp_from => 'Minga für Schulen <roster@minga.example>');
send_mail();
wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
my $raw = (($smtp->mails)[-1])->{raw};
my $read = '';
IPC::Run::run([ '/usr/bin/python3', '-c', <<'PYTHON' ], '<', \$raw, '>', \$read) or die 'could not read the mail';
import email, email.policy, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = {p.get_content_type(): p.get_content().replace("\r\n", "\n") for p in mail.walk() if not p.is_multipart()}
out = [mail["subject"], str(mail["from"]), mail["from"].addresses[0].display_name, mail["from"].addresses[0].addr_spec,
	" ".join(parts), parts["text/plain"], parts["text/html"]]
sys.stdout.buffer.write("|".join(out).encode())
PYTHON
is($read, join('|', $subject, 'Minga für Schulen <roster@minga.example>', 'Minga für Schulen', 'roster@minga.example',
'text/plain text/html',
		".\n..dot first\n" . ('Zoë ' x 500) . "\nFrom here\n", '<p>Nothing to do.</p>'),
		'subject, sender and both parts arrive as they were written');
is((($smtp->mails)[-1])->{from}, 'roster@minga.example', '... the envelope has the address alone');

# A subject that is ASCII and holds an encoded word, or one that is too long for a line
foreach my $written ('=?utf-8?q?Evil?=: nothing to do',
	'Mesa High School of the Arts and Sciences, Red Mountain: nothing to do')
{
	$mail = write_mail('it@mesa.example', $written);
	send_mail();
	wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
	$raw = (($smtp->mails)[-1])->{raw};
	IPC::Run::run([ '/usr/bin/python3', '-c', <<'PYTHON' ], '<', \$raw, '>', \$read) or die 'could not read the mail';
import email, email.policy, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
sys.stdout.write(mail["subject"])
PYTHON
	is($read, $written, "\"$written\" arrives as it was written");
	my ($headers) = split /\r?\n\r?\n/, $raw;
	is(scalar(grep { /=\?/ && length > 76 } split /\r?\n/, $headers), 0, '... in lines of at most 76 characters');
	like($headers, qr/^Subject: =\?UTF-8\?B\?/m, '... as encoded words');
}

# A part of the minute's duty that fails does not keep the mail
$roster->sql('ALTER FUNCTION minga_roster_internal.apply_retention() RENAME TO apply_no_retention');
$mail = write_mail('it@mesa.example', 'sent all the same');
send_mail();
wait_for("SELECT state = 'sent' FROM outbox WHERE mail = $mail");
like($roster->log_contents,
	RosterCluster::pattern(qr/could not do a part of its minute's duty\n.*"SELECT /,
		qr/minga_roster_internal\.apply_retention\(\)" failed with SQLSTATE 42883/),
	'a part of the duty that fails is logged, and the mail goes out');
$roster->sql('ALTER FUNCTION minga_roster_internal.apply_no_retention() RENAME TO apply_retention');

# A sender that dies between claiming and sending: the mail is sent at its next attempt
$mail = write_mail('it@mesa.example', 'claimed and lost');
is($roster->sql('SELECT mail FROM claim_mail()'), $mail, 'a mail is claimed');
is($roster->sql('SELECT count(*) FROM claim_mail()'), '0', '... by one sender only');
is($roster->sql("SELECT state, attempts, next_attempt_at > now() AND next_attempt_at <= now() + interval '1 minute' "
	  . "FROM outbox WHERE mail = $mail"),
	'waiting|1|t', '... and stays waiting for its next attempt');
$roster->set(test_clock => $roster->sql("SELECT now() + interval '2 minutes'"));
send_mail();
wait_for("SELECT state = 'sent' AND attempts = 2 FROM outbox WHERE mail = $mail");
pass('... which sends it');
$roster->set(test_clock => '');

# Several senders at once send each mail once
$roster->connect_school('mesa-low', $server);
$count = $smtp->mails;
write_mail("nr$_\@mesa.example", 'one of many') foreach 1 .. 20;
$roster->sql("SELECT roster_start(connection, 'fetch') FROM connections");
send_mail();
wait_for("SELECT count(*) = 20 FROM outbox WHERE state = 'sent' AND subject = 'one of many'");
is(scalar($smtp->mails), $count + 20, 'several senders send each mail once');

# A certificate of an unknown authority, a server without STARTTLS: nothing goes out, not even the password
my $other = SmtpServer->new;
$roster->set(smtp_ca_file => $other->ca_file);
$mail = write_mail('it@mesa.example', 'to be kept');
send_mail();
wait_for("SELECT last_error IS NOT NULL FROM outbox WHERE mail = $mail");
like($roster->sql("SELECT state || ' ' || last_error FROM outbox WHERE mail = $mail"), qr/^waiting .*certificate/,
	'an unknown authority delays the mail');
$roster->set(smtp_ca_file => $smtp->ca_file);
$smtp->stop;
$smtp->start('--no-starttls');
$count = $smtp->mails;
$roster->sql("UPDATE outbox SET last_error = NULL WHERE mail = $mail");
pass_time();
send_mail();
wait_for("SELECT last_error IS NOT NULL FROM outbox WHERE mail = $mail");
is($roster->sql("SELECT state FROM outbox WHERE mail = $mail"), 'waiting', 'so does a server without STARTTLS');
is(scalar($smtp->mails), $count, '... nothing is sent in clear');

# AUTH left out where it is demanded: a refusal that the DBA can mend loses nothing
$smtp->stop;
$smtp->start('--reject-recipient', 'gone@mesa.example');
$roster->set(smtp_user => '');
$roster->sql("UPDATE outbox SET last_error = NULL WHERE mail = $mail");
pass_time();
send_mail();
wait_for("SELECT last_error IS NOT NULL FROM outbox WHERE mail = $mail");
like($roster->sql("SELECT state || ' ' || last_error FROM outbox WHERE mail = $mail"), qr/^waiting .*530/,
	'AUTH left out where the server demands it delays the mail');

# After five days a mail that could not be sent is given up
$roster->sql("UPDATE outbox SET created_at = now() - interval '5 days 1 minute' WHERE mail = $mail");
send_mail();
wait_for("SELECT state = 'failed' FROM outbox WHERE mail = $mail");
pass('after five days it is given up');

unlike($roster->log_contents, qr/mail\+S3cret/, 'no log has the password');
$roster->stop;
$smtp->stop;
$server->stop;
done_testing();
