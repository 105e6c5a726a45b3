/* Interrupts of the local APIC, NMIs, and when exactly an interrupt is taken. */
#include "tests/kvm/counts.h"

static void on_ipi(struct frame *frame)
{
    note(frame);
    apic_eoi();
}

static void raise_self(void)
{
    apic_send(0, 0x60 | TO_SELF);
}

static void raise_physical(void)
{
    apic_send(apic_read(APIC_ID) >> 24, 0x60 | LEVEL_ASSERT);
}

static void raise_logical(void)
{
    apic_send(apic_read(APIC_LDR) >> 24, 0x60 | LOGICAL | LEVEL_ASSERT);
}

static void raise_all(void)
{
    apic_send(0, 0x60 | TO_ALL);
}

/* Sends others from within, with interrupts on: only those of a higher class come. */
static void on_nesting(struct frame *frame)
{
    note(frame);
    apic_send(0, 0x6f | TO_SELF);
    apic_send(0, 0x80 | TO_SELF);
    apic_send(0, 0x40 | TO_SELF);
    sti();
    a_while();
    cli();
    order[ordered++] = 0xff;
    apic_eoi();
}

static void ipi(void)
{
    apic_enable();
    for (unsigned vector = 0x30; vector < 0xf0; vector++) {
        handlers[vector] = on_ipi;
    }
    expect("version", apic_read(APIC_VERSION) & 0xffff, 0x14);
    many("to self", 0x60, count, raise_self);
    many("physical", 0x60, 50, raise_physical);
    many("logical", 0x60, 50, raise_logical);
    many("to all", 0x60, 50, raise_all);

    reset_counts();
    apic_send(0, 0x50 | TO_SELF);
    apic_send(0, 0x91 | TO_SELF);
    apic_send(0, 0x90 | TO_SELF);
    apic_send(0, 0x72 | TO_SELF);
    apic_send(0, 0x72 | TO_SELF);
    check("IRR", apic_bit(APIC_IRR, 0x50) && apic_bit(APIC_IRR, 0x91) && apic_bit(APIC_IRR, 0x90) &&
                     apic_bit(APIC_IRR, 0x72));
    sti();
    a_while();
    cli();
    expect_order("by priority", 0x91907250);

    handlers[0x60] = on_nesting;
    reset_counts();
    apic_send(0, 0x60 | TO_SELF);
    sti();
    a_while();
    cli();
    expect_order("nested", 0x6080ff6f40);
    handlers[0x60] = on_ipi;

    /* The task priority holds back what is not above its class. */
    for (unsigned way = 0; way < 2; way++) {
        reset_counts();
        if (way) {
            __asm__ volatile("mov %0, %%cr8" ::"r"(7ul));
        } else {
            apic_write(APIC_TPR, 0x70);
        }
        apic_send(0, 0x7f | TO_SELF);
        apic_send(0, 0x80 | TO_SELF);
        sti();
        a_while();
        cli();
        expect_order(way ? "CR8 7" : "TPR 70", 0x80);
        expect("TPR", apic_read(APIC_TPR), 0x70);
        expect("PPR", apic_read(APIC_PPR), 0x70);
        if (way) {
            __asm__ volatile("mov %0, %%cr8" ::"r"(0ul));
        } else {
            apic_write(APIC_TPR, 0);
        }
        sti();
        a_while();
        cli();
        expect_order("then 0", 0x807f);
    }

    /* Vectors under 16 are illegal. */
    apic_write(APIC_LVT_ERROR, 0xe0);
    apic_write(APIC_ESR, 0);
    reset_counts();
    handlers[5] = note;
    apic_send(0, 5 | TO_SELF);
    sti();
    a_while();
    cli();
    apic_write(APIC_ESR, 0);
    expect("illegal vector, taken", counts[5], 0);
    expect("error interrupts", counts[0xe0], 1);
    expect("ESR", apic_read(APIC_ESR), 0x20);
    handlers[5] = NULL;
    apic_write(APIC_LVT_ERROR, MASKED);

    /* Switched off by software, nothing is taken. */
    apic_write(APIC_SVR, 0xff);
    reset_counts();
    apic_send(0, 0x60 | TO_SELF);
    sti();
    a_while();
    cli();
    expect("switched off", counts[0x60], 0);
    apic_enable();
    sti();
    a_while();
    cli();
    expect("and on again", counts[0x60], 0);
}

/* ---- NMI ----------------------------------------------------------------------------------- */

static volatile unsigned nmi_depth, nmi_deepest;

static void on_nmi(struct frame *frame)
{
    note(frame);
    if (++nmi_depth > nmi_deepest) {
        nmi_deepest = nmi_depth;
    }
    if (counts[2] == 1) {
        apic_send(0, DELIVER_NMI | TO_ALL);
        a_while();
    }
    nmi_depth--;
}

