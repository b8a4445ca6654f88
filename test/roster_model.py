"""A plain and slow model of the rules: what one run of one connection must do, from what is there before it.

Written from the rules (docs/reference.md, "The rules") and sharing nothing with the extension's SQL: lists, dictionaries and loops over
every pair. Model says what a sync plans and does to people and links; undone, approved and carried_out say what becomes of a run that was
planned before, where people were edited in between. test/roster_nights.py plays random nights against it, and says what is left out.
"""

import datetime
import string

CATEGORIES = ('student', 'teacher', 'admin', 'staff')
RANK = {'student': 1, 'teacher': 1, 'admin': 2, 'staff': 3}
RULES = {'student': ('student', 'student'), 'teacher': ('teacher', 'teacher'), 'administrator': ('admin', 'staff'),
         'aide': ('staff', 'staff'), 'proctor': ('staff', 'staff')}
ROLE_DUE = {'student': 'student', 'teacher': 'teacher', 'admin': 'staff', 'staff': 'staff'}
CONTACTS = {'guardian': 1, 'parent': 1, 'relative': 2}
COLLECTIONS = {'student': [('students', ('student',))],
               'staff': [('teachers', ('teacher',)), ('administrators', ('staff', 'admin'))],
               'contact': [('guardians', ('student',)), ('relatives', ('student',))]}
VALUES = ('given_name', 'family_name', 'middle_name', 'username', 'identifier', 'email', 'phone', 'grade')
PARENT = ('parent_name', 'parent_email', 'parent_phone', 'parent_rule')
PERSON = ('person_id', 'role') + VALUES + PARENT + ('roster_managed', 'archived_at')
GONE = 'archived tonight'
TONIGHT = datetime.datetime.max.replace(tzinfo=datetime.timezone.utc)
SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def family(category):
    return 'student' if category == 'student' else 'staff'


def best(categories):
    return min(categories, key=lambda c: RANK[c])


def family_of_role(role):
    """What a role of the people relation says of the family; a role of the school's own says nothing."""
    if role.lower() == 'student':
        return 'student'
    return 'staff' if role.lower() in ('teacher', 'staff', 'owner', 'manager') else None


def key(text):
    """Keys are compared without regard to the case of ASCII letters."""
    return text.translate(SMALL)


def same(one, other):
    return one is not None and other is not None and key(one) == key(other)


def differ(one, other):
    return one is not None and other is not None and key(one) != key(other)


def family_of_row(row):
    if row['role'] in CONTACTS:
        return 'contact'
    return family(RULES[row['role']][0]) if row['role'] in RULES else None


def protected(person):
    return not person['roster_managed'] or person['role'].lower() in ('owner', 'manager')


def unit(column):
    """What a column is owned as: the contact's are one."""
    return 'parent_contact' if column in PARENT else column


