# What packagers do: the archive of a release, a build in a directory of its own, DESTDIR, uninstall, other compilers,
# link-time optimization, the oldest libcurl. The packages themselves are built and tried by make package-test.
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Find qw(find);
use File::Path qw(remove_tree);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = getcwd();
my $tmp = PostgreSQL::Test::Utils::tempdir();
my $pg_config = $ENV{PG_CONFIG} // 'pg_config';
chomp(my $bindir = `$pg_config --bindir`);
chomp(my $sharedir = `$pg_config --sharedir`);
chomp(my $pkglibdir = `$pg_config --pkglibdir`);
my ($version) = slurp_file("$top/minga_roster.control") =~ /^default_version = '(.*)'/m;
# As packagers call make, not as a child of the make that runs the tests.
delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};

# Runs a command, with what it says in the output where it fails.
sub runs
{
	my ($title, @command) = @_;
	my $said = '';
	my $ok = IPC::Run::run(\@command, '<', \undef, '>&', \$said, IPC::Run::timeout(1200));

	ok($ok, $title) or diag substr($said, -3000);
	return $said;
}

# The files below a directory, by their paths in it.
sub files
{
	my ($directory) = @_;
	my @files;

	find({ no_chdir => 1, wanted => sub { push @files, s{^\Q$directory\E/}{}r if -f; } }, $directory);
	return sort @files;
}

# META.json
runs('META.json is valid, and of the version of the control file, the changelogs and the Debian package',
	'/usr/bin/python3', "$top/test/check_meta.py");

# The archive, from a repository of what is tested
my $checkout = "$tmp/checkout";
runs('the tested files are committed', 'sh', '-ec', <<'SH', 'sh', $top, $checkout);
	mkdir "$2"
	cd "$1"
	tar --exclude=./tmp_check --exclude=./results --exclude=./output_iso -cf - . | tar -xf - -C "$2"
	cd "$2"
	git init -q
	git add -A
	git -c user.name=test -c user.email=test commit -q -m test
SH
open(my $added, '>', "$checkout/uncommitted") or die $!;
close($added);
my ($out, $err) = ('', '');
ok(!IPC::Run::run([ 'make', '-s', '-C', $checkout, 'dist' ], '>', \$out, '2>', \$err),
	'make dist refuses a checkout with changes');
like($err, qr/commit the changes first.*uncommitted/s, '... and names them');
unlink("$checkout/uncommitted") or die $!;
runs('make dist makes the archive', 'make', '-s', '-C', $checkout, 'dist');
my $archive = "$checkout/minga_roster-$version.zip";
runs('... which unpacks', '/usr/bin/python3', '-m', 'zipfile', '-e', $archive, "$tmp/unpacked");
my $source = "$tmp/unpacked/minga_roster-$version";
is_deeply([ files("$tmp/unpacked") ], [ map { "minga_roster-$version/$_" }
		sort grep { !m{^(?:\.ci|\.github)/} } split /\n/, `git -C '$checkout' ls-files` ],
	'the archive has what git has, without what is of CI');

# A build in a directory of its own, as pg_buildext calls make. The archive is not written to: it is read-only.
runs('the archive is made read-only', 'chmod', '-R', 'a-w', $source);

# Makes targets in a directory of their own.
sub make
{
	my ($title, $directory, @arguments) = @_;

	mkdir "$tmp/$directory";
	return runs($title, 'make', '-s', '-C', "$tmp/$directory", '-f', "$source/Makefile", "PG_CONFIG=$pg_config",
		'with_llvm=no', 'WERROR=1', @arguments);
}

# What a library shows to the server.
sub symbols
{
	my ($library) = @_;
	return join "\n", sort map { /^\S+ T (\S+)/ ? $1 : () } split /\n/, `nm -D '$library'`;
}

my $quick = 'PROFILE=-O0 -Wno-cpp';
make('a build in a directory of its own, two files at a time', 'vpath', "VPATH=$source", '-j2', $quick, 'all');
make('... is installed below DESTDIR', 'vpath', "VPATH=$source", $quick, 'install', "DESTDIR=$tmp/root");
my @installed = files("$tmp/root");
my @scripts = grep { m{/extension/minga_roster--} } @installed;
is_deeply([ map { "/$_" } grep { !m{/extension/minga_roster--|/doc/} } @installed ],
	[ sort "$pkglibdir/minga_roster.so", "$sharedir/extension/minga_roster.control" ],
	'what is installed: the library and the control file');
