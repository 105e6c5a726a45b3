/*
 * Debugging of guests, by KVM_SET_GUEST_DEBUG.
 *
 * A breakpoint takes a debug register of its vCPU while one is free, and int3 in guest memory when
 * there is none. A register is the better one: the guest cannot see it, it works in ROM and before
 * the page is mapped, it counts for its vCPU alone; and hosts that emulate the guest's kernel can
 * be unable to stop at int3. Watchpoints can be in registers only, so breakpoints give way to them:
 * they move into memory. While a debugger has registers in use the guest's own are without effect.
 *
 * int3 in memory is shared by all vCPUs, and all of them stop there. Original bytes are kept by
 * guest-physical address, since the guest's mappings change. A byte that is no longer int3 when the
 * breakpoint is removed was overwritten by the guest, and stays.
 *
 * x86-debug-run.c has what happens when one is hit.
 *
 * While one instruction is stepped, interrupts are held back where the kernel can do it: else each
 * step of a busy guest would lead into a handler.
 */
#include "accel/kvm/x86.h"

#include "mem/access.h"
#include "target/x86/mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { INT3 = 0xcc };

enum { DR7_EXECUTE = 0, DR7_WRITE = 1, DR7_ACCESS = 3 };

/* Bytes that int3 hides, and how many breakpoints want it. By whoever debugs; vCPUs stand. */
static struct patch {
    struct mem_gpa gpa;
    uint8_t original;
    unsigned users;
    struct patch *next;
} * patches;

static struct kvm_x86_debug *debug_of(struct kvm_cpu *k)
{
    return &kvm_x86_cpu(k)->debug;
}

/* ---- telling the kernel ---------------------------------------------------------------------- */

static uint32_t length_code(unsigned size)
{
    return size == 8 ? 2 : size - 1; /* 1, 2, 4 bytes: 0, 1, 3 */
}

/* Does this register hold the breakpoint that is being passed? */
static bool is_passed(const struct kvm_x86_debug *d, unsigned n)
{
    return d->passing && d->reg[n].type == DR7_EXECUTE && d->reg[n].address == d->pass;
}

int kvm_x86_update_debug(struct kvm_cpu *k)
{
    const struct kvm_x86_debug *d = debug_of(k);
    struct kvm_guest_debug g = {0};
    uint64_t dr7 = 1u << 10 | 1u << 9; /* fixed; exact data breakpoints */
    bool registers = false;
    int err;

    for (unsigned n = 0; n < KVM_X86_DEBUG_REGISTERS; n++) {
        if (d->reg[n].size && !is_passed(d, n)) {
            g.arch.debugreg[n] = d->reg[n].address;
            dr7 |= UINT64_C(2) << 2 * n | (uint64_t)d->reg[n].type << (16 + 4 * n) |
                   (uint64_t)length_code(d->reg[n].size) << (18 + 4 * n);
            registers = true;
        }
    }
    if (registers) {
        g.control |= KVM_GUESTDBG_USE_HW_BP;
        g.arch.debugreg[7] = dr7;
    }
    if (patches) {
        g.control |= KVM_GUESTDBG_USE_SW_BP;
    }
    if (d->stepping || d->passing) {
        g.control |= KVM_GUESTDBG_SINGLESTEP;
        if (kvm_check_extension(KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ) {
            g.control |= KVM_GUESTDBG_BLOCKIRQ;
        }
    }
    g.control |= g.control ? KVM_GUESTDBG_ENABLE : 0;
    err = kvm_vcpu_ioctl(k, KVM_SET_GUEST_DEBUG, &g);
    return err < 0 ? err : 0;
}

int kvm_x86_init_debug(struct kvm_cpu *k)
{
    return patches ? kvm_x86_update_debug(k) : 0;
}

/* The first int3 in memory, or the end of the last, concerns every vCPU. */
static int update_all(void)
{
    int result = 0;

    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        int err = kvm_x86_update_debug(k);

        result = err < 0 ? err : result;
    }
    return result;
}

/* ---- int3 in memory -------------------------------------------------------------------------- */

static struct patch **find_patch(struct mem_gpa gpa)
{
    struct patch **p = &patches;

    while (*p && (*p)->gpa.value != gpa.value) {
        p = &(*p)->next;
    }
    return p;
}

