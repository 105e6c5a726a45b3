/*
 * Opening as -drive and the tools do it: a file name, a format or none, and options in the order of
 * the command line, some of which mean several of a graph's, or nodes around it:
 *
 *   cache=MODE             the three of cache.*
 *   aio, locking           of the file below the format
 *   discard=on|off         unmap, ignore
 *   iops, bps, throttling  limits of the node
 *   copy-on-read=on        the filter of that name on top
 *   snapshot=on            the image is read only; what is written goes to a file that is gone
 *                          with the process
 */
#include "io/block/internal.h"
#include "io/block/throttle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int out_of_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "block: out of memory");
    return -ENOMEM;
}

/* cache=MODE as the options that it means. */
static int set_cache_mode(struct block_options *options, const char *mode, char *error,
                          size_t error_size)
{
    static const struct {
        const char *name, *writeback, *direct, *no_flush;
    } modes[] = {
        {"writeback", "on", "off", "off"},  {"none", "on", "on", "off"},
        {"off", "on", "on", "off"},         {"writethrough", "off", "off", "off"},
        {"directsync", "off", "on", "off"}, {"unsafe", "on", "off", "on"},
    };

    for (unsigned i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(mode, modes[i].name) == 0) {
            return block_options_set(options, "cache.writeback", modes[i].writeback) ||
                           block_options_set(options, "cache.direct", modes[i].direct) ||
                           block_options_set(options, "cache.no-flush", modes[i].no_flush)
                       ? out_of_memory(error, error_size)
                       : 0;
        }
    }
    snprintf(error, error_size,
             "cache=%s: expected one of writeback, none, writethrough, directsync, unsafe", mode);
    return -EINVAL;
}

/* What -drive writes in another way than blockdev-add. */
static int translate_drive_options(struct block_options *options, const char *format, char *error,
                                   size_t error_size)
{
    static const char *const of_file[] = {"aio", "locking"};
    const struct block_driver *driver = format ? block_driver_find(format) : NULL;
    const char *value = NULL;
    int err = 0;

    if (block_options_get(options, "cache", &value) && value) {
        err = set_cache_mode(options, value, error, error_size);
        block_options_remove(options, "cache");
    }
    if (!err && block_options_get(options, "discard", &value) && value) {
        const char *to = strcmp(value, "on") == 0    ? "unmap"
                         : strcmp(value, "off") == 0 ? "ignore"
                                                     : NULL;

        err = to ? block_options_set(options, "discard", to) : 0;
    }
    for (unsigned i = 0; !err && i < 2 && (!format || (driver && block_has_file_child(driver)));
         i++) {
        char name[32];

        if (block_options_get(options, of_file[i], &value) && value) {
            snprintf(name, sizeof(name), "file.%s", of_file[i]);
            err = block_options_set(options, name, value);
            block_options_remove(options, of_file[i]);
        }
    }
    return err == -ENOMEM ? out_of_memory(error, error_size) : err;
}

/* ---- limits ---- */

struct limits {
    char group[BLOCK_MAX_NAME + 1];
    char list[600]; /* as throttle_group_get() takes it */
};

/* The older names: iops, bps_rd, bps_wr_max_length, ... False: it is none. */
static bool limit_of_old_name(const char *name, char *to, size_t size)
{
    const char *rest = name + 4, *direction = "total";
    bool bytes = strncmp(name, "bps", 3) == 0;

    if (strcmp(name, "iops_size") == 0) {
        snprintf(to, size, "iops-size");
        return true;
    }
    if (!bytes && strncmp(name, "iops", 4) != 0) {
        return false;
    }
    rest -= bytes;
    if (strncmp(rest, "_rd", 3) == 0) {
        direction = "read";
        rest += 3;
    } else if (strncmp(rest, "_wr", 3) == 0) {
        direction = "write";
        rest += 3;
    }
    if (*rest && strcmp(rest, "_max") != 0 && strcmp(rest, "_max_length") != 0) {
        return false;
    }
    snprintf(to, size, "%s-%s%s", bytes ? "bps" : "iops", direction,
             !*rest                 ? ""
             : strcmp(rest, "_max") ? "-max-length"
                                    : "-max");
    return true;
}

