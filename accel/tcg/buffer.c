/*
 * The code buffer: one memfd mapped twice, executable here and writable there, so no mapping is
 * ever both.
 *
 * It lies within two gigabytes of our own text, which generated code calls by 32-bit displacement.
 * Memory is taken from it upwards and given back all at once.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "accel/tcg/internal.h"

uint8_t *tcg_code_rx, *tcg_code_rw;
static size_t buffer_size;
static uint32_t buffer_used;

/* A displacement from anywhere in one to anywhere in the other fits 31 bits. */
static bool is_near(const uint8_t *at, size_t size)
{
    const uint8_t *text = (const uint8_t *)(uintptr_t)tcg_buffer_init;
    int64_t low = at - text, high = at + size - text;
    return low > -0x70000000ll && high < 0x70000000ll;
}

static uint8_t *map_near(int fd, size_t size)
{
    uint8_t *text = (uint8_t *)((uintptr_t)tcg_buffer_init & ~(uintptr_t)0x1fffff);

    for (int64_t step = 0x2000000; step < 0x68000000; step += 0x2000000) {
        for (int side = 1; side >= -1; side -= 2) {
            uint8_t *hint = text + side * step - (side < 0 ? size : 0);
            uint8_t *at =
                mmap(hint, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);

            if (at == MAP_FAILED) {
                if (errno == EPERM || errno == EACCES) {
                    return NULL;
                }
                continue;
            }
            if (is_near(at, size)) {
                return at;
            }
            munmap(at, size);
        }
    }
    errno = ENOMEM;
    return NULL;
}

static int open_memory(size_t size)
{
    int fd = memfd_create("tinamou-code", MFD_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)size) < 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    return fd;
}

int tcg_buffer_init(size_t size)
{
    int fd = open_memory(size), error;

    if (fd < 0) {
        return fd;
    }
    tcg_code_rx = map_near(fd, size);
    if (!tcg_code_rx) {
        error = -errno;
        close(fd);
        return error;
    }
    tcg_code_rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    error = -errno;
    close(fd);
    if (tcg_code_rw == MAP_FAILED) {
        munmap(tcg_code_rx, size);
        return error;
    }
    buffer_size = size;
    buffer_used = 0;
    return 0;
}

uint32_t tcg_buffer_alloc(uint32_t size)
{
    uint32_t at = (buffer_used + 15) & ~15u;

    if (size > buffer_size - at) {
        return UINT32_MAX;
    }
    buffer_used = at + size;
    return at;
}

void tcg_buffer_reset(uint32_t keep)
{
    /* give the pages back: a process that had much code need not keep the memory */
    uint32_t page = (keep + 4095) & ~4095u;

    if (page < buffer_used) {
        madvise(tcg_code_rw + page, buffer_used - page, MADV_REMOVE);
    }
    buffer_used = keep;
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
static int copy_fd = -1;

void tcg_buffer_fork_prepare(void)
{
    size_t done = 0;
    int fd = open_memory(buffer_size);

    while (fd >= 0 && done < buffer_used) {
        ssize_t n = pwrite(fd, tcg_code_rx + done, buffer_used - done, (off_t)done);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            int error = n < 0 ? -errno : -ENOSPC;
            close(fd);
            fd = error;
            break;
        }
        done += (size_t)n;
    }
    copy_fd = fd;
}

void tcg_buffer_fork_parent(void)
{
    if (copy_fd >= 0) {
        close(copy_fd);
    }
    copy_fd = -1;
}

int tcg_buffer_fork_child(void)
{
    int fd = copy_fd, error = 0;

    if (fd < 0) {
        return fd;
    }
    if (mmap(tcg_code_rx, buffer_size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED ||
        mmap(tcg_code_rw, buffer_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
            MAP_FAILED) {
        error = -errno;
    }
    tcg_buffer_fork_parent();
    return error;
}
