/*
 * The verifier: what a well-formed unit is. Every rule is checked, every violation reported.
 *
 *  1. Each block ends with exactly one terminator, and has none before.
 *  2. Parameters stand at the head of their block; only jump leads to a block that has any, and passes
 *     as many values, of the same types. The entry has no parameters and no predecessors but by jump.
 *  3. Each argument is defined before it is used, on every path (its definition dominates the use).
 *  4. Argument and result types are those that ops.def asks for; shift, memory, condition and aux fields are in range.
 *  5. Globals exist; a gset has the global's type, or f32 for an f64 global.
 *  6. At a block with several predecessors, every global that is dirty at the end of one of them is
 *     bound by a parameter of the block (a gget of it could otherwise mean two values).
 *  7. No gget follows a gset of the same global on any path, unless a helper that writes the state
 *     stands between.
 *  8. Globals given to an exit are visible-safe: an f64 that is canonical (IR_VF_CANON), never an f32.
 *  9. Helper calls match the helper's signature; callif's helper has no state or memory effects.
 * 10. Every block is reachable; every op that may fault stands after an insn on every path; where paths meet
 *     with different ones, after an insn of its own block.
 */
#ifndef TINAMOU_JIT_IR_VERIFY_H
#define TINAMOU_JIT_IR_VERIFY_H

#include "jit/ir/ir.h"

/* Checks all rules. Returns the number of violations; for each, calls report(opaque, op, text) where
 * op is IR_NONE if it belongs to a whole block. report may be NULL. */
unsigned ir_verify(const struct ir_unit *unit,
                   void (*report)(void *opaque, ir_ref op, const char *text), void *opaque);

#endif
