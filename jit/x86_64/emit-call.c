/*
 * Calls of C helpers, in line and out of line.
 *
 * A helper without IR_H_FP leaves vector registers alone, so only volatile integer registers must
 * be saved, and of those only the ones that hold something live. What a helper that reads the state
 * could see is brought home first.
 */
#include "jit/x86_64/compile.h"

static const int8_t arg_regs[6] = {RDI, RSI, RDX, RCX, R8, R9};

/* Moves arguments into place; the vCPU goes first where the helper takes it. FP arguments travel as
 * bits. */
static void place_args(struct x86_compiler *c, const struct ir_helper *helper, unsigned nargs,
                       const ir_ref *args)
{
    bool cpu = helper->effects & IR_H_CPU;
    unsigned count = 0, fp = 0;
    ir_ref refs[6] = {0}, fp_refs[6];
    int to[6] = {0}, fp_to[6];

    for (unsigned i = 0; i < nargs; i++) {
        ir_ref ref = x86_resolve(c, args[i]);

        if (c->val[ref].reg >= REG_FP) {
            fp_refs[fp] = ref;
            fp_to[fp++] = arg_regs[i + cpu];
        } else {
            refs[count] = ref;
            to[count++] = arg_regs[i + cpu];
        }
    }
    x86_parallel(c, count, to, refs);
    for (unsigned i = 0; i < fp; i++) {
        x86_load_value(c, fp_refs[i], fp_to[i]);
    }
    if (cpu) {
        x86_lea(c->a, true, RDI, x86_state(c, 0));
    }
}

static void save_pc(struct x86_compiler *c)
{
    struct x86_mem pc = x86_state(c, c->target->pc_offset);

    if (c->insn_pc == (uint64_t)(int32_t)c->insn_pc) {
        x86_store_imm(c->a, true, (int32_t)c->insn_pc, pc);
    } else {
        x86_mov_imm(c->a, RAX, (int64_t)c->insn_pc);
        x86_store(c->a, true, RAX, pc);
    }
}

/* Before a helper changes the state: what later ops still want of old values goes to slots of their
 * own. */
static void rescue(struct x86_compiler *c)
{
    for (unsigned g = 0; g < c->target->global_count; g++) {
        ir_ref ref = c->map[g];
        int64_t value;

        if (ref < c->unit->ins_count && c->val[ref].last_use > c->pos &&
            !x86_const(c, ref, &value)) {
            x86_to_slot(c, ref);
        }
    }
}

static void emit_call(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    const struct ir_helper *helper = &c->target->helpers[ins->imm];
    uint32_t lost = GPR_VOLATILE | (helper->effects & IR_H_FP ? FPR_ALL : 0);
    bool state = helper->effects & (IR_H_READS_STATE | IR_H_MEMORY | IR_H_WRITES_STATE);

    x86_tlb_call(c, helper);
    if (helper->effects & IR_H_WRITES_STATE) {
        rescue(c);
    }
    if (state) {
        x86_sync(c, false);
    }
    x86_save_live(c, lost);
    place_args(c, helper, ins->b, &c->unit->pool[ins->a]);
    if (state) {
        save_pc(c);
    }
    if (helper->effects & IR_H_FP) { /* the guest's rounding mode and flags survive it */
        x86_rm(c->a, X86_OP(1, 0, 0xae), false, 3, x86_slot(c, c->layout->spill_slots));
    }
    if (helper->effects & IR_H_MEMORY) {
        x86_store_imm(c->a, false, JIT_IN_HELPER, x86_state(c, c->layout->exit_reason));
    }
    x86_reloc(c, x86_call(c->a), JIT_RELOC_HELPER, (unsigned)ins->imm);
    if (helper->effects & IR_H_MEMORY) {
        x86_store_imm(c->a, false, 0, x86_state(c, c->layout->exit_reason));
    }
    if (helper->effects & IR_H_FP) {
        x86_rm(c->a, X86_OP(1, 0, 0xae), false, 2, x86_slot(c, c->layout->spill_slots));
    }
    x86_drop_regs(c, lost);
    if (helper->effects & IR_H_WRITES_STATE) {
        x86_forget(c);
    }
    if (ins->type == IR_VOID || c->val[ref].last_use == 0) {
        return;
    }
    if (ir_type_is_fp((enum ir_type)ins->type)) {
        c->locked |= REG_BIT(RAX);
        x86_move_reg(c, x86_def(c, ref), RAX);
    } else {
        x86_def_in(c, ref, RAX);
    }
}

