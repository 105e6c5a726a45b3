/*
 * Folding against an evaluator of its own: constants for every integer op and type, then random
 * graphs with folding and merging on or off, in which every value and every side exit must come out
 * as it would without any folding. A list of rules checks that what should fold does.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "jit/ir/build.h"
#include "jit/opt/options.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
enum { GLOBALS = 4, MAX_REFS = 16384 };

static const struct ir_global globals[GLOBALS] = {
    {"x", 0, IR_I64, 1}, {"y", 8, IR_I64, 2}, {"z", 16, IR_I64, 3}, {"f", 24, IR_F64, 4}};
static const struct ir_target target = {.name = "t", .globals = globals, .global_count = GLOBALS};

static struct ir_unit unit;
static struct ir_builder build;
static struct ir_builder *const b = &build;
static struct jit_options options;
static uint64_t leaf[MAX_REFS]; /* the value of a gget, ld, amo or cas */
static unsigned failed, unit_number;
static uint64_t seed = 1;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * UINT64_C(0x2545f4914f6cdd1d);
}

static void result(bool good, const char *what)
{
    printf("%sok - %s\n", good ? "" : "not ", what);
    failed += !good;
}

static unsigned width(enum ir_type type)
{
    return 8 * ir_type_size(type);
}

static __int128 as_unsigned(uint64_t v, unsigned w)
{
    return w == 64 ? (__int128)v : (__int128)(v & ((UINT64_C(1) << w) - 1));
}

static __int128 as_signed(uint64_t v, unsigned w)
{
    __int128 u = as_unsigned(v, w);
    return u >> (w - 1) & 1 ? u - ((__int128)1 << w) : u;
}

static bool compare(enum ir_cc cc, unsigned w, uint64_t a, uint64_t c)
{
    __int128 s = as_signed(a, w), t = as_signed(c, w), u = as_unsigned(a, w), v = as_unsigned(c, w);
    bool holds[IR_CC_COUNT] = {[IR_EQ] = u == v,
                               [IR_NE] = u != v,
                               [IR_LT] = s<t, [IR_GE] = s >= t, [IR_LE] = s <= t, [IR_GT] = s> t,
                               [IR_LTU] =
                                   u<v, [IR_GEU] = u >= v, [IR_LEU] = u <= v, [IR_GTU] = u> v};
    return holds[cc];
}

/* The definition of ops.def in wide arithmetic, for a result of w bits from an operand of aw bits.
 */
