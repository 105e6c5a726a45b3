/*
 * What only a machine's hart has: privileged instructions, its control and status registers, and
 * the gates that mode and configuration put before others.
 *
 * The mode word says the privilege and, in U, the state of mstatus.FS, so those are decided here;
 * what a bit of another register decides is tested in the unit. An illegal instruction leaves by
 * CPU_EXIT_ILLEGAL before anything has happened.
 *
 * A unit is left with CPU_EXIT_MODE after an instruction that changes the mode word or the address
 * spaces, or unmasks an interrupt that is pending. So the run loop need not look at each write of
 * mstatus: those of an operating system that masks interrupts stay inside of the unit.
 */
#include "target/riscv/csr.h"
#include "target/riscv/helper.h"
#include "target/riscv/priv.h"
#include "target/riscv/trans.h"

enum { CSR_SATP = 0x180 };

#define FS_DIRTY (RV_MSTATUS_FS | RV_MSTATUS_SD)

#define SYS(field) ((uint32_t)offsetof(struct riscv_cpu, sys.field))

static enum rv_priv priv_of(const struct rv_trans *t)
{
    return rv_mode_priv(t->mode);
}

static ir_ref load(struct rv_trans *t, uint32_t offset)
{
    return ir_cpu_load(t->b, IR_I64, IR_M64, offset);
}

/* Illegal if one of the bits is set in the field; if none is. */
static void illegal_if_set(struct rv_trans *t, const struct rv_insn *i, uint32_t offset,
                           uint64_t bits)
{
    ir_ref x = ir_bini(t->b, IR_and, load(t, offset), (int64_t)bits);

    rv_trans_illegal_if(t, i, IR_NE, x, ir_i64(t->b, 0));
}

static void illegal_if_clear(struct rv_trans *t, const struct rv_insn *i, uint32_t offset,
                             uint64_t bits)
{
    ir_ref x = ir_bini(t->b, IR_and, load(t, offset), (int64_t)bits);

    rv_trans_illegal_if(t, i, IR_EQ, x, ir_i64(t->b, 0));
}

/* ---- floating point off, or clean ------------------------------------------------------------ */

/* Whether the instruction has an f register as an operand. */
static bool uses_f(const struct rv_insn *i)
{
    static const char *const texts[] = {
#define FORMAT(id, letters, text) text,
#include "target/riscv/formats.def"
#undef FORMAT
    };

    for (const char *p = texts[i->row->format]; *p; p++) {
        if (*p == 'D' || *p == 'S' || *p == 'T' || *p == 'R') {
            return true;
        }
    }
    return false;
}

/* Moves out of f registers raise no flags; all else may change floating-point state. */
static bool only_reads_f(const struct rv_insn *i)
{
    return i->row->translate == rv_trans_fstore || i->row->format == RV_FORMAT_FTOX;
}

/* In U: FS becomes Dirty, and the unit ends before the instruction: those made for the new mode
 * word have nothing to do. */
static void make_dirty(struct rv_trans *t)
{
    ir_ref status = ir_bini(t->b, IR_or, load(t, SYS(mstatus)), (int64_t)FS_DIRTY);
    uint64_t mode = t->mode & ~(uint64_t)RV_MODE_FS_CLEAN;

    ir_cpu_store(t->b, IR_M64, SYS(mstatus), status);
    ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, mode), ir_i64(t->b, (int64_t)mode));
    ir_exit_loop(t->b, CPU_EXIT_AGAIN, t->pc);
}

/* In S and M: the same by looking, once in a unit. */
static void check_fs(struct rv_trans *t, const struct rv_insn *i, bool writes)
{
    ir_ref status;

    if (writes ? t->fs_dirty : t->fs_on) {
        return;
    }
    status = load(t, SYS(mstatus));
    if (!t->fs_on) {
        ir_ref fs = ir_bini(t->b, IR_and, status, (int64_t)RV_MSTATUS_FS);
        rv_trans_illegal_if(t, i, IR_EQ, fs, ir_i64(t->b, 0));
        t->fs_on = true;
    }
    if (writes) {
        status = ir_bini(t->b, IR_or, status, (int64_t)FS_DIRTY);
        ir_cpu_store(t->b, IR_M64, SYS(mstatus), status);
        t->fs_dirty = true;
    }
}

