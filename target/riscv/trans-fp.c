/*
 * F, D, Zfh, Zfhmin, Zfbfmin, Zfa.
 *
 * Single and double precision run on the host's unit where the result and the flags are provably
 * the guest's: arithmetic with the dynamic rounding mode while the host rounds as frm says. A
 * static rounding mode, frm = RMM, and half precision go to the integer routines (softfp.h), and so
 * does everything when the hostfp optimisation is off, which makes those routines an oracle.
 *
 * Where the host differs, and what is done:
 *   - arithmetic NaNs are not canonical: the builder makes them so before they are seen
 *   - fused multiply-add of infinity by zero plus a quiet NaN is invalid here, silent on x86: a
 * helper looks at it when the addend is a NaN
 *   - conversions to integers give the most negative number for what does not fit: then a helper
 * does it again. Both raise invalid, and nothing else, for what does not fit; a value that fits
 * raises inexact in both.
 *   - conversions to unsigned are done as to i64 where the operand surely fits, else by the helper
 *   - minimum and maximum of equal values or NaNs: the helper
 *
 * The operand's precision is bits 26:25 of the encoding, wherever an instruction has such a field.
 */
#include "target/riscv/helper.h"
#include "target/riscv/trans.h"
#include "target/riscv/softfp.h"

static enum rv_fp format_of(const struct rv_insn *i)
{
    return (enum rv_fp)(i->bits >> 25 & 3);
}

/* The register's bits as i64, boxed and canonical. */
static ir_ref get_raw(struct rv_trans *t, unsigned n)
{
    return ir_bitcast(t->b, IR_I64, ir_fvisible(t->b, IR_F64, ir_get(t->b, rv_global_f(n))));
}

/* Reads an operand: f32, f64, or for half precision the raw register as i64. */
static ir_ref get_f(struct rv_trans *t, enum rv_fp format, unsigned n)
{
    switch (format) {
    case RV_FP_S:
        return ir_op1(t->b, IR_funbox, IR_F32, ir_get(t->b, rv_global_f(n)));
    case RV_FP_D:
        return ir_get(t->b, rv_global_f(n));
    default:
        return get_raw(t, n);
    }
}

static void set_f(struct rv_trans *t, unsigned n, ir_ref value)
{
    if (ir_type_of(t->b, value) == IR_I64) {
        value = ir_bitcast(t->b, IR_F64, value);
    }
    ir_set(t->b, rv_global_f(n), value);
}

enum rounding {
    ROUND_ILLEGAL, /* the unit has been ended */
    ROUND_HOST,
    ROUND_SOFT
};

/* How an instruction with an rm field rounds. *rm is the field as an i32, for helpers, which take 7
 * as frm. */
static enum rounding rounding(struct rv_trans *t, const struct rv_insn *i, ir_ref *rm)
{
    bool soft = t->mode & RV_MODE_FRM_SOFT;

    *rm = ir_i32(t->b, i->rm);
    if (i->rm == 5 || i->rm == 6) {
        rv_trans_illegal(t, i);
        return ROUND_ILLEGAL;
    }
    if (i->rm < 5) {
        return ROUND_SOFT;
    }
    if (!soft && ir_build_hostfp(t->b)) {
        return ROUND_HOST;
    }
    if (soft) {
        ir_ref frm = ir_cpu_load(t->b, IR_I32, IR_M32, offsetof(struct riscv_cpu, frm));
        rv_trans_illegal_if(t, i, IR_GTU, frm, ir_i32(t->b, RV_RM_RMM));
    }
    return ROUND_SOFT;
}

/* For results that are exact: the rm field only has to be legal. */
static bool check_rm(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref rm;

    if (i->rm < 5 || (i->rm == 7 && !(t->mode & RV_MODE_FRM_SOFT))) {
        return true;
    }
    return rounding(t, i, &rm) != ROUND_ILLEGAL;
}

static bool host(const struct rv_trans *t, enum rv_fp format)
{
    return ir_build_hostfp(t->b) && format != RV_FP_H;
}

/* ---- loads, stores, moves -------------------------------------------------------------------- */

/* i64 bits of a half, boxed. */
static ir_ref box_h(struct rv_trans *t, ir_ref bits)
{
    return ir_bini(t->b, IR_or, bits, ~INT64_C(0xffff));
}

