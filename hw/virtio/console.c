/*
 * The console device, clause 5.3: ports over character devices.
 *
 * The device has a bus of its own, and ports are devices there: virtconsole for terminals,
 * virtserialport for programs, which find theirs by its name. Port n has two queues; with MULTIPORT
 * both sides tell each other on two more what ports there are and whether somebody is at the other
 * end. A message that the driver has no buffer for waits, up to a limit far above what any number
 * of ports needs.
 *
 * Output that the character device does not take at once stays in its chain, which is put back when
 * the device stops; how much of it was written is remembered, and saved.
 *
 * All on the main loop, under the machine lock.
 */
#include "hw/virtio/console.h"
#include "hw/virtio/virtio.h"
#include "io/chardev/chardev.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define F_MULTIPORT   1
#define F_EMERG_WRITE 2

enum { /* events of control messages */
       DEVICE_READY,
       DEVICE_ADD,
       DEVICE_REMOVE,
       PORT_READY,
       CONSOLE_PORT,
       RESIZE,
       PORT_OPEN,
       PORT_NAME,
};

enum {
    PORTS_MAX = 31,
    QUEUE_SIZE = 128,
    CONTROL_IN = 2, /* queues */
    CONTROL_OUT = 3,
    MESSAGES_MAX = 1024,
    BURST = 128, /* chains of a port that are written before others get their turn */
    NAME_SIZE = 128,
    CONFIG_SIZE = 12,
    PORT_AUTO = 0xffff,
};

struct message { /* little-endian */
    uint32_t port;
    uint16_t event, value;
};

struct config { /* little-endian */
    uint16_t columns, rows;
    uint32_t max_ports, emergency;
};
_Static_assert(sizeof(struct config) == CONFIG_SIZE, "no padding");

struct virtio_serial;

struct port {
    struct hw_device device; /* first */
    /* properties */
    char *chardev, *name;
    uint16_t number;
    /* state */
    struct virtio_serial *serial; /* realized on it; NULL: not */
    struct chardev *chr;
    bool guest_open;
    struct virtio_chain *out; /* being written; NULL: none */
    uint32_t written;         /* of it, or of the next one to be taken */
};

struct virtio_serial {
    struct virtio_device virtio; /* first */
    uint32_t max_ports;          /* property */
    struct hw_bus bus;
    char bus_name[NAME_SIZE];
    struct loop_bh *more_bh;
    bool running;
    bool driver_ready; /* for messages */
    struct port *ports[PORTS_MAX];
    struct message messages[MESSAGES_MAX]; /* for the driver, a ring */
    unsigned first_message, message_count;
};

static bool is_console(const struct port *port)
{
    return port->device.type == &virtconsole_type;
}

static unsigned queue_in(unsigned port)
{
    return port ? 2 * (port + 1) : 0;
}

