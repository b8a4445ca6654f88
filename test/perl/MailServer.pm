# The test mail server with tokens (test/mail_server.py) for TAP tests: starts it, gives its orders, tells what it saw.
package MailServer;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use OneRosterServer;

my $directory = abs_path(dirname(__FILE__) . '/..');

# Starts the server, with the key of a service account (account.pem); dies when it does not come up.
sub new
{
	my ($class) = @_;
	my $self = bless { certs => OneRosterServer::new_certs() }, $class;
	my $errors;

	IPC::Run::run([ 'openssl', 'genrsa', '-out', "$self->{certs}/account.pem", '2048' ], '2>', \$errors)
	  or die "could not make a key: $errors";
	IPC::Run::run(
		[ 'openssl', 'rsa', '-in', "$self->{certs}/account.pem", '-pubout', '-out', "$self->{certs}/account.pub" ],
		'2>', \$errors)
	  or die "could not make a public key: $errors";
	OneRosterServer::start_server($self,
		[ '/usr/bin/python3', "$directory/mail_server.py", '--certs', "$self->{certs}" ],
		qr/^port (\d+)\ntokens (\d+)\ncontrol (\d+)$/m, 'port', 'token_port', 'control_port');
	return $self;
}

sub stop { OneRosterServer::stop_server(@_) }

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { $self->stop };
}

sub url { return "smtp://localhost:$_[0]{port}" }
sub token_url { return "https://localhost:$_[0]{token_port}/tenant/oauth2/v2.0/token" }
sub ca_file { return "$_[0]{certs}/ca.crt" }

# The key file of a service account, as Google writes it.
sub account_key
{
	my ($self) = @_;
	open my $file, '<', "$self->{certs}/account.pem" or die "could not open the key: $!";
	local $/;
	return JSON::PP->new->pretty->canonical->encode(
		{
			type => 'service_account', client_email => 'roster@project.iam.example', private_key_id => 'key-1',
			private_key => <$file>, token_uri => $self->token_url
		});
}

# Takes the place of all orders before.
sub order
{
	my ($self, %orders) = @_;
	my $answer = HTTP::Tiny->new->put("http://127.0.0.1:$self->{control_port}/",
		{ content => JSON::PP->new->encode(\%orders) });
	die "the mail server took no orders: $answer->{content}" unless $answer->{success};
	return;
}

# { seen => [step, …], mails => [{ to, content }, …], requests => [{ path, form }, …] (for tokens), connections }
sub state
{
	my ($self) = @_;
	return JSON::PP->new->decode(HTTP::Tiny->new->get("http://127.0.0.1:$self->{control_port}/")->{content});
}

1;
