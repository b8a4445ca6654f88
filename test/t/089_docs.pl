# The SQL examples of the README and the guides run, in their order and as the roles that the guides make.
use strict;
use warnings;

use Cwd qw(getcwd);
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $top = getcwd();
my ($server, $roster, $node);
my %stands_for;

# [line, text] of each SQL example of a document.
sub examples
{
	my ($document) = @_;
	my @examples;
	my $number = 0;
	my $open;

	foreach my $line (split /^/, slurp_file("$top/$document"))
	{
		$number++;
		if ($line =~ /^\s*```sql\s*$/) { $open = [ $number, '' ]; }
		elsif ($line =~ /^\s*```/) { push @examples, $open if $open; undef $open; }
		elsif ($open) { $open->[1] .= $line; }
	}
	die "$document has no example" if !@examples;
	return @examples;
}

# What an example leaves to its reader.
sub filled_in
{
	my ($text) = @_;

	$text =~ s{https://campus\.mingacityschools\.us/campus/api/oneroster/v1p1/minga}{$server->url}e;
	$text =~ s{client_id(\s*)=> '…'}{"client_id$1=> " . RosterCluster::quote($server->client_id)}e;
	$text =~ s{client_secret(\s*)=> '…'}{"client_secret$1=> " . RosterCluster::quote($server->client_secret)}e;
	$text =~ s{/etc/postgresql/minga_roster\.key}{$roster->key_file}ge;
	$text =~ s/CREATE EXTENSION pg_cron/CREATE EXTENSION IF NOT EXISTS pg_cron/;
	$text =~ s/'…'/'something'/g;
	$text =~ s/\Q$_\E/($stands_for{$_})/g foreach sort keys %stands_for;
	return $text;
}

# Runs the examples of a document. before: pairs of a pattern and what has to be there first; as: pairs of a pattern and
# the role that the guide has for it; the first that matches counts.
sub walk_through
{
	my ($document, %how) = @_;
	my @pending = @{ $how{before} // [] };

	foreach my $example (examples($document))
	{
		my ($line, $text) = @$example;
		my $role;

		for (my $i = 0; $i < @pending; $i += 2)
		{
			if ($text =~ $pending[$i]) { $pending[ $i + 1 ]->(); splice @pending, $i, 2; $i -= 2; }
		}
		my @as = @{ $how{as} // [] };
		while (my ($pattern, $whose) = splice @as, 0, 2)
		{
			if ($text =~ $pattern) { $role = $whose; last; }
		}
		my $statements = filled_in($text);
		unlike($statements =~ s/--.*$//gmr, qr/…/, "$document, line $line: nothing is left to fill in");
		my ($rc, $stdout, $stderr) = $node->psql('postgres', ($role ? "SET ROLE $role;\n" : '') . $statements);
		is($rc, 0, "$document, line $line" . ($role ? ", as $role" : '')) or diag("$statements\n$stderr");
	}
	is(scalar @pending, 0, "$document: each preparation has met its example");
	return;
}

# A server with the extension and a SIS, as the reader of a document has them.
sub begin
{
	my ($name) = @_;

	if ($roster) { $roster->stop; $server->stop; }
	$server = OneRosterServer->new(people => 120, seed => 19);
	$roster = RosterCluster->new("docs_$name");
	$node = $roster->node;
	$roster->set(ca_file => $server->ca_file);
	return;
}

# Too many students are gone at once.
sub hold_archives
{
	my @students = split /\n/,
		$roster->sql("SELECT sourced_id FROM links WHERE connection = 'mesa-high' AND category = 'student' ORDER BY 1 "
		  . "LIMIT 30");

	$server->faults({ remove_rows => \@students });
	$roster->sql("SELECT roster_sync('mesa-high')");
	$server->clear_faults;
	return;
}

begin('readme');
$roster->sql('DROP EXTENSION minga_roster');
$roster->sql('DROP ROLE people_owner');
walk_through('README.md');
is($roster->sql("SELECT automatic FROM minga_roster.connections WHERE connection = 'mesa-high'"), 't',
	'README.md: the school is rostered');

begin('infinite_campus');
$roster->sql('DROP ROLE people_owner');
%stands_for = ('…' => "SELECT max(run) FROM minga_roster.runs WHERE kind IN ('sync', 'approve')");
walk_through('docs/infinite-campus.md', before => [ qr/roster_approve/ => \&hold_archives ]);
is($roster->sql("SELECT count(*) > 0 FROM minga_roster.runs WHERE kind = 'approve' AND archived > 0"), 't',
	'docs/infinite-campus.md: held archives were approved');

begin('operations');
$roster->connect_school('mesa-high', $server, site => 'mesa-high');
$roster->sql("SELECT roster_sync('mesa-high')");
%stands_for = (
	'4711' => "SELECT max(run) FROM minga_roster.runs WHERE kind = 'preview'",
	'4712' => "SELECT max(run) FROM minga_roster.runs WHERE kind = 'apply'");
walk_through('docs/operations.md', before => [
	qr/smtp_url/ => sub { $roster->sql("SELECT roster_notify('mesa-high', 'owner\@mesa.example')"); },
	# No mail server is at the address of the example.
	qr/roster_send_test_mail/ => sub { $roster->set(smtp_url => 'smtp://localhost:9'); },
	# ... and the test's SIS is none of the example's hosts.
	qr/roster_report/ => sub { $roster->set(allowed_hosts => 'localhost:*');
	$roster->sql("SELECT roster_preview('mesa-high')"); },
	# What the guide makes is there already.
	qr/CREATE ROLE people_owner/ => sub {
		$roster->sql('CREATE SCHEMA former; ALTER TABLE public.people SET SCHEMA former; ALTER ROLE people_owner '
			  . 'RENAME TO former_owner');
	},
	qr/roster_apply/ => sub {
		$server->day(2);
		$roster->sql('DROP TABLE public.people; ALTER TABLE former.people '
			  . 'SET SCHEMA public; ALTER TABLE public.people OWNER TO people_owner');
	},
	qr/DROP EXTENSION/ => \&with_the_roles_of_the_guide ]);

done_testing();

# The roles of the guide do what it says that they may; the views' examples are the reference's.
sub with_the_roles_of_the_guide
{
	$roster->sql("SELECT roster_set_secret('mesa-high', " . RosterCluster::quote($server->client_secret) . ')');
	$roster->sql("SELECT roster_configure('mesa-high', parent_contact => true)");
	foreach my $call (
		[ 'roster_reader', 'SELECT * FROM roster_status' ],
		[ 'roster_reader',
			"SELECT roster_report('mesa-high'), roster_report_html(max(run)) FROM runs WHERE kind = 'sync'" ],
		[ 'roster_operator', "SELECT * FROM roster_test_connection('mesa-high')" ],
		[ 'roster_operator', "SELECT * FROM roster_diagnose('mesa-high')" ],
		[ 'roster_operator', "SELECT roster_diagnosis(max(run)) FROM runs WHERE kind = 'diagnose'" ],
		[ 'roster_operator', "SELECT * FROM roster_preview('mesa-high')" ],
		[ 'roster_operator', "SELECT * FROM roster_sync('mesa-high')" ],
		[ 'roster_operator', 'SELECT * FROM roster_conflicts' ],
		[ 'roster_manager', "SELECT roster_toggle('mesa-high', archive => true)" ],
		[ 'roster_manager', "SELECT roster_configure('mesa-high', sync_at => '20:00')" ],
		[ 'roster_manager', "SELECT roster_notify('mesa-high', 'it\@mesa.example')" ],
		[ 'roster_manager', "SELECT * FROM roster_send_test_mail('mesa-high')" ],
		[ 'roster_manager', "SELECT roster_remove_recipient('mesa-high', 'it\@mesa.example')" ])
	{
		my ($role, $statement) = @$call;
		my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET ROLE $role;\n$statement");
		is($rc, 0, "$role: $statement") or diag($stderr);
	}
	%stands_for = ('…' => "SELECT max(run) FROM minga_roster.runs WHERE kind = 'sync'");
	walk_through('docs/reference.md',
		before => [
			qr/roster_attach_people\('app\.users', '\{"person_id"/ =>
				sub { users('id text PRIMARY KEY DEFAULT md5(random()::text)', 'archived_at timestamptz'); },
			qr/archive_words/ => sub { users('person_id text PRIMARY KEY DEFAULT md5(random()::text)',
				"status text NOT NULL DEFAULT 'ACTIVE'", 'is_active boolean NOT NULL DEFAULT true'); },
			# The SIS lists everybody under another id.
			qr/roster_relink/ => sub {
				$server->faults({ rollover => { prefix => 'next-' } });
				$roster->sql("SELECT roster_sync('mesa-high')");
			} ],
		as => [ qr/roster_joiners/ => 'roster_operator' ]);
	%stands_for = ();
	return;
}

# A table of people as a deployment might have it.
sub users
{
	my (@columns) = @_;
	my $names = $columns[0] =~ /^id/ ? 'first_name text, last_name text' : 'given_name text, family_name text';

	$roster->sql('CREATE SCHEMA IF NOT EXISTS app; DROP TABLE IF EXISTS app.users; CREATE TABLE app.users (site text '
		  . 'NOT NULL, role text NOT NULL, '
		  . "$names, email text, identifier text, " . join(', ', @columns)
			. '); ALTER TABLE app.users OWNER TO people_owner; GRANT USAGE ON SCHEMA app TO people_owner');
	return;
}
