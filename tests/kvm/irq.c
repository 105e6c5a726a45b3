/* Interrupts through PIC and IOAPIC, edges and levels. */
#include "tests/kvm/counts.h"

enum { VECTOR_PIC = 0x20, VECTOR_EDGE = 0x44, VECTOR_LEVEL = 0x54 };

static volatile unsigned leave_raised; /* how often the level handler leaves the line as it is */

/* ---- PIC ----------------------------------------------------------------------------------- */

static void on_pic(struct frame *frame)
{
    unsigned line = (uint8_t)frame->vector - VECTOR_PIC;

    note(frame);
    if (line == 4) {
        (void)inb(0x3fa);
        com1_drop();
    }
    pic_eoi(line);
}

static void on_pic_level(struct frame *frame)
{
    note(frame);
    if (leave_raised) {
        leave_raised--;
    } else {
        com1_drop();
    }
    pic_eoi(4);
}

static void on_pic_no_eoi(struct frame *frame)
{
    note(frame);
}

static uint8_t pic_read(unsigned what)
{
    outb(0x20, what);
    return inb(0x20);
}

static void pic(void)
{
    if (!pic_there()) {
        say("no PIC\n");
        return;
    }
    pic_init();
    apic_enable();
    apic_write(APIC_LVT_LINT0, DELIVER_EXTINT);
    for (unsigned line = 0; line < 16; line++) {
        handlers[VECTOR_PIC + line] = on_pic;
    }
    outb(0x21, 0xef);
    many("edges", VECTOR_PIC + 4, count, com1_raise);

    reset_counts();
    outb(0x21, 0xff);
    com1_raise();
    sti();
    a_while();
    expect("masked", counts[VECTOR_PIC + 4], 0);
    expect("IRR while masked", pic_read(0x0a) & 0x10, 0x10);
    outb(0x21, 0xef);
    check("taken when unmasked", WAIT_FOR(counts[VECTOR_PIC + 4]));
    expect("ISR afterwards", pic_read(0x0b), 0);
    settle();

    /* Nothing more from this line while it is in service; after the EOI there is. */
    reset_counts();
    handlers[VECTOR_PIC + 4] = on_pic_no_eoi;
    com1_raise();
    sti();
    check("taken", WAIT_FOR(counts[VECTOR_PIC + 4]));
    expect("ISR", pic_read(0x0b), 0x10);
    com1_lower();
    com1_raise();
    a_while();
    expect("taken before EOI", counts[VECTOR_PIC + 4], 1);
    handlers[VECTOR_PIC + 4] = on_pic;
    pic_eoi(4);
    check("again after EOI", WAIT_FOR(counts[VECTOR_PIC + 4] == 2));
    settle();

    /* Level: comes again until the line has fallen. */
    outb(0x4d0, 0x10);
    expect("ELCR", inb(0x4d0), 0x10);
    reset_counts();
    leave_raised = 3;
    handlers[VECTOR_PIC + 4] = on_pic_level;
    com1_raise();
    sti();
    check("level, four times", WAIT_FOR(counts[VECTOR_PIC + 4] == 4));
    a_while();
    settle();
    expect("and no more", counts[VECTOR_PIC + 4], 4);
    outb(0x4d0, 0);
    handlers[VECTOR_PIC + 4] = on_pic;

    /* Automatic EOI, and other vectors. */
    outb(0x20, 0x11);
    outb(0x21, 0x90);
    outb(0x21, 4);
    outb(0x21, 3);
    outb(0x21, 0xef);
    handlers[0x94] = on_pic_no_eoi;
    reset_counts();
    com1_raise();
    sti();
    check("automatic EOI", WAIT_FOR(counts[0x94] == 1));
    com1_lower();
    expect("ISR", pic_read(0x0b), 0);
    com1_raise();
    check("and again", WAIT_FOR(counts[0x94] == 2));
    settle();
    pic_init();

    /* The other way: through the IOAPIC as external interrupt. */
    apic_write(APIC_LVT_LINT0, MASKED);
    outb(0x21, 0xef);
    reset_counts();
    com1_raise();
    sti();
    a_while();
    settle();
    expect("LINT0 masked", counts[VECTOR_PIC + 4], 0);
    apic_write(APIC_LVT_LINT0, DELIVER_EXTINT);
    sti();
    check("LINT0 open", WAIT_FOR(counts[VECTOR_PIC + 4]));
    settle();
    pic_init();
    apic_write(APIC_LVT_LINT0, MASKED);
    com1_lower();
}

static void priorities(void)
{
    if (!pic_there() || !pit_there()) {
        say("no PIC or no PIT\n");
        return;
    }
    pic_init();
    apic_write(APIC_LVT_LINT0, DELIVER_EXTINT);
    reset_counts();
    pit_start(0, 10);
    com1_raise();
    outb(0x21, 0xee);
    check("both pending", WAIT_FOR(pic_read(0x0a) == 0x11));
    sti();
    a_while();
    settle();
    expect_order("PIC", 0x2024);
    outb(0x20, 0xc3); /* line 3 is now the lowest */
    reset_counts();
    outb(0x21, 0xff);
    pit_start(0, 10);
    com1_raise();
    check("both pending", WAIT_FOR(pic_read(0x0a) == 0x11));
    outb(0x21, 0xee);
    sti();
    a_while();
    settle();
    expect_order("rotated", 0x2420);
    pic_init();
    apic_write(APIC_LVT_LINT0, MASKED);
}

