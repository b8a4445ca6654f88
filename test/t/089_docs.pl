# The documentation is complete, and each SQL example in it runs, in its order and as the roles that the guides make.
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
my %walked;
my $words;

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

# The documents in a directory.
sub glob_of
{
	my ($directory) = @_;

	return map { s{^\Q$top\E/(?:\./)?}{}r } sort glob("$top/$directory/*.md");
}

# [line, language, text] of each fenced block, and the text outside of them.
sub blocks
{
	my ($document) = @_;
	my ($number, $prose, $open, @blocks) = (0, '');

	foreach my $line (split /^/, slurp_file("$top/$document"))
	{
		$number++;
		if ($line =~ /^\s*```(\S*)\s*$/)
		{
			if ($open) { push @blocks, $open; undef $open; }
			else { $open = [ $number, $1, '' ]; }
		}
		elsif ($open) { $open->[2] .= $line; }
		else { $prose .= $line; }
	}
	return ($prose, @blocks);
}

# The anchors of a document, as GitHub makes them of its headings.
sub anchors
{
	my ($document) = @_;
	my ($prose) = blocks($document);

	return map { s/\s+$//r =~ s/`//gr =~ s/[^\w\s-]//gr =~ s/ /-/gr =~ tr/A-Z/a-z/r } $prose =~ /^#+ +(.*)$/mg;
}

# All words of the code, and the names of its files.
sub words_of_the_code
{
	my %words;

	foreach my $file (grep { !m{/sql/releases/} }
		map { glob "$top/$_" } qw(sql/*/*.sql src/*/*.[ch] src/*.c test/*.* test/*/*.* Makefile))
	{
		my ($name) = $file =~ m{([^/]+?)\.[^/]+$};
		$words{$name} = 1 if defined $name;
		$words{$_} = 1 foreach slurp_file($file) =~ /\w+/g;
	}
	return \%words;
}

# No statement stands where it would not be run, no link leads nowhere, and no name is one that the code does not have.
sub has_no_loose_end
{
	my ($document) = @_;
	my ($prose, @blocks) = blocks($document);
	my $verb = qr/(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|GRANT|SET|LOAD) /;
	my ($folder) = $document =~ m{^(.*/)?[^/]+$};
	my @dead;

	is(join(' ', map { $_->[0] } grep { $_->[1] !~ /^(?:sql|sh|text|conf|c|perl)$/ } @blocks), '',
		"$document: each block says what it is");
	is(join(' ', map { $_->[0] } grep { $_->[1] ne 'sql' && $_->[2] =~ /^$verb.*;\s*$/m } @blocks), '',
		"$document: SQL is in blocks of SQL");
	foreach my $script (grep { $_->[1] eq 'sh' } @blocks)
	{
		my ($stdout, $stderr) = run_command([ 'bash', '-n', '-c', $script->[2] ]);
		is($stderr, '', "$document, line $script->[0]: a script without a mistake of syntax");
	}
	foreach my $link ($prose =~ /\]\(([^)]+)\)/g)
	{
		my ($file, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;

		next if $link =~ m{^https?://};
		$file = $file eq '' ? $document : ($folder // '') . $file;
		if (!-e "$top/$file") { push @dead, $link; next; }
		push @dead, $link if defined $anchor && !grep { $_ eq $anchor } anchors($file);
	}
	is(join(' ', @dead), '', "$document: links lead somewhere");
	# Of former names too.
	return if $document eq 'CHANGELOG.md';
	my %own = map { $_ => 1 } map { $_->[2] =~ /\w+/g } @blocks;
	is(join(' ', grep { !$words->{$_} && !$own{$_} } $prose =~ /`([a-z]+(?:_[a-z0-9]+)+)`/g), '',
		"$document: each name is one of the code");
	return;
}

# Statements within a text run too, and calls name arguments that there are.
sub inline_code_is_right
{
	my ($document) = @_;
	my ($prose) = blocks($document);
	my @wrong;

	foreach my $code ($prose =~ /`([^`]+)`/g)
	{
		if ($code =~ /^SELECT / && $code !~ /…/)
		{
			my ($rc) = $node->psql('postgres', $code);
			push @wrong, $code if $rc != 0;
		}
		while ($code =~ /\b(roster_\w+)\(([^()]*)/g)
		{
			my ($function, $arguments) = ($1, $2);
			my $known = $roster->sql("SELECT string_agg(coalesce(array_to_string(proargnames, ' '), '-'), ' ') FROM "
				  . "pg_proc WHERE pronamespace = 'minga_roster'::regnamespace AND proname = '$function'");

			push @wrong, $code if $known eq '';
			push @wrong, $code if grep { " $known " !~ / $_ / } $arguments =~ /(\w+) =>/g;
		}
	}
	is(join("\n", @wrong), '', "$document: statements and calls within the text are right");
	return;
}

# Each function, view, table and setting has its place in the reference, with all arguments and columns.
sub is_complete
{
	my ($document) = @_;
	my %section;
	my ($heading, @missing);

	foreach my $line (split /^/, slurp_file("$top/$document"))
	{
		$heading = $1 if $line =~ /^### (.*)$/;
		$section{$_} .= $line foreach defined $heading ? split(/ and /, $heading) : ();
	}
	foreach my $row (split /\n/, $roster->sql(q{
		SELECT p.proname, a.name FROM pg_proc p
		LEFT JOIN LATERAL unnest(p.proargnames) a (name) ON true
		WHERE p.pronamespace = 'minga_roster'::regnamespace AND p.proname LIKE 'roster\\_%'
		UNION ALL
		SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'minga_roster'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
			AND NOT a.attisdropped
			AND c.relname NOT IN ('secrets', 'tokens', 'key_pairs', 'written_values', 'stored_values', 'planned_links',
				'link_changes', 'conflict_pairs', 'forgotten_people', 'object_marks')
		ORDER BY 1, 2}))
	{
		my ($object, $name) = split /\|/, $row;

		push @missing, "$object $name" if ($section{$object} // '') !~ /\b\Q$name\E\b/;
	}
	is(join(', ', @missing), '', "$document: each function, table and view is there, with its arguments and columns");
	my $text = slurp_file("$top/$document");
	is(join(', ', grep { $text !~ /`\Q$_\E`/ } split /\n/,
			$roster->sql(q{LOAD 'minga_roster'; SELECT name FROM pg_settings WHERE name LIKE 'minga\\_roster.%'})), '',
		"$document: each setting is there");
	return;
}

# Each message of the SQL and C files is explained; values are % there and in italics in the document.
sub has_each_message
{
	my ($document) = @_;
	my $text = slurp_file("$top/$document") =~ s/\*\*//gr =~ s/\*[^*\n]+\*/%/gr =~ s/\s+/ /gr;
	my @messages;

	foreach my $file (grep { !m{/sql/releases/} } glob("$top/sql/*/*.sql"))
	{
		my $sql = slurp_file($file);
		while ($sql =~ /MESSAGE\s*=\s*(?:format\()?((?:'(?:[^']|'')*'\s*)+)/g)
		{
			push @messages, join '', map { s/''/'/gr } $1 =~ /'((?:[^']|'')*)'/g;
		}
	}
	foreach my $file (glob("$top/src/*/*.c"))
	{
		my $c = slurp_file($file) =~ s/" INT64_FORMAT "/%d/gr;
		while ($c =~ /(?:errmsg\(|fault_make\(\w+,\s*(?:psprintf\()?)((?:"(?:[^"\\]|\\.)*"\s*)+)/g)
		{
			push @messages, join('', $1 =~ /"((?:[^"\\]|\\.)*)"/g) =~ s/\\"/"/gr;
		}
	}
	cmp_ok(scalar @messages, '>', 100, "$document: messages are found");
	my %missing = map { $_ => 1 } grep { index($text, $_) < 0 && $_ ne 'out of memory' && $_ ne '%' }
		map { s/%(?:[0-9]+\$)?[-0-9]*[A-Za-z]/%/gr =~ s/\s+/ /gr } @messages;
	is(join("\n", sort keys %missing), '', "$document: each message is explained");
	return;
}

# What an example leaves to its reader.
sub filled_in
{
	my ($text) = @_;

	$text =~ s{https://campus\.mingacityschools\.us/campus/api/oneroster/v1p1/minga}{$server->url}e;
	$text =~ s{client_id(\s*)=> '…'}{"client_id$1=> " . RosterCluster::quote($server->client_id)}e;
	$text =~ s{client_secret(\s*)=> '…'}{"client_secret$1=> " . RosterCluster::quote($server->client_secret)}e;
	$text =~ s{roster_set_secret\('mesa-high', '…'\)}
		{"roster_set_secret('mesa-high', " . RosterCluster::quote($server->client_secret) . ')'}ge;
	$text =~ s{/etc/postgresql/minga_roster\.key}{$roster->key_file}ge;
	$text =~ s{https://campus\.mingacityschools\.us/campus/api/oneroster/v1p2/minga}
		{$server->origin . '/campus/api/oneroster/v1p2/minga'}e;
	$text =~ s/post_auth_delay = '20s'/post_auth_delay = '0s'/;
	$text =~ s/ALTER DATABASE school/ALTER DATABASE postgres/;
	$text =~ s/CREATE EXTENSION pg_cron/CREATE EXTENSION IF NOT EXISTS pg_cron/;
	$text =~ s/'…'/'something'/g;
	$text =~ s/(?<![-\w])\Q$_\E(?![-\w])/($stands_for{$_})/g foreach sort keys %stands_for;
	return $text;
}

# Runs the examples of a document. before: pairs of a pattern and what has to be there first; as: pairs of a pattern and
# the role that the guide has for it; the first that matches counts; shows: pairs of a pattern and what the answer has.
sub walk_through
{
	my ($document, %how) = @_;
	my @pending = @{ $how{before} // [] };

	$walked{$document} = 1;

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
		my @shown = @{ $how{shows} // [] };
		while (my ($pattern, $shown) = splice @shown, 0, 2)
		{
			like($stdout, $shown, "$document, line $line shows what it is about") if $text =~ $pattern;
		}
		# An evening that begins now would be in the way of the next examples.
		$roster->sql('UPDATE cron.job SET active = false') if $text =~ /roster_enable/;
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

# A sync meets everyone under another id.
sub new_ids
{
	my ($prefix) = @_;

	$server->faults({ rollover => { prefix => $prefix } });
	$roster->sql("SELECT roster_sync('mesa-high')");
	return;
}

my @documents = (glob_of('.'), glob_of('docs'));

$words = words_of_the_code();
has_no_loose_end($_) foreach @documents;

begin('readme');
$roster->sql('DROP EXTENSION minga_roster');
$roster->sql('DROP ROLE people_owner');
walk_through('README.md', before => [
	qr/ALTER EXTENSION/ => sub {
		is($roster->sql("SELECT automatic FROM minga_roster.connections WHERE connection = 'mesa-high'"), 't',
			'README.md: the school is rostered');
	} ]);
is($roster->sql('SELECT count(*) > 0 FROM public.people'), 't', 'README.md: people stay when the extension is dropped');

begin('infinite_campus');
$roster->sql('DROP ROLE people_owner');
%stands_for = (
	'4712' => "(SELECT max(run) FROM minga_roster.runs WHERE kind = 'sync')",
	'4713' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'archive')");
walk_through('docs/infinite-campus.md', before => [ qr/WHERE run = 4713/ => \&hold_archives ]);
is($roster->sql("SELECT count(*) > 0 FROM minga_roster.runs WHERE kind = 'approve' AND archived > 0"), 't',
	'docs/infinite-campus.md: held archives were approved');

has_each_message('docs/errors.md');

begin('reference');
$roster->set(smtp_url => 'smtp://localhost:9');
$roster->set(smtp_from => 'roster@mesa.example');
%stands_for = (
	"'31007'" => '(SELECT min(person_id::text) FROM public.people WHERE site = \'mesa-high\')',
	'4711' => "(SELECT max(run) FROM minga_roster.runs WHERE kind = 'preview')",
	'4712' => "(SELECT max(done_by) FROM minga_roster.changes WHERE state = 'applied')",
	'4713' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'archive')",
	'4714' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'link')",
	'4715' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'link')");
walk_through('docs/reference.md', before => [
	qr/SELECT roster_sync\(connection\)/ => sub { $roster->connect_school('mesa-high', $server); },
	# What the reference makes.
	qr/CREATE ROLE people_owner/ => sub {
		$roster->sql('DROP EXTENSION minga_roster; DROP TABLE public.people; DROP ROLE people_owner; '
			  . 'CREATE EXTENSION minga_roster');
	},
	qr/roster_disconnect/ => sub { $roster->connect_school('mesa-west', $server); },
	qr/roster_approve\(/ => sub {
		$roster->sql("SELECT roster_configure('mesa-high', season_dates => 'empty', guard_grace => 1)");
		hold_archives();
	},
	# The SIS lists everyone under other ids, and once more.
	qr/WHERE run = 4714/ => sub { new_ids('next-'); },
	qr/WHERE run = 4715/ => sub { new_ids('later-'); } ]);
is($roster->sql("SELECT count(*) > 0 FROM minga_roster.runs WHERE kind = 'approve' AND archived > 0"), 't',
	'docs/reference.md: held archives were approved');
is($roster->sql("SELECT count(DISTINCT run) FROM minga_roster.changes WHERE state_cause = 'relinked'"), '2',
	'docs/reference.md: links were moved');
is_complete('docs/reference.md');

begin('operations');
$roster->sql('DROP EXTENSION minga_roster; DROP ROLE people_owner');
%stands_for = (
	"'31007'" => '(SELECT min(person_id::text) FROM public.people WHERE site = \'mesa-high\')',
	'4711' => "(SELECT max(run) FROM minga_roster.runs WHERE kind = 'preview')",
	'4712' => "(SELECT max(done_by) FROM minga_roster.changes WHERE state = 'applied')",
	'4713' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'archive')",
	'4714' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND action = 'link')",
	'4717' => "(SELECT max(run) FROM minga_roster.changes WHERE state = 'held' AND state_cause = 'new_site')");
walk_through('docs/operations.md', before => [
	qr/roster_(?:preview|conflicts)\b/ => sub {
		$roster->sql("CREATE ROLE guided; SELECT roster_grant('guided', 'owner', site => 'mesa-high'); "
			  . 'GRANT SELECT ON public.people TO guided');
	},
	# No mail server is at the address of the example.
	qr/roster_send_test_mail/ => sub { $roster->set(smtp_url => 'smtp://localhost:9'); },
	# No test goes to Microsoft or Google.
	qr/SELECT roster_report\('mesa-high'\); +-- the latest/ => sub {
		$roster->set($_ => '') foreach qw(smtp_token_url smtp_client_id);
		$roster->set(smtp_url => 'smtp://localhost:9');
	},
	qr/WHERE c\.run = 4713/ => \&hold_archives,
	# A site that is mistyped, then one that is new.
	qr/roster_configure\('mesa-west'/ => sub { $roster->connect_school('mesa-west', $server, site => 'mesawest'); },
	qr/roster_approve\(4717\)/ => sub { $roster->sql("SELECT roster_sync('mesa-west')"); },
	qr/WHERE run = 4714/ => sub {
		$server->faults({ campus_1_2 => 1 });
		$roster->sql("SELECT roster_sync('mesa-high')");
	},
	# The test's SIS is none of the example's hosts.
	qr/ALTER TABLE public\.people OWNER/ => sub { $roster->set(allowed_hosts => 'localhost:*'); },
	# As after DROP EXTENSION
	qr/roster_import_links/ => sub { $roster->sql('DELETE FROM links; DELETE FROM match_decisions'); },
	qr/DROP EXTENSION/ => \&with_the_roles_of_the_guide,
	qr/last_state, last_error, blocked_reason, mail_error FROM roster_status/ => sub {
		$server->clear_faults;
		$roster->sql('CREATE EXTENSION minga_roster');
		$roster->connect_school('mesa-high', $server);
		$roster->sql("SELECT roster_sync('mesa-high'); SELECT roster_notify('mesa-high', 'it\@mesa.example')");
	} ],
	# Classes with a room, a teacher and students; a student's class; a contact with a number.
	shows => [ qr/^-- the classes with their lists/ => RosterCluster::in_order(
		qr/^[^|]+\|\{\d\}\|Room \d+\|\{[^}]+\}\|[1-9]/m, qr/^[^|]+\|[^|]+\|Room \d+$/m,
		qr/^[^|]+\|[^|]+\|[^|]*\|\d{3}-/m) ],
	as => [
		qr/^-- As mesa_district/ => 'mesa_district', qr/^-- As mesa_office/ => 'mesa_office',
		qr/^-- As mesa_reports/ => 'mesa_reports',
		# Of a site that is mistyped at first, so that no one could have a level there.
		qr/mesa-west|4717/ => '',
		# What the guide shows to everyone who may decide, an owner does.
		qr/roster_(?:conflicts|decide|approve|preview|apply|undo|relink)\b/ => 'guided' ]);

walk_through($_) foreach 'docs/security.md', 'docs/develop.md', 'docs/architecture.md';

inline_code_is_right($_) foreach grep { $_ ne 'CHANGELOG.md' } @documents;
is(join(', ', grep { !$walked{$_} && slurp_file("$top/$_") =~ /^\s*```sql$/m } @documents), '',
	'the examples of each document were run');
