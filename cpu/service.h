/*
 * What a target or a machine may ask of the accelerator about vCPUs, in system emulation. The
 * accelerator implements the table; whoever creates the vCPUs hands it down.
 *
 * "On the vCPU's thread" means: by the thread that runs that vCPU, outside of generated code or
 * from a helper. Everything else may be called by any thread.
 */
#ifndef TINAMOU_CPU_SERVICE_H
#define TINAMOU_CPU_SERVICE_H

#include "mem/types.h"

#include <stdbool.h>
#include <stdint.h>

struct cpu;

/* Which cached translations of guest-virtual addresses to forget. */
struct cpu_flush {
    uint64_t address; /* start of the range; of any address within a page */
    uint64_t size;    /* in bytes; 0: the whole address space */
    uint32_t asid;    /* of one address space ... */
    uint32_t vmid;    /* ... of one virtual machine inside the guest */
    bool any_asid;    /* all address spaces, global pages too */
    bool any_vmid;
    bool second_stage; /* the range is of guest-physical addresses of vmid */
};

/* Kinds of access, as bits. */
enum { CPU_WATCH_READ = 1, CPU_WATCH_WRITE = 2 };

/* Why a vCPU has stopped for a debugger. */
enum cpu_stop_kind { CPU_STOP_NONE, CPU_STOP_STEP, CPU_STOP_BREAKPOINT, CPU_STOP_WATCHPOINT };

struct cpu_stop {
    enum cpu_stop_kind kind;
    uint64_t address; /* of the breakpoint or watchpoint; else the pc */
    unsigned access;  /* what the watchpoint is for: CPU_WATCH_* */
};

struct cpu_service_ops {
    /* ---- leaving and waiting ---- */

    /* Makes the vCPU leave generated code or its wait, and look at its lines. Async-signal-safe. */
    void (*wake)(struct cpu *cpu);
    /*
     * The vCPU waits (wfi, hlt) until woken or until the virtual clock reaches `deadline`
     * (CPU_CLOCK_NEVER: no limit). May return early. On the vCPU's thread, without locks.
     */
    void (*wait)(struct cpu *cpu, int64_t deadline);
    /* Calls fn(cpu, arg) on the vCPU's thread soon, in the order of the calls; the vCPU need not be
     * running. `run_on_wait` returns when fn has; not while holding a lock that a vCPU may want,
     * and not from another vCPU's thread. */
    void (*run_on)(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);
    void (*run_on_wait)(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);
    /* Calls fn(cpu, arg) on the vCPU's thread while no other vCPU executes guest instructions: for
     * atomics that the host has not, and for changes that all must see at once. From a helper it
     * takes effect after the current instruction has ended the unit. */
    void (*exclusive)(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);

    /* ---- translations of addresses ---- */

    /*
     * Forgets on this vCPU; takes effect before its next guest instruction. On its thread. The
     * shadow stack and jump cache entries that depend on the address space go with it.
     */
    void (*tlb_flush)(struct cpu *cpu, const struct cpu_flush *what);
    /* The same on all vCPUs, and returns when every one has forgotten, or will before it executes
     * another guest instruction: what the guest stores afterwards is seen by new walks only. */
    void (*tlb_flush_all)(struct cpu *cpu, const struct cpu_flush *what);
    /* The mode word has changed (privilege, paging, vector type): on the vCPU's thread; the unit is
     * ended by the caller. */
    void (*mode_changed)(struct cpu *cpu);
    /* Data accesses are translated under another key from now on (cpu_system_ops.spaces), while
     * mode word and fetches are as before. On the vCPU's thread, from a helper with a side effect:
     * the unit need not be ended, as it must where this is NULL. */
    void (*data_space_changed)(struct cpu *cpu);

    /* ---- translations of code ---- */

    /* Guest-physical bytes of `size` at gpa were changed other than through mem/, whose marks do
     * this by themselves. */
    void (*code_changed)(struct mem_gpa gpa, uint64_t size);
    /* This vCPU must see all code that was written before (fence.i). On its thread. */
    void (*code_fence)(struct cpu *cpu);

    /* ---- registers and debugging ---- */

    /* After registers_fetch the vCPU state holds the guest's registers, until it runs again;
     * registers_changed says that the state was written and is to be taken over. The vCPU is
     * stopped or the caller is its thread. 0 or -errno of the host. */
    int (*registers_fetch)(struct cpu *cpu);
    int (*registers_changed)(struct cpu *cpu);

    /*
     * Breakpoints, watchpoints and single steps. What stops the vCPU is told by the event
     * ACCEL_EVENT_DEBUG (accel/accel.h), and by debug_stop().
     *
     * Nobody inserts the same twice. -ENOENT: there is none to be removed; -ENOSPC: the accelerator
     * has no more; -EFAULT: it needs the address to be mapped, and it is not; -ENOMEM. Any thread;
     * a vCPU that runs takes notice soon, or has to be stopped (KVM).
     */

    /* Breakpoint at a guest-virtual address (x86: a linear one), in every address space: the vCPU stops before it
     * executes an instruction there. */
    int (*breakpoint)(struct cpu *cpu, uint64_t address, bool insert);
    /*
     * Watchpoint over `size` bytes of guest-virtual addresses, for accesses by the vCPU that are
     * not fetches; `access` is CPU_WATCH_*. An atomic access reads and writes, whatever comes of
     * it. Where the architecture's debuggers expect that (RISC-V), the vCPU stops with the pc of
     * the instruction, before the access; else (x86) behind it. -EINVAL: size is 0, the range
     * leaves the address space, or there is no such access.
     */
    int (*watchpoint)(struct cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                      bool insert);
    /*
     * One guest instruction at a time from the next run on, breakpoint or not. An exception that it
     * raises is taken with it: the vCPU stops at the handler. No interrupts are taken meanwhile,
     * and waits for them (wfi, hlt) are over at once; time goes on. While vCPUs are paused.
     */
    int (*single_step)(struct cpu *cpu, bool on);
    /*
     * Why the vCPU has stopped; false if it was for no debugger, or has run since. Who asks takes
     * notice: if the vCPU runs on at the same pc, it executes the instruction there without
     * stopping for a breakpoint there, or for the watchpoint that was hit. What nobody has asked
     * about, since another vCPU had stopped as well, stops it again. Any thread, when the vCPU has
     * stopped.
     */
    bool (*debug_stop)(struct cpu *cpu, struct cpu_stop *stop);
};

#endif
