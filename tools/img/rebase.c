/*
 * rebase: another backing file.
 *
 * The safe way keeps what a guest sees: where the overlay has nothing of its own and the old and
 * the new backing file differ, it gets what the old one has. Only when all of that is on the medium
 * the name is changed, so whenever it is interrupted the image is whole, with the old or the new
 * one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/copy.h"

enum { BUFFER = 2 << 20, SECTOR = 512 };

struct values {
    struct img_source source;
    const char *backing, *backing_format, *cache;
    bool unsafe, progress;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'b', "backing", IMG_TEXT, AT(backing), "FILE", 0},
    {'F', "backing-format", IMG_TEXT, AT(backing_format), "FORMAT", 0},
    {'u', "unsafe", IMG_FLAG, AT(unsafe), NULL, 0},
    {'t', "cache", IMG_TEXT, AT(cache), "CACHE", 0},
    {'T', "source-cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'p', "progress", IMG_FLAG, AT(progress), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* The overlay, what is below it now and what will be (NULL: nothing). */
struct rebase {
    struct block_node *overlay, *before, *after;
    uint8_t *old, *new;
};

static int read_layer(struct block_node *node, uint64_t at, uint8_t *buffer, size_t size)
{
    if (!node) {
        memset(buffer, 0, size);
        return 0;
    }
    return block_pread(node, at, buffer, size);
}

/* Gives the overlay the sectors in which the two differ. */
static int write_differences(const struct rebase *r, uint64_t at, size_t size)
{
    size_t from = 0;
    bool differ = false;
    int err = 0;

    for (size_t i = 0; i <= size && !err; i += SECTOR) {
        size_t n = size - i < SECTOR ? size - i : SECTOR;
        bool now = n && memcmp(r->old + i, r->new + i, n) != 0;

        if (differ && !now) {
            size_t end = i < size ? i : size;

            err = img_is_zero(r->old + from, end - from)
                      ? block_zero(r->overlay, at + from, end - from, 0)
                      : block_pwrite(r->overlay, at + from, r->old + from, end - from, 0);
        } else if (!differ && now) {
            from = i;
        }
        differ = now;
    }
    return err;
}

static bool is_zero(struct block_node *node, uint64_t at, uint64_t *size)
{
    struct block_status status;

    if (!node || at >= block_size(node)) {
        return true;
    }
    if (block_status_above(node, NULL, at, *size, &status) || !status.size) {
        return false;
    }
    *size = status.size;
    return (status.flags & BLOCK_STATUS_ZERO) != 0;
}

/* One range from `at` on; *size: how long it was. */
static int do_range(const struct rebase *r, uint64_t at, uint64_t *size)
{
    struct block_status status;
    uint64_t zeros;
    int err = block_status(r->overlay, at, *size, &status);

    if (err) {
        return err;
    }
    *size = status.size;
    if (status.flags & BLOCK_STATUS_ALLOCATED) {
        return 0;
    }
    zeros = *size;
    if (is_zero(r->before, at, &zeros) && is_zero(r->after, at, &zeros)) {
        *size = zeros;
        return 0;
    }
    *size = *size < BUFFER ? *size : BUFFER;
    err = read_layer(r->before, at, r->old, (size_t)*size);
    if (!err) {
        err = read_layer(r->after, at, r->new, (size_t)*size);
    }
    return err ? err : write_differences(r, at, (size_t)*size);
}

static int keep_contents(const struct rebase *r, const struct values *v)
{
    uint64_t total = block_size(r->overlay), size;
    struct img_progress progress;
    int err = 0;

    img_catch_interrupts();
    img_progress_begin(&progress, v->progress, v->source.quiet, total);
    for (uint64_t at = 0; at < total && !err; at += size) {
        size = total - at;
        err = do_range(r, at, &size);
        if (!err && img_interrupted()) {
            img_progress_end(&progress, false);
            img_fail("interrupted: '%s' is whole, and still has its old backing file",
                     r->overlay->filename);
            return 128 + img_interrupted();
        }
        img_progress_at(&progress, at + size);
    }
    if (!err) {
        err = block_flush(r->overlay);
    }
    img_progress_end(&progress, !err);
    return err ? img_fail("%s: %s", r->overlay->filename, strerror(-err)) : 0;
}

static int open_new(struct rebase *r, const struct values *v)
{
    struct img_source source = {
        .format = v->backing_format, .cache = v->source.cache, .share = v->source.share};
    char *name;
    int err;

    if (!*v->backing) {
        return 0;
    }
    name = img_resolve(r->overlay->filename, v->backing);
    err = name ? img_open(&r->after, name, &source, 0) : -ENOMEM;
    free(name);
    return err ? 1 : 0;
}

static int rebase(struct rebase *r, const struct values *v)
{
    const char *format = v->backing_format;
    int err, status = 0;

    if (!r->overlay->driver->change_backing) {
        return img_fail("%s: format %s has no backing files", r->overlay->filename,
                        r->overlay->driver->name);
    }
    if (!v->unsafe) {
        r->before = r->overlay->backing ? r->overlay->backing->node : NULL;
        r->old = malloc(BUFFER);
        r->new = malloc(BUFFER);
        if (!r->old || !r->new) {
            return img_fail("out of memory");
        }
        status = open_new(r, v);
        if (!status) {
            status = keep_contents(r, v);
        }
    }
    if (status) {
        return status;
    }
    err = r->overlay->driver->change_backing(r->overlay, *v->backing ? v->backing : NULL,
                                             *v->backing ? format : NULL);
    if (!err) {
        err = block_flush(r->overlay);
    }
    return err ? img_fail("Could not change the backing file to '%s': %s", v->backing,
                          strerror(-err))
               : 0;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct img_source source = v->source;
    struct rebase r = {0};
    int status;

    if (!v->backing) {
        return img_fail("Must specify backing file (-b) or use simple rebase mode (-u): -b \"\" "
                        "is none");
    }
    if (*v->backing && !v->backing_format) {
        return img_fail("Could not change the backing file to '%s': backing format must be "
                        "specified (-F)",
                        v->backing);
    }
    source.cache = v->cache;
    source.share = false;
    if (img_open(&r.overlay, operands[0], &source, IMG_WRITE | (v->unsafe ? IMG_NO_BACKING : 0))) {
        return 1;
    }
    status = rebase(&r, v);
    if (r.after) {
        block_unref(r.after);
    }
    block_unref(r.overlay);
    free(r.old);
    free(r.new);
    return status;
}

const struct img_command img_rebase = {
    .name = "rebase",
    .operands = "FILE",
    .summary = "gives an image another backing file, and keeps its contents unless -u",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
