#!/usr/bin/python3
"""Measures evenings of many small schools: first loads, unchanged evenings, a minute with nothing due, roster_status.

All schools ask the same static pages and have their people in one relation. Prints a line for each figure, NAME VALUE.
Times are CPU time: of the extension's workers, read from /proc while they work, or of the session that asks.
"""

import argparse
import os
import sys
import threading
import time

import psycopg2

TICK = os.sysconf("SC_CLK_TCK")
LONGEST = 3600  # seconds for an evening
SESSION_CPU = "split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::numeric / 1000000"


class Workers(threading.Thread):
    """The CPU time and the largest private memory of the extension's workers, by process, while it runs."""

    def __init__(self, postmaster):
        super().__init__(daemon=True)
        self.postmaster, self.cpu, self.memory, self.going = postmaster, {}, {}, True

    def sample(self):
        with open(f"/proc/{self.postmaster}/task/{self.postmaster}/children", encoding="ascii") as f:
            children = f.read().split()
        for pid in children:
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                    if "minga_roster" not in f.read():
                        continue
                with open(f"/proc/{pid}/schedstat", encoding="utf-8") as f:
                    self.cpu[pid] = int(f.read().split()[0]) / 1e6
                with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                    private = next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
            except (OSError, StopIteration, IndexError):
                continue
            self.memory[pid] = max(private, self.memory.get(pid, 0))

    def run(self):
        while self.going:
            self.sample()
            time.sleep(0.005)

    def stop(self):
        self.going = False
        self.join()
        return sum(self.cpu.values()), max(self.memory.values(), default=0)


