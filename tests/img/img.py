"""What the tests of tinamou-img share: a folder of their own, running programs, TAP."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMG = os.path.join(ROOT, os.environ.get('TINAMOU_BUILD', 'build'), 'tinamou-img')
QEMU_IMG = shutil.which('qemu-img')
QEMU_IO = shutil.which('qemu-io')
MiB = 1 << 20


class Tests:
    """Counts and prints results; the current folder is a new one."""

    def __init__(self, area):
        self.area = area
        self.failed = 0
        self.folder = tempfile.mkdtemp(prefix='tinamou-img-')
        os.chdir(self.folder)

    def check(self, what, good, *details):
        print(f'{"ok" if good else "not ok"} - {self.area}: {what}', flush=True)
        self.failed += not good
        if not good:
            for detail in details:
                for line in str(detail).splitlines():
                    print('#', line)
        return good

    def skip(self, what, why):
        print(f'ok - {self.area}: {what} # SKIP {why}')

    def end(self):
        os.chdir('/')
        shutil.rmtree(self.folder)
        return 1 if self.failed else 0

    # ---- checks of one command ----

    def works(self, what, *words):
        done = run(*words)
        return self.check(what, done.returncode == 0 and not done.stderr, words, done.stdout,
                          done.stderr)

    def refused(self, what, text, *words, status=1):
        """One line on stderr that has the text, nothing on stdout."""
        done = run(*words)
        good = (done.returncode == status and done.stderr.count('\n') == 1 and
                done.stderr.startswith('tinamou-img: ') and text in done.stderr and
                not done.stdout)
        return self.check(what, good, words, done.returncode, done.stdout, done.stderr)

    def identical(self, what, a, b):
        done = subprocess.run([QEMU_IMG or IMG, 'compare', '-q', a, b], capture_output=True,
                              text=True)
        return self.check(what, done.returncode == 0, a, b, done.stdout, done.stderr)

    def sound(self, what, name):
        """Neither we nor qemu-img find anything in it."""
        programs = [IMG] + ([QEMU_IMG] if QEMU_IMG else [])
        done = [subprocess.run([p, 'check', name], capture_output=True, text=True)
                for p in programs]
        return self.check(what, all(d.returncode == 0 for d in done), name,
                          *(d.stdout + d.stderr for d in done))

    def same_output(self, what, *words, text=True, json_text=False, parsed=False):
        """What we print is what qemu-img prints, byte by byte."""
        ours = run(*words)
        theirs = subprocess.run([QEMU_IMG, *words], capture_output=True, text=True)
        good = ours.returncode == theirs.returncode
        if json_text:
            good = good and json.loads(ours.stdout) == json.loads(theirs.stdout)
        if text and not parsed:
            good = good and ours.stdout == theirs.stdout
        return self.check(what, good, words, ours.returncode, ours.stdout, ours.stderr,
                          theirs.returncode, theirs.stdout, theirs.stderr)


def run(*words, timeout=300):
    return subprocess.run([IMG, *words], capture_output=True, text=True, timeout=timeout)


def qemu(*words):
    subprocess.run([QEMU_IMG, *words], check=True, capture_output=True)


def write_at(name, *pieces, fmt='qcow2'):
    """Writes (offset, size, byte) into an image, by qemu-io."""
    words = [f'write -P {byte} {at} {size}' if byte else f'write -z {at} {size}'
             for at, size, byte in pieces]
    subprocess.run([QEMU_IO, '-f', fmt] + [w for c in words for w in ('-c', c)] + [name],
                   check=True, capture_output=True)


def make_raw(name, size, seed=1, pieces=40):
    """A sparse file with some data that can be compressed, and some that can't."""
    source = random.Random(seed)
    with open(name, 'wb') as f:
        f.truncate(size)
        for _ in range(pieces):
            length = source.choice([512, 4096, 65536, 300000])
            f.seek(source.randrange(0, size - length) & ~511)
            f.write(source.randbytes(length) if source.random() < 0.5 else
                    b'the same text again and again ' * (length // 30))
        f.truncate(size)


def need(tests):
    """Is what images are made and judged with there?"""
    if QEMU_IMG and QEMU_IO:
        return True
    print('1..0 # SKIP qemu-img and qemu-io are not there')
    shutil.rmtree(tests.folder)
    sys.exit(0)
