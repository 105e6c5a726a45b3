/* ACLINT: software interrupts, and a timer that fires at the right nanosecond. */
#include "hw/intc/aclint.h"

#include "tests/unit/hw-bench.h"

#include <errno.h>

enum {
    MSWI = 0x2000000,
    MTIMER = 0x2004000,
    MTIME = 0x200bff8,
    SSWI = 0x2f00000,
    TICK = 100, /* ns at 10 MHz */
};

static void check_swi(void)
{
    struct aclint_swi *mswi = bench_create(&aclint_swi_type, "num-harts=2");
    struct aclint_swi *sswi = bench_create(&aclint_swi_type, "num-harts=2,sswi=on");
    struct aclint_swi *other = bench_create(&aclint_swi_type, "num-harts=2");
    static struct bench_line m1, s1;

    bench_realize(mswi);
    bench_realize(sswi);
    bench_realize(other);
    bench_put(MSWI, &mswi->mmio);
    bench_put(SSWI, &sswi->mmio);
    bench_watch(&m1, &mswi->out[1]);
    bench_watch(&s1, &sswi->out[1]);
    bench_write(MSWI + 4, 4, 0xffffffff);
    tap_ok(m1.level, "MSIP is raised");
    tap_eq(bench_read(MSWI + 4, 4), 1, "and has one bit");
    tap_eq(bench_read(MSWI, 8), UINT64_C(1) << 32, "64 bits are two harts");
    tap_eq(bench_move(aclint_swi_type.state, mswi, other), 0, "state moves");
    tap_ok(other->out[1].level && !other->out[0].level, "with the levels");
    bench_write(MSWI + 4, 4, 0xfffffffe);
    tap_ok(!m1.level, "MSIP is lowered");
    bench_write(MSWI + 8, 4, 1);
    bench_write(MSWI + 0x3ffc, 4, 1);
    tap_eq(bench_read(MSWI + 0x3ffc, 4), 0, "harts that are not there have no MSIP");
    bench_write(SSWI + 4, 4, 1);
    tap_ok(s1.rises == 1 && !s1.level, "SETSSIP pulses");
    tap_eq(bench_read(SSWI + 4, 4), 0, "and reads as 0");
    bench_write(SSWI + 4, 4, 0xfffffffe);
    tap_eq(s1.rises, 1, "0 does nothing");
    bench_write(MSWI + 4, 4, 1);
    hw_reset_device(&mswi->device, false);
    tap_ok(!m1.level && !bench_read(MSWI + 4, 4), "reset lowers MSIP");
    mem_region_remove(&mswi->mmio);
    mem_region_remove(&sswi->mmio);
    hw_device_destroy(&mswi->device);
    hw_device_destroy(&sswi->device);
    hw_device_destroy(&other->device);
}

static void check_timer(struct aclint_mtimer *mtimer)
{
    static struct bench_line t0, t1;

    bench_watch(&t0, &mtimer->out[0]);
    bench_watch(&t1, &mtimer->out[1]);
    tap_eq(bench_read(MTIME, 8), 0, "mtime begins at 0");
    bench_advance(1000 * TICK + 99);
    tap_eq(bench_read(MTIME, 8), 1000, "and is rounded down");
    tap_eq(aclint_mtimer_time(mtimer), 1000, "as for the harts");
    bench_write(MTIMER + 8, 8, 1005);
    tap_ok(!t1.level, "a comparison in the future");
    bench_advance(4 * TICK);
    tap_ok(!t1.level, "a nanosecond too early");
    bench_advance(1);
    tap_ok(t1.level && !t0.level, "at the tick: its hart, and no other");
    bench_write(MTIMER + 8, 8, 1006);
    tap_ok(!t1.level, "a new comparison lowers the line");
    bench_write(MTIMER + 8, 8, 7);
    tap_ok(t1.level, "one in the past raises it at once");
    bench_write(MTIMER + 8, 4, 0xffffffff);
    bench_write(MTIMER + 12, 4, 0xffffffff);
    tap_eq(bench_read(MTIMER + 8, 8), UINT64_MAX, "halves are written");
    tap_eq(bench_read(MTIMER + 12, 4), 0xffffffff, "and read");
    bench_advance(INT64_MAX / 2);
    tap_ok(!t1.level, "never comes");
    bench_now[CPU_CLOCK_VIRTUAL] = 0;
}

