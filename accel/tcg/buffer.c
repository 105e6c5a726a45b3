/*
 * The code buffer: the same memory mapped twice, executable here and writable there, so no mapping
 * is ever both.
 *
 * The memory is a memfd's, which security modules let be executable where they forbid it for
 * anonymous memory. But perf looks for a map of names only where memory is anonymous; for it, it is
 * that, and the second mapping is one that mremap() makes of the first.
 *
 * It lies within two gigabytes of our own text, which generated code calls by 32-bit displacement.
 * The thunks come first. The rest is divided into regions, which are filled upwards one after the
 * other and given back as a whole, the oldest first. Memory that was never used, or was given back,
 * takes none of the host's.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/tcg/internal.h"

uint8_t *tcg_code_rx, *tcg_code_rw;
static size_t buffer_size;
static uint32_t buffer_used; /* before the buffer is divided: of it; then: of the thunks */
static struct {
    uint32_t start, end, used; /* offsets; used: where the next unit goes */
} region[TCG_REGIONS];
static unsigned regions, current;
static bool buffer_anonymous;

/* A displacement from anywhere in one to anywhere in the other fits 31 bits. */
static bool is_near(const uint8_t *at, size_t size)
{
    const uint8_t *text = (const uint8_t *)(uintptr_t)tcg_buffer_init;
    int64_t low = at - text, high = at + size - text;
    return low > -0x70000000ll && high < 0x70000000ll;
}

/* What the buffer's mappings are of. */
struct memory {
    int fd;      /* of the memfd; -1: anonymous */
    uint8_t *at; /* anonymous: a mapping of it */
    size_t size;
};

/* 0 or -errno. */
static int memory_open(struct memory *m, size_t size)
{
    *m = (struct memory){.fd = -1, .size = size};
    if (buffer_anonymous) {
        m->at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return m->at == MAP_FAILED ? -errno : 0;
    }
    m->fd = memfd_create("tinamou-code", MFD_CLOEXEC);
    if (m->fd < 0) {
        return -errno;
    }
    if (ftruncate(m->fd, (off_t)size) < 0) {
        int error = -errno;
        close(m->fd);
        return error;
    }
    return 0;
}

/* The mappings made of it stay. */
static void memory_close(const struct memory *m)
{
    if (m->fd >= 0) {
        close(m->fd);
    } else {
        munmap(m->at, m->size);
    }
}

