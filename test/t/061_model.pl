# Random schools over several nights: each run does what a plain model of the rules says (test/roster_nights.py,
# test/roster_model.py). A difference is shown with the command that replays it. MODEL_SEED and MODEL_CASES choose
# others, or longer runs; MODEL_VERBOSE=1 shows with a difference all that was there before.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use File::Temp;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $tests = dirname(dirname(abs_path(__FILE__)));
# One session for each database plays, and in memory a quarter faster: a merge makes and drops some thirty temp tables.
my @databases = ('school_one', 'school_two');
my $memory = -d '/dev/shm' && -w '/dev/shm' ? File::Temp->newdir('roster_model_XXXXXX', DIR => '/dev/shm') : undef;
my $roster = RosterCluster->new('model', conf => "autovacuum = off\n");
my $node = $roster->node;

if (defined $memory)
{
	$node->safe_psql('postgres', "CREATE TABLESPACE in_memory LOCATION '$memory'");
	$node->safe_psql('postgres', "ALTER SYSTEM SET temp_tablespaces = 'in_memory'");
	$node->reload;
}
foreach my $database (@databases)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION minga_roster;\n\\i $tests/fixtures/merge.sql");
}
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{DATABASES} = "@databases";
local $ENV{SEED} = $ENV{MODEL_SEED} // 1;
local $ENV{CASES} = $ENV{MODEL_CASES} // 120;
local $ENV{VERBOSE} = $ENV{MODEL_VERBOSE} // '';
my ($stdout, $stderr) = ('', '');
my $right = IPC::Run::run([ '/usr/bin/python3', "$tests/roster_nights.py" ], '>', \$stdout, '2>', \$stderr);

ok($right, 'each night is what the model says');
is($stderr, '', 'the model came to its end');
$right ? note($stdout) : diag($stdout);
$roster->stop;
done_testing();
