/*
 * Accesses that no driver makes, and interrupts that nobody acknowledges. The guest itself goes on,
 * and what behaves well still works: after each part there is a look at the devices.
 */
#include "tests/kvm/irq.h"

#define VIRTIO 0xfeb00000ul
#define SLOTS  24

/* Always the same sequence: xorshift, 64 bits. */
static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static volatile uint32_t ticks;

static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    apic_eoi();
}

/* Serial port, fw_cfg, a virtio register, a timer and its interrupt. */
static void look(void)
{
    bool good;

    outb(0x3f9, 0);
    outb(0x3fb, 3);
    outb(0x3fc, 0);
    outb(0x3fa, 7);
    outb(0x3ff, 0x5a);
    good = inb(0x3ff) == 0x5a;
    outw(0x510, 0);
    good &= inb(0x511) == 'Q' && read32(VIRTIO) == 0x74726976;
    apic_enable();
    handlers[0x50] = on_tick;
    ticks = 0;
    apic_write(APIC_TIMER_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, 0x50);
    apic_write(APIC_TIMER_INITIAL, 10000);
    sti();
    good &= WAIT_FOR(ticks == 1);
    cli();
    apic_write(APIC_LVT_TIMER, MASKED);
    check("all well", good);
}

/* ---- ports --------------------------------------------------------------------------------- */

/* What ends, resets, or prints; QEMU's 7e and 7f are its own firmware's, for patching guests. */
static bool spared(unsigned port)
{
    return (port >= 0xf1 && port < 0xf8) || (port >= 0x3f5 && port < 0x400) ||
           (port >= 0x7b && port < 0x80) || port >= 0xfffd;
}

static void access_port(unsigned port, unsigned kind)
{
    uint32_t v = (uint32_t)draw();

    if (kind == 0) {
        (void)inb((uint16_t)port);
    } else if (kind == 1) {
        (void)inw((uint16_t)port);
    } else if (kind == 2) {
        (void)inl((uint16_t)port);
    } else if (kind == 3) {
        outb((uint16_t)port, (uint8_t)v);
    } else if (kind == 4) {
        outw((uint16_t)port, (uint16_t)v);
    } else {
        outl((uint16_t)port, v);
    }
}

/* All of the low ones, in each size, and as many again from all over. */
static void ports(void)
{
    for (unsigned port = 0; port < 0x600; port++) {
        for (unsigned kind = 0; kind < 6; kind++) {
            if (!spared(port)) {
                access_port(port, kind);
            }
        }
    }
    look();
    for (unsigned n = 0; n < count; n++) {
        unsigned port = draw() & 0xffff, kind = draw() % 6;

        if (!spared(port)) {
            access_port(port, kind);
        }
    }
    look();
}

/* ---- memory -------------------------------------------------------------------------------- */

#define WINDOW 0x40000000ul /* two pages, mapped to here and there */

static void map_window(uint64_t physical)
{
    *split(WINDOW) = (physical & 0xffffffffff000) | 7;
    *split(WINDOW + 4096) = ((physical + 4096) & 0xffffffffff000) | 7;
    invlpg(WINDOW);
    invlpg(WINDOW + 4096);
}

static void access_memory(uint64_t at, unsigned kind)
{
    uint64_t v = draw();

    switch (kind) {
    case 0:
        (void)read8(at);
        break;
    case 1:
        (void)read16(at);
        break;
    case 2:
        (void)read32(at);
        break;
    case 3:
        (void)read64(at);
        break;
    case 4:
        write8(at, (uint8_t)v);
        break;
    case 5:
        write16(at, (uint16_t)v);
        break;
    case 6:
        write32(at, (uint32_t)v);
        break;
    default:
        write64(at, v);
    }
}

/* Above 4 GiB, and between RAM and the devices: there is nothing. */
static void memory(void)
{
    for (unsigned n = 0; n < count / 2; n++) {
        uint64_t physical = draw();

        physical =
            n & 1 ? 0xd0000000 + (physical & 0xfffffff) : 0x200000000 + (physical & 0x7fffffffff);
        map_window(physical);
        access_memory(WINDOW + (physical & 0xfff), draw() & 7);
    }
    look();
}

/* Registers of all virtio transports, at any offset and in any size; then all are reset. */
static void virtio(void)
{
    for (unsigned n = 0; n < count; n++) {
        access_memory(VIRTIO + draw() % (SLOTS * 512 - 8), draw() & 7);
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        write32(VIRTIO + i * 512 + 0x70, 0);
    }
    look();
}

