/*
 * A small target to test the IR with: its globals, helpers with known behaviour, a page of memory,
 * and the engines that can run a unit.
 *
 * Memory is one page at a fixed address (so that tests can write addresses), where guest addresses
 * are host addresses; the pages around it are not accessible. One thread.
 */
#ifndef TINAMOU_TESTS_IR_TARGET_H
#define TINAMOU_TESTS_IR_TARGET_H

#include <stdint.h>
#include "jit/interp/interp.h"
#include "jit/ir/ir.h"

#define TEST_INTS     15u /* a0-a7 s0 s1 sp t0-t3 */
#define TEST_FPS      6u  /* fa0-fa5 */
#define TEST_GLOBALS  (TEST_INTS + TEST_FPS)
#define TEST_MEMORY   UINT64_C(0x40000000)
#define TEST_MEM_SIZE 4096u
#define TEST_SCRATCH  2048 /* offset of test_state.scratch */

struct test_state {
    /* For engines: whatever generated code wants to reach from the state. */
    uint8_t engine[1024] __attribute__((aligned(64)));
    uint64_t x[TEST_INTS];
    uint64_t f[TEST_FPS];
    uint64_t pc;
    uint64_t counter; /* calls of helper `count` */
    uint64_t seen;    /* hash of all that helper `snap` has seen */
    uint64_t scratch[8] __attribute__((aligned(1024)));
};

enum test_helper {
    TEST_ADD,    /* (i64, i64) -> i64, their sum; no effects */
    TEST_NEG32,  /* (i32) -> i32, the negation; no effects */
    TEST_MIX,    /* (i64, i32, i64, i32, i64) -> i64, depends on each argument; no effects */
    TEST_FLIP,   /* (f64) -> f64, the bits but the sign inverted; no effects */
    TEST_FLIP32, /* (f32) -> f32, likewise */
    TEST_SCALE,  /* (f64, f64) -> f64, the product, computed by the host's unit in C */
    TEST_COUNT,  /* (vCPU): counts its calls */
    TEST_SNAP,   /* (vCPU): adds all globals and the pc to test_state.seen */
    TEST_PEEK,   /* (vCPU, i32) -> i64: global x[argument mod TEST_INTS], or the pc for -1 */
    TEST_POKE,   /* (vCPU, i32, i64): sets it, the pc excepted */
    TEST_FETCH,  /* (vCPU, i64) -> i64: the doubleword of memory at that offset mod its size */
    TEST_HELPER_COUNT
};

extern const struct ir_target test_target;

/* An engine runs a unit as interp_run() does, with test memory. */
struct test_engine {
    const char *name;
    int (*run)(const struct ir_unit *unit, struct test_state *state, struct interp_exit *exit);
};
/* All that work on this host; the last has no name. */
extern const struct test_engine test_engines[];

/* Maps the memory. Returns it, or NULL with a line on stdout why not. */
uint8_t *test_memory(void);

/* Every global gets a value of its own; all else is zero. */
void test_state_init(struct test_state *state);

/* Runs under a floating-point environment of its own: sticky flags as in fflags_get, rounding mode
 * as in frm_set. *flags is updated. Returns what the engine returns. */
int test_run(const struct test_engine *engine, const struct ir_unit *unit, struct test_state *state,
             unsigned *flags, unsigned rounding, struct interp_exit *exit);

/* The unit as text; the caller frees it. */
char *test_print(const struct ir_unit *unit);

#endif
