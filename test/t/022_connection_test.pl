# The connection test: each step, each failure with cause, side and next step; nothing is raised and nothing staged.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $json = JSON::PP->new->utf8;
my $server = OneRosterServer->new(people => 1500, seed => 41);
my $roster = RosterCluster->new('connection_test');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);

# The steps of a test: { step => { ok, detail, hint, elapsed } }, and their names in order.
my @order;
sub try
{
	my ($faults) = @_;
	$server->faults($faults) if $faults;
	my $steps = $json->decode($roster->sql("SELECT json_agg(t) FROM roster_test_connection('mesa') AS t"));
	$server->clear_faults if $faults;
	@order = map { $_->{step} } @$steps;
	return { map { $_->{step} => $_ } @$steps };
}

# "url dns …": the steps that are ok, then "!" and those that are not, then "?" and those not reached.
sub summary
{
	my ($steps) = @_;
	my $named = sub { my ($wanted) = @_;
	return grep { (!defined $steps->{$_}{ok} ? '?' : $steps->{$_}{ok} ? 'ok' : '!') eq $wanted } @order };
	return join ' ', $named->('ok'), (map { "!$_" } $named->('!')), (map { "?$_" } $named->('?'));
}

my $steps = try();
is(summary($steps), 'url dns tls token school students teachers administrators people', 'all steps are taken');
is(scalar(grep { !defined $_->{detail} || !defined $_->{elapsed} } values %$steps), 0,
	'... each with what was found and how long it took');
like($steps->{url}{detail}, qr/\Q@{[ $server->url ]}\E/, 'url');
is($steps->{dns}{detail}, 'localhost found.', 'dns');
like($steps->{tls}{detail}, qr/certificate is valid/, 'tls');
like($steps->{token}{detail}, qr/kept for \d+ seconds/, 'token');
is($steps->{school}{detail}, "\"Mesa High\" ($school) is one of 3 schools that the key can see.",
	'the school is named');
like($steps->{students}{detail}, qr/^1,2\d\d students listed\.$/, 'students are counted');
is($roster->sql('SELECT count(*) FROM staged_users') . $roster->sql('SELECT state FROM runs ORDER BY run DESC LIMIT 1'),
	'0succeeded', 'nothing is staged');
is($roster->sql('SELECT count(*) FROM run_steps'), '9', 'the steps are on record');

is(try({ total => 'none' })->{students}{detail}, 'At least 100 students listed.',
	'students are counted without a total');
$steps = try({ empty => { path => 'administrators', total => 0 } });
is("$steps->{administrators}{ok} $steps->{administrators}{detail}", '1 0 administrators listed.',
	'an empty list is no fault');
like($steps->{administrators}{hint}, qr/archives no one/, '... and says so');

$server->clear_log;
try();
is(scalar(grep { $_->{path} =~ /token/ && $_->{method} eq 'POST' } $server->log), 1,
	'the token is asked for again each time');

# Fallbacks and collections

$steps = try({ status => { path => '/schools/.*/administrators', code => 404 } });
is(summary($steps), 'url dns tls token school students teachers administrators people',
	'a collection whose fallback answers is ok');
like($steps->{administrators}{detail},
	RosterCluster::pattern(qr{in the district; of the first \d+, \d+ are of this school and kept\. Read from },
		qr{/users\?filter=role='administrator', since /schools/\{school\}/administrators is },
		qr{denied}), '... and names it');
$steps = try({ status => { path => 'administrator', code => 403 } });
is(summary($steps), 'url dns tls token school students teachers people !administrators',
	'a collection that is denied altogether is not ok');
like($steps->{administrators}{hint}, qr/Ask the school/, '... and says whose side it is');
$steps = try({ html => { path => 'students' }, failure_status => { path => 'teachers' } });
is(summary($steps), 'url dns tls token school administrators people !students !teachers',
	'collections are tried each for itself');
