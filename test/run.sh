#!/bin/bash
# Runs the tests on a copy of this checkout and on a cluster of its own.
#
#   test/run.sh                      everything
#   test/run.sh regress [name …]     pg_regress tests (test/sql)
#   test/run.sh isolation [name …]   isolation specs (test/specs)
#   test/run.sh tap [file …]         TAP tests (test/t)
#   test/run.sh smoke                a few of each: whether it builds, syncs and reports
#   test/run.sh packages             no tests; installs what is missing
#
# As root it installs what is missing (Debian packages) and runs servers as user postgres; as another user it takes
# the machine as it is. PG_CONFIG chooses the PostgreSQL.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
require_packages "${postgresql_packages[@]}" libcurl4-openssl-dev libssl-dev \
	libipc-run-perl python3-aiosmtpd python3-oauthlib python3-psycopg2 codespell openssl curl make gcc git nginx-light \
	prometheus-sql-exporter
# Debian 13 has the old names of time zones (EST, MST7MDT, US/Mountain) in a package of their own.
[ -e /usr/share/zoneinfo/MST7MDT ] || require_packages tzdata-legacy

what=${1:-all}
[ $# -eq 0 ] || shift
[ "$what" != packages ] || exit 0

work=$(mktemp -d /tmp/minga_roster_test.XXXXXX)
cleanup() {
	status=$?
	[ ! -f "$work/data/postmaster.pid" ] || as_postgres "$bindir/pg_ctl" -D "$work/data" -m immediate -w stop \
		>/dev/null || true
	if [ $status -eq 0 ]; then rm -rf "$work"; else echo "The test's files are left in $work"; fi
	exit $status
}
trap cleanup EXIT

copy_checkout "$work/src"
# Without bitcode, which takes as long again: these servers have jit = off.
make -s -C "$work/src" PG_CONFIG="$pg_config" WERROR=1 with_llvm=no all
make -s -C "$work/src" PG_CONFIG="$pg_config" with_llvm=no install
give_to_postgres "$work"
# Key files of root's, of each of these modes, for test/t/031_secret.pl.
if [ "$(id -u)" -eq 0 ]; then
	export KEYS_OF_ROOT=$work/keys_of_root
	mkdir "$KEYS_OF_ROOT"
	for mode in 0640 0644 0660; do
		install -g postgres -m "$mode" <(openssl rand -hex 32) "$KEYS_OF_ROOT/$mode"
	done
fi

make_cluster "$work/data" "$work"
start_cluster "$work/data"

installcheck() {
	as_postgres env PGHOST="$work" PGPORT=5432 PGUSER=postgres make -s -C "$work/src" PG_CONFIG="$pg_config" \
		installcheck "$@" </dev/null
}

case $what in
	all) installcheck ;;
	regress) installcheck ISOLATION= TAP_TESTS= ${1:+REGRESS="setup $* teardown"} ;;
	isolation) installcheck REGRESS= TAP_TESTS= ${1:+ISOLATION="$*"} ;;
	tap) installcheck REGRESS= ISOLATION= ${1:+PROVE_TESTS="$*"} ;;
	smoke)
		set -- connecting attach_people toggle apply_preview approve guard_limits undo_run reports outbox
		installcheck REGRESS="setup $* teardown" ISOLATION=queue \
			PROVE_TESTS='test/t/020_fetch.pl test/t/065_database_settings.pl'
		;;
	*) echo "usage: test/run.sh [regress|isolation|tap [name …]|smoke|packages]" >&2; exit 2 ;;
esac
