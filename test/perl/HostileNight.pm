# Nights of a hostile server: a connection that is proven and archives, a fault, a sync, and what came of it; then the
# fault off and a sync that finds everyone as before.
#
#   my $night = HostileNight->new('pages', people => 60);
#   $night->falls('a page comes twice', { repeat_page => {} }, sqlstate => '08P01', error => qr/…/, detail => qr/…/,
# hint => qr/…/);
#   $night->falls('a cap', { page_cap => 7 }, collection => 'students|t|total');      # without sqlstate: the run
# succeeds
#
# Whatever the fault: no one is archived, no one held (held => so many are), and the next good night finds everyone as
# before.
package HostileNight;

use strict;
use warnings;

use OneRosterServer;
use RosterCluster;
use Test::More;

# new(name, people => 60, page_size => 10, guard_percent => 10, conf => '', server => {of OneRosterServer})
sub new
{
	my ($class, $name, %args) = @_;
	my $server = OneRosterServer->new(people => $args{people} // 60, seed => 61, %{ $args{server} // {} });
	my $roster = RosterCluster->new("hostile_$name", conf => $args{conf});
	my $self = bless { server => $server, roster => $roster }, $class;

	$roster->connect_school('mesa', $server);
	$roster->sql("SELECT roster_toggle('mesa', auto_update => true, archive => true)");
	$roster->sql("SELECT roster_configure('mesa', page_size => " . ($args{page_size} // 10) . ', guard_percent => '
		  . ($args{guard_percent} // 10) . ')');
	is($self->sync, 'succeeded', 'a first sync');
	is($self->sync, 'succeeded', 'a second one');
	is($roster->sql("SELECT unproven FROM connections WHERE connection = 'mesa'"), 'f', 'the connection is proven');

	# Archiving works, or the rest would prove nothing.
	my ($leaver) = $self->students;
	$server->faults({ remove_rows => [ $leaver ] });
	$self->sync;
	is($self->newest('state, archived, held'), 'succeeded|1|0', 'a student who has left is archived');
	$server->clear_faults;
	$self->sync;
	is($self->newest('state, restored'), 'succeeded|1', '... and restored when they are back');
	$self->{people} = $self->people;
	return $self;
}

sub server { return $_[0]{server}; }
sub roster { return $_[0]{roster}; }

# Syncs, whatever comes of it; the run's state.
sub sync
{
	my ($self) = @_;
	$self->{roster}->node->psql('postgres', "SELECT roster_sync('mesa')", on_error_die => 0);
	return $self->newest('state');
}

sub newest
{
	my ($self, $columns) = @_;
	return $self->{roster}->sql("SELECT $columns FROM runs ORDER BY run DESC LIMIT 1");
}

# sourcedIds of the students who are staged, in order.
sub students
{
	my ($self) = @_;
	return split /\n/,
		$self->{roster}->sql("SELECT sourced_id FROM staged_users WHERE connection = 'mesa' "
		  . "AND collection = 'students' ORDER BY sourced_id");
}

# What no one may have changed.
sub people
{
	my ($self) = @_;
	return $self->{roster}->sql("SELECT count(*), count(archived_at), md5(string_agg((to_jsonb(p) - "
		  . "'updated_at')::text, ',' ORDER BY person_id)) FROM people p WHERE site = 'mesa'");
}

sub falls
{
	my ($self, $name, $faults, %expected) = @_;
	my $roster = $self->{roster};

	$roster->sql('DELETE FROM server_facts');    # each fault is another server
	$self->{server}->clear_log;
	$self->{server}->faults($faults) if %$faults;
	my $state = $self->sync;
	$self->{server}->clear_faults if %$faults;
	is($self->newest("state || ' ' || coalesce(sqlstate, '')"), ($expected{sqlstate} ? 'failed ' : 'succeeded ')
		  . ($expected{sqlstate} // ''), $name)
	  or diag($self->newest("error || E'\\n' || coalesce(detail, '') || E'\\n' || coalesce(hint, '')"));
	foreach my $part (grep { $expected{$_} } qw(error detail hint))
	{
		like($self->newest($part), $expected{$part}, "... $part");
	}
	$self->is_collection($expected{collection}) if $expected{collection};
	is($self->newest('archived, held') =~ s/^\|$/0|0/r, '0|' . ($expected{held} // 0), '... no one is archived'
		  . ($expected{held} ? ', all are held' : ' or held'));
	note(join(' | ', "$name ",
		$self->newest("state, coalesce(sqlstate, ''), coalesce(error, ''), coalesce(detail, '')") =~ s/\|/ | /gr,
			$roster->sql("SELECT coalesce(string_agg(collection || ': ' || coalesce(detail, ''), ' ' "
			  . "ORDER BY collection), '') FROM collections WHERE run = (SELECT max(run) FROM runs) "
			  . "AND NOT complete")));
	$expected{after}->() if $expected{after};
	$self->passes;
	return;
}

# The collection's completeness and proof in the newest run.
sub is_collection
{
	my ($self, $expected) = @_;
	my ($collection) = $expected =~ /^(\w+)/;
	is($self->{roster}->sql("SELECT collection, complete, proof FROM collections WHERE collection = '$collection' "
		  . "AND run = (SELECT max(run) FROM runs)"),
		$expected, "... $collection: complete, and by what proof");
	return;
}

# Lets the connection go to another host:port, as a name service or a network would; moves_back ends that.
sub moves
{
	my ($self, $there) = @_;
	my ($from, $to) = map { RosterCluster::quote($_) } 'localhost:' . $self->{server}->port, $there;

	$self->{there} = $there;
	$self->{roster}->sql("UPDATE connections SET base_url = replace(base_url, $from, $to), token_url = "
		  . "replace(token_url, $from, $to)");
	# a name service would leave the address, and with it the secret, as they are
	$self->{roster}->sql("SELECT roster_set_secret('mesa', " . RosterCluster::quote($self->{server}->client_secret)
		  . ')');
	return;
}

sub moves_back
{
	my ($self) = @_;
	my ($from, $to) = map { RosterCluster::quote($_) } delete $self->{there}, 'localhost:' . $self->{server}->port;

	$self->{roster}->sql("UPDATE connections SET base_url = replace(base_url, $from, $to), token_url = "
		  . "replace(token_url, $from, $to)");
	# a name service would leave the address, and with it the secret, as they are
	$self->{roster}->sql("SELECT roster_set_secret('mesa', " . RosterCluster::quote($self->{server}->client_secret)
		  . ')');
	return;
}

# A night without a fault finds everyone as before.
sub passes
{
	my ($self) = @_;
	$self->sync;
	is($self->newest('state, archived, held'), 'succeeded|0|0', '... the next good night is a good one');
	is($self->people, $self->{people}, '... and everyone is as before');
	return;
}

# Requests since the log was cleared whose path matches.
sub requests
{
	my ($self, $pattern) = @_;
	return grep { $_->{path} =~ $pattern } $self->{server}->log;
}

1;
