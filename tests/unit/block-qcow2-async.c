/*
 * Requests at a node's edge, many at once: those that need nothing but the file go there without a
 * worker, and must keep out of the way of those that allocate, free and move clusters. Each of
 * several users works on stripes of its own, scattered so that users share clusters; where stripes
 * are larger than clusters, requests lie in several pieces. Some images have a backing file, some
 * files want whole pages, and some have their data scattered over memory.
 *
 *     block-qcow2-async [requests [seed]]      longer, by hand
 */
#include "tests/unit/block-qcow2.h"

#define USERS  24
#define SECTOR 512u
#define MOST   (48u << 10) /* bytes of a stripe */
#define PIECES 5
#define SIZE   (6u << 20)

struct config {
    const char *create;
    uint32_t stripe;  /* bytes that belong to one user */
    uint32_t align;   /* of the file; 0: any */
    uint32_t backing; /* size of the backing file; 0: none */
};

static const struct config configs[] = {
    {"cluster_size=4k", 1024, 0, 0},
    {"cluster_size=64k", 1024, 0, 0},
    {"extended_l2=on,cluster_size=32k", 1024, 0, 0},
    {"lazy_refcounts=on,cluster_size=512", 1024, 0, 0},
    {"cluster_size=4k,refcount_bits=64", 24 << 10, 0, 0},
    {"cluster_size=2k,compat=0.10", 24 << 10, 0, 3 << 20},
    {"cluster_size=64k", 2048, 0, (3 << 20) + 12800},
    {"cluster_size=32k", 48 << 10, 4096, (3 << 20) + 512},
    {"cluster_size=64k", 8192, 4096, 0},
    {"extended_l2=on,cluster_size=64k", 6 << 10, 4096, 4 << 20},
    {"cluster_size=512k", 16 << 10, 0, 5 << 20},
};

struct user {
    struct block_request request;
    struct iovec iov[PIECES];
    _Alignas(4096) uint8_t buffer[MOST];
    uint8_t *model; /* of the disk; only this user's stripes count */
    unsigned index, left;
    uint64_t random;
};

static const struct config *config;
static struct block_node *node;
static unsigned running, failures;

static void submit(struct user *user);

static void done(struct block_request *request)
{
    struct user *user = (struct user *)request;

    if (request->result) {
        if (failures++ < 5) {
            tap_note("request of kind %d: %s", request->kind, strerror(-request->result));
        }
    } else if (request->kind == BLOCK_READ &&
               memcmp(user->buffer, user->model + request->offset, request->size) != 0) {
        if (failures++ < 5) {
            tap_note("user %u reads something else at %#llx: %#x, not %#x", user->index,
                     (unsigned long long)request->offset, user->buffer[0],
                     user->model[request->offset]);
        }
    }
    if (--user->left) {
        submit(user);
    } else {
        running--;
    }
}

/* The buffer in up to PIECES parts of sectors, or of half of them. */
static unsigned scatter(struct user *user, uint32_t size)
{
    uint32_t at = 0, unit = qcow2_test_random(&user->random) % 2 ? SECTOR : SECTOR / 2;
    unsigned n = 0;

    while (at < size) {
        uint32_t left = (size - at) / unit, most = left / 2 + 1;
        uint32_t count =
            n == PIECES - 1 || left == 1 ? left : 1 + qcow2_test_random(&user->random) % most;

        user->iov[n++] = (struct iovec){user->buffer + at, count * unit};
        at += count * unit;
    }
    return n;
}

/* A part of one of the user's stripes. */
static void choose(struct user *user, struct block_request *r)
{
    uint32_t stripes = SIZE / config->stripe / USERS, sectors = config->stripe / SECTOR;
    uint32_t stripe = qcow2_test_random(&user->random) % stripes * USERS + user->index;
    uint32_t first = qcow2_test_random(&user->random) % sectors;
    uint32_t count = 1 + qcow2_test_random(&user->random) % (sectors - first);

    if (qcow2_test_random(&user->random) % 4 == 0) {
        first = 0;
        count = sectors;
    }
    r->offset = (uint64_t)stripe * config->stripe + first * SECTOR;
    r->size = count * SECTOR;
}

