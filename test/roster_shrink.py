"""Makes a difference small: leaves out rows, people, links, decisions and values of the night in which the run and the
model differed, as long as the preview of what is left differs from the model too. Works inside one transaction, which
is rolled back."""

import json

import psycopg2.extras

from roster_model import PERSON, Model

LINK = ('connection', 'sourced_id', 'site', 'person_id', 'category', 'role_written', 'rule', 'linked_run',
    'missed_since', 'archived_run', 'missed_run')


class Shrinker:
    """One night of a case (roster_nights.Case) that differs."""

    def __init__(self, case, model):
        self.case, self.connection, self.unread, self.is_full = case, model.connection, model.unread, model.is_full
        self.before = model.before
        self.rows = list(model.rows)

    def differs(self, rows, people, links, decisions):
        """What the run does other than the model with these alone; None where they agree."""
        case = self.case
        case.query("SAVEPOINT whole; DELETE FROM links; DELETE FROM staged_users; DELETE FROM match_decisions; DELETE "
            "FROM people WHERE site = 'north'")
        # Someone is always there: a site without anyone is a case of its own.
        people = people or [{**dict.fromkeys(PERSON), 'person_id': 'P0', 'role': 'guest', 'given_name': 'Nobody',
            'family_name': 'Else', 'roster_managed': True}]
        before = {**self.before, 'people': people, 'links': links, 'decisions': decisions}
        try:
            case.stage(self.connection, rows)
            for table, columns, values in (('people', ('site', *people[0]) if people else (),
                    [('north', *p.values()) for p in people]),
                                           ('links', LINK, [tuple(l[c] for c in LINK) for l in links])):
                if values:
                    psycopg2.extras.execute_values(case.db, f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s",
                        values, page_size=1000)
            for decision in decisions:
                case.store_decision(self.connection, decision)
            model = Model(self.connection, rows, before, self.unread, self.is_full).plan()
            run = case.merge(self.connection, 'preview', is_full=self.is_full)
            due, found = (sorted(json.dumps(e, sort_keys=True) for e in changes) for changes
                          in (case.by_row(model.changes), case.by_row(case.changes(run))))
            if due != found:
                return [f'the model: {d}' for d in due if d not in found] + [f'the run:   {f}' for f in found
                    if f not in due]
            outcomes = {tuple(o)
                for o in case.query('SELECT sourced_id, outcome FROM staged_users WHERE connection = %s',
                        self.connection)}
            due = set(model.outcome.items())
            return [f'the model: {o}' for o in sorted(due - outcomes)] + [f'the run:   {o}'
                for o in sorted(outcomes - due)] or None
        finally:
            case.query('ROLLBACK TO SAVEPOINT whole; RELEASE SAVEPOINT whole')

    def shrink(self):
        """The lines that show the smallest night found; none where its preview does not differ."""
        case = self.case
        case.query('BEGIN')
        try:
            parts = [self.rows, list(self.before['people']), list(self.before['links']), list(self.before['decisions'])]
            if not self.differs(*parts):
                return []
            for _ in range(2):
                for number in range(4):
                    self.leave_out(parts, number)
                self.empty(parts)
            shown = [{k: v for k, v in one.items() if v is not None} if isinstance(one, dict) else one for part in parts
                for one in part]
            return [str(s) for s in shown] + self.differs(*parts)
        finally:
            case.query('ROLLBACK')

    def leave_out(self, parts, number):
        size = max(1, len(parts[number]) // 2)
        while size:
            start = 0
            while start < len(parts[number]):
                fewer = parts[:number] + [parts[number][:start] + parts[number][start + size:]] + parts[number + 1:]
                if self.differs(*fewer):
                    parts[number] = fewer[number]
                else:
                    start += size
            size //= 2

    def empty(self, parts):
        """Takes away values that do not matter."""
        for number, needed in ((0, {'sourced_id', 'role', 'collection', 'enabled', 'damaged', 'given_name',
                'family_name'}),
                               (1, {'person_id', 'role', 'given_name', 'family_name', 'roster_managed'})):
            for position, one in enumerate(parts[number]):
                for column in [c for c in one if one[c] is not None and c not in needed]:
                    fewer = [list(p) for p in parts]
                    fewer[number][position] = {**fewer[number][position], column: None}
                    if self.differs(*fewer):
                        parts[number] = fewer[number]
