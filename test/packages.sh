#!/bin/bash
# Makes the archive and the Debian packages, and tries them in fresh systems made by debootstrap. Needs root and
# Debian's mirror, and takes some ten minutes for each.
#
#   test/packages.sh [SUITE …]        for each suite of Debian (default: bookworm; its default version of PostgreSQL):
#                                     builds the packages in one fresh system, runs lintian, installs them in another,
#                                     walks through the set-up guide there (test/demo.sh), removes them from a server
#                                     in use and installs them again, purges them, and looks for what stays
#   test/packages.sh docker [SUITE]   carries out the steps of the Dockerfile on a fresh system with PostgreSQL, which
#                                     stands for the official image, and starts what comes out as its entrypoint would
#
# PACKAGES_KEEP=DIRECTORY keeps the archive, the packages and the logs there.
set -euo pipefail

# Mounts and processes of the fresh systems are this script's alone, and end with it.
if [ -z "${MINGA_ROSTER_PACKAGES:-}" ]; then
	[ "$(id -u)" -eq 0 ] || { echo "test/packages.sh: needs root, for debootstrap" >&2; exit 1; }
	export MINGA_ROSTER_PACKAGES=1
	exec unshare --mount --pid --fork --kill-child --mount-proc -- "$0" "$@"
fi

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/test/environment.sh"
require_packages debootstrap git python3
export DEBIAN_FRONTEND=noninteractive
version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$top/minga_roster.control")

