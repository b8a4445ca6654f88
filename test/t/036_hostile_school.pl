# Schools that are not what they were: gone, halved, emptied; and the night of the rollover, with every grade and every
# id new.

use strict;
use warnings;

use HostileNight;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $night = HostileNight->new('school');
my ($roster, $server) = ($night->roster, $night->server);
my $school = $server->school_id;
my @listed = $night->students;
my @students = split /\n/, $roster->sql("SELECT sourced_id FROM links WHERE category = 'student' ORDER BY sourced_id");
my @half = @students[ grep { $_ % 2 == 0 } 0 .. $#students ];
my @quarter = @students[ grep { $_ % 4 == 1 } 0 .. $#students ];

# Gone
$night->falls('the school is missing', { hide_school => 1 }, sqlstate => '22023',
	error => qr/^school "$school" is not among the schools that the key can see$/, detail => qr/"Red Mountain High" \(/,
	hint => qr/roster_configure/);
$night->falls('every school is missing', { empty => { path => '/(schools|orgs)\?' } }, sqlstate => '22023',
	error => qr/^school "$school" is not among the schools/, hint => qr/SIS administrator|roster_configure/);

# Halved and emptied: truthful, for all that can be told, so the guard holds it
my $report = sub { like($roster->sql('SELECT roster_report((SELECT max(run) FROM runs))'), qr/\b$_[0]\b/,
	'... and the report says so') };
$night->falls('a quarter of the students is missing', { remove_rows => \@quarter }, collection => 'students|t|total',
	held => scalar @quarter, after => sub { $report->(scalar @quarter) });
$night->falls('half of the students is missing', { remove_rows => \@half }, collection => 'students|t|total',
	held => scalar @half, after => sub { $report->(scalar @half) });
$roster->sql("SELECT roster_configure('mesa', guard_percent => 100)");
$night->falls('... with a guard that lets all go, but no half', { remove_rows => \@half },
	collection => 'students|t|total', held => scalar @half);
$roster->sql("SELECT roster_configure('mesa', guard_percent => 10)");
$night->falls('all students are missing', { empty => { path => 'students', total => 0 } },
	collection => 'students|t|total');
$night->falls('everyone is missing', { empty => { path => 'students|teachers|administrators', total => 0 } },
	collection => 'students|t|total');
$night->falls('everyone is missing, without a total', { empty => { path => 'students|teachers|administrators' },
	total => 'none' }, collection => 'students|t|empty page');
$night->falls('students are sent for every list',
	{ override => { map { $_ => { role => 'student' } } split /\n/,
	$roster->sql("SELECT sourced_id FROM links WHERE category <> 'student'") } });
$night->falls('all students are of another school',
	{ override => { map { $_ => { orgs => [ { sourcedId => 'another' } ] } } @listed } });
$night->falls('... but a few', { override => { map { $_ => { orgs => [ { sourcedId => 'another' } ] } } @students } },
	held => scalar @students);
$night->falls('all students are to be deleted', { override => { map { $_ => { status => 'tobedeleted' } } @students } },
	held => scalar @students);
$night->falls('all students are inactive', { override => { map { $_ => { status => 'inactive' } } @students } },
	collection => 'students|t|total');

# Rollover: the same people under new ids, a grade further on. All wait until a person has looked, and are then who they
# were.
sub relinks
{
	my ($name) = @_;

	is($night->sync, 'succeeded', $name);
	is($night->newest('created, archived, updated'), '0|0|0', '... no one is made, archived or changed');
	is($night->people, $night->{people}, '... everyone is as before');
	my $run = $night->newest('run');
	like($roster->sql("SELECT roster_report($run)"), qr/IDs? changed in the SIS.*roster_relink\($run\)/s,
		'... and the report says what to do');
	cmp_ok($roster->sql("SELECT roster_relink($run)"), '>', @students / 2, '... once the links are moved');
	is($night->sync, 'succeeded', '... the next sync');
	is($night->newest('created, archived, held'), '0|0|0', '... creates and archives no one');
	is($roster->sql("SELECT count(*) FROM people p JOIN staged_users s ON s.identifier = p.identifier "
		  . "AND s.collection = 'students' WHERE s.grade <> p.grade"),
		'0', '... and the grades are those of the SIS');
	return;
}

# Out of season everyone's new grade waits for approval too (test/sql/guard_updates.sql).
$roster->sql("SELECT roster_configure('mesa', guard_update_percent => 100)");
$server->faults({ rollover => { prefix => 'n-' } });
relinks('rollover night');
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id !~ '^n-'"), '0', 'no link of the old ids is left');
$night->sync;
is($night->newest('created, linked, updated, archived, held'), '0|0|0|0|0', 'the night after finds nothing to do');
$night->{people} = $night->people;
$server->clear_faults;
relinks('the old ids again');

# Rollover without anything that tells who is who: no archive of a category of more than three before someone has
# looked
$server->faults({ rollover => { prefix => 'n-', strangers => 1 } });
is($night->sync, 'succeeded', 'rollover night among strangers');
cmp_ok($night->newest('held'), '>=', scalar @students, '... who was there is held');
is($roster->sql("SELECT count(*) FROM changes WHERE run = (SELECT max(run) FROM runs) AND action = 'archive' "
	  . "AND state = 'applied' AND category IN ('student', 'teacher')"), '0', '... not archived');
is($roster->sql("SELECT count(*) FROM people p JOIN links l ON l.person_id = p.person_id::text "
	  . "WHERE p.archived_at IS NOT NULL AND l.category IN ('student', 'teacher')"), '0', '... and still active');
$server->clear_faults;
is($night->sync, 'succeeded', 'the old ids are back');
is($roster->sql("SELECT count(*) FROM people WHERE archived_at IS NOT NULL"), '0', '... and no one is archived');

done_testing();
