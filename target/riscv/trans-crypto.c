/*
 * Instructions that are a pure function of crypto.h each: carry-less multiplication, permutations,
 * AES, SHA-2. The row's argument is the helper.
 */
#include "target/riscv/helper.h"
#include "target/riscv/trans.h"

void rv_trans_pure(struct rv_trans *t, const struct rv_insn *i)
{
    bool two = i->row->format == RV_FORMAT_R;
    ir_ref args[2] = {rv_get_x(t, i->rs1), two ? rv_get_x(t, i->rs2) : ir_i64(t->b, 0)};

    rv_set_x(t, i->rd, ir_call(t->b, (unsigned)i->row->arg, 2, args));
}

/* Round numbers above 10 are reserved. */
void rv_trans_aes64ks1i(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref args[2] = {rv_get_x(t, i->rs1), ir_i64(t->b, i->imm)};

    if (i->imm > 10) {
        rv_trans_illegal(t, i);
        return;
    }
    rv_set_x(t, i->rd, ir_call(t->b, RV_HELPER_aes64ks1i, 2, args));
}
