/* Timers: PIT, RTC, those of the local APIC; and HLT, which they end. */
#include "tests/kvm/irq.h"

enum { VECTOR = 0x50, VECTOR_PIC = 0x20 };

#define MSR_APIC_BASE 0x1b
#define MSR_DEADLINE  0x6e0
#define MSR_X2APIC    0x800

static volatile uint32_t ticks;
static volatile uint64_t tick_tsc;

static void on_tick(struct frame *frame)
{
    (void)frame;
    ticks++;
    tick_tsc = rdtsc();
    apic_eoi();
}

static void on_pic_tick(struct frame *frame)
{
    unsigned line = (uint8_t)frame->vector - VECTOR_PIC;

    ticks++;
    if (line == 8) {
        outb(0x70, 0x0c);
        (void)inb(0x71);
    }
    pic_eoi(line);
}

/* Long enough that what is to come has come: some milliseconds. */
static void a_while(void)
{
    uint64_t until = rdtsc() + (16 << 20);

    while (rdtsc() < until) {
        (void)inb(0x80);
    }
}

static bool have(unsigned bit_of_ecx)
{
    uint32_t r[4];

    cpuid(1, 0, r);
    return r[2] >> bit_of_ecx & 1;
}

static bool wait_ticks(uint32_t n)
{
    uint32_t before;
    bool good;

    sti();
    do { /* on a busy host they come slowly */
        before = ticks;
        good = WAIT_FOR(ticks >= n);
    } while (!good && ticks > before);
    cli();
    return good;
}

/* ---- PIT ----------------------------------------------------------------------------------- */

static uint8_t pit_status(unsigned channel)
{
    outb(0x43, 0xe0 | 2 << channel);
    return inb(0x40 + channel);
}

static unsigned pit_latched(unsigned channel)
{
    unsigned low;

    outb(0x43, channel << 6);
    low = inb(0x40 + channel);
    return low | inb(0x40 + channel) << 8;
}

static void pit_registers(void)
{
    bool falls = true;
    unsigned last, now;

    for (unsigned mode = 0; mode < 6; mode++) {
        outb(0x43, 0xb0 | mode << 1);
        say("channel 2, mode %d: status %x\n", mode, pit_status(2) & 0x3f);
    }
    outb(0x43, 0xb4);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    last = pit_latched(2);
    for (unsigned i = 0; i < 20; i++) {
        now = pit_latched(2);
        falls &= now <= last || last < 0x8000;
        last = now;
    }
    check("counts down", falls);
    outb(0x43, 0x94); /* low byte only */
    outb(0x42, 0x80);
    check("low byte only", inb(0x42) <= 0x80);
    outb(0x43, 0x90);
    expect("its status", pit_status(2) & 0x3f, 0x10);
    outb(0x43, 0xb0);
    outb(0x42, 0xff);
    outb(0x42, 0xff);
    outb(0x43, 0xc8); /* read back both: the status comes first */
    expect("read back, status", inb(0x42) & 0x3f, 0x30);
    last = inb(0x42);
    last |= inb(0x42) << 8;
    check("read back, count", last > 0x8000);
}

static unsigned pit_pin; /* of the IOAPIC: 2 where the board says so, 0 otherwise */

static void on_pit(struct frame *frame)
{
    pit_pin = (uint8_t)frame->vector - VECTOR;
    on_tick(frame);
}

static void pit(void)
{
    if (!pit_there()) {
        say("no PIT\n");
        return;
    }
    pit_registers();
    apic_enable();
    pit_start(0, 0xffff);
    for (unsigned pin = 0; pin < 3; pin += 2) {
        handlers[VECTOR + pin] = on_pit;
        ioapic_route(pin, VECTOR + pin, 0);
    }
    ticks = 0;
    pit_start(0, 1193);
    check("IOAPIC, mode 0", wait_ticks(1));
    say("pin %d\n", pit_pin);
    a_while();
    check("OUT is high", pit_status(0) & 0x80);
    sti();
    a_while();
    cli();
    expect("and no more", ticks, 1);
    pit_start(2, 1193);
    ticks = 0;
    check("mode 2", wait_ticks(20));
    pit_start(3, 1193);
    ticks = 0;
    check("mode 3", wait_ticks(20));
    ioapic_route(0, MASKED, 0);
    ioapic_route(2, MASKED, 0);
    pit_start(0, 0xffff);
    if (!pic_there()) {
        say("no PIC\n");
        return;
    }
    pic_init();
    apic_write(APIC_LVT_LINT0, DELIVER_EXTINT);
    handlers[VECTOR_PIC] = on_pic_tick;
    outb(0x21, 0xfe);
    ticks = 0;
    pit_start(0, 1193);
    check("PIC, mode 0", wait_ticks(1));
    pit_start(2, 1193);
    ticks = 0;
    check("mode 2", wait_ticks(20));
    pit_start(0, 0xffff);
    pic_init();
    apic_write(APIC_LVT_LINT0, MASKED);
}

/* ---- RTC ----------------------------------------------------------------------------------- */

