"""The terms, courses, classes, enrollments and demographics of the district behind the test OneRoster server.

A school has a year of two semesters around the present, a class for each subject, grade and semester and section, and
homerooms. Which section a student is in depends on the student alone, so that no one moves because another one leaves.
Must survive: schools of 10 to 200,000 people on any day.
"""

from datetime import date, timedelta

from roster_data import GRADES, is_student, mix

SUBJECTS = ["English", "Algebra", "Biology", "History", "Physical Education", "Spanish"]
SECTION = 25
ENVELOPES = {"terms": "academicSessions", "academicSessions": "academicSessions", "courses": "courses",
    "classes": "classes", "enrollments": "enrollments", "studentEnrollments": "enrollments",
    "teacherEnrollments": "enrollments", "demographics": "demographics"}
FIELDS = set("""sourcedId status dateLastModified metadata title type startDate endDate schoolYear parent courseCode
grades subjects org classCode classType location periods course school terms user class role primary beginDate
birthDate sex""".split())
STARTED = "2026-08-01T12:00:00.000Z"


def ref(sourced_id, kind):
    return {"href": f"~/{kind}s/{sourced_id}", "sourcedId": sourced_id, "type": kind}


def base(sourced_id, **values):
    return {"sourcedId": sourced_id, "status": "active", "dateLastModified": STARTED, "metadata": None, **values}


def year_of(today):
    """The school year around a day: the first days of both semesters and of the next year."""
    first = date(today.year if today >= date(today.year, 8, 10) else today.year - 1, 8, 10)
    return first, date(first.year + 1, 1, 10), date(first.year + 1, 8, 10)


def sessions(today):
    first, second, end = year_of(today)
    day = timedelta(days=1)
    year = str(end.year)
    return [base(f"Y{year}", title=f"{first.year}-{year}", type="schoolYear", startDate=str(first),
                endDate=str(end - day), schoolYear=year, parent=None),
            base(f"{year}1", title="Semester 1", type="term", startDate=str(first), endDate=str(second - day),
                schoolYear=year, parent=ref(f"Y{year}", "academicSession")),
            base(f"{year}2", title="Semester 2", type="term", startDate=str(second), endDate=str(end - day),
                schoolYear=year, parent=ref(f"Y{year}", "academicSession"))]


def all_sessions(rows):
    """What only the list of all sessions has: the semesters, and a session of another school."""
    return [{**s, "type": "semester"} if s["type"] == "term" else s for s in rows] + [
        base("elsewhere", title="Semester elsewhere", type="semester", startDate=None, endDate=None)]


