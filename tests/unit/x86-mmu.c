/*
 * Page walks against a reference that follows the manual's tables (SDM volume 3, 4.3 to 4.5) one
 * level after the other in straight code, over random tables in every paging mode; and directed
 * cases for what random ones seldom meet.
 */
#include "tests/unit/x86-bench.h"

enum { TABLES = 16, TABLE_AT = 0x100000 };

static uint64_t seed = 271828;

static uint64_t draw(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 20) % n;
}

/* ---- the reference --------------------------------------------------------------------------- */

struct answer {
    bool mapped, w, u, x, g, a, d;
    uint64_t gpa, size, entry;
};

static bool load(uint64_t at, unsigned size, uint64_t *value)
{
    *value = 0;
    if (at + size <= BENCH_RAM || (at >= BENCH_HIGH && at + size <= BENCH_HIGH + BENCH_HIGH_SIZE)) {
        memcpy(value, bench_at(at), size);
        return true;
    }
    return false;
}

static void restrict_to(struct answer *r, uint64_t entry)
{
    r->entry = entry;
    r->w &= entry >> 1 & 1;
    r->u &= entry >> 2 & 1;
    r->x &= !(entry >> 63);
}

static struct answer leaf(struct answer r, uint64_t frame, uint64_t size, uint64_t va)
{
    r.mapped = true;
    r.size = size;
    r.gpa = frame / size * size + va % size;
    r.g = r.entry >> 8 & 1;
    r.a = r.entry >> 5 & 1;
    r.d = r.entry >> 6 & 1;
    return r;
}

static struct answer reference_32(uint32_t va)
{
    struct answer r = {.w = true, .u = true, .x = true}, none = {0};
    uint64_t pde, pte;

    if (!load((cpu->cr3 & 0xfffff000) + va / 0x400000 * 4, 4, &pde) || !(pde & 1)) {
        return none;
    }
    restrict_to(&r, pde);
    if (pde & 0x80 && cpu->cr4 & 16) {
        uint64_t frame = (pde & 0xffc00000) + ((pde >> 13 & 0xff) << 32);
        return pde & 0x200000 ? none : leaf(r, frame, 0x400000, va);
    }
    if (!load((pde & 0xfffff000) + va / 0x1000 % 1024 * 4, 4, &pte) || !(pte & 1)) {
        return none;
    }
    restrict_to(&r, pte);
    return leaf(r, pte & 0xfffff000, 0x1000, va);
}

static bool has_bad_bits(uint64_t entry)
{
    return entry >> 63 && !(cpu->efer & 0x800);
}

/* From the page directory on, which 64-bit formats share. */
static struct answer reference_directory(struct answer r, uint64_t table, uint64_t va)
{
    struct answer none = {0};
    uint64_t pde, pte;

    if (!load(table + va / 0x200000 % 512 * 8, 8, &pde) || !(pde & 1) || has_bad_bits(pde)) {
        return none;
    }
    restrict_to(&r, pde);
    if (pde & 0x80) {
        return pde & 0x1fe000 ? none : leaf(r, pde & 0xfffffffffe000, 0x200000, va);
    }
    if (!load((pde & 0xffffffffff000) + va / 0x1000 % 512 * 8, 8, &pte) || !(pte & 1) ||
        has_bad_bits(pte)) {
        return none;
    }
    restrict_to(&r, pte);
    return leaf(r, pte & 0xffffffffff000, 0x1000, va);
}

static struct answer reference_pae(uint32_t va)
{
    struct answer r = {.w = true, .u = true, .x = true}, none = {0};
    uint64_t pdpte;

    if (cpu->has_pdptrs) {
        pdpte = cpu->pdptr[va >> 30];
    } else if (!load((cpu->cr3 & 0xffffffe0) + (va >> 30) * 8, 8, &pdpte)) {
        return none;
    }
    return pdpte & 1 ? reference_directory(r, pdpte & 0xffffffffff000, va) : none;
}

static struct answer reference_64(uint64_t va)
{
    struct answer r = {.w = true, .u = true, .x = true}, none = {0};
    uint64_t table = cpu->cr3 & 0xffffffffff000, entry;
    bool five = cpu->cr4 & 0x1000;
    uint64_t top = va >> (five ? 56 : 47);

