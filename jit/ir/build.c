/*
 * The builder: values. (Blocks and exits: jit/ir/build-flow.c.)
 *
 * An op is put together in a struct ir_ins of the caller and goes through ir_emit(): fold, look for
 * an equal one, append. Appending writes 32 bytes and links them to the block's last op; the arrays
 * are the unit's, grow by doubling, and are kept from unit to unit.
 *
 * What is known of the guest's registers is b->global[]: the value a read gives now, or IR_NONE
 * where the next read makes a gget. b->dirty has those set in this unit. That a floating-point
 * value is fit for the guest's eyes (IR_VF_CANON) is worked out here for each op when it is
 * appended:
 *   - what came from the guest as bits is (loads, globals, constants, bit casts);
 *   - what moves or changes the sign of such a value is, and so is a block's parameter;
 *   - what the host's arithmetic made is not, as its NaNs are not those of the guest.
 * A value that is not must pass ir_fvisible() before its bits are looked at. For f32 in an f64
 * global that means before it is boxed: once boxed, the payload is all there is to see of a NaN,
 * and a canonical f64 NaN in its place would be wrong. So ir_set() unwraps a box, ir_fvisible()
 * looks into it, and ir_op1() makes the argument of funbox visible.
 *
 * After the end of a block (b->done) all calls remain harmless: ops are numbered but belong to no
 * block, are not merged with, and change no global.
 */
#include <string.h>
#include "jit/ir/build.h"
#include "jit/ir/emit.h"
#include "jit/opt/cse.h"
#include "jit/opt/fold.h"
#include "jit/opt/options.h"

void ir_build_begin(struct ir_builder *b, struct ir_unit *unit, const struct jit_options *options,
                    const struct ir_target *target, uint64_t pc)
{
    ir_unit_reset(unit, target, pc);
    if (!unit->ins) {
        unit->ins = ir_unit_grow(unit->ins, &unit->ins_cap, 2, sizeof(*unit->ins));
    }
    unit->ins[IR_NONE] = (struct ir_ins){0};
    b->unit = unit;
    b->options = options;
    b->done = false;
    b->insn_pc = pc;
    ir_emit_forget(b);
    if (options->cse) {
        jit_opt_cse_begin(b);
    }
    b->block = ir_block_new(b, false);
}

bool ir_build_hostfp(const struct ir_builder *b)
{
    return b->options->hostfp;
}

/* ---- the way into the unit ------------------------------------------------------------------- */

uint8_t ir_value_flags(const struct ir_unit *unit, const struct ir_ins *ins)
{
    const struct ir_ins *v = unit->ins;

    switch (ins->op) {
    case IR_const:
    case IR_param: /* ir_jump() sees to it */
    case IR_gget:
    case IR_ld:
    case IR_bitcast:
    case IR_i2f:
    case IR_fcanon:
        return IR_VF_CANON;
    case IR_fneg:
    case IR_fabs:
    case IR_fcopysign:
    case IR_fxorsign:
    case IR_fbox:
        return v[ins->a].flags & IR_VF_CANON;
    case IR_funbox: /* the lower half of what the guest sees; or what is in the box */
        return v[v[ins->a].op == IR_fbox ? v[ins->a].a : ins->a].flags & IR_VF_CANON;
    case IR_select:
        return v[ins->b].flags & v[ins->c].flags & IR_VF_CANON;
    default:
        return 0;
    }
}

ir_ref ir_emit_grow(struct ir_unit *unit, ir_ref ref)
{
    unit->ins = ir_unit_grow(unit->ins, &unit->ins_cap, unit->ins_count + 1, sizeof(*unit->ins));
    return ref;
}

ir_ref ir_emit(struct ir_builder *b, struct ir_ins ins)
{
    int slot = -1;
    ir_ref ref;

    if (b->options->fold) {
        ref = jit_opt_fold(b, &ins);
        if (ref) {
            return ref;
        }
    }
    if (b->options->cse && !b->done) {
        ref = jit_opt_cse_find(b, &ins, &slot);
        if (ref) {
            return ref;
        }
    }
    ref = ir_emit_raw(b, &ins);
    jit_opt_cse_add(b, slot, ref);
    return ref;
}

uint32_t ir_emit_pool(struct ir_builder *b, unsigned n, const ir_ref *refs)
{
    struct ir_unit *unit = b->unit;
    uint32_t first = unit->pool_count;

    if (n > unit->pool_cap - first) {
        unit->pool = ir_unit_grow(unit->pool, &unit->pool_cap, first + n, sizeof(*unit->pool));
    }
    for (unsigned i = 0; i < n; i++) {
        unit->pool[first + i] = refs[i];
    }
    unit->pool_count = first + n;
    return first;
}

