/* Code that changes: by itself, from another page, through an alias, by strings, and by a device.
 */
#include "tests/kvm/guest.h"

#define ALIAS 0x40000000ul

static uint8_t *code; /* two pages: mov $version, %eax; ret */
static uint32_t mistakes;

static void put_code(uint8_t *at, uint32_t version)
{
    at[0] = 0xb8;
    *(uint32_t *)(at + 1) = version;
    at[5] = 0xc3;
}

static uint32_t call(const uint8_t *at)
{
    return ((uint32_t(*)(void))at)();
}

/* Each way changes the code at `at`, which is then to return n. */
static void by_store(uint8_t *at, uint32_t n)
{
    *(volatile uint32_t *)(at + 1) = n;
}

static void by_bytes(uint8_t *at, uint32_t n)
{
    for (unsigned i = 0; i < 4; i++) {
        *(volatile uint8_t *)(at + 1 + i) = (uint8_t)(n >> i * 8);
    }
}

static void by_alias(uint8_t *at, uint32_t n)
{
    *(volatile uint32_t *)(ALIAS + 1 + ((uint64_t)at & 0x1fff)) = n;
}

static void by_string(uint8_t *at, uint32_t n)
{
    uint8_t fresh[6];

    put_code(fresh, n);
    copy(at, fresh, 6);
}

static void by_locked(uint8_t *at, uint32_t n)
{
    (void)__atomic_exchange_n((uint32_t *)(at + 1), n, __ATOMIC_SEQ_CST);
}

/* Another instruction instead of another operand: and back, so that all ways can follow. */
static void by_opcode(uint8_t *at, uint32_t n)
{
    *(volatile uint8_t *)at = 0xb9; /* mov $..., %ecx */
    (void)call(at);
    *(volatile uint8_t *)at = 0xb8;
    *(volatile uint32_t *)(at + 1) = n;
}

static void by_port(uint8_t *at, uint32_t n)
{
    void *to = at + 1;

    outb(0x3ff, (uint8_t)n);
    __asm__ volatile("insb" : "+D"(to) : "d"(0x3ff) : "memory");
    *(volatile uint8_t *)(at + 2) = (uint8_t)(n >> 8);
    *(volatile uint16_t *)(at + 3) = 0;
}

static const struct {
    const char *name;
    void (*change)(uint8_t *at, uint32_t n);
} ways[] = {
    {"store", by_store},   {"bytes", by_bytes},   {"alias", by_alias}, {"string", by_string},
    {"locked", by_locked}, {"opcode", by_opcode}, {"port", by_port},
};

static void all_ways(uint64_t way)
{
    for (unsigned place = 0; place < 2; place++) {
        uint8_t *at = code + (place ? 4096 - 3 : 64); /* the second is in two pages */

        put_code(at, 0);
        for (uint32_t n = 1; n <= count / 25; n++) {
            mistakes += call(at) != n - 1;
            ways[way].change(at, n);
            mistakes += call(at) != n;
        }
    }
}

static void all_ways_user(uint64_t way)
{
    all_ways(way);
    leave();
}

static void prepare(void)
{
    if (!code) {
        code = pages(2);
    }
    *split(ALIAS) = (uint64_t)code | 7;
    *split(ALIAS + 4096) = ((uint64_t)code + 4096) | 7;
    invlpg(ALIAS);
    invlpg(ALIAS + 4096);
}

static void kernel(void)
{
    prepare();
    for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        mistakes = 0;
        all_ways(i);
        expect(ways[i].name, mistakes, 0);
    }
}

static void user(void)
{
    prepare();
    open_ports();
    for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        mistakes = 0;
        RUN(all_ways_user, i, RING3);
        check("to the end", trap.vector == 6 && trap.rip == (uint64_t)leave);
        expect(ways[i].name, mistakes, 0);
    }
    set_tss(tss, 103);
}

/* Counts up in the operand of an instruction that follows, in a loop that never leaves the page. */
PIECE(own_loop, "xor %eax, %eax; xor %ecx, %ecx; lea 2f+1(%rip), %rdx\n"
                "1: inc %ecx\n"
                "mov %ecx, (%rdx)\n"
                "jmp 2f\n"
                "2: mov $0, %ebx\n"
                "cmp %ebx, %ecx; jne 3f\n"
                "inc %eax\n"
                "3: cmp %edi, %ecx; jne 1b");

/* The same without a jump in between: the next instruction is the one that changes. */
PIECE(own_next, "xor %eax, %eax; xor %ecx, %ecx; lea 2f+1(%rip), %rdx\n"
                "1: inc %ecx\n"
                "mov %ecx, (%rdx)\n"
                "2: mov $0, %ebx\n"
                "cmp %ebx, %ecx; jne 3f\n"
                "inc %eax\n"
                "3: cmp %edi, %ecx; jne 1b");

static void itself(void)
{
    for (unsigned ring = 0; ring < 4; ring += 3) {
        RUN(own_loop, count / 5, ring);
        EXPECT_DONE("loop", own_loop);
        expect("right", trap.rax, count / 5);
        RUN(own_next, count / 5, ring);
        EXPECT_DONE("next instruction", own_next);
        expect("right", trap.rax, count / 5);
    }
}

/* The page under the code is another one. */
PIECE(call_it, "call *%rdi");

static void remapped(void)
{
    uint8_t *two[2] = {pages(1), pages(1)};
    uint64_t *entry = split(ALIAS);
    uint32_t good = 0;

    put_code(two[0], 0x1111);
    put_code(two[1], 0x2222);
    for (unsigned n = 0; n < count / 25; n++) {
        *entry = (uint64_t)two[n & 1] | 7;
        invlpg(ALIAS);
        RUN(call_it, ALIAS, n & 2 ? RING3 : RING0);
        good += DONE(call_it) && trap.rax == (n & 1 ? 0x2222 : 0x1111);
    }
    expect("right", good, count / 25);
}

/* A device writes code: the bytes that fw_cfg has as its signature, "QEMU", are instructions too.
 */
static void device(void)
{
    static volatile struct {
        uint32_t control, length;
        uint64_t address;
    } __attribute__((aligned(16))) dma;
    uint32_t good = 0;

    prepare();
    for (unsigned n = 0; n < count / 50; n++) {
        put_code(code, 0x12345678);
        good += call(code) == 0x12345678;
        dma.control = __builtin_bswap32(8 | 2);
        dma.length = __builtin_bswap32(4);
        dma.address = __builtin_bswap64((uint64_t)code + 1);
        outl(0x514, 0);
        outl(0x518, __builtin_bswap32((uint32_t)(uint64_t)&dma));
        good += call(code) == 0x554d4551;
    }
    expect("right", good, count / 50 * 2);
}

const struct part parts[] = {
    {"kernel", kernel},     {"user", user},     {"itself", itself},
    {"remapped", remapped}, {"device", device}, {NULL, NULL},
};
