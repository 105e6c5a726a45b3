/*
 * The privileged architecture, as the files that implement it share it: trap.c (exceptions and
 * interrupts), csr.c (control and status registers), counter.c (counters and the stimecmp timer),
 * mmu.c and pmp.c (addresses), system.c (struct cpu_system_ops). All of it runs on the vCPU's
 * thread, for vCPUs with `system` set.
 */
#ifndef TINAMOU_TARGET_RISCV_PRIV_H
#define TINAMOU_TARGET_RISCV_PRIV_H

#include "target/riscv/cpu.h"

/* mstatus, and sstatus, which is a view of it. */
#define RV_MSTATUS_SIE      (UINT64_C(1) << 1)
#define RV_MSTATUS_MIE      (UINT64_C(1) << 3)
#define RV_MSTATUS_SPIE     (UINT64_C(1) << 5)
#define RV_MSTATUS_MPIE     (UINT64_C(1) << 7)
#define RV_MSTATUS_SPP      (UINT64_C(1) << 8)
#define RV_MSTATUS_MPP      (UINT64_C(3) << 11)
#define RV_MSTATUS_FS       (UINT64_C(3) << 13)
#define RV_MSTATUS_MPRV     (UINT64_C(1) << 17)
#define RV_MSTATUS_SUM      (UINT64_C(1) << 18)
#define RV_MSTATUS_MXR      (UINT64_C(1) << 19)
#define RV_MSTATUS_TVM      (UINT64_C(1) << 20)
#define RV_MSTATUS_TW       (UINT64_C(1) << 21)
#define RV_MSTATUS_TSR      (UINT64_C(1) << 22)
#define RV_MSTATUS_UXL      (UINT64_C(3) << 32)
#define RV_MSTATUS_SXL      (UINT64_C(3) << 34)
#define RV_MSTATUS_XL64     (UINT64_C(2) << 32 | UINT64_C(2) << 34)
#define RV_MSTATUS_SD       (UINT64_C(1) << 63)
#define RV_MSTATUS_FS_SHIFT 13

/* What sstatus shows, and what may be written through it. */
#define RV_SSTATUS_WRITES                                                                 \
    (RV_MSTATUS_SIE | RV_MSTATUS_SPIE | RV_MSTATUS_SPP | RV_MSTATUS_FS | RV_MSTATUS_SUM | \
     RV_MSTATUS_MXR)
#define RV_SSTATUS_READS (RV_SSTATUS_WRITES | RV_MSTATUS_UXL | RV_MSTATUS_SD)

#define RV_MSTATUS_WRITES                                                                      \
    (RV_SSTATUS_WRITES | RV_MSTATUS_MIE | RV_MSTATUS_MPIE | RV_MSTATUS_MPP | RV_MSTATUS_MPRV | \
     RV_MSTATUS_TVM | RV_MSTATUS_TW | RV_MSTATUS_TSR)

/* Writes of these need a look at what they bring about; of the first two only if they set. */
#define RV_MSTATUS_ENABLES (RV_MSTATUS_SIE | RV_MSTATUS_MIE)
#define RV_MSTATUS_LOOK \
    (RV_MSTATUS_ENABLES | RV_MSTATUS_SUM | RV_MSTATUS_MXR | RV_MSTATUS_MPRV | RV_MSTATUS_MPP)

/* Interrupts, by number. */
enum {
    RV_IRQ_SSI = 1,
    RV_IRQ_MSI = 3,
    RV_IRQ_STI = 5,
    RV_IRQ_MTI = 7,
    RV_IRQ_SEI = 9,
    RV_IRQ_MEI = 11,
    RV_IRQ_LCOFI = 13,
};
#define RV_IRQ_BIT(n) (UINT64_C(1) << (n))

