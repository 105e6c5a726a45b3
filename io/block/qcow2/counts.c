/*
 * Reference counts as they should be, in memory: pages of counters that exist only where something
 * is referenced, so that a sparse image of many terabytes takes little. A page's counters have one
 * byte until one of them needs more, then four.
 */
#include "io/block/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 12u
#define PAGE_SIZE (1u << PAGE_BITS)

struct page {
    bool wide;
    uint8_t *bytes;
};

struct qcow2_counts {
    uint64_t size; /* clusters */
    uint64_t page_count;
    struct page *pages;
};

struct qcow2_counts *qcow2_counts_create(uint64_t clusters)
{
    struct qcow2_counts *counts = calloc(1, sizeof(*counts));

    if (counts && qcow2_counts_resize(counts, clusters) != 0) {
        free(counts);
        counts = NULL;
    }
    return counts;
}

void qcow2_counts_free(struct qcow2_counts *counts)
{
    for (uint64_t i = 0; counts && i < counts->page_count; i++) {
        free(counts->pages[i].bytes);
    }
    if (counts) {
        free(counts->pages);
    }
    free(counts);
}

int qcow2_counts_resize(struct qcow2_counts *counts, uint64_t clusters)
{
    uint64_t pages = (clusters >> PAGE_BITS) + 1;
    struct page *more;

    if (pages > SIZE_MAX / sizeof(*more) / 2) {
        return -ENOMEM;
    }
    if (pages > counts->page_count) {
        more = calloc((size_t)pages, sizeof(*more));
        if (!more) {
            return -ENOMEM;
        }
        if (counts->pages) {
            memcpy(more, counts->pages, (size_t)counts->page_count * sizeof(*more));
        }
        free(counts->pages);
        counts->pages = more;
        counts->page_count = pages;
    }
    counts->size = clusters;
    return 0;
}

uint64_t qcow2_counts_size(const struct qcow2_counts *counts)
{
    return counts->size;
}

static uint32_t get(const struct page *page, unsigned index)
{
    uint32_t count;

    if (!page->bytes) {
        return 0;
    }
    if (!page->wide) {
        return page->bytes[index];
    }
    memcpy(&count, page->bytes + index * sizeof(count), sizeof(count));
    return count;
}

uint64_t qcow2_counts_get(const struct qcow2_counts *counts, uint64_t cluster)
{
    return cluster < counts->size
               ? get(&counts->pages[cluster >> PAGE_BITS], cluster & (PAGE_SIZE - 1))
               : 0;
}

static int widen(struct page *page)
{
    uint32_t *wide = calloc(PAGE_SIZE, sizeof(*wide));

    if (!wide) {
        return -ENOMEM;
    }
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        wide[i] = page->bytes[i];
    }
    free(page->bytes);
    page->bytes = (uint8_t *)wide;
    page->wide = true;
    return 0;
}

static int add_one(struct page *page, unsigned index)
{
    uint32_t count = get(page, index);

    if (!page->bytes) {
        page->bytes = calloc(1, PAGE_SIZE);
        if (!page->bytes) {
            return -ENOMEM;
        }
    }
    if (!page->wide && count == UINT8_MAX && widen(page) != 0) {
        return -ENOMEM;
    }
    if (page->wide) {
        count += count != UINT32_MAX;
        memcpy(page->bytes + index * sizeof(count), &count, sizeof(count));
    } else {
        page->bytes[index] = (uint8_t)(count + 1);
    }
    return 0;
}

int qcow2_counts_add(struct qcow2_counts *counts, uint64_t cluster, uint64_t n)
{
    int err = 0;

    if (cluster > counts->size || n > counts->size - cluster) {
        return -ERANGE;
    }
    for (uint64_t i = 0; err == 0 && i < n; i++) {
        err = add_one(&counts->pages[(cluster + i) >> PAGE_BITS], (cluster + i) & (PAGE_SIZE - 1));
    }
    return err;
}

uint64_t qcow2_counts_next(const struct qcow2_counts *counts, uint64_t from, uint64_t end)
{
    uint64_t last = qcow2_min(end, counts->size);

    while (from < last) {
        const struct page *page = &counts->pages[from >> PAGE_BITS];

        if (!page->bytes) {
            from = ((from >> PAGE_BITS) + 1) << PAGE_BITS;
        } else if (get(page, from & (PAGE_SIZE - 1))) {
            return from;
        } else {
            from++;
        }
    }
    return end;
}
