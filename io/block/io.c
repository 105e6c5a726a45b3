/*
 * Blocking requests on one node: what every driver would have to do otherwise.
 *
 *   - the end: reads behind it give zeros, writes grow the node or fail;
 *   - alignment: what the host can't do as it is goes through a bounce buffer; an unaligned write
 *     is widened to a read-modify-write that excludes overlapping ones (core->writes);
 *   - zeros: written where the driver has no better way, and detected where asked for;
 *   - FUA by flushing where the driver can't do it by itself;
 *   - flushes that find nothing written since the last one are not sent to the host.
 *
 * A filter's missing operations are those of its child.
 */
#include "io/block/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOUNCE_MAX (1u << 20) /* bytes moved at a time through a buffer of ours */

/* A filter does it by its child if it has no code for it. */
static struct block_node *below(const struct block_node *node)
{
    return node->driver->is_filter && node->file ? node->file->node : NULL;
}

static uint64_t round_down(uint64_t value, uint32_t unit)
{
    return value & ~((uint64_t)unit - 1);
}

static uint64_t round_up(uint64_t value, uint32_t unit)
{
    return round_down(value + unit - 1, unit);
}

static uint32_t alignment_of(const struct block_node *node)
{
    return node->alignment ? node->alignment : 1;
}

static bool in_range(uint64_t offset, uint64_t size)
{
    return offset <= INT64_MAX && size <= INT64_MAX - offset;
}

static void *bounce_alloc(const struct block_node *node, size_t size)
{
    void *buffer;
    size_t alignment = node->memory_alignment > 64 ? node->memory_alignment : 64;

    return posix_memalign(&buffer, alignment, size) ? NULL : buffer;
}

static bool memory_aligned(const struct block_node *node, const struct block_vec *vec)
{
    uintptr_t mask = (node->memory_alignment ? node->memory_alignment : 1) - 1;
    struct block_vec left = *vec;

    if (!mask) {
        return true;
    }
    while (left.size) {
        struct iovec piece;
        size_t n;

        block_vec_export(&left, &piece, 1, &n);
        /* A piece in the middle that is no multiple would cut a sector in two. */
        if (((uintptr_t)piece.iov_base & mask) ||
            (n != left.size && (n & (alignment_of(node) - 1)))) {
            return false;
        }
        left = block_vec_part(&left, n, left.size - n);
    }
    return true;
}

static size_t transfer_limit(const struct block_node *node, size_t size)
{
    uint64_t max = node->max_transfer;

    return max && size > max ? (size_t)round_down(max, alignment_of(node)) : size;
}

/* ---- reading ---- */

/* Through a buffer that is aligned as the host wants it. */
static int read_bounced(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    uint32_t unit = alignment_of(node);
    uint64_t start = round_down(offset, unit), end = round_up(offset + vec->size, unit);
    size_t chunk = end - start < BOUNCE_MAX ? (size_t)(end - start) : BOUNCE_MAX;
    uint8_t *buffer;
    int err = 0;

    chunk = transfer_limit(node, chunk);
    buffer = bounce_alloc(node, chunk);
    if (!buffer) {
        return -ENOMEM;
    }
    for (uint64_t at = start; at < end && !err; at += chunk) {
        size_t n = end - at < chunk ? (size_t)(end - at) : chunk;
        struct iovec iov;
        struct block_vec piece = block_vec_of(&iov, buffer, n);

        err = node->driver->read(node, at, &piece);
        if (!err) {
            uint64_t from = at > offset ? at : offset;
            uint64_t to = at + n < offset + vec->size ? at + n : offset + vec->size;

            block_vec_put(vec, (size_t)(from - offset), buffer + (from - at), (size_t)(to - from));
        }
    }
    free(buffer);
    return err;
}

