/*
 * Signal frames of RISC-V Linux: what the kernel's struct rt_sigframe is (uapi asm/ucontext.h,
 * asm/sigcontext.h, asm/ptrace.h). The offsets
 * asserted below are those the cross compiler gives for the kernel's headers.
 *
 * The frame ends in a list of extension records, of which we write the end alone: there is no
 * vector state yet to be saved.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include "linux-user/abi.h"
#include "linux-user/riscv/sigframe.h"
#include "linux-user/signal.h"
#include "target/riscv/cpu.h"

_Static_assert(sizeof(struct riscv_sigframe) == 1088, "struct rt_sigframe");
_Static_assert(offsetof(struct riscv_sigframe, uc) == 128, "behind siginfo");
_Static_assert(offsetof(struct riscv_ucontext, stack_sp) == 16, "uc_stack");
_Static_assert(offsetof(struct riscv_ucontext, sigmask) == 40, "uc_sigmask");
_Static_assert(offsetof(struct riscv_ucontext, mcontext) == 176, "uc_mcontext");
_Static_assert(sizeof(struct riscv_sigcontext) == 784, "struct sigcontext");
_Static_assert(offsetof(struct riscv_sigcontext, f) == 256, "sc_fpregs");
_Static_assert(offsetof(struct riscv_sigcontext, fcsr) == 512, "fcsr of the d state");
_Static_assert(offsetof(struct riscv_sigcontext, reserved) == 772, "reserved, then the end");

enum { RA = 1, SP = 2, A0 = 10, A1 = 11, A2 = 12 };

int abi_sigframe_push(struct user_thread *t, const struct abi_sigframe_request *request)
{
    struct riscv_cpu *cpu = riscv_cpu(t->cpu);
    struct riscv_sigframe frame;
    uint64_t at = (request->sp - sizeof(frame)) & ~15ull;

    /* A handler that runs on the alternate stack, and is about to leave it at its lower end, must
     * not run over what lies there. */
    if (signal_on_altstack(request->altstack, request->sp) &&
        !signal_on_altstack(request->altstack, at)) {
        return -EFAULT;
    }

    memset(&frame, 0, sizeof(frame));
    memcpy(frame.info, request->info, sizeof(frame.info));
    frame.uc.stack_sp = request->altstack->sp;
    frame.uc.stack_flags = (int32_t)request->altstack->flags;
    frame.uc.stack_size = request->altstack->size;
    frame.uc.sigmask = request->mask;
    frame.uc.mcontext.regs[0] = cpu->pc;
    memcpy(&frame.uc.mcontext.regs[1], &cpu->x[1], 31 * sizeof(uint64_t));
    memcpy(frame.uc.mcontext.f, cpu->f, sizeof(frame.uc.mcontext.f));
    frame.uc.mcontext.fcsr = (cpu->frm & 7) << 5 | (cpu->fflags & 31);

    if (mem_guest_write(at, &frame, sizeof(frame)) < 0) {
        return -EFAULT;
    }
    cpu->x[RA] = user_process.vdso_sigreturn;
    cpu->x[SP] = at;
    cpu->x[A0] = (uint64_t)request->signo;
    cpu->x[A1] = at + offsetof(struct riscv_sigframe, info);
    cpu->x[A2] = at + offsetof(struct riscv_sigframe, uc);
    cpu->pc = request->handler;
    return 0;
}

int abi_sigframe_mask(const struct user_thread *t, uint64_t *mask)
{
    uint64_t at = abi_sp(t->cpu) + offsetof(struct riscv_sigframe, uc.sigmask);

    return mem_guest_read(mask, at, sizeof(*mask)) < 0 ? -EFAULT : 0;
}

int abi_sigframe_pop(struct user_thread *t, uint64_t *mask, struct user_altstack *altstack)
{
    struct riscv_cpu *cpu = riscv_cpu(t->cpu);
    struct riscv_sigframe frame;
    const struct riscv_sigcontext *context = &frame.uc.mcontext;

    if (mem_guest_read(&frame, cpu->x[SP], sizeof(frame)) < 0 || context->reserved != 0 ||
        context->end_magic != 0 || context->end_size != 0) {
        return -EFAULT;
    }
    *mask = frame.uc.sigmask;
    altstack->sp = frame.uc.stack_sp;
    altstack->size = frame.uc.stack_size;
    altstack->flags = (uint32_t)frame.uc.stack_flags;

    cpu->pc = context->regs[0] & ~1ull; /* as sepc ignores the bit */
    memcpy(&cpu->x[1], &context->regs[1], 31 * sizeof(uint64_t));
    memcpy(cpu->f, context->f, sizeof(cpu->f));
    cpu->fflags = context->fcsr & 31;
    cpu->frm = context->fcsr >> 5 & 7;
    cpu->common.mode &= ~(uint64_t)RV_MODE_FRM_SOFT;
    if (cpu->frm >= 4) {
        cpu->common.mode |= RV_MODE_FRM_SOFT;
    }
    cpu->reservation = 1;
    return 0;
}
