# The OneRoster client: tokens, credentials, retries, redirects, TLS; what a fault says, and that nothing secret is in
# it.

use strict;
use warnings;

use JSON::PP;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 30, seed => 3);
my $roster = RosterCluster->new('client');
$roster->connect_school('mesa-high', $server);

sub fetch { return $roster->sql("SELECT state FROM roster_fetch('mesa-high')"); }
sub fetch_error { return $roster->error("SELECT roster_fetch('mesa-high')"); }
sub newest { return $roster->sql("SELECT $_[0] FROM runs ORDER BY run DESC LIMIT 1"); }
sub requests { my ($path) = @_; return grep { $_->{path} =~ /$path/ } $server->log; }
sub query_of { my ($request) = @_; return JSON::PP->new->canonical->encode($request->{query}); }

# Tokens
$server->clear_log;
is(fetch(), 'succeeded', 'a fetch with good credentials succeeds');
is(scalar(requests('oauth2/token')), 1, 'one token is asked for');
is((requests('oauth2/token'))[0]{authorization}, 'Basic', '... with HTTP Basic');
like(query_of((requests('oauth2/token'))[0]), qr/"appName":\W*"minga"/, '... and the App Name');
is(fetch(), 'succeeded', 'another fetch succeeds');
is(scalar(requests('oauth2/token')), 1, '... goes with the token that was kept');
is($roster->sql("SELECT count(*) FROM tokens WHERE position(sealed in 'Bearer'::bytea) = 0 "
	  . "AND octet_length(sealed) > 36"), '1', '... and is sealed');
is(scalar(grep { query_of($_) =~ /"fields":.*sourcedId/ && query_of($_) !~ /password/ } requests('students')),
	scalar(requests('students')), 'passwords are not asked for');
is(scalar(grep { $_->{authorization} ne 'Bearer' } requests('students')), 0, 'each page is asked for with the token');

$server->clear_log;
$server->faults({ expire_token_after => 2 });
is(fetch(), 'succeeded', 'a token withdrawn in the middle is renewed');
cmp_ok(scalar(requests('oauth2/token')), '>=', 1, '... by a request for a new one');
$server->clear_faults;
$server->faults({ status => { path => 'students', code => 401 } });
like(fetch_error(), qr/ERROR:  28000: .*refused a token.*HINT: /s,
	'a 401 that stays is an error of class 28, not an endless loop');
$server->clear_faults;

# How long a token is kept: less its last minute; five minutes where the server does not say
foreach my $case (
	[ undef, 240, 'no expires_in' ], [ 600, 540, 'a number' ], [ '600', 540, 'a string' ], [ 'soon', 240, 'no number' ],
		[ 40, 20, 'less than a minute' ])
{
	my ($expires_in, $seconds, $what) = @$case;
	$roster->sql('DELETE FROM tokens');
	$server->faults({ token_fields => { expires_in => $expires_in } });
	is(fetch(), 'succeeded', "expires_in: $what");
	is($roster->sql("SELECT expires_at <= clock_timestamp() + interval '$seconds s' "
		  . "AND expires_at > started_at + interval '$seconds s' FROM tokens, runs ORDER BY run DESC LIMIT 1"),
		't', "... kept for $seconds s");
}
$server->clear_faults;
$roster->sql("UPDATE tokens SET expires_at = now()");
$server->clear_log;
is(fetch(), 'succeeded', 'a token that has expired');
is(scalar(requests('oauth2/token')), 1, '... is not used');

# Token endpoints that are none
foreach my $case (
	[ { html => { path => 'oauth2/token' } }, qr/ERROR:  08P01: .*no access token/s, 'a login page' ],
	[ { token_fields => { access_token => undef } }, qr/ERROR:  08P01: .*no access token/s, 'no access_token' ],
	[ { token_fields => { access_token => { nested => 'x' } } }, qr/ERROR:  08P01: .*no access token/s,
	'an access_token that is no string' ],
	[ { token_fields => { access_token => "x\r\nX-Injected: 1" } }, qr/ERROR:  08P01: .*no access token/s,
	'an access_token with a line break' ],
	[ { truncated => { path => 'oauth2/token' } }, qr/ERROR:  08P01: .*no access token/s, 'half an answer' ],
	[ { status => { path => 'oauth2/token', code => 404 } }, qr/ERROR:  42704: .*no token endpoint/s, 'a 404' ],
	[ { status => { path => 'oauth2/token', code => 403 } }, qr/ERROR:  28P01: .*refused the credentials/s, 'a 403' ],
	[ { status => { path => 'oauth2/token', code => 500 } }, qr/ERROR:  08006: .*500/s, 'a 500' ],
	[ { redirect => { path => 'oauth2/token', location => 'https://login.example.org/' } },
	qr/ERROR:  08P01: .*redirect.*login\.example\.org/s, 'a redirect' ])
{
	my ($faults, $error, $what) = @$case;
	$roster->sql('DELETE FROM tokens');
	$server->clear_log;
	$server->faults($faults);
	like(fetch_error(), $error, "token endpoint with $what");
	is(scalar(grep { $_->{path} !~ /token/ } $server->log), 0, '... nothing else is asked');
	$server->clear_faults;
}
my @deep = map { [] } 1 .. 50;
$deep[$_][0] = $deep[ $_ + 1 ] foreach 0 .. 48;
$server->faults({ token_fields => { scope => $deep[0] } });
like(fetch_error(), qr/ERROR:  08P01: .*nested too deeply.*HINT: /s, 'token endpoint with an answer of 50 levels');
$server->clear_faults;
$server->faults({ status => { path => 'oauth2/token', code => 503, times => 1 } });
is(fetch(), 'succeeded', 'token endpoint that is busy once');
is(newest('retries'), '1', '... is tried again');
$server->clear_faults;

