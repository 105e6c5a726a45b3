"""Disk images: tinamou-img beside QEMU's qemu-img and storage daemon; tests/bench/run --block.

Rows of requests are `bench` of both tools with the same options on the same images, which QEMU's tool
makes: requests go the way of a machine's disk, by io_uring, around the host's page cache ("direct",
cache=none) or through it ("cached", cache=writeback).  Their time is what the tool says, without
opening and closing.  The storage daemon ("qsd") has the same image open and exports it by NBD, and
qemu-img bench is its client: its times have that hop in them, which nothing that drives a daemon can
do without; qemu-img bench on the image itself is the same block layer without it.

Rows of whole commands (convert, check, create) are wall time of the process; sources are in the page
cache before, or dropped from it for "direct".

What a run has written is on the disk before the next one begins; engines take turns.
"""
import dataclasses
import math
import os
import random
import re
import shutil
import signal
import socket
import statistics
import subprocess
import time

import block_images as images

CACHES = {'direct': 'none', 'cached': 'writeback'}
# How many requests there are at scale 1.
COUNTS = {('direct', 1): 30_000, ('direct', 32): 150_000,
          ('cached', 1): 400_000, ('cached', 32): 800_000}
SEQUENTIAL, RANDOM = 64 * images.KiB, 4 * images.KiB
GROWING = ('fresh', 'backing', 'snapshots')  # images in which a write may have to allocate


@dataclasses.dataclass(frozen=True)
class Io:
    """A row of requests."""
    image: str
    sequential: bool
    write: bool
    depth: int
    cache: str
    flush: int = 0
    memory = False

    @property
    def name(self):
        image = 'raw' if self.image == 'raw' else f'qcow2 {self.image}'
        text = (f'{image}: {"sequential" if self.sequential else "random"} '
                f'{"write" if self.write else "read"} d{self.depth} {self.cache}')
        return text + (f', flush each {self.flush}' if self.flush else '')

    @property
    def format(self):
        return 'raw' if self.image == 'raw' else 'qcow2'

    def count(self, scale):
        n = COUNTS[self.cache, self.depth] * scale
        n /= 8 if self.sequential else 1
        n /= 10 if self.flush else 1
        if self.write and self.image in GROWING:
            # Each request shall find a cluster that is not there yet.
            n = min(n, images.size_of(self.image) / SEQUENTIAL, 80_000 * scale)
        return max(int(n), 1)

    def options(self, scale):
        size = SEQUENTIAL if self.sequential else RANDOM
        step = [] if self.sequential else ['-S', str(images.stride(images.size_of(self.image)))]
        write = ['-w', '--pattern=165'] if self.write else []
        flush = [f'--flush-interval={self.flush}'] if self.flush else []
        return ['-c', str(self.count(scale)), '-d', str(self.depth), '-s', str(size), *step, *write,
                *flush]

    def run(self, b, engine, figures):
        image = b.images.prepare(self.image, self.write)
        b.images.put_in_cache(image, self.cache == 'cached')
        if self.image == 'backing':
            b.images.put_in_cache(b.images.get('full'), self.cache == 'cached')
        result, daemon = b.bench.Result(), None
        what = f'{self.name} on {engine.name}'
        if engine.name == 'qsd':
            daemon = Daemon(engine.command, b.images.folder, image, self)
            command = [*b.client, 'bench', *self.options(b.scale), '-f', 'raw', daemon.uri]
        else:
            command = [*engine.command, 'bench', *self.options(b.scale), '-f', self.format, '-t',
                       CACHES[self.cache], '-i', 'io_uring', image]
        images.touch_memory()
        good = b.bench.run(command, {}, result, what)
        more = daemon.end() if daemon else 0
        found = good and re.search(rb'Run completed in ([0-9.]+) seconds', result.output)
        if found:
            figures.add(max(float(found[1]), 0.0005), result.cpu[0] + more, result.rss[0])
        elif good:
            b.bench.problem(f'{what}: no time was told')


