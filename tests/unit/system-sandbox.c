/*
 * The sandbox of the system emulator: what a process under the filter cannot do, and the table.
 * Each attempt is made by a child of its own, so that one that ends it ends nothing else.
 */
#include "build/config.h"
#include "tests/unit/sandbox-child.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>

#if CONFIG_SECCOMP
#include <seccomp.h>

/* ---- what is refused ------------------------------------------------------------------------- */

static uint8_t page[4096] __attribute__((aligned(4096)));
static const char *const no_arguments[] = {"/bin/true", NULL};

#define AT(what) ((long)(intptr_t)(what))

/* Arguments that would do what the name says, were it allowed, or fail for another reason. */
static const struct attempt {
    const char *what;
    int number;
    long arguments[6];
    uint32_t features; /* with which it is refused all the same */
} attempts[] = {
    {"a program", SYS_execve, {AT("/bin/true"), AT(no_arguments), 0}, 0},
    {"a program, by descriptor",
     SYS_execveat,
     {AT_FDCWD, AT("/bin/true"), AT(no_arguments), 0, 0},
     0},
    {"a process", SYS_fork, {0}, 0},
    {"a process that shares memory", SYS_vfork, {0}, 0},
    {"a process by clone", SYS_clone, {SIGCHLD, 0, 0, 0, 0}, 0},
    {"a thread in another namespace",
     SYS_clone,
     {CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
          CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_NEWNET,
      0, 0, 0, 0},
     0},
    {"a namespace", SYS_unshare, {CLONE_NEWUSER}, 0},
    {"another's namespace", SYS_setns, {0, 0}, 0},
    {"a file that nobody has named", SYS_openat, {AT_FDCWD, AT("/etc/passwd"), O_RDONLY}, 0},
    {"the same, by an older call", SYS_open, {AT("/etc/passwd"), O_RDONLY}, 0},
    {"the same, by a newer call", SYS_openat2, {AT_FDCWD, AT("/etc/passwd"), AT(page), 24}, 0},
    {"the same, with disks",
     SYS_openat,
     {AT_FDCWD, AT("/etc/passwd"), O_RDONLY},
     FEATURE(FILE) | FEATURE(URING) | FEATURE(DEVICE) | FEATURE(KEEPER)},
    {"the same, with networks",
     SYS_openat,
     {AT_FDCWD, AT("/etc/passwd"), O_RDONLY},
     FEATURE(USER) | FEATURE(TAP) | FEATURE(SOCKET) | FEATURE(CONNECT)},
    {"a file for writing", SYS_openat, {AT_FDCWD, AT("/proc/self/comm"), O_WRONLY}, 0},
    {"a new file", SYS_creat, {AT("/nonexistent/new"), 0600}, 0},
    {"a file by handle", SYS_open_by_handle_at, {AT_FDCWD, AT(page), 0}, 0},
    {"facts about a file", SYS_newfstatat, {AT_FDCWD, AT("/etc/passwd"), AT(page), 0}, 0},
    {"the same, by a newer call", SYS_statx, {AT_FDCWD, AT("/etc/passwd"), 0, 0, AT(page)}, 0},
    {"whether a file is there", SYS_access, {AT("/etc/passwd"), 0}, 0},
    {"where a link leads", SYS_readlink, {AT("/proc/self/exe"), AT(page), 4096}, 0},
    {"what is in a folder", SYS_getdents64, {0, AT(page), 4096}, 0},
    {"removing a file", SYS_unlink, {AT("/nonexistent/old")}, 0},
    {"removing a file, by folder", SYS_unlinkat, {AT_FDCWD, AT("/nonexistent/old"), 0}, 0},
    {"another name for a file", SYS_rename, {AT("/nonexistent/a"), AT("/nonexistent/b")}, 0},
    {"a second name for a file", SYS_link, {AT("/nonexistent/a"), AT("/nonexistent/b")}, 0},
    {"a link", SYS_symlink, {AT("/nonexistent/a"), AT("/nonexistent/b")}, 0},
    {"a folder", SYS_mkdir, {AT("/nonexistent/new"), 0700}, 0},
    {"a device file", SYS_mknod, {AT("/nonexistent/new"), S_IFCHR | 0600, 0x103}, 0},
    {"the mode of a file", SYS_chmod, {AT("/nonexistent/old"), 0777}, 0},
    {"the mode of an open file", SYS_fchmod, {0, 0777}, FEATURE(FILE)},
    {"the owner of a file", SYS_chown, {AT("/nonexistent/old"), 0, 0}, 0},
    {"the size of a file", SYS_truncate, {AT("/nonexistent/old"), 0}, FEATURE(FILE)},
    {"a working folder", SYS_chdir, {AT("/")}, 0},
    {"a root folder", SYS_chroot, {AT("/")}, 0},
    {"another root", SYS_pivot_root, {AT("/"), AT("/")}, 0},
    {"a file system", SYS_mount, {AT("none"), AT("/mnt"), AT("no-such"), 0, 0}, 0},
    {"the end of a file system", SYS_umount2, {AT("/mnt"), 0}, 0},
    {"another process's memory", SYS_ptrace, {16 /* ATTACH */, 1, 0, 0}, 0},
    {"another process's memory, to read", SYS_process_vm_readv, {1, 0, 0, 0, 0, 0}, 0},
    {"another process's memory, to write", SYS_process_vm_writev, {1, 0, 0, 0, 0, 0}, 0},
    {"another process by descriptor", SYS_pidfd_open, {1, 0}, 0},
    {"another process's descriptor", SYS_pidfd_getfd, {0, 0, 0}, 0},
    {"a signal for init", SYS_kill, {1, 0}, 0},
    {"a signal for the process group", SYS_kill, {0, 0}, 0},
    {"a signal for a thread of init", SYS_tgkill, {1, 1, 0}, 0},
    {"a signal for any thread", SYS_tkill, {1, 0}, 0},
    {"a signal with a message", SYS_rt_sigqueueinfo, {1, 0, AT(page)}, 0},
    {"a handler of SIGSEGV", SYS_rt_sigaction, {SIGSEGV, 0, AT(page), 8}, 0},
    {"memory with code",
     SYS_mmap,
     {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0},
     FEATURE(KVM)},
    {"memory that becomes code",
     SYS_mprotect,
     {AT(page), 4096, PROT_READ | PROT_EXEC},
     FEATURE(KVM)},
    {"the same with a key", SYS_pkey_mprotect, {AT(page), 4096, PROT_READ | PROT_EXEC, -1}, 0},
    {"a file in memory", SYS_memfd_create, {AT("x"), 0}, 0},
    {"another personality", SYS_personality, {0x400000 /* READ_IMPLIES_EXEC */}, 0},
    {"segments", SYS_modify_ldt, {0, 0, 0}, 0},
    {"another user", SYS_setuid, {0}, 0},
    {"another group", SYS_setgid, {0}, 0},
    {"other users", SYS_setresuid, {0, 0, 0}, 0},
    {"other groups", SYS_setgroups, {0, 0}, 0},
    {"another user for files", SYS_setfsuid, {0}, 0},
    {"capabilities", SYS_capset, {AT(page), AT(page)}, 0},
    {"core dumps", SYS_prctl, {PR_SET_DUMPABLE, 1}, 0},
    {"another death signal", SYS_prctl, {PR_SET_PDEATHSIG, 0}, 0},
    {"another filter", SYS_seccomp, {1, 0, AT(page)}, 0},
    {"a session", SYS_setsid, {0}, 0},
    {"other limits", SYS_prlimit64, {0, 7, AT(page), 0}, 0},
    {"another priority", SYS_setpriority, {0, 0, -20}, 0},
    {"other processors", SYS_sched_setaffinity, {0, 8, AT(page)}, 0},
    {"another scheduler", SYS_sched_setscheduler, {0, 1, AT(page)}, 0},
    {"a socket of the kernel's",
     SYS_socket,
     {AF_NETLINK, SOCK_RAW, 0},
     FEATURE(USER) | FEATURE(CONNECT)},
    {"a socket of frames", SYS_socket, {AF_PACKET, SOCK_RAW, 0}, FEATURE(USER) | FEATURE(TAP)},
    {"a raw socket", SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_ICMP}, FEATURE(USER)},
    {"a virtual machine's socket", SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}, FEATURE(USER)},
    {"a TCP socket without a network",
     SYS_socket,
     {AF_INET, SOCK_STREAM, 0},
     FEATURE(FILE) | FEATURE(SOCKET) | FEATURE(TAP)},
    {"a connection of a server", SYS_connect, {0, 0, 0}, FEATURE(SOCKET)},
    {"a server of a client", SYS_listen, {0, 1}, FEATURE(SOCKET) | FEATURE(CONNECT)},
    {"a pair of sockets", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, AT(page)}, FEATURE(USER)},
    {"a program in a socket",
     SYS_setsockopt,
     {0, SOL_SOCKET, SO_ATTACH_FILTER, AT(page), 16},
     FEATURE(SOCKET)},
    {"characters for a terminal", SYS_ioctl, {0, TIOCSTI, AT("x")}, FEATURE(TERMINAL)},
    {"the console", SYS_ioctl, {0, TIOCLINUX, AT(page)}, FEATURE(TERMINAL)},
    {"a controlling terminal", SYS_ioctl, {0, TIOCSCTTY, 0}, FEATURE(TERMINAL)},
    {"another interface", SYS_ioctl, {0, TUNSETIFF, AT(page)}, FEATURE(TAP)},
    {"headers of an interface without one", SYS_ioctl, {0, TUNSETVNETHDRSZ, AT(page)}, 0},
    {"a file's blocks for another", SYS_ioctl, {0, FICLONE, 0}, FEATURE(FILE)},
    {"flags of a file", SYS_ioctl, {0, FS_IOC_SETFLAGS, AT(page)}, FEATURE(FILE)},
    {"discards without a device", SYS_ioctl, {0, BLKDISCARD, AT(page)}, FEATURE(FILE)},
    {"partitions of a device", SYS_ioctl, {0, BLKRRPART, 0}, FEATURE(DEVICE)},
    {"another virtual machine", SYS_ioctl, {0, KVM_CREATE_VM, 0}, FEATURE(KVM)},
    {"another vCPU", SYS_ioctl, {0, KVM_CREATE_VCPU, 9}, FEATURE(KVM)},
    {"a vCPU without KVM", SYS_ioctl, {0, KVM_RUN, 0}, FEATURE(TERMINAL)},
    {"signals by descriptors", SYS_fcntl, {0, F_SETOWN, 1}, FEATURE(FILE)},
    {"the size of a pipe", SYS_fcntl, {0, F_SETPIPE_SZ, 1 << 20}, FEATURE(FILE)},
    {"a ring", SYS_io_uring_setup, {8, AT(page)}, FEATURE(FILE) | FEATURE(URING)},
    {"more for a ring", SYS_io_uring_register, {0, 0, 0, 0}, FEATURE(FILE) | FEATURE(URING)},
    {"asynchronous files of old", SYS_io_setup, {8, AT(page)}, FEATURE(FILE)},
    {"a program in the kernel", SYS_bpf, {0, AT(page), 16}, 0},
    {"counters of the host", SYS_perf_event_open, {AT(page), 0, -1, -1, 0}, 0},
    {"page faults", SYS_userfaultfd, {0}, 0},
    {"keys", SYS_keyctl, {0, 0, 0, 0, 0}, 0},
    {"a new key", SYS_add_key, {AT("user"), AT("x"), AT("x"), 1, -2}, 0},
    {"a module", SYS_init_module, {AT(page), 0, AT("")}, 0},
    {"another kernel", SYS_kexec_load, {0, 0, 0, 0}, 0},
    {"the end of the host", SYS_reboot, {0, 0, 0, 0}, 0},
    {"swap space", SYS_swapon, {AT("/dev/null"), 0}, 0},
    {"the host's time", SYS_settimeofday, {0, 0}, 0},
    {"the host's time, bit by bit", SYS_adjtimex, {AT(page)}, 0},
    {"the host's name", SYS_sethostname, {AT("x"), 1000}, 0},
    {"ports", SYS_ioperm, {0x70, 2, 1}, 0},
    {"all ports", SYS_iopl, {3}, 0},
    {"messages of the kernel", SYS_syslog, {3, AT(page), 4096}, 0},
    {"shared memory of old", SYS_shmget, {0, 4096, 0600}, 0},
    {"watching of files", SYS_inotify_init1, {0}, 0},
    {"watching of a file system", SYS_fanotify_init, {0, 0}, 0},
    {"pages into a pipe", SYS_vmsplice, {0, AT(page), 1, 0}, 0},
    {"files into a pipe", SYS_splice, {0, 0, 0, 0, 1, 0}, 0},
    {"where memory is", SYS_move_pages, {1, 0, 0, 0, 0, 0}, 0},
    {"an interval timer that sends signals", SYS_timer_create, {0, AT(page), AT(page)}, 0},
    {"a call that there is none of", 499, {0}, 0},
};

