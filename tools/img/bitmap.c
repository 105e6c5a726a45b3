/*
 * bitmap: dirty bitmaps that are stored in an image.
 *
 * Actions are done one after the other in the order of the command line, each on what is stored.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"

enum { ADD = 'a', REMOVE = 'r', CLEAR = 'c', ENABLE = 'e', DISABLE = 'd', MERGE = 'm' };
enum { MIN_GRANULARITY = 4096, MAX_GRANULARITY = 65536 }; /* of those that we choose */

struct values {
    struct img_source source;
    char *actions; /* lines: the code, and the value */
    const char *file, *file_format, *granularity;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {0, "add", IMG_ACTIONS, AT(actions), NULL, ADD},
    {0, "remove", IMG_ACTIONS, AT(actions), NULL, REMOVE},
    {0, "clear", IMG_ACTIONS, AT(actions), NULL, CLEAR},
    {0, "enable", IMG_ACTIONS, AT(actions), NULL, ENABLE},
    {0, "disable", IMG_ACTIONS, AT(actions), NULL, DISABLE},
    {0, "merge", IMG_ACTIONS, AT(actions), "BITMAP", MERGE},
    {'b', "source-file", IMG_TEXT, AT(file), "FILE", 0},
    {'F', "source-format", IMG_TEXT, AT(file_format), "FORMAT", 0},
    {'g', "granularity", IMG_TEXT, AT(granularity), "SIZE", 0},
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

static const struct {
    char code;
    const char *name;
} action_names[] = {{ADD, "add"},       {REMOVE, "remove"},   {CLEAR, "clear"},
                    {ENABLE, "enable"}, {DISABLE, "disable"}, {MERGE, "merge"}};

struct bitmap {
    struct block_bitmap_info info;
    uint8_t *bits;
};

static int find(struct block_node *node, const char *name)
{
    struct block_bitmap_info *list = NULL;
    int count = node->driver->bitmap_list(node, &list), found = -ENOENT;

    for (int i = 0; i < count && found < 0; i++) {
        found = strcmp(list[i].name, name) == 0 ? i : -ENOENT;
    }
    free(list);
    return count < 0 ? count : found;
}

static int load(struct block_node *node, const char *name, struct bitmap *b, char *error,
                size_t error_size)
{
    int err = node->driver->bitmap_list ? find(node, name) : -ENOTSUP;

    if (err >= 0) {
        err = node->driver->bitmap_load(node, name, &b->info, &b->bits);
    }
    if (err == -ENOENT) {
        snprintf(error, error_size, "Dirty bitmap '%s' not found", name);
    } else if (err) {
        snprintf(error, error_size, "Dirty bitmap '%s': %s", name, strerror(-err));
    } else if (b->info.in_use) {
        snprintf(error, error_size,
                 "Bitmap '%s' is inconsistent and cannot be used; --remove deletes it", name);
        err = -EINVAL;
    }
    return err;
}

static int add(struct block_node *node, const char *name, const char *granularity, char *error,
               size_t error_size)
{
    struct block_info info;
    struct bitmap b = {.info = {.autoload = true}};
    uint64_t unit, count;
    int err;

    if (strlen(name) >= sizeof(b.info.name)) {
        snprintf(error, error_size, "Bitmap name is longer than %zu bytes",
                 sizeof(b.info.name) - 1);
        return -EINVAL;
    }
    if (find(node, name) >= 0) {
        snprintf(error, error_size, "Bitmap already exists: %s", name);
        return -EEXIST;
    }
    err = block_get_info(node, &info);
    if (err) {
        return err;
    }
    free(info.backing_filename);
    free(info.backing_format);
    unit = info.cluster_size < MIN_GRANULARITY   ? MIN_GRANULARITY
           : info.cluster_size > MAX_GRANULARITY ? MAX_GRANULARITY
                                                 : info.cluster_size;
    if (granularity && (img_parse_size(granularity, &unit) || unit < 512 || unit > UINT32_MAX / 2 ||
                        (unit & (unit - 1)))) {
        snprintf(error, error_size, "Granularity %s: expected a power of two from 512 on",
                 granularity);
        return -EINVAL;
    }
    memcpy(b.info.name, name, strlen(name));
    b.info.granularity = (uint32_t)unit;
    count = (block_size(node) + unit - 1) / unit;
    b.info.bytes = (count + 7) / 8;
    b.bits = calloc(1, (size_t)b.info.bytes + 1);
    err = b.bits ? node->driver->bitmap_store(node, &b.info, b.bits, error, error_size) : -ENOMEM;
    free(b.bits);
    return err;
}

static void set_range(struct bitmap *b, uint64_t first, uint64_t last)
{
    for (uint64_t i = first; i <= last && i / 8 < b->info.bytes; i++) {
        b->bits[i / 8] |= (uint8_t)(1u << (i % 8));
    }
}

/* What is dirty in `from` becomes dirty in `to`, whatever their granularities are. */
static void merge_bits(struct bitmap *to, const struct bitmap *from, uint64_t size)
{
    for (uint64_t byte = 0; byte < from->info.bytes; byte++) {
        for (unsigned bit = 0; from->bits[byte] >> bit; bit++) {
            uint64_t start = (byte * 8 + bit) * from->info.granularity;
            uint64_t end = start + from->info.granularity;

            if ((from->bits[byte] >> bit & 1) && start < size) {
                end = end < size ? end : size;
                set_range(to, start / to->info.granularity, (end - 1) / to->info.granularity);
            }
        }
    }
}

static int merge(struct block_node *node, struct block_node *file, struct bitmap *b,
                 const char *source, char *error, size_t error_size)
{
    struct bitmap from = {0};
    int err;

    if (block_size(node) != block_size(file)) {
        snprintf(error, error_size,
                 "Bitmaps are of different sizes (destination size is %" PRIu64
                 ", source size is %" PRIu64 ") and can't be merged",
                 block_size(node), block_size(file));
        return -EINVAL;
    }
    err = load(file, source, &from, error, error_size);
    if (!err) {
        merge_bits(b, &from, block_size(node));
        if (!file->readonly) {
            /* it was taken out of the image to be looked at */
            err = file->driver->bitmap_store(file, &from.info, from.bits, error, error_size);
        }
    }
    free(from.bits);
    return err;
}

/* An action that changes what is there. */
static int change(struct block_node *node, struct block_node *file, const char *name,
                  const char *action, char *error, size_t error_size)
{
    struct bitmap b = {0};
    int err = load(node, name, &b, error, error_size);

    if (!err && action[0] == MERGE && strcmp(action + 1, name) != 0) {
        err = merge(node, file, &b, action + 1, error, error_size);
    } else if (!err && action[0] == CLEAR) {
        memset(b.bits, 0, (size_t)b.info.bytes);
    } else if (!err && action[0] != MERGE) {
        b.info.autoload = action[0] == ENABLE;
    }
    if (b.bits && !b.info.in_use) {
        char later[512] = "";
        int stored = node->driver->bitmap_store(node, &b.info, b.bits, later, sizeof(later));

        if (!err && stored) {
            snprintf(error, error_size, "%s", later);
            err = stored;
        }
    }
    free(b.bits);
    return err;
}

static int act(const struct values *v, struct block_node *node, struct block_node *file,
               const char *name, const char *action)
{
    char error[1280] = "";
    const char *what = "";
    int err;

    for (size_t i = 0; i < sizeof(action_names) / sizeof(action_names[0]); i++) {
        what = action_names[i].code == action[0] ? action_names[i].name : what;
    }
    if (action[0] == ADD) {
        err = add(node, name, v->granularity, error, sizeof(error));
    } else if (action[0] == REMOVE) {
        err = find(node, name) < 0 ? -ENOENT
                                   : node->driver->bitmap_remove(node, name, error, sizeof(error));
        if (err == -ENOENT) {
            snprintf(error, sizeof(error), "Dirty bitmap '%s' not found", name);
        }
    } else {
        err = change(node, file, name, action, error, sizeof(error));
    }
    return err ? img_fail("Operation %s on bitmap %s failed: %s", what, name,
                          error[0] ? error : strerror(-err))
               : 0;
}

static int act_all(const struct values *v, struct block_node *node, struct block_node *file,
                   const char *name)
{
    char *rest = v->actions, *action;
    int status = 0, err;

    while (!status && (action = strsep(&rest, "\n"))) {
        status = act(v, node, file, name, action);
    }
    err = block_flush(node);
    return !status && err ? img_fail("%s: %s", node->filename, strerror(-err)) : status;
}

static int check_options(const struct values *v)
{
    bool merges = v->actions && (v->actions[0] == MERGE || strstr(v->actions, "\nm"));
    bool adds = v->actions && (v->actions[0] == ADD || strstr(v->actions, "\na"));

    if (!v->actions) {
        return img_fail("Need at least one of --add, --remove, --clear, --enable, --disable, or "
                        "--merge");
    }
    if (v->granularity && !adds) {
        return img_fail("granularity only supported with --add");
    }
    if (v->file && !merges) {
        return img_fail("Merge bitmap source file only supported with --merge");
    }
    if (v->file_format && !v->file) {
        return img_fail("-F only supported with -b");
    }
    return 0;
}

static int run(void *opaque, int count, char **operands)
{
    const struct values *v = opaque;
    struct img_source source = {.format = v->file_format};
    struct block_node *node, *file = NULL;
    int status = 0;

    if (check_options(v) || img_open(&node, operands[0], &v->source, IMG_WRITE)) {
        return 1;
    }
    if (!node->driver->bitmap_store) {
        status = img_fail("Format driver '%s' does not support bitmaps", node->driver->name);
    } else if (v->file && img_open(&file, v->file, &source, 0)) {
        status = 1;
    } else {
        status = act_all(v, node, file ? file : node, operands[1]);
    }
    if (file) {
        block_unref(file);
    }
    block_unref(node);
    return status;
}

const struct img_command img_bitmap = {
    .name = "bitmap",
    .operands = "FILE BITMAP",
    .summary = "adds, removes, clears, enables, disables and merges dirty bitmaps",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
