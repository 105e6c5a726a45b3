/* Filters and what the edge does besides transfers: faults, records, limits, statistics. */
#include "io/block/blkdebug.h"
#include "io/block/record.h"
#include "io/block/stats.h"
#include "io/block/throttle.h"
#include "tests/unit/block.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *json(const char *format, const char *path)
{
    static char text[1000];

    snprintf(text, sizeof(text), format, path);
    return text;
}

static unsigned entries(const struct block_node *node, enum block_request_kind kind, bool fua)
{
    unsigned n = 0;

    for (size_t i = 0; i < record_count(node); i++) {
        const struct record_entry *e = record_get(node, i);

        n += !e->resize && e->kind == kind && e->fua == fua;
    }
    return n;
}

/* What reaches the file, for each mode of the cache. */
static void flushes(const char *options, unsigned plain, unsigned fua, unsigned flushed)
{
    const char *path = block_test_file("flush", 65536);
    char all[300];
    uint8_t buffer[512] = {1};

    snprintf(all, sizeof(all), "file.driver=record,file.file.driver=file,file.file.filename=%s,%s",
             path, options);
    struct block_node *node = block_test_open(NULL, "raw", all);
    struct block_node *record = node->file->node;
    struct iovec iov = {.iov_base = buffer, .iov_len = 512};

    block_test_io(node, BLOCK_WRITE, 0, buffer, 512);
    block_test_run(node,
                   (struct block_request){
                       .kind = BLOCK_WRITE, .fua = true, .size = 512, .iov = &iov, .iov_count = 1});
    block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH});
    block_test_run(node, (struct block_request){.kind = BLOCK_ZERO, .size = 512});
    tap_eq(entries(record, BLOCK_WRITE, false) + entries(record, BLOCK_ZERO, false), plain,
           "writes that a flush has to cover");
    tap_eq(entries(record, BLOCK_WRITE, true) + entries(record, BLOCK_ZERO, true), fua,
           "writes that go through");
    tap_eq(entries(record, BLOCK_FLUSH, false), flushed, "flushes");
    block_unref(node);
}

static void replay(void)
{
    const char *path = block_test_file("replay", 8192);
    struct block_node *node = block_test_open(
        json("json:{\"driver\":\"record\",\"file\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
             path),
        NULL, NULL);
    uint8_t buffer[4096], got[8192];
    unsigned survived = 0;

    memset(buffer, 1, sizeof(buffer));
    block_pwrite(node, 0, buffer, 4096, 0);
    block_flush(node);
    memset(buffer, 2, sizeof(buffer));
    block_pwrite(node, 4096, buffer, 4096, 0);
    block_pwrite(node, 0, buffer, 512, BLOCK_FUA);
    tap_eq(record_count(node), 4, "everything is recorded");

    const char *copy = block_test_file("replayed", 8192);

    tap_eq((unsigned)-record_replay(node, 4, 7, copy), 0, "replay");
    int fd = open(copy, O_RDONLY);

    tap_ok(pread(fd, got, sizeof(got), 0) == sizeof(got), "the replayed file");
    close(fd);
    tap_ok(got[0] == 2 && got[511] == 2, "has what was written with FUA");
    tap_ok(got[512] == 1 && got[4095] == 1, "has what was flushed");
    for (unsigned i = 0; i < 8; i++) {
        survived += got[4096 + i * 512] == 2;
    }
    tap_ok(survived > 0 && survived < 8, "has some of what was not (%u of 8)", survived);
    copy = block_test_file("replayed", 8192);
    record_replay(node, 1, 1, copy);
    record_replay(node, 1, 2, copy);
    record_replay(node, 2, 3, copy);
    fd = open(copy, O_RDONLY);
    tap_ok(pread(fd, got, sizeof(got), 0) == sizeof(got) && got[0] == 1 && got[4096] == 0,
           "a prefix is replayed as a prefix");
    close(fd);
    block_unref(node);
}

