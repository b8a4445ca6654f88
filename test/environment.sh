# Sourced by the test, demo and bench scripts: packages, the copy that user postgres can read, and throw-away clusters.
# Expects $top, the checkout.

# The same locale and umask on every machine: a locale that is unset, or set and not generated, stops initdb and the
# test servers.
export LC_ALL=C.UTF-8
unset LANG LANGUAGE
umask 022
# As root the tools are those of Debian's packages, whatever this machine names first, and read what they come with.
if [ "$(id -u)" -eq 0 ]; then
	export PATH=/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
	unset PYTHONPATH PYTHONHOME PERL5LIB PERL5OPT
fi

pg_config=${PG_CONFIG:-/usr/lib/postgresql/15/bin/pg_config}
# The packages of the version that is in its path.
major=15
[[ ! $pg_config =~ /postgresql/([0-9]+)/bin/pg_config$ ]] || major=${BASH_REMATCH[1]}
postgresql_packages=("postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-cron")

require_packages() {
	[ "$(id -u)" -eq 0 ] || return 0
	local missing=()
	local package
	for package in "$@"; do
		dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		echo "Installing ${missing[*]}"
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq
		(
			if [[ " ${missing[*]} " == *" postgresql-$major "* ]]; then
				# With its first server Debian makes and starts a cluster, which no test needs. The file is as it was
				# afterwards.
				apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
				settings=/etc/postgresql-common/createcluster.conf
				cp -p "$settings" "$settings.before"
				trap 'mv "$settings.before" "$settings"' EXIT
				echo 'create_main_cluster = false' >> "$settings"
			fi
			apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
		)
	fi
	bindir=$("$pg_config" --bindir)
}
[ ! -x "$pg_config" ] || bindir=$("$pg_config" --bindir)

as_postgres() {
	if [ "$(id -u)" -eq 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

give_to_postgres() {
	[ "$(id -u)" -ne 0 ] || chown -R postgres: "$1"
}

# copy_checkout DIRECTORY: the files that git knows or does not ignore; where there is no git, all but those of tests
# that may be running.
copy_checkout() {
	mkdir -p "$1"
	if git -C "$top" rev-parse --git-dir >/dev/null 2>&1; then
		(
			cd "$top"
			git ls-files -z --cached --others --exclude-standard |
				while IFS= read -r -d '' f; do [ ! -e "$f" ] || printf '%s\0' "$f"; done |
				tar -cf - --null -T -
		) | tar -xf - -C "$1"
	else
		tar -C "$top" --exclude=./tmp_check --exclude=./results -cf - . | tar -xf - -C "$1"
	fi
}

# make_cluster DATA SOCKETDIR [PORT]: initdb, and the settings that minga_roster and pg_cron need.
make_cluster() {
	as_postgres "$bindir/initdb" -D "$1" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
	cat >> "$1/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$2'
		port = ${3:-5432}
		shared_preload_libraries = 'pg_cron'
		cron.database_name = 'contrib_regression'
		cron.use_background_workers = on
		max_worker_processes = 16
		fsync = off
		jit = off
		log_line_prefix = '%m [%p] %b '
		minga_roster.allowed_hosts = 'localhost:*, 127.0.0.1:*, [::1]:*'
	CONF
}

start_cluster() {
	as_postgres "$bindir/pg_ctl" -D "$1" -l "$1/log" -w start >/dev/null
}
