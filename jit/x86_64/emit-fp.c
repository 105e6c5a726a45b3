/*
 * Floating point on the SSE unit, in three-operand VEX form where the host has AVX.
 *
 * Rounding mode and sticky flags are MXCSR's. Arithmetic may give NaNs of any kind; fcanon makes
 * them canonical.
 */
#include "jit/x86_64/compile.h"

enum { PP_NONE, PP_66, PP_F3, PP_F2 };

static unsigned prefix_of(unsigned pp)
{
    static const uint8_t bytes[] = {0, 0x66, 0xf3, 0xf2};
    return bytes[pp];
}

/* One-source SSE instruction. */
static void sse_rr(struct x86_compiler *c, unsigned pp, unsigned op, int to, int from)
{
    x86_rr(c->a, X86_OP(1, prefix_of(pp), op), false, to - REG_FP, from - REG_FP);
}

/* temp = all ones, shifted: `left` bits by psll, after psrl by `right`, on 64- or 32-bit lanes. */
static void ones(struct x86_compiler *c, bool wide, unsigned right, unsigned left)
{
    unsigned op = wide ? 0x73 : 0x72;

    sse_rr(c, PP_66, 0x76, XMM_TEMP, XMM_TEMP); /* pcmpeqd */
    if (right) {
        x86_rr(c->a, X86_OP(1, 0x66, op), false, 2, XMM_TEMP - REG_FP);
        x86_u8(c->a, right);
    }
    if (left) {
        x86_rr(c->a, X86_OP(1, 0x66, op), false, 6, XMM_TEMP - REG_FP);
        x86_u8(c->a, left);
    }
}

static void emit_arith(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins, unsigned op)
{
    unsigned pp = ins->type == IR_F64 ? PP_F2 : PP_F3;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b);

    if (c->feat->avx) {
        int x = x86_use(c, a), y = x86_use(c, b);
        x86_consume(c, a);
        x86_consume(c, b);
        int d = x86_def(c, ref);
        x86_vex_rr(c->a, 1, pp, op, false, d - REG_FP, x - REG_FP, y - REG_FP);
        return;
    }
    int y = x86_use(c, b);
    int d = x86_def_tied(c, ref, a);
    sse_rr(c, pp, op, d, c->val[b].reg != REG_NONE ? c->val[b].reg : y);
}

static void emit_sqrt(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    int x = x86_use(c, x86_resolve(c, ins->a));
    int d = x86_def(c, ref);

    sse_rr(c, ins->type == IR_F64 ? PP_F2 : PP_F3, 0x51, d, x);
}

static double fma64(double x, double y, double z)
{
    return __builtin_fma(x, y, z);
}

static float fma32(float x, float y, float z)
{
    return __builtin_fmaf(x, y, z);
}

void *jit_x86_runtime(enum jit_runtime function)
{
    return function == JIT_RT_FMA64 ? (void *)fma64 : (void *)fma32;
}

/* Without FMA3: libm's, which is exact and raises the right flags, with all that a call may clobber
 * in memory. */
static void call_fma(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    ir_ref args[3] = {x86_resolve(c, ins->a), x86_resolve(c, ins->b), x86_resolve(c, ins->c)};
    int to[3] = {REG_FP, REG_FP + 1, REG_FP + 2};
    bool wide = ins->type == IR_F64;

    x86_save_live(c, GPR_VOLATILE | FPR_ALL);
    x86_parallel(c, 3, to, args);
    x86_drop_regs(c, GPR_VOLATILE | FPR_ALL);
    for (unsigned i = 0; i < 2; i++) {
        if (!(ins->aux & (i ? IR_FMA_NEG_ADDEND : IR_FMA_NEG_PRODUCT))) {
            continue;
        }
        ones(c, wide, 0, wide ? 63 : 31);
        sse_rr(c, PP_NONE, 0x57, to[i ? 2 : 0], XMM_TEMP);
    }
    c->page.reg = REG_NONE;
    x86_reloc(c, x86_call(c->a), JIT_RELOC_RUNTIME, wide ? JIT_RT_FMA64 : JIT_RT_FMA32);
    x86_def_in(c, ref, REG_FP);
}

