/*
 * The guest's mappings as a sorted array without overlaps; neighbours that differ in nothing are
 * one. Only the book-keeping: no host mapping is touched here. The caller locks.
 *
 * The array lives in memory of its own from mmap (threads of the guest, and children that share its
 * memory, use it). Changes need room: regions_reserve() is the only function that can fail, and
 * comes first.
 */
#ifndef TINAMOU_LINUX_USER_REGIONS_H
#define TINAMOU_LINUX_USER_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mm_label { MM_PLAIN, MM_STACK, MM_HEAP, MM_VDSO, MM_LABELS };

struct mm_region {
    uint64_t start, end; /* guest addresses, page-aligned, not empty */
    uint8_t prot;        /* PROT_READ | PROT_WRITE | PROT_EXEC as the guest asked */
    bool shared;         /* MAP_SHARED */
    bool grows_down;
    uint8_t label; /* enum mm_label */
};

struct regions {
    struct mm_region *items;
    size_t count, capacity;
};

/* Room for `more` additional regions. 0 or -ENOMEM. Each regions_set(), _remove() and _protect()
 * adds at most two. */
int regions_reserve(struct regions *table, size_t more);

/* Gives the memory back. */
void regions_free(struct regions *table);

/* Index of the first region that ends above the address; count if there is none. */
size_t regions_find(const struct regions *table, uint64_t address);

/* The region that contains the address, or NULL. */
const struct mm_region *regions_at(const struct regions *table, uint64_t address);

/* Makes [region->start, region->end) this region, whatever was there. */
void regions_set(struct regions *table, const struct mm_region *region);

/* Makes [start, end) unmapped. */
void regions_remove(struct regions *table, uint64_t start, uint64_t end);

/* Changes the protection of what is mapped in [start, end). */
void regions_protect(struct regions *table, uint64_t start, uint64_t end, int prot);

/* First address in [start, end) that no region covers; end if there is none. */
uint64_t regions_covered_to(const struct regions *table, uint64_t start, uint64_t end);

/* The first unmapped stretch of [start, end): true with [*from, *to), false if there is none. */
bool regions_hole(const struct regions *table, uint64_t start, uint64_t end, uint64_t *from,
                  uint64_t *to);

/* The first mapped stretch of [start, end), neighbours joined: true with [*from, *to), false if
 * there is none. */
bool regions_run(const struct regions *table, uint64_t start, uint64_t end, uint64_t *from,
                 uint64_t *to);

/* Has any region of [start, end) one of these protection bits? */
bool regions_any(const struct regions *table, uint64_t start, uint64_t end, int prot);

/* The highest gap of `length` bytes (a multiple of the page) that lies in [low, high) with at least
 * `guard` bytes of it free on either side; its start, or 0 if there is none. */
uint64_t regions_gap(const struct regions *table, uint64_t low, uint64_t high, uint64_t length,
                     uint64_t guard);

#endif
