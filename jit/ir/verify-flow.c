/*
 * The verifier's rules about paths: dominance, and what happens to the globals.
 *
 * Dominators are found by the iteration over reverse postorder in which two blocks' common
 * dominator is where their chains of immediate dominators meet. What is known of the globals is a
 * small set of bits a block, iterated the same way to a fixed point; only then are violations
 * reported, each once.
 */
#include <inttypes.h>
#include <string.h>
#include "jit/ir/verify-flow.h"

#define UNKNOWN UINT32_MAX

/* ---- order and dominance ------------------------------------------------------------------- */

static bool find_predecessors(struct ir_verifier *v)
{
    const struct ir_unit *unit = v->unit;
    uint32_t count = unit->block_count, edges = 0, to[2];
    uint32_t *next = arena_array(&v->arena, uint32_t, count + 1);

    v->pred_first = arena_array(&v->arena, uint32_t, count + 1);
    if (!next || !v->pred_first) {
        return false;
    }
    for (uint32_t b = 0; b < count; b++) {
        v->pred_first[b] = next[b] = edges;
        edges += v->blocks[b].preds;
    }
    v->pred_first[count] = edges;
    v->pred_list = arena_array(&v->arena, uint32_t, edges + 1);
    if (!v->pred_list) {
        return false;
    }
    for (uint32_t b = 0; b < count; b++) {
        unsigned n = ir_verify_successors(unit, b, to);

        for (unsigned i = 0; i < n; i++) {
            v->pred_list[next[to[i]]++] = b;
        }
    }
    return true;
}

/* Depth-first from the entry with a stack of our own: units come from hostile code. */
static bool find_order(struct ir_verifier *v)
{
    uint32_t count = v->unit->block_count, depth = 0, finished = 0, to[2];
    uint32_t *stack = arena_array(&v->arena, uint32_t, count);
    uint8_t *taken = arena_array(&v->arena, uint8_t, count);

    v->order = arena_array(&v->arena, uint32_t, count);
    if (!stack || !taken || !v->order) {
        return false;
    }
    stack[depth++] = 0;
    v->blocks[0].reachable = true;
    while (depth) {
        uint32_t b = stack[depth - 1];
        unsigned n = ir_verify_successors(v->unit, b, to);

        if (taken[b] == n) {
            depth--;
            v->order[count - ++finished] = b;
            continue;
        }
        b = to[taken[b]++];
        if (!v->blocks[b].reachable) {
            v->blocks[b].reachable = true;
            stack[depth++] = b;
        }
    }
    v->order += count - finished;
    v->order_count = finished;
    for (uint32_t i = 0; i < finished; i++) {
        v->blocks[v->order[i]].order = i;
    }
    return true;
}

static uint32_t common_dominator(const struct ir_verifier *v, uint32_t a, uint32_t b)
{
    while (a != b) {
        if (v->blocks[a].order > v->blocks[b].order) {
            a = v->blocks[a].idom;
        } else {
            b = v->blocks[b].idom;
        }
    }
    return a;
}

static void find_dominators(struct ir_verifier *v)
{
    bool changed = true;

    for (uint32_t b = 0; b < v->unit->block_count; b++) {
        v->blocks[b].idom = UNKNOWN;
    }
    v->blocks[0].idom = 0;
    while (changed) {
        changed = false;
        for (uint32_t i = 1; i < v->order_count; i++) {
            uint32_t b = v->order[i], idom = UNKNOWN;

            for (uint32_t e = v->pred_first[b]; e < v->pred_first[b + 1]; e++) {
                uint32_t pred = v->pred_list[e];

                if (v->blocks[pred].idom != UNKNOWN) {
                    idom = idom == UNKNOWN ? pred : common_dominator(v, pred, idom);
                }
            }
            if (v->blocks[b].idom != idom) {
                v->blocks[b].idom = idom;
                changed = true;
            }
        }
    }
}

bool ir_verify_order(struct ir_verifier *v)
{
    if (!find_predecessors(v) || !find_order(v)) {
        ir_verify_fail(v, IR_NONE, "no memory to verify the unit");
        return false;
    }
    find_dominators(v);
    return true;
}

bool ir_verify_dominates(const struct ir_verifier *v, uint32_t a, uint32_t b)
{
    if (!v->blocks[a].reachable || !v->blocks[b].reachable) {
        return false;
    }
    while (v->blocks[b].order > v->blocks[a].order) {
        b = v->blocks[b].idom;
    }
    return a == b;
}

/* ---- globals --------------------------------------------------------------------------------- */

static bool test(const uint64_t *set, unsigned i)
{
    return set[i / 64] >> (i % 64) & 1;
}

static void assign(uint64_t *set, unsigned i, bool value)
{
    set[i / 64] &= ~(UINT64_C(1) << (i % 64));
    set[i / 64] |= (uint64_t)value << (i % 64);
}

static void set_global(struct ir_verifier *v, struct ir_flow *flow, unsigned global, ir_ref ref)
{
    const struct ir_ins *value;

    if (global >= v->unit->target->global_count || ref == IR_NONE || ref >= v->unit->ins_count) {
        return;
    }
    value = &v->unit->ins[ref];
    assign(flow->dirty, global, true);
    assign(flow->unsafe, global,
           value->type == IR_F32 || (value->type == IR_F64 && !(value->flags & IR_VF_CANON)));
}

