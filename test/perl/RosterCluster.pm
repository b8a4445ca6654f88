# A PostgreSQL cluster with pg_cron and minga_roster, for TAP tests.
#
#   my $roster = RosterCluster->new('name', conf => "minga_roster.max_workers = 1\n");
#   $roster->connect_school('mesa-high', $server);       # an OneRosterServer; creates public.people when it is not
# there
#   $roster->move_school('mesa-high', $url, $secret);    # another URL, and the secret for it
#   $roster->sql('SELECT ...');                          # output of psql -AtX, dies on an error
#   my $error = $roster->error('SELECT ...');            # stderr of a statement that has to fail, with SQLSTATE
#   $roster->set(max_workers => 1);                      # ALTER SYSTEM and reload
package RosterCluster;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $name, %args) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $key = PostgreSQL::Test::Utils::tempdir() . "/$name.key";
	my $umask = umask(077);

	open(my $file, '>', $key) or die "could not write $key: $!";
	print $file join('', map { sprintf '%02x', int(rand(256)) } 1 .. 32), "\n";
	close($file);
	umask($umask);

	# Not the environment's locale, which may be unset or not generated.
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ], %{ $args{init} // {} });
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
max_worker_processes = 16
log_statement = none
jit = off
minga_roster.key_file = '$key'
minga_roster.allowed_hosts = 'localhost:*, 127.0.0.1:*, [::1]:*'
CONF
	$node->append_conf('postgresql.conf', $args{conf}) if defined $args{conf};
	$node->start;
	$node->safe_psql('postgres',
		'CREATE EXTENSION pg_cron; CREATE EXTENSION minga_roster; CREATE ROLE people_owner NOLOGIN; '
		  . 'ALTER DATABASE postgres SET search_path = public, minga_roster, minga_roster_internal');
	return bless { node => $node, key => $key }, $class;
}

sub node { return $_[0]{node}; }
sub key_file { return $_[0]{key}; }

sub sql
{
	my ($self, $statement) = @_;
	return $self->{node}->safe_psql('postgres', $statement);
}

# The error of a statement that has to fail, as psql shows it with VERBOSITY verbose.
sub error
{
	my ($self, $statement) = @_;
	my ($rc, $stdout, $stderr) = $self->{node}->psql('postgres', "\\set VERBOSITY verbose\n$statement");
	die "no error from: $statement\n$stdout" if $stderr !~ /ERROR/;
	return $stderr;
}

# Changes a setting of minga_roster in every session, and waits until a new one sees it.
sub set
{
	my ($self, $name, $value) = @_;
	my $node = $self->{node};

	$node->safe_psql('postgres', "LOAD 'minga_roster';\nALTER SYSTEM SET minga_roster.$name = " . quote($value));
	$node->reload;
	$node->poll_query_until('postgres', 'SELECT minga_roster_internal.setting(' . quote($name) . ') = ' . quote($value))
	  or die "could not set $name";
	return;
}

# Connects a school of a test server, with a people table made for it that belongs to the role people_owner.
sub connect_school
{
	my ($self, $connection, $server, %args) = @_;
	my %named = (
		url => $server->url, client_id => $server->client_id, client_secret => $server->client_secret,
		app_name => $server->app_name, school_id => $server->school_id, people => 'public.people',
		time_zone => 'America/Denver', %args);
	my $arguments = join ', ', map { "$_ => " . quote($named{$_}) } grep { defined $named{$_} } sort keys %named;

	$self->set(ca_file => $server->ca_file);
	$self->sql("SELECT roster_create_people('public.people', owner => 'people_owner') "
		  . "WHERE to_regclass('public.people') IS NULL");
	$self->sql('SELECT roster_connect(' . quote($connection) . ", $arguments)");
	return;
}

# Gives a connection another URL, and the secret again, which another server makes it forget.
sub move_school
{
	my ($self, $connection, $url, $secret, $arguments) = @_;

	$self->sql('SELECT roster_configure(' . quote($connection) . ', url => ' . quote($url)
		  . (defined $arguments ? ", $arguments" : '') . ')');
	$self->sql('SELECT roster_set_secret(' . quote($connection) . ', ' . quote($secret) . ')');
	return;
}

# One pattern of several: one after the other, or in this order with anything between them.
sub pattern { my $all = join '', @_; return qr/$all/; }
sub in_order { my $all = join '.*', @_; return qr/$all/s; }

# Waits until a query answers true; dies when it does not.
sub wait_for
{
	my ($self, $query) = @_;
	$self->{node}->poll_query_until('postgres', $query) or die "not reached: $query";
	return;
}

sub log_contents
{
	my ($self) = @_;
	return slurp_file($self->{node}->logfile);
}

sub stop { $_[0]{node}->stop; return; }

sub quote
{
	my ($value) = @_;
	$value =~ s/'/''/g;
	return "'$value'";
}

1;
