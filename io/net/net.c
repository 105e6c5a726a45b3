/*
 * Network back ends: the list of them, making one from options, and the way of frames between a
 * kind (user, tap, ...) and its card.
 *
 * To the card: a frame is offered at once when the loop's thread has it and the card is not in the
 * middle of sending; else it waits in a queue with limits, which a bottom half empties. Kinds that
 * can stop reading look whether the queue is clear.
 *
 * From the card: what its virtio-net header describes is done here for kinds that take plain frames
 * only (offload.c).
 */
#include "build/config.h"
#include "io/net/internal.h"
#include "io/net/offload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PADDED = 60, PART_MAX = 384 };

struct net_queued {
    struct net_queued *next;
    size_t size;
    uint8_t bytes[];
};

static const struct net_class *const classes[] = {
#if CONFIG_SLIRP
    &net_user,
#endif
    &net_tap,  &net_socket, &net_stream_class, &net_dgram_class, &net_hubport, NULL,
};

static struct idlist all;

/* ---- pieces ---------------------------------------------------------------------------------- */

size_t net_iov_size(const struct iovec *iov, unsigned count)
{
    size_t size = 0;

    for (unsigned i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    return size;
}

size_t net_iov_copy(const struct iovec *iov, unsigned count, size_t skip, void *to, size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < size; i++) {
        size_t length = iov[i].iov_len;

        if (skip >= length) {
            skip -= length;
            continue;
        }
        size_t n = length - skip < size - done ? length - skip : size - done;

        memcpy((uint8_t *)to + done, (const uint8_t *)iov[i].iov_base + skip, n);
        done += n;
        skip = 0;
    }
    return done;
}

unsigned net_iov_skip(const struct iovec *iov, unsigned count, size_t skip, struct iovec *to)
{
    unsigned n = 0;

    for (unsigned i = 0; i < count; i++) {
        size_t length = iov[i].iov_len;

        if (skip >= length) {
            skip -= length;
            continue;
        }
        if (n == NET_MAX_PIECES) {
            return 0;
        }
        to[n].iov_base = (uint8_t *)iov[i].iov_base + skip;
        to[n++].iov_len = length - skip;
        skip = 0;
    }
    return n;
}

/* ---- to the card ----------------------------------------------------------------------------- */

/* Hands a frame over in the form that the card wants; false when it has no room. */
static bool offer(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    static const uint8_t zeros[PADDED];
    struct iovec pieces[NET_MAX_PIECES + 1];
    size_t size = net_iov_size(iov, count);

    if (!net->handlers || net->cut) {
        net->stats.receive_dropped++;
        return true;
    }
    if (net->header && !net->headers && count < NET_MAX_PIECES) {
        pieces[0] = (struct iovec){(void *)(uintptr_t)zeros, net->header};
        memcpy(pieces + 1, iov, count * sizeof(*iov));
        iov = pieces;
        count++;
    } else if (!net->header && size < PADDED && count < NET_MAX_PIECES) {
        memcpy(pieces, iov, count * sizeof(*iov));
        pieces[count++] = (struct iovec){(void *)(uintptr_t)zeros, PADDED - size};
        iov = pieces;
    }
    if (!net->handlers->receive(net->opaque, iov, count)) {
        return false;
    }
    net->stats.received++;
    return true;
}

static void enqueue(struct net_backend *net, const struct iovec *iov, unsigned count, size_t size)
{
    struct net_queued *frame = NULL;

    if (net->queue_count < NET_QUEUE_FRAMES && net->queue_bytes + size <= NET_QUEUE_BYTES) {
        frame = malloc(sizeof(*frame) + size);
    }
    if (!frame) {
        net->stats.receive_dropped++;
        return;
    }
    frame->next = NULL;
    frame->size = size;
    net_iov_copy(iov, count, 0, frame->bytes, size);
    *net->queue_end = frame;
    net->queue_end = &frame->next;
    net->queue_count++;
    net->queue_bytes += size;
}

static struct net_queued *unqueue(struct net_backend *net)
{
    struct net_queued *frame = net->queue;

    if (frame) {
        net->queue = frame->next;
        if (!net->queue) {
            net->queue_end = &net->queue;
        }
        net->queue_count--;
        net->queue_bytes -= frame->size;
    }
    return frame;
}

bool net_deliver(struct net_backend *net, const struct iovec *iov, unsigned count, bool queue)
{
    size_t header = net->headers ? net->header : 0, size = net_iov_size(iov, count);

    if (size < header + NET_FRAME_MIN || size > header + NET_FRAME_MAX) {
        net->stats.receive_dropped++;
        return true;
    }
    bool now = net_is_clear(net) && !net->sending && loop_is_current(net->loop);

    if (now && offer(net, iov, count)) {
        return true;
    }
    if (!queue) {
        return false;
    }
    enqueue(net, iov, count, size);
    if (!now) {
        net_kick(net); /* else the card says when */
    }
    return true;
}

