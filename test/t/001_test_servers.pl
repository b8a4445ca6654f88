# The test servers themselves: what the other tests rely on is shown here to hold. The expected plan is compared with
# one that a small client works out from the rows on the wire.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../perl";

use IPC::Run ();
use JSON::PP ();
use OneRosterServer;
use SmtpServer;
use Test::More;
use Unicode::Normalize qw(NFC);

my $json = JSON::PP->new->utf8->canonical;
my $server = OneRosterServer->new(people => 200, seed => 11);
my $token;

# curl(arguments): { exit, code, headers, body, json (where it is) }
sub curl
{
	my @args = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'curl', '-sS', '-i', '--cacert', $server->ca_file, @args ], '<', \undef, '>', \$out, '2>', \$err);
	my %answer = (exit => $? >> 8, error => $err);
	my ($head, $body) = split /\r\n\r\n/, $out, 2;
	($answer{code}) = ($head // '') =~ m{^HTTP/1.1 (\d+)};
	$answer{headers} = { map { /^([^:]+): (.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head // '' };
	$answer{body} = $body // '';
	$answer{json} = eval { $json->decode($answer{body}) };
	return \%answer;
}

sub ask_token
{
	my ($url, @args) = @_;
	return curl('-d', 'grant_type=client_credentials', @args, $url);
}

my @basic = ('-u', $server->client_id . ':' . $server->client_secret);
my $school = '/schools/' . $server->school_id;
my $campus = $server->url . '/ims/oneroster/v1p1';

# get(path, curl arguments): a request with the token; the path may be a whole address.
sub get
{
	my ($path, @args) = @_;
	return curl('-H', "Authorization: Bearer $token", '-G', @args, $path =~ /^http/ ? $path : "$campus$path");
}

# rows(path, curl arguments): the whole collection, page by page.
sub rows
{
	my ($path, @args) = @_;
	my @rows;
	while (1)
	{
		my $page = get($path, '-d', 'limit=150', '-d', 'offset=' . @rows, '-d', 'sort=sourcedId', '-d', 'orderBy=asc',
			@args);
		die "$path: $page->{code} $page->{body}" unless $page->{json} && $page->{json}{users};
		last unless @{ $page->{json}{users} };
		push @rows, @{ $page->{json}{users} };
	}
	return @rows;
}

sub ids { return map { $_->{sourcedId} } @_ }

# Tokens

my $answer = ask_token($server->token_url, @basic);
is($answer->{code}, 200, 'a token is given for HTTP Basic');
is($answer->{json}{expires_in}, 3600, 'a token lives an hour');
$token = $answer->{json}{access_token};
is( ask_token($server->token_url, '--data-urlencode', 'client_id=' . $server->client_id,
		'--data-urlencode', 'client_secret=' . $server->client_secret)->{code},
	200, 'a token is given for credentials in the body');
$answer = ask_token($server->token_url, '-u', 'minga-client:wrong');
is("$answer->{code} $answer->{body}", '401 {"error": "invalid_client"}', 'a wrong secret is refused');
foreach my $url ($server->origin . '/campus/oauth2/token', $server->origin . '/campus/oauth2/token?appName=other')
{
	$answer = ask_token($url, @basic);
	is("$answer->{code} $answer->{body}", '400 No Campus Application selected',
		'a missing or wrong App Name is refused');
}
is(ask_token($server->plain_token_url, @basic)->{code}, 200, 'a plain OneRoster server gives a token');
is(curl(@basic, '-d', 'grant_type=password', $server->token_url)->{code}, 400, 'another grant type is refused');
is(curl("$campus/orgs")->{code}, 401, 'a request without a token is refused');
$answer = curl('-H', 'Authorization: Bearer wrong', "$campus/orgs");
is("$answer->{code} $answer->{json}{statusInfoSet}[0]{imsx_codeMinor}", '401 unauthorized', 'a wrong token is refused');
is(curl('--cacert', '/dev/null', "$campus/orgs")->{exit}, 77, 'the certificate is not signed by a known CA')
	or diag $answer->{error};

# Endpoints

is(join(' ', map { $_->{type} } @{ get('/orgs')->{json}{orgs} }), 'district school school school', 'orgs');
is(scalar @{ get('/schools')->{json}{orgs} }, 3, 'the schools are listed');
is(get($school)->{json}{org}{name}, 'Mesa High', 'the school is found by its id');
$answer = get('/schools/nowhere/students');
is("$answer->{code} $answer->{json}{statusInfoSet}[0]{imsx_codeMajor}", '404 failure',
	'an unknown school is not found');
is(get($server->legacy_url . "/ims/oneroster/v1p1$school/students")->{code}, 200, 'the legacy path works');
is(get($server->origin . '/campus/api/oneroster/v1p1/other/ims/oneroster/v1p1/orgs')->{code}, 404,
	'the path of another application is refused');
is(get($server->plain_url . "$school/students")->{code}, 200, 'the paths of a plain OneRoster server work');
is(get($server->plain_url . "$school/administrators")->{code}, 404, '... and have no endpoints of Campus');
is(get("$school/users")->{code}, 404, 'there is no list of all users of a school');

# Pages

my @students = rows("$school/students");
my @teachers = rows("$school/teachers");
my @administrators = rows("$school/administrators");
$answer = get("$school/students");
is(scalar @{ $answer->{json}{users} }, 100, 'a page has 100 rows when no limit is given');
is($answer->{headers}{'x-total-count'}, scalar @students, 'total');
like($answer->{headers}{link}, qr{<\Q$campus$school\E/students\?limit=100&offset=100>; rel="next"},
	'a page links to the next one');
is_deeply([ ids(@students) ], [ sort(ids(@students)) ], 'rows are sorted by sourcedId');
my %username = map { $_->{username} => 1 } @students, @teachers, @administrators;
is(scalar keys %username, 200, 'there are as many people as were asked for');
is_deeply([ ids(rows("$school/students", '-d', 'orderBy=desc')) ], [ reverse sort(ids(@students)) ],
	'rows can be sorted in descending order');
is(get('/users', '-d', 'limit=x')->{code}, 400, 'a limit that is no number is refused');

my @users = rows('/users');
my %user = map { $_->{sourcedId} => $_ } @users;
is(scalar keys %user, scalar @users, 'every user is listed once');
cmp_ok(scalar @users, '>', @students + @teachers + @administrators, 'one list has all schools and guardians');
is(get('/users', '-d', 'limit=3', '-d', 'offset=100000')->{body}, '{"users": []}', 'a page beyond the end is empty');

# Filter and fields

my $filter = "filter=role='administrator'";
is_deeply([ ids(rows('/users', '--data-urlencode', $filter)) ], [ ids(rows('/administrators')) ],
	'a filter selects by role');
my @found = rows('/users', '--data-urlencode', "$filter AND givenName~'a'");
is_deeply([ ids(@found) ], [ ids(grep { $_->{role} eq 'administrator' && $_->{givenName} =~ /a/ } @users) ],
	'a filter can have AND');
@found = rows('/users', '--data-urlencode', "filter=status!='active' OR enabledUser='false'");
is_deeply([ ids(@found) ], [ ids(grep { $_->{status} ne 'active' || $_->{enabledUser} eq 'false' } @users) ],
	'a filter can have OR');
cmp_ok(scalar @found, '>', 1, '... and finds someone');
is(get('/users', '--data-urlencode', 'filter=role=student')->{code}, 400, 'a filter without quotes is refused');
is(get('/users', '--data-urlencode', "filter=shoe='9'")->{code}, 400, 'a filter by an unknown field is refused');
my ($row) = rows("$school/students", '-d', 'fields=sourcedId,givenName');
is_deeply([ sort keys %$row ], [ 'givenName', 'sourcedId' ], 'fields limits the columns');
is(get('/users', '-d', 'fields=')->{code}, 400, 'an empty fields is refused');
is(scalar(grep { !$_->{password} } @users), 0, 'everyone has a password in the roster');

# People

my %rows_of;
push @{ $rows_of{ $_->{username} } }, $_ foreach @teachers, @administrators;
my @double = grep { @$_ == 2 } values %rows_of;
cmp_ok(scalar @double, '>', 1, 'teachers who are administrators have two rows');
is(scalar(grep { my ($t, $a) = @$_; grep { $t->{$_} ne $a->{$_} } qw(identifier email familyName) } @double), 0,
	'... that agree');
my %guardian = map { $_->{sourcedId} => $_ } rows('/guardians'), rows('/relatives');
my %children;
foreach my $student (@students)
{
	push @{ $children{$_} }, $student->{sourcedId} foreach ids(@{ $student->{agents} });
}
is(scalar(grep { !$guardian{$_} } keys %children), 0, 'every agent is there');
ok((grep { @$_ > 1 } values %children), 'siblings share guardians');
ok((grep { $_->{role} eq 'relative' } values %guardian), 'relatives are listed');
ok((grep { my $name = $_->{username}; $rows_of{$name} } values %guardian), 'some staff are guardians');
ok((grep { !@{ $_->{agents} } } @students), 'some students have no agents');
ok((grep { $_->{givenName} ne NFC($_->{givenName}) } @students), 'some names are in NFD');
ok((grep { $_->{familyName} =~ /'/ } @users), 'some names have apostrophes');
ok((grep { $_->{email} eq '' } @students), 'some students have no email address');
ok((grep { @{ $_->{orgs} } > 1 } @teachers), 'some teachers work at two schools');
ok((grep { $_->{status} eq 'inactive' } @students) && (grep { $_->{enabledUser} eq 'false' } @students),
	'some students are inactive or disabled');

# Days

my $day0 = get("$school/students", '-d', 'limit=1000')->{body};
$server->day(1);
my $day1 = get("$school/students", '-d', 'limit=1000')->{body};
isnt($day1, $day0, 'a day changes the roster');
$server->day(0);
is(get("$school/students", '-d', 'limit=1000')->{body}, $day0, 'the same day is the same roster');
my %kind;
$kind{ $_->{kind} }++ foreach map { @{ $server->changes($_) } } 1 .. 3;
is_deeply(
	[ grep { !$kind{$_} } 'join', 'leave', 'rename', 'grade', 'email', 'phone', 'return', 'inactivate', 'disable',
		'activate',
		'tobedeleted', 'vanish', 'contact', 'gain administrator', 'lose administrator', 'gain teacher',
		'lose teacher' ],
	[], 'every kind of change within three days');
{
	my $twin = OneRosterServer->new(people => 200, seed => 11, day => 3);
	is_deeply($twin->changes(3), $server->changes(3), 'the same seed has the same days');
	is_deeply($twin->expected(from => 2, to => 3, auto_update => 1),
		$server->expected(from => 2, to => 3, auto_update => 1), '... and plans');
	my $other = OneRosterServer->new(people => 200, seed => 12);
	isnt($json->encode($other->expected), $json->encode($server->expected), 'another seed has other people');
	my $process = $other->{process};
	IPC::Run::finish($process);
	is($?, 0, 'the server ends when its stdin closes');
	delete $other->{process};
}

# The expected plan against a client that knows only the rows on the wire

my %role_of = (student => 'student', teacher => 'teacher', admin => 'staff');
my @rank = qw(teacher admin);

sub parent_rule
{
	my ($chosen, @agents) = @_;
	my $kind = $chosen->{role} eq 'guardian' ? 'guardian or parent' : 'relative';
	my $passed = $chosen->{role} eq 'guardian' ? '' : 'no guardian or parent; ';
	my $equals = grep { $_->{role} eq $chosen->{role} } @agents;
	return "$chosen->{role}: $passed" . ($equals > 1 ? "first $kind in the order of agents" : "only $kind");
}

# The people of a day as { key, ids, category, active, columns, parent }.
sub listed
{
	my (%parents, %staff, @people);
	%parents = map { $_->{sourcedId} => $_ } rows('/guardians'), rows('/relatives');
	my $columns = sub {
		my %value;
		foreach my $row (@_)
		{
			my ($grade) = grep { $_ ne '' } @{ $row->{grades} };
			my %here = (
				given_name => $row->{givenName}, family_name => $row->{familyName}, middle_name => $row->{middleName},
				email => $row->{email}, username => $row->{username}, identifier => $row->{identifier},
				grade => $grade, phone => $row->{phone} ne '' ? $row->{phone} : $row->{sms});
			foreach (grep { defined $here{$_} } keys %here)
			{
				my $clean = NFC($here{$_}) =~ s/^\s+|\s+$//gr;
				$value{$_} //= $clean if $clean ne '';
			}
		}
		return \%value;
	};
	my $active = sub { return $_[0]{status} eq 'active' && $_[0]{enabledUser} eq 'true' };
	foreach my $row (grep { $_->{status} ne 'tobedeleted' } rows("$school/students"))
	{
		my @agents = map { $parents{$_} } ids(@{ $row->{agents} });
		my ($first) = ((grep { $_->{role} eq 'guardian' } @agents), @agents);
		my $of = $first && $columns->($first);
		push @people, { key => $row->{sourcedId}, ids => [ $row->{sourcedId} ], category => 'student',
			active => $active->($row),
			columns => $columns->($row),
			parent => $first && { parent_name => "$of->{given_name} $of->{family_name}", parent_email => $of->{email},
				parent_phone => $of->{phone}, parent_rule => parent_rule($first, @agents) } };
	}
	push @{ $staff{ $_->{username} } }, [ 'teacher', $_ ] foreach rows("$school/teachers");
	push @{ $staff{ $_->{username} } }, [ 'admin', $_ ] foreach rows("$school/administrators");
	foreach my $name (keys %staff)
	{
		my @own = map { $_->[1] } @{ $staff{$name} };
		push @people, { key => $name, ids => [ sort(ids(@own)) ], category => $staff{$name}[0][0],
			active => $active->($own[0]),
			columns => $columns->(@own) };
	}
	return @people;
}

# The plan of one day; carries it out in %$client.
sub client_plan
{
	my ($client, $auto, $archive) = @_;
	my (@plan, %seen);
	my $add = sub {
		my ($action, $who, $before, $after) = @_;
		push @plan, { action => $action, category => $who->{category}, sourced_ids => $who->{ids}, before => $before,
			after => $after };
	};
	foreach my $new (listed())
	{
		my $old = $client->{ $new->{key} };
		my $parent = $new->{parent} // {};
		$seen{ $new->{key} } = 1;
		if (!$old)
		{
			next unless $new->{active};
			my %after = (%{ $new->{columns} },
				(map { defined $parent->{$_} ? ($_ => $parent->{$_}) : () } keys %$parent),
				role => $role_of{ $new->{category} });
			$client->{ $new->{key} } = { %$new, columns => {%after}, links => { map { $_ => 1 } @{ $new->{ids} } } };
			$add->('create', $new, {}, \%after);
			next;
		}
		next if $old->{archived} && !$new->{active};
		my %after;
		my %due = (%{ $new->{columns} }, role => $role_of{ $new->{category} }, %$parent);
		my $moved = grep { ($old->{columns}{$_} // '') ne ($parent->{$_} // '') } keys %$parent;
		delete @due{ keys %$parent } unless $moved;
		if ($auto)
		{
			%after = map { $_ => $due{$_} } grep { ($old->{columns}{$_} // '') ne ($due{$_} // '') } keys %due;
		}
		my %before = map { $_ => $old->{columns}{$_} } keys %after;
		my $linked = grep { !$old->{links}{$_}++ } @{ $new->{ids} };
		$old->{columns} = { %{ $old->{columns} }, %after };
		$add->($old->{archived} ? 'restore' : %after ? 'update' : 'link', $new, \%before, \%after)
			if $old->{archived} || %after || $linked;
		@$old{qw(category ids archived)} = (@$new{qw(category ids)}, 0);
	}
	foreach my $gone ($archive ? grep { !$seen{ $_->{key} } && !$_->{archived} } values %$client : ())
	{
		$gone->{archived} = 1;
		$add->('archive', $gone, {}, {});
	}
	return [
		sort { "$a->{action} $a->{category} @{ $a->{sourced_ids} }" cmp "$b->{action} $b->{category} "
			  . "@{ $b->{sourced_ids} }" } @plan ];
}

my $campus_of_200 = $campus;
my $server_of_200 = $server;
my $token_of_200 = $token;
$server = OneRosterServer->new(people => 30, seed => 3);
$campus = $server->url . '/ims/oneroster/v1p1';
$token = ask_token($server->token_url, @basic)->{json}{access_token};
foreach my $setting ([ 1, 1 ], [ 0, 1 ], [ 1, 0 ])
{
	my ($auto, $archive) = @$setting;
	my %client;
	foreach my $day (0 .. 4)
	{
		$server->day($day);
		my $expected = $server->expected(from => $day ? $day - 1 : 'none', to => $day,
			auto_update => $auto, archive => $archive, parent_contact => 1);
		is_deeply(client_plan(\%client, $auto, $archive), $expected,
			"plan of day $day, auto update $auto, archive $archive")
			or diag $json->pretty->encode($expected);
		cmp_ok(scalar @$expected, '>', 0, '... is not empty');
	}
}
is_deeply($server->expected(from => 2, to => 2, auto_update => 1, archive => 1), [],
	'nothing to do where nothing changed');
is(scalar(grep { $_->{category} ne 'student' } @{ $server->expected(from => 0, to => 1, roster => 'student',
	auto_update => 1, archive => 1) }),
	0, 'categories that are not rostered stay out of the plan');
{
	my $printed;
	IPC::Run::run([ '/usr/bin/python3', $INC{'OneRosterServer.pm'} =~ s{perl/OneRosterServer.pm}{oneroster_server.py}r,
		'--people', 30, '--seed', 3,
			'--print-plan', 'from=0,to=1,auto_update=1,roster=student,teacher' ], '>', \$printed);
	is_deeply($json->decode($printed),
		$server->expected(from => 0, to => 1, auto_update => 1, roster => 'student,teacher'),
		'the plan on the command line');
}
ok(!eval { $server->expected(roster => 'pupils'); 1 }, 'an unknown category is an error');
undef $server;

# Faults

($server, $campus, $token) = ($server_of_200, $campus_of_200, $token_of_200);
$server->day(0);
my $path = "$school/students";
my $first = $students[0]{sourcedId};

# with(faults, path, curl arguments): the answer under faults, which are cleared again.
sub with
{
	my ($faults, @request) = @_;
	$server->faults($faults);
	my $found = get(@request);
	$server->clear_faults;
	return $found;
}

$server->faults({ status => { path => 'students', code => 429, times => 1, retry_after => 2 } });
$answer = get($path);
is("$answer->{code} $answer->{headers}{'retry-after'} $answer->{json}{statusInfoSet}[0]{imsx_codeMinor}",
	'429 2 server_busy', 'status');
is(get($path)->{code}, 200, '... once');
$server->clear_faults;
is(with({ reset_connection => { path => 'students', times => 1 } }, $path)->{exit}, 56, 'connection reset');
$answer = with({ truncated => { path => 'students' } }, $path);
is("$answer->{exit} $answer->{code} " . (defined $answer->{json} ? 1 : 0), '0 200 0', 'truncated JSON');
is(with({ delay_ms => 5000 }, $path, '--max-time', 0.3)->{exit}, 28, 'delay');
is(with({ hang => { path => 'students' } }, $path, '--max-time', 0.3)->{exit}, 28, 'hang');
is(scalar @{ with({ page_cap => 7 }, $path)->{json}{users} }, 7, 'page cap');
is(with({ total => 'none' }, $path)->{headers}{'x-total-count'}, undef, 'no total');
is(with({ total => 'wrong' }, $path)->{headers}{'x-total-count'}, @students + 7, 'wrong total');
$server->faults({ total => 'changing' });
isnt(get($path)->{headers}{'x-total-count'}, get($path)->{headers}{'x-total-count'}, 'changing total');
$server->clear_faults;
is(with({ link => 'none' }, $path)->{headers}{link}, undef, 'no link');
is(with({ empty_object_at_end => JSON::PP::true }, $path, '-d', 'offset=1000')->{body}, '{}',
	'empty object at the end');
is(with({ missing_envelope => { path => 'students' } }, $path)->{body}, '{}', 'no envelope');
is(scalar @{ with({ rename_envelope => { path => 'students', key => 'students' } }, $path)->{json}{students} }, 100,
	'another envelope');
$answer = with({ html => { path => 'students' } }, $path);
is("$answer->{code} $answer->{headers}{'content-type'}", '200 text/html;charset=UTF-8', 'login page');
$answer = with({ failure_status => { path => 'students' } }, $path);
is("$answer->{code} $answer->{json}{statusInfoSet}[0]{imsx_codeMajor}", '200 failure', 'failure in a 200');
is(with({ repeat_page => { path => 'students' } }, $path, '-d', 'offset=50')->{json}{users}[0]{sourcedId}, $first,
	'repeated page');
$answer = with({ empty => { path => 'students', total => 9 } }, $path);
is("$answer->{body} $answer->{headers}{'x-total-count'}", '{"users": []} 9', 'empty collection');
like(with({ invalid_utf8 => { sourced_id => $first } }, $path)->{body}, qr/"Da\xff\xc3\x28mage"/, 'invalid UTF-8');
like(with({ nul_escape => { sourced_id => $first } }, $path)->{body}, qr/"Da\\u0000mage"/, 'NUL');
like(with({ lone_surrogate => { sourced_id => $first } }, $path)->{body}, qr/"Da\\ud800mage"/, 'lone surrogate');
is(with({ no_sourced_id => { index => 2 } }, $path)->{json}{users}[2]{sourcedId}, undef, 'no sourcedId');
is(with({ drop_names => { sourced_id => $first } }, $path)->{json}{users}[0]{familyName}, '', 'no names');
is(with({ status_value => { sourced_id => $first, value => 'odd' } }, $path)->{json}{users}[0]{status}, 'odd',
	'unknown status');
is(with({ override => { $first => { grades => ['KG'] } } }, $path)->{json}{users}[0]{grades}[0], 'KG', 'override');
like(with({ nesting => { sourced_id => $first, depth => 9 } }, $path)->{body}, qr/"metadata": (\{"a":){9}1\}{9},/,
	'nesting');
is(scalar @{ with({ ignore_filter => JSON::PP::true }, '/users', '-d', 'limit=5000', '--data-urlencode',
	$filter)->{json}{users} },
	scalar @users, 'filter ignored');
$answer = with({ ignore_sort => JSON::PP::true }, $path, '-d', 'limit=1000', '-d', 'sort=sourcedId');
isnt(join(' ', ids(@{ $answer->{json}{users} })), join(' ', ids(@students)), 'sort ignored');
is(join(' ', sort(ids(@{ $answer->{json}{users} }))), join(' ', ids(@students)), '... with the same rows');
$answer = with({ duplicate => { sourced_id => $first, at => 'end' } }, $path, '-d', 'limit=1000');
is_deeply([ ids(@{ $answer->{json}{users} }) ], [ ids(@students), $first ], 'duplicate');
is($answer->{headers}{'x-total-count'}, scalar @students, '... does not count');
$answer = with({ add_rows => [ { sourcedId => 's0', role => 'student' } ], remove_rows => [$first] }, $path, '-d',
	'limit=1000');
is_deeply([ ids(@{ $answer->{json}{users} }) ], [ 's0', (ids(@students))[ 1 .. $#students ] ], 'row added and removed');
$answer = with({ redirect => { path => 'students', location => 'https://localhost:1/elsewhere' } }, $path);
is("$answer->{code} $answer->{headers}{location}", '302 https://localhost:1/elsewhere', 'redirect');
is(length(with({ many_headers => { path => 'students', count => 3 } }, $path)->{headers}{'x-many-2'}), 1000,
	'many headers');
$server->faults({ expire_token_after => 2 });
$token = ask_token($server->token_url, @basic)->{json}{access_token};
is(join(' ', map { get($path)->{code} } 1 .. 3), '200 200 401', 'token expires after so many requests');
$token = ask_token($server->token_url, @basic)->{json}{access_token};
is(get($path)->{code}, 200, '... and a new one is good');
$server->clear_faults;
ok(!eval { $server->faults({ hagn => { path => 'x' } }); 1 }, 'an unknown fault is an error');
is_deeply($server->state->{faults}, {}, '... and nothing is switched');
$server->faults({ page_cap => 5, link => 'none' });
is_deeply($server->faults({ page_cap => undef }), { link => 'none' }, 'null switches one fault off');
$server->clear_faults;

# Log

$server->clear_log;
ask_token($server->token_url, @basic);
get($path, '-d', 'limit=3');
my @log = $server->log;
is_deeply([ map { "$_->{method} $_->{authorization} $_->{code}" } @log ], [ 'POST Basic 200', 'GET Bearer 200' ],
	'log');
is_deeply($log[1]{query}, { limit => '3' }, '... with the query');
is(index($json->encode(\@log), $token), -1, '... without tokens');
is($server->state->{concurrent_max}, 1, 'one request at a time');
$server->faults({ delay_ms => 300 });
curl('-H', "Authorization: Bearer $token", '--parallel', '--parallel-immediate', '--parallel-max', 4,
	map { ("$campus$path?offset=$_") } 1 .. 4);
cmp_ok($server->state->{concurrent_max}, '>', 1, 'requests side by side are counted');
$server->clear_faults;

# Static pages

{
	my $dir = File::Temp->newdir;
	IPC::Run::run([ '/usr/bin/python3', $INC{'OneRosterServer.pm'} =~ s{perl/OneRosterServer.pm}{oneroster_server.py}r,
		'--people', 200, '--seed', 11,
			'--export', "$dir", '--page-size', 100 ]);
	is($?, 0, 'export');
	my @exported = map { @{ $json->decode(SmtpServer::contents("$dir/students_$_.json"))->{users} } } 0, 100,
		scalar @students;
	is_deeply([ ids(@exported) ], [ ids(@students) ], '... has the rows of the server, and an empty last page');
	my @lines = split /\n/, SmtpServer::contents("$dir/users.copy");
	is(scalar @lines, @students + @teachers + @administrators, '... and a file for COPY');
	is(scalar(grep { split(/\t/, $_, -1) != 16 } @lines), 0, '... of 16 columns');
}

# Mail

my $mail = SmtpServer->new(certs => $server->certs);
my $message = "From: a\@mesa.example\r\nSubject: Roster\r\n\r\nNothing to do.\r\n.\r\n";

# deliver(user or undef, recipient, curl arguments): curl's exit code.
sub deliver
{
	my ($user, $to, @args) = @_;
	my ($out, $err);
	IPC::Run::run([ 'curl', '-sS', '--cacert', $mail->ca_file, defined $user ? ('-u', $user) : (), '--mail-from',
		'a@mesa.example',
			'--mail-rcpt', $to, '-T', '-', @args, $mail->url ], '<', \$message, '>', \$out, '2>', \$err);
	return $? >> 8;
}

my $login = $mail->user . ':' . $mail->password;
is(deliver($login, 'it@mesa.example', '--ssl-reqd'), 0, 'mail with STARTTLS and AUTH');
is(deliver("roster:wrong", 'it@mesa.example', '--ssl-reqd'), 67, 'wrong password');
is(deliver(undef, 'it@mesa.example', '--ssl-reqd'), 55, 'without AUTH');
is(deliver(undef, 'it@mesa.example'), 55, 'without STARTTLS');
is_deeply([ $mail->mails ],
	[ { from => 'a@mesa.example', to => ['it@mesa.example'], user => 'roster', tls => JSON::PP::true,
	raw => $message } ],
	'one mail is kept, as it was sent');
my $port = $mail->port;
$mail->stop;
is(deliver($login, 'it@mesa.example', '--ssl-reqd'), 7, 'stopped');
$mail->start('--reject-recipient', 'gone@mesa.example');
is($mail->port, $port, 'back at the same port');
is(deliver($login, 'gone@mesa.example', '--ssl-reqd'), 55, 'rejected recipient');
is(deliver($login, 'it@mesa.example', '--ssl-reqd'), 0, 'another recipient');
is(scalar(my @mails = $mail->mails), 2, 'mails are kept over a restart');
$mail->stop;
$mail->start('--no-auth');
is(deliver(undef, 'it@mesa.example', '--ssl-reqd'), 0, 'no AUTH demanded');
$mail->stop;

done_testing();