# Credentials
$roster->sql("SELECT roster_set_secret('mesa-high', 'guessed wrong')");
my $error = fetch_error();
like($error, qr/ERROR:  28P01: .*refused the credentials of connection "mesa-high".*401.*HINT:.*roster_set_secret/s,
	'a wrong secret is an error that says whose side it is and what to do');
unlike($error . $roster->log_contents, qr/guessed wrong/, '... and the secret is in no error and no log');
$roster->sql("SELECT roster_set_secret('mesa-high', " . RosterCluster::quote($server->client_secret) . ')');
$roster->sql("SELECT roster_configure('mesa-high', app_name => 'other')");
like(fetch_error(), qr/ERROR:  28000: .*does not know the App Name "other".*HINT: .*appName=/s,
	'a wrong App Name is named, with where to find the right one');
$roster->sql("SELECT roster_configure('mesa-high', app_name => 'minga')");
is(fetch(), 'succeeded', 'the right name works again');

# Faults that pass
foreach my $code (429, 502, 503, 504)
{
	$server->faults({ status => { path => 'students', code => $code, times => 1, retry_after => 0 } });
	is(fetch(), 'succeeded', "a $code is tried again");
	is(newest('retries'), '1', '... and only once');
}
$server->faults({ reset_connection => { path => 'students', times => 1 } });
is(fetch(), 'succeeded', 'a connection that breaks in the middle of a page is tried again');
cmp_ok(newest('retries'), '>=', 1, '... and counted');
$server->clear_faults;
$server->clear_log;
$server->faults({ status => { path => 'students', code => 503, retry_after => 3600 } });
like(fetch_error(), qr/ERROR:  08\w{3}: /, 'a server that asks for an hour is not waited for');
is(scalar(requests('students')), 1, '... nor asked again');
$server->clear_faults;

$server->clear_log;
$server->faults({ status => { path => 'students', code => 429, retry_after => 'Fri, 31 Dec 2100 23:59:59 GMT' } });
like(fetch_error(), qr/ERROR:  53400: .*fewer requests.*429.*HINT: /s,
	'a server that names a date far away is not waited for');
is(scalar(requests('students')), 1, '... and not asked again');
$server->clear_faults;
$server->clear_log;
$server->faults({ status => { path => 'students', code => 429, retry_after => 2, times => 1 } });
is(fetch(), 'succeeded', 'Retry-After is read in seconds');
my @times = map { $_->{time} } requests('students');
cmp_ok($times[1] - $times[0], '>=', 2, '... is kept to');
$server->clear_log;
$server->faults({ status => { path => 'students', code => 503 } });
like(fetch_error(), qr/ERROR:  08006: .*503/s, 'a server that stays busy is an error that the evening tries again');
is(scalar(requests('students')), 5, '... after five tries');
is(newest('retries'), '4', '... four of which are retries');
$server->clear_faults;

# Faults that stay
foreach my $case ([ 400, '08P01' ], [ 422, '08P01' ], [ 500, '08006' ])
{
	my ($code, $sqlstate) = @$case;
	$server->clear_log;
	$server->faults({ status => { path => 'students', code => $code } });
	like(fetch_error(), qr/ERROR:  $sqlstate: .*$code.*HINT: /s, "a $code is an error");
	is(join(' ', map { $_->{query}{limit} . ($_->{query}{fields} ? ' fields' : '') } requests('students')),
		'5000 fields 10',
		'... and tried once more only with less');
	$server->clear_faults;
}

# Redirects
my $elsewhere = OneRosterServer->new(people => 30, seed => 4);
$elsewhere->clear_log;
$server->faults(
	{ redirect => { path => 'students', location => $elsewhere->origin
		  . '/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1/users' } });
like(fetch_error(), qr/ERROR:  08P01: .*redirect.*HINT: .*Credentials go to the configured host alone/s,
	'a redirect is an error');
