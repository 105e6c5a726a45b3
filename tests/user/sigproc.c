/*
 * Signals from timers, to threads and between processes: restarting of system calls, default
 * actions as a parent sees them, SIGCHLD, tgkill, and that a storm of signals corrupts nothing.
 * What Linux does on any machine; checked natively too.
 */
#include <poll.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/user/signals.h"

static int wake_pipe[2];

/* Sends SIGALRM after `us` microseconds, and every `interval` thereafter unless that is 0. */
static void timer_us(long us, long interval)
{
    struct itimerval it = {{0, interval}, {0, us}};

    setitimer(ITIMER_REAL, &it, NULL);
}

static void feed(int sig, siginfo_t *info, void *context)
{
    hits++;
    if (write(wake_pipe[1], "x", 1) != 1) {
        _exit(9);
    }
}

static void test_restart(void)
{
    struct timespec nap = {1, 0}, left = {0, 0};
    char c;
    int bad = 0;

    if (pipe(wake_pipe)) {
        _exit(9);
    }
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

static void test_defaults(void)
{
    static const int fatal[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGILL,    SIGTRAP, SIGABRT,
                                SIGBUS,  SIGFPE,  SIGKILL, SIGUSR1,   SIGSEGV, SIGUSR2,
                                SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGXCPU, SIGXFSZ,
                                SIGPROF, SIGIO,   SIGPWR,  SIGSYS,    34,      64};
    static const int ignored[] = {SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    int status, bad = 0, gate[2];
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
    /* Continued, it waits: a child that has ended reports its end only, not that it went on. */
    ok(pipe(gate) == 0, "pipe");
    if (!(pid = fork())) {
        char c;

        close(gate[1]);
        raise(SIGSTOP);
        _exit(read(gate[0], &c, 1) == 0 ? 5 : 6);
    }
    close(gate[0]);
    waitpid(pid, &status, WUNTRACED);
    ok(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP, "SIGSTOP stops");
    kill(pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    ok(WIFCONTINUED(status), "SIGCONT continues");
    close(gate[1]);
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
    if (!(pid = fork())) {
        _exit(42);
    }
    sigwaitinfo(&set, &info);
    ok(info.si_code == CLD_EXITED && info.si_pid == pid && info.si_status == 42,
       "SIGCHLD of an exit: code, pid, status");
    memset(&info, 0, sizeof(info));
    is(waitid(P_PID, (id_t)pid, &info, WEXITED), 0, "waitid");
    ok(info.si_code == CLD_EXITED && info.si_pid == pid && info.si_status == 42, "says the same");
    if (!(pid = fork())) {
        for (;;) {
            pause();
        }
    }
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
    while (!stop) {
        n++;
    }
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
        while (hits == before) {
            usleep(100);
        }
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
        if (y & 1) {
            y += (uint64_t)i * 7;
        }
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
    for (rounds = 0; rounds < 400 && (rounds < 10 || hits < 500); rounds++) {
        bad += work(&fp) != want || fp != want_fp;
    }
    timer_us(0, 0);
    is(bad, 0, "computing under a storm of signals gives the same results");
    ok(hits > 20, "the storm took place");
}

int main(void)
{
    test_restart();
    test_child();
    test_defaults();
    test_threads();
    test_storm();
    return tap_done();
}
