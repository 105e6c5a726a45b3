/*
 * Units whose blocks meet: diamonds and loops.
 *
 * The allocator proper knows only trees of blocks. Where blocks meet it meets them in memory: at the end of every block
 * whose successor is not just emitted at the branch, each live value is stored to a spill slot of its own, each
 * clean global to its home, and no register holds anything. A parameter has a slot from the start, which every jump
 * fills. What a global's current value is, is kept for each block at the first edge to it.
 */
#include <stdio.h>
#include "jit/x86_64/compile.h"

struct x86_block {
    uint32_t start;              /* in main, UINT32_MAX while not emitted */
    bool seen;                   /* map is set */
    ir_ref map[IR_MAX_GLOBALS];
};

void x86_join_begin(struct x86_compiler *c)
{
    const struct ir_unit *unit = c->unit;

    if (unit->block_count > c->block_cap) {
        c->block_cap = unit->block_count * 2;
        free(c->blocks);
        c->blocks = malloc(c->block_cap * sizeof(*c->blocks));
        if (!c->blocks)
            abort();
    }
    c->pending_count = 0;
    for (uint32_t b = 0; b < unit->block_count; b++) {
        ir_ref ref = unit->blocks[b].first;

        c->blocks[b].start = UINT32_MAX;
        c->blocks[b].seen = false;
        for (unsigned i = 0; i < unit->blocks[b].params; i++, ref = unit->ins[ref].next) {
            c->val[ref].slot = (uint8_t)x86_new_slot(c);
            c->val[ref].mem = VAL_SPILL;
        }
    }
    c->blocks[0].start = 0;
}

/* Everything that lives on is in memory, where the other predecessors expect it. */
static void to_memory(struct x86_compiler *c)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        ir_ref ref = c->map[g], entry = x86_entry(c, g);
        struct val *val = &c->val[ref];
        int64_t value;

        if (x86_const(c, ref, &value))
            continue;
        bool clean = ref == entry || (x86_ins(c, ref)->op == IR_gget && x86_ins(c, ref)->aux == g);
        if (!clean) {
            x86_to_slot(c, ref);
            continue;
        }
        if (!(val->mem == VAL_HOME && val->global == g)) {
            if (val->reg == REG_NONE)
                x86_copy_memory(c, x86_home(c, g), x86_slot(c, val->slot));
            else
                x86_store_reg(c, val->reg, x86_home(c, g));
        }
        if (ref != entry) {
            if (val->last_use > c->pos) {
                if (val->mem == VAL_HOME && val->reg == REG_NONE)
                    x86_use(c, ref);
                val->mem = val->mem == VAL_HOME ? VAL_NOWHERE : val->mem;
                x86_to_slot(c, ref);
            } else {
                val->mem = VAL_NOWHERE;
            }
            c->map[g] = entry;
        }
        c->val[entry].mem = VAL_HOME;
        c->val[entry].global = (uint8_t)g;
    }
    c->locked = 0;
    for (unsigned r = 0; r < REG_COUNT; r++) {
        ir_ref ref = c->owner[r];
        int64_t value;

        if (ref != IR_NONE && ref < c->unit->ins_count && c->val[ref].last_use >= c->pos && !x86_const(c, ref, &value))
            x86_to_slot(c, ref);
    }
    x86_drop_regs(c, UINT32_MAX);
}

static void note_map(struct x86_compiler *c, uint32_t block)
{
    struct x86_block *to = &c->blocks[block];

    if (to->seen)
        return;
    to->seen = true;
    for (unsigned g = 0; g < c->target->global_count; g++)
        to->map[g] = c->unit->blocks[block].preds > 1 ? x86_entry(c, g) : c->map[g];
    ir_ref ref = c->unit->blocks[block].first;
    for (unsigned i = 0; i < c->unit->blocks[block].params; i++, ref = c->unit->ins[ref].next)
        if (c->unit->ins[ref].aux != IR_NO_GLOBAL)
            to->map[c->unit->ins[ref].aux] = ref;
}

void x86_join_save(struct x86_compiler *c, const struct ir_ins *br)
{
    uint32_t to[2] = {(uint32_t)br->imm, (uint32_t)((uint64_t)br->imm >> 32)};

    to_memory(c);
    for (unsigned i = 0; i < 2; i++)
        note_map(c, to[i]);
}

void x86_join_enter(struct x86_compiler *c, uint32_t block)
{
    struct x86_block *b = &c->blocks[block];

    b->start = c->main.size;
    for (unsigned r = 0; r < REG_COUNT; r++)
        if (c->owner[r] != IR_NONE)
            x86_drop_regs(c, REG_BIT(r));
    for (unsigned g = 0; g < c->target->global_count; g++) {
        ir_ref entry = x86_entry(c, g);

        c->map[g] = b->seen ? b->map[g] : entry;
        c->val[entry].mem = VAL_HOME;
        c->val[entry].reg = REG_NONE;
        c->val[entry].global = (uint8_t)g;
        c->active[g / 64] |= 1ull << (g % 64);
    }
    c->rec_reset = true;
}

void x86_join_target(struct x86_compiler *c, uint32_t at, uint32_t block)
{
    if (c->pending_count == c->pending_cap) {
        c->pending_cap = c->pending_cap ? c->pending_cap * 2 : 16;
        c->pending = realloc(c->pending, c->pending_cap * sizeof(*c->pending));
        if (!c->pending)
            abort();
    }
    c->pending[c->pending_count++] = (struct fixup){.at = at, .to = block};
}

void x86_join_jump(struct x86_compiler *c, const struct ir_ins *jump)
{
    const struct ir_unit *unit = c->unit;
    uint32_t to = (uint32_t)jump->imm;
    ir_ref param = unit->blocks[to].first;
    uint8_t fresh[UINT8_MAX];

    /* arguments first to slots nobody reads, since an argument may be a parameter of the same block */
    for (unsigned i = 0; i < jump->b; i++) {
        ir_ref arg = x86_resolve(c, unit->pool[jump->a + i]);

        fresh[i] = (uint8_t)x86_new_slot(c);
        x86_load_value(c, arg, XMM_TEMP);
        x86_store_reg(c, XMM_TEMP, x86_slot(c, fresh[i]));
    }
    to_memory(c);
    for (unsigned i = 0; i < jump->b; i++, param = unit->ins[param].next) {
        x86_copy_memory(c, x86_slot(c, c->val[param].slot), x86_slot(c, fresh[i]));
        c->slots |= 1ull << fresh[i];
    }
    note_map(c, to);
    x86_join_target(c, x86_jmp(c->a), to);
    x86_op_done(c, jump);
}

void x86_join_end(struct x86_compiler *c)
{
    for (uint32_t i = 0; i < c->pending_count; i++) {
        const struct fixup *f = &c->pending[i];

        if (c->blocks[f->to].start == UINT32_MAX) {
            fprintf(stderr, "jit: block %u is the target of a jump but was not emitted\n", f->to);
            abort();
        }
        x86_fixup(c, f->at, false, c->blocks[f->to].start, false);
    }
}
