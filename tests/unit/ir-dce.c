/* Dead code: what goes, what stays, and that the lists are whole afterwards. */
#include <stdio.h>
#include "jit/ir/build.h"
#include "jit/opt/dce.h"
#include "jit/opt/options.h"

static const struct ir_global globals[] = {{"a0", 0, IR_I64, 1}, {"a1", 8, IR_I64, 2}};
static const struct ir_helper helpers[] = {
    {"pure", NULL, IR_I64, 1, 0, {IR_I64}},
    {"effect", NULL, IR_I64, 1, IR_H_SIDE_EFFECT, {IR_I64}},
    {"reads", NULL, IR_VOID, 0, IR_H_CPU | IR_H_READS_STATE, {0}},
};
enum { PURE, EFFECT, READS };
static const struct ir_target target = {
    .name = "t", .globals = globals, .global_count = 2, .helpers = helpers, .helper_count = 3};
static struct ir_unit unit;
static struct ir_builder build;
static struct ir_builder *const b = &build;
static struct jit_options options;
static unsigned failed;

static void result(bool good, const char *what)
{
    printf("%sok - %s\n", good ? "" : "not ", what);
    failed += !good;
}

static void begin(void)
{
    ir_build_begin(b, &unit, &options, &target, 0x1000);
    ir_insn(b, 0x1000, 4);
}

/* Whether an op is linked; complains if a list is broken. */
static bool linked(ir_ref ref)
{
    bool found = false;

    for (uint32_t i = 0; i < unit.block_count; i++) {
        const struct ir_block *block = &unit.blocks[i];
        ir_ref last = IR_NONE;

        for (ir_ref r = block->first; r; r = unit.ins[r].next) {
            found |= r == ref;
            last = r;
        }
        if (last != block->last || !last || !ir_op_info[unit.ins[last].op].ends_block) {
            printf("# block %u: the last op is v%u, of the list v%u\n", i, block->last, last);
            failed++;
        }
    }
    return found;
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

static void test_values(void)
{
    begin();
    ir_ref x = ir_get(b, 0), unused_get = ir_get(b, 1);
    ir_ref sum = ir_bini(b, IR_add, x, 1), product = ir_bin(b, IR_mul, sum, x);
    ir_ref load = ir_load(b, IR_I64, IR_M64, x, 0);
    ir_ref f = ir_fconst(b, IR_F64, 0), fadd = ir_bin(b, IR_fadd, f, f);
    ir_ref fneg = ir_un(b, IR_fneg, fadd);
    ir_ref pure = ir_call(b, PURE, 1, &x), effect = ir_call(b, EFFECT, 1, &sum);
    ir_ref kept = ir_bini(b, IR_xor, x, 3);
    ir_set(b, 1, kept);
    ir_exit_lookup(b, x);
    jit_opt_dce(&unit);
    result(!linked(unused_get), "an unused gget goes");
    result(!linked(product), "an unused product goes");
    result(linked(sum), "an argument of a kept call stays");
    result(linked(load), "an unused load stays, as it may fault");
    result(linked(fadd) && linked(f), "an op with flags stays, and its arguments");
    result(!linked(fneg), "a sign change goes");
    result(!linked(pure), "an unused call without effects goes");
    result(linked(effect), "a call with a side effect stays");
    result(linked(kept) && linked(x), "what a register is set to stays");
    bool clean = true;
    for (ir_ref r = 1; r < unit.ins_count; r++) {
        clean &= unit.ins[r].spare[0] == 0;
    }
    result(clean, "marks are cleared");
    unsigned before = count(IR_insn) + count(IR_const) + count(IR_call);
    jit_opt_dce(&unit);
    result(before == count(IR_insn) + count(IR_const) + count(IR_call),
           "a second pass finds nothing");
}

static void test_sets(void)
{
    begin();
    for (int i = 1; i < 5; i++) {
        ir_insn(b, 0x1000 + 4 * (uint64_t)i, 4);
        ir_set(b, 0, ir_bini(b, IR_add, ir_get(b, 1), i));
    }
    ir_set(b, 1, ir_i64(b, 7));
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(count(IR_gset) == 2 && count(IR_add) == 1, "of unseen writes the last stays");

    begin();
    ir_set(b, 0, ir_i64(b, 1));
    ir_load(b, IR_I64, IR_M64, ir_get(b, 1), 0);
    ir_set(b, 0, ir_i64(b, 2));
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(count(IR_gset) == 2, "a load looks");

    begin();
    ir_set(b, 0, ir_i64(b, 1));
    ir_call(b, READS, 0, NULL);
    ir_set(b, 0, ir_i64(b, 2));
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(count(IR_gset) == 2, "a helper that reads the state looks");

    begin();
    ir_ref x = ir_get(b, 1);
    ir_set(b, 0, ir_i64(b, 1));
    ir_call(b, EFFECT, 1, &x);
    ir_fence(b, true);
    ir_set(b, 0, ir_i64(b, 2));
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(count(IR_gset) == 1, "one that does not, and a fence, do not");

    begin();
    ir_set(b, 0, ir_i64(b, 1));
    ir_side_exit(b, IR_EQ, ir_get(b, 1), ir_i64(b, 5), 0x3000);
    ir_set(b, 0, ir_i64(b, 2));
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(count(IR_gset) == 2, "a side exit looks");
}

/* Blocks numbered against the flow: a use has a lower number than its definition. */
static void test_order(void)
{
    begin();
    uint32_t use = ir_block_new(b, false), define = ir_block_new(b, false);
    ir_ref x = ir_get(b, 0);
    ir_jump(b, define, 0, NULL);

    ir_block_set(b, use);
    ir_ref set_place = unit.ins_count;
    ir_set(b, 0, x); /* its argument is put in below */
    ir_exit_jump(b, 0x2000);
    ir_block_set(b, define);
    ir_ref one = ir_bini(b, IR_add, x, 1), two = ir_bini(b, IR_mul, one, 3);
    ir_jump(b, use, 0, NULL);
    bool is_set = unit.ins[set_place].op == IR_gset;
    unit.ins[set_place].a = two;
    jit_opt_dce(&unit);
    result(is_set && linked(one) && linked(two), "a use before its definition in number");
}

/* A loop: what only the next round's parameter takes is used. */
static void test_loop(void)
{
    begin();
    uint32_t head = ir_block_new(b, false), body = ir_block_new(b, false);
    uint32_t out = ir_block_new(b, false);
    ir_ref start = ir_get(b, 0);
    ir_jump(b, head, 1, &start);
    ir_block_set(b, head);
    ir_ref i = ir_block_param(b, IR_I64, 0);
    ir_br(b, IR_LT, i, ir_i64(b, 10), body, out);
    ir_block_set(b, body);
    ir_ref next = ir_bini(b, IR_add, i, 1), waste = ir_bini(b, IR_mul, i, 5);
    ir_jump(b, head, 1, &next);
    ir_block_set(b, out);
    ir_exit_jump(b, 0x2000);
    jit_opt_dce(&unit);
    result(linked(next) && linked(i) && linked(start) && !linked(waste), "a loop's variable stays");
}

int main(void)
{
    jit_options_init(&options);
    ir_unit_init(&unit);
    test_values();
    test_sets();
    test_order();
    test_loop();
    ir_unit_free(&unit);
    return failed != 0;
}
