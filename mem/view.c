/*
 * Flattening. The tree is walked in order of precedence, so each leaf fills only what is still
 * free, and nothing once placed is ever cut. Positions are 128 bits wide in the walk: an alias may
 * put its target's start below address 0, and a child may lie beyond 2^64.
 *
 * Building costs the square of the number of sections at worst. Machines have some hundreds, and
 * change them a few hundred times in their life.
 */
#include "mem/view.h"
#include "util/error.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef __int128 wide; /* a position in the walk; not a struct, so within the rule on typedefs */

struct walk {
    struct mem_view *view;
    unsigned room, eventfd_room;
};

/* What a walk may still show: addresses low..high. */
struct clip {
    wide low, high;
};

static void *grow(void *array, unsigned *room, size_t size)
{
    *room = *room ? *room * 2 : 16;
    array = realloc(array, *room * size);
    if (!array) {
        error_fatal("no memory for a view of guest memory");
    }
    return array;
}

static uint64_t span_last(const struct mem_region *region)
{
    return region->size == MEM_SIZE_ALL ? UINT64_MAX : region->size - 1;
}

static void insert(struct walk *w, unsigned at, const struct mem_section *section)
{
    struct mem_view *v = w->view;

    if (v->count == w->room) {
        v->sections = grow(v->sections, &w->room, sizeof(*v->sections));
    }
    memmove(v->sections + at + 1, v->sections + at, (v->count - at) * sizeof(*v->sections));
    v->sections[at] = *section;
    v->count++;
}

static struct mem_section leaf_section(struct mem_region *region, wide base, uint64_t first,
                                       uint64_t last, bool readonly)
{
    struct mem_section s = {.first = mem_gpa(first), .last = last, .region = region};

    s.region_offset = (uint64_t)((wide)first - base);
    s.device = region->kind != MEM_REGION_RAM;
    s.coalesced = region->coalesced;
    if (region->kind == MEM_REGION_RAM || region->rom_mode) {
        s.ram = region->ram;
        s.ram_offset = region->ram_offset + s.region_offset;
        s.host = mem_ram_host(s.ram, s.ram_offset, last - first + 1);
        s.logging = atomic_load_explicit(&s.ram->logging, memory_order_relaxed);
        readonly |= s.ram->readonly;
    }
    s.readonly = readonly;
    return s;
}

/* Fills what is free of the clip with a leaf. */
static void place(struct walk *w, struct mem_region *region, wide base, struct clip clip,
                  bool readonly)
{
    struct mem_view *v = w->view;
    uint64_t at = (uint64_t)clip.low, high = (uint64_t)clip.high;

    for (unsigned i = 0;; i++) {
        /* Sections before i end below `at`, or were just placed by this loop. */
        while (i < v->count && v->sections[i].last < at) {
            i++;
        }
        bool more = i < v->count && v->sections[i].first.value <= high;

        if (!more || v->sections[i].first.value > at) {
            uint64_t last = more ? v->sections[i].first.value - 1 : high;
            struct mem_section s = leaf_section(region, base, at, last, readonly);

            insert(w, i, &s);
            i++;
        }
        if (!more || v->sections[i].last >= high) {
            return;
        }
        at = v->sections[i].last + 1;
    }
}

static void render(struct walk *w, struct mem_region *region, wide base, struct clip clip,
                   bool readonly)
{
    wide last = base + span_last(region);

    if (!region->enabled) {
        return;
    }
    clip.low = clip.low > base ? clip.low : base;
    clip.high = clip.high < last ? clip.high : last;
    if (clip.low > clip.high) {
        return;
    }
    readonly |= region->readonly;
    switch (region->kind) {
    case MEM_REGION_CONTAINER:
        for (struct mem_region *c = region->children; c; c = c->next) {
            render(w, c, base + c->offset, clip, readonly);
        }
        break;
    case MEM_REGION_ALIAS:
        render(w, region->target, base - region->target_offset, clip, readonly);
        break;
    case MEM_REGION_RAM:
    case MEM_REGION_MMIO:
    case MEM_REGION_ROM_DEVICE:
        place(w, region, base, clip, readonly);
        break;
    }
}

