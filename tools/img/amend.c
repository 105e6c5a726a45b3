/* amend: changes options of an image that exists. */
#include <stdio.h>
#include <string.h>

#include "tools/img/img.h"
#include "util/property.h"

struct values {
    struct img_source source;
    char *options;
    bool progress, force;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'o', "options", IMG_LIST, AT(options), "OPTIONS", 0},
    {'t', "cache", IMG_TEXT, AT(source.cache), "CACHE", 0},
    {'p', "progress", IMG_FLAG, AT(progress), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {0, "force", IMG_FLAG, AT(force), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

static void moved(void *opaque, uint64_t done, uint64_t total)
{
    struct img_progress *p = opaque;

    p->total = total;
    img_progress_at(p, done);
}

static void print_option(const char *prefix, const struct property *p)
{
    char name[64], expects[256];

    snprintf(name, sizeof(name), "%s%s", prefix, p->name);
    property_expects(p, expects, sizeof(expects));
    printf("  %-24s%s: %s\n", name, p->help, expects);
}

static int help(const char *format)
{
    const struct block_driver *driver = block_driver_find(format);

    if (!driver || !driver->amend) {
        return img_fail(driver ? "Format driver '%s' does not support option amendment"
                               : "Unknown file format '%s'",
                        format);
    }
    printf("Amend options for '%s':\n", format);
    if (driver->may_back) {
        printf("  %-24s%s\n  %-24s%s\n  %-24s%s\n", "backing_file", "file name of a base image",
               "backing_fmt", "its format", "size", "virtual disk size");
    }
    for (const struct property *p = driver->create_options; p && p->name; p++) {
        if (p->runtime) {
            print_option("", p);
        }
    }
    for (const struct property *p = driver->amend_options; p && p->name; p++) {
        print_option(driver->amend_prefix ? driver->amend_prefix : "", p);
    }
    return 0;
}

static int amend(const struct values *v, struct block_node *node)
{
    struct img_progress progress;
    char error[512] = "";
    int err;

    if (!node->driver->amend) {
        return img_fail("Format driver '%s' does not support option amendment", node->driver->name);
    }
    img_progress_begin(&progress, v->progress, v->source.quiet, 1);
    err = node->driver->amend(node, v->options, v->force, moved, &progress, error, sizeof(error));
    if (!err) {
        err = block_flush(node);
    }
    img_progress_end(&progress, !err);
    return err ? img_fail("%s", error[0] ? error : strerror(-err)) : 0;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct block_node *node;
    int status;

    if (!v->options) {
        return img_fail("Must specify options (-o)");
    }
    if (img_asks_for_help(v->options) && v->source.format) {
        return help(v->source.format);
    }
    if (count < 1) {
        return img_fail("amend: expected a file name");
    }
    if (img_open(&node, operands[0], &v->source, IMG_WRITE)) {
        return 1;
    }
    status = img_asks_for_help(v->options) ? help(node->driver->name) : amend(v, node);
    block_unref(node);
    return status;
}

const struct img_command img_amend = {
    .name = "amend",
    .operands = "FILE",
    .summary = "changes options of an image that exists",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
