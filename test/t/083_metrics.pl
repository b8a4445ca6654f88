# Monitoring: roster_metrics as each level sees it, and what docs/monitoring offers: the exporter of Debian scrapes it,
# the queries of Nagios and Grafana run, and the alert rules ask for figures that there are.
use strict;
use warnings;

use Cwd qw(getcwd);
use JSON::PP;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $monitoring = getcwd() . '/docs/monitoring';
my $server = OneRosterServer->new(people => 40, seed => 83);
my $roster = RosterCluster->new('metrics');
my $node = $roster->node;

$roster->connect_school('mesa-high', $server, site => 'mesa', district => 'mesa');
$roster->sql("SELECT roster_sync('mesa-high')");
$roster->sql('CREATE ROLE roster_monitor LOGIN; CREATE ROLE watcher; CREATE ROLE visitor; '
	  . 'GRANT USAGE ON SCHEMA minga_roster TO roster_monitor, visitor; '
	  . 'GRANT EXECUTE ON FUNCTION roster_health() TO roster_monitor; '
	  . "SELECT roster_grant('watcher', 'reader', site => 'mesa')");

sub as
{
	my ($role, $statement) = @_;
	return $roster->sql("SET ROLE $role; $statement");
}

# Each figure of the connection
my $made = $roster->sql('SELECT created FROM runs');
is(as('watcher', 'SELECT count(DISTINCT label), count(DISTINCT site) FROM minga_roster.roster_metrics'), '1|1',
	'a reader sees the figures of the site, and none of the server');
is(as('visitor', 'SELECT count(*) FROM minga_roster.roster_metrics'), '0', 'a role without a level sees none');
is(as('roster_monitor', 'SELECT count(*) FROM minga_roster.roster_health()'),
	$roster->sql('SELECT count(*) FROM roster_health()'), 'a role of monitoring calls roster_health');
like($roster->error('SET ROLE watcher; SELECT minga_roster.roster_health()'), qr/42501/, '... and no other');
my %value = map { /^(\w+)\|(.*)\|(.*)$/ ? ("$1 $2" => $3) : () } split /\n/,
	as('roster_monitor', 'SELECT figure, label, value FROM minga_roster.roster_metrics');
is($value{'last_sync_created mesa-high'}, $made, 'created by the last sync');
is($value{'last_sync_failed mesa-high'}, 0, '... which did not fail');
is($value{'automatic mesa-high'}, 0, '... of a connection that does not run by itself');
is($value{'paused mesa-high'}, 0, '... and is not paused');
cmp_ok($value{'last_success_timestamp_seconds mesa-high'}, '>', time - 600, 'when it ended');
cmp_ok($value{'last_sync_rows mesa-high'}, '>=', 40, 'what it read');
cmp_ok($value{'last_sync_duration_seconds mesa-high'}, '>', 0, 'how long it took');
is($value{'held mesa-high'}, 0, 'nothing is held');
ok(!exists $value{'credentials_left_seconds mesa-high'}, 'when its credentials end is not known');
is($value{'health key_file'}, 1, 'the checks of roster_health are figures');
ok(!exists $value{'health cron_job'}, '... but for those that do not apply');
is("$value{'runs_queued '} $value{'runs_running '} $value{'mail_waiting '} $value{'max_workers '}", '0 0 0 2',
	'figures of the server');
$roster->sql("SELECT roster_configure('mesa-high', credentials_expire => current_date + 10)");
$roster->sql('UPDATE connections SET automatic = true');
$roster->sql("INSERT INTO changes (run, change, site, category, person_id, sourced_ids, action, rule, reason, state, "
	  . "state_at) SELECT max(run), 100000, 'mesa', 'student', 'p', '{}', 'archive', 'absent', 'gone', 'held', now() "
	  . 'FROM runs');
is($roster->sql("SELECT string_agg(value::integer::text, ' ' ORDER BY figure) FROM roster_metrics WHERE label = "
		. "'mesa-high' AND figure IN ('automatic', 'paused', 'held')"), '1 1 1',
	'an archive that is held, and a connection that was turned on elsewhere');
cmp_ok($roster->sql("SELECT value / 86400 FROM roster_metrics WHERE figure = 'credentials_left_seconds'"), '>', 8,
	'credentials that end');
# No one's values are there.
my $names = $roster->sql("SELECT string_agg(given_name || '|' || family_name, '|') FROM public.people");
my %label = map { $_ => 1 } split /\n/, $roster->sql('SELECT DISTINCT label FROM roster_metrics');
is(join(' ', grep { $label{$_} } split /\|/, $names), '', 'no label is a name of a person');