/* ---- plain ops ------------------------------------------------------------------------------- */

void ir_insn(struct ir_builder *b, uint64_t pc, unsigned length)
{
    struct ir_ins ins = {.op = IR_insn, .aux = (uint8_t)length, .imm = (int64_t)pc};

    b->insn_pc = pc;
    ir_emit_raw(b, &ins);
}

static ir_ref emit_const(struct ir_builder *b, enum ir_type type, int64_t bits)
{
    struct ir_ins ins = {.op = IR_const, .type = type, .imm = bits};
    int slot = -1;

    if (b->options->cse && !b->done) {
        ir_ref ref = jit_opt_cse_find(b, &ins, &slot);
        if (ref) {
            return ref;
        }
    }
    ir_ref ref = ir_emit_raw(b, &ins);
    jit_opt_cse_add(b, slot, ref);
    return ref;
}

ir_ref ir_i64(struct ir_builder *b, int64_t value)
{
    return emit_const(b, IR_I64, value);
}

ir_ref ir_i32(struct ir_builder *b, int32_t value)
{
    return emit_const(b, IR_I32, value);
}

ir_ref ir_fconst(struct ir_builder *b, enum ir_type type, uint64_t bits)
{
    return emit_const(b, type, (int64_t)(type == IR_F32 ? (uint32_t)bits : bits));
}

bool ir_is_const(const struct ir_builder *b, ir_ref ref, int64_t *value)
{
    const struct ir_ins *ins = &b->unit->ins[ref];

    if (ref == IR_NONE || ins->op != IR_const) {
        return false;
    }
    *value = ins->imm;
    return true;
}

enum ir_type ir_type_of(const struct ir_builder *b, ir_ref ref)
{
    return (enum ir_type)b->unit->ins[ref].type;
}

ir_ref ir_op1(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a)
{
    if (op == IR_funbox && b->unit->ins[a].op != IR_fbox) {
        a = ir_fvisible(b, IR_F64, a);
    }
    return ir_emit(b, (struct ir_ins){.op = op, .type = type, .a = a});
}

ir_ref ir_op2(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a, ir_ref c)
{
    return ir_emit(b, (struct ir_ins){.op = op, .type = type, .a = a, .b = c});
}

ir_ref ir_op3(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a, ir_ref c,
              ir_ref d)
{
    return ir_emit(b, (struct ir_ins){.op = op, .type = type, .a = a, .b = c, .c = d});
}

ir_ref ir_bin(struct ir_builder *b, enum ir_opcode op, ir_ref a, ir_ref c)
{
    return ir_op2(b, op, ir_type_of(b, a), a, c);
}

ir_ref ir_bini(struct ir_builder *b, enum ir_opcode op, ir_ref a, int64_t c)
{
    enum ir_type type = ir_type_of(b, a);
    ir_ref k = type == IR_I32 ? ir_i32(b, (int32_t)c) : ir_i64(b, c);

    return ir_op2(b, op, type, a, k);
}

ir_ref ir_un(struct ir_builder *b, enum ir_opcode op, ir_ref a)
{
    return ir_op1(b, op, ir_type_of(b, a), a);
}

ir_ref ir_trunc(struct ir_builder *b, ir_ref a)
{
    return ir_op1(b, IR_trunc, IR_I32, a);
}

ir_ref ir_sext(struct ir_builder *b, ir_ref a)
{
    return ir_op1(b, IR_sext, IR_I64, a);
}

ir_ref ir_zext(struct ir_builder *b, ir_ref a)
{
    return ir_op1(b, IR_zext, IR_I64, a);
}

ir_ref ir_icmp(struct ir_builder *b, enum ir_cc cc, enum ir_type type, ir_ref a, ir_ref c)
{
    return ir_emit(b, (struct ir_ins){.op = IR_icmp, .type = type, .cc = cc, .a = a, .b = c});
}

ir_ref ir_select(struct ir_builder *b, ir_ref cond, ir_ref a, ir_ref c)
{
    return ir_op3(b, IR_select, ir_type_of(b, a), cond, a, c);
}

ir_ref ir_bitcast(struct ir_builder *b, enum ir_type type, ir_ref a)
{
    return ir_op1(b, IR_bitcast, type, a);
}

/* ---- memory and state ------------------------------------------------------------------------ */

ir_ref ir_load(struct ir_builder *b, enum ir_type type, unsigned mem, ir_ref base, int64_t offset)
{
    return ir_emit_raw(
        b, &(struct ir_ins){.op = IR_ld, .type = type, .cc = mem, .a = base, .imm = offset});
}

void ir_store(struct ir_builder *b, unsigned mem, ir_ref base, int64_t offset, ir_ref value)
{
    ir_emit_raw(b, &(struct ir_ins){.op = IR_st, .cc = mem, .a = base, .b = value, .imm = offset});
}

