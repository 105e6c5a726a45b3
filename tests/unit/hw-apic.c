/* Local APICs: registers, priorities, and the ways of interrupts to them. */
#include "tests/unit/apic-bench.h"

#include <errno.h>

/* ---- registers ---- */

static void check_registers(void)
{
    uint64_t value;

    tap_eq(get(ID), 0, "id");
    tap_eq(get(VERSION), 0x01050014, "version, six local interrupts");
    tap_eq(get(SVR), 0xff, "disabled by software after reset");
    tap_ok(get(DFR) == UINT32_MAX && !get(LDR) && get(LINT0) == MASKED && get(LVT_ERROR) == MASKED,
           "logical id and local interrupts");
    tap_eq(apic_base(cpu[0].apic), APIC_BASE | 0x900, "the boot processor's base");
    tap_eq(apic_base(cpu[1].apic), APIC_BASE | 0x800, "another's");
    current = cpu[2].apic;
    tap_eq(get(ID), 2u << 24, "each processor sees its own");
    current = NULL;
    tap_ok(mem_access_load(&bench_space, mem_gpa(APIC_BASE + ID), 4, &value, MEM_ATTRS_NONE) == 0 &&
               value == UINT32_MAX,
           "who is no processor sees none");
    current = cpu[0].apic;
    set(LVT_TIMER, 0x20030);
    tap_eq(get(LVT_TIMER), 0x20030 | MASKED, "local interrupts stay masked while it is disabled");
    set(SVR, UINT32_MAX);
    tap_eq(get(SVR), 0x13ff, "spurious vector");
    set(LVT_TIMER, UINT32_MAX);
    tap_eq(get(LVT_TIMER), 0x700ff, "bits of the timer's");
    set(LVT_TIMER, MASKED);
    set(LVT_PERFORMANCE, UINT32_MAX);
    tap_eq(get(LVT_PERFORMANCE), 0x107ff, "of the counters'");
    set(LINT1, UINT32_MAX);
    tap_eq(get(LINT1), 0x1a7ff, "of LINT1's");
    set(LDR, UINT32_MAX);
    set(DFR, 0);
    tap_ok(get(LDR) == 0xff000000 && get(DFR) == 0x0fffffff, "of the logical id");
    set(ICR_HIGH, 0xab123456);
    tap_eq(get(ICR_HIGH), 0xab000000, "of the ICR");
    set(SVR, 0xff);
    set(SVR, ENABLED | 0xff);
    tap_ok(get(LINT1) & MASKED, "disabling masks local interrupts");
    set(VERSION, 5);
    set(PPR, 5);
    tap_eq(get(VERSION), 0x01050014, "what is for reading");
    set(ESR, 0);
    tap_eq(get(ESR), 0, "was no error");
    get(0x40);
    set(0x3f0, 0);
    tap_eq(get(ESR), 0, "an error is shown");
    set(ESR, 0);
    tap_eq(get(ESR), 0x80, "after a write: reserved registers");
    set(ESR, 0);
    tap_eq(get(ESR), 0, "once");
    tap_ok(bench_read(APIC_BASE + VERSION + 2, 1) == 5 &&
               bench_read(APIC_BASE + VERSION, 2) == 0x14 &&
               !bench_read(APIC_BASE + VERSION + 4, 4),
           "parts of registers, and what is between them");
    bench_write(APIC_BASE + TPR, 1, 0x50);
    bench_write(APIC_BASE + TPR + 4, 4, 0x50);
    tap_eq(get(TPR), 0, "are not for writing");
    reset_all();
}

/* ---- priorities ---- */

