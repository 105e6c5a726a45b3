/*
 * Helpers that call into the host: the clock, and the vDSO's way out. Their rows say IR_H_FP.
 */
#include "target/riscv/helper-host.h"
#include <errno.h>
#include <time.h>
#include "target/riscv/cpu.h"

int64_t (*riscv_vdso_call)(struct cpu *cpu, unsigned number, uint64_t a0, uint64_t a1, uint64_t a2);

static uint64_t monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t rv_helper_rdtime(void)
{
    return monotonic_ns() / 100;
}

uint64_t rv_helper_vdso_call(struct riscv_cpu *cpu, uint64_t number, uint64_t a0, uint64_t a1,
                             uint64_t a2)
{
    if (!riscv_vdso_call) {
        return (uint64_t)-ENOSYS;
    }
    return (uint64_t)riscv_vdso_call(&cpu->common, (unsigned)number, a0, a1, a2);
}
