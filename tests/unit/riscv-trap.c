/*
 * Exceptions, interrupts and returns: where each trap goes, what it leaves in the registers, which
 * interrupt comes first, timers and counters.
 */
#include "target/riscv/random.h"
#include "tests/unit/riscv-hart.h"

#define BIT(n) (UINT64_C(1) << (n))

static struct rv_random rnd = {271};

static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_M};

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

static void line(unsigned n, bool level)
{
    cpu_irq_set(&hart->sys.wiring.lines, n, level);
}

/* ---- where traps go -------------------------------------------------------------------------- */

/* Takes one trap, and compares all of the state with what the manual says. */
static bool trap_is_right(unsigned cause, bool interrupt, enum rv_priv from)
{
    uint64_t code = cause | (interrupt ? BIT(63) : 0), tval = rv_random_next(&rnd);
    uint64_t deleg = hart_read(interrupt ? MIDELEG : MEDELEG), before, status, base;
    bool s = from != RV_PRIV_M && deleg >> cause & 1, vectored;

    hart_set_priv(from);
    hart_write(MSTATUS, rv_random_next(&rnd));
    hart->pc = rv_random_next(&rnd) & ~UINT64_C(1);
    before = hart_read(MSTATUS);
    rv_trap(hart, cause, interrupt, tval);
    status = hart_read(MSTATUS);
    vectored = interrupt && hart_read(s ? STVEC : MTVEC) & 1;
    base = hart_read(s ? STVEC : MTVEC) & ~UINT64_C(3);
    if (hart->pc != base + (vectored ? 4 * cause : 0) ||
        hart->sys.priv != (s ? RV_PRIV_S : RV_PRIV_M) ||
        rv_mode_priv(hart->common.mode) != hart->sys.priv ||
        hart_read(s ? SCAUSE : MCAUSE) != code || hart_read(s ? STVAL : MTVAL) != tval) {
        return false;
    }
    if (s) {
        return (status >> 5 & 1) == (before >> 1 & 1) && !(status & 2) &&
               (status >> 8 & 1) == from && ((status ^ before) & ~UINT64_C(0x122)) == 0;
    }
    return (status >> 7 & 1) == (before >> 3 & 1) && !(status & 8) && (status >> 11 & 3) == from &&
           ((status ^ before) & ~UINT64_C(0x1888)) == 0;
}

static void delegation(void)
{
    unsigned wrong = 0, epc = 0;

    hart_create("rv64");
    for (unsigned n = 0; n < 20000; n++) {
        bool interrupt = draw(2);
        enum rv_priv from = (enum rv_priv)privs[draw(3)];

        hart_write(MEDELEG, rv_random_next(&rnd));
        hart_write(MIDELEG, rv_random_next(&rnd));
        hart_write(MTVEC, rv_random_next(&rnd) & ~UINT64_C(2));
        hart_write(STVEC, rv_random_next(&rnd) & ~UINT64_C(2));
        wrong += !trap_is_right((unsigned)draw(16), interrupt, from);
    }
    tap_eq(wrong, 0, "20000 random traps");
    hart->pc = 0x1234;
    hart_set_priv(RV_PRIV_M);
    rv_trap(hart, 2, false, 0);
    epc = hart_read(MEPC) == 0x1234;
    tap_ok(epc, "mepc is the pc");
    hart_write(MEDELEG, UINT64_MAX);
    tap_eq(hart_read(MEDELEG), 0xb3ff, "ecall from M, and what there is not, can't be delegated");
}

