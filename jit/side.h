/*
 * Side tables: from a host program counter to a precise guest state.
 *
 * A unit's table is a sequence of marks, one for each host instruction that may fault, in ascending
 * order of its offset. A mark says what changed since the one before: the guest pc, and for each
 * global whose value moved, where it is now. Replaying the marks up to an offset gives the whole
 * mapping. At the unit's entry every pinned global is in its register and all others are in the
 * state.
 *
 *   mark   := offset-delta:u16  pc-delta:signed-varint  count:u8  entry*count
 *   count  := SIDE_RESET means: forget all entries so far; a true count follows
 *   entry  := global:u8  place:u8  [constant:u64 if place is SIDE_CONST, global:u8 if
 *             SIDE_OTHER_HOME: it is a copy of that global's value; sum if SIDE_SUM]
 *   sum    := part part scale:u8 displacement:u32, the second part times 2^scale
 *   part   := place:u8 global:u8, of 64 bits; SIDE_CONST for none
 *   place  := 0..31 host register (16 and up: vector), 32..95 spill slot, SIDE_HOME, SIDE_CONST,
 *             SIDE_SUM: an address that is not computed by itself;
 *             with SIDE_FLAGS added a byte follows that says what is to be done to it: SIDE_RAW_F64
 * (a NaN made canonical), SIDE_RAW_F32 (that, then boxed), SIDE_F32 (boxed)
 */
#ifndef TINAMOU_JIT_SIDE_H
#define TINAMOU_JIT_SIDE_H

#include <stdbool.h>
#include "jit/jit.h"

enum {
    SIDE_SPILL = 32,
    SIDE_HOME = 96,
    SIDE_CONST = 97,
    SIDE_OTHER_HOME = 98,
    SIDE_SUM = 99,
    SIDE_FLAGS = 128,
    SIDE_RESET = 255,
    SIDE_RAW_F64 = 1,
    SIDE_RAW_F32 = 2,
    SIDE_F32 = 3,
};

/* The host's registers at the fault, as the signal frame has them. */
struct jit_host_regs {
    uint64_t gpr[16];    /* in encoding order: rax, rcx, rdx, rbx, rsp, ... */
    uint64_t vector[16]; /* low halves */
};

/*
 * Brings all globals into the vCPU state as of the fault at `offset` within the unit's code, and
 * returns true with *pc the guest instruction's. False if no mark is there: the instruction was not
 * expected to fault. Async-signal-safe.
 */
bool jit_recover(const struct ir_target *target, const struct jit_layout *layout,
                 const uint8_t *side, uint32_t side_size, uint64_t unit_pc, uint32_t offset,
                 const struct jit_host_regs *regs, void *state, uint64_t *pc);

/* Which host register a global is pinned to (16 and up: vector), -1 if none. Fills
 * pin[target->global_count]. */
void jit_x86_pins(const struct ir_target *target, int8_t pin[IR_MAX_GLOBALS]);

#endif
