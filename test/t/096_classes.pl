# Classes, enrollments and contacts of a school, read from a server by a worker: what each night counts, lists that are
# denied and what takes their place, rows as odd as servers send them, deltas, and a list that cannot be read.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 120, seed => 31, schools => 2);
my $roster = RosterCluster->new('classes');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', classes => true, contacts => true, guard_percent => 100, "
	  . "guard_update_percent => 100)");
$roster->sql("UPDATE connections SET unproven = false");

# What the newest run did, as "object: listed added changed returned ended held" for each object that did something.
sub counted
{
	my ($columns) = @_;
	$columns //= 'added, changed, returned, ended, held';
	return $roster->sql("SELECT object || ': ' || concat_ws(' ', $columns) FROM run_objects "
		  . 'WHERE run = (SELECT max(run) FROM run_objects) ORDER BY object COLLATE "C"');
}
sub sync { return $roster->sql("SELECT state FROM roster_sync('mesa')"); }
sub value { return $roster->sql($_[0]); }

# The first night

is(sync(), 'succeeded', 'the first sync');
my %listed = map { split /: / } split /\n/, counted('listed');
is($listed{academic_session}, 3, 'the terms and the year are read');
is($listed{class}, 4 * (6 + 1), 'classes of the current semester and homerooms');
is(value('SELECT count(*) FROM classes'), $listed{class}, 'each is there');
is(value("SELECT count(*) FROM classes WHERE class_type = 'homeroom'"), 4, 'with its type');
is(value('SELECT count(*) FROM enrollments e FULL JOIN links l ON l.sourced_id = e.user_id '
			. 'WHERE l.person_id IS DISTINCT FROM e.person_id AND e.user_id IS NOT NULL'), 0,
	'each enrollment resolves to the person whom the user is linked to');
cmp_ok(value('SELECT count(*) FROM enrollments WHERE person_id IS NOT NULL'), '>', 700, 'nearly all do');
is(value("SELECT count(*) FROM enrollments WHERE role = 'student'"),
	7 * value("SELECT count(*) FROM user_rows WHERE role = 'student'"), 'a student has six classes and a homeroom');
is(value('SELECT count(*) FROM roster_classes_without_teacher'), 0, 'each class has a teacher');
is(value('SELECT count(*) FROM roster_students_without_classes'), 0, 'and each student a class');
cmp_ok(value('SELECT count(*) FROM roster_contacts'), '>', 50, 'contacts are there');
is(value('SELECT count(*) FROM (SELECT student_id FROM contacts WHERE is_chosen GROUP BY 1 HAVING count(*) > 1) t'), 0,
	'at most one of a student is the primary contact');
is(value('SELECT rows_expected = (SELECT sum(claimed_total) FROM collections c WHERE c.run = r.run AND family IN '
			. q{('student', 'staff', 'contact')) FROM runs r ORDER BY run DESC LIMIT 1}), 't',
	'progress is that of users');
my $read = value(q{SELECT to_char(sum(rows), 'FM9,999') FROM collections WHERE run = (SELECT max(run) FROM runs)});
like(value("SELECT roster_report('mesa')"), qr/^Read: +$read rows in /m,
	'the report tells all rows that were read');
is(sync(), 'succeeded', 'the second sync');
is(counted(), join("\n", map { "$_: 0 0 0 0 0" } sort qw(academic_session course class enrollment user contact)),
	'does nothing');
is(value('SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ $$_versions$$ AND relkind = $$r$$'), 0,
	'and writes no version');

my $marked = value('SELECT max(run) FROM runs');
is(value('SELECT run FROM object_marks'), $marked, 'which is noted');
my $counts = counted('complete, listed, unknown_user, unknown_class, unknown_course, unknown_term, not_chosen');
is(sync(), 'succeeded', 'the third sync');
is(value('SELECT run FROM object_marks'), $marked, 'compares nothing');
is(value('SELECT g.run > m.run AND g.digest IS NOT NULL FROM object_marks m JOIN stages g USING (connection)'), 't',
	'since its lists are the same');
is(counted('complete, listed, unknown_user, unknown_class, unknown_course, unknown_term, not_chosen'), $counts,
	'and counts as the second');

# Rows as odd as servers send them