static void flush(struct net_backend *net)
{
    while (net->queue) {
        struct iovec iov = {net->queue->bytes, net->queue->size};

        if (!offer(net, &iov, 1)) {
            return;
        }
        free(unqueue(net));
    }
}

static void kicked(void *opaque)
{
    struct net_backend *net = opaque;

    flush(net);
    if (net->class->kick) {
        net->class->kick(net);
    }
}

void net_kick(struct net_backend *net)
{
    loop_bh_schedule(net->bh);
}

void net_accept(struct net_backend *net)
{
    net_kick(net);
}

/* ---- from the card --------------------------------------------------------------------------- */

static void emit(void *opaque, const struct iovec *iov, unsigned count)
{
    struct net_backend *net = opaque;

    if (net->class->send(net, iov, count)) {
        net->stats.sent++;
    } else {
        net->stats.send_dropped++;
    }
}

/* A frame with a header for a kind that has none. */
static void send_plain(struct net_backend *net, const struct iovec *iov, unsigned count,
                       size_t size)
{
    struct net_header header = {0};
    struct iovec plain[NET_MAX_PIECES];

    net_iov_copy(iov, count, 0, &header, net->header);
    if (!(header.flags & NET_HEADER_NEEDS_CSUM) && header.gso_type == NET_GSO_NONE) {
        unsigned n = net_iov_skip(iov, count, net->header, plain);

        if (n) {
            emit(net, plain, n);
            return;
        }
    }
    net_iov_copy(iov, count, net->header, net->scratch, size);
    if (net_offload_send(net->scratch, size, &header, emit, net)) {
        net->stats.send_dropped++;
    }
}

void net_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    size_t size = net_iov_size(iov, count);

    if (size < net->header + NET_FRAME_MIN || size > net->header + NET_FRAME_MAX || net->down) {
        net->stats.send_dropped++;
        return;
    }
    net->sending++;
    if (net->header && !net->headers) {
        send_plain(net, iov, count, size - net->header);
    } else if (count <= NET_MAX_PIECES) {
        emit(net, iov, count);
    } else {
        /* Kinds count on few pieces; so does writev(). */
        struct iovec whole = {net->scratch, size};

        net_iov_copy(iov, count, 0, net->scratch, size);
        emit(net, &whole, 1);
    }
    net->sending--;
}

/* ---- what both sides agree on ---------------------------------------------------------------- */

int net_attach(struct net_backend *net, const struct net_handlers *handlers, void *opaque)
{
    if (handlers && net->handlers) {
        return -EBUSY;
    }
    net->handlers = handlers;
    net->opaque = opaque;
    if (!handlers) {
        net_set_offloads(net, 0);
        net_set_header(net, 0);
    }
    net_kick(net);
    return 0;
}

uint32_t net_offloads(const struct net_backend *net)
{
    /* Without headers of its own, what is received is plain, and what is sent is done here. */
    return net->headers ? net->offloads
                        : NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
}

void net_set_offloads(struct net_backend *net, uint32_t wanted)
{
    if (net->class->set_offloads) {
        net->class->set_offloads(net, wanted & net->offloads);
    }
}

int net_set_header(struct net_backend *net, unsigned size)
{
    if (size != 0 && size != 10 && size != 12) {
        return -EINVAL;
    }
    if (net->header != size) {
        int err = net->class->set_header ? net->class->set_header(net, size) : 0;

        if (err) {
            return err;
        }
        /* Frames that wait have the old form. */
        while (net->queue) {
            free(unqueue(net));
            net->stats.receive_dropped++;
        }
        net->header = size;
    }
    return 0;
}

static void set_down(struct net_backend *net, bool down)
{
    if (net->down != down) {
        net->down = down;
        if (net->handlers && net->handlers->link) {
            net->handlers->link(net->opaque, !down);
        }
    }
}

void net_set_carrier(struct net_backend *net, bool up)
{
    net->no_carrier = !up;
    set_down(net, net->no_carrier || net->cut);
}

void net_set_link(struct net_backend *net, bool up)
{
    net->cut = !up;
    set_down(net, net->no_carrier || net->cut);
}

bool net_link_is_up(const struct net_backend *net)
{
    return !net->down;
}

void net_get_uses(const struct net_backend *net, struct net_uses *uses)
{
    *uses = (struct net_uses){0};
    if (net->class->uses) {
        net->class->uses(net, uses);
    }
}

void net_get_stats(const struct net_backend *net, struct net_stats *stats)
{
    *stats = net->stats;
}