static bool several_predecessors(const struct ir_verifier *v, uint32_t b)
{
    return v->blocks[b].preds + (b == 0) > 1;
}

/* What holds where b begins, before its parameters. Of a block not computed yet nothing is known,
 * which leaves the others as they are; the entry has an edge from outside, where all is clean. */
static struct ir_flow flow_in(const struct ir_verifier *v, uint32_t b)
{
    struct ir_flow in = {.insn = b != 0};

    for (uint32_t e = v->pred_first[b]; e < v->pred_first[b + 1]; e++) {
        const struct ir_vblock *pred = &v->blocks[v->pred_list[e]];

        if (pred->visited) {
            for (unsigned w = 0; w < IR_GLOBAL_WORDS; w++) {
                in.dirty[w] |= pred->out.dirty[w];
                in.unsafe[w] |= pred->out.unsafe[w];
            }
            in.insn &= pred->out.insn;
        }
    }
    return in;
}

static const struct ir_helper *helper_of(const struct ir_verifier *v, const struct ir_ins *ins)
{
    if ((ins->op != IR_call && ins->op != IR_callif) || ins->imm < 0 ||
        ins->imm >= (int64_t)v->unit->target->helper_count) {
        return NULL;
    }
    return &v->unit->target->helpers[ins->imm];
}

static void check_op(struct ir_verifier *v, const struct ir_flow *flow, ir_ref ref)
{
    const struct ir_target *target = v->unit->target;
    const struct ir_ins *ins = &v->unit->ins[ref];
    const struct ir_helper *helper = helper_of(v, ins);
    bool looks = helper && helper->effects & (IR_H_MEMORY | IR_H_READS_STATE);

    if (ins->op == IR_gget && ins->aux < target->global_count && test(flow->dirty, ins->aux)) {
        ir_verify_fail(v, ref, "rule 7: gget of %s follows a gset of it",
                       target->globals[ins->aux].name);
    }
    if (ir_op_info[ins->op].exits) {
        for (unsigned g = 0; g < target->global_count; g++) {
            if (test(flow->unsafe, g)) {
                ir_verify_fail(v, ref,
                               "rule 8: %s leaves with a value of %s that is not canonical "
                               "and boxed",
                               ir_op_info[ins->op].name, target->globals[g].name);
            }
        }
    }
    if ((ir_op_info[ins->op].faults || looks) && !flow->insn) {
        ir_verify_fail(v, ref, "rule 10: no insn precedes %s, which needs the pc",
                       looks ? helper->name : ir_op_info[ins->op].name);
    }
}

/* Goes through block b from what holds where it begins. */
static struct ir_flow pass(struct ir_verifier *v, uint32_t b, struct ir_flow flow, bool check)
{
    const struct ir_unit *unit = v->unit;

    for (ir_ref ref = unit->blocks[b].first; ref != IR_NONE; ref = unit->ins[ref].next) {
        const struct ir_ins *ins = &unit->ins[ref];
        const struct ir_helper *helper = helper_of(v, ins);

        if (check) {
            check_op(v, &flow, ref);
        }
        if (ins->op == IR_gset) {
            set_global(v, &flow, ins->aux, ins->a);
        } else if (ins->op == IR_param && ins->aux != IR_NO_GLOBAL) {
            set_global(v, &flow, ins->aux, ref);
        } else if (ins->op == IR_insn) {
            flow.insn = true;
        } else if (helper && helper->effects & IR_H_WRITES_STATE) {
            memset(flow.dirty, 0, sizeof(flow.dirty));
            memset(flow.unsafe, 0, sizeof(flow.unsafe));
        }
    }
    return flow;
}

static void check_meeting(struct ir_verifier *v, uint32_t b, const struct ir_flow *in)
{
    const struct ir_unit *unit = v->unit;
    uint64_t unbound[IR_GLOBAL_WORDS];
    ir_ref ref = unit->blocks[b].first;

    memcpy(unbound, in->dirty, sizeof(unbound));
    for (unsigned i = 0; i < unit->blocks[b].params; i++, ref = unit->ins[ref].next) {
        if (unit->ins[ref].aux < IR_MAX_GLOBALS) {
            assign(unbound, unit->ins[ref].aux, false);
        }
    }
    for (unsigned g = 0; g < unit->target->global_count; g++) {
        if (test(unbound, g)) {
            ir_verify_fail(v, IR_NONE,
                           "rule 6: paths meet at b%" PRIu32 ", %s is dirty on one and "
                           "bound by no parameter",
                           b, unit->target->globals[g].name);
        }
    }
}

void ir_verify_globals(struct ir_verifier *v)
{
    bool changed = true;

    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < v->order_count; i++) {
            uint32_t b = v->order[i];
            struct ir_flow out = pass(v, b, flow_in(v, b), false);
            struct ir_vblock *block = &v->blocks[b];

            if (!block->visited || out.insn != block->out.insn ||
                memcmp(out.dirty, block->out.dirty, sizeof(out.dirty)) != 0 ||
                memcmp(out.unsafe, block->out.unsafe, sizeof(out.unsafe)) != 0) {
                block->out = out;
                block->visited = true;
                changed = true;
            }
        }
    }
    for (uint32_t i = 0; i < v->order_count; i++) {
        uint32_t b = v->order[i];
        struct ir_flow in = flow_in(v, b);

        if (several_predecessors(v, b)) {
            check_meeting(v, b, &in);
        }
        pass(v, b, in, true);
    }
}
