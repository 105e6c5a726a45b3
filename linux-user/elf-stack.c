/*
 * The initial stack, from its top down, as Linux lays it out:
 *
 *     8 bytes of zero, AT_EXECFN's string, environment strings, argument strings, 16 random bytes,
 * padding, auxiliary vector, environment pointers, argument pointers, argument count  <- sp, a
 * multiple of 16
 *
 * It is built in a buffer of ours and copied to the guest in one go.
 */
#include "linux-user/elf-stack.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#include "linux-user/abi.h"
#include "linux-user/mm.h"
#include "linux-user/user.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#define FLAGS_PRESERVE_ARGV0 1 /* AT_FLAGS_PRESERVE_ARGV0 */
#define CLOCK_TICKS          100
#define AUX_MAX              32 /* entries */

/* Fills 16 bytes: random ones, or with -seed always the same for the same seed. */
static void random_bytes(uint8_t bytes[16])
{
    uint64_t x = user_process.seed;

    if (!user_process.seeded) {
        if (getrandom(bytes, 16, GRND_NONBLOCK) == 16) {
            return;
        }
        x = (uint64_t)getpid();
    }
    for (unsigned i = 0; i < 16; i++) {
        /* SplitMix64's step, a byte at a time. */
        uint64_t z = x += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        bytes[i] = (uint8_t)(z >> 56);
    }
}

struct auxv {
    uint64_t words[2 * AUX_MAX];
    size_t count; /* words */
};

static void aux(struct auxv *v, uint64_t type, uint64_t value)
{
    v->words[v->count++] = type;
    v->words[v->count++] = value;
}

static void fill_auxv(struct auxv *v, const struct cpu *cpu, const struct elf_stack *stack,
                      uint64_t random, uint64_t path)
{
    if (user_process.vdso != 0) {
        aux(v, AT_SYSINFO_EHDR, user_process.vdso);
    }
    aux(v, AT_MINSIGSTKSZ, abi_min_signal_stack);
    aux(v, AT_HWCAP, abi_hwcap(cpu));
    aux(v, AT_PAGESZ, MM_PAGE_SIZE);
    aux(v, AT_CLKTCK, CLOCK_TICKS);
    aux(v, AT_PHDR, stack->phdr);
    aux(v, AT_PHENT, sizeof(Elf64_Phdr));
    aux(v, AT_PHNUM, stack->phnum);
    aux(v, AT_BASE, stack->interpreter_base);
    aux(v, AT_FLAGS, stack->preserve_argv0 ? FLAGS_PRESERVE_ARGV0 : 0);
    aux(v, AT_ENTRY, stack->entry);
    aux(v, AT_UID, getuid());
    aux(v, AT_EUID, geteuid());
    aux(v, AT_GID, getgid());
    aux(v, AT_EGID, getegid());
    aux(v, AT_SECURE, getauxval(AT_SECURE));
    aux(v, AT_RANDOM, random);
    if (abi_hwcap2(cpu) != 0) {
        aux(v, AT_HWCAP2, abi_hwcap2(cpu));
    }
    aux(v, AT_EXECFN, path);
    aux(v, AT_NULL, 0);
}

int elf_stack_build(const struct cpu *cpu, struct elf_stack *stack)
{
    size_t envc = 0, strings = 0, pointers, used;
    struct auxv v = {.count = 0};
    uint64_t top, random, path, at, *word;
    uint8_t *buffer;
    int64_t low;
    int result;

    for (size_t i = 0; i < stack->argc; i++) {
        strings += strlen(stack->argv[i]) + 1;
    }
    for (; stack->envp[envc] != NULL; envc++) {
        strings += strlen(stack->envp[envc]) + 1;
    }
    strings += strlen(stack->path) + 1;
    pointers = (1 + stack->argc + 1 + envc + 1) * sizeof(uint64_t);
    used = 8 + strings + 16 + 16 + sizeof(v.words) + pointers + 16;
    if (used > user_process.stack_size / 4) {
        return -E2BIG;
    }
    low = mm_stack(user_process.stack_size);
    if (low < 0) {
        return (int)low;
    }
    if (stack->executable) {
        mm_mprotect((uint64_t)low, user_process.stack_size, PROT_READ | PROT_WRITE | PROT_EXEC);
    }
    buffer = calloc(1, used);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    /* buffer[i] is guest address top - used + i. */
    top = (uint64_t)low + user_process.stack_size;
    path = top - 8 - (strlen(stack->path) + 1);
    at = top - 8 - strings;
    random = (at - 16) & ~(uint64_t)15;
    random_bytes(buffer + (random - (top - used)));
    fill_auxv(&v, cpu, stack, random, path);
    stack->sp = (random - v.count * sizeof(uint64_t) - pointers) & ~(uint64_t)15;

    word = (void *)(buffer + (stack->sp - (top - used)));
    *word++ = stack->argc;
    user_process.arg_start = at;
    for (size_t i = 0; i < stack->argc; i++) {
        const size_t size = strlen(stack->argv[i]) + 1;
        memcpy(buffer + (at - (top - used)), stack->argv[i], size);
        *word++ = at;
        at += size;
    }
    *word++ = 0;
    user_process.arg_end = user_process.env_start = at;
    for (size_t i = 0; i < envc; i++) {
        const size_t size = strlen(stack->envp[i]) + 1;
        memcpy(buffer + (at - (top - used)), stack->envp[i], size);
        *word++ = at;
        at += size;
    }
    *word++ = 0;
    user_process.env_end = at;
    memcpy(buffer + (path - (top - used)), stack->path, strlen(stack->path) + 1);
    memcpy(word, v.words, v.count * sizeof(uint64_t));

    user_process.stack_top = stack->sp;
    user_process.auxv_size = v.count * sizeof(uint64_t);
    user_process.auxv = malloc(user_process.auxv_size);
    if (user_process.auxv == NULL) {
        free(buffer);
        return -ENOMEM;
    }
    memcpy((void *)user_process.auxv, v.words, user_process.auxv_size);
    result = mem_guest_write(stack->sp, buffer + (stack->sp - (top - used)), top - stack->sp);
    free(buffer);
    return result;
}
