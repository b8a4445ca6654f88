# A database in which every table of the extension has rows, made by the extension's own functions on two schools; and
# its rows in a file, from which a later version of the extension makes the same database under an older one.
#
#   my $roster = RosterCluster->new('name');
#   FullDatabase::use_key($roster);
#   FullDatabase::fill($roster, $server);                 # an OneRosterServer->new(FullDatabase::school())
#   FullDatabase::write_file($roster, $file);
#   FullDatabase::load($node, $database, '0.1.0', $file);
#   FullDatabase::meet($node, $database, $server);        # the SIS is where the present server is
package FullDatabase;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

# Tables that may be empty, and why.
my %may_be_empty = ('minga_roster_internal.mail_server' => 'has a row while a mail server fails');

sub school { return (people => 60, seed => 23); }

# Sealed secrets in a file are of this key.
sub use_key
{
	my ($roster) = @_;

	open(my $file, '>', $roster->key_file) or die 'could not write the key: ' . $!;
	print $file '0123456789abcdef' x 4, "\n";
	close($file);
	return;
}

# The tables of the extension, without partitions.
sub tables
{
	my ($node, $database) = @_;
	return split /\n/, $node->safe_psql($database, <<'SQL');
SET search_path = pg_catalog;
SELECT c.oid::regclass FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'minga_roster' AND c.relkind IN ('r', 'p') AND NOT c.relispartition
ORDER BY c.oid::regclass::text
SQL
}

# The tables without rows, by name.
sub empty_tables
{
	my ($node, $database) = @_;
	return grep { !$may_be_empty{$_} && $node->safe_psql($database, "SELECT NOT EXISTS (SELECT FROM $_)") eq 't' }
	  tables($node, $database);
}

# The SIS on a day: it cannot sort, and has four students of the name that others here have too.
sub play
{
	my ($server, $day, %objects) = @_;

	$server->day($day);
	$server->faults({
		objects => \%objects,
		refuse => { path => 'students', where => 'sort', answer => 422 },
		add_rows => [
			map {
				{ sourcedId => "new-$_", status => 'active', role => 'student', givenName => 'Ana',
					familyName => "Doe$_", identifier => "n-$_", metadata => { nickname => "Annie$_" },
					username => "ana$_", enabledUser => 'true', grades => ['10'],
					orgs => [ { sourcedId => $server->school_id, type => 'org' } ] }
			} 1 .. 4 ] });
	return;
}

# Some weeks of two schools: one that has everything on, one that only has a preview.
sub fill
{
	my ($roster, $server) = @_;

	$roster->sql(<<'SQL');
SELECT roster_create_people('public.people', owner => 'people_owner');
CREATE FUNCTION people_short() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.phone := regexp_replace(NEW.phone, '[^0-9]', '', 'g');
	RETURN NEW;
END $$;
ALTER FUNCTION people_short OWNER TO people_owner;
CREATE TRIGGER short BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION people_short();
INSERT INTO sis (sis, title, base_paths, token_path, collections)
	VALUES ('own', 'Our own', '{/x}', '/t', '[{"collection": "students"}]');
INSERT INTO role_rules VALUES ('own', 'student', 'student', 'student', 1);
CREATE ROLE mesa_reader;
SELECT roster_release_people('public.people', 'north');
SELECT roster_public_key();
SQL
	$roster->connect_school('mesa-high', $server, site => 'mesa', district => 'north');
	$roster->connect_school('vista', $server, site => 'vista', district => 'north');
	$roster->sql(<<'SQL');
SELECT roster_grant('mesa_reader', 'reader', site => 'mesa');
SELECT roster_notify('mesa-high', 'office@mesa.example');
SELECT roster_notify('mesa-high', 'it@mesa.example', 'always', manual => true);
SELECT roster_set_secret('smtp', 'mail secret');
SELECT roster_toggle('mesa-high', auto_update => true, archive => true);
SELECT roster_configure('mesa-high', parent_contact => true, guard_percent => 100, page_size => 20);
SELECT roster_set_column_owner('mesa-high', 'grade', 'sis unless edited');
INSERT INTO people (site, role, given_name, family_name) VALUES ('mesa', 'owner', 'The', 'Owner'),
	('vista', 'owner', 'The', 'Owner');
SQL

	play($server, 0);
	$roster->sql("INSERT INTO people (site, role, given_name, family_name, identifier) VALUES "
		  . "('mesa', 'student', 'Zoe', 'Other', 'n-1'), ('mesa', 'student', 'Ben', 'Elder', 'n-2')");
	$roster->sql($_) foreach (
		"SELECT roster_test_connection('mesa-high')",
		"SELECT roster_sync('mesa-high')",
		"SELECT roster_decide('mesa-high', 'new-1', 'new person')");
	$roster->sql("SELECT roster_configure('mesa-high', classes => true, contacts => true, birth_dates => true, "
		  . "class_grades => '9,10,11,12'), roster_map_column('mesa-high', 'preferred_name', 'metadata.nickname')");
	foreach my $day (1 .. 3)
	{
		play($server, $day);
		$roster->sql("SELECT roster_sync('mesa-high')");
	}
	# Planted: a digest, which the evenings of a district have, and a mark, which no sync leaves where a person is
	# forgotten.
	$roster->sql("INSERT INTO district_recipients (district, email, send) "
		  . "VALUES ('north', 'it\@north.example', 'always'); "
		  . "INSERT INTO district_digests (district, evening, written_at) VALUES ('north', '2026-09-01', now()); "
		  . "INSERT INTO object_marks (connection, run, given, days) SELECT 'vista', max(run), '', '(,)' FROM runs");
	my $forgotten = $roster->sql("SELECT person_id FROM links WHERE sourced_id = 'new-4'");
	$roster->sql($_) foreach (
		"SELECT roster_preview('vista')",
		"SELECT roster_diagnose('mesa-high')",
		"SELECT roster_sync('mesa-high')",
		"SELECT roster_forget('mesa', person_id => '$forgotten')",
		"SELECT roster_sync('mesa-high')");
	# Of each kind of objects one changes, and an enrollment that is missing is held.
	my ($session, $course, $class, $changed, $missing) = split /\|/, $roster->sql(
		"SELECT (SELECT min(sourced_id) FROM academic_sessions), (SELECT min(sourced_id) FROM courses), "
		  . "(SELECT min(sourced_id) FROM classes), min(sourced_id), max(sourced_id) FROM enrollment_rows");
	play($server, 3,
		academicSessions => { set => { $session => { title => 'Renamed' } } },
		courses => { set => { $course => { title => 'Renamed' } } },
		classes => { set => { $class => { title => 'Renamed' } } },
		enrollments => { set => { $changed => { beginDate => '2026-09-01' } }, remove => [$missing] });
	$roster->sql($_) foreach (
		"SELECT roster_configure('mesa-high', guard_percent => 0, guard_floor => 0)",
		"SELECT roster_sync('mesa-high')",
		"SELECT roster_configure('mesa-high', guard_percent => 100, guard_floor => 5)",
		'SELECT roster_run_due()');
	$roster->wait_for('SELECT EXISTS (SELECT FROM minga_roster_internal.clock_seen)');
	$roster->wait_for("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'minga_roster')");
	return;
}