static unsigned changes;

static void changed(struct cpu_timebase_user *user)
{
    changes++;
}

static void check_mtime(struct aclint_mtimer *mtimer)
{
    static struct cpu_timebase_user user = {.changed = changed};
    static struct bench_line t0;

    cpu_timebase_add(&mtimer->timebase, &user);

    bench_watch(&t0, &mtimer->out[0]);
    bench_write(MTIMER, 8, 0x200000000);
    bench_write(MTIME + 4, 4, 1);
    tap_eq(bench_read(MTIME, 8), 0x100000000, "mtime's high half is written");
    bench_write(MTIME, 4, 0xfffffff0);
    tap_eq(bench_read(MTIME, 8), 0x1fffffff0, "and its low half");
    tap_ok(changes == 2 && mtimer->timebase.offset == 0x1fffffff0, "those who share it are told");
    tap_ok(!t0.level, "not yet");
    bench_advance(15 * TICK);
    tap_ok(!t0.level, "timers follow mtime");
    bench_advance(TICK);
    tap_ok(t0.level, "to the tick");
    bench_write(MTIME, 8, 5);
    tap_ok(!t0.level, "setting mtime back lowers the line");
    bench_write(MTIME, 8, UINT64_MAX);
    bench_write(MTIMER, 8, UINT64_MAX);
    tap_ok(t0.level, "the last tick is due");
    bench_advance(TICK);
    tap_eq(bench_read(MTIME, 8), 0, "mtime wraps");
    bench_write(MTIME, 8, 1000);
}

static void check_rest(struct aclint_mtimer *mtimer)
{
    struct aclint_mtimer *other = bench_create(&aclint_mtimer_type, "num-harts=2");
    struct aclint_mtimer *third = bench_create(&aclint_mtimer_type, "num-harts=3");
    static struct bench_line line;
    uint64_t value;

    other->clock = third->clock = &bench_clock;
    bench_realize(other);
    bench_realize(third);
    bench_write(MTIMER, 8, 1010);
    tap_eq(bench_move(aclint_mtimer_type.state, mtimer, other), 0, "state moves");
    tap_eq(-bench_move(aclint_mtimer_type.state, mtimer, third), EINVAL, "but not to three harts");
    bench_watch(&line, &other->out[0]);
    bench_advance(9 * TICK);
    tap_ok(!line.level, "the copy waits");
    bench_advance(TICK);
    tap_ok(line.level, "and fires");
    tap_eq(bench_read(MTIMER + 16, 8), 0, "there are two harts");
    bench_write(MTIMER + 16, 8, 1);
    bench_write(MTIMER + 0x7ff0, 8, 1);
    tap_eq(bench_read(MTIMER + 0x7ff0, 8), 0, "and nothing below mtime");
    tap_ok(mem_access_load(&bench_space, mem_gpa(MTIME), 2, &value, MEM_ATTRS_NONE) == -EINVAL,
           "16 bits are refused");
    bench_watch(&line, &mtimer->out[0]);
    tap_ok(line.level, "due");
    hw_reset_device(&mtimer->device, false);
    tap_ok(!line.level, "reset lowers the line");
    tap_eq(bench_read(MTIME, 8), 0, "and clears mtime");
    bench_advance(7 * TICK);
    tap_eq(bench_read(MTIME, 8), 7, "which goes on from there");
    mem_region_remove(&mtimer->mmio);
    hw_device_destroy(&mtimer->device);
    hw_device_destroy(&other->device);
    hw_device_destroy(&third->device);
    tap_ok(!bench_timers, "no timer is left");
}

int main(void)
{
    struct aclint_mtimer *mtimer;

    bench_init();
    hw_lock_acquire();
    check_swi();
    mtimer = bench_create(&aclint_mtimer_type, "num-harts=2");
    mtimer->clock = &bench_clock;
    bench_realize(mtimer);
    bench_put(MTIMER, &mtimer->mmio);
    check_timer(mtimer);
    check_mtime(mtimer);
    check_rest(mtimer);
    hw_lock_release();
    return tap_done();
}
