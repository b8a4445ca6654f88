#!/usr/bin/python3
"""Checks META.json against the PGXN Meta Spec 1.0.0, and that the version and the files it names are those of this
checkout. Prints what is wrong, one line each."""
import json
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..')
NUMBER = r'(?:0|[1-9]\d*)'
SEMVER = rf'{NUMBER}\.{NUMBER}\.{NUMBER}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?'
RANGE = rf'(?:[=!]=|[<>]=?)?\s*(?:{SEMVER}|0)'
LICENSES = set('agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3 '
               'lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5 postgresql qpl_1_0 ssleay sun zlib '
               'open_source restricted unrestricted unknown'.split())
REQUIRED = {'name', 'version', 'abstract', 'maintainer', 'license', 'provides', 'meta-spec'}
OPTIONAL = {'description', 'generated_by', 'tags', 'no_index', 'prereqs', 'release_status', 'resources'}

faults = []


def check(holds, what):
    if not holds:
        faults.append(what)


def is_text(value):
    return isinstance(value, str) and value != ''


def is_term(value):
    return isinstance(value, str) and re.fullmatch(r'[^/\\\s\x00-\x1f\x7f]{2,}', value) is not None


def is_version(value):
    return isinstance(value, str) and re.fullmatch(SEMVER, value) is not None


def is_range(value):
    return value == 0 or isinstance(value, str) and re.fullmatch(rf'{RANGE}(?:,\s*{RANGE})*', value) is not None


def check_keys(where, value, required, optional):
    if not isinstance(value, dict):
        faults.append(f'{where} is no object')
        return False
    for key in sorted(required - value.keys()):
        faults.append(f'{where}: "{key}" is missing')
    for key in sorted(value.keys() - required - optional):
        check(key.lower().startswith('x_'), f'{where}: "{key}" is not in the spec')
    return True


def check_provides(provides):
    check(isinstance(provides, dict) and provides, '"provides" names no extension')
    for name, extension in provides.items() if isinstance(provides, dict) else ():
        where = f'provides, "{name}"'
        check(is_term(name), f'{where}: not a term')
        if not check_keys(where, extension, {'file', 'version'}, {'abstract', 'docfile', 'docpath'}):
            continue
        check(is_version(extension.get('version')), f'{where}: no semantic version')
        check(is_text(extension.get('abstract', 'none')), f'{where}: empty abstract')
        for key in ('file', 'docfile'):
            file = extension.get(key)
            check(file is None or os.path.isfile(os.path.join(TOP, str(file))), f'{where}: no file "{file}"')


def check_prereqs(prereqs):
    if not check_keys('prereqs', prereqs, set(), {'configure', 'build', 'test', 'runtime', 'develop'}):
        return
    check(prereqs, 'prereqs names no phase')
    for phase, relations in prereqs.items():
        if check_keys(f'prereqs, "{phase}"', relations, set(), {'requires', 'recommends', 'suggests', 'conflicts'}):
            for relation, needs in relations.items():
                for name, wanted in needs.items():
                    check(is_term(name) and is_range(wanted), f'prereqs, "{phase}", "{relation}": {name} {wanted}')


def check_meta(meta):
    if not check_keys('META.json', meta, REQUIRED, OPTIONAL):
        return
    check(is_term(meta.get('name')), '"name" is no term')
    check(is_version(meta.get('version')), '"version" is no semantic version')
    check(is_text(meta.get('abstract')), '"abstract" is empty')
    check(is_text(meta.get('description', 'none')), '"description" is empty')
    maintainer = meta.get('maintainer')
    check(is_text(maintainer) or isinstance(maintainer, list) and maintainer and all(map(is_text, maintainer)),
          '"maintainer" is empty')
    check(meta.get('license') in LICENSES, '"license" is not in the list of the spec')
    spec = meta.get('meta-spec')
    if check_keys('meta-spec', spec, {'version'}, {'url'}):
        check(spec.get('version') == '1.0.0', 'meta-spec: the version is not 1.0.0')
        check(spec.get('url') in (None, 'https://pgxn.org/meta/spec.txt'), 'meta-spec: another URL')
    tags = meta.get('tags', ['none'])
    check(isinstance(tags, list) and tags and len(set(tags)) == len(tags) and
          all(is_text(tag) and len(tag) <= 255 and not re.search(r'[/\\\x00-\x1f\x7f]', tag) for tag in tags),
          '"tags" are not different words')
    check(meta.get('release_status', 'stable') in ('stable', 'testing', 'unstable'), 'no such "release_status"')
    check_provides(meta.get('provides'))
    check_prereqs(meta.get('prereqs', {'runtime': {}}))


def contents(name):
    with open(os.path.join(TOP, name), encoding='utf-8') as file:
        return file.read()


def check_versions(meta):
    version = re.search(r"^default_version *= *'(.*)'", contents('minga_roster.control'), re.MULTILINE).group(1)
    check(meta.get('version') == version, f'META.json is of version {meta.get("version")}, not {version}')
    extension = (meta.get('provides') or {}).get('minga_roster') or {}
    check(extension.get('version') == version, f'provides, "minga_roster": {extension.get("version")} is not {version}')
    debian = re.match(r'\S+ \(([^)]*)-[^-)]*\)', contents('debian/changelog')).group(1)
    check(debian == version, f'debian/changelog is of version {debian}, the control file of {version}')
    check(re.search(rf'^## {re.escape(version)}\b', contents('CHANGELOG.md'), re.MULTILINE),
          f'CHANGELOG.md has no section {version}')


def main():
    try:
        meta = json.loads(contents('META.json'))
    except ValueError as error:
        faults.append(f'META.json: {error}')
    else:
        check_meta(meta)
        if isinstance(meta, dict):
            check_versions(meta)
    print('\n'.join(faults), end='\n' if faults else '')
    sys.exit(1 if faults else 0)


main()
