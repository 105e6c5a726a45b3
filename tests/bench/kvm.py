"""Guests of machine microvm under KVM beside QEMU, for tests/bench/run --kvm.

Rows: a loop in ring 3 beside the same loop natively (guest/ring3.h, compiled alike); exits of each
kind a second (guest/exits.c: the guest says when a part begins and ends, the host takes wall time);
process start to the first instructions of a guest (guest/first.S), and what the monitor keeps
resident beside guest RAM with a disk, a network and a console.  The engines take turns.
"""
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import machine

HERE = os.path.dirname(os.path.abspath(__file__))
RAM = 512 << 20
TIMEOUT = 120
FLAGS = ['-O1', '-g0', '-fno-builtin', '-mgeneral-regs-only', '-fcf-protection=none',
         '-fno-stack-protector']
# part of exits.c, what is said of it
EXITS = [('port', 'port reads'), ('register', 'register reads'),
         ('notify', 'notifications (ioeventfd)'), ('trips', 'requests with interrupt')]
DEVICES = ['-drive', 'file={disk},format=raw,if=none,id=d0', '-device', 'virtio-blk-device,drive=d0',
           '-netdev', 'user,id=n0', '-device', 'virtio-net-device,netdev=n0',
           '-device', 'virtio-serial-device', '-chardev', 'null,id=c0',
           '-device', 'virtconsole,chardev=c0']


def usable():
    """Why /dev/kvm cannot be used, or None."""
    try:
        os.close(os.open('/dev/kvm', os.O_RDWR))
    except OSError as e:
        return f'/dev/kvm: {e.strerror}'
    return None


def find_engines(bench, args):
    engines = []
    ours = os.path.join(bench.BUILD, 'tinamou-system-x86_64')
    if os.path.exists(ours):
        engines.append(bench.Engine('tinamou', [ours], bench.first_line([ours, '-version'])))
    else:
        bench.problem('tinamou-system-x86_64 is not built')
    qemu = bench.guest_root('--qemu-system-x86')
    if qemu:
        engines.append(bench.Engine('qemu', [qemu], bench.first_line([qemu, '-version'])))
    debian = shutil.which('qemu-system-x86_64')
    if debian:
        engines.append(bench.Engine('qemu-host', [debian], bench.first_line([debian, '-version'])))
    return [e for e in engines if not args.engines or re.fullmatch(args.engines, e.name)]


def compile_guests(bench, folder):
    guests = os.path.join(bench.ROOT, 'tests', 'kvm')
    subprocess.run([os.path.join(guests, 'build-guest'), os.path.join(HERE, 'guest', 'exits.c'),
                    os.path.join(folder, 'exits')], check=True)
    subprocess.run(['gcc', '-m32', '-nostdlib', '-static', '-no-pie', '-Wl,--build-id=none',
                    '-Wl,--no-warn-rwx-segments', '-Wl,-T,' + os.path.join(guests, 'guest.ld'), '-o',
                    os.path.join(folder, 'first'), os.path.join(HERE, 'guest', 'first.S')],
                   check=True)
    subprocess.run(['gcc', *FLAGS, '-I' + bench.ROOT, '-fno-pie', '-no-pie', '-o',
                    os.path.join(folder, 'ring3'), os.path.join(HERE, 'guest', 'ring3.c')],
                   check=True)


def command(engine, kernel, *more):
    return [*engine.command, '-M', 'microvm,memory-backend=ram', '-accel', 'kvm',
            '-object', f'memory-backend-memfd,id=ram,size={RAM}', '-m', str(RAM >> 20),
            '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', '-serial', 'stdio',
            '-global', 'virtio-mmio.force-legacy=false', '-kernel', kernel, *more]


