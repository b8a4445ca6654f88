# Random schools with classes, enrollments and contacts over many nights: each night does what a plain model of rules
# says, and the roster of each former night is the copy that was taken then (test/roster_classes_model.py). A difference
# is shown with the command that replays it. MODEL_SEED and MODEL_CASES choose others, or more; MODEL_VERBOSE=1 shows
# with a difference what the lists of the night had.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $tests = dirname(dirname(abs_path(__FILE__)));
my $roster = RosterCluster->new('classes_model', conf => "autovacuum = off\nfsync = off\n");
my $node = $roster->node;

# The clock is the test's own, as long as this database lives.
$node->safe_psql('postgres', 'CREATE DATABASE school');
$node->safe_psql('school', "CREATE EXTENSION minga_roster;\n\\i $tests/fixtures/merge.sql");
$node->safe_psql('school', 'CREATE OR REPLACE FUNCTION minga_roster_internal.clock() RETURNS timestamptz LANGUAGE sql '
	  . "STABLE AS \$\$ SELECT current_setting('simulated.now')::timestamptz \$\$");
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{DATABASE} = 'school';
local $ENV{SEED} = $ENV{MODEL_SEED} // 1;
local $ENV{CASES} = $ENV{MODEL_CASES} // 30;
local $ENV{VERBOSE} = $ENV{MODEL_VERBOSE} // '';
my ($stdout, $stderr) = ('', '');
my $right = IPC::Run::run([ '/usr/bin/python3', "$tests/roster_classes_model.py" ], '>', \$stdout, '2>', \$stderr);

ok($right, 'each night is what the model says');
is($stderr, '', 'the model came to its end');
$right ? note($stdout) : diag($stdout);
$roster->stop;
done_testing();
