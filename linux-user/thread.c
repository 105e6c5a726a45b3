/*
 * Guest threads and processes. Over 800 lines because the kinds of clone share how a thread begins
 * and ends.
 *
 * How a guest's clone is made depends on what it shares:
 *
 * - CLONE_THREAD: a detached thread of our libc (it needs thread-local storage), which unshares
 *   what libc's thread shares and the guest's does not. The tid words are ours to write: the
 *   kernel's own clear_child_tid belongs to libc. On exit we walk the robust list ourselves, before
 *   the word is cleared: behind that, the guest may reuse the memory the list is in.
 * - no CLONE_VM: fork. Plain ones go through libc's fork(), which leaves its locks usable in the
 *   child; ones with namespaces and the like through the host's clone3. (In such a child of a
 *   process of several threads libc's heap lock may be held for ever, if another thread held it at
 *   that moment.)
 * - CLONE_VM and CLONE_VFORK: the host's clone on a stack of its own, with a vCPU of its own. The
 *   child uses its parent's thread-local storage, whose owner is suspended until the child has
 *   executed or exited; what it has changed there is put right then.
 * - CLONE_VM alone, another process in our memory: the same, but nobody is suspended. A thread made
 *   for the purpose clones, lends its thread-local storage, and waits for the child to leave our
 *   memory, which the kernel tells through the cleared tid word.
 *
 * Lock order of fork: signal actions, thread list, translator, mappings. The translator asks for
 * mappings while it holds its lock, never the other way.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif
#include "accel/tcg/tcg.h"
#include "linux-user/abi.h"
#include "linux-user/mm.h"
#include "linux-user/signal.h"
#include "linux-user/syscall.h"
#include "linux-user/thread.h"
#include "util/lock.h"
#include "util/log.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ull
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ull
#endif
#ifndef CLONE_DETACHED
#define CLONE_DETACHED 0x400000
#endif

/* Generated code may nest that deep for guest calls before the accelerator empties its shadow
 * stack; the rest is for ourselves. Untouched pages cost nothing. */
#define THREAD_STACK_SIZE (512 * 1024)

#define NAMESPACES                                                                            \
    ((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
                CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME))

/* What clone and clone3 ask for; guest addresses. */
struct request {
    uint64_t flags; /* without the exit signal */
    int exit_signal;
    uint64_t sp; /* 0: the creator's */
    uint64_t parent_tid, child_tid, tls, pidfd;
    uint64_t set_tid, set_tid_size;
    uint64_t cgroup;
};

/* The kernel's struct clone_args, version 2. */
struct host_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        set_tid_size, cgroup;
};
#define CLONE_ARGS_MIN 64

/* A new task on its way. Lives in the creator's frame until `done`. */
struct launch {
    struct user_thread *t;
    const struct request *request;
    uint32_t done;  /* futex: the creator may go on */
    int64_t result; /* tid or -errno */
};

/* A thread of libc's. */
struct host_thread {
    jmp_buf exit;
};

int64_t thread_clone3_raw(const struct host_clone_args *args, size_t size, void (*entry)(void *),
                          void *argument);
int64_t thread_clone_raw(uint64_t flags, void *stack_top, int *pidfd, void (*entry)(void *),
                         void *argument, int *ctid);

static struct lock list_lock;
static struct user_thread *list;

static void list_add(struct user_thread *t)
{
    lock_acquire(&list_lock);
    t->next = list;
    list = t;
    lock_release(&list_lock);
}

static void list_remove(struct user_thread *t)
{
    lock_acquire(&list_lock);
    for (struct user_thread **at = &list; *at; at = &(*at)->next) {
        if (*at == t) {
            *at = t->next;
            break;
        }
    }
    lock_release(&list_lock);
}

void thread_each(void (*visit)(void *opaque, struct user_thread *t), void *opaque)
{
    lock_acquire(&list_lock);
    for (struct user_thread *t = list; t; t = t->next) {
        visit(opaque, t);
    }
    lock_release(&list_lock);
}

struct count {
    int tgid;
    unsigned threads;
};

static void count_one(void *opaque, struct user_thread *t)
{
    struct count *count = opaque;

    count->threads += t->tgid == count->tgid;
}

unsigned thread_count(void)
{
    struct count count = {.tgid = getpid()};

    thread_each(count_one, &count);
    return count.threads;
}

static void futex_wake(const void *word, int how_many)
{
    user_host_syscall(SYS_futex, (uint64_t)word, FUTEX_WAKE, (uint64_t)how_many, 0, 0, 0);
}

