/*
 * The devices of x86 boards under a hostile guest: any access to any port or register, by any
 * vCPU, MSRs, interrupts taken at any time, lines that go up and down, time that goes on, and
 * states that are saved and loaded. An input is operations: a byte for what, a byte for with what,
 * then what it takes.
 */
#include "cpu/irq.h"
#include "hw/char/isa-serial.h"
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "hw/intc/apic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/isa/isa.h"
#include "hw/misc/isa-debug-exit.h"
#include "hw/rtc/mc146818.h"
#include "hw/timer/i8254.h"
#include "mem/access.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/host.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { CPUS = 2, TSC_PER_NS = 3 };

static struct mem_region root, ports;
static struct mem_space space;
static struct chardev uart_host;
static struct apic_bus bus;
static struct apic *current;
static bool intr[CPUS];
static uint64_t tsc_ahead;

static struct i8259 *pic;
static struct ioapic *ioapic;
static struct apic *apics[CPUS];
static struct i8254 *pit;
static struct mc146818 *rtc;
static struct isa_bridge *bridge;
static struct isa_serial *uart;
static struct isa_debug_exit *debug_exit;
static struct hw_device *devices[16];
static unsigned device_count;

/* ---- processors ---- */

static void interrupt(void *opaque, bool level)
{
    *(bool *)opaque = level;
}

static void nothing(void *opaque)
{
}

static void start(void *opaque, uint8_t vector)
{
}

static uint64_t tsc(void *opaque)
{
    return (uint64_t)now[CPU_CLOCK_VIRTUAL] * TSC_PER_NS + tsc_ahead;
}

static const struct apic_cpu_ops ops = {interrupt, nothing, nothing, nothing, start, tsc};

static struct apic *whose(void *opaque)
{
    return current;
}

static void end_of_interrupt(void *opaque, uint8_t vector)
{
    ioapic_eoi(ioapic, vector);
}

static int inta(void *opaque)
{
    return i8259_acknowledge(pic);
}

static void send(void *opaque, const struct cpu_msi *msi)
{
    apic_bus_send_msi(&bus, msi);
}

static void route_changed(void *opaque, unsigned pin, const struct cpu_msi *msi, bool masked,
                          bool level)
{
    assert(pin < IOAPIC_PINS && msi->address >> 20 == 0xfee);
}

/* ---- the board ---- */

static void put(struct mem_region *container, uint64_t at, struct mem_region *region)
{
    int err = mem_region_add(container, at, region, 0);

    assert(!err);
}

static void *create(const struct hw_device_type *type)
{
    struct hw_device *device = hw_device_create(type, NULL);

    assert(device);
    devices[device_count++] = device;
    return device;
}

static void realize(void *device, struct hw_bus *on)
{
    char error[256];
    int err = hw_device_realize(device, on, false, error, sizeof(error));

    assert(!err);
}

static void make_apics(void)
{
    apic_bus_init(&bus);
    bus.current = whose;
    bus.eoi = end_of_interrupt;
    bus.acknowledge = inta;
    put(&root, APIC_BASE, &bus.mmio);
    for (unsigned i = 0; i < CPUS; i++) {
        struct apic *apic = create(&apic_type);

        apic->id = i;
        apic->bus = &bus;
        apic->clock = &source;
        apic->ops = &ops;
        apic->opaque = &intr[i];
        apic->tsc_frequency = UINT64_C(1000000000) * TSC_PER_NS;
        apic->bsp = i == 0;
        apics[i] = apic;
        realize(apic, NULL);
    }
}

