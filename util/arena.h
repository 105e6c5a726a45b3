/*
 * Bump allocator: many small objects that die together.
 *
 * Memory comes from mmap in chunks, never from malloc, so an arena works wherever mmap does: in a
 * guest's thread, in a fork child, before the C library is of any use. arena_reset() makes all of
 * it free at once and keeps the chunks for the next round; a translator resets after each unit and
 * then never asks the kernel again. One thread at a time may use an arena.
 */
#ifndef TINAMOU_UTIL_ARENA_H
#define TINAMOU_UTIL_ARENA_H

#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN 16 /* of arena_alloc() */

struct arena_chunk; /* private to arena.c */

struct arena {
    uintptr_t next;              /* first free byte of the current chunk */
    uintptr_t end;               /* end of the current chunk */
    struct arena_chunk *first;   /* in the order of use; NULL before the first allocation */
    struct arena_chunk *current; /* the chunk that next and end point into */
    size_t chunk_size;           /* of a chunk, unless one object needs more */
};

/* A place to come back to; see arena_mark(). */
struct arena_mark {
    struct arena_chunk *chunk;
    uintptr_t next;
};

/* Makes an empty arena; takes no memory yet. chunk_size is in bytes, 0 for the default (64 KiB). */
void arena_init(struct arena *arena, size_t chunk_size);

/* Gives all memory back. The arena is empty and may be used again. */
void arena_destroy(struct arena *arena);

/* Frees every object and keeps the memory for the next ones. */
void arena_reset(struct arena *arena);

/* Slow path of arena_alloc_aligned(). */
void *arena_grow(struct arena *arena, size_t size, size_t align);

/*
 * size bytes at a multiple of align (a power of two, at most 4096), not cleared. A size of 0 gives
 * a pointer that may equal the next object's. NULL when the host has no memory.
 */
static inline void *arena_alloc_aligned(struct arena *arena, size_t size, size_t align)
{
    uintptr_t p = (arena->next + align - 1) & ~(uintptr_t)(align - 1);

    if (p <= arena->end && size <= arena->end - p && p != 0) {
        arena->next = p + size;
        return (void *)p;
    }
    return arena_grow(arena, size, align);
}

/* The same, aligned for any type without an alignment of its own. */
static inline void *arena_alloc(struct arena *arena, size_t size)
{
    return arena_alloc_aligned(arena, size, ARENA_ALIGN);
}

/* The same, cleared. */
void *arena_zalloc(struct arena *arena, size_t size);

/* n elements of size bytes each, cleared; NULL also when n * size overflows. */
void *arena_calloc(struct arena *arena, size_t n, size_t size);

/* A copy of n bytes, or of a string. */
void *arena_dup(struct arena *arena, const void *bytes, size_t n);
char *arena_strdup(struct arena *arena, const char *text);

#define arena_new(arena, type)      ((type *)arena_zalloc(arena, sizeof(type)))
#define arena_array(arena, type, n) ((type *)arena_calloc(arena, n, sizeof(type)))

/* arena_rewind() frees every object allocated after the mark; marks taken since become invalid. */
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Bytes the arena holds from the kernel. */
size_t arena_footprint(const struct arena *arena);

#endif
