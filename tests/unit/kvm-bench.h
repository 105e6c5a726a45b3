/*
 * A bench for the KVM accelerator: vCPUs, memory and ports without a machine. Guests are a few
 * instructions in real mode, assembled by hand.
 *
 *     if (bench_open("dirty-ring-size=1024", 1)) {
 *         bench_code(0, code, sizeof(code));      vCPU 0 begins at 0:0x1000
 *         bench_run(1);                           until there has been one `out 0xf4, al`
 *         tap_eq(bench.done[0].al, 7, "...");
 *         bench_close();
 *     }
 *
 * Memory: 1 MiB of RAM at 0, of which regions of the test's own may hide parts. Ports: 0xf4 to 0xf7
 * ends (bench.done), vCPU n writes to 0xf4 + n. RAM is watched through bench.ram->host.
 */
#ifndef TINAMOU_TESTS_UNIT_KVM_BENCH_H
#define TINAMOU_TESTS_UNIT_KVM_BENCH_H

#include "accel/kvm/kvm.h"
#include "mem/access.h"
#include "mem/dirty.h"
#include "target/x86/cpu.h"

#include "tests/unit/tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_CPUS = 4, BENCH_RAM = 1 << 20, BENCH_END = 0xf4, BENCH_CODE = 0x1000 };

static struct {
    struct mem_region root, io_root, ram_region, end_region;
    struct mem_space memory, io;
    struct mem_ram *ram;
    struct cpu *cpu[BENCH_CPUS];
    unsigned cpus;
    pthread_mutex_t lock; /* the machine lock */
    sem_t ended, happened;
    struct {
        _Atomic unsigned times, al;
    } done[BENCH_CPUS];
    _Atomic int event; /* -1: none */
} bench;

static inline void bench_acquire(void)
{
    pthread_mutex_lock(&bench.lock);
}

static inline void bench_release(void)
{
    pthread_mutex_unlock(&bench.lock);
}

static inline void bench_owner_lock(struct mem_owner *owner)
{
    bench_acquire();
}

static inline void bench_owner_unlock(struct mem_owner *owner)
{
    bench_release();
}

/* Of devices under the machine lock. */
__attribute__((unused)) static struct mem_owner bench_owner = {
    .name = "bench", .lock = bench_owner_lock, .unlock = bench_owner_unlock};

static inline int bench_end_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                                  struct mem_attrs attrs)
{
    bench.done[offset].al = (unsigned)value;
    bench.done[offset].times++;
    sem_post(&bench.ended);
    return 0;
}

static const struct mem_ops bench_end_ops = {.write = bench_end_write, .max_size = 1};

static inline void bench_event(enum accel_event event, struct cpu *cpu)
{
    bench.event = (int)event;
    sem_post(&bench.happened);
}

/* Waits for a post, ten seconds at most. */
static inline bool bench_wait(sem_t *sem)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    return sem_timedwait(sem, &until) == 0;
}

static inline void bench_make_spaces(void)
{
    struct mem_ram_config config = {.name = "bench", .size = BENCH_RAM};
    char error[256];

    mem_region_init_container(&bench.root, "memory", MEM_SIZE_ALL);
    mem_region_init_container(&bench.io_root, "io", 0x10000);
    mem_space_init(&bench.memory, "memory", &bench.root);
    mem_space_init(&bench.io, "io", &bench.io_root);
    if (mem_ram_create(&bench.ram, &config, error, sizeof(error)) ||
        mem_region_init_ram(&bench.ram_region, "ram", bench.ram, 0, BENCH_RAM, false)) {
        exit(1);
    }
    mem_region_add(&bench.root, 0, &bench.ram_region, 0);
    mem_region_init_mmio(&bench.end_region, "end", BENCH_CPUS, &bench_end_ops, NULL, NULL);
    mem_region_add(&bench.io_root, BENCH_END, &bench.end_region, 0);
}

/* Regions of the test's own have been removed. */
static inline void bench_free_spaces(void)
{
    mem_space_destroy(&bench.memory);
    mem_space_destroy(&bench.io);
    mem_region_retire(&bench.ram_region, NULL, NULL);
    mem_region_retire(&bench.end_region, NULL, NULL);
    mem_region_retire(&bench.root, NULL, NULL);
    mem_region_retire(&bench.io_root, NULL, NULL);
    epoch_wait(&mem_epoch);
    mem_ram_unref(bench.ram);
}

/* Starts the accelerator: 0, or -errno with a line. */
static inline int bench_init(const char *options, unsigned cpus, char *error, size_t error_size)
{
    struct accel_system_config config = {.options = options,
                                         .memory = &bench.memory,
                                         .io = &bench.io,
                                         .cpus = cpus,
                                         .max_cpus = cpus,
                                         .event = bench_event,
                                         .lock = bench_acquire,
                                         .unlock = bench_release};

    return accel_system_kvm.init(&config, error, error_size);
}

