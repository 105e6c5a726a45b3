/*
 * Sums as memory operands: what live.c has fused is put together again here.
 *
 * A fused value is a sum or, as an index, a shift; none of them is in a register. Walking down from
 * the user gives at most one base, one scaled index and one displacement, for live.c fuses no more.
 */
#include "jit/x86_64/compile.h"

static void add_parts(const struct x86_compiler *c, const struct ir_ins *add,
                      struct x86_parts *parts);

static void value_parts(const struct x86_compiler *c, ir_ref ref, struct x86_parts *parts)
{
    const struct ir_ins *ins = x86_ins(c, ref);

    if (!c->val[ref].fused) {
        parts->base = ref;
    } else if (ins->op == IR_shl) {
        parts->index = x86_resolve(c, ins->a);
        parts->scale = (uint8_t)x86_ins(c, ins->b)->imm;
    } else {
        add_parts(c, ins, parts);
    }
}

static void add_parts(const struct x86_compiler *c, const struct ir_ins *add,
                      struct x86_parts *parts)
{
    ir_ref a = x86_resolve(c, add->a), b = x86_resolve(c, add->b);
    int32_t k;

    if (x86_const32(c, b, &k)) {
        parts->disp = k;
        value_parts(c, a, parts);
    } else if (c->val[a].fused) {
        value_parts(c, a, parts);
        parts->base = b;
    } else {
        parts->index = b;
        value_parts(c, b, parts);
        parts->base = a;
    }
}

struct x86_parts x86_parts(const struct x86_compiler *c, ir_ref ref, int64_t offset)
{
    struct x86_parts parts = {0};
    int64_t k;
    bool constant = c->val[ref].reg == REG_NONE && x86_const(c, ref, &k);
    int64_t at = constant ? (int64_t)((uint64_t)k + (uint64_t)offset) : INT64_MAX;

    if (at == (int32_t)at) {
        parts.disp = (int32_t)at;
    } else {
        value_parts(c, ref, &parts);
        parts.disp += (int32_t)offset;
    }
    return parts;
}

struct x86_parts x86_add_parts(const struct x86_compiler *c, const struct ir_ins *add)
{
    struct x86_parts parts = {0};

    add_parts(c, add, &parts);
    return parts;
}

struct x86_mem x86_use_parts(struct x86_compiler *c, const struct x86_parts *parts)
{
    struct x86_mem mem = {.base = REG_NONE, .index = REG_NONE};

    mem.disp = parts->disp;
    mem.scale = parts->scale;
    if (parts->base != IR_NONE) {
        mem.base = (int8_t)x86_use(c, parts->base);
    }
    if (parts->index != IR_NONE) {
        mem.index = (int8_t)x86_use(c, parts->index);
    }
    return mem;
}

void x86_consume_parts(struct x86_compiler *c, const struct x86_parts *parts)
{
    if (parts->base != IR_NONE) {
        x86_consume(c, parts->base);
    }
    if (parts->index != IR_NONE) {
        x86_consume(c, parts->index);
    }
}
