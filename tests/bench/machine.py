"""One start of a system emulator for tests/bench/system.py: RAM disk, console, times, memory."""
import os
import re
import select
import socket
import subprocess
import threading
import time

TICKS = os.sysconf('SC_CLK_TCK')


def archive(files):
    """A newc archive of files {path: content}, which the kernel unpacks over its other RAM disk."""
    out = []

    def entry(name, mode, content):
        fields = [0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        head = b'070701' + b''.join(b'%08x' % f for f in fields) + name.encode() + b'\0'
        out.append(head + b'\0' * (-len(head) % 4))
        out.append(content + b'\0' * (-len(content) % 4))

    for folder in sorted({os.path.dirname(path) for path in files}):
        entry(folder, 0o40755, b'')
    for path, content in files.items():
        entry(path, 0o100755, content)
    entry('TRAILER!!!', 0, b'')
    return b''.join(out)


class Server:
    """The host's side of the guest's TCP: serves one connection after the other on a thread."""
    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            peer, _ = self.listener.accept()
            with peer:
                try:
                    self.answer(peer)
                except (OSError, ValueError):
                    pass  # the guest notices, and its row fails

    @staticmethod
    def answer(peer):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        what, count = peer.recv(32, socket.MSG_WAITALL).split()[:2]
        count, buffer = int(count), memoryview(bytearray(1 << 20))
        while count > 0:
            if what == b'receive':
                count -= peer.send(buffer[:min(count, len(buffer))])
                continue
            done = peer.recv_into(buffer, min(count, len(buffer)))
            if not done:
                return
            if what == b'echo':
                peer.sendall(buffer[:done])
            count -= done
        if what == b'send':
            peer.sendall(b'.')
        peer.recv(1)  # until the guest has closed


def resident(pid, ram_size):
    """Resident MiB of a process without its guest's RAM, a memfd of `ram_size` bytes.

    A memfd that is mapped twice, as code may be, counts once.
    """
    total, name, ram = 0, '', False
    with open(f'/proc/{pid}/smaps') as f:
        for line in f:
            head = re.match(r'([0-9a-f]+)-([0-9a-f]+) .*?(/memfd:)?\S*( \(deleted\))?$', line)
            if head:
                name = 'Pss:' if head[3] else 'Rss:'
                ram = head[3] and int(head[2], 16) - int(head[1], 16) == ram_size
            elif line.startswith(name) and not ram:
                total += int(line.split()[1])
    return total / 1024


class Run:
    """A machine from its start to its end; `rows` has (wall, CPU, output) by name afterwards."""
    def __init__(self, command, ram_size, timeout):
        self.ram_size = ram_size
        self.rows, self.memory, self.text, self.errors = {}, {}, '', []
        self.last_cpu = 0
        self.deadline = time.monotonic() + timeout
        self.start = time.monotonic()
        self.open_row = None
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        try:
            self.read_console()
        finally:
            if self.process.poll() is None:
                self.process.kill()
            status = self.process.wait()
        self.rows['end'] = (time.monotonic() - self.start, self.last_cpu, [])
        if status and not self.errors:
            self.errors.append(f'status {status}: ' + ' | '.join(self.text.splitlines()[-4:]))

    def cpu(self):
        """User and system time of the process until now."""
        with open(f'/proc/{self.process.pid}/stat') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def read_console(self):
        pipe, rest = self.process.stdout.fileno(), b''
        while True:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                self.errors.append('no end: ' + ' | '.join(self.text.splitlines()[-4:]))
                return
            data = os.read(pipe, 65536)
            if not data:
                return
            when, self.last_cpu = time.monotonic(), self.cpu()
            *lines, rest = (rest + data).split(b'\n')
            for line in lines:
                line = line.decode(errors='replace').strip()
                self.text += line + '\n'
                self.take(line, when, self.last_cpu)

    def take(self, line, when, cpu):
        if line == 'initrd: up':
            self.rows['up'] = (when - self.start, cpu, [])
        elif line.startswith('bench begin '):
            self.open_row = (line.split()[2], when, cpu, [])
        elif line.startswith('bench end ') and self.open_row:
            name, begin, cpu_begin, output = self.open_row
            status, inside = line.split()[3:5]
            wall = when - begin
            if status != '0':
                self.errors.append(f'{name}: wait status {status}')
            elif abs(float(inside) - wall) > 0.3 + 0.1 * wall:
                self.errors.append(f"{name}: {inside} s by the guest's clock, {wall:.3f} s by the "
                                   "host's")
            else:
                self.rows[name] = (wall, cpu - cpu_begin, output)
            self.open_row = None
        elif line.startswith('bench memory '):
            self.memory[line.split()[2]] = resident(self.process.pid, self.ram_size)
        elif self.open_row and line.startswith(('bits ', 'sum ')):
            self.open_row[3].append(line)