/* Exceptions, by number. */
enum {
    RV_CAUSE_FETCH_MISALIGNED = 0,
    RV_CAUSE_FETCH_ACCESS = 1,
    RV_CAUSE_ILLEGAL = 2,
    RV_CAUSE_BREAKPOINT = 3,
    RV_CAUSE_LOAD_MISALIGNED = 4,
    RV_CAUSE_LOAD_ACCESS = 5,
    RV_CAUSE_STORE_MISALIGNED = 6,
    RV_CAUSE_STORE_ACCESS = 7,
    RV_CAUSE_ECALL = 8, /* from U; + the privilege */
    RV_CAUSE_FETCH_PAGE = 12,
    RV_CAUSE_LOAD_PAGE = 13,
    RV_CAUSE_STORE_PAGE = 15,
};

#define RV_ENVCFG_FIOM  (UINT64_C(1) << 0)
#define RV_ENVCFG_CBIE  (UINT64_C(3) << 4)
#define RV_ENVCFG_CBCFE (UINT64_C(1) << 6)
#define RV_ENVCFG_CBZE  (UINT64_C(1) << 7)
#define RV_ENVCFG_ADUE  (UINT64_C(1) << 61)
#define RV_ENVCFG_PBMTE (UINT64_C(1) << 62)
#define RV_ENVCFG_STCE  (UINT64_C(1) << 63)

#define RV_MSECCFG_MML  1
#define RV_MSECCFG_MMWP 2
#define RV_MSECCFG_RLB  4

/* satp */
enum { RV_SATP_BARE = 0, RV_SATP_SV39 = 8, RV_SATP_SV48 = 9, RV_SATP_SV57 = 10 };
#define RV_SATP_MODE(satp) ((unsigned)((satp) >> 60))
#define RV_SATP_ASID(satp) ((uint32_t)((satp) >> 44 & 0xffff))
#define RV_SATP_PPN(satp)  ((satp) & ((UINT64_C(1) << 44) - 1))

/* The lines that lead to bits of mip. */
#define RV_IRQ_LINES                                                            \
    (RV_IRQ_BIT(RV_IRQ_SSI) | RV_IRQ_BIT(RV_IRQ_MSI) | RV_IRQ_BIT(RV_IRQ_MTI) | \
     RV_IRQ_BIT(RV_IRQ_SEI) | RV_IRQ_BIT(RV_IRQ_MEI))

/* Counters that mcounteren can show: all that exist. */
#define RV_HPM_MASK         UINT32_C(0x0007fff8) /* 16 of 29, as QEMU's pmu-mask */
#define RV_COUNTEREN_WRITES (RV_HPM_MASK | 7)

#define RV_SENVCFG_WRITES (RV_ENVCFG_FIOM | RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE)

/* Exceptions that medeleg can delegate: all but ecall from M, and what there is not. */
#define RV_MEDELEG_WRITES UINT64_C(0xb3ff)

/* ---- csr.c ---- */

/* The interrupts of supervisor level that this vCPU has. */
uint64_t rv_supervisor_irqs(const struct riscv_cpu *rv);
/* What can be written of registers, where that depends on the extensions. */
uint64_t rv_mie_writes(const struct riscv_cpu *rv);
uint64_t rv_menvcfg_writes(const struct riscv_cpu *rv);

/* ---- trap.c ---- */

/* The mode word, after a change of privilege, mstatus.FS or frm. */
void rv_mode_update(struct riscv_cpu *rv);

/* mip as the guest reads it. */
uint64_t rv_mip(struct riscv_cpu *rv);

/* Whether an interrupt would be taken now. */
bool rv_interrupt_pending(struct riscv_cpu *rv);

/* Takes a trap at the pc in the state. */
void rv_trap(struct riscv_cpu *rv, unsigned cause, bool interrupt, uint64_t tval);

/* Return from traps: sets privilege, mstatus and the mode word, and gives the pc to go on at. */
uint64_t rv_mret(struct riscv_cpu *rv);
uint64_t rv_sret(struct riscv_cpu *rv);

void rv_raise_memory(struct cpu *cpu, uint64_t address, enum cpu_access access,
                     enum cpu_bus_error error);
void rv_raise_exit(struct cpu *cpu, enum cpu_exit reason);
bool rv_take_interrupt(struct cpu *cpu);
bool rv_has_work(struct cpu *cpu);

/* ---- mmu.c ---- */

