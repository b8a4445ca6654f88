# Values that do not stand in the fields of OneRoster: birth dates, which come with demographics, and columns that take
# theirs from a path in the row. What is asked for, what is written, what is counted, and what does not stay.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 120, seed => 31, schools => 2);
my $roster = RosterCluster->new('values');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', guard_percent => 100, guard_update_percent => 100)");
$roster->sql("SELECT roster_toggle('mesa', auto_update => true)");
$roster->sql("UPDATE connections SET unproven = false");

sub value { return $roster->sql($_[0]); }
sub sync { return $roster->sql("SELECT state FROM roster_sync('mesa')"); }
sub newest { my ($columns) = @_; return value("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1"); }
sub demographics
{
	return value('SELECT listed, unknown_user, not_chosen, damaged FROM run_objects '
		  . "WHERE object = 'demographics' AND run = (SELECT max(run) FROM runs)");
}

# The fields that the newest requests for a list name.
sub asked
{
	my ($path) = @_;
	my %asked = map { $_->{query}{fields} => 1 }
	  grep { $_->{query}{fields} && $_->{path} =~ m{/$path$} } $server->log;
	return join ' ', sort keys %asked;
}

# Birth dates

is(sync(), 'succeeded', 'a sync without birth dates');
is(scalar(grep { $_->{path} =~ /demographics/ } $server->log), 0, 'asks for no demographics');
is(value('SELECT count(birth_date) FROM people'), 0, 'and writes none');
is(asked('students') =~ /userIds|metadata/ ? 'asked' : 'not asked', 'not asked', 'nor for userIds');

$roster->sql("SELECT roster_configure('mesa', birth_dates => true)");
$server->clear_log;
is(sync(), 'succeeded', 'a sync with birth dates');
is(asked('demographics'), 'sourcedId,status,dateLastModified,birthDate', 'of demographics the date alone is asked for');
like(asked('students'), qr/,userIds$/, 'of users their other IDs');
my $students = value("SELECT count(*) FROM links WHERE category = 'student'");
cmp_ok($students, '>', 20, 'the school has students');
is(value('SELECT count(*) FROM people p JOIN links l ON l.person_id = p.person_id::text '
			. 'JOIN staged_demographics d ON d.sourced_id = l.sourced_id '
			. "WHERE p.birth_date = d.birth_date AND l.category = 'student'"), $students, 'each has a birth date');
my ($listed, $unknown, $others, $damaged) = split /\|/, demographics();
my $staged = value("SELECT count(*) FROM staged_users WHERE role = 'student'");
is($listed - $unknown - $others, $staged, 'what joins no one is counted');
cmp_ok($unknown, '>', 0, 'the list is the whole district');
is($damaged, 0, 'every date can be read');
is(value('SELECT count(*) FROM staged_demographics'), $staged, 'and stays nowhere');
is(value('SELECT count(user_ids) FROM staged_users'), 0, 'nor do other IDs');
is(sync(), 'succeeded', 'a second sync');
is(newest('updated'), 0, 'writes nothing');

my $dates = value('SELECT md5(string_agg(concat(person_id, birth_date), $$ $$ ORDER BY person_id)) FROM people');
$server->faults({ demographics_by_guid => 1 });
is(sync(), 'succeeded', 'a sync where demographics have other IDs, as in Infinite Campus 1.1');
($listed, $unknown) = split /\|/, demographics();
is($unknown, $listed, 'joins no one');
is(value('SELECT md5(string_agg(concat(person_id, birth_date), $$ $$ ORDER BY person_id)) FROM people'), $dates,
	'and changes no one');
is(value('SELECT count(*) FROM staged_demographics'), 0, 'nothing of the list stays');
like(value("SELECT string_agg(concat_ws(' ', finding, value, ok, hint), E'\\n') FROM roster_diagnose('mesa')"),
	qr/birth dates of users of this school 0 of \d+ f .*person GUID/, 'the diagnosis says so');
my ($one, $other) = split /\|/,
  value("SELECT min(sourced_id), max(sourced_id) FROM links WHERE category = 'student'");
my @guids = map { { type => 'guid', identifier => $_ } } qw(G-1 G-2);
$server->faults({
	demographics_by_guid => 1,
	override => { $one => { userIds => [ $guids[0], { type => 'LocalID' } ] }, $other => { userIds => $guids[1] } },
	objects => {
		demographics => {
			add => [ { sourcedId => 'G-1', status => 'active', birthDate => '2011-02-03T00:00:00.000Z', sex => 'male' },
				{ sourcedId => 'G-2', birthDate => 'in spring', sex => 'female' } ] } } });
is(sync(), 'succeeded', 'a sync where two users tell these IDs');
is(value("SELECT p.birth_date FROM people p JOIN links l ON l.person_id = p.person_id::text "
			. "WHERE l.sourced_id = '$one'"), '2011-02-03', 'one of them has the date');
is((split /\|/, demographics())[3], 1, 'one that cannot be read is counted');
$server->clear_faults;