def sections(district, school):
    """How many sections a subject has in a grade; by the first day's people, so that it never changes."""
    return max(1, district.people[school] // len(GRADES) // SECTION)


def courses(district, school):
    return [base(f"{school}{grade}{n}", title=f"{subject} {int(grade)}", courseCode=f"{subject[:3].upper()}{grade}",
                grades=[grade], subjects=[subject], org=ref(district.school_ids[school], "org"), schoolYear=None)
            for grade in GRADES for n, subject in enumerate(SUBJECTS)]


def class_id(school, term, grade, subject, section):
    return f"{school}{term}{grade}{subject}{section:03d}"


def classes(district, school, today):
    year, first, second = [s["sourcedId"] for s in sessions(today)]
    made = []
    for grade in GRADES:
        for section in range(sections(district, school)):
            made.append(base(class_id(school, year, grade, "H", section),
                title=f"Homeroom {int(grade)}-{section + 1}", classCode=f"HR{grade}-{section + 1}",
                classType="homeroom", location=f"Room {100 + section}", grades=[grade], subjects=[], periods=["HR"],
                course=None, school=ref(district.school_ids[school], "org"), terms=[ref(year, "academicSession")]))
            for term in (first, second):
                for n, subject in enumerate(SUBJECTS):
                    made.append(base(class_id(school, term, grade, n, section),
                        title=f"{subject} {int(grade)}-{section + 1}",
                        classCode=f"{subject[:3].upper()}{grade}-{section + 1}", classType="scheduled",
                        location=f"Room {200 + n * 10 + section % 10}", grades=[grade], subjects=[subject],
                        periods=[str(n + 1)], course=ref(f"{school}{grade}{n}", "course"),
                        school=ref(district.school_ids[school], "org"), terms=[ref(term, "academicSession")]))
    return made


def enrollments(state, school, today, roles):
    """Of each student one class of each subject and semester and a homeroom; of each class a teacher."""
    district = state.district
    year, first, second = [s["sourcedId"] for s in sessions(today)]
    made, count = [], sections(district, school)
    org = ref(district.school_ids[school], "org")

    def enroll(sourced_id, user, of_class, role, primary):
        made.append(base(sourced_id, user=ref(user, "user"), **{"class": ref(of_class, "class")}, school=org, role=role,
            primary=primary, beginDate=None, endDate=None))
    if "student" in roles:
        for i in range(state.next_index[school]):
            if not is_student(i):
                continue
            for user, letter, _, _, _ in state.refs(school, i):
                if letter != "s":
                    continue
                grade = state.facts(school, i)["grade"]
                section = mix(i) % count
                enroll(f"s{user[1:]}H", user, class_id(school, year, grade, "H", section), "student", "false")
                for term in (first, second):
                    for n in range(len(SUBJECTS)):
                        enroll(f"s{user[1:]}{term[-1]}{n}", user, class_id(school, term, grade, n, section), "student",
                            "false")
    if "teacher" in roles:
        teachers = [r[0] for i in range(district.people[school]) for r in state.refs(school, i) if r[1] == "t"]
        for place, one in enumerate(classes(district, school, today)):
            if teachers:
                enroll(f"t{one['sourcedId']}", teachers[place % len(teachers)], one["sourcedId"], "teacher", "true")
    return made


def demographics(state, school, by_guid):
    """Birth dates under the IDs of users, or under others, as Infinite Campus does in OneRoster 1.1."""
    made = []
    for i in range(state.next_index[school]):
        if is_student(i):
            for user, letter, _, _, _ in state.refs(school, i):
                if letter == "s":
                    born = date(2008, 1, 1) + timedelta(days=mix(i) % 1400)
                    made.append(base(state.district.guid(i + 5000) if by_guid else user, birthDate=str(born),
                        sex="female" if i % 2 else "male"))
    return made


def objects(roster, name, school, today):
    """The rows of a list, of one school or, for None, of all, in the order of their IDs, with what tests have changed:
    {"only": [row], "each": values, "set": {id: values}, "remove": [id], "add": [row]} for each name of an envelope."""
    state = roster.state
    district = state.district
    schools = range(len(district.people)) if school is None else [school]
    if name in ("terms", "academicSessions"):
        rows = [s for s in sessions(today)
            if name == "academicSessions" or s["type"] != "schoolYear" or school is not None]
        if "semesters" in roster.faults:
            rows = all_sessions(rows) if name == "academicSessions" else [s for s in rows if s["type"] == "schoolYear"]
    elif name == "courses":
        rows = [row for s in schools for row in courses(district, s)]
    elif name == "classes":
        rows = [row for s in schools for row in classes(district, s, today)]
    elif name == "demographics":
        rows = [row for s in schools for row in demographics(state, s, "demographics_by_guid" in roster.faults)]
    else:
        roles = {"studentEnrollments": ["student"], "teacherEnrollments": ["teacher"]}.get(name, ["student", "teacher"])
        rows = [row for s in schools for row in enrollments(state, s, today, roles)]
    if roster.faults.get("campus_1_2") and name.endswith("nrollments"):
        rows = [{**row, "user": ref(f"p-{row['user']['sourcedId']}", "user")} for row in rows]
    bent = (roster.faults.get("objects") or {}).get(ENVELOPES[name]) or {}
    gone = set(bent.get("remove") or [])
    rows = [{**row, **(bent.get("each") or {}), **(bent.get("set") or {}).get(row["sourcedId"], {})}
        for row in bent.get("only", rows) if row["sourcedId"] not in gone]
    return sorted(rows + list(bent.get("add") or []), key=lambda row: str(row.get("sourcedId", "")))
