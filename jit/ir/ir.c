/*
 * Static facts about the IR, and the memory of a unit.
 *
 * The table of ops is constant data: the letters of ops.def are tested by the compiler, so that
 * nothing is set up at start and nothing has to be checked for being set up.
 */
#include <stdlib.h>
#include "jit/ir/emit.h"
#include "jit/ir/ir.h"
#include "util/error.h"

/* Letter i of a literal of at most five, and whether it has a given letter. */
#define LETTER(text, i) ((text "\0\0\0\0\0")[i])
#define HAS(text, letter)                                                                   \
    (LETTER(text, 0) == letter || LETTER(text, 1) == letter || LETTER(text, 2) == letter || \
     LETTER(text, 3) == letter || LETTER(text, 4) == letter)

const struct ir_op_info ir_op_info[IR_OP_COUNT] = {
#define OP(op_name, op_result, op_args, effects)              \
    {                                                         \
        .name = #op_name,                                     \
        .result = op_result,                                  \
        .args = op_args,                                      \
        .nargs = HAS(op_args, 'P') ? 0 : sizeof(op_args) - 1, \
        .pool = HAS(op_args, 'P'),                            \
        .faults = HAS(effects, 'F'),                          \
        .reads = HAS(effects, 'R'),                           \
        .writes = HAS(effects, 'W'),                          \
        .fp_flags = HAS(effects, 'X'),                        \
        .side_effect = HAS(effects, 'S'),                     \
        .ends_block = HAS(effects, 'T') || HAS(effects, 'E'), \
        .exits = HAS(effects, 'E'),                           \
    },
#include "jit/ir/ops.def"
#undef OP
};

const char *ir_type_name(enum ir_type type)
{
    static const char *const name[IR_TYPE_COUNT] = {"void", "i32",  "i64", "f32",
                                                    "f64",  "v128", "v256"};
    return (unsigned)type < IR_TYPE_COUNT ? name[type] : NULL;
}

const char *ir_cc_name(enum ir_cc cc)
{
    static const char *const name[IR_CC_COUNT] = {"eq", "ne",  "lt",  "ge",  "le",
                                                  "gt", "ltu", "geu", "leu", "gtu"};
    return (unsigned)cc < IR_CC_COUNT ? name[cc] : NULL;
}

const char *ir_fcc_name(enum ir_fcc cc)
{
    static const char *const name[IR_FCC_COUNT] = {"eq", "lt", "le", "ltq", "leq"};
    return (unsigned)cc < IR_FCC_COUNT ? name[cc] : NULL;
}

const char *ir_mem_name(unsigned mem)
{
    static const char *const name[] = {"m8", "m16", "m32", "m64",  "m128", "m256",
                                       NULL, NULL,  "m8s", "m16s", "m32s", "m64s"};
    return mem < sizeof(name) / sizeof(name[0]) ? name[mem] : NULL;
}

const char *ir_amo_name(enum ir_amo amo)
{
    static const char *const name[IR_AMO_COUNT] = {"swap", "add", "and",  "or",  "xor",
                                                   "min",  "max", "minu", "maxu"};
    return (unsigned)amo < IR_AMO_COUNT ? name[amo] : NULL;
}

enum ir_cc ir_cc_swap(enum ir_cc cc)
{
    static const uint8_t swapped[IR_CC_COUNT] = {IR_EQ, IR_NE,  IR_GT,  IR_LE,  IR_GE,
                                                 IR_LT, IR_GTU, IR_LEU, IR_GEU, IR_LTU};
    return (enum ir_cc)swapped[cc];
}

bool ir_cc_holds(enum ir_cc cc, bool is32, int64_t a, int64_t b)
{
    /* Sign extension keeps the order of i32 values, signed and unsigned. */
    if (is32) {
        a = (int32_t)a;
        b = (int32_t)b;
    }
    switch (cc) {
    case IR_EQ:
        return a == b;
    case IR_NE:
        return a != b;
    case IR_LT:
        return a < b;
    case IR_GE:
        return a >= b;
    case IR_LE:
        return a <= b;
    case IR_GT:
        return a > b;
    case IR_LTU:
        return (uint64_t)a < (uint64_t)b;
    case IR_GEU:
        return (uint64_t)a >= (uint64_t)b;
    case IR_LEU:
        return (uint64_t)a <= (uint64_t)b;
    case IR_GTU:
        return (uint64_t)a > (uint64_t)b;
    case IR_CC_COUNT:
        break;
    }
    return false;
}

void ir_unit_init(struct ir_unit *unit)
{
    *unit = (struct ir_unit){.ins_count = 1};
}

void ir_unit_reset(struct ir_unit *unit, const struct ir_target *target, uint64_t pc)
{
    unit->target = target;
    unit->pc = pc;
    unit->ins_count = 1;
    unit->block_count = 0;
    unit->pool_count = 0;
    unit->calls_memory = false;
}

void ir_unit_free(struct ir_unit *unit)
{
    free(unit->ins);
    free(unit->blocks);
    free(unit->pool);
    ir_unit_init(unit);
}

void *ir_unit_grow(void *array, uint32_t *cap, uint32_t need, size_t size)
{
    uint32_t n = *cap ? *cap : 64;

    while (n < need) {
        n *= 2;
    }
    array = realloc(array, n * size);
    if (!array) {
        error_fatal("no memory for a translation of %u elements", n);
    }
    *cap = n;
    return array;
}