/* The interrupt controllers, but for what would end this processor: their entries stay masked. */
static void controllers(void)
{
    for (unsigned n = 0; n < count / 5; n++) {
        uint64_t ioapic = draw() & 1 ? IOAPIC : IOAPIC2;

        access_memory(ioapic + (draw() & 0xff0) + 0x20, draw() & 7);
        write32(ioapic, (uint32_t)draw() & 0xff);
        (void)read32(ioapic + 0x10);
        write32(ioapic + 0x40, (uint32_t)draw());
        (void)read32(APIC + (draw() & 0xff0));
    }
    if (pic_there()) {
        for (unsigned n = 0; n < count / 5; n++) {
            outb(draw() & 1 ? 0x20 : 0xa0, (uint8_t)draw());
            outb(draw() & 1 ? 0x21 : 0xa1, (uint8_t)draw());
            (void)inb(draw() & 1 ? 0x20 : 0xa1);
        }
        pic_init();
    }
    for (unsigned n = 0; n < count / 5; n++) {
        outb(0x40 + (draw() & 3), (uint8_t)draw());
        (void)inb(0x40 + (draw() & 3));
    }
    if (pit_there()) {
        pit_start(0, 0xffff);
    }
    look();
}

/* ---- interrupts ---------------------------------------------------------------------------- */

static volatile uint32_t storm;

/* A level that stays: taken again after each EOI. The interrupted code must get on nevertheless. */
static void on_storm(struct frame *frame)
{
    (void)frame;
    if (++storm == count / 5) {
        com1_drop();
    }
    apic_eoi();
}

static void level_storm(void)
{
    uint32_t progress = 0;

    apic_enable();
    handlers[0x54] = on_storm;
    ioapic_route(4, 0x54 | LEVEL, 0);
    storm = 0;
    com1_raise();
    sti();
    while (storm < count / 5 && progress < 10000000) {
        progress++;
        (void)inb(0x80);
    }
    cli();
    com1_lower();
    ioapic_route(4, MASKED, 0);
    check("storm", storm >= count / 5);
    look();
}

/* The shortest period that there is, or less. */
static void timer_storm(void)
{
    apic_enable();
    handlers[0x50] = on_tick;
    apic_write(APIC_TIMER_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, 0x50 | PERIODIC);
    ticks = 0;
    apic_write(APIC_TIMER_INITIAL, 1);
    sti();
    for (unsigned i = 0; i < 2000; i++) {
        (void)inb(0x80);
    }
    check("ticks", WAIT_FOR(ticks > 10));
    apic_write(APIC_TIMER_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, MASKED);
    cli();
    look();
}

static void pit_storm(void)
{
    if (!pit_there() || !pic_there()) {
        say("no PIT or no PIC\n");
        return;
    }
    apic_enable();
    handlers[0x52] = on_tick;
    handlers[0x50] = on_tick;
    ioapic_route(0, 0x50, 0);
    ioapic_route(2, 0x52, 0);
    ticks = 0;
    pit_start(2, 2);
    sti();
    for (unsigned i = 0; i < 2000; i++) {
        (void)inb(0x80);
    }
    check("ticks", WAIT_FOR(ticks > 10));
    pit_start(0, 0xffff);
    cli();
    ioapic_route(0, MASKED, 0);
    ioapic_route(2, MASKED, 0);
    look();
}

/* Interrupts to processors that do not exist, of every kind. */
static void ipis(void)
{
    static const uint32_t kinds[] = {DELIVER_FIXED, DELIVER_LOWEST, DELIVER_NMI, DELIVER_INIT,
                                     DELIVER_SIPI,  2 << 8,         3 << 8,      7 << 8};

    apic_enable();
    handlers[0x61] = on_tick;
    for (unsigned n = 0; n < count / 5; n++) {
        uint32_t how =
            kinds[draw() & 7] | 0x61 | (draw() & 1 ? LEVEL_ASSERT : 0) | (draw() & 1 ? LEVEL : 0);

        apic_send(0x40 + (draw() & 0x3f), how); /* physical: 64 to 127 */
    }
    look();
}

/* ---- MSRs ---------------------------------------------------------------------------------- */

PIECE(read_msr, "mov %edi, %ecx\nrdmsr");

static void msrs(void)
{
    static const uint32_t starts[] = {0,          0x400,      0x800,     0xc0000080,
                                      0xc0010000, 0x4b564d00, 0x40000000};
    unsigned other = 0;

    for (unsigned i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
        for (uint32_t msr = starts[i]; msr < starts[i] + 128; msr++) {
            RUN(read_msr, msr, RING0);
            other += !DONE(read_msr) && trap.vector != 13;
        }
    }
    expect("neither there nor #GP", other, 0);
    look();
}

const struct part parts[] = {
    {"ports", ports},
    {"memory", memory},
    {"virtio", virtio},
    {"controllers", controllers},
    {"level-storm", level_storm},
    {"timer-storm", timer_storm},
    {"pit-storm", pit_storm},
    {"ipis", ipis},
    {"msrs", msrs},
    {NULL, NULL},
};
