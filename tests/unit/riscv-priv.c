/*
 * Privileged instructions, and CSR instructions on all registers in all modes, translated and run
 * on the interpreter: what is illegal, what the registers are afterwards (as the C functions make
 * them), and when the unit is left.
 */
#include <errno.h>

#include "jit/interp/interp.h"
#include "jit/ir/verify.h"
#include "jit/opt/options.h"
#include "target/riscv/random.h"
#include "target/riscv/trans.h"
#include "tests/unit/riscv-hart.h"

enum { CODE = 0x10000 };

static uint8_t code[256];
static unsigned code_length;
static struct ir_unit unit;
static struct jit_options options;
static struct interp_exit left;
static struct rv_random rnd = {1618};
static uint64_t memory_word;
static unsigned bad_units;

static const uint8_t privs[] = {RV_PRIV_U, RV_PRIV_S, RV_PRIV_M};

static uint64_t draw(uint64_t n)
{
    return rv_random_next(&rnd) % n;
}

static unsigned fetch(void *opaque, uint64_t pc, void *bytes, unsigned length)
{
    uint64_t offset = pc - CODE;
    unsigned n = offset < code_length ? code_length - (unsigned)offset : 0;

    n = n < length ? n : length;
    memcpy(bytes, code + offset, n);
    return n;
}

static int load(void *opaque, uint64_t address, unsigned size, uint64_t *value, int *signal,
                int *fault_code)
{
    *value = memory_word;
    return 0;
}

static int store(void *opaque, uint64_t address, unsigned size, uint64_t value, int *signal,
                 int *fault_code)
{
    memory_word = value;
    return 0;
}

/* Fails while nothing may be written. */
static bool read_only;

static int cas(void *opaque, uint64_t address, unsigned size, uint64_t expected, uint64_t desired,
               uint64_t *old, int *signal, int *fault_code)
{
    if (read_only) {
        return -EFAULT;
    }
    *old = memory_word;
    memory_word = memory_word == expected ? desired : memory_word;
    return 0;
}

static const struct interp_memory memory = {.load = load, .store = store, .cas = cas};

static void report(void *opaque, ir_ref op, const char *text)
{
    tap_note("v%u: %s", op, text);
}

/* Runs the unit of the code (and an ebreak, to see whether it goes on). Returns the reason for
 * which the run loop is entered. */
static unsigned run_code(unsigned length)
{
    static const uint16_t ebreak = 0x9002;
    struct cpu_translate request = {
        .pc = CODE,
        .mode = hart->common.mode,
        .cpu = &hart->common,
        .max_insns = 64,
        .long_units = true,
        .fetch = fetch,
    };
    struct ir_builder b;

    memcpy(code + length, &ebreak, 2);
    code_length = length + 2;
    ir_build_begin(&b, &unit, &options, riscv64_target_ops.ir, CODE);
    riscv64_target_ops.translate(&b, &request);
    bad_units += ir_verify(&unit, report, NULL) ? 1 : 0;
    riscv64_target_ops.load_fpu(&hart->common);
    interp_run(&unit, hart, &memory, &left);
    riscv64_target_ops.save_fpu(&hart->common);
    return left.op == IR_exit_loop ? left.reason : CPU_EXIT_NONE;
}

static unsigned run(uint32_t bits)
{
    memcpy(code, &bits, 4);
    return run_code(rv_length(bits));
}

static bool is_illegal(uint32_t bits)
{
    unsigned reason = run(bits);

    return reason == CPU_EXIT_ILLEGAL && left.pc == CODE && hart->common.exit_arg == bits;
}

enum { RW = 1, RS, RC, RWI = 5, RSI, RCI };

static uint32_t csr_insn(unsigned csr, unsigned op, unsigned rd, unsigned rs1)
{
    return csr << 20 | rs1 << 15 | op << 12 | rd << 7 | 0x73;
}

