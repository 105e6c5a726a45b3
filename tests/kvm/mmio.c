/* Memory-mapped devices: instructions of many kinds, sizes, accesses over pages, and memory that is
 * not there or cannot be written. */
#include "tests/kvm/irq.h"

#define VIRTIO 0xfeb00000ul
#define SLOTS  24
#define MAGIC  0x74726976

/* How many of `count / share` give what is wanted. */
#define TIMES(what, share, statement, want)            \
    do {                                               \
        uint32_t good_ = 0;                            \
        for (uint32_t n = 0; n < count / share; n++) { \
            uint64_t value;                            \
                                                       \
            statement;                                 \
            good_ += value == (want);                  \
        }                                              \
        expect(what, good_, count / share);            \
    } while (0)

/* One that the monitor has even where the other is in the kernel. */
static uint64_t second = IOAPIC2;

/* ---- sizes --------------------------------------------------------------------------------- */

static void slots(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t at = VIRTIO + i * 512;
        uint32_t magic = read32(at), version = read32(at + 4), device = read32(at + 8);

        if (magic == MAGIC) {
            n++;
            if (device) {
                say("slot %d: version %d device %d vendor %x\n", i, version, device,
                    read32(at + 12));
            }
        }
    }
    say("%d slots\n", n);
    write32(IOAPIC2, 0x15);
    second = read32(IOAPIC2) == 0x15 ? IOAPIC2 : IOAPIC;
    say("second IOAPIC: %d\n", second == IOAPIC2);
}

static void sizes(void)
{
    TIMES("reads of 32 bits", 1, value = read32(VIRTIO), MAGIC);
    say("magic by bytes: %x %x %x %x\n", read8(VIRTIO), read8(VIRTIO + 1), read8(VIRTIO + 2),
        read8(VIRTIO + 3));
    say("by words: %x %x %x\n", read16(VIRTIO), read16(VIRTIO + 2), read16(VIRTIO + 1));
    say("long in the middle: %x %x\n", read32(VIRTIO + 1), read32(VIRTIO + 2));
    say("64 bits: %lx %lx\n", read64(VIRTIO), read64(VIRTIO + 4));
    TIMES(
        "writes and reads of 32 bits", 1,
        {
            write32(second, n & 63);
            value = read32(second);
        },
        (n & 63));
    TIMES(
        "the same of the other IOAPIC", 1,
        {
            write32(IOAPIC, n & 63);
            value = read32(IOAPIC);
        },
        (n & 63));
    TIMES(
        "writes and reads of 8 bits", 5,
        {
            write8(second, n & 63);
            value = read8(second);
        },
        (n & 63));
    TIMES(
        "writes and reads of 16 bits", 5,
        {
            write16(second, n & 63);
            value = read16(second);
        },
        (n & 63));
    TIMES(
        "writes of 64 bits", 5,
        {
            write64(second, n & 63);
            value = read32(second);
        },
        (n & 63));
}

/* ---- instructions -------------------------------------------------------------------------- */

static uint64_t window; /* an IOAPIC's data register, which shows entry 5: 32 bits, masked */

#define SET(v) write32(window, v)
#define GET()  read32(window)

/* The instruction works on (%[m]); `a` and `c` are rax and rcx before, and checked afterwards. */
#define INSN(what, before, a, c, after, a_after, c_after, text)                                 \
    do {                                                                                        \
        uint64_t a_ = (a), c_ = (c);                                                            \
        uint32_t register_;                                                                     \
                                                                                                \
        SET(before);                                                                            \
        __asm__ volatile(text                                                                   \
                         : "+a"(a_), "+c"(c_)                                                   \
                         : [m] "r"(window)                                                      \
                         : "memory", "cc", "rdx", "r8");                                        \
        register_ = GET();                                                                      \
        SET(0x10000);                                                                           \
        if (register_ == (after) && a_ == (uint64_t)(a_after) && c_ == (uint64_t)(c_after)) {   \
            good++;                                                                             \
        } else {                                                                                \
            say("%s: %x %lx %lx, NOT %x %lx %lx\n", what, register_, a_, c_, (uint32_t)(after), \
                (uint64_t)(a_after), (uint64_t)(c_after));                                      \
        }                                                                                       \
        total++;                                                                                \
    } while (0)

