# What a role with a few rights tries to get more: calls from code that runs with someone else's rights, triggers and
# defaults of people, a SIS of its own, jobs of pg_cron, floods of runs, functions that are not for it. It gains
# nothing, and honest use goes on.

use strict;
use warnings;

use IPC::Run ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 5);
my $roster = RosterCluster->new('attack_rights', conf => "autovacuum_naptime = 1s\nminga_roster.max_workers = 2\n");
my $node = $roster->node;

# What psql says, out and err, to statements of a role that has logged in itself.
sub said
{
	my ($role, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql",
		extra_params => [ '-U', $role ], on_error_stop => 0);
	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

sub refused
{
	my ($role, $sql, $expected, $name) = @_;
	return like(said($role, $sql), $expected, $name);
}

# Everything that a role could want to change; runs are not in it, nor what is on record of calls.
sub settings
{
	return $roster->sql(q{SELECT (SELECT jsonb_agg(to_jsonb(c) ORDER BY connection) FROM connections c),
		(SELECT jsonb_agg(to_jsonb(t) ORDER BY connection, category) FROM toggles t),
		(SELECT jsonb_agg(to_jsonb(p) ORDER BY relation) FROM people_relations p),
		(SELECT jsonb_agg(to_jsonb(s) ORDER BY connection) FROM secrets s),
		(SELECT jsonb_agg(to_jsonb(r) ORDER BY connection, email) FROM recipients r),
		(SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolsuper),
		(SELECT count(*) FROM cron.job)});
}

sub newest { return $roster->sql('SELECT coalesce(max(run), 0) FROM runs'); }

$roster->connect_school('mesa', $server);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a sync before');
$roster->sql("SELECT roster_toggle('mesa', auto_update => true, archive => true)");

# What holds for each function of the schema
is($roster->sql(q{SELECT string_agg(oid::regprocedure::text, ', ') FROM pg_proc }
	  . q{WHERE pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) AND prosecdef}),
	  '',
	'no function is SECURITY DEFINER');
is($roster->sql(
	q{SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
	AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
		AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)}), '',
	'each function of SQL pins search_path or was parsed when it was made');
is($roster->sql(
	q{SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p
	WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
	AND has_function_privilege('public', p.oid, 'EXECUTE')
	AND p.proname NOT IN (SELECT f.function FROM function_levels f WHERE f.level <> 'dba')}),
	'clock districts_of holder sees_all server_origin sites_of usable_zone',
	'PUBLIC can call what asks for a level, and what policies call');

# Roles: may_all may call all that people call, is owner of the sites, and owns nothing of people; owner_too may besides
# act as people's owner.
my $public = q{p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) }
	  . q{AND (p.proname LIKE 'roster\_%' OR p.proname IN }
	  . q{('connection_names', 'connection_status', 'metrics'))};
$roster->sql(<<"SQL");
CREATE SCHEMA app;
CREATE ROLE may_all LOGIN; CREATE ROLE owner_too LOGIN; CREATE ROLE nobody_much LOGIN; CREATE ROLE definer_of LOGIN;
CREATE ROLE switcher LOGIN NOINHERIT;
GRANT people_owner TO owner_too; GRANT nobody_much, may_all TO switcher;
GRANT USAGE ON SCHEMA minga_roster TO may_all, people_owner, definer_of, nobody_much, owner_too;
GRANT USAGE, CREATE ON SCHEMA app, public TO may_all, people_owner, definer_of, nobody_much;
DO \$\$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE $public LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO may_all, people_owner, definer_of, owner_too', f);
	END LOOP; END \$\$;
SELECT roster_grant(r, 'owner', site => s) FROM unnest('{may_all,owner_too,definer_of}'::text[]) r,
	unnest('{mesa,west}'::text[]) s;
SQL

# A call of each with arguments that are good enough to come to the door.
my %value = (connection => "'mesa'", run => newest(), relation => "'public.people'", email => "'x\@evil.example'",
	secret => "'planted'", sealed => "'planted'", name => "'mesa'", sourced_id => "'s'", site => "'mesa'",
	decision => "'ignore'", role => "'may_all'", level => "'owner'", district => "'mesa'",
	path => "'metadata.hush'",
	column_name => "'phone'", owner => "'roster'", links => "'{}'",
	at => 'now()', since => 'now()', until => 'now()');
