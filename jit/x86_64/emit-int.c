/*
 * Integer ops.
 */
#include "jit/x86_64/compile.h"

static enum x86_cond cond_of(enum ir_cc cc)
{
    static const uint8_t table[IR_CC_COUNT] = {
        [IR_EQ] = X86_E, [IR_NE] = X86_NE, [IR_LT] = X86_L,   [IR_GE] = X86_GE,  [IR_LE] = X86_LE,
        [IR_GT] = X86_G, [IR_LTU] = X86_B, [IR_GEU] = X86_AE, [IR_LEU] = X86_BE, [IR_GTU] = X86_A,
    };
    return (enum x86_cond)table[cc];
}

enum x86_cond x86_compare(struct x86_compiler *c, enum ir_cc cc, enum ir_type type, ir_ref ra,
                          ir_ref rb)
{
    bool w = type == IR_I64;
    ir_ref a = x86_resolve(c, ra), b = x86_resolve(c, rb);
    struct x86_mem mem;
    int64_t value;
    int32_t imm;

    if (x86_const(c, a, &value) && !x86_const(c, b, &value)) {
        ir_ref t = a;
        a = b;
        b = t;
        cc = ir_cc_swap(cc);
    }
    if (x86_const(c, b, &value) && (!w || x86_const32(c, b, &imm))) {
        imm = (int32_t)value;
        if (x86_in_memory(c, a, &mem) && x86_dies(c, a)) {
            c->compare_at = c->a->size;
            x86_alu_mem_imm(c->a, ALU_CMP, w, mem, imm);
        } else {
            int x = x86_use(c, a);
            c->compare_at = c->a->size;
            if (imm == 0) {
                x86_rr(c->a, 0x85, w, x, x);
            } else {
                x86_alu_imm(c->a, ALU_CMP, w, x, imm);
            }
        }
    } else {
        int x = x86_use(c, a);
        if (x86_in_memory(c, b, &mem) && x86_dies(c, b)) {
            c->compare_at = c->a->size;
            x86_alu_rm(c->a, ALU_CMP, w, x, mem);
        } else {
            int y = x86_use(c, b);
            c->compare_at = c->a->size;
            x86_alu_rr(c->a, ALU_CMP, w, x, y);
        }
    }
    c->compare_end = c->a->size;
    c->compare_in = c->a;
    return cond_of(cc);
}

/* dst = a op b for add, and, or, xor, sub: two-operand form, with b a register, an immediate, or
 * memory. */
static void emit_alu(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins, enum x86_alu op,
                     bool commutes)
{
    bool w = ins->type == IR_I64;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);
    struct x86_mem mem;
    int64_t value;
    int32_t imm;

    if (c->val[a].fused || c->val[b].fused) {
        struct x86_parts parts = x86_add_parts(c, ins);
        struct x86_mem sum = x86_use_parts(c, &parts);
        x86_consume_parts(c, &parts);
        x86_lea(c->a, w, x86_def(c, ref), sum);
        return;
    }
    if (x86_const(c, b, &value) && (!w || x86_const32(c, b, &imm))) {
        imm = (int32_t)value;
        if (op == ALU_SUB && imm != INT32_MIN) {
            op = ALU_ADD;
            imm = -imm;
        }
        if (op == ALU_ADD && c->val[a].reg != REG_NONE &&
            (!x86_dies(c, a) ||
             (c->val[ref].hint != REG_NONE && c->val[ref].hint != c->val[a].reg))) {
            int x = x86_use(c, a);
            x86_consume(c, a);
            x86_lea(c->a, w, x86_def(c, ref), x86_mem(x, imm));
            return;
        }
        x86_alu_imm(c->a, op, w, x86_def_tied(c, ref, a), imm);
        return;
    }
    if (commutes &&
        (x86_const(c, a, &value) ||
         (!x86_dies(c, a) && x86_dies(c, b) && c->val[b].reg != REG_NONE) ||
         (c->val[ref].hint != REG_NONE && c->val[b].reg == c->val[ref].hint && x86_dies(c, b)))) {
        ir_ref t = a;
        a = b;
        b = t;
    }
    if (op == ALU_ADD && c->val[a].reg != REG_NONE && c->val[b].reg != REG_NONE &&
        !x86_dies(c, a)) {
        int x = x86_use(c, a), y = x86_use(c, b);
        x86_consume(c, b);
        struct x86_mem sum = {.base = (int8_t)x, .index = (int8_t)y};
        x86_lea(c->a, w, x86_def(c, ref), sum);
        return;
    }
    if (x86_in_memory(c, b, &mem) && x86_dies(c, b) && a != b) {
        x86_alu_rm(c->a, op, w, x86_def_tied(c, ref, a), mem);
        return;
    }
    int y = x86_use(c, b);
    /* a == b that dies: the tied register would be the operand's own, which reads right */
    int d = x86_def_tied(c, ref, a);
    x86_alu_rr(c->a, op, w, d, c->val[b].reg != REG_NONE ? c->val[b].reg : y);
}

