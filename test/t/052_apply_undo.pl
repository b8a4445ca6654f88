# roster_apply and roster_undo through the worker: what they return, what they refuse, and that both leave the SIS
# alone.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 7);
my $roster = RosterCluster->new('apply_undo');

$roster->connect_school('one', $server);
$roster->sql("SELECT roster_toggle('one', auto_update => true)");
sub newest { return $roster->sql('SELECT max(run) FROM runs'); }
sub people { return $roster->sql("SELECT count(*) FILTER (WHERE archived_at IS NULL) || ' ' || count(*) FILTER (WHERE "
	  . "archived_at IS NOT NULL) FROM public.people"); }

my $planned = $roster->sql("SELECT count(*) FILTER (WHERE action = 'create') FROM roster_preview('one')");
my $preview = newest();
cmp_ok($planned, '>', 0, 'a preview plans people');
is(people(), '0 0', '... and changes no one');

# Refusals of the call leave no run
like($roster->error("BEGIN; SELECT roster_apply($preview);"),
	qr/ERROR:  25001: roster_apply cannot run inside a transaction block/,
	'an apply in a transaction block is refused');
like($roster->error("BEGIN; SELECT roster_undo($preview);"),
	qr/ERROR:  25001: roster_undo cannot run inside a transaction block/, 'an undo in a transaction block is refused');
like($roster->error("BEGIN; SELECT roster_approve($preview);"),
	qr/ERROR:  25001: roster_approve cannot run inside a transaction block/,
	'an approval in a transaction block is refused');
like($roster->error("SELECT $_(999999)"), qr/ERROR:  42704: run 999999 does not exist.*HINT: /s, "$_ of an unknown run")
	  foreach qw(roster_approve roster_apply roster_undo);
like($roster->error("SELECT $_(NULL)"), qr/ERROR:  22004: no run was given.*HINT: /s, "$_ of no run")
	  foreach qw(roster_approve roster_apply roster_undo);
is(newest(), $preview, 'a refused call leaves no run');
like($roster->error("SELECT roster_undo($preview)"),
	qr/ERROR:  55000: run \d+ of connection "one": run $preview cannot be undone.*DETAIL:  It is a preview.*HINT: /s,
	'an undo of a preview is refused');
is($roster->sql('SELECT kind, state, sqlstate FROM runs ORDER BY run DESC LIMIT 1'), 'undo|failed|55000',
	'... is on record');

# Neither needs the SIS
$server->faults({ status => { path => '', code => 500 } });
is($roster->sql("SELECT kind, state, of_run, created, requests, pages FROM roster_apply($preview)"),
	"apply|succeeded|$preview|$planned|0|0", 'the preview is applied without a request');
my $apply = newest();
is(people(), "$planned 0", '... the people are there');
is($roster->sql("SELECT count(*) FROM changes WHERE run = $preview AND state = 'applied' AND done_by = $apply"),
	$planned, '... and the changes say who did it');
like($roster->error("SELECT roster_apply($preview)"),
	RosterCluster::in_order(qr/ERROR:  55000: .*run $preview cannot be applied/s,
		qr/DETAIL:  It was applied by run $apply\..*HINT: .*roster_preview/s), 'it is refused the second time');
$roster->sql("UPDATE public.people SET phone = '1' WHERE person_id = (SELECT person_id FROM public.people "
	  . "WHERE role = 'student' ORDER BY person_id LIMIT 1)");
is($roster->sql("SELECT kind, state, of_run, archived FROM roster_undo($apply)"), "undo|succeeded|$apply|"
	  . ($planned - 1), 'the apply is undone');
my $undo = newest();
is(people(), '1 ' . ($planned - 1), '... new people are archived, but for the one who was changed since');
is($roster->sql("SELECT state, count(*) FROM changes WHERE run = $preview AND state <> 'noted' GROUP BY 1 ORDER BY 1"),
	"kept|1\nundone|" . ($planned - 1), '... and that person is listed as kept');
is($roster->sql('SELECT count(*) FROM links'), '1', '... and the links of the others are gone');
like($roster->error("SELECT roster_undo($apply)"), qr/ERROR:  55000: .*DETAIL:  It was undone by run $undo\./s,
	'it is refused the second time');
like($roster->error("SELECT roster_undo($undo)"),
	qr/ERROR:  55000: .*DETAIL:  It is an undo, which cannot be undone\..*HINT: .*roster_preview/s,
	'an undo is not undone');
$server->clear_faults;

# The next sync finds the same people again, and an old preview has had its day
$roster->sql("SELECT count(*) FROM roster_preview('one')");
my $old = newest();
is($roster->sql("SELECT state, restored, created FROM roster_sync('one')"),
	'succeeded|'
	  . join('|', split ' ',
	  $roster->sql("SELECT count(*) FILTER (WHERE action = 'restore') || ' ' || count(*) FILTER (WHERE action = "
	  . "'create') FROM changes WHERE run = $old")),
	'a sync does again what was undone');
like($roster->error("SELECT roster_apply($old)"),
	qr/ERROR:  55000: .*DETAIL:  Run \d+, a sync, has changed people since/s,
	'a preview that was overtaken is refused');

# A role that has the level needs no other right
$roster->sql("CREATE ROLE operator LOGIN; SELECT roster_grant('operator', 'owner', site => site) FROM runs "
	  . "WHERE run = $undo");
like($roster->error("SET ROLE operator; SELECT roster_undo($undo)"), qr/ERROR:  55000: /,
	'the owner of the site may call');

# A connection that was retired, and another one under its name
sub everything { return $roster->sql("SELECT md5(concat((SELECT string_agg(p::text, ' ' ORDER BY person_id) "
	  . "FROM public.people p), (SELECT string_agg(c::text, ' ' ORDER BY run, change) FROM changes c)))"); }
my $sync = $roster->sql("SELECT max(run) FROM runs WHERE kind = 'sync' AND state = 'succeeded'");
$roster->sql("SELECT count(*) FROM roster_preview('one')");
my $last = newest();
$roster->sql("SELECT roster_disconnect('one')");
my $before = everything();
my %of = (roster_apply => $last, roster_approve => $sync, roster_undo => $sync);
foreach my $call (sort keys %of)
{
	like($roster->error("SELECT $call($of{$call})"),
		RosterCluster::in_order(qr/ERROR:  42704: connection "one" no longer exists/s,
			qr/DETAIL:  roster_disconnect retired it at /s,
			qr/HINT:  Create it again with roster_connect/s), "$call once the connection is retired");
}
is(newest(), $last, '... leaves no run');
$roster->connect_school('one', $server);
foreach my $call (sort keys %of)
{
	like($roster->error("SELECT $call($of{$call})"),
		RosterCluster::in_order(qr/ERROR:  55000: .*run $of{$call} /s,
			qr/DETAIL:  It belongs to an earlier connection of this name, which was retired\./s,
			qr/HINT: /s), "$call of a run of the former connection");
}
is(everything(), $before, '... and no one is changed');

$roster->stop;
$server->stop;
done_testing();
