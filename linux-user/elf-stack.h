/*
 * The stack a program starts with: arguments, environment, auxiliary vector.
 */
#ifndef TINAMOU_LINUX_USER_ELF_STACK_H
#define TINAMOU_LINUX_USER_ELF_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;

struct elf_stack {
    char *const *argv;
    char *const *envp; /* NULL-terminated */
    size_t argc;
    const char *path; /* AT_EXECFN */
    uint64_t phdr, phnum, entry;
    uint64_t interpreter_base; /* 0 if none */
    bool executable;
    bool preserve_argv0;
    uint64_t sp; /* out */
};

/* Maps the main thread's stack of user_process.stack_size bytes and fills it in; also the fields of
 * user_process that say where. 0 or -errno (-E2BIG: the strings take more than a quarter of it). */
int elf_stack_build(const struct cpu *cpu, struct elf_stack *stack);

#endif
