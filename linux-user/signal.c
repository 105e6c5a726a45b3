/*
 * Guest signals; signal.h has the design. Over 800 lines because masks, slots and doorbell are one
 * protocol between the host handler and the run loop, whose halves are read side by side.
 *
 * Order matters in three places:
 * - A new action of the guest reaches our table before the host when it brings a handler, so that
 *   what the host handler records finds it. Both happen under the lock.
 * - signal_deliver() clears the doorbell before it looks at the slots: what is recorded later rings
 *   again.
 * - The host mask is only opened while the asynchronous slot is empty.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include "accel/tcg/tcg.h"
#include "linux-user/abi.h"
#include "linux-user/signal.h"
#include "linux-user/thread.h"
#include "util/lock.h"
#include "util/log.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif
#ifndef SA_EXPOSE_TAGBITS
#define SA_EXPOSE_TAGBITS 0x800
#endif
#ifndef SA_RESTORER
#define SA_RESTORER 0x04000000
#endif
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

/* The flags the kernel knows (UAPI_SA_FLAGS); others are cleared from what the guest passes. */
#define KNOWN_FLAGS                                                                            \
    ((uint64_t)(unsigned)(SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | \
                          SA_NODEFER | SA_RESETHAND | SA_EXPOSE_TAGBITS))

#define UNBLOCKABLE      (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define MIN_ALTSTACK     2048 /* MINSIGSTKSZ of asm-generic */
#define HANDLER_DEFAULT  0
#define HANDLER_IGNORE   1
#define FAULT_COUNT      5
#define SLOT_ASYNC       FAULT_COUNT
#define SLOT_COUNT       (FAULT_COUNT + 1)
#define KERNEL_SIGINFO   128
#define HOST_STACK_SPARE (48 * 1024)

static const int fault_signals[FAULT_COUNT] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

struct signal_actions {
    struct lock lock;
    uint32_t users;
    struct signal_action action[SIGNAL_COUNT + 1];
};

struct signal_queue {
    struct signal_actions *actions;
    uint32_t recorded; /* bit i: slot[i] is full. The handler sets bits, the thread clears them. */
    uint32_t pending;  /* bit i: pending_info[i] waits for the guest to unblock fault_signals[i] */
    siginfo_t slot[SLOT_COUNT];
    siginfo_t pending_info[FAULT_COUNT];
    void *host_stack;
    size_t host_stack_size;
};

_Static_assert(sizeof(siginfo_t) == KERNEL_SIGINFO, "siginfo_t is the kernel's");

/* The x86-64 kernel's sigaction. */
struct host_action {
    void *handler;
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

/* safe-syscall.S */
int64_t user_safe_syscall_raw(const uint32_t *doorbell, long nr, uint64_t a0, uint64_t a1,
                              uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5);
void signal_host_return(void);
extern const char user_safe_start[], user_safe_end[], user_safe_restart[];

int64_t user_safe_syscall(struct user_thread *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                          uint64_t a3, uint64_t a4, uint64_t a5)
{
    return user_safe_syscall_raw(&t->signal_doorbell, nr, a0, a1, a2, a3, a4, a5);
}

/* ---- the host's side ------------------------------------------------------------------------ */

static int fault_index(int signo)
{
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (fault_signals[i] == signo) {
            return i;
        }
    }
    return -1;
}

static void ring(struct user_thread *t)
{
    __atomic_store_n(&t->signal_doorbell, 1, __ATOMIC_SEQ_CST);
    cpu_kick(t->cpu);
}

static bool slot_full(const struct signal_queue *q, int slot)
{
    return __atomic_load_n(&q->recorded, __ATOMIC_ACQUIRE) >> slot & 1;
}

static void set_host_mask(uint64_t mask)
{
    user_host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&mask, 0, sizeof(mask), 0, 0);
}

static void set_host_action(int signo, const struct host_action *action)
{
    user_host_syscall(SYS_rt_sigaction, signo, (uint64_t)action, 0, sizeof(uint64_t), 0, 0);
}

/* Was a signal of the five raised by an instruction of this thread (as opposed to kill() and other
 * senders that have nothing to do with what it executes)? */
