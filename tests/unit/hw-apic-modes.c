/* Local APICs: x2APIC mode, the ways between modes, saved state, a hostile guest. */
#include "tests/unit/apic-bench.h"

#include <errno.h>

/* ---- x2APIC ---- */

static void check_transitions(void)
{
    uint64_t on = APIC_BASE | APIC_BASE_ENABLE, x2 = on | APIC_BASE_X2APIC;

    current = cpu[1].apic;
    tap_eq(rdmsr(0x802), UINT64_MAX, "no MSRs outside of x2APIC mode");
    tap_eq(wrmsr(0x80b, 0), -EINVAL, "for writing neither");
    tap_eq(wrmsr(APIC_MSR_BASE, APIC_BASE | APIC_BASE_X2APIC), -EINVAL, "x2APIC needs enabling");
    tap_eq(wrmsr(APIC_MSR_BASE, on | 0x200), -EINVAL, "reserved bits");
    tap_eq(wrmsr(APIC_MSR_BASE, on | UINT64_C(1) << 52), -EINVAL, "beyond physical memory");
    tap_eq(wrmsr(APIC_MSR_BASE, APIC_BASE), 0, "off");
    tap_eq(wrmsr(APIC_MSR_BASE, x2), -EINVAL, "not from there");
    tap_eq(wrmsr(APIC_MSR_BASE, on), 0, "on");
    set(TPR, 0x20);
    set(ICR_HIGH, 0x55000000);
    tap_eq(wrmsr(APIC_MSR_BASE, x2), 0, "to x2APIC mode");
    tap_ok(rdmsr(0x808) == 0x20 && rdmsr(0x830) == 0, "what survives, and what not");
    tap_eq(get(VERSION), UINT32_MAX, "no registers in memory");
    set(TPR, 0x30);
    tap_eq(rdmsr(0x808), 0x20, "for writing neither");
    tap_eq(wrmsr(APIC_MSR_BASE, on), -EINVAL, "no way back but off");
    tap_eq(wrmsr(APIC_MSR_BASE, APIC_BASE), 0, "off");
    tap_eq(wrmsr(APIC_MSR_BASE, on), 0, "on");
    tap_eq(get(TPR), 0, "all new");
    tap_eq(apic_set_base(current, x2), 0, "the machine sets any mode");
    tap_eq(apic_set_base(current, on), 0, "and back");
    current = cpu[0].apic;
    tap_eq(wrmsr(APIC_MSR_BASE, 0x12345000 | APIC_BASE_ENABLE), 0, "a base elsewhere");
    tap_ok(get(VERSION) == UINT32_MAX && rdmsr(APIC_MSR_BASE) == 0x12345800, "is not here");
    tap_eq(apic_msr_read(current, 0x1c, &x2), -EINVAL, "other MSRs");
    tap_eq(apic_msr_write(current, 0x1c, 0), -EINVAL, "are not ours");
    reset_all();
}

static void to_x2apic(void)
{
    for (unsigned n = 0; n < CPUS; n++) {
        apic_set_base(cpu[n].apic, apic_base(cpu[n].apic) | APIC_BASE_X2APIC);
    }
}

