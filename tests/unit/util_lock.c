/* util/lock: mutual exclusion among threads, among bare CLONE_VM children, and after fork. */
#include "util/lock.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS  20000

static struct lock lock = LOCK_INIT;
static volatile unsigned counter; /* protected by lock; not atomic on purpose */

static void count(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        lock_acquire(&lock);
        counter = counter + 1;
        if (i % 1000 == 0) {
            sched_yield(); /* let the others pile up and go to sleep */
        }
        lock_release(&lock);
    }
}

static void *thread_main(void *arg)
{
    count();
    return arg;
}

/*
 * The child has the parent's thread pointer: whatever looked at it would see one owner. The thread
 * sanitizer's own state hangs on that pointer, so it cannot run this.
 */
#ifdef __SANITIZE_THREAD__
static void check_bare_child(void)
{
}
#else
static int child_main(void *arg)
{
    count();
    return 0;
}

static void check_bare_child(void)
{
    size_t size = 64 << 10;
    char *stack = malloc(size);
    int status;
    pid_t pid;

    counter = 0;
    pid = clone(child_main, stack + size, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, NULL);
    count();
    waitpid(pid, &status, 0);
    free(stack);
    tap_eq(counter, 2 * ROUNDS, "a CLONE_VM child and its parent exclude each other");
}
#endif

/* Releases a lock that another thread acquired, after that one has gone to sleep on it. */
static void *releaser(void *arg)
{
    usleep(20000);
    lock_release(arg);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    struct lock other = LOCK_INIT;
    int status = 0;
    pid_t pid;

    tap_ok(lock_try(&lock), "a free lock can be had");
    tap_ok(!lock_try(&lock), "a held one cannot");
    tap_ok(lock_is_held(&lock), "and says so");
    lock_release(&lock);
    tap_ok(!lock_is_held(&lock), "a released one is free");

    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, thread_main, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    tap_eq(counter, THREADS * ROUNDS, "threads exclude each other");
    tap_eq(lock.word, 0, "nobody is left waiting");

    check_bare_child();

    lock_acquire(&other);
    pthread_create(&threads[0], NULL, releaser, &other);
    errno = EDOM;
    lock_acquire(&other);
    tap_ok(lock_is_held(&other), "a lock released by another thread wakes the sleeper");
    tap_eq(errno, EDOM, "errno is untouched");
    pthread_join(threads[0], NULL);

    pid = fork();
    if (pid == 0) {
        lock_init(&other);
        _exit(lock_try(&other) ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a fork child makes a held lock new");
    tap_ok(!lock_try(&other), "which leaves the parent's as it was");
    return tap_done();
}
