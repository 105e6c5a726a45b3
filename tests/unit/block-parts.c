/* The small parts of io/block: views of scattered bytes, range locks, flat options. */
#include "io/block/options.h"
#include "io/block/range-lock.h"
#include "io/block/vec.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

static void views(void)
{
    uint8_t bytes[100], out[100], flat[100];
    struct iovec iov[] = {{bytes, 10},      {bytes + 10, 0},  {bytes + 10, 1}, {bytes + 11, 0},
                          {bytes + 11, 49}, {bytes + 60, 40}, {bytes + 100, 0}};
    struct block_vec all = {.iov = iov, .size = 100};
    struct iovec exported[8];
    bool good = true;

    for (unsigned i = 0; i < 100; i++) {
        bytes[i] = flat[i] = (uint8_t)(i + 1);
    }
    for (unsigned from = 0; from < 100; from++) {
        for (unsigned to = from; to <= 100; to++) {
            struct block_vec part = block_vec_part(&all, from, to - from);
            size_t covered;
            unsigned n = block_vec_export(&part, exported, 8, &covered);
            size_t total = 0;

            block_vec_get(&part, 0, out, part.size);
            good &= memcmp(out, flat + from, to - from) == 0 && covered == to - from;
            for (unsigned i = 0; i < n; i++) {
                good &= memcmp(exported[i].iov_base, flat + from + total, exported[i].iov_len) == 0;
                total += exported[i].iov_len;
            }
            good &= total == to - from;
            if (to > from + 2) {
                struct block_vec inner = block_vec_part(&part, 1, part.size - 2);

                block_vec_get(&inner, 0, out, inner.size);
                good &= memcmp(out, flat + from + 1, inner.size) == 0;
            }
        }
    }
    tap_ok(good, "parts of parts are where they belong");
    tap_eq(block_vec_export(&all, exported, 2, NULL), 2, "an export takes what there is room for");

    struct block_vec in_one = block_vec_part(&all, 20, 30), in_two = block_vec_part(&all, 50, 20);

    tap_ok(block_vec_flat(&in_one) == bytes + 20, "a part in one piece has an address");
    tap_ok(!block_vec_flat(&in_two), "one in two has not");
    memset(flat, 0xaa, sizeof(flat));
    block_vec_put(&all, 5, flat, 60);
    tap_ok(bytes[4] == 5 && bytes[5] == 0xaa && bytes[64] == 0xaa && bytes[65] == 66,
           "bytes are put where they belong");
    block_vec_fill(&all, 0, 0, 100);
    tap_ok(block_vec_is_zero(&all), "all zeros are found");
    bytes[99] = 1;
    tap_ok(!block_vec_is_zero(&all), "and a last one that is none");
}

static struct range_locks locks;
static unsigned step;

static void *second(void *opaque)
{
    struct range_lock lock;

    range_lock_acquire(&locks, &lock, 50, 100, true);
    tap_eq(__atomic_load_n(&step, __ATOMIC_SEQ_CST), 1, "a waiter waits");
    range_lock_release(&locks, &lock);
    return NULL;
}

static void ranges(void)
{
    struct range_lock a, b, c;
    pthread_t thread;

    range_locks_init(&locks);
    range_lock_acquire(&locks, &a, 0, 100, false);
    tap_ok(range_lock_try(&locks, &b, 50, 100, false), "shared locks overlap");
    tap_ok(!range_lock_try(&locks, &c, 99, 1, true), "an exclusive one does not");
    tap_ok(range_lock_try(&locks, &c, 150, 10, true), "next to them there is room");
    range_lock_release(&locks, &c);
    range_lock_release(&locks, &b);
    pthread_create(&thread, NULL, second, NULL);
    usleep(1000);
    __atomic_store_n(&step, 1, __ATOMIC_SEQ_CST);
    range_lock_release(&locks, &a);
    pthread_join(thread, NULL);
    tap_ok(range_lock_try(&locks, &c, 0, UINT64_MAX, true), "in the end nothing is held");
    range_lock_release(&locks, &c);
    range_locks_destroy(&locks);
}

static unsigned inside, overlaps;
static pthread_mutex_t inside_lock = PTHREAD_MUTEX_INITIALIZER;

/* Only exclusive locks of one byte each: never two threads inside. */
static void *contend(void *opaque)
{
    for (unsigned i = 0; i < 2000; i++) {
        struct range_lock lock;

        range_lock_acquire(&locks, &lock, 7, 1, true);
        pthread_mutex_lock(&inside_lock);
        overlaps += inside++ != 0;
        pthread_mutex_unlock(&inside_lock);
        pthread_mutex_lock(&inside_lock);
        inside--;
        pthread_mutex_unlock(&inside_lock);
        range_lock_release(&locks, &lock);
    }
    return NULL;
}

static void contention(void)
{
    pthread_t thread[4];

    range_locks_init(&locks);
    for (unsigned i = 0; i < 4; i++) {
        pthread_create(&thread[i], NULL, contend, NULL);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
    }
    tap_eq(overlaps, 0, "exclusive locks exclude");
    range_locks_destroy(&locks);
}

static void is(const struct block_options *o, const char *name, const char *value)
{
    const char *got = NULL;

    if (tap_ok(block_options_get(o, name, &got), "there is %s", name)) {
        tap_str(got ? got : "(null)", value, name);
    }
}

static void options(void)
{
    struct block_options o = {0}, child = {0};
    char error[200];

    tap_eq((unsigned)-block_options_from_text(&o, "a=b,c.d=e=f,g,h=x,,y,i=", error, sizeof(error)),
           0, "text");
    is(&o, "a", "b");
    is(&o, "c.d", "e=f");
    is(&o, "g", "on");
    is(&o, "h", "x,y");
    is(&o, "i", "");
    tap_eq((unsigned)-block_options_from_text(&o, "=b", error, sizeof(error)), EINVAL,
           "a name is needed");
    tap_eq((unsigned)-block_options_from_json_text(
               &o,
               "{\"a\": 17, \"n\": null, \"file\": {\"driver\": \"x\", \"l\": [true, {\"q\": "
               "false}]}}",
               error, sizeof(error)),
           0, "JSON");
    is(&o, "a", "17");
    is(&o, "n", "(null)");
    is(&o, "file.l.0", "on");
    is(&o, "file.l.1.q", "off");
    tap_ok(block_options_has_prefix(&o, "file.") && !block_options_has_prefix(&o, "files."),
           "prefixes");
    block_options_split(&o, "file.", &child);
    tap_ok(!block_options_has_prefix(&o, "file."), "what is split off is gone");
    is(&child, "driver", "x");
    tap_eq(child.count, 3, "and is all there");
    block_options_remove(&child, "driver");
    tap_ok(!block_options_get(&child, "driver", NULL), "removed");
    tap_eq((unsigned)-block_options_from_json_text(&o, "[1]", error, sizeof(error)), EINVAL,
           "an array is refused");
    tap_eq((unsigned)-block_options_from_json_text(&o, "{\"a\":1,\"a\":2}", error, sizeof(error)),
           EINVAL, "so are two of a name");

    char deep[500] = "";

    for (unsigned i = 0; i < 50; i++) {
        strcat(deep, "{\"a\":");
    }
    strcat(deep, "1");
    for (unsigned i = 0; i < 50; i++) {
        strcat(deep, "}");
    }
    tap_eq((unsigned)-block_options_from_json_text(&o, deep, error, sizeof(error)), E2BIG,
           "so is what is too deep");
    block_options_clear(&o);
    block_options_clear(&child);
}

int main(void)
{
    views();
    ranges();
    contention();
    options();
    return tap_done();
}
