# The diagnosis of a SIS: what it finds of each fault, that it raises none of them, and that it names no one.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $json = JSON::PP->new->utf8;
my $server = OneRosterServer->new(people => 400, seed => 43);
my $roster = RosterCluster->new('diagnose');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);

# The findings of a diagnosis under these faults: { finding => { value, ok, detail, hint } }; @order has their names.
my @order;
sub diagnose
{
	my ($faults) = @_;
	$server->faults($faults) if $faults;
	my $rows = $json->decode($roster->sql("SELECT json_agg(t) FROM roster_diagnose('mesa') AS t"));
	$server->clear_faults if $faults;
	@order = map { $_->{finding} } @$rows;
	return { map { $_->{finding} => $_ } @$rows };
}

# "value!" of what is not ok, "value" of what is, "value?" of what is neither.
sub verdict
{
	my ($found, $finding) = @_;
	my $row = $found->{$finding} or return 'no finding';
	return $row->{value} . (!defined $row->{ok} ? '?' : $row->{ok} ? '' : '!');
}

sub wrong { my ($found) = @_; return join ', ', grep { defined $found->{$_}{ok} && !$found->{$_}{ok} } @order }

sub text { return $roster->sql('SELECT roster_diagnosis(max(run)) FROM runs') }

# Every name, address, key and id of people in the stage, a line each.
sub personal
{
	return split /\n/, $roster->sql(<<'SQL');
SELECT DISTINCT v.value FROM staged_users s
CROSS JOIN LATERAL (VALUES (s.sourced_id), (s.given_name), (s.family_name), (s.middle_name), (s.username),
	(s.identifier), (s.email), (s.phone)) v (value)
WHERE v.value IS NOT NULL
SQL
}

sub names_nobody
{
	my ($name) = @_;
	my $all = text() . $roster->sql('SELECT string_agg(f::text, chr(10)) FROM findings f');
	my @personal = personal();
	cmp_ok(scalar(@personal), '>', 1000, "$name: there is a roster to look for");
	is_deeply([ grep { $all =~ /(?<![\w@.-])\Q$_\E(?![\w@.-])/ } @personal ], [], '... and no one of it is named');
}

# A SIS as it should be

$server->clear_log;
my $found = diagnose();
is(verdict($found, 'token'), '3600 seconds', 'the lifetime of a token');
is(verdict($found, 'list examined'), 'students?', 'the list that is examined');
is(verdict($found, $_), 'honored', $_) for 'offset', 'sort', 'fields', 'filter by role', 'filter by date',
	'filter with AND';
like(verdict($found, 'page size'), qr/^\d+ rows, all there are$/, 'page size');
is(verdict($found, 'total'), $roster->sql("SELECT claimed_total FROM collections WHERE collection = 'students'"),
	'total');
is(verdict($found, 'clock'), 'agrees', 'clocks');
is(verdict($found, 'the same page again'), 'the same rows', 'a page asked for twice');
like(verdict($found, 'time of a small page'), qr/^\d+ ms\?$/, 'time of a page');
like($found->{'time of a small page'}{detail}, qr/^Median of 6 pages of up to 10 rows/, '... of several');
like(verdict($found, 'list of guardians'), qr/^\d+ in the district$/,
	'guardians are looked at although they are not wanted');
like(verdict($found, 'full read'), qr/^\d+ rows in \d pages$/, 'the whole roster is read');
is(verdict($found, 'role student'), $roster->sql("SELECT count(*) FROM staged_users WHERE role = 'student'") . '?',
	'roles are counted');
is(verdict($found, 'people of Mesa High'), $roster->sql(<<"SQL"), '... and by school');
SELECT string_agg(n || ' ' || role, ', ' ORDER BY n DESC, role) || '?'
	FROM (SELECT count(*) AS n, role FROM staged_users WHERE '$school' = ANY (org_ids) GROUP BY role) r
SQL
is(verdict($found, 'schools that the key can see'), '3?', 'schools');
for my $lack ([ 'without email', 'email IS NULL' ], [ 'without identifier', 'identifier IS NULL' ],
	[ 'without grade', 'grade IS NULL' ])
{
	my $expected = $roster->sql("SELECT count(*) FILTER (WHERE $lack->[1]) || ' of ' || count(*) FROM staged_users "
		  . "WHERE role = 'student'");
	like(verdict($found, "students $lack->[0]"), qr/^\Q$expected\E( |$)/, "students $lack->[0]");
}
my $identifiers = $roster->sql("SELECT count(*) FROM (SELECT FROM staged_users WHERE role <> 'student' "
	  . "GROUP BY identifier HAVING count(DISTINCT role) > 1) t");