static int read_inside(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    uint32_t unit = alignment_of(node);

    if (((offset | vec->size) & (unit - 1)) || !memory_aligned(node, vec)) {
        return read_bounced(node, offset, vec);
    }
    for (size_t at = 0; at < vec->size;) {
        size_t n = transfer_limit(node, vec->size - at);
        struct block_vec part = block_vec_part(vec, at, n);
        int err = node->driver->read(node, offset + at, &part);

        if (err) {
            return err;
        }
        at += n;
    }
    return 0;
}

int block_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    uint64_t end = block_size(node);
    size_t inside = vec->size;

    if (!in_range(offset, vec->size)) {
        return -EINVAL;
    }
    if (!vec->size) {
        return 0;
    }
    if (!node->driver->read) {
        return below(node) ? block_read(below(node), offset, vec) : -ENOTSUP;
    }
    if (offset >= end) {
        inside = 0;
    } else if (inside > end - offset) {
        inside = (size_t)(end - offset);
    }
    if (inside) {
        struct block_vec part = block_vec_part(vec, 0, inside);
        int err = read_inside(node, offset, &part);

        if (err) {
            return err;
        }
    }
    block_vec_fill(vec, inside, 0, vec->size - inside);
    return 0;
}

int block_pread(struct block_node *node, uint64_t offset, void *buffer, size_t size)
{
    struct iovec iov;
    struct block_vec vec = block_vec_of(&iov, buffer, size);

    return block_read(node, offset, &vec);
}

int block_read_backing(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    if (!node->backing) {
        block_vec_fill(vec, 0, 0, vec->size);
        return 0;
    }
    return block_read(node->backing->node, offset, vec);
}

/* ---- writing ---- */

int block_check_probed(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    uint8_t head[BLOCK_PROBE_SIZE];
    uint64_t size = block_size(node);
    size_t n = size < sizeof(head) ? (size_t)size : sizeof(head);

    if (!node->core->probed_raw || offset >= n) {
        return 0;
    }
    int err = block_pread(node, 0, head, n);

    if (err) {
        return err;
    }
    size_t over = vec->size < n - offset ? vec->size : (size_t)(n - offset);

    block_vec_get(vec, 0, head + offset, over);
    return strcmp(block_probe(head, n, node->filename)->name, "raw") == 0 ? 0 : -EPERM;
}

