/* Files, raw images and the edge: alignment, bounds, cache modes, locks, sizes. */
#include "tests/unit/block.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define MIB (1u << 20)

static uint8_t *image; /* what the file should hold */

static void check_against_image(const char *path, size_t size, const char *what)
{
    uint8_t *got = malloc(size);
    int fd = open(path, O_RDONLY);

    tap_ok(fd >= 0 && pread(fd, got, size, 0) == (ssize_t)size && memcmp(got, image, size) == 0,
           "%s", what);
    close(fd);
    free(got);
}

/* Random writes and reads of any alignment, half by requests and half blocking. */
static void random_io(const char *options, bool sectors)
{
    const char *path = block_test_file("random", MIB);
    struct block_node *node = block_test_open(path, "raw", options);
    uint8_t *buffer = malloc(MIB), *back = malloc(MIB);
    unsigned unit = sectors ? 512 : 1;
    bool good = true;
    int err = 0;

    memset(image, 0, MIB);
    srandom(1);
    for (unsigned i = 0; i < 400 && !err && good; i++) {
        size_t size = (size_t)(random() % (i % 10 ? 9000 : 300000)) / unit * unit + unit;
        uint64_t offset = (uint64_t)random() % (MIB - size) / unit * unit;
        /* A buffer that O_DIRECT would not take. */
        uint8_t *at = buffer + random() % 64;

        switch (random() % 4) {
        case 0:
            block_test_pattern(at, size, i);
            memcpy(image + offset, at, size);
            err = block_test_io(node, BLOCK_WRITE, offset, at, size);
            break;
        case 1:
            block_test_pattern(at, size, i);
            memcpy(image + offset, at, size);
            err = block_pwrite(node, offset, at, size, i % 3 ? 0 : BLOCK_FUA);
            break;
        case 2:
            memset(image + offset, 0, size);
            err = block_test_run(
                node, (struct block_request){
                          .kind = BLOCK_ZERO, .offset = offset, .size = size, .unmap = i % 2});
            break;
        case 3:
            err = i % 2 ? block_test_io(node, BLOCK_READ, offset, back, size)
                        : block_pread(node, offset, back, size);
            good = memcmp(back, image + offset, size) == 0;
            break;
        }
    }
    tap_eq((unsigned)-err, 0, "no request fails");
    tap_ok(good, "what was written is read (%s)", options);
    tap_eq((unsigned)-block_test_run(node, (struct block_request){.kind = BLOCK_FLUSH}), 0,
           "flush");
    block_unref(node);
    check_against_image(path, MIB, "the file holds what was written");
    free(buffer);
    free(back);
}

/* A host that forbids io_uring, as containers do: everything goes by workers. */
static void forbidden(void)
{
    pid_t child = fork();

    if (child == 0) {
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        const struct sock_fprog program = {.len = 4, .filter = filter};

        if (!freopen("/dev/null", "w", stdout) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
            prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ||
            syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != EPERM) {
            _exit(2);
        }
        random_io("aio=io_uring", true);
        _exit(tap_failed != 0);
    }
    int status;

    waitpid(child, &status, 0);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "without io_uring it works as well");
}

static void bounds(void)
{
    const char *path = block_test_file("bounds", 64 * 1024);
    struct block_node *node = block_test_open(path, "raw", NULL);
    uint8_t buffer[1024] = {1};

    tap_eq(block_size(node), 64 * 1024, "size");
    tap_eq((unsigned)-block_test_io(node, BLOCK_READ, 64 * 1024 - 512, buffer, 1024), EIO,
           "reading across the end is refused");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, UINT64_MAX - 511, buffer, 512), EIO,
           "writing at a wild offset is refused");
    tap_eq((unsigned)-block_test_run(
               node, (struct block_request){.kind = BLOCK_ZERO, .offset = 512, .size = UINT64_MAX}),
           EIO, "zeroing a wild size is refused");
    struct iovec iov = {.iov_base = buffer, .iov_len = 512};

    tap_eq(
        (unsigned)-block_test_run(
            node,
            (struct block_request){.kind = BLOCK_READ, .size = 1024, .iov = &iov, .iov_count = 1}),
        EINVAL, "a buffer that is too small is refused");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, 0), 0, "nothing is no error");
    block_unref(node);

    tap_ok(block_open_file(&node, path, "raw", NULL, true, block_test_error,
                           sizeof(block_test_error)) == 0,
           "opens read-only");
    tap_ok(block_readonly(node), "and is");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, 512), EPERM,
           "writing to a read-only node is refused");
    tap_eq((unsigned)-block_pwrite(node, 0, buffer, 512, 0), EPERM, "also without the edge");
    block_unref(node);
}