static inline struct x86_cpu *bench_x86(unsigned n)
{
    return x86_cpu(bench.cpu[n]);
}

/* A counter of vCPU n, and its exits for a reason. */
#define BENCH_COUNT(n, name) kvm_counted(&kvm_cpu(bench.cpu[n])->count.name)
#define BENCH_EXITS(n, why)  kvm_counted(&kvm_cpu(bench.cpu[n])->exits[KVM_EXIT_##why])

/* Where vCPU n is; it stands. */
static inline uint64_t bench_pc(unsigned n)
{
    accel_system_kvm.service->registers_fetch(bench.cpu[n]);
    return bench_x86(n)->segment[X86_CS].base + bench_x86(n)->rip;
}

/* As after a reset, to go on at pc in real mode; it stands. */
static inline void bench_reset(unsigned n, uint16_t pc)
{
    x86_64_target_ops.system->reset(bench.cpu[n], 0);
    x86_start_real(bench_x86(n), 0, pc);
    bench_x86(n)->gpr[X86_RSP] = 0x8000;
    accel_system_kvm.service->registers_changed(bench.cpu[n]);
    vcpu_unhalt(bench.cpu[n]);
}

/* The same in flat 32-bit mode, anywhere. */
static inline void bench_reset_flat(unsigned n, uint32_t pc)
{
    bench_reset(n, 0);
    x86_start_flat32(bench_x86(n), pc, 0, 0);
}

/* In real mode, but ds reaches 4 GiB: for local APICs. */
static inline void bench_reset_unreal(unsigned n, uint16_t pc)
{
    bench_reset(n, pc);
    bench_x86(n)->segment[X86_DS].limit = UINT32_MAX;
    bench_x86(n)->segment[X86_DS].attributes |= X86_SEGMENT_G;
}

/* An NMI, whose handler does nothing. */
static inline void bench_nmi(unsigned n)
{
    cpu_irq_set(&bench_x86(n)->wiring.lines, X86_LINE_NMI, true);
}

static inline bool bench_create_cpu(unsigned n)
{
    struct cpu_system wiring = {
        .service = accel_system_kvm.service, .memory = &bench.memory, .hart = n};
    struct cpu *cpu = accel_system_kvm.cpu_create(&x86_64_target_ops, n, n);
    char error[256];

    if (!cpu || x86_64_target_ops.set_model(cpu, "host", error, sizeof(error)) ||
        x86_64_target_ops.system->attach(cpu, &wiring, error, sizeof(error))) {
        return false;
    }
    bench.cpu[n] = cpu;
    x86_cpu(cpu)->bootstrap = n == 0;
    x86_cpu(cpu)->model.apic_id = n;
    bench_reset(n, (uint16_t)(BENCH_CODE + n * 0x100));
    return true;
}

/* A VM with vCPUs that do not run yet. False, and a skip, without a usable /dev/kvm; false, and a
 * failure, when it refuses. */
static inline bool bench_open(const char *options, unsigned cpus)
{
    int device = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    pthread_mutexattr_t attr;
    char error[512];

    if (device < 0) {
        tap_skip("a VM", "no usable /dev/kvm");
        return false;
    }
    close(device);
    memset(&bench, 0, sizeof(bench));
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&bench.lock, &attr);
    sem_init(&bench.ended, 0, 0);
    sem_init(&bench.happened, 0, 0);
    bench.event = -1;
    bench.cpus = cpus;
    bench_make_spaces();
    if (bench_init(options, cpus, error, sizeof(error))) {
        tap_ok(false, "a VM with '%s': %s", options, error);
        bench_free_spaces();
        return false;
    }
    memcpy(bench.ram->host + 2 * 4, "\x00\x05\x00\x00", 4); /* NMI: iret */
    bench.ram->host[0x500] = 0xcf;
    for (unsigned n = 0; n < cpus; n++) {
        if (!bench_create_cpu(n)) {
            tap_ok(false, "vCPU %u", n);
            exit(1);
        }
    }
    return true;
}

static inline void bench_close(void)
{
    vcpu_stop_all(NULL, NULL);
    for (unsigned n = 0; n < bench.cpus; n++) {
        accel_system_kvm.cpu_destroy(bench.cpu[n]);
    }
    kvm_end();
    bench_free_spaces();
}

static inline void bench_code(unsigned cpu, const void *code, size_t size)
{
    memcpy(bench.ram->host + BENCH_CODE + cpu * 0x100, code, size);
}

static inline void bench_start(void)
{
    for (unsigned n = 0; n < bench.cpus; n++) {
        vcpu_start(bench.cpu[n]->owner, "KVM");
    }
    vcpu_resume_all();
}

