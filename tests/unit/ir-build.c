/* The builder: registers, side exits, helpers, blocks, floating-point values, and life after an
 * end. */
#include <stdio.h>
#include <string.h>
#include "jit/ir/build.h"
#include "jit/opt/options.h"

enum { A0, A1, F0, F1, GLOBALS };
static const struct ir_global globals[GLOBALS] = {
    {"a0", 0, IR_I64, 1}, {"a1", 8, IR_I64, 2}, {"f0", 16, IR_F64, 3}, {"f1", 24, IR_F64, 4}};
enum { PURE, READS, WRITES, BOTH, FP };
static const struct ir_helper helpers[] = {
    {"pure", NULL, IR_I64, 1, 0, {IR_I64}},
    {"reads", NULL, IR_VOID, 0, IR_H_CPU | IR_H_READS_STATE, {0}},
    {"writes", NULL, IR_VOID, 0, IR_H_CPU | IR_H_WRITES_STATE, {0}},
    {"both", NULL, IR_VOID, 0, IR_H_CPU | IR_H_READS_STATE | IR_H_WRITES_STATE, {0}},
    {"fp", NULL, IR_I64, 1, IR_H_CPU | IR_H_FP, {IR_I64}},
};
static const struct ir_target target = {.name = "t",
                                        .globals = globals,
                                        .global_count = GLOBALS,
                                        .helpers = helpers,
                                        .helper_count = 5};
static struct ir_unit unit;
static struct ir_builder build;
static struct ir_builder *const b = &build;
static struct jit_options options;
static const char *variant = "";
static unsigned failed;

static void result(bool good, const char *what)
{
    printf("%sok - %s%s\n", good ? "" : "not ", what, variant);
    failed += !good;
}

static void begin(void)
{
    memset(b, 0xa5, sizeof(*b)); /* nothing may be taken over */
    ir_build_begin(b, &unit, &options, &target, 0x1000);
    ir_insn(b, 0x1000, 4);
}

static const struct ir_ins *op_of(ir_ref ref)
{
    return &unit.ins[ref];
}

static unsigned count(enum ir_opcode op)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < unit.block_count; i++) {
        for (ir_ref r = unit.blocks[i].first; r; r = unit.ins[r].next) {
            n += unit.ins[r].op == op;
        }
    }
    return n;
}

static unsigned length(uint32_t block)
{
    unsigned n = 0;

    for (ir_ref r = unit.blocks[block].first; r; r = unit.ins[r].next) {
        n++;
    }
    return n;
}

/* What global g is at the end of block, by its log alone; IR_NONE if it is not set there. */
static ir_ref set_in(uint32_t block, unsigned g)
{
    ir_ref value = IR_NONE;

    for (ir_ref r = unit.blocks[block].first; r; r = unit.ins[r].next) {
        if (unit.ins[r].op == IR_gset && unit.ins[r].aux == g) {
            value = unit.ins[r].a;
        }
    }
    return value;
}

static const struct ir_ins *end_of(uint32_t block)
{
    return op_of(unit.blocks[block].last);
}

static void test_registers(void)
{
    begin();
    ir_ref x = ir_get(b, A0);
    result(op_of(x)->op == IR_gget && op_of(x)->aux == A0 && op_of(x)->type == IR_I64, "a gget");
    result(ir_get(b, A0) == x && count(IR_gget) == 1, "a register is read once");
    ir_set(b, A0, x);
    result(count(IR_gset) == 0, "writing back what is there does nothing");
    ir_ref y = ir_bini(b, IR_add, x, 1);
    ir_set(b, A0, y);
    ir_set(b, A0, y);
    result(ir_get(b, A0) == y && count(IR_gset) == 1, "a write renames");
    ir_set(b, A0, x);
    result(ir_get(b, A0) == x && count(IR_gset) == 2,
           "writing the old value over a new one is a write");
}