static void emit_fma(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool wide = ins->type == IR_F64;
    ir_ref a = x86_resolve(c, ins->a), b = x86_resolve(c, ins->b), z = x86_resolve(c, ins->c);

    if (!c->feat->fma) {
        call_fma(c, ref, ins);
        return;
    }
    /* vf[n]m{add,sub}231: d = +-(x * y) +- d */
    unsigned op = 0xb9;
    if (ins->aux & IR_FMA_NEG_PRODUCT) {
        op += 4;
    }
    if (ins->aux & IR_FMA_NEG_ADDEND) {
        op += 2;
    }
    int x = x86_use(c, a), y = x86_use(c, b);
    int d = x86_def_tied(c, ref, z);
    x = c->val[a].reg != REG_NONE ? c->val[a].reg : x;
    y = c->val[b].reg != REG_NONE ? c->val[b].reg : y;
    x86_vex_rr(c->a, 2, PP_66, op, wide, d - REG_FP, x - REG_FP, y - REG_FP);
}

/* The four sign operations; the mask is made in the temporary. */
static void emit_sign(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool wide = ins->type == IR_F64;
    unsigned sign = wide ? 63 : 31;
    ir_ref a = x86_resolve(c, ins->a);
    int d, y = 0;

    if (ins->op == IR_fcopysign || ins->op == IR_fxorsign) {
        y = x86_use(c, x86_resolve(c, ins->b));
    }
    d = x86_def_tied(c, ref, a);
    switch (ins->op) {
    case IR_fneg:
        ones(c, wide, 0, sign);
        sse_rr(c, PP_NONE, 0x57, d, XMM_TEMP); /* xorps */
        break;
    case IR_fabs:
        ones(c, wide, 1, 0);
        sse_rr(c, PP_NONE, 0x54, d, XMM_TEMP); /* andps */
        break;
    case IR_fxorsign:
        ones(c, wide, 0, sign);
        sse_rr(c, PP_NONE, 0x54, XMM_TEMP, y);
        sse_rr(c, PP_NONE, 0x57, d, XMM_TEMP);
        break;
    default: {
        /* a ^ ((a ^ b) & sign) */
        int t = x86_temp(c, true);
        sse_rr(c, PP_NONE, 0x28, t, d);
        sse_rr(c, PP_NONE, 0x57, t, y);
        ones(c, wide, 0, sign);
        sse_rr(c, PP_NONE, 0x54, XMM_TEMP, t);
        sse_rr(c, PP_NONE, 0x57, d, XMM_TEMP);
        break;
    }
    }
}

static void emit_fcmp(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool wide = x86_ins(c, ins->a)->type == IR_F64;
    bool quiet = ins->cc == IR_FEQ || ins->cc == IR_FLTQ || ins->cc == IR_FLEQ;
    int x = x86_use(c, x86_resolve(c, ins->a)), y = x86_use(c, x86_resolve(c, ins->b));
    unsigned op = quiet ? 0x2e : 0x2f, pp = wide ? PP_66 : PP_NONE;

    if (ins->cc == IR_FEQ) {
        int t = x86_temp(c, false), d = x86_def(c, ref);
        sse_rr(c, pp, op, x, y);
        x86_setcc(c->a, X86_NP, t);
        x86_setcc(c->a, X86_E, d);
        x86_alu_rr(c->a, ALU_AND, false, d, t);
        x86_alu_imm(c->a, ALU_AND, false, d, 1);
        return;
    }
    /* a < b as b above a: false for unordered, which sets the carry */
    sse_rr(c, pp, op, y, x);
    int d = x86_def(c, ref);
    x86_setcc(c->a, ins->cc == IR_FLT || ins->cc == IR_FLTQ ? X86_A : X86_AE, d);
    x86_rr8(c->a, X86_OP(1, 0, 0xb6), d, d);
}

enum x86_cond x86_nan_test(struct x86_compiler *c, const struct ir_ins *fcmp)
{
    int x = x86_use(c, x86_resolve(c, fcmp->a));

    sse_rr(c, x86_ins(c, fcmp->a)->type == IR_F64 ? PP_66 : PP_NONE, 0x2e, x, x);
    return X86_P;
}

static void emit_i2f(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = x86_ins(c, ins->a)->type == IR_I64;
    int x = x86_use(c, x86_resolve(c, ins->a)), d = x86_def(c, ref);

    sse_rr(c, PP_66, 0xef, d, d); /* the conversion keeps the upper part: cut the dependency */
    x86_rr(c->a, X86_OP(1, prefix_of(ins->type == IR_F64 ? PP_F2 : PP_F3), 0x2a), w, d - REG_FP, x);
}

static void emit_f2i(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool wide = x86_ins(c, ins->a)->type == IR_F64;
    int x = x86_use(c, x86_resolve(c, ins->a)), d = x86_def(c, ref);

    x86_rr(c->a, X86_OP(1, prefix_of(wide ? PP_F2 : PP_F3), ins->aux ? 0x2cu : 0x2du),
           ins->type == IR_I64, d, x - REG_FP);
}

