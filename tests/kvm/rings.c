/*
 * A virtio device of the memory-mapped transport, first as its driver uses it, and then with rings
 * that loop, overlap, or are nowhere. After each of these the device is reset and must work again.
 * It is an entropy device or a disk, legacy or not.
 */
#include "tests/kvm/irq.h"

#define VIRTIO  0xfeb00000ul
#define SLOTS   24
#define SIZE    8 /* of the queue */
#define NOWHERE (1ul << 40)

enum { /* registers */
       VERSION = 0x04,
       DEVICE = 0x08,
       FEATURES_SELECT = 0x24,
       FEATURES = 0x20,
       PAGE_SIZE = 0x28,
       QUEUE_SELECT = 0x30,
       QUEUE_MOST = 0x34,
       QUEUE_SIZE = 0x38,
       QUEUE_ALIGN = 0x3c,
       QUEUE_PAGE = 0x40,
       QUEUE_READY = 0x44,
       NOTIFY = 0x50,
       INTERRUPT = 0x60,
       ACKNOWLEDGE = 0x64,
       STATUS = 0x70,
       QUEUE_DESC = 0x80,
       QUEUE_AVAIL = 0x90,
       QUEUE_USED = 0xa0,
};
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct avail {
    uint16_t flags, index, ring[SIZE];
};
struct used {
    uint16_t flags, index;
    struct {
        uint32_t id, length;
    } ring[SIZE];
};

static uint64_t at; /* the transport */
static bool legacy, disk;
static unsigned slot;
static volatile struct descriptor *descriptors; /* two pages: these and avail, used */
static volatile struct avail *avail;
static volatile struct used *used;
static uint8_t *buffer;

static uint32_t get(unsigned reg)
{
    return read32(at + reg);
}

static void set(unsigned reg, uint32_t v)
{
    write32(at + reg, v);
}

static void set64(unsigned reg, uint64_t v)
{
    set(reg, (uint32_t)v);
    set(reg + 4, (uint32_t)(v >> 32));
}

/* ---- as drivers do ------------------------------------------------------------------------- */

static bool find(void)
{
    for (slot = 0; slot < SLOTS; slot++) {
        at = VIRTIO + slot * 512;
        if (get(0) == 0x74726976 && get(DEVICE)) {
            legacy = get(VERSION) == 1;
            disk = get(DEVICE) == 2;
            return true;
        }
    }
    return false;
}

/* As far as the queue, which is for the caller to describe. */
static void begin(void)
{
    set(STATUS, 0);
    set(STATUS, 1);
    set(STATUS, 3);
    set(FEATURES_SELECT, 0);
    set(FEATURES, 0);
    if (!legacy) {
        set(FEATURES_SELECT, 1);
        set(FEATURES, 1);
        set(STATUS, 11);
    } else {
        set(PAGE_SIZE, 4096);
    }
    set(QUEUE_SELECT, 0);
    fill((void *)descriptors, 0, 8192);
}

static void place(uint64_t table, uint64_t driver, uint64_t device)
{
    set(QUEUE_SIZE, SIZE);
    if (legacy) {
        set(QUEUE_ALIGN, 4096);
        set(QUEUE_PAGE, (uint32_t)(table >> 12));
    } else {
        set64(QUEUE_DESC, table);
        set64(QUEUE_AVAIL, driver);
        set64(QUEUE_USED, device);
        set(QUEUE_READY, 1);
    }
}

static void start(void)
{
    begin();
    place((uint64_t)descriptors, (uint64_t)avail, (uint64_t)used);
    set(STATUS, get(STATUS) | 4);
}

static void describe(unsigned n, uint64_t address, uint32_t length, uint16_t flags, uint16_t next)
{
    descriptors[n].address = address;
    descriptors[n].length = length;
    descriptors[n].flags = flags;
    descriptors[n].next = next;
}

static void offer(uint16_t head)
{
    avail->ring[avail->index % SIZE] = head;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    avail->index++;
    set(NOTIFY, 0);
}

