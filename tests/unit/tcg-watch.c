/*
 * Watchpoints under the translator: every kind of access, at every distance from a watched range,
 * within a page and across two, with and without page tables, on every engine.
 *
 * Each random case runs an access three times: unwatched, for what comes of it; watched, where it
 * must stop before anything has happened, or not stop at all; and with the watchpoint removed. The
 * page has been accessed right before, so that the TLB would have it.
 */
#include "target/riscv/random.h"
#include "tests/unit/tcg-hart.h"

#define CODE   (RAM + 0x1000)
#define TABLES (RAM + 0x200000)
#define PAGE_0                                                                         \
    (RAM + 0x10000) /* the two pages of the window; physically apart under page tables \
                     */
#define PAGE_1  (RAM + 0x11000)
#define PAGE_X  (RAM + 0x30000)
#define VIRTUAL UINT64_C(0x1000000000)

enum { SLOT = 64, WINDOW = 96, ACCESS_AT = 16, CASES = 1200 };

/* a0: address, a1: value, a2: result (expectation of amocas); fa1, fa2 the same. */
static const struct access {
    const char *name;
    uint32_t insn;
    uint8_t size, kinds;
    bool aligned;
} accesses[] = {
#define R  CPU_WATCH_READ
#define W  CPU_WATCH_WRITE
#define RW (CPU_WATCH_READ | CPU_WATCH_WRITE)
    {"lb", 0x00050603, 1, R, false},
    {"lh", 0x00051603, 2, R, false},
    {"lw", 0x00052603, 4, R, false},
    {"ld", 0x00053603, 8, R, false},
    {"sb", 0x00b50023, 1, W, false},
    {"sh", 0x00b51023, 2, W, false},
    {"sw", 0x00b52023, 4, W, false},
    {"sd", 0x00b53023, 8, W, false},
    {"flw", 0x00052607, 4, R, false},
    {"fld", 0x00053607, 8, R, false},
    {"fsw", 0x00b52027, 4, W, false},
    {"fsd", 0x00b53027, 8, W, false},
    {"lr.w", LR << 27 | 0x0005262f, 4, R, true},
    {"lr.d", LR << 27 | 0x0005362f, 8, R, true},
    {"amoadd.w", AMOADD << 27 | 0x00b5262f, 4, RW, true},
    {"amoadd.d", AMOADD << 27 | 0x00b5362f, 8, RW, true},
    {"amoswap.b", AMOSWAP << 27 | 0x00b5062f, 1, RW, true},
    {"amocas.d", AMOCAS << 27 | 0x00b5362f, 8, RW, true},
    {"amocas.q", AMOCAS << 27 | 0x00e5462f, 16, RW, true}, /* a2, a3; a4, a5 */
#undef R
#undef W
#undef RW
};
enum { ACCESSES = sizeof(accesses) / sizeof(accesses[0]) };

static struct rv_random rnd = {314159};
static bool paged;

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

/* ---- the window ------------------------------------------------------------------------------ */

/* The address, as the hart has it, of a place around the border of the two pages. */
static uint64_t window(unsigned offset)
{
    return (paged ? VIRTUAL : PAGE_0) + MEM_PAGE_SIZE - WINDOW / 2 + offset;
}

static uint8_t *window_byte(unsigned offset)
{
    uint64_t at = MEM_PAGE_SIZE - WINDOW / 2 + offset;

    if (at < MEM_PAGE_SIZE) {
        return ram_at(PAGE_0 + at);
    }
    return ram_at((paged ? PAGE_X : PAGE_1) + at - MEM_PAGE_SIZE);
}

static void make_tables(void)
{
    enum { LEAF = 0xcf, TABLE = 1 }; /* V R W X A D */

    memset(ram_at(TABLES), 0, 3 * MEM_PAGE_SIZE);
    set_word(TABLES + 8 * (PORT >> 30), (PORT >> 30 << 28) | LEAF);
    set_word(TABLES + 8 * (RAM >> 30), (RAM >> 30 << 28) | LEAF);
    set_word(TABLES + 8 * (VIRTUAL >> 30), (TABLES + 0x1000) >> 12 << 10 | TABLE);
    set_word(TABLES + 0x1000, (TABLES + 0x2000) >> 12 << 10 | TABLE);
    set_word(TABLES + 0x2000, PAGE_0 >> 12 << 10 | LEAF);
    set_word(TABLES + 0x2008, PAGE_X >> 12 << 10 | LEAF);
}

