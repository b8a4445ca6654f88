"""A plain and slow model of the rules: what one run of one connection must do, from what is there before it.

Written from the rules (docs/reference.md, "The rules"; where they leave room, docs/architecture.md) and sharing nothing
with the extension's SQL: lists, dictionaries and loops over every pair. Model says what a sync plans and does to people
and links; undone, approved and carried_out say what becomes of a run that was planned before, where people were edited
in between. test/roster_nights.py plays random nights against it, and says what is left out.
"""

import datetime
import functools
import string
import unicodedata

CATEGORIES = ('student', 'teacher', 'admin', 'staff')
RANK = {'student': 1, 'teacher': 1, 'admin': 2, 'staff': 3}
RULES = {'student': ('student', 'student'), 'teacher': ('teacher', 'teacher'), 'administrator': ('admin', 'staff'),
         'aide': ('staff', 'staff'), 'proctor': ('staff', 'staff')}
ROLE_DUE = {'student': 'student', 'teacher': 'teacher', 'admin': 'staff', 'staff': 'staff'}
CONTACTS = {'guardian': 1, 'parent': 1, 'relative': 2}
COLLECTIONS = {'student': [('students', ('student',))],
               'staff': [('teachers', ('teacher',)), ('administrators', ('staff', 'admin'))],
               'contact': [('guardians', ('student',)), ('relatives', ('student',))]}
VALUES = ('given_name', 'family_name', 'middle_name', 'preferred_name', 'username', 'identifier', 'email', 'phone',
    'grade')
PARENT = ('parent_name', 'parent_email', 'parent_phone', 'parent_rule')
PERSON = ('person_id', 'role') + VALUES + PARENT + ('roster_managed', 'archived_at')
GONE = 'archived tonight'
TONIGHT = datetime.datetime.max.replace(tzinfo=datetime.timezone.utc)
SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def family(category):
    return 'student' if category == 'student' else 'staff'


def best(categories):
    return min(categories, key=lambda c: RANK[c])


def role_family(role):
    """What a role, in the contract's words, says of the family: None for a word of the school's own; other for accounts
    of other kinds."""
    if role in ('student', 'student_leader'):
        return 'student'
    if role in ('teacher', 'staff', 'admin', 'owner', 'manager'):
        return 'staff'
    return 'other' if role == 'other' else None


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


@functools.lru_cache(None)
def cleaned(name):
    """What is compared of a name: its letters and digits, in lower case after NFKD."""
    return ''.join(c.lower() for c in unicodedata.normalize('NFKD', name or '') if c.isalnum())


def family_names(one, other):
    """Whether family names agree: True, False, or None where one is empty and they neither agree nor differ."""
    one, other = cleaned(one['family_name']), cleaned(other['family_name'])
    return one == other if one and other else None


def given_names(one, other):
    """Whether given names agree, be it as the beginning of the other, or as what the other side is called; None where
    one is empty."""
    names = [cleaned(side['given_name']) for side in (one, other)]
    called = [cleaned(side['preferred_name']) for side in (one, other)]
    if not all(names):
        return None
    shorter, longer = sorted(names, key=len)
    return longer == shorter or (len(shorter) >= 3
        and longer.startswith(shorter)) or names[0] == called[1] or names[1] == called[0]


def both_agree(one, other):
    return given_names(one, other) is True and family_names(one, other) is True


def both_differ(one, other):
    return given_names(one, other) is False and family_names(one, other) is False


def suffice(person, values, known):
    """Whether names let an active person be whom an identifier tells: one of them agrees, unless there is none to
    compare; of a person of no known family the given name."""
    given, of_family = given_names(person, values), family_names(person, values)
    return given is True or (known and (of_family is True or given is of_family is None))


class Words:
    """The deployment's words for roles: a role has several, of which the first is written."""

    def __init__(self, roles):
        self.roles = {role: [words] if isinstance(words, str) else list(words) for role, words in (roles or {}).items()}

    def role(self, word):
        """The contract's word for what a person of the relation has."""
        for role, words in self.roles.items():
            if word in words:
                return role
        if word == 'other':
            return '(other)'                                    # a word of the relation, not the contract's
        return word.lower() if word.lower() in ('owner', 'manager') else word

    def written(self, role):
        return self.roles[role][0] if role in self.roles else role

    def read(self, person):
        """A person of the relation in the contract's words; word is the relation's own for the role."""
        return {**person, 'word': person['role'], 'role': self.role(person['role'])}


