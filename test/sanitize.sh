#!/bin/bash
# Runs tests with the library built for gcc's undefined-behaviour sanitizer: test/sanitize.sh [what test/run.sh takes].
# Memory is test/fuzz's to look after: Debian's server does not start under an address sanitizer.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
reports=$(mktemp -d /tmp/minga_roster_reports.XXXXXX)
chmod 1777 "$reports"

status=0
COPT='-fsanitize=undefined -fno-omit-frame-pointer -Wno-error' UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/report \
	"$top/test/run.sh" "$@" || status=$?
if [ -n "$(ls -A "$reports")" ]; then
	cat "$reports"/*
	echo "What the sanitizer found is left in $reports" >&2
	exit 1
fi
rmdir "$reports"
exit $status
