/*
 * Finding, linking and dropping units.
 *
 * The tables by pc and by page start small, so that a short program touches little memory, and are
 * doubled as units become more.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "accel/tcg/internal.h"
#include "accel/tcg/perf.h"
#include "mem/guest.h"
#include "mem/types.h"

enum {
    MAX_UNITS = 1 << 24, /* of a region: more than fit one */
    FIRST_HASH_BITS = 9,
    PAGE_LISTS = 3, /* log2 of units per list of a page */
};

static void make_tables(unsigned bits)
{
    tcg.hash_bits = bits;
    tcg.hash = calloc(1u << bits, sizeof(*tcg.hash));
    tcg.pages = calloc(1u << (bits - PAGE_LISTS), sizeof(*tcg.pages));
    tcg.live_units = 0;
    if (!tcg.hash || !tcg.pages) {
        fputs("tinamou: out of memory\n", stderr);
        abort();
    }
}

void tcg_cache_init(void)
{
    /* by_code is reserved once, so that a signal handler may search while another thread appends */
    struct tcg_unit **all =
        mmap(NULL, (size_t)TCG_REGIONS * MAX_UNITS * sizeof(*all), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (all == MAP_FAILED) {
        abort();
    }
    for (unsigned r = 0; r < TCG_REGIONS; r++) {
        tcg.region[r].by_code = all + (size_t)r * MAX_UNITS;
        arena_init(&tcg.region[r].arena, 256 * 1024);
    }
    make_tables(FIRST_HASH_BITS);
}

/* `page`: of the unit in system mode, where one pc has many units; else 0. */
static unsigned hash_of(uint64_t pc, uint64_t mode, uint64_t page)
{
    uint64_t h = ((pc >> 1) ^ page << 24) * 0x9e3779b97f4a7c15u ^ mode * 0xc2b2ae3d27d4eb4fu;
    return h >> (64 - tcg.hash_bits);
}

static uint64_t page_number(const uint8_t *host)
{
    return (uint64_t)(uintptr_t)host >> TCG_PAGE_BITS;
}

static unsigned page_hash(uint64_t page)
{
    return (page * 0x9e3779b97f4a7c15u) >> (64 - tcg.hash_bits + PAGE_LISTS);
}

struct tcg_unit *tcg_find_locked(const struct tcg_where *where, uint64_t mode)
{
    uint64_t first = page_number(where->host[0]), second = page_number(where->host[1]);
    struct tcg_unit *unit = tcg.hash[hash_of(where->pc, mode, first)];

    while (unit && (unit->pc != where->pc || unit->mode != mode ||
                    (first && (unit->page[0] != first || unit->page[1] != second)))) {
        unit = unit->hash_next;
    }
    return unit;
}

static uint64_t page_of(const struct tcg_unit *unit, unsigned i)
{
    return unit->page[i];
}

static unsigned page_count(const struct tcg_unit *unit)
{
    return unit->page[1] && unit->page[0] != unit->page[1] ? 2 : 1;
}

/* The link in the list of `page` that follows from the unit before. */
static struct tcg_unit **next_in_page(struct tcg_unit *unit, uint64_t page)
{
    return &unit->page_next[page_of(unit, 0) == page ||
                                    page_hash(page_of(unit, 0)) == page_hash(page)
                                ? 0
                                : 1];
}

static void enter(struct tcg_unit *unit)
{
    struct tcg_unit **head =
        &tcg.hash[hash_of(unit->pc, unit->mode, tcg.system ? unit->page[0] : 0)];
    unsigned first = page_hash(page_of(unit, 0));

    unit->hash_next = *head;
    *head = unit;
    unit->page_next[0] = tcg.pages[first];
    tcg.pages[first] = unit;
    if (page_count(unit) == 2 && page_hash(page_of(unit, 1)) != first) {
        unsigned second = page_hash(page_of(unit, 1));
        unit->page_next[1] = tcg.pages[second];
        tcg.pages[second] = unit;
    }
    tcg.live_units++;
}

static void double_tables(void)
{
    struct tcg_unit **hash = tcg.hash, *unit, *next;
    uint32_t lists = 1u << tcg.hash_bits;

    free(tcg.pages);
    make_tables(tcg.hash_bits + 1);
    for (uint32_t i = 0; i < lists; i++) {
        for (unit = hash[i]; unit; unit = next) {
            next = unit->hash_next;
            enter(unit);
        }
    }
    free(hash);
}

void tcg_insert_locked(struct tcg_unit *unit)
{
    if (tcg.live_units >> tcg.hash_bits) {
        double_tables();
    }
    enter(unit);
}

void tcg_remember_code(struct tcg_unit *unit)
{
    struct tcg_region *region = &tcg.region[tcg.current];
    uint32_t n = atomic_load_explicit(&region->unit_count, memory_order_relaxed);

    region->by_code[n] = unit;
    atomic_store_explicit(&region->unit_count, n + 1, memory_order_release);
}

static void each_in_region(struct tcg_region *region, void (*fn)(struct tcg_unit *unit))
{
    uint32_t count = atomic_load(&region->unit_count);

    for (uint32_t i = 0; i < count; i++) {
        fn(region->by_code[i]);
    }
}

void tcg_each_unit_locked(void (*fn)(struct tcg_unit *unit))
{
    for (unsigned r = 0; r < TCG_REGIONS; r++) {
        each_in_region(&tcg.region[r], fn);
    }
}

struct tcg_unit *tcg_unit_at(uint32_t offset)
{
    const struct tcg_region *region = &tcg.region[tcg_buffer_region(offset)];
    uint32_t low = 0, high = atomic_load_explicit(&region->unit_count, memory_order_acquire);

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        struct tcg_unit *unit = region->by_code[mid];

        if (offset < unit->code) {
            high = mid;
        } else if (offset >= unit->code + unit->code_size) {
            low = mid + 1;
        } else {
            return unit;
        }
    }
    return NULL;
}