bool rv_trans_fs_gate(struct rv_trans *t, const struct rv_insn *i, bool writes)
{
    if (t->mode & RV_MODE_FS_OFF) {
        rv_trans_illegal(t, i);
        return true;
    }
    if (t->mode & RV_MODE_FS_CHECK) {
        check_fs(t, i, writes);
        return false;
    }
    if (t->mode & RV_MODE_FS_CLEAN && writes) {
        make_dirty(t);
        return true;
    }
    return false;
}

bool rv_trans_fp_gate(struct rv_trans *t, const struct rv_insn *i)
{
    return uses_f(i) && rv_trans_fs_gate(t, i, !only_reads_f(i));
}

/* ---- cache blocks ---------------------------------------------------------------------------- */

void rv_trans_cbo_gate(struct rv_trans *t, const struct rv_insn *i, uint64_t bits)
{
    if (!t->cpu->system || priv_of(t) == RV_PRIV_M) {
        return;
    }
    illegal_if_clear(t, i, SYS(menvcfg), bits);
    if (priv_of(t) == RV_PRIV_U && rv_has(&t->cpu->ext, RV_EXT_s)) {
        illegal_if_clear(t, i, SYS(senvcfg), bits);
    }
}

/* ---- instructions ---------------------------------------------------------------------------- */

void rv_trans_mret(struct rv_trans *t, const struct rv_insn *i)
{
    if (!t->cpu->system || priv_of(t) != RV_PRIV_M) {
        rv_trans_illegal(t, i);
        return;
    }
    ir_exit_loop_at(t->b, CPU_EXIT_MODE, ir_call(t->b, RV_HELPER_mret, 0, NULL));
}

void rv_trans_sret(struct rv_trans *t, const struct rv_insn *i)
{
    if (!t->cpu->system || priv_of(t) < RV_PRIV_S) {
        rv_trans_illegal(t, i);
        return;
    }
    if (priv_of(t) == RV_PRIV_S) {
        illegal_if_set(t, i, SYS(mstatus), RV_MSTATUS_TSR);
    }
    ir_exit_loop_at(t->b, CPU_EXIT_MODE, ir_call(t->b, RV_HELPER_sret, 0, NULL));
}

void rv_trans_wfi(struct rv_trans *t, const struct rv_insn *i)
{
    bool user = priv_of(t) == RV_PRIV_U;

    if (!t->cpu->system || (user && rv_has(&t->cpu->ext, RV_EXT_s))) {
        rv_trans_illegal(t, i);
        return;
    }
    if (priv_of(t) != RV_PRIV_M) {
        illegal_if_set(t, i, SYS(mstatus), RV_MSTATUS_TW);
    }
    ir_exit_loop(t->b, CPU_EXIT_HALT, t->next);
}

/* Illegal in U, and in S where mstatus.TVM says so; true if that is known already. */
static bool fence_gate(struct rv_trans *t, const struct rv_insn *i, bool tvm)
{
    if (!t->cpu->system || priv_of(t) == RV_PRIV_U) {
        rv_trans_illegal(t, i);
        return true;
    }
    if (tvm && priv_of(t) == RV_PRIV_S) {
        illegal_if_set(t, i, SYS(mstatus), RV_MSTATUS_TVM);
    }
    return false;
}

/* Also sinval.vma: it may do at once what it need not have done before sfence.inval.ir. The next
 * instruction may be fetched from elsewhere, so the unit ends. */
void rv_trans_sfence_vma(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref args[3];

    if (fence_gate(t, i, true)) {
        return;
    }
    args[0] = rv_get_x(t, i->rs1);
    args[1] = rv_get_x(t, i->rs2);
    args[2] = ir_i32(t->b, (i->rs1 ? 1 : 0) | (i->rs2 ? 2 : 0));
    ir_call(t->b, RV_HELPER_sfence, 3, args);
    ir_exit_loop(t->b, CPU_EXIT_MODE, t->next);
}

