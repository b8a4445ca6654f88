#!/usr/bin/python3
"""Carries out the Dockerfile without Docker: RUN in a chroot, COPY as a copy, each stage in a copy of a root that
stands for the base image. It knows what the Dockerfile uses and refuses anything else.

Usage: run_dockerfile.py CONTEXT BASE DIRECTORY VERSION
CONTEXT is the directory of the Dockerfile, BASE the root, DIRECTORY takes the roots of the stages, and VERSION is the
major version of PostgreSQL in BASE. Prints the root of the last stage."""
import os
import re
import shlex
import shutil
import subprocess
import sys

CONTEXT, BASE, DIRECTORY, VERSION = sys.argv[1:]
# As the official image sets them.
ENVIRONMENT = {'PG_MAJOR': VERSION, 'PATH': f'/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/{VERSION}/bin',
               'LC_ALL': 'C.UTF-8', 'DEBIAN_FRONTEND': 'noninteractive'}


def instructions():
    with open(os.path.join(CONTEXT, 'Dockerfile'), encoding='utf-8') as file:
        text = re.sub(r'^#.*\n', '', file.read(), flags=re.MULTILINE)
    for line in re.sub(r'\\\n\s*', '', text).splitlines():
        if line.strip():
            yield line.split(None, 1)


def copy(source, target, into_directory):
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    else:
        if into_directory:
            target = os.path.join(target, os.path.basename(source))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def main():
    stages = {}
    root = None
    for word, rest in instructions():
        print(f'{word} {rest}', file=sys.stderr, flush=True)
        if word == 'ARG':
            pass
        elif word == 'FROM':
            base, *name = re.fullmatch(r'(\S+)(?: AS (\S+))?', rest).groups()
            assert base == '${BASE}', f'another base: {base}'
            root = os.path.join(DIRECTORY, f'stage-{len(stages)}')
            subprocess.run(['cp', '-a', '--one-file-system', BASE, root], check=True)
            stages[name[0] or str(len(stages))] = root
        elif word == 'RUN':
            subprocess.run(['chroot', root, 'env', '-i', *(f'{k}={v}' for k, v in ENVIRONMENT.items()), '/bin/sh', '-c',
                            rest], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        elif word == 'COPY':
            *options, source, target = shlex.split(rest)
            top = CONTEXT
            for option in options:
                top = stages[re.fullmatch(r'--from=(\S+)', option).group(1)]
            copy(os.path.join(top, source.strip('/')), os.path.join(root, target.strip('/')), target.endswith('/'))
        else:
            sys.exit(f'run_dockerfile.py does not know {word}')
    print(root)


main()
