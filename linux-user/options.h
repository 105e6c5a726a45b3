/*
 * The command line and environment of a user-mode emulator.
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
    const char *optimisations; /* -O lists, joined by commas; NULL if none */
    const char *explain;       /* --explain's instruction in hexadecimal */
    uint64_t guest_base, reserved_va, stack_size;
    bool guest_base_set, strace, one_insn, interp;
    bool seed_set;
    uint32_t seed;
    char **environment;  /* for the guest; NULL-terminated */
    const char *program; /* path of the guest's executable, or NULL with --explain */
    char **arguments;    /* argv of the guest, argv[0] included */
};

/*
 * Parses. Options that print and end (-h, -version, -cpu help, -d help, -O help) do so; a bad
 * option is one line and exit status 1. binfmt: the kernel's binfmt_misc passed argv[0] as the
 * third word (flag P).
 */
void options_parse(struct options *options, int argc, char **argv, char **envp,
                   bool binfmt_preserve);

/* argv words that would start the emulator with the same options, for execve; see
 * user_process.exec_prefix. */
const char *const *options_exec_prefix(const struct options *options, const char *self,
                                       size_t *count);

#endif
