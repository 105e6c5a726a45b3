/*
 * Code of machines.
 *
 * A unit belongs to host pages, so the same code in several address spaces is translated once. What
 * leads to a unit is either the jump cache of the vCPU's code space, which is flushed with the TLB,
 * or a link from within the same page. Everything that changes which space is current leaves
 * generated code, which empties the shadow stack too.
 *
 * Changing code. Before a page's bytes are read, its dirty bit for code is cleared and the leave to
 * store to it taken from all TLBs; a store then comes to mem_dirty_set(), which calls
 * tcg_code_written() and drops what is there. One hole remains: a vCPU may stand between its TLB
 * probe and the store while another one translates. A guest can rely on the new code only after a
 * fence.i, so units that were made while such stores were possible are `young`: fence.i compares
 * them with memory, and they are young until every other vCPU has left generated code once.
 */
#include "accel/tcg/system.h"

#include "mem/dirty.h"

enum { YOUNG_MAX = 4096 };

/* With tcg.lock. */
static struct {
    struct tcg_unit *unit[YOUNG_MAX];
    unsigned count;
    bool lost;                   /* there were more */
    uint64_t left[TCG_MAX_CPUS]; /* of each vCPU, when a unit became young last */
} young;

void tcg_code_written(void *opaque, struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    lock_acquire(&tcg.lock);
    for (uint64_t at = offset; at < offset + size; at += MEM_PAGE_SIZE) {
        tcg_drop_page_locked(ram->host + at);
    }
    lock_release(&tcg.lock);
}

/*
 * Stores into pages with code. Data may lie beside code, then the code should stay; or the page is
 * reused for data, then watching every store to it would be waste. So after some stores the page
 * counts as data, and after more of them each time that code comes back.
 */
enum { MIXED_BITS = 12, MIXED_STORES = 16, MIXED_RETURNS_MAX = 10 };
static struct {
    _Atomic uint16_t stores, returns;
} mixed[1 << MIXED_BITS]; /* by a hash of the page */

static unsigned mixed_index(const uint8_t *host)
{
    return (unsigned)(((uint64_t)(uintptr_t)host >> MEM_PAGE_BITS) * 0x9e3779b97f4a7c15u >>
                      (64 - MIXED_BITS));
}

bool tcg_store_beside_code(const uint8_t *host, unsigned size)
{
    unsigned i = mixed_index(host);
    unsigned stores = atomic_fetch_add_explicit(&mixed[i].stores, 1, memory_order_relaxed);
    unsigned returns = atomic_load_explicit(&mixed[i].returns, memory_order_relaxed);

    if (stores >= (unsigned)MIXED_STORES << returns && returns < MIXED_RETURNS_MAX) {
        atomic_store_explicit(&mixed[i].stores, 0, memory_order_relaxed);
        atomic_store_explicit(&mixed[i].returns, (uint16_t)(returns + 1), memory_order_relaxed);
        return false;
    }
    lock_acquire(&tcg.lock);
    tcg_drop_bytes_locked(host, size);
    lock_release(&tcg.lock);
    return true;
}

static void protect_page(const uint8_t *host, struct mem_ram *ram)
{
    uint64_t offset = (uint64_t)(host - ram->host);

    if (mem_dirty_test(ram, MEM_DIRTY_CODE, offset, MEM_PAGE_SIZE)) {
        mem_dirty_clear(ram, MEM_DIRTY_CODE, offset, MEM_PAGE_SIZE, NULL);
        tcg_tlb_protect(host);
    }
}

static void protect(struct cpu *cpu, const struct tcg_where *where)
{
    for (unsigned i = 0; i < 2 && where->host[i]; i++) {
        protect_page(where->host[i], where->ram[i]);
    }
}

/* With the lock, after a unit was made. */
static void note_young(struct tcg_unit *unit)
{
    if (!tcg.cpus || !tcg.cpus->next) {
        return;
    }
    if (young.count == YOUNG_MAX) {
        young.lost = true;
    } else {
        young.unit[young.count++] = unit;
    }
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        young.left[cpu->cpu->index] = atomic_load(&cpu->system->left);
    }
}

static void drop_if_changed(struct tcg_unit *unit)
{
    if (!unit->dead && tcg_is_changed(unit)) {
        tcg_drop_locked(unit);
    }
}

static bool all_have_left(void)
{
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        if (atomic_load(&cpu->in_code) &&
            atomic_load(&cpu->system->left) == young.left[cpu->cpu->index]) {
            return false;
        }
    }
    return true;
}

void tcg_code_fence(struct cpu *cpu)
{
    bool none;

    lock_acquire(&tcg.lock);
    none = all_have_left();
    if (young.lost) {
        tcg_each_unit_locked(drop_if_changed);
    } else {
        for (unsigned i = 0; i < young.count; i++) {
            drop_if_changed(young.unit[i]);
        }
    }
    if (none) {
        young.count = 0;
        young.lost = false;
    }
    lock_release(&tcg.lock);
}

static void forget_jumps(uint64_t pc)
{
    unsigned index = tcg_jump_index(pc);

    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        for (unsigned i = 0; i < TCG_SPACES; i++) {
            struct cpu_jump *jumps = cpu->system->code[i].jumps;

            if (jumps && __atomic_load_n(&jumps[index].pc, __ATOMIC_RELAXED) == pc) {
                __atomic_store_n(&jumps[index].pc, cpu_jump_empty(index), __ATOMIC_RELEASE);
            }
        }
    }
}

static void forget_all_jumps(void)
{
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        for (unsigned i = 0; i < TCG_SPACES; i++) {
            struct cpu_jump *jumps = cpu->system->code[i].jumps;

            for (unsigned n = 0; jumps && n < tcg_jump_count(); n++) {
                jumps[n].pc = cpu_jump_empty(n);
            }
        }
    }
    young.count = 0;
    young.lost = false;
}

const struct tcg_system_hooks tcg_code_hooks = {
    .locate = tcg_tlb_locate,
    .protect = protect,
    .translated = note_young,
    .forget_jumps = forget_jumps,
    .forget_all_jumps = forget_all_jumps,
    .slow = tcg_slow,
    .memory = &tcg_system_memory,
};