static bool is_fault(int signo, int code)
{
    return code > 0 && !(signo == SIGBUS && code == BUS_MCEERR_AO) &&
           !(signo == SIGTRAP && code == TRAP_PERF);
}

/* The emulator itself has faulted. Says where; on return the instruction faults again, which ends
 * the process and may leave a core file of ours. */
static void report_own_fault(int signo, const siginfo_t *info, const ucontext_t *context)
{
    const struct host_action none = {.flags = SA_RESTORER, .restorer = signal_host_return};

    log_printf("tinamou: internal error: signal %d, code %d at host address %#llx, accessing %p\n",
               signo, info->si_code, (unsigned long long)context->uc_mcontext.gregs[REG_RIP],
               info->si_addr);
    set_host_action(signo, &none);
}

static void host_handler(int signo, siginfo_t *info, void *opaque)
{
    ucontext_t *context = opaque;
    struct user_thread *t = user_self;
    int slot = fault_index(signo);

    if (slot >= 0 && is_fault(signo, info->si_code)) {
        if (!(t && tcg_handle_fault(t->cpu, signo, info, context)) &&
            !mem_guest_fixup(signo, info, context)) {
            report_own_fault(signo, info, context);
        }
        return;
    }
    if (!t) {
        return; /* a thread without a guest, which had no time to block signals */
    }
    if (slot < 0) {
        const uint64_t closed = ~SIGNAL_FAULTS;

        slot = SLOT_ASYNC;
        /* The kernel's set is 8 bytes; what libc has behind them is not in the frame. */
        memcpy(&context->uc_sigmask, &closed, sizeof(closed));
    }
    if (!slot_full(t->queue, slot)) {
        memcpy(&t->queue->slot[slot], info, KERNEL_SIGINFO);
        __atomic_fetch_or(&t->queue->recorded, 1u << slot, __ATOMIC_RELEASE);
    }
    ring(t);

    const char *rip = (const char *)context->uc_mcontext.gregs[REG_RIP];
    if (rip >= user_safe_start && rip < user_safe_end) {
        context->uc_mcontext.gregs[REG_RIP] = (greg_t)user_safe_restart;
    }
}

enum default_action { DEFAULT_DIE, DEFAULT_IGNORE, DEFAULT_STOP };

static enum default_action default_action(int signo)
{
    switch (signo) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
    case SIGCONT:
        return DEFAULT_IGNORE;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU:
        return DEFAULT_STOP;
    default:
        return DEFAULT_DIE;
    }
}

/* Does a signal without a handler of the guest's come to ours? The five that instructions raise do;
 * and those that end the process, if something is to be said then. */
static bool is_watched(int signo, const struct signal_action *guest)
{
    return fault_index(signo) >= 0 ||
           (log_enabled(LOG_STATS) && guest->handler == HANDLER_DEFAULT && signo != SIGKILL &&
            default_action(signo) == DEFAULT_DIE);
}

/* Makes the host's action what the guest's asks for. */
static void install(int signo, const struct signal_action *guest)
{
    bool handled = guest->handler > HANDLER_IGNORE;
    struct host_action host = {.flags = SA_RESTORER, .restorer = signal_host_return, .mask = ~0ull};

    host.flags |= guest->flags & (SA_NOCLDSTOP | SA_NOCLDWAIT);
    if (handled || is_watched(signo, guest)) {
        host.handler = (void *)host_handler;
        host.flags |= SA_SIGINFO | SA_ONSTACK;
        /* A call interrupted by one that has no handler should not notice. */
        host.flags |= handled ? guest->flags & SA_RESTART : SA_RESTART;
        if (fault_index(signo) < 0) {
            host.flags |= guest->flags & (unsigned)SA_RESETHAND;
        }
    } else {
        host.handler = (void *)guest->handler;
        host.mask = guest->mask;
    }
    set_host_action(signo, &host);
}

void signal_close(void)
{
    set_host_mask(~SIGNAL_FAULTS);
}

void signal_close_all(void)
{
    set_host_mask(~0ull);
}

/* Requires an empty asynchronous slot, unless the doorbell has been rung for it: then the mask is
 * left to signal_deliver(). */
