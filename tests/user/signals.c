/*
 * Asynchronous signals: delivery, masks, nesting, alternate stacks, queues, restarting of system
 * calls, default actions as a parent sees them, and that a storm of signals corrupts nothing.
 *
 * All but the parts under __riscv is what Linux does on any machine, and has been checked by
 * running this program natively too.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "tests/user/tap.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static volatile sig_atomic_t hits, order[256];
static siginfo_t last;
static pthread_t last_thread;
static int wake_pipe[2];

static void record(int sig, siginfo_t *info, void *context)
{
    if (hits < 256)
        order[hits] = sig;
    hits++;
    last = *info;
    last_thread = pthread_self();
}

static void install(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    sigaction(sig, &sa, NULL);
}

static sigset_t set_of(int a, int b)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, a);
    if (b)
        sigaddset(&set, b);
    return set;
}

/* Sends SIGALRM after `us` microseconds, and every `interval` thereafter unless that is 0. */
static void timer_us(long us, long interval)
{
    struct itimerval it = {{0, interval}, {0, us}};

    setitimer(ITIMER_REAL, &it, NULL);
}

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
    if (depth > deepest)
        deepest = depth;
    sigprocmask(SIG_BLOCK, NULL, &mask);
    mask_seen = sigismember(&mask, SIGUSR1) | sigismember(&mask, SIGUSR2) << 1;
    if (++nested < 4)
        raise(sig);
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
    if (mask_seen != 3)
        note("mask bits seen: %d", mask_seen);
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

static void feed(int sig, siginfo_t *info, void *context)
{
    hits++;
    if (write(wake_pipe[1], "x", 1) != 1)
        _exit(9);
}

static void test_restart(void)
{
    struct timespec nap = {1, 0}, left = {0, 0};
    char c;
    int bad = 0;

    if (pipe(wake_pipe))
        _exit(9);
    install(SIGALRM, record, 0);
    timer_us(20000, 0);
    ok(read(wake_pipe[0], &c, 1) == -1 && errno == EINTR, "read without SA_RESTART: EINTR");
    install(SIGALRM, feed, SA_RESTART);
    timer_us(20000, 0);
    is(read(wake_pipe[0], &c, 1), 1, "read with SA_RESTART goes on");
    install(SIGALRM, record, SA_RESTART);
    timer_us(20000, 0);
    ok(nanosleep(&nap, &left) == -1 && errno == EINTR && left.tv_nsec > 500000000,
       "nanosleep is interrupted even so, and says what is left");
    timer_us(20000, 0);
    ok(poll(NULL, 0, 1000) == -1 && errno == EINTR, "so is poll");
    /* A signal between the emulator's check and the system call must not be forgotten. */
    install(SIGALRM, feed, SA_RESTART);
    for (int i = 0; i < 1500; i++) {
        timer_us(1 + i % 70, 0);
        bad += read(wake_pipe[0], &c, 1) != 1;
    }
    is(bad, 0, "1500 reads, each ended by its own timer's handler");
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
    if (queue_length < 64)
        queued[queue_length++] = sig * 100 + info->si_value.sival_int;
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
    for (int i = 0; i < 8; i++)
        sigqueue(getpid(), sent[i] / 100, (union sigval){.sival_int = sent[i] % 100});
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
    for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
        sigqueue(getpid(), sig, (union sigval){.sival_int = sig % 100});
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
        if (sigsetjmp(out, 1))
            count++;
        else
            raise(SIGUSR1);
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

static void test_defaults(void)
{
    static const int fatal[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,    SIGTRAP, SIGABRT,
                                SIGBUS,  SIGFPE,  SIGKILL, SIGUSR1,   SIGSEGV, SIGUSR2,
                                SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ,
                                SIGPROF, SIGIO,   SIGPWR,  SIGSYS,    34,      64};
    static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    int status, bad = 0;
    pid_t pid;

    signal(SIGCHLD, SIG_DFL);
    for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        if (!(pid = fork())) {
            signal(fatal[i], SIG_DFL);
            kill(getpid(), fatal[i]);
            _exit(7);
        }
        waitpid(pid, &status, 0);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != fatal[i]) {
            bad++;
            note("signal %d: status 0x%x", fatal[i], (unsigned)status);
        }
    }
    is(bad, 0, "a parent sees the signal that killed its child");
    for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        if (!(pid = fork())) {
            signal(ignored[i], SIG_DFL);
            kill(getpid(), ignored[i]);
            _exit(7);
        }
        waitpid(pid, &status, 0);
        is(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 7, "signal %d is ignored by default",
           ignored[i]);
    }
    if (!(pid = fork())) {
        volatile int *volatile null = NULL;

        signal(SIGSEGV, SIG_DFL);
        _exit(*null);
    }
    waitpid(pid, &status, 0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "a fault without a handler kills");
    if (!(pid = fork())) {
        volatile int *volatile null = NULL;
        sigset_t set = set_of(SIGSEGV, 0);

        install(SIGSEGV, record, 0);
        sigprocmask(SIG_BLOCK, &set, NULL);
        _exit(*null);
    }
    waitpid(pid, &status, 0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "so does one with its signal blocked");
    if (!(pid = fork())) {
        raise(SIGSTOP);
        _exit(5);
    }
    waitpid(pid, &status, WUNTRACED);
    ok(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "SIGSTOP stops");
    kill(pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    ok(WIFCONTINUED(status), "SIGCONT continues");
    waitpid(pid, &status, 0);
    is(WEXITSTATUS(status), 5, "to its end");
}

