/* All of RAM, beyond 4 GiB too; and many pages written, which dirty logging would have to see. */
#include "tests/kvm/guest.h"

struct range {
    uint64_t address, size;
    uint32_t type, reserved;
};

#define STEP  (32ull << 20)
#define FIRST (32ull << 20) /* clear of the guest and its pages */

/* Maps up to 512 GiB: the first 5 are mapped already. */
static void map_to(uint64_t top)
{
    for (uint64_t gib = 5; gib << 30 < top; gib++) {
        uint64_t *table = pages(1);

        for (uint64_t i = 0; i < 512; i++) {
            table[i] = ((gib << 30) + (i << 21)) | 0x87;
        }
        pdpt[gib] = (uint64_t)table | 7;
    }
    write_cr3(read_cr3());
}

/* The word at each place is its address; at the end all are looked at again. */
static void each_place(uint64_t start, uint64_t end_of, void (*visit)(uint64_t at))
{
    for (uint64_t at = start < FIRST ? FIRST : start; at < end_of; at += STEP) {
        visit(at);
    }
    visit(end_of - 8);
}

static uint64_t places, good;

static void store(uint64_t at)
{
    write64(at, at ^ 0x5555555555555555);
    places++;
}

static void load(uint64_t at)
{
    good += read64(at) == (at ^ 0x5555555555555555);
}

static void for_all(void (*visit)(uint64_t at))
{
    const struct range *range = (const struct range *)start_info->memory_map;

    for (unsigned i = 0; i < start_info->memory_map_entries; i++, range++) {
        if (range->type == 1 && range->address >= 0x100000) {
            each_place(range->address, range->address + range->size, visit);
        }
    }
}

static void all(void)
{
    const struct range *range = (const struct range *)start_info->memory_map;
    uint64_t top = 0;

    for (unsigned i = 0; i < start_info->memory_map_entries; i++, range++) {
        if (range->type == 1 && range->address + range->size > top) {
            top = range->address + range->size;
        }
    }
    map_to(top + (1ull << 30));
    say("top of RAM: %lx\n", top);
    for_all(store);
    for_all(load);
    expect("places", good, places);
    say("beyond the top: %lx\n", read64(top > 1ull << 32 ? top : 0x100000000));
}

PIECE(write_pages, "xor %eax, %eax\n"
                   "1: mov %rdi, (%rdi); add $4096, %rdi; inc %eax; cmp $4096, %eax; jne 1b");
PIECE(read_pages, "xor %eax, %eax; xor %ecx, %ecx\n"
                  "1: cmp %rdi, (%rdi); jne 2f; inc %eax\n"
                  "2: add $4096, %rdi; inc %ecx; cmp $4096, %ecx; jne 1b");

/* 16 MiB by pages, from 32 MiB, and from 4 GiB if there is RAM; twice, and again after a reading.
 */
static void pages_of(const char *what, uint64_t start)
{
    say("%s\n", what);
    for (unsigned n = 0; n < 2; n++) {
        RUN(write_pages, start, RING3);
        EXPECT_DONE("written", write_pages);
        RUN(read_pages, start, RING3);
        expect("right", trap.rax, 4096);
    }
}

static void walk(void)
{
    bool high = false;
    const struct range *range = (const struct range *)start_info->memory_map;

    for (unsigned i = 0; i < start_info->memory_map_entries; i++) {
        high |= range[i].type == 1 && range[i].address >= 1ull << 32;
    }
    pages_of("low", FIRST);
    if (high) {
        pages_of("high", 1ull << 32);
    }
}

const struct part parts[] = {{"all", all}, {"walk", walk}, {NULL, NULL}};
