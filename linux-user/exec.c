/*
 * execve and execveat.
 *
 * The file is looked at first: once the host's execve has succeeded there is nobody left to report
 * an error to. What the kernel would refuse is refused with its error; a program for the guest's
 * architecture, or a script whose last interpreter is one, starts this emulator again with the same
 * options, through a descriptor of its own executable, so that chroots and mount namespaces don't
 * matter. Anything else is the host kernel's business. The environment goes unchanged.
 *
 * Nothing here may be on the heap across the host's execve: a vfork child that succeeds would leave
 * it to its parent for ever.
 */
#include "linux-user/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux-user/abi.h"
#include "linux-user/elf.h"
#include "linux-user/path.h"
#include "linux-user/procfs.h"
#include "linux-user/signal.h"
#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"

#define HEAD_SIZE    256 /* BINPRM_BUF_SIZE: a #! line is not longer */
#define SCRIPT_DEPTH 5   /* the kernel's limit of rewritings */
#define FS_NOEXEC    8   /* ST_NOEXEC in f_flags */
#define MAX_POINTERS (1u << 22)

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

enum runner { RUN_GUEST, RUN_HOST };

int exec_own_fd(bool by_binfmt)
{
    /* binfmt_misc leaves the name of the guest's file there */
    const char *name = by_binfmt ? NULL : (const char *)getauxval(AT_EXECFN);
    static const char prefix[] = "/dev/fd/";
    int fd;

    /* What the kernel calls a file executed through its descriptor. */
    if (name && strncmp(name, prefix, sizeof(prefix) - 1) == 0) {
        char *end;
        long number = strtol(name + sizeof(prefix) - 1, &end, 10);

        if (*end == '\0' && fcntl((int)number, F_SETFD, FD_CLOEXEC) == 0) {
            return (int)number;
        }
    }
    fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd < 0 && name) {
        fd = open(name, O_PATH | O_CLOEXEC);
    }
    return fd < 0 ? -errno : fd;
}

/* ---- what runs a file ----------------------------------------------------------------------- */

static int64_t classify(int dirfd, const char *path, int flags, unsigned depth,
                        enum runner *runner);

/* The interpreter of the script whose first bytes are head[0..length). */
static int64_t classify_script(const char *head, size_t length, unsigned depth, enum runner *runner)
{
    char interpreter[HEAD_SIZE], redirected[2 * PATH_MAX];
    size_t start = 2, end;

    while (start < length && (head[start] == ' ' || head[start] == '\t')) {
        start++;
    }
    end = start;
    while (end < length && !strchr(" \t\n", head[end])) { /* finds NUL, too */
        end++;
    }
    /* No name, or one cut off by the end of what the kernel looks at. */
    if (end == start || (end == length && length == HEAD_SIZE)) {
        return -ENOEXEC;
    }
    if (depth >= SCRIPT_DEPTH) {
        return -ELOOP;
    }
    memcpy(interpreter, head + start, end - start);
    interpreter[end - start] = '\0';
    return classify(AT_FDCWD, user_path(interpreter, redirected), 0, depth + 1, runner);
}

static int64_t classify_elf(int fd, enum runner *runner)
{
    struct elf_file *file;
    char error[ELF_ERROR_SIZE], redirected[2 * PATH_MAX];
    int64_t result;

    file = malloc(sizeof(*file));
    if (!file) {
        return -ENOMEM;
    }
    result = elf_check(fd, abi_elf_machine, file, error, sizeof(error));
    if (result == 0) {
        *runner = RUN_GUEST;
        if (file->interpreter[0] && access(user_path(file->interpreter, redirected), F_OK) < 0) {
            result = -errno;
        }
    }
    free(file);
    return result;
}

/* Who is to run the file at (dirfd, path, AT_... flags), a host path: 0 and *runner, or what the
 * kernel's execve would answer. */
