# Plans as auto_explain logs them, and what in them is done again for each of many rows.
#
#   my $plans = LoggedPlans->of($node, $sql);            # runs the SQL and reads the plans of all its statements,
# nested ones too
#   $plans->stdout;                                      # what it printed
#   $plans->statements;                                  # how many there were
#   $plans->repeated($rows);                             # a line for each node that ran through more than that many
# rows again and again
#   $plans->frequent($times);                            # a line for each statement that ran more often than that
#
# Checks of foreign keys, a lookup for each row that PostgreSQL makes itself, are left out.
package LoggedPlans;

use strict;
use warnings;

use JSON::PP;

sub of
{
	my ($class, $node, $sql, %settings) = @_;
	my ($stdout, $stderr);
	my $set = join '', map { "SET $_ = '$settings{$_}';\n" } sort keys %settings;

	$node->psql('postgres', <<"SQL", stdout => \$stdout, stderr => \$stderr, on_error_die => 1);
\\set SHOW_CONTEXT never
\\set VERBOSITY default
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET auto_explain.log_level = notice;
SET client_min_messages = notice;
SET session_replication_role = replica;
$set$sql
SQL
	my @plans;
	my $json = JSON::PP->new;
	foreach my $notice (split /^(?:psql:[^\n]*?: )?NOTICE:  duration: [\d.]+ ms  plan:\n/m, $stderr)
	{
		next if $notice !~ /^\{/;
		my ($plan) = $json->decode_prefix($notice);
		push @plans, $plan;
	}
	return bless { plans => \@plans, stdout => $stdout }, $class;
}

sub stdout { return $_[0]{stdout}; }
sub statements { return scalar @{ $_[0]{plans} }; }

# A line for each statement that ran more than that often.
sub frequent
{
	my ($self, $times) = @_;
	my %count;

	$count{ shortened($_->{'Query Text'}) }++ foreach @{ $self->{plans} };
	return map { "$count{$_} times: $_" } sort grep { $count{$_} > $times } keys %count;
}

sub shortened
{
	my ($statement) = @_;
	return substr($statement =~ s/\s+/ /gr, 0, 200);
}

# Whether a node or one below it reads a relation, or rows that were kept.
sub reads_rows
{
	my ($node) = @_;
	return 1 if exists $node->{'Relation Name'} || exists $node->{'CTE Name'} || exists $node->{'Tuplestore Name'};
	return scalar grep { reads_rows($_) } @{ $node->{Plans} // [] };
}

# Rows that came out of this node and of those below, or were read for nothing, in all loops. A few rows kept in memory
# are no relation.
sub rows_read
{
	my ($node) = @_;
	my $rows = $node->{'Node Type'} eq 'Materialize' && $node->{'Actual Rows'} < 20 ? 0
		  : ($node->{'Actual Rows'} + ($node->{'Rows Removed by Filter'} // 0) + ($node->{'Rows Removed by Join Filter'}
		  // 0)) * $node->{'Actual Loops'};

	$rows += rows_read($_) foreach @{ $node->{Plans} // [] };
	return $rows;
}

sub examine
{
	my ($node, $limit, $statement, $found) = @_;

	foreach my $below (@{ $node->{Plans} // [] })
	{
		my $relationship = $below->{'Parent Relationship'} // '';
		my $again = ($node->{'Node Type'} eq 'Nested Loop' && $relationship eq 'Inner') || $relationship eq 'SubPlan';

		my $loops = $below->{'Actual Loops'};

		# A few times may be through more rows, as once for each run or rule.
		if ($again && $loops > 1 && reads_rows($below) && rows_read($below) > ($loops > 20 ? $limit : 20 * $limit))
		{
			push @$found, sprintf('%s: %s %s%s of %s rows, %s times, in %s', $node->{'Node Type'}, $relationship,
				$below->{'Node Type'},
				exists $below->{'Relation Name'} ? " on $below->{'Relation Name'}" : '', $below->{'Actual Rows'},
				$below->{'Actual Loops'},
				shortened($statement));
		}
		examine($below, $limit, $statement, $found);
	}
	return;
}

sub repeated
{
	my ($self, $limit) = @_;
	my @found;

	examine($_->{Plan}, $limit, $_->{'Query Text'}, \@found) foreach @{ $self->{plans} };
	return @found;
}

1;