void rv_trans_fload(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref base = rv_get_x(t, i->rs1);

    switch ((enum rv_fp)i->row->arg) {
    case RV_FP_S:
        set_f(t, i->rd, ir_load(t->b, IR_F32, IR_M32, base, i->imm));
        break;
    case RV_FP_D:
        set_f(t, i->rd, ir_load(t->b, IR_F64, IR_M64, base, i->imm));
        break;
    case RV_FP_H:
        set_f(t, i->rd, box_h(t, ir_load(t->b, IR_I64, IR_M16, base, i->imm)));
        break;
    }
}

/* Stores take the register's low bits, boxed or not. */
void rv_trans_fstore(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref base = rv_get_x(t, i->rs1), value = ir_get(t->b, rv_global_f(i->rs2));

    switch ((enum rv_fp)i->row->arg) {
    case RV_FP_S:
        if (t->b->unit->ins[value].op == IR_fbox) {
            value = ir_fvisible(t->b, IR_F32, t->b->unit->ins[value].a);
        } else {
            value = ir_trunc(t->b, get_raw(t, i->rs2));
        }
        ir_store(t->b, IR_M32, base, i->imm, value);
        break;
    case RV_FP_D:
        ir_store(t->b, IR_M64, base, i->imm, ir_fvisible(t->b, IR_F64, value));
        break;
    case RV_FP_H:
        ir_store(t->b, IR_M16, base, i->imm, get_raw(t, i->rs2));
        break;
    }
}

void rv_trans_fmv_x(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref raw = get_raw(t, i->rs1);

    switch ((enum rv_fp)i->row->arg) {
    case RV_FP_S:
        raw = ir_sext(t->b, ir_trunc(t->b, raw));
        break;
    case RV_FP_D:
        break;
    case RV_FP_H:
        raw = ir_un(t->b, IR_sext16, raw);
        break;
    }
    rv_set_x(t, i->rd, raw);
}

void rv_trans_fmv_f(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref bits = rv_get_x(t, i->rs1);

    switch ((enum rv_fp)i->row->arg) {
    case RV_FP_S:
        set_f(t, i->rd, ir_bitcast(t->b, IR_F32, ir_trunc(t->b, bits)));
        break;
    case RV_FP_D:
        set_f(t, i->rd, ir_bitcast(t->b, IR_F64, bits));
        break;
    case RV_FP_H:
        set_f(t, i->rd, box_h(t, bits));
        break;
    }
}

void rv_trans_fli(struct rv_trans *t, const struct rv_insn *i)
{
    uint64_t bits;

    switch ((enum rv_fp)i->row->arg) {
    case RV_FP_S:
        set_f(t, i->rd, ir_fconst(t->b, IR_F32, rvfp_fli_f32[i->rs1]));
        break;
    case RV_FP_D:
        set_f(t, i->rd, ir_fconst(t->b, IR_F64, rvfp_fli_f64[i->rs1]));
        break;
    case RV_FP_H:
        bits = ~UINT64_C(0xffff) | rvfp_fli_f16[i->rs1];
        set_f(t, i->rd, ir_fconst(t->b, IR_F64, bits));
        break;
    }
}

/* The row's argument is the op: fcopysign, fxorsign, or fneg for the negated sign. */
void rv_trans_fsgnj(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    enum ir_type type = format == RV_FP_S ? IR_F32 : IR_F64;
    ir_ref a = get_f(t, format, i->rs1), c = get_f(t, format, i->rs2);

    if (format == RV_FP_H) {
        unsigned helper = i->row->arg == IR_fcopysign ? RV_HELPER_fsgnj_h
                          : i->row->arg == IR_fneg    ? RV_HELPER_fsgnjn_h
                                                      : RV_HELPER_fsgnjx_h;
        set_f(t, i->rd, ir_call(t->b, helper, 2, (ir_ref[]){a, c}));
        return;
    }
    if (i->rs1 == i->rs2 && i->row->arg == IR_fcopysign) {
        set_f(t, i->rd, a); /* a move: the value stays what it is, canonical or not */
        return;
    }
    a = ir_fvisible(t->b, type, a);
    c = ir_fvisible(t->b, type, c);
    switch (i->row->arg) {
    case IR_fcopysign:
        a = ir_bin(t->b, IR_fcopysign, a, c);
        break;
    case IR_fneg:
        a = i->rs1 == i->rs2 ? ir_un(t->b, IR_fneg, a)
                             : ir_bin(t->b, IR_fcopysign, a, ir_un(t->b, IR_fneg, c));
        break;
    default:
        a = i->rs1 == i->rs2 ? ir_un(t->b, IR_fabs, a) : ir_bin(t->b, IR_fxorsign, a, c);
        break;
    }
    set_f(t, i->rd, a);
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

void rv_trans_farith(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    enum ir_opcode op = (enum ir_opcode)i->row->arg;
    unsigned helper = op == IR_fadd   ? RV_HELPER_fadd_s
                      : op == IR_fsub ? RV_HELPER_fsub_s
                      : op == IR_fmul ? RV_HELPER_fmul_s
                                      : RV_HELPER_fdiv_s;
    ir_ref rm, a, c;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, format, i->rs1);
    c = get_f(t, format, i->rs2);
    if (how == ROUND_HOST && format != RV_FP_H) {
        set_f(t, i->rd, ir_bin(t->b, op, a, c));
        return;
    }
    set_f(t, i->rd, ir_call(t->b, helper + format, 3, (ir_ref[]){a, c, rm}));
}

