/*
 * Environment calls, CSRs, and the vDSO's host calls.
 *
 * User mode has two families of CSRs: the floating-point ones and the read-only counters; those of
 * full-system emulation but for the floating-point ones are in trans-priv.c. The
 * accrued flags are the union of the state's `fflags` and the host's sticky flags; writing them
 * puts the new value into the host's and clears the state's. frm is in the state, and the host's
 * rounding mode follows it where the host has that mode; otherwise RV_MODE_FRM_SOFT is part of the
 * mode word, and units made for it round in software. A change of the mode word leaves for the run
 * loop.
 */
#include "target/riscv/helper.h"
#include "target/riscv/trans.h"

enum {
    CSR_FFLAGS = 1,
    CSR_FRM = 2,
    CSR_FCSR = 3,
    CSR_CYCLE = 0xc00,
    CSR_TIME,
    CSR_INSTRET,
    CSR_HPM3,
    CSR_HPM31 = 0xc1f
};

void rv_trans_ecall(struct rv_trans *t, const struct rv_insn *i)
{
    ir_exit_loop(t->b, CPU_EXIT_SYSCALL, t->pc);
}

void rv_trans_ebreak(struct rv_trans *t, const struct rv_insn *i)
{
    ir_exit_loop(t->b, CPU_EXIT_BREAKPOINT, t->pc);
}

/* The vDSO is ours: its code may call the host's clocks. imm is the number, a0 to a2 the arguments.
 */
void rv_trans_host_call(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref args[4];

    if (t->pc < t->cpu->vdso_start || t->pc >= t->cpu->vdso_end) {
        rv_trans_illegal(t, i);
        return;
    }
    args[0] = ir_i64(t->b, i->imm);
    for (unsigned n = 0; n < 3; n++) {
        args[1 + n] = rv_get_x(t, 10 + n);
    }
    rv_set_x(t, 10, ir_call(t->b, RV_HELPER_vdso_call, 4, args));
}

void rv_trans_set_frm(struct rv_trans *t, ir_ref frm)
{
    bool was_soft = t->mode & RV_MODE_FRM_SOFT;
    ir_ref rest = ir_i64(t->b, (int64_t)(t->mode & ~(uint64_t)RV_MODE_FRM_SOFT));
    ir_ref soft = ir_icmp(t->b, IR_GTU, IR_I64, frm, ir_i64(t->b, 3));

    _Static_assert(RV_MODE_FRM_SOFT == 1, "the comparison's result is the mode bit");
    ir_cpu_store(t->b, IR_M32, offsetof(struct riscv_cpu, frm), frm);
    ir_frm_set(t->b, ir_trunc(t->b, ir_select(t->b, soft, ir_i64(t->b, 0), frm)));
    ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, mode), ir_bin(t->b, IR_or, rest, soft));
    ir_side_exit_loop(t->b, IR_NE, soft, ir_i64(t->b, was_soft), CPU_EXIT_MODE, t->next);
}

static ir_ref read_fflags(struct rv_trans *t)
{
    ir_ref state = ir_cpu_load(t->b, IR_I32, IR_M32, offsetof(struct riscv_cpu, fflags));

    return ir_zext(t->b, ir_bin(t->b, IR_or, state, ir_fflags_get(t->b)));
}

static void write_fflags(struct rv_trans *t, ir_ref value)
{
    /* all of them go to the host: code that reads the flags, compares and writes them back (as
     * compilers do for comparisons that must not raise) then finds nothing to change there */
    ir_cpu_store(t->b, IR_M32, offsetof(struct riscv_cpu, fflags), ir_i32(t->b, 0));
    ir_fflags_set(t->b, ir_trunc(t->b, ir_bini(t->b, IR_and, value, 31)));
}

void rv_quiet_begin(struct rv_trans *t, ir_ref flags)
{
    t->quiet = (struct rv_quiet){.flags = flags, .next = t->next};
}

void rv_quiet_compare(struct rv_trans *t, ir_ref a, ir_ref c)
{
    if (t->quiet.flags != IR_NONE && t->quiet.next == t->pc && t->quiet.a == IR_NONE) {
        t->quiet.a = a;
        t->quiet.c = c;
        t->quiet.next = t->next;
    }
}

/* fsflags of what frflags has just read: only the comparison in between can have raised a flag, and
 * only of a NaN. False if this is no such sequence. */
