/*
 * Folding: what an op is equal to that is cheaper. Called by the builder for every op.
 *
 * Rules, and why:
 *  1. A fold gives the same bits as the op, for every input, by the words of ops.def. In particular
 *     nothing is assumed about NaNs that ops.def does not say.
 *  2. No floating-point arithmetic is done here: its result and its flags depend on the rounding
 *     mode, which is the guest's to change. Sign and box operations only move bits, and are folded.
 *  3. A fold never removes an op that faults, nor a memory access.
 *  4. A fold uses operands of its operands (so they live longer) only where that shortens the
 *     chain of dependent ops.
 */
#ifndef TINAMOU_JIT_OPT_FOLD_H
#define TINAMOU_JIT_OPT_FOLD_H

#include "jit/ir/build.h"

/* The value that *ins would have: an existing one, or that of simpler ops which are built now.
 * IR_NONE if the op is to be built as *ins, in which operands may have changed places. */
ir_ref jit_opt_fold(struct ir_builder *b, struct ir_ins *ins);

/* What a condition comes to: 1 if it always holds, 0 if never, or -1 with the condition and its
 * operands (both i32 or both i64) put into the simplest form. */
int jit_opt_fold_cond(struct ir_builder *b, enum ir_cc *cc, ir_ref *a, ir_ref *c);

/* Evaluates an integer op of one or two arguments on constants, where arg_type is the type of the
 * first, and i32 values are sign-extended. False if the op is not of that kind. */
bool jit_opt_fold_eval(enum ir_opcode op, enum ir_type type, enum ir_type arg_type, unsigned cc,
                       int64_t a, int64_t c, int64_t *result);

#endif
