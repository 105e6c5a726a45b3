/*
 * Signals in one process: delivery, masks, nesting, alternate stacks, waiting, queues, leaving a
 * handler by a jump and by changed registers.  sigproc.c has what concerns other processes, threads
 * and time.
 *
 * All but the parts under __riscv is what Linux does on any machine, and has been checked by
 * running this program natively too.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>

#include "tests/user/signals.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static void test_delivery(void)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2), pending, old;
    union sigval value = {.sival_int = 77};

    install(SIGUSR1, record, 0);
    install(SIGUSR2, record, 0);
    hits = 0;
    kill(getpid(), SIGUSR1);
    is(hits, 1, "kill to self is delivered before kill returns");
    ok(last.si_code == SI_USER && last.si_pid == getpid() && last.si_uid == getuid(),
       "siginfo of kill: SI_USER, pid, uid");
    raise(SIGUSR1);
    is(last.si_code, SI_TKILL, "siginfo of raise: SI_TKILL");
    sigqueue(getpid(), SIGUSR1, value);
    ok(last.si_code == SI_QUEUE && last.si_value.sival_int == 77, "siginfo of sigqueue: payload");

    hits = 0;
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR2);
    raise(SIGUSR1);
    raise(SIGUSR1);
    is(hits, 0, "blocked signals wait");
    sigpending(&pending);
    ok(sigismember(&pending, SIGUSR1) && sigismember(&pending, SIGUSR2) &&
           !sigismember(&pending, SIGTERM),
       "sigpending lists them");
    sigprocmask(SIG_SETMASK, &old, NULL);
    is(hits, 2, "standard signals do not queue");

    hits = 0;
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
    install(SIGUSR1, record, 0);
    is(hits, 0, "SIG_IGN discards what is pending");

    struct sigaction sa = {.sa_handler = SIG_IGN};
    ok(sigaction(SIGKILL, &sa, NULL) == -1 && errno == EINVAL, "SIGKILL cannot be caught");
    ok(sigaction(65, &sa, NULL) == -1 && errno == EINVAL, "there is no signal 65");
    ok(kill(getpid(), 65) == -1 && errno == EINVAL, "nor can it be sent");
    is(kill(getpid(), 0), 0, "signal 0 probes");
}

static volatile int depth, deepest, nested, mask_seen;

static void nest(int sig, siginfo_t *info, void *context)
{
    sigset_t mask;

    depth++;
    if (depth > deepest) {
        deepest = depth;
    }
    sigprocmask(SIG_BLOCK, NULL, &mask);
    mask_seen = sigismember(&mask, SIGUSR1) | sigismember(&mask, SIGUSR2) << 1;
    if (++nested < 4) {
        raise(sig);
    }
    depth--;
}

static void edit_mask(int sig, siginfo_t *info, void *context)
{
    sigaddset(&((ucontext_t *)context)->uc_sigmask, SIGUSR2);
}

static void test_masks(void)
{
    struct sigaction sa = {.sa_sigaction = nest, .sa_flags = SA_SIGINFO}, now;
    sigset_t mask, none;

    sigemptyset(&none);
    sigaddset(&sa.sa_mask, SIGUSR2);
    sigaction(SIGUSR1, &sa, NULL);
    depth = deepest = nested = 0;
    hits = 0;
    raise(SIGUSR1);
    ok(mask_seen == 3, "the handler's mask is its own signal and sa_mask");
    if (mask_seen != 3) {
        note("mask bits seen: %d", mask_seen);
    }
    is(deepest, 1, "a handler does not nest in itself");
    sigprocmask(SIG_BLOCK, NULL, &mask);
    ok(!sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGUSR2), "the mask is restored");

    install(SIGUSR1, nest, SA_NODEFER);
    depth = deepest = nested = 0;
    raise(SIGUSR1);
    is(deepest, 4, "SA_NODEFER nests");

    install(SIGUSR1, record, SA_RESETHAND);
    raise(SIGUSR1);
    sigaction(SIGUSR1, NULL, &now);
    ok(now.sa_handler == SIG_DFL, "SA_RESETHAND restores the default");

    install(SIGUSR1, edit_mask, 0);
    raise(SIGUSR1);
    sigprocmask(SIG_SETMASK, &none, &mask);
    ok(sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1),
       "uc_sigmask changed by the handler is in force after it");
}

static char *alt_base, other_base[65536];
static volatile int on_alt, alt_flags, alt_error;

static void probe_alt(int sig, siginfo_t *info, void *context)
{
    char here;
    stack_t now, other = {.ss_sp = other_base, .ss_size = 65536};

    on_alt = &here >= alt_base && &here < alt_base + 65536;
    sigaltstack(NULL, &now);
    alt_flags = now.ss_flags;
    alt_error = sigaltstack(&other, NULL) ? errno : 0;
}

static void test_altstack(void)
{
    stack_t alt = {.ss_size = 65536}, now;

    sigaltstack(NULL, &now);
    is(now.ss_flags, SS_DISABLE, "no alternate stack at first");
    alt_base = alt.ss_sp =
        mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    is(sigaltstack(&alt, NULL), 0, "sigaltstack");
    install(SIGUSR1, probe_alt, 0);
    raise(SIGUSR1);
    ok(!on_alt && alt_flags == 0, "without SA_ONSTACK it is not used");
    install(SIGUSR1, probe_alt, SA_ONSTACK);
    raise(SIGUSR1);
    ok(on_alt && alt_flags == SS_ONSTACK, "with SA_ONSTACK it is, and reported");
    is(alt_error, EPERM, "it cannot be changed while in use");
    sigaltstack(NULL, &now);
    is(now.ss_flags, 0, "afterwards it is free");
    alt.ss_flags = (int)SS_AUTODISARM;
    is(sigaltstack(&alt, NULL), 0, "SS_AUTODISARM");
    raise(SIGUSR1);
    ok(on_alt && alt_flags == SS_DISABLE, "in the handler it is disabled");
    is(alt_error, 0, "so it may be changed there");
    sigaltstack(NULL, &now);
    ok(now.ss_flags == (int)SS_AUTODISARM && now.ss_sp == alt_base, "and is armed again after it");
    alt.ss_flags = 0;
    alt.ss_size = 512;
    ok(sigaltstack(&alt, NULL) == -1 && errno == ENOMEM, "too small a stack");
    alt.ss_flags = 12;
    ok(sigaltstack(&alt, NULL) == -1 && errno == EINVAL, "unknown flags");
    alt.ss_flags = SS_DISABLE;
    is(sigaltstack(&alt, NULL), 0, "SS_DISABLE");
}

static void test_waiting(void)
{
    sigset_t set = set_of(SIGUSR1, SIGRTMIN), none, old;
    struct timespec nap = {0, 10000000};
    struct signalfd_siginfo got;
    siginfo_t info;
    int fd;

    sigemptyset(&none);
    install(SIGUSR1, record, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    hits = 0;
    raise(SIGUSR1);
    ok(sigsuspend(&none) == -1 && errno == EINTR && hits == 1, "sigsuspend lets it in");
    raise(SIGUSR1);
    is(hits, 1, "and blocks again");
    ok(sigwaitinfo(&set, &info) == SIGUSR1 && info.si_pid == getpid(), "sigwaitinfo");
    ok(sigtimedwait(&set, &info, &nap) == -1 && errno == EAGAIN, "sigtimedwait ends with EAGAIN");
    fd = signalfd(-1, &set, SFD_NONBLOCK);
    ok(read(fd, &got, sizeof(got)) == -1 && errno == EAGAIN, "signalfd: nothing yet");
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1234});
    ok(read(fd, &got, sizeof(got)) == sizeof(got) && (int)got.ssi_signo == SIGRTMIN &&
           got.ssi_int == 1234 && (int)got.ssi_code == SI_QUEUE,
       "signalfd: signal, code and payload");
    close(fd);
    is(hits, 1, "no handler ran");
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static volatile int queued[64], queue_length;

static void record_queue(int sig, siginfo_t *info, void *context)
{
    if (queue_length < 64) {
        queued[queue_length++] = sig * 100 + info->si_value.sival_int;
    }
}

static void test_queue(void)
{
    static const int sent[] = {6400, 4000, 4001, 3500, 6401, 5000, 3501, 4002};
    static const int want[] = {3500, 3501, 4000, 4001, 4002, 5000, 6400, 6401};
    sigset_t all, old;

    sigfillset(&all);
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) {
        struct sigaction sa = {
            .sa_sigaction = record_queue, .sa_flags = SA_SIGINFO, .sa_mask = all};

        sigaction(sig, &sa, NULL);
    }
    is(SIGRTMAX, 64, "64 signals");
    sigprocmask(SIG_BLOCK, &all, &old);
    for (int i = 0; i < 8; i++) {
        sigqueue(getpid(), sent[i] / 100, (union sigval){.sival_int = sent[i] % 100});
    }
    /*
     * With every handler blocking all, the kernel pushes one frame a signal, lowest number
     * outermost; hence sigtimedwait for the order in which they are dequeued.
     */
    for (int i = 0; i < 8; i++) {
        siginfo_t info;
        int sig = sigtimedwait(&all, &info, &(struct timespec){1, 0});

        queued[i] = sig * 100 + info.si_value.sival_int;
    }
    ok(!memcmp((void *)queued, want, sizeof(want)),
       "lowest number first, in order within a number");
    sigprocmask(SIG_SETMASK, &old, NULL);
    queue_length = 0;
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++) {
        sigqueue(getpid(), sig, (union sigval){.sival_int = sig % 100});
    }
    is(queue_length, SIGRTMAX - SIGRTMIN + 1, "every real-time signal can be delivered");
