/*
 * Zba, Zbb, Zbs, and the part of Zbkb that has short host sequences.
 */
#include "target/riscv/trans.h"

/* rd = rs2 + (rs1 << arg) */
void rv_trans_shadd(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_bini(t->b, IR_shl, rv_get_x(t, i->rs1), i->row->arg);

    rv_set_x(t, i->rd, ir_bin(t->b, IR_add, a, rv_get_x(t, i->rs2)));
}

/* The same with the low word of rs1, zero-extended. */
void rv_trans_shadd_uw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_zext(t->b, ir_trunc(t->b, rv_get_x(t, i->rs1)));

    a = ir_bini(t->b, IR_shl, a, i->row->arg);
    rv_set_x(t, i->rd, ir_bin(t->b, IR_add, a, rv_get_x(t, i->rs2)));
}

void rv_trans_slli_uw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_zext(t->b, ir_trunc(t->b, rv_get_x(t, i->rs1)));

    rv_set_x(t, i->rd, ir_bini(t->b, IR_shl, a, i->imm));
}

/* rd = rs1 op ~rs2 */
void rv_trans_alu_not(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1), c = ir_bini(t->b, IR_xor, rv_get_x(t, i->rs2), -1);

    rv_set_x(t, i->rd, ir_bin(t->b, (enum ir_opcode)i->row->arg, a, c));
}

void rv_trans_minmax(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = rv_get_x(t, i->rs1), c = rv_get_x(t, i->rs2);
    ir_ref first = ir_icmp(t->b, (enum ir_cc)i->row->arg, IR_I64, a, c);

    rv_set_x(t, i->rd, ir_select(t->b, first, a, c));
}

void rv_trans_unary(struct rv_trans *t, const struct rv_insn *i)
{
    rv_set_x(t, i->rd, ir_un(t->b, (enum ir_opcode)i->row->arg, rv_get_x(t, i->rs1)));
}

void rv_trans_unaryw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = ir_trunc(t->b, rv_get_x(t, i->rs1));

    rv_set_x(t, i->rd, ir_sext(t->b, ir_un(t->b, (enum ir_opcode)i->row->arg, a)));
}

/* Single bits: `bit` is the position as an i64 value; only its low six bits count. */
static ir_ref mask(struct rv_trans *t, ir_ref bit)
{
    return ir_bin(t->b, IR_shl, ir_i64(t->b, 1), bit);
}

static void bclr(struct rv_trans *t, const struct rv_insn *i, ir_ref bit)
{
    rv_set_x(t, i->rd, ir_bin(t->b, IR_andn, rv_get_x(t, i->rs1), mask(t, bit)));
}

static void bext(struct rv_trans *t, const struct rv_insn *i, ir_ref bit)
{
    ir_ref a = ir_bin(t->b, IR_shr, rv_get_x(t, i->rs1), bit);

    rv_set_x(t, i->rd, ir_bini(t->b, IR_and, a, 1));
}

static void binv(struct rv_trans *t, const struct rv_insn *i, ir_ref bit)
{
    rv_set_x(t, i->rd, ir_bin(t->b, IR_xor, rv_get_x(t, i->rs1), mask(t, bit)));
}

static void bset(struct rv_trans *t, const struct rv_insn *i, ir_ref bit)
{
    rv_set_x(t, i->rd, ir_bin(t->b, IR_or, rv_get_x(t, i->rs1), mask(t, bit)));
}

#define SINGLE_BIT(op)                                                 \
    void rv_trans_##op(struct rv_trans *t, const struct rv_insn *i)    \
    {                                                                  \
        op(t, i, rv_get_x(t, i->rs2));                                 \
    }                                                                  \
    void rv_trans_##op##i(struct rv_trans *t, const struct rv_insn *i) \
    {                                                                  \
        op(t, i, ir_i64(t->b, i->imm));                                \
    }
SINGLE_BIT(bclr)
SINGLE_BIT(bext)
SINGLE_BIT(binv)
SINGLE_BIT(bset)

void rv_trans_pack(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref low = ir_zext(t->b, ir_trunc(t->b, rv_get_x(t, i->rs1)));
    ir_ref high = ir_bini(t->b, IR_shl, rv_get_x(t, i->rs2), 32);

    rv_set_x(t, i->rd, ir_bin(t->b, IR_or, low, high));
}

void rv_trans_packh(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref low = ir_un(t->b, IR_zext8, rv_get_x(t, i->rs1));
    ir_ref high = ir_bini(t->b, IR_shl, ir_un(t->b, IR_zext8, rv_get_x(t, i->rs2)), 8);

    rv_set_x(t, i->rd, ir_bin(t->b, IR_or, low, high));
}

void rv_trans_packw(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref low = ir_un(t->b, IR_zext16, ir_trunc(t->b, rv_get_x(t, i->rs1)));
    ir_ref high = ir_bini(t->b, IR_shl, ir_trunc(t->b, rv_get_x(t, i->rs2)), 16);

    rv_set_x(t, i->rd, ir_sext(t->b, ir_bin(t->b, IR_or, low, high)));
}
