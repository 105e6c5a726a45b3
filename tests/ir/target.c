/*
 * The test target: see target.h. Helpers are C functions of the kind that targets have; those that
 * see or change the state make wrong snapshots visible.
 */
#include "tests/ir/host.h"
#include "tests/ir/target.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xmmintrin.h>
#include "jit/ir/text.h"

/* ---- helpers --------------------------------------------------------------------------------- */

static uint64_t help_add(uint64_t a, uint64_t b)
{
    return a + b;
}

static uint32_t help_neg32(uint32_t a)
{
    return 0 - a;
}

static uint64_t help_mix(uint64_t a, uint32_t b, uint64_t c, uint32_t d, uint64_t e)
{
    return a + 3 * (uint64_t)b + 5 * c + 7 * (uint64_t)d + 11 * e;
}

static uint64_t help_flip(uint64_t a)
{
    return a ^ INT64_MAX;
}

static uint32_t help_flip32(uint32_t a)
{
    return a ^ INT32_MAX;
}

static uint64_t help_scale(uint64_t a, uint64_t b)
{
    volatile double x, y;
    double product;
    uint64_t bits;

    memcpy((void *)&x, &a, sizeof(x));
    memcpy((void *)&y, &b, sizeof(y));
    product = x * y;
    memcpy(&bits, &product, sizeof(bits));
    return bits;
}

static void help_count(struct test_state *state)
{
    state->counter++;
}

static void help_snap(struct test_state *state)
{
    uint64_t hash = state->seen ^ state->pc;

    for (unsigned i = 0; i < TEST_INTS; i++) {
        hash = (hash << 7 | hash >> 57) + state->x[i] * UINT64_C(0x9e3779b97f4a7c15);
    }
    for (unsigned i = 0; i < TEST_FPS; i++) {
        hash = (hash << 7 | hash >> 57) + state->f[i] * UINT64_C(0x9e3779b97f4a7c15);
    }
    state->seen = hash + 1;
}

static uint64_t help_peek(struct test_state *state, uint32_t index)
{
    return index == UINT32_MAX ? state->pc : state->x[index % TEST_INTS];
}

static void help_poke(struct test_state *state, uint32_t index, uint64_t value)
{
    state->x[index % TEST_INTS] = value;
}

static uint64_t help_fetch(struct test_state *state, uint64_t offset)
{
    uint64_t value;

    memcpy(&value, (const uint8_t *)TEST_MEMORY + offset % (TEST_MEM_SIZE / 8) * 8, sizeof(value));
    return value;
}

/* ---- the tables ------------------------------------------------------------------------------ */

#define X(index, name_, rank_)                                                                 \
    {                                                                                          \
        .name = name_, .offset = offsetof(struct test_state, x) + 8 * (index), .type = IR_I64, \
        .rank = rank_                                                                          \
    }
#define F(index, name_, rank_)                                                                 \
    {                                                                                          \
        .name = name_, .offset = offsetof(struct test_state, f) + 8 * (index), .type = IR_F64, \
        .rank = rank_                                                                          \
    }

static const struct ir_global globals[TEST_GLOBALS] = {
    X(0, "a0", 1),  X(1, "a1", 2),  X(2, "a2", 3),   X(3, "a3", 4),   X(4, "a4", 5),
    X(5, "a5", 6),  X(6, "a6", 9),  X(7, "a7", 10),  X(8, "s0", 7),   X(9, "s1", 11),
    X(10, "sp", 8), X(11, "t0", 0), X(12, "t1", 12), X(13, "t2", 13), X(14, "t3", 0),
    F(0, "fa0", 1), F(1, "fa1", 2), F(2, "fa2", 3),  F(3, "fa3", 4),  F(4, "fa4", 0),
    F(5, "fa5", 0),
};

#define FN(f) ((void *)(uintptr_t)(f))

static const struct ir_helper helpers[TEST_HELPER_COUNT] = {
    [TEST_ADD] = {"add", FN(help_add), IR_I64, 2, 0, {IR_I64, IR_I64}},
    [TEST_NEG32] = {"neg32", FN(help_neg32), IR_I32, 1, 0, {IR_I32}},
    [TEST_MIX] = {"mix", FN(help_mix), IR_I64, 5, 0, {IR_I64, IR_I32, IR_I64, IR_I32, IR_I64}},
    [TEST_FLIP] = {"flip", FN(help_flip), IR_F64, 1, 0, {IR_F64}},
    [TEST_FLIP32] = {"flip32", FN(help_flip32), IR_F32, 1, 0, {IR_F32}},
    [TEST_SCALE] = {"scale", FN(help_scale), IR_F64, 2, IR_H_FP, {IR_F64, IR_F64}},
    [TEST_COUNT] = {"count", FN(help_count), IR_VOID, 0, IR_H_CPU | IR_H_SIDE_EFFECT, {0}},
    [TEST_SNAP] =
        {"snap", FN(help_snap), IR_VOID, 0, IR_H_CPU | IR_H_READS_STATE | IR_H_SIDE_EFFECT, {0}},
    [TEST_PEEK] = {"peek", FN(help_peek), IR_I64, 1, IR_H_CPU | IR_H_READS_STATE, {IR_I32}},
    [TEST_POKE] = {"poke",
                   FN(help_poke),
                   IR_VOID,
                   2,
                   IR_H_CPU | IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_SIDE_EFFECT,
                   {IR_I32, IR_I64}},
    [TEST_FETCH] =
        {"fetch", FN(help_fetch), IR_I64, 1, IR_H_CPU | IR_H_READS_STATE | IR_H_MEMORY, {IR_I64}},
};