my $class = value("SELECT sourced_id FROM classes WHERE class_type = 'scheduled' ORDER BY 1 LIMIT 1");
my $enrollment = value("SELECT sourced_id FROM enrollments WHERE class_id = '$class' AND role = 'student' LIMIT 1");
$server->faults({
	objects => {
		academicSessions => {
			add => [ { sourcedId => 'T9', title => 'Upside down', type => 'term', startDate => '2030-01-01',
					endDate => '2029-01-01', schoolYear => '2029-2030' } ] },
		classes => {
			set => { $class => { periods => '1,3', course => {}, grades => '9', terms => [ { sourcedId => 'T9' } ] } },
			add => [ { sourcedId => 'K8', status => 'active', title => 'No references', classType => 'scheduled',
					course => undef, school => { sourcedId => $school }, terms => undef, periods => [],
					grades => undef },
				{ sourcedId => 'K9', title => "Ele\x{301}ments", school => $school, terms => 'T9', course => 'nowhere',
					periods => 7, location => 12, subjects => { odd => 1 } },
				{ sourcedId => 'K10', title => 'Elsewhere', school => { sourcedId => 'other' }, terms => [] } ] },
		enrollments => {
			set => { $enrollment => { beginDate => '2026-08-20T00:00:00.000Z', endDate => '2099-06-01 00:00',
					primary => 'yes' } },
			add => [ { sourcedId => 'E9', user => { sourcedId => 'nobody' }, class => { sourcedId => 'K8' },
					school => { sourcedId => $school }, role => 'STUDENT', primary => undef, beginDate => '' },
				{ sourcedId => 'E10', user => {}, class => { sourcedId => 'K77' }, school => $school, role => 'teacher',
					primary => 'perhaps', endDate => 'never' } ] } } });
is(sync(), 'succeeded', 'a sync of odd rows');
is(value("SELECT array_to_string(periods, '+') || ' ' || array_to_string(grades, '+') || ' ' "
			. "|| coalesce(course_id, 'no course') FROM classes WHERE sourced_id = '$class'"),
	'1+3 9 no course', 'periods as text, {} as a course');
is(value("SELECT title || ' ' || location || ' ' || array_to_string(periods, '+') || ' ' || course_id || ' ' "
			. "|| array_to_string(term_ids, '+') FROM classes WHERE sourced_id = 'K9'"),
	"\x{c3}\x{89}l\x{c3}\x{a9}ments 12 7 nowhere T9" =~ s/\x{c3}\x{89}l\x{c3}\x{a9}/El\x{c3}\x{a9}/r,
	'numbers for text, references as bare IDs');
is(value("SELECT count(*) FROM classes WHERE sourced_id IN ('K8', 'K10')"), 1, 'a class of another school is none');
is(value("SELECT begin_date || ' ' || end_date || ' ' || is_primary FROM enrollment_rows "
			. "WHERE sourced_id = '$enrollment'"), '2026-08-20 2099-06-01 true', 'dates with times');
is(value("SELECT role || ' ' || coalesce(end_date::text, '-') || ' ' || coalesce(is_primary::text, '-') "
			. "|| ' ' || coalesce(user_id, '-') FROM enrollment_rows WHERE sourced_id = 'E10'"), 'teacher - - -',
	'what cannot be read is absent');
like(counted('unknown_user, unknown_class, unknown_course, unknown_term'), qr/enrollment: 2 1 0 0/,
	'references that lead nowhere are counted');
like(counted('unknown_user, unknown_class, unknown_course, unknown_term'), qr/^class: 0 0 [0-9]+ 1$/m,
	'as are those of classes');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync of the rows as before');
is(value("SELECT ended_cause FROM enrollment_rows WHERE sourced_id = 'E9'"), 'absent', 'what is gone has ended');
my $known = value("SELECT e FROM enrollment_rows e WHERE sourced_id = '$enrollment'");
$server->faults({
	objects => {
		classes => {
			set => { $class => { subjects => [ 'English, Language Arts', 'Art' ], periods => '1(A,C), 2',
					grades => ['9,10'], location => { odd => 1 } } } },
		enrollments => {
			set => {
				$enrollment => { user => [ 'a', 'b' ], beginDate => '8/20/2026', role => 'teacher' } }
		} } });
