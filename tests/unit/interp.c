/*
 * The interpreter where file tests (tests/ir) do not reach: units larger than its stack, several
 * threads on one unit, multiply-add without the host's instruction, parameters made by the builder.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include "jit/interp/fp_x86_64.h"
#include "jit/interp/interp.h"
#include "jit/ir/build.h"
#include "jit/ir/verify.h"
#include "jit/opt/options.h"
#include "tests/unit/tap.h"

struct state {
    uint64_t a0, a1, pc;
    uint64_t fa0;
};

static uint64_t mix(uint64_t a, uint32_t b)
{
    return a * 3 + b;
}

static uint32_t narrow(uint64_t a)
{
    return (uint32_t)(a >> 3);
}

static const struct ir_global globals[] = {
    {"a0", offsetof(struct state, a0), IR_I64, 1},
    {"a1", offsetof(struct state, a1), IR_I64, 2},
    {"fa0", offsetof(struct state, fa0), IR_F64, 1},
};
enum { A0, A1, FA0 };

static const struct ir_helper helpers[] = {
    {"mix", (void *)(uintptr_t)mix, IR_I64, 2, IR_H_SIDE_EFFECT, {IR_I64, IR_I32}},
    {"narrow", (void *)(uintptr_t)narrow, IR_I32, 1, IR_H_SIDE_EFFECT, {IR_I64}},
};
static const struct ir_target target = {"unit", globals, 3, helpers, 2, offsetof(struct state, pc)};

static struct ir_unit unit;
static struct ir_builder b;
static struct jit_options options;

static void begin(void)
{
    ir_build_begin(&b, &unit, &options, &target, 0x1000);
    ir_insn(&b, 0x1000, 4);
}

static void complain(void *opaque, ir_ref op, const char *text)
{
    tap_note("v#%u: %s", op, text);
}

/* ---- a unit of many values ---------------------------------------------------------------------
 */

static void test_large(void)
{
    struct state state = {.a0 = 1};
    struct interp_exit exit;
    ir_ref v;

    begin();
    v = ir_get(&b, A0);
    for (unsigned i = 0; i < 20000; i++) {
        v = ir_bini(&b, IR_mul, v, 3);
        v = ir_un(&b, IR_bswap, v);
        v = ir_un(&b, IR_bswap, v);
    }
    ir_set(&b, A0, v);
    ir_exit_jump(&b, 0x2000);
    tap_eq(ir_verify(&unit, complain, NULL), 0, "a unit of many ops is well-formed");
    tap_ok(unit.ins_count > 4096, "it has more values than the interpreter's stack");
    tap_eq(interp_run(&unit, &state, NULL, &exit), 0, "it runs");
    uint64_t want = 1;
    for (unsigned i = 0; i < 20000; i++) {
        want *= 3;
    }
    tap_eq(state.a0, want, "its result");
    tap_eq(exit.pc, 0x2000, "its exit");
}

/* ---- threads
 * ------------------------------------------------------------------------------------- */

static void *thread(void *argument)
{
    struct state state = {.a0 = (uint64_t)(uintptr_t)argument};
    struct interp_exit exit;
    uint64_t want = state.a0;

    for (unsigned i = 0; i < 2000; i++) {
        interp_run(&unit, &state, NULL, &exit);
        want = mix(want, narrow(want));
        if (state.a0 != want || exit.pc != want) {
            return (void *)1;
        }
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    unsigned wrong = 0;
    ir_ref v, args[2];

    begin();
    v = ir_get(&b, A0);
    args[0] = v;
    args[1] = ir_call(&b, 1, 1, args);
    v = ir_call(&b, 0, 2, args);
    ir_set(&b, A0, v);
    ir_exit_lookup(&b, v);
    for (unsigned i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)(i * 77 + 1));
    }
    for (unsigned i = 0; i < 4; i++) {
        void *result;

        pthread_join(threads[i], &result);
        wrong += result != NULL;
    }
    tap_eq(wrong, 0, "four threads run one unit with helpers");
}

/* ---- multiply-add
 * -------------------------------------------------------------------------------- */

static const uint64_t f64_values[] = {0,
                                      UINT64_C(0x8000000000000000),
                                      UINT64_C(0x3ff0000000000000),
                                      UINT64_C(0xbff0000000000001),
                                      UINT64_C(0x7ff0000000000000),
                                      UINT64_C(0xfff0000000000000),
                                      UINT64_C(0x7ff8000000000000),
                                      UINT64_C(0x7ff0000000000001),
                                      1,
                                      UINT64_C(0x000fffffffffffff),
                                      UINT64_C(0x0010000000000000),
                                      UINT64_C(0x7fefffffffffffff),
                                      UINT64_C(0x3fd5555555555555),
                                      UINT64_C(0x1ff0000000000001)};
