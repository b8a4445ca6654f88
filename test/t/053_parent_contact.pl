# Parent contacts through the worker: rows as a SIS sends them, who is chosen of them, what a refused list does, and a
# contact that goes away.

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 60, seed => 7);
my $roster = RosterCluster->new('parent_contact');

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_toggle('mesa', auto_update => true); SELECT roster_configure('mesa', parent_contact => "
	  . "true)");

sub sync {
	return $roster->sql("SELECT state, created + linked + updated + restored + archived FROM roster_sync('mesa')"); }
sub newest { return $roster->sql('SELECT max(run) FROM runs'); }
sub contacts_of
{
	my $ids = join ', ', map { "'$_'" } @_;
	return $roster->sql("SELECT l.sourced_id || ' ' || coalesce(concat_ws(', ', p.parent_name, p.parent_email, "
		  . "p.parent_phone, p.parent_rule), '') "
		  . "FROM links l JOIN public.people p ON p.person_id::text = l.person_id WHERE l.sourced_id IN ($ids) "
		  . "ORDER BY l.sourced_id");
}
sub agents { return [ map { { href => "https://sis.example/users/$_", sourcedId => $_, type => 'user' } } @_ ]; }
sub contact { my ($given, $family, %values) = @_;
return { givenName => $given, familyName => $family, email => '', phone => '', sms => '', %values }; }

is(sync(), 'succeeded|' . $roster->sql('SELECT count(*) FROM public.people'), 'a first sync succeeds');
is(sync(), 'succeeded|0', 'a second one has nothing to do');
my @students = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'student' "
	  . "AND coalesce(status, 'active') = 'active' AND enabled ORDER BY sourced_id");
my @guardians = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'guardian' ORDER BY sourced_id");
my ($relative) = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'relative' ORDER BY sourced_id");
cmp_ok(scalar @students, '>', 20, 'there are students with contacts');
cmp_ok(scalar @guardians, '>', 6, '... and there are guardians');

# One of seven, six of one, no one's; one of another school; cycles, and who is not there
my %bent = (
	$guardians[0] => contact('Gil', 'Seven', phone => '1', orgs => [ { sourcedId => 'another-school', type => 'org' } ],
		agents => agents(@students[0 .. 6])),
	(map { $guardians[$_] => contact('Gus', "No$_", email => 'home@x.example',
	agents => agents($guardians[ $_ - 1 ], $students[7])) } 1 .. 6),
	$relative => contact('Rio', 'One'),
	(map { $students[$_] => { agents => agents($guardians[0]), email => 'home@x.example' } } 0 .. 6),
	$students[7] => { agents => agents($relative, @guardians[ 4, 2, 1, 3, 5, 6 ]) },
	$students[8] => { agents => agents($students[8], 'nobody', $guardians[1], $guardians[1]) },
	$students[9] => { agents => agents($relative) },
	$students[10] => { agents => agents($guardians[0]) },
	$students[11] => { agents => agents($guardians[0]) });
$server->faults({ override => \%bent });
like(sync(), qr/^succeeded\|/, 'a sync of bent rows succeeds');
is(contacts_of(@students[ 0 .. 6 ]),
	join("\n", map { "$_ Gil Seven, 1, guardian: only guardian or parent" } @students[ 0 .. 6 ]),
	'a guardian of seven students, of another school too, is the contact of each');
is(contacts_of($students[7]), "$students[7] Gus No4, home\@x.example, guardian: first guardian or parent in the order "
	  . "of agents", 'the first of six guardians, whose address others have too');
is(contacts_of($students[8]), "$students[8] Gus No1, home\@x.example, guardian: only guardian or parent",
	'a student who names their own id and an unknown one has the contact who is there');
is(contacts_of($students[9]), "$students[9] Rio One, relative: no guardian or parent; only relative",
	'a relative is the contact when there is no one else');
is($roster->sql("SELECT count(*) FROM staged_users WHERE role IN ('guardian', 'relative') AND outcome IS DISTINCT "
	  . "FROM 'contact'"), '0', 'each contact has the outcome contact');
is($roster->sql('SELECT sum(count) = (SELECT count(*) FROM staged_users) FROM run_counts WHERE run = ' . newest()), 't',
	'... and the counts add up');
is(sync(), 'succeeded|0', 'nothing to do the second time');
$bent{ $guardians[0] }{phone} = '2';
$server->faults({ override => \%bent });
is(sync(), 'succeeded|9', 'a new phone of a contact is an update of each of the students');
is(contacts_of($students[3]), "$students[3] Gil Seven, 2, guardian: only guardian or parent", '... with the new phone');

# A contact who goes away stays, until the setting says otherwise
my $before = contacts_of(@students);
$bent{ $students[0] }{agents} = [];
$bent{ $students[1] }{agents} = agents('nobody');
$bent{ $students[2] }{agents} = [ { href => 'https://sis.example/users/17', type => 'user' } ];
$bent{ $students[9] }{agents} = undef;
$bent{ $students[10] }{agents} = agents($guardians[7]);
$bent{ $guardians[7] } = { status => 'tobedeleted' };
$server->faults({ override => \%bent });
is(sync(), 'succeeded|0', 'contacts who are gone are no change');
is(contacts_of(@students), $before, '... and stay');
$roster->sql("SELECT roster_configure('mesa', clear_parent_contact => true)");
$server->faults({ override => \%bent, status => { path => 'guardian', code => 403 } });
is(sync(), 'succeeded|0', 'a list that was refused clears no one');
is(contacts_of(@students), $before, '... and changes no one');
is($roster->sql("SELECT complete FROM collections WHERE collection = 'guardians' AND run = " . newest()), 'f',
	'... the list was not read');
like($roster->sql('SELECT roster_report(' . newest() . ')'),
	qr/share\s+its\s+list\s+of\s+guardians\b.*Parent\s+contacts\s+may\s+be\s+missing\./s,
	'... and the report tells it');
$server->clear_faults;
$server->faults({ override => \%bent });
is($roster->sql("SELECT string_agg(sourced_ids[1] || ' ' || reason, E'\\n' ORDER BY sourced_ids) "
	  . "FROM roster_preview('mesa')"),
	join("\n", map { "$_ The roster no longer names a parent contact for the student." } @students[ 0, 9, 10 ]),
	'a preview shows whose contact is gone, and why');
is(contacts_of(@students), $before, '... and clears no one');
is(sync(), 'succeeded|3', 'a sync clears them');
my $cleared = newest();
is(contacts_of(@students[ 0, 1, 2, 9, 10 ]), join("\n", "$students[0] ",
		(map { "$_ Gil Seven, 2, guardian: only guardian or parent" } @students[ 1, 2 ]), "$students[9] ",
		"$students[10] "),
	'... and not where someone is named whom no one knows, or without an id');
is(sync(), 'succeeded|0', 'once');
is($roster->sql("SELECT state, updated FROM roster_undo($cleared)"), 'succeeded|3', 'undo');
is(contacts_of(@students), $before, '... brings them back as they were');

$roster->stop;
$server->stop;
done_testing();
