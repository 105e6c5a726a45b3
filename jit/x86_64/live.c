/*
 * Order, positions and liveness.
 *
 * One forward pass lines the ops up: blocks in order, but a cold block that only leaves the unit
 * stands right behind the branch to it and shares the branch's position. It also resolves aliases:
 * trunc, and zext of what is zero-extended already, are the value that they name. A backward pass
 * finds each value's last use, and the ops nobody wants. Besides the ops that name it, a value is
 * used by whoever looks at the globals while it is the current value of one: of the looks between
 * two gsets of a global the last one counts. Looks are numbered as the backward pass meets them;
 * seen[] remembers for each global how many there had been at its gset.
 *
 * Addresses. A sum that only loads and stores use as their address is not made: each of them has it
 * in its operand, [base + index * scale + displacement], and so is a shift by 1 to 3 that only such
 * a sum, or another addition, uses. Such a value is `fused`. Its operands live as long as it would;
 * a fault in between finds it by them (mark.c). An exit or a helper would need it itself, so a
 * value that one of them may see is not fused.
 *
 * Where blocks meet, every block's end is such a look (join.c brings the globals home there), and
 * values that live into a loop live to its end.
 */
#include <string.h>
#include "jit/x86_64/compile.h"

enum { LOOKS = 1, PURE = 2, POOL = 4, EXITS = 8, ENDS = 16, ADDRESS = 32 };

#define LETTER(text, i) ((text "\0\0\0\0\0")[i])
#define HAS(text, letter)                                                                   \
    (LETTER(text, 0) == letter || LETTER(text, 1) == letter || LETTER(text, 2) == letter || \
     LETTER(text, 3) == letter || LETTER(text, 4) == letter)