my @calls;
foreach my $line (split /\n/,
	$roster->sql("SELECT p.proname, p.pronargs - p.pronargdefaults, coalesce(array_to_string(p.proargnames, ' '), '') "
	  . "FROM pg_proc p WHERE p.pronamespace = 'minga_roster'::regnamespace ORDER BY 1"))
{
	my ($name, $required, $names) = split /\|/, $line;
	my @arguments = (split / /, $names)[ 0 .. $required - 1 ];
	my %known = ($name eq 'roster_create_people' ? (relation => "'public.made'") : ());

	die "no value for an argument of $name" if grep { !exists $value{$_} } @arguments;
	push @calls, [ $name, "SELECT * FROM minga_roster.$name(" . join(', ', map { $known{$_} // $value{$_} } @arguments)
		  . ')' ];
}
cmp_ok(scalar @calls, '>', 20, 'functions that people call');

# From an index expression and the like, which a DBA's command or autovacuum runs with the rights of the table's owner
$roster->sql(<<'SQL');
SET ROLE may_all;
CREATE TABLE app.bait (n integer);
INSERT INTO app.bait SELECT generate_series(1, 20);
CREATE TABLE app.orders (statement text);
CREATE TABLE app.caught (n serial, statement text, got text);
-- Does what app.orders says, and lets an error through. What writes has to be volatile; what an index calls, immutable.
CREATE FUNCTION app.act() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	statement text;
BEGIN
	FOR statement IN SELECT o.statement FROM app.orders o LOOP EXECUTE statement; END LOOP;
END $$;
CREATE FUNCTION app.obey(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM app.act(); RETURN n;
	END $$;
-- Does it and keeps the error to itself.
CREATE FUNCTION app.act_quietly() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM app.act();
EXCEPTION WHEN OTHERS THEN
	INSERT INTO app.caught (statement, got) SELECT o.statement, SQLSTATE FROM app.orders o;
END $$;
CREATE FUNCTION app.obey_quietly(n integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
	PERFORM app.act_quietly(); RETURN n; END $$;
CREATE FUNCTION app.obeys(n integer) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT app.obey(n) > 0';
ALTER TABLE app.bait SET (autovacuum_enabled = off);
CREATE INDEX by_expression ON app.bait (app.obey(n));
CREATE INDEX by_predicate ON app.bait (n) WHERE app.obeys(n);
CREATE MATERIALIZED VIEW app.seen AS SELECT app.obey(n) FROM app.bait;
CREATE TABLE app.quiet (n integer);
INSERT INTO app.quiet VALUES (1);
CREATE INDEX quiet_index ON app.quiet (app.obey_quietly(n));
SQL
my $before = settings();
my $runs_before = newest();
my $superuser = $roster->sql('SELECT current_user');

sub order
{
	my ($statement) = @_;
	$roster->sql('TRUNCATE app.orders; INSERT INTO app.orders VALUES (' . RosterCluster::quote($statement) . ')');
	return;
}

my $with_other_rights = qr/cannot be called from code that runs with another role's rights/;
my @got_through;
foreach my $call (@calls)
{
	order($call->[1]);
	my $said = said($superuser, 'ANALYZE app.bait');
	push @got_through, "$call->[0]: $said"
		  if $said !~ /ERROR:  42501: $call->[0] $with_other_rights.*DETAIL: .*"may_all".*HINT: /s;
}
is("@got_through", '', 'no function can be called from an index expression that ANALYZE runs');
foreach my $attack ([ 'roster_toggle', q{SELECT minga_roster.roster_toggle('mesa', roster => false)} ],
	[ 'roster_attach_people', q{SELECT minga_roster.roster_attach_people('public.people')} ],
	[ 'roster_start', q{SELECT minga_roster.roster_start('mesa')} ])
{
	my ($function, $statement) = @$attack;
	my $refusal = qr/ERROR:  42501: $function cannot be called/;

	order($statement);
	refused($superuser, $_, $refusal, "$function: not from $_") foreach 'ANALYZE app.bait', 'VACUUM (ANALYZE) app.bait',
		'REINDEX INDEX app.by_expression', 'REINDEX INDEX app.by_predicate',
	  'REINDEX TABLE app.bait', 'CREATE INDEX more ON app.bait (app.obey(n))',
	'CREATE INDEX CONCURRENTLY more ON app.bait (n) WHERE app.obeys(n)', 'REFRESH MATERIALIZED VIEW app.seen';
	$roster->sql('DROP INDEX IF EXISTS app.more; ANALYZE app.quiet; REINDEX TABLE app.quiet');
	is($roster->sql('SELECT string_agg(DISTINCT got, $$ $$) FROM app.caught'), '42501',
		"$function: nor where the error is caught");
	$roster->sql('TRUNCATE app.caught');
}
$roster->sql('TRUNCATE app.orders; DROP INDEX app.by_predicate; ALTER TABLE app.bait '
	  . 'SET (autovacuum_analyze_threshold = 0, autovacuum_analyze_scale_factor = 0)');
my $position = length $roster->log_contents;
$roster->sql('INSERT INTO app.bait SELECT generate_series(21, 400)');
order(q{SELECT minga_roster.roster_toggle('mesa', roster => false)});
$roster->sql('ALTER TABLE app.bait SET (autovacuum_enabled = on)');
my $seen = 0;
foreach (1 .. 600)
{
	$seen = substr($roster->log_contents,
		$position) =~ /roster_toggle $with_other_rights.*?automatic analyze of table "postgres\.app\.bait"/s;
	last if $seen;
	select undef, undef, undef, 0.2;
}
ok($seen, 'nor from an index expression that autovacuum runs');
$roster->sql('DROP TABLE app.orders CASCADE; DROP TABLE app.bait CASCADE; DROP TABLE app.quiet');
is(settings(), $before, '... and nothing was changed');
is(newest(), $runs_before, '... and no run was started');
is($roster->sql("SELECT count(*) FROM audit WHERE role = 'may_all'"), '0', '... nor is anything on record as done');

# What may not be people, for those who may call roster_attach_people and for a superuser
$roster->sql('CREATE TABLE app.of_another (LIKE public.people INCLUDING ALL); GRANT ALL ON app.of_another TO may_all; '
	  . 'ALTER TABLE app.of_another OWNER TO nobody_much');
foreach my $relation (qw(cron.job pg_catalog.pg_authid minga_roster.connections app.of_another))
{
	refused('may_all', "SELECT minga_roster.roster_attach_people('$relation')", qr/ERROR:  42(501|809)/,
		"$relation is not attached by a role that may attach");
	next if $relation eq 'app.of_another';
	refused($superuser, "SELECT minga_roster.roster_attach_people('$relation')",
		qr/ERROR:  42809: relation ".*" cannot hold people.*HINT: /s, '... nor by a superuser');
}
is($roster->sql('SELECT string_agg(relation::text, $$ $$) FROM people_relations'), 'people',
	'... and none of them is attached');

# The current user decides, not who has logged in
$roster->sql(<<'SQL');
SET ROLE definer_of;
CREATE FUNCTION app.attach_for_you(relation regclass) RETURNS void LANGUAGE sql
	SECURITY DEFINER AS 'SELECT minga_roster.roster_attach_people(relation)';
CREATE FUNCTION app.toggle_for_you() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
	SELECT minga_roster.roster_toggle('mesa', 'admin', archive => true) $$;
SQL
$before = settings();
my $not_owner = qr/ERROR:  42501: must be owner of relation "app\.of_another"/;
refused($superuser, "SET ROLE may_all; SELECT minga_roster.roster_attach_people('app.of_another')", $not_owner,
	'a superuser who has set a role is that role');
refused($superuser, "SET ROLE nobody_much; SELECT minga_roster.roster_toggle('mesa', roster => false)",
	qr/ERROR:  42501: permission denied for connection "mesa"/, '... also where that role may call nothing');
refused($superuser, "SET SESSION AUTHORIZATION may_all; SELECT minga_roster.roster_attach_people('app.of_another')",
	$not_owner, 'so is one who has set the session\'s');
refused($superuser,
	"SET SESSION AUTHORIZATION switcher; SET ROLE nobody_much; SELECT minga_roster.roster_toggle('mesa', roster => "
	  . "false)", qr/ERROR:  42501: permission denied/, '... and a role besides');
refused($superuser, "SELECT app.attach_for_you('app.of_another')", qr/$not_owner.*you are "definer_of"/s,
	'a superuser in a SECURITY DEFINER function is its owner');
refused('nobody_much', "SELECT app.attach_for_you('app.of_another')", qr/$not_owner.*you are "definer_of"/s,
	'... and so is the owner of the relation');
refused('nobody_much', "SELECT minga_roster.roster_attach_people('app.of_another')",
	qr/ERROR:  42501: permission denied for function roster_attach_people/, '... who may not call it');
is(settings(), $before, '... and nothing was changed');
unlike(said('nobody_much', 'SELECT app.toggle_for_you()'), qr/ERROR/,
	'what the definer may, a SECURITY DEFINER function does');
is($roster->sql('SELECT role, function, connection, given FROM audit ORDER BY entry DESC LIMIT 1'),
	'definer_of|roster_toggle|mesa|{category,archive}', '... and it is on record as the definer\'s');
$roster->sql('DROP TABLE app.of_another');

# A trigger, a default, a check of a domain and a view's function, which a sync runs: what they try and what it comes to
$roster->sql(<<'SQL');
CREATE TABLE app.loot (n serial PRIMARY KEY, at text, who text, tried text, got text, mark text);
GRANT ALL ON app.loot, app.loot_n_seq TO people_owner;
CREATE TABLE app.tries (n serial PRIMARY KEY, statement text);
CREATE TABLE app.armed (at text);
GRANT SELECT ON app.tries, app.armed TO people_owner;
SQL
my @tries = (
	'SET ROLE postgres', "SET ROLE $superuser", 'RESET ROLE', "SET SESSION AUTHORIZATION $superuser",
		'RESET SESSION AUTHORIZATION',
	'ALTER ROLE people_owner SUPERUSER', 'CREATE ROLE made SUPERUSER', "GRANT $superuser TO people_owner",
	'CREATE TEMP TABLE planted (n integer)', 'CREATE TABLE pg_temp.planted (n integer)',
	'CREATE TEMP TABLE planted AS SELECT 1', 'CREATE TEMP VIEW planted AS SELECT 1',
	'CREATE TEMP SEQUENCE planted',
	'PREPARE planted AS SELECT 1', 'DECLARE planted CURSOR WITH HOLD FOR SELECT 1', 'LISTEN planted', 'UNLISTEN *',
	'DISCARD ALL', 'DISCARD TEMP', 'DEALLOCATE ALL', 'CLOSE ALL',
	'COMMIT', 'ROLLBACK', 'SET LOCAL ROLE postgres', 'RESET ALL',
	"INSERT INTO minga_roster.toggles (connection, category) VALUES ('mesa', 'planted')",
	'UPDATE minga_roster.connections SET unproven = false', 'DELETE FROM minga_roster.changes',
	'SELECT sealed FROM minga_roster.secrets', 'SELECT 1 / count(*) FROM minga_roster.runs',
	'SELECT 1 / count(*) FROM minga_roster.staged_users', 'ALTER TABLE minga_roster.runs DISABLE TRIGGER ALL',
	'CREATE TABLE minga_roster.planted (n integer)', "SELECT minga_roster_internal.as_owner('public.people', 'SELECT')",
	"SELECT minga_roster_internal.try_run_lock('run', 1)",
	"SELECT minga_roster_internal.seal(gen_random_uuid(), 'mesa', '', 'x')",
	'SELECT minga_roster_internal.close_dead_runs()',
	"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = '$superuser' AND pid = pg_backend_pid()",
	'CREATE EVENT TRIGGER planted ON ddl_command_end EXECUTE FUNCTION app.nothing()',
	'CREATE FUNCTION app.planted() RETURNS integer LANGUAGE c AS $$nothing$$', 'LOAD $$minga_roster$$',
	'COPY app.loot TO PROGRAM $$cat$$', "SELECT set_config('session_replication_role', 'replica', false)",
	(map { $_->[1] } @calls));
$roster->sql('INSERT INTO app.tries (statement) VALUES '
	  . join(', ', map { '(' . RosterCluster::quote($_) . ')' } @tries));
$roster->sql(<<'SQL');
SET ROLE people_owner;
-- Tries each statement while it is armed, and with each temp table of the session to read, write, alter and drop it.
-- mark: what an earlier call has left.
CREATE FUNCTION app.try_all(at text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	try text;
	mark text := current_setting('app.mark', true) || current_setting('work_mem');
BEGIN
	IF NOT EXISTS (SELECT FROM app.armed a WHERE a.at = try_all.at) THEN RETURN true; END IF;
	FOR try IN SELECT statement FROM app.tries UNION ALL
		SELECT format(f, c.relname) FROM pg_class c, unnest(ARRAY['SELECT 1 FROM pg_temp.%I', 'DELETE FROM pg_temp.%I',
		'DROP TABLE pg_temp.%I', 'TRUNCATE pg_temp.%I',
			'ALTER TABLE pg_temp.%I ADD planted integer', 'ALTER TABLE pg_temp.%I RENAME TO planted',
			'COMMENT ON TABLE pg_temp.%I IS $c$planted$c$', 'LOCK TABLE pg_temp.%I']) f
		WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r' LOOP
		BEGIN
			EXECUTE try;
			INSERT INTO app.loot (at, who, tried, got, mark) VALUES (at, current_user, try, 'done', mark);
		EXCEPTION WHEN OTHERS THEN
			INSERT INTO app.loot (at, who, tried, got, mark) VALUES (at, current_user, try, SQLSTATE, mark);
		END;
	END LOOP;
	SET app.mark = 'left';
	SET work_mem = '4321kB';
	SET search_path = app;
	SET DateStyle = 'SQL, DMY';
	SET lock_timeout = 0;
	SET standard_conforming_strings = off;
	PERFORM set_config('app.mark', 'left', false);
	RETURN true;
END $$;
CREATE FUNCTION app.on_people() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM app.try_all('trigger');
	RETURN NULL; END $$;
CREATE TRIGGER on_people BEFORE INSERT OR UPDATE ON public.people FOR EACH STATEMENT EXECUTE FUNCTION app.on_people();
-- One that is told to wait for the end of the transaction, where the worker is superuser again.
CREATE FUNCTION app.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO app.loot (at, who, tried, got) VALUES ('deferred', current_user, 'nothing', 'done'); RETURN NULL;
		END $$;
SQL

sub arm { my ($at) = @_; $roster->sql("TRUNCATE app.armed, app.loot; INSERT INTO app.armed VALUES ('$at')"); return; }

sub judge
{
	my ($at, $allowed) = @_;
	$roster->sql('TRUNCATE app.armed');
	cmp_ok($roster->sql("SELECT count(*) FROM app.loot WHERE at = '$at'"), '>=',
		$roster->sql('SELECT count(*) FROM app.tries'),
		"$at: all was tried");
	is($roster->sql("SELECT string_agg(DISTINCT who, ',') FROM app.loot WHERE at = '$at'"), 'people_owner',
		'... as the plain owner');
	# The temp tables of the run, which the owner's statement joins with people, are lent to the statement alone.
	is($roster->sql("SELECT string_agg(DISTINCT tried || ': ' || got, E'\\n') FROM app.loot WHERE at = '$at' "
		  . "AND got = 'done'"),
		$allowed, '... and nothing of it was done');
	is($roster->sql("SELECT string_agg(DISTINCT mark, ',') FROM app.loot WHERE at = '$at' AND mark LIKE '%left%'"), '',
		'... and no setting outlasts a statement')
	  if $at eq 'trigger';
	$roster->sql('TRUNCATE app.loot');
	return;
}

$before = settings() =~ s/"filter_unusable": \w+|"newest_modified": "[^"]*"//gr;
sub settings_but_what_runs_write { return settings() =~ s/"filter_unusable": \w+|"newest_modified": "[^"]*"//gr; }
arm('trigger');
$server->day(3);
is($roster->sql("SELECT state, created > 0, updated > 0 FROM roster_sync('mesa')"), 'succeeded|t|t',
	'a sync with a trigger that tries everything');
cmp_ok($roster->sql("SELECT count(*) FROM app.loot WHERE tried LIKE '%pg_temp.%'"), '>', 10, 'it found temp tables');
cmp_ok($roster->sql("SELECT count(DISTINCT n) FROM app.loot WHERE tried = 'SET ROLE postgres'"), '>', 1,
	'and ran in several statements');
# RESET ALL takes back what may be taken back, until the statement ends.
judge('trigger', 'RESET ALL: done');
is(settings_but_what_runs_write() =~ s/"unproven": \w+//gr, $before =~ s/"unproven": \w+//gr,
	'... nor did a setting change');
is($roster->sql("SELECT count(*) FROM runs WHERE trigger = 'manual' AND requested_by = 'people_owner'"), '0',
	'... nor was a run started');
$roster->sql('DROP TRIGGER on_people ON public.people');

$roster->sql('CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON public.people DEFERRABLE INITIALLY '
	  . 'DEFERRED FOR EACH ROW EXECUTE FUNCTION app.at_commit()');
$server->day(5);
$node->psql('postgres', "SELECT roster_sync('mesa')", on_error_die => 0);
is($roster->sql("SELECT coalesce(string_agg(DISTINCT who, ','), 'people_owner') FROM app.loot WHERE at = 'deferred'"),
	'people_owner', 'a deferred trigger does not run as anyone else');
$roster->sql('DROP TRIGGER at_commit ON public.people; TRUNCATE app.loot');

$roster->sql('ALTER TABLE public.people ADD made_by boolean DEFAULT app.try_all($$default$$)');
# RESET ALL takes back which row of the plan is inserted, so that the insert and all that it did is taken back.
$roster->sql(q{UPDATE app.tries SET statement = 'SELECT 1 / 0' WHERE statement = 'RESET ALL'});
arm('default');
$server->day(7);
is($roster->sql("SELECT state, created > 0 FROM roster_sync('mesa')"), 'succeeded|t',
	'a default that tries everything');
judge('default', '');
$roster->sql(q{UPDATE app.tries SET statement = 'RESET ALL' WHERE statement = 'SELECT 1 / 0'});
$roster->sql('ALTER TABLE public.people DROP made_by');
$roster->sql('SET ROLE people_owner; CREATE DOMAIN app.word AS text CHECK (VALUE IS NULL OR app.try_all($$domain$$))');
$roster->sql('ALTER TABLE public.people ALTER grade TYPE app.word');
$roster->sql("DELETE FROM app.tries WHERE n > 60; SELECT roster_attach_people('public.people')");
@tries = (1) x $roster->sql('SELECT count(*) FROM app.tries');
arm('domain');
$server->day(9);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a check of a domain that tries everything');
judge('domain', 'RESET ALL: done');
$roster->sql('ALTER TABLE public.people ALTER grade TYPE text');

# Policies would hide rows; they are not run at all.
arm('policy');
$roster->sql('SET ROLE people_owner; CREATE POLICY p ON public.people USING (app.try_all($$policy$$)); ALTER TABLE '
	  . 'public.people ENABLE ROW LEVEL SECURITY');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a policy that does not bind the owner');
$roster->sql('ALTER TABLE public.people FORCE ROW LEVEL SECURITY');
refused($superuser, "SELECT minga_roster.roster_sync('mesa')",
	qr/ERROR:  42501: run \d+.*could not (?:read from|write to) the people relation/, 'one that does is an error');
is($roster->sql("SELECT count(*) FROM app.loot WHERE at = 'policy'"), '0', '... and it is never run');
$roster->sql('ALTER TABLE public.people NO FORCE ROW LEVEL SECURITY; ALTER TABLE public.people DISABLE ROW LEVEL '
	  . 'SECURITY; DROP POLICY p ON public.people');

# A view of people, with a function
$roster->sql(<<'SQL');
SET ROLE people_owner;
CREATE TABLE app.members AS SELECT site, person_id, role, given_name, family_name, archived_at FROM public.people
	WHERE false;
ALTER TABLE app.members ALTER person_id SET DEFAULT gen_random_uuid();
CREATE VIEW app.shown AS SELECT site, person_id, role, given_name, family_name, archived_at FROM app.members
	WHERE app.try_all('view');
ALTER VIEW app.shown ALTER person_id SET DEFAULT gen_random_uuid();
INSERT INTO app.members (site, role, given_name, family_name) VALUES ('viewed', 'student', 'Ada', 'Day');
SQL
$roster->connect_school('viewed', $server, people => 'app.shown');
arm('view');
is($roster->sql("SELECT state FROM roster_sync('viewed')"), 'succeeded', 'a function of a view that tries everything');
judge('view', 'RESET ALL: done');
$roster->sql("SELECT roster_disconnect('viewed')");

# What a type or function in the worker's temporary schema does to the runs of other people that the worker takes up
# next
$roster->sql(<<'SQL');
SET ROLE people_owner;
CREATE FUNCTION app.litter() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	name text;
BEGIN
	FOR name IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = pg_my_temp_schema() AND c.relkind = 'r' UNION
		SELECT unnest(ARRAY['plan_hits', 'plan_people', 'plan_undoing', 'plan', 'plan_index_keys']) LOOP
		BEGIN EXECUTE format('CREATE DOMAIN pg_temp.%I AS integer', name || '_planted'); EXCEPTION WHEN OTHERS
			THEN NULL; END;
		BEGIN EXECUTE format('CREATE TYPE pg_temp.%I AS ENUM ()', name); EXCEPTION WHEN OTHERS THEN NULL; END;
		BEGIN EXECUTE format('CREATE FUNCTION pg_temp.%I() RETURNS integer LANGUAGE sql AS $f$ SELECT 1 $f$', name);
			EXCEPTION WHEN OTHERS THEN NULL; END;
	END LOOP;
	BEGIN CREATE DOMAIN pg_temp.text AS integer; EXCEPTION WHEN OTHERS THEN NULL; END;
	RETURN NULL;
END $$;
CREATE TRIGGER litter BEFORE INSERT OR UPDATE ON public.people FOR EACH STATEMENT EXECUTE FUNCTION app.litter();
SQL
$server->faults({ hang => { path => 'students' } });
$roster->set(max_workers => 1);
my $first = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for("SELECT state = 'running' FROM runs WHERE run = $first");
my $next = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for("SELECT state = 'queued' FROM runs WHERE run = $next");
$server->day(11);
$server->clear_faults;
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
is($roster->sql("SELECT state, coalesce(error || ' ' || coalesce(detail, ''), '') FROM runs WHERE run = $next"),
	'succeeded|', 'what a trigger leaves in the temporary schema does not stop the next run of the worker');
$roster->sql('DROP TRIGGER litter ON public.people');
$roster->set(max_workers => 2);

# A table that was given to a superuser after it had been attached
$roster->sql("ALTER TABLE public.people OWNER TO $superuser");
my $error = $roster->error("SELECT roster_sync('mesa')");
like($error, qr/ERROR:  42501: .*belongs to superuser "\Q$superuser\E".*HINT: /s,
	'people of a superuser are not written');
my ($statement) = $error =~ /(ALTER TABLE \S+ OWNER TO \w+)/;
$roster->sql($statement);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'the statement of the hint mends it');

# Someone else's SIS at a relation that is attached
my $evil = OneRosterServer->new(people => 10, seed => 9, certs => $server->certs);
$roster->sql(<<'SQL');
CREATE ROLE manager LOGIN;
GRANT USAGE ON SCHEMA app TO manager;
SELECT roster_grant('manager', 'owner', site => s) FROM unnest('{east,mesa,elsewhere}'::text[]) s;
SQL
$roster->connect_school('east', $server, site => 'east');
$before = settings();
my $people = $roster->sql('SELECT count(*), md5(string_agg(p::text, $$,$$ ORDER BY person_id)) FROM public.people p');
my $must_own = qr/ERROR:  42501: must be owner of relation "(?:people|public\.people)"/;
refused('manager',
	sprintf("SELECT minga_roster.roster_connect('planted', url => '%s', client_id => 'c', client_secret => 's', "
	  . "school_id => '%s', people => 'public.people', site => '%s', time_zone => 'UTC')",
		$evil->url, $evil->school_id, $_), $must_own, "an own SIS for the site $_ is refused") foreach 'mesa',
		'elsewhere';
refused('manager', "SELECT minga_roster.roster_configure('east', url => '" . $evil->url . "')", $must_own,
	'so is another host of a connection');
refused('manager', "SELECT minga_roster.roster_configure('east', url => '" . $server->url =~ s/localhost/127.0.0.1/r
	  . "')", $must_own, '... and another name of it');
refused('manager', "SELECT minga_roster.roster_configure('east', url => '" . $evil->plain_url
	  . "', sis => 'generic', token_url => '" . $evil->plain_token_url . "')", qr/ERROR:  42(501|704)/,
	  '... also with another SIS');
refused('manager', "SELECT minga_roster.roster_configure('east', site => 'mesa')", $must_own, '... and another site');
$roster->sql("CREATE TABLE app.other_people (LIKE public.people INCLUDING ALL); ALTER TABLE app.other_people OWNER TO "
	  . "people_owner; SELECT roster_attach_people('app.other_people')");
refused('manager', "SELECT minga_roster.roster_configure('east', people => 'app.other_people')",
	qr/ERROR:  42501: must be owner/, '... and other people');
$roster->sql("DELETE FROM people_relations WHERE relation = 'app.other_people'::regclass; DROP TABLE app.other_people");
is(settings(), $before, '... and nothing was changed');
is($roster->sql('SELECT count(*), md5(string_agg(p::text, $$,$$ ORDER BY person_id)) FROM public.people p'), $people,
	'... and no one');
is(scalar(grep { $_->{path} !~ /nothing/ } $evil->log), 0, '... and that SIS was not asked');
foreach my $change ("url => '" . $server->legacy_url . "'", "school_id => 'another'")
{
	like(said('manager', "SELECT minga_roster.roster_configure('east', $change)"),
		qr/42501: must be owner of relation "public\.people"/,
		"nor another tenant or school of the same host ($change)");
}
unlike(said('manager', "SELECT minga_roster.roster_configure('east', sync_at => '20:30'); "
	  . "SELECT minga_roster.roster_toggle('east', archive => true)"),
	qr/ERROR/, 'times and toggles are the manager\'s');
like(said('owner_too',
	sprintf("SELECT (minga_roster.roster_connect('west', url => '%s', client_id => 'c', school_id => '1', people => "
	  . "'public.people', time_zone => 'UTC')).site", $server->url)),
	qr/\Awest\n.*WARNING.*none at site "west"/s, 'who owns the people connects a SIS to them');

# Jobs of pg_cron that others have made
{
	$roster->sql('CREATE ROLE cron_one LOGIN; CREATE ROLE cron_two LOGIN; GRANT USAGE ON SCHEMA cron TO cron_one, '
		  . 'cron_two; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO cron_one, cron_two');
	my $ours = $roster->sql('SELECT cron_command()');
	my $jobs = q{SELECT string_agg(username || ' ' || jobname, ',' ORDER BY username) FROM cron.job};
	unlike(said('cron_one', "SELECT cron.schedule('minga_roster', '0 0 1 1 *', 'SELECT 1')"), qr/ERROR/,
		'a plain user makes a job of our name');
	unlike(said('cron_two', "SELECT cron.schedule('minga_roster', '0 0 1 1 *', " . RosterCluster::quote($ours) . ')'),
		qr/ERROR/, 'and one with our command');
	like($roster->sql("SELECT blocked_reason FROM roster_status WHERE connection = 'mesa'"),
		qr/Automatic Rostering is off/, 'status without a job of ours');
	$roster->sql("SELECT roster_enable('mesa')");
	is($roster->sql($jobs), "cron_one minga_roster,cron_two minga_roster,$superuser minga_roster",
		'roster_enable makes ours beside them');
	is($roster->sql("SELECT j.username FROM cron.job j JOIN cron('look') o ON o.job = j.jobid"), $superuser,
		'... and knows it');
	my $mine = $roster->sql("SELECT jobid FROM cron.job WHERE username = '$superuser'");
	$roster->sql("SELECT cron.alter_job($mine, active := false)");
	is($roster->sql("SELECT blocked_reason FROM roster_status WHERE connection = 'mesa'"),
		"pg_cron job $mine is not active", 'roster_status names ours');
	$roster->sql("SELECT roster_disable('mesa')");
	is($roster->sql($jobs), 'cron_one minga_roster,cron_two minga_roster', 'roster_disable removes ours alone');
	$roster->sql("SELECT cron.schedule('minga_roster', '0 0 1 1 *', 'SELECT 2')");
	like($roster->error("SELECT roster_enable('mesa')"), qr/ERROR:  42710: .*"minga_roster".*HINT: .*cron\.unschedule/s,
		'another job of ours of that name is not taken for it');
	is($roster->sql("SELECT string_agg(command, ',' ORDER BY username) FROM cron.job WHERE username = '$superuser'"),
		'SELECT 2', '... and not deleted');
	is($roster->sql("SELECT automatic FROM connections WHERE connection = 'mesa'"), 'f', '... and nothing is enabled');
	$roster->sql("SELECT cron.unschedule(jobid) FROM cron.job");
}

# A flood of runs
$roster->sql("CREATE ROLE starter LOGIN; SELECT roster_grant('starter', 'owner', site => 'mesa')");
$server->faults({ hang => { path => 'students' } });
my $hanging = $roster->sql("SELECT roster_start('mesa', 'sync')");
$roster->wait_for("SELECT state = 'running' AND phase = 'fetch' FROM runs WHERE run = $hanging");
my $flood = said('starter', "SELECT minga_roster.roster_start('mesa', 'sync') FROM generate_series(1, 300)");
my @numbers = $flood =~ /^(\d+)$/mg;
is(scalar @numbers, 300, '300 calls of roster_start');
like($flood, qr/NOTICE: .*run \d+ of connection "mesa" is queued already/,
	'... which say that a run is queued already');
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity a WHERE backend_type = 'minga_roster' "
	  . "AND NOT EXISTS (SELECT FROM runs r WHERE r.pid = a.pid)");
is($roster->sql("SELECT count(*) FROM runs WHERE state = 'queued' AND kind = 'sync'"), '1',
	'... leave one run in the queue');
my $queued = $roster->sql("SELECT run FROM runs WHERE state = 'queued' AND kind = 'sync'");
ok((grep { $_ == $queued } @numbers) > 100, '... whose number the calls return');
my @sessions = map {
	my ($out, $err) = ('', '');
	my $kind = $_ % 2 ? 'sync' : 'fetch';
	[ IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=starter', '-c',
		"SELECT minga_roster.roster_start('mesa', '$kind') FROM generate_series(1, 75)" ], '<', \undef, '>', \$out,
		'2>', \$err), \$out, \$err ]
} 1 .. 4;
IPC::Run::finish($_->[0]) foreach @sessions;
$roster->wait_for("SELECT count(*) = 0 FROM pg_stat_activity a WHERE backend_type = 'minga_roster' "
	  . "AND NOT EXISTS (SELECT FROM runs r WHERE r.pid = a.pid)");