static unsigned good, total;

static void moves(void)
{
    uint8_t byte;
    uint16_t word;

    /* An IOAPIC in the monitor may have its own idea of these. */
    SET(0x100f3);
    byte = read8(window);
    SET(0x1a0f3);
    word = read16(window);
    say("byte %x, word %x\n", byte, word);
    INSN("mov to", 0x10000, 0x10022, 0, 0x10022, 0x10022, 0, "mov %%eax, (%[m])");
    INSN("mov from", 0x10033, -1, 0, 0x10033, 0x10033, 0, "mov (%[m]), %%eax");
    INSN("mov immediate", 0x10000, 0, 0, 0x100aa, 0, 0, "movl $0x100aa, (%[m])");
    INSN("movzx byte", 0x100f3, -1, 0, 0x100f3, byte, 0, "movzbl (%[m]), %%eax");
    INSN("movzx word", 0x1a0f3, -1, 0, 0x1a0f3, word, 0, "movzwl (%[m]), %%eax");
    INSN("movsx byte", 0x100f3, 0, 0, 0x100f3, (int8_t)byte, 0, "movsbq (%[m]), %%rax");
    INSN("movsx word", 0x1a0f3, 0, 0, 0x1a0f3, (int16_t)word, 0, "movswq (%[m]), %%rax");
    INSN("movsxd", 0x10033, -1, 0, 0x10033, 0x10033, 0, "movslq (%[m]), %%rax");
    INSN("cmov taken", 0x10033, 0, 0, 0x10033, 0x10033, 0, "xor %%edx, %%edx; cmovz (%[m]), %%eax");
    INSN("xchg", 0x10001, 0x10002, 0, 0x10002, 0x10001, 0, "xchg %%eax, (%[m])");
    INSN("push", 0x10044, 0, 0, 0x10044, 0x10044, 0,
         "lea -64(%%rsp), %%rsp; pushq (%[m]); pop %%rax; mov %%eax, %%eax; lea 64(%%rsp), %%rsp");
    INSN("pop", 0x10000, 0x10055, 0, 0x10055, 0x10055, 0,
         "lea -64(%%rsp), %%rsp; push %%rax; popq (%[m]); lea 64(%%rsp), %%rsp");
    INSN("lods", 0x10066, 0, 0, 0x10066, 0x10066, 0,
         "push %%rsi; mov %[m], %%rsi; lodsl; pop %%rsi");
    INSN("stos", 0x10000, 0x10077, 0, 0x10077, 0x10077, 0,
         "push %%rdi; mov %[m], %%rdi; stosl; pop %%rdi");
    INSN("rep lods", 0x10066, 0, 1, 0x10066, 0x10066, 0,
         "push %%rsi; mov %[m], %%rsi; rep lodsl; pop %%rsi");
    INSN("rep stos", 0x10000, 0x10077, 1, 0x10077, 0x10077, 0,
         "push %%rdi; mov %[m], %%rdi; rep stosl; pop %%rdi");
    INSN("movs from", 0x10088, 0, 0, 0x10088, 0x10088, 0,
         "push %%rsi; push %%rdi; push %%rax; mov %[m], %%rsi; mov %%rsp, %%rdi; movsl; pop %%rax; "
         "pop %%rdi; pop %%rsi");
    INSN("movs to", 0x10000, 0x10099, 0, 0x10099, 0x10099, 0,
         "push %%rsi; push %%rdi; push %%rax; mov %[m], %%rdi; mov %%rsp, %%rsi; movsl; pop %%rax; "
         "pop %%rdi; pop %%rsi");
    INSN("movs within", 0x100cc, 0, 0, 0x100cc, 0, 0,
         "push %%rsi; push %%rdi; mov %[m], %%rsi; mov %[m], %%rdi; movsl; pop %%rdi; pop %%rsi");
    INSN("scas equal", 0x10066, 0x10066, 0, 0x10066, 0x10066, 1,
         "push %%rdi; mov %[m], %%rdi; scasl; setz %%cl; pop %%rdi");
    INSN("cmps equal", 0x10066, 0x10066, 0, 0x10066, 0x10066, 1,
         "push %%rsi; push %%rdi; push %%rax; mov %[m], %%rsi; mov %%rsp, %%rdi; cmpsl; setz %%cl; "
         "pop %%rax; pop %%rdi; pop %%rsi");
    INSN("movnti", 0x10000, 0x10021, 0, 0x10021, 0x10021, 0, "movnti %%eax, (%[m])");
}

