/*
 * Layout of the signal frame of RISC-V Linux, in plain types.
 */
#ifndef TINAMOU_LINUX_USER_RISCV_SIGFRAME_H
#define TINAMOU_LINUX_USER_RISCV_SIGFRAME_H

#include <stdint.h>

/* struct sigcontext: user_regs_struct, then the union of floating-point states, whose largest
 * member (q) the others start like. Behind the d state's fcsr the kernel keeps its list of
 * extension records, a header each; the end's header is zero. */
struct riscv_sigcontext {
    uint64_t regs[32]; /* pc, x1 ... x31 */
    union {
        struct {
            uint64_t f[32];
            uint32_t fcsr;
        };
        struct {
            uint32_t padding[129] __attribute__((aligned(16)));
            uint32_t reserved;
            uint32_t end_magic, end_size;
        };
        uint8_t size[528]; /* of the q state */
    } __attribute__((aligned(16)));
};

struct riscv_ucontext {
    uint64_t flags, link;
    uint64_t stack_sp;
    int32_t stack_flags, stack_padding;
    uint64_t stack_size;
    uint64_t sigmask;
    uint8_t unused[120];
    struct riscv_sigcontext mcontext;
};

struct riscv_sigframe {
    uint8_t info[128];
    struct riscv_ucontext uc;
};

#endif