static long make(const struct attempt *a)
{
    const long *x = a->arguments;

    return syscall(a->number, x[0], x[1], x[2], x[3], x[4], x[5]);
}

/* Exits with the error. */
static void try_errno(void *opaque)
{
    const struct attempt *a = opaque;

    enter(a->features, SANDBOX_ERRNO);
    if (make(a) >= 0) {
        _exit(0);
    }
    _exit(errno);
}

static void try_end(void *opaque)
{
    const struct attempt *a = opaque;

    enter(a->features, SANDBOX_END);
    make(a);
}

static void check_refused(void)
{
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        struct attempt a = attempts[i];
        struct outcome fails = in_child(try_errno, &a), ends = in_child(try_end, &a);
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, a.number);
        bool good = WIFEXITED(fails.status) && WEXITSTATUS(fails.status) == EPERM &&
                    lines(fails.text) == 1 && strstr(fails.text, "it fails") &&
                    (!name || strstr(fails.text, name));

        if (!tap_ok(good, "refused: %s", a.what)) {
            tap_note("status %#x, '%s'", fails.status, fails.text);
        }
        good = WIFSIGNALED(ends.status) && WTERMSIG(ends.status) == SIGSYS &&
               lines(ends.text) == 1 && strstr(ends.text, "the process ends") &&
               (!name || strstr(ends.text, name));
        if (!tap_ok(good, "it ends the process: %s", a.what)) {
            tap_note("status %#x, '%s'", ends.status, ends.text);
        }
        free(name);
    }
}

