/*
 * Guest memory behind a TLB: the inline probe, and the way around it.
 *
 *     lea  page, [address]
 *     and  page, -4096 | size - 1      what should be zero stays in, so misaligned never matches
 *     rorx entry, page, 9
 *     add  entry, page
 *     shr  entry, 7
 *     and  entry, [tlb_mask]
 *     add  entry, [tlb_table]
 *     cmp  page, [entry.load_tag]
 *     jne  slow
 *     mov  entry, [entry.addend]
 *     ...  [entry + address]
 *
 * The slow way is a call of JIT_THUNK_SLOW with a struct jit_access behind it. It does the whole
 * access, result included, and comes back behind the inline code. A fault finds the guest's
 * registers by the mark at the probe: nothing has been changed by then but temporaries.
 */
#include "jit/x86_64/compile.h"

void x86_tlb_temps(struct x86_compiler *c, struct x86_tlb *tlb)
{
    tlb->page = x86_temp(c, false);
    tlb->entry = x86_temp(c, false);
}

static void rotate(struct x86_compiler *c, int to, int from, unsigned count)
{
    if (c->feat->bmi2) {
        x86_vex_rr(c->a, 3, 3, 0xf0, true, to, 0, from);
        x86_u8(c->a, count);
    } else {
        x86_mov_rr(c->a, true, to, from);
        x86_shift_imm(c->a, SH_ROR, true, to, count);
    }
}

static uint8_t reg_or_none(int reg)
{
    return reg == REG_NONE ? JIT_NO_REG : (uint8_t)reg;
}

struct x86_mem x86_tlb_begin(struct x86_compiler *c, struct x86_tlb *tlb, enum jit_access_kind kind,
                             const struct ir_ins *ins, struct x86_mem guest)
{
    int32_t size = 1 << (ins->cc & 7);
    size_t tag = kind == JIT_ACCESS_LOAD ? offsetof(struct jit_tlb_entry, load_tag)
                                         : offsetof(struct jit_tlb_entry, store_tag);
    struct x86_mem host = x86_mem(tlb->entry, guest.disp);
    struct x86_mem addend = x86_mem(tlb->entry, (int32_t)offsetof(struct jit_tlb_entry, addend));

    _Static_assert(IR_M8 == 0 && IR_M16 == 1 && IR_M32 == 2 && IR_M64 == 3, "sizes by their log2");
    x86_mark_here(c);
    tlb->access = (struct jit_access){
        .mark = c->a->size,
        .disp = guest.disp,
        .kind = (uint8_t)kind,
        .mem = (uint8_t)ins->cc,
        .base = reg_or_none(guest.base),
        .index = reg_or_none(guest.index),
        .scale = guest.scale,
        .value = JIT_NO_REG,
        .dest = JIT_NO_REG,
        .amo = (uint8_t)ins->aux,
        .wide = ins->type == IR_I64,
    };
    if (guest.disp || guest.index != REG_NONE || guest.base == REG_NONE) {
        x86_lea(c->a, true, tlb->page, guest);
    } else {
        x86_mov_rr(c->a, true, tlb->page, guest.base);
    }
    x86_alu_imm(c->a, ALU_AND, true, tlb->page, -(1 << JIT_PAGE_BITS) | (size - 1));
    rotate(c, tlb->entry, tlb->page, 9);
    x86_alu_rr(c->a, ALU_ADD, true, tlb->entry, tlb->page);
    x86_shift_imm(c->a, SH_SHR, true, tlb->entry, 7);
    x86_alu_rm(c->a, ALU_AND, true, tlb->entry, x86_state(c, c->layout->tlb_mask));
    x86_alu_rm(c->a, ALU_ADD, true, tlb->entry, x86_state(c, c->layout->tlb_table));
    x86_alu_rm(c->a, ALU_CMP, true, tlb->page, x86_mem(tlb->entry, (int32_t)tag));
    tlb->slow = x86_jcc(c->a, X86_NE);
    x86_load(c->a, true, tlb->entry, addend);
    host.index = guest.base;
    if (guest.base != REG_NONE && guest.index != REG_NONE) {
        struct x86_mem both = {
            .base = (int8_t)tlb->entry, .index = guest.index, .scale = guest.scale};

        x86_lea(c->a, true, tlb->entry, both);
    } else if (guest.index != REG_NONE) {
        host.index = guest.index;
        host.scale = guest.scale;
    }
    return host;
}

void x86_tlb_end(struct x86_compiler *c, struct x86_tlb *tlb)
{
    x86_cold_begin(c, tlb->slow);
    x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_SLOW);
    x86_reserve(c->a);
    memcpy(c->a->base + c->a->size, &tlb->access, sizeof(tlb->access));
    c->a->size += sizeof(tlb->access);
    x86_cold_end(c, true);
}
