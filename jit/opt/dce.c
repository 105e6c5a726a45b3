/*
 * Three sweeps, each over memory in order:
 *  1. forward along the blocks' lists: every op that must stay is marked; of gsets, those that are
 *     overwritten unseen are not. (A gset waits in `pending` until somebody looks.)
 *  2. backward over all refs: what a marked op uses is marked. The builder numbers definitions
 * before uses, so once is enough; text may number blocks in any order, and then it is repeated.
 *  3. forward along the lists again: what has no mark is unlinked.
 * Marks live in the spare bytes of the ops and are cleared by the last sweep, so that no memory is
 * needed and the sweeps see only ops that belong to a block.
 */
#include <string.h>
#include "jit/opt/dce.h"

enum { LIVE = 1 };

static inline uint8_t *mark_of(struct ir_ins *ins)
{
    return &ins->spare[0];
}

static unsigned helper_effects(const struct ir_unit *unit, const struct ir_ins *ins)
{
    return unit->target->helpers[ins->imm].effects;
}

/* Whether the op stays though nobody uses its value. */
static bool is_root(const struct ir_unit *unit, const struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];

    switch (ins->op) {
    case IR_gget:
        return false;
    case IR_call:
    case IR_callif:
        return helper_effects(unit, ins) != 0;
    default:
        return info->faults || info->writes || info->fp_flags || info->side_effect ||
               info->ends_block;
    }
}

/* Whether somebody may see the globals as they are at this op. */
static bool looks(const struct ir_unit *unit, const struct ir_ins *ins)
{
    if (ins->op == IR_call) {
        return helper_effects(unit, ins) & (IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_MEMORY);
    }
    return ir_op_info[ins->op].faults || ir_op_info[ins->op].ends_block;
}

static void mark_roots(struct ir_unit *unit, const struct ir_block *block)
{
    ir_ref pending[IR_MAX_GLOBALS];                 /* the gset that nobody has seen yet ... */
    uint64_t is_pending[IR_MAX_GLOBALS / 64] = {0}; /* ... where there is one */

    for (ir_ref r = block->first; r; r = unit->ins[r].next) {
        struct ir_ins *ins = &unit->ins[r];

        if (ins->op == IR_gset) {
            unsigned g = ins->aux % IR_MAX_GLOBALS;

            if (is_pending[g / 64] >> (g % 64) & 1) {
                *mark_of(&unit->ins[pending[g]]) = 0;
            }
            pending[g] = r;
            is_pending[g / 64] |= UINT64_C(1) << (g % 64);
        } else if (looks(unit, ins)) {
            memset(is_pending, 0, sizeof(is_pending));
        }
        *mark_of(ins) = ins->op == IR_gset || is_root(unit, ins) ? LIVE : 0;
    }
}

/* Marks what a live op uses; true if one of these has been passed by the sweep already. */
static bool mark_args(struct ir_unit *unit, ir_ref user)
{
    struct ir_ins *ins = &unit->ins[user];
    const ir_ref *args = &ins->a;
    unsigned n = 3;
    bool again = false;

    _Static_assert(offsetof(struct ir_ins, c) == offsetof(struct ir_ins, a) + 2 * sizeof(ir_ref),
                   "a, b and c are neighbours");
    if (ir_op_info[ins->op].pool) {
        args = unit->pool + ins->a;
        n = ins->b;
    }
    for (unsigned i = 0; i < n; i++) {
        uint8_t *mark = mark_of(&unit->ins[args[i]]);

        if (args[i] == IR_NONE || *mark) {
            continue;
        }
        *mark = LIVE;
        again |= args[i] > user;
    }
    return again;
}

static void sweep(struct ir_unit *unit, struct ir_block *block)
{
    ir_ref *link = &block->first, last = IR_NONE, next;

    for (ir_ref r = block->first; r; r = next) {
        struct ir_ins *ins = &unit->ins[r];

        next = ins->next;
        if (*mark_of(ins)) {
            *mark_of(ins) = 0;
            *link = r;
            link = &ins->next;
            last = r;
        }
    }
    *link = IR_NONE;
    block->last = last;
}

void jit_opt_dce(struct ir_unit *unit)
{
    bool again;

    for (uint32_t i = 0; i < unit->block_count; i++) {
        mark_roots(unit, &unit->blocks[i]);
    }
    do {
        again = false;
        for (ir_ref r = unit->ins_count - 1; r; r--) {
            if (*mark_of(&unit->ins[r])) {
                again |= mark_args(unit, r);
            }
        }
    } while (again);
    for (uint32_t i = 0; i < unit->block_count; i++) {
        sweep(unit, &unit->blocks[i]);
    }
}
