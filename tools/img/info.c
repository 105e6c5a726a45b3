/*
 * info: what an image is.
 *
 * One JSON object per image is put together, and printed as it is or in words. Members stand in the
 * order in which qemu-img has them, which scripts that read the human form may rely on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tools/img/img.h"

struct values {
    struct img_source source;
    bool json, chain;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {0, "output", IMG_OUTPUT, AT(json), "human|json", 0},
    {0, "backing-chain", IMG_FLAG, AT(chain), NULL, 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

/* The order of members in what is specific to formats; others come behind these. */
static const char *const member_order[] = {"compat",
                                           "compression-type",
                                           "lazy-refcounts",
                                           "bitmaps",
                                           "refcount-bits",
                                           "encrypt",
                                           "data-file",
                                           "data-file-raw",
                                           "corrupt",
                                           "extended-l2",
                                           "ivgen-alg",
                                           "hash-alg",
                                           "cipher-alg",
                                           "uuid",
                                           "format",
                                           "cipher-mode",
                                           "slots",
                                           "active",
                                           "iters",
                                           "key-offset",
                                           "stripes",
                                           "payload-offset",
                                           "master-key-iters",
                                           "flags",
                                           "name",
                                           "granularity",
                                           NULL};

static json_t *in_order(json_t *value)
{
    json_t *result, *member;
    const char *key;
    size_t i;

    if (json_is_array(value)) {
        result = json_array();
        json_array_foreach(value, i, member)
        {
            json_array_append_new(result, in_order(member));
        }
        return result;
    }
    if (!json_is_object(value)) {
        return json_incref(value);
    }
    result = json_object();
    for (i = 0; member_order[i]; i++) {
        member = json_object_get(value, member_order[i]);
        if (member) {
            json_object_set_new(result, member_order[i], in_order(member));
        }
    }
    json_object_foreach(value, key, member)
    {
        if (!json_object_get(result, key)) {
            json_object_set_new(result, key, in_order(member));
        }
    }
    return result;
}

/* ---- as one object ---- */

static json_t *snapshot_json(const struct block_snapshot *s)
{
    json_t *o = json_object();

    if (s->icount != UINT64_MAX) {
        json_object_set_new(o, "icount", json_integer((json_int_t)s->icount));
    }
    json_object_set_new(o, "vm-clock-nsec",
                        json_integer((json_int_t)(s->vm_clock_nsec % 1000000000)));
    json_object_set_new(o, "name", json_string(s->name));
    json_object_set_new(o, "date-sec", json_integer((json_int_t)s->date_sec));
    json_object_set_new(o, "date-nsec", json_integer(s->date_nsec));
    json_object_set_new(o, "vm-clock-sec",
                        json_integer((json_int_t)(s->vm_clock_nsec / 1000000000)));
    json_object_set_new(o, "id", json_string(s->id));
    json_object_set_new(o, "vm-state-size", json_integer((json_int_t)s->vm_state_size));
    return o;
}

static void add_snapshots(json_t *image, struct block_node *node)
{
    struct block_snapshot *list = NULL;
    int count = node->driver->snapshot_list ? node->driver->snapshot_list(node, &list) : 0;
    json_t *all;

    if (count > 0) {
        all = json_array();
        for (int i = 0; i < count; i++) {
            json_array_append_new(all, snapshot_json(&list[i]));
        }
        json_object_set_new(image, "snapshots", all);
    }
    free(list);
}

static json_t *describe(struct block_node *node, const struct block_info *info)
{
    json_t *o = json_object(), *specific;
    char *full = NULL;

    add_snapshots(o, node);
    if (info->backing_format) {
        json_object_set_new(o, "backing-filename-format", json_string(info->backing_format));
    }
    json_object_set_new(o, "virtual-size", json_integer((json_int_t)block_size(node)));
    json_object_set_new(o, "filename", json_string(node->filename));
    if (info->cluster_size) {
        json_object_set_new(o, "cluster-size", json_integer(info->cluster_size));
    }
    json_object_set_new(o, "format", json_string(node->driver->name));
    if (info->allocated != UINT64_MAX) {
        json_object_set_new(o, "actual-size", json_integer((json_int_t)info->allocated));
    }
    specific = node->driver->info_specific ? node->driver->info_specific(node) : NULL;
    if (specific) {
        json_object_set_new(o, "format-specific",
                            json_pack("{s:O, s:o}", "type", json_object_get(specific, "type"),
                                      "data", in_order(json_object_get(specific, "data"))));
        json_decref(specific);
    }
    if (info->backing_filename) {
        full = img_resolve(node->filename, info->backing_filename);
        json_object_set_new(o, "full-backing-filename", json_string(full ? full : ""));
        json_object_set_new(o, "backing-filename", json_string(info->backing_filename));
        free(full);
    }
    if (info->encrypted) {
        json_object_set_new(o, "encrypted", json_true());
    }
    json_object_set_new(o, "dirty-flag", json_boolean(info->dirty));
    return o;
}