void rv_trans_sfence_inval(struct rv_trans *t, const struct rv_insn *i)
{
    fence_gate(t, i, false);
}

/* ---- control and status registers ------------------------------------------------------------ */

/* Tests what the register's gate asks for. */
static void gate(struct rv_trans *t, const struct rv_insn *i, const struct rv_csr *csr)
{
    enum rv_priv priv = priv_of(t);
    uint64_t counter = UINT64_C(1) << (csr->number & 31);

    if (priv == RV_PRIV_M) {
        return;
    }
    switch ((enum rv_gate)csr->gate) {
    case RV_GATE_NONE:
        break;
    case RV_GATE_COUNTER:
        illegal_if_clear(t, i, SYS(mcounteren), counter);
        if (priv == RV_PRIV_U && rv_has(&t->cpu->ext, RV_EXT_s)) {
            illegal_if_clear(t, i, SYS(scounteren), counter);
        }
        break;
    case RV_GATE_TVM:
        illegal_if_set(t, i, SYS(mstatus), RV_MSTATUS_TVM);
        break;
    case RV_GATE_STCE:
        illegal_if_clear(t, i, SYS(menvcfg), RV_ENVCFG_STCE);
        illegal_if_clear(t, i, SYS(mcounteren), 2);
        break;
    }
}

static bool is_legal(const struct rv_trans *t, const struct rv_csr *csr, bool writes)
{
    return csr && rv_has(&t->cpu->ext, (enum rv_ext)csr->ext) &&
           priv_of(t) >= (csr->number >> 8 & 3) && !(writes && csr->number >> 10 == 3);
}

/* What the instruction makes of the field's old value, where `mask` is writable. */
static ir_ref combine(struct rv_trans *t, enum rv_csr_op op, ir_ref old, ir_ref operand,
                      uint64_t mask)
{
    ir_ref bits = ir_bini(t->b, IR_and, operand, (int64_t)mask);

    switch (op) {
    case RV_CSR_SET:
        return ir_bin(t->b, IR_or, old, bits);
    case RV_CSR_CLEAR:
        return ir_bin(t->b, IR_andn, old, bits);
    default:
        return mask == UINT64_MAX
                   ? operand
                   : ir_bin(t->b, IR_or, ir_bini(t->b, IR_and, old, (int64_t)~mask), bits);
    }
}

/* mstatus with SD as FS asks for it. */
static ir_ref with_sd(struct rv_trans *t, ir_ref value)
{
    ir_ref low = ir_bini(t->b, IR_shl, value, 63 - RV_MSTATUS_FS_SHIFT);
    ir_ref high = ir_bini(t->b, IR_shl, value, 62 - RV_MSTATUS_FS_SHIFT);
    ir_ref sd = ir_bini(t->b, IR_and, ir_bin(t->b, IR_and, low, high), (int64_t)RV_MSTATUS_SD);

    return ir_bin(t->b, IR_or, ir_bini(t->b, IR_and, value, (int64_t)~RV_MSTATUS_SD), sd);
}

/* Not 0 if an interrupt may be pending and enabled but for the enables of mstatus; 0 only if none
 * is. */
static ir_ref perhaps_pending(struct rv_trans *t)
{
    ir_ref mip = ir_bin(t->b, IR_or, load(t, SYS(wiring.lines.level)), load(t, SYS(mip)));
    ir_ref due = ir_cpu_load(t->b, IR_I64, IR_M8, SYS(stimer_due));
    ir_ref overflow =
        ir_icmp(t->b, IR_NE, IR_I64, load(t, SYS(overflow)), ir_i64(t->b, CPU_CLOCK_NEVER));

    mip = ir_bin(t->b, IR_and, mip, load(t, SYS(mie)));
    return ir_bin(t->b, IR_or, mip, ir_bin(t->b, IR_or, due, overflow));
}

/*
 * Stores a new mstatus. Where none of the bits in RV_MSTATUS_LOOK changes, or only enables that are
 * cleared, or set while nothing is pending, that is all; else a helper makes the value legal and
 * tells whether to leave. FS alone needs no look: who can write mstatus does not have it in the
 * mode word.
 */