static bool end_quiet(struct rv_trans *t, ir_ref value)
{
    ir_ref operand[2] = {t->quiet.a, t->quiet.c}, zero = ir_i64(t->b, 0);

    if (t->quiet.flags == IR_NONE || t->quiet.next != t->pc || t->quiet.flags != value) {
        return false;
    }
    for (unsigned i = 0; i < 2 && operand[i] != IR_NONE; i++) {
        ir_call_if(t->b, IR_EQ, ir_fcmp(t->b, IR_FEQ, operand[i], operand[i]), zero, zero,
                   RV_HELPER_fflags_restore, 1, &value);
    }
    return true;
}

static ir_ref read_frm(struct rv_trans *t)
{
    return ir_zext(t->b, ir_cpu_load(t->b, IR_I32, IR_M32, offsetof(struct riscv_cpu, frm)));
}

/* False if there is no such CSR under these extensions. */
static bool exists(const struct rv_trans *t, unsigned csr)
{
    const struct rv_ext_set *ext = &t->cpu->ext;

    if (csr >= CSR_FFLAGS && csr <= CSR_FCSR) {
        return rv_has(ext, RV_EXT_f);
    }
    if (csr >= CSR_CYCLE && csr <= CSR_INSTRET) {
        return rv_has(ext, RV_EXT_zicntr);
    }
    return csr >= CSR_HPM3 && csr <= CSR_HPM31 && rv_has(ext, RV_EXT_zihpm);
}

static ir_ref read_csr(struct rv_trans *t, unsigned csr)
{
    switch (csr) {
    case CSR_FFLAGS:
        return read_fflags(t);
    case CSR_FRM:
        return read_frm(t);
    case CSR_FCSR:
        return ir_bin(t->b, IR_or, read_fflags(t), ir_bini(t->b, IR_shl, read_frm(t), 5));
    case CSR_CYCLE:
    case CSR_INSTRET:
        return ir_call(t->b, RV_HELPER_rdcycle, 0, NULL);
    case CSR_TIME:
        return ir_call(t->b, RV_HELPER_rdtime, 0, NULL);
    default:
        return ir_i64(t->b, 0); /* hardware counters that count nothing */
    }
}

static void access_csr(struct rv_trans *t, const struct rv_insn *i, ir_ref operand)
{
    unsigned csr = (unsigned)i->imm;
    enum rv_csr_op op = (enum rv_csr_op)i->row->arg;
    /* "If rs1=x0 [or uimm=0], then the instruction will not write to the CSR at all" (Zicsr). */
    bool writes = op == RV_CSR_WRITE || i->rs1 != 0;
    bool reads = op != RV_CSR_WRITE || i->rd != 0;
    ir_ref old = IR_NONE, value = operand;

    if (t->cpu->system && (csr < CSR_FFLAGS || csr > CSR_FCSR)) {
        rv_trans_system_csr(t, i, operand);
        return;
    }
    if (!exists(t, csr) || (writes && csr >> 10 == 3)) {
        rv_trans_illegal(t, i);
        return;
    }
    if (t->mode & RV_MODE_FS && rv_trans_fs_gate(t, i, writes)) {
        return;
    }
    if (reads) {
        old = read_csr(t, csr);
    }
    if (op != RV_CSR_WRITE) {
        value = ir_bin(t->b, op == RV_CSR_SET ? IR_or : IR_andn, old, operand);
    }
    if (reads) {
        rv_set_x(t, i->rd, old);
    }
    if (reads && !writes && csr == CSR_FFLAGS && ir_build_hostfp(t->b)) {
        rv_quiet_begin(t, old);
    }
    if (writes && csr != CSR_FRM && (csr != CSR_FFLAGS || reads || !end_quiet(t, value))) {
        write_fflags(t, value);
    }
    if (writes && csr != CSR_FFLAGS) {
        value = csr == CSR_FCSR ? ir_bini(t->b, IR_shr, value, 5) : value;
        rv_trans_set_frm(t, ir_bini(t->b, IR_and, value, 7));
    }
}

void rv_trans_csr(struct rv_trans *t, const struct rv_insn *i)
{
    access_csr(t, i, rv_get_x(t, i->rs1));
}

void rv_trans_csri(struct rv_trans *t, const struct rv_insn *i)
{
    access_csr(t, i, ir_i64(t->b, i->rs1));
}
