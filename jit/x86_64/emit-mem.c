/*
 * Memory: loads, stores, atomics, fences, and the fields of the vCPU state. Behind a TLB, the code
 * around an access is emit-tlb.c's.
 */
#include "jit/x86_64/compile.h"

/* The operand for guest address `ref` + offset; the registers in it are locked. */
static struct x86_mem guest_mem(struct x86_compiler *c, ir_ref ref, int64_t offset)
{
    struct x86_parts parts = x86_parts(c, x86_resolve(c, ref), offset);
    struct x86_mem mem = x86_use_parts(c, &parts);

    mem.seg = c->layout->memory == JIT_MEM_SEGMENT;
    return mem;
}

/* Integer load of any width; d: destination. */
static void load_int(struct x86_compiler *c, int d, struct x86_mem mem, unsigned size, bool w)
{
    switch (size) {
    case IR_M8:
        x86_rm(c->a, X86_OP(1, 0, 0xb6), false, d, mem);
        break;
    case IR_M16:
        x86_rm(c->a, X86_OP(1, 0, 0xb7), false, d, mem);
        break;
    case IR_M8 | IR_MS:
        x86_rm(c->a, X86_OP(1, 0, 0xbe), w, d, mem);
        break;
    case IR_M16 | IR_MS:
        x86_rm(c->a, X86_OP(1, 0, 0xbf), w, d, mem);
        break;
    case IR_M32 | IR_MS:
        if (w) {
            x86_rm(c->a, 0x63, true, d, mem);
        } else {
            x86_load(c->a, false, d, mem);
        }
        break;
    case IR_M32:
        x86_load(c->a, false, d, mem);
        break;
    default:
        x86_load(c->a, true, d, mem);
        break;
    }
}

static void store_int(struct x86_compiler *c, int from, struct x86_mem mem, unsigned size)
{
    switch (size & 7) {
    case IR_M8:
        x86_rm8(c->a, 0x88, from, mem);
        break;
    case IR_M16:
        x86_rm(c->a, X86_OP(0, 0x66, 0x89), false, from, mem);
        break;
    case IR_M32:
        x86_store(c->a, false, from, mem);
        break;
    default:
        x86_store(c->a, true, from, mem);
        break;
    }
}

static bool behind_tlb(const struct x86_compiler *c)
{
    return c->layout->memory == JIT_MEM_TLB;
}

static void emit_load(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    struct x86_parts parts = x86_parts(c, x86_resolve(c, ins->a), ins->imm);
    struct x86_mem mem;
    struct x86_tlb tlb;
    int d;

    if (behind_tlb(c)) {
        x86_tlb_prepare(c, &tlb, JIT_ACCESS_LOAD, ins);
    }
    mem = guest_mem(c, ins->a, ins->imm);
    if (behind_tlb(c)) {
        x86_tlb_temps(c, &tlb);
    }
    x86_mark(c);
    x86_consume_parts(c, &parts);
    /* if the load faults, its destination still holds what it held: even what only the fault needs
     */
    c->live_from = c->pos + 1;
    d = x86_def(c, ref);
    if (behind_tlb(c)) {
        mem = x86_tlb_begin(c, &tlb, mem);
        tlb.access.dest = (uint8_t)d;
    } else {
        x86_mark_here(c);
    }
    if (ins->type == IR_F64) {
        x86_rm(c->a, X86_OP(1, 0xf2, 0x10), false, d - REG_FP, mem);
    } else if (ins->type == IR_F32) {
        x86_rm(c->a, X86_OP(1, 0xf3, 0x10), false, d - REG_FP, mem);
    } else {
        load_int(c, d, mem, ins->cc, ins->type == IR_I64);
    }
    if (behind_tlb(c)) {
        x86_tlb_end(c, &tlb);
    }
}

static void store_const(struct x86_compiler *c, int32_t imm, struct x86_mem mem, unsigned size)
{
    switch (size) {
    case IR_M8:
        x86_rm(c->a, 0xc6, false, 0, mem);
        x86_u8(c->a, (uint8_t)imm);
        break;
    case IR_M16:
        x86_rm(c->a, X86_OP(0, 0x66, 0xc7), false, 0, mem);
        x86_u8(c->a, (uint8_t)imm);
        x86_u8(c->a, (uint8_t)(imm >> 8));
        break;
    default:
        x86_store_imm(c->a, size == IR_M64, imm, mem);
        break;
    }
}

