#!/usr/bin/env python3
"""Prints src/base/letters.h: which characters are letters or digits, and their lower case, of those that NFKD leaves as
they are.

    python3 src/base/make_letters.py > src/base/letters.h

Characters that no version of Unicode has yet may stand inside a range.
"""
import sys
import unicodedata

CHARACTERS = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]


def is_free(c):
    """Whether the table's word does not matter: NFKD has something else in its place, or there is no such character."""
    return unicodedata.normalize('NFKD', chr(c)) != chr(c) or unicodedata.category(chr(c)) == 'Cn'


letters, begun = [], None
for c in CHARACTERS:
    if is_free(c):
        continue
    if unicodedata.category(chr(c))[0] in 'LN':
        begun, last = begun or c, c
    elif begun:
        letters.append((begun, last))
        begun = None
if begun:
    letters.append((begun, last))

cases = []                                                      # first, last, step, what is added
for c in CHARACTERS:
    lower = chr(c).lower()
    if is_free(c) or len(lower) != 1 or lower == chr(c):
        continue
    assert unicodedata.normalize('NFKD', lower) == lower
    added = ord(lower) - c
    if cases and cases[-1][3] == added and (
            cases[-1][0] == cases[-1][1] and c - cases[-1][1] <= 2 or c - cases[-1][1] == cases[-1][2]):
        cases[-1][2] = c - cases[-1][1]
        cases[-1][1] = c
    else:
        cases.append([c, c, 1, added])


def table(declaration, entries, a_line):
    lines = [', '.join(entries[i:i + a_line]) for i in range(0, len(entries), a_line)]
    return 'static const %s = {\n\t%s\n};\n' % (declaration, ',\n\t'.join(lines))


sys.stdout.write('''/*
 * letters.h
 *	  Which characters beyond ASCII are letters or digits, and their lower case, of
 *	  those that NFKD leaves as they are: Unicode %s.  Made by make_letters.py.
 */
#ifndef MINGA_ROSTER_LETTERS_H
#define MINGA_ROSTER_LETTERS_H

typedef struct LetterRange
{
	pg_wchar	first;
	pg_wchar	last;
} LetterRange;

/* Each step-th character from first to last has its lower case added further. */
typedef struct CaseRange
{
	pg_wchar	first;
	pg_wchar	last;
	int			step;
	int			added;
} CaseRange;

%s
%s
#endif							/* MINGA_ROSTER_LETTERS_H */
''' % (unicodedata.unidata_version,
       table('LetterRange letter_ranges[]', ['{0x%X, 0x%X}' % l for l in letters], 5),
       table('CaseRange case_ranges[]', ['{0x%X, 0x%X, %d, %d}' % tuple(c) for c in cases], 3)))