@dataclasses.dataclass(frozen=True)
class Command:
    """A row of a whole command. Words that begin with @ are names of images, = of new files."""
    name: str
    command: tuple
    setup: tuple = ()  # what the neutral tool does before each run
    direct: bool = False
    memory: bool = False

    def run(self, b, engine, figures):
        if engine.name == 'qsd':
            return
        words = [self.place(b, w) for w in self.command]
        for word, path in zip(self.command, words):
            if word[0] == '@':
                b.images.put_in_cache(path, not self.direct)
        for step in self.setup:
            b.images.make(*(self.place(b, w) for w in step))
        os.sync()
        images.touch_memory()
        result = b.bench.Result()
        if b.bench.run([*engine.command, *words], {}, result, f'{self.name} on {engine.name}'):
            figures.add(result.wall[0], result.cpu[0], result.rss[0])
        for word in (w for words in (*self.setup, self.command) for w in words if w[0] == '='):
            b.images.remove(word[1:])

    @staticmethod
    def place(b, word):
        return (b.images.get(word[1:]) if word[0] == '@' else
                b.images.path(word[1:]) if word[0] == '=' else word)


def io_rows():
    rows = [Io(image, sequential, write, depth, cache)
            for cache in CACHES
            for image in ('raw', 'fresh', 'preallocated', 'backing', 'snapshots')
            for sequential in (True, False) for write in (False, True) for depth in (1, 32)]
    return rows + [Io('fresh', False, True, 32, cache, 64) for cache in CACHES]


def convert(name, source, target, words=(), **more):
    return Command(f'convert {name}', ('convert', '-f', 'raw' if source == 'mixed' else 'qcow2',
                                       '-O', target, *words, '@' + source, '=out'), **more)


def command_rows():
    rows = []
    for cache, words in (('cached', ()), ('direct', ('-t', 'none', '-T', 'none'))):
        for name, source, target in (('raw to qcow2', 'mixed', 'qcow2'),
                                     ('qcow2 to raw', 'mixed.qcow2', 'raw'),
                                     ('qcow2 to qcow2', 'mixed.qcow2', 'qcow2')):
            rows.append(convert(f'{name}, {cache}', source, target, words,
                                direct=cache == 'direct'))
    for kind in ('zlib', 'zstd'):
        for order in ((), ('-W',)):
            rows.append(convert(' '.join(('-c', *order, kind)), 'mixed', 'qcow2',
                                ('-c', *order, '-o', f'compression_type={kind}')))
        rows.append(convert(f'{kind} to raw', f'mixed.{kind}', 'raw'))
    rows += [Command('check, 512 GiB in clusters', ('check', '@large')),
             Command('check, 64 snapshots', ('check', '@snapshots'))]
    size = 10 * images.TiB
    create = ('create', '-f', 'qcow2', '=huge', str(size))
    write = ('bench', '-w', '-f', 'qcow2', '-c', '1', '-s', '65536', '-o')
    ends = ((*write, '0', '=huge'), (*write, str(size - 65536), '=huge'))
    written = (create, *ends)
    return rows + [
        Command('10 TiB: create', create, memory=True),
        Command('10 TiB: write at its end', ends[1], (create,), memory=True),
        Command('10 TiB: check', ('check', '=huge'), written, memory=True),
        Command('10 TiB: convert to qcow2', ('convert', '-O', 'qcow2', '=huge', '=out'), written,
                memory=True),
        Command('10 TiB: convert to raw', ('convert', '-O', 'raw', '=huge', '=out'), written,
                memory=True)]


class Figures:
    """Runs of one row on one engine."""
    def __init__(self):
        self.wall, self.cpu, self.rss = [], [], []

    def add(self, wall, cpu, rss):
        self.wall.append(wall)
        self.cpu.append(cpu)
        self.rss.append(rss / 1024)

    def entry(self):
        return {name: statistics.median(getattr(self, name)) for name in ('wall', 'cpu', 'rss')}


