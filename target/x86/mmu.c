/*
 * Page walks (SDM volume 3, chapter 4): 32-bit paging with 4 MiB pages and PSE-36, PAE, 4-level and
 * 5-level paging.
 *
 * All formats but the first are the same walk over levels of 512 entries of 8 bytes. What differs
 * by level is which page sizes there are and which bits are reserved; bits above the guest's
 * physical-address width are not judged, since processors may have more bits than CPUID shows.
 */
#include "target/x86/mmu.h"
#include "mem/space.h"
#include "target/x86/arch.h"
#include "util/bits.h"

#include <errno.h>
#include <string.h>

#define PTE_P  (UINT64_C(1) << 0)
#define PTE_W  (UINT64_C(1) << 1)
#define PTE_U  (UINT64_C(1) << 2)
#define PTE_A  (UINT64_C(1) << 5)
#define PTE_D  (UINT64_C(1) << 6)
#define PTE_PS (UINT64_C(1) << 7)
#define PTE_G  (UINT64_C(1) << 8)
#define PTE_XD (UINT64_C(1) << 63)

#define ADDRESS_BITS (((UINT64_C(1) << 52) - 1) & ~UINT64_C(0xfff))

enum { PAGE_BITS = 12 };

enum x86_paging x86_paging_mode(const struct x86_cpu *cpu)
{
    if (!(cpu->cr0 & X86_CR0_PG)) {
        return X86_PAGING_NONE;
    }
    if (!(cpu->cr4 & X86_CR4_PAE)) {
        return X86_PAGING_32;
    }
    if (!(cpu->efer & X86_EFER_LME)) {
        return X86_PAGING_PAE;
    }
    return cpu->cr4 & X86_CR4_LA57 ? X86_PAGING_5 : X86_PAGING_4;
}

/* Copies from RAM or ROM; returns how many bytes there are, at most `size`. */
static size_t read_physical(const struct x86_cpu *cpu, uint64_t at, void *to, size_t size)
{
    const struct mem_view *view;
    size_t done = 0;

    if (!cpu->wiring.memory) {
        return 0;
    }
    view = mem_space_enter(cpu->wiring.memory);
    while (done < size) {
        const struct mem_section *s = mem_view_find(view, mem_gpa(at + done));
        size_t piece = size - done;

        if (!s || !s->host) {
            break;
        }
        if (piece - 1 > s->last - (at + done)) {
            piece = (size_t)(s->last - (at + done)) + 1;
        }
        memcpy((char *)to + done, s->host + (at + done - s->first.value), piece);
        done += piece;
    }
    mem_space_leave();
    return done;
}

static bool read_entry(const struct x86_cpu *cpu, uint64_t at, unsigned size, uint64_t *entry)
{
    *entry = 0;
    return read_physical(cpu, at, entry, size) == size;
}

static void start(struct x86_walk *w)
{
    *w = (struct x86_walk){.writable = true, .user = true, .executable = true};
}

/* What a level takes away. */
static void restrict_by(struct x86_walk *w, uint64_t entry)
{
    w->entry = entry;
    w->writable &= (entry & PTE_W) != 0;
    w->user &= (entry & PTE_U) != 0;
    w->executable &= !(entry & PTE_XD);
}

static int found(struct x86_walk *w, uint64_t address, uint64_t frame, unsigned bits)
{
    w->page_size = UINT64_C(1) << bits;
    w->gpa = (frame & ~bits_mask(bits)) | (address & bits_mask(bits));
    w->global = w->entry & PTE_G;
    w->accessed = w->entry & PTE_A;
    w->dirty = w->entry & PTE_D;
    return 0;
}

/* 32-bit paging (4.3). */
static int walk_32(const struct x86_cpu *cpu, uint32_t address, struct x86_walk *w)
{
    uint64_t entry, table = cpu->cr3 & 0xfffff000;

    if (!read_entry(cpu, table + (address >> 22) * 4, 4, &entry) || !(entry & PTE_P)) {
        return -EFAULT;
    }
    restrict_by(w, entry);
    if (entry & PTE_PS && cpu->cr4 & X86_CR4_PSE) {
        if (entry & 1u << 21) {
            return -EFAULT;
        }
        return found(w, address, (entry & 0xffc00000) | bits_extract(entry, 13, 8) << 32, 22);
    }
    table = entry & 0xfffff000;
    if (!read_entry(cpu, table + (address >> 12 & 0x3ff) * 4, 4, &entry) || !(entry & PTE_P)) {
        return -EFAULT;
    }
    restrict_by(w, entry);
    return found(w, address, entry & 0xfffff000, PAGE_BITS);
}

