/* create: a new image. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/block/create.h"
#include "tools/img/img.h"

struct values {
    const char *format, *backing, *backing_format;
    char *options;
    bool unsafe, quiet;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(format), "FORMAT", 0},
    {'b', "backing", IMG_TEXT, AT(backing), "FILE", 0},
    {'F', "backing-format", IMG_TEXT, AT(backing_format), "FORMAT", 0},
    {'u', "backing-unsafe", IMG_FLAG, AT(unsafe), NULL, 0},
    {'o', "options", IMG_LIST, AT(options), "OPTIONS", 0},
    {'q', "quiet", IMG_FLAG, AT(quiet), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* qcow2's are always shown, with their defaults, before and behind the size: as qemu-img does. */
static const char *const shown_before[] = {
    "data_file",     "data_file_raw", "encrypt.format", "encrypt.key-secret", "encrypt.iter-time",
    "cluster_size!", "extended_l2!",  "preallocation",  "compression_type!",  NULL};
static const char *const shown_behind[] = {"compat", "lazy_refcounts!", "refcount_bits!", NULL};

static void show(const struct property *table, const void *object, const char *entry,
                 const char *given)
{
    char name[64], value[4096];
    size_t size = strcspn(entry, "!");
    const struct property *p;

    snprintf(name, sizeof(name), "%.*s", (int)size, entry);
    if (!property_find(table, name) || (!entry[size] && (!given || !strstr(given, name))) ||
        property_get(table, object, name, value, sizeof(value))) {
        return;
    }
    p = property_find(table, name);
    if (p->type == PROPERTY_SIZE) {
        printf(" %s=%" PRIu64, name, *(const uint64_t *)((const char *)object + p->offset));
    } else {
        printf(" %s=%s", name, value);
    }
}

static bool unknown(void *opaque, const char *name, const char *value)
{
    return property_find(opaque, name) == NULL;
}

static void announce(const struct block_create_request *r)
{
    const char *format = r->format ? r->format : "raw";
    const struct block_driver *driver = block_driver_find(format);
    void *object = calloc(1, driver->create_options_size + 1);
    char error[256];

    if (!object || property_set_defaults(driver->create_options, object) ||
        (r->options &&
         property_set_list(driver->create_options, object, format, r->options, unknown,
                           (void *)driver->create_options, error, sizeof(error)))) {
        free(object);
        return;
    }
    printf("Formatting '%s', fmt=%s", r->filename, format);
    for (const char *const *s = shown_before; *s; s++) {
        show(driver->create_options, object, *s, r->options);
    }
    printf(" size=%" PRIu64, r->size);
    if (r->backing) {
        printf(" backing_file=%s", r->backing);
    }
    if (r->backing_format) {
        printf(" backing_fmt=%s", r->backing_format);
    }
    for (const char *const *s = shown_behind; *s; s++) {
        show(driver->create_options, object, *s, r->options);
    }
    printf("\n");
    property_clear(driver->create_options, object);
    free(object);
}

int img_options_help(const char *format)
{
    const struct block_driver *driver = block_driver_find(format);

    if (!driver || !driver->create) {
        return img_fail("Unknown file format '%s'", format);
    }
    printf("Supported %s options:\n", format);
    if (driver->may_back) {
        printf("  %-24s%s\n  %-24s%s\n", "backing_file", "file name of a base image", "backing_fmt",
               "its format");
    }
    printf("  %-24s%s\n", "size", "virtual disk size");
    for (const struct property *p = driver->create_options; p && p->name; p++) {
        char expects[256];

        property_expects(p, expects, sizeof(expects));
        printf("  %-24s%s: %s\n", p->name, p->help, expects);
    }
    return 0;
}

bool img_asks_for_help(const char *list)
{
    size_t size = list ? strlen(list) : 0;

    return list &&
           (strcmp(list, "help") == 0 || strcmp(list, "?") == 0 || strncmp(list, "help,", 5) == 0 ||
            (size > 5 && strcmp(list + size - 5, ",help") == 0));
}

static int run(void *opaque, int count, char **operands)
{
    struct values *v = opaque;
    struct block_create_request r = {.filename = operands[0],
                                     .format = v->format,
                                     .options = v->options,
                                     .backing = v->backing,
                                     .backing_format = v->backing_format,
                                     .unsafe_backing = v->unsafe};
    char error[1024];

    if (img_asks_for_help(v->options)) {
        return img_options_help(v->format ? v->format : "raw");
    }
    if (count < 1) {
        return img_fail("create: expected a file name");
    }
    if (count > 1) {
        if (img_parse_size(operands[1], &r.size)) {
            return img_fail("Invalid image size '%s': expected a number of bytes below 8 EiB, "
                            "with or without one of the suffixes k, M, G, T, P, E",
                            operands[1]);
        }
        r.has_size = true;
    }
    if (v->backing && !v->backing_format && !(v->options && strstr(v->options, "backing_fmt="))) {
        return img_fail("%s: Backing file specified without backing format; -F names it",
                        operands[0]);
    }
    if (block_create_image(&r, error, sizeof(error))) {
        return img_fail("%s: %s", operands[0], error);
    }
    if (!v->quiet) {
        announce(&r);
    }
    return 0;
}

const struct img_command img_create = {
    .name = "create",
    .operands = "FILE [SIZE]",
    .summary = "makes an image; -o help lists the options of a format",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 0,
    .max_operands = 2,
    .run = run,
};
