/* What the tests of qcow2 share: making images, and checking them. */
#ifndef TINAMOU_TESTS_UNIT_BLOCK_QCOW2_H
#define TINAMOU_TESTS_UNIT_BLOCK_QCOW2_H

#include "tests/unit/block.h"

#include "util/property.h"

/* A file node, opened or the test ends. */
static inline struct block_node *qcow2_test_file(const char *path)
{
    return block_test_open(path, "file", "cache.no-flush=on");
}

/* Makes an image over a file that is emptied; the result. `options` as in -o. */
static inline int qcow2_test_create(const char *path, uint64_t size, const char *options,
                                    const char *backing)
{
    const struct block_driver *driver = block_driver_find("qcow2");
    struct block_create create = {
        .size = size, .backing_filename = backing, .backing_format = backing ? "qcow2" : NULL};
    void *object = calloc(1, driver->create_options_size);
    char data[310];
    int err, fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    close(fd);
    block_test_error[0] = 0;
    err = property_set_defaults(driver->create_options, object);
    if (err == 0 && options) {
        err = property_set_list(driver->create_options, object, "qcow2", options, NULL, NULL,
                                block_test_error, sizeof(block_test_error));
    }
    create.file = qcow2_test_file(path);
    if (options && strstr(options, "data_file=")) {
        snprintf(data, sizeof(data), "%s.data", path);
        close(open(data, O_RDWR | O_CREAT | O_TRUNC, 0644));
        create.data = qcow2_test_file(data);
    }
    if (err == 0) {
        err = driver->create(&create, object, block_test_error, sizeof(block_test_error));
    }
    block_unref(create.file);
    if (create.data) {
        block_unref(create.data);
    }
    property_clear(driver->create_options, object);
    free(object);
    return err;
}

static inline void qcow2_test_line(void *opaque, const char *line)
{
    if (*(int *)opaque) {
        tap_note("%s", line);
        --*(int *)opaque;
    }
}

/* Checks a node (or repairs it); the findings, of which a few are printed if `loud`. */
static inline struct block_check qcow2_test_check(struct block_node *node, unsigned fix, bool loud)
{
    int lines = loud ? 10 : 0;
    struct block_check check = {.report = qcow2_test_line, .opaque = &lines};
    int err = node->driver->check(node, fix, &check);

    if (err != 0) {
        tap_note("check: %s", strerror(-err));
        check.check_errors++;
    }
    return check;
}

static inline bool qcow2_test_clean(struct block_node *node)
{
    struct block_check check = qcow2_test_check(node, 0, true);

    return !check.corruptions && !check.leaks && !check.check_errors;
}

/* A small generator, so that a seed gives the same run everywhere. */
static inline uint32_t qcow2_test_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

#endif
