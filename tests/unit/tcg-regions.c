/*
 * The code buffer is given back by parts: four vCPUs run more code than it holds, and jump between
 * the parts.
 *
 * Each guest counts in a chain of blocks, each a unit of its own; the last of a row of blocks calls
 * one that all rows share, so that a popular unit is linked to from every part.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "accel/tcg/internal.h"
#include "target/riscv/cpu.h"
#include "tests/unit/tap.h"

enum {
    THREADS = 4,
    BLOCKS = 40000,
    ROUNDS = 3,
    CODE_SIZE = 3 * 1024 * 1024,
    A0 = 10,
    RA = 1,
    ADDI_A0 = 0x00150513, /* addi a0, a0, 1 */
    ECALL = 0x00000073,
    RET = 0x00008067,
};

static uint32_t jal(unsigned rd, int32_t offset)
{
    uint32_t o = (uint32_t)offset;

    return (o >> 20 & 1) << 31 | (o >> 1 & 0x3ff) << 21 | (o >> 11 & 1) << 20 |
           (o >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}

/* Writes the guest; returns its entry. Word 0 and 1 are the function. */
static uint32_t *write_guest(uint32_t *code)
{
    uint32_t *p = code + 2;

    code[0] = ADDI_A0;
    code[1] = RET;
    for (unsigned i = 0; i < BLOCKS; i++) {
        *p++ = ADDI_A0;
        if (i % 16 == 15) {
            *p = jal(RA, (int32_t)((code - p) * 4));
            p++;
        }
        *p++ = jal(0, 4);
    }
    *p = ECALL;
    return code + 2;
}

static void *run(void *opaque)
{
    size_t size = (2 + BLOCKS * 3 + 1) * sizeof(uint32_t);
    uint32_t *code = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t *counted = opaque;
    uint32_t *entry = write_guest(code);
    struct cpu *cpu = accel_tcg.cpu_create(&riscv64_target_ops);

    for (unsigned i = 0; i < ROUNDS; i++) {
        riscv_cpu(cpu)->pc = (uint64_t)entry;
        while (accel_tcg.cpu_run(cpu) == CPU_EXIT_KICK) {
            ;
        }
        if (*(uint32_t *)riscv_cpu(cpu)->pc != ECALL) {
            riscv_cpu(cpu)->x[A0] = 0;
        }
    }
    *counted = riscv_cpu(cpu)->x[A0];
    accel_tcg.cpu_destroy(cpu);
    return NULL;
}

int main(void)
{
    const struct tcg_config config = {.options = "no-cold", .code_size = CODE_SIZE};
    uint64_t counted[THREADS] = {0};
    pthread_t thread[THREADS];
    char error[256];

    if (tcg_init(&config, error, sizeof(error)) < 0) {
        tap_ok(false, "starts: %s", error);
        return tap_done();
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_create(&thread[i], NULL, run, &counted[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        tap_eq(counted[i], (uint64_t)ROUNDS * (BLOCKS + BLOCKS / 16), "a guest has counted all");
    }
    tap_ok(tcg.stats.cache_resets > 1, "parts were given back: %llu times",
           (unsigned long long)tcg.stats.cache_resets);
    tap_ok(tcg.stats.units_reclaimed > 0 && tcg.stats.units_reclaimed < tcg.stats.units,
           "with %llu of %llu units", (unsigned long long)tcg.stats.units_reclaimed,
           (unsigned long long)tcg.stats.units);
    tap_eq(tcg.stats.units_invalidated, 0, "which does not count as invalidation");
    return tap_done();
}
