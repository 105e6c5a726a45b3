/*
 * Harts under the translator, with their threads: RAM, a port whose stores end a run, and a clock
 * that goes. A test puts code into RAM, sets registers while the harts are paused, and lets them
 * run until one stops for a debugger or stores to the port.
 */
#ifndef TINAMOU_TESTS_UNIT_TCG_HART_H
#define TINAMOU_TESTS_UNIT_TCG_HART_H

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "accel/accel.h"
#include "accel/vcpu.h"
#include "mem/access.h"
#include "target/riscv/csr.h"
#include "target/riscv/model.h"
#include "target/riscv/priv.h"
#include "tests/unit/riscv-csrs.h"
#include "tests/unit/tap.h"

#define RAM      UINT64_C(0x80000000)
#define RAM_SIZE UINT64_C(0x400000)
#define PORT     UINT64_C(0x10000000)

enum { HARTS = 2 };

struct cpu_timer {
    int nothing;
};

static struct cpu *harts[HARTS];
static struct mem_space harts_space;
static struct mem_region harts_root, harts_ram_region, harts_port;
static struct mem_ram *harts_ram;
static sem_t harts_sem;                /* a hart has stopped, or stored to the port */
static _Atomic unsigned harts_stops;   /* events of debuggers */
static _Atomic unsigned harts_ended;   /* stores to the port */
static _Atomic unsigned harts_touched; /* accesses to the other registers of the port */

/* What the process has found out, for the one that has started it. */
static struct harts_counts {
    int count, failed;
} * harts_counts;

static _Noreturn void harts_give_up(void)
{
    *harts_counts = (struct harts_counts){tap_count, tap_failed};
    exit(1);
}

static inline const struct cpu_service_ops *service(void)
{
    return accel_system_tcg.service;
}

static inline struct riscv_cpu *hart(unsigned n)
{
    return riscv_cpu(harts[n]);
}

static inline void *ram_at(uint64_t gpa)
{
    return mem_ram_host(harts_ram, gpa - RAM, 1);
}

static inline uint64_t word_at(uint64_t gpa)
{
    uint64_t word;

    memcpy(&word, ram_at(gpa), 8);
    return word;
}

static inline void set_word(uint64_t gpa, uint64_t word)
{
    memcpy(ram_at(gpa), &word, 8);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static int64_t harts_now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* No hart here asks for a timer that would fire. */
static struct cpu_timer *harts_timer_create(struct cpu_clock_source *source, enum cpu_clock clock,
                                            void (*fire)(void *opaque), void *opaque)
{
    static struct cpu_timer timer;

    return &timer;
}

static void harts_timer_arm(struct cpu_timer *timer, int64_t deadline)
{
}

static const struct cpu_clock_ops harts_clock_ops = {
    .now = harts_now, .timer_create = harts_timer_create, .timer_arm = harts_timer_arm};
static struct cpu_clock_source harts_clock = {&harts_clock_ops};

static int port_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    atomic_fetch_add(&harts_touched, 1);
    *value = 0x5a;
    return 0;
}

static int port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    if (offset) {
        atomic_fetch_add(&harts_touched, 1);
    } else {
        atomic_fetch_add(&harts_ended, 1);
        sem_post(&harts_sem);
    }
    return 0;
}

static const struct mem_ops port_ops = {
    .read = port_read, .write = port_write, .min_size = 1, .max_size = 8};

static void harts_event(enum accel_event event, struct cpu *cpu)
{
    if (event == ACCEL_EVENT_DEBUG) {
        atomic_fetch_add(&harts_stops, 1);
        sem_post(&harts_sem);
    }
}