static const uint32_t f32_values[] = {0,          0x80000000, 0x3f800000, 0xbf800001, 0x7f800000,
                                      0xff800000, 0x7fc00000, 0x7f800001, 1,          0x007fffff,
                                      0x00800000, 0x7f7fffff, 0x3eaaaaab, 0x20000001};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static unsigned fma_differs(uint64_t a, uint64_t c, uint64_t d, bool single)
{
    uint64_t hard, soft;
    uint32_t hard_flags, soft_flags;

    interp_fflags_set(0);
    hard = single ? interp_fma32(0, a, c, d) : interp_fma64(0, a, c, d);
    hard_flags = interp_fflags_get();
    interp_fflags_set(0);
    soft = single ? interp_fma_soft32(a, c, d) : interp_fma_soft64(a, c, d);
    soft_flags = interp_fflags_get();
    if (single ? interp_isnan32(hard) && interp_isnan32(soft)
               : interp_isnan64(hard) && interp_isnan64(soft)) {
        soft = hard;
    }
    if (hard == soft && hard_flags == soft_flags) {
        return 0;
    }
    tap_note("%#llx * %#llx + %#llx = %#llx flags %u, without the instruction %#llx flags %u",
             (unsigned long long)a, (unsigned long long)c, (unsigned long long)d,
             (unsigned long long)hard, hard_flags, (unsigned long long)soft, soft_flags);
    return 1;
}

static void test_fma(void)
{
    uint32_t saved = interp_mxcsr();
    unsigned wrong[2] = {0, 0};

    if (!__builtin_cpu_supports("fma")) {
        tap_skip("multiply-add without the host's instruction", "no FMA on this host");
        return;
    }
    for (unsigned rm = 0; rm < 4; rm++) {
        interp_frm_set(rm);
        for (unsigned i = 0; i < COUNT(f64_values); i++) {
            for (unsigned j = 0; j < COUNT(f64_values); j++) {
                for (unsigned k = 0; k < COUNT(f64_values); k++) {
                    wrong[0] += fma_differs(f64_values[i], f64_values[j], f64_values[k], false);
                    wrong[1] += fma_differs(f32_values[i], f32_values[j], f32_values[k], true);
                }
            }
        }
    }
    interp_set_mxcsr(saved);
    tap_eq(wrong[0], 0, "multiply-add of f64 without the host's instruction");
    tap_eq(wrong[1], 0, "multiply-add of f32 without the host's instruction");
}

/* ---- a box through a parameter
 * ------------------------------------------------------------------- */

static void test_parameter(void)
{
    struct state state = {.a0 = 0x3fc00000};
    struct interp_exit exit;
    uint32_t next;
    ir_ref single, arg;

    begin();
    single = ir_bitcast(&b, IR_F32, ir_trunc(&b, ir_get(&b, A0)));
    ir_set(&b, FA0, single);
    next = ir_block_new(&b, false);
    arg = ir_get(&b, FA0);
    ir_jump(&b, next, 1, &arg);
    ir_block_set(&b, next);
    ir_block_param(&b, IR_F64, FA0);
    ir_exit_jump(&b, 0x2000);
    tap_eq(ir_verify(&unit, complain, NULL), 0, "a unit with a bound f64 is well-formed");
    interp_run(&unit, &state, NULL, &exit);
    tap_eq(state.fa0, UINT64_C(0xffffffff3fc00000), "a box passed as a parameter stays one");

    state.fa0 = UINT64_C(0x7ff8000000000000);
    begin();
    arg = ir_get(&b, FA0);
    arg = ir_bin(&b, IR_fadd, arg, arg);
    ir_set(&b, FA0, ir_un(&b, IR_fneg, arg));
    next = ir_block_new(&b, false);
    arg = ir_get(&b, FA0);
    ir_jump(&b, next, 1, &arg);
    ir_block_set(&b, next);
    ir_block_param(&b, IR_F64, FA0);
    ir_exit_jump(&b, 0x2000);
    interp_run(&unit, &state, NULL, &exit);
    tap_eq(state.fa0, UINT64_C(0x7ff8000000000000), "a NaN passed as a parameter is canonical");
}

int main(void)
{
    ir_unit_init(&unit);
    jit_options_init(&options);
    options.fold = false;
    options.cse = false;
    test_large();
    test_threads();
    test_fma();
    test_parameter();
    ir_unit_free(&unit);
    return tap_done();
}
