/*
 * Errors of the host: a series of operations runs again and again over a filter that lets the
 * first, the second, ... request fail, or it and all after it; once by calls, and once as devices
 * do it, where most requests have no worker. Whatever fails, what succeeded is there afterwards,
 * and the image has at worst leaks.
 */
#include "tests/unit/block-qcow2.h"

#include "io/block/blkdebug.h"

#define SECTOR  512u
#define SECTORS 1024u

struct config {
    const char *name, *create;
    bool snapshots, bitmaps, compress;
};

static const struct config configs[] = {
    {"small clusters", "cluster_size=512", true, true, true},
    {"version 2", "compat=0.10,cluster_size=1k", false, false, true},
    {"wide counts", "cluster_size=512,refcount_bits=64", true, true, true},
    {"extended L2", "cluster_size=16k,extended_l2=on", true, true, true},
    {"lazy", "cluster_size=1k,lazy_refcounts=on", true, false, true},
};

static uint8_t now[SECTORS];     /* what each sector is filled with */
static uint8_t flushed[SECTORS]; /* at the last flush that succeeded */
static bool unsure[SECTORS];     /* a request on it has failed, or it was discarded */
static bool since[SECTORS];      /* changed after that flush */
static struct block_node *node;
static bool edge; /* requests are submitted */
static unsigned failures;

static void fail(const char *what, unsigned long long a, unsigned long long b)
{
    if (failures++ < 6) {
        tap_note("%s (%llu, %llu)", what, a, b);
    }
}

static void changed(uint32_t first, uint32_t count, int fill, int err)
{
    for (uint32_t s = first; s < first + count; s++) {
        since[s] = true;
        if (err || fill < 0) {
            unsure[s] = true;
        } else {
            now[s] = (uint8_t)fill;
            unsure[s] = false;
        }
    }
}

static void submitted(struct block_request *request)
{
    request->loop = NULL;
}

static int submit(enum block_request_kind kind, uint32_t first, uint32_t count, uint8_t *buffer)
{
    struct iovec iov = {buffer, count * SECTOR};
    struct block_request request = {.kind = kind,
                                    .unmap = true,
                                    .offset = first * SECTOR,
                                    .size = count * SECTOR,
                                    .iov = &iov,
                                    .iov_count = 1,
                                    .done = submitted,
                                    .loop = block_test_loop};

    block_submit(node, &request);
    while (request.loop) {
        loop_iterate(block_test_loop, true);
    }
    return request.result;
}

static void do_write(uint32_t first, uint32_t count, uint8_t fill, unsigned flags)
{
    static uint8_t buffer[SECTORS * SECTOR];

    memset(buffer, fill, count * SECTOR);
    changed(first, count, fill,
            edge && !flags ? submit(BLOCK_WRITE, first, count, buffer)
                           : block_pwrite(node, first * SECTOR, buffer, count * SECTOR, flags));
}

static void do_zero(uint32_t first, uint32_t count)
{
    changed(first, count, 0,
            edge ? submit(BLOCK_ZERO, first, count, NULL)
                 : block_zero(node, first * SECTOR, count * SECTOR, BLOCK_MAY_UNMAP));
}

static void do_discard(uint32_t first, uint32_t count)
{
    changed(first, count, -1,
            edge ? submit(BLOCK_DISCARD, first, count, NULL)
                 : block_discard(node, first * SECTOR, count * SECTOR));
}

static void do_flush(void)
{
    if ((edge ? submit(BLOCK_FLUSH, 0, 0, NULL) : block_flush(node)) == 0) {
        memcpy(flushed, now, sizeof(now));
        memset(since, 0, sizeof(since));
    }
}

/* A bit of everything, the same each time. */
static void work(const struct config *config)
{
    struct block_bitmap_info bitmap = {.name = "b", .granularity = 512, .bytes = SECTORS / 8};
    static uint8_t bits[SECTORS / 8] = {1, 2, 3};
    struct block_snapshot s = {.icount = UINT64_MAX};
    struct block_info info = {0};

    block_get_info(node, &info);
    do_write(3, 5, 1, 0);
    do_write(100, 200, 2, 0);
    do_flush();
    if (config->snapshots) {
        (void)node->driver->snapshot_create(node, &s);
    }
    do_write(150, 3, 3, 0);
    do_zero(190, 40);
    do_write(900, 1, 4, 0);
    if (config->compress) {
        do_write(512, info.cluster_size / SECTOR, 5, BLOCK_COMPRESSED);
        do_write(513, 1, 6, 0);
    }
    do_flush();
    do_discard(256, 128);
    do_flush();
    do_write(260, 100, 7, 0);
    if (config->bitmaps) {
        (void)node->driver->bitmap_store(node, &bitmap, bits, block_test_error,
                                         sizeof(block_test_error));
    }
    if (config->snapshots) {
        (void)node->driver->snapshot_delete(node, s.id, block_test_error, sizeof(block_test_error));
    }
    if (block_truncate(node, (SECTORS + 64) * SECTOR, true, BLOCK_PREALLOC_OFF, block_test_error,
                       sizeof(block_test_error)) == 0) {
        (void)block_truncate(node, SECTORS * SECTOR, true, BLOCK_PREALLOC_OFF, block_test_error,
                             sizeof(block_test_error));
    }
    do_write(0, 2, 8, 0);
}

