/* Port I/O of every size and kind: the serial port's scratch register, fw_cfg, and ports without a
 * device. */
#include "tests/kvm/guest.h"

#define SCRATCH     0x3ff
#define FW_SELECT   0x510
#define FW_DATA     0x511
#define FW_DMA_HIGH 0x514
#define FW_DMA_LOW  0x518

enum {
    KEY_SIGNATURE = 0,
    KEY_ID = 1,
    KEY_RAM = 3,
    KEY_CPUS = 5,
    KEY_MAX_CPUS = 15,
    KEY_FILES = 25
};

/* ---- one by one ---------------------------------------------------------------------------- */

/* How many of `count` exits, which make `value` out of n, give what is wanted. */
#define TIMES(what, statement, want)           \
    do {                                       \
        uint32_t good_ = 0;                    \
        for (uint32_t n = 0; n < count; n++) { \
            uint32_t value;                    \
                                               \
            statement;                         \
            good_ += value == (want);          \
        }                                      \
        expect(what, good_, count);            \
    } while (0)

static void single(void)
{
    uint8_t byte;

    TIMES(
        "out and in, byte",
        {
            outb(SCRATCH, (uint8_t)n);
            value = inb(SCRATCH);
        },
        (uint8_t)n);
    TIMES("in word", value = inw(FW_DMA_HIGH), 0x4551);
    TIMES("in long", value = inl(FW_DMA_LOW), 0x47464320);
    TIMES(
        "out word",
        {
            outw(FW_SELECT, KEY_SIGNATURE);
            value = inb(FW_DATA);
        },
        'Q');
    TIMES(
        "out long",
        {
            outl(FW_DMA_HIGH, n);
            value = inl(FW_DMA_HIGH);
        },
        0x554d4551);
    TIMES("in with an immediate port", __asm__ volatile("in $0x80, %%al"
                                                        : "=a"(byte));
          value = byte, 0xff);
    TIMES(
        "ins byte",
        {
            void *to = &byte;

            outb(SCRATCH, (uint8_t)(n * 7));
            __asm__ volatile("insb" : "+D"(to) : "d"(SCRATCH) : "memory");
            value = byte;
        },
        (uint8_t)(n * 7));
    TIMES(
        "outs byte",
        {
            const void *from = &byte;

            byte = (uint8_t)(n * 5);
            __asm__ volatile("outsb" : "+S"(from) : "d"(SCRATCH) : "memory");
            value = inb(SCRATCH);
        },
        (uint8_t)(n * 5));
}

/* ---- strings ------------------------------------------------------------------------------- */

static uint8_t buffer[3 * 4096] __attribute__((aligned(4096)));

static bool all(const void *at, size_t n, uint8_t byte)
{
    const uint8_t *p = at;

    while (n && *p == byte) {
        p++;
        n--;
    }
    return !n;
}

#define INS(size, to, n, port)                                                         \
    ({                                                                                 \
        void *to_ = (to);                                                              \
        size_t n_ = (n);                                                               \
        __asm__ volatile("rep ins" size : "+D"(to_), "+c"(n_) : "d"(port) : "memory"); \
        (uint8_t *)to_;                                                                \
    })
#define OUTS(size, from, n, port)                                                         \
    ({                                                                                    \
        const void *from_ = (from);                                                       \
        size_t n_ = (n);                                                                  \
        __asm__ volatile("rep outs" size : "+S"(from_), "+c"(n_) : "d"(port) : "memory"); \
        (const uint8_t *)from_;                                                           \
    })