is($roster->sql("SELECT string_agg(kind, ',' ORDER BY kind) FROM runs WHERE state = 'queued'"), 'fetch,sync',
	'four sessions at once leave one of each kind');
is($roster->sql("SELECT string_agg(DISTINCT state || ' ' || coalesce(sqlstate, ''), ',') FROM runs "
	  . "WHERE run > $hanging AND state <> 'queued'"), 'canceled 55006',
	'what else is on record is canceled, as queued twice');
cmp_ok($roster->sql("SELECT count(*) FROM runs WHERE run > $hanging"), '<', 100,
	'... and most calls leave nothing on record: ' . $roster->sql("SELECT count(*) FROM runs WHERE run > $hanging"));
refused('starter', "SELECT minga_roster.roster_sync('mesa')",
	qr/ERROR:  55006: run $queued of connection "mesa" is queued already.*HINT: /s,
	'roster_sync does not queue a second one');
$roster->sql("SELECT roster_cancel(run) FROM runs WHERE state IN ('queued', 'running')");
$server->clear_faults;
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'afterwards runs work');

# Functions that are not for people: NULLs, and a role that was let at all of them by mistake
like($roster->error("SELECT as_owner('public.people', NULL)"), qr/ERROR:  22004: argument 2 of as_owner is NULL/,
	'as_owner without a statement');
