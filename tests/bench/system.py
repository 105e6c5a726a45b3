"""Full-system emulation beside QEMU, for tests/bench/run --system.

Both emulators start the same machine from the same firmware, kernel, RAM disk and disks (without
writing to them), and run the same programs in it.  The host takes the time between two lines on the
console (machine.py): wall time, and user+system CPU time of the whole process, which other load on
the host disturbs less.  Three machines are started per run: two only to see how long a start takes,
and one that does all the work; and a fourth with two harts.  The emulators take turns.
"""
import os
import re
import shutil
import statistics
import subprocess

import machine
import programs

HERE = os.path.dirname(os.path.abspath(__file__))
RAM = 512 << 20
TIMEOUT = 900
# name, what work.c is to do, its amount at scale 1
WORK = [('system calls', 'syscalls', 20_000_000), ('fork, exec and wait', 'fork', 10_000),
        ('pipe round trips', 'pipe', 200_000), ('1 MiB strides', 'stride', 500_000),
        ('random pages', 'pages', 40_000_000)]
NET = [('TCP guest to host', 'send', 1280), ('TCP host to guest', 'receive', 2560),
       ('TCP round trips', 'echo', 50_000)]
DISK = [('disk copy, direct', 'copy {} direct'), ('disk copy, cached', 'copy {} cached'),
        ('disk 4 KiB reads', 'reads {} {}')]
COMPILE = ['gcc -O2, first', 'gcc -O2, again']
BOOT = ['start to init', 'start to init, 2 harts', 'start to power-off']
PAIR = ['two processes, 2 harts', 'pipe round trips, 2 harts']


def amount(full, scale):
    return max(1, int(full * scale))


def key(name):
    """A row's name as the console shows it."""
    return re.sub(r'\W+', '-', name)


class Files:
    """What the machines start from, made once."""
    def __init__(self, bench, args, names):
        self.boot = dict(self.script(bench, 'guest-boot-files', n) for n in
                         ('opensbi', 'kernel', 'initrd', 'initrd-minimal'))
        self.disk = self.script(bench, 'guest-disk')[1]
        self.mib = amount(1280, args.scale)
        self.out = os.path.join(bench.OUT, 'system')
        os.makedirs(self.out, exist_ok=True)
        self.scratch = os.path.join(self.out, 'scratch')
        block = os.urandom(1 << 20)
        with open(self.scratch, 'wb') as f:
            for _ in range(2 * self.mib):
                f.write(block)
        work = os.path.join(self.out, 'work')
        subprocess.run([*bench.GUEST_CC, *bench.CFLAGS, '-o', work,
                        os.path.join(HERE, 'guest', 'work.c')], check=True)
        self.contents = {'bench/work': work,
                         'bench/large.c': programs.prepare(os.path.join(bench.OUT, 'data'))['large.c'],
                         **{f'bench/{n}': os.path.join(bench.OUT, n + '.riscv64')
                            for n in names}}

    @staticmethod
    def script(bench, script, *args):
        """What a script prints; its failure ends the bench, since nothing can be measured."""
        done = subprocess.run([os.path.join(bench.ROOT, 'scripts', script), *args],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f'{script}: {done.stderr.strip()[-200:]}')
        return (args[0] if args else script, done.stdout.strip())

    def initrd(self, name, commands):
        """The RAM disk with the programs and a shell script of these commands; its path."""
        contents = {}
        for path, source in self.contents.items():
            with open(source, 'rb') as f:
                contents[path] = f.read()
        contents['bench/rows'] = ('\n'.join(commands) + '\n').encode()
        with open(self.boot['initrd'], 'rb') as f:
            base = f.read()
        path = os.path.join(self.out, name)
        with open(path, 'wb') as f:
            f.write(base + b'\0' * (-len(base) % 4) + machine.archive(contents))
        return path

    def command(self, engine, harts, initrd, append, devices=()):
        return [*engine.command, '-M', 'virt,memory-backend=ram', '-m', str(RAM >> 20),
                '-object', f'memory-backend-memfd,id=ram,size={RAM}', '-smp', str(harts),
                '-nodefaults', '-display', 'none', '-monitor', 'none', '-serial', 'stdio',
                '-bios', self.boot['opensbi'], '-kernel', self.boot['kernel'], '-initrd', initrd,
                '-append', 'console=ttyS0 quiet ' + append, *devices]


def find_engines(bench, args):
    engines = []
    ours = os.path.join(bench.BUILD, 'tinamou-system-riscv64')
    if os.path.exists(ours):
        engines.append(bench.Engine('tinamou', [ours], bench.first_line([ours, '-version'])))
    else:
        bench.problem('tinamou-system-riscv64 is not built')
    qemu = bench.guest_root('--qemu-system')
    if qemu:
        engines.append(bench.Engine('qemu', [qemu], bench.first_line([qemu, '-version'])))
    if shutil.which('taskset') and os.environ.get('BENCH_CPUS'):
        for e in engines:
            e.command = ['taskset', '-c', os.environ['BENCH_CPUS'], *e.command]
    return [e for e in engines if not args.engines or re.fullmatch(args.engines, e.name)]


