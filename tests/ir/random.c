/*
 * Random units: built twice from one seed, with optimisations on and off, and run on every engine;
 * all must leave the same state, memory and floating-point flags. Usage: random [COUNT [SEED
 * [ENGINE]]]. A failure prints its seed; `random 1 SEED` repeats it alone.
 *
 * The generator is a front end that makes no sense. Each of its choices comes from the seed and
 * none from what the builder returns, so that both builds ask for the same. It follows the rules of
 * front ends (docs/ir.md): a value whose NaNs are not canonical is made so before its bits are
 * used.
 *
 * Values are kept in a pool per type, and found by index. Where paths meet, the pools are cut back
 * to what was there before they parted. Units are straight code with side exits, diamonds, and
 * loops of few rounds, nested; they bind all globals that may be dirty by parameters.
 *
 * Over 800 lines, for the generator is a function a kind of op, all upon one struct.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "jit/ir/build.h"
#include "jit/ir/text.h"
#include "jit/ir/verify.h"
#include "jit/opt/dce.h"
#include "jit/opt/options.h"
#include "tests/ir/target.h"
#include "tests/unit/tap.h"

#define DEFAULT_COUNT 5000
#define POOL          400
#define MAX_DEPTH     2
#define WINDOW        6

struct pool {
    ir_ref refs[POOL];
    unsigned count;
};

struct gen {
    struct ir_builder b;
    uint64_t random;
    struct pool pools[IR_TYPE_COUNT];
    bool dirty[TEST_GLOBALS]; /* may be */
    unsigned overwrite;       /* the register that shows an address: set behind the access */
    bool fixed;               /* in a loop: only dirty globals may be set */
    uint64_t pc;
    unsigned depth;
    struct {
        enum ir_opcode op; /* IR_const: none */
        enum ir_type type;
        ir_ref args[3];
    } last; /* arithmetic that may be asked for again, in the same block or one it dominates */
};

/* ---- choices --------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *random)
{
    uint64_t x = *random += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static unsigned pick(struct gen *g, unsigned limit)
{
    return (unsigned)(next(&g->random) >> 33) % limit;
}

static uint64_t corner(uint64_t *random)
{
    static const uint64_t value[] = {0,
                                     1,
                                     2,
                                     7,
                                     8,
                                     31,
                                     32,
                                     33,
                                     63,
                                     64,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     INT64_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX,
                                     (uint64_t)-2,
                                     (uint64_t)-128,
                                     (uint64_t)INT32_MIN};
    uint64_t r = next(random);

    switch (r % 4) {
    case 0:
        return next(random);
    case 1:
        return next(random) >> (next(random) & 63);
    default:
        return value[r / 4 % (sizeof(value) / sizeof(value[0]))];
    }
}

static uint64_t float_corner(uint64_t *random)
{
    static const uint32_t f32[] = {0,          0x80000000, 0x3f800000, 0xbf800000, 0x7f800000,
                                   0xff800000, 0x7fc00000, 0xffc00123, 0x7f800001, 0x00000001,
                                   0x007fffff, 0x7f7fffff, 0x40490fdb, 0x3eaaaaab, 0x4f000000,
                                   0xcf000000, 0x5f000000, 0xbf000000, 0x3fc00000};
    static const uint64_t f64[] = {
        0,
        UINT64_C(0x8000000000000000),
        UINT64_C(0x3ff0000000000000),
        UINT64_C(0xbff0000000000000),
        UINT64_C(0x7ff0000000000000),
        UINT64_C(0xfff0000000000000),
        UINT64_C(0x7ff8000000000000),
        UINT64_C(0xfff8000000000abc),
        UINT64_C(0x7ff0000000000001),
        1,
        UINT64_C(0x000fffffffffffff),
        UINT64_C(0x7fefffffffffffff),
        UINT64_C(0x400921fb54442d18),
        UINT64_C(0x3fd5555555555555),
        UINT64_C(0x41e0000000000000),
        UINT64_C(0xc1e0000000200000),
        UINT64_C(0x43e0000000000000),
        UINT64_C(0xc3e0000000000000),
        UINT64_C(0x4004000000000000),
        UINT64_C(0x36a0000000000000),
        UINT64_C(0x47efffffe0000000),
    };
    uint64_t r = next(random);

    switch (r % 5) {
    case 0:
        return next(random);
    case 1:
    case 2:
        return UINT64_C(0xffffffff00000000) | f32[r / 5 % (sizeof(f32) / sizeof(f32[0]))];
    default:
        return f64[r / 5 % (sizeof(f64) / sizeof(f64[0]))];
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

static void keep(struct gen *g, enum ir_type type, ir_ref ref)
{
    struct pool *pool = &g->pools[type];

    if (pool->count < POOL) {
        pool->refs[pool->count++] = ref;
    }
}

/* Only recent values are chosen: chains of ops grow, and no more values live at a time than the
 * host's registers and the spill slots of the state can hold. */
