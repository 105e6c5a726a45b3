/*
 * Breakpoints and single steps under the translator, on every engine: in hot code, on calls and
 * returns, of one hart and of another, by the thousand; and steps over whatever an instruction may
 * do.
 */
#include "target/riscv/random.h"
#include "tests/unit/tcg-hart.h"

#define CODE    (RAM + 0x10000)
#define HANDLER (RAM + 0x4000)

static int insert(uint64_t pc)
{
    return service()->breakpoint(harts[0], pc, true);
}

static int delete (uint64_t pc)
{
    return service()->breakpoint(harts[0], pc, false);
}

/* Runs hart 0: whether it stops at a breakpoint there. */
static bool breaks_at(uint64_t pc)
{
    struct cpu_stop stop = harts_run();

    return stop.kind == CPU_STOP_BREAKPOINT && stop.address == pc && hart(0)->pc == pc;
}

static bool ends(void)
{
    return harts_run().kind == CPU_STOP_NONE;
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

/* Counts in a0 to a3 for ever; a0 is one ahead from CODE + 4 on, and so on. */
static void put_loop(void)
{
    PUT(CODE, addi(A0, A0, 1), addi(A1, A1, 1), branch(BEQ, ZERO, ZERO, 8), addi(A0, A0, 100),
        addi(A2, A2, 1), addi(A3, A3, 1), jal(ZERO, -24));
}

static void hot_loop(void)
{
    static const struct {
        uint8_t offset, ahead; /* by how much a0 is ahead of a3 */
    } places[] = {{0, 0}, {4, 1}, {8, 1}, {16, 1}, {20, 1}, {24, 0}};
    unsigned wrong = 0;

    put_loop();
    hart_start(0, CODE);
    for (unsigned i = 0; i < 60; i++) {
        uint64_t pc = CODE + places[i % 6].offset, count;
        struct cpu_stop stop;

        harts_go();
        usleep(500);
        wrong += insert(pc) != 0; /* while it runs */
        wrong += !harts_wait() || !service()->debug_stop(harts[0], &stop);
        wrong += stop.kind != CPU_STOP_BREAKPOINT || hart(0)->pc != pc;
        count = hart(0)->x[A0];
        wrong += count != hart(0)->x[A3] + places[i % 6].ahead;
        for (unsigned n = 1; n < 4; n++) {
            wrong += !breaks_at(pc) || hart(0)->x[A0] != count + n;
        }
        wrong += delete (pc) != 0;
    }
    tap_eq(wrong, 0, "breakpoints come and go in a loop that runs");
    harts_run_ms(5);
    tap_eq(harts_stops, 0, "without one it does not stop");
    insert(CODE + 12);
    harts_run_ms(5);
    tap_eq(harts_stops, 0, "nor for one where it never is");
    delete (CODE + 12);
    insert(CODE + 6);
    harts_run_ms(5);
    tap_eq(harts_stops, 0, "nor in the middle of an instruction");
    delete (CODE + 6);
}

static void calls(void)
{
    bool good = true;

    /* 0: call 20; call 24; a0++; loop. 20: ret. 24: call 20 by pointer (a5), return by t0. */
    PUT(CODE, jal(RA, 20), jal(T0, 20), addi(A0, A0, 1), jal(ZERO, -12), EBREAK, RET, jalr(RA, A5),
        jalr(ZERO, T0));
    hart_start(0, CODE);
    hart(0)->x[A5] = CODE + 20;
    harts_run_ms(3);
    for (unsigned n = 0; n < 3; n++) {
        static const uint8_t order[] = {4, 24, 20, 28, 8};

        for (unsigned i = 0; i < sizeof(order); i++) {
            good &= insert(CODE + order[i]) == 0;
        }
        good &= harts_run().kind == CPU_STOP_BREAKPOINT;
        while (good && hart(0)->pc != CODE + 8) {
            good &= harts_run().kind == CPU_STOP_BREAKPOINT;
        }
        good &= breaks_at(CODE + 20);
        for (unsigned i = 0; i < sizeof(order); i++) {
            good &= breaks_at(CODE + order[i]);
        }
        for (unsigned i = 0; i < sizeof(order); i++) {
            good &= delete (CODE + order[i]) == 0;
        }
        harts_run_ms(2);
        good &= harts_stops == 0;
    }
    tap_ok(good, "callees, and where calls return to");
}

/* An instruction of which two bytes are in the next page; and the first of a page. */
static void page_borders(void)
{
    uint64_t border = CODE + 0x1000;
    uint16_t c_nop = 1;

    PUT(border - 8, addi(A0, A0, 1), addi(A1, A1, 1), addi(A2, A2, 1), addi(A3, A3, 1));
    memmove(ram_at(border - 6), ram_at(border - 8), 16);
    memcpy(ram_at(border - 8), &c_nop, 2);
    PUT(border + 10, jal(ZERO, -18));
    hart_start(0, border - 8);
    harts_run_ms(3);
    insert(border - 2);
    insert(border + 2);
    tap_ok(harts_run().kind == CPU_STOP_BREAKPOINT && harts_run().kind == CPU_STOP_BREAKPOINT,
           "across a page");
    if (hart(0)->pc == border - 2) {
        harts_run();
    }
    tap_ok(breaks_at(border - 2) && hart(0)->x[A0] == hart(0)->x[A1] + 1 && breaks_at(border + 2) &&
               hart(0)->x[A0] == hart(0)->x[A1],
           "in the order of the code");
    delete (border - 2);
    delete (border + 2);
}

static void refusals(void)
{
    unsigned wrong = 0;

    wrong += delete (CODE) != -ENOENT;
    wrong += insert(CODE) || insert(CODE) || delete (CODE);
    put_loop();
    hart_start(0, CODE);
    wrong += !breaks_at(CODE);
    wrong += delete (CODE) || delete (CODE) != -ENOENT;
    harts_run_ms(2);
    wrong += harts_stops != 0;
    tap_eq(wrong, 0, "inserted twice it is there until it was removed twice");
}

enum { MANY = 2000 };

static void many(void)
{
    static uint32_t code[MANY + 3];
    unsigned wrong = 0;

    for (unsigned i = 0; i < MANY; i++) {
        code[i] = addi(A0, A0, 1);
    }
    code[MANY] = store(2, ZERO, 31, 0);
    code[MANY + 1] = jal(ZERO, 0);
    put_code(CODE, code, MANY + 2);
    for (unsigned n = 0; n < 4; n++) {
        hart_start(0, CODE); /* warm */
        wrong += !ends();
    }
    for (unsigned i = MANY; i-- > 0;) {
        wrong += insert(CODE + 4 * i) != 0;
    }
    hart_start(0, CODE);
    for (unsigned i = 0; i < MANY; i++) {
        wrong += !breaks_at(CODE + 4 * i) || hart(0)->x[A0] != i;
    }
    wrong += !ends();
    tap_eq(wrong, 0, "2000 breakpoints");
    hart_start(0, CODE);
    for (unsigned i = 0; i < 50; i++) {
        /* as a debugger does */
        for (unsigned n = 0; n < MANY; n++) {
            wrong += delete (CODE + 4 * n) != 0;
        }
        for (unsigned n = 0; n < MANY; n++) {
            wrong += insert(CODE + 4 * n) != 0;
        }
        wrong += !breaks_at(CODE + 4 * i);
    }
    for (unsigned i = 0; i < MANY; i++) {
        wrong += delete (CODE + 4 * i) != 0;
    }
    wrong += !ends() || hart(0)->x[A0] != MANY;
    tap_eq(wrong, 0, "taken away and put back at each stop");
}

/* Translations are shared; breakpoints are not. */
static void two_harts(void)
{
    uint64_t before;
    struct cpu_stop stop;

    put_loop();
    vcpu_set_power(harts[1], true);
    for (unsigned n = 0; n < HARTS; n++) {
        hart_start(n, CODE);
    }
    harts_run_ms(3);
    insert(CODE + 4);
    harts_run();
    before = hart(1)->x[A0];
    for (unsigned n = 0; n < 1000 && (hart(1)->x[A0] <= before + 20 || hart(0)->pc != CODE + 4);
         n++) {
        harts_run_ms(5);
    }
    tap_ok(hart(0)->pc == CODE + 4 && service()->debug_stop(harts[0], &stop),
           "a hart stops at its breakpoint");
    tap_ok(!service()->debug_stop(harts[1], &stop) && hart(1)->x[A0] > before + 20,
           "the other passes it: %llu times meanwhile",
           (unsigned long long)(hart(1)->x[A0] - before));
    service()->breakpoint(harts[1], CODE + 4, true);
    harts_go();
    for (unsigned n = 0; n < 2000 && harts_stops < 2; n++) {
        usleep(10000);
    }
    vcpu_pause_all(NULL, NULL);
    tap_ok(harts_stops == 2 && hart(0)->pc == CODE + 4 && hart(1)->pc == CODE + 4,
           "until it has one itself");
    before = hart(1)->x[A0];
    tap_ok(service()->debug_stop(harts[0], &stop), "a debugger asks one of them");
    before = hart(0)->x[A0];
    harts_go();
    for (unsigned n = 0; n < 2000 && harts_stops < 2; n++) {
        usleep(10000);
    }
    vcpu_pause_all(NULL, NULL);
    tap_ok(harts_stops == 2 && hart(0)->x[A0] == before + 1, "which goes round once more");
    tap_ok(service()->debug_stop(harts[1], &stop) && stop.kind == CPU_STOP_BREAKPOINT,
           "the other has stopped again");
    service()->breakpoint(harts[1], CODE + 4, false);
    delete (CODE + 4);
    vcpu_set_power(harts[1], false);
}

/* A hart that has stopped does not run on by itself. */
static void stands(void)
{
    uint64_t count;

    put_loop();
    hart_start(0, CODE);
    insert(CODE + 4);
    harts_go();
    sem_wait(&harts_sem);
    delete (CODE + 4);
    count = hart(0)->x[A0];
    service()->wake(harts[0]);
    usleep(20000);
    tap_ok(hart(0)->pc == CODE + 4 && hart(0)->x[A0] == count, "it stands until it was paused");
    vcpu_unhalt(harts[0]);
    for (unsigned n = 0; n < 1000 && hart(0)->x[A0] == count; n++) {
        usleep(5000);
        cpu_kick(harts[0]); /* its registers come into the state */
    }
    vcpu_pause_all(NULL, NULL);
    tap_ok(hart(0)->x[A0] > count, "or reset");
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Steps hart 0: whether it is there then. */
static bool steps_to(uint64_t pc)
{
    struct cpu_stop stop = harts_run();

    return stop.kind == CPU_STOP_STEP && stop.address == pc && hart(0)->pc == pc;
}

static void step(bool on)
{
    service()->single_step(harts[0], on);
}

static void flow(void)
{
    bool good = true;

    PUT(CODE, addi(A0, ZERO, 1), branch(BNE, A0, ZERO, 12), EBREAK, EBREAK, /* 0 to 12 */
        branch(BEQ, A0, ZERO, -8), jal(RA, 12), jal(ZERO, 0), EBREAK, RET); /* 16 to 32 */
    hart_start(0, CODE);
    step(true);
    good &= steps_to(CODE + 4);
    good &= steps_to(CODE + 16);
    good &= steps_to(CODE + 20);
    good &= steps_to(CODE + 32) && hart(0)->x[RA] == CODE + 24;
    good &= steps_to(CODE + 24);
    good &= steps_to(CODE + 24) && steps_to(CODE + 24);
    tap_ok(good, "steps over jumps and branches");
    insert(CODE + 24);
    tap_ok(steps_to(CODE + 24) && steps_to(CODE + 24), "a step does not stop at a breakpoint");
    step(false);
    tap_ok(breaks_at(CODE + 24), "but what runs on from there does, when it comes back");
    delete (CODE + 24);
}

static void traps(void)
{
    struct riscv_cpu *rv = hart(0);
    bool good = true;

    PUT(HANDLER, csrrw(MEPC, A0, ZERO), addi(A0, A0, 4), csrrw(MEPC, ZERO, A0), MRET);
    PUT(CODE, ECALL, 0, load(3, A1, ZERO, 0), store(3, A1, ZERO, 8), EBREAK, WFI,
        csrrw(MSCRATCH, A2, A0), 0x0000100f /* fence.i */, amo(LR, 3, A1, A3, 0), END);
    hart_start(0, CODE);
    rv->sys.mtvec = HANDLER;
    rv->x[A3] = RAM + 0x3001; /* misaligned */
    step(true);
    for (unsigned i = 0; i < 9; i++) {
        static const uint8_t causes[] = {RV_CAUSE_ECALL + RV_PRIV_M,
                                         RV_CAUSE_ILLEGAL,
                                         RV_CAUSE_LOAD_ACCESS,
                                         RV_CAUSE_STORE_ACCESS,
                                         RV_CAUSE_BREAKPOINT,
                                         0xff,
                                         0xff,
                                         0xff,
                                         RV_CAUSE_LOAD_MISALIGNED};
        uint64_t pc = CODE + 4 * i;

        if (causes[i] == 0xff) {
            good &= steps_to(pc + 4);
            continue;
        }
        good &= steps_to(HANDLER) && rv->sys.mcause == causes[i] && rv->sys.mepc == pc;
        good &= steps_to(HANDLER + 4) && steps_to(HANDLER + 8) && steps_to(HANDLER + 12);
        good &= steps_to(pc + 4);
        if (!good) {
            tap_note("instruction %u: at %#llx, cause %llu", i, (unsigned long long)rv->pc,
                     (unsigned long long)rv->sys.mcause);
            break;
        }
    }
    tap_ok(good, "a step takes an exception, and returns from its handler; it does not wait");
    step(false);
    tap_ok(ends(), "without steps it runs on");
    /* the code cannot be fetched */
    hart_start(0, PORT + 16);
    rv->sys.mtvec = HANDLER;
    step(true);
    tap_ok(steps_to(HANDLER) && rv->sys.mcause == RV_CAUSE_FETCH_ACCESS, "a fetch that faults");
    step(false);
}

static void interrupts(void)
{
    struct riscv_cpu *rv = hart(0);
    bool good = true;

    PUT(HANDLER, addi(A1, A1, 1), csrrw(MIE, ZERO, ZERO), MRET);
    PUT(CODE, addi(A0, A0, 1), addi(A0, A0, 1), WFI, addi(A0, A0, 1), END);
    hart_start(0, CODE);
    rv->sys.mtvec = HANDLER;
    rv->sys.mie = RV_IRQ_BIT(RV_IRQ_MSI);
    rv->sys.mstatus |= RV_MSTATUS_MIE;
    cpu_irq_set(&rv->sys.wiring.lines, RV_IRQ_MSI, true);
    step(true);
    good &= steps_to(CODE + 4) && steps_to(CODE + 8) && steps_to(CODE + 12);
    tap_ok(good && rv->x[A1] == 0, "interrupts wait while it steps");
    insert(HANDLER);
    step(false);
    tap_ok(breaks_at(HANDLER) && rv->sys.mepc == CODE + 16,
           "and are taken when it goes on, behind the instruction where it stood");
    delete (HANDLER);
    tap_ok(ends() && rv->x[A0] == 3 && rv->x[A1] == 1, "once");
    cpu_irq_set(&rv->sys.wiring.lines, RV_IRQ_MSI, false);
    /* a hart that waits */
    hart_start(0, CODE + 8);
    for (unsigned n = 0; n < 1000 && rv->pc != CODE + 12; n++) {
        harts_run_ms(5);
    }
    step(true);
    tap_ok(rv->pc == CODE + 12 && steps_to(CODE + 16), "a wait for an interrupt ends by a step");
    step(false);
}

/* An instruction that a unit leaves and enters again, when FS becomes Dirty. */
static void floating_point(void)
{
    struct riscv_cpu *rv = hart(0);

    PUT(CODE, 0x02007053 /* fadd.d ft0,ft0,ft0 */, jal(ZERO, -4));
    hart_start(0, CODE);
    rv->sys.priv = RV_PRIV_U;
    rv->sys.mstatus |= UINT64_C(2) << RV_MSTATUS_FS_SHIFT;
    rv->f[0] = UINT64_C(0x3ff0000000000000);
    rv_mode_update(rv);
    step(true);
    tap_ok(steps_to(CODE + 4) && rv->f[0] == UINT64_C(0x4000000000000000) &&
               rv->sys.mstatus & RV_MSTATUS_SD,
           "the first floating-point instruction of a program");
    step(false);
}

/* Random instructions, run and stepped. */
enum { STREAM = 400, STREAMS = 40 };

static void start_stream(uint64_t seed)
{
    struct rv_random rnd = {seed};

    hart_start(0, CODE);
    hart(0)->sys.mstatus |= RV_MSTATUS_FS | RV_MSTATUS_SD;
    for (unsigned i = 1; i < 31; i++) {
        hart(0)->x[i] = rv_random_next(&rnd);
        hart(0)->f[i] = rv_random_next(&rnd);
    }
    hart(0)->x[A0] = RAM + 0x100000;
    memset(ram_at(RAM + 0x100000 - 0x1000), 0x5a, 0x2000);
    rv_mode_update(hart(0));
}

static unsigned put_stream(uint64_t seed)
{
    const struct rv_random_options options = {
        .ext = &hart(0)->ext,
        .classes = RV_CLASS_COMPUTE | RV_CLASS_MEMORY,
        .bases = 1u << A0,
        .keep = UINT32_C(1) << 31,
    };
    struct rv_random rnd = {seed};
    unsigned at = 0;

    for (unsigned i = 0; i < STREAM; i++) {
        uint32_t insn = rv_random_insn(&rnd, &options);

        memcpy(ram_at(CODE + at), &insn, 4);
        at += rv_length(insn);
    }
    PUT(CODE + at, END);
    service()->code_changed(mem_gpa(CODE), at);
    return at;
}

static void streams(void)
{
    static uint64_t x[32], f[32];
    static uint8_t memory[0x2000];
    unsigned wrong = 0;

    for (uint64_t seed = 1; seed <= STREAMS; seed++) {
        unsigned end = put_stream(seed), steps = 0;
        uint32_t fflags;

        start_stream(seed);
        wrong += !ends();
        memcpy(x, hart(0)->x, sizeof(x));
        memcpy(f, hart(0)->f, sizeof(f));
        memcpy(memory, ram_at(RAM + 0x100000 - 0x1000), sizeof(memory));
        fflags = hart(0)->fflags;
        start_stream(seed);
        step(true);
        while (hart(0)->pc < CODE + end && steps < 2 * STREAM) {
            wrong += harts_run().kind != CPU_STOP_STEP;
            steps++;
        }
        step(false);
        wrong += steps != STREAM || hart(0)->pc != CODE + end || fflags != hart(0)->fflags;
        wrong += memcmp(x, hart(0)->x, sizeof(x)) || memcmp(f, hart(0)->f, sizeof(f)) ||
                 memcmp(memory, ram_at(RAM + 0x100000 - 0x1000), sizeof(memory));
    }
    tap_eq(wrong, 0, "random instructions do by steps what they do otherwise");
}

static void test(void)
{
    hot_loop();
    calls();
    page_borders();
    refusals();
    many();
    two_harts();
    stands();
    flow();
    traps();
    interrupts();
    floating_point();
    streams();
}

int main(void)
{
    return harts_each_engine(test, "rv64");
}
