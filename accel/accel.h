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

/* What a vCPU comes upon that is the business of the whole machine. */
enum accel_event {
    ACCEL_EVENT_RESET,          /* it has shut down (x86: triple fault), or asks for it */
    ACCEL_EVENT_POWER_OFF,      /* asked for through the accelerator */
    ACCEL_EVENT_CRASH,          /* the guest says that it has crashed */
    ACCEL_EVENT_DEBUG,          /* a breakpoint, a watchpoint, or a single step (cpu_service_ops.
                                   debug_stop) */
    ACCEL_EVENT_INTERNAL_ERROR, /* the accelerator cannot go on with it */
};

struct accel_system_config {
    const char *options;      /* of -accel, behind the name: "tb-size=64,one-insn-per-tb=on" */
    struct mem_space *memory; /* of the machine; there may be others later */
    struct mem_space *io;     /* I/O ports; empty where the processor has none */
    /* "on", "off" or "split" by the machine's options, which `options` overrides; NULL: not said */
    const char *kernel_irqchip;
    unsigned cpus, max_cpus;
    /* Called on the vCPU's thread, without locks; the vCPU does not run on before it was paused and
     * resumed, or reset. */
    void (*event)(enum accel_event event, struct cpu *cpu);
    /* The machine lock, which is recursive: deferred writes are delivered to devices under it.
     * NULL: none are deferred. */
    void (*lock)(void);
    void (*unlock)(void);
};

/* An accelerator as the system emulator sees it. */
struct accel_system_ops {
    const char *name; /* as -accel has it */
    const char *help; /* one line */
    /* Once, before vCPUs are created. 0, or -errno with one line in error[]. */
    int (*init)(const struct accel_system_config *config, char *error, size_t error_size);
    /* A vCPU with its struct vcpu (accel/vcpu.h), powered on, thread not started; NULL when out of
     * memory. `id` is cpu_system.hart, which need not be its index. The caller sets the model and
     * attaches the wiring (cpu/system.h). */
    struct cpu *(*cpu_create)(const struct cpu_target_ops *ops, unsigned index, uint32_t id);
    /* vCPUs are stopped. */
    void (*cpu_destroy)(struct cpu *cpu);
    const struct cpu_service_ops *service;
    /* The interrupt controller in the kernel, NULL where there is none. After init. */
    struct cpu_irqchip *(*irqchip)(void);
    /* For -d stats, at the end. May be NULL. */
    void (*print_stats)(void);
    /* The guest's notifications signal descriptors while it runs, so waking whoever waits for them
     * is most of what they cost it (loop_set_look()). */
    bool signals_from_guest;
};

extern const struct accel_system_ops accel_system_tcg, accel_system_kvm;

#endif
