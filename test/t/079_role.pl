# minga_roster_dba, the role that the extension's objects belong to and acts with: what is not its own, and why; what
# code with its rights can do in a worker and in a superuser's session; roles of its name that someone planted; what
# becomes of it with two databases, a dump, and DROP EXTENSION.

use strict;
use warnings;

use OneRosterServer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 20, seed => 4);
my $roster = RosterCluster->new('role', conf => "restart_after_crash = on\n");
my $node = $roster->node;
my $superuser = $roster->sql('SELECT current_user');
my $as_member = "SET SESSION AUTHORIZATION member;\n";

sub said_in
{
	my ($database, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql($database, "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT never\n$sql",
		on_error_stop => 0);
	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

$roster->connect_school('mesa', $server);
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a sync');

# What the role is
is($roster->sql(q{SELECT rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
	(SELECT count(*) FROM pg_auth_members m WHERE r.oid IN (m.member, m.roleid)) FROM pg_roles r
	WHERE rolname = 'minga_roster_dba'}), 'f|f|f|f|f|f|0', 'a plain role without login and memberships');

# Whom the objects belong to. With the role's rights nothing may be replaced that others run with theirs.
my %exception = (
	'schema' => 'an owner could drop what is in it',
	'function in C' => 'ALTER FUNCTION ... CALLED ON NULL INPUT would let it read where nothing is',
	'view' => 'its functions run with the rights of its readers',
	'function of a view or policy' => 'the same',
	'function of a trigger' => 'it runs with the rights of those who write to the table',
	'function that its caller runs' => 'roster_create_people makes the table with its caller\'s rights');
my $owners = $roster->sql(<<'SQL');
WITH members AS (
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'minga_roster'
), objects AS (
	SELECT 'schema' AS kind, n.nspowner AS owner
	FROM members m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid
	UNION ALL
	SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relowner
	FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
	WHERE c.relkind <> 'c'
	UNION ALL
	SELECT 'type', t.typowner
	FROM members m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid
		LEFT JOIN pg_class c ON c.oid = t.typrelid
	WHERE t.typelem = 0 AND (c.oid IS NULL OR c.relkind = 'c')
	UNION ALL
	SELECT CASE
			WHEN l.lanname = 'c' THEN 'function in C'
			WHEN p.prorettype = 'trigger'::regtype THEN 'function of a trigger'
			WHEN p.proname = 'make_people' THEN 'function that its caller runs'
			WHEN EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
				AND d.classid IN ('pg_rewrite'::regclass, 'pg_policy'::regclass))
				THEN 'function of a view or policy'
			ELSE 'function' END, p.proowner
	FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
		JOIN pg_language l ON l.oid = p.prolang
)
SELECT kind, string_agg(DISTINCT CASE WHEN r.rolsuper THEN 'superuser' ELSE r.rolname END, ' '), count(*)
FROM objects o JOIN pg_roles r ON r.oid = o.owner GROUP BY kind ORDER BY kind
SQL
my %seen;
foreach my $line (split /\n/, $owners)
{
	my ($kind, $owner, $count) = split /\|/, $line;
	$seen{$kind} = $count;
	is($owner, $exception{$kind} ? 'superuser' : 'minga_roster_dba',
		"$count of kind $kind" . ($exception{$kind} ? ", since $exception{$kind}" : ''));
}
cmp_ok($seen{$_} // 0, '>', $_ eq 'function' ? 100 : 0, "... kind $_ is there") foreach 'schema', 'table', 'sequence',
	'type', 'view', 'function', 'function in C', 'function that its caller runs';
is($roster->sql(q{SELECT count(*) FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass
	AND d.objid = c.oid AND d.deptype = 'e' WHERE c.relispartition
	AND c.relnamespace = 'minga_roster_internal'::regnamespace
	AND pg_get_userbyid(c.relowner) = 'minga_roster_dba'}), '2', 'a run\'s partitions belong to the role, as members');
is($roster->sql(q{SELECT count(*) FROM pg_proc p WHERE p.prosecdef
	AND p.pronamespace IN ('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace)}), '0',
	'no function is SECURITY DEFINER');

# A member of the role: may call and grant, and cannot replace what is not the role's
$roster->sql('CREATE ROLE member LOGIN IN ROLE minga_roster_dba; CREATE ROLE operator LOGIN; '
	  . 'CREATE ROLE strong IN ROLE pg_execute_server_program; CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC; '
	  . 'CREATE TABLE app.of_superuser AS SELECT 1 AS n; CREATE TABLE app.of_strong AS SELECT 1 AS n; '
	  . 'ALTER TABLE app.of_strong OWNER TO strong');
like(said_in('postgres', "${as_member}SELECT category, archive FROM minga_roster.roster_toggle('mesa', 'student', "
	  . 'archive => true)'), qr/^student\|t$/, 'a member of the role may call each function');
unlike(said_in('postgres', $as_member . 'GRANT USAGE ON SCHEMA minga_roster TO operator; GRANT EXECUTE ON FUNCTION '
	  . 'minga_roster.roster_toggle, minga_roster_internal.connection_status TO operator; GRANT SELECT ON '
	  . 'minga_roster.roster_status, minga_roster.runs TO operator; SELECT FROM minga_roster.roster_grant('
	  . q{'operator', 'reader', site => 'mesa')}), qr/ERROR|WARNING/, '... and grant it to others');
is(said_in('postgres', "SET SESSION AUTHORIZATION operator;\nSELECT connection FROM minga_roster.roster_status"),
	'mesa', '... who can use it');
foreach my $case (
	[ 'CREATE OR REPLACE FUNCTION minga_roster_internal.make_people(schema_name name, relation_name name, owner name) '
	  . 'RETURNS void LANGUAGE sql AS $$SELECT$$', 'function make_people' ],
	[ 'CREATE FUNCTION minga_roster.roster_run_due(n integer DEFAULT 1) RETURNS void LANGUAGE sql AS $$SELECT$$',
	'schema minga_roster' ],
	[ 'ALTER FUNCTION minga_roster_internal.seal(uuid, text, text, text) CALLED ON NULL INPUT', 'function .*seal' ],
	[ 'ALTER FUNCTION minga_roster.roster_run_due() RENAME TO other', 'function roster_run_due' ],
	[ 'ALTER VIEW minga_roster.roster_status SET (security_barrier)', 'view roster_status' ],
	[ 'DROP SCHEMA minga_roster_internal CASCADE', 'schema minga_roster_internal' ],
	[ 'ALTER SCHEMA minga_roster_internal RENAME TO other', 'schema minga_roster_internal' ],
	[ 'DROP EXTENSION minga_roster', 'extension minga_roster' ],
	[ 'SELECT minga_roster_internal.as_owner($$app.of_superuser$$, $$SELECT$$)', 'belongs to superuser' ],
	[ 'SELECT minga_roster_internal.as_owner($$app.of_strong$$, $$SELECT$$)',
	'belongs to "strong", a member of "pg_execute_server_program"' ],
	[ 'SELECT minga_roster_internal.make_member($$app.of_strong$$, true)', 'is not a partition of the stage' ],
	[ 'SELECT minga_roster_internal.make_member($$minga_roster.runs$$, false)', 'is not a partition of the stage' ])
{
	my ($statement, $of) = @$case;
	like(said_in('postgres', $as_member . $statement), qr/ERROR:  42501: .*$of/, "not for a member: $statement");
}
like(said_in('postgres', $as_member . "SELECT minga_roster_internal.$_"), qr/ERROR:  22023/, "nor: $_")
	  foreach 'cron($$SELECT 1$$)', 'server_setting($$hba_file$$)';

my %try;
# A statement that stores attempts by their names.
sub attempts
{
	return 'INSERT INTO app.tries VALUES '
		  . join(', ', map { '(' . RosterCluster::quote($_) . ', ' . RosterCluster::quote($try{$_}) . ')' } @_);
}
# Code with the role's rights, in a worker and in the session of a superuser who calls a function
%try = (
	'a program' => 'COPY app.loot TO PROGRAM $$cat$$', 'a file' => 'COPY app.loot FROM $$/etc/passwd$$',
	'reading a file' => 'SELECT pg_read_file($$PG_VERSION$$)', 'a directory' => 'SELECT pg_ls_dir($$.$$)',
	'a reload' => 'SELECT pg_reload_conf()',
	'a new role' => 'CREATE ROLE planted SUPERUSER', 'to be a superuser' => 'ALTER ROLE member SUPERUSER',
	'the superuser' => "SET ROLE $superuser", 'no role' => 'RESET ROLE',
	'the session' => 'RESET SESSION AUTHORIZATION', 'a session' => "SET SESSION AUTHORIZATION $superuser",
	'a setting of superusers' => 'SET session_replication_role = replica',
	'roles' => 'SELECT rolpassword FROM pg_authid', 'a table of another' => 'SELECT n FROM app.of_superuser',
	'machine code' => 'CREATE FUNCTION minga_roster_internal.planted() RETURNS void LANGUAGE c AS $$minga_roster$$, '
	  . '$$roster_door$$',
	'an event trigger' => 'CREATE EVENT TRIGGER planted ON sql_drop '
	  . 'EXECUTE FUNCTION app.nothing()',
	'a schema' => 'CREATE SCHEMA planted', 'cron' => 'SELECT jobid FROM cron.job',
	'an untyped table' => 'SELECT minga_roster_internal.make_temp_table($$loot$$, $${a}$$, $${25}$$, $${-1}$$, '
	  . '$${100}$$)');
$roster->sql('CREATE TABLE app.loot (at text, what text, got text); '
	  . 'CREATE TABLE app.tries (what text, statement text); '
	  . 'GRANT INSERT, SELECT ON app.loot TO minga_roster_dba; GRANT SELECT ON app.tries TO minga_roster_dba; '
	  . 'CREATE FUNCTION app.nothing() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$; '
	  . attempts(sort keys %try));
sub hostile
{
	my ($at) = @_;
	return <<"SQL";
DECLARE
	try record;
	got text;
BEGIN
	FOR try IN SELECT * FROM app.tries LOOP
		BEGIN
			EXECUTE try.statement;
			got := 'done';
		EXCEPTION WHEN OTHERS THEN
			got := SQLSTATE;
		END;
		INSERT INTO app.loot VALUES ('$at', try.what, got);
	END LOOP;
	INSERT INTO app.loot VALUES ('$at', 'who', format('%s %s %s', current_user, session_user,
		current_setting('is_superuser')));
END
SQL
}
# What each attempt came to, if it is not refused as it should be.
sub gained
{
	my ($at) = @_;
	return $roster->sql(qq{SELECT string_agg(what || ': ' || got, ', ' ORDER BY what) FROM app.loot
		WHERE at = '$at' AND what <> 'who' AND got <> CASE what WHEN 'an untyped table' THEN '42602' ELSE '42501' END});
}
my $saved = $roster->sql(q{SELECT pg_get_functiondef('minga_roster_internal.apply_retention'::regproc)});
said_in('postgres', $as_member . 'CREATE OR REPLACE FUNCTION minga_roster_internal.apply_retention() RETURNS void '
	  . 'LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $hostile$' . hostile('worker') . '$hostile$');
$roster->sql('SELECT roster_run_due()');
$roster->wait_for("SELECT count(*) > 0 FROM app.loot WHERE at = 'worker' AND what = 'who'");
is($roster->sql("SELECT got FROM app.loot WHERE what = 'who' AND at = 'worker'"),
	'minga_roster_dba minga_roster_dba off', 'in a worker, user and session are the role, which is no superuser');
is($roster->sql("SELECT count(*) FROM app.loot WHERE at = 'worker'"), 1 + keys %try, '... each attempt was made');
is(gained('worker'), '', '... and refused');
$roster->sql($saved);

$saved = $roster->sql(q{SELECT pg_get_functiondef('minga_roster_internal.do_disable'::regproc)});
my ($head) = $saved =~ /^(.*? RETURNS \S+)/s;
$try{'a temporary table'} = 'CREATE TEMP TABLE planted (n integer)';
$try{'a prepared statement'} = 'PREPARE planted AS SELECT 1';
$try{'a cursor'} = 'DECLARE planted CURSOR WITH HOLD FOR SELECT 1';
$roster->sql(attempts('a temporary table', 'a prepared statement', 'a cursor'));
my $body = hostile('call');
$body =~ s/\nEND\n\z/\n\tRETURN NULL;\nEND\n/;
unlike(said_in('postgres', "$as_member$head LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp "
	  . "AS \$hostile\$$body\$hostile\$"), qr/ERROR/, 'a member replaces a function behind the door');
$roster->sql("SELECT roster_disable('mesa')");
is($roster->sql("SELECT got FROM app.loot WHERE what = 'who' AND at = 'call'"), "minga_roster_dba $superuser on",
	'... which a superuser calls');
is($roster->sql("SELECT count(*) FROM app.loot WHERE at = 'call'"), 1 + keys %try, '... each attempt was made');
is(gained('call'), '', '... and refused');
$roster->sql($saved);
is($roster->sql("SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper"), $superuser,
	'no role has become superuser');

# Statements on people run as the owner of people
$roster->sql('CREATE TABLE app.writers (who text); GRANT INSERT ON app.writers TO people_owner; '
	  . 'CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.writers VALUES '
	  . '(concat_ws($x$ $x$, current_user, session_user)); RETURN NEW; END$$; '
	  . 'CREATE TRIGGER note BEFORE INSERT OR UPDATE ON public.people FOR EACH ROW EXECUTE FUNCTION app.note(); '
	  . 'UPDATE public.people SET role = role WHERE false; DELETE FROM links; DELETE FROM public.people');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', 'a sync with a trigger');
is($roster->sql('SELECT DISTINCT who FROM app.writers'), 'people_owner minga_roster_dba',
	'... which runs as the owner of people, in a session of the role');

# An owner who became a member of the role, or of a program's, after people were attached
foreach my $strong ('minga_roster_dba', 'pg_execute_server_program', $superuser)
{
	$roster->sql("GRANT $strong TO people_owner");
	like($roster->error("SELECT roster_sync('mesa')"),
		qr/ERROR:  42501: .*relation "public\.people" belongs to "people_owner", a member of "$strong".*HINT: /s,
		"people of a member of $strong are refused");
	$roster->sql("REVOKE $strong FROM people_owner");
}

# The owner of the database takes temporary tables away
$roster->sql('REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC, minga_roster_dba');
my $no_temporary = qr/42501: .*role "minga_roster_dba" cannot create temporary tables in database "postgres"/;
like($roster->error("SELECT roster_sync('mesa')"), qr/$no_temporary.*HINT: .*GRANT TEMPORARY ON DATABASE postgres/s,
	'a sync without the right to make temporary tables');
like($roster->error("SELECT roster_attach_people('public.people')"), $no_temporary, '... and roster_attach_people');
$roster->sql('GRANT TEMPORARY ON DATABASE postgres TO minga_roster_dba');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', '... and with it');

# The role itself became a superuser: nothing of the extension runs
$roster->sql('ALTER ROLE minga_roster_dba SUPERUSER');
like($roster->error("SELECT roster_toggle('mesa')"),
	qr/ERROR:  42501: .*role "minga_roster_dba" is a superuser.*HINT: .*ALTER ROLE minga_roster_dba NOSUPERUSER/s,
	'a role that is a superuser is not acted with');
$roster->sql('ALTER ROLE minga_roster_dba NOSUPERUSER');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', '... and again when it is none');

# Roles that someone planted, and a second database
$node->safe_psql('postgres', 'CREATE DATABASE second');
foreach my $case (
	[ 'ALTER ROLE minga_roster_dba LOGIN', 'ALTER ROLE minga_roster_dba NOLOGIN', 'It can log in' ],
	[ 'ALTER ROLE minga_roster_dba SUPERUSER', 'ALTER ROLE minga_roster_dba NOSUPERUSER', 'It is a superuser' ],
	[ 'ALTER ROLE minga_roster_dba CREATEROLE', 'ALTER ROLE minga_roster_dba NOCREATEROLE', 'It has CREATEROLE' ],
	[ 'GRANT people_owner TO minga_roster_dba', 'REVOKE people_owner FROM minga_roster_dba',
	'It is a member of "people_owner"' ],
	[ 'ALTER DEFAULT PRIVILEGES FOR ROLE minga_roster_dba GRANT SELECT ON TABLES TO PUBLIC',
	'ALTER DEFAULT PRIVILEGES FOR ROLE minga_roster_dba REVOKE SELECT ON TABLES FROM PUBLIC',
	'It has default privileges' ])
{
	my ($plant, $undo, $found) = @$case;
	$node->safe_psql('second', $plant);
	like(said_in('second', 'CREATE EXTENSION minga_roster'),
		qr/ERROR:  0P000: role "minga_roster_dba" cannot own the extension.*DETAIL: .*$found.*HINT: /s,
		"CREATE EXTENSION refuses the role: $found");
	$node->safe_psql('second', $undo);
}
like(said_in('second', 'CREATE EXTENSION minga_roster'),
	qr/WARNING: .*role "minga_roster_dba" has members already.*DETAIL: .*"member".*HINT: /s,
	'CREATE EXTENSION in a second database says who is a member');
$node->safe_psql('second', "SELECT minga_roster.roster_create_people('public.people', owner => 'people_owner'); "
	  . 'SELECT minga_roster.roster_connect($$mesa$$, ' . join(', ', map { "$_->[0] => '$_->[1]'" }
		[ url => $server->url ], [ client_id => $server->client_id ], [ client_secret => $server->client_secret ],
		[ app_name => $server->app_name ], [ school_id => $server->school_id ], [ people => 'public.people' ],
		[ time_zone => 'America/Denver' ]) . ')');
is($node->safe_psql('second', "SELECT state FROM minga_roster.roster_sync('mesa')"), 'succeeded',
	'... where a sync works');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded', '... as in the first');

# A dump, to a cluster without the role
$node->safe_psql('second', 'SET ROLE minga_roster_dba; GRANT EXECUTE ON FUNCTION minga_roster.roster_toggle TO PUBLIC');
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('second'), '-f', $file ], 'pg_dump');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$other->start;
$other->safe_psql('postgres', 'CREATE ROLE people_owner NOLOGIN');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $other->connstr('postgres'), '-f', $file ],
	'restored in a cluster without the role');
