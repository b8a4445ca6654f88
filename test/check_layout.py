#!/usr/bin/python3
"""Checks how the C files depend on each other: test/check_layout.py [directory of the checkout], which has been built.

A file depends on another whose header it includes (or its own header does), and on one whose function or variable it
names (nm over the objects). Dependencies point one way: minga_roster.c -> run -> oneroster -> net -> base, and no two
files depend on each other, be it through others. libcurl's headers stay in net/, OpenSSL's in one file, and what the
library exports has the extension's prefix.
"""
import collections
import glob
import os
import re
import subprocess
import sys

LEVELS = ['base', 'net', 'oneroster', 'run', '']	# '': src/minga_roster.c, the module's entry
EXPORTED = re.compile(r'(pg_finfo_)?(minga_)?roster_\w+|Pg_magic_func|_PG_init')


def unit(path):
    """What a file and its headers are called together: oneroster/page; net/transfer of transfer_internal.h too."""
    return os.path.splitext(path)[0].removesuffix('_internal')


def files(top):
    """The C files and headers below src/, by path."""
    found = {}
    for path in glob.glob(os.path.join(top, 'src', '**', '*.[ch]'), recursive=True):
        with open(path, encoding='utf-8') as file:
            found[os.path.relpath(path, os.path.join(top, 'src'))] = file.read()
    return found


def includes(found):
    """Pairs of units of which the first includes the second's header."""
    pairs = set()
    for path, text in found.items():
        for header in re.findall(r'^#include "([^"]+)"', text, re.M):
            if header in found:
                pairs.add((unit(path), unit(header)))
    return pairs


def symbols(*arguments):
    """What nm prints, as lists of words."""
    output = subprocess.run(['nm', *arguments], check=True, capture_output=True, text=True).stdout
    return [line.split() for line in output.splitlines() if line.strip()]


def calls(top, found):
    """Triples of a unit, the unit that defines what the first names, and that name."""
    objects = {unit(path): os.path.join(top, 'src', unit(path) + '.o') for path in found if path.endswith('.c')}
    defined, wanted = {}, []
    for name, path in objects.items():
        for words in symbols('-g', path):
            if words[-2] == 'U':
                wanted.append((name, words[-1]))
            else:
                defined[words[-1]] = name
    return {(name, defined[symbol], symbol) for name, symbol in wanted if symbol in defined}


def circles(pairs):
    """The strongly connected sets of more than one unit, largest first (Kosaraju)."""
    ahead, back = collections.defaultdict(set), collections.defaultdict(set)
    for one, other in pairs:
        if one != other:
            ahead[one].add(other)
            back[other].add(one)
    seen, order = set(), []

    def walk(start, edges, done):
        stack = [(start, iter(sorted(edges[start])))]
        seen.add(start)
        while stack:
            name, rest = stack[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                stack.pop()
                done.append(name)
            else:
                seen.add(following)
                stack.append((following, iter(sorted(edges[following]))))

    for name in sorted(set(ahead) | set(back)):
        if name not in seen:
            walk(name, ahead, order)
    seen.clear()
    found = []
    for name in reversed(order):
        if name not in seen:
            members = []
            walk(name, back, members)
            if len(members) > 1:
                found.append(sorted(members))
    return sorted(found, key=lambda members: (-len(members), members))


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
    found = files(top)
    included, called = includes(found), calls(top, found)
    wrong = []

    for what, pairs in (('includes', included), ('calls', {c[:2] for c in called}),
                        ('includes and calls', included | {c[:2] for c in called})):
        loops = circles(pairs)
        print('circles of %s: %d' % (what, len(loops)))
        for loop in loops:
            print('    %d files: %s' % (len(loop), ' '.join(loop)))
    wrong += ['a circle: ' + ' '.join(loop) for loop in loops]

    for one, other, why in [(*pair, 'includes') for pair in included] + sorted(called):
        level = [os.path.dirname(name) for name in (one, other)]
        if not set(level) <= set(LEVELS):
            wrong.append('%s and %s: not in a directory of the layout' % (one, other))
        elif LEVELS.index(level[0]) < LEVELS.index(level[1]):
            wrong.append('%s depends on %s, which is above it (%s)' % (one, other, why))

    wrong += ['%s raises errors without base/error.h' % path for path, text in sorted(found.items())
              if path.endswith('.c') and re.search(r'\berrmsg(_internal|_plural)?\(', text)
              and '#include "base/error.h"' not in text]

    headers = {path for path in found if path.endswith('.h')}
    compiled = {path for path in found if path.endswith('.c')}
    wrong += ['%s declares nothing of a file of its name' % h for h in sorted(headers)
              if unit(h) + '.c' not in compiled and re.search(r'^extern', found[h], re.M)]
    curl = sorted(path for path, text in found.items() if '#include <curl/' in text)
    openssl = sorted(path for path, text in found.items() if '#include <openssl/' in text)
    print('libcurl in: %s\nOpenSSL in: %s' % (' '.join(curl), ' '.join(openssl)))
    wrong += ["%s includes libcurl's headers outside of net/" % path for path in curl if not path.startswith('net/')]
    if len(openssl) != 1:
        wrong.append("OpenSSL's headers are included in %d files" % len(openssl))

    exported = [words[-1] for words in symbols('-D', '--defined-only', os.path.join(top, 'minga_roster.so'))]
    bare = sorted(name for name in exported if not EXPORTED.fullmatch(name))
    print('exported symbols: %d, without prefix: %d' % (len(exported), len(bare)))
    wrong += ['exported without prefix: ' + name for name in bare]

    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