static void nmi(void)
{
    apic_enable();
    handlers[2] = on_nmi;
    reset_counts();
    nmi_deepest = 0;
    apic_send(apic_read(APIC_ID) >> 24, DELIVER_NMI | LEVEL_ASSERT);
    check("taken with interrupts off", WAIT_FOR(counts[2] >= 1));
    check("another one from within", WAIT_FOR(counts[2] == 2));
    expect("at a time", nmi_deepest, 1);
    reset_counts();
    counts[2] = 1;
    for (unsigned i = 0; i < 100; i++) {
        uint32_t before = counts[2];

        apic_send(apic_read(APIC_ID) >> 24, DELIVER_NMI | LEVEL_ASSERT);
        if (!WAIT_FOR(counts[2] > before)) {
            break;
        }
    }
    expect("more", counts[2] - 1, 100);

    /* LINT1 is for the monitor's button; LINT0 and the PIC's line can be NMI as well. */
    if (pic_there()) {
        pic_init();
        if (pit_there()) {
            pit_start(0, 1); /* KVM takes its ticks for NMIs by LINT0: this is the last one */
            a_while();
        }
        apic_write(APIC_LVT_LINT0, DELIVER_NMI);
        reset_counts();
        counts[2] = 1;
        outb(0x21, 0xef);
        com1_raise();
        a_while();
        com1_lower();
        expect("PIC as NMI", counts[2] - 1, 1);
        apic_write(APIC_LVT_LINT0, MASKED);
        pic_init();
    }
    ioapic_route(4, DELIVER_NMI, 0);
    reset_counts();
    counts[2] = 1;
    com1_raise();
    a_while();
    com1_lower();
    expect("IOAPIC", counts[2] - 1, 1);
    ioapic_route(4, MASKED, 0);
    handlers[2] = NULL;
}

/* ---- when exactly -------------------------------------------------------------------------- */

static volatile uint64_t taken_at;

static void on_where(struct frame *frame)
{
    note(frame);
    taken_at = frame->rip;
    apic_eoi();
}

#define WHERE(what, want, text)                                                                  \
    do {                                                                                         \
        uint64_t start_;                                                                         \
        reset_counts();                                                                          \
        taken_at = 0;                                                                            \
        apic_send(0, 0x60 | TO_SELF);                                                            \
        __asm__ volatile("lea 1f(%%rip), %0\n1: " text : "=&r"(start_)::"rax", "rcx", "memory"); \
        expect(what, taken_at ? taken_at - start_ : 0, want);                                    \
        sti();                                                                                   \
        a_while();                                                                               \
        cli();                                                                                   \
    } while (0)

static void shadow(void)
{
    apic_enable();
    handlers[0x60] = on_where;
    WHERE("sti nop nop cli", 2, "sti; nop; nop; cli");
    WHERE("sti cli", 0, "sti; cli; nop");
    WHERE("sti sti nop cli", 2, "sti; sti; nop; nop; cli");
    WHERE("mov ss", 0xc,
          "mov %%ss, %%eax; pushfq; pop %%rcx; or $0x200, %%ecx; push %%rcx; popfq; "
          "nop; cli");
    WHERE("sti, mov ss", 5, "mov %%ss, %%eax; sti; mov %%eax, %%ss; nop; nop; cli");
    WHERE("sti hlt cli", 2, "sti; hlt; cli");
    WHERE("popf", 9, "pushfq; orl $0x200, (%%rsp); popfq; nop; cli");
    handlers[0x60] = on_ipi;
}

/* Out of ring 3, which runs on afterwards. */
PIECE(count_to, "xor %eax, %eax\n"
                "1: inc %rax\n"
                "cmp %rax, %rdi\n"
                "jne 1b");

static void on_rearm(struct frame *frame)
{
    note(frame);
    apic_eoi();
    if (counts[0x60] < count / 5) {
        apic_send(0, 0x60 | TO_SELF);
    }
}

static void user(void)
{
    apic_enable();
    handlers[0x60] = on_rearm;
    reset_counts();
    apic_send(0, 0x60 | TO_SELF);
    RUN(count_to, 1000000, RING3 | HOW_IF);
    SAY_TRAP("ring 3", count_to);
    expect("counted", trap.rax, 1000000);
    expect("interrupts", counts[0x60], count / 5);
    RUN(count_to, 1000, RING3);
    SAY_TRAP("interrupts off", count_to);
    reset_counts();
    counts[0x60] = count;
    apic_send(0, 0x60 | TO_SELF);
    RUN(count_to, 1000, RING3);
    expect("pending, not taken", counts[0x60], count);
    RUN(count_to, 1000, RING3 | HOW_IF);
    expect("and taken", counts[0x60], count + 1);
    handlers[0x60] = on_ipi;
}

const struct part parts[] = {
    {"ipi", ipi}, {"nmi", nmi}, {"shadow", shadow}, {"user", user}, {NULL, NULL},
};
