/*
 * Time as targets and accelerators see it: ops that the system emulator hands down (it implements
 * them over io/loop), so that nothing below it reads a host clock for the guest by itself. A
 * deterministic mode is another implementation.
 */
#ifndef TINAMOU_CPU_CLOCK_H
#define TINAMOU_CPU_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

enum cpu_clock {
    CPU_CLOCK_REALTIME, /* host monotonic time: goes on when the VM is stopped */
    CPU_CLOCK_VIRTUAL, /* guest time: starts at 0, stands still while the VM is stopped, is saved */
    CPU_CLOCK_HOST,    /* wall clock, since 1970 in UTC; may jump */
    CPU_CLOCK_COUNT
};

#define CPU_CLOCK_NEVER INT64_MAX /* a deadline that does not come */

struct cpu_timer; /* private to the implementation */

struct cpu_clock_source;

struct cpu_clock_ops {
    /* Nanoseconds. Any thread, without a lock; REALTIME and VIRTUAL never go back. */
    int64_t (*now)(struct cpu_clock_source *source, enum cpu_clock clock);
    /*
     * A timer, disarmed; NULL when out of memory. fire(opaque) is called on the main loop's thread
     * under the machine lock, once per arming, not before the deadline.
     */
    struct cpu_timer *(*timer_create)(struct cpu_clock_source *source, enum cpu_clock clock,
                                      void (*fire)(void *opaque), void *opaque);
    /* Sets the deadline, in place of any earlier one; CPU_CLOCK_NEVER disarms. Any thread. */
    void (*timer_arm)(struct cpu_timer *timer, int64_t deadline);
    /* Under the machine lock; fire() is not running and will not be called afterwards. */
    void (*timer_destroy)(struct cpu_timer *timer);
};

struct cpu_clock_source {
    const struct cpu_clock_ops *ops;
};

static inline int64_t cpu_clock_now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    return source->ops->now(source, clock);
}

/* Ticks of a counter of `frequency` Hz after ns nanoseconds (>= 0), rounded down, modulo 2^64. */
static inline uint64_t cpu_clock_to_ticks(int64_t ns, uint64_t frequency)
{
    return (uint64_t)((unsigned __int128)(uint64_t)ns * frequency / 1000000000);
}

/*
 * The first nanosecond at which such a counter shows at least `ticks`; CPU_CLOCK_NEVER when that is
 * beyond the clock's range. frequency is not 0.
 */
static inline int64_t cpu_clock_from_ticks(uint64_t ticks, uint64_t frequency)
{
    unsigned __int128 ns = ((unsigned __int128)ticks * 1000000000 + frequency - 1) / frequency;

    return ns > INT64_MAX ? CPU_CLOCK_NEVER : (int64_t)ns;
}

/*
 * A counter of ticks of the virtual clock that can be set, and is seen in several places: RISC-V's
 * mtime, which is also what the harts' `time` CSR shows. Embedded in the device where it is set;
 * zeroed, it shows the clock.
 */
struct cpu_timebase {
    _Atomic uint64_t offset; /* what it is ahead of the clock, in ticks, modulo 2^64 */
    struct cpu_timebase_user *users;
};

/* Somebody who compares with it. */
struct cpu_timebase_user {
    /* The offset has changed. On the thread that has set it, with the locks that this holds. */
    void (*changed)(struct cpu_timebase_user *user);
    struct cpu_timebase_user *next;
};

/* Before vCPUs run. */
static inline void cpu_timebase_add(struct cpu_timebase *timebase, struct cpu_timebase_user *user)
{
    user->next = timebase->users;
    timebase->users = user;
}

/* Any thread, one at a time. */
static inline void cpu_timebase_set(struct cpu_timebase *timebase, uint64_t offset)
{
    atomic_store_explicit(&timebase->offset, offset, memory_order_release);
    for (struct cpu_timebase_user *user = timebase->users; user; user = user->next) {
        user->changed(user);
    }
}

/*
 * When a counter of `frequency` Hz that is `offset` ticks ahead will show at least `compare`, now
 * that the clock shows ns (>= 0): a time on the clock; ns if it does already; CPU_CLOCK_NEVER when
 * that is beyond the clock's range.
 */
static inline int64_t cpu_clock_deadline(int64_t ns, uint64_t frequency, uint64_t offset,
                                         uint64_t compare)
{
    uint64_t ticks = cpu_clock_to_ticks(ns, frequency), left = compare - (ticks + offset);

    if (compare <= ticks + offset) {
        return ns;
    }
    return left <= UINT64_MAX - ticks ? cpu_clock_from_ticks(ticks + left, frequency)
                                      : CPU_CLOCK_NEVER;
}

#endif
