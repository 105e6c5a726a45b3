/*
 * Register allocation: where values are, and what is done to bring them where they are needed. The
 * rules are in compile.h.
 *
 * The allocator never looks ahead further than a value's last use and its hint. When it must empty
 * a register it takes the cheapest: what memory holds already, or must hold at the exit anyway,
 * before what would have to be stored and loaded again.
 */
#include <stdio.h>
#include "jit/x86_64/compile.h"

struct val *x86_val(struct x86_compiler *c, ir_ref ref)
{
    if (c->in_cold) {
        if (c->undo_count == c->undo_cap) {
            c->undo_cap = c->undo_cap ? c->undo_cap * 2 : 64;
            c->undo = realloc(c->undo, c->undo_cap * sizeof(*c->undo));
            if (!c->undo) {
                abort();
            }
        }
        c->undo[c->undo_count++] = (struct undo){ref, c->val[ref]};
    }
    return &c->val[ref];
}

static void activate(struct x86_compiler *c, unsigned global)
{
    c->active[global / 64] |= 1ull
                              << (global % 64); /* in a cold block too: that is on the safe side */
}

void x86_init_target(struct x86_compiler *c)
{
    memset(c->pinned, 0, sizeof(c->pinned));
    for (unsigned g = 0; g < c->target->global_count; g++) {
        bool pinned = c->pin[g] >= 0;

        c->pinned[g / 64] |= (uint64_t)pinned << (g % 64);
        c->entry_vals[g] = (struct val){.reg = pinned ? c->pin[g] : REG_NONE,
                                        .hint = REG_NONE,
                                        .mem = pinned ? VAL_NOWHERE : VAL_HOME,
                                        .global = (uint8_t)g};
        c->entry_rec[g] = pinned ? (uint32_t)c->pin[g] : SIDE_HOME;
    }
}

void x86_init_regs(struct x86_compiler *c)
{
    memset(c->owner, 0, sizeof(c->owner));
    for (unsigned g = 0; g < c->target->global_count; g++) {
        c->map[g] = x86_entry(c, g);
        if (c->pin[g] >= 0) {
            c->owner[(int)c->pin[g]] = x86_entry(c, g);
        }
    }
}

/* Whether the owner of reg is needed neither by this op nor by a later one. */
static bool idle(const struct x86_compiler *c, int reg)
{
    ir_ref ref = c->owner[reg];
    return ref == IR_NONE || c->val[ref].last_use < c->live_from;
}

static void release_slot(struct x86_compiler *c, struct val *val)
{
    if (val->mem != VAL_SPILL) {
        return; /* the home of a global goes on holding it */
    }
    c->slots |= 1ull << val->slot;
    val->mem = VAL_NOWHERE;
}

static void release_reg(struct x86_compiler *c, int reg)
{
    ir_ref ref = c->owner[reg];

    if (ref != IR_NONE) {
        x86_val(c, ref)->reg = REG_NONE;
    }
    c->owner[reg] = IR_NONE;
}

unsigned x86_new_slot(struct x86_compiler *c)
{
    unsigned slot;

    if (!c->slots && !c->in_cold) {
        /* values that died without an op of theirs to notice */
        for (uint32_t ref = 1; ref < c->val_count; ref++) {
            if (c->val[ref].mem == VAL_SPILL && c->val[ref].last_use < c->pos) {
                release_slot(c, &c->val[ref]);
            }
        }
    }
    if (!c->slots) {
        c->failed = true; /* the unit is compiled to its end, and then refused */
        return 0;
    }
    slot = (unsigned)__builtin_ctzll(c->slots);
    c->slots &= c->slots - 1;
    return slot;
}

static void move(struct x86_compiler *c, int to, int from)
{
    if (to == from) {
        return;
    }
    if (to < REG_FP && from < REG_FP) {
        x86_mov_rr(c->a, true, to, from);
    } else if (to >= REG_FP && from >= REG_FP) {
        x86_rr(c->a, X86_OP(1, 0, 0x28), false, to - REG_FP, from - REG_FP); /* movaps */
    } else if (to >= REG_FP) {
        x86_rr(c->a, X86_OP(1, 0x66, 0x6e), true, to - REG_FP, from); /* movq xmm, r64 */
    } else {
        x86_rr(c->a, X86_OP(1, 0x66, 0x7e), true, from - REG_FP, to); /* movq r64, xmm */
    }
}