static ir_ref value(struct gen *g, enum ir_type type)
{
    struct pool *pool = &g->pools[type];
    unsigned r = pick(g, 8), window;

    if (ir_type_is_int(type) && (r == 0 || !pool->count)) {
        uint64_t k = corner(&g->random);

        return type == IR_I32 ? ir_i32(&g->b, (int32_t)k) : ir_i64(&g->b, (int64_t)k);
    }
    if (!pool->count || (r == 0 && pick(g, 2))) {
        uint64_t bits = float_corner(&g->random);

        return ir_fconst(&g->b, type, type == IR_F32 ? (uint32_t)bits : bits);
    }
    window = pool->count < WINDOW ? pool->count : WINDOW;
    return pool->refs[pool->count - 1 - pick(g, window)];
}

/* One whose bits may be used. */
static ir_ref visible(struct gen *g, enum ir_type type)
{
    ir_ref ref = value(g, type);

    return ir_type_is_fp(type) ? ir_fvisible(&g->b, type, ref) : ref;
}

static enum ir_type int_type(struct gen *g)
{
    return pick(g, 3) ? IR_I64 : IR_I32;
}

static enum ir_type fp_type(struct gen *g)
{
    return pick(g, 2) ? IR_F64 : IR_F32;
}

static enum ir_type any_type(struct gen *g)
{
    return pick(g, 3) ? int_type(g) : fp_type(g);
}

static enum ir_cc condition(struct gen *g)
{
    return (enum ir_cc)pick(g, IR_CC_COUNT);
}

static unsigned int_width(struct gen *g, enum ir_type type)
{
    return pick(g, type == IR_I32 ? 3 : 4);
}

static void set_int(struct gen *g, unsigned global, ir_ref ref)
{
    if (!g->fixed || g->dirty[global]) {
        ir_set(&g->b, global, ref);
        g->dirty[global] = true;
    }
}

static void memory_op(struct gen *g, enum ir_opcode op);

/* An address that is a sum of base, scaled index and constant, parts of which registers show and
 * others use too. The access may come some ops later. */
static ir_ref sum_address(struct gen *g)
{
    uint64_t start = pick(g, 30) ? TEST_MEMORY + 64 : TEST_MEMORY + TEST_MEM_SIZE + 128;
    bool constant_first = pick(g, 2), show = pick(g, 2);
    unsigned scale = pick(g, 4), global = pick(g, TEST_INTS);
    ir_ref base = ir_bini(&g->b, IR_and, value(g, IR_I64), 0x3f8), index, sum;

    index = ir_bini(&g->b, IR_and, value(g, IR_I64), 0x1f);
    if (constant_first) {
        base = ir_bini(&g->b, IR_add, base, (int64_t)start);
    }
    if (show) {
        set_int(g, global, index);
    }
    index = ir_bini(&g->b, IR_shl, index, scale);
    if (show && pick(g, 2)) {
        set_int(g, global, index);
    }
    if (!pick(g, 6)) {
        keep(g, IR_I64, index);
    }
    sum = pick(g, 2) ? ir_bin(&g->b, IR_add, base, index) : ir_bin(&g->b, IR_add, index, base);
    if (show && pick(g, 2)) {
        set_int(g, global, sum);
    }
    if (!constant_first) {
        sum = ir_bini(&g->b, IR_add, sum, (int64_t)start);
    }
    if (show) {
        set_int(g, global, sum);
    }
    for (unsigned i = pick(g, 3); i; i--) {
        memory_op(g, pick(g, 2) ? IR_ld : IR_st);
    }
    if (!pick(g, 6)) {
        keep(g, IR_I64, sum);
    }
    g->overwrite = show && pick(g, 4) ? global : TEST_INTS;
    return sum;
}

/* An address with room for an access; rarely one in the page behind, where all faults. (Wild
 * addresses would not do: of those that are not canonical an x86-64 host does not report which it
 * was.) */
