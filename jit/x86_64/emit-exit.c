/*
 * Ends of a unit: the globals go where the convention says, then control leaves by a patched jump,
 * a host call or ret, the inline lookup, or a thunk.
 *
 * Shadow stack: each entry is sixteen bytes, the guest's return pc above the host's return address.
 * Below a unit's rsp nothing is live. At unit entry rsp is a multiple of 16.
 */
#include "jit/x86_64/compile.h"

/* Brings all globals to their pins and homes; `extra` (or IR_NONE) is moved to extra_reg (scratch)
 * along with them. The allocation is not changed: this is the last thing a block does. Emits no
 * instruction that changes the flags. */
static void leave(struct x86_compiler *c, ir_ref extra, int extra_reg)
{
    ir_ref ref[REG_COUNT];
    int to[REG_COUNT];
    unsigned count = 0;

    /* a pinned global that has not moved is in no other's way */
    for (unsigned word = 0; word < IR_MAX_GLOBALS / 64; word++) {
        for (uint64_t set = c->active[word]; set; set &= set - 1) {
            unsigned g = word * 64 + (unsigned)__builtin_ctzll(set);

            if (c->pin[g] >= 0) {
                to[count] = c->pin[g];
                ref[count++] = c->map[g];
            }
        }
    }
    x86_sync(c, true);
    if (extra != IR_NONE) {
        to[count] = extra_reg;
        ref[count++] = extra;
    }
    x86_parallel(c, count, to, ref);
}

static unsigned add_link(struct x86_compiler *c, uint64_t pc)
{
    struct jit_code *out = c->out;

    if (out->link_count == out->link_cap) {
        out->link_cap = out->link_cap ? out->link_cap * 2 : 16;
        out->links = realloc(out->links, out->link_cap * sizeof(*out->links));
        if (!out->links) {
            abort();
        }
    }
    out->links[out->link_count] = (struct jit_link){.pc = pc};
    return out->link_count++;
}

/* The displacement at `at` of the current buffer is link `pc`; it leads to a stub of its own until
 * it is patched. */
static void link_to(struct x86_compiler *c, uint32_t at, uint64_t pc)
{
    bool at_cold = c->a == &c->cold;
    unsigned link = add_link(c, pc);
    uint32_t stub;

    x86_reserve(&c->cold);
    stub = c->cold.size;
    x86_fixup(c, at, at_cold, stub, true);
    c->out->links[link].offset = at | (at_cold ? 0x80000000u : 0);
    c->out->links[link].stub = stub | 0x80000000u;
    /* mov eax, link id; jmp thunk */
    struct x86_asm *a = c->a;
    c->a = &c->cold;
    x86_u8(c->a, 0xb8);
    x86_u32(c->a, 0);
    x86_reloc(c, c->cold.size - 4, JIT_RELOC_LINK_ID, link);
    x86_jump_thunk(c, JIT_THUNK_LINK);
    c->a = a;
}

/* Is a jump there no matter of this unit's page alone? An instruction that starts in the last two
 * bytes may reach into the next page. */
static bool far(const struct x86_compiler *c, uint64_t pc)
{
    uint64_t in_page = (1 << JIT_PAGE_BITS) - 1;

    return c->layout->paged &&
           ((pc ^ c->unit->pc) >> JIT_PAGE_BITS || (pc & in_page) > in_page - 3);
}

