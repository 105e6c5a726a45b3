/*
 * Requests at a node's edge, many at once: those that need nothing but the file go there without a
 * worker, and must keep out of the way of those that allocate, free and move clusters. Each of
 * several users works on sectors of its own, scattered so that users share clusters.
 *
 *     block-qcow2-async [requests [seed]]      longer, by hand
 */
#include "tests/unit/block-qcow2.h"

#define USERS 24
#define BLOCK 1024u
#define SIZE  (4u << 20)

struct user {
    struct block_request request;
    struct iovec iov;
    uint8_t buffer[BLOCK];
    uint8_t *model; /* of the disk; only this user's blocks count */
    unsigned index, left;
    uint64_t random;
};

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
               memcmp(user->buffer, user->model + request->offset, BLOCK) != 0) {
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

static void submit(struct user *user)
{
    struct block_request *r = &user->request;
    uint32_t block =
        qcow2_test_random(&user->random) % (SIZE / BLOCK / USERS) * USERS + user->index;
    uint32_t roll = qcow2_test_random(&user->random) % 32;

    *r = (struct block_request){.kind = roll == 0   ? BLOCK_FLUSH
                                        : roll == 1 ? BLOCK_ZERO
                                        : roll < 12 ? BLOCK_READ
                                                    : BLOCK_WRITE,
                                .offset = (uint64_t)block * BLOCK,
                                .size = BLOCK,
                                .unmap = true,
                                .iov = &user->iov,
                                .iov_count = 1,
                                .done = done,
                                .loop = block_test_loop};
    user->iov = (struct iovec){user->buffer, BLOCK};
    if (r->kind == BLOCK_FLUSH) {
        r->offset = r->size = 0;
    } else if (r->kind == BLOCK_ZERO) {
        memset(user->model + r->offset, 0, BLOCK);
    } else if (r->kind == BLOCK_WRITE) {
        memset(user->buffer, (int)(1 + qcow2_test_random(&user->random) % 255), BLOCK);
        memcpy(user->model + r->offset, user->buffer, BLOCK);
    }
    block_submit(node, r);
}

static void test(const char *create, unsigned requests, uint64_t seed)
{
    static struct user users[USERS];
    uint8_t *model = calloc(1, SIZE), *bytes = malloc(SIZE);
    struct block_snapshot s = {.icount = UINT64_MAX};
    const char *path = block_test_path("image");

    failures = 0;
    qcow2_test_create(path, SIZE, create, NULL);
    node = block_test_open(path, "qcow2", "cache.no-flush=on,discard=unmap");
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
    tap_ok(failures == 0 && qcow2_test_clean(node), "%s: many requests at once", create);
    block_unref(node);
    free(model);
    free(bytes);
}

int main(int argc, char **argv)
{
    unsigned requests = argc > 1 ? (unsigned)atoi(argv[1]) : 6000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

    block_test_begin();
    test("cluster_size=4k", requests, seed);
    test("cluster_size=64k", requests, seed);
    test("extended_l2=on,cluster_size=32k", requests, seed);
    test("lazy_refcounts=on,cluster_size=512", requests, seed);
    return block_test_end();
}
