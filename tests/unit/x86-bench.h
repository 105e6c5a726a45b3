/*
 * An x86 vCPU for tests without an accelerator: wired to memory, with a service that counts wakes.
 * RAM of 64 MiB is at 0, and another block of 64 KiB at 2^36, above what 32 bits reach.
 */
#ifndef TINAMOU_TESTS_UNIT_X86_BENCH_H
#define TINAMOU_TESTS_UNIT_X86_BENCH_H

#include "mem/access.h"
#include "target/x86/arch.h"
#include "target/x86/cpu.h"
#include "target/x86/mmu.h"
#include "target/x86/segment.h"
#include "tests/unit/tap.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>

#define BENCH_RAM       UINT64_C(0x4000000)
#define BENCH_HIGH      (UINT64_C(1) << 36)
#define BENCH_HIGH_SIZE UINT64_C(0x10000)

static struct x86_cpu *cpu;
static struct mem_space bench_space;
static struct mem_region bench_root, bench_regions[2], bench_device;
static struct mem_ram *bench_ram[2];
static unsigned bench_wakes, bench_reads;

static void bench_wake(struct cpu *c)
{
    bench_wakes++;
}

static struct cpu_service_ops bench_service = {.wake = bench_wake};

static int bench_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    bench_reads++;
    *value = UINT64_MAX;
    return 0;
}

static const struct mem_ops bench_ops = {.read = bench_read};

static inline void bench_add_ram(unsigned n, uint64_t at, uint64_t size)
{
    char error[256];

    if (mem_ram_create(&bench_ram[n], &(struct mem_ram_config){.name = "ram", .size = size}, error,
                       sizeof(error)) ||
        mem_region_init_ram(&bench_regions[n], "ram", bench_ram[n], 0, size, false)) {
        exit(1);
    }
    mem_region_add(&bench_root, at, &bench_regions[n], 0);
}

/* vCPU number `index`, after power-up; registers of a device are at 0xd0000000. */
static inline void bench_create(const char *model, unsigned index)
{
    struct cpu_system wiring = {.service = &bench_service, .memory = &bench_space, .hart = index};
    char error[256];

    if (!cpu) {
        mem_region_init_container(&bench_root, "root", MEM_SIZE_ALL);
        mem_space_init(&bench_space, "memory", &bench_root);
        bench_add_ram(0, 0, BENCH_RAM);
        bench_add_ram(1, BENCH_HIGH, BENCH_HIGH_SIZE);
        mem_region_init_mmio(&bench_device, "device", 0x1000, &bench_ops, NULL, NULL);
        mem_region_add(&bench_root, 0xd0000000, &bench_device, 0);
        cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);
    }
    memset(cpu, 0, sizeof(*cpu));
    cpu->common.ops = &x86_64_target_ops;
    cpu->common.index = index;
    x86_64_target_ops.reset(&cpu->common);
    if (x86_64_target_ops.set_model(&cpu->common, model, error, sizeof(error)) < 0 ||
        x86_system_ops.attach(&cpu->common, &wiring, error, sizeof(error)) < 0) {
        tap_ok(false, "a vCPU %s: %s", model, error);
        exit(tap_done());
    }
    x86_system_ops.reset(&cpu->common, X86_RESET_VECTOR);
}

/* The host's address of guest memory. */
static inline void *bench_at(uint64_t gpa)
{
    return gpa >= BENCH_HIGH ? bench_ram[1]->host + (gpa - BENCH_HIGH) : bench_ram[0]->host + gpa;
}

static inline void bench_store(uint64_t gpa, uint64_t value, size_t size)
{
    memcpy(bench_at(gpa), &value, size);
}

#endif
