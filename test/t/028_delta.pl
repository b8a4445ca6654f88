# Delta: evenings between full reads ask only for what changed; a full read follows in its turn, and at once where the
# SIS ignores the filter.
# Planted: an evening that roster_enable would begin later.

use strict;
use warnings;

use JSON::PP;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 300, seed => 23);
my $roster = RosterCluster->new('delta');
my $json = JSON::PP->new->canonical->utf8;

# An evening of the connection, worked as its minute's duty finds it due. Returns its run.
sub evening
{
	my ($date, $day) = @_;
	$server->day($day);
	$server->clear_log;
	$roster->set(test_clock => "$date 20:00:00-06");
	$roster->sql('SELECT roster_run_due()');
	$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE evening = '$date' AND finished_at IS NOT NULL");
	return $roster->sql("SELECT run FROM runs WHERE evening = '$date'");
}

# What a collection was asked for in the first requests of its pages.
sub filters
{
	my ($collection) = @_;
	return map { $_->{query}{filter} // 'all' } grep { $_->{path} =~ m{/$collection$} && $_->{query}{offset} == 0
		  && $_->{query}{orderBy} eq 'asc' } $server->log;
}

sub changes_of
{
	my ($run) = @_;
	return OneRosterServer::change_texts(
		$json->decode(
			$roster->sql("SELECT coalesce(jsonb_agg(jsonb_build_object('action', action, 'category', category, "
		  . "'sourced_ids', sourced_ids, 'before', before - 'archived_at', 'after', after - 'archived_at')), '[]') "
		  . "FROM changes WHERE run = $run AND state = 'applied'")));
}

$roster->set(test_clock => '2026-09-01 12:00:00-06');
$roster->connect_school('mesa-high', $server);
$roster->sql("SELECT roster_toggle('mesa-high', auto_update => true, archive => true)");
$roster->sql("SELECT roster_configure('mesa-high', delta => true, full_every => 3, guard_percent => 100, guard_floor "
	  . "=> 100)");
$roster->sql("UPDATE connections SET automatic = true, enabled_at = minga_roster_internal.clock(), enabled_origin = "
	  . "minga_roster_internal.server_origin()");

# The first sync is full, by hand or not
is($roster->sql("SELECT is_full, modified_since FROM roster_sync('mesa-high')"), 't|', 'a sync by hand is full');
is($roster->sql('SELECT unproven, newest_modified < minga_roster_internal.clock(), full_read_on FROM connections'),
	'f|t|2026-09-01', '... and what it saw is kept');

# A delta does a part of what a full read would do, and archives no one
my %due = map { $_ => 1 } OneRosterServer::change_texts($server->expected(from => 0, to => 1, auto_update => 1,
	archive => 1));
my $run = evening('2026-09-02', 1);
is($roster->sql("SELECT state, is_full, modified_since = (SELECT newest_modified FROM connections) - interval '1 day' "
	  . "FROM runs WHERE run = $run"), 'succeeded|f|f',
	'the evening is a delta, and has moved on');
like((filters('students'))[0], qr/^dateLastModified>'2026-08-\d\dT[\d:]+\.000Z'$/, 'students are asked for by date');
is_deeply([ filters('teachers') ], ['all'], 'staff is read whole');
my @done = changes_of($run);
cmp_ok(scalar(grep { /"action":"create"/ } @done), '>', 0, 'new students and staff come');
cmp_ok(scalar(grep { /"action":"update"/ && /"category":"student"/ } @done), '>', 0, '... and changed students change');
is_deeply([ grep { !$due{$_} } @done ], [], '... as a full read would have it');
is(scalar(grep { /"action":"archive"/ } @done), 0, 'no one is archived');
is($roster->sql('SELECT count(*) FROM links WHERE missed_since IS NOT NULL'), '0', '... or marked as missing');
cmp_ok($roster->sql("SELECT rows_staged FROM runs WHERE run = $run"), '<',
	$roster->sql('SELECT rows_staged FROM runs ORDER BY run LIMIT 1') / 2, 'less was read');
is($roster->sql("SELECT (SELECT sum(count) FROM run_counts WHERE run = $run) = (SELECT count(*) FROM staged_users)"),
	't', 'each row listed has one outcome');
like($roster->sql("SELECT roster_report($run)"), qr/^The sync works again\. .*\nAsked for: .*changed since/s,
	'the report says what it is');

# ... and the full read in its turn the rest
$run = evening('2026-09-04', 1);
is($roster->sql("SELECT state, is_full FROM runs WHERE run = $run"), 'succeeded|t', 'the third evening reads in full');
is_deeply([ filters('students') ], ['all'], '... and asks for all');
is_deeply([ sort @done, changes_of($run) ], [ sort keys %due ], '... and does the rest');

# A filter that is ignored
$server->faults({ ignore_filter => JSON::PP::true });
$run = evening('2026-09-05', 2);
is($roster->sql("SELECT state, is_full, modified_since IS NOT NULL FROM runs WHERE run = $run"), 'succeeded|t|t',
	'a filter that is ignored makes the run a full one');
my @asked = filters('students');
is(scalar(@asked), 2, '... which asks again');
is($asked[1], 'all', '... for all');
is($roster->sql("SELECT complete, detail FROM collections WHERE run = $run AND collection = 'students'"),
	't|The SIS ignored the filter on dateLastModified: asked again without it.', '... is read whole, and says so');
is_deeply([ sort(changes_of($run)) ],
	[ sort(OneRosterServer::change_texts($server->expected(from => 1, to => 2, auto_update => 1, archive => 1))) ],
	'... and does all that is due');