    if (top != 0 && top != (five ? 0xff : 0x1ffff)) {
        return none;
    }
    for (int shift = five ? 48 : 39; shift >= 39; shift -= 9) {
        if (!load(table + (va >> shift) % 512 * 8, 8, &entry) || !(entry & 1) || entry & 0x80 ||
            has_bad_bits(entry)) {
            return none;
        }
        restrict_to(&r, entry);
        table = entry & 0xffffffffff000;
    }
    if (!load(table + va / 0x40000000 % 512 * 8, 8, &entry) || !(entry & 1) ||
        has_bad_bits(entry)) {
        return none;
    }
    restrict_to(&r, entry);
    if (entry & 0x80) {
        return entry & 0x3fffe000 ? none : leaf(r, entry & 0xfffffffffe000, 0x40000000, va);
    }
    return reference_directory(r, entry & 0xffffffffff000, va);
}

static struct answer reference(uint64_t va)
{
    if (!(cpu->cr0 >> 31 & 1)) {
        return (struct answer){
            .mapped = true, .w = true, .u = true, .x = true, .gpa = va, .size = UINT64_C(1) << 32};
    }
    if (!(cpu->cr4 & 0x20)) {
        return reference_32((uint32_t)va);
    }
    return cpu->efer & 0x100 ? reference_64(va) : reference_pae((uint32_t)va);
}

/* ---- random tables --------------------------------------------------------------------------- */

static uint64_t random_entry(bool wide)
{
    uint64_t entry = draw(1 << 12) | 1, page = TABLE_AT / 4096 + draw(TABLES);

    if (draw(3) == 0) {
        entry &= ~UINT64_C(0x80); /* more pointers */
    }
    if (draw(12) == 0) {
        entry &= ~UINT64_C(1);
    }
    if (draw(3) == 0) { /* a large page, well aligned or not */
        page = draw(2) ? draw(64) << 9 : draw(16) << 18;
        page |= draw(8) == 0 ? draw(512) : 0;
    }
    if (wide && draw(4) == 0) {
        page |= BENCH_HIGH >> 12;
    }
    entry |= page << 12;
    if (wide && draw(6) == 0) {
        entry |= UINT64_C(1) << 63;
    }
    if (wide && draw(6) == 0) {
        entry |= draw(1 << 10) << 52;
    }
    return draw(40) == 0 ? seed : wide ? entry : entry & UINT32_MAX;
}

static void fill(bool wide)
{
    for (uint64_t at = TABLE_AT; at < TABLE_AT + TABLES * 4096; at += wide ? 8 : 4) {
        bench_store(at, random_entry(wide), wide ? 8 : 4);
    }
}

static void compare(const char *what, unsigned address_bits)
{
    unsigned wrong = 0, mapped = 0, sizes = 0;

    for (unsigned n = 0; n < 200000; n++) {
        uint64_t va = seed ^ draw(1 << 30) << 33;
        struct answer r;
        struct x86_walk w;
        bool got;

        va = address_bits == 32 ? va & UINT32_MAX : (uint64_t)bits_sext(va, address_bits);
        if (draw(30) == 0) {
            va = seed;
        }
        cpu->cr3 = TABLE_AT + draw(TABLES) * 4096;
        r = reference(va);
        got = x86_walk(cpu, va, &w) == 0;
        if (got != r.mapped ||
            (got && (w.gpa != r.gpa || w.page_size != r.size || w.writable != r.w ||
                     w.user != r.u || w.executable != r.x || w.global != r.g || w.accessed != r.a ||
                     w.dirty != r.d || w.entry != r.entry))) {
            if (!wrong++) {
                tap_note("%#llx: %d %#llx %#llx, expected %d %#llx %#llx", (unsigned long long)va,
                         got, (unsigned long long)w.gpa, (unsigned long long)w.page_size, r.mapped,
                         (unsigned long long)r.gpa, (unsigned long long)r.size);
            }
        }
        mapped += r.mapped;
        sizes |= r.mapped ? 1u << (__builtin_ctzll(r.size) - 12) : 0;
    }
    tap_ok(wrong == 0 && mapped > 2000, "%s: %u of 200000 walks found a page, %u were wrong", what,
           mapped, wrong);
    tap_note("page sizes seen: %#x", sizes);
}

static void random_walks(void)
{
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG;
    cpu->cr4 = 0;
    cpu->efer = 0;
    fill(false);
    compare("32-bit paging", 32);
    cpu->cr4 = X86_CR4_PSE;
    compare("32-bit paging with PSE", 32);
    cpu->cr4 = X86_CR4_PAE;
    fill(true);
    compare("PAE paging, execute-disable off", 32);
    cpu->efer = X86_EFER_NXE;
    compare("PAE paging", 32);
    cpu->has_pdptrs = true;
    for (unsigned n = 0; n < 4; n++) {
        cpu->pdptr[n] = TABLE_AT + n * 4096 + (n != 2);
    }
    compare("PAE paging, with its pointers in registers", 32);
    cpu->has_pdptrs = false;
    cpu->efer = X86_EFER_NXE | X86_EFER_LME | X86_EFER_LMA;
    compare("4-level paging", 48);
    cpu->efer = X86_EFER_LME | X86_EFER_LMA;
    compare("4-level paging, execute-disable off", 48);
    cpu->efer |= X86_EFER_NXE;
    cpu->cr4 |= X86_CR4_LA57;
    compare("5-level paging", 57);
    cpu->cr0 &= ~(uint64_t)X86_CR0_PG;
    compare("no paging", 32);
}