void rv_trans_fsqrt(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    ir_ref rm, a;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, format, i->rs1);
    if (how == ROUND_HOST && format != RV_FP_H) {
        set_f(t, i->rd, ir_un(t->b, IR_fsqrt, a));
        return;
    }
    set_f(t, i->rd, ir_call(t->b, RV_HELPER_fsqrt_s + format, 2, (ir_ref[]){a, rm}));
}

/* The half-precision operand with its sign flipped; a bad box must read as NaN first. */
static ir_ref negate(struct rv_trans *t, enum rv_fp format, ir_ref a)
{
    return format == RV_FP_H ? ir_call(t->b, RV_HELPER_fsgnjn_h, 2, (ir_ref[]){a, a})
                             : ir_un(t->b, IR_fneg, a);
}

void rv_trans_fma(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    unsigned aux = (unsigned)i->row->arg;
    ir_ref rm, a, c, d;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, format, i->rs1);
    c = get_f(t, format, i->rs2);
    d = get_f(t, format, i->rs3);
    if (how == ROUND_HOST && format != RV_FP_H) {
        ir_ref zero = ir_i64(t->b, 0);
        ir_call_if(t->b, IR_EQ, ir_fcmp(t->b, IR_FEQ, d, d), zero, zero,
                   RV_HELPER_fma_invalid_s + format, 2, (ir_ref[]){a, c});
        set_f(t, i->rd, ir_fma(t->b, aux, a, c, d));
        return;
    }
    a = aux & IR_FMA_NEG_PRODUCT ? negate(t, format, a) : a;
    d = aux & IR_FMA_NEG_ADDEND ? negate(t, format, d) : d;
    set_f(t, i->rd, ir_call(t->b, RV_HELPER_fmadd_s + format, 4, (ir_ref[]){a, c, d, rm}));
}

/* The row's argument: 1 for the maximum. */
void rv_trans_fminmax(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    enum ir_type type = format == RV_FP_S ? IR_F32 : IR_F64;
    enum ir_type bits = format == RV_FP_S ? IR_I32 : IR_I64;
    unsigned helper = (i->row->arg ? RV_HELPER_fmax_s : RV_HELPER_fmin_s) + format;
    ir_ref a = get_f(t, format, i->rs1), c = get_f(t, format, i->rs2), less, greater, first, r;

    if (!host(t, format)) {
        set_f(t, i->rd, ir_call(t->b, helper, 2, (ir_ref[]){a, c}));
        return;
    }
    less = ir_fcmp(t->b, IR_FLTQ, a, c);
    greater = ir_fcmp(t->b, IR_FLTQ, c, a);
    first = i->row->arg ? greater : less;
    r = ir_select(t->b, first, ir_bitcast(t->b, bits, ir_fvisible(t->b, type, a)),
                  ir_bitcast(t->b, bits, ir_fvisible(t->b, type, c)));
    r = ir_call_if(t->b, IR_EQ, ir_bin(t->b, IR_or, less, greater), ir_i64(t->b, 0),
                   ir_bitcast(t->b, type, r), helper, 2, (ir_ref[]){a, c});
    set_f(t, i->rd, r);
}

void rv_trans_fminmaxm(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    ir_ref args[2] = {get_f(t, format, i->rs1), get_f(t, format, i->rs2)};
    unsigned helper = i->row->arg ? RV_HELPER_fmaxm_s : RV_HELPER_fminm_s;

    set_f(t, i->rd, ir_call(t->b, helper + format, 2, args));
}