/* ---- in words ---- */

static void print_value(const json_t *value, int indent);

static void print_member(const char *key, const json_t *value, int indent)
{
    bool inside = json_is_object(value) || json_is_array(value);

    printf("%*s", indent * 4, "");
    for (const char *c = key; *c; c++) {
        putchar(*c == '-' ? ' ' : *c);
    }
    printf(inside ? ":\n" : ": ");
    print_value(value, indent + 1);
}

static void print_value(const json_t *value, int indent)
{
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_object(value)) {
        json_object_foreach((json_t *)value, key, member)
        {
            print_member(key, member, indent);
        }
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, member)
        {
            char name[32];

            snprintf(name, sizeof(name), "[%zu]", i);
            print_member(name, member, indent);
        }
    } else if (json_is_string(value)) {
        printf("%s\n", json_string_value(value));
    } else if (json_is_boolean(value)) {
        printf("%s\n", json_is_true(value) ? "true" : "false");
    } else {
        printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    }
}

static void print_snapshots(struct block_node *node)
{
    struct block_snapshot *list = NULL;
    int count = node->driver->snapshot_list ? node->driver->snapshot_list(node, &list) : 0;

    if (count > 0) {
        printf("Snapshot list:\n");
        img_snapshots_print(list, count);
    }
    free(list);
}

static void print_image(struct block_node *node, const struct block_info *info, const json_t *o)
{
    const char *full = json_string_value(json_object_get(o, "full-backing-filename"));
    const json_t *data = json_object_get(json_object_get(o, "format-specific"), "data");
    char size[32], disk[32] = "unavailable";

    if (info->allocated != UINT64_MAX) {
        img_size_text(info->allocated, disk);
    }
    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           node->filename, node->driver->name, img_size_text(block_size(node), size),
           block_size(node), disk);
    if (info->encrypted) {
        printf("encrypted: yes\n");
    }
    if (info->cluster_size) {
        printf("cluster_size: %" PRIu32 "\n", info->cluster_size);
    }
    if (info->dirty) {
        printf("cleanly shut down: no\n");
    }
    if (info->backing_filename) {
        printf("backing file: %s", info->backing_filename);
        if (full && strcmp(full, info->backing_filename) != 0) {
            printf(" (actual path: %s)", full);
        }
        printf("\n");
    }
    if (info->backing_format) {
        printf("backing file format: %s\n", info->backing_format);
    }
    print_snapshots(node);
    if (json_object_size(data)) {
        printf("Format specific information:\n");
        print_value(data, 1);
    }
}

/* ---- the command ---- */

/* One image; what it names as its backing file goes to *next and *format, malloc()ed. */
static int one(const char *filename, const struct img_source *source, bool human, json_t *all,
               char **next, char **format)
{
    struct block_node *node;
    struct block_info info;
    json_t *o;
    int err = img_open(&node, filename, source, IMG_NO_BACKING | IMG_NO_IO);

    *next = *format = NULL;
    if (err) {
        return err;
    }
    err = block_get_info(node, &info);
    if (err) {
        img_fail("%s: %s", filename, strerror(-err));
        block_unref(node);
        return err;
    }
    o = describe(node, &info);
    if (human) {
        if (json_array_size(all)) {
            printf("\n");
        }
        print_image(node, &info, o);
    }
    json_array_append_new(all, o);
    if (info.backing_filename) {
        *next = img_resolve(node->filename, info.backing_filename);
    }
    *format = info.backing_format;
    free(info.backing_filename);
    block_unref(node);
    return 0;
}

static bool seen(const json_t *all, const char *filename)
{
    json_t *image;
    size_t i;

    json_array_foreach(all, i, image)
    {
        if (strcmp(json_string_value(json_object_get(image, "filename")), filename) == 0) {
            return true;
        }
    }
    return false;
}

static int run(void *opaque, int count, char **operands)
{
    struct values *v = opaque;
    struct img_source source = v->source;
    json_t *all = json_array();
    char *filename = strdup(operands[0]), *format = NULL;
    int err = filename ? 0 : -ENOMEM;

    while (filename && !err) {
        char *next, *next_format;

        err = one(filename, &source, !v->json, all, &next, &next_format);
        free(filename);
        free(format);
        filename = next;
        format = next_format;
        source = (struct img_source){.format = format, .share = v->source.share};
        if (!v->chain) {
            break;
        }
        if (filename && seen(all, filename)) {
            img_fail("Backing file '%s' creates an infinite loop.", filename);
            err = -ELOOP;
        }
    }
    if (v->json && !err) {
        json_dumpf(v->chain ? all : json_array_get(all, 0), stdout, JSON_INDENT(4));
        printf("\n");
    }
    free(filename);
    free(format);
    json_decref(all);
    return err ? 1 : 0;
}

const struct img_command img_info = {
    .name = "info",
    .operands = "FILE",
    .summary = "shows what an image is",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
