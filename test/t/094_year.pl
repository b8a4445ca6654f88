# Evenings of a simulated time in seven time zones: clocks that change, a day that does not exist, downtimes, evenings
# that fail. The runs are those that test/roster_year.py works out by other means. By default some weeks, among them
# each change of the clocks; YEAR=all plays 2026 in steps of 30 minutes.

use strict;
use warnings;

use Cwd qw(getcwd);
use JSON::PP;
use RosterCluster;
use Test::More;

my @periods = ($ENV{YEAR} // '') eq 'all' ? (30, '2011-12-20', '2012-01-06', '2026-01-01', '2026-12-31')
  : (60, '2011-12-26', '2012-01-03', '2026-03-04', '2026-04-06', '2026-10-02', '2026-11-04');
my $expected = decode_json(scalar `/usr/bin/python3 ${\getcwd()}/test/roster_year.py @periods`);
my $roster = RosterCluster->new('year');

# The clock is the test's own, as long as this database lives; no worker is started. Evenings that fail one after the
# other pause nothing here.
$roster->set(pause_after => 0);
$roster->sql(<<'SQL');
CREATE OR REPLACE FUNCTION minga_roster_internal.clock() RETURNS timestamptz LANGUAGE sql STABLE AS
	$$ SELECT current_setting('simulated.now')::timestamptz $$;
CREATE TABLE steps (at timestamptz);
CREATE TABLE fails (connection text, evening date, times integer);
SELECT roster_create_people('public.people', owner => 'people_owner');
-- Planted: connections that no SIS stands behind.
CREATE PROCEDURE play() LANGUAGE plpgsql AS $$
DECLARE
	step timestamptz;
BEGIN
	FOR step IN SELECT at FROM steps ORDER BY at LOOP
		PERFORM set_config('simulated.now', step::text, false);
		PERFORM minga_roster_internal.queue_due_runs();
		UPDATE minga_roster.runs r
		SET started_at = step, finished_at = step, sqlstate = CASE WHEN f.fails THEN '08006' END,
			state = CASE WHEN f.fails THEN 'failed' ELSE 'succeeded' END
		FROM (SELECT q.run, (SELECT count(*) FROM minga_roster.runs e WHERE e.connection = q.connection
				AND e.evening = q.evening AND e.state = 'failed') < coalesce((SELECT times FROM fails f
				WHERE f.connection = q.connection AND f.evening = q.evening), 0) AS fails
			FROM minga_roster.runs q WHERE q.state = 'queued') f
		WHERE r.run = f.run;
		-- As evenings do: a transaction of a whole year would go through each version of a row again at each step.
		COMMIT;
	END LOOP;
END $$;
SQL
foreach my $connection (@{ $expected->{connections} })
{
	my ($name, $zone, $sync_at, $window_end) = @$connection;
	$roster->sql("INSERT INTO connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, "
		  . "people, time_zone, sync_at, window_end, automatic, enabled_origin) VALUES ('$name', '$name', "
		  . "'infinite_campus', 'https://sis.example/', 'https://sis.example/token', 'oauth2', 'id', 'school', "
		  . "'public.people', '$zone', '$sync_at', '$window_end', true, server_origin())");
}
foreach my $period (@{ $expected->{periods} })
{
	my $first = $period->{steps}[0];
	my $title = substr($first, 0, 10) . ' to ' . substr($period->{steps}[-1], 0, 10);

	$roster->sql("DELETE FROM runs; TRUNCATE steps, fails; UPDATE connections SET enabled_at = '$first'; "
		  . 'INSERT INTO steps VALUES ' . join(', ', map { "('$_')" } @{ $period->{steps} }) . '; '
		  . 'INSERT INTO fails VALUES ' . join(', ', map { "('$_->[0]', '$_->[1]', $_->[2])" } @{ $period->{fails} }));
	$roster->sql('CALL play()');
	my %count;
	$count{$_}-- foreach split /\n/, $roster->sql("SELECT concat_ws(' ', connection, evening, "
		  . "CASE state_cause WHEN 'evening_missed' THEN 'missed' ELSE 'run' END, "
		  . "to_char(queued_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')) FROM runs");
	$count{ join ' ', $_->[0], $_->[1], $_->[2] ? 'missed' : 'run', $_->[3] }++ foreach @{ $period->{runs} };
	my @different = map { ($count{$_} > 0 ? 'not there: ' : 'not expected: ') . $_ }
	  grep { $count{$_} != 0 } sort keys %count;
	is(scalar(@different), 0, "$title: each run of " . scalar(@{ $period->{runs} }) . ' at its time')
	  or diag(join "\n", @different[ 0 .. ($#different > 20 ? 20 : $#different) ]);
	cmp_ok(scalar(grep { $_->[2] } @{ $period->{runs} }), '>=', $title =~ /^2011/ ? 0 : 1, '... with missed ones');
}

$roster->stop;
done_testing();
