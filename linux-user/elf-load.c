/*
 * Mapping a program: scripts, the executable, its interpreter; see elf.h and elf-stack.c.
 *
 * An ET_EXEC file goes to its addresses, a position-independent one to a third of the address
 * space, its interpreter where mmap puts it, the break behind the executable. Linux has two thirds
 * there, but that is where the emulator's own break is. Nothing is randomised: translations kept
 * from an earlier run then fit the next.
 */
#include "linux-user/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "linux-user/abi.h"
#include "linux-user/elf-stack.h"
#include "linux-user/mm.h"
#include "linux-user/path.h"
#include "linux-user/user.h"

#define SCRIPT_LINE  256 /* what the kernel looks at */
#define SCRIPT_DEPTH 5

enum { STATUS_CANNOT_RUN = 126, STATUS_NOT_FOUND = 127 };

static int status_of(int error)
{
    return error == -ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_RUN;
}

static int segment_prot(const Elf64_Phdr *p)
{
    return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
           (p->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Clears [from, to), which is inside one page. */
static int clear(uint64_t from, uint64_t to)
{
    static const char zeros[MM_PAGE_SIZE];

    return mem_guest_write(from, zeros, to - from);
}

static int map_segment(int fd, const Elf64_Phdr *p, uint64_t bias)
{
    const int prot = segment_prot(p), fixed = MAP_PRIVATE | MAP_FIXED;
    const uint64_t start = (p->p_vaddr & MM_PAGE_MASK) + bias;
    const uint64_t file_end = p->p_vaddr + p->p_filesz + bias;
    const uint64_t memory_end = p->p_vaddr + p->p_memsz + bias;
    uint64_t file_pages = (file_end + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
    int64_t result;

    if (p->p_filesz != 0) {
        result = mm_mmap(start, file_pages - start, prot, fixed, fd, p->p_offset & MM_PAGE_MASK);
        if (result < 0) {
            return (int)result;
        }
        if (p->p_memsz > p->p_filesz && file_end < file_pages) {
            const uint64_t page = file_end & MM_PAGE_MASK;
            if (!(prot & PROT_WRITE)) {
                mm_mprotect(page, MM_PAGE_SIZE, PROT_READ | PROT_WRITE);
            }
            /* To the end of the page, as Linux does: ld.so takes what is behind its bss for zeros.
             */
            result = clear(file_end, file_pages);
            if (!(prot & PROT_WRITE)) {
                mm_mprotect(page, MM_PAGE_SIZE, prot);
            }
            if (result < 0) {
                return (int)result;
            }
        }
    } else {
        file_pages = start;
    }
    if (memory_end > file_pages) {
        result = mm_mmap(file_pages, memory_end - file_pages, prot, fixed | MAP_ANONYMOUS, -1, 0);
        if (result < 0) {
            return (int)result;
        }
    }
    return 0;
}

/* Chooses the bias of a position-independent file and reserves its span there. */
static int choose_bias(const struct elf_file *file, uint64_t hint, uint64_t *bias)
{
    /* The reservation begins at an aligned address, the first segment perhaps above it. */
    const uint64_t low = file->low & ~(file->align - 1), span = file->high - low;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint64_t aligned;
    int64_t at = -EEXIST;

    if (file->header.e_type == ET_EXEC) {
        *bias = 0;
        return 0;
    }
    if (hint != 0) {
        hint = (hint + file->align - 1) & ~(file->align - 1);
        at = mm_mmap(hint, span, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
    }
    if (at < 0) {
        const uint64_t slack = file->align - MM_PAGE_SIZE;
        at = mm_mmap(0, span + slack, PROT_NONE, flags, -1, 0);
        if (at < 0) {
            return (int)at;
        }
        aligned = ((uint64_t)at + slack) & ~(file->align - 1);
        if (aligned > (uint64_t)at) {
            mm_munmap((uint64_t)at, aligned - (uint64_t)at);
        }
        if ((uint64_t)at + slack > aligned) {
            mm_munmap(aligned + span, (uint64_t)at + slack - aligned);
        }
        at = (int64_t)aligned;
    }
    *bias = (uint64_t)at - low;
    return 0;
}

static int map_file(int fd, const struct elf_file *file, uint64_t hint, uint64_t *bias)
{
    int result = choose_bias(file, hint, bias);
    uint64_t mapped_to = file->low & ~(file->align - 1);

    for (unsigned i = 0; result == 0 && i < file->segment_count; i++) {
        const Elf64_Phdr *p = &file->segments[i];
        if (p->p_type != PT_LOAD || p->p_memsz == 0) {
            continue;
        }
        /* Holes between segments of a position-independent file go back. */
        if (file->header.e_type == ET_DYN && (p->p_vaddr & MM_PAGE_MASK) > mapped_to) {
            mm_munmap(mapped_to + *bias, (p->p_vaddr & MM_PAGE_MASK) - mapped_to);
        }
        mapped_to = (p->p_vaddr + p->p_memsz + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
        result = map_segment(fd, p, *bias);
    }
    return result;
}

static int64_t open_program(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

/* The path of an open file, for /proc/self/exe; the given one if the host can't tell. */
static const char *path_of(int fd, const char *path)
{
    char link[64], target[PATH_MAX];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, target, sizeof(target) - 1);
    if (n > 0 && target[0] == '/') {
        target[n] = 0;
        path = target;
    }
    return strdup(path);
}

/* What the loop over scripts works on; the vectors belong to us. */
struct start {
    const char *path; /* host path of what is to be loaded */
    int fd;
    char **argv;
    size_t argc;
};

/* Splits a "#!" line as the kernel does: interpreter, and one argument or none. 0 or -ENOEXEC. */
static int parse_script(char *line, size_t length, char **interpreter, char **argument)
{
    char *at = line + 2, *newline, *end;

    line[length] = 0;
    newline = memchr(line, '\n', length);
    end = newline != NULL ? newline : line + length;
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    *interpreter = at;
    while (at < end && *at != ' ' && *at != '\t' && *at != 0) {
        at++;
    }
    if (at == *interpreter || (newline == NULL && at == end && length == SCRIPT_LINE)) {
        return -ENOEXEC;
    }
    *argument = NULL;
    if (at < end) {
        *at++ = 0;
        while (end > at && (end[-1] == ' ' || end[-1] == '\t')) {
            end--;
        }
        while (at < end && (*at == ' ' || *at == '\t')) {
            at++;
        }
        *argument = at < end ? at : NULL;
    }
    *end = 0;
    return 0;
}

/* Puts interpreter, its argument and the script's path in the place of argv[0]. */
static int push_script(struct start *start, const char *script, const char *interpreter,
                       const char *argument)
{
    const size_t extra = argument != NULL ? 2 : 1, rest = start->argc > 0 ? start->argc - 1 : 0;
    char **argv = calloc(rest + extra + 2, sizeof(*argv));
    size_t n = 0;

    if (argv == NULL) {
        return -ENOMEM;
    }
    argv[n++] = strdup(interpreter);
    if (argument != NULL) {
        argv[n++] = strdup(argument);
    }
    argv[n++] = strdup(script);
    for (size_t i = 0; i < rest; i++) {
        argv[n++] = start->argv[i + 1];
    }
    start->argv = argv;
    start->argc = n;
    return 0;
}

/* Follows "#!" lines to an ELF file. 0 with its checked headers, or the exit status. */
static int find_executable(struct start *start, const char *guest_path, struct elf_file *file,
                           char *error, size_t size)
{
    char line[SCRIPT_LINE + 1], why[ELF_ERROR_SIZE], host_path[2 * PATH_MAX];

    for (int depth = 0;; depth++) {
        const char *path, *reason;
        char *interpreter, *argument;
        ssize_t n;
        int result;
        int64_t fd;

        n = pread(start->fd, line, SCRIPT_LINE, 0);
        if (n < 2 || line[0] != '#' || line[1] != '!') {
            result = elf_check(start->fd, abi_elf_machine, file, why, sizeof(why));
            if (result == 0 && !abi_elf_flags_ok(file->header.e_flags, &reason)) {
                result = -ENOEXEC;
                snprintf(why, sizeof(why), "%s", reason);
            }
            if (result < 0) {
                snprintf(error, size, "%s: %s", start->path, why);
                return STATUS_CANNOT_RUN;
            }
            return 0;
        }
        if (parse_script(line, (size_t)n, &interpreter, &argument) < 0) {
            snprintf(error, size, "%s: '#!' without an interpreter", start->path);
            return STATUS_CANNOT_RUN;
        }
        if (depth == SCRIPT_DEPTH) {
            snprintf(error, size, "%s: too many levels of scripts", start->path);
            return STATUS_CANNOT_RUN;
        }
        if (push_script(start, guest_path, interpreter, argument) < 0) {
            snprintf(error, size, "%s: out of memory", start->path);
            return STATUS_CANNOT_RUN;
        }
        path = user_path(interpreter, host_path);
        fd = open_program(path);
        if (fd < 0) {
            snprintf(error, size, "%s: script interpreter '%s': %s", start->path, interpreter,
                     strerror((int)-fd));
            return status_of((int)fd);
        }
        close(start->fd);
        start->fd = (int)fd;
        start->path = strdup(path);
        guest_path = start->argv[0];
    }
}

int elf_load(struct cpu *cpu, const struct elf_program *program, char *error, size_t size)
{
    static struct elf_file file, interpreter; /* too large for comfort on a stack */
    struct start start = {.path = program->path, .fd = program->fd, .argv = (char **)program->argv};
    struct elf_stack stack = {.envp = program->envp, .preserve_argv0 = program->preserve_argv0};
    uint64_t bias = 0, interpreter_bias = 0, entry;
    char why[ELF_ERROR_SIZE], host_path[2 * PATH_MAX], program_path[2 * PATH_MAX];
    int64_t fd = program->fd;
    int result;

    if (fd < 0) {
        start.path = user_path(program->path, program_path);
        fd = open_program(start.path);
        if (fd < 0) {
            snprintf(error, size, "%s: %s", program->path, strerror((int)-fd));
            return status_of((int)fd);
        }
    }
    start.fd = (int)fd;
    while (start.argv[start.argc] != NULL) {
        start.argc++;
    }
    result = find_executable(&start, program->path, &file, error, size);
    if (result != 0) {
        return result;
    }
    user_process.exe_path = path_of(start.fd, start.path);
    result = map_file(start.fd, &file, mm_task_size() / 3 & MM_PAGE_MASK, &bias);
    if (result < 0) {
        snprintf(error, size, "%s: can't be mapped: %s", start.path, strerror(-result));
        return STATUS_CANNOT_RUN;
    }
    mm_set_brk(file.high + bias);
    close(start.fd);
    entry = file.header.e_entry + bias;

    if (file.interpreter[0] != 0) {
        const char *path = user_path(file.interpreter, host_path);
        fd = open_program(path);
        if (fd < 0) {
            snprintf(error, size, "%s: its interpreter '%s' can't be opened%s: %s", start.path,
                     file.interpreter,
                     user_process.ld_prefix == NULL ? " (-L names the guest's root folder)" : "",
                     strerror((int)-fd));
            return status_of((int)fd);
        }
        result = elf_check((int)fd, abi_elf_machine, &interpreter, why, sizeof(why));
        if (result < 0) {
            snprintf(error, size, "%s: interpreter '%s': %s", start.path, path, why);
            return STATUS_CANNOT_RUN;
        }
        result = map_file((int)fd, &interpreter, 0, &interpreter_bias);
        close((int)fd);
        if (result < 0) {
            snprintf(error, size, "%s: interpreter '%s' can't be mapped: %s", start.path, path,
                     strerror(-result));
            return STATUS_CANNOT_RUN;
        }
        stack.interpreter_base = interpreter_bias + interpreter.low;
        entry = interpreter.header.e_entry + interpreter_bias;
    }
    if (abi_vdso_map(cpu) < 0) {
        user_process.vdso = 0;
    }
    stack.argv = start.argv;
    stack.argc = start.argc;
    stack.path = program->path; /* of a script, its own and not the interpreter's */
    stack.phdr = file.phdr != 0 ? file.phdr + bias : 0;
    stack.phnum = file.segment_count;
    stack.entry = file.header.e_entry + bias;
    stack.executable = file.executable_stack;
    result = elf_stack_build(cpu, &stack);
    if (result < 0) {
        snprintf(error, size, "%s: %s", start.path, strerror(-result));
        return STATUS_CANNOT_RUN;
    }
    abi_start(cpu, entry, stack.sp);
    return 0;
}
