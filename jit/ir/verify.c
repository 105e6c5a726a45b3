/*
 * The verifier: shape of the blocks, references and types. The rules about globals, which need to
 * know what happens on the paths between blocks, are in verify-flow.c.
 *
 * Nothing is trusted: an op in a list may be any bytes. Each pass checks what the next relies on,
 * and ops that broke an earlier rule are skipped by later ones where they would only echo it. If
 * the lists or edges themselves are broken, the passes over paths are not made.
 */
#include "jit/ir/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include "jit/ir/verify-flow.h"

void ir_verify_fail(struct ir_verifier *v, ir_ref op, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    v->violations++;
    if (v->report) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        v->report(v->opaque, op, text);
    }
}

#define FAIL ir_verify_fail

/* ---- lists: rules 1 and 2, and where each value is defined -------------------------------- */

static bool check_list(struct ir_verifier *v, uint32_t b)
{
    const struct ir_unit *unit = v->unit;
    const struct ir_block *block = &unit->blocks[b];
    ir_ref last = IR_NONE;
    uint32_t position = 0, params = 0;

    for (ir_ref ref = block->first; ref != IR_NONE; ref = unit->ins[ref].next) {
        const struct ir_ins *ins;

        if (ref >= unit->ins_count) {
            FAIL(v, last, "the list of b%u leaves the unit", b);
            return false;
        }
        if (v->places[ref].position) {
            FAIL(v, ref, "the op is in two places, the second in b%u", b);
            return false;
        }
        ins = &unit->ins[ref];
        if (ins->op >= IR_OP_COUNT) {
            FAIL(v, ref, "there is no op %u", ins->op);
            return false;
        }
        if (ins->type >= IR_TYPE_COUNT) {
            FAIL(v, ref, "rule 4: the result of %s has an unknown type", ir_op_info[ins->op].name);
            return false;
        }
        position++;
        v->places[ref] = (struct ir_place){.block = b, .position = position};
        if (last != IR_NONE && ir_op_info[unit->ins[last].op].ends_block) {
            FAIL(v, last, "rule 1: %s is not the last op of b%u",
                 ir_op_info[unit->ins[last].op].name, b);
        }
        if (ins->op == IR_param) {
            if (position != params + 1) {
                FAIL(v, ref, "rule 2: a parameter that is not at the head of b%u", b);
            } else if (ins->imm != params++) {
                FAIL(v, ref, "rule 2: a parameter of b%u with the wrong index", b);
            }
        }
        last = ref;
    }
    if (block->last != last) {
        FAIL(v, last, "the last op of b%u is not what the block says", b);
        return false;
    }
    if (last == IR_NONE || !ir_op_info[unit->ins[last].op].ends_block) {
        FAIL(v, last, "rule 1: b%u does not end with a terminator", b);
    }
    if (block->params != params) {
        FAIL(v, IR_NONE, "rule 2: b%u has %u parameters, but says %u", b, params, block->params);
        return false;
    }
    return true;
}

unsigned ir_verify_successors(const struct ir_unit *unit, uint32_t b, uint32_t successors[2])
{
    const struct ir_ins *last = &unit->ins[unit->blocks[b].last];

    if (unit->blocks[b].last == IR_NONE) {
        return 0;
    }
    if (last->op == IR_jump) {
        successors[0] = (uint32_t)last->imm;
        return 1;
    }
    if (last->op == IR_br) {
        successors[0] = (uint32_t)last->imm;
        successors[1] = (uint32_t)((uint64_t)last->imm >> 32);
        return 2;
    }
    return 0;
}

static bool check_edges(struct ir_verifier *v)
{
    const struct ir_unit *unit = v->unit;
    bool good = true;

    for (uint32_t b = 0; b < unit->block_count; b++) {
        ir_ref last = unit->blocks[b].last;
        uint32_t to[2];
        unsigned n = ir_verify_successors(unit, b, to);

        for (unsigned i = 0; i < n; i++) {
            if (to[i] >= unit->block_count) {
                FAIL(v, last, "rule 2: there is no b%u to go to", to[i]);
                good = false;
                continue;
            }
            v->blocks[to[i]].preds++;
            if (unit->ins[last].op == IR_br && unit->blocks[to[i]].params) {
                FAIL(v, last, "rule 2: br to b%u, which has parameters", to[i]);
            }
            if (unit->ins[last].op == IR_br && to[i] == 0) {
                FAIL(v, last, "rule 2: br to the entry");
            }
        }
    }
    if (unit->blocks[0].params) {
        FAIL(v, IR_NONE, "rule 2: the entry has parameters");
    }
    for (uint32_t b = 0; good && b < unit->block_count; b++) {
        if (v->blocks[b].preds != unit->blocks[b].preds) {
            FAIL(v, IR_NONE, "rule 2: %u edges lead to b%u, which says %u", v->blocks[b].preds, b,
                 unit->blocks[b].preds);
        }
    }
    return good;
}

