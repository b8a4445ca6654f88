# Presets of OneRoster 1.2, and one that signs: what is asked for, and that the same people come of it.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 5);
my $roster = RosterCluster->new('presets');
my $staged = "SELECT string_agg(sourced_id || ' ' || role, ', ' ORDER BY sourced_id COLLATE \"C\") FROM staged_users "
	  . "WHERE connection = ";

sub fetched
{
	my ($name, %args) = @_;
	$server->clear_log;
	$roster->connect_school($name, $server, %args);
	is($roster->sql("SELECT state FROM roster_fetch('$name')"), 'succeeded', "a fetch as $args{sis}");
	is(scalar(grep { $_->{code} != 200 } $server->log), 0, '... each request is answered');
	return $roster->sql("$staged '$name'");
}

my $people = fetched('campus', sis => 'infinite_campus');
like($people, qr/ student, .* teacher/s, 'people are staged');
like($people, qr/ administrator/, '... administrators too');

is(fetched('campus-1-2', sis => 'infinite_campus_1.2', url => $server->origin . '/campus/api/oneroster/v1p2/minga'),
	$people,
	'Campus by the paths of 1.2, users read whole: the same people of the school and no other');
my $own_paths = qr{^/campus/(api/oneroster/v1p2/minga/ims/oneroster/rostering/v1p2/|oauth2/token)};
is(scalar(grep { $_->{path} !~ $own_paths } $server->log), 0, '... by its paths alone');
is(scalar(grep { exists $_->{query}{filter} } $server->log), 0, '... and without a filter');
cmp_ok($roster->sql("SELECT elsewhere FROM collections WHERE collection = 'staff' AND run = (SELECT max(run) "
	  . "FROM runs)"), '>', 0, '... and others are only counted');

is(fetched('plain-1-2', sis => 'oneroster_1.2', url => $server->origin, app_name => undef,
	token_url => $server->plain_token_url), $people, 'a plain server of 1.2 gives the same people');
is((grep { $_->{path} eq '/oauth/token' } $server->log)[0]{scope},
	'https://purl.imsglobal.org/spec/or/v1p2/scope/roster-core.readonly '
	  . 'https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly', '... for the scopes of 1.2');
$server->clear_log;
$roster->sql("SELECT roster_configure('plain-1-2', birth_dates => true)");
is($roster->sql("SELECT state FROM roster_fetch('plain-1-2')"), 'succeeded', 'a fetch with birth dates');
like((grep { $_->{path} eq '/oauth/token' } $server->log)[0]{scope}, qr{ \S+/v1p2/scope/roster-demographics.readonly$},
	'... gets a new token, for demographics too');

$server->faults({ auth => 'oauth1_sha256' });
is(fetched('classlink', sis => 'classlink', url => $server->origin, app_name => undef), $people,
	'ClassLink, signed and by role, gives the same people');
is(scalar(grep { $_->{authorization} ne 'OAuth' } $server->log), 0, '... and each request is signed');

# Classes by the paths of each of them

sub classes_of
{
	my ($name, %faults) = @_;
	$server->clear_log;
	$roster->sql("SELECT roster_configure('$name', classes => true, birth_dates => false)");
	is($roster->sql("SELECT state FROM roster_fetch('$name')"), 'succeeded', "a fetch with classes of $name");
	return $roster->sql("SELECT (SELECT count(*) FROM staged_classes WHERE connection = '$name'), count(*), "
		  . "count(DISTINCT class_id), min(role), max(role) FROM staged_enrollments WHERE connection = '$name'");
}
$server->faults({ auth => 'oauth1_sha256' });
my $classes = classes_of('classlink');
$server->clear_faults;
like($classes, qr/^[1-9]\d+\|[1-9]\d\d+\|[1-9]\d+\|student\|teacher$/, 'ClassLink gives classes with enrollments');
is(classes_of($_), $classes, "... and $_ the same") foreach 'campus', 'campus-1-2', 'plain-1-2';

$roster->stop;
$server->stop;
done_testing();