static ir_ref write_status(struct rv_trans *t, enum rv_csr_op op, ir_ref old, ir_ref operand,
                           uint64_t writes)
{
    ir_ref value, zero = ir_i64(t->b, 0), changed, call;
    uint64_t look = RV_MSTATUS_LOOK & writes, may_change = writes;
    int64_t bits;

    if (op == RV_CSR_CLEAR) {
        look &= ~RV_MSTATUS_ENABLES;
    }
    if (op != RV_CSR_WRITE && ir_is_const(t->b, operand, &bits)) {
        may_change &= (uint64_t)bits;
        look &= may_change;
    }
    value = combine(t, op, old, operand, writes);
    if (may_change & RV_MSTATUS_FS) {
        value = with_sd(t, value);
        t->fs_on = t->fs_dirty = false;
    }
    ir_cpu_store(t->b, IR_M64, SYS(mstatus), value);
    if (!look) {
        return zero;
    }
    changed = ir_bin(t->b, IR_xor, old, value);
    call = ir_bini(t->b, IR_and, changed, (int64_t)(look & ~RV_MSTATUS_ENABLES));
    if (look & RV_MSTATUS_ENABLES) {
        ir_ref set = ir_bin(t->b, IR_and, changed, value);
        set = ir_bini(t->b, IR_and, set, (int64_t)(look & RV_MSTATUS_ENABLES));
        set = ir_select(t->b, set, perhaps_pending(t), zero);
        call = ir_bin(t->b, IR_or, call, set);
    }
    return ir_call_if(t->b, IR_NE, call, zero, zero, RV_HELPER_status_write, 2,
                      (ir_ref[]){old, value});
}

static ir_ref write_by_call(struct rv_trans *t, const struct rv_csr *csr, enum rv_csr_op op,
                            ir_ref operand)
{
    ir_ref args[3] = {ir_i32(t->b, csr->number), operand, operand};

    if (op == RV_CSR_WRITE) {
        args[2] = ir_i64(t->b, -1);
    } else if (op == RV_CSR_CLEAR) {
        args[1] = ir_i64(t->b, 0);
    }
    return ir_call(t->b, RV_HELPER_csr_write, 3, args);
}

void rv_trans_system_csr(struct rv_trans *t, const struct rv_insn *i, ir_ref operand)
{
    const struct rv_csr *csr = rv_csr_find((unsigned)i->imm);
    enum rv_csr_op op = (enum rv_csr_op)i->row->arg;
    bool writes = op == RV_CSR_WRITE || i->rs1 != 0;
    bool reads = op != RV_CSR_WRITE || i->rd != 0;
    ir_ref old = IR_NONE, leave = IR_NONE;

    if (!is_legal(t, csr, writes)) {
        rv_trans_illegal(t, i);
        return;
    }
    gate(t, i, csr);
    if (csr->kind != RV_CSR_CALL) {
        old = load(t, csr->offset);
    } else if (reads) {
        ir_ref number = ir_i32(t->b, csr->number);
        old = ir_call(t->b, RV_HELPER_csr_read, 1, &number);
    }
    if (writes) {
        uint64_t mask = rv_csr_writable(t->cpu, csr);
        switch ((enum rv_csr_kind)csr->kind) {
        case RV_CSR_PLAIN:
            ir_cpu_store(t->b, IR_M64, csr->offset, combine(t, op, old, operand, mask));
            break;
        case RV_CSR_STATUS:
            leave = write_status(t, op, old, operand, mask);
            break;
        case RV_CSR_CALL:
            leave = write_by_call(t, csr, op, operand);
            break;
        }
    }
    if (reads) {
        if (csr->kind != RV_CSR_CALL) {
            old = ir_bini(t->b, IR_and, old, (int64_t)csr->reads);
        }
        rv_set_x(t, i->rd, old);
    }
    if (writes && csr->number == CSR_SATP) {
        ir_exit_loop(t->b, CPU_EXIT_MODE, t->next);
    } else if (leave != IR_NONE) {
        ir_side_exit_loop(t->b, IR_NE, leave, ir_i64(t->b, 0), CPU_EXIT_MODE, t->next);
    }
}
