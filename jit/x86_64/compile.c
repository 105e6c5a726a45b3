/*
 * The driver: one pass over the unit in the order of live.c, then layout (main line, cold code) and
 * fixups.
 */
#include <stdio.h>
#include "jit/x86_64/compile.h"

/* Best-ranked integer globals are pinned to these, in order; the cheaper encodings first. */
static const int8_t gpr_pins[] = {RBX, RSI, RDI, R8, R9, R10, R11, R14, R15, R12, R13};
enum { FPR_PINS = 13 };

void jit_x86_pins(const struct ir_target *target, int8_t pin[IR_MAX_GLOBALS])
{
    uint8_t by_rank[2][IR_MAX_GLOBALS + 1];
    unsigned count[2] = {0, 0};

    memset(by_rank, IR_NO_GLOBAL, sizeof(by_rank));
    for (unsigned g = 0; g < target->global_count; g++) {
        const struct ir_global *global = &target->globals[g];

        pin[g] = REG_NONE;
        by_rank[ir_type_is_fp((enum ir_type)global->type)][global->rank] = (uint8_t)g;
    }
    for (unsigned rank = 1; rank <= target->global_count; rank++) {
        unsigned g = by_rank[0][rank], f = by_rank[1][rank];

        if (g != IR_NO_GLOBAL && count[0] < sizeof(gpr_pins)) {
            pin[g] = gpr_pins[count[0]++];
        }
        if (f != IR_NO_GLOBAL && count[1] < FPR_PINS) {
            pin[f] = (int8_t)(REG_FP + count[1]++);
        }
    }
}

int32_t jit_x86_bias(const struct ir_target *target)
{
    /* the first sixteen homes below rbp, the next sixteen above: displacements of one byte */
    return (int32_t)target->globals[0].offset + 120;
}

static void *xrealloc(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p) {
        fputs("jit: out of memory\n", stderr);
        abort();
    }
    return p;
}

struct x86_compiler *jit_x86_new(const struct jit_layout *layout, const struct jit_options *options)
{
    struct x86_compiler *c = calloc(1, sizeof(*c));

    if (!c) {
        return NULL;
    }
    c->layout = layout;
    c->options = options;
    c->feat = jit_x86_features();
    return c;
}

void jit_x86_delete(struct x86_compiler *c)
{
    if (!c) {
        return;
    }
    free(c->main.base);
    free(c->cold.base);
    free(c->val);
    free(c->seq);
    free(c->looks);
    free(c->undo);
    free(c->fixups);
    free(c->blocks);
    free(c->pending);
    free(c->order);
    free(c);
}

void jit_code_init(struct jit_code *code)
{
    *code = (struct jit_code){0};
}

void jit_code_free(struct jit_code *code)
{
    free(code->bytes);
    free(code->relocs);
    free(code->links);
    free(code->side);
    jit_code_init(code);
}

void x86_fixup(struct x86_compiler *c, uint32_t at, bool at_cold, uint32_t to, bool to_cold)
{
    if (c->fixup_count == c->fixup_cap) {
        c->fixup_cap = c->fixup_cap ? c->fixup_cap * 2 : 64;
        c->fixups = xrealloc(c->fixups, c->fixup_cap * sizeof(*c->fixups));
    }
    c->fixups[c->fixup_count++] = (struct fixup){at, to, at_cold, to_cold};
}

#define IN_COLD 0x80000000u

void x86_reloc(struct x86_compiler *c, uint32_t at, enum jit_reloc_kind kind, unsigned index)
{
    struct jit_code *out = c->out;

    if (out->reloc_count == out->reloc_cap) {
        out->reloc_cap = out->reloc_cap ? out->reloc_cap * 2 : 32;
        out->relocs = xrealloc(out->relocs, out->reloc_cap * sizeof(*out->relocs));
    }
    out->relocs[out->reloc_count++] =
        (struct jit_reloc){.offset = at | (c->a == &c->cold ? IN_COLD : 0),
                           .index = (uint16_t)index,
                           .kind = (uint8_t)kind};
}

void x86_jump_thunk(struct x86_compiler *c, enum jit_thunk thunk)
{
    x86_reloc(c, x86_jmp(c->a), JIT_RELOC_THUNK, thunk);
}