/* Bits that are reserved in an entry of this level whatever the processor: PS where there is no
 * page, low address bits of a large page, XD before it is enabled. */
static bool reserved(const struct x86_cpu *cpu, uint64_t entry, unsigned level, bool is_page)
{
    if (entry & PTE_XD && !(cpu->efer & X86_EFER_NXE)) {
        return true;
    }
    if (is_page && level > 0) {
        return entry & bits_mask(12 + 9 * level) & ~bits_mask(13);
    }
    return level > 2 && entry & PTE_PS;
}

/* Levels `level` down to 0, from the table at `table`. */
static int walk_levels(const struct x86_cpu *cpu, uint64_t address, uint64_t table, unsigned level,
                       struct x86_walk *w)
{
    /* 1 GiB pages are those of 4-level paging; in PAE paging the walk starts a level below. */
    for (;; level--) {
        unsigned shift = PAGE_BITS + 9 * level;
        uint64_t entry;
        bool is_page;

        if (!read_entry(cpu, table + bits_extract(address, shift, 9) * 8, 8, &entry) ||
            !(entry & PTE_P)) {
            return -EFAULT;
        }
        is_page = level == 0 || (level <= 2 && entry & PTE_PS);
        if (reserved(cpu, entry, level, is_page)) {
            return -EFAULT;
        }
        restrict_by(w, entry);
        if (is_page) {
            w->key = cpu->efer & X86_EFER_LME ? (uint8_t)bits_extract(entry, 59, 4) : 0;
            return found(w, address, entry & ADDRESS_BITS, shift);
        }
        table = entry & ADDRESS_BITS;
    }
}

/* PAE paging (4.4): the four pointers are registers, loaded when CR3 was written. */
static int walk_pae(const struct x86_cpu *cpu, uint32_t address, struct x86_walk *w)
{
    uint64_t pointer = cpu->pdptr[address >> 30];

    if (!cpu->has_pdptrs &&
        !read_entry(cpu, (cpu->cr3 & 0xffffffe0) + (address >> 30) * 8, 8, &pointer)) {
        return -EFAULT;
    }
    if (!(pointer & PTE_P)) {
        return -EFAULT;
    }
    return walk_levels(cpu, address, pointer & ADDRESS_BITS, 1, w);
}

int x86_walk(const struct x86_cpu *cpu, uint64_t address, struct x86_walk *w)
{
    enum x86_paging mode = x86_paging_mode(cpu);
    unsigned bits = mode == X86_PAGING_5 ? 57 : 48;

    start(w);
    switch (mode) {
    case X86_PAGING_NONE:
        return found(w, address, address, 32);
    case X86_PAGING_32:
        return walk_32(cpu, (uint32_t)address, w);
    case X86_PAGING_PAE:
        return walk_pae(cpu, (uint32_t)address, w);
    default:
        if (bits_sext(address, bits) != (int64_t)address) {
            return -EFAULT; /* not canonical */
        }
        return walk_levels(cpu, address, cpu->cr3 & ADDRESS_BITS, mode == X86_PAGING_5 ? 4 : 3, w);
    }
}

int x86_debug_address(struct cpu *cpu, uint64_t address, struct cpu_translation *result)
{
    struct x86_walk w;

    if (x86_walk(x86_cpu(cpu), address, &w) < 0) {
        return -EFAULT;
    }
    *result = (struct cpu_translation){
        .gpa = w.gpa,
        .page_size = w.page_size,
        .prot = (uint8_t)(CPU_PROT_READ | (w.writable ? CPU_PROT_WRITE : 0) |
                          (w.executable ? CPU_PROT_EXEC : 0)),
        .global = w.global,
    };
    return 0;
}

size_t x86_read_linear_some(const struct x86_cpu *cpu, uint64_t address, void *to, size_t size)
{
    size_t done = 0;

    while (done < size) {
        uint64_t left = MEM_PAGE_SIZE - ((address + done) & (MEM_PAGE_SIZE - 1));
        size_t piece = size - done < left ? size - done : (size_t)left, got;
        struct x86_walk w;

        if (x86_walk(cpu, address + done, &w) < 0) {
            break;
        }
        got = read_physical(cpu, w.gpa, (char *)to + done, piece);
        done += got;
        if (got < piece) {
            break;
        }
    }
    return done;
}

int x86_read_linear(const struct x86_cpu *cpu, uint64_t address, void *to, size_t size)
{
    return x86_read_linear_some(cpu, address, to, size) == size ? 0 : -EFAULT;
}