static uint64_t calc(enum ir_opcode op, unsigned w, unsigned aw, unsigned cc, uint64_t a,
                     uint64_t c, uint64_t d)
{
    __int128 ua = as_unsigned(a, w), uc = as_unsigned(c, w);
    __int128 sa = as_signed(a, w), sc = as_signed(c, w), r = 0;
    unsigned n = (unsigned)(uc % w);
    uint64_t sign = UINT64_C(1) << (w - 1);
    uint64_t inf = w == 32 ? UINT64_C(0x7f800000) : UINT64_C(0x7ff0000000000000);
    uint64_t nan = w == 32 ? UINT64_C(0x7fc00000) : UINT64_C(0x7ff8000000000000);

    switch (op) {
    case IR_add:
        r = ua + uc;
        break;
    case IR_sub:
        r = ua - uc;
        break;
    case IR_mul:
        r = (__int128)((unsigned __int128)ua * (unsigned __int128)uc);
        break;
    case IR_mulhs:
        r = sa * sc >> w;
        break;
    case IR_mulhu:
        r = (__int128)((unsigned __int128)ua * (unsigned __int128)uc >> w);
        break;
    case IR_mulhsu:
        r = sa * uc >> w;
        break;
    case IR_divs:
        r = sc == 0 ? -1 : sa / sc;
        break;
    case IR_divu:
        r = uc == 0 ? -1 : ua / uc;
        break;
    case IR_rems:
        r = sc == 0 ? sa : sa % sc;
        break;
    case IR_remu:
        r = uc == 0 ? ua : ua % uc;
        break;
    case IR_and:
        r = ua & uc;
        break;
    case IR_or:
        r = ua | uc;
        break;
    case IR_xor:
        r = ua ^ uc;
        break;
    case IR_andn:
        r = ua & ~uc;
        break;
    case IR_shl:
        r = (__int128)((unsigned __int128)ua << n);
        break;
    case IR_shr:
        r = ua >> n;
        break;
    case IR_sar:
        r = sa >> n;
        break;
    case IR_rotl:
        r = (__int128)((unsigned __int128)ua << n) | ua >> (w - n);
        break;
    case IR_rotr:
        r = (__int128)((unsigned __int128)ua << (w - n)) | ua >> n;
        break;
    case IR_clz:
        while (r < w && !(ua >> (w - 1 - r) & 1)) {
            r++;
        }
        break;
    case IR_ctz:
        while (r < w && !(ua >> r & 1)) {
            r++;
        }
        break;
    case IR_popcnt:
        for (unsigned i = 0; i < w; i++) {
            r += ua >> i & 1;
        }
        break;
    case IR_bswap:
        for (unsigned i = 0; i < w; i += 8) {
            r = r << 8 | (ua >> i & 0xff);
        }
        break;
    case IR_sext8:
        r = as_signed(a, 8);
        break;
    case IR_sext16:
        r = as_signed(a, 16);
        break;
    case IR_zext8:
        r = as_unsigned(a, 8);
        break;
    case IR_zext16:
        r = as_unsigned(a, 16);
        break;
    case IR_trunc:
    case IR_sext:
        r = as_signed(a, 32);
        break;
    case IR_zext:
        r = as_unsigned(a, 32);
        break;
    case IR_icmp:
        r = compare((enum ir_cc)cc, aw, a, c);
        break;
    case IR_select:
        r = as_unsigned(a, aw) ? c : d;
        break;
    case IR_bitcast:
        r = ua;
        break;
    case IR_fneg:
        r = a ^ sign;
        break;
    case IR_fabs:
        r = a & ~sign;
        break;
    case IR_fcopysign:
        r = (a & ~sign) | (c & sign);
        break;
    case IR_fxorsign:
        r = a ^ (c & sign);
        break;
    case IR_fcanon:
        r = (as_unsigned(a, w) & ~sign) > inf ? nan : ua;
        break;
    case IR_fbox:
        r = a | UINT64_C(0xffffffff00000000);
        break;
    case IR_funbox:
        r = a >> 32 == UINT32_MAX ? a : nan;
        break;
    default:
        printf("# no definition of op %d\n", (int)op);
        failed++;
    }
    return (uint64_t)as_signed((uint64_t)r, w); /* f32 alike: only the low bits count */
}

static uint64_t eval(ir_ref ref)
{
    static uint64_t known[MAX_REFS];
    static unsigned known_in[MAX_REFS]; /* the unit it is known in */
    const struct ir_ins *ins = &unit.ins[ref];
    unsigned n = ir_op_info[ins->op].nargs;

    if (known_in[ref] == unit_number) {
        return known[ref];
    }
    known_in[ref] = unit_number;
    switch (ins->op) {
    case IR_const:
        known[ref] = (uint64_t)as_signed((uint64_t)ins->imm, width((enum ir_type)ins->type));
        break;
    case IR_gget:
    case IR_ld:
    case IR_amo:
        known[ref] = leaf[ref];
        break;
    default:
        known[ref] = calc((enum ir_opcode)ins->op, width((enum ir_type)ins->type),
                          width((enum ir_type)unit.ins[ins->a].type), ins->cc, eval(ins->a),
                          n > 1 ? eval(ins->b) : 0, n > 2 ? eval(ins->c) : 0);
    }
    return known[ref];
}