like($steps->{students}{detail}, qr/web page/, 'HTML');
like($steps->{teachers}{detail}, qr/the roster could not be read/, 'a failure is told in the words of the SIS');
$steps = try({ missing_envelope => { path => 'students' }, truncated => { path => 'teachers' } });
is(summary($steps), 'url dns tls token school administrators people !students !teachers',
	'answers that cannot be read fail the step');

# A school's endpoint that lists people of others
$roster->sql("SELECT roster_configure('mesa', page_size => 3)");
$roster->sql("SELECT roster_fetch('mesa')");
my @first = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE collection = 'students' ORDER BY sourced_id LIMIT 3");
$steps = try({ override => { map { $_ => { orgs => [ { sourcedId => 'another' } ] } } @first } });
is(summary($steps), 'url dns tls token school teachers administrators people !students',
	'an endpoint with people of other schools only is ok');
like($steps->{students}{detail}, qr/None of the first 3 names "\Q$school\E" among its orgs/, '... says so');
$roster->sql("SELECT roster_configure('mesa', page_size => 1000)");

$roster->sql("SELECT roster_configure('mesa', parent_contact => true)");
$steps = try();
like($steps->{guardians}{detail},
	qr/^[\d,]+ guardians listed in the district; those of this school's students are kept\.$/,
	'guardians are tried when the parent contact is wanted');
$roster->sql("SELECT roster_configure('mesa', parent_contact => false)");
$roster->sql("SELECT roster_toggle('mesa', 'student', roster => false)");
is(summary(try()), 'url dns tls token school teachers administrators people', 'what is not rostered is not tried');
$roster->sql("SELECT roster_toggle('mesa', 'student', roster => true)");

# Lists of classes

$roster->sql("SELECT roster_configure('mesa', classes => true, contacts => true)");
$steps = try();
is(summary($steps),
	'url dns tls token school students teachers administrators guardians relatives terms courses classes enrollments '
	  . 'people',
	'with classes on, their lists are tried, each as a step');
is($steps->{terms}{detail}, '3 terms listed.', '... and counted');
like($steps->{enrollments}{detail}, qr/^[\d,]+ enrollments listed\.$/, '... each');
$steps = try({ status => [ { path => '/schools/.*/terms', code => 404 },
		{ path => '/schools/.*/classes', code => 403 } ] });
like($steps->{terms}{detail},
	RosterCluster::pattern(qr{^2 terms listed in the district\. Read from /terms, since /schools/\{school\}/terms is },
		qr{denied}), 'terms of the district take the place of the school\'s');
like($steps->{classes}{detail},
	RosterCluster::pattern(qr{classes listed in the district; of the first \d+, \d+ are of this school and kept\. },
		qr{Read from /classes}), '... as do its classes');
$steps = try({ status => { path => "/$school/enrollments", code => 404 } });
like($steps->{enrollments}{detail},
	RosterCluster::pattern(qr{studentEnrollments listed\. [\d,]+ teacherEnrollments listed\. Read instead of },
		qr{/schools/\{school\}/enrollments, which is denied: }),
	'enrollments of students and of teachers take the place of those of all');
is($steps->{enrollments}{ok} . !exists $steps->{studentEnrollments}, '11', '... within the same step');
$steps = try({ status => { path => 'nrollments', code => 403 } });
is(summary($steps),
	'url dns tls token school students teachers administrators guardians relatives terms courses classes people '
	  . '!enrollments',
	'enrollments that are denied altogether fail their step alone');
$steps = try({ status => [ { path => '/enrollments', code => 403 }, { path => 'teacherEnrollments', code => 403 } ] });
is($steps->{enrollments}{ok} ? 'ok' : 'not ok', 'not ok', 'enrollments of students alone are not enough');
$steps = try({ empty => { path => '/courses', total => 0 }, html => { path => '/classes' } });
is(($steps->{courses}{ok} ? 'ok ' : 'not ok ') . $steps->{courses}{hint},
	'ok An empty list is not an error, and ends nothing. If the school has courses, ask the district\'s SIS '
	. 'administrator to share them with this connection.', 'an empty list of courses');