cmp_ok($identifiers, '>', 0, 'the roster has staff in several roles');
like($found->{'staff in several roles'}{detail}, qr/^By a shared identifier: $identifiers, /, '... who are counted');
is(verdict($found, 'guardians reachable'), 'not read?', 'guardians are not read where they are not wanted');

my @asked = grep { $_->{path} !~ /token/ } $server->log;
is(scalar(grep { $_->{code} != 200 } @asked), 0, 'nothing that was asked for was refused');
cmp_ok(scalar(@asked), '<=', 20, 'few requests are made');
is(scalar(grep { ($_->{query}{limit} // '') =~ /^(1|10|100)$/
	  && $_->{query}{fields} ne 'sourcedId,status,role,orgs' } @asked), 0, '... the probes ask for no names');
is($server->state->{concurrent_max}, 1, '... one at a time');
is($roster->sql('SELECT state || kind || count(f) FROM runs JOIN findings f USING (run) GROUP BY run'),
	'succeededdiagnose' . @order, 'the run and its findings are on record');
is($roster->sql('SELECT count(*) FROM people') . $roster->sql('SELECT count(*) FROM changes'), '00',
	'no one is changed');

my $text = text();
like($text,
	RosterCluster::pattern(qr/^Server: +localhost:\d+\nProduct: +Infinite Campus, OneRoster 1\.1 with OAuth 2\.0 /m,
		qr/\(preset\s+"infinite_campus"\)\nSchool: +Mesa High \(\Q$school\E\)\n/m), 'the text says what was examined');
like($text,
	qr/^Examined: +\d{4}-\d\d-\d\d \d\d:\d\d America\/Denver, took .*; run \d+\nAsked: +\d+ requests, 0 repeated/m,
	'... when, and with how many requests');
like($text, qr/^ok sort: honored\. /m, '... and what was found');
is((sort { $b <=> $a } map { length } split /\n/, $text)[0] <= 78, 1, '... in lines that a mail can hold');
unlike($text, qr/\Q@{[ $server->client_id ]}\E|\Q@{[ $server->client_secret ]}\E/, '... without credentials');
names_nobody('a sound SIS');
like($roster->sql('SELECT roster_report(max(run)) FROM runs'), qr/^The diagnosis is complete\..*roster_diagnosis/s,
	'the report of the run points to the text');

# Ways in which a SIS is not as it should be: fault, finding, verdict
my $students = $roster->sql("SELECT count(*) FROM staged_users WHERE collection = 'students'");
for my $case (
	[ { page_cap => 50 }, 'page size', '50 rows at most?' ],
	[ { total => 'none' }, 'total', 'not sent?' ],
	[ { total => 'wrong' }, 'full list of students', "$students rows, @{[ $students + 7 ]} claimed!" ],
	[ { total => 'changing' }, 'total', 'changes!' ],
	[ { status => { path => 'filter=dateLastModified', code => 403 } }, 'filter by date', 'not known?' ],
	[ { total => { path => 'limit=5000', mode => 'none' } }, 'total', 'not on each page!' ],
	[ { total => 'changing', page_cap => 50 }, 'full read', 'broken off!' ],
	[ { repeat_page => { path => 'students' } }, 'offset', 'ignored!' ],
	[ { repeat_page => { path => 'students' }, page_cap => 50 }, 'full read', 'broken off!' ],
	[ { ignore_sort => 1 }, 'sort', 'ignored!' ],
	[ { clock_ahead => 3600 }, 'clock', qr/^3[56]\d\d seconds ahead!$/ ],
	[ { clock_ahead => -7200 }, 'clock', qr/^7[12]\d\d seconds behind!$/ ],
	[ { reverse_sort => 1 }, 'sort', 'reversed!' ],
	[ { moving => { path => 'students', by => -3 } }, 'offset', 'pages overlap!' ],
	[ { ignore_fields => 1 }, 'fields', 'ignored?' ],
	[ { ignore_filter => 1 }, 'filter by role', 'ignored!' ],
	[ { ignore_filter => 1 }, 'filter by date', 'ignored!' ],
	[ { ignore_filter => 1 }, 'filter with AND', 'ignored!' ],
	[ { status => { path => 'filter=dateLastModified', code => 400 } }, 'filter by date', 'refused!' ],
	[ { status => { path => '/users', code => 403 } }, 'filter by role', 'not known?' ],
	[ { status => { path => 'limit=5000', code => 400 } }, 'page size', '5000 refused!' ],
	[ { status => { path => 'guardian', code => 403 } }, 'list of guardians', 'denied?' ],
	[ { status => { path => '/teachers', code => 403 } }, 'full list of teachers', 'denied!' ],
	[ { expires_in => 60 }, 'token', '60 seconds' ],
	[ { token_fields => { expires_in => undef } }, 'token', 'lifetime not said?' ],
	[ { empty => { path => 'students' } }, 'list examined', 'teachers?' ],
	[ { html => { path => 'students' } }, 'list of students', 'not readable!' ],
	[ { truncated => { path => '/administrators' } }, 'full read', 'broken off!' ],
	[ { no_sourced_id => { path => 'teachers', index => 1 } }, 'rows without sourcedId', '1!' ])
{
	my ($faults, $finding, $expected) = @$case;
	$found = diagnose($faults);
	like(verdict($found, $finding), ref $expected ? $expected : qr/^\Q$expected\E$/, "$finding: $expected under "
		  . JSON::PP->new->canonical->allow_nonref->encode($faults));
	my $line = $found->{$finding}{value};
	like(text(), qr/\Q$finding\E: \Q$line\E/, '... and the text says so');
}

# Rows that are not as they should be
my ($first, $second, $third, $fourth) = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'student' AND identifier IS NOT NULL "
	  . "AND email IS NOT NULL ORDER BY sourced_id LIMIT 4");
