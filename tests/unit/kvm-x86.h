/*
 * A bench for the x86 side of the KVM accelerator: a vCPU that the test runs on its own thread, in
 * memory without a machine.
 *
 *     if (bench_open("", "what")) {
 *         struct x86_cpu *cpu = bench_cpu("host");
 *         bench_long_mode(cpu, 0, true);
 *         BENCH_CODE(cpu, guest_code);       between labels guest_code and guest_code_end
 *         bench_run(cpu);                    until it accesses a port or registers, or stops
 *     }
 *
 * Guests are written in assembly in the test's source. Memory: 4 MiB of RAM at 0; registers of a
 * device at BENCH_DEVICE, a page that answers with what the test wants; ports 0x80 to 0x8f the
 * same. Each access is noted in bench.access and ends bench_run(), with the access answered and not
 * finished. Descriptor tables and page tables are at fixed places below.
 */
#ifndef TINAMOU_TESTS_UNIT_KVM_X86_H
#define TINAMOU_TESTS_UNIT_KVM_X86_H

#include "accel/kvm/x86.h"
#include "target/x86/arch.h"
#include "target/x86/segment.h"
#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BENCH_RAM    UINT64_C(0x400000)
#define BENCH_DEVICE UINT64_C(0xd0000000)
#define BENCH_CPUS   64

/* Guest-physical places. */
enum {
    BENCH_GDT = 0x1000,
    BENCH_IDT = 0x2000,
    BENCH_TSS = 0x3000,
    BENCH_STACK = 0x8000, /* ring 0's, downwards */
    BENCH_STACK3 = 0xa000,
    BENCH_TEXT = 0x10000,
    BENCH_DATA = 0x20000,
    BENCH_TABLES = 0x30000, /* of pages; identity, 2 MiB pages, for all rings */
};

/* Selectors. */
enum {
    BENCH_CODE32 = 0x08,
    BENCH_DATA32 = 0x10,
    BENCH_CODE64 = 0x18,
    BENCH_CODE32_3 = 0x23,
    BENCH_DATA_3 = 0x2b,
    BENCH_CODE64_3 = 0x33,
    BENCH_TASK = 0x38, /* 16 bytes */
};

static struct {
    struct mem_region root, io_root, ram_region, port_region, device_region;
    struct mem_space memory, io;
    struct mem_ram *ram;
    struct {
        unsigned count;
        bool port, write;
        uint64_t address, value;
        unsigned size;
    } access;
    uint64_t answer; /* to reads */
    int event;       /* the last of the machine; -1: none */
    unsigned cpus;
    struct cpu *cpu[BENCH_CPUS];
} bench;

static inline int bench_access(bool port, bool write, uint64_t offset, unsigned size,
                               uint64_t *value)
{
    bench.access.count++;
    bench.access.port = port;
    bench.access.write = write;
    bench.access.address = offset;
    bench.access.size = size;
    if (!write) {
        *value = bench.answer;
    }
    bench.access.value = *value;
    return 0;
}

static inline int bench_port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                                  struct mem_attrs attrs)
{
    return bench_access(true, false, offset, size, value);
}

static inline int bench_port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                   struct mem_attrs attrs)
{
    return bench_access(true, true, offset, size, &value);
}

static inline int bench_device_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                                    struct mem_attrs attrs)
{
    return bench_access(false, false, offset, size, value);
}

static inline int bench_device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                     struct mem_attrs attrs)
{
    return bench_access(false, true, offset, size, &value);
}

static const struct mem_ops bench_port_ops = {.read = bench_port_read, .write = bench_port_write};
static const struct mem_ops bench_device_ops = {.read = bench_device_read,
                                                .write = bench_device_write};

static inline void bench_event(enum accel_event event, struct cpu *cpu)
{
    bench.event = (int)event;
}

