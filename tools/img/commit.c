/*
 * commit: what an overlay has goes into its backing file.
 *
 * Layers are opened one by one, each without what is below it, since the lowest one is written. As
 * long as the overlays are not emptied they show the same contents, so an interruption does no
 * harm: what has come into the backing file is what covers it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"

enum { BUFFER = 2 << 20, MAX_LAYERS = 200 };

struct values {
    struct img_source source;
    const char *base, *rate;
    bool keep, progress;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'b', "base", IMG_TEXT, AT(base), "FILE", 0},
    {'d', "drop", IMG_FLAG, AT(keep), NULL, 0},
    {'r', "rate-limit", IMG_TEXT, AT(rate), "RATE", 0},
    {'t', "cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'p', "progress", IMG_FLAG, AT(progress), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

struct commit {
    struct block_node *layer[MAX_LAYERS]; /* from the top; the last is the base */
    unsigned count;
    uint8_t *buffer;
};

/* Which layer has [at, at + *size), which is cut to what is all the same; NULL: none but the base.
 */
static int find(const struct commit *c, uint64_t at, uint64_t *size, struct block_node **layer,
                unsigned *flags)
{
    *layer = NULL;
    for (unsigned i = 0; i + 1 < c->count; i++) {
        struct block_status status;
        int err;

        if (at >= block_size(c->layer[i])) {
            /* an upper layer is longer: what is behind this one's end reads as zeros */
            *layer = c->layer[i];
            *flags = BLOCK_STATUS_ZERO;
            return 0;
        }
        err = block_status(c->layer[i], at, *size, &status);
        if (err) {
            return err;
        }
        *size = status.size;
        if (status.flags & BLOCK_STATUS_ALLOCATED) {
            *layer = c->layer[i];
            *flags = status.flags;
            return 0;
        }
    }
    return 0;
}

static int copy_range(const struct commit *c, uint64_t at, uint64_t *size)
{
    struct block_node *base = c->layer[c->count - 1], *layer;
    unsigned flags;
    int err = find(c, at, size, &layer, &flags);

    if (err || !layer) {
        return err;
    }
    if (flags & BLOCK_STATUS_ZERO) {
        return block_zero(base, at, *size, BLOCK_MAY_UNMAP);
    }
    *size = *size < BUFFER ? *size : BUFFER;
    err = block_pread(layer, at, c->buffer, (size_t)*size);
    return err ? err : block_pwrite(base, at, c->buffer, (size_t)*size, 0);
}

static int copy_all(const struct commit *c, const struct values *v, uint64_t rate)
{
    uint64_t total = block_size(c->layer[0]), size;
    struct img_progress progress;
    int err = 0;

    img_catch_interrupts();
    img_progress_begin(&progress, v->progress, v->source.quiet, total);
    for (uint64_t at = 0; at < total && !err; at += size) {
        size = total - at;
        err = copy_range(c, at, &size);
        if (!err && img_interrupted()) {
            img_progress_end(&progress, false);
            img_fail("interrupted: '%s' is whole and still needed, a part of it is in '%s'",
                     c->layer[0]->filename, c->layer[c->count - 1]->filename);
            return 128 + img_interrupted();
        }
        img_progress_at(&progress, at + size);
        img_pace(&progress, rate);
    }
    if (!err) {
        err = block_flush(c->layer[c->count - 1]);
    }
    img_progress_end(&progress, !err);
    return err ? img_fail("%s: %s", c->layer[c->count - 1]->filename, strerror(-err)) : 0;
}

/* ---- layers ---- */

/* What the last layer so far names as its backing file. */
static int below(const struct commit *c, char **name, char **full, char **format)
{
    const struct block_node *node = c->layer[c->count - 1];
    struct block_info info;
    int err = block_get_info(c->layer[c->count - 1], &info);

    *name = *full = *format = NULL;
    if (!err && info.backing_filename) {
        *name = info.backing_filename;
        *format = info.backing_format;
        *full = img_resolve(node->filename, info.backing_filename);
        return *full ? 0 : -ENOMEM;
    }
    return err;
}

/* Opens the next layer; *last: it is the base. */
static int open_below(struct commit *c, const struct values *v, bool *last)
{
    char *name, *full, *format;
    int err = below(c, &name, &full, &format), status = 0;

    if (err) {
        status = img_fail("%s: %s", c->layer[c->count - 1]->filename, strerror(-err));
    } else if (!name) {
        status = v->base ? img_fail("Did not find '%s' in the backing chain of '%s'", v->base,
                                    c->layer[0]->filename)
                         : img_fail("Image does not have a backing file");
    } else if (c->count == MAX_LAYERS) {
        status = img_fail("more than %d layers", MAX_LAYERS);
    } else {
        struct img_source source = {.format = format, .cache = v->source.cache};

        *last = !v->base || strcmp(v->base, name) == 0 || strcmp(v->base, full) == 0;
        status = img_open(&c->layer[c->count], full, &source, *last ? IMG_WRITE : IMG_NO_BACKING)
                     ? 1
                     : 0;
        c->count += !status;
    }
    free(name);
    free(full);
    free(format);
    return status;
}

static int grow_base(const struct commit *c)
{
    struct block_node *base = c->layer[c->count - 1];
    uint64_t size = block_size(c->layer[0]);
    char error[512];

    return block_size(base) < size &&
                   block_truncate(base, size, false, BLOCK_PREALLOC_OFF, error, sizeof(error))
               ? img_fail("%s", error)
               : 0;
}

static int empty_top(const struct commit *c)
{
    struct block_node *top = c->layer[0];
    int err = top->driver->make_empty ? top->driver->make_empty(top) : -ENOTSUP;

    if (!err) {
        err = block_flush(top);
    }
    return err ? img_fail("Could not empty %s: %s", top->filename, strerror(-err)) : 0;
}

static int commit(struct commit *c, const struct values *v)
{
    uint64_t rate = 0;
    bool last = false;
    int status = 0;

    if (v->rate && (img_parse_size(v->rate, &rate) || !rate)) {
        return img_fail("-r %s: expected bytes per second", v->rate);
    }
    c->buffer = malloc(BUFFER);
    if (!c->buffer) {
        return img_fail("out of memory");
    }
    while (!status && !last) {
        status = open_below(c, v, &last);
    }
    if (!status) {
        status = grow_base(c);
    }
    if (!status) {
        status = copy_all(c, v, rate);
    }
    /* with another base than the next layer the ones between would show through an empty one */
    if (!status && !v->keep && !v->base) {
        status = empty_top(c);
    }
    if (!status && !v->source.quiet) {
        printf("Image committed.\n");
    }
    return status;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct commit c = {.count = 1};
    int status;

    if (img_open(&c.layer[0], operands[0], &v->source, IMG_WRITE | IMG_NO_BACKING)) {
        return 1;
    }
    status = commit(&c, v);
    while (c.count) {
        block_unref(c.layer[--c.count]);
    }
    free(c.buffer);
    return status;
}

const struct img_command img_commit = {
    .name = "commit",
    .operands = "FILE",
    .summary = "writes what an overlay has into its backing file, and empties it unless -d",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
