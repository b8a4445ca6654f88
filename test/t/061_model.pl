# Random schools over several nights: what each night does is what a plain model of the rules says (test/roster_model.py).
# A difference is shown with its seed, which replays it. MODEL_SEED and MODEL_CASES choose others, or longer runs.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $tests = dirname(dirname(abs_path(__FILE__)));
my $roster = RosterCluster->new('model', conf => "autovacuum = off\n");
my $node = $roster->node;

$node->safe_psql('postgres', "\\i $tests/fixtures/merge.sql");
local $ENV{PGHOST} = $node->host;
local $ENV{PGPORT} = $node->port;
local $ENV{SEED} = $ENV{MODEL_SEED} // 1;
local $ENV{CASES} = $ENV{MODEL_CASES} // 60;
my ($stdout, $stderr) = ('', '');
my $right = IPC::Run::run([ '/usr/bin/python3', "$tests/roster_model.py" ], '>', \$stdout, '2>', \$stderr);

ok($right, 'each night is what the model says');
is($stderr, '', 'the model came to its end');
$right ? note($stdout) : diag($stdout);
$roster->stop;
done_testing();
