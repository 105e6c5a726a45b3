/*
 * The folding rules. (jit/opt/fold.h has their law; jit/opt/eval.c evaluates constants.)
 *
 * A rule sees one op, its operands, and theirs. It either names an existing value, or builds the
 * better form with the builder, which folds that in turn. Every rule leads to something strictly
 * lower in this order, so that there is no cycle: fewer ops; then extension, logic and shift before
 * multiplication and division; zext before sext before shifts by pairs; a constant as the second
 * operand; a smaller constant.
 *
 * bits_unsigned() and bits_signed() say how wide a value can be, by looking a few ops deep. They
 * find the extensions that guest code repeats on what is extended already.
 */
#include "jit/opt/fold.h"
#include "util/bits.h"

enum { DEPTH = 3 }; /* how far the width of a value is followed */

static inline const struct ir_ins *def(const struct ir_builder *b, ir_ref ref)
{
    return &b->unit->ins[ref];
}

static inline unsigned width_of(enum ir_type type)
{
    return type == IR_I32 ? 32 : 64;
}

static ir_ref make_const(struct ir_builder *b, enum ir_type type, int64_t value)
{
    return type == IR_I32 ? ir_i32(b, (int32_t)value) : ir_i64(b, value);
}

/* Whether the op has a constant as its second operand. */
static bool const_second(const struct ir_builder *b, const struct ir_ins *ins, int64_t *value)
{
    return ir_is_const(b, ins->b, value);
}

/* The width of a narrow load, or 64. */
static unsigned load_bits(unsigned mem)
{
    unsigned size = mem & ~(unsigned)IR_MS;
    return size < IR_M64 ? 8u << size : 64;
}

/* The least n known for which the value, as a number without sign, is below 2^n. */
static unsigned bits_unsigned(const struct ir_builder *b, ir_ref ref, unsigned depth)
{
    const struct ir_ins *ins = def(b, ref);
    unsigned width = width_of((enum ir_type)ins->type), n = width, m;
    int64_t k;

    if (ins->op == IR_const) {
        uint64_t v = ins->type == IR_I32 ? (uint32_t)ins->imm : (uint64_t)ins->imm;
        return v ? 64 - (unsigned)__builtin_clzll(v) : 0;
    }
    switch (ins->op) {
    case IR_icmp:
    case IR_fcmp:
        return 1;
    case IR_clz:
    case IR_ctz:
    case IR_popcnt:
        return 7;
    case IR_ld:
    case IR_cpu_ld:
        return ins->cc & IR_MS ? width : load_bits(ins->cc);
    default:
        break;
    }
    if (depth == 0) {
        return ins->op == IR_zext8 ? 8 : ins->op == IR_zext16 ? 16 : ins->op == IR_zext ? 32 : n;
    }
    switch (ins->op) {
    case IR_zext8:
    case IR_zext16:
    case IR_zext:
    case IR_trunc:
        m = ins->op == IR_zext8 ? 8 : ins->op == IR_zext16 ? 16 : 32;
        n = bits_unsigned(b, ins->a, depth - 1);
        return n < m ? n : m;
    case IR_and:
        n = bits_unsigned(b, ins->a, depth - 1);
        m = bits_unsigned(b, ins->b, depth - 1);
        return n < m ? n : m;
    case IR_or:
    case IR_xor:
        n = bits_unsigned(b, ins->a, depth - 1);
        m = bits_unsigned(b, ins->b, depth - 1);
        return n > m ? n : m;
    case IR_select:
        n = bits_unsigned(b, ins->b, depth - 1);
        m = bits_unsigned(b, ins->c, depth - 1);
        return n > m ? n : m;
    case IR_shr:
        if (!const_second(b, ins, &k)) {
            break;
        }
        n = bits_unsigned(b, ins->a, depth - 1);
        k &= width - 1;
        return n > k ? n - (unsigned)k : 0;
    case IR_shl:
        if (!const_second(b, ins, &k)) {
            break;
        }
        n = bits_unsigned(b, ins->a, depth - 1) + (unsigned)(k & (width - 1));
        return n < width ? n : width;
    default:
        break;
    }
    return width;
}

