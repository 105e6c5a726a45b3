/* The APIC timer: its three modes, dividers, counts, and that nothing drifts. */
#include "tests/unit/apic-bench.h"

enum { ONE_SHOT = 0xe0, PERIODIC = 0x200e0, TSC_DEADLINE = 0x400e0 };

static void check_one_shot(void)
{
    static const uint8_t codes[] = {0xb, 0, 1, 2, 3, 8, 9, 10};

    for (unsigned i = 0; i < 8; i++) {
        set(LVT_TIMER, ONE_SHOT);
        set(DIVIDE, codes[i]);
        set(INITIAL, 1000);
        bench_advance((1 << i) * 400 + (1 << i) - 1);
        tap_ok(get(CURRENT) == 600, "divided by %u", 1u << i);
        bench_advance((1 << i) * 600 - (1 << i));
        tap_ok(!cpu[0].intr && get(CURRENT) == 1, "not yet");
        bench_advance(1);
        tap_ok(get(CURRENT) == 0 && serve(0) == 0xe0, "at 0");
        bench_advance((1 << i) * 2000);
        tap_ok(get(CURRENT) == 0 && serve(0) == -1, "once");
    }
    tap_eq(get(INITIAL), 1000, "the initial count can be read");
    set(DIVIDE, 0xb);
    set(INITIAL, 1000);
    bench_advance(500);
    set(INITIAL, 0);
    bench_advance(5000);
    tap_ok(serve(0) == -1 && !get(CURRENT), "0 stops it");
    set(LVT_TIMER, ONE_SHOT | MASKED);
    set(INITIAL, 1000);
    bench_advance(1000);
    tap_eq(serve(0), -1, "masked");
    set(LVT_TIMER, ONE_SHOT);
    bench_advance(5000);
    tap_eq(serve(0), -1, "is over when it is unmasked");
    set(INITIAL, 1000);
    bench_advance(600);
    set(DIVIDE, 1);
    tap_eq(get(CURRENT), 400, "another divider goes on from the count");
    bench_advance(400 * 4 - 1);
    tap_ok(get(CURRENT) == 1 && !cpu[0].intr, "at its pace");
    bench_advance(1);
    tap_eq(serve(0), 0xe0, "to its end");
    set(DIVIDE, 0xb);
}

static void check_periodic(void)
{
    unsigned count = 0;

    set(LVT_TIMER, PERIODIC);
    set(INITIAL, 100000);
    for (unsigned i = 0; i < 1000; i++) {
        bench_advance(33333);
        count += serve(0) == 0xe0;
    }
    tap_eq(count, 333, "33.333 ms are 333 periods of 100 us, whatever the steps");
    tap_eq(get(CURRENT), 100000 - 33000, "and a third");
    bench_advance(67000 + 350000);
    tap_ok(serve(0) == 0xe0 && serve(0) == -1, "late periods are one");
    bench_advance(50000);
    tap_eq(serve(0), 0xe0, "and the next one is when it would have been");
    bench_advance(100000 + 95000);
    serve(0);
    bench_advance(5000);
    tap_eq(serve(0), 0xe0, "though it is soon");
    set(LVT_TIMER, PERIODIC | MASKED);
    bench_advance(250000);
    tap_eq(serve(0), -1, "masked");
    set(LVT_TIMER, PERIODIC);
    bench_advance(50000);
    tap_eq(serve(0), 0xe0, "unmasked in the midst");
    bench_advance(70000);
    set(LVT_TIMER, ONE_SHOT);
    tap_eq(get(CURRENT), 30000, "in one-shot mode it goes on");
    bench_advance(30000);
    tap_eq(serve(0), 0xe0, "to the end of the period");
    bench_advance(500000);
    tap_ok(serve(0) == -1 && get(CURRENT) == 0, "and no more");
    set(LVT_TIMER, PERIODIC);
    bench_advance(500000);
    tap_eq(serve(0), -1, "what has ended does not begin by itself");
    set(DIVIDE, 10);
    set(INITIAL, UINT32_MAX);
    bench_advance(INT64_C(549755813760) - 1);
    tap_eq(serve(0), -1, "the longest period");
    bench_advance(1);
    tap_eq(serve(0), 0xe0, "is nine minutes");
    set(DIVIDE, 0xb);
    set(INITIAL, 1);
    count = 0;
    for (unsigned i = 0; i < 1000; i++) {
        bench_advance(100);
        count += serve(0) == 0xe0;
    }
    tap_ok(count >= 4 && count <= 6, "a period of a nanosecond does not keep the host busy");
    set(SVR, 0xff);
    bench_advance(100000);
    tap_eq(serve(0), -1, "disabled by software it is masked");
    set(SVR, ENABLED | 0xff);
    set(LVT_TIMER, PERIODIC);
    tap_eq(get(CURRENT), 1, "but counts");
    set(INITIAL, 0);
}

