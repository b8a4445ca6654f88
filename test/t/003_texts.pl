# The texts of the project, in SQL, C, documentation and tests: plain American English in lines of at most 120 columns.
# Needs no server and no build: prove test/t/003_texts.pl
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Find qw(find);
use FindBin;
use IPC::Run ();
use Test::More;

my $top = abs_path("$FindBin::Bin/../..");

# Words that a reader in the US would not use, or that are vague, and what to say instead.
my @words = (
	[ qr/\b(?:he|him|his|himself|she|her|hers|herself)\b/i, 'name the role: the student, the person, they' ],
	[ qr/\b(?:nobody|somebody|everybody|anybody)\b/i, 'no one, someone, everyone, anyone' ],
	[ qr/\bwho(?:m)?(?:so)?ever\b/i, 'the person who, each worker that' ],
	[ qr/\banew\b/i, 'again' ],
	[ qr/\btouch(?:ed|es|ing)? (?:nobody|no one|anyone|people|it)\b/i, 'change' ],
	[ qr/\b(?:nobody|no one|nothing|people|anyone) (?:is|are|was|were|be) touched\b/i, 'changed' ],
	[ qr/\bspeak(?:s|ing)? of\b/i, 'mention, say, name' ],
	[ qr/\b(?:is|are|was|be) at work\b/i, 'is busy, is running' ],
	[ qr/\b(?:hereafter|hereby|thereof|whilst|lest|heretofore|aforementioned)\b/i, 'a plain word' ],
	[ qr/\bas far as\b/i, 'if' ],
	[ qr/\bany more\b/i, 'no longer' ],
	[ qr/\b(?:how|as) (?:it|they|a run|the run) fares?\b/i, 'its state' ],
	[ qr/\b\w*(?:cance|labe|mode|trave)ll(?:ed|ing|er)\b/i, 'one l' ],
	[ qr/\b(?:un)?(?:author|recogn|organ|normal|summar|initial|serial|sanit|optim|special|custom|final|minim|maxim|util|
		categor|character|general|synchron|anonym)is(?:e|es|ed|er|ing|ation|ations)\b/ix, 'z, not s' ],
	[ qr/\b\w*(?:colou|honou|neighbou|behaviou|favou|labou|harbou|endeavou)r\w*\b/i, 'or, not our' ],
	[ qr/\b(?:centre|fibre|metre|theatre|litre)s?\b/i, 'er, not re' ],
	[ qr/\b(?:licence|defence|offence|pretence)s?\b/i, 'se, not ce' ],
	[ qr/\b(?:catalogue|dialogue|analogue|programme|enrolment|fulfil|skilful|grey|learnt|spelt|towards|amongst)s?\b/i,
		'the American spelling' ]);

# Exceptions: the file, the word, and why it stays.
my @exceptions = (
	[ qr{^test/t/003_texts\.pl$}, qr/./, 'the list itself' ],
	[ qr{^CHANGELOG\.md$}, qr/^cancelled$/, 'the former name of a state' ],
	[ qr{^docs/develop\.md$}, qr/^(?:he|him|somebody|whoever)$/, 'the style guide names words to avoid' ]);