static void emit_fcanon(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool wide = ins->type == IR_F64;
    int d = x86_def_tied(c, ref, x86_resolve(c, ins->a));

    /* an unordered compare of a quiet NaN with itself raises nothing; arithmetic gives no signaling
     * ones */
    sse_rr(c, wide ? PP_66 : PP_NONE, 0x2e, d, d);
    x86_cold_begin(c, x86_jcc(c->a, X86_P));
    if (wide) {
        ones(c, true, 52, 51);
    } else {
        ones(c, false, 23, 22);
    }
    sse_rr(c, PP_NONE, 0x28, d, XMM_TEMP);
    x86_cold_end(c, true);
}

void x86_make_visible(struct x86_compiler *c)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        const struct ir_ins *ins;
        bool wide;

        if (c->map[g] >= c->unit->ins_count) {
            continue;
        }
        ins = x86_ins(c, c->map[g]);
        wide = ins->type == IR_F64;
        if (!ir_type_is_fp((enum ir_type)ins->type) || (wide && ins->flags & IR_VF_CANON)) {
            continue;
        }
        int d = REG_FP; /* every live value is in memory by now */
        uint32_t over;

        x86_load_reg(c, d, x86_home(c, g));
        if (!(ins->flags & IR_VF_CANON)) {
            sse_rr(c, wide ? PP_66 : PP_NONE, 0x2e, d, d);
            over = x86_jcc(c->a, X86_NP);
            if (wide) {
                ones(c, true, 52, 51);
            } else {
                ones(c, false, 23, 22);
            }
            sse_rr(c, PP_NONE, 0x28, d, XMM_TEMP);
            x86_patch(c->a, over, c->a->size);
        }
        if (!wide) {
            ones(c, true, 0, 32);
            sse_rr(c, PP_NONE, 0x56, d, XMM_TEMP);
        }
        x86_store_reg(c, d, x86_home(c, g));
    }
}

static void emit_fbox(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    int d = x86_def_tied(c, ref, x86_resolve(c, ins->a));

    /* the upper half may hold anything: ones over all of it */
    ones(c, true, 0, 32);
    sse_rr(c, PP_NONE, 0x56, d, XMM_TEMP); /* orps */
}

static void emit_funbox(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    int t = x86_temp(c, false), d = x86_def_tied(c, ref, x86_resolve(c, ins->a));

    x86_rr(c->a, X86_OP(1, 0x66, 0x7e), true, d - REG_FP, t); /* movq t, d */
    x86_shift_imm(c->a, SH_SHR, true, t, 32);
    x86_alu_imm(c->a, ALU_CMP, false, t, -1);
    x86_cold_begin(c, x86_jcc(c->a, X86_NE));
    ones(c, false, 23, 22);
    sse_rr(c, PP_NONE, 0x28, d, XMM_TEMP);
    x86_cold_end(c, true);
}

static void emit_bitcast(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ir_type_size((enum ir_type)ins->type) == 8;
    ir_ref a = x86_resolve(c, ins->a);
    int x = x86_use(c, a), d;

    if ((x >= REG_FP) == ir_type_is_fp((enum ir_type)ins->type)) {
        x86_def_tied(c, ref, a);
        return;
    }
    d = x86_def(c, ref);
    if (d >= REG_FP) {
        x86_rr(c->a, X86_OP(1, 0x66, 0x6e), w, d - REG_FP, x);
    } else {
        x86_rr(c->a, X86_OP(1, 0x66, 0x7e), w, x - REG_FP, d);
    }
}

#define MXCSR_SCRATCH                                                                             \
    x86_mem(RSP, -8) /* below the shadow stack; nobody else writes there between two instructions \
                      */

static void stmxcsr(struct x86_compiler *c, int to)
{
    x86_rm(c->a, X86_OP(1, 0, 0xae), false, 3, MXCSR_SCRATCH);
    x86_load(c->a, false, to, MXCSR_SCRATCH);
}

static void ldmxcsr(struct x86_compiler *c, int from)
{
    x86_store(c->a, false, from, MXCSR_SCRATCH);
    x86_rm(c->a, X86_OP(1, 0, 0xae), false, 2, MXCSR_SCRATCH);
}

