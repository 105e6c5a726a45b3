/*
 * Threads and processes: creation, thread-local storage, locks, cancellation, robust mutexes, fork
 * among threads, vfork, posix_spawn, clone3, exit codes.  What is not under __riscv has been
 * checked natively too.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/user/tap.h"

enum { THREADS = 8 };
extern char **environ;
static const char *self;
static __thread uint64_t local = 5;
static __thread char local_zero[100];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;

/* Locks within two seconds: a mutex whose owner's death went unnoticed must not hang the test. */
static int lock_soon(pthread_mutex_t *m)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    return pthread_mutex_timedlock(m, &until);
}

/* The exit code of a child, or 256 + the signal that killed it. */
static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void *use_locals(void *arg)
{
    uint64_t id = (uint64_t)arg, bad = local != 5;

    for (unsigned i = 0; i < sizeof(local_zero); i++) {
        bad += local_zero[i] != 0;
    }
    for (int i = 0; i < 1000; i++) {
        local = id * 100000 + (unsigned)i;
        local_zero[i % 100] = (char)id;
        if (i % 100 == 0) {
            sched_yield();
        }
        bad += local != id * 100000 + (unsigned)i;
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return (void *)bad;
}

static void *take_turns(void *arg)
{
    int me = (int)(long)arg;

    pthread_mutex_lock(&mutex);
    for (int i = 0; i < 100; i++) {
        while (turn % 2 != me) {
            pthread_cond_wait(&cond, &mutex);
        }
        turn++;
        pthread_cond_broadcast(&cond);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void *identity(void *arg)
{
    return (char *)arg + 1;
}

static void test_basics(void)
{
    pthread_t threads[THREADS];
    void *value;
    uint64_t bad = 0;

    for (long i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, use_locals, (void *)i);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &value);
        bad += (uint64_t)value;
    }
    is(bad, 0, "each thread has its own thread-local variables");
    is(counter, THREADS * 1000, "a mutex excludes");
    is(local, 5, "the main thread's are untouched");
    for (long i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, take_turns, (void *)i);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    is(turn, 200, "two threads take turns by a condition variable");
    bad = 0;
    for (long i = 0; i < 1000; i++) {
        pthread_create(&threads[0], NULL, identity, (void *)i);
        pthread_join(threads[0], &value);
        bad += (long)value != i + 1;
    }
    is(bad, 0, "a thousand short threads");
}

static int cleaned;

static void clean(void *arg)
{
    cleaned = 1;
}

static void *sleep_long(void *arg)
{
    pthread_cleanup_push(clean, NULL);
    for (;;) {
        pause();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void *compute_long(void *arg)
{
    volatile unsigned long n = 0;

    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    for (;;) {
        n++;
    }
    return NULL;
}

static void *die_locked(void *arg)
{
    pthread_mutex_lock(arg);
    return NULL;
}

static void test_ends(void)
{
    pthread_t thread;
    void *value;
    pthread_mutexattr_t attr;
    pthread_mutex_t *robust =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    /* With a guest base the host's kernel, which alone outlives SIGKILL, can't walk our lists. */
    const int kill_child = !getenv("TEST_GUEST_BASE");
    pid_t pid;

    pthread_create(&thread, NULL, sleep_long, NULL);
    usleep(2000);
    pthread_cancel(thread);
    pthread_join(thread, &value);
    ok(value == PTHREAD_CANCELED && cleaned, "cancellation in a system call runs the clean-up");
    pthread_create(&thread, NULL, compute_long, NULL);
    usleep(2000);
    pthread_cancel(thread);
    pthread_join(thread, &value);
    ok(value == PTHREAD_CANCELED, "asynchronous cancellation of a computing thread");

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(robust, &attr);
    pthread_create(&thread, NULL, die_locked, robust);
    pthread_join(thread, NULL);
    is(lock_soon(robust), EOWNERDEAD, "a robust mutex tells of its dead owner: thread");
    pthread_mutex_consistent(robust);
    pthread_mutex_unlock(robust);
    if (!(pid = fork())) {
        lock_soon(robust);
        if (kill_child) {
            kill(getpid(), SIGKILL);
        }
        _exit(37);
    }
    is(wait_for(pid), kill_child ? 256 + SIGKILL : 37, "a child dies with the mutex locked");
    is(lock_soon(robust), EOWNERDEAD, "and the mutex tells of it: process");
    pthread_mutex_consistent(robust);
    is(pthread_mutex_unlock(robust), 0, "consistent again");
}

static int futex(int *word, int op, int value, struct timespec *timeout)
{
    return (int)syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static int futex_word;

static void *wake_later(void *arg)
{
    usleep(5000);
    __atomic_store_n(&futex_word, 1, __ATOMIC_SEQ_CST);
    futex(&futex_word, FUTEX_WAKE_PRIVATE, 1, NULL);
    return NULL;
}

static void test_futex(void)
{
    struct timespec nap = {0, 5000000};
    pthread_t thread;

    ok(futex(&futex_word, FUTEX_WAIT, 1, NULL) == -1 && errno == EAGAIN,
       "futex wait on another value: EAGAIN");
    ok(futex(&futex_word, FUTEX_WAIT, 0, &nap) == -1 && errno == ETIMEDOUT, "futex time-out");
    pthread_create(&thread, NULL, wake_later, NULL);
    while (!__atomic_load_n(&futex_word, __ATOMIC_SEQ_CST)) {
        futex(&futex_word, FUTEX_WAIT_PRIVATE, 0, NULL);
    }
    pthread_join(thread, NULL);
    ok(1, "futex wake");
    ok(futex((int *)8, FUTEX_WAIT, 0, NULL) == -1 && errno == EFAULT, "bad futex address: EFAULT");
}

static volatile int over;

static void *churn(void *arg)
{
    volatile uint64_t x = 1;

    while (!over) {
        free(malloc((x * 48271) % 5000 + 1));
        x = x * 6364136223846793005 + 1;
    }
    return NULL;
}

static void test_fork(void)
{
    pthread_t threads[2];
    int bad = 0, fds[2];
    char byte = 0;
    pid_t pid;

    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, churn, NULL);
    }
    for (int i = 0; i < 40; i++) {
        if (!(pid = fork())) {
            char *p = malloc(3000); /* the C library's locks must be free in the child */

            memset(p, 1, 3000);
            free(p);
            _exit(i);
        }
        bad += wait_for(pid) != i;
    }
    is(bad, 0, "40 forks while other threads allocate");
    if (!(pid = fork())) {
        pthread_t child;
        void *value;

        pthread_create(&child, NULL, identity, (void *)41);
        pthread_join(child, &value);
        _exit((int)(long)value);
    }
    is(wait_for(pid), 42, "a child of many threads can make threads");
    over = 1;
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }

    volatile int shared = 1;
    if (!(pid = fork())) {
        shared = 2;
        _exit(shared);
    }
    is(wait_for(pid), 2, "fork: the child's memory changes");
    is(shared, 1, "the parent's does not");
    static volatile int vshared;
    vshared = 1;
    if (!(pid = vfork())) {
        vshared = 2;
        _exit(3);
    }
    is(wait_for(pid), 3, "vfork");
    is(vshared, 2, "its child shares our memory");
    if (pipe(fds)) {
        return;
    }
    if (!(pid = vfork())) {
        dup2(fds[1], 1);
        execl(self, self, "echo", "7", (char *)NULL);
        _exit(99);
    }
    is(wait_for(pid), 7, "vfork and execve of ourselves");
    close(fds[1]);
    ok(read(fds[0], &byte, 1) == 1 && byte == '7', "it wrote to the pipe");
    if (!(pid = vfork())) {
        execl("/nonexistent/program", "x", (char *)NULL);
        _exit(errno == ENOENT ? 44 : 45);
    }
    is(wait_for(pid), 44, "a failing execve returns ENOENT in the child");
    is(posix_spawn(&pid, "/nonexistent/program", NULL, NULL, (char *[]){"x", NULL}, environ),
       ENOENT, "posix_spawn of what is not there: the parent sees ENOENT");
    is(posix_spawn(&pid, "/dev/null", NULL, NULL, (char *[]){"x", NULL}, environ), EACCES,
       "posix_spawn of what cannot be run: EACCES");
    is(posix_spawn(&pid, self, NULL, NULL, (char *[]){(char *)self, "exit", "9", NULL}, environ), 0,
       "posix_spawn of ourselves");
    is(wait_for(pid), 9, "and its exit code");
}

static void *read_pipe(void *arg)
{
    char c;

    return (void *)(read(*(int *)arg, &c, 1) == 1 ? (intptr_t)getgid() : -1);
}

/* The C library makes every thread change its ids, by a signal of its own. */
static void test_ids(void)
{
    pthread_t thread;
    int ends[2];
    void *gid;

    is(pipe(ends), 0, "a pipe");
    pthread_create(&thread, NULL, read_pipe, &ends[0]);
    usleep(20000);
    is(setgid(getgid()), 0, "setgid beside another thread");
    is(setresuid(getuid(), geteuid(), (uid_t)-1), 0, "setresuid beside another thread");
    ok(write(ends[1], "x", 1) == 1 && pthread_join(thread, &gid) == 0 &&
           (intptr_t)gid == (intptr_t)getgid(),
       "whose read goes on");
    close(ends[0]);
    close(ends[1]);
}

static void *exit_process(void *arg)
{
    _exit(23);
}

static void *thread_exec(void *arg)
{
    execl(self, self, "exit", "31", (char *)NULL);
    _exit(99);
}

static void *exit_later(void *arg)
{
    usleep(5000);
    exit(12);
}

static void test_exits(void)
{
    pthread_t thread;
    pid_t pid;

    for (int code = 0; code < 256; code += 51) {
        if (!(pid = fork())) {
            _exit(code);
        }
        is(wait_for(pid), code, "exit code %d", code);
    }
    if (!(pid = fork())) {
        pthread_create(&thread, NULL, exit_process, NULL);
        for (;;) {
            pause();
        }
    }
    is(wait_for(pid), 23, "exit_group from a thread while the main thread waits");
    if (!(pid = fork())) {
        volatile unsigned long n = 0;

        pthread_create(&thread, NULL, exit_process, NULL);
        for (;;) {
            n++;
        }
    }
    is(wait_for(pid), 23, "exit_group while the main thread computes");
    if (!(pid = fork())) {
        pthread_create(&thread, NULL, exit_later, NULL);
        pthread_exit(NULL);
    }
    is(wait_for(pid), 12, "the main thread ends first");
    if (!(pid = fork())) {
        pthread_create(&thread, NULL, thread_exec, NULL);
        for (;;) {
            pause();
        }
    }
    is(wait_for(pid), 31, "execve from a thread replaces the whole process");
    if (!(pid = fork())) {
        abort();
    }
    is(wait_for(pid), 256 + SIGABRT, "abort");
}

static void test_clone3(void)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } args = {.exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof(args));

    if (pid == 0) {
        _exit(17);
    }
    is(pid > 0 ? wait_for((pid_t)pid) : -1, 17, "clone3 as fork");
    args.flags = CLONE_THREAD;
    ok(syscall(SYS_clone3, &args, sizeof(args)) == -1 && errno == EINVAL,
       "clone3 refuses CLONE_THREAD without CLONE_SIGHAND");
    ok(syscall(SYS_clone3, &args, 8) == -1 && errno == EINVAL, "and too small a structure");
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        if (!strcmp(argv[1], "echo") && write(1, argv[2], 1) != 1) {
            return 98;
        }
        return atoi(argv[2]);
    }
    self = "/proc/self/exe";
    test_ids(); /* first: with the first thread made */
    test_basics();
    test_ends();
    test_futex();
    test_fork();
    test_exits();
    test_clone3();
    return tap_done();
}