static uint8_t rtc_read(unsigned reg)
{
    outb(0x70, reg);
    return inb(0x71);
}

static void rtc_write(unsigned reg, uint8_t v)
{
    outb(0x70, reg);
    outb(0x71, v);
}

static bool bcd_upto(uint8_t v, uint8_t most)
{
    return (v & 15) < 10 && v <= most;
}

static void rtc(void)
{
    if (rtc_read(0x0d) != 0x80) {
        say("no RTC\n");
        return;
    }
    expect("B", rtc_read(0x0b), 2);
    check("time", bcd_upto(rtc_read(0), 0x59) && bcd_upto(rtc_read(2), 0x59) &&
                      bcd_upto(rtc_read(4), 0x23));
    check("date", bcd_upto(rtc_read(6), 0x07) && bcd_upto(rtc_read(7), 0x31) &&
                      bcd_upto(rtc_read(8), 0x12) && bcd_upto(rtc_read(9), 0x99));
    rtc_write(0x40, 0x5a);
    rtc_write(0x41, 0xa5);
    check("CMOS", rtc_read(0x40) == 0x5a && rtc_read(0x41) == 0xa5);
    apic_enable();
    if (!pic_there()) {
        say("no PIC\n");
        return;
    }
    pic_init();
    apic_write(APIC_LVT_LINT0, DELIVER_EXTINT);
    handlers[VECTOR_PIC + 8] = on_pic_tick;
    rtc_write(0x0a, 0x26);
    (void)rtc_read(0x0c);
    rtc_write(0x0b, 0x42);
    outb(0x21, 0xfb);
    outb(0xa1, 0xfe);
    ticks = 0;
    check("periodic, 1024 Hz", wait_ticks(20));
    rtc_write(0x0b, 0x02);
    (void)rtc_read(0x0c);
    pic_init();
    ticks = 0;
    sti();
    a_while();
    cli();
    expect("switched off", ticks, 0);
    apic_write(APIC_LVT_LINT0, MASKED);
}

/* ---- local APIC ---------------------------------------------------------------------------- */

static void apic_timer(void)
{
    uint32_t now, then;

    apic_enable();
    handlers[VECTOR] = on_tick;
    for (unsigned n = 0; n < 8; n++) {
        uint32_t code = (n & 3) | (n & 4) << 1;

        apic_write(APIC_TIMER_DIVIDE, code);
        expect("divisor", apic_read(APIC_TIMER_DIVIDE), code);
    }
    apic_write(APIC_TIMER_DIVIDE, 0xb); /* by one */
    apic_write(APIC_LVT_TIMER, VECTOR);
    ticks = 0;
    apic_write(APIC_TIMER_INITIAL, 1000000);
    now = apic_read(APIC_TIMER_CURRENT);
    then = apic_read(APIC_TIMER_CURRENT);
    check("counts down", now <= 1000000 && then <= now);
    check("one-shot", wait_ticks(1));
    sti();
    a_while();
    cli();
    expect("and no more", ticks, 1);
    expect("current count", apic_read(APIC_TIMER_CURRENT), 0);
    expect("initial count", apic_read(APIC_TIMER_INITIAL), 1000000);

    apic_write(APIC_LVT_TIMER, VECTOR | MASKED);
    ticks = 0;
    apic_write(APIC_TIMER_INITIAL, 100000);
    check("masked, counts", WAIT_FOR(apic_read(APIC_TIMER_CURRENT) == 0));
    sti();
    a_while();
    cli();
    expect("no interrupt", ticks, 0);

    apic_write(APIC_LVT_TIMER, VECTOR | PERIODIC);
    ticks = 0;
    apic_write(APIC_TIMER_INITIAL, 200000);
    check("periodic", wait_ticks(count / 5));
    apic_write(APIC_TIMER_INITIAL, 0);
    a_while();
    sti();
    a_while();
    ticks = 0;
    a_while();
    cli();
    expect("stopped by zero", ticks, 0);
    apic_write(APIC_LVT_TIMER, MASKED);
}

static void deadline(void)
{
    uint64_t at;

    if (!have(24)) {
        say("no TSC deadline\n");
        return;
    }
    apic_enable();
    handlers[VECTOR] = on_tick;
    apic_write(APIC_LVT_TIMER, VECTOR | 2 << 17);
    expect("LVT", apic_read(APIC_LVT_TIMER), VECTOR | 2 << 17);
    expect("MSR", rdmsr(MSR_DEADLINE), 0);
    ticks = 0;
    wrmsr(MSR_DEADLINE, 1);
    check("in the past", wait_ticks(1));
    expect("MSR afterwards", rdmsr(MSR_DEADLINE), 0);
    ticks = 0;
    at = rdtsc() + 1000000;
    wrmsr(MSR_DEADLINE, at);
    check("in the future", wait_ticks(1));
    check("not before", tick_tsc >= at);
    ticks = 0;
    at = rdtsc() + (1ull << 40);
    wrmsr(MSR_DEADLINE, at);
    expect("far away", rdmsr(MSR_DEADLINE) - at, 0);
    wrmsr(MSR_DEADLINE, 0);
    sti();
    a_while();
    for (uint32_t n = 0; n < count / 10; n++) {
        wrmsr(MSR_DEADLINE, rdtsc() + 10000);
        if (!WAIT_FOR(ticks > n)) {
            break;
        }
    }
    cli();
    expect("many", ticks, count / 10);
    apic_write(APIC_TIMER_INITIAL, 1000);
    expect("initial count, ignored", apic_read(APIC_TIMER_CURRENT), 0);
    apic_write(APIC_LVT_TIMER, VECTOR | MASKED);
    wrmsr(MSR_DEADLINE, rdtsc() + (1ull << 40));
    expect("MSR in another mode", rdmsr(MSR_DEADLINE), 0);
    apic_write(APIC_LVT_TIMER, MASKED);
}