static void arithmetic(void)
{
    INSN("add to", 0x10001, 0x20, 0, 0x10021, 0x20, 0, "add %%eax, (%[m])");
    INSN("add from", 0x10001, 0x20, 0, 0x10001, 0x10021, 0, "add (%[m]), %%eax");
    INSN("add immediate", 0x10001, 0, 0, 0x10005, 0, 0, "addl $4, (%[m])");
    INSN("adc", 0x10001, 1, 0, 0x10003, 1, 0, "stc; adc %%eax, (%[m])");
    INSN("sbb", 0x10009, 1, 0, 0x10007, 1, 0, "stc; sbb %%eax, (%[m])");
    INSN("sub", 0x10009, 3, 0, 0x10006, 3, 0, "sub %%eax, (%[m])");
    INSN("and", 0x100ff, 0x10f0f, 0, 0x1000f, 0x10f0f, 0, "and %%eax, (%[m])");
    INSN("or", 0x100f0, 0xf, 0, 0x100ff, 0xf, 0, "or %%eax, (%[m])");
    INSN("xor", 0x100f0, 0xff, 0, 0x1000f, 0xff, 0, "xor %%eax, (%[m])");
    INSN("cmp equal", 0x10033, 0x10033, 0, 0x10033, 0x10033, 1, "cmp %%eax, (%[m]); setz %%cl");
    INSN("cmp below", 0x10033, 0x10032, 0, 0x10033, 0x10032, 1, "cmp (%[m]), %%eax; setb %%cl");
    INSN("test", 0x10033, 0x4, 0, 0x10033, 4, 1, "test %%eax, (%[m]); setz %%cl");
    INSN("inc", 0x10007, 0, 0, 0x10008, 0, 0, "incl (%[m])");
    INSN("dec", 0x10007, 0, 0, 0x10006, 0, 0, "decl (%[m])");
    INSN("neg", 0xfffefff0, 0, 0, 0x10010, 0, 0,
         "movl $0x1ff0, %%edx; negl (%[m]); andl $0x10fff, (%[m])");
    INSN("not", 0x10000, 0, 0, 0x10000, 0, 0, "notl (%[m]); movl $0x10000, (%[m])");
    INSN("shl", 0x10001, 0, 3, 0x80008 & 0x7ffff, 0, 3, "shll %%cl, (%[m]); andl $0x7ffff, (%[m])");
    INSN("ror", 0x10002, 0, 0, 0x8001, 0, 0, "rorl $1, (%[m])");
    INSN("imul", 0x10001, 2, 0, 0x10001, 0x20002, 0, "imul (%[m]), %%eax");
    INSN("mul", 0x10001, 2, 0, 0x10001, 0x20002, 0, "mull (%[m])");
    INSN("div", 0x10000, 0x20001, 0, 0x10000, 2, 1,
         "xor %%edx, %%edx; divl (%[m]); mov %%edx, %%ecx");
    INSN("bt", 0x10008, 3, 0, 0x10008, 3, 1, "btl $3, (%[m]); setc %%cl");
    INSN("bts", 0x10000, 3, 0, 0x10008, 3, 0, "btsl $3, (%[m]); setc %%cl");
    INSN("btr", 0x10008, 3, 0, 0x10000, 3, 1, "btrl $3, (%[m]); setc %%cl");
    INSN("btc by register", 0x10008, 3, 0, 0x10000, 3, 1, "btcl %%eax, (%[m]); setc %%cl");
    INSN("bsf", 0x10000, 0, 0, 0x10000, 16, 0, "bsfl (%[m]), %%eax");
    INSN("xadd", 0x10001, 2, 0, 0x10003, 0x10001, 0, "xadd %%eax, (%[m])");
    INSN("cmpxchg equal", 0x10001, 0x10001, 0x10077, 0x10077, 0x10001, 0x10077,
         "cmpxchg %%ecx, (%[m])");
    INSN("cmpxchg other", 0x10001, 0x10002, 0x10077, 0x10001, 0x10001, 0x10077,
         "cmpxchg %%ecx, (%[m])");
}

