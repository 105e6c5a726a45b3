/*
 * Random operations on qcow2 images against a plain model in memory: writes, compressed writes,
 * zeros, discards, flushes from several threads at once, then alone: snapshots, reverting, sizes,
 * reopening, checking. Bytes belong to threads in stripes smaller than a cluster, so that threads
 * meet in clusters, and the model stays exact.
 *
 *     block-qcow2-random [rounds [seed]]      longer, by hand
 */
#include "tests/unit/block-qcow2.h"

#include <pthread.h>

#define THREADS 4
#define STRIPE  1536u
#define MODELS  4

struct config {
    const char *name, *create, *open;
    uint64_t size;
    bool backing, snapshots, compress;
};

static const struct config configs[] = {
    {"plain", "cluster_size=4k", "discard=unmap", 3 << 20, false, true, true},
    {"default clusters", NULL, NULL, 9 << 20, false, true, true},
    {"smallest clusters", "cluster_size=512", "discard=unmap", 1 << 20, false, true, true},
    {"version 2", "compat=0.10,cluster_size=4k", NULL, 2 << 20, true, false, true},
    {"backing", "cluster_size=4k", "discard=unmap", 3 << 20, true, true, true},
    {"extended L2", "cluster_size=16k,extended_l2=on", NULL, 3 << 20, true, true, true},
    {"extended L2, large", "extended_l2=on,cluster_size=2M", NULL, 9 << 20, false, false, false},
    {"lazy", "lazy_refcounts=on,cluster_size=1k", NULL, 2 << 20, false, true, true},
    {"narrow counts", "refcount_bits=1,cluster_size=4k", NULL, 2 << 20, true, false, true},
    {"wide counts, zstd", "refcount_bits=64,cluster_size=512,compression_type=zstd", NULL, 1 << 20,
     false, true, true},
    {"small cache", "cluster_size=512", "l2-cache-size=1k,refcount-cache-size=1k", 1 << 20, true,
     true, true},
    {"small slices, no unref", "cluster_size=4k", "l2-cache-entry-size=512,discard-no-unref=on",
     2 << 20, false, true, true},
    {"preallocated", "preallocation=metadata,cluster_size=4k", "discard=unmap", 2 << 20, false,
     true, false},
    {"data file", "data_file=image.data,cluster_size=4k", "discard=unmap", 2 << 20, false, false,
     false},
    {"raw data file", "data_file=image.data,data_file_raw=on", "discard=unmap", 2 << 20, false,
     false, false},
};

struct model {
    uint8_t *bytes, *known; /* known: 0 where a discard made it undefined */
    uint64_t size;
    char id[128];
};

struct run {
    const struct config *config;
    struct block_node *node;
    struct model now;
    const uint8_t *base; /* what the backing file has; NULL: zeros */
    uint64_t room;       /* of models and base */
    struct model saved[MODELS];
    unsigned saved_count;
    const char *path;
    uint64_t random;
    unsigned failures;
};

struct worker {
    struct run *run;
    unsigned index, operations;
    uint64_t random;
};

static void fail(struct run *run, const char *what, int err)
{
    if (run->failures++ < 5) {
        tap_note("%s: %s", what, strerror(-err));
    }
}

/* A range inside of a stripe of this thread. */
static void pick(struct worker *w, uint64_t *offset, size_t *size)
{
    uint64_t stripes = w->run->now.size / (STRIPE * THREADS);
    uint64_t stripe = qcow2_test_random(&w->random) % stripes * THREADS + w->index;
    uint32_t from = qcow2_test_random(&w->random) % 3 * 512;

    *size = 512 + qcow2_test_random(&w->random) % (STRIPE - from - 511);
    *offset = stripe * STRIPE + from;
    if (qcow2_test_random(&w->random) % 2) {
        *size &= ~(size_t)511;
    }
}

static void do_write(struct worker *w)
{
    struct run *run = w->run;
    uint8_t buffer[STRIPE];
    uint64_t offset;
    size_t size;
    int err;

    pick(w, &offset, &size);
    block_test_pattern(buffer, size, qcow2_test_random(&w->random));
    err = block_pwrite(run->node, offset, buffer, size, 0);
    if (err) {
        fail(run, "write", err);
    }
    memcpy(run->now.bytes + offset, buffer, size);
    memset(run->now.known + offset, 1, size);
}

static void do_zero(struct worker *w)
{
    struct run *run = w->run;
    uint64_t offset;
    size_t size;
    int err;

    pick(w, &offset, &size);
    err = block_zero(run->node, offset, size,
                     qcow2_test_random(&w->random) % 2 ? BLOCK_MAY_UNMAP : 0);
    if (err) {
        fail(run, "zero", err);
    }
    memset(run->now.bytes + offset, 0, size);
    memset(run->now.known + offset, 1, size);
}

