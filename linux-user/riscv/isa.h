/*
 * What a vCPU's extensions look like to programs: the isa line of /proc/cpuinfo and the answers of
 * riscv_hwprobe.
 */
#ifndef TINAMOU_LINUX_USER_RISCV_ISA_H
#define TINAMOU_LINUX_USER_RISCV_ISA_H

#include <stddef.h>
#include "target/riscv/cpu.h"

/* "rv64imafdc_zicntr_...", cut to size. */
void riscv_isa_string(const struct rv_ext_set *set, char *text, size_t size);

#endif