static uint64_t x2apic_read(unsigned reg)
{
    return rdmsr(MSR_X2APIC + reg / 16);
}

static void x2apic_write(unsigned reg, uint64_t v)
{
    wrmsr(MSR_X2APIC + reg / 16, v);
}

static void on_x2apic(struct frame *frame)
{
    (void)frame;
    ticks++;
    x2apic_write(APIC_EOI, 0);
}

PIECE(read_msr, "mov %edi, %ecx\nrdmsr");
PIECE(write_msr, "mov %edi, %ecx\nmov %edi, %eax\nxor %edx, %edx\nwrmsr");

static void x2apic(void)
{
    if (!have(21)) {
        say("no x2APIC\n");
        return;
    }
    apic_enable();
    handlers[VECTOR] = on_x2apic;
    check("APIC base: enabled, first processor",
          (rdmsr(MSR_APIC_BASE) & 0xfffffffffffff900) == 0xfee00900);
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x400);
    expect("id", x2apic_read(APIC_ID), 0);
    expect("LDR", x2apic_read(APIC_LDR), 1);
    expect("version", x2apic_read(APIC_VERSION) & 0xffff, 0x14);
    expect("SVR stays", x2apic_read(APIC_SVR), 0x1ff);
    ticks = 0;
    wrmsr(0x83f, VECTOR); /* to itself */
    check("self IPI", wait_ticks(1));
    x2apic_write(APIC_ICR, VECTOR | LEVEL_ASSERT);
    check("ICR", wait_ticks(2));
    x2apic_write(APIC_ICR, (1ull << 32) | VECTOR | LEVEL_ASSERT | LOGICAL);
    check("logical", wait_ticks(3));
    x2apic_write(APIC_TIMER_DIVIDE, 0xb);
    x2apic_write(APIC_LVT_TIMER, VECTOR);
    x2apic_write(APIC_TIMER_INITIAL, 100000);
    check("timer", wait_ticks(4));
    RUN(read_msr, MSR_X2APIC + APIC_DFR / 16, RING0);
    SAY_TRAP("no DFR", read_msr);
    RUN(read_msr, MSR_X2APIC + APIC_EOI / 16, RING0);
    SAY_TRAP("EOI is not read", read_msr);
    RUN(write_msr, MSR_X2APIC + APIC_ID / 16, RING0);
    SAY_TRAP("id is not written", write_msr);
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~0xc00ull);
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0x800);
    say("back again, SVR %x\n", apic_read(APIC_SVR));
}

/* ---- HLT ----------------------------------------------------------------------------------- */

static void halt(void)
{
    uint32_t woken = 0;

    apic_enable();
    handlers[VECTOR] = on_tick;
    apic_write(APIC_TIMER_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, VECTOR);
    ticks = 0;
    for (uint32_t n = 0; n < count / 20; n++) {
        apic_write(APIC_TIMER_INITIAL, 50000);
        __asm__ volatile("sti; hlt; cli" ::: "memory");
        woken += ticks == n + 1;
    }
    expect("woken by timer", woken, count / 20);
    ticks = 0;
    apic_send(0, VECTOR | TO_SELF);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    expect("already pending", ticks, 1);
    ticks = 0;
    apic_send(0, VECTOR | TO_SELF);
    apic_write(APIC_LVT_TIMER, 0x51);
    handlers[0x51] = on_tick;
    apic_write(APIC_TPR, 0x50); /* only NMI or a higher class ends this one */
    apic_write(APIC_LVT_TIMER, 0x60);
    handlers[0x60] = on_tick;
    apic_write(APIC_TIMER_INITIAL, 100000);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    expect("lower priority does not wake", ticks, 1);
    apic_write(APIC_TPR, 0);
    sti();
    a_while();
    cli();
    expect("and comes afterwards", ticks, 2);
    apic_write(APIC_LVT_TIMER, MASKED);
}

const struct part parts[] = {
    {"pit", pit},           {"rtc", rtc},       {"apic-timer", apic_timer},
    {"deadline", deadline}, {"x2apic", x2apic}, {"hlt", halt},
    {NULL, NULL},
};