void block_grown_to(struct block_node *node, uint64_t end)
{
    uint64_t size = block_size(node);

    while (end > size && !__atomic_compare_exchange_n(&node->size, &size, end, false,
                                                      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
    }
}

/* The first or last unit of a widened write as it is now, in the bounce buffer. */
static int read_edge(struct block_node *node, uint64_t offset, uint8_t *at, uint32_t unit)
{
    struct iovec iov;
    struct block_vec vec = block_vec_of(&iov, at, unit);

    if (offset >= block_size(node)) {
        memset(at, 0, unit);
        return 0;
    }
    return node->driver->read(node, offset, &vec);
}

/* Through an aligned buffer; what is missing at both ends is read first. */
static int write_bounced(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                         unsigned flags)
{
    uint32_t unit = alignment_of(node);
    uint64_t stop = offset + vec->size;
    uint64_t start = round_down(offset, unit), end = round_up(stop, unit);
    size_t chunk = end - start < BOUNCE_MAX ? (size_t)(end - start) : BOUNCE_MAX;
    uint8_t *buffer;
    int err = 0;

    chunk = transfer_limit(node, chunk);
    buffer = bounce_alloc(node, chunk);
    if (!buffer) {
        return -ENOMEM;
    }
    for (uint64_t at = start; at < end && !err; at += chunk) {
        size_t n = end - at < chunk ? (size_t)(end - at) : chunk;
        uint64_t from = at > offset ? at : offset;
        uint64_t to = at + n < stop ? at + n : stop;
        struct iovec iov;
        struct block_vec piece = block_vec_of(&iov, buffer, n);

        if (from > at) {
            err = read_edge(node, at, buffer, unit);
        }
        if (!err && to < at + n && !(from > at && n == unit)) {
            err = read_edge(node, at + n - unit, buffer + n - unit, unit);
        }
        if (!err) {
            block_vec_get(vec, (size_t)(from - offset), buffer + (from - at), (size_t)(to - from));
            err = node->driver->write(node, at, &piece, flags);
        }
    }
    free(buffer);
    return err;
}

static int write_aligned(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                         unsigned flags)
{
    for (size_t at = 0; at < vec->size;) {
        size_t n = transfer_limit(node, vec->size - at);
        struct block_vec part = block_vec_part(vec, at, n);
        int err = node->driver->write(node, offset + at, &part, flags);

        if (err) {
            return err;
        }
        at += n;
    }
    return 0;
}

/* Takes the lock that keeps widened writes apart; nodes that take any alignment need none. */
static bool lock_writes(struct block_node *node, struct range_lock *lock, uint64_t offset,
                        uint64_t size, bool exclusive)
{
    uint32_t unit = alignment_of(node);

    if (unit == 1) {
        return false;
    }
    uint64_t start = round_down(offset, unit);

    range_lock_acquire(&node->core->writes, lock, start, round_up(offset + size, unit) - start,
                       exclusive);
    return true;
}

static int check_writable(const struct block_node *node, uint64_t offset, uint64_t size)
{
    uint64_t end = block_size(node);

    if (node->readonly || node->core->inactive) {
        return -EPERM;
    }
    if (!in_range(offset, size)) {
        return -EINVAL;
    }
    return !node->growable && (offset > end || size > end - offset) ? -ENOSPC : 0;
}

static void count_change(struct block_node *node)
{
    __atomic_fetch_add(&node->core->written, 1, __ATOMIC_ACQ_REL);
}

int block_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                unsigned flags)
{
    struct block_core *core = node->core;
    unsigned native = (node->write_flags & BLOCK_FUA) | ~BLOCK_FUA;
    struct range_lock lock;
    int err;

    if (!vec->size) {
        return 0;
    }
    if (!node->driver->write) {
        return below(node) ? block_write(below(node), offset, vec, flags) : -ENOTSUP;
    }
    err = check_writable(node, offset, vec->size);
    if (!err) {
        err = block_check_probed(node, offset, vec);
    }
    if (err) {
        return err;
    }
    if (core->generic.detect_zeroes && !(flags & BLOCK_COMPRESSED) && block_vec_is_zero(vec)) {
        return block_zero(
            node, offset, vec->size,
            flags | (core->generic.detect_zeroes == BLOCK_DETECT_UNMAP ? BLOCK_MAY_UNMAP : 0));
    }
    bool unaligned = (offset | vec->size) & (alignment_of(node) - 1);
    bool locked = lock_writes(node, &lock, offset, vec->size, unaligned);

    err = unaligned || !memory_aligned(node, vec)
              ? write_bounced(node, offset, vec, flags & native)
              : write_aligned(node, offset, vec, flags & native);
    if (!err) {
        block_grown_to(node, offset + vec->size);
    }
    count_change(node);
    if (locked) {
        range_lock_release(&core->writes, &lock);
    }
    return err || !(flags & ~native & BLOCK_FUA) ? err : block_flush(node);
}

int block_pwrite(struct block_node *node, uint64_t offset, const void *buffer, size_t size,
                 unsigned flags)
{
    struct iovec iov;
    struct block_vec vec = block_vec_of(&iov, buffer, size);

    return block_write(node, offset, &vec, flags);
}

/* ---- zeros and discards ---- */

static int write_zeros(struct block_node *node, uint64_t offset, uint64_t size)
{
    size_t chunk = size < BOUNCE_MAX ? (size_t)size : BOUNCE_MAX;
    uint8_t *buffer = bounce_alloc(node, chunk);
    int err = buffer ? 0 : -ENOMEM;

    if (buffer) {
        memset(buffer, 0, chunk);
    }
    for (uint64_t at = 0; at < size && !err; at += chunk) {
        size_t n = size - at < chunk ? (size_t)(size - at) : chunk;
        struct iovec iov;
        struct block_vec vec = block_vec_of(&iov, buffer, n);
        struct range_lock lock;
        bool unaligned = ((offset + at) | n) & (alignment_of(node) - 1);
        bool locked = lock_writes(node, &lock, offset + at, n, unaligned);

        err = unaligned ? write_bounced(node, offset + at, &vec, 0)
                        : write_aligned(node, offset + at, &vec, 0);
        if (locked) {
            range_lock_release(&node->core->writes, &lock);
        }
    }
    free(buffer);
    return err;
}

