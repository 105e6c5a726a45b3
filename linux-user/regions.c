/* The guest's mappings, sorted; see the header. */
#include "linux-user/regions.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define FIRST_CAPACITY 256

int regions_reserve(struct regions *table, size_t more)
{
    size_t need = table->count + more, capacity = table->capacity;
    void *items;

    if (need <= capacity) {
        return 0;
    }
    capacity = capacity == 0 ? FIRST_CAPACITY : capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    if (table->items == NULL) {
        items = mmap(NULL, capacity * sizeof(*table->items), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    } else {
        items = mremap(table->items, table->capacity * sizeof(*table->items),
                       capacity * sizeof(*table->items), MREMAP_MAYMOVE);
    }
    if (items == MAP_FAILED) {
        return -ENOMEM;
    }
    table->items = items;
    table->capacity = capacity;
    return 0;
}

void regions_free(struct regions *table)
{
    if (table->items != NULL) {
        munmap(table->items, table->capacity * sizeof(*table->items));
    }
    memset(table, 0, sizeof(*table));
}

size_t regions_find(const struct regions *table, uint64_t address)
{
    size_t low = 0, high = table->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->items[middle].end > address) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

const struct mm_region *regions_at(const struct regions *table, uint64_t address)
{
    size_t i = regions_find(table, address);

    return i < table->count && table->items[i].start <= address ? &table->items[i] : NULL;
}

static void insert(struct regions *table, size_t at, const struct mm_region *region)
{
    memmove(&table->items[at + 1], &table->items[at], (table->count - at) * sizeof(*table->items));
    table->items[at] = *region;
    table->count++;
}

static void erase(struct regions *table, size_t at, size_t n)
{
    memmove(&table->items[at], &table->items[at + n],
            (table->count - at - n) * sizeof(*table->items));
    table->count -= n;
}

/* Cuts the region that contains the address in two there; returns the index of what starts at it or
 * above. */
static size_t split(struct regions *table, uint64_t address)
{
    size_t i = regions_find(table, address);

    if (i < table->count && table->items[i].start < address) {
        struct mm_region upper = table->items[i];
        upper.start = address;
        upper.grows_down = false;
        table->items[i].end = address;
        insert(table, ++i, &upper);
    }
    return i;
}

static bool alike(const struct mm_region *a, const struct mm_region *b)
{
    return a->end == b->start && a->prot == b->prot && a->shared == b->shared &&
           a->label == b->label && a->grows_down == b->grows_down;
}

/* Joins region i with its neighbours where nothing distinguishes them. */
static void join(struct regions *table, size_t i)
{
    if (i + 1 < table->count && alike(&table->items[i], &table->items[i + 1])) {
        table->items[i].end = table->items[i + 1].end;
        erase(table, i + 1, 1);
    }
    if (i > 0 && i < table->count && alike(&table->items[i - 1], &table->items[i])) {
        table->items[i - 1].end = table->items[i].end;
        erase(table, i, 1);
    }
}

void regions_remove(struct regions *table, uint64_t start, uint64_t end)
{
    size_t first = split(table, start), last;

    last = split(table, end);
    erase(table, first, last - first);
}

void regions_set(struct regions *table, const struct mm_region *region)
{
    size_t at;

    regions_remove(table, region->start, region->end);
    at = regions_find(table, region->start);
    insert(table, at, region);
    join(table, at);
}

void regions_protect(struct regions *table, uint64_t start, uint64_t end, int prot)
{
    size_t first = split(table, start), last;

    last = split(table, end);
    for (size_t i = first; i < last; i++) {
        table->items[i].prot = (uint8_t)prot;
    }
    /* From the top, so that indices below stay what they are. */
    for (size_t i = last + 1; i-- > first;) {
        if (i < table->count) {
            join(table, i);
        }
    }
}

bool regions_hole(const struct regions *table, uint64_t start, uint64_t end, uint64_t *from,
                  uint64_t *to)
{
    size_t i = regions_find(table, start);

    while (i < table->count && table->items[i].start <= start) {
        start = table->items[i++].end;
    }
    if (start >= end) {
        return false;
    }
    *from = start;
    *to = i < table->count && table->items[i].start < end ? table->items[i].start : end;
    return true;
}

uint64_t regions_covered_to(const struct regions *table, uint64_t start, uint64_t end)
{
    uint64_t from, to;

    return regions_hole(table, start, end, &from, &to) ? from : end;
}

bool regions_run(const struct regions *table, uint64_t start, uint64_t end, uint64_t *from,
                 uint64_t *to)
{
    size_t i = regions_find(table, start);

    if (start >= end || i == table->count || table->items[i].start >= end) {
        return false;
    }
    *from = table->items[i].start > start ? table->items[i].start : start;
    *to = regions_covered_to(table, *from, end);
    return true;
}

bool regions_any(const struct regions *table, uint64_t start, uint64_t end, int prot)
{
    for (size_t i = regions_find(table, start); i < table->count && table->items[i].start < end;
         i++) {
        if (table->items[i].prot & prot) {
            return true;
        }
    }
    return false;
}

uint64_t regions_gap(const struct regions *table, uint64_t low, uint64_t high, uint64_t length,
                     uint64_t guard)
{
    uint64_t top = high;
    size_t i = regions_find(table, high);

    if (i < table->count && table->items[i].start < high) {
        top = table->items[i].start;
    }
    for (;;) {
        /* The gap between region i - 1 and top. */
        uint64_t bottom = i > 0 && table->items[i - 1].end > low ? table->items[i - 1].end : low;
        uint64_t above = top == high ? 0 : guard, below = bottom == low ? 0 : guard;
        if (top > bottom && top - bottom >= above + below &&
            top - bottom - above - below >= length) {
            return top - above - length;
        }
        if (i == 0 || table->items[i - 1].end <= low) {
            return 0;
        }
        top = table->items[--i].start;
    }
}
