/*
 * PCI Express (-M pcie=on): configuration space by ECAM, base addresses, expansion ROMs, MSI-X and
 * INTx of a virtio entropy device. No firmware has assigned anything.
 */
#include "tests/kvm/irq.h"

#define ECAM   0xe0000000ul
#define MEMORY 0xc0000000ul /* for base addresses */

enum { /* configuration space */
       VENDOR = 0,
       COMMAND = 4,
       HEADER = 0xe,
       BAR0 = 0x10,
       ROM = 0x30,
       CAPABILITIES = 0x34,
       LINE = 0x3c,
};

static uint64_t config; /* of the function looked at */

static uint32_t get(unsigned reg)
{
    return read32(config + reg);
}

static void set(unsigned reg, uint32_t v)
{
    write32(config + reg, v);
}

static uint64_t function(unsigned bus, unsigned slot, unsigned n)
{
    return ECAM + ((uint64_t)bus << 20 | slot << 15 | n << 12);
}

static bool find(uint32_t id)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        config = function(0, slot, 0);
        if (get(VENDOR) == id) {
            return true;
        }
    }
    return false;
}

static void scan(void)
{
    uint32_t absent = 0;

    for (unsigned slot = 0; slot < 32; slot++) {
        for (unsigned n = 0; n < 8; n++) {
            config = function(0, slot, n);
            if (get(VENDOR) == 0xffffffff) {
                absent++;
                continue;
            }
            say("%x.%x: id %x class %x header %x subsystem %x\n", slot, n, get(VENDOR), get(8) >> 8,
                read8(config + HEADER), get(0x2c));
        }
    }
    say("absent: %d\n", absent);
    config = function(1, 0, 0);
    expect("another bus", get(VENDOR), 0xffffffff);
    config = function(255, 31, 7);
    expect("last function", get(VENDOR), 0xffffffff);
}

/* ---- an entropy device ----------------------------------------------------------------------- */

#define RNG 0x10441af4u /* or 0x10051af4 as transitional device */

static uint64_t bars[6], bar_sizes[6];

static bool find_rng(void)
{
    return find(RNG) || find(0x10051af4);
}

static void assign(void)
{
    uint64_t next = MEMORY;

    set(COMMAND, 0);
    for (unsigned i = 0; i < 6; i++) {
        unsigned reg = BAR0 + i * 4;
        uint32_t old = get(reg), low, high = 0;
        bool wide = (old & 7) == 4, io = old & 1;

        set(reg, 0xffffffff);
        low = get(reg);
        if (!low || io) {
            if (io) {
                say("BAR %d: ports\n", i);
                set(reg, old);
            }
            continue;
        }
        if (wide) {
            set(reg + 4, 0xffffffff);
            high = get(reg + 4);
        }
        bar_sizes[i] = wide ? ~((uint64_t)high << 32 | (low & ~15u)) + 1 : ~(low & ~15u) + 1;
        next = (next + bar_sizes[i] - 1) & ~(bar_sizes[i] - 1);
        bars[i] = next;
        next += bar_sizes[i] < 4096 ? 4096 : bar_sizes[i];
        say("BAR %d: size %lx flags %x\n", i, bar_sizes[i], low & 15);
        set(reg, (uint32_t)bars[i]);
        if (wide) {
            set(reg + 4, 0);
            i++;
        }
    }
    set(COMMAND, 6);
}

/* The n-th capability of this kind and, of vendor ones, type; 0 if there is none. */
static unsigned capability(unsigned id, unsigned type)
{
    unsigned at = get(CAPABILITIES) & 0xff;

    for (unsigned n = 0; at && n < 48; n++) {
        if ((get(at) & 0xff) == id && (id != 9 || (get(at) >> 24) == type)) {
            return at;
        }
        at = get(at) >> 8 & 0xff;
    }
    return 0;
}

static uint64_t region(unsigned type)
{
    unsigned at = capability(9, type);

    return at ? bars[get(at + 4) & 0xff] + get(at + 8) : 0;
}

