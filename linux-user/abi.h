/*
 * What the generic files ask of a guest architecture; linux-user/A/ implements it, and one A is
 * linked.
 */
#ifndef TINAMOU_LINUX_USER_ABI_H
#define TINAMOU_LINUX_USER_ABI_H

#include "linux-user/user.h"

/* abi.c */
extern const struct cpu_target_ops *const abi_target;
extern const char abi_machine[]; /* uname's */
extern const char abi_default_model[];
extern const uint16_t abi_elf_machine; /* EM_* */

/* AT_HWCAP and AT_HWCAP2 for the vCPU's model. */
uint64_t abi_hwcap(const struct cpu *cpu);
uint64_t abi_hwcap2(const struct cpu *cpu);

/* AT_MINSIGSTKSZ: the smallest stack a signal frame fits. */
extern const uint64_t abi_min_signal_stack;

/* Is an executable with these e_flags one for us? */
bool abi_elf_flags_ok(uint32_t e_flags, const char **why);

/* Writes /proc/cpuinfo's text for `cpus` processors into fd. 0 or -errno. */
int abi_cpuinfo(int fd, const struct cpu *cpu, unsigned cpus);

/* Registers at the start of a program. */
void abi_start(struct cpu *cpu, uint64_t entry, uint64_t sp);

uint64_t abi_pc(const struct cpu *cpu);
uint64_t abi_sp(const struct cpu *cpu);
void abi_set_pc(struct cpu *cpu, uint64_t pc);
void abi_set_sp(struct cpu *cpu, uint64_t sp);
void abi_set_tls(struct cpu *cpu, uint64_t tls);

/* Reads number and arguments of the system call instruction at pc, and moves pc behind it. */
void abi_syscall_enter(struct cpu *cpu, int64_t *nr, uint64_t args[6]);
void abi_syscall_result(struct cpu *cpu, int64_t result);

/* Winds the pc back to the system call instruction, with first argument arg0 and the number nr, to
 * make it again. */
void abi_syscall_again(struct cpu *cpu, int64_t nr, uint64_t arg0);

/* The name of a system call number, NULL if it has none. */
const char *abi_syscall_name(int64_t nr);

/* Length in bytes of the instruction that begins with these bits (little-endian). */
unsigned abi_insn_length(uint32_t bits);

/* An exit the generic run loop does not know how to answer for itself (breakpoint, illegal
 * instruction, ...): signal and code to force. Returns false if the run loop should simply go on.
 */
bool abi_exit_signal(struct cpu *cpu, enum cpu_exit exit, int *signo, int *code, uint64_t *addr);

/* sigframe.c: builds the frame for a handler and points the registers at it. `sp` is the stack to
 * use (alternate or current), mask the one to be restored. 0, or -EFAULT if the stack can't be
 * written. */
struct abi_sigframe_request {
    int signo;
    const siginfo_t *info;             /* as the host kernel gives it: the same for 64-bit guests */
    uint64_t handler, flags, restorer; /* of the guest's sigaction */
    uint64_t mask;
    uint64_t sp;
    const struct user_altstack *altstack; /* as it was, for uc_stack */
};
int abi_sigframe_push(struct user_thread *t, const struct abi_sigframe_request *request);

/* rt_sigreturn: abi_sigframe_mask() only reads the mask saved in the frame at sp;
 * abi_sigframe_pop() restores registers from it, and returns the mask and stack saved there. 0 or
 * -EFAULT. */
int abi_sigframe_mask(const struct user_thread *t, uint64_t *mask);
int abi_sigframe_pop(struct user_thread *t, uint64_t *mask, struct user_altstack *altstack);

/* vdso.c: maps the vDSO, and sets user_process.vdso and .vdso_sigreturn. 0 or -errno; without a
 * vDSO the guest makes system calls. */
int abi_vdso_map(struct cpu *cpu);

/* The vDSO's range may have to be known to a vCPU: for every new one that is not a copy. */
void abi_vdso_attach(struct cpu *cpu);

#endif