/* The least n known for which the value is what its lowest n bits are when sign-extended. */
static unsigned bits_signed(const struct ir_builder *b, ir_ref ref, unsigned depth)
{
    const struct ir_ins *ins = def(b, ref);
    unsigned width = width_of((enum ir_type)ins->type), n = width, m;
    int64_t k;

    switch (ins->op) {
    case IR_const:
        k = ins->imm < 0 ? ~ins->imm : ins->imm;
        return k ? 65 - (unsigned)__builtin_clzll((uint64_t)k) : 1;
    case IR_ld:
    case IR_cpu_ld:
        if (ins->cc & IR_MS) {
            return load_bits(ins->cc) < width ? load_bits(ins->cc) : width;
        }
        break;
    case IR_amo:
    case IR_cas:
        return load_bits(ins->cc) < width ? load_bits(ins->cc) : width;
    case IR_sext8:
    case IR_sext16:
    case IR_sext:
    case IR_trunc:
        m = ins->op == IR_sext8 ? 8 : ins->op == IR_sext16 ? 16 : 32;
        if (depth) {
            n = bits_signed(b, ins->a, depth - 1);
        }
        return n < m ? n : m;
    case IR_sar:
        if (!const_second(b, ins, &k)) {
            break;
        }
        n = depth ? bits_signed(b, ins->a, depth - 1) : width;
        k &= width - 1;
        return n > k ? n - (unsigned)k : 1;
    case IR_and:
    case IR_or:
    case IR_xor:
        if (!depth) {
            break;
        }
        n = bits_signed(b, ins->a, depth - 1);
        m = bits_signed(b, ins->b, depth - 1);
        n = n > m ? n : m;
        break;
    case IR_select:
        if (!depth) {
            break;
        }
        n = bits_signed(b, ins->b, depth - 1);
        m = bits_signed(b, ins->c, depth - 1);
        n = n > m ? n : m;
        break;
    default:
        break;
    }
    m = bits_unsigned(b, ref, depth) + 1;
    return n < m ? n : m;
}

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* op(op(x, k1), k2) is op(x, op(k1, k2)). */
static ir_ref reassociate(struct ir_builder *b, const struct ir_ins *ins, int64_t k)
{
    const struct ir_ins *inner = def(b, ins->a);
    int64_t k1, both;

    if (inner->op != ins->op || !const_second(b, inner, &k1)) {
        return IR_NONE;
    }
    jit_opt_fold_eval((enum ir_opcode)ins->op, (enum ir_type)ins->type, (enum ir_type)ins->type, 0,
                      k1, k, &both);
    return ir_bini(b, (enum ir_opcode)ins->op, inner->a, both);
}

static ir_ref fold_add(struct ir_builder *b, const struct ir_ins *ins)
{
    int64_t k;

    if (!const_second(b, ins, &k)) {
        return IR_NONE;
    }
    if (k == 0) {
        return ins->a;
    }
    return reassociate(b, ins, k);
}

static ir_ref fold_sub(struct ir_builder *b, const struct ir_ins *ins)
{
    int64_t k;

    if (ins->a == ins->b) {
        return make_const(b, (enum ir_type)ins->type, 0);
    }
    if (const_second(b, ins, &k)) {
        return ir_bini(b, IR_add, ins->a, (int64_t) - (uint64_t)k);
    }
    if (ir_is_const(b, ins->a, &k) && k == 0) {
        const struct ir_ins *inner = def(b, ins->b);
        if (inner->op == IR_sub && ir_is_const(b, inner->a, &k) && k == 0) {
            return inner->b;
        }
    }
    return IR_NONE;
}

static ir_ref negate(struct ir_builder *b, enum ir_type type, ir_ref a)
{
    return ir_op2(b, IR_sub, type, make_const(b, type, 0), a);
}

