# What strangers write, and fuzzing has found to reach furthest (test/fuzz/corpus): pages, URLs and token answers, and
# URLs that are signed, read under the address and undefined-behavior sanitizers.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use IPC::Run ();
use Test::More;

my $directory = abs_path(dirname(__FILE__) . '/../fuzz');
my $built = File::Temp->newdir;
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';

my ($version) = `$pg_config --version` =~ /(\d+)/;
plan skip_all => 'the targets link the libpgcommon of PostgreSQL 15' unless $version == 15;

foreach my $target (qw(page url token signature))
{
	my ($out, $err) = ('', '');
	my @make = ('make', '-s', '-C', $directory, "PG_CONFIG=$pg_config", "OUT=$built", "$built/replay_$target");
	ok(IPC::Run::run(\@make, '<', \undef, '>', \$out, '2>', \$err), "the target $target is built") or diag($err);

	my @inputs = glob("$directory/corpus/$target/*");
	cmp_ok(scalar @inputs, '>', 3, "there are inputs for $target");
	($out, $err) = ('', '');
	my $passed = IPC::Run::run([ "$built/replay_$target", @inputs ], '<', \undef, '>', \$out, '2>', \$err,
		init => sub { $ENV{ASAN_OPTIONS} = 'detect_leaks=0'; });
	ok($passed && $out eq @inputs . " inputs\n", "... each is read, and what has to hold of it holds") or diag($err);
	ok(!IPC::Run::run([ "$built/replay_$target", $inputs[0], "$built/none" ], '<', \undef, '>', \$out, '2>', \$err),
		"... and one that ends a target would be seen");
}

done_testing();
