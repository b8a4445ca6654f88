# What is asked of a SIS and what the stage holds, by toggles and columns; names of people who are not rostered, which
# only the run can compare; a stage that is emptied after each run, and what works without it; characters that no one
# sees, on their way to people, mail and logs.

use strict;
use warnings;

use Encode qw(decode);
use OneRosterServer;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 120, seed => 31);
my $roster = RosterCluster->new('minimize');
my $school = $server->school_id;
my $hidden = '[\U00040000-\U0010FFFF]';

$roster->connect_school('mesa', $server);
$roster->sql("SELECT roster_configure('mesa', guard_percent => 100, guard_update_percent => 100)");

sub toggle
{
	my (%on) = @_;
	my $archive = delete $on{archive} // 'false';

	$roster->sql("SELECT roster_toggle('mesa', roster => false, archive => $archive)");
	$roster->sql("SELECT roster_toggle('mesa', '$_', roster => true)") foreach grep { $on{$_} } sort keys %on;
	return;
}

sub newest { my ($columns) = @_; return $roster->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1"); }
sub sync { return $roster->sql("SELECT state FROM roster_sync('mesa')"); }

# A user as the server would have one.
sub user
{
	my ($id, $role, %fields) = @_;
	return {
		sourcedId => $id, status => 'active', dateLastModified => '2026-08-01T00:00:00.000Z', enabledUser => 'true',
		role => $role, username => "user-$id", identifier => "number-$id", email => "$id\@mesa.example",
		givenName => 'Ana', familyName => 'Diaz', orgs => [ { sourcedId => $school, type => 'org', href => 'x' } ],
		%fields };
}

# What is asked for

# The fields that a fetch asks for of each list.
sub asked
{
	my %asked;

	$server->clear_log;
	$roster->sql("SELECT roster_fetch('mesa')");
	$asked{ $_->{path} =~ s{.*/}{}r }{ $_->{query}{fields} } = 1 foreach grep { $_->{query}{fields} } $server->log;
	return { map { $_ => join ' ', sort keys %{ $asked{$_} } } keys %asked };
}

my $who = 'sourcedId,status,dateLastModified,enabledUser,givenName,familyName';
my $keys = 'role,username,identifier,email';
my $whole = "$who,middleName,$keys,sms,phone,grades,orgs";
my %everyone = (student => 1, teacher => 1, staff => 1, admin => 1);

is_deeply(asked(), { students => $whole, teachers => $whole, administrators => $whole },
	'of a rostered category is asked for what columns take, and no agents');
$roster->sql("SELECT roster_configure('mesa', parent_contact => true)");
is_deeply(asked(), {
	students => "$whole,agents", teachers => $whole, administrators => $whole,
	map { $_ => "$who,$keys,sms,phone,orgs" } qw(guardians relatives) },
	'with parent contacts: agents of students, and how to reach the contacts');
toggle(teacher => 1, staff => 1, admin => 1);
is_deeply(asked(), { teachers => $whole, administrators => $whole },
	'without students no list of them is read, nor of contacts');
$roster->sql("SELECT roster_configure('mesa', parent_contact => false)");
toggle(student => 1);
is_deeply(asked(), { students => $whole }, 'without staff no list of them is read');
toggle(student => 1, admin => 1, archive => 'true');
is_deeply(asked(), { students => $whole, teachers => "$who,$keys,orgs", administrators => $whole },
	'a list that only says who is present is asked for keys alone');
toggle(%everyone);
$roster->sql("SELECT roster_attach_people('people', "
	  . "columns => '{\"middle_name\": null, \"phone\": null, \"grade\": null}')");
is_deeply(asked(), { map { $_ => "$who,$keys,orgs" } qw(students teachers administrators) },
	'what no column takes is not asked for');
$server->faults({ ignore_fields => {} });
asked();
is($roster->sql('SELECT count(*) > 100, count(middle_name), count(phone), count(grade), count(org_ids), '
	  . 'count(agent_ids) FROM staged_users'), 't|0|0|0|0|0', '... nor staged when it comes all the same');
$server->clear_faults;
$roster->sql("SELECT roster_attach_people('people')");

# What is staged

toggle(student => 1, admin => 1, archive => 'true');
$server->faults({ ignore_fields => {} });
asked();
is($roster->sql("SELECT count(*) > 3, count(given_name) = count(*), count(username) = count(*), "
	  . "bool_and(given_name ~ '^$hidden+\$'), bool_and(family_name ~ '^$hidden+\$'), count(middle_name), "
	  . "count(phone), count(grade), count(org_ids), count(agent_ids) FROM staged_users WHERE role = 'teacher'"),
	't|t|t|t|t|0|0|0|0|0', 'of a category that is not rostered: keys, and names that cannot be read');
is($roster->sql("SELECT count(given_name) > 3, count(*) FILTER (WHERE given_name ~ '$hidden') FROM staged_users "
	  . "WHERE role <> 'teacher'"), 't|0', '... of the others all names are there');
is(newest("reduced_roles @> '{teacher}' AND NOT reduced_roles && '{student,administrator}'"), 't',
	'... which the run says');
my $names = $roster->sql("SELECT md5(string_agg(given_name, ',' ORDER BY sourced_id)) FROM staged_users "
	  . "WHERE role = 'teacher'");
asked();
isnt($roster->sql("SELECT md5(string_agg(given_name, ',' ORDER BY sourced_id)) FROM staged_users "
	  . "WHERE role = 'teacher'"), $names, '... in another form each time');
is($roster->sql("SELECT count(clean_name(given_name)), count(shown_name(given_name)), count(plain_name(given_name)) "
	  . "FROM staged_users WHERE role = 'teacher'"), '0|0|0', '... so that no other session can compare or show them');
my $teacher = $roster->sql("SELECT min(sourced_id) FROM staged_users WHERE role = 'teacher'");
$server->faults({ ignore_fields => {}, override => { $teacher => { role => 'janitor' } } });
asked();
is($roster->sql("SELECT role, num_nulls(given_name, family_name, middle_name, preferred_name, username, identifier, "
	  . "email, phone, grade, org_ids, agent_ids) FROM staged_users WHERE sourced_id = '$teacher'"), 'janitor|11',
	'of an unknown role the ID alone');
$server->clear_faults;

# Hidden names are evidence

toggle(%everyone, archive => 'true');
$server->faults({ add_rows => [ user('a1', 'administrator', identifier => '4711', givenName => 'Katelyn') ] });
sync() foreach 1 .. 2;
is($roster->sql("SELECT unproven FROM connections"), 'f', 'the connection is proven');
my $katelyn = $roster->sql("SELECT person_id FROM links WHERE sourced_id = 'a1'");
toggle(student => 1, staff => 1, admin => 1, archive => 'true');
$server->faults({ add_rows => [
	user('t1', 'teacher', identifier => '4711', givenName => 'KATE', familyName => 'Ng') ] });
sync();
is($roster->sql("SELECT archived_at FROM people WHERE person_id::text = '$katelyn'"), '',
	'whom a row of a category that is not rostered may be is present: its given name begins the person\'s');
is(newest('archived, conflicts'), '0|0', '... and no conflict');
$server->faults({ add_rows => [ user('t1', 'teacher', identifier => '4711', givenName => 'Kat', familyName => 'Diaz'),
	user('t2', 'teacher', identifier => '4711', givenName => 'Bo', familyName => 'Lee') ] });
sync();
is($roster->sql("SELECT count(*) FROM roster_conflicts WHERE given_name ~ '$hidden'"), '0',
	'no one is shown a hidden name');
$server->faults({ add_rows => [
	user('t1', 'teacher', identifier => '4711', givenName => 'Bo', familyName => 'Lee') ] });
sync();
is($roster->sql("SELECT archived_at IS NOT NULL FROM people WHERE person_id::text = '$katelyn'"), 't',
	'a row with two other names is another person: the number was given again');
is($roster->sql("SELECT count(*) FROM people p WHERE p::text ~ '$hidden'"), '0', 'hidden names are no people\'s');

# A toggle that is turned on while the roster is read

$server->faults({ hang => { path => 'teachers' }, add_rows => [ user('t3', 'teacher', givenName => 'Zoe') ] });
my $run = $roster->sql("SELECT roster_start('mesa', 'sync')");
$roster->wait_for("SELECT state = 'running' AND reduced_roles IS NOT NULL FROM runs WHERE run = $run");
$roster->sql("SELECT roster_toggle('mesa', 'teacher', roster => true)");
$server->faults({ hang => undef });
$roster->wait_for("SELECT state = 'succeeded' FROM runs WHERE run = $run");
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id = 't3'"), '0',
	'a category that is turned on during a run is not rostered in that run');