done_testing();

# The roles of the guide do what it says that they may.
sub with_the_roles_of_the_guide
{
	$roster->sql("SELECT roster_set_secret('mesa-high', " . RosterCluster::quote($server->client_secret) . '); '
		  . "SELECT roster_grant('mesa_reports', 'reader', site => 'mesa-high')");
	foreach my $call (
		[ 'mesa_reports', 'SELECT * FROM roster_status' ],
		[ 'mesa_reports',
			"SELECT roster_report('mesa-high'), roster_report_html(max(run)) FROM runs WHERE kind = 'sync'" ],
		[ 'mesa_office', "SELECT * FROM roster_test_connection('mesa-high')" ],
		[ 'mesa_office', "SELECT * FROM roster_diagnose('mesa-high')" ],
		[ 'mesa_reports', "SELECT roster_diagnosis(max(run)) FROM runs WHERE kind = 'diagnose'" ],
		[ 'mesa_office', "SELECT * FROM roster_preview('mesa-high')" ],
		[ 'mesa_office', "SELECT * FROM roster_sync('mesa-high')" ],
		[ 'mesa_office', 'SELECT * FROM roster_conflicts' ],
		[ 'mesa_district', "SELECT roster_toggle('mesa-high', archive => true)" ],
		[ 'mesa_district', "SELECT roster_configure('mesa-high', sync_at => '20:00')" ],
		[ 'mesa_office', "SELECT roster_notify('mesa-high', 'it\@mesa.example')" ],
		[ 'mesa_office', "SELECT * FROM roster_send_test_mail('mesa-high')" ],
		[ 'mesa_office', "SELECT roster_remove_recipient('mesa-high', 'it\@mesa.example')" ])
	{
		my ($role, $statement) = @$call;
		my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET ROLE $role;\n$statement");
		is($rc, 0, "$role: $statement") or diag($stderr);
	}
	return;
}