def work_commands(files, server, scale, names, only):
    """The shell commands of the machine that does the work: those rows that are asked for."""
    def row(name, command):
        return [f'/bench/work row {key(name)} {command}'] if only(name) else []

    work = '/bench/work'
    commands = ['mount -t tmpfs tmp /tmp', 'ifconfig lo 127.0.0.1 up',
                'ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up',
                f'{work} nothing; echo bench memory boot; sleep 2']
    for name in names:
        commands += row(f'kernel {name}', f'/bench/{name} {scale}')
    for name, what, full in WORK:
        commands += row(name, f'{work} {what} {amount(full, scale)}')
    for name, what in DISK:
        what = what.split(' ', 1)
        rest = what[1].format(files.mib, amount(100_000, scale))
        commands += row(name, f'{work} {what[0]} /dev/vdb {rest}')
    for name, what, full in NET:
        commands += row(name, f'{work} {what} 10.0.2.2 {server.port} {amount(full, scale)}')
    if any(map(only, COMPILE)):
        commands += ['mkdir /new', 'mount -t ext4 /dev/vda /new', 'cp /bench/large.c /new/tmp/']
        for name in COMPILE:
            commands += row(name, '/bin/busybox chroot /new /usr/bin/gcc -O2 -c -o /tmp/large.o '
                                  '/tmp/large.c')
        commands += ['echo bench memory compile; sleep 2', 'umount /new']
    return commands


def pair_commands(scale, only):
    """Those of the machine with two harts."""
    commands = []
    if only(PAIR[0]):
        commands += [f'printf "#!/bin/sh\\n/bench/sha256 {scale} &\\n/bench/sha256 {scale}\\nwait\\n"'
                     ' >/bench/pair', 'chmod +x /bench/pair',
                     f'/bench/work row {key(PAIR[0])} /bench/pair']
    if only(PAIR[1]):
        commands += [f'/bench/work row {key(PAIR[1])} /bench/work pipe {amount(200_000, scale)}']
    return commands


class Figures:
    """All runs of one engine: wall and CPU seconds and output by row, MiB by moment."""
    def __init__(self):
        self.wall, self.cpu, self.output, self.memory = {}, {}, {}, {}

    def add(self, name, row):
        self.wall.setdefault(name, []).append(row[0])
        self.cpu.setdefault(name, []).append(row[1])
        self.output[name] = row[2]

    def median(self, name):
        if name not in self.wall:
            return None
        return statistics.median(self.wall[name]), statistics.median(self.cpu[name])


def start(bench, engine, what, command):
    done = machine.Run(command, RAM, TIMEOUT)
    for error in done.errors:
        bench.problem(f'{what} on {engine.name}: {error}')
    return done


def run_engine(bench, files, engine, figures, scripts, only):
    """One run of all machines on one engine."""
    minimal = files.boot['initrd-minimal']
    for harts, names in ((1, (BOOT[0], BOOT[2])), (2, (BOOT[1], None))):
        if not any(n and only(n) for n in names):
            continue
        done = start(bench, engine, f'start with {harts} harts',
                     files.command(engine, harts, minimal, 'action=poweroff'))
        for name, mark in zip(names, ('up', 'end')):
            if name and only(name) and mark in done.rows and not done.errors:
                figures.add(key(name), done.rows[mark])
    disks = ['-drive', f'file={files.disk},format=raw,if=none,id=d0,snapshot=on',
             '-device', 'virtio-blk-pci,drive=d0',
             '-drive', f'file={files.scratch},format=raw,if=none,id=d1,cache=unsafe',
             '-device', 'virtio-blk-pci,drive=d1',
             '-netdev', 'user,id=n0', '-device', 'virtio-net-pci,netdev=n0']
    for harts, name in ((1, 'work'), (2, 'pair')):
        if not scripts[name]:
            continue
        done = start(bench, engine, name, files.command(
            engine, harts, scripts[name], 'run="sh /bench/rows" action=poweroff',
            disks if name == 'work' else ()))
        for row, values in done.rows.items():
            if row not in ('up', 'end'):
                figures.add(row, values)
        for moment, mib in done.memory.items():
            figures.memory.setdefault(moment, []).append(mib)


def print_rows(title, names, engines, figures, data):
    """A table with wall and CPU seconds of each engine, and the ratios of QEMU's to ours."""
    names = [n for n in names if any(figures[e.name].median(key(n)) for e in engines)]
    if not names:
        return
    print(f'\n{title:28}' + ''.join(f'{e.name + " wall":>14}{"CPU":>9}' for e in engines) +
          f'{"QEMU/ours":>12}{"CPU":>8}')
    for name in names:
        line, entry = f'{name:28}', {}
        for e in engines:
            value = figures[e.name].median(key(name))
            line += f'{value[0]:13.3f}s{value[1]:8.2f}s' if value else f'{"-":>14}{"-":>9}'
            if value:
                entry[e.name] = {'wall': value[0], 'cpu': value[1]}
        if 'tinamou' in entry and 'qemu' in entry:
            ours, qemu = entry['tinamou'], entry['qemu']
            entry['ratio'] = qemu['wall'] / ours['wall']
            line += f'{entry["ratio"]:11.2f}x'
            line += f'{qemu["cpu"] / ours["cpu"]:7.2f}x' if ours['cpu'] else f'{"-":>8}'
        data[name] = entry
        print(line, flush=True)


