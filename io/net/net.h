/*
 * Network back ends: the host's end of network cards.
 *
 * A back end has one peer (a card's queue). Frames are Ethernet frames without FCS, with or without
 * a virtio-net header in front, as negotiated. All under the machine lock, callbacks on the main
 * loop; net_send() and net_accept() may come from any thread.
 */
#ifndef TINAMOU_IO_NET_NET_H
#define TINAMOU_IO_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct net_backend;
struct loop;

struct net_handlers {
    /*
     * A frame for the card, in pieces; with a virtio-net header of net_set_header()'s size first if
     * that is not 0. True: taken. False: no room, it is offered again after net_accept().
     */
    bool (*receive)(void *opaque, const struct iovec *iov, unsigned count);
    /* The link has gone up or down. May be NULL. */
    void (*link)(void *opaque, bool up);
};

/* What a back end can do with what the header describes. */
enum {
    NET_OFFLOAD_CSUM = 1, /* checksums left to the other side */
    NET_OFFLOAD_TSO4 = 2,
    NET_OFFLOAD_TSO6 = 4,
    NET_OFFLOAD_UFO = 8,
    NET_OFFLOAD_ECN = 16,
};

/*
 * Makes one from what -netdev has ("user,id=n0,hostfwd=tcp::2222-:22", "tap,id=n0,ifname=tap0",
 * "socket,id=n0,listen=:1234", "socket,...,connect=, mcast=, udp=", "stream,...", "dgram,...",
 * "hubport,id=,hubid=[,netdev=]").
 * 0 with *net, or -errno with a line in error[].
 */
int net_create(struct net_backend **net, struct loop *loop, const char *options, char *error,
               size_t error_size);
struct net_backend *net_find(const char *id);
const char *net_id(const struct net_backend *net);
const char *net_kind(const struct net_backend *net);
/* NULL behind the last. */
struct net_backend *net_at(unsigned n);
void net_destroy(struct net_backend *net);
void net_destroy_all(void);

/* Attaches the card, or with NULL detaches it; header and offloads are none then. -EBUSY when there
 * is one already. */
int net_attach(struct net_backend *net, const struct net_handlers *handlers, void *opaque);
/* The card takes frames again. */
void net_accept(struct net_backend *net);
/* Sends a frame in pieces (header first if one is set); frames that the back end can't take at once
 * are queued up to a limit and then dropped. */
void net_send(struct net_backend *net, const struct iovec *iov, unsigned count);

/* The offloads that both sides may use, NET_OFFLOAD_*; those of `wanted` that the back end has. */
uint32_t net_offloads(const struct net_backend *net);
void net_set_offloads(struct net_backend *net, uint32_t wanted);
/*
 * Bytes of virtio-net header on frames in both directions: 0, 10 or 12 (else -EINVAL). What a
 * header on a sent frame asks for is done in software where the back end can't, so every back end
 * has all of CSUM, TSO4, TSO6 and ECN for net_send(); the offloads that are set say what the card
 * takes. num_buffers is the card's to fill. Without a header frames for the card are padded to 60
 * bytes.
 */
int net_set_header(struct net_backend *net, unsigned size);

/* The link as the monitors' set_link has it: down, frames in both directions are dropped. */
void net_set_link(struct net_backend *net, bool up);
bool net_link_is_up(const struct net_backend *net);

/* A hardware address for a card without one: 52:54:00:12:34:56, counting up from card to card. */
void net_new_mac(uint8_t mac[6]);

struct net_stats {
    uint64_t sent, received; /* frames from and to the card */
    uint64_t send_dropped, receive_dropped;
};
void net_get_stats(const struct net_backend *net, struct net_stats *stats);

/* What a back end does with the host when it runs, which a sandbox has to allow. */
struct net_uses {
    bool connects;      /* again, when a connection is lost */
    bool commands;      /* are run when the guest connects to something */
    const char *folder; /* of files that the guest may read; NULL: none */
};
void net_get_uses(const struct net_backend *net, struct net_uses *uses);

/*
 * What the monitors' hostfwd_add and hostfwd_remove do: "tcp::2222-:22" on a back end of kind user,
 * for removing without what follows the minus. 0, or -errno with a line in error[].
 */
int net_hostfwd(struct net_backend *net, const char *spec, bool add, char *error,
                size_t error_size);

#endif