static void make_isa(void)
{
    bridge = create(&isa_bridge_type);
    bridge->bus.io = &ports;
    bridge->bus.clock = &source;
    for (unsigned n = 0; n < ISA_IRQS; n++) {
        bridge->bus.irqs[n] = &pic->in[n];
    }
    realize(bridge, NULL);
    uart = create(&isa_serial_type);
    uart->uart.chr = &uart_host;
    realize(uart, &bridge->bus.bus);
    debug_exit = create(&isa_debug_exit_type);
    debug_exit->iobase = 0xf4;
    realize(debug_exit, &bridge->bus.bus);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    hw_lock_acquire();
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_region_init_container(&ports, "io", ISA_PORTS);
    mem_space_init(&space, "fuzz", &root);
    put(&root, 0, &ports);
    pic = create(&i8259_type);
    realize(pic, NULL);
    put(&ports, I8259_MASTER_PORT, &pic->master_io);
    put(&ports, I8259_SLAVE_PORT, &pic->slave_io);
    put(&ports, I8259_ELCR_PORT, &pic->elcr_io);
    ioapic = create(&ioapic_type);
    ioapic->send = send;
    ioapic->route_changed = route_changed;
    realize(ioapic, NULL);
    put(&root, IOAPIC_BASE, &ioapic->mmio);
    make_apics();
    hw_irq_connect(&pic->out, &apics[0]->lint0);
    pit = create(&i8254_type);
    pit->clock = &source;
    realize(pit, NULL);
    put(&ports, I8254_PORT, &pit->io);
    put(&ports, I8254_PORT_61, &pit->port61);
    hw_irq_connect(&pit->out, &pic->in[0]);
    rtc = create(&mc146818_type);
    rtc->clock = &source;
    realize(rtc, NULL);
    put(&ports, MC146818_PORT, &rtc->io);
    hw_irq_connect(&rtc->out, &pic->in[8]);
    make_isa();
    return 0;
}

/* ---- what may happen ---- */

static const struct {
    uint64_t at, size;
} ranges[] = {
    {I8259_MASTER_PORT, 2},
    {I8259_SLAVE_PORT, 2},
    {I8259_ELCR_PORT, 2},
    {I8254_PORT, 4},
    {I8254_PORT_61, 1},
    {MC146818_PORT, 2},
    {0xf4, 2},
    {0x3f8, 8},
    {IOAPIC_BASE, 0x60},
    {APIC_BASE, 0x400},
    {APIC_BASE, 0x400},
    {IOAPIC_BASE, IOAPIC_SIZE},
    {APIC_BASE, APIC_SIZE},
    {I8259_MASTER_PORT, 0x500},
};

enum { RANGES = sizeof(ranges) / sizeof(ranges[0]) };

static void access_register(struct fuzz_input *in, unsigned with)
{
    uint64_t at = ranges[with % RANGES].at, range = ranges[with % RANGES].size;
    unsigned kind = (unsigned)fuzz_number(in, 1), size = 1u << kind % 4;
    struct mem_attrs attrs = {.debug = kind >> 3 & 1, .requester = kind >> 4 & 1};
    uint64_t value;

    at += fuzz_number(in, range > 0x10000 ? 3 : range > 256 ? 2 : 1) % range;
    if (kind & 4) {
        (void)mem_access_load(&space, mem_gpa(at), size, &value, attrs);
    } else {
        value = fuzz_number(in, size);
        (void)mem_access_store(&space, mem_gpa(at), size, value, attrs);
    }
}

static void access_msr(struct fuzz_input *in, struct apic *apic)
{
    unsigned what = (unsigned)fuzz_number(in, 1);
    uint32_t msr = what < 64    ? 0x800 + what
                   : what < 128 ? APIC_MSR_BASE
                   : what < 192 ? APIC_MSR_TSC_DEADLINE
                                : (uint32_t)fuzz_number(in, 2);
    uint64_t value = fuzz_number(in, 8);

    if (what & 1) {
        (void)apic_msr_write(apic, msr, value);
    } else {
        (void)apic_msr_read(apic, msr, &value);
    }
}

/* Lines that the board drives itself are left to it. */
static void drive_line(struct fuzz_input *in, unsigned with)
{
    struct hw_irq_input *line;
    unsigned n = with >> 1 & 31;

    if (n == 0 || n == 4 || n == 8) {
        return;
    }
    line = n < 16 ? &pic->in[n] : n < 30 ? &ioapic->in[n - 16] : &apics[n & 1]->lint1;
    line->handler(line->opaque, line->n, with & 1);
}