static void strings(void)
{
    uint8_t *end_of;
    uint16_t *words = (uint16_t *)buffer;
    uint32_t *longs = (uint32_t *)buffer;
    uint32_t good = 0;

    outb(SCRATCH, 0x5a);
    end_of = INS("b", buffer + 100, count, SCRATCH);
    check("rep insb", end_of == buffer + 100 + count && all(buffer + 100, count, 0x5a));
    check("none too many", !*end_of && !buffer[99]);
    end_of = INS("w", buffer, count / 2, FW_DMA_HIGH);
    for (unsigned i = 0; i < count / 2; i++) {
        good += words[i] == 0x4551;
    }
    expect("rep insw", good, count / 2);
    end_of = INS("l", buffer, count / 4, FW_DMA_LOW);
    good = 0;
    for (unsigned i = 0; i < count / 4; i++) {
        good += longs[i] == 0x47464320;
    }
    expect("rep insl", good, count / 4);
    check("rdi", end_of == buffer + count / 4 * 4);

    for (unsigned i = 0; i < sizeof(buffer); i++) {
        buffer[i] = (uint8_t)(i * 3 + 1);
    }
    OUTS("b", buffer, count, SCRATCH);
    expect("rep outsb", inb(SCRATCH), (uint8_t)((count - 1) * 3 + 1));
    for (unsigned i = 0; i < 100; i++) {
        words[i] = i == 99 ? KEY_SIGNATURE : KEY_FILES;
    }
    OUTS("w", words, 100, FW_SELECT);
    expect("rep outsw", inb(FW_DATA), 'Q');
    check("rep outsl", OUTS("l", buffer, 100, FW_DMA_HIGH) == buffer + 400);

    /* Downwards, none at all, and only one. */
    fill(buffer, 0, 16);
    outw(FW_SELECT, KEY_SIGNATURE);
    __asm__ volatile("std");
    end_of = INS("b", buffer + 8, 4, FW_DATA);
    __asm__ volatile("cld");
    check("downwards", end_of == buffer + 4 && !buffer[4] && buffer[5] == 'U' && buffer[6] == 'M' &&
                           buffer[7] == 'E' && buffer[8] == 'Q' && !buffer[9]);
    buffer[0] = 0x77;
    end_of = INS("b", buffer, 0, SCRATCH);
    check("none", end_of == buffer && buffer[0] == 0x77);
    outb(SCRATCH, 0x33);
    end_of = INS("b", buffer, 1, SCRATCH);
    check("one", end_of == buffer + 1 && buffer[0] == 0x33);
    outb(SCRATCH, 0x34);
    __asm__ volatile("mov %0, %%edi; addr32 insb" ::"r"((uint32_t)(uint64_t)buffer), "d"(SCRATCH)
                     : "rdi", "memory");
    expect("32-bit address", buffer[0], 0x34);

    /* Beginning and end in pages other than the middle. */
    outb(SCRATCH, 0xc3);
    fill(buffer, 0, sizeof(buffer));
    end_of = INS("b", buffer + 4000, 4400, SCRATCH);
    check("over pages", all(buffer + 4000, 4400, 0xc3) && !buffer[3999] && !buffer[8400]);
    outw(FW_SELECT, KEY_FILES);
    end_of = INS("b", buffer, 4, FW_DATA);
    check("files", !buffer[0] && !buffer[1] && (buffer[2] || buffer[3]));
    good = (uint32_t)buffer[2] << 8 | buffer[3];
    for (unsigned i = 0; i < good; i++) {
        INS("b", buffer, 64, FW_DATA);
        if (!buffer[8] || buffer[63]) {
            check("a file with a name", false);
        }
    }
    INS("b", buffer, 16, FW_DATA);
    check("nothing after them", all(buffer, 16, 0));
}

/* A page that is not there in the middle of a string. */
PIECE(ins_to, "mov $0x511, %edx; mov $12, %ecx; rep insb");
PIECE(outs_from, "mov $0x3ff, %edx; mov $12, %ecx; mov %rdi, %rsi; rep outsb");

static void faults(void)
{
    uint64_t at = (uint64_t)pages(2);
    uint64_t *entry = split(at + 4096);

    open_ports();
    for (unsigned ring = 0; ring < 4; ring += 3) {
        for (unsigned out = 0; out < 2; out++) {
            outb(SCRATCH, 0);
            outw(FW_SELECT, KEY_SIGNATURE);
            fill((void *)at, 0x11, 8192);
            *entry &= ~1ull;
            invlpg(at + 4096);
            RUN(out ? outs_from : ins_to, at + 4096 - 2, ring);
            *entry |= 1;
            invlpg(at + 4096);
            if (out) {
                EXPECT_TRAP("outs", outs_from, 14, ring ? 4 : 0);
            } else {
                EXPECT_TRAP("ins", ins_to, 14, ring ? 6 : 2);
            }
            expect("left", trap.rcx, 10);
            expect("at", (out ? trap.rsi : trap.rdi) - at, 4096);
            expect("CR2", trap.cr2 - at, 4096);
            if (out) {
                expect("written", inb(SCRATCH), 0x11);
            } else {
                check("read", read16(at + 4094) == 0x4551 && read8(at + 4096) == 0x11);
            }
        }
    }
    set_tss(tss, 103);
}