static void locked(void)
{
    INSN("lock add", 0x10001, 0x20, 0, 0x10021, 0x20, 0, "lock add %%eax, (%[m])");
    INSN("lock or", 0x10001, 0x20, 0, 0x10021, 0x20, 0, "lock or %%eax, (%[m])");
    INSN("lock inc", 0x10001, 0, 0, 0x10002, 0, 0, "lock incl (%[m])");
    INSN("lock bts", 0x10001, 0, 0, 0x10081, 0, 0, "lock btsl $7, (%[m])");
    INSN("lock xadd", 0x10001, 2, 0, 0x10003, 0x10001, 0, "lock xadd %%eax, (%[m])");
    INSN("lock cmpxchg", 0x10001, 0x10001, 0x10077, 0x10077, 0x10001, 0x10077,
         "lock cmpxchg %%ecx, (%[m])");
}

static void instructions(uint64_t ioapic)
{
    window = ioapic + 0x10;
    write32(ioapic, 0x10 + 2 * 5);
    good = total = 0;
    moves();
    expect("moves", good, total);
    good = total = 0;
    arithmetic();
    expect("arithmetic", good, total);
    good = total = 0;
    locked();
    expect("locked", good, total);
}

static void insns_kernel(void)
{
    instructions(IOAPIC);
    instructions(second);
}

static void in_ring3(void)
{
    instructions(window - 0x10);
    leave();
}

static void insns_user(void)
{
    open_ports();
    window = second + 0x10;
    RUN(in_ring3, 0, RING3);
    check("to the end", trap.vector == 6 && trap.rip == (uint64_t)leave);
    set_tss(tss, 103);
}

/* ---- long strings, and 16 bytes ------------------------------------------------------------ */

static void strings(void)
{
    uint8_t *buffer = pages(1);
    void *to = buffer;
    const void *from = (const void *)(VIRTIO + 0x100);
    size_t n = 64;
    bool same = true;

    fill(buffer, 0x55, 4096);
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    for (unsigned i = 0; i < 64; i++) {
        same &= read32((uint64_t)buffer + i * 4) == read32(VIRTIO + 0x100 + i * 4);
    }
    check("rep movsl from a device",
          same && (uint64_t)to == (uint64_t)buffer + 256 && (uint64_t)from == VIRTIO + 0x200);
    to = (void *)(VIRTIO + 0x100);
    from = buffer;
    n = 256;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
    check("rep movsb to one", (uint64_t)to == VIRTIO + 0x200 && !n);
    to = (void *)(VIRTIO + 0x100);
    n = 128;
    __asm__ volatile("rep stosw" : "+D"(to), "+c"(n) : "a"(0) : "memory");
    check("rep stosw", (uint64_t)to == VIRTIO + 0x200 && !n);
    to = (void *)(VIRTIO + 0x200);
    n = 16;
    __asm__ volatile("repne scasl" : "+D"(to), "+c"(n) : "a"(MAGIC) : "memory", "cc");
    check("repne scasl", (uint64_t)to == VIRTIO + 0x204 && n == 15);
}

static void sse(void)
{
    uint64_t two[2] = {0x1111222233334444, 0x5555666677778888};

    __asm__ volatile("movups (%1), %%xmm0; movups %%xmm0, (%0)" ::"r"(two), "r"(VIRTIO) : "memory");
    say("movups from: %lx %lx\n", two[0], two[1]);
    expect("as by halves", two[0] == read64(VIRTIO) && two[1] == read64(VIRTIO + 8), 1);
    two[0] = 0x11;
    two[1] = 0;
    __asm__ volatile("movups (%0), %%xmm0; movups %%xmm0, (%1)" ::"r"(two), "r"(second) : "memory");
    expect("movups to", read32(second), 0x11);
}

/* ---- over pages ---------------------------------------------------------------------------- */

#define VIRTUAL 0x40000000ul /* two pages, remapped */

static void map_two(uint64_t first, uint64_t second)
{
    *split(VIRTUAL) = first | 7;
    *split(VIRTUAL + 4096) = second | 7;
    invlpg(VIRTUAL);
    invlpg(VIRTUAL + 4096);
}