is(sync(), 'succeeded', 'a sync of values that cannot be read');
is(value("SELECT array_to_string(subjects, '+') || ' ' || array_to_string(periods, '+') || ' ' "
		  . "|| array_to_string(grades, '+') || ' ' || coalesce(location, '-') FROM classes "
		  . "WHERE sourced_id = '$class'"),
	'English, Language Arts+Art 1(A,C)+2 9+10 -', 'a text of a list keeps its commas');
is(value("SELECT e FROM enrollment_rows e WHERE sourced_id = '$enrollment'"), $known,
	'an enrollment whose user cannot be read stays as it was');
is(join(' ', counted('damaged') =~ /^(?:class|enrollment): (\d+)$/mg), '1 1', 'both are counted');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync of the rows as before');

# Each field in forms of other servers: a value and what is staged of it, "spoiled" where the row says that the value
# could not be read.

sub in_forms { my ($list, $field, @forms) = @_; return map { [ $list, $field, @$_ ] } @forms }
my @forms = (
	in_forms('classes', 'terms', [ [ 'T1', 'T2' ], '{T1,T2}' ], [ 'T1, T2', '{T1,T2}' ],
		[ { sourcedId => 'T1' }, '{T1}' ], [ [ { sourcedId => ' T1 ' }, undef ], '{T1}' ], [ [ {} ], '' ],
		[ ['T1,T2'], '{T1,T2}' ], [ [ { sourcedId => 'T1,T2' } ], '{"T1,T2"}' ],
		[ [ { sourcedId => 'T1' }, 'T2', 'T1' ], '{T1,T2}' ],
		[ [undef], '' ], [ [ { sourcedId => 12 } ], '{12}' ],
		[ [ { href => 'https://x/T1', type => 'term' } ], '' ], [ {}, '' ], [ '', '' ],
		[ JSON::PP::false, 'spoiled' ], [ [ ['T1'] ], 'spoiled' ]),
	in_forms('classes', 'periods', [ 7, '{7}' ], [ [ 1, '2', undef, '' ], '{1,2}' ], [ ' 1 , 2 ', '{1,2}' ],
		[ [ '1', '2', '1' ], '{1,2}' ], [ '1(A)', '{1(A)}' ], [ undef, '' ], [ {}, '' ], [ { period => 1 }, 'spoiled' ],
		[ [ { period => 1 } ], 'spoiled' ]),
	in_forms('classes', 'course', [ 'C1', 'C1' ], [ 5, '5' ], [ [ { sourcedId => 'C1' } ], 'C1' ],
		[ [ 'C1', 'C1' ], 'C1' ], [ [], '' ], [ { sourcedId => undef }, '' ], [ { sourcedId => {} }, '' ],
		[ [ 'C1', 'C2' ], 'spoiled' ], [ [ 'C1', 'C2', 'C3' ], 'spoiled' ], [ JSON::PP::true, 'spoiled' ]),
	in_forms('classes', 'grades', [ '9', '{9}' ], [ 9, '{9}' ], [ [ 9, '10' ], '{9,10}' ], [ '09,10', '{09,10}' ],
		[ [9.5], '{9.5}' ], [ undef, '' ], [ [ {} ], '' ]),
	in_forms('classes', 'classType', [ ' HOMEROOM ', 'homeroom' ], [ ['homeroom'], 'homeroom' ], [ undef, '' ],
		[ 7, '7' ], [ {}, '' ]),
	in_forms('classes', 'title', [ 7, '7' ], [ "a\nb", 'a b' ], [ ' ', '' ], [ 'x' x 5000, 'spoiled' ],
		[ JSON::PP::true, 'spoiled' ]),
	in_forms('enrollments', 'primary', [ 'TRUE ', 'true' ], [ 1, 'true' ], [ '0', 'false' ],
		[ JSON::PP::true, 'true' ], [ JSON::PP::false, 'false' ], [ 'N', 'false' ], [ '', '' ], [ undef, '' ],
		[ 'perhaps', 'spoiled' ]),
	in_forms('enrollments', 'beginDate', [ '2026-08-20T23:30:00-06:00', '2026-08-20' ],
		[ '2026-08-20T00:00:00.000Z', '2026-08-20' ], [ '2026-08-20 07:00', '2026-08-20' ],
		[ ['2026-08-20'], '2026-08-20' ], [ '9999-12-31', '9999-12-31' ], [ '', '' ], [ {}, '' ],
		[ '2026-08-20Z', '2026-08-20' ], [ '2026-08-20-06:00', '2026-08-20' ], [ '20260820', '2026-08-20' ],
		[ 20260820, '2026-08-20' ], [ '0000-00-00', '' ], [ '0001-01-01T00:00:00', '' ], [ '1900-01-01', '' ],
		[ '1899-12-30T00:00:00Z', '' ], [ '1900-01-02', '1900-01-02' ],
		[ '2026-02-30', 'spoiled' ], [ '20260230', 'spoiled' ], [ '08/20/2026', 'spoiled' ],
		[ 1755648000, 'spoiled' ], [ 'infinity', 'spoiled' ], [ '2026-08', 'spoiled' ]),
	in_forms('enrollments', 'role', [ ' Student ', 'student' ], [ ['teacher'], 'teacher' ],
		[ 'learner', 'learner' ], [ undef, '' ], [ [ 'student', 'teacher' ], 'spoiled' ]),
	in_forms('enrollments', 'status', [ 'Active', 'active' ], [ undef, '' ], [ 'tobedeleted', 'tobedeleted' ],
		[ ' Inactive ', 'tobedeleted' ], [ 'dropped', 'droppedspoiled' ]),
	in_forms('enrollments', 'user', [ 'u1', 'u1' ], [ 5, '5' ], [ [ { sourcedId => 'u1' } ], 'u1' ], [ {}, '' ],
		[ undef, '' ], [ JSON::PP::false, 'spoiled' ], [ { sourcedId => ['u1'] }, '' ]),
	in_forms('academicSessions', 'schoolYear', [ '2027', '2027' ], [ 2027, '2027' ], [ '2026/27', '2027' ],
		[ '2026 - 2027', '2027' ], [ "2026\x{2013}27", '2027' ], [ '2026-2027-2028', 'spoiled' ], [ '', '' ],
		[ 'next', 'spoiled' ], [ '20262027', 'spoiled' ]),
	in_forms('academicSessions', 'type', [ 'schoolYear', 'schoolyear' ], [ 'TERM', 'term' ], [ undef, '' ]),
	in_forms('academicSessions', 'parent', [ '', '' ], [ {}, '' ], [ 'Y1', 'Y1' ], [ { sourcedId => 'Y1' }, 'Y1' ]));