/* A request that is right: the disk's first sector, or 16 random bytes. */
static bool request(void)
{
    uint16_t before = used->index;

    if (disk) {
        write64((uint64_t)buffer + 2048, 0); /* read */
        write64((uint64_t)buffer + 2056, 0); /* sector 0 */
        write8((uint64_t)buffer + 3072, 0xff);
        write64((uint64_t)buffer, 0);
        describe(0, (uint64_t)buffer + 2048, 16, NEXT, 1);
        describe(1, (uint64_t)buffer, 512, NEXT | WRITE, 2);
        describe(2, (uint64_t)buffer + 3072, 1, WRITE, 0);
    } else {
        describe(0, (uint64_t)buffer, 16, WRITE, 0);
    }
    offer(0);
    if (!WAIT_FOR(used->index == (uint16_t)(before + 1)) || used->ring[before % SIZE].id != 0) {
        return false;
    }
    if (disk) {
        return used->ring[before % SIZE].length == 513 && !read8((uint64_t)buffer + 3072) &&
               read64((uint64_t)buffer) == 0x3736353433323130;
    }
    return used->ring[before % SIZE].length >= 1 && used->ring[before % SIZE].length <= 16;
}

static void prepare(void)
{
    descriptors = pages(2);
    avail = (volatile struct avail *)((uint64_t)descriptors + SIZE * 16);
    used = (volatile struct used *)((uint64_t)descriptors + 4096);
    buffer = pages(1);
}

static volatile uint32_t interrupts, interrupt_pin;

static void on_interrupt(struct frame *frame)
{
    interrupts++;
    interrupt_pin = (uint8_t)frame->vector - 0x50;
    set(ACKNOWLEDGE, get(INTERRUPT));
    apic_eoi();
}

/*
 * All pins of both IOAPICs, with vectors 50 and on, which tell the pin. Edges: QEMU's second IOAPIC
 * is not told of the EOI that a level needs where the local APIC is the kernel's and the first one
 * too.
 */
static void route_all(bool on)
{
    for (unsigned pin = 0; pin < 48; pin++) {
        uint64_t ioapic = pin < 24 ? IOAPIC : IOAPIC2;

        if (pin == 0 || pin == 2 || pin == 4 || pin == 8) {
            continue;
        }
        handlers[0x50 + pin] = on_interrupt;
        write32(ioapic, 0x11 + pin % 24 * 2);
        write32(ioapic + 0x10, 0);
        write32(ioapic, 0x10 + pin % 24 * 2);
        write32(ioapic + 0x10, on ? 0x50 + pin : MASKED);
    }
}

static void driver(void)
{
    uint32_t good = 0;

    if (!find()) {
        say("no device\n");
        return;
    }
    say("slot %d, device %d, version %d\n", slot, get(DEVICE), get(VERSION));
    set(QUEUE_SELECT, 0);
    check("a queue", get(QUEUE_MOST) >= SIZE);
    prepare();
    start();
    expect("status", get(STATUS), legacy ? 7 : 15);
    check("a request", request());
    expect("interrupt status", get(INTERRUPT), 1);
    set(ACKNOWLEDGE, 1);
    expect("acknowledged", get(INTERRUPT), 0);
    for (uint32_t n = 0; n < count / 10; n++) {
        good += request();
    }
    set(ACKNOWLEDGE, get(INTERRUPT));
    expect("requests", good, count / 10);
    apic_enable();
    route_all(true);
    good = 0;
    for (uint32_t n = 0; n < count / 10; n++) {
        uint32_t before = interrupts;

        sti();
        good += request() && WAIT_FOR(interrupts > before);
        cli();
    }
    route_all(false);
    expect("with interrupts", good, count / 10);
    say("pin %d\n", interrupt_pin);
    avail->flags = 1;
    set(ACKNOWLEDGE, get(INTERRUPT));
    check("without, if the driver wants none", request() && !get(INTERRUPT));
}

/* ---- as they do not -------------------------------------------------------------------------- */

static void self_loop(void)
{
    describe(0, (uint64_t)buffer, 16, NEXT | WRITE, 0);
    offer(0);
}

static void loop(void)
{
    describe(0, (uint64_t)buffer, 16, NEXT | WRITE, 1);
    describe(1, (uint64_t)buffer, 16, NEXT | WRITE, 0);
    offer(0);
}