/* Until vCPUs have said so many times that they are done. False when they take too long. */
static inline bool bench_run(unsigned times)
{
    bool in_time = true;

    bench_start();
    while (times-- && in_time) {
        in_time = bench_wait(&bench.ended);
    }
    if (!in_time) {
        tap_ok(false, "the guest ends");
    }
    return in_time;
}

/* ---- a guest that does as it is told ----
 *
 * It waits for the byte at 0x3000, calls what the word at 0x3002 points to, and clears the byte.
 * Each call has code of its own. Results are at 0x3008.
 */

static uint8_t bench_script[64];
static unsigned bench_script_size;

static inline void bench_emit(const char *bytes, unsigned size)
{
    memcpy(bench_script + bench_script_size, bytes, size);
    bench_script_size += size;
}

static inline void bench_emit_number(uint32_t value, unsigned size)
{
    memcpy(bench_script + bench_script_size, &value, size);
    bench_script_size += size;
}

static inline void bench_nothing(struct cpu *cpu, void *arg)
{
}

/* Has vCPU 0 run what was emitted; false when it takes longer than five seconds. */
static inline bool bench_call(void)
{
    static uint16_t at = 0x4000;
    volatile uint8_t *busy = bench.ram->host + 0x3000;

    vcpu_run_on_wait(bench.cpu[0], bench_nothing, NULL); /* it sees what we have done */
    bench_emit("\xc3", 1);
    memcpy(bench.ram->host + at, bench_script, bench_script_size);
    memcpy(bench.ram->host + 0x3002, &at, 2);
    at = at < 0x7000 ? at + 64 : 0x4000;
    bench_script_size = 0;
    __atomic_store_n(busy, 1, __ATOMIC_SEQ_CST);
    for (unsigned n = 0; n < 250000 && *busy; n++) {
        usleep(20);
    }
    vcpu_run_on_wait(bench.cpu[0], bench_nothing, NULL); /* and we what it has */
    return !*busy;
}

/* A VM with one vCPU that listens. */
static inline bool bench_open_listener(const char *options)
{
    static const uint8_t code[] = {
        0x80, 0x3e, 0x00, 0x30, 0x00, 0x74, 0xf9, /* wait: cmp byte [0x3000], 0; je wait */
        0xff, 0x16, 0x02, 0x30,                   /* call [0x3002] */
        0xc6, 0x06, 0x00, 0x30, 0x00, 0xeb, 0xee, /* mov byte [0x3000], 0; jmp wait */
    };

    if (!bench_open(options, 1)) {
        return false;
    }
    bench_code(0, code, sizeof(code));
    bench_start();
    return true;
}

/* es:di = an address below 0x10fff0 */
static inline void bench_emit_address(uint32_t address)
{
    uint32_t segment = address < 0x100000 ? (address >> 4 & 0xf000) : 0xffff;

    bench_emit("\xb8", 1);
    bench_emit_number(segment, 2);
    bench_emit("\x8e\xc0\xbf", 3);
    bench_emit_number(address - (segment << 4), 2);
}

static inline uint32_t bench_peek(uint32_t address)
{
    uint32_t value = 0xdeadbeef;

    bench_emit_address(address);
    bench_emit("\x26\x66\x8b\x05\x66\xa3\x08\x30", 8); /* mov eax, es:[di]; mov [0x3008], eax */
    if (bench_call()) {
        memcpy(&value, bench.ram->host + 0x3008, 4);
    }
    return value;
}

static inline bool bench_poke(uint32_t address, unsigned size, uint32_t value)
{
    bench_emit_address(address);
    bench_emit("\x66\xb8", 2); /* mov eax, value; mov es:[di], eax, ax or al */
    bench_emit_number(value, 4);
    bench_emit(size == 4   ? "\x26\x66\x89\x05"
               : size == 2 ? "\x26\x89\x05"
                           : "\x26\x88\x05",
               size == 4 ? 4 : 3);
    return bench_call();
}

static inline bool bench_out(uint16_t port, unsigned size, uint32_t value)
{
    bench_emit("\xba", 1);
    bench_emit_number(port, 2);
    bench_emit("\x66\xb8", 2);
    bench_emit_number(value, 4);
    bench_emit(size == 4 ? "\x66\xef" : size == 2 ? "\xef" : "\xee", size == 4 ? 2 : 1);
    return bench_call();
}

static inline uint32_t bench_in(uint16_t port)
{
    uint32_t value = 0xdeadbeef;

    bench_emit("\xba", 1);
    bench_emit_number(port, 2);
    bench_emit("\x66\xed\x66\xa3\x08\x30", 6); /* in eax, dx; mov [0x3008], eax */
    if (bench_call()) {
        memcpy(&value, bench.ram->host + 0x3008, 4);
    }
    return value;
}

#endif