static void start(uint64_t pc)
{
    hart_start(0, pc);
    hart(0)->sys.mstatus |= RV_MSTATUS_FS | RV_MSTATUS_SD;
    if (paged) {
        hart(0)->sys.satp = UINT64_C(8) << 60 | TABLES >> 12;
        hart(0)->sys.priv = RV_PRIV_S;
    }
    rv_mode_update(hart(0));
}

/* ---- random cases ---------------------------------------------------------------------------- */

struct result {
    uint64_t x[32], f12, pc, reservation;
    uint8_t memory[WINDOW];
};

static struct result look(void)
{
    struct result r = {
        .f12 = hart(0)->f[12], .pc = hart(0)->pc, .reservation = hart(0)->reservation};

    memcpy(r.x, hart(0)->x, sizeof(r.x));
    for (unsigned i = 0; i < WINDOW; i++) {
        r.memory[i] = *window_byte(i);
    }
    return r;
}

static bool same(const struct result *a, const struct result *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void prepare(unsigned n, unsigned offset)
{
    struct riscv_cpu *rv;

    start(CODE + n * SLOT);
    rv = hart(0);
    for (unsigned i = 0; i < WINDOW; i++) {
        *window_byte(i) = (uint8_t)(0x81 + 7 * i);
    }
    rv->x[A0] = window(offset);
    rv->x[A1] = UINT64_C(0x1122334455667788);
    rv->f[11] = UINT64_C(0x99aabbccddeeff00);
    rv->x[A2] = rv->x[A3] = 0;
    if (accesses[n].insn >> 27 == AMOCAS && accesses[n].kinds == 3) {
        for (unsigned i = 0; i < accesses[n].size; i++) {
            ((uint8_t *)&rv->x[A2])[i] = *window_byte(offset + i);
        }
    }
    rv->x[A4] = 4;
    rv->x[A5] = 5;
    rv->x[A6] = 0;
    /* of both pages, outside of the window */
    rv->x[A7] = window(0) & ~(MEM_PAGE_SIZE - 1);
    rv->x[T0] = (window(WINDOW - 1) | (MEM_PAGE_SIZE - 1)) - 7;
}

/* What is wrong with the case; NULL if nothing is. */
static const char *check(unsigned n, unsigned offset, unsigned at, unsigned size, unsigned kinds)
{
    const struct access *a = &accesses[n];
    bool hits = a->kinds & kinds && at < offset + a->size && offset < at + size;
    struct result want, before, got;
    struct cpu_stop stop;

    prepare(n, offset);
    before = look();
    if (harts_run().kind != CPU_STOP_NONE) {
        return "stops unwatched";
    }
    want = look();
    prepare(n, offset);
    if (service()->watchpoint(harts[0], window(at), size, kinds, true)) {
        return "cannot be watched";
    }
    stop = harts_run();
    if (hits != (stop.kind == CPU_STOP_WATCHPOINT)) {
        return hits ? "does not stop" : "stops";
    }
    if (hits) {
        before.pc = CODE + n * SLOT + ACCESS_AT;
        before.x[A6] = word_at(PAGE_0 + 8); /* the last of what precedes the access */
        got = look();
        got.x[A6] = before.x[A6];
        if (stop.address != window(at) || stop.access != kinds) {
            return "says that it was another watchpoint";
        }
        if (!same(&got, &before)) {
            return "stops when something has happened";
        }
        if (harts_run().kind != CPU_STOP_NONE) {
            return "does not go on";
        }
    }
    got = look();
    if (!same(&got, &want)) {
        return "has another result";
    }
    if (service()->watchpoint(harts[0], window(at), size, kinds, false)) {
        return "cannot be unwatched";
    }
    prepare(n, offset);
    return harts_run().kind == CPU_STOP_NONE ? NULL : "stops when it is unwatched";
}

static void random_cases(const char *where)
{
    unsigned wrong = 0, hits = 0;

    for (unsigned i = 0; i < CASES && wrong < 5; i++) {
        unsigned n = (unsigned)draw(ACCESSES), kinds = 1 + (unsigned)draw(3);
        unsigned size = 1 + (unsigned)draw(16), offset = 16 + (unsigned)draw(WINDOW - 48);
        unsigned at;
        const char *problem;

        if (accesses[n].aligned) {
            offset &= ~(accesses[n].size - 1u);
        }
        at = offset - 16 + (unsigned)draw(40);
        hits += at < offset + accesses[n].size && offset < at + size;
        problem = check(n, offset, at, size, kinds);
        if (problem) {
            wrong++;
            tap_note("%s at %u, %u bytes at %u watched for %u: %s", accesses[n].name, offset, size,
                     at, kinds, problem);
            service()->watchpoint(harts[0], window(at), size, kinds, false);
        }
    }
    tap_eq(wrong, 0, where);
    tap_ok(hits > CASES / 4 && hits < CASES * 3 / 4, "of which %u meet the range", hits);
}

static void put_accesses(void)
{
    for (unsigned n = 0; n < ACCESSES; n++) {
        PUT(CODE + n * SLOT, load(3, A6, A7, 0), store(3, A6, A7, 0), load(3, A6, T0, 0),
            store(3, A6, T0, 0), accesses[n].insn, END);
    }
}

/* ---- others ---------------------------------------------------------------------------------- */

/* Accesses that share a probe of the TLB. */
static void neighbours(void)
{
    unsigned wrong = 0;

    PUT(CODE, load(3, A1, A0, 0), load(3, A2, A0, 8), store(3, A1, A0, 16), load(2, A3, A0, 24),
        store(0, A2, A0, 28), load(0, A4, A0, 29), END);
    for (unsigned i = 0; i < 6; i++) {
        static const uint8_t offsets[] = {0, 8, 16, 24, 28, 29};
        static const uint8_t kinds[] = {1, 1, 2, 1, 2, 1};
        struct cpu_stop stop;

        start(CODE);
        hart(0)->x[A0] = window(0);
        service()->watchpoint(harts[0], window(offsets[i]), 1, kinds[i], true);
        stop = harts_run();
        wrong += stop.kind != CPU_STOP_WATCHPOINT || hart(0)->pc != CODE + 4 * i;
        wrong += harts_run().kind != CPU_STOP_NONE;
        service()->watchpoint(harts[0], window(offsets[i]), 1, kinds[i], false);
    }
    tap_eq(wrong, 0, "accesses near to each other are told apart");
}

/* A counter under a lock of LR and SC, watched. */
static void reservations(void)
{
    unsigned stops = 0, wrong = 0;

    PUT(CODE, amo(LR, 3, A1, A0, 0), addi(A1, A1, 1), amo(SC, 3, A2, A0, A1),
        branch(BNE, A2, ZERO, -12), addi(A3, A3, -1), branch(BNE, A3, ZERO, -20), END);
    start(CODE);
    hart(0)->x[A0] = window(0);
    hart(0)->x[A3] = 20;
    memset(window_byte(0), 0, 8);
    service()->watchpoint(harts[0], window(0), 8, CPU_WATCH_WRITE, true);
    while (harts_run().kind == CPU_STOP_WATCHPOINT && stops < 100) {
        wrong += hart(0)->pc != CODE + 8;
        stops++;
    }
    service()->watchpoint(harts[0], window(0), 8, CPU_WATCH_WRITE, false);
    tap_eq(wrong, 0, "sc is the instruction that stores");
    tap_eq(stops, 20, "and succeeds after each stop");
    tap_eq(*window_byte(0), 20, "until all is counted");
}

static void faults(void)
{
    /* the second page is not there: the access faults, watched or not */
    set_word(TABLES + 0x2008, 0);
    PUT(RAM + 0x4000, END); /* the handler, in machine mode */
    PUT(CODE, load(3, A1, A0, 0), END);
    start(CODE);
    hart(0)->sys.mtvec = RAM + 0x4000;
    hart(0)->x[A0] = VIRTUAL + MEM_PAGE_SIZE - 4;
    service()->watchpoint(harts[0], VIRTUAL + MEM_PAGE_SIZE - 4, 8, 3, true);
    tap_ok(harts_run().kind == CPU_STOP_NONE && hart(0)->sys.mcause == RV_CAUSE_LOAD_PAGE &&
               hart(0)->sys.mtval == VIRTUAL + MEM_PAGE_SIZE,
           "a page fault comes before a watchpoint");
    service()->watchpoint(harts[0], VIRTUAL + MEM_PAGE_SIZE - 4, 8, 3, false);
    make_tables();
}

static void devices(void)
{
    PUT(CODE, load(2, A1, 31, 16), store(2, A1, 31, 16), END);
    start(CODE);
    atomic_store(&harts_touched, 0);
    service()->watchpoint(harts[0], PORT + 16, 4, 3, true);
    tap_ok(harts_run().kind == CPU_STOP_WATCHPOINT && hart(0)->pc == CODE && harts_touched == 0,
           "a device's register is not read before the stop");
    tap_ok(harts_run().kind == CPU_STOP_WATCHPOINT && hart(0)->pc == CODE + 4 &&
               harts_touched == 1 && hart(0)->x[A1] == 0x5a,
           "but once after it, and not written");
    tap_ok(harts_run().kind == CPU_STOP_NONE && harts_touched == 2, "but after that");
    service()->watchpoint(harts[0], PORT + 16, 4, 3, false);
}

/* What does not ask is stopped again. */
static void asking(void)
{
    struct cpu_stop stop;

    PUT(CODE, load(3, A1, A0, 0), END);
    start(CODE);
    hart(0)->x[A0] = window(0);
    service()->watchpoint(harts[0], window(0), 1, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        harts_go();
        harts_wait();
    }
    tap_ok(harts_stops == 1 && hart(0)->pc == CODE, "a stop that nobody asks about comes again");
    tap_ok(service()->debug_stop(harts[0], &stop) && service()->debug_stop(harts[0], &stop) &&
               stop.kind == CPU_STOP_WATCHPOINT,
           "one can ask twice");
    tap_ok(harts_run().kind == CPU_STOP_NONE && !service()->debug_stop(harts[0], &stop),
           "until it has gone on");
    service()->watchpoint(harts[0], window(0), 1, 1, false);
}

static void refusals(void)
{
    const struct cpu_service_ops *s = service();
    struct cpu *cpu = harts[0];
    unsigned wrong = 0;

    wrong += s->watchpoint(cpu, 8, 0, 3, true) != -EINVAL;
    wrong += s->watchpoint(cpu, 8, 1, 0, true) != -EINVAL;
    wrong += s->watchpoint(cpu, 8, 1, 4, true) != -EINVAL;
    wrong += s->watchpoint(cpu, UINT64_MAX, 2, 1, true) != -EINVAL;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 1, true) != 0;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 2, false) != -ENOENT;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 1, true) != 0;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 1, false) != 0;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 1, false) != 0;
    wrong += s->watchpoint(cpu, UINT64_MAX, 1, 1, false) != -ENOENT;
    tap_eq(wrong, 0, "what is no range, no access, or not there, is refused");
}