is($roster->sql("SELECT count(*) FROM people p WHERE p::text ~ '$hidden'"), '0', '... no one gets a hidden name');
sync();
is($roster->sql("SELECT p.given_name FROM people p JOIN links l ON l.person_id = p.person_id::text "
	  . "WHERE l.sourced_id = 't3'"), 'Zoe', '... the next run reads names');
is(newest('reduced_roles IS NULL'), 't', '... of everyone');
$server->clear_faults;

# A stage that is not kept

sub stage
{
	return $roster->sql('SELECT (SELECT count(*) FROM staged_users) + (SELECT count(*) FROM staged_orgs) '
		  . '+ (SELECT count(*) FROM stages)');
}

sub stage_bytes
{
	return "SELECT coalesce(sum(pg_relation_size(c.oid)), 0) FROM pg_class c WHERE c.relispartition "
	  . "AND c.relname LIKE 'staged%'";
}

sync();
cmp_ok(stage(), '>', 100, 'by default the stage is kept');
is($roster->sql('SELECT run = (SELECT max(run) FROM runs), is_full, has_contacts FROM stages'), 't|t|f',
	'... and says whose it is');
cmp_ok($roster->sql('SELECT count(*) FROM roster_without_email'), '>', 0, '... for views of what the SIS lists');
$roster->set(keep_stage => 'off');
$roster->sql('SELECT roster_run_due()');
$roster->wait_for('SELECT (' . stage_bytes() . ') = 0');
is(stage(), '0', 'once it is not to be kept, what is there goes with the next duty');