like($roster->error("SELECT as_owner(NULL, 'SELECT')"), qr/ERROR:  22004: argument 1/, '... without a relation');
is($roster->sql("SELECT as_owner('public.people', 'SELECT', VARIADIC NULL)"), '1', '... with no arguments');
like($roster->error("SELECT read_as_owner($_)"), qr/ERROR:  22004: argument \d of read_as_owner is NULL/,
	"read_as_owner($_)") foreach "NULL, 'SELECT 1', 'pg_class'", "'public.people', NULL, 'pg_class'",
	"'public.people', 'SELECT 1', NULL", 'NULL, NULL, NULL';
like($roster->error("SELECT read_as_owner('public.people', 'SELECT 1', 'pg_class')"),
	qr/ERROR:  42809: "pg_class" is not a temporary table/, '... into a table');
like($roster->error('SELECT as_owner(4294967294::oid, $$SELECT$$)'), qr/ERROR:  42P01/, '... as the owner of nothing');
like($roster->error('SELECT lock_people(NULL)'), qr/ERROR:  22004/, 'lock_people(NULL)');
like($roster->error('SELECT repeated_add(NULL, NULL)'), qr/ERROR/, 'repeated_add by itself');
foreach my $window ('', 'ORDER BY n', 'ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING')
{
	my ($rc, $stdout, $stderr) = $node->psql('postgres',
		"SELECT count(*) FROM (SELECT repeated((n % 3)::text) OVER ($window) FROM generate_series(1, 50) n) s");
	ok($stdout eq '50' || $stderr =~ /ERROR/, "repeated as a window aggregate ($window): an answer or an error");
	unlike($stderr, qr/server closed|terminated/, '... and no crash');
}
is($roster->sql('SELECT pg_postmaster_start_time() < (SELECT min(called_at) FROM audit)'), 't',
	'the server has not crashed');

