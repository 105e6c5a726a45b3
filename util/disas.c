/*
 * A wrapper of capstone that needs neither the heap nor a handle kept open: each call opens a
 * handle over an arena and drops both, so nothing lives from call to call but the arena's memory.
 * Opening costs microseconds, and only runs that log machine code pay them.
 *
 * The static libcapstone.a brings tables of every architecture with some 78,000 pointers that a
 * static-pie would have to relocate at each start (0.7 ms, measured). configure therefore defines
 * the entry points of the architectures we never open as disas_arch_absent(), which keeps their
 * tables out of the program.
 */
#include "util/disas.h"

#include "build/config.h"
#include "util/arena.h"
#include "util/lock.h"
#include "util/log.h"

#include <stdio.h>
#include <string.h>

#if CONFIG_CAPSTONE
#include <capstone/capstone.h>

static struct lock disas_lock = LOCK_INIT;
static struct arena disas_arena;

/* What capstone finds in place of the architectures that are not linked. */
int disas_arch_absent(void);

int disas_arch_absent(void)
{
    return CS_ERR_ARCH;
}

/* An allocation is preceded by its size, which realloc needs. */
static void *disas_malloc(size_t size)
{
    size_t *p;

    if (size > SIZE_MAX - ARENA_ALIGN) {
        return NULL;
    }
    p = arena_alloc(&disas_arena, size + ARENA_ALIGN);
    if (!p) {
        return NULL;
    }
    *p = size;
    return (char *)p + ARENA_ALIGN;
}

static void *disas_calloc(size_t n, size_t size)
{
    size_t bytes;
    void *p;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    p = disas_malloc(bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

static void disas_free(void *p)
{
}

static void *disas_realloc(void *p, size_t size)
{
    size_t old = p ? *(size_t *)((char *)p - ARENA_ALIGN) : 0;
    void *fresh = disas_malloc(size);

    if (fresh && old) {
        memcpy(fresh, p, old < size ? old : size);
    }
    return fresh;
}

static bool disas_open_locked(enum disas_arch arch, csh *handle)
{
    cs_opt_mem mem = {disas_malloc, disas_calloc, disas_realloc, disas_free, vsnprintf};

    if (disas_arena.chunk_size == 0) {
        arena_init(&disas_arena, 0);
    }
    if (cs_option(0, CS_OPT_MEM, (size_t)(uintptr_t)&mem) != CS_ERR_OK) {
        return false;
    }
    switch (arch) {
    case DISAS_X86_64:
        return cs_open(CS_ARCH_X86, CS_MODE_64, handle) == CS_ERR_OK;
    case DISAS_X86_32:
        return cs_open(CS_ARCH_X86, CS_MODE_32, handle) == CS_ERR_OK;
    case DISAS_X86_16:
        return cs_open(CS_ARCH_X86, CS_MODE_16, handle) == CS_ERR_OK;
    case DISAS_RISCV64:
#if CONFIG_CAPSTONE_RISCV
        return cs_open(CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC, handle) == CS_ERR_OK;
#else
        return false;
#endif
    }
    return false;
}

static void disas_close_locked(csh *handle)
{
    cs_close(handle);
    arena_reset(&disas_arena);
}

bool disas_available(enum disas_arch arch)
{
    csh handle;
    bool ok;

    lock_acquire(&disas_lock);
    ok = disas_open_locked(arch, &handle);
    if (ok) {
        disas_close_locked(&handle);
    }
    lock_release(&disas_lock);
    return ok;
}

size_t disas_one(enum disas_arch arch, const void *code, size_t len, uint64_t addr, char *text,
                 size_t size)
{
    csh handle;
    cs_insn *insn;
    size_t used = 0;

    lock_acquire(&disas_lock);
    if (!disas_open_locked(arch, &handle)) {
        snprintf(text, size, "(no disassembler)");
    } else {
        if (cs_disasm(handle, code, len, addr, 1, &insn) == 1) {
            snprintf(text, size, "%s%s%s", insn->mnemonic, insn->op_str[0] ? " " : "",
                     insn->op_str);
            used = insn->size;
        } else {
            snprintf(text, size, ".byte 0x%02x", len ? *(const uint8_t *)code : 0u);
        }
        disas_close_locked(&handle);
    }
    lock_release(&disas_lock);
    return used;
}

void disas_after_fork(void)
{
    lock_init(&disas_lock);
    arena_reset(&disas_arena);
}

#else

bool disas_available(enum disas_arch arch)
{
    return false;
}

size_t disas_one(enum disas_arch arch, const void *code, size_t len, uint64_t addr, char *text,
                 size_t size)
{
    snprintf(text, size, "(built without capstone: no disassembly)");
    return 0;
}

void disas_after_fork(void)
{
}

#endif

/* "0x7f0000001000:  48 89 c8              mov rax, rcx" */
static void disas_log_line(uint64_t addr, const uint8_t *bytes, size_t n, const char *text)
{
    char hex[3 * 16 + 1];
    size_t at = 0;

    for (size_t i = 0; i < n && i < 16; i++) {
        at += (size_t)snprintf(hex + at, sizeof(hex) - at, "%02x ", bytes[i]);
    }
    hex[at] = '\0';
    log_printf("0x%012llx:  %-31s %s\n", (unsigned long long)addr, hex, text);
}

void disas_log(enum disas_arch arch, const void *code, size_t len, uint64_t addr)
{
    const uint8_t *bytes = code;
    char text[DISAS_TEXT_MAX];

    if (!disas_available(arch)) {
        disas_one(arch, bytes, len, addr, text, sizeof(text));
        for (size_t i = 0; i < len; i += 8) {
            disas_log_line(addr + i, bytes + i, len - i < 8 ? len - i : 8, i == 0 ? text : "");
        }
        return;
    }
    for (size_t i = 0; i < len;) {
        size_t used = disas_one(arch, bytes + i, len - i, addr + i, text, sizeof(text));

        used = used ? used : 1;
        disas_log_line(addr + i, bytes + i, used, text);
        i += used;
    }
}