my ($taken) = $roster->sql("SELECT identifier FROM staged_users WHERE sourced_id = '$second'");
my $without = $roster->sql("SELECT count(*) FROM staged_users WHERE role = 'student' AND email IS NULL "
	  . "AND identifier IS NULL");
$found = diagnose(
	{ override => { $first => { identifier => $taken }, $third => { email => '', identifier => '', role => 'wizard' },
		$fourth => { role => undef,
		roles => [ map { { role => $_, roleType => 'secondary', org => { sourcedId => $school } } } 'teacher',
		'aide' ] } },
	ignore_fields => 1, drop_names => { sourced_id => $second }, invalid_utf8 => { sourced_id => $first },
	duplicate => { sourced_id => $first, at => 'end' } });
is(verdict($found, 'students who share a key in one role'), '1!', 'students who share an identifier');
like(verdict($found, 'students without a given or family name'), qr/^1 of \d+ \(0\.\d %\)!$/,
	'a student without a name');
like(verdict($found, 'students that cannot be read cleanly'), qr/^1 of \d+ \(0\.\d %\)!$/, 'a damaged row');
is(verdict($found, 'role other role'), '1!', 'a role that is none is not quoted');
is(verdict($found, 'people with several roles in one row'), '1?', 'a row with several roles');
is(verdict($found, 'rows listed twice'), '1!', 'a row listed twice');
names_nobody('rows with faults');
unlike(text(), qr/wizard/, '... nor is the word');

# What the SIS says of itself may name someone.
$found = diagnose({ failure_status => { path => 'students' } });
is(verdict($found, 'list of students'), 'not readable!', 'a failure in a 200');
like($found->{'list of students'}{detail}, qr/imsx_codeMajor "failure", with a description\.$/,
	'... without the words of the SIS');
