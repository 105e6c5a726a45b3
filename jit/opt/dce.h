/*
 * Dead code: what nobody can see is unlinked from its block.
 *
 * Dropped are ops without users and without effects; ggets, and calls of helpers without any
 * effect, that nobody uses; and a gset that a later gset of the same global overwrites in the same
 * block with nobody looking at the globals in between. Looking are ops that may fault, calls that
 * see or change the state, side blocks and exits. Ops that raise floating-point flags stay, as
 * every exit shows the flags.
 */
#ifndef TINAMOU_JIT_OPT_DCE_H
#define TINAMOU_JIT_OPT_DCE_H

#include "jit/ir/ir.h"

/* Unlinked ops keep their number and their contents. Any well-formed unit, built or read. */
void jit_opt_dce(struct ir_unit *unit);

#endif