static ir_ref fold_mul_div(struct ir_builder *b, const struct ir_ins *ins)
{
    enum ir_type type = (enum ir_type)ins->type;
    int64_t k;

    if (!const_second(b, ins, &k)) {
        return IR_NONE;
    }
    uint64_t u = type == IR_I32 ? (uint32_t)k : (uint64_t)k;
    int log2 = u && !(u & (u - 1)) ? __builtin_ctzll(u) : -1;

    switch (ins->op) {
    case IR_mul:
        if (k == 0) {
            return ins->b;
        }
        if (log2 >= 0) {
            return ir_bini(b, IR_shl, ins->a, log2);
        }
        return k == -1 ? negate(b, type, ins->a) : IR_NONE;
    case IR_mulhs:
    case IR_mulhsu:
        return k == 0 ? ins->b : IR_NONE;
    case IR_mulhu:
        if (k == 0 || k == 1) {
            return make_const(b, type, 0);
        }
        return log2 > 0 ? ir_bini(b, IR_shr, ins->a, (int)width_of(type) - log2) : IR_NONE;
    case IR_divs:
        if (k == 0) {
            return make_const(b, type, -1);
        }
        return k == 1 ? ins->a : k == -1 ? negate(b, type, ins->a) : IR_NONE;
    case IR_divu:
        if (k == 0) {
            return make_const(b, type, -1);
        }
        return log2 >= 0 ? ir_bini(b, IR_shr, ins->a, log2) : IR_NONE;
    case IR_rems:
        if (k == 0) {
            return ins->a;
        }
        return k == 1 || k == -1 ? make_const(b, type, 0) : IR_NONE;
    case IR_remu:
        if (k == 0) {
            return ins->a;
        }
        return log2 >= 0 ? ir_bini(b, IR_and, ins->a, (int64_t)(u - 1)) : IR_NONE;
    default:
        return IR_NONE;
    }
}

static ir_ref fold_logic(struct ir_builder *b, const struct ir_ins *ins)
{
    enum ir_type type = (enum ir_type)ins->type;
    int64_t k;

    if (ins->a == ins->b) {
        bool keeps = ins->op == IR_and || ins->op == IR_or;
        return keeps ? ins->a : make_const(b, type, 0); /* xor, andn */
    }
    if (ins->op == IR_andn) {
        if (const_second(b, ins, &k)) {
            return ir_bini(b, IR_and, ins->a, ~k);
        }
        if (!ir_is_const(b, ins->a, &k)) {
            return IR_NONE;
        }
        return k == 0 ? ins->a : k == -1 ? ir_bini(b, IR_xor, ins->b, -1) : IR_NONE;
    }
    if (!const_second(b, ins, &k)) {
        return IR_NONE;
    }
    if (ins->op == IR_or && k == -1) {
        return ins->b;
    }
    if (ins->op != IR_and) {
        if (k == 0) {
            return ins->a;
        }
        if (ins->op == IR_xor && k == 1 && def(b, ins->a)->op == IR_icmp) {
            struct ir_ins cmp = *def(b, ins->a);
            return ir_icmp(b, ir_cc_negate((enum ir_cc)cmp.cc), type, cmp.a, cmp.b);
        }
        return reassociate(b, ins, k);
    }
    if (k == 0) {
        return ins->b;
    }
    /* All that can be set is kept. */
    if ((~(uint64_t)k & bits_mask(bits_unsigned(b, ins->a, DEPTH))) == 0) {
        return ins->a;
    }
    ir_ref ref = reassociate(b, ins, k);
    if (ref) {
        return ref;
    }
    if (k == 0xff) {
        return ir_op1(b, IR_zext8, type, ins->a);
    }
    if (k == 0xffff) {
        return ir_op1(b, IR_zext16, type, ins->a);
    }
    if (k == INT64_C(0xffffffff) && type == IR_I64) {
        return ir_zext(b, ir_trunc(b, ins->a));
    }
    return IR_NONE;
}

/* ---- shifts ---------------------------------------------------------------------------------- */

/* shr or sar by k of (x shl k1): guests without extension instructions extend, and scale, like
 * this. */
