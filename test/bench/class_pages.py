#!/usr/bin/python3
"""Adds terms, courses, classes and enrollments to the static pages of an export (test/roster_export.py), and the same
rows as files for COPY: six classes for each student, 30 students and a teacher in each class, in a term around today.

Prints how many rows of these lists there are.
"""

import argparse
import json
import os
from datetime import date, timedelta

ENVELOPES = {"terms": "academicSessions", "courses": "courses", "classes": "classes", "enrollments": "enrollments"}
PERIODS, SIZE = 6, 30


def base(sourced_id, **values):
    return {"sourcedId": sourced_id, "status": "active", "dateLastModified": "2026-08-01T12:00:00.000Z",
        "metadata": None, **values}


def ref(sourced_id, kind):
    return {"href": f"https://localhost/{kind}s/{sourced_id}", "sourcedId": sourced_id, "type": kind}


def terms(_users, _school):
    for n in range(2):
        first = date.today() + timedelta(days=120 * n - 60)
        yield base(f"T{n}", title=f"Term {n + 1}", type="term", startDate=str(first),
            endDate=str(first + timedelta(days=119)), schoolYear=str(first.year), parent=None)


def courses(_users, school):
    for n in range(60):
        yield base(f"C{n:03d}", title=f"Course {n}", courseCode=f"CRS{n}", grades=["09"], subjects=["Subject"],
            org=ref(school, "org"), schoolYear=None)


def classes(users, school):
    for n in range((len(users["student"]) + SIZE - 1) // SIZE * PERIODS):
        yield base(f"K{n:06d}", title=f"Course {n % 60}, section {n}", classCode=f"CRS{n % 60}-{n}",
            classType="homeroom" if n % PERIODS == 0 else "scheduled", location=f"Room {n % 300}", grades=["09", "10"],
            subjects=["Subject"], periods=[str(n % PERIODS + 1)], course=ref(f"C{n % 60:03d}", "course"),
            school=ref(school, "org"), terms=[ref("T0", "academicSession")])


def enrollments(users, school):
    def enroll(number, user, of_class, role):
        return base(str(number), user=ref(user, "user"), **{"class": ref(f"K{of_class:06d}", "class")},
            school=ref(school, "org"), role=role, primary="true" if role == "teacher" else "false", beginDate=None,
            endDate=None)
    number = 10000000
    for n, student in enumerate(users["student"]):
        for period in range(PERIODS):
            number += 1
            yield enroll(number, student, n // SIZE * PERIODS + period, "student")
    for n in range((len(users["student"]) + SIZE - 1) // SIZE * PERIODS):
        number += 1
        yield enroll(number, users["teacher"][n % len(users["teacher"])], n, "teacher")


def array(values):
    return "{" + ",".join(f'"{v}"' for v in values) + "}"


def columns(name, row):
    """What of a row the stage has, behind its sourcedId."""
    if name == "terms":
        return [row["title"], row["type"], row["startDate"], row["endDate"], row["schoolYear"]]
    if name == "courses":
        return [row["title"], row["courseCode"], array(row["grades"]), array(row["subjects"])]
    if name == "classes":
        return [row["title"], row["classCode"], row["classType"], row["location"], array(row["grades"]),
            array(row["subjects"]), array(row["periods"]), row["course"]["sourcedId"], row["school"]["sourcedId"],
            array(t["sourcedId"] for t in row["terms"])]
    return [row["user"]["sourcedId"], row["class"]["sourcedId"], row["school"]["sourcedId"], row["role"],
        row["primary"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--dir", required=True, help="the directory of the export")
    parser.add_argument("--school-id", required=True)
    parser.add_argument("--page-size", type=int, default=1000)
    args = parser.parse_args()
    users = {"student": [], "teacher": []}
    with open(os.path.join(args.dir, "users.copy"), encoding="utf-8") as copy:
        for line in copy:
            values = line.split("\t")
            users.get(values[4], []).append(values[0])
    total = 0
    with open(os.path.join(args.dir, "nginx.conf"), "a", encoding="utf-8") as config:
        for name, make in (("terms", terms), ("courses", courses), ("classes", classes), ("enrollments", enrollments)):
            count, page = 0, []

            def write(offset, rows, name=name):
                with open(os.path.join(args.dir, f"{name}_{offset}.json"), "w", encoding="utf-8") as f:
                    json.dump({ENVELOPES[name]: rows}, f)
            with open(os.path.join(args.dir, f"{name}.copy"), "w", encoding="utf-8") as copy:
                for row in make(users, args.school_id):
                    copy.write("\t".join([row["sourcedId"], *columns(name, row)]) + "\n")
                    page.append(row)
                    count += 1
                    if len(page) == args.page_size:
                        write(count - len(page), page)
                        page = []
            if page:
                write(count - len(page), page)
            write(count, [])
            total += count
            config.write(f"""location ~ ^/campus/api/oneroster/v1p1/[^/]+/ims/oneroster/v1p1/schools/[^/]+/{name}$ {{
    default_type application/json;
    root {os.path.abspath(args.dir)};
    add_header X-Total-Count {count};
    if ($arg_offset = "") {{ rewrite ^ /{name}_0.json break; }}
    rewrite ^ /{name}_$arg_offset.json break;
}}
""")
    print(total)


main()
