/*
 * A bench for devices: an address space with the device's registers in it, lines that are watched,
 * a clock that goes when told to, and a chardev of the test's own (with BENCH_CHARDEV defined
 * before the inclusion, in place of io/chardev).
 */
#ifndef TINAMOU_TESTS_UNIT_HW_BENCH_H
#define TINAMOU_TESTS_UNIT_HW_BENCH_H

#include "cpu/clock.h"
#include "hw/core/device.h"
#include "hw/core/irq.h"
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "mem/access.h"

#include "tests/unit/tap.h"

#include <stdlib.h>

static struct mem_region bench_root;
static struct mem_space bench_space;

static inline void bench_init(void)
{
    mem_region_init_container(&bench_root, "bench", MEM_SIZE_ALL);
    mem_space_init(&bench_space, "bench", &bench_root);
}

/* A device with properties "a=1,b=2", not realized. */
static inline void *bench_create(const struct hw_device_type *type, const char *properties)
{
    struct hw_device *device = hw_device_create(type, NULL);
    char error[256];

    if (!device || property_set_list(type->properties, device, type->name, properties, NULL, NULL,
                                     error, sizeof(error))) {
        tap_ok(false, "create %s: %s", type->name, device ? error : "no memory");
        exit(1);
    }
    return device;
}

static inline void bench_realize(void *device)
{
    char error[256] = "";

    if (hw_device_realize(device, NULL, false, error, sizeof(error))) {
        tap_ok(false, "realize: %s", error);
        exit(1);
    }
    hw_reset_device(device, true);
}

static inline void bench_put(uint64_t at, struct mem_region *region)
{
    if (mem_region_add(&bench_root, at, region, 0)) {
        tap_ok(false, "mem_region_add");
        exit(1);
    }
}

/* A register that cannot be read is all ones; a failed write is a failed check. */
static inline uint64_t bench_read(uint64_t at, unsigned size)
{
    uint64_t value = 0;

    return mem_access_load(&bench_space, mem_gpa(at), size, &value, MEM_ATTRS_NONE) ? UINT64_MAX
                                                                                    : value;
}

static inline void bench_write(uint64_t at, unsigned size, uint64_t value)
{
    int err = mem_access_store(&bench_space, mem_gpa(at), size, value, MEM_ATTRS_NONE);

    if (err) {
        tap_ok(false, "write of %#llx to %#llx: %s", (unsigned long long)value,
               (unsigned long long)at, strerror(-err));
    }
}

/* A saved and loaded again into a device made alike; returns state_load()'s result. */
static inline int bench_move(const struct state_table *table, void *from, void *to)
{
    struct state_buffer buffer = {0};
    char error[256] = "";
    int err = state_save(table, from, &buffer, error, sizeof(error));

    if (!err) {
        err = state_load(table, to, buffer.data, buffer.size, NULL, error, sizeof(error));
    }
    if (err) {
        tap_note("%s", error);
    }
    state_buffer_free(&buffer);
    return err;
}

/* ---- lines ---- */

struct bench_line {
    struct hw_irq_input in;
    bool level;
    unsigned rises;
};

static inline void bench_line_changed(void *opaque, unsigned n, bool level)
{
    struct bench_line *line = opaque;

    line->level = level;
    line->rises += level;
}

static inline void bench_watch(struct bench_line *line, struct hw_irq *out)
{
    *line = (struct bench_line){.in = {bench_line_changed, line, 0}};
    hw_irq_connect(out, &line->in);
}

/* ---- clock ---- */

struct cpu_timer {
    enum cpu_clock clock;
    int64_t deadline;
    void (*fire)(void *opaque);
    void *opaque;
    struct cpu_timer *next;
};

static int64_t bench_now[CPU_CLOCK_COUNT];
static struct cpu_timer *bench_timers;

static inline int64_t bench_clock_now(struct cpu_clock_source *source, enum cpu_clock clock)
{
    return bench_now[clock];
}