static int take_limits(struct block_options *options, struct limits *limits, char *error,
                       size_t error_size)
{
    size_t used = 0;

    memset(limits, 0, sizeof(*limits));
    for (unsigned i = 0; i < options->count;) {
        const struct block_option *o = &options->list[i];
        char name[64];

        if (strncmp(o->name, "throttling.", 11) == 0) {
            snprintf(name, sizeof(name), "%s", o->name + 11);
        } else if (!limit_of_old_name(o->name, name, sizeof(name))) {
            i++;
            continue;
        }
        const char *value = o->value ? o->value : "";

        if (strcmp(name, "group") == 0) {
            snprintf(limits->group, sizeof(limits->group), "%s", value);
        } else {
            used += (size_t)snprintf(limits->list + used, sizeof(limits->list) - used, "%s%s=%s",
                                     used ? "," : "", name, value);
        }
        if (used >= sizeof(limits->list)) {
            snprintf(error, error_size, "%s=%s: too many limits", o->name, value);
            return -E2BIG;
        }
        block_options_remove(options, o->name);
    }
    return 0;
}

static int set_limits(struct block_node *node, const struct limits *limits, char *error,
                      size_t error_size)
{
    struct throttle_group *group;
    int err;

    if (!*limits->list && !*limits->group) {
        return 0;
    }
    err = throttle_group_get(&group, *limits->group ? limits->group : block_name(node),
                             *limits->list ? limits->list : NULL, error, error_size);
    if (!err) {
        block_set_throttle(node, group);
        throttle_group_put(group);
    }
    return err;
}

/* ---- nodes around it ---- */

/* Takes a switch out of the options; -EINVAL. */
static int take_bool(struct block_options *options, const char *name, bool *value, char *error,
                     size_t error_size)
{
    const char *text = NULL;

    if (!block_options_get(options, name, &text) || !text) {
        return 0;
    }
    *value = strcmp(text, "on") == 0;
    if (!*value && strcmp(text, "off") != 0) {
        snprintf(error, error_size, "%s=%s: expected on or off", name, text);
        return -EINVAL;
    }
    block_options_remove(options, name);
    return 0;
}

/* Moves what the user calls the node to the one that will be on top. */
static int move_name(struct block_options *from, struct block_options *to)
{
    const char *name = NULL;
    int err = 0;

    if (block_options_get(from, "node-name", &name) && name) {
        err = block_options_set(to, "node-name", name);
        block_options_remove(from, "node-name");
    }
    return err;
}

static int create_overlay(const char *path, uint64_t size, char *error, size_t error_size)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct block_options options = {0};
    struct block_create create = {.size = size};
    void *table;
    int err;

    if (!driver) {
        snprintf(error, error_size, "snapshot=on: this build has no qcow2");
        return -ENOTSUP;
    }
    table = calloc(1, driver->create_options_size + 1);
    if (!table || property_set_defaults(driver->create_options, table) ||
        block_options_set(&options, "driver", "file") ||
        block_options_set(&options, "filename", path)) {
        err = out_of_memory(error, error_size);
    } else {
        err = block_open_options(&create.file, &options, false, error, error_size);
    }
    if (!err) {
        err = driver->create(&create, table, error, error_size);
        block_unref(create.file);
    }
    if (table) {
        property_clear(driver->create_options, table);
    }
    free(table);
    block_options_clear(&options);
    return err;
}

