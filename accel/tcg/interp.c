/*
 * The run loop of the interpreter: units are cached as IR, found by pc, and run one after the
 * other.
 */
#include <errno.h>
#include "accel/tcg/internal.h"
#include "jit/interp/interp.h"
#include "mem/guest.h"
#include "util/log.h"

static int load(void *opaque, uint64_t address, unsigned size, uint64_t *value, int *fault_signal,
                int *fault_code)
{
    return mem_guest_load(address, size, value, fault_signal, fault_code);
}

static int store(void *opaque, uint64_t address, unsigned size, uint64_t value, int *fault_signal,
                 int *fault_code)
{
    return mem_guest_store(address, size, value, fault_signal, fault_code);
}

static int cas(void *opaque, uint64_t address, unsigned size, uint64_t expected, uint64_t desired,
               uint64_t *old, int *fault_signal, int *fault_code)
{
    return mem_guest_cas(address, size, expected, desired, old, fault_signal, fault_code);
}

static const struct interp_memory memory = {.load = load, .store = store, .cas = cas};

bool tcg_interpret(struct cpu *cpu, const struct ir_unit *unit, enum cpu_exit *result)
{
    struct interp_exit leave;

    if (interp_run(unit, cpu, &memory, &leave) == -EFAULT) {
        tcg_set_pc(cpu, leave.pc);
        cpu->exit_arg = mem_guest_fault_address();
        cpu->exit_signal = leave.fault_signal;
        cpu->exit_code = leave.fault_code;
        tcg_count_exit(cpu->accel, CPU_EXIT_MEM_FAULT);
        *result = CPU_EXIT_MEM_FAULT;
        return true;
    }
    tcg_set_pc(cpu, leave.pc);
    return leave.op == IR_exit_loop && tcg_leave(cpu, leave.reason, result);
}

enum cpu_exit tcg_run_interp(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;
    enum cpu_exit result;

    for (;;) {
        struct tcg_unit *unit;
        struct cpu_jump *jump;
        uint64_t pc = tcg_pc(cpu);

        if (atomic_load(&cpu->kicked) && tcg_take_kick(cpu)) {
            tcg_count_exit(self, CPU_EXIT_KICK);
            return CPU_EXIT_KICK;
        }
        jump = &self->jumps[(pc >> 1) & (CPU_JUMP_CACHE_SIZE - 1)];
        if (__atomic_load_n(&jump->pc, __ATOMIC_ACQUIRE) == pc) {
            unit = (struct tcg_unit *)jump->code;
        } else {
            lock_acquire(&tcg.lock);
            unit = tcg_find_locked(pc, cpu->mode);
            if (!unit) {
                unit = tcg_translate_locked(cpu, pc);
            }
            if (unit) {
                jump->code = unit;
                __atomic_store_n(&jump->pc, pc, __ATOMIC_RELEASE);
            }
            lock_release(&tcg.lock);
            if (!unit) {
                log_printf("out of memory\n");
                return CPU_EXIT_ILLEGAL;
            }
        }
        tcg_log_exec(cpu, unit->pc);
        if (tcg_interpret(cpu, unit->ir, &result)) {
            return result;
        }
    }
}
