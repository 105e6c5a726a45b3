/*
 * Links to other processes: a stream socket with frames behind their lengths, or datagrams.
 * Embedded by the kinds "socket", "stream" and "dgram", which differ in their options only.
 */
#ifndef TINAMOU_IO_NET_LINK_H
#define TINAMOU_IO_NET_LINK_H

#include "io/net/internal.h"
#include "io/socket/socket.h"

struct link_stream {
    struct net_backend *net;
    struct socket_addresses addresses;
    unsigned next;
    bool server;
    uint32_t reconnect_ms; /* of a client; 0: once only */
    char *unlink_path;     /* the caller's; NULL: none */
    int listen_fd, fd;
    bool connected;
    struct loop_fd *listen_watch, *connect_watch, *in_watch, *out_watch;
    struct loop_timer retry;
    int failed;              /* -errno of a write; handled when kicked */
    bool full;               /* what is held does not fit into the card */
    size_t got;              /* bytes of the length and the frame in `in` */
    size_t out_at, out_size; /* what waits in `out` */
    uint8_t *in, *out;
};

/* Zeroes it; link_stream_stop() may be called from then on. */
void link_stream_init(struct link_stream *link, struct net_backend *net);
/* Listens or connects at `addresses`; 0 or -errno with a message. A client without reconnect waits
 * until it is connected. */
int link_stream_start(struct link_stream *link, char *error, size_t error_size);
/* Over a socket that is connected. */
int link_stream_take(struct link_stream *link, int fd);
bool link_stream_send(struct link_stream *link, const struct iovec *iov, unsigned count);
void link_stream_kick(struct link_stream *link);
void link_stream_stop(struct link_stream *link);

struct link_dgram {
    struct net_backend *net;
    int fd;
    bool has_to; /* else the socket is connected */
    struct socket_address to;
    struct loop_fd *watch;
    char *unlink_path; /* the caller's; NULL: none */
    size_t held;       /* bytes of the frame in `frame` */
    uint8_t *frame;
};

void link_dgram_init(struct link_dgram *link, struct net_backend *net);
/* Over an open socket, which is its own from now on; 0 or -ENOMEM. */
int link_dgram_start(struct link_dgram *link, int fd, const struct socket_address *to);
bool link_dgram_send(struct link_dgram *link, const struct iovec *iov, unsigned count);
void link_dgram_kick(struct link_dgram *link);
void link_dgram_stop(struct link_dgram *link);

/* A socket that is a member of an IPv4 multicast group; -errno with a message. */
int link_multicast(const struct socket_address *group, const char *local, char *error,
                   size_t error_size);
/* A descriptor by its number as text; -EINVAL with a message. */
int link_fd(const char *text, char *error, size_t error_size);

#endif
