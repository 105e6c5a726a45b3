"""What the check scripts share: the files of the tree, TAP lines, and a cache of clean results.

A result is cached under the hash of everything that it depends on: the file, all that it includes
from the tree, and the command. Only clean results are kept, so a complaint is repeated until it is
mended. The cache is build/check-cache/, a file of hashes for each tool.
"""

import concurrent.futures
import hashlib
import os
import re
import subprocess

SKIP_DIRS = {'build', '.git', '__pycache__', '.cache'}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.M)
WARNINGS = ['-Wall', '-Wextra', '-Wshadow', '-Wstrict-prototypes', '-Wmissing-prototypes',
            '-Wpointer-arith', '-Wno-unused-parameter', '-Wvla', '-Wundef']
CPPFLAGS = ['-I.', '-D_GNU_SOURCE']


def library_flags():
    """Where configure found the libraries that are not among the system's headers."""
    flags = []
    try:
        with open('build/config.mk', encoding='utf-8') as f:
            for line in f:
                if line.startswith(('GLIB_CFLAGS :=', 'SLIRP_CFLAGS :=')):
                    flags += line.split(':=', 1)[1].split()
    except OSError:
        pass
    return flags


CPPFLAGS += library_flags()


def files(*suffixes, root='.'):
    """Paths from root of the tree's files with one of these suffixes (all without), sorted."""
    found = []
    for dirpath, dirs, names in os.walk(root):
        dirs[:] = sorted(d for d in dirs if d not in SKIP_DIRS)
        for name in names:
            path = os.path.relpath(os.path.join(dirpath, name), root)
            if not os.path.islink(os.path.join(root, path)) and \
                    (not suffixes or path.endswith(suffixes)):
                found.append(path)
    return sorted(found)


def read(path, root='.'):
    with open(os.path.join(root, path), 'rb') as f:
        return f.read()


def includes(text):
    """The quoted includes of C text."""
    return INCLUDE.findall(text)


class Hasher:
    """Hashes of files with all that they include from the tree."""

    def __init__(self):
        self.own = {}

    def _own(self, path):
        if path not in self.own:
            data = read(path)
            self.own[path] = (hashlib.sha256(data).digest(),
                              includes(data.decode('utf-8', 'replace')))
        return self.own[path]

    def closure(self, path, extra):
        todo, seen = [path], set()
        total = hashlib.sha256(repr(extra).encode())
        while todo:
            p = todo.pop()
            if p in seen or not os.path.exists(p):
                continue
            seen.add(p)
            todo.extend(self._own(p)[1])
        for p in sorted(seen):
            total.update(p.encode() + b'\0' + self._own(p)[0])
        return total.hexdigest()


class Cache:
    def __init__(self, tool):
        build = os.environ.get('TINAMOU_BUILD', 'build')
        self.path = os.path.join(build, 'check-cache', tool)
        try:
            with open(self.path, encoding='ascii') as f:
                self.old = set(f.read().split())
        except FileNotFoundError:
            self.old = set()
        self.clean = set()

    def __contains__(self, key):
        if key in self.old:
            self.clean.add(key)
        return key in self.clean

    def add(self, key):
        self.clean.add(key)

    def save(self):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + '.new', 'w', encoding='ascii') as f:
            f.write('\n'.join(sorted(self.clean)) + '\n')
        os.replace(self.path + '.new', self.path)


def run_tool(tool, paths, command, stdin=None, extra=''):
    """Run command(path) for each path, two at a time; returns [(path, output)] of complaints.

    A complaint is a non-zero exit status. stdin(path) gives the text on standard input.
    """
    cache, hasher, todo = Cache(tool), Hasher(), []
    for path in paths:
        key = hasher.closure(path, (command(path), extra))
        if key not in cache:
            todo.append((path, key))

    def one(item):
        path, key = item
        done = subprocess.run(command(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              input=stdin(path).encode() if stdin else None, check=False)
        return path, key, done.returncode, done.stdout.decode('utf-8', 'replace')

    complaints = []
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for path, key, status, out in pool.map(one, todo):
            if status:
                complaints.append((path, out))
            else:
                cache.add(key)
    cache.save()
    return complaints


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, what, problems):
        """One line: ok without problems, else not ok with each problem as detail."""
        self.count += 1
        print(('not ok - ' if problems else 'ok - ') + what)
        for problem in problems:
            for line in str(problem).rstrip().splitlines():
                print('# ' + line)
        self.failed += bool(problems)

    def skip(self, what, reason):
        self.count += 1
        print(f'ok - {what} # SKIP {reason}')

    def done(self):
        print(f'1..{self.count}')
        return 1 if self.failed else 0
