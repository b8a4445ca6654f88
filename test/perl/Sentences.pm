# Finds where program logic reads prose: comparisons with the text of a reason, error, detail, hint or message, and
# with literals that are sentences. Program state is codes.
package Sentences;

use strict;
use warnings;

# Columns and variables that hold prose.
my $prose = qr/(?:\w+_)?(?:reason|error|details?|hint|message|sqlerrm)/i;
my $literal = qr/[EU]?&?'(?:[^']|'')*'/;
my $operator = qr/=|<>|!=|!?~~?\*?
	|(?:NOT\s+)?(?:I?LIKE\b|SIMILAR\s+TO\b|IN\s*\()|IS\s+(?:NOT\s+)?DISTINCT\s+FROM\b/xi;
# What searches a text, and what cuts one up, which matters where the part is compared.
my $reader = qr/starts_with|position|strpos|split_part|regexp_(?:match|matches|like|count|instr|substr)/i;
my $cutter = qr/left|right|substr|substring|lower|upper/i;

# Text of the same length without comments.
sub _without_sql_comments
{
	my ($text) = @_;
	my $blank = sub { my ($found) = @_; $found =~ s/[^\n]/ /g; return $found };

	$text =~ s{($literal)|(--[^\n]*|/\*.*?\*/)}{ defined $1 ? $1 : $blank->($2) }gse;
	return $text;
}

sub _without_c_comments
{
	my ($text) = @_;
	my $blank = sub { my ($found) = @_; $found =~ s/[^\n]/ /g; return $found };

	$text =~ s{("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(/\*.*?\*/|//[^\n]*)}{ defined $1 ? $1 : $blank->($2) }gse;
	return $text;
}

# The end of what comes before a place.
sub _before
{
	my ($text, $place) = @_;
	my $from = $place < 200 ? 0 : $place - 200;

	return substr($text, $from, $place - $from);
}

sub _line { my ($text, $place) = @_; return 1 + (substr($text, 0, $place) =~ tr/\n//) }

# A sentence: words that begin with a capital or end with a stop, or more words than a code has.
sub _is_sentence
{
	my ($words) = @_;
	return $words =~ /^[A-Z][a-z]+ \w/ || $words =~ /\w \w.*[.!?]$/ || $words =~ /^(?:[a-z]+ ){3,}[a-z]+$/;
}

# [line, text] of each place of SQL that reads prose.
sub in_sql
{
	my ($source) = @_;
	my $text = _without_sql_comments($source);
	my @found;

	# A column of prose on either side of an operator. SET column = and MESSAGE = of RAISE give, they do not ask.
	while ($text =~ /\b((?:\w+\.|\(\w+\)\.)?)($prose)\b\)?(?:::\w+)?\)?\s*($operator)\s*(\(?\s*$literal)?/g)
	{
		my ($alias, $column, $how, $value, $place) = ($1, $2, $3, $4, $-[0]);
		my $before = _before($text, $place);

		next if $how eq '=' && $alias eq '' && $before =~ /(?:\bSET|\bUSING|,|\bSTACKED DIAGNOSTICS)\s*$/i;
		next if $how eq '=' && $before =~ /:\s*$/;
		# two texts compared with each other: the plan asks whether anything is to be rewritten
		next if !defined $value && $how !~ /LIKE|SIMILAR|~|^(?:NOT\s+)?IN/i;
		# what a sentence needs beside its code is named detail too, and may be a code itself
		next if $column eq 'detail' && defined $value && $value =~ /^\(?\s*'\w+(?::%)?'$/;
		push @found, [ _line($text, $place), $column ];
	}
	while ($text =~ /\b($reader)\s*\(\s*(?:(?:\w+|'[^']*')\s+IN\s+)?(?:\w+\.|\(\w+\)\.)?($prose)\b/g)
	{
		push @found, [ _line($text, $-[0]), "$1($2)" ];
	}
	while ($text =~ /\b$cutter\s*\(\s*(?:\w+\.|\(\w+\)\.)?($prose)\b[^()]*\)\s*(?:$operator)/g)
	{
		push @found, [ _line($text, $-[0]), "a part of $1" ];
	}
	# That there is a reason is no code either.
	while ($text =~ /\b((?:\w+_)?reason)\s+IS\s+(?:NOT\s+)?NULL/gi)
	{
		push @found, [ _line($text, $-[0]), "whether there is a $1" ];
	}
	# A sentence compared with anything.
	while ($text =~ /(?:<>|!=|(?<![:<>!=])=(?!>)|\bLIKE|\bDISTINCT\s+FROM|\bWHEN)\s*'((?:[^']|'')*)'/g)
	{
		my ($words, $place) = ($1, $-[0]);
		my $before = _before($text, $place);
		my $asks = substr($text, $place) !~ /^=/ || $before !~ /(?:\bSET|\bUSING|,)\s*"?\w+"?\s*$/i;

		push @found, [ _line($text, $place), "'$words'" ] if $asks && _is_sentence($words);
	}
	return _once(@found);
}

# [line, text] of each place of C that reads prose.
sub in_c
{
	my ($source) = @_;
	my $text = _without_c_comments($source);
	my %macro = $text =~ /^#define\s+(\w+)\s+"([^"\n]*)"/gm;
	my @found;

	my $compares = 'strn?cmp|strstr|pg_strn?casecmp|strcasestr|strncasecmp|memcmp|memmem';
	while ($text =~ /\b($compares)\s*(\((?:[^()]++|(?2))*\))/g)
	{
		my ($function, $arguments, $place) = ($1, $2, $-[0]);
		my @words = $arguments =~ /"((?:[^"\\]|\\.)*)"/g;

		push @words, grep { defined } map { $macro{$_} } $arguments =~ /\b([A-Z][A-Z_0-9]+)\b/g;
		push @found, [ _line($text, $place), "$function$arguments" ]
		  if grep({ /[a-z]/ && (/\w \w/ || /\w: /) } @words)
		  || (@words && $arguments =~ /\b(?:message|detail|hint|error_text|errmsg|reason)\b/);
	}
	return _once(@found);
}

# [line, text] of each place of Python that reads prose.
sub in_python
{
	my ($source) = @_;
	my @found;

	while ($source =~ /\b($prose)["']?\]?\s*(?:==|!=|(?:not\s+)?in\s)\s*[frb]*["'(\[]/g)
	{
		push @found, [ _line($source, $-[0]), $1 ];
	}
	while ($source =~ /(?:["'][^"'\n]*["']\s+in\s+|\bre\.(?:search|match)\()[^\n]*\b($prose)\b/g)
	{
		push @found, [ _line($source, $-[0]), $1 ];
	}
	return _once(@found);
}

sub _once
{
	my %seen;
	return sort { $a->[0] <=> $b->[0] } grep { !$seen{ $_->[0] }++ } @_;
}

1;