def as_stored(person):
    return {**{c: person[c] for c in PERSON}, 'role': person['word']}


class Index:
    """A unique index of people: over columns of one site or of all (everywhere), of all people or a part of them, by
    lower case or not."""

    def __init__(self, keys, part=None, lower=False, everywhere=False):
        self.keys, self.part, self.lower, self.everywhere = keys, part, lower, everywhere
        self.columns = set(keys) | ({'role'} if part == 'students' else set())
        self.of_archive = part == 'active'

    def value(self, person):
        """What the index keeps of a person; None where that is nothing to be alike in."""
        if (self.part == 'active' and person['archived_at'] is not None) or (self.part == 'students'
                and person['word'] != 'student'):
            return None
        values = [person[k].lower() if self.lower and person[k] else person[k] for k in self.keys]
        return None if None in values else values

    def statement(self, name):
        keys = [f'lower({k})' if self.lower else k for k in self.keys]
        where = {'active': ' WHERE archived_at IS NULL', 'students': " WHERE role = 'student'", None: ''}[self.part]
        columns = ', '.join(keys if self.everywhere else ['site', *keys])
        return f"CREATE UNIQUE INDEX {name} ON people ({columns}){where}"


def protected(person):
    return not person['roster_managed'] or person['role'] in ('owner', 'manager', 'other')


def unit(column):
    """What a column is owned as: the contact's are one."""
    return 'parent_contact' if column in PARENT else column


