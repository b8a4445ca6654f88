# The mail as it arrives and as it looks: its parts, its size, and each kind of it rendered by a browser, on a narrow
# screen, in light and dark.
# Planted: the runs of two weeks (test/fixtures/mail_runs.sql).

use strict;
use warnings;
use utf8;

use Cwd qw(abs_path);
use Encode qw(decode encode);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use RosterCluster;
use SmtpServer;
use Test::More;

my $directory = abs_path(dirname(__FILE__) . '/..');
my $smtp = SmtpServer->new;
my $roster = RosterCluster->new('mail');

$roster->set(smtp_ca_file => $smtp->ca_file);
$roster->set(smtp_user => $smtp->user);
$roster->set(smtp_from => 'roster@minga.example');
$roster->sql("SELECT roster_set_secret('smtp', '" . $smtp->password . "')");
$roster->set(test_clock => '2026-09-02 01:10:00+00');
$roster->sql("SET TimeZone = 'UTC';\n" . decode('UTF-8', slurp_file("$directory/fixtures/mail_runs.sql")));

# Evenings and runs by hand of each kind, by name.
my %runs;
my @widths = (330, 700);

# A night with as much as there can be: 5,000 conflicts of 40 reasons, 40 lists that were not read, texts of any length.
$runs{full} = run('sync',
	"evening => '2026-09-01', counts => '{\"created\": 1200, \"held\": 234, \"conflicts\": 5000, \"rejects\": 300}'");
$roster->sql(encode('UTF-8', <<"SQL"));
SELECT change_run($runs{full}, 'archive', 'held', 'student', 200, 'gone',
	'200 of 812 would leave within a week: more than 5, and more than 10 percent.');
SELECT change_run($runs{full}, 'update', 'held', 'student', 34, 'changed',
	'family_name would change for 34 of 36: more than 75 percent.');
SELECT change_run($runs{full}, 'conflict', 'noted', 'student', 125,
	'Another row would get a value that the unique index "' || repeat('people_index_', 4) || n
		|| '" of people allows once. ' || repeat('名', 300))
FROM generate_series(1, 40) n;
INSERT INTO collections (run, collection, family, complete, proof, detail)
SELECT $runs{full}, 'list' || n, 'staff', false, NULL,
	'The server answered 403 Forbidden to ' || repeat('/campus/api/oneroster/v1p1/minga', 20)
FROM generate_series(1, 40) n;
SQL
my $report = $roster->sql("SELECT roster_report($runs{full})");
$roster->sql("INSERT INTO recipients (connection, email, send, manual) "
	  . "VALUES ('mesa-high', 'owner\@mesa.example', 'always', true)");
$roster->sql("SELECT post_report($runs{full})");
$roster->set(smtp_url => $smtp->url);
$roster->sql('SELECT roster_run_due()');
$roster->wait_for("SELECT count(*) = 1 FROM outbox WHERE state = 'sent'");

# As another implementation of MIME reads it
my ($mail) = $smtp->mails;
my $read = '';
my $reader = <<'PYTHON';
import email, email.policy, html.parser, json, sys

class Tags(html.parser.HTMLParser):
    """Whether each tag is closed where it should be, and which tags and attributes there are."""
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.names, self.attributes = [], [], set(), set()
    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "br"):
            self.open.append(tag)
    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

mail = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
parts = [p for p in mail.walk() if not p.is_multipart()]
tags = Tags()
tags.feed(parts[1].get_content())
print(json.dumps({"type": mail.get_content_type(), "parts": [p.get_content_type() for p in mail.iter_parts()],
    "charsets": [p.get_content_charset() for p in parts], "encodings": [p["content-transfer-encoding"] for p in parts],
    "subject": mail["subject"], "text": parts[0].get_content(), "html": parts[1].get_content(),
    "wrong": tags.wrong + tags.open, "tags": sorted(tags.names), "attributes": sorted(tags.attributes)}))
PYTHON
IPC::Run::run([ '/usr/bin/python3', '-c', $reader ], '<', \$mail->{raw}, '>', \$read)
  or die 'could not read the mail';
my $seen = JSON::PP->new->decode($read);
is($seen->{type}, 'multipart/alternative', 'the whole mail is two forms of one text');
is("@{ $seen->{parts} }", 'text/plain text/html', '... text first, HTML last, and no part around or beside them');
is("@{ $seen->{charsets} } @{ $seen->{encodings} }", 'utf-8 utf-8 quoted-printable quoted-printable',
	'... in UTF-8, fit for every mail server');
unlike($mail->{raw}, qr/(?<!\r)\n|\r(?!\n)/, '... each line ends with CRLF');
unlike($mail->{raw}, qr/=0[AD]/, '... and none is encoded');
cmp_ok(length $mail->{raw}, '<', 100_000, 'a mail with 5,000 conflicts is below 100 kB: ' . length($mail->{raw})
	. ' bytes');
