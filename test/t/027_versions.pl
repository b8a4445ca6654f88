# Versions, told by what the objects carry: roles of OneRoster 1.2, ids alone as the CSV files have them, and the
# spellings of booleans, grades, numbers and dates.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $true = JSON::PP::true;
my $false = JSON::PP::false;
my $server = OneRosterServer->new(people => 60, seed => 27);
my $roster = RosterCluster->new('versions');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_fetch('mesa')");

my %ids = map { my $name = $_;
$name => [ split /\n/, $roster->sql("SELECT sourced_id FROM staged_users WHERE collection = '$name' ORDER BY 1") ] }
  qw(students teachers administrators);
my @students = @{ $ids{students} };
cmp_ok(scalar @students, '>=', 25, 'there are students enough');

# Reads with these rows in place of those of as many users of the collection, and returns what the stage holds of
# each.
sub staged
{
	my ($collection, $columns, @rows) = @_;
	my %override;

	@override{ @{ $ids{$collection} }[ 0 .. $#rows ] } = @rows;
	$server->faults({ override => \%override, ignore_fields => {} });
	# A diagnosis alone keeps schools.
	$roster->sql("SELECT FROM " . ($columns =~ /org_ids/ ? 'roster_diagnose' : 'roster_fetch') . "('mesa')");
	is($roster->sql('SELECT state FROM runs ORDER BY run DESC LIMIT 1'), 'succeeded', "a read of $collection");
	my @staged = map {
		my ($id) = @{ $ids{$collection} }[$_];
		$roster->sql("SELECT $columns FROM staged_users WHERE sourced_id = '$id'")
	} 0 .. $#rows;
	$server->clear_faults;
	return @staged;
}

sub role
{
	my ($name, $org, %fields) = @_;
	return { roleType => 'primary', role => $name,
		defined $org ? (org => { sourcedId => $org, type => 'org', href => 'x' }) : (), %fields };
}

# Rows of 1.2 have no role and no orgs beside the list.
sub roles { return { role => undef, orgs => undef, roles => [@_] }; }

# Roles of 1.2

is_deeply(
	[ staged('students', 'role, org_ids, roles, damaged',
		roles(role('Student', $school)),
		roles(role('student', 'other'), role('student', $school, roleType => 'secondary')),
		roles(role('aide', $school, roleType => 'secondary'), role('student', $school)),
		roles(role('student', $school), role('student', $school)),
		roles(role('student', $school, org => $school)),
		roles(role('student', undef)),
		{ role => undef, roles => ['student'] },
		{ role => undef, orgs => undef, roles => role('student', $school) },
		{ role => 'student', orgs => [ { sourcedId => $school } ], roles => [] },
		{ role => 'student', orgs => [ { sourcedId => $school } ], roles => undef },
		{ role => undef, orgs => [ { sourcedId => $school } ], roles => [ role('student', 'other') ] },
		roles(role('student', $school, metadata => { role => 'x', org => ['y'] }, userProfile => 'z',
		beginDate => '2099-01-01'))) ],
	[
		"student|{$school}||f", "student|{other,$school}||f", "student|{$school}|{student,aide}|f",
			"student|{$school}||f", "student|{$school}||f",
		'student|||f', "student|{$school}||f", "student|{$school}||f", "student|{$school}||f", "student|{$school}||f",
		"student|{$school,other}||f", "student|{$school}||f"
	],
	'roles[]: the role at the school, the primary one first');
is_deeply(
	[ staged('students', 'count(*)',
		roles(role('student', 'other')),
		roles(role('student', $school, endDate => '2026-01-31')),
		roles(role('student', $school, endDate => '2026-01-31T00:00:00.000Z'), role('student', 'other')),
		roles(role('student', undef, endDate => '2026-01-31')),
		roles(role('student', $school, endDate => '2026-01-31'), role('student', $school, roleType => 'secondary')),
		roles(role('student', $school, endDate => '2099-01-31')),
		roles(role('student', $school, endDate => '')),
		roles(role('student', $school, endDate => 'never'))) ],
	[ 0, 0, 0, 0, 1, 1, 1, 1 ],
	'a role at another school, or one that has ended, is none of this school');
is($roster->sql("SELECT elsewhere FROM collections WHERE collection = 'students' AND run = (SELECT max(run) "
	  . "FROM runs)"), '4', '... and is counted');
is_deeply(
	[ staged('students', 'role, damaged',
		roles(role({ name => 'student' }, $school)),
		roles(role('student', $school, org => [$school])),
		roles(role('student', $school), [ role('aide', $school) ]),
		roles(role('student', $school), map { role("r$_", $school) } 1 .. 1200),
		roles($true)) ],
	[ '|t', 'student|t', 'student|t', 'student|t', '|t' ],
	'roles that cannot be read: the row is there, and damaged');
my $yesterday = $roster->sql("SELECT (now() AT TIME ZONE 'UTC')::date - 1");
my $before = $roster->sql("SELECT (now() AT TIME ZONE 'UTC')::date - 2");
is_deeply([ staged('students', 'count(*)', map { roles(role('student', $school, endDate => $_)) } $yesterday,
	$before) ],
	[ 1, 0 ], 'a role that ended yesterday may be one of today where the school is');

is_deeply(
	[ staged('teachers', 'role, roles',
		roles(role('administrator', $school), role('teacher', $school, roleType => 'secondary')),
		roles(role('student', $school), role('teacher', $school)),
		roles(role('guardian', $school), role('teacher', $school, roleType => 'secondary')),
		roles(role('janitor', $school), role('teacher', $school)),
		roles(role('janitor', $school), role('cook', $school))) ],
	[ 'teacher|{administrator,teacher}', 'student|{student,teacher}', 'teacher|{guardian,teacher}',
	'teacher|{janitor,teacher}', 'janitor|{janitor,cook}' ],
	'of several roles at the school: an account before a contact, the family of the first, then the best rank');
$server->faults({
	status => { path => '/schools/.*/administrators', code => 403 },
	override => { $ids{administrators}[0] => { role => 'administrator', orgs => undef,
	roles => [ role('teacher', $school), role('administrator', $school) ] } },
	ignore_fields => {} });
$roster->sql("SELECT roster_fetch('mesa')");
is($roster->sql("SELECT role, collection FROM staged_users WHERE sourced_id = '$ids{administrators}[0]'"),
	'teacher|administrators',
	'where a district is listed by role, any role at the school counts');
$server->clear_faults;

# Ids alone

$roster->sql("SELECT roster_configure('mesa', parent_contact => true)");
is_deeply(
	[ staged('students', 'org_ids, agent_ids, damaged',
		{ orgs => undef, orgSourcedIds => "$school, other", agents => undef, agentSourcedIds => 'a1,a2,' },
		{ orgs => undef, orgSourcedIds => [ $school, 17 ], agents => undef, agentSourcedIds => [] },
		{ orgs => "other, $school", agents => 'a1,a2' },
		{ orgs => ["other,$school"], agents => [ { sourcedId => 'a,1' }, 'a2', 'a2', { sourcedId => 'a,1' } ] },
		{ orgs => [$school], agents => [ 'a1', { sourcedId => 18 }, { href => 'x' }, undef ] },
		{ orgs => { sourcedId => $school }, agents => { sourcedId => 'a1' } },
		{ orgs => [], orgSourcedIds => undef, agents => '' }) ],
	[ "{$school,other}|{a1,a2}|f", "{$school,17}||f", "{other,$school}|{a1,a2}|f",
	"{other,$school}|{\"a,1\",a2}|f", "{$school}|{a1,18,\"\"}|f",
	"{$school}|{a1}|f", '||f' ],
	'orgs and agents as references, as ids, as lists of ids in one string');
$roster->sql("SELECT roster_configure('mesa', parent_contact => false)");

# Spellings

is_deeply(
	[ staged('students', 'enabled, damaged', map { { enabledUser => $_ } } 'true', 'True', 'FALSE', '1', 0, 'false',
		$false, $true, undef, '', 'perhaps', []) ],
	[ 't|f', 't|f', 'f|f', 't|f', 'f|f', 'f|f', 'f|f', 't|f', 't|f', 't|f', 't|t', 't|f' ],
	'enabledUser; an empty list is an absent value');
is_deeply(
	[ staged('students', 'grade, damaged', map { { grades => $_ } } ['09'], [ '', '10' ], '11,12', '  12 ', 9, [9],
		[9.5], undef, [''], [], 'Kindergarten', [ undef, 'KG' ]) ],
	[ '09|f', '10|f', '11|f', '12|f', '9|f', '9|f', '9.5|f', '|f', '|f', '|f', 'Kindergarten|f', 'KG|f' ],
	'grades');
is_deeply(
	[ staged('students', 'identifier, username, email, damaged',
		{ identifier => 4711, username => 12, email => '' },
		# The server writes this one as 1000000000000000.0.
		{ identifier => 1e15, username => 0, email => undef },
		{ identifier => '4711', userMasterIdentifier => 'u-1', username => undef, email => "\x{a0} a\@b.example " },
		{ identifier => undef, userMasterIdentifier => 'u-1', username => undef, email => $true }) ],
	[ '4711|12||f', '1000000000000000|0||f', '4711||a@b.example|f', '|||f' ],
	'numbers as text; userMasterIdentifier is no identifier');
is_deeply(
	[ staged('students', 'preferred_name, given_name', { givenName => 'Elizabeth', preferredFirstName => ' Lizzy ' }) ],
		['Lizzy|Elizabeth'], 'preferredFirstName');

my %dates = (
	'2026-03-01T12:30:15.250Z' => '2026-03-01T12:30:15.250Z',
	'2026-03-01T12:30:15Z' => '2026-03-01T12:30:15.000Z',
	'2026-03-01 12:30:15' => '2026-03-01T12:30:15.000Z',
	'2026-03-01T12:30Z' => '2026-03-01T12:30:00.000Z',
	'2026-03-01T00:30:00+01:00' => '2026-02-28T23:30:00.000Z',
	'2024-03-01T00:30:00.1234567+0100' => '2024-02-29T23:30:00.123Z',
	'2025-12-31T20:00:00,5-07' => '2026-01-01T03:00:00.500Z',
	'2026-01-01T00:00:00+14:00' => '2025-12-31T10:00:00.000Z',
	'2026-03-01' => '2026-03-01T00:00:00.000Z',
	' 2026-03-01T23:59:60z ' => '2026-03-01T23:59:59.000Z',
	'2026-02-29' => undef,
	'0000-01-01' => undef,
	'0001-01-01T00:00:00+01:00' => undef,
	'2026-03-01T24:00:00Z' => undef,
	'2026-03-01T12:30:15.Z' => undef,
	'2026-03-01T12:30:15 PST' => undef,
	'03/01/2026' => undef,
	'' => undef);
my @dates = sort keys %dates;
is_deeply([ staged('students', 'date_last_modified, damaged', map { { dateLastModified => $_ } } @dates) ],
	[ map { ($dates{$_} // '') . '|f' } @dates ],
	'dates in UTC and of one form; one that cannot be read is none');

# An id as a number, and the latest of two rows by time, not by text

$server->faults({
	add_rows => [
		{ %{ bare(4711) }, dateLastModified => '2026-03-01T09:00:00Z', givenName => 'Later' },
		{ %{ bare(4711) }, dateLastModified => '2026-03-01T10:00:00+02:00', givenName => 'Earlier' } ] });
is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'a fetch with two rows of one id');
is($roster->sql("SELECT sourced_id, given_name FROM staged_users WHERE sourced_id = '4711'"), '4711|Later',
	'an id as a number; of two rows the later one by time');
$server->clear_faults;

# Rows that name no role, and roles that have all ended

sub read_lists { return $roster->sql('SELECT string_agg(concat(collection, without_role, roles_ended), \' \' '
	  . 'ORDER BY collection) FROM collections WHERE run = (SELECT max(run) FROM runs)'); }

is_deeply(
	[ staged('students', 'role, damaged',
		roles(role(undef, $school)),
		{ role => undef },
		{ role => ' ' },
		{ role => ['student'] },
		{ role => 'Pupil' }) ],
	[ ('student|f') x 3, '|t', 'pupil|f' ],
	"the school's list of students tells the role of a row that names none, and of no other");
like(read_lists(), qr/students30/, '... and they are counted');
is_deeply([ staged('teachers', 'role', { role => undef }, roles(role(undef, $school))) ], [ ('teacher') x 2 ],
	'... so that of teachers');
is_deeply([ staged('administrators', 'role', { role => undef }) ], [''], '... a list of several categories does not');

my %ended = map { $_ => { role => undef, roles => [ role('student', $school, endDate => '2025-06-30') ] } } @students;
my $other = shift @students;
$ended{$other} = { role => undef, orgs => undef, roles => [ role('student', $school, endDate => '2025-06-30') ] };
$server->faults({ override => \%ended, ignore_fields => {} });
is($roster->sql("SELECT state, created > 0 FROM roster_sync('mesa')"), 'succeeded|t',
	'a sync where the roles of all students have ended');
is($roster->sql("SELECT count(*) FROM staged_users WHERE collection = 'students'"), '0',
	'... stages none of them, although their orgs list the school');
is($roster->sql('SELECT finding, amount, detail ->> \'subject\', needs_look FROM run_findings '
	  . 'WHERE run = (SELECT max(run) FROM runs) AND category IS NULL'),
	'roles_ended|' . keys(%ended) . '|students|t', '... and says so');
$server->clear_faults;

sub bare { my ($id) = @_; return { sourcedId => $id, status => 'active', enabledUser => 'true', role => 'student',
	familyName => 'Doe', orgs => [ { sourcedId => $school } ] }; }

done_testing();