class Model:
    """What a sync must do. before has people, links (of all connections of the site), toggles, settings, recent (person
    -> category: archived by this connection within a week, and not approved), decisions (sourced id, person or None,
    what), owners (column -> owner), edited (person -> columns that are the SIS's unless edited, and were), reads
    (person -> earlier full reads that missed the person), had (lists that someone was found in before)."""

    def __init__(self, connection, rows, before, unread, is_full):
        self.connection = connection
        self.rows = rows                                        # staged users
        self.words, self.indexes = before['words'], before['indexes']
        self.people = {p['person_id']: self.words.read(p) for p in before['people']}
        self.all_links = before['links']
        self.own_links = {l['sourced_id']: l for l in self.all_links if l['connection'] == connection}
        self.links = {i: l for i, l in self.own_links.items() if l['person_id'] in self.people}
        self.toggles, self.settings, self.recent = before['toggles'], before['settings'], before['recent']
        self.decisions, self.owners = before['decisions'], before['owners']
        self.edited, self.reads = before['edited'], before['reads']
        self.unread = unread
        self.is_full = is_full
        self.by_id = {r['sourced_id']: r for r in rows}
        self.skipped = {i for i, _, decision in self.decisions if decision == 'skip' and i not in self.links}
        self.before = before
        self.met = set()                                        # what of the rules' rarer parts decided something
        self.forget()

    def forget(self):
        self.changes = []
        self.outcome = {}
        self.after = {i: dict(p) for i, p in self.people.items()}
        self.present = set()                                    # people who must not be archived
        self.moves = []
        self.moved = set()                                      # people whose link moves
        # sourced id -> category, of rows that are in no conflict
        self.settled = {}
        self.joining = {}                                       # sourced id -> person, of rows that get a link
        self.roles = {}                                         # person -> the role written tonight

    # Rows

    def kind(self, row):
        """contact, no rule, absent, off, unreadable, inactive or active."""
        if row['role'] in CONTACTS:
            return 'contact'
        if row['status'] == 'tobedeleted':
            return 'absent'
        if row['sourced_id'] in self.skipped:
            return 'skipped'
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
            # An empty list proves something only where it never had anyone.
            had = collection in self.before['had'] if of_family == 'contact' else any(l['category'] in categories
                for l in self.own_links.values())
            if had and not any(r['collection'] == collection for r in self.rows):
                return False
        return True

    def proved_absent(self, link):
        return not self.listed(link['sourced_id']) and self.proved(family(link['category']))

    # Who is who

    def person_families(self, person):
        """Known from live links, of any connection of the site, else from the role; empty where the role names none."""
        of_links = {family(l['category']) for l in self.all_links if l['person_id'] == person['person_id']}
        of_role = role_family(person['role'])
        return of_links or ({of_role} if of_role else set())

    def gone_tonight(self):
        """Whom the SIS is proved not to list tonight: all links here are absent, and no other connection lists the
        person."""
        gone = set()
        for person_id in self.people:
            links = [l for l in self.links.values() if l['person_id'] == person_id]
            if links and all(self.proved_absent(l) for l in links) and not any(
                    l['person_id'] == person_id and l['connection'] != self.connection and l['missed_since'] is None
                    for l in self.all_links):
                gone.add(person_id)
        return gone

    def readable(self, row):
        return row['status'] in (None, 'active', 'inactive') and not row['damaged']

    def could_be(self, rows, speaking, gone):
        """The key that decides, whom rows without a link could be, and whether that is a conflict. gone: leavers whom
        no other row is. Each address of the rows is asked for."""
        values = self.values(rows)
        addresses = {key(r['email']): r['email'] for r in rows if r['email'] is not None}
        told = [self.by_keys(rows, {**values, 'email': a}, speaking, gone) for a in addresses.values()] \
            or [self.by_keys(rows, values, speaking, gone)]
        if len(told) > 1:
            self.met.add('several addresses')
        people = set().union(*(found for _, found, _ in told))
        return next((by for by, found, _ in told if found), None), people, \
            any(conflict for _, _, conflict in told) or told[0][0] != 'identifier' and len(people) > 1

    def by_keys(self, rows, values, speaking, gone):
        of_family = family_of_row(rows[0])
        never = {p for i, p, _ in self.decisions if i in {r['sourced_id'] for r in rows}}
        known, nameless = [], []                                # of the family; of none
        for person in self.people.values():
            families = self.person_families(person)
            (known if of_family in families else nameless if not families else []).append(person)

        # By identifier. A leaver with both names other than the row's is not the row, nor is an archived person: the
        # number was given again.
        alike = [p for p in known + nameless if same(values['identifier'], p['identifier'])
            and p['person_id'] not in never]
        for person in list(alike):
            if both_differ(person, values) and (person['archived_at'] is not None or person['person_id'] in gone):
                self.met.add('number given again')
                alike.remove(person)
        # An archived person counts beside others where both names agree.
        found = [p for p in alike if p['archived_at'] is None or both_agree(p, values)]
        if found:
            conflict = len(found) > 1 or not suffice(found[0], values, found[0] in known)
            other = None if conflict else self.confirmed_by_address(rows, values, known, speaking, gone)
            if other and other is not found[0] and other['person_id'] not in never:
                self.met.add('two keys')
                return 'identifier', {found[0]['person_id'], other['person_id']}, True
            return 'identifier', {p['person_id'] for p in found}, conflict
        if alike:
            return 'identifier', {p['person_id'] for p in alike}, True

        # By e-mail. An address that is not unique on both sides is no key; but no one is made of a row beside someone
        # of the same names there, or of the same given name whose own row has the address, or is of a role that
        # has none in the stage: that one may have been renamed, and the row be the same human once more.
        active, archived = self.at_address(values, known, gone)
        found = active + archived
        if len(found) > 1 or not self.is_own_address(rows, values, speaking):
            agreeing = {p['person_id'] for p in found if p['person_id'] not in never and both_agree(p, values)}
            here = [p for p in active if p['person_id'] not in self.leavers]
            if not agreeing and len(here) == 1 and here[0]['person_id'] not in never and given_names(here[0],
                    values) is True and any(
                    self.linked_to(r) == here[0]['person_id'] and self.readable(r)
                    and (same(r['email'], values['email']) or r['role'] not in RULES) for r in speaking):
                agreeing = {here[0]['person_id']}
            self.met.add('shared address, same names' if agreeing else 'shared address')
            return ('e-mail', agreeing, True) if agreeing else (None, set(), False)
        if found:
            # Whom a decision excludes has the address all the same.
            if found[0]['person_id'] in never:
                return None, set(), False
            given = given_names(found[0], values)
            self.met.add('archived by e-mail' if archived else 'e-mail')
            if differ(found[0]['identifier'], values['identifier']):
                self.met.add('two identifiers at an address')
                return (None, set(), False) if given is False else ('e-mail', {found[0]['person_id']}, True)
            return 'e-mail', {found[0]['person_id']}, given is not True
        found = {p['person_id'] for p in nameless if same(values['email'], p['email']) and both_agree(p, values)
            and p['person_id'] not in never}
        if found:
            self.met.add('no family')
        return ('e-mail', found, True) if found else (None, set(), False)

    def at_address(self, values, known, gone):
        """People of the family who count at the address: active ones to whom it still belongs, archived ones who agree
        in both names."""
        def passed_on(person):
            return person['person_id'] in gone and family_names(person, values) is False \
                and (given_names(person, values) is False or differ(person['identifier'], values['identifier']))
        at = [p for p in known if same(values['email'], p['email'])]
        if any(passed_on(p) for p in at):
            self.met.add('address passed on')
        return [p for p in at if p['archived_at'] is None and not passed_on(p)], [p for p in at
            if p['archived_at'] is not None and both_agree(p, values)]

    def is_own_address(self, rows, values, speaking):
        """Whether no other readable row of the family has the address; rows of one group count once."""
        return not any(same(r['email'], values['email']) and r not in rows and family_of_row(r)
            == family_of_row(rows[0]) and self.readable(r)
                       for r in speaking)

    def confirmed_by_address(self, rows, values, known, speaking, gone):
        """The active person whom the address confirms, unique on both sides."""
        active, archived = self.at_address(values, known, gone)
        if len(active) == 1 and not archived and self.is_own_address(rows, values, speaking) and given_names(active[0],
                values) is True:
            return active[0]
        return None

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

    def whose(self, row):
        """The person a row is for certain: by its link, or someone new by a decision."""
        if self.linked_to(row):
            return self.linked_to(row)
        return 'new ' + row['sourced_id'] if (row['sourced_id'], None, 'new person') in self.decisions else None

    def never_the_same(self, one, other):
        """Whether someone decided that one of two rows is never the person whose the other is."""
        return any((a['sourced_id'], self.whose(b), 'never the same') in self.decisions
                   for a, b in ((one, other), (other, one)))

    def related(self, one, other):
        """What two rows say of each other: join (one person), clash (a conflict), or nothing."""
        if self.whose(one) and self.whose(other):
            return 'join' if self.whose(one) == self.whose(other) else None
        if self.never_the_same(one, other):
            return None
        if family_of_row(one) != family_of_row(other) or family_of_row(one) not in ('student', 'staff'):
            return None
        if one['role'] == other['role']:
            if same(one['identifier'], other['identifier']) and both_agree(one, other) \
                    and not differ(one['username'], other['username']) and not differ(one['email'], other['email']):
                return 'join'
            return 'clash' if same(one['identifier'], other['identifier']) or same(one['username'],
                other['username']) else None
        for shared, contradicting in (('username', 'identifier'), ('identifier', 'username')):
            if same(one[shared], other[shared]) and not differ(one[contradicting], other[contradicting]):
                return 'clash' if both_differ(one, other) else 'join'
        return None

    def contradict(self, rows):
        """Whether rows that would be one person, but are not so by link, say that they are several."""
        for i, one in enumerate(rows):
            for other in rows[i + 1:]:
                if self.whose(one) and self.whose(one) == self.whose(other):
                    continue
                related = self.related(one, other)
                if self.never_the_same(one, other) or related == 'clash' or both_differ(one, other) \
                        or (related is None and one['role'] == other['role']) \
                        or differ(one['username'], other['username']) or differ(one['identifier'], other['identifier']):
                    return True
        return False

    def place(self, rows, person):
        """Category and role due: the best rank among active rows, and among those that have the rank but are not active
        now."""
        active = [r for r in rows if self.kind(r) == 'active']
        of_rows = [RULES[r['role']][0] for r in active or rows]
        kept = [RULES[r['role']][0] for r in rows if r not in active and r['sourced_id'] not in self.links]
        for link in self.links.values():
            if person is None or link['person_id'] != person or self.by_id.get(
                    link['sourced_id']) in active or self.proved_absent(link):
                continue
            row = self.by_id.get(link['sourced_id'])
            kept.append(RULES[row['role']][0] if row and self.kind(row) in ('inactive', 'off') and self.readable(row)
                else link['category'])
        # A rank that comes with another role than was written has never been the person's; one who never got a role has
        # the best.
        written = self.role_written(person) if person is not None else ROLE_DUE[best(of_rows)]
        kept = [k for k in kept if family(k) == family(of_rows[0]) and written in (None, ROLE_DUE[k])]
        return best(of_rows + [k for k in kept if self.toggles[k]['roster']]), \
            ROLE_DUE[best(of_rows + [k for k in kept if written is not None])]

    def role_written(self, person):
        return next((l['role_written'] for l in self.links.values() if l['person_id'] == person and l['role_written']),
            None)

    def parent_contact(self, row, person):
        """The primary contact of a student's row: guardian or parent before relative, then the order of agents; all
        None to clear one."""
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
            if may_be and contact['status'] != 'tobedeleted' and (contact['damaged'] or contact['given_name']
                    or contact['family_name']):
                kinds.setdefault(CONTACTS.get(contact['role'], 0), []).append(contact)
        if not kinds or kinds[min(kinds)][0]['damaged']:
            return {}
        first, equals = kinds[min(kinds)][0], {c['sourced_id'] for c in kinds[min(kinds)]}
        words = {1: 'guardian or parent', 2: 'relative'}[min(kinds)]
        rule = ('no guardian or parent; ' if words == 'relative' else '') + (f'first {words} in the order of agents'
            if len(equals) > 1 else f'only {words}')
        return {'parent_name': ' '.join(n for n in (first['given_name'], first['family_name']) if n),
            'parent_email': first['email'],
                'parent_phone': first['phone'], 'parent_rule': f"{first['role']}: {rule}"}

    # What is to be done

    def change(self, action, category, person, ids, before=None, after=None, state='planned'):
        self.changes.append({'action': action, 'category': category, 'person': person, 'ids': sorted(ids),
                             'before': before or {}, 'after': after or {}, 'state': state})

    def conflict(self, category, people, ids):
        self.change('conflict', category, None, ids, state='noted')
        self.changes[-1]['people'] = sorted(people) if people is not None else None

    def owns(self, person):
        """Of two connections on one site the one that linked a person first owns its columns."""
        here = [l['linked_run'] for l in self.links.values() if l['person_id'] == person]
        elsewhere = [l['linked_run'] for l in self.all_links
                     if l['person_id'] == person and l['connection'] != self.connection and l['missed_since'] is None]
        return not elsewhere or bool(here) and min(here) < min(elsewhere)

    def plan(self):
        groups = self.groups()
        self.decide_all(groups)
        self.overrule(groups, self.collisions(), 'not unique')
        # No one gets the identifier of a row that could be someone else by e-mail, and is linked to no one tonight:
        # the person would be found in it tomorrow.
        lost = {(family_of_row(g['rows'][0]), key(x)) for g in groups for x in [self.values(g['rows'])['identifier']]
                if g['by'] == 'e-mail' and x is not None and not any(r['sourced_id'] in self.joining
                        for r in g['usable'])}
        self.overrule(groups, {i for c in self.changes if c['state'] == 'planned'
            and c['after'].get('identifier') is not None
                               and (family(c['category']), key(c['after']['identifier'])) in lost for i in c['ids']},
                               'identifier withheld')
        self.hold_updates()
        self.archive()
        return self

    def overrule(self, groups, against, why):
        """Decides again with groups in conflict for another reason than whom they could be: of these rows. Who has
        the value of a unique index is not compared: of several, one is named."""
        if not against:
            return
        self.met.add(why)
        for group in groups:
            ids = {r['sourced_id'] for r in group['usable']} & against
            if ids:
                group['overruled'] = None if why == 'not unique' else group['people']
        self.forget()
        self.decide_all(groups)

    def collisions(self):
        """Rows whose values a unique index of people would refuse. People are taken as they are there."""
        against = set()
        for index in self.indexes:
            planned = []
            for change in self.changes:
                if change['action'] == 'create' or (change['action'] == 'restore' and index.of_archive) \
                        or (change['action'] in ('update', 'restore') and set(change['after']) & index.columns):
                    value = index.value(self.after['new ' + min(change['ids']) if change['action'] == 'create'
                        else change['person']])
                    if value is not None:
                        planned.append((change, value))
            for change, value in planned:
                others = [p for p in self.people.values() if p['person_id'] != change['person']] + (
                    self.before['elsewhere'] if index.everywhere else [])
                if any(index.value(p) == value for p in others) or sum(1 for _, v in planned if v == value) > 1:
                    against |= set(change['ids'])
        return against

    def collides(self, change, people):
        """Whether a unique index refuses what this change does to a person, people being as they are now."""
        for index in self.indexes:
            if change['action'] == 'create' or (change['action'] == 'restore' and index.of_archive) \
                    or (change['action'] in ('update', 'restore') and set(change['after']) & index.columns):
                person = change['person'] or 'new ' + min(change['ids'])
                value = index.value(self.after[person])
                if value is not None and any(index.value(p) == value for i, p in people.items() if i != person):
                    return True
        return False

    def hold_updates(self):
        """Updates that would change one column for too many of a category wait, each person's as a whole."""
        for category in CATEGORIES:
            updates = [c for c in self.changes if c['action'] == 'update' and c['category'] == category]
            people = {p for p in self.people if self.people[p]['archived_at'] is None and self.category_then(p)
                == category} \
                - {c['person'] for c in self.changes if c['action'] == 'update'} | {u['person'] for u in updates}
            listed = {p for p in people if not protected(self.people[p]) and self.owns(p) and self.is_listed(p)}
            columns = {c for u in updates for c in u['after']} - ({'grade'} if self.settings['in_season'] else set())
            held = {c for c in columns if len(people) >= 20 and 100 * sum(1 for u in updates if c in u['after']
                and (u['before'].get(c) or '').strip())
                    > self.settings['guard_update_percent'] * max(len(listed), 20)}
            for update in updates:
                if held & set(update['after']):
                    self.hold(update)

    def hold(self, update):
        person, joins = update['person'], [i for i in update['ids'] if i not in self.links]
        update['state'] = 'held'
        self.after[person] = dict(self.people[person])
        self.roles.pop(person, None)
        main = next(i for i in update['ids'] if self.outcome[i] == 'update')
        self.outcome[main] = 'link' if joins else 'skip'
        if joins:
            self.change('link', update['category'], person, update['ids'])

    def decide_all(self, groups):
        for row in self.rows:
            kind = self.kind(row)
            if kind in ('contact', 'no rule', 'absent', 'off'):
                self.outcome[row['sourced_id']] = 'contact' if kind == 'contact' else 'ignore'
            elif kind == 'skipped':
                self.outcome[row['sourced_id']] = 'skip'
            elif kind == 'unreadable':
                self.outcome[row['sourced_id']] = 'reject'
                self.change('reject', RULES[row['role']][0] if row['role'] in RULES else None, self.linked_to(row),
                    [row['sourced_id']], state='noted')
        for group in groups:
            self.present |= group['people']
            group['usable'] = [r for r in self.ordered(group['rows']) if self.usable(r)]
            if group['usable']:
                self.decide(group)

    def groups(self):
        """Which rows are one person, whom they could be, and which of them are in conflict."""
        # People whom a row could be that is not to be acted on count as well; guardians and unknown roles only where
        # they are linked.
        speaking = [r for r in self.rows if self.kind(r) not in ('absent', 'skipped')
            and (r['role'] in RULES or self.linked_to(r))]
        certain, loose = {}, []
        for row in speaking:
            if self.whose(row):
                certain.setdefault(self.whose(row), []).append(row)
            else:
                loose.append(row)
        # Loose rows that say something of each other, or of the same person's rows. Where nothing speaks against it
        # they are one person, be it one whose rows they join; else all of them are in conflict, and they alone: rows
        # that are someone's for certain go on.
        groups, joining = [], {}
        for rows in self.connected(loose, certain):
            ties = {how: {w for w, of in certain.items() if any(self.related(a, b) == how for a in rows for b in of)}
                for how in ('join', 'clash')}
            of_person = [r for w in ties['join'] for r in certain[w]]
            against = bool(ties['clash']) or len(ties['join']) > 1 or self.contradict(rows + of_person)
            self.met |= ({'clash'} if against else set()) | ({'joins two'} if len(ties['join']) > 1 else set()) \
                | ({'one role twice'} if not against and len({r['role'] for r in rows}) < len(rows) else set())
            if ties['join'] and not against:
                joining.update({next(iter(ties['join'])): rows})
            else:
                groups.append(self.unlinked(rows, ties['join'] | ties['clash'], against))
        for whose, rows in certain.items():
            person = {whose} if whose in self.people else set()
            families = {family_of_row(r) for r in rows} - {None}
            conflict = len(families) > 1 or any(family_of_row(r) not in (None,
                family(self.links[r['sourced_id']]['category'])) for r in rows if person)
            if conflict and whose in joining:
                groups.append(self.unlinked(joining.pop(whose), person, True))
            groups.append({'rows': rows + joining.get(whose, []), 'people': person, 'by': 'linked', 'linked': True,
                'conflict': conflict})
        self.match(groups, speaking)
        return groups

    def connected(self, rows, certain):
        """Rows in sets of those that say something of each other, or of rows of the same person, be it by way of
        others."""
        ties = {r['sourced_id']: {w for w, of in certain.items() if any(self.related(r, x) for x in of)} for r in rows}
        sets = []
        for row in rows:
            touching = [s for s in sets if any(self.related(row, r) or ties[row['sourced_id']] & ties[r['sourced_id']]
                for r in s)]
            sets = [s for s in sets if s not in touching] + [[row] + [r for s in touching for r in s]]
        return sets

    def unlinked(self, rows, people, conflict):
        # Of rows that contradict each other each could be someone else.
        return {'rows': rows, 'parts': [[r] for r in rows] if conflict else [rows],
            'certain': {p for p in people if p in self.people},
                'against': conflict, 'linked': False}

    def match(self, groups, speaking):
        """Whom groups without a link could be. A leaver whom another row matches has not left: so again, until no more
        of them come back."""
        loose, gone = [g for g in groups if not g['linked']], self.gone_tonight()
        self.leavers = frozenset(gone)
        while True:
            for group in loose:
                found = [self.could_be(part, speaking, gone) for part in group['parts']]
                group['by'] = 'e-mail' if any(by == 'e-mail' for by, _, _ in found) else found[0][0]
                group['people'] = group['certain'].union(*(people for _, people, _ in found))
                group['conflict'] = group['against'] or found[0][2]
            back = gone & {p for g in loose for p in g['people']}
            if not back:
                break
            gone -= back
        for group in loose:
            group['conflict'] = group['conflict'] or any(l['person_id'] in group['people'] and not self.proved_absent(l)
                for l in self.links.values())
        named = True
        while named:
            named = False
            for group in loose:
                if not group['conflict'] and any(g is not group and g['people'] & group['people'] for g in groups):
                    group['conflict'] = named = True

    def decide(self, group):
        rows = group['usable']
        ids = [r['sourced_id'] for r in rows]
        person_id = next(iter(group['people'])) if len(group['people']) == 1 else None
        if group['conflict'] or 'overruled' in group:
            # Each row of such a person is in the conflict, and is told there.
            of_group = [r['sourced_id'] for r in group['rows'] if self.kind(r) != 'contact']
            self.outcome.update({i: 'conflict' for i in of_group})
            self.changes = [c for c in self.changes if c['action'] != 'reject' or c['ids'][0] not in of_group]
            ranked = [RULES[r['role']][0] for r in rows if self.kind(r) == 'active'] or [RULES[r['role']][0]
                for r in rows]
            self.conflict(best(ranked) if group['conflict'] else self.place(rows, person_id)[0],
                group.get('overruled', group['people']), ids)
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
        """The SIS's values that are to be written to a person, and what is there: empty ones clear nothing, the
        contact's are written as one."""
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
            self.after['new ' + min(ids)] = {**dict.fromkeys(PERSON), **after, 'word': self.words.written(role),
                'roster_managed': True}
            return 'create'
        person = self.people[person_id]
        new = any(i not in self.links for i in ids)
        after = self.due(rows, person)
        written = self.role_written(person_id)
        if written is not None and person['word'] == self.words.written(written) and role != written:
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
            self.after[person_id]['word'] = self.words.written(writes['role'])
        return action

    # Who is gone

    def seen_last(self, links):
        newest = [l for l in links if l['missed_since'] is None]
        return newest or [l for l in links if l['missed_since'] == max(m['missed_since'] for m in links)]

    def links_then(self, person_id):
        """A person's links as they are once the night is over."""
        links = [{**l, 'category': self.settled.get(l['sourced_id'], l['category']),
                  'missed_since': None if self.listed(l['sourced_id']) else l['missed_since']
                  or (TONIGHT if self.proved_absent(l) else None)}
                 for l in self.links.values()
                 if l['person_id'] == person_id and not (person_id in self.moved and not self.listed(l['sourced_id']))]
        return links + [{'sourced_id': i, 'category': self.settled[i], 'missed_since': None} for i,
            p in self.joining.items() if p == person_id]

    def category_then(self, person_id):
        links = self.links_then(person_id)
        return best([l['category'] for l in self.seen_last(links)]) if links else None

    def is_listed(self, person_id):
        return any(self.listed(l['sourced_id']) if self.is_full else l['missed_since'] is None
            for l in self.links_then(person_id))

    def archive(self):
        leaving = {}
        for person_id, person in self.people.items():
            links = [l for l in self.links.values() if l['person_id'] == person_id]
            if not links or person['archived_at'] is not None or person_id in self.present or not all(
                    self.proved_absent(l) for l in links):
                continue
            if any(l['person_id'] == person_id and l['connection'] != self.connection and l['missed_since'] is None
                    for l in self.all_links):
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
            held = 'held' if self.settings['unproven'] or self.settings['frozen'] or self.too_many(category,
                tonight) else 'planned'
            for person_id, ids in tonight.items():
                self.change('archive', category, person_id, ids, state=held)
                if held == 'planned':
                    self.after[person_id]['archived_at'] = GONE

    def too_many(self, category, tonight):
        """Leavers of a week, tonight's among them, against the category's linked people once all else is done."""
        base = set(tonight)
        back = {c['person'] for c in self.changes if c['action'] == 'restore'}
        before = {p for p, c in self.recent.items() if c == category and p in self.people
            and self.people[p]['archived_at'] and p not in back}
        for person_id, person in self.people.items():
            if person['archived_at'] is not None and person_id not in back:
                continue
            if self.category_then(person_id) == category:
                base.add(person_id)
        base |= before
        created = sum(1 for c in self.changes if c['action'] == 'create' and c['category'] == category)
        leavers, all_of_them = len(set(tonight) | before), len(base) + created
        if self.settings['in_season']:
            return (leavers * 100 > self.settings['season_percent'] * all_of_them
                    and leavers > self.settings['guard_floor'])
        return (leavers * 100 > self.settings['guard_percent'] * all_of_them
            and leavers > self.settings['guard_floor']) \
            or (all_of_them >= 4 and leavers * 2 >= all_of_them)

    def links_after(self):
        """The connection's links once the night is over: sourced id -> person, category, role written, whether missing,
        whether archived."""
        links = {}
        for sourced_id, link in self.own_links.items():
            if link['person_id'] in self.moved and link['person_id'] in self.people and not self.listed(sourced_id):
                continue
            person = self.after.get(link['person_id'])
            if not self.is_full and link['category'] == 'student' and sourced_id not in self.by_id:
                person = None                                   # a delta says nothing of students whom it does not list
            links[sourced_id] = (link['person_id'], self.settled.get(sourced_id, link['category'])
                if sourced_id in self.links else link['category'],
                                 self.roles.get(link['person_id'], link['role_written']),
                                 not self.listed(sourced_id)
                                 and (link['missed_since'] is not None or self.proved_absent(link)),
                                 bool(person and person['archived_at']
                                     and (person['archived_at'] == GONE or link['archived_run'] is not None))
                                 if person else link['archived_run'] is not None)
        for sourced_id, person_id in self.joining.items():
            role = self.after[person_id]['role'] if person_id.startswith('new ') else self.roles.get(person_id,
                self.role_written(person_id))
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
    """What of a person must not have been changed since; another word for the role is a change too."""
    return as_stored(person)