/* Another thread may be executing the jump: the displacement lies within eight aligned bytes, which
 * are written at once, so it sees the old or the new one. */
static void patch(uint32_t at, uint32_t to)
{
    uint64_t *word = (uint64_t *)(tcg_code_rw + (at & ~7u));
    unsigned shift = 8 * (at & 7);
    uint32_t disp = to - (at + 4);

    __atomic_store_n(word, (*word & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)disp << shift,
                     __ATOMIC_RELEASE);
}

void tcg_link_locked(uint32_t number, struct tcg_unit *to)
{
    struct tcg_link *link = tcg_link(number);

    /* within a page only: the way to another one may be another in another address space */
    if (link->to || link->from->dead ||
        (tcg.system && (to->page[0] != link->from->page[0] || to->page[1]))) {
        return;
    }
    link->to = to;
    link->prev = TCG_NO_LINK;
    link->next = to->incoming;
    if (to->incoming != TCG_NO_LINK) {
        tcg_link(to->incoming)->prev = number;
    }
    to->incoming = number;
    patch(link->at, to->code);
    tcg.stats.links_patched++;
}

static void unlink_hash(struct tcg_unit *unit)
{
    struct tcg_unit **p = &tcg.hash[hash_of(unit->pc, unit->mode, tcg.system ? unit->page[0] : 0)];

    tcg.live_units--;
    while (*p != unit) {
        p = &(*p)->hash_next;
    }
    *p = unit->hash_next;
    for (unsigned i = 0; i < page_count(unit); i++) {
        uint64_t page = page_of(unit, i);

        if (i == 1 && page_hash(page) == page_hash(page_of(unit, 0))) {
            break;
        }
        p = &tcg.pages[page_hash(page)];
        while (*p != unit) {
            p = next_in_page(*p, page);
        }
        *p = *next_in_page(unit, page);
    }
}

static void forget_jumps(uint64_t pc)
{
    if (tcg.system) {
        tcg.system->forget_jumps(pc);
        return;
    }
    unsigned index = tcg_jump_index(pc);

    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        if (cpu->jumps[index].pc == pc) {
            __atomic_store_n(&cpu->jumps[index].pc, cpu_jump_empty(index), __ATOMIC_RELEASE);
        }
    }
}

static void drop(struct tcg_unit *unit)
{
    uint32_t number, next;

    unit->dead = true;
    unlink_hash(unit);
    forget_jumps(unit->pc);
    if (tcg.interp) {
        /* whoever interprets it right now goes on with it to its end; freed with the cache */
        return;
    }
    for (number = unit->incoming; number != TCG_NO_LINK; number = next) {
        struct tcg_link *link = tcg_link(number);

        next = link->next;
        link->to = NULL;
        patch(link->at, link->stub);
    }
    unit->incoming = TCG_NO_LINK;
}

void tcg_drop_locked(struct tcg_unit *unit)
{
    if (!unit->dead) {
        tcg.stats.units_invalidated++;
        drop(unit);
    }
}

static void reclaim_unit(struct tcg_unit *unit)
{
    if (!unit->dead) {
        drop(unit);
    }
    if (unit->ir) {
        ir_unit_free(unit->ir);
        free(unit->ir);
    }
    tcg.stats.units_reclaimed++;
}

/* Takes the links of a region, whose units have been dropped, out of the lists of other units. */
static void forget_links(struct tcg_region *region)
{
    for (uint32_t i = 0; i < region->link_count; i++) {
        const struct tcg_link *link = &region->links[i];

        if (!link->to) {
            continue;
        }
        if (link->prev != TCG_NO_LINK) {
            tcg_link(link->prev)->next = link->next;
        } else {
            link->to->incoming = link->next;
        }
        if (link->next != TCG_NO_LINK) {
            tcg_link(link->next)->prev = link->prev;
        }
    }
    region->link_count = 0;
}

void tcg_reclaim_locked(void)
{
    unsigned next = tcg.interp ? 0 : tcg_buffer_next();
    struct tcg_region *region = &tcg.region[next];

    each_in_region(region, reclaim_unit);
    forget_links(region);
    atomic_store(&region->unit_count, 0);
    arena_reset(&region->arena);
    if (!tcg.interp) {
        tcg_buffer_select(next);
    }
    tcg.current = next;
    if (tcg.system) {
        tcg.system->forget_all_jumps();
    }
    for (struct tcg_cpu *cpu = tcg.cpus; cpu; cpu = cpu->next) {
        tcg_forget_jumps(cpu);
    }
    tcg.full = false;
    atomic_fetch_add(&tcg.epoch, 1);
    tcg.stats.cache_resets++;
}