class Daemon:
    """qemu-storage-daemon with an image, exported by NBD on a socket."""
    def __init__(self, program, folder, image, row):
        path = os.path.join(folder, 'nbd.sock')
        direct = 'on' if row.cache == 'direct' else 'off'
        self.process = subprocess.Popen(
            [*program, '--blockdev',
             f'driver=file,node-name=f,filename={image},cache.direct={direct},aio=io_uring',
             '--blockdev', f'driver={row.format},node-name=d,file=f', '--nbd-server',
             f'addr.type=unix,addr.path={path}', '--export',
             f'type=nbd,id=e,node-name=d,name=d,writable={"on" if row.write else "off"}'])
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as s:
                if s.connect_ex(path) == 0:
                    break
            time.sleep(0.01)
        self.uri = f'nbd+unix:///d?socket={path}'

    def end(self):
        """Seconds of CPU that it took, opening included."""
        self.process.send_signal(signal.SIGTERM)
        usage = os.wait4(self.process.pid, 0)[2]
        self.process.returncode = 0
        return usage.ru_utime + usage.ru_stime


class Bench:
    """What rows share. The first of QEMU's tools makes the images, whatever engines are measured."""
    def __init__(self, bench, args, engines):
        self.bench, self.scale = bench, args.scale
        maker = next((e for e in engines if e.name.startswith('qemu')), engines[0])
        self.client = maker.command
        self.images = images.Images(os.path.join(bench.OUT, 'block'), maker.command)


def find_engines(bench):
    engines = []
    ours = os.path.join(bench.BUILD, 'tinamou-img')
    if os.path.exists(ours):
        engines.append(bench.Engine('tinamou', [ours], bench.first_line([ours, '--version'])))
    else:
        bench.problem('tinamou-img is not built')
    for name, option in (('qemu', '--qemu-img'), ('qsd', '--qemu-storage-daemon')):
        path = bench.guest_root(option)
        if path:
            engines.append(bench.Engine(name, [path], bench.first_line([path, '--version'])))
    debian = shutil.which('qemu-img')
    if debian:
        engines.append(bench.Engine('qemu-host', [debian], bench.first_line([debian, '--version'])))
    return engines


def head(engines):
    columns = ''.join(f'{e.name:>11}{"CPU":>8}' for e in engines)
    return f'{"":54}{columns}{"QEMU/ours":>11}{"CPU":>7}'


def line(row, engines, figures):
    """A row as text, and as data."""
    text, data = f'{row.name:54}', {}
    for e in engines:
        if not figures[e.name].wall:
            text += f'{"-":>11}{"-":>8}'
            continue
        data[e.name] = figures[e.name].entry()
        text += f'{data[e.name]["wall"]:10.3f}s{data[e.name]["cpu"]:7.2f}s'
    if 'tinamou' in data and 'qemu' in data:
        ours, qemu = data['tinamou'], data['qemu']
        data['ratio'] = qemu['wall'] / ours['wall']
        text += f'{data["ratio"]:10.2f}x'
        text += f'{qemu["cpu"] / ours["cpu"]:6.2f}x' if ours['cpu'] else ''
    if row.memory:
        text += '   resident MiB: ' + ', '.join(f'{n} {d["rss"]:.0f}' for n, d in data.items()
                                                if n != 'ratio')
    return text, data


def measure(bench, args, only):
    """Measures and prints; returns the figures. `bench` is tests/bench/run."""
    there = find_engines(bench)
    engines = [e for e in there if not args.engines or re.fullmatch(args.engines, e.name)]
    rows = [r for r in (*io_rows(), *command_rows()) if only(r.name)]
    if not engines or not rows:
        return {}
    b = Bench(bench, args, there)
    print('\ndisk images; seconds of wall and CPU time, medians; QEMU/ours: qemu\'s time by tinamou\'s')
    for e in engines:
        print(f'{e.name:10} {e.version}')
    print(head(engines))
    data = {'versions': {e.name: e.version for e in engines}}
    try:
        for row in rows:
            figures = {e.name: Figures() for e in engines}
            for turn in range(args.runs):
                for e in engines if turn % 2 == 0 else engines[::-1]:
                    row.run(b, e, figures[e.name])
                    os.sync()
            text, data[row.name] = line(row, engines, figures)
            print(text, flush=True)
    finally:
        b.images.clean()
    ratios = [d['ratio'] for d in data.values() if 'ratio' in d]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        print(f'{"geometric mean, and the least":54}{mean:8.2f}x {min(ratios):.2f}x')
    return data