void signal_open(struct user_thread *t)
{
    if (slot_full(t->queue, SLOT_ASYNC)) {
        set_host_mask(~SIGNAL_FAULTS);
    } else {
        set_host_mask(signal_host_mask(t->sigmask));
    }
}

#define LIBRARY_SIGNAL 33 /* SIGSETXID of glibc */

/* One is enough: the process has one thread then. */
static struct {
    struct host_action action;
    uint64_t mask;
} before_library;

void signal_library_starts(void)
{
    user_host_syscall(SYS_rt_sigaction, LIBRARY_SIGNAL, 0, (uint64_t)&before_library.action,
                      sizeof(uint64_t), 0, 0);
    user_host_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (uint64_t)&before_library.mask,
                      sizeof(before_library.mask), 0, 0);
}

void signal_library_started(void)
{
    set_host_action(LIBRARY_SIGNAL, &before_library.action);
    set_host_mask(before_library.mask);
}

/* ---- threads -------------------------------------------------------------------------------- */

int signal_init(struct user_thread *first)
{
    struct signal_queue *q = calloc(1, sizeof(*q));
    struct signal_actions *actions = calloc(1, sizeof(*actions));
    uint64_t mask = 0;

    if (!q || !actions) {
        free(q);
        free(actions);
        return -ENOMEM;
    }
    actions->users = 1;
    q->actions = actions;
    first->queue = q;
    first->altstack = (struct user_altstack){.flags = SS_DISABLE};
    user_host_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (uint64_t)&mask, sizeof(mask), 0, 0);
    first->sigmask = mask;
    set_host_mask(~0ull);

    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        struct host_action host = {0};

        user_host_syscall(SYS_rt_sigaction, signo, 0, (uint64_t)&host, sizeof(uint64_t), 0, 0);
        /* A handler can only be one of our own process's libc or sanitizer. */
        if (host.handler == (void *)SIG_IGN) {
            actions->action[signo].handler = HANDLER_IGNORE;
        }
        if (is_watched(signo, &actions->action[signo])) {
            install(signo, &actions->action[signo]);
        }
    }
    return signal_thread_start(first);
}

int signal_thread_inherit(struct user_thread *t, const struct user_thread *creator,
                          uint64_t clone_flags)
{
    struct signal_queue *q = calloc(1, sizeof(*q));
    struct signal_actions *from = creator->queue->actions;

    if (!q) {
        return -ENOMEM;
    }
    if (clone_flags & CLONE_SIGHAND) {
        __atomic_fetch_add(&from->users, 1, __ATOMIC_RELAXED);
        q->actions = from;
    } else {
        struct signal_actions *actions = calloc(1, sizeof(*actions));

        if (!actions) {
            free(q);
            return -ENOMEM;
        }
        lock_acquire(&from->lock);
        memcpy(actions->action, from->action, sizeof(actions->action));
        lock_release(&from->lock);
        actions->users = 1;
        q->actions = actions;
    }
    t->queue = q;
    t->signal_doorbell = 0;
    t->sigmask = creator->restore_sigmask ? creator->saved_sigmask : creator->sigmask;
    t->restore_sigmask = false;
    /* The kernel: a task that shares memory without a suspended parent has no alternate stack. */
    if ((clone_flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM) {
        t->altstack = (struct user_altstack){.flags = SS_DISABLE};
    } else {
        t->altstack = creator->altstack;
    }
    return 0;
}

void signal_thread_free(struct user_thread *t)
{
    struct signal_queue *q = t->queue;

    if (!q) {
        return;
    }
    if (__atomic_sub_fetch(&q->actions->users, 1, __ATOMIC_ACQ_REL) == 0) {
        free(q->actions);
    }
    if (q->host_stack) {
        munmap(q->host_stack, q->host_stack_size);
    }
    free(q);
    t->queue = NULL;
}

int signal_thread_start(struct user_thread *t)
{
    struct signal_queue *q = t->queue;
    stack_t stack;

    if (!q->host_stack) {
        size_t size = getauxval(AT_MINSIGSTKSZ) + HOST_STACK_SPARE;
        void *memory;

        size = (size + 4095) & ~(size_t)4095;
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            return -ENOMEM;
        }
        q->host_stack = memory;
        q->host_stack_size = size;
    }
    stack = (stack_t){.ss_sp = q->host_stack, .ss_size = q->host_stack_size};
    user_host_syscall(SYS_sigaltstack, (uint64_t)&stack, 0, 0, 0, 0, 0);
    user_self = t;
    signal_open(t);
    return 0;
}

