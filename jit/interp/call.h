/*
 * Helper calls of the interpreter through libffi.
 */
#ifndef TINAMOU_JIT_INTERP_CALL_H
#define TINAMOU_JIT_INTERP_CALL_H

#include <stdint.h>
#include "jit/ir/ir.h"

/*
 * Calls helper(state, args...) or helper(args...), as its effects say. args[i] is the i-th argument
 * (f32 and f64 as bits; only the low half of a 32-bit one counts). Returns the result, the upper
 * half of a 32-bit one clear, 0 where there is none. The floating-point environment afterwards is
 * the one before. Any thread.
 */
uint64_t interp_call(const struct ir_helper *helper, void *state, const uint64_t *args);

#endif
