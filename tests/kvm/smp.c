/* Several processors: INIT and SIPI, IPIs, atomics, TLB shootdown, code changed by another one. */
#include "tests/kvm/irq.h"

#define MOST 8

enum { VECTOR_PING = 0x60, VECTOR_FLUSH, VECTOR_WAKE, VECTOR_JOB, VECTOR_ALARM };

/* What the others do: jobs, by number; each says when it is done with one. */
enum {
    JOB_LOCKED,
    JOB_XADD,
    JOB_CMPXCHG,
    JOB_SPINLOCK,
    JOB_READ,
    JOB_CODE,
    JOB_HALT,
    JOB_PINGPONG
};

static volatile unsigned job, job_number;
static volatile uint32_t done[MOST], ids[MOST], counts[MOST][256];
static unsigned others; /* how many there are */
static unsigned number_of_apic[256];
static bool spin;
static unsigned times = 200; /* what needs all of them is done */

static void cpu_pause(void)
{
    pause();
    (void)inb(0x80);
}

/*
 * Until an interrupt; with interrupts off before and after, so that none is missed. `spin=1` is for
 * QEMU with a local APIC of its own: there a processor that halts, if not the first, stops all.
 */
static void sleep(void)
{
    if (spin) {
        sti();
        cpu_pause();
        cli();
    } else {
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    }
}

static unsigned self(void)
{
    return number_of_apic[apic_read(APIC_ID) >> 24];
}

/* ---- start --------------------------------------------------------------------------------- */

static volatile uint64_t words[64] __attribute__((aligned(64)));
static volatile uint32_t seen[MOST];

static void on_count(struct frame *frame)
{
    counts[self()][(uint8_t)frame->vector]++;
    apic_eoi();
}

static void work(unsigned cpu, unsigned what);

static void other(unsigned cpu)
{
    unsigned last = 0;

    apic_enable();
    ids[cpu] = apic_read(APIC_ID) >> 24;
    number_of_apic[ids[cpu]] = cpu;
    done[cpu] = 1;
    for (;;) {
        while (job_number == last) {
            sleep();
        }
        last = job_number;
        work(cpu, job);
        __atomic_fetch_add(&done[cpu], 1, __ATOMIC_SEQ_CST);
    }
}

static void begin(unsigned what)
{
    for (unsigned i = 1; i <= others; i++) {
        done[i] = 0;
    }
    job = what;
    __atomic_fetch_add(&job_number, 1, __ATOMIC_SEQ_CST);
    apic_send(0, VECTOR_JOB | LEVEL_ASSERT | TO_OTHERS);
}

static bool all_done(void)
{
    for (unsigned i = 1; i <= others; i++) {
        if (!done[i]) {
            return false;
        }
    }
    return true;
}

static bool finish(void)
{
    return WAIT_FOR(all_done());
}

static void start(void)
{
    unsigned want = (unsigned)argument("cpus", 1) - 1;
    uint32_t sum = 0;

    spin = argument("spin", 0);
    times = spin ? 20 : 200;
    apic_enable();
    ids[0] = apic_read(APIC_ID) >> 24;
    for (unsigned i = 0x30; i < 0xf0; i++) {
        handlers[i] = on_count;
    }
    copy((void *)0x8000, trampoline, (size_t)(trampoline_end - trampoline));
    other_main = other;
    apic_send(0, DELIVER_INIT | LEVEL_ASSERT | TO_OTHERS);
    cpu_pause();
    apic_send(0, DELIVER_SIPI | 8 | TO_OTHERS);
    (void)WAIT_FOR(cpus == want + 1);
    expect("processors", cpus, want + 1);
    apic_send(0, DELIVER_SIPI | 8 | TO_OTHERS); /* a second one does nothing */
    for (unsigned i = 0; i < 100; i++) {
        cpu_pause();
    }
    expect("after another SIPI", cpus, want + 1);
    others = cpus - 1;
    check("all run", finish());
    for (unsigned i = 0; i <= others; i++) {
        sum += 1u << ids[i];
    }
    expect("APIC ids", sum, (1u << (others + 1)) - 1);
}

/* ---- atomics ------------------------------------------------------------------------------- */

static void atomics(unsigned cpu, unsigned what)
{
    uint32_t n = count / 5;

    (void)cpu;
    if (what == JOB_LOCKED) {
        __asm__ volatile("1: lock incq %0; lock orq $0x10, %1; lock addl $3, %2; dec %3; jnz 1b"
                         : "+m"(words[0]), "+m"(words[8]), "+m"(words[16]), "+r"(n)::"memory");
    } else if (what == JOB_XADD) {
        __asm__ volatile("1: mov $1, %%eax; lock xadd %%rax, %0; xor %%rax, %1; dec %2; jnz 1b"
                         : "+m"(words[0]), "+m"(words[8 + cpu * 8]), "+r"(n)::"rax", "memory");
    } else if (what == JOB_CMPXCHG) {
        __asm__ volatile("1: mov %0, %%rax\n"
                         "2: lea 1(%%rax), %%rcx; lock cmpxchg %%rcx, %0; jnz 2b; dec %1; jnz 1b"
                         : "+m"(words[0]), "+r"(n)::"rax", "rcx", "memory");
    } else {
        while (n--) {
            while (__atomic_exchange_n(&words[1], 1, __ATOMIC_SEQ_CST)) {
                pause();
            }
            words[0]++;
            __atomic_store_n(&words[1], 0, __ATOMIC_SEQ_CST);
        }
    }
}