/* Jumps to a guest pc, or calls it, by the jump cache: its entry is known, its content is not. */
static void far_jump(struct x86_compiler *c, uint64_t pc, bool call)
{
    uint32_t mask = ((1u << c->layout->jump_cache_bits) - 1) << 4, miss;
    int32_t entry = (int32_t)((uint32_t)(pc << 3) & mask);

    x86_mov_imm(c->a, RAX, (int64_t)pc);
    if (!c->options->lookup) {
        x86_reloc(c, call ? x86_call(c->a) : x86_jmp(c->a), JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
        return;
    }
    x86_load(c->a, true, RCX, x86_state(c, c->layout->jump_cache));
    x86_alu_rm(c->a, ALU_CMP, true, RAX, x86_mem(RCX, entry));
    miss = x86_jcc(c->a, X86_NE);
    x86_rm(c->a, 0xff, false, call ? 2 : 4, x86_mem(RCX, entry + 8));
    if (!call) {
        x86_reloc(c, miss, JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
        return;
    }
    x86_cold_begin(c, miss);
    x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
    x86_cold_end(c, true);
}

static void jump_link(struct x86_compiler *c, uint64_t pc)
{
    uint32_t at;

    if (!c->options->link) {
        x86_mov_imm(c->a, RAX, (int64_t)pc);
        x86_jump_thunk(c, JIT_THUNK_LOOKUP);
        return;
    }
    if (far(c, pc)) {
        far_jump(c, pc, false);
        return;
    }
    x86_align_disp(c->a, 1, c->a->size);
    at = x86_jmp(c->a);
    link_to(c, at, pc);
}

static void jcc_link(struct x86_compiler *c, enum x86_cond cc, uint64_t pc)
{
    if (!c->options->link || far(c, pc)) {
        uint32_t at = x86_jcc(c->a, (enum x86_cond)(cc ^ 1));
        jump_link(c, pc);
        x86_patch(c->a, at, c->a->size);
        return;
    }
    /* the comparison stays next to the jump: hosts take the two as one */
    bool adjacent = c->compare_in == c->a && c->compare_end == c->a->size;
    x86_align_disp(c->a, 2, adjacent ? c->compare_at : c->a->size);
    link_to(c, x86_jcc(c->a, cc), pc);
}

/* Compares rsp with the vCPU's limit: a kick or a full shadow stack. Returns the displacement of
 * the jump taken. */
static uint32_t poll(struct x86_compiler *c)
{
    x86_alu_rm(c->a, ALU_CMP, true, RSP, x86_state(c, c->layout->stack_limit));
    return x86_jcc(c->a, X86_B);
}

/* Cold code of a poll whose globals are in place already. */
static void poll_exit(struct x86_compiler *c, uint32_t at, uint64_t pc)
{
    bool at_cold = c->a == &c->cold;
    uint32_t skip = 0;
    struct x86_asm *a = c->a;

    if (at_cold) {
        skip = x86_jmp(c->a); /* out of line within what is out of line already */
    }
    x86_fixup(c, at, at_cold, c->cold.size, true);
    c->a = &c->cold;
    x86_mov_imm(c->a, RAX, (int64_t)pc);
    x86_jump_thunk(c, JIT_THUNK_POLL);
    c->a = a;
    if (at_cold) {
        x86_patch(c->a, skip, c->a->size);
    }
}

/* A jump forward needs no exit check: every cycle has a jump back. */
static bool back_edge(const struct x86_compiler *c, uint64_t pc)
{
    return pc <= c->unit->pc;
}

/* A cold piece that would be a jump and nothing else: the conditional jump that leads to it, the
 * last instruction of the main line, becomes that jump. False if there is more to do. */
static bool link_branch(struct x86_compiler *c, uint64_t pc)
{
    uint32_t at = c->cold_from;
    enum x86_cond cc;

    if (!c->in_cold || c->nested_over || c->cold.size != c->cold_start || !c->options->link ||
        far(c, pc) || c->main.size != at + 4 || c->main.base[at - 2] != 0x0f) {
        return false;
    }
    cc = (enum x86_cond)(c->main.base[at - 1] & 15);
    c->fixup_count--; /* that of x86_cold_begin() */
    c->main.size = at - 2;
    c->a = &c->main;
    jcc_link(c, cc, pc);
    c->a = &c->cold;
    return true;
}

static void exit_jump(struct x86_compiler *c, uint64_t pc)
{
    leave(c, IR_NONE, 0);
    if (back_edge(c, pc)) {
        poll_exit(c, poll(c), pc);
    } else if (link_branch(c, pc)) {
        return;
    }
    jump_link(c, pc);
}

static void exit_br(struct x86_compiler *c, const struct ir_ins *ins)
{
    uint64_t yes = (uint64_t)ins->imm, no = (uint64_t)x86_ins(c, ins->c)->imm;
    enum ir_type type = x86_ins(c, ins->a)->type;
    enum x86_cond cc;

    if (back_edge(c, yes) || back_edge(c, no)) {
        uint32_t at = poll(c);

        /* nothing has been moved yet: the branch itself is executed again after the poll */
        x86_cold_begin(c, at);
        leave(c, IR_NONE, 0);
        x86_mov_imm(c->a, RAX, (int64_t)c->insn_pc);
        x86_jump_thunk(c, JIT_THUNK_POLL);
        x86_cold_end(c, false);
    }
    cc = x86_compare(c, (enum ir_cc)ins->cc, type, ins->a, ins->b);
    leave(c, IR_NONE, 0);
    jcc_link(c, cc, yes);
    jump_link(c, no);
}

/* The value to look up, moved to rax with the globals. True if it is still to be made even. */
static bool leave_to(struct x86_compiler *c, ir_ref pc)
{
    ir_ref ref = x86_resolve(c, pc);
    bool even = c->val[ref].even;

    leave(c, even ? x86_resolve(c, x86_ins(c, ref)->a) : ref, RAX);
    return even;
}

static void make_even(struct x86_compiler *c)
{
    x86_alu_imm(c->a, ALU_AND, true, RAX, -2);
}

/* Where the guest pc in rax was not found: to a thunk, which wants it even. */
static void miss_to(struct x86_compiler *c, uint32_t at, enum jit_thunk thunk, bool even)
{
    if (!even) {
        x86_reloc(c, at, JIT_RELOC_THUNK, thunk);
        return;
    }
    x86_cold_begin(c, at);
    make_even(c);
    x86_jump_thunk(c, thunk);
    x86_cold_end(c, false);
}

/* Inline lookup of the guest pc in rax: jumps (or calls, or, for a call, falls out of) the jump
 * cache's entry. No entry has an odd pc, so one that is yet to be made even is so where it is not
 * found. */
static void lookup(struct x86_compiler *c, bool call, bool even)
{
    uint32_t miss;

    if (!c->options->lookup) {
        if (even) {
            make_even(c);
        }
        if (call) {
            x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
        } else {
            x86_jump_thunk(c, JIT_THUNK_LOOKUP);
        }
        return;
    }
    /* entries of 16 bytes by pc >> 1: byte offset = (pc & mask) * 8 */
    int32_t mask = (int32_t)(((1u << c->layout->jump_cache_bits) - 1) << 1);
    struct x86_mem entry = {.base = RDX, .index = RCX, .scale = 3};
    x86_mov_rr(c->a, false, RCX, RAX);
    x86_load(c->a, true, RDX, x86_state(c, c->layout->jump_cache));
    x86_alu_imm(c->a, ALU_AND, false, RCX, mask);
    x86_alu_rm(c->a, ALU_CMP, true, RAX, entry);
    miss = x86_jcc(c->a, X86_NE);
    entry.disp = 8;
    x86_rm(c->a, 0xff, false, call ? 2 : 4, entry);
    if (!call) {
        miss_to(c, miss, JIT_THUNK_LOOKUP, even);
        return;
    }
    x86_cold_begin(c, miss);
    if (even) {
        make_even(c);
    }
    x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
    x86_cold_end(c, true);
}

static void push_pc(struct x86_compiler *c, ir_ref pc)
{
    int64_t value = x86_ins(c, pc)->imm;

    x86_reserve(c->a);
    if (value == (int32_t)value) {
        x86_u8(c->a, 0x68);
        x86_u32(c->a, (uint32_t)value);
    } else {
        x86_mov_imm(c->a, RCX, value);
        x86_push(c->a, RCX);
    }
}

static void exit_call(struct x86_compiler *c, const struct ir_ins *ins)
{
    uint64_t target = (uint64_t)ins->imm, back = (uint64_t)x86_ins(c, ins->c)->imm;
    bool direct = ins->a == IR_NONE;
    bool even = false;
    uint32_t at;

    if (direct) {
        leave(c, IR_NONE, 0);
    } else {
        even = leave_to(c, ins->a);
    }
    if (!c->options->ras) {
        if (!direct) {
            lookup(c, false, even);
            return;
        }
        poll_exit(c, poll(c), target);
        jump_link(c, target);
        return;
    }
    if (direct) {
        poll_exit(c, poll(c), target);
        push_pc(c, ins->c);
        if (c->options->link && far(c, target)) {
            far_jump(c, target, true);
        } else if (c->options->link) {
            x86_align_disp(c->a, 1, c->a->size);
            at = x86_call(c->a);
            link_to(c, at, target);
        } else {
            x86_mov_imm(c->a, RAX, (int64_t)target);
            x86_reloc(c, x86_call(c->a), JIT_RELOC_THUNK, JIT_THUNK_LOOKUP);
        }
    } else {
        miss_to(c, poll(c), JIT_THUNK_POLL, even);
        push_pc(c, ins->c);
        lookup(c, true, even);
    }
    /* the landing: drop the guest's return pc and go on behind the call */
    x86_lea(c->a, true, RSP, x86_mem(RSP, 8));
    jump_link(c, back);
}

static void exit_ret(struct x86_compiler *c, const struct ir_ins *ins)
{
    bool even = leave_to(c, ins->a);

    if (!c->options->ras) {
        lookup(c, false, even);
        return;
    }
    x86_alu_rm(c->a, ALU_CMP, true, RAX, x86_mem(RSP, 8));
    miss_to(c, x86_jcc(c->a, X86_NE), JIT_THUNK_MISS, even);
    x86_reserve(c->a);
    x86_u8(c->a, 0xc3);
}

static void exit_loop(struct x86_compiler *c, const struct ir_ins *ins)
{
    struct x86_mem pc = x86_state(c, c->target->pc_offset);

    leave(c, ins->a == IR_NONE ? IR_NONE : x86_resolve(c, ins->a), RAX);
    if (ins->a == IR_NONE) {
        x86_mov_imm(c->a, RAX, ins->imm);
    }
    x86_store(c->a, true, RAX, pc);
    x86_store_imm(c->a, false, ins->aux, x86_state(c, c->layout->exit_reason));
    x86_jump_thunk(c, ins->aux && ins->aux == c->layout->call_reason ? JIT_THUNK_CALL
                                                                     : JIT_THUNK_EXIT);
}

bool x86_emit_exit(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    switch (ins->op) {
    case IR_exit_jump:
        exit_jump(c, (uint64_t)ins->imm);
        break;
    case IR_exit_br:
        exit_br(c, ins);
        break;
    case IR_exit_lookup:
        lookup(c, false, leave_to(c, ins->a));
        break;
    case IR_exit_call:
        exit_call(c, ins);
        break;
    case IR_exit_ret:
        exit_ret(c, ins);
        break;
    case IR_exit_loop:
        exit_loop(c, ins);
        break;
    default:
        return false;
    }
    return true;
}
