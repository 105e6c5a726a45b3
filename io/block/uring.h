/*
 * io_uring for loops: each loop has a ring of its own, made when it is first used. Operations that
 * are started in one round of the loop go to the kernel with one system call at its end.
 */
#ifndef TINAMOU_IO_BLOCK_URING_H
#define TINAMOU_IO_BLOCK_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;

enum uring_kind { URING_READ, URING_WRITE, URING_FDATASYNC };

/* One operation, embedded by its user, who leaves it alone until done(). */
struct uring_op {
    enum uring_kind kind;
    int fd;
    const struct iovec *iov; /* stays valid until done() */
    unsigned iov_count;
    uint64_t offset;
    int rw_flags; /* RWF_DSYNC */
    /* On the loop's thread: what the system call would have returned, or -errno. */
    void (*done)(struct uring_op *op, int result);
    struct uring_op *next;
};

/* Starts one on the ring of the loop, whose thread calls. False: no io_uring here. */
bool uring_submit(struct loop *loop, struct uring_op *op);

/* For block_restrict(), block_prepare_loop() and block_seal(). */
void uring_restrict(void);
void uring_prepare(struct loop *loop);
void uring_seal(void);

/* Nothing is under way on the loop: frees its ring, if there is one. */
void uring_loop_gone(struct loop *loop);

#endif