static void check_x2apic(void)
{
    struct apic *far_one;
    unsigned good = 0, bad = 0;

    to_x2apic();
    current = cpu[3].apic;
    tap_ok(rdmsr(0x802) == 3 && rdmsr(0x80d) == 8 && rdmsr(0x803) == 0x01050014, "ids");
    current = cpu[0].apic;
    for (unsigned msr = 0x800; msr < 0x900; msr++) {
        uint64_t value;

        good += !apic_msr_read(current, msr, &value);
        bad += apic_msr_write(current, msr, UINT64_MAX) == 0;
    }
    tap_eq(good, 5 + 1 + 24 + 2 + 6 + 3, "MSRs that can be read");
    tap_eq(bad, 0, "all ones are reserved everywhere");
    tap_eq(wrmsr(0x80b, 1), -EINVAL, "EOI is 0");
    tap_eq(wrmsr(0x828, 1), -EINVAL, "so is a write of ESR");
    tap_eq(wrmsr(0x80d, 0), -EINVAL, "the logical id is not for writing");
    tap_eq(wrmsr(0x80e, 0), -EINVAL, "there is no DFR");
    tap_eq(wrmsr(0x831, 0), -EINVAL, "nor a second half of the ICR");
    tap_eq(wrmsr(0x835, 0xd700), 0, "bits that are only for reading may come along");
    tap_eq(rdmsr(0x835), 0x8700, "and are not taken");
    tap_eq(wrmsr(0x835, 0x20000), -EINVAL, "reserved ones may not");
    tap_eq(wrmsr(0x808, 0x100), -EINVAL, "TPR has a byte");

    wrmsr(0x830, UINT64_C(2) << 32 | 0x51);
    tap_eq(served(0x51), 4, "physical");
    tap_eq(rdmsr(0x830), UINT64_C(2) << 32 | 0x51, "the ICR is one");
    wrmsr(0x830, UINT64_C(0xff) << 32 | 0x52);
    tap_eq(served(0x52), 0, "255 is an id");
    wrmsr(0x830, UINT64_C(0xffffffff) << 32 | 0x53);
    tap_eq(served(0x53), 15, "broadcast");
    wrmsr(0x830, UINT64_C(6) << 32 | 0x854);
    tap_eq(served(0x54), 6, "logical");
    wrmsr(0x830, UINT64_C(0x10006) << 32 | 0x854);
    tap_eq(served(0x54), 0, "of another cluster");
    wrmsr(0x830, UINT64_C(6) << 32 | 0xd54 | 0xc0000);
    tap_eq(served(0x54), 0, "INIT to the others is no vector");
    tap_ok(cpu[1].init == 1 && cpu[3].init == 1 && !cpu[0].init, "but an INIT");
    wrmsr(0x83f, 0x55);
    tap_eq(served(0x55), 1, "self IPI");
    wrmsr(0x83f, 5);
    wrmsr(0x828, 0);
    tap_eq(rdmsr(0x828), 0x20, "illegal vector");
    message(0x2000, 0x56);
    tap_eq(served(0x56), 4, "messages");
    message(0x3004, 0x57);
    tap_eq(served(0x57), 3, "logical ones reach the first cluster");
    message(0xff000, 0x58);
    tap_eq(served(0x58), 15, "255 is a broadcast here");
    wrmsr(0x808, 0x70);
    tap_ok(apic_tpr(current) == 7 && rdmsr(0x80a) == 0x70, "TPR");
    tap_eq(rdmsr(0x80b), UINT64_MAX, "EOI is for writing");
    apic_reset_by_init(current);
    tap_ok(rdmsr(0x808) == 0 && rdmsr(0x80f) == 0xff && rdmsr(0x802) == 0, "INIT keeps the mode");

    hw_device_destroy(&cpu[3].apic->device);
    far_one = create(3, "id=0x12345");
    bench_realize(far_one);
    current = cpu[3].apic;
    set(SVR, ENABLED);
    apic_set_base(far_one, apic_base(far_one) | APIC_BASE_X2APIC);
    tap_eq(rdmsr(0x80d), 0x12340020, "logical id of a large one");
    current = cpu[1].apic;
    wrmsr(0x830, UINT64_C(0x12345) << 32 | 0x59);
    tap_eq(served(0x59), 8, "physical");
    wrmsr(0x830, UINT64_C(0x12340020) << 32 | 0x85a);
    tap_eq(served(0x5a), 8, "logical");
    message(UINT64_C(0x123) << 40 | 0x45000, 0x5b);
    tap_eq(served(0x5b), 8, "a message with an extended destination");
    hw_device_destroy(&far_one->device);
    far_one = create(3, "id=0x1203");
    bench_realize(far_one);
    current = cpu[3].apic;
    set(SVR, ENABLED);
    apic_set_base(far_one, apic_base(far_one) | APIC_BASE_X2APIC);
    message(0x3000 | 0x12 << 5, 0x5c);
    tap_eq(served(0x5c), 8, "and with the other extension");
    hw_device_destroy(&far_one->device);
    bench_realize(create(3, "id=3"));
    reset_all();
}

/* ---- state ---- */

