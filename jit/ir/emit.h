/*
 * What the builder's files share: the way of an op into the unit. Front ends use jit/ir/build.h.
 */
#ifndef TINAMOU_JIT_IR_EMIT_H
#define TINAMOU_JIT_IR_EMIT_H

#include "jit/ir/build.h"

/* Grows an array of a unit to at least `need` elements of `size` bytes; *cap is updated. A host
 * without memory ends the program: a unit is a few pages, so nothing else would work either. */
void *ir_unit_grow(void *array, uint32_t *cap, uint32_t need, size_t size);

/* Simplifies the op, merges it with an equal one, or appends it. Returns the value. */
ir_ref ir_emit(struct ir_builder *b, struct ir_ins ins);

/* Appends the op as it is. After the end of a block it belongs to no block: it has a number and a
 * type, so the caller may go on using it, and nobody will ever see it. */
ir_ref ir_emit_raw(struct ir_builder *b, const struct ir_ins *ins);

/* Puts n refs into the pool; returns the index of the first. */
uint32_t ir_emit_pool(struct ir_builder *b, unsigned n, const ir_ref *refs);

/* Makes every dirty floating-point global good for leaving the unit. In a side block the values
 * made are not remembered, since the main line goes on without them. */
void ir_emit_visible(struct ir_builder *b, bool side);

static inline void ir_emit_forget(struct ir_builder *b)
{
    for (unsigned i = 0; i < b->unit->target->global_count; i++) {
        b->global[i] = IR_NONE;
    }
    for (unsigned i = 0; i < IR_MAX_GLOBALS / 64; i++) {
        b->dirty[i] = 0;
    }
}

static inline void ir_emit_mark_dirty(struct ir_builder *b, unsigned global)
{
    b->dirty[global / 64] |= UINT64_C(1) << (global % 64);
}

static inline bool ir_emit_is_dirty(const struct ir_builder *b, unsigned global)
{
    return b->dirty[global / 64] >> (global % 64) & 1;
}

#endif
