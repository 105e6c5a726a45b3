/*
 * Atomics and memory order: AMOs and LR/SC lose no update when threads hammer one cache line, and
 * RVWMO's forbidden outcomes of the classic litmus shapes are never seen.
 *
 * A litmus test runs its threads in rounds: each thread performs its accesses on the round's
 * variables as soon as all have arrived, then one of them checks.  The accesses are assembly, so
 * that no compiler reorders them.  On x86-64 hosts all forbidden outcomes but those with a store
 * before a load are hard to see; what these tests catch there is a lost fence, an access split in
 * two, and a wrongly cached value.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/user/tap.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct {
    uint64_t amoadd, lrsc, amoxor, cas_lock, locked, max, min, or, swap_sum, plain;
    uint32_t word_add, word_lrsc;
} __attribute__((aligned(64))) line;
static uint64_t swapped_out;
static volatile int started;

/* Waits until all of the test's threads are there; yields, since there may be more than CPUs. */
static void meet(volatile int *counter, int target)
{
    __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    for (int spins = 0; __atomic_load_n(counter, __ATOMIC_ACQUIRE) < target; spins++)
        if (spins > 100)
            sched_yield();
}

static void *hammer(void *arg)
{
    uint64_t id = (uint64_t)arg, old, tmp, bad = 0, swapped = 0;

    meet(&started, THREADS);
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        __asm__ volatile("amoadd.d %0, %2, %1" : "=r"(old), "+A"(line.amoadd) : "r"(id + 1));
        __asm__ volatile("amoadd.w.aqrl %0, %2, %1" : "=r"(old), "+A"(line.word_add) : "r"(1l));
        bad += old != (uint64_t)(int32_t)old; /* amoadd.w sign-extends */
        __asm__ volatile("1: lr.d %0, %1\n addi %0, %0, 1\n sc.d %0, %0, %1\n bnez %0, 1b"
                         : "=&r"(tmp), "+A"(line.lrsc));
        __asm__ volatile("1: lr.w.aq %0, %1\n addi %0, %0, 3\n sc.w.rl %0, %0, %1\n bnez %0, 1b"
                         : "=&r"(tmp), "+A"(line.word_lrsc));
        __asm__ volatile("amoxor.d zero, %1, %0"
                         : "+A"(line.amoxor)
                         : "r"(i * 0x9e3779b97f4a7c15u));
        __asm__ volatile("amomaxu.d zero, %1, %0" : "+A"(line.max) : "r"(i * THREADS + id));
        __asm__ volatile("amomin.d zero, %1, %0" : "+A"(line.min) : "r"(-(i * THREADS + id)));
        __asm__ volatile("amoor.d zero, %1, %0" : "+A"(line.or) : "r"(1ul << (i % 16 + id * 16)));
        __asm__ volatile("amoswap.d %0, %2, %1" : "=r"(old), "+A"(line.swap_sum) : "r"(i));
        swapped += i - old; /* summed: what went in and has not come out */
        /* A lock made of amoswap.aq and a store after fence rw,w guards a plain counter. */
        do
            __asm__ volatile("amoswap.w.aq %0, %2, %1"
                             : "=r"(old), "+A"(line.cas_lock)
                             : "r"(1l)
                             : "memory");
        while (old && (sched_yield(), 1));
        line.locked++;
        __asm__ volatile("fence rw, w\n sw zero, %0" : "=m"(line.cas_lock) : : "memory");
        /* Plain stores of a doubled value: a load must never see halves of two of them. */
        tmp = i << 32 | i;
        __asm__ volatile("sd %1, %0" : "=m"(line.plain) : "r"(tmp));
        __asm__ volatile("ld %0, %1" : "=r"(tmp) : "m"(line.plain));
        bad += tmp >> 32 != (tmp & 0xffffffff);
    }
    __atomic_add_fetch(&swapped_out, swapped, __ATOMIC_SEQ_CST);
    return (void *)bad;
}

static void run_threads(void *(*entry)(void *), int count, uint64_t *sum)
{
    pthread_t threads[8];

    *sum = 0;
    started = 0;
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, entry, (void *)i);
    for (int i = 0; i < count; i++) {
        void *value;

        pthread_join(threads[i], &value);
        *sum += (uint64_t)value;
    }
}

