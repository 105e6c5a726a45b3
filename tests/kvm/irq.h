/* Interrupt controllers and timers: registers, and the little that guests do with them. */
#ifndef TINAMOU_TESTS_KVM_IRQ_H
#define TINAMOU_TESTS_KVM_IRQ_H

#include "tests/kvm/guest.h"

#define APIC    0xfee00000ul
#define IOAPIC  0xfec00000ul
#define IOAPIC2 0xfec10000ul

enum { /* local APIC */
       APIC_ID = 0x20,
       APIC_VERSION = 0x30,
       APIC_TPR = 0x80,
       APIC_PPR = 0xa0,
       APIC_EOI = 0xb0,
       APIC_LDR = 0xd0,
       APIC_DFR = 0xe0,
       APIC_SVR = 0xf0,
       APIC_ISR = 0x100,
       APIC_TMR = 0x180,
       APIC_IRR = 0x200,
       APIC_ESR = 0x280,
       APIC_ICR = 0x300,
       APIC_ICR2 = 0x310,
       APIC_LVT_TIMER = 0x320,
       APIC_LVT_PMC = 0x340,
       APIC_LVT_LINT0 = 0x350,
       APIC_LVT_LINT1 = 0x360,
       APIC_LVT_ERROR = 0x370,
       APIC_TIMER_INITIAL = 0x380,
       APIC_TIMER_CURRENT = 0x390,
       APIC_TIMER_DIVIDE = 0x3e0,
};

enum { /* ICR, LVT and redirection entries */
       DELIVER_FIXED = 0,
       DELIVER_LOWEST = 1 << 8,
       DELIVER_NMI = 4 << 8,
       DELIVER_INIT = 5 << 8,
       DELIVER_SIPI = 6 << 8,
       DELIVER_EXTINT = 7 << 8,
       LOGICAL = 1 << 11,
       LEVEL_ASSERT = 1 << 14,
       LEVEL = 1 << 15,
       MASKED = 1 << 16,
       PERIODIC = 1 << 17,
       TO_SELF = 1 << 18,
       TO_ALL = 2 << 18,
       TO_OTHERS = 3 << 18,
       ACTIVE_LOW = 1 << 13,
       REMOTE_IRR = 1 << 14,
};

static inline uint32_t apic_read(unsigned reg)
{
    return read32(APIC + reg);
}
static inline void apic_write(unsigned reg, uint32_t v)
{
    write32(APIC + reg, v);
}
static inline void apic_eoi(void)
{
    apic_write(APIC_EOI, 0);
}
static inline bool apic_bit(unsigned reg, unsigned vector)
{
    return apic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}
static inline void apic_send(uint32_t to, uint32_t how)
{
    apic_write(APIC_ICR2, to << 24);
    apic_write(APIC_ICR, how);
}
static inline void apic_enable(void)
{
    apic_write(APIC_DFR, 0xffffffff);
    apic_write(APIC_LDR, 1u << (24 + (apic_read(APIC_ID) >> 24) % 8));
    apic_write(APIC_TPR, 0);
    apic_write(APIC_SVR, 0x1ff);
}

static inline uint32_t ioapic_read(unsigned reg)
{
    write32(IOAPIC, reg);
    return read32(IOAPIC + 0x10);
}
static inline void ioapic_write(unsigned reg, uint32_t v)
{
    write32(IOAPIC, reg);
    write32(IOAPIC + 0x10, v);
}
static inline void ioapic_route(unsigned pin, uint32_t low, uint32_t to)
{
    ioapic_write(0x10 + pin * 2, MASKED);
    ioapic_write(0x11 + pin * 2, to << 24);
    ioapic_write(0x10 + pin * 2, low);
}

/* Vectors 0x20 and 0x28, all masked. */
static inline void pic_init(void)
{
    outb(0x20, 0x11);
    outb(0x21, 0x20);
    outb(0x21, 4);
    outb(0x21, 1);
    outb(0xa0, 0x11);
    outb(0xa1, 0x28);
    outb(0xa1, 2);
    outb(0xa1, 1);
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
}
static inline bool pic_there(void)
{
    outb(0x21, 0xa5);
    return inb(0x21) == 0xa5;
}
static inline void pic_eoi(unsigned line)
{
    if (line >= 8) {
        outb(0xa0, 0x20);
    }
    outb(0x20, 0x20);
}

/* Channel 0: mode 2 ticks every n/1193182 s, mode 0 once after that. */
static inline void pit_start(unsigned mode, unsigned n)
{
    outb(0x43, 0x30 | mode << 1);
    outb(0x40, n & 0xff);
    outb(0x40, n >> 8);
}
static inline bool pit_there(void)
{
    outb(0x43, 0xb0);
    outb(0x43, 0xe8);
    return (inb(0x42) & 0x3f) == 0x30;
}

/*
 * The serial port as a source of interrupts: its line (IRQ 4) rises when the transmitter's
 * interrupt is enabled, and falls when it is disabled, or IIR is read. Nothing can be printed in
 * between.
 */
static inline void com1_raise(void)
{
    hold(true);
    outb(0x3f9, 2);
}
/* In handlers, which must not print. */
static inline void com1_drop(void)
{
    outb(0x3f9, 0);
}
static inline void com1_lower(void)
{
    com1_drop();
    hold(false);
}

#endif
