# Pages that lie: caps, totals, repeats, rows that move, ends that are none, envelopes of another name.

use strict;
use warnings;

use HostileNight;
use OneRosterServer;
use RosterCluster;
use Test::More;

# The guard would hold much of what must not even be thought absent: it stands aside.
my $night = HostileNight->new('pages', guard_percent => 100);
my @students = $night->students;
my $count = @students;
my $last = $students[-1];

cmp_ok($count, '>', 45, 'students on several pages of ten');
cmp_ok($count % 10, '>', 0, '... the last of which is short');

# Caps and totals
$night->falls('pages capped in silence', { page_cap => 7 }, collection => 'students|t|total');
$night->falls('pages capped in silence, without a total', { page_cap => 7, total => 'none' },
	collection => 'students|t|empty page');
$night->falls('no total', { total => 'none' }, collection => 'students|t|empty page');
$night->falls('a wrong total', { total => 'wrong' }, collection => 'students|f|weak');
$night->falls('a wrong total, and someone missing', { total => 'wrong', remove_rows => [ @students[3, 4] ] },
	collection => 'students|f|weak');
$night->falls('a total that changes', { total => { mode => 'changing', path => 'students' } }, sqlstate => '08P01',
	error => qr/^the number of students changed while they were read$/,
	detail => qr/^X-Total-Count was \d+ and became \d+ at offset 10\.$/, hint => qr/ask the SIS vendor/);

# Full pages
$night->roster->sql("SELECT roster_configure('mesa', page_size => $count)");
$night->falls('the last page is exactly full', {}, collection => 'students|t|total');
$night->falls('... without a total', { total => 'none' }, collection => 'students|t|empty page');
$night->falls('offsets rounded to whole pages', { round_offset => { path => 'students' }, total => 'none' },
	collection => 'students|t|empty page');
$night->falls('offsets within a page refused',
	{ status => { path => 'students.*offset=' . ($count - 1) . '&', code => 400 }, total => 'none' },
	collection => 'students|t|empty page');
$night->roster->sql("SELECT roster_configure('mesa', page_size => 10)");
$night->falls('offsets rounded to whole pages, of which there are several',
	{ round_offset => { path => 'students' }, total => 'none' },
	collection => 'students|f|weak');
$night->falls('... with a total', { round_offset => { path => 'students' } }, collection => 'students|t|total');
$night->falls('offsets within a page refused, and a page behind them',
	{ status => { path => 'students.*offset=[1-4]?9&', code => 400 }, total => 'none' },
	collection => 'students|f|weak');

# Pages and rows in the wrong place
$night->falls('the offset is ignored', { repeat_page => { path => 'students' } }, sqlstate => '08P01',
	error => qr/^the SIS sent the same page of students twice$/,
	detail => qr/^The page at offset 10 holds the same 10 rows as one before it\.$/,
	hint => qr/ignores the offset.*SIS vendor/);
$night->falls('... without a total', { repeat_page => { path => 'students' }, total => 'none' }, sqlstate => '08P01',
	error => qr/same page of students twice/);
$night->falls('a page comes twice', { repeat_page => { path => 'students.*offset=30&', times => 1 } },
	sqlstate => '08P01',
	error => qr/same page of students twice/, detail => qr/at offset 30 /);
$night->falls('rows move toward the end between pages', { moving => { path => 'students', by => -1 } },
	collection => 'students|t|total');
$night->falls('rows move toward the beginning between pages', { moving => { path => 'students', by => 1 } },
	collection => 'students|f|weak');
$night->falls('... without a total: no one comes twice, and someone is passed over',
	{ moving => { path => 'students', by => 1 }, total => 'none' }, collection => 'students|f|weak');
my $behind = { path => 'students.*offset=(3[2-9]|[4-9].)&', by => 1 };
$night->falls('... behind a page shorter than asked for', { short_page => { path => 'students.*offset=27&', rows => 5 },
	moving => $behind, total => 'none' },
	collection => 'students|f|weak');
$night->falls('an order of its own', { ignore_sort => {} }, collection => 'students|t|total');
$night->falls('duplicates within a page', { duplicate => { sourced_id => $students[3] } },
	collection => 'students|t|total');
$night->falls('duplicates on other pages',
	{ duplicate => [ { sourced_id => $students[3], at => 'end' }, { sourced_id => $students[4], at => 'end' } ] },
	collection => 'students|t|total');
$night->falls('duplicates in the place of others', { duplicate => { sourced_id => $students[3] }, total => 'wrong' },
	collection => 'students|f|weak');

# Ends that are none
$night->falls('empty from the middle on', { empty => { path => 'students.*offset=30&', total => $count } },
	collection => 'students|f|weak');
