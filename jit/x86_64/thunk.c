/*
 * The fixed code around units: in from C, out to C, and the slow ways from unit to unit.
 *
 * C's frame, from the top: the saved registers, a spare word, and the bottom entry of the shadow
 * stack: guest pc 0, and the way that returns take which do not match. (No pc would be one that no
 * return has: a guest may return to any address, and to odd ones before they are made even.)
 * host_sp points at that entry, so emptying the shadow stack is one load of rsp.
 */
#include "jit/x86_64/compile.h"

struct thunks {
    struct x86_asm a;
    const struct ir_target *target;
    const struct jit_layout *layout;
    const struct jit_x86_hooks *hooks;
    int8_t pin[IR_MAX_GLOBALS];
    int32_t bias;
};

static struct x86_mem state(const struct thunks *t, uint32_t offset)
{
    return x86_mem(REG_STATE, (int32_t)offset - t->bias);
}

static void move_pins(struct thunks *t, bool to_homes)
{
    for (unsigned g = 0; g < t->target->global_count; g++) {
        struct x86_mem home = state(t, t->target->globals[g].offset);
        int reg = t->pin[g];

        if (reg < 0) {
            continue;
        }
        if (reg >= REG_FP) {
            x86_rm(&t->a, to_homes ? X86_OP(1, 0x66, 0xd6) : X86_OP(1, 0xf3, 0x7e), false,
                   reg - REG_FP, home);
        } else if (to_homes) {
            x86_store(&t->a, true, reg, home);
        } else {
            x86_load(&t->a, true, reg, home);
        }
    }
}

static const int8_t saved[] = {RBP, RBX, R12, R13, R14, R15};

/* Returns where the displacement to the thunk for returns that miss is to be filled in. */
static uint32_t enter(struct thunks *t)
{
    struct x86_asm *a = &t->a;
    uint32_t miss;

    for (unsigned i = 0; i < sizeof(saved); i++) {
        x86_push(a, saved[i]);
    }
    x86_alu_imm(a, ALU_SUB, true, RSP, 24);
    x86_reserve(a); /* lea rcx, [rip + miss] */
    x86_u8(a, 0x48);
    x86_u8(a, 0x8d);
    x86_u8(a, 0x0d);
    x86_u32(a, 0);
    miss = a->size - 4;
    x86_store(a, true, RCX, x86_mem(RSP, 0));
    x86_store_imm(a, true, 0, x86_mem(RSP, 8));
    x86_lea(a, true, RBP, x86_mem(RDI, t->bias));
    x86_store(a, true, RSP, state(t, t->layout->host_sp));
    x86_mov_rr(a, true, RAX, RSI);
    move_pins(t, false);
    x86_rr(a, 0xff, false, 4, RAX);
    return miss;
}

static void leave(struct thunks *t)
{
    struct x86_asm *a = &t->a;

    x86_load(a, true, RSP, state(t, t->layout->host_sp));
    x86_alu_imm(a, ALU_ADD, true, RSP, 24);
    for (unsigned i = sizeof(saved); i-- > 0;) {
        x86_pop(a, saved[i]);
    }
    x86_reserve(a);
    x86_u8(a, 0xc3);
}

/* Pins are home; calls hook(state, rsi), and goes on at the code it returns, or to `out` for the
 * run loop. */
static void resolve(struct thunks *t, const void *hook, uint32_t out)
{
    struct x86_asm *a = &t->a;
    x86_lea(a, true, RDI, x86_mem(REG_STATE, -t->bias));
    x86_mov_imm(a, RAX, (int64_t)(uintptr_t)hook);
    x86_rr(a, 0xff, false, 2, RAX);
    x86_rr(a, 0x85, true, RAX, RAX);
    x86_patch(a, x86_jcc(a, X86_E), out);
    move_pins(t, false);
    x86_rr(a, 0xff, false, 4, RAX);
}

/*
 * A memory access goes the slow way. The frame is a struct jit_host_regs; everything comes back
 * from it, for the access's result is written there. A struct jit_access stands behind the call.
 */
