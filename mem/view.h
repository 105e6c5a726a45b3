/*
 * A flat view: an address space as a sorted array of what is seen where. It never changes; a new
 * one replaces it (mem/space.h). Whoever looks something up holds it by a reader section.
 */
#ifndef TINAMOU_MEM_VIEW_H
#define TINAMOU_MEM_VIEW_H

#include "mem/region.h"

/* A run of addresses with one meaning. */
struct mem_section {
    struct mem_gpa first;
    uint64_t last; /* address of the last byte */
    struct mem_region *region;
    uint64_t region_offset; /* of `first` in the region */
    struct mem_ram *ram;    /* NULL: MMIO. A ROM device out of ROM mode has neither ram nor host */
    uint64_t ram_offset;
    uint8_t *host;    /* of `first` */
    bool readonly;    /* no direct writes */
    bool device;      /* writes go to region->ops; reads too when there is no ram */
    bool coalesced;   /* writes may come late */
    uint32_t logging; /* clients that want dirty bits: ram->logging when the view was made */
};

/* An event descriptor that can be seen. */
struct mem_view_eventfd {
    struct mem_gpa gpa;
    const struct mem_region *region;
    uint64_t data;
    int fd;
    uint8_t size;
    bool match;
};

struct mem_view {
    struct mem_section *sections; /* by rising address, not overlapping */
    unsigned count;
    struct mem_view_eventfd *eventfds; /* by rising address */
    unsigned eventfd_count;
    struct epoch_node node;
};

/* Flattens a tree; holds a reference of each RAM block. The caller is in a transaction. */
struct mem_view *mem_view_build(struct mem_region *root);

/* Frees a view that nobody reads. */
void mem_view_free(struct mem_view *view);

/*
 * The section that contains an address, or NULL. It belongs to the view: it is valid as long as the
 * caller stays in the reader section in which it got the view. Any thread.
 */
const struct mem_section *mem_view_find(const struct mem_view *view, struct mem_gpa gpa);

/* The first event descriptor at exactly this address, or NULL; others at it follow. */
const struct mem_view_eventfd *mem_view_find_eventfd(const struct mem_view *view,
                                                     struct mem_gpa gpa);

/* Do two sections show the same, logging apart? */
bool mem_view_same_section(const struct mem_section *a, const struct mem_section *b);

#endif