static void emit_andn(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);

    if (c->feat->bmi1) {
        int x = x86_use(c, a), y = x86_use(c, b);
        x86_consume(c, a);
        x86_consume(c, b);
        x86_vex_rr(c->a, 2, 0, 0xf2, w, x86_def(c, ref), y, x);
        return;
    }
    int x = x86_use(c, a), d;
    x86_use(c, b);
    d = x86_temp(c, false); /* not tied: a may be b */
    x86_load_value(c, b, d);
    x86_rr(c->a, 0xf7, w, 2, d); /* not */
    x86_alu_rr(c->a, ALU_AND, w, d, x);
    x86_def_in(c, ref, d);
}

static void emit_mul(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);
    int64_t value;

    if (x86_const(c, b, &value) && value == (int32_t)value) {
        int x = x86_use(c, a);
        x86_consume(c, a);
        x86_rr(c->a, 0x69, w, x86_def(c, ref), x);
        x86_u32(c->a, (uint32_t)value);
        return;
    }
    if (!x86_dies(c, a) && x86_dies(c, b) && c->val[b].reg != REG_NONE) {
        ir_ref t = a;
        a = b;
        b = t;
    }
    int y = x86_use(c, b);
    int d = x86_def_tied(c, ref, a);
    x86_rr(c->a, X86_OP(1, 0, 0xaf), w, d, c->val[b].reg != REG_NONE ? c->val[b].reg : y);
}

/* rdx:rax = rax * y (group 3 /4 or /5). */
static void emit_wide_mul(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64, sign = ins->op == IR_mulhs;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);

    x86_use(c, b);
    x86_take(c, RAX);
    x86_take(c, RDX);
    int y = x86_use(c, b);
    x86_load_value(c, a, RAX);
    if (ins->op == IR_mulhsu) {
        /* signed a times unsigned b = unsigned product, less b << width where a is negative */
        int t = x86_temp(c, false);
        x86_mov_rr(c->a, w, t, RAX);
        x86_shift_imm(c->a, SH_SAR, w, t, w ? 63 : 31);
        x86_alu_rr(c->a, ALU_AND, w, t, y);
        x86_rr(c->a, 0xf7, w, 4, y);
        x86_alu_rr(c->a, ALU_SUB, w, RDX, t);
    } else {
        x86_rr(c->a, 0xf7, w, sign ? 5 : 4, y);
    }
    x86_def_in(c, ref, RDX);
}

static void emit_div(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    bool sign = ins->op == IR_divs || ins->op == IR_rems,
         rem = ins->op == IR_rems || ins->op == IR_remu;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);
    uint32_t zero_end = 0, minus_end = 0;
    int64_t value;
    bool known = x86_const(c, b, &value);
    bool check_zero = !known || (w ? value == 0 : (int32_t)value == 0);
    bool check_minus = sign && (!known || (int32_t)value == -1);

    x86_use(c, b);
    x86_take(c, RAX);
    x86_take(c, RDX);
    int y = x86_use(c, b);
    x86_load_value(c, a, RAX);
    if (check_zero) {
        x86_rr(c->a, 0x85, w, y, y);
        x86_cold_begin(c, x86_jcc(c->a, X86_E));
        if (rem) {
            x86_mov_rr(c->a, w, RDX, RAX);
        } else {
            x86_mov_imm(c->a, RAX, w ? -1 : (int64_t)UINT32_MAX);
        }
        zero_end = x86_jmp(c->a);
        x86_cold_end(c, false);
    }
    if (check_minus) {
        x86_alu_imm(c->a, ALU_CMP, w, y, -1);
        x86_cold_begin(c, x86_jcc(c->a, X86_E));
        if (rem) {
            x86_alu_rr(c->a, ALU_XOR, false, RDX, RDX);
        } else {
            x86_rr(c->a, 0xf7, w, 3, RAX); /* neg */
        }
        minus_end = x86_jmp(c->a);
        x86_cold_end(c, false);
    }
    if (sign) {
        x86_reserve(c->a);
        if (w) {
            x86_u8(c->a, 0x48);
        }
        x86_u8(c->a, 0x99); /* cdq, cqo */
    } else {
        x86_alu_rr(c->a, ALU_XOR, false, RDX, RDX);
    }
    x86_rr(c->a, 0xf7, w, sign ? 7 : 6, y);
    if (check_zero) {
        x86_fixup(c, zero_end, true, c->a->size, c->in_cold);
    }
    if (check_minus) {
        x86_fixup(c, minus_end, true, c->a->size, c->in_cold);
    }
    x86_def_in(c, ref, rem ? RDX : RAX);
}

