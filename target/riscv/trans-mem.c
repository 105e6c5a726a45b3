/*
 * Loads, stores, fences and cache-block instructions. The row's argument is the width, enum ir_mem.
 */
#include "target/riscv/helper.h"
#include "target/riscv/priv.h"
#include "target/riscv/trans.h"

void rv_trans_load(struct rv_trans *t, const struct rv_insn *i)
{
    /* Also for x0: the access may fault. */
    ir_ref value = ir_load(t->b, IR_I64, (unsigned)i->row->arg, rv_get_x(t, i->rs1), i->imm);

    rv_set_x(t, i->rd, value);
}

void rv_trans_store(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref base = rv_get_x(t, i->rs1);

    ir_store(t->b, (unsigned)i->row->arg, base, i->imm, rv_get_x(t, i->rs2));
}

/* imm: fm, predecessor set, successor set (i o r w each). Only an order of earlier stores before
 * later loads needs more than a host with total store order gives for nothing. I/O counts as
 * memory. */
void rv_trans_fence(struct rv_trans *t, const struct rv_insn *i)
{
    bool writes_before = i->imm >> 4 & 5, reads_after = i->imm & 10;

    ir_fence(t->b, writes_before && reads_after);
}

void rv_trans_fence_tso(struct rv_trans *t, const struct rv_insn *i)
{
    ir_fence(t->b, false);
}

/* Zihintpause: whoever the guest waits for may need the host's CPU. */
void rv_trans_pause(struct rv_trans *t, const struct rv_insn *i)
{
    if (t->cpu->system) {
        ir_exit_loop(t->b, CPU_EXIT_PAUSE, t->next);
    }
}

void rv_trans_fence_i(struct rv_trans *t, const struct rv_insn *i)
{
    ir_exit_loop(t->b, CPU_EXIT_FENCE_CODE, t->next);
}

/* "... a cache-block management instruction raises a store page-fault exception" where neither
 * loads nor stores are allowed (Zicbom); nothing else of it can be seen. In user mode a load will
 * do: whoever handles a signal is not told which it was. */
static void touch_block(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref base = rv_get_x(t, i->rs1);

    if (t->cpu->system) {
        base = ir_bini(t->b, IR_and, base, -64); /* the address that a trap tells */
        ir_call(t->b, RV_HELPER_cbo_touch, 1, &base);
    } else {
        ir_load(t->b, IR_I64, IR_M8, base, 0);
    }
}

void rv_trans_cbo_touch(struct rv_trans *t, const struct rv_insn *i)
{
    rv_trans_cbo_gate(t, i, RV_ENVCFG_CBCFE);
    touch_block(t, i);
}

/* Does what cbo.flush does, as menvcfg.CBIE may ask; there are no caches that could tell. Linux
 * does not let user programs. */
void rv_trans_cbo_inval(struct rv_trans *t, const struct rv_insn *i)
{
    if (!t->cpu->system) {
        rv_trans_illegal(t, i);
        return;
    }
    rv_trans_cbo_gate(t, i, RV_ENVCFG_CBIE);
    touch_block(t, i);
}

/* Blocks are of 64 bytes, as Zic64b promises. */
void rv_trans_cbo_zero(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref base = ir_bini(t->b, IR_and, rv_get_x(t, i->rs1), -64);

    rv_trans_cbo_gate(t, i, RV_ENVCFG_CBZE);
    for (unsigned offset = 0; offset < 64; offset += 8) {
        ir_store(t->b, IR_M64, base, offset, ir_i64(t->b, 0));
    }
}
