/*
 * A disk of the host that is really full: a small tmpfs of a mount namespace of our own, and a
 * limit on the size of files, which needs no privilege. Many requests at once write until the host
 * refuses; what was flushed is there, the image is sound, and either it ends so, or there is room
 * again and the same requests succeed.
 */
#include "tests/unit/block-qcow2.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define SIZE   (16u << 20) /* of the disk */
#define BLOCK  (12u << 10) /* of a request; no multiple of a cluster */
#define BLOCKS (SIZE / BLOCK)
#define USERS  8u
#define ROOM   (3u << 20) /* of the host */

struct config {
    const char *name, *format, *create, *open;
};

static const struct config configs[] = {
    {"raw", "raw", NULL, ""},
    {"raw, threads", "raw", NULL, ",\"aio\":\"threads\""},
    {"qcow2", "qcow2", NULL, ""},
    {"qcow2, threads", "qcow2", "cluster_size=4k", ",\"aio\":\"threads\""},
    {"qcow2, lazy counts", "qcow2", "cluster_size=2k,lazy_refcounts=on", ""},
    {"qcow2, extended L2", "qcow2", "cluster_size=64k,extended_l2=on", ""},
};

/* A way to be full. */
struct host {
    const char *name;
    int error;
    bool (*limit)(uint64_t bytes);
};

struct user {
    struct block_request request;
    struct iovec iov;
    unsigned block;
    uint8_t fill;
    bool done;
    uint8_t data[BLOCK];
};

static struct user users[USERS];
static uint8_t now[BLOCKS], flushed[BLOCKS]; /* fillings */
static bool failed[BLOCKS];                  /* and has not been written since */
static struct block_node *node;
static const char *problem;
static char mount_point[300];

/* ---- the host ---- */

static bool limit_tmpfs(uint64_t bytes)
{
    char options[40];

    snprintf(options, sizeof(options), "size=%llu", (unsigned long long)bytes);
    return mount("none", mount_point, "tmpfs", MS_REMOUNT, options) == 0;
}

static bool limit_files(uint64_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);

    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0) {
            perror(path);
        }
        close(fd);
    }
}

/* As root, or as an ordinary user whom the host lets be root of a namespace. */
static bool enter_tmpfs(void)
{
    char uids[60], gids[60];

    snprintf(uids, sizeof(uids), "0 %u 1", getuid());
    snprintf(gids, sizeof(gids), "0 %u 1", getgid());
    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            return false;
        }
        put("/proc/self/setgroups", "deny");
        put("/proc/self/uid_map", uids);
        put("/proc/self/gid_map", gids);
    }
    snprintf(mount_point, sizeof(mount_point), "%s", block_test_folder);
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", mount_point, "tmpfs", 0, "size=64M") == 0;
}

static const struct host hosts[] = {
    {"size of files", EFBIG, limit_files},
    {"tmpfs", ENOSPC, limit_tmpfs},
};

/* ---- requests ---- */

static void wrong(const char *what)
{
    problem = problem ? problem : what;
}

static void done(struct block_request *request)
{
    ((struct user *)request)->done = true;
}

static void start(struct user *u, unsigned block, uint8_t fill)
{
    u->block = block;
    u->fill = fill;
    u->done = false;
    memset(u->data, fill, BLOCK);
    u->iov = (struct iovec){u->data, BLOCK};
    u->request = (struct block_request){.kind = BLOCK_WRITE,
                                        .offset = (uint64_t)block * BLOCK,
                                        .size = BLOCK,
                                        .iov = &u->iov,
                                        .iov_count = 1,
                                        .done = done,
                                        .loop = block_test_loop};
    block_submit(node, &u->request);
}

/* Waits for all; how many failed. */
static unsigned join(const struct host *host)
{
    unsigned count = 0;

    for (unsigned i = 0; i < USERS; i++) {
        struct user *u = &users[i];

        while (!u->done) {
            loop_iterate(block_test_loop, true);
        }
        if (u->request.result == 0) {
            now[u->block] = u->fill;
            failed[u->block] = false;
        } else {
            failed[u->block] = true;
            count++;
            if (u->request.result != -host->error) {
                tap_note("a write ends with %s", strerror(-u->request.result));
                wrong("another error");
            }
        }
    }
    return count;
}

static int flush(void)
{
    int err = block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH});

    if (!err) {
        memcpy(flushed, now, sizeof(now));
    }
    return err;
}

/* Scattered, and each block once; the number of blocks that were tried. */
static unsigned write_until_full(const struct host *host)
{
    unsigned tried = 0, failures = 0;

    for (unsigned round = 0; failures < 3 && tried + USERS <= BLOCKS; round++) {
        for (unsigned i = 0; i < USERS; i++, tried++) {
            start(&users[i], tried * 619 % BLOCKS, (uint8_t)(1 + tried % 250));
        }
        failures += join(host) != 0;
        if (round % 3 == 2) {
            (void)flush();
        }
    }
    if (failures < 3) {
        wrong("the disk does not get full");
    }
    return tried;
}

