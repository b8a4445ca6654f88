# The minimum versions of PostgreSQL, libcurl, OpenSSL and pg_cron are what the compiler checks, and the same wherever
# they are named. Needs no server: prove test/t/005_versions.pl
use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use Test::More;

my $top = abs_path("$FindBin::Bin/../..");

sub contents
{
	my ($path) = @_;
	open(my $file, '<', "$top/$path") or die "could not open $path: $!";
	local $/;
	return <$file>;
}

# What the compiler asks for, as a version.
my ($postgresql) = contents('src/base/compat.h') =~ /^#if PG_VERSION_NUM < (\d+)0000\n#error/m;
my ($curl) = contents('src/net/curl_compat.h') =~ /^#if LIBCURL_VERSION_NUM < 0x([0-9a-fA-F]{6})\n#error/m;
my ($openssl) = contents('src/base/seal.c') =~ /^#if OPENSSL_VERSION_NUMBER < 0x([0-9a-fA-F]{8})L\n#error/m;
my %minimum = (
	PostgreSQL => $postgresql, libcurl => join('.', (map { hex } $curl =~ /../g)[ 0, 1 ]),
	OpenSSL => join('.', map { hex } $openssl =~ /^(.)(..)/),
	pg_cron => contents('META.json') =~ /"pg_cron": "(\d+\.\d+)\.0"/ ? $1 : 'none');
is(join(' ', map { "$_ $minimum{$_}" } sort keys %minimum), 'OpenSSL 3.0 PostgreSQL 15 libcurl 7.76 pg_cron 1.4',
	'the minimum versions');
like(contents('META.json'), qr/"PostgreSQL": "$minimum{PostgreSQL}\.0\.0"/, 'META.json: PostgreSQL');

foreach my $document ('README.md', 'docs/operations.md', 'SECURITY.md')
{
	my $text = contents($document);
	foreach my $product (sort keys %minimum)
	{
		my @named = $text =~ /\b\Q$product\E (?:must be )?(\d+(?:\.\d+)?)\b/g;
		is((sort { ($a =~ /^(\d+)/)[0] <=> ($b =~ /^(\d+)/)[0] || $a cmp $b } @named)[0], $minimum{$product},
			"$document: the lowest version of $product is the minimum");
	}
}

# What differs between versions of PostgreSQL is in one place.
my @elsewhere = grep { contents($_) =~ /PG_VERSION_NUM|PG_MAJORVERSION/ } grep { $_ ne 'src/base/compat.h' }
  map { s{^\Q$top\E/}{}r } map { glob "$top/$_" } qw(src/*.[ch] src/*/*.[ch]);
is("@elsewhere", '', 'no C file but src/base/compat.h asks for the version of PostgreSQL');

done_testing();