void x86_move_reg(struct x86_compiler *c, int to, int from)
{
    move(c, to, from);
}

static void load(struct x86_compiler *c, int to, struct x86_mem m)
{
    if (to < REG_FP) {
        x86_load(c->a, true, to, m);
    } else {
        x86_rm(c->a, X86_OP(1, 0xf3, 0x7e), false, to - REG_FP, m); /* movq xmm, m64 */
    }
}

static void store(struct x86_compiler *c, int from, struct x86_mem m)
{
    if (from < REG_FP) {
        x86_store(c->a, true, from, m);
    } else {
        x86_rm(c->a, X86_OP(1, 0x66, 0xd6), false, from - REG_FP, m); /* movq m64, xmm */
    }
}

static struct x86_mem memory_of(const struct x86_compiler *c, const struct val *val)
{
    return val->mem == VAL_HOME ? x86_home(c, val->global) : x86_slot(c, val->slot);
}

bool x86_in_memory(struct x86_compiler *c, ir_ref ref, struct x86_mem *mem)
{
    const struct val *val = &c->val[ref];

    if (val->reg != REG_NONE || val->mem == VAL_NOWHERE) {
        return false;
    }
    *mem = memory_of(c, val);
    return true;
}

void x86_load_value(struct x86_compiler *c, ir_ref ref, int reg)
{
    const struct val *val = &c->val[ref];
    int64_t value;

    if (x86_const(c, ref, &value)) {
        if (reg < REG_FP) {
            x86_mov_imm(c->a, reg, value);
        } else if (value == 0) {
            x86_rr(c->a, X86_OP(1, 0x66, 0xef), false, reg - REG_FP, reg - REG_FP); /* pxor */
        } else {
            /* through the red zone that nobody uses: no integer register need be free, flags stay
             */
            x86_rm(c->a, 0xc7, false, 0, x86_mem(RSP, -16));
            x86_u32(c->a, (uint32_t)value);
            x86_rm(c->a, 0xc7, false, 0, x86_mem(RSP, -12));
            x86_u32(c->a, (uint32_t)((uint64_t)value >> 32));
            load(c, reg, x86_mem(RSP, -16));
        }
    } else if (val->reg != REG_NONE) {
        move(c, reg, val->reg);
    } else if (val->mem != VAL_NOWHERE) {
        load(c, reg, memory_of(c, val));
    } else if (!c->failed) {
        fprintf(stderr,
                "jit: %s (op %u, global %u) of unit %#llx is nowhere at position %u; last use %u\n",
                ref < c->unit->ins_count ? ir_op_info[x86_ins(c, ref)->op].name : "an entry value",
                ref, val->global, (unsigned long long)c->unit->pc, c->pos, val->last_use);
        abort();
    }
}

/* Whether ref is the current value of the global it was last set to. */
static bool is_current(const struct x86_compiler *c, const struct val *val, ir_ref ref)
{
    return val->global != IR_NO_GLOBAL && c->map[val->global] == ref;
}

/* Gives a live value memory: the home of its global if it has one, a slot otherwise. Emits the
 * store. */
static void give_memory(struct x86_compiler *c, ir_ref ref)
{
    struct val *val = x86_val(c, ref);

    if (val->mem != VAL_NOWHERE) {
        return;
    }
    if (is_current(c, val, ref)) {
        val->mem = VAL_HOME;
        activate(c, val->global);
    } else {
        val->slot = (uint8_t)x86_new_slot(c);
        val->mem = VAL_SPILL;
    }
    store(c, val->reg, memory_of(c, val));
}

/* After the value of `ref` has changed place. */
static void moved(struct x86_compiler *c, ir_ref ref)
{
    const struct val *val = &c->val[ref];

    /* a value may be current for several globals (register copies); all but one are active since
     * their gset */
    if (val->global != IR_NO_GLOBAL) {
        activate(c, val->global);
    }
}