/* Bits as constants: where ops go wrong. */
static uint64_t special(void)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      4,
                                      7,
                                      8,
                                      15,
                                      16,
                                      24,
                                      31,
                                      32,
                                      33,
                                      48,
                                      56,
                                      63,
                                      64,
                                      65,
                                      0x7f,
                                      0x80,
                                      0xff,
                                      0x100,
                                      0x7fff,
                                      0x8000,
                                      0xffff,
                                      0x10000,
                                      0x7fffffff,
                                      0x80000000,
                                      0xffffffff,
                                      0x100000000,
                                      UINT64_C(0x7fffffffffffffff),
                                      UINT64_C(0x8000000000000000),
                                      UINT64_C(0xffffffff7fc00000),
                                      UINT64_C(0xffffffffff800001),
                                      UINT64_C(0x7ff8000000000000),
                                      UINT64_C(0x7ff0000000000000),
                                      UINT64_C(0xfff0000000000001),
                                      UINT64_C(0xfff8000000000000),
                                      0x7fc00000,
                                      0x7f800000,
                                      0xff800001,
                                      0xffc00000};
    uint64_t v = values[rnd() % COUNT(values)];

    switch (rnd() % 8) {
    case 0:
        return rnd();
    case 1:
        return rnd() >> (rnd() % 64);
    case 2:
        return -v;
    case 3:
        return v - 1;
    default:
        return v;
    }
}

static void begin(void)
{
    unit_number++;
    ir_build_begin(b, &unit, &options, &target, 0x1000);
    ir_insn(b, 0x1000, 4);
}

/* ---- constants ------------------------------------------------------------------------------- */

static void test_constants(void)
{
    for (unsigned op = IR_add; op <= IR_icmp; op++) {
        const struct ir_op_info *info = &ir_op_info[op];
        bool good = true;

        for (unsigned i = 0; i < 4000 && good; i++) {
            enum ir_type type = op == IR_trunc                        ? IR_I32
                                : info->result[0] == 'I' || rnd() & 1 ? IR_I64
                                                                      : IR_I32;
            enum ir_type arg = op == IR_trunc                   ? IR_I64
                               : op == IR_sext || op == IR_zext ? IR_I32
                               : op == IR_icmp                  ? (rnd() & 1 ? IR_I32 : IR_I64)
                                                                : type;
            uint64_t a = (uint64_t)as_signed(special(), width(arg));
            uint64_t c = (uint64_t)as_signed(special(), width(arg));
            enum ir_cc cc = (enum ir_cc)(op == IR_icmp ? rnd() % IR_CC_COUNT : 0);
            int64_t got = 0;

            begin();
            ir_ref ra = arg == IR_I32 ? ir_i32(b, (int32_t)a) : ir_i64(b, (int64_t)a);
            ir_ref rc = arg == IR_I32 ? ir_i32(b, (int32_t)c) : ir_i64(b, (int64_t)c);
            ir_ref r = op == IR_icmp      ? ir_icmp(b, cc, type, ra, rc)
                       : info->nargs == 1 ? ir_op1(b, (enum ir_opcode)op, type, ra)
                                          : ir_op2(b, (enum ir_opcode)op, type, ra, rc);
            uint64_t want = calc((enum ir_opcode)op, width(type), width(arg), cc, a, c, 0);
            if (!ir_is_const(b, r, &got) || got != (int64_t)want || ir_type_of(b, r) != type) {
                printf("# %s.%s cc %d of %#llx, %#llx: %#llx, expected %#llx\n", info->name,
                       ir_type_name(type), (int)cc, (unsigned long long)a, (unsigned long long)c,
                       (unsigned long long)got, (unsigned long long)want);
                good = false;
            }
        }
        char text[64];
        snprintf(text, sizeof(text), "constants: %s", info->name);
        result(good, text);
    }
}

/* ---- random graphs --------------------------------------------------------------------------- */

