/*
 * Helpers that use host services. They may use the host's floating-point registers, and their rows
 * say IR_H_FP.
 */
#ifndef TINAMOU_TARGET_RISCV_HELPER_HOST_H
#define TINAMOU_TARGET_RISCV_HELPER_HOST_H

#include <stdint.h>

struct riscv_cpu;

/* time: ticks of 100 ns. */
uint64_t rv_helper_rdtime(void);

uint64_t rv_helper_vdso_call(struct riscv_cpu *cpu, uint64_t number, uint64_t a0, uint64_t a1,
                             uint64_t a2);

#endif
