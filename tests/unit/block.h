/* What the tests of block nodes share: files in TMPDIR, a loop, requests that are waited for. */
#ifndef TINAMOU_TESTS_UNIT_BLOCK_H
#define TINAMOU_TESTS_UNIT_BLOCK_H

#include "io/block/driver.h"
#include "io/loop/loop.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char block_test_folder[200];
static char block_test_error[500];
static struct loop *block_test_loop;

static inline void block_test_begin(void)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(block_test_folder, sizeof(block_test_folder), "%s/block-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(block_test_folder)) {
        perror(block_test_folder);
        exit(1);
    }
    block_test_loop = loop_create();
}

/* The path of a file in the folder; valid until four calls later. */
static inline const char *block_test_path(const char *name)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", block_test_folder, name);
    return path;
}

/* A file of `size` bytes, sparse. */
static inline const char *block_test_file(const char *name, uint64_t size)
{
    const char *path = block_test_path(name);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        perror(path);
        exit(1);
    }
    close(fd);
    return path;
}

static inline int block_test_end(void)
{
    char command[300];

    block_loop_gone(block_test_loop);
    block_finish();
    loop_destroy(block_test_loop);
    snprintf(command, sizeof(command), "rm -rf '%s'", block_test_folder);
    return tap_done() | (system(command) != 0);
}

/* Opens or ends the test. */
static inline struct block_node *block_test_open(const char *filename, const char *format,
                                                 const char *options)
{
    struct block_node *node;

    if (block_open_file(&node, filename, format, options, false, block_test_error,
                        sizeof(block_test_error))) {
        tap_ok(false, "open %s: %s", filename, block_test_error);
        exit(1);
    }
    return node;
}

struct block_test_request {
    struct block_request request;
    bool done;
};

static inline void block_test_request_done(struct block_request *request)
{
    ((struct block_test_request *)request)->done = true;
}

/* Submits and waits, running the loop; the result. */
static inline int block_test_run(struct block_node *node, struct block_request request)
{
    struct block_test_request r = {.request = request};

    r.request.done = block_test_request_done;
    r.request.loop = block_test_loop;
    block_submit(node, &r.request);
    if (r.done) {
        tap_ok(false, "done() is not called from inside of block_submit()");
    }
    while (!r.done) {
        loop_iterate(block_test_loop, true);
    }
    return r.request.result;
}

static inline int block_test_io(struct block_node *node, enum block_request_kind kind,
                                uint64_t offset, void *buffer, size_t size)
{
    struct iovec iov = {.iov_base = buffer, .iov_len = size};

    return block_test_run(
        node, (struct block_request){
                  .kind = kind, .offset = offset, .size = size, .iov = &iov, .iov_count = 1});
}

/* Bytes that tell where they belong. */
static inline void block_test_pattern(uint8_t *buffer, size_t size, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        buffer[i] = (uint8_t)(x >> 24);
    }
}

#endif