static void faults(void)
{
    const char *path = block_test_file("fault", 65536);
    uint8_t buffer[1024] = {1};
    struct block_node *node = block_test_open(
        json("json:{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"file\",\"filename\":\"%s\"},"
             "\"inject-error\":[{\"event\":\"read_aio\",\"iotype\":\"read\",\"errno\":28,"
             "\"sector\":4,\"once\":true},{\"event\":\"flush_to_disk\",\"errno\":5,\"state\":2}],"
             "\"set-state\":[{\"event\":\"write_aio\",\"state\":1,\"new_state\":2}]}",
             path),
        NULL, NULL);

    tap_eq((unsigned)-block_test_io(node, BLOCK_READ, 0, buffer, 1024), 0,
           "elsewhere reading works");
    tap_eq((unsigned)-block_test_io(node, BLOCK_READ, 1536, buffer, 1024), ENOSPC,
           "at the sector it fails");
    tap_eq((unsigned)-block_test_io(node, BLOCK_READ, 1536, buffer, 1024), 0, "once");
    tap_eq((unsigned)-block_flush(node), 0, "in the first state flushing works");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, 1024), 0, "a write");
    tap_eq((unsigned)-block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH}), EIO,
           "makes the second state, where it fails");
    tap_eq(blkdebug_requests(node), 6, "requests are counted");
    block_unref(node);

    node = block_test_open(json("json:{\"driver\":\"blkdebug\",\"fail-request\":2,\"fail-from\":4,"
                                "\"image\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
                                path),
                           NULL, NULL);
    const unsigned expected[] = {0, EIO, 0, EIO, EIO};

    for (unsigned i = 0; i < 5; i++) {
        tap_eq((unsigned)-block_pwrite(node, 0, buffer, 512, 0), expected[i],
               "requests fail by number");
    }
    block_unref(node);

    struct block_node *none;

    tap_ok(block_open_file(&none,
                           json("json:{\"driver\":\"blkdebug\",\"inject-error\":[{\"event\":"
                                "\"lunch\"}],\"image\":{\"driver\":\"file\",\"filename\":\"%s\"}}",
                                path),
                           NULL, NULL, false, block_test_error, sizeof(block_test_error)) < 0 &&
               strstr(block_test_error, "event=lunch: expected"),
           "an event that is not known: %s", block_test_error);
}

/* FUA where the driver below has none is a flush. */
static void statistics(void)
{
    struct block_node *node = block_test_open(NULL, "null-co", "size=1M,read-zeroes=on");
    static const uint64_t boundary[] = {1, 10000000000};
    static const uint64_t wrong[] = {10, 10};
    struct block_histogram h;
    struct block_stats stats;
    uint8_t buffer[4096];

    block_get_stats(node, &stats);
    tap_ok(stats.idle == -1, "nothing has been done");
    tap_eq((unsigned)-block_set_histogram(node, BLOCK_READ, wrong, 2), EINVAL,
           "boundaries must ascend");
    tap_eq((unsigned)-block_set_histogram(node, BLOCK_READ, boundary, 2), 0, "a histogram");
    memset(buffer, 1, sizeof(buffer));
    block_test_io(node, BLOCK_READ, 0, buffer, 4096);
    tap_ok(buffer[0] == 0 && buffer[4095] == 0, "read-zeroes=on gives zeros");
    block_test_io(node, BLOCK_READ, 4096, buffer, 4096);
    block_test_io(node, BLOCK_READ, 1 << 20, buffer, 512);
    block_test_io(node, BLOCK_WRITE, 8192, buffer, 512);
    block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH});
    block_get_stats(node, &stats);
    tap_eq(stats.kind[BLOCK_READ].operations, 2, "reads");
    tap_eq(stats.kind[BLOCK_READ].bytes, 8192, "their bytes");
    tap_eq(stats.kind[BLOCK_READ].invalid, 1, "and one that was wrong");
    tap_eq(stats.kind[BLOCK_WRITE].bytes, 512, "written bytes");
    tap_eq(stats.kind[BLOCK_FLUSH].operations, 1, "flushes");
    tap_eq(stats.highest, 8704, "the highest written byte");
    tap_ok(stats.idle >= 0 && stats.kind[BLOCK_READ].time > 0, "times");
    tap_ok(block_get_histogram(node, BLOCK_READ, &h) && h.bin[0] + h.bin[1] + h.bin[2] == 2 &&
               h.bin[1] == 2,
           "the histogram has both");
    tap_ok(!block_get_histogram(node, BLOCK_WRITE, &h), "writes have none");
    block_set_histogram(node, BLOCK_READ, NULL, 0);
    tap_ok(!block_get_histogram(node, BLOCK_READ, &h), "it can be removed");
    block_unref(node);
}

static unsigned waiting;

static void one_done(struct block_request *request)
{
    waiting--;
}

static int64_t burst(struct block_node *node, unsigned count, bool drain)
{
    static struct block_request requests[64];
    static uint8_t buffer[4096];
    struct iovec iov = {.iov_base = buffer, .iov_len = sizeof(buffer)};
    int64_t start = loop_clock_now(LOOP_CLOCK_REALTIME);

    for (unsigned i = 0; i < count; i++) {
        requests[i] = (struct block_request){.kind = i % 2 ? BLOCK_READ : BLOCK_WRITE,
                                             .size = 4096,
                                             .iov = &iov,
                                             .iov_count = 1,
                                             .loop = block_test_loop,
                                             .done = one_done};
        waiting++;
        block_submit(node, &requests[i]);
    }
    if (drain) {
        block_drain(node);
    }
    while (waiting) {
        loop_iterate(block_test_loop, true);
    }
    return loop_clock_now(LOOP_CLOCK_REALTIME) - start;
}