void net_new_mac(uint8_t mac[6])
{
    static unsigned made;
    const uint8_t first[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
    unsigned low = 0x123456 + made++;

    memcpy(mac, first, 3);
    mac[3] = (uint8_t)(low >> 16);
    mac[4] = (uint8_t)(low >> 8);
    mac[5] = (uint8_t)low;
}

int net_hostfwd(struct net_backend *net, const char *spec, bool add, char *error, size_t error_size)
{
    if (!net->class->hostfwd) {
        snprintf(error, error_size, "netdev %s: expected one of kind user", net->node.id);
        return -EINVAL;
    }
    return net->class->hostfwd(net, spec, add, error, error_size);
}

/* ---- the list -------------------------------------------------------------------------------- */

struct net_backend *net_find(const char *id)
{
    return idlist_find(&all, id);
}

const char *net_id(const struct net_backend *net)
{
    return net->node.id;
}

const char *net_kind(const struct net_backend *net)
{
    return net->class->name;
}

struct net_backend *net_at(unsigned n)
{
    return idlist_at(&all, n);
}

/* ---- making ---------------------------------------------------------------------------------- */

struct named {
    struct net_backend *net;
    char id[IDLIST_MAX + 2]; /* one that is too long stays so */
};

static bool other_option(void *opaque, const char *name, const char *value)
{
    struct named *named = opaque;

    if (!strcmp(name, "id")) {
        snprintf(named->id, sizeof(named->id), "%s", value);
        return true;
    }
    return !strcmp(name, "type") ||
           (named->net->class->option && named->net->class->option(named->net, name, value));
}

static const struct net_class *find_class(const char *name)
{
    for (unsigned i = 0; classes[i]; i++) {
        if (!strcmp(classes[i]->name, name)) {
            return classes[i];
        }
    }
    return NULL;
}

static void free_backend(struct net_backend *net)
{
    while (net->queue) {
        free(unqueue(net));
    }
    if (net->bh) {
        loop_bh_destroy(net->bh);
    }
    property_clear(net->class->properties, net);
    free(net->scratch);
    free(net->node.id);
    free(net);
}

static int bring_up(struct net_backend *net, char *error, size_t error_size)
{
    char text[PART_MAX] = "no memory";
    int err = -ENOMEM;

    net->scratch = malloc(NET_FRAME_MAX + sizeof(struct net_header));
    net->bh = loop_bh_create(net->loop, kicked, net);
    net->queue_end = &net->queue;
    if (net->scratch && net->bh) {
        err = net->class->open(net, text, sizeof(text));
    }
    if (err) {
        snprintf(error, error_size, "netdev %s: %s", net->node.id, text);
    }
    return err;
}

int net_create(struct net_backend **net, struct loop *loop, const char *options, char *error,
               size_t error_size)
{
    size_t length = strcspn(options, ",=");
    char kind[32], who[192];

    *net = NULL;
    if (options[length] == '=' && !strncmp(options, "type=", 5)) {
        options += 5;
        length = strcspn(options, ",");
    }
    snprintf(kind, sizeof(kind), "%.*s", (int)length, options);
    options += length + (options[length] == ',');
    const struct net_class *class = find_class(kind);
    struct named named = {0};

    if (!class) {
        snprintf(error, error_size,
                 "netdev '%s': expected user, tap, socket, stream, dgram or hubport", kind);
        return -EINVAL;
    }
    /* A reader that is gone is an error of write(), not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    struct net_backend *made = calloc(1, class->size);

    if (!made) {
        snprintf(error, error_size, "netdev %s: no memory", kind);
        return -ENOMEM;
    }
    made->class = class;
    made->loop = loop;
    named.net = made;
    if (class->init) {
        class->init(made);
    }
    snprintf(who, sizeof(who), "netdev %s", kind);
    int err = property_set_defaults(class->properties, made);

    if (err) {
        snprintf(error, error_size, "%s: no memory", who);
    } else {
        err = property_set_list(class->properties, made, who, options, other_option, &named, error,
                                error_size);
    }
    if (!err) {
        err = idlist_name(&all, &made->node, named.id, who, error, error_size);
    }
    if (!err) {
        err = bring_up(made, error, error_size);
    }
    if (err) {
        if (class->close) {
            class->close(made);
        }
        free_backend(made);
        return err;
    }
    idlist_add(&all, &made->node);
    *net = made;
    net_kick(made);
    return 0;
}

void net_destroy(struct net_backend *net)
{
    idlist_remove(&all, &net->node);
    if (net->class->close) {
        net->class->close(net);
    }
    free_backend(net);
}

void net_destroy_all(void)
{
    while (all.first) {
        net_destroy(idlist_at(&all, 0));
    }
}