static void compare(struct run *run, uint64_t offset, const uint8_t *buffer, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (run->now.known[offset + i] && buffer[i] != run->now.bytes[offset + i]) {
            if (run->failures++ < 5) {
                tap_note("at %#llx: read %#x, expected %#x", (unsigned long long)offset + i,
                         buffer[i], run->now.bytes[offset + i]);
            }
            return;
        }
    }
}

static void do_read(struct worker *w)
{
    uint8_t buffer[STRIPE];
    uint64_t offset;
    size_t size;
    int err;

    pick(w, &offset, &size);
    err = block_pread(w->run->node, offset, buffer, size);
    if (err) {
        fail(w->run, "read", err);
    }
    compare(w->run, offset, buffer, size);
}

static void *work(void *opaque)
{
    struct worker *w = opaque;

    for (unsigned i = 0; i < w->operations; i++) {
        switch (qcow2_test_random(&w->random) % 16) {
        case 0:
        case 1:
            do_zero(w);
            break;
        case 2:
        case 3:
        case 4:
        case 5:
            do_read(w);
            break;
        case 6:
            if (qcow2_test_random(&w->random) % 8 == 0) {
                int err = block_flush(w->run->node);

                if (err) {
                    fail(w->run, "flush", err);
                }
            }
            break;
        default:
            do_write(w);
        }
    }
    return NULL;
}

static void parallel(struct run *run, unsigned operations)
{
    struct worker workers[THREADS];
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){run, i, operations, qcow2_test_random(&run->random)};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- alone ---- */

static void check_all(struct run *run)
{
    uint8_t *buffer = malloc(run->now.size);
    int err = block_pread(run->node, 0, buffer, run->now.size);

    if (err) {
        fail(run, "read all", err);
    }
    compare(run, 0, buffer, run->now.size);
    free(buffer);
}

static void open_image(struct run *run)
{
    char options[200];

    /* What flushes are for is another test's. */
    snprintf(options, sizeof(options), "cache.no-flush=on%s%s", run->config->open ? "," : "",
             run->config->open ? run->config->open : "");
    run->node = block_test_open(run->path, "qcow2", options);
}

static void reopen(struct run *run)
{
    block_unref(run->node);
    open_image(run);
    if (!qcow2_test_clean(run->node)) {
        fail(run, "check after reopening", -EIO);
    }
    check_all(run);
}

static void large(struct run *run)
{
    uint64_t offset = qcow2_test_random(&run->random) % run->now.size & ~UINT64_C(511);
    uint64_t size = run->now.size - offset;
    uint8_t *buffer;
    int err;

    size = (1 + qcow2_test_random(&run->random) % size) & ~UINT64_C(511);
    buffer = malloc(size + 1);
    switch (qcow2_test_random(&run->random) % 3) {
    case 0:
        block_test_pattern(buffer, size, qcow2_test_random(&run->random));
        err = block_pwrite(run->node, offset, buffer, size, 0);
        memcpy(run->now.bytes + offset, buffer, size);
        memset(run->now.known + offset, 1, size);
        break;
    case 1:
        err = block_zero(run->node, offset, size, BLOCK_MAY_UNMAP);
        memset(run->now.bytes + offset, 0, size);
        memset(run->now.known + offset, 1, size);
        break;
    default:
        err = block_discard(run->node, offset, size);
        memset(run->now.known + offset, 0, size);
    }
    if (err) {
        fail(run, "large request", err);
    }
    free(buffer);
}

static void compressed(struct run *run)
{
    struct block_info info = {0};
    uint64_t offset;
    uint8_t *buffer;
    size_t size;
    int err;

    block_get_info(run->node, &info);
    free(info.backing_filename);
    free(info.backing_format);
    size = info.cluster_size;
    if (size > run->now.size) {
        return;
    }
    offset = qcow2_test_random(&run->random) % (run->now.size / size) * size;
    buffer = malloc(size);
    block_test_pattern(buffer, size, qcow2_test_random(&run->random));
    memset(buffer, 1, size - size / (1 + qcow2_test_random(&run->random) % 8));
    err = block_pwrite(run->node, offset, buffer, size, BLOCK_COMPRESSED);
    if (err) {
        fail(run, "compressed write", err);
    }
    memcpy(run->now.bytes + offset, buffer, size);
    memset(run->now.known + offset, 1, size);
    free(buffer);
}

static void copy_model(struct run *run, struct model *to, const struct model *from)
{
    if (!to->bytes) {
        to->bytes = malloc(run->room);
        to->known = malloc(run->room);
    }
    memcpy(to->bytes, from->bytes, run->room);
    memcpy(to->known, from->known, run->room);
    to->size = from->size;
}

