/*
 * Clocks: the vDSO's answers (through the C library), the system calls' and the counters agree and
 * run forward.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "tests/user/tap.h"

static int64_t ns(const struct timespec *ts)
{
    return (int64_t)ts->tv_sec * 1000000000 + ts->tv_nsec;
}

static void test_clocks(void)
{
    static const struct {
        clockid_t id;
        const char *name;
    } clocks[] = {
        {CLOCK_REALTIME, "CLOCK_REALTIME"},
        {CLOCK_MONOTONIC, "CLOCK_MONOTONIC"},
        {CLOCK_MONOTONIC_RAW, "CLOCK_MONOTONIC_RAW"},
        {CLOCK_REALTIME_COARSE, "CLOCK_REALTIME_COARSE"},
        {CLOCK_MONOTONIC_COARSE, "CLOCK_MONOTONIC_COARSE"},
        {CLOCK_BOOTTIME, "CLOCK_BOOTTIME"},
        {CLOCK_PROCESS_CPUTIME_ID, "CLOCK_PROCESS_CPUTIME_ID"},
        {CLOCK_THREAD_CPUTIME_ID, "CLOCK_THREAD_CPUTIME_ID"},
    };
    struct timespec a, b, c;
    struct timeval tv;
    int backwards = 0;

    for (unsigned i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
        int failed = clock_gettime(clocks[i].id, &a);

        failed |= (int)syscall(SYS_clock_gettime, clocks[i].id, &b);
        failed |= clock_gettime(clocks[i].id, &c);
        /* Library, kernel, library: in order, and not far apart. */
        ok(!failed && ns(&a) <= ns(&b) && ns(&b) <= ns(&c) && ns(&c) - ns(&a) < 1000000000,
           "%s: library and system call agree", clocks[i].name);
        ok(clock_getres(clocks[i].id, &a) == 0 && ns(&a) > 0 && ns(&a) <= 10000000,
           "%s: its resolution", clocks[i].name);
    }
    clock_gettime(CLOCK_REALTIME, &a);
    gettimeofday(&tv, NULL);
    clock_gettime(CLOCK_REALTIME, &b);
    ok(ns(&a) / 1000 <= tv.tv_sec * 1000000l + tv.tv_usec &&
           tv.tv_sec * 1000000l + tv.tv_usec <= ns(&b) / 1000,
       "gettimeofday agrees");
    ok(time(NULL) - b.tv_sec <= 1, "time agrees");
    ok(ns(&a) > 1600000000l * 1000000000, "and it is later than 2020");
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 20000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        backwards += ns(&b) < ns(&a);
        a = b;
    }
    is(backwards, 0, "CLOCK_MONOTONIC never runs backwards");
    ok(clock_gettime(12345, &a) == -1 && errno == EINVAL, "an unknown clock: EINVAL");
    ok(syscall(SYS_clock_gettime, CLOCK_REALTIME, (void *)16) == -1 && errno == EFAULT,
       "a bad pointer: EFAULT");
    clock_gettime(CLOCK_MONOTONIC, &a);
    b.tv_sec = 0;
    b.tv_nsec = 20000000;
    nanosleep(&b, NULL);
    clock_gettime(CLOCK_MONOTONIC, &c);
    ok(ns(&c) - ns(&a) >= 20000000 && ns(&c) - ns(&a) < 5000000000, "nanosleep sleeps");
    is(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL), 0, "an absolute time gone by");
    const char *vdso = (const char *)getauxval(AT_SYSINFO_EHDR);
    ok(vdso && !memcmp(vdso, "\177ELF", 4), "AT_SYSINFO_EHDR points at an ELF image");
}

static void test_cpu(void)
{
    unsigned cpu = ~0u, node = ~0u, raw = ~0u;
    long count = sysconf(_SC_NPROCESSORS_CONF);

    is(getcpu(&cpu, &node), 0, "getcpu");
    is(syscall(SYS_getcpu, &raw, NULL, NULL), 0, "the system call");
    ok((long)cpu < count && (long)raw < count, "both name a CPU that exists");
    ok(sched_getcpu() >= 0 && sched_getcpu() < count, "sched_getcpu too");
}

#ifdef __riscv
#define COUNTER(name)                                  \
    __extension__({                                    \
        uint64_t v_;                                   \
        __asm__ volatile("csrr %0, " name : "=r"(v_)); \
        v_;                                            \
    })

static void test_counters(void)
{
    uint64_t t = COUNTER("time"), c = COUNTER("cycle"), n = COUNTER("instret"), last;
    int backwards = 0;

    for (int i = 0; i < 20000; i++) {
        last = t;
        t = COUNTER("time");
        backwards += t < last;
        last = c;
        c = COUNTER("cycle");
        backwards += c < last;
        last = n;
        n = COUNTER("instret");
        backwards += n < last;
    }
    is(backwards, 0, "time, cycle and instret never run backwards");
    last = t;
    c = COUNTER("cycle");
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    ok(COUNTER("time") > last, "time runs on while we sleep");
    for (volatile int i = 0; i < 100000; i++)
        ;
    ok(COUNTER("cycle") > c, "cycle runs on while we compute");
    ok(COUNTER("instret") > n, "instret too");
}
#endif

static void *read_clock(void *arg)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    *(int64_t *)arg = ns(&ts);
    return NULL;
}

static void test_threads(void)
{
    struct timespec before, after;
    pthread_t thread;
    int64_t between;

    clock_gettime(CLOCK_MONOTONIC, &before);
    pthread_create(&thread, NULL, read_clock, &between);
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    ok(ns(&before) <= between && between <= ns(&after), "another thread's clock is the same");
}

int main(void)
{
    test_clocks();
    test_cpu();
#ifdef __riscv
    test_counters();
#endif
    test_threads();
    return tap_done();
}