#ifdef __riscv
    /* 32 and 33 belong to the C library; the kernel gives them like any other. */
    for (int sig = 32; sig <= 33; sig++) {
        struct {
            void (*handler)(int, siginfo_t *, void *);
            unsigned long flags, mask;
        } raw = {record, SA_SIGINFO, 0};
        unsigned long mask = 1ul << (sig - 1);

        hits = 0;
        is(syscall(SYS_rt_sigaction, sig, &raw, NULL, 8), 0, "rt_sigaction of signal %d", sig);
        syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, 8);
        syscall(SYS_tgkill, getpid(), getpid(), sig);
        is(hits, 1, "signal %d is delivered", sig);
    }
#endif
}

static sigjmp_buf out;

static void jump_out(int sig, siginfo_t *info, void *context)
{
    siglongjmp(out, 1);
}

static void test_jumps(void)
{
    volatile int count = 0;
    volatile double x = 1;

    install(SIGUSR1, jump_out, 0);
    for (int i = 0; i < 1000; i++) {
        if (sigsetjmp(out, 1)) {
            count++;
        } else {
            raise(SIGUSR1);
        }
        x = x * 1.0 + 1;
    }
    ok(count == 1000 && x == 1001, "siglongjmp out of a thousand handlers");
}

#ifdef __riscv
static volatile uint64_t seen[2];