static void config_space(void)
{
    uint32_t good = 0;

    if (!find_rng()) {
        say("no entropy device\n");
        return;
    }
    for (unsigned at = get(CAPABILITIES) & 0xff, n = 0; at && n < 48; n++) {
        say("capability %x at %x, %x\n", get(at) & 0xff, at, get(at) >> 16);
        at = get(at) >> 8 & 0xff;
    }
    for (uint32_t n = 0; n < count / 5; n++) {
        write8(config + LINE, (uint8_t)n);
        good += read8(config + LINE) == (uint8_t)n;
        write16(config + LINE, (uint16_t)(n ^ 0x55));
        good += (read32(config + LINE) & 0xff) == ((n ^ 0x55) & 0xff);
        good += read16(config + VENDOR) == 0x1af4;
    }
    expect("sizes", good, count / 5 * 3);
    set(VENDOR, 0);
    check("ids are fixed", read16(config + VENDOR) == 0x1af4);
    expect("64 bits", read64(config + VENDOR), (uint64_t)get(COMMAND) << 32 | get(VENDOR));
    say("extended: %x\n", get(0x100));
    assign();
    set(COMMAND, 0);
    say("memory off: %x\n", read32(bars[4]));
    set(COMMAND, 6);
    check("memory on", region(1) != 0);
}

/* ---- its interrupts -------------------------------------------------------------------------- */

static volatile uint32_t taken[2];
static uint64_t isr;

static void on_message(struct frame *frame)
{
    taken[frame->vector & 1]++;
    apic_eoi();
}

struct queue {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } descriptors[8];
    struct {
        uint16_t flags, index, ring[8];
    } avail;
    uint8_t space[4096 - 128 - 20];
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[8];
    } used;
};

static volatile struct queue *queue;
static uint64_t common, notify;

/* Brings the device up; its queue has this MSI-X vector. */
static void start(uint16_t vector)
{
    common = region(1);
    notify = region(2);
    isr = region(3);
    write8(common + 0x14, 0);
    write8(common + 0x14, 1);
    write8(common + 0x14, 3);
    write32(common + 8, 1);
    write32(common + 12, 1);
    write8(common + 0x14, 11);
    expect("status", read8(common + 0x14), 11);
    write16(common + 0x16, 0);
    write16(common + 0x18, 8);
    write16(common + 0x1a, vector);
    expect("vector", read16(common + 0x1a), vector);
    write32(common + 0x20, (uint32_t)(uint64_t)queue->descriptors);
    write32(common + 0x24, 0);
    write32(common + 0x28, (uint32_t)(uint64_t)&queue->avail);
    write32(common + 0x2c, 0);
    write32(common + 0x30, (uint32_t)(uint64_t)&queue->used);
    write32(common + 0x34, 0);
    write16(common + 0x1c, 1);
    write8(common + 0x14, 15);
}

static void request(void)
{
    queue->descriptors[0].address = (uint64_t)queue + 8192;
    queue->descriptors[0].length = 16;
    queue->descriptors[0].flags = 2;
    queue->avail.ring[queue->avail.index % 8] = 0;
    queue->avail.index++;
    write16(notify, 0);
}

static bool answered(void)
{
    return WAIT_FOR(queue->used.index == queue->avail.index);
}

static void prepare(void)
{
    apic_enable();
    handlers[0x70] = on_message;
    handlers[0x71] = on_message;
    taken[0] = taken[1] = 0;
    queue = pages(3);
    assign();
}

static void msix(void)
{
    unsigned at;
    uint64_t table, pending;
    uint32_t good = 0;

    if (!find_rng() || !(at = capability(0x11, 0))) {
        say("no MSI-X\n");
        return;
    }
    prepare();
    table = bars[get(at + 4) & 7] + (get(at + 4) & ~7u);
    pending = bars[get(at + 8) & 7] + (get(at + 8) & ~7u);
    say("entries: %d\n", (get(at) >> 16 & 0x7ff) + 1);
    expect("masked", read32(table + 12), 1);
    write32(table, 0xfee00000);
    write32(table + 4, 0);
    write32(table + 8, 0x70);
    write32(table + 12, 0);
    write32(table + 16, 0xfee00000);
    write32(table + 20, 0);
    write32(table + 24, 0x71);
    write32(table + 28, 0);
    expect("table", read64(table + 8), 0x70);
    set(at, get(at) | 1u << 31);
    start(1);
    sti();
    for (uint32_t n = 0; n < count / 5; n++) {
        request();
        good += answered() && WAIT_FOR(taken[1] == n + 1);
        if (good <= n) {
            break;
        }
    }
    cli();
    expect("messages", good, count / 5);
    expect("of the other vector", taken[0], 0);

    /* While masked it is pending, and comes afterwards. */
    write32(table + 28, 1);
    taken[1] = 0;
    sti();
    request();
    check("answered", answered());
    for (unsigned i = 0; i < 20; i++) {
        (void)inb(0x80);
    }
    expect("masked", taken[1], 0);
    expect("pending", read32(pending) & 2, 2);
    write32(table + 28, 0);
    check("unmasked", WAIT_FOR(taken[1] == 1));
    expect("pending", read32(pending) & 2, 0);
    set(at, get(at) | 1u << 30);
    request();
    check("answered", answered());
    for (unsigned i = 0; i < 20; i++) {
        (void)inb(0x80);
    }
    expect("all masked", taken[1], 1);
    set(at, get(at) & ~(1u << 30));
    check("unmasked", WAIT_FOR(taken[1] == 2));
    cli();

    /* Another vector, at once. */
    write32(table + 24, 0x70);
    taken[0] = 0;
    sti();
    request();
    check("message changed", WAIT_FOR(taken[0] == 1));
    cli();
    write8(common + 0x14, 0);
    set(at, get(at) & ~(1u << 31));
}