my %column = (terms => 'term_ids', course => 'course_id', classType => 'class_type', primary => 'is_primary',
	beginDate => 'begin_date', user => 'user_id', schoolYear => 'school_year', parent => 'parent_id');
my %added;
foreach my $i (0 .. $#forms)
{
	my ($list, $field, $value) = @{ $forms[$i] };
	push @{ $added{$list}{add} }, { sourcedId => "odd$i", status => 'active', title => 'Odd', $field => $value };
}
$server->faults({ objects => \%added });
is(value("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'a fetch of rows in other forms');
is(value('SELECT bool_and(complete) FROM collections WHERE run = (SELECT max(run) FROM runs)'), 't', 'reads all lists');
my @staged = split /\n/, value(join(' UNION ALL ', map {
	my ($list, $field) = @{ $forms[$_] };
	my $stage = $list eq 'academicSessions' ? 'staged_academic_sessions' : "staged_$list";
	"SELECT '>' || coalesce(" . ($column{$field} // $field) . "::text, '') || CASE WHEN damaged_field = '$field' "
	  . "THEN 'spoiled' ELSE '' END, $_ FROM $stage WHERE sourced_id = 'odd$_'" } 0 .. $#forms) . ' ORDER BY 2');
foreach my $i (0 .. $#forms)
{
	my ($list, $field, $value, $expected) = @{ $forms[$i] };
	my $shown = JSON::PP->new->ascii->allow_nonref->canonical->encode($value);
	is($staged[$i], ">$expected|$i", "$field of $list as " . (length($shown) > 60 ? 'a long text' : $shown));
}
$server->clear_faults;

# What a SIS lists twice, and what it no longer tells

my $listed = value('SELECT count(*) FROM enrollment_rows WHERE ended_at IS NULL');
my $twice = { sourcedId => $enrollment, user => { sourcedId => 'other' }, class => { sourcedId => 'other' },
	school => { sourcedId => $school }, role => 'aide' };
$server->faults({ objects => { enrollments => { add => [ $twice, $twice ] } } });
is(sync(), 'succeeded', 'a sync with an ID that is listed three times');
is((counted('listed, complete, added, changed, ended') =~ /^enrollment: (.*)$/m)[0], "$listed f 0 0 0",
	'has the first of the rows, and takes the list for incomplete');
$server->faults({ objects => { enrollments => { each => { user => {} } } } });
is(sync(), 'succeeded', 'a sync with enrollments of no one');
is((counted('listed, changed, ended, unknown_user') =~ /^enrollment: (.*)$/m)[0], "$listed 0 0 $listed",
	'counts them, and leaves everyone in class');
$server->faults({ objects => { enrollments => { each => { role => undef } } } });
is(sync(), 'succeeded', 'a sync with enrollments without a role');
is((counted('listed, changed, ended') =~ /^enrollment: (.*)$/m)[0], "$listed 0 0", 'leaves everyone the one they had');
$server->faults({ objects => { enrollments => { each => { role => 'learner' } } } });
is(sync(), 'succeeded', 'a sync with a role that OneRoster does not know');
like(value("SELECT roster_report('mesa')"),
	qr/^Action needed: $listed of $listed changed enrollments without a known role\./, 'is reported');
is(sync(), 'succeeded', 'the next one');
unlike(value("SELECT roster_report('mesa')"), qr/Action needed/, 'is not');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync as before');
$server->faults({ objects => { enrollments => { each => { beginDate => '8/20/2026' } } } });
is(sync(), 'succeeded', 'a sync with dates that no enrollment can be read with');
like(value("SELECT roster_report('mesa')"),
	qr/^Action needed: $listed of $listed enrollments cannot be read cleanly\./, 'is reported');
like(value("SELECT roster_report('mesa')"), qr/^Enrollments +$listed +$listed not readable$/m, 'with their number');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync as before');
foreach my $empty ([ 'academicSessions', 'terms' ], ['courses'], ['classes'], ['enrollments'])
{
	my ($list, $words) = @$empty;
	$words //= $list;
	$server->faults({ empty => { path => $list eq 'academicSessions' ? '/terms|/academicSessions' : "/$list" } });
	is(sync(), 'succeeded', "a sync where no $words are listed");
	like(value("SELECT roster_report('mesa')"), qr/^Action needed: the SIS no longer lists any $words\./,
		'is reported');
	$server->clear_faults;
	is(sync(), 'succeeded', 'a sync as before');
	unlike(value("SELECT roster_report('mesa')"), qr/no longer lists/, 'is not');
}
$server->faults({ objects => { classes => { each => { terms => undef, periods => undef } } } });
is(sync(), 'succeeded', 'a sync with classes of no term');
is((counted('ended, unknown_term = listed') =~ /^class: (.*)$/m)[0], '0 t', 'counts them, and ends none');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync as before');

# Semesters that the list of terms does not have

my $in_terms = value('SELECT count(*) FROM classes WHERE ended_at IS NULL');
my $semester = value("SELECT min(sourced_id) FROM academic_sessions WHERE type = 'term'");
my $lists = "SELECT string_agg(collection || ' ' || complete, ' ' ORDER BY collection) FROM collections "
  . "WHERE family = 'session' AND run = (SELECT max(run) FROM runs)";
is(value($lists), 'terms true', 'the list of all sessions is not read where nothing is missing');
$server->faults({ semesters => 1 });
is(sync(), 'succeeded', 'a sync with a list of terms without semesters');
is(value($lists), 'academicSessions true terms true', 'reads the list of all sessions too');
is(value("SELECT string_agg(type, ' ' ORDER BY type) FROM academic_sessions WHERE ended_at IS NULL"),
	'schoolyear semester semester', 'and has of it what classes name');
is((counted('added, ended, unknown_term') =~ /^class: (.*)$/m)[0], '0 0 0', 'no class is of an unknown term');
is(value('SELECT count(*) FROM classes WHERE ended_at IS NULL'), $in_terms, 'and none but the chosen are there');
is(sync(), 'succeeded', 'the next sync');
is(counted(), join("\n", map { "$_: 0 0 0 0 0" } sort qw(academic_session course class enrollment user contact)),
	'does nothing');
# A class of a semester that is over is not current, although it names the year as well.
my $year = value("SELECT sourced_id FROM academic_sessions WHERE type = 'schoolyear'");
$server->faults({ semesters => 1, objects => { classes => { add => [
	{ sourcedId => 'K11', title => 'Over', school => $school, terms => [ $year, 'S0' ] },
	{ sourcedId => 'K12', title => 'All year', school => $school, terms => [$year] } ] },
	academicSessions => { add => [ { sourcedId => 'S0', title => 'Semester 0', type => 'semester',
		startDate => '2020-01-01', endDate => '2020-06-01' } ] } } });
is(sync(), 'succeeded', 'a sync with a class of a semester that is over and of this year');
is(value("SELECT string_agg(sourced_id, ' ') FROM classes WHERE sourced_id IN ('K11', 'K12')"), 'K12',
	'does not have it');
$server->faults({ semesters => 1, status => { path => '/academicSessions', code => 403 } });
is(sync(), 'succeeded', 'a sync without the list of all sessions');
is(value($lists), 'academicSessions false terms true', 'misses it');
is(value('SELECT count(*) FROM academic_sessions WHERE ended_at IS NULL'), 4, 'and ends none of them');
$server->faults({ status => { path => '/terms', code => 403 } });
is(sync(), 'succeeded', 'a sync without the list of terms');
is(value($lists), 'academicSessions true', 'has the list of all sessions in its place');
$server->clear_faults;
is(sync(), 'succeeded', 'a sync as before');
is(value($lists), 'terms true', 'reads the list of terms alone');

# Lists that are denied

$server->faults({ status => { path => "/$school/enrollments", code => 404 } });
is(sync(), 'succeeded', 'a sync without the list of enrollments');
is((counted() =~ /^enrollment: (.*)$/m)[0], '0 0 0 0 0', 'the lists of students and of teachers take its place');
is(value("SELECT string_agg(collection || ' ' || complete, ' ' ORDER BY collection) FROM collections "
			. "WHERE family = 'enrollment' AND run = (SELECT max(run) FROM runs)"),
	'studentEnrollments true teacherEnrollments true', 'and are complete');
is(value('SELECT incomplete FROM runs ORDER BY run DESC LIMIT 1'), 'f', 'nothing is missing');
$server->faults({ status => { path => "/$school/enrollments", code => 404 },
	objects => { enrollments => { each => { role => undef } } } });
is(sync(), 'succeeded', 'a sync where their rows name no role');
is(value("SELECT string_agg(DISTINCT collection || ' ' || role, ' ') FROM staged_enrollments WHERE role IS NOT NULL"),
	'studentEnrollments student teacherEnrollments teacher', 'takes it from the list');
is(value('SELECT count(*) FROM staged_enrollments WHERE role IS NULL'), 0, 'for each');
$server->clear_faults;
$server->faults({ status => { path => 'nrollments', code => 403 } });
is(sync(), 'succeeded', 'a sync without any');
is((counted() =~ /^enrollment: (.*)$/m)[0], '0 0 0 0 0', 'ends no enrollment');
is(value("SELECT complete FROM run_objects WHERE object = 'enrollment' AND run = (SELECT max(run) FROM runs)"), 'f',
	'and is not complete');
$server->clear_faults;

# A list that cannot be read keeps no one from being synced

$server->faults({ html => { path => '/classes' }, add_rows => [ { sourcedId => 's777', status => 'active',
		enabledUser => 'true', role => 'student', givenName => 'New', familyName => 'Student', username => 'new777',
		identifier => '777', grades => ['9'], orgs => [ { sourcedId => $school } ] } ] });
is(sync(), 'succeeded', 'a sync with a web page instead of classes');
is(value("SELECT created FROM runs ORDER BY run DESC LIMIT 1"), 1, 'creates people');
is((counted() =~ /^class: (.*)$/m)[0], '0 0 0 0 0', 'ends no class');
like(value("SELECT detail FROM collections WHERE collection = 'classes' ORDER BY run DESC LIMIT 1"),
	qr/answered the request for classes with a web page/, 'and says why');
is(value("SELECT string_agg(collection, ' ' ORDER BY collection) FROM collections WHERE run = (SELECT max(run) "
			. "FROM runs) AND family IN ('session', 'course', 'class', 'enrollment') AND complete"),
	'courses enrollments terms', 'the other lists are read');
$server->clear_faults;

$roster->stop;
done_testing();