class Bench:
    """The schools that are connected, and what is done with them."""

    def __init__(self, args):
        self.args = args
        self.connection = psycopg2.connect(args.database)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.statements = 0
        self.schools = 0
        self.sql("SET search_path = public, minga_roster, minga_roster_internal")
        self.sql("SET jit = off")
        with open(os.path.join(self.value("SHOW data_directory"), "postmaster.pid"), encoding="ascii") as f:
            self.postmaster = int(f.readline())

    def sql(self, statement, *values):
        self.statements += 1
        self.cursor.execute(statement, values or None)

    def value(self, statement, *values):
        self.sql(statement, *values)
        return self.cursor.fetchone()[0]

    def connect_schools(self, count):
        known = self.schools
        while self.schools < count:
            self.schools += 1
            name = f"school{self.schools}"
            self.sql("""SELECT FROM roster_connect(%s, url => %s, client_id => 'i', client_secret => 's',
                school_id => %s, people => 'public.people', time_zone => 'America/Denver')""",
                name, self.args.url[self.schools % len(self.args.url)], self.args.school_id)
            self.sql("SELECT FROM roster_configure(%s, sync_at => '00:00', window_end => '23:59', classes => %s)", name,
                self.args.classes)
        # At a site without people the guard would hold all who come.
        self.sql("""INSERT INTO people (site, role, given_name, family_name)
            SELECT 'school' || n, 'administrator', 'Local', 'Account'
            FROM generate_series(%s, %s) n""", known + 1, count)

    def figures(self):
        """What the server has counted so far: commits of others, KB of WAL, KB of the catalog."""
        self.sql("SELECT pg_stat_force_next_flush()")
        self.sql("SELECT pg_stat_clear_snapshot()")
        self.sql("""SELECT (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
            (pg_current_wal_insert_lsn() - '0/0') / 1024,
            (SELECT sum(pg_table_size(oid)) / 1024 FROM pg_class
                WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r')""")
        commits, wal, catalog = self.cursor.fetchone()
        return [float(commits) - self.statements, float(wal), float(catalog)]

    def wait_for_workers(self):
        until = time.monotonic() + LONGEST
        while self.value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'minga_roster'") > 0:
            if time.monotonic() > until:
                sys.exit("the workers do not end")
            time.sleep(0.05)

    def evening(self, known, schools):
        """An evening of the schools from known + 1 to schools; what each of them cost."""
        count = schools - known
        self.sql("""INSERT INTO runs (connection, site, kind, trigger, state, requested_by, queued_at)
            SELECT c.connection, c.site, 'sync', 'manual', 'queued', current_user, now() FROM connections c
            WHERE c.number BETWEEN %s AND %s ORDER BY c.number""", known + 1, schools)
        first = self.value("SELECT min(run) FROM runs WHERE state = 'queued'")
        before = self.figures()
        workers = Workers(self.postmaster)
        workers.start()
        for _ in range(self.args.workers):
            self.sql("SELECT roster_run_due()")
            time.sleep(0.1)
        self.wait_for_workers()
        cpu, memory = workers.stop()
        after = self.figures()
        self.sql("SELECT state, error, count(*) FROM runs WHERE run >= %s GROUP BY 1, 2", first)
        states = self.cursor.fetchall()
        if states != [("succeeded", None, count)]:
            sys.exit(f"the runs of {count} schools: {states}")
        commits, wal, _ = [a - b for a, b in zip(after, before)]
        return {"cpu_ms": cpu / count, "commits": commits / count, "wal_kb": wal / count, "memory_kb": memory,
            "catalog_kb": after[2]}

    def tell(self, name, figures):
        for what, figure in figures.items():
            print(f"{name}_{what} {figure:.2f}", flush=True)

    def minute(self):
        """The CPU time of a minute's worker with nothing due: the least of some."""
        least = None
        for _ in range(self.args.rounds):
            workers = Workers(self.postmaster)
            workers.start()
            self.sql("SELECT roster_run_due()")
            time.sleep(0.2)
            self.wait_for_workers()
            cpu = workers.stop()[0]
            least = cpu if least is None else min(least, cpu)
        return least

    def timed(self, statement):
        """The CPU time of this session for the statement: the least of some."""
        times = []
        for _ in range(self.args.rounds + 1):
            before = self.value(f"SELECT {SESSION_CPU}")
            self.sql(statement)
            self.cursor.fetchall()
            times.append(self.value(f"SELECT {SESSION_CPU}") - before)
        return float(min(times))

    def look(self):
        """What a minute costs with nothing due, and what roster_status (of all, of one, and for the owner of one site),
        roster_health and roster_metrics cost."""
        self.tell("due", {"cpu_ms": self.minute()})
        one = f"SELECT * FROM roster_status WHERE connection = 'school{self.schools}'"
        self.tell("status", {"all_ms": self.timed("SELECT * FROM roster_status"), "one_ms": self.timed(one)})
        self.tell("health", {"ms": self.timed("SELECT * FROM roster_health()")})
        self.tell("metrics", {"ms": self.timed("SELECT * FROM roster_metrics")})
        # Only a superuser may read how much CPU time the session has had.
        self.sql("CREATE ROLE school_owner; GRANT pg_read_server_files, pg_monitor TO school_owner")
        self.sql("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO school_owner")
        self.sql("SELECT FROM roster_grant('school_owner', 'owner', site => %s)", f"school{self.schools}")
        self.sql("SET ROLE school_owner")
        self.tell("status", {"owner_ms": self.timed("SELECT * FROM roster_status")})
        self.sql("RESET ROLE")

    def remember(self, days):
        """Runs of so many earlier evenings of each connection."""
        self.sql("""INSERT INTO runs (run, connection, site, kind, trigger, evening, state, is_full, requested_by,
                queued_at, started_at, finished_at, reported, pages, rows_staged)
            OVERRIDING SYSTEM VALUE
            SELECT d.day * 10000 + c.number - 100000000, c.connection, c.site, 'sync', 'evening',
                current_date - %s - 1 + d.day, 'succeeded', true, current_user, t.t, t.t, t.t, true, 4, 300
            FROM generate_series(1, %s) AS d (day) CROSS JOIN connections c
            CROSS JOIN LATERAL (SELECT now() - make_interval(days => %s + 1 - d.day) AS t) t
            ORDER BY d.day, c.number""", days, days, days)
        self.sql("VACUUM ANALYZE runs")

    def turn_on(self):
        """Automatic Rostering, in an evening that has had its runs."""
        self.sql("UPDATE connections SET automatic = true, enabled_origin = server_origin(), enabled_at = now()")
        self.sql("""INSERT INTO runs (connection, site, kind, trigger, evening, state, is_full, requested_by, queued_at,
                finished_at, reported)
            SELECT c.connection, c.site, 'sync', 'evening', e.evening, 'succeeded', true, current_user, now(), now(),
                true
            FROM evenings() e JOIN connections c USING (connection)
            ON CONFLICT DO NOTHING""")
        self.sql("VACUUM ANALYZE connections")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--database", required=True, help="connection string of a superuser")
    parser.add_argument("--url", required=True, nargs="+", help="where the schools ask, by turns")
    parser.add_argument("--school-id", required=True)
    parser.add_argument("--schools", type=int, nargs="+", required=True, help="numbers of schools, rising")
    parser.add_argument("--nights", type=int, required=True, help="further evenings of the last number")
    parser.add_argument("--days", type=int, default=400, help="days that are on record")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--classes", action="store_true", help="the schools roster classes too")
    parser.add_argument("--evenings-only", action="store_true", help="measure nothing else")
    args = parser.parse_args()
    bench = Bench(args)
    for count in args.schools:
        known = bench.schools
        bench.connect_schools(count)
        bench.tell(f"first_{count}", bench.evening(known, count))
        bench.tell(f"unchanged_{count}", bench.evening(0, count))
    bench.sql("ALTER SYSTEM SET autovacuum = on")
    bench.sql("SELECT pg_reload_conf()")
    for night in range(args.nights):
        bench.tell(f"night_{night + 1}", bench.evening(0, bench.schools))
    if args.evenings_only:
        return
    bench.remember(args.days)
    bench.turn_on()
    bench.look()


main()
