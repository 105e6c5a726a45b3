/*
 * diff: the ranges in which two images differ, or two states of one image.
 *
 * A state is an internal snapshot (--from, --to); without one it is the image as it is now. Ranges
 * are multiples of a granularity, and neighbours are put together.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/pair.h"

enum { NOT_OPEN = 2, NO_STATUS = 4, SECTOR = 512, MAX_UNIT = 1 << 20 };

struct values {
    struct img_source source;
    const char *second_format, *from, *to, *granularity;
    bool json;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "a-format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'F', "b-format", IMG_TEXT, AT(second_format), "FORMAT", 0},
    {0, "from", IMG_TEXT, AT(from), "SNAPSHOT", 0},
    {0, "to", IMG_TEXT, AT(to), "SNAPSHOT", 0},
    {'g', "granularity", IMG_TEXT, AT(granularity), "SIZE", 0},
    {0, "output", IMG_OUTPUT, AT(json), "human|json", 0},
    {'T', "source-cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* A range that differs, and what is in it. */
struct change {
    uint64_t start, size;
    bool zero[2]; /* known to be zeros in this one */
};

struct output {
    bool json, quiet;
    uint64_t ranges, bytes;
};

static void print(struct output *o, const struct change *c)
{
    if (o->json) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"zero-before\": %s, \"zero-after\": %s}",
               o->ranges ? ",\n" : "[", c->start, c->size, c->zero[0] ? "true" : "false",
               c->zero[1] ? "true" : "false");
    } else if (!o->quiet) {
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%s\n", c->start, c->size,
               c->zero[0]   ? "new data"
               : c->zero[1] ? "zeroed"
                            : "changed");
    }
    o->ranges++;
    o->bytes += c->size;
}

static bool joins(const struct change *a, const struct change *b)
{
    return a->size && a->start + a->size == b->start && a->zero[0] == b->zero[0] &&
           a->zero[1] == b->zero[1];
}

static int walk(struct img_pair *pair, uint64_t unit, struct output *o)
{
    uint64_t total = img_pair_size(pair);
    struct img_pair_range range;
    struct change current = {0};

    for (uint64_t at = 0; at < total; at += range.size) {
        if (img_pair_next(pair, at, unit, &range)) {
            return NO_STATUS;
        }
        struct change next = {
            at,
            range.size,
            {range.flags[0] & BLOCK_STATUS_ZERO, range.flags[1] & BLOCK_STATUS_ZERO}};

        if (range.same) {
            continue;
        }
        if (joins(&current, &next)) {
            current.size += next.size;
            continue;
        }
        if (current.size) {
            print(o, &current);
        }
        current = next;
    }
    if (current.size) {
        print(o, &current);
    }
    return 0;
}

static int diff(const struct values *v, struct img_pair *pair, uint64_t unit)
{
    struct output o = {.json = v->json, .quiet = v->source.quiet};
    char bytes[32];
    int status;

    if (!o.json && !o.quiet) {
        printf("%-16s%-16s%s\n", "Offset", "Length", "What");
    }
    status = walk(pair, unit, &o);
    if (status) {
        return status;
    }
    if (o.json) {
        printf("%s]\n", o.ranges ? "" : "[");
    } else if (!o.quiet) {
        if (block_size(pair->node[0]) != block_size(pair->node[1])) {
            printf("The sizes differ: %" PRIu64 " and %" PRIu64 " bytes.\n",
                   block_size(pair->node[0]), block_size(pair->node[1]));
        }
        printf("%" PRIu64 " ranges differ, %s.\n", o.ranges, img_size_text(o.bytes, bytes));
    }
    return o.ranges ? 1 : 0;
}

static int load(struct block_node *node, const char *snapshot)
{
    char error[512] = "the format has no snapshots";
    int err = 0;

    if (snapshot) {
        err = node->driver->snapshot_load
                  ? node->driver->snapshot_load(node, snapshot, error, sizeof(error))
                  : -ENOTSUP;
    }
    if (err) {
        img_fail("Failed to load snapshot '%s': %s", snapshot, error);
    }
    return err;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct img_source second = v->source;
    struct img_pair pair = {.name = {operands[0], operands[count - 1]}};
    uint64_t unit = SECTOR;
    int status = NOT_OPEN;

    if (v->granularity && (img_parse_size(v->granularity, &unit) || unit < SECTOR ||
                           unit > MAX_UNIT || (unit & (unit - 1)))) {
        return img_fail("-g %s: expected a power of two from 512 to 1M", v->granularity);
    }
    if (count == 1 && !v->from && !v->to) {
        return img_fail("diff: expected two images, or one with --from SNAPSHOT");
    }
    second.format = count == 1 ? v->source.format : v->second_format;
    if (img_pair_init(&pair)) {
        img_fail("out of memory");
    } else if (!img_open(&pair.node[0], operands[0], &v->source, 0) &&
               !img_open(&pair.node[1], operands[count - 1], &second, 0) &&
               !load(pair.node[0], v->from) && !load(pair.node[1], v->to)) {
        status = diff(v, &pair, unit);
    }
    img_pair_clear(&pair);
    return status;
}

const struct img_command img_diff = {
    .name = "diff",
    .operands = "FILE [FILE]",
    .summary = "lists the ranges in which two images, or two snapshots, differ",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
