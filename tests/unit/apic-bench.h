/* Four processors with local APICs on a bus, and an 8259 at the first one's LINT0. */
#ifndef TINAMOU_TESTS_UNIT_APIC_BENCH_H
#define TINAMOU_TESTS_UNIT_APIC_BENCH_H

#include "hw/intc/apic.h"
#include "cpu/irq.h"
#include "hw/intc/i8259.h"

#include "tests/unit/hw-bench.h"

enum {
    CPUS = 4,
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HIGH = 0x310,
    LVT_TIMER = 0x320,
    LVT_PERFORMANCE = 0x340,
    LINT0 = 0x350,
    LINT1 = 0x360,
    LVT_ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
    SELF_IPI = 0x3f0,
    MASKED = 1 << 16,
    ENABLED = 0x100,
};

struct processor {
    struct apic *apic;
    bool intr;
    unsigned nmi, smi, init, sipi;
    uint8_t start;
};

static struct processor cpu[CPUS];
static struct apic_bus bus;
static struct apic *current;
static struct i8259 *pic;
static uint64_t tsc_ahead; /* of 2 ticks a nanosecond */
static unsigned eoi_count;
static uint8_t eoi_vector;

static inline void interrupt(void *opaque, bool level)
{
    ((struct processor *)opaque)->intr = level;
}

static inline void nmi(void *opaque)
{
    ((struct processor *)opaque)->nmi++;
}

static inline void smi(void *opaque)
{
    ((struct processor *)opaque)->smi++;
}

static inline void init(void *opaque)
{
    ((struct processor *)opaque)->init++;
}

static inline void sipi(void *opaque, uint8_t vector)
{
    ((struct processor *)opaque)->sipi++;
    ((struct processor *)opaque)->start = vector;
}

static inline uint64_t tsc(void *opaque)
{
    return (uint64_t)bench_now[CPU_CLOCK_VIRTUAL] * 2 + tsc_ahead;
}

static const struct apic_cpu_ops ops = {interrupt, nmi, smi, init, sipi, tsc};

static inline struct apic *whose(void *opaque)
{
    return current;
}

static inline void broadcast(void *opaque, uint8_t vector)
{
    eoi_count++;
    eoi_vector = vector;
}

static inline int inta(void *opaque)
{
    return i8259_acknowledge(pic);
}

static inline struct apic *create(unsigned n, const char *properties)
{
    struct apic *apic = bench_create(&apic_type, properties);

    apic->bus = &bus;
    apic->clock = &bench_clock;
    apic->ops = &ops;
    apic->opaque = &cpu[n];
    apic->tsc_frequency = 2000000000;
    apic->bsp = n == 0;
    cpu[n].apic = apic;
    return apic;
}

static inline void set(unsigned reg, uint32_t value)
{
    bench_write(APIC_BASE + reg, 4, value);
}

static inline uint32_t get(unsigned reg)
{
    return (uint32_t)bench_read(APIC_BASE + reg, 4);
}

static inline int wrmsr(uint32_t msr, uint64_t value)
{
    return apic_msr_write(current, msr, value);
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint64_t value = 0xdead;

    return apic_msr_read(current, msr, &value) ? UINT64_MAX : value;
}

static inline void message(uint64_t address, uint32_t data)
{
    apic_bus_send_msi(&bus, &(struct cpu_msi){.address = APIC_BASE | address, .data = data});
}

static inline int take(unsigned n)
{
    return cpu[n].intr ? apic_acknowledge(cpu[n].apic) : -1;
}

/* Takes the interrupt of a processor and ends it: its vector, -1 if there is none. */
static inline int serve(unsigned n)
{
    struct apic *before = current;
    int vector = take(n);

    current = cpu[n].apic;
    if (vector >= 0 && apic_base(current) & APIC_BASE_X2APIC) {
        wrmsr(0x80b, 0);
    } else if (vector >= 0) {
        set(EOI, 0);
    }
    current = before;
    return vector;
}

/* Which processors get a vector now, a bit each. */
static inline unsigned served(uint8_t vector)
{
    unsigned who = 0;

    for (unsigned n = 0; n < CPUS; n++) {
        who |= (unsigned)(serve(n) == vector) << n;
    }
    return who;
}

static inline void reset_all(void)
{
    for (unsigned n = 0; n < CPUS; n++) {
        struct apic *apic = cpu[n].apic;

        hw_reset_device(&apic->device, true);
        current = apic;
        set(SVR, ENABLED | 0xff);
        cpu[n] = (struct processor){.apic = apic, .intr = cpu[n].intr};
    }
    current = cpu[0].apic;
    eoi_count = 0;
}

static inline void apic_bench_start(void)
{
    bench_init();
    hw_lock_acquire();
    apic_bus_init(&bus);
    bus.current = whose;
    bus.eoi = broadcast;
    bus.acknowledge = inta;
    bench_put(APIC_BASE, &bus.mmio);
    pic = bench_create(&i8259_type, "");
    bench_realize(pic);
    bench_put(0x20, &pic->master_io);
    for (unsigned n = 0; n < CPUS; n++) {
        unsigned order = n ^ 1;
        char properties[] = {'i', 'd', '=', (char)('0' + order), '\0'};

        bench_realize(create(order, properties));
    }
    hw_irq_connect(&pic->out, &cpu[0].apic->lint0);
    current = cpu[0].apic;
}

static inline int apic_bench_end(void)
{
    mem_region_remove(&bus.mmio);
    mem_region_remove(&pic->master_io);
    hw_irq_connect(&pic->out, NULL);
    for (unsigned n = 0; n < CPUS; n++) {
        hw_device_destroy(&cpu[n].apic->device);
    }
    hw_device_destroy(&pic->device);
    apic_bus_end(&bus);
    tap_ok(!bench_timers && !bus.first, "nothing is left");
    hw_lock_release();
    return tap_done();
}

#endif
