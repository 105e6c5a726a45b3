/*
 * RISC-V vCPU state.
 *
 * Integer registers and f registers are globals of the translator (docs/ir.md); f registers hold
 * f64 bits, narrower values are NaN-boxed. The accrued exception flags are the union of `fflags`
 * (raised by integer routines) and, while generated code runs, of the host unit's sticky flags; the
 * host's rounding mode follows `frm`. load_fpu/save_fpu move them across the border.
 */
#ifndef TINAMOU_TARGET_RISCV_CPU_H
#define TINAMOU_TARGET_RISCV_CPU_H

#include "cpu/cpu.h"
#include "cpu/system.h"

/* Extensions as bits of a set; names and dependencies are in extensions.def. */
enum rv_ext {
#define RV_EXT(id, name, help) RV_EXT_##id,
#include "target/riscv/extensions.def"
#undef RV_EXT
    RV_EXT_COUNT,
    RV_EXT_FIRST_SYSTEM = RV_EXT_sm1p12, /* from here on of full-system emulation only */
};

struct rv_ext_set {
    uint64_t bits[2];
};

enum rv_priv { RV_PRIV_U = 0, RV_PRIV_S = 1, RV_PRIV_M = 3 };

/* Bits of cpu.mode. User mode has the first only. */
enum {
    RV_MODE_FRM_SOFT = 1,   /* frm is one the host has not (RMM) or reserved: dynamic rounding takes
                               the integer routines */
    RV_MODE_PRIV_SHIFT = 1, /* two bits: enum rv_priv */
    /* In U, where floating point matters, the mode word knows mstatus.FS: */
    RV_MODE_FS_OFF = 8,    /* floating point is illegal */
    RV_MODE_FS_CLEAN = 16, /* FS is Initial or Clean: who writes floating-point state makes it Dirty
                              first */
    /* In S and M, where operating systems switch it on and off all the time, units ask: */
    RV_MODE_FS_CHECK = 32,
    RV_MODE_FS = RV_MODE_FS_OFF | RV_MODE_FS_CLEAN | RV_MODE_FS_CHECK,
};

static inline enum rv_priv rv_mode_priv(uint64_t mode)
{
    return (enum rv_priv)(mode >> RV_MODE_PRIV_SHIFT & 3);
}

#define RV_PMP_ENTRIES 16 /* implemented, of the 64 that have CSR numbers */
#define RV_COUNTERS    32 /* cycle, time, instret, hpm3 to hpm31, by their numbers */

/* A counter that counts nanoseconds of the virtual clock while it runs, as one of 1 GHz. */
struct rv_counter {
    uint64_t value; /* at `since`, or for good */
    int64_t since;  /* on the virtual clock; -1: it stands still */
};

/*
 * What only full-system emulation has; all zero, and looked at by nobody, in user mode. CSRs are
 * kept as the guest reads them (with mstatus.SD and the fixed XL fields), so that generated code
 * reads and writes plain ones by itself; csrs.def says which.
 */
struct rv_system {
    struct cpu_system wiring;
    uint64_t frequency; /* of the time CSR, Hz: 10000000 unless the machine says otherwise */
    struct cpu_timebase *timebase; /* what it shows; NULL: the virtual clock as it is */
    struct cpu_timebase_user timebase_user;
    uint8_t priv;       /* enum rv_priv; the mode word repeats it */
    uint8_t misaligned; /* cause that an exit CPU_EXIT_MISALIGNED would have */
    uint8_t fault;      /* cause that translate_address() has failed with */
    uint64_t mstatus, misa, medeleg, mideleg, mie, mtvec, mcounteren, mcountinhibit;
    uint64_t mip; /* what software has written; the lines and timers are OR-ed in by rv_mip() */
    uint64_t mscratch, mepc, mcause, mtval, menvcfg, mseccfg;
    uint64_t stvec, scounteren, sscratch, sepc, scause, stval, satp, senvcfg;
    uint64_t stimecmp;
    struct cpu_timer *stimer; /* wakes the vCPU at stimecmp */
    _Atomic bool stimer_due;  /* it has fired */
    struct rv_counter counter[RV_COUNTERS];
    uint64_t mhpmevent[RV_COUNTERS];
    int64_t overflow;          /* when a counter will overflow next, on the virtual clock */
    struct cpu_timer *pmtimer; /* wakes the vCPU then */
    uint8_t pmpcfg[RV_PMP_ENTRIES];
    uint64_t pmpaddr[RV_PMP_ENTRIES];
    struct rv_pmp_range { /* what an entry covers, both ends included; empty if first > last */
        uint64_t first, last;
    } pmp[RV_PMP_ENTRIES];
    struct rv_pmp_answer {   /* given before, for one naturally aligned range */
        uint64_t base, size; /* size 0: none */
        uint8_t prot;
    } pmp_answer[2][4]; /* for S and U, for M; by low bits of the address in units of 256 MiB */
    char isa[1024];     /* saved and loaded: the model's extensions, NUL included */
    uint32_t isa_length;
};

struct riscv_cpu {
    struct cpu common;
    uint64_t x[32]; /* x[0] stays 0 */
    uint64_t f[32];
    uint64_t pc;
    uint32_t fflags;         /* NV 16, DZ 8, OF 4, UF 2, NX 1 */
    uint32_t frm;            /* 0..7 as last written */
    uint64_t reservation;    /* address of the last LR, + 2 if of a word; 1 if none */
    uint64_t reserved_value; /* what that LR read, sign-extended */
    struct rv_ext_set ext;
    struct rv_ext_set system_ext;  /* what ext becomes when a machine takes the vCPU */
    bool system;                   /* full-system emulation, see `sys` */
    uint64_t vdso_start, vdso_end; /* where the vDSO's own host-call instructions are legal */
    uint64_t instret_base;
    struct rv_system sys;
};

extern const struct cpu_target_ops riscv64_target_ops;

/* By the machine, after the wiring and before the vCPU runs: what the time CSR shows, and stimecmp
 * is compared with. */
void riscv_set_timebase(struct cpu *cpu, struct cpu_timebase *timebase);

/* What the vDSO's host-call instruction (custom-0, funct3 0, legal in vdso_start..vdso_end only)
 * does: number 0 clock_gettime, 1 gettimeofday, 2 clock_getres, 3 getcpu, with the guest's a0, a1,
 * a2. Returns what goes to a0, -errno included. It may fault on guest memory. Set by linux-user;
 * -ENOSYS while NULL. */
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