like($roster->sql("SELECT roster_report($run)"), qr/ignores\s+or\s+rejects\s+the\s+filter\s+on\s+dateLastModified/,
	'the report says it');
$run = evening('2026-09-06', 2);
is($roster->sql("SELECT is_full, modified_since IS NULL FROM runs WHERE run = $run"), 't|t',
	'the next evening does not try again');
is_deeply([ filters('students') ], ['all'], '... and reads once');

# Mended, and an evening with nothing to tell
$server->clear_faults;
$roster->sql("SELECT roster_configure('mesa-high', delta => true)");
$run = evening('2026-09-07', 2);
is($roster->sql("SELECT state, is_full, created + updated + restored + archived + linked FROM runs WHERE run = $run"),
	'succeeded|f|0', 'delta again, and nothing to do');
$roster->sql("SELECT roster_configure('mesa-high', parent_contact => true)");
is($roster->sql('SELECT newest_modified IS NULL FROM connections'), 't',
	'a setting that asks for more is a full read next');

# Classes: of each list what changed

sub objects_of
{
	my ($run) = @_;
	return $roster->sql("SELECT string_agg(concat_ws(' ', object, listed, nullif(added, 0), 'changed ' "
		  . "|| nullif(changed, 0), 'ended ' || nullif(ended, 0)), ', ' ORDER BY object) "
		  . "FROM run_objects WHERE run = $run AND object <> 'user'");
}
$roster->sql("SELECT roster_configure('mesa-high', parent_contact => false, classes => true, guard_percent => 100)");
$server->faults({ today => '2026-09-08' });
$run = evening('2026-09-08', 2);
is($roster->sql("SELECT state, is_full FROM runs WHERE run = $run"), 'succeeded|t', 'the first evening with classes');
like(objects_of($run), qr/^academic_session 3 3, class (\d+) \1, course 24 24, enrollment (\d+) \2$/,
	'... has all of them');
my ($class, $other) = split /\n/,
	$roster->sql("SELECT sourced_id FROM classes WHERE class_type = 'scheduled' ORDER BY 1 LIMIT 2");
my ($moved, $left) = split /\n/,
	$roster->sql("SELECT sourced_id FROM enrollment_rows WHERE role = 'student' ORDER BY 1 LIMIT 2");
my $user = $roster->sql("SELECT user_id FROM enrollment_rows WHERE sourced_id = '$moved'");
my ($term) = $roster->sql("SELECT term_ids[1] FROM classes WHERE sourced_id = '$class'");
my $now = '2026-09-08T22:00:00.000Z';
my %changes = (
	academicSessions => { set => { $term => { title => 'Fall', dateLastModified => $now } } },
	classes => { set => { $class => { location => 'Gym', dateLastModified => $now } } },
	enrollments => { set => { $moved => { class => { sourcedId => $other }, dateLastModified => $now } },
		remove => [$left],
		add => [ { sourcedId => 'E1', status => 'active', dateLastModified => $now, user => { sourcedId => $user },
				class => { sourcedId => $class }, school => { sourcedId => $server->school_id },
				role => 'student' } ] });
$server->faults({ today => '2026-09-08', objects => \%changes });
$run = evening('2026-09-09', 2);
is($roster->sql("SELECT state, is_full FROM runs WHERE run = $run"), 'succeeded|f', 'the next is a delta');
like((filters($_))[0], qr/^dateLastModified>'2026-0[89]-\d\dT/, "$_ are asked for by date")
  for qw(terms courses classes enrollments);
is(objects_of($run), 'academic_session 1 changed 1, class 1 changed 1, course 0, enrollment 2 1 changed 1',
	'... what changed is read and written, and nothing ends');
is($roster->sql("SELECT location || ' ' || terms[1] FROM roster_class_lists JOIN classes ON sourced_id = class_id "
	  . "WHERE class_id = '$class'"), 'Gym Fall', '... with the lists that show it');
is($roster->sql("SELECT class_id = '$other' FROM enrollment_rows WHERE sourced_id = '$moved'"), 't',
	'... and the student in another class');
is($roster->sql("SELECT sum(unknown_user + unknown_class + unknown_course + unknown_term) FROM run_objects "
	  . "WHERE run = $run AND object <> 'class'"), '0', '... and what is named, but not listed tonight, is known');
is($roster->sql("SELECT count(*) FROM enrollment_rows WHERE sourced_id = '$left' AND ended_at IS NULL"), '1',
	'... who has left is still there');
$changes{classes}{set}{$class}{location} = 'Pool';
$server->faults({ today => '2026-09-08', objects => \%changes,
	status => { path => '/(terms|courses|classes|enrollments).*filter=', code => 400 } });
$run = evening('2026-09-10', 2);
is($roster->sql("SELECT state, is_full FROM runs WHERE run = $run"), 'succeeded|f',
	'a filter that is refused for classes alone leaves people a delta');
is($roster->sql("SELECT location FROM classes WHERE sourced_id = '$class'"), 'Pool', '... and classes are read whole');
like(objects_of($run), qr/class \d\d+ changed 1, course 24, enrollment \d\d\d+$/, '... all of them');
$changes{classes}{set}{$class}{location} = 'Gym';
$server->faults({ today => '2026-09-08', objects => \%changes });
$run = evening('2026-09-11', 2);
is($roster->sql("SELECT state, is_full FROM runs WHERE run = $run"), 'succeeded|t', 'the third evening reads in full');
like(objects_of($run), qr/class \d\d+ changed 1, course 24, enrollment \d\d+ ended 1$/, '... and ends who has left');

$roster->stop;
$server->stop;
done_testing();