static ir_ref address(struct gen *g)
{
    ir_ref base;

    g->overwrite = TEST_INTS;
    if (!pick(g, 3)) {
        return sum_address(g);
    }
    if (!pick(g, 60)) {
        base = ir_bini(&g->b, IR_and, value(g, IR_I64), 0x7f8);
        return ir_bini(&g->b, IR_add, base, (int64_t)(TEST_MEMORY + TEST_MEM_SIZE + 128));
    }
    if (pick(g, 2)) {
        return ir_i64(&g->b, (int64_t)(TEST_MEMORY + 64 + 8 * pick(g, 32)));
    }
    base = ir_bini(&g->b, IR_and, value(g, IR_I64), pick(g, 4) ? 0x7f8 : 0x3ff);
    base = ir_bini(&g->b, IR_add, base, (int64_t)TEST_MEMORY + 64);
    return base;
}

static int64_t offset(struct gen *g)
{
    return pick(g, 2) ? 0 : (int64_t)pick(g, 128) - 64;
}

/* ---- ops ------------------------------------------------------------------------------------- */

static enum ir_type letter_type(struct gen *g, char letter, enum ir_type same)
{
    switch (letter) {
    case 'i':
        return int_type(g);
    case 'I':
    case 'p':
        return IR_I64;
    case 'w':
        return IR_I32;
    case 'f':
        return fp_type(g);
    case 's':
        return IR_F32;
    case 'd':
        return IR_F64;
    default:
        return same;
    }
}

static void emit_plain(struct gen *g, enum ir_opcode op, enum ir_type type, const ir_ref args[3])
{
    unsigned nargs = ir_op_info[op].nargs;
    ir_ref ref;

    if (nargs == 1) {
        ref = ir_op1(&g->b, op, type, args[0]);
    } else if (nargs == 2) {
        ref = ir_op2(&g->b, op, type, args[0], args[1]);
    } else {
        ref = ir_op3(&g->b, op, type, args[0], args[1], args[2]);
    }
    keep(g, type, ref);
}

/* The same op of the same values: may be merged, unless flags or rounding mode changed between. */
static void repeat(struct gen *g)
{
    if (g->last.op != IR_const) {
        emit_plain(g, g->last.op, g->last.type, g->last.args);
    }
}

/* A NaN of it is quiet, as fcanon may expect of what it is given. */
static ir_ref quiet(struct gen *g, ir_ref ref)
{
    return ir_bin(&g->b, IR_fadd, ref, ref);
}

/* An op that ops.def describes whole: no field but its arguments. */
static void plain_op(struct gen *g, enum ir_opcode op)
{
    const struct ir_op_info *info = &ir_op_info[op];
    enum ir_type type = letter_type(g, info->result[0], IR_I64);
    bool sign = op == IR_fcopysign || op == IR_fxorsign;
    ir_ref args[3] = {0};

    for (unsigned i = 0; i < info->nargs; i++) {
        enum ir_type t = letter_type(g, info->args[i], type);

        args[i] = (sign && i == 1) || op == IR_fbox ? visible(g, t) : value(g, t);
    }
    if (op == IR_fcanon) {
        args[0] = quiet(g, args[0]);
    }
    /* One value twice. */
    if (info->nargs == 2 && info->args[0] == info->args[1] && !sign && !pick(g, 8)) {
        args[1] = args[0];
    }
    if (g->last.op == IR_const || info->fp_flags || !pick(g, 8)) {
        g->last.op = op;
        g->last.type = type;
        memcpy(g->last.args, args, sizeof(args));
    }
    emit_plain(g, op, type, args);
}

static void set_global(struct gen *g)
{
    unsigned global = pick(g, TEST_GLOBALS);

    if (g->fixed && !g->dirty[global]) {
        return;
    }
    ir_set(&g->b, global, value(g, global < TEST_INTS ? IR_I64 : pick(g, 2) ? IR_F64 : IR_F32));
    g->dirty[global] = true;
}

static void get_global(struct gen *g)
{
    unsigned global = pick(g, TEST_GLOBALS);

    keep(g, global < TEST_INTS ? IR_I64 : IR_F64, ir_get(&g->b, global));
}

