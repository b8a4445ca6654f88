# How the C files depend on each other, and what the library shows to others: test/check_layout.py on the library as it
# was built for these tests.
use strict;
use warnings;

use FindBin;
use IPC::Run ();
use Test::More;

my ($out, $err) = ('', '');
IPC::Run::run([ '/usr/bin/python3', "$FindBin::Bin/../check_layout.py" ], '<', \undef, '>', \$out, '2>', \$err);
is($? >> 8, 0, 'dependencies point one way') or diag $err;
like($out, qr/^circles of includes and calls: 0$/m, 'no two files depend on each other');
like($out, qr/^exported symbols: [1-9]\d*, without prefix: 0$/m, "the library's symbols have its prefix");
like($out, qr/^libcurl in: net\/\S+( net\/\S+)*$/m, "libcurl's headers stay in net");
like($out, qr/^OpenSSL in: \S+$/m, "OpenSSL's headers stay in one file");

done_testing();