static void submit(struct user *user)
{
    struct block_request *r = &user->request;
    uint32_t roll = qcow2_test_random(&user->random) % 32;

    *r = (struct block_request){.kind = roll == 0   ? BLOCK_FLUSH
                                        : roll == 1 ? BLOCK_ZERO
                                        : roll < 12 ? BLOCK_READ
                                                    : BLOCK_WRITE,
                                .fua = roll == 31,
                                .unmap = true,
                                .iov = user->iov,
                                .done = done,
                                .loop = block_test_loop};
    if (r->kind != BLOCK_FLUSH) {
        choose(user, r);
        r->iov_count = scatter(user, (uint32_t)r->size);
    }
    if (r->kind == BLOCK_ZERO) {
        memset(user->model + r->offset, 0, r->size);
    } else if (r->kind == BLOCK_WRITE) {
        block_test_pattern(user->buffer, r->size, qcow2_test_random(&user->random));
        memcpy(user->model + r->offset, user->buffer, r->size);
    }
    block_submit(node, r);
}

/* Makes the image, and fills the model with what it shows. */
static void prepare(uint8_t *model)
{
    const char *path = block_test_path("image"), *backing = NULL;
    char name[600];

    memset(model, 0, SIZE);
    if (config->backing) {
        struct block_node *base;

        backing = block_test_path("base");
        qcow2_test_create(backing, config->backing, "cluster_size=4k", NULL);
        base = block_test_open(backing, "qcow2", "cache.no-flush=on");
        /* some of it is not there, or zeros */
        for (uint32_t at = 0; at < config->backing / 2; at += 40 << 10) {
            block_test_pattern(model + at, 20 << 10, at);
            if (block_pwrite(base, at, model + at, 20 << 10, 0)) {
                failures++;
            }
        }
        block_test_pattern(model + config->backing / 2, config->backing - config->backing / 2, 1);
        if (block_pwrite(base, config->backing / 2, model + config->backing / 2,
                         config->backing - config->backing / 2, 0)) {
            failures++;
        }
        block_unref(base);
    }
    if (qcow2_test_create(path, SIZE, config->create, backing)) {
        failures++;
    }
    snprintf(name, sizeof(name),
             "json:{\"driver\":\"qcow2\",\"discard\":\"unmap\",\"file\":{\"driver\":\"%s\","
             "%s\"filename\":\"%s\",\"cache\":{\"no-flush\":true}%s}}",
             config->align ? "blkdebug" : "file",
             config->align ? "\"align\":4096,\"image\":{\"driver\":\"file\"," : "", path,
             config->align ? "}" : "");
    node = block_test_open(name, NULL, NULL);
}

static void test(unsigned requests, uint64_t seed)
{
    static struct user users[USERS];
    uint8_t *model = calloc(1, SIZE), *bytes = malloc(SIZE);
    struct block_snapshot s = {.icount = UINT64_MAX};

    failures = 0;
    prepare(model);
    for (unsigned round = 0; round < 3; round++) {
        running = USERS;
        for (unsigned i = 0; i < USERS; i++) {
            users[i].model = model;
            users[i].index = i;
            users[i].left = requests / USERS + 1;
            users[i].random = seed + i + round * 1000;
            submit(&users[i]);
        }
        while (running) {
            loop_iterate(block_test_loop, true);
        }
        /* Everything is shared now, and is written anew in the next round. */
        memset(s.id, 0, sizeof(s.id));
        if (node->driver->snapshot_create(node, &s)) {
            failures++;
        }
    }
    if (block_pread(node, 0, bytes, SIZE) || memcmp(bytes, model, SIZE) != 0) {
        failures++;
    }
    tap_ok(failures == 0 && qcow2_test_clean(node),
           "%s, stripes of %u, alignment %u, %u bytes of backing file: many requests at once",
           config->create, config->stripe, config->align, config->backing);
    block_unref(node);
    free(model);
    free(bytes);
}

int main(int argc, char **argv)
{
    unsigned requests = argc > 1 ? (unsigned)atoi(argv[1]) : 6000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    block_test_begin();
    for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
        config = &configs[i];
        test(requests, seed);
    }
    return block_test_end();
}
