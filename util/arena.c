/*
 * Bump allocator over chunks from mmap.
 *
 * Chunks form a singly linked list in the order of use; `current` is the one being filled, and
 * those after it are empty, kept by a reset or a rewind. An object larger than a chunk gets a
 * chunk of its own size, linked in after the current one, and is reused like any other.
 */
#include "util/arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define ARENA_CHUNK_DEFAULT ((size_t)64 << 10)
#define ARENA_PAGE          ((size_t)4096)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* with this header */
};

static void arena_use(struct arena *arena, struct arena_chunk *chunk)
{
    arena->current = chunk;
    arena->next = chunk ? (uintptr_t)(chunk + 1) : 0;
    arena->end = chunk ? (uintptr_t)chunk + chunk->size : 0;
}

void arena_init(struct arena *arena, size_t chunk_size)
{
    memset(arena, 0, sizeof(*arena));
    if (chunk_size == 0) {
        chunk_size = ARENA_CHUNK_DEFAULT;
    }
    arena->chunk_size = (chunk_size + ARENA_PAGE - 1) & ~(ARENA_PAGE - 1);
}

void arena_destroy(struct arena *arena)
{
    struct arena_chunk *chunk = arena->first;

    while (chunk) {
        struct arena_chunk *next = chunk->next;
        munmap(chunk, chunk->size);
        chunk = next;
    }
    arena->first = NULL;
    arena_use(arena, NULL);
}

void arena_reset(struct arena *arena)
{
    arena_use(arena, arena->first);
}

void *arena_grow(struct arena *arena, size_t size, size_t align)
{
    size_t need;
    struct arena_chunk *chunk;

    if (__builtin_add_overflow(size, sizeof(*chunk) + align + ARENA_PAGE, &need)) {
        return NULL;
    }
    need &= ~(ARENA_PAGE - 1);

    chunk = arena->current ? arena->current->next : arena->first;
    if (!chunk || chunk->size < need) {
        size_t bytes = need > arena->chunk_size ? need : arena->chunk_size;
        struct arena_chunk *fresh =
            mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (fresh == MAP_FAILED) {
            return NULL;
        }
        fresh->size = bytes;
        fresh->next = chunk;
        if (arena->current) {
            arena->current->next = fresh;
        } else {
            arena->first = fresh;
        }
        chunk = fresh;
    }
    arena_use(arena, chunk);
    return arena_alloc_aligned(arena, size, align);
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *p = arena_alloc(arena, size);

    return p ? memset(p, 0, size) : NULL;
}

void *arena_calloc(struct arena *arena, size_t n, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(n, size, &bytes) ? NULL : arena_zalloc(arena, bytes);
}

void *arena_dup(struct arena *arena, const void *bytes, size_t n)
{
    void *p = arena_alloc(arena, n);

    return p && n ? memcpy(p, bytes, n) : p;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_dup(arena, text, strlen(text) + 1);
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){arena->current, arena->next};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    /* A mark taken before the first chunk means "everything". */
    arena_use(arena, mark.chunk ? mark.chunk : arena->first);
    if (mark.chunk) {
        arena->next = mark.next;
    }
}

size_t arena_footprint(const struct arena *arena)
{
    size_t total = 0;

    for (const struct arena_chunk *c = arena->first; c; c = c->next) {
        total += c->size;
    }
    return total;
}
