# No secret is where it can be read: in the files of the cluster, the log with everything on, pg_stat_activity,
# pg_stat_statements, tables, views, dumps, and the memory and core files of the processes that held it; in whichever
# way it was set. Client secrets, the mail password, access tokens and keys are looked for as they are and in other
# spellings.
# Planted: one secret in each place, so that a search that finds nothing is seen.

use strict;
use warnings;

use Cwd qw(getcwd);
use IPC::Run ();
use MIME::Base64;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

$ENV{LC_ALL} = 'C';
srand(77);

# Letters and digits at both ends, so that each spelling has a piece that is found; signs that each way has to keep.
sub made_up { return join '', map { (('A' .. 'Z'), ('a' .. 'z'), 0 .. 9)[ rand 62 ] } 1 .. 16; }
sub new_secret { return made_up() . "!%+/'\"\\&" . made_up(); }
my %secret = map { $_ => new_secret() } qw(planted sql connect quiet file sealed mail);
my %key = map { $_ => join '', map { chr(33 + rand 90) } 1 .. 32 } qw(first second);

my $file_server = OneRosterServer->new(people => 20, seed => 3, client_secret => $secret{file});
my $sealed_server = OneRosterServer->new(people => 20, seed => 3, client_secret => $secret{sealed},
	certs => $file_server->certs);
my $smtp = SmtpServer->new(certs => $file_server->certs, password => $secret{mail});
my $roster = RosterCluster->new('secrets_nowhere', conf => <<'CONF');
shared_preload_libraries = 'pg_cron, pg_stat_statements, auto_explain'
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
track_activity_query_size = 64kB
restart_after_crash = on
CONF
my $node = $roster->node;
my $tmp = PostgreSQL::Test::Utils::tempdir();
my $directory = "$tmp/secrets";
mkdir($directory, 0700) or die $!;

# Search
# A text of 12 bytes as itself, in hexadecimal, as numbers (as a parse tree shows it), and in base64, where it begins at
# each of the three places that a byte can have.
sub spellings
{
	my ($piece) = @_;
	my $hex = unpack('H*', $piece);
	my @base64 = map { substr(encode_base64(('x' x $_) . $piece, ''), $_ ? $_ + 1 : 0, 14) } 0 .. 2;

	return ($piece, $hex, uc $hex, join(' ', unpack('C*', $piece)), map { ($_, tr{+/}{-_}r) } @base64);
}

# What is searched for: [title, piece], the beginning and the end of each secret.
my @pieces;
sub search_for
{
	my ($title, $value) = @_;
	push @pieces, [ $title, substr($value, 0, 12) ], [ $title, substr($value, -12) ];
	return;
}
search_for("the secret: $_", $secret{$_}) foreach sort keys %secret;
foreach my $name (sort keys %key)
{
	search_for("the key: $name", $key{$name});
	search_for("the key: $name", unpack('H*', $key{$name}));
}

