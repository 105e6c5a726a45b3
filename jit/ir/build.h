/*
 * The builder: how a front end writes a unit.
 *
 * Ops are appended to the current block. Each is folded, and merged with an equal earlier one, as
 * it goes (jit/opt/fold.c, jit/opt/cse.c), so the ref returned may name an existing value. Guest
 * registers are read and written by ir_get() and ir_set(); the builder keeps the current value of
 * each, makes floating-point values visible-safe before exits, and forgets what a helper may have
 * changed.
 *
 * Within tier 1 a unit is an extended basic block: the main line, and side blocks that leave the
 * unit. ir_side_exit() makes such a block in one call. The general form (ir_block_new(),
 * ir_block_set(), ir_jump(), ir_br()) is for regions: a block with several predecessors starts with
 * no known globals but those bound by its parameters; clean ones are read anew by ir_get().
 *
 * Widths: an i32 value is 32 bits with no promise about what lies above; use ir_sext()/ir_zext().
 */
#ifndef TINAMOU_JIT_IR_BUILD_H
#define TINAMOU_JIT_IR_BUILD_H

#include "jit/ir/ir.h"

/* Optimisations that can be switched off by name (jit/opt/options.h lists them). */
struct jit_options;

#define IR_CSE_SLOTS 256

struct ir_builder {
    struct ir_unit *unit;
    const struct jit_options *options;
    uint32_t block;                      /* where ops are appended */
    bool done;                           /* the current block has its terminator */
    ir_ref global[IR_MAX_GLOBALS];       /* current value, IR_NONE if not known here */
    uint64_t dirty[IR_MAX_GLOBALS / 64]; /* differs from its value at the entry of the unit */
    uint64_t insn_pc;                    /* of the current guest instruction */
    ir_ref cse[IR_CSE_SLOTS];            /* by hash; what is older than the epoch is not visible */
    uint32_t epoch;                      /* a ref: ops before it are not merged with */
    uint32_t fp_epoch;                   /* likewise for ops that raise flags */
};

/* Starts a unit at guest address pc: block 0 is current and empty. */
void ir_build_begin(struct ir_builder *b, struct ir_unit *unit, const struct jit_options *options,
                    const struct ir_target *target, uint64_t pc);

/* Whether arithmetic may run on the host's floating-point unit (option hostfp); if not, the front
 * end calls its integer routines. */
bool ir_build_hostfp(const struct ir_builder *b);

/* A guest instruction of `length` bytes at pc starts; every fault until the next reports this pc.
 */
void ir_insn(struct ir_builder *b, uint64_t pc, unsigned length);

/* Constants. */
ir_ref ir_i64(struct ir_builder *b, int64_t value);
ir_ref ir_i32(struct ir_builder *b, int32_t value);
/* From the bits: f32 in the low half, f64. */
ir_ref ir_fconst(struct ir_builder *b, enum ir_type type, uint64_t bits);
/* Whether ref is a constant, and its value (i32 sign-extended). */
bool ir_is_const(const struct ir_builder *b, ir_ref ref, int64_t *value);
enum ir_type ir_type_of(const struct ir_builder *b, ir_ref ref);

/* Guest registers. ir_set() of an f64 global takes an f64, or an f32 that it will be NaN-boxed
 * from. */
ir_ref ir_get(struct ir_builder *b, unsigned global);
void ir_set(struct ir_builder *b, unsigned global, ir_ref value);

/* Any op of one, two or three value arguments without cc, aux or imm; result type as given. */
ir_ref ir_op1(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a);
ir_ref ir_op2(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a, ir_ref c);
ir_ref ir_op3(struct ir_builder *b, enum ir_opcode op, enum ir_type type, ir_ref a, ir_ref c,
              ir_ref d);

/* op(a, c) of the type of a: add, sub, and, shl, fadd, … */
ir_ref ir_bin(struct ir_builder *b, enum ir_opcode op, ir_ref a, ir_ref c);
/* op(a, constant) of the type of a. */
ir_ref ir_bini(struct ir_builder *b, enum ir_opcode op, ir_ref a, int64_t c);
/* op(a) of the type of a: clz, bswap, sext8, fneg, fsqrt, … */
ir_ref ir_un(struct ir_builder *b, enum ir_opcode op, ir_ref a);

ir_ref ir_trunc(struct ir_builder *b, ir_ref a); /* i64 -> i32 */
ir_ref ir_sext(struct ir_builder *b, ir_ref a);  /* i32 -> i64 */
ir_ref ir_zext(struct ir_builder *b, ir_ref a);  /* i32 -> i64 */
ir_ref ir_icmp(struct ir_builder *b, enum ir_cc cc, enum ir_type type, ir_ref a, ir_ref c);
ir_ref ir_select(struct ir_builder *b, ir_ref cond, ir_ref a, ir_ref c);
ir_ref ir_bitcast(struct ir_builder *b, enum ir_type type, ir_ref a);

