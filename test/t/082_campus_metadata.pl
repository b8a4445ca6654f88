# What Infinite Campus 1.2 adds to OneRoster: the id that someone had in 1.1, by which a move to 1.2 is exact, and who
# is whose guardian, which chooses the primary contact. Nothing else of it is kept, and whatever stands there, no row is
# lost for it.

use strict;
use warnings;

use JSON::PP ();
use OneRosterServer;
use RosterCluster;
use Test::More;

my $json = JSON::PP->new->utf8;
my $server = OneRosterServer->new(people => 200, seed => 23);
my $roster = RosterCluster->new('campus_metadata');

sub everyone { return $roster->sql("SELECT count(*) || ' ' || md5(string_agg((to_jsonb(p) - 'updated_at')::text, '' "
	  . "ORDER BY person_id)) FROM people p"); }
sub newest { my ($columns) = @_; return $roster->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1"); }
sub asked { return join ' ', map { $_->{query}{fields} // () } $server->log; }

# OneRoster 1.1

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_toggle('mesa', auto_update => true, archive => true)");
$roster->sql("SELECT roster_configure('mesa', parent_contact => true, guard_percent => 100, guard_floor => 100000, "
	  . "guard_update_percent => 100)");
$server->clear_log;
$roster->sql("SELECT roster_sync('mesa')");
unlike(asked(), qr/metadata/, 'no metadata is asked for in 1.1');
my $links = $roster->sql('SELECT count(*) FROM links');
my $before = everyone();
cmp_ok($links, '>', 150, 'people are linked');

# Keys of some are gone or mixed up: the former id tells them all the same.
my @students = split /\n/,
	$roster->sql("SELECT sourced_id FROM staged_users WHERE role = 'student' "
	  . "AND coalesce(status, 'active') = 'active' ORDER BY sourced_id LIMIT 6");
my ($one, $two) = map { $roster->sql("SELECT identifier FROM staged_users WHERE sourced_id = '$_'") } @students[ 0, 1 ];
my %bent = (override => {
	$students[0] => { identifier => $two },
	$students[1] => { identifier => $one },
	$students[2] => { identifier => '', email => '', username => 'nobody-knows' } });

# OneRoster 1.2

$roster->sql("SELECT roster_configure('mesa', sis => 'infinite_campus_1.2', url => '" . $server->origin
	  . "/campus/api/oneroster/v1p2/minga')");
$roster->sql("SELECT roster_set_secret('mesa', '" . $server->client_secret . "')");
$server->faults({ campus_1_2 => 1, %bent });
$server->clear_log;
my $run = $roster->sql("SELECT run FROM roster_sync('mesa')");
is(scalar(grep { $_->{query}{fields} && $_->{query}{fields} !~ /(^|,)metadata$/ } $server->log), 0,
	'metadata is asked for in 1.2');
is(everyone(), $before, 'on the night of the move no one is changed');
is($roster->sql("SELECT count(*) FROM changes WHERE run = $run AND action = 'create'"), '0', '... or would be created');
is($roster->sql("SELECT string_agg(DISTINCT rule || ' ' || state, ', ') FROM changes WHERE run = $run "
	  . "AND action = 'link'"), 'former id held', 'all are found by their former id, and are held');
is($roster->sql("SELECT count(*) FROM changes c JOIN links l ON l.person_id = c.person_id WHERE c.run = $run "
	  . "AND c.action = 'link' AND 'p-' || l.sourced_id = ANY (c.sourced_ids)"),
	$roster->sql("SELECT sum(cardinality(sourced_ids)) FROM changes WHERE run = $run AND action = 'link'"),
	'... each the person of that id');
my $all_told = 'Many IDs changed in the SIS: (\d+) of \d+ people have a new one, '
  . 'and the SIS sends the former ID of \1\.';
like($roster->sql("SELECT DISTINCT state_reason FROM changes WHERE run = $run AND action = 'link' "
	  . "AND category = 'student'"),
	qr/^$all_told$/,
	'... which is told');
like($roster->sql("SELECT roster_report($run)") =~ s/\s+/ /gr,
	qr/found by their former IDs, which the SIS sends\. This is exact/, '... in the report too');
is($roster->sql("SELECT count(*) FROM staged_users s WHERE s::text ~ 'private'"), '0',
	'nothing else of metadata is staged');

cmp_ok($roster->sql("SELECT roster_relink($run)"), '>', 150, 'the links are moved');
is(everyone(), $before, '... which changes no one');
is($roster->sql("SELECT state, created FROM roster_sync('mesa')"), 'succeeded|0', 'the next sync goes on');
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id LIKE 'p-%' AND missed_since IS NULL"), $links,
	'... with each under the new id');
is($roster->sql("SELECT string_agg(p.identifier, ' ' ORDER BY l.sourced_id) FROM links l "
	  . "JOIN people p ON p.person_id::text = l.person_id WHERE l.sourced_id IN ('p-$students[0]', 'p-$students[1]')"),
	"$two $one", '... and a number that is another\'s now is written to the one who has it');

# Who is whose guardian

my $rules = $roster->sql("SELECT string_agg(DISTINCT p.parent_rule, ', ' ORDER BY p.parent_rule) FROM people p "
	  . "WHERE p.role = 'student' AND p.parent_rule IS NOT NULL");
is($rules, 'guardian by the SIS: mother',
	'the guardian that the SIS names is the primary contact, and the rule says so');
is($roster->sql(
	"SELECT count(*) FROM staged_users s JOIN links l ON l.sourced_id = s.sourced_id
	JOIN people p ON p.person_id::text = l.person_id
	JOIN staged_users g ON g.sourced_id = s.agent_ids[cardinality(s.agent_ids)]
	WHERE s.role = 'student' AND cardinality(s.agent_ids) > 1 AND p.parent_name IS DISTINCT
	FROM concat_ws(' ', g.given_name, g.family_name)"), '0', '... the last of the agents here, not the first');
cmp_ok($roster->sql("SELECT count(*) FROM staged_users WHERE cardinality(agent_ids) > 1"), '>', 5, '... of several');
is($roster->sql("SELECT created + linked + updated + restored + archived + held FROM roster_sync('mesa')"), '0',
	'one sync more does nothing');
$server->clear_faults;

# Whatever stands there

my $true = JSON::PP::true;
my $false = JSON::PP::false;
sub staged
{
	my (@metadata) = @_;
	my $n = 0;
	$server->faults(
		{ add_rows =>
			[ map { { sourcedId => sprintf('x%03d', $n++), status => 'active', role => 'student', givenName => 'A',
			familyName => 'B',
		orgs => [ { sourcedId => $server->school_id } ], metadata => $_ } } @metadata ] });
	is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'a fetch');
	$server->clear_faults;
	return [ split /\n/,
		$roster->sql(
		"SELECT concat_ws('|', coalesce(legacy_id, '-'), coalesce((SELECT string_agg(
			concat_ws(' ', e ->> 'id', coalesce(e ->> 'guardian', '-'), coalesce(e ->> 'type', '-')), ', ' ORDER BY nth)
		FROM jsonb_array_elements(relationships) WITH ORDINALITY AS r (e, nth)), '-'), damaged) FROM staged_users
		WHERE sourced_id ~ '^x[0-9]{3}\$' ORDER BY sourced_id") ];
}

is_deeply(staged(undef, [], 7, 'x', $true, {}, [ { 'ic.legacySourcedId' => '1' } ],
	{ other => { 'ic.legacySourcedId' => '1' } }), [ ('-|-|f') x 8 ], 'no metadata, or none that is known');
is_deeply(
	staged({ 'ic.legacySourcedId' => '1234' }, { 'ic.legacysourceId' => 1234 }, { 'IC.LEGACYSOURCEDID' => ' 1234 ' },
		{ ic => { legacySourceId => '1234' } },
		{ Ic => { LegacySourcedId => '1234', deeper => { legacySourcedId => '9' } } },
		{ ic_legacySourcedId => '1234' }, { 'ic.legacySourcedId' => '1234', ic => { legacySourcedId => 1234 } }),
	[ ('1234|-|f') x 7 ], 'the former id in each spelling');
is_deeply(
	staged({ 'ic.legacySourcedId' => '' }, { 'ic.legacySourcedId' => undef }, { 'ic.legacySourcedId' => ['1'] },
		{ 'ic.legacySourcedId' => { id => '1' } }, { 'ic.legacySourcedId' => $true },
		{ 'ic.legacySourcedId' => '1', 'ic.legacysourceId' => '2' }, { 'ic.legacySourcedId' => 'x' x 2000 },
		{ ic => ['1'] }),
	[ ('-|-|f') x 8 ], '... empty, of another type, said twice in two ways, too long');
is_deeply(
	staged(
		{ ic_relationships => [ { sourcedId => 'g1', guardian => $true, relationshipType => 'Mother' },
			{ sourcedId => 'g2', guardian => $false, relationshipType => 'Stepfather' } ] },
		{ ic_relationships => [ map { { sourcedId => "g$_->[0]", guardian => $_->[1] } } [ 1, 'true' ], [ 2, '1' ],
		[ 3, 1 ], [ 4, 'False' ], [ 5, '0' ], [ 6, 'perhaps' ], [ 7, undef ], [ 8, [$true] ], [ 9, ' Yes ' ] ] },
		{ IC_Relationships => { SourcedID => 17, Guardian => $true } },
		{ ic => { relationships => [ { sourcedId => 'g1' } ] } },
		{ ic_relationships => [ { sourcedId => 'g1', guardian => $true, relationshipType => { a => 'x' },
		more => { sourcedId => 'no', guardian => $false } } ] },
		{ ic_relationships => [ { sourcedId => 'g1', relationshipType => "Mo\x{202e}th\ner " . 'x' x 200 } ] }),
	[
		'-|g1 true Mother, g2 false Stepfather|f',
			'-|g1 true -, g2 true -, g3 true -, g4 false -, g5 false -, g6 - -, g7 - -, g8 - -, g9 true -|f',
			'-|17 true -|f', '-|g1 - -|f', '-|g1 true -|f',
		'-|g1 - Moth er ' . 'x' x 52 . '|f'
	],
	'relationships');
is_deeply(
	staged({ ic_relationships => undef }, { ic_relationships => 'x' }, { ic_relationships => [] },
		{ ic_relationships => {} },
		{ ic_relationships => [ undef, 1, 'g', [], {}, [ { sourcedId => 'g' } ], { guardian => $true },
		{ sourcedId => ['g'] } ] }),
	[ ('-|-|f') x 5 ], '... of other shapes, or of no one');
staged({ ic_relationships => [ map { { sourcedId => "g$_" } } 1 .. 3000 ], password => 'hush' });
is($roster->sql("SELECT jsonb_array_length(relationships), relationships::text ~ 'hush' FROM staged_users "
	  . "WHERE sourced_id = 'x000'"), '1000|f', '... too many: the first ones');

# Another SIS that has metadata keeps it to itself.
$roster->connect_school('plain', $server, sis => 'oneroster_1.2', url => $server->origin, app_name => undef,
	token_url => $server->plain_token_url);
$server->faults({ campus_1_2 => 1 });
$server->clear_log;
$roster->sql("SELECT roster_fetch('plain')");
unlike(asked(), qr/metadata/, 'a plain server of 1.2 is not asked for metadata');
is($roster->sql("SELECT count(legacy_id), count(relationships) FROM staged_users WHERE connection = 'plain'"), '0|0',
	'... and what it sends unasked is not staged');

$roster->stop;
$server->stop;
done_testing();
