# Plans of a merge at 200,000 people, with statistics of the day when there was no one: nothing goes through the roster
# again for each row of it, and an unchanged night writes to no row of people or links.
# Planted: a stage of 200,000 rows, which no test server sends in the time of a test.

use strict;
use warnings;

use LoggedPlans;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $people = 200_000;
# Far less than a nested loop over the roster runs through
my $limit = 40_000;
my $roster = RosterCluster->new('plans', conf => "autovacuum = off\nfsync = off\nshared_buffers = 512MB\n");
my $node = $roster->node;

# A school of the fixture, with no one in it, and statistics that say so
$node->safe_psql('postgres', slurp_file('test/fixtures/merge.sql') . <<"SQL");
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name, email,
	username, identifier, grade, phone, agent_ids, outcome)
SELECT 'north', md5(n::text), r.collection, r.role, true, false, 'Given' || n % 977, 'Family' || n % 4999, 'p' || n
	|| '\@x.example', 'user' || n, n::text,
	CASE r.role WHEN 'student' THEN (n % 12)::text END, NULL, CASE r.role WHEN 'student' THEN ARRAY['g' || n / 2] END,
	'unchanged'
FROM generate_series(1, $people) n
CROSS JOIN LATERAL (SELECT CASE WHEN n % 40 = 0 THEN 'administrator' WHEN n % 10 = 0 THEN 'teacher' ELSE 'student'
	END) AS k (role)
CROSS JOIN LATERAL (VALUES (k.role, k.role || 's')) AS r (role, collection);
-- One in twenty of the staff has a further row, of another role
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name, email,
	username, identifier, outcome)
SELECT 'north', 'further ' || sourced_id, 'administrators', 'administrator', true, false, given_name, family_name,
	email, username, identifier, 'unchanged'
FROM staged_users WHERE connection = 'north' AND role = 'teacher' AND identifier::integer % 200 = 10;
CREATE UNIQUE INDEX ON people (site, lower(username));
UPDATE connections SET guard_percent = 10 WHERE connection = 'north';
UPDATE toggles SET auto_update = true, archive = true WHERE connection = 'north';
ANALYZE;
SQL

my $links = $node->safe_psql('postgres', "SELECT count(*) FROM minga_roster.staged_users");

# SQL in the school's schema.
sub school
{
	return "SET search_path = school, public, minga_roster, minga_roster_internal;\n$_[0]";
}

# Runs SQL and looks at the plans of all its statements.
sub is_plain
{
	my ($name, $sql) = @_;
	my $plans = LoggedPlans->of($node, school($sql));

	is(join("\n", $plans->repeated($limit)), '', "$name: nothing is run through again for each of many rows");
	# Functions with a RETURN body all have an empty text; the terms of a statement on people are many.
	is(join("\n", $plans->frequent(500)), '', '... and no statement is run for each of them');
	cmp_ok($plans->statements, '>', $sql =~ /run_merge/ ? 30 : 0, '... of ' . $plans->statements . ' statements');
	return $plans->stdout;
}

# The merge of a run: its plans, and that it wrote to no more people than it says. Returns how many people it created,
# how many it wrote to, and what it did to links.
sub merge
{
	my ($name, $call) = @_;
	my ($inserted, $updated, $deleted, $links, $created, $others) = split /\|/, is_plain($name, <<"SQL");
BEGIN;
SELECT FROM run_merge($call);
WITH written AS (SELECT relid, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables)
SELECT p.n_tup_ins, p.n_tup_upd, p.n_tup_del, format('+%s ~%s -%s', l.n_tup_ins, l.n_tup_upd, l.n_tup_del), CASE r.kind
	WHEN 'preview' THEN 0 ELSE r.created END, CASE r.kind WHEN 'preview' THEN 0 ELSE r.updated + r.restored + r.archived
	END
FROM runs r, written p, written l
WHERE r.run = last_run() AND p.relid = 'people'::regclass AND l.relid = 'links'::regclass;
COMMIT;
SQL
	is("$inserted $deleted", "$created 0", '... and each person is inserted once, as the run counts them');
	# Before the guard holds updates, a sync tries ten of a category and takes them back.
	my $tried = $updated - $others;
	ok($tried == 0 || ($call !~ /preview|apply|undo|approve/ && $tried > 0 && $tried <= 40),
		'... and updated once, but for those that are tried')
	  or diag("$updated rows for $others people");
	return ($created, $others, $links);
}

# What would be found
my %control = (enable_hashjoin => 'off', enable_mergejoin => 'off', enable_material => 'off', enable_memoize => 'off');
$node->safe_psql('postgres', "CREATE TABLE many AS SELECT n FROM generate_series(1, 1000) n; ANALYZE many;");
like(join("\n", LoggedPlans->of($node, "SELECT count(*) FROM many a JOIN many b USING (n);",
	%control)->repeated($limit)),
	qr/^Nested Loop: Inner Seq Scan on many .*1000 times/, 'a nested loop is found');
like(join("\n",
	LoggedPlans->of($node,
	"SELECT count(*) FROM many a WHERE (SELECT max(b.n) FROM many b WHERE b.n <= a.n) = a.n;")->repeated($limit)),
	qr/SubPlan Aggregate .*1000 times/, 'a query for each row is found');
like(join("\n",
	LoggedPlans->of($node, "DO 'DECLARE x integer; BEGIN FOR x IN SELECT n FROM many LOOP PERFORM FROM many "
	  . "WHERE n = x; END LOOP; END';")->frequent(50)),
	qr/^1000 times: SELECT FROM many/, 'a loop over rows is found');
