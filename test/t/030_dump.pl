# pg_dump and restore into a second database: what is configured and on record comes along, stage and tokens do not, and
# no secret is in clear.
# Planted: one row of each table, whatever a deployment would have made of it.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $roster = RosterCluster->new('dump');
my $node = $roster->node;
my $connect = q{url => 'https://sis.example/campus/api/oneroster/v1p1/minga', client_id => 'c', school_id => 'S1', }
	  . q{time_zone => 'America/Denver'};

# pg_cron lives in one database of a server, and minga_roster in any.
$node->safe_psql('postgres', 'CREATE DATABASE school TEMPLATE template0');
$node->safe_psql('school', <<"SQL");
CREATE EXTENSION minga_roster;
SET search_path = public, minga_roster, minga_roster_internal;
SELECT roster_create_people('public.people', owner => 'people_owner');
CREATE SCHEMA "Odd Schema" AUTHORIZATION people_owner;
SELECT roster_create_people('"Odd Schema"."Odd People"', owner => 'people_owner');
SELECT roster_connect('mesa-high', client_secret => 'hush-hush', people => 'public.people', site => 'mesa',
	district => 'north', $connect);
SELECT roster_connect('odd', people => '"Odd Schema"."Odd People"', $connect);
SELECT roster_connect('gone', people => 'public.people', $connect);
SELECT roster_disconnect('gone');
SELECT roster_set_secret('smtp', 'mail-hush');
SELECT roster_toggle('mesa-high', 'student', auto_update => true, archive => true);
SELECT roster_configure('mesa-high', sync_at => '19:30', guard_percent => 7);
SELECT roster_notify('mesa-high', 'it\@mesa.example', 'problems');
CREATE ROLE mesa_reader;
SELECT roster_grant('mesa_reader', 'reader', site => 'mesa');
SELECT roster_release_people('public.people', 'north');
INSERT INTO people (site, role, given_name, family_name) VALUES ('mesa', 'student', 'Ada', 'L'),
	('mesa', 'teacher', 'Bob', 'M');
INSERT INTO links (connection, sourced_id, site, person_id, category, rule, linked_run) SELECT 'mesa-high',
	's' || given_name, site, person_id, role, 'created', 1 FROM people;
INSERT INTO runs (connection, site, kind, trigger, state, requested_by, finished_at) SELECT 'mesa-high', 'mesa', 'sync',
	'manual', 'succeeded', 'x', now() FROM generate_series(1, 41);
INSERT INTO run_counts SELECT run, 'student', 'create', 1 FROM runs;
INSERT INTO run_steps (run, position, step, ok) SELECT run, 1, 'url', true FROM runs;
INSERT INTO findings (run, position, finding, value) SELECT run, 1, 'sort', 'honored' FROM runs;
INSERT INTO collections (run, collection, family) SELECT run, 'students', 'student' FROM runs;
INSERT INTO changes (run, change, site, sourced_ids, action, rule, reason, state, state_at) SELECT run, 1, 'mesa',
	'{s1}', 'create', 'r', 'r', 'applied', now() FROM runs;
INSERT INTO outbox (run, connection, email, subject, body_text, body_html, next_attempt_at, created_at, origin)
	SELECT max(run), 'mesa-high', 'it\@mesa.example', 's', 't', 'h', now(), now(), 'x' FROM runs;
INSERT INTO tokens VALUES ('mesa-high', gen_random_uuid(), 'token-hush', 'infinity');
INSERT INTO sis (sis, title, base_paths, token_path, collections) VALUES ('own', 'Our own', '{/x}', '/t', '[]');
INSERT INTO role_rules VALUES ('own', 'student', 'student', 'student', 1),
	('infinite_campus', 'coach', 'staff', 'staff', 4);
CREATE TABLE minga_roster_internal.staged_users_probe PARTITION OF staged_users FOR VALUES IN ('probe');
ALTER EXTENSION minga_roster ADD TABLE minga_roster_internal.staged_users_probe;
INSERT INTO staged_users (connection, sourced_id, collection, enabled, damaged, family_name)
	VALUES ('probe', 's1', 'students', true, false, 'staged-name');
SQL

my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('school'), '-f', $file ], 'pg_dump');
my $dump = slurp_file($file);
like($dump, qr/^COPY minga_roster\.connections /m, 'connections are in the dump');
unlike($dump, qr/hush-hush|mail-hush|token-hush/, 'no secret is in the dump in clear');
unlike($dump, qr/\\\\x(?:687573682d68757368|6d61696c2d68757368|746f6b656e2d68757368)/, '... nor as bytes');
unlike($dump, qr/^COPY minga_roster(?:_internal)?\.(?:tokens|staged)/m, 'neither tokens nor the stage are in the dump');
unlike($dump, qr/staged-name/, '... with no name of the stage');
unlike($dump, qr/Infinite Campus, OneRoster/, 'nor what the installation itself brings');

$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $file ],
	'restored without an error');

# The same rows on both sides
foreach my $table (
	qw(people_relations connections toggles secrets runs run_counts run_steps findings collections changes links
		recipients outbox sis role_rules role_levels people_releases))
{
	my $rows = "SET search_path = pg_catalog; SELECT t FROM minga_roster.$table t ORDER BY t::text";
	my $here = $node->safe_psql('school', $rows);
	isnt($here, '', "$table has rows");
	is($node->safe_psql('restored', $rows), $here, '... and they come along');
}
is($node->safe_psql('restored', 'SELECT count(*) FROM minga_roster.tokens'), '0', 'no token');
is($node->safe_psql('restored', 'SELECT count(*) FROM minga_roster.staged_users'), '0', 'no stage');
is($node->safe_psql('restored', 'SELECT count(*) FROM public.people JOIN minga_roster.links ON links.person_id = '
	  . 'people.person_id::text'), '2', 'people and their links');

# A level is that of the role of its name, and the copy has the same policies.
foreach my $database ('school', 'restored')
{
	is($node->safe_psql($database,
		'SET ROLE mesa_reader; SELECT count(*), (SELECT count(*) FROM minga_roster.links) FROM minga_roster.runs'),
	'41|0',
		"a reader reads the same rows in database $database");
}

# Numbers go on where they were
foreach my $column ([ 'runs', 'run' ], [ 'outbox', 'mail' ], [ 'connections', 'number' ])
{
	my ($table, $name) = @$column;
	is($node->safe_psql('restored',
		"SELECT nextval(pg_get_serial_sequence('minga_roster.$table', '$name')) > max($name) FROM minga_roster.$table"),
		't', "$table.$name goes on");
}

# The copy works with the same key, and takes the name of what was retired.
$node->safe_psql('restored',
	"SELECT minga_roster.roster_configure('mesa-high', guard_floor => 9), minga_roster.roster_set_secret('odd', "
	  . "'hush')");
is($node->safe_psql('restored',
	"SELECT connection FROM minga_roster.roster_connect('gone', people => 'public.people', $connect)"), 'gone',
	'a restored copy can be worked with');
is($node->safe_psql('school', "SELECT guard_floor FROM minga_roster.connections WHERE connection = 'mesa-high'"), '5',
	'... and the first is not changed by it');

$roster->stop;
done_testing();