def print_kernels(bench, names, engines, figures, args, data):
    """The kernels in CPU time: natively, in user mode, in a machine."""
    if not names:
        return
    user = [e for e in bench.find_engines(args) if e.name in ('tinamou', 'qemu')]
    columns = [f'{e.name} user' for e in user] + [f'{e.name} system' for e in engines]
    print(f'\n{"kernels, CPU time":22}{"native":>9}' + ''.join(f'{c:>17}' for c in columns) +
          f'{"QEMU/ours":>12}')
    multiples = {c: [] for c in columns}
    for name in names:
        native, in_user = bench.Result(), [bench.Result() for _ in user]
        for _ in range(args.runs):
            bench.run([os.path.join(bench.OUT, name + '.native'), str(args.scale)], {}, native, name)
            for e, result in zip(user, in_user):
                bench.run([*e.command, os.path.join(bench.OUT, name + '.riscv64'), str(args.scale)],
                          e.env, result, f'{name} on {e.name}')
        if not native.cpu:
            continue
        values = [r.median() if r.cpu else None for r in in_user]
        for e in engines:
            value = figures[e.name].median(key(f'kernel {name}'))
            values.append(value[1] if value else None)
            output = '\n'.join(figures[e.name].output.get(key(f'kernel {name}'), [])).encode()
            if value and not bench.same(native.output.strip(), output, name in bench.FLOATING):
                bench.problem(f'{name}: outputs in the machine of {e.name} and natively differ')
        line, entry = f'{name:22}{native.median():8.3f}s', {'native': native.median()}
        for column, value in zip(columns, values):
            line += f'{value / native.median():16.2f}x' if value else f'{"-":>17}'
            if value:
                entry[column] = value
                multiples[column].append(value / native.median())
        if 'tinamou system' in entry and 'qemu system' in entry:
            line += f'{entry["qemu system"] / entry["tinamou system"]:11.2f}x'
        data[f'kernel {name}'] = entry
        print(line, flush=True)
    means = {c: statistics.geometric_mean(m) for c, m in multiples.items() if m}
    line = f'{"geometric mean":22}{"":9}'
    line += ''.join(f'{means[c]:16.2f}x' if c in means else f'{"-":>17}' for c in columns)
    if 'tinamou system' in means and 'qemu system' in means:
        line += f'{means["qemu system"] / means["tinamou system"]:11.2f}x'
    data['kernels, geometric mean'] = means
    print(line, flush=True)


def print_memory(engines, figures, data):
    for moment in ('boot', 'compile'):
        values = {e.name: statistics.median(figures[e.name].memory[moment]) for e in engines
                  if moment in figures[e.name].memory}
        if values:
            name = f'resident MiB without guest RAM, after {moment}'
            data[name] = values
            print(f'{name:46}' + ''.join(f'{n:>10}{v:8.1f}' for n, v in values.items()))


def measure(bench, args, names, only):
    """Measures and prints; returns the figures. `bench` is tests/bench/run, `names` the kernels."""
    engines = find_engines(bench, args)
    if not engines:
        return {}
    if 'tinamou' not in [e.name for e in engines] and not args.engines:
        return {}
    names = [n for n in names if only(f'kernel {n}')]
    try:
        files = Files(bench, args, sorted({*names, 'sha256'}))
    except RuntimeError as error:
        bench.problem(str(error))
        return {}
    server = machine.Server()
    commands = {'work': work_commands(files, server, args.scale, names, only),
                'pair': pair_commands(args.scale, only)}
    wanted = any('bench/work row' in c for c in commands['work'])
    scripts = {'work': files.initrd('work.initrd', commands['work']) if wanted else None,
               'pair': files.initrd('pair.initrd', commands['pair']) if commands['pair'] else None}
    print('\nfull-system emulation, -M virt -m 512M, the same firmware, kernel, RAM disk and disks')
    for e in engines:
        print(f'{e.name:10} {e.version}')
    figures = {e.name: Figures() for e in engines}
    for _ in range(args.runs):
        for e in engines:
            run_engine(bench, files, e, figures[e.name], scripts, only)
    os.unlink(files.scratch)
    data = {'versions': {e.name: e.version for e in engines}}
    print_rows('start', BOOT, engines, figures, data)
    print_kernels(bench, names, engines, figures, args, data)
    rows = [*(w[0] for w in WORK), *PAIR, *COMPILE, *(d[0] for d in DISK), *(n[0] for n in NET)]
    print_rows('work in the machine', rows, engines, figures, data)
    print_memory(engines, figures, data)
    return data