/* Many exits from ring 3. */
PIECE(many_bytes, "mov $0x3ff, %edx; mov $0x1234, %ebx; xor %esi, %esi\n"
                  "1: mov %edi, %eax; out %al, %dx; inc %eax; in %dx, %al\n"
                  "cmp %al, %dil; jne 2f; inc %esi\n"
                  "2: dec %edi; jnz 1b");
PIECE(many_longs, "mov $0x514, %edx; xor %esi, %esi\n"
                  "1: mov %edi, %eax; out %eax, %dx; in %dx, %eax\n"
                  "cmp $0x554d4551, %eax; jne 2f; inc %esi\n"
                  "2: dec %edi; jnz 1b");

static void user(void)
{
    open_ports();
    RUN(many_bytes, count, RING3);
    EXPECT_DONE("bytes", many_bytes);
    expect("right", trap.rsi, count);
    RUN(many_longs, count, RING3);
    EXPECT_DONE("longs", many_longs);
    expect("right", trap.rsi, count);
    set_tss(tss, 103);
}

/* ---- fw_cfg -------------------------------------------------------------------------------- */

static uint64_t item(unsigned key, unsigned n)
{
    uint64_t v = 0;

    outw(FW_SELECT, (uint16_t)key);
    for (unsigned i = 0; i < n; i++) {
        v |= (uint64_t)inb(FW_DATA) << i * 8;
    }
    return v;
}

static void fw_cfg(void)
{
    expect("signature", item(KEY_SIGNATURE, 4), 0x554d4551);
    expect("beyond its end", item(KEY_SIGNATURE, 8) >> 32, 0);
    expect("id", item(KEY_ID, 4), 3);
    say("RAM %lx\n", item(KEY_RAM, 8));
    say("processors %lx of %lx\n", item(KEY_CPUS, 2), item(KEY_MAX_CPUS, 2));
    expect("no such item", item(0x3fff, 4), 0);
    expect("no such item of the machine", item(0xbfff, 4), 0);
    outw(FW_SELECT, KEY_SIGNATURE);
    say("data as word: %x\n", inw(FW_DATA));
    outw(FW_SELECT, KEY_SIGNATURE);
    say("data as long: %x\n", inl(FW_DATA));
    say("selector read: %x\n", inw(FW_SELECT));
    outw(FW_SELECT, KEY_FILES);
    outb(FW_SELECT, KEY_SIGNATURE);
    say("selector as byte: %x\n", inb(FW_DATA));
    outw(FW_SELECT, KEY_SIGNATURE);
    outb(FW_DATA, 'x');
    expect("data written", item(KEY_SIGNATURE, 1), 'Q');
    expect("DMA register", inl(FW_DMA_HIGH), 0x554d4551);
    say("its middle: %x\n", inl(FW_DMA_HIGH + 2));
    say("its bytes: %x %x\n", inb(FW_DMA_HIGH + 1), inb(FW_DMA_LOW + 3));
}

static volatile struct {
    uint32_t control, length;
    uint64_t address;
} __attribute__((aligned(16))) dma;

enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };

static uint32_t transfer(uint32_t control, uint32_t length, uint64_t address)
{
    dma.control = __builtin_bswap32(control);
    dma.length = __builtin_bswap32(length);
    dma.address = __builtin_bswap64(address);
    outl(FW_DMA_HIGH, 0);
    outl(FW_DMA_LOW, __builtin_bswap32((uint32_t)(uint64_t)&dma));
    (void)WAIT_FOR(!(__builtin_bswap32(dma.control) & ~1u));
    return __builtin_bswap32(dma.control);
}

static void dma_transfers(void)
{
    uint32_t good = 0;

    for (uint32_t n = 0; n < count / 10; n++) {
        fill(buffer, 0xee, 8);
        good += !transfer(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_READ, 4, (uint64_t)buffer) &&
                read64((uint64_t)buffer) == 0xeeeeeeee554d4551;
    }
    expect("reads", good, count / 10);
    expect("beyond its end", transfer(DMA_READ, 4, (uint64_t)buffer), 0);
    expect("is zero", read64((uint64_t)buffer), 0xeeeeeeee00000000);
    expect("select", transfer(KEY_SIGNATURE << 16 | DMA_SELECT, 0, 0), 0);
    expect("skip", transfer(DMA_SKIP, 2, 0), 0);
    expect("read after it", transfer(DMA_READ, 2, (uint64_t)buffer), 0);
    expect("has", read16((uint64_t)buffer), 0x554d);
    say("write: %x\n", transfer(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_WRITE, 4, (uint64_t)buffer));
    expect("is without effect", item(KEY_SIGNATURE, 4), 0x554d4551);
    expect("nowhere", transfer(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_READ, 4, 1ull << 40), 1);
    expect("top of the addresses",
           transfer(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_READ, 4, ~0ull - 1), 1);
    (void)transfer(KEY_SIGNATURE << 16 | DMA_SELECT | DMA_READ, 4, 0xfec00000);
    outl(FW_DMA_HIGH, __builtin_bswap32(0x100));
    outl(FW_DMA_LOW, 0);
    outl(FW_DMA_HIGH, 0xffffffff);
    outl(FW_DMA_LOW, 0xffffffff);
    expect("still there after a request from nowhere", item(KEY_SIGNATURE, 4), 0x554d4551);
}