work=$(mktemp -d /var/tmp/minga_roster_packages.XXXXXX)
cleanup() {
	status=$?
	cd /
	umount -R -l "$work"/*/root 2>/dev/null || true
	if [ $status -eq 0 ]; then rm -rf --one-file-system "$work"; else echo "The files are left in $work"; fi
	exit $status
}
trap cleanup EXIT
# The first process of its namespace ends by a signal only if it handles it.
trap 'exit 1' INT TERM

# What lintian says of a project without an address for mail and a package that Debian has not.
no_address=bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs

say() { printf '\n== %s\n' "$*"; }

# base SUITE: a minimal Debian in $work/base-SUITE, made once.
base() {
	[ ! -d "$work/base-$1" ] || return 0
	say "Debian $1"
	debootstrap --variant=minbase --include=ca-certificates "$1" "$work/base-$1" > "$work/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$work/debootstrap.log" >&2; return 1; }
	# No package starts a service or makes a cluster.
	printf '#!/bin/sh\nexit 101\n' > "$work/base-$1/usr/sbin/policy-rc.d"
	chmod +x "$work/base-$1/usr/sbin/policy-rc.d"
	# What is thrown away need not reach the disk.
	echo force-unsafe-io > "$work/base-$1/etc/dpkg/dpkg.cfg.d/unsafe-io"
	# The mirror may be a snapshot of an earlier day.
	echo 'Acquire::Check-Valid-Until "false";' > "$work/base-$1/etc/apt/apt.conf.d/snapshot"
	mkdir -p "$work/base-$1/etc/postgresql-common"
	echo 'create_main_cluster = false' > "$work/base-$1/etc/postgresql-common/createcluster.conf"
}

# system NAME LOWER: a system of its own in $work/NAME/root over another.
system() {
	mkdir -p "$work/$1"/{upper,work,root}
	mount -t overlay overlay -o "lowerdir=$2,upperdir=$work/$1/upper,workdir=$work/$1/work" "$work/$1/root"
	mount -t proc proc "$work/$1/root/proc"
	mkdir -p "$work/$1/root/dev/shm"
	mount -t tmpfs -o mode=1777 tmpfs "$work/$1/root/dev/shm"
}

# inside NAME COMMAND …
inside() {
	local name=$1
	shift
	chroot "$work/$name/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive "$@"
}

# install NAME PACKAGE …: with what they recommend left out.
install_packages() {
	local name=$1
	shift
	inside "$name" apt-get update -qq
	inside "$name" apt-get install -y -qq --no-install-recommends "$@" >> "$work/apt.log" 2>&1 ||
		{ tail -n 20 "$work/apt.log" >&2; return 1; }
}

archive() {
	say "The archive"
	git -c safe.directory="$top" clone -q "$top" "$work/checkout"
	(cd "$work/checkout" && tools/dist.sh)
	/usr/bin/python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
		"$work/checkout/minga_roster-$version.zip" "$work/unpacked"
	source="$work/unpacked/minga_roster-$version"
	# zipfile leaves out what may be executed.
	(cd "$work/checkout" && git ls-files -s | sed -n 's/^100755 [^\t]*\t//p') |
		while read -r file; do [ ! -f "$source/$file" ] || chmod +x "$source/$file"; done
}

# try_removal SYSTEM: from a cluster in use. The server starts without the package, people can be read, and the
# extension's functions refuse; with it again, all is as before. The server also starts after DROP EXTENSION, with the
# settings still there.
try_removal() {
	local system=$1 package pg major
	query() { inside "$system" runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d school "$@"; }
	expect() {
		local answer
		answer=$(query -c "$1" 2>&1) || true
		[[ $answer =~ $2 ]] || { echo "$1: got $answer" >&2; return 1; }
	}
	for package in "$work/$system/root/debs"/*.deb; do
		pg=$(basename "$package" | cut -d _ -f 1)
		major=${pg#postgresql-}
		major=${major%%-*}
		say "$pg: remove from a server in use, and install again"
		inside "$system" sh -ec "
			runuser -u postgres -- sh -c 'umask 077; openssl rand -hex 32 > /etc/postgresql/minga_roster.key'
			pg_createcluster $major main > /dev/null
			pg_conftool $major main set shared_preload_libraries pg_cron
			pg_conftool $major main set cron.database_name school
			pg_conftool $major main set minga_roster.key_file /etc/postgresql/minga_roster.key
			pg_ctlcluster $major main start
			runuser -u postgres -- createdb -T template0 -E UTF8 school"
		query > /dev/null <<-'SQL'
			CREATE EXTENSION pg_cron;
			CREATE EXTENSION minga_roster;
			CREATE ROLE people_owner NOLOGIN;
			SET client_min_messages = warning;
			SELECT minga_roster.roster_create_people('public.people', owner => 'people_owner');
			INSERT INTO people (site, role, given_name, family_name) VALUES ('mesa', 'student', 'Ana', 'Doe');
			SELECT minga_roster.roster_set_secret('smtp', 'mail password');
		SQL
		inside "$system" apt-get remove -y -qq "$pg" >> "$work/apt.log" 2>&1
		inside "$system" pg_ctlcluster "$major" main restart
		expect "SELECT family_name FROM people" '^Doe$'
		expect "SELECT minga_roster.roster_run_due()" 'could not access file .*minga_roster'
		inside "$system" sh -ec "apt-get install -y -qq /debs/$(basename "$package")" >> "$work/apt.log" 2>&1
		inside "$system" pg_ctlcluster "$major" main restart
		expect "SELECT minga_roster.roster_rotate_key()" '^0$'
		expect "SELECT string_agg(ok::text, ' ') FROM minga_roster.roster_health()
			WHERE \"check\" IN ('key_file', 'secrets')" '^true true$'
		expect "DROP EXTENSION minga_roster; SELECT family_name FROM people" '^Doe$'
		inside "$system" apt-get remove -y -qq "$pg" >> "$work/apt.log" 2>&1
		inside "$system" pg_ctlcluster "$major" main restart
		expect "SELECT family_name FROM people" '^Doe$'
		inside "$system" sh -ec "pg_dropcluster --stop $major main; rm /etc/postgresql/minga_roster.key"
		inside "$system" sh -ec "apt-get install -y -qq /debs/$(basename "$package")" >> "$work/apt.log" 2>&1
	done
}

# try_suite SUITE
try_suite() {
	local suite=$1 package pg
	base "$suite"

	say "Debian $suite: build"
	system "build-$suite" "$work/base-$suite"
	install_packages "build-$suite" build-essential debhelper fakeroot postgresql-server-dev-all libcurl4-openssl-dev \
		libssl-dev lintian
	inside "build-$suite" useradd -m builder
	cp -a "$source" "$work/build-$suite/root/home/builder/minga-roster-$version"
	inside "build-$suite" chown -R builder: /home/builder
	inside "build-$suite" runuser -u builder -- sh -ec "
		cd /home/builder/minga-roster-$version
		pg_buildext updatecontrol
		dpkg-buildpackage -b -us -uc -j$(nproc) > ../build.log 2>&1 || { tail -n 40 ../build.log; exit 1; }
		lintian --fail-on error,warning --display-info --tag-display-limit 0 --suppress-tags $no_address ../*.changes"
	mkdir -p "$work/debs-$suite"
	cp "$work/build-$suite/root/home/builder"/*.deb "$work/build-$suite/root/home/builder/build.log" \
		"$work/debs-$suite/"

	say "Debian $suite: install and walk through the set-up guide"
	system "install-$suite" "$work/base-$suite"
	mkdir "$work/install-$suite/root/debs"
	cp "$work/debs-$suite"/postgresql-*-minga-roster_*.deb "$work/install-$suite/root/debs/"
	cp -a "$source" "$work/install-$suite/root/root/source"
	inside "install-$suite" apt-get update -qq
	inside "install-$suite" sh -ec 'apt-get install -y -qq /debs/*.deb' >> "$work/apt.log" 2>&1 ||
		{ tail -n 20 "$work/apt.log" >&2; return 1; }
	inside "install-$suite" dpkg-query -W 'postgresql-*' ca-certificates | grep -v '\s$'
	install_packages "install-$suite" python3-aiosmtpd python3-oauthlib openssl curl procps
	inside "install-$suite" sh -ec 'cd /root/source && debian/tests/demo' > "$work/demo-$suite.log" 2>&1 ||
		{ tail -n 40 "$work/demo-$suite.log" >&2; return 1; }
	grep -c '^as expected' "$work/demo-$suite.log" | sed 's/$/ times as expected/'

	try_removal "install-$suite"

	say "Debian $suite: purge"
	for package in "$work/install-$suite/root/debs"/*.deb; do
		pg=$(basename "$package" | cut -d _ -f 1)
		inside "install-$suite" dpkg -L "$pg" > "$work/files-$pg-$suite"
		inside "install-$suite" apt-get purge -y -qq "$pg" >> "$work/apt.log" 2>&1
	done
	rm -r "$work/install-$suite/root/root/source" "$work/install-$suite/root/debs"
	if find "$work/install-$suite/root" -xdev -path '*/proc' -prune -o -path '*/var/lib/apt/lists' -prune -o \
		-path '*/var/cache' -prune -o -name '*minga?roster*' -print | grep .
	then
		echo "files stay after the package was removed" >&2
		return 1
	fi
	echo "nothing stays"
}