void signal_thread_end(struct user_thread *t)
{
    const stack_t none = {.ss_flags = SS_DISABLE};

    signal_close();
    user_self = NULL;
    user_host_syscall(SYS_sigaltstack, (uint64_t)&none, 0, 0, 0, 0, 0);
}

int64_t signal_fork_prepare(struct user_thread *t)
{
    set_host_mask(~SIGNAL_FAULTS);
    if (signal_pending(t)) {
        signal_open(t);
        return -USER_ERESTARTNOINTR;
    }
    lock_acquire(&t->queue->actions->lock);
    return 0;
}

void signal_fork_parent(struct user_thread *t)
{
    lock_release(&t->queue->actions->lock);
}

void signal_fork_child(struct user_thread *t)
{
    struct signal_queue *q = t->queue;

    lock_init(&q->actions->lock);
    q->actions->users = 1;
    q->recorded = 0;
    q->pending = 0;
    __atomic_store_n(&t->signal_doorbell, 0, __ATOMIC_RELAXED);
}

void signal_clear_handlers(struct user_thread *t)
{
    struct signal_actions *actions = t->queue->actions;

    lock_acquire(&actions->lock);
    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        struct signal_action *action = &actions->action[signo];

        if (action->handler > HANDLER_IGNORE) {
            *action = (struct signal_action){0};
            install(signo, action);
        }
    }
    lock_release(&actions->lock);
}

int64_t signal_exec_prepare(struct user_thread *t)
{
    struct signal_actions *actions = t->queue->actions;
    const struct host_action ignore = {
        .handler = (void *)SIG_IGN, .flags = SA_RESTORER, .restorer = signal_host_return};

    set_host_mask(~SIGNAL_FAULTS);
    if (signal_pending(t)) {
        signal_open(t);
        return -USER_ERESTARTNOINTR;
    }
    lock_acquire(&actions->lock);
    for (int i = 0; i < FAULT_COUNT; i++) {
        if (actions->action[fault_signals[i]].handler == HANDLER_IGNORE) {
            set_host_action(fault_signals[i], &ignore);
        }
    }
    lock_release(&actions->lock);
    /* The rest of the way the guest's own mask is in force. What arrives now is recorded, and lost
     * with us if the kernel goes through with it: as natively, where handlers end with the old
     * program. */
    set_host_mask(t->sigmask);
    return 0;
}

void signal_exec_failed(struct user_thread *t)
{
    struct signal_actions *actions = t->queue->actions;

    set_host_mask(~SIGNAL_FAULTS);
    lock_acquire(&actions->lock);
    for (int i = 0; i < FAULT_COUNT; i++) {
        install(fault_signals[i], &actions->action[fault_signals[i]]);
    }
    lock_release(&actions->lock);
    signal_open(t);
}

/* ---- delivery ------------------------------------------------------------------------------- */

void signal_die(struct user_thread *t, int signo)
{
    const struct host_action none = {.flags = SA_RESTORER, .restorer = signal_host_return};
    uint64_t pid = (uint64_t)user_host_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
    uint64_t tid = (uint64_t)user_host_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);

    log_items_printf(LOG_INT, "guest killed by signal %d at pc %#llx\n", signo,
                     (unsigned long long)abi_pc(t->cpu));
    user_print_stats(t, "deadly signal");
    signal_close_all();
    set_host_action(signo, &none);
    user_host_syscall(SYS_tgkill, pid, tid, (uint64_t)signo, 0, 0, 0);
    set_host_mask(~SIGNAL_BIT(signo));
    /* Reached only by a process its signals can't kill, such as the first of a namespace. */
    for (;;) {
        user_host_syscall(SYS_exit_group, 128 + (uint64_t)signo, 0, 0, 0, 0, 0);
    }
}