unlike(text() . join(' ', map { $_->{detail} // '' } values %$found), qr/the roster could not be read/,
	'... wherever it stands');
$roster->sql("SELECT count(*) FROM roster_test_connection('mesa')");

# Guardians, where they are wanted
$roster->sql("SELECT roster_configure('mesa', parent_contact => true)");
$found = diagnose();
my $agents = $roster->sql("SELECT count(DISTINCT a) FROM staged_users CROSS JOIN LATERAL unnest(agent_ids) a "
	  . "WHERE role = 'student'");
is(verdict($found, 'guardians reachable'), "$agents of $agents (100.0 %)",
	'all guardians that students name are listed');
my ($guardian) = $roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'guardian' ORDER BY sourced_id "
	  . "LIMIT 1");
$found = diagnose({ remove_rows => [ $guardian ] });
like(verdict($found, 'guardians reachable'), qr/^@{[ $agents - 1 ]} of $agents \(99\.\d %\)!$/, 'all but one');
names_nobody('guardians');
$roster->sql("SELECT roster_configure('mesa', parent_contact => false)");

# Classes, where they are wanted
$roster->sql("SELECT roster_configure('mesa', classes => true)");
$found = diagnose();
is(verdict($found, 'terms and school years'), '3', 'terms are counted');
is($found->{'terms and school years'}{detail}, '1 schoolyear, 2 term.', '... by type');
is(verdict($found, 'terms that overlap'), '0 pairs', 'no two overlap');
my $enrollments = $roster->sql('SELECT count(*) FROM staged_enrollments');
is(verdict($found, 'enrollments that resolve'), "$enrollments of $enrollments (100.0 %)", 'all enrollments resolve');
is(verdict($found, $_), '0 of ' . $roster->sql('SELECT count(*) FROM staged_classes'), $_)
  for 'classes without terms', 'classes of unknown terms', 'classes without a teacher';
my $homerooms = $roster->sql("SELECT count(*) FROM staged_classes WHERE class_type = 'homeroom'");
like(verdict($found, 'classes without a listed course'), qr/^$homerooms of \d+ \(.*\)\?$/, 'homerooms have no course');
my $all_students = $roster->sql("SELECT count(*) FROM staged_users WHERE role = 'student'");
is(verdict($found, 'students without classes'), "0 of $all_students", 'each student has a class');
is(verdict($found, 'students with a homeroom'), "$all_students of $all_students (100.0 %)?", '... and a homeroom');
is(verdict($found, "rows of classes $_"), '0', "no row $_") for 'that cannot be read cleanly',
	'without dateLastModified';
is(verdict($found, "filter by date in $_"), 'honored', "the filter of a delta in $_")
  for 'terms', 'courses', 'classes', 'enrollments';
is($roster->sql('SELECT count(*) FROM classes'), '0', 'a diagnosis writes no class');
names_nobody('classes');

my ($class, $other_class) = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_classes WHERE class_type = 'scheduled' ORDER BY 1 LIMIT 2");
my ($term, $other_term) = split /\n/, $roster->sql("SELECT sourced_id FROM staged_academic_sessions "
	  . "WHERE type = 'term' ORDER BY 1");
my @of_student = split /\n/, $roster->sql("SELECT sourced_id FROM staged_enrollments WHERE role = 'student' "
	  . "ORDER BY 1 LIMIT 3");
my ($of_teacher) = $roster->sql("SELECT sourced_id FROM staged_enrollments WHERE role = 'teacher' "
	  . "AND class_id = '$class'");
my $bent = { objects => {
		academicSessions => { set => { $other_term => { startDate => '2026-11-01' } },
			add => [ { sourcedId => 'T8', title => 'Needleterm', type => 'needleterm', startDate => '2027-01-02',
				endDate => '2027-01-01' } ] },
		classes => { set => { $class => { terms => [] }, $other_class => { terms => [ { sourcedId => 'T77' } ] } } },
		enrollments => {
			set => { $of_student[0] => { user => { sourcedId => 'unlisted' } },
				$of_student[1] => { class => { sourcedId => 'unlisted' } },
				$of_student[2] => { role => 'needlerole', beginDate => '2026-11-02', endDate => '2026-11-01' } },
			remove => [ $of_teacher ],
			add => [ { sourcedId => 'E8', user => undef, class => { sourcedId => $class }, role => 'student',
				school => { sourcedId => $school }, beginDate => 'needledate' } ] } } };
$found = diagnose($bent);
is(verdict($found, 'terms that overlap'), '1 pair!', 'two terms that overlap');
is(verdict($found, 'terms without usable dates'), '1 of 4 (25.0 %)!', 'a term that ends before it begins');
like($found->{'terms and school years'}{detail}, qr/1 of another type/, 'a type that is none is not quoted');
like(verdict($found, 'classes without terms'), qr/^1 of \d+ \(.*\)!$/, 'a class without terms');
like(verdict($found, 'classes of unknown terms'), qr/^1 of \d+ \(.*\)!$/, 'a class of a term that is not listed');
like(verdict($found, 'classes without a teacher'), qr/^1 of \d+ \(.*\)\?$/, 'a class without a teacher');
my $resolved = $enrollments - 3;
like(verdict($found, 'enrollments that resolve'), qr/^$resolved of $enrollments \(99\.\d %\)\?$/,
	'enrollments that lead nowhere');
is($found->{'enrollments that resolve'}{detail},
	'2 name a user whom no list has, 1 a class that no list has.', '... are counted apart');
like(verdict($found, 'enrollments with a role unknown to OneRoster'), qr/^1 of \d+ .*!$/, 'a role that is none');
like(verdict($found, 'enrollments that end before they begin'), qr/^1 of \d+ .*!$/, 'dates out of order');
is(verdict($found, 'rows of classes that cannot be read cleanly'), '1!', 'a date that is none');
is($found->{'rows of classes that cannot be read cleanly'}{detail}, '1 of enrollments (beginDate).', '... is named');
is($found->{'rows of classes without dateLastModified'}{detail}, '1 of enrollments, 1 of terms.',
	'rows without dateLastModified');
names_nobody('classes with faults');
unlike(text() . join(' ', map { $_->{detail} // '' } values %$found), qr/needle/i, '... nor are words of the SIS');
$found = diagnose({ empty => { path => 'nrollments|/terms|academicSessions', total => 0 } });
is(verdict($found, 'terms and school years') . ' ' . verdict($found, 'enrollments that resolve'), '0! 0 of 0!',
	'no terms and no enrollments');
$found = diagnose({ status => { path => '/classes', code => 403 } });
is(verdict($found, 'full list of classes'), 'denied!', 'classes that are denied');
is(verdict($found, 'full list of enrollments'), "$enrollments rows, $enrollments claimed", '... and the others read');
$found = diagnose({ status => { path => '/(courses|enrollments).*filter=', code => 400 } });
is(verdict($found, 'filter by date in courses') . verdict($found, 'filter by date in enrollments')
	  . verdict($found, 'filter by date in classes'), 'refused!refused!honored', 'filters that are refused');
$found = diagnose({ ignore_filter => 1 });
is(verdict($found, 'filter by date in classes'), 'ignored!', 'a filter that is ignored');
$roster->sql("SELECT roster_configure('mesa', classes => false)");
$found = diagnose();
is(join(' ', grep { /class|terms|enrollment/ } @order), '', 'classes are not looked at where they are not wanted');

# Faults before anything can be read
$roster->sql("SELECT roster_configure('mesa', school_id => 'no-such-school')");
$found = diagnose();
like($found->{'full read'}{detail},
	qr/^School "no-such-school" is not among the schools that the key can see\. The key can see: "Mesa High"/,
	'an unknown school');
$roster->sql("SELECT roster_configure('mesa', school_id => '$school')");
$roster->sql("SELECT roster_set_secret('mesa', 'wrong')");
$found = diagnose();
is("@order " . verdict($found, 'token'), 'token none given!', 'a wrong secret');
unlike(text(), qr/wrong"|'wrong/, '... is not told');
$roster->sql("SELECT roster_set_secret('mesa', '" . $server->client_secret . "')");
my $started = $roster->sql("SELECT roster_start('mesa', 'diagnose')");
like($started, qr/^[1-9]\d*$/, 'a diagnosis is started without waiting');
$roster->wait_for("SELECT count(*) = 1 FROM minga_roster.runs WHERE run = $started AND state = 'succeeded'");
like(text(), qr/^ok sort: honored/m, '... and its text read afterwards');

# Canceled in the middle
$server->faults({ hang => { path => '/teachers' } });
my $run = $roster->sql("SELECT roster_start('mesa', 'diagnose')");
$roster->wait_for("SELECT count(*) > 0 FROM minga_roster.collections WHERE run = $run");
is($roster->sql("SELECT run FROM roster_cancel($run)"), $run, 'a diagnosis is canceled while it reads');
$roster->wait_for("SELECT state <> 'running' FROM minga_roster.runs WHERE run = $run");
$server->clear_faults;
is($roster->sql("SELECT state, sqlstate FROM runs WHERE run = $run"), 'canceled|57014', '... and says so');
is($roster->sql("SELECT count(*) FROM findings WHERE run = $run AND finding = 'full read'"), '0',
	'... which is no finding');
like(text(), qr/^The diagnosis is canceled\. What it found so far:.*^ok sort: honored/ms,
	'... but what it had found stays');

$server->stop;
$found = diagnose();
is("@order " . verdict($found, 'token'), 'token none given!', 'a SIS that is down');
like($found->{token}{detail}, qr/"localhost"/, '... is named');
is($roster->sql("SELECT string_agg(DISTINCT state, ' ') FROM runs WHERE run <> $run"), 'succeeded',
	'no fault of the SIS is an error');

like($roster->error("SELECT * FROM roster_diagnose('nobody')"), qr/42704: .*"nobody"/, 'an unknown connection');
like($roster->error("BEGIN; SELECT * FROM roster_diagnose('mesa')"),
	qr/25001: roster_diagnose cannot run inside a transaction block/, 'in a transaction block');
my $other = $roster->sql("SELECT max(run) FROM runs WHERE kind = 'test'");
like($roster->error("SELECT roster_diagnosis($other)"),
	qr/55000: run $other is not a diagnosis\nDETAIL:  Its kind is "test"\./, 'the text of another kind of run');

done_testing();
