/*
 * What runs vCPUs: the translator (accel/tcg) or a host's virtual machine monitor (accel/kvm).
 * Whoever drives vCPUs knows an accelerator by this header alone.
 */
#ifndef TINAMOU_ACCEL_ACCEL_H
#define TINAMOU_ACCEL_ACCEL_H

#include "cpu/cpu.h"

struct accel_ops {
    const char *name;
    /* A zeroed vCPU of the given target with the accelerator's data attached, reset; NULL when out
     * of memory. */
    struct cpu *(*cpu_create)(const struct cpu_target_ops *ops);
    /* A second vCPU whose guest-visible state is a copy of `cpu` (clone, fork). */
    struct cpu *(*cpu_copy)(const struct cpu *cpu);
    void (*cpu_destroy)(struct cpu *cpu);
    /* Runs until there is something for the caller to do. The calling thread owns cpu. Guest
     * registers are in the state when it returns, and are taken from there when it is called. */
    enum cpu_exit (*cpu_run)(struct cpu *cpu);
};

extern const struct accel_ops accel_tcg;

#endif