static void futex_sleep(const uint32_t *word, uint32_t value)
{
    user_host_syscall(SYS_futex, (uint64_t)word, FUTEX_WAIT, value, 0, 0, 0);
}

static void set_ids(struct user_thread *t)
{
    t->tid = (int)user_host_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
    t->tgid = (int)user_host_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

struct user_thread *thread_main(struct cpu *cpu)
{
    struct user_thread *t = calloc(1, sizeof(*t));

    if (!t) {
        return NULL;
    }
    t->cpu = cpu;
    cpu->owner = t;
    set_ids(t);
    list_add(t);
    return t;
}

/* ---- the end -------------------------------------------------------------------------------- */

/* The kernel's handle_futex_death(): the word's owner has died. */
static void robust_death(const struct user_thread *t, uint64_t word, bool pending)
{
    uint64_t value, old;

    if (word & 3 || mem_guest_load(word, 4, &value, NULL, NULL) < 0) {
        return;
    }
    if (pending && !value) {
        futex_wake(mem_guest_host(word), 1);
        return;
    }
    while ((value & FUTEX_TID_MASK) == (uint32_t)t->tid) {
        uint64_t dead = (value & FUTEX_WAITERS) | FUTEX_OWNER_DIED;

        if (mem_guest_cas(word, 4, value, dead, &old, NULL, NULL) < 0) {
            return;
        }
        old = (uint32_t)old;
        if (old == value) {
            if (value & FUTEX_WAITERS) {
                futex_wake(mem_guest_host(word), 1);
            }
            return;
        }
        value = old;
    }
}

/* The kernel's exit_robust_list(). Bit 0 of an entry marks one whose owner the kernel releases by
 * priority inheritance; it does so by itself. */
static void robust_exit(struct user_thread *t)
{
    struct {
        uint64_t next, offset, pending;
    } head;
    uint64_t entry, next;

    if (!t->robust_list || mem_guest_read(&head, t->robust_list, sizeof(head)) < 0) {
        return;
    }
    entry = head.next;
    for (int limit = 0; limit < ROBUST_LIST_LIMIT; limit++) {
        bool priority = entry & 1;

        entry &= ~1ull;
        if (entry == t->robust_list) {
            break;
        }
        bool failed = mem_guest_read(&next, entry, sizeof(next)) < 0;

        if (entry != (head.pending & ~1ull) && !priority) {
            robust_death(t, entry + head.offset, false);
        }
        if (failed) {
            break;
        }
        entry = next;
    }
    if (head.pending & ~1ull) {
        robust_death(t, (head.pending & ~1ull) + head.offset, true);
    }
    t->robust_list = 0;
}

_Noreturn static void exit_host(int status)
{
    for (;;) {
        user_host_syscall(SYS_exit, (uint64_t)status, 0, 0, 0, 0, 0);
    }
}

static void robust_exit_one(void *opaque, struct user_thread *t)
{
    robust_exit(t);
}

_Noreturn void thread_exit_group(struct user_thread *t, int status)
{
    /* Without a guest base the kernel has the lists, and walks them when the threads are gone. */
    if (mem_guest_base != 0 && !t->vfork_child) {
        thread_each(robust_exit_one, NULL);
    }
    user_print_stats(t, "exit");
    for (;;) {
        user_host_syscall(SYS_exit_group, (uint64_t)status, 0, 0, 0, 0, 0);
    }
}

_Noreturn void thread_exit(struct user_thread *t, int status)
{
    struct host_thread *host = t->host_thread;
    uint64_t clear = t->clear_child_tid;

    /* Only the first thread's status counts if it is not the last. */
    if (t->tid == t->tgid && !t->vfork_child && thread_count() == 1) {
        robust_exit(t);
        if (clear) {
            mem_guest_store(clear, 4, 0, NULL, NULL);
            futex_wake(mem_guest_host(clear), 1);
        }
        thread_exit_group(t, status);
    }
    robust_exit(t);
    user_host_syscall(SYS_set_robust_list, 0, 24, 0, 0, 0, 0);
    list_remove(t);
    if (!t->vfork_child) {
        /* A task that another one tidies up after keeps handlers, stack and vCPU. */
        signal_thread_end(t);
    }
    if (clear && mem_guest_store(clear, 4, 0, NULL, NULL) == 0) {
        futex_wake(mem_guest_host(clear), 1);
    }
    if (!host) {
        exit_host(status);
    }
    longjmp(host->exit, 1);
}

static void thread_free(struct user_thread *t)
{
    if (t->exec_memory) {
        munmap(t->exec_memory, t->exec_memory_size);
    }
    if (t->cpu) {
        user_accel->cpu_destroy(t->cpu);
    }
    signal_thread_free(t);
    free(t);
}

/* ---- the beginning -------------------------------------------------------------------------- */

static struct user_thread *thread_new(struct user_thread *creator, const struct request *r)
{
    struct user_thread *t = calloc(1, sizeof(*t));

    if (!t) {
        return NULL;
    }
    t->cpu = user_accel->cpu_copy(creator->cpu);
    if (!t->cpu || signal_thread_inherit(t, creator, r->flags) < 0) {
        thread_free(t);
        return NULL;
    }
    t->cpu->owner = t;
    return t;
}

/* Registers of the new task, which returns 0 from its clone. */
static void set_registers(struct user_thread *t, const struct request *r)
{
    abi_syscall_result(t->cpu, 0);
    if (r->sp) {
        abi_set_sp(t->cpu, r->sp);
    }
    if (r->flags & CLONE_SETTLS) {
        abi_set_tls(t->cpu, r->tls);
    }
}

/* What the kernel writes into guest memory for a new task, by the task itself. */
static void write_tids(struct user_thread *t, const struct request *r)
{
    if ((r->flags & CLONE_PARENT_SETTID) && (r->flags & CLONE_VM)) {
        mem_guest_store(r->parent_tid, 4, (uint32_t)t->tid, NULL, NULL);
    }
    if (r->flags & CLONE_CHILD_SETTID) {
        mem_guest_store(r->child_tid, 4, (uint32_t)t->tid, NULL, NULL);
    }
    t->clear_child_tid = r->flags & CLONE_CHILD_CLEARTID ? r->child_tid : 0;
}

static void launch_done(struct launch *launch, int64_t result)
{
    launch->result = result;
    __atomic_store_n(&launch->done, 1, __ATOMIC_RELEASE);
    futex_wake(&launch->done, 1);
}

static int64_t launch_wait(struct launch *launch)
{
    while (!__atomic_load_n(&launch->done, __ATOMIC_ACQUIRE)) {
        futex_sleep(&launch->done, 0);
    }
    return launch->result;
}

/* A detached thread of libc with all signals blocked. 0 or -errno. */
static int host_thread_create(void *(*entry)(void *), void *argument)
{
    static bool library_started;
    pthread_attr_t attributes;
    pthread_t id;
    int error = pthread_attr_init(&attributes);

    if (error) {
        return -error;
    }
    error = pthread_attr_setstacksize(&attributes, THREAD_STACK_SIZE);
    if (!error) {
        error = pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    }
    if (!error && library_started) {
        error = pthread_create(&id, &attributes, entry, argument);
    } else if (!error) {
        signal_library_starts();
        error = pthread_create(&id, &attributes, entry, argument);
        signal_library_started();
        library_started = true;
    }
    pthread_attr_destroy(&attributes);
    return -error;
}

static void *thread_entry(void *opaque)
{
    struct launch *launch = opaque;
    struct user_thread *t = launch->t;
    const uint64_t shared = CLONE_FS | CLONE_FILES | CLONE_SYSVSEM;
    uint64_t apart = (shared & ~launch->request->flags) | (launch->request->flags & NAMESPACES);
    struct host_thread host;
    int64_t error = 0;

    set_ids(t);
    if (apart) {
        error = user_host_syscall(SYS_unshare, apart, 0, 0, 0, 0, 0);
    }
    if (error < 0) {
        launch_done(launch, error);
        return NULL;
    }
    write_tids(t, launch->request);
    t->host_thread = &host;
    if (setjmp(host.exit) == 0) {
        list_add(t);
        error = signal_thread_start(t);
        if (error < 0) {
            list_remove(t);
            launch_done(launch, error);
            return NULL;
        }
        launch_done(launch, t->tid);
        user_run(t);
    }
    /* thread_exit() comes here; nothing local but `opaque` may be relied on, and that is gone. */
    return NULL;
}

/* thread_entry() and the memory of the thread it has run. A frame of its own, so that the pointer
 * survives the longjmp. */
static void *thread_top(void *opaque)
{
    struct user_thread *t = ((struct launch *)opaque)->t;

    thread_entry(opaque);
    thread_free(t);
    return NULL;
}

static int64_t clone_thread(struct user_thread *creator, const struct request *r)
{
    struct launch launch = {.request = r};
    int64_t result;

    launch.t = thread_new(creator, r);
    if (!launch.t) {
        return -ENOMEM;
    }
    set_registers(launch.t, r);
    signal_close();
    result = host_thread_create(thread_top, &launch);
    if (result < 0) {
        thread_free(launch.t);
        result = -EAGAIN;
    } else {
        result = launch_wait(&launch);
    }
    signal_open(creator);
    return result;
}

/* The host's clone with what it must know; ours are tid words, stacks and TLS. entry NULL: a fork.
 */
static int64_t host_clone(const struct request *r, uint64_t extra_flags, char *stack,
                          size_t stack_size, void (*entry)(void *), void *argument, int *ctid)
{
    const uint64_t ours = CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID |
                          CLONE_CHILD_CLEARTID | CLONE_CLEAR_SIGHAND;
    int32_t set_tid[32];
    int pidfd = -1;
    struct host_clone_args args = {
        .flags = (r->flags & ~ours) | extra_flags,
        .pidfd = r->flags & CLONE_PIDFD ? (uint64_t)&pidfd : 0,
        .child_tid = (uint64_t)ctid,
        .exit_signal = (uint64_t)r->exit_signal,
        .stack = (uint64_t)stack,
        .stack_size = stack_size,
        .cgroup = r->cgroup,
    };
    int64_t result;

    if (r->set_tid_size) {
        if (r->set_tid_size > sizeof(set_tid) / sizeof(*set_tid)) {
            return -EINVAL;
        }
        if (mem_guest_read(set_tid, r->set_tid, r->set_tid_size * sizeof(*set_tid)) < 0) {
            return -EFAULT;
        }
        args.set_tid = (uint64_t)set_tid;
        args.set_tid_size = r->set_tid_size;
    }
    if (entry) {
        result = thread_clone3_raw(&args, sizeof(args), entry, argument);
    } else {
        result = user_host_syscall(SYS_clone3, (uint64_t)&args, sizeof(args), 0, 0, 0, 0);
    }
    if (result == -ENOSYS && !(args.flags >> 32) && !r->set_tid_size) {
        /* An old kernel, or a container whose filter hides clone3. */
        uint64_t flags = args.flags | args.exit_signal;

        if (entry) {
            result = thread_clone_raw(flags, stack + stack_size, &pidfd, entry, argument, ctid);
        } else {
            result = user_host_syscall(SYS_clone, flags, 0, (uint64_t)&pidfd, 0, 0, 0);
        }
    }
    if (result > 0 && (r->flags & CLONE_PIDFD)) {
        mem_guest_store(r->pidfd, 4, (uint32_t)pidfd, NULL, NULL);
    }
    return result;
}

/* The child copies generated code, which is in memory shared with its parent: the parent goes on,
 * and may write there, when the child says so or has died. */
static void wait_for_copy(const uint32_t *copied, int pid)
{
    const struct timespec patience = {.tv_nsec = 20 * 1000 * 1000};

    while (!__atomic_load_n(copied, __ATOMIC_ACQUIRE)) {
        siginfo_t info = {0};

        user_host_syscall(SYS_futex, (uint64_t)copied, FUTEX_WAIT, 0, (uint64_t)&patience, 0, 0);
        if (user_host_syscall(SYS_waitid, P_PID, (uint64_t)pid, (uint64_t)&info,
                              WEXITED | WNOHANG | WNOWAIT | __WALL, 0, 0) < 0 ||
            info.si_pid == pid) {
            /* Dead; or somebody else's child (CLONE_PARENT), which is given its time. */
            if (info.si_pid == pid || user_host_syscall(SYS_kill, (uint64_t)pid, 0, 0, 0, 0, 0)) {
                return;
            }
        }
    }
}

static int64_t clone_fork(struct user_thread *t, const struct request *r)
{
    const uint64_t tid_flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID |
                               CLONE_SETTLS | CLONE_CLEAR_SIGHAND;
    bool plain = !(r->flags & ~tid_flags) && r->exit_signal == SIGCHLD && !r->set_tid_size;
    uint32_t *copied =
        mmap(NULL, MM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int64_t result;

    if (copied == MAP_FAILED) {
        return -ENOMEM;
    }
    result = signal_fork_prepare(t);
    if (result < 0) {
        munmap(copied, MM_PAGE_SIZE);
        return result;
    }
    lock_acquire(&list_lock);
    tcg_fork_prepare();
    mm_fork_prepare();
    if (plain) {
        result = fork();
        if (result < 0) {
            result = -errno;
        }
    } else {
        result = host_clone(r, 0, NULL, 0, NULL, NULL, NULL);
    }

    if (result == 0) {
        mm_fork_child();
        tcg_fork_child(t->cpu);
        __atomic_store_n(copied, 1, __ATOMIC_RELEASE);
        futex_wake(copied, 1);
        munmap(copied, MM_PAGE_SIZE);
        lock_init(&list_lock);
        signal_fork_child(t);
        set_ids(t);
        t->next = NULL;
        list = t;
        t->host_thread = NULL; /* libc counts threads anew */
        t->vfork_child = false;
        t->robust_list = 0;
        set_registers(t, r);
        write_tids(t, r);
        if (r->flags & CLONE_CLEAR_SIGHAND) {
            signal_clear_handlers(t);
        }
        signal_open(t);
        return -USER_ESIGRETURN; /* registers are set */
    }
    /* With CLONE_VFORK the child has executed or died by now. */
    if (result > 0 && !(r->flags & CLONE_VFORK)) {
        wait_for_copy(copied, (int)result);
    }
    munmap(copied, MM_PAGE_SIZE);
    mm_fork_parent();
    tcg_fork_parent();
    lock_release(&list_lock);
    signal_fork_parent(t);
    if (result > 0 && (r->flags & CLONE_PARENT_SETTID)) {
        mem_guest_store(r->parent_tid, 4, (uint32_t)result, NULL, NULL);
    }
    signal_open(t);
    return result;
}

/* First code of a process that shares our memory. */
static void process_entry(void *opaque)
{
    struct launch *launch = opaque;
    struct user_thread *t = launch->t;

    user_self = t;
    set_ids(t);
    t->vfork_child = true;
    write_tids(t, launch->request);
    list_add(t);
    if (launch->request->flags & CLONE_CLEAR_SIGHAND) {
        signal_clear_handlers(t);
    }
    if (signal_thread_start(t) < 0) {
        exit_host(127);
    }
    user_run(t);
}

static char *stack_new(void)
{
    char *stack = mmap(NULL, THREAD_STACK_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

#if defined(__SANITIZE_ADDRESS__)
    /* A process that shared our memory left its frames' marks where it ended. */
    if (stack != MAP_FAILED) {
        __asan_unpoison_memory_region(stack, THREAD_STACK_SIZE);
    }
#endif
    return stack == MAP_FAILED ? NULL : stack;
}

/* The child has left our memory. It may have been killed anywhere, so it has tidied up nothing. */
static void process_free(struct user_thread *t, char *stack)
{
    list_remove(t);
    thread_free(t);
    munmap(stack, THREAD_STACK_SIZE);
}

static int64_t clone_vfork(struct user_thread *creator, const struct request *r)
{
    struct launch launch = {.request = r, .t = thread_new(creator, r)};
    char *stack = stack_new();
    int64_t result;

    if (!launch.t || !stack) {
        if (launch.t) {
            thread_free(launch.t);
        }
        if (stack) {
            munmap(stack, THREAD_STACK_SIZE);
        }
        return -ENOMEM;
    }
    set_registers(launch.t, r);
    signal_close();
    result = host_clone(r, 0, stack, THREAD_STACK_SIZE, process_entry, &launch, NULL);
    user_self = creator;
    process_free(launch.t, stack);
    signal_open(creator);
    return result;
}

struct donor {
    struct launch launch;
    struct launch *reply;
    char *stack;
    int left; /* the child's tid word: 0 when it has left our memory */
};

/* Lends its thread-local storage to a process that shares our memory. */
static void *donor_entry(void *opaque)
{
    struct donor *donor = opaque;
    struct request request = *donor->launch.request;
    int64_t result;

    donor->launch.request = &request;
    donor->left = 1;
    result = host_clone(&request, CLONE_CHILD_CLEARTID, donor->stack, THREAD_STACK_SIZE,
                        process_entry, &donor->launch, &donor->left);
    if (result < 0) {
        donor->left = 0;
    }
    user_self = NULL;
    signal_close_all();
    launch_done(donor->reply, result);
    while (__atomic_load_n(&donor->left, __ATOMIC_ACQUIRE)) {
        futex_sleep((const uint32_t *)&donor->left, 1);
    }
    process_free(donor->launch.t, donor->stack);
    free(donor);
    return NULL;
}

static int64_t clone_process(struct user_thread *creator, const struct request *r)
{
    struct launch reply = {0};
    struct donor *donor = calloc(1, sizeof(*donor));
    int64_t result = -ENOMEM;

    if (donor) {
        donor->launch.request = r;
        donor->launch.t = thread_new(creator, r);
        donor->stack = stack_new();
        donor->reply = &reply;
    }
    if (donor && donor->launch.t && donor->stack) {
        set_registers(donor->launch.t, r);
        signal_close();
        result = host_thread_create(donor_entry, donor);
        if (result == 0) {
            result = launch_wait(&reply);
            donor = NULL; /* its own now */
        }
        signal_open(creator);
    }
    if (donor) {
        if (donor->launch.t) {
            thread_free(donor->launch.t);
        }
        if (donor->stack) {
            munmap(donor->stack, THREAD_STACK_SIZE);
        }
        free(donor);
    }
    return result;
}

static int64_t clone_any(struct user_thread *t, const struct request *r)
{
    uint64_t flags = r->flags;

    /* As copy_process() checks, before anything is done. */
    if ((flags & (CLONE_NEWNS | CLONE_FS)) == (CLONE_NEWNS | CLONE_FS) ||
        (flags & (CLONE_NEWUSER | CLONE_FS)) == (CLONE_NEWUSER | CLONE_FS) ||
        ((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) ||
        ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM))) {
        return -EINVAL;
    }
    if (flags & CLONE_THREAD) {
        /* Nobody is known to ask for a thread with its creator suspended, or to have a pidfd of one
         * from clone. */
        if (flags & (CLONE_VFORK | CLONE_PIDFD | CLONE_NEWUSER | CLONE_NEWPID)) {
            return -EINVAL;
        }
        return clone_thread(t, r);
    }
    if (!(flags & CLONE_VM)) {
        return clone_fork(t, r);
    }
    return flags & CLONE_VFORK ? clone_vfork(t, r) : clone_process(t, r);
}

int64_t sys_clone(struct user_thread *t, const uint64_t args[6])
{
    /* The order of CONFIG_CLONE_BACKWARDS, which the architectures here have. */
    uint32_t flags = (uint32_t)args[0];
    struct request r = {
        .flags = flags & ~(uint32_t)CSIGNAL & ~(uint32_t)CLONE_DETACHED,
        .exit_signal = (int)(flags & CSIGNAL),
        .sp = args[1],
        .parent_tid = args[2],
        .pidfd = args[2],
        .tls = args[3],
        .child_tid = args[4],
    };

    if ((flags & CLONE_PIDFD) && (flags & (CLONE_DETACHED | CLONE_PARENT_SETTID))) {
        return -EINVAL;
    }
    return clone_any(t, &r);
}

int64_t sys_clone3(struct user_thread *t, const uint64_t args[6])
{
    const uint64_t known = 0xffffff00ull | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP | CLONE_NEWTIME;
    struct host_clone_args a;
    uint64_t size = args[1];
    uint8_t tail;

    memset(&a, 0, sizeof(a));
    if (size > MM_PAGE_SIZE) {
        return -E2BIG;
    }
    if (size < CLONE_ARGS_MIN) {
        return -EINVAL;
    }
    if (mem_guest_read(&a, args[0], size < sizeof(a) ? size : sizeof(a)) < 0) {
        return -EFAULT;
    }
    for (uint64_t i = sizeof(a); i < size; i++) {
        if (mem_guest_read(&tail, args[0] + i, 1) < 0) {
            return -EFAULT;
        }
        if (tail) {
            return -E2BIG;
        }
    }
    if ((a.flags & ~known) || (a.flags & CLONE_DETACHED) || a.exit_signal > SIGNAL_COUNT ||
        ((a.flags & CLONE_SIGHAND) && (a.flags & CLONE_CLEAR_SIGHAND)) ||
        ((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal) || !a.stack != !a.stack_size ||
        !a.set_tid != !a.set_tid_size || ((a.flags & CLONE_INTO_CGROUP) && a.cgroup > INT_MAX)) {
        return -EINVAL;
    }

    struct request r = {
        .flags = a.flags,
        .exit_signal = (int)a.exit_signal,
        .sp = a.stack + a.stack_size,
        .parent_tid = a.parent_tid,
        .child_tid = a.child_tid,
        .pidfd = a.pidfd,
        .tls = a.tls,
        .set_tid = a.set_tid,
        .set_tid_size = a.set_tid_size,
        .cgroup = a.cgroup,
    };
    return clone_any(t, &r);
}