static inline struct cpu_timer *bench_timer_create(struct cpu_clock_source *source,
                                                   enum cpu_clock clock, void (*fire)(void *opaque),
                                                   void *opaque)
{
    struct cpu_timer *timer = calloc(1, sizeof(*timer));

    if (timer) {
        *timer = (struct cpu_timer){clock, CPU_CLOCK_NEVER, fire, opaque, bench_timers};
        bench_timers = timer;
    }
    return timer;
}

static inline void bench_timer_arm(struct cpu_timer *timer, int64_t deadline)
{
    timer->deadline = deadline;
}

static inline void bench_timer_destroy(struct cpu_timer *timer)
{
    struct cpu_timer **link = &bench_timers;

    while (*link != timer) {
        link = &(*link)->next;
    }
    *link = timer->next;
    free(timer);
}

static const struct cpu_clock_ops bench_clock_ops = {bench_clock_now, bench_timer_create,
                                                     bench_timer_arm, bench_timer_destroy};
static __attribute__((unused)) struct cpu_clock_source bench_clock = {&bench_clock_ops};

/* All clocks go on by ns nanoseconds, and what falls due fires. */
static inline void bench_advance(int64_t ns)
{
    for (unsigned i = 0; i < CPU_CLOCK_COUNT; i++) {
        bench_now[i] += ns;
    }
    for (struct cpu_timer *t = bench_timers; t; t = t->next) {
        if (t->deadline <= bench_now[t->clock]) {
            t->deadline = CPU_CLOCK_NEVER;
            t->fire(t->opaque);
        }
    }
}

/* ---- chardev ---- */

#ifdef BENCH_CHARDEV
#include "io/chardev/chardev.h"

#include <errno.h>

struct chardev {
    const struct chardev_handlers *handlers;
    void *opaque;
    size_t room; /* bytes that the host still takes */
    char sent[256], waiting[256];
    size_t sent_count, waiting_count;
};

int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque)
{
    if (handlers && chr->handlers) {
        return -EBUSY;
    }
    chr->handlers = handlers;
    chr->opaque = opaque;
    return 0;
}

void chardev_accept(struct chardev *chr)
{
    while (chr->handlers && chr->waiting_count) {
        size_t n = chr->handlers->can_receive(chr->opaque);

        n = n < chr->waiting_count ? n : chr->waiting_count;
        if (!n) {
            break;
        }
        chr->waiting_count -= n;
        chr->handlers->receive(chr->opaque, (const uint8_t *)chr->waiting, n);
        memmove(chr->waiting, chr->waiting + n, chr->waiting_count);
    }
}

size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    size = size < chr->room ? size : chr->room;
    chr->room -= size;
    for (size_t i = 0; i < size && chr->sent_count < sizeof(chr->sent) - 1; i++) {
        chr->sent[chr->sent_count++] = (char)bytes[i];
        chr->sent[chr->sent_count] = '\0';
    }
    return size;
}

const char *chardev_id(const struct chardev *chr)
{
    return "bench";
}

/* The one of that id, which a test may set. */
static struct chardev *bench_chardev;

struct chardev *chardev_find(const char *id)
{
    return strcmp(id, "bench") == 0 ? bench_chardev : NULL;
}

/* Somebody types. */
static inline void bench_type(struct chardev *chr, const char *text)
{
    size_t n = strlen(text);

    memcpy(chr->waiting + chr->waiting_count, text, n);
    chr->waiting_count += n;
    chardev_accept(chr);
}

/* The host takes more. */
static inline void bench_take(struct chardev *chr)
{
    if (chr->handlers) {
        chr->handlers->writable(chr->opaque);
    }
}

/* What was sent since the last time. */
static inline const char *bench_sent(struct chardev *chr)
{
    static char text[sizeof(chr->sent)];

    memcpy(text, chr->sent, chr->sent_count);
    text[chr->sent_count] = '\0';
    chr->sent_count = 0;
    return text;
}
#endif

#endif