static void limits(void)
{
    struct throttle_group *group, *same;
    struct block_node *node = block_test_open(NULL, "null-co", "size=1M"), *filter;
    char text[200];

    tap_eq((unsigned)-throttle_group_get(&group, "g", NULL, block_test_error,
                                         sizeof(block_test_error)),
           ENOENT, "a group is made by options");
    tap_eq((unsigned)-throttle_group_get(&group, "g", "iops-total=10,iops-read=5", block_test_error,
                                         sizeof(block_test_error)),
           EINVAL, "a total and a part is too much");
    tap_eq((unsigned)-throttle_group_get(&group, "g", "bps-total-max=10", block_test_error,
                                         sizeof(block_test_error)),
           EINVAL, "a burst needs an average");
    tap_eq((unsigned)-throttle_group_get(&group, "g", "speed=10", block_test_error,
                                         sizeof(block_test_error)),
           ENOENT, "a limit that is not known");
    tap_eq((unsigned)-throttle_group_get(&group, "g", "iops-total=100", block_test_error,
                                         sizeof(block_test_error)),
           0, "a group");
    tap_ok(throttle_group_get(&same, "g", NULL, block_test_error, sizeof(block_test_error)) == 0 &&
               same == group,
           "has a name");
    throttle_group_put(same);
    tap_ok(throttle_group_describe(group, text, sizeof(text)) == 0 &&
               strcmp(text, "iops-total=100") == 0,
           "and limits: %s", text);

    /* 10 fill the bucket of a tenth of a second, one may be above it, each further takes 10 ms. */
    block_set_throttle(node, group);
    tap_ok(burst(node, 31, false) >= 190 * INT64_C(1000000), "a limited disk is not faster");
    block_set_throttle(node, NULL);

    filter = block_test_open(NULL, "throttle", "throttle-group=g,file.driver=null-co,file.size=1M");
    tap_ok(burst(filter, 31, false) >= 190 * INT64_C(1000000), "nor is one below a filter");
    throttle_group_get(&same, "g", "iops-total=1", block_test_error, sizeof(block_test_error));
    throttle_group_put(same);
    burst(filter, 40, true);
    tap_ok(true, "draining does not wait for limits");
    block_unref(filter);
    throttle_group_put(group);
    block_unref(node);
}

static void no_space(void)
{
    pid_t child = fork();

    if (child == 0) {
        uint8_t *buffer = calloc(1, 1 << 20);
        const char *folder = block_test_path("small");
        int expected = ENOSPC;

        memset(buffer, 1, 1 << 20);
        mkdir(folder, 0755);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", folder, "tmpfs", 0, "size=1m") < 0) {
            struct rlimit limit = {1 << 20, 1 << 20};

            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &limit);
            expected = EFBIG;
        }
        const char *path = block_test_path("small/disk");
        int fd = open(path, O_RDWR | O_CREAT, 0644);

        if (fd < 0 || (expected == ENOSPC && ftruncate(fd, 8 << 20) < 0)) {
            _exit(2);
        }
        struct block_node *node = block_test_open(path, "file", "aio=threads");
        int err = 0;

        for (unsigned i = 0; i < 8 && !err; i++) {
            err = block_pwrite(node, (uint64_t)i << 20, buffer, 1 << 20, 0);
        }
        _exit(err == -expected ? 0 : 1);
    }
    int status;

    waitpid(child, &status, 0);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a full disk is said to be full");
    tap_ok(block_error_action(BLOCK_ERROR_ENOSPC, -ENOSPC) == BLOCK_ERROR_STOP &&
               block_error_action(BLOCK_ERROR_ENOSPC, -EIO) == BLOCK_ERROR_REPORT &&
               block_error_action(BLOCK_ERROR_IGNORE, -EIO) == BLOCK_ERROR_IGNORE,
           "policies");
}

int main(void)
{
    block_test_begin();
    no_space(); /* forks: before there are workers */
    flushes("cache=writeback", 2, 1, 1);
    flushes("cache=none", 2, 1, 1);
    flushes("cache=writethrough", 0, 3, 1);
    flushes("cache=directsync", 0, 3, 1);
    replay();
    faults();
    statistics();
    limits();
    return block_test_end();
}
