/*
 * The raw format: the image is the file, or a part of it (offset, size). Requests are forwarded to
 * the child, so they need no worker.
 *
 * The size is rounded up to sectors of 512 bytes, since that is what guests see: behind the end of
 * the file there are zeros, and a write there makes it longer.
 */
#include "io/block/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define SECTOR 512

struct raw_options {
    uint64_t offset, size;
};

struct raw {
    uint64_t offset;
};

static const struct property raw_properties[] = {
    PROPERTY(SIZE, "offset", struct raw_options, offset, .help = "where the image begins"),
    PROPERTY(SIZE, "size", struct raw_options, size, .help = "of the image; 0: all that is there"),
    PROPERTY_END,
};

static const struct block_child_rule raw_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILTERED, .required = true},
    {0},
};

static uint64_t round_up(uint64_t size)
{
    return (size + SECTOR - 1) / SECTOR * SECTOR;
}

static int raw_open(struct block_node *node, char *error, size_t error_size)
{
    const struct raw_options *options = node->options;
    const struct block_node *file = node->file->node;
    struct raw *raw = node->state;
    uint64_t there = block_size(file);

    if (options->offset > there) {
        snprintf(error, error_size,
                 "raw: offset=%" PRIu64 ": expected at most the size of the file, %" PRIu64,
                 options->offset, there);
        return -EINVAL;
    }
    if (options->size > there - options->offset) {
        snprintf(error, error_size,
                 "raw: size=%" PRIu64 ": expected at most what is behind the offset, %" PRIu64,
                 options->size, there - options->offset);
        return -EINVAL;
    }
    if (options->size % SECTOR) {
        snprintf(error, error_size, "raw: size=%" PRIu64 ": expected a multiple of %d",
                 options->size, SECTOR);
        return -EINVAL;
    }
    raw->offset = options->offset;
    block_set_size(node, options->size ? options->size : round_up(there - options->offset));
    node->discard_granularity = file->discard_granularity;
    node->write_flags = BLOCK_FUA; /* handed on */
    node->growable = file->growable && !options->size;
    return 0;
}

static int raw_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    const struct raw *raw = node->state;

    return block_read(node->file->node, raw->offset + offset, vec);
}

static int raw_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                     unsigned flags)
{
    const struct raw *raw = node->state;

    return block_write(node->file->node, raw->offset + offset, vec, flags & ~BLOCK_COMPRESSED);
}

static int raw_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    const struct raw *raw = node->state;

    return block_zero(node->file->node, raw->offset + offset, size, flags);
}

static int raw_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    const struct raw *raw = node->state;

    return block_discard(node->file->node, raw->offset + offset, size);
}

static int raw_status(struct block_node *node, uint64_t offset, uint64_t size,
                      struct block_status *status)
{
    const struct raw *raw = node->state;
    int err = block_status(node->file->node, raw->offset + offset, size, status);

    if (!err && !status->size) {
        /* The rest of the last sector, behind the end of the file. */
        *status = (struct block_status){.size = size, .flags = BLOCK_STATUS_ZERO};
    }
    status->flags |= BLOCK_STATUS_ALLOCATED; /* there is no other layer */
    status->flags &= ~BLOCK_STATUS_EOF;
    return err;
}

static int raw_truncate(struct block_node *node, uint64_t size, bool exact,
                        enum block_preallocation preallocation, char *error, size_t error_size)
{
    const struct raw_options *options = node->options;
    const struct raw *raw = node->state;
    int err;

    if (options->size) {
        snprintf(error, error_size,
                 "%s: can't resize a raw image that was opened with size=", node->filename);
        return -ENOTSUP;
    }
    if (size > INT64_MAX - raw->offset) {
        snprintf(error, error_size, "%s: size %" PRIu64 ": too large", node->filename, size);
        return -EFBIG;
    }
    err = block_truncate(node->file->node, size + raw->offset, exact, preallocation, error,
                         error_size);
    if (!err) {
        block_set_size(node, round_up(block_size(node->file->node) - raw->offset));
    }
    return err;
}

static int raw_update_size(struct block_node *node)
{
    const struct raw_options *options = node->options;
    const struct raw *raw = node->state;
    uint64_t there = block_size(node->file->node);

    if (options->offset + options->size > there) {
        return -ENXIO; /* the file has shrunk below what the user asked for */
    }
    if (!options->size) {
        block_set_size(node, round_up(there - raw->offset));
    }
    return 0;
}

static bool raw_forward(struct block_node *node, enum block_request_kind kind, uint64_t offset,
                        uint64_t size, struct block_forward *forward)
{
    const struct raw *raw = node->state;

    forward->node = node->file->node;
    forward->offset = raw->offset + offset;
    return true;
}

static int raw_probe(const uint8_t *head, size_t size, const char *filename)
{
    return 1; /* anything may be raw; anything else is likelier */
}

struct raw_create_options {
    int preallocation;
};

static const struct property raw_create_properties[] = {
    PROPERTY(ENUM, "preallocation", struct raw_create_options, preallocation,
             .names = block_preallocation_names, .help = "what is allocated at once"),
    PROPERTY_END,
};

static int raw_create(const struct block_create *create, const void *options, char *error,
                      size_t error_size)
{
    const struct raw_create_options *o = options;

    return block_truncate(create->file, create->size, true,
                          (enum block_preallocation)o->preallocation, error, error_size);
}

static int raw_measure(uint64_t size, struct block_node *from, const void *options,
                       struct block_measure *measure, char *error, size_t error_size)
{
    measure->required = measure->fully_allocated = round_up(size);
    return 0;
}

const struct block_driver block_raw = {
    .name = "raw",
    .is_format = true,
    .options = raw_properties,
    .options_size = sizeof(struct raw_options),
    .state_size = sizeof(struct raw),
    .children = raw_children,
    .create_options = raw_create_properties,
    .create_options_size = sizeof(struct raw_create_options),
    .create = raw_create,
    .probe = raw_probe,
    .open = raw_open,
    .read = raw_read,
    .write = raw_write,
    .zero = raw_zero,
    .discard = raw_discard,
    .status = raw_status,
    .truncate = raw_truncate,
    .update_size = raw_update_size,
    .forward = raw_forward,
    .measure = raw_measure,
};
