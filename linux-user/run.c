/*
 * The run loop of a guest thread: signals, generated code, and what it came back for.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "accel/tcg/tcg.h"
#include "linux-user/abi.h"
#include "linux-user/mm.h"
#include "linux-user/signal.h"
#include "linux-user/syscall.h"
#include "linux-user/user.h"
#include "util/log.h"

/* True if the guest just goes on with the result. */
static bool make_syscall(struct user_thread *t)
{
    int64_t result;

    abi_syscall_enter(t->cpu, &t->syscall_nr, t->syscall_args);
    result = syscall_make(t);
    switch (result) {
    case -USER_ESIGRETURN:
        return false;
    case -USER_ERESTARTSYS:
    case -USER_ERESTARTNOINTR:
    case -USER_ERESTARTNOHAND:
        t->syscall_restart = result;
        signal_deliver(t);
        return false;
    default:
        abi_syscall_result(t->cpu, result);
        return true;
    }
}

bool user_syscall(struct cpu *cpu)
{
    struct user_thread *t = cpu->owner;

    return make_syscall(t) && !signal_pending(t);
}

/*
 * The host's view of a fault is right but for memory that is ours: the gap below the stack is
 * protected on the host and unmapped for the guest.
 */
static void memory_fault(struct user_thread *t)
{
    const uint64_t address = t->cpu->exit_arg;
    int code = t->cpu->exit_code;

    /* What x86-64 reports of an address that is not canonical. To the guest nothing is there. */
    if (t->cpu->exit_signal == SIGSEGV && code == SI_KERNEL) {
        code = SEGV_MAPERR;
    }
    if (t->cpu->exit_signal == SIGSEGV && code == SEGV_ACCERR &&
        mm_mapped_length(address, 1) == 0) {
        code = SEGV_MAPERR;
    }
    signal_force(t, t->cpu->exit_signal, code, address);
}

static void fetch_fault(struct user_thread *t)
{
    const uint64_t address = t->cpu->exit_arg;

    if (mm_mapped_length(address, 1) == 0) {
        signal_force(t, SIGSEGV, SEGV_MAPERR, address);
    } else if (!mm_allows(address, 1, PROT_EXEC)) {
        signal_force(t, SIGSEGV, SEGV_ACCERR, address);
    } else {
        uint64_t bits;
        int signo = SIGSEGV, code = SEGV_ACCERR;
        /* Mapped executable but unreadable: behind the end of its file. If it has become readable
         * since, the instruction just runs again. */
        if (mem_guest_load(address, 1, &bits, &signo, &code) < 0) {
            signal_force(t, signo, code, address);
        }
    }
}

void user_run(struct user_thread *t)
{
    struct cpu *cpu = t->cpu;

    if (mem_guest_base != 0) {
        /* Generated code adds the base to every guest address through this segment. */
        user_host_syscall(SYS_arch_prctl, ARCH_SET_GS, mem_guest_base, 0, 0, 0, 0);
    }
    for (;;) {
        enum cpu_exit exit;
        int signo, code;
        uint64_t address;

        if (signal_pending(t)) {
            signal_deliver(t);
        }
        exit = user_accel->cpu_run(cpu);
        switch (exit) {
        case CPU_EXIT_SYSCALL:
            make_syscall(t);
            break;
        case CPU_EXIT_MEM_FAULT:
            memory_fault(t);
            break;
        case CPU_EXIT_FETCH_FAULT:
            fetch_fault(t);
            break;
        case CPU_EXIT_FENCE_CODE:
            tcg_flush_changed(0, mm_task_size());
            break;
        case CPU_EXIT_NONE:
        case CPU_EXIT_KICK:
        case CPU_EXIT_MODE:
            break;
        default:
            if (abi_exit_signal(cpu, exit, &signo, &code, &address)) {
                signal_force(t, signo, code, address);
            }
        }
    }
}