static void slow(struct thunks *t, uint32_t out)
{
    struct x86_asm *a = &t->a;
    int32_t frame = (int32_t)sizeof(struct jit_host_regs) + 8;
    uint32_t gone;

    _Static_assert(sizeof(struct jit_host_regs) % 16 == 0, "the stack stays aligned");
    x86_alu_imm(a, ALU_SUB, true, RSP, frame);
    for (int reg = 0; reg < 16; reg++) {
        if (reg != RSP && reg != RBP) {
            x86_store(a, true, reg, x86_mem(RSP, reg * 8));
        }
        x86_rm(a, X86_OP(1, 0x66, 0xd6), false, reg, x86_mem(RSP, 128 + reg * 8));
    }
    x86_lea(a, true, RDI, x86_mem(REG_STATE, -t->bias));
    x86_mov_rr(a, true, RSI, RSP);
    x86_load(a, true, RDX, x86_mem(RSP, frame));
    x86_mov_imm(a, RAX, (int64_t)(uintptr_t)t->hooks->slow);
    x86_rr(a, 0xff, false, 2, RAX);
    x86_rr(a, 0x84, false, RAX, RAX);
    gone = x86_jcc(a, X86_E);
    x86_alu_mem_imm(a, ALU_ADD, true, x86_mem(RSP, frame), (int32_t)sizeof(struct jit_access));
    for (int reg = 0; reg < 16; reg++) {
        if (reg != RSP && reg != RBP) {
            x86_load(a, true, reg, x86_mem(RSP, reg * 8));
        }
        x86_rm(a, X86_OP(1, 0xf3, 0x7e), false, reg, x86_mem(RSP, 128 + reg * 8));
    }
    x86_alu_imm(a, ALU_ADD, true, RSP, frame);
    x86_reserve(a);
    x86_u8(a, 0xc3);
    x86_patch(a, gone, out);
}

/* Flags of MXCSR: IE 0, DE 1, ZE 2, OE 3, UE 4, PE 5. Ours: NV 4, DZ 3, OF 2, UF 1, NX 0. DE is
 * lost. */
static void flag_table(struct thunks *t)
{
    for (unsigned m = 0; m < 64; m++) {
        x86_reserve(&t->a);
        x86_u8(&t->a, (m & 1) << 4 | (m >> 2 & 1) << 3 | (m >> 3 & 1) << 2 | (m >> 4 & 1) << 1 |
                          (m >> 5 & 1));
    }
    for (unsigned f = 0; f < 32; f++) {
        x86_reserve(&t->a);
        x86_u8(&t->a, (f >> 4 & 1) | (f >> 3 & 1) << 2 | (f >> 2 & 1) << 3 | (f >> 1 & 1) << 4 |
                          (f & 1) << 5);
    }
}

void jit_x86_thunks(const struct ir_target *target, const struct jit_layout *layout,
                    const struct jit_x86_hooks *hooks, struct jit_code *code,
                    uint32_t offset[JIT_THUNK_COUNT])
{
    struct thunks t = {
        .target = target, .layout = layout, .hooks = hooks, .bias = jit_x86_bias(target)};
    struct x86_asm *a = &t.a;
    int32_t mask = (int32_t)(((1u << layout->jump_cache_bits) - 1) << 1);
    struct x86_mem entry = {.base = RDX, .index = RCX, .scale = 3};
    uint32_t bottom;

    jit_x86_pins(target, t.pin);
    x86_reserve(a);

    offset[JIT_THUNK_ENTER] = a->size;
    bottom = enter(&t);

    offset[JIT_THUNK_EXIT] = a->size;
    move_pins(&t, true);
    offset[JIT_THUNK_FAULT] = a->size;
    leave(&t);

    offset[JIT_THUNK_POLL] = a->size;
    x86_store(a, true, RAX, state(&t, hooks->pc_offset));
    x86_store_imm(a, false, (int32_t)hooks->reason_poll, state(&t, layout->exit_reason));
    x86_patch(a, x86_jmp(a), offset[JIT_THUNK_EXIT]);

    offset[JIT_THUNK_LINK] = a->size;
    move_pins(&t, true);
    x86_mov_rr(a, false, RSI, RAX);
    resolve(&t, (const void *)hooks->link, offset[JIT_THUNK_FAULT]);

    offset[JIT_THUNK_CALL] = a->size;
    if (hooks->call) {
        move_pins(&t, true);
        resolve(&t, (const void *)hooks->call, offset[JIT_THUNK_FAULT]);
    }

    offset[JIT_THUNK_MISS] = a->size;
    x86_patch(a, bottom, a->size);
    x86_load(a, true, RSP, state(&t, layout->host_sp));
    x86_mov_rr(a, false, RCX, RAX);
    x86_load(a, true, RDX, state(&t, layout->jump_cache));
    x86_alu_imm(a, ALU_AND, false, RCX, mask);
    x86_alu_rm(a, ALU_CMP, true, RAX, entry);
    uint32_t miss = x86_jcc(a, X86_NE);
    entry.disp = 8;
    x86_rm(a, 0xff, false, 4, entry);
    x86_patch(a, miss, a->size);

    offset[JIT_THUNK_LOOKUP] = a->size;
    move_pins(&t, true);
    x86_store(a, true, RAX, state(&t, hooks->pc_offset));
    x86_mov_rr(a, true, RSI, RAX);
    resolve(&t, (const void *)hooks->lookup, offset[JIT_THUNK_FAULT]);

    offset[JIT_THUNK_SLOW] = a->size;
    if (layout->memory == JIT_MEM_TLB) {
        slow(&t, offset[JIT_THUNK_FAULT]);
    }

    offset[JIT_THUNK_FLAG_TABLE] = a->size;
    flag_table(&t);

    free(code->bytes);
    code->bytes = a->base;
    code->size = a->size;
    code->cap = a->cap;
}