def refused_by_apply(change, then, now):
    """Whether the apply of a preview leaves this change alone: people as the preview saw them, and as they are."""
    if change['action'] != 'create':
        person = now.get(change['person'])
        return person is None or protected(person) or roster_sees(person) != roster_sees(then[change['person']])

    def namesakes(people):
        return {i for i, p in people.items() if same(p['identifier'], change['after'].get('identifier'))
            or same(p['email'], change['after'].get('email'))}
    return namesakes(then) != namesakes(now)


def kept_by_undo(change, then, now):
    """Whether an undo leaves this change as it is: then is the person as the run left them, now as they are."""
    if now is None or protected(now):
        return True
    return change['action'] != 'link' and roster_sees(then) != roster_sees(now)


def refused_by_approval(change, now, links, toggles, connection):
    """Whether an approval leaves this held change alone: archives of people who are back, updates of
    people who were edited."""
    mine = [l for l in links if l['person_id'] == change['person'] and l['connection'] == connection]
    others = [l for l in links if l['person_id'] == change['person'] and l['connection'] != connection]
    toggle = toggles[change['category']]
    if now is None or now['archived_at'] is not None or protected(now) or not toggle['roster'] or not mine:
        return True
    if change['action'] == 'update':
        return not toggle['auto_update'] or any(now[c] != x for c, x in change['before'].items())
    return not toggle['archive'] or any(l['missed_since'] is None for l in mine + others)