static void test_hammer(void)
{
    uint64_t bad;

    run_threads(hammer, THREADS, &bad);
    is(bad, 0, "loads are whole and amoadd.w sign-extends");
    is(line.amoadd, (uint64_t)ROUNDS * (1 + 2 + 3 + 4), "amoadd.d loses nothing");
    is(line.word_add, ROUNDS * THREADS, "amoadd.w loses nothing");
    is(line.lrsc, ROUNDS * THREADS, "lr.d/sc.d loses nothing");
    is(line.word_lrsc, 3 * ROUNDS * THREADS, "lr.w/sc.w loses nothing");
    is(line.amoxor, 0, "amoxor.d by an even number of threads cancels");
    is(line.max, ROUNDS * THREADS + THREADS - 1, "amomaxu.d");
    is(line.min, -(int64_t)(ROUNDS * THREADS + THREADS - 1), "amomin.d");
    is(line.or, UINT64_MAX, "amoor.d");
    is(swapped_out, line.swap_sum, "amoswap.d: what went in came out, or is there");
    is(line.locked, ROUNDS * THREADS, "a spin lock excludes");
}

/* ---- litmus ---- */

enum { BATCH = 64 };
struct cell {
    uint64_t x, pad1[7], y, pad2[7];
    uint64_t r[4], pad3[4];
};
static struct cell cells[BATCH] __attribute__((aligned(64)));
static volatile int arrived, leaving;
static int litmus_threads;
static const struct litmus *current;
static uint64_t forbidden_seen, interesting;
static double deadline;

struct litmus {
    const char *name;
    int threads;
    void (*run)(struct cell *c, int thread);
    int (*forbidden)(const struct cell *c);
};

#define STORE(value, to)  __asm__ volatile("sd %1, %0" : "=m"(to) : "r"((uint64_t)(value)))
#define LOAD(into, from)  __asm__ volatile("ld %0, %1" : "=r"(into) : "m"(from))
#define FENCE(pred, succ) __asm__ volatile("fence " #pred ", " #succ ::: "memory")

static void mp(struct cell *c, int thread)
{
    if (thread == 0) {
        STORE(1, c->x);
        FENCE(w, w);
        STORE(1, c->y);
    } else {
        LOAD(c->r[0], c->y);
        FENCE(r, r);
        LOAD(c->r[1], c->x);
    }
}

static int mp_forbidden(const struct cell *c)
{
    return c->r[0] == 1 && c->r[1] == 0;
}

static void mp_amo(struct cell *c, int thread)
{
    uint64_t flag;

    if (thread == 0) {
        STORE(1, c->x);
        __asm__ volatile("amoswap.d.rl zero, %1, %0" : "+A"(c->y) : "r"(1ul) : "memory");
    } else {
        __asm__ volatile("lr.d.aq %0, %1" : "=r"(flag) : "A"(c->y) : "memory");
        LOAD(c->r[1], c->x);
        c->r[0] = flag;
    }
}

static void sb(struct cell *c, int thread)
{
    uint64_t *mine = thread ? &c->y : &c->x, *other = thread ? &c->x : &c->y;

    STORE(1, *mine);
    FENCE(rw, rw);
    LOAD(c->r[thread], *other);
}

static int sb_forbidden(const struct cell *c)
{
    return c->r[0] == 0 && c->r[1] == 0;
}

/* AMOs with both aq and rl are sequentially consistent among themselves. */
static void sb_amo(struct cell *c, int thread)
{
    uint64_t *mine = thread ? &c->y : &c->x, *other = thread ? &c->x : &c->y;
    uint64_t seen;

    __asm__ volatile("amoswap.d.aqrl zero, %1, %0" : "+A"(*mine) : "r"(1ul) : "memory");
    __asm__ volatile("amoadd.d.aqrl %0, zero, %1" : "=r"(seen), "+A"(*other) : : "memory");
    c->r[thread] = seen;
}