static void short_file(const char *options)
{
    const char *path = block_test_file("short", 1000);
    struct block_node *node = block_test_open(path, "raw", options);
    uint8_t buffer[1024];
    struct stat st;

    memset(buffer, 0xee, sizeof(buffer));
    tap_eq(block_size(node), 1024, "a size in between is rounded up to sectors");
    tap_eq((unsigned)-block_test_io(node, BLOCK_READ, 0, buffer, 1024), 0, "its end is read");
    bool zero = true;

    for (unsigned i = 0; i < sizeof(buffer); i++) {
        zero &= buffer[i] == 0;
    }
    tap_ok(zero, "as zeros");
    memset(buffer, 0x55, sizeof(buffer));
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 512, buffer, 512), 0, "and written");
    memset(buffer, 0, sizeof(buffer));
    tap_ok(block_pread(node, 0, buffer, 1024) == 0 && buffer[511] == 0 && buffer[1023] == 0x55,
           "to where it belongs");
    block_unref(node);
    tap_ok(stat(path, &st) == 0 && st.st_size >= 1024, "which makes the file longer");
}

static void part_of_a_file(void)
{
    const char *path = block_test_file("part", 64 * 1024);
    struct block_node *node = block_test_open(path, "raw", "offset=4k,size=8k");
    uint8_t buffer[512];

    tap_eq(block_size(node), 8192, "size= is the size");
    memset(buffer, 7, sizeof(buffer));
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 7680, buffer, 512), 0, "its last sector");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 8192, buffer, 512), EIO,
           "nothing behind it");
    block_unref(node);
    memset(image, 0, 64 * 1024);
    memset(image + 4096 + 7680, 7, 512);
    check_against_image(path, 64 * 1024, "offset= is added");
}

static void refused(const char *filename, const char *format, const char *options,
                    const char *expected)
{
    struct block_node *node;
    int err = block_open_file(&node, filename, format, options, false, block_test_error,
                              sizeof(block_test_error));

    tap_ok(err < 0, "%s is refused", options ? options : filename);
    if (err == 0) {
        block_unref(node);
    } else if (!strstr(block_test_error, expected)) {
        tap_ok(false, "with a message that says '%s', not '%s'", expected, block_test_error);
    }
}

