/*
 * What a target adds for full-system emulation: address translation, traps, interrupts. An
 * accelerator that translates code (accel/tcg) drives a vCPU through this table; one that has the
 * guest run on the host's CPU (accel/kvm) does not need it, but debuggers and monitors walk page
 * tables with it under both.
 *
 * Everything here is called on the vCPU's thread, outside of generated code or from a helper, with
 * the state complete in the vCPU (registers and pc), and without the machine lock.
 */
#ifndef TINAMOU_CPU_SYSTEM_H
#define TINAMOU_CPU_SYSTEM_H

#include "cpu/clock.h"
#include "cpu/cpu.h"
#include "cpu/irq.h"
#include "cpu/service.h"
#include "mem/types.h"

struct mem_space;

enum cpu_access { CPU_ACCESS_LOAD, CPU_ACCESS_STORE, CPU_ACCESS_FETCH };

enum { CPU_PROT_READ = 1, CPU_PROT_WRITE = 2, CPU_PROT_EXEC = 4 };

/*
 * Which translations a vCPU uses at the moment: two vCPU states with equal keys translate every
 * address alike, up to flushes. The accelerator keeps a TLB for each of the latest keys, so that
 * changing to and fro does not forget. Opaque to it but for asid and vmid, by which a struct
 * cpu_flush chooses.
 */
struct cpu_space_key {
    uint64_t root;  /* where the page tables are and in which format; 0: none */
    uint32_t flags; /* privilege and whatever else permission depends on */
    uint32_t asid, vmid;
};

/* One address translated. */
struct cpu_translation {
    uint64_t gpa;       /* of the address itself */
    uint64_t page_size; /* bytes, a power of two, MEM_PAGE_SIZE or more: the naturally aligned range
                           around the address that translates alike; less than the page table's own
                           page when physical memory protection cuts it. Smaller than MEM_PAGE_SIZE
                           when protection differs within a page: nothing may be kept then. */
    uint8_t prot;       /* CPU_PROT_*, as found with accessed and dirty bits as they are now: a page
                           that is writable but clean has no CPU_PROT_WRITE until it is stored to */
    bool global;        /* the translation is that of all address spaces */
};

/* What the memory system says of an access that the target's translation has allowed. */
enum cpu_bus_error {
    CPU_BUS_ERROR_NONE,
    CPU_BUS_ERROR_ABSENT, /* nothing there, or the device refuses: access fault */
    CPU_BUS_ERROR_ATOMIC, /* an atomic access to what is no RAM */
};

/* Wired by the machine before the vCPU runs first. */
struct cpu_system {
    const struct cpu_service_ops *service; /* of the accelerator */
    struct mem_space *memory;              /* what the vCPU sees */
    struct cpu_clock_source *clock;
    struct cpu_irq_lines lines; /* its inputs */
    uint32_t hart;              /* RISC-V hart id, APIC id */
};

struct cpu_system_ops {
    /* ---- addresses ---- */

    /* The keys for data accesses and for fetches, as the state is now. */
    void (*spaces)(const struct cpu *cpu, struct cpu_space_key *data, struct cpu_space_key *code);
    /*
     * Translates for one access of `size` bytes that lies within a page; sets accessed and dirty
     * bits as the architecture wants. 0; or -EFAULT, and then what raise_memory() needs is kept in
     * the vCPU until that is called.
     */
    int (*translate_address)(struct cpu *cpu, uint64_t address, unsigned size,
                             enum cpu_access access, struct cpu_translation *result);
    /* The same for a debugger: no effects, no permissions. 0 or -EFAULT. */
    int (*debug_address)(struct cpu *cpu, uint64_t address, struct cpu_translation *result);

    /* ---- traps ---- */

    /* Takes the exception of an access that failed: after -EFAULT of translate_address(), or with a
     * bus error. The pc in the state is that of the instruction. */
    void (*raise_memory)(struct cpu *cpu, uint64_t address, enum cpu_access access,
                         enum cpu_bus_error error);
    /* Takes the exception of an exit: SYSCALL, BREAKPOINT, ILLEGAL, FETCH_FAULT, MISALIGNED, with
     * pc and exit_arg as cpu/cpu.h has them. */
    void (*raise_exit)(struct cpu *cpu, enum cpu_exit reason);
    /* Takes the highest interrupt that is pending and enabled, if there is one: true, pc and mode
     * are the handler's. */
    bool (*take_interrupt)(struct cpu *cpu);
    /* May a vCPU that waits (wfi, hlt) go on? Also when interrupts are masked. */
    bool (*has_work)(struct cpu *cpu);
    /* When the vCPU's own timer will want it next, on the virtual clock; CPU_CLOCK_NEVER if not. */
    int64_t (*deadline)(struct cpu *cpu);

    /* ---- life ---- */

    /* The wiring is there: to be called once. 0, or -errno with a line in error[]. */
    int (*attach)(struct cpu *cpu, const struct cpu_system *system, char *error, size_t error_size);
    /* Reset as after power-on: the hart starts at `pc`. Registers as the architecture says. */
    void (*reset)(struct cpu *cpu, uint64_t pc);
    /* The wiring again, for its users. */
    struct cpu_system *(*system)(struct cpu *cpu);
};

/* ---- guest memory, for targets' helpers ---- */

/*
 * Accesses by guest-virtual address from a helper with IR_H_MEMORY, in the vCPU's current data
 * space; size is 1, 2, 4 or 8. When the access faults the functions do not return: the accelerator
 * takes the exception of the instruction that called the helper. So a helper that uses them holds
 * no resources, and has not changed the guest's registers before.
 */
struct cpu_memory_ops {
    uint64_t (*load)(struct cpu *cpu, uint64_t address, unsigned size);
    void (*store)(struct cpu *cpu, uint64_t address, unsigned size, uint64_t value);
    /* Host pointer for an atomic access or many plain ones, to `size` bytes that do not leave the
     * page; a store is marked already. Valid until the helper returns. RAM only. */
    void *(*host)(struct cpu *cpu, uint64_t address, unsigned size, enum cpu_access access);
};

/* Set by the accelerator before vCPUs run; helpers are called with vCPUs of one accelerator only.
 */
extern const struct cpu_memory_ops *cpu_memory;

#endif
