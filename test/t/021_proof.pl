# The end of a collection is proved, never guessed: pages, totals, and servers that get either wrong.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 200, seed => 31);
my $roster = RosterCluster->new('proof');
my $school = $server->school_id;

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', page_size => 50)");

sub collection
{
	my ($columns) = @_;
	return $roster->sql("SELECT $columns FROM collections WHERE collection = 'students' AND run = (SELECT max(run) "
		  . "FROM runs)");
}

# Fetches under these faults; returns the columns of the students' row of collections.
sub fetch
{
	my ($faults, $columns) = @_;
	$roster->sql('DELETE FROM server_facts');    # each fault is another server
	$server->faults($faults);
	$server->clear_log;
	$roster->sql("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	return collection($columns);
}

sub fetch_error
{
	my ($faults) = @_;
	$roster->sql('DELETE FROM server_facts');
	$server->faults($faults);
	my $error = $roster->error("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	return $error;
}

# "limit offset, …" of the students' pages asked for since the last fetch began.
sub asked
{
	return join ', ',
		map { "$_->{query}{limit} $_->{query}{offset}" } grep { $_->{path} =~ m{/students$} } $server->log;
}

sub page_size { return $roster->sql("SELECT roster_configure('mesa', page_size => $_[0])"); }

is(fetch({}, 'complete, proof, rows = claimed_total, rows = distinct_ids'), 't|total|t|t',
	'as many ids as the total prove the end');
my $students = collection('rows');
cmp_ok($students, '>', 150, 'the students are on several pages');
cmp_ok($students % 50, '>', 0, 'the last page is short');
is(asked(), join(', ', map { "50 " . 50 * $_ } 0 .. int($students / 50)),
	'no page is asked for beyond a total that a short page reaches');

is(fetch({ total => 'none' }, 'complete, proof, rows, distinct_ids, claimed_total'),
	"t|empty page|$students|$students|", 'without a total an empty page is the proof');
is(asked(), join(', ', (map { "50 " . 49 * $_ } 0 .. int(($students - 50) / 49) + 1), "50 $students", '2 0'),
	'... and a short page is none; each page begins with the last row of the one before, and the list from its other '
	  . 'end with that of the last');

page_size($students);
is(fetch({}, 'complete, proof, pages'), 't|total|1', 'one page that is exactly full proves its end');
is(asked(), "$students 0, 2 0", '... is believed when the total stays the same for two rows');
page_size(1000);
is(fetch({}, 'complete, proof, pages'), 't|total|1', 'a page shorter than asked for is no end');
is(asked(), '1000 0, 2 0', '... and proves its end too');
like(fetch_error({ page_cap => 50, total => 'of page' }), qr/number of students changed.*was 50 and became 2/s,
	'a total of the page alone proves nothing');
page_size(50);

is(fetch({ page_cap => 7 }, 'complete, proof, pages'), 't|total|' . int(($students + 6) / 7),
	'a server that caps pages in silence is read to its end');
is(fetch({ page_cap => 7, total => 'none' }, 'complete, proof, rows'), "t|empty page|$students",
	'... without a total too');
like(asked(), qr/^50 0, 6 6, 7 11, 7 17/, '... by as many rows as came');

# Totals

is(fetch({ total => 'wrong' }, 'complete, proof, rows, claimed_total'), "f|weak|$students|" . ($students + 7),
	'a total that the ids do not reach proves nothing');
is(collection('detail'), "The SIS claims " . ($students + 7)
	  . " rows (X-Total-Count) and listed $students different ones.", '... and it says so');
is($roster->sql("SELECT count(*) FROM staged_users WHERE collection = 'students'"), $students,
	'... but the rows are used');
like(fetch_error({ total => { mode => 'changing', path => 'students' } }),
	qr/ERROR:  08P01: .*number of students changed.*DETAIL: .*X-Total-Count.*HINT: /s,
	'a total that changes is an error');

my ($first) = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE collection = 'students' ORDER BY sourced_id");
is(fetch({ duplicate => { sourced_id => $first }, page_cap => 50 },
	'complete, proof, rows - distinct_ids, distinct_ids = claimed_total'),
	't|total|1|t', 'duplicates do not count toward the total');
is(fetch({ duplicate => [ { sourced_id => $first }, { sourced_id => $first, at => 'end' } ], total => 'wrong' },
	'complete, proof, rows - distinct_ids'),
	'f|weak|2', '... nor do they make up for those missing');

# Ends that are none

is(fetch({ empty_object_at_end => 1, total => 'none' }, 'complete, proof, rows'), "f|weak|$students",
	'{} at the end, without a total, is weak');
like(collection('detail'), qr/an object without a list instead of an empty page/, '... and it says so');
page_size($students);
is(fetch({ empty_object_at_end => 1 }, 'complete, proof'), 't|total', '... with all ids of the total it is an end');
page_size(50);
my $beyond = "students\\?.*offset=$students&";
is(fetch({ status => { path => $beyond, code => 404 }, total => 'none' }, 'complete, proof, rows'), "f|weak|$students",
	'404 beyond the end is weak');
like(collection('detail'), qr/status 404 instead of an empty page/, '... and it says so');
page_size($students);
is(fetch({ status => { path => $beyond, code => 404 } }, 'complete, proof'), 't|total',
	'... with all ids of the total it is an end');
page_size(50);
like(fetch_error({ status => { path => 'students.*offset=100&', code => 403 } }), qr/ERROR:  42501/,
	'403 in the middle is an error');

like(fetch_error({ repeat_page => { path => 'students' } }),
	qr/ERROR:  08P01: .*same page of students twice.*DETAIL: .*offset 50 .*HINT: /s,
	'a page that comes again is an error');
like(fetch_error({ repeat_page => { path => 'students.*offset=(98|99)&' }, total => 'none' }),
	qr/same page of students twice.*offset 99 /s, '... at any offset');
like(fetch_error({ html => { path => 'students.*offset=100&' } }), qr/ERROR:  08P01: .*web page/,
	'HTML in the middle is an error');
is($roster->sql('SELECT is_full IS NULL FROM runs ORDER BY run DESC LIMIT 1'), 't', 'none of these was a full read');

# Lists that change while they are read

# Fetches without totals; someone more leaves each time that the page at one of these offsets is asked for.
sub fetch_while_leaving
{
	my ($leavers, @offsets) = @_;
	my $gone = 0;

	$server->faults({ total => 'none', hang => { path => "students.*offset=(?:$offsets[0])&" } });
	$server->clear_log;
	my $run = $roster->sql("SELECT roster_start('mesa', 'fetch')");
	while (my $offset = shift @offsets)
	{
		$server->wait_for(
			sub {
				(grep { $_->{path} =~ m{/students$} && $_->{query}{offset} =~ /^(?:$offset)$/ } $server->log)
				  or $roster->sql("SELECT finished_at IS NOT NULL FROM runs WHERE run = $run") eq 't';
			});
		$gone++;
		$server->faults({ remove_rows => [ @$leavers[0 .. $gone - 1] ],
			hang => @offsets ? { path => "students.*offset=(?:$offsets[0])&" } : undef });
	}
	$roster->wait_for("SELECT state = 'succeeded' FROM runs WHERE run = $run");
	$server->clear_faults;
	return;
}

my @listed = split /\n/,
	$roster->sql("SELECT DISTINCT sourced_id COLLATE \"C\" FROM staged_users WHERE collection = 'students' ORDER BY 1");
fetch_while_leaving(\@listed, 98, "147|148");
is(collection('complete, proof, distinct_ids'), "f|weak|$students",
	'two who leave while the list is read: no one else is passed over, and the proof is weak');
like(collection('detail'), qr/did not begin with the last row of the one before it: the list moved/,
	'... and it says so');

# No one

is(fetch({ empty => { path => 'students', total => 0 } }, 'complete, proof, pages, rows, distinct_ids, claimed_total'),
	't|total|0|0|0|0', 'a school without students is read completely');
is(fetch({ empty => { path => 'students', total => 0 }, total => 'none' }, 'complete, proof, rows'), 't|empty page|0',
	'... without a total too');
is(fetch({ empty => { path => 'students', total => 9 } }, 'complete, proof, rows, claimed_total'), 'f|weak|0|9',
	'an empty list with a total above zero is weak');

# Rows without a sourcedId
is(fetch({ no_sourced_id => [ { path => 'students', index => 3 }, { path => 'students', index => 60 } ] },
	'complete, proof, without_id, rows, distinct_ids'),
	"f|weak|2|$students|" . ($students - 2), 'rows without a sourcedId are counted');
is(fetch({ no_sourced_id => { path => 'students', index => 3 }, total => 'none' }, 'complete, proof, without_id'),
	'f|empty page|1', '... leave a list incomplete whatever its end');
like(collection('detail'), qr/without a usable sourcedId: 1/, '... and it says so');
is($roster->sql('SELECT incomplete FROM runs WHERE run = (SELECT max(run) FROM runs)'), 't',
	'... in the row of the run too');

# Server that sorts as it likes
is(fetch({ ignore_sort => {} }, 'complete, proof, rows'), "t|total|$students", 'an order of its own does no harm');
is($roster->sql('SELECT incomplete FROM runs WHERE run = (SELECT max(run) FROM runs)'), 'f',
	'... and leaves the run a complete one');

done_testing();
