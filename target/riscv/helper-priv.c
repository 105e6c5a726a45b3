/*
 * Helpers of the privileged architecture. None changes the registers of the translator's globals;
 * they may use the host's floating-point registers (IR_H_FP).
 */
#include "target/riscv/helper-priv.h"
#include "target/riscv/csr.h"
#include "target/riscv/priv.h"

uint64_t rv_helper_csr_read(struct riscv_cpu *cpu, uint64_t number)
{
    return rv_csr_read(cpu, rv_csr_find((uint32_t)number));
}

uint64_t rv_helper_csr_write(struct riscv_cpu *cpu, uint64_t number, uint64_t value, uint64_t mask)
{
    return rv_csr_write(cpu, rv_csr_find((uint32_t)number), value, mask);
}

uint64_t rv_helper_status_write(struct riscv_cpu *cpu, uint64_t old, uint64_t value)
{
    return rv_status_write(cpu, old, value);
}

uint64_t rv_helper_mret(struct riscv_cpu *cpu)
{
    return rv_mret(cpu);
}

uint64_t rv_helper_sret(struct riscv_cpu *cpu)
{
    return rv_sret(cpu);
}

void rv_helper_cbo_touch(struct riscv_cpu *cpu, uint64_t address)
{
    struct cpu_translation found;

    if (rv_translate_address(&cpu->common, address, 1, CPU_ACCESS_LOAD, &found) < 0 &&
        rv_translate_address(&cpu->common, address, 1, CPU_ACCESS_STORE, &found) < 0) {
        cpu_memory->host(&cpu->common, address, 1, CPU_ACCESS_STORE);
    }
}

void rv_helper_sfence(struct riscv_cpu *cpu, uint64_t address, uint64_t asid, uint64_t which)
{
    rv_sfence(cpu, which & 1, address, which & 2, asid);
}