# Writes what load() needs. What is of this server has a name instead.
sub write_file
{
	my ($roster, $path) = @_;
	my $node = $roster->node;
	my $origin = $node->safe_psql('postgres', 'SELECT minga_roster_internal.server_origin()');
	my ($people) = run_command([ 'pg_dump', '-d', $node->connstr('postgres'), '--schema=public' ]);
	my $text = join "\n", grep { !/^\\(?:un)?restrict|^(?:CREATE|COMMENT ON) SCHEMA|^--|^$/ } split /\n/, $people;

	$text .= "\nSET search_path = pg_catalog;\nSET session_replication_role = replica;\n";
	$text .= $node->safe_psql('postgres', <<'SQL') . "\n";
SET search_path = pg_catalog;
SELECT format(E'CREATE UNLOGGED TABLE %1$s (LIKE %2$s);\nALTER TABLE %2$s ATTACH PARTITION %1$s %3$s;\n'
	'ALTER TABLE %1$s OWNER TO minga_roster_dba;\nALTER EXTENSION minga_roster ADD TABLE %1$s;',
	c.oid::regclass, i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid))
FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid WHERE c.oid::regclass::text LIKE '%staged_%' ORDER BY 1
SQL
	foreach my $table (grep { !/_levels$/ || /role_levels/ } tables($node, 'postgres'))
	{
		my $columns = $node->safe_psql('postgres', "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) "
			  . "FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped "
			  . "AND attgenerated = ''");
		my $rows = $table =~ /\b(?:sis|role_rules)$/ ? 'WHERE NOT builtin' : '';
		$text .= "COPY $table ($columns) FROM stdin;\n"
		  . $node->safe_psql('postgres', "SET search_path = pg_catalog;\n"
			  . "COPY (SELECT $columns FROM $table $rows ORDER BY 1) TO stdout") . "\n\\.\n";
	}
	$text .= $node->safe_psql('postgres', <<'SQL') . "\n";
SET search_path = pg_catalog;
SELECT format('SELECT setval(%L, %s);', c.oid::regclass, pg_sequence_last_value(c.oid))
FROM pg_class c WHERE c.relkind = 'S' AND c.relnamespace = 'minga_roster'::regnamespace ORDER BY 1
SQL
	$text =~ s/\Q$origin\E/\@ORIGIN\@/g;
	open(my $file, '>', $path) or die "could not write $path: $!";
	print $file $text;
	close($file);
	return;
}

# Makes the database of a file under that version of the extension, in a database that has no extension yet.
sub load
{
	my ($node, $database, $version, $path) = @_;
	my $text = slurp_file($path);
	my $script = PostgreSQL::Test::Utils::tempdir() . "/load-$version.sql";

	$node->safe_psql($database, "CREATE EXTENSION minga_roster VERSION '$version'");
	my $origin = $node->safe_psql($database, 'SELECT minga_roster_internal.server_origin()');
	$text =~ s/\@ORIGIN\@/$origin/g;
	open(my $file, '>', $script) or die "could not write $script: $!";
	print $file <<'SQL', $text, <<'SQL';
DO $$
BEGIN
	CREATE ROLE mesa_reader;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;
SQL
UPDATE minga_roster.role_levels SET role_oid = role::text::regrole;
SQL
	close($file);
	command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-o', '/dev/null', '-f',
		$script ], "a database of $version is made");
	return;
}

# The secrets in a file are sealed for the address that the SIS had then.
sub meet
{
	my ($node, $database, $server) = @_;
	my $secret = RosterCluster::quote($server->client_secret);

	$node->safe_psql($database, <<"SQL");
UPDATE minga_roster.connections SET base_url = regexp_replace(base_url, '^https://[^/]*', '@{[$server->origin]}'),
	token_url = regexp_replace(token_url, '^https://[^/]*', '@{[$server->origin]}');
DELETE FROM minga_roster.tokens;
SELECT minga_roster.roster_set_secret(connection, $secret) FROM minga_roster.connections;
SQL
	return;
}

1;
