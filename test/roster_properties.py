"""What must hold of each sync whatever the rules' details are: asked of what the run found and left, and not of the
model."""

from roster_model import CONTACTS, RULES, both_differ, cleaned, family_of_row, key

UNTOUCHABLE = ('owner', 'manager', 'other')


def broken(connection, rows, links, before, after, changes, decisions):
    """Says each property that a sync broke. links are all links of the site as they were, before and after the people
    in the contract's words by id, changes what the run did, conflicts with the people whom they name, decisions what
    roster_decide said."""
    own = {l['sourced_id']: l['person_id'] for l in links if l['connection'] == connection and l['person_id'] in before}
    listed = [r for r in rows if r['status'] != 'tobedeleted']
    applied = [c for c in changes if c['state'] == 'applied']
    here = {own.get(r['sourced_id']) for r in listed}
    known = set(own) | {i for c in changes if c['action'] in ('link', 'update', 'restore', 'protect')
        or set(c['ids']) & set(own) for i in c['ids']}
    # Whom roster_decide said that a row is not, it does not keep.
    known |= {i for i, _, _ in decisions}
    elsewhere = {l['person_id'] for l in links if l['connection'] != connection and l['missed_since'] is None}

    for change in applied:
        if change['action'] == 'archive':
            person = before[change['person']]
            if change['person'] in here or change['person'] in elsewhere:
                yield f"{change['person']} is listed and archived"
            for row in listed:
                readable = not row['damaged'] and row['status'] != 'pending' and row['role'] not in CONTACTS
                if row['sourced_id'] not in known and readable and family_of_row(row) \
                        and row['identifier'] and person['identifier'] \
                        and key(row['identifier']) == key(person['identifier']) and alike(row, person) \
                        and family_of_row(row) == of(change['category']):
                    yield f"{change['person']} is archived, and {row['sourced_id']} has the same number and names"
        # A row that is one person with a linked row, by identifier and names, has its link.
        same = {r['sourced_id'] for r in listed for i in listed if i['sourced_id'] in change['ids']
            if r['identifier'] and i['identifier'] and key(r['identifier']) == key(i['identifier']) and alike(r, i)}
        if change['action'] in ('update', 'restore') and not any(i in own for i in {*change['ids'], *same}):
            was = before[change['person']]
            if both_differ(was, {**was, **{n: x for n, x in change['after'].items() if n in was}}):
                yield f"{change['person']} takes both names of {', '.join(change['ids'])} without a link"

    for person_id, person in before.items():
        if person['role'] in UNTOUCHABLE and after.get(person_id) != person:
            yield f"{person_id} is written, and is {person['role']}"

    unlinked = {r['sourced_id'] for r in listed if r['sourced_id'] not in own and r['role'] in RULES}
    created = [c for c in applied if c['action'] == 'create']
    if len(created) > len({i for c in created for i in c['ids']} & unlinked) or any(not set(c['ids']) <= unlinked
            for c in created):
        yield 'more people are created than there are rows without a link'

    goes_on = {own[i] for c in applied for i in c['ids'] if i in own and c['action'] != 'archive'}
    # A row that is one person with a linked row goes on as that one does, be the linked row unreadable or its category
    # off.
    for row in listed:
        if row['sourced_id'] in own:
            sharing = {r['sourced_id'] for r in listed for k in ('identifier', 'username')
                if r['role'] in RULES and row[k] and r[k] and key(r[k]) == key(row[k])}
            goes_on |= {c['person'] for c in applied if c['person'] == own[row['sourced_id']]
                and sharing & set(c['ids'])}
    for change in changes:
        for person_id in change.get('people') or ():
            # Whom a row beside the conflict is linked to goes on by that row.
            if person_id in before and person_id not in goes_on and after.get(person_id) != before[person_id]:
                yield f"{person_id} is named in a conflict of {', '.join(change['ids'])}, and changed"
            if person_id in goes_on and set(change['ids']) & {i for c in applied if c['person'] == person_id
                    for i in c['ids']}:
                yield f"{', '.join(change['ids'])} is in a conflict and acted on"


def alike(row, person):
    return all(cleaned(row[n]) and cleaned(row[n]) == cleaned(person[n]) for n in ('given_name', 'family_name'))


def of(category):
    return 'student' if category == 'student' else 'staff'
