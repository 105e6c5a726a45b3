/*
 * Between the kinds of network back ends and what they share (net.c).
 *
 * A kind sends plain frames, or (`headers`) frames with the virtio-net header that the card has
 * chosen; in the first case net.c makes plain frames of what the header describes. Cards send from
 * any thread that holds the machine lock, so send() does system calls only, and leaves to kick()
 * what needs the loop. Frames for the card are handed over on the loop's thread and never from
 * inside of a send: they wait in a queue meanwhile.
 */
#ifndef TINAMOU_IO_NET_INTERNAL_H
#define TINAMOU_IO_NET_INTERNAL_H

#include "io/loop/loop.h"
#include "io/net/net.h"
#include "util/idlist.h"
#include "util/property.h"

enum {
    NET_FRAME_MAX = 65536 + 4096, /* bytes, without virtio-net header */
    NET_FRAME_MIN = 14,           /* an Ethernet header */
    NET_QUEUE_FRAMES = 1024,      /* waiting for the card */
    NET_QUEUE_BYTES = 8 << 20,
};

struct net_backend;

struct net_class {
    const char *name; /* as -netdev has it */
    size_t size;      /* of the struct that begins with struct net_backend */
    const struct property *properties;
    /* An option that the table does not have, such as one that may come several times: true if it
     * was one. May be NULL. */
    bool (*option)(struct net_backend *net, const char *name, const char *value);
    /* Options are set. 0 or -errno with a message, without a prefix. */
    int (*open)(struct net_backend *net, char *error, size_t error_size);
    /* One frame; never waits. False: dropped. */
    bool (*send)(struct net_backend *net, const struct iovec *iov, unsigned count);
    /* On the loop's thread: the card may take more, or send() met something. May be NULL. */
    void (*kick)(struct net_backend *net);
    /* Undoes all of open(); also without one, or after one that failed. May be NULL. */
    void (*close)(struct net_backend *net);
    /* Makes an unopened one what close() understands. May be NULL. */
    void (*init)(struct net_backend *net);
    /* The card has chosen another header, or other offloads. May be NULL. */
    int (*set_header)(struct net_backend *net, unsigned size);
    void (*set_offloads)(struct net_backend *net, uint32_t wanted);
    /* Fills in what is not zero. May be NULL. */
    void (*uses)(const struct net_backend *net, struct net_uses *uses);
    /* As net_hostfwd(). May be NULL. */
    int (*hostfwd)(struct net_backend *net, const char *spec, bool add, char *error,
                   size_t error_size);
};

struct net_queued;

/* The head of every kind's struct. */
struct net_backend {
    struct idlist_node node; /* first */
    const struct net_class *class;
    struct loop *loop;
    struct loop_bh *bh;
    const struct net_handlers *handlers; /* of the card; NULL: none */
    void *opaque;
    unsigned header;   /* bytes on the card's frames */
    uint32_t offloads; /* that the kind has */
    bool headers;      /* the kind sends and delivers frames with the header */
    bool no_carrier;   /* says the kind */
    bool cut;          /* says the user */
    bool down;         /* either */
    unsigned sending;  /* depth */
    struct net_queued *queue, **queue_end;
    unsigned queue_count;
    size_t queue_bytes;
    uint8_t *scratch; /* NET_FRAME_MAX bytes */
    struct net_stats stats;
};

extern const struct net_class net_user, net_tap, net_socket, net_stream_class, net_dgram_class,
    net_hubport;

/*
 * A frame for the card, with its header if the kind has `headers`. False: the card has no room, and
 * the frame is the caller's to offer again when kicked; with `queue` it is kept, or dropped and
 * counted, and the result is true. Any thread if `queue`.
 */
bool net_deliver(struct net_backend *net, const struct iovec *iov, unsigned count, bool queue);
/* Nothing waits for the card. */
static inline bool net_is_clear(const struct net_backend *net)
{
    return !net->queue_count;
}
/* Has kick() called soon. Any thread. */
void net_kick(struct net_backend *net);
/* The kind has a carrier, or not. On the loop's thread. */
void net_set_carrier(struct net_backend *net, bool up);

size_t net_iov_size(const struct iovec *iov, unsigned count);
/* Copies at most `size` bytes behind the first `skip`; how many. */
size_t net_iov_copy(const struct iovec *iov, unsigned count, size_t skip, void *to, size_t size);
/* The pieces without their first `skip` bytes, in to[] of NET_MAX_PIECES; how many, or 0. */
unsigned net_iov_skip(const struct iovec *iov, unsigned count, size_t skip, struct iovec *to);

enum { NET_MAX_PIECES = 64 };

#endif
