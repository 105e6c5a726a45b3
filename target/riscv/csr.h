/*
 * Control and status registers of full-system emulation: the table of csrs.def. The translator
 * looks a register up once and checks what it knows then (number, privilege, extension); what it
 * can't know it checks in generated code, by the gate. Plain registers are accessed there too, the
 * others by the functions below.
 */
#ifndef TINAMOU_TARGET_RISCV_CSR_H
#define TINAMOU_TARGET_RISCV_CSR_H

#include <stddef.h>
#include "target/riscv/cpu.h"

enum rv_gate {
    RV_GATE_NONE,
    RV_GATE_COUNTER, /* below M, mcounteren's bit of the number's low five; in U scounteren's too */
    RV_GATE_TVM,     /* in S, mstatus.TVM is clear */
    RV_GATE_STCE,    /* below M, menvcfg.STCE and mcounteren.TM are set */
};

enum rv_csr_kind { RV_CSR_PLAIN, RV_CSR_STATUS, RV_CSR_CALL };

struct rv_csr {
    char name[14];
    uint16_t number;
    uint8_t ext;            /* enum rv_ext */
    uint8_t gate;           /* enum rv_gate */
    uint8_t kind;           /* enum rv_csr_kind */
    uint8_t read, write;    /* the functions, numbered in csr.c */
    uint32_t offset;        /* plain, status: of the field in struct riscv_cpu */
    uint64_t reads, writes; /* likewise, masks */
};

/* NULL if there is none of this number, whatever the extensions. */
const struct rv_csr *rv_csr_find(unsigned number);

/* The bits of a plain or status register that this vCPU lets be written. */
uint64_t rv_csr_writable(const struct riscv_cpu *rv, const struct rv_csr *csr);

/*
 * Reads, and writes the bits of `mask`, without checks of privilege and gate. Writing returns true
 * when the unit must be left with CPU_EXIT_MODE: the mode word or the address spaces have changed,
 * or an interrupt is to be taken now.
 */
uint64_t rv_csr_read(struct riscv_cpu *rv, const struct rv_csr *csr);
bool rv_csr_write(struct riscv_cpu *rv, const struct rv_csr *csr, uint64_t value, uint64_t mask);

/* The second half of a write of mstatus or sstatus: `value`, which differs from `old` in writable
 * bits only, made legal. Returns as rv_csr_write(). */
bool rv_status_write(struct riscv_cpu *rv, uint64_t old, uint64_t value);

#endif