# try_dockerfile SUITE
try_dockerfile() {
	local suite=$1 major root
	base "$suite"
	system image "$work/base-$suite"
	install_packages image postgresql
	major=$(basename "$work/image/root/usr/lib/postgresql"/*)
	say "PostgreSQL $major: the steps of the Dockerfile"
	"$top/test/run_dockerfile.py" "$source" "$work/image/root" "$work" "$major" > "$work/docker.out" \
		2> "$work/docker.log" ||
		{ tail -n 20 "$work/docker.log" >&2; return 1; }
	root=$(cat "$work/docker.out")

	say "PostgreSQL $major: start"
	system container "$root"
	root=$work/container/root
	install -D -m 0640 <(openssl rand -hex 32) "$root/run/secrets/minga_roster.key"
	inside container sh -ec "chown root:postgres /run/secrets/minga_roster.key
		install -d -o postgres /var/lib/postgresql/data /var/run/postgresql"
	inside container runuser -u postgres -- bash -ec "
		export PATH=/usr/lib/postgresql/$major/bin:\$PATH PGDATA=/var/lib/postgresql/data POSTGRES_USER=postgres
		export POSTGRES_DB=school
		cd
		initdb --username=postgres --encoding=UTF8 --auth=trust > initdb.log
		pg_ctl -l first.log -o \"-c listen_addresses=''\" -w start > /dev/null
		createdb school
		/docker-entrypoint-initdb.d/50-minga-roster.sh > init.log
		pg_ctl -m fast -w stop > /dev/null
		pg_ctl -l server.log -w start > /dev/null
		psql -X -v ON_ERROR_STOP=1 school -c 'SELECT extname, extversion FROM pg_extension ORDER BY 1' \\
			-c \"SELECT minga_roster.roster_set_secret('smtp', 'mail password')\"
		pg_ctl -m fast -w stop > /dev/null"
}

# Only the archive is made once.
archive
if [ "${1:-}" = docker ]; then
	try_dockerfile "${2:-bookworm}"
else
	for suite in "${@:-bookworm}"; do try_suite "$suite"; done
fi
if [ -n "${PACKAGES_KEEP:-}" ]; then
	mkdir -p "$PACKAGES_KEEP"
	cp -r "$work/checkout/minga_roster-$version.zip" "$work"/debs-* "$work"/*.log "$PACKAGES_KEEP/" 2>/dev/null || true
fi
say "Everything was as expected"