static struct virtio_queue *port_queue(const struct port *port, bool out)
{
    return virtio_queue_at(&port->serial->virtio, queue_in(port->number) + out);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void send_messages(struct virtio_serial *s)
{
    struct virtio_queue *queue = virtio_queue_at(&s->virtio, CONTROL_IN);
    struct virtio_chain *chain;

    while (s->running && s->message_count && (chain = virtio_pop(queue))) {
        struct message *m = &s->messages[s->first_message];
        uint32_t number = le32toh(m->port);
        const struct port *port = number < PORTS_MAX ? s->ports[number] : NULL;
        size_t size = virtio_iov_write(chain->in, chain->in_count, 0, m, sizeof(*m));

        if (le16toh(m->event) == PORT_NAME && port && port->name) {
            size += virtio_iov_write(chain->in, chain->in_count, sizeof(*m), port->name,
                                     strlen(port->name));
        }
        virtio_push(chain, (uint32_t)size);
        s->first_message = (s->first_message + 1) % MESSAGES_MAX;
        s->message_count--;
    }
    virtio_flush(queue);
}

static void say(struct virtio_serial *s, unsigned port, unsigned event, unsigned value)
{
    if (!s->driver_ready || s->message_count == MESSAGES_MAX) {
        return;
    }
    s->messages[(s->first_message + s->message_count++) % MESSAGES_MAX] =
        (struct message){.port = htole32(port),
                         .event = htole16((uint16_t)event),
                         .value = htole16((uint16_t)value)};
    send_messages(s);
}

static bool host_is_open(const struct port *port)
{
    return is_console(port) || (port->chr && chardev_is_open(port->chr));
}

/* The driver knows the port now: what there is to be said about it. */
static void introduce(struct virtio_serial *s, const struct port *port)
{
    if (is_console(port)) {
        say(s, port->number, CONSOLE_PORT, 1);
    }
    if (port->name) {
        say(s, port->number, PORT_NAME, 1);
    }
    if (host_is_open(port)) {
        say(s, port->number, PORT_OPEN, 1);
    }
}

static void take_message(struct virtio_serial *s, const struct message *m)
{
    uint32_t number = le32toh(m->port);
    struct port *port = number < PORTS_MAX ? s->ports[number] : NULL;
    bool value = m->value;

    if (le16toh(m->event) == DEVICE_READY) {
        s->driver_ready = value;
        for (unsigned i = 0; i < PORTS_MAX; i++) {
            if (s->ports[i]) {
                say(s, i, DEVICE_ADD, 1);
            }
        }
        return;
    }
    if (!port) {
        return;
    }
    if (le16toh(m->event) == PORT_READY && value) {
        introduce(s, port);
    } else if (le16toh(m->event) == PORT_OPEN) {
        port->guest_open = value;
        if (port->chr && value) {
            chardev_accept(port->chr);
        }
    }
}

static void take_messages(struct virtio_serial *s, struct virtio_queue *queue)
{
    struct virtio_chain *chain;

    for (unsigned taken = 0; taken < QUEUE_SIZE && (chain = virtio_pop(queue)); taken++) {
        struct message m;
        size_t size = virtio_iov_read(chain->out, chain->out_count, 0, &m, sizeof(m));

        virtio_push(chain, 0);
        if (size == sizeof(m)) {
            take_message(s, &m);
        }
    }
    virtio_flush(queue);
}

/* ---- output ---------------------------------------------------------------------------------- */

/* Writes what is left of port->out; false when the character device does not take all. */
static bool write_chain(struct port *port)
{
    const struct virtio_chain *chain = port->out;
    size_t skip = port->written;

    for (unsigned i = 0; i < chain->out_count && port->chr; i++) {
        const struct iovec *iov = &chain->out[i];

        if (skip >= iov->iov_len) {
            skip -= iov->iov_len;
            continue;
        }
        size_t n =
            chardev_write(port->chr, (const uint8_t *)iov->iov_base + skip, iov->iov_len - skip);

        port->written += (uint32_t)n;
        if (n < iov->iov_len - skip) {
            return false;
        }
        skip = 0;
    }
    return true;
}

static void write_port(struct port *port)
{
    struct virtio_queue *queue = port_queue(port, true);
    unsigned taken = 0;

    while (taken++ < BURST && (port->out || (port->out = virtio_pop(queue)))) {
        if (!write_chain(port)) {
            break; /* writable() goes on */
        }
        virtio_push(port->out, 0);
        port->out = NULL;
        port->written = 0;
    }
    virtio_flush(queue);
    if (taken > BURST) {
        loop_bh_schedule(port->serial->more_bh);
    }
}

static void write_more(void *opaque)
{
    struct virtio_serial *s = opaque;

    for (unsigned i = 0; i < PORTS_MAX && s->running; i++) {
        if (s->ports[i] && virtio_queue_is_ready(port_queue(s->ports[i], true))) {
            write_port(s->ports[i]);
        }
    }
}

static void writable(void *opaque)
{
    struct port *port = opaque;

    if (port->serial->running && port->out) {
        write_port(port);
    }
}

/* ---- input ----------------------------------------------------------------------------------- */

static bool takes_input(const struct port *port)
{
    const struct virtio_serial *s = port->serial;

    return s->running && (port->guest_open || !virtio_has(&s->virtio, F_MULTIPORT)) &&
           virtio_queue_is_ready(port_queue(port, false));
}

static size_t can_receive(void *opaque)
{
    const struct port *port = opaque;
    struct virtio_chain *chain = takes_input(port) ? virtio_pop(port_queue(port, false)) : NULL;
    size_t room = chain ? chain->in_size : 0;

    if (chain) {
        virtio_unpop(chain);
    }
    return room;
}

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    const struct port *port = opaque;
    struct virtio_queue *queue = port_queue(port, false);
    struct virtio_chain *chain;

    while (size && (chain = virtio_pop(queue))) {
        size_t n = virtio_iov_write(chain->in, chain->in_count, 0, bytes, size);

        virtio_push(chain, (uint32_t)n);
        bytes += n;
        size -= n;
    }
    virtio_flush(queue);
}

static void event(void *opaque, enum chardev_event what)
{
    const struct port *port = opaque;

    if (!is_console(port) && (what == CHARDEV_OPENED || what == CHARDEV_CLOSED)) {
        say(port->serial, port->number, PORT_OPEN, what == CHARDEV_OPENED);
    }
}

static const struct chardev_handlers handlers = {
    .can_receive = can_receive, .receive = receive, .event = event, .writable = writable};

/* ---- the device ------------------------------------------------------------------------------ */