static void emit_shift(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);
    enum x86_shift op = ins->op == IR_shl    ? SH_SHL
                        : ins->op == IR_shr  ? SH_SHR
                        : ins->op == IR_sar  ? SH_SAR
                        : ins->op == IR_rotl ? SH_ROL
                                             : SH_ROR;
    int64_t value;

    if (x86_const(c, b, &value)) {
        unsigned count = (unsigned)value & (w ? 63 : 31);

        if (c->feat->bmi2 && (op == SH_ROR || op == SH_ROL) && !x86_dies(c, a)) {
            int x = x86_use(c, a);
            x86_vex_rr(c->a, 3, 3, 0xf0, w, x86_def(c, ref), 0, x);
            x86_u8(c->a, op == SH_ROR ? count : -count & (w ? 63 : 31));
            return;
        }
        if (op == SH_SHL && count <= 3 && count && c->val[a].reg != REG_NONE &&
            (!x86_dies(c, a) ||
             (c->val[ref].hint != REG_NONE && c->val[ref].hint != c->val[a].reg))) {
            int x = x86_use(c, a);
            x86_consume(c, a);
            /* twice: as a sum it is shorter */
            struct x86_mem product = {.base = (int8_t)(count == 1 ? x : REG_NONE),
                                      .index = (int8_t)x,
                                      .scale = (uint8_t)(count == 1 ? 0 : count)};
            x86_lea(c->a, w, x86_def(c, ref), product);
            return;
        }
        x86_shift_imm(c->a, op, w, x86_def_tied(c, ref, a), count);
        return;
    }
    if (c->feat->bmi2 && op != SH_ROL && op != SH_ROR) {
        unsigned pp = op == SH_SHL ? 1 : op == SH_SHR ? 3 : 2;
        int x = x86_use(c, a), y = x86_use(c, b);

        x86_consume(c, a);
        x86_consume(c, b);
        x86_vex_rr(c->a, 2, pp, 0xf7, w, x86_def(c, ref), y, x);
        return;
    }
    x86_use(c, a);
    x86_use_in(c, b, RCX);
    /* the result must not be in rcx; a may be there if a == b */
    int d = x86_temp(c, false);
    x86_load_value(c, a, d);
    x86_shift_cl(c->a, op, w, d);
    x86_def_in(c, ref, d);
}

static void emit_icmp(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    enum ir_type type = x86_ins(c, ins->a)->type;
    enum x86_cond cc = x86_compare(c, (enum ir_cc)ins->cc, type, ins->a, ins->b);
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);

    x86_consume(c, a);
    if (b != a) {
        x86_consume(c, b);
    }
    int d = x86_def(c, ref);
    x86_setcc(c->a, cc, d);
    x86_rr8(c->a, X86_OP(1, 0, 0xb6), d, d); /* movzx */
}

static void emit_select(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    ir_ref cond = x86_resolve(c, ins->a), yes = x86_resolve(c, ins->b), no = x86_resolve(c, ins->c);
    bool cond64 = x86_ins(c, ins->a)->type == IR_I64;

    int x = x86_use(c, cond), y = x86_use(c, yes);
    x86_rr(c->a, 0x85, cond64, x, x);
    int d = x86_def_tied(c, ref, no); /* moves only: the flags survive */
    x86_cmov(c->a, X86_NE, true, d, c->val[yes].reg != REG_NONE ? c->val[yes].reg : y);
}

static void emit_extend(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins, unsigned op,
                        bool w, bool byte)
{
    ir_ref a = x86_resolve(c, ins->a);
    int x = x86_use(c, a);

    x86_consume(c, a);
    int d = x86_def(c, ref);
    if (byte) {
        x86_reserve(c->a);
        x86_opcode(c->a, op, w, x >= 4, d, 0, x);
        x86_u8(c->a, 0xc0 | (d & 7) << 3 | (x & 7));
    } else {
        x86_rr(c->a, op, w, d, x);
    }
}

/* clz, ctz without lzcnt and tzcnt: bsr and bsf leave the result alone for 0. */
static void emit_count_zeros(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64, leading = ins->op == IR_clz;
    ir_ref a = x86_resolve(c, ins->a);
    int x = x86_use(c, a), d;
    unsigned width = w ? 64 : 32;

    if (leading ? c->feat->lzcnt : c->feat->bmi1) {
        x86_consume(c, a);
        d = x86_def(c, ref);
        x86_rr(c->a, X86_OP(1, 0xf3, leading ? 0xbdu : 0xbcu), w, d, x);
        return;
    }
    int t = x86_temp(c, false);
    d = x86_def(c, ref);
    x86_mov_imm(c->a, t, leading ? 2 * width - 1 : width);
    x86_rr(c->a, X86_OP(1, 0, leading ? 0xbdu : 0xbcu), w, d, x);
    x86_cmov(c->a, X86_E, true, d, t);
    if (leading) {
        x86_alu_imm(c->a, ALU_XOR, w, d, (int32_t)width - 1);
    }
}

