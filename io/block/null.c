/*
 * Disks that hold nothing: null-co and null-aio. Reads leave the buffer alone, or give zeros
 * (read-zeroes=on); writes are lost. For measuring everything else, and for tests.
 */
#include "io/block/drivers.h"

#include <time.h>

struct null_options {
    uint64_t size, latency;
    bool read_zeroes;
};

static const struct property null_properties[] = {
    PROPERTY(SIZE, "size", struct null_options, size, .number = INT64_C(1) << 30,
             .help = "of the disk"),
    PROPERTY(U64, "latency-ns", struct null_options, latency, .max = 10000000000,
             .help = "nanoseconds that each request takes"),
    PROPERTY(BOOL, "read-zeroes", struct null_options, read_zeroes,
             .help = "reads give zeros, not what was in the buffer"),
    PROPERTY_END,
};

static void wait(const struct block_node *node)
{
    const struct null_options *o = node->options;
    struct timespec ts = {.tv_sec = (time_t)(o->latency / 1000000000),
                          .tv_nsec = (long)(o->latency % 1000000000)};

    if (o->latency) {
        nanosleep(&ts, NULL);
    }
}

static int null_open(struct block_node *node, char *error, size_t error_size)
{
    const struct null_options *o = node->options;

    block_set_size(node, o->size);
    node->write_flags = BLOCK_FUA;
    return 0;
}

static int null_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    const struct null_options *o = node->options;

    wait(node);
    if (o->read_zeroes) {
        block_vec_fill(vec, 0, 0, vec->size);
    }
    return 0;
}

static int null_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                      unsigned flags)
{
    wait(node);
    return 0;
}

static int null_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    wait(node);
    return 0;
}

static int null_flush(struct block_node *node)
{
    wait(node);
    return 0;
}

static int null_status(struct block_node *node, uint64_t offset, uint64_t size,
                       struct block_status *status)
{
    const struct null_options *o = node->options;

    *status =
        (struct block_status){.size = size,
                              .flags = BLOCK_STATUS_OFFSET | BLOCK_STATUS_ALLOCATED |
                                       (o->read_zeroes ? BLOCK_STATUS_ZERO : BLOCK_STATUS_DATA),
                              .host = offset,
                              .file = node};
    return 0;
}

static int null_info(struct block_node *node, struct block_info *info)
{
    info->allocated = 0;
    return 0;
}

#define NULL_DRIVER(variable, name_)                 \
    const struct block_driver variable = {           \
        .name = (name_),                             \
        .protocol = (name_),                         \
        .options = null_properties,                  \
        .options_size = sizeof(struct null_options), \
        .open = null_open,                           \
        .read = null_read,                           \
        .write = null_write,                         \
        .zero = null_zero,                           \
        .flush = null_flush,                         \
        .status = null_status,                       \
        .info = null_info,                           \
    }

NULL_DRIVER(block_null_co, "null-co");
NULL_DRIVER(block_null_aio, "null-aio");