static void test_side_exit(void)
{
    begin();
    ir_ref x = ir_get(b, A0), y = ir_get(b, A1), f = ir_get(b, F0);
    ir_ref sum = ir_bin(b, IR_fadd, f, f);
    ir_set(b, F0, sum);
    ir_set(b, A1, ir_bini(b, IR_add, y, 1));
    ir_ref product = ir_bin(b, IR_mul, x, y);
    ir_side_exit(b, IR_LTU, x, y, 0x2000);

    result(unit.block_count == 3 && b->block == 2 && !b->done, "a side block and the main line");
    result(end_of(0)->op == IR_br && end_of(0)->cc == IR_LTU && end_of(0)->a == x &&
               end_of(0)->b == y && end_of(0)->imm == (INT64_C(2) << 32 | 1),
           "br leads to both");
    result(unit.blocks[1].cold && !unit.blocks[2].cold && unit.blocks[1].preds == 1 &&
               unit.blocks[2].preds == 1,
           "the side block is cold, each has one predecessor");
    result(end_of(1)->op == IR_exit_jump && end_of(1)->imm == 0x2000, "it leaves");
    ir_ref seen = set_in(1, F0);
    result(seen && op_of(seen)->op == IR_fcanon && op_of(seen)->a == sum &&
               (op_of(seen)->flags & IR_VF_CANON) && set_in(1, A1) == IR_NONE,
           "the sum is made visible there");
    result(ir_get(b, F0) == sum, "and is what it was on the main line");
    result(ir_get(b, A0) == x, "registers are still known");
    if (options.cse) {
        result(ir_bin(b, IR_mul, x, y) == product, "ops are merged across the side exit");
    }
    ir_ref again = ir_fvisible(b, IR_F64, sum);
    bool main_line = false;
    for (ir_ref r = unit.blocks[2].first; r; r = op_of(r)->next) {
        main_line |= r == again;
    }
    result(again != seen && main_line, "what the side block made is not used on the main line");
    ir_exit_jump(b, 0x1004);
    ir_ref last = set_in(2, F0);
    result(last && (op_of(last)->flags & IR_VF_CANON) && op_of(last)->type == IR_F64 && b->done,
           "the end makes it visible too");
}

static void test_known_conditions(void)
{
    begin();
    ir_ref x = ir_get(b, A0);
    ir_side_exit(b, IR_NE, x, x, 0x2000);
    ir_side_exit(b, IR_LTU, ir_i64(b, 2), ir_i64(b, 1), 0x2000);
    result(unit.block_count == 1 && !b->done, "a side exit that is never taken vanishes");
    ir_side_exit(b, IR_EQ, ir_i64(b, 2), ir_i64(b, 2), 0x2000);
    result(unit.block_count == 1 && b->done && end_of(0)->op == IR_exit_jump &&
               end_of(0)->imm == 0x2000,
           "one that is always taken ends the unit");

    unsigned before = length(0);
    ir_ref y = ir_bini(b, IR_add, ir_get(b, A1), 77);
    ir_insn(b, 0x1004, 4);
    ir_set(b, A0, y);
    ir_store(b, IR_M64, y, 0, y);
    ir_side_exit(b, IR_EQ, y, x, 0x3000);
    ir_call(b, BOTH, 0, NULL);
    ir_exit_call(b, 0x4000, 0x1008);
    ir_exit_lookup(b, y);
    ir_exit_br(b, IR_LT, x, y, 1, 2);
    result(length(0) == before && unit.block_count == 1 && ir_type_of(b, y) == IR_I64,
           "what follows belongs nowhere");

    begin();
    ir_exit_lookup(b, ir_bini(b, IR_add, ir_i64(b, 0x3000), 4));
    result(end_of(0)->op == IR_exit_jump && end_of(0)->imm == 0x3004, "a known target is a jump");
    begin();
    ir_exit_call_indirect(b, ir_i64(b, 0x3000), 0x1004);
    result(end_of(0)->op == IR_exit_call && !end_of(0)->a && end_of(0)->imm == 0x3000 &&
               op_of(end_of(0)->c)->imm == 0x1004,
           "a call of a known target is direct");
    begin();
    ir_exit_br(b, IR_EQ, ir_i64(b, 1), ir_i64(b, 2), 0x2000, 0x3000);
    result(end_of(0)->op == IR_exit_jump && end_of(0)->imm == 0x3000, "a known branch is a jump");
}