static void use_apic(struct fuzz_input *in, struct apic *apic, unsigned how)
{
    enum { CURRENT_COUNT = 0x390 };
    uint8_t page[APIC_PAGE_SIZE], again[APIC_PAGE_SIZE];

    switch (how) {
    case 0:
        apic_set_tpr(apic, (uint8_t)fuzz_number(in, 1) & 15);
        break;
    case 1:
        apic_reset_by_init(apic);
        break;
    case 2:
        fuzz_bytes(in, page, sizeof(page));
        apic_set_page(apic, page);
        break;
    case 3:
        apic_get_page(apic, page);
        apic_set_page(apic, page);
        apic_get_page(apic, again);
        /* A periodic timer that has ended as a one-shot one begins anew. */
        memcpy(again + CURRENT_COUNT, page + CURRENT_COUNT, 4);
        assert(memcmp(page, again, sizeof(page)) == 0);
        break;
    case 4:
        tsc_ahead = fuzz_number(in, 8);
        apic_tsc_changed(apic);
        break;
    case 5:
        apic_local_interrupt(apic,
                             fuzz_number(in, 1) & 1 ? APIC_LVT_THERMAL : APIC_LVT_PERFORMANCE);
        break;
    case 6:
        apic_set_virtual_wire(apic);
        break;
    default:
        current = fuzz_number(in, 1) % 4 ? apic : NULL;
    }
}

static void take_interrupt(unsigned n)
{
    bool has = apic_has_interrupt(apics[n]);
    int vector = apic_acknowledge(apics[n]);

    assert(has ? vector >= 0 && vector <= 255 : vector == -1);
}

static int load(struct hw_device *device, const struct state_buffer *buffer)
{
    char error[256];

    return state_load(device->type->state, device, buffer->data, buffer->size, NULL, error,
                      sizeof(error));
}

/* What a device has saved it takes back, also after it has refused what was tampered with. */
static void move_state(struct fuzz_input *in, struct hw_device *device)
{
    struct state_buffer buffer = {0};
    char error[256];
    size_t at = fuzz_number(in, 2);
    uint8_t flip = (uint8_t)fuzz_number(in, 1);
    int err;

    if (!device->type->state) {
        return;
    }
    err = state_save(device->type->state, device, &buffer, error, sizeof(error));
    assert(!err);
    buffer.data[at % buffer.size] ^= flip;
    err = load(device, &buffer);
    if (err) {
        buffer.data[at % buffer.size] ^= flip;
        err = load(device, &buffer);
    }
    if (err) {
        fprintf(stderr, "%s: its own state is refused\n", device->type->name);
        abort();
    }
    state_buffer_free(&buffer);
}

static void reset(void)
{
    for (unsigned n = 1; n < ISA_IRQS; n++) {
        pic->in[n].handler(pic->in[n].opaque, n, false);
    }
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        ioapic->in[pin].handler(ioapic->in[pin].opaque, pin, false);
    }
    memset(now, 0, sizeof(now));
    tsc_ahead = 0;
    current = apics[0];
    uart_host.room = uart_host.waiting = 16;
    for (unsigned i = 0; i < CPUS; i++) {
        apics[i]->lint1.handler(apics[i]->lint1.opaque, 1, false);
    }
    for (unsigned i = 0; i < device_count; i++) {
        hw_reset_device(devices[i], true);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    reset();
    while (in.left) {
        unsigned op = (unsigned)fuzz_number(&in, 1), with = (unsigned)fuzz_number(&in, 1);
        struct apic *apic = apics[with % CPUS];

        if (op < 120) {
            access_register(&in, with);
        } else if (op < 140) {
            access_msr(&in, apic);
        } else if (op < 160) {
            drive_line(&in, with);
        } else if (op < 180) {
            use_apic(&in, apic, op % 8);
        } else if (op < 205) {
            take_interrupt(with % CPUS);
        } else if (op < 235) {
            advance((int64_t)fuzz_number(&in, 1 + with % 6));
        } else if (op < 245) {
            move_state(&in, devices[with % device_count]);
        } else if (op < 250) {
            hw_reset_device(devices[with % device_count], false);
        } else {
            uart_host.waiting = with;
            chardev_accept(&uart_host);
        }
        for (unsigned i = 0; i < CPUS; i++) {
            assert(intr[i] == apic_has_interrupt(apics[i]));
        }
    }
    take_requests();
    return 0;
}
