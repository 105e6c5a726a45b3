/*
 * The filter "throttle": what is below it goes by the limits of a throttle group.
 *
 * At the top of a graph the edge lets requests wait before they are dispatched, so that none of
 * them holds a worker; it then goes on with the child (request.c). The operations here are for a
 * filter below a format, whose workers have to wait in any case.
 */
#include "io/block/drivers.h"
#include "io/block/throttle-filter.h"

#include <errno.h>
#include <stdio.h>

struct throttle_options {
    char *group;
};

struct throttle_state {
    struct throttle_group *group;
};

static const struct property throttle_properties[] = {
    PROPERTY(STRING, "throttle-group", struct throttle_options, group, .required = true,
             .help = "name of the group"),
    PROPERTY_END,
};

static const struct block_child_rule throttle_children[] = {
    {.name = "file", .role = BLOCK_ROLE_FILTERED, .required = true},
    {0},
};

struct throttle_group *throttle_filter_group(const struct block_node *node)
{
    const struct throttle_state *s = node->state;

    return node->driver == &block_throttle ? s->group : NULL;
}

static int throttle_open(struct block_node *node, char *error, size_t error_size)
{
    const struct throttle_options *options = node->options;
    const struct block_node *file = node->file->node;
    struct throttle_state *s = node->state;

    if (!options->group || !*options->group) {
        snprintf(error, error_size, "throttle: option 'throttle-group' is missing");
        return -EINVAL;
    }
    block_set_size(node, block_size(file));
    node->write_flags = BLOCK_FUA;
    node->growable = file->growable;
    node->discard_granularity = file->discard_granularity;
    return throttle_group_get(&s->group, options->group, NULL, error, error_size);
}

static void throttle_close(struct block_node *node)
{
    struct throttle_state *s = node->state;

    throttle_group_put(s->group);
}

static int throttle_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    const struct throttle_state *s = node->state;

    throttle_block(s->group, false, vec->size);
    return block_read(node->file->node, offset, vec);
}

static int throttle_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                          unsigned flags)
{
    const struct throttle_state *s = node->state;

    throttle_block(s->group, true, vec->size);
    return block_write(node->file->node, offset, vec, flags);
}

static int throttle_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    const struct throttle_state *s = node->state;

    throttle_block(s->group, true, size);
    return block_zero(node->file->node, offset, size, flags);
}

static int throttle_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    const struct throttle_state *s = node->state;

    throttle_block(s->group, true, size);
    return block_discard(node->file->node, offset, size);
}

const struct block_driver block_throttle = {
    .name = "throttle",
    .is_filter = true,
    .options = throttle_properties,
    .options_size = sizeof(struct throttle_options),
    .state_size = sizeof(struct throttle_state),
    .children = throttle_children,
    .open = throttle_open,
    .close = throttle_close,
    .read = throttle_read,
    .write = throttle_write,
    .zero = throttle_zero,
    .discard = throttle_discard,
};