/* Saves the registers of `set` below the shadow stack, or loads them back. */
static void save_below(struct x86_compiler *c, uint32_t set, bool load)
{
    int32_t at = 0;

    for (; set; set &= set - 1, at += 8) {
        if (load) {
            x86_load_reg(c, __builtin_ctz(set), x86_mem(RSP, at));
        } else {
            x86_store_reg(c, __builtin_ctz(set), x86_mem(RSP, at));
        }
    }
}

/* x cc y ? helper(args) : otherwise. The call is out of line and saves what it must around itself,
 * so the main line's allocation is not disturbed. */
static void emit_callif(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    const struct ir_helper *helper = &c->target->helpers[ins->imm];
    const ir_ref *pool = &c->unit->pool[ins->a];
    enum ir_type type = x86_ins(c, pool[0])->type;
    bool result = ins->type != IR_VOID && c->val[ref].last_use != 0;
    ir_ref otherwise = result ? x86_resolve(c, pool[2]) : IR_NONE;
    uint32_t cold_at, lost, saved = 0;
    int32_t frame;
    enum x86_cond cc;
    int d = REG_NONE;

    x86_tlb_call(c, helper);
    /* constants are made where they are used; all else must stay readable until the cold code has
     * run */
    for (unsigned i = 0; i < ins->b - 3u; i++) {
        ir_ref arg = x86_resolve(c, pool[3 + i]);
        int64_t value;
        if (!x86_const(c, arg, &value)) {
            x86_use(c, arg);
        }
    }
    if (result && !x86_const(c, otherwise, &(int64_t){0})) {
        x86_use(c, otherwise);
    }
    if (c->val[pool[0]].nan_test) {
        cc = x86_nan_test(c, x86_ins(c, pool[0]));
    } else {
        cc = x86_compare(c, (enum ir_cc)ins->cc, type, pool[0], pool[1]);
    }
    if (result) {
        d = x86_temp(c, ir_type_is_fp((enum ir_type)ins->type)); /* moves only: the flags survive */
    }
    cold_at = x86_jcc(c->a, cc);
    if (result) {
        x86_load_value(c, otherwise, d);
    }

    x86_cold_begin(c, cold_at);
    lost = (GPR_VOLATILE | (helper->effects & IR_H_FP ? FPR_ALL : 0)) & ~(result ? REG_BIT(d) : 0);
    for (uint32_t r = lost; r; r &= r - 1) {
        ir_ref owner = c->owner[__builtin_ctz(r)];
        if (owner != IR_NONE && c->val[owner].last_use > c->pos) {
            saved |= r & -r;
        }
    }
    frame = (__builtin_popcount(saved) * 8 + 8 + 15) & ~15; /* and a word for MXCSR */
    x86_alu_imm(c->a, ALU_SUB, true, RSP, frame);
    save_below(c, saved, false);
    if (helper->effects & IR_H_FP) {
        x86_rm(c->a, X86_OP(1, 0, 0xae), false, 3, x86_mem(RSP, frame - 8));
    }
    place_args(c, helper, ins->b - 3u, pool + 3);
    x86_reloc(c, x86_call(c->a), JIT_RELOC_HELPER, (unsigned)ins->imm);
    if (helper->effects & IR_H_FP) {
        x86_rm(c->a, X86_OP(1, 0, 0xae), false, 2, x86_mem(RSP, frame - 8));
    }
    if (result && d != RAX) {
        x86_move_reg(c, d, RAX);
    }
    save_below(c, saved, true);
    x86_alu_imm(c->a, ALU_ADD, true, RSP, frame);
    x86_cold_end(c, true);
    if (result) {
        x86_def_in(c, ref, d);
    }
}

bool x86_emit_call(struct x86_compiler *c, ir_ref ref, const struct ir_ins *ins)
{
    c->page.reg = REG_NONE;
    if (ins->op == IR_call) {
        emit_call(c, ref, ins);
    } else if (ins->op == IR_callif) {
        emit_callif(c, ref, ins);
    } else {
        return false;
    }
    return true;
}
