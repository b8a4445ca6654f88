# Rollover night: the SIS lists everyone under another id, and in the next grade. No one is created twice or archived,
# and once someone has moved the links everyone goes on with the same account.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 300, seed => 23);
my $roster = RosterCluster->new('rollover');

sub everyone
{
	return $roster->sql("SELECT count(*) || ' ' || md5(string_agg(p::text, '' ORDER BY person_id)) FROM people p");
}

$roster->connect_school('mesa-high', $server);
$roster->sql("SELECT roster_toggle('mesa-high', auto_update => true, archive => true)");
$roster->sql("SELECT roster_configure('mesa-high', guard_percent => 100, guard_floor => 100000, guard_update_percent "
	  . "=> 100)");
$roster->sql("SELECT roster_sync('mesa-high')");
my $people = $roster->sql('SELECT count(*) FROM people');
my $links = $roster->sql('SELECT count(*) FROM links');
my $before = everyone();

$server->faults({ rollover => { prefix => 'next-' } });
my $run = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
is($roster->sql("SELECT created, linked, updated, archived FROM runs WHERE run = $run"), '0|0|0|0',
	'on the night of new ids nothing is done');
is(everyone(), $before, '... to anyone');
cmp_ok($roster->sql("SELECT count(DISTINCT person_id) FROM changes WHERE run = $run AND action = 'link' "
	  . "AND state = 'held'"), '>', $people * 0.9,
	'nearly everyone is found under the new id');
is($roster->sql("SELECT string_agg(DISTINCT action || ' ' || state, ', ') FROM changes WHERE run = $run "
	  . "AND action IN ('create', 'archive', 'link') AND state <> 'held'"), '',
	'... and all of it is held');
is($roster->sql("SELECT bool_and(state_reason ~ '^Many IDs changed in the SIS: [0-9]+ of [0-9]+ people have a "
	  . "new one') FROM changes WHERE run = $run AND state = 'held'"),
	't', '... for that reason');
like($roster->sql("SELECT roster_report($run)"),
	qr/^Action needed: \d+ IDs changed in the SIS.*SELECT minga_roster\.roster_relink\($run\);/s,
	'the report says what to do');
is($roster->sql("SELECT (SELECT sum(count) FROM run_counts WHERE run = $run AND action <> 'held') = (SELECT count(*) "
	  . "FROM staged_users)"), 't', 'each row has one outcome');

my $moved = $roster->sql("SELECT roster_relink($run)");
cmp_ok($moved, '>', $people * 0.9, 'the links are moved');
is(everyone(), $before, '... and no one is changed by that');
$run = $roster->sql("SELECT run FROM roster_sync('mesa-high')");
is($roster->sql("SELECT updated > 0, held FROM runs WHERE run = $run"), 't|0', 'the next sync goes on');
is($roster->sql("SELECT count(*) FROM people p WHERE (SELECT count(*) FROM people q "
	  . "WHERE q.identifier = p.identifier) > 1"), '0', 'no one is there twice');
is($roster->sql('SELECT count(*) FROM people WHERE archived_at IS NULL') + $roster->sql(
	"SELECT archived - created FROM runs WHERE run = $run"), $people,
	'... or lost');
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id NOT LIKE 'next-%' AND missed_since IS NULL"), '0',
	'no former id passes for listed');
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id LIKE 'next-%'"), $links, 'each new id is linked');
$before = everyone();
is($roster->sql("SELECT created + linked + updated + restored + archived + held FROM roster_sync('mesa-high')"), '0',
	'one sync more does nothing');
is(everyone(), $before, '... to anyone');

$roster->stop;
$server->stop;
done_testing();
