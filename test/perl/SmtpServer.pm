# The test SMTP server (test/smtp_server.py) for TAP tests: starts it, gives the mails it kept, stops it with the test.
package SmtpServer;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use JSON::PP ();
use OneRosterServer;

my $directory = abs_path(dirname(__FILE__) . '/..');

# new(certs => DIR of OneRosterServer, else made here; user =>, password =>, args => ['--no-auth', '--reject-recipient',
# …]) Starts the server; dies when it does not come up.
sub new
{
	my ($class, %args) = @_;
	my $self = bless {
		user => 'roster', password => 'mail+S3cret', args => [],
		dir => File::Temp->newdir, %args
	}, $class;

	$self->{certs} //= OneRosterServer::new_certs();
	$self->start;
	return $self;
}

# Starts the server, again at the port that it had. Further arguments replace those of new.
sub start
{
	my ($self, @args) = @_;
	$self->{args} = \@args if @args;
	OneRosterServer::start_server(
		$self,
		[
			'/usr/bin/python3', "$directory/smtp_server.py", '--dir', "$self->{dir}", '--certs', "$self->{certs}",
			'--port', $self->{port} // 0, '--user', $self->{user}, '--password', $self->{password}, @{ $self->{args} }
		],
		qr/^port (\d+)$/m, 'port');
}

sub stop { OneRosterServer::stop_server(@_) }

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { $self->stop };
}

sub port { return $_[0]->{port} }
sub url { return "smtp://localhost:$_[0]->{port}" }
sub user { return $_[0]->{user} }
sub password { return $_[0]->{password} }
sub ca_file { return "$_[0]->{certs}/ca.crt" }

# The mails kept so far, oldest first: a list of { from, to, user, tls, raw }.
sub mails
{
	my ($self) = @_;
	my @mails;
	foreach my $sidecar (sort glob("$self->{dir}/*.json"))
	{
		my $mail = JSON::PP->new->utf8->decode(contents($sidecar));
		$mail->{raw} = contents($sidecar =~ s/json$/eml/r);
		push @mails, $mail;
	}
	return @mails;
}

sub contents
{
	my ($path) = @_;
	open my $file, '<:raw', $path or die "could not open $path: $!";
	local $/;
	return <$file>;
}

1;