is_deeply([ map { m{([^/]+)$} } @scripts ],
	[ map { m{([^/]+)$} } sort glob("$sharedir/extension/minga_roster--*.sql") ], '... the scripts of all versions');
is_deeply([ map { m{([^/]+\.md)$} } @installed ], [ map { m{([^/]+)$} } sort glob("$source/docs/*.md") ],
	'... and the documents');
is(join(' ', grep { slurp_file("$tmp/root/$_") ne slurp_file("/$_") } @scripts), '',
	'the scripts are those of a build in the checkout');
my $symbols = symbols("$pkglibdir/minga_roster.so");
is(symbols("$tmp/vpath/minga_roster.so"), $symbols, 'the library has the functions of one that was built there');
make('what is installed', 'vpath', "VPATH=$source", $quick, 'uninstall', "DESTDIR=$tmp/root");
is_deeply([ files("$tmp/root") ], [], '... is uninstalled to the last file');
make('what was built', 'vpath', "VPATH=$source", 'clean');
is_deeply([ files("$tmp/vpath") ], [], '... is cleaned to the last file');

# Other ways to compile. A server loads what comes out.
my $node = PostgreSQL::Test::Cluster->new('packages');
$node->init;
$node->start;
make('link-time optimization', 'lto', '-j2', "$quick -flto=auto", 'all');
is(symbols("$tmp/lto/minga_roster.so"), $symbols, '... makes a library with the same functions');
is($node->psql('postgres', "LOAD '$tmp/lto/minga_roster.so'"), 0, '... which a server loads');
SKIP:
{
	skip 'clang is not installed', 3 if system('command -v clang >/dev/null') != 0;
	# PostgreSQL's flags are those of gcc.
	make('clang', 'clang', '-j2', 'CC=clang', "$quick -Wno-ignored-optimization-argument -Wno-unknown-warning-option "
		  . '-Wno-ignored-attributes',
		'all');
	is(symbols("$tmp/clang/minga_roster.so"), $symbols, '... makes a library with the same functions');
	is($node->psql('postgres', "LOAD '$tmp/clang/minga_roster.so'"), 0, '... which a server loads');
}

# A checkout that was built would lend its objects to a build elsewhere.
mkdir "$tmp/second" or die $!;
($out, $err) = ('', '');
ok(!IPC::Run::run([ 'make', '-s', '-C', "$tmp/second", '-f', "$top/Makefile", "PG_CONFIG=$pg_config" ], '>', \$out,
		'2>', \$err), 'a build elsewhere is refused where the checkout was built');
like($err, qr/\Q$top\E has a build of its own: run make clean there first/, '... with what to do');

# The oldest libcurl, and one that is older: this one, which says that it was that version.
foreach my $case ([ 'oldest', '0x074c00' ], [ 'older', '0x074b00' ])
{
	my ($name, $number) = @$case;
	mkdir "$tmp/$name" or die $!;
	mkdir "$tmp/$name/curl" or die $!;
	open(my $header, '>', "$tmp/$name/curl/curl.h") or die $!;
	print $header <<"C";
#include_next <curl/curl.h>
#undef LIBCURL_VERSION_NUM
#define LIBCURL_VERSION_NUM $number
C
	close($header);
}
my @net = map { "src/net/$_.o" } qw(http smtp transfer url);
{
	local $ENV{CPATH} = "$tmp/oldest";
	make('what libcurl 7.76 has is enough', 'oldest', "$quick -Wno-deprecated-declarations", @net);
}
{
	local $ENV{CPATH} = "$tmp/older";
	my $said = '';
	my @command = ('make', '-s', '-k', '-C', "$tmp/older", '-f', "$source/Makefile", "PG_CONFIG=$pg_config",
		"$quick -Wno-deprecated-declarations", @net);
	ok(!IPC::Run::run(\@command, '<', \undef, '>&', \$said), 'an older one is refused');
	is(join(' ', map { /error: (.*)/ ? $1 : () } split /\n/, $said),
		join(' ', ('#error "minga_roster needs libcurl 7.76.0 or later"') x @net), '... with one message each');
}

runs('the archive can be removed', 'chmod', '-R', 'u+w', $source);
done_testing();