static void loop_read(void)
{
    describe(0, (uint64_t)buffer, 16, NEXT, 1);
    describe(1, (uint64_t)buffer, 16, NEXT, 0);
    offer(0);
}

static void next_outside(void)
{
    describe(0, (uint64_t)buffer, 16, NEXT | WRITE, 100);
    offer(0);
}

static void head_outside(void)
{
    offer(5000);
}

static void nowhere(void)
{
    describe(0, NOWHERE, 16, WRITE, 0);
    offer(0);
}

static void nowhere_read(void)
{
    describe(0, NOWHERE, 16, NEXT, 1);
    describe(1, NOWHERE, 512, NEXT | WRITE, 2);
    describe(2, NOWHERE, 1, WRITE, 0);
    offer(0);
}

static void around(void)
{
    describe(0, ~7ull, 16, WRITE, 0);
    offer(0);
}

static void empty(void)
{
    describe(0, (uint64_t)buffer, 0, WRITE, 0);
    offer(0);
}

/* Nothing may be overwritten here: what the disk reads is what is there. */
static void over_the_end(void)
{
    describe(0, disk ? 0x2000000 : 0xbffff000, 0xffffffff, disk ? 0 : WRITE, 0);
    offer(0);
}

/* Its own registers, and another one's. Not the local APIC's, where random data is random messages.
 */
static void into_device(void)
{
    describe(0, at, 512, WRITE, 0);
    offer(0);
    describe(0, VIRTIO + (slot ? 0 : 512), 512, WRITE, 0);
    offer(0);
}

static void read_only(void)
{
    describe(0, (uint64_t)buffer, 16, 0, 0);
    offer(0);
}

static void order(void)
{
    describe(0, (uint64_t)buffer, 16, NEXT | WRITE, 1);
    describe(1, (uint64_t)buffer + 64, 16, NEXT, 2);
    describe(2, (uint64_t)buffer + 128, 16, WRITE, 0);
    offer(0);
}

static void indirect(void)
{
    volatile struct descriptor *table = (volatile struct descriptor *)(buffer + 1024);

    table[0].address = (uint64_t)buffer;
    table[0].length = 16;
    table[0].flags = NEXT | WRITE;
    table[0].next = 0;
    describe(0, (uint64_t)table, 16, INDIRECT, 0);
    offer(0);
}

static void indirect_sizes(void)
{
    describe(0, (uint64_t)buffer, 7, INDIRECT, 0);
    offer(0);
    describe(0, (uint64_t)buffer, 0, INDIRECT, 0);
    offer(0);
    describe(0, NOWHERE, 0xfffffff0, INDIRECT | NEXT, 0);
    offer(0);
}

static void index_jump(void)
{
    describe(0, (uint64_t)buffer, 16, WRITE, 0);
    avail->index += 1000;
    set(NOTIFY, 0);
}

static void same_twice(void)
{
    describe(0, (uint64_t)buffer, 16, WRITE, 0);
    avail->ring[0] = 0;
    avail->ring[1] = 0;
    avail->index += 2;
    set(NOTIFY, 0);
}

/* Answers that overwrite the rings themselves. */
static void over_used(void)
{
    describe(0, (uint64_t)used, 512, WRITE, 0);
    offer(0);
}

static void over_descriptors(void)
{
    describe(0, (uint64_t)descriptors, 256, WRITE, 0);
    offer(0);
}

static void wrong_queue(void)
{
    set(NOTIFY, 1);
    set(NOTIFY, 1000);
    set(NOTIFY, 0xffffffff);
    set(QUEUE_SELECT, 0xffffffff);
    set(QUEUE_SIZE, 8);
    set(QUEUE_PAGE, 0x2000);
    set(QUEUE_READY, 1);
    (void)get(QUEUE_MOST);
    set(QUEUE_SELECT, 1023);
    set(QUEUE_SIZE, 0xffff);
    set(QUEUE_READY, 1);
}

static void garbage_status(void)
{
    set(STATUS, 0xff);
    set(STATUS, 0xffffffff);
    set(FEATURES, 0xffffffff);
    set(ACKNOWLEDGE, 0xffffffff);
    set(NOTIFY, 0);
}

