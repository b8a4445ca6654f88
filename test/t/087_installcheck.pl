# make installcheck refuses a server that someone uses, and leaves its settings as they are.
use strict;
use warnings;

use Cwd qw(getcwd);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = getcwd();
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
chomp(my $bindir = `$pg_config --bindir`);

# Whether the server is taken, and what is said on stderr; by the check alone, after which the tests would run.
sub installcheck
{
	my ($node) = @_;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	my ($stdout, $stderr);
	my $ok = IPC::Run::run([ "$top/test/check_server.sh", "$bindir/psql" ], '>', \$stdout, '2>', \$stderr);

	return ($ok, $stderr);
}

sub settings
{
	my ($node) = @_;
	return slurp_file($node->data_dir . '/postgresql.auto.conf') . slurp_file($node->data_dir . '/postgresql.conf');
}

my $node = PostgreSQL::Test::Cluster->new('used');
$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
$node->append_conf('postgresql.conf',
	"shared_preload_libraries = 'pg_cron'\ncron.use_background_workers = on\ncron.database_name = 'school'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE school');

my $before = settings($node);
my ($ok, $said) = installcheck($node);
ok(!$ok, 'a server whose pg_cron works for another database is refused');
like($said, qr/pg_cron works for database "school"/, '... and the database is named');
is(settings($node), $before, '... and no setting changes');

$node->append_conf('postgresql.conf', "cron.database_name = 'contrib_regression'");
$node->restart;
($ok, $said) = installcheck($node);
ok($ok, 'a server that no one uses is taken') or diag($said);

$node->safe_psql('school', 'CREATE EXTENSION minga_roster');
($ok, $said) = installcheck($node);
ok(!$ok, 'a server where a database has the extension is refused');
like($said, qr/database "school" uses minga_roster/, '... and the database is named');
$node->safe_psql('school', 'DROP EXTENSION minga_roster');

# A name that a shell or a connection string would read otherwise.
my $name = q{it's a \\ dbname=postgres};
$node->safe_psql('postgres', 'CREATE DATABASE "' . $name . '"');
$node->safe_psql($name, 'CREATE EXTENSION minga_roster');
($ok, $said) = installcheck($node);
ok(!$ok, 'so is one where it is in a database with an odd name');
like($said, qr/\Qdatabase "$name" uses minga_roster\E/, '... and the database is named');
$node->safe_psql('postgres', 'DROP DATABASE "' . $name . '"');

$node->safe_psql('postgres',
	"LOAD 'minga_roster'; ALTER SYSTEM SET minga_roster.smtp_url = 'smtp://mail.mesa.example:587'");
$before = settings($node);
($ok, $said) = installcheck($node);
ok(!$ok, 'a server where a setting of minga_roster was made is refused');
like($said, qr/set up for minga_roster: minga_roster\.smtp_url/, '... and the setting is named');
is(settings($node), $before, '... and no setting changes');
$node->safe_psql('postgres', "LOAD 'minga_roster'; ALTER SYSTEM RESET minga_roster.smtp_url");

$node->append_conf('postgresql.conf', "minga_roster.key_file = '/etc/minga_roster.key'");
($ok, $said) = installcheck($node);
ok(!$ok, 'a server with a key file is refused, wherever it is set');
like($said, qr/set up for minga_roster: minga_roster\.key_file/, '... and the setting is named');

# make calls the check before anything else.
my $plan = `make -s -n -C '$top' PG_CONFIG='$pg_config' installcheck 2>&1`;
like($plan, qr/check_server\.sh.*pg_regress/s, 'make installcheck checks the server before it runs a test');

done_testing();
