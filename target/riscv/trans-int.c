/*
 * RV64I and M computation, Zicond, Zimop. The row's argument is the IR op or condition.
 */
#include "target/riscv/trans.h"

void rv_trans_lui(struct rv_trans *t, const struct rv_insn *i)
{
    rv_set_x(t, i->rd, ir_i64(t->b, i->imm));
}

void rv_trans_auipc(struct rv_trans *t, const struct rv_insn *i)
{
    rv_set_x(t, i->rd, ir_i64(t->b, (int64_t)(t->pc + (uint64_t)i->imm)));
}

void rv_trans_alu(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1), c = rv_get_x(t, i->rs2);

    rv_set_x(t, i->rd, ir_bin(t->b, (enum ir_opcode)i->row->arg, a, c));
}

void rv_trans_alui(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1);

    rv_set_x(t, i->rd, ir_bini(t->b, (enum ir_opcode)i->row->arg, a, i->imm));
}

void rv_trans_aluw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_trunc(t->b, rv_get_x(t, i->rs1)), c = ir_trunc(t->b, rv_get_x(t, i->rs2));

    rv_set_x(t, i->rd, ir_sext(t->b, ir_bin(t->b, (enum ir_opcode)i->row->arg, a, c)));
}

void rv_trans_aluiw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_trunc(t->b, rv_get_x(t, i->rs1));

    rv_set_x(t, i->rd, ir_sext(t->b, ir_bini(t->b, (enum ir_opcode)i->row->arg, a, i->imm)));
}

void rv_trans_setcc(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1), c = rv_get_x(t, i->rs2);

    rv_set_x(t, i->rd, ir_icmp(t->b, (enum ir_cc)i->row->arg, IR_I64, a, c));
}

void rv_trans_setcci(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1), c = ir_i64(t->b, i->imm);

    rv_set_x(t, i->rd, ir_icmp(t->b, (enum ir_cc)i->row->arg, IR_I64, a, c));
}

/* rs1 where rs2 cc 0, else 0. */
void rv_trans_czero(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref zero = ir_i64(t->b, 0), a = rv_get_x(t, i->rs1);
    ir_ref keep = ir_icmp(t->b, (enum ir_cc)i->row->arg, IR_I64, rv_get_x(t, i->rs2), zero);

    rv_set_x(t, i->rd, ir_select(t->b, keep, a, zero));
}

/* May-be-operations that nobody has redefined write 0. */
void rv_trans_mop(struct rv_trans *t, const struct rv_insn *i)
{
    rv_set_x(t, i->rd, ir_i64(t->b, 0));
}

void rv_trans_nop(struct rv_trans *t, const struct rv_insn *i)
{
}