int block_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct block_core *core = node->core;
    bool fua = flags & BLOCK_FUA; /* to be done by a flush */
    struct range_lock lock;
    int err = -ENOTSUP;

    if (!size) {
        return 0;
    }
    if (!node->driver->write) {
        return below(node) ? block_zero(below(node), offset, size, flags) : -ENOTSUP;
    }
    int refused = check_writable(node, offset, size);

    if (refused) {
        return refused;
    }
    if (!node->discard_unmap) {
        flags &= ~BLOCK_MAY_UNMAP;
    }
    flags &= ~BLOCK_FUA | node->write_flags;
    if (node->driver->zero) {
        bool locked = lock_writes(node, &lock, offset, size, false);

        err = node->driver->zero(node, offset, size, flags);
        if (locked) {
            range_lock_release(&core->writes, &lock);
        }
    }
    if (err != -ENOTSUP) {
        fua &= !(node->write_flags & BLOCK_FUA);
    } else if (!(flags & BLOCK_NO_FALLBACK)) {
        err = write_zeros(node, offset, size);
    }
    count_change(node);
    if (!err) {
        block_grown_to(node, offset + size);
    }
    return err || !fua ? err : block_flush(node);
}

int block_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    struct range_lock lock;
    int err = 0;

    if (!node->driver->write) {
        return below(node) ? block_discard(below(node), offset, size) : -ENOTSUP;
    }
    if (node->readonly || node->core->inactive) {
        return -EPERM;
    }
    if (!in_range(offset, size)) {
        return -EINVAL;
    }
    if (size && node->discard_unmap && node->driver->discard) {
        bool locked = lock_writes(node, &lock, offset, size, false);

        err = node->driver->discard(node, offset, size);
        count_change(node);
        if (locked) {
            range_lock_release(&node->core->writes, &lock);
        }
    }
    return err == -ENOTSUP ? 0 : err; /* it is a hint */
}

/* ---- flushes, sizes ---- */

int block_flush(struct block_node *node)
{
    struct block_core *core = node->core;
    int err = 0;

    if (node->driver->flush && (node->file || !node->no_flush)) {
        unsigned long written = __atomic_load_n(&core->written, __ATOMIC_ACQUIRE);

        /* A node with children has more to flush than what was written through it. */
        if (!node->file && written == __atomic_load_n(&core->flushed, __ATOMIC_ACQUIRE)) {
            return 0;
        }
        err = node->driver->flush(node);
        if (!err) {
            __atomic_store_n(&core->flushed, written, __ATOMIC_RELEASE);
        }
        return err;
    }
    if (node->data) {
        err = block_flush(node->data->node);
    }
    if (node->file && !err) {
        err = block_flush(node->file->node);
    }
    return err;
}

int block_truncate(struct block_node *node, uint64_t size, bool exact,
                   enum block_preallocation preallocation, char *error, size_t error_size)
{
    int err;

    if (node->readonly || node->core->inactive) {
        snprintf(error, error_size, "%s: is read-only; can't change its size", node->filename);
        return -EPERM;
    }
    if (size > INT64_MAX) {
        snprintf(error, error_size, "%s: size %" PRIu64 ": too large", node->filename, size);
        return -EFBIG;
    }
    if (!node->driver->truncate) {
        if (!below(node)) {
            snprintf(error, error_size, "%s: driver %s can't change the size", node->filename,
                     node->driver->name);
            return -ENOTSUP;
        }
        err = block_truncate(below(node), size, exact, preallocation, error, error_size);
        if (!err) {
            block_set_size(node, block_size(below(node)));
        }
        return err;
    }
    error[0] = 0;
    err = node->driver->truncate(node, size, exact, preallocation, error, error_size);
    count_change(node);
    if (err && !error[0]) {
        snprintf(error, error_size, "%s: size %" PRIu64 ": %s", node->filename, size,
                 strerror(-err));
    }
    return err;
}

