/*
 * Host faults in generated code become guest faults.
 */
#include <signal.h>
#include <string.h>
#include "accel/tcg/internal.h"
#include "mem/guest.h"

#ifndef SI_KERNEL
#define SI_KERNEL 0x80
#endif

static const int greg_of[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void read_regs(const ucontext_t *context, struct jit_host_regs *regs)
{
    for (unsigned i = 0; i < 16; i++) {
        regs->gpr[i] = (uint64_t)context->uc_mcontext.gregs[greg_of[i]];
        memcpy(&regs->vector[i], &context->uc_mcontext.fpregs->_xmm[i], 8);
    }
}

/*
 * The effective address of the memory operand at code: for a non-canonical one the CPU does not
 * report the address. Knows the encodings that the back end emits: legacy prefixes, REX or VEX, one
 * opcode, ModRM, SIB. The gs base is not added.
 */
static uint64_t operand_address(const uint8_t *code, const struct jit_host_regs *regs)
{
    unsigned rex = 0, mod, rm;
    uint64_t address = 0;
    int32_t disp;

    while (*code == 0x65 || *code == 0x66 || *code == 0xf0 || *code == 0xf2 || *code == 0xf3) {
        code++;
    }
    if (*code == 0xc5) {
        code += 2; /* its R bit extends the register operand only */
    } else if (*code == 0xc4) {
        rex = (~code[1] >> 5) & 7;
        code += 3;
    } else {
        if ((*code & 0xf0) == 0x40) {
            rex = *code++ & 0xf;
        }
        if (*code == 0x0f) {
            code++;
            if (*code == 0x38 || *code == 0x3a) {
                code++;
            }
        }
    }
    code++; /* the opcode */
    mod = *code >> 6;
    rm = *code++ & 7;
    if (rm == 4) {
        unsigned index = (*code >> 3 & 7) | (rex & 2) << 2, base = (*code & 7) | (rex & 1) << 3;

        if (index != 4) {
            address += regs->gpr[index] << (*code >> 6);
        }
        if ((base & 7) != 5 || mod) {
            address += regs->gpr[base];
        } else {
            mod = 2;
        }
        code++;
    } else {
        address = regs->gpr[rm | (rex & 1) << 3];
    }
    if (mod == 1) {
        address += (uint64_t)(int64_t)(int8_t)*code;
    } else if (mod == 2) {
        memcpy(&disp, code, 4);
        address += (uint64_t)(int64_t)disp;
    }
    return address;
}

bool tcg_handle_fault(struct cpu *cpu, int signal, const siginfo_t *info, ucontext_t *context)
{
    uint64_t rip = (uint64_t)context->uc_mcontext.gregs[REG_RIP], address = (uint64_t)info->si_addr,
             pc;
    struct jit_host_regs regs;
    struct tcg_unit *unit;
    int code = info->si_code;

    if (mem_guest_fixup(signal, info, context)) {
        return true;
    }
    if (!cpu || (signal != SIGSEGV && signal != SIGBUS)) {
        return false;
    }
    if (tcg.interp) {
        if (cpu->exit_reason != JIT_IN_HELPER) {
            return false;
        }
        address = code == SI_KERNEL ? 0 : address - mem_guest_base;
        code = code == SI_KERNEL ? SEGV_MAPERR : code;
        tcg_interp_escape(cpu, signal, code, address, context);
        return true;
    }
    if (tcg_in_buffer(rip)) {
        uint32_t offset = (uint32_t)(rip - (uint64_t)tcg_code_rx);

        unit = tcg_unit_at(offset);
        read_regs(context, &regs);
        if (!unit || !jit_recover(cpu->ops->ir, &tcg.layout, unit->side, unit->side_size, unit->pc,
                                  offset - unit->code, &regs, cpu, &pc)) {
            return false;
        }
        tcg_set_pc(cpu, pc);
        if (code == SI_KERNEL) {
            /* a general protection fault: the address was not canonical */
            address = operand_address((const uint8_t *)rip, &regs);
            signal = SIGSEGV;
            code = SEGV_MAPERR;
        } else {
            address -= mem_guest_base;
        }
    } else if (cpu->exit_reason == JIT_IN_HELPER) {
        /* a helper that accesses guest memory: the state was complete before the call */
        address = code == SI_KERNEL ? 0 : address - mem_guest_base;
        if (code == SI_KERNEL) {
            code = SEGV_MAPERR;
        }
    } else {
        return false;
    }
    cpu->exit_arg = address;
    cpu->exit_signal = signal;
    cpu->exit_code = code;
    cpu->exit_reason = CPU_EXIT_MEM_FAULT;
    context->uc_mcontext.gregs[REG_RBP] =
        (greg_t)(uintptr_t)((char *)cpu + jit_x86_bias(cpu->ops->ir));
    context->uc_mcontext.gregs[REG_RIP] =
        (greg_t)(uint64_t)(tcg_code_rx + tcg.thunk[JIT_THUNK_FAULT]);
    return true;
}
