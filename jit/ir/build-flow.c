/*
 * The builder: blocks, side exits and the ends of a unit.
 *
 * In tier 1 a unit is a tree with one long branch, the main line:
 *
 *     b0:  ...  br x ltu y ? b1 : b2
 *     b1:  (cold) the dirty floating-point globals made visible; exit_jump
 *     b2:  ...  the main line goes on
 *
 * b2 has one predecessor, so all that was known at the br is known in it: current values, dirty
 * globals, ops to merge with. What b1 makes is nobody else's.
 *
 * In general ir_block_set() takes over what is known only along an edge from the block just ended.
 * Along a `jump` it keeps the dirty globals alone: the block may be a loop's head, and a helper in
 * the loop may change a register that is clean here. If a block with one predecessor is set out of
 * order, the log (gget, gset, parameters, calls) is replayed from the last place where nothing was
 * known.
 */
#include <assert.h>
#include <string.h>
#include "jit/ir/build.h"
#include "jit/ir/emit.h"
#include "jit/opt/cse.h"
#include "jit/opt/fold.h"
#include "jit/opt/options.h"

/* ---- blocks ---------------------------------------------------------------------------------- */

uint32_t ir_block_new(struct ir_builder *b, bool cold)
{
    struct ir_unit *unit = b->unit;
    uint32_t block = unit->block_count;

    if (block >= unit->block_cap) {
        unit->blocks =
            ir_unit_grow(unit->blocks, &unit->block_cap, block + 1, sizeof(*unit->blocks));
    }
    unit->block_count = block + 1;
    unit->blocks[block] = (struct ir_block){.cold = cold};
    return block;
}

/* Whether `from` ends with a jump or br to `to`. */
static bool leads_to(const struct ir_unit *unit, uint32_t from, uint32_t to)
{
    const struct ir_ins *end = &unit->ins[unit->blocks[from].last];

    if (!unit->blocks[from].last) {
        return false;
    }
    if (end->op == IR_jump) {
        return (uint32_t)end->imm == to;
    }
    return end->op == IR_br && ((uint32_t)end->imm == to || (uint32_t)(end->imm >> 32) == to);
}

static void forget_clean(struct ir_builder *b)
{
    for (unsigned g = 0; g < b->unit->target->global_count; g++) {
        if (!ir_emit_is_dirty(b, g)) {
            b->global[g] = IR_NONE;
        }
    }
}

static void replay_to_end(struct ir_builder *b, uint32_t block);

/* Finds out what is known at the head of a block. The depth is at most the number of blocks. */
static void replay_to_head(struct ir_builder *b, uint32_t block)
{
    const struct ir_unit *unit = b->unit;

    ir_emit_forget(b);
    if (unit->blocks[block].preds != 1 || unit->blocks[block].params || block == 0) {
        return;
    }
    for (uint32_t p = 0; p < unit->block_count; p++) {
        if (!leads_to(unit, p, block)) {
            continue;
        }
        replay_to_end(b, p);
        if (unit->ins[unit->blocks[p].last].op == IR_jump) {
            forget_clean(b);
        }
        return;
    }
}

static void replay_to_end(struct ir_builder *b, uint32_t block)
{
    const struct ir_unit *unit = b->unit;

    replay_to_head(b, block);
    for (ir_ref r = unit->blocks[block].first; r; r = unit->ins[r].next) {
        const struct ir_ins *ins = &unit->ins[r];

        switch (ins->op) {
        case IR_gget:
            b->global[ins->aux] = r;
            break;
        case IR_param:
            if (ins->aux == IR_NO_GLOBAL) {
                break;
            }
            b->global[ins->aux] = r;
            ir_emit_mark_dirty(b, ins->aux);
            break;
        case IR_gset:
            b->global[ins->aux] = ins->a;
            ir_emit_mark_dirty(b, ins->aux);
            break;
        case IR_call:
            if (unit->target->helpers[ins->imm].effects & IR_H_WRITES_STATE) {
                ir_emit_forget(b);
            }
            break;
        default:
            break;
        }
    }
}

void ir_block_set(struct ir_builder *b, uint32_t block)
{
    const struct ir_unit *unit = b->unit;
    uint32_t from = b->block;

    b->block = block;
    b->done = false;
    if (unit->blocks[block].preds == 1 && leads_to(unit, from, block)) {
        if (unit->ins[unit->blocks[from].last].op == IR_jump) {
            forget_clean(b);
        }
        jit_opt_cse_forget_fp(b);
        return;
    }
    jit_opt_cse_forget(b);
    replay_to_head(b, block);
}

ir_ref ir_block_param(struct ir_builder *b, enum ir_type type, unsigned global)
{
    struct ir_block *block = &b->unit->blocks[b->block];

    assert(block->last == IR_NONE || block->params);
    if (block->params == 0) {
        ir_emit_forget(b);
        jit_opt_cse_forget(b);
    }
    ir_ref ref = ir_emit_raw(
        b, &(struct ir_ins){
               .op = IR_param, .type = type, .aux = (uint8_t)global, .imm = block->params});
    block->params++;
    if (global != IR_NO_GLOBAL) {
        b->global[global] = ref;
        ir_emit_mark_dirty(b, global);
    }
    return ref;
}