/* ---- ports without a device, and over the edge of one ---------------------------------------- */

static void holes(void)
{
    static const uint16_t ports[] = {0x0, 0x80, 0x92, 0x1f0, 0x378, 0x3c0, 0xcf8, 0x1000, 0xfffc};

    for (unsigned i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
        say("port %x: %x %x %x\n", ports[i], inb(ports[i]), inw(ports[i]), inl(ports[i]));
        outb(ports[i], 0x12);
        outw(ports[i], 0x1234);
        outl(ports[i], 0x12345678);
    }
    outb(SCRATCH, 0x44);
    say("last of a device and beyond: %x %x\n", inw(SCRATCH), inl(SCRATCH - 2) >> 16);
    say("before a device and in it: %x\n", inw(0x3f7) & 0xff);
    say("registers of a device: %x %x\n", inl(0x3f9), inw(0x3fb));
    outw(SCRATCH, 0xabcd);
    expect("written over the edge", inb(SCRATCH), 0xcd);
    outw(SCRATCH - 1, 0x5678);
    expect("written as a word", inb(SCRATCH), 0x56);
    say("last port: %x\n", inb(0xffff));
}

/* ---- permissions ----------------------------------------------------------------------------- */

PIECE(in_byte, "mov %edi, %edx; in %dx, %al");
PIECE(in_word, "mov %edi, %edx; in %dx, %ax");
PIECE(in_long, "mov %edi, %edx; in %dx, %eax");
PIECE(out_byte, "mov %edi, %edx; out %al, %dx");
PIECE(ins_byte, "mov %edi, %edx; mov %rsp, %rdi; sub $8, %rdi; insb");

static void one(const char *set, const char *what, const void *piece, const void *piece_end,
                uint16_t port, unsigned how, bool good)
{
    RUN(piece, port, how);
    say("%s: ", set);
    expect_trap(what, piece, piece_end, good ? -1 : 13, 0);
}

/* Bit n of `good`: the n-th is allowed. */
static void each(const char *what, unsigned how, unsigned good)
{
#define ONE(n, text, piece, port) one(what, text, piece, piece##_end, port, how, good >> (n)&1)
    ONE(0, "in byte", in_byte, SCRATCH);
    ONE(1, "in byte of the one before", in_byte, SCRATCH - 1);
    ONE(2, "in word from the one before", in_word, SCRATCH - 1);
    ONE(3, "in word", in_word, SCRATCH);
    ONE(4, "in long", in_long, SCRATCH);
    ONE(5, "out byte", out_byte, SCRATCH);
    ONE(6, "ins byte", ins_byte, SCRATCH);
#undef ONE
}

static void permissions(void)
{
    uint8_t *own;

    each("ring 3, IOPL 3", RING3 | HOW_IOPL, 0x7f);
    each("ring 3", RING3, 0);
    own = open_ports();
    fill(own + 104, 0xff, 8193);
    own[104 + SCRATCH / 8] &= ~(1 << SCRATCH % 8);
    each("ring 3, bitmap", RING3, 0x61);
    own[104 + SCRATCH / 8 + 1] = 0xf8;
    each("ring 3, larger bitmap", RING3, 0x79);
    set_tss(own, 104 + SCRATCH / 8); /* which the second byte of a port's check is beyond */
    each("ring 3, short bitmap", RING3, 0);
    set_tss(tss, 103);
}

const struct part parts[] = {
    {"single", single}, {"strings", strings},         {"faults", faults},
    {"user", user},     {"fw_cfg", fw_cfg},           {"dma", dma_transfers},
    {"holes", holes},   {"permissions", permissions}, {NULL, NULL},
};