int block_reserve(struct block_node *node, uint64_t size)
{
    int err = check_writable(node, 0, size);

    if (!err) {
        err = node->driver->reserve ? node->driver->reserve(node, size) : -ENOTSUP;
    }
    if (!err) {
        block_grown_to(node, size);
        count_change(node);
    }
    return err;
}

/* ---- status ---- */

int block_status(struct block_node *node, uint64_t offset, uint64_t size,
                 struct block_status *status)
{
    uint64_t end = block_size(node);
    int err;

    *status = (struct block_status){.flags = BLOCK_STATUS_EOF};
    if (!in_range(offset, size)) {
        return -EINVAL;
    }
    if (offset >= end || !size) {
        return 0;
    }
    size = size < end - offset ? size : end - offset;
    if (!node->driver->status) {
        if (below(node)) {
            return block_status(below(node), offset, size, status);
        }
        *status = (struct block_status){.size = size,
                                        .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED};
        if (!node->file) {
            status->flags |= BLOCK_STATUS_OFFSET;
            status->host = offset;
            status->file = node;
        }
        return 0;
    }
    *status = (struct block_status){0};
    err = node->driver->status(node, offset, size, status);
    if (err) {
        return err;
    }
    if (status->size > size) {
        status->size = size;
    }
    if ((status->flags & BLOCK_STATUS_RECURSE) && (status->flags & BLOCK_STATUS_DATA) &&
        (status->flags & BLOCK_STATUS_OFFSET) && status->file && status->file != node) {
        struct block_status under;

        if (block_status(status->file, status->host, status->size, &under) == 0) {
            if (under.size) {
                status->size = under.size;
            }
            status->flags |= under.size ? under.flags & BLOCK_STATUS_ZERO : BLOCK_STATUS_ZERO;
        }
    }
    if (offset + status->size == end) {
        status->flags |= BLOCK_STATUS_EOF;
    }
    return 0;
}

int block_status_above(struct block_node *node, const struct block_node *base, uint64_t offset,
                       uint64_t size, struct block_status *status)
{
    uint64_t left = size;
    unsigned depth = 0;

    for (;;) {
        int err = block_status(node, offset, left, status);

        if (err) {
            return err;
        }
        if (!status->size && depth) {
            /* An upper layer is larger: what is behind the end of this one reads as zeros. */
            *status = (struct block_status){
                .size = left, .flags = BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED, .depth = depth};
            return 0;
        }
        status->depth = depth;
        if (!status->size || (status->flags & BLOCK_STATUS_ALLOCATED)) {
            return 0;
        }
        while (below(node)) {
            node = below(node);
        }
        if (!node->backing) {
            status->flags |= BLOCK_STATUS_ZERO;
            return 0;
        }
        node = node->backing->node;
        if (node == base) {
            return 0;
        }
        left = status->size;
        depth++;
    }
}

int block_get_info(struct block_node *node, struct block_info *info)
{
    if (!node->driver->info && node->driver->is_filter && node->file) {
        return block_get_info(node->file->node, info);
    }
    *info = (struct block_info){.allocated = UINT64_MAX};
    if (node->driver->info) {
        int err = node->driver->info(node, info);

        if (err) {
            return err;
        }
    }
    /* A format takes what its file takes. */
    if (info->allocated == UINT64_MAX && node->file) {
        struct block_info file;
        int err = block_get_info(node->file->node, &file);

        free(file.backing_filename);
        free(file.backing_format);
        info->allocated = err ? UINT64_MAX : file.allocated;
    }
    return 0;
}
