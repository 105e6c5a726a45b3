/* 64-bit RISC-V Linux: registers of system calls, auxiliary vector, cpuinfo. */
#include "linux-user/abi.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux-user/mm.h"
#include "linux-user/riscv/isa.h"
#include "target/riscv/cpu.h"

enum { REG_RA = 1, REG_SP = 2, REG_TP = 4, REG_A0 = 10, REG_A7 = 17 };

const struct cpu_target_ops *const abi_target = &riscv64_target_ops;
const char abi_machine[] = "riscv64";
const char abi_default_model[] = "rv64";
const uint16_t abi_elf_machine = EM_RISCV;

/* sizeof(struct rt_sigframe) of the kernel: siginfo 128, ucontext 960 with 32 + 66 words of
 * registers, rounded up to 16. */
const uint64_t abi_min_signal_stack = 1088;

static const char *const names[] = {
#define SYSCALL_NR(number, name) [number] = #name,
#include "linux-user/riscv/syscall-numbers.def"
#undef SYSCALL_NR
};

const char *abi_syscall_name(int64_t nr)
{
    return nr >= 0 && nr < (int64_t)(sizeof(names) / sizeof(names[0])) ? names[nr] : NULL;
}

/* A bit per single-letter extension, as the kernel has them: 'a' is bit 0. */
uint64_t abi_hwcap(const struct cpu *cpu)
{
    static const struct {
        enum rv_ext ext;
        char letter;
    } letters[] = {{RV_EXT_i, 'i'}, {RV_EXT_m, 'm'}, {RV_EXT_a, 'a'},
                   {RV_EXT_f, 'f'}, {RV_EXT_d, 'd'}, {RV_EXT_c, 'c'}};
    const struct rv_ext_set *set = &((const struct riscv_cpu *)cpu)->ext;
    uint64_t bits = 0;

    for (unsigned i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if (rv_has(set, letters[i].ext)) {
            bits |= UINT64_C(1) << (letters[i].letter - 'a');
        }
    }
    return bits;
}

uint64_t abi_hwcap2(const struct cpu *cpu)
{
    return 0;
}

bool abi_elf_flags_ok(uint32_t e_flags, const char **why)
{
    if (e_flags & EF_RISCV_RVE) {
        *why = "for RV64E, which has 16 registers";
        return false;
    }
    if ((e_flags & EF_RISCV_FLOAT_ABI) == EF_RISCV_FLOAT_ABI_QUAD) {
        *why = "for quad-precision floating point";
        return false;
    }
    return true;
}

int abi_cpuinfo(int fd, const struct cpu *cpu, unsigned cpus)
{
    char isa[1024];

    riscv_isa_string(&((const struct riscv_cpu *)cpu)->ext, isa, sizeof(isa));
    for (unsigned i = 0; i < cpus; i++) {
        if (dprintf(fd,
                    "processor\t: %u\nhart\t\t: %u\nisa\t\t: %s\nmmu\t\t: sv48\n"
                    "mvendorid\t: 0x0\nmarchid\t\t: 0x0\nmimpid\t\t: 0x0\nhart isa\t: %s\n\n",
                    i, i, isa, isa) < 0) {
            return -errno;
        }
    }
    return 0;
}

void abi_start(struct cpu *cpu, uint64_t entry, uint64_t sp)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);

    memset(rv->x, 0, sizeof(rv->x));
    rv->x[REG_SP] = sp;
    rv->pc = entry;
}

uint64_t abi_pc(const struct cpu *cpu)
{
    return ((const struct riscv_cpu *)cpu)->pc;
}

uint64_t abi_sp(const struct cpu *cpu)
{
    return ((const struct riscv_cpu *)cpu)->x[REG_SP];
}

void abi_set_pc(struct cpu *cpu, uint64_t pc)
{
    riscv_cpu(cpu)->pc = pc;
}

void abi_set_sp(struct cpu *cpu, uint64_t sp)
{
    riscv_cpu(cpu)->x[REG_SP] = sp;
}

void abi_set_tls(struct cpu *cpu, uint64_t tls)
{
    riscv_cpu(cpu)->x[REG_TP] = tls;
}

void abi_syscall_enter(struct cpu *cpu, int64_t *nr, uint64_t args[6])
{
    struct riscv_cpu *rv = riscv_cpu(cpu);

    *nr = (int64_t)rv->x[REG_A7];
    memcpy(args, &rv->x[REG_A0], 6 * sizeof(*args));
    rv->pc += 4;
}

void abi_syscall_result(struct cpu *cpu, int64_t result)
{
    riscv_cpu(cpu)->x[REG_A0] = (uint64_t)result;
}

void abi_syscall_again(struct cpu *cpu, int64_t nr, uint64_t arg0)
{
    struct riscv_cpu *rv = riscv_cpu(cpu);

    rv->x[REG_A7] = (uint64_t)nr;
    rv->x[REG_A0] = arg0;
    rv->pc -= 4;
}

bool abi_exit_signal(struct cpu *cpu, enum cpu_exit exit, int *signo, int *code, uint64_t *addr)
{
    *addr = abi_pc(cpu);
    switch (exit) {
    case CPU_EXIT_BREAKPOINT:
        *signo = SIGTRAP;
        *code = TRAP_BRKPT;
        return true;
    case CPU_EXIT_ILLEGAL:
        *signo = SIGILL;
        *code = ILL_ILLOPC;
        return true;
    case CPU_EXIT_MISALIGNED:
        *signo = SIGBUS;
        *code = BUS_ADRALN;
        *addr = cpu->exit_arg;
        return true;
    default:
        return false;
    }
}

unsigned abi_insn_length(uint32_t bits)
{
    return (bits & 3) == 3 ? 4 : 2;
}
