/*
 * I/O threads: a loop and the thread that runs it, by a name that devices refer to
 * (-object iothread,id=NAME; virtio-blk-pci,iothread=NAME). The main loop's thread makes and ends
 * them, and knows them by name.
 */
#ifndef TINAMOU_IO_LOOP_THREAD_H
#define TINAMOU_IO_LOOP_THREAD_H

#include <stdbool.h>
#include <stddef.h>

struct loop;
struct loop_thread;

/* Starts one; all signals but SIGSYS are blocked in it. 0, or -errno with a line in error[]. */
int loop_thread_create(struct loop_thread **thread, const char *name, char *error,
                       size_t error_size);
/* By name; NULL: there is none. */
struct loop_thread *loop_thread_find(const char *name);
/* What it runs, as long as it lives. */
struct loop *loop_thread_loop(struct loop_thread *thread);
/* A device works on it, or does no more; counted. */
void loop_thread_use(struct loop_thread *thread, bool use);
/* Has fn called on each of the threads, one after the other, and waits; 0 or -ENOMEM. */
int loop_thread_run_all(void (*fn)(struct loop *loop, void *opaque), void *opaque);
/*
 * Ends one that nobody uses (else -EBUSY). `gone` (may be NULL) is called with its loop when the
 * thread has ended, to let go of what others keep for it (block_loop_gone()).
 */
int loop_thread_destroy(struct loop_thread *thread, void (*gone)(struct loop *loop));

#endif