/* Many at once, also ranges of whole pages. */
static void many(void)
{
    unsigned wrong = 0;

    PUT(CODE, load(0, A1, A0, 0), END);
    for (unsigned i = 0; i < 300; i++) {
        wrong += service()->watchpoint(harts[0], PAGE_0 + 2 * i, 1, 1, true) != 0;
    }
    for (unsigned i = 0; i < 600; i += 7) {
        start(CODE);
        hart(0)->x[A0] = PAGE_0 + i;
        wrong += harts_run().kind != (i % 2 ? CPU_STOP_NONE : CPU_STOP_WATCHPOINT);
    }
    for (unsigned i = 0; i < 300; i++) {
        wrong += service()->watchpoint(harts[0], PAGE_0 + 2 * i, 1, 1, false) != 0;
    }
    tap_eq(wrong, 0, "300 watchpoints");
    service()->watchpoint(harts[0], PAGE_0 - 10 * MEM_PAGE_SIZE, 20 * MEM_PAGE_SIZE, 1, true);
    start(CODE);
    hart(0)->x[A0] = PAGE_0 + 9 * MEM_PAGE_SIZE;
    tap_ok(harts_run().kind == CPU_STOP_WATCHPOINT, "a range of many pages");
    service()->watchpoint(harts[0], PAGE_0 - 10 * MEM_PAGE_SIZE, 20 * MEM_PAGE_SIZE, 1, false);
}

static void test(void)
{
    make_tables();
    put_accesses();
    random_cases("random accesses, physical");
    paged = true;
    random_cases("random accesses, through page tables");
    neighbours();
    reservations();
    faults();
    paged = false;
    neighbours();
    reservations();
    devices();
    asking();
    refusals();
    many();
}

int main(void)
{
    return harts_each_engine(test, "rv64,zacas=on,zabha=on");
}