void x86_cold_begin(struct x86_compiler *c, uint32_t jump_at)
{
    if (c->in_cold) {
        /* out of line within what is out of line already: jumped over instead */
        c->nested_over = x86_jmp(c->a);
        x86_patch(c->a, jump_at, c->a->size);
        return;
    }
    x86_fixup(c, jump_at, false, c->cold.size, true);
    c->cold_from = jump_at;
    c->cold_start = c->cold.size;
    memcpy(c->saved_owner, c->owner, sizeof(c->owner));
    memcpy(c->saved_map, c->map, c->target->global_count * sizeof(c->map[0]));
    c->saved_locked = c->locked;
    c->saved_slots = c->slots;
    c->in_cold = true;
    c->undo_count = 0;
    c->a = &c->cold;
}

void x86_cold_end(struct x86_compiler *c, bool resume)
{
    if (c->nested_over) {
        x86_patch(c->a, c->nested_over, c->a->size);
        c->nested_over = 0;
        return;
    }
    if (resume) {
        uint32_t at = x86_jmp(c->a);
        x86_fixup(c, at, true, c->main.size, false);
    }
    c->in_cold = false;
    while (c->undo_count) {
        struct undo *undo = &c->undo[--c->undo_count];
        c->val[undo->ref] = undo->val;
    }
    memcpy(c->owner, c->saved_owner, sizeof(c->owner));
    memcpy(c->map, c->saved_map, c->target->global_count * sizeof(c->map[0]));
    c->locked = c->saved_locked;
    c->slots = c->saved_slots;
    c->a = &c->main;
}

static void emit_op(struct x86_compiler *c, ir_ref ref)
{
    const struct ir_ins *ins = x86_ins(c, ref);

    if (c->val[ref].dead || x86_resolve(c, ref) != ref) {
        return; /* unused, or an alias of its operand */
    }
    switch (ins->op) {
    case IR_insn:
        c->insn_pc = (uint64_t)ins->imm;
        return;
    case IR_const:
    case IR_param:
        return;
    case IR_gset:
        x86_gset(c, ins->aux, x86_resolve(c, ins->a));
        return;
    case IR_gget:
        x86_gget(c, ins->aux, ref);
        return;
    case IR_jump:
        x86_join_jump(c, ins);
        return;
    default:
        break;
    }
    if (!x86_emit_int(c, ref, ins) && !x86_emit_mem(c, ref, ins) && !x86_emit_fp(c, ref, ins) &&
        !x86_emit_call(c, ref, ins) && !x86_emit_exit(c, ref, ins)) {
        fprintf(stderr, "jit: op %s is not known to this back end\n", ir_op_info[ins->op].name);
        abort();
    }
    if (!ir_op_info[ins->op].exits) {
        x86_op_done(c, ins);
    }
}

/* A branch one side of which may be a cold block that follows in seq; returns how many ops that
 * took. */
static uint32_t emit_br(struct x86_compiler *c, uint32_t at)
{
    const struct ir_ins *ins = x86_ins(c, c->seq[at].ref);
    uint32_t yes = (uint32_t)ins->imm, no = (uint32_t)((uint64_t)ins->imm >> 32), i = at + 1;
    enum ir_type type = x86_ins(c, ins->a)->type;
    uint32_t next_main;
    enum x86_cond cc;

    if (c->joins) {
        x86_join_save(c, ins);
    }
    cc = x86_compare(c, (enum ir_cc)ins->cc, type, ins->a, ins->b);
    /* the main line goes on with the block that comes next in order and is not cold */
    for (next_main = at + 1; next_main < c->seq_count && c->seq[next_main].pos == c->seq[at].pos;
         next_main++) {
        ;
    }
    uint32_t through = next_main < c->seq_count ? c->seq[next_main].block : UINT32_MAX;
    bool cold_yes = false, cold_no = false;
    for (uint32_t k = at + 1; k < next_main; k++) {
        cold_yes |= c->seq[k].block == yes;
        cold_no |= c->seq[k].block == no;
    }

    c->locked = 0; /* what the cold blocks use dies behind them, not before */
    if (cold_yes) {
        x86_cold_begin(c, x86_jcc(c->a, cc));
        for (; i < next_main && c->seq[i].block == yes; i++) {
            emit_op(c, c->seq[i].ref);
        }
        x86_cold_end(c, false);
    } else if (yes != through) {
        x86_join_target(c, x86_jcc(c->a, cc), yes);
    }
    if (cold_no) {
        /* where the other side was a jump as well, what remains is certain */
        x86_cold_begin(c, yes == through ? x86_jcc(c->a, (enum x86_cond)(cc ^ 1)) : x86_jmp(c->a));
        for (; i < next_main && c->seq[i].block == no; i++) {
            emit_op(c, c->seq[i].ref);
        }
        x86_cold_end(c, false);
    } else if (no != through) {
        x86_join_target(c, yes == through ? x86_jcc(c->a, (enum x86_cond)(cc ^ 1)) : x86_jmp(c->a),
                        no);
    }
    x86_op_done(c, ins);
    return next_main;
}