/* All that a lower privilege may be let do, it may. */
static void open_gates(void)
{
    hart->sys.mcounteren = hart->sys.scounteren = UINT64_MAX;
    hart->sys.menvcfg = RV_ENVCFG_STCE | RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE;
    hart->sys.senvcfg = hart->sys.menvcfg;
    hart->sys.mstatus = RV_MSTATUS_XL64 | RV_MSTATUS_FS | RV_MSTATUS_SD;
}

/* ---- which registers there are --------------------------------------------------------------- */

static bool in(unsigned n, unsigned first, unsigned last)
{
    return n >= first && n <= last;
}

/* The CSRs of QEMU's virt machine with -cpu rv64, without H, V and AIA. */
static bool exists(unsigned n)
{
    return in(n, 1, 3) || n == 0x100 || in(n, 0x104, 0x106) || n == 0x10a || in(n, 0x140, 0x144) ||
           n == 0x14d || n == 0x180 || in(n, 0x300, 0x306) || n == 0x30a || n == 0x320 ||
           in(n, 0x323, 0x33f) || in(n, 0x340, 0x344) || (in(n, 0x3a0, 0x3af) && !(n & 1)) ||
           in(n, 0x3b0, 0x3ef) || in(n, 0x7a0, 0x7a4) || n == 0xb00 || in(n, 0xb02, 0xb1f) ||
           in(n, 0xc00, 0xc1f) || n == 0xda0 || in(n, 0xf11, 0xf15);
}

static void existence(void)
{
    unsigned wrong = 0, names = 0;

    hart_create("rv64");
    open_gates();
    for (unsigned n = 0; n < 4096; n++) {
        for (unsigned p = 0; p < 3; p++) {
            bool legal = exists(n) && privs[p] >= (n >> 8 & 3);
            bool readonly = n >> 10 == 3;
            hart_set_priv((enum rv_priv)privs[p]);
            if (is_illegal(csr_insn(n, RS, 10, 0)) != !legal ||
                is_illegal(csr_insn(n, RCI, 10, 0)) != !legal) {
                tap_note("reading %03x in %u", n, privs[p]);
                wrong++;
            }
            if ((!legal || readonly) && !is_illegal(csr_insn(n, RS, 0, 10))) {
                tap_note("writing %03x in %u", n, privs[p]);
                wrong++;
            }
        }
        names += (rv_csr_name(n) != NULL) != (exists(n) || n == 0x747);
    }
    tap_eq(wrong, 0, "all numbers in all privileges");
    tap_eq(names, 0, "what exists has a name");
    hart_create("rv64,smepmp=on");
    tap_ok(!is_illegal(csr_insn(MSECCFG, RS, 10, 0)), "mseccfg with Smepmp");
    hart_create("rv64,s=off");
    tap_ok(is_illegal(csr_insn(SATP, RS, 10, 0)) && is_illegal(csr_insn(MEDELEG, RS, 10, 0)),
           "without S none of its registers");
    hart_create("rv64,sstc=off");
    tap_ok(is_illegal(csr_insn(STIMECMP, RS, 10, 0)), "stimecmp is Sstc's");
}

/* ---- what instructions do -------------------------------------------------------------------- */

static void random_state(void)
{
    struct rv_system *s = &hart->sys;

    for (unsigned n = 1; n < 32; n++) {
        hart->x[n] = draw(3) ? rv_random_next(&rnd) : UINT64_C(1) << draw(64);
    }
    hart_write(MSTATUS, rv_random_next(&rnd));
    hart_write(MIE, draw(2) ? rv_random_next(&rnd) : 0);
    hart_write(MIP, draw(2) ? rv_random_next(&rnd) : 0);
    hart_write(MIDELEG, rv_random_next(&rnd));
    hart_write(MENVCFG, rv_random_next(&rnd) | RV_ENVCFG_STCE);
    s->mscratch = rv_random_next(&rnd);
    s->sepc = rv_random_next(&rnd) & ~UINT64_C(1);
    s->mcounteren = s->scounteren = 0x7ffff;
    s->mstatus &= ~(RV_MSTATUS_TVM | RV_MSTATUS_TW | RV_MSTATUS_TSR);
}

