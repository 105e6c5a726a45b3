/*
 * What leaves a guest under KVM, many times: each part says when it begins and ends, and the host
 * takes the time. parts: a loop in ring 3, port reads, register reads, notifications that only
 * signal an event descriptor, and requests of a virtio entropy device that end by an interrupt.
 * The command line has rounds=N (of ring 3) and count=N (of all others).
 */
#include "tests/bench/guest/ring3.h"
#include "tests/kvm/irq.h"

#define VIRTIO  0xfeb00000ul
#define SLOTS   24
#define SIZE    8
#define SCRATCH 0x3ff /* of COM1 */

enum { /* registers of virtio-mmio */
       DEVICE = 0x08,
       FEATURES = 0x20,
       FEATURES_SELECT = 0x24,
       QUEUE_SIZE = 0x38,
       QUEUE_READY = 0x44,
       NOTIFY = 0x50,
       INTERRUPT = 0x60,
       ACKNOWLEDGE = 0x64,
       STATUS = 0x70,
       QUEUE_DESC = 0x80,
       QUEUE_AVAIL = 0x90,
       QUEUE_USED = 0xa0,
};

static struct queue {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } desc[SIZE];
    struct {
        uint16_t flags, index, ring[SIZE];
    } avail;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[SIZE];
    } used __attribute__((aligned(4)));
} volatile *queue;

static uint64_t at;
static uint8_t *buffer;
static volatile uint32_t interrupts;

static void set64(unsigned reg, uint64_t v)
{
    write32(at + reg, (uint32_t)v);
    write32(at + reg + 4, (uint32_t)(v >> 32));
}

static bool start(void)
{
    unsigned slot = 0;

    while (slot < SLOTS && !read32(VIRTIO + slot * 512 + DEVICE)) {
        slot++;
    }
    at = VIRTIO + slot * 512;
    if (slot == SLOTS) {
        return false;
    }
    queue = pages(1);
    buffer = pages(1);
    write32(at + STATUS, 0);
    write32(at + STATUS, 3);
    write32(at + FEATURES_SELECT, 1);
    write32(at + FEATURES, 1);
    write32(at + STATUS, 11);
    write32(at + QUEUE_SIZE, SIZE);
    set64(QUEUE_DESC, (uint64_t)&queue->desc);
    set64(QUEUE_AVAIL, (uint64_t)&queue->avail);
    set64(QUEUE_USED, (uint64_t)&queue->used);
    write32(at + QUEUE_READY, 1);
    write32(at + STATUS, 15);
    return true;
}

/* The host takes the time when the line arrives. */
static void mark(const char *what, const char *name)
{
    say("bench %s %s\n", what, name);
    flush();
}

static volatile uint64_t result;

static void in_ring3(uint64_t rounds)
{
    result = ring3_work(rounds);
    leave();
}

static void ring3(void)
{
    mark("begin", "ring3");
    RUN(in_ring3, argument("rounds", 1000), RING3);
    mark("end", "ring3");
    say("bench result %llx\n", (unsigned long long)result);
}

static void port(void)
{
    mark("begin", "port");
    for (uint32_t n = 0; n < count; n++) {
        (void)inb(SCRATCH);
    }
    mark("end", "port");
}

static void reg(void)
{
    mark("begin", "register");
    for (uint32_t n = 0; n < count; n++) {
        (void)read32(VIRTIO);
    }
    mark("end", "register");
}

/* Nothing is in the queue: what remains is the way to whoever waits for the descriptor. */
static void notify(void)
{
    if (!start()) {
        return;
    }
    mark("begin", "notify");
    for (uint32_t n = 0; n < count; n++) {
        write32(at + NOTIFY, 0);
    }
    mark("end", "notify");
}

static void on_interrupt(struct frame *frame)
{
    (void)frame;
    interrupts++;
    write32(at + ACKNOWLEDGE, read32(at + INTERRUPT));
    apic_eoi();
}

static void route(void)
{
    for (unsigned pin = 5; pin < 48; pin++) {
        uint64_t ioapic = pin < 24 ? IOAPIC : IOAPIC2;

        if (pin == 8) {
            continue;
        }
        handlers[0x50 + pin] = on_interrupt;
        write32(ioapic, 0x11 + pin % 24 * 2);
        write32(ioapic + 0x10, 0);
        write32(ioapic, 0x10 + pin % 24 * 2);
        write32(ioapic + 0x10, 0x50 + pin);
    }
}

static void trips(void)
{
    uint32_t done = 0;

    if (!start()) {
        return;
    }
    apic_enable();
    route();
    queue->desc[0].address = (uint64_t)buffer;
    queue->desc[0].length = 16;
    queue->desc[0].flags = 2;
    mark("begin", "trips");
    for (; done < count; done++) {
        uint32_t before = interrupts;

        queue->avail.ring[queue->avail.index % SIZE] = 0;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        queue->avail.index++;
        write32(at + NOTIFY, 0);
        while (interrupts == before) {
            __asm__ volatile("sti; hlt; cli" ::: "memory");
        }
    }
    mark("end", "trips");
    check("all answered", queue->used.index == (uint16_t)count);
}

const struct part parts[] = {
    {"ring3", ring3},   {"port", port},   {"register", reg},
    {"notify", notify}, {"trips", trips}, {NULL, NULL},
};
