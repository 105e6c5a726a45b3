/*
 * Jumps and branches.
 *
 * Which jumps are calls and returns is told by the registers, as the manual's return-address stack
 * hints have it (table in "Unconditional Jumps"): x1 and x5 are link registers. A coroutine swap
 * (rd and rs1 both links, and different) is taken as a call; a wrong guess costs time, not
 * correctness.
 *
 * Without the C extension a target must be a multiple of four, and the jump itself traps.
 */
#include "target/riscv/priv.h"
#include "target/riscv/trans.h"

static bool is_link(unsigned reg)
{
    return reg == 1 || reg == 5;
}

/* Whether a direct jump to target traps. */
static bool misaligned(const struct rv_trans *t, uint64_t target)
{
    return (target & 2) && !rv_has(&t->cpu->ext, RV_EXT_c);
}

static void store_exit_arg(struct rv_trans *t, ir_ref value)
{
    rv_trans_misaligned_cause(t, RV_CAUSE_FETCH_MISALIGNED);
    ir_cpu_store(t->b, IR_M64, offsetof(struct cpu, exit_arg), value);
}

void rv_trans_jal(struct rv_trans *t, const struct rv_insn *i)
{
    uint64_t target = t->pc + (uint64_t)i->imm;

    if (misaligned(t, target)) {
        store_exit_arg(t, ir_i64(t->b, (int64_t)target));
        ir_exit_loop(t->b, CPU_EXIT_MISALIGNED, t->pc);
        return;
    }
    rv_set_x(t, i->rd, ir_i64(t->b, (int64_t)t->next));
    if (is_link(i->rd)) {
        ir_exit_call(t->b, target, t->next);
    } else {
        ir_exit_jump(t->b, target);
    }
}

void rv_trans_jalr(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref target = ir_bini(t->b, IR_add, rv_get_x(t, i->rs1), i->imm);

    target = ir_bini(t->b, IR_and, target, ~INT64_C(1));
    if (!rv_has(&t->cpu->ext, RV_EXT_c)) {
        store_exit_arg(t, target);
        ir_side_exit_loop(t->b, IR_NE, ir_bini(t->b, IR_and, target, 2), ir_i64(t->b, 0),
                          CPU_EXIT_MISALIGNED, t->pc);
    }
    rv_set_x(t, i->rd, ir_i64(t->b, (int64_t)t->next));
    if (is_link(i->rd)) {
        ir_exit_call_indirect(t->b, target, t->next);
    } else if (i->rd == 0 && is_link(i->rs1) && i->imm == 0) {
        ir_exit_ret(t->b, target);
    } else {
        ir_exit_lookup(t->b, target);
    }
}

void rv_trans_branch(struct rv_trans *t, const struct rv_insn *i)
{
    uint64_t target = t->pc + (uint64_t)i->imm;
    enum ir_cc cc = (enum ir_cc)i->row->arg;
    ir_ref a = rv_get_x(t, i->rs1), c = rv_get_x(t, i->rs2);

    if (misaligned(t, target)) {
        store_exit_arg(t, ir_i64(t->b, (int64_t)target));
        ir_side_exit_loop(t->b, cc, a, c, CPU_EXIT_MISALIGNED, t->pc);
    } else if (target > t->pc && t->go_on) {
        ir_side_exit(t->b, cc, a, c, target);
    } else {
        ir_exit_br(t->b, cc, a, c, target, t->next);
    }
}