static void options(void)
{
    const char *path = block_test_file("options", 4096);
    struct block_node *node;

    refused(path, "raw", "offset=8k", "offset=8192: expected at most");
    refused(path, "raw", "size=8k", "size=8192: expected at most");
    refused(path, "raw", "size=100", "expected a multiple of 512");
    refused(path, "raw", "nonsense=1", "no option 'nonsense=1'");
    refused(path, "raw", "file.nonsense=1", "no option 'nonsense=1'");
    refused(path, "raw", "cache=fast", "cache=fast: expected one of writeback");
    refused(path, "raw", "aio=native", "aio=native: expected cache.direct=on");
    refused(path, "raw", "aio=slow", "expected one of io_uring");
    refused(path, "raw", "detect-zeroes=unmap", "expected discard=unmap");
    refused(path, "nothing", NULL, "no such block driver");
    refused(path, "raw", "node-name=1a", "expected a letter");
    refused("nbt:a", "raw", NULL, "unknown protocol 'nbt'");
    refused(block_test_path("missing"), "raw", NULL, "No such file");
    refused(block_test_folder, "raw", NULL, "");
    refused("json:{\"driver\":\"raw\"}", NULL, NULL, "option 'file' is missing");
    refused("json:[]", NULL, NULL, "expected a JSON object");
    refused("json:{", NULL, NULL, "json:{");
    refused("json:{\"driver\":\"raw\",\"file\":\"missing\"}", NULL, NULL, "expected the name");

    char json[500];

    snprintf(json, sizeof(json),
             "json:{\"driver\":\"raw\",\"node-name\":\"top\",\"offset\":1024,\"file\":"
             "{\"driver\":\"file\",\"filename\":\"%s\",\"node-name\":\"bottom\"}}",
             path);
    tap_ok(block_open_file(&node, json, NULL, NULL, false, block_test_error,
                           sizeof(block_test_error)) == 0,
           "json: describes a graph");
    tap_eq(block_size(node), 3072, "with its options");
    tap_ok(block_find("top") == node && block_find("bottom"), "and names");
    tap_str(block_name(node), "top", "which nodes know");
    refused(path, "raw", "node-name=top,file.locking=off", "there is such a node already");
    block_unref(node);
    tap_ok(!block_find("top") && !block_find("bottom"), "all is gone afterwards");
}

static void locks(void)
{
    const char *path = block_test_file("locks", 4096);
    struct block_node *node = block_test_open(path, "raw", NULL), *other;
    struct block_claim *claim, *second;

    refused(path, "raw", NULL, "failed to get \"write\" lock");
    tap_eq((unsigned)-block_open_file(&other, path, "raw", NULL, true, block_test_error,
                                      sizeof(block_test_error)),
           EAGAIN, "a reader can't join a writer");
    tap_ok(block_open_file(&other, path, "raw", "force-share=on", true, block_test_error,
                           sizeof(block_test_error)) == 0,
           "unless it is told to");
    block_unref(other);
    other = block_test_open(path, "raw", "locking=off");
    block_unref(other);
    tap_ok(true, "locking=off ignores locks");

    tap_eq((unsigned)-block_claim(&claim, node, BLOCK_PERM_READ | BLOCK_PERM_WRITE,
                                  BLOCK_PERM_ALL & ~BLOCK_PERM_RESIZE, block_test_error,
                                  sizeof(block_test_error)),
           0, "a disk that shares writing");
    tap_eq((unsigned)-block_claim(&second, node, BLOCK_PERM_READ, BLOCK_PERM_READ, block_test_error,
                                  sizeof(block_test_error)),
           EBUSY, "is not shared with who wants to be alone");
    tap_eq((unsigned)-block_claim(&second, node, BLOCK_PERM_READ | BLOCK_PERM_WRITE, BLOCK_PERM_ALL,
                                  block_test_error, sizeof(block_test_error)),
           0, "but with another that shares");
    block_claim_release(second);
    block_claim_release(claim);
    other = block_test_open(path, "raw", NULL);
    tap_ok(true, "without users there are no locks");
    block_unref(other);
    tap_ok(block_claim(&claim, node, BLOCK_PERM_READ, BLOCK_PERM_READ, block_test_error,
                       sizeof(block_test_error)) == 0,
           "a reader");
    tap_ok(block_open_file(&other, path, "raw", NULL, true, block_test_error,
                           sizeof(block_test_error)) == 0,
           "shares with readers");
    block_unref(other);
    refused(path, "raw", NULL, "lock");
    block_claim_release(claim);
    block_unref(node);
}

static void probing(void)
{
    const char *path = block_test_file("probe", 65536);
    struct block_node *node = block_test_open(path, NULL, NULL);
    uint8_t buffer[512] = "not a header";

    tap_str(node->driver->name, "raw", "zeros are probed as raw");
    tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, 512), 0,
           "its first sector may be written");
    block_unref(node);
}

static unsigned outstanding;

static void one_done(struct block_request *request)
{
    outstanding--;
}