# Lines that may be longer: the file, the line, and why.
my @long = (
	[ qr{^src/base/letters\.h$}, qr/./, 'generated' ],
	[ qr{\.md$}, qr/^\s*\|.*\|$/, 'a row of a table has to be one line' ],
	[ qr{.}, qr{^\W*https?://\S+\W*$}, 'a URL has to be one word' ],
	[ qr{^test/(?:sql|fixtures)/}, qr/^\\|\\g(?:set|exec)\b/, 'a command of psql has to be one line' ]);

my @files;
find({ no_chdir => 1, wanted => sub {
	my $file = $File::Find::name =~ s{^\Q$top\E/}{}r;
	if ($file =~ m{^(?:\.git|expected|results|log|tmp_check\w*|output_iso|test/fuzz/(?:corpus|out))$})
	{
		$File::Find::prune = 1;
	}
	elsif (-f && $file =~ /\.(?:md|sql|[ch]|p[lmy]|sh|spec|yml|control)$|(?:^|\/)Makefile$/
		&& $file !~ m{^sql/(?:releases/)?[^/]*--\d})
	{
		push @files, $file;
	}
} }, $top);
@files = sort @files;
cmp_ok(scalar @files, '>', 200, 'the files of the project are found');

sub lines_of
{
	my ($file) = @_;
	open(my $in, '<:encoding(UTF-8)', "$top/$file") or die "could not read $file: $!";
	chomp(my @lines = <$in>);
	return @lines;
}

# A name in data, as 'nobody' for a connection that is not there, is no text.
sub is_a_name
{
	my ($before, $after) = @_;
	return $before =~ /['"{.,]$/ && $after =~ /^['"},]/ || $before =~ /[\w\@\$-]$/ || $after =~ /^[\w\@(-]/;
}

my (@unfit, @wide);
foreach my $file (@files)
{
	my $number = 0;

	foreach my $line (lines_of($file))
	{
		$number++;
		foreach my $word (@words)
		{
			my ($pattern, $instead) = @$word;

			while ($line =~ /$pattern/g)
			{
				my ($found, $before, $after) = ($&, $`, $');

				push @unfit, "$file:$number: \"$found\"; say: $instead"
				  unless is_a_name($before, $after) || grep { $file =~ $_->[0] && $found =~ $_->[1] } @exceptions;
			}
		}
		1 while $line =~ s/^(.*?)\t/$1 . ' ' x (4 - length($1) % 4)/e;
		push @wide, "$file:$number: " . length($line)
		  if length($line) > 120 && !grep { $file =~ $_->[0] && $line =~ $_->[1] } @long;
	}
}
is(scalar @unfit, 0, 'the texts have none of the words of the list') or diag(join "\n", @unfit);
is(scalar @wide, 0, 'no line is wider than 120 columns') or diag(join "\n", @wide);

# Spelling, with the British one as an error. test/spelling.txt lists words that codespell takes for others; newer
# versions of it take `cancelled` for one, the former name of a state.
SKIP:
{
	skip 'codespell is not installed', 1 if !grep { -x "$_/codespell" } split /:/, $ENV{PATH};
	my $found = '';
	IPC::Run::run([ 'codespell', '--builtin', 'clear,rare,en-GB_to_en-US', '--ignore-words', "$top/test/spelling.txt",
		'--ignore-regex', '`cancelled`',
		map { "$top/$_" } grep { !m{^test/t/003_texts} } @files ], '<', \undef, '>', \$found, '2>', \my $errors);
	is($found, '', 'codespell finds nothing');
}

# Waits: none for a fixed time, and none without a limit.
my @sleepers = (
	[ qr{^test/fixtures/set_(?:clock|setting)\.sql$}, 'polls, 500 times at most' ],
	[ qr{^test/specs/connections\.spec$}, 'polls, 1,000 times at most' ],
	[ qr{^test/t/(?:050_worker|075_attack_locks|034_hostile_network)\.pl$}, 'code of a deployment that does not end' ],
	[ qr{^test/bench/slow_server\.py$}, 'plays a slow server' ],
	[ qr{^test/bench/small_schools\.py$}, 'polls in loops with an end' ],
	[ qr{^test/(?:demo\.sh|bench/lines/\w+\.sh|mail_server\.py)$}, 'polls in a loop with an end' ],
	[ qr{^test/t/003_texts\.pl$}, 'this check' ]);
my @sleeps;
foreach my $file (grep { m{^test/} } @files)
{
	my $number = 0;

	foreach my $line (lines_of($file))
	{
		$number++;
		push @sleeps, "$file:$number: $line"
		  if $line =~ /\bpg_sleep\b|\bsleep[ (][\d.]/ && !grep { $file =~ $_->[0] } @sleepers;
	}
}
is(scalar @sleeps, 0, 'no test sleeps for a fixed time') or diag(join "\n", @sleeps);

# Python with the packages that the tests install, not another one that comes first in the PATH
my @pythons = grep { my $file = $_; $file =~ m{^test/.*\.p[lm]$} && grep { /\[ 'python3?'/ } lines_of($file) } @files;
is_deeply(\@pythons, [], 'tests call /usr/bin/python3');

# A number for each test, so that it can be named by it
my %numbered;
foreach my $file (@files) { push @{ $numbered{$1} }, $file if $file =~ m{^test/t/(\d+)_}; }
is_deeply([ map { "@$_" } grep { @$_ > 1 } values %numbered ], [], 'no two TAP tests have one number');

done_testing();
