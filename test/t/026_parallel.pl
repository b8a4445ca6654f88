# Several requests at a time: as many as the evening allows and never more, one by day; what drops a collection back to
# one after the other; retries, a refused token and a cancel while several are in flight; slow servers, the end of the
# evening, changed permissions.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 400, seed => 26);
my $roster = RosterCluster->new('parallel');
my $day = '2026-09-01 12:00:00-06';
my $evening = '2026-09-01 20:00:00-06';

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', page_size => 20, max_requests => 4)");
$roster->set(test_clock => $evening);

sub asked { return grep { $_->{path} =~ m{/students$} } $server->log; }
sub offsets { return map { $_->{query}{offset} } asked(); }
sub tokens { return scalar(grep { $_->{path} =~ /oauth2\/token/ } $server->log); }
sub newest { return $roster->sql("SELECT $_[0] FROM runs ORDER BY run DESC LIMIT 1"); }

sub fetch
{
	my ($faults) = @_;
	$server->faults($faults // {});
	$server->clear_log;
	$roster->sql("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	return newest('state');
}

sub fetch_error
{
	my ($faults) = @_;
	$server->faults($faults);
	$server->clear_log;
	my $error = $roster->error("SELECT roster_fetch('mesa')");
	$server->clear_faults;
	return $error;
}

# What was staged, and what came of each collection.
sub staged
{
	return $roster->sql("SELECT md5(string_agg(s::text, ' ' ORDER BY s.collection, s.sourced_id)) FROM staged_users s")
	  . $roster->sql("SELECT string_agg(concat_ws(' ', collection, complete, proof, pages, rows, distinct_ids, "
	  . "claimed_total, elsewhere), ', ' ORDER BY collection) FROM collections WHERE run = (SELECT max(run) "
	  . "FROM runs)");
}

# Starts a fetch under these faults and waits until so many requests wait for their answers.
sub start_and_wait_for
{
	my ($requests, $faults) = @_;
	$server->faults($faults);
	$server->clear_log;
	my $run = $roster->sql("SELECT roster_start('mesa', 'fetch')");
	$server->wait_for(sub { $server->state->{concurrent} >= $requests });
	return $run;
}

sub wait_for_end
{
	my ($run) = @_;
	$roster->wait_for("SELECT state NOT IN ('queued', 'running') FROM runs WHERE run = $run");
	return newest('state');
}

# By day and in the evening

$roster->set(test_clock => $day);
is(fetch(), 'succeeded', 'by day');
is($server->state->{concurrent_max}, 1, '... one request at a time');
my @in_series = offsets();
my $pages = @in_series;
is(join(' ', @in_series), join(' ', map { 20 * $_ } 0 .. $pages - 1), '... one page after the other');
my $by_day = staged();

$roster->set(test_clock => $evening);
my $run = start_and_wait_for(4, { hang => { path => 'students.*offset=(?!0&)' } });
is(join(' ', sort { $a <=> $b } offsets()), '0 20 40 60 80', 'in the evening pages are asked for ahead');
is($roster->sql("SELECT count(*), count(xact_start), count(backend_xmin) FROM pg_stat_activity "
	  . "WHERE backend_type = 'minga_roster'"), '1|0|0',
	'... while no transaction and no snapshot is held');
$server->clear_faults;
is(wait_for_end($run), 'succeeded', '... those that broke off are asked for again');
is($server->state->{concurrent_max}, 4, '... never more than max_requests at a time');
is(staged(), $by_day, '... and what is staged is the same');

is(fetch({ total => 'none' }), 'succeeded', 'without totals');
cmp_ok($server->state->{concurrent_max}, '<=', 4, '... never more either');
is($roster->sql('SELECT count(DISTINCT sourced_id) = count(*) FROM staged_users'), 't', '... everyone once');
is($roster->sql("SELECT string_agg(DISTINCT proof, ' ') FROM collections WHERE run = (SELECT max(run) FROM runs)"),
	'empty page', '... the end is an empty page');

$run = start_and_wait_for(3, { hang => { path => '(students|teachers|administrators)\?' } });
is(join(' ', sort map { $_->{path} =~ m{/(\w+)$} } grep { $_->{path} =~ /schools\// } $server->log),
	'administrators students teachers',
	'collections are read side by side');
$server->clear_faults;
is(wait_for_end($run), 'succeeded', '... to their ends');
is(staged(), $by_day, '... with the same stage');

# Interrupts

$run = start_and_wait_for(4, { hang => { path => 'students.*offset=(?!0&)' } });
$roster->sql("SELECT roster_cancel($run)");
is(wait_for_end($run), 'canceled', 'a cancel ends all requests in flight');
$server->clear_faults;

# What happens to one of several

$roster->sql("SELECT roster_toggle('mesa', category, roster => category = 'student') FROM toggles "
	  . "WHERE connection = 'mesa'");
is(fetch(), 'succeeded', 'students alone');
my $students = staged();

my @each_once = map { { path => "students.*offset=$_&", code => 401, times => 1 } } 20, 40, 60;
is(fetch({ status => \@each_once }), 'succeeded', 'a token that is refused with several in flight');
is(tokens(), 1, '... is renewed once');
is(staged(), $students, '... and all pages come');
is(fetch({ expire_token_after => 3 }), 'succeeded', 'a token that is withdrawn again and again');
like(fetch_error({ status => { path => 'students.*offset=(?!0&)', code => 401 } }), qr/ERROR:  28000: /,
	'one that stays refused is an error');
is(fetch({ status => { path => 'students.*offset=(20|60)&', code => 503, times => 2 } }), 'succeeded',
	'two of several that are to be tried again');
is(newest('retries'), '2', '... are');
is(staged(), $students, '... in their places');

is(fetch({ repeat_page => { path => 'students.*offset=60&', times => 1 } }), 'succeeded',
	'a page that comes twice when several are asked for');
is(scalar(grep { $_ == 60 } offsets()), 2, '... is asked for again, alone');
# Those that were thrown away may reach the server's log among the pages that are asked for again.
my @left = map { 20 * $_ } 3 .. $pages - 1;
my $first_try = 1;
foreach my $offset (offsets())
{
	if ($first_try) { $first_try = $offset != 60; }
	elsif (@left && $offset == $left[0]) { shift @left; }
}
is("@left", '', '... and so is what is behind it, one after the other');
is(staged(), $students, '... with the same stage');
like(fetch_error({ repeat_page => { path => 'students' } }),
	qr/ERROR:  08P01: .*same page of students twice.*offset 20 /s, 'one that comes twice then too is an error');
like(fetch_error({ html => { path => 'students.*offset=100&' } }), qr/ERROR:  08P01: .*web page/,
	'a page that cannot be read');
is(scalar(grep { $_ == 100 } offsets()), 2, '... is asked for again, alone, before it is an error');
is(fetch({ page_cap => 7 }), 'succeeded', 'a server that caps pages in silence');
is($roster->sql("SELECT count(*) = count(DISTINCT sourced_id), bool_and(collection = 'students') FROM staged_users"),
	't|t', '... is read by what it gives');
is($roster->sql("SELECT complete, proof FROM collections WHERE run = (SELECT max(run) FROM runs)"), 't|total',
	'... to its end');

$run = start_and_wait_for(1, { status => { path => 'students.*offset=20&', code => 429, times => 1, retry_after => 0 },
	hang => { path => 'students.*offset=200&' } });
$server->wait_for(sub { grep { $_ == 200 } offsets() });
is(scalar(grep { $_ > 200 } offsets()), 0, 'a server that asked for a pause is asked one thing at a time');
$server->clear_faults;
is(wait_for_end($run), 'succeeded', '... to the end');

# Cookies of a load balancer, which come with the token

$roster->sql('DELETE FROM tokens');
is(fetch({ cookie => { path => 'students' } }), 'succeeded',
	'each of several requests sends the cookies that came with the token');
is(tokens(), 1, '... of which one was enough');

# Lists that move while they are read

my ($first) = split /\n/, $roster->sql('SELECT sourced_id FROM staged_users ORDER BY sourced_id');
my $proof = 'SELECT complete, proof, rows - distinct_ids FROM collections WHERE run = (SELECT max(run) FROM runs)';
fetch({ total => 'none', duplicate => { sourced_id => $first, at => 'end' } });
is($roster->sql($proof), 'f|weak|1', 'an id on two pages, without a total');
like($roster->sql('SELECT detail FROM collections WHERE run = (SELECT max(run) FROM runs)'),
	qr/came on more than one page: 1; the list moved/, '... and it says so');
fetch({ total => 'none', duplicate => { sourced_id => $first } });
is($roster->sql($proof), 't|empty page|1', 'an id twice on one page moves nothing');
fetch({ duplicate => { sourced_id => $first, at => 'end' } });
is($roster->sql($proof), 't|total|0', '... and all ids of a total are all');

# A proxy

$roster->set(proxy => 'http://127.0.0.1:1');
like($roster->error("SELECT roster_fetch('mesa')"),
	qr/ERROR:  08006: .*the proxy of the database server could not be reached.*HINT: .*minga_roster\.proxy/s,
	'a proxy that does not answer');
like($roster->log_contents,
	qr/could not be reached through the proxy of minga_roster\.proxy\n.*DETAIL:  libcurl says: .*127\.0\.0\.1\b/,
	'... which the log tells');
$roster->set(proxy => '');

# Pages too large to have several of them

$roster->sql("SELECT roster_configure('mesa', page_size => 100)");
$run = start_and_wait_for(1,
	{ padding => { path => 'students', megabytes => 10 }, hang => { path => 'students.*offset=300&' } });
$server->wait_for(sub { grep { $_ == 300 } offsets() });
SKIP:
{
	skip 'needs /proc', 1 unless -r '/proc/self/status';
	my %size = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } split /\n/,
		slurp_file('/proc/' . newest('pid') . '/status');
	cmp_ok($size{VmHWM} - $size{RssFile} - $size{RssShmem}, '<', 64 * 1024,
		'private memory stays below 64 MB with pages of 10 MB');
}
$server->clear_faults;
is(wait_for_end($run), 'succeeded', '... which are read fewer at a time');

# A server that does not manage a whole page

$roster->sql("SELECT roster_configure('mesa', page_size => 120)");
is(fetch({ status => { path => 'students.*limit=120&', code => 504, times => 1 } }), 'succeeded',
	'a page that takes the SIS too long');
is(join(', ', map { "$_->{query}{limit} $_->{query}{offset}" } (asked())[0 .. 4]),
	'120 0, 60 0, 60 60, 60 120, 120 180',
	'... is asked for by halves, and later whole again');
is(newest('retries'), '1', '... one retry');
is($roster->sql("SELECT complete, proof FROM collections WHERE run = (SELECT max(run) FROM runs)"), 't|total',
	'... and the list is complete');
is(fetch({ status => { path => 'students.*limit=120&offset=120&', code => 504, times => 1 } }), 'succeeded',
	'in the middle too');
is(join(', ', map { "$_->{query}{limit} $_->{query}{offset}" } grep { $_->{query}{limit} == 60 } asked()),
	'60 120, 60 180, 60 240', '... from the rows received');

$roster->set(request_timeout => '5s');
is(fetch({ hang => { path => 'students.*limit=120&', times => 1 } }), 'succeeded', 'a page that never comes');
is(join(', ', map { "$_->{query}{limit} $_->{query}{offset}" } (asked())[0 .. 1]), '120 0, 60 0',
	'... is asked for by halves too');
$roster->set(request_timeout => '5min');

# Permissions that change

my $changed = { path => 'students.*offset=120&', value => '2' };
is(fetch({ revision => [ { %$changed, times => 1 }, { path => '', value => '1' } ] }), 'succeeded',
	'a revision of permissions that changes in the middle');
is(scalar(grep { $_ == 0 } offsets()), 2, '... starts the reading over');
is($roster->sql("SELECT count(*) = count(DISTINCT sourced_id) FROM staged_users"), 't', '... into an empty stage');
is(newest('rows_staged'), $roster->sql('SELECT count(*) FROM staged_users'), '... and the run counts what is in it');
like(fetch_error({ revision => [ $changed, { path => '', value => '1' } ] }),
	qr/ERROR:  55000: .*"mesa" kept changing.*DETAIL: .*x-perm-rev.*HINT: /s,
	'one that keeps changing is an error');
is(scalar(grep { $_ == 0 } offsets()), 4, '... after three new readings');

# The end of an evening

$server->faults({ hang => { path => 'students' } });
$server->clear_log;
$roster->set(test_clock => '2026-09-02 05:59:57-06');
$roster->sql("SELECT roster_enable('mesa'); SELECT roster_run_due()");
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE trigger = 'evening' AND finished_at IS NOT NULL");
$server->clear_faults;
is($roster->sql("SELECT state, sqlstate, error, detail FROM runs WHERE trigger = 'evening'"),
	'failed|55000|the evening ended before the roster was read|The evening is 2026-09-01 19:00 to 2026-09-02 06:00 '
	  . '(America/Denver), and the SIS is not asked outside of it.',
	'a run of the evening ends with it, and says so');
like($roster->sql("SELECT hint FROM runs WHERE trigger = 'evening'"), qr/roster_configure\(/, '... and what to do');
is($roster->sql('SELECT count(*) FROM public.people'), '0', '... no one was changed');

done_testing();