static bool joins(const struct mem_section *a, const struct mem_section *b)
{
    uint64_t size = a->last - a->first.value + 1;

    return a->last + 1 == b->first.value && a->last != UINT64_MAX && a->region == b->region &&
           a->region_offset + size == b->region_offset && a->ram == b->ram &&
           (!a->ram || a->ram_offset + size == b->ram_offset) && a->readonly == b->readonly &&
           a->device == b->device;
}

/* Pieces of one region that meet again become one section. */
static void join(struct mem_view *v)
{
    unsigned n = 0;

    for (unsigned i = 0; i < v->count; i++) {
        if (n && joins(&v->sections[n - 1], &v->sections[i])) {
            v->sections[n - 1].last = v->sections[i].last;
        } else {
            v->sections[n++] = v->sections[i];
        }
    }
    v->count = n;
}

static int compare_eventfds(const void *a, const void *b)
{
    const struct mem_view_eventfd *x = a, *y = b;

    if (x->gpa.value != y->gpa.value) {
        return x->gpa.value < y->gpa.value ? -1 : 1;
    }
    /* Exact matches before those that take any value. */
    return (int)y->match - (int)x->match;
}

static void collect_eventfds(struct walk *w)
{
    struct mem_view *v = w->view;

    for (unsigned i = 0; i < v->count; i++) {
        const struct mem_section *s = &v->sections[i];
        uint64_t span = s->last - s->first.value;

        for (const struct mem_eventfd *e = s->region->eventfds; e; e = e->next) {
            uint64_t into = e->offset - s->region_offset;

            if (e->offset < s->region_offset || into > span) {
                continue;
            }
            if (v->eventfd_count == w->eventfd_room) {
                v->eventfds = grow(v->eventfds, &w->eventfd_room, sizeof(*v->eventfds));
            }
            v->eventfds[v->eventfd_count++] = (struct mem_view_eventfd){
                .gpa = mem_gpa(s->first.value + into),
                .region = s->region,
                .data = e->data,
                .fd = e->fd,
                .size = e->size,
                .match = e->match,
            };
        }
    }
    if (v->eventfd_count) {
        qsort(v->eventfds, v->eventfd_count, sizeof(*v->eventfds), compare_eventfds);
    }
}

struct mem_view *mem_view_build(struct mem_region *root)
{
    struct walk w = {.view = calloc(1, sizeof(*w.view))};

    if (!w.view) {
        error_fatal("no memory for a view of guest memory");
    }
    render(&w, root, 0, (struct clip){0, UINT64_MAX}, false);
    join(w.view);
    collect_eventfds(&w);
    for (unsigned i = 0; i < w.view->count; i++) {
        if (w.view->sections[i].ram) {
            mem_ram_ref(w.view->sections[i].ram);
        }
    }
    return w.view;
}

void mem_view_free(struct mem_view *view)
{
    for (unsigned i = 0; i < view->count; i++) {
        mem_ram_unref(view->sections[i].ram);
    }
    free(view->sections);
    free(view->eventfds);
    free(view);
}

const struct mem_section *mem_view_find(const struct mem_view *view, struct mem_gpa gpa)
{
    unsigned low = 0, high = view->count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        const struct mem_section *s = &view->sections[mid];

        if (gpa.value < s->first.value) {
            high = mid;
        } else if (gpa.value > s->last) {
            low = mid + 1;
        } else {
            return s;
        }
    }
    return NULL;
}

const struct mem_view_eventfd *mem_view_find_eventfd(const struct mem_view *view,
                                                     struct mem_gpa gpa)
{
    unsigned low = 0, high = view->eventfd_count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (view->eventfds[mid].gpa.value < gpa.value) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < view->eventfd_count && view->eventfds[low].gpa.value == gpa.value
               ? &view->eventfds[low]
               : NULL;
}

bool mem_view_same_section(const struct mem_section *a, const struct mem_section *b)
{
    return a->first.value == b->first.value && a->last == b->last && a->region == b->region &&
           a->region_offset == b->region_offset && a->ram == b->ram &&
           a->ram_offset == b->ram_offset && a->readonly == b->readonly && a->device == b->device &&
           a->coalesced == b->coalesced;
}
