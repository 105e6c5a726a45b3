/*
 * What is done with an image that somebody made on purpose: everything. Nothing may crash, hang, or
 * take memory without bounds; a repaired image is consistent.
 */
#ifndef TINAMOU_TESTS_UNIT_BLOCK_QCOW2_HOSTILE_H
#define TINAMOU_TESTS_UNIT_BLOCK_QCOW2_HOSTILE_H

#include "tests/unit/block-qcow2.h"

#define HOSTILE_BUFFER 65536u

static uint8_t hostile_buffer[HOSTILE_BUFFER];

/* Offsets worth a look in a disk of this size. */
static inline uint64_t hostile_offset(uint64_t size, unsigned i)
{
    const uint64_t at[] = {0, 4096, 70000, 1 << 20, size / 2, size - HOSTILE_BUFFER};

    return size > HOSTILE_BUFFER && at[i] <= size - HOSTILE_BUFFER ? at[i] & ~UINT64_C(511) : 0;
}
#define HOSTILE_OFFSETS 6

static inline size_t hostile_size(uint64_t size)
{
    return size < HOSTILE_BUFFER ? (size_t)size : HOSTILE_BUFFER;
}

static inline void hostile_look(struct block_node *node)
{
    struct block_bitmap_info *bitmaps = NULL, info;
    struct block_snapshot *list = NULL;
    uint64_t size = block_size(node), at = 0;
    int count;

    for (unsigned i = 0; i < HOSTILE_OFFSETS; i++) {
        (void)block_pread(node, hostile_offset(size, i), hostile_buffer, hostile_size(size));
    }
    for (unsigned i = 0; i < 200 && at < size; i++) {
        struct block_status status;

        if (block_status(node, at, size - at, &status) || status.size == 0) {
            break;
        }
        at += status.size;
    }
    count = node->driver->bitmap_list(node, &bitmaps);
    for (int i = 0; i < count && i < 4; i++) {
        uint8_t *bits = NULL;

        if (node->driver->bitmap_load(node, bitmaps[i].name, &info, &bits) == 0) {
            free(bits);
        }
    }
    free(bitmaps);
    count = node->driver->snapshot_list(node, &list);
    for (int i = 0; node->readonly && i < count && i < 4; i++) {
        if (node->driver->snapshot_load(node, list[i].id, block_test_error,
                                        sizeof(block_test_error)) == 0) {
            (void)block_pread(node, 0, hostile_buffer, hostile_size(block_size(node)));
        }
    }
    free(list);
}

static inline void hostile_change(struct block_node *node)
{
    struct block_bitmap_info info = {.name = "new", .granularity = 65536};
    struct block_snapshot s = {.icount = UINT64_MAX}, *list = NULL;
    uint64_t size = block_size(node);
    int count;

    memset(hostile_buffer, 0x42, sizeof(hostile_buffer));
    for (unsigned i = 0; i < HOSTILE_OFFSETS; i++) {
        uint64_t at = hostile_offset(size, i);

        (void)block_pwrite(node, at, hostile_buffer, hostile_size(size) / 2 & ~511u, 0);
        (void)block_zero(node, at, hostile_size(size) / 4, BLOCK_MAY_UNMAP);
    }
    (void)block_discard(node, 0, hostile_size(size));
    (void)block_flush(node);
    if (node->driver->snapshot_create(node, &s) == 0) {
        (void)block_pwrite(node, 0, hostile_buffer, hostile_size(size) / 2 & ~511u, 0);
    }
    count = node->driver->snapshot_list(node, &list);
    if (count > 0) {
        (void)node->driver->snapshot_goto(node, list[0].id);
        (void)node->driver->snapshot_delete(node, list[0].id, block_test_error,
                                            sizeof(block_test_error));
    }
    free(list);
    if (size <= 64u << 20) {
        uint8_t *bits = calloc(1, 4096);

        info.bytes = (block_size(node) + 65535) / 65536;
        info.bytes = (info.bytes + 7) / 8;
        (void)node->driver->bitmap_store(node, &info, bits, block_test_error,
                                         sizeof(block_test_error));
        free(bits);
    }
}

static inline struct block_node *hostile_open(const char *path, const char *options, bool readonly)
{
    struct block_node *node;

    return block_open_file(&node, path, "qcow2", options, readonly, block_test_error,
                           sizeof(block_test_error)) == 0
               ? node
               : NULL;
}

/* Repairs; true if it is consistent afterwards, or said that it is not. */
static inline bool hostile_repair(const char *path)
{
    struct block_node *node = hostile_open(path, "cache.no-flush=on,repair=on", false);
    struct block_check check = {0};
    bool good = true;

    if (!node) {
        return true;
    }
    if (node->driver->check(node, BLOCK_CHECK_LEAKS | BLOCK_CHECK_ERRORS, &check) == 0 &&
        !check.corruptions && !check.check_errors && !check.leaks) {
        block_unref(node);
        node = hostile_open(path, "cache.no-flush=on", false);
        if (!node) {
            return true; /* something else is wrong with it */
        }
        check = (struct block_check){0};
        good = node->driver->check(node, 0, &check) == 0 && !check.corruptions && !check.leaks;
        if (!good) {
            (void)qcow2_test_check(node, 0, true);
        }
    }
    block_unref(node);
    return good;
}

/* All of it; the file is changed. False: a repair did not keep its promise. */
static inline bool hostile_exercise(const char *path, bool repair)
{
    struct block_node *node = hostile_open(path, "backing=,cache.no-flush=on", true);
    struct block_check check = {0};

    if (node) {
        (void)node->driver->check(node, 0, &check);
        hostile_look(node);
        block_unref(node);
    }
    if (repair) {
        return hostile_repair(path);
    }
    node = hostile_open(path, "backing=,cache.no-flush=on,discard=unmap", false);
    if (node) {
        hostile_look(node);
        hostile_change(node);
        block_unref(node);
    }
    return hostile_repair(path);
}

/* An image with something of everything; small. */
static inline void hostile_make(const char *path, const char *create)
{
    struct block_bitmap_info info = {
        .name = "b", .granularity = 512, .bytes = (1u << 20) / 512 / 8};
    uint8_t *bits = calloc(1, info.bytes);
    struct block_snapshot s = {.name = "s", .icount = UINT64_MAX};
    struct block_info facts = {0};
    struct block_node *node;

    qcow2_test_create(path, 1u << 20, create, NULL);
    node = block_test_open(path, "qcow2", "cache.no-flush=on");
    block_get_info(node, &facts);
    memset(hostile_buffer, 0x17, sizeof(hostile_buffer));
    (void)block_pwrite(node, 4096, hostile_buffer, 20000, 0);
    (void)block_pwrite(node, 1u << 19, hostile_buffer, facts.cluster_size, BLOCK_COMPRESSED);
    (void)block_zero(node, 65536, 65536, 0);
    (void)node->driver->snapshot_create(node, &s);
    (void)block_pwrite(node, 8192, hostile_buffer, 3000, 0);
    bits[3] = 0x55;
    (void)node->driver->bitmap_store(node, &info, bits, block_test_error, sizeof(block_test_error));
    block_unref(node);
    free(bits);
}

#endif