static void memory_op(struct gen *g, enum ir_opcode op)
{
    enum ir_type type = op == IR_ld || op == IR_st ? any_type(g) : int_type(g);
    ir_ref at = address(g);
    unsigned overwrite = g->overwrite;
    unsigned mem = ir_type_is_int(type) ? int_width(g, type) : type == IR_F32 ? IR_M32 : IR_M64;

    switch (op) {
    case IR_ld:
        if (ir_type_is_int(type) && pick(g, 2)) {
            mem |= IR_MS;
        }
        keep(g, type, ir_load(&g->b, type, mem, at, offset(g)));
        break;
    case IR_st: {
        int64_t o = offset(g);
        ir_store(&g->b, mem, at, o, visible(g, type));
        break;
    }
    case IR_amo: {
        enum ir_amo amo = (enum ir_amo)pick(g, IR_AMO_COUNT);
        keep(g, type, ir_amo(&g->b, amo, type, mem, at, value(g, type)));
        break;
    }
    default: {
        ir_ref expected = value(g, type);
        keep(g, type, ir_cas(&g->b, type, mem, at, expected, value(g, type)));
        break;
    }
    }
    if (overwrite != TEST_INTS) {
        set_int(g, overwrite, value(g, IR_I64));
    }
}

static void state_op(struct gen *g, bool load)
{
    enum ir_type type = int_type(g);
    unsigned mem = int_width(g, type);
    uint32_t at = TEST_SCRATCH + 8 * pick(g, 8);

    if (load) {
        keep(g, type, ir_cpu_load(&g->b, type, mem | (pick(g, 2) ? IR_MS : 0), at));
    } else {
        ir_cpu_store(&g->b, mem, at, value(g, type));
    }
}

static void call(struct gen *g, bool conditional)
{
    static const uint8_t without_effects[] = {TEST_ADD,    TEST_NEG32, TEST_MIX,  TEST_FLIP,
                                              TEST_FLIP32, TEST_SCALE, TEST_COUNT};
    unsigned index = conditional ? without_effects[pick(g, sizeof(without_effects))]
                                 : pick(g, TEST_HELPER_COUNT);
    const struct ir_helper *helper = &test_target.helpers[index];
    enum ir_type result = (enum ir_type)helper->result;
    ir_ref args[IR_MAX_HELPER_ARGS], ref;

    for (unsigned i = 0; i < helper->nargs; i++) {
        args[i] = visible(g, (enum ir_type)helper->args[i]);
    }
    if (conditional) {
        enum ir_type type = int_type(g);
        enum ir_cc cc = condition(g);
        ir_ref x = value(g, type), y = value(g, type);
        ir_ref otherwise = result == IR_VOID ? IR_NONE : value(g, result);

        /* Folded, the result is what went in and may be canonical, else it never is: a NaN is made
         * the same before and after. */
        if (ir_type_is_fp(result)) {
            otherwise = ir_fvisible(&g->b, result, quiet(g, otherwise));
        }
        ref = ir_call_if(&g->b, cc, x, y, otherwise, index, helper->nargs, args);
        if (ir_type_is_fp(result)) {
            ref = ir_fvisible(&g->b, result, quiet(g, ref));
        }
    } else {
        ref = ir_call(&g->b, index, helper->nargs, args);
        if (helper->effects & IR_H_WRITES_STATE) {
            memset(g->dirty, 0, sizeof(g->dirty));
        }
    }
    if (result != IR_VOID) {
        keep(g, result, ir_type_is_fp(result) ? quiet(g, ref) : ref);
    }
}

