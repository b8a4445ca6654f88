# No decision reads prose: the sources compare codes, and never the words of a reason, error, detail or hint. What is
# found is shown as file:line.
use strict;
use warnings;

use Cwd qw(getcwd);
use File::Find ();
use PostgreSQL::Test::Utils;
use Sentences;
use Test::More;

my $top = getcwd();
# Where a server or library that is not ours has no code for what it says: what is compared, by file.
my %no_code_there_is = ('src/oneroster/oauth2.c' => qr/"No Campus Application selected"/,
	'src/base/host.c' => qr/CRON_LAUNCHER/);
my %reader = (sql => \&Sentences::in_sql, c => \&Sentences::in_c, py => \&Sentences::in_python);

# The finder finds what it is for, and nothing else.
foreach my $sentence (
	[ sql => q{SELECT r.error = 'evening missed' FROM runs r} ],
	[ sql => q{WHERE c.state_reason LIKE 'approved by run %'} ],
	[ sql => q{WHERE (a.held_reason)::text ~ 'gone$' AND true} ],
	[ sql => q{WHEN c.state_reason IS NULL THEN 1} ],
	[ sql => q{IF sqlerrm = 'no' THEN} ],
	[ sql => q{WHERE c.reason IN ('gone from the roster')} ],
	[ sql => q{WHERE starts_with(c.detail, 'x')} ],
	[ sql => q{WHERE position('missed' IN r.error) > 0} ],
	[ sql => q{WHERE left(r.hint, 4) = 'Wait'} ],
	[ sql => q{CASE told WHEN 'The person was changed.' THEN 1 END} ],
	[ c => q{if (strstr(detail, "; the SIS says: ") != NULL)} ],
	[ c => qq{#define WORDS "; the SIS says: "\nif (strstr(x, WORDS) != NULL)} ],
	[ c => q{if (strncmp(transfer->error_text, "RCPT", 4) == 0)} ],
	[ py => q{if change["reason"] == "gone from the roster":} ],
	[ py => q{if "missed" in run["error"]:} ])
{
	my ($language, $text) = @$sentence;
	is(scalar(my @found = $reader{$language}->($text)), 1, "found: $text");
}
foreach my $code (
	[ sql => q{UPDATE runs SET state = 'failed', error = 'evening missed', detail = 'It was late.' WHERE run = 1} ],
	[ sql => q{RAISE EXCEPTION USING ERRCODE = '55000', MESSAGE = 'no run is named', HINT = 'Name one.';} ],
	[ sql => q{SELECT c.reason, c.state_cause = 'approved' FROM changes c} ],
	[ sql => q{-- error = 'evening missed' was compared here} ],
	[ sql => q{WHERE c.rule = 'former id' AND c.state_reason IS DISTINCT FROM w.state_reason} ],
	[ c => q{if (strcmp(key, "access_token") == 0 && strncmp(data, "RCPT TO:", 8) == 0)} ],
	[ c => q{/* strstr(detail, "it says so") */} ],
	[ py => q{run["error"] = "evening missed"} ])
{
	my ($language, $text) = @$code;
	is(scalar(my @found = $reader{$language}->($text)), 0, "not found: $text");
}

my @found;
my $files = 0;
File::Find::find({ no_chdir => 1, wanted => sub {
		my $file = $File::Find::name =~ s{^\Q$top\E/}{}r;
		my ($language) = $file =~ /\.(sql|c|py)$/ or return;

		# what make puts together of the files
		return if $file =~ m{^sql/(?:releases/)?[^/]*$};
		$files++;
		my @lines = split /\n/, slurp_file($File::Find::name);
		push @found, map { "$file:$_->[0]: $_->[1]" }
		  grep { !$no_code_there_is{$file} || $lines[ $_->[0] - 1 ] !~ $no_code_there_is{$file} }
		  $reader{$language}->(join "\n", @lines);
	} }, "$top/sql", "$top/src", grep { !m{/test/t$} } glob("$top/test/*.py"));
cmp_ok($files, '>', 80, "$files files were read");
is(join("\n", @found), '', 'no decision reads prose');

done_testing();