static void lb(struct cell *c, int thread)
{
    uint64_t *from = thread ? &c->y : &c->x, *to = thread ? &c->x : &c->y;

    LOAD(c->r[thread], *from);
    FENCE(rw, w);
    STORE(1, *to);
}

static int lb_forbidden(const struct cell *c)
{
    return c->r[0] == 1 && c->r[1] == 1;
}

static void corr(struct cell *c, int thread)
{
    if (thread == 0) {
        STORE(1, c->x);
        STORE(2, c->x);
    } else {
        LOAD(c->r[0], c->x);
        LOAD(c->r[1], c->x);
    }
}

static int corr_forbidden(const struct cell *c)
{
    return c->r[1] < c->r[0];
}

static void two_plus_two(struct cell *c, int thread)
{
    uint64_t *first = thread ? &c->y : &c->x, *second = thread ? &c->x : &c->y;

    STORE(1, *first);
    FENCE(w, w);
    STORE(2, *second);
}

static int two_plus_two_forbidden(const struct cell *c)
{
    return c->x == 1 && c->y == 1;
}

static void iriw(struct cell *c, int thread)
{
    switch (thread) {
    case 0:
        STORE(1, c->x);
        break;
    case 1:
        STORE(1, c->y);
        break;
    case 2:
        LOAD(c->r[0], c->x);
        FENCE(rw, rw);
        LOAD(c->r[1], c->y);
        break;
    case 3:
        LOAD(c->r[2], c->y);
        FENCE(rw, rw);
        LOAD(c->r[3], c->x);
        break;
    }
}

static int iriw_forbidden(const struct cell *c)
{
    return c->r[0] == 1 && c->r[1] == 0 && c->r[2] == 1 && c->r[3] == 0;
}

/*
 * A store of another value between lr and a successful sc must come before or after the pair:
 * when sc succeeded, x is the pair's value (the store came before it) or the store's (after it);
 * and if lr had read 0 and the store came in between, sc would have overwritten it unseen.
 */
static void lrsc(struct cell *c, int thread)
{
    uint64_t old, fail;

    if (thread == 0) {
        __asm__ volatile("lr.d %0, %2\n addi t0, %0, 1\n sc.d %1, t0, %2"
                         : "=&r"(old), "=&r"(fail), "+A"(c->x)
                         :
                         : "t0");
        c->r[0] = old;
        c->r[1] = fail;
    } else {
        STORE(10, c->x);
    }
}

static int lrsc_forbidden(const struct cell *c)
{
    if (c->r[1])
        return c->x != 10;
    return c->r[0] == 0 ? c->x != 10 : c->x != 11;
}

static const struct litmus tests[] = {
    {"MP with fences", 2, mp, mp_forbidden},
    {"MP with amoswap.rl and lr.aq", 2, mp_amo, mp_forbidden},
    {"SB with fences", 2, sb, sb_forbidden},
    {"SB with amo.aqrl", 2, sb_amo, sb_forbidden},
    {"LB with fences", 2, lb, lb_forbidden},
    {"CoRR", 2, corr, corr_forbidden},
    {"2+2W with fences", 2, two_plus_two, two_plus_two_forbidden},
    {"IRIW with fences", 4, iriw, iriw_forbidden},
    {"LR/SC against a store", 2, lrsc, lrsc_forbidden},
};

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static volatile int finished;

static void *litmus_thread(void *arg)
{
    int id = (int)(long)arg, n = litmus_threads;

    for (int round = 0; round < 100000 && !finished; round++) {
        meet(&arrived, n * (2 * round + 1));
        for (int i = 0; i < BATCH; i++)
            current->run(&cells[i], id);
        meet(&arrived, n * (2 * round + 2));
        /* Thread 0 checks while the others wait for it at the next round's start. */
        if (id == 0) {
            for (int i = 0; i < BATCH; i++)
                forbidden_seen += (uint64_t)current->forbidden(&cells[i]);
            interesting += BATCH;
            memset(cells, 0, sizeof(cells));
            finished = now() > deadline;
        }
        meet(&leaving, n * (round + 1));
    }
    return NULL;
}

