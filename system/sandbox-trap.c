/*
 * What happens to a call that the filter does not let through: the handler of SIGSYS.
 *
 * It is called in the middle of the refused call, on the thread that made it, with the call's
 * number and arguments; the result that it leaves in the registers is what the caller gets. So it
 * can
 *
 *     do the call in another way (SERVE): open what the keeper has on its list,
 *     let it fail as the table says (QUIET), or because libc asks for what it can do without, or
 *     report it, and let it fail with EPERM or end the process.
 *
 * It ends the process by a call that the filter answers by ending it, so no state of the process
 * can prevent that.
 */
#include "system/sandbox.h"

#include "build/config.h"
#include "io/chardev/chardev.h"
#include "system/keeper.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if CONFIG_SECCOMP
#include <seccomp.h>

enum { CALLS = 512, ARGUMENTS = 6 };

static struct {
    uint32_t features;
    enum sandbox_violation violation;
    char *names[CALLS];
    _Atomic bool reported[CALLS];
} trap;

/* A call as it was made. */
struct call {
    int number;
    uint64_t arguments[ARGUMENTS];
};

/* The result when nobody has one: a violation. */
#define VIOLATION INT64_MIN

/* ---- in place of the kernel ------------------------------------------------------------------ */

/*
 * What libc reads without being asked: how many processors and how much memory there are. It is
 * content when there is no such file.
 */
static const char *const not_there[] = {
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/possible",
    "/sys/devices/system/cpu",
    "/proc/stat",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/sys/vm/overcommit_memory",
};

#define KERNEL_O_LARGEFILE 0100000

static int64_t open_file(const char *path, uint64_t flags)
{
    const uint64_t harmless = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | KERNEL_O_LARGEFILE;
    int64_t fd = flags & ~harmless ? -EPERM : keeper_open(path);

    if (fd >= 0 && !(flags & O_CLOEXEC)) {
        (void)fcntl((int)fd, F_SETFD, 0);
    }
    for (unsigned i = 0; fd == -EPERM && i < sizeof(not_there) / sizeof(not_there[0]); i++) {
        fd = strcmp(path, not_there[i]) == 0 ? -ENOENT : fd;
    }
    return fd == -EPERM ? VIOLATION : fd;
}

/* struct stat is the kernel's. */
static int64_t stat_fd(int fd, uint64_t to)
{
    return syscall(SYS_fstat, fd, to) < 0 ? -errno : 0;
}

static int64_t stat_path(const char *path, uint64_t to)
{
    int64_t fd = open_file(path, O_CLOEXEC), result = fd;

    if (fd >= 0) {
        result = stat_fd((int)fd, to);
        close((int)fd);
    }
    return result;
}

static int64_t serve(const struct call *call)
{
    const uint64_t *a = call->arguments;

    switch (call->number) {
    case SYS_open:
        return open_file((const char *)(uintptr_t)a[0], a[1]);
    case SYS_openat:
        return (int)a[0] == AT_FDCWD ? open_file((const char *)(uintptr_t)a[1], a[2]) : VIOLATION;
    case SYS_stat:
        return stat_path((const char *)(uintptr_t)a[0], a[1]);
    case SYS_newfstatat:
        if (a[3] & AT_EMPTY_PATH && *(const char *)(uintptr_t)a[1] == 0) {
            return stat_fd((int)a[0], a[2]);
        }
        return (int)a[0] == AT_FDCWD ? stat_path((const char *)(uintptr_t)a[1], a[2]) : VIOLATION;
    default:
        return VIOLATION;
    }
}

static bool holds(const struct sandbox_row *row, const struct call *call)
{
    for (unsigned i = 0; i < SANDBOX_CONDITIONS; i++) {
        const struct sandbox_condition *c = &row->conditions[i];

        if (c->test == SANDBOX_EQUAL && (call->arguments[c->argument] & c->mask) != c->value) {
            return false;
        }
    }
    return true;
}