is(scalar($elsewhere->log), 0, '... and nothing reaches the other host');
$server->faults({ redirect => { path => 'students', location => "https://\x{ff}\x{fe}.example/" } });
like(fetch_error(), qr/ERROR:  08P01: .*redirect/s, 'a redirect to a host that is no text is an error');
is($roster->sql("SELECT count(*) FILTER (WHERE convert_to(detail, 'UTF8') IS NULL AND detail IS NOT NULL) FROM runs"),
	'0', '... that is stored as text');
$server->clear_faults;

# TLS and the network
$roster->set(ca_file => $elsewhere->ca_file);
like(fetch_error(), qr/ERROR:  08\w{3}: .*no trusted TLS connection to "localhost".*HINT: .*ca_file/s,
	'a certificate of an unknown authority is refused');
$roster->set(ca_file => $server->ca_file);
my $url = $elsewhere->url;
$elsewhere->stop;
$roster->move_school('mesa-high', $url, $server->client_secret);
like(fetch_error(), qr/ERROR:  08006: .*"localhost" could not be reached over TLS.*HINT: .*firewall/s,
	'no server listens');
$roster->move_school('mesa-high', 'https://sis.school.invalid/campus/api/oneroster/v1p1/minga', $server->client_secret);
like(fetch_error(), qr/ERROR:  08001: .*"sis\.school\.invalid" was not found.*HINT: /s,
	'a host that does not exist is an error');
like($roster->error("SELECT roster_configure('mesa-high', url => 'http://localhost/campus/api/oneroster/v1p1/minga')"),
	qr/ERROR:  22023: .*not an https URL/, 'http is refused');

# A server that takes the credentials in the body alone
$roster->move_school('mesa-high', $server->url, $server->client_secret);
$server->clear_log;
$server->faults({ status => { path => 'oauth2/token', code => 401, times => 1 } });
is(fetch(), 'succeeded', 'credentials refused in the header are sent in the body');
is(join(',', map { $_->{authorization} } requests('oauth2/token')), 'Basic,body', '... after HTTP Basic');
$server->clear_faults;

# A cancel in the middle of a request that is never answered
$server->faults({ hang => { path => 'students' } });
$server->clear_log;
my $run = $roster->sql("SELECT roster_start('mesa-high', 'fetch')");
$server->wait_for(sub { requests('students') });
is($roster->sql("SELECT count(*), count(xact_start), count(backend_xmin) FROM pg_stat_activity "
	  . "WHERE backend_type = 'minga_roster'"), '1|0|0',
	'while it waits for the network it holds no transaction and no snapshot');
is($roster->sql("SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
	  . "WHERE a.backend_type = 'minga_roster' AND l.locktype <> 'advisory'"), '0',
	'... and no lock but the advisory ones');
$roster->sql("SELECT roster_cancel($run)");
$roster->wait_for("SELECT state <> 'running' FROM runs WHERE run = $run");
pass('a cancel ends a hanging request');
is($roster->sql("SELECT state FROM runs WHERE run = $run"), 'canceled', '... as canceled, not by a time-out');

$roster->sql('DELETE FROM tokens');
$server->faults({ hang => { path => 'oauth2/token' } });
$server->clear_log;
$run = $roster->sql("SELECT roster_start('mesa-high', 'fetch')");
$server->wait_for(sub { requests('oauth2/token') });
$roster->sql("SELECT roster_cancel($run)");
$roster->wait_for("SELECT state <> 'running' FROM runs WHERE run = $run");
is($roster->sql("SELECT state FROM runs WHERE run = $run"), 'canceled', 'a cancel while a token is asked for');
$server->faults({ hang => { path => 'students' } });
like($roster->error("SET statement_timeout = '500ms'; SELECT roster_fetch('mesa-high')"), qr/ERROR:  57014/,
	'a hanging request is interrupted');
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
pass('... and its run does not go on');
$server->clear_faults;

# http only where the setting for tests allows it, at the time of the request too
my $plain = OneRosterServer->new(people => 30, seed => 3, plain_http => 1);
$roster->set(insecure_loopback => 'on');
$roster->move_school('mesa-high', $plain->url, $plain->client_secret);
is(fetch(), 'succeeded', 'http to this machine, for tests');
$roster->set(insecure_loopback => 'off');
$plain->clear_log;
$roster->sql("DELETE FROM tokens");
like(fetch_error(), qr/ERROR:  08P01: .*HINT: /s, 'refused once the setting is off');
is(scalar($plain->log), 0, '... with nothing sent');

# A shutdown in the middle of a request that is never answered
$roster->set(insecure_loopback => 'on');
$roster->move_school('mesa-high', $server->url, $server->client_secret);
$roster->set(insecure_loopback => 'off');
$server->clear_log;
$server->faults({ hang => { path => 'students' } });
$roster->sql("SELECT roster_start('mesa-high', 'fetch')");
$server->wait_for(sub { requests('students') });
$roster->stop;
pass('a shutdown does not wait for a hanging request');
$server->clear_faults;

my $secret = quotemeta $server->client_secret;
unlike($roster->log_contents, qr/$secret/, 'no log has the secret');

done_testing();
