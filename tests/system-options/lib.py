"""What the tests of system emulators' command lines share: running them, and mistakes."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('TINAMOU_BUILD', 'build'))


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data)
    return path


class Emulator:
    """A program to be tested; counts what went wrong."""

    def __init__(self, name):
        self.name = name
        self.path = os.path.join(BUILD, name)
        self.failures = 0

    def check(self, what, good, *details):
        self.failures += not good
        print(f'{"ok" if good else "not ok"} - {what}')
        if not good:
            for d in details:
                print('# ' + str(d).replace('\n', '\n# '))
        sys.stdout.flush()

    def run(self, *args, **more):
        return subprocess.run([self.path, *args], capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, **more)

    def mistake(self, message, *args):
        """The command fails with one line that has `message` in it."""
        done = self.run(*args)
        good = (done.returncode == 1 and done.stdout == '' and done.stderr.count('\n') == 1 and
                done.stderr.startswith(self.name + ': ') and re.search(message, done.stderr))
        self.check(f'{" ".join(args)[:70] or "nothing"}: {message}', good,
                   f'status {done.returncode}', done.stdout + done.stderr)
