#!/bin/bash
# Runs tests in a server under gcc's address and undefined-behavior sanitizers: test/sanitize.sh [what test/run.sh
# takes]. The library is built for both and installed in a copy of PostgreSQL, whose server starts with the sanitizers'
# runtime. A palloc is no malloc of its own there: what is read past the end of one is test/fuzz's to find. Tests that
# measure memory (023, 026, some of 032 to 037) fail under it, because its memory is larger.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
require_packages "${postgresql_packages[@]}" binutils make gcc

work=$(mktemp -d /tmp/minga_roster_sanitize.XXXXXX)
chmod 755 "$work"
mkdir -m 1777 "$work/reports"
status=1
cleanup() {
	trap '' INT TERM
	if [ -z "$(ls -A "$work/reports")" ]; then rm -rf "$work"; else rm -rf "$work/postgresql"; fi
	exit $status
}
trap cleanup EXIT

# A PostgreSQL finds its files by where its programs are.
for part in bindir pkglibdir sharedir includedir includedir-server; do
	directory=$("$pg_config" --$part)
	mkdir -p "$work/postgresql$directory"
	cp -a "$directory/." "$work/postgresql$directory"
done
bin=$work/postgresql$bindir

# With the runtime loaded, Debian's server waits forever for a lock of gettext's when it names its first catalog of
# messages: here it has none.
cat > "$work/no_gettext.c" <<-'C'
	typedef const char *text;

	text gettext(text message) { return message; }
	text dgettext(text domain, text message) { return message; }
	text dcgettext(text domain, text message, int category) { return message; }
	text ngettext(text one, text many, unsigned long n) { return n == 1 ? one : many; }
	text dngettext(text domain, text one, text many, unsigned long n) { return n == 1 ? one : many; }
	text dcngettext(text domain, text one, text many, unsigned long n, int category) { return n == 1 ? one : many; }
	text textdomain(text domain) { return domain; }
	text bindtextdomain(text domain, text directory) { return directory; }
	text bind_textdomain_codeset(text domain, text codeset) { return codeset; }
C
gcc -shared -fPIC -fno-builtin -o "$work/no_gettext.so" "$work/no_gettext.c"

mv "$bin/postgres" "$bin/postgres.plain"
cat > "$bin/postgres" <<-SH
	#!/bin/bash
	export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:quarantine_size_mb=32:log_path=$work/reports/address
	export UBSAN_OPTIONS=print_stacktrace=1:log_path=$work/reports/undefined
	export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so) $work/no_gettext.so"
	exec -a "\$0" "$bin/postgres.plain" "\$@"
SH
chmod 755 "$bin/postgres"

tests=0
COPT='-fsanitize=address,undefined -fno-omit-frame-pointer -Wno-error' PG_CONFIG="$bin/pg_config" \
	"$top/test/run.sh" "$@" || tests=$?

library=$("$bin/pg_config" --pkglibdir)/minga_roster.so
reports=$(find "$work/reports" -type f | wc -l)
if [ "$reports" -gt 0 ]; then
	cat "$work/reports"/*
	echo "test/sanitize.sh: $reports processes wrote what the sanitizers found; it is left in $work/reports" >&2
elif [ "$(readelf -d "$library" | grep -cE 'NEEDED.*lib(asan|ubsan)')" -ne 2 ]; then
	echo "test/sanitize.sh: the library was not built for the sanitizers" >&2
elif [ $tests -ne 0 ]; then
	status=$tests
	echo "test/sanitize.sh: the sanitizers found nothing, but tests failed" >&2
else
	status=0
	echo "test/sanitize.sh: the tests passed, and the sanitizers found nothing"
fi