static void any_op(struct gen *g)
{
    enum ir_opcode op = (enum ir_opcode)pick(g, IR_OP_COUNT);
    enum ir_type type;
    ir_ref x, y;

    switch (op) {
    case IR_const:
    case IR_param:
    case IR_insn:
    case IR_jump:
    case IR_br:
    case IR_gset:
        set_global(g);
        break;
    case IR_gget:
        get_global(g);
        break;
    case IR_icmp: {
        enum ir_cc cc = condition(g);

        type = int_type(g);
        x = value(g, type);
        y = value(g, type);
        type = int_type(g);
        keep(g, type, ir_icmp(&g->b, cc, type, x, y));
        break;
    }
    case IR_bitcast: {
        static const enum ir_type to[4] = {IR_I32, IR_I64, IR_F32, IR_F64};
        static const enum ir_type from[4] = {IR_F32, IR_F64, IR_I32, IR_I64};
        unsigned i = pick(g, 4);

        keep(g, to[i], ir_bitcast(&g->b, to[i], visible(g, from[i])));
        break;
    }
    case IR_ld:
    case IR_st:
    case IR_amo:
    case IR_cas:
        memory_op(g, op);
        break;
    case IR_fence:
        ir_fence(&g->b, pick(g, 2));
        break;
    case IR_cpu_ld:
    case IR_cpu_st:
        state_op(g, op == IR_cpu_ld);
        break;
    case IR_fma: {
        unsigned aux = pick(g, 4);

        type = fp_type(g);
        x = value(g, type);
        y = value(g, type);
        keep(g, type, ir_fma(&g->b, aux, x, y, value(g, type)));
        break;
    }
    case IR_fcmp: {
        enum ir_fcc cc = (enum ir_fcc)pick(g, IR_FCC_COUNT);

        type = fp_type(g);
        x = value(g, type);
        keep(g, IR_I64, ir_fcmp(&g->b, cc, x, value(g, type)));
        break;
    }
    case IR_f2i: {
        bool towards_zero = pick(g, 2);

        type = int_type(g);
        keep(g, type, ir_f2i(&g->b, type, value(g, fp_type(g)), towards_zero));
        break;
    }
    case IR_fflags_get:
        keep(g, IR_I32, ir_fflags_get(&g->b));
        break;
    case IR_fflags_set:
        ir_fflags_set(&g->b, value(g, IR_I32));
        repeat(g);
        break;
    case IR_frm_set:
        ir_frm_set(&g->b, ir_i32(&g->b, (int32_t)pick(g, 4)));
        repeat(g);
        break;
    case IR_call:
    case IR_callif:
        call(g, op == IR_callif);
        break;
    default:
        if (!ir_op_info[op].ends_block) {
            plain_op(g, op);
        }
        break;
    }
}

/* ---- control flow ---------------------------------------------------------------------------- */

static void body(struct gen *g, unsigned length);

static void cut(struct gen *g, const unsigned counts[IR_TYPE_COUNT])
{
    for (unsigned t = 0; t < IR_TYPE_COUNT; t++) {
        g->pools[t].count = counts[t];
    }
    g->last.op = IR_const;
}

static void pool_counts(const struct gen *g, unsigned counts[IR_TYPE_COUNT])
{
    for (unsigned t = 0; t < IR_TYPE_COUNT; t++) {
        counts[t] = g->pools[t].count;
    }
}

/* A jump that passes the bound globals, and one value more. */
static void jump_binding(struct gen *g, uint32_t to, const bool bound[TEST_GLOBALS], ir_ref extra)
{
    ir_ref args[TEST_GLOBALS + 1];
    unsigned n = 0;

    args[n++] = extra;
    for (unsigned i = 0; i < TEST_GLOBALS; i++) {
        if (bound[i]) {
            args[n++] = ir_get(&g->b, i);
        }
    }
    ir_jump(&g->b, to, n, args);
}

static void new_insn(struct gen *g)
{
    unsigned length = pick(g, 2) ? 4 : 2;

    ir_insn(&g->b, g->pc, length);
    g->pc += length;
}

/* The other end: the block's parameters. Returns the extra one. */
static ir_ref take_bound(struct gen *g, uint32_t block, const bool bound[TEST_GLOBALS])
{
    ir_ref extra;

    ir_block_set(&g->b, block);
    g->last.op = IR_const;
    extra = ir_block_param(&g->b, IR_I64, IR_NO_GLOBAL);
    for (unsigned i = 0; i < TEST_GLOBALS; i++) {
        if (bound[i]) {
            enum ir_type type = i < TEST_INTS ? IR_I64 : IR_F64;

            keep(g, type, ir_block_param(&g->b, type, i));
        }
        g->dirty[i] = bound[i];
    }
    new_insn(g); /* where paths meet, no guest instruction is the current one */
    return extra;
}