/* ---- what nothing gets around ---------------------------------------------------------------- */

static void replace_handler(void *opaque)
{
    enter(0, SANDBOX_ERRNO);
    signal(SIGSYS, SIG_IGN);
    _exit(0);
}

static void block_signal(void *opaque)
{
    sigset_t all;

    enter(0, SANDBOX_ERRNO);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    syscall(SYS_getppid);
    _exit(0);
}

static void use_x32(void *opaque)
{
    enter(0, SANDBOX_ERRNO);
    syscall(0x40000000 | SYS_getpid);
    _exit(0);
}

static void use_32_bits(void *opaque)
{
    long result;

    enter(0, SANDBOX_ERRNO);
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(20L) : "memory");
    _exit(0);
}

/* The kernel looks at the lower half of an int. */
static void use_upper_half(void *opaque)
{
    enter(0, SANDBOX_ERRNO);
    _exit(syscall(SYS_rt_sigaction, SIGSYS | 1L << 32, NULL, page, 8) < 0 ? errno : 0);
}

static void use_upper_half_of_request(void *opaque)
{
    enter(FEATURE(TERMINAL), SANDBOX_ERRNO);
    _exit(syscall(SYS_ioctl, 0, TIOCSTI | 1L << 32, "x") < 0 ? errno : 0);
}