static void check_page(void)
{
    uint8_t page[APIC_PAGE_SIZE], again[APIC_PAGE_SIZE];
    struct apic *apic = cpu[0].apic, *other = cpu[1].apic;

    set(TPR, 0x30);
    set(LDR, 0x01000000);
    set(LVT_TIMER, 0x200e0);
    set(DIVIDE, 0xb);
    message(0, 0xc061);
    message(0, 0x92);
    take(0);
    set(INITIAL, 1000);
    set(ICR_HIGH, 0x05000000);
    bench_advance(300);
    apic_get_page(apic, page);
    tap_ok(page[ID + 3] == 0 && page[TPR] == 0x30 && page[PPR] == 0x90 && page[LDR + 3] == 1 &&
               page[IRR + 0x30] == 2 && page[TMR + 0x30] == 2 && page[ISR + 0x42] == 4,
           "registers are at their offsets");
    tap_ok(page[CURRENT] == (700 & 0xff) && page[CURRENT + 1] == 700 >> 8, "the count too");
    bench_advance(5000);
    apic_set_page(other, page);
    apic_get_page(other, again);
    again[ID + 3] = 0;
    tap_ok(memcmp(page, again, sizeof(page)) == 0, "all comes back");
    current = other;
    bench_advance(699);
    tap_eq(get(CURRENT), 1, "its timer has gone on");
    bench_advance(1);
    tap_ok(get(IRR + 0x70) & 1, "to its end");
    set(EOI, 0);
    tap_ok(serve(1) == 0xe0 && serve(1) == 0x61, "what was pending is");
    memset(page, 0xff, sizeof(page));
    apic_set_page(other, page);
    apic_get_page(other, again);
    tap_ok(!again[ISR] && !again[ISR + 1] && again[ISR + 2] == 0xff && again[LVT_TIMER + 2] == 7 &&
               again[DIVIDE] == 0xb,
           "any page is made legal");
    while (take(1) >= 0) {
    }
    apic_set_base(other, apic_base(other) | APIC_BASE_X2APIC);
    apic_get_page(other, page);
    tap_ok(page[ID] == 1 && !page[ID + 3] && page[LDR] == 2, "ids of x2APIC mode");
    reset_all();
}

static void check_state(void)
{
    struct apic *apic = cpu[0].apic, *other = cpu[1].apic;

    set(LVT_TIMER, 0x200e0);
    set(INITIAL, 100000);
    message(0, 0xc061);
    message(0, 0x92);
    take(0);
    bench_advance(40000);
    tap_eq(bench_move(apic_type.state, apic, other), 0, "state moves");
    current = other;
    tap_eq(get(CURRENT), 80000, "the timer");
    reset_all();
    set(LVT_TIMER, 0x200e0);
    set(INITIAL, 100000);
    bench_advance(80000);
    bench_move(apic_type.state, apic, other);
    set(INITIAL, 0);
    bench_advance(120000);
    tap_ok(serve(1) == 0xe0 && serve(0) == -1, "which goes on in the copy");
    current = other;
    set(INITIAL, 0);
    current = apic;
    message(0, 0x71);
    tap_ok(!cpu[1].intr && !bench_move(apic_type.state, apic, other) && cpu[1].intr,
           "and what is pending is told");
    apic->irr[0] = 1;
    tap_eq(bench_move(apic_type.state, apic, other), -EINVAL, "an illegal vector is refused");
    apic->irr[0] = 0;
    apic->running = true;
    tap_eq(bench_move(apic_type.state, apic, other), -EINVAL, "a timer without count");
    apic->running = false;
    apic->base = APIC_BASE | APIC_BASE_X2APIC;
    tap_eq(bench_move(apic_type.state, apic, other), -EINVAL, "a mode that is none");
    reset_all();
    hw_reset_device(&other->device, true);
}

static void check_hostile(void)
{
    uint32_t seed = 1;

    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525 + 1013904223;
        current = i % 7 ? cpu[i % CPUS].apic : NULL;
        unsigned size = 1u << (seed >> 30);
        uint64_t at = APIC_BASE + (seed >> 8 & (i % 3 ? 0x3ff : 0xfffff) & ~(size - 1));

        if (seed & 1) {
            bench_write(at, size,
                        (uint64_t)seed * 0x123456789 & (size < 8 ? (1ull << 8 * size) - 1 : ~0ull));
        } else {
            bench_read(at, size);
        }
        if (i % 50 == 0) {
            bench_advance(seed >> 12);
            take(i % CPUS);
        }
    }
    tap_ok(true, "anything may be accessed");
}

int main(void)
{
    apic_bench_start();
    reset_all();
    check_transitions();
    check_x2apic();
    check_page();
    check_state();
    check_hostile();
    return apic_bench_end();
}