static void diamond(struct gen *g)
{
    uint32_t arm[2], join = 0;
    unsigned counts[IR_TYPE_COUNT], length[2] = {pick(g, 8), pick(g, 8)};
    bool before[TEST_GLOBALS], bound[TEST_GLOBALS];
    enum ir_type type = int_type(g);
    enum ir_cc cc = condition(g);
    ir_ref x = value(g, type), y = value(g, type);

    /* What an arm may make dirty is settled before either is built. */
    for (unsigned i = 0; i < 3; i++) {
        set_global(g);
    }
    memcpy(before, g->dirty, sizeof(before));
    memcpy(bound, g->dirty, sizeof(bound));
    arm[0] = ir_block_new(&g->b, false);
    arm[1] = ir_block_new(&g->b, false);
    join = ir_block_new(&g->b, false);
    pool_counts(g, counts);
    ir_br(&g->b, cc, x, y, arm[0], arm[1]);
    for (unsigned i = 0; i < 2; i++) {
        bool fixed = g->fixed;

        ir_block_set(&g->b, arm[i]);
        cut(g, counts);
        memcpy(g->dirty, before, sizeof(before));
        g->fixed = true;
        body(g, length[i]);
        g->fixed = fixed;
        jump_binding(g, join, bound, value(g, IR_I64));
    }
    cut(g, counts);
    keep(g, IR_I64, take_bound(g, join, bound));
}

static void loop(struct gen *g)
{
    uint32_t head = ir_block_new(&g->b, false), latch = ir_block_new(&g->b, false);
    uint32_t out = ir_block_new(&g->b, false);
    unsigned counts[IR_TYPE_COUNT], rounds = 1 + pick(g, 4), length = pick(g, 10);
    bool bound[TEST_GLOBALS], fixed = g->fixed;
    ir_ref round;

    for (unsigned i = 0; i < 3; i++) {
        set_global(g);
    }
    memcpy(bound, g->dirty, sizeof(bound));
    pool_counts(g, counts);
    jump_binding(g, head, bound, ir_i64(&g->b, rounds));
    round = take_bound(g, head, bound);
    g->fixed = true;
    body(g, length);
    g->fixed = fixed;
    round = ir_bini(&g->b, IR_sub, round, 1);
    ir_br(&g->b, IR_EQ, round, ir_i64(&g->b, 0), out, latch);
    ir_block_set(&g->b, latch);
    jump_binding(g, head, bound, round);
    ir_block_set(&g->b, out);
    cut(g, counts);
}

static uint64_t guest_pc(struct gen *g)
{
    return 0x1000 + 2 * pick(g, 4096);
}

/* The condition must not fold: what follows a side exit that is always taken is dead, and its
 * blocks would be unreachable. A field of the state is unknown, and no constant here is a limit. */
static void side_exit(struct gen *g)
{
    enum ir_type type = int_type(g);
    enum ir_cc cc = pick(g, 4) ? IR_EQ : condition(g);
    unsigned mem = type == IR_I32 ? IR_M32 : IR_M64;
    uint32_t at = TEST_SCRATCH + 8 * pick(g, 8);
    ir_ref x = ir_cpu_load(&g->b, type, mem, at);
    ir_ref y = type == IR_I32 ? ir_i32(&g->b, 0x1234567) : ir_i64(&g->b, 0x123456789);

    if (pick(g, 2)) {
        ir_side_exit(&g->b, cc, x, y, guest_pc(g));
    } else {
        unsigned reason = pick(g, 10);

        ir_side_exit_loop(&g->b, cc, x, y, reason, guest_pc(g));
    }
}

static void body(struct gen *g, unsigned length)
{
    g->depth++;
    new_insn(g);
    for (unsigned i = 0; i < length; i++) {
        unsigned r = pick(g, 100);

        if (r < 2) {
            side_exit(g);
        } else if (r < 5 && g->depth <= MAX_DEPTH) {
            diamond(g);
        } else if (r < 7 && g->depth <= MAX_DEPTH) {
            loop(g);
        } else if (r < 20) {
            new_insn(g);
        } else if (r < 23) {
            repeat(g);
        } else if (r < 30) {
            set_global(g);
        } else {
            any_op(g);
        }
    }
    g->depth--;
}

/* Even, for 1 is what jump caches keep in empty entries. */
static ir_ref target(struct gen *g)
{
    return ir_bini(&g->b, IR_and, value(g, IR_I64), -2);
}

static void leave(struct gen *g)
{
    uint64_t to = guest_pc(g), other = guest_pc(g);

    switch (pick(g, 7)) {
    case 0:
        ir_exit_jump(&g->b, to);
        break;
    case 1: {
        enum ir_type type = int_type(g);
        enum ir_cc cc = condition(g);
        ir_ref x = value(g, type);

        ir_exit_br(&g->b, cc, x, value(g, type), to, other);
        break;
    }
    case 2:
        ir_exit_lookup(&g->b, target(g));
        break;
    case 3:
        ir_exit_call(&g->b, to, other);
        break;
    case 4:
        ir_exit_call_indirect(&g->b, target(g), other);
        break;
    case 5:
        ir_exit_ret(&g->b, target(g));
        break;
    default:
        ir_exit_loop(&g->b, pick(g, 10), to);
        break;
    }
}