static void drain(void)
{
    const char *path = block_test_file("drain", MIB);
    struct block_node *node = block_test_open(path, "raw", NULL);
    static struct block_request requests[200];
    static uint8_t buffers[200][4096];
    struct iovec iov[200];

    for (unsigned i = 0; i < 200; i++) {
        iov[i] = (struct iovec){.iov_base = buffers[i], .iov_len = 4096};
        memset(buffers[i], (int)i, 4096);
        requests[i] = (struct block_request){.kind = BLOCK_WRITE,
                                             .offset = i * 4096,
                                             .size = 4096,
                                             .iov = &iov[i],
                                             .iov_count = 1,
                                             .loop = block_test_loop,
                                             .done = one_done};
        outstanding++;
        block_submit(node, &requests[i]);
    }
    block_drain(node);
    tap_eq(outstanding, 0, "draining waits for all that is under way");
    bool good = true;

    for (unsigned i = 0; i < 200; i++) {
        uint8_t byte = 0;

        good &= requests[i].result == 0 && block_pread(node, i * 4096 + 77, &byte, 1) == 0 &&
                byte == (uint8_t)i;
    }
    tap_ok(good, "all 200 have been done");
    block_unref(node);
}

/* ---- a loop of another thread ---- */

struct other {
    struct block_node *node;
    struct loop *loop;
    struct block_request requests[64];
    uint8_t buffers[64][512];
    struct iovec iov[64];
    unsigned done, errors;
};

static void other_done(struct block_request *request)
{
    struct other *o = (struct other *)((char *)(request - request->offset / 512) -
                                       offsetof(struct other, requests));

    o->errors += request->result != 0 || !loop_is_current(o->loop);
    if (++o->done == 64) {
        loop_quit(o->loop);
    }
}

static void *other_main(void *opaque)
{
    struct other *o = opaque;

    for (unsigned i = 0; i < 64; i++) {
        memset(o->buffers[i], (int)i + 1, 512);
        o->iov[i] = (struct iovec){.iov_base = o->buffers[i], .iov_len = 512};
        o->requests[i] = (struct block_request){.kind = BLOCK_WRITE,
                                                .fua = i % 8 == 7,
                                                .offset = i * 512,
                                                .size = 512,
                                                .iov = &o->iov[i],
                                                .iov_count = 1,
                                                .loop = o->loop,
                                                .done = other_done};
        block_submit(o->node, &o->requests[i]);
    }
    loop_run(o->loop);
    return NULL;
}

static void threads(const char *options)
{
    static struct other o[2];
    pthread_t thread[2];
    struct block_node *node = block_test_open(block_test_file("threads", 64 * 512), "raw", options);
    bool good = true;

    for (unsigned i = 0; i < 2; i++) {
        memset(&o[i], 0, sizeof(o[i]));
        o[i].node = node;
        o[i].loop = loop_create();
        pthread_create(&thread[i], NULL, other_main, &o[i]);
    }
    block_drain(node); /* of what has come so far, from another thread */
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        tap_eq(o[i].errors, 0, "requests of I/O threads end there");
        block_loop_gone(o[i].loop);
        loop_destroy(o[i].loop);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint8_t byte;

        good &= block_pread(node, i * 512 + 5, &byte, 1) == 0 && byte == i + 1;
    }
    tap_ok(good, "two I/O threads write (%s)", options);
    block_unref(node);
}

static void zeroes(void)
{
    const char *path = block_test_file("zeroes", MIB);
    uint8_t *buffer = malloc(MIB);
    struct block_status status;

    for (unsigned unmap = 0; unmap < 2; unmap++) {
        struct block_node *node = block_test_open(
            path, "raw", unmap ? "detect-zeroes=unmap,discard=unmap" : "detect-zeroes=off");

        memset(buffer, 1, MIB);
        block_test_io(node, BLOCK_WRITE, 0, buffer, MIB);
        memset(buffer, 0, MIB);
        tap_eq((unsigned)-block_test_io(node, BLOCK_WRITE, 0, buffer, MIB), 0, "zeros are written");
        tap_ok(block_status(node, 0, MIB, &status) == 0 &&
                   (unmap ? (status.flags & BLOCK_STATUS_ZERO) && status.size == MIB
                          : (status.flags & BLOCK_STATUS_DATA) != 0),
               "%s", unmap ? "and make a hole" : "as they are");
        memset(buffer, 1, MIB);
        block_test_io(node, BLOCK_WRITE, 0, buffer, MIB);
        tap_eq((unsigned)-block_test_run(
                   node, (struct block_request){.kind = BLOCK_DISCARD, .size = MIB}),
               0, "discarding");
        tap_ok(block_status(node, 0, MIB, &status) == 0 &&
                   !(status.flags & BLOCK_STATUS_ZERO) == !unmap,
               "%s", unmap ? "makes one, too" : "is ignored");
        block_unref(node);
    }
    free(buffer);
}

