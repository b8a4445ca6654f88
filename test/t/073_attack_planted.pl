# An owner of the database without a right on the extension, callers, and roles that may create in schema public plant
# operators, functions, casts, types and relations wherever a name could be looked up: before pg_catalog, beside it, in
# schemas that are named like roles, in the caller's pg_temp. Nothing of it runs while the extension is installed,
# called, or works. And whatever the owner sets for the database, runs succeed.

use strict;
use warnings;

use OneRosterServer;
use Planted;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my $server = OneRosterServer->new(people => 40, seed => 7);
my $smtp = SmtpServer->new(certs => $server->certs);
my $roster = RosterCluster->new('planted', conf => "minga_roster.max_workers = 2\n");
my $node = $roster->node;
my $mine = '-c search_path=pg_catalog,minga_roster,minga_roster_internal -c role=none -c exit_on_error=off -c '
	  . 'statement_timeout=0 -c '
  . 'lock_timeout=0 '
  . '-c idle_session_timeout=0 -c default_transaction_read_only=off -c timezone=UTC -c datestyle=ISO '
  . '-c client_encoding=UTF8 -c client_min_messages=error -c standard_conforming_strings=on -c '
  . 'transform_null_equals=off';
$mine .= ' -c transaction_timeout=0' if $node->pg_version >= 17;
$ENV{PGOPTIONS} = $mine;    # of the statements of the test itself
my ($where, $day, $places, $statements) = ('', 0, 0, 0);
my %planted;

sub quote { return RosterCluster::quote($_[0]); }