static int64_t classify(int dirfd, const char *path, int flags, unsigned depth, enum runner *runner)
{
    char head[HEAD_SIZE];
    struct statfs mount;
    struct stat status;
    int64_t result;
    ssize_t length;
    int fd;

    if (fstatat(dirfd, path, &status, flags & (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) < 0) {
        return -errno;
    }
    if (S_ISLNK(status.st_mode)) {
        return -ELOOP;
    }
    if (!S_ISREG(status.st_mode)) {
        return -EACCES;
    }
    if (*path) {
        if (faccessat(dirfd, path, X_OK, AT_EACCESS) < 0) {
            return -errno;
        }
        fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    } else {
        char name[32];

        if (!(status.st_mode & 0111)) {
            return -EACCES;
        }
        snprintf(name, sizeof(name), "/proc/self/fd/%d", dirfd);
        fd = open(name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
        }
    }
    if (fd < 0) {
        /* Executable but unreadable: only the host's kernel could run it. */
        *runner = RUN_HOST;
        return errno == EACCES ? 0 : -errno;
    }

    length = pread(fd, head, sizeof(head), 0);
    if (fstatfs(fd, &mount) == 0 && (mount.f_flags & FS_NOEXEC)) {
        result = -EACCES;
    } else if (length < 0) {
        result = -errno;
    } else if (length >= 20 && memcmp(head, ELFMAG, SELFMAG) == 0) {
        uint16_t machine;

        memcpy(&machine, head + offsetof(Elf64_Ehdr, e_machine), sizeof(machine));
        if (head[EI_CLASS] == ELFCLASS64 && head[EI_DATA] == ELFDATA2LSB &&
            machine == abi_elf_machine) {
            result = classify_elf(fd, runner);
        } else {
            *runner = RUN_HOST;
            result = 0;
        }
    } else if (length >= 2 && head[0] == '#' && head[1] == '!') {
        result = classify_script(head, (size_t)length, depth, runner);
    } else {
        *runner = RUN_HOST;
        result = 0;
    }
    close(fd);
    return result;
}

/* ---- arguments ------------------------------------------------------------------------------ */

/* Number of pointers in a guest's NULL-terminated array, or -errno. */
static int64_t count_pointers(uint64_t array)
{
    uint64_t pointer;

    if (!array) {
        return 0;
    }
    for (uint32_t i = 0; i < MAX_POINTERS; i++) {
        if (mem_guest_load(array + (uint64_t)i * 8, 8, &pointer, NULL, NULL) < 0) {
            return -EFAULT;
        }
        if (!pointer) {
            return i;
        }
    }
    return -E2BIG;
}

/* Copies `count` of them as host addresses, and NULL. */
static int64_t copy_pointers(const char **to, uint64_t array, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        uint64_t pointer;

        if (mem_guest_load(array + (uint64_t)i * 8, 8, &pointer, NULL, NULL) < 0) {
            return -EFAULT;
        }
        to[i] = pointer ? mem_guest_host(pointer) : NULL;
    }
    to[count] = NULL;
    return 0;
}

struct vectors {
    const char **memory; /* what is mapped */
    const char **argv, **envp;
};

/* Arguments for whoever runs `path`. The memory is not on the heap: a vfork child leaves it to its
 * parent when it succeeds. */
static int64_t build_vectors(struct user_thread *t, const char *path, enum runner runner,
                             uint64_t guest_argv, uint64_t guest_envp, struct vectors *v)
{
    size_t prefix = runner == RUN_GUEST ? user_process.exec_prefix_count : 0;
    int64_t argc = count_pointers(guest_argv);
    int64_t envc = count_pointers(guest_envp);
    int64_t result;
    size_t size;

    if (argc < 0 || envc < 0) {
        return argc < 0 ? argc : envc;
    }
    size = (prefix + 6 + (size_t)argc + (size_t)envc) * sizeof(char *);
    v->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (v->memory == MAP_FAILED) {
        return -ENOMEM;
    }
    t->exec_memory = v->memory;
    t->exec_memory_size = size;
    v->envp = v->memory;
    v->argv = v->envp + envc + 1;
    result = copy_pointers(v->envp, guest_envp, envc);
    if (result == 0 && runner == RUN_HOST) {
        result = copy_pointers(v->argv, guest_argv, argc);
    } else if (result == 0) {
        /* PREFIX... -0 ARGV0 PATH ARG...; the guest's argv[0] is put where PATH goes, and then
         * moved. */
        const char **at = v->argv + prefix;

        memcpy(v->argv, user_process.exec_prefix, prefix * sizeof(char *));
        result = copy_pointers(at + 2, guest_argv, argc);
        at[0] = "-0";
        at[1] = argc ? at[2] : "";
        at[2] = path;
        if (!argc) {
            at[3] = NULL;
        }
    }
    return result;
}

