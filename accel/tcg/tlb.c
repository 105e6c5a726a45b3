/*
 * The soft TLB: tables of pages per address space, and which space is current.
 *
 * An entry is filled by the slow way around an access (memory.c), never by anything else. A page
 * may be stored to without being seen only while all its dirty bits are set; so whoever clears one
 * (the translator, before it reads code) takes the leave back in every TLB. Filling and taking back
 * cross each other safely: the filler enters the page, then looks at the bits again; the other
 * clears the bits, then searches the TLBs.
 *
 * The tables grow: where a space is filled more often than four times its size, it doubles. They do
 * not shrink but with the space.
 */
#include "accel/tcg/system.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/dirty.h"
#include "mem/space.h"

_Atomic uint64_t tcg_tlb_generation;

/* By a hash of the host page: was it ever entered for storing? Spares searching all TLBs. */
enum { STORED_BITS = 18 };
static _Atomic uint8_t stored[1 << STORED_BITS];

static unsigned stored_index(const uint8_t *page)
{
    return (unsigned)(((uint64_t)(uintptr_t)page >> MEM_PAGE_BITS) * 0x9e3779b97f4a7c15u >>
                      (64 - STORED_BITS));
}

static size_t table_size(uint64_t mask)
{
    return mask + sizeof(struct jit_tlb_entry);
}

static void clear_table(struct jit_tlb_entry *tlb, uint64_t mask)
{
    for (uint64_t i = 0; i < table_size(mask) / sizeof(*tlb); i++) {
        tlb[i].load_tag = tlb[i].store_tag = JIT_TLB_NEVER;
    }
}

static void clear_jumps(struct tcg_code_space *space)
{
    memset(space->jumps, 0, tcg_jump_count() * sizeof(*space->jumps));
    space->jumps[0].pc = CPU_JUMP_EMPTY_FIRST;
}

static void clear_data(struct tcg_space *space)
{
    if (!space->filled) {
        return;
    }
    space->filled = false;
    clear_table(space->tlb, space->mask);
    space->fills = 0;
    memset(&space->large, 0, sizeof(space->large));
}

static void clear_code(struct tcg_code_space *space)
{
    if (!space->filled) {
        return;
    }
    space->filled = false;
    clear_jumps(space);
    for (unsigned i = 0; i < TCG_CODE_PAGES; i++) {
        space->pages[i].page = 1;
    }
    memset(space->located, 0, sizeof(space->located));
    memset(&space->large, 0, sizeof(space->large));
}

void tcg_tlb_init(struct tcg_system_cpu *s)
{
    lock_init(&s->lock);
    s->data_now = NULL;
    s->code_now = NULL;
}

void tcg_tlb_free(struct tcg_system_cpu *s)
{
    for (unsigned i = 0; i < TCG_SPACES; i++) {
        free(s->data[i].tlb);
        free(s->code[i].jumps);
    }
}

/* ---- the current spaces ---------------------------------------------------------------------- */

static bool same_key(const struct cpu_space_key *a, const struct cpu_space_key *b)
{
    return a->root == b->root && a->flags == b->flags && a->asid == b->asid && a->vmid == b->vmid;
}

static void *must(void *memory)
{
    if (!memory) {
        abort();
    }
    return memory;
}

static struct tcg_space *data_space(struct tcg_system_cpu *s, const struct cpu_space_key *key)
{
    struct tcg_space *oldest = &s->data[0];

    for (unsigned i = 0; i < TCG_SPACES; i++) {
        struct tcg_space *space = &s->data[i];

        if (space->used && same_key(&space->key, key)) {
            return space;
        }
        if (space->used < oldest->used) {
            oldest = space;
        }
    }
    lock_acquire(&s->lock);
    if (!oldest->tlb) {
        oldest->mask = (TCG_TLB_MIN - 1) * sizeof(struct jit_tlb_entry);
        oldest->tlb = must(aligned_alloc(64, table_size(oldest->mask)));
        oldest->filled = true;
    }
    clear_data(oldest);
    lock_release(&s->lock);
    oldest->key = *key;
    s->count_switches++;
    return oldest;
}

static struct tcg_code_space *code_space(struct tcg_system_cpu *s, const struct cpu_space_key *key,
                                         uint64_t mode)
{
    struct tcg_code_space *oldest = &s->code[0];

    for (unsigned i = 0; i < TCG_SPACES; i++) {
        struct tcg_code_space *space = &s->code[i];

        if (space->used && space->mode == mode && same_key(&space->key, key)) {
            return space;
        }
        if (space->used < oldest->used) {
            oldest = space;
        }
    }
    if (!oldest->jumps) {
        oldest->jumps = must(aligned_alloc(64, tcg_jump_count() * sizeof(struct cpu_jump)));
        oldest->filled = true;
    }
    clear_code(oldest);
    oldest->key = *key;
    oldest->mode = mode;
    return oldest;
}