static void test_child(void)
{
    sigset_t set = set_of(SIGCHLD, 0), old;
    siginfo_t info;
    pid_t pid;

    install(SIGCHLD, record, 0);
    sigprocmask(SIG_BLOCK, &set, &old);
    if (!(pid = fork()))
        _exit(42);
    sigwaitinfo(&set, &info);
    ok(info.si_code == CLD_EXITED && info.si_pid == pid && info.si_status == 42,
       "SIGCHLD of an exit: code, pid, status");
    memset(&info, 0, sizeof(info));
    is(waitid(P_PID, (id_t)pid, &info, WEXITED), 0, "waitid");
    ok(info.si_code == CLD_EXITED && info.si_pid == pid && info.si_status == 42, "says the same");
    if (!(pid = fork()))
        for (;;)
            pause();
    kill(pid, SIGKILL);
    sigwaitinfo(&set, &info);
    ok(info.si_code == CLD_KILLED && info.si_pid == pid && info.si_status == SIGKILL,
       "SIGCHLD of a kill");
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static volatile int stop;

static void *spin(void *arg)
{
    volatile unsigned long n = 0;
    stack_t now;

    sigaltstack(NULL, &now);
    *(int *)arg = now.ss_flags;
    while (!stop)
        n++;
    return NULL;
}

static void test_threads(void)
{
    pthread_t thread;
    int flags = -1;

    install(SIGUSR1, record, 0);
    hits = stop = 0;
    pthread_create(&thread, NULL, spin, &flags);
    for (int i = 0; i < 100; i++) {
        int before = hits;

        pthread_kill(thread, SIGUSR1);
        while (hits == before)
            usleep(100);
    }
    ok(pthread_equal(last_thread, thread) && last.si_code == SI_TKILL,
       "tgkill reaches a thread that computes, in that thread");
    stop = 1;
    pthread_join(thread, NULL);
    is(flags, SS_DISABLE, "a thread starts without an alternate stack");
}

static uint64_t __attribute__((noinline)) work(double *fp)
{
    uint64_t x = 1, y = 3;
    double a = 1, b = 0.5;

    for (int i = 0; i < 200000; i++) {
        x = x * 6364136223846793005u + y;
        y ^= x >> 31;
        a = a * 0.999 + b / 3;
        b = b + (double)(x >> 60) * 0.25 - a * 0.125;
        if (y & 1)
            y += (uint64_t)i * 7;
    }
    *fp = a + b;
    return x ^ y;
}

static void disturb(int sig, siginfo_t *info, void *context)
{
    volatile double d = 3;

    d = d / 7 + (double)hits;
    hits++;
}

static void test_storm(void)
{
    double want_fp, fp;
    uint64_t want = work(&want_fp);
    int bad = 0, rounds;

    hits = 0;
    install(SIGALRM, disturb, SA_RESTART);
    timer_us(100, 100);
    for (rounds = 0; rounds < 400 && (rounds < 10 || hits < 500); rounds++)
        bad += work(&fp) != want || fp != want_fp;
    timer_us(0, 0);
    is(bad, 0, "computing under a storm of signals gives the same results");
    ok(hits > 20, "the storm took place");
}

int main(void)
{
    test_delivery();
    test_masks();
    test_altstack();
    test_restart();
    test_waiting();
    test_queue();
    test_jumps();
#ifdef __riscv
    test_registers();
#endif
    test_child();
    test_defaults();
    test_threads();
    test_storm();
    return tap_done();
}
