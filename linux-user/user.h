/*
 * User-mode emulation: what the files of linux-user share.
 *
 * One guest thread is one host thread is one struct user_thread, which owns one vCPU. It is reached
 * from the vCPU (cpu->owner) and from host thread-local storage (user_self, for host signal
 * handlers). Guest process state that all threads share is the single `user_process`; each part of
 * it that changes after start is guarded by its module's lock.
 *
 * A guest address is a plain uint64_t; only mem/guest.h makes a host pointer of it. System calls
 * that pass a pointer on to the host kernel use mem_guest_host(): the kernel answers a bad one with
 * EFAULT itself. Our own accesses go through mem_guest_read() and its kin, and fail with -EFAULT.
 *
 * Signal numbers, errno values and most flag values are the host's: the guests' ABIs (asm-generic)
 * and x86-64's agree. Where they do not, the architecture's folder says so.
 */
#ifndef TINAMOU_LINUX_USER_USER_H
#define TINAMOU_LINUX_USER_USER_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "accel/accel.h"
#include "cpu/cpu.h"
#include "mem/guest.h"

struct user_thread;

/* Results of system call handlers that are not the guest's: the numbers the kernel uses inside
 * itself. Handlers return USER_ERESTARTNOINTR alone: whether a call that a signal has interrupted
 * is made again is decided by the host kernel (see user_safe_syscall()). */
enum {
    USER_ERESTARTSYS =
        512, /* again, if the signal has no handler or one with SA_RESTART; else EINTR */
    USER_ERESTARTNOINTR = 513, /* again in any case, after delivering signals */
    USER_ERESTARTNOHAND = 514, /* again if no handler runs; else EINTR */
    USER_ESIGRETURN = 600,     /* registers are set already: write no result */
};

/* An instance of the guest's sigaltstack. */
struct user_altstack {
    uint64_t sp, size;
    uint32_t flags; /* SS_DISABLE, SS_AUTODISARM, 0 */
};

struct user_thread {
    struct cpu *cpu;
    int tid; /* of the host, which is the guest's */

    /* Signals (signal.c). Sets have bit (signo - 1). */
    uint64_t sigmask; /* the guest's blocked set */
    /* With restore_sigmask set (sigsuspend, ppoll, pselect6, epoll_pwait), saved_sigmask is what
     * the next frame saves, or what sigmask becomes again when no handler runs. */
    uint64_t saved_sigmask;
    bool restore_sigmask;
    uint32_t signal_doorbell; /* not 0: signal_deliver() has something to do. Set by handlers. */
    struct user_altstack altstack;
    struct signal_queue *queue; /* signal.c's own: actions, and what is recorded or pending */

    /* The system call being made, or the last one. */
    int64_t syscall_nr;
    uint64_t syscall_args[6];
    /* 0, or the negative USER_ERESTART... code that signal_deliver() has to resolve. */
    int64_t syscall_restart;

    /* Threads (thread.c). Guest addresses, 0 if none. */
    uint64_t clear_child_tid;
    uint64_t robust_list;
    uint64_t robust_list_size;
    void *host_thread; /* thread.c's own; NULL: ends by the host's exit system call */
    void *exec_memory; /* exec.c's own: freed by the parent when a vfork child has executed */
    size_t exec_memory_size;
    int tgid;         /* process id: tasks that share our memory may be other processes */
    bool vfork_child; /* shares memory with a suspended parent until execve or exit */

    struct user_thread *next; /* list of threads, under thread.c's lock */
};

/* The calling thread's; NULL in threads that run no guest. */
extern __thread struct user_thread *user_self;

/* The accelerator that runs every vCPU. */
extern const struct accel_ops *user_accel;

/* Set up before the guest runs and constant afterwards, in all threads. */
struct user_process {
    const char *exe_path;  /* host path of the guest's executable, absolute: /proc/self/exe */
    const char *ld_prefix; /* -L: absolute without a trailing slash; NULL if none */
    int ld_prefix_fd;      /* O_PATH descriptor of it; -1 if none */
    bool by_binfmt;        /* the kernel started us for the program */
    int host_exe_fd;       /* O_PATH descriptor of this emulator's executable, for execve */
    const char *const *exec_prefix; /* argv words that start this emulator with these options,
                                     * argv[0] first; what follows is: -0 ARGV0 PATH ARG... */
    size_t exec_prefix_count;
    const char *uname_release; /* -r, or NULL: the host's */
    uint64_t stack_size;       /* of the main thread, in bytes */
    /* The guest's strings, for /proc/self/cmdline and environ. */
    uint64_t arg_start, arg_end, env_start, env_end;
    uint64_t stack_top;      /* guest sp at entry */
    uint64_t vdso;           /* guest address of the vDSO's ELF header, 0 if none */
    uint64_t vdso_sigreturn; /* guest address of the signal return trampoline */
    const uint8_t *auxv;     /* copy of what the guest got */
    size_t auxv_size;
    uint64_t seed; /* -seed, if seeded */
    bool seeded;
    bool strace;
};

extern struct user_process user_process;

/* Is fd one of the emulator's own? The guest sees such a descriptor as closed: close, dup2, fcntl
 * on it give -EBADF. */
bool user_fd_reserved(int fd);

/* Moves a descriptor of ours out of the guest's way, sets close-on-exec and records it as reserved.
 * Returns the new number, or -errno (the old one is closed). Before the guest runs. */
int user_fd_reserve(int fd);

/* Runs the thread's vCPU until the thread or process ends. t is user_self. (run.c) */
_Noreturn void user_run(struct user_thread *t);

/* Makes the system call that is next. True if the guest just goes on; false if user_run() must see
 * to something first. May not return. cpu is the calling thread's. (run.c) */
bool user_syscall(struct cpu *cpu);

/*
 * Makes a host system call for the guest. If a signal for the guest arrives before the call has
 * begun, it returns -USER_ERESTARTNOINTR without having made it; there is no moment in between at
 * which a signal gets lost. Otherwise it returns what the kernel does: a value or -errno.
 *
 * Our host handler of a signal has SA_RESTART exactly when the guest's has. So the kernel itself
 * decides what becomes of an interrupted call: one it wants made again has its rip back at the
 * system call instruction, which is seen by the handler and gives -USER_ERESTARTNOINTR too; all
 * others return -EINTR. No list of restartable calls is needed, and calls that restart only
 * sometimes (sockets with timeouts) are right. (safe-syscall.S, signal.c)
 */
int64_t user_safe_syscall(struct user_thread *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                          uint64_t a3, uint64_t a4, uint64_t a5);

/* What -d stats asks for, when the process ends or becomes another. A vfork child counts as its
 * parent: it prints nothing. */
void user_print_stats(const struct user_thread *t, const char *when);

/* A raw host system call: value or -errno, errno untouched, no cancellation, no TLS. */
static inline int64_t user_host_syscall(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                                        uint64_t a4, uint64_t a5)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = a3;
    register uint64_t r8 __asm__("r8") = a4;
    register uint64_t r9 __asm__("r9") = a5;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Copies a NUL-terminated guest string into buffer[size]. Length without the NUL, -EFAULT, or
 * -ENAMETOOLONG. */
int64_t user_string(uint64_t guest, char *buffer, size_t size);

#endif
