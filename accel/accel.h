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

/* ---- full-system emulation --------------------------------------------------------------------
 */

struct mem_space;

struct accel_system_config {
    const char *options;      /* of -accel, behind the name: "tb-size=64,one-insn-per-tb=on" */
    struct mem_space *memory; /* of the machine; there may be others later */
    unsigned cpus;
};

/* An accelerator as the system emulator sees it. */
struct accel_system_ops {
    const char *name; /* as -accel has it */
    const char *help; /* one line */
    /* Once, before vCPUs are created. 0, or -errno with one line in error[]. */
    int (*init)(const struct accel_system_config *config, char *error, size_t error_size);
    /* A vCPU with its struct vcpu (accel/vcpu.h), powered on, thread not started; NULL when out of
     * memory. The caller sets the model and attaches the wiring (cpu/system.h). */
    struct cpu *(*cpu_create)(const struct cpu_target_ops *ops, unsigned index);
    /* vCPUs are stopped. */
    void (*cpu_destroy)(struct cpu *cpu);
    const struct cpu_service_ops *service;
    /* The interrupt controller in the kernel, NULL where there is none. */
    struct cpu_irqchip *(*irqchip)(void);
    /* For -d stats, at the end. May be NULL. */
    void (*print_stats)(void);
};

extern const struct accel_system_ops accel_system_tcg;

#endif