/* One instruction, and the same by the functions of csr.h: all state must agree. */
static bool agrees(unsigned number, unsigned op, unsigned rd, unsigned rs1)
{
    static struct riscv_cpu before, expected;
    const struct rv_csr *csr = rv_csr_find(number);
    uint64_t operand = op & 4 ? rs1 : hart->x[rs1], old;
    bool writes = (op & 3) == RW || rs1 != 0, leave = false;
    const void *got, *want;
    unsigned reason;

    rv_mode_update(hart);
    before = *hart;
    old = rv_csr_read(hart, csr);
    if (writes) {
        switch (op & 3) {
        case RW:
            leave = rv_csr_write(hart, csr, operand, UINT64_MAX);
            break;
        case RS:
            leave = rv_csr_write(hart, csr, UINT64_MAX, operand);
            break;
        default:
            leave = rv_csr_write(hart, csr, 0, operand);
        }
    }
    hart->x[rd] = rd ? old : 0;
    expected = *hart;
    *hart = before;
    reason = run(csr_insn(number, op, rd, rs1));
    if (reason != (leave ? CPU_EXIT_MODE : CPU_EXIT_BREAKPOINT) || left.pc != CODE + 4) {
        return false;
    }
    got = &hart->sys; /* copies of one another, holes included */
    want = &expected.sys;
    return !memcmp(got, want, sizeof(hart->sys)) && !memcmp(hart->x, expected.x, sizeof(hart->x)) &&
           hart->common.mode == expected.common.mode;
}

static void effects(const char *how)
{
    static const uint8_t ops[] = {RW, RS, RC, RWI, RSI, RCI};
    unsigned wrong = 0, count = 0;

    hart_create("rv64,smepmp=on");
    for (unsigned number = 0; number < 4096; number++) {
        const struct rv_csr *csr = rv_csr_find(number);
        unsigned rounds = csr && csr->kind == RV_CSR_STATUS ? 3000 : 30;
        if (!csr || number >> 10 == 3) {
            continue;
        }
        for (unsigned n = 0; n < rounds; n++) {
            enum rv_priv priv = (enum rv_priv)privs[draw(3)];
            unsigned op = ops[draw(6)], rd = (unsigned)draw(4) * 10 & 31, rs1 = (unsigned)draw(32);

            random_state();
            hart->sys.priv = priv < (number >> 8 & 3) ? RV_PRIV_M : priv;
            count++;
            if (!agrees(number, op, rd, rs1)) {
                wrong++;
                if (wrong < 10) {
                    tap_note("%s, op %u, rd %u, rs1 %u: left for %u", csr->name, op, rd, rs1,
                             left.reason);
                }
            }
        }
    }
    tap_ok(wrong == 0, "%s: %u writes of all registers do what the functions do", how, count);
}