/* Harts in machine mode, paused; number 1 is powered off. `options` as -accel tcg has them. */
static inline void harts_create(const char *options, const char *model)
{
    struct accel_system_config config = {.options = options,
                                         .memory = &harts_space,
                                         .cpus = HARTS,
                                         .max_cpus = HARTS,
                                         .event = harts_event};
    char error[256] = "";
    int result;

    sem_init(&harts_sem, 0, 0);
    mem_region_init_container(&harts_root, "root", MEM_SIZE_ALL);
    mem_space_init(&harts_space, "memory", &harts_root);
    mem_ram_create(&harts_ram, &(struct mem_ram_config){.name = "ram", .size = RAM_SIZE}, error,
                   sizeof(error));
    mem_region_init_ram(&harts_ram_region, "ram", harts_ram, 0, RAM_SIZE, false);
    mem_region_add(&harts_root, RAM, &harts_ram_region, 0);
    mem_region_init_mmio(&harts_port, "port", MEM_PAGE_SIZE, &port_ops, NULL, NULL);
    mem_region_add(&harts_root, PORT, &harts_port, 0);
    result = accel_system_tcg.init(&config, error, sizeof(error));
    for (unsigned n = 0; n < HARTS && result == 0; n++) {
        struct cpu_system wiring = {
            .service = service(), .memory = &harts_space, .clock = &harts_clock, .hart = n};

        set_word(RAM, 0x6f); /* jal zero, 0 */
        harts[n] = accel_system_tcg.cpu_create(&riscv64_target_ops, n, n);
        result = riscv64_target_ops.set_model(harts[n], model, error, sizeof(error));
        result = result ? result : riscv_system_ops.attach(harts[n], &wiring, error, sizeof(error));
        riscv_system_ops.reset(harts[n], RAM);
    }
    for (unsigned n = 0; n < HARTS && result == 0; n++) {
        vcpu_set_power(harts[n], n == 0);
        result = vcpu_start(harts[n]->owner, "TCG");
    }
    if (result) {
        tap_ok(false, "harts: %s", error);
        harts_give_up();
    }
}

