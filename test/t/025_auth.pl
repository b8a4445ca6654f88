# How requests are authorized: client credentials in each form, scopes, cookies, signatures (verified by oauthlib),
# static tokens; odd characters in ids and secrets; what a refusal says, and that nothing secret is in it.

use strict;
use warnings;
use utf8;

use IPC::Run ();
use JSON::PP ();
use OneRosterServer;
use RosterCluster;
use Test::More;

# The verifier that signatures are held against knows the published example of OAuth 1.0 (photos.example.net).
my ($out, $err) = ('', '');
IPC::Run::run([ '/usr/bin/python3', '-c', <<'PYTHON' ], '<', \undef, '>', \$out, '2>', \$err);
from oauthlib.oauth1 import Client
client = Client("dpf43f3p2l4k3l03", "kd94hf93k423kf44", "nnch734d00sl2jdk", "pfkkdhi9sl3r4s00",
	nonce="kllo9940pd9333jh", timestamp="1191242096")
print(client.sign("http://photos.example.net/photos?file=vacation.jpg&size=original")[1]["Authorization"])
PYTHON
like($out, qr{oauth_signature="tR3%2BTy81lMeYAr%2FFid0kMTYa%2FWM%3D"},
'the verifier signs the published example as published') or diag($err);

my $server = OneRosterServer->new(people => 30, seed => 3);
my $roster = RosterCluster->new('auth');
my $odd = q(it's 50% "a+b" & c=d;e:f/ü–);
my @secrets;

# Connects a school again, with the server told what to expect.
sub connected
{
	my ($name, $faults, %args) = @_;
	$server->clear_faults;
	$server->faults($faults);
	$server->clear_log;
	push @secrets, $args{client_secret} if defined $args{client_secret};
	$roster->connect_school($name, $server, url => $server->plain_url, sis => 'oneroster_1.1', app_name => undef,
		%args);
	return;
}
sub fetch { return $roster->sql("SELECT state FROM roster_fetch('$_[0]')"); }
sub fetch_error { return $roster->error("SELECT roster_fetch('$_[0]')"); }
sub tokens_asked { return grep { $_->{path} eq '/oauth/token' } $server->log; }
sub lists_asked { return grep { $_->{path} ne '/oauth/token' } $server->log; }
sub newest { return $roster->sql("SELECT $_[0] FROM runs ORDER BY run DESC LIMIT 1"); }

# Client credentials: each form, found out once and remembered
my %oauth2 = (token_url => $server->plain_token_url);
foreach my $case ([ 'basic', 1 ], [ 'body', 2 ], [ 'encoded basic', 3 ])
{
	my ($form, $requests) = @$case;
	my $name = $form =~ s/ /-/r;
	connected($name, { client => [ 'school@mesa', $odd ], sent_as => $form }, %oauth2, client_id => 'school@mesa',
		client_secret => $odd);
	is(fetch($name), 'succeeded', "credentials sent as $form, with odd characters");
	is(scalar(tokens_asked()), $requests, "... at try $requests");
	is($roster->sql("SELECT sent_as FROM tokens WHERE connection = '$name'"), $form, '... which is remembered');
	$roster->sql("UPDATE tokens SET expires_at = now() WHERE connection = '$name'");
	$server->clear_log;
	is(fetch($name), 'succeeded', '... a token later');
	is(scalar(tokens_asked()), 1, '... it is asked for in that form at once');
	$server->faults({ expire_token_after => 3 });
	$roster->sql("UPDATE tokens SET expires_at = now() WHERE connection = '$name'");
	$server->clear_log;
	is(fetch($name), 'succeeded', '... and renewed in it after a 401 in the middle');
	is(scalar(grep { $_->{code} != 200 } tokens_asked()), 0, '... with no other tried');
}
connected('odd-id', { client => [ $odd, $odd ] }, %oauth2, client_id => $odd, client_secret => $odd);
is(fetch('odd-id'), 'succeeded', 'an id with a colon and other odd characters works');
is((tokens_asked())[0]{authorization}, 'body', '... goes in the body, since HTTP Basic cannot carry a colon');

# Scope: the preset's, none, one of the connection's own
connected('scope', { scope_wanted => JSON::PP::true }, %oauth2);
is(fetch('scope'), 'succeeded', 'a server that wants a scope gives a token');
like((tokens_asked())[0]{scope},
	qr{^https://purl\.imsglobal\.org/spec/or/v1p1/scope/roster-core\.readonly \S+roster\.readonly$},
	'... gets that of the preset');
$roster->sql("SELECT roster_configure('scope', scope => '')");
is($roster->sql("SELECT count(*) FROM tokens WHERE connection = 'scope'"), '0', 'another scope: no token is kept');
$server->clear_log;
my $error = fetch_error('scope');
like($error,
	RosterCluster::in_order(qr/ERROR:  22023: .*does not grant the scope.*DETAIL: /s,
		qr/400, invalid_scope\. None was asked for.*HINT: .*scope => /s),
		'a missing scope is an error that says whose side it is and what to do');
is(scalar(tokens_asked()), 1, '... and the credentials are not tried in other forms');
$roster->sql("SELECT roster_configure('scope', scope => 'roster a:b')");
is(fetch('scope'), 'succeeded', 'a scope of the connection works');
is((tokens_asked())[-1]{scope}, 'roster a:b', '... is sent as it is');
connected('no-scope', { scope_refused => JSON::PP::true }, %oauth2, scope => '');
is(fetch('no-scope'), 'succeeded', 'a server that refuses any scope gives a token without one');

# Cookies that came with the token go with the pages
connected('cookies', { cookie => { path => '/ims/' } }, %oauth2);
is(fetch('cookies'), 'succeeded', 'a server that demands the cookie of its token endpoint gets it');

# A token URL on another origin, named by the connection alone
connected('elsewhere', {}, token_url => 'https://127.0.0.1:' . $server->port . '/oauth/token');
is(fetch('elsewhere'), 'succeeded', 'a token URL of another origin works');

# Signatures: every request, each with a nonce of its own
foreach my $auth ('oauth1_sha256', 'oauth1_sha1')
{
	my $name = $auth =~ s/_/-/r;
	connected($name, { auth => $auth, client => [ $odd, $odd ] }, auth => $auth, client_id => $odd,
		client_secret => $odd, page_size => undef);
	is(fetch($name), 'succeeded', "$auth with odd characters in id and secret");
	is(scalar(grep { $_->{authorization} ne 'OAuth' || $_->{code} != 200 } $server->log), 0,
		'... each request is signed, and right at once');
	cmp_ok(scalar(grep { defined $_->{query}{filter} } $server->log), '>=', 1, '... those with a filter in quotes too');
	is(scalar(tokens_asked()), 0, '... no token is asked for');
	is($roster->sql("SELECT count(*) FROM tokens WHERE connection = '$name'"), '0', '... nor kept');
	$server->faults({ status => { path => 'students', code => 503, times => 2, retry_after => 0 } });
	is(fetch($name), 'succeeded', '... a request tried again is signed again, since nonces are taken once');
	is(newest('retries'), '2', '... which was twice');
	my $steps = $roster->sql("SELECT step, ok, detail FROM roster_test_connection('$name')");
	like($steps, qr/^token\|t\|Each request is signed/m, '... and so the connection test says');
	unlike($steps, qr/\|f\|/, '... which passes');
}
connected('wrong-method', { auth => 'oauth1_sha1' }, auth => 'oauth1_sha256');
$error = fetch_error('wrong-method');
like($error,
	RosterCluster::in_order(qr/ERROR:  28P01: .*refused the signature of connection "wrong-method".*401.*clock.*agree/s,
		qr/HINT: .*roster_set_secret.*auth => 'oauth1_sha1'/s), 'the error names the other HMAC as a possible cause');
is(scalar(lists_asked()), 1, '... after one request');
$roster->sql("SELECT roster_configure('wrong-method', auth => 'oauth1_sha1')");
is(fetch('wrong-method'), 'succeeded', '... and that helps');
$roster->sql("SELECT roster_set_secret('wrong-method', 'guessed wrong')");
push @secrets, 'guessed wrong';
like(fetch_error('wrong-method'), qr/ERROR:  28P01: .*refused the signature/s, 'a wrong secret is an error');

# Clocks
connected('clock', { auth => 'oauth1_sha256', clock_ahead => -900 }, auth => 'oauth1_sha256');
like(fetch_error('clock'),
	RosterCluster::in_order(qr/ERROR:  28000: /si,
		qr/clock of the database server is (89\d|90\d|91\d|92\d) seconds ahead of that of the SIS/si,
		qr/signature.*HINT: .*DBA.*SIS administrator/si), 'a clock that is behind is named');
$server->faults({ clock_ahead => 900 });
like(fetch_error('clock'), qr/ERROR:  28000: .*seconds behind that of the SIS/s, '... and one that is ahead');
$server->faults({ clock_ahead => 100 });
is(fetch('clock'), 'succeeded', 'a clock that is off by a little is no one\'s matter');

# Credentials that have ended
$roster->sql("SELECT roster_set_secret('clock', 'an old one'), roster_configure('clock', credentials_expire => "
	  . "'2020-06-30')");
$server->faults({ clock_ahead => undef });
like(fetch_error('clock'),
	qr/ERROR:  28P01: .*According to connections.credentials_expire, they expired on 2020-06-30/s,
	'a signature by credentials that have ended is an error that says so');
connected('ended', {}, %oauth2, client_secret => 'an old one');
$roster->sql("SELECT roster_configure('ended', credentials_expire => '2020-06-30')");
like(fetch_error('ended'),
	RosterCluster::in_order(qr/ERROR:  28P01: .*refused the credentials/s,
		qr/401, invalid_client\. According to connections.credentials_expire, they expired on 2020-06-30\./s,
		qr/HINT: .*not expired/s), '... and so is a token for such credentials');

# Static tokens
my $static = q(a'b&c+d%e=f/g~h);
connected('static', { auth => 'bearer', client => [ '', $static ] }, auth => 'bearer', client_id => undef,
	client_secret => $static);
is(fetch('static'), 'succeeded', 'a token that does not expire works without a client id');
is(scalar(tokens_asked()), 0, '... no other is asked for');
like($roster->sql("SELECT step, ok, detail FROM roster_test_connection('static')"),
	qr/^token\|t\|The client secret is the token/m, '... and so the connection test says');
like($roster->sql("SELECT value FROM roster_diagnose('static') WHERE finding = 'token'"), qr/none asked for/,
	'... and the diagnosis');
$roster->sql("SELECT roster_set_secret('static', 'withdrawn')");
push @secrets, 'withdrawn';
$server->clear_log;
like(fetch_error('static'),
	qr/ERROR:  28P01: .*refused the token of connection "static".*401.*HINT: .*roster_set_secret/s,
	'a token that is refused is an error');
is(scalar(lists_asked()), 1, '... is not tried again');
$roster->sql("SELECT roster_set_secret('static', 'zwei Wörter')");
push @secrets, 'zwei Wörter';
$server->clear_log;
like(fetch_error('static'),
	qr/ERROR:  28000: .*secret of connection "static" cannot be a token.*visible ASCII.*HINT: /s,
	'a secret that no header can carry is refused');
is(scalar($server->log), 0, '... goes nowhere');

# Token endpoints that are down, slow or endless
connected('endless', { padding => { path => 'oauth/token', megabytes => 1 } }, %oauth2);
like(fetch_error('endless'), qr/ERROR:  08P01: .*holds no access token.*larger than 256 kB.*HINT: .*token_url/s,
	'an answer without an end is an error');
my $stopped = OneRosterServer->new(people => 10, seed => 3);
$stopped->stop;
connected('down', {}, token_url => 'https://localhost:' . $stopped->port . '/oauth/token');
like(fetch_error('down'), qr/ERROR:  08006: .*could not be reached over TLS.*oauth\/token/s,
	'a token endpoint that is down');

my $log = $roster->log_contents;
utf8::decode($log);
is(scalar(grep { index($log, $_) >= 0 } @secrets), 0, 'no secret is in the log');
is($roster->sql("SELECT count(*) FROM runs r, unnest(ARRAY[" . join(', ', map { RosterCluster::quote($_) } @secrets)
	. "]) AS s (secret) WHERE position(secret in concat(r.error, r.detail, r.hint)) > 0"), '0', '... nor in a run');

$roster->stop;
$server->stop;
done_testing();