static void compute(void)
{
    static const char *const names[] = {"lock inc", "xadd", "cmpxchg", "a lock"};

    for (unsigned what = JOB_LOCKED; what <= JOB_SPINLOCK; what++) {
        uint64_t sum = 0, want = 0;

        for (unsigned i = 0; i < 64; i++) {
            words[i] = 0;
        }
        begin(what);
        work(0, what);
        check("finished", finish());
        expect(names[what - JOB_LOCKED], words[0], (uint64_t)(count / 5) * (others + 1));
        if (what == JOB_LOCKED) {
            expect("lock add", words[16], (uint64_t)(count / 5) * (others + 1) * 3);
        } else if (what == JOB_XADD) { /* each number was seen by one of them */
            for (unsigned i = 0; i < MOST - 1; i++) {
                sum ^= words[8 + i * 8 < 64 ? 8 + i * 8 : 8];
            }
            for (uint64_t i = 0; i < words[0]; i++) {
                want ^= i;
            }
            check("each seen once", others > 6 || sum == want);
        }
    }
}

/* ---- IPIs ---------------------------------------------------------------------------------- */

static volatile uint32_t balls, rounds, wake_until;

/* A ball that goes round: each processor's interrupt sends it to the next. */
static void on_ball(struct frame *frame)
{
    unsigned cpu = self();

    (void)frame;
    counts[cpu][VECTOR_PING]++;
    apic_eoi();
    if (++balls < rounds) {
        apic_send(ids[cpu == others ? 0 : cpu + 1], VECTOR_PING | LEVEL_ASSERT);
    } else {
        apic_send(0, VECTOR_JOB | LEVEL_ASSERT | TO_ALL);
    }
}

/* The alarm is for a ball that gets lost. */
static void pingpong(unsigned cpu)
{
    apic_write(APIC_TIMER_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, VECTOR_ALARM | PERIODIC);
    apic_write(APIC_TIMER_INITIAL, 4000000000);
    while (balls < rounds && !counts[cpu][VECTOR_ALARM]) {
        sleep();
    }
    apic_write(APIC_TIMER_INITIAL, 0);
}

static void ipis(void)
{
    uint32_t sum = 0;

    if (!others) {
        say("no other processor\n");
        return;
    }
    handlers[VECTOR_PING] = on_ball;
    balls = 0;
    rounds = count / (spin ? 50 : 5);
    for (unsigned i = 0; i <= others; i++) {
        counts[i][VECTOR_PING] = 0;
        counts[i][VECTOR_ALARM] = 0;
    }
    begin(JOB_PINGPONG);
    apic_send(ids[1], VECTOR_PING | LEVEL_ASSERT);
    pingpong(0);
    check("finished", finish());
    expect("to and fro", balls, rounds);
    for (unsigned i = 0; i <= others; i++) {
        sum += counts[i][VECTOR_PING];
    }
    expect("interrupts", sum, rounds);
    check("shared out", counts[1][VECTOR_PING] == (rounds + others) / (others + 1));

    /* Broadcasts to processors that halt in between. */
    wake_until = times / 2;
    begin(JOB_HALT);
    for (unsigned n = 1; n <= times / 2; n++) {
        bool good = true;

        apic_send(0, VECTOR_WAKE | LEVEL_ASSERT | TO_OTHERS);
        for (unsigned i = 1; i <= others; i++) {
            good &= WAIT_FOR(counts[i][VECTOR_WAKE] >= n);
        }
        if (!good) {
            break;
        }
    }
    check("woken", finish());
    sum = 0;
    for (unsigned i = 0; i <= others; i++) {
        sum += counts[i][VECTOR_WAKE];
    }
    expect("broadcasts", sum, times / 2 * others);

    /* Logical destinations. */
    wake_until = times;
    begin(JOB_HALT);
    for (unsigned n = 1; n <= times / 2; n++) {
        apic_send(0xfe & ((1u << (others + 1)) - 1), VECTOR_WAKE | LEVEL_ASSERT | LOGICAL);
        for (unsigned i = 1; i <= others; i++) {
            (void)WAIT_FOR(counts[i][VECTOR_WAKE] >= times / 2 + n);
        }
    }
    check("woken", finish());
    sum = 0;
    for (unsigned i = 0; i <= others; i++) {
        sum += counts[i][VECTOR_WAKE];
    }
    expect("logical", sum, times * others);
}

static void halt(unsigned cpu)
{
    while (counts[cpu][VECTOR_WAKE] < wake_until) {
        sleep();
    }
}

static void on_nmi(struct frame *frame)
{
    (void)frame;
    counts[self()][2]++;
}