# Which secrets are in these files: titles, each once.
sub found_in
{
	my (@paths) = @_;
	my %title_of;
	die 'no file to search' if !@paths;
	foreach my $piece (@pieces)
	{
		$title_of{$_} = $piece->[0] foreach spellings($piece->[1]);
	}
	my $patterns = "$tmp/patterns";
	open(my $file, '>:raw', $patterns) or die $!;
	print $file "$_\n" foreach keys %title_of;
	close($file);
	my ($found, $error) = ('', '');
	# Files of a running server may go meanwhile.
	IPC::Run::run([ 'grep', '-raohFs', '-f', $patterns, @paths ], '>', \$found, '2>', \$error);
	die $error if $error ne '';
	unlink($patterns);
	return join ', ', sort keys %{ { map { $title_of{$_} // "unknown $_" => 1 } split /\n/, $found } };
}
sub found_in_text
{
	my ($text) = @_;
	open(my $file, '>:raw', "$tmp/text") or die $!;
	print $file $text;
	close($file);
	my $found = found_in("$tmp/text");
	unlink("$tmp/text");
	return $found;
}
is(found_in_text('nothing'), '', 'the search finds nothing where there is nothing');
foreach my $spelling (
	$secret{planted}, unpack('H*', $secret{planted}), uc unpack('H*', $secret{planted}),
	join(' ', unpack('C*', $secret{planted})), $secret{planted} =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger,
	(map { encode_base64("$_$secret{planted}", '') } 'client:', 'client1:', 'client12:'), "\0$secret{planted}\0",
	"\\$secret{planted}", substr($secret{planted}, 0, 20), $secret{planted} =~ s/'/''/gr)
{
	is(found_in_text("before $spelling behind"), 'the secret: planted',
		'it finds ' . ($spelling =~ s/[^ -~]/./gr));
}
is(found_in_text(unpack('H*', $key{first})), 'the key: first', 'it finds a key');

# Set-up, before everything is logged
sub keys_are
{
	my (@keys) = @_;
	my $umask = umask(077);
	open(my $file, '>', $roster->key_file . '.new') or die $!;
	print $file unpack('H*', $_), "\n" foreach @keys;
	close($file);
	umask($umask);
	rename($roster->key_file . '.new', $roster->key_file) or die $!;
	return;
}
keys_are($key{first});
$roster->sql('CREATE EXTENSION pg_stat_statements');
$roster->set(secret_directory => $directory);
$roster->set(smtp_url => $smtp->url);
$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->set(smtp_user => $smtp->user);
$roster->set(smtp_from => 'roster@mesa.example');
$roster->connect_school('from_file', $file_server, client_secret => undef);
$roster->connect_school('sealed', $sealed_server, client_secret => undef);
$roster->connect_school('sql', $file_server, client_secret => undef);
$roster->sql("SELECT roster_notify('from_file', 'it\@mesa.example')");
$roster->sql(q{SELECT roster_configure(c.connection, sync_at => '00:00', window_end => '23:59') FROM connections c});
$node->append_conf('postgresql.conf', <<'CONF');
log_statement = all
log_min_duration_statement = 0
log_min_error_statement = debug5
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
log_min_messages = debug5
log_connections = on
log_lock_waits = on
log_replication_commands = on
log_temp_files = 0
debug_print_parse = on
debug_print_rewritten = on
debug_print_plan = on
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_settings = on
auto_explain.log_nested_statements = on
auto_explain.log_triggers = on
cron.log_statement = on
cron.log_run = on
CONF
$node->reload;
$roster->wait_for(q{SELECT current_setting('log_statement') = 'all'});

sub secret_file
{
	my ($name, $content) = @_;
	my $umask = umask(077);
	open(my $file, '>', "$directory/$name") or die $!;
	print $file $content;
	close($file);
	umask($umask);
	return $name;
}

# A secret as a client seals it, with the key that the server gives out.
sub sealed
{
	my ($line, $value) = @_;
	my ($pem, $in, $out, $error) = ("$tmp/roster.pem", "$line\n$value");
	open(my $file, '>', $pem) or die $!;
	print $file $roster->sql('SELECT roster_public_key()'), "\n";
	close($file);
	IPC::Run::run([ 'openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', $pem, '-pkeyopt', 'rsa_padding_mode:oaep',
		'-pkeyopt', 'rsa_oaep_md:sha256' ], '<', \$in, '>', \$out, '2>', \$error) or die $error;
	return encode_base64($out, '');
}

# Waits in sessions that log little.
my $quiet = '-c log_statement=none -c log_min_duration_statement=-1 -c debug_print_parse=off '
  . '-c debug_print_rewritten=off -c debug_print_plan=off -c auto_explain.log_min_duration=-1 '
  . '-c log_min_messages=warning';
sub wait_for
{
	my ($query) = @_;
	local $ENV{PGOPTIONS} = $quiet;
	$roster->wait_for($query);
	return;
}

# Makes a call while the table of secrets is locked, so that it can be watched, and returns what pg_stat_activity shows
# of it.
sub watched
{
	my ($statement) = @_;
	my $lock = $node->background_psql('postgres');
	$lock->query_safe('BEGIN; LOCK TABLE minga_roster.secrets');
	my ($out, $error) = ('', '');
	my $call = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', $statement, '-d',
		$node->connstr('postgres') . ' application_name=watched' ], '>', \$out, '2>', \$error);
	wait_for("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'watched'");
	my $shown = $roster->sql('SELECT a::text FROM pg_stat_activity a WHERE pid <> pg_backend_pid()');
	$lock->query_safe('COMMIT');
	$lock->quit;
	IPC::Run::finish($call) or die $error;
	return $shown;
}

# The planted one is where anyone would put it: in a table, in a statement, in a statement of which
# pg_stat_statements keeps the text.
my $planted = RosterCluster::quote($secret{planted});
$roster->sql("CREATE TABLE public.planted AS SELECT ${planted}::text AS value");
$roster->sql("DO \$\$ BEGIN PERFORM $planted; END \$\$");
is(found_in_text(watched("SELECT count(*), $planted FROM minga_roster.secrets")), 'the secret: planted',
	'pg_stat_activity: a statement with a secret shows it');

# Each way of setting one
my $port = $file_server->port;
my $sealed_port = $sealed_server->port;
my $sql = RosterCluster::quote($secret{sql});
my %call = (
	roster_set_secret => "SELECT minga_roster.roster_set_secret('sql', $sql)",
	roster_connect => "SELECT minga_roster.roster_connect('connect', client_secret => "
	  . RosterCluster::quote($secret{connect}) . ", url => 'https://sis.example/campus/api/oneroster/v1p1/x', "
	  . "client_id => 'c', school_id => 'x', people => 'public.people', "
	  . "time_zone => 'America/Denver')",
	roster_set_secret_from_file => "SELECT minga_roster.roster_set_secret_from_file('from_file', '"
	  . secret_file("from_file\@localhost:$port", $secret{file}) . "')",
	'roster_set_secret_from_file, for mail' => "SELECT minga_roster.roster_set_secret_from_file('smtp', '"
	  . secret_file('smtp', $secret{mail}) . "')",
	roster_set_sealed_secret => "SELECT minga_roster.roster_set_sealed_secret('sealed', '"
	  . sealed("sealed\@localhost:$sealed_port", $secret{sealed}) . "')");
foreach my $name (sort keys %call)
{
	is(found_in_text(watched($call{$name})), '', "$name: pg_stat_activity shows no secret");
}
is($roster->sql('SELECT count(*) FROM secrets'), '5', 'five are set');
is(join(' ', glob("$directory/*")), '', 'the files are gone');
# In the session that the guide describes.
my ($settings) = slurp_file(getcwd() . '/docs/operations.md') =~ /^(SET log_statement = 'none';.*?)^```/ms;
$roster->sql($settings . 'SELECT roster_set_secret(' . "'sql', " . RosterCluster::quote($secret{quiet}) . ')');
keys_are($key{second}, $key{first});
is(found_in_text(watched('SELECT minga_roster.roster_rotate_key()')), '',
	'roster_rotate_key: pg_stat_activity shows no key');
keys_are($key{second});

# Each use
is($roster->sql("SELECT bool_and(ok) FROM roster_test_connection('from_file')"), 't', 'the secret from a file works');
is($roster->sql("SELECT state FROM roster_fetch('sealed')"), 'succeeded', 'the sealed secret works');
is($roster->sql("SELECT ok FROM roster_send_test_mail('from_file')"), 't', 'the mail password from a file works');
is(scalar(my @mails = $smtp->mails), 1, '... a mail was sent with it');
$roster->sql("SELECT roster_enable('from_file')");
wait_for("SELECT count(*) = 1 FROM runs WHERE kind = 'sync' AND trigger = 'evening' AND state = 'succeeded'");
wait_for('SELECT count(*) > 0 FROM cron.job_run_details');
$roster->sql("SELECT roster_disable('from_file'); UPDATE cron.job SET active = false");
foreach my $server ($file_server, $sealed_server)
{
	my @tokens = @{ $server->state->{tokens} };
	cmp_ok(scalar @tokens, '>', 0, 'the SIS gave tokens');
	search_for('an access token', $_) foreach @tokens;
}

# Tables and views, each one
my @relations = split /\n/, $roster->sql(q{SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
	JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname <> 'pg_toast' ORDER BY 1});
{
	local $ENV{PGOPTIONS} = "$quiet -c search_path=pg_catalog -c bytea_output=escape";
	my ($rc, $out, $error) = $node->psql('postgres',
		join('', map { "COPY (SELECT * FROM $_) TO STDOUT;\n" } @relations), on_error_stop => 0);
	cmp_ok(scalar @relations, '>', 150, 'tables and views are there');
	unlike($error, qr/ERROR/, '... and can be read');
	is(found_in_text($out), 'the secret: planted', 'no table or view shows a secret');
	foreach my $view ('cron.job', 'cron.job_run_details', 'pg_catalog.pg_settings', 'minga_roster.roster_status',
		'minga_roster.secrets', 'public.pg_stat_statements')
	{
		ok((grep { $_ eq $view } @relations), "... among them $view");
	}
	is(found_in_text($roster->sql('SELECT s::text FROM public.pg_stat_statements s')), 'the secret: planted',
		'pg_stat_statements shows no secret');
	cmp_ok($roster->sql(q{SELECT count(*) FROM public.pg_stat_statements WHERE query LIKE '%roster\_set\_secret(%'}),
		'>', 0, '... and has the call');
}
# Memory and core files
my $session = $node->background_psql('postgres');
my $pid_of_session = $session->query_safe("SELECT pg_backend_pid() WHERE $planted <> ''");
my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;

# What of a process's memory this user can read, its own or what all processes share: which secrets; undef where it
# cannot.
sub found_in_memory
{
	my ($pid, $shared) = @_;
	my $path = "$tmp/memory";
	open(my $memory, '<:raw', "/proc/$pid/mem") or return undef;
	open(my $maps, '<', "/proc/$pid/maps") or return undef;
	open(my $copy, '>:raw', $path) or die $!;
	while (<$maps>)
	{
		my ($from, $to, $name) = m{^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+\s*(.*)$} or next;
		next if ($shared // 0) != ($name =~ m{^/dev/zero|^/SYSV|^/dev/shm});
		my $size = hex($to) - hex($from);
		my $bytes;
		sysseek($memory, hex($from), 0) or next;
		print $copy $bytes while $size > 0 && sysread($memory, $bytes, $size > 1e6 ? 1e6 : $size)
		  and ($size -= length $bytes, 1);
	}
	close($copy);
	my $found = found_in($path);
	unlink($path);
	return $found;
}

# The processes that hold secrets: [title, what to do before; returns the process ID, what to do after]
$file_server->faults({ hang => { path => 'students' } });
sub worker
{
	$roster->sql(q{SELECT roster_cancel(run) FROM runs WHERE state IN ('queued', 'running')});
	my $run = $roster->sql("SELECT roster_start('from_file', 'fetch')");
	wait_for("SELECT state = 'running' AND phase = 'fetch' FROM runs WHERE run = $run");
	return $roster->sql("SELECT pid FROM runs WHERE run = $run");
}
my %way = (
	'a worker' => sub { return worker(); },
	'a session that read a secret from a file' => sub {
		secret_file('smtp', $secret{mail});
		$session = $node->background_psql('postgres');
		return $session->query_safe("BEGIN; SELECT minga_roster.roster_set_secret_from_file('smtp', 'smtp'); "
			  . 'SELECT pg_backend_pid()') =~ /(\d+)/ ? $1 : die;
	},
	'a session that opened a sealed secret' => sub {
		my $sealed = sealed('smtp', $secret{mail});
		$session = $node->background_psql('postgres');
		return $session->query_safe("SELECT minga_roster.roster_set_sealed_secret('smtp', '$sealed'); "
			  . 'SELECT pg_backend_pid()') =~ /(\d+)/ ? $1 : die;
	},
	'a session that changed the key' => sub {
		$session = $node->background_psql('postgres');
		return $session->query_safe('SELECT minga_roster.roster_rotate_key(), pg_backend_pid()') =~ /(\d+)$/ ? $1 : die;
	},
	'a session that set a secret' => sub {
		$session = $node->background_psql('postgres');
		return $session->query_safe("SELECT minga_roster.roster_set_secret('sql', $sql); SELECT pg_backend_pid()")
		  =~ /(\d+)/ ? $1 : die;
	});

SKIP:
{
	skip 'no /proc', 2 if !-e "/proc/$pid_of_session/mem";
	my $found = found_in_memory($pid_of_session);
	skip 'processes of one user may not read one another here', 2 if !defined $found;
	is($found, 'the secret: planted', "a session's memory can be read");
	is(found_in_memory($pid_of_session, 1), 'the secret: planted', '... the memory that all share has no other secret');
}
my $gcore = (grep { -x "$_/gcore" } split /:/, $ENV{PATH})[0];
# Core files of all that this server starts from now on, as pg_ctl --core-files.
my $cores = (slurp_file('/proc/sys/kernel/core_pattern') // '') =~ m{^core}
  && IPC::Run::run([ 'prlimit', '--pid', $postmaster, '--core=unlimited' ], '>&', \my $said);
sub core_files { return glob($node->data_dir . '/core*'); }

# Waits until the server, of which a process has died, has started again: until it notices, it still answers.
my $restarted = 0;
sub is_up
{
	$restarted = $node->wait_for_log(qr/all server processes terminated; reinitializing/, $restarted);
	wait_for('SELECT true');
	return;
}
SKIP:
{
	skip 'no gcore', 1 if !defined $gcore;
	IPC::Run::run([ "$gcore/gcore", '-o', "$tmp/gcore", $pid_of_session ], '>&', \my $out);
	my @files = glob("$tmp/gcore*");
	is(@files ? found_in(@files) : 'no file', 'the secret: planted', 'gcore finds a secret in a session') or diag($out);
	unlink(@files);
}
$session->quit;
SKIP:
{
	skip 'core files do not go to the data directory here', 1 if !$cores;
	$session = $node->background_psql('postgres');
	kill('ABRT', $session->query_safe("SELECT pg_backend_pid() WHERE $planted <> ''"));
	$session->quit;
	is_up();
	my @cores = core_files();
	is(scalar @cores, 1, 'a session that is aborted leaves a core file')
	  and is(found_in(@cores), 'the secret: planted', '... with its secret');
	unlink(@cores);
}

foreach my $process (sort keys %way)
{
	my $pid = $way{$process}->();
	is(found_in_memory($pid), undef, "$process: its memory cannot be read");
	foreach my $file (qw(environ fd/0))
	{
		ok(!open(my $handle, '<', "/proc/$pid/$file"), "... nor /proc/PID/$file");
	}
	SKIP:
	{
		skip 'no gcore', 1 if !defined $gcore;
		IPC::Run::run([ "$gcore/gcore", '-o', "$tmp/gcore", $pid ], '>&', \my $out);
		is(join(' ', glob("$tmp/gcore*")), '', '... gcore leaves nothing') or diag($out);
	}
	$session->quit if $process ne 'a worker';
	foreach my $signal (qw(ABRT SEGV QUIT))
	{
		$pid = $way{$process}->();
		kill($signal, $pid) or die "no process $pid";
		$session->quit if $process ne 'a worker';
		is_up();
		is(join(' ', core_files()), '', "... $signal leaves no core file");
	}
}
my $log = $node->logfile;
like(slurp_file($log), qr/was terminated by signal 6.*was terminated by signal 11/s, 'the signals have met processes');
$file_server->clear_faults;

# Dumps
local $ENV{PGOPTIONS} = $quiet;
foreach my $dump ([ 'pg_dump', '-d', $node->connstr('postgres') ],
	[ 'pg_dump', '--inserts', '-d', $node->connstr('postgres') ],
	[ 'pg_dump', '-Ft', '-d', $node->connstr('postgres') ], [ 'pg_dumpall', '-d', $node->connstr('postgres') ])
{
	my $file = "$tmp/dump";
	command_ok([ @$dump, '-f', $file ], "@$dump[0, 1]");
	is(found_in($file), 'the secret: planted', '... holds no secret');
	unlike(slurp_file($file), qr/PRIVATE KEY/, '... and no private key');
	unlink($file);
}
delete $ENV{PGOPTIONS};

# The files of the cluster, while it runs and after it, and the log
$roster->sql('CHECKPOINT');
is(found_in($node->data_dir), 'the secret: planted', 'no file of the cluster holds a secret');
$node->stop;
is(found_in($node->data_dir), 'the secret: planted', '... nor when the server has stopped');
is(found_in($log), 'the secret: connect, the secret: planted, the secret: sql',
	'the log has the secrets that went through SQL text, in sessions that log it, and no others');
unlike(slurp_file($log), qr/PRIVATE KEY/, '... and no private key');
like(slurp_file($log), qr/$_/, "the log has everything: $_")
  foreach 'statement: SELECT minga_roster.roster_set_secret_from_file', 'LOG:  00000: plan:',
  'LOG:  00000: parse tree:', 'constvalue', 'Query Text:', 'duration: ';

$_->stop foreach $file_server, $sealed_server, $smtp;
done_testing();