static void use_data(struct cpu *cpu, struct tcg_space *space)
{
    cpu->tlb_table = space->tlb;
    cpu->tlb_mask = space->mask;
}

void tcg_tlb_select(struct cpu *cpu)
{
    struct tcg_cpu *self = cpu->accel;
    struct tcg_system_cpu *s = self->system;
    struct cpu_space_key data, code;

    cpu->ops->system->spaces(cpu, &data, &code);
    if (!s->data_now || !same_key(&s->data_now->key, &data)) {
        s->data_now = data_space(s, &data);
        s->data_now->used = ++s->stamp;
        use_data(cpu, s->data_now);
    }
    if (!s->code_now || s->code_now->mode != cpu->mode || !same_key(&s->code_now->key, &code)) {
        s->code_now = code_space(s, &code, cpu->mode);
        s->code_now->used = ++s->stamp;
        self->jumps = s->code_now->jumps;
        atomic_store_explicit(&cpu->jump_cache, self->jumps, memory_order_release);
        if (atomic_load(&cpu->kicked)) {
            /* a kick that came in between has been written over */
            atomic_store(&cpu->jump_cache, cpu_no_jumps);
        }
    }
}

/* ---- flushing -------------------------------------------------------------------------------- */

static void never(struct jit_tlb_entry *entry)
{
    __atomic_store_n(&entry->load_tag, JIT_TLB_NEVER, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->store_tag, JIT_TLB_NEVER, __ATOMIC_RELAXED);
}

static bool in_large(const struct tcg_large *large, uint64_t address)
{
    for (unsigned i = 0; i < TCG_LARGE && large->range[i].mask; i++) {
        if ((address & large->range[i].mask) == large->range[i].base) {
            return true;
        }
    }
    return false;
}

/* Adds the page of that size that contains the address. */
static void note_large(struct tcg_large *large, uint64_t address, uint64_t size)
{
    uint64_t mask = -size, best_mask = 0;
    unsigned best = 0;

    if (size <= MEM_PAGE_SIZE || in_large(large, address)) {
        return;
    }
    for (unsigned i = 0; i < TCG_LARGE; i++) {
        uint64_t m = mask & large->range[i].mask;

        if (!large->range[i].mask) {
            best = i;
            best_mask = mask;
            break;
        }
        while (m && ((large->range[i].base ^ address) & m)) {
            m <<= 1;
        }
        /* nothing in common: 1, as the addresses of pages are even */
        m = m ? m : 1;
        if (m > best_mask || i == 0) {
            best = i;
            best_mask = m;
        }
    }
    large->range[best].mask = best_mask;
    large->range[best].base = address & best_mask;
}

static void flush_data_page(struct tcg_space *space, uint64_t page)
{
    struct jit_tlb_entry *entry =
        (struct jit_tlb_entry *)((char *)space->tlb + jit_tlb_offset(page, space->mask));

    if (in_large(&space->large, page)) {
        clear_data(space);
    } else if (entry->load_tag == page || entry->store_tag == page) {
        never(entry);
    }
}

static struct tcg_code_page *code_page(struct tcg_code_space *space, uint64_t page)
{
    uint64_t n = page >> MEM_PAGE_BITS;

    return &space->pages[(n + (n >> 8)) & (TCG_CODE_PAGES - 1)];
}

static unsigned located_bit(uint64_t page)
{
    uint64_t n = page >> MEM_PAGE_BITS;

    return (n ^ (n >> 12)) & (TCG_LOCATED - 1);
}

/* Jump cache entries of a page are neighbours, for the cache goes by the low bits of the pc. */
static void flush_code_page(struct tcg_code_space *space, uint64_t page)
{
    struct tcg_code_page *entry = code_page(space, page);
    unsigned bit = located_bit(page);
    unsigned first = tcg_jump_index(page);

    if (in_large(&space->large, page)) {
        clear_code(space);
        return;
    }
    if (!(space->located[bit / 64] >> (bit % 64) & 1)) {
        return;
    }
    if (entry->page == page) {
        entry->page = 1;
    }
    for (unsigned i = first; i < first + MEM_PAGE_SIZE / 2; i++) {
        if (space->jumps[i].pc >> MEM_PAGE_BITS == page >> MEM_PAGE_BITS) {
            space->jumps[i].pc = cpu_jump_empty(i);
        }
    }
}
_Static_assert(1u << TCG_JUMP_BITS_SYSTEM >= MEM_PAGE_SIZE / 2, "a page's entries are neighbours");

