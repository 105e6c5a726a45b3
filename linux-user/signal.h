/*
 * Guest signals: actions, masks, delivery.
 *
 * Host and guest signal numbers are the same, 1 to 64, and none is reserved: host actions are set
 * with raw system calls. What the guest leaves to default or ignores is so on the host too: the
 * kernel stops, kills and reaps as it would natively. What the guest handles has our host handler,
 * which runs on a stack of its own and only records; all delivery happens in the run loop, in
 * signal_deliver().
 *
 * 1. The mask of the host thread is the guest's, but for the five signals that faults raise
 *    (SIGNAL_FAULTS). These always have our handler and are never blocked on the host, since the
 *    guest's faults, and those of our accesses to its memory, come through them whatever it blocks.
 *    One of the five that kill() has sent while the guest blocks it is kept pending here.
 * 2. The handler records one asynchronous signal and returns with everything but the five blocked.
 *    So one slot is enough: the host kernel keeps the queue. signal_deliver() empties the slot and
 *    puts the guest's mask in force again, on which the next signal arrives.
 * 3. A thread's mask, alternate stack and slots are changed by that thread alone. Actions are
 *    shared by threads and under a lock that no handler takes.
 * 4. A change of mask goes through user_safe_syscall(), so that a recorded signal is delivered
 *    under the mask it has arrived under.
 */
#ifndef TINAMOU_LINUX_USER_SIGNAL_H
#define TINAMOU_LINUX_USER_SIGNAL_H

#include "linux-user/user.h"

#define SIGNAL_COUNT  64
#define SIGNAL_BIT(n) (1ull << ((n)-1))
#define SIGNAL_FAULTS                                                                     \
    (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) | SIGNAL_BIT(SIGFPE) | \
     SIGNAL_BIT(SIGTRAP))

/* An action as guests without a restorer pass it to rt_sigaction. */
struct signal_action {
    uint64_t handler; /* 0 default, 1 ignore, else a guest address */
    uint64_t flags;   /* SA_* */
    uint64_t mask;
};

/* Once, for the first thread, before the guest runs: sets user_self, takes dispositions and mask as
 * they were inherited across execve, and handlers for the five. 0 or -errno. */
int signal_init(struct user_thread *first);

/*
 * The signal state of a new task (t->queue, mask, alternate stack) from its creator's, as
 * clone_flags say. Called by the creator. 0 or -ENOMEM. signal_thread_free() undoes it, and drops
 * what a thread that has ended leaves; nothing is done for a NULL queue.
 */
int signal_thread_inherit(struct user_thread *t, const struct user_thread *creator,
                          uint64_t clone_flags);
void signal_thread_free(struct user_thread *t);

/*
 * For a new thread, on itself, before its first cpu_run(), with signals closed: sets user_self
 * and the host alternate stack; then signals come. 0 or -errno. signal_thread_end() blocks all
 * signals and takes the stack away.
 */
int signal_thread_start(struct user_thread *t);
void signal_thread_end(struct user_thread *t);

/*
 * Around fork, by the thread that forks. prepare closes signals and keeps actions from changing; it
 * returns -USER_ERESTARTNOINTR, with nothing done, if a signal is to be delivered first. In the
 * child nothing is pending, and no other thread exists. Signals stay closed until signal_open().
 */
int64_t signal_fork_prepare(struct user_thread *t);
void signal_fork_parent(struct user_thread *t);
void signal_fork_child(struct user_thread *t);

/* Blocks every signal of the calling host thread but the five, which our own accesses to guest
 * memory need; signal_close_all() is for threads that make none. signal_open() puts the guest's
 * mask in force. */
void signal_close(void);
void signal_close_all(void);
void signal_open(struct user_thread *t);

/*
 * Around the first pthread_create() of the process: libc then takes signal 33 for its setuid() and
 * the like, of which we make no use but the guest's libc does. With signals closed; what was in
 * force before is so after.
 */
void signal_library_starts(void);
void signal_library_started(void);

/* Around the host's execve: the new program gets the guest's dispositions and mask for the five,
 * too. 0, or -USER_ERESTARTNOINTR if a signal is to be delivered first. signal_exec_failed() takes
 * it back. */
int64_t signal_exec_prepare(struct user_thread *t);
void signal_exec_failed(struct user_thread *t);

/* CLONE_CLEAR_SIGHAND: handlers become defaults. In the new task, before its first signal. */
void signal_clear_handlers(struct user_thread *t);

/*
 * A synchronous signal the guest caused: blocked or ignored ones kill, as in the kernel's
 * force_sig_fault(). addr is si_addr. The registers are set for the handler when it returns; or
 * nothing is changed because another signal comes first, and the instruction runs again.
 */
void signal_force(struct user_thread *t, int signo, int code, uint64_t addr);

/* Is there anything for signal_deliver() to do? Cheap; the run loop asks before every cpu_run(). */
static inline bool signal_pending(const struct user_thread *t)
{
    return __atomic_load_n(&t->signal_doorbell, __ATOMIC_RELAXED) != 0;
}

/*
 * Delivers what is deliverable: makes frames, or ends the process with the signal. Also resolves
 * t->syscall_restart: the system call is wound back (abi_syscall_again()) or answers -EINTR. Called
 * with registers in the state.
 */
void signal_deliver(struct user_thread *t);

/* Ends the process by the default action of a signal, so that the parent sees exactly that. */
_Noreturn void signal_die(struct user_thread *t, int signo);

/* Prints `--- SIGSEGV {...} ---` for -strace; signal_deliver() calls it. (strace.c) */
void strace_signal(struct user_thread *t, const siginfo_t *info);

/* What the system calls of these names do, on memory of ours. `new` and `old` may be NULL. */
int64_t signal_set_action(struct user_thread *t, int signo, const struct signal_action *new,
                          struct signal_action *old);
int64_t signal_set_mask(struct user_thread *t, uint64_t mask);
int64_t signal_set_altstack(struct user_thread *t, const struct user_altstack *new,
                            struct user_altstack *old, uint64_t sp);

/* Is sp on the alternate stack? Never, with SS_AUTODISARM. */
bool signal_on_altstack(const struct user_altstack *stack, uint64_t sp);

/* Those of the five that are pending and blocked. */
uint64_t signal_pending_faults(const struct user_thread *t);

/* Takes one of these out that is in set, if any: its number, or 0. */
int signal_take_fault(struct user_thread *t, uint64_t set, siginfo_t *info);

/* Has one of the five been recorded that signal_deliver() has not seen yet? */
bool signal_fault_recorded(const struct user_thread *t);

/* rt_sigreturn found no frame: forces SIGSEGV. What the system call is to return. */
int64_t signal_bad_return(struct user_thread *t);

/* The mask for the host while the guest's is mask. */
static inline uint64_t signal_host_mask(uint64_t mask)
{
    return mask & ~SIGNAL_FAULTS;
}

/*
 * A call that waits with a temporary mask (sigsuspend, ppoll, ...): the caller hands
 * signal_host_mask(mask) to the kernel and its result to signal_after_wait(), which returns it.
 * After -EINTR the mask stays in force for the delivery of the signal that ended the wait. A
 * pending fault signal that the mask lets through ends the wait before it begins:
 * signal_before_wait() returns -EINTR then, else 0.
 */
int64_t signal_before_wait(const struct user_thread *t, uint64_t mask);
int64_t signal_after_wait(struct user_thread *t, uint64_t mask, int64_t result);

#endif
