"""The plan that a correct client must arrive at, from a day to another and under its settings.

Worked out from what the generator knows of its people (who is who is never guessed from rows), by the rules that the
documentation promises to users, and sharing no code with the extension. Must survive: days in any order, 200,000
people.
"""

import unicodedata

from roster_data import ROLES

COLUMNS = ["given_name", "family_name", "middle_name", "email", "username", "identifier", "grade", "phone"]
PARENT_COLUMNS = ["parent_name", "parent_email", "parent_phone", "parent_rule"]
CATEGORY = {"s": "student", "t": "teacher", "a": "admin"}
ROLE_WRITTEN = {"s": "student", "t": "teacher", "a": "staff"}
RANK = "tas"


def clean(value):
    """A value as it belongs into a column: NFC, trimmed; None when nothing is left."""
    value = unicodedata.normalize("NFC", value).strip() if value else ""
    return value or None


class Client:
    """A client that follows the rules: it holds people and links of one school, and syncs one day after the other.

    roster, auto_update and archive are sets of categories; parent_contact is a boolean. Every archive is carried out:
    guards hold some of them back until someone approves.
    """

    def __init__(self, district, school=0, roster=None, auto_update=None, archive=None, parent_contact=False):
        self.district, self.school = district, school
        self.roster, self.auto_update, self.archive = roster, auto_update, archive
        self.parent_contact = parent_contact
        self.people, self.day = {}, None

    def sync(self, day):
        """Brings the client to a day and gives the changes, sorted."""
        state = self.district.state(day)
        changes = [c for c in (self.person(state, key) for key in self.changed(state, day)) if c]
        self.day = day
        return sorted(changes, key=lambda c: (c["action"], c["category"], c["sourced_ids"]))

    def changed(self, state, day):
        """Everyone in a first sync; later those whom something happened to: who did not change has no change."""
        homes = [self.school] + ([0] if self.school == 1 else [])
        if self.day is None:
            return [(s, i) for s in homes for i in range(state.next_index[s])]
        keys = {}
        for n in range(min(self.day, day) + 1, max(self.day, day) + 1):
            self.district.state(n)
            for s, kind, i, _ in self.district.days[n]:
                if s in homes:
                    if kind != "contact":
                        keys[s, i] = True
                    # staff may be the guardian of the household that follows
                    head = i if kind == "contact" else i + 1
                    if kind == "contact" or state.is_head(s, head) and state.staff_guardian(s, head):
                        keys.update(dict.fromkeys((s, member) for member in state.members(s, head)))
        return list(keys)

    def person(self, state, key):
        """The change of one person, carried out in the client's own people; None when there is none."""
        school, i = key
        rows = [r for r in state.refs(school, i) if self.school in state.school_numbers(r)
            and state.standing(school, i)[0] != "tobedeleted"]
        used = sorted((r for r in rows if CATEGORY[r[1]] in self.roster), key=lambda r: RANK.index(r[1]))
        known = self.people.get(key)
        if not used:
            if rows or not known or known["archived"] or not {known["category"]} <= self.roster & self.archive:
                return None
            known["archived"] = True
            return self.change("archive", known["category"], known["links"], {}, {})
        letter, ids, active = used[0][1], {r[0] for r in used}, state.is_active(school, i)
        category, role = CATEGORY[letter], ROLE_WRITTEN[letter]
        if not known:
            if not active:
                return None
            columns = {k: v for k, v in self.columns(state, used).items() if v is not None}
            self.people[key] = {"columns": dict(columns, role=role), "archived": False, "links": ids,
                "category": category, "role": role}
            return self.change("create", category, ids, {}, dict(columns, role=role))
        if known["archived"] and not active:
            return None
        joined = not ids <= known["links"]
        known["links"] |= ids
        known["category"] = category
        before, after = self.differences(known, self.columns(state, used), role) if category in self.auto_update else (
            {}, {})
        known["columns"].update(after)
        known["role"] = after.get("role", known["role"])
        if known["archived"]:
            known["archived"] = False
            return self.change("restore", category, ids, before, after)
        if after:
            return self.change("update", category, ids, before, after)
        return self.change("link", category, ids, {}, {}) if joined else None

    @staticmethod
    def change(action, category, ids, before, after):
        return {"action": action, "category": category, "sourced_ids": sorted(ids), "before": before, "after": after}

    def columns(self, state, rows):
        """The values of a person: those of the first row, gaps filled from the next. None is absent."""
        _, letter, school, i, _ = rows[0]
        facts = state.facts(school, i)
        phones = [state.shown(r, facts) for r in rows]
        found = {"given_name": clean(facts["given"]), "family_name": clean(facts["family"]),
                 "middle_name": next((clean(m) for _, _, m in phones if clean(m)), None),
                 "email": clean(facts["email"]),
                 "username": clean(facts["username"]), "identifier": clean(facts["identifier"]),
                 "grade": clean(facts["grade"]),
                 "phone": next((clean(p or s) for p, s, _ in phones if clean(p or s)), None)}
        if self.parent_contact and letter == "s":
            refs = state.guardian_refs(school, state.head(school, i))
            chosen = next((r for r in refs if r[1] == "g"), refs[0] if refs else None)
            if chosen:
                parent = state.guardian_facts(chosen)
                found.update(parent_name=f"{clean(parent['given'])} {clean(parent['family'])}",
                    parent_email=clean(parent["email"]),
                             parent_phone=clean(parent["phone"] or parent["sms"]),
                             parent_rule=self.parent_rule(chosen, refs))
        return found

    @staticmethod
    def parent_rule(chosen, refs):
        """The rule that chose, as the extension words it: better kinds of contact that there are none of, then the
        order of agents."""
        kind, passed = ("guardian or parent", "") if chosen[1] == "g" else ("relative", "no guardian or parent; ")
        several = len({r[0] for r in refs if r[1] == chosen[1]}) > 1
        return f"{ROLES[chosen[1]]}: {passed}" + (f"first {kind} in the order of agents" if several else f"only {kind}")

    @staticmethod
    def differences(known, found, role):
        """(before, after): an absent value clears nothing, but the parent contact is replaced as one."""
        now, before, after = known["columns"], {}, {}
        for column in COLUMNS:
            if found.get(column) is not None and found[column] != now.get(column):
                before[column], after[column] = now.get(column), found[column]
        if found.get("parent_name") and any(found[c] != now.get(c) for c in PARENT_COLUMNS):
            for column in PARENT_COLUMNS:
                if found[column] != now.get(column):
                    before[column], after[column] = now.get(column), found[column]
        if role != known["role"] and now["role"] == known["role"]:
            before["role"], after["role"] = now["role"], role
        return before, after


def categories(text):
    """'1' is every category, '0' none, else a list of names."""
    every = {"student", "teacher", "staff", "admin"}
    names = every if text == "1" else set() if text in ("", "0") else set(text.split(","))
    if names - every:
        raise ValueError(f"unknown category: {', '.join(sorted(names - every))}")
    return names


def expected_plan(district, args):
    """The plan from a day to another as a list; args are strings: from, to, school, roster, auto_update, archive,
    parent_contact."""
    unknown = set(args) - {"from", "to", "school", "roster", "auto_update", "archive", "parent_contact"}
    if unknown:
        raise ValueError(f"unknown argument: {', '.join(sorted(unknown))}")
    school = args.get("school", "0")
    school = district.school_ids.index(school) if school in district.school_ids else int(school)
    client = Client(district, school, roster=categories(args.get("roster", "1")),
        auto_update=categories(args.get("auto_update", "0")),
                    archive=categories(args.get("archive", "0")), parent_contact=args.get("parent_contact", "0") == "1")
    if args.get("from", "none") != "none":
        for day in range(int(args["from"]) + 1):
            client.sync(day)
    return client.sync(int(args.get("to", "0")))