/* Maps it in the place of what is at `at`, which is ours. 0 or -errno. */
static int memory_map(const struct memory *m, uint8_t *at, int prot)
{
    if (m->fd >= 0) {
        return mmap(at, m->size, prot, MAP_SHARED | MAP_FIXED, m->fd, 0) == MAP_FAILED ? -errno : 0;
    }
    /* of length 0, shared memory is not moved but mapped again */
    if (mremap(m->at, 0, m->size, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED ||
        mprotect(at, m->size, prot) < 0) {
        return -errno;
    }
    return 0;
}

static uint8_t *reserve(uint8_t *hint, size_t size, int flags)
{
    return mmap(hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

static uint8_t *reserve_near(size_t size)
{
    uint8_t *text = (uint8_t *)((uintptr_t)tcg_buffer_init & ~(uintptr_t)0x1fffff);

    for (int64_t step = 0x2000000; step < 0x68000000; step += 0x2000000) {
        for (int side = 1; side >= -1; side -= 2) {
            uint8_t *hint = text + side * step - (side < 0 ? size : 0);
            uint8_t *at = reserve(hint, size, MAP_FIXED_NOREPLACE);

            if (at != MAP_FAILED && is_near(at, size)) {
                return at;
            }
            if (at != MAP_FAILED) {
                munmap(at, size);
            }
        }
    }
    errno = ENOMEM;
    return MAP_FAILED;
}

int tcg_buffer_init(size_t size, bool anonymous)
{
    struct memory memory;
    uint8_t *rx, *rw;
    int error;

    buffer_anonymous = anonymous;
    error = memory_open(&memory, size);
    if (error < 0) {
        return error;
    }
    rx = reserve_near(size);
    rw = rx == MAP_FAILED ? rx : reserve(NULL, size, 0);
    if (rw == MAP_FAILED) {
        error = -errno;
    } else {
        error = memory_map(&memory, rx, PROT_READ | PROT_EXEC);
        if (error == 0) {
            error = memory_map(&memory, rw, PROT_READ | PROT_WRITE);
        }
    }
    memory_close(&memory);
    if (error < 0) {
        if (rx != MAP_FAILED) {
            munmap(rx, size);
        }
        if (rw != MAP_FAILED) {
            munmap(rw, size);
        }
        return error;
    }
    tcg_code_rx = rx;
    tcg_code_rw = rw;
    buffer_size = size;
    buffer_used = 0;
    return 0;
}

static uint32_t aligned(uint32_t at)
{
    return (at + TCG_CODE_ALIGN - 1) & ~(TCG_CODE_ALIGN - 1u);
}

uint32_t tcg_buffer_alloc(uint32_t size)
{
    uint32_t *used = regions ? &region[current].used : &buffer_used;
    uint32_t at = aligned(*used), end = regions ? region[current].end : (uint32_t)buffer_size;

    if (at > end || size > end - at) {
        return UINT32_MAX;
    }
    *used = at + size;
    return at;
}

void tcg_buffer_divide(void)
{
    enum { LEAST = 1 << 20 }; /* bytes of a region: many times the longest unit */
    uint32_t size;

    regions = buffer_size / LEAST < 2             ? 2
              : buffer_size / LEAST < TCG_REGIONS ? (unsigned)(buffer_size / LEAST)
                                                  : TCG_REGIONS;
    size = (uint32_t)(buffer_size / regions) & ~4095u;
    for (unsigned i = 0; i < regions; i++) {
        region[i].start = region[i].used = i ? i * size : buffer_used;
        region[i].end = (i + 1) * size;
    }
}

bool tcg_buffer_has_room(uint32_t size)
{
    uint32_t at = aligned(region[current].used);

    return at <= region[current].end && size <= region[current].end - at;
}

unsigned tcg_buffer_next(void)
{
    return (current + 1) % regions;
}

bool tcg_buffer_is_empty(unsigned r)
{
    return region[r].used == region[r].start;
}

void tcg_buffer_select(unsigned r)
{
    /* give the pages back: a process that had much code need not keep the memory */
    uint32_t page = (region[r].start + 4095) & ~4095u;

    if (page < region[r].used) {
        madvise(tcg_code_rw + page, region[r].used - page, MADV_REMOVE);
    }
    region[r].used = region[r].start;
    current = r;
}

unsigned tcg_buffer_region(uint32_t offset)
{
    unsigned r = regions ? offset / region[0].end : 0;

    return r < regions ? r : 0;
}

uint32_t tcg_buffer_used(void)
{
    return buffer_used;
}

size_t tcg_buffer_size(void)
{
    return buffer_size;
}

/*
 * A forked child shares the memory with its parent; it gets a copy of its own at the same
 * addresses. The copy is made before the fork: afterwards the parent goes on, and links units to
 * others that the child has never had.
 */
static struct memory copy;
static int copy_error; /* of making it: 0 or -errno */

/* 0 or -errno. */
static int copy_range(uint32_t from, uint32_t to)
{
    if (copy.fd < 0) {
        memcpy(copy.at + from, tcg_code_rx + from, to - from);
        return 0;
    }
    while (from < to) {
        ssize_t n = pwrite(copy.fd, tcg_code_rx + from, to - from, (off_t)from);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -ENOSPC;
        }
        from += (uint32_t)n;
    }
    return 0;
}

void tcg_buffer_fork_prepare(void)
{
    copy_error = memory_open(&copy, buffer_size);
    if (copy_error < 0) {
        return;
    }
    copy_error = copy_range(0, buffer_used);
    for (unsigned r = 0; copy_error == 0 && r < regions; r++) {
        copy_error = copy_range(region[r].start, region[r].used);
    }
    if (copy_error < 0) {
        memory_close(&copy);
    }
}

void tcg_buffer_fork_parent(void)
{
    if (copy_error == 0) {
        memory_close(&copy);
    }
    copy_error = -EBADF;
}

int tcg_buffer_fork_child(void)
{
    int error = copy_error;

    if (error == 0) {
        error = memory_map(&copy, tcg_code_rx, PROT_READ | PROT_EXEC);
    }
    if (error == 0) {
        error = memory_map(&copy, tcg_code_rw, PROT_READ | PROT_WRITE);
    }
    tcg_buffer_fork_parent();
    return error;
}
