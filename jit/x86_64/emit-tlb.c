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
 * Several accesses through the same base with displacements close to each other (a frame, a
 * structure) share a probe, which then also makes sure that their first and last byte are in one
 * page. The addend stays in its register, as long as nobody else needs that, and the others only
 * test it:
 *
 *     test entry, entry
 *     je   slow
 *     ...  [entry + address]
 *
 * The slow way is a call of JIT_THUNK_SLOW with a struct jit_access behind it. It does the whole
 * access, result included, and comes back behind the inline code; the first of a group clears the
 * addend, so that the others go the slow way as well. A fault finds the guest's registers by the
 * mark at the probe: nothing has been changed by then but temporaries.
 */
#include "jit/x86_64/compile.h"

enum {
    LOOK_AHEAD = 40,  /* ops */
    GROUP_SPAN = 512, /* bytes from the first to the last: larger ones would often cross a page */
};

static bool joins_group(struct x86_compiler *c, const struct x86_tlb *tlb, const struct ir_ins *ins,
                        int32_t *first, int32_t *last)
{
    struct x86_parts parts = x86_parts(c, x86_resolve(c, ins->a), ins->imm);

    *first = parts.disp;
    *last = parts.disp + (1 << (ins->cc & 7)) - 1;
    return parts.base == tlb->parts.base && parts.index == IR_NONE;
}

/*
 * How far the accesses that follow go, as long as they may share this one's probe. A load asks for
 * the leave to store if a store is sure to come.
 */
static void look_ahead(struct x86_compiler *c, struct x86_tlb *tlb)
{
    bool sure = true;
    uint32_t end = c->at + LOOK_AHEAD < c->seq_count ? c->at + LOOK_AHEAD : c->seq_count;

    for (uint32_t i = c->at + 1; i < end; i++) {
        const struct ir_ins *ins = x86_ins(c, c->seq[i].ref);
        int32_t first, last;

        if (c->seq[i].side || c->val[c->seq[i].ref].dead) {
            continue;
        }
        if (ins->op == IR_call || ins->op == IR_callif ||
            (c->joins && c->seq[i].block != c->seq[c->at].block)) {
            return;
        }
        sure &= ins->op != IR_br;
        if ((ins->op != IR_ld && (ins->op != IR_st || (!tlb->store && !sure))) ||
            !joins_group(c, tlb, ins, &first, &last)) {
            continue;
        }
        first = first < tlb->first ? first : tlb->first;
        last = last > tlb->last ? last : tlb->last;
        if ((int64_t)last - first < GROUP_SPAN) {
            tlb->first = first;
            tlb->last = last;
            tlb->group = true;
            tlb->store |= ins->op == IR_st;
        }
    }
}

void x86_tlb_prepare(struct x86_compiler *c, struct x86_tlb *tlb, enum jit_access_kind kind,
                     const struct ir_ins *ins)
{
    _Static_assert(IR_M8 == 0 && IR_M16 == 1 && IR_M32 == 2 && IR_M64 == 3, "sizes by their log2");
    *tlb = (struct x86_tlb){
        .parts = x86_parts(c, x86_resolve(c, ins->a), ins->imm),
        .size = 1 << (ins->cc & 7),
        .store = kind != JIT_ACCESS_LOAD,
        .access = {.kind = (uint8_t)kind,
                   .mem = (uint8_t)ins->cc,
                   .value = JIT_NO_REG,
                   .dest = JIT_NO_REG,
                   .clear = JIT_NO_REG,
                   .amo = (uint8_t)ins->aux,
                   .wide = ins->type == IR_I64},
    };
    tlb->first = tlb->parts.disp;
    tlb->last = tlb->first + tlb->size - 1;
    if (tlb->parts.base == IR_NONE || tlb->parts.index != IR_NONE || c->in_cold ||
        !c->options->page || (kind != JIT_ACCESS_LOAD && kind != JIT_ACCESS_STORE)) {
        return;
    }
    if (c->page.reg != REG_NONE && c->page.base == tlb->parts.base && tlb->first >= c->page.first &&
        tlb->last <= c->page.last && (kind == JIT_ACCESS_LOAD || c->page.store)) {
        tlb->cached = true;
        tlb->entry = c->page.reg;
        c->locked |= REG_BIT(tlb->entry);
        return;
    }
    look_ahead(c, tlb);
}

