/*
 * The verifier on units that the text form cannot say: wrong counts, lists and pools. (What it can
 * say is in tests/ir/verify.ir.)
 */
#include "jit/ir/build.h"
#include "jit/ir/verify.h"
#include "jit/opt/options.h"
#include "tests/unit/tap.h"

static const struct ir_global globals[] = {{"a0", 0, IR_I64, 1}};
static const struct ir_target target = {"unit", globals, 1, NULL, 0, 8};

static struct ir_unit unit;
static struct jit_options options;
static ir_ref first, second;

/* b0: v = gget; w = v + 1; gset; jump b1(w)   b1: param; exit */
static void build(void)
{
    struct ir_builder b;
    uint32_t next;

    ir_build_begin(&b, &unit, &options, &target, 0x1000);
    first = ir_get(&b, 0);
    second = ir_bini(&b, IR_add, first, 1);
    next = ir_block_new(&b, false);
    ir_jump(&b, next, 1, &second);
    ir_block_set(&b, next);
    ir_block_param(&b, IR_I64, 0);
    ir_exit_jump(&b, 0x2000);
}

struct expectation {
    const char *text;
    unsigned found, others;
};

static void note(void *opaque, ir_ref op, const char *text)
{
    struct expectation *e = opaque;

    if (strstr(text, e->text)) {
        e->found++;
    } else {
        e->others++;
        tap_note("v#%u: %s", op, text);
    }
}

static void expect(const char *text)
{
    struct expectation e = {.text = text};
    unsigned count = ir_verify(&unit, note, &e);

    tap_ok(e.found && !e.others && count == e.found, "%s", text);
}

int main(void)
{
    ir_unit_init(&unit);
    jit_options_init(&options);
    build();
    tap_eq(ir_verify(&unit, NULL, NULL), 0, "a good unit, and no one to report to");

    build();
    unit.blocks[1].preds = 3;
    expect("rule 2: 1 edges lead to b1, which says 3");

    build();
    unit.blocks[1].params = 2;
    expect("rule 2: b1 has 1 parameters, but says 2");

    build();
    unit.ins[unit.blocks[1].first].imm = 1;
    expect("rule 2: a parameter of b1 with the wrong index");

    build();
    unit.blocks[0].last = first;
    expect("the last op of b0 is not what the block says");

    build();
    unit.ins[unit.blocks[0].last].next = first;
    expect("the op is in two places, the second in b0");

    build();
    unit.ins[first].next = 4000;
    expect("the list of b0 leaves the unit");

    build();
    unit.ins[second].op = 250;
    expect("there is no op 250");

    build();
    unit.ins[unit.blocks[0].last].imm = 7;
    expect("rule 2: there is no b7 to go to");

    build();
    unit.ins[unit.blocks[0].last].a = 1000;
    expect("rule 4: the arguments of jump are outside of the pool");

    build();
    unit.ins[second].b = 4000;
    expect("rule 3: the second argument of add is no op of the unit");

    build();
    unit.ins[second].type = 77;
    expect("rule 4: the result of add has an unknown type");

    build();
    unit.block_count = 0;
    expect("rule 1: a unit without blocks");

    ir_unit_free(&unit);
    return tap_done();
}
