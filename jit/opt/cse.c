/*
 * Value numbering while building.
 *
 * The table holds refs. Refs only grow, so a ref doubles as a time stamp: what
 * is older than b->epoch (for ops with flags, b->fp_epoch) is not visible. Forgetting everything is
 * one store; and since an epoch is at least 1, an empty slot, 0, is never visible. Slots come in
 * pairs; a new op displaces the older one of its pair. A missed merge is harmless.
 *
 * Why a table hit always dominates the new op: the builder adds only what it builds in the block
 * chain it is on. Side blocks look up but never add, and ir_block_set() forgets all unless it
 * continues the chain.
 *
 * Which ops: those without effects; those whose only effect is on floating-point flags, as the
 * flags an equal earlier op raised are still raised (until fflags_set, frm_set, or a helper that
 * may do the same); and calls of helpers that neither see the guest's state nor have a side effect.
 * A load is never merged: another hart may have stored between.
 */
#include <string.h>
#include "jit/opt/cse.h"

enum { NEVER, PURE, FLAGS };

static const uint8_t kind_of[IR_OP_COUNT] = {
#define OP(name, result, args, effects)                                      \
    [IR_##name] = sizeof(effects) == 1                               ? PURE  \
                  : sizeof(effects) == 2 && (effects "\0")[0] == 'X' ? FLAGS \
                                                                     : NEVER,
#include "jit/ir/ops.def"
#undef OP
};

void jit_opt_cse_begin(struct ir_builder *b)
{
    memset(b->cse, 0, sizeof(b->cse));
    b->epoch = b->fp_epoch = 1;
}

static inline uint64_t mix(uint64_t h, uint64_t x)
{
    return (h ^ x) * UINT64_C(0x9e3779b97f4a7c15);
}

/* The first slot of the pair. */
static inline unsigned slot_of(uint64_t h)
{
    _Static_assert(IR_CSE_SLOTS == 256, "the slot is the hash's highest eight bits");
    return (unsigned)(h >> 56) & ~1u;
}

/* The slot of the pair that is to be overwritten. */
static inline int older(const struct ir_builder *b, unsigned slot)
{
    return (int)(slot + (b->cse[slot] > b->cse[slot + 1]));
}

static inline bool same_head(const struct ir_ins *x, const struct ir_ins *y)
{
    return x->op == y->op && x->type == y->type && x->cc == y->cc && x->aux == y->aux &&
           x->imm == y->imm;
}

static ir_ref find_call(const struct ir_builder *b, const struct ir_ins *ins, int *slot)
{
    const struct ir_unit *unit = b->unit;
    const struct ir_helper *helper = &unit->target->helpers[ins->imm];
    const ir_ref *args = unit->pool + ins->a;
    uint64_t h = mix(ins->op | (uint64_t)ins->cc << 8, (uint64_t)ins->imm);

    /* One that takes the vCPU may read fields that are no globals: good until these may change. */
    if ((helper->effects & ~(IR_H_CPU | IR_H_FP)) != 0 || ins->type == IR_VOID) {
        return IR_NONE;
    }
    for (unsigned i = 0; i < ins->b; i++) {
        h = mix(h, args[i]);
    }
    unsigned pair = slot_of(h);
    for (unsigned i = pair; i < pair + 2; i++) {
        const struct ir_ins *old = &unit->ins[b->cse[i]];

        if (b->cse[i] >= b->fp_epoch && same_head(old, ins) && old->b == ins->b &&
            memcmp(unit->pool + old->a, args, ins->b * sizeof(ir_ref)) == 0) {
            return b->cse[i];
        }
    }
    *slot = older(b, pair);
    return IR_NONE;
}

ir_ref jit_opt_cse_find(const struct ir_builder *b, const struct ir_ins *ins, int *slot)
{
    unsigned kind = kind_of[ins->op];

    *slot = -1;
    if (kind == NEVER) {
        if (ins->op == IR_call || ins->op == IR_callif) {
            return find_call(b, ins, slot);
        }
        return IR_NONE;
    }
    uint64_t h = (uint64_t)ins->op | (uint64_t)ins->type << 8 | (uint64_t)ins->cc << 16 |
                 (uint64_t)ins->aux << 24 | (uint64_t)ins->a << 32;
    h = mix(h, (uint64_t)ins->imm);
    h = mix(h ^ h >> 32, (uint64_t)ins->b << 32 | ins->c);
    ir_ref epoch = kind == PURE ? b->epoch : b->fp_epoch;
    unsigned pair = slot_of(h);
    for (unsigned i = pair; i < pair + 2; i++) {
        const struct ir_ins *old = &b->unit->ins[b->cse[i]];

        if (b->cse[i] >= epoch && same_head(old, ins) && old->a == ins->a && old->b == ins->b &&
            old->c == ins->c) {
            return b->cse[i];
        }
    }
    *slot = older(b, pair);
    return IR_NONE;
}
