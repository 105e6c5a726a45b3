/* linux-user/regions: random changes against a plain array of pages, and the queries. */
#include "linux-user/regions.h"

#include "tests/unit/tap.h"

#include <stdlib.h>
#include <sys/mman.h>

#define PAGE  4096u
#define PAGES 200
#define FIRST 0x10000u

/* 0: unmapped; else protection + 1, 8 more if labelled. */
static uint8_t model[PAGES];

static uint64_t address(unsigned page)
{
    return FIRST + (uint64_t)page * PAGE;
}

static bool agrees(const struct regions *table)
{
    uint64_t last = 0;

    for (size_t i = 0; i < table->count; i++) {
        const struct mm_region *r = &table->items[i];
        if (r->start < last || r->end <= r->start) {
            return false;
        }
        /* Neighbours that differ in nothing are one. */
        if (i > 0 && r[-1].end == r->start && r[-1].prot == r->prot && r[-1].label == r->label) {
            return false;
        }
        last = r->end;
    }
    for (unsigned page = 0; page < PAGES; page++) {
        const struct mm_region *r = regions_at(table, address(page) + 5);
        unsigned is = r == NULL ? 0 : r->prot + 1u + 8u * r->label;
        if (is != model[page]) {
            return false;
        }
    }
    return true;
}

static bool queries_agree(const struct regions *table, unsigned from, unsigned to)
{
    uint64_t hole_from = 0, hole_to = 0, run_from = 0, run_to = 0;
    unsigned hole = from, hole_end, run = from, run_end;
    bool exec = false, ok;

    while (hole < to && model[hole] != 0) {
        hole++;
    }
    for (hole_end = hole; hole_end < to && model[hole_end] == 0;) {
        hole_end++;
    }
    while (run < to && model[run] == 0) {
        run++;
    }
    for (run_end = run; run_end < to && model[run_end] != 0;) {
        run_end++;
    }
    for (unsigned page = from; page < to; page++) {
        exec |= model[page] != 0 && ((model[page] - 1) & 7 & PROT_EXEC);
    }
    ok = regions_hole(table, address(from), address(to), &hole_from, &hole_to) == (hole < to);
    ok &= hole == to || (hole_from == address(hole) && hole_to == address(hole_end));
    ok &= regions_run(table, address(from), address(to), &run_from, &run_to) == (run < to);
    ok &= run == to || (run_from == address(run) && run_to == address(run_end));
    ok &= regions_any(table, address(from), address(to), PROT_EXEC) == exec;
    ok &= regions_covered_to(table, address(from), address(to)) == address(hole);
    return ok;
}

/* The highest gap by trying every place. */
static uint64_t slow_gap(unsigned length, unsigned guard)
{
    for (unsigned start = PAGES - length + 1; start-- > 0;) {
        bool free = true;
        for (unsigned page = start < guard ? 0 : start - guard;
             page < start + length + guard && page < PAGES; page++) {
            free &= model[page] == 0;
        }
        if (free) {
            return address(start);
        }
    }
    return 0;
}

int main(void)
{
    struct regions table = {0};
    bool right = true, queries = true, gaps = true;
    size_t grown = 0;

    srand(1);
    for (unsigned round = 0; round < 30000 && right; round++) {
        unsigned from = (unsigned)rand() % PAGES, to = from + 1 + (unsigned)rand() % 12;
        unsigned prot = (unsigned)rand() % 8 % 6, label = (unsigned)rand() % 2;

        to = to > PAGES ? PAGES : to;
        grown = table.count > grown ? table.count : grown;
        if (regions_reserve(&table, 2) != 0) {
            return 1;
        }
        switch (rand() % 4) {
        case 0:
        case 1: {
            const struct mm_region region = {.start = address(from),
                                             .end = address(to),
                                             .prot = (uint8_t)prot,
                                             .label = (uint8_t)label};
            regions_set(&table, &region);
            for (unsigned page = from; page < to; page++) {
                model[page] = (uint8_t)(prot + 1 + 8 * label);
            }
            break;
        }
        case 2:
            regions_remove(&table, address(from), address(to));
            memset(&model[from], 0, to - from);
            break;
        default:
            regions_protect(&table, address(from), address(to), (int)prot);
            for (unsigned page = from; page < to; page++) {
                model[page] =
                    model[page] == 0 ? 0 : (uint8_t)(prot + 1 + 8 * ((model[page] - 1u) >> 3));
            }
        }
        right = agrees(&table);
        queries &= queries_agree(&table, from / 2, to);
        if (round % 16 == 0) {
            unsigned length = 1 + (unsigned)rand() % 6, guard = (unsigned)rand() % 3;
            gaps &= regions_gap(&table, address(0), address(PAGES), length * PAGE, guard * PAGE) ==
                    slow_gap(length, guard);
        }
    }
    tap_ok(right, "30000 random changes give what an array of pages gives");
    tap_ok(queries, "holes, runs, coverage and protection agree");
    tap_ok(gaps, "the highest gap is found, with room around it");
    tap_ok(grown > 20, "there were many regions at once (%zu)", grown);

    regions_remove(&table, address(0), address(PAGES));
    tap_eq(table.count, 0, "removing everything leaves nothing");
    for (unsigned i = 0; i < 3000; i++) {
        const struct mm_region region = {.start = address(2 * i), .end = address(2 * i + 1)};
        right &= regions_reserve(&table, 2) == 0;
        regions_set(&table, &region);
    }
    tap_ok(right && table.count == 3000 && regions_at(&table, address(4000)) != NULL &&
               regions_at(&table, address(4001)) == NULL,
           "the array grows");
    regions_free(&table);
    tap_ok(table.items == NULL && table.count == 0, "and is given back");
    return tap_done();
}