static void emit_store(struct x86_compiler *c, const struct ir_ins *ins)
{
    ir_ref value = x86_resolve(c, ins->b);
    struct x86_mem mem;
    struct x86_tlb tlb;
    int64_t constant;
    bool direct = x86_const(c, value, &constant) && ir_type_is_int(x86_ins(c, ins->b)->type) &&
                  (constant == (int32_t)constant || (ins->cc < IR_M64 && !behind_tlb(c)));
    int from = JIT_NO_REG;

    if (behind_tlb(c)) {
        x86_tlb_prepare(c, &tlb, JIT_ACCESS_STORE, ins);
    }
    mem = guest_mem(c, ins->a, ins->imm);
    if (!direct) {
        from = x86_use(c, value);
    }
    if (behind_tlb(c)) {
        x86_tlb_temps(c, &tlb);
    }
    x86_mark(c);
    if (behind_tlb(c)) {
        mem = x86_tlb_begin(c, &tlb, mem);
        tlb.access.value = (uint8_t)from;
        tlb.access.imm = direct ? (int32_t)constant : 0;
    } else {
        x86_mark_here(c);
    }
    if (direct) {
        store_const(c, (int32_t)constant, mem, ins->cc);
    } else if (from >= REG_FP) {
        bool wide = ins->cc == IR_M64;
        x86_rm(c->a, wide ? X86_OP(1, 0xf2, 0x11) : X86_OP(1, 0xf3, 0x11), false, from - REG_FP,
               mem);
    } else {
        store_int(c, from, mem, ins->cc);
    }
    if (behind_tlb(c)) {
        x86_tlb_end(c, &tlb);
    }
}

static void sign_extend(struct x86_compiler *c, int reg, unsigned size, bool w)
{
    if (size == IR_M8) {
        x86_reserve(c->a);
        x86_opcode(c->a, X86_OP(1, 0, 0xbe), w, reg >= 4, reg, 0, reg);
        x86_u8(c->a, 0xc0 | (reg & 7) << 3 | (reg & 7));
    } else if (size == IR_M16) {
        x86_rr(c->a, X86_OP(1, 0, 0xbf), w, reg, reg);
    } else if (size == IR_M32 && w) {
        x86_rr(c->a, 0x63, true, reg, reg);
    }
}

/* An instruction of the 0f-map or one-byte map in its width: byte forms have opcode - 1. */
static void sized_rm(struct x86_compiler *c, unsigned map, unsigned opcode, bool lock, int reg,
                     struct x86_mem mem, unsigned size)
{
    x86_reserve(c->a);
    if (lock) {
        x86_u8(c->a, 0xf0);
    }
    if (size == IR_M8) {
        x86_rm8(c->a, X86_OP(map, 0, opcode - 1), reg, mem);
    } else {
        x86_rm(c->a, X86_OP(map, size == IR_M16 ? 0x66u : 0u, opcode), size == IR_M64, reg, mem);
    }
}

static void emit_amo_loop(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins, bool w)
{
    ir_ref value = x86_resolve(c, ins->b);
    bool wide = ins->cc == IR_M64;
    enum ir_amo op = (enum ir_amo)ins->aux;
    uint32_t again;
    int y, t;
    struct x86_mem mem;
    struct x86_tlb tlb;

    x86_use(c, x86_resolve(c, ins->a));
    x86_use(c, value);
    if (behind_tlb(c)) {
        x86_tlb_prepare(c, &tlb, JIT_ACCESS_AMO, ins);
    }
    x86_take(c, RAX);
    mem = guest_mem(c, ins->a, ins->imm);
    y = x86_use(c, value);
    t = x86_temp(c, false);
    if (op >= IR_AMO_MIN && ins->cc < IR_M32) {
        /* compare narrow values in 32-bit registers, extended alike */
        int narrow = x86_temp(c, false);
        bool sign = op == IR_AMO_MIN || op == IR_AMO_MAX;
        unsigned ext = (ins->cc == IR_M8 ? 0xb6u : 0xb7u) + (sign ? 8 : 0);

        x86_reserve(c->a);
        x86_opcode(c->a, X86_OP(1, 0, ext), false, ins->cc == IR_M8 && y >= 4, narrow, 0, y);
        x86_u8(c->a, 0xc0 | (narrow & 7) << 3 | (y & 7));
        y = narrow;
    }
    if (behind_tlb(c)) {
        x86_tlb_temps(c, &tlb);
    }
    x86_mark(c);
    if (behind_tlb(c)) {
        mem = x86_tlb_begin(c, &tlb, mem);
        tlb.access.value = (uint8_t)y;
        tlb.access.dest = RAX;
    } else {
        x86_mark_here(c);
    }
    load_int(c, RAX, mem, ins->cc | (op == IR_AMO_MIN || op == IR_AMO_MAX ? IR_MS : 0), false);
    again = c->a->size;
    x86_mov_rr(c->a, wide, t, RAX);
    switch (op) {
    case IR_AMO_AND:
        x86_alu_rr(c->a, ALU_AND, wide, t, y);
        break;
    case IR_AMO_OR:
        x86_alu_rr(c->a, ALU_OR, wide, t, y);
        break;
    case IR_AMO_XOR:
        x86_alu_rr(c->a, ALU_XOR, wide, t, y);
        break;
    default: {
        static const uint8_t keep_other[] = {X86_G, X86_L, X86_A, X86_B}; /* min max minu maxu */
        if (ins->cc < IR_M32) {
            /* cmpxchg renews only the low part of eax */
            bool sign = op == IR_AMO_MIN || op == IR_AMO_MAX;
            unsigned ext = (ins->cc == IR_M8 ? 0xb6u : 0xb7u) + (sign ? 8 : 0);
            x86_rr(c->a, X86_OP(1, 0, ext), false, t, RAX);
        }
        x86_alu_rr(c->a, ALU_CMP, wide, t, y);
        x86_cmov(c->a, (enum x86_cond)keep_other[op - IR_AMO_MIN], wide, t, y);
        break;
    }
    }
    if (!behind_tlb(c)) {
        x86_mark_here(c);
    }
    sized_rm(c, 1, 0xb1, true, t, mem, ins->cc);
    x86_patch(c->a, x86_jcc(c->a, X86_NE), again);
    sign_extend(c, RAX, ins->cc, w);
    if (behind_tlb(c)) {
        x86_tlb_end(c, &tlb);
    }
    x86_def_in(c, ref, RAX);
}