static void layout_code(struct x86_compiler *c)
{
    struct jit_code *out = c->out;
    uint32_t base = (c->main.size + 15) & ~15u;

    out->main_size = c->main.size;
    out->size = base + c->cold.size;
    if (out->size > out->cap) {
        out->cap = out->size * 2;
        out->bytes = xrealloc(out->bytes, out->cap);
    }
    memcpy(out->bytes, c->main.base, c->main.size);
    memset(out->bytes + c->main.size, 0xcc, base - c->main.size);
    if (c->cold.size) {
        memcpy(out->bytes + base, c->cold.base, c->cold.size);
    }
    for (uint32_t i = 0; i < c->fixup_count; i++) {
        const struct fixup *f = &c->fixups[i];
        uint32_t at = f->at + (f->at_cold ? base : 0), to = f->to + (f->to_cold ? base : 0),
                 disp = to - (at + 4);

        memcpy(out->bytes + at, &disp, 4);
    }
#define SETTLE(field) ((field)&IN_COLD ? ((field) & ~IN_COLD) + base : (field))
    for (uint32_t i = 0; i < out->reloc_count; i++) {
        out->relocs[i].offset = SETTLE(out->relocs[i].offset);
    }
    for (uint32_t i = 0; i < out->link_count; i++) {
        out->links[i].offset = SETTLE(out->links[i].offset);
        out->links[i].stub = SETTLE(out->links[i].stub);
    }
#undef SETTLE
}

bool jit_x86_compile(struct x86_compiler *c, const struct ir_unit *unit, struct jit_code *code)
{
    c->unit = unit;
    if (c->target != unit->target) {
        c->target = unit->target;
        jit_x86_pins(c->target, c->pin);
        c->bias = jit_x86_bias(c->target);
        x86_init_target(c);
    }
    c->out = code;
    code->size = code->reloc_count = code->link_count = code->side_size = 0;
    c->main.size = c->cold.size = 0;
    x86_reserve(&c->main);
    x86_reserve(&c->cold);
    c->a = &c->main;
    c->fixup_count = 0;
    c->in_cold = false;
    c->compare_in = NULL;
    c->nested_over = 0;
    c->page.reg = REG_NONE;
    c->locked = 0;
    c->slots = (1ull << c->layout->spill_slots) - 1;
    c->failed = false;
    c->rec_offset = 0;
    c->rec_at = UINT32_MAX;
    c->rec_pc = c->insn_pc = unit->pc;
    c->rec_reset = false;
    memset(c->active, 0, sizeof(c->active));
    memcpy(c->rec, c->entry_rec, c->target->global_count * sizeof(c->rec[0]));

    x86_liveness(c);
    x86_init_regs(c);
    if (c->joins) {
        x86_join_begin(c);
    }
    uint32_t block = 0;
    for (uint32_t i = 0; i < c->seq_count;) {
        c->pos = c->live_from = c->seq[i].pos;
        if (c->seq[i].block != block) {
            block = c->seq[i].block;
            if (c->joins) {
                c->page.reg = REG_NONE;
                x86_join_enter(c, block);
            }
        }
        c->at = i;
        if (x86_ins(c, c->seq[i].ref)->op == IR_br) {
            i = emit_br(c, i);
        } else {
            emit_op(c, c->seq[i++].ref);
        }
    }
    if (c->joins) {
        x86_join_end(c);
    }
    layout_code(c);
    return !c->failed;
}
