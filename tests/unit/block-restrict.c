/*
 * Block nodes in a process that gives up rights: rings of io_uring that can do nothing but read,
 * write and flush, none that is made later, and workers that end and come again.
 */
#include "build/config.h"
#include "io/loop/thread.h"
#include "tests/unit/block.h"

#include <dirent.h>
#include <stdint.h>
#include <string.h>

static bool is_ring(int fd)
{
    char path[64], target[64];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    n = readlink(path, target, sizeof(target) - 1);
    target[n > 0 ? n : 0] = 0;
    return strcmp(target, "anon_inode:[io_uring]") == 0;
}

#if CONFIG_URING

#include <liburing.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum { ENTRIES = 128 }; /* as io/block has them */

/* The descriptor of a ring of ours that is not `but`; -1: there is none. */
static int find_ring(int but)
{
    for (int fd = 3; fd < 256; fd++) {
        if (fd != but && is_ring(fd)) {
            return fd;
        }
    }
    return -1;
}

/* Submits one operation on a mapping of another's ring; what becomes of it. */
static int attempt(struct io_uring *ring, void (*prepare)(struct io_uring_sqe *sqe))
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    struct io_uring_cqe *cqe;
    int result;

    prepare(sqe);
    if (io_uring_submit(ring) < 0 || io_uring_wait_cqe(ring, &cqe)) {
        return 1;
    }
    result = cqe->res;
    io_uring_cqe_seen(ring, cqe);
    return result;
}

static void open_a_file(struct io_uring_sqe *sqe)
{
    io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static void make_a_socket(struct io_uring_sqe *sqe)
{
    io_uring_prep_rw(45 /* IORING_OP_SOCKET */, sqe, 2, NULL, 0, 1);
}

static void do_nothing(struct io_uring_sqe *sqe)
{
    io_uring_prep_nop(sqe);
}

static void check_ring(void)
{
    struct io_uring own, theirs;
    struct io_uring_params params = {0};
    int fd, err;

    if (io_uring_queue_init_params(ENTRIES, &own, &params)) {
        tap_ok(find_ring(-1) < 0, "the kernel has no io_uring for us, and there are no rings");
        return;
    }
    fd = find_ring(own.ring_fd);
    if (!tap_ok(fd >= 0, "a loop that is prepared has its ring")) {
        return;
    }
    /* Made alike, it is mapped alike. */
    memset(&theirs, 0, sizeof(theirs));
    err = io_uring_queue_mmap(fd, &params, &theirs);
    tap_eq(err, 0, "the ring is mapped a second time");
    tap_eq(attempt(&own, do_nothing), 0, "a ring of one's own does anything");
    tap_eq(attempt(&theirs, do_nothing), -EACCES, "the ring of io/block does not");
    tap_eq(attempt(&theirs, open_a_file), -EACCES, "it opens no file");
    tap_eq(attempt(&theirs, make_a_socket), -EACCES, "it makes no socket");
    tap_ok(syscall(SYS_io_uring_register, fd, IORING_REGISTER_FILES, &fd, 1) < 0 && errno == EACCES,
           "and takes nothing more");
    io_uring_queue_exit(&own);
    munmap(theirs.sq.ring_ptr, theirs.sq.ring_sz);
    munmap(theirs.sq.sqes, ENTRIES * sizeof(struct io_uring_sqe));
}

#else

static void check_ring(void)
{
}

#endif

/* How many rings of io_uring there are. */
static unsigned rings(void)
{
    unsigned count = 0;

    for (int fd = 3; fd < 256; fd++) {
        count += is_ring(fd);
    }
    return count;
}

static unsigned threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    unsigned count = 0;

    while (folder && readdir(folder)) {
        count++;
    }
    closedir(folder);
    return count - 2;
}

static void prepare(struct loop *loop, void *opaque)
{
    ++*(unsigned *)opaque;
    block_prepare_loop(loop);
}

/* Fills a block or compares it; the result of the request, or 1 when it differs. */
static int put(struct block_node *node, uint8_t value)
{
    static uint8_t buffer[4096];

    memset(buffer, value, sizeof(buffer));
    return block_test_io(node, BLOCK_WRITE, 4096, buffer, sizeof(buffer));
}

static int compare(struct block_node *node, uint8_t value)
{
    static uint8_t buffer[4096];
    int result = block_test_io(node, BLOCK_READ, 4096, buffer, sizeof(buffer));

    return result ? result : buffer[0] != value || buffer[4095] != value;
}

int main(void)
{
    struct loop_thread *thread;
    struct loop *spare;
    struct block_node *by_ring, *by_workers;
    unsigned visits = 0, before, with_workers;

    block_test_begin();
    block_restrict();
    /* Of a loop of its own: who uses a ring from outside spoils it for its owner. */
    spare = loop_create();
    block_prepare_loop(spare);
    check_ring();
    block_loop_gone(spare);
    loop_destroy(spare);
    block_prepare_loop(block_test_loop);
    loop_thread_create(&thread, "t", block_test_error, sizeof(block_test_error));
    tap_ok(!loop_thread_run_all(prepare, &visits) && visits == 1, "an I/O thread is visited");
    before = rings();
    by_ring = block_test_open(block_test_file("a", 65536), "raw", NULL);
    by_workers = block_test_open(block_test_file("b", 65536), "raw", "file.aio=threads");
    tap_eq(put(by_ring, 0x5a), 0, "a loop that is prepared writes");
    tap_eq(compare(by_ring, 0x5a), 0, "and reads");
    tap_eq(put(by_workers, 0x33), 0, "a worker writes");
    with_workers = threads();
    block_seal();
    tap_ok(threads() < with_workers, "workers rest");
    tap_eq(compare(by_workers, 0x33), 0, "and come again");
    tap_eq(compare(by_ring, 0x5a), 0, "what there is goes on");
    tap_eq(rings(), before, "and no ring has been made");
    block_unref(by_ring);
    block_unref(by_workers);
    loop_thread_destroy(thread, block_loop_gone);
    return block_test_end();
}
