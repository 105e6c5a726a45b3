/*
 * virtio consoles over character devices of the test's own: ports, messages, input and output that
 * waits, stopping in the middle, hostile messages.
 */
#include "hw/virtio/console.h"
#include "io/chardev/chardev.h"
#include "tests/unit/virtio-slot.h"

#include <endian.h>

enum { READY, ADD, REMOVE, PORT_READY, CONSOLE, RESIZE, OPEN, NAME };
enum { IN0, OUT0, CONTROL_IN, CONTROL_OUT, IN1, OUT1 };

/* ---- character devices ----------------------------------------------------------------------- */

struct chardev {
    const char *id;
    const struct chardev_handlers *handlers;
    void *front;
    bool open;
    size_t takes, size; /* how many bytes it takes before it is full; what it has got */
    unsigned accepted;
    char got[4096];
};

static struct chardev chardevs[2] = {{.id = "c0", .takes = 4000}, {.id = "c1", .takes = 4000}};

struct chardev *chardev_find(const char *id)
{
    for (unsigned i = 0; i < 2; i++) {
        if (strcmp(chardevs[i].id, id) == 0) {
            return &chardevs[i];
        }
    }
    return NULL;
}

int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque)
{
    if (handlers && chr->handlers) {
        return -EBUSY;
    }
    chr->handlers = handlers;
    chr->front = opaque;
    return 0;
}

void chardev_accept(struct chardev *chr)
{
    chr->accepted++;
}

size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    size_t n = size < chr->takes ? size : chr->takes;

    memcpy(chr->got + chr->size, bytes, n);
    chr->size += n;
    chr->got[chr->size] = 0;
    chr->takes -= n;
    return n;
}

bool chardev_is_open(const struct chardev *chr)
{
    return chr->open;
}

static void empty(struct chardev *chr, size_t takes)
{
    chr->size = 0;
    chr->got[0] = 0;
    chr->takes = takes;
}

/* Types text into a port, as much as it takes; how much that was. */
static size_t type_in(struct chardev *chr, const char *text)
{
    size_t done = 0, room;

    while (done < strlen(text) && (room = chr->handlers->can_receive(chr->front))) {
        size_t n = strlen(text) - done < room ? strlen(text) - done : room;

        chr->handlers->receive(chr->front, (const uint8_t *)text + done, n);
        done += n;
    }
    return done;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static int add_port(const struct hw_device_type *type, const char *properties,
                    struct hw_device **port)
{
    struct hw_device *device = hw_device_create(type, NULL);
    struct hw_bus *bus = slot.device->buses;
    char text[256], *save = NULL;
    int err = 0;

    snprintf(text, sizeof(text), "%s", properties);
    for (char *item = strtok_r(text, " ", &save); item && !err; item = strtok_r(NULL, " ", &save)) {
        char *value = strchr(item, '=');

        *value++ = 0;
        err = hw_device_set(device, item, value, slot.error, sizeof(slot.error));
    }
    if (!err) {
        err = hw_device_realize(device, bus, false, slot.error, sizeof(slot.error));
    }
    if (err) {
        hw_device_destroy(device);
    }
    if (port) {
        *port = err ? NULL : device;
    }
    return err;
}

static void refused(const struct hw_device_type *type, const char *properties, const char *message)
{
    int err = add_port(type, properties, NULL);

    if (!tap_ok(err < 0 && strstr(slot.error, message), "refused: %s %s", type->name, properties)) {
        tap_note("%d: %s", err, slot.error);
    }
}

static void send_text(unsigned queue, unsigned head, const char *text)
{
    uint64_t at = BUFFERS + queue * 0x10000 + head * 0x1000;
    struct piece piece = {at, (uint32_t)strlen(text), false};

    put_bytes(at, text, strlen(text));
    slot_offer(queue, head, &piece, 1);
    slot_notify(queue);
    slot_settle();
}

static void offer_buffers(unsigned queue, unsigned first, unsigned count, uint32_t size)
{
    for (unsigned i = first; i < first + count; i++) {
        struct piece piece = {BUFFERS + queue * 0x10000 + i * 0x400, size, true};

        slot_offer(queue, i, &piece, 1);
    }
    slot_notify(queue);
    slot_settle();
}

static void message(uint32_t port, uint16_t event, uint16_t value)
{
    uint64_t at = BUFFERS + 0xe0000;
    struct piece piece = {at, 8, false};

    wr(&slot.m, at, 4, port);
    wr(&slot.m, at + 4, 2, event);
    wr(&slot.m, at + 6, 2, value);
    slot_offer(CONTROL_OUT, 0, &piece, 1);
    slot_notify(CONTROL_OUT);
    SLOT_WAIT(slot_back(CONTROL_OUT));
    slot_take(CONTROL_OUT, NULL);
}

/* What has come into a queue, as text; messages as "port:event=value ". */
static const char *arrived(unsigned queue)
{
    static char text[4096];
    size_t n = 0;

    text[0] = 0;
    while (slot_back(queue)) {
        uint32_t written;
        uint64_t at = BUFFERS + queue * 0x10000 + slot_take(queue, &written) * 0x400;

        if (queue == CONTROL_IN) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%u:%u=%u",
                                  (unsigned)rd(&slot.m, at, 4), (unsigned)rd(&slot.m, at + 4, 2),
                                  (unsigned)rd(&slot.m, at + 6, 2));
            at += 8;
            written -= 8;
        }
        get_bytes(at, text + n, written);
        n += written;
        if (queue == CONTROL_IN) {
            text[n++] = ' ';
        }
        text[n] = 0;
    }
    return text;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* A driver that knows of one port only. */
