/*
 * Address translation for whoever looks from outside: debuggers, monitors, dumps (SDM volume 3,
 * chapter 4). Tables are read through the memory of the vCPU's wiring; accessed and dirty bits stay
 * as they are.
 */
#ifndef TINAMOU_TARGET_X86_MMU_H
#define TINAMOU_TARGET_X86_MMU_H

#include "target/x86/cpu.h"

enum x86_paging { X86_PAGING_NONE, X86_PAGING_32, X86_PAGING_PAE, X86_PAGING_4, X86_PAGING_5 };

/* By CR0.PG, CR4.PAE, IA32_EFER.LME and CR4.LA57. */
enum x86_paging x86_paging_mode(const struct x86_cpu *cpu);

struct x86_walk {
    uint64_t gpa; /* of the address itself */
    uint64_t
        page_size;  /* 4 KiB, 2 or 4 MiB, 1 GiB; without paging 4 GiB or what the width allows */
    uint64_t entry; /* the last entry; 0 without paging */
    bool writable, user, executable; /* by all levels; NX without IA32_EFER.NXE is reserved */
    bool global, accessed, dirty;
    uint8_t key; /* of protection; 0 where entries have none */
};

/*
 * Walks the tables for a linear address. 0; -EFAULT: not mapped, an entry has reserved bits, or a
 * table is not in memory. Never touches registers of devices. Any thread, while the vCPU stands.
 */
int x86_walk(const struct x86_cpu *cpu, uint64_t address, struct x86_walk *result);

/* cpu_system_ops.debug_address: as x86_walk(), with prot as for the supervisor. */
int x86_debug_address(struct cpu *cpu, uint64_t address, struct cpu_translation *result);

/* Copies guest memory by linear address: 0 or -EFAULT (then `to` holds what could be read). */
int x86_read_linear(const struct x86_cpu *cpu, uint64_t address, void *to, size_t size);

/* How many bytes at the front can be read, at most `size`. */
size_t x86_read_linear_some(const struct x86_cpu *cpu, uint64_t address, void *to, size_t size);

#endif
