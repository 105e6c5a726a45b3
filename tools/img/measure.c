/* measure: how large the file of an image would become. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"

struct values {
    struct img_source source;
    const char *target_format, *size, *snapshot;
    char *options;
    bool json;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'O', "target-format", IMG_TEXT, AT(target_format), "FORMAT", 0},
    {'o', "options", IMG_LIST, AT(options), "OPTIONS", 0},
    {0, "size", IMG_TEXT, AT(size), "SIZE", 0},
    {'l', "snapshot", IMG_TEXT, AT(snapshot), "SNAPSHOT", 0},
    {0, "output", IMG_OUTPUT, AT(json), "human|json", 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

static void print(const struct block_measure *m, bool json)
{
    if (json) {
        printf("{\n");
        if (m->has_bitmaps) {
            printf("    \"bitmaps\": %" PRIu64 ",\n", m->bitmaps);
        }
        printf("    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n",
               m->required, m->fully_allocated);
        return;
    }
    printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n", m->required,
           m->fully_allocated);
    if (m->has_bitmaps) {
        printf("bitmaps size: %" PRIu64 "\n", m->bitmaps);
    }
}

/* Options of every format that the driver's table does not have. */
static bool is_general(void *opaque, const char *name, const char *value)
{
    return strcmp(name, "size") == 0 || strcmp(name, "backing_file") == 0 ||
           strcmp(name, "backing_fmt") == 0;
}

static int measure(const struct values *v, const struct block_driver *driver,
                   struct block_node *from, uint64_t size)
{
    void *table = calloc(1, driver->create_options_size + 1);
    struct block_measure result = {0};
    char error[512] = "";
    int err;

    if (!table || property_set_defaults(driver->create_options, table)) {
        free(table);
        return img_fail("out of memory");
    }
    err = v->options ? property_set_list(driver->create_options, table, driver->name, v->options,
                                         is_general, NULL, error, sizeof(error))
                     : 0;
    if (!err) {
        err = driver->measure(size, from, table, &result, error, sizeof(error));
    }
    property_clear(driver->create_options, table);
    free(table);
    if (err) {
        return img_fail("%s", error[0] ? error : strerror(-err));
    }
    print(&result, v->json);
    return 0;
}

static int measure_file(const struct values *v, const struct block_driver *driver, const char *name)
{
    struct block_node *node;
    char error[512] = "the format has no snapshots";
    int status = 0;

    if (img_open(&node, name, &v->source, 0)) {
        return 1;
    }
    if (v->snapshot && (!node->driver->snapshot_load ||
                        node->driver->snapshot_load(node, v->snapshot, error, sizeof(error)))) {
        status = img_fail("Failed to load snapshot '%s': %s", v->snapshot, error);
    }
    if (!status) {
        status = measure(v, driver, node, block_size(node));
    }
    block_unref(node);
    return status;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    const struct block_driver *driver =
        block_driver_find(v->target_format ? v->target_format : "raw");
    uint64_t size = 0;

    if (img_asks_for_help(v->options)) {
        return img_options_help(v->target_format ? v->target_format : "raw");
    }
    if (!driver) {
        return img_fail("Unknown file format '%s'", v->target_format);
    }
    if (!driver->measure) {
        return img_fail("Block driver '%s' does not support size measurement", driver->name);
    }
    if (!count != !!v->size) {
        return img_fail(count ? "--size N cannot be used together with a filename"
                              : "Either --size N or one filename must be specified");
    }
    if (v->size && img_parse_size(v->size, &size)) {
        return img_fail("Invalid image size '%s'", v->size);
    }
    return count ? measure_file(v, driver, operands[0]) : measure(v, driver, NULL, size);
}

const struct img_command img_measure = {
    .name = "measure",
    .operands = "[FILE]",
    .summary = "computes how large an image file would become",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