void x86_spill(struct x86_compiler *c, int reg)
{
    ir_ref ref = c->owner[reg];

    if (ref == IR_NONE) {
        return;
    }
    if (c->val[ref].last_use >= c->live_from) {
        int64_t value;
        if (!x86_const(c, ref, &value)) {
            give_memory(c, ref);
        }
        moved(c, ref);
    }
    release_reg(c, reg);
}

/* What emptying a register would cost. */
static unsigned spill_cost(const struct x86_compiler *c, int reg)
{
    ir_ref ref = c->owner[reg];
    const struct val *val = &c->val[ref];
    int64_t value;
    unsigned cost;

    if (x86_const(c, ref, &value)) {
        return 0;
    }
    cost = val->mem != VAL_NOWHERE ? 1 : 3;
    if (is_current(c, val, ref)) {
        if (c->pin[val->global] < 0) {
            cost = 1; /* stored at the exit anyway */
        } else {
            cost += 2; /* and loaded again at the exit */
        }
    }
    return cost;
}

static int choose(struct x86_compiler *c, bool fp, int hint)
{
    uint32_t set = (fp ? FPR_ALL : GPR_ALL) & ~c->locked;
    unsigned best_cost = UINT32_MAX;
    uint32_t best_last = 0;
    int best = REG_NONE;

    if (hint != REG_NONE && (set & REG_BIT(hint)) && idle(c, hint)) {
        return hint;
    }
    for (uint32_t s = set; s; s &= s - 1) {
        int r = __builtin_ctz(s);
        if (c->owner[r] == IR_NONE && r != c->page.reg) {
            return r;
        }
    }
    for (uint32_t s = set; s; s &= s - 1) {
        int r = __builtin_ctz(s);
        if (idle(c, r) && r != c->page.reg) {
            return r;
        }
    }
    if (c->page.reg != REG_NONE && (set & REG_BIT(c->page.reg))) {
        return c->page.reg;
    }
    for (uint32_t s = set; s; s &= s - 1) {
        int r = __builtin_ctz(s);
        unsigned cost = spill_cost(c, r);
        uint32_t last = c->val[c->owner[r]].last_use;

        if (cost < best_cost || (cost == best_cost && last > best_last)) {
            best = r;
            best_cost = cost;
            best_last = last;
        }
    }
    if (best == REG_NONE) {
        fprintf(stderr, "jit: no register left in unit %#llx\n", (unsigned long long)c->unit->pc);
        abort();
    }
    return best;
}

static int allocate(struct x86_compiler *c, bool fp, int hint)
{
    int reg = choose(c, fp, hint);

    x86_tlb_lose(c, reg);
    x86_spill(c, reg);
    c->locked |= REG_BIT(reg);
    return reg;
}

static void own(struct x86_compiler *c, int reg, ir_ref ref)
{
    struct val *val = x86_val(c, ref);

    x86_tlb_lose(c, reg);
    c->owner[reg] = ref;
    val->reg = (int8_t)reg;
}

int x86_use(struct x86_compiler *c, ir_ref ref)
{
    int reg = c->val[ref].reg;
    int64_t value;

    if (reg == REG_NONE) {
        reg = allocate(c, x86_is_fp(c, ref), c->val[ref].hint);
        x86_load_value(c, ref, reg);
        own(c, reg, ref);
        if (!x86_const(c, ref, &value)) {
            moved(c, ref);
        }
    }
    c->locked |= REG_BIT(reg);
    return reg;
}

int x86_use_in(struct x86_compiler *c, ir_ref ref, int reg)
{
    if (c->val[ref].reg == reg) {
        c->locked |= REG_BIT(reg);
        return reg;
    }
    x86_take(c, reg);
    x86_load_value(c, ref, reg);
    return reg;
}

bool x86_dies(const struct x86_compiler *c, ir_ref ref)
{
    /* all ops of a cold block share a position: one more may follow */
    return c->val[ref].last_use <= c->pos && !c->in_cold;
}

int x86_temp(struct x86_compiler *c, bool fp)
{
    return allocate(c, fp, REG_NONE);
}