/* ---- arguments: rule 3 and the types of rule 4 -------------------------------------------- */

static bool check_use(struct ir_verifier *v, ir_ref user, ir_ref ref, const char *what)
{
    const struct ir_place *def, *use = &v->places[user];

    if (ref == IR_NONE || ref >= v->unit->ins_count || !v->places[ref].position) {
        FAIL(v, user, "rule 3: %s of %s is no op of the unit", what,
             ir_op_info[v->unit->ins[user].op].name);
        return false;
    }
    if (v->unit->ins[ref].type == IR_VOID) {
        FAIL(v, user, "rule 3: %s of %s has no value", what,
             ir_op_info[v->unit->ins[user].op].name);
        return false;
    }
    def = &v->places[ref];
    if (def->block == use->block ? def->position >= use->position
                                 : !ir_verify_dominates(v, def->block, use->block)) {
        FAIL(v, user, "rule 3: %s of %s is not defined on every path to it", what,
             ir_op_info[v->unit->ins[user].op].name);
        return false;
    }
    return true;
}

static const char *letter_means(char letter)
{
    switch (letter) {
    case 'i':
        return "i32 or i64";
    case 'I':
    case 'p':
        return "i64";
    case 'w':
        return "i32";
    case 'f':
        return "f32 or f64";
    case 's':
        return "f32";
    case 'd':
        return "f64";
    case 't':
        return "the type of the result";
    case '=':
        return "the type of the first argument";
    default:
        return "a value";
    }
}

static bool letter_holds(char letter, enum ir_type type, enum ir_type result, enum ir_type first)
{
    switch (letter) {
    case 'i':
        return ir_type_is_int(type);
    case 'I':
    case 'p':
        return type == IR_I64;
    case 'w':
        return type == IR_I32;
    case 'f':
        return ir_type_is_fp(type);
    case 's':
        return type == IR_F32;
    case 'd':
        return type == IR_F64;
    case 't':
        return type == result;
    case '=':
        return type == first;
    case '-':
        return type == IR_VOID;
    default:
        return type != IR_VOID;
    }
}

static enum ir_type type_of(const struct ir_verifier *v, ir_ref ref)
{
    return (enum ir_type)v->unit->ins[ref].type;
}

static void check_result(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_ins *ins = &v->unit->ins[ref];
    const struct ir_op_info *info = &ir_op_info[ins->op];
    bool is_call = ins->op == IR_call || ins->op == IR_callif;

    if (!(is_call && ins->type == IR_VOID) &&
        !letter_holds(info->result[0], (enum ir_type)ins->type, IR_VOID, IR_VOID)) {
        FAIL(v, ref, "rule 4: the result of %s is %s%s, not %s", info->name,
             info->result[0] == '-' ? "nothing" : "",
             info->result[0] == '-' ? "" : letter_means(info->result[0]),
             ir_type_name((enum ir_type)ins->type));
    }
    if (ins->type == IR_V128 || ins->type == IR_V256) {
        FAIL(v, ref, "rule 4: %s of a vector, for which there are no ops yet", info->name);
    }
    if (ins->flags & ~IR_VF_CANON || (ins->flags && !ir_type_is_fp((enum ir_type)ins->type))) {
        FAIL(v, ref, "rule 4: flags that %s cannot have", info->name);
    }
}

static bool check_arguments(struct ir_verifier *v, ir_ref ref)
{
    static const char *const what[3] = {"the first argument", "the second argument",
                                        "the third argument"};
    const struct ir_ins *ins = &v->unit->ins[ref];
    const struct ir_op_info *info = &ir_op_info[ins->op];
    const ir_ref args[3] = {ins->a, ins->b, ins->c};
    enum ir_type first = IR_VOID;
    bool good = true;

    for (unsigned i = 0; i < info->nargs; i++) {
        if (!check_use(v, ref, args[i], what[i])) {
            return false;
        }
        if (i == 0) {
            first = type_of(v, args[0]);
        }
        if (!letter_holds(info->args[i], type_of(v, args[i]), (enum ir_type)ins->type, first)) {
            FAIL(v, ref, "rule 4: %s of %s is %s, not %s", what[i], info->name,
                 letter_means(info->args[i]), ir_type_name(type_of(v, args[i])));
            good = false;
        }
    }
    return good;
}

