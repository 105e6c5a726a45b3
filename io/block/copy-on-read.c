/*
 * The filter "copy-on-read": what is read from a backing file is written into the image above it,
 * so that it need not be read from there again.
 *
 * A copy excludes writes to its range: otherwise it could put old data over new. Copies are of
 * whole clusters, where the image has clusters.
 */
#include "io/block/drivers.h"
#include "io/block/range-lock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define COPY_MAX (1u << 20)

struct cor {
    struct range_locks locks;
    uint32_t cluster;
};

static const struct block_child_rule cor_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILTERED, .required = true},
    {0},
};

static int cor_open(struct block_node *node, char *error, size_t error_size)
{
    struct block_node *file = node->file->node;
    struct cor *cor = node->state;
    struct block_info info;
    int err = block_get_info(file, &info);

    if (err) {
        return err;
    }
    free(info.backing_filename);
    free(info.backing_format);
    cor->cluster = info.cluster_size ? info.cluster_size : 1;
    if (file->readonly) {
        snprintf(error, error_size, "copy-on-read: %s is read-only; expected one to write to",
                 block_name(file));
        return -EACCES;
    }
    range_locks_init(&cor->locks);
    block_set_size(node, block_size(file));
    node->write_flags = BLOCK_FUA;
    node->discard_granularity = file->discard_granularity;
    return 0;
}

static void cor_close(struct block_node *node)
{
    struct cor *cor = node->state;

    range_locks_destroy(&cor->locks);
}

/* Copies what the clusters around a range have in lower layers only. The range is locked. */
static int copy(struct block_node *node, uint64_t offset, uint64_t size)
{
    struct block_node *file = node->file->node;
    uint8_t *buffer = NULL;
    int err = 0;

    while (size && !err) {
        struct block_status status;
        size_t n;

        err = block_status(file, offset, size < COPY_MAX ? size : COPY_MAX, &status);
        if (err || !status.size) {
            break;
        }
        n = (size_t)status.size;
        if (!(status.flags & BLOCK_STATUS_ALLOCATED)) {
            if (!buffer && posix_memalign((void **)&buffer, 4096, COPY_MAX)) {
                return -ENOMEM;
            }
            err = block_pread(file, offset, buffer, n);
            if (!err) {
                err = block_pwrite(file, offset, buffer, n, BLOCK_UNCHANGED);
            }
        }
        offset += n;
        size -= n;
    }
    free(buffer);
    return err;
}

static int cor_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct cor *cor = node->state;
    uint64_t start = offset / cor->cluster * cor->cluster;
    uint64_t end = (offset + vec->size + cor->cluster - 1) / cor->cluster * cor->cluster;
    struct range_lock lock;

    end = end < block_size(node) ? end : block_size(node);
    range_lock_acquire(&cor->locks, &lock, start, end - start, true);
    int err = copy(node, start, end - start);

    range_lock_release(&cor->locks, &lock);
    return err ? err : block_read(node->file->node, offset, vec);
}

static int cor_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                     unsigned flags)
{
    struct cor *cor = node->state;
    struct range_lock lock;

    range_lock_acquire(&cor->locks, &lock, offset, vec->size, false);
    int err = block_write(node->file->node, offset, vec, flags);

    range_lock_release(&cor->locks, &lock);
    return err;
}

static int cor_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct cor *cor = node->state;
    struct range_lock lock;

    range_lock_acquire(&cor->locks, &lock, offset, size, false);
    int err = block_zero(node->file->node, offset, size, flags);

    range_lock_release(&cor->locks, &lock);
    return err;
}

static int cor_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    struct cor *cor = node->state;
    struct range_lock lock;

    range_lock_acquire(&cor->locks, &lock, offset, size, false);
    int err = block_discard(node->file->node, offset, size);

    range_lock_release(&cor->locks, &lock);
    return err;
}

const struct block_driver block_copy_on_read = {
    .name = "copy-on-read",
    .is_filter = true,
    .child_permissions = BLOCK_PERM_WRITE_UNCHANGED,
    .state_size = sizeof(struct cor),
    .children = cor_children,
    .open = cor_open,
    .close = cor_close,
    .read = cor_read,
    .write = cor_write,
    .zero = cor_zero,
    .discard = cor_discard,
};
