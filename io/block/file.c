/*
 * Regular files: positioned reads and writes, by io_uring from a device's requests and by system
 * calls from everything else.
 *
 * FUA is RWF_DSYNC. Zeros are ZERO_RANGE, or holes where that is allowed; a host without them gets
 * zeros written by the core. Holes are found by SEEK_DATA and SEEK_HOLE. The locks of images are
 * in file-lock.c; devices of the host in host-device.c.
 */
#include "io/block/file.h"
#include "io/block/async.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIECES     64   /* elements of an iovec that go into one system call */
#define DIRECT_MAX 4096 /* the largest alignment that O_DIRECT asks for */

static const char *const aio_names[] = {"io_uring", "native", "threads", NULL};
static const char *const locking_names[] = {"auto", "on", "off", NULL};

const struct property file_properties[] = {
    PROPERTY(STRING, "filename", struct file_options, filename, .help = "path of the file",
             .required = true),
    PROPERTY(ENUM, "aio", struct file_options, aio, .names = aio_names,
             .help = "how requests of devices reach the host"),
    PROPERTY(ENUM, "locking", struct file_options, locking, .names = locking_names,
             .help = "locks against other processes"),
    PROPERTY_END,
};

/* ---- opening ---- */

int file_open_fd(struct block_node *node, char *error, size_t error_size)
{
    const struct file_options *options = node->options;
    struct file_state *s = node->state;
    /* O_NONBLOCK: a name in an image may be a pipe's, which nobody opens at its other end. It means
     * nothing to files and block devices. */
    int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (node->direct ? O_DIRECT : 0);

    if (!options->filename || !*options->filename) {
        snprintf(error, error_size, "%s: option 'filename' is missing", node->driver->name);
        return -EINVAL;
    }
    if (options->aio == FILE_AIO_NATIVE && !node->direct) {
        snprintf(error, error_size, "%s: aio=native: expected cache.direct=on with it",
                 node->driver->name);
        return -EINVAL;
    }
    s->fd = open(options->filename, flags | (node->readonly ? O_RDONLY : O_RDWR));
    if (s->fd < 0 && !node->readonly && node->auto_readonly &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        s->fd = open(options->filename, flags | O_RDONLY);
        node->readonly = s->fd >= 0;
    }
    if (s->fd < 0) {
        int err = -errno;

        snprintf(error, error_size, "%s: can't open: %s%s", options->filename, strerror(-err),
                 err == -EINVAL && node->direct
                     ? "; its file system may not know cache.direct=on (O_DIRECT)"
                     : "");
        return err;
    }
    s->locks = (struct file_locks){.fd = s->fd,
                                   .off = options->locking == FILE_LOCKING_OFF,
                                   .required = options->locking == FILE_LOCKING_ON};
    node->write_flags = BLOCK_FUA;
    return 0;
}

/* Which alignment O_DIRECT wants here: what reading refuses is too little. */
static uint32_t find_alignment(int fd)
{
    uint32_t alignment = 512;
    void *buffer;

    if (posix_memalign(&buffer, DIRECT_MAX, DIRECT_MAX)) {
        return DIRECT_MAX;
    }
    while (alignment < DIRECT_MAX &&
           pread(fd, (uint8_t *)buffer + alignment, alignment, (off_t)alignment) < 0) {
        alignment *= 2;
    }
    free(buffer);
    return alignment;
}

void file_set_alignment(struct block_node *node, uint32_t sector)
{
    const struct file_state *s = node->state;

    if (node->direct) {
        /* An empty file lets everything pass. */
        node->alignment = sector ? sector : block_size(node) ? find_alignment(s->fd) : DIRECT_MAX;
        node->memory_alignment = node->alignment;
    }
}

static int file_open(struct block_node *node, char *error, size_t error_size)
{
    struct file_state *s = node->state;
    struct stat st;
    int err = file_open_fd(node, error, error_size);

    if (err) {
        return err;
    }
    if (fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        snprintf(error, error_size, "%s: expected a regular file; devices need driver=host_device",
                 node->filename);
        close(s->fd);
        return -EINVAL;
    }
    block_set_size(node, (uint64_t)st.st_size);
    file_set_alignment(node, 0);
    node->growable = true;
    node->discard_granularity = (uint32_t)st.st_blksize;
    return 0;
}

