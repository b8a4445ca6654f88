# The test OneRoster server (test/oneroster_server.py) for TAP tests: starts it, gives its orders, stops it with the
# test.
package OneRosterServer;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp ();
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use Time::HiRes qw(usleep);

my $directory = abs_path(dirname(__FILE__) . '/..');
my $json = JSON::PP->new->utf8->canonical;

# new(people => 500, seed => 7, schools => 3, day => 0, plain_http => 0, certs => another server's, certificate => one
# of make_certs.sh, port => any free one, client_id =>, client_secret =>, app_name =>, args => [further arguments])
# Starts the server; dies when it does not come up.
sub new
{
	my ($class, %args) = @_;
	my $self = bless {%args}, $class;

	$self->{certs} //= new_certs();
	$self->start;
	return $self;
}

# A directory with certificates of a CA of its own.
sub new_certs
{
	my $certs = File::Temp->newdir;
	IPC::Run::run([ "$directory/make_certs.sh", "$certs" ]) or die "could not make certificates";
	return $certs;
}

# Starts the server, again at the port that it had, without faults; the arguments replace those of new.
sub start
{
	my ($self, %args) = @_;

	%$self = (%$self, %args);
	start_server(
		$self,
		[
			'/usr/bin/python3', "$directory/oneroster_server.py",
			'--people', $self->{people} // 500,
			'--seed', $self->{seed} // 7,
			'--schools', $self->{schools} // 3,
			'--day', $self->{day} // 0,
			'--port', $self->{port} // 0,
			'--client-id', $self->client_id, '--client-secret', $self->client_secret, '--app', $self->app_name,
			$self->{plain_http} ? '--plain-http' : ('--certs', "$self->{certs}", '--certificate', $self->{certificate}
			  // 'server'),
			@{ $self->{args} // [] }
		],
		qr/^port (\d+)\ncontrol (\d+)$/m, 'port', 'control');
	return;
}

# start_server(object, command, pattern, names …): runs a server until it has printed what the pattern captures. Its
# stdin stays open until stop_server, so that it ends with the test whatever happens.
sub start_server
{
	my ($self, $command, $pattern, @names) = @_;

	$self->{in} = $self->{out} = $self->{err} = '';
	$self->{process} = IPC::Run::start($command, '<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{err},
		my $timeout = IPC::Run::timeout(60));
	while ($self->{out} !~ $pattern)
	{
		IPC::Run::pump($self->{process}) or die "@$command did not start: $self->{err}";
	}
	$timeout->reset;
	@$self{@names} = $self->{out} =~ $pattern;
}

sub stop_server
{
	my ($self) = @_;
	my $process = delete $self->{process} or return;
	IPC::Run::kill_kill($process, grace => 5);
}

sub stop { stop_server(@_) }

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { stop_server($self) };
}

# The base URL as Campus shows it, the same on the legacy path, and the root of a plain OneRoster server.
sub origin { my ($self) = @_; return ($self->{plain_http} ? 'http' : 'https') . "://localhost:$self->{port}" }
sub url { return $_[0]->origin . '/campus/api/oneroster/v1p1/minga' }
sub legacy_url { return $_[0]->origin . '/campus/oneroster/minga' }
sub plain_url { return $_[0]->origin . '/ims/oneroster/v1p1' }
sub token_url { return $_[0]->origin . '/campus/oauth2/token?appName=minga' }
sub plain_token_url { return $_[0]->origin . '/oauth/token' }

sub port { return $_[0]->{port} }
sub control_port { return $_[0]->{control} }
sub certs { return "$_[0]->{certs}" }
sub ca_file { return "$_[0]->{certs}/ca.crt" }
sub client_id { return $_[0]->{client_id} // 'minga-client' }
sub client_secret { return $_[0]->{client_secret} // 'S3cret!^*~)+&%' }
sub app_name { return $_[0]->{app_name} // 'minga' }
sub school_id { return 'CE8DF1FC-3242-4716-A5F5-5A957F86DC36' }

# Moves the district to a day.
sub day { my ($self, $day) = @_; return $self->order('POST', '/day', { day => $day }) }

# Switches faults on; undef switches one off.
sub faults { my ($self, $faults) = @_; return $self->order('POST', '/faults', $faults) }
sub clear_faults { return $_[0]->order('POST', '/faults', { reset => JSON::PP::true }) }

# The requests since the log was last cleared: a list of { method, path, query, authorization, code, time }.
sub log { return @{ $_[0]->order('GET', '/log') } }
sub clear_log { return $_[0]->order('DELETE', '/log') }

# { day, concurrent_max, concurrent, requests, faults }
sub state { return $_[0]->order('GET', '/state') }

# Waits until a condition, given as a sub, holds; dies when that takes more than three minutes.
sub wait_for
{
	my ($self, $condition) = @_;
	my $give_up = time + 180;

	until ($condition->())
	{
		die 'the server was not asked for what the test waits for' if time > $give_up;
		usleep(100_000);
	}
	return;
}

# What happens on a day: a list of { kind, sourced_ids, values }.
sub changes { my ($self, $day) = @_; return $self->order('GET', "/changes?day=$day") }

# expected(from => 'none' or a day, to => a day, roster =>, auto_update =>, archive => 1, 0 or categories,
# parent_contact => 0, school => 0) The plan as a list of { action, category, sourced_ids, before, after }.
sub expected
{
	my ($self, %args) = @_;
	return $self->order('GET', '/expected?' . join('&', map { "$_=$args{$_}" } sort keys %args));
}

# The changes of a plan as texts that can be compared, one each.
sub change_texts
{
	my ($changes) = @_;
	return map {
		$json->encode({
			action => $_->{action}, category => $_->{category}, sourced_ids => [ sort @{ $_->{sourced_ids} } ],
			before => $_->{before}, after => $_->{after} })
	} @$changes;
}

# One order to the control port; dies on anything but success.
sub order
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => 120)->request($method, "http://127.0.0.1:$self->{control}$path",
		{ defined $body ? (content => $json->encode($body)) : () });
	die "$method $path: $answer->{status} $answer->{content}" unless $answer->{success};
	return $json->decode($answer->{content});
}

1;