struct value {
    ir_ref ref;
    uint64_t bits;
};
static struct value pool[IR_TYPE_COUNT][256];
static unsigned pool_size[IR_TYPE_COUNT];

static void put(ir_ref ref, uint64_t bits)
{
    enum ir_type type = ir_type_of(b, ref);
    unsigned n = pool_size[type] < 256 ? pool_size[type]++ : (unsigned)(rnd() % 256);

    pool[type][n] = (struct value){ref, bits};
}

static struct value constant(enum ir_type type)
{
    uint64_t v = special();

    if (ir_type_is_fp(type)) {
        return (struct value){ir_fconst(b, type, v), (uint64_t)as_signed(v, width(type))};
    }
    if (type == IR_I32) {
        return (struct value){ir_i32(b, (int32_t)v), (uint64_t)(int32_t)v};
    }
    return (struct value){ir_i64(b, (int64_t)v), v};
}

/* Recent values more often than old ones, so that chains of ops come up. */
static struct value pick(enum ir_type type)
{
    unsigned n = pool_size[type];

    if (n == 0 || rnd() % 3 == 0) {
        return constant(type);
    }
    if (rnd() & 1) {
        return pool[type][n - 1 - rnd() % (n < 4 ? n : 4)];
    }
    return pool[type][rnd() % n];
}

static void add_leaves(void)
{
    for (unsigned g = 0; g < GLOBALS; g++) {
        ir_ref ref = ir_get(b, g);
        leaf[ref] = special();
        put(ref, leaf[ref]);
    }
    for (unsigned i = 0; i < 6; i++) {
        enum ir_type type = rnd() & 1 ? IR_I64 : IR_I32;
        unsigned mem = (unsigned)(rnd() % (type == IR_I64 ? 4 : 3)), bits = 8u << mem;
        bool amo = rnd() % 4 == 0, sign = amo || rnd() & 1;
        ir_ref ref = amo ? ir_amo(b, IR_AMO_ADD, type, mem, ir_get(b, 0),
                                  type == IR_I32 ? ir_i32(b, 1) : ir_i64(b, 1))
                         : ir_load(b, type, mem | (sign ? IR_MS : 0), ir_get(b, 0), 8);
        uint64_t v = special();

        v = sign ? (uint64_t)as_signed(v, bits) : (uint64_t)as_unsigned(v, bits);
        leaf[ref] = (uint64_t)as_signed(v, width(type));
        put(ref, leaf[ref]);
    }
}

static enum ir_type random_int(void)
{
    return rnd() % 3 ? IR_I64 : IR_I32;
}

