# The bench runs, with few users and without its limits, so that it works on the day when someone wants to measure.
use strict;
use warnings;

use Cwd qw(getcwd);
use IPC::Run ();
use Test::More;

my $top = getcwd();
# Groups of lines with one line of each that is only there if all of it was measured.
my %last_line = (
	fetch => qr/^its WAL, of 2 MB +\d+ KB +\d/m,
	merge => qr/^merge of \d+ rows and people of one name, .* \d+ ms +\d/m,
	small => qr/^WAL of the last of these nights, .* [\d.]+ KB +\d/m);

foreach my $group (sort keys %last_line)
{
	my ($stdout, $stderr);
	local $ENV{SMALL} = 1;
	my $ok = IPC::Run::run([ "$top/test/bench/bench.sh", $group ], '>', \$stdout, '2>', \$stderr);
	ok($ok, "the lines of $group are measured") or diag("$stdout$stderr");
	like($stdout, $last_line{$group}, '... all of them');
	unlike($stdout, qr/<= \S+ *$/m, '... and each limit has a verdict');
}

done_testing();
