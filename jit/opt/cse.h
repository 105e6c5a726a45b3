/*
 * Merging equal ops as they are built. Constant data in, one probe of a small table per op.
 */
#ifndef TINAMOU_JIT_OPT_CSE_H
#define TINAMOU_JIT_OPT_CSE_H

#include "jit/ir/build.h"

/* Empties the table. */
void jit_opt_cse_begin(struct ir_builder *b);

/* An equal op that is visible here, or IR_NONE. *slot: where the op belongs in the table, or -1 if
 * ops of its kind are never merged. A helper call's arguments are in the unit's pool already. */
ir_ref jit_opt_cse_find(const struct ir_builder *b, const struct ir_ins *ins, int *slot);

/* Remembers the op `ref`, just appended, under the slot found. */
static inline void jit_opt_cse_add(struct ir_builder *b, int slot, ir_ref ref)
{
    if (slot >= 0) {
        b->cse[slot] = ref;
    }
}

/* Nothing built so far is visible from here on. */
static inline void jit_opt_cse_forget(struct ir_builder *b)
{
    b->epoch = b->fp_epoch = b->unit->ins_count;
}

/* Flags were cleared, or the rounding mode changed: equal floating-point ops are equal no more. */
static inline void jit_opt_cse_forget_fp(struct ir_builder *b)
{
    b->fp_epoch = b->unit->ins_count;
}

#endif