static void tables_nowhere(void)
{
    begin();
    place(NOWHERE, NOWHERE, NOWHERE);
    set(STATUS, get(STATUS) | 4);
    set(NOTIFY, 0);
}

static void tables_in_device(void)
{
    begin();
    place(VIRTIO, VIRTIO, VIRTIO);
    set(STATUS, get(STATUS) | 4);
    set(NOTIFY, 0);
}

static void tables_overlap(void)
{
    begin();
    describe(0, (uint64_t)descriptors, 64, WRITE, 0);
    place((uint64_t)descriptors, (uint64_t)descriptors, (uint64_t)descriptors);
    set(STATUS, get(STATUS) | 4);
    for (unsigned i = 0; i < 8; i++) {
        set(NOTIFY, 0);
    }
}

static void used_nowhere(void)
{
    begin();
    describe(0, (uint64_t)buffer, 16, WRITE, 0);
    place((uint64_t)descriptors, (uint64_t)avail, NOWHERE);
    set(STATUS, get(STATUS) | 4);
    offer(0);
}

static void sizes(void)
{
    static const uint32_t wrong[] = {0, 3, 1025, 0x8000, 0xffff, 0x10000, 0xffffffff};

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        begin();
        set(QUEUE_SIZE, wrong[i]);
        if (legacy) {
            set(QUEUE_ALIGN, wrong[i]);
            set(QUEUE_PAGE, (uint32_t)((uint64_t)descriptors >> 12));
        } else {
            set64(QUEUE_DESC, (uint64_t)descriptors + 1);
            set64(QUEUE_AVAIL, (uint64_t)avail + 1);
            set64(QUEUE_USED, (uint64_t)used + 1);
            set(QUEUE_READY, 1);
        }
        set(STATUS, get(STATUS) | 4);
        describe(0, (uint64_t)buffer, 16, WRITE, 0);
        offer(0);
    }
}

static void too_early(void)
{
    set(STATUS, 0);
    set(NOTIFY, 0);
    set(QUEUE_READY, 1);
    set(NOTIFY, 0);
    set(STATUS, 4);
    set(NOTIFY, 0);
}

static const struct {
    const char *name;
    void (*make)(void);
} tricks[] = {
    {"a descriptor that is its own next", self_loop},
    {"a loop", loop},
    {"a loop to be read", loop_read},
    {"a next one outside of the table", next_outside},
    {"a head outside of the table", head_outside},
    {"a buffer nowhere", nowhere},
    {"a request nowhere", nowhere_read},
    {"a buffer around the end of all", around},
    {"an empty buffer", empty},
    {"a device as buffer", into_device},
    {"nothing to write to", read_only},
    {"writable before readable", order},
    {"an indirect loop", indirect},
    {"indirect tables of wrong sizes", indirect_sizes},
    {"an index that jumps", index_jump},
    {"a buffer offered twice", same_twice},
    {"the used ring as buffer", over_used},
    {"the descriptors as buffer", over_descriptors},
    {"queues that do not exist", wrong_queue},
    {"status of ones", garbage_status},
    {"tables nowhere", tables_nowhere},
    {"tables in a device", tables_in_device},
    {"tables on each other", tables_overlap},
    {"a used ring nowhere", used_nowhere},
    {"sizes", sizes},
    {"a notification too early", too_early},
};

static void trick(const char *name, void (*make)(void))
{
    start();
    make();
    for (unsigned n = 0; n < 20; n++) { /* a while, with a look at what has come of it */
        (void)get(STATUS);
    }
    start();
    check(name, request());
}

static void hostile(void)
{
    if (!find()) {
        say("no device\n");
        return;
    }
    prepare();
    for (unsigned i = 0; i < sizeof(tricks) / sizeof(*tricks); i++) {
        trick(tricks[i].name, tricks[i].make);
    }
}

static void huge(void)
{
    if (!find()) {
        say("no device\n");
        return;
    }
    prepare();
    trick("a buffer beyond the end of RAM", over_the_end);
}

const struct part parts[] = {
    {"driver", driver}, {"hostile", hostile}, {"huge", huge}, {NULL, NULL}};
