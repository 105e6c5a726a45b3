/*
 * The interpreter: one switch over the ops of a unit, in the order of their lists.
 *
 * Values live in an array indexed by ref, as bits; of an i32 or f32 only the low half means
 * anything, readers cut it off. Behind them lie as many words as the pool has, through which a jump
 * passes its arguments: parameters are assigned in parallel, so an argument may be a parameter.
 *
 * The log of globals is kept in the simplest way that is precise: a gset stores into the state at
 * once, made visible (canonical, boxed) as a recovery would make it. So at each op the state holds
 * what a replay of the log up to there would give, and lookers need nothing. It is correct because
 * nobody could tell the difference: a gget never follows a gset of the same global (rule 7 of the
 * verifier), and cpu_ld, cpu_st and helpers without IR_H_READS_STATE do not look at globals. The pc
 * is stored where someone looks: before helpers that read the state, at exits and faults.
 */
#include "jit/interp/interp.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include "jit/interp/call.h"
#include "jit/interp/fp_x86_64.h"
#include "util/arena.h"
#include "util/bits.h"

#define INLINE_VALUES 1024 /* on the host's stack; larger units take memory from the kernel */

struct interp {
    const struct ir_unit *unit;
    uint64_t *values;
    uint64_t *passed; /* arguments of the last jump */
    uint8_t *state;
    const struct interp_memory *memory;
    struct interp_exit *exit;
    uint64_t insn_pc;
};

/* ---- the state --------------------------------------------------------------------------- */

static void store_pc(struct interp *in, uint64_t pc)
{
    memcpy(in->state + in->unit->target->pc_offset, &pc, sizeof(pc));
}

static void set_global(struct interp *in, unsigned global, ir_ref ref)
{
    const struct ir_ins *value = &in->unit->ins[ref];
    uint64_t bits = in->values[ref];

    if (value->type == IR_F32) {
        if (!(value->flags & IR_VF_CANON) && interp_isnan32(bits)) {
            bits = INTERP_F32_QNAN;
        }
        bits = (uint32_t)bits | UINT64_C(0xffffffff00000000);
    } else if (value->type == IR_F64 && !(value->flags & IR_VF_CANON) && interp_isnan64(bits)) {
        bits = INTERP_F64_QNAN;
    }
    memcpy(in->state + in->unit->target->globals[global].offset, &bits, sizeof(bits));
}

/* Integers narrower than the result, extended; mem: enum ir_mem. */
static uint64_t extend(unsigned mem, uint64_t value)
{
    unsigned bits = 8u << (mem & 7);

    return bits >= 64    ? value
           : mem & IR_MS ? (uint64_t)bits_sext(value, bits)
                         : value & bits_mask(bits);
}

static uint64_t state_load(const struct interp *in, unsigned mem, int64_t offset)
{
    uint64_t value = 0;

    memcpy(&value, in->state + offset, 1u << (mem & 7));
    return extend(mem, value);
}

/* ---- guest memory: 0, or -EFAULT with the exit filled in ------------------------------------- */

static int fault(struct interp *in, uint64_t address)
{
    in->exit->pc = in->insn_pc;
    in->exit->fault_address = address;
    store_pc(in, in->insn_pc);
    return -EFAULT;
}

static int load(struct interp *in, const struct ir_ins *ins)
{
    const struct interp_memory *m = in->memory;
    uint64_t address = in->values[ins->a] + (uint64_t)ins->imm, value = 0;

    if (m->load(m->opaque, address, 1u << (ins->cc & 7), &value, &in->exit->fault_signal,
                &in->exit->fault_code)) {
        return fault(in, address);
    }
    in->values[ins - in->unit->ins] = extend(ins->cc, value);
    return 0;
}

static int store(struct interp *in, const struct ir_ins *ins)
{
    const struct interp_memory *m = in->memory;
    uint64_t address = in->values[ins->a] + (uint64_t)ins->imm;
    unsigned size = 1u << (ins->cc & 7);

    if (m->store(m->opaque, address, size, in->values[ins->b] & bits_mask(8 * size),
                 &in->exit->fault_signal, &in->exit->fault_code)) {
        return fault(in, address);
    }
    return 0;
}