$roster->sql('CREATE ROLE let_in LOGIN; GRANT USAGE ON SCHEMA minga_roster, minga_roster_internal TO let_in; '
	  . 'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA minga_roster, minga_roster_internal TO let_in');
$roster->sql("DO \$\$ DECLARE f regprocedure; BEGIN FOR f IN SELECT p.oid::regprocedure FROM pg_proc p WHERE $public "
	  . "AND p.prokind = 'f' LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM let_in', f); END LOOP; END \$\$");
$before = settings();
$runs_before = $roster->sql('SELECT md5(string_agg(r::text, $$,$$ ORDER BY run)) FROM runs r');
my $people_before = $roster->sql('SELECT md5(string_agg(p::text, $$,$$ ORDER BY person_id)) FROM public.people p');
my $run = newest();
my @inner = split /\n/, $roster->sql(<<"SQL");
SELECT format('SELECT %s.%I(%s)', p.pronamespace::regnamespace, p.proname, (SELECT string_agg(CASE
		WHEN p.provariadic <> 0 AND a.n = p.pronargs THEN CASE a.type WHEN 'text[]'::regtype
		THEN 'VARIADIC ''{}''::text[]' ELSE '''a''::text, ''b''::text' END
		WHEN a.type = 'minga_roster.connections'::regtype
		THEN '(jsonb_populate_record(NULL::minga_roster.connections, ''{"connection": "mesa", "number": 1, '
			|| '"site": "mesa", "people": "public.people", "base_url": "https://x", '
			|| '"sis": "infinite_campus", "auth": "oauth2"}''))'
		WHEN a.type = 'minga_roster.runs'::regtype
		THEN '(jsonb_populate_record(NULL::minga_roster.runs, ''{"run": $run, "connection": "mesa", "site": "mesa", '
			|| '"kind": "sync", "state": "succeeded"}''))'
		WHEN names[a.n] = 'connection' THEN quote_literal('mesa') WHEN names[a.n] = 'run' THEN '$run'
		WHEN names[a.n] = 'kind' AND p.proname LIKE '%lock%' THEN quote_literal('run')
		WHEN a.type = 'regclass'::regtype THEN quote_literal('public.people') || '::regclass'
		WHEN a.type = 'boolean'::regtype THEN 'true' WHEN a.type IN ('bigint'::regtype, 'integer'::regtype)
		THEN '1' WHEN a.type = 'jsonb'::regtype THEN quote_literal('{"connection": "mesa"}') || '::jsonb'
		WHEN a.type = 'text'::regtype OR a.type = 'name'::regtype THEN quote_literal('people') || '::'
		|| a.type::regtype ELSE 'NULL::' || format_type(a.type, NULL) END, ', ' ORDER BY a.n)
	FROM (SELECT t.type, t.n FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY t (type, n)) a,
	(SELECT p.proargnames AS names) nm))
FROM pg_proc p WHERE p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)
	AND p.prokind = 'f'
	AND has_function_privilege('let_in', p.oid, 'EXECUTE')
	AND 'internal'::regtype <> ALL (p.proargtypes::oid[])
ORDER BY p.oid::regprocedure::text
SQL
cmp_ok(scalar @inner, '>', 100, 'functions that are not for people');
my $answer = said('let_in', join(";\n", @inner) . ';');
unlike($answer, qr/server closed|XX000|\bERROR:  (?!\w{5}: )/,
	'... called by a role without rights on tables: no crash, no internal error');
my @sensitive = qw(
	do_toggle do_set_secret do_connect do_configure do_disconnect do_notify do_cancel do_enable do_disable
	do_attach_people do_decide store_secret as_owner read_as_owner try_run_lock wait_for_run_lock cancel_worker
	cron server_setting make_member free_temp_name
	merge_run close_run close_dead_runs claim_run claim_connection insert_run queue_due_runs apply_retention
	known_connection known_run do_connection_status do_health do_metrics opens read_key_file);
foreach my $function (@sensitive)
{
	my @mine = grep { /^SELECT minga_roster_internal\."?$function"?\(/ } @inner;
	ok(@mine > 0, "$function is there") or next;
	# Policies show the role no row of the tables.
	my $refusal = $function eq 'close_dead_runs' ? qr/^0$/ :
		# They tell nothing.
		$function =~ /^(?:do_metrics|opens)$/ ? qr/^$/
	  : $function eq 'read_as_owner' ? qr/ERROR:  42(501|809)/ : qr/ERROR:  (?:42501|42704|22004)/;
	refused('let_in', $_, $refusal, '... and refuses')
		  foreach @mine;
}
is(settings(), $before, '... and nothing was changed');
is($roster->sql('SELECT md5(string_agg(r::text, $$,$$ ORDER BY run)) FROM runs r'), $runs_before, '... nor a run');
is($roster->sql('SELECT md5(string_agg(p::text, $$,$$ ORDER BY person_id)) FROM public.people p'), $people_before,
	'... nor people');
is($roster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), '0', '... nor is a lock held');

# What is on record of calls
$roster->sql("CREATE ROLE audited LOGIN IN ROLE people_owner; GRANT USAGE ON SCHEMA minga_roster TO audited; GRANT "
	  . "USAGE, CREATE ON SCHEMA app TO audited; SELECT roster_grant('audited', 'owner', site => s) FROM "
	  . "unnest('{audited,mesa}'::text[]) s");
$roster->sql("DO \$\$ DECLARE f regprocedure; BEGIN FOR f IN SELECT p.oid::regprocedure FROM pg_proc p "
	  . "WHERE $public LOOP EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO audited', f); END LOOP; END \$\$");
my $student = $roster->sql("SELECT sourced_id FROM staged_users WHERE connection = 'mesa' AND collection = 'students' "
	  . "ORDER BY 1 LIMIT 1");
my @recorded = (
	[ 'roster_create_people|||{relation,owner}',
		q{SELECT minga_roster.roster_create_people('app.audited_people', owner => 'people_owner')}, 'as superuser' ],
	[ 'roster_attach_people|||{relation,columns,roles,archive_words}',
	q{SELECT minga_roster.roster_attach_people('public.people')} ],
	[ 'roster_connect|audited||{url,client_id,client_secret,school_id,people,time_zone,sis}',
	sprintf("SELECT minga_roster.roster_connect('audited', url => '%s', client_id => 'hush-client', client_secret => "
	  . "'hush-hush-secret', school_id => '1', people => 'public.people', time_zone => 'UTC')", $server->url) ],
	[ 'roster_configure|audited||{client_id,sync_at}',
	q{SELECT minga_roster.roster_configure('audited', client_id => 'hush-other', sync_at => '20:00')} ],
	[ 'roster_set_secret|audited||{secret}', q{SELECT minga_roster.roster_set_secret('audited', 'hush-hush-secret')} ],
	[ 'roster_toggle|audited||{category,archive}',
	q{SELECT minga_roster.roster_toggle('audited', 'student', archive => true)} ],
	[ 'roster_notify|audited||{email,send,manual}',
	q{SELECT minga_roster.roster_notify('audited', 'hush@mesa.example')} ],
	[ 'roster_enable|audited||{}', q{SELECT minga_roster.roster_enable('audited')} ],
	[ 'roster_disable|audited||{}', q{SELECT minga_roster.roster_disable('audited')} ],
	[ 'roster_set_column_owner|audited||{column_name,owner}',
	q{SELECT minga_roster.roster_set_column_owner('audited', 'phone', 'local')} ],
	[ 'roster_map_column|audited||{column_name,path}',
	q{SELECT minga_roster.roster_map_column('audited', 'phone', 'metadata.hush')} ],
	[ 'roster_decide|audited||{sourced_id,decision}',
	q{SELECT minga_roster.roster_decide('audited', 'hush-id', 'undecided')} ],
	[ 'roster_disconnect|audited||{}', q{SELECT minga_roster.roster_disconnect('audited')} ]);
foreach my $case (@recorded)
{
	my ($expected, $call, $as_superuser) = @$case;
	my $said = said($as_superuser ? $superuser : 'audited', $call);
	unlike($said, qr/ERROR/, "$call") or next;
	is($roster->sql('SELECT role, function, coalesce(connection, $$$$), coalesce(run::text, $$$$), given FROM audit '
		  . 'ORDER BY entry DESC LIMIT 1'), ($as_superuser ? $superuser : 'audited') . "|$expected",
		  '... is on record');
}
$server->faults({ hang => { path => 'students' } });
$run = $roster->sql("SELECT roster_start('mesa')");
$roster->wait_for("SELECT state = 'running' FROM runs WHERE run = $run");
unlike(said('audited', "SELECT minga_roster.roster_cancel($run)"), qr/ERROR/, 'a cancel');
is($roster->sql('SELECT role, function, connection IS NULL, run, given FROM audit ORDER BY entry DESC LIMIT 1'),
	"audited|roster_cancel|t|$run|{}", '... is on record');
$server->clear_faults;
$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
is($roster->sql("SELECT count(*) FROM audit a WHERE a::text ~ 'hush|localhost|planted'"), '0', 'no value is on record');
my $audit = $roster->sql('SELECT count(*) FROM audit');
refused('audited', "BEGIN; SELECT minga_roster.roster_toggle('nowhere', archive => true); COMMIT;", qr/ERROR:  42501/,
	'a call that fails');
is($roster->sql('SELECT count(*) FROM audit'), $audit, '... is not');

is($roster->sql("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper"), $superuser,
	'no role has become superuser');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'and a sync works');
unlike($roster->log_contents, qr/was terminated by signal|PANIC|TRAP/, 'no process has crashed');

$roster->stop;
$_->stop foreach $server, $evil;
done_testing();
