# Servers that lack an endpoint, count, cut, encode or describe in their own way, and what stands between them and us:
# everything is read that is there, and what is wrong is said of the side that is wrong.

use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP ();
use OneRosterServer;
use RosterCluster;
use Test::More;

my $json = JSON::PP->new->utf8;
my $server = OneRosterServer->new(people => 60, seed => 5);
my $roster = RosterCluster->new('server_quirks');
my $school = $server->school_id;
my $latest = 'run = (SELECT max(run) FROM runs)';

sub staged
{
	my ($name) = @_;
	return $roster->sql("SELECT string_agg(sourced_id || ' ' || role, ', ' ORDER BY sourced_id COLLATE \"C\") "
		  . "FROM staged_users WHERE connection = '$name'");
}

# Of a collection of the newest run: what the columns hold.
sub collection { my ($name, $columns) = @_;
return $roster->sql("SELECT $columns FROM collections WHERE collection = '$name' AND $latest"); }
sub newest { my ($columns) = @_; return $roster->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1"); }

# A run whatever comes of it: its state and SQLSTATE.
sub runs
{
	my ($call, $faults) = @_;
	$server->faults($faults) if $faults;
	$roster->node->psql('postgres', "SELECT $call", on_error_die => 0);
	$server->clear_faults if $faults;
	return newest("concat_ws(' ', state, sqlstate)");
}

# The steps of a connection test by name.
sub steps
{
	my ($name, $faults) = @_;
	$server->faults($faults) if $faults;
	my $steps = $json->decode($roster->sql("SELECT json_agg(t) FROM roster_test_connection('$name') AS t"));
	$server->clear_faults if $faults;
	return { map { $_->{step} => $_ } @$steps };
}

$roster->connect_school('v1', $server, sis => 'oneroster_1.1', url => $server->origin, app_name => undef,
	token_url => $server->plain_token_url);
$roster->connect_school('v2', $server, sis => 'oneroster_1.2', url => $server->origin, app_name => undef,
	token_url => $server->plain_token_url);

# Without the lists of one school

foreach my $name ('v1', 'v2')
{
	is(runs("roster_fetch('$name')"), 'succeeded', "$name: a fetch from the school's own lists");
	my $people = staged($name);
	is(collection('students', 'complete, fallback'), 't|f', '... that are there');
	foreach my $code (404, 403, 501, 405)
	{
		$server->clear_log;
		is(runs("roster_fetch('$name')", { status => { path => '/schools/.*/(students|teachers)', code => $code } }),
			'succeeded', "$name: $code for them");
		is(staged($name), $people, '... and the same people come of the lists of the district');
		is(collection($_, 'complete, proof, fallback, elsewhere > 0'), 't|total|t|t',
			"... $_ read whole, others only counted") foreach 'students', 'teachers';
		like(collection('students', 'detail'), qr{^/schools/\{school\}/students: .*\. Read from /students instead\.$},
			'... which is said');
	}
	my $without = [ { path => '/schools/.*/(students|teachers)', code => 404 },
		{ path => 'v1p\d/(students|teachers)\?', code => 404 } ];
	my $last = $name eq 'v1' ? qr{Read from /users\?filter=role='student' instead\.$} : qr{Read from /users instead\.$};
	is(runs("roster_fetch('$name')", { status => $without }), 'succeeded',
		"$name: neither the school's lists nor the district's of their kind");
	is(staged($name), $people, '... and the same people come of all users');
	like(collection('students', 'detail'), $last, '... which is said');
	is(runs("roster_fetch('$name')", { status => $without, ignore_filter => 1 }), 'succeeded',
		"$name: which ignores a filter");
	is(staged($name), $people, '... and the same people are kept');
	like(steps($name, { status => $without })->{students}{detail},
		qr{in the district; of the first \d+, \d+ are of this school and kept\. Read from /users},
		'... and the connection test takes the same way');
	is(runs("roster_fetch('$name')", { status => { path => 'students|/users', code => 404 } }), 'succeeded',
		"$name: no list at all");
	is(collection('students', "complete, proof IS NULL, detail ~ 'students: .*users'"), 'f|t|t',
		'... is told with each that was tried');
}

# Who names no school is someone of the school's own list, and may be one of the district's: no one is gone for that.
$roster->sql("SELECT roster_toggle('v1', auto_update => true, archive => true)");
$roster->sql("SELECT roster_configure('v1', guard_percent => 100)");
is(runs("roster_sync('v1')"), 'succeeded', 'a first sync');
my ($nowhere) = staged('v1') =~ /(\S+) student\b/;
my %nowhere = (override => { $nowhere => { orgs => [] } });
is(runs("roster_sync('v1')", {%nowhere}), 'succeeded', 'a student who names no school, in the list of the school');
is($roster->sql("SELECT count(*) FROM links WHERE connection = 'v1' AND sourced_id = '$nowhere' "
	  . "AND missed_since IS NULL"), '1', '... is of the school');
is(runs("roster_sync('v1')", { %nowhere, status => { path => '/schools/.*/(students|teachers)', code => 404 } }),
	'succeeded', '... and in the list of the district');
is(newest('archived, held'), '0|0', '... is not archived');
is(collection('students', 'complete, fallback'), 'f|t', '... as that list does not show whose people they are');
like(collection('students', 'detail'), qr/Rows that name no school: 1;/, '... which is said');
is(runs("roster_sync('v1')", { status => { path => '/schools/.*/(students|teachers)', code => 404 },
	remove_rows => [$nowhere] }), 'succeeded', 'who left');
is(newest('archived, held'), '1|0', '... is archived by the lists of the district as by those of the school');

# No list of schools

my $step = steps('v1', { status => { path => '(schools|orgs)\?', code => 404 } })->{school};
is($step->{ok}, JSON::PP::true, 'no list of schools, but one of the school that answers');
like($step->{detail},
	RosterCluster::pattern(qr{^The SIS has no list of schools \(it answered 404\), but /schools/\{school\}/students },
		qr{lists people of "\Q$school\E"\.$}), '... is said');
like(steps('v1', { status => { path => '(schools|orgs)\?', code => 403 } })->{school}{detail},
	qr/^The key may not list schools, but/, '... or may not be read');
$step = steps('v1', { status => { path => '(schools|orgs)\?|schools/', code => 404 } })->{school};
is($step->{ok}, JSON::PP::true, 'a list of the district that has people of the school shows it too');
like($step->{detail}, qr{but /students lists people of}, '... and is named');
foreach my $faults ({ status => { path => 'v1p1/', code => 404 } },
	{ status => { path => '(schools|orgs)\?', code => 404 }, empty => { path => 'students|teachers|users' } })
{
	my $steps = steps('v1', $faults);
	is($steps->{school}{ok}, JSON::PP::false, 'where no list shows the school, the step is not ok');
	like($steps->{school}{detail},
		qr/no list that it gives has people of "\Q$school\E": nothing shows that the School ID is right/,
		'... and says why');
	like($steps->{school}{hint}, qr/^Compare the School ID/, '... and what to do');
	ok(defined $steps->{students}{detail}, '... and the lists are tried all the same');
}

# A token endpoint that points elsewhere

$roster->sql('DELETE FROM tokens');
foreach my $case (
	[ 'https://login.example/oauth2/token?client_secret=hush&appName=minga', 'https://login.example/oauth2/token' ],
	[ 'https://user:hush@login.example:8443/token;jsessionid=hush', 'https://login.example:8443/token' ],
	[ '/campus/token?x=hush', $server->origin . '/campus/token' ])
{
	my ($location, $target) = @$case;
	is(runs("roster_fetch('v1')", { redirect => { path => 'oauth/token', location => $location, code => 302 } }),
		'failed 08P01', 'a token endpoint that redirects');
	is(newest('detail'), "It answered 302, pointing to $target.", '... to where');
	like(newest('hint'), qr/roster_configure\(token_url => '\Q$target\E'\)/, '... and what would have to be set');
	unlike(newest("concat(error, detail, hint)"), qr/hush/, '... without what may be secret');
}

# Words of the SIS

my $words = 'Field "agents" is unknown to this server.';
is(runs("roster_fetch('v1')", { status => { path => 'schools', code => 422, description => $words } }), 'failed 08P01',
	'a page that is refused');
is(newest('detail'), 'It answered 422 for /ims/oneroster/v1p1/schools from offset 0; the SIS says: ' . $words,
	'... in the words of the SIS');
is(runs("roster_fetch('v1')",
	{ status => { path => 'schools', code => 500, description => "\e[31mred\x{202e}\nand more " . 'x ' x 300 } }),
	'failed 08006', 'more words');
like(newest('detail'), qr/; the SIS says: \[31mred and more (x ){80,}x?\s*$/, '... cleaned and cut');
is(runs("roster_fetch('v1')",
	{ status => { path => 'schools', code => 400,
	description => 'No ann.roe@mesa.example for Bearer abcdef0123456789abcdef0123 here' } }), 'failed 08P01',
	'words with an address and a token');
like(newest('detail'), qr/; the SIS says: No \.\.\. for Bearer \.\.\. here$/, '... without both');
unlike(runs("roster_diagnose('v1')", { status => { path => 'students', code => 400, description => $words } })
	  . $roster->sql("SELECT string_agg(concat(detail, hint), ' ') FROM findings WHERE $latest"),
	qr/unknown to this server/, 'a diagnosis, which others may read, leaves them out');
$roster->sql('DELETE FROM tokens');
is(runs("roster_fetch('v1')",
	{ status => { path => 'oauth/token', code => 500, description => 'your secret is hush' } }), 'failed 08006',
	'a token endpoint');
unlike(newest("concat(error, detail, hint)"), qr/hush/, '... is not quoted');

# A server that counts before it filters: told once, with the cause; staff is archived again once it counts right

my %counts = (count_unfiltered => { path => '/users\?' });
is(runs("roster_sync('v1')"), 'succeeded', 'a good night');
my $admin = $roster->sql("SELECT min(l.sourced_id) FROM links l WHERE l.connection = 'v1' AND l.category = 'admin' "
	  . "AND l.missed_since IS NULL "
	  . "AND (SELECT count(*) FROM links k WHERE k.person_id = l.person_id) = 1");
$server->clear_log;
is(runs("roster_sync('v1')", {%counts}), 'succeeded', 'a night of totals that count before the filter');
is(collection('administrators', 'complete, proof, weak_cause, rows > 0'), 'f|weak|total_unfiltered|t',
	'... proves nothing');
like(collection('administrators', 'detail'),
	RosterCluster::pattern(qr/^The SIS counts before it filters: for this list it claims the \d+ rows /,
		qr/\(X-Total-Count\) of the whole one, and it listed \d+\. .*ask the SIS vendor/), '... and says why');
is(collection('aides', 'complete, weak_cause, rows'), 'f|total_unfiltered|0', '... of an empty list too');
is(scalar(grep { $_->{path} =~ m{/users$} && !exists $_->{query}{filter} } $server->log), 3,
	'... which is asked once for each such list');
is($roster->sql('SELECT unread, still_unread FROM facts_of((SELECT max(run) FROM runs))'),
	'{administrators,aides,proctors}|{}', '... and someone is told');
is(runs("roster_sync('v1')", { %counts, remove_rows => [$admin] }), 'succeeded', 'the next such night, when one left');
is(newest('archived, held'), '0|0', '... archives no one');
is($roster->sql('SELECT unread, still_unread FROM facts_of((SELECT max(run) FROM runs))'),
	'{}|{administrators,aides,proctors}', '... and needs no one again');
is(runs("roster_sync('v1')", { total => { mode => 'wrong', path => 'users\?filter' } }), 'succeeded',
	'a total that is no list\'s');
is(collection('administrators', 'complete, weak_cause'), 'f|total_larger', '... has another cause');
is(runs("roster_sync('v1')", { remove_rows => [$admin] }), 'succeeded', 'once it counts right');
is(newest('archived, held'), '1|0', '... who left is archived');

# Answers that may be whole the next time

foreach my $code (408, 425, 520, 522, 524)
{
	is(runs("roster_fetch('v1')", { status => { path => 'students', code => $code, times => 1 } }), 'succeeded',
		"$code once");
	cmp_ok(newest('retries'), '>', 0, '... is tried again');
}
foreach my $by (1, 2, 500)
{
	is(runs("roster_fetch('v1')", { short_length => { path => 'schools/.*/students', by => $by, times => 1 } }),
		'succeeded', "a Content-Length too small by $by, once");
	is(collection('students', 'complete, proof') . newest('retries'), 't|total1',
		'... is tried again, and all is read');
}
is(runs("roster_fetch('v1')",
	{ short_length => { path => 'schools\?', by => 30, times => 2 }, remove_rows => [$admin] }), 'succeeded',
	'the same of the list of schools');
is(staged('v1'),
	$roster->sql("SELECT string_agg(DISTINCT sourced_id || ' ' || role, ', ' ORDER BY sourced_id || ' ' || role) "
	  . "FROM staged_users WHERE connection = 'v1'"), '... and no one is there twice');
unlike(staged('v1'), qr/\b$admin\b/, '... or of the fetch before');

# Bytes that are no UTF-8

foreach my $case ([ 'utf-16-le', 16 ], [ 'utf-16-be', 16 ], [ 'utf-32-le', 32 ], [ 'utf-32-be', 32 ])
{
	my ($name, $bits) = @$case;
	foreach my $mark (0, 1)
	{
		is(runs("roster_fetch('v1')", { encoding => { path => 'students', name => $name, mark => $mark } }),
			'failed 22021', "$name, " . ($mark ? 'with' : 'without') . ' a byte order mark');
		is(newest('error'), "the SIS answered the request for students in UTF-$bits", '... is named');
		like(newest('hint'), qr/SIS vendor to send UTF-8/, '... and what to do');
	}
}

$roster->sql('DELETE FROM tokens');
is(runs("roster_fetch('v1')", { byte_order_mark => { path => 'oauth/token' } }), 'succeeded',
	'a byte order mark before the token');
$roster->sql('DELETE FROM tokens');
is(runs("roster_fetch('v1')", { encoding => { path => 'oauth/token', name => 'utf-16-le', mark => 1 } }),
	'failed 08P01', 'a token in UTF-16');
is(newest('detail'), 'It answered 200 in UTF-16, and not in UTF-8.', '... is told');

# Values of e-mail and the like that are none: the newcomer is created without, and no one else is lost

$server->clear_faults;
is(runs("roster_sync('v1')"), 'succeeded', 'a good night');
my $n = 0;
my $other = $json->decode('[[], {}, 42, true, false, ["a@b.example"], {"value": "a@b.example"}, [[{"x": [1]}]]]');
my @newcomers = map { { sourcedId => 'new' . ++$n, status => 'active', enabledUser => 'true', role => 'student',
	givenName => "New$n", familyName => 'Comer',
	identifier => "N$n", orgs => [ { sourcedId => $school } ], email => $_, phone => $_, sms => $_, middleName => $_,
	username => $_, grades => $_, agents => $_ } } @$other;
is(runs("roster_sync('v1')", { add_rows => \@newcomers }), 'succeeded', 'newcomers with an e-mail that is no text');
is(newest('created, rejects'), "$n|0", '... are created');
is($roster->sql("SELECT count(*), count(email) FROM people WHERE family_name = 'Comer'"), "$n|0",
	'... without an e-mail');
my @unclear = map { { %{ $newcomers[0] }, sourcedId => "bad$_",
	@{ [ [ identifier => ['x'] ], [ familyName => { name => 'x' } ], [ status => ['x'] ] ]->[$_] } } } 0 .. 2;
is(runs("roster_sync('v1')", { add_rows => [ @newcomers, @unclear ] }), 'succeeded',
	'rows that do not say who they are');
is($roster->sql("SELECT string_agg(reason, ' ' ORDER BY sourced_ids) FROM changes WHERE $latest AND action = 'reject'"),
	join(' ', map { "Field \"$_\" has a type that OneRoster does not allow, or is too long." } 'identifier',
	'familyName', 'status'), '... are rejects, for the right reason');
is(runs("roster_sync('v1')", { add_rows => \@newcomers, invalid_utf8 => { sourced_id => 'new1' } }), 'succeeded',
	'a row with bad characters');
is($roster->sql("SELECT reason FROM changes WHERE $latest AND action = 'reject'"),
	'The roster row has characters that cannot be read.', '... is one for that');

# What stands between: a proxy that is down, that refuses, and that wants a password. A test asks it once.

sub proxy_that_says
{
	my ($answer) = @_;
	my $socket = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', Proto => 'tcp')
		  or die "could not listen: $!";
	my $pid = fork // die "could not fork: $!";
	if ($pid == 0)
	{
		while (my $client = $socket->accept)
		{
			while (my $line = <$client>) { last if $line =~ /^\r?\n$/; }
			print $client $answer;
			close $client;
		}
		POSIX::_exit(0);
	}
	return ($pid, $socket->sockport);
}
use POSIX ();
foreach my $case (
	[ "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		qr/^"localhost" could not be reached through the proxy of the database server\./,
		qr/minga_roster\.proxy allow/ ],
	[ "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
	qr/^"localhost" could not be reached through the proxy of the database server\./, qr/DBA/ ],
	[ "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: "
	  . "0\r\n\r\n",
		qr/^The proxy of the database server refused its credentials\. It answered 407/,
		qr{minga_roster\.proxy.*user:password} ],
	[ '', qr/^"localhost" could not be reached through the proxy of the database server\./, qr/DBA/ ])
{
	my ($answer, $detail, $hint) = @$case;
	my ($pid, $port) = proxy_that_says($answer);
	$roster->set(proxy => "http://someone:hush\@127.0.0.1:$port");
	my $tls = steps('v1')->{tls};
	is($tls->{ok}, JSON::PP::false, 'a proxy that says ' . (split /\r/, $answer || 'nothing')[0]);
	like($tls->{detail}, $detail, '... is named');
	like($tls->{hint}, $hint, '... and who can mend it');
	unlike($tls->{detail} . $tls->{hint}, qr/hush|127\.0\.0\.1/, '... without its address and password');
	# It has this test's handler of TERM, which ends the server.
	kill 'KILL', $pid;
	waitpid $pid, 0;
}
$roster->set(proxy => 'http://127.0.0.1:1');
my $down = steps('v1')->{tls};
like($down->{detail}, qr/^The proxy of the database server could not be reached\./, 'a proxy that is down');
like($down->{hint}, qr/^This is not about the SIS: ask the DBA to check that the proxy runs/,
	'... and who can mend it');
$roster->set(proxy => 'http://proxy.minga.invalid:3128');
like(steps('v1')->{tls}{detail}, qr/^The proxy of the database server could not be reached\./,
	'a proxy whose name is not found');
like($roster->log_contents, qr/Could not resolve proxy/, '... which the log tells');
$roster->set(proxy => '');

# No list of authorities on this server

$roster->set(ca_file => '/nowhere/ca-certificates.crt');
my $tls = steps('v1')->{tls};
like($tls->{detail},
	RosterCluster::pattern(qr{^The database server has no list of certificate authorities to trust\. File },
		qr{"/nowhere/ca-certificates\.crt" cannot be used: No such file or directory\.}),
		'a file of authorities that is missing');
like($tls->{hint}, qr/^This is not about the SIS:/, '... is this server\'s matter');
$roster->set(ca_file => '/etc/passwd');
like(steps('v1')->{tls}{detail}, qr/cannot be used: it holds no certificate\./, 'one that holds none');

# Without a setting it is the system's; where the package with it is missing, its name is told.
$roster->set(ca_file => '');
$tls = steps('v1')->{tls};
if (-s '/etc/ssl/certs/ca-certificates.crt')
{
	like($tls->{detail}, qr/^No trusted TLS connection to "localhost" could be made\./,
		'by the authorities of the system the SIS is not trusted');
}
else
{
	like($tls->{detail},
		RosterCluster::pattern(qr{^The database server has no list of certificate authorities to trust\. File },
			qr{"/etc/ssl/certs/ca-certificates\.crt" cannot be used: }), 'no authorities of the system');
	like($tls->{hint}, qr/^This is not about the SIS: ask the DBA to install the package "ca-certificates"/,
		'... and the package is told');
}

$roster->stop;
$server->stop;
done_testing();