static void take_snapshot(struct run *run)
{
    struct block_snapshot s = {.icount = UINT64_MAX};
    struct model *to;
    int err;

    if (run->saved_count == MODELS) {
        return;
    }
    to = &run->saved[run->saved_count];
    err = run->node->driver->snapshot_create(run->node, &s);
    if (err) {
        fail(run, "snapshot", err);
        return;
    }
    copy_model(run, to, &run->now);
    memcpy(to->id, s.id, sizeof(to->id));
    run->saved_count++;
}

static void delete_snapshot(struct run *run)
{
    unsigned i;
    struct model gone;
    int err;

    if (!run->saved_count) {
        return;
    }
    i = qcow2_test_random(&run->random) % run->saved_count;
    err = run->node->driver->snapshot_delete(run->node, run->saved[i].id, block_test_error,
                                             sizeof(block_test_error));
    if (err) {
        fail(run, block_test_error, err);
    }
    gone = run->saved[i];
    run->saved[i] = run->saved[--run->saved_count];
    run->saved[run->saved_count] = gone;
}

static void go_to_snapshot(struct run *run)
{
    unsigned i;
    int err;

    if (!run->saved_count) {
        return;
    }
    i = qcow2_test_random(&run->random) % run->saved_count;
    err = run->node->driver->snapshot_goto(run->node, run->saved[i].id);
    if (err) {
        fail(run, "goto", err);
    }
    copy_model(run, &run->now, &run->saved[i]);
    check_all(run);
}

static void resize(struct run *run)
{
    uint64_t old = run->now.size;
    uint64_t size =
        (run->room / 4 + qcow2_test_random(&run->random) % (run->room / 4 * 3)) & ~UINT64_C(511);
    int err;

    if (run->config->create && strstr(run->config->create, "0.10") && run->saved_count) {
        return;
    }
    err = block_truncate(run->node, size, true, BLOCK_PREALLOC_OFF, block_test_error,
                         sizeof(block_test_error));
    if (err) {
        fail(run, block_test_error, err);
        return;
    }
    if (size > old) {
        memset(run->now.bytes + old, 0, size - old);
        memset(run->now.known + old, 1, size - old);
    }
    run->now.size = size;
    check_all(run);
}

static void alone(struct run *run)
{
    switch (qcow2_test_random(&run->random) % 10) {
    case 0:
        reopen(run);
        break;
    case 1:
    case 2:
        if (run->config->snapshots) {
            take_snapshot(run);
        }
        break;
    case 3:
        if (run->config->snapshots) {
            go_to_snapshot(run);
        }
        break;
    case 4:
        if (run->config->snapshots) {
            delete_snapshot(run);
        }
        break;
    case 5:
        resize(run);
        break;
    case 6:
    case 7:
        if (run->config->compress) {
            for (int i = 0; i < 10; i++) {
                compressed(run);
            }
        }
        break;
    default:
        large(run);
    }
}

/* The backing image, and the model of what shines through. */
static void prepare(struct run *run)
{
    static char base[300];
    struct block_node *node;

    run->room = run->config->size;
    run->now.bytes = calloc(1, run->room);
    run->now.known = malloc(run->room);
    memset(run->now.known, 1, run->room);
    run->now.size = run->config->size;
    if (run->config->backing) {
        uint64_t size = run->config->size / 2 + 1536;

        snprintf(base, sizeof(base), "%s", block_test_path("base"));
        qcow2_test_create(base, size, NULL, NULL);
        node = block_test_open(base, "qcow2", NULL);
        block_test_pattern(run->now.bytes, size, 77);
        if (block_pwrite(node, 0, run->now.bytes, size, 0)) {
            fail(run, "base", -EIO);
        }
        block_unref(node);
    }
    if (qcow2_test_create(run->path, run->config->size, run->config->create,
                          run->config->backing ? base : NULL)) {
        fail(run, block_test_error, -EIO);
    }
}

static void test_config(const struct config *config, unsigned rounds, uint64_t seed)
{
    static char path[300];
    struct run run = {.config = config, .random = seed, .path = path};

    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    prepare(&run);
    if (!run.failures) {
        open_image(&run);
        for (unsigned i = 0; i < rounds && !run.failures; i++) {
            parallel(&run, 60);
            for (unsigned j = 0; j < 2 && !run.failures; j++) {
                alone(&run);
            }
        }
        if (!run.failures) {
            reopen(&run);
        }
        block_unref(run.node);
    }
    tap_ok(run.failures == 0, "%s: reads what was written, and is consistent (seed %llu)",
           config->name, (unsigned long long)seed);
    free(run.now.bytes);
    free(run.now.known);
    for (unsigned i = 0; i < MODELS; i++) {
        free(run.saved[i].bytes);
        free(run.saved[i].known);
    }
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 25;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    block_test_begin();
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        test_config(&configs[i], rounds, seed);
    }
    return block_test_end();
}