static void check_priorities(void)
{
    message(0, 0x41);
    message(0, 0x62);
    message(0, 0x45);
    tap_ok(cpu[0].intr, "interrupts have come");
    tap_ok(get(IRR + 0x20) == 0x22 && get(IRR + 0x30) == 4 && !get(TMR + 0x30), "to IRR, as edges");
    tap_eq(take(0), 0x62, "the highest vector goes first");
    tap_ok(get(ISR + 0x30) == 4 && !get(IRR + 0x30), "from IRR to ISR");
    tap_eq(get(PPR), 0x60, "the processor's priority");
    tap_ok(!cpu[0].intr, "lower classes wait");
    message(0, 0x6f);
    tap_eq(take(0), -1, "the same class too");
    message(0, 0x70);
    tap_eq(take(0), 0x70, "a higher one does not");
    set(EOI, 0);
    tap_eq(get(PPR), 0x60, "its EOI ends the highest");
    set(EOI, 0);
    tap_eq(serve(0), 0x6f, "then the same class");
    set(TPR, 0x45);
    tap_ok(get(PPR) == 0x45 && !cpu[0].intr, "the task's priority keeps class 4 off");
    tap_eq(apic_tpr(cpu[0].apic), 4, "CR8");
    apic_set_tpr(cpu[0].apic, 3);
    tap_ok(get(TPR) == 0x30 && cpu[0].intr, "lowered by CR8");
    tap_eq(take(0), 0x45, "so it comes");
    tap_eq(get(PPR), 0x40, "priority is the class of what is in service");
    set(TPR, 0x4f);
    tap_eq(get(PPR), 0x4f, "or the task's if that is not lower");
    set(TPR, 0);
    set(EOI, 0);
    tap_eq(apic_acknowledge(cpu[0].apic), 0x41, "the last");
    set(EOI, 0);
    set(EOI, 0);
    tap_eq(apic_acknowledge(cpu[0].apic), -1, "there is none more");
    message(0, 0x50);
    message(0, 0x50);
    tap_ok(serve(0) == 0x50 && serve(0) == -1, "two of one vector are one");
    message(0, 0x30);
    set(SVR, 0xff);
    tap_eq(get(IRR + 0x10), 1u << 16, "what came before it is disabled stays");
    message(0, 0x31);
    tap_eq(serve(0), 0x30, "and comes");
    tap_eq(serve(0), -1, "what comes afterwards is lost");
    set(SVR, ENABLED | 0xff);
    set(LVT_ERROR, 0xee);
    message(0, 0x0f);
    tap_eq(serve(0), 0xee, "an illegal vector is an error");
    set(ESR, 0);
    tap_eq(get(ESR), 0x40, "received");
    set(LVT_ERROR, 0x05);
    message(0, 0x0f);
    set(ESR, 0);
    tap_ok(get(ESR) == 0x40 && !cpu[0].intr, "an illegal vector for that does not recurse");
    reset_all();
}

/* ---- levels, EOI ---- */

static void check_levels(void)
{
    message(0, 0x8061);
    tap_ok(!cpu[0].intr, "a level's end is nothing");
    message(0, 0xc061);
    tap_eq(get(TMR + 0x30), 2, "a level");
    tap_ok(serve(0) == 0x61 && eoi_count == 1 && eoi_vector == 0x61, "its EOI is broadcast");
    message(0, 0x61);
    tap_ok(serve(0) == 0x61 && eoi_count == 1 && !get(TMR + 0x30), "an edge's is not");
    set(SVR, 0x1000 | ENABLED | 0xff);
    message(0, 0xc061);
    tap_ok(serve(0) == 0x61 && eoi_count == 1, "suppressed");
    set(SVR, ENABLED | 0xff);

    set(LINT0, 0x8000 | 0x51);
    cpu[0].apic->lint0.handler(cpu[0].apic->lint0.opaque, 0, true);
    tap_ok(get(LINT0) == (0xc000 | 0x51) && cpu[0].intr, "a level at LINT0");
    tap_eq(serve(0), 0x51, "is served");
    tap_eq(serve(0), 0x51, "and again while it is there");
    set(LINT0, get(LINT0) | MASKED);
    tap_ok(serve(0) == 0x51 && !(get(LINT0) & 0x4000), "masked, the last one ends");
    tap_eq(serve(0), -1, "and is not repeated");
    set(LINT0, 0x8000 | 0x51);
    tap_ok(cpu[0].intr, "unmasked");
    cpu[0].apic->lint0.handler(cpu[0].apic->lint0.opaque, 0, false);
    tap_ok(serve(0) == 0x51 && serve(0) == -1, "the line is low");
    set(LINT0, 0x52);
    cpu[0].apic->lint0.handler(cpu[0].apic->lint0.opaque, 0, true);
    tap_ok(serve(0) == 0x52 && serve(0) == -1, "an edge at LINT0");
    cpu[0].apic->lint0.handler(cpu[0].apic->lint0.opaque, 0, false);
    set(LINT1, 0x400);
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, true);
    tap_eq(cpu[0].nmi, 1, "NMI at LINT1");
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, false);
    set(LINT1, 0x8000 | 0x53);
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, true);
    tap_ok(serve(0) == 0x53 && serve(0) == -1, "LINT1 knows edges only");
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, false);
    set(LVT_PERFORMANCE, 0x400);
    apic_local_interrupt(cpu[0].apic, APIC_LVT_PERFORMANCE);
    tap_ok(cpu[0].nmi == 2 && get(LVT_PERFORMANCE) & MASKED, "a counter's NMI masks itself");
    apic_local_interrupt(cpu[0].apic, APIC_LVT_PERFORMANCE);
    tap_eq(cpu[0].nmi, 2, "masked");
    reset_all();
}