void file_close(struct block_node *node)
{
    struct file_state *s = node->state;

    close(s->fd);
}

int file_set_permissions(struct block_node *node, unsigned permissions, unsigned shared,
                         char *error, size_t error_size)
{
    struct file_state *s = node->state;

    return file_lock_update(&s->locks, node->filename, permissions, shared, error, error_size);
}

/* ---- reading and writing ---- */

int file_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    const struct file_state *s = node->state;
    struct block_vec left = *vec;

    while (left.size) {
        struct iovec iov[PIECES];
        unsigned count = block_vec_export(&left, iov, PIECES, NULL);
        ssize_t n = preadv(s->fd, iov, (int)count, (off_t)offset);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (n == 0) {
            block_vec_fill(&left, 0, 0, left.size);
            return 0;
        }
        offset += (uint64_t)n;
        left = block_vec_part(&left, (size_t)n, left.size - (size_t)n);
        if (node->direct && (n & (node->alignment - 1))) {
            /* Only the end of the file explains that, and O_DIRECT can't go on from there. */
            block_vec_fill(&left, 0, 0, left.size);
            return 0;
        }
    }
    return 0;
}

int file_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
               unsigned flags)
{
    const struct file_state *s = node->state;
    struct block_vec left = *vec;
    int rw_flags = (flags & BLOCK_FUA) && !node->no_flush ? RWF_DSYNC : 0;

    while (left.size) {
        struct iovec iov[PIECES];
        unsigned count = block_vec_export(&left, iov, PIECES, NULL);
        ssize_t n = pwritev2(s->fd, iov, (int)count, (off_t)offset, rw_flags);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        if (n == 0) {
            return -ENOSPC;
        }
        offset += (uint64_t)n;
        left = block_vec_part(&left, (size_t)n, left.size - (size_t)n);
    }
    return 0;
}

static int flush_result(struct block_node *node, int err)
{
    struct file_state *s = node->state;

    if (err && !node->direct) {
        __atomic_store_n(&s->flush_error, err, __ATOMIC_RELAXED);
    }
    return err;
}

int file_flush(struct block_node *node)
{
    struct file_state *s = node->state;
    int before = __atomic_load_n(&s->flush_error, __ATOMIC_RELAXED);

    return before ? before : flush_result(node, fdatasync(s->fd) < 0 ? -errno : 0);
}

/* ---- zeros, holes, sizes ---- */

int file_allocate(int fd, int mode, uint64_t offset, uint64_t size)
{
    while (fallocate(fd, mode, (off_t)offset, (off_t)size) < 0) {
        if (errno != EINTR) {
            /* EINVAL: a range that does not suit, as of a device's sectors. */
            return errno == EOPNOTSUPP || errno == ENODEV || errno == ENOSYS || errno == EINVAL
                       ? -ENOTSUP
                       : -errno;
        }
    }
    return 0;
}

static int punch(struct file_state *s, uint64_t offset, uint64_t size)
{
    int err = -ENOTSUP;

    if (!__atomic_load_n(&s->no_punch, __ATOMIC_RELAXED)) {
        err = file_allocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
        if (err == -ENOTSUP) {
            __atomic_store_n(&s->no_punch, true, __ATOMIC_RELAXED);
        }
    }
    return err;
}

static int zero_range(struct block_node *node, uint64_t offset, uint64_t size, bool may_unmap)
{
    struct file_state *s = node->state;
    int err = -ENOTSUP;

    /* A hole does not lengthen the file; the other ways do. */
    if (may_unmap && offset + size <= block_size(node)) {
        err = punch(s, offset, size);
    }
    if (err == -ENOTSUP && !__atomic_load_n(&s->no_zero_range, __ATOMIC_RELAXED)) {
        err = file_allocate(s->fd, FALLOC_FL_ZERO_RANGE, offset, size);
        if (err == -ENOTSUP) {
            __atomic_store_n(&s->no_zero_range, true, __ATOMIC_RELAXED);
        }
    }
    if (err == -ENOTSUP && !__atomic_load_n(&s->no_allocate, __ATOMIC_RELAXED)) {
        /* A hole, and then blocks for it, are zeros that keep their place. */
        err = punch(s, offset, size);
        if (!err) {
            err = file_allocate(s->fd, 0, offset, size);
        }
        if (err == -ENOTSUP) {
            __atomic_store_n(&s->no_allocate, true, __ATOMIC_RELAXED);
        }
    }
    return err;
}