/* Resolves the restart of the system call that a signal has interrupted; handler_flags: of the
 * action whose handler comes next, or -1 if none does. */
static void resolve_restart(struct user_thread *t, int64_t handler_flags)
{
    int64_t code = t->syscall_restart;
    bool again = code == -USER_ERESTARTNOINTR || handler_flags < 0 ||
                 (code == -USER_ERESTARTSYS && (handler_flags & SA_RESTART));

    if (code == 0) {
        return;
    }
    t->syscall_restart = 0;
    if (again) {
        abi_syscall_again(t->cpu, t->syscall_nr, t->syscall_args[0]);
    } else {
        abi_syscall_result(t->cpu, -EINTR);
    }
}

/* The frame of a handler can't be written, or a frame to return from is none: SIGSEGV, fatal where
 * it could not be handled. */
static void deliver(struct user_thread *t, const siginfo_t *info);

static void bad_frame(struct user_thread *t, int signo)
{
    struct signal_actions *actions = t->queue->actions;
    siginfo_t info;
    bool fatal;

    lock_acquire(&actions->lock);
    fatal = signo == SIGSEGV || actions->action[SIGSEGV].handler <= HANDLER_IGNORE ||
            (t->sigmask & SIGNAL_BIT(SIGSEGV));
    lock_release(&actions->lock);
    if (fatal) {
        signal_die(t, SIGSEGV);
    }
    memset(&info, 0, sizeof(info));
    info.si_signo = SIGSEGV;
    info.si_code = SI_KERNEL;
    deliver(t, &info);
}

/* Takes one signal to its handler or its default action. The host mask is closed. */
static void deliver(struct user_thread *t, const siginfo_t *info)
{
    struct signal_actions *actions = t->queue->actions;
    int signo = info->si_signo;
    struct signal_action action;

    lock_acquire(&actions->lock);
    action = actions->action[signo];
    if (action.handler > HANDLER_IGNORE && (action.flags & (unsigned)SA_RESETHAND)) {
        actions->action[signo].handler = HANDLER_DEFAULT;
        if (is_watched(signo, &actions->action[signo])) {
            install(signo, &actions->action[signo]);
        }
    }
    lock_release(&actions->lock);

    if (user_process.strace) {
        strace_signal(t, info);
    }
    if (action.handler == HANDLER_IGNORE) {
        return;
    }
    if (action.handler == HANDLER_DEFAULT) {
        switch (default_action(signo)) {
        case DEFAULT_IGNORE:
            return;
        case DEFAULT_STOP:
            /* The host's disposition is the default by now: the kernel stops us when the mask
             * opens. */
            user_host_syscall(SYS_rt_tgsigqueueinfo, (uint64_t)t->tgid, (uint64_t)t->tid,
                              (uint64_t)signo, (uint64_t)info, 0, 0);
            return;
        case DEFAULT_DIE:
            signal_die(t, signo);
        }
    }

    resolve_restart(t, (int64_t)action.flags);

    uint64_t sp = abi_sp(t->cpu);
    const struct user_altstack *alt = &t->altstack;
    bool on_stack = signal_on_altstack(alt, sp);
    struct abi_sigframe_request request = {
        .signo = signo,
        .info = info,
        .handler = action.handler,
        .flags = action.flags,
        .mask = t->restore_sigmask ? t->saved_sigmask : t->sigmask,
        .sp = sp,
        .altstack = alt,
    };
    bool switched = (action.flags & SA_ONSTACK) && alt->size && !on_stack;

    if (switched) {
        request.sp = alt->sp + alt->size;
    }
    t->restore_sigmask = false;
    if (abi_sigframe_push(t, &request) < 0) {
        bad_frame(t, signo);
        return;
    }
    t->sigmask |= action.mask;
    if (!(action.flags & SA_NODEFER)) {
        t->sigmask |= SIGNAL_BIT(signo);
    }
    if (alt->flags & SS_AUTODISARM) {
        t->altstack = (struct user_altstack){.flags = SS_DISABLE};
    }
}

struct forward {
    const struct user_thread *from;
    const siginfo_t *info;
    bool done;
};

