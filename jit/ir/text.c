/*
 * The printer of the text form; the reader is in text-parse.c. docs/ir.md has the grammar.
 *
 * What is printed depends on the unit's meaning alone, not on how its ops are numbered: values are
 * counted anew in the order of the lines, and integer constants stand where they are used. So
 * printing what was read gives the same text, and a test can expect it.
 *
 * It must also print units that are not well-formed, for it is asked to when the verifier finds
 * something: nothing here trusts a reference.
 */
#include "jit/ir/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct printer {
    const struct ir_unit *unit;
    void (*write)(void *opaque, const char *text, size_t length);
    void *opaque;
    uint32_t *number; /* by ref; 0 for what has no name of its own */
};

__attribute__((format(printf, 2, 3))) static void out(struct printer *p, const char *fmt, ...)
{
    char text[160];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n > 0) {
        p->write(p->opaque, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
    }
}

static bool is_inline(const struct ir_ins *ins)
{
    return ins->op == IR_const && ir_type_is_int((enum ir_type)ins->type);
}

/* A number small enough to be read as one is decimal, an address or a mask is not. */
static void out_int(struct printer *p, enum ir_type type, int64_t value)
{
    if (type == IR_I32) {
        value = (int32_t)value;
    }
    if (value > -65536 && value < 65536) {
        out(p, "%" PRId64, value);
    } else if (type == IR_I32) {
        out(p, "0x%" PRIx32, (uint32_t)value);
    } else {
        out(p, "0x%" PRIx64, (uint64_t)value);
    }
}

/* A value where one of type `expected` is read; IR_VOID: where any may stand, which means i64. */
static void out_value(struct printer *p, ir_ref ref, enum ir_type expected)
{
    const struct ir_ins *ins;

    if (ref == IR_NONE || ref >= p->unit->ins_count) {
        out(p, "v?");
        return;
    }
    ins = &p->unit->ins[ref];
    if (is_inline(ins)) {
        out_int(p, (enum ir_type)ins->type, ins->imm);
        if (ins->type != (expected == IR_VOID ? IR_I64 : expected)) {
            out(p, ":%s", ir_type_name((enum ir_type)ins->type));
        }
    } else if (p->number[ref]) {
        out(p, "v%" PRIu32, p->number[ref]);
    } else {
        out(p, "v?%" PRIu32, ref);
    }
}

/* A constant that is a guest address. */
static void out_pc(struct printer *p, ir_ref ref)
{
    if (ref != IR_NONE && ref < p->unit->ins_count && is_inline(&p->unit->ins[ref]) &&
        p->unit->ins[ref].type == IR_I64) {
        out(p, "0x%" PRIx64, (uint64_t)p->unit->ins[ref].imm);
    } else {
        out_value(p, ref, IR_VOID);
    }
}

static ir_ref pool_at(const struct printer *p, uint64_t index)
{
    return index < p->unit->pool_count ? p->unit->pool[index] : IR_NONE;
}

static void out_pool(struct printer *p, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < p->unit->pool_count; i++) {
        out(p, i ? ", " : "");
        out_value(p, pool_at(p, (uint64_t)first + i), IR_VOID);
    }
}

static void out_global(struct printer *p, unsigned global)
{
    if (global < p->unit->target->global_count) {
        out(p, "%s", p->unit->target->globals[global].name);
    } else {
        out(p, "#%u", global);
    }
}

static void out_helper(struct printer *p, int64_t helper)
{
    if (helper >= 0 && helper < (int64_t)p->unit->target->helper_count) {
        out(p, "%s", p->unit->target->helpers[helper].name);
    } else {
        out(p, "#%" PRId64, helper);
    }
}

static void out_word(struct printer *p, const char *name, unsigned value)
{
    if (name) {
        out(p, " %s", name);
    } else {
        out(p, " #%u", value);
    }
}

/* The words between an op's name and its arguments. */
static void out_modifiers(struct printer *p, const struct ir_ins *ins)
{
    switch ((enum ir_opcode)ins->op) {
    case IR_icmp:
    case IR_br:
    case IR_exit_br:
    case IR_callif:
        out_word(p, ir_cc_name((enum ir_cc)ins->cc), ins->cc);
        break;
    case IR_fcmp:
        out_word(p, ir_fcc_name((enum ir_fcc)ins->cc), ins->cc);
        break;
    case IR_amo:
        out_word(p, ir_amo_name((enum ir_amo)ins->aux), ins->aux);
        out_word(p, ir_mem_name(ins->cc), ins->cc);
        break;
    case IR_ld:
    case IR_st:
    case IR_cas:
    case IR_cpu_ld:
    case IR_cpu_st:
        out_word(p, ir_mem_name(ins->cc), ins->cc);
        break;
    case IR_fence:
        if (ins->aux) {
            out(p, " full");
        }
        break;
    case IR_fma:
        if (ins->aux & IR_FMA_NEG_PRODUCT) {
            out(p, " negp");
        }
        if (ins->aux & IR_FMA_NEG_ADDEND) {
            out(p, " nega");
        }
        break;
    case IR_f2i:
        out(p, ins->aux ? " rtz" : " dyn");
        break;
    default:
        break;
    }
}

static void out_plain(struct printer *p, const struct ir_ins *ins)
{
    const struct ir_op_info *info = &ir_op_info[ins->op];
    const ir_ref refs[3] = {ins->a, ins->b, ins->c};

    for (unsigned i = 0; i < info->nargs; i++) {
        enum ir_type expected = IR_VOID;

        if (info->args[i] == 't') {
            expected = (enum ir_type)ins->type;
        } else if (info->args[i] == 'w') {
            expected = IR_I32;
        }
        out(p, i ? ", " : " ");
        out_value(p, refs[i], expected);
        /* The address of a memory access: base and offset. */
        if (info->args[i] == 'p') {
            out(p, ins->imm < 0 ? " - %" PRIu64 : " + %" PRIu64,
                ins->imm < 0 ? 0 - (uint64_t)ins->imm : (uint64_t)ins->imm);
        }
    }
}