static bool concerns(const struct cpu_space_key *key, const struct cpu_flush *what)
{
    return (what->any_asid || key->asid == what->asid) &&
           (what->any_vmid || key->vmid == what->vmid);
}

void tcg_tlb_flush(struct cpu *cpu, const struct cpu_flush *what)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    uint64_t first = what->address & ~(MEM_PAGE_SIZE - 1);
    uint64_t pages = (what->size + (what->address - first) + MEM_PAGE_SIZE - 1) >> MEM_PAGE_BITS;
    bool all = what->size == 0 || pages > 16;

    s->count_flushes++;
    for (unsigned i = 0; i < TCG_SPACES; i++) {
        struct tcg_space *data = &s->data[i];
        struct tcg_code_space *code = &s->code[i];
        bool flush_data = data->used && concerns(&data->key, what);
        bool flush_code = code->used && concerns(&code->key, what);

        if (all && flush_data) {
            clear_data(data);
        }
        if (all && flush_code) {
            clear_code(code);
        }
        for (uint64_t page = 0; !all && page < pages; page++) {
            if (flush_data) {
                flush_data_page(data, first + (page << MEM_PAGE_BITS));
            }
            if (flush_code) {
                flush_code_page(code, first + (page << MEM_PAGE_BITS));
            }
        }
    }
}

void tcg_tlb_flush_everything(struct cpu *cpu)
{
    static const struct cpu_flush everything = {.any_asid = true, .any_vmid = true};

    tcg_tlb_flush(cpu, &everything);
}

/* ---- filling --------------------------------------------------------------------------------- */

/* Doubles the table; what is in it is forgotten but for the next accesses to fill it again. */
static void grow(struct cpu *cpu, struct tcg_space *space)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    uint64_t mask = space->mask * 2 + sizeof(struct jit_tlb_entry);
    struct jit_tlb_entry *tlb;

    if (table_size(mask) / sizeof(*tlb) > TCG_TLB_MAX) {
        space->fills = 0;
        return;
    }
    tlb = aligned_alloc(64, table_size(mask));
    if (!tlb) {
        return;
    }
    clear_table(tlb, mask);
    lock_acquire(&s->lock);
    for (uint64_t i = 0; i < table_size(space->mask) / sizeof(*tlb); i++) {
        const struct jit_tlb_entry *old = &space->tlb[i];
        uint64_t page = old->load_tag != JIT_TLB_NEVER ? old->load_tag : old->store_tag;

        if (page != JIT_TLB_NEVER) {
            *(struct jit_tlb_entry *)((char *)tlb + jit_tlb_offset(page, mask)) = *old;
        }
    }
    free(space->tlb);
    space->tlb = tlb;
    space->mask = mask;
    lock_release(&s->lock);
    space->fills = 0;
    if (space == s->data_now) {
        use_data(cpu, space);
    }
}

void tcg_tlb_fill(struct cpu *cpu, uint64_t address, const struct cpu_translation *t, uint8_t *host,
                  struct mem_ram *ram, bool readonly, uint64_t generation)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    struct tcg_space *space = s->data_now;
    uint64_t page = address & ~(MEM_PAGE_SIZE - 1);
    uint8_t *host_page = host - (address & (MEM_PAGE_SIZE - 1));
    uint64_t offset = (uint64_t)(host_page - ram->host);
    struct jit_tlb_entry *entry;
    unsigned barred = tcg_debug_barred(s, page), prot = t->prot & ~barred;

    entry = (struct jit_tlb_entry *)((char *)space->tlb + jit_tlb_offset(page, space->mask));
    if (t->page_size < MEM_PAGE_SIZE || !(prot & (CPU_PROT_READ | CPU_PROT_WRITE)) ||
        (barred && entry->load_tag == page)) {
        return; /* it may not be there, or is there already */
    }
    s->count_fills++;
    space->filled = true;
    if (++space->fills > 4 * (table_size(space->mask) / sizeof(*entry))) {
        grow(cpu, space);
    }
    note_large(&space->large, page, t->page_size);
    entry = (struct jit_tlb_entry *)((char *)space->tlb + jit_tlb_offset(page, space->mask));
    never(entry);
    atomic_signal_fence(memory_order_seq_cst);
    __atomic_store_n(&entry->addend, (uint64_t)(uintptr_t)host_page - page, __ATOMIC_RELAXED);
    if (prot & CPU_PROT_READ) {
        __atomic_store_n(&entry->load_tag, page, __ATOMIC_RELEASE);
    }
    if ((prot & CPU_PROT_WRITE) && !readonly) {
        atomic_store_explicit(&stored[stored_index(host_page)], 1, memory_order_relaxed);
        __atomic_store_n(&entry->store_tag, page, __ATOMIC_RELEASE);
        atomic_thread_fence(memory_order_seq_cst);
        if (!mem_dirty_is_set_all(ram, offset)) {
            __atomic_store_n(&entry->store_tag, JIT_TLB_NEVER, __ATOMIC_RELAXED);
        }
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&tcg_tlb_generation) != generation) {
        never(entry);
    }
}

