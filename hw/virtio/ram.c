/* Windows are the sections of the flat view, whole, so there are as many as a guest has RAMs. */
#include "hw/virtio/ram.h"
#include "mem/dirty.h"

#include <stdlib.h>

struct virtio_ram *virtio_ram_create(void)
{
    struct virtio_ram *ram = calloc(1, sizeof(*ram));

    if (ram) {
        ram->references = 1;
    }
    return ram;
}

void virtio_ram_unref(struct virtio_ram *ram)
{
    if (ram && --ram->references == 0) {
        for (unsigned i = 0; i < ram->count; i++) {
            mem_access_unmap(&ram->windows[i].map, 0);
        }
        free(ram);
    }
}

/* Maps the section around gpa, or less when the topology changes meanwhile. */
static bool map_section(struct mem_space *space, uint64_t gpa, struct virtio_ram_window *window)
{
    const struct mem_section *s = mem_view_find(mem_space_enter(space), mem_gpa(gpa));
    uint64_t first = s ? s->first.value : 0;
    uint64_t size = s ? s->last - first + 1 : 0;

    mem_space_leave();
    if (!s) {
        return false;
    }
    window->gpa = first;
    return (mem_access_map(space, mem_gpa(first), size, true, &window->map) == 0 ||
            mem_access_map(space, mem_gpa(first), size, false, &window->map) == 0) &&
           gpa - first < window->map.size;
}

static uint8_t *use(const struct virtio_ram_window *w, uint64_t gpa, uint64_t size, bool write,
                    uint64_t *got)
{
    uint64_t left = w->map.size - (gpa - w->gpa);

    *got = left < size ? left : size;
    return write && !w->map.writable ? NULL : w->map.host + (gpa - w->gpa);
}

static bool holds(const struct virtio_ram_window *w, uint64_t gpa)
{
    return gpa - w->gpa < w->map.size;
}

uint8_t *virtio_ram_find(struct virtio_ram *ram, struct mem_space *space, uint64_t gpa,
                         uint64_t size, bool write, uint64_t *got, bool *full)
{
    *full = false;
    if (ram->count && holds(&ram->windows[ram->recent], gpa)) {
        return use(&ram->windows[ram->recent], gpa, size, write, got);
    }
    for (unsigned i = 0; i < ram->count; i++) {
        if (holds(&ram->windows[i], gpa)) {
            ram->recent = i;
            return use(&ram->windows[i], gpa, size, write, got);
        }
    }
    if (ram->count == VIRTIO_RAM_WINDOWS) {
        *full = true;
        return NULL;
    }
    struct virtio_ram_window *w = &ram->windows[ram->count];

    if (!map_section(space, gpa, w)) {
        mem_access_unmap(&w->map, 0);
        return NULL;
    }
    ram->recent = ram->count++;
    return use(w, gpa, size, write, got);
}

void virtio_ram_dirty(struct virtio_ram *ram, const uint8_t *host, uint64_t size)
{
    for (unsigned i = 0; i < ram->count; i++) {
        const struct mem_mapping *map = &ram->windows[i].map;

        if (host >= map->host && (uint64_t)(host - map->host) < map->size) {
            mem_dirty_set(map->ram, map->ram_offset + (uint64_t)(host - map->host), size);
            return;
        }
    }
}
