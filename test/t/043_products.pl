# A whole sync as each product of the SIS list, against a server dressed as it: its paths, its way to authorize, what it
# demands and caps, as the source of its preset says. The same people come of it as of Campus.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 5);
my $roster = RosterCluster->new('products');
my $static = 'static-token-of-a-proxy';
my $elsewhere = $server->plain_token_url;

# url, below the server's address; what roster_connect is told; how the server is; where tokens are asked for and how
# the client shows itself; the root of all other requests.
my %products = (
	infinite_campus => { url => '/campus/api/oneroster/v1p1/minga', connect => { app_name => 'minga' },
		token => '/campus/oauth2/token Basic',
		root => '/campus/api/oneroster/v1p1/minga/ims/oneroster/v1p1/' },
	classlink => { url => '', server => { auth => 'oauth1_sha256' }, root => '/ims/oneroster/v1p1/',
	scheme => 'OAuth' },
	classlink_proxy => { url => '/minga',
	connect => { app_name => 'minga', client_id => undef, client_secret => $static },
		server => { auth => 'bearer', client => [ '', $static ], revision => { path => '', value => '7' } },
		root => '/minga/ims/oneroster/v1p1/' },
	powerschool => { url => '', server => { page_cap => 9 }, token => '/oauth/access_token Basic',
	root => '/ims/oneroster/v1p1/' },
	aeries => { url => '/aeries', server => { scope_wanted => 1, cookie => { path => 'schools' } },
	token => '/aeries/token Basic',
		root => '/aeries/ims/oneroster/v1p1/' },
	skyward => { url => '/api', connect => { token_url => $elsewhere }, token => '/oauth/token Basic',
	root => '/api/ims/oneroster/v1p1/' },
	synergy => { url => '', connect => { token_url => $elsewhere }, server => { scope_wanted => 1, sent_as => 'body' },
	token => '/oauth/token body',
		root => '/ims/oneroster/v1p1/' },
	blackbaud => { url => '/afe-rostr', connect => { token_url => $elsewhere }, server => { scope_wanted => 1 },
	token => '/oauth/token Basic',
		root => '/afe-rostr/ims/oneroster/v1p1/' },
	'oneroster_1.1' => { url => '', connect => { token_url => $elsewhere }, server => { total => 'none' },
	token => '/oauth/token Basic',
		root => '/ims/oneroster/v1p1/' });

sub people
{
	my ($site) = @_;
	return $roster->sql("SELECT string_agg(concat_ws('|', role, given_name, family_name, email, identifier), ', ' "
		  . "ORDER BY role, identifier, email, family_name, given_name) "
		  . "FROM people WHERE site = '$site'");
}

sub classes
{
	my ($connection) = @_;
	return $roster->sql("SELECT string_agg(concat_ws('|', class, course, terms, periods, room, teachers, students), "
		  . "', ' ORDER BY class_id) FROM roster_class_lists WHERE connection = '$connection'");
}

my ($people, $classes);
foreach my $sis ('infinite_campus', grep { $_ ne 'infinite_campus' } sort keys %products)
{
	my %product = %{ $products{$sis} };

	$server->faults($product{server} // {});
	$server->clear_log;
	$roster->connect_school($sis, $server, sis => $sis, url => $server->origin . $product{url}, app_name => undef,
		%{ $product{connect} // {} });
	# A site without anyone, beside sites that have people, would be held for review.
	$roster->sql("INSERT INTO people (site, role, given_name, family_name) VALUES ('$sis', 'owner', 'The', 'Owner')");
	is($roster->sql("SELECT state FROM roster_sync('$sis')"), 'succeeded', "a sync as $sis");
	$people //= people($sis);
	is(people($sis), $people, '... makes the same people as Campus');
	is($roster->sql("SELECT count(*) > 0, bool_and(complete) FROM collections WHERE run = (SELECT max(run) FROM runs)"),
		't|t', '... each list is read to its end');
	my @log = $server->log;
	my @tokens = grep { $_->{path} =~ /token/ } @log;
	my @rows = grep { $_->{path} !~ /token/ } @log;
	is(@tokens ? "$tokens[-1]{path} $tokens[-1]{authorization}" : undef, $product{token},
		'... by its token endpoint, as it takes credentials');
	is(scalar(grep { index($_->{path}, $product{root}) != 0 } @rows), 0, "... below $product{root}");
	is(scalar(grep { ($_->{authorization} // '') ne ($product{scheme} // 'Bearer') } @rows), 0,
		'... each request authorized in its way');
	is($roster->sql("SELECT created + linked + updated + restored + archived FROM roster_sync('$sis')"), '0',
		'... and a second sync changes nothing');
	$roster->sql("SELECT roster_configure('$sis', classes => true)");
	is($roster->sql("SELECT state FROM roster_sync('$sis')"), 'succeeded', '... nor one with classes');
	$classes //= classes($sis);
	is(classes($sis), $classes, '... which has the same classes as Campus');
	is($roster->sql("SELECT state FROM roster_sync('$sis')"), 'succeeded', '... and the next');
	is($roster->sql('SELECT sum(added + changed + ended) FROM run_objects '
		  . 'WHERE run = (SELECT max(run) FROM run_objects)'), '0', '... keeps them');
	$server->clear_faults;
}
like($people, qr/student\|.*teacher\|/s, 'the people are students and teachers');
like($classes, qr/Algebra 9-1\|Algebra 9\|\{"Semester \d"\}\|\{2\}\|Room 210\|\{".+"\}\|\{".+"\}/,
	'the classes have all that a list shows');
is($roster->sql("SELECT string_agg(sis, ' ' ORDER BY sis) FROM sis WHERE builtin AND sis NOT IN (SELECT sis "
	  . "FROM connections)"), 'infinite_campus_1.2 oneroster_1.2',
	'no product is left out but those of 1.2, which 024_presets reads');

$roster->stop;
$server->stop;
done_testing();
