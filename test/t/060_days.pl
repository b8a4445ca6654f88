# Whole plans, day after day: what a sync does is what the test server works out from its own data, for several
# settings; a preview shows the same and changes no one; a second sync of a day changes nothing and rewrites no row.

use strict;
use warnings;

use JSON::PP;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 300, seed => 23);
my $roster = RosterCluster->new('days');
my $json = JSON::PP->new->canonical->utf8;

# Compares the changes of a run with the expected ones, and shows those that only one side has. When someone was
# archived is the run's to say.
sub is_plan
{
	my ($run, $expected, $name) = @_;
	my $rows = $roster->sql("SELECT coalesce(jsonb_agg(jsonb_build_object('action', action, 'category', category, "
		  . "'sourced_ids', sourced_ids, "
		  . "'before', before - 'archived_at', 'after', after - 'archived_at')), '[]') FROM changes WHERE run = $run "
		  . "AND state IN ('planned', 'applied', 'held')");
	my %count;

	$count{$_}++ foreach OneRosterServer::change_texts($json->decode($rows));
	$count{$_}-- foreach OneRosterServer::change_texts($expected);
	my @different = map { ($count{$_} > 0 ? 'only planned: ' : 'only expected: ')
		  . $_ } grep { $count{$_} != 0 } sort keys %count;
	is(scalar(@different), 0, $name) or diag(join "\n", @different[0 .. ($#different > 5 ? 5 : $#different)]);
	return;
}

# Rows of people and links that were written so far. A worker tells them at the latest when it exits.
sub rows_written
{
	$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'minga_roster'");
	$roster->sql('SELECT pg_stat_force_next_flush()');
	return $roster->sql("SELECT string_agg(relname || ' ' || n_tup_ins || '/' || n_tup_upd || '/' || n_tup_del, ' ' "
		  . "ORDER BY relname) "
		  . "FROM pg_stat_user_tables WHERE relname IN ('people', 'links')");
}

my @settings = (
	{ site => 'first-look', roster => 'student,teacher,staff,admin', auto_update => '0', archive => '0',
		parent_contact => 0 },
	{ site => 'everything', roster => 'student,teacher,staff,admin', auto_update => '1', archive => '1',
	parent_contact => 1 },
	{ site => 'students', roster => 'student', auto_update => 'student', archive => 'student', parent_contact => 0 },
	{ site => 'updates', roster => 'student,teacher', auto_update => '1', archive => '0', parent_contact => 1 });

foreach my $setting (@settings)
{
	my $site = $setting->{site};
	my %listed = map { $_ => 1 } split /,/, $setting->{roster};
	my @parameters = map { ($_ => $setting->{$_}) } qw(roster auto_update archive parent_contact);

	$roster->connect_school($site, $server);
	# A site without anyone, beside sites that have people, would be held for review.
	$roster->sql("INSERT INTO people (site, role, given_name, family_name) VALUES ('$site', 'owner', 'The', 'Owner')");
	$roster->sql("SELECT roster_toggle('$site', 'student', roster => " . ($listed{student} ? 'true' : 'false') . ')');
	$roster->sql("SELECT roster_toggle('$site', '$_', roster => " . ($listed{$_} ? 'true' : 'false') . ')')
		  foreach qw(teacher staff admin);
	foreach my $category (sort keys %listed)
	{
		foreach my $toggle (qw(auto_update archive))
		{
			my $on = $setting->{$toggle} eq '1' || $setting->{$toggle} eq $category ? 'true' : 'false';
			$roster->sql("SELECT roster_toggle('$site', '$category', $toggle => $on)");
		}
	}
	$roster->sql("SELECT roster_configure('$site', parent_contact => " . ($setting->{parent_contact} ? 'true' : 'false')
		  . ', guard_percent => 100)');

	my $from = 'none';
	foreach my $day (0 .. 5)
	{
		$server->day($day);
		my $expected = $server->expected(from => $from, to => $day, @parameters);
		my $people_before = $roster->sql("SELECT md5(string_agg(p::text, '' ORDER BY person_id)) FROM people p "
			  . "WHERE site = '$site'");

		$roster->sql("SELECT count(*) FROM roster_preview('$site')");
		is_plan('(SELECT max(run) FROM runs)', $expected, "$site, day $day: the preview is the expected plan");
		is($roster->sql("SELECT md5(string_agg(p::text, '' ORDER BY person_id)) FROM people p WHERE site = '$site'"),
			$people_before,
			"$site, day $day: a preview changes no one");

		my $run = $roster->sql("SELECT run FROM roster_sync('$site')");
		is_plan($run, $expected, "$site, day $day: the sync does the expected plan");
		is($roster->sql("SELECT held FROM runs WHERE run = $run"), '0', "$site, day $day: nothing is held");
		is($roster->sql("SELECT (SELECT sum(count) FROM run_counts WHERE run = $run "
			  . "AND action NOT IN ('archive', 'held')) = "
				  . "(SELECT count(*) FROM staged_users WHERE connection = '$site')"),
			't', "$site, day $day: each staged user has one outcome");

		my $written = rows_written();
		$roster->sql("SELECT roster_sync('$site')");
		is($roster->sql("SELECT count(*) FROM changes WHERE run = (SELECT max(run) FROM runs) AND state <> 'noted'"),
			'0',
			"$site, day $day: a second sync changes nothing");
		is(rows_written(), $written, "$site, day $day: ... and rewrites no row of people or links");
		$from = $day;
	}
	is($roster->sql("SELECT count(*) FROM people WHERE site = '$site' AND (given_name ~ '\x{FFFD}' OR email = '')"),
		'0', "$site: no damaged or empty value");
}

$roster->stop;
$server->stop;
done_testing();