static void add_op(void)
{
    static const enum ir_opcode fp[] = {IR_fneg,   IR_fabs, IR_fcopysign, IR_fxorsign,
                                        IR_fcanon, IR_fbox, IR_funbox,    IR_bitcast};
    enum ir_opcode op = (enum ir_opcode)(IR_add + rnd() % (IR_select - IR_add + 1));
    enum ir_type type = random_int(), arg;
    enum ir_cc cc = IR_EQ;
    struct value x, y = {0}, z = {0};
    ir_ref ref;

    if (rnd() % 6 == 0) {
        op = fp[rnd() % COUNT(fp)];
    }
    if (rnd() % 8 == 0) { /* what conditions look through */
        op = rnd() & 1 ? IR_icmp : rnd() & 1 ? IR_sext : IR_zext;
    }
    if (rnd() % 8 == 0) { /* the pairs of shifts that guests extend with */
        op = rnd() & 1 ? IR_shl : rnd() & 1 ? IR_shr : IR_sar;
    }
    if (op >= IR_fneg && op <= IR_fcanon) {
        type = rnd() & 1 ? IR_F32 : IR_F64;
    }
    arg = type;
    switch (op) {
    case IR_trunc:
        type = IR_I32;
        arg = IR_I64;
        break;
    case IR_sext:
    case IR_zext:
        type = IR_I64;
        arg = IR_I32;
        break;
    case IR_fbox:
        type = IR_F64;
        arg = IR_F32;
        break;
    case IR_funbox:
        type = IR_F32;
        arg = IR_F64;
        break;
    case IR_bitcast:
        arg = type == IR_I32 ? IR_F32 : IR_F64;
        if (rnd() & 1) {
            enum ir_type t = type;
            type = arg;
            arg = t;
        }
        break;
    case IR_icmp:
        arg = random_int();
        cc = (enum ir_cc)(rnd() % IR_CC_COUNT);
        break;
    case IR_select:
        arg = random_int();
        break;
    default:
        break;
    }
    x = pick(arg);
    if (ir_op_info[op].nargs > 1) {
        y = pick(op == IR_select ? type : arg);
    }
    if (ir_op_info[op].nargs > 2) {
        z = pick(type);
    }
    if ((op == IR_shl || op == IR_shr || op == IR_sar) && rnd() & 1) {
        static const uint8_t counts[] = {32, 48, 56, 16, 24, 30, 29, 31, 33, 8, 63, 1};
        y.bits = counts[rnd() % COUNT(counts)];
        y.ref = type == IR_I32 ? ir_i32(b, (int32_t)y.bits) : ir_i64(b, (int64_t)y.bits);
    }
    ref = op == IR_icmp               ? ir_icmp(b, cc, type, x.ref, y.ref)
          : op == IR_select           ? ir_select(b, x.ref, y.ref, z.ref)
          : ir_op_info[op].nargs == 1 ? ir_op1(b, op, type, x.ref)
                                      : ir_op2(b, op, type, x.ref, y.ref);
    if (ir_type_of(b, ref) != type) {
        printf("# %s gave type %s\n", ir_op_info[op].name, ir_type_name(ir_type_of(b, ref)));
        failed++;
    }
    put(ref, calc(op, width(type), width(arg), cc, x.bits, y.bits, z.bits));
}

/* The pc that the unit leaves to. */
static uint64_t run(void)
{
    uint32_t block = 0;

    for (;;) {
        const struct ir_ins *end = &unit.ins[unit.blocks[block].last];

        if (end->op == IR_exit_jump) {
            return (uint64_t)end->imm;
        }
        if (end->op == IR_exit_br) {
            return (uint64_t)(compare((enum ir_cc)end->cc,
                                      width((enum ir_type)unit.ins[end->a].type), eval(end->a),
                                      eval(end->b))
                                  ? end->imm
                                  : unit.ins[end->c].imm);
        }
        if (end->op != IR_br) {
            return 0;
        }
        bool yes = compare((enum ir_cc)end->cc, width((enum ir_type)unit.ins[end->a].type),
                           eval(end->a), eval(end->b));
        block = (uint32_t)(yes ? end->imm : end->imm >> 32);
    }
}

static bool random_unit(void)
{
    uint64_t want = 0;
    bool good = true;

    begin();
    memset(pool_size, 0, sizeof(pool_size));
    add_leaves();
    for (unsigned i = 0; i < 60; i++) {
        add_op();
        if (i % 8 == 7) {
            enum ir_type type = random_int();
            enum ir_cc cc = (enum ir_cc)(rnd() % IR_CC_COUNT);
            struct value x = pick(type), y = pick(type);

            if (!want && compare(cc, width(type), x.bits, y.bits)) {
                want = 0x2000 + i;
            }
            if (i > 48) {
                ir_exit_br(b, cc, x.ref, y.ref, 0x2000 + i, 0x3000);
                want = want ? want : 0x3000;
                break;
            }
            ir_side_exit(b, cc, x.ref, y.ref, 0x2000 + i);
        }
        if (b->done) { /* a side exit that is always taken: later ops belong nowhere */
            break;
        }
    }
    for (unsigned t = 0; t < IR_TYPE_COUNT; t++) {
        for (unsigned i = 0; i < pool_size[t]; i++) {
            uint64_t got = eval(pool[t][i].ref);

            if (as_unsigned(got ^ pool[t][i].bits, width((enum ir_type)t)) != 0) {
                const struct ir_ins *ins = &unit.ins[pool[t][i].ref];
                printf("# v%u = %s.%s %u, %u, %u: %#llx, expected %#llx\n", pool[t][i].ref,
                       ir_op_info[ins->op].name, ir_type_name((enum ir_type)t), ins->a, ins->b,
                       ins->c, (unsigned long long)got, (unsigned long long)pool[t][i].bits);
                good = false;
            }
        }
    }
    uint64_t got = run();
    if (got != want) {
        printf("# left to %#llx, expected %#llx\n", (unsigned long long)got,
               (unsigned long long)want);
        good = false;
    }
    return good;
}