static ir_ref fold_field(struct ir_builder *b, const struct ir_ins *ins, ir_ref x, int k1, int k)
{
    enum ir_type type = (enum ir_type)ins->type;
    bool is_signed = ins->op == IR_sar;
    int keep = (int)width_of(type) - k1; /* bits of x that survive the first shift */
    ir_ref ref;

    if (keep == 32) {
        ref = ir_trunc(b, x);
        if (k > 32) {
            ref = ir_bini(b, (enum ir_opcode)ins->op, ref, k - 32);
            k = 32;
        }
        ref = is_signed ? ir_sext(b, ref) : ir_zext(b, ref);
        return ir_bini(b, IR_shl, ref, 32 - k);
    }
    if (keep == 16 || keep == 8) {
        enum ir_opcode op =
            is_signed ? (keep == 8 ? IR_sext8 : IR_sext16) : (keep == 8 ? IR_zext8 : IR_zext16);
        if (k <= k1) {
            return ir_bini(b, IR_shl, ir_op1(b, op, type, x), k1 - k);
        }
        return ir_bini(b, (enum ir_opcode)ins->op, ir_op1(b, op, type, x), k - k1);
    }
    if (k == k1 && !is_signed && keep <= 31) {
        return ir_bini(b, IR_and, x, (int64_t)bits_mask((unsigned)keep));
    }
    return IR_NONE;
}

static ir_ref fold_shift(struct ir_builder *b, struct ir_ins *ins)
{
    enum ir_type type = (enum ir_type)ins->type;
    enum ir_opcode op = (enum ir_opcode)ins->op;
    int width = (int)width_of(type);
    int64_t k, k1;

    if (ir_is_const(b, ins->a, &k) && (k == 0 || (k == -1 && op != IR_shl && op != IR_shr))) {
        return ins->a;
    }
    if (!const_second(b, ins, &k)) {
        /* The count is taken modulo the width anyway. */
        const struct ir_ins *count = def(b, ins->b);
        if (count->op == IR_and && const_second(b, count, &k) && (k & (width - 1)) == width - 1) {
            return ir_op2(b, op, type, ins->a, count->a);
        }
        return IR_NONE;
    }
    if (k != (k & (width - 1))) {
        return ir_bini(b, op, ins->a, k & (width - 1));
    }
    if (k == 0) {
        return ins->a;
    }
    if (op == IR_shr && bits_unsigned(b, ins->a, DEPTH) <= (unsigned)k) {
        return make_const(b, type, 0);
    }
    const struct ir_ins *inner = def(b, ins->a);
    if (!const_second(b, inner, &k1)) {
        return IR_NONE;
    }
    ir_ref x = inner->a;
    k1 &= width - 1;
    if (inner->op == op && (op == IR_shl || op == IR_shr || op == IR_sar)) {
        if (k + k1 < width) {
            return ir_bini(b, op, x, k + k1);
        }
        return op == IR_sar ? ir_bini(b, op, x, width - 1) : make_const(b, type, 0);
    }
    if (inner->op == op) { /* rotations */
        return ir_bini(b, op, x, (k + k1) & (width - 1));
    }
    if (inner->op == IR_shl && (op == IR_shr || op == IR_sar)) {
        return fold_field(b, ins, x, (int)k1, (int)k);
    }
    return IR_NONE;
}

/* ---- width ----------------------------------------------------------------------------------- */

static ir_ref fold_extend_part(struct ir_builder *b, const struct ir_ins *ins)
{
    bool is_signed = ins->op == IR_sext8 || ins->op == IR_sext16;
    unsigned n = ins->op == IR_sext8 || ins->op == IR_zext8 ? 8 : 16;
    const struct ir_ins *inner = def(b, ins->a);
    unsigned m = 0;

    if (is_signed ? bits_signed(b, ins->a, DEPTH) <= n : bits_unsigned(b, ins->a, DEPTH) <= n) {
        return ins->a;
    }
    switch (inner->op) {
    case IR_sext8:
    case IR_zext8:
        m = 8;
        break;
    case IR_sext16:
    case IR_zext16:
        m = 16;
        break;
    default:
        break;
    }
    /* The inner extension changed only bits that are cut off here. */
    if (m >= n) {
        return ir_op1(b, (enum ir_opcode)ins->op, (enum ir_type)ins->type, inner->a);
    }
    return IR_NONE;
}