static void sizes(void)
{
    const char *path = block_test_file("sizes", 0);
    struct block_node *node = block_test_open(path, "raw", NULL);
    struct block_status status;
    uint8_t buffer[4096] = {1};

    tap_eq((unsigned)-block_truncate(node, MIB, true, BLOCK_PREALLOC_OFF, block_test_error,
                                     sizeof(block_test_error)),
           0, "an image grows");
    tap_eq(block_size(node), MIB, "and knows it");
    tap_eq((unsigned)-block_pwrite(node, 512 * 1024, buffer, 4096, 0), 0, "a write in the middle");
    tap_eq((unsigned)-block_status(node, 0, MIB, &status), 0, "status");
    tap_ok((status.flags & BLOCK_STATUS_ZERO) && status.size == 512 * 1024, "first a hole");
    tap_eq((unsigned)-block_status(node, 512 * 1024, MIB, &status), 0, "status");
    tap_ok((status.flags & BLOCK_STATUS_DATA) && status.size == 4096, "then data");
    tap_eq((unsigned)-block_status(node, 516 * 1024, MIB, &status), 0, "status");
    tap_ok((status.flags & BLOCK_STATUS_ZERO) && (status.flags & BLOCK_STATUS_EOF) &&
               status.size == MIB - 516 * 1024,
           "then a hole to the end");
    tap_eq((unsigned)-block_status(node, MIB, 1, &status), 0, "status behind the end");
    tap_eq(status.size, 0, "is nothing");
    tap_eq((unsigned)-block_truncate(node, UINT64_MAX, true, BLOCK_PREALLOC_OFF, block_test_error,
                                     sizeof(block_test_error)),
           EFBIG, "a wild size is refused");
    tap_eq((unsigned)-block_truncate(node, 4096, true, BLOCK_PREALLOC_FULL, block_test_error,
                                     sizeof(block_test_error)),
           ENOTSUP, "preallocated shrinking makes no sense");
    tap_eq((unsigned)-block_truncate(node, 4096, true, BLOCK_PREALLOC_OFF, block_test_error,
                                     sizeof(block_test_error)),
           0, "shrinking");
    tap_eq((unsigned)-block_truncate(node, 65536, true, BLOCK_PREALLOC_FALLOC, block_test_error,
                                     sizeof(block_test_error)),
           0, "allocated growth");
    block_unref(node);
    struct stat st;

    tap_ok(stat(path, &st) == 0 && st.st_size == 65536 && st.st_blocks * 512 >= 61440,
           "takes its blocks");
}

int main(void)
{
    block_test_begin();
    image = malloc(MIB);
    forbidden(); /* forks: before there are workers */
    random_io("aio=io_uring", false);
    random_io("aio=io_uring", true);
    random_io("aio=threads", true);
    random_io("cache=none", false);
    random_io("cache=none,aio=native", true);
    random_io("cache=directsync,discard=unmap,detect-zeroes=unmap", true);
    random_io("cache=writethrough,discard=unmap", true);
    random_io("cache=unsafe", true);
    bounds();
    short_file("cache=writeback");
    short_file("cache=none");
    part_of_a_file();
    options();
    locks();
    probing();
    drain();
    threads("aio=io_uring");
    threads("aio=threads");
    threads("cache=none");
    zeroes();
    sizes();
    free(image);
    return block_test_end();
}
