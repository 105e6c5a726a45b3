/*
 * Units whose blocks meet: diamonds and loops.
 *
 * The allocator proper knows only trees of blocks. Where blocks meet it meets them in memory: at the end of every block
 * whose successor is not just emitted at the branch, every global is in its home, as the guest may see it, each value that
 * lives on is in a spill slot of its own, and no register holds anything. A parameter has a slot from the first
 * jump on, which every jump fills. So all edges to a block agree, in whatever order blocks are emitted.
 */
#include <stdio.h>
#include "jit/x86_64/compile.h"

struct x86_block {
    uint32_t start; /* offset in main, UINT32_MAX while not emitted */
    uint64_t pc;    /* of the guest instruction that control comes from */
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
    for (uint32_t b = 0; b < unit->block_count; b++)
        c->blocks[b].start = UINT32_MAX;
    c->blocks[0].start = 0;
}

/* The globals are the entry values again, and live in their homes. */
static void globals_are_home(struct x86_compiler *c)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        ir_ref entry = x86_entry(c, g);

        c->map[g] = entry;
        c->val[entry].mem = VAL_HOME;
        c->val[entry].reg = REG_NONE;
        c->val[entry].global = (uint8_t)g;
        c->active[g / 64] |= 1ull << (g % 64);
    }
}

/* Everything that lives on is in memory, where the other predecessors expect it. */
static void to_memory(struct x86_compiler *c)
{
    /* values first: a home that holds one of them may be overwritten below */
    for (uint32_t i = 1; i < c->unit->ins_count; i++) {
        const struct val *val = &c->val[i];
        int64_t value;

        if ((val->reg != REG_NONE || val->mem == VAL_HOME) && val->last_use >= c->pos && !x86_const(c, i, &value))
            x86_to_slot(c, i);
    }
    x86_sync(c, false);
    x86_make_visible(c);
    c->locked = 0;
    x86_drop_regs(c, UINT32_MAX);
    for (uint32_t i = 1; i < c->unit->ins_count; i++)
        if (c->val[i].mem == VAL_HOME)
            c->val[i].mem = VAL_NOWHERE;
    globals_are_home(c);
}

void x86_join_save(struct x86_compiler *c, const struct ir_ins *br)
{
    to_memory(c);
    c->blocks[(uint32_t)br->imm].pc = c->insn_pc;
    c->blocks[(uint64_t)br->imm >> 32].pc = c->insn_pc;
}

void x86_join_enter(struct x86_compiler *c, uint32_t block)
{
    c->blocks[block].start = c->main.size;
    c->insn_pc = c->blocks[block].pc;
    x86_drop_regs(c, UINT32_MAX);
    globals_are_home(c);
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
        fresh[i] = (uint8_t)x86_new_slot(c);
        x86_load_value(c, x86_resolve(c, unit->pool[jump->a + i]), XMM_TEMP);
        x86_store_reg(c, XMM_TEMP, x86_slot(c, fresh[i]));
    }
    to_memory(c);
    c->blocks[to].pc = c->insn_pc;
    for (unsigned i = 0; i < jump->b; i++, param = unit->ins[param].next) {
        const struct ir_ins *ins = &unit->ins[param];
        struct val *val = &c->val[param];

        if (val->last_use && val->mem == VAL_NOWHERE) {
            val->slot = (uint8_t)x86_new_slot(c);
            val->mem = VAL_SPILL;
        }
        if (val->last_use)
            x86_copy_memory(c, x86_slot(c, val->slot), x86_slot(c, fresh[i]));
        if (ins->aux != IR_NO_GLOBAL)
            x86_copy_memory(c, x86_home(c, ins->aux), x86_slot(c, fresh[i]));
        c->slots |= 1ull << fresh[i];
    }
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