/* The ways of an operating system through a trap stay in the unit. */
static void stays(void)
{
    hart_create("rv64");
    hart_set_priv(RV_PRIV_S);
    hart_write(MSTATUS, RV_MSTATUS_SIE);
    hart->x[5] = 0x77;
    hart->sys.sscratch = 0x88;
    tap_ok(run(csr_insn(SSCRATCH, RW, 5, 5)) == CPU_EXIT_BREAKPOINT && hart->x[5] == 0x88 &&
               hart->sys.sscratch == 0x77,
           "swapping with sscratch");
    tap_ok(run(csr_insn(SSTATUS, RCI, 10, 2)) == CPU_EXIT_BREAKPOINT &&
               hart->x[10] & RV_MSTATUS_SIE && !(hart_read(MSTATUS) & RV_MSTATUS_SIE),
           "masking interrupts");
    tap_ok(run(csr_insn(SSTATUS, RSI, 0, 2)) == CPU_EXIT_BREAKPOINT, "unmasking them, none there");
    hart_write(MIDELEG, 2);
    hart_write(MIE, 2);
    hart_write(MIP, 2);
    run(csr_insn(SSTATUS, RCI, 0, 2));
    tap_ok(run(csr_insn(SSTATUS, RSI, 0, 2)) == CPU_EXIT_MODE && left.pc == CODE + 4,
           "unmasking one that is pending leaves");
    tap_ok(run(csr_insn(SSTATUS, RSI, 0, 2)) == CPU_EXIT_BREAKPOINT, "no change, no exit");
    hart_switches = 0;
    hart->x[5] = RV_MSTATUS_SUM;
    tap_ok(run(csr_insn(SSTATUS, RS, 0, 5)) == CPU_EXIT_BREAKPOINT && hart_switches == 1,
           "SUM changes the data space alone");
    tap_ok(run(csr_insn(SSTATUS, RS, 0, 5)) == CPU_EXIT_BREAKPOINT && hart_switches == 1, "once");
    hart_service.data_space_changed = NULL;
    tap_ok(run(csr_insn(SSTATUS, RC, 0, 5)) == CPU_EXIT_MODE,
           "or leaves, where that is not to be had");
    hart_service.data_space_changed = hart_data_space_changed;
    hart_write(MIP, 0);
    hart_write(MIDELEG, UINT64_MAX);
    hart_write(MIE, UINT64_MAX);
    hart_write(MENVCFG, RV_ENVCFG_STCE);
    for (unsigned n = 0; n < 4; n++) {
        static const char *const what[] = {"no line", "SEIP's line", "a timer not due", "one due"};
        bool pending = n & 1;

        cpu_irq_set(&hart->sys.wiring.lines, RV_IRQ_SEI, n == 1);
        hart_write(STIMECMP, n == 3 ? 0 : UINT64_MAX);
        hart_write(MSTATUS, 0);
        tap_ok(run(csr_insn(SSTATUS, RSI, 0, 2)) == (pending ? CPU_EXIT_MODE : CPU_EXIT_BREAKPOINT),
               "unmasking: %s", what[n]);
    }
    hart_write(STIMECMP, UINT64_MAX);
    hart_write(MHPMCOUNTER3, UINT64_MAX);
    hart_write(MHPMEVENT3, 1);
    hart_now += 10;
    hart_write(MSTATUS, 0);
    tap_ok(run(csr_insn(SSTATUS, RSI, 0, 2)) == CPU_EXIT_MODE, "unmasking: an overflow");
}

/* ---- gates ----------------------------------------------------------------------------------- */

static const uint32_t sret = 0x10200073, mret = 0x30200073, wfi = 0x10500073,
                      sfence = 0x12b50073, /* sfence.vma a0,a1 */
    sfence_all = 0x12000073, sinval = 0x16b50073, w_inval = 0x18000073, inval_ir = 0x18100073;