static void test_random(bool fold, bool cse, unsigned count, const char *what)
{
    bool good = true;

    options.fold = fold;
    options.cse = cse;
    for (unsigned i = 0; i < count && good; i++) {
        good = random_unit();
    }
    result(good, what);
    jit_options_init(&options);
}

/* ---- rules that must apply ------------------------------------------------------------------- */

static void same(ir_ref got, ir_ref want, const char *what)
{
    if (got != want) {
        printf("# v%u (%s), expected v%u (%s)\n", got, ir_op_info[unit.ins[got].op].name, want,
               ir_op_info[unit.ins[want].op].name);
    }
    result(got == want, what);
}

static void test_rules(void)
{
    begin();
    ir_ref x = ir_get(b, 0), y = ir_get(b, 1), f = ir_get(b, 3);
    ir_ref w = ir_trunc(b, x), zero = ir_i64(b, 0);
    ir_ref lw = ir_load(b, IR_I64, IR_M32 | IR_MS, x, 0), lbu = ir_load(b, IR_I64, IR_M8, x, 0);
    ir_ref cmp = ir_icmp(b, IR_LT, IR_I64, x, y), f32 = ir_op1(b, IR_funbox, IR_F32, f);
    ir_ref sum = ir_bin(b, IR_fadd, f, f), sum32 = ir_bin(b, IR_fadd, f32, f32);

    same(ir_bin(b, IR_add, zero, x), x, "0 + x = x");
    same(ir_bini(b, IR_add, ir_bini(b, IR_add, x, 5), 7), ir_bini(b, IR_add, x, 12),
         "(x + 5) + 7 = x + 12");
    same(ir_bini(b, IR_sub, x, 3), ir_bini(b, IR_add, x, -3), "x - 3 = x + -3");
    same(ir_bin(b, IR_sub, x, x), zero, "x - x = 0");
    same(ir_bin(b, IR_xor, x, x), zero, "x ^ x = 0");
    same(ir_bini(b, IR_and, x, -1), x, "x & -1 = x");
    same(ir_bini(b, IR_or, x, 0), x, "x | 0 = x");
    same(ir_bini(b, IR_shl, x, 64), x, "x << 64 = x");
    same(ir_bini(b, IR_mul, x, 8), ir_bini(b, IR_shl, x, 3), "x * 8 = x << 3");
    same(ir_bini(b, IR_divu, x, 8), ir_bini(b, IR_shr, x, 3), "x / 8 = x >> 3 without sign");
    same(ir_bini(b, IR_and, x, 0xff), ir_un(b, IR_zext8, x), "x & 0xff = zext8 x");
    same(ir_trunc(b, ir_sext(b, w)), w, "trunc(sext w) = w");
    same(ir_trunc(b, ir_zext(b, w)), w, "trunc(zext w) = w");
    same(ir_sext(b, ir_trunc(b, lw)), lw, "sext(trunc x) = x of a sign-extended load");
    same(ir_zext(b, ir_trunc(b, lbu)), lbu, "zext(trunc x) = x of a byte");
    ir_ref w33 = ir_bini(b, IR_shl, ir_zext(b, w), 1);
    result(ir_zext(b, ir_trunc(b, w33)) != w33, "but not of 33 bits");
    same(ir_bini(b, IR_and, lbu, 0xff), lbu, "a byte & 0xff = itself");
    same(ir_bini(b, IR_shr, ir_bini(b, IR_shl, x, 32), 32), ir_zext(b, w),
         "x << 32 >> 32 = zext(trunc x)");
    same(ir_bini(b, IR_sar, ir_bini(b, IR_shl, x, 32), 32), ir_sext(b, w),
         "the same with sign = sext(trunc x)");
    same(ir_bini(b, IR_shr, ir_bini(b, IR_shl, x, 32), 30), ir_bini(b, IR_shl, ir_zext(b, w), 2),
         "x << 32 >> 30 = zext(trunc x) << 2");
    same(ir_bini(b, IR_shr, ir_bini(b, IR_shl, x, 56), 56), ir_un(b, IR_zext8, x),
         "x << 56 >> 56 = zext8 x");
    same(ir_bini(b, IR_sar, ir_bini(b, IR_shl, x, 48), 48), ir_un(b, IR_sext16, x),
         "x << 48 >> 48 with sign = sext16 x");
    same(ir_icmp(b, IR_NE, IR_I64, cmp, zero), cmp, "(x < y) != 0 is x < y");
    same(ir_bini(b, IR_xor, cmp, 1), ir_icmp(b, IR_GE, IR_I64, x, y), "(x < y) ^ 1 is x >= y");
    same(ir_icmp(b, IR_LTU, IR_I64, ir_bin(b, IR_xor, x, y), ir_i64(b, 1)),
         ir_icmp(b, IR_EQ, IR_I64, x, y), "(x ^ y) < 1 without sign is x == y");
    same(ir_icmp(b, IR_LT, IR_I64, ir_sext(b, w), ir_i64(b, 9)),
         ir_icmp(b, IR_LT, IR_I64, w, ir_i32(b, 9)), "sext w < 9 is w < 9");
    same(ir_select(b, ir_i64(b, 3), x, y), x, "select of a constant");
    same(ir_select(b, cmp, x, x), x, "select of the same");
    same(ir_bitcast(b, IR_F64, ir_bitcast(b, IR_I64, f)), f, "bitcast and back");
    same(ir_op1(b, IR_funbox, IR_F32, ir_op1(b, IR_fbox, IR_F64, f32)), f32, "funbox(fbox x) = x");
    same(ir_op1(b, IR_funbox, IR_F32, ir_op1(b, IR_fbox, IR_F64, sum32)), sum32,
         "funbox(fbox x) = x of a sum");
    same(ir_un(b, IR_fneg, ir_un(b, IR_fneg, f)), f, "-(-x) = x");
    same(ir_un(b, IR_fcanon, ir_un(b, IR_fcanon, sum)), ir_un(b, IR_fcanon, sum),
         "fcanon(fcanon x) = fcanon x");
    same(ir_fvisible(b, IR_F64, f), f, "a register is visible as it is");
    result(unit.ins[ir_un(b, IR_fcanon, f)].op == IR_fcanon,
           "fcanon of a register stays: it may hold a NaN with payload");
    result(unit.ins[ir_bin(b, IR_fadd, ir_fconst(b, IR_F64, 0), ir_fconst(b, IR_F64, 0))].op ==
               IR_fadd,
           "0.0 + 0.0 is left to the rounding mode");
}

int main(void)
{
    jit_options_init(&options);
    ir_unit_init(&unit);
    test_constants();
    test_rules();
    test_random(true, true, 20000, "random graphs");
    test_random(true, false, 1000, "random graphs without merging");
    test_random(false, true, 1000, "random graphs without folding");
    test_random(false, false, 300, "random graphs as they are");
    ir_unit_free(&unit);
    return failed != 0;
}
