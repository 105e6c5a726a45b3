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

enum cpu_exit tcg_run_interp(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;

    for (;;) {
        struct interp_exit leave;
        struct tcg_unit *unit;
        struct cpu_jump *jump;
        uint64_t pc = tcg_pc(cpu);
        int result;

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
        tcg_log_exec(cpu, unit);
        result = interp_run(unit->ir, cpu, &memory, &leave);
        tcg_set_pc(cpu, leave.pc);
        if (result == -EFAULT) {
            cpu->exit_arg = mem_guest_fault_address();
            cpu->exit_signal = leave.fault_signal;
            cpu->exit_code = leave.fault_code;
            tcg_count_exit(self, CPU_EXIT_MEM_FAULT);
            return CPU_EXIT_MEM_FAULT;
        }
        if (leave.op != IR_exit_loop) {
            continue;
        }
        tcg_count_exit(self, (uint32_t)leave.reason);
        switch (leave.reason) {
        case CPU_EXIT_NONE:
            break;
        case CPU_EXIT_FENCE_CODE:
            tcg_flush_changed(0, UINT64_MAX);
            break;
        case CPU_EXIT_MODE:
            tcg_forget_jumps(self);
            break;
        case CPU_EXIT_FETCH_FAULT:
            tcg_drop_at(cpu, leave.pc);
            return CPU_EXIT_FETCH_FAULT;
        default:
            return (enum cpu_exit)leave.reason;
        }
    }
}