is(join("\n", LoggedPlans->of($node, "SELECT count(*) FROM many a JOIN many b USING (n);")->repeated($limit)), '',
	'a hash join is none of them');

my @nothing = (0, 0, '+0 ~0 -0');
is_deeply([ merge('first sync', '') ], [ $people, 0, "+$links ~0 -0" ], 'everyone is created, every row linked');
is_deeply([ merge('unchanged night', '') ], \@nothing, 'no one is written to, nor any link');

# Of a hundred people two have another phone, one another id (and so a link that moves), one is gone, one new, one has
# another's identifier
$node->safe_psql('postgres', school(<<"SQL"));
UPDATE staged_users SET phone = '1' WHERE connection = 'north' AND identifier::integer % 50 = 1;
UPDATE staged_users SET sourced_id = 'moved ' || sourced_id WHERE connection = 'north'
	AND identifier::integer % 100 = 2;
UPDATE staged_users SET sourced_id = 'new ' || sourced_id, identifier = 'new ' || identifier, username = 'new '
	|| username, email = 'new' || email
WHERE connection = 'north' AND identifier::integer % 100 = 3;
UPDATE staged_users SET identifier = (identifier::integer - 2)::text WHERE connection = 'north'
	AND identifier ~ '^[0-9]+\$' AND identifier::integer % 100 = 6;
INSERT INTO column_owners (connection, column_name, owner) VALUES ('north', 'phone', 'sis unless edited'),
	('north', 'middle_name', 'local');
SQL
my ($created, $others) = merge('changed night', '');
cmp_ok($created, '>=', $people / 100, 'joiners');
cmp_ok($others, '>=', $people * 3 / 100, 'changes and leavers');
ok(is_plain('report', 'SELECT length(roster_report(last_run())) > 500 AND length(roster_report_html(last_run())) > '
	  . '500;') eq 't', 'it is reported');
is((merge('undo', q('undo', last_run())))[1], $created + $others, 'all of it is undone');

# Half of them have other values, and contacts
$node->safe_psql('postgres', school(<<"SQL"));
UPDATE staged_users SET phone = '2' WHERE connection = 'north' AND outcome = 'unchanged'
	AND mod(hashtext(sourced_id), 2) = 0;
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name, phone,
	outcome)
SELECT 'north', 'g' || n, 'guardians', 'guardian', true, false, 'Guardian', 'Of' || n, n::text, 'unchanged'
	FROM generate_series(0, $people / 2, 5) n;
UPDATE connections SET parent_contact = true WHERE connection = 'north';
SQL
is_deeply([ merge('preview', q('preview')) ], \@nothing, 'a preview writes to no one');
(undef, $others) = merge('apply of it', q('apply', last_run()));
cmp_ok($others, '>', $people / 2, 'half of the people change');
cmp_ok((merge('undo of a big run', q('undo', last_run())))[1], '>=', $others, '... and back');

# A quarter is gone
$node->safe_psql('postgres',
	school("DELETE FROM staged_users WHERE connection = 'north' AND mod(hashtext(sourced_id), 4) = 0;"));
merge('sync that holds', '');
my $held = $node->safe_psql('postgres', school('SELECT held FROM runs WHERE run = last_run()'));
cmp_ok($held, '>', $people / 5, 'leavers are held');
is((merge('approval', q('approve', last_run())))[1], $held, '... and approved');

# A second connection of the site lists people of the first
$node->safe_psql('postgres', school(<<"SQL"));
INSERT INTO connections (connection, site, sis, base_url, token_url, auth, client_id, school_id, people,
	time_zone, unproven)
VALUES ('second', 'north', 'infinite_campus', 'https://sis.example/y', 'https://sis.example/t', 'oauth2',
	'client', 'school', 'people', 'UTC', false);
INSERT INTO toggles (connection, category) SELECT 'second', unnest(categories());
CREATE UNLOGGED TABLE staged_second PARTITION OF staged_users FOR VALUES IN ('second');
INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name, family_name, email,
	username, identifier, outcome)
SELECT 'second', sourced_id, collection, role, enabled, damaged, given_name, family_name, email, username, identifier,
	'unchanged'
FROM staged_users WHERE connection = 'north' AND mod(hashtext(sourced_id), 4) = 2 AND role <> 'guardian';
SQL
like((merge('first sync of another connection', q('sync', NULL, 'second')))[2], qr/^\+[1-9]\d{3,} ~0 -0$/,
'it links them');
is_deeply([ merge('unchanged night of the other connection', q('sync', NULL, 'second')) ], \@nothing,
	'nothing is written');
is_deeply([ merge('unchanged night beside it', '') ], \@nothing, '... nor by the first one');

# The SIS has given everyone another id
$node->safe_psql('postgres',
	school("UPDATE staged_users SET sourced_id = 'again ' || sourced_id WHERE connection = 'north';"));
merge('night of new ids', '');
cmp_ok(is_plain('links that move', 'SELECT roster_relink(last_run());'), '>', $people / 2, 'they move');

# People who are there before the links, some known by their e-mail alone
$node->safe_psql('postgres',
	school("DELETE FROM links; UPDATE people SET identifier = NULL WHERE identifier LIKE '%7';"));
like((merge('first match', ''))[2], qr/^\+[1-9]\d{4,} ~0 -0$/, 'they are found');

done_testing();
$roster->stop;
