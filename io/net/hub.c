/*
 * hubport: a port of a hub, which repeats every frame to all other ports. Hubs are numbers, and
 * exist while they have ports. A port serves a card, or (netdev=) another back end.
 */
#include "io/net/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct hubport {
    struct net_backend net;
    uint32_t hub;
    char *other_id;
    struct net_backend *other; /* NULL: a card is here */
    struct hubport *next;
};

static struct hubport *ports;

static const struct property hubport_properties[] = {
    PROPERTY(U32, "hubid", struct hubport, hub, .help = "number of the hub"),
    PROPERTY(STRING, "netdev", struct hubport, other_id, .help = "back end instead of a card"),
    PROPERTY_END,
};

/* A frame out of a port, to its card or back end. */
static void out(struct hubport *port, const struct iovec *iov, unsigned count)
{
    if (port->other) {
        net_send(port->other, iov, count);
    } else {
        net_deliver(&port->net, iov, count, true);
    }
}

static void repeat(struct hubport *from, const struct iovec *iov, unsigned count)
{
    for (struct hubport *port = ports; port; port = port->next) {
        if (port != from && port->hub == from->hub) {
            out(port, iov, count);
        }
    }
}

static bool hubport_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    repeat((struct hubport *)net, iov, count);
    return true;
}

static bool receive(void *opaque, const struct iovec *iov, unsigned count)
{
    repeat(opaque, iov, count);
    return true;
}

static const struct net_handlers handlers = {.receive = receive};

static int hubport_open(struct net_backend *net, char *error, size_t error_size)
{
    struct hubport *port = (struct hubport *)net;

    if (port->other_id) {
        struct net_backend *other = net_find(port->other_id);
        int err = other ? net_attach(other, &handlers, port) : -ENODEV;

        if (err) {
            snprintf(error, error_size, "netdev=%s: %s", port->other_id,
                     other ? "it is in use" : "there is no such back end");
            return err;
        }
        port->other = other;
    }
    port->next = ports;
    ports = port;
    return 0;
}

static void hubport_close(struct net_backend *net)
{
    struct hubport *port = (struct hubport *)net, **link = &ports;

    while (*link && *link != port) {
        link = &(*link)->next;
    }
    if (*link) {
        *link = port->next;
    }
    /* When all are ended at once, the other may be gone. */
    if (port->other && net_find(port->other_id) == port->other) {
        net_attach(port->other, NULL, NULL);
    }
}

const struct net_class net_hubport = {
    .name = "hubport",
    .size = sizeof(struct hubport),
    .properties = hubport_properties,
    .open = hubport_open,
    .send = hubport_send,
    .close = hubport_close,
};
