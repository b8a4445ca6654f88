#!/usr/bin/python3
"""How much space the former versions of a school year take, of that of a copy of the roster for each day.

Plays school days on a connection whose stage is filled without a SIS: each night some of the users and enrollments
change or move, and twice a term ends and the classes of the next one begin. After the last night compares the size of
all versions, and of the rows that have ended, with a table that has a copy of all rows for each day, both with indexes;
and the rows as of some former days with copies that were kept of these. Prints a line for each figure, NAME VALUE.
"""

import argparse
import datetime
import sys

import psycopg2

TABLES = {"academic_sessions": ("sourced_id",), "courses": ("sourced_id",), "classes": ("sourced_id",),
    "enrollment_rows": ("sourced_id",), "user_rows": ("sourced_id",), "contact_rows": ("student_id", "sourced_id")}
PERIODS, SIZE = 6, 25
FIRST = datetime.date(2025, 8, 18)


class Year:
    """A school and its nights."""

    def __init__(self, args):
        self.args = args
        self.connection = psycopg2.connect(args.database)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        self.sql("SET search_path = public, minga_roster, minga_roster_internal; SET jit = off; "
            "SET simulated.now = '2025-08-18 19:00+00'")
        # The clock is the measurement's own, as long as this database lives.
        self.sql("""CREATE OR REPLACE FUNCTION minga_roster_internal.clock() RETURNS timestamptz LANGUAGE sql STABLE AS
            $$ SELECT current_setting('simulated.now')::timestamptz $$""")
        self.sql("SELECT roster_create_people('public.people', owner => 'people_owner')")
        self.sql("""SELECT roster_connect('year', 'https://sis.example/campus/api/oneroster/v1p1/app', 'i', 's',
            school_id => 'school', people => 'public.people', time_zone => 'UTC')""")
        self.sql("SELECT roster_configure('year', classes => true, contacts => true, guard_percent => 100)")
        self.sql("UPDATE connections SET unproven = false")
        self.sql("SELECT minga_roster_internal.prepare_stage('year')")
        self.day, self.term = FIRST, 0

    def sql(self, statement, *values):
        self.cursor.execute(statement, values or None)

    def value(self, statement, *values):
        self.sql(statement, *values)
        return self.cursor.fetchone()[0]

    def set_clock(self):
        self.sql("SELECT set_config('simulated.now', %s, false)", f"{self.day} 19:00+00")

    def fill_stage(self):
        """A guardian for each student; the terms of the year, of which the first has classes."""
        students = self.args.students
        self.sql("""INSERT INTO staged_users (connection, sourced_id, collection, role, enabled, damaged, given_name,
                family_name, username, identifier, email, phone, grade, agent_ids, outcome)
            SELECT 'year', 's' || n, 'students', 'student', true, false, 'Given ' || n, 'Family ' || n, 'user' || n,
                (900000 + n)::text, 'user' || n || '@mesa.example', NULL, (9 + n %% 4)::text, ARRAY['g' || n],
                'unchanged'
            FROM generate_series(1, %s) n
            UNION ALL
            SELECT 'year', 'g' || n, 'guardians', 'guardian', true, false, 'Guardian ' || n, 'Family ' || n, NULL, NULL,
                'home' || n || '@mesa.example', '555-0100', NULL, NULL, 'unchanged'
            FROM generate_series(1, %s) n
            UNION ALL
            SELECT 'year', 't' || n, 'teachers', 'teacher', true, false, 'Teacher ' || n, 'Name ' || n, 'teacher' || n,
                (800000 + n)::text, 'teacher' || n || '@mesa.example', NULL, NULL, NULL, 'unchanged'
            FROM generate_series(1, %s) n""", students, students, max(2, students // 20))
        third = self.args.days // 3
        for n in range(3):
            begins = self.date_of(n * third)
            ends = self.date_of((n + 1) * third if n < 2 else self.args.days + 20) - datetime.timedelta(days=1)
            self.sql("""INSERT INTO staged_academic_sessions (connection, sourced_id, collection, elsewhere, damaged,
                title, type, start_date, end_date) VALUES ('year', %s, 'terms', false, false, %s, 'term', %s, %s)""",
                f"T{n}", f"Term {n + 1}", begins, ends)
        self.sql("""INSERT INTO staged_courses (connection, sourced_id, collection, elsewhere, damaged, title,
                course_code)
            SELECT 'year', 'C' || n, 'courses', false, false, 'Course ' || n, 'CRS' || n
            FROM generate_series(0, 39) n""")
        self.begin_term()

    @staticmethod
    def date_of(night):
        """The day of a school night: five in a week."""
        return FIRST + datetime.timedelta(days=night // 5 * 7 + night % 5)

    def begin_term(self):
        """Classes and enrollments of a term in place of those of the one before, with IDs of their own."""
        students, term = self.args.students, self.term
        self.sql("DELETE FROM staged_classes")
        self.sql("DELETE FROM staged_enrollments")
        self.sql("""INSERT INTO staged_classes (connection, sourced_id, collection, elsewhere, damaged, title,
                class_code, class_type, location, grades, periods, course_id, school_id, term_ids)
            SELECT 'year', format('K%%s-%%s', %s, n), 'classes', false, false, 'Section ' || n, 'CRS' || n, 'scheduled',
                'Room ' || n %% 90, '{09,10}', ARRAY[(n %% %s + 1)::text], 'C' || n %% 40, 'school', ARRAY[%s]
            FROM generate_series(0, %s) n""", term, PERIODS, f"T{term}", (students + SIZE - 1) // SIZE * PERIODS - 1)
        self.sql("""INSERT INTO staged_enrollments (connection, sourced_id, collection, elsewhere, damaged, user_id,
                class_id, school_id, role, is_primary)
            SELECT 'year', format('E%%s-%%s-%%s', %s, n, p), 'enrollments', false, false, 's' || n,
                format('K%%s-%%s', %s, (n - 1) / %s * %s + p), 'school', 'student', false
            FROM generate_series(1, %s) n CROSS JOIN generate_series(0, %s) p""",
            term, term, SIZE, PERIODS, students, PERIODS - 1)

    def change(self, night):
        """A hundredth of the rows: enrollments move to another class, users have another phone."""
        share = 100
        self.sql("""UPDATE staged_enrollments SET class_id = format('K%%s-%%s', %s,
                abs(hashtext(sourced_id || %s)) %% (SELECT count(*) FROM staged_classes))
            WHERE abs(hashtext(sourced_id || %s)) %% %s = 0""", self.term, f"to{night}", f"of{night}", share)
        self.sql("""UPDATE staged_users SET phone = %s WHERE abs(hashtext(sourced_id || %s)) %% %s = 0""",
            f"555-{night:04d}", f"of{night}", share)

    def sync(self):
        self.sql("SELECT nextval(pg_get_serial_sequence('minga_roster.runs', 'run'))")
        run = self.cursor.fetchone()[0]
        self.sql("BEGIN")
        self.sql("SELECT insert_run(%s, 'year', 'sync', NULL, 'running', 'bench')", run)
        self.sql("UPDATE runs SET is_full = true WHERE run = %s", run)
        self.sql("UPDATE staged_users SET outcome = 'unchanged' WHERE outcome <> 'unchanged'")
        self.sql("""SELECT store_collection(%s, 'year', c.collection, c.family, true, 'total', 1, c.n, c.n, NULL, 0, 0,
                false, NULL, NULL)
            FROM (SELECT e ->> 'collection', e ->> 'family',
                    (SELECT count(*) FROM staged_users s WHERE s.collection = e ->> 'collection')
                FROM sis CROSS JOIN jsonb_array_elements(sis.collections) e WHERE sis = 'infinite_campus'
                UNION ALL SELECT 'terms', 'session', count(*) FROM staged_academic_sessions
                UNION ALL SELECT 'courses', 'course', count(*) FROM staged_courses
                UNION ALL SELECT 'classes', 'class', count(*) FROM staged_classes
                UNION ALL SELECT 'enrollments', 'enrollment', count(*) FROM staged_enrollments)
                c (collection, family, n)""", run)
        self.sql("SELECT merge_run(%s)", run)
        self.sql("SELECT close_run(%s, 'succeeded', NULL, NULL, NULL, NULL)", run)
        self.sql("COMMIT")

    # What there is afterwards

    def now_query(self, table):
        """What holds of a table, as rows of text."""
        return f"""SELECT (to_jsonb(t) - '{{valid,written_run,ended_cause,ended_at,replaced_run}}'::text[])::text AS row
            FROM {table} t"""

    def copy(self, night):
        for table in TABLES:
            self.sql(f"CREATE TABLE copy_{night}_{table} AS {self.now_query(table)} WHERE t.ended_at IS NULL")

    def check_copies(self, nights):
        for night in nights:
            at = f"{self.date_of(night)} 19:00+00"
            for table in TABLES:
                both = f"{self.now_query(table)} WHERE t.valid @> %s::timestamptz UNION ALL " \
                    f"{self.now_query(table + '_versions')} WHERE t.valid @> %s::timestamptz"
                copy = f"SELECT row FROM copy_{night}_{table}"
                wrong = self.value(f"SELECT count(*) FROM ((({both}) EXCEPT ALL {copy}) UNION ALL "
                    f"({copy} EXCEPT ALL ({both}))) w", at, at, at, at)
                if wrong:
                    sys.exit(f"{table} as of night {night}: {wrong} rows differ from the copy")

    def size_of_copy(self):
        """KB that a copy of all rows takes each day, in a table with an index by day and key."""
        total = 0
        for table, keys in TABLES.items():
            self.sql(f"CREATE TABLE day_of_{table} AS SELECT current_date AS day, t.* FROM {table} t "
                "WHERE t.ended_at IS NULL")
            self.sql(f"ALTER TABLE day_of_{table} DROP valid, DROP written_run, DROP ended_cause, DROP ended_at")
            self.sql(f"ALTER TABLE day_of_{table} ADD PRIMARY KEY (day, connection, {', '.join(keys)})")
            self.sql(f"VACUUM FULL day_of_{table}")
            total += self.value(f"SELECT pg_total_relation_size('day_of_{table}')")
        return total / 1024

    def size_of_history(self):
        """KB of versions, and of the share of rows that have ended."""
        versions = ended = 0
        for table in TABLES:
            versions += self.value(f"SELECT pg_total_relation_size('{table}_versions')")
            ended += float(self.value(f"""SELECT pg_total_relation_size('{table}')
                * coalesce(avg((ended_at IS NOT NULL)::integer), 0) FROM {table}"""))
        return versions / 1024, ended / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--database", required=True, help="connection string of a superuser")
    parser.add_argument("--students", type=int, default=1200)
    parser.add_argument("--days", type=int, default=180)
    args = parser.parse_args()
    year = Year(args)
    year.fill_stage()
    kept = sorted({0, 1, args.days // 3, args.days // 2, args.days - 1})
    for night in range(args.days):
        year.day = year.date_of(night)
        year.set_clock()
        term = min(2, night // (args.days // 3))
        if term != year.term:
            year.term = term
            year.begin_term()
        if night:
            year.change(night)
        year.sync()
        if night in kept:
            year.copy(night)
        if night % 20 == 19:
            # As autovacuum does.
            for table in TABLES:
                year.sql(f"VACUUM {table}")
    year.check_copies(kept)
    copy, (versions, ended) = year.size_of_copy(), year.size_of_history()
    print(f"days {args.days}")
    print(f"copy_kb {copy:.0f}")
    print(f"versions_kb {versions:.0f}")
    print(f"ended_kb {ended:.0f}")
    print(f"versions_of_copies {versions / (copy * args.days):.4f}")
    print(f"history_of_copies {(versions + ended) / (copy * args.days):.4f}")


main()
