/*
 * RISC-V vCPU state.
 *
 * Integer registers and f registers are globals of the translator (docs/ir.md); f registers hold f64 bits, narrower
 * values are NaN-boxed. The accrued exception flags are the union of `fflags` (raised by integer routines) and, while
 * generated code runs, of the host unit's sticky flags; the host's rounding mode follows `frm`. load_fpu/save_fpu move
 * them across the border.
 */
#ifndef TINAMOU_TARGET_RISCV_CPU_H
#define TINAMOU_TARGET_RISCV_CPU_H

#include "cpu/cpu.h"

/* Extensions as bits of a set; names and dependencies are in extensions.def. */
enum rv_ext {
#define RV_EXT(id, name, help) RV_EXT_##id,
#include "target/riscv/extensions.def"
#undef RV_EXT
    RV_EXT_COUNT
};

struct rv_ext_set {
    uint64_t bits[2];
};

/* Bits of cpu.mode. */
enum {
    RV_MODE_FRM_SOFT = 1, /* frm is one the host has not (RMM) or reserved: dynamic rounding takes the integer routines */
};

struct riscv_cpu {
    struct cpu common;
    uint64_t x[32];           /* x[0] stays 0 */
    uint64_t f[32];
    uint64_t pc;
    uint32_t fflags;          /* NV 16, DZ 8, OF 4, UF 2, NX 1 */
    uint32_t frm;             /* 0..7 as last written */
    uint64_t reservation;     /* address of the last LR, + 2 if of a word; 1 if none */
    uint64_t reserved_value;  /* what that LR read, sign-extended */
    struct rv_ext_set ext;
    uint64_t vdso_start, vdso_end; /* where the vDSO's own host-call instructions are legal */
    uint64_t instret_base;
};

extern const struct cpu_target_ops riscv64_target_ops;

/* What the vDSO's host-call instruction (custom-0, funct3 0, legal in vdso_start..vdso_end only) does:
 * number 0 clock_gettime, 1 gettimeofday, 2 clock_getres, 3 getcpu, with the guest's a0, a1, a2. Returns
 * what goes to a0, -errno included. It may fault on guest memory. Set by linux-user; -ENOSYS while NULL. */
extern int64_t (*riscv_vdso_call)(struct cpu *cpu, unsigned number, uint64_t a0, uint64_t a1,
                                  uint64_t a2);

static inline struct riscv_cpu *riscv_cpu(struct cpu *cpu)
{
    return (struct riscv_cpu *)cpu;
}

static inline bool rv_has(const struct rv_ext_set *set, enum rv_ext ext)
{
    return set->bits[ext / 64] >> (ext % 64) & 1;
}

#endif
