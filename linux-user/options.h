/*
 * The command line and environment of a user-mode emulator.
 *
 * Every option is a row of a table: name, argument, environment variable, help. The environment is
 * read first, the command line overrides it; TINAMOU_X is asked before QEMU_X.
 */
#ifndef TINAMOU_LINUX_USER_OPTIONS_H
#define TINAMOU_LINUX_USER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options {
    const char *ld_prefix;
    const char *argv0;
    const char *cpu_model;
    const char *uname_release;
    const char *log_items;
    const char *log_file;
    const char *optimisations;                    /* the -O lists joined by commas; NULL if none */
    const char *explain;                          /* --explain's instruction in hexadecimal */
    const char *jit;                              /* "host" or "interp" */
    uint64_t guest_base, reserved_va, stack_size; /* 0: not given */
    uint32_t log_mask;
    uint32_t seed;
    uint32_t tb_size; /* of the code buffer in MiB; 0: not given */
    bool seeded, strace, one_insn, perfmap, jitdump;
    char **environment;  /* for the guest; NULL-terminated */
    const char *program; /* path of the guest's executable; NULL with --explain */
    char **arguments;    /* argv of the guest, argv[0] included */
};

/*
 * Parses. Options that print and end (-h, -version, -cpu help, -d help, -O help) do so; a bad
 * option is one line and exit status 1. preserve_argv0: the kernel's binfmt_misc put the program's
 * argv[0] behind its path (flag P).
 */
void options_parse(struct options *options, int argc, char **argv, char **envp,
                   bool preserve_argv0);

/* argv words that start the emulator with the same options, for execve; see
 * user_process.exec_prefix. prefix: -L's folder as an absolute path, or NULL. */
const char *const *options_exec_prefix(const struct options *options, const char *prefix,
                                       size_t *count);

#endif
