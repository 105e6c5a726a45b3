/*
 * Loading a guest program: ELF64 executables (static, static-pie, dynamic with an interpreter) and
 * #! scripts, the stack with arguments, environment and auxiliary vector.
 *
 * Files are hostile: every number in them is checked against the file's size and the address space
 * before it is used.
 */
#ifndef TINAMOU_LINUX_USER_ELF_H
#define TINAMOU_LINUX_USER_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cpu/cpu.h"

#define ELF_MAX_SEGMENTS 256
#define ELF_ERROR_SIZE   512

/* An executable's headers after all checks. */
struct elf_file {
    Elf64_Ehdr header;
    Elf64_Phdr segments[ELF_MAX_SEGMENTS];
    unsigned segment_count;
    uint64_t low, high;     /* span of the PT_LOAD segments, page-aligned, as linked */
    uint64_t align;         /* largest p_align of a PT_LOAD, at least a page */
    uint64_t phdr;          /* address of the program headers as linked; 0 if not in a segment */
    char interpreter[4096]; /* "" if none */
    bool executable_stack;
};

/* Reads and checks the headers of an open file. 0, or -errno (-ENOEXEC: not one for us) with a line
 * in error[]. */
int elf_check(int fd, uint16_t machine, struct elf_file *file, char *error, size_t error_size);

struct elf_program {
    const char *path;  /* as given */
    int fd;            /* open file to use (AT_EXECFD), or -1 */
    char *const *argv; /* NULL-terminated; argv[0] is the program's */
    char *const *envp;
    bool preserve_argv0; /* AT_FLAGS_PRESERVE_ARGV0 */
};

/*
 * Maps the program and its interpreter, builds the stack and sets the vCPU's registers to its
 * start. Fills in user_process. Returns 0; on failure the exit status a shell would give (127: no
 * such file, 126: can't be run) with a line in error[]. Nothing may run afterwards then: mappings
 * are left as they are.
 */
int elf_load(struct cpu *cpu, const struct elf_program *program, char *error, size_t error_size);

#endif
