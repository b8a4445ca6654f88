# What each level may: every function that people call and every table and view, from the catalog, tried as each level.
# The matrix of docs/security.md has to be what is found.
use strict;
use warnings;
use FindBin qw($RealBin);
use lib "$RealBin/../perl";

use PostgreSQL::Test::Utils;
use Test::More;

use RosterCluster;

my $roster = RosterCluster->new('access_matrix');
my $node = $roster->node;
my $matrix = slurp_file("$RealBin/../../docs/security.md");
# Of the site rows-north, in district mesa; "elsewhere" are the site rows-west and its district.
my @levels = ('no level', 'reader', 'owner', 'district_manager', 'DBA');
my %role = map { $_ => 'level_' . lc($_ =~ s/\W/_/gr) } @levels, 'owner elsewhere', 'district_manager elsewhere',
  'reader elsewhere';

$roster->sql('ALTER ROLE people_owner RENAME TO regress_people_owner');
$roster->sql(slurp_file("$RealBin/../fixtures/tenants.sql") . <<"SQL");
SELECT connect('rows-n', 'rows-north', 'mesa'), connect('rows-w', 'rows-west', 'far');
SELECT plant('north', 'rows-n', 920000004), plant('west', 'rows-w', 920000008);
INSERT INTO tenants SELECT tenant, connection, run, connection FROM tenants;
INSERT INTO tenants SELECT DISTINCT tenant, connection, run, 'rows.people'::regclass::text FROM tenants;
INSERT INTO tenants VALUES ('north', 'rows-n', 920000004, 'mesa');
GRANT USAGE ON SCHEMA rows TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA rows TO PUBLIC;
SELECT roster_release_people('people', 'mesa'), roster_release_people('people', 'far');
@{[ join "\n", map { "CREATE ROLE $_;" } sort values %role ]}
GRANT USAGE ON SCHEMA minga_roster TO $role{'no level'};
SELECT roster_grant('$role{reader}', 'reader', site => 'rows-north'),
	roster_grant('$role{owner}', 'owner', site => 'rows-north'),
	roster_grant('$role{district_manager}', 'district_manager', district => 'mesa'),
	roster_grant('$role{'reader elsewhere'}', 'reader', district => 'far'),
	roster_grant('$role{'owner elsewhere'}', 'owner', site => 'rows-west'),
	roster_grant('$role{'district_manager elsewhere'}', 'district_manager', district => 'far');
INSERT INTO district_recipients (district, email) VALUES ('mesa', 'it\@mesa.example'), ('far', 'it\@far.example');
INSERT INTO district_digests VALUES ('mesa', '2026-09-01', now());
CREATE ROLE target;
GRANT CREATE ON SCHEMA rows TO $role{DBA}, regress_people_owner;
SQL
# The DBA of the matrix acts as the owner of people as well.
$roster->sql("GRANT regress_people_owner, " . $roster->sql('SELECT relowner::regrole FROM pg_class WHERE oid = '
	  . "'minga_roster.role_levels'::regclass") . " TO $role{DBA}");

# Arguments by name; a function of its own where they would not do.
my %value = (connection => "'rows-n'", run => '920000004', site => "'rows-north'", role => "'target'",
	level => "'reader'", relation => "'rows.people'", district => "'mesa'", email => "'x\@mesa.example'",
	secret => "'something'", sourced_id => "'sid-1'", decision => "'undecided'", column_name => "'email'",
	owner => "'sis'", name => "'none'", sealed => "'none'", person_id => "'pid-1'",
	links => "'{}'", path => "'metadata.homeroom'", at => 'now()', since => 'now()', until => 'now()');
my %call = (
	roster_connect => "roster_connect('rows-new', 'https://127.0.0.1:9/campus/api/oneroster/v1p1/app', 'c', 's', "
	  . "school_id => 'school', people => 'rows.people', site => 'rows-north', time_zone => 'UTC')",
	roster_create_people => "roster_create_people('rows.made', owner => 'regress_people_owner')",
	roster_grant => "roster_grant('target', 'reader', site => 'rows-north')",
	roster_revoke => "roster_revoke('target', 'reader', site => 'rows-north')",
	# An owner names the file that is for the connection.
	roster_set_secret_from_file => "roster_set_secret_from_file('rows-n', 'rows-n\@127.0.0.1:9')",
	roster_diagnosis => 'roster_diagnosis(920000003)');