static void exits(void)
{
    static const struct {
        enum cpu_exit exit;
        uint64_t arg, cause, tval;
        const char *what;
    } cases[] = {
        {CPU_EXIT_BREAKPOINT, 7, 3, 0x8000, "ebreak: the pc"},
        {CPU_EXIT_ILLEGAL, 0x30200073, 2, 0x30200073, "illegal: the bits"},
        {CPU_EXIT_MISALIGNED, 0x13, 6, 0x13, "misaligned: the address"},
    };

    hart_create("rv64");
    for (unsigned n = 0; n < BITS_ARRAY_SIZE(cases); n++) {
        hart->pc = 0x8000;
        hart->common.exit_arg = cases[n].arg;
        hart->sys.misaligned = RV_CAUSE_STORE_MISALIGNED;
        rv_raise_exit(&hart->common, cases[n].exit);
        tap_ok(hart_read(MCAUSE) == cases[n].cause && hart_read(MTVAL) == cases[n].tval &&
                   hart_read(MEPC) == 0x8000,
               "%s", cases[n].what);
    }
    for (unsigned n = 0; n < 3; n++) {
        hart_set_priv((enum rv_priv)privs[n]);
        rv_raise_exit(&hart->common, CPU_EXIT_SYSCALL);
        tap_ok(hart_read(MCAUSE) == 8u + privs[n] && hart_read(MTVAL) == 0, "ecall from %u",
               privs[n]);
    }
    hart->pc = 0x8000;
    rv_raise_memory(&hart->common, 0x77, CPU_ACCESS_STORE, CPU_BUS_ERROR_ATOMIC);
    tap_ok(hart_read(MCAUSE) == 7 && hart_read(MTVAL) == 0x77, "an atomic access to no RAM");
    rv_raise_memory(&hart->common, 0x78, CPU_ACCESS_LOAD, CPU_BUS_ERROR_ABSENT);
    tap_ok(hart_read(MCAUSE) == 5 && hart_read(MTVAL) == 0x78, "a load from nothing");
    hart->pc = 0x8000;
    hart->common.exit_arg = 0x8002;
    rv_raise_exit(&hart->common, CPU_EXIT_FETCH_FAULT);
    tap_ok(hart_read(MCAUSE) == 1 && hart_read(MTVAL) == 0x8002 && hart_read(MEPC) == 0x8000,
           "a fetch from nothing, of the second half");
    hart->pc = HART_RAM;
    hart->common.exit_arg = HART_RAM;
    hart_write(MCAUSE, 99);
    rv_raise_exit(&hart->common, CPU_EXIT_FETCH_FAULT);
    tap_ok(hart->pc == HART_RAM && hart_read(MCAUSE) == 99,
           "a fetch that works now is tried again");
}

static void returns(void)
{
    unsigned wrong = 0;

    hart_create("rv64");
    for (unsigned n = 0; n < 3000; n++) {
        uint64_t before, after, pc = rv_random_next(&rnd) & ~UINT64_C(1);
        unsigned mpp, spp;

        hart_set_priv(RV_PRIV_M);
        hart_write(MSTATUS, rv_random_next(&rnd));
        hart_write(MEPC, pc);
        hart_write(SEPC, pc + 2);
        hart->reservation = 8;
        before = hart_read(MSTATUS);
        mpp = before >> 11 & 3;
        spp = before >> 8 & 1;
        if (n & 1) {
            wrong += rv_mret(hart) != pc;
            after = hart_read(MSTATUS);
            wrong += hart->sys.priv != mpp || !(after & 0x80) || after >> 11 & 3 ||
                     (after >> 3 & 1) != (before >> 7 & 1);
            wrong += (after >> 17 & 1) != (mpp == RV_PRIV_M ? before >> 17 & 1 : 0);
        } else {
            wrong += rv_sret(hart) != pc + 2;
            after = hart_read(MSTATUS);
            wrong += hart->sys.priv != spp || !(after & 0x20) || after & 0x100 ||
                     (after >> 1 & 1) != (before >> 5 & 1) || after & RV_MSTATUS_MPRV;
        }
        wrong += rv_mode_priv(hart->common.mode) != hart->sys.priv || hart->reservation != 1;
    }
    tap_eq(wrong, 0, "3000 random returns");
}

/* ---- interrupts ------------------------------------------------------------------------------ */

/* The manual's rule, said another way: a list of interrupts by falling priority, M's first. */
static int reference(uint64_t pending)
{
    static const uint8_t order[] = {11, 3, 7, 9, 1, 5, 13};
    uint64_t status = hart_read(MSTATUS), deleg = hart_read(MIDELEG);
    enum rv_priv priv = (enum rv_priv)hart->sys.priv;

    for (unsigned level = RV_PRIV_M;; level = RV_PRIV_S) {
        bool on = priv < level || (priv == level && status & (level == RV_PRIV_M ? 8 : 2));
        for (unsigned n = 0; n < sizeof(order); n++) {
            bool here = (deleg >> order[n] & 1) == (level == RV_PRIV_S);
            if (on && here && pending >> order[n] & 1) {
                return order[n];
            }
        }
        if (level == RV_PRIV_S) {
            return -1;
        }
    }
}