/* to = the byte of the flag table's part at `part` that `index` selects. */
static void look_up_flags(struct x86_compiler *c, int to, int index, int t, unsigned part)
{
    struct x86_mem byte = {.base = (int8_t)t, .index = (int8_t)index, .disp = (int32_t)part};

    /* lea t, [rip + table] */
    x86_reserve(c->a);
    x86_opcode(c->a, 0x8d, true, false, t, 0, 0);
    x86_u8(c->a, (t & 7) << 3 | 5);
    x86_u32(c->a, 0);
    x86_reloc(c, c->a->size - 4, JIT_RELOC_THUNK, JIT_THUNK_FLAG_TABLE);
    x86_rm(c->a, X86_OP(1, 0, 0xb6), false, to, byte);
}

static void emit_control(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    int t = x86_temp(c, false), s = x86_temp(c, false), x;

    if (ins->op == IR_fflags_get) {
        int d = x86_def(c, ref);

        stmxcsr(c, d);
        x86_alu_imm(c->a, ALU_AND, false, d, 0x3f);
        look_up_flags(c, d, d, t, 0);
        return;
    }
    x = x86_use(c, x86_resolve(c, ins->a));
    int m = x86_temp(c, false);
    stmxcsr(c, m);
    if (ins->op == IR_fflags_set) {
        uint32_t same;

        /* writing the register waits for all arithmetic: mostly the flags are what they are to be
         */
        x86_mov_rr(c->a, false, s, x);
        x86_alu_imm(c->a, ALU_AND, false, s, 0x1f);
        look_up_flags(c, s, s, t, X86_FLAG_TABLE_BACK);
        x86_mov_rr(c->a, false, t, m);
        x86_alu_imm(c->a, ALU_AND, false, t, ~0x3d); /* DE is nobody's */
        x86_alu_rr(c->a, ALU_OR, false, s, t);
        x86_alu_rr(c->a, ALU_CMP, false, s, m);
        same = x86_jcc(c->a, X86_E);
        ldmxcsr(c, s);
        x86_patch(c->a, same, c->a->size);
        return;
    } else {
        /* modes 0 1 2 3 are x86's 0 3 1 2: -mode & 3 is 0 3 2 1; the upper two are swapped by xor 3
         */
        x86_mov_rr(c->a, false, s, x);
        x86_mov_rr(c->a, false, t, x);
        x86_alu_imm(c->a, ALU_AND, false, s, 3);
        x86_alu_imm(c->a, ALU_AND, false, t, 3);
        x86_rr(c->a, 0xf7, false, 3, s);
        x86_alu_imm(c->a, ALU_AND, false, s, 3);
        x86_shift_imm(c->a, SH_SHR, false, t, 1);
        x86_rr(c->a, 0x69, false, t, t);
        x86_u32(c->a, 3);
        x86_alu_rr(c->a, ALU_XOR, false, s, t);
        x86_shift_imm(c->a, SH_SHL, false, s, 13);
        x86_alu_imm(c->a, ALU_AND, false, m, ~0x6000);
    }
    x86_alu_rr(c->a, ALU_OR, false, m, s);
    ldmxcsr(c, m);
}

bool x86_emit_fp(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    int x, d;

    switch (ins->op) {
    case IR_fadd:
        emit_arith(c, ref, ins, 0x58);
        break;
    case IR_fsub:
        emit_arith(c, ref, ins, 0x5c);
        break;
    case IR_fmul:
        emit_arith(c, ref, ins, 0x59);
        break;
    case IR_fdiv:
        emit_arith(c, ref, ins, 0x5e);
        break;
    case IR_fsqrt:
        emit_sqrt(c, ref, ins);
        break;
    case IR_fma:
        emit_fma(c, ref, ins);
        break;
    case IR_fneg:
    case IR_fabs:
    case IR_fcopysign:
    case IR_fxorsign:
        emit_sign(c, ref, ins);
        break;
    case IR_fcmp:
        emit_fcmp(c, ref, ins);
        break;
    case IR_fpromote:
    case IR_fdemote:
        x = x86_use(c, x86_resolve(c, ins->a));
        d = x86_def(c, ref);
        sse_rr(c, ins->op == IR_fpromote ? PP_F3 : PP_F2, 0x5a, d, x);
        break;
    case IR_i2f:
        emit_i2f(c, ref, ins);
        break;
    case IR_f2i:
        emit_f2i(c, ref, ins);
        break;
    case IR_fcanon:
        emit_fcanon(c, ref, ins);
        break;
    case IR_fbox:
        emit_fbox(c, ref, ins);
        break;
    case IR_funbox:
        emit_funbox(c, ref, ins);
        break;
    case IR_bitcast:
        emit_bitcast(c, ref, ins);
        break;
    case IR_fflags_get:
    case IR_fflags_set:
    case IR_frm_set:
        emit_control(c, ref, ins);
        break;
    default:
        return false;
    }
    return true;
}