/* What the passes ask of an op, in one byte. */
static const uint8_t kind[IR_OP_COUNT] = {
#define OP(name, result, args, effects)                                                       \
    [IR_##name] = (HAS(effects, 'F') || HAS(effects, 'E') || HAS(effects, 'T') ? LOOKS : 0) | \
                  (sizeof(effects) == 1 && !HAS(result, '-') ? PURE : 0) |                    \
                  (HAS(args, 'P') ? POOL : 0) | (HAS(effects, 'E') ? EXITS : 0) |             \
                  (HAS(effects, 'E') || HAS(effects, 'T') ? ENDS : 0) |                       \
                  (HAS(effects, 'F') && !HAS(effects, 'S') ? ADDRESS : 0),
#include "jit/ir/ops.def"
#undef OP
};

static void *grow(void *p, uint32_t *cap, uint32_t need, size_t size)
{
    if (need <= *cap) {
        return p;
    }
    while (*cap < need) {
        *cap = *cap ? *cap * 2 : 256;
    }
    p = realloc(p, *cap * size);
    if (!p) {
        abort();
    }
    return p;
}

/* i32 ops whose host instruction clears the upper half. */
static bool zero_extends(const struct ir_ins *ins)
{
    if (ins->type != IR_I32) {
        return false;
    }
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

/* A block that is emitted at the branch to it. */
static inline bool leaves_cold(const struct ir_unit *unit, const struct ir_block *block)
{
    return block->cold && block->preds == 1 && block->params == 0 && block->last != IR_NONE &&
           kind[unit->ins[block->last].op] & EXITS;
}

static inline void append(struct x86_compiler *c, ir_ref ref, uint32_t block, bool side)
{
    const struct ir_ins *ins = x86_ins(c, ref);

    if (ins->op == IR_trunc ||
        (ins->op == IR_zext && c->options->fuse && zero_extends(x86_ins(c, ins->a)))) {
        c->val[ref].alias = c->val[ins->a].alias;
    }
    c->seq[c->seq_count++] = (struct seq){.ref = ref, .pos = c->pos, .block = block, .side = side};
}

static void order_block(struct x86_compiler *c, uint32_t number)
{
    const struct ir_unit *unit = c->unit;

    for (ir_ref ref = unit->blocks[number].first; ref != IR_NONE; ref = unit->ins[ref].next) {
        const struct ir_ins *ins = &unit->ins[ref];

        c->pos++;
        append(c, ref, number, false);
        if (ins->op != IR_br) {
            continue;
        }
        for (unsigned side = 0; side < 2; side++) {
            uint32_t to = (uint32_t)(side ? (uint64_t)ins->imm >> 32 : (uint64_t)ins->imm);
            const struct ir_block *cold = &unit->blocks[to];

            if (leaves_cold(unit, cold)) {
                for (ir_ref r = cold->first; r != IR_NONE; r = unit->ins[r].next) {
                    append(c, r, to, true);
                }
            }
        }
    }
}

static inline struct val *use(struct x86_compiler *c, ir_ref ref, uint32_t pos)
{
    struct val *val = &c->val[c->val[ref].alias];

    if (pos > val->last_use) {
        val->last_use = pos;
    }
    val->uses += val->uses != UINT8_MAX;
    val->plain = true;
    return val;
}

/* A displacement that leaves room for another. */
static bool is_near(int64_t disp)
{
    return disp > -(1 << 30) && disp < 1 << 30;
}

/* Whether the value may be a part of a memory operand: a sum; or, as an index, a shift. Of 64 bits
 * only: an alias of narrower ones would miss that it ends at bit 31. */
static bool is_part(const struct x86_compiler *c, ir_ref ref, bool index)
{
    const struct ir_ins *ins = x86_ins(c, ref);
    int64_t k;

    if (ins->type != IR_I64 || c->joins || !c->options->fuse) {
        return false;
    }
    if (index) {
        return ins->op == IR_shl && x86_const(c, ins->b, &k) && k >= 1 && k <= 3 &&
               !x86_const(c, ins->a, &k);
    }
    return ins->op == IR_add && !x86_const(c, ins->a, &k) &&
           (!x86_const(c, ins->b, &k) || is_near(k));
}

/* As use(), by who can do without the value itself if it is a part. */
static void use_part(struct x86_compiler *c, ir_ref ref, uint32_t pos, bool index)
{
    ir_ref to = c->val[ref].alias;
    struct val *val = &c->val[to];

    if (val->last_use == 0 && is_part(c, to, index)) {
        val->part = true;
    } else if (!val->part) {
        use(c, ref, pos);
        return;
    }
    if (pos > val->last_use) {
        val->last_use = pos;
    }
    val->uses += val->uses != UINT8_MAX;
}

/* The operands of an addition, one of which may become a scaled index. */
static void use_sum(struct x86_compiler *c, const struct ir_ins *add, uint32_t pos)
{
    int64_t k;

    if (x86_const(c, add->b, &k) && !is_near(k)) {
        use(c, add->a, pos);
    } else if (is_part(c, c->val[add->b].alias, true)) {
        use(c, add->a, pos);
        use_part(c, add->b, pos, true);
    } else {
        use_part(c, add->a, pos, true);
        use(c, add->b, pos);
    }
}

/* The value is not made but is a part of its users' operands. */
static void fuse(struct x86_compiler *c, const struct ir_ins *ins, struct val *val)
{
    int64_t k;

    val->dead = val->fused = true;
    if (ins->op == IR_shl) {
        use(c, ins->a, val->last_use);
    } else if (!x86_const(c, ins->b, &k)) {
        use_sum(c, ins, val->last_use);
    } else if (x86_const(c, x86_ins(c, c->val[ins->a].alias)->b, &k)) {
        use(c, ins->a, val->last_use); /* one displacement is enough */
    } else {
        use_part(c, ins->a, val->last_use, false);
    }
}

/* Blocks in reverse postorder: each definition comes before its uses. Returns how many are in
 * c->order. */
static uint32_t reverse_postorder(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;
    uint32_t n = unit->block_count, depth = 0, left = n;
    /* a stack of blocks, each with the number of successors done; a block is on it at most once */
    uint32_t *stack = calloc(3ull * n, sizeof(*stack));
    uint32_t *done, *seen;

    if (!stack) {
        abort();
    }
    done = stack + n;
    seen = stack + 2 * n;
    stack[depth++] = 0;
    seen[0] = 1;
    while (depth) {
        uint32_t b = stack[depth - 1], to[2], count = 0;
        const struct ir_ins *last = &unit->ins[unit->blocks[b].last];

        /* the second successor first, so that the first comes to stand right behind */
        if (last->op == IR_br) {
            to[count++] = (uint32_t)((uint64_t)last->imm >> 32);
        }
        if (last->op == IR_br || last->op == IR_jump) {
            to[count++] = (uint32_t)last->imm;
        }
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

/* Whether the main line is a chain: each block's only successor that is not emitted at the branch
 * comes next. */
static bool is_chain(const struct ir_unit *unit)
{
    for (uint32_t b = 0; b < unit->block_count; b++) {
        const struct ir_block *block = &unit->blocks[b];
        const struct ir_ins *last = &unit->ins[block->last];
        uint32_t next = b + 1, to[2];
        unsigned main_line = 0;

        if (block->preds > 1 || block->params) {
            return false;
        }
        if (block->last == IR_NONE || last->op != IR_br) {
            continue;
        }
        while (next < unit->block_count && leaves_cold(unit, &unit->blocks[next])) {
            next++;
        }
        to[0] = (uint32_t)last->imm;
        to[1] = (uint32_t)((uint64_t)last->imm >> 32);
        for (unsigned i = 0; i < 2; i++) {
            if (leaves_cold(unit, &unit->blocks[to[i]])) {
                continue;
            }
            if (to[i] != next || main_line++) {
                return false;
            }
        }
    }
    return true;
}

/* A loop's body keeps what it uses of the code before until its back edge. */
static void extend_over_loops(struct x86_compiler *c)
{
    for (uint32_t i = 0; i < c->seq_count; i++) {
        const struct ir_ins *ins = x86_ins(c, c->seq[i].ref);
        uint32_t head;

        if (ins->op != IR_jump) {
            continue;
        }
        for (head = 0; head < i && c->seq[head].block != (uint32_t)ins->imm; head++) {
            ;
        }
        if (head == i && c->seq[i].block != (uint32_t)ins->imm) {
            continue;
        }
        for (uint32_t j = 0; j < head; j++) {
            struct val *val = &c->val[c->val[c->seq[j].ref].alias];
            if (val->last_use >= c->seq[head].pos && val->last_use < c->seq[i].pos) {
                val->last_use = c->seq[i].pos;
            }
        }
        /* and the back edge fills the slots of the parameters */
        for (uint32_t j = head; j <= i && x86_ins(c, c->seq[j].ref)->op == IR_param; j++) {
            if (c->val[c->seq[j].ref].last_use) {
                use(c, c->seq[j].ref, c->seq[i].pos);
            }
        }
    }
}

static void order_blocks(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;
    uint32_t count;

    c->seq = grow(c->seq, &c->seq_cap, unit->ins_count, sizeof(*c->seq));
    c->seq_count = 0;
    c->pos = 0;
    c->joins = !is_chain(unit);
    if (!c->joins) {
        for (uint32_t b = 0; b < unit->block_count; b++) {
            if (!leaves_cold(unit, &unit->blocks[b])) {
                order_block(c, b);
            }
        }
    } else {
        c->order = grow(c->order, &c->order_cap, unit->block_count, sizeof(*c->order));
        count = reverse_postorder(c);
        for (uint32_t i = 0; i < count; i++) {
            if (!leaves_cold(unit, &unit->blocks[c->order[i]])) {
                order_block(c, c->order[i]);
            }
        }
    }
    c->last_pos = c->pos;
}

/* The backward pass. */
struct backward {
    uint32_t *looks; /* positions of the looks met so far */
    uint32_t count;
    uint32_t whole; /* how many there were when the last one that is not just a fault was met */
    uint64_t logged[IR_MAX_GLOBALS / 64]; /* globals whose value at the entry is of interest */
    uint32_t seen[IR_MAX_GLOBALS];        /* per global: how many looks came behind its next gset */
};

static void forget_all(const struct x86_compiler *c, struct backward *b)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        b->seen[g] = b->count;
    }
}

/* The value is the current one of global g from here to the gset met before. */
static inline void log_value(const struct backward *b, unsigned g, struct val *val)
{
    if (b->count > b->seen[g] && b->looks[b->seen[g]] > val->last_use) {
        val->last_use = b->looks[b->seen[g]];
        val->part = false;
    }
    if (b->whole > b->seen[g]) {
        val->part = false;
    }
}

static void global_op(struct x86_compiler *c, struct backward *b, const struct seq *seq,
                      const struct ir_ins *ins)
{
    unsigned g = ins->aux;
    struct val *val = &c->val[c->val[ins->op == IR_gset ? ins->a : seq->ref].alias];

    /* a logged value must exist: no user can make it by itself */
    val->uses += ins->op == IR_gset && val->uses != UINT8_MAX;
    if (seq->side) {
        if (ins->op == IR_gset) {
            use(c, ins->a, seq->pos);
        }
    } else {
        if (ins->op == IR_gset || c->pin[g] >= 0) {
            log_value(b, g, val);
        }
        if (ins->op == IR_gset && !val->strong && c->options->pin && c->pin[g] >= 0) {
            val->hint = c->pin[g];
            val->strong = true;
        }
        b->seen[g] = b->count;
        b->logged[g / 64] |= 1ull << (g % 64);
    }
    if (ins->op == IR_gget && seq->pos > c->val[x86_entry(c, g)].last_use) {
        c->val[x86_entry(c, g)].last_use = seq->pos;
    }
}

/* `callif eq (fcmp eq v, v), 0`: a test for NaN, one compare and the parity flag. */
static void find_nan_test(struct x86_compiler *c, const struct ir_ins *callif)
{
    const ir_ref *pool = &c->unit->pool[callif->a];
    const struct ir_ins *test = x86_ins(c, pool[0]), *zero = x86_ins(c, pool[1]);

    if (callif->cc == IR_EQ && test->op == IR_fcmp && test->cc == IR_FEQ && test->a == test->b &&
        zero->op == IR_const && zero->imm == 0 && c->val[pool[0]].uses == 0) {
        c->val[pool[0]].nan_test = true;
    }
}

/* The result often takes the register of its first operand: let both want the same. */
static inline void hint_operand(struct x86_compiler *c, const struct ir_ins *ins,
                                const struct val *val)
{
    struct val *a = &c->val[c->val[ins->a].alias];

    if (ins->op != IR_fma && val->hint != REG_NONE && a->hint == REG_NONE &&
        ir_type_is_fp((enum ir_type)ins->type) ==
            ir_type_is_fp((enum ir_type)x86_ins(c, ins->a)->type)) {
        a->hint = val->hint;
    }
}

/* An exit to the address `and x, -2`. */
static void find_even(struct x86_compiler *c, const struct ir_ins *ins)
{
    struct val *val = &c->val[c->val[ins->a].alias];
    const struct ir_ins *mask;
    int64_t k;

    if (ins->op != IR_exit_lookup && ins->op != IR_exit_call && ins->op != IR_exit_ret) {
        return;
    }
    mask = x86_ins(c, ins->a);
    val->even = mask->op == IR_and && mask->type == IR_I64 && val->uses == 0 &&
                x86_const(c, mask->b, &k) && k == -2 && !x86_const(c, mask->a, &k);
}

static void backward_pass(struct x86_compiler *c, struct backward *b)
{
    const struct ir_unit *unit = c->unit;

    for (uint32_t i = c->seq_count; i-- > 0;) {
        const struct seq *seq = &c->seq[i];
        const struct ir_ins *ins = x86_ins(c, seq->ref);
        struct val *val = &c->val[seq->ref];
        unsigned k = kind[ins->op];

        if (ins->op == IR_insn || val->alias != seq->ref) {
            continue; /* users of an alias use what it names */
        }
        if (ins->op == IR_gset || ins->op == IR_gget ||
            (ins->op == IR_param && ins->aux != IR_NO_GLOBAL)) {
            global_op(c, b, seq, ins);
            continue;
        }
        if (k & PURE && val->last_use == 0 && c->options->dce) {
            val->dead = true;
            continue;
        }
        if (val->nan_test) {
            if (val->uses == 1) {
                val->dead = true;
                use(c, ins->a, val->last_use); /* where the callif is */
                continue;
            }
            val->nan_test = false;
        }
        if (val->even) {
            if (val->uses == 1) {
                val->dead = true;
                use(c, ins->a, val->last_use);
                continue;
            }
            val->even = false;
        }
        if (k & LOOKS) {
            if (c->joins && k & ENDS && !seq->side) {
                forget_all(c, b);
            }
            b->looks[b->count++] = seq->pos;
            b->whole = k & ENDS ? b->count : b->whole;
        } else if (ins->op == IR_call) {
            unsigned effects = c->target->helpers[ins->imm].effects;

            if (effects & IR_H_WRITES_STATE) {
                forget_all(c, b);
            }
            if (effects & (IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_MEMORY)) {
                b->looks[b->count++] = seq->pos;
                b->whole = b->count;
            }
        }
        if (k & EXITS && c->options->fuse && !seq->side) {
            find_even(c, ins);
        }
        if (k & POOL) {
            if (ins->op == IR_callif && c->options->fuse) {
                find_nan_test(c, ins);
            }
            for (unsigned n = 0; n < ins->b; n++) {
                use(c, unit->pool[ins->a + n], seq->pos);
            }
            continue;
        }
        if (val->part && !val->plain) {
            fuse(c, ins, val);
            continue;
        }
        if (k & ADDRESS && !seq->side && is_near(ins->imm)) {
            use_part(c, ins->a, seq->pos, false);
            if (ins->b != IR_NONE) {
                use(c, ins->b, seq->pos);
            }
            continue;
        }
        if (ins->op == IR_fma && val->hint != REG_NONE && c->val[ins->c].hint == REG_NONE) {
            c->val[ins->c].hint = val->hint; /* the addend is what the result overwrites */
        }
        if (ins->op == IR_add && !seq->side) {
            use_sum(c, ins, seq->pos);
            hint_operand(c, ins, val);
            continue;
        }
        if (ins->a != IR_NONE) {
            use(c, ins->a, seq->pos);
            hint_operand(c, ins, val);
        }
        if (ins->b != IR_NONE) {
            use(c, ins->b, seq->pos);
        }
        if (ins->c != IR_NONE) {
            use(c, ins->c, seq->pos);
        }
    }
}

void x86_liveness(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;
    const struct val nowhere = {.reg = REG_NONE, .hint = REG_NONE, .global = IR_NO_GLOBAL};
    struct backward b;

    c->val_count = unit->ins_count + c->target->global_count;
    c->val = grow(c->val, &c->val_cap, c->val_count, sizeof(*c->val));
    for (uint32_t i = 0; i < unit->ins_count; i++) {
        c->val[i] = nowhere;
        c->val[i].alias = i;
    }
    memcpy(c->val + unit->ins_count, c->entry_vals, c->target->global_count * sizeof(*c->val));
    order_blocks(c);

    c->looks = grow(c->looks, &c->looks_cap, c->seq_count, sizeof(*c->looks));
    b.looks = c->looks;
    b.count = 0;
    memset(b.seen, 0, c->target->global_count * sizeof(b.seen[0]));
    memcpy(b.logged, c->pinned, sizeof(b.logged));
    backward_pass(c, &b);
    /* one that is neither pinned nor set stays in its home, whoever looks */
    for (unsigned word = 0; word < IR_MAX_GLOBALS / 64; word++) {
        for (uint64_t set = b.logged[word]; set; set &= set - 1) {
            unsigned g = word * 64 + (unsigned)__builtin_ctzll(set);

            log_value(&b, g, &c->val[x86_entry(c, g)]);
        }
    }
    if (c->joins) {
        extend_over_loops(c);
    }
}