class Model:
    """What a sync must do. before has people, links (of all connections of the site), toggles, settings, recent (person -> category:
    archived by this connection within a week, and not approved), decisions (sourced id, person or None), owners (column -> owner), edited
    (person -> columns that are the SIS's unless edited, and were), reads (person -> earlier full reads that missed him), had (lists that
    somebody was found in before)."""

    def __init__(self, connection, rows, before, unread, is_full):
        self.connection = connection
        self.rows = rows                                        # staged users
        self.people = {p['person_id']: p for p in before['people']}
        self.all_links = before['links']
        self.own_links = {l['sourced_id']: l for l in self.all_links if l['connection'] == connection}
        self.links = {i: l for i, l in self.own_links.items() if l['person_id'] in self.people}
        self.toggles, self.settings, self.recent = before['toggles'], before['settings'], before['recent']
        self.decisions, self.owners, self.edited, self.reads = before['decisions'], before['owners'], before['edited'], before['reads']
        self.unread = unread
        self.is_full = is_full
        self.by_id = {r['sourced_id']: r for r in rows}
        self.before = before
        self.forget()

    def forget(self):
        self.changes = []
        self.outcome = {}
        self.after = {p['person_id']: dict(p) for p in self.before['people']}
        self.present = set()                                    # people who must not be archived
        self.moves = []
        self.moved = set()                                      # people whose link moves
        self.settled = {}                                       # sourced id -> category, of rows that are in no conflict
        self.joining = {}                                       # sourced id -> person, of rows that get a link
        self.roles = {}                                         # person -> the role written tonight

    # Rows

    def kind(self, row):
        """contact, no rule, absent, off, unreadable, inactive or active."""
        if row['role'] in CONTACTS:
            return 'contact'
        if row['status'] == 'tobedeleted':
            return 'absent'
        if row['role'] in RULES and not self.toggles[RULES[row['role']][0]]['roster']:
            return 'off'
        if row['damaged'] or row['status'] not in (None, 'active', 'inactive'):
            return 'unreadable'
        if row['role'] not in RULES:
            return 'no rule'
        return 'inactive' if row['status'] == 'inactive' or not row['enabled'] else 'active'

    def listed(self, sourced_id):
        return sourced_id in self.by_id and self.by_id[sourced_id]['status'] != 'tobedeleted'

    def proved(self, of_family):
        if not self.is_full:
            return False
        for collection, categories in COLLECTIONS[of_family]:
            if collection in self.unread:
                return False
            # An empty list proves something only where it never had anybody.
            had = collection in self.before['had'] if of_family == 'contact' else any(l['category'] in categories for l in self.own_links.values())
            if had and not any(r['collection'] == collection for r in self.rows):
                return False
        return True

    def proved_absent(self, link):
        return not self.listed(link['sourced_id']) and self.proved(family(link['category']))

    # Who is who

    def person_family(self, person):
        of_links = {family(l['category']) for l in self.all_links if l['person_id'] == person['person_id']}
        if of_links:
            return of_links
        of_role = family_of_role(person['role'])
        return {of_role} if of_role else {'student', 'staff'}

    def could_be(self, rows, speaking):
        """The step that decides and its candidates, for rows without a link. Archived people only where the family name agrees."""
        of_family, values = family_of_row(rows[0]), self.values(rows)
        ids = {r['sourced_id'] for r in rows}
        never = {p for i, p in self.decisions if i in ids}
        if None in never:
            return None, set()
        possible = [p for p in self.people.values() if p['person_id'] not in never and of_family in self.person_family(p)
                    and (p['archived_at'] is None or same(p['family_name'], values['family_name']))]
        found = {p['person_id'] for p in possible if same(values['identifier'], p['identifier'])}
        if found:
            return 'identifier', found
        if any(same(r['email'], values['email']) and r not in rows and family_of_row(r) == of_family for r in speaking):
            return None, set()
        found = {p['person_id'] for p in possible if same(values['email'], p['email'])}
        return ('e-mail', found) if len(found) == 1 else (None, set())

    def usable(self, row):
        return self.kind(row) in ('active', 'inactive')

    def ordered(self, rows):
        """Usable rows first, of these active ones, then the highest rank."""
        return sorted(rows, key=lambda r: (('active', 'inactive').index(self.kind(r)) if self.usable(r) else 2,
                                           RANK[RULES[r['role']][0]] if r['role'] in RULES else 9, r['sourced_id']))

    def values(self, rows):
        ordered = self.ordered(rows)
        return {v: next((r[v] for r in ordered if r[v] is not None), None) for v in VALUES}

    def linked_to(self, row):
        link = self.links.get(row['sourced_id'])
        return link['person_id'] if link else None

    def joined(self, one, other):
        """Whether two rows are one person by themselves."""
        if self.linked_to(one) is not None and self.linked_to(one) == self.linked_to(other):
            return True
        if family_of_row(one) != 'staff' or family_of_row(other) != 'staff' or one['role'] == other['role']:
            return False
        for shared, contradicting in (('username', 'identifier'), ('identifier', 'username')):
            if same(one[shared], other[shared]) and not differ(one[contradicting], other[contradicting]):
                return True
        return False

    def grouped(self, rows):
        groups = []
        for row in rows:
            touching = [g for g in groups if any(self.joined(row, r) for r in g)]
            groups = [g for g in groups if g not in touching] + [[row] + [r for g in touching for r in g]]
        return groups

    def contradicts(self, group):
        for i, one in enumerate(group):
            for other in group[i + 1:]:
                if one['role'] is not None and one['role'] == other['role']:
                    return True
                if None not in (family_of_row(one), family_of_row(other)) and family_of_row(one) != family_of_row(other):
                    return True
                if self.linked_to(one) is not None and self.linked_to(one) == self.linked_to(other):
                    continue
                if differ(one['username'], other['username']) or differ(one['identifier'], other['identifier']):
                    return True
        return False

    def place(self, rows, person):
        """Category and role due: the best rank among active rows, and among those that have the rank but are not active now."""
        active = [r for r in rows if self.kind(r) == 'active']
        of_rows = [RULES[r['role']][0] for r in active or rows]
        kept = [RULES[r['role']][0] for r in rows if r not in active and r['sourced_id'] not in self.links]
        for link in self.links.values():
            if person is None or link['person_id'] != person or self.by_id.get(link['sourced_id']) in active or self.proved_absent(link):
                continue
            row = self.by_id.get(link['sourced_id'])
            kept.append(RULES[row['role']][0] if row and self.kind(row) in ('inactive', 'off') else link['category'])
        # A rank that comes with another role than was written has never been the person's; one who never got a role has the best.
        written = self.role_written(person) if person is not None else ROLE_DUE[best(of_rows)]
        kept = [k for k in kept if family(k) == family(of_rows[0]) and written in (None, ROLE_DUE[k])]
        return best(of_rows + [k for k in kept if self.toggles[k]['roster']]), \
            ROLE_DUE[best(of_rows + [k for k in kept if written is not None])]

    def role_written(self, person):
        return next((l['role_written'] for l in self.links.values() if l['person_id'] == person and l['role_written']), None)

    def parent_contact(self, row, person):
        """The primary contact of a student's row: guardian or parent before relative, then the order of agents; all None to clear one."""
        if not self.settings['parent_contact'] or family_of_row(row) != 'student':
            return {}
        agents = row['agent_ids'] or []
        known = [self.by_id[a] for a in agents if a in self.by_id]
        gone = [c for c in known if c['status'] == 'tobedeleted' and not c['damaged']]
        if len(gone) == len(agents):
            clears = self.settings['clear_parent_contact'] and person and person['parent_rule'] is not None \
                and self.proved('student') and self.proved('contact')
            return dict.fromkeys(PARENT) if clears else {}
        if (not self.is_full or self.unread & {'guardians', 'relatives'}) and len(known) < len(agents):
            return {}                                           # one who could not be read might come first
        kinds = {}
        for contact in known:
            may_be = contact['role'] in CONTACTS or (contact['damaged'] and contact['role'] not in RULES)
            if may_be and contact['status'] != 'tobedeleted' and (contact['damaged'] or contact['given_name'] or contact['family_name']):
                kinds.setdefault(CONTACTS.get(contact['role'], 0), []).append(contact)
        if not kinds or kinds[min(kinds)][0]['damaged']:
            return {}
        first, equals = kinds[min(kinds)][0], {c['sourced_id'] for c in kinds[min(kinds)]}
        words = {1: 'guardian or parent', 2: 'relative'}[min(kinds)]
        rule = ('no guardian or parent; ' if words == 'relative' else '') + (f'first {words} in the order of agents' if len(equals) > 1 else f'only {words}')
        return {'parent_name': ' '.join(n for n in (first['given_name'], first['family_name']) if n), 'parent_email': first['email'],
                'parent_phone': first['phone'], 'parent_rule': f"{first['role']}: {rule}"}

    # What is to be done

    def change(self, action, category, person, ids, before=None, after=None, state='planned'):
        self.changes.append({'action': action, 'category': category, 'person': person, 'ids': sorted(ids),
                             'before': before or {}, 'after': after or {}, 'state': state})

    def owns(self, person):
        """Of two connections on one site the one that linked a person first owns its columns."""
        here = [l['linked_run'] for l in self.links.values() if l['person_id'] == person]
        elsewhere = [l['linked_run'] for l in self.all_links
                     if l['person_id'] == person and l['connection'] != self.connection and l['missed_since'] is None]
        return not elsewhere or bool(here) and min(here) < min(elsewhere)

    def plan(self):
        groups = self.groups()
        self.decide_all(groups)
        # Nobody gets the identifier of a row that could be somebody else by e-mail, and is linked to nobody tonight: he would be found in it tomorrow.
        lost = {(family_of_row(g['rows'][0]), key(x)) for g in groups for x in [self.values(g['rows'])['identifier']]
                if g['by'] == 'e-mail' and x is not None and not any(r['sourced_id'] in self.joining for r in g['usable'])}
        given = {i for c in self.changes if c['state'] == 'planned' and c['after'].get('identifier') is not None
                 and (family(c['category']), key(c['after']['identifier'])) in lost for i in c['ids']}
        if given:
            for group in groups:
                group['withheld'] = any(r['sourced_id'] in given for r in group['usable'])
                group['conflict'] = group['conflict'] or group['withheld']
            self.forget()
            self.decide_all(groups)
        self.archive()
        return self

    def decide_all(self, groups):
        for row in self.rows:
            kind = self.kind(row)
            if kind in ('contact', 'no rule', 'absent', 'off'):
                self.outcome[row['sourced_id']] = 'contact' if kind == 'contact' else 'ignore'
            elif kind == 'unreadable':
                self.outcome[row['sourced_id']] = 'reject'
                self.change('reject', RULES[row['role']][0] if row['role'] in RULES else None, self.linked_to(row), [row['sourced_id']], state='noted')
        for group in groups:
            self.present |= group['people']
            group['usable'] = [r for r in self.ordered(group['rows']) if self.usable(r)]
            if group['usable']:
                self.decide(group)

    def groups(self):
        """Which rows are one person, whom they could be, and which of them are in conflict."""
        # Whoever a row could be that is not to be acted on counts as well; guardians and unknown roles only where they are linked.
        speaking = [r for r in self.rows if r['status'] != 'tobedeleted' and (r['role'] in RULES or self.linked_to(r))]
        groups = [self.judged(rows, speaking) for rows in self.grouped(speaking)]
        named = True
        while named:
            named = False
            for group in groups:
                for other in groups:
                    if group is not other and not group['conflict'] and group['people'] & other['people']:
                        group['conflict'] = named = True
        return groups

    def judged(self, rows, speaking):
        """Rows that are one person, whom they could be, and whether that is a conflict."""
        group = {'rows': rows, 'people': {self.linked_to(r) for r in rows if self.linked_to(r)}, 'conflict': self.contradicts(rows), 'by': 'linked'}
        if group['people']:
            if len(group['people']) > 1:
                group['conflict'] = True
            for row in rows:
                link = self.links.get(row['sourced_id'])
                if link and family_of_row(row) not in (None, family(link['category'])):
                    group['conflict'] = True
            return group
        group['by'], group['people'] = self.could_be(rows, speaking)
        if len(group['people']) > 1:
            group['conflict'] = True
        for candidate in group['people']:
            person, values = self.people[candidate], self.values(rows)
            if differ(person['given_name'], values['given_name']) and differ(person['family_name'], values['family_name']):
                group['conflict'] = True
            if group['by'] == 'e-mail' and differ(person['identifier'], values['identifier']):
                group['conflict'] = True
        ids = {r['sourced_id'] for r in rows}
        for link in self.links.values():
            if link['person_id'] in group['people'] and link['sourced_id'] not in ids and not self.proved_absent(link):
                group['conflict'] = True
        return group

    def decide(self, group):
        rows = group['usable']
        ids = [r['sourced_id'] for r in rows]
        person_id = next(iter(group['people'])) if len(group['people']) == 1 else None
        if group['conflict']:
            # Each row of such a person is in the conflict, and is told there.
            of_group = [r['sourced_id'] for r in group['rows'] if self.kind(r) != 'contact']
            self.outcome.update({i: 'conflict' for i in of_group})
            self.changes = [c for c in self.changes if c['action'] != 'reject' or c['ids'][0] not in of_group]
            ranked = [RULES[r['role']][0] for r in rows if self.kind(r) == 'active'] or [RULES[r['role']][0] for r in rows]
            self.change('conflict', self.place(rows, person_id)[0] if group.get('withheld') else best(ranked), person_id, ids, state='noted')
            return
        category, role = self.place(rows, person_id)
        self.outcome.update({i: 'merged' for i in ids})
        outcome = self.outcome[ids[0]] = self.settle(group, rows, ids, person_id, category, role)
        if outcome != 'reject':
            self.settled.update({r['sourced_id']: RULES[r['role']][0] for r in rows})
        if outcome in ('create', 'protect', 'restore', 'update', 'link'):
            self.joining.update({i: person_id or 'new ' + min(ids) for i in ids if i not in self.links})
            if group['by'] != 'linked' and person_id is not None:
                self.moved.add(person_id)

    def due(self, rows, person):
        """The SIS's values that are to be written to a person, and what is there: empty ones clear nothing, the contact's are written as one."""
        values = {v: x for v, x in self.values(rows).items() if x is not None}
        values.update(self.parent_contact(rows[0], person))
        if person is None:
            return {v: x for v, x in values.items() if x is not None}
        kept = self.edited.get(person['person_id'], set()) | {c for c, owner in self.owners.items() if owner == 'local'}
        return {v: x for v, x in values.items() if x != person[v] and unit(v) not in kept}

    def settle(self, group, rows, ids, person_id, category, role):
        active = self.kind(rows[0]) == 'active'
        if person_id is None:
            values = self.values(rows)
            if not active:
                return 'skip'
            if values['given_name'] is None or values['family_name'] is None:
                self.change('reject', category, None, ids, state='noted')
                return 'reject'
            after = {'role': role, **self.due(rows, None)}
            self.change('create', category, None, ids, {}, after)
            self.after['new ' + min(ids)] = {**dict.fromkeys(PERSON), **after, 'roster_managed': True}
            return 'create'
        person = self.people[person_id]
        new = any(i not in self.links for i in ids)
        after = self.due(rows, person)
        written = self.role_written(person_id)
        if written is not None and person['role'] == written and role != written:
            after['role'] = role
        writes = after if self.toggles[category]['auto_update'] and self.owns(person_id) else {}
        before = {v: person[v] for v in writes}
        if protected(person):
            # Told where something would have been done.
            if new or (active if person['archived_at'] else writes):
                self.change('protect', category, person_id, ids, state='noted')
            return 'protect'
        if person['archived_at'] is not None and not active:
            return 'skip'
        if new and group['by'] != 'linked' and any(l['person_id'] == person_id for l in self.links.values()):
            self.moves.append(category)
        action = 'restore' if person['archived_at'] is not None else 'update' if writes else 'link' if new else None
        if action is None:
            return 'skip' if after else 'unchanged'
        self.change(action, category, person_id, ids, before, writes)
        self.after[person_id].update(writes, archived_at=None)
        if 'role' in writes:
            self.roles[person_id] = writes['role']
        return action

    # Who is gone

    def seen_last(self, links):
        newest = [l for l in links if l['missed_since'] is None]
        return newest or [l for l in links if l['missed_since'] == max(m['missed_since'] for m in links)]

    def archive(self):
        leaving = {}
        for person_id, person in self.people.items():
            links = [l for l in self.links.values() if l['person_id'] == person_id]
            if not links or person['archived_at'] is not None or person_id in self.present or not all(self.proved_absent(l) for l in links):
                continue
            if any(l['person_id'] == person_id and l['connection'] != self.connection and l['missed_since'] is None for l in self.all_links):
                continue
            category = best([l['category'] for l in self.seen_last(links)])
            if not (self.toggles[category]['roster'] and self.toggles[category]['archive']):
                continue
            if 1 + self.reads.get(person_id, 0) < self.settings['guard_grace']:
                continue
            ids = [l['sourced_id'] for l in links]
            if protected(person):
                self.change('protect', category, person_id, ids, state='noted')
            else:
                leaving[person_id] = (category, ids)
        for category in CATEGORIES:
            tonight = {p: ids for p, (c, ids) in leaving.items() if c == category}
            held = 'held' if self.settings['unproven'] or self.settings['frozen'] or self.too_many(category, tonight) else 'planned'
            for person_id, ids in tonight.items():
                self.change('archive', category, person_id, ids, state=held)
                if held == 'planned':
                    self.after[person_id]['archived_at'] = GONE

    def too_many(self, category, tonight):
        """Leavers of a week, tonight's among them, against the category's linked people once all else is done."""
        base = set(tonight)
        back = {c['person'] for c in self.changes if c['action'] == 'restore'}
        before = {p for p, c in self.recent.items() if c == category and p in self.people and self.people[p]['archived_at'] and p not in back}
        for person_id, person in self.people.items():
            if person['archived_at'] is not None and person_id not in back:
                continue
            # The links as they are once the night is over.
            links = [{**l, 'category': self.settled.get(l['sourced_id'], l['category']),
                      'missed_since': None if self.listed(l['sourced_id']) else l['missed_since'] or (TONIGHT if self.proved_absent(l) else None)}
                     for l in self.links.values()
                     if l['person_id'] == person_id and not (person_id in self.moved and not self.listed(l['sourced_id']))]
            links += [{'category': self.settled[i], 'missed_since': None} for i, p in self.joining.items() if p == person_id]
            if links and best([l['category'] for l in self.seen_last(links)]) == category:
                base.add(person_id)
        base |= before
        created = sum(1 for c in self.changes if c['action'] == 'create' and c['category'] == category)
        leavers, all_of_them = len(set(tonight) | before), len(base) + created
        if self.settings['in_season']:
            return leavers * 100 > self.settings['season_percent'] * all_of_them and leavers > self.settings['guard_floor']
        return (leavers * 100 > self.settings['guard_percent'] * all_of_them and leavers > self.settings['guard_floor']) \
            or (all_of_them >= 4 and leavers * 2 >= all_of_them)

    def links_after(self):
        """The connection's links once the night is over: sourced id -> person, category, role written, whether missing, whether archived."""
        links = {}
        for sourced_id, link in self.own_links.items():
            if link['person_id'] in self.moved and link['person_id'] in self.people and not self.listed(sourced_id):
                continue
            person = self.after.get(link['person_id'])
            if not self.is_full and link['category'] == 'student' and sourced_id not in self.by_id:
                person = None                                   # a delta says nothing of students whom it does not list
            links[sourced_id] = (link['person_id'], self.settled.get(sourced_id, link['category']) if sourced_id in self.links else link['category'],
                                 self.roles.get(link['person_id'], link['role_written']),
                                 not self.listed(sourced_id) and (link['missed_since'] is not None or self.proved_absent(link)),
                                 bool(person and person['archived_at'] and (person['archived_at'] == GONE or link['archived_run'] is not None))
                                 if person else link['archived_run'] is not None)
        for sourced_id, person_id in self.joining.items():
            role = self.after[person_id]['role'] if person_id.startswith('new ') else self.roles.get(person_id, self.role_written(person_id))
            links[sourced_id] = (person_id, self.settled[sourced_id], role, False, False)
        return links

    def carried_out(self, refused, people, links):
        """The people, now as they are, and the links, once a preview is applied of which these changes are refused."""
        after = dict(people)
        due = self.links_after()
        left_alone = {c['person'] for c in refused if c['person']}
        for change in self.changes:
            if change['state'] == 'planned' and change not in refused and change['action'] != 'link':
                person = 'new ' + min(change['ids']) if change['action'] == 'create' else change['person']
                after[person] = self.after[person]
        for sourced_id in {i for i in due if i in self.joining} | (set(links) - set(due)):
            person = self.joining.get(sourced_id, links.get(sourced_id, (None,))[0])
            if person in left_alone or person not in after:
                due.pop(sourced_id, None)
                if sourced_id in links:
                    due[sourced_id] = links[sourced_id]
        for sourced_id in set(due) & set(links) - set(self.joining):
            # Where nothing is done to the person, the link says that nothing was.
            if due[sourced_id][0] in left_alone:
                due[sourced_id] = (*due[sourced_id][:2], links[sourced_id][2], due[sourced_id][3], links[sourced_id][4])
        return after, due


