/*
 * The intermediate representation: what stands between a guest front end and a host back end.
 *
 * A unit is the translation of a block or a region of guest code. It has one entry, and leaves by
 * one of the exit_* ops. It is a graph of blocks; a block is a list of ops, the last of which is a
 * terminator. Values are in SSA form: an op that has a result *is* that value, and is named by its
 * index (ir_ref). Blocks take parameters where other representations have phi nodes; only `jump`
 * passes them, so an edge that carries values is never critical.
 *
 * Guest registers ("globals") are the unit's parameters. `gget` reads one as it was at the entry
 * (or after a helper that changed it); `gset` renames it. A gset is an entry in a log: whoever must
 * know the guest's state at some op (a fault, an exit, a helper that reads the state) replays the
 * log up to there. Nothing is stored before someone could look. An example, from `c.addi a0,1; ld
 * a1,0(a0)`:
 *
 *     b0:
 *       insn 0x1000 2
 *       v1 = gget.i64 a0
 *       v2 = add.i64 v1, 1
 *       gset a0, v2
 *       insn 0x1002 4
 *       v3 = ld.i64 m64 v2 + 0          ; if this faults: pc = 0x1002, a0 = v2, all else as at
 * entry gset a1, v3 exit_jump 0x1006
 *
 * A floating-point global is f64. A gset may give it a value that is not canonical yet (an
 * arithmetic NaN), or an f32 (to be NaN-boxed); the builder makes both good on the way to every
 * exit, and a recovery does the same from the flags of the value.
 *
 * Where blocks meet: a block with several predecessors must bind, by its parameters (aux: the
 * global), every global that is dirty at the end of any predecessor. Such a parameter acts as a
 * gset at the head of the block.
 *
 * Threads: a unit belongs to whoever builds it; nothing here is shared.
 */
#ifndef TINAMOU_JIT_IR_IR_H
#define TINAMOU_JIT_IR_IR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ir_type { IR_VOID, IR_I32, IR_I64, IR_F32, IR_F64, IR_V128, IR_V256, IR_TYPE_COUNT };

enum ir_opcode {
#define OP(name, result, args, effects) IR_##name,
#include "jit/ir/ops.def"
#undef OP
    IR_OP_COUNT
};

/* Conditions of icmp, br, exit_br and callif. Each is followed by its negation. */
enum ir_cc {
    IR_EQ,
    IR_NE,
    IR_LT,
    IR_GE,
    IR_LE,
    IR_GT,
    IR_LTU,
    IR_GEU,
    IR_LEU,
    IR_GTU,
    IR_CC_COUNT
};

/* Conditions of fcmp: lt and le raise invalid on any NaN, the others on signaling NaNs only. */
enum ir_fcc { IR_FEQ, IR_FLT, IR_FLE, IR_FLTQ, IR_FLEQ, IR_FCC_COUNT };

/* Width of a memory access; loads narrower than their result extend with zeros or, +IR_MS, the
 * sign. */
enum ir_mem { IR_M8, IR_M16, IR_M32, IR_M64, IR_M128, IR_M256, IR_MS = 8 };

enum ir_amo {
    IR_AMO_SWAP,
    IR_AMO_ADD,
    IR_AMO_AND,
    IR_AMO_OR,
    IR_AMO_XOR,
    IR_AMO_MIN,
    IR_AMO_MAX,
    IR_AMO_MINU,
    IR_AMO_MAXU,
    IR_AMO_COUNT
};

enum { IR_FMA_NEG_PRODUCT = 1, IR_FMA_NEG_ADDEND = 2 };

/* Index of an op, and so of its value, in ir_unit.ins. */
typedef uint32_t ir_ref;
#define IR_NONE            0u /* ins[0] is never used */
#define IR_NO_GLOBAL       0xff
#define IR_MAX_GLOBALS     128
#define IR_MAX_HELPER_ARGS 5 /* not counting the vCPU */

enum ir_value_flags {
    IR_VF_CANON = 1, /* f32/f64: if a NaN, then one that the guest may see as it is */
};

struct ir_ins {
    uint8_t op;   /* enum ir_opcode */
    uint8_t type; /* enum ir_type of the result */
    uint8_t cc;   /* condition or enum ir_mem; see ops.def */
    uint8_t aux;  /* see ops.def */
    ir_ref a, b, c;
    int64_t imm;
    ir_ref next;   /* next op of the block, IR_NONE at its end */
    uint8_t flags; /* enum ir_value_flags */
    uint8_t spare[3];
};

