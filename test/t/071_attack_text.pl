# Characters that act on what people see, in every text of a SIS, of a token server and of a mail server: none of them
# reaches a table, a report, a mail or the log, and ids still find each other.

use strict;
use warnings;
use utf8;

use Encode qw(decode encode);
use IPC::Run ();
use JSON::PP ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 120, seed => 7);
my $smtp = SmtpServer->new(certs => $server->certs, args => [ '--reject-recipient', 'gone@mesa.example' ]);
my $roster = RosterCluster->new('attack_text');
my $unfit = qr/[\x{00}-\x{1F}\x{7F}-\x{9F}\x{61C}\x{200E}\x{200F}\x{2028}-\x{202E}\x{2066}-\x{206F}
	\x{FEFF}\x{FFF9}-\x{FFFB}\x{E0000}-\x{E007F}]/xx;

# What is sent, and what is to be left of it in a text; nothing is left in an id.
my %line_end = map { $_ => 1 } "\t", "\n", "\r", "\x{0B}", "\x{0C}", "\r\n", "\x{85}", "\x{2028}", "\x{2029}";
my @sent = (
	sort(keys %line_end), "\x{01}", "\a", "\e", "\x{1F}", "\x{7F}", "\x{80}", "\x{9B}", "\x{9F}",
	"\x{61C}", "\x{200E}", "\x{200F}",
	(map { chr } 0x202A .. 0x202E, 0x2066 .. 0x206F), "\x{FEFF}", "\x{FFF9}", "\x{FFFA}", "\x{FFFB}",
	"\x{E0000}", "\x{E0001}", "\x{E0041}", "\x{E007F}", "\x{202E}\e\x{9B}\x{E0041}");
sub left { return $line_end{ $_[0] } ? ' ' : ''; }

sub sync
{
	return $roster->sql("SELECT state, created + linked + updated + restored + archived + held + conflicts + rejects "
		  . "FROM roster_sync('mesa')");
}
sub of_perl { my ($text) = @_; return decode('UTF-8', $text, Encode::FB_CROAK); }
sub agents { return [ map { { href => 'https://sis.example/users/1', sourcedId => $_, type => 'user' } } @_ ]; }