# What becomes of an earlier run, where people may have been edited since.

def roster_sees(person):
    return {c: person[c] for c in PERSON}


def refused_by_apply(change, then, now):
    """Whether the apply of a preview leaves this change alone: people as the preview saw them, and as they are."""
    if change['action'] != 'create':
        person = now.get(change['person'])
        return person is None or protected(person) or roster_sees(person) != roster_sees(then[change['person']])

    def namesakes(people):
        return {i for i, p in people.items() if same(p['identifier'], change['after'].get('identifier')) or same(p['email'], change['after'].get('email'))}
    return namesakes(then) != namesakes(now)


def kept_by_undo(change, then, now):
    """Whether an undo leaves this change as it is: then is the person as the run left him, now as he is."""
    if now is None or protected(now):
        return True
    return change['action'] != 'link' and roster_sees(then) != roster_sees(now)


def refused_by_approval(change, now, links, toggles, connection):
    """Whether an approval does not archive this held person any more."""
    mine = [l for l in links if l['person_id'] == change['person'] and l['connection'] == connection]
    others = [l for l in links if l['person_id'] == change['person'] and l['connection'] != connection]
    toggle = toggles[change['category']]
    return now is None or now['archived_at'] is not None or protected(now) or not (toggle['roster'] and toggle['archive']) \
        or not mine or any(l['missed_since'] is None for l in mine + others)
