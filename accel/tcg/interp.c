/*
 * The run loop of the interpreter: units are cached as IR, found by pc, and run one after the
 * other.
 */
#include <errno.h>
#include "accel/tcg/internal.h"
#include "jit/interp/call.h"
#include "jit/interp/interp.h"
#include "jit/jit.h"
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

/*
 * A helper's access to guest memory faults somewhere in C. The signal handler records the fault and
 * has the thread go on in escape(), outside the handler, so that the signal mask is right.
 */
static int call(void *opaque, const struct ir_helper *helper, void *state, const uint64_t *args,
                uint64_t *result, int *fault_signal, int *fault_code)
{
    struct cpu *cpu = state;
    struct tcg_cpu *self = cpu->accel;
    volatile unsigned mxcsr = __builtin_ia32_stmxcsr();

    if (_setjmp(self->escape) != 0) {
        __builtin_ia32_ldmxcsr(mxcsr);
        self->interpreting = false;
        *fault_signal = cpu->exit_signal;
        *fault_code = cpu->exit_code;
        return -EFAULT;
    }
    cpu->exit_reason = JIT_IN_HELPER;
    self->interpreting = true;
    *result = interp_call(helper, state, args);
    self->interpreting = false;
    cpu->exit_reason = CPU_EXIT_NONE;
    return 0;
}

static _Noreturn void escape(struct tcg_cpu *self)
{
    longjmp(self->escape, 1);
}

void tcg_interp_escape(struct cpu *cpu, int signal, int code, uint64_t address, ucontext_t *context)
{
    greg_t *regs = context->uc_mcontext.gregs;
    struct tcg_cpu *self = cpu->accel;

    cpu->exit_reason = CPU_EXIT_NONE;
    cpu->exit_signal = signal;
    cpu->exit_code = code;
    self->escaped = true;
    self->escape_address = address;
    regs[REG_RDI] = (greg_t)(uint64_t)self;
    /* below the red zone, aligned as at a function's entry */
    regs[REG_RSP] = ((regs[REG_RSP] - 128) & ~(greg_t)15) - 8;
    regs[REG_RIP] = (greg_t)(uint64_t)escape;
}

static const struct interp_memory memory = {.load = load, .store = store, .cas = cas};

unsigned tcg_interpret(struct cpu *cpu, const struct ir_unit *unit)
{
    struct tcg_cpu *self = cpu->accel;
    struct interp_memory ops = tcg.system ? *tcg.system->memory : memory;
    struct interp_exit leave;

    ops.opaque = cpu;
    ops.call = call;
    if (interp_run(unit, cpu, &ops, &leave) == -EFAULT) {
        tcg_set_pc(cpu, leave.pc);
        if (tcg.system) {
            return CPU_EXIT_MEM_FAULT;
        }
        cpu->exit_arg = self->escaped ? self->escape_address : mem_guest_fault_address();
        self->escaped = false;
        cpu->exit_signal = leave.fault_signal;
        cpu->exit_code = leave.fault_code;
        return CPU_EXIT_MEM_FAULT;
    }
    tcg_set_pc(cpu, leave.pc);
    return leave.op == IR_exit_loop ? leave.reason : CPU_EXIT_NONE;
}

enum cpu_exit tcg_run_interp(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;
    enum cpu_exit result;

    for (;;) {
        struct tcg_unit *unit;
        struct cpu_jump *jump;
        unsigned reason;
        uint64_t pc = tcg_pc(cpu);

        if (atomic_load(&cpu->kicked) && tcg_take_kick(cpu)) {
            tcg_count_exit(self, CPU_EXIT_KICK);
            return CPU_EXIT_KICK;
        }
        jump = &self->jumps[tcg_jump_index(pc)];
        if (__atomic_load_n(&jump->pc, __ATOMIC_ACQUIRE) == pc) {
            unit = (struct tcg_unit *)jump->code;
        } else {
            lock_acquire(&tcg.lock);
            unit = tcg_find_locked(&(struct tcg_where){.pc = pc}, cpu->mode);
            if (!unit) {
                unit = tcg_translate_locked(cpu, &(struct tcg_where){.pc = pc});
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
        reason = tcg_interpret(cpu, unit->ir);
        if (reason != CPU_EXIT_NONE && tcg_leave(cpu, reason, &result)) {
            return result;
        }
    }
}