static void test_always_correct_exit(void)
{
    begin();
    ir_side_exit(b, IR_EQ, ir_i64(b, 2), ir_i64(b, 2), 0x2000);
    result(unit.block_count == 3 && end_of(0)->op == IR_br && end_of(1)->imm == 0x2000,
           "without folding a known condition is a branch");
}

static void test_boxes(void)
{
    begin();
    ir_ref f = ir_get(b, F0), s = ir_op1(b, IR_funbox, IR_F32, f);
    ir_ref sum = ir_bin(b, IR_fadd, s, s);
    result((op_of(f)->flags & IR_VF_CANON) && (op_of(s)->flags & IR_VF_CANON) &&
               !(op_of(sum)->flags & IR_VF_CANON),
           "registers are visible, sums are not");
    ir_set(b, F0, sum);
    result(set_in(0, F0) == sum, "a register takes an f32");
    ir_ref boxed = ir_get(b, F0);
    result(op_of(boxed)->op == IR_fbox && op_of(boxed)->a == sum, "and gives it boxed");
    ir_set(b, F1, boxed);
    result(set_in(0, F1) == sum, "a copy of the box is the f32 again");
    ir_ref seen = ir_fvisible(b, IR_F64, boxed);
    result(op_of(seen)->op == IR_fbox && op_of(op_of(seen)->a)->op == IR_fcanon &&
               op_of(op_of(seen)->a)->a == sum && (op_of(seen)->flags & IR_VF_CANON),
           "a box becomes visible inside");
    ir_ref back = ir_op1(b, IR_funbox, IR_F32, boxed);
    result(!(op_of(back)->flags & IR_VF_CANON), "out of the box it is not visible");
    ir_ref d = ir_bin(b, IR_fmul, f, f), low = ir_op1(b, IR_funbox, IR_F32, d);
    result(op_of(low)->op == IR_funbox && op_of(op_of(low)->a)->op == IR_fcanon &&
               (op_of(low)->flags & IR_VF_CANON),
           "a product is made visible before it is unboxed");
    ir_exit_ret(b, ir_get(b, A0));
    ir_ref end0 = set_in(0, F0), end1 = set_in(0, F1);
    result(op_of(end0)->type == IR_F64 && (op_of(end0)->flags & IR_VF_CANON) &&
               op_of(end1)->type == IR_F64 && (op_of(end1)->flags & IR_VF_CANON),
           "both are boxed at the end");
    result(!(op_of(d)->flags & IR_VF_CANON), "a product is not visible");

    begin();
    ir_ref i = ir_op1(b, IR_i2f, IR_F64, ir_get(b, A0));
    ir_ref c = ir_fconst(b, IR_F64, UINT64_C(0xfff0000000000001));
    ir_ref neg = ir_un(b, IR_fneg, ir_load(b, IR_F64, IR_M64, ir_get(b, A0), 0));
    ir_ref sel = ir_select(b, ir_get(b, A1), neg, i);
    bool good = op_of(i)->flags & op_of(c)->flags & op_of(neg)->flags & op_of(sel)->flags &
                op_of(ir_bitcast(b, IR_F64, ir_get(b, A0)))->flags & IR_VF_CANON;
    ir_ref sqrt = ir_un(b, IR_fsqrt, i), fma = ir_fma(b, 0, i, i, i);
    ir_ref narrow = ir_op1(b, IR_fdemote, IR_F32, i), wide = ir_op1(b, IR_fpromote, IR_F64, narrow);
    good &= !((op_of(sqrt)->flags | op_of(fma)->flags | op_of(narrow)->flags | op_of(wide)->flags |
               op_of(ir_select(b, ir_get(b, A1), sqrt, i))->flags |
               op_of(ir_bin(b, IR_fcopysign, sqrt, i))->flags) &
              IR_VF_CANON);
    result(good, "which values are visible");
}