# Called last, since the others find nothing after them.
my %last = (roster_disconnect => 1, roster_forget => 1);
my @calls;
foreach my $line (split /\n/, $roster->sql(<<'SQL'))
SELECT p.proname, p.pronargs - p.pronargdefaults, coalesce(array_to_string(p.proargnames, ' '), '') FROM pg_proc p
WHERE p.pronamespace = 'minga_roster'::regnamespace ORDER BY 1, 3
SQL
{
	my ($name, $required, $names) = split /\|/, $line;
	my @arguments = (split / /, $names)[ 0 .. $required - 1 ];
	my @unknown = grep { !exists $value{$_} } @arguments;

	is("@unknown", '', "$name: its arguments have values here");
	push @calls, [ $name, $call{$name} // "$name(" . join(', ', map { "$_ => $value{$_}" } @arguments) . ')' ];
}
@calls = sort { ($last{ $a->[0] } // 0) <=> ($last{ $b->[0] } // 0) } @calls;
cmp_ok(scalar @calls, '>', 30, 'functions that people call');

# What a role's statements come to, in sessions of its own: SQLSTATEs or results.
sub as
{
	my ($level, @statements) = @_;
	my ($rc, $stdout) = $node->psql('postgres',
		"SET client_min_messages = error;\nSET statement_timeout = '60s';\nSET search_path = rows, minga_roster;\n"
		  . "SET ROLE $role{$level};\n"
		  . join('', map { "$_ \\gset got_\n\\echo :SQLSTATE :got_seen\n\\unset got_seen\n" } @statements),
		on_error_stop => 0);

	return split /\n/, $stdout;
}

# The least level of functions, tables and views as tried, by name. Levels elsewhere may no more than no level, except
# read what is known of a people relation that they are connected to as well.
my %found;
sub judge
{
	my ($name, %may) = @_;
	my $row = join ' ', map { $may{$_} ? 'yes' : '–' } @levels;

	is(join(' ', map { "$_: $may{$_}" } grep { $may{$_} && !$may{'no level'} } 'reader elsewhere', 'owner elsewhere',
			'district_manager elsewhere'), '', "$name: no right elsewhere") if $name ne 'people_relations';
	$found{$name} //= $row;
	is($row, $found{$name}, "$name: one rule for all of its forms");
	return;
}

my %states;
foreach my $level (@levels, 'reader elsewhere', 'owner elsewhere', 'district_manager elsewhere')
{
	# What a level before did is there again.
	$roster->sql(<<'SQL');
SET search_path = rows, minga_roster;
SET client_min_messages = error;
DELETE FROM connections WHERE connection = 'rows-new' OR (connection = 'rows-n' AND retired_at IS NOT NULL);
SELECT connect('rows-n', 'rows-north', 'mesa') WHERE NOT EXISTS (SELECT FROM connections WHERE connection = 'rows-n');
UPDATE connections SET base_url = 'https://127.0.0.1:9/campus/api/oneroster/v1p1/app',
	token_url = 'https://127.0.0.1:9/token';
SELECT roster_set_secret('rows-n', 'something');
DELETE FROM tokens;
DROP TABLE IF EXISTS rows.made;
SELECT roster_release_people('people', 'mesa');
SQL
	my @answers = as($level, map { "SELECT count(*) AS seen FROM minga_roster.$_->[1]" } @calls);
	is(scalar @answers, scalar @calls, "$level: each function was called");
	$states{$level} = [ map { (split / /)[0] } @answers ];
}
foreach my $n (0 .. $#calls)
{
	judge($calls[$n][0], map { $_ => $states{$_}[$n] ne '42501' } keys %states);
}
# A level that is refused is refused for want of the level; the others are not refused for another reason.
is(join(' ', grep { /^(?:XX|25001|0A|42883|42601|42P01)/ } map { @$_ } values %states), '',
	'no call failed before the level was asked');

# Rows of the site in each table and view. Where a column is not a site, a connection, a run, a district or a relation,
# the rows are of no site.
my @relations = map { [ split /\|/ ] } split /\n/, $roster->sql(<<'SQL');
SELECT c.relname, coalesce(t.keyed_by, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
	AND a.attname IN ('site', 'connection', 'run') ORDER BY a.attname = 'site' DESC, a.attname LIMIT 1), '')
FROM pg_class c LEFT JOIN minga_roster_internal.table_levels t ON t.relation = c.relname
WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
ORDER BY 1
SQL
cmp_ok(scalar @relations, '>', 40, 'tables and views');
my %rows;
# What the calls removed.
$roster->sql(<<'SQL');
SET search_path = rows, minga_roster;
DELETE FROM runs WHERE run BETWEEN 920000003 AND 920000004;
DELETE FROM links WHERE connection = 'rows-n';
DELETE FROM recipients WHERE connection = 'rows-n';
SELECT plant('north', 'rows-n', 920000014);
INSERT INTO tenants VALUES ('north', 'rows-n', 920000014, 'rows-n');
SQL
foreach my $level (keys %states)
{
	my @answers = as($level, map {
		my ($relation, $key) = @$_;
		"SELECT count(*) > 0 AS seen FROM minga_roster.$relation x"
		  . ($key eq '' ? '' : " JOIN rows.tenants t ON t.tenant = 'north' AND t.key = x.$key\::text")
	} @relations);
	is(scalar @answers, scalar @relations, "$level: each table and view was read");
	$rows{$level} = [ map { / t$/ ? 1 : 0 } @answers ];
}
foreach my $n (0 .. $#relations)
{
	judge($relations[$n][0], map { $_ => $rows{$_}[$n] } keys %rows);
}
# No level writes.
foreach my $level (grep { $_ ne 'DBA' } keys %states)
{
	is($roster->sql("SELECT string_agg(oid::regclass::text, ' ') FROM pg_class WHERE relnamespace IN "
		  . "('minga_roster'::regnamespace, 'minga_roster_internal'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm') "
		  . "AND (has_table_privilege('$role{$level}', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') "
		  . "OR has_any_column_privilege('$role{$level}', oid, 'INSERT, UPDATE, REFERENCES'))"), '',
		"$level: writes to no table");
}

# The document says the same, of each once.
my %documented;
foreach my $line ($matrix =~ /^(\| `.*)$/mg)
{
	my ($names, @cells) = map { s/^\s+|\s+$//gr } (split /\|/, $line)[ 1 .. 6 ];

	next if @cells < 5 || grep { !/^(?:yes|–)$/ } @cells;
	foreach my $name ($names =~ /`(\w+)`/g)
	{
		ok(!exists $documented{$name}, "docs/security.md: $name is in the matrix once");
		$documented{$name} = join ' ', @cells;
	}
}
is(join("\n", map { "$_: $documented{$_}" } sort keys %documented),
	join("\n", map { "$_: $found{$_}" } sort keys %found), 'docs/security.md: the matrix is what was found');
done_testing();