static void out_arguments(struct printer *p, const struct ir_ins *ins)
{
    switch ((enum ir_opcode)ins->op) {
    case IR_const:
        out(p, " 0x%" PRIx64, ins->type == IR_F32 ? (uint32_t)ins->imm : (uint64_t)ins->imm);
        break;
    case IR_param:
        if (ins->aux != IR_NO_GLOBAL) {
            out(p, " ");
            out_global(p, ins->aux);
        }
        break;
    case IR_insn:
        out(p, " 0x%" PRIx64 " %u", (uint64_t)ins->imm, ins->aux);
        break;
    case IR_gget:
        out(p, " ");
        out_global(p, ins->aux);
        break;
    case IR_gset:
        out(p, " ");
        out_global(p, ins->aux);
        out(p, ", ");
        out_value(p, ins->a, IR_VOID);
        break;
    case IR_jump:
        out(p, " b%" PRIu32, (uint32_t)ins->imm);
        if (ins->b) {
            out(p, "(");
            out_pool(p, ins->a, ins->b);
            out(p, ")");
        }
        break;
    case IR_br:
        out_plain(p, ins);
        out(p, ", b%" PRIu32 ", b%" PRIu32, (uint32_t)ins->imm,
            (uint32_t)((uint64_t)ins->imm >> 32));
        break;
    case IR_cpu_ld:
        out(p, " %" PRId64, ins->imm);
        break;
    case IR_cpu_st:
        out(p, " %" PRId64 ",", ins->imm);
        out_plain(p, ins);
        break;
    case IR_call:
        out(p, " ");
        out_helper(p, ins->imm);
        out(p, "(");
        out_pool(p, ins->a, ins->b);
        out(p, ")");
        break;
    case IR_callif:
        out(p, " ");
        out_value(p, pool_at(p, ins->a), IR_VOID);
        out(p, ", ");
        out_value(p, pool_at(p, (uint64_t)ins->a + 1), IR_VOID);
        out(p, " ? ");
        out_helper(p, ins->imm);
        out(p, "(");
        out_pool(p, ins->a + 3, ins->b > 3 ? ins->b - 3 : 0);
        out(p, ")");
        if (ins->type != IR_VOID) {
            out(p, " : ");
            out_value(p, pool_at(p, (uint64_t)ins->a + 2), (enum ir_type)ins->type);
        }
        break;
    case IR_exit_jump:
        out(p, " 0x%" PRIx64, (uint64_t)ins->imm);
        break;
    case IR_exit_br:
        out_plain(p, ins);
        out(p, ", 0x%" PRIx64 ", ", (uint64_t)ins->imm);
        out_pc(p, ins->c);
        break;
    case IR_exit_call:
    case IR_exit_loop:
        if (ins->op == IR_exit_loop) {
            out(p, " %u,", ins->aux);
        }
        if (ins->a) {
            out(p, " via ");
            out_value(p, ins->a, IR_VOID);
        } else {
            out(p, " 0x%" PRIx64, (uint64_t)ins->imm);
        }
        if (ins->op == IR_exit_call) {
            out(p, ", ");
            out_pc(p, ins->c);
        }
        break;
    default:
        out_plain(p, ins);
        break;
    }
}

static void out_ins(struct printer *p, ir_ref ref)
{
    const struct ir_ins *ins = &p->unit->ins[ref];

    if (is_inline(ins)) {
        return;
    }
    if (ins->op >= IR_OP_COUNT) {
        out(p, "  op#%u\n", ins->op);
        return;
    }
    out(p, "  ");
    if (ins->type != IR_VOID) {
        const char *type = ir_type_name((enum ir_type)ins->type);

        out(p, "v%" PRIu32 " = %s.%s", p->number[ref], ir_op_info[ins->op].name, type ? type : "?");
    } else {
        out(p, "%s", ir_op_info[ins->op].name);
    }
    if (ins->flags & IR_VF_CANON) {
        out(p, "!");
    }
    out_modifiers(p, ins);
    out_arguments(p, ins);
    out(p, "\n");
}

void ir_print(const struct ir_unit *unit,
              void (*write)(void *opaque, const char *text, size_t length), void *opaque)
{
    struct printer p = {.unit = unit, .write = write, .opaque = opaque};
    uint32_t next = 1;

    p.number = calloc(unit->ins_count + 1, sizeof(*p.number));
    if (!p.number) {
        out(&p, "; no memory to print the unit\n");
        return;
    }
    for (uint32_t b = 0; b < unit->block_count; b++) {
        ir_ref ref = unit->blocks[b].first;

        for (uint32_t n = 0; n < unit->ins_count && ref && ref < unit->ins_count; n++) {
            const struct ir_ins *ins = &unit->ins[ref];

            if (ins->type != IR_VOID && !is_inline(ins) && !p.number[ref]) {
                p.number[ref] = next++;
            }
            ref = ins->next;
        }
    }
    out(&p, "unit %s 0x%" PRIx64 "\n", unit->target->name, unit->pc);
    for (uint32_t b = 0; b < unit->block_count; b++) {
        ir_ref ref = unit->blocks[b].first;

        out(&p, "b%" PRIu32 ":%s\n", b, unit->blocks[b].cold ? " cold" : "");
        for (uint32_t n = 0; n < unit->ins_count && ref && ref < unit->ins_count; n++) {
            out_ins(&p, ref);
            ref = unit->ins[ref].next;
        }
    }
    free(p.number);
}