static void test_calls(void)
{
    begin();
    ir_ref x = ir_get(b, A0), f = ir_get(b, F0);
    ir_ref sum = ir_bin(b, IR_fadd, f, f);
    ir_set(b, F0, sum);
    ir_call(b, READS, 0, NULL);
    ir_ref seen = set_in(0, F0);
    result(op_of(seen)->op == IR_fcanon && ir_get(b, F0) == seen && ir_get(b, A0) == x,
           "a helper that reads sees the visible value");
    ir_set(b, A0, ir_bini(b, IR_add, x, 1));
    ir_call(b, BOTH, 0, NULL);
    ir_ref y = ir_get(b, A0);
    result(op_of(y)->op == IR_gget && y != x && count(IR_gget) == 3,
           "one that writes makes registers unknown");
    unsigned sets = count(IR_gset);
    ir_set(b, A0, y);
    result(count(IR_gset) == sets, "and clean");
    ir_set(b, F0, ir_bin(b, IR_fadd, f, f));
    ir_call(b, WRITES, 0, NULL);
    ir_exit_jump(b, 0x2000);
    ir_ref last = set_in(0, F0);
    result((op_of(last)->flags & IR_VF_CANON) && op_of(last)->type == IR_F64,
           "one that only writes finds the state complete");

    begin();
    x = ir_get(b, A0);
    ir_ref p = ir_call(b, PURE, 1, &x), q = ir_call(b, PURE, 1, &x);
    result((p == q) == options.cse, "equal calls without effects merge");
    ir_ref fp = ir_call(b, FP, 1, &x);
    ir_cpu_store(b, IR_M32, 100, x);
    result(ir_call(b, FP, 1, &x) != fp, "a store to the state comes between");
    result(ir_call(b, READS, 0, NULL) == IR_NONE, "a helper without result");
    ir_ref z = ir_i64(b, 0);
    ir_ref c = ir_call_if(b, IR_EQ, x, z, x, PURE, 1, &x);
    result(op_of(c)->op == IR_callif && op_of(c)->b == 4 && unit.pool[op_of(c)->a] == x &&
               unit.pool[op_of(c)->a + 1] == z && unit.pool[op_of(c)->a + 3] == x,
           "a call out of line");
}

static void test_flags(void)
{
    begin();
    ir_ref f = ir_get(b, F0), g = ir_get(b, F1);
    ir_ref sum = ir_bin(b, IR_fadd, f, g);
    ir_fflags_get(b);
    if (options.cse) {
        result(ir_bin(b, IR_fadd, f, g) == sum, "equal sums merge");
    }
    ir_fflags_set(b, ir_i32(b, 0));
    ir_ref after = ir_bin(b, IR_fadd, f, g);
    result(after != sum, "not across a clearing of flags");
    ir_frm_set(b, ir_i32(b, 1));
    result(ir_bin(b, IR_fadd, f, g) != after, "nor across a change of rounding");
}

static void test_blocks(void)
{
    begin();
    ir_ref x = ir_get(b, A0), y = ir_get(b, A1);
    ir_ref one = ir_bini(b, IR_add, x, 1), f = ir_bin(b, IR_fadd, ir_get(b, F0), ir_get(b, F1));
    ir_set(b, A0, one);
    ir_set(b, F0, ir_op1(b, IR_fdemote, IR_F32, f));
    uint32_t yes = ir_block_new(b, false), no = ir_block_new(b, false),
             join = ir_block_new(b, false);
    ir_br(b, IR_LT, x, y, yes, no);

    ir_block_set(b, yes);
    result(ir_get(b, A0) == one && ir_get(b, A1) == y, "along the edge all is known");
    ir_ref two = ir_bini(b, IR_mul, x, 3);
    ir_set(b, A0, two);
    ir_ref args[2] = {two, ir_get(b, F0)};
    ir_jump(b, join, 2, args);

    ir_block_set(b, no);
    result(ir_get(b, A0) == one && ir_get(b, A1) == y, "out of order it is found in the log");
    ir_ref other = ir_bini(b, IR_mul, x, 3);
    result(other != two, "but nothing is merged with the other side");
    args[0] = one;
    args[1] = ir_get(b, F0);
    ir_jump(b, join, 2, args);
    ir_ref passed = unit.pool[end_of(no)->a + 1];
    result(op_of(passed)->op == IR_fbox && (op_of(passed)->flags & IR_VF_CANON),
           "a box is passed on visible");

    ir_block_set(b, join);
    ir_ref p = ir_block_param(b, IR_I64, A0), q = ir_block_param(b, IR_F64, F0);
    result(ir_get(b, A0) == p && ir_get(b, F0) == q && unit.blocks[join].params == 2 &&
               unit.blocks[join].preds == 2 && op_of(q)->imm == 1,
           "parameters bind registers");
    ir_ref z = ir_get(b, A1);
    result(z != y && op_of(z)->op == IR_gget, "a clean register is read anew");
    ir_exit_loop(b, 3, 0x1010);
    result(!set_in(join, F0) && end_of(join)->aux == 3, "what they bind is visible already");
}