/* ---- fields: the rest of rules 4 and 5 ---------------------------------------------------- */

/* Whether a value of this type may be accessed with this width; mem: enum ir_mem. */
static bool width_holds(unsigned mem, enum ir_type type, bool sign)
{
    unsigned size = 1u << (mem & 7);

    if (!ir_mem_name(mem) || (!sign && mem & IR_MS)) {
        return false;
    }
    if (!ir_type_is_int(type)) {
        return size == ir_type_size(type) && !(mem & IR_MS);
    }
    return size <= ir_type_size(type);
}

static void check_width(struct ir_verifier *v, ir_ref ref, enum ir_type type, bool sign)
{
    const struct ir_ins *ins = &v->unit->ins[ref];
    const char *name = ir_mem_name(ins->cc);

    if (!width_holds(ins->cc, type, sign)) {
        FAIL(v, ref, "rule 4: %s of %s with width %s", ir_op_info[ins->op].name, ir_type_name(type),
             name ? name : "that does not exist");
    }
}

static void check_range(struct ir_verifier *v, ir_ref ref, const char *what, uint64_t value,
                        uint64_t limit)
{
    if (value >= limit) {
        FAIL(v, ref, "rule 4: the %s of %s is out of range", what,
             ir_op_info[v->unit->ins[ref].op].name);
    }
}

/* A guest address that is given as the constant c, or as value a. */
static void check_constant_pc(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_ins *ins = &v->unit->ins[ref];

    if (check_use(v, ref, ins->c, "the address") &&
        (v->unit->ins[ins->c].op != IR_const || type_of(v, ins->c) != IR_I64)) {
        FAIL(v, ref, "rule 4: the address of %s is no constant i64", ir_op_info[ins->op].name);
    }
}

static void check_destination(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_ins *ins = &v->unit->ins[ref];

    if (ins->a != IR_NONE && check_use(v, ref, ins->a, "the destination") &&
        type_of(v, ins->a) != IR_I64) {
        FAIL(v, ref, "rule 4: the destination of %s is i64, not %s", ir_op_info[ins->op].name,
             ir_type_name(type_of(v, ins->a)));
    }
}

static void check_global(struct ir_verifier *v, ir_ref ref, enum ir_type type, bool exact)
{
    const struct ir_ins *ins = &v->unit->ins[ref];
    enum ir_type wanted;

    if (ins->aux >= v->unit->target->global_count) {
        FAIL(v, ref, "rule 5: there is no global %u", ins->aux);
        return;
    }
    wanted = (enum ir_type)v->unit->target->globals[ins->aux].type;
    if (type != wanted && (exact || wanted != IR_F64 || type != IR_F32)) {
        FAIL(v, ref, "rule 5: global %s is %s, not %s", v->unit->target->globals[ins->aux].name,
             ir_type_name(wanted), ir_type_name(type));
    }
}

/* The homes of globals may be out of date; only gget and gset know. */
static void check_state_access(struct ir_verifier *v, ir_ref ref, enum ir_type type)
{
    const struct ir_ins *ins = &v->unit->ins[ref];
    int64_t end = ins->imm + (1 << (ins->cc & 7));

    check_width(v, ref, type, ins->op == IR_cpu_ld);
    if (ins->imm < 0 || ins->imm > INT32_MAX) {
        FAIL(v, ref, "rule 4: the offset of %s is out of range", ir_op_info[ins->op].name);
        return;
    }
    for (unsigned g = 0; g < v->unit->target->global_count; g++) {
        const struct ir_global *global = &v->unit->target->globals[g];

        if (ins->imm < (int64_t)global->offset + 8 && (int64_t)global->offset < end) {
            FAIL(v, ref, "rule 5: %s at the home of global %s", ir_op_info[ins->op].name,
                 global->name);
        }
    }
}

static bool pool_is_good(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_ins *ins = &v->unit->ins[ref];

    if ((uint64_t)ins->a + ins->b > v->unit->pool_count) {
        FAIL(v, ref, "rule 4: the arguments of %s are outside of the pool",
             ir_op_info[ins->op].name);
        return false;
    }
    return true;
}