$night->falls('empty from the beginning on', { empty => { path => 'students', total => $count } },
	collection => 'students|f|weak');
$night->falls('an empty 200 without a total', { empty => { path => 'students' }, total => 'none' },
	collection => 'students|t|empty page');
$night->falls('{} as the last page', { empty_object_at_end => 1, total => 'none' }, collection => 'students|f|weak');
$night->falls('{} in the middle', { missing_envelope => { path => 'students.*offset=27&' }, total => 'none' },
	collection => 'students|f|weak');
$night->falls('{} in the middle, with a total', { missing_envelope => { path => 'students.*offset=30&' } },
	collection => 'students|t|total');
$night->falls('{} from the middle on, with a total', { missing_envelope => { path => 'students.*offset=(29|3.|4.)&' } },
	collection => 'students|f|weak');
$night->falls('null for a list in the middle, without a total',
	{ null_list => { path => 'students.*offset=27&' }, total => 'none' }, collection => 'students|f|weak');
$night->falls('null for a list behind a short page',
	{ null_list => { path => "students.*offset=$count&" }, total => 'none' }, collection => 'students|f|weak');
$night->falls('null for a list at once, without a total', { null_list => { path => 'students' }, total => 'none' },
	collection => 'students|f|weak');
$night->falls('404 in the middle', { status => { path => 'students.*offset=30&', code => 404 } },
	collection => 'students|t|total');
$night->falls('404 from the middle on', { status => { path => 'students.*offset=(29|3.|4.)&', code => 404 } },
	collection => 'students|f|weak');
$night->falls('403 in the middle', { status => { path => 'students.*offset=30&', code => 403 } }, sqlstate => '42501',
	error => qr/does not share this list/,
	detail => qr/answered 403 for .*students from offset 30; the SIS says: switched on by a test$/,
	hint => qr/Ask the school/);

# A server that filters each page after it was cut: one administrator on the first page, behind others
my @aides = map { { sourcedId => sprintf('00-%02d', $_), role => 'aide', givenName => 'A',
	familyName => 'B' } } 0 .. 20;
$aides[5]{role} = 'administrator';
$night->falls('pages that are filtered after they were cut, without a total',
	{ status => { path => 'schools/.*administrators', code => 404 }, filter_after_paging => 1, add_rows => \@aides,
	total => 'none' }, collection => 'administrators|f|weak');

# Envelopes
$night->falls('no envelope', { missing_envelope => { path => 'students' } }, sqlstate => '08P01',
	error => qr/^the answer of the SIS to the request for students holds no list$/, hint => qr/SIS vendor/);
$night->falls('an envelope of the path\'s name', { rename_envelope => { path => 'students', key => 'students' } },
	collection => 'students|t|total');
$night->falls('an envelope of a name of its own', { rename_envelope => { path => 'students', key => 'people' } },
	collection => 'students|t|total');
$night->falls('an empty list of something else in the middle', { total => 'none',
		empty => { path => 'students.*offset=2[78]&' },
		rename_envelope => { path => 'students.*offset=2[78]&', key => 'warnings' } },
	sqlstate => '08P01', error => qr/request for students holds no list$/, detail => qr/its keys are "warnings"/);
$night->falls('a list of something else from the beginning on', { total => 'none',
		rename_envelope => { path => 'students', key => 'errors' },
		no_sourced_id => [ map { { path => 'students', index => $_ } } 0 .. $count ] },
	sqlstate => '08P01', error => qr/request for students holds no list$/, detail => qr/its keys are "errors"/);
$night->falls('the same rows without ids again and again', { total => 'none',
		repeat_page => { path => 'students' },
		no_sourced_id => [ map { { path => 'students', index => $_ } } 0 .. $count ] },
	sqlstate => '08P01', error => qr/^the SIS sends students without ids$/,
	detail => qr/last 100 pages, up to offset 1000,/, hint => qr/SIS vendor/);
$night->falls('a failure in a 200', { failure_status => { path => 'students.*offset=20&' } }, sqlstate => '08P01',
	error => qr/^the SIS reported a failure to the request for students$/, detail => qr/the roster could not be read/,
	hint => qr/SIS vendor/);
$night->falls('rows without a sourcedId', { no_sourced_id => { path => 'students', index => 12 } },
	collection => 'students|f|weak');
$night->falls('... without a total', { no_sourced_id => { path => 'students', index => 12 }, total => 'none' },
	collection => 'students|f|empty page');

# Several at once
$night->falls('a cap, no total, an order of its own, duplicates and {} at the end',
	{ page_cap => 7, total => 'none', ignore_sort => {}, duplicate => { sourced_id => $last, at => 'end' },
	empty_object_at_end => 1 }, collection => 'students|f|weak');

done_testing();