const struct ir_target test_target = {
    .name = "test",
    .globals = globals,
    .global_count = TEST_GLOBALS,
    .helpers = helpers,
    .helper_count = TEST_HELPER_COUNT,
    .pc_offset = offsetof(struct test_state, pc),
};

static_assert(offsetof(struct test_state, scratch) == TEST_SCRATCH, "tests write this offset");

/* ---- memory and engines ---------------------------------------------------------------------- */

uint8_t *test_memory(void)
{
    uint8_t *guard = (uint8_t *)TEST_MEMORY - TEST_MEM_SIZE;
    void *at = mmap(guard, 3 * TEST_MEM_SIZE, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

    if (at != guard ||
        mprotect(guard + TEST_MEM_SIZE, TEST_MEM_SIZE, PROT_READ | PROT_WRITE) != 0) {
        printf("# cannot map the test memory at %#llx: %s\n", (unsigned long long)TEST_MEMORY,
               strerror(errno));
        return NULL;
    }
    return guard + TEST_MEM_SIZE;
}

static int check(uint64_t address, unsigned size, int *fault_signal, int *fault_code)
{
    if (address >= TEST_MEMORY && address <= TEST_MEMORY + TEST_MEM_SIZE - size) {
        return 0;
    }
    *fault_signal = SIGSEGV;
    *fault_code = SEGV_ACCERR;
    return -EFAULT;
}

static int memory_load(void *opaque, uint64_t address, unsigned size, uint64_t *value,
                       int *fault_signal, int *fault_code)
{
    int error = check(address, size, fault_signal, fault_code);

    if (!error) {
        *value = 0;
        memcpy(value, (const void *)address, size);
    }
    return error;
}

static int memory_store(void *opaque, uint64_t address, unsigned size, uint64_t value,
                        int *fault_signal, int *fault_code)
{
    int error = check(address, size, fault_signal, fault_code);

    if (!error) {
        memcpy((void *)address, &value, size);
    }
    return error;
}

/* There is one thread, so nothing can come between. */
static int memory_cas(void *opaque, uint64_t address, unsigned size, uint64_t expected,
                      uint64_t desired, uint64_t *old, int *fault_signal, int *fault_code)
{
    int error = check(address, size, fault_signal, fault_code);

    if (!error) {
        *old = 0;
        memcpy(old, (const void *)address, size);
        if (*old == expected) {
            memcpy((void *)address, &desired, size);
        }
    }
    return error;
}

static int run_interp(const struct ir_unit *unit, struct test_state *state,
                      struct interp_exit *exit)
{
    static const struct interp_memory memory = {
        .load = memory_load, .store = memory_store, .cas = memory_cas};

    return interp_run(unit, state, &memory, exit);
}

const struct test_engine test_engines[] = {
    {"interp", run_interp},
    {"host", test_run_host},
    {"baseline host", test_run_baseline},
    {NULL, NULL},
};

void test_state_init(struct test_state *state)
{
    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < TEST_INTS; i++) {
        state->x[i] = UINT64_C(0xa5a5a5a500000000) + UINT64_C(0x0101010180000101) * (i + 1);
    }
    for (unsigned i = 0; i < TEST_FPS; i++) {
        state->f[i] = UINT64_C(0x4000000000000000) + ((uint64_t)i << 48);
    }
}

/* MXCSR: all exceptions masked, flags of fflags_get in bits 5-0 (bit 1 is not of IEEE 754). */
static unsigned to_mxcsr(unsigned flags, unsigned rounding)
{
    static const unsigned control[4] = {0, 3, 1, 2};

    return 0x1f80 | control[rounding & 3] << 13 | (flags >> 4 & 1) | (flags >> 3 & 1) << 2 |
           (flags >> 2 & 1) << 3 | (flags >> 1 & 1) << 4 | (flags & 1) << 5;
}

static unsigned from_mxcsr(unsigned m)
{
    return (m & 1) << 4 | (m >> 2 & 1) << 3 | (m >> 3 & 1) << 2 | (m >> 4 & 1) << 1 | (m >> 5 & 1);
}

int test_run(const struct test_engine *engine, const struct ir_unit *unit, struct test_state *state,
             unsigned *flags, unsigned rounding, struct interp_exit *exit)
{
    unsigned saved = _mm_getcsr();
    int result;

    _mm_setcsr(to_mxcsr(*flags, rounding));
    result = engine->run(unit, state, exit);
    *flags = from_mxcsr(_mm_getcsr());
    _mm_setcsr(saved);
    return result;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void append(void *opaque, const char *text, size_t length)
{
    fwrite(text, 1, length, opaque);
}

char *test_print(const struct ir_unit *unit)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (!stream) {
        return NULL;
    }
    ir_print(unit, append, stream);
    fclose(stream);
    return text;
}