static void crossing(void)
{
    uint64_t ram = (uint64_t)pages(2);
    const uint64_t edge = VIRTUAL + 4096;

    fill((void *)ram, 0xa1, 4096);
    map_two(ram, VIRTIO);
    expect("64 bits, RAM and device", read64(edge - 4), (uint64_t)MAGIC << 32 | 0xa1a1a1a1);
    say("32 bits: %x %x %x\n", read32(edge - 1), read32(edge - 2), read32(edge - 3));
    say("64 bits: %lx %lx\n", read64(edge - 1), read64(edge - 6));
    map_two(ram, second);
    write64(edge - 4, 0x0000001712345678);
    expect("written, RAM", read32(ram + 4092), 0x12345678);
    expect("and device", read32(second), 0x17);
    __asm__ volatile("xchg %0, (%1)" : "+r"(ram) : "r"(edge - 4) : "memory");
    expect("xchg, what there was", ram, 0x0000001712345678);
    ram = read32((edge - 4)) | (uint64_t)read32(edge) << 32;
    say("and the device's part: %lx\n", ram >> 32);
    ram = (uint64_t)pages(1);
    fill((void *)ram, 0xb2, 4096);
    map_two(VIRTIO + 0x1000, ram);
    say("device and RAM: %lx %x\n", read64(edge - 4), read32(edge - 2));
    write64(edge - 4, 0x9999999988888888);
    expect("written, RAM", read32(ram), 0x99999999);
    map_two(VIRTIO + 0x1000, VIRTIO);
    expect("two devices", read64(edge - 4) >> 32, MAGIC);
    map_two(ram, ram);
    *split(edge) = 0;
    invlpg(edge);
    map_two(VIRTUAL, edge);
}

PIECE(load_over, "mov -4(%rdi), %rax");
PIECE(store_over, "mov %rax, -4(%rdi)");

/* One half is a device, the other is not mapped: nothing may reach the device. */
static void crossing_fault(void)
{
    const uint64_t edge = VIRTUAL + 4096;

    for (unsigned ring = 0; ring < 4; ring += 3) {
        write32(second, 0x11);
        *split(VIRTUAL) = 0;
        *split(edge) = second | 7;
        invlpg(VIRTUAL);
        invlpg(edge);
        RUN(load_over, edge, ring);
        EXPECT_TRAP("load", load_over, 14, ring ? 4 : 0);
        expect("CR2", trap.cr2, edge - 4);
        RUN(store_over, edge, ring);
        EXPECT_TRAP("store", store_over, 14, ring ? 6 : 2);
        expect("the device's register", read32(second), 0x11);
        map_two(second, 0);
        *split(edge) = 0;
        invlpg(edge);
        RUN(store_over, edge, ring);
        EXPECT_TRAP("store", store_over, 14, ring ? 6 : 2);
        expect("CR2", trap.cr2, edge);
    }
}

/* ---- holes, and memory that cannot be written ------------------------------------------------ */

static void holes(void)
{
    static const uint64_t places[] = {0xd0000000, 0xfea10000, 0xfeb03000, 0xfec08000,
                                      0xfed00000, 0xfee01000, 0xff000000, 0x138000000};

    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
        uint64_t at = places[i];

        say("%lx: %x %x %x %lx\n", at, read8(at), read16(at), read32(at), read64(at));
        write8(at, 1);
        write16(at, 2);
        write32(at, 3);
        write64(at, 4);
        expect("written", read64(at + 8), read64(at));
    }
    TIMES("reads of nothing", 5, value = read32(0xfea10000), read32(0xfea10004));
}

/* Where firmware would be. QEMU's machine has RAM there. */
static void firmware(void)
{
    uint64_t before = read64(0xfffffff0);

    write64(0xfffffff0, ~before);
    say("firmware can be written: %x\n", read64(0xfffffff0) == ~before);
    write64(0xfffffff0, before);
    expect("as before", read64(0xfffffff0) == before, 1);
}

const struct part parts[] = {
    {"slots", slots},
    {"sizes", sizes},
    {"instructions", insns_kernel},
    {"user", insns_user},
    {"strings", strings},
    {"sse", sse},
    {"crossing", crossing},
    {"crossing-fault", crossing_fault},
    {"holes", holes},
    {"firmware", firmware},
    {NULL, NULL},
};