static ir_ref fold_width(struct ir_builder *b, const struct ir_ins *ins)
{
    const struct ir_ins *inner = def(b, ins->a);

    switch (ins->op) {
    case IR_trunc:
        return inner->op == IR_sext || inner->op == IR_zext ? inner->a : IR_NONE;
    case IR_sext:
    case IR_zext:
        if (inner->op == IR_icmp) {
            return ir_icmp(b, (enum ir_cc)inner->cc, IR_I64, inner->a, inner->b);
        }
        if (inner->op == IR_trunc) {
            ir_ref x = inner->a;
            if (ins->op == IR_sext ? bits_signed(b, x, DEPTH) <= 32
                                   : bits_unsigned(b, x, DEPTH) <= 32) {
                return x;
            }
        }
        if (ins->op == IR_sext && bits_unsigned(b, ins->a, DEPTH) <= 31) {
            return ir_zext(b, ins->a);
        }
        return IR_NONE;
    default:
        return IR_NONE;
    }
}

/* ---- conditions ------------------------------------------------------------------------------ */

/* One step towards a simpler condition; false when there is none. The condition stays equivalent.
 */
static bool simplify_cond(struct ir_builder *b, enum ir_cc *cc, ir_ref *a, ir_ref *c)
{
    const struct ir_ins *x = def(b, *a), *y = def(b, *c);
    int64_t k;

    if (x->op == IR_const && y->op != IR_const) {
        ir_ref t = *a;
        *a = *c;
        *c = t;
        *cc = ir_cc_swap(*cc);
        return true;
    }
    if (!ir_is_const(b, *c, &k)) {
        /* Both kinds of extension keep the order without sign; sext the other one too. */
        if (x->op != y->op || (x->op != IR_sext && x->op != IR_zext)) {
            return false;
        }
        if (x->op == IR_zext && *cc >= IR_LT && *cc <= IR_GT) {
            *cc = (enum ir_cc)(*cc + (IR_LTU - IR_LT));
        }
        *a = x->a;
        *c = y->a;
        return true;
    }
    enum ir_type type = (enum ir_type)x->type;
    enum ir_cc was = *cc;
    if ((was == IR_LTU && k == 1) || (was == IR_LEU && k == 0)) {
        *cc = IR_EQ;
    } else if ((was == IR_GEU && k == 1) || (was == IR_GTU && k == 0)) {
        *cc = IR_NE;
    } else if (was == IR_LT && k == 1) {
        *cc = IR_LE;
    } else if (was == IR_GE && k == 1) {
        *cc = IR_GT;
    } else if (was == IR_GT && k == -1) {
        *cc = IR_GE;
    } else if (was == IR_LE && k == -1) {
        *cc = IR_LT;
    }
    if (*cc != was) {
        if (k != 0) {
            *c = make_const(b, type, 0);
        }
        return true;
    }
    if (x->op == IR_sext && bits_fits_signed(k, 32)) {
        *a = x->a;
        *c = ir_i32(b, (int32_t)k);
        return true;
    }
    if (x->op == IR_zext && bits_fits_unsigned((uint64_t)k, 32)) {
        if (was >= IR_LT && was <= IR_GT) {
            *cc = (enum ir_cc)(was + (IR_LTU - IR_LT));
        }
        *a = x->a;
        *c = ir_i32(b, (int32_t)k);
        return true;
    }
    if (was != IR_EQ && was != IR_NE) {
        return false;
    }
    if (x->op == IR_icmp && (k == 0 || k == 1)) {
        *cc = (was == IR_NE) == (k == 0) ? (enum ir_cc)x->cc : ir_cc_negate((enum ir_cc)x->cc);
        *a = x->a;
        *c = x->b;
        return true;
    }
    if ((x->op == IR_xor || x->op == IR_sub) && k == 0) {
        *a = x->a;
        *c = x->b;
        return true;
    }
    return false;
}

