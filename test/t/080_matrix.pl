# Whatever a server answers to an offset inside a list, at its end and past it, to a limit above its cap, to fields and
# to sort, and however it pages, with and without a total: all is staged and proved, or all is staged and weak, or the
# run fails and says why.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 61);
my $roster = RosterCluster->new('matrix');
my $json = JSON::PP->new->canonical->allow_nonref;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_toggle('mesa', category, roster => category = 'student') FROM toggles "
	  . "WHERE connection = 'mesa'");
$roster->sql("SELECT roster_configure('mesa', page_size => 20); SELECT roster_fetch('mesa')");
my $everyone = $roster->sql('SELECT count(DISTINCT sourced_id) FROM staged_users');
cmp_ok($everyone, '>', 45, 'students on three pages of twenty');
cmp_ok($everyone % 20, '>', 2, '... the last of which is short');

my @answers = (400, 404, 410, 416, 422, 500, 501, 302, 204, 'nothing', '{}', 'null', 'html', 'empty', 'first', 'last');
my %seen;

# What a fetch under these faults comes to: "all complete", "all weak", "part weak cause" or "failed SQLSTATE message".
sub outcome
{
	my ($faults, $settings) = @_;
	$server->faults($faults);
	my (undef, $out) = $roster->node->psql('postgres', <<"SQL", on_error_die => 0);
DELETE FROM server_facts;
SELECT FROM roster_fetch('mesa');
SQL
	my $found = $roster->sql(<<'SQL');
SELECT CASE WHEN r.state = 'failed' THEN concat_ws(' ', 'failed', r.sqlstate, r.error)
    ELSE concat_ws(' ', CASE (SELECT count(DISTINCT s.sourced_id) FROM staged_users s) WHEN c.distinct_ids THEN 'staged'
	ELSE 'miscounted' END,
        c.distinct_ids, CASE WHEN c.complete THEN 'complete' END, c.proof, c.weak_cause) END
FROM runs r LEFT JOIN collections c ON c.run = r.run AND c.collection = 'students'
WHERE r.run = (SELECT max(run) FROM runs)
SQL
	$server->clear_faults;
	return $found;
}

# The causes that tell that rows are missing.
my $known_missing = qr/ weak (?:row_missing|total_larger)$/;