static int cas(struct interp *in, const struct ir_ins *ins)
{
    const struct interp_memory *m = in->memory;
    uint64_t address = in->values[ins->a] + (uint64_t)ins->imm, old = 0;
    unsigned size = 1u << (ins->cc & 7);

    if (m->cas(m->opaque, address, size, in->values[ins->b] & bits_mask(8 * size),
               in->values[ins->c] & bits_mask(8 * size), &old, &in->exit->fault_signal,
               &in->exit->fault_code)) {
        return fault(in, address);
    }
    in->values[ins - in->unit->ins] = extend(ins->cc | IR_MS, old);
    return 0;
}

/* a and b are sign-extended from the size of the access. */
static uint64_t amo_result(enum ir_amo op, uint64_t a, uint64_t b, unsigned size)
{
    uint64_t mask = bits_mask(8 * size);

    switch (op) {
    case IR_AMO_SWAP:
        return b;
    case IR_AMO_ADD:
        return a + b;
    case IR_AMO_AND:
        return a & b;
    case IR_AMO_OR:
        return a | b;
    case IR_AMO_XOR:
        return a ^ b;
    case IR_AMO_MIN:
        return (int64_t)a < (int64_t)b ? a : b;
    case IR_AMO_MAX:
        return (int64_t)a > (int64_t)b ? a : b;
    case IR_AMO_MINU:
        return (a & mask) < (b & mask) ? a : b;
    case IR_AMO_MAXU:
        return (a & mask) > (b & mask) ? a : b;
    case IR_AMO_COUNT:
        break;
    }
    return a;
}

/* Compare-and-swap only, first with a guess, and one that writes even where the value stays: every
 * access is one of a store, and faults as such. */
static int amo(struct interp *in, const struct ir_ins *ins)
{
    const struct interp_memory *m = in->memory;
    uint64_t address = in->values[ins->a] + (uint64_t)ins->imm, expected = 0, old = 0;
    unsigned size = 1u << (ins->cc & 7);
    uint64_t mask = bits_mask(8 * size), operand = extend(ins->cc | IR_MS, in->values[ins->b]);
    int *signal = &in->exit->fault_signal, *code = &in->exit->fault_code;

    for (;;) {
        uint64_t desired =
            amo_result((enum ir_amo)ins->aux, extend(ins->cc | IR_MS, expected), operand, size);

        if (m->cas(m->opaque, address, size, expected, desired & mask, &old, signal, code)) {
            return fault(in, address);
        }
        if (old == expected) {
            break;
        }
        expected = old;
    }
    in->values[ins - in->unit->ins] = extend(ins->cc | IR_MS, old);
    return 0;
}

/* ---- calls ------------------------------------------------------------------------------- */

static int call(struct interp *in, unsigned index, const ir_ref *refs, uint64_t *result)
{
    const struct ir_helper *helper = &in->unit->target->helpers[index];
    const struct interp_memory *m = in->memory;
    uint64_t args[IR_MAX_HELPER_ARGS];

    for (unsigned i = 0; i < helper->nargs; i++) {
        args[i] = in->values[refs[i]];
    }
    if (helper->effects & (IR_H_READS_STATE | IR_H_MEMORY)) {
        store_pc(in, in->insn_pc);
    }
    if (helper->effects & IR_H_MEMORY && m->call != NULL) {
        return m->call(m->opaque, helper, in->state, args, result, &in->exit->fault_signal,
                       &in->exit->fault_code)
                   ? fault(in, 0)
                   : 0;
    }
    *result = interp_call(helper, in->state, args);
    return 0;
}

/* ---- integer arithmetic that C has not, or leaves undefined ------------------------------- */

static uint64_t mulh64(enum ir_opcode op, uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    uint64_t high = (uint64_t)(product >> 64);

    /* A negative number is its bits less 2^64: that subtracts the other factor from the high half.
     */
    if (op != IR_mulhu && (int64_t)a < 0) {
        high -= b;
    }
    if (op == IR_mulhs && (int64_t)b < 0) {
        high -= a;
    }
    return high;
}

static uint32_t mulh32(enum ir_opcode op, uint32_t a, uint32_t b)
{
    int64_t x = op == IR_mulhu ? (int64_t)a : (int32_t)a;
    int64_t y = op == IR_mulhs ? (int32_t)b : (int64_t)b;

    return (uint32_t)((uint64_t)x * (uint64_t)y >> 32);
}

