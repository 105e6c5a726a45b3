/* util/arena: alignment, growth, reuse after reset and rewind, overflow. */
#include "util/arena.h"

#include "tests/unit/tap.h"

#include <stdint.h>

int main(void)
{
    struct arena arena;
    struct arena_mark mark;
    size_t footprint;
    bool aligned = true, apart = true, zeroed = true;
    unsigned char *last = NULL;
    char *before, *text;

    arena_init(&arena, 0);
    tap_eq(arena_footprint(&arena), 0, "an empty arena holds no memory");
    mark = arena_mark(&arena);

    for (unsigned i = 0; i < 20000; i++) {
        size_t size = i % 97;
        unsigned char *p = arena_alloc(&arena, size);

        aligned = aligned && (uintptr_t)p % ARENA_ALIGN == 0;
        apart = apart && p != last;
        memset(p, 0xa5, size);
        last = size ? p : last;
    }
    tap_ok(aligned, "objects are aligned");
    tap_ok(apart, "objects are apart");

    for (size_t align = 1; align <= 4096; align *= 2) {
        void *p = arena_alloc_aligned(&arena, 3, align);

        aligned = aligned && p && (uintptr_t)p % align == 0;
    }
    tap_ok(aligned, "every power of two up to 4096 is honoured");

    footprint = arena_footprint(&arena);
    arena_rewind(&arena, mark);
    for (unsigned i = 0; i < 5000; i++) {
        unsigned char *p = arena_zalloc(&arena, 64);

        for (unsigned k = 0; k < 64; k++) {
            zeroed = zeroed && p[k] == 0;
        }
    }
    tap_ok(zeroed, "zalloc clears reused memory");
    tap_eq(arena_footprint(&arena), footprint, "a rewind to the start reuses the chunks");

    arena_reset(&arena);
    before = arena_strdup(&arena, "kept");
    mark = arena_mark(&arena);
    tap_ok(arena_alloc(&arena, 1 << 20) != NULL, "an object larger than a chunk");
    memset(arena_alloc(&arena, 4000), 0x5a, 4000);
    arena_rewind(&arena, mark);
    tap_str(before, "kept", "objects before the mark survive");
    text = arena_strdup(&arena, "next");
    tap_ok(text > before && text < before + 64, "allocation goes on at the mark");

    tap_ok(arena_calloc(&arena, SIZE_MAX / 2, 4) == NULL, "n * size overflowing is refused");
    tap_ok(arena_alloc(&arena, SIZE_MAX - 8) == NULL, "a size near the maximum is refused");
    tap_ok(arena_alloc(&arena, (size_t)1 << 60) == NULL, "more than the host has is refused");
    tap_ok(arena_alloc(&arena, 8) != NULL, "and the arena works on");

    arena_destroy(&arena);
    tap_eq(arena_footprint(&arena), 0, "destroy gives everything back");
    tap_ok(arena_array(&arena, uint64_t, 10) != NULL, "a destroyed arena may be used again");
    arena_destroy(&arena);
    return tap_done();
}