static void check_jump(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_unit *unit = v->unit;
    const struct ir_ins *ins = &unit->ins[ref];
    const struct ir_block *to = &unit->blocks[(uint32_t)ins->imm];
    ir_ref param = to->first;

    if (!pool_is_good(v, ref)) {
        return;
    }
    if (ins->b != to->params) {
        FAIL(v, ref, "rule 2: jump passes %u values to b%u, which takes %u", ins->b,
             (uint32_t)ins->imm, to->params);
        return;
    }
    for (uint32_t i = 0; i < ins->b; i++, param = unit->ins[param].next) {
        ir_ref arg = unit->pool[ins->a + i];

        if (check_use(v, ref, arg, "a value") && type_of(v, arg) != type_of(v, param)) {
            FAIL(v, ref, "rule 2: value %u of jump is %s, b%u takes %s", i,
                 ir_type_name(type_of(v, arg)), (uint32_t)ins->imm,
                 ir_type_name(type_of(v, param)));
        }
    }
}

static void check_call(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_unit *unit = v->unit;
    const struct ir_ins *ins = &unit->ins[ref];
    const struct ir_helper *helper;
    uint32_t first = ins->op == IR_callif ? 3 : 0;
    const ir_ref *pool = unit->pool + ins->a;

    if (!pool_is_good(v, ref)) {
        return;
    }
    if (ins->imm < 0 || ins->imm >= (int64_t)unit->target->helper_count) {
        FAIL(v, ref, "rule 9: there is no helper %lld", (long long)ins->imm);
        return;
    }
    helper = &unit->target->helpers[ins->imm];
    if (ins->b != first + helper->nargs) {
        FAIL(v, ref, "rule 9: helper %s takes %u arguments, not %d", helper->name, helper->nargs,
             (int)ins->b - (int)first);
        return;
    }
    if (ins->type != helper->result) {
        FAIL(v, ref, "rule 9: helper %s gives %s, not %s", helper->name,
             ir_type_name((enum ir_type)helper->result), ir_type_name((enum ir_type)ins->type));
    }
    for (uint32_t i = 0; i < helper->nargs; i++) {
        if (check_use(v, ref, pool[first + i], "an argument") &&
            type_of(v, pool[first + i]) != (enum ir_type)helper->args[i]) {
            FAIL(v, ref, "rule 9: argument %u of helper %s is %s, not %s", i, helper->name,
                 ir_type_name((enum ir_type)helper->args[i]),
                 ir_type_name(type_of(v, pool[first + i])));
        }
    }
    if (ins->op == IR_call) {
        return;
    }
    check_range(v, ref, "condition", ins->cc, IR_CC_COUNT);
    if (check_use(v, ref, pool[0], "the first argument") &&
        check_use(v, ref, pool[1], "the second argument") &&
        (!ir_type_is_int(type_of(v, pool[0])) || type_of(v, pool[0]) != type_of(v, pool[1]))) {
        FAIL(v, ref, "rule 4: callif compares integers of one type");
    }
    if (ins->type != IR_VOID && check_use(v, ref, pool[2], "the default") &&
        type_of(v, pool[2]) != (enum ir_type)ins->type) {
        FAIL(v, ref, "rule 9: the default of callif is %s, not %s",
             ir_type_name((enum ir_type)ins->type), ir_type_name(type_of(v, pool[2])));
    }
    if (helper->effects & (IR_H_READS_STATE | IR_H_WRITES_STATE | IR_H_MEMORY)) {
        FAIL(v, ref, "rule 9: callif of helper %s, which has state or memory effects",
             helper->name);
    }
}

