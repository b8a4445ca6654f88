# Secrets that no SQL text holds: from files that fit and files that do not, with commit, rollback and savepoints;
# sealed by the client with one line of openssl, for this connection and this server alone; and new keys.
# Planted: rows that someone with write access has altered.

use strict;
use warnings;

use Fcntl qw(:mode);
use MIME::Base64;
use OneRosterServer;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 20, seed => 3);
my $other = OneRosterServer->new(people => 20, seed => 3, certs => $server->certs);
my $roster = RosterCluster->new('secret_ways', conf => "max_prepared_transactions = 2\nlog_statement = all\n");
my $node = $roster->node;
my $directory = PostgreSQL::Test::Utils::tempdir() . '/secrets';
my $secret = $server->client_secret;
my $port = $server->port;
my $label = "mesa\@localhost:$port";

mkdir($directory, 0700) or die $!;

# A file of the directory with this content; returns its name.
sub secret_file
{
	my ($name, $content, $mode) = @_;
	open(my $file, '>', "$directory/$name") or die "could not write $directory/$name: $!";
	print $file $content // $secret;
	close($file);
	chmod($mode // 0600, "$directory/$name") or die $!;
	return $name;
}

sub is_there { return -e "$directory/$_[0]" ? 'there' : 'gone'; }
sub quote { return RosterCluster::quote($_[0]); }

# What psql says to a role, errors with their SQLSTATE.
sub said
{
	my ($role, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql",
		extra_params => [ '-U', $role ], on_error_stop => 0);
	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

# Whether the stored secret is the right one: whether a fetch gets a token with it.
sub works
{
	my ($connection) = @_;
	$roster->sql('DELETE FROM tokens');
	$node->psql('postgres', "SELECT roster_fetch('" . ($connection // 'mesa') . "')", on_error_die => 0);
	return $roster->sql("SELECT state || coalesce(' ' || sqlstate, '') FROM runs ORDER BY run DESC LIMIT 1");
}
sub forget { $roster->sql('DELETE FROM secrets; DELETE FROM tokens'); return; }
sub stored { return $roster->sql('SELECT md5(string_agg(s::text, $$,$$ ORDER BY connection)) FROM secrets s'); }

$roster->connect_school('mesa', $server, client_secret => undef);
my $from_file = 'SELECT roster_set_secret_from_file';

# The directory
like($roster->error("$from_file('mesa', 'x')"),
	qr/F0000: .*no secret directory is set.*HINT: .*install -d -m 0700.*secret_directory/s, 'no directory is set');
my $elsewhere = PostgreSQL::Test::Utils::tempdir();
mkdir("$elsewhere/open") or die $!;
chmod(0770, "$elsewhere/open") or die $!;
mkdir($node->data_dir . '/inside', 0700) or die $!;
symlink($node->data_dir . '/inside', "$elsewhere/link") or die $!;
foreach my $case (
	[ 'one that is missing', "$elsewhere/missing", qr/58P01: .*could not open the secret directory: No such file/ ],
	[ 'one that group can write to', "$elsewhere/open", qr/F0000: .*others can write to the secret directory.*0770/s ],
	[ 'one of root that all can write to', '/tmp', qr/F0000: .*others can write to the secret directory.*1777/s ],
	[ 'one in the data directory', $node->data_dir . '/inside', qr/F0000: .*inside the data directory/ ],
	[ 'the data directory', $node->data_dir, qr/F0000: .*inside the data directory/ ],
	[ 'a relative path', 'inside', qr/F0000: .*inside the data directory/ ],
	[ 'a link into the data directory', "$elsewhere/link", qr/F0000: .*inside the data directory/ ],
	[ 'a file', $roster->key_file, qr/F0000: .*is not a directory/ ])
{
	my ($title, $path, $expected) = @$case;
	$roster->set(secret_directory => $path);
	my $error = $roster->error("$from_file('mesa', 'x')");
	like($error, $expected, "secret directory: $title");
	unlike($error, qr/\Q$elsewhere\E/, '... and its path is not told');
}
$roster->set(secret_directory => $directory);

# Files
secret_file('target');
symlink('target', "$directory/symlink") or die $!;
symlink($roster->key_file, "$directory/key") or die $!;
secret_file('twice');
link("$directory/twice", "$directory/twin") or die $!;
mkfifo("$directory/pipe", 0600) or die $!;
mkdir("$directory/directory", 0700) or die $!;
foreach my $case (
	[ 'one that is missing', 'missing', qr/58P01: .*could not open secret file "missing": No such file/ ],
	[ 'a path', '../secrets/target', qr/22023: .*is not the name of a file/ ],
	[ 'an absolute path', "$directory/target", qr/22023: .*is not the name of a file/ ],
	[ 'a directory above', '..', qr/22023: .*is not the name of a file/ ],
	[ 'the directory', '.', qr/22023: .*is not the name of a file/ ],
	[ 'no name', '', qr/22023: .*is not the name of a file/ ],
	[ 'a long name', 'x' x 300, qr/22023: .*is not the name of a file/ ],
	[ 'a link', 'symlink', qr/F0000: .*is not a regular file/ ],
	[ 'a link to the key file', 'key', qr/F0000: .*is not a regular file/ ],
	[ 'a pipe', 'pipe', qr/F0000: .*is not a regular file/ ],
	[ 'a directory', 'directory', qr/F0000: .*is not a regular file/ ],
	[ 'one with two names', 'twin', qr/F0000: .*more than one name.*2 hard links/s ],
	[ 'one that group can read', secret_file('group', undef, 0640), qr/F0000: .*open to group or others.*0640/s ],
	[ 'one that others can read', secret_file('others', undef, 0604), qr/F0000: .*open to group or others.*0604/s ],
	[ 'an empty one', secret_file('empty', ''), qr/22023: .*the secret is empty/ ],
	[ 'an end of line alone', secret_file('line', "\n"), qr/22023: .*the secret is empty/ ],
	[ 'two ends of line', secret_file('lines', "$secret\n\n"), qr/22023: .*control characters/ ],
	[ 'an end of line of Windows', secret_file('windows', "$secret\r\n"), qr/22023: .*control characters/ ],
	[ 'a blank before it', secret_file('blank', " $secret"), qr/22023: .*whitespace around it/ ],
	[ 'a no-break space behind it', secret_file('nbsp', "$secret\xc2\xa0"), qr/22023: .*whitespace around it/ ],
	[ 'a byte order mark', secret_file('bom', "\xef\xbb\xbf$secret"), qr/22023: .*control characters/ ],
	[ 'a zero byte', secret_file('zero', "$secret\0$secret"), qr/22023: .*holds no secret.*zero byte/s ],
	[ 'bytes that are no UTF-8', secret_file('latin', "$secret\xe4"), qr/22023: .*holds no secret.*UTF-8/s ],
	[ 'UTF-8 that is cut off', secret_file('cut', "$secret\xe2\x82"), qr/22023: .*holds no secret.*UTF-8/s ],
	[ 'a large one', secret_file('large', 'x' x 16385), qr/22023: .*holds no secret.*more than 16384 bytes/s ])
{
	my ($title, $name, $expected) = @$case;
	my $error = $roster->error("$from_file('mesa', " . quote($name) . ')');
	like($error, $expected, "secret file: $title");
	like($error, qr/HINT: /, '... with a hint');
	unlike($error, qr/\Q$secret\E|\Q$directory\E\/(?!target)/, '... without its content and the directory');
}
is($roster->sql('SELECT count(*) FROM secrets'), '0', 'none of them was stored');
is(join(' ', map { is_there($_) } qw(target symlink twice twin pipe group empty lines zero large)),
	join(' ', ('there') x 10), '... nor removed');
is($roster->sql("SELECT length(sealed) FROM secrets") . is_there(secret_file('most', 'x' x 16384)), 'there',
	'a file of the largest size');
$roster->sql("$from_file('mesa', 'most')");
is($roster->sql("SELECT length(sealed) FROM secrets") . is_there('most'), 16384 + 37 . 'gone', '... is read');
SKIP:
{
	skip 'the superuser of the operating system owns every file', 1 if $> == 0;
	symlink('/etc/passwd', "$directory/passwd") or die $!;
	like($roster->error("$from_file('mesa', 'passwd')"), qr/F0000: .*not a regular file/,
		'no file of others by a link');
}

# Commit, rollback, savepoints
foreach my $case (
	[ 'a statement of its own', "$from_file('mesa', 'target')", 'gone', 'succeeded' ],
	[ 'a transaction', "BEGIN; $from_file('mesa', 'target'); COMMIT", 'gone', 'succeeded' ],
	[ 'a rollback', "BEGIN; $from_file('mesa', 'target'); ROLLBACK", 'there', 'failed 28000' ],
	[ 'an error behind it', "BEGIN; $from_file('mesa', 'target'); SELECT 1/0; COMMIT", 'there', 'failed 28000' ],
	[ 'an error in the same statement', "$from_file('mesa', 'target'), 1 / (0 * length(now()::text))", 'there',
	'failed 28000' ],
	[ 'a savepoint that is rolled back', "BEGIN; SAVEPOINT s; $from_file('mesa', 'target'); ROLLBACK TO s; COMMIT",
	'there', 'failed 28000' ],
	[ 'a savepoint that is released', "BEGIN; SAVEPOINT s; $from_file('mesa', 'target'); RELEASE s; COMMIT", 'gone',
	'succeeded' ],
	[ 'one released in one that is rolled back', "BEGIN; SAVEPOINT a; SAVEPOINT b; $from_file('mesa', 'target'); "
	  . 'RELEASE b; ROLLBACK TO a; COMMIT', 'there', 'failed 28000' ],
	[ 'before a savepoint that is rolled back', "BEGIN; $from_file('mesa', 'target'); SAVEPOINT s; SELECT 1; "
	  . 'ROLLBACK TO s; COMMIT', 'gone', 'succeeded' ],
	[ 'a block that catches its error', "DO \$\$ BEGIN BEGIN PERFORM roster_set_secret_from_file('mesa', 'target'); "
	  . 'RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; END $$', 'there', 'failed 28000' ],
	[ 'twice', "BEGIN; $from_file('mesa', 'target'); $from_file('mesa', 'target'); COMMIT", 'gone', 'succeeded' ],
	[ 'a transaction that is prepared', "BEGIN; $from_file('mesa', 'target'); PREPARE TRANSACTION 'p'", 'there',
	'failed 28000' ],
	[ 'a read-only transaction', "BEGIN READ ONLY; $from_file('mesa', 'target'); COMMIT", 'there', 'failed 28000' ])
{
	my ($title, $statements, $file, $state) = @$case;
	forget();
	secret_file('target', "$secret\n");
	$node->psql('postgres', $statements, on_error_stop => 0);
	is(is_there('target'), $file, "$title: the file is $file");
	is(works(), $state, "... a fetch $state");
}
forget();
secret_file('target');
$roster->sql("ALTER SYSTEM SET wal_writer_delay = '10s'; ALTER SYSTEM SET synchronous_commit = off");
$node->restart;
$node->psql('postgres', "$from_file('mesa', 'target')");
$node->stop('immediate');
is(is_there('target'), 'gone', 'commits are not waited for, and the server crashes: the file is gone');
$node->start;
is($roster->sql('SELECT count(*) FROM secrets'), '1', '... and the secret is there');
like($roster->error("BEGIN; $from_file('mesa', '" . secret_file('target') . "'); PREPARE TRANSACTION 'p'"),
	qr/0A000: .*read a secret file cannot be prepared/, 'a transaction that read one cannot be prepared');

# The file that was read goes, and no other of its name.
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; $from_file('mesa', 'target')");
unlink("$directory/target") or die $!;
secret_file('new', 'another');
rename("$directory/new", "$directory/target") or die $!;
$session->query_safe('COMMIT');
is(is_there('target'), 'there', 'a file that was put in its place stays');
$session->query_safe("BEGIN; $from_file('mesa', 'target')");
chmod(0500, $directory) or die $!;
$session->query('COMMIT');
$session->quit;
chmod(0700, $directory) or die $!;
like($roster->log_contents, qr/WARNING:  a secret file could not be removed: Permission denied/,
	'a file that cannot be removed is a WARNING') if $> != 0;
my @secret_lines = grep { /\Q$secret\E/ } split /\n/, $roster->log_contents;
is("@secret_lines", '', 'no secret is in the log, which has each statement');

# Roles that may call it name the file that says by its name for whom it is
$roster->connect_school('twin', $other, client_secret => undef);
$roster->sql('CREATE ROLE owner LOGIN');
$roster->sql("SELECT roster_grant('owner', 'owner', site => s.site) FROM (SELECT DISTINCT site FROM connections) s");
my $owner_file = 'SELECT minga_roster.roster_set_secret_from_file';
forget();
secret_file($label);
secret_file('target');
foreach my $case ([ 'mesa', 'target' ], [ 'mesa', 'missing' ], [ 'twin', $label ], [ 'mesa', "$label.old" ],
	[ 'mesa', 'mesa' ])
{
	my ($connection, $name) = @$case;
	like(said('owner', "$owner_file('$connection', " . quote($name) . ')'),
		qr/ERROR:  42501: .*is not for connection "$connection".*HINT: .*Name it "$connection\@localhost:\d+"/s,
		"a role: $name for $connection is refused");
}
like(said('owner', "SELECT connection FROM minga_roster.roster_configure('mesa', token_url => "
	  . quote($other->token_url) . "); $owner_file('mesa', " . quote($label) . ')'),
	qr/ERROR:  42501: .*Name it "mesa\@localhost:$port\+localhost:\d+"/s, '... nor for another server');
$roster->sql("SELECT roster_configure('mesa', token_url => '')");
is(is_there($label), 'there', '... and the file is where it was');
unlike(said('owner', "$owner_file('mesa', " . quote($label) . ')'), qr/ERROR/, 'its own file it may name');
is(is_there($label), 'gone', '... which is removed');
is(works(), 'succeeded', '... and works');
like($roster->error("$from_file('nowhere', 'target')"), qr/42704/, 'an unknown connection');
like($roster->error("$from_file(NULL, 'target')"), qr/22004/, 'no connection');
like($roster->error("$from_file('mesa', NULL)"), qr/22004: .*no name of a secret file/, 'no name');
$roster->sql("$from_file('smtp', 'target')");
is($roster->sql("SELECT count(*) FROM secrets WHERE connection = 'smtp'"), '1', 'the mail password from a file');
is($roster->sql("SELECT given FROM audit WHERE function = 'roster_set_secret_from_file' ORDER BY entry DESC LIMIT 1"),
	'{name}', 'it is on record');
$roster->sql('GRANT USAGE ON SCHEMA minga_roster_internal TO owner; GRANT EXECUTE ON FUNCTION seal_file, seal_sent TO '
	  . 'owner');
secret_file('target');
like(said('owner', "SELECT minga_roster_internal.seal_file(gen_random_uuid(), 'mesa', '', 'target')"),
	qr/ERROR:  42501: permission denied for table secrets/, 'an internal function, granted by mistake, reads no file');
is(is_there('target'), 'there', '... nor removes it');

# Sealed by the client, with the line of the documentation
my $pem = PostgreSQL::Test::Utils::tempdir() . '/roster.pem';
my $public_key = $roster->sql('SELECT roster_public_key()');
like($public_key, qr/^-----BEGIN PUBLIC KEY-----\n[A-Za-z0-9+\/=\n]+\n-----END PUBLIC KEY-----$/, 'a public key');
is($roster->sql('SELECT roster_public_key()'), $public_key, '... the same each time');
is(said('owner', 'SELECT minga_roster.roster_public_key()'), $public_key, '... for a role that may ask for it');
sub write_pem { open(my $file, '>', $pem) or die $!; print $file $_[0], "\n"; close($file); return; }
write_pem($public_key);

# What openssl makes of a text; each further argument is one of openssl's.
sub sealed
{
	my ($text, @options) = @_;
	my $in = PostgreSQL::Test::Utils::tempdir() . '/clear';
	open(my $file, '>', $in) or die $!;
	binmode($file);
	print $file $text;
	close($file);
	@options = ('-pkeyopt', 'rsa_padding_mode:oaep', '-pkeyopt', 'rsa_oaep_md:sha256') if !@options;
	my ($out, $error);
	IPC::Run::run([ 'openssl', 'pkeyutl', '-encrypt', '-pubin', '-inkey', $pem, '-in', $in, @options ], '>', \$out,
		'2>', \$error) or return "refused: $error";
	return encode_base64($out, '');
}
my $set_sealed = 'SELECT roster_set_sealed_secret';
forget();
my $sealed = sealed("$label\n$secret");
$roster->sql("$set_sealed('mesa', '$sealed')");
is(works(), 'succeeded', 'a secret that openssl sealed works');
unlike($roster->log_contents, qr/\Q$secret\E/, '... and is not in the log, though the statement is');
forget();
is(said('owner', "SELECT minga_roster.roster_set_sealed_secret('mesa', '" . ($sealed =~ s/(.{64})/$1\n/gr) . "')"), '',
	'with line ends, by a role that may');
is(works(), 'succeeded', '... works');
forget();
$roster->sql("$set_sealed('mesa', '" . sealed("$label\n$secret\n") . "')");
is(works(), 'succeeded', 'one end of line behind the secret is dropped');
$roster->sql("$set_sealed('smtp', '" . sealed("smtp\npassword") . "')");
is($roster->sql("SELECT length(sealed) FROM secrets WHERE connection = 'smtp'"), length('password') + 37,
	'the mail password, sealed');
my $longest = 'x' x (446 - 1 - length $label);
$roster->sql("$set_sealed('mesa', '" . sealed("$label\n$longest") . "')");
is($roster->sql("SELECT length(sealed) FROM secrets WHERE connection = 'mesa'"), length($longest) + 37,
	'446 bytes with the label can be sealed');
like(sealed("$label\n${longest}x"), qr/^refused: .*too large/si, '... and no more, which openssl says');

# What does not open: one error for all of it
forget();
my $before = stored();
my $bytes = decode_base64($sealed);
my $other_pem = PostgreSQL::Test::Utils::tempdir() . '/other.pem';
command_ok([ 'openssl', 'genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096', '-out',
	"$other_pem.key" ], 'another key');
command_ok([ 'openssl', 'pkey', '-in', "$other_pem.key", '-pubout', '-out', $other_pem ], '... pair');
my @closed = (
	[ 'for another connection', sealed("twin\@localhost:$port\n$secret") ],
	[ 'for another server', sealed("mesa\@sis.example\n$secret") ],
	[ 'for another port', sealed("mesa\@localhost\n$secret") ],
	[ 'without a label', sealed($secret) ],
	[ 'with a label alone', sealed($label) ],
	[ 'with the label and a blank', sealed("$label $secret") ],
	[ 'with more behind the label', sealed("$label.example\n$secret") ],
	[ 'that is no UTF-8', sealed("$label\n\xff") ],
	[ 'with a zero byte', sealed("$label\nx\0x") ],
	[ 'that is empty', '' ],
	[ 'that is no base64', 'x' x 683 . '!' ],
	[ 'cut off', substr($sealed, 0, 680) ],
	[ 'too long', $sealed . 'AAAA' ],
	[ 'in clear', $secret ],
	[ 'with zeros', encode_base64("\0" x 512, '') ],
	[ 'beyond the modulus', encode_base64("\xff" x 512, '') ],
	[ 'with another padding', sealed("$label\n$secret", '-pkeyopt', 'rsa_padding_mode:pkcs1') ],
	[ 'with another hash', sealed("$label\n$secret", '-pkeyopt', 'rsa_padding_mode:oaep', '-pkeyopt',
		'rsa_oaep_md:sha1') ]);
push @closed, [ "with byte $_ altered", encode_base64(substr($bytes, 0, $_) . chr(ord(substr($bytes, $_, 1)) ^ 1)
	  . substr($bytes, $_ + 1), '') ] foreach 0, 1, 100, 255, 511;
srand(20);
push @closed, [ 'at random', encode_base64(join('', map { chr int rand 256 } 1 .. 512), '') ] foreach 1 .. 20;
push @closed, [ 'of random characters', join('', map { chr(32 + int rand 95) } 1 .. int rand 800) ] foreach 1 .. 20;
{
	my $key = $pem;
	$pem = $other_pem;
	push @closed, [ 'with another key', sealed("$label\n$secret") ];
	$pem = $key;
}
my %errors;
foreach my $case (@closed)
{
	my ($title, $text) = @$case;
	my $error = said('owner', "SELECT minga_roster.roster_set_sealed_secret('mesa', " . quote($text) . ')');
	like($error, qr/ERROR:  22023: the sealed secret cannot be opened.*HINT: .*roster_public_key\(\)/s,
		"sealed $title: refused");
	$errors{ $error =~ s/LOCATION.*//sr } = 1;
	unlike($error, qr/\Q$secret\E/, '... without the secret');
}
is(scalar keys %errors, 1, 'the same error for all of them');
is(stored(), $before, 'nothing was stored');
like($roster->error("$set_sealed('mesa', NULL)"), qr/22023: .*cannot be opened/, 'NULL');
like($roster->error("$set_sealed('nowhere', '$sealed')"), qr/42704/, 'an unknown connection');

# Someone who comes by the sealed text and may change the address has no use of it.
like(said('owner', "SELECT connection FROM minga_roster.roster_configure('mesa', token_url => "
	  . quote($other->token_url) . "); SELECT minga_roster.roster_set_sealed_secret('mesa', '$sealed')"),
	qr/ERROR:  22023: .*cannot be opened/, 'a sealed secret is not stored for another server');
$roster->sql("SELECT roster_configure('mesa', token_url => '')");
like(said('owner', "SELECT minga_roster.roster_set_sealed_secret('twin', '$sealed')"),
	qr/ERROR:  22023: .*cannot be opened/, '... nor for another connection');
is(scalar(grep { $_->{path} =~ /token/ } $other->log), 0, '... and nothing was sent there');

# Rows of the key pair that someone has altered
$roster->sql("UPDATE key_pairs SET public_key = " . quote(slurp_file($other_pem)));
like($roster->error("$set_sealed('mesa', '$sealed')"), qr/22023: .*cannot be opened/, 'a key pair that was altered');
my $made = $roster->sql('SELECT roster_public_key()');
ok($made ne $public_key && $made ne slurp_file($other_pem), '... is not handed out, but made again');
like($roster->error("$set_sealed('mesa', '$sealed')"), qr/22023: .*cannot be opened/,
	'... and what was sealed for the former one does not open');
write_pem($made);
$roster->sql("$set_sealed('mesa', '" . sealed("$label\n$secret") . "')");
is(works(), 'succeeded', '... and what is sealed for the new one works');
$roster->sql('DELETE FROM key_pairs');
like($roster->error("$set_sealed('mesa', '$sealed')"), qr/22023: .*cannot be opened/, 'without a key pair');
my @sessions = map { $node->background_psql('postgres') } 1 .. 3;
my @keys = map { $_->query_safe('SELECT minga_roster.roster_public_key()') } @sessions;
$_->quit foreach @sessions;
is(scalar(keys %{ { map { $_ => 1 } @keys } }), 1, 'several sessions get one key');
write_pem($keys[0]);
$sealed = sealed("$label\n$secret");

# New keys
my @lines = map { sprintf('%02x', $_) x 32 } 1 .. 3;
my $first = slurp_file($roster->key_file) =~ s/\s//gr;
sub keys_are
{
	my (@keys) = @_;
	open(my $file, '>', $roster->key_file . '.new') or die $!;
	print $file "$_\n" foreach @keys;
	close($file);
	chmod(0600, $roster->key_file . '.new') or die $!;
	rename($roster->key_file . '.new', $roster->key_file) or die $!;
	return;
}
my $rotate = 'SELECT roster_rotate_key()';
$roster->sql("SELECT roster_set_secret('twin', 'hush-hush')");
is($roster->sql($rotate), '0', 'with one key there is nothing to seal again');
keys_are($lines[0]);
$before = $roster->sql('SELECT md5(string_agg(s::text, $$,$$ ORDER BY connection)) FROM secrets s');
like($roster->error($rotate),
	qr/F0000: .*2 secrets cannot be opened with the keys.*those of "mesa", "twin"\. Nothing was changed.*HINT: /s,
	'the former key is missing');
is(stored(), $before, '... and nothing was changed');
like($roster->error("SELECT roster_fetch('mesa')"),
	qr/F0000: .*sealed with another key.*HINT: .*on a line below the present one/s,
	'... and a run says how to mend it');
keys_are($lines[0], $first);
is(works(), 'succeeded', 'the new key above the former one: what is sealed opens');
is($roster->sql('SELECT count(*) FROM tokens'), '1', '... a token is kept');
keys_are($lines[1], $lines[0], $first);
is($roster->sql($rotate), '4', 'two secrets, a token and the key pair are sealed again');
is($roster->sql($rotate), '0', '... once');
isnt(stored(), $before, '... the rows are others');
keys_are($lines[1]);
is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'without the former keys: the token opens');
is(works(), 'succeeded', '... the secret opens');
is($roster->sql('SELECT roster_public_key()'), $keys[0], '... and so does the key pair');
forget();
$roster->sql("$set_sealed('mesa', '$sealed')");
is(works(), 'succeeded', '... with what was sealed for it before');

# A call that is rolled back, and one that dies
keys_are($lines[2], $lines[1]);
$before = stored();
$roster->sql("BEGIN; $rotate; ROLLBACK");
is(stored(), $before, 'a rollback leaves what was sealed with the former key');
is($roster->sql($rotate), '3', '... and the next call seals it again');
$session = $node->background_psql('postgres');
keys_are($lines[0], $lines[2], $lines[1]);
$session->query_safe("BEGIN; $rotate");
$node->stop('immediate');
$node->start;
$session->quit;
is(works(), 'succeeded', 'after a crash in the middle everything opens');
is($roster->sql($rotate), '2', '... and is sealed again by the next call');

keys_are($lines[1], $lines[0]);
$node->psql('postgres', $rotate);
$node->stop('immediate');
$node->start;
keys_are($lines[1]);
is(works(), 'succeeded', 'commits are not waited for, and the server crashes: no former key is needed');
keys_are($lines[0], $lines[1]);
$roster->sql($rotate);
$roster->sql('ALTER SYSTEM RESET wal_writer_delay; ALTER SYSTEM RESET synchronous_commit');
$node->restart;

# A secret that is being set with the former key while it works
$session = $node->background_psql('postgres');
my $rotating = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT minga_roster.roster_set_secret('twin', 'set-meanwhile')");
keys_are($lines[1], $lines[0]);
$rotating->query_until(qr/started/, "\\echo started\nSELECT minga_roster.roster_rotate_key();\n");
$roster->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
	  . "AND query LIKE '%roster_rotate_key%'");
$session->query_safe('COMMIT');
$session->quit;
$rotating->quit;
keys_are($lines[1]);
is($roster->sql($rotate), '0', 'a secret that was being set meanwhile is sealed again too');
$session = $node->background_psql('postgres');
keys_are($lines[2], $lines[1]);
$session->query_safe("BEGIN; $rotate");
my $setting = $node->background_psql('postgres');
$setting->query_until(qr/started/,
	"\\echo started\nSELECT minga_roster.roster_set_secret('twin', 'set-meanwhile');\n");
$roster->wait_for("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
	  . "AND query LIKE 'roster_set_secret%'");
$session->query_safe('COMMIT');
$session->quit;
$setting->quit;
keys_are($lines[2]);
is($roster->sql($rotate), '0', 'one that is set behind it is sealed with the new key');
like($roster->error("BEGIN ISOLATION LEVEL REPEATABLE READ; $rotate"), qr/25001: .*repeatable read or serializable/,
	'not with a snapshot from before');

# What does not open
$roster->sql("UPDATE secrets SET sealed = set_byte(sealed, 25, get_byte(sealed, 25) # 1) WHERE connection = 'twin'");
keys_are($lines[0], $lines[2]);
like($roster->error($rotate), qr/F0000: .*1 secrets? cannot be opened.*"twin"/s, 'a secret that was altered is named');
$roster->sql("SELECT roster_set_secret('twin', 'hush-hush'); UPDATE tokens SET sealed = '\\x02'; "
	  . "UPDATE key_pairs SET sealed = '\\x02'");
is($roster->sql($rotate), '1', 'a token and a key pair that do not open are no obstacle');
is($roster->sql('SELECT (SELECT count(*) FROM tokens) + (SELECT count(*) FROM key_pairs)'), '0', '... and are removed');
is(works(), 'succeeded', '... and a fetch works');
like(said('owner', 'SELECT minga_roster.roster_rotate_key()'), qr/ERROR:  42501/, 'a role without EXECUTE');
is($roster->sql("SELECT count(*) > 5 FROM audit WHERE function = 'roster_rotate_key' AND given = '{}'"), 't',
	'it is on record');

my @told = grep { /\Q$secret\E|\Q$first\E|@{[ join '|', @lines ]}|set-meanwhile'?$/i }
  grep { !/ LOG:  statement: .*roster_set_(?:sealed_)?secret\(/ } split /\n/, $roster->log_contents;
is("@told", '', 'no secret and no key is in the log');
unlike($roster->log_contents, qr/was terminated by signal|PANIC|TRAP/, 'no process has crashed');

$roster->stop;
$_->stop foreach $server, $other;
done_testing();