static void emit_amo(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    bool w = ins->type == IR_I64;
    ir_ref value = x86_resolve(c, ins->b);
    struct x86_mem mem;
    struct x86_tlb tlb;
    int d;

    if (ins->aux != IR_AMO_SWAP && ins->aux != IR_AMO_ADD) {
        emit_amo_loop(c, ref, ins, w);
        return;
    }
    if (behind_tlb(c)) {
        x86_tlb_prepare(c, &tlb, JIT_ACCESS_AMO, ins);
    }
    mem = guest_mem(c, ins->a, ins->imm);
    x86_use(c, value);
    d = x86_temp(c, false);
    if (behind_tlb(c)) {
        x86_tlb_temps(c, &tlb);
    }
    x86_load_value(c, value, d);
    x86_mark(c);
    if (behind_tlb(c)) {
        mem = x86_tlb_begin(c, &tlb, mem);
        tlb.access.value = (uint8_t)d;
        tlb.access.dest = (uint8_t)d;
    } else {
        x86_mark_here(c);
    }
    if (ins->aux == IR_AMO_SWAP) {
        sized_rm(c, 0, 0x87, false, d, mem, ins->cc); /* xchg locks by itself */
    } else {
        sized_rm(c, 1, 0xc1, true, d, mem, ins->cc); /* xadd */
    }
    sign_extend(c, d, ins->cc, w);
    if (behind_tlb(c)) {
        x86_tlb_end(c, &tlb);
    }
    x86_def_in(c, ref, d);
}

static void emit_cas(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    ir_ref expected = x86_resolve(c, ins->b), desired = x86_resolve(c, ins->c);
    struct x86_mem mem;
    struct x86_tlb tlb;
    int z;

    x86_use(c, x86_resolve(c, ins->a));
    x86_use(c, desired);
    if (behind_tlb(c)) {
        x86_tlb_prepare(c, &tlb, JIT_ACCESS_CAS, ins);
    }
    x86_take(c, RAX);
    mem = guest_mem(c, ins->a, ins->imm);
    z = x86_use(c, desired);
    if (behind_tlb(c)) {
        x86_tlb_temps(c, &tlb);
    }
    x86_load_value(c, expected, RAX);
    x86_mark(c);
    if (behind_tlb(c)) {
        mem = x86_tlb_begin(c, &tlb, mem);
        tlb.access.value = (uint8_t)z;
        tlb.access.dest = RAX;
    } else {
        x86_mark_here(c);
    }
    sized_rm(c, 1, 0xb1, true, z, mem, ins->cc);
    sign_extend(c, RAX, ins->cc, ins->type == IR_I64);
    if (behind_tlb(c)) {
        x86_tlb_end(c, &tlb);
    }
    x86_def_in(c, ref, RAX);
}

bool x86_emit_mem(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_ld:
        emit_load(c, ref, ins);
        break;
    case IR_st:
        emit_store(c, ins);
        break;
    case IR_amo:
        emit_amo(c, ref, ins);
        break;
    case IR_cas:
        emit_cas(c, ref, ins);
        break;
    case IR_fence:
        if (ins->aux) {
            x86_reserve(c->a); /* lock or dword [rsp - 4], 0: a full barrier, cheaper than mfence */
            x86_u8(c->a, 0xf0);
            x86_alu_mem_imm(c->a, ALU_OR, false, x86_mem(RSP, -4), 0);
        }
        break;
    case IR_cpu_ld:
        load_int(c, x86_def(c, ref), x86_state(c, (uint32_t)ins->imm), ins->cc,
                 ins->type == IR_I64);
        break;
    case IR_cpu_st: {
        ir_ref value = x86_resolve(c, ins->a);
        int64_t constant;

        if (x86_const(c, value, &constant) && (constant == (int32_t)constant || ins->cc < IR_M64)) {
            store_const(c, (int32_t)constant, x86_state(c, (uint32_t)ins->imm), ins->cc);
        } else {
            store_int(c, x86_use(c, value), x86_state(c, (uint32_t)ins->imm), ins->cc);
        }
        break;
    }
    default:
        return false;
    }
    return true;
}