static void test_litmus(void)
{
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        uint64_t unused;

        current = &tests[i];
        litmus_threads = current->threads;
        arrived = leaving = finished = 0;
        forbidden_seen = interesting = 0;
        memset(cells, 0, sizeof(cells));
        deadline = now() + 0.25;
        run_threads(litmus_thread, current->threads, &unused);
        if (!ok(forbidden_seen == 0 && interesting > 0, "%s: no forbidden outcome", current->name))
            note("%llu of %llu", (unsigned long long)forbidden_seen,
                 (unsigned long long)interesting);
    }
}

/* ---- LR/SC and misalignment in one thread ---- */

static void test_single(void)
{
    uint64_t memory[2] = {5, 5}, old, fail, fail2;

    __asm__ volatile("lr.d %0, %2\n sc.d %1, %3, %2"
                     : "=&r"(old), "=&r"(fail), "+A"(memory[0])
                     : "r"(6ul));
    ok(old == 5 && fail == 0 && memory[0] == 6, "sc after lr succeeds");
    __asm__ volatile("lr.d %0, %3\n sc.d %1, %4, %3\n sc.d %2, %5, %3"
                     : "=&r"(old), "=&r"(fail), "=&r"(fail2), "+A"(memory[0])
                     : "r"(7ul), "r"(8ul));
    ok(fail == 0 && fail2 == 1 && memory[0] == 7, "a second sc fails with 1 and stores nothing");
    __asm__ volatile("lr.d %0, %2\n sc.d %1, %4, %3"
                     : "=&r"(old), "=&r"(fail), "+A"(memory[0]), "+A"(memory[1])
                     : "r"(9ul));
    ok(fail != 0 || memory[1] == 9, "sc elsewhere fails, or stores where it says");
    __asm__ volatile("sc.d zero, zero, %0" : "+A"(memory[0]));
    __asm__ volatile("lr.w %0, %1" : "=r"(old) : "A"(*(uint32_t *)&(uint64_t){0x80000000}));
    is(old, 0xffffffff80000000, "lr.w sign-extends");
    fail = 1;
    for (int i = 0; i < 10 && fail; i++)
        __asm__ volatile("lr.w zero, %1\n sc.w %0, %2, %1"
                         : "=&r"(fail), "+A"(*(uint32_t *)memory)
                         : "r"(0x1234567887654321));
    is(memory[0], 0x87654321, "sc.w stores the lower half");
}

static void test_misaligned(void)
{
    char *buffer = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int bad = 0;

    for (int at = 4096 - 16; at < 4096 + 8; at++) {
        uint64_t got, want = 0x1122334455667788u * (unsigned)(at | 1);
        double d;
        uint32_t w;
        int64_t h;

        __asm__ volatile("sd %1, 0(%0)" ::"r"(buffer + at), "r"(want) : "memory");
        memcpy(&got, buffer + at, 8);
        bad += got != want;
        __asm__ volatile("ld %0, 0(%1)" : "=r"(got) : "r"(buffer + at) : "memory");
        bad += got != want;
        __asm__ volatile("fld %0, 0(%1)" : "=f"(d) : "r"(buffer + at) : "memory");
        __asm__ volatile("fsd %0, 1(%1)" : : "f"(d), "r"(buffer + at) : "memory");
        memcpy(&got, buffer + at + 1, 8);
        bad += got != want;
        __asm__ volatile("lwu %0, 5(%1)" : "=r"(got) : "r"(buffer + at) : "memory");
        bad += got != want >> 32;
        __asm__ volatile("sw %1, 0(%0)" ::"r"(buffer + at), "r"(want) : "memory");
        memcpy(&w, buffer + at, 4);
        bad += w != (uint32_t)want;
        __asm__ volatile("sh %2, 0(%1)\n lh %0, 0(%1)"
                         : "=&r"(h)
                         : "r"(buffer + at), "r"(want)
                         : "memory");
        bad += h != (int16_t)want;
    }
    is(bad, 0, "misaligned loads and stores, also across pages");
}

int main(void)
{
    test_single();
    test_misaligned();
    test_hammer();
    test_litmus();
    return tap_done();
}