void x86_evict(struct x86_compiler *c, int reg)
{
    ir_ref ref = c->owner[reg];

    if (ref == IR_NONE) {
        return;
    }
    if (c->val[ref].last_use >= c->pos) {
        uint32_t set = (reg >= REG_FP ? FPR_ALL : GPR_ALL) & ~c->locked & ~REG_BIT(reg);
        int hint = c->val[ref].hint, to = REG_NONE;

        if (hint != REG_NONE && (set & REG_BIT(hint)) && idle(c, hint)) {
            to = hint;
        }
        for (uint32_t s = set; to == REG_NONE && s; s &= s - 1) {
            if (idle(c, __builtin_ctz(s))) {
                to = __builtin_ctz(s);
            }
        }
        if (to != REG_NONE) {
            release_reg(c, to);
            move(c, to, reg);
            c->owner[reg] = IR_NONE;
            own(c, to, ref);
            moved(c, ref);
            /* whoever had locked the value goes on finding it by val.reg */
            if (c->locked & REG_BIT(reg)) {
                c->locked |= REG_BIT(to);
            }
            return;
        }
    }
    x86_spill(c, reg);
}

void x86_take(struct x86_compiler *c, int reg)
{
    x86_tlb_lose(c, reg);
    x86_evict(c, reg);
    c->locked |= REG_BIT(reg);
}

int x86_def(struct x86_compiler *c, ir_ref ref)
{
    int reg = allocate(c, x86_is_fp(c, ref), c->val[ref].hint);

    own(c, reg, ref);
    return reg;
}

int x86_def_tied(struct x86_compiler *c, ir_ref ref, ir_ref from)
{
    const struct val *val = &c->val[from];
    int hint = c->val[ref].hint, reg;

    if (val->reg != REG_NONE && x86_dies(c, from) &&
        !(hint != REG_NONE && hint != val->reg && !(c->locked & REG_BIT(hint)) && idle(c, hint))) {
        reg = val->reg;
        release_reg(c, reg);
        c->locked |= REG_BIT(reg);
        own(c, reg, ref);
        return reg;
    }
    if (val->reg != REG_NONE) {
        c->locked |= REG_BIT(val->reg);
    }
    reg = allocate(c, x86_is_fp(c, ref), hint);
    x86_load_value(c, from, reg);
    own(c, reg, ref);
    return reg;
}

void x86_def_in(struct x86_compiler *c, ir_ref ref, int reg)
{
    release_reg(c, reg);
    own(c, reg, ref);
}

static void release_operand(struct x86_compiler *c, ir_ref ref)
{
    const struct val *val;
    int64_t value;

    if (ref == IR_NONE || c->in_cold) {
        return;
    }
    ref = x86_resolve(c, ref);
    val = &c->val[ref];
    if (val->fused) {
        release_operand(c, x86_ins(c, ref)->a);
        release_operand(c, x86_ins(c, ref)->b);
        return;
    }
    if (val->last_use > c->pos || x86_const(c, ref, &value)) {
        return;
    }
    if (val->reg == REG_NONE && val->mem != VAL_SPILL) {
        return;
    }
    if (val->reg != REG_NONE && c->owner[val->reg] == ref) {
        release_reg(c, val->reg);
    }
    release_slot(c, x86_val(c, ref));
}

void x86_op_done(struct x86_compiler *c, const struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];

    c->locked = 0;
    if (info->pool) {
        unsigned count = ins->b;
        for (unsigned i = 0; i < count; i++) {
            release_operand(c, c->unit->pool[ins->a + i]);
        }
        return;
    }
    release_operand(c, ins->a);
    release_operand(c, ins->b);
    release_operand(c, ins->c);
}

/* The current value of a global is replaced: its home goes stale, so `old` must not count on it. */
static void abandon(struct x86_compiler *c, unsigned global)
{
    ir_ref old = c->map[global];
    struct val *val = &c->val[old];
    bool dies = x86_dies(c, old);

    if (val->mem == VAL_HOME && val->global == global) {
        if (!dies && val->reg == REG_NONE) {
            x86_use(c, old);
        }
        x86_val(c, old)->mem = VAL_NOWHERE;
    }
    if (dies) {
        if (c->val[old].reg != REG_NONE && c->owner[c->val[old].reg] == old) {
            release_reg(c, c->val[old].reg);
        }
        release_slot(c, x86_val(c, old));
    }
}