static inline void harts_destroy(void)
{
    vcpu_stop_all(NULL, NULL);
    for (unsigned n = 0; n < HARTS; n++) {
        accel_system_tcg.cpu_destroy(harts[n]);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

/* Lets the harts run. */
static inline void harts_go(void)
{
    while (sem_trywait(&harts_sem) == 0) {
        ;
    }
    atomic_store(&harts_stops, 0);
    atomic_store(&harts_ended, 0);
    vcpu_resume_all();
}

/* Waits until a hart has stopped or stored to the port, and pauses them. False: none has. */
static inline bool harts_wait(void)
{
    struct timespec limit;
    bool came;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 20;
    came = sem_timedwait(&harts_sem, &limit) == 0;
    vcpu_pause_all(NULL, NULL);
    return came;
}

/* Runs them; what hart n has stopped for, CPU_STOP_NONE when it stored to the port. */
static inline struct cpu_stop hart_run(unsigned n)
{
    struct cpu_stop stop = {.kind = CPU_STOP_NONE};

    harts_go();
    if (!harts_wait()) {
        tap_ok(false, "a hart hangs at %#llx, mcause %llu, mtval %#llx, mepc %#llx",
               (unsigned long long)hart(n)->pc, (unsigned long long)hart(n)->sys.mcause,
               (unsigned long long)hart(n)->sys.mtval, (unsigned long long)hart(n)->sys.mepc);
        harts_give_up();
    }
    service()->debug_stop(harts[n], &stop);
    return stop;
}

static inline struct cpu_stop harts_run(void)
{
    return hart_run(0);
}

/* Runs for a while, whatever happens. */
static inline void harts_run_ms(unsigned ms)
{
    harts_go();
    usleep(ms * 1000);
    vcpu_pause_all(NULL, NULL);
}

/* ---- code ------------------------------------------------------------------------------------ */

enum { ZERO, RA, SP, GP, TP, T0, T1, T2, S0, S1, A0, A1, A2, A3, A4, A5, A6, A7 };

static inline uint32_t type_i(unsigned opcode, unsigned f3, unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | opcode;
}

static inline uint32_t type_s(unsigned opcode, unsigned f3, unsigned rs2, unsigned rs1, int imm)
{
    return ((uint32_t)imm >> 5 & 127) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           ((uint32_t)imm & 31) << 7 | opcode;
}

static inline uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
    return type_i(0x13, 0, rd, rs1, imm);
}

/* width: log2 of the bytes */
static inline uint32_t load(unsigned width, unsigned rd, unsigned rs1, int imm)
{
    return type_i(0x03, width, rd, rs1, imm);
}

static inline uint32_t store(unsigned width, unsigned rs2, unsigned rs1, int imm)
{
    return type_s(0x23, width, rs2, rs1, imm);
}

static inline uint32_t amo(unsigned f5, unsigned width, unsigned rd, unsigned rs1, unsigned rs2)
{
    return f5 << 27 | rs2 << 20 | rs1 << 15 | width << 12 | rd << 7 | 0x2f;
}
enum { AMOADD = 0, AMOSWAP = 1, LR = 2, SC = 3, AMOCAS = 5 };

static inline uint32_t branch(unsigned f3, unsigned rs1, unsigned rs2, int offset)
{
    uint32_t o = (uint32_t)offset;

    return (o >> 12 & 1) << 31 | (o >> 5 & 63) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           (o >> 1 & 15) << 8 | (o >> 11 & 1) << 7 | 0x63;
}
enum { BEQ = 0, BNE = 1 };

static inline uint32_t jal(unsigned rd, int offset)
{
    uint32_t o = (uint32_t)offset;

    return (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 |
           (o >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}

static inline uint32_t jalr(unsigned rd, unsigned rs1)
{
    return type_i(0x67, 0, rd, rs1, 0);
}

static inline uint32_t csrrw(unsigned csr, unsigned rd, unsigned rs1)
{
    return type_i(0x73, 1, rd, rs1, (int)csr);
}

enum { ECALL = 0x73, EBREAK = 0x100073, MRET = 0x30200073, WFI = 0x10500073, RET = 0x8067 };

/* Puts code to `at`. */
static inline void put_code(uint64_t at, const uint32_t *code, unsigned count)
{
    memcpy(ram_at(at), code, count * 4);
    service()->code_changed(mem_gpa(at), count * 4);
}

#define PUT(at, ...)                              \
    put_code(at, (const uint32_t[]){__VA_ARGS__}, \
             sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* Reset, with all of memory allowed to lower privileges, x31 the port's address. */
static inline void hart_start(unsigned n, uint64_t pc)
{
    riscv_system_ops.reset(harts[n], pc);
    rv_pmp_write_addr(hart(n), 0, UINT64_MAX, UINT64_MAX);
    rv_pmp_write_cfg(hart(n), 0, 0x1f, UINT64_MAX);
    hart(n)->x[31] = PORT;
    hart(n)->sys.mtvec = RAM; /* where a hart that has gone astray stays */
    vcpu_unhalt(harts[n]);
}

/* Stores to the port, and stays. */
#define END store(2, ZERO, 31, 0), jal(ZERO, 0)

/* ---- engines --------------------------------------------------------------------------------- */

/* Runs `test` once on each engine, in a process of its own. */
static inline int harts_each_engine(void (*test)(void), const char *model)
{
    static const struct {
        const char *name, *options;
    } engines[] = {
        {"host code", "opt=no-cold"},
        {"host code, cold", ""},
        {"an instruction a unit", "opt=no-cold,one-insn-per-tb=on"},
        {"interpreter", "jit=interp"},
    };

    harts_counts = mmap(NULL, sizeof(*harts_counts), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        int status = -1;
        pid_t pid;

        printf("# %s\n", engines[i].name);
        fflush(stdout);
        *harts_counts = (struct harts_counts){0, 0};
        pid = fork();
        if (pid == 0) {
            tap_count = tap_failed = 0;
            harts_create(engines[i].options, model);
            test();
            harts_destroy();
            *harts_counts = (struct harts_counts){tap_count, tap_failed};
            exit(0);
        }
        waitpid(pid, &status, 0);
        tap_count += harts_counts->count;
        tap_failed += harts_counts->failed;
        tap_ok(status == 0, "%s: came to its end", engines[i].name);
    }
    return tap_done();
}

#endif