/* ---- the 8259 ---- */

static void pic_line(unsigned n, bool level)
{
    pic->in[n].handler(pic->in[n].opaque, n, level);
}

static void check_extint(void)
{
    bench_write(0x20, 1, 0x11);
    bench_write(0x21, 1, 0x08);
    bench_write(0x21, 1, 0x04);
    bench_write(0x21, 1, 0x01);
    set(SVR, 0xff);
    pic_line(3, true);
    tap_ok(!cpu[0].intr, "LINT0 is masked");
    apic_set_virtual_wire(cpu[0].apic);
    tap_ok(get(LINT0) == 0x700 && cpu[0].intr,
           "the virtual wire mode, software has enabled nothing");
    tap_eq(take(0), 0x0b, "a vector of the 8259, which may be low");
    tap_ok(!cpu[0].intr && !get(ISR), "it is not in service at the APIC");
    bench_write(0x20, 1, 0x20);
    set(SVR, ENABLED | 0xff);
    set(LINT0, 0x700);
    message(0, 0x80);
    take(0);
    pic_line(4, true);
    tap_eq(take(0), 0x0c, "priorities do not keep it off");
    bench_write(0x20, 1, 0x20);
    set(EOI, 0);
    set(LINT0, 0x700 | MASKED);
    pic_line(5, true);
    tap_ok(!cpu[0].intr, "masked");
    message(0x1000, 0x700);
    tap_ok(!cpu[0].intr && take(1) == 0x0d && !cpu[1].intr,
           "an I/O APIC's ExtINT goes where it says");
    bench_write(0x20, 1, 0x20);
    wrmsr(APIC_MSR_BASE, APIC_BASE | APIC_BASE_BSP);
    pic_line(6, true);
    tap_eq(take(0), 0x0e, "without APIC, LINT0 is INTR");
    bench_write(0x20, 1, 0x20);
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, true);
    tap_eq(cpu[0].nmi, 1, "and LINT1 NMI");
    cpu[0].apic->lint1.handler(cpu[0].apic->lint1.opaque, 1, false);
    message(0, 0x90);
    tap_eq(get(VERSION), UINT32_MAX, "its registers are gone");
    wrmsr(APIC_MSR_BASE, APIC_BASE | APIC_BASE_BSP | APIC_BASE_ENABLE);
    tap_ok(!cpu[0].intr && get(SVR) == 0xff, "it comes back as after reset");
    for (unsigned n = 3; n < 7; n++) {
        pic_line(n, false);
    }
    reset_all();
}

/* ---- interprocessor interrupts ---- */

static void ipi(uint32_t high, uint32_t low)
{
    set(ICR_HIGH, high);
    set(ICR, low);
}