ir_ref ir_amo(struct ir_builder *b, enum ir_amo op, enum ir_type type, unsigned mem, ir_ref addr,
              ir_ref value)
{
    return ir_emit_raw(
        b,
        &(struct ir_ins){.op = IR_amo, .type = type, .cc = mem, .aux = op, .a = addr, .b = value});
}

ir_ref ir_cas(struct ir_builder *b, enum ir_type type, unsigned mem, ir_ref addr, ir_ref expected,
              ir_ref desired)
{
    return ir_emit_raw(
        b, &(struct ir_ins){
               .op = IR_cas, .type = type, .cc = mem, .a = addr, .b = expected, .c = desired});
}

void ir_fence(struct ir_builder *b, bool full)
{
    ir_emit_raw(b, &(struct ir_ins){.op = IR_fence, .aux = full});
}

ir_ref ir_cpu_load(struct ir_builder *b, enum ir_type type, unsigned mem, uint32_t offset)
{
    return ir_emit_raw(b,
                       &(struct ir_ins){.op = IR_cpu_ld, .type = type, .cc = mem, .imm = offset});
}

void ir_cpu_store(struct ir_builder *b, unsigned mem, uint32_t offset, ir_ref value)
{
    ir_emit_raw(b, &(struct ir_ins){.op = IR_cpu_st, .cc = mem, .a = value, .imm = offset});
    /* Helpers that take the vCPU may depend on the field. */
    jit_opt_cse_forget_fp(b);
}

/* ---- guest registers ------------------------------------------------------------------------- */

ir_ref ir_get(struct ir_builder *b, unsigned global)
{
    enum ir_type type = (enum ir_type)b->unit->target->globals[global].type;
    ir_ref ref = b->global[global];

    if (!ref) {
        ref = ir_emit_raw(b, &(struct ir_ins){.op = IR_gget, .type = type, .aux = (uint8_t)global});
        if (!b->done) {
            b->global[global] = ref;
        }
        return ref;
    }
    if (type == IR_F64 && ir_type_of(b, ref) == IR_F32) {
        return ir_op1(b, IR_fbox, IR_F64, ref);
    }
    return ref;
}

void ir_set(struct ir_builder *b, unsigned global, ir_ref value)
{
    const struct ir_ins *ins = &b->unit->ins[value];

    if (b->done) {
        return;
    }
    if (ins->op == IR_fbox && !(ins->flags & IR_VF_CANON)) {
        value = ins->a;
    }
    /* What the register holds already: also a clean one that gets back what it had at entry. */
    if (b->global[global] == value) {
        return;
    }
    ir_emit_raw(b, &(struct ir_ins){.op = IR_gset, .aux = (uint8_t)global, .a = value});
    b->global[global] = value;
    ir_emit_mark_dirty(b, global);
}

/* ---- floating point -------------------------------------------------------------------------- */

ir_ref ir_fma(struct ir_builder *b, unsigned aux, ir_ref x, ir_ref y, ir_ref z)
{
    return ir_emit(b, (struct ir_ins){.op = IR_fma,
                                      .type = (uint8_t)ir_type_of(b, x),
                                      .aux = (uint8_t)aux,
                                      .a = x,
                                      .b = y,
                                      .c = z});
}

ir_ref ir_fcmp(struct ir_builder *b, enum ir_fcc cc, ir_ref a, ir_ref c)
{
    return ir_emit(b, (struct ir_ins){.op = IR_fcmp, .type = IR_I64, .cc = cc, .a = a, .b = c});
}

ir_ref ir_f2i(struct ir_builder *b, enum ir_type type, ir_ref a, bool towards_zero)
{
    return ir_emit(b, (struct ir_ins){.op = IR_f2i, .type = type, .aux = towards_zero, .a = a});
}

ir_ref ir_fvisible(struct ir_builder *b, enum ir_type type, ir_ref a)
{
    const struct ir_ins *ins = &b->unit->ins[a];

    if (type == IR_F64 && ins->type == IR_F32) {
        return ir_op1(b, IR_fbox, IR_F64, ir_fvisible(b, IR_F32, a));
    }
    if (type == IR_F32 && ins->type == IR_F64) {
        return ir_fvisible(b, IR_F32, ir_op1(b, IR_funbox, IR_F32, a));
    }
    if (ins->flags & IR_VF_CANON) {
        return a;
    }
    if (ins->op == IR_fbox) {
        return ir_op1(b, IR_fbox, IR_F64, ir_fvisible(b, IR_F32, ins->a));
    }
    return ir_op1(b, IR_fcanon, type, a);
}

