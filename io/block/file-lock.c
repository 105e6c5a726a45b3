/*
 * Image locks, by open-file-description locks on bytes of the file; the same bytes as QEMU's, so
 * that its tools and we keep off each other's images.
 *
 * Who does what permission bit N stands for holds a shared lock on byte 100 + N; who does not share
 * it holds one on byte 200 + N. All locks are shared ones, so that several may hold them; whether
 * somebody else holds a byte is asked with F_OFD_GETLK for an exclusive lock. First take, then
 * ask: of two who come at once at least one sees the other.
 */
#include "io/block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define PERMISSION_BASE 100
#define SHARED_BASE     200
#define BITS            4

static int set_lock(int fd, int base, int bit, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = base + bit, .l_len = 1};
    int n;

    do {
        n = fcntl(fd, F_OFD_SETLK, &lock);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Does another description hold the byte? */
static bool held_elsewhere(int fd, int base, int bit)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = base + bit, .l_len = 1};

    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Locks the bytes in `take`; on error none of them. */
static int take_bytes(int fd, int base, unsigned take)
{
    for (int bit = 0; bit < BITS; bit++) {
        int err = take & (1u << bit) ? set_lock(fd, base, bit, F_RDLCK) : 0;

        if (err) {
            while (--bit >= 0) {
                if (take & (1u << bit)) {
                    set_lock(fd, base, bit, F_UNLCK);
                }
            }
            return err;
        }
    }
    return 0;
}

static void drop_bytes(int fd, int base, unsigned drop)
{
    for (int bit = 0; bit < BITS; bit++) {
        if (drop & (1u << bit)) {
            set_lock(fd, base, bit, F_UNLCK);
        }
    }
}

static int first_held_elsewhere(int fd, int base, unsigned bits)
{
    for (int bit = 0; bit < BITS; bit++) {
        if ((bits & (1u << bit)) && held_elsewhere(fd, base, bit)) {
            return bit;
        }
    }
    return -1;
}

int file_lock_update(struct file_locks *locks, const char *filename, unsigned permissions,
                     unsigned shared, char *error, size_t error_size)
{
    static const char *const names[BITS] = {"consistent read", "write", "write unchanged",
                                            "resize"};
    unsigned unshared = ~shared & BLOCK_PERM_ALL;
    unsigned new_held, new_unshared;
    int bit, err;

    if (locks->off) {
        return 0;
    }
    new_held = permissions & ~locks->held;
    new_unshared = unshared & ~locks->unshared;
    err = take_bytes(locks->fd, PERMISSION_BASE, new_held);
    if (!err) {
        err = take_bytes(locks->fd, SHARED_BASE, new_unshared);
        if (err) {
            drop_bytes(locks->fd, PERMISSION_BASE, new_held);
        }
    }
    if (err && err != -EAGAIN && err != -EACCES && !locks->required) {
        locks->off = true; /* a file system without locks */
        return 0;
    }
    bit = err ? 1 : first_held_elsewhere(locks->fd, SHARED_BASE, permissions);
    if (!err && bit < 0) {
        bit = first_held_elsewhere(locks->fd, PERMISSION_BASE, unshared);
    }
    if (err || bit >= 0) {
        if (!err) {
            drop_bytes(locks->fd, PERMISSION_BASE, new_held);
            drop_bytes(locks->fd, SHARED_BASE, new_unshared);
        }
        snprintf(error, error_size,
                 "%s: failed to get \"%s\" lock: %s; is another process using the image?", filename,
                 names[bit], err ? strerror(-err) : "it is held");
        return err ? err : -EAGAIN;
    }
    drop_bytes(locks->fd, PERMISSION_BASE, locks->held & ~permissions);
    drop_bytes(locks->fd, SHARED_BASE, locks->unshared & ~unshared);
    locks->held = permissions;
    locks->unshared = unshared;
    return 0;
}