static void gates(void)
{
    uint32_t time = csr_insn(TIME, RS, 10, 0), timecmp = csr_insn(STIMECMP, RS, 10, 0);

    hart_create("rv64");
    open_gates();
    hart_set_priv(RV_PRIV_U);
    tap_ok(!is_illegal(time), "time in U");
    hart->sys.scounteren = ~UINT64_C(2);
    tap_ok(is_illegal(time) && !is_illegal(csr_insn(CYCLE, RS, 10, 0)), "scounteren forbids it");
    hart_set_priv(RV_PRIV_S);
    tap_ok(!is_illegal(time), "but not in S");
    tap_ok(!is_illegal(timecmp), "stimecmp in S");
    hart->sys.mcounteren = ~UINT64_C(2);
    tap_ok(is_illegal(time) && is_illegal(timecmp), "mcounteren does, and stimecmp with it");
    open_gates();
    hart->sys.menvcfg &= ~RV_ENVCFG_STCE;
    tap_ok(is_illegal(timecmp), "as does menvcfg.STCE");
    hart_set_priv(RV_PRIV_M);
    hart->sys.mcounteren = 0;
    tap_ok(!is_illegal(time) && !is_illegal(timecmp), "never in M");

    for (unsigned p = 0; p < 3; p++) {
        bool m = privs[p] == RV_PRIV_M, u = privs[p] == RV_PRIV_U;
        open_gates();
        hart_set_priv((enum rv_priv)privs[p]);
        tap_ok(is_illegal(sret) == u && (hart_set_priv((enum rv_priv)privs[p]), true) &&
                   is_illegal(mret) == !m,
               "returns in %u", privs[p]);
        hart_set_priv((enum rv_priv)privs[p]);
        open_gates();
        tap_ok(is_illegal(wfi) == u && is_illegal(sfence) == u && is_illegal(w_inval) == u &&
                   is_illegal(inval_ir) == u && is_illegal(sinval) == u,
               "wfi and fences in %u", privs[p]);
        hart->sys.mstatus |= RV_MSTATUS_TVM | RV_MSTATUS_TW | RV_MSTATUS_TSR;
        tap_ok(is_illegal(wfi) == !m && is_illegal(sfence_all) == !m && is_illegal(sinval) == !m &&
                   is_illegal(csr_insn(SATP, RS, 10, 0)) == !m && is_illegal(w_inval) == u &&
                   is_illegal(sret) == !m,
               "TVM, TW, TSR in %u", privs[p]);
    }
}

static void returns(void)
{
    hart_create("rv64");
    open_gates();
    hart->sys.mepc = 0x123456789abc;
    hart->sys.mstatus |= RV_MSTATUS_MPIE | (uint64_t)RV_PRIV_S << 11;
    tap_ok(run(mret) == CPU_EXIT_MODE && left.pc == 0x123456789abc && hart->sys.priv == RV_PRIV_S &&
               rv_mode_priv(hart->common.mode) == RV_PRIV_S,
           "mret goes to mepc");
    hart->sys.sepc = 0x4000;
    tap_ok(run(sret) == CPU_EXIT_MODE && left.pc == 0x4000 && hart->sys.priv == RV_PRIV_U,
           "sret to sepc");
    tap_ok(run(0x73) == CPU_EXIT_SYSCALL && left.pc == CODE, "ecall is the run loop's");
    hart_set_priv(RV_PRIV_S);
    tap_ok(run(wfi) == CPU_EXIT_HALT && left.pc == CODE + 4, "wfi halts behind itself");
    hart->x[10] = 0x5000;
    hart->x[11] = 7;
    hart_flushes = 0;
    tap_ok(run(sfence) == CPU_EXIT_MODE && hart_flushes == 1 && hart_flush.address == 0x5000 &&
               hart_flush.asid == 7 && !hart_flush.any_asid,
           "sfence.vma of an address in a space");
    tap_ok(run(sfence_all) == CPU_EXIT_MODE && hart_flushes == 2 && hart_flush.size == 0 &&
               hart_flush.any_asid,
           "sfence.vma of all");
    tap_ok(run(sinval) == CPU_EXIT_MODE && hart_flushes == 3 && hart_flush.size, "sinval.vma");
    tap_ok(run(w_inval) == CPU_EXIT_BREAKPOINT && run(inval_ir) == CPU_EXIT_BREAKPOINT &&
               hart_flushes == 3,
           "the fences around it do nothing more");
}

static void store_conditional(void)
{
    static const uint32_t lr = 0x100527af, sc = 0x18f526af; /* a5,(a0); a3,a5,(a0) */

    hart_create("rv64");
    hart->x[10] = 0x5000;
    hart->x[13] = 7;
    memory_word = 1;
    run(lr);
    read_only = true;
    run(sc);
    tap_ok(left.pc == CODE && hart->x[13] == 7 && hart->reservation == 0x5002,
           "sc that faults keeps rd and the reservation");
    read_only = false;
    run(sc);
    tap_ok(left.pc == CODE + 4 && hart->x[13] == 0 && hart->reservation == 1,
           "so that it succeeds the next time, and ends it");
    run(sc);
    tap_ok(hart->x[13] == 1, "once");
}