# No table, and no line of the log, holds a character that is unfit.
sub all_is_clean
{
	my ($when) = @_;
	my @tables = split /\n/, $roster->sql("SELECT c.oid::regclass FROM pg_class c WHERE relkind IN ('r', 'p') "
		  . "AND relnamespace = 'minga_roster'::regnamespace AND NOT relispartition");
	my @dirty;

	foreach my $table ('public.people', sort @tables)
	{
		# Lines are the mail's own.
		my $text = $table =~ /outbox/ ? "replace(t::text, E'\\n', '')" : 't::text';
		my $shown = "string_agg(replace($text, E'\\n', U&'\\001B'), '|')";
		push @dirty, "$table: $_" foreach grep { /$unfit/ } of_perl($roster->sql("SELECT $shown FROM $table t"));
	}
	push @dirty, "log: $_" foreach grep { /$unfit/ } map { tr/\t//dr } split /\n/, of_perl($roster->log_contents);
	is(join("\n", map { s/($unfit)/sprintf '<%04X>', ord $1/ger } @dirty), '',
		"$when: nothing unfit is stored or logged");
	return;
}

$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->set(smtp_user => 'roster');
$roster->set(smtp_from => 'Minga =?utf-8?q?Evil?= <roster@minga.example>');
$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_set_secret('smtp', 'mail+S3cret'); SELECT roster_configure('mesa', parent_contact => "
	  . "true)");
$roster->sql("SELECT roster_toggle('mesa', auto_update => true, archive => true)");
like(sync(), qr/^succeeded\|\d+$/, 'a first sync succeeds');
is(sync(), 'succeeded|0', 'a second one has nothing to do');
$roster->set(smtp_url => $smtp->url);
$roster->sql("SELECT roster_notify('mesa', 'it\@mesa.example', manual => true)");
my ($students, $guardians) = map { "SELECT sourced_id FROM staged_users WHERE $_ ORDER BY sourced_id" }
  "role = 'student' AND coalesce(status, 'active') = 'active' AND enabled", "role = 'guardian'";
my @students = split /\n/, $roster->sql($students);
my @guardians = split /\n/, $roster->sql($guardians);
cmp_ok(scalar @students, '>=', @sent, 'there is a student for each character');
cmp_ok(scalar @guardians, '>=', @sent, '... and a guardian');

# Each of them in each text and id of a student, a guardian and a school
my ($school, $word) = ($server->school_id, '=?utf-8?q?Evil?=');
my (%bent, %expected);
foreach my $i (0 .. $#sent)
{
	my ($c, $left) = ($sent[$i], left($sent[$i]));

	$bent{ $students[$i] } = {
		sourcedId => $c . substr($students[$i], 0, 5) . $c . substr($students[$i], 5) . $c,
		agents => agents($guardians[$i] . $c),
		orgs => [ { sourcedId => substr($school, 0, 3) . $c . substr($school, 3), type => 'org' } ],
		givenName => "Gi${c}ven$i", familyName => "$c Fa  mily$c", middleName => "$c ",
		preferredFirstName => "Ni $c ck",
		username => "us${c}er$i", identifier => "9${c}9$i", email => "m$c$i\@x.example", phone => "1 ${c}2",
		sms => "$c",
		grades => ["0${c}9"], role => "student$c", status => "active$c", dateLastModified => "2026-07-01T00:00:00Z$c" };
	$bent{ $guardians[$i] } = {
		sourcedId => substr($guardians[$i], 0, 4) . $c . substr($guardians[$i], 4),
		givenName => "$word$c", familyName => "Pa${c}rent$i",
		email => "p$c$i\@x.example", phone => "${c}3", sms => '', agents => agents($c . $students[$i]) };
	$expected{ $students[$i] } = join '|', "Gi${left}ven$i", 'Fa  mily', 'Ni ck', "us${left}er$i", "9${left}9$i",
		"m$left$i\@x.example",
	  '1 2', "0${left}9", "$word Pa${left}rent$i", "p$left$i\@x.example", '3';
}
my $name = join '', 'Mesa ', @sent, " $word\r\nBcc: all\@mesa.example\n\nNothing to do.\n\"><script>alert(1)</script>";
my $fit_name = "Mesa $word Bcc: all\@mesa.example Nothing to do. \"><script>alert(1)</script>";
$bent{$school} = {
	name => $name, sourcedId => join('', @sent) . $school . "\a",
	type => "school\e", identifier => "\x{202E}101", status => "active\x{9B}",
	parent => { sourcedId => "\x{E0001}the-district\n", type => 'org' } };

sub students_are
{
	my $ids = join ', ', map { "'$_'" } sort keys %expected;
	return of_perl(
		$roster->sql("SELECT l.sourced_id, p.given_name, p.family_name, p.preferred_name, p.username, p.identifier, "
		  . "p.email, p.phone, p.grade, p.parent_name, p.parent_email, p.parent_phone "
		  . "FROM links l JOIN public.people p ON p.person_id::text = l.person_id "
		  . "WHERE l.sourced_id IN ($ids) AND p.archived_at IS NULL ORDER BY l.sourced_id COLLATE \"C\""));
}
my $expected = join "\n", map { "$_|$expected{$_}" } sort keys %expected;

foreach my $wire ('as they are', 'escaped')
{
	my $changed = $wire eq 'escaped' ? 0 : scalar @sent;
	$server->faults({ override => \%bent, ignore_fields => 1, $wire eq 'escaped' ? (escapes => 1) : () });
	is(sync(), "succeeded|$changed", "$wire: a sync updates the students, and archives, rejects and creates no one");
	is(students_are(), $expected, '... who have what is left, and the contact whom they name');
	is(sync(), 'succeeded|0', '... the next sync changes nothing');
	is($roster->sql("SELECT count(*) FROM staged_users WHERE damaged"), '0', '... no row is damaged');
	is($roster->sql("SELECT count(*) FROM staged_users WHERE preferred_name = 'Ni ck' AND middle_name IS NULL"),
		scalar @sent, '... a name of nothing but such characters is none');
	is(of_perl(
		$roster->sql("SELECT name, type, identifier, status, parent_id FROM staged_orgs WHERE sourced_id = '$school'")),
		"$fit_name|school|101|active|the-district", '... the school has what is left');
	all_is_clean("$wire, a sync");
}
note(sprintf '%d characters and sequences in %d places, as they are and escaped: %d tried', scalar @sent,
	keys(%{ $bent{ $students[0] } }) + keys(%{ $bent{ $guardians[0] } }) + keys(%{ $bent{$school} }),
	2 * @sent * (keys(%{ $bent{ $students[0] } }) + keys(%{ $bent{ $guardians[0] } }) + 2) + 8);

# The mail as another implementation of MIME reads it
$roster->wait_for("SELECT count(*) = 0 FROM outbox WHERE state = 'waiting'");
my @mails = $smtp->mails;
is(scalar @mails, 4, 'a mail for each sync');
foreach my $mail (@mails)
{
	my $read = '';
	my $raw = $mail->{raw};
	IPC::Run::run([ '/usr/bin/python3', '-c', <<'PYTHON' ], '<', \$raw, '>', \$read) or die 'could not read the mail';
import email, email.policy, json, sys
mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = {p.get_content_type(): p.get_content() for p in mail.walk() if not p.is_multipart()}
sender = mail["from"].addresses[0].display_name
print(json.dumps({"headers": mail.keys(), "subject": mail["subject"], "sender": sender, "parts": parts}))
PYTHON
	my $seen = JSON::PP->new->decode($read);
	my ($head) = split /\r?\n\r?\n/, $raw;
	my ($text, $html) = map { s/\r\n/\n/gr } @{ $seen->{parts} }{qw(text/plain text/html)};

	like($seen->{subject}, qr/^\Q@{[substr $fit_name, 0, 79]}\E\x{2026}: [\w ]+$/,
		'the subject shows an encoded word as it is');
	is($seen->{sender}, 'Minga =?utf-8?q?Evil?=', '... and so does the sender');
	is(join(' ', grep { /^(?:Bcc|To|Subject)$/ } @{ $seen->{headers} }), 'To Subject', '... and makes no header');
	is(scalar(grep { length > 76 } grep { /=\?/ } split /\r?\n/, $head), 0, '... in lines of at most 76 characters');
	unlike($text =~ s/\n//gr, $unfit, 'the text of the mail is clean');
	unlike($text, qr/\n(?:Bcc:|Nothing to do\.)/, '... and the school makes no line of it');
	unlike($html =~ s/\n//gr, $unfit, 'the HTML of the mail is clean');
	unlike($html, qr/<script/, '... and the school makes no tag of it');
	like($html, qr/&quot;&gt;&lt;script&gt;/, '... but is shown as text');
}

# What shows names of schools, and the words of servers
my $evil = "\e]0;Evil\a\x{9B}31m\x{202E}txt.\x{2066}\x{E0041}\x{2028}\r\nERROR:  forged";
my $header = encode('UTF-8', "\x{9B}31m\x{202E}\e[2J");
like(of_perl($roster->sql("SELECT detail FROM roster_test_connection('mesa') WHERE step = 'school'")),
	qr/^"Mesa [^\n]+" \($school\)/, 'the connection test names the school');
$roster->sql("SELECT * FROM roster_diagnose('mesa')");
my $diagnosis = "SELECT replace(roster_diagnosis(max(run)), E'\\n', ' ') FROM runs";
like(of_perl($roster->sql($diagnosis)), qr/ School: +Mesa /, 'the diagnosis names the school');
foreach my $case (
	[ 'a failure with a description', { failure_status => { path => 'students', description => $evil } } ],
	[ 'a long description', { failure_status => { path => 'students', description => 'x' . "\x{202E}ü" x 150 } },
		qr/ xü{99}$/ ],
	[ 'a content type', { html => { path => 'students', content_type => "text/html; $header" } } ],
	[ 'a redirect', { redirect => { path => 'students', location => "https://evil$header.example/" } } ],
	[ 'an error with a description', { status => { path => 'students', code => 400, description => $evil } } ],
	[ 'a token error', { token_fields => { access_token => undef, error => $evil, error_description => $evil } } ],
	[ 'a revision of permissions', { revision => { value => $header } } ],
	[ 'the name of another list', { rename_envelope => { path => 'students', key => $evil } } ],
	[ 'another school', { override => { $school => { sourcedId => "other$evil", name => $evil } } } ])
{
	my ($what, $faults, $detail) = @$case;
	$server->clear_faults;
	$server->faults($faults);
	# ... for which the token in use is forgotten
	$roster->sql("SELECT roster_set_secret('mesa', " . RosterCluster::quote($server->client_secret) . ')')
	  if $what =~ /token/;
	my ($code, $stdout, $stderr) = $roster->node->psql('postgres', "SELECT roster_sync('mesa')");
	note("$what: ", $roster->sql("SELECT state, error, detail FROM runs ORDER BY run DESC LIMIT 1"));
	like(of_perl($roster->sql("SELECT detail FROM runs ORDER BY run DESC LIMIT 1")), $detail,
		"$what: cut between characters")
	  if $detail;
	unlike(of_perl($stderr) =~ s/\n//gr, $unfit, "$what: the error is clean");
	unlike($stderr, qr/^ERROR:  forged/m, '... and has no line of the server\'s');
	my $report = "SELECT replace(roster_report(max(run)), E'\\n', ' ') FROM runs";
	unlike(of_perl($roster->sql($report)), $unfit, '... and so is the report');
	$roster->sql("SELECT * FROM roster_test_connection('mesa')");
	$roster->sql("SELECT * FROM roster_diagnose('mesa')");
	unlike(of_perl($roster->sql($diagnosis)), $unfit, '... and the diagnosis');
	all_is_clean($what);
}
$server->clear_faults;

# A mail server's words
$roster->sql("SELECT roster_notify('mesa', 'gone\@mesa.example', manual => true)");
like(sync(), qr/^succeeded\|/, 'a sync');
$roster->wait_for("SELECT state = 'failed' AND last_error ~ '550' FROM outbox WHERE email = 'gone\@mesa.example'");
$roster->wait_for("SELECT count(*) = 0 FROM outbox WHERE state = 'waiting'");
all_is_clean('a mail that was refused');

# What is typed here is refused
foreach my $c (grep { !/\s/ } @sent)
{
	my $typed = join '', map { sprintf '\\+%06X', ord } split //, $c;
	like($roster->error("SELECT roster_notify('mesa', U&'i${typed}t\@mesa.example')"), qr/22023/,
		sprintf 'a recipient with U+%04X', ord $c);
	like($roster->error("SELECT roster_configure('mesa', school_id => U&'A${typed}B')"), qr/22023/,
		'... and so is a School ID');
}

done_testing();
