# Client secrets and tokens go to the servers that they were given for, and show nowhere: a role that may change an
# address sends the connection to its own server, in each way that it can be spelled; rows of secrets and tokens are
# moved; a run is under way meanwhile; calls that are handed a secret fail.
# Planted: what someone with write access to the tables would change.

use strict;
use warnings;

use IPC::Run ();
use OneRosterServer;
use PostgreSQL::Test::Utils;
use RosterCluster;
use Test::More;

my $server = OneRosterServer->new(people => 20, seed => 3);
my $evil = OneRosterServer->new(people => 20, seed => 3, certs => $server->certs);
my $roster = RosterCluster->new('attack_secrets',
	conf => "log_statement = none\nlog_min_duration_statement = -1\nlog_min_error_statement = error\n"
	  . "log_min_messages = debug1\nlog_error_verbosity = verbose\n");
my $node = $roster->node;

sub said
{
	my ($role, $sql) = @_;
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql",
		extra_params => [ '-U', $role ], on_error_stop => 0);
	return join "\n", grep { $_ ne '' } $stdout, $stderr;
}

# What of use the other server was sent: credentials, signatures, tokens, or a request where they would go.
sub sent_to_evil { return join ' ',
	map { "$_->{method} $_->{path} " . ($_->{authorization} // '-') } grep { $_->{authorization}
	  || $_->{method} ne 'GET' || grep { /secret|oauth|token/ } %{ $_->{query} } } $evil->log; }
sub secret_there { my ($connection) = @_;
return $roster->sql("SELECT count(*) FROM secrets WHERE connection = '" . ($connection // 'mesa') . "'"); }
sub tokens_there { return $roster->sql("SELECT count(*) FROM tokens WHERE connection = 'mesa'"); }
sub quoted { return RosterCluster::quote($_[0]); }
sub set_secret { $roster->sql("SELECT roster_set_secret('mesa', " . quoted($server->client_secret) . ')'); return; }
sub outcome { $node->psql('postgres', "SELECT roster_fetch('mesa')", on_error_die => 0);
return $roster->sql("SELECT state || coalesce(' ' || sqlstate, '') FROM runs ORDER BY run DESC LIMIT 1"); }

# Puts the connection as it was, by an honest hand; whether its secret is there is as it is.
my ($base_url, $token_url);
sub put_back
{
	$roster->sql("SELECT roster_configure('mesa', auth => 'oauth2', url => " . quoted($server->url)
		  . ", token_url => '')");
	return;
}

$roster->connect_school('mesa', $server);
($base_url, $token_url) = split /\|/,
	$roster->sql("SELECT base_url, token_url FROM connections WHERE connection = 'mesa'");
$roster->sql(<<'SQL');
CREATE ROLE attacker LOGIN; CREATE ROLE owner_too LOGIN IN ROLE people_owner;
SELECT roster_grant('attacker', 'owner', site => 'mesa'), roster_grant('owner_too', 'owner', site => 'mesa');
SQL
is(outcome(), 'succeeded', 'a fetch before');
is(tokens_there(), '1', '... which keeps its token');

# An address of one's own, a test, and back
my $configure = "SELECT connection FROM minga_roster.roster_configure('mesa', %s)";
my $test = "SELECT * FROM minga_roster.roster_test_connection('mesa')";
my $own_port = $evil->port;
my $port = $server->port;
my @attacks = (
	[ 'attacker', 'token_url', 'token_url => ' . quoted($evil->token_url) ],
	[ 'attacker', 'token_url of another kind', 'token_url => ' . quoted($evil->plain_token_url) ],
	[ 'attacker', 'another name of the host',
	"token_url => 'https://127.0.0.1:$port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'the address of IPv6', "token_url => 'https://[::1]:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'a dot after the host',
	"token_url => 'https://localhost.:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'another port', "token_url => 'https://LOCALHOST:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'the port with a 0',
	"token_url => 'https://localhost:0$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'no TLS', "token_url => 'http://localhost:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'the right host as a user',
	"token_url => 'https://localhost:$port\@localhost:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'a backslash',
	"token_url => 'https://localhost:$own_port\\\@localhost:$port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'the right host as a fragment',
	"token_url => 'https://localhost:$own_port#\@localhost:$port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'a blank', "token_url => ' https://localhost:$own_port/campus/oauth2/token?appName=minga '" ],
	[ 'attacker', 'letters for digits',
	"token_url => 'https://\x{ff4c}ocalhost:$own_port/campus/oauth2/token?appName=minga'" ],
	[ 'attacker', 'url', 'url => ' . quoted($evil->url) ],
	[ 'owner_too', 'url', 'url => ' . quoted($evil->url) ],
	[ 'owner_too', 'url as the token URL', 'url => ' . quoted($evil->token_url) ],
	[ 'owner_too', 'both', 'url => ' . quoted($evil->url) . ', token_url => ' . quoted($evil->token_url) ],
	[ 'owner_too', 'url, while the token comes from the right one', 'url => ' . quoted($evil->url) . ', token_url => '
	  . quoted($token_url) ],
	[ 'owner_too', 'another port of url', 'url => ' . quoted($server->url =~ s/:\d+/:$own_port/r) ],
	(map { ([ 'owner_too', "url with auth $_", "auth => '$_', url => " . quoted($evil->url) ],
	[ 'attacker', "token_url with auth $_", "auth => '$_', token_url => " . quoted($evil->token_url) ]) }
		qw(oauth1_sha256 oauth1_sha1 bearer)));
my $attempts = 0;
foreach my $attack (@attacks)
{
	my ($role, $name, $arguments) = @$attack;
	put_back();
	set_secret();
	is(outcome(), 'succeeded', "$role, $name: before") or next;
	my $audited = $roster->sql('SELECT coalesce(max(entry), 0) FROM audit');
	my $origins = $roster->sql("SELECT secret_origins(base_url, token_url) FROM connections WHERE connection = 'mesa'");
	my $said = said($role, sprintf($configure, $arguments));
	my $changed = $roster->sql("SELECT secret_origins(base_url, token_url) FROM connections "
		  . "WHERE connection = 'mesa'") ne $origins;

	if ($changed)
	{
		$attempts++;
		like($said,
			qr/WARNING: .*the client secret of connection "mesa" was forgotten.*DETAIL: .*HINT: .*roster_set_secret/s,
			'... the secret is forgotten');
		is(secret_there() + tokens_there(), 0, '... and so is the token');
		said($role, $test);
		is($roster->sql("SELECT role, function, connection FROM audit WHERE entry > $audited ORDER BY entry DESC "
			  . "LIMIT 1"), "$role|roster_configure|mesa", '... the change is on record');
		is($roster->sql("SELECT requested_by, kind FROM runs ORDER BY run DESC LIMIT 1"), "$role|test",
			'... and the test');
		said($role, sprintf($configure, "auth => 'oauth2', url => " . quoted($server->url) . ", token_url => ''"));
		is(secret_there(), '0', '... setting it back does not bring the secret back');
		is(outcome(), 'failed 28000', '... nor a fetch to work');
	}
	else
	{
		like($said, qr/ERROR:  (22023|42501|22004)/, '... refused');
		is(secret_there(), '1', '... and nothing is forgotten');
	}
	is(sent_to_evil(), '', '... and nothing was sent to the other server');
}
cmp_ok($attempts, '>', 6, 'some were done');
# In steps, the address that was given for last
put_back();
set_secret();
foreach my $step ('url => ' . quoted($evil->url) . ', token_url => ' . quoted($token_url), 'token_url => '
	  . quoted($evil->token_url), "auth => 'bearer'", "auth => 'oauth2', url => " . quoted($server->url)
	  . ", token_url => ''", "auth => 'bearer'")
{
	said('owner_too', sprintf($configure, $step));
	said('owner_too', $test);
}
is(sent_to_evil(), '', 'in steps: nothing was sent either');
is(secret_there(), '0', '... and nothing came back');
put_back();
set_secret();
is(outcome(), 'succeeded', 'once it is set again, it works');

# What stays within the servers that it was given for
foreach my $arguments ('token_url => ' . quoted($server->plain_token_url),
	"token_url => 'https://LOCALHOST:$port/campus/oauth2/token?appName=minga'", "token_url => ''",
	'url => ' . quoted($server->legacy_url), "sync_at => '20:00'",
	"client_id => " . quoted($server->client_id), "auth => 'bearer'", "auth => 'oauth2'")
{
	unlike(said('owner_too', sprintf($configure, $arguments)), qr/WARNING|ERROR/, "$arguments: no other server");
	is(secret_there(), '1', '... the secret is kept');
}
put_back();
is(outcome(), 'succeeded', '... and works');
# A token server of its own is one of the two.
my $tokens = OneRosterServer->new(people => 20, seed => 3, certs => $server->certs);
$roster->sql(sprintf $configure, 'token_url => ' . quoted($tokens->token_url));
set_secret();
like(said('attacker', sprintf($configure, "auth => 'bearer'")), qr/WARNING: .*was forgotten/,
	'a token server that is left out is another address');
is(secret_there(), '0', '... so that the secret is forgotten');
put_back();
set_secret();
is(outcome(), 'succeeded', 'a fetch');

# Rows that someone changes who may write the tables
my $elsewhere = qr/XX001: .*cannot be opened.*another server.*HINT: /s;
my $evil_base = $base_url =~ s/:\d+/:$own_port/r;
my $evil_token = $token_url =~ s/:\d+/:$own_port/r;
foreach my $change ("base_url = '$evil_base'", "token_url = '$evil_token'",
	"base_url = '$evil_base', token_url = '$evil_token'", "token_url = NULL, auth = 'bearer', base_url = '$evil_base'",
	"token_url = NULL, auth = 'oauth1_sha256', base_url = '$evil_base'")
{
	$roster->sql("UPDATE connections SET $change WHERE connection = 'mesa'; DELETE FROM tokens");
	like($roster->error("SELECT roster_fetch('mesa')"), $elsewhere, "$change: the secret does not open");
	$roster->sql("UPDATE connections SET auth = 'oauth2', base_url = '$base_url', token_url = '$token_url' "
		  . "WHERE connection = 'mesa'");
	is(outcome(), 'succeeded', '... and does for the right one');
	$roster->sql("UPDATE connections SET $change WHERE connection = 'mesa'");
	isnt(outcome(), 'succeeded', '... nor is the token that it got any use there');
	$roster->sql("UPDATE connections SET auth = 'oauth2', base_url = '$base_url', token_url = '$token_url' "
		  . "WHERE connection = 'mesa'; DELETE FROM tokens");
}
$roster->connect_school('twin', $evil, client_secret => undef);
$roster->connect_school('same', $server, client_secret => undef);
is(outcome(), 'succeeded', 'a fetch');
foreach my $other ('twin', 'same')
{
	$roster->sql("INSERT INTO secrets (connection, binding, sealed) SELECT '$other', binding, sealed FROM secrets "
		  . "WHERE connection = 'mesa'");
	like($roster->error("SELECT roster_fetch('$other')"), $elsewhere,
		"$other: the row of a secret does not open for another connection");
	$roster->sql("DELETE FROM secrets WHERE connection = '$other'; INSERT INTO tokens (connection, binding, sealed, "
		  . "expires_at, sent_as) SELECT '$other', binding, sealed, expires_at, sent_as FROM tokens "
		  . "WHERE connection = 'mesa'");
	like($roster->error("SELECT roster_fetch('$other')"), qr/ERROR:  (XX001|28000)/, '... nor that of a token');
	$roster->sql("DELETE FROM tokens WHERE connection = '$other'");
}
is(sent_to_evil(), '', 'and nothing was sent to the other server');

# A run that is under way with the other address while the right one and the secret are set
said('attacker', sprintf($configure, 'token_url => ' . quoted($evil->token_url)));
my ($out, $err) = ('', '');
IPC::Run::signal($evil->{process}, 'STOP');
my $testing = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=attacker', '-c', $test ],
	'<', \undef, '>', \$out, '2>', \$err);
$roster->wait_for("SELECT EXISTS (SELECT FROM runs r JOIN run_steps s USING (run) WHERE r.state = 'running' "
	  . "AND r.kind = 'test' AND s.step = 'url' AND s.ok)");
unlike(said('attacker', sprintf($configure, "token_url => ''")), qr/ERROR/,
	'the address is set back while a test is under way');
set_secret();
is($roster->sql("SELECT state FROM runs ORDER BY run DESC LIMIT 1"), 'running', '... the secret is set meanwhile');
IPC::Run::signal($evil->{process}, 'CONT');
IPC::Run::finish($testing);
$roster->wait_for("SELECT state <> 'running' FROM runs ORDER BY run DESC LIMIT 1");
is(sent_to_evil(), '', '... and the test does not send it to the former address');
is(outcome(), 'succeeded', '... while it works for the right one');

# A token that was asked for before the address changed is no use behind it, and not in the way
$roster->sql('DELETE FROM tokens');
$server->faults({ hang => { path => 'token' } });
my $run = $roster->sql("SELECT roster_start('mesa', 'fetch')");
my $hangs = 0;
foreach (1 .. 600)
{
	$hangs = grep { $_->{path} =~ /token/ && !defined $_->{code} } $server->log;
	last if $hangs;
	select undef, undef, undef, 0.2;
}
ok($hangs, 'a run waits for its token');
$roster->sql(sprintf $configure, 'token_url => ' . quoted($server->token_url =~ s/localhost/127.0.0.1/r));
set_secret();
$server->clear_faults;
$roster->wait_for("SELECT state NOT IN ('queued', 'running') FROM runs WHERE run = $run");
is(tokens_there(), '1', '... which it keeps');
is(outcome(), 'succeeded', '... and the next run asks for another at the new address');
put_back();
set_secret();

# A check of the check: what an honest hand gives the other server, it gets.
$roster->sql(sprintf $configure, 'token_url => ' . quoted($evil->token_url));
set_secret();
outcome();
like(sent_to_evil(), qr/POST .*token/, 'a secret that is given for it, the other server gets');
put_back();
set_secret();

# Calls that fail with a secret in them
$roster->sql("CREATE SCHEMA closed; CREATE TABLE closed.people (LIKE public.people INCLUDING ALL); CREATE ROLE caller "
	  . "LOGIN; SELECT roster_grant('caller', 'owner', site => s) FROM unnest('{mesa,new,smtp}'::text[]) s");
my $hush = 'hush-hush-' . 4711;
my $connect = "url => 'https://sis.example/campus/api/oneroster/v1p1/minga', client_id => 'c', school_id => '1', "
	  . "time_zone => 'UTC'";
my @failing = (
	(map { "SELECT minga_roster.roster_connect('new', client_secret => '$hush', people => " . quoted($_)
		  . ", $connect)" }
		'nowhere.people', 'nothing', 'closed.people', 'a.b.c.d.e', '', '"', 'public."people', 'public.people', '.',
			'pg_catalog.pg_authid', 'minga_roster.secrets', '1', '999999999999999999999'),
	"SELECT minga_roster.roster_connect('smtp', client_secret => '$hush', people => 'public.people', $connect)",
	"SELECT minga_roster.roster_connect(NULL, client_secret => '$hush')",
	"SELECT minga_roster.roster_connect('new', client_secret => E'$hush\\n', people => 'public.people', $connect)",
	"SELECT minga_roster.roster_set_secret('nobody', '$hush')", "SELECT minga_roster.roster_set_secret(NULL, '$hush')",
	"SELECT minga_roster.roster_set_secret('mesa', ' $hush')",
	"SELECT minga_roster.roster_set_secret('mesa', '$hush'), 1 / (length(now()::text) * 0)",
	"PREPARE p AS SELECT minga_roster.roster_set_secret(\$1, \$2); EXECUTE p('nobody', '$hush')",
	"SELECT s.* FROM (VALUES ('nobody', '$hush')) v (c, s), LATERAL minga_roster.roster_set_secret(v.c, v.s) s",
	"BEGIN; SELECT minga_roster.roster_set_secret('nobody', '$hush'); COMMIT",
	"SET default_transaction_read_only = on; SELECT minga_roster.roster_set_secret('mesa', '$hush')",
	"DO \$\$ BEGIN PERFORM minga_roster.roster_set_secret('nobody', '$hush'); END \$\$",
	"DO \$\$ BEGIN PERFORM minga_roster.roster_connect('new', client_secret => '$hush', people => 'nowhere.people', "
	  . "$connect); END \$\$");
my $seen = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'caller' ]);
$seen->set_query_timer_restart;
my $pid = $seen->query('SELECT pg_backend_pid()');
foreach my $statement (@failing)
{
	my $position = length $roster->log_contents;
	$seen->query($statement);
	my $shown = $roster->sql("SELECT query FROM pg_stat_activity WHERE pid = $pid");
	my $log = substr $roster->log_contents, $position;

	like($log, qr/ERROR/, $statement =~ s/\Q$hush\E/…/r . ': fails');
	unlike($log, qr/\Q$hush\E/, '... without its secret in the log');
	unlike($shown, qr/\Q$hush\E/, '... nor in pg_stat_activity') if $statement !~ /^BEGIN|read_only/;
	$seen->query('ROLLBACK');
	$seen->query('RESET default_transaction_read_only');
}
$seen->quit;
is($roster->sql("SELECT count(*) FROM connections WHERE connection = 'new'"), '0', 'nothing of them is stored');
my $client_secret = $server->client_secret;
my @lines = grep { /\Q$hush\E|\Q$client_secret\E/ } split /\n/, $roster->log_contents;
is("@lines", '', 'no secret is in the log');
is($roster->sql("SELECT count(*) FROM audit a WHERE a::text LIKE '%hush%' OR position(" . quoted($client_secret)
	  . ' IN a::text) > 0'), '0', '... nor on record');
is(outcome(), 'succeeded', 'and a fetch works');

$roster->stop;
$_->stop foreach $server, $evil, $tokens;
done_testing();