static void cache_blocks(void)
{
    static const struct {
        uint32_t bits;
        uint64_t gate;
        const char *name;
    } blocks[] = {
        {0x0005200f, RV_ENVCFG_CBIE, "cbo.inval"},
        {0x0015200f, RV_ENVCFG_CBCFE, "cbo.clean"},
        {0x0025200f, RV_ENVCFG_CBCFE, "cbo.flush"},
        {0x0045200f, RV_ENVCFG_CBZE, "cbo.zero"},
    };

    hart_create("rv64");
    hart_write(PMPADDR0, UINT64_MAX);
    hart_write(PMPCFG0, 0x1f);
    for (unsigned n = 0; n < sizeof(blocks) / sizeof(blocks[0]); n++) {
        bool ok = true;
        for (unsigned p = 0; p < 3; p++) {
            open_gates();
            hart_set_priv((enum rv_priv)privs[p]);
            ok &= !is_illegal(blocks[n].bits);
            hart->sys.senvcfg &= ~blocks[n].gate;
            ok &= is_illegal(blocks[n].bits) == (privs[p] == RV_PRIV_U);
            open_gates();
            hart->sys.menvcfg &= ~blocks[n].gate;
            ok &= is_illegal(blocks[n].bits) == (privs[p] != RV_PRIV_M);
        }
        tap_ok(ok, "%s behind its gates", blocks[n].name);
    }
}

/* ---- floating point -------------------------------------------------------------------------- */

static void floating_point(void)
{
    static const struct {
        uint32_t bits;
        bool dirties;
        const char *name;
    } cases[] = {
        {0x02b50553, true, "fadd.d"},         {0x00053507, true, "fld"},
        {0xa2b52553, true, "feq.d"},          {0xc2050553, true, "fcvt.w.d"},
        {0x00003108 | 0x2000, true, "c.fld"}, {0x00a53027, false, "fsd"},
        {0xe2050553, false, "fmv.x.d"},       {0xe2051553, false, "fclass.d"},
        {0x00302573, false, "frcsr"},         {0x00101573, true, "fsflags zero"},
        {0x00215073, true, "fsrmi 2"},
    };

    for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]) * 3; n++) {
        uint32_t bits = cases[n / 3].bits;
        enum rv_priv priv = (enum rv_priv)privs[n % 3];
        bool off, clean, dirty;
        unsigned reason;

        hart_create("rv64");
        hart->x[10] = hart->x[8] = HART_RAM;
        hart->sys.priv = priv;
        hart_write(MSTATUS, 0);
        off = is_illegal(bits);
        hart_write(MSTATUS, UINT64_C(2) << 13);
        reason = run(bits);
        dirty = hart_read(MSTATUS) >> 63 && (hart_read(MSTATUS) & RV_MSTATUS_FS) == RV_MSTATUS_FS;
        clean = dirty == cases[n / 3].dirties;
        if (cases[n / 3].dirties && priv == RV_PRIV_U) { /* by a unit of another mode word */
            clean &= reason == CPU_EXIT_AGAIN && left.pc == CODE;
            clean &= !(hart->common.mode & RV_MODE_FS) && run(bits) == CPU_EXIT_BREAKPOINT;
        } else {
            clean &= reason == CPU_EXIT_BREAKPOINT;
        }
        tap_ok(off && clean, "%s in %u: off %d, clean %d", cases[n / 3].name, priv, off, clean);
    }
    hart_create("rv64");
    memcpy(code, (uint32_t[]){0x02b50553, 0x30001073, 0x02b50553}, 12); /* csrw mstatus, zero */
    hart_write(MSTATUS, RV_MSTATUS_FS);
    tap_ok(run_code(12) == CPU_EXIT_ILLEGAL && left.pc == CODE + 8,
           "a unit that switches FS off knows it");
    hart_create("rv64,f=off");
    hart_write(MSTATUS, RV_MSTATUS_FS);
    tap_ok(!(hart_read(MSTATUS) & RV_MSTATUS_FS) && is_illegal(0x00302573),
           "without F there is no FS, and no fcsr");
}

