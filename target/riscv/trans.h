/*
 * What the files of the translator share. A translate function writes the IR of one instruction; it
 * gets the operands from the decoder and everything else from struct rv_trans. It may end the unit.
 *
 * An encoding that turns out to be reserved is handed to rv_trans_illegal() before anything was
 * set.
 */
#ifndef TINAMOU_TARGET_RISCV_TRANS_H
#define TINAMOU_TARGET_RISCV_TRANS_H

#include "cpu/cpu.h"
#include "jit/ir/build.h"
#include "target/riscv/cpu.h"
#include "target/riscv/decode.h"

struct rv_trans {
    struct ir_builder *b;
    const struct riscv_cpu *cpu; /* for its extensions */
    uint64_t pc, next;           /* of this instruction, of the one behind it */
    uint64_t mode;               /* the mode word that the unit is for */
    bool go_on;                  /* a forward branch need not end the unit */
    bool fs_on, fs_dirty;        /* with RV_MODE_FS_CHECK: this has been seen to earlier */
    /* A comparison that must raise no flag is compiled to frflags, flt or fle, fsflags. Reading the
     * host's flags waits for all arithmetic, so once must do: what the first two have done. */
    struct rv_quiet {
        ir_ref flags;  /* what frflags has read; IR_NONE outside such a sequence */
        ir_ref a, c;   /* what was compared since, if anything */
        uint64_t next; /* the pc at which the sequence goes on */
    } quiet;
};

/* The instruction was frflags with this result, or a comparison of two host values. */
void rv_quiet_begin(struct rv_trans *t, ir_ref flags);
void rv_quiet_compare(struct rv_trans *t, ir_ref a, ir_ref c);

/* Translates one unit; see struct cpu_target_ops. */
void rv_translate(struct ir_builder *b, struct cpu_translate *request);

/* Numbers of the globals: x1..x31, f0..f31. */
enum { RV_GLOBAL_X1 = 0, RV_GLOBAL_F0 = 31, RV_GLOBAL_COUNT = 63 };

static inline unsigned rv_global_f(unsigned n)
{
    return RV_GLOBAL_F0 + n;
}

/* x registers; x0 reads as 0 and swallows writes. */
static inline ir_ref rv_get_x(struct rv_trans *t, unsigned n)
{
    return n ? ir_get(t->b, RV_GLOBAL_X1 + n - 1) : ir_i64(t->b, 0);
}

static inline void rv_set_x(struct rv_trans *t, unsigned n, ir_ref value)
{
    if (n) {
        ir_set(t->b, RV_GLOBAL_X1 + n - 1, value);
    }
}

/* Ends the unit with an illegal-instruction exit. */
rv_trans_fn rv_trans_illegal;

/* Leaves with CPU_EXIT_ILLEGAL if a cc c. */
void rv_trans_illegal_if(struct rv_trans *t, const struct rv_insn *insn, enum ir_cc cc, ir_ref a,
                         ir_ref c);

/* Leaves with CPU_EXIT_MISALIGNED if addr is no multiple of size, a power of two; cause is that of
 * the exception (RV_CAUSE_*, priv.h). */
void rv_trans_check_aligned(struct rv_trans *t, ir_ref addr, unsigned size, unsigned cause);

/* What an exit CPU_EXIT_MISALIGNED from here on would be; nothing in user mode. */
void rv_trans_misaligned_cause(struct rv_trans *t, unsigned cause);

/* ---- full-system emulation, trans-priv.c ---- */

/*
 * For a mode word with one of RV_MODE_FS: an instruction that uses floating-point state, and may
 * change it if `writes`. True if it is done with: illegal, or to be executed again after FS was
 * made Dirty.
 */
bool rv_trans_fs_gate(struct rv_trans *t, const struct rv_insn *i, bool writes);
/* The same for any instruction; most do not use it. */
bool rv_trans_fp_gate(struct rv_trans *t, const struct rv_insn *i);

/* Illegal unless the bits of menvcfg, and of senvcfg where it counts, allow the instruction. */
void rv_trans_cbo_gate(struct rv_trans *t, const struct rv_insn *i, uint64_t bits);

/* An instruction on any CSR but those of floating point. */
void rv_trans_system_csr(struct rv_trans *t, const struct rv_insn *i, ir_ref operand);

/* frm := the i64 value (0..7). May end the unit: the caller has set rd already. */
void rv_trans_set_frm(struct rv_trans *t, ir_ref frm);

/* Formats of floating point as bits 26:25 of an encoding have them; arguments of some rows. */
enum rv_fp { RV_FP_S, RV_FP_D, RV_FP_H };

/* Integers that floating point is converted from and to; arguments of rows. */
enum rv_int { RV_INT_W, RV_INT_WU, RV_INT_L, RV_INT_LU };

/* What a CSR instruction does with its operand; arguments of rows. */
enum rv_csr_op { RV_CSR_WRITE, RV_CSR_SET, RV_CSR_CLEAR };

/* The functions that rows name, each in the trans-*.c of its class. */
#define INSN(name, pattern, format, ext, fn, arg) rv_trans_fn rv_trans_##fn;
#include "target/riscv/insns.def"
#undef INSN

#endif