static void priorities(void)
{
    static const uint8_t inputs[] = {3, 7, 9, 11};
    unsigned wrong = 0, taken = 0, idle = 0;

    hart_create("rv64");
    for (unsigned n = 0; n < 20000; n++) {
        uint64_t mip, external = 0;
        int expected;

        hart_set_priv((enum rv_priv)privs[draw(3)]);
        hart_write(MSTATUS, rv_random_next(&rnd));
        hart_write(MIDELEG, rv_random_next(&rnd));
        hart_write(MIE, rv_random_next(&rnd) | rv_random_next(&rnd));
        hart_write(MIP, rv_random_next(&rnd) & rv_random_next(&rnd));
        for (unsigned k = 0; k < sizeof(inputs); k++) {
            bool high = draw(4) == 0;
            line(inputs[k], high);
            external |= high ? BIT(inputs[k]) : 0;
        }
        mip = hart_read(MIP);
        wrong += mip != ((hart->sys.mip & UINT64_C(0x2222)) | external);
        expected = reference(mip & hart_read(MIE));
        wrong += rv_interrupt_pending(hart) != (expected >= 0);
        wrong += rv_has_work(&hart->common) != ((mip & hart_read(MIE)) != 0);
        wrong += rv_take_interrupt(&hart->common) != (expected >= 0);
        if (expected >= 0) {
            uint64_t cause = hart->sys.priv == RV_PRIV_S ? hart_read(SCAUSE) : hart_read(MCAUSE);
            wrong += cause != (BIT(63) | (unsigned)expected);
            taken++;
        } else {
            idle++;
        }
    }
    tap_ok(wrong == 0 && taken > 2000 && idle > 2000,
           "%u interrupts taken, %u times none: %u wrong", taken, idle, wrong);
}

static void lines_and_bits(void)
{
    unsigned before;

    hart_create("rv64");
    line(9, true);
    tap_eq(hart_read(MIP), BIT(9), "the line of SEIP");
    hart_write(MIP, BIT(9));
    line(9, false);
    tap_eq(hart_read(MIP), BIT(9), "software's own bit of SEIP");
    line(9, true);
    rv_csr_write(hart, rv_csr_find(MIP), 0, BIT(9));
    line(9, false);
    tap_eq(hart_read(MIP), 0, "clearing it clears no line's, and stays when that falls");
    line(9, true);
    rv_csr_write(hart, rv_csr_find(MIP), BIT(1), BIT(1));
    line(9, false);
    tap_eq(hart_read(MIP), BIT(1), "setting another bit does not make the line's software's");
    hart_write(MIP, 0);
    line(1, true);
    tap_eq(hart_read(MIP), BIT(1), "an edge of SSIP");
    hart_write(MIP, 0);
    tap_eq(hart_read(MIP), 0, "is cleared by software");
    before = hart_wakes;
    line(1, true);
    tap_ok(hart_read(MIP) == BIT(1) && hart_wakes == before + 1, "and comes again");
    hart_write(MIP, 0);
    hart_write(MIDELEG, BIT(1));
    rv_csr_write(hart, rv_csr_find(SIP), UINT64_MAX, UINT64_MAX);
    tap_eq(hart_read(MIP), BIT(1), "of sip only SSIP can be written, where delegated");
    tap_eq(hart_read(SIP), BIT(1), "and only that is shown");
    hart_write(SIE, UINT64_MAX);
    tap_eq(hart_read(MIE), BIT(1), "sie likewise");
    hart_write(MIE, UINT64_MAX);
    tap_eq(hart_read(MIE), UINT64_C(0x2aaa), "mie has what there is");
    tap_eq(hart_read(SIE), BIT(1), "sie shows the delegated ones");
}

/* ---- timers and counters --------------------------------------------------------------------- */

static void timer(void)
{
    unsigned before;

    hart_now = 1000;
    hart_create("rv64");
    tap_eq(hart_read(TIME), 10, "time at 10 MHz");
    hart_write(MIP, BIT(5));
    tap_eq(hart_read(MIP), BIT(5), "without STCE software sets STIP");
    hart_write(STIMECMP, 20);
    tap_eq(hart_timers[0].deadline, CPU_CLOCK_NEVER, "and stimecmp does nothing");
    hart_write(MENVCFG, RV_ENVCFG_STCE);
    tap_eq(hart_timers[0].deadline, 2000, "STCE arms the timer");
    tap_eq(hart_read(MIP), 0, "and takes the bit from software");
    hart_write(MIP, BIT(5));
    tap_eq(hart_read(MIP), 0, "for good");
    hart_write(MIE, BIT(5));
    tap_eq(rv_deadline(&hart->common), 2000, "the deadline of a wait");
    before = hart_wakes;
    hart_advance(1999);
    tap_ok(hart_wakes == before && !rv_has_work(&hart->common), "not yet");
    hart_advance(2000);
    tap_ok(hart_wakes == before + 1 && hart_read(MIP) == BIT(5) && rv_has_work(&hart->common),
           "then it wakes");
    hart_write(MIDELEG, BIT(5));
    hart_set_priv(RV_PRIV_U);
    tap_ok(rv_take_interrupt(&hart->common) && hart_read(SCAUSE) == (BIT(63) | 5), "is taken");
    hart_write(STIMECMP, UINT64_MAX);
    tap_ok(hart_read(MIP) == 0 && rv_deadline(&hart->common) == CPU_CLOCK_NEVER,
           "and gone when stimecmp is far away");
    hart_set_priv(RV_PRIV_U);
    tap_ok(hart_write(STIMECMP, 1), "one that is due at once leaves the unit");
}