/* What is there afterwards. `lost`: nothing could be written at the end. */
static void look(const char *path, bool lost, uint64_t request)
{
    static uint8_t bytes[SECTORS * SECTOR];
    struct block_node *after;
    struct block_check check;

    if (block_open_file(&after, path, "qcow2", "cache.no-flush=on", false, block_test_error,
                        sizeof(block_test_error))) {
        fail(block_test_error, request, 0);
        return;
    }
    check = qcow2_test_check(after, 0, false);
    if (check.corruptions || check.check_errors) {
        fail("corruptions after request", request, check.corruptions);
        qcow2_test_check(after, 0, true);
    }
    if (block_pread(after, 0, bytes, sizeof(bytes))) {
        fail("can't be read after request", request, 0);
    }
    for (uint32_t s = 0; s < SECTORS; s++) {
        uint8_t want = lost ? flushed[s] : now[s];

        if (!unsure[s] && !(lost && since[s]) &&
            (bytes[s * SECTOR] != want ||
             memcmp(bytes + s * SECTOR, bytes + s * SECTOR + 1, SECTOR - 1) != 0)) {
            fail("wrong contents after request, sector", request, s);
            tap_note("it has %#x, expected %#x", bytes[s * SECTOR], want);
            break;
        }
    }
    block_unref(after);
}

/* The request-th request fails (and all after it); false when there are not so many. */
static bool once(const struct config *config, const char *path, uint64_t request, bool rest)
{
    struct block_node *filter;
    char name[600];
    uint64_t seen;

    memset(now, 0, sizeof(now));
    memset(flushed, 0, sizeof(flushed));
    memset(unsure, 0, sizeof(unsure));
    memset(since, 0, sizeof(since));
    if (qcow2_test_create(path, SECTORS * SECTOR, config->create, NULL)) {
        fail(block_test_error, request, 0);
        return false;
    }
    snprintf(name, sizeof(name),
             "json:{\"driver\":\"qcow2\",\"discard\":\"unmap\",\"file\":{\"driver\":\"blkdebug\","
             "\"%s\":%llu,\"image\":{\"driver\":\"file\",\"filename\":\"%s\",\"cache\":"
             "{\"no-flush\":true}}}}",
             rest ? "fail-from" : "fail-request", (unsigned long long)request, path);
    if (block_open_file(&node, name, NULL, NULL, false, block_test_error,
                        sizeof(block_test_error))) {
        if (request > 50) {
            fail(block_test_error, request, 0); /* opening does not need so many */
        }
        look(path, true, request);
        return failures == 0;
    }
    filter = node->file->node;
    work(config);
    if (!rest) {
        (void)block_flush(node); /* what failed once is written at last */
    }
    seen = blkdebug_requests(filter);
    block_unref(node);
    look(path, rest, request);
    return failures == 0 && seen >= request;
}

int main(void)
{
    static char path[300];
    int quiet = open("/dev/null", O_WRONLY), errors = dup(2);

    block_test_begin();
    snprintf(path, sizeof(path), "%s", block_test_path("image"));
    for (size_t i = 0; i < 2 * sizeof(configs) / sizeof(configs[0]); i++) {
        const struct config *config = &configs[i / 2];
        uint64_t one = 1, rest = 1;

        failures = 0;
        edge = i % 2;
        dup2(quiet, 2); /* warnings about closing are right */
        while (once(config, path, one, false)) {
            one++;
        }
        while (once(config, path, rest, true)) {
            rest++;
        }
        dup2(errors, 2);
        tap_ok(failures == 0 && one > 20 && rest > 20,
               "%s%s: each of %llu requests may fail, and all from each on", config->name,
               edge ? ", submitted" : "", (unsigned long long)one);
    }
    return block_test_end();
}
