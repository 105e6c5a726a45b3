/*
 * Helpers of the privileged architecture, for generated code; their rows say IR_H_FP.
 */
#ifndef TINAMOU_TARGET_RISCV_HELPER_PRIV_H
#define TINAMOU_TARGET_RISCV_HELPER_PRIV_H

#include <stdint.h>

struct riscv_cpu;

/* rv_csr_read() and rv_csr_write() of csr.h, by number. */
uint64_t rv_helper_csr_read(struct riscv_cpu *cpu, uint64_t number);
uint64_t rv_helper_csr_write(struct riscv_cpu *cpu, uint64_t number, uint64_t value, uint64_t mask);
/* rv_status_write(). */
uint64_t rv_helper_status_write(struct riscv_cpu *cpu, uint64_t old, uint64_t value);
/* The pc to go on at. */
uint64_t rv_helper_mret(struct riscv_cpu *cpu);
uint64_t rv_helper_sret(struct riscv_cpu *cpu);
/* Takes a store's exception where neither a load nor a store is allowed. */
void rv_helper_cbo_touch(struct riscv_cpu *cpu, uint64_t address);
/* which: bit 0 one address, bit 1 one address space. */
void rv_helper_sfence(struct riscv_cpu *cpu, uint64_t address, uint64_t asid, uint64_t which);

#endif
