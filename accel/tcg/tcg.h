/*
 * The translator as its drivers see it, beyond accel.h: code invalidation, host faults, fork.
 *
 * All vCPUs of a process share one code cache. Functions are thread-safe unless they say otherwise.
 */
#ifndef TINAMOU_ACCEL_TCG_TCG_H
#define TINAMOU_ACCEL_TCG_TCG_H

#include <signal.h>
#include <stdio.h>
#include <ucontext.h>
#include "accel/accel.h"

/* Host stack, in bytes, that a thread needs below the frame that calls cpu_run(). */
#define TCG_STACK_SIZE (512 * 1024)

enum tcg_backend { TCG_BACKEND_HOST, TCG_BACKEND_INTERP };

struct tcg_config {
    enum tcg_backend backend;
    const char *options; /* list for jit_options_parse(), or NULL */
    bool one_insn;       /* a unit per guest instruction */
    uint64_t guest_base; /* host address of guest address 0; 0 where guest addresses are host
                            addresses */
    size_t code_size;    /* of the code buffer in bytes, 0 for the default */
    /* Whether guest code may be fetched from [pc, pc + length), at least its first bytes: returns
     * how many bytes from pc on may be (up to length). Called on a vCPU thread while translating;
     * may lock. */
    unsigned (*fetchable)(uint64_t pc, unsigned length);

    /* Makes the system call that is next (CPU_EXIT_SYSCALL), for vCPUs in generated code: called on
     * the vCPU's thread with the state complete, some 100 KiB of host stack, and without the
     * translator's lock. True: the guest goes on at its pc; false: cpu_run() returns
     * CPU_EXIT_KICK. It need not return. NULL: cpu_run() returns CPU_EXIT_SYSCALL for every call;
     * it may in any case. */
    bool (*syscall)(struct cpu *cpu);

    /* Profiles. With the interpreter there is no code to name, and they do nothing. */
    bool perfmap; /* write /tmp/perf-PID.map */
    bool jitdump; /* write jit-PID.dump into the working folder of the start */
    /* The guest function that contains pc, and pc's distance from its start; or NULL. Called only
     * for profiles, with the translator's lock held. May be NULL. */
    const char *(*symbol)(uint64_t pc, uint64_t *distance);
    /* What symbol() has found in [start, end) is good no longer. With the lock held. */
    void (*forget_symbols)(uint64_t start, uint64_t end);
    /* Moves a descriptor that stays open out of the guest's way: its new number, or -errno. Called
     * by tcg_init(). May be NULL. */
    int (*reserve_fd)(int fd);
};

/* Once, before any vCPU. Returns 0, or -errno with a one-line message in error[]. If the host
 * refuses executable memory, the interpreter is used instead and a line is logged. */
int tcg_init(const struct tcg_config *config, char *error, size_t error_size);

/* The guest's code in [start, end) has gone or changed its meaning (munmap, mmap, mprotect): its
 * translations are dropped. Running vCPUs leave them at their next exit check. */
void tcg_invalidate(uint64_t start, uint64_t end);

/* fence.i, or the system call for it: translations of code in [start, end) whose bytes have changed
 * are dropped. */
void tcg_flush_changed(uint64_t start, uint64_t end);

/*
 * Host SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP: called by the driver's handler (on an alternate
 * stack) with its three arguments. Returns true if the signal came from generated code, or from
 * guest memory access within accelerator or mem/: the ucontext has been edited so that, on return,
 * cpu_run() returns CPU_EXIT_MEM_FAULT (or the access fails with an error). Returns false if the
 * fault is not ours. Async-signal-safe.
 */
bool tcg_handle_fault(struct cpu *cpu, int signal, const siginfo_t *info, ucontext_t *context);

/* Around fork: prepare stops translation (and keeps it stopped until the matching call in parent
 * and child). The child has its own copy of the generated code when tcg_fork_child() returns. Only
 * the calling thread exists in the child. */
void tcg_fork_prepare(void);
void tcg_fork_parent(void);
void tcg_fork_child(struct cpu *self);

/* `--explain`: decode, IR, optimised IR and host code of one instruction's bytes, to out. Needs no
 * tcg_init(). Returns 0 or -EINVAL if the instruction is unknown to the model. */
int tcg_explain(const struct cpu_target_ops *ops, const char *model, const void *bytes,
                unsigned length, FILE *out);

/* The optimisation switches for tcg_config.options (`-O help`): a line each. */
void tcg_list_options(void (*line)(void *opaque, const char *text), void *opaque);

/* Logs the counters of `-d stats`, a `name value` line each, behind a line that says of which
 * process and `when`. */
void tcg_print_stats(const char *when);

#endif