static int add_patch(struct mem_gpa gpa)
{
    const uint8_t int3 = INT3;
    struct patch **at = find_patch(gpa), *p = *at;
    int err;

    if (p) {
        p->users++;
        return 0;
    }
    p = calloc(1, sizeof(*p));
    if (!p) {
        return -ENOMEM;
    }
    p->gpa = gpa;
    p->users = 1;
    err = mem_access_read(kvm.memory, gpa, &p->original, 1, (struct mem_attrs){.debug = 1});
    err = err ? err : mem_access_write_rom(kvm.memory, gpa, &int3, 1);
    if (err) {
        free(p);
        return -EFAULT;
    }
    *at = p;
    return p == patches && !p->next ? update_all() : 0;
}

static void remove_patch(struct mem_gpa gpa)
{
    struct patch **at = find_patch(gpa), *p = *at;
    uint8_t now;

    if (!p || --p->users) {
        return;
    }
    if (mem_access_read(kvm.memory, gpa, &now, 1, (struct mem_attrs){.debug = 1}) == 0 &&
        now == INT3) {
        (void)mem_access_write_rom(kvm.memory, gpa, &p->original, 1);
    }
    *at = p->next;
    free(p);
    if (!patches) {
        (void)update_all();
    }
}

bool kvm_x86_has_patch(struct mem_gpa gpa)
{
    return *find_patch(gpa);
}

