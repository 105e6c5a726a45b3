/*
 * The run loop of the interpreter: units are cached as IR, found by pc, and run one after the
 * other.
 */
#include <errno.h>
#include <signal.h>
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

/*
 * Helpers access guest memory directly. Where one faults the state is complete, and its frames are
 * left behind: the signal handler returns into leave_helper(), which jumps. Not out of the handler
 * itself, so that the signal mask and MXCSR become what they were at the fault. What interp_run()
 * had allocated for a very large unit is lost.
 */
static _Noreturn void leave_helper(struct tcg_cpu *self)
{
    longjmp(*self->interp_frame, 1);
}

bool tcg_interp_fault(struct cpu *cpu, int signal, const siginfo_t *info, ucontext_t *context)
{
    struct tcg_cpu *self = cpu->accel;
    greg_t *regs = context->uc_mcontext.gregs;
    const bool told = info->si_code != SI_KERNEL; /* else the address was not canonical */

    if (!self->interp_frame) {
        return false;
    }
    cpu->exit_arg = told ? mem_guest_address(info->si_addr) : 0;
    cpu->exit_signal = signal;
    cpu->exit_code = told ? info->si_code : SEGV_MAPERR;
    regs[REG_RDI] = (greg_t)(uintptr_t)self;
    regs[REG_RSP] = ((regs[REG_RSP] - 128) & -16) - 8; /* below the red zone, as after a call */
    regs[REG_RIP] = (greg_t)(uintptr_t)leave_helper;
    return true;
}

bool tcg_interpret(struct cpu *cpu, const struct ir_unit *unit, enum cpu_exit *result)
{
    struct tcg_cpu *self = cpu->accel;
    struct interp_exit leave;
    jmp_buf frame;
    int failed;

    if (_setjmp(frame)) {
        self->interp_frame = NULL;
        tcg_count_exit(self, CPU_EXIT_MEM_FAULT);
        *result = CPU_EXIT_MEM_FAULT;
        return true;
    }
    self->interp_frame = &frame;
    failed = interp_run(unit, cpu, &memory, &leave);
    self->interp_frame = NULL;
    tcg_set_pc(cpu, leave.pc);
    if (failed == -EFAULT) {
        cpu->exit_arg = mem_guest_fault_address();
        cpu->exit_signal = leave.fault_signal;
        cpu->exit_code = leave.fault_code;
        tcg_count_exit(self, CPU_EXIT_MEM_FAULT);
        *result = CPU_EXIT_MEM_FAULT;
        return true;
    }
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