/* Replaces *node, a read-only one, by an overlay in a file without a name. */
static int put_overlay(struct block_node **node, struct block_options *options, char *error,
                       size_t error_size)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    struct block_node *overlay;
    int fd, err;

    snprintf(path, sizeof(path), "%s/tinamou-XXXXXX", folder && *folder ? folder : "/var/tmp");
    fd = mkstemp(path);
    if (fd < 0) {
        err = -errno;
        snprintf(error, error_size, "%s: can't create a temporary file: %s", path, strerror(errno));
        return err;
    }
    close(fd);
    err = create_overlay(path, block_size(*node), error, error_size);
    if (!err && (block_options_set(options, "driver", "qcow2") ||
                 block_options_set(options, "cache.no-flush", "on") ||
                 block_options_set(options, "file.driver", "file") ||
                 block_options_set(options, "file.filename", path) ||
                 block_options_set(options, "backing", block_name(*node)))) {
        err = out_of_memory(error, error_size);
    }
    if (!err) {
        err = block_open_options(&overlay, options, false, error, error_size);
    }
    unlink(path);
    if (!err) {
        block_unref(*node); /* the overlay has its own reference */
        *node = overlay;
    }
    return err;
}

static int put_copy_on_read(struct block_node **node, struct block_options *options, char *error,
                            size_t error_size)
{
    struct block_node *filter;
    int err = block_open_over(&filter, block_driver_find("copy-on-read"), options, *node, error,
                              error_size);

    *node = err ? NULL : filter; /* the reference is gone in any case */
    return err;
}

/* ---- the way in ---- */

static int open_stack(struct block_node **node, struct block_options *options, unsigned flags,
                      char *error, size_t error_size)
{
    struct block_options top = {0};
    struct limits limits;
    bool snapshot = false, copy_on_read = false;
    int err = take_limits(options, &limits, error, error_size);

    *node = NULL;
    if (!err) {
        err = take_bool(options, "snapshot", &snapshot, error, error_size);
    }
    if (!err) {
        err = take_bool(options, "copy-on-read", &copy_on_read, error, error_size);
    }
    if (!err && (snapshot || copy_on_read) && move_name(options, &top)) {
        err = out_of_memory(error, error_size);
    }
    if (!err && snapshot && block_options_set(options, "read-only", "on")) {
        err = out_of_memory(error, error_size);
    }
    if (!err) {
        err = block_open_flags(node, options, flags, error, error_size);
    }
    if (!err && snapshot) {
        struct block_options overlay = {0};

        if (!copy_on_read && move_name(&top, &overlay)) {
            err = out_of_memory(error, error_size);
        } else {
            err = put_overlay(node, &overlay, error, error_size);
        }
        block_options_clear(&overlay);
    }
    if (!err && copy_on_read) {
        err = put_copy_on_read(node, &top, error, error_size);
    }
    if (!err) {
        err = set_limits(*node, &limits, error, error_size);
    }
    if (!err) {
        err = block_hold(*node, error, error_size);
    }
    block_options_clear(&top);
    if (err) {
        block_unref(*node);
        *node = NULL;
    }
    return err;
}

int block_open_image(struct block_node **node, const char *filename, const char *format,
                     const char *options, unsigned flags, char *error, size_t error_size)
{
    struct block_options flat = {0};
    int err = options ? block_options_from_text(&flat, options, error, error_size) : 0;

    if (!err) {
        err = translate_drive_options(&flat, format, error, error_size);
    }
    if (!err && ((filename && *filename && block_options_set(&flat, "filename", filename)) ||
                 (format && block_options_set(&flat, "driver", format)) ||
                 ((flags & BLOCK_OPEN_READONLY) && block_options_set(&flat, "read-only", "on")))) {
        err = out_of_memory(error, error_size);
    }
    if (!err) {
        err = open_stack(node, &flat, flags, error, error_size);
    }
    block_options_clear(&flat);
    return err;
}

int block_open_file(struct block_node **node, const char *filename, const char *format,
                    const char *options, bool readonly, char *error, size_t error_size)
{
    return block_open_image(node, filename, format, options, readonly ? BLOCK_OPEN_READONLY : 0,
                            error, error_size);
}