cmp_ok(length $seen->{subject}, '<=', 150, '... its subject below 150 characters');
like($seen->{subject},
	qr/^Mesa High: action needed: 200 archives on hold, 34 updates on hold, 5,000 conflicts, 300 rejected rows/,
	'... with what needs someone');
my $text = $seen->{text} =~ s/\r\n/\n/gr;
ok(index($text, decode('UTF-8', $report)) == 0, 'the text is the whole report');
like($text, qr/and 4,000 more\n/, '... cut where it would not end');
like($text, qr/\n-- \nYou\sget\sthis\smail\sbecause\sowner\@mesa\.example\sis\sa\srecipient\sfor\sMesa\sHigh:/,
	'... and says why the mail came');
is("@{ $seen->{wrong} }", '', 'each tag of the HTML is closed');
is(join(' ', grep { /^(?:img|script|a|link|iframe|form|object|svg)$/ } @{ $seen->{tags} }), '',
	'... none loads, links or runs anything');
is(join(' ', grep { /^(?:src|href|on.*|background)$/ } @{ $seen->{attributes} }), '', '... nor does an attribute');
foreach my $words ($text =~ /^(?:What (?:happened|it means|to do): |- |  - )?(.{20,50}?)(?: .*)?$/mg)
{
	my $escaped = $words =~ s/&/&amp;/gr =~ s/</&lt;/gr =~ s/>/&gt;/gr =~ s/"/&quot;/gr =~ s/'/&#39;/gr;
	next if $words =~ /^[-#\s]|  |^SELECT/;
	index($seen->{html} =~ s/\s+/ /gr, $escaped) >= 0 or fail("the HTML lacks: $words");
}

# The other kinds
$runs{quiet} = run('sync', "evening => '2026-09-02', counts => '{\"unchanged\": 1241}'");
$roster->sql(qq(SELECT count_run($runs{quiet}, '{"student": {"unchanged": 1150}, "teacher": {"unchanged": 91}}')));
$runs{changes} = run('sync',
	"evening => '2026-09-03', counts => '{\"created\": 30, \"updated\": 11, \"archived\": 9, \"unchanged\": 1190}'");
$roster->sql(qq(SELECT count_run($runs{changes}, '{"student": {"create": 28, "update": 11, "archive": 9, "merged": 2},
	"teacher": {"create": 2}}')));
$runs{approval} = run('approve', "counts => '{\"archived\": 204}', of_run => $runs{full}");
$runs{undo} = run('undo', "counts => '{\"restored\": 9, \"updated\": 11, \"archived\": 30}', of_run => $runs{changes}");
$runs{failure} = run('sync',
	"evening => '2026-09-04', state => 'failed', phase => 'fetch', code => '28P01', "
	  . "error => 'the SIS refused the credentials of connection \"mesa-high\"', "
	  . "detail => 'https://campus.mesa.example/oauth2/token?appName=' || repeat('verylong', 10) || ' answered 401.', "
	  . "hint => 'Compare Client ID and Client Secret.'");
$runs{missed} = run('sync', "evening => '2026-09-05', state => 'failed', code => '55000', "
	  . "cause => 'evening_missed', error => 'evening missed'");
$runs{canceled} = run('sync', "evening => '2026-09-06', state => 'canceled', error => 'canceled while running'");
my %pages = map { $_ => page($runs{$_}) } keys %runs;
$roster->sql(encode('UTF-8',
	"UPDATE connections SET school_name = 'ישיבה תיכונית ' || repeat('verylong', 40), "
	  . "credentials_expire = '2026-09-30', paused_cause = 'run_undone', paused_reason = repeat('x', 200)"));
$pages{odd} = page($runs{full});
$pages{unstyled} = $pages{odd} =~ s{<style>.*</style>}{}sr;

# What the documents show
$roster->sql("UPDATE connections SET school_name = 'Mesa High', credentials_expire = NULL, paused_cause = NULL, "
	  . "paused_reason = NULL; "
	  . "DELETE FROM runs WHERE run > 950000013");
$runs{example} = run('sync',
	"evening => '2026-09-01', counts => '{\"created\": 3, \"updated\": 11, \"held\": 204, \"unchanged\": 605}'");
$roster->sql(<<"SQL");
SELECT count_run($runs{example}, '{"student": {"create": 3, "update": 10, "held": 200, "unchanged": 602},
	"teacher": {"update": 1, "held": 4, "unchanged": 3}}');
SELECT change_run($runs{example}, 'archive', 'held', 'student', 200, 'gone',
	'200 of 812 would leave within a week: more than 5, and more than 10 percent.');
SELECT change_run($runs{example}, 'archive', 'held', 'teacher', 4, 'gone',
	'4 of 8 would leave within a week: half or more.');
SQL
my ($shown) = slurp_file("$directory/../docs/operations.md") =~ /A mail of a night[^`]*```text\n(.*?)```/s;
# A mail has a statement on one line, however long; the page folds it.
$shown =~ s/changes\n +WHERE/changes WHERE/;
is($shown =~ s/\s+\z//r, 'Subject: ' . $roster->sql("SELECT report_subject($runs{example})") . "\n\n"
	. $roster->sql("SELECT roster_report($runs{example})") =~ s/$runs{example}/4711/gr =~ s/\s+\z//r,
	'the example in operations.md is what is mailed');

SKIP:
{
	my @names = qw(chromium chromium-browser google-chrome);
	my ($browser) = grep { -x } map { my $d = $_; map { "$d/$_" } @names } split /:/, $ENV{PATH};
	skip 'there is no Chromium to render the mail with', 1 unless $browser;

	foreach my $scheme (qw(light dark))
	{
		my $found = rendered($browser, $scheme, \%pages);
		foreach my $name (grep { $_ ne 'unstyled' || $scheme eq 'light' } sort keys %pages)
		{
			foreach my $width (@widths)
			{
				my $seen = $found->{"$name-$width"};
				cmp_ok($seen->{width}, '<=', $width, "$name, $scheme: fits into $width pixels");
				is(join(', ', @{ $seen->{outside} }), '', '... no element sticks out');
				is(join(', ', @{ $seen->{pale} }), '', '... all text stands out from what is behind it');
				is($seen->{dark}, $scheme eq 'dark' ? 1 : 0, '... it is light or dark as it should be');
				is($seen->{bars}, 14, '... with a bar for each evening');
			}
		}
	}
}

$roster->stop;
$smtp->stop;
done_testing();

# A run made by the fixture; its number.
sub run
{
	my ($kind, $arguments) = @_;
	return $roster->sql("SELECT make_run((SELECT max(run) + 1 FROM runs), '$kind', $arguments)");
}

sub page
{
	my ($run) = @_;
	return decode('UTF-8', $roster->sql("SELECT roster_report_html($run)"));
}

# What a browser makes of pages in windows of each width, by "name-width": the width that the page takes, elements
# outside of the window, text with too little contrast, whether the page is dark, and how many bars it shows.
sub rendered
{
	my ($browser, $scheme, $pages) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($frames, $out, $err) = ('', '', '');

	foreach my $name (sort keys %$pages)
	{
		my $page = $pages->{$name} =~ s/&/&amp;/gr =~ s/"/&quot;/gr;
		$frames .= qq(<iframe id="$name-$_" style="border:0;width:${_}px;height:2000px" srcdoc="$page"></iframe>\n)
		  foreach @widths;
	}
	open(my $file, '>:utf8', "$dir/frames.html") or die "could not write $dir/frames.html: $!";
	print $file <<"HTML";
<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
<body><pre id="found"></pre>
$frames
<script>
function channels(color) { return color.match(/[0-9.]+/g).map(Number); }
function luminance(color) {
	const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
	const [r, g, b] = channels(color).map(c => linear(c / 255));
	return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function behind(view, element) {
	for (; element; element = element.parentElement) {
		const color = view.getComputedStyle(element).backgroundColor;
		if (channels(color)[3] !== 0) { return color; }
	}
	return 'rgb(255, 255, 255)';
}
function look(frame) {
	const view = frame.contentWindow, mail = frame.contentDocument;
	const found = { width: mail.scrollingElement.scrollWidth, outside: [], pale: [] };
	for (const element of mail.body.querySelectorAll('*')) {
		const name = element.tagName + ' ' + element.textContent.trim().slice(0, 20);
		const is_wide = element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1;
		const has_text = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim() !== '');
		if (element.getBoundingClientRect().right > view.innerWidth || is_wide) { found.outside.push(name); }
		if (has_text && !/^bar-/.test(element.className)) {
			const a = luminance(view.getComputedStyle(element).color), b = luminance(behind(view, element));
			if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5) { found.pale.push(name); }
		}
	}
	found.bars = mail.querySelectorAll('td[aria-label]').length;
	found.dark = luminance(behind(view, mail.querySelector('.sheet'))) < 0.2 ? 1 : 0;
	return found;
}
window.onload = () => {
	const found = {};
	for (const frame of document.querySelectorAll('iframe')) { found[frame.id] = look(frame); }
	document.getElementById('found').textContent = JSON.stringify(found);
};
</script></body></html>
HTML
	close($file);
	IPC::Run::run([ $browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
			'--no-first-run', "--user-data-dir=$dir/profile",
			'--blink-settings=preferredColorScheme=' . ($scheme eq 'dark' ? 0 : 1),
			'--virtual-time-budget=5000', '--dump-dom', "file://$dir/frames.html" ],
		'>', \$out, '2>', \$err, IPC::Run::timeout(180))
	  or die "the browser failed: $err";
	my ($found) = $out =~ m{<pre id="found">(.+?)</pre>}s or die "the browser found nothing: $err";
	return JSON::PP->new->decode($found =~ s/&lt;/</gr =~ s/&gt;/>/gr =~ s/&amp;/&/gr);
}