/* x - (x>>1 & 5..5), then pairs, nibbles, and the sum of all bytes by a multiplication. */
static void popcnt_baseline(struct x86_compiler *c, int d, int t, int m, bool w)
{
    static const uint64_t mask[3] = {0x5555555555555555, 0x3333333333333333, 0x0f0f0f0f0f0f0f0f};

    for (unsigned i = 0; i < 3; i++) {
        x86_mov_imm(c->a, m, (int64_t)mask[i]);
        x86_mov_rr(c->a, w, t, d);
        x86_shift_imm(c->a, SH_SHR, w, t, 1u << i);
        if (i == 2) {
            x86_alu_rr(c->a, ALU_ADD, w, d, t);
            x86_alu_rr(c->a, ALU_AND, w, d, m);
        } else if (i == 1) {
            x86_alu_rr(c->a, ALU_AND, w, t, m);
            x86_alu_rr(c->a, ALU_AND, w, d, m);
            x86_alu_rr(c->a, ALU_ADD, w, d, t);
        } else {
            x86_alu_rr(c->a, ALU_AND, w, t, m);
            x86_alu_rr(c->a, ALU_SUB, w, d, t);
        }
    }
    x86_mov_imm(c->a, m, 0x0101010101010101);
    x86_rr(c->a, X86_OP(1, 0, 0xaf), w, d, m);
    x86_shift_imm(c->a, SH_SHR, w, d, w ? 56 : 24);
}

static void emit_popcnt(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    ir_ref a = x86_resolve(c, ins->a);

    if (c->feat->popcnt) {
        int x = x86_use(c, a);
        x86_consume(c, a);
        x86_rr(c->a, X86_OP(1, 0xf3, 0xb8), w, x86_def(c, ref), x);
        return;
    }
    int d = x86_def_tied(c, ref, a);
    if (!w) {
        x86_mov_rr(c->a, false, d, d);
    }
    popcnt_baseline(c, d, x86_temp(c, false), x86_temp(c, false), w);
}

bool x86_emit_int(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    int d;

    switch (ins->op) {
    case IR_add:
        emit_alu(c, ref, ins, ALU_ADD, true);
        break;
    case IR_sub:
        emit_alu(c, ref, ins, ALU_SUB, false);
        break;
    case IR_and:
        emit_alu(c, ref, ins, ALU_AND, true);
        break;
    case IR_or:
        emit_alu(c, ref, ins, ALU_OR, true);
        break;
    case IR_xor:
        emit_alu(c, ref, ins, ALU_XOR, true);
        break;
    case IR_andn:
        emit_andn(c, ref, ins);
        break;
    case IR_mul:
        emit_mul(c, ref, ins);
        break;
    case IR_mulhs:
    case IR_mulhu:
    case IR_mulhsu:
        emit_wide_mul(c, ref, ins);
        break;
    case IR_divs:
    case IR_divu:
    case IR_rems:
    case IR_remu:
        emit_div(c, ref, ins);
        break;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rotl:
    case IR_rotr:
        emit_shift(c, ref, ins);
        break;
    case IR_clz:
    case IR_ctz:
        emit_count_zeros(c, ref, ins);
        break;
    case IR_popcnt:
        emit_popcnt(c, ref, ins);
        break;
    case IR_bswap:
        d = x86_def_tied(c, ref, x86_resolve(c, ins->a));
        x86_reserve(c->a);
        x86_opcode(c->a, X86_OP(1, 0, 0xc8u | (d & 7)), w, false, 0, 0, d);
        break;
    case IR_sext8:
        emit_extend(c, ref, ins, X86_OP(1, 0, 0xbe), w, true);
        break;
    case IR_sext16:
        emit_extend(c, ref, ins, X86_OP(1, 0, 0xbf), w, false);
        break;
    case IR_zext8:
        emit_extend(c, ref, ins, X86_OP(1, 0, 0xb6), false, true);
        break;
    case IR_zext16:
        emit_extend(c, ref, ins, X86_OP(1, 0, 0xb7), false, false);
        break;
    case IR_sext:
        emit_extend(c, ref, ins, 0x63, true, false);
        break;
    case IR_zext:
        emit_extend(c, ref, ins, 0x8b, false, false);
        break;
    case IR_icmp:
        emit_icmp(c, ref, ins);
        break;
    case IR_select:
        emit_select(c, ref, ins);
        break;
    default:
        return false;
    }
    return true;
}
