# Writes the script that updates the extension from a released version, for the Makefile:
#
#   perl tools/update_script.pl sql/releases/minga_roster--OLD.sql sql/updates/OLD--NEW.sql SQL_PARTS... > SCRIPT
#
# It consists of sql/updates/before.sql, which checks and takes away what is made again; of the hand-written part for
# tables that changed, OLD--NEW.sql; and of the statements of the install script that make functions, views, comments,
# policies and privileges, and the tables that OLD does not have. So each function is written once.
use strict;
use warnings;

use File::Basename qw(basename dirname);

# Checks of a first installation, and the presets, whose rows users may have changed.
my %left_out = map { $_ => 1 } qw(prologue.sql role.sql presets.sql);
# Internal tables whose rows belong to the version: before.sql drops them.
my %rebuilt = map { ("minga_roster_internal.$_" => 1) } qw(function_levels table_levels);

sub contents
{
	my ($path) = @_;
	open(my $file, '<', $path) or die "could not open $path: $!\n";
	local $/;
	my $text = <$file>;
	close($file);
	return $text;
}

# The statements of a script, without comments and psql's commands before each.
sub statements
{
	my ($path) = @_;
	my $text = contents($path);
	my @statements;
	my ($start, $blocks) = (undef, 0);
	while ($text !~ /\G\z/gc)
	{
		if ($text =~ /\G(?:\s+|--[^\n]*|\/\*.*?\*\/)/gcs) { next; }
		if (!defined $start && $text =~ /\G\\[^\n]*/gc) { next; }
		$start //= pos($text);
		if ($text =~ /\G(?:[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$)/gcs) { next; }
		if ($text =~ /\GBEGIN\s+ATOMIC\b/gc) { $blocks = 1; }
		elsif ($text =~ /\G(\w+)/gc)
		{
			$blocks++ if $blocks > 0 && $1 eq 'CASE';
			$blocks-- if $blocks > 0 && $1 eq 'END';
		}
		elsif ($text =~ /\G;/gc)
		{
			next if $blocks > 0;
			push @statements, substr($text, $start, pos($text) - $start);
			$start = undef;
		}
		else { $text =~ /\G./gcs; }
	}
	die "$path: the last statement has no end\n" if defined $start;
	return @statements;
}

# What a statement defines or changes: a kind, and a name with its schema.
sub subject
{
	my ($statement) = @_;
	my $name = qr/(?<name>[a-z_.]+)/;
	my @kinds = (
		[ function => qr/CREATE (?:FUNCTION|AGGREGATE) $name/ ],
		[ view => qr/CREATE VIEW $name/ ],
		[ type => qr/CREATE TYPE $name/ ],
		[ table => qr/CREATE (?:UNLOGGED )?TABLE $name/ ],
		[ of_table => qr/CREATE (?:UNIQUE )?INDEX [a-z_]+ ON $name/ ],
		[ of_table => qr/ALTER TABLE $name/ ],
		[ of_table => qr/INSERT INTO $name/ ],
		[ again => qr/(?:COMMENT ON|CREATE POLICY|CREATE TRIGGER|GRANT|REVOKE|DO) (?<name>\S+)/ ],
		[ again => qr/SELECT (?<name>pg_catalog\.pg_extension_config_dump)\(/ ]);
	foreach my $kind (@kinds)
	{
		return ($kind->[0], $+{name}) if $statement =~ /^$kind->[1]/;
	}
	die 'tools/update_script.pl does not know what to do with "' . substr($statement, 0, 60) . "\"\n";
}

sub qualified
{
	my ($name) = @_;
	return $name =~ /\./ ? $name : "minga_roster.$name";
}

# Arguments and result of a function, as written.
sub header
{
	my ($statement) = @_;
	my ($header) = $statement =~ /^CREATE \w+ (.*?)(?:\bLANGUAGE\b|;$)/s;
	return join(' ', split(' ', $header));
}

my ($release, $by_hand, @parts) = @ARGV;
my ($old, $new) = basename($by_hand) =~ /^(.+)--(.+)\.sql$/ or die "$by_hand is not named OLD--NEW.sql\n";

my (%had, %old_headers, %new_headers);
foreach my $statement (statements($release))
{
	next if $statement =~ /^(?:WITH|INSERT INTO|CREATE SCHEMA)\b/;
	my ($kind, $name) = subject($statement);
	$had{ qualified($name) } = 1 if $kind eq 'table';
	push @{ $old_headers{ qualified($name) } }, header($statement) if $kind eq 'function';
}

my @again;
foreach my $part (grep { !$left_out{ basename($_) } } @parts)
{
	foreach my $statement (statements($part))
	{
		my ($kind, $name) = subject($statement);
		$name = qualified($name) if $kind ne 'again';
		push @{ $new_headers{$name} }, header($statement) if $kind eq 'function';
		next if $kind =~ /table$/ && $had{$name} && !$rebuilt{$name};
		# What is in schema minga_roster_internal is dropped before; the rest may have grants and views of users.
		$statement =~ s/^CREATE /CREATE OR REPLACE / if $kind =~ /^(?:function|view)$/ && $name =~ /^minga_roster\./;
		push @again, $statement;
	}
}

my @gone = grep {
	/^minga_roster\./
	  && join("\n", sort @{ $old_headers{$_} }) ne join("\n", sort @{ $new_headers{$_} // [] })
} sort keys %old_headers;
my $gone = join(', ', map { s/^minga_roster\.//r =~ s/.*/'$&'/r } @gone);

my $before = contents(dirname($by_hand) . '/before.sql');
$before =~ s/\@OLD\@/$old/g;
$before =~ s/\@NEW\@/$new/g;
$before =~ s/'\@CHANGED\@'/$gone/g;
my ($tables, $afterwards) = split(/^-- Afterwards\b[^\n]*\n/m, contents($by_hand));
print $before, "\n", $tables, "\n", map({ "$_\n" } @again), $afterwards // '';