static void handle(struct virtio_device *device, struct virtio_queue *queue)
{
    struct virtio_serial *s = (struct virtio_serial *)device;
    unsigned n = virtio_queue_index(queue);

    if (n == CONTROL_IN) {
        send_messages(s);
        return;
    }
    if (n == CONTROL_OUT) {
        take_messages(s, queue);
        return;
    }
    struct port *port = s->ports[n < 2 ? 0 : n / 2 - 1];
    struct virtio_chain *chain;

    if (!(n & 1)) {
        if (port && port->chr) {
            chardev_accept(port->chr);
        }
    } else if (port) {
        write_port(port);
    } else {
        /* Nobody is there: it is lost, as on a cable without an end. */
        for (unsigned i = 0; i < QUEUE_SIZE && (chain = virtio_pop(queue)); i++) {
            virtio_push(chain, 0);
        }
        virtio_flush(queue);
    }
}

static void start(struct virtio_device *device)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    s->running = true;
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        if (s->ports[i] && s->ports[i]->chr) {
            chardev_accept(s->ports[i]->chr);
        }
    }
}

static void put_back(struct port *port)
{
    if (port && port->out) {
        virtio_unpop(port->out);
        port->out = NULL;
    }
}

static void stop(struct virtio_device *device)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    s->running = false;
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        put_back(s->ports[i]);
    }
}

static void reset(struct virtio_device *device)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    s->driver_ready = false;
    s->message_count = 0;
    for (unsigned i = 0; i < PORTS_MAX; i++) {
        if (s->ports[i]) {
            s->ports[i]->guest_open = is_console(s->ports[i]);
            s->ports[i]->written = 0;
        }
    }
}

static uint64_t features(struct virtio_device *device)
{
    const struct virtio_serial *s = (const struct virtio_serial *)device;

    return 1U << F_EMERG_WRITE | (s->max_ports > 1 ? 1U << F_MULTIPORT : 0U);
}

static void config_read(struct virtio_device *device, uint32_t offset, void *bytes, uint32_t size)
{
    const struct virtio_serial *s = (const struct virtio_serial *)device;
    struct config config = {.max_ports = htole32(s->max_ports)};

    memcpy(bytes, (const uint8_t *)&config + offset, size);
}

/* A character for the first console, also before there are queues (clause 5.3.4). */
static void config_write(struct virtio_device *device, uint32_t offset, const void *bytes,
                         uint32_t size)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    if (offset == offsetof(struct config, emergency) && s->ports[0] && s->ports[0]->chr) {
        chardev_write(s->ports[0]->chr, bytes, 1);
    }
}

static const struct virtio_device_ops ops = {
    .device_id = 3,
    .pci_class = 0x0780,
    .config_size = CONFIG_SIZE,
    .features = features,
    .config_read = config_read,
    .config_write = config_write,
    .start = start,
    .stop = stop,
    .reset = reset,
};

static const struct hw_bus_type bus_type;

static void serial_init(struct hw_device *device)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    snprintf(s->bus_name, sizeof(s->bus_name), "virtio-serial-bus.0");
    hw_bus_init(&s->bus, &bus_type, s->bus_name, device);
}

/* The bus has the name of what the user has named: "ID.0". */
static void name_bus(struct virtio_serial *s)
{
    const struct hw_device *device = &s->virtio.device;

    while (device && !device->id) {
        device = device->bus ? device->bus->parent : NULL;
    }
    if (device) {
        snprintf(s->bus_name, sizeof(s->bus_name), "%.120s.0", device->id);
    }
}

static int serial_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct virtio_serial *s = (struct virtio_serial *)device;
    /* A device with one port has no queues for messages. */
    unsigned queues = s->max_ports > 1 ? 2 * (s->max_ports + 1) : 2;
    int err = virtio_init(&s->virtio, &ops, queues, QUEUE_SIZE, handle, NULL, error, error_size);

    if (err) {
        return err;
    }
    s->more_bh = loop_bh_create(virtio_loop(&s->virtio), write_more, s);
    if (!s->more_bh) {
        snprintf(error, error_size, "%s: out of memory", device->type->name);
        virtio_exit(&s->virtio);
        return -ENOMEM;
    }
    name_bus(s);
    return 0;
}

static void serial_unrealize(struct hw_device *device)
{
    struct virtio_serial *s = (struct virtio_serial *)device;

    loop_bh_destroy(s->more_bh);
    virtio_exit(&s->virtio);
}

static const struct state_field serial_fields[] = {
    STATE(STRUCT, "virtio", struct virtio_serial, virtio, .table = &virtio_state),
    STATE(BOOL, "driver_ready", struct virtio_serial, driver_ready),
    STATE_END,
};

static const struct state_table serial_state = {
    .name = "virtio-serial", .version = 1, .min_version = 1, .fields = serial_fields};

