# A network that fails: no one listens, connections that break, answers that drip or never come, a name that is none,
# redirects, a SIS that is busy or broken at some page. Tries pause for half a second and more, so most faults strike
# once or ask for a long wait.

use strict;
use warnings;

use HostileNight;
use IO::Socket::INET;
use OneRosterServer;
use POSIX qw(strftime);
use RosterCluster;
use Test::More;

my $night = HostileNight->new('network', guard_percent => 100);
my ($roster, $server) = ($night->roster, $night->server);
my $middle = 'students.*offset=20&';
my $deep = 'students.*offset=40&';
my %tried = (after => sub { cmp_ok($night->newest('retries'), '>=', 1, '... after another try') });

# Answers that do not come. A request is given up after two seconds without data.
sub falls_in_time
{
	my ($name, $faults, %expected) = @_;

	$roster->set(request_timeout => '10s');
	$night->falls($name, $faults, sqlstate => '08006', error => qr/^"localhost" did not answer in time$/,
		hint => qr/may be overloaded: /, %expected,
		after => sub { $night->moves_back if $night->{there}; $roster->set(request_timeout => '5min') });
	return;
}

falls_in_time('a request that is never answered', { hang => { path => $middle } },
	detail => qr/students from offset 20: /);
falls_in_time('an answer that drips', { drip => { path => $middle, bytes => 10, pause_ms => 200 } },
	detail => qr/students from offset 20: /);
$roster->sql('DELETE FROM tokens');
falls_in_time('a token that drips', { drip => { path => 'oauth2/token', bytes => 1, pause_ms => 200 } },
	detail => qr/oauth2\/token: /);
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "could not listen: $!";
my $port = $listener->sockport;
$night->moves("localhost:$port");
# Whether someone listens is not told: the tries are those of a port that is closed.
my %unreachable = (sqlstate => '08006', error => qr/^"localhost" could not be reached over TLS$/,
	detail => qr/^No request for .* could be sent/,
	hint => qr/SIS may be down.*firewall.*SIS administrator.*DBA/);
$roster->set(request_timeout => '10s');
$night->falls('a listener that never speaks', {}, %unreachable, after => sub {
	is($night->newest('retries'), '4', '... after four tries more');
	$night->moves_back;
	$roster->set(request_timeout => '5min');
});

# No one there
close $listener;
$night->moves("localhost:$port");
$night->falls('no server listens', {}, %unreachable,
	after => sub { is($night->newest('retries'), '4', '... after four tries more'); $night->moves_back });
$night->moves('campus.school.invalid');
$night->falls('a name that is none', {}, sqlstate => '08001',
	error => qr/^the host name "campus\.school\.invalid" was not found$/, hint => qr/Compare the URL.*DBA/,
	after => sub { $night->moves_back });

# Connections that break
$night->falls('a reset in the middle of a page', { reset_connection => { path => $middle, times => 1 } },
	collection => 'students|t|total', %tried);
$night->falls('a reset of the first page', { reset_connection => { path => 'students', times => 1 } },
	collection => 'students|t|total', %tried);
$night->falls('an answer that drips, but fast enough', { drip => { path => $middle, bytes => 500, pause_ms => 20 } },
	collection => 'students|t|total');

# A SIS that is busy
my %busy = (collection => 'students|t|total', %tried);
$night->falls('429 without Retry-After', { status => { path => $middle, code => 429, times => 1 } }, %busy);
$night->falls('429 with seconds', { status => { path => $middle, code => 429, times => 1, retry_after => 1 } }, %busy);
$night->falls('429 with a date',
	{ status => { path => $middle, code => 429, times => 1,
	retry_after => strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3)) } }, %busy);
$night->falls('429 with nonsense',
	{ status => { path => $middle, code => 429, times => 1, retry_after => 'after lunch' } }, %busy);
$night->falls('429 for an hour', { status => { path => $middle, code => 429, retry_after => 3600 } },
	sqlstate => '53400',
	error => qr/^the SIS asks for fewer requests$/,
	detail => qr/^It answered 429 for .*students from offset 20; the SIS says: switched on by a test$/,
	hint => qr/Run at another hour: ask the school/,
	after => sub { is($night->newest('retries'), '0', '... which is not waited for') });
foreach my $code (502, 503, 504)
{
	$night->falls("$code at a deep offset, once", { status => { path => $deep, code => $code, times => 1 } }, %busy);
}
foreach my $case ([ 500 ], [ 503, retry_after => 3600 ])
{
	my ($code, @wait) = @$case;
	$night->falls("$code at a deep offset, always", { status => { path => $deep, code => $code, @wait } },
		sqlstate => '08006',
		error => qr/^the SIS failed to answer$/,
		detail => qr/^It answered $code for .*students from offset 40; the SIS says: switched on by a test$/,
		hint => qr/wrong inside the SIS.*vendor/);
}

# Redirects: nothing may reach whom they point to
my $elsewhere = OneRosterServer->new(people => 30, certs => $server->certs);
my $plain = OneRosterServer->new(people => 30, plain_http => 1);
my $path = '/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1/users';
my @redirects = (
	[ 'to another host', 302, $elsewhere->origin . $path, 'localhost' ],
	[ 'to another name of the host', 307, 'https://127.0.0.1:' . $server->port . $path, '127\.0\.0\.1' ],
	[ 'to http', 301, $plain->origin . $path, 'localhost' ],
	[ 'in a loop', 308, $server->origin . $path, 'localhost' ],
	[ 'to a login page', 303, '/campus/login.jsp', 'localhost' ]);
$_->clear_log foreach $elsewhere, $plain;
foreach my $redirect (@redirects)
{
	my ($name, $code, $location, $host) = @$redirect;
	$night->falls("a redirect $name", { redirect => { path => $middle, location => $location, code => $code } },
		sqlstate => '08P01',
		error => qr/^the SIS sent a redirect, which is not followed$/,
		detail => qr/^It answered $code for .* from offset 20, pointing to host "$host"\.$/,
		hint => qr/Credentials go to the configured host alone.*roster_configure\(url/);
}
foreach my $location ($elsewhere->token_url, $plain->token_url)
{
	$roster->sql('DELETE FROM tokens');
	$night->falls('a token endpoint that redirects',
		{ redirect => { path => 'oauth2/token', location => $location, code => 307 } }, sqlstate => '08P01',
		error => qr/^the token endpoint sent a redirect, which is not followed$/,
		detail => qr{^It answered 307, pointing to \Q@{[ $location =~ s/\?.*//r ]}\E\.$},
		hint =>
		RosterCluster::pattern(qr{^Credentials go to the configured address alone\..*roster_configure\(token_url => },
			qr{'\Q@{[ $location =~ s/\?.*//r ]}\E'\)}));
}
is(scalar($elsewhere->log) + scalar($plain->log), 0, 'nothing was sent to where the redirects pointed');

done_testing();