static void check_tsc_deadline(void)
{
    uint64_t value;

    tsc_ahead = 1000000;
    tap_ok(!wrmsr(0x6e0, 5) && rdmsr(0x6e0) == 0, "in other modes the deadline is not taken");
    set(LVT_TIMER, ONE_SHOT);
    set(INITIAL, 1000);
    set(LVT_TIMER, TSC_DEADLINE);
    bench_advance(5000);
    tap_ok(serve(0) == -1 && !get(CURRENT), "the mode disarms what ran");
    set(INITIAL, 1000);
    tap_ok(!get(INITIAL) && !get(CURRENT), "and takes no count");
    wrmsr(0x6e0, tsc(NULL) + 2001);
    tap_eq(rdmsr(0x6e0), tsc(NULL) + 2001, "armed");
    bench_advance(1000);
    tap_eq(serve(0), -1, "a tick is missing");
    bench_advance(1);
    tap_ok(serve(0) == 0xe0 && rdmsr(0x6e0) == 0, "due, and cleared");
    wrmsr(0x6e0, tsc(NULL));
    tap_ok(serve(0) == 0xe0 && rdmsr(0x6e0) == 0, "at once when it has passed");
    wrmsr(0x6e0, tsc(NULL) + 2000);
    wrmsr(0x6e0, 0);
    bench_advance(5000);
    tap_eq(serve(0), -1, "0 disarms");
    wrmsr(0x6e0, tsc(NULL) + 20000);
    tsc_ahead -= 2000;
    apic_tsc_changed(current);
    bench_advance(10000);
    tap_eq(serve(0), -1, "the counter was set back");
    bench_advance(1000);
    tap_eq(serve(0), 0xe0, "so it is later");
    wrmsr(0x6e0, tsc(NULL) + 20000);
    tsc_ahead += 19000;
    apic_tsc_changed(current);
    bench_advance(500);
    tap_eq(serve(0), 0xe0, "or earlier");
    wrmsr(0x6e0, tsc(NULL) + 2000);
    set(LVT_TIMER, ONE_SHOT);
    tap_eq(rdmsr(0x6e0), 0, "another mode forgets it");
    set(LVT_TIMER, TSC_DEADLINE);
    wrmsr(0x6e0, UINT64_MAX);
    bench_advance(INT64_C(1) << 50);
    tap_ok(serve(0) == -1 && rdmsr(0x6e0) == UINT64_MAX, "the end of time");
    wrmsr(0x6e0, tsc(NULL) + 2000);
    tap_eq(bench_move(apic_type.state, current, cpu[1].apic), 0, "state moves");
    apic_reset_by_init(current);
    bench_advance(1000);
    tap_ok(serve(0) == -1 && serve(1) == 0xe0, "the deadline with it, INIT forgets it");
    tap_eq(apic_msr_read(current, 0x6e0, &value), 0, "the MSR is there");
}

int main(void)
{
    apic_bench_start();
    reset_all();
    check_one_shot();
    check_periodic();
    check_tsc_deadline();
    return apic_bench_end();
}