static inline void bench_make_spaces(void)
{
    char error[256];

    mem_region_init_container(&bench.root, "memory", MEM_SIZE_ALL);
    mem_region_init_container(&bench.io_root, "io", 0x10000);
    mem_space_init(&bench.memory, "memory", &bench.root);
    mem_space_init(&bench.io, "io", &bench.io_root);
    if (mem_ram_create(&bench.ram, &(struct mem_ram_config){.name = "bench", .size = BENCH_RAM},
                       error, sizeof(error)) ||
        mem_region_init_ram(&bench.ram_region, "ram", bench.ram, 0, BENCH_RAM, false)) {
        exit(1);
    }
    mem_region_add(&bench.root, 0, &bench.ram_region, 0);
    mem_region_init_mmio(&bench.device_region, "device", 0x1000, &bench_device_ops, NULL, NULL);
    mem_region_add(&bench.root, BENCH_DEVICE, &bench.device_region, 0);
    mem_region_init_mmio(&bench.port_region, "ports", 16, &bench_port_ops, NULL, NULL);
    mem_region_add(&bench.io_root, 0x80, &bench.port_region, 0);
}

/* The host's address of guest memory. */
static inline void *bench_at(uint64_t gpa)
{
    return bench.ram->host + gpa;
}

static inline void bench_store(uint64_t gpa, uint64_t value)
{
    memcpy(bench_at(gpa), &value, 8);
}

static inline uint64_t bench_load(uint64_t gpa)
{
    uint64_t value;

    memcpy(&value, bench_at(gpa), 8);
    return value;
}

/* A VM; once. False, and a skip of `what`, without a usable /dev/kvm. */
static inline bool bench_open(const char *options, const char *what)
{
    struct accel_system_config config = {.options = options,
                                         .memory = &bench.memory,
                                         .io = &bench.io,
                                         .cpus = BENCH_CPUS,
                                         .max_cpus = BENCH_CPUS,
                                         .event = bench_event};
    int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    char error[512];

    if (device < 0) {
        tap_skip(what, "no usable /dev/kvm");
        return false;
    }
    close(device);
    bench_make_spaces();
    if (accel_system_kvm.init(&config, error, sizeof(error))) {
        tap_ok(false, "a VM with '%s': %s", options, error);
        return false;
    }
    return true;
}

/* After the last vCPU. Another VM may be opened then. */
static inline void bench_close(void)
{
    vcpu_stop_all(NULL, NULL);
    while (bench.cpus) {
        accel_system_kvm.cpu_destroy(bench.cpu[--bench.cpus]);
    }
    kvm_end();
    mem_space_destroy(&bench.memory);
    mem_space_destroy(&bench.io);
    mem_region_retire(&bench.ram_region, NULL, NULL);
    mem_region_retire(&bench.device_region, NULL, NULL);
    mem_region_retire(&bench.port_region, NULL, NULL);
    epoch_wait(&mem_epoch);
    mem_ram_unref(bench.ram);
    memset(&bench, 0, sizeof(bench));
}

/* Another vCPU, after reset; the bootstrap processor whatever its number. */
static inline struct x86_cpu *bench_cpu(const char *model)
{
    struct cpu *cpu = accel_system_kvm.cpu_create(&x86_64_target_ops, bench.cpus, bench.cpus);
    struct cpu_system wiring = {
        .service = accel_system_kvm.service, .memory = &bench.memory, .hart = bench.cpus};
    char error[256];

    if (!cpu || x86_64_target_ops.set_model(cpu, model, error, sizeof(error)) < 0 ||
        x86_system_ops.attach(cpu, &wiring, error, sizeof(error)) < 0 ||
        kvm_vcpu_ops.thread_init(cpu) < 0) {
        tap_ok(false, "a vCPU %s: %s", model, cpu ? error : "not made");
        exit(tap_done());
    }
    bench.cpu[bench.cpus++] = cpu;
    x86_cpu(cpu)->bootstrap = true;
    x86_system_ops.reset(cpu, X86_RESET_VECTOR);
    accel_system_kvm.service->registers_changed(cpu);
    return x86_cpu(cpu);
}

/* Copies code to BENCH_TEXT, where rip (not CS) is put. */
static inline void bench_code(struct x86_cpu *cpu, const uint8_t *code, size_t size)
{
    memcpy(bench_at(BENCH_TEXT), code, size);
    cpu->rip = BENCH_TEXT - cpu->segment[X86_CS].base;
    accel_system_kvm.service->registers_changed(&cpu->common);
}

