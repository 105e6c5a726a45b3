"""The images that tests/bench/block.py measures with, made when they are first asked for."""
import os
import random
import shutil
import subprocess

KiB, MiB, GiB, TiB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SIZE = GiB
FRESH = 4 * GiB  # of images that are empty at first
SNAPSHOTS = 64


def size_of(image):
    return FRESH if image == 'fresh' else SIZE


def touch_memory():
    """The page cache gets memory that the host has given: where free pages go back to a hypervisor
    the first touch costs more than what is measured."""
    bytearray(b'\1') * (3 * GiB // 2)


def next_data(fd, offset):
    """Where a file goes on with something else than a hole; None: nowhere."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError:
        return None


def stride(size):
    """A step for `bench -S` that spreads requests over the image; 2 GiB is the most it takes."""
    return int(size * 0.381966) // (4 * KiB) * (4 * KiB)


class Images:
    """A folder of images; `maker` is the qemu-img that makes them."""
    def __init__(self, folder, maker):
        self.folder, self.maker, self.there = folder, maker, set()
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)

    def clean(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, *words):
        subprocess.run([*self.maker, *words], check=True, stdout=subprocess.DEVNULL)

    def remove(self, name):
        if os.path.exists(self.path(name)):
            os.unlink(self.path(name))

    @staticmethod
    def put_in_cache(path, cached):
        """All of the file but its holes is in the host's page cache, or nothing of it."""
        with open(path, 'rb', buffering=0) as f:
            buffer, end = bytearray(4 * MiB), 0
            if cached:
                while (start := next_data(f.fileno(), end)) is not None:
                    end = start
                    hole = os.lseek(f.fileno(), start, os.SEEK_HOLE)
                    f.seek(start)
                    while end < hole:
                        end += f.readinto(memoryview(buffer)[:hole - end])
            else:
                os.fsync(f.fileno())
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def get(self, name):
        """The path of an image that runs do not change."""
        if name not in self.there:
            getattr(self, 'make_' + name.replace('.', '_'))(self.path(name))
            self.there.add(name)
            os.sync()
        return self.path(name)

    def prepare(self, kind, write):
        """The image of a row of requests; one that a run changes in its structure is a new one."""
        if kind in ('raw', 'preallocated'):
            return self.get('raw' if kind == 'raw' else 'full')
        if kind == 'snapshots' and not write:
            return self.get('snapshots')
        path = self.path('run')
        self.remove('run')
        if kind == 'fresh':
            self.make('create', '-f', 'qcow2', path, str(FRESH))
        elif kind == 'backing':
            self.make('create', '-f', 'qcow2', '-F', 'qcow2', '-b', self.get('full'), path)
        else:
            shutil.copyfile(self.get('snapshots'), path)
        os.sync()
        return path

    # ---- what there is ----

    @staticmethod
    def make_raw(path):
        """Noise."""
        rest = random.Random(1)
        with open(path, 'wb') as f:
            for _ in range(SIZE // MiB):
                f.write(rest.randbytes(MiB))

    def make_full(self, path):
        self.make('convert', '-O', 'qcow2', '-S', '0', self.get('raw'), path)

    def make_snapshots(self, path):
        """A full image with snapshots, between which something has been written."""
        shutil.copyfile(self.get('full'), path)
        for i in range(SNAPSHOTS):
            self.make('snapshot', '-c', f's{i}', path)
            self.make('bench', '-w', '-f', 'qcow2', '-t', 'unsafe', '-c', '20', '-s', '4096', '-o',
                      str(i * 11 * MiB), '-S', str(stride(SIZE)), path)

    @staticmethod
    def make_mixed(path):
        """A third noise, a third text, a third holes."""
        rest = random.Random(2)
        words = [rest.randbytes(rest.randrange(2, 10)).hex().encode() for _ in range(4000)]
        with open(path, 'wb') as f:
            for _ in range(SIZE // MiB // 3):
                f.write(rest.randbytes(MiB))
                f.write(b' '.join(rest.choices(words, k=MiB // 8))[:MiB].ljust(MiB))
                f.seek(MiB, os.SEEK_CUR)
            f.truncate(SIZE)

    def make_mixed_qcow2(self, path):
        self.make('convert', '-O', 'qcow2', self.get('mixed'), path)

    def make_mixed_zlib(self, path):
        self.make('convert', '-c', '-W', '-O', 'qcow2', self.get('mixed'), path)

    def make_mixed_zstd(self, path):
        self.make('convert', '-c', '-W', '-O', 'qcow2', '-o', 'compression_type=zstd',
                  self.get('mixed'), path)

    def make_large(self, path):
        """Every cluster is there, and nothing in them."""
        self.make('create', '-f', 'qcow2', '-o', 'preallocation=metadata', path, '512G')