int jit_opt_fold_cond(struct ir_builder *b, enum ir_cc *cc, ir_ref *a, ir_ref *c)
{
    int64_t x, y;

    do {
        if (*a == *c) {
            return ir_cc_holds(*cc, false, 0, 0);
        }
        if (ir_is_const(b, *c, &y)) {
            if (ir_is_const(b, *a, &x)) {
                return ir_cc_holds(*cc, ir_type_of(b, *a) == IR_I32, x, y);
            }
            if (y == 0 && *cc == IR_LTU) {
                return 0;
            }
            if (y == 0 && *cc == IR_GEU) {
                return 1;
            }
        }
    } while (simplify_cond(b, cc, a, c));
    return -1;
}

static ir_ref fold_icmp(struct ir_builder *b, struct ir_ins *ins)
{
    enum ir_cc cc = (enum ir_cc)ins->cc;
    int known = jit_opt_fold_cond(b, &cc, &ins->a, &ins->b);
    int64_t k;

    if (known >= 0) {
        return make_const(b, (enum ir_type)ins->type, known);
    }
    ins->cc = (uint8_t)cc;
    /* x != 0 of what is 0 or 1 anyway. */
    if (cc == IR_NE && ir_is_const(b, ins->b, &k) && k == 0 && ir_type_of(b, ins->a) == ins->type &&
        bits_unsigned(b, ins->a, DEPTH) <= 1) {
        return ins->a;
    }
    return IR_NONE;
}

static ir_ref fold_select(struct ir_builder *b, struct ir_ins *ins)
{
    const struct ir_ins *cond = def(b, ins->a);
    int64_t k;

    if (ins->b == ins->c) {
        return ins->b;
    }
    if (cond->op == IR_const) {
        return cond->imm ? ins->b : ins->c;
    }
    if (cond->op == IR_sext || cond->op == IR_zext) {
        ins->a = cond->a;
        cond = def(b, ins->a);
    }
    if (cond->op == IR_icmp && cond->cc == IR_EQ && ir_is_const(b, cond->b, &k) && k == 0) {
        /* Not as its opposite: one form, which needs no compare where x is 0 or 1 itself. */
        ir_ref t = ins->b;
        ins->b = ins->c;
        ins->c = t;
        ins->a = ir_icmp(b, IR_NE, (enum ir_type)cond->type, cond->a, cond->b);
    }
    return IR_NONE;
}

/* ---- bits of floating-point values ----------------------------------------------------------- */

static ir_ref fold_fp_const(struct ir_builder *b, const struct ir_ins *ins)
{
    const struct ir_ins *x = def(b, ins->a);
    uint64_t v = (uint64_t)x->imm, w = (uint64_t)def(b, ins->b)->imm;
    enum ir_type type = (enum ir_type)ins->type;
    uint64_t sign = type == IR_F32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63;
    uint64_t inf = type == IR_F32 ? UINT64_C(0x7f800000) : UINT64_C(0x7ff0000000000000);
    uint64_t nan = type == IR_F32 ? UINT64_C(0x7fc00000) : UINT64_C(0x7ff8000000000000);

    switch (ins->op) {
    case IR_fneg:
        return ir_fconst(b, type, v ^ sign);
    case IR_fabs:
        return ir_fconst(b, type, v & ~sign);
    case IR_fcopysign:
        return ir_fconst(b, type, (v & ~sign) | (w & sign));
    case IR_fxorsign:
        return ir_fconst(b, type, v ^ (w & sign));
    case IR_fcanon:
        return (v & ~sign) > inf ? ir_fconst(b, type, nan) : ins->a;
    case IR_fbox:
        return ir_fconst(b, IR_F64, v | UINT64_C(0xffffffff00000000));
    case IR_funbox:
        return ir_fconst(b, IR_F32, v >> 32 == UINT32_MAX ? v : nan);
    case IR_bitcast:
        if (ir_type_is_fp(type)) {
            return ir_fconst(b, type, v);
        }
        return make_const(b, type, (int64_t)v);
    default:
        return IR_NONE;
    }
}

