# Secrets: key files that are none, a statement with a secret in the server's log, and what is sealed opens with its key
# and in its row only.
# Planted: secrets that someone with write access has exchanged or damaged.

use strict;
use warnings;

use File::Copy;
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 20, seed => 3);
my $roster = RosterCluster->new('secret',
	conf => "log_statement = none\nlog_error_verbosity = verbose\nlog_min_messages = debug1\nlog_min_error_statement "
	  . "= error\n");
my $node = $roster->node;
my $keys = PostgreSQL::Test::Utils::tempdir();
my $good = '0a' x 32;
my $connect = q{url => 'https://sis.example/campus/api/oneroster/v1p1/minga', client_id => 'c', school_id => '1', }
	  . q{people => 'public.people', time_zone => 'America/Denver'};

# A file with this text and mode; returns its path.
sub key
{
	my ($name, $text, $mode) = @_;
	open(my $file, '>', "$keys/$name") or die "could not write $keys/$name: $!";
	print $file $text;
	close($file);
	chmod($mode, "$keys/$name") or die $!;
	return "$keys/$name";
}

$roster->connect_school('mesa', $server);
my $stored = $roster->sql(q{SELECT binding, sealed FROM secrets WHERE connection = 'mesa'});

# Key files
symlink("$keys/good", "$keys/link") or die $!;
symlink($node->data_dir . '/inside', "$keys/link_inside") or die $!;
mkdir("$keys/directory") or die $!;
copy($roster->key_file, $node->data_dir . '/inside') or die $!;
chmod(0600, $node->data_dir . '/inside') or die $!;
my @bad = (
	[ 'none set', '',
		RosterCluster::in_order(qr/F0000: .*no key file is set.*HINT: .*umask 077; openssl rand -hex 32/s,
			qr/ALTER SYSTEM SET minga_roster\.key_file.*pg_reload_conf/s) ],
	[ 'one that is missing', "$keys/missing", qr/58P01: .*could not open key file ".*missing": No such file.*HINT: /s ],
	[ 'one that group can read', key('group', $good, 0640),
	qr/F0000: .*open to group or others.*0640.*HINT: .*chmod 0600/s ],
	[ 'one that others can read', key('others', $good, 0604), qr/F0000: .*open to group or others.*0604.*HINT: /s ],
	[ 'one that others can write', key('writable', $good, 0602), qr/F0000: .*open to group or others.*0602.*HINT: /s ],
	[ 'one in the data directory', $node->data_dir . '/inside', qr/F0000: .*inside the data directory.*HINT: /s ],
	[ 'a relative path', 'inside', qr/F0000: .*inside the data directory.*HINT: /s ],
	[ 'a link into the data directory', "$keys/link_inside", qr/F0000: .*inside the data directory.*HINT: /s ],
	[ 'a directory', "$keys/directory", qr/F0000: .*not a regular file.*HINT: /s ],
	[ 'a device', '/dev/null', qr/F0000: .*not a regular file.*HINT: /s ],
	[ 'an empty one', key('empty', '', 0600), qr/F0000: .*holds no key.*64 hexadecimal digits.*HINT: /s ],
	[ '63 digits', key('short', substr($good, 1), 0600), qr/F0000: .*holds no key/s ],
	[ '65 digits', key('long', $good . '0', 0600), qr/F0000: .*holds no key/s ],
	[ 'letters that are no digits', key('letters', 'g' x 64, 0600), qr/F0000: .*holds no key/s ],
	[ 'two keys on one line', key('joined', "$good$good\n", 0600), qr/F0000: .*holds no key/s ],
	[ 'a second line that is no key', key('lines', "$good\nformer\n", 0600), qr/F0000: .*holds no key/s ],
	[ 'more than 16 lines', key('many', "$good\n" x 17, 0600), qr/F0000: .*holds no key.*at most 16/s ],
	[ 'a large one', key('large', '0' x 100000, 0600), qr/F0000: .*holds no key/s ]);
# Of root's, as the secrets of a container are: made by test/run.sh, which runs as root where it can.
my $of_root = $ENV{KEYS_OF_ROOT};
push @bad,
	[ "one of root's that group can write", "$of_root/0660", qr/open to group or others.*0660.*HINT: .*chmod 0640/s ],
	[ "one of root's that others can read", "$of_root/0644", qr/open to group or others.*0644.*HINT: .*chmod 0640/s ]
	if $of_root;
# The superuser of the operating system reads everything.
push @bad, [ 'one that the server cannot read', key('closed', $good, 0000),
	qr/42501: .*could not open key file ".*closed": Permission denied.*HINT: /s ] if $> != 0;

foreach my $case (@bad)
{
	my ($title, $file, $expected) = @$case;
	$roster->set(key_file => $file);
	my $error = $roster->error("SELECT roster_set_secret('mesa', 'hush-hush')");
	like($error, $expected, "key file: $title");
	unlike($error, qr/0a0a0a|hush-hush/, '... and neither key nor secret in the error');
}
is($roster->sql(q{SELECT binding, sealed FROM secrets WHERE connection = 'mesa'}), $stored,
	'what was stored is as it was');