static void report_often(void *opaque)
{
    enter(0, SANDBOX_ERRNO);
    for (unsigned i = 0; i < 10; i++) {
        syscall(SYS_getppid);
        syscall(SYS_getuid);
    }
    _exit(7);
}

static pthread_barrier_t barrier;

static void *thread_from_before(void *opaque)
{
    pthread_barrier_wait(&barrier);
    return (void *)(intptr_t)(syscall(SYS_getppid) < 0 ? errno : 0);
}

static void use_thread_from_before(void *opaque)
{
    pthread_t thread;
    void *result = NULL;

    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, thread_from_before, NULL);
    enter(0, SANDBOX_ERRNO);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, &result);
    _exit((int)(intptr_t)result);
}

static void check_hard(void)
{
    struct outcome out;

    tap_ok(killed(in_child(replace_handler, NULL)), "another handler of SIGSYS ends the process");
    tap_ok(killed(in_child(block_signal, NULL)), "so does a refused call where SIGSYS is blocked");
    tap_ok(killed(in_child(use_x32, NULL)), "so does a call of x32's");
    tap_ok(killed(in_child(use_32_bits, NULL)), "and a call of 32-bit code");
    out = in_child(use_upper_half, NULL);
    tap_ok(killed(out), "another handler, with something in the number's upper half");
    out = in_child(use_upper_half_of_request, NULL);
    tap_eq(WEXITSTATUS(out.status), EPERM, "a request with something in its upper half");
    out = in_child(report_often, NULL);
    tap_ok(WEXITSTATUS(out.status) == 7 && lines(out.text) == 2, "each call is reported once");
    out = in_child(use_thread_from_before, NULL);
    tap_eq(WEXITSTATUS(out.status), EPERM, "a thread from before is under the filter");
}