static void forward_one(void *opaque, struct user_thread *t)
{
    struct forward *f = opaque;
    uint64_t mask = __atomic_load_n(&t->sigmask, __ATOMIC_RELAXED);

    if (f->done || t == f->from || t->tgid != f->from->tgid ||
        (mask & SIGNAL_BIT(f->info->si_signo))) {
        return;
    }
    f->done = user_host_syscall(SYS_rt_tgsigqueueinfo, (uint64_t)t->tgid, (uint64_t)t->tid,
                                (uint64_t)f->info->si_signo, (uint64_t)f->info, 0, 0) == 0;
}

/* One of the five, sent while this thread blocks it. One meant for the whole process goes to a
 * thread that lets it through, if there is any: the host had no reason to choose that one. */
static void keep_pending(struct user_thread *t, int slot, const siginfo_t *info)
{
    struct forward forward = {.from = t, .info = info};

    if (info->si_code != SI_TKILL) {
        thread_each(forward_one, &forward);
    }
    if (!forward.done && !(t->queue->pending >> slot & 1)) {
        t->queue->pending_info[slot] = *info;
        t->queue->pending |= 1u << slot;
    }
}

uint64_t signal_pending_faults(const struct user_thread *t)
{
    uint64_t set = 0;

    for (int i = 0; i < FAULT_COUNT; i++) {
        if (t->queue->pending >> i & 1) {
            set |= SIGNAL_BIT(fault_signals[i]);
        }
    }
    return set;
}

int signal_take_fault(struct user_thread *t, uint64_t set, siginfo_t *info)
{
    struct signal_queue *q = t->queue;

    for (int i = 0; i < FAULT_COUNT; i++) {
        if ((q->pending >> i & 1) && (set & SIGNAL_BIT(fault_signals[i]))) {
            *info = q->pending_info[i];
            q->pending &= ~(1u << i);
            return fault_signals[i];
        }
    }
    return 0;
}

void signal_deliver(struct user_thread *t)
{
    struct signal_queue *q = t->queue;

    while (signal_pending(t) || t->restore_sigmask || t->syscall_restart) {
        siginfo_t info;
        bool had_async = false;

        if (t->syscall_restart == -USER_ERESTARTNOINTR) {
            resolve_restart(t, 0);
        }
        __atomic_store_n(&t->signal_doorbell, 0, __ATOMIC_SEQ_CST);
        for (int i = 0; i < FAULT_COUNT; i++) {
            if (!slot_full(q, i)) {
                continue;
            }
            info = q->slot[i];
            __atomic_fetch_and(&q->recorded, ~(1u << i), __ATOMIC_ACQ_REL);
            keep_pending(t, i, &info);
        }
        /* From here to signal_open() no asynchronous signal may be recorded under a mask that is
         * being changed. If one is in the slot, the host is closed already. */
        if (!slot_full(q, SLOT_ASYNC)) {
            set_host_mask(~SIGNAL_FAULTS);
        }
        while (signal_take_fault(t, ~t->sigmask, &info)) {
            deliver(t, &info);
        }
        if (slot_full(q, SLOT_ASYNC)) {
            info = q->slot[SLOT_ASYNC];
            __atomic_fetch_and(&q->recorded, ~(1u << SLOT_ASYNC), __ATOMIC_ACQ_REL);
            had_async = true;
        }
        if (had_async) {
            deliver(t, &info);
        }
        if (t->restore_sigmask) {
            t->restore_sigmask = false;
            t->sigmask = t->saved_sigmask;
        }
        resolve_restart(t, -1);
        signal_open(t);
    }
}

void signal_force(struct user_thread *t, int signo, int code, uint64_t addr)
{
    struct signal_actions *actions = t->queue->actions;
    siginfo_t info;
    bool fatal;

    set_host_mask(~SIGNAL_FAULTS);
    if (slot_full(t->queue, SLOT_ASYNC)) {
        /* It came before the instruction, which runs (and faults) again behind the handler. */
        return;
    }
    lock_acquire(&actions->lock);
    fatal = actions->action[signo].handler <= HANDLER_IGNORE || (t->sigmask & SIGNAL_BIT(signo));
    lock_release(&actions->lock);

    memset(&info, 0, sizeof(info));
    info.si_signo = signo;
    info.si_code = code;
    info.si_addr = (void *)addr;
    if (fatal) {
        if (user_process.strace) {
            strace_signal(t, &info);
        }
        signal_die(t, signo);
    }
    deliver(t, &info);
    signal_open(t);
}

