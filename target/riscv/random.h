/*
 * Random instructions drawn from the decode table, for differential tests and fuzzers.
 *
 * Every enabled row is equally likely, so a new instruction is tested the day its row is written.
 * Operands are biased towards what goes wrong: equal registers, x0, few registers, extreme
 * immediates.
 */
#ifndef TINAMOU_TARGET_RISCV_RANDOM_H
#define TINAMOU_TARGET_RISCV_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include "target/riscv/cpu.h"
#include "target/riscv/decode.h"

/* A generator of random numbers: splitmix64. Any state is a good seed; equal seeds, equal streams.
 */
struct rv_random {
    uint64_t state;
};

uint64_t rv_random_next(struct rv_random *random);

/* What an instruction may do, apart from computing. */
enum rv_class {
    RV_CLASS_COMPUTE = 1, /* registers and flags only */
    RV_CLASS_MEMORY = 2,  /* loads, stores, atomics, cache blocks */
    RV_CLASS_CONTROL = 4, /* branches and jumps */
    RV_CLASS_FCSR = 8,    /* reads and writes flags or rounding mode */
    RV_CLASS_SYSTEM = 16, /* traps, counters, fence.i, reserved encodings */
};

struct rv_random_options {
    const struct rv_ext_set *ext;
    unsigned classes; /* enum rv_class, OR-ed */
    uint32_t bases;   /* x registers that hold good addresses: accesses use only these, nothing
                       * writes them; 0: any register, any address */
    uint32_t keep;    /* x registers that nothing may write */
    bool reserved_rm; /* also rounding modes that are reserved */
};

enum rv_class rv_row_class(const struct rv_row *row);

/* An encoding, in the low 16 or all 32 bits (rv_length() tells). 0, an illegal instruction, if the
 * options admit none. */
uint32_t rv_random_insn(struct rv_random *random, const struct rv_random_options *options);

#endif