is($steps->{classes}{ok} ? 'ok' : 'not ok', 'not ok', 'a web page in place of classes');
$steps = try({ empty => { path => '/classes', total => 0 } });
is($roster->sql('SELECT count(*) FROM staged_classes'), '0', 'nothing of it is staged');
my $elsewhere = { sourcedId => 'K1', title => 'Latin', school => { sourcedId => 'another' }, terms => [] };
$steps = try({ objects => { classes => { only => [ $elsewhere ] } } });
like($steps->{classes}{detail}, qr/None of the first 1 names "\Q$school\E" as its school, and rows of other schools/,
	'a school\'s endpoint with classes of another one');
$roster->sql("SELECT roster_configure('mesa', classes => false, contacts => false)");

# The school

$roster->sql("SELECT roster_configure('mesa', school_id => 'no-such-school')");
$steps = try();
is(summary($steps), 'url dns tls token people !school ?students ?teachers ?administrators',
	'after an unknown school no further step is reached');
like($steps->{school}{detail}, qr/"no-such-school" is not among.*"Mesa High" \(\Q$school\E\), "Red Mountain High"/,
	'... the schools that the key can see are named');
is($steps->{students}{detail}, undef, '... and a step not reached says nothing');
$roster->sql("SELECT roster_configure('mesa', school_id => '$school')");
$steps = try({ status => { path => '/(schools|orgs)\?', code => 403 } });
is(summary($steps), 'url dns tls token school students teachers administrators people',
	'a key that may not list schools fails the step');
like($steps->{school}{detail}, qr/may not list schools/, '... is told so');

# The people relation

$roster->sql('REVOKE INSERT ON people FROM people_owner');
$steps = try();
is(summary($steps), 'url dns tls token school students teachers administrators !people',
	'an owner that may not write its people fails the step');
like($steps->{people}{detail}, qr/"people_owner" lacks INSERT on/, '... is named, with the right');
like($steps->{people}{hint}, qr/GRANT INSERT/, '... and the statement that gives it');
$roster->sql('GRANT INSERT ON people TO people_owner');

# Token, TLS, host

$roster->sql("SELECT roster_set_secret('mesa', 'wrong')");
$steps = try();
is(summary($steps), 'url dns tls people !token ?school ?students ?teachers ?administrators',
	'a wrong secret fails the step');
like($steps->{token}{hint}, qr/./, '... with what to do');
unlike($json->encode($steps), qr/wrong/, '... and without the secret');
$roster->sql("SELECT roster_set_secret('mesa', '" . $server->client_secret . "')");

$roster->set(ca_file => '');
$steps = try();
is(summary($steps), 'url dns people !tls ?token ?school ?students ?teachers ?administrators',
	'a certificate of an unknown authority fails the step');
like($steps->{tls}{hint}, qr/minga_roster\.ca_file/, '... and where to name it');
$roster->set(ca_file => $server->ca_file);

my $url = $server->url;
$roster->move_school('mesa', 'https://campus.minga.invalid/campus/api/oneroster/v1p1/minga', $server->client_secret);
$steps = try();
is(summary($steps), 'url people !dns ?tls ?token ?school ?students ?teachers ?administrators',
	'a host that does not exist fails the step');
like($steps->{dns}{detail}, qr/"campus\.minga\.invalid"/, '... is named');
my $port = $server->port;
$server->stop;
$roster->move_school('mesa', $url, $server->client_secret);
$steps = try();
is(summary($steps), 'url dns people !tls ?token ?school ?students ?teachers ?administrators',
	'a server that is down fails the step');
like($steps->{tls}{detail}, qr/"localhost"/, '... is named');

is($roster->sql("SELECT string_agg(DISTINCT state, ' ') FROM runs"), 'succeeded',
	'all tests are on record as runs that succeeded');

done_testing();