static void nmis(void)
{
    uint32_t sum = 0;

    handlers[2] = on_nmi;
    for (unsigned n = 1; n <= times / 4; n++) {
        apic_send(0, DELIVER_NMI | LEVEL_ASSERT | TO_OTHERS);
        for (unsigned i = 1; i <= others; i++) {
            (void)WAIT_FOR(counts[i][2] >= n);
        }
    }
    for (unsigned i = 0; i <= others; i++) {
        sum += counts[i][2];
    }
    expect("NMIs to others", sum, times / 4 * others);
}

/* ---- TLB ----------------------------------------------------------------------------------- */

#define VIRTUAL 0x40000000ul

static volatile uint32_t flushed[MOST];

static void on_flush(struct frame *frame)
{
    (void)frame;
    invlpg(VIRTUAL);
    flushed[self()]++;
    apic_eoi();
}

/* Reads the page until it has the last value; what is read must not go back. */
static void read_page(unsigned cpu)
{
    uint64_t last = 0;

    seen[cpu] = 1;
    while (last < times) {
        uint64_t now = *(volatile uint64_t *)VIRTUAL;

        if (now < last) {
            seen[cpu] = 0;
        }
        last = now;
        if (now < times) {
            sleep();
        }
    }
}

static void shootdown(void)
{
    uint64_t *entry = split(VIRTUAL);
    uint64_t *two[2] = {pages(1), pages(1)};
    bool good = true;

    handlers[VECTOR_FLUSH] = on_flush;
    *entry = (uint64_t)two[0] | 7;
    invlpg(VIRTUAL);
    begin(JOB_READ);
    for (uint64_t n = 1; n <= times; n++) {
        *(volatile uint64_t *)two[n & 1] = n;
        *entry = (uint64_t)two[n & 1] | 7;
        invlpg(VIRTUAL);
        if (!others) {
            continue;
        }
        apic_send(0, VECTOR_FLUSH | LEVEL_ASSERT | TO_OTHERS);
        for (unsigned i = 1; i <= others; i++) {
            good &= WAIT_FOR(flushed[i] >= n);
        }
        *(volatile uint64_t *)two[~n & 1] = 0; /* nobody sees this page anymore */
        if (!good) {
            break;
        }
    }
    check("all have flushed", good);
    check("finished", finish());
    good = true;
    for (unsigned i = 1; i <= others; i++) {
        good &= seen[i];
    }
    check("no stale page", good);
}

/* ---- code changed by another processor ------------------------------------------------------- */

static uint8_t *code;
static volatile uint32_t version, versions[MOST];

/* Calls code until it returns the last version; after each version said, code is of that or later.
 */
static void run_code(unsigned cpu)
{
    uint32_t got;

    seen[cpu] = 1;
    do {
        uint32_t least = version;

        __asm__ volatile("cpuid" : "=a"(got) : "a"(0) : "rbx", "rcx", "rdx", "memory");
        got = ((uint32_t(*)(void))code)();
        if (got < least || got > times) {
            seen[cpu] = 0;
        }
        versions[cpu] = got;
        cpu_pause();
    } while (got < times);
}

static void cross_modify(void)
{
    bool good = true;

    code = pages(1);
    code[0] = 0xb8; /* mov $version, %eax; ret */
    code[5] = 0xc3;
    begin(JOB_CODE);
    for (uint32_t n = 1; n <= times; n++) {
        *(volatile uint32_t *)(code + 1) = n; /* within 8 bytes: never torn */
        version = n;
        for (unsigned i = 1; i <= others; i++) {
            good &= n % 10 || WAIT_FOR(versions[i] >= n);
        }
    }
    check("followed", good);
    check("finished", finish());
    good = true;
    for (unsigned i = 1; i <= others; i++) {
        good &= seen[i];
    }
    check("never an old one", good);
}

/* ---- INIT again ---------------------------------------------------------------------------- */

static void again(void)
{
    uint32_t before = cpus, id = ids[others];
    bool off = true;

    if (!others) {
        say("no other processor\n");
        return;
    }
    for (unsigned n = 0; n < 10; n++) {
        cpus = before;
        done[before] = 0;
        apic_send(id, DELIVER_INIT | LEVEL_ASSERT);
        cpu_pause();
        off &= cpus == before;
        apic_send(id, DELIVER_SIPI | 8);
        if (!WAIT_FOR(cpus == before + 1 && done[before])) {
            break;
        }
    }
    expect("restarted", cpus, before + 1);
    check("its id", ids[before] == id);
    check("off until then", off);
}

static void work(unsigned cpu, unsigned what)
{
    switch (what) {
    case JOB_READ:
        read_page(cpu);
        break;
    case JOB_CODE:
        run_code(cpu);
        break;
    case JOB_HALT:
        halt(cpu);
        break;
    case JOB_PINGPONG:
        pingpong(cpu);
        break;
    default:
        atomics(cpu, what);
    }
}

const struct part parts[] = {
    {"start", start},         {"atomics", compute},           {"ipis", ipis},   {"nmis", nmis},
    {"shootdown", shootdown}, {"cross-modify", cross_modify}, {"again", again}, {NULL, NULL},
};