static void check_ipi(void)
{
    ipi(2u << 24, 0x40);
    tap_eq(served(0x40), 4, "physical");
    ipi(0xffu << 24, 0x41);
    tap_eq(served(0x41), 15, "physical broadcast");
    ipi(0, 0x40000 | 0x42);
    tap_eq(served(0x42), 1, "self");
    ipi(0, 0x80000 | 0x43);
    tap_eq(served(0x43), 15, "all");
    ipi(0, 0xc0000 | 0x44);
    tap_eq(served(0x44), 14, "all but self");
    ipi(7u << 24, 0x45);
    tap_eq(served(0x45), 0, "nobody has that id");
    for (unsigned n = 0; n < CPUS; n++) {
        current = cpu[n].apic;
        set(LDR, 0x10u << (24 + n));
    }
    current = cpu[0].apic;
    ipi(0x60u << 24, 0x846);
    tap_eq(served(0x46), 6, "logical, flat");
    ipi(0x0fu << 24, 0x847);
    tap_eq(served(0x47), 0, "no bit in common");
    for (unsigned n = 0; n < CPUS; n++) {
        current = cpu[n].apic;
        set(DFR, 0);
        set(LDR, (uint32_t)((n / 2 + 1) << 4 | 1 << n % 2) << 24);
    }
    current = cpu[0].apic;
    ipi(0x13u << 24, 0x848);
    tap_eq(served(0x48), 3, "logical, clusters");
    ipi(0x22u << 24, 0x849);
    tap_eq(served(0x49), 8, "one of the second cluster");
    ipi(0xffu << 24, 0x84a);
    tap_eq(served(0x4a), 15, "all clusters");
    ipi(3u << 24, 0x400);
    ipi(3u << 24, 0x200);
    ipi(3u << 24, 0x4500);
    ipi(3u << 24, 0x69a);
    tap_ok(cpu[3].nmi == 1 && cpu[3].smi == 1 && cpu[3].init == 1 && cpu[3].sipi == 1 &&
               cpu[3].start == 0x9a,
           "NMI, SMI, INIT, SIPI");
    ipi(3u << 24, 0x8500);
    tap_eq(cpu[3].init, 1, "INIT's de-assert does nothing");
    ipi(0, 0xc0600);
    tap_ok(cpu[1].sipi == 1 && !cpu[0].sipi, "SIPI to all others");
    ipi(1u << 24, 0x0f);
    set(ESR, 0);
    tap_ok(get(ESR) == 0x20 && !cpu[1].intr, "an illegal vector is not sent");
    tap_eq(get(ICR), 0x0f, "the ICR can be read");

    current = cpu[1].apic;
    set(TPR, 0x50);
    current = cpu[0].apic;
    set(TPR, 0x60);
    ipi(0xffu << 24, 0x190);
    tap_eq(served(0x90), 4, "the lowest priority, first of two");
    ipi(0xffu << 24, 0x190);
    tap_eq(served(0x90), 8, "in turn");
    ipi(0xffu << 24, 0x190);
    tap_eq(served(0x90), 4, "and again");
    ipi(0x13u << 24, 0x990);
    tap_eq(served(0x90), 2, "the lower of the two addressed");
    current = cpu[1].apic;
    set(SVR, 0xff);
    current = cpu[0].apic;
    ipi(0x13u << 24, 0x990);
    tap_eq(served(0x90), 1, "who is disabled does not count");
    reset_all();
}

static void check_messages(void)
{
    message(0x3000, 0x31);
    tap_eq(served(0x31), 8, "physical");
    message(0xff000, 0x32);
    tap_eq(served(0x32), 15, "broadcast");
    for (unsigned n = 0; n < CPUS; n++) {
        current = cpu[n].apic;
        set(LDR, UINT32_C(1) << (24 + n));
    }
    current = cpu[0].apic;
    message(0x5004, 0x33);
    tap_eq(served(0x33), 5, "logical");
    message(0x600c, 0x34);
    tap_eq(served(0x34), 2, "with a redirection hint one of them");
    message(0x600c, 0x34);
    tap_eq(served(0x34), 4, "in turn");
    message(0x1000, 0x400);
    message(0x1000, 0xc500);
    tap_ok(cpu[1].nmi == 1 && cpu[1].init == 1, "other modes");
    message(0x100000, 0x36);
    tap_eq(served(0x36), 0, "not for APICs");
    message(0x40, 0x36);
    message(UINT64_C(1) << 40, 0x36);
    tap_eq(served(0x36), 0, "extended destinations are others");
    set(0x2000, 0x37);
    tap_eq(served(0x37), 4, "by memory");
    set(0, 0x38);
    tap_eq(served(0x38), 1, "below the registers");
    mem_access_store(&bench_space, mem_gpa(APIC_BASE + 0x20), 4, 0x39,
                     (struct mem_attrs){.requester = 8});
    tap_eq(served(0x39), 0, "a device reaches no registers");
    current = NULL;
    set(0x1000, 0x3a);
    current = cpu[0].apic;
    tap_eq(served(0x3a), 2, "from no vCPU's thread");
    bench_write(APIC_BASE + 0x1000, 2, 0x3b);
    tap_eq(served(0x3b), 0, "words only");
    reset_all();
}

static void check_twin(void)
{
    struct apic *first = cpu[0].apic, *twin = create(0, "id=2");
    char error[256];

    tap_eq(hw_device_realize(&twin->device, NULL, false, error, sizeof(error)), -EBUSY,
           "ids differ");
    tap_str(error, "apic: id=2: another APIC has it", "or are told");
    hw_device_destroy(&twin->device);
    cpu[0].apic = first;
}

int main(void)
{
    apic_bench_start();
    check_twin();
    check_registers();
    check_priorities();
    check_levels();
    check_extint();
    check_ipi();
    check_messages();
    return apic_bench_end();
}