static int64_t divs(int64_t a, int64_t b, bool remainder)
{
    if (b == 0) {
        return remainder ? a : -1;
    }
    if (b == -1) {
        return remainder ? 0 : (int64_t)(0 - (uint64_t)a);
    }
    return remainder ? a % b : a / b;
}

static uint64_t divu(uint64_t a, uint64_t b, bool remainder)
{
    if (b == 0) {
        return remainder ? a : UINT64_MAX;
    }
    return remainder ? a % b : a / b;
}

static bool holds(const struct ir_unit *unit, const uint64_t *v, unsigned cc, ir_ref a, ir_ref b)
{
    bool is32 = unit->ins[a].type == IR_I32;
    uint64_t x = v[a], y = v[b];

    if (is32) {
        x = (uint64_t)(int64_t)(int32_t)x;
        y = (uint64_t)(int64_t)(int32_t)y;
    }
    /* Sign extension keeps the unsigned order too. */
    switch ((enum ir_cc)cc) {
    case IR_EQ:
        return x == y;
    case IR_NE:
        return x != y;
    case IR_LT:
        return (int64_t)x < (int64_t)y;
    case IR_GE:
        return (int64_t)x >= (int64_t)y;
    case IR_LE:
        return (int64_t)x <= (int64_t)y;
    case IR_GT:
        return (int64_t)x > (int64_t)y;
    case IR_LTU:
        return x < y;
    case IR_GEU:
        return x >= y;
    case IR_LEU:
        return x <= y;
    case IR_GTU:
        return x > y;
    case IR_CC_COUNT:
        break;
    }
    return false;
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* Leaves for pc; the state is complete but for it. */
static int leave(struct interp *in, const struct ir_ins *ins, uint64_t pc)
{
    in->exit->op = (enum ir_opcode)ins->op;
    in->exit->pc = pc;
    store_pc(in, pc);
    return 0;
}

#define A     v[ins->a]
#define B     v[ins->b]
#define C     v[ins->c]
#define A32   ((uint32_t)A)
#define B32   ((uint32_t)B)
#define IS32  (ins->type == IR_I32)
#define ISF32 (ins->type == IR_F32)
#define TRY(call)            \
    do {                     \
        int error_ = (call); \
        if (error_) {        \
            return error_;   \
        }                    \
    } while (0)

static int run(struct interp *in)
{
    const struct ir_unit *unit = in->unit;
    const struct ir_ins *all = unit->ins;
    uint64_t *v = in->values;
    ir_ref at = unit->blocks[0].first;

    for (;;) {
        const struct ir_ins *ins = &all[at];

        switch ((enum ir_opcode)ins->op) {
        case IR_const:
            v[at] = (uint64_t)ins->imm;
            break;
        case IR_param:
            v[at] = in->passed[ins->imm];
            if (ins->aux != IR_NO_GLOBAL) {
                set_global(in, ins->aux, at);
            }
            break;
        case IR_insn:
            in->insn_pc = (uint64_t)ins->imm;
            break;
        case IR_gget:
            memcpy(&v[at], in->state + unit->target->globals[ins->aux].offset, sizeof(v[at]));
            break;
        case IR_gset:
            set_global(in, ins->aux, ins->a);
            break;
        case IR_jump:
            for (uint32_t i = 0; i < ins->b; i++) {
                in->passed[i] = v[unit->pool[ins->a + i]];
            }
            at = unit->blocks[ins->imm].first;
            continue;
        case IR_br: {
            uint64_t target = (uint64_t)ins->imm;

            if (!holds(unit, v, ins->cc, ins->a, ins->b)) {
                target >>= 32;
            }
            at = unit->blocks[(uint32_t)target].first;
            continue;
        }

        case IR_add:
            v[at] = A + B;
            break;
        case IR_sub:
            v[at] = A - B;
            break;
        case IR_mul:
            v[at] = A * B;
            break;
        case IR_mulhs:
        case IR_mulhu:
        case IR_mulhsu:
            v[at] = IS32 ? mulh32((enum ir_opcode)ins->op, A32, B32)
                         : mulh64((enum ir_opcode)ins->op, A, B);
            break;
        case IR_divs:
        case IR_rems:
            v[at] = IS32 ? (uint64_t)divs((int32_t)A, (int32_t)B, ins->op == IR_rems)
                         : (uint64_t)divs((int64_t)A, (int64_t)B, ins->op == IR_rems);
            break;
        case IR_divu:
        case IR_remu:
            v[at] = IS32 ? divu(A32, B32, ins->op == IR_remu) : divu(A, B, ins->op == IR_remu);
            break;
        case IR_and:
            v[at] = A & B;
            break;
        case IR_or:
            v[at] = A | B;
            break;
        case IR_xor:
            v[at] = A ^ B;
            break;
        case IR_andn:
            v[at] = A & ~B;
            break;
        case IR_shl:
            v[at] = IS32 ? A32 << (B & 31) : A << (B & 63);
            break;
        case IR_shr:
            v[at] = IS32 ? A32 >> (B & 31) : A >> (B & 63);
            break;
        case IR_sar:
            v[at] = IS32 ? (uint64_t)((int32_t)A >> (B & 31)) : (uint64_t)((int64_t)A >> (B & 63));
            break;
        case IR_rotl:
            v[at] = IS32 ? bits_rol32(A32, B & 31) : bits_rol64(A, B & 63);
            break;
        case IR_rotr:
            v[at] = IS32 ? bits_ror32(A32, B & 31) : bits_ror64(A, B & 63);
            break;
        case IR_clz:
            v[at] = IS32 ? bits_clz32(A32) : bits_clz64(A);
            break;
        case IR_ctz:
            v[at] = IS32 ? bits_ctz32(A32) : bits_ctz64(A);
            break;
        case IR_popcnt:
            v[at] = bits_popcount(IS32 ? A32 : A);
            break;
        case IR_bswap:
            v[at] = IS32 ? bits_bswap32(A32) : bits_bswap64(A);
            break;
        case IR_sext8:
            v[at] = (uint64_t)(int64_t)(int8_t)A;
            break;
        case IR_sext16:
            v[at] = (uint64_t)(int64_t)(int16_t)A;
            break;
        case IR_zext8:
            v[at] = (uint8_t)A;
            break;
        case IR_zext16:
            v[at] = (uint16_t)A;
            break;
        case IR_trunc:
        case IR_zext:
            v[at] = A32;
            break;
        case IR_sext:
            v[at] = (uint64_t)(int64_t)(int32_t)A;
            break;
        case IR_icmp:
            v[at] = holds(unit, v, ins->cc, ins->a, ins->b);
            break;
        case IR_select:
            v[at] = (all[ins->a].type == IR_I32 ? A32 : A) ? B : C;
            break;
        case IR_bitcast:
            v[at] = A;
            break;

        case IR_ld:
            TRY(load(in, ins));
            break;
        case IR_st:
            TRY(store(in, ins));
            break;
        case IR_amo:
            TRY(amo(in, ins));
            break;
        case IR_cas:
            TRY(cas(in, ins));
            break;
        case IR_fence:
            atomic_thread_fence(ins->aux ? memory_order_seq_cst : memory_order_acq_rel);
            break;
        case IR_cpu_ld:
            v[at] = state_load(in, ins->cc, ins->imm);
            break;
        case IR_cpu_st:
            memcpy(in->state + ins->imm, &A, 1u << (ins->cc & 7));
            break;

        case IR_fadd:
            v[at] = ISF32 ? interp_fadd32(A, B) : interp_fadd64(A, B);
            break;
        case IR_fsub:
            v[at] = ISF32 ? interp_fsub32(A, B) : interp_fsub64(A, B);
            break;
        case IR_fmul:
            v[at] = ISF32 ? interp_fmul32(A, B) : interp_fmul64(A, B);
            break;
        case IR_fdiv:
            v[at] = ISF32 ? interp_fdiv32(A, B) : interp_fdiv64(A, B);
            break;
        case IR_fsqrt:
            v[at] = ISF32 ? interp_fsqrt32(A) : interp_fsqrt64(A);
            break;
        case IR_fma:
            v[at] = ISF32 ? interp_fma32(ins->aux, A, B, C) : interp_fma64(ins->aux, A, B, C);
            break;
        case IR_fneg:
            v[at] = A ^ (ISF32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63);
            break;
        case IR_fabs:
            v[at] = A & ~(ISF32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63);
            break;
        case IR_fcopysign: {
            uint64_t sign = ISF32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63;

            v[at] = (A & ~sign) | (B & sign);
            break;
        }
        case IR_fxorsign:
            v[at] = A ^ (B & (ISF32 ? UINT64_C(1) << 31 : UINT64_C(1) << 63));
            break;
        case IR_fcmp:
            v[at] = all[ins->a].type == IR_F32 ? interp_fcmp32((enum ir_fcc)ins->cc, A, B)
                                               : interp_fcmp64((enum ir_fcc)ins->cc, A, B);
            break;
        case IR_fpromote:
            v[at] = interp_fpromote(A);
            break;
        case IR_fdemote:
            v[at] = interp_fdemote(A);
            break;
        case IR_i2f:
            if (all[ins->a].type == IR_I32) {
                v[at] = ISF32 ? interp_i32_to_f32((int32_t)A) : interp_i32_to_f64((int32_t)A);
            } else {
                v[at] = ISF32 ? interp_i64_to_f32((int64_t)A) : interp_i64_to_f64((int64_t)A);
            }
            break;
        case IR_f2i:
            if (all[ins->a].type == IR_F32) {
                v[at] = IS32 ? (uint64_t)interp_f32_to_i32(ins->aux, A)
                             : (uint64_t)interp_f32_to_i64(ins->aux, A);
            } else {
                v[at] = IS32 ? (uint64_t)interp_f64_to_i32(ins->aux, A)
                             : (uint64_t)interp_f64_to_i64(ins->aux, A);
            }
            break;
        case IR_fcanon:
            if (ISF32) {
                v[at] = interp_isnan32(A) ? INTERP_F32_QNAN : A;
            } else {
                v[at] = interp_isnan64(A) ? INTERP_F64_QNAN : A;
            }
            break;
        case IR_fbox:
            v[at] = A32 | UINT64_C(0xffffffff00000000);
            break;
        case IR_funbox:
            v[at] = A >> 32 == UINT32_MAX ? A32 : INTERP_F32_QNAN;
            break;
        case IR_fflags_get:
            v[at] = interp_fflags_get();
            break;
        case IR_fflags_set:
            interp_fflags_set(A32);
            break;
        case IR_frm_set:
            interp_frm_set(A32);
            break;

        case IR_call:
            TRY(call(in, (unsigned)ins->imm, &unit->pool[ins->a], &v[at]));
            break;
        case IR_callif: {
            const ir_ref *pool = &unit->pool[ins->a];

            if (holds(unit, v, ins->cc, pool[0], pool[1])) {
                TRY(call(in, (unsigned)ins->imm, pool + 3, &v[at]));
            } else {
                v[at] = v[pool[2]];
            }
            break;
        }

        case IR_exit_jump:
            return leave(in, ins, (uint64_t)ins->imm);
        case IR_exit_br:
            return leave(in, ins, holds(unit, v, ins->cc, ins->a, ins->b) ? (uint64_t)ins->imm : C);
        case IR_exit_lookup:
        case IR_exit_ret:
            return leave(in, ins, A);
        case IR_exit_call:
            in->exit->return_pc = C;
            return leave(in, ins, ins->a ? A : (uint64_t)ins->imm);
        case IR_exit_loop:
            in->exit->reason = ins->aux;
            return leave(in, ins, ins->a ? A : (uint64_t)ins->imm);
        case IR_OP_COUNT:
            break;
        }
        at = ins->next;
    }
}

int interp_run(const struct ir_unit *unit, void *state, const struct interp_memory *memory,
               struct interp_exit *exit)
{
    size_t count = (size_t)unit->ins_count + unit->pool_count;
    uint64_t on_stack[INLINE_VALUES];
    struct interp in = {
        .unit = unit,
        .values = on_stack,
        .state = state,
        .memory = memory,
        .exit = exit,
        .insn_pc = unit->pc,
    };
    struct arena arena;
    int result;

    memset(exit, 0, sizeof(*exit));
    arena_init(&arena, 0);
    if (count > INLINE_VALUES) {
        in.values = arena_alloc(&arena, count * sizeof(*in.values));
        if (!in.values) {
            return -ENOMEM;
        }
    }
    /* A void callif without a default refers to IR_NONE. */
    in.values[IR_NONE] = 0;
    in.passed = in.values + unit->ins_count;
    result = run(&in);
    arena_destroy(&arena);
    return result;
}