static void check_single(void)
{
    struct chardev *c = &chardevs[0];

    tap_eq(slot_plug(&virtio_serial_type, ""), 0, "a device");
    tap_eq(add_port(&virtconsole_type, "chardev=c0", NULL), 0, "a console");
    tap_eq(reg(8), 3, "device id");
    tap_eq(slot_features() & 0xfffffff, 6, "features");
    tap_eq(config(4, 4), 31, "max_nr_ports");
    empty(c, 4000);
    wr(&slot.m, SLOT + 0x100 + 8, 4, '!');
    tap_str(c->got, "!", "an emergency character goes out at once");
    slot_drive(F_BASE, 2, 64);
    send_text(OUT0, 0, "hello");
    tap_str(c->got, "!hello", "output");
    tap_eq(slot_back(OUT0), 1, "is given back");
    tap_eq(type_in(c, "abc"), 0, "no buffers, no input");
    c->accepted = 0;
    offer_buffers(IN0, 0, 3, 4);
    tap_ok(c->accepted > 0, "buffers are told");
    tap_eq(type_in(c, "typed text that is long"), 12, "as much as there are");
    tap_str(arrived(IN0), "typed text t", "arrives");
    slot_unplug();
    tap_ok(!c->handlers, "the end");
}

static void check_ports(void)
{
    struct chardev *c0 = &chardevs[0], *c1 = &chardevs[1];
    struct hw_device *port;

    tap_eq(slot_plug(&virtio_serial_type, "max_ports=3"), 0, "a device with three ports");
    refused(&virtserialport_type, "nr=0", "nr=0: expected a number from 1 to 2");
    refused(&virtserialport_type, "nr=3", "nr=3: expected a number from 1 to 2");
    refused(&virtconsole_type, "chardev=none", "chardev=none: there is no such");
    tap_eq(add_port(&virtserialport_type, "chardev=c1 name=org.test.0", &port), 0, "a named port");
    refused(&virtserialport_type, "nr=1", "nr=1: there is such a port already");
    refused(&virtserialport_type, "chardev=c1", "chardev=c1: another device uses it");
    tap_eq(add_port(&virtconsole_type, "chardev=c0", NULL), 0, "a console");
    tap_eq(add_port(&virtserialport_type, "", NULL), 0, "one without anything");
    refused(&virtserialport_type, "", "all ports of the device are in use");

    c1->open = true;
    slot_drive(F_BASE | F(1), 6, 64);
    offer_buffers(CONTROL_IN, 0, 2, 64);
    message(0, READY, 1);
    tap_str(arrived(CONTROL_IN), "0:1=1 1:1=1 ", "ports are told, as many as there are buffers");
    offer_buffers(CONTROL_IN, 2, 30, 64);
    tap_str(arrived(CONTROL_IN), "2:1=1 ", "the rest comes later");
    message(0, PORT_READY, 1);
    tap_str(arrived(CONTROL_IN), "0:4=1 0:6=1 ", "a console, which is open");
    message(1, PORT_READY, 1);
    tap_str(arrived(CONTROL_IN), "1:7=1org.test.0 1:6=1 ", "a name, and that it is open");
    message(2, PORT_READY, 1);
    tap_str(arrived(CONTROL_IN), "", "nothing to say");
    message(3, PORT_READY, 1);
    message(0xffffffff, OPEN, 1);
    message(1, 77, 1);
    message(1, PORT_READY, 0);
    tap_str(arrived(CONTROL_IN), "", "messages that mean nothing");
    c1->handlers->event(c1->front, CHARDEV_CLOSED);
    c0->handlers->event(c0->front, CHARDEV_CLOSED);
    tap_str(arrived(CONTROL_IN), "1:6=0 ", "a port closes, a console does not");

    offer_buffers(IN1, 0, 2, 16);
    tap_eq(type_in(c1, "x"), 0, "no input before the guest opens it");
    c1->accepted = 0;
    message(1, OPEN, 1);
    tap_eq(c1->accepted, 1, "which is told");
    tap_eq(type_in(c1, "agent"), 5, "then there is");
    tap_str(arrived(IN1), "agent", "and it arrives");
    message(1, OPEN, 0);
    tap_eq(type_in(c1, "x"), 0, "until it is closed");
    empty(c1, 4000);
    send_text(OUT1, 0, "answer");
    tap_str(c1->got, "answer", "output");
    slot_take(OUT1, NULL);

    uint64_t at = BUFFERS + 0xe0000;
    struct piece part = {at, 7, false};

    slot_offer(CONTROL_OUT, 0, &part, 1);
    slot_notify(CONTROL_OUT);
    SLOT_WAIT(slot_back(CONTROL_OUT));
    slot_take(CONTROL_OUT, NULL);
    tap_ok(!slot_is_broken() && !*arrived(CONTROL_IN), "part of a message is nothing");

    hw_device_destroy(port);
    tap_str(arrived(CONTROL_IN), "1:2=1 ", "a port that goes is told");
    send_text(OUT1, 0, "lost");
    tap_ok(slot_back(OUT1) == 1 && !strcmp(c1->got, "answer"), "what is written to it is lost");
    slot_take(OUT1, NULL);
    tap_eq(add_port(&virtserialport_type, "chardev=c1", &port), 0, "another comes");
    tap_str(arrived(CONTROL_IN), "1:1=1 ", "and is told");

    /* A driver that gives no buffers for messages: they have a limit. */
    while (*arrived(CONTROL_IN)) {
    }
    c1->open = true;
    for (unsigned i = 0; i < 3000; i++) {
        message(1, PORT_READY, 1);
    }
    unsigned total = 0;

    for (unsigned round = 0; round < 100; round++) {
        offer_buffers(CONTROL_IN, 0, 32, 64);
        total += slot_back(CONTROL_IN);
        slot.seen[CONTROL_IN] = ring_used_index(&slot.rings[CONTROL_IN]);
    }
    tap_ok(total >= 1024 && total < 1100 && !slot_is_broken(), "messages have a limit");
    slot_unplug();
    c1->open = false;
}