/* The row's argument is the condition, enum ir_fcc. */
void rv_trans_fcmp(struct rv_trans *t, const struct rv_insn *i)
{
    static const uint16_t helper[IR_FCC_COUNT] = {
        [IR_FEQ] = RV_HELPER_feq_s,   [IR_FLT] = RV_HELPER_flt_s,   [IR_FLE] = RV_HELPER_fle_s,
        [IR_FLTQ] = RV_HELPER_fltq_s, [IR_FLEQ] = RV_HELPER_fleq_s,
    };
    enum rv_fp format = format_of(i);
    ir_ref args[2] = {get_f(t, format, i->rs1), get_f(t, format, i->rs2)};

    if (host(t, format)) {
        rv_set_x(t, i->rd, ir_fcmp(t->b, (enum ir_fcc)i->row->arg, args[0], args[1]));
        rv_quiet_compare(t, args[0], args[1]);
    } else {
        rv_set_x(t, i->rd, ir_call(t->b, helper[i->row->arg] + format, 2, args));
    }
}

void rv_trans_fclass(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = (enum rv_fp)i->row->arg;
    ir_ref a = get_f(t, format, i->rs1);

    rv_set_x(t, i->rd, ir_call(t->b, RV_HELPER_fclass_s + format, 1, &a));
}

/* The row's argument: 1 for the one that raises inexact. */
void rv_trans_fround(struct rv_trans *t, const struct rv_insn *i)
{
    enum rv_fp format = format_of(i);
    unsigned helper = i->row->arg ? RV_HELPER_froundnx_s : RV_HELPER_fround_s;
    ir_ref rm, a;

    if (rounding(t, i, &rm) == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, format, i->rs1);
    set_f(t, i->rd, ir_call(t->b, helper + format, 2, (ir_ref[]){a, rm}));
}

/* ---- conversions ----------------------------------------------------------------------------- */

/* To unsigned, on the host: the operand is replaced by zero where it may not fit, so that no flag
 * is raised that the helper would not; then the helper's result counts. */
static ir_ref to_unsigned(struct rv_trans *t, enum rv_fp format, ir_ref a, bool wide, bool rtz,
                          unsigned helper, ir_ref rm)
{
    enum ir_type type = format == RV_FP_S ? IR_F32 : IR_F64;
    enum ir_type bits = format == RV_FP_S ? IR_I32 : IR_I64;
    uint64_t limit; /* 2^31 or 2^63: what is below surely fits, in every rounding mode */
    ir_ref zero = ir_i64(t->b, 0), fits, safe, r;

    if (format == RV_FP_S) {
        limit = wide ? 0x5f000000 : 0x4f000000;
    } else {
        limit = wide ? UINT64_C(0x43e0000000000000) : UINT64_C(0x41e0000000000000);
    }
    fits = ir_bin(t->b, IR_and, ir_fcmp(t->b, IR_FLEQ, ir_fconst(t->b, type, 0), a),
                  ir_fcmp(t->b, IR_FLTQ, a, ir_fconst(t->b, type, limit)));
    safe =
        ir_select(t->b, fits, ir_bitcast(t->b, bits, a), bits == IR_I32 ? ir_i32(t->b, 0) : zero);
    r = ir_f2i(t->b, IR_I64, ir_bitcast(t->b, type, safe), rtz);
    if (!wide) {
        r = ir_sext(t->b, ir_trunc(t->b, r));
    }
    return ir_call_if(t->b, IR_EQ, fits, zero, r, helper, 2, (ir_ref[]){a, rm});
}

/* The row's argument is enum rv_int. */
void rv_trans_f2x(struct rv_trans *t, const struct rv_insn *i)
{
    static const uint16_t helpers[4] = {RV_HELPER_to_w_s, RV_HELPER_to_wu_s, RV_HELPER_to_l_s,
                                        RV_HELPER_to_lu_s};
    enum rv_fp format = format_of(i);
    unsigned helper = helpers[i->row->arg] + format;
    bool rtz = i->rm == RV_RM_RTZ;
    ir_ref rm, a, r;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, format, i->rs1);
    if (!host(t, format) || (how == ROUND_SOFT && !rtz)) {
        rv_set_x(t, i->rd, ir_call(t->b, helper, 2, (ir_ref[]){a, rm}));
        return;
    }
    switch ((enum rv_int)i->row->arg) {
    case RV_INT_W:
        r = ir_f2i(t->b, IR_I32, a, rtz);
        r = ir_sext(t->b, r);
        r = ir_call_if(t->b, IR_EQ, r, ir_i64(t->b, INT32_MIN), r, helper, 2, (ir_ref[]){a, rm});
        break;
    case RV_INT_L:
        r = ir_f2i(t->b, IR_I64, a, rtz);
        r = ir_call_if(t->b, IR_EQ, r, ir_i64(t->b, INT64_MIN), r, helper, 2, (ir_ref[]){a, rm});
        break;
    default:
        r = to_unsigned(t, format, a, i->row->arg == RV_INT_LU, rtz, helper, rm);
        break;
    }
    rv_set_x(t, i->rd, r);
}