static void build(struct ir_unit *unit, const struct jit_options *options, uint64_t seed)
{
    static struct gen g;

    memset(&g, 0, sizeof(g));
    g.random = seed;
    g.pc = 0x1000;
    ir_build_begin(&g.b, unit, options, &test_target, g.pc);
    for (unsigned i = pick(&g, 6); i > 0; i--) {
        get_global(&g);
    }
    body(&g, 3 + pick(&g, 60));
    leave(&g);
}

/* ---- running and comparing ------------------------------------------------------------------- */

struct outcome {
    struct test_state state;
    uint8_t memory[TEST_MEM_SIZE];
    unsigned flags;
    int result;
    struct interp_exit exit;
};

static uint8_t *memory;
static const char *only_engine; /* or NULL */

static void run(const struct test_engine *engine, const struct ir_unit *unit, uint64_t seed,
                struct outcome *o)
{
    uint64_t random = ~seed;

    memset(o, 0, sizeof(*o));
    for (unsigned i = 0; i < TEST_INTS; i++) {
        o->state.x[i] = corner(&random);
    }
    for (unsigned i = 0; i < TEST_FPS; i++) {
        o->state.f[i] = float_corner(&random);
    }
    for (unsigned i = 0; i < 8; i++) {
        o->state.scratch[i] = corner(&random);
    }
    for (unsigned i = 0; i < TEST_MEM_SIZE; i += 8) {
        uint64_t v = i / 8 % 3 ? corner(&random) : float_corner(&random);

        memcpy(memory + i, &v, 8);
    }
    o->flags = next(&random) & 31;
    o->result = test_run(engine, unit, &o->state, &o->flags, next(&random) & 3, &o->exit);
    memcpy(o->memory, memory, TEST_MEM_SIZE);
}

/* Exits that folding turns into one another. */
static enum ir_opcode exit_kind(enum ir_opcode op)
{
    return op == IR_exit_br || op == IR_exit_lookup ? IR_exit_jump : op;
}

static unsigned check(const char *what, uint64_t got, uint64_t want)
{
    if (got != want) {
        printf("#   %s: %#" PRIx64 ", expected %#" PRIx64 "\n", what, got, want);
    }
    return got != want;
}

static unsigned compare(const struct outcome *got, const struct outcome *want)
{
    unsigned wrong;

    if (got->result == -ENOSPC) {
        return 0; /* refused: more values alive than the back end has places for; counted by the
                     caller */
    }
    wrong = check("result", (uint64_t)got->result, (uint64_t)want->result);
    for (unsigned g = 0; g < TEST_GLOBALS; g++) {
        uint64_t a, b;

        memcpy(&a, (const uint8_t *)&got->state + test_target.globals[g].offset, 8);
        memcpy(&b, (const uint8_t *)&want->state + test_target.globals[g].offset, 8);
        wrong += check(test_target.globals[g].name, a, b);
    }
    for (unsigned i = 0; i < 8; i++) {
        wrong += check("scratch", got->state.scratch[i], want->state.scratch[i]);
    }
    wrong += check("flags", got->flags, want->flags);
    wrong += check("counter", got->state.counter, want->state.counter);
    wrong += check("seen by helpers", got->state.seen, want->state.seen);
    wrong += check("pc in the state", got->state.pc, want->state.pc);
    wrong += check("pc", got->exit.pc, want->exit.pc);
    if (want->result) {
        wrong += check("fault address", got->exit.fault_address, want->exit.fault_address);
    } else {
        wrong += check("exit", exit_kind(got->exit.op), exit_kind(want->exit.op));
        if (want->exit.op == IR_exit_call) {
            wrong += check("return pc", got->exit.return_pc, want->exit.return_pc);
        } else if (want->exit.op == IR_exit_loop) {
            wrong += check("reason", got->exit.reason, want->exit.reason);
        }
    }
    for (unsigned i = 0; i < TEST_MEM_SIZE; i++) {
        if (got->memory[i] != want->memory[i]) {
            printf("#   memory[%u]: %#x, expected %#x\n", i, got->memory[i], want->memory[i]);
            wrong++;
        }
    }
    return wrong;
}

