/* What the 64-bit guests share: traps in words, and a few pages. */
#include "tests/kvm/guest.h"

static uint64_t next_page = 8 << 20;

static void trap_line(const char *what, const void *piece, bool done)
{
    if (done) {
        say("%s: done in ring %d", what, (unsigned)trap.cs & 3);
    } else {
        say("%s: vector %d error %lx at +%lx ring %d", what, (unsigned)trap.vector, trap.error,
            trap.rip - (uint64_t)piece, (unsigned)trap.cs & 3);
    }
}

static bool is_done(const void *piece_end)
{
    return trap.vector == 6 && trap.rip == (uint64_t)piece_end;
}

void say_trap(const char *what, const void *piece, const void *piece_end)
{
    trap_line(what, piece, is_done(piece_end));
    say("\n");
}

void expect_trap(const char *what, const void *piece, const void *piece_end, int vector,
                 uint64_t error)
{
    bool done = is_done(piece_end);
    bool good = vector < 0 ? done : !done && trap.vector == (unsigned)vector && trap.error == error;

    trap_line(what, piece, done);
    count_check(good);
    if (good) {
        say("\n");
    } else if (vector < 0) {
        say(", NOT done\n");
    } else {
        say(", NOT %d error %lx\n", (unsigned)vector, error);
    }
}

/* start.S comes here when there is no run_at() to end. */
_Noreturn void unexpected_trap(void);

void unexpected_trap(void)
{
    say("UNEXPECTED vector %d error %lx rip %lx cs %lx cr2 %lx\n", (unsigned)trap.vector,
        trap.error, trap.rip, trap.cs, trap.cr2);
    end(2);
}

/* ---- memory -------------------------------------------------------------------------------- */

void fill(void *to, uint8_t byte, size_t n)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
}

void copy(void *to, const void *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

void *pages(unsigned n)
{
    void *p = (void *)next_page;
    void *q = p;
    size_t quads = n * 512;

    next_page += n * 4096;
    __asm__ volatile("rep stosq" : "+D"(q), "+c"(quads) : "a"(0ull) : "memory");
    return p;
}

uint64_t *split(uint64_t address)
{
    uint64_t *entry = &pd[address >> 21];

    if (*entry & 0x80) {
        uint64_t *table = pages(1);

        for (unsigned i = 0; i < 512; i++) {
            table[i] = (*entry & ~0x80ull) + i * 4096;
        }
        *entry = (uint64_t)table | 7;
        write_cr3(read_cr3());
    }
    return (uint64_t *)(*entry & ~0xfffull) + (address >> 12 & 511);
}

/* ---- ports in ring 3 ---------------------------------------------------------------------- */

void set_tss(const void *at, unsigned limit)
{
    uint64_t base = (uint64_t)at;

    gdt[SEL_FREE / 8] = limit | (base & 0xffffff) << 16 | 0x89ull << 40 | base >> 24 << 56;
    gdt[SEL_FREE / 8 + 1] = base >> 32;
    __asm__ volatile("ltr %%ax" ::"a"(SEL_FREE));
}

uint8_t *open_ports(void)
{
    uint8_t *own = pages(3);

    copy(own, tss, 104);
    own[102] = 104;
    own[104 + 8192] = 0xff;
    set_tss(own, 104 + 8192);
    return own;
}