/* ---- IOAPIC -------------------------------------------------------------------------------- */

static void on_edge(struct frame *frame)
{
    note(frame);
    (void)inb(0x3fa);
    com1_drop();
    apic_eoi();
}

static void on_edge_raised(struct frame *frame)
{
    note(frame);
    apic_eoi();
}

static volatile uint32_t entry_in_service;
static volatile bool tmr_in_service;

static void on_level(struct frame *frame)
{
    note(frame);
    entry_in_service = ioapic_read(0x10 + 4 * 2);
    tmr_in_service = apic_bit(APIC_TMR, VECTOR_LEVEL);
    if (leave_raised) {
        leave_raised--;
    } else {
        com1_drop();
    }
    apic_eoi();
}

static void on_level_no_eoi(struct frame *frame)
{
    note(frame);
}

static void ioapic(void)
{
    apic_enable();
    handlers[VECTOR_EDGE] = on_edge;
    handlers[VECTOR_LEVEL] = on_level;
    expect("pins", (ioapic_read(1) >> 16 & 0xff) + 1, 24);
    say("version %x\n", ioapic_read(1) & 0xff);
    ioapic_write(0x10 + 2 * 4, 0xffffffff);
    say("entry, all ones: %x\n", ioapic_read(0x10 + 2 * 4));
    ioapic_write(0x11 + 2 * 4, 0xffffffff);
    expect("upper half", ioapic_read(0x11 + 2 * 4) >> 24, 0xff);
    ioapic_write(0x40, 0x12345678);
    say("register 40: %x\n", ioapic_read(0x40));

    ioapic_route(4, VECTOR_EDGE, 0);
    many("edges", VECTOR_EDGE, count, com1_raise);

    /* One edge, one interrupt, however long the line stays. */
    handlers[VECTOR_EDGE] = on_edge_raised;
    reset_counts();
    com1_raise();
    sti();
    check("edge", WAIT_FOR(counts[VECTOR_EDGE]));
    a_while();
    settle();
    expect("just once", counts[VECTOR_EDGE], 1);

    /* What happens while it is masked. */
    ioapic_route(4, VECTOR_EDGE | MASKED, 0);
    reset_counts();
    com1_raise();
    sti();
    a_while();
    expect("masked", counts[VECTOR_EDGE], 0);
    ioapic_write(0x10 + 2 * 4, VECTOR_EDGE);
    a_while();
    settle();
    expect("edge while masked, seen later", counts[VECTOR_EDGE], 0);
    handlers[VECTOR_EDGE] = on_edge;

    ioapic_route(4, VECTOR_LEVEL | LEVEL, 0);
    many("levels", VECTOR_LEVEL, count / 5, com1_raise);
    check("remote IRR in service", entry_in_service & REMOTE_IRR);
    check("TMR in service", tmr_in_service);
    expect("entry afterwards", ioapic_read(0x10 + 2 * 4), VECTOR_LEVEL | LEVEL);
    reset_counts();
    leave_raised = 3;
    com1_raise();
    sti();
    check("level, four times", WAIT_FOR(counts[VECTOR_LEVEL] == 4));
    a_while();
    settle();
    expect("and no more", counts[VECTOR_LEVEL], 4);

    reset_counts();
    ioapic_write(0x10 + 2 * 4, VECTOR_LEVEL | LEVEL | MASKED);
    com1_raise();
    sti();
    a_while();
    expect("level masked", counts[VECTOR_LEVEL], 0);
    ioapic_write(0x10 + 2 * 4, VECTOR_LEVEL | LEVEL);
    check("level when unmasked", WAIT_FOR(counts[VECTOR_LEVEL] == 1));
    settle();

    /* Without EOI there is no second one. */
    handlers[VECTOR_LEVEL] = on_level_no_eoi;
    reset_counts();
    com1_raise();
    sti();
    check("taken", WAIT_FOR(counts[VECTOR_LEVEL]));
    com1_lower();
    com1_raise();
    a_while();
    expect("none before EOI", counts[VECTOR_LEVEL], 1);
    handlers[VECTOR_LEVEL] = on_level;
    apic_eoi();
    a_while();
    expect("one after EOI", counts[VECTOR_LEVEL], 2);
    settle();

    /* Lowered before it is taken: a level that is gone does not come again, but the vector stays.
     */
    reset_counts();
    com1_raise();
    com1_lower();
    sti();
    a_while();
    settle();
    expect("raised and lowered", counts[VECTOR_LEVEL], 1);

    /* Destinations. */
    ioapic_route(4, VECTOR_EDGE | LOGICAL, 1);
    many("logical", VECTOR_EDGE, 10, com1_raise);
    ioapic_route(4, VECTOR_EDGE | LOGICAL | DELIVER_LOWEST, 1);
    many("lowest priority", VECTOR_EDGE, 10, com1_raise);
    ioapic_route(4, VECTOR_EDGE, 0xff);
    many("broadcast", VECTOR_EDGE, 10, com1_raise);
    ioapic_route(4, VECTOR_EDGE, 0x7e);
    reset_counts();
    com1_raise();
    sti();
    a_while();
    settle();
    expect("to nobody", counts[VECTOR_EDGE], 0);
    ioapic_route(4, MASKED, 0);
}

const struct part parts[] = {
    {"pic", pic}, {"priorities", priorities}, {"ioapic", ioapic}, {NULL, NULL}};
