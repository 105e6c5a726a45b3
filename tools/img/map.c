/*
 * map: where the contents of an image come from.
 *
 * Ranges of layers that say the same are one line; in words only what is data in a plain place is
 * listed, as JSON everything.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"

struct values {
    struct img_source source;
    bool json;
    const char *start, *length;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {0, "output", IMG_OUTPUT, AT(json), "human|json", 0},
    {'s', "start-offset", IMG_TEXT, AT(start), "OFFSET", 0},
    {'l', "max-length", IMG_TEXT, AT(length), "SIZE", 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

struct entry {
    uint64_t start, size, host;
    unsigned flags, depth;
    const char *file;
};

enum {
    SHOWN = BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED | BLOCK_STATUS_OFFSET
};

/* What [at, at + size) is, through all layers. */
static int look(struct block_node *node, uint64_t at, uint64_t size, struct entry *entry)
{
    struct block_status status;
    unsigned depth = 0;

    for (;;) {
        int err = block_status(node, at, size, &status);

        if (err) {
            return err;
        }
        while (node->driver->is_filter && node->file) {
            node = node->file->node;
        }
        if (status.flags & (BLOCK_STATUS_DATA | BLOCK_STATUS_ZERO | BLOCK_STATUS_ALLOCATED)) {
            break;
        }
        /* nothing of its own, and nothing to be seen below */
        if (!node->backing || at >= block_size(node->backing->node)) {
            status.flags |= BLOCK_STATUS_ZERO;
            break;
        }
        node = node->backing->node;
        size = status.size;
        depth++;
    }
    *entry = (struct entry){
        .start = at, .size = status.size, .flags = status.flags & SHOWN, .depth = depth};
    if (status.flags & BLOCK_STATUS_OFFSET) {
        entry->host = status.host;
        entry->file = status.file ? status.file->filename : "";
    }
    return 0;
}

static bool continues(const struct entry *a, const struct entry *b)
{
    return a->flags == b->flags && a->depth == b->depth &&
           (!(a->flags & BLOCK_STATUS_OFFSET) ||
            (a->host + a->size == b->host && strcmp(a->file, b->file) == 0));
}

static const char *truth(const struct entry *e, unsigned flag)
{
    return e->flags & flag ? "true" : "false";
}

static int print(const struct entry *e, bool json, bool first, bool last)
{
    if (json) {
        printf("%s{ \"start\": %" PRIu64 ", \"length\": %" PRIu64
               ", \"depth\": %u, \"present\": %s, \"zero\": %s, \"data\": %s",
               first ? "[" : "", e->start, e->size, e->depth, truth(e, BLOCK_STATUS_ALLOCATED),
               truth(e, BLOCK_STATUS_ZERO), truth(e, BLOCK_STATUS_DATA));
        if (e->flags & BLOCK_STATUS_OFFSET) {
            printf(", \"offset\": %" PRIu64, e->host);
        }
        printf(last ? "}]\n" : "},\n");
    } else if ((e->flags & BLOCK_STATUS_DATA) && !(e->flags & BLOCK_STATUS_ZERO)) {
        if (!(e->flags & BLOCK_STATUS_OFFSET)) {
            return img_fail("File contains external, encrypted or compressed clusters.");
        }
        printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", e->start, e->size, e->host,
               e->file);
    }
    return 0;
}

static int walk(struct block_node *node, bool json, uint64_t start, uint64_t end)
{
    struct entry current = {0}, next;
    bool first = true;
    int status = 0;

    if (!json) {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    for (uint64_t at = start; at < end && !status; at = next.start + next.size) {
        int err = look(node, at, end - at, &next);

        if (err) {
            return img_fail("Failed to read image metadata: %s", strerror(-err));
        }
        if (current.size && continues(&current, &next)) {
            current.size += next.size;
            continue;
        }
        if (current.size) {
            status = print(&current, json, first, false);
            first = false;
        }
        current = next;
    }
    if (!status && current.size) {
        status = print(&current, json, first, true);
    } else if (json && !current.size) {
        printf("[]\n");
    }
    return status;
}

static int run(void *opaque, int count, char **operands)
{
    struct values *v = opaque;
    uint64_t start = 0, length = INT64_MAX, size;
    struct block_node *node;
    int status;

    if (v->start && img_parse_size(v->start, &start)) {
        return img_fail("Invalid start offset '%s'", v->start);
    }
    if (v->length && img_parse_size(v->length, &length)) {
        return img_fail("Invalid max length '%s'", v->length);
    }
    if (img_open(&node, operands[0], &v->source, 0)) {
        return 1;
    }
    size = block_size(node);
    if (start < size) {
        size = length < size - start ? start + length : size;
    }
    status = walk(node, v->json, start, size);
    block_unref(node);
    return status;
}

const struct img_command img_map = {
    .name = "map",
    .operands = "FILE",
    .summary = "shows where the contents come from, through all backing files",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