void x86_tlb_temps(struct x86_compiler *c, struct x86_tlb *tlb)
{
    if (!tlb->cached) {
        tlb->page = x86_temp(c, false);
        tlb->entry = x86_temp(c, false);
    }
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

/* The page's address into tlb->page, with bits added that keep it from matching. */
static void find_page(struct x86_compiler *c, struct x86_tlb *tlb, struct x86_mem guest)
{
    int32_t keep = -(1 << JIT_PAGE_BITS);

    if (tlb->group) {
        struct x86_mem last = guest;

        guest.disp = tlb->first;
        last.disp = tlb->last;
        x86_lea(c->a, true, tlb->page, guest);
        x86_lea(c->a, true, tlb->entry, last);
        x86_alu_rr(c->a, ALU_XOR, true, tlb->entry, tlb->page);
        x86_alu_imm(c->a, ALU_CMP, true, tlb->entry, 1 << JIT_PAGE_BITS);
        tlb->cross = x86_jcc(c->a, X86_AE);
    } else {
        keep |= tlb->size - 1;
        if (guest.disp || guest.index != REG_NONE || guest.base == REG_NONE) {
            x86_lea(c->a, true, tlb->page, guest);
        } else {
            x86_mov_rr(c->a, true, tlb->page, guest.base);
        }
    }
    x86_alu_imm(c->a, ALU_AND, true, tlb->page, keep);
}

/* From the page to the addend, in tlb->entry. */
static void probe(struct x86_compiler *c, struct x86_tlb *tlb)
{
    size_t tag = tlb->store ? offsetof(struct jit_tlb_entry, store_tag)
                            : offsetof(struct jit_tlb_entry, load_tag);
    struct x86_mem addend = x86_mem(tlb->entry, (int32_t)offsetof(struct jit_tlb_entry, addend));

    rotate(c, tlb->entry, tlb->page, 9);
    x86_alu_rr(c->a, ALU_ADD, true, tlb->entry, tlb->page);
    x86_shift_imm(c->a, SH_SHR, true, tlb->entry, 7);
    x86_alu_rm(c->a, ALU_AND, true, tlb->entry, x86_state(c, c->layout->tlb_mask));
    x86_alu_rm(c->a, ALU_ADD, true, tlb->entry, x86_state(c, c->layout->tlb_table));
    x86_alu_rm(c->a, ALU_CMP, true, tlb->page, x86_mem(tlb->entry, (int32_t)tag));
    tlb->slow = x86_jcc(c->a, X86_NE);
    x86_load(c->a, true, tlb->entry, addend);
}

struct x86_mem x86_tlb_begin(struct x86_compiler *c, struct x86_tlb *tlb, struct x86_mem guest)
{
    struct x86_mem host = x86_mem(tlb->entry, guest.disp);

    x86_mark_here(c);
    tlb->access.mark = c->a->size;
    tlb->access.disp = guest.disp;
    tlb->access.base = reg_or_none(guest.base);
    tlb->access.index = reg_or_none(guest.index);
    tlb->access.scale = guest.scale;
    if (tlb->cached) {
        x86_rr(c->a, 0x85, true, tlb->entry, tlb->entry);
        tlb->slow = x86_jcc(c->a, X86_E);
    } else {
        find_page(c, tlb, guest);
        probe(c, tlb);
    }
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
    if (tlb->group) {
        tlb->access.clear = (uint8_t)tlb->entry;
        c->page.reg = tlb->entry;
        c->page.base = tlb->parts.base;
        c->page.first = tlb->first;
        c->page.last = tlb->last;
        c->page.store = tlb->store;
        x86_fixup(c, tlb->cross, false, c->cold.size, true);
    }
    x86_cold_begin(c, tlb->slow);
    x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_SLOW);
    x86_reserve(c->a);
    memcpy(c->a->base + c->a->size, &tlb->access, sizeof(tlb->access));
    c->a->size += sizeof(tlb->access);
    x86_cold_end(c, true);
}