/* Assembly between two labels of a test, NAME and NAME_end; `bits`: 16, 32 or 64. */
#define BENCH_GUEST(name, bits, text)                                                       \
    extern const uint8_t name[], name##_end[];                                              \
    __asm__(".pushsection .rodata\n.code" #bits "\n.globl " #name ", " #name "_end\n" #name \
            ":\n" text "\n" #name "_end: .byte 0\n.code64\n.popsection")
#define BENCH_CODE(cpu, name) bench_code(cpu, name, BENCH_SIZE(name))
/* Where a label inside of such code is in guest memory. */
#define BENCH_PC(name, label) (BENCH_TEXT + ((uintptr_t)(label) - (uintptr_t)(name)))
#define BENCH_SIZE(name)      ((uintptr_t)name##_end - (uintptr_t)name)

/* ---- modes ----------------------------------------------------------------------------------- */

static inline struct x86_segment bench_segment(uint16_t selector, unsigned type, uint16_t more)
{
    return (struct x86_segment){
        .limit = UINT32_MAX,
        .selector = selector,
        .attributes = (uint16_t)(type | X86_SEGMENT_S | X86_SEGMENT_P | X86_SEGMENT_G | more |
                                 (selector & 3) << X86_SEGMENT_DPL_SHIFT),
    };
}

static inline void bench_tables(struct x86_cpu *cpu)
{
    static const struct {
        uint16_t selector;
        uint8_t type;
        uint16_t more;
    } segments[] = {
        {BENCH_CODE32, 11, X86_SEGMENT_DB}, {BENCH_DATA32, 3, X86_SEGMENT_DB},
        {BENCH_CODE64, 11, X86_SEGMENT_L},  {BENCH_CODE32_3, 11, X86_SEGMENT_DB},
        {BENCH_DATA_3, 3, X86_SEGMENT_DB},  {BENCH_CODE64_3, 11, X86_SEGMENT_L},
    };
    struct x86_segment task = {.base = BENCH_TSS,
                               .limit = 0x67,
                               .selector = BENCH_TASK,
                               .attributes = X86_TYPE_TSS_BUSY | X86_SEGMENT_P};

    for (unsigned n = 0; n < sizeof(segments) / sizeof(segments[0]); n++) {
        struct x86_segment s =
            bench_segment(segments[n].selector, segments[n].type, segments[n].more);
        bench_store(BENCH_GDT + (s.selector & 0xfff8u), x86_descriptor_bytes(&s));
    }
    bench_store(BENCH_GDT + BENCH_TASK, x86_descriptor_bytes(&task));
    cpu->segment[X86_TR] = task;
    cpu->gdt = (struct x86_table){BENCH_GDT, 0xff};
    cpu->idt = (struct x86_table){BENCH_IDT, 0xfff};
    memset(bench_at(BENCH_TSS), 0, 0x68);
}

static inline void bench_set_segments(struct x86_cpu *cpu, uint16_t code, uint16_t code_more,
                                      uint16_t data)
{
    for (unsigned n = X86_ES; n <= X86_GS; n++) {
        cpu->segment[n] = n == X86_CS ? bench_segment(code, 11, code_more)
                                      : bench_segment(data, 3, X86_SEGMENT_DB);
    }
    cpu->gpr[X86_RSP] = code & 3 ? BENCH_STACK3 : BENCH_STACK;
}

static inline void bench_real_mode(struct x86_cpu *cpu)
{
    for (unsigned n = X86_ES; n <= X86_GS; n++) {
        cpu->segment[n].base = 0;
        cpu->segment[n].selector = 0;
    }
    cpu->segment[X86_CS].base = BENCH_TEXT;
    cpu->segment[X86_CS].selector = BENCH_TEXT >> 4;
    cpu->gpr[X86_RSP] = BENCH_STACK;
}

/* Without paging; ring 0 or 3. */
static inline void bench_protected_mode(struct x86_cpu *cpu, unsigned ring)
{
    bench_tables(cpu);
    bench_set_segments(cpu, ring ? BENCH_CODE32_3 : BENCH_CODE32, X86_SEGMENT_DB,
                       ring ? BENCH_DATA_3 : BENCH_DATA32);
    cpu->cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_NE;
    bench_store(BENCH_TSS + 4, BENCH_STACK | (uint64_t)BENCH_DATA32 << 32);
    cpu->rflags |= ring ? X86_FLAG_IOPL : 0;
}

/* 64-bit mode or compatibility mode; the first 4 GiB map to themselves. */
static inline void bench_long_mode(struct x86_cpu *cpu, unsigned ring, bool wide)
{
    bench_tables(cpu);
    bench_set_segments(
        cpu, wide ? (ring ? BENCH_CODE64_3 : BENCH_CODE64) : (ring ? BENCH_CODE32_3 : BENCH_CODE32),
        wide ? X86_SEGMENT_L : X86_SEGMENT_DB, ring ? BENCH_DATA_3 : BENCH_DATA32);
    bench_store(BENCH_TABLES, (BENCH_TABLES + 0x1000) | 7);
    for (unsigned n = 0; n < 4; n++) {
        bench_store(BENCH_TABLES + 0x1000 + 8 * n, (BENCH_TABLES + 0x2000 + 0x1000 * n) | 7);
    }
    for (uint64_t n = 0; n < 2048; n++) {
        bench_store(BENCH_TABLES + 0x2000 + 8 * n, n << 21 | 0x87);
    }
    cpu->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP;
    cpu->cr3 = BENCH_TABLES;
    cpu->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
    cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
    bench_store(BENCH_TSS + 4, BENCH_STACK);
    cpu->rflags |= ring ? X86_FLAG_IOPL : 0;
}

/* A gate of the 64-bit IDT (or, not `wide`, of a 32-bit one): an interrupt gate for ring 3. */
static inline void bench_gate(unsigned vector, uint64_t offset, bool wide)
{
    uint64_t gate = (offset & 0xffff) | (uint64_t)(wide ? BENCH_CODE64 : BENCH_CODE32) << 16 |
                    UINT64_C(0xee) << 40 | (offset >> 16 & 0xffff) << 48;

    bench_store(BENCH_IDT + (wide ? 16 : 8) * vector, gate);
    if (wide) {
        bench_store(BENCH_IDT + 16 * vector + 8, offset >> 32);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/*
 * Runs until there was an access to a device, which is answered then; or until the machine was told
 * of something (bench.event), or the vCPU halts. The outcome of the last exit.
 */
static inline enum kvm_outcome bench_run(struct x86_cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(&cpu->common);
    enum kvm_outcome outcome = KVM_GO_ON;
    unsigned accesses = bench.access.count;

    bench.event = -1;
    while (outcome == KVM_GO_ON && bench.access.count == accesses && bench.event < 0) {
        if (k->changed && kvm_arch_store(k) < 0) {
            tap_ok(false, "the registers are stored");
            exit(tap_done());
        }
        k->changed = false;
        if (!kvm_arch_before_run(k)) {
            return KVM_HALTED;
        }
        k->fetched = k->answered = false;
        if (ioctl(k->fd, KVM_RUN, NULL) < 0) {
            if (errno != EINTR) {
                tap_ok(false, "KVM_RUN: %s", strerror(errno));
                exit(tap_done());
            }
            k->run->immediate_exit = 0;
            kvm_arch_after_run(k);
            continue;
        }
        kvm_arch_after_run(k);
        outcome = kvm_handle_exit(k);
    }
    return outcome;
}

static inline void bench_fetch(struct x86_cpu *cpu)
{
    int err = accel_system_kvm.service->registers_fetch(&cpu->common);

    if (err) {
        tap_ok(false, "the registers are fetched: %s", strerror(-err));
        exit(tap_done());
    }
}

static inline void bench_changed(struct x86_cpu *cpu)
{
    accel_system_kvm.service->registers_changed(&cpu->common);
}

#endif
