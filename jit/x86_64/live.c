/*
 * Order, positions and liveness.
 *
 * One forward pass lines the ops up: blocks in order, but a cold block that only leaves the unit stands right behind
 * the branch to it and shares the branch's position. A backward pass finds each value's last use. Besides the ops
 * that name it, a value is used by whoever looks at the globals while it is the current value of one: prev_look[]
 * answers where that last happens before the next gset.
 *
 * Where blocks meet, every block's end is such a look (join.c brings the globals home there), and values that live into a
 * loop live to its end.
 */
#include <string.h>
#include "jit/x86_64/compile.h"

static void *grow(void *p, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap)
        return p;
    while (*cap < need)
        *cap = *cap ? *cap * 2 : 256;
    p = realloc(p, *cap * size);
    if (!p)
        abort();
    return p;
}

/* i32 ops whose host instruction clears the upper half. */
static bool zero_extends(const struct ir_ins *ins)
{
    if (ins->type != IR_I32)
        return false;
    switch (ins->op) {
    case IR_trunc:
    case IR_const:
    case IR_param:
    case IR_gget:
    case IR_call:
    case IR_callif:
    case IR_amo:
    case IR_cas:
    case IR_select:
        return false;
    default:
        return true;
    }
}

ir_ref x86_resolve(const struct x86_compiler *c, ir_ref ref)
{
    while (ref < c->unit->ins_count) {
        const struct ir_ins *ins = x86_ins(c, ref);

        if (ins->op == IR_trunc)
            ref = ins->a;
        else if (ins->op == IR_zext && c->options->fuse && zero_extends(x86_ins(c, ins->a)))
            ref = ins->a;
        else
            break;
    }
    return ref;
}

/* A block that is emitted at the branch to it. */
static bool leaves_cold(const struct ir_unit *unit, const struct ir_block *block)
{
    return block->cold && block->preds == 1 && block->params == 0 && block->last != IR_NONE &&
           ir_op_info[unit->ins[block->last].op].exits;
}

static bool looks(const struct ir_unit *unit, const struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];

    if (info->faults || info->exits || ins->op == IR_br || ins->op == IR_jump)
        return true;
    if (ins->op == IR_call) {
        const struct ir_helper *helper = &unit->target->helpers[ins->imm];
        return helper->effects & (IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_MEMORY);
    }
    return false;
}

static void append(struct x86_compiler *c, ir_ref ref, uint32_t block)
{
    c->seq = grow(c->seq, &c->seq_cap, c->seq_count + 1, sizeof(*c->seq));
    c->seq[c->seq_count++] = (struct seq){ref, c->pos, block};
}

static void order_block(struct x86_compiler *c, uint32_t number)
{
    const struct ir_unit *unit = c->unit;
    const struct ir_block *block = &unit->blocks[number];

    for (ir_ref ref = block->first; ref != IR_NONE; ref = unit->ins[ref].next) {
        const struct ir_ins *ins = &unit->ins[ref];

        c->pos++;
        append(c, ref, number);
        if (ins->op != IR_br)
            continue;
        for (unsigned side = 0; side < 2; side++) {
            uint32_t to = (uint32_t)(side ? (uint64_t)ins->imm >> 32 : (uint64_t)ins->imm);
            const struct ir_block *cold = &unit->blocks[to];

            if (leaves_cold(unit, cold))
                for (ir_ref r = cold->first; r != IR_NONE; r = unit->ins[r].next)
                    append(c, r, to);
        }
    }
}

