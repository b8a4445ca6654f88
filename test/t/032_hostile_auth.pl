# Credentials: tokens refused at once, in the middle and always; lists that are denied; token endpoints that are down or
# talk nonsense; cookies demanded; odd characters in what a school pastes.

use strict;
use warnings;
use utf8;

use Encode qw(encode_utf8);
use HostileNight;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $night = HostileNight->new('auth', guard_percent => 100);
my ($roster, $server) = ($night->roster, $night->server);
my $middle = 'students.*offset=20&';
my $asked = sub { my ($times) = @_;
return (after => sub { is(scalar($night->requests(qr/oauth2\/token/)), $times, "... with $times new token"
	  . ($times == 1 ? '' : 's')) }) };

# 401
$night->falls('401 at once', { status => { path => 'schools', code => 401, times => 1 } },
	collection => 'students|t|total', $asked->(1));
$night->falls('401 in the middle', { status => { path => $middle, code => 401, times => 1 } },
	collection => 'students|t|total', $asked->(1));
$night->falls('a token good for three requests', { expire_token_after => 3 }, collection => 'students|t|total');
foreach my $case ([ 'always', 'schools' ], [ 'always in the middle', $middle ])
{
	$night->falls("401 $case->[0]", { status => { path => $case->[1], code => 401 } }, sqlstate => '28000',
		error => qr/^the SIS refused a token that it had just issued$/, detail => qr/^It answered 401 for /,
		hint => qr/Ask the school.*SIS vendor/, $asked->(1));
}

# 403 and 404 of one collection
foreach my $code (403, 404)
{
	my $detail = $code == 403 ? qr/does not share this list/ : qr/does not have what was asked for/;
	$night->falls("$code of the students", { status => { path => '/students', code => $code } },
		collection => 'students|f|', after => sub {
		like($roster->sql("SELECT detail FROM collections WHERE collection = 'students' AND run = (SELECT max(run) "
			  . "FROM runs)"), $detail, '... and it says why');
		like($roster->sql('SELECT roster_report((SELECT max(run) FROM runs))'), qr/students/, '... in the report too');
	});
	$night->falls("$code of the teachers", { status => { path => '/teachers', code => $code } },
		collection => 'teachers|f|');
	$night->falls("$code of the administrators", { status => { path => '/schools/.*/administrators', code => $code } },
		collection => 'administrators|t|total');
	$night->falls("$code of the administrators wherever they are",
		{ status => { path => 'administrator', code => $code } }, collection => 'administrators|f|');
}
$night->falls('403 of every list', { status => { path => 'students|teachers|administrator', code => 403 } },
	sqlstate => '42501',
	error => qr/^the SIS does not share this list with the connection$/, hint => qr/Ask the school/);

# Token endpoints
my @token = (
	[ 'down', { status => { path => 'oauth2/token', code => 503, retry_after => 3600 } }, '08006',
		qr/^the SIS failed to answer$/, qr/vendor/ ],
	[ 'broken', { status => { path => 'oauth2/token', code => 500 } }, '08006', qr/^the SIS failed to answer$/,
	qr/vendor/ ],
	[ 'busy for an hour', { status => { path => 'oauth2/token', code => 429, retry_after => 3600 } }, '53400',
	qr/^the SIS asks for fewer requests$/, qr/Run at another hour/ ],
	[ 'gone', { status => { path => 'oauth2/token', code => 404 } }, '42704',
	qr/^the SIS has no token endpoint at this URL$/, qr/token/ ],
	[ 'a login page', { html => { path => 'oauth2/token' } }, '08P01', qr/holds no access token$/,
	qr/token_url.*SIS vendor/ ],
	[ 'half an answer', { truncated => { path => 'oauth2/token' } }, '08P01', qr/holds no access token$/,
	qr/token_url.*SIS vendor/ ],
	[ 'a token of other characters', { token_fields => { access_token => "t\x{f6}ken" } }, '08P01',
	qr/holds no access token$/, qr/token_url/ ],
	[ 'without a token', { token_fields => { access_token => undef } }, '08P01', qr/holds no access token$/,
	qr/token_url/ ],
	[ 'refusing the credentials', { status => { path => 'oauth2/token', code => 401 } }, '28P01',
	qr/^the SIS refused the credentials of connection "mesa"$/, qr/roster_set_secret/ ],
	[ 'refusing HTTP Basic', { status => { path => 'oauth2/token', code => 401, times => 1 } }, undef ],
	[ 'giving tokens without an end', { token_fields => { expires_in => undef } }, undef ],
	[ 'slow', { drip => { path => 'oauth2/token', bytes => 30, pause_ms => 20 } }, undef ]);
foreach my $case (@token)
{
	my ($name, $faults, $sqlstate, $error, $hint) = @$case;
	$roster->sql('DELETE FROM tokens');
	$night->falls("token endpoint: $name", $faults, defined $sqlstate ? (sqlstate => $sqlstate, error => $error,
		hint => $hint) : (collection => 'students|t|total'));
}

# Cookies: the token's answer sets one, and each request has to bring it
$roster->sql('DELETE FROM tokens');
$night->falls('cookies demanded', { cookie => { path => '/schools' } }, collection => 'students|t|total');
$night->falls('cookies demanded while the token is still good', { cookie => { path => '/schools' } },
	collection => 'students|t|total');

# What schools paste
my $secret = $server->client_secret;
my $n = 0;
foreach my $case (
	[ "O'Brien & S\x{f6}hne + 100%", "\x{df}ecret's+&%41=/?#\x{1F511}", "m\x{e4}sa's & +1%" ],
	[ 'id:with:colons', 'plain', 'minga' ],
	[ '%41%42', '%43+%44', 'a+b' ])
{
	my ($client_id, $client_secret, $app_name) = map { encode_utf8($_) } @$case;
	my $odd = OneRosterServer->new(people => 10, certs => $server->certs, client_id => $client_id,
		client_secret => $client_secret, app_name => $app_name);
	my $connection = 'odd' . ++$n;
	my $app = $app_name =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger;

	$roster->connect_school($connection, $odd, url => $odd->origin . "/campus/api/oneroster/v1p1/$app",
		$n == 1 ? () : (app_name => undef));
	is($roster->sql("SELECT state FROM roster_sync('$connection')"), 'succeeded',
		"odd characters in id, secret and App Name ($n)");
	is($roster->sql("SELECT app_name FROM connections WHERE connection = '$connection'"), $app_name,
		'... which is kept as it reads');
	unlike($roster->log_contents, qr/\Q$client_secret\E/, '... and the secret is in no log')
		  unless $client_secret eq 'plain';
	$odd->stop;
}
unlike($roster->log_contents, qr/\Q$secret\E/, 'nor is the other');

done_testing();