/* ---- looking ---- */

static int open_image(const struct config *config, const char *path, bool readonly)
{
    char name[600];

    snprintf(name, sizeof(name),
             "json:{\"driver\":\"%s\",\"read-only\":%s,\"file\":{\"driver\":\"file\","
             "\"filename\":\"%s\"%s}}",
             config->format, readonly ? "true" : "false", path, config->open);
    return block_open_file(&node, name, NULL, NULL, readonly, block_test_error,
                           sizeof(block_test_error));
}

static void compare(bool exact)
{
    static uint8_t bytes[BLOCK];

    for (unsigned b = 0; b < BLOCKS; b++) {
        if (block_pread(node, (uint64_t)b * BLOCK, bytes, BLOCK)) {
            wrong("can't be read");
            return;
        }
        for (unsigned i = 0; i < BLOCK; i += 512) {
            bool good = bytes[i] == now[b] || (!exact && (bytes[i] == flushed[b] || failed[b]));

            if (!good || memcmp(bytes + i, bytes + i + 1, 511) != 0) {
                tap_note("block %u has %#x at %u, expected %#x (%#x was flushed)", b, bytes[i], i,
                         now[b], flushed[b]);
                wrong("wrong contents");
                return;
            }
        }
    }
}

static void check(bool leaks)
{
    struct block_check c = {0};

    if (node->driver->check) {
        c = qcow2_test_check(node, 0, problem == NULL);
    }
    if (c.corruptions || c.check_errors || (leaks && c.leaks)) {
        wrong("not sound");
    }
}

static void look(const struct config *config, const char *path, bool exact)
{
    /* For writing: what is dirty is repaired, if that is possible. */
    if (open_image(config, path, false) == 0) {
        check(exact);
        compare(exact);
        block_unref(node);
    } else if (exact || open_image(config, path, true)) {
        wrong(block_test_error);
    } else {
        compare(exact);
        block_unref(node);
    }
}

/* ---- one test ---- */

static void fill_up(const struct config *config, const struct host *host, bool room)
{
    const char *path = block_test_file("image", strcmp(config->format, "raw") == 0 ? SIZE : 0);
    unsigned tried;

    problem = NULL;
    memset(now, 0, sizeof(now));
    memset(flushed, 0, sizeof(flushed));
    memset(failed, 0, sizeof(failed));
    if ((strcmp(config->format, "raw") != 0 &&
         qcow2_test_create(path, SIZE, config->create, NULL)) ||
        open_image(config, path, false)) {
        tap_ok(false, "%s: %s", config->name, block_test_error);
        return;
    }
    if (!host->limit(ROOM)) {
        wrong("the host can't be limited");
    }
    tried = write_until_full(host);
    if (room) {
        host->limit(UINT64_C(64) << 20);
        for (unsigned t = 0; t < tried; t += USERS) {
            for (unsigned i = 0; i < USERS; i++) {
                /* Those that are there are written over. */
                start(&users[i], (t + i) * 619 % BLOCKS, (uint8_t)(1 + (t + i) % 251));
            }
            if (join(host)) {
                wrong("a write fails again with room");
            }
        }
        if (flush()) {
            wrong("a flush fails with room");
        }
    }
    block_unref(node);
    look(config, path, room);
    host->limit(UINT64_C(64) << 20);
    look(config, path, room);
    tap_ok(!problem, "%s: %s: full after %u blocks%s%s%s", host->name, config->name, tried,
           room ? ", and then there is room" : "", problem ? ": " : "", problem ? problem : "");
    unlink(path);
}

int main(void)
{
    int quiet = open("/dev/null", O_WRONLY), errors = dup(2);
    bool namespace;

    block_test_begin();
    signal(SIGXFSZ, SIG_IGN); /* as the programs do */
    namespace = enter_tmpfs();
    for (size_t h = 0; h < sizeof(hosts) / sizeof(hosts[0]); h++) {
        if (hosts[h].limit == limit_tmpfs && !namespace) {
            printf("ok - a full tmpfs # SKIP mount namespaces are not allowed here\n");
            continue;
        }
        for (size_t c = 0; c < sizeof(configs) / sizeof(configs[0]); c++) {
            /* The size of a raw file is there from the beginning. */
            if (hosts[h].limit == limit_files && strcmp(configs[c].format, "raw") == 0) {
                continue;
            }
            dup2(quiet, 2); /* warnings about closing are right */
            fill_up(&configs[c], &hosts[h], false);
            fill_up(&configs[c], &hosts[h], true);
            dup2(errors, 2);
        }
    }
    if (namespace) {
        umount2(mount_point, MNT_DETACH);
    }
    return block_test_end();
}