static void edit_registers(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;

    uc->uc_mcontext.__gregs[REG_PC] += 2; /* over c.ebreak */
    uc->uc_mcontext.__gregs[REG_A0] = 0xfeed0001;
    uc->uc_mcontext.__gregs[26] ^= 0xff;
    uc->uc_mcontext.__fpregs.__d.__f[18] = 0x4009000000000000;
    uc->uc_mcontext.__fpregs.__d.__fcsr = 0x61;
}

static void test_registers(void)
{
    uint64_t a0, s10, fs2, fcsr;

    install(SIGTRAP, edit_registers, 0);
    __asm__ volatile(".option push\n.option rvc\n"
                     "li a0, 1\n li s10, 0x55\n fmv.d.x fs2, zero\n fscsr zero\n"
                     "c.ebreak\n"
                     "mv %0, a0\n mv %1, s10\n fmv.x.d %2, fs2\n frcsr %3\n fscsr zero\n"
                     ".option pop"
                     : "=&r"(a0), "=&r"(s10), "=&r"(fs2), "=&r"(fcsr)
                     :
                     : "a0", "s10", "fs2");
    is(a0, 0xfeed0001, "a handler's change of a0 takes effect");
    is(s10, 0xaa, "and of s10");
    is(fs2, 0x4009000000000000, "and of fs2");
    is(fcsr, 0x61, "and of fcsr");
}
#endif

int main(void)
{
    test_delivery();
    test_masks();
    test_altstack();
    test_waiting();
    test_queue();
    test_jumps();
#ifdef __riscv
    test_registers();
#endif
    return tap_done();
}