/* The machine's timebase is set elsewhere. */
static void timebase(void)
{
    static struct cpu_timebase mtime;

    hart_now = 1000;
    hart_create("rv64");
    riscv_set_timebase(&hart->common, &mtime);
    riscv_system_ops.reset(&hart->common, 0x1000);
    hart_write(MENVCFG, RV_ENVCFG_STCE);
    hart_write(MIE, RV_IRQ_BIT(RV_IRQ_STI));
    tap_eq(hart_read(TIME), 10, "a timebase shows the clock");
    hart_write(STIMECMP, 1000);
    tap_eq(hart_timers[0].deadline, 100000, "and so does the timer");
    cpu_timebase_set(&mtime, 900);
    tap_ok(hart_read(TIME) == 910 && hart_timers[0].deadline == 10000,
           "until it is set ahead: the timer follows");
    tap_eq(rv_deadline(&hart->common), 10000, "and the wait for it");
    cpu_timebase_set(&mtime, 2000);
    tap_ok(hart_read(MIP) & RV_IRQ_BIT(RV_IRQ_STI) && rv_has_work(&hart->common),
           "past it the interrupt is pending");
    cpu_timebase_set(&mtime, 0);
    tap_ok(!(hart_read(MIP) & RV_IRQ_BIT(RV_IRQ_STI)) && hart_timers[0].deadline == 100000,
           "and back it is not");
    cpu_timebase_set(&mtime, UINT64_MAX - 4);
    tap_ok(hart_read(TIME) == 5 && hart_timers[0].deadline == 100500, "behind the clock");
}

static void counters(void)
{
    hart_now = 5000;
    hart_create("rv64");
    hart_now = 5100;
    tap_eq(hart_read(MCYCLE), 100, "mcycle counts");
    hart_write(MCYCLE, 7);
    hart_now = 5110;
    tap_eq(hart_read(CYCLE), 17, "from what was written");
    hart_write(MCOUNTINHIBIT, 1);
    hart_now = 5200;
    tap_eq(hart_read(CYCLE), 17, "stands still when inhibited");
    hart_write(MCOUNTINHIBIT, 0);
    hart_now = 5203;
    tap_eq(hart_read(CYCLE), 20, "and goes on");
    hart_write(MCOUNTINHIBIT, UINT64_MAX);
    tap_eq(hart_read(MCOUNTINHIBIT), 0x7fffd, "time can't be inhibited, nor what there is not");
    hart_write(MCOUNTINHIBIT, 0);
    hart_write(MCOUNTEREN, UINT64_MAX);
    tap_eq(hart_read(MCOUNTEREN), 0x7ffff, "mcounteren");
    hart_write(MHPMCOUNTER3 + 20, 5);
    tap_eq(hart_read(MHPMCOUNTER3 + 20), 0, "counter 23 is none");

    hart_write(MHPMCOUNTER3, (uint64_t)-50);
    tap_eq(hart_read(MHPMCOUNTER3), (uint64_t)-50, "a counter of nothing");
    hart_now = 6000;
    tap_eq(hart_read(MHPMCOUNTER3), (uint64_t)-50, "stands still");
    hart_write(MIE, BIT(13));
    hart_write(MHPMEVENT3, 1);
    tap_ok(hart_timers[1].deadline == 6050 && rv_deadline(&hart->common) == 6050,
           "counting cycles it will overflow");
    hart_advance(6049);
    tap_ok(hart_read(MIP) == 0 && hart_read(SCOUNTOVF) == 0, "not yet");
    hart_advance(6050);
    tap_ok(hart_read(MIP) == BIT(13) && hart_read(SCOUNTOVF) == 8 && hart_read(MHPMEVENT3) >> 63,
           "overflow: LCOFIP and OF");
    hart_write(MIP, 0);
    hart_write(MHPMCOUNTER3, (uint64_t)-5);
    hart_advance(7000);
    tap_eq(hart_read(MIP), 0, "not again while OF is set");
    hart_set_priv(RV_PRIV_S);
    hart_write(MCOUNTEREN, 0);
    tap_eq(hart_read(SCOUNTOVF), 0, "S sees what mcounteren shows");
}

int main(void)
{
    delegation();
    exits();
    returns();
    priorities();
    lines_and_bits();
    timer();
    timebase();
    counters();
    hart_destroy();
    return tap_done();
}