is(sync() . stage(), 'succeeded0', 'a sync leaves none');
is($roster->sql('SELECT count(*) FROM roster_without_email'), '0', '... the views are empty');
is($roster->sql("SELECT state FROM roster_fetch('mesa')") . stage(), 'succeeded0', 'a fetch leaves none');
is($roster->sql("SELECT bool_or(finding <> '') FROM roster_diagnose('mesa')") . stage(), 't0',
	'a diagnosis leaves none');
$server->faults({ status => { path => 'teachers', code => 500 } });
$roster->error("SELECT roster_sync('mesa')");
is(newest('state, rows_staged > 0') . ' ' . stage(), 'failed|t 0', 'a failed run leaves none');

$server->faults({ status => undef, add_rows => [ user('s1', 'student', givenName => 'Nora'),
	map { user($_, 'student', identifier => '77', givenName => $_ eq 's2' ? 'Ivy' : 'Max', familyName => $_) }
	  qw(s2 s3) ] });
my $preview = $roster->sql("SELECT max(run) FROM roster_preview('mesa')");
is(stage(), '0', 'a preview leaves none');
is($roster->sql("SELECT state FROM roster_apply($preview)"), 'succeeded', '... and can be applied');
is($roster->sql("SELECT p.given_name FROM people p JOIN links l ON l.person_id = p.person_id::text "
	  . "WHERE l.sourced_id = 's1'"), 'Nora', '... as it was');
is($roster->sql("SELECT count(*) FROM roster_conflicts WHERE sourced_id IN ('s2', 's3')") > 0, 1,
	'its conflicts are shown');
$roster->sql("SELECT roster_decide('mesa', 's2', 'new person')");
like($roster->error("SELECT roster_decide('mesa', 's4', 'skip')"),
	RosterCluster::in_order('ERROR:  55000: connection "mesa" has no rows to decide about', 'DETAIL:',
		'HINT:  Decide about a row of minga_roster\.roster_conflicts'),
	'a row of a conflict can be decided, another one is refused');
sync();
is($roster->sql("SELECT p.given_name FROM people p JOIN links l ON l.person_id = p.person_id::text "
	  . "WHERE l.sourced_id = 's2'"), 'Ivy', '... and the next sync goes by it');
my $of_sync = newest('run');