/* ---- directed -------------------------------------------------------------------------------- */

static void pse36(void)
{
    struct x86_walk w;

    bench_create("max", 0);
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG;
    cpu->cr4 = X86_CR4_PSE;
    cpu->cr3 = TABLE_AT;
    bench_store(TABLE_AT + 4, 0x00400000 | 0x10 << 13 | 0xe7, 4); /* bits 39 to 32: 0x10 */
    tap_eq(x86_walk(cpu, 0x00654321, &w), 0, "PSE-36: a page beyond 4 GiB");
    tap_eq(w.gpa, BENCH_HIGH + 0x654321, "has its address");
    tap_eq(w.page_size, 0x400000, "and size");
}

static void bad_tables(void)
{
    struct x86_walk w;
    uint64_t self = TABLE_AT | 0x67;

    bench_create("max", 0);
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_LME | X86_EFER_LMA;
    cpu->cr3 = TABLE_AT;
    memset(bench_at(TABLE_AT), 0, 4096);
    bench_store(TABLE_AT + 8 * 511, self, 8);
    tap_eq(x86_walk(cpu, UINT64_MAX, &w), 0, "a table that maps itself ends");
    tap_eq(w.gpa, TABLE_AT + 4095, "with itself as the page");
    bench_store(TABLE_AT, UINT64_C(0xd0000000) | 7, 8);
    tap_eq(x86_walk(cpu, 0, &w), -EFAULT, "a table in a device's registers is none");
    tap_eq(bench_reads, 0, "and these are not read");
    bench_store(TABLE_AT, UINT64_C(0xfffffffffffff000) | 7, 8);
    cpu->efer |= X86_EFER_NXE;
    tap_eq(x86_walk(cpu, 0, &w), -EFAULT, "a table at the end of physical memory is none");
    cpu->cr3 = UINT64_MAX;
    tap_eq(x86_walk(cpu, 0, &w), -EFAULT, "nor is a CR3 of all ones");
    cpu->cr3 = TABLE_AT;
    tap_eq(x86_walk(cpu, UINT64_C(1) << 47, &w), -EFAULT, "an address that is not canonical");
    cpu->wiring.memory = NULL;
    tap_eq(x86_walk(cpu, UINT64_MAX, &w), -EFAULT, "a vCPU without memory");
}

static void reading(void)
{
    struct cpu_translation t;
    uint8_t bytes[16];

    bench_create("max", 0);
    cpu->cr0 = X86_CR0_PE | X86_CR0_PG;
    cpu->cr4 = X86_CR4_PAE;
    cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
    cpu->cr3 = TABLE_AT;
    memset(bench_at(TABLE_AT), 0, 4096 * 4);
    for (unsigned n = 0; n < 3; n++) {
        bench_store(TABLE_AT + n * 4096, (TABLE_AT + (n + 1) * 4096) | 7, 8);
    }
    bench_store(TABLE_AT + 3 * 4096, 0x200000 | 7, 8);
    bench_store(TABLE_AT + 3 * 4096 + 8, UINT64_C(1) << 63 | 0x300000 | 5, 8);
    memcpy(bench_at(0x200ffc), "four", 4);
    memcpy(bench_at(0x300000), "more", 4);
    tap_eq(x86_read_linear(cpu, 0xffc, bytes, 8), 0, "memory is read over the end of a page");
    tap_ok(!memcmp(bytes, "fourmore", 8), "from where the pages are");
    tap_eq(x86_read_linear(cpu, 0x1ffc, bytes, 8), -EFAULT,
           "but not over the end of what there is");
    tap_eq(x86_read_linear_some(cpu, 0x1ffc, bytes, 8), 4, "which can be asked for");
    tap_eq(x86_debug_address(&cpu->common, 0x1234, &t), 0, "a debugger's translation");
    tap_ok(t.gpa == 0x300234 && t.page_size == 4096 && t.prot == CPU_PROT_READ && !t.global,
           "has address, size and permissions");
    tap_eq(x86_debug_address(&cpu->common, 0x2000, &t), -EFAULT, "or there is none");
}

int main(void)
{
    bench_create("max", 0);
    random_walks();
    pse36();
    bad_tables();
    reading();
    return tap_done();
}
