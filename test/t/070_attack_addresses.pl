# Who may connect a SIS looks around from the database server by it: at the server itself, at private networks and at a
# cloud's metadata, in each spelling of an address, at any port; by names that lead there, by redirects, by a proxy of
# the environment. Listeners note who reaches them. And a SIS keeps a run for ever: by bytes that drip, pages, rows
# and headers without an end.
# Planted: addresses that were stored before they were refused.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use JSON::PP ();
use OneRosterServer;
use POSIX ();
use PostgreSQL::Test::Utils;
use RosterCluster;
use Socket qw(getaddrinfo SOCK_STREAM);
use Sys::Hostname ();
use Test::More;

my $json = JSON::PP->new->utf8;
my $path = '/campus/api/oneroster/v1p1/minga';

# Listeners, which take no one in but know who knocked
sub listen_at
{
	my ($address, $port) = @_;
	return IO::Socket::IP->new(LocalAddr => $address, LocalPort => $port // 0, Listen => 100, ReuseAddr => 1);
}

sub knocks
{
	my $count = 0;
	foreach my $listener (grep { defined } @_)
	{
		while (IO::Select->new($listener)->can_read(0))
		{
			my $knock = $listener->accept or last;
			$count++;
		}
	}
	return $count;
}

my $listener = listen_at('127.0.0.1') or die "could not listen: $!";
my $port = $listener->sockport;
my @listeners = ($listener, grep { defined } listen_at('::1', $port));

# A server that speaks no TLS: echo gives back what it hears, mute closes at once.
my @speakers;

sub speaker
{
	my ($manner) = @_;
	my $socket = listen_at('127.0.0.1') or die "could not listen: $!";
	my $pid = fork() // die "could not fork: $!";
	if ($pid == 0)
	{
		while (my $heard = $socket->accept)
		{
			syswrite($heard, $_) if $manner eq 'echo' && sysread($heard, $_, 4096);
		}
		POSIX::_exit(0);
	}
	push @speakers, $pid;
	return $socket->sockport;
}
END { local $?; kill 'KILL', @speakers; waitpid($_, 0) foreach @speakers; }

# The environment of the database server names a proxy for everything.
my $environment = listen_at('127.0.0.1') or die "could not listen: $!";
my $server = OneRosterServer->new(people => 1500, seed => 71);
my $roster;
{
	my $proxy = 'http://127.0.0.1:' . $environment->sockport;
	local %ENV = (%ENV, map { $_ => $proxy, uc($_) => $proxy } qw(https_proxy http_proxy all_proxy));
	delete @ENV{qw(no_proxy NO_PROXY)};
	$roster = RosterCluster->new('attack_addresses',
		conf => "minga_roster.allowed_hosts = ''\nminga_roster.request_timeout = 5\n");
}
$roster->set(ca_file => $server->ca_file);
is($roster->sql("SELECT minga_roster_internal.setting('allowed_hosts')"), '', 'no host is allowed by default');
$roster->sql("SELECT roster_create_people('public.people', owner => 'people_owner')");

sub connecting
{
	my ($name, %args) = @_;
	my %named = (url => "https://sis.example$path", client_id => 'c', school_id => $server->school_id,
		people => 'public.people', time_zone => 'America/Denver', %args);
	return "SELECT roster_connect('$name', "
		  . join(', ', map { "$_ => " . RosterCluster::quote($named{$_}) } sort keys %named) . ')';
}

# What a statement without a result in the test's sense came to: { sqlstate, message, detail, hint }
sub refusal
{
	my ($statement) = @_;
	my %found;
	my $error = $roster->error($statement);
	@found{qw(sqlstate message)} = $error =~ /ERROR:  (\w{5}): (?:run \d+ of connection "mesa": )?(.*)/;
	($found{detail}) = $error =~ /DETAIL:  (.*)/;
	($found{hint}) = $error =~ /HINT:  (.*)/;
	return \%found;
}

# The steps of a connection test, without how long each took
sub steps
{
	my ($name) = @_;
	return $json->decode(
		$roster->sql("SELECT json_agg(json_build_object('step', step, 'ok', ok, 'detail', detail, 'hint', hint) "
			  . "ORDER BY ordinality) FROM roster_test_connection('$name') WITH ORDINALITY"));
}

sub newest
{
	my ($columns) = @_;
	return $roster->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1");
}

# Writes URLs into the connection's row: as one that was stored before the setting changed.
sub stored
{
	my ($base, $token) = @_;
	$roster->sql("UPDATE connections SET base_url = " . RosterCluster::quote($base) . ", token_url = "
		  . RosterCluster::quote($token) . " WHERE connection = 'mesa'");
	# the secret opens for the server that it was given for
	$roster->sql("SELECT roster_set_secret('mesa', " . RosterCluster::quote($server->client_secret) . ')');
	return;
}

$roster->sql(connecting('mesa', client_secret => $server->client_secret, client_id => $server->client_id));

# Addresses in each spelling
my @spellings = (
	'127.0.0.1', '127.1', '127.0.0.1.', '2130706433', '0x7f000001', '0x7f.1', '0177.0.0.1', '017700000001',
		'%31%32%37.0.0.1', '0x7f%2e1', '0', '0.0.0.0',
	'localhost', 'LocalHost.', 'sis.localhost', '[::1]', '[0:0:0:0:0:0:0:1]', '[::]', '[::ffff:127.0.0.1]',
	'[::ffff:7f00:1]', '[64:ff9b::7f00:1]', '[2002:7f00:1::]',
	'10.0.0.1', '192.168.1.1', '172.31.255.255', '100.64.0.1', '169.254.169.254', '2852039166',
	'[::ffff:169.254.169.254]', '[fd00:ec2::254]', '[fe80::1]');
my $special = 'of a private network or of another special range';
$special = qr/^Its host is (the database server itself|an address of the database server, $special)\.$/;
my $allow = RosterCluster::pattern(qr/^Ask the DBA to allow it: LOAD 'minga_roster'; /,
	qr/ALTER SYSTEM SET minga_roster\.allowed_hosts = '.*:\d+'; SELECT pg_reload_conf\(\)\.$/);
my %wrong;

foreach my $host (@spellings)
{
	foreach my $at ($host, "$host:$port")
	{
		my %tried = (
			'roster_connect(url)' => connecting('attack', url => "https://$at$path"),
			'roster_connect(token_url)' => connecting('attack', token_url => "https://$at/token?client_secret=hidden"),
			'roster_configure(url)' => "SELECT roster_configure('mesa', url => 'https://$at$path')",
			'roster_configure(token_url)' =>
			"SELECT roster_configure('mesa', token_url => 'https://$at/token?client_secret=hidden')");
		foreach my $way (sort keys %tried)
		{
			my $refusal = refusal($tried{$way});
			push @{ $wrong{$way} }, join(' | ', $at, map { $_ // '' } %$refusal)
			  unless $refusal->{sqlstate} eq '22023'
			  && $refusal->{message} eq ($way =~ /token/ ? 'token_url is not allowed'
			  : "URL \"https://$at$path\" is not allowed")
			  && $refusal->{detail} =~ $special && $refusal->{hint} =~ $allow;
		}
	}
}
is_deeply(\%wrong, {}, scalar(@spellings) . ' spellings are refused as url and token_url, with and without a port');
is($roster->sql("SELECT count(*), max(base_url) FROM connections"), "1|https://sis.example$path/ims/oneroster/v1p1",
	'... and nothing is stored');
like(refusal(connecting('attack', url => "https://sis.example\@127.0.0.1:$port$path"))->{message},
	qr/contains a user name or password/, 'a user before an address is refused');
like(refusal("SELECT roster_configure('mesa', token_url => 'https://sis.example\@127.0.0.1:$port/token')")->{message},
	qr/^invalid value for token_url$/, '... of token_url too');
foreach my $other (22, 80, 5432, 8443)
{
	is(refusal(connecting('attack', url => "https://sis.example:$other$path"))->{detail},
		"Its port is $other, and only 443 is allowed.", "port $other of any host is refused");
}
is($roster->sql("SELECT count(*) FROM runs"), '0', 'none of it asked a SIS');

# The same from a row that was stored before
%wrong = ();
foreach my $host (@spellings)
{
	stored("https://$host:$port$path", 'https://sis.example/token');
	my $steps = steps('mesa');
	push @{ $wrong{test} }, "$host: " . $json->encode($steps)
	  unless $steps->[0]{step} eq 'url' && !$steps->[0]{ok}
	  && $steps->[0]{detail} =~ /^Connections to ".*" are not allowed\. Its host is /
		  && $steps->[0]{hint} =~ /allowed_hosts/ && !defined $steps->[1]{ok};
}
foreach my $host ('127.0.0.1', '0x7f.1', '[::ffff:127.0.0.1]', 'localhost', '[fe80::1%25lo]')
{
	stored("https://sis.example$path", "https://$host:$port/token");
	my $refusal = refusal("SELECT roster_fetch('mesa')");
	push @{ $wrong{fetch} }, join(' | ', $host, map { $_ // '' } %$refusal)
		  unless $refusal->{sqlstate} eq ($host =~ /%/ ? '22023' : '42501') && newest('retries') eq '0';
	push @{ $wrong{step} }, $host if steps('mesa')->[0]{ok};
}
is_deeply(\%wrong, {},
	'a stored row of each spelling is refused by a connection test and by a fetch, and not tried again');
my $refusal = do { stored("https://127.0.0.1:$port$path", "https://127.0.0.1:$port/token");
refusal("SELECT roster_fetch('mesa')") };
is("$refusal->{sqlstate} $refusal->{message}", '42501 connections to "127.0.0.1" are not allowed',
	'... as a fault that does not pass');
is(knocks(@listeners), 0, 'no connection reached the listeners');

# Names: what they lead to is seen on the socket. libcurl makes ASCII of the first two; the third is this machine's, if
# it leads nowhere else.
my @names = ("\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1", "\xe2\x93\x9bocalhost");
my ($error, @found) = getaddrinfo(Sys::Hostname::hostname(), 443, { socktype => SOCK_STREAM });
push @names, Sys::Hostname::hostname()
  if @found && $roster->sql('SELECT bool_or(minga_roster_internal.is_public_address(a)) FROM unnest(ARRAY['
	  . join(', ', map { "inet '" . (Socket::getnameinfo($_->{addr}, Socket::NI_NUMERICHOST()))[1] =~ s/%.*//r
	  . "'" } @found) . ']) AS a') eq 'f';
foreach my $name (@names)
{
	stored("https://$name$path", "https://$name/token");
	my $steps = steps('mesa');
	is(join(' ', map { !defined $_->{ok} ? '?' : $_->{ok} ? 'ok' : '!' } @$steps[0 .. 2]), 'ok ! ?',
		'a name that leads to this server');
	like($steps->[1]{detail},
		RosterCluster::pattern(qr/^Connections to ".*" are not allowed\. Its name leads to an address of a private /,
		qr/network /),
		'... and is refused');
	unlike($steps->[1]{detail} =~ s/"[^"]*"//r, qr/\d/, '... without naming the address');
	like($steps->[1]{hint}, qr/allowed_hosts/, '... with what the DBA can do');
	is(refusal("SELECT roster_fetch('mesa')")->{sqlstate} . ' ' . newest('retries'), '42501 0',
		'... and not tried again');
}
like($roster->log_contents,
	qr/no connection was made to .*:443\n.*DETAIL:  It leads to 127\.0\.0\.1, which is not a public address/,
	'the log tells the DBA the address');

# What the list names is allowed
$roster->set(allowed_hosts => 'localhost:' . $server->port);
$roster->move_school('mesa', $server->url, $server->client_secret, "token_url => ''");
is(scalar(grep { !$_->{ok} } @{ steps('mesa') }), 0, 'what allowed_hosts names works');
is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', '... for a fetch, too');
is(refusal("SELECT roster_configure('mesa', url => 'https://localhost:$port$path')")->{sqlstate}, '22023',
	'... and no other port of it');
is(refusal("SELECT roster_configure('mesa', url => 'https://127.0.0.1:" . $server->port . "$path')")->{sqlstate},
	'22023', '... nor another name');

# Redirects
$server->faults({ redirect => { path => 'students', location => "https://127.0.0.1:$port/", code => 307 } });
is(refusal("SELECT roster_fetch('mesa')")->{sqlstate}, '08P01', 'a redirect to an address that is refused is an error');
$server->faults({ reset => JSON::PP::true, redirect => { path => 'oauth2/token', location => "https://127.0.0.1:$port/",
	code => 307 } });
$roster->sql('DELETE FROM tokens');
is(refusal("SELECT roster_fetch('mesa')")->{sqlstate}, '08P01', '... of the token endpoint');
$server->clear_faults;
is(knocks(@listeners), 0, '... is not followed');
is(knocks($environment), 0, 'the proxy of the environment was never asked');

# A proxy by setting
my $proxy = listen_at('127.0.0.1') or die "could not listen: $!";
$roster->set(proxy => 'http://127.0.0.1:' . $proxy->sockport);
$roster->set(allowed_hosts => '');
stored("https://sis.example$path", 'https://sis.example/token');
my $proxied = $json->encode(steps('mesa'));
like($proxied, qr/could not be reached through the proxy/, 'a proxy that does not answer');
cmp_ok(knocks($proxy), '>=', 1, '... was asked, as the superuser chose it');
stored("https://127.0.0.1:$port$path", 'https://sis.example/token');
is(steps('mesa')->[0]{ok}, JSON::PP::false, 'an address is refused behind a proxy too');
is(knocks($proxy), 0, '... before it is asked');
$roster->set(proxy => '');

# Closed ports and ports that do not speak TLS
my $plain = OneRosterServer->new(people => 10, plain_http => 1);
my $silent = listen_at('127.0.0.1') or die "could not listen: $!";
my $closed = do { my $socket = listen_at('127.0.0.1') or die "could not listen: $!"; $socket->sockport };
my %ports = (closed => $closed, silent => $silent->sockport, echo => speaker('echo'), mute => speaker('mute'),
	http => $plain->port);
my %seen;
$roster->set(allowed_hosts => '127.0.0.1:*');
foreach my $kind (sort keys %ports)
{
	stored("https://127.0.0.1:$ports{$kind}$path", "https://127.0.0.1:$ports{$kind}/token");
	my $answer = $json->canonical->encode(steps('mesa')) . newest('state, requests, retries, bytes');
	my $fetched = $json->canonical->encode(refusal("SELECT roster_fetch('mesa')"))
		  . newest('state, sqlstate, error, detail, hint, requests, retries, bytes');
	$answer =~ s/:$ports{$kind}\b/:PORT/g;
	push @{ $seen{"$answer\n$fetched"} }, $kind;
}
is(join('; ', map { join ' ', @$_ } values %seen), 'closed echo http mute silent',
	'what listens at a port is not told, but for one thing: whether it speaks TLS') or diag(join("\n\n", keys %seen));
like((keys %seen)[0], qr/"127\.0\.0\.1\\" could not be reached over TLS/, '... in one message');
like($roster->log_contents,
	qr{https://127\.0\.0\.1:$closed could not be reached\n.*DETAIL:  libcurl says: Failed to connect},
	'the log tells the DBA');
unlike($roster->log_contents, qr{(could not be reached|libcurl says).*(campus|token|hidden)},
	'... and no path or query');
is(scalar($plain->log), 0, 'nothing was sent in clear');

# What has no end
$roster->set(allowed_hosts => 'localhost:*');
$roster->move_school('mesa', $server->url, $server->client_secret, "token_url => '', page_size => 50");

sub ends
{
	my ($name, $sqlstate, $message, $faults) = @_;
	$server->faults($faults);
	my $refusal = refusal("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	is("$refusal->{sqlstate} $refusal->{message}", "$sqlstate $message", $name);
	return $refusal;
}

ends('a drip of bytes', '08006', '"localhost" did not answer in time',
	{ drip => { path => 'students', bytes => 10, pause_ms => 200 } });
ends('a drip that is fast enough to go on', '08006', '"localhost" did not answer in time',
	{ padding => { path => 'students', megabytes => 10 },
	drip => { path => 'students', bytes => 1000, pause_ms => 50 } });
ends('headers without an end', '08P01', '"localhost" did not answer with valid HTTP',
	{ many_headers => { path => 'students', count => 290 } });
$roster->set(max_fetch_rows => 1000);
$refusal = ends('a new row with each page', '54000', 'the SIS sends more than a run may read',
	{ total => 'none', page_cap => 1 });
is($refusal->{detail}, 'More than 1000 rows were read.', '... says how many');
like($refusal->{hint}, qr/raise minga_roster\.max_fetch_rows/, '... and what can be raised');
cmp_ok(newest('requests'), '>', 900, '... after so many pages');
$roster->set(max_fetch_rows => 5000000);
$roster->set(max_fetch_megabytes => 4);
$refusal = ends('bytes without an end', '54000', 'the SIS sends more than a run may read',
	{ padding => { path => 'students', megabytes => 3 } });
is($refusal->{detail}, '4 MB were read.', '... says how many');
like($refusal->{hint}, qr/raise minga_roster\.max_fetch_megabytes/, '... and what can be raised');
ends('... packed', '54000', 'the SIS sends more than a run may read',
	{ padding => { path => 'students', megabytes => 3 }, gzip => { path => 'students' } });
$roster->set(max_fetch_megabytes => 8192);
is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'with an end the roster is read');
is(knocks(@listeners) + knocks($environment), 0, 'and no one else was reached');

done_testing();