/* The fields of an op whose arguments are good. */
static void check_fields(struct ir_verifier *v, ir_ref ref)
{
    const struct ir_ins *ins = &v->unit->ins[ref];

    switch ((enum ir_opcode)ins->op) {
    case IR_const:
        if (ins->type == IR_I32 && ins->imm != (int32_t)ins->imm) {
            FAIL(v, ref, "rule 4: an i32 constant that is not sign-extended");
        }
        break;
    case IR_param:
        if (ins->aux != IR_NO_GLOBAL) {
            check_global(v, ref, (enum ir_type)ins->type, false);
        }
        break;
    case IR_insn:
        if (!ins->aux) {
            FAIL(v, ref, "rule 4: an insn without a length");
        }
        break;
    case IR_gget:
        check_global(v, ref, (enum ir_type)ins->type, true);
        break;
    case IR_gset:
        check_global(v, ref, type_of(v, ins->a), false);
        break;
    case IR_jump:
        check_jump(v, ref);
        break;
    case IR_icmp:
    case IR_br:
    case IR_exit_br:
        check_range(v, ref, "condition", ins->cc, IR_CC_COUNT);
        if (ins->op == IR_exit_br) {
            check_constant_pc(v, ref);
        }
        break;
    case IR_bitcast: {
        enum ir_type from = type_of(v, ins->a);

        if (ir_type_size(from) != ir_type_size((enum ir_type)ins->type) ||
            ir_type_is_int(from) == ir_type_is_int((enum ir_type)ins->type)) {
            FAIL(v, ref, "rule 4: bitcast from %s to %s", ir_type_name(from),
                 ir_type_name((enum ir_type)ins->type));
        }
        break;
    }
    case IR_ld:
    case IR_st:
        check_width(v, ref, ins->op == IR_ld ? (enum ir_type)ins->type : type_of(v, ins->b),
                    ins->op == IR_ld);
        if (ins->imm != (int32_t)ins->imm) {
            FAIL(v, ref, "rule 4: the offset of %s has more than 32 bits",
                 ir_op_info[ins->op].name);
        }
        break;
    case IR_amo:
    case IR_cas:
        check_width(v, ref, (enum ir_type)ins->type, false);
        if (ins->op == IR_amo) {
            check_range(v, ref, "operation", ins->aux, IR_AMO_COUNT);
        }
        if (ins->imm != (int32_t)ins->imm) {
            FAIL(v, ref, "rule 4: the offset of %s has more than 32 bits",
                 ir_op_info[ins->op].name);
        }
        break;
    case IR_fence:
        check_range(v, ref, "strength", ins->aux, 2);
        break;
    case IR_cpu_ld:
        check_state_access(v, ref, (enum ir_type)ins->type);
        break;
    case IR_cpu_st:
        check_state_access(v, ref, type_of(v, ins->a));
        break;
    case IR_fma:
        check_range(v, ref, "negation", ins->aux, 4);
        break;
    case IR_fcmp:
        check_range(v, ref, "condition", ins->cc, IR_FCC_COUNT);
        break;
    case IR_f2i:
        check_range(v, ref, "rounding", ins->aux, 2);
        break;
    case IR_call:
    case IR_callif:
        check_call(v, ref);
        break;
    case IR_exit_call:
        check_destination(v, ref);
        check_constant_pc(v, ref);
        break;
    case IR_exit_loop:
        check_destination(v, ref);
        break;
    default:
        break;
    }
}

/* ---- all together -------------------------------------------------------------------------- */

static void verify(struct ir_verifier *v)
{
    const struct ir_unit *unit = v->unit;
    bool good = true;

    if (!unit->block_count) {
        FAIL(v, IR_NONE, "rule 1: a unit without blocks");
        return;
    }
    v->places = arena_array(&v->arena, struct ir_place, unit->ins_count);
    v->blocks = arena_array(&v->arena, struct ir_vblock, unit->block_count);
    if (!v->places || !v->blocks) {
        FAIL(v, IR_NONE, "no memory to verify the unit");
        return;
    }
    for (uint32_t b = 0; b < unit->block_count; b++) {
        good &= check_list(v, b);
    }
    if (!good || !check_edges(v) || !ir_verify_order(v)) {
        return;
    }
    for (uint32_t b = 0; b < unit->block_count; b++) {
        if (!v->blocks[b].reachable) {
            FAIL(v, IR_NONE, "rule 10: b%u cannot be reached", b);
            continue;
        }
        for (ir_ref ref = unit->blocks[b].first; ref != IR_NONE; ref = unit->ins[ref].next) {
            check_result(v, ref);
            if (check_arguments(v, ref)) {
                check_fields(v, ref);
            }
        }
    }
    ir_verify_globals(v);
}

unsigned ir_verify(const struct ir_unit *unit,
                   void (*report)(void *opaque, ir_ref op, const char *text), void *opaque)
{
    struct ir_verifier v = {.unit = unit, .report = report, .opaque = opaque};

    arena_init(&v.arena, 0);
    verify(&v);
    arena_destroy(&v.arena);
    return v.violations;
}