/* Arrays grow, and the next unit starts afresh in them. */
static void test_size(void)
{
    begin();
    for (unsigned i = 0; i < 5000; i++) {
        ir_ref x = ir_get(b, A0);
        ir_set(b, A0, ir_load(b, IR_I64, IR_M64, x, i));
        x = ir_get(b, A0);
        ir_call(b, PURE, 1, &x);
        ir_side_exit(b, IR_EQ, x, ir_get(b, A1), i);
    }
    ir_exit_jump(b, 0);
    result(unit.block_count == 10001 && ir_build_size(b) > 15000 && unit.pool_count == 5000 &&
               count(IR_ld) == 5000 && count(IR_exit_jump) == 5001,
           "a long unit");
    struct ir_ins *ins = unit.ins;
    begin();
    ir_exit_jump(b, 1);
    result(unit.ins == ins && unit.block_count == 1 && length(0) == 2,
           "its memory serves the next");
}

static void test_tables(void)
{
    _Static_assert(sizeof(struct ir_ins) == 32, "two ops a cache line");
    result(!strcmp(ir_op_info[IR_fadd].name, "fadd") && ir_op_info[IR_fadd].fp_flags &&
               ir_op_info[IR_fadd].nargs == 2 && ir_op_info[IR_call].pool &&
               ir_op_info[IR_call].nargs == 0 && ir_op_info[IR_exit_br].exits &&
               ir_op_info[IR_exit_br].ends_block && ir_op_info[IR_br].ends_block &&
               !ir_op_info[IR_br].exits && ir_op_info[IR_amo].faults && ir_op_info[IR_amo].reads &&
               ir_op_info[IR_amo].writes && ir_op_info[IR_amo].side_effect &&
               !ir_op_info[IR_add].side_effect && ir_op_info[IR_select].nargs == 3,
           "facts of ops.def");
    bool good = true;
    for (unsigned cc = 0; cc < IR_CC_COUNT; cc++) {
        for (int64_t x = -2; x <= 2; x++) {
            for (int64_t y = -2; y <= 2; y++) {
                bool holds = ir_cc_holds((enum ir_cc)cc, false, x, y);
                good &= ir_cc_holds(ir_cc_swap((enum ir_cc)cc), false, y, x) == holds;
                good &= ir_cc_holds(ir_cc_negate((enum ir_cc)cc), false, x, y) == !holds;
                good &= ir_cc_holds((enum ir_cc)cc, true, x | INT64_C(1) << 40, y) == holds;
            }
        }
    }
    result(good, "conditions swap and negate");
    result(!strcmp(ir_mem_name(IR_M32 | IR_MS), "m32s") && !ir_mem_name(6) && !ir_mem_name(99) &&
               !strcmp(ir_cc_name(IR_GTU), "gtu") && !strcmp(ir_amo_name(IR_AMO_MAXU), "maxu") &&
               !strcmp(ir_fcc_name(IR_FLEQ), "leq") && !strcmp(ir_type_name(IR_V256), "v256"),
           "names");
}

int main(void)
{
    ir_unit_init(&unit);
    test_tables();
    for (unsigned i = 0; i < 4; i++) {
        static const char *const variants[] = {"", " (no-cse)", " (no-fold)", " (no-fold,no-cse)"};
        jit_options_init(&options);
        options.cse = !(i & 1);
        options.fold = !(i & 2);
        variant = variants[i];
        test_registers();
        test_side_exit();
        if (options.fold) {
            test_known_conditions();
        } else {
            test_always_correct_exit();
        }
        test_boxes();
        test_calls();
        test_flags();
        test_blocks();
        test_size();
    }
    ir_unit_free(&unit);
    return failed != 0;
}