static const struct property serial_properties[] = {
    PROPERTY(U32, "max_ports", struct virtio_serial, max_ports, .number = PORTS_MAX, .min = 1,
             .max = PORTS_MAX, .help = "ports that it may have"),
    PROPERTY_END,
};

const struct hw_device_type virtio_serial_type = {
    .name = "virtio-serial-device",
    .bus = "virtio-bus",
    .help = "virtio consoles, which are virtconsole and virtserialport",
    .size = sizeof(struct virtio_serial),
    .properties = serial_properties,
    .state = &serial_state,
    .hotplug = true,
    .init = serial_init,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
};

/* ---- ports ----------------------------------------------------------------------------------- */

static int port_fail(const struct port *port, char *error, size_t error_size, int err,
                     const char *what)
{
    char name[NAME_SIZE];

    hw_device_name(&port->device, name, sizeof(name));
    snprintf(error, error_size, "%s: %s", name, what);
    return err;
}

/* Port 0 is a console: drivers without MULTIPORT have no other. */
static int plug(struct hw_bus *bus, struct hw_device *device, char *error, size_t error_size)
{
    const struct virtio_serial *s = (const struct virtio_serial *)bus->parent;
    struct port *port = (struct port *)device;
    char text[64];

    if (port->number == PORT_AUTO) {
        unsigned n = !is_console(port);

        while (n < s->max_ports && s->ports[n]) {
            n++;
        }
        if (n >= s->max_ports) {
            return port_fail(port, error, error_size, -ENOSPC,
                             "all ports of the device are in use");
        }
        port->number = (uint16_t)n;
    }
    if (port->number >= s->max_ports || (!port->number && !is_console(port))) {
        snprintf(text, sizeof(text), "nr=%u: expected a number from %u to %u", port->number,
                 !is_console(port), s->max_ports - 1);
        return port_fail(port, error, error_size, -EINVAL, text);
    }
    if (s->ports[port->number]) {
        snprintf(text, sizeof(text), "nr=%u: there is such a port already", port->number);
        return port_fail(port, error, error_size, -EEXIST, text);
    }
    return 0;
}

static const struct hw_bus_type bus_type = {
    .name = "virtio-serial-bus", .plug = plug, .hotplug = true};

static int port_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct port *port = (struct port *)device;
    struct virtio_serial *s = (struct virtio_serial *)device->bus->parent;
    char text[NAME_SIZE];

    if (port->chardev) {
        port->chr = chardev_find(port->chardev);
        if (!port->chr) {
            snprintf(text, sizeof(text), "chardev=%.60s: there is no such character device",
                     port->chardev);
            return port_fail(port, error, error_size, -ENODEV, text);
        }
    }
    port->serial = s;
    port->guest_open = is_console(port);
    s->ports[port->number] = port;
    if (port->chr && chardev_attach(port->chr, &handlers, port)) {
        s->ports[port->number] = NULL;
        port->chr = NULL;
        snprintf(text, sizeof(text), "chardev=%.60s: another device uses it", port->chardev);
        return port_fail(port, error, error_size, -EBUSY, text);
    }
    say(s, port->number, DEVICE_ADD, 1);
    return 0;
}

static void port_unrealize(struct hw_device *device)
{
    struct port *port = (struct port *)device;
    struct virtio_serial *s = port->serial;

    if (port->chr) {
        chardev_attach(port->chr, NULL, port);
    }
    if (port->out) {
        virtio_push(port->out, 0);
        port->out = NULL;
        virtio_flush(port_queue(port, true));
    }
    s->ports[port->number] = NULL;
    say(s, port->number, DEVICE_REMOVE, 1);
}

static const struct state_field port_fields[] = {
    STATE(BOOL, "guest_open", struct port, guest_open),
    STATE(U32, "written", struct port, written),
    STATE_END,
};

static const struct state_table port_state = {
    .name = "virtio-serial-port", .version = 1, .min_version = 1, .fields = port_fields};

static const struct property port_properties[] = {
    PROPERTY(STRING, "chardev", struct port, chardev, .help = "id of the character device"),
    PROPERTY(STRING, "name", struct port, name, .help = "by which programs find it"),
    PROPERTY(U16, "nr", struct port, number, .number = PORT_AUTO,
             .help = "number of the port; without, the first that is free"),
    PROPERTY_END,
};

#define PORT_TYPE(name_, help_)                                                                    \
    {                                                                                              \
        .name = (name_), .bus = "virtio-serial-bus", .help = (help_), .size = sizeof(struct port), \
        .properties = port_properties, .state = &port_state, .hotplug = true,                      \
        .realize = port_realize, .unrealize = port_unrealize,                                      \
    }

const struct hw_device_type virtconsole_type = PORT_TYPE("virtconsole", "virtio console");
const struct hw_device_type virtserialport_type =
    PORT_TYPE("virtserialport", "virtio serial port with a name");