void x86_gset(struct x86_compiler *c, unsigned global, ir_ref ref)
{
    int64_t value;

    if (c->map[global] == ref) {
        return;
    }
    abandon(c, global);
    c->map[global] = ref;
    activate(c, global);
    if (!x86_const(c, ref, &value)) {
        struct val *val = x86_val(c, ref);

        if (val->mem == VAL_HOME) {
            return; /* it goes on living in the home of the other */
        }
        if (val->global != IR_NO_GLOBAL) {
            activate(c, val->global); /* moved() will not name it any more */
        }
        val->global = (uint8_t)global;
    }
}

void x86_gget(struct x86_compiler *c, unsigned global, ir_ref ref)
{
    ir_ref old = c->map[global];
    struct val *from = x86_val(c, old), *val = x86_val(c, ref);

    if (from->global == global && old >= c->unit->ins_count) {
        /* the entry value changes its name */
        val->reg = from->reg;
        val->mem = from->mem;
        val->slot = from->slot;
        val->global = (uint8_t)global;
        if (val->reg != REG_NONE) {
            c->owner[val->reg] = ref;
        }
        from->reg = REG_NONE;
        from->mem = VAL_NOWHERE;
        c->map[global] = ref;
        return;
    }
    /* a second gget of a global: a copy */
    x86_def_tied(c, ref, old);
}

void x86_save_live(struct x86_compiler *c, uint32_t regs)
{
    for (; regs; regs &= regs - 1) {
        ir_ref ref = c->owner[__builtin_ctz(regs)];
        int64_t value;

        if (ref != IR_NONE && c->val[ref].last_use > c->pos && !x86_const(c, ref, &value)) {
            give_memory(c, ref);
        }
    }
}

void x86_drop_regs(struct x86_compiler *c, uint32_t regs)
{
    for (; regs; regs &= regs - 1) {
        int reg = __builtin_ctz(regs);

        if (c->owner[reg] != IR_NONE) {
            moved(c, c->owner[reg]);
        }
        release_reg(c, reg);
    }
}

/* The next global from g on, or the next that may be elsewhere than at the entry. */
static unsigned next_global(const struct x86_compiler *c, unsigned g, bool moved_only)
{
    if (!moved_only) {
        return g;
    }
    for (; g < IR_MAX_GLOBALS; g = (g | 63) + 1) {
        uint64_t left = c->active[g / 64] >> (g % 64);
        if (left) {
            return g + (unsigned)__builtin_ctzll(left);
        }
    }
    return IR_MAX_GLOBALS;
}

void x86_sync(struct x86_compiler *c, bool unpinned_only)
{
    for (unsigned g = next_global(c, 0, unpinned_only); g < c->target->global_count;
         g = next_global(c, g + 1, unpinned_only)) {
        ir_ref ref = c->map[g];
        const struct val *val = &c->val[ref];
        int64_t value;
        int32_t small;

        if ((val->mem == VAL_HOME && val->global == g) || (unpinned_only && c->pin[g] >= 0)) {
            continue;
        }
        if (x86_const(c, ref, &value)) {
            if (x86_const32(c, ref, &small)) {
                x86_store_imm(c->a, true, small, x86_home(c, g));
            } else if (val->reg != REG_NONE) {
                store(c, val->reg, x86_home(c, g));
            } else {
                x86_store_imm(c->a, false, (int32_t)value, x86_home(c, g));
                struct x86_mem high = x86_home(c, g);
                high.disp += 4;
                x86_store_imm(c->a, false, (int32_t)((uint64_t)value >> 32), high);
            }
            continue;
        }
        if (val->reg != REG_NONE) {
            store(c, val->reg, x86_home(c, g));
        } else {
            load(c, XMM_TEMP, memory_of(c, val));
            store(c, XMM_TEMP, x86_home(c, g));
        }
        if (!unpinned_only && val->mem == VAL_NOWHERE && is_current(c, val, ref) &&
            val->global == g) {
            x86_val(c, ref)->mem = VAL_HOME;
            activate(c, g);
        }
    }
}