static volatile uint32_t lines, line_pin;

static void on_line(struct frame *frame)
{
    lines++;
    line_pin = (uint8_t)frame->vector - 0x50;
    (void)read8(isr); /* lowers it */
    apic_eoi();
}

/* INTA, through one of the IOAPIC's pins. */
static void line(void)
{
    uint32_t good = 0;

    if (!find_rng()) {
        say("no entropy device\n");
        return;
    }
    prepare();
    say("pin %x\n", get(LINE) >> 8 & 0xff);
    for (unsigned pin = 9; pin < 24; pin++) {
        handlers[0x50 + pin] = on_line;
        ioapic_route(pin, (0x50 + pin) | LEVEL, 0);
    }
    start(0xffff);
    sti();
    for (uint32_t n = 0; n < count / 5; n++) {
        uint32_t before = lines;

        request();
        good += answered() && WAIT_FOR(lines > before);
        if (good <= n) {
            break;
        }
    }
    cli();
    expect("interrupts", good, count / 5);
    say("IOAPIC's pin %d\n", line_pin);
    set(COMMAND, 0x406); /* INTx disabled */
    sti();
    for (unsigned i = 0; i < 20; i++) { /* what may still be on its way */
        (void)inb(0x80);
    }
    good = lines;
    request();
    check("answered", answered());
    for (unsigned i = 0; i < 20; i++) {
        (void)inb(0x80);
    }
    cli();
    expect("disabled", lines - good, 0);
    say("status: %x\n", get(COMMAND) >> 16 & 8);
    write8(common + 0x14, 0);
    for (unsigned pin = 9; pin < 24; pin++) {
        ioapic_route(pin, MASKED, 0);
    }
}

/* ---- memory that cannot be written ----------------------------------------------------------- */

/* The run gives a network device a ROM of its own: 55 aa, and then bytes that count. */
static void rom(void)
{
    const uint64_t at = MEMORY + 0x1000000;
    bool good = true;

    if (!find(0x10411af4) && !find(0x10001af4)) {
        say("no network device\n");
        return;
    }
    set(ROM, 0xfffff800);
    say("size %x\n", ~(get(ROM) & ~0x7ffu) + 1);
    set(ROM, (uint32_t)at | 1);
    set(COMMAND, 2);
    expect("signature", read16(at), 0xaa55);
    for (unsigned i = 2; i < 512; i++) {
        good &= read8(at + i) == (uint8_t)i;
    }
    check("content", good);
    for (uint32_t n = 0; n < count / 5; n++) {
        write32(at + 4 * (n & 127), ~read32(at + 4 * (n & 127)));
        write8(at + (n & 511), 0);
    }
    expect("signature", read16(at), 0xaa55);
    for (unsigned i = 2; i < 512; i++) {
        good &= read8(at + i) == (uint8_t)i;
    }
    check("content as before", good);
    __asm__ volatile("lock addl $1, (%0)" ::"r"(at) : "memory");
    expect("locked", read16(at), 0xaa55);
    set(ROM, (uint32_t)at);
    say("disabled: %x\n", read16(at));
}

const struct part parts[] = {
    {"scan", scan}, {"config", config_space}, {"msix", msix}, {"line", line}, {"rom", rom},
    {NULL, NULL},
};