$roster->sql("SELECT roster_configure('mesa', guard_percent => 1, guard_floor => 0)");
$server->clear_faults;
sync();
is(newest('held > 0') . stage(), 't0', 'a run that holds archives leaves none');
is($roster->sql("SELECT archived > 0 FROM roster_approve((SELECT max(run) FROM runs))"), 't', '... they are approved');
is($roster->sql("SELECT state FROM roster_undo($of_sync)"), 'succeeded', '... and a sync is undone');
$roster->sql("SELECT roster_configure('mesa', guard_percent => 100)");

# Someone reads the stage for long.
my $reader = $roster->node->background_psql('postgres');
$reader->query_safe('BEGIN; SELECT count(*) FROM staged_users');
is(sync() . stage(), 'succeeded0', 'a session that reads the stage keeps no row there');
cmp_ok($roster->sql(stage_bytes()), '>', 0, '... only its space');
$reader->query_safe('COMMIT');
$reader->quit;
$roster->sql('SELECT roster_run_due()');
$roster->wait_for('SELECT (' . stage_bytes() . ') = 0');
pass('... which goes with the next duty');
$roster->set(keep_stage => 'on');

# Characters that no one sees

my $unseen = "[\x{AD}\x{61C}\x{200B}\x{200E}\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2069}\x{FEFF}\x{80}-\x{9F}\x{1}-\x{8}"
  . "\x{B}\x{C}\x{E}-\x{1F}\x{7F}\x{E0000}-\x{E007F}]";
my $persian = "\x{639}\x{644}\x{6CC}\x{200C}\x{631}\x{636}\x{627}";

$roster->sql("SELECT roster_notify('mesa', 'it\@mesa.example', manual => true)");
$server->faults({ add_rows => [
	user("c1\x{200B}\x{202E}", 'student', givenName => "\x{202E}An\x{200B}na\x{2066}\x{1B}[1m",
		familyName => "Di\x{AD}az\x{FEFF}\x{E0041}\x{9B}", email => "c\x{200F}1\@mesa.example"),
	user('c2', 'student', givenName => $persian),
	user("c3\x{200B}", 'student', givenName => 'One', identifier => 'one'),
	user('c3', 'student', givenName => 'Other', identifier => 'other') ] });
sync();
is(decode('UTF-8', $roster->sql("SELECT p.given_name, p.family_name, p.email FROM people p JOIN links l "
	  . "ON l.person_id = p.person_id::text WHERE l.sourced_id = 'c1'")), 'Anna[1m|Diaz|c1@mesa.example',
	'names, addresses and IDs come without them');
is(decode('UTF-8', $roster->sql("SELECT p.given_name FROM people p JOIN links l "
	  . "ON l.person_id = p.person_id::text WHERE l.sourced_id = 'c2'")), $persian,
	'... what a script needs stays');
is($roster->sql("SELECT sourced_id, damaged, outcome FROM staged_users WHERE sourced_id = 'c3'"), 'c3|t|reject',
	'two IDs that become one are a reject');
is($roster->sql("SELECT count(*) FROM links WHERE sourced_id = 'c3'"), '0', '... and no one\'s');
is($roster->sql("SELECT without_id FROM collections WHERE collection = 'students' AND run = (SELECT max(run) "
	  . "FROM runs WHERE kind = 'sync')"), '1', '... the other counts as without an ID, so no student is archived');
$server->faults({ status => { path => 'teachers', code => 400, description => "no\x{202E}\x{1B}[2Jway\x{200B}" } });
$roster->error("SELECT roster_sync('mesa')");
foreach my $what (
	[ "SELECT string_agg(p::text, ' ') FROM people p", 'people' ],
	[ "SELECT string_agg(l::text, ' ') FROM links l", 'links' ],
	[ "SELECT string_agg(c::text, ' ') FROM changes c", 'changes' ],
	[ "SELECT string_agg(r::text, ' ') FROM runs r", 'runs' ],
	[ "SELECT string_agg(concat_ws(' ', subject, replace(body_text, E'\\n', ' '), replace(body_html, E'\\n', ' ')), "
	  . "' ') FROM outbox", 'mail' ])
{
	my ($query, $name) = @$what;
	my $text = decode('UTF-8', $roster->sql($query));

	cmp_ok(length $text, '>', 100, "there are $name");
	unlike($text, qr/$unseen/, '... without such characters');
}
unlike(decode('UTF-8', $roster->log_contents), qr/$unseen/, 'nor has the log any');
$roster->stop;
done_testing();