/* Blocks in reverse postorder: each definition comes before its uses. Returns how many are in c->order. */
static uint32_t reverse_postorder(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;
    uint32_t n = unit->block_count, depth = 0, left = n;
    /* a stack of blocks, each with the number of successors done; a block is on it at most once */
    uint32_t *stack = calloc(3ull * n, sizeof(*stack));
    uint32_t *done = stack + n, *seen = stack + 2 * n;

    if (!stack)
        abort();
    stack[depth++] = 0;
    seen[0] = 1;
    while (depth) {
        uint32_t b = stack[depth - 1], to[2], count = 0;
        const struct ir_ins *last = &unit->ins[unit->blocks[b].last];

        /* the second successor first, so that the first comes to stand right behind */
        if (last->op == IR_br)
            to[count++] = (uint32_t)((uint64_t)last->imm >> 32);
        if (last->op == IR_br || last->op == IR_jump)
            to[count++] = (uint32_t)last->imm;
        if (done[b] == count) {
            c->order[--left] = b;
            depth--;
        } else if (!seen[to[done[b]]]) {
            uint32_t next = to[done[b]++];
            seen[next] = 1;
            stack[depth++] = next;
        } else {
            done[b]++;
        }
    }
    free(stack);
    memmove(c->order, c->order + left, (n - left) * sizeof(*c->order));
    return n - left;
}

/* Whether the main line is a chain: each block's only successor that is not emitted at the branch comes next. */
static bool is_chain(const struct ir_unit *unit)
{
    for (uint32_t b = 0; b < unit->block_count; b++) {
        const struct ir_block *block = &unit->blocks[b];
        const struct ir_ins *last = &unit->ins[block->last];
        uint32_t next = b + 1, to[2];
        unsigned main_line = 0;

        if (block->preds > 1 || block->params)
            return false;
        if (block->last == IR_NONE || last->op != IR_br)
            continue;
        while (next < unit->block_count && leaves_cold(unit, &unit->blocks[next]))
            next++;
        to[0] = (uint32_t)last->imm;
        to[1] = (uint32_t)((uint64_t)last->imm >> 32);
        for (unsigned i = 0; i < 2; i++) {
            if (leaves_cold(unit, &unit->blocks[to[i]]))
                continue;
            if (to[i] != next || main_line++)
                return false;
        }
    }
    return true;
}

static void use(struct x86_compiler *c, ir_ref ref, uint32_t pos)
{
    struct val *val;

    ref = x86_resolve(c, ref);
    val = &c->val[ref];
    if (pos > val->last_use)
        val->last_use = pos;
    val->uses++;
}

static void live_until(struct x86_compiler *c, ir_ref ref, uint32_t pos)
{
    struct val *val = &c->val[x86_resolve(c, ref)];

    if (pos > val->last_use)
        val->last_use = pos;
}

/* A loop's body keeps what it uses of the code before until its back edge. */
static void extend_over_loops(struct x86_compiler *c)
{
    for (uint32_t i = 0; i < c->seq_count; i++) {
        const struct ir_ins *ins = x86_ins(c, c->seq[i].ref);
        uint32_t head;

        if (ins->op != IR_jump)
            continue;
        for (head = 0; head < i && c->seq[head].block != (uint32_t)ins->imm; head++)
            ;
        if (head == i && c->seq[i].block != (uint32_t)ins->imm)
            continue;
        for (uint32_t j = 0; j < head; j++) {
            struct val *val = &c->val[x86_resolve(c, c->seq[j].ref)];
            if (val->last_use >= c->seq[head].pos && val->last_use < c->seq[i].pos)
                val->last_use = c->seq[i].pos;
        }
        /* and the back edge fills the slots of the parameters */
        for (uint32_t j = head; j <= i && x86_ins(c, c->seq[j].ref)->op == IR_param; j++)
            if (c->val[c->seq[j].ref].last_use)
                live_until(c, c->seq[j].ref, c->seq[i].pos);
    }
}