void tcg_tlb_protect(const uint8_t *page)
{
    if (!atomic_load_explicit(&stored[stored_index(page)], memory_order_relaxed)) {
        return;
    }
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        struct tcg_system_cpu *s = cpu->system;

        lock_acquire(&s->lock);
        for (unsigned i = 0; i < TCG_SPACES; i++) {
            struct tcg_space *space = &s->data[i];

            if (!space->tlb) {
                continue;
            }
            for (uint64_t n = 0; n < table_size(space->mask) / sizeof(*space->tlb); n++) {
                struct jit_tlb_entry *entry = &space->tlb[n];
                uint64_t tag = __atomic_load_n(&entry->store_tag, __ATOMIC_ACQUIRE);

                if (tag != JIT_TLB_NEVER &&
                    tag + __atomic_load_n(&entry->addend, __ATOMIC_RELAXED) ==
                        (uint64_t)(uintptr_t)page) {
                    __atomic_store_n(&entry->store_tag, JIT_TLB_NEVER, __ATOMIC_RELAXED);
                }
            }
        }
        lock_release(&s->lock);
    }
}

/* ---- code ------------------------------------------------------------------------------------ */

static bool locate_page(struct cpu *cpu, uint64_t address, struct tcg_code_page *result)
{
    struct tcg_system_cpu *s = tcg_system_cpu(cpu);
    struct cpu_system *system = cpu->ops->system->system(cpu);
    uint64_t page = address & ~(MEM_PAGE_SIZE - 1), gpa;
    struct tcg_code_page *entry = code_page(s->code_now, page);
    const struct mem_section *section;
    struct cpu_translation t;

    if (entry->page == page) {
        *result = *entry;
        return true;
    }
    s->fault = (struct tcg_fault){.address = address, .access = CPU_ACCESS_FETCH};
    if (cpu->ops->system->translate_address(cpu, address, 2, CPU_ACCESS_FETCH, &t) < 0) {
        return false;
    }
    gpa = t.gpa & ~(MEM_PAGE_SIZE - 1);
    section = mem_view_find(mem_space_enter(system->memory), mem_gpa(gpa));
    if (!section || !section->ram || section->last - gpa < MEM_PAGE_SIZE - 1) {
        mem_space_leave();
        s->fault.bus = CPU_BUS_ERROR_ABSENT;
        return false;
    }
    *result = (struct tcg_code_page){
        .page = page,
        .host = section->host + (gpa - section->first.value),
        .ram = section->ram,
    };
    mem_space_leave();
    s->code_now->filled = true;
    s->code_now->located[located_bit(page) / 64] |= UINT64_C(1) << (located_bit(page) % 64);
    if (t.page_size >= MEM_PAGE_SIZE) {
        note_large(&s->code_now->large, page, t.page_size);
        *entry = *result;
    }
    return true;
}

bool tcg_tlb_locate(struct cpu *cpu, uint64_t pc, struct tcg_where *where)
{
    unsigned offset = pc & (MEM_PAGE_SIZE - 1);
    struct tcg_code_page page;

    if (!locate_page(cpu, pc, &page)) {
        return false;
    }
    *where = (struct tcg_where){.pc = pc, .host = {page.host}, .ram = {page.ram}};
    /* the longest instruction that reaches into the next page: four bytes in the last two */
    if (offset >= MEM_PAGE_SIZE - 2 && (page.host[offset] & 3) == 3) {
        if (!locate_page(cpu, pc + 2, &page)) {
            return false;
        }
        where->host[1] = page.host;
        where->ram[1] = page.ram;
    }
    return true;
}