is($other->safe_psql('postgres', q{SELECT rolcanlogin, rolsuper, (SELECT count(*) FROM minga_roster.connections),
	(SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'minga_roster.connections'::regclass),
	(SELECT has_function_privilege('people_owner', p.oid, 'EXECUTE') FROM pg_proc p WHERE p.proname = 'roster_toggle')
	FROM pg_roles WHERE rolname = 'minga_roster_dba'}), 'f|f|1|minga_roster_dba|t',
	'... where CREATE EXTENSION made it, and what it granted is granted');
$other->stop;

# What DROP EXTENSION leaves
$node->safe_psql('second', 'DROP EXTENSION minga_roster');
is($roster->sql("SELECT state FROM roster_sync('mesa')"), 'succeeded',
	'dropped in one database, it works in the other');
like(said_in('second', 'DROP ROLE minga_roster_dba'), qr/ERROR:  2BP01/, 'the role that is needed cannot be dropped');
$roster->sql('DROP EXTENSION minga_roster');
is($roster->sql("SELECT count(*) FROM pg_roles WHERE rolname = 'minga_roster_dba'"), '1',
	'DROP EXTENSION leaves the role');
like($roster->error('DROP ROLE minga_roster_dba'), qr/ERROR:  2BP01/, '... which has rights in databases');
$node->safe_psql($_, 'DROP OWNED BY minga_roster_dba') foreach 'postgres', 'second';
$roster->sql('DROP ROLE minga_roster_dba');
$roster->sql('CREATE EXTENSION minga_roster');
is($roster->sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'minga_roster_dba'"), 'f',
	'CREATE EXTENSION makes it again');
unlike($roster->log_contents, qr/was terminated by signal|PANIC|TRAP/, 'no process has crashed');

$roster->stop;
$server->stop;
done_testing();
