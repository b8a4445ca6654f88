"""A random school: its humans, what the SIS of each connection lists of them from one day to the next, and the people
it has before.

Drawn so that all kinds of likeness come close together: families that share an address with each other and with a
parent's account, twins, a father and a son of one name, staff at one office's address, numbers and addresses that are
given again, rows that come once for each school, names that are spelled in several ways, and accounts of other kinds.
"""

import unicodedata

from roster_model import CONTACTS

COLLECTION = {'student': 'students', 'teacher': 'teachers', 'guardian': 'guardians', 'parent': 'guardians',
    'relative': 'relatives'}
GIVEN = ('Ana', 'Bo', 'Cy', 'Alexander', 'Zoë', 'Mary Ann')
FAMILY = ('Day', 'Lee', 'Smith-Lopez', "O'Neil", 'Muñoz')
STAFF_ROLES = ('teacher', 'administrator', 'aide', 'proctor')
# The words of a deployment: one without a map, one with words of its own, and one that only says what the others are.
MAPS = ({},
        {'student': ['STUDENT', 'STUDENT_LEADER'], 'teacher': 'TEACHER', 'staff': ['STAFF', 'AIDE'],
            'other': ['PARENT', 'READ_ONLY']},
        {'other': ['parent', 'guest']})


class School:
    """Humans in neighborhoods that share keys, what the SIS of each connection lists of them, and what the people
    relation holds."""

    def __init__(self, draw, connections, with_contacts, roles):
        self.draw, self.with_contacts, self.roles = draw, with_contacts, roles
        self.numbers = 0
        self.restless = draw.random() < 0.12                    # large, of students, and often renamed as a whole
        self.rows = {c: {} for c in connections}
        self.contacts = {c: [] for c in connections}
        self.humans = []
        for hood in 'abcdefgh'[:5 if self.restless else draw.choices((1, 2, 4, 8), (45, 30, 18, 7))[0]]:
            first = len(self.humans)
            for number in range(draw.randint(6, 18)):
                kin = draw.choice(self.humans[first:]) if self.humans[first:] and draw.random() < 0.3 else None
                self.humans.append(self.human(hood, number, kin))
        for connection in connections:
            if with_contacts:
                for _ in range(draw.randint(1, len(self.humans))):
                    self.contact(connection)
            for human in self.humans:
                if draw.random() < 0.75:
                    self.list(connection, human)
        self.first_people = [p for h in self.humans if draw.random() < 0.4 for p in self.accounts(h)]

    def human(self, hood, number, kin=None):
        draw = self.draw
        human = {'student': draw.random() < (0.9 if self.restless else 0.6), 'given_name': draw.choice(GIVEN),
            'family_name': draw.choice(FAMILY), 'preferred_name': None,
                 'identifier': f'N{hood}{number if draw.random() < 0.85 else draw.randint(0, 9)}' if draw.random() < 0.7
                 else None,
                 'username': f'user{hood}{number if draw.random() < 0.85 else draw.randint(0, 9)}'
                 if draw.random() < 0.5 else None,
                 'email': f'mä{hood}{number if draw.random() < 0.75 else draw.randint(0, 9)}@x.example'
                 if draw.random() < 0.75 else None}
        if draw.random() < 0.1:
            human['preferred_name'] = draw.choice(('Lex', 'Zo', 'Bo', 'Ann'))
        if not human['student'] and draw.random() < 0.15:
            human['email'] = f'office{hood}@x.example'
        if kin:
            human.update(student=kin['student'], family_name=kin['family_name'], email=kin['email'])
            if draw.random() < 0.3:                             # senior and junior
                human.update(given_name=kin['given_name'], family_name=kin['family_name'] + ' Jr')
            if draw.random() < 0.1:                             # one number for two
                human.update(identifier=kin['identifier'])
        return human

    def spelled(self, text):
        """In other letters: equal but for ASCII ones alone."""
        return text.swapcase() if text and self.draw.random() < 0.1 else text

    def named(self, human):
        """The names of a human as someone might have typed them."""
        draw = self.draw
        names = {k: human[k] for k in ('given_name', 'family_name', 'preferred_name')}
        if draw.random() < 0.15:
            which = draw.choice(('given_name', 'family_name'))
            names[which] = draw.choice((str.upper, lambda n: n.replace('-', ' ').replace("'", ''),
                                        lambda n: ''.join(c for c in unicodedata.normalize('NFKD', n)
                                            if not unicodedata.combining(c))))(names[which])
        what = draw.random()
        if what < 0.06:
            names['given_name'] = names['given_name'][:draw.randint(2, 4)]
        elif what < 0.09 and human['preferred_name']:
            names.update(given_name=human['preferred_name'], preferred_name=None)
        elif what < 0.14:
            names[draw.choice(('given_name', 'family_name'))] = draw.choice(GIVEN + FAMILY)
        elif what < 0.15:
            names['family_name'] = names['family_name'].removesuffix(' Jr')
        elif what < 0.16:
            names[draw.choice(('given_name', 'family_name'))] = '-'
        if draw.random() < 0.3:
            names['preferred_name'] = None
        return names

    def row_of(self, human, role, connection):
        draw = self.draw
        row = {'status': draw.choices((None, 'active', 'inactive', 'tobedeleted', 'pending'), (62, 25, 6, 3, 2))[0],
            'role': role,
               'enabled': draw.random() > 0.05, 'damaged': draw.random() < 0.02,
               'middle_name': 'M' if draw.random() < 0.1 else None, 'phone': str(draw.randint(1, 4))
               if draw.random() < 0.3 else None,
               'grade': str(draw.randint(1, 12)) if role == 'student' and draw.random() < 0.5 else None,
               **self.named(human)}
        for key in ('given_name', 'family_name'):
            if draw.random() < 0.02:
                row[key] = None
        for key in ('identifier', 'username', 'email'):
            row[key] = self.spelled(human[key]) if draw.random() > 0.1 else None
        row['collection'] = COLLECTION.get(role, 'administrators')
        row['agent_ids'] = None
        if self.contacts[connection] and role == 'student' and draw.random() < 0.8:
            # Six of one child, one of many children, none, ids that dangle, and who is no contact.
            known = self.contacts[connection] + ['nobody'] + draw.sample(list(self.rows[connection]),
                min(2, len(self.rows[connection])))
            row['agent_ids'] = draw.sample(known, min(len(known), draw.choices((0, 1, 2, 6), (10, 40, 40, 10))[0]))
        return row

    def new_id(self, connection):
        self.numbers += 1
        return f'{connection[0]}{self.numbers:04}'

    def contact(self, connection):
        sourced_id, role = self.new_id(connection), self.draw.choice(tuple(CONTACTS))
        self.contacts[connection].append(sourced_id)
        human = {'given_name': self.draw.choice(GIVEN), 'family_name': self.draw.choice(FAMILY), 'preferred_name': None,
            'identifier': None, 'username': None,
                 'email': f'home{self.draw.randint(1, 6)}@x.example' if self.draw.random() < 0.8 else None}
        self.rows[connection][sourced_id] = {'human': {**human, 'student': False},
            **self.row_of(human, role, connection)}

    def list(self, connection, human):
        draw = self.draw
        if human['student']:
            roles = ['student'] if draw.random() > 0.03 else ['student', 'student']
        else:
            roles = draw.sample(STAFF_ROLES, draw.choices((1, 2, 3), (68, 25, 7))[0])
            if draw.random() < 0.04:
                roles.append(draw.choice(('guardian', 'relative', 'sysadmin', None, roles[0])))
        for role in roles:
            row = {'human': human, **self.row_of(human, role, connection)}
            self.rows[connection][self.new_id(connection)] = row
            if draw.random() < 0.06:                            # once more, for another school
                self.rows[connection][self.new_id(connection)] = dict(row)

    def word(self, role):
        words = self.roles.get(role, [role])
        return self.draw.choice([words] if isinstance(words, str) else words)

    def accounts(self, human):
        """The account of a human and perhaps one of another kind at the same address."""
        draw = self.draw
        yield self.person(human)
        if human['email'] and draw.random() < 0.25:
            parent = self.person({**human, 'identifier': None, 'username': None,
                **({'given_name': draw.choice(GIVEN)} if draw.random() < 0.7 else {})})
            yield {**parent, 'role': draw.choice((self.word('other') if 'other' in self.roles else 'parent', 'parent',
                'counselor'))}

    def person(self, human):
        draw = self.draw
        role = self.word('student' if human['student'] else draw.choice(('teacher', 'staff')))
        if draw.random() < 0.04:
            role = self.word('staff' if human['student'] else 'student')
        return {'role': draw.choice(('owner', 'Manager', 'student leader', 'student_leader', 'admin'))
            if draw.random() < 0.12 else role,
                **{k: v if v is not None or k == 'preferred_name' else '' for k, v in self.named(human).items()},
                'middle_name': None, 'username': human['username'], 'identifier': human['identifier']
                if draw.random() > 0.3 else None,
                'email': self.spelled(human['email']), 'phone': '9' if draw.random() < 0.2 else None, 'grade': None,
                'parent_name': 'Somebody' if draw.random() < 0.1 else None,
                'roster_managed': draw.random() > 0.08, 'archived_at': '2026-01-01' if draw.random() < 0.2 else None}

    def another_day(self, connection):
        draw, rows = self.draw, self.rows[connection]
        for sourced_id in list(rows):
            if sourced_id not in rows:
                continue
            row, what = rows[sourced_id], draw.random()
            if what < 0.05:
                del rows[sourced_id]
            elif what < 0.15:
                rows[sourced_id] = {'human': row['human'], **self.row_of(row['human'], row['role'], connection)}
            elif what < 0.18 and not row['human']['student']:
                role = draw.choice(('teacher', 'administrator', 'aide', 'guardian'))
                rows[sourced_id] = {**row, 'role': role, 'collection': COLLECTION.get(role, 'administrators')}
            elif what < 0.19:
                other = draw.choice(self.humans)
                rows[sourced_id] = {'human': other, **self.row_of(other, 'student' if other['student'] else 'teacher',
                    connection)}
            elif what < 0.21:
                rows[self.new_id(connection)] = rows.pop(sourced_id)
            elif what < 0.24:
                self.succeed(connection, row['human'])
        for human in self.humans:
            if draw.random() < 0.05:
                self.list(connection, human)
            if draw.random() < 0.02:                            # someone marries, or is called otherwise
                human[draw.choice(('given_name', 'family_name'))] = draw.choice(GIVEN + FAMILY)
        if draw.random() < (0.6 if self.restless else 0.05):
            self.rename_all(connection)

    def succeed(self, connection, human):
        """Someone leaves, and someone new gets the number, the address, or both."""
        draw, rows = self.draw, self.rows[connection]
        if draw.random() < 0.8:
            for sourced_id in [i for i, r in rows.items() if r['human'] is human]:
                del rows[sourced_id]
        new = {**self.human('z', draw.randint(0, 30)), 'student': human['student']}
        new.update({k: human[k] for k in draw.choice((('identifier',), ('email',), ('email', 'family_name'),
            ('email', 'given_name'), ('identifier', 'email')))})
        self.humans.append(new)
        self.list(connection, new)

    def rename_all(self, connection):
        """A mistake or a rollover: one column becomes another for nearly all of a role."""
        draw, rows = self.draw, self.rows[connection]
        column, role, much = draw.choice(('grade', 'phone', 'username', *['family_name'] * 4)), draw.choice(('student',
            'student', 'student', 'teacher')), draw.choice((0.8, 1, 1))
        for row in rows.values():
            if row['role'] == role and draw.random() < much:
                row[column] = f'{(row[column] or "")[:8]}x' if draw.random() < 0.9 else None
