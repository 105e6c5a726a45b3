/*
 * Making an image: the protocol's file first (created if it is not there), then the format in it.
 *
 * Options of all formats are tables; "size", "backing_file" and "backing_fmt" are no format's own
 * and are taken out of the list before. A backing file is opened once, read-only, to see that it is
 * there and how large it is.
 */
#include "io/block/create.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/block/internal.h"

/* The general options, as a table of their own. */
struct general {
    char *backing_file, *backing_fmt;
    uint64_t size;
};
static const struct property general_options[] = {
    PROPERTY(SIZE, "size", struct general, size, .help = "virtual size"),
    PROPERTY(STRING, "backing_file", struct general, backing_file, .help = "backing file"),
    PROPERTY(STRING, "backing_fmt", struct general, backing_fmt, .help = "its format"),
    PROPERTY_END,
};

static int out_of_memory(char *error, size_t error_size)
{
    snprintf(error, error_size, "out of memory");
    return -ENOMEM;
}

static bool is_general(void *opaque, const char *name, const char *value)
{
    return property_find(general_options, name) != NULL;
}

static bool not_in_table(void *opaque, const char *name, const char *value)
{
    return property_find(opaque, name) == NULL;
}

static int look_at_backing(struct block_create_request *r, char *error, size_t error_size)
{
    struct block_node *backing;
    char path[4096];
    const char *slash = strrchr(r->filename, '/');
    int err;

    /* relative to the image, as whoever opens it will see it */
    if (r->backing[0] == '/' || strncmp(r->backing, "json:", 5) == 0 || !slash ||
        strchr(r->backing, ':')) {
        snprintf(path, sizeof(path), "%s", r->backing);
    } else {
        snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - r->filename), r->filename,
                 r->backing);
    }
    err = block_open_file(&backing, path, r->backing_format, "force-share=on", true, error,
                          error_size);
    if (err) {
        return err;
    }
    if (!r->has_size) {
        r->size = block_size(backing);
        r->has_size = true;
    }
    block_unref(backing);
    return 0;
}

/* Opens the file, which is made when it is not there. */
static int open_protocol(const char *filename, struct block_node **file, bool *made, char *error,
                         size_t error_size)
{
    struct block_options options = {0};
    struct stat st;
    int err, fd;

    *made = false;
    if (!strchr(filename, ':') || filename[0] == '/' || filename[0] == '.') {
        *made = stat(filename, &st) < 0;
        fd = open(filename, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            err = -errno;
            snprintf(error, error_size, "%s: %s", filename, strerror(-err));
            *made = false;
            return err;
        }
        close(fd);
    }
    if (block_options_set(&options, "driver",
                          stat(filename, &st) == 0 && S_ISBLK(st.st_mode) ? "host_device"
                                                                          : "file") ||
        block_options_set(&options, "filename", filename)) {
        err = out_of_memory(error, error_size);
    } else {
        err = block_open_options(file, &options, false, error, error_size);
    }
    if (!err) {
        err = block_hold(*file, error, error_size);
        if (err) {
            block_unref(*file);
        }
    }
    block_options_clear(&options);
    return err;
}

/* qcow2's data file stands among its options by name; it is made as well. */
static int open_data(const struct block_driver *driver, const void *table, struct block_node **data,
                     char *error, size_t error_size)
{
    char name[4096] = "";
    bool made;

    *data = NULL;
    if (!property_find(driver->create_options, "data_file") ||
        property_get(driver->create_options, table, "data_file", name, sizeof(name)) || !*name) {
        return 0;
    }
    return open_protocol(name, data, &made, error, error_size);
}

static int create_in(struct block_create_request *r, const struct block_driver *driver,
                     struct block_node *file, char *error, size_t error_size)
{
    struct block_create create = {
        .filename = r->filename,
        .size = (r->size + 511) & ~UINT64_C(511), /* whole sectors */
        .file = file,
        .backing_filename = r->backing,
        .backing_format = r->backing_format,
    };
    void *table = calloc(1, driver->create_options_size + 1);
    int err;

    if (!table || property_set_defaults(driver->create_options, table)) {
        free(table);
        return out_of_memory(error, error_size);
    }
    err = r->options ? property_set_list(driver->create_options, table, driver->name, r->options,
                                         is_general, NULL, error, error_size)
                     : 0;
    if (!err && r->backing && !driver->may_back) {
        snprintf(error, error_size, "%s: an image of format %s can't have a backing file",
                 r->filename, driver->name);
        err = -EINVAL;
    }
    if (!err) {
        err = open_data(driver, table, &create.data, error, error_size);
    }
    /* what is there is no image any more, whatever comes next */
    if (!err) {
        err = block_truncate(file, 0, false, BLOCK_PREALLOC_OFF, error, error_size);
        err = err == -ENOTSUP ? 0 : err;
    }
    if (!err) {
        err = driver->create(&create, table, error, error_size);
    }
    if (create.data) {
        block_unref(create.data);
    }
    property_clear(driver->create_options, table);
    free(table);
    return err;
}

int block_create_image(struct block_create_request *r, char *error, size_t error_size)
{
    const struct block_driver *driver = block_driver_find(r->format ? r->format : "raw");
    const char *backing = r->backing, *backing_format = r->backing_format;
    struct general general = {0};
    struct block_node *file;
    bool made;
    int err;

    if (!driver || !driver->create || !driver->is_format) {
        snprintf(error, error_size, "%s: %s", r->format,
                 driver ? "images of this format can't be created" : "there is no such format");
        return -EINVAL;
    }
    if (r->options) {
        err = property_set_list(general_options, &general, driver->name, r->options, not_in_table,
                                (void *)general_options, error, error_size);
        if (err) {
            return err;
        }
    }
    if (general.size) {
        r->size = general.size;
        r->has_size = true;
    }
    r->backing = general.backing_file ? general.backing_file : r->backing;
    r->backing_format = general.backing_fmt ? general.backing_fmt : r->backing_format;
    err = r->backing && !r->unsafe_backing ? look_at_backing(r, error, error_size) : 0;
    if (!err && r->size > INT64_MAX - 511) {
        snprintf(error, error_size, "%s: size=%" PRIu64 ": too large", r->filename, r->size);
        err = -EFBIG;
    }
    if (!err && !r->has_size) {
        snprintf(error, error_size, "%s: the size of the image has to be given", r->filename);
        err = -EINVAL;
    }
    if (!err) {
        err = open_protocol(r->filename, &file, &made, error, error_size);
    }
    if (!err) {
        err = create_in(r, driver, file, error, error_size);
        block_unref(file);
        if (err && made) {
            unlink(r->filename);
        }
    }
    property_clear(general_options, &general);
    r->backing = backing;
    r->backing_format = backing_format;
    return err;
}
