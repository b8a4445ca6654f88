"""The district behind the test OneRoster server: its people and its days.

Everyone is worked out from a hash of (seed, school, index), so that any page of 200,000 people costs the same. A day
is the list of changes that lead to it; the state of a day is all changes up to it. Must survive: 10 to 200,000 people,
and a day asked for in any order.
"""

import random
import unicodedata

MASK = (1 << 64) - 1
FIRST_SCHOOL = "CE8DF1FC-3242-4716-A5F5-5A957F86DC36"
SCHOOL_NAMES = ["Mesa High", "Red Mountain High", "Dobson High", "Skyline High", "Westwood High", "Mountain View High"]
ROLES = {"s": "student", "t": "teacher", "a": "administrator", "g": "guardian", "r": "relative"}
COLLECTION_LETTERS = {"students": "s", "teachers": "t", "administrators": "a", "guardians": "g", "relatives": "r"}
GIVEN = """Ana Ben Carla Diego Emma Felix Grace Hugo Ivy Jack Kira Liam Maya Noah Olivia Paul Quinn Rosa Sam Tara
Umar Vera Wes Ximena Yara Zane Aaliyah Brandon Chloe Dylan Elena Farah Gavin Hannah Isaac Jasmine Kevin Layla Mason
Nadia Oscar Priya Rafael Sofia Trevor Uma Victor Willow Xavier Yusuf Zara José Zoë Renée Søren Jürgen Chloé Łukasz
Nguyễn Siân Beyoncé D'Andre Mary-Jane Anne Marie""".replace("\n", " ").split(" ")
FAMILY = """Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez
Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark Ramirez Lewis
Robinson Walker Young Allen King Wright Scott Torres Nguyen Hill Flores Green Adams Nelson Baker Hall Rivera
Campbell Mitchell Carter Roberts O'Brien D'Angelo O'Connor Núñez Peña Gutiérrez Müller Ødegård Šimić Benally Begay
Tsosie Yazzie N'Diaye Smith-Lopez Ferreira Castañeda Vang""".split()
ACCENTED = ["José", "Zoë", "Renée", "Chloé", "Siân", "Nguyễn"]
GRADES = ["09", "10", "11", "12"]


