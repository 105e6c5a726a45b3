/*
 * What the builder's files share: the way of an op into the unit. Front ends use jit/ir/build.h.
 */
#ifndef TINAMOU_JIT_IR_EMIT_H
#define TINAMOU_JIT_IR_EMIT_H

#include <string.h>
#include "jit/ir/build.h"

/* Grows an array of a unit to at least `need` elements of `size` bytes; *cap is updated. A host
 * without memory ends the program: a unit is a few pages, so nothing else would work either. */
void *ir_unit_grow(void *array, uint32_t *cap, uint32_t need, size_t size);

/* Simplifies the op, merges it with an equal one, or appends it. Returns the value. */
ir_ref ir_emit(struct ir_builder *b, struct ir_ins ins);

/* The flags of a floating-point value. */
uint8_t ir_value_flags(const struct ir_unit *unit, const struct ir_ins *ins);
/* Makes room for one more op; returns ref. */
__attribute__((cold)) ir_ref ir_emit_grow(struct ir_unit *unit, ir_ref ref);

/* Appends the op as it is. After the end of a block it belongs to no block: it has a number and a
 * type, so the caller may go on using it, and nobody will ever see it. In line, so that the fields
 * are written where they are to be. There is always room for one op, made when the one before was
 * written. */
static inline ir_ref ir_emit_raw(struct ir_builder *b, const struct ir_ins *ins)
{
    struct ir_unit *unit = b->unit;
    ir_ref ref = unit->ins_count;
    struct ir_ins *slot = &unit->ins[ref];

    unit->ins_count = ref + 1;
    *slot = *ins;
    slot->next = IR_NONE;
    slot->flags = 0;
    if (ir_type_is_fp((enum ir_type)ins->type)) {
        slot->flags = ir_value_flags(unit, slot);
    }
    if (!b->done) {
        struct ir_block *block = &unit->blocks[b->block];
        if (block->last) {
            unit->ins[block->last].next = ref;
        } else {
            block->first = ref;
        }
        block->last = ref;
    }
    return __builtin_expect(ref + 1 < unit->ins_cap, 1) ? ref : ir_emit_grow(unit, ref);
}

/* Puts n refs into the pool; returns the index of the first. */
uint32_t ir_emit_pool(struct ir_builder *b, unsigned n, const ir_ref *refs);

/* Makes every dirty floating-point global good for leaving the unit. In a side block the values
 * made are not remembered, since the main line goes on without them. */
void ir_emit_visible(struct ir_builder *b, bool side);

static inline void ir_emit_forget(struct ir_builder *b)
{
    _Static_assert(IR_NONE == 0, "no value is all bits zero");
    memset(b->global, 0, b->unit->target->global_count * sizeof(b->global[0]));
    memset(b->dirty, 0, sizeof(b->dirty));
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