def run_exits(bench, engine, folder, rounds, count, figures):
    """Seconds of each part into figures, by name; what the loop in ring 3 has computed."""
    process = subprocess.Popen(
        command(engine, os.path.join(folder, 'exits'), '-append', f'rounds={rounds} count={count}',
                '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x04', '-device', 'virtio-rng-device'),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    begun, result, good = {}, None, False
    watchdog = machine.threading.Timer(TIMEOUT, process.kill)
    watchdog.start()
    for line in process.stdout:
        now, words = time.monotonic(), line.decode(errors='replace').split()
        if words[:2] == ['bench', 'begin']:
            begun[words[2]] = now
        elif words[:2] == ['bench', 'end']:
            figures.setdefault(words[2], []).append(now - begun[words[2]])
        elif words[:2] == ['bench', 'result']:
            result = words[2]
        good |= line.startswith(b'all answered: yes')
    watchdog.cancel()
    if process.wait() != 1 or not good:
        # A peer that has an error of its own has no figure in that row.
        say = bench.problem if engine.name == 'tinamou' else print
        say(f'note: exits on {engine.name}: not to the end, status {process.returncode}')
    return result


def run_first(bench, engine, folder, more):
    """Milliseconds from the start to the guest's first byte, and resident MiB beside RAM then."""
    start = time.monotonic()
    process = subprocess.Popen(command(engine, os.path.join(folder, 'first'), *more),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    byte = process.stdout.read(1)
    elapsed = (time.monotonic() - start) * 1000
    if byte != b'!':
        bench.problem(f'first instruction on {engine.name}: the guest says {byte!r}')
    time.sleep(0.2)  # what is made behind the guest's back is there by then
    mib = machine.resident(process.pid, RAM) if process.poll() is None else 0
    process.kill()
    process.wait()
    return elapsed, mib


def measure(bench, args):
    """Prints the tables; the figures as data."""
    why = usable()
    if why:
        print(f'note: no KVM rows: {why}')
        return {}
    os.makedirs(bench.OUT, exist_ok=True)
    engines = find_engines(bench, args)
    rounds, count = max(1, int(600_000_000 * args.scale)), max(100, int(60_000 * args.scale))
    native, data = [], {}
    exits = {e.name: {} for e in engines}
    first = {e.name: [] for e in engines}
    memory = {e.name: [] for e in engines}
    with tempfile.TemporaryDirectory() as folder:
        compile_guests(bench, folder)
        disk = os.path.join(folder, 'disk')
        with open(disk, 'wb') as f:
            f.truncate(64 << 20)
        more = [d.format(disk=disk) for d in DEVICES]
        for _ in range(args.runs):
            start = time.monotonic()
            want = subprocess.run([os.path.join(folder, 'ring3'), str(rounds)], check=True,
                                  capture_output=True, text=True).stdout.strip()
            native.append(time.monotonic() - start)
            for e in engines:
                got = run_exits(bench, e, folder, rounds, count, exits[e.name])
                if got != want:
                    bench.problem(f'ring 3 on {e.name}: {got}, natively {want}')
        for _ in range(3 * args.runs):
            for e in engines:
                first[e.name].append(run_first(bench, e, folder, [])[0])
        for _ in range(args.runs):
            for e in engines:
                memory[e.name].append(run_first(bench, e, folder, more)[1])

    print('\nmachine microvm under KVM, -m 512M')
    for e in engines:
        print(f'{e.name:10} {e.version}')
    print(f'\n{"":34}{"native":>10}' + ''.join(f'{e.name:>14}' for e in engines))

    def row(name, values, form, first_column=''):
        data[name] = values
        print(f'{name:34}{first_column:>10}' +
              ''.join(f'{form(values[e.name]) if e.name in values else "-":>14}' for e in engines),
              flush=True)

    base = statistics.median(native)
    row('ring 3, times native', {n: statistics.median(v['ring3']) / base for n, v in exits.items()
                                 if 'ring3' in v}, lambda v: f'{v:.3f}', f'{base:.3f}s')
    for part, what in EXITS:
        row(what + ' a second', {n: count / statistics.median(v[part]) for n, v in exits.items()
                                 if part in v}, lambda v: f'{v:,.0f}')
    row('start to first instruction, ms', {n: statistics.median(v) for n, v in first.items()},
        lambda v: f'{v:.1f}')
    row('resident MiB, blk, net, console', {n: statistics.median(v) for n, v in memory.items()},
        lambda v: f'{v:.1f}')
    return data
