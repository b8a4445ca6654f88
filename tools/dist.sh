#!/bin/bash
# Makes the archive of a release for PGXN, minga_roster-VERSION.zip: what is committed, without the files of CI.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" minga_roster.control)
changes=$(git status --short)
[ -z "$changes" ] || { printf 'make dist: commit the changes first\n%s\n' "$changes" >&2; exit 1; }
test/check_meta.py
git archive --format=zip --prefix="minga_roster-$version/" -o "minga_roster-$version.zip" HEAD
echo "minga_roster-$version.zip"