$roster->set(keep_stage => 'off');
is(sync(), 'succeeded', 'a sync that keeps no stage');
is(value('SELECT (SELECT count(*) FROM staged_demographics) + (SELECT count(*) FROM staged_users)'), 0,
	'leaves nothing there');
$roster->set(keep_stage => 'on');
$roster->sql("SELECT roster_configure('mesa', birth_dates => false)");

# Paths

is(sync(), 'succeeded', 'a sync without paths');
$roster->sql("SELECT roster_map_column('mesa', 'identifier', 'userIds[type=LocalID].identifier'), "
	  . "roster_map_column('mesa', 'middle_name', 'metadata.homeroom')");
my $before = value('SELECT md5(string_agg(concat(person_id, identifier), $$ $$ ORDER BY person_id)) FROM people');
$server->faults({
	override => {
		$one => { metadata => { homeroom => "  Room\x{a0}7 ", secret => 'do-not-keep' }, middleName => 'not this' },
		$other => { metadata => { homeroom => 12, nested => { homeroom => 'not this' } } } } });
$server->clear_log;
is(sync(), 'succeeded', 'a sync with paths');
like(asked('students'), qr/,userIds|,metadata/, 'the fields are asked for');
is(value('SELECT md5(string_agg(concat(person_id, identifier), $$ $$ ORDER BY person_id)) FROM people'), $before,
	'the same identifier from another place changes no one');
is(value("SELECT string_agg(p.middle_name, ' + ' ORDER BY l.sourced_id) FROM people p "
			. "JOIN links l ON l.person_id = p.person_id::text WHERE l.sourced_id IN ('$one', '$other')"),
	join(' + ', map { $_ eq $one ? "Room\x{a0}7" =~ s/\x{a0}/\xc2\xa0/r : '12' } sort($one, $other)),
	'texts and numbers are taken, cleaned');
is(value("SELECT count(*) FROM staged_users s WHERE s::text ~ 'do-not-keep|not this'"), 0,
	'what else stands there is kept nowhere');
my $report = value("SELECT string_agg(concat_ws(' ', finding, value, ok), E'\\n') FROM roster_diagnose('mesa')");
like($report, qr/students with identifier from userIds\[type=LocalID\]\.identifier \d+ of \d+/,
	'the diagnosis tells how many rows have it');
like($report, qr/students with middle_name from metadata\.homeroom 2 of \d+ .*t$/m, 'of each path');
$roster->sql("SELECT roster_set_column_owner('mesa', 'middle_name', 'local')");
$server->faults({ override => { $one => { metadata => { homeroom => 'Room 8' } } } });
is(sync(), 'succeeded', 'a sync of a column that is the school\'s own');
is(value("SELECT count(*) FROM people WHERE middle_name = 'Room 8'"), 0, 'takes nothing from its path');
$roster->sql("SELECT roster_set_column_owner('mesa', 'middle_name', 'sis')");
$server->faults({
	override => {
		$one => { userIds => [ map { { type => 'LocalID', identifier => $_ } } qw(one two) ] },
		$other => { userIds => [], identifier => 'not this' } } });
is(sync(), 'succeeded', 'a sync where a path leads to two values, or to none');
is(value("SELECT damaged, damaged_field, identifier IS NULL FROM staged_users WHERE sourced_id = '$one'"),
	't|identifier|t', 'two values are unreadable');
is(value("SELECT damaged, identifier IS NULL FROM staged_users WHERE sourced_id = '$other'"), 'f|t',
	'none is none, whatever the field of OneRoster has');
is(value('SELECT md5(string_agg(concat(person_id, identifier), $$ $$ ORDER BY person_id)) FROM people'), $before,
	'and clears nothing');
is(newest('archived'), 0, 'both are present');
$server->faults({
	add_rows => [ { sourcedId => 's777', status => 'active', enabledUser => 'true', role => 'student',
			givenName => 'Sam', familyName => 'Found', identifier => 'wrong', username => 'new777', grades => ['9'],
			userIds => { identifier => 'N-777', type => 'LocalID' }, orgs => [ { sourcedId => $school } ] } ] });
$roster->sql("INSERT INTO people (site, role, given_name, family_name, identifier) "
	  . "SELECT site, 'student', 'Sam', 'Found', 'N-777' FROM connections");
is(sync(), 'succeeded', 'a sync with a new row');
is(value("SELECT p.identifier FROM links l JOIN people p ON p.person_id::text = l.person_id "
			. "WHERE l.sourced_id = 's777'"), 'N-777', 'people are found by what the path has');
$server->clear_faults;
$roster->sql("SELECT roster_map_column('mesa', 'identifier', NULL), roster_map_column('mesa', 'middle_name', NULL)");
$server->clear_log;
is(sync(), 'succeeded', 'a sync without paths again');
unlike(asked('students'), qr/userIds|metadata/, 'asks for what it did before');

$roster->stop;
done_testing();
