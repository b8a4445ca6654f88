# Fetch into the stage: whole rosters equal the server's rows, what is not staged, bad characters and bad fields, rows
# of other schools, fallbacks, faults and their errors, the partitions.

use strict;
use warnings;

use Encode qw(encode_utf8);
use IPC::Run ();
use JSON::PP ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;
use Unicode::Normalize qw(NFC);

my $json = JSON::PP->new->utf8->canonical;
my $server = OneRosterServer->new(people => 300, seed => 21);
my $roster = RosterCluster->new('fetch');
my $school = $server->school_id;
my $root = $server->url . '/ims/oneroster/v1p1';

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', page_size => 40)");

# What the server sends, read by curl.
my $token = $json->decode(curl('-u', $server->client_id . ':' . $server->client_secret,
	'-d', 'grant_type=client_credentials', $server->token_url))->{access_token};

sub curl
{
	my @arguments = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'curl', '-sS', '--cacert', $server->ca_file, @arguments ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "curl: $err";
	return $out;
}

sub wire_rows
{
	my ($path) = @_;
	return @{ $json->decode(curl('-H', "Authorization: Bearer $token",
		"$root$path?limit=50000&sort=sourcedId&orderBy=asc"))->{users} };
}

# A row of the wire as the stage has to hold it.
sub as_staged
{
	my ($row, $collection) = @_;
	my $text = sub { my ($value) = @_; return undef unless defined $value; $value =~ s/^\s+|\s+$//g;
	return $value eq '' ? undef : NFC($value) };
	my ($grade) = grep { defined } map { $text->($_) } @{ $row->{grades} // [] };
	my $is_contact = $row->{role} =~ /^(?:guardian|parent|relative)$/;
	my @agents = map { $_->{sourcedId} } @{ $row->{agents} // [] };

	# Not their schools, since no diagnosis asks; of contacts only how to reach them; agents of students alone.
	return {
		sourced_id => $row->{sourcedId}, collection => $collection, status => lc $row->{status}, role => $row->{role},
		enabled => $row->{enabledUser} eq 'true' ? JSON::PP::true : JSON::PP::false, damaged => JSON::PP::false,
		given_name => $text->($row->{givenName}), family_name => $text->($row->{familyName}),
		middle_name => $is_contact ? undef : $text->($row->{middleName}),
		preferred_name => undef, username => $is_contact ? undef : $text->($row->{username}),
		identifier => $is_contact ? undef : $text->($row->{identifier}), id_sent => undef,
		email => $text->($row->{email}), phone => $text->($row->{phone}) // $text->($row->{sms}), grade => $grade,
		date_last_modified => $row->{dateLastModified}, org_ids => undef,
		agent_ids => @agents && !$is_contact ? \@agents : undef,
		outcome => undef, roles => undef, damaged_field => undef, legacy_id => undef, relationships => undef,
		sms => undef, user_ids => undef, birth_date => undef };
}

sub staged
{
	my ($where) = @_;
	my $rows = $roster->sql("SELECT coalesce(json_agg(to_jsonb(s) - 'connection' ORDER BY sourced_id), '[]') "
		  . "FROM staged_users s WHERE connection = 'mesa' AND $where");
	return $json->decode($rows);
}

sub fetch { return $roster->sql("SELECT state FROM roster_fetch('mesa')"); }
sub newest { my ($columns) = @_; return $roster->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1"); }

sub collection
{
	my ($name, $columns) = @_;
	return $roster->sql("SELECT $columns FROM collections WHERE collection = '$name' AND run = (SELECT max(run) "
		  . "FROM runs)");
}

# The error of a fetch under these faults.
sub fetch_error
{
	my ($faults) = @_;
	$server->faults($faults);
	my $error = $roster->error("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	return $error;
}

# Whole rosters

$server->clear_log;
$roster->sql("SELECT roster_configure('mesa', parent_contact => true)");
is(fetch(), 'succeeded', 'a fetch succeeds');
my %wire = (
	students => [ wire_rows("/schools/$school/students") ],
	teachers => [ wire_rows("/schools/$school/teachers") ],
	administrators => [ wire_rows("/schools/$school/administrators") ]);
foreach my $name (sort keys %wire)
{
	is_deeply(staged("collection = '$name'"), [ map { as_staged($_, $name) } @{ $wire{$name} } ],
		"the stage holds the $name as they were sent");
	is(collection($name, 'complete, proof, rows, distinct_ids, claimed_total, without_id, elsewhere, fallback, detail'),
		join('|', 't', 'total', (scalar @{ $wire{$name} }) x 3, 0, 0, 'f', ''), "... and $name are complete");
}
my %named = map { $_->{sourcedId} => 1 } map { @{ $_->{agents} // [] } } @{ $wire{students} };
foreach my $name (qw(guardians relatives))
{
	my @rows = wire_rows("/$name");
	my @kept = grep { $named{ $_->{sourcedId} } } @rows;
	cmp_ok(scalar @kept, '<', scalar @rows, "not all $name of the district belong to this school");
	is_deeply(staged("collection = '$name'"), [ map { as_staged($_, $name) } @kept ],
		"... the stage holds those $name whom a student names");
	is(collection($name, 'complete, elsewhere'), 't|' . (@rows - @kept), '... and counts the others');
}
is(newest('rows_staged, rows_expected >= rows_staged, is_full, pages > 10, requests > pages, bytes > 0, phase'),
	$roster->sql('SELECT count(*) FROM staged_users') . '|t|t|t|t|t|fetch', 'the run knows its figures');
is($roster->sql("SELECT string_agg(name || ' ' || type, ', ' ORDER BY name) FROM staged_orgs "
	  . "WHERE connection = 'mesa'"),
	'Dobson High school, Mesa High school, Red Mountain High school', 'the schools that the key can see');

# What is never asked for, and never kept

my @passwords = grep { defined && length } map { $_->{password} } map { @$_ } values %wire;
cmp_ok(scalar @passwords, '>', 100, 'the server would send passwords');
is($roster->sql('SELECT count(*) FROM staged_users s WHERE '
	  . join(' OR ', map { "s::text LIKE '%$_%'" } @passwords[0 .. 20])),
	'0', '... none of them is in the stage');
is(scalar(grep { ($_->{query}{fields} // '') =~ /password|userIds|metadata/
	  || $_->{path} =~ /demographics/ } grep { $_->{query}{limit} && $_->{authorization} } $server->log),
	0, '... none was asked for');
$server->faults(
	{ override =>
		{ $wire{students}[0]{sourcedId} => { metadata => { secret => 'do-not-keep', password => 'do-not-keep' } } } });
fetch();
is($roster->sql("SELECT count(*) FROM staged_users s WHERE s::text LIKE '%do-not-keep%'"), '0', 'nor is metadata');
$server->clear_faults;

# Contacts

$roster->sql("SELECT roster_configure('mesa', parent_contact => false)");
fetch();
is($roster->sql("SELECT string_agg(DISTINCT collection, ' ' ORDER BY collection) FROM staged_users"),
	'administrators students teachers',
	'guardians are not read unless the parent contact is wanted, and the stage was emptied');

# Bad characters and bad fields

my @ids = map { $_->{sourcedId} } @{ $wire{students} };
$server->faults({ invalid_utf8 => { sourced_id => $ids[0] }, nul_escape => { sourced_id => $ids[1] },
	lone_surrogate => { sourced_id => $ids[2] } });
fetch();
is($roster->sql("SELECT string_agg(sourced_id || ' ' || given_name, ', ' ORDER BY sourced_id) FROM staged_users "
	  . "WHERE damaged"),
	encode_utf8("$ids[0] Da\x{FFFD}\x{FFFD}(mage, $ids[1] Da\x{FFFD}mage, $ids[2] Da\x{FFFD}mage"),
	'bad characters are mended, and those rows alone are marked');
is($roster->sql('SELECT count(*) FROM staged_users'), scalar(map { @$_ } values %wire), '... everyone else is there');
$server->clear_faults;

$server->faults({ override => {
	$ids[0] => { givenName => "  Ana\x{A0} ", familyName => "Nu\x{301}n\x{303}ez", middleName => '', email => undef,
		phone => '', sms => ' 555 ', status => ' ACTIVE ', role => 'Student' },
	$ids[1] => { givenName => { first => 'Ana' }, enabledUser => JSON::PP::false },
	$ids[2] => { familyName => 'x' x 1025, grades => [ '', '11', '12' ] },
	$ids[3] => { identifier => 4711, grades => 9, enabledUser => 'False' },
	$ids[4] => { orgs => 'nonsense', grades => undef, agents => undef, enabledUser => undef },
	$ids[5] => { grades => '10,11', enabledUser => 'perhaps' } } });
fetch();
is($roster->sql("SELECT given_name, family_name, middle_name, email, phone, status, role, damaged FROM staged_users "
	  . "WHERE sourced_id = '$ids[0]'"),
	encode_utf8("Ana|N\x{FA}\x{F1}ez|||555|active|student|f"),
	'text is trimmed and in NFC, empty is absent, sms stands in for phone');
is($roster->sql("SELECT given_name IS NULL, family_name IS NOT NULL, enabled, damaged FROM staged_users "
	  . "WHERE sourced_id = '$ids[1]'"),
	't|t|f|t', 'a field of another type is left out and damages its row; false may be a boolean');
is($roster->sql("SELECT family_name IS NULL, grade, damaged FROM staged_users WHERE sourced_id = '$ids[2]'"), 't|11|t',
	'a field that is too long damages its row; the first grade that is one counts');
is($roster->sql("SELECT identifier, grade, enabled, damaged FROM staged_users WHERE sourced_id = '$ids[3]'"),
	'4711|9|f|f', 'numbers are taken as text');
is($roster->sql("SELECT grade IS NULL, agent_ids IS NULL, enabled FROM staged_users WHERE sourced_id = '$ids[4]'"), '',
	'orgs that name another school are elsewhere');
is($roster->sql("SELECT grade, enabled, damaged FROM staged_users WHERE sourced_id = '$ids[5]'"), '10|t|t',
	'the first of several grades counts; an enabledUser that is neither true nor false damages its row');
$server->clear_faults;

$server->faults(
	{ override => { $ids[0] => { orgs => [ { sourcedId => 'another-school' } ] }, $ids[1] => { orgs => undef },
	$ids[2] => { orgs => [ { sourcedId => 'district' }, { sourcedId => $school } ] },
	$ids[3] => { orgs => { name => {} } }, $ids[4] => { orgs => JSON::PP::true } } });
fetch();
is($roster->sql("SELECT string_agg(sourced_id, ' ' ORDER BY sourced_id) FROM staged_users WHERE sourced_id IN ('"
	  . join("', '", @ids[0 .. 4]) . "')"),
	join(' ', sort @ids[1 .. 4]),
	"a row of another school is not staged; one without orgs, with several or with unreadable ones is");
is(collection('students', 'complete, elsewhere, rows - distinct_ids'), 't|1|0',
	'... but counted, and the proof counts it in');
is(newest('rows_staged'), $roster->sql('SELECT count(*) FROM staged_users'), '... nothing of it stays in the stage');
$server->clear_faults;

$server->faults({ override => { $ids[0] => { sourcedId => '' }, $ids[1] => { sourcedId => 'x' x 1025 },
	$ids[2] => { sourcedId => { a => 1 } } } });
fetch();
is(collection('students', 'complete, without_id'), 'f|3',
	'rows without a usable sourcedId are counted, and no absence is believed');
$server->clear_faults;

# Duplicates

$server->faults({ duplicate => [ { sourced_id => $ids[3], at => 'end' }, { sourced_id => $ids[7] } ] });
fetch();
is(collection('students', 'complete, proof, rows - distinct_ids'), 't|total|2', 'duplicates do not spoil the proof');
is($roster->sql('SELECT count(*), count(DISTINCT sourced_id) FROM staged_users'),
	join('|', (scalar(map { @$_ } values %wire)) x 2), '... and are dropped');
$server->clear_faults;

# Administrators

sub administrators { return staged("collection = 'administrators'"); }
my $own = [ map { as_staged($_, 'administrators') } @{ $wire{administrators} } ];
my @all_administrators = wire_rows('/administrators');
foreach my $code (403, 404)
{
	$server->faults({ status => { path => '/schools/.*/administrators', code => $code } });
	is(fetch(), 'succeeded', "administrators answer $code: the fetch goes on");
	is_deeply(administrators(), $own, '... with those of this school from /users');
	is(collection('administrators', 'complete, fallback, elsewhere'), 't|t|' . (@all_administrators - @$own),
		'... complete, the others counted');
	like(collection('administrators', 'detail'),
		qr{^/schools/\{school\}/administrators: .*\. Read from /users\?filter=role='administrator' instead\.$},
		'... and it says so');
}
$server->faults({ status => { path => '/schools/.*/administrators', code => 403 }, ignore_filter => {} });
fetch();
is_deeply(administrators(), $own, 'a server that ignores the filter changes nothing');
$server->clear_faults;

my @own_ids = map { $_->{sourced_id} } @$own;
$server->faults({ status => { path => '/schools/.*/administrators', code => 403 }, override => {
	$own_ids[0] => { orgs => undef }, $own_ids[1] => { orgs => JSON::PP::true },
		$own_ids[2] => { role => { name => 'administrator' } } }, ignore_filter => {} });
fetch();
is($roster->sql("SELECT string_agg(sourced_id || ' ' || damaged, ', ' ORDER BY sourced_id) FROM staged_users "
	  . "WHERE sourced_id IN ('" . join("', '", @own_ids[0 .. 2]) . "')"),
	"$own_ids[1] true, $own_ids[2] true",
	'where a whole district is listed, a row without orgs is elsewhere; one whose orgs or role cannot be read is not');
$server->clear_faults;

$server->faults({ status => [ { path => 'administrator', code => 403 } ] });
is(fetch(), 'succeeded', 'administrators nowhere: the fetch goes on');
is(collection('administrators', 'complete, proof, rows, fallback, detail IS NOT NULL'), 'f||0|f|t',
	'... and they are not complete');
is(collection('students', 'complete'), 't', '... and students are');
is(newest('is_full'), 't', '... and the read is full');
$server->clear_faults;

like(fetch_error({ status => { path => 'students|teachers|administrator', code => 403 } }),
	qr/ERROR:  42501: .*DETAIL: .*HINT: /s, 'nothing readable at all is an error');

# Faults

like(fetch_error({ html => { path => 'students' } }),
	qr/ERROR:  08P01: .*web page.*DETAIL: .*text\/html.*HINT: .*login/s, 'an HTML page is an error');
like(fetch_error({ failure_status => { path => 'students' } }),
	qr/ERROR:  08P01: .*failure.*DETAIL: .*the roster could not be read.*HINT: /s, 'a failure in a 200 is an error');
like(fetch_error({ missing_envelope => { path => 'students' } }), qr/ERROR:  08P01: .*no list.*HINT: /s,
	'a first page without an envelope is an error');
like(fetch_error({ truncated => { path => 'students' } }), qr/ERROR:  08P01: .*in the middle.*HINT: /s,
	'truncated JSON is an error');
my $deep = 'x';
$deep = [ $deep ] foreach 1 .. 70;
like(fetch_error({ override => { $ids[0] => { grades => $deep } } }), qr/ERROR:  22032: .*nested/,
	'arrays nested too deep are an error');
$deep = 'x';
$deep = { name => $deep } foreach 1 .. 70;
like(fetch_error({ override => { $ids[0] => { givenName => $deep } } }), qr/ERROR:  22032: .*nested/,
	'objects nested too deep are an error');
like(fetch_error({ status => { path => 'students', code => 500 } }), qr/ERROR:  08006: .*HINT: /s,
	'status 500 is an error');
like(fetch_error({ status => { path => 'students', code => 400 } }), qr/ERROR:  08P01: .*HINT: /s,
	'status 400 is an error');
like(fetch_error({ redirect => { path => 'students', location => 'https://evil.example/' } }),
	qr/ERROR:  08P01: .*redirect/s, 'a redirect is an error');
is(newest('state, is_full IS NULL'), 'failed|t', 'a failed fetch was no full read');
foreach my $code (502, 503, 504)
{
	$server->faults({ status => { path => 'students', code => $code, times => 1 } });
	is(fetch(), 'succeeded', "a $code that passes is waited for");
	is(newest('retries'), '1', '... and counted');
}
$server->faults({ status => { path => 'students', code => 429, times => 1, retry_after => 0 } });
is(fetch(), 'succeeded', 'a 429 that passes is waited for');
$server->clear_faults;
$server->faults({ reset_connection => { path => 'students.*offset=40&', times => 1 } });
is(fetch(), 'succeeded', 'a connection that breaks off is tried again');
$server->clear_faults;
$server->faults({ rename_envelope => { path => 'students', key => 'students' } });
is(fetch(), 'succeeded', 'rows under the path\'s own key');
$server->faults({ rename_envelope => { path => 'students', key => 'people' } });
is(fetch(), 'succeeded', 'rows under the single key that there is');
is($roster->sql("SELECT count(*) FROM staged_users WHERE collection = 'students'"), scalar @ids,
	'... and all of them are there');
$server->clear_faults;

# The school

my $unknown = $roster->sql("SELECT roster_configure('mesa', school_id => 'no-such-school')")
	  && $roster->error("SELECT roster_fetch('mesa')");
like($unknown, qr/ERROR:  22023: .*school "no-such-school" is not among/, 'an unknown school is an error');
like($unknown, qr/DETAIL: .*"Mesa High" \(\Q$school\E\)/, '... the schools that the key can see are named');
like($unknown, qr/HINT: .*roster_configure\('mesa', school_id => /, '... and what to do');
$roster->sql("SELECT roster_configure('mesa', school_id => '" . lc($school) . "')");
like($roster->error("SELECT roster_fetch('mesa')"), qr/HINT: .*compared as written.*school_id => '\Q$school\E'/s,
	'a School ID in other case');
$roster->sql("SELECT roster_configure('mesa', school_id => '$school')");
$server->faults({ status => { path => '/schools\?', code => 403 } });
is(fetch(), 'succeeded', 'orgs stand in for schools');
$server->faults({ status => { path => '/(schools|orgs)\?', code => 403 } });
is(fetch(), 'succeeded', 'a key that may not list schools reads its school all the same');
$server->clear_faults;

# Partitions

my $number = $roster->sql("SELECT number FROM connections WHERE connection = 'mesa'");
my $members = "SELECT string_agg(c.relname || ' ' || c.relpersistence::text, ', ' ORDER BY c.relname) FROM pg_class c "
	  . "JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' "
	  . "WHERE c.relname ~ '^staged_.*_[0-9]+\$'";
is($roster->sql($members), "staged_orgs_$number u, staged_users_$number u",
	'partitions are unlogged and members of the extension');

my $file = "SELECT pg_relation_filenode('staged_users_$number')";
my $size = "SELECT pg_relation_size('staged_users_$number')";
my ($file_before, $size_before) = map { $roster->sql($_) } $file, $size;
my ($in, $out, $err) = ("BEGIN; SELECT count(*) FROM minga_roster.staged_users; SELECT 'reading';\n", '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $roster->node->connstr('postgres') ], '<', \$in, '>', \$out,
	'2>', \$err, IPC::Run::timeout(60));
IPC::Run::pump($session) until $out =~ /reading/;
is(fetch(), 'succeeded', 'a fetch while someone reads the stage');
cmp_ok($roster->sql($size), '>', $size_before, '... deletes the rows of the one before');
is($roster->sql('SELECT count(*) FROM staged_users'), scalar(map { @$_ } values %wire), '... and they are new');
$in = "\\q\n";
IPC::Run::finish($session);
fetch();
is($roster->sql($size), $size_before, 'later they are cut off again');
is($roster->sql($file), $file_before, '... without a new file');

$roster->sql("SELECT roster_disconnect('mesa')");
is($roster->sql($members), '', 'roster_disconnect drops them');
$roster->connect_school('mesa2', $server);
$roster->sql("SELECT roster_fetch('mesa2')");
$roster->sql('DROP EXTENSION minga_roster');
is($roster->sql("SELECT count(*) FROM pg_class WHERE relname LIKE 'staged%'"), '0', 'so does DROP EXTENSION');
$roster->sql('CREATE EXTENSION minga_roster');
$roster->connect_school('mesa', $server);
is(fetch(), 'succeeded', 'after CREATE EXTENSION everything starts afresh');

done_testing();
