/* Dirty bitmaps: one bit per page and client, changed with atomic operations on whole words. */
#include "mem/dirty.h"
#include "util/bits.h"

#include <errno.h>
#include <stdlib.h>

#define WORD_BITS 64

static void (*code_hook)(void *opaque, struct mem_ram *ram, uint64_t offset, uint64_t size);
static void *code_hook_opaque;

/* Pages first..end-1 that the range touches, clipped to the block; false if there are none. */
static bool page_range(const struct mem_ram *ram, uint64_t offset, uint64_t size, uint64_t *first,
                       uint64_t *end)
{
    if (!size || offset >= ram->size) {
        return false;
    }
    if (size > ram->size - offset) {
        size = ram->size - offset;
    }
    *first = offset >> MEM_PAGE_BITS;
    *end = ((offset + size - 1) >> MEM_PAGE_BITS) + 1;
    return true;
}

/* The bits of the word that holds page `at` which belong to [at, end). */
static uint64_t word_mask(uint64_t at, uint64_t end)
{
    unsigned low = at % WORD_BITS;
    uint64_t n = end - at;

    if (n > WORD_BITS - low) {
        n = WORD_BITS - low;
    }
    return bits_mask((unsigned)n) << low;
}

static uint64_t next_word(uint64_t at)
{
    return (at / WORD_BITS + 1) * WORD_BITS;
}

int mem_dirty_attach(struct mem_ram *ram)
{
    uint64_t words = (ram->pages + WORD_BITS - 1) / WORD_BITS;

    for (unsigned c = 0; c < MEM_DIRTY_CLIENTS; c++) {
        ram->dirty[c] = calloc(words, sizeof(*ram->dirty[c]));
        if (!ram->dirty[c]) {
            return -ENOMEM;
        }
        for (uint64_t at = 0; at < ram->pages; at = next_word(at)) {
            atomic_init(&ram->dirty[c][at / WORD_BITS], word_mask(at, ram->pages));
        }
    }
    return 0;
}

/* Tells the translator of the pages in `newly`, whose bit 0 is page `base`. */
static void call_hook(struct mem_ram *ram, uint64_t base, uint64_t newly)
{
    while (newly && code_hook) {
        unsigned low = bits_ctz64(newly);
        unsigned n = bits_ctz64(~(newly >> low));

        code_hook(code_hook_opaque, ram, (base + low) << MEM_PAGE_BITS,
                  (uint64_t)n << MEM_PAGE_BITS);
        newly &= ~(bits_mask(n) << low);
    }
}

static void set_bits(struct mem_ram *ram, enum mem_dirty_client client, uint64_t page,
                     uint64_t mask)
{
    _Atomic uint64_t *word = &ram->dirty[client][page / WORD_BITS];

    /* The caller's bytes come before the test: see the fence in mem_dirty_set(). */
    if ((atomic_load_explicit(word, memory_order_relaxed) & mask) == mask) {
        return;
    }
    uint64_t old = atomic_fetch_or_explicit(word, mask, memory_order_acq_rel);

    if (client == MEM_DIRTY_CODE) {
        call_hook(ram, page / WORD_BITS * WORD_BITS, mask & ~old);
    }
}

static void set(struct mem_ram *ram, uint64_t offset, uint64_t size, unsigned clients)
{
    uint64_t at, end;

    if (!page_range(ram, offset, size, &at, &end)) {
        return;
    }
    /* Without it the test could pass on a bit that a client clears before it reads the old bytes.
     */
    atomic_thread_fence(memory_order_seq_cst);
    for (; at < end; at = next_word(at)) {
        for (unsigned c = 0; c < MEM_DIRTY_CLIENTS; c++) {
            if (clients >> c & 1) {
                set_bits(ram, c, at, word_mask(at, end));
            }
        }
    }
}

void mem_dirty_set(struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    set(ram, offset, size, ~0u);
}

void mem_dirty_set_but_code(struct mem_ram *ram, uint64_t offset, uint64_t size)
{
    set(ram, offset, size, ~(1u << MEM_DIRTY_CODE));
}

void mem_dirty_set_bitmap(struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                          const uint64_t *bitmap, uint64_t pages)
{
    uint64_t first = offset >> MEM_PAGE_BITS;

    for (uint64_t i = 0; i < pages && first + i < ram->pages; i++) {
        if (bits_test(bitmap[i / WORD_BITS], i % WORD_BITS)) {
            set_bits(ram, client, first + i, UINT64_C(1) << (first + i) % WORD_BITS);
        }
    }
}

bool mem_dirty_test(const struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                    uint64_t size)
{
    uint64_t at, end;

    if (!page_range(ram, offset, size, &at, &end)) {
        return false;
    }
    for (; at < end; at = next_word(at)) {
        uint64_t word =
            atomic_load_explicit(&ram->dirty[client][at / WORD_BITS], memory_order_acquire);

        if (word & word_mask(at, end)) {
            return true;
        }
    }
    return false;
}

bool mem_dirty_is_set_all(const struct mem_ram *ram, uint64_t offset)
{
    for (unsigned c = 0; c < MEM_DIRTY_CLIENTS; c++) {
        if (!mem_dirty_test(ram, c, offset, 1)) {
            return false;
        }
    }
    return true;
}

uint64_t mem_dirty_clear(struct mem_ram *ram, enum mem_dirty_client client, uint64_t offset,
                         uint64_t size, uint64_t *bitmap)
{
    uint64_t first, end, count = 0;

    if (!page_range(ram, offset, size, &first, &end)) {
        return 0;
    }
    for (uint64_t at = first; at < end; at = next_word(at)) {
        uint64_t mask = word_mask(at, end);
        uint64_t old = atomic_fetch_and_explicit(&ram->dirty[client][at / WORD_BITS], ~mask,
                                                 memory_order_acq_rel) &
                       mask;

        count += bits_popcount(old);
        for (uint64_t left = old; bitmap && left; left &= left - 1) {
            uint64_t n = at / WORD_BITS * WORD_BITS + bits_ctz64(left) - first;

            bitmap[n / WORD_BITS] |= UINT64_C(1) << n % WORD_BITS;
        }
    }
    /* The caller reads the pages after this. */
    atomic_thread_fence(memory_order_seq_cst);
    return count;
}

void mem_dirty_set_code_hook(void (*hook)(void *opaque, struct mem_ram *ram, uint64_t offset,
                                          uint64_t size),
                             void *opaque)
{
    code_hook = hook;
    code_hook_opaque = opaque;
}