# Debian's exporter, with its configuration as it is but for the address and how often it asks.
my $configuration = slurp_file("$monitoring/prometheus-sql-exporter.yml");
my $address = 'postgres://roster_monitor@/postgres?host=' . $node->host . '&port=' . $node->port . '&sslmode=disable';
$configuration =~ s{postgres://\S+}{$address} or die 'no address';
$configuration =~ s{interval: 1m}{interval: 1s} or die 'no interval';
my $file = PostgreSQL::Test::Utils::tempdir() . '/exporter.yml';
append_to_file($file, $configuration);
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $log = '';
my $exporter = IPC::Run::start([ 'prometheus-sql-exporter', '-config.file', $file, '-web.listen-address',
		"127.0.0.1:$port" ], '<', \undef, '>&', \$log);
my $scraped = '';
foreach my $try (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	($scraped) = run_command([ 'curl', '-s', '--noproxy', '*', '--retry-connrefused', '--retry', '5',
		"http://127.0.0.1:$port/metrics" ]);
	last if $scraped =~ /^sql_minga_roster\{/m;
	select(undef, undef, undef, 0.1);
}
$exporter->kill_kill;
like($scraped, qr/^sql_minga_roster\{[^}]*figure="last_sync_created",[^}]*label="mesa-high"[^}]*\} \Q$made\E$/m,
	'the exporter shows what the last sync created') or diag($log);
like($scraped, qr/^sql_minga_roster\{[^}]*figure="health",[^}]*label="key_file"[^}]*\} 1$/m, '... and the checks');
my %series = map { $_ => 1 } $scraped =~ /^sql_minga_roster\{[^}]*figure="(\w+)"/mg;

# Alert rules: each figure is one that the exporter shows.
my $alerts = slurp_file("$monitoring/prometheus-alerts.yml");
my @asked = $alerts =~ /figure="(\w+)"/g;
cmp_ok(scalar @asked, '>=', 10, 'the rules ask for figures');
is(join(' ', grep { !$series{$_} } @asked), '', '... that there are');
SKIP:
{
	my $promtool = (grep { -x "$_/promtool" } split /:/, $ENV{PATH})[0];
	skip 'promtool is not installed (Debian: package prometheus)', 2 if !defined $promtool;
	foreach my $check ([ qw(check rules prometheus-alerts.yml) ], [ qw(test rules prometheus-alerts-test.yml) ])
	{
		my ($stdout, $stderr) = run_command([ "$promtool/promtool", @$check[0, 1], "$monitoring/$check->[2]" ]);
		like($stdout, qr/SUCCESS/, "promtool @$check") or diag($stderr);
	}
}

# Grafana: each query runs, as the role of monitoring with the levels that docs/operations.md gives it.
$roster->sql("SELECT roster_grant('roster_monitor', 'reader', district => 'mesa')");
my $dashboard = JSON::PP->new->decode(slurp_file("$monitoring/grafana-dashboard.json"));
my @queries = map { my $panel = $_; map { [ $panel->{title}, $_->{rawSql} ] } @{ $panel->{targets} } }
	@{ $dashboard->{panels} };
cmp_ok(scalar @queries, '>', 8, 'queries of the dashboard');
foreach my $query (@queries)
{
	my ($title, $sql) = @$query;
	# What Grafana makes of its macro
	$sql =~ s/\$__timeFilter\(([^()]*)\)/$1 BETWEEN now() - interval '14 days' AND now()/g;
	unlike($sql, qr/\$/, "$title: nothing is left to fill in");
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET ROLE roster_monitor;\n$sql");
	is($rc, 0, "$title: its query runs") or diag($stderr);
}
like(as('roster_monitor', (grep { $_->[0] eq 'Schools that need attention' } @queries)[0][1]),
	qr/^mesa-high\|mesa\|.*\|0\|1\|1\|(?:9|10)$/, 'the dashboard shows a school that needs attention');

# Nagios: the query of docs/operations.md for check_postgres.
my ($nagios) = slurp_file(getcwd() . '/docs/operations.md') =~ /--query="(SELECT .*?)" --/s or die 'no query of Nagios';
$nagios =~ s/\\"/"/g;
$nagios =~ s/\\\n\s*//g;
like(as('roster_monitor', $nagios), qr/^3\|cron_job: pg_cron has no job; restored: .*"mesa-high"; credentials: /,
	'check_postgres learns how many checks fail, and which');

$roster->stop;
$server->stop;
done_testing();