static int file_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    int err = zero_range(node, offset, size, flags & BLOCK_MAY_UNMAP);

    return err || !(flags & BLOCK_FUA) || node->no_flush ? err : file_flush(node);
}

static int file_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    return punch(node->state, offset, size);
}

static int file_status(struct block_node *node, uint64_t offset, uint64_t size,
                       struct block_status *status)
{
    const struct file_state *s = node->state;
    off_t data = lseek(s->fd, (off_t)offset, SEEK_DATA);
    off_t end;

    *status = (struct block_status){.size = size,
                                    .flags = BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED,
                                    .host = offset,
                                    .file = node};
    if (data < 0) {
        /* ENXIO: no more data; anything else: a file system that does not know. */
        status->flags |= errno == ENXIO ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA;
        return 0;
    }
    if ((uint64_t)data > offset) {
        status->flags |= BLOCK_STATUS_ZERO;
        end = data;
    } else {
        status->flags |= BLOCK_STATUS_DATA;
        end = lseek(s->fd, (off_t)offset, SEEK_HOLE);
    }
    if (end > (off_t)offset && (uint64_t)end - offset < size) {
        status->size = (uint64_t)end - offset;
    }
    return 0;
}

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[65536];

    while (from < to) {
        size_t n = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
        ssize_t done = pwrite(fd, zeros, n, (off_t)from);

        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        from += done > 0 ? (uint64_t)done : 0;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

static int set_size(int fd, uint64_t from, uint64_t to, enum block_preallocation preallocation)
{
    int err = 0;

    if (to > from && preallocation == BLOCK_PREALLOC_FALLOC) {
        err = file_allocate(fd, 0, from, to - from);
    }
    if (!err) {
        err = ftruncate(fd, (off_t)to) < 0 ? -errno : 0;
    }
    if (!err && to > from && preallocation == BLOCK_PREALLOC_FULL) {
        err = write_zeros(fd, from, to);
    }
    if (err && to > from && ftruncate(fd, (off_t)from) < 0) {
        return -errno;
    }
    return err;
}

static int check_preallocation(const char *filename, uint64_t from, uint64_t to,
                               enum block_preallocation preallocation, char *error,
                               size_t error_size)
{
    if (preallocation == BLOCK_PREALLOC_METADATA ||
        (preallocation != BLOCK_PREALLOC_OFF && to < from)) {
        snprintf(error, error_size, "%s: preallocation=%s: expected %s", filename,
                 block_preallocation_names[preallocation],
                 to < from ? "off, for shrinking" : "one of off, falloc, full");
        return -ENOTSUP;
    }
    return 0;
}

static int file_truncate(struct block_node *node, uint64_t size, bool exact,
                         enum block_preallocation preallocation, char *error, size_t error_size)
{
    const struct file_state *s = node->state;
    uint64_t before = block_size(node);
    int err = check_preallocation(node->filename, before, size, preallocation, error, error_size);

    if (!err) {
        err = set_size(s->fd, before, size, preallocation);
    }
    if (!err) {
        block_set_size(node, size);
    }
    return err;
}

static int file_reserve(struct block_node *node, uint64_t size)
{
    const struct file_state *s = node->state;
    uint64_t before = block_size(node);
    struct statfs fs;

    /* In memory room is made by clearing it, which writing does anyway. */
    if (fstatfs(s->fd, &fs) < 0 || fs.f_type == TMPFS_MAGIC) {
        return -ENOTSUP;
    }
    return size > before ? file_allocate(s->fd, 0, before, size - before) : 0;
}

static int file_update_size(struct block_node *node)
{
    const struct file_state *s = node->state;
    struct stat st;

    if (fstat(s->fd, &st) < 0) {
        return -errno;
    }
    block_set_size(node, (uint64_t)st.st_size);
    return 0;
}

static int file_info(struct block_node *node, struct block_info *info)
{
    const struct file_state *s = node->state;
    struct stat st;

    if (fstat(s->fd, &st) < 0) {
        return -errno;
    }
    info->allocated = (uint64_t)st.st_blocks * 512;
    return 0;
}

/* ---- creation ---- */

struct file_create_options {
    int preallocation;
};

static const struct property file_create_properties[] = {
    PROPERTY(ENUM, "preallocation", struct file_create_options, preallocation,
             .names = block_preallocation_names, .help = "what is allocated at once"),
    PROPERTY_END,
};

/* The file is emptied only when nobody else has it in use. */
static int file_create(const struct block_create *create, const void *options, char *error,
                       size_t error_size)
{
    const struct file_create_options *o = options;
    const enum block_preallocation preallocation = (enum block_preallocation)o->preallocation;
    int fd = open(create->filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int err = fd < 0 ? -errno : 0;

    error[0] = 0;
    if (!err) {
        struct file_locks locks = {.fd = fd};

        err = check_preallocation(create->filename, 0, create->size, preallocation, error,
                                  error_size);
        if (!err) {
            err = file_lock_update(&locks, create->filename, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                                   BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, error, error_size);
        }
        if (!err) {
            err = ftruncate(fd, 0) < 0 ? -errno : set_size(fd, 0, create->size, preallocation);
        }
        close(fd);
    }
    if (err && !error[0]) {
        snprintf(error, error_size, "%s: can't create: %s", create->filename, strerror(-err));
    }
    return err;
}

/* ---- without a worker ---- */

static void submit_done(struct uring_op *op, int result)
{
    struct block_async *async =
        (struct block_async *)((char *)op - offsetof(struct block_async, op));

    if (async->kind == BLOCK_FLUSH) {
        /* Of a failed one only the first caller is told by the host. */
        async->done(async, flush_result(async->file, result));
    } else if (result == -EAGAIN || result == -EINVAL || result == -EOPNOTSUPP ||
               result == -EINTR || (result >= 0 && (size_t)result < async->size)) {
        async->done(async, -ENOTSUP); /* a worker finds out why */
    } else {
        async->done(async, result < 0 ? result : 0);
    }
}

bool file_submit(struct block_node *node, struct block_async *async)
{
    static const enum uring_kind kinds[] = {
        [BLOCK_READ] = URING_READ, [BLOCK_WRITE] = URING_WRITE, [BLOCK_FLUSH] = URING_FDATASYNC};
    const struct file_options *options = node->options;
    const struct file_state *s = node->state;

    if (options->aio == FILE_AIO_THREADS || __atomic_load_n(&s->flush_error, __ATOMIC_RELAXED)) {
        return false;
    }
    async->file = node;
    async->op =
        (struct uring_op){.kind = kinds[async->kind],
                          .fd = s->fd,
                          .iov = async->iov,
                          .iov_count = async->iov_count,
                          .offset = async->offset,
                          .rw_flags = (async->flags & BLOCK_FUA) && !node->no_flush ? RWF_DSYNC : 0,
                          .done = submit_done};
    return uring_submit(async->loop, &async->op);
}

const struct block_driver block_file = {
    .name = "file",
    .options = file_properties,
    .options_size = sizeof(struct file_options),
    .state_size = sizeof(struct file_state),
    .create_options = file_create_properties,
    .create_options_size = sizeof(struct file_create_options),
    .create = file_create,
    .open = file_open,
    .close = file_close,
    .set_permissions = file_set_permissions,
    .read = file_read,
    .write = file_write,
    .zero = file_zero,
    .discard = file_discard,
    .flush = file_flush,
    .status = file_status,
    .truncate = file_truncate,
    .reserve = file_reserve,
    .update_size = file_update_size,
    .submit = file_submit,
    .info = file_info,
};