/* ---- the table ------------------------------------------------------------------------------- */

static void check_table(void)
{
    unsigned reasons = 0, names = 0, orders = 0, of_feature[SANDBOX_FEATURES] = {0};

    for (unsigned i = 0; i < sandbox_row_count; i++) {
        const struct sandbox_row *row = &sandbox_rows[i];
        bool reason = row->reason && strlen(row->reason) > 2;
        /* Those that this architecture has not have other negative numbers. */
        bool name = seccomp_syscall_resolve_name(row->call) != __NR_SCMP_ERROR;
        bool order = true, request = strcmp(row->call, "ioctl") != 0 || row->conditions[0].test;

        for (unsigned c = 0; c < SANDBOX_CONDITIONS; c++) {
            const struct sandbox_condition *x = &row->conditions[c];

            order &= !x->test || (x->argument < 6 && (x->value & ~x->mask) == 0 &&
                                  (!c || row->conditions[c - 1].test));
        }
        reasons += reason;
        names += name;
        orders += order && request;
        if (!reason || !name || !order || !request) {
            tap_note("row %u (%s %s)", i, row->call, row->request ? row->request : "");
        }
        of_feature[row->feature]++;
    }
    tap_ok(sandbox_row_count > 100, "there are %u rows", sandbox_row_count);
    tap_eq(reasons, sandbox_row_count, "each row says why");
    tap_eq(names, sandbox_row_count, "each row names a call that libseccomp knows");
    tap_eq(orders, sandbox_row_count, "conditions are well formed, and ioctl() always has one");
    for (int f = 0; f < SANDBOX_FEATURES; f++) {
        tap_ok(of_feature[f] && *sandbox_feature_name(f) && *sandbox_feature_use(f),
               "feature %s has %u rows", sandbox_feature_name(f), of_feature[f]);
    }
}

int main(void)
{
    check_table();
    check_refused();
    check_hard();
    return tap_done();
}

#else

int main(void)
{
    tap_skip("the sandbox", "built without libseccomp");
    return tap_done();
}

#endif
