# Certificates that no one may trust: expired, of its own making, for another host, of an unknown authority; and what is
# no TLS at all. Nothing is sent to such a server.

use strict;
use warnings;

use HostileNight;
use OneRosterServer;
use RosterCluster;
use Test::More;

my $night = HostileNight->new('tls', guard_percent => 100);
my ($roster, $server) = ($night->roster, $night->server);
my %refused = (sqlstate => '08004', error => qr/^no trusted TLS connection to "localhost" could be made$/,
	hint => qr/certificate of the SIS.*SIS administrator.*DBA to set minga_roster\.ca_file/);

foreach my $case ([ 'expired', qr/expired/ ], [ 'self_signed', qr/self.signed/ ], [ 'other_host', qr/localhost/ ])
{
	my ($certificate, $detail) = @$case;
	$server->stop;
	$server->start(certificate => $certificate);
	$night->falls("a certificate that is $certificate", {}, %refused, detail => $detail, after => sub {
		is(scalar($server->log), 0, '... and nothing was sent to it');
		$server->stop;
		$server->start(certificate => 'server');
	});
}

my $authority = OneRosterServer->new(people => 10);
$roster->set(ca_file => $authority->ca_file);
$night->falls('an authority that is not known', {}, %refused, detail => qr/certificate/,
	after => sub { $roster->set(ca_file => $server->ca_file) });
$roster->set(ca_file => '/nowhere/ca.crt');
$night->falls('a ca_file that is none', {}, sqlstate => 'F0000',
	error => qr/^the database server has no list of certificate authorities to trust$/,
	detail => qr{^File "/nowhere/ca\.crt" cannot be used: No such file or directory\.},
	hint => qr/^This is not about the SIS: ask the DBA to correct minga_roster\.ca_file/,
	after => sub { $roster->set(ca_file => $server->ca_file) });

# No TLS where TLS is due
my $plain = OneRosterServer->new(people => 10, plain_http => 1);
$night->moves('localhost:' . $plain->port);
$night->falls('http where https is due', {}, sqlstate => '08006',
	error => qr/^"localhost" could not be reached over TLS$/, hint => qr/SIS administrator/, after => sub {
	is(scalar($plain->log), 0, '... and nothing was sent in clear');
	$night->moves_back;
});

done_testing();