static void report(void *opaque, ir_ref op, const char *text)
{
    printf("#   v#%u: %s\n", op, text);
}

static void show(const char *title, const struct ir_unit *unit)
{
    char *text = test_print(unit);

    printf("# ---- %s\n", title);
    for (char *rest = text, *line; (line = strtok_r(rest, "\n", &rest));) {
        printf("# %s\n", line);
    }
    free(text);
}

/* The unit, printed and read, is the same unit. */
static unsigned check_text(const struct ir_unit *unit, struct ir_unit *again)
{
    char *first = test_print(unit), *second, error[160];
    unsigned wrong = 1;

    if (ir_parse(again, &test_target, first, error, sizeof(error))) {
        printf("#   text form: %s\n", error);
    } else {
        second = test_print(again);
        wrong = strcmp(first, second) != 0;
        if (wrong) {
            printf("#   text form changes when read and printed\n");
        }
        free(second);
    }
    free(first);
    return wrong;
}

enum { PLAIN, OPTIMISED, READ, VARIANTS };

struct totals {
    unsigned units, faults, failures, refused;
    bool op_run[IR_OP_COUNT];
};

static void test_seed(uint64_t seed, struct ir_unit units[VARIANTS],
                      const struct jit_options options[2], struct totals *totals)
{
    static const char *const variant[VARIANTS] = {"plain", "optimised", "plain, read from text"};
    static struct outcome want, got;
    unsigned wrong = 0;

    for (unsigned v = PLAIN; v <= OPTIMISED; v++) {
        build(&units[v], &options[v], seed);
        if (v == OPTIMISED) {
            wrong += ir_verify(&units[v], report, NULL);
            jit_opt_dce(&units[v]);
        }
        wrong += ir_verify(&units[v], report, NULL);
    }
    wrong += check_text(&units[PLAIN], &units[READ]);
    if (!wrong) {
        run(&test_engines[0], &units[PLAIN], seed, &want);
        totals->faults += want.result != 0;
        for (const struct test_engine *e = test_engines; e->name; e++) {
            for (unsigned v = 0; v < VARIANTS; v++) {
                unsigned different;

                if (only_engine && strcmp(e->name, only_engine) != 0) {
                    continue;
                }

                run(e, &units[v], seed, &got);
                different = compare(&got, &want);
                totals->refused += got.result == -ENOSPC;
                if (different) {
                    printf("#   on %s, %s\n", e->name, variant[v]);
                }
                wrong += different;
            }
        }
    }
    for (uint32_t b = 0; b < units[PLAIN].block_count; b++) {
        for (ir_ref r = units[PLAIN].blocks[b].first; r; r = units[PLAIN].ins[r].next) {
            totals->op_run[units[PLAIN].ins[r].op] = true;
        }
    }
    totals->units++;
    if (wrong && totals->failures++ < 3) {
        tap_ok(false, "random unit of seed %" PRIu64, seed);
        show("plain", &units[PLAIN]);
        show("optimised", &units[OPTIMISED]);
    }
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : DEFAULT_COUNT;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    struct ir_unit units[VARIANTS];
    struct jit_options options[2];
    struct totals totals = {.units = 0};
    const char *bad;
    unsigned missing = 0;

    only_engine = argc > 3 ? argv[3] : NULL;
    memory = test_memory();
    if (!tap_ok(memory, "test memory")) {
        return tap_done();
    }
    for (unsigned v = 0; v < VARIANTS; v++) {
        ir_unit_init(&units[v]);
    }
    jit_options_init(&options[OPTIMISED]);
    jit_options_init(&options[PLAIN]);
    jit_options_parse(&options[PLAIN], "none", &bad);
    for (unsigned i = 0; i < count; i++) {
        test_seed(seed + i, units, options, &totals);
    }
    tap_ok(!totals.failures, "%u random units (%u end with a fault) give the same everywhere",
           totals.units, totals.faults);
    if (totals.units >= 1000) {
        for (unsigned op = 0; op < IR_OP_COUNT; op++) {
            if (!totals.op_run[op]) {
                missing++;
                printf("# no unit has %s\n", ir_op_info[op].name);
            }
        }
        tap_ok(!missing, "they have every op");
    }
    for (unsigned v = 0; v < VARIANTS; v++) {
        ir_unit_free(&units[v]);
    }
    return tap_done();
}