/* Output that waits for the character device. */
static void check_waiting(void)
{
    struct chardev *c = &chardevs[0];
    struct state_buffer buffer = {0}, port_buffer = {0};
    struct hw_device *port;
    struct piece pieces[3];
    uint64_t at = BUFFERS;

    tap_eq(slot_plug(&virtio_serial_type, ""), 0, "a device");
    tap_eq(add_port(&virtconsole_type, "chardev=c0", &port), 0, "a console");
    slot_drive(F_BASE, 2, 64);
    put_bytes(at, "0123456789abcdef", 16);
    pieces[0] = (struct piece){at, 4, false};
    pieces[1] = (struct piece){at + 4, 7, false};
    pieces[2] = (struct piece){at + 11, 5, false};
    empty(c, 6);
    slot_offer(OUT0, 0, pieces, 3);
    slot_notify(OUT0);
    slot_settle();
    tap_ok(!strcmp(c->got, "012345") && !slot_back(OUT0), "a chain that is not all taken stays");
    c->takes = 2;
    c->handlers->writable(c->front);
    tap_ok(!strcmp(c->got, "01234567") && !slot_back(OUT0), "goes on");
    hw_runstate_set(HW_RUNSTATE_PAUSED);
    c->takes = 100;
    c->handlers->writable(c->front);
    tap_str(c->got, "01234567", "not while the VM is stopped");
    tap_eq(
        state_save(virtio_serial_type.state, slot.device, &buffer, slot.error,
                   sizeof(slot.error)) ||
            state_save(virtconsole_type.state, port, &port_buffer, slot.error, sizeof(slot.error)),
        0, "saved");
    slot_unplug();
    tap_eq(slot_plug(&virtio_serial_type, ""), 0, "another device");
    tap_eq(add_port(&virtconsole_type, "chardev=c0", &port), 0, "another console");
    tap_eq(state_load(virtio_serial_type.state, slot.device, buffer.data, buffer.size, NULL,
                      slot.error, sizeof(slot.error)) ||
               state_load(virtconsole_type.state, port, port_buffer.data, port_buffer.size, NULL,
                          slot.error, sizeof(slot.error)),
           0, "loaded");
    hw_runstate_set(HW_RUNSTATE_RUNNING);
    SLOT_WAIT(slot_back(OUT0));
    tap_ok(!strcmp(c->got, "0123456789abcdef") && slot_back(OUT0) == 1, "goes on there");
    state_buffer_free(&buffer);
    state_buffer_free(&port_buffer);

    empty(c, 3);
    slot.seen[OUT0]++;
    slot_offer(OUT0, 0, pieces, 3);
    slot_notify(OUT0);
    slot_settle();
    slot_drive(F_BASE, 2, 64);
    c->takes = 1000;
    c->handlers->writable(c->front);
    tap_str(c->got, "012", "a reset forgets the rest");
    send_text(OUT0, 0, "new");
    tap_str(c->got, "012new", "and begins anew");
    empty(c, 3);
    send_text(OUT0, 1, "waiting");
    slot_unplug();
    tap_ok(!c->handlers, "unplugging forgets, too");
}

int main(void)
{
    slot_begin();
    check_single();
    check_ports();
    check_waiting();
    slot_end();
    return tap_done();
}