/* ---- registers that take not every value ----------------------------------------------------- */

static void legal_values(void)
{
    hart_create("rv64");
    tap_eq(hart_read(MISA), UINT64_C(2) << 62 | 0x14112d, "misa: rv64acdfimsu");
    tap_eq(hart_read(MHARTID), 3, "mhartid");
    tap_eq(hart_read(MSTATUS), UINT64_C(10) << 32, "mstatus at reset");
    hart_write(MSTATUS, UINT64_MAX);
    tap_eq(hart_read(MSTATUS), UINT64_C(0x8000000a007e79aa), "mstatus of all ones");
    tap_eq(hart_read(SSTATUS), UINT64_C(0x80000002000c6122), "sstatus of them");
    hart_write(SSTATUS, 0);
    tap_eq(hart_read(MSTATUS), UINT64_C(0xa00721888), "sstatus clears its own");
    hart_write(MSTATUS, UINT64_C(2) << 11);
    tap_eq(hart_read(MSTATUS) >> 11 & 3, 3, "MPP 2 is none");
    hart_write(MSTATUS, UINT64_C(1) << 11);
    tap_eq(hart_read(MSTATUS) >> 11 & 3, 1, "MPP 1 is");
    hart_write(SATP, UINT64_C(8) << 60 | 5);
    hart_write(SATP, UINT64_C(7) << 60 | 6);
    tap_eq(hart_read(SATP), UINT64_C(8) << 60 | 5, "satp with an unknown mode is not written");
    hart_write(STVEC, 0x1001);
    hart_write(STVEC, 0x2002);
    tap_eq(hart_read(STVEC), 0x1001, "stvec with a reserved mode stays");
    hart_write(MEPC, UINT64_MAX);
    tap_eq(hart_read(MEPC), UINT64_MAX - 1, "mepc is even");
    hart_write(SENVCFG, UINT64_MAX);
    tap_eq(hart_read(SENVCFG), 0xf1, "senvcfg");
    hart_write(MENVCFG, UINT64_MAX);
    tap_eq(hart_read(MENVCFG), UINT64_C(0xe0000000000000f1), "menvcfg");
    hart_create("rv64,c=off,sv57=off,svpbmt=off");
    hart_write(MEPC, UINT64_MAX);
    tap_eq(hart_read(MEPC), UINT64_MAX - 3, "without C mepc is a multiple of four");
    hart_write(SATP, UINT64_C(10) << 60);
    tap_eq(hart_read(SATP), 0, "sv57=off");
    hart_write(MENVCFG, UINT64_MAX);
    tap_eq(hart_read(MENVCFG), UINT64_C(0xa0000000000000f1), "menvcfg without Svpbmt");
    hart_create("rv64i,zicsr=on");
    hart_write(MSTATUS, 0);
    tap_eq(hart_read(MSTATUS) >> 11 & 3, 3, "with M alone MPP says so");
}

int main(void)
{
    ir_unit_init(&unit);
    for (unsigned pass = 0; pass < 2; pass++) {
        jit_options_init(&options);
        options.fold = options.cse = pass == 0;
        effects(pass ? "plain" : "optimised");
    }
    existence();
    stays();
    gates();
    returns();
    store_conditional();
    cache_blocks();
    floating_point();
    legal_values();
    tap_eq(bad_units, 0, "the verifier agrees");
    ir_unit_free(&unit);
    hart_destroy();
    return tap_done();
}