# What a role calls where the trap is: with settings of that place alone (options), after statements of it (before).
my %place;
sub attempt
{
	my ($role, $sql, %args) = @_;
	my $options = join ' ', $place{options} // '', $args{options} // '';
	local $ENV{PGOPTIONS} = $options;
	my ($rc, $stdout, $stderr) = $node->psql($args{database} // 'postgres', ($place{before} // '')
	  . ($args{before} // '') . "\\set VERBOSITY verbose\n$sql",
		extra_params => [ '-U', $role ]);
	$statements++;
	is_quiet("$where: $role: $sql");
	return ($rc, $stdout // '', $stderr // '');
}

# Says so only where something ran, which fails the place's own test too.
my @ran;
sub is_quiet
{
	my ($what) = @_;
	my @new = Planted::ran($node) or return;
	fail(substr($what, 0, 200));
	diag($_) foreach @new;
	push @ran, @new;
	return;
}

sub call
{
	my ($role, $sql, %args) = @_;
	my ($rc, $stdout, $stderr) = attempt($role, $sql, %args);
	if ($rc != 0 || $stderr =~ /ERROR/) { fail("$where: $role: " . substr($sql, 0, 200)); diag($stderr); }
	return $stdout;
}

sub refused
{
	my ($role, $sql, $pattern, $name, %args) = @_;
	return like((attempt($role, $sql, %args))[2], $pattern, "$where: $name");
}

sub end_place
{
	my ($counted) = @_;
	workers_are_idle('postgres');
	is_quiet($where);
	is(Planted::counted($node, 'postgres'), 0, "$where: nothing that was planted has run");
	$places++;
	return;
}

sub workers_are_idle
{
	my ($database) = @_;
	$node->poll_query_until($database, "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = "
	  . "current_database() AND backend_type LIKE 'minga_roster%'")
	  or die 'a worker does not end';
	return;
}

# Whatever a naive statement would run: else nothing below proves a thing.
sub springs
{
	my ($name, $sql, %args) = @_;
	local $ENV{PGOPTIONS} = $args{options} // '';
	$node->psql('postgres', ($args{before} // '') . $sql, on_error_stop => 0, extra_params => [ '-U',
	  $args{role} // 'postgres' ]);
	my @new = Planted::ran($node);
	cmp_ok(scalar(@new), '>', 0, "$where: $name springs");
	return;
}

sub reset_counter { $roster->sql('ALTER SEQUENCE trap.ran RESTART'); return; }

# Owners of the sites, of whom the manager may act as people's owner, that owner, and the attacker
my $shown = join ', ', map { "minga_roster.$_" } qw(
  roster_status runs run_counts run_steps findings collections changes links roster_conflicts roster_same_names
  roster_joiners roster_leavers roster_changes_by_day roster_listed_twice roster_without_email
  roster_students_without_guardian);
$roster->sql(<<"SQL");
CREATE ROLE db_owner LOGIN;
CREATE ROLE operator LOGIN;
CREATE ROLE manager LOGIN;
ALTER ROLE people_owner LOGIN;
GRANT people_owner TO manager;
GRANT USAGE ON SCHEMA minga_roster TO people_owner;
SELECT roster_grant(r, 'owner', site => s) FROM unnest('{operator,manager}'::text[]) r,
	unnest('{mesa,odd,seven}'::text[] || ARRAY(SELECT 'made_' || n FROM generate_series(1, 20) n)) s;
GRANT EXECUTE ON FUNCTION minga_roster.roster_create_people, minga_roster.roster_attach_people TO manager, people_owner;
CREATE SCHEMA extras;
GRANT USAGE ON SCHEMA extras TO PUBLIC;
CREATE EXTENSION citext SCHEMA extras;
CREATE SCHEMA school;
GRANT USAGE, CREATE ON SCHEMA school TO people_owner;
GRANT USAGE ON SCHEMA school TO PUBLIC;
CREATE TYPE school.role_word AS ENUM ('student', 'teacher', 'staff', 'owner', 'manager');
ALTER TYPE school.role_word OWNER TO people_owner;
CREATE TABLE school.odd (
    site varchar NOT NULL, person_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, role school.role_word NOT NULL,
    given_name varchar NOT NULL, family_name varchar(80) NOT NULL, middle_name varchar, email extras.citext,
        username varchar, identifier varchar(40),
    grade varchar(8), phone varchar, parent_name varchar, parent_email extras.citext,
        parent_phone varchar, parent_rule varchar,
    archived_at timestamptz, roster_managed boolean NOT NULL DEFAULT true, updated_at timestamptz NOT NULL
        DEFAULT now());
ALTER TABLE school.odd ADD CHECK (family_name <> 'Refused');
ALTER TABLE school.odd OWNER TO people_owner;
ALTER DATABASE postgres RESET search_path;
ALTER DATABASE postgres OWNER TO db_owner;
SQL
$roster->sql('CREATE UNIQUE INDEX ON school.odd (site, lower(email)); CREATE UNIQUE INDEX ON school.odd (site, '
  . 'identifier, role) WHERE archived_at IS NULL AND parent_rule = \'x\'');
$roster->connect_school('mesa', $server, people => 'public.people');
$roster->connect_school('odd', $server, people => 'school.odd');
$roster->set(smtp_url => $smtp->url);
$roster->set(smtp_user => $smtp->user);
$roster->set(smtp_from => 'roster@minga.example');
$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->sql('SELECT roster_set_secret(\'smtp\', ' . quote($smtp->password) . ')');
my @soon = map { sprintf '%02d:00', ((gmtime)[2] + $_) % 24 } 9, 11;
$roster->sql("SELECT roster_configure(connection, time_zone => 'Etc/UTC', sync_at => '$soon[0]', window_end => "
  . "'$soon[1]', parent_contact => true) FROM connections");

# The trap, and that it springs
%planted = Planted::plant($node, 'postgres', 'evil', 'db_owner');
my $planted = 0;
$planted += $_ foreach values %planted;
note("planted: " . join(', ', map { "$planted{$_} $_" } sort keys %planted) . ", $planted in all");
cmp_ok($planted{operators}, '>', 20000, 'operators are planted');
cmp_ok($planted{functions}, '>', 3000, '... and functions');
$where = 'sanity';
Planted::ran($node);
my $hostile = '-c search_path=evil,pg_catalog';
my $t = 'pg_catalog.text';
springs(@$_, options => $hostile) foreach (
	[ 'an operator', "SELECT 'a'::$t = 'b'::$t" ],
	[ 'an operator that the system has for no such pair', "SELECT 'a'::pg_catalog.varchar = 'b'::$t" ],
	[ 'an operator of IN', "SELECT 'a'::$t IN ('b'::$t, 'c')" ],
	[ 'an operator of JOIN ... USING', "SELECT FROM (SELECT 'a'::$t AS c) a JOIN (SELECT 'a'::$t AS c) b USING (c)" ],
	[ 'an operator of NULLIF', "SELECT nullif('a'::$t, 'b'::$t)" ],
	[ 'jsonb ? jsonb', "SELECT '{}'::pg_catalog.jsonb ? '{}'::pg_catalog.jsonb" ],
	[ 'a function', "SELECT lower('A'::$t)" ],
	[ 'a function with other text', "SELECT lower('A'::pg_catalog.varchar)" ],
	[ 'a function of anything', "SELECT format('%s'::$t, 'x'::$t)" ],
	[ 'a function of the extension', "SELECT as_owner('pg_catalog.pg_class'::pg_catalog.regclass, 'x'::$t, 'y'::$t)" ],
	[ 'an aggregate', 'SELECT count(*)' ],
	[ 'a type', "SELECT 'a'::text" ],
	[ 'a cast', "SELECT 'same'::$t\::evil.mood" ],
	[ 'a relation of the system', 'SELECT relname FROM pg_class' ],
	[ 'a relation of the extension', 'SELECT run FROM runs' ],
	[ 'a trigger', 'INSERT INTO runs (run) VALUES (1)' ],
	[ 'the command of former jobs', "DO \$\$ BEGIN IF to_regprocedure('x') IS NULL THEN NULL; END IF; END \$\$" ]);
springs('a temporary relation', 'SELECT connection FROM connections', before => Planted::temporary(),
  role => 'operator');
springs('a temporary type', "SELECT 'a'::text", before => Planted::temporary(), options => '-c '
  . 'search_path=pg_temp,pg_catalog', role => 'operator');
cmp_ok(Planted::counted($node, 'postgres'), '>', 15, 'all this is counted');
reset_counter();

# Everything that the extension does for a connection, by those who would do it
sub newest
{
	my ($kind) = @_;
	return $roster->sql('SELECT max(run) FROM runs' . ($kind ? " WHERE kind = '$kind'" : ''));
}

sub succeeds { my ($role, $sql, $name, %args) = @_; return is(call($role, $sql, %args), 'succeeded', "$where: $name"); }
my $made = 0;

sub everything
{
	my ($connection, $people) = @_;
	my $m = 'minga_roster.roster_';

	call('manager', "SELECT count FROM (SELECT pg_catalog.count(*) FROM ${m}toggle('$connection', auto_update => "
	  . "true, archive => true)) t (count)");
	call('manager', "SELECT (${m}configure('$connection', guard_percent => 100, guard_floor => 1000, parent_contact "
	  . "=> true, season_dates => 'empty')).connection");
	call('manager', "SELECT ${m}set_column_owner('$connection', 'grade', 'sis unless edited'), "
	  . "${m}map_column('$connection', 'identifier', 'userIds[type=LocalID].identifier')");
	like(call('operator', "SELECT pg_catalog.bool_and(ok) FROM ${m}test_connection('$connection')"), qr/^t$/,
	  "$where: the connection test");
	succeeds('operator', "SELECT state FROM ${m}fetch('$connection')", 'a fetch');
	cmp_ok(scalar(split /\n/, call('operator', "SELECT finding FROM ${m}diagnose('$connection')")), '>', 5,
	  "$where: a diagnosis");
	$server->day(++$day);
	call('operator', "SELECT action, before, after FROM ${m}preview('$connection')");
	my $preview = newest('preview');
	succeeds('operator', "SELECT state FROM ${m}apply($preview)", 'a preview is applied');
	$server->day(++$day);
	succeeds('operator', "SELECT state FROM ${m}sync('$connection')", 'a sync');

	# Two who could be meant
	my ($row, $person) = split /\|/, $roster->sql("DELETE FROM links WHERE ctid = (SELECT l.ctid FROM links l JOIN "
	  . "$people p ON p.person_id::text = l.person_id "
		  . "JOIN staged_users s ON s.connection = l.connection AND s.sourced_id = l.sourced_id "
		  . "WHERE l.connection = '$connection' AND p.archived_at IS NULL AND p.identifier <> '' AND s.enabled AND "
		  . "l.category = 'student' "
		  . "AND coalesce(s.status, 'active') = 'active' AND NOT EXISTS (SELECT FROM links o WHERE o.connection = "
		  . "l.connection AND o.person_id = l.person_id AND o.sourced_id <> l.sourced_id) "
		  . "ORDER BY l.sourced_id LIMIT 1) RETURNING sourced_id, person_id");
	$roster->sql("INSERT INTO $people (site, role, given_name, family_name, identifier) SELECT site, role, "
	  . "given_name, family_name, identifier "
		  . "FROM $people WHERE person_id::text = '$person'");
	succeeds('postgres', "SELECT state FROM ${m}sync('$connection')", 'a sync by a superuser');
	like(call('operator', "SELECT connection, person_id FROM minga_roster.roster_conflicts"),
	  qr/^$connection\|$person$/m, "$where: a conflict");
	call('operator', "SELECT ${m}decide('$connection', '$row', 'same person', '$person')");
	call('operator', "SELECT ${m}decide('$connection', '$row', 'undecided')");
	call('operator', "SELECT ${m}decide('$connection', '$row', 'same person', '$person')");
	refused('operator', "SELECT ${m}relink(" . newest('sync') . ')', qr/ERROR:  55000: /, 'there is nothing to move');
	succeeds('operator', "SELECT state FROM ${m}sync('$connection')", 'a sync after the decision');

	# Held, approved, undone
	call('manager', "SELECT (${m}configure('$connection', guard_percent => 0, guard_floor => 0)).connection");
	$server->faults({ remove_rows => [ split /\n/, $roster->sql("SELECT l.sourced_id FROM links l JOIN $people p ON "
	  . "p.person_id::text = l.person_id "
			  . "WHERE l.connection = '$connection' AND p.archived_at IS NULL AND l.category = 'student' AND "
			  . "missed_since IS NULL ORDER BY 1 LIMIT 4") ] });
	my ($state, $held) = split /\|/, call('operator', "SELECT state, held FROM ${m}sync('$connection')");
	is($state, 'succeeded', "$where: a sync that misses some");
	cmp_ok($held // 0, '>', 0, "$where: ... and holds them");
	my $sync = newest('sync');
	succeeds('operator', "SELECT state FROM ${m}approve($sync)", 'an approval');
	cmp_ok($roster->sql('SELECT archived FROM runs ORDER BY run DESC LIMIT 1'), '>', 0, "$where: ... archives");
	succeeds('operator', "SELECT state FROM ${m}undo(" . newest('approve') . ')', 'an undo');
	$server->clear_faults;
	succeeds('operator', "SELECT state FROM ${m}sync('$connection')", 'a sync that finds everyone again');

	# What is read
	cmp_ok(length(call('operator', "SELECT ${m}report($sync)")), '>', 200, "$where: a report");
	like(call('operator', "SELECT ${m}report_html($sync)"), qr/<html/, "$where: ... in HTML");
	cmp_ok(length(call('operator', "SELECT ${m}diagnosis(" . newest('diagnose') . ')')), '>', 200, "$where: ... of "
	  . "the diagnosis");
	call('operator', "SELECT pg_catalog.count(*) FROM $_") foreach split /, /, $shown;

	# What a manager does
	call('manager', "SELECT ${m}set_secret('$connection', " . quote($server->client_secret) . ')');
	call('manager', "SELECT ${m}notify('$connection', 'it\@mesa.example', 'always', true)");
	call('manager', "SELECT (${m}enable('$connection')).automatic");
	call('manager', "SELECT (${m}disable('$connection')).automatic");
	my $started = call('operator', "SELECT ${m}start('$connection', 'fetch')");
	attempt('operator', "SELECT (${m}cancel($started)).state");
	$roster->wait_for("SELECT count(*) = 0 FROM runs WHERE state IN ('queued', 'running')");
	my $new = 'made_' . ++$made;
	is(call('people_owner', "SELECT ${m}create_people('school.$new')::pg_catalog.oid"), $roster->sql("SELECT "
	  . "'school.$new'::regclass::oid"), "$where: an owner makes people");
	call('people_owner', "SELECT ${m}attach_people('school.$new', columns => '{\"grade\": \"grade\"}', roles => "
	  . "'{\"student\": \"pupil\"}')");
	call('postgres', "SELECT ${m}create_people('school.${new}b', owner => 'people_owner')");
	call('postgres', "SELECT ${m}attach_people('school.${new}b')");
	call('manager', "SELECT connection FROM ${m}connect('$new', url => " . quote($server->url) . ", client_id => "
	  . "'minga-client', client_secret => 'x', school_id => 'S1', "
		  . "people => 'school.$new', time_zone => 'America/Denver')");
	call('manager', "SELECT people FROM ${m}configure('$new', people => 'school.${new}b')");
	call('manager', "SELECT ${m}disconnect('$new')");

	# The minute's duty
	call('postgres', "SELECT ${m}run_due()");
	workers_are_idle('postgres');
	call('postgres', $roster->sql('SELECT cron_command()'));
	return end_place();
}

# Two nights and what a superuser may do, by one role alone
sub shortly
{
	my ($role, $connection) = @_;
	my $m = 'minga_roster.roster_';

	$server->day(++$day);
	succeeds($role, "SELECT state FROM ${m}sync('$connection')", "a sync by $role");
	$server->day(++$day);
	call($role, "SELECT action FROM ${m}preview('$connection')");
	succeeds($role, "SELECT state FROM ${m}apply(" . newest('preview') . ')', "a preview is applied by $role");
	succeeds($role, "SELECT state FROM ${m}undo(" . newest('apply') . ')', "an undo by $role");
	succeeds($role, "SELECT state FROM ${m}sync('$connection')", "another sync by $role");
	cmp_ok(length(call($role, "SELECT ${m}report(" . newest('sync') . ')')), '>', 200, "$where: a report for $role");
	call($role, 'SELECT blocked_reason FROM minga_roster.roster_status');
	call('postgres', "SELECT ${m}run_due()");
	workers_are_idle('postgres');
	call('postgres', $roster->sql('SELECT cron_command()'));
	return end_place();
}

sub by_owner { my ($sql, $database) = @_; $node->psql($database // 'postgres', $sql, on_error_die => 1,
  extra_params => [ '-U', 'db_owner' ]); return; }
sub set_database { by_owner("ALTER DATABASE postgres $_[0]"); return; }
sub rename_schema { by_owner("ALTER SCHEMA \"$_[0]\" RENAME TO \"$_[1]\""); return; }

# 1. What the owner sets for the database
$where = 'path of the database';
set_database('SET search_path = evil, pg_catalog');
everything('mesa', 'public.people');
everything('odd', 'school.odd');
foreach my $path ('evil', '"$user", public, evil, pg_catalog', 'public, "evil", pg_temp, pg_catalog, minga_roster',
  'pg_temp, evil, minga_roster, pg_catalog')
{
	$where = "path of the database: $path";
	set_database("SET search_path = $path");
	shortly('operator', 'mesa');
}
set_database('RESET ALL');

# An odd value of as many settings as the server lets the owner give to the database: least, then greatest
my $odd = <<'SQL';
DO $do$
DECLARE
    s record;
    value text;
BEGIN
    FOR s IN
        SELECT * FROM pg_settings
        WHERE context = 'user' AND name !~ '^(debug_print|trace_|log_)' AND name NOT IN ('search_path', 'role',
            'session_authorization', 'local_preload_libraries')
            -- 18 does not take these back: ALTER DATABASE … RESET ALL fails.
            AND name NOT IN ('transaction_deferrable', 'transaction_isolation', 'transaction_read_only')
        UNION ALL
        SELECT * FROM pg_settings WHERE name IN ('role', 'search_path')
    LOOP
        FOREACH value IN ARRAY CASE
            WHEN s.name = 'search_path' THEN ARRAY['evil, pg_catalog']
            -- Since 17. A parallel worker begins with it, and takes its leader along if it is over by then.
            WHEN s.name = 'transaction_timeout' THEN ARRAY['10s']
            WHEN s.name ~ '(statement|lock|idle.*session|transaction)_timeout' THEN ARRAY['1ms']
            WHEN s.vartype = 'bool' THEN ARRAY[CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END]
            WHEN s.vartype = 'enum' THEN ARRAY[CASE WHEN :side THEN (SELECT min(e) FROM unnest(s.enumvals) e
                WHERE e <> s.setting)
                                                    ELSE (SELECT max(e) FROM unnest(s.enumvals) e
                                                        WHERE e <> s.setting) END]
            WHEN s.vartype IN ('integer', 'real') THEN ARRAY[CASE WHEN :side THEN s.min_val ELSE s.max_val END]
            ELSE ARRAY['db_owner', 'LATIN1', 'SQL, DMY', 'Pacific/Apia', 'India', 'C', 'pg_default',
                'pg_catalog.german', 'all', 'odd'] END
        LOOP
            BEGIN
                EXECUTE format('ALTER DATABASE postgres SET %s = %s', s.name, CASE s.name WHEN 'search_path'
                    THEN value ELSE quote_literal(value) END);
                EXIT;
            EXCEPTION
                WHEN OTHERS THEN NULL;
            END;
        END LOOP;
    END LOOP;
END
$do$;
SQL
my @foreign = map { "minga_roster.$_" } qw(
  allowed_hosts=* keep_runs=1 keep_changes=1 key_file=/dev/null ca_file=/dev/null smtp_url=smtp://localhost:1
  max_workers=0 merge_timeout=1);
foreach my $side ('true', 'false')
{
	$where = $side eq 'true' ? 'least values of all settings' : 'greatest values of all settings';
	by_owner($odd =~ s/:side/$side/gr);
	foreach my $setting (@foreign, 'session_authorization=db_owner')
	{
		# The server refuses most of these; what it takes must not help.
		$node->psql('postgres', "ALTER DATABASE postgres SET " . ($setting =~ s/=(.*)/ = '$1'/r),
		  extra_params => [ '-U', 'db_owner' ]);
	}
	my $set = $roster->sql("SELECT cardinality(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = "
	  . "s.setdatabase WHERE d.datname = 'postgres' AND setrole = 0");
	cmp_ok($set, '>', 100, "$where: $set of them are set");
	# With all of it no statement comes to its end in the caller's own session; the worker has no such help.
	$place{options} = '-c role=none -c statement_timeout=0 -c lock_timeout=0 -c idle_session_timeout=0 -c '
	  . 'idle_in_transaction_session_timeout=0 '
	  . '-c default_transaction_read_only=off' . ($node->pg_version >= 17 ? ' -c transaction_timeout=0' : '');
	# People whom the table refuses: errors that the worker expects. Who is listed is known by a fresh stage.
	succeeds('operator', "SELECT state FROM minga_roster.roster_sync('odd')", 'a sync to begin with');
	my @students = split /\n/, $roster->sql("SELECT l.sourced_id FROM links l JOIN staged_users s USING "
	  . "(connection, sourced_id) "
		  . "JOIN school.odd p ON p.person_id::text = l.person_id WHERE connection = 'odd' AND l.category = "
		  . "'student' AND p.archived_at IS NULL "
		  . "AND s.enabled AND coalesce(s.status, 'active') = 'active' AND l.missed_since IS NULL ORDER BY "
		  . "l.sourced_id DESC LIMIT 4");
	$server->faults({ override => { map { $_ => { familyName => 'Refused' } } @students }, ignore_fields => 1 });
	is(call('operator', "SELECT state, rejects OPERATOR(pg_catalog.>) 0 FROM minga_roster.roster_sync('odd')"),
	  'succeeded|t',
		"$where: whom the table refuses is a reject")
	  or diag($roster->sql('SELECT to_jsonb(r) FROM runs r ORDER BY run DESC LIMIT 1'));
	$server->clear_faults;
	shortly($_, 'odd') foreach qw(operator postgres);
	set_database('RESET ALL');
}
%place = ();

# 2. The paths of roles, in their sessions, and as they connect
$where = 'path of the roles';
$roster->sql("ALTER ROLE $_ SET search_path = evil, pg_catalog") foreach qw(operator manager people_owner);
everything('odd', 'school.odd');
$roster->sql("ALTER ROLE $_ IN DATABASE postgres SET search_path = evil, pg_catalog; ALTER ROLE $_ RESET "
  . "search_path") foreach qw(operator manager people_owner postgres);
$where = 'path of the roles in the database';
shortly('operator', 'mesa');
$roster->sql("ALTER ROLE $_ IN DATABASE postgres RESET search_path") foreach qw(operator manager people_owner postgres);
$where = 'path of the connection to the server';
$place{options} = '-c search_path=evil,pg_catalog';
shortly('operator', 'mesa');
%place = (before => "SET search_path = evil, pg_catalog;\n");
$where = 'path of the session';
everything('mesa', 'public.people');

# 4. The caller's temporary relations and types, before all else
$where = 'pg_temp';
%place = (before => Planted::temporary() . "SET search_path = pg_temp, evil, pg_catalog;\n");
everything('odd', 'school.odd');
%place = (before => Planted::temporary());
$where = 'pg_temp, by default';
shortly('postgres', 'mesa');
%place = ();

# 3. Schema public, after pg_catalog: what the system has no exact match for
rename_schema('public', 'public_was');
rename_schema('evil', 'public');
$roster->sql('ALTER TABLE public_was.people SET SCHEMA public; ALTER TABLE school.odd SET SCHEMA public');
$where = 'schema public';
springs('an operator that the system has for no such pair', "SELECT 'a'::varchar = 'b'::text", role => 'operator');
springs('a function with other text', "SELECT lower('A'::varchar)", role => 'operator');
reset_counter();
everything('mesa', 'public.people');
everything('odd', 'public.odd');
set_database('SET search_path = public, pg_catalog');
$where = 'schema public as the path of the database';
shortly('operator', 'odd');
set_database('RESET ALL');
$roster->sql('ALTER TABLE public.people SET SCHEMA public_was; ALTER TABLE public.odd SET SCHEMA school');

# 4. Schemas that are named like roles
my $named = 'public';
foreach my $role (qw(people_owner postgres operator))
{
	rename_schema($named, $role);
	rename_schema('public_was', 'public') if $named eq 'public';
	$where = "schema $role";
	springs('an operator that the system has for no such pair', "SELECT 'a'::varchar = 'b'::text", role => $role);
	reset_counter();
	shortly($role eq 'operator' ? 'operator' : 'postgres', $_) foreach qw(odd mesa);
	$named = $role;
}
rename_schema($named, 'evil');

# An evening, from the job to the mail
$where = 'evening';
set_database('SET search_path = evil, pg_catalog');
call('manager', "SELECT (minga_roster.roster_configure('mesa', time_zone => 'America/Denver', sync_at => '19:00', "
  . "window_end => '06:00')).connection");
my $tomorrow = $roster->sql("SELECT now()::date + 1");
$roster->set(test_clock => "$tomorrow 12:00:00+00");
is(call('manager', "SELECT automatic FROM minga_roster.roster_enable('mesa')"), 't', "$where: Automatic Rostering "
  . "is on");
$server->day(++$day);
$roster->set(test_clock => $roster->sql("SELECT (('$tomorrow'::date + time '20:00') AT TIME ZONE "
  . "'America/Denver')::text"));
$roster->wait_for("SELECT count(*) = 1 FROM runs WHERE trigger = 'evening' AND finished_at IS NOT NULL");
is($roster->sql("SELECT state, coalesce(error, '') FROM runs WHERE trigger = 'evening'"), 'succeeded|', "$where: "
  . "pg_cron starts it, and the sync succeeds");
$roster->wait_for("SELECT count(*) = 0 FROM outbox WHERE state = 'waiting'");
cmp_ok($roster->sql("SELECT count(*) FROM outbox WHERE state = 'sent'"), '>', 0, "$where: mail is sent");
is($roster->sql("SELECT count(*) FROM cron.job_run_details WHERE status = 'failed'"), '0', "$where: the job has not "
  . "failed");
end_place();

# 6. Jobs of former versions
$where = 'job of a former version';
my $former = "DO \$do\$ BEGIN IF to_regprocedure('minga_roster.roster_run_due()') IS NULL THEN PERFORM "
  . "cron.unschedule('minga_roster'); "
  . 'ELSE PERFORM minga_roster.roster_run_due(); END IF; END $do$';
sub make_former { $roster->sql("UPDATE cron.job SET command = " . quote($former) . " WHERE jobname = "
  . "'minga_roster'"); return; }
sub renewed { return "SELECT command = cron_command() FROM cron.job WHERE jobname = 'minga_roster'"; }
make_former();
call('postgres', 'SELECT minga_roster.roster_run_due()');
$roster->wait_for(renewed());
pass("$where: the next minute renews its command");
workers_are_idle('postgres');
reset_counter();    # pg_cron itself may have started the former command between
Planted::ran($node);
make_former();
call('manager', "SELECT automatic FROM minga_roster.roster_enable('mesa')");
is($roster->sql(renewed()), 't', "$where: roster_enable does too");

# 7. People are whom the caller means
$where = 'people of the caller';
$roster->sql('CREATE SCHEMA manager AUTHORIZATION manager');
$roster->sql("SELECT roster_create_people('manager.people', owner => 'manager')");
set_database('RESET ALL');
my $arguments = 'url => ' . quote($server->url) . ", client_id => 'minga-client', school_id => 'S1', people => "
  . "'people', time_zone => 'America/Denver'";
is(call('manager', "SELECT people::oid FROM minga_roster.roster_connect('seven', $arguments)"),
  $roster->sql("SELECT 'manager.people'::regclass::oid"),
	"$where: connected is the one of the caller's own schema");
is(call('manager', "SELECT people::oid FROM minga_roster.roster_configure('seven', people => 'people')",
  before => "SET search_path = public;\n"),
	$roster->sql("SELECT 'public.people'::regclass::oid"), "$where: ... and configured the one of the caller's path");
$roster->sql("SELECT roster_disconnect('seven')");

# 5. The install, where the attacker was first; then a database without pg_cron whose schema cron is the attacker's
$where = 'install';
$roster->sql('CREATE DATABASE bare OWNER db_owner');
$roster->sql('ALTER DATABASE bare SET search_path = evil, pg_catalog');
$node->safe_psql('bare', 'CREATE SCHEMA extras; GRANT USAGE ON SCHEMA extras TO PUBLIC; CREATE EXTENSION citext '
  . 'SCHEMA extras');
Planted::plant($node, 'bare', 'evil', 'db_owner');
my $install = 'CREATE EXTENSION minga_roster';
my $mine_first = qr/ERROR:  42P15: schema "minga_roster" is not an empty schema of a superuser/;
by_owner('CREATE SCHEMA minga_roster', 'bare');
refused('postgres', $install, qr/$mine_first.*DETAIL:  It belongs to "db_owner"/s, 'a schema of the attacker is '
  . 'refused', database => 'bare');
by_owner('DROP SCHEMA minga_roster', 'bare');
$node->safe_psql('bare', 'CREATE SCHEMA minga_roster; GRANT CREATE, USAGE ON SCHEMA minga_roster TO db_owner');
refused('postgres', $install, qr/$mine_first.*DETAIL:  Roles other than its owner can create/s, '... and one where '
  . 'the attacker may create', database => 'bare');
by_owner('CREATE FUNCTION minga_roster.as_owner(regclass, text, text) RETURNS bigint LANGUAGE sql AS \'SELECT '
  . '1::bigint WHERE trap.sprung($2)\'', 'bare');
$node->safe_psql('bare', 'REVOKE CREATE ON SCHEMA minga_roster FROM db_owner');
refused('postgres', $install, qr/$mine_first.*DETAIL:  It contains objects already/s, '... and one with '
  . 'something of the attacker in it', database => 'bare');
by_owner('DROP FUNCTION minga_roster.as_owner', 'bare');
by_owner('CREATE SCHEMA minga_roster_internal', 'bare');
refused('postgres', $install, qr/ERROR:  42P06: schema "minga_roster_internal" already exists/,
	'... nor with a schema of the attacker for the internal functions', database => 'bare');
by_owner('DROP SCHEMA minga_roster_internal', 'bare');
call('postgres', $install, database => 'bare');
is($node->safe_psql('bare', "SELECT count(*) FROM pg_extension WHERE extname = 'minga_roster'"), '1', "$where: an "
  . "empty schema of the superuser's own is taken");
is(Planted::counted($node, 'bare'), 0, "$where: nothing that was planted has run");
$places++;

$where = 'schema cron of the attacker';
by_owner(<<'SQL', 'bare');
CREATE SCHEMA cron;
GRANT USAGE ON SCHEMA cron TO PUBLIC;
CREATE TABLE cron.job (jobid bigint, schedule text, command text, nodename text, nodeport integer, database text,
    username text, active boolean, jobname text);
CREATE TABLE cron.job_run_details (jobid bigint, runid bigint, job_pid integer, database text, username text,
    command text, status text, return_message text,
    start_time timestamptz, end_time timestamptz);
INSERT INTO cron.job VALUES (1, '* * * * *', 'DO x', '', 0, 'bare', 'postgres', true, 'minga_roster');
INSERT INTO cron.job_run_details SELECT 1, n, 0, 'bare', 'postgres', '', 'succeeded', '', now() - interval '9 days',
    now() - interval '9 days' FROM generate_series(1, 9) n;
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON cron.job FOR EACH ROW EXECUTE FUNCTION trap.sprung_trigger();
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON cron.job_run_details FOR EACH ROW
    EXECUTE FUNCTION trap.sprung_trigger();
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql
    AS 'SELECT 1::bigint WHERE trap.sprung(''cron.schedule'')';
CREATE FUNCTION cron.unschedule(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung(''cron.unschedule'')';
CREATE FUNCTION cron.unschedule(text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.sprung(''cron.unschedule'')';
CREATE FUNCTION cron.alter_job(job_id bigint, schedule text DEFAULT NULL, command text DEFAULT NULL, database text
    DEFAULT NULL, username text DEFAULT NULL,
    active boolean DEFAULT NULL) RETURNS void LANGUAGE sql AS 'SELECT WHERE trap.sprung(''cron.alter_job'')';
GRANT ALL ON ALL TABLES IN SCHEMA cron TO PUBLIC;
SQL
$node->safe_psql('bare', "UPDATE cron.job SET command = minga_roster_internal.cron_command()");
is(Planted::counted($node, 'bare'), 1, "$where: its triggers fire");
$node->safe_psql('bare', 'ALTER SEQUENCE trap.ran RESTART');
Planted::ran($node);
my $connect = join ', ', map { "$_->[0] => " . quote($_->[1]) } [ url => $server->url ],
  [ client_id => $server->client_id ],
  [ client_secret => $server->client_secret ], [ school_id => $server->school_id ], [ people => 'public.people' ],
  [ time_zone => 'America/Denver' ];
call('postgres', "SELECT minga_roster.roster_create_people('public.people', owner => 'people_owner')",
  database => 'bare');
call('postgres', "SELECT connection FROM minga_roster.roster_connect('bare', $connect)", database => 'bare');
is(call('postgres', "SELECT state FROM minga_roster.roster_sync('bare')", database => 'bare'), 'succeeded',
  "$where: a sync") foreach 1, 2;
refused('postgres', "SELECT minga_roster.roster_enable('bare')",
  qr/ERROR:  55000: .*pg_cron is not installed in database "bare"/s, 'it is no pg_cron', database => 'bare');
call('postgres', 'SELECT blocked_reason FROM minga_roster.roster_status', database => 'bare');
$node->safe_psql('bare', "INSERT INTO minga_roster.audit (role, function, given, called_at) VALUES ('x', 'x', '{}', "
  . "now() - interval '9 years')");
$roster->set(test_clock => "$tomorrow 13:00:00+00");
call('postgres', 'SELECT minga_roster.roster_run_due()', database => 'bare');
$node->poll_query_until('bare', "SELECT count(*) = 0 FROM minga_roster.audit WHERE function = 'x'") or die 'no '
  . 'retention';
call('postgres', "SELECT minga_roster.roster_disable('bare')", database => 'bare');
call('postgres', "SELECT minga_roster.roster_disconnect('bare')", database => 'bare');
workers_are_idle('bare');
is_quiet($where);
is($node->safe_psql('bare', 'SELECT count(*) FROM cron.job_run_details'), '9', "$where: its rows are left");
is(Planted::counted($node, 'bare'), 0, "$where: nothing that was planted has run");
$places++;

# 6. The job, when the extension is gone and the attacker has a function of the name
$where = 'after the extension';
set_database('SET search_path = evil, pg_catalog');
my $command = $roster->sql("SELECT command FROM cron.job WHERE jobname = 'minga_roster'");
$roster->sql('UPDATE cron.job SET active = false');    # so that it is here that the command is run
$roster->sql('DROP EXTENSION minga_roster CASCADE; DROP SCHEMA minga_roster');
by_owner('CREATE SCHEMA minga_roster; GRANT USAGE ON SCHEMA minga_roster TO PUBLIC; '
	  . 'CREATE FUNCTION minga_roster.roster_run_due() RETURNS void LANGUAGE sql AS \'SELECT WHERE '
	  . 'trap.sprung(\'\'roster_run_due of the attacker\'\')\'');
springs('the function of the attacker', 'SELECT minga_roster.roster_run_due()');
reset_counter();
call('postgres', $command);
is($roster->sql("SELECT count(*) FROM cron.job WHERE jobname = 'minga_roster'"), '0', "$where: the job unschedules "
  . "itself");
end_place();

is(scalar(@ran), 0, 'nothing that was planted has run, anywhere');
note("$places places, $statements statements, $planted planted: " . $places * $planted . ' chances, ' . @ran . ' '
  . 'taken');
$roster->stop;
done_testing();