void rv_trans_x2f(struct rv_trans *t, const struct rv_insn *i)
{
    static const uint16_t helpers[4] = {RV_HELPER_from_w_s, RV_HELPER_from_wu_s, RV_HELPER_from_l_s,
                                        RV_HELPER_from_lu_s};
    enum rv_fp format = format_of(i);
    enum ir_type type = format == RV_FP_S ? IR_F32 : IR_F64;
    enum rv_int from = (enum rv_int)i->row->arg;
    unsigned helper = helpers[from] + format;
    bool exact = format == RV_FP_D && (from == RV_INT_W || from == RV_INT_WU);
    ir_ref rm, a, r;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = rv_get_x(t, i->rs1);
    if (!host(t, format) || (how == ROUND_SOFT && !exact)) {
        set_f(t, i->rd, ir_call(t->b, helper, 2, (ir_ref[]){a, rm}));
        return;
    }
    switch (from) {
    case RV_INT_W:
        r = ir_op1(t->b, IR_i2f, type, ir_trunc(t->b, a));
        break;
    case RV_INT_WU:
        r = ir_op1(t->b, IR_i2f, type, ir_zext(t->b, ir_trunc(t->b, a)));
        break;
    default:
        r = ir_op1(t->b, IR_i2f, type, a);
        if (from == RV_INT_LU) {
            /* Where the signed conversion is inexact the unsigned one is too, so its flag is no
             * lie: 2^64 - x has no more significant bits than x. */
            r = ir_call_if(t->b, IR_LT, a, ir_i64(t->b, 0), r, helper, 2, (ir_ref[]){a, rm});
        }
        break;
    }
    set_f(t, i->rd, r);
}

void rv_trans_fcvtmod(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a = get_f(t, RV_FP_D, i->rs1);

    rv_set_x(t, i->rd, ir_call(t->b, RV_HELPER_fcvtmod, 1, &a));
}

void rv_trans_fcvt_s_d(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref rm, a;
    enum rounding how = rounding(t, i, &rm);

    if (how == ROUND_ILLEGAL) {
        return;
    }
    a = get_f(t, RV_FP_D, i->rs1);
    if (how == ROUND_HOST) {
        set_f(t, i->rd, ir_op1(t->b, IR_fdemote, IR_F32, a));
    } else {
        set_f(t, i->rd, ir_call(t->b, RV_HELPER_fcvt_s_d, 2, (ir_ref[]){a, rm}));
    }
}

/* Exact. */
void rv_trans_fcvt_d_s(struct rv_trans *t, const struct rv_insn *i)
{
    ir_ref a;

    if (!check_rm(t, i)) {
        return;
    }
    a = get_f(t, RV_FP_S, i->rs1);
    if (host(t, RV_FP_S)) {
        set_f(t, i->rd, ir_op1(t->b, IR_fpromote, IR_F64, a));
    } else {
        set_f(t, i->rd,
              ir_call(t->b, RV_HELPER_fcvt_d_s, 2, (ir_ref[]){a, ir_i32(t->b, RV_RM_RNE)}));
    }
}

/* From or to half precision or BF16. The row's argument is the helper, which tells the operand. */
void rv_trans_fcvt_h(struct rv_trans *t, const struct rv_insn *i)
{
    unsigned helper = (unsigned)i->row->arg;
    ir_ref rm, a;

    if (rounding(t, i, &rm) == ROUND_ILLEGAL) {
        return;
    }
    switch (rv_helpers[helper].args[0]) {
    case IR_F32:
        a = get_f(t, RV_FP_S, i->rs1);
        break;
    case IR_F64:
        a = get_f(t, RV_FP_D, i->rs1);
        break;
    default:
        a = get_f(t, RV_FP_H, i->rs1);
        break;
    }
    set_f(t, i->rd, ir_call(t->b, helper, 2, (ir_ref[]){a, rm}));
}