void rv_spaces(const struct cpu *cpu, struct cpu_space_key *data, struct cpu_space_key *code);
int rv_translate_address(struct cpu *cpu, uint64_t address, unsigned size, enum cpu_access access,
                         struct cpu_translation *result);
int rv_debug_address(struct cpu *cpu, uint64_t address, struct cpu_translation *result);

/* Whether the vCPU has this mode of satp. */
bool rv_satp_mode_known(const struct riscv_cpu *rv, unsigned mode);

/* sfence.vma: by the values of rs1 and rs2, where they are not x0. */
void rv_sfence(struct riscv_cpu *rv, bool one_address, uint64_t address, bool one_asid,
               uint64_t asid);

/* Forgets all translations of addresses, when what they depend on has changed otherwise. */
void rv_flush_all(struct riscv_cpu *rv);

/* ---- pmp.c ---- */

/*
 * What `priv` may do with physical addresses [gpa, gpa + size), size not 0: CPU_PROT_*; 0 when
 * entries cover it in parts. *range is the size of the largest naturally aligned range around gpa
 * that has the same answer throughout, a power of two, at most `limit`.
 */
unsigned rv_pmp_check(struct riscv_cpu *rv, uint64_t gpa, unsigned size, enum rv_priv priv,
                      uint64_t limit, uint64_t *range);

/* Writes of pmpcfgN (eight entries from `first` on), pmpaddrN and mseccfg. True if something has
 * changed. */
bool rv_pmp_write_cfg(struct riscv_cpu *rv, unsigned first, uint64_t value, uint64_t mask);
bool rv_pmp_write_addr(struct riscv_cpu *rv, unsigned n, uint64_t value, uint64_t mask);
bool rv_pmp_write_mseccfg(struct riscv_cpu *rv, uint64_t value, uint64_t mask);

/* Whether the entries, and mseccfg, are such as can be written. */
bool rv_pmp_is_legal(const struct riscv_cpu *rv);

/* After reset or whenever the entries were set otherwise. */
void rv_pmp_reset(struct riscv_cpu *rv);

/* ---- counter.c ---- */

int64_t rv_now(const struct riscv_cpu *rv); /* virtual clock, ns */
uint64_t rv_time(const struct riscv_cpu *rv);
/* Writes of stimecmp, or of menvcfg.STCE: the timer follows. */
void rv_stimecmp_changed(struct riscv_cpu *rv);
/* Whether stimecmp has been reached. */
bool rv_stimecmp_pending(const struct riscv_cpu *rv);
/* The same for the run loop, which asks often: the clock is read only when the timer has fired. */
bool rv_stimer_interrupts(struct riscv_cpu *rv);

/* Bits of the counters that exist: cycle, instret and hpm ones. */
uint32_t rv_counters_available(const struct riscv_cpu *rv);
uint64_t rv_counter_read(const struct riscv_cpu *rv, unsigned n);
void rv_counter_write(struct riscv_cpu *rv, unsigned n, uint64_t value);
void rv_countinhibit_write(struct riscv_cpu *rv, uint64_t value);
uint64_t rv_hpmevent_writes(const struct riscv_cpu *rv, unsigned n); /* its writable bits */
void rv_hpmevent_write(struct riscv_cpu *rv, unsigned n, uint64_t value);
/* Sets mip.LCOFIP and the OF bits of counters that have overflowed since. */
void rv_counters_poll(struct riscv_cpu *rv);

/* When the timer, or an overflow that is enabled, wants the vCPU next. */
int64_t rv_deadline(struct cpu *cpu);

/* Around saved state: has all counters count on from now; and does so with values that were loaded,
 * after which timers follow. */
void rv_counters_restart(struct riscv_cpu *rv);
void rv_counters_loaded(struct riscv_cpu *rv);

/* attach() and reset() of the timers and counters. */
int rv_counters_attach(struct riscv_cpu *rv);
void rv_counters_reset(struct riscv_cpu *rv);

/* ---- system.c ---- */

extern const struct cpu_system_ops riscv_system_ops;
uint64_t rv_status_reset(const struct riscv_cpu *rv); /* mstatus in reset */

/* ---- state.c ---- */

extern const struct state_table riscv_state; /* of struct riscv_cpu */

#endif