void x86_liveness(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;
    uint32_t next_set[IR_MAX_GLOBALS];
    uint32_t look = 0, filled = 0;

    c->val_count = unit->ins_count + c->target->global_count;
    c->val = grow(c->val, &c->val_cap, c->val_count, sizeof(*c->val));
    for (uint32_t i = 0; i < c->val_count; i++)
        c->val[i] = (struct val){.reg = REG_NONE, .hint = REG_NONE, .global = IR_NO_GLOBAL};

    c->seq_count = 0;
    c->pos = 0;
    c->joins = !is_chain(unit);
    if (c->joins) {
        uint32_t count;

        c->order = grow(c->order, &c->order_cap, unit->block_count, sizeof(*c->order));
        count = reverse_postorder(c);
        for (uint32_t i = 0; i < count; i++)
            if (!leaves_cold(unit, &unit->blocks[c->order[i]]))
                order_block(c, c->order[i]);
    } else {
        for (uint32_t b = 0; b < unit->block_count; b++)
            if (!leaves_cold(unit, &unit->blocks[b]))
                order_block(c, b);
    }
    c->last_pos = c->pos;

    /* prev_look[p]: the last position < p that looks */
    c->prev_look = grow(c->prev_look, &c->prev_look_cap, c->last_pos + 2, sizeof(*c->prev_look));
    for (uint32_t i = 0; i < c->seq_count; i++) {
        uint32_t pos = c->seq[i].pos;

        while (filled <= pos)
            c->prev_look[filled++] = look;
        if (looks(unit, x86_ins(c, c->seq[i].ref)))
            look = pos;
    }
    while (filled <= c->last_pos + 1)
        c->prev_look[filled++] = look;

    for (unsigned g = 0; g < c->target->global_count; g++)
        next_set[g] = c->last_pos + 1;

    for (uint32_t i = c->seq_count; i-- > 0;) {
        ir_ref ref = c->seq[i].ref;
        const struct ir_ins *ins = x86_ins(c, ref);
        const struct ir_op_info *info = &ir_op_info[ins->op];
        uint32_t pos = c->seq[i].pos;
        bool side = unit->blocks[c->seq[i].block].cold && leaves_cold(unit, &unit->blocks[c->seq[i].block]);
        unsigned g = ins->aux;

        if (ins->op == IR_trunc || x86_resolve(c, ref) != ref)
            continue; /* an alias: its users use what it names */
        if (ins->op == IR_gset || ins->op == IR_gget || (ins->op == IR_param && g != IR_NO_GLOBAL)) {
            ir_ref value = ins->op == IR_gset ? ins->a : ref;

            if (ins->op == IR_gset && !side && c->options->pin && c->pin[g] >= 0) {
                struct val *val = &c->val[x86_resolve(c, value)];
                if (val->hint == REG_NONE)
                    val->hint = c->pin[g];
            }
            if (side)
                live_until(c, value, pos);
            else if (ins->op == IR_gset || c->pin[g] >= 0)
                live_until(c, value, c->prev_look[next_set[g]]);
            if (!side)
                next_set[g] = pos;
            if (ins->op == IR_gget)
                live_until(c, x86_entry(c, g), pos);
            continue;
        }
        /* where blocks meet, every block's end brings the globals home */
        if (c->joins && !side && (ins->op == IR_br || ins->op == IR_jump || info->exits))
            for (unsigned k = 0; k < c->target->global_count; k++)
                next_set[k] = pos + 1;
        if (ins->op == IR_call && (c->target->helpers[ins->imm].effects & IR_H_WRITES_STATE))
            for (unsigned k = 0; k < c->target->global_count; k++)
                next_set[k] = pos + 1;
        if (info->pool) {
            unsigned count = ins->b;
            for (unsigned k = 0; k < count; k++)
                use(c, unit->pool[ins->a + k], pos);
            continue;
        }
        if (ins->op == IR_const || ins->op == IR_param)
            continue;
        if (ins->a != IR_NONE) {
            struct val *val = &c->val[ref];

            use(c, ins->a, pos);
            if (val->hint != REG_NONE && ir_type_is_fp(ins->type) == x86_is_fp(c, x86_resolve(c, ins->a))) {
                struct val *a = &c->val[x86_resolve(c, ins->a)];
                if (a->hint == REG_NONE)
                    a->hint = val->hint;
            }
        }
        if (ins->b != IR_NONE)
            use(c, ins->b, pos);
        if (ins->c != IR_NONE)
            use(c, ins->c, pos);
    }
    for (unsigned g = 0; g < c->target->global_count; g++)
        live_until(c, x86_entry(c, g), c->prev_look[next_set[g]]);
    if (c->joins)
        extend_over_loops(c);
}
