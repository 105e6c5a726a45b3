/*
 * The simple devices of the RISC-V machines under a hostile guest: any access to any register, with
 * lines that go up and down, time that goes on, a host that is slow, and states that are saved and
 * loaded. An input is operations: a byte for the operation and the device, then what it takes.
 */
#include "hw/block/pflash-cfi01.h"
#include "hw/char/serial16550.h"
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "hw/intc/aclint.h"
#include "hw/intc/plic.h"
#include "hw/misc/htif.h"
#include "hw/misc/syscon-test.h"
#include "hw/rtc/goldfish-rtc.h"
#include "mem/access.h"

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/host.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { RAM_SIZE = 0x10000, SECTOR = 0x4000 };

#define RAM UINT64_C(0x80000000)

static struct mem_region root, ram_region;
static struct mem_space space;
static struct mem_ram *ram;
static struct plic *plic;
static struct pflash_cfi01 *flash;

/* ---- the host's side ---- */

static struct chardev uart_host, htif_host;

struct block_node {
    struct block_request *waiting;
};

static struct block_node node;

const char *block_name(const struct block_node *n)
{
    return "fuzz";
}

uint64_t block_size(const struct block_node *n)
{
    return 4 * SECTOR;
}

bool block_readonly(const struct block_node *n)
{
    return false;
}

struct block_node *block_ref(struct block_node *n)
{
    return n;
}

void block_unref(struct block_node *n)
{
}

void block_submit(struct block_node *n, struct block_request *request)
{
    assert(!n->waiting && request->size == request->iov->iov_len);
    assert(request->offset + request->size <= block_size(n));
    n->waiting = request;
}

static bool block_step(void)
{
    struct block_request *request = node.waiting;

    node.waiting = NULL;
    if (request) {
        request->result = 0;
        request->done(request);
    }
    return request;
}

void block_drain(struct block_node *n)
{
    while (block_step()) {
    }
}

/* ---- the devices ---- */

static struct place {
    const struct hw_device_type *type;
    const char *properties;
    uint64_t at, size;
    struct hw_device *device;
} places[] = {
    {&plic_type, "hart-config=MS,,M", 0xc000000, 0x600000, NULL},
    {&aclint_swi_type, "num-harts=3", 0x2000000, 0x4000, NULL},
    {&aclint_mtimer_type, "num-harts=3", 0x2004000, 0x8000, NULL},
    {&aclint_swi_type, "num-harts=3,sswi=on", 0x2f00000, 0x4000, NULL},
    {&serial16550_type, "regshift=1", 0x10000000, 16, NULL},
    {&goldfish_rtc_type, "", 0x101000, 0x1000, NULL},
    {&syscon_test_type, "", 0x100000, 0x1000, NULL},
    {&htif_type, "", 0x1000000, 16, NULL},
    {&pflash_cfi01_type, "name=f,num-blocks=4,sector-length=16384,width=4,device-width=2,id0=137",
     0x20000000, 4 * SECTOR, NULL},
};

enum { PLACES = sizeof(places) / sizeof(places[0]) };

static void put(uint64_t at, struct mem_region *region)
{
    int err = mem_region_add(&root, at, region, 0);

    assert(!err);
}

static void wire(struct place *place)
{
    struct hw_device *device = place->device;

    if (place->type == &serial16550_type) {
        ((struct serial16550 *)device)->chr = &uart_host;
        ((struct serial16550 *)device)->clock = &source;
    } else if (place->type == &aclint_mtimer_type) {
        ((struct aclint_mtimer *)device)->clock = &source;
    } else if (place->type == &goldfish_rtc_type) {
        ((struct goldfish_rtc *)device)->clock = &source;
    } else if (place->type == &htif_type) {
        ((struct htif *)device)->chr = &htif_host;
        ((struct htif *)device)->memory = &space;
    } else if (place->type == &pflash_cfi01_type) {
        flash = (struct pflash_cfi01 *)device;
        flash->node = &node;
    }
}