struct ir_block {
    ir_ref first, last; /* IR_NONE while empty */
    uint16_t params;    /* the first `params` ops of the block are its parameters */
    uint16_t preds;     /* number of edges that lead here */
    bool cold;          /* an exit that is not expected to be taken; placed out of line */
};

/* What a guest register is to the translator; declared by the target. */
struct ir_global {
    const char *name;
    uint32_t offset; /* home, in bytes from the start of the vCPU state */
    uint8_t type;    /* IR_I64 or IR_F64 */
    uint8_t rank;    /* 1 is pinned first, 0 never; unique among integers and among f64 */
};

/* What calling a helper may do. */
enum ir_helper_effects {
    IR_H_CPU = 1,          /* takes the vCPU state as its first argument */
    IR_H_READS_STATE = 2,  /* dirty globals, and the pc, are in the state before the call */
    IR_H_WRITES_STATE = 4, /* may change globals in the state */
    IR_H_MEMORY = 8,       /* accesses guest memory, may fault; implies IR_H_READS_STATE */
    IR_H_SIDE_EFFECT = 16, /* is called as often as the guest says; without it, equal calls merge */
    IR_H_FP = 32,          /* uses the host's floating-point registers; others are built without */
};

struct ir_helper {
    const char *name;
    void *fn;        /* host C function; integer arguments and result only, f32/f64 as bits */
    uint8_t result;  /* enum ir_type */
    uint8_t nargs;   /* not counting the vCPU */
    uint8_t effects; /* enum ir_helper_effects */
    uint8_t args[IR_MAX_HELPER_ARGS];
};

/* What a unit was made for; its names are those of the text form. */
struct ir_target {
    const char *name;
    const struct ir_global *globals;
    unsigned global_count;
    const struct ir_helper *helpers;
    unsigned helper_count;
    uint32_t pc_offset; /* where the state keeps the pc */
};

struct ir_unit {
    const struct ir_target *target;
    uint64_t pc;        /* guest address of the entry */
    struct ir_ins *ins; /* ins[1..ins_count) */
    uint32_t ins_count, ins_cap;
    struct ir_block *blocks; /* blocks[0] is the entry */
    uint32_t block_count, block_cap;
    ir_ref *pool; /* arguments of jump, call, callif */
    uint32_t pool_count, pool_cap;
    bool calls_memory; /* some helper that it may call has IR_H_MEMORY (kept by the builder) */
};

/* Static facts about an op, from ops.def. */
struct ir_op_info {
    const char *name;
    const char *result;
    const char *args;
    uint8_t nargs; /* of a, b, c; 0 where the pool holds them */
    bool pool;
    bool faults, reads, writes, fp_flags, side_effect, ends_block, exits;
};
extern const struct ir_op_info ir_op_info[IR_OP_COUNT];

/* Names for the text form, and their inverses; NULL or -1 where there is none. */
const char *ir_type_name(enum ir_type type);
const char *ir_cc_name(enum ir_cc cc);
const char *ir_fcc_name(enum ir_fcc cc);
const char *ir_mem_name(unsigned mem);
const char *ir_amo_name(enum ir_amo amo);

static inline enum ir_cc ir_cc_negate(enum ir_cc cc)
{
    return (enum ir_cc)(cc ^ 1);
}

/* The condition that holds for (b, a) where cc holds for (a, b). */
enum ir_cc ir_cc_swap(enum ir_cc cc);

/* Whether cc holds; operands are sign-extended i32 or i64 (is32 compares the low halves). */
bool ir_cc_holds(enum ir_cc cc, bool is32, int64_t a, int64_t b);

static inline unsigned ir_type_size(enum ir_type type)
{
    static const uint8_t size[IR_TYPE_COUNT] = {0, 4, 8, 4, 8, 16, 32};
    return size[type];
}

static inline bool ir_type_is_int(enum ir_type type)
{
    return type == IR_I32 || type == IR_I64;
}

static inline bool ir_type_is_fp(enum ir_type type)
{
    return type == IR_F32 || type == IR_F64;
}

/* An empty unit; ir_unit_reset() keeps the memory, ir_unit_free() returns it. */
void ir_unit_init(struct ir_unit *unit);
void ir_unit_reset(struct ir_unit *unit, const struct ir_target *target, uint64_t pc);
void ir_unit_free(struct ir_unit *unit);

#endif
