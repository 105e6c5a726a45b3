/* How often each vector has been taken, and the first few in order. */
#ifndef TINAMOU_TESTS_KVM_COUNTS_H
#define TINAMOU_TESTS_KVM_COUNTS_H

#include "tests/kvm/irq.h"

static volatile uint32_t counts[256];
static volatile uint8_t order[16];
static volatile unsigned ordered;

static inline void note(struct frame *frame)
{
    uint8_t vector = (uint8_t)frame->vector;

    counts[vector]++;
    if (ordered < sizeof(order)) {
        order[ordered++] = vector;
    }
}

static inline void reset_counts(void)
{
    for (unsigned i = 0; i < 256; i++) {
        counts[i] = 0;
    }
    ordered = 0;
}

/* The vectors in the order that they came, against two digits for each. */
static inline void expect_order(const char *what, uint64_t want)
{
    uint64_t got = 0;

    for (unsigned i = 0; i < ordered; i++) {
        got = got << 8 | order[i];
    }
    expect(what, got, want);
}

/* Time for what comes at once, or not at all. */
static inline void a_while(void)
{
    for (unsigned i = 0; i < 50; i++) {
        pause();
        (void)inb(0x3ff);
    }
}

/* After com1_raise() and sti(). */
static inline void settle(void)
{
    cli();
    com1_lower();
}

/* The vector `n` times, each time by raise(). */
static inline void many(const char *what, unsigned vector, uint32_t n, void (*raise)(void))
{
    uint32_t done = 0;

    reset_counts();
    sti();
    while (done < n) {
        raise();
        if (!WAIT_FOR(counts[vector] > done)) {
            break;
        }
        done++;
    }
    settle();
    expect(what, counts[vector], n);
}

#endif