bool tcg_make_room_locked(uint32_t size)
{
    unsigned next = tcg_buffer_next();

    if (tcg_buffer_has_room(size)) {
        return true;
    }
    if (!tcg_buffer_is_empty(next)) {
        tcg.full = true;
        return false;
    }
    tcg_buffer_select(next);
    tcg.current = next;
    return tcg_buffer_has_room(size);
}

/* Calls fn for every unit that overlaps [start, end); fn may drop it. */
static void each_in_range(uint64_t start, uint64_t end, void (*fn)(struct tcg_unit *))
{
    uint64_t first = start >> TCG_PAGE_BITS, last = (end - 1) >> TCG_PAGE_BITS;

    if (start >= end) {
        return;
    }
    if (last - first >= 1u << (tcg.hash_bits - PAGE_LISTS)) {
        for (uint32_t h = 0; h < 1u << tcg.hash_bits; h++) {
            struct tcg_unit *unit = tcg.hash[h], *next;
            for (; unit; unit = next) {
                next = unit->hash_next;
                if (unit->pc < end && (unit->end > start || unit->pc >= start)) {
                    fn(unit);
                }
            }
        }
        return;
    }
    for (uint64_t page = first; page <= last; page++) {
        struct tcg_unit *unit = tcg.pages[page_hash(page)], *next;
        for (; unit; unit = next) {
            next = *next_in_page(unit, page);
            if (unit->pc < end && (unit->end > start || unit->pc >= start)) {
                fn(unit);
            }
        }
    }
}

void tcg_invalidate(uint64_t start, uint64_t end)
{
    if (!tcg.ready) {
        return;
    }
    lock_acquire(&tcg.lock);
    each_in_range(start, end, tcg_drop_locked);
    if (tcg_perf_enabled() && tcg.config.forget_symbols) {
        tcg.config.forget_symbols(start, end);
    }
    lock_release(&tcg.lock);
}

void tcg_drop_page_locked(const uint8_t *page)
{
    uint64_t number = page_number(page);
    struct tcg_unit *unit = tcg.pages[page_hash(number)], *next;

    for (; unit; unit = next) {
        next = *next_in_page(unit, number);
        if (unit->page[0] == number || unit->page[1] == number) {
            tcg_drop_locked(unit);
        }
    }
}

/* System mode: does the unit's code meet the host bytes [first, last], within one page? */
static bool has_bytes(const struct tcg_unit *unit, uint64_t first, uint64_t last)
{
    uint64_t start = (unit->page[0] << TCG_PAGE_BITS) + (unit->pc & (MEM_PAGE_SIZE - 1));
    uint64_t page_end = (unit->page[0] + 1) << TCG_PAGE_BITS, end = start + (unit->end - unit->pc);

    if (end <= page_end) {
        return first < end && last >= start;
    }
    return (first < page_end && last >= start) || (first >> TCG_PAGE_BITS == unit->page[1] &&
                                                   (first & (MEM_PAGE_SIZE - 1)) < end - page_end);
}

void tcg_drop_bytes_locked(const uint8_t *bytes, unsigned size)
{
    uint64_t first = (uint64_t)(uintptr_t)bytes, number = page_number(bytes);
    struct tcg_unit *unit = tcg.pages[page_hash(number)], *next;

    for (; unit; unit = next) {
        next = *next_in_page(unit, number);
        if (has_bytes(unit, first, first + size - 1)) {
            tcg_drop_locked(unit);
        }
    }
}

bool tcg_is_changed(const struct tcg_unit *unit)
{
    uint8_t bytes[1024];
    unsigned length = (unsigned)(unit->end - unit->pc);

    if (tcg.system) {
        const uint8_t *first = (const uint8_t *)(unit->page[0] << TCG_PAGE_BITS);
        const uint8_t *second = (const uint8_t *)(unit->page[1] << TCG_PAGE_BITS);
        unsigned offset = unit->pc & (MEM_PAGE_SIZE - 1);
        unsigned here = length < MEM_PAGE_SIZE - offset ? length : MEM_PAGE_SIZE - offset;

        return memcmp(first + offset, unit->guest_bytes, here) != 0 ||
               (here < length && memcmp(second, unit->guest_bytes + here, length - here) != 0);
    }
    return length > sizeof(bytes) || mem_guest_read(bytes, unit->pc, length) < 0 ||
           memcmp(bytes, unit->guest_bytes, length) != 0;
}

static void drop_if_changed(struct tcg_unit *unit)
{
    if (tcg_is_changed(unit)) {
        tcg_drop_locked(unit);
    }
}

void tcg_flush_changed(uint64_t start, uint64_t end)
{
    if (!tcg.ready) {
        return;
    }
    lock_acquire(&tcg.lock);
    each_in_range(start, end, drop_if_changed);
    lock_release(&tcg.lock);
}