def mix(x):
    """splitmix64: a well spread 64-bit number for each 64-bit number."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def plain(name):
    """Letters of a name in lower-case ASCII, for usernames."""
    folded = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(c for c in folded if c.isalpha()).lower()


PLAIN = {name: plain(name) for name in set(GIVEN + FAMILY + ACCENTED)}


def is_student(i):
    return i % 20 not in (2, 5, 11)


def base_letters(i):
    """The rows that a person starts with: s, t, a or ta."""
    n = i % 20
    if n == 5:
        return "a"
    if n in (2, 11):
        return "ta" if (i // 20 * 2 + (n == 11)) % 6 == 1 else "t"
    return "s"


def base_standing(i):
    """(status, enabledUser) of a person no one has changed."""
    if i % 150 == 7 or i % 400 == 45:
        return "inactive", "true"
    if i % 150 == 57:
        return "active", "false"
    return "active", "true"


def with_href(org, root):
    """An org whose references carry addresses."""
    for ref in ([org["parent"]] if org["parent"] else []) + org["children"]:
        ref["href"] = f"{root}/orgs/{ref['sourcedId']}"
    return org


class District:
    """The people of some schools over the days. Thread-safe as long as one lock guards states()."""

    def __init__(self, people, seed, schools=3):
        self.seed = seed
        self.people = [people] + [max(10, people // 10)] * (schools - 1)
        self.root = mix(seed)
        self.district_id = self.guid(999)
        self.school_ids = [FIRST_SCHOOL] + [self.guid(s) for s in range(1, schools)]
        self.days = {}      # (day): list of events; an event is (school, kind, index, values)
        self.last = State(self, 0)
        self.cache = {0: State(self, 0)}

    def guid(self, n):
        hexes = f"{mix(self.root ^ (n * 2 + 1)):016X}{mix(self.root ^ (n * 2 + 2)):016X}"
        return f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-A{hexes[17:20]}-{hexes[20:]}"

    def orgs(self):
        """Every org, the district first."""
        yield {"sourcedId": self.district_id, "status": "active", "dateLastModified": "2026-07-01T00:00:00.000Z",
            "metadata": None,
               "name": "Mesa City Schools", "type": "district", "identifier": "0412345", "parent": None,
               "children": [{"sourcedId": s, "type": "org"} for s in self.school_ids]}
        for n, school in enumerate(self.school_ids):
            name = SCHOOL_NAMES[n] if n < len(SCHOOL_NAMES) else f"School {n + 1}"
            yield {"sourcedId": school, "status": "active", "dateLastModified": "2026-07-01T00:00:00.000Z",
                "metadata": None,
                   "name": name, "type": "school", "identifier": f"{n + 101}",
                   "parent": {"sourcedId": self.district_id, "type": "org"}, "children": []}

    def state(self, day):
        """The state of a day; days are worked out in order and the latest few kept."""
        if day not in self.cache:
            while self.last.day < day:
                events = self.days.get(self.last.day + 1)
                if events is None:
                    events = self.days[self.last.day + 1] = [e for s in range(len(self.people))
                        for e in DayMaker(self.last, s).events]
                self.last.apply(events)
            state = State(self, 0)
            while state.day < day:
                state.apply(self.days[state.day + 1])
            if len(self.cache) > 3:
                del self.cache[next(k for k in self.cache if k != 0)]
            self.cache[day] = state
        return self.cache[day]

    def changes(self, day, school=0):
        """What happens on a day, for people to read: a list of kind, sourcedIds and values."""
        state = self.state(day)
        name = lambda key: key if isinstance(key, str) else key[0]
        return [{"kind": kind, "values": {name(k): v for k, v in values.items()},
                 "sourced_ids": [r[0] for r in (state.guardian_refs(s, i) if kind == "contact"
                     else state.refs(s, i, every=True))]}
                for s, kind, i, values in self.days.get(day, []) if s == school]


class State:
    """Everyone on one day. persons and households hold only what differs from the start."""

    def __init__(self, district, day):
        self.district, self.day = district, day
        self.persons, self.households = {}, {}
        self.next_index = list(district.people)

    def apply(self, events):
        self.day += 1
        for school, kind, i, values in events:
            if kind == "contact":
                self.households.setdefault((school, i), {}).update(values, modified=self.day)
            else:
                self.persons.setdefault((school, i), {}).update(values, modified=self.day)
                self.next_index[school] = max(self.next_index[school], i + 1)

    # Who is there

    def present(self, school, i):
        changed = self.persons.get((school, i))
        if changed and "present" in changed:
            return changed["present"]
        return i < self.district.people[school]

    def letters(self, school, i):
        changed = self.persons.get((school, i))
        return changed.get("letters") or base_letters(i) if changed else base_letters(i)

    def standing(self, school, i):
        changed = self.persons.get((school, i)) or {}
        status, enabled = base_standing(i)
        return changed.get("status", status), changed.get("enabled", enabled)

    def is_active(self, school, i):
        return self.standing(school, i) == ("active", "true")

    def number(self, school, i):
        return (school + 1) * 10_000_000 + i * 7 + mix(self.district.root ^ i) % 7

    def refs(self, school, i, every=False):
        """The rows of a person: (sourcedId, letter, school, index, 0)."""
        if not every and not self.present(school, i):
            return []
        number = self.number(school, i)
        return [(f"{letter}{number}", letter, school, i, 0) for letter in self.letters(school, i)]

    # Households: a student is the head of one or belongs to that of the student before

    def is_head(self, school, i):
        return is_student(i) and (i == 0 or mix(self.district.root ^ (school << 40) ^ (i * 4 + 3)) % 4 != 0)

    def head(self, school, i):
        while not self.is_head(school, i):
            i -= 1
        return i

    def members(self, school, head):
        """The students of a household that are on the roster."""
        found, i = [], head
        while i < self.next_index[school] and (i == head or not self.is_head(school, i)):
            if is_student(i) and self.present(school, i):
                found.append(i)
            i += 1
        return found

    def guardian_refs(self, school, head):
        """The guardian rows of a household in the order of agents: (sourcedId, letter, school, head, k)."""
        bits = mix(self.district.root ^ (school << 40) ^ (head * 4 + 1))
        count = (0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3)[bits % 12] if head else 3
        base = (school + 1) * 10_000_000 + 5_000_000 + head * 3
        refs = [(f"g{base + k}", "g", school, head, k) for k in range(min(count, 2))]
        if refs and self.staff_guardian(school, head):
            refs[-1] = (f"g{self.number(school, head - 1)}", "g", school, head, len(refs) - 1)
        if (self.households.get((school, head)) or {}).get("swap"):
            refs.reverse()
        if count == 3:
            refs.insert(0 if bits >> 20 & 1 or not head else 2, (f"r{base + 2}", "r", school, head, 2))
        return refs

    def staff_guardian(self, school, head):
        """Is the staff member just before this household its last guardian?"""
        i = head - 1
        return i >= 0 and not is_student(i) and i // 20 % 2 == 0 and i < self.district.people[school]

    # What is known of them

    def facts(self, school, i):
        """The raw values of a person; those that only some rows show are chosen by row()."""
        d = self.district
        a = mix(d.root ^ (school << 40) ^ (i * 4))
        b = mix(a)
        changed = self.persons.get((school, i)) or {}
        given, family = GIVEN[a % len(GIVEN)], FAMILY[(a >> 10) % len(FAMILY)]
        if i % 23 == 4:
            given = unicodedata.normalize("NFD", ACCENTED[(a >> 20) % len(ACCENTED)])
        letters = base_letters(i)
        word = PLAIN.get(given) or plain(given)
        if letters == "s":
            username = f"{word[:1]}{PLAIN[family][:8]}{school}{i:04d}"
            identifier = str((school + 1) * 10_000_000 + 100_000 + i * 3)
            email = "" if i % 12 == 8 else f"{username}@students.mesa.example"
        else:
            username = f"{word}.{PLAIN[family]}{school}{i:04d}"
            identifier = f"E{school}{i:06d}"
            email = f"{word.capitalize()}.{PLAIN[family].capitalize()}{school}{i}@mesa.example"
        phone = f"480-555-{b % 10000:04d}" if b >> 16 & 1 else ""
        sms = f"602-555-{(b >> 20) % 10000:04d}" if b >> 36 & 1 else ""
        status, enabled = self.standing(school, i)
        facts = {"given": given, "family": family, "middle": GIVEN[(b >> 40) % len(GIVEN)][:6] if b >> 50 & 1 else "",
                 "username": username, "identifier": identifier, "email": email, "phone": phone, "sms": sms,
                 "grade": GRADES[(a >> 30) % 4] if letters == "s" else "", "modified": 0}
        facts.update(changed, status=status, enabled=enabled)
        if i % 37 == 6:
            facts["family"] += " "
        return facts

    def shown(self, ref, facts):
        """(phone, sms, middle name) as one row of a person shows them: gaps in one row of staff may be filled from the
        other."""
        _, letter, _, i, _ = ref
        if letter == "t" and i // 20 % 3 == 0:
            return "", "", facts["middle"]
        if letter == "a" and i // 20 % 2 == 0:
            return facts["phone"], facts["sms"], ""
        return facts["phone"], facts["sms"], facts["middle"]

    def guardian_facts(self, ref):
        sid, letter, school, head, k = ref
        if sid == f"g{self.number(school, head - 1)}":
            facts = self.facts(school, head - 1)
            facts.update(status="active", enabled="true", modified=0)
        else:
            a = mix(self.district.root ^ (school << 40) ^ (head * 4 + 2) ^ (k << 60))
            given, family = GIVEN[a % len(GIVEN)], FAMILY[(a >> 10) % len(FAMILY)]
            username = f"p{PLAIN[family][:8]}{school}{head}x{k}"
            shared = k == 1 and a % 3 == 0
            facts = {"given": given, "family": family, "middle": "", "username": username, "identifier": "",
                     "email": "" if a >> 24 & 7 == 0
                     else f"{'family' if shared else username}{head}.{school}@home.example",
                     "phone": f"928-555-{(a >> 28) % 10000:04d}" if a >> 45 & 3 else "", "sms": "", "grade": "",
                     "status": "active", "enabled": "true", "modified": 0}
            if k == 0 and a % 3 == 0 and facts["email"]:
                facts["email"] = f"family{head}.{school}@home.example"
        changed = self.households.get((school, head)) or {}
        facts["modified"] = changed.get("modified", 0)
        for what in ("phone", "email"):
            if (what, k) in changed:
                facts[what] = changed[what, k]
        return facts

    def school_numbers(self, ref):
        """The schools (by number) that a row names in its orgs; -1 is the district."""
        _, letter, school, i, _ = ref
        numbers = [school]
        if letter in "ta":
            if school == 0 and len(self.district.people) > 1 and i % 60 in (22, 45):
                numbers.append(1)
            if i % 100 in (45, 51):
                numbers.insert(0, -1)
        return numbers

    def row(self, ref, base_url):
        """A OneRoster 1.1 user."""
        sid, letter, school, i, _ = ref
        if letter in "gr":
            facts = self.guardian_facts(ref)
            phone, sms, middle = facts["phone"], facts["sms"], facts["middle"]
            agents = [r[0] for m in self.members(school, i) for r in self.refs(school, m)]
        else:
            facts = self.facts(school, i)
            phone, sms, middle = self.shown(ref, facts)
            agents = [r[0] for r in self.guardian_refs(school, self.head(school, i))] if letter == "s" else []
        ids = self.district.school_ids
        orgs = [self.district.district_id if n < 0 else ids[n] for n in self.school_numbers(ref)]
        bits = mix(self.district.root ^ i)
        changed_in_school = 0 < facts["modified"] < 31
        month = f"2026-09-{facts['modified']:02d}T02" if changed_in_school else f"2026-08-{bits % 28 + 1:02d}T12"
        return {
            "sourcedId": sid, "status": facts["status"],
            "dateLastModified": f"{month}:{bits % 60:02d}:{bits % 59:02d}.000Z", "metadata": None,
            "username": facts["username"], "userIds": [{"type": "LocalID", "identifier": facts["identifier"]}]
            if facts["identifier"] else [],
            "enabledUser": facts["enabled"], "givenName": facts["given"], "familyName": facts["family"],
            "middleName": middle,
            "role": ROLES[letter], "identifier": facts["identifier"], "email": facts["email"], "sms": sms,
            "phone": phone,
            "agents": [{"href": f"{base_url}/users/{a}", "sourcedId": a, "type": "user"} for a in agents],
            "orgs": [{"href": f"{base_url}/orgs/{o}", "sourcedId": o, "type": "org"} for o in orgs],
            "grades": [] if letter != "s" else (["", facts["grade"]] if i % 101 == 10 else [facts["grade"]]),
            "password": f"pw-{bits & 0xFFFFFFFF:08x}",
        }

    def lists(self):
        """Every row of the day as sorted lists: ({letter: refs}, {(school, letter): refs}). One pass over everyone."""
        by_letter, by_school = {k: [] for k in ROLES}, {}
        for school in range(len(self.district.people)):
            for letter in ROLES:
                by_school.setdefault((school, letter), [])
            for i in range(self.next_index[school]):
                for ref in self.refs(school, i):
                    by_letter[ref[1]].append(ref)
                    for n in self.school_numbers(ref):
                        if n >= 0:
                            by_school.setdefault((n, ref[1]), []).append(ref)
                if is_student(i) and self.is_head(school, i) and self.members(school, i):
                    for ref in self.guardian_refs(school, i):
                        by_letter[ref[1]].append(ref)
                        by_school[school, ref[1]].append(ref)
        for rows in list(by_letter.values()) + list(by_school.values()):
            rows.sort()
        return by_letter, by_school


class DayMaker:
    """The changes that lead from a state to the next day, for one school. No one has two in one day."""

    def __init__(self, state, school):
        self.state, self.school, self.day = state, school, state.day + 1
        self.events, self.households = [], set()
        rng = random.Random(f"{state.district.seed}/{school}/{self.day}")
        order = [i for i in range(state.next_index[school]) if state.present(school, i)]
        rng.shuffle(order)
        students = [i for i in order if is_student(i)]
        staff = [i for i in order if not is_student(i)]
        self.rows = {letter: sum(letter in state.letters(school, i) for i in staff) for letter in "ta"}
        self.students(students)
        self.staff(staff)
        self.returns()

    def add(self, kind, i, **values):
        self.events.append((self.school, kind, i, values))

    def take(self, queue, share, fits, least=1):
        """Removes the first people of the queue that fit and gives them: a share of the queue, or at least so many."""
        want, taken, left = max(least, int(share * self.state.district.people[self.school])), [], []
        while queue and len(taken) < want:
            i = queue.pop()
            (taken if fits(i) else left).append(i)
        queue.extend(reversed(left))
        return taken

    def join(self, wanted, letters):
        """New people get the next free indexes whose kind is right."""
        i = max([self.state.next_index[self.school]] + [e[2] + 1 for e in self.events if e[1] == "join"])
        while wanted:
            if base_letters(i) == letters:
                self.add("join", i, present=True, status="active", enabled="true")
                wanted -= 1
            i += 1

    def changed(self, i):
        return self.state.persons.get((self.school, i)) or {}

    def common(self, queue, share):
        """Renames, e-mails and phones; a fifth of the e-mails and phones go away, which must clear nothing."""
        s, state = self.school, self.state
        here = lambda i: state.standing(s, i)[0] != "tobedeleted"
        for i in self.take(queue, share, here):
            old = state.facts(s, i)["family"].strip()
            self.add("rename", i, family=next(f for f in FAMILY[mix(i + self.day) % 40:] if f != old))
        for n, i in enumerate(self.take(queue, share, here)):
            gone = n % 5 == 4 or self.day % 5 == 0 and n == 0
            self.add("email", i, email="" if gone else f"{state.facts(s, i)['username']}.d{self.day}@mesa.example")
        for n, i in enumerate(self.take(queue, share, here)):
            number = f"480-777-{mix(i * 100 + self.day) % 10000:04d}"
            phone = "" if n % 5 == 4 or self.day % 5 == 0 and n == 0 else number
            self.add("phone", i, phone=phone, **({} if phone else {"sms": ""}))

    def students(self, queue):
        s, state = self.school, self.state
        active = lambda i: state.is_active(s, i)
        for i in [i for i in queue if state.standing(s, i)[0] == "tobedeleted"]:
            queue.remove(i)
            self.add("vanish", i, present=False)
        for i in self.take(queue, 0.003, lambda i: not active(i)):
            self.add("activate", i, status="active", enabled="true")
        for i in self.take(queue, 0.006, active):
            self.add("leave", i, present=False)
        for i in self.take(queue, 0.002, active):
            self.add("tobedeleted", i, status="tobedeleted")
        for i in self.take(queue, 0.003, active):
            self.add("disable", i, enabled="false")
        for i in self.take(queue, 0.002, active):
            self.add("inactivate", i, status="inactive")
        for i in self.take(queue, 0.01, active):
            self.add("grade", i, grade=GRADES[(GRADES.index(state.facts(s, i)["grade"]) + 1) % 4])
        self.common(queue, 0.01)
        for n, i in enumerate(self.take(queue, 0.01, self.has_guardian, least=3)):
            self.contact(n, state.head(s, i))
        self.join(max(1, int(0.01 * state.district.people[s])), "s")

    def has_guardian(self, i):
        head = self.state.head(self.school, i)
        if head in self.households or not self.state.guardian_refs(self.school, head):
            return False
        self.households.add(head)
        return True

    def contact(self, n, head):
        """A guardian's phone or e-mail changes, or the order of a student's agents."""
        k = next(r[4] for r in self.state.guardian_refs(self.school, head) if r[1] == "g")
        swapped = (self.state.households.get((self.school, head)) or {}).get("swap", False)
        values = ({("phone", k): f"928-777-{mix(head * 100 + self.day) % 10000:04d}"},
                  {("email", k): f"new{head}.{self.school}.d{self.day}@home.example"},
                  {"swap": not swapped})[n % 3]
        self.events.append((self.school, "contact", head, values))

    def staff(self, queue):
        """One kind of leaver a day, so that small categories stay far from half; two rows of each kind always
        remain."""
        s, state, odd = self.school, self.state, self.day % 2
        letters = lambda i: state.letters(s, i)
        leaves = lambda i: state.is_active(s, i) and not self.changed(i).get("lost") \
            and letters(i)[0] == ("t" if odd else "a") \
            and min(self.rows[x] for x in letters(i)) > 2
        for i in self.take(queue, 0.0005, leaves):
            self.add("leave", i, present=False)
            self.count(letters(i), -1)
        plain_teacher = lambda i: letters(i) == "t" and state.is_active(s, i) and not self.changed(i).get("lost")
        for i in self.take(queue, 0.001, plain_teacher):
            self.add("gain administrator", i, letters="ta")
        for i in self.take(queue, 0.0005, lambda i: letters(i) == "ta" and self.rows["a"] > 2
                and state.is_active(s, i)):
            self.add("lose administrator", i, letters="t", lost=True)
            self.count("a", -1)
        if odd:
            for i in self.take(queue, 0.0003, lambda i: letters(i) == "a" and state.is_active(s, i)
                    and not self.changed(i).get("lost")):
                self.add("gain teacher", i, letters="ta")
        else:
            for i in self.take(queue, 0.0003, lambda i: letters(i) == "ta" and self.rows["t"] > 2
                    and state.is_active(s, i)):
                self.add("lose teacher", i, letters="a", lost=True)
                self.count("t", -1)
        if self.day % 3 == 0:
            for i in self.take(queue, 0.0005, lambda i: state.is_active(s, i)):
                self.add("disable", i, enabled="false")
        else:
            for i in self.take(queue, 0.0005, lambda i: not state.is_active(s, i)):
                self.add("activate", i, status="active", enabled="true")
        self.common(queue, 0.001)
        self.join(max(1, int(0.0005 * state.district.people[s])), "t" if odd else "a")

    def count(self, letters, by):
        for x in letters:
            self.rows[x] += by

    def returns(self):
        """Half of those who left two days ago (at least one) are back; every second with a new phone, every fourth
        disabled."""
        gone = [e for e in self.state.district.days.get(self.day - 2, []) if e[0] == self.school and e[1] == "leave"]
        for n, (_, _, i, _) in enumerate(gone[:max(1, len(gone) // 2)]):
            values = {"phone": f"480-888-{mix(i + self.day) % 10000:04d}"} if (n + self.day) % 2 else {}
            self.add("return", i, present=True, enabled="false" if (n + self.day) % 4 == 0 else "true", **values)