/* As ir_fvisible() to f64, but in a side block: uses what is there, adds nothing that a later op of
 * the main line could be merged with. */
static ir_ref side_op(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a)
{
    struct ir_ins ins = {.op = op, .type = type, .a = a};
    int slot;
    ir_ref ref = b->options->cse ? jit_opt_cse_find(b, &ins, &slot) : IR_NONE;

    return ref ? ref : ir_emit_raw(b, &ins);
}

static ir_ref side_visible(struct ir_builder *b, ir_ref a)
{
    struct ir_ins ins = b->unit->ins[a];
    bool canon = ins.flags & IR_VF_CANON;

    if (ins.type == IR_F32) {
        return side_op(b, IR_fbox, IR_F64, canon ? a : side_op(b, IR_fcanon, IR_F32, a));
    }
    return canon ? a : side_op(b, IR_fcanon, IR_F64, a);
}

void ir_emit_visible(struct ir_builder *b, bool side)
{
    const struct ir_global *globals = b->unit->target->globals;

    for (unsigned word = 0; word < IR_MAX_GLOBALS / 64; word++) {
        for (uint64_t left = b->dirty[word]; left; left &= left - 1) {
            unsigned g = word * 64 + (unsigned)__builtin_ctzll(left);
            ir_ref old = b->global[g];

            if (globals[g].type != IR_F64) {
                continue;
            }
            ir_ref ref = side ? side_visible(b, old) : ir_fvisible(b, IR_F64, old);
            if (ref == old) {
                continue;
            }
            ir_emit_raw(b, &(struct ir_ins){.op = IR_gset, .aux = (uint8_t)g, .a = ref});
            if (!side) {
                b->global[g] = ref;
            }
        }
    }
}

ir_ref ir_fflags_get(struct ir_builder *b)
{
    return ir_emit_raw(b, &(struct ir_ins){.op = IR_fflags_get, .type = IR_I32});
}

void ir_fflags_set(struct ir_builder *b, ir_ref flags)
{
    ir_emit_raw(b, &(struct ir_ins){.op = IR_fflags_set, .a = flags});
    jit_opt_cse_forget_fp(b);
}

void ir_frm_set(struct ir_builder *b, ir_ref rm)
{
    ir_emit_raw(b, &(struct ir_ins){.op = IR_frm_set, .a = rm});
    jit_opt_cse_forget_fp(b);
}

/* ---- helpers --------------------------------------------------------------------------------- */

ir_ref ir_call(struct ir_builder *b, unsigned helper, unsigned nargs, const ir_ref *args)
{
    const struct ir_helper *h = &b->unit->target->helpers[helper];
    /* One that writes globals without reading them would have its work undone by those dirty. */
    bool state = h->effects & (IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_MEMORY);

    b->unit->calls_memory |= (h->effects & IR_H_MEMORY) != 0;
    if (state && !b->done) {
        ir_emit_visible(b, false);
    }
    uint32_t first = ir_emit_pool(b, nargs, args);
    ir_ref ref = ir_emit(
        b,
        (struct ir_ins){.op = IR_call, .type = h->result, .a = first, .b = nargs, .imm = helper});
    if (b->done) {
        return h->result == IR_VOID ? IR_NONE : ref;
    }
    if (h->effects & IR_H_WRITES_STATE) {
        ir_emit_forget(b);
    }
    if (state || h->effects & IR_H_SIDE_EFFECT) {
        jit_opt_cse_forget_fp(b);
    }
    return h->result == IR_VOID ? IR_NONE : ref;
}

ir_ref ir_call_if(struct ir_builder *b, enum ir_cc cc, ir_ref x, ir_ref y, ir_ref otherwise,
                  unsigned helper, unsigned nargs, const ir_ref *args)
{
    ir_ref pool[3 + IR_MAX_HELPER_ARGS];
    int known = b->options->fold ? jit_opt_fold_cond(b, &cc, &x, &y) : -1;

    if (known == 0) {
        return otherwise;
    }
    if (known == 1) {
        return ir_call(b, helper, nargs, args);
    }
    pool[0] = x;
    pool[1] = y;
    pool[2] = otherwise;
    memcpy(pool + 3, args, nargs * sizeof(*args));
    uint32_t first = ir_emit_pool(b, 3 + nargs, pool);
    ir_ref ref = ir_emit(b, (struct ir_ins){.op = IR_callif,
                                            .type = b->unit->target->helpers[helper].result,
                                            .cc = cc,
                                            .a = first,
                                            .b = 3 + nargs,
                                            .imm = helper});
    if (b->unit->target->helpers[helper].effects & IR_H_SIDE_EFFECT) {
        jit_opt_cse_forget_fp(b);
    }
    return ref;
}