# A cell: whatever comes, never a part that passes for the whole. expected: the outcome, where the cell has but one that
# is right.
sub cell
{
	my ($name, $faults, $expected) = @_;
	my $found = outcome($faults);
	my $sound = (defined $expected && $found =~ $expected)
	  || $found =~ /^staged $everyone (?:complete (?:total|empty page)|weak \w+)$/
	  || $found =~ /^staged \d+$known_missing/
	  || $found =~ /^failed (?:08P01|08006|42704) the (?:SIS|answer of the SIS|number of students)/;
	ok($sound && (!defined $expected || $found =~ $expected), "$name: $found") or diag($json->encode($faults));
	$seen{$found =~ s/\d+ //r =~ s/^failed.*/failed/r}++;
	return $found;
}

my $all_proved = qr/^staged $everyone complete total$/;
my $all_complete = qr/^staged $everyone complete /;
my $all_weak = qr/^staged $everyone weak /;
my $all = qr/^staged $everyone /;

foreach my $total ('right', 'none', 'wrong')
{
	my %total = (total => $total);
	my $end = $total eq 'right' ? $all_proved : $all_weak;

	foreach my $answer (@answers)
	{
		my $refuse = sub { return { refuse => [ map { { path => 'students', answer => $answer, %$_ } } @_ ], %total } };
		my $inside = { where => 'inside', step => 20 };

		cell("total $total, an offset inside answered with $answer", $refuse->($inside), $end);
		cell("total $total, an offset past the end answered with $answer", $refuse->({ where => 'past' }),
			$answer eq 'empty' && $total eq 'none' ? $all_complete : $end);
		cell("total $total, both answered with $answer", $refuse->($inside, { where => 'past' }), $end);
		cell("total $total, every offset answered with $answer",
			$refuse->({ where => 'inside', step => 1000 }, { where => 'past' }));
		next if $answer =~ /^(?:first|last)$/;
		cell("total $total, a limit above ten answered with $answer", $refuse->({ where => 'limit', cap => 10 }), $all);
		cell("total $total, fields answered with $answer", $refuse->({ where => 'fields' }), $all);
		cell("total $total, sort answered with $answer", $refuse->({ where => 'sort' }), $all);
		cell("total $total, falling order answered with $answer", $refuse->({ where => 'order' }), $all);
		cell("total $total, fields and sort answered with $answer",
			$refuse->({ where => 'fields' }, { where => 'sort' }), $all);
	}

	foreach my $sort ({}, { ignore_sort => {} })
	{
		my $sorted = %$sort ? 'an order of its own' : 'sorted';

		foreach my $cap ({}, { page_cap => 7 }, { page_cap => 10 })
		{
			my $capped = %$cap ? "a cap of $cap->{page_cap}" : 'no cap';
			my $paging = sub { return { paging => { path => 'students', mode => shift, @_ }, %total, %$sort, %$cap } };

			cell("total $total, $sorted, $capped", { %total, %$sort, %$cap }, $total eq 'wrong' ? $all_weak
				  : $all_complete);
			# Where limits are cut as well, nothing of the rest is to be had; without total and order it only shows that
			# it may be so.
			my $lost = !%$cap ? $end : $total eq 'none' && %$sort ? qr/^staged \d+ weak end_unproved$/ : undef;

			cell("total $total, $sorted, $capped, limit as end", $paging->('limit as end'), $lost);
			cell("total $total, $sorted, $capped, offset as page", $paging->('offset as page'),
				%$cap && $total ne 'none' ? undef : $end);
			cell("total $total, $sorted, $capped, offset as page from 1", $paging->('offset as page', first => 1),
				%$cap && $total ne 'none' ? undef : $end);
			cell("total $total, $sorted, $capped, not paged", $paging->('none'), $end);
			cell("total $total, $sorted, $capped, offset ignored", $paging->('ignores offset'));
			if (%$sort && $total eq 'none')
			{
				# Who keeps to one order and cuts the list is seen where lists are cut, at whole pages.
				cell("total $total, $sorted, $capped, a window of $_", $paging->('window', rows => $_),
					qr/^staged $_ weak end_unproved$/) foreach 20, 40;
				next;
			}
			cell("total $total, $sorted, $capped, a window of $_", $paging->('window', rows => $_)) foreach 1, 20, 33,
				40;
		}
	}
	cell("total $total, offsets rounded to pages", { round_offset => { path => 'students' }, %total }, $end);
}

# Schools: whatever comes behind the first page, the connection's own school is found

foreach my $answer (@answers)
{
	my @past = ({ where => 'past' }, { where => 'inside', step => 1 });
	my $found = outcome({ refuse => [ map { { path => '/(?:schools|orgs)\?', answer => $answer, %$_ } } @past ],
		total => 'none' });
	like($found, $all, "schools, every other offset answered with $answer: $found");
}
foreach my $mode ('limit as end', 'offset as page', 'none', 'ignores offset', 'window')
{
	my $found = outcome({ paging => { path => '/(?:schools|orgs)\?', mode => $mode, rows => 1 }, page_cap => 1,
		total => 'none' });
	unlike($found, qr/^failed 22023/, "schools, $mode, a page of one: $found");
}

foreach my $total ('right', 'none')
{
	foreach my $answer (400, 404, 500, 302, 'null', 'html')
	{
		foreach my $where ({ where => 'limit', cap => 10 }, { where => 'fields' }, { where => 'sort' },
			{ where => 'past' })
		{
			my $found = outcome({ refuse => { path => '/(?:schools|orgs)\?', answer => $answer, %$where },
				total => $total });
			like($found, $all_complete, "schools, total $total, $where->{where} answered with $answer: $found");
		}
	}
}

# Several pages at a time

$roster->sql("SELECT roster_configure('mesa', max_requests => 4, page_size => 10)");
$roster->set(test_clock => '2026-09-01 20:00:00-06');
foreach my $total ('right', 'none')
{
	foreach my $answer (400, 404, 500, 302, '{}', 'empty', 'first', 'last')
	{
		my $refuse = sub { return { refuse => [ map { { path => 'students', answer => $answer, %$_ } } @_ ],
			total => $total } };

		cell("four at a time, total $total, an offset inside answered with $answer",
			$refuse->({ where => 'inside', step => 10 }), $total eq 'none' ? $all_weak : $all_proved);
		cell("four at a time, total $total, past the end answered with $answer", $refuse->({ where => 'past' }),
			$answer eq 'empty' && $total eq 'none' ? $all_complete : $total eq 'none' ? $all_weak : $all_proved);
	}
	cell("four at a time, total $total, $_", { paging => { path => 'students', mode => $_, rows => 20 },
		total => $total },
		/window|ignores/ ? undef : $total eq 'none' ? $all_weak : $all_proved)
	  foreach 'limit as end', 'offset as page', 'none', 'ignores offset', 'window';
}
$roster->sql("SELECT roster_configure('mesa', max_requests => 1, page_size => 20)");

# What was learned: used the next night, shown, and forgotten with the address

sub students { return grep { $_->{path} =~ m{/students$} } $server->log }
sub facts { return $roster->sql("SELECT coalesce(string_agg(fact || ' ' || value, ', ' ORDER BY fact), '') "
	  . "FROM server_facts") }
sub fetch { $server->clear_log; $roster->sql("SELECT roster_fetch('mesa')"); return scalar(students()) }

sub learns
{
	my ($name, $faults, $facts) = @_;
	$roster->sql('DELETE FROM server_facts');
	$server->faults($faults);
	my $first = fetch();
	is(facts(), $facts, "$name is learned");
	cmp_ok(fetch(), '<', $first, '... the next night asks less');
	return;
}

learns('a refused overlap', { refuse => { path => 'students', where => 'inside', step => 20, answer => 404 },
	total => 'none' }, 'overlap refused');
is(scalar(grep { $_->{query}{offset} % 20 && $_->{query}{offset} < $everyone - 1 } students()), 0,
	'... for no offset inside a page');
learns('an empty overlap', { refuse => { path => 'students', where => 'inside', step => 20, answer => 'empty' },
	total => 'none' }, 'overlap empty');
learns('a falling order that is refused', { refuse => { path => 'students', where => 'order', answer => 400 },
	total => 'none' }, 'order refused');
learns('a cap', { refuse => { path => 'students', where => 'limit', cap => 12, answer => 400 } }, 'limit 10');
is(scalar(grep { $_->{query}{limit} > 12 } students()), 0, '... for no larger page');
learns('sort', { refuse => { path => 'students', where => 'sort', answer => 422 } }, 'sort refused');
learns('fields', { refuse => { path => 'students', where => 'fields', answer => 400 } }, 'fields refused');
is(scalar(grep { defined $_->{query}{fields} } students()), 0, '... for no fields');
is($roster->sql(
	<<'SQL'), 'not tried, refused f', '... and the diagnosis shows it, and says nothing of what it did not ask');
SELECT string_agg(concat_ws(' ', value, ok), ', ' ORDER BY finding) FROM roster_diagnose('mesa')
	WHERE finding IN ('fields', 'known: fields')
SQL
foreach my $mode ('limit as end', 'offset as page', 'none')
{
	$roster->sql('DELETE FROM server_facts');
	$server->faults({ paging => { path => 'students', mode => $mode }, total => 'none' });
	fetch();
	like(facts(), qr/paging \Q$mode\E/, "$mode is learned");
}
is($roster->sql("SELECT value, ok FROM roster_diagnose('mesa') WHERE finding = 'known: paging'"), 'none|f',
	'... and the diagnosis shows it');
$roster->sql('DELETE FROM server_facts');
$server->faults({ refuse => { path => 'students', where => 'fields', answer => 400 } });
fetch();
$server->clear_faults;
$roster->set(test_clock => '2026-09-10 20:00:00-06');
fetch();
is(facts(), '', 'after a week it is tried again, and forgotten where it holds no longer');
$server->faults({ refuse => { path => 'students', where => 'fields', answer => 400 } });
fetch();
$server->clear_faults;
$roster->move_school('mesa', $server->legacy_url, $server->client_secret);
is(facts(), '', 'another address forgets it');

# A well-behaved server is asked once more at the most, and not at all beyond a total

is(fetch(), 3, 'three pages, where the total is reached');
$server->faults({ total => 'none' });
is(fetch(), 5, 'without a total the end is seen from both sides');
$server->clear_faults;
is($roster->sql('SELECT rows_expected = rows_staged FROM runs ORDER BY run DESC LIMIT 1 OFFSET 1'), 't',
	'the rows expected are those claimed');
$roster->sql("SELECT roster_configure('mesa', page_size => 1000)");
$server->faults({ refuse => { path => 'students', where => 'past', answer => 400 } });
fetch();
is(join(', ', map { "$_->{query}{limit} $_->{query}{offset}" } students()), '1000 0, 2 0',
	'one page with a total: nothing is asked for beyond it');
$server->clear_faults;

note(join("\n", map { sprintf '%4d %s', $seen{$_}, $_ } sort keys %seen));

$roster->stop;
$server->stop;
done_testing();