void x86_forget(struct x86_compiler *c)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        ir_ref old = c->map[g], ref = x86_entry(c, g);
        struct val *val;

        if (c->val[old].mem == VAL_HOME && c->val[old].global == g) {
            x86_val(c, old)->mem = VAL_NOWHERE;
        }
        if (c->val[old].reg != REG_NONE && old >= c->unit->ins_count) {
            release_reg(c, c->val[old].reg);
        }
        val = x86_val(c, ref);
        val->global = (uint8_t)g;
        val->mem = VAL_HOME;
        val->reg = REG_NONE;
        c->map[g] = ref;
        activate(c, g);
    }
}

void x86_to_slot(struct x86_compiler *c, ir_ref ref)
{
    struct val *val = x86_val(c, ref);

    if (val->mem == VAL_SPILL) {
        return;
    }
    if (val->reg == REG_NONE) {
        load(c, XMM_TEMP, memory_of(c, val));
    }
    val->slot = (uint8_t)x86_new_slot(c);
    val->mem = VAL_SPILL;
    store(c, val->reg == REG_NONE ? XMM_TEMP : val->reg, memory_of(c, val));
    moved(c, ref);
}

void x86_consume(struct x86_compiler *c, ir_ref ref)
{
    const struct val *val = &c->val[ref];

    if (val->reg != REG_NONE && x86_dies(c, ref)) {
        c->locked &= ~REG_BIT(val->reg);
        release_reg(c, val->reg);
    }
}

void x86_store_reg(struct x86_compiler *c, int reg, struct x86_mem mem)
{
    store(c, reg, mem);
}

void x86_load_reg(struct x86_compiler *c, int reg, struct x86_mem mem)
{
    load(c, reg, mem);
}

void x86_copy_memory(struct x86_compiler *c, struct x86_mem to, struct x86_mem from)
{
    load(c, XMM_TEMP, from);
    store(c, XMM_TEMP, to);
}

/* Whether some pending move but `skip` still reads register r. */
static bool read_by_other(unsigned count, const int *to, const int *from, unsigned skip, int r)
{
    for (unsigned i = 0; i < count; i++) {
        if (i != skip && from[i] == r && to[i] != r) {
            return true;
        }
    }
    return false;
}

void x86_parallel(struct x86_compiler *c, unsigned count, const int *to, const ir_ref *ref)
{
    int from[REG_COUNT];
    unsigned pending = 0;
    bool progress = true;

    for (unsigned i = 0; i < count; i++) {
        int64_t value;
        from[i] = x86_const(c, ref[i], &value) ? REG_NONE : c->val[ref[i]].reg;
        if (from[i] != REG_NONE && from[i] != to[i]) {
            pending++;
        }
    }
    while (pending) {
        if (!progress) {
            /* only cycles are left: swap one link of one of them */
            for (unsigned i = 0; i < count; i++) {
                if (from[i] == REG_NONE || from[i] == to[i]) {
                    continue;
                }
                int a = to[i], b = from[i];
                if (a < REG_FP && b < REG_FP) {
                    x86_rr(c->a, 0x87, true, a, b);
                } else {
                    move(c, XMM_TEMP, a);
                    move(c, a, b);
                    move(c, b, XMM_TEMP);
                }
                for (unsigned k = 0; k < count; k++) {
                    if (from[k] == a) {
                        from[k] = b;
                    } else if (from[k] == b) {
                        from[k] = a;
                    }
                }
                break;
            }
            pending = 0;
            for (unsigned i = 0; i < count; i++) {
                if (from[i] != REG_NONE && from[i] != to[i]) {
                    pending++;
                }
            }
        }
        progress = false;
        for (unsigned i = 0; i < count; i++) {
            if (from[i] == REG_NONE || from[i] == to[i] ||
                read_by_other(count, to, from, i, to[i])) {
                continue;
            }
            move(c, to[i], from[i]);
            from[i] = to[i];
            pending--;
            progress = true;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        int64_t value;
        if (x86_const(c, ref[i], &value)) {
            x86_load_value(c, ref[i], to[i]);
        } else if (c->val[ref[i]].reg == REG_NONE) {
            load(c, to[i], memory_of(c, &c->val[ref[i]]));
        }
    }
}