/* Memory at base + offset (offset fits 32 bits, signed). mem: enum ir_mem, loads may add IR_MS. */
ir_ref ir_load(struct ir_builder *b, enum ir_type type, unsigned mem, ir_ref base, int64_t offset);
void ir_store(struct ir_builder *b, unsigned mem, ir_ref base, int64_t offset, ir_ref value);
ir_ref ir_amo(struct ir_builder *b, enum ir_amo op, enum ir_type type, unsigned mem, ir_ref addr,
              ir_ref value);
ir_ref ir_cas(struct ir_builder *b, enum ir_type type, unsigned mem, ir_ref addr, ir_ref expected,
              ir_ref desired);
void ir_fence(struct ir_builder *b, bool full);

/* Fields of the vCPU state that are no globals. */
ir_ref ir_cpu_load(struct ir_builder *b, enum ir_type type, unsigned mem, uint32_t offset);
void ir_cpu_store(struct ir_builder *b, unsigned mem, uint32_t offset, ir_ref value);

/* Floating point that needs more than two operands. */
ir_ref ir_fma(struct ir_builder *b, unsigned aux, ir_ref x, ir_ref y, ir_ref z);
ir_ref ir_fcmp(struct ir_builder *b, enum ir_fcc cc, ir_ref a, ir_ref c); /* i64 */
ir_ref ir_f2i(struct ir_builder *b, enum ir_type type, ir_ref a, bool towards_zero);
/* The value as the guest may see it: canonical; boxed if it is f32 and type is f64. */
ir_ref ir_fvisible(struct ir_builder *b, enum ir_type type, ir_ref a);
ir_ref ir_fflags_get(struct ir_builder *b);
void ir_fflags_set(struct ir_builder *b, ir_ref flags);
void ir_frm_set(struct ir_builder *b, ir_ref rm);

/* Calls helper number `helper` of the target. The result, or IR_NONE if it has none. */
ir_ref ir_call(struct ir_builder *b, unsigned helper, unsigned nargs, const ir_ref *args);
/* x cc y ? helper(args) : otherwise, the call out of line. The helper must be free of
 * IR_H_READS_STATE, IR_H_WRITES_STATE and IR_H_MEMORY. */
ir_ref ir_call_if(struct ir_builder *b, enum ir_cc cc, ir_ref x, ir_ref y, ir_ref otherwise,
                  unsigned helper, unsigned nargs, const ir_ref *args);

/* Blocks. A block that has several predecessors takes parameters; each may bind a global. */
uint32_t ir_block_new(struct ir_builder *b, bool cold);
/* Continues in an empty block. Its known globals: those of its only predecessor, which must have
 * ended already and be the block that was current last; or, after parameters were added, just those
 * bound. */
void ir_block_set(struct ir_builder *b, uint32_t block);
ir_ref ir_block_param(struct ir_builder *b, enum ir_type type, unsigned global);
void ir_jump(struct ir_builder *b, uint32_t block, unsigned nargs, const ir_ref *args);
void ir_br(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint32_t yes, uint32_t no);

/* If a cc c, leaves the unit for pc out of line; building goes on in the main line. */
void ir_side_exit(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint64_t pc);
/* Likewise, to the run loop. */
void ir_side_exit_loop(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, unsigned reason,
                       uint64_t pc);

/* Ends of the unit. A target pc at or before the unit's own is a back edge and polls for exits. */
void ir_exit_jump(struct ir_builder *b, uint64_t pc);
void ir_exit_br(struct ir_builder *b, enum ir_cc cc, ir_ref a, ir_ref c, uint64_t yes, uint64_t no);
void ir_exit_lookup(struct ir_builder *b, ir_ref pc);
void ir_exit_call(struct ir_builder *b, uint64_t pc, uint64_t return_pc);
void ir_exit_call_indirect(struct ir_builder *b, ir_ref pc, uint64_t return_pc);
void ir_exit_ret(struct ir_builder *b, ir_ref pc);
/* To the run loop with reason and pc; the reasons are those of cpu/cpu.h, unknown to the IR. */
void ir_exit_loop(struct ir_builder *b, unsigned reason, uint64_t pc);
/* The same with a pc that is known at run time only. */
void ir_exit_loop_at(struct ir_builder *b, unsigned reason, ir_ref pc);

/* How many ops the unit has; front ends bound the size of a unit by it. */
static inline unsigned ir_build_size(const struct ir_builder *b)
{
    return b->unit->ins_count;
}

#endif
