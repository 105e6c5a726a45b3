/*
 * What the two halves of the verifier share. Everybody else uses jit/ir/verify.h.
 */
#ifndef TINAMOU_JIT_IR_VERIFY_FLOW_H
#define TINAMOU_JIT_IR_VERIFY_FLOW_H

#include "jit/ir/ir.h"
#include "util/arena.h"

#define IR_GLOBAL_WORDS (IR_MAX_GLOBALS / 64)

/* Where an op stands; position 0: in no block. */
struct ir_place {
    uint32_t block;
    uint32_t position;
};

/* What is known of the globals at some place, over all paths that lead there. */
struct ir_flow {
    uint64_t dirty[IR_GLOBAL_WORDS];  /* set since the entry, on some path */
    uint64_t unsafe[IR_GLOBAL_WORDS]; /* the last set was to a value the guest may not see */
    bool insn;                        /* an insn precedes, on every path */
};

struct ir_vblock {
    uint32_t preds;
    bool reachable;
    bool visited;   /* out has been computed */
    uint32_t order; /* in reverse postorder */
    uint32_t idom;  /* immediate dominator; of the entry: itself */
    struct ir_flow out;
};

struct ir_verifier {
    const struct ir_unit *unit;
    void (*report)(void *opaque, ir_ref op, const char *text);
    void *opaque;
    unsigned violations;
    struct arena arena;
    struct ir_place *places; /* by ref */
    struct ir_vblock *blocks;
    uint32_t *order; /* reachable blocks in reverse postorder */
    uint32_t order_count;
    uint32_t *pred_first; /* by block: index into pred_list; one more than there are blocks */
    uint32_t *pred_list;  /* an entry an edge, reachable or not */
};

__attribute__((format(printf, 3, 4))) void ir_verify_fail(struct ir_verifier *v, ir_ref op,
                                                          const char *fmt, ...);

/* Blocks that may follow b; returns how many. */
unsigned ir_verify_successors(const struct ir_unit *unit, uint32_t b, uint32_t successors[2]);

/* Computes predecessors, reachability, order and dominators. False: no memory, reported. */
bool ir_verify_order(struct ir_verifier *v);

/* Does every path from the entry to block b lead through block a? Both are reachable or the answer
 * is false. */
bool ir_verify_dominates(const struct ir_verifier *v, uint32_t a, uint32_t b);

/* Rules 6, 7, 8 and the second half of 10. */
void ir_verify_globals(struct ir_verifier *v);

#endif