static void free_vectors(struct user_thread *t)
{
    if (t->exec_memory) {
        munmap(t->exec_memory, t->exec_memory_size);
        t->exec_memory = NULL;
    }
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* Executes the file that (dirfd, host_path, flags) is, which the next emulator finds by guest_path.
 * Returns only on failure. */
static int64_t execute(struct user_thread *t, int dirfd, const char *host_path, int flags,
                       const char *guest_path, enum runner runner, const uint64_t vectors[2])
{
    struct vectors v = {0};
    int64_t result;

    if (user_process.host_exe_fd < 0 && user_process.by_binfmt) {
        runner = RUN_HOST; /* the kernel, which found us here, finds us again */
    }
    result = build_vectors(t, guest_path, runner, vectors[0], vectors[1], &v);
    if (result == 0) {
        result = signal_exec_prepare(t);
        if (result == 0) {
            user_print_stats(t, "execve");
            if (runner == RUN_HOST) {
                result = user_safe_syscall(t, SYS_execveat, (uint64_t)dirfd, (uint64_t)host_path,
                                           (uint64_t)v.argv, (uint64_t)v.envp, (uint64_t)flags, 0);
            } else if (user_process.host_exe_fd < 0) {
                result = -EACCES;
            } else {
                fcntl(user_process.host_exe_fd, F_SETFD, 0);
                result = user_safe_syscall(t, SYS_execveat, (uint64_t)user_process.host_exe_fd,
                                           (uint64_t) "", (uint64_t)v.argv, (uint64_t)v.envp,
                                           AT_EMPTY_PATH, 0);
                fcntl(user_process.host_exe_fd, F_SETFD, FD_CLOEXEC);
            }
            signal_exec_failed(t);
        }
    }
    free_vectors(t);
    return result;
}

/* The next emulator's options end at the first word without a dash. */
static const char *path_as_word(const char *path, char *buffer, size_t size)
{
    if (path[0] != '-') {
        return path;
    }
    snprintf(buffer, size, "./%s", path);
    return buffer;
}

static int64_t exec_path(struct user_thread *t, uint64_t guest, int flags,
                         const uint64_t vectors[2])
{
    struct user_path_buffer buffer;
    char word[PATH_MAX + 2];
    enum runner runner;
    const char *host;
    int64_t result = user_path_get(guest, &buffer, &host);

    if (result == 0) {
        const char *path = procfs_is_exe(buffer.guest) ? host : buffer.guest;

        result = *host ? classify(AT_FDCWD, host, flags, 0, &runner) : -ENOENT;
        if (result == 0) {
            result = flags & AT_EXECVE_CHECK
                         ? 0
                         : execute(t, AT_FDCWD, host, flags, path_as_word(path, word, sizeof(word)),
                                   runner, vectors);
        }
    }
    return result;
}

/* The name of an open file, if it still has one that leads to it. */
static bool name_of(int fd, char *name, size_t size)
{
    struct stat by_fd, by_name;
    char link[32];
    ssize_t length;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    length = readlink(link, name, size - 1);
    if (length <= 0) {
        return false;
    }
    name[length] = '\0';
    return fstat(fd, &by_fd) == 0 && stat(name, &by_name) == 0 && by_fd.st_dev == by_name.st_dev &&
           by_fd.st_ino == by_name.st_ino;
}

/* execveat() relative to a descriptor, or of one. */
static int64_t exec_at(struct user_thread *t, int dirfd, const char *path, int flags,
                       const uint64_t vectors[2])
{
    enum runner runner;
    char name[PATH_MAX];
    int64_t result = classify(dirfd, path, flags, 0, &runner);
    int fd;

    if (result < 0 || (flags & AT_EXECVE_CHECK)) {
        return result;
    }
    if (runner == RUN_HOST) {
        return execute(t, dirfd, path, flags, path, runner, vectors);
    }
    fd = *path ? openat(dirfd, path, O_RDONLY | O_CLOEXEC) : fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    /* A file without a name is reached through its descriptor, which then stays open in the new
     * program. */
    if (!name_of(fd, name, sizeof(name))) {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        fcntl(fd, F_SETFD, 0);
    }
    result = execute(t, fd, "", AT_EMPTY_PATH, name, runner, vectors);
    close(fd);
    return result;
}

int64_t sys_execve(struct user_thread *t, const uint64_t args[6])
{
    return exec_path(t, args[0], 0, &args[1]);
}

int64_t sys_execveat(struct user_thread *t, const uint64_t args[6])
{
    int dirfd = (int)args[0], flags = (int)args[4];
    char path[PATH_MAX];
    int64_t result;

    if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_EXECVE_CHECK)) {
        return -EINVAL;
    }
    result = user_string(args[1], path, sizeof(path));
    if (result >= 0) {
        if (!*path && !(flags & AT_EMPTY_PATH)) {
            result = -ENOENT;
        } else if (*path == '/' || (*path && dirfd == AT_FDCWD)) {
            result = exec_path(t, args[1], flags & ~AT_EMPTY_PATH, &args[2]);
        } else if (user_fd_reserved(dirfd)) {
            result = -EBADF;
        } else {
            result = exec_at(t, dirfd, path, flags, &args[2]);
        }
    }
    return result;
}