int64_t signal_bad_return(struct user_thread *t)
{
    set_host_mask(~SIGNAL_FAULTS);
    if (slot_full(t->queue, SLOT_ASYNC)) {
        return -USER_ERESTARTNOINTR;
    }
    bad_frame(t, 0);
    signal_open(t);
    return -USER_ESIGRETURN;
}

bool signal_fault_recorded(const struct user_thread *t)
{
    return __atomic_load_n(&t->queue->recorded, __ATOMIC_ACQUIRE) & ((1u << SLOT_ASYNC) - 1);
}

/* ---- system calls --------------------------------------------------------------------------- */

int64_t signal_set_action(struct user_thread *t, int signo, const struct signal_action *new,
                          struct signal_action *old)
{
    struct signal_actions *actions = t->queue->actions;
    struct signal_action *action;

    if (signo < 1 || signo > SIGNAL_COUNT || (new && (signo == SIGKILL || signo == SIGSTOP))) {
        return -EINVAL;
    }
    action = &actions->action[signo];
    lock_acquire(&actions->lock);
    if (old) {
        *old = *action;
    }
    if (new) {
        int slot = fault_index(signo);

        *action = *new;
        action->flags &= KNOWN_FLAGS;
        action->mask &= ~UNBLOCKABLE;
        install(signo, action);
        if (slot >= 0 && action->handler == HANDLER_IGNORE) {
            t->queue->pending &= ~(1u << slot);
        }
    }
    lock_release(&actions->lock);
    return 0;
}

int64_t signal_set_mask(struct user_thread *t, uint64_t mask)
{
    mask &= ~UNBLOCKABLE;
    if (signal_host_mask(mask) != signal_host_mask(t->sigmask)) {
        uint64_t host = signal_host_mask(mask);
        int64_t result = user_safe_syscall(t, SYS_rt_sigprocmask, SIG_SETMASK, (uint64_t)&host, 0,
                                           sizeof(host), 0, 0);

        if (result < 0) {
            return result;
        }
    }
    __atomic_store_n(&t->sigmask, mask, __ATOMIC_RELAXED);
    if (signal_pending_faults(t) & ~mask) {
        ring(t);
    }
    return 0;
}

bool signal_on_altstack(const struct user_altstack *stack, uint64_t sp)
{
    return !(stack->flags & SS_AUTODISARM) && sp > stack->sp && sp - stack->sp <= stack->size;
}

int64_t signal_set_altstack(struct user_thread *t, const struct user_altstack *new,
                            struct user_altstack *old, uint64_t sp)
{
    struct user_altstack *current = &t->altstack;
    uint32_t mode;

    if (old) {
        *old = *current;
        old->flags = current->flags & SS_AUTODISARM;
        if (!current->size) {
            old->flags |= SS_DISABLE;
        } else if (signal_on_altstack(current, sp)) {
            old->flags |= SS_ONSTACK;
        }
    }
    if (!new) {
        return 0;
    }
    mode = new->flags & ~SS_AUTODISARM;
    if (signal_on_altstack(current, sp)) {
        return -EPERM;
    }
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) {
        return -EINVAL;
    }
    if (mode == SS_DISABLE) {
        *current = (struct user_altstack){.flags = new->flags};
        return 0;
    }
    if (new->size < MIN_ALTSTACK) {
        return -ENOMEM;
    }
    *current = *new;
    return 0;
}

int64_t signal_before_wait(const struct user_thread *t, uint64_t mask)
{
    return signal_pending_faults(t) & ~mask ? -EINTR : 0;
}

int64_t signal_after_wait(struct user_thread *t, uint64_t mask, int64_t result)
{
    if (result == -EINTR) {
        t->saved_sigmask = t->sigmask;
        t->sigmask = mask & ~UNBLOCKABLE;
        t->restore_sigmask = true;
        ring(t);
    }
    return result;
}