static ir_ref fold_fp_bits(struct ir_builder *b, struct ir_ins *ins)
{
    const struct ir_ins *x = def(b, ins->a), *y = def(b, ins->b);
    enum ir_opcode op = (enum ir_opcode)ins->op;
    enum ir_type type = (enum ir_type)ins->type;
    bool x_sign_only =
        x->op == IR_fneg || x->op == IR_fabs || x->op == IR_fcopysign || x->op == IR_fxorsign;

    if (x->op == IR_const && (ins->b == IR_NONE || y->op == IR_const)) {
        return fold_fp_const(b, ins);
    }
    switch (op) {
    case IR_fneg:
        return x->op == IR_fneg ? x->a : IR_NONE;
    case IR_fabs:
        return x->op == IR_fabs ? ins->a : x_sign_only ? ir_op1(b, op, type, x->a) : IR_NONE;
    case IR_fcopysign:
        if (ins->a == ins->b) {
            return ins->a;
        }
        if (y->op == IR_fneg && y->a == ins->a) {
            return ins->b;
        }
        return x_sign_only ? ir_op2(b, op, type, x->a, ins->b) : IR_NONE;
    case IR_fxorsign:
        return ins->a == ins->b ? ir_op1(b, IR_fabs, type, ins->a) : IR_NONE;
    case IR_fcanon:
        return x->op == IR_fcanon || x->op == IR_i2f ? ins->a : IR_NONE;
    case IR_funbox:
        return x->op == IR_fbox ? x->a : IR_NONE;
    case IR_bitcast:
        if (x->type == type) {
            return ins->a;
        }
        return x->op == IR_bitcast && def(b, x->a)->type == type ? x->a : IR_NONE;
    default:
        return IR_NONE;
    }
}

/* ---- the way in ------------------------------------------------------------------------------ */

ir_ref jit_opt_fold(struct ir_builder *b, struct ir_ins *ins)
{
    int64_t x, y = 0, value;

    switch (ins->op) {
    case IR_add:
    case IR_mul:
    case IR_mulhs:
    case IR_mulhu:
    case IR_and:
    case IR_or:
    case IR_xor:
        if (def(b, ins->a)->op == IR_const && def(b, ins->b)->op != IR_const) {
            ir_ref t = ins->a;
            ins->a = ins->b;
            ins->b = t;
        }
        break;
    case IR_icmp:
        return fold_icmp(b, ins);
    case IR_select:
        return fold_select(b, ins);
    case IR_bitcast:
    case IR_fneg:
    case IR_fabs:
    case IR_fcopysign:
    case IR_fxorsign:
    case IR_fcanon:
    case IR_fbox:
    case IR_funbox:
        return fold_fp_bits(b, ins);
    default:
        break;
    }
    _Static_assert(IR_zext - IR_add == 29, "the integer ops, all of one or two arguments");
    if (ins->op < IR_add || ins->op > IR_zext) {
        return IR_NONE;
    }
    if (ir_is_const(b, ins->a, &x) && (ins->b == IR_NONE || ir_is_const(b, ins->b, &y)) &&
        jit_opt_fold_eval((enum ir_opcode)ins->op, (enum ir_type)ins->type, ir_type_of(b, ins->a),
                          ins->cc, x, y, &value)) {
        return make_const(b, (enum ir_type)ins->type, value);
    }
    switch (ins->op) {
    case IR_add:
        return fold_add(b, ins);
    case IR_sub:
        return fold_sub(b, ins);
    case IR_mul:
    case IR_mulhs:
    case IR_mulhu:
    case IR_mulhsu:
    case IR_divs:
    case IR_divu:
    case IR_rems:
    case IR_remu:
        return fold_mul_div(b, ins);
    case IR_and:
    case IR_or:
    case IR_xor:
    case IR_andn:
        return fold_logic(b, ins);
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rotl:
    case IR_rotr:
        return fold_shift(b, ins);
    case IR_sext8:
    case IR_sext16:
    case IR_zext8:
    case IR_zext16:
        return fold_extend_part(b, ins);
    case IR_trunc:
    case IR_sext:
    case IR_zext:
        return fold_width(b, ins);
    default:
        return IR_NONE;
    }
}