void kvm_x86_lift_patch(struct mem_gpa gpa, bool lift)
{
    const uint8_t int3 = INT3;
    struct patch *p = *find_patch(gpa);

    if (!p) {
        return;
    }
    if (lift) {
        (void)mem_access_write_rom(kvm.memory, gpa, &p->original, 1);
    } else if (mem_access_read(kvm.memory, gpa, &p->original, 1, (struct mem_attrs){.debug = 1}) ==
               0) {
        /* the guest may have written there meanwhile */
        (void)mem_access_write_rom(kvm.memory, gpa, &int3, 1);
    }
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

static int free_register(const struct kvm_x86_debug *d)
{
    for (int n = 0; n < KVM_X86_DEBUG_REGISTERS; n++) {
        if (!d->reg[n].size) {
            return n;
        }
    }
    return -1;
}

static void set_register(struct kvm_x86_debug *d, int n, uint64_t address, unsigned size,
                         unsigned access)
{
    d->reg[n].address = address;
    d->reg[n].size = (uint8_t)size;
    d->reg[n].access = (uint8_t)access;
    /* Registers watch for writes, or for any access: there is none for reads alone. */
    d->reg[n].type = access & CPU_WATCH_READ ? DR7_ACCESS : access ? DR7_WRITE : DR7_EXECUTE;
}

static struct kvm_x86_breakpoint *find_breakpoint(const struct kvm_x86_debug *d, uint64_t address)
{
    for (unsigned n = 0; n < d->count; n++) {
        if (d->breakpoint[n].address == address) {
            return &d->breakpoint[n];
        }
    }
    return NULL;
}

/* Puts the breakpoint into memory, by the guest's mappings as they are. */
static int place_in_memory(struct kvm_cpu *k, struct kvm_x86_breakpoint *b)
{
    struct x86_walk w;
    int err = kvm_registers_fetch(k->cpu);

    if (err) {
        return err;
    }
    if (x86_walk(x86_cpu(k->cpu), b->address, &w) < 0) {
        return -EFAULT;
    }
    err = add_patch(mem_gpa(w.gpa));
    if (!err) {
        b->gpa = mem_gpa(w.gpa);
        b->reg = -1;
    }
    return err;
}

static int insert_breakpoint(struct kvm_cpu *k, uint64_t address)
{
    struct kvm_x86_debug *d = debug_of(k);
    struct kvm_x86_breakpoint b = {.address = address, .reg = free_register(d)}, *more;
    int err;

    if (find_breakpoint(d, address)) {
        return 0;
    }
    more = realloc(d->breakpoint, (d->count + 1) * sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    d->breakpoint = more;
    if (b.reg >= 0) {
        set_register(d, b.reg, address, 1, 0);
        err = kvm_x86_update_debug(k);
        if (err) {
            d->reg[b.reg].size = 0;
        }
    } else {
        err = place_in_memory(k, &b);
    }
    if (err) {
        return err;
    }
    d->breakpoint[d->count++] = b;
    return 0;
}

static int remove_breakpoint(struct kvm_cpu *k, uint64_t address)
{
    struct kvm_x86_debug *d = debug_of(k);
    struct kvm_x86_breakpoint *b = find_breakpoint(d, address), old;

    if (!b) {
        return -ENOENT;
    }
    old = *b;
    *b = d->breakpoint[--d->count];
    if (old.reg >= 0) {
        d->reg[old.reg].size = 0;
        return kvm_x86_update_debug(k);
    }
    remove_patch(old.gpa);
    return 0;
}

int kvm_arch_breakpoint(struct kvm_cpu *k, uint64_t address, bool insert)
{
    struct kvm_x86_debug *d = debug_of(k);

    if (d->passing) { /* it has not come to that; the next run begins again */
        kvm_x86_end_pass(k);
        d->noticed = true;
    }
    return insert ? insert_breakpoint(k, address) : remove_breakpoint(k, address);
}

/* ---- watchpoints ----------------------------------------------------------------------------- */

/* Bytes from `address` on that one register watches: a naturally aligned power of two. */
static unsigned piece_of(uint64_t address, uint64_t left)
{
    unsigned size = 8;

    while (size > left || address & (size - 1)) {
        size /= 2;
    }
    return size;
}

/* A free register, if need be one that a breakpoint gives up; -1. */
static int clear_register(struct kvm_cpu *k)
{
    struct kvm_x86_debug *d = debug_of(k);
    int reg = free_register(d);

    for (unsigned n = 0; reg < 0 && n < d->count; n++) {
        int old = d->breakpoint[n].reg;

        if (old >= 0 && place_in_memory(k, &d->breakpoint[n]) == 0) {
            d->reg[old].size = 0;
            reg = old;
        }
    }
    return reg;
}

static int find_watchpoint(const struct kvm_x86_debug *d, uint64_t address, unsigned size,
                           unsigned access)
{
    for (int n = 0; n < KVM_X86_DEBUG_REGISTERS; n++) {
        if (d->reg[n].size == size && d->reg[n].address == address && d->reg[n].access == access) {
            return n;
        }
    }
    return -1;
}

static int remove_watchpoint(struct kvm_cpu *k, uint64_t address, uint64_t size, unsigned access)
{
    struct kvm_x86_debug *d = debug_of(k);
    int err = 0;

    for (uint64_t at = address; at - address < size;) {
        unsigned piece = piece_of(at, size - (at - address));
        int n = find_watchpoint(d, at, piece, access);

        if (n < 0) {
            err = -ENOENT;
        } else {
            d->reg[n].size = 0;
        }
        at += piece;
    }
    return kvm_x86_update_debug(k) ? -EIO : err;
}

static int insert_watchpoint(struct kvm_cpu *k, uint64_t address, uint64_t size, unsigned access)
{
    struct kvm_x86_debug *d = debug_of(k);
    bool fresh[KVM_X86_DEBUG_REGISTERS] = {false};
    int err;

    for (uint64_t at = address; at - address < size;) {
        unsigned piece = piece_of(at, size - (at - address));

        if (find_watchpoint(d, at, piece, access) < 0) {
            int n = clear_register(k);

            if (n < 0) {
                break;
            }
            set_register(d, n, at, piece, access);
            fresh[n] = true;
        }
        at += piece;
        if (at - address >= size) {
            return kvm_x86_update_debug(k);
        }
    }
    /* Breakpoints that have moved by now may stay where they are. */
    for (unsigned n = 0; n < KVM_X86_DEBUG_REGISTERS; n++) {
        if (fresh[n]) {
            d->reg[n].size = 0;
        }
    }
    err = kvm_x86_update_debug(k);
    return err ? err : -ENOSPC;
}

int kvm_arch_watchpoint(struct kvm_cpu *k, uint64_t address, uint64_t size, unsigned access,
                        bool insert)
{
    if (size == 0 || address + size - 1 < address || access == 0 ||
        access > (CPU_WATCH_READ | CPU_WATCH_WRITE)) {
        return -EINVAL;
    }
    if (size > (uint64_t)8 * KVM_X86_DEBUG_REGISTERS) {
        return insert ? -ENOSPC : -ENOENT;
    }
    return insert ? insert_watchpoint(k, address, size, access)
                  : remove_watchpoint(k, address, size, access);
}

int kvm_arch_single_step(struct kvm_cpu *k, bool on)
{
    debug_of(k)->stepping = on;
    return kvm_x86_update_debug(k);
}

void kvm_x86_free_debug(struct kvm_cpu *k)
{
    struct kvm_x86_debug *d = debug_of(k);

    while (d->count) {
        struct kvm_x86_breakpoint *b = &d->breakpoint[--d->count];

        if (b->reg < 0) {
            remove_patch(b->gpa);
        }
    }
    free(d->breakpoint);
    d->breakpoint = NULL;
}