/* The lines of the serial port and of the clock reach the PLIC, everything else nobody. */
static void connect(struct place *place)
{
    struct hw_device *device = place->device;

    if (place->type == &plic_type) {
        plic = (struct plic *)device;
        put(place->at, &plic->mmio);
    } else if (place->type == &aclint_swi_type) {
        put(place->at, &((struct aclint_swi *)device)->mmio);
    } else if (place->type == &aclint_mtimer_type) {
        put(place->at, &((struct aclint_mtimer *)device)->mmio);
    } else if (place->type == &serial16550_type) {
        put(place->at, &((struct serial16550 *)device)->mmio);
        hw_irq_connect(&((struct serial16550 *)device)->out, &plic->in[10]);
    } else if (place->type == &goldfish_rtc_type) {
        put(place->at, &((struct goldfish_rtc *)device)->mmio);
        hw_irq_connect(&((struct goldfish_rtc *)device)->out, &plic->in[11]);
    } else if (place->type == &syscon_test_type) {
        put(place->at, &((struct syscon_test *)device)->mmio);
    } else if (place->type == &htif_type) {
        put(place->at, &((struct htif *)device)->tohost);
        put(place->at + 8, &((struct htif *)device)->fromhost);
    } else {
        put(place->at, &flash->mmio);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct mem_ram_config config = {.name = "ram", .size = RAM_SIZE};
    char error[256];
    int err = mem_ram_create(&ram, &config, error, sizeof(error));

    hw_lock_acquire();
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_space_init(&space, "fuzz", &root);
    assert(!err);
    err = mem_region_init_ram(&ram_region, "ram", ram, 0, RAM_SIZE, false);
    assert(!err);
    put(RAM, &ram_region);
    for (unsigned i = 0; i < PLACES; i++) {
        struct place *place = &places[i];

        place->device = hw_device_create(place->type, NULL);
        assert(place->device);
        err = property_set_list(place->type->properties, place->device, "fuzz", place->properties,
                                NULL, NULL, error, sizeof(error));
        assert(!err);
        wire(place);
        err = hw_device_realize(place->device, NULL, false, error, sizeof(error));
        assert(!err);
        connect(place);
    }
    return 0;
}

static void reset(void)
{
    for (unsigned i = 0; i < PLACES; i++) {
        hw_reset_device(places[i].device, true);
    }
    block_drain(&node);
    memset(flash->ram->host, 0xff, flash->size);
    memset(ram->host, 0, RAM_SIZE);
    memset(now, 0, sizeof(now));
    uart_host.room = htif_host.room = 16;
    uart_host.waiting = htif_host.waiting = 8;
    for (unsigned source_ = 1; source_ <= plic->num_sources; source_++) {
        plic->in[source_].handler(plic->in[source_].opaque, source_, false);
    }
}

static void access_register(struct fuzz_input *in, const struct place *place, unsigned kind)
{
    unsigned size = 1u << kind % 4;
    uint64_t offset = fuzz_number(in, place->size > 0x10000 ? 3 : place->size > 16 ? 2 : 1);
    uint64_t value;
    struct mem_attrs attrs = {.debug = kind >> 3 & 1};

    offset %= place->size;
    if (kind & 4) {
        (void)mem_access_load(&space, mem_gpa(place->at + offset), size, &value, attrs);
    } else {
        value = fuzz_number(in, size);
        (void)mem_access_store(&space, mem_gpa(place->at + offset), size, value, attrs);
    }
}

static int load(const struct place *place, const struct state_buffer *buffer)
{
    char error[256];

    return state_load(place->type->state, place->device, buffer->data, buffer->size, NULL, error,
                      sizeof(error));
}

/*
 * What a device has saved it takes back, also after it has refused what was tampered with; what of
 * that it takes is good for going on.
 */
static void move_state(struct fuzz_input *in, const struct place *place)
{
    struct state_buffer buffer = {0};
    char error[256];
    size_t at = fuzz_number(in, 2);
    uint8_t flip = (uint8_t)fuzz_number(in, 1);
    int err;

    if (!place->type->state) {
        return;
    }
    err = state_save(place->type->state, place->device, &buffer, error, sizeof(error));
    assert(!err);
    buffer.data[at % buffer.size] ^= flip;
    err = load(place, &buffer);
    if (err) {
        buffer.data[at % buffer.size] ^= flip;
        err = load(place, &buffer);
    }
    if (err) {
        fprintf(stderr, "%s: its own state is refused\n", place->type->name);
        abort();
    }
    state_buffer_free(&buffer);
}

static void host_does(struct fuzz_input *in, unsigned what)
{
    struct chardev *chr = what & 1 ? &uart_host : &htif_host;

    switch (what >> 1) {
    case 0:
        chr->room = fuzz_number(in, 1);
        if (chr->room) {
            chr->handlers->writable(chr->opaque);
        }
        break;
    case 1:
        chr->waiting = fuzz_number(in, 1);
        chardev_accept(chr);
        break;
    case 2:
        uart_host.handlers->event(uart_host.opaque, CHARDEV_BREAK);
        break;
    case 3:
        block_step();
        break;
    default:
        advance((int64_t)fuzz_number(in, 6));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    reset();
    while (in.left) {
        unsigned op = (unsigned)fuzz_number(&in, 1);
        const struct place *place = &places[op % PLACES];
        unsigned kind = op / PLACES;

        if (kind < 16) {
            access_register(&in, place, kind);
        } else if (kind < 20) {
            unsigned line = 1 + (unsigned)fuzz_number(&in, 1) % plic->num_sources;

            plic->in[line].handler(plic->in[line].opaque, line, kind & 1);
        } else if (kind < 21) {
            move_state(&in, place);
        } else if (kind < 22) {
            hw_reset_device(place->device, false);
        } else {
            host_does(&in, op % 10);
        }
    }
    block_drain(&node);
    assert(!flash->writer.busy);
    take_requests();
    return 0;
}