/* -errno of the row that refuses the call without a report. */
static int64_t refuse_quietly(const struct call *call)
{
    const char *name = (unsigned)call->number < CALLS ? trap.names[call->number] : NULL;

    for (unsigned i = 0; name && i < sandbox_row_count; i++) {
        const struct sandbox_row *row = &sandbox_rows[i];

        if (row->action == SANDBOX_QUIET && trap.features & SANDBOX_BIT(row->feature) &&
            strcmp(row->call, name) == 0 && holds(row, call)) {
            return -row->error;
        }
    }
    return VIOLATION;
}

/* ---- reports --------------------------------------------------------------------------------- */

/* The path that a call is about, made printable; or nothing. */
static void describe_path(const struct call *call, char *text, size_t size)
{
    const uint64_t *a = call->arguments;
    uint64_t at = 0;

    switch (call->number) {
    case SYS_open:
    case SYS_stat:
    case SYS_unlink:
    case SYS_execve:
        at = a[0];
        break;
    case SYS_openat:
    case SYS_newfstatat:
    case SYS_unlinkat:
        at = a[1];
        break;
    }
    text[0] = 0;
    if (at) {
        size_t n = (size_t)snprintf(text, size, " of '%.200s'", (const char *)(uintptr_t)at);

        for (size_t i = 0; i < n && i < size && text[i]; i++) {
            text[i] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
        }
    }
}

static void report(const struct call *call)
{
    char text[512], path[256];
    const char *name = (unsigned)call->number < CALLS ? trap.names[call->number] : NULL;
    const uint64_t *a = call->arguments;
    bool ends = trap.violation == SANDBOX_END;
    int n;

    describe_path(call, path, sizeof(path));
    n = snprintf(text, sizeof(text),
                 "%s: sandbox: %s%s (system call %d: 0x%llx, 0x%llx, 0x%llx) is not allowed: %s\n",
                 error_program(), name ? name : "a call without a name", path, call->number,
                 (unsigned long long)a[0], (unsigned long long)a[1], (unsigned long long)a[2],
                 ends ? "the process ends" : "it fails, and will without another report");
    n = n < (int)sizeof(text) ? n : (int)sizeof(text) - 1;
    if (write(STDERR_FILENO, text, (size_t)n) < 0) {
        /* nobody reads it */
    }
    if (log_fd() != STDERR_FILENO) {
        log_text(text, (size_t)n);
    }
}

static int64_t violate(const struct call *call)
{
    unsigned slot = (unsigned)call->number < CALLS ? (unsigned)call->number : 0;

    if (trap.violation == SANDBOX_END) {
        chardev_restore_terminal();
        report(call);
        /* The filter's answer to this is the end. */
        syscall(SYS_rt_sigaction, SIGSYS, NULL, NULL, 8);
        _exit(1);
    }
    if (!atomic_exchange(&trap.reported[slot], true)) {
        report(call);
    }
    return -EPERM;
}

/* ---- the handler ----------------------------------------------------------------------------- */

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

static void on_sigsys(int number, siginfo_t *info, void *context)
{
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const struct call call = {
        .number = info->si_syscall,
        .arguments = {(uint64_t)registers[REG_RDI], (uint64_t)registers[REG_RSI],
                      (uint64_t)registers[REG_RDX], (uint64_t)registers[REG_R10],
                      (uint64_t)registers[REG_R8], (uint64_t)registers[REG_R9]},
    };
    int saved = errno;
    int64_t result;

    if (info->si_code != SYS_SECCOMP) {
        return; /* somebody has sent it: nothing has happened */
    }
    result = serve(&call);
    if (result == VIOLATION) {
        result = refuse_quietly(&call);
    }
    if (result == VIOLATION) {
        result = violate(&call);
    }
    registers[REG_RAX] = result;
    errno = saved;
}

int sandbox_trap_install(uint32_t features, enum sandbox_violation violation)
{
    struct sigaction action = {.sa_sigaction = on_sigsys,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigset_t set;

    trap.features = features;
    trap.violation = violation;
    for (int n = 0; n < CALLS; n++) {
        trap.names[n] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, n);
    }
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    if (sigaction(SIGSYS, &action, NULL) < 0) {
        return -errno;
    }
    return -pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

#endif