void ir_jump(struct ir_builder *b, uint32_t block, unsigned nargs, const ir_ref *args)
{
    if (b->done) {
        return;
    }
    uint32_t first = ir_emit_pool(b, nargs, args);
    for (unsigned i = 0; i < nargs; i++) {
        enum ir_type type = ir_type_of(b, args[i]);

        /* A parameter does not tell whether it is a box, whose NaN must stay as it is, or a NaN
         * that arithmetic made. So it is never the latter. */
        if (ir_type_is_fp(type)) {
            b->unit->pool[first + i] = ir_fvisible(b, type, args[i]);
        }
    }
    ir_emit_raw(b, &(struct ir_ins){.op = IR_jump, .a = first, .b = nargs, .imm = block});
    b->unit->blocks[block].preds++;
    b->done = true;
}

static void emit_br(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint32_t yes,
                    uint32_t no)
{
    ir_emit_raw(
        b, &(struct ir_ins){
               .op = IR_br, .cc = cc, .a = a, .b = c, .imm = (int64_t)((uint64_t)no << 32 | yes)});
    b->unit->blocks[yes].preds++;
    b->unit->blocks[no].preds++;
    b->done = true;
}

void ir_br(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint32_t yes, uint32_t no)
{
    if (b->done) {
        return;
    }
    if (b->options->fold) {
        enum ir_cc simple_cc = cc;
        ir_ref simple_a = a, simple_c = c;

        /* Both blocks exist already and stay reachable, so a known condition is left alone. */
        if (jit_opt_fold_cond(b, &simple_cc, &simple_a, &simple_c) < 0) {
            cc = simple_cc;
            a = simple_a;
            c = simple_c;
        }
    }
    emit_br(b, cc, a, c, yes, no);
}

/* ---- exits ----------------------------------------------------------------------------------- */

static void leave(struct ir_builder *b, const struct ir_ins *exit)
{
    if (b->done) {
        return;
    }
    ir_emit_visible(b, false);
    ir_emit_raw(b, exit);
    b->done = true;
}

static void side_exit(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c,
                      const struct ir_ins *exit)
{
    if (b->done) {
        return;
    }
    int known = b->options->fold ? jit_opt_fold_cond(b, &cc, &a, &c) : -1;
    if (known == 0) {
        return;
    }
    if (known == 1) {
        leave(b, exit);
        return;
    }
    uint32_t cold = ir_block_new(b, true);
    uint32_t on = ir_block_new(b, false);

    emit_br(b, cc, a, c, cold, on);
    b->done = false;
    b->block = cold;
    ir_emit_visible(b, true);
    ir_emit_raw(b, exit);
    b->block = on;
}

void ir_side_exit(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint64_t pc)
{
    side_exit(b, cc, a, c, &(struct ir_ins){.op = IR_exit_jump, .imm = (int64_t)pc});
}

void ir_side_exit_loop(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, unsigned reason,
                       uint64_t pc)
{
    side_exit(b, cc, a, c,
              &(struct ir_ins){.op = IR_exit_loop, .aux = (uint8_t)reason, .imm = (int64_t)pc});
}

void ir_exit_jump(struct ir_builder *b, uint64_t pc)
{
    leave(b, &(struct ir_ins){.op = IR_exit_jump, .imm = (int64_t)pc});
}

void ir_exit_br(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint64_t yes, uint64_t no)
{
    int known = -1;

    if (b->done) {
        return;
    }
    if (b->options->fold) {
        known = yes == no ? 1 : jit_opt_fold_cond(b, &cc, &a, &c);
    }
    if (known >= 0) {
        ir_exit_jump(b, known ? yes : no);
        return;
    }
    leave(b, &(struct ir_ins){.op = IR_exit_br,
                              .cc = cc,
                              .a = a,
                              .b = c,
                              .c = ir_i64(b, (int64_t)no),
                              .imm = (int64_t)yes});
}

void ir_exit_lookup(struct ir_builder *b, ir_ref pc)
{
    int64_t known;

    if (b->options->fold && ir_is_const(b, pc, &known)) {
        ir_exit_jump(b, (uint64_t)known);
    } else {
        leave(b, &(struct ir_ins){.op = IR_exit_lookup, .a = pc});
    }
}

void ir_exit_call(struct ir_builder *b, uint64_t pc, uint64_t return_pc)
{
    if (b->done) {
        return;
    }
    leave(b, &(struct ir_ins){
                 .op = IR_exit_call, .c = ir_i64(b, (int64_t)return_pc), .imm = (int64_t)pc});
}

void ir_exit_call_indirect(struct ir_builder *b, ir_ref pc, uint64_t return_pc)
{
    int64_t known;

    if (b->done) {
        return;
    }
    if (b->options->fold && ir_is_const(b, pc, &known)) {
        ir_exit_call(b, (uint64_t)known, return_pc);
    } else {
        leave(b, &(struct ir_ins){.op = IR_exit_call, .a = pc, .c = ir_i64(b, (int64_t)return_pc)});
    }
}

void ir_exit_ret(struct ir_builder *b, ir_ref pc)
{
    leave(b, &(struct ir_ins){.op = IR_exit_ret, .a = pc});
}

void ir_exit_loop(struct ir_builder *b, unsigned reason, uint64_t pc)
{
    leave(b, &(struct ir_ins){.op = IR_exit_loop, .aux = (uint8_t)reason, .imm = (int64_t)pc});
}

void ir_exit_loop_at(struct ir_builder *b, unsigned reason, ir_ref pc)
{
    leave(b, &(struct ir_ins){.op = IR_exit_loop, .aux = (uint8_t)reason, .a = pc});
}