$roster->set(key_file => '');
like($roster->error("SELECT roster_connect('half', client_secret => 'hush-hush', $connect)"), qr/F0000: .*no key file/,
	'no connection with a secret and no key');
is($roster->sql(q{SELECT count(*) FROM connections WHERE connection = 'half'}), '0', '... and nothing of it is stored');
$roster->sql("SELECT roster_connect('without', $connect)");
is($roster->sql(q{SELECT count(*) FROM connections WHERE connection = 'without'}), '1',
	'a connection without a secret needs no key');

# A key is read again each time; good ones: 64 digits, an end of line, upper case, through a link.
key('good', "\U$good\n", 0400);
$roster->set(key_file => "$keys/link");
$roster->sql("SELECT roster_set_secret('without', 'hush-hush')");
like($roster->sql(q{SELECT length(sealed) FROM secrets WHERE connection = 'without'}), qr/^46$/, 'a good key seals');
SKIP:
{
	skip 'needs a key file of root', 1 if !$of_root;
	$roster->set(key_file => "$of_root/0640");
	is($roster->sql(q{SELECT count(*) FROM roster_set_secret('without', 'hush-hush')}), '1',
		"one of root's that the group may read seals");
	$roster->set(key_file => "$keys/link");
	$roster->sql("SELECT roster_set_secret('without', 'hush-hush')");
}

# Opened with its key and in its row only
like($roster->error("SELECT roster_fetch('mesa')"),
	qr/F0000: .*sealed with another key.*DETAIL: .*HINT: .*roster_set_secret/s, 'sealed with another key');
$roster->set(key_file => $roster->key_file);
is($roster->sql("SELECT state FROM roster_fetch('mesa')"), 'succeeded', 'the former key opens it again');
$roster->connect_school('twin', $server);
$roster->sql(q{UPDATE secrets s SET sealed = o.sealed FROM secrets o WHERE s.connection = 'twin' }
	  . q{AND o.connection = 'mesa'});
like($roster->error("SELECT roster_fetch('twin')"), qr/XX001: .*cannot be opened.*HINT: .*roster_set_secret/s,
	'the sealed secret of another row does not open');
$roster->sql(q{UPDATE secrets SET sealed = set_byte(sealed, 25, get_byte(sealed, 25) # 1) }
	  . q{WHERE connection = 'mesa'; DELETE FROM tokens});
like($roster->error("SELECT roster_fetch('mesa')"), qr/XX001: .*cannot be opened/, 'an altered one does not');
$roster->sql(q{UPDATE secrets SET sealed = '\x01' WHERE connection = 'mesa'});
like($roster->error("SELECT roster_fetch('mesa')"), qr/XX001: .*cannot be read/, 'nor a truncated one');
$roster->sql(q{DELETE FROM secrets WHERE connection = 'mesa'});
like($roster->error("SELECT roster_fetch('mesa')"),
	qr/28000: .*connection "mesa" has no client secret.*HINT: .*roster_set_secret\('mesa'/s, 'no secret at all');

# Statements with a secret: not in pg_stat_activity, not in the log
is($roster->sql("SELECT query FROM roster_connect('seen', client_secret => 'hush-hush', $connect), pg_stat_activity "
	  . "WHERE pid = pg_backend_pid()"),
	"roster_connect('seen', ...)", 'pg_stat_activity shows the statement without the secret');
$roster->error("SELECT roster_connect('seen', client_secret => 'hush-hush', $connect)");
$roster->error("SELECT roster_connect('seen2', url => 'nonsense', client_secret => 'hush-hush', client_id => 'c', "
	  . "school_id => '1', people => 'public.people')");
$roster->error("SELECT roster_connect('seen2', client_secret => 'hush-hush', $connect, sis => 'blackboard')");
$roster->error("SELECT roster_connect('seen2', client_secret => ' hush-hush', $connect)");
$roster->error("SELECT roster_set_secret('nobody', 'hush-hush')");
$roster->error("SELECT roster_set_secret('smtp', 'hush-hush ')");
$roster->error("SELECT roster_set_secret('seen', 'hush-hush'), 1 / (0 * length(now()::text))");
my $log = $roster->log_contents;
like($log, qr/STATEMENT:  roster_connect\('seen2', \.\.\.\)/, 'the log names the failed statement');
like($log, qr/STATEMENT:  roster_set_secret\('nobody', \.\.\.\)/, '... of both functions');
my $client_secret = $server->client_secret;
my @lines = grep { /hush-hush|\Q$client_secret\E|\Q$good\E/i } split /\n/, $log;
is("@lines", '', 'no secret and no key in the log');
$roster->error('SELECT 1/0');
like($roster->log_contents, qr{STATEMENT:  .*SELECT 1/0}, 'a later statement is logged as it is');

$roster->stop;
done_testing();
