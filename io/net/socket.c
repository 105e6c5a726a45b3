/*
 * Kinds that link to other processes: "socket" with the options of old (listen=, connect=, mcast=,
 * udp=), "stream" and "dgram" with addresses in parts. What carries the frames is in link-stream.c
 * and link-dgram.c.
 */
#include "io/net/link.h"
#include "util/ending.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

enum { NAME_SIZE = 256 };

/* One end as "addr.", "local." or "remote." options have it. */
struct end {
    int type; /* END_* */
    char *host, *port, *path, *fd;
    bool ipv4, ipv6, abstract;
};

struct socket_net {
    struct net_backend net;
    /* of "socket" */
    char *listen, *connect, *mcast, *udp, *localaddr, *fd;
    /* of "stream" and "dgram" */
    struct end addr, local, remote;
    bool server;
    uint32_t reconnect, reconnect_ms;
    /* what is in use */
    bool is_dgram;
    struct link_stream stream;
    struct link_dgram dgram;
};

enum { END_NONE, END_INET, END_UNIX, END_FD };
static const char *const end_names[] = {"none", "inet", "unix", "fd", NULL};

static bool socket_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    struct socket_net *s = (struct socket_net *)net;

    return s->is_dgram ? link_dgram_send(&s->dgram, iov, count)
                       : link_stream_send(&s->stream, iov, count);
}

static void socket_kick(struct net_backend *net)
{
    struct socket_net *s = (struct socket_net *)net;

    if (s->is_dgram) {
        link_dgram_kick(&s->dgram);
    } else {
        link_stream_kick(&s->stream);
    }
}

static void socket_init(struct net_backend *net)
{
    struct socket_net *s = (struct socket_net *)net;

    link_stream_init(&s->stream, net);
    link_dgram_init(&s->dgram, net);
}

static void socket_close(struct net_backend *net)
{
    struct socket_net *s = (struct socket_net *)net;

    link_stream_stop(&s->stream);
    link_dgram_stop(&s->dgram);
}

/* ---- socket ---------------------------------------------------------------------------------- */

static const struct property socket_properties[] = {
    PROPERTY(STRING, "listen", struct socket_net, listen, .help = "[HOST]:PORT of a TCP server"),
    PROPERTY(STRING, "connect", struct socket_net, connect, .help = "HOST:PORT of a TCP client"),
    PROPERTY(STRING, "mcast", struct socket_net, mcast, .help = "ADDRESS:PORT of a UDP group"),
    PROPERTY(STRING, "udp", struct socket_net, udp, .help = "HOST:PORT of a UDP peer"),
    PROPERTY(STRING, "localaddr", struct socket_net, localaddr,
             .help = "ADDRESS for mcast=, [HOST]:PORT for udp="),
    PROPERTY(STRING, "fd", struct socket_net, fd, .help = "descriptor of a connected socket"),
    PROPERTY_END,
};

static int resolve_text(struct socket_addresses *to, const char *option, const char *text, int type,
                        bool passive, char *error, size_t error_size)
{
    char host[NAME_SIZE], port[NAME_SIZE];
    const char *rest = socket_split(text, "", host, port, NAME_SIZE);

    if (!rest) {
        snprintf(error, error_size, "%s=%s: expected HOST:PORT", option, text);
        return -EINVAL;
    }
    return socket_resolve(to, host, port, AF_UNSPEC, type, passive, error, error_size);
}

/* A descriptor of either type. */
static int take_fd(struct socket_net *s, const char *text, char *error, size_t error_size)
{
    int fd = link_fd(text, error, error_size), type = 0;
    socklen_t size = sizeof(type);

    if (fd < 0) {
        return fd;
    }
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    s->is_dgram = type == SOCK_DGRAM;
    return s->is_dgram ? link_dgram_start(&s->dgram, fd, NULL) : link_stream_take(&s->stream, fd);
}

static int open_udp(struct socket_net *s, const struct socket_address *to,
                    const struct socket_addresses *local, char *error, size_t error_size)
{
    int fd = socket_bind(local, error, error_size);

    return fd < 0 ? fd : link_dgram_start(&s->dgram, fd, to);
}

static int open_group(struct socket_net *s, const struct socket_address *group, const char *local,
                      char *error, size_t error_size)
{
    int fd = link_multicast(group, local, error, error_size);

    return fd < 0 ? fd : link_dgram_start(&s->dgram, fd, group);
}

static int socket_open(struct net_backend *net, char *error, size_t error_size)
{
    struct socket_net *s = (struct socket_net *)net;
    struct socket_addresses at, local;
    int err;

    if (!s->listen + !s->connect + !s->mcast + !s->udp + !s->fd != 4) {
        snprintf(error, error_size, "expected one of listen=, connect=, mcast=, udp= and fd=");
        return -EINVAL;
    }
    if (s->fd) {
        return take_fd(s, s->fd, error, error_size);
    }
    if (s->listen || s->connect) {
        s->stream.server = s->listen;
        err = resolve_text(&s->stream.addresses, s->listen ? "listen" : "connect",
                           s->listen ? s->listen : s->connect, SOCK_STREAM, s->listen, error,
                           error_size);
        return err ? err : link_stream_start(&s->stream, error, error_size);
    }
    s->is_dgram = true;
    if (s->mcast) {
        err = resolve_text(&at, "mcast", s->mcast, SOCK_DGRAM, false, error, error_size);
        return err ? err : open_group(s, &at.address[0], s->localaddr, error, error_size);
    }
    if (!s->localaddr) {
        snprintf(error, error_size, "udp=%s: localaddr= is missing", s->udp);
        return -EINVAL;
    }
    err = resolve_text(&at, "udp", s->udp, SOCK_DGRAM, false, error, error_size);
    if (!err) {
        err = resolve_text(&local, "localaddr", s->localaddr, SOCK_DGRAM, true, error, error_size);
    }
    return err ? err : open_udp(s, &at.address[0], &local, error, error_size);
}

const struct net_class net_socket = {
    .name = "socket",
    .size = sizeof(struct socket_net),
    .properties = socket_properties,
    .init = socket_init,
    .open = socket_open,
    .send = socket_send,
    .kick = socket_kick,
    .close = socket_close,
};

/* ---- ends in parts --------------------------------------------------------------------------- */

#define END_PROPERTIES(prefix, field)                                                       \
    PROPERTY(ENUM, prefix ".type", struct socket_net, field.type, .names = end_names,       \
             .help = "kind of the address"),                                                \
        PROPERTY(STRING, prefix ".host", struct socket_net, field.host, .help = "of inet"), \
        PROPERTY(STRING, prefix ".port", struct socket_net, field.port, .help = "of inet"), \
        PROPERTY(BOOL, prefix ".ipv4", struct socket_net, field.ipv4, .help = "IPv4 only"), \
        PROPERTY(BOOL, prefix ".ipv6", struct socket_net, field.ipv6, .help = "IPv6 only"), \
        PROPERTY(STRING, prefix ".path", struct socket_net, field.path, .help = "of unix"), \
        PROPERTY(BOOL, prefix ".abstract", struct socket_net, field.abstract,               \
                 .help = "the path is a name in the abstract namespace"),                   \
        PROPERTY(STRING, prefix ".str", struct socket_net, field.fd, .help = "number, of fd")

static int resolve_end(struct socket_addresses *to, const char *name, const struct end *end,
                       int type, bool passive, char *error, size_t error_size)
{
    int family = end->ipv4 == end->ipv6 ? AF_UNSPEC : end->ipv4 ? AF_INET : AF_INET6;

    if (end->type == END_INET && end->port) {
        return socket_resolve(to, end->host, end->port, family, type, passive, error, error_size);
    }
    if (end->type == END_UNIX && end->path) {
        return socket_unix(to, end->path, end->abstract, error, error_size);
    }
    snprintf(error, error_size,
             "%s.type=%s: expected inet with %s.host= and %s.port=, or unix with %s.path=", name,
             end_names[end->type], name, name, name);
    return -EINVAL;
}

/* ---- stream ---------------------------------------------------------------------------------- */

static const struct property stream_properties[] = {
    END_PROPERTIES("addr", addr),
    PROPERTY(BOOL, "server", struct socket_net, server, .help = "listens"),
    PROPERTY(U32, "reconnect", struct socket_net, reconnect, .max = 1000000,
             .help = "seconds after which a lost client tries again"),
    PROPERTY(U32, "reconnect-ms", struct socket_net, reconnect_ms,
             .help = "the same in milliseconds"),
    PROPERTY_END,
};

static int stream_open(struct net_backend *net, char *error, size_t error_size)
{
    struct socket_net *s = (struct socket_net *)net;

    if ((s->reconnect && s->reconnect_ms) || (s->server && (s->reconnect || s->reconnect_ms))) {
        snprintf(error, error_size, "expected one of reconnect=, reconnect-ms= and server=on");
        return -EINVAL;
    }
    if (s->addr.type == END_FD && s->addr.fd) {
        return take_fd(s, s->addr.fd, error, error_size);
    }
    int err = resolve_end(&s->stream.addresses, "addr", &s->addr, SOCK_STREAM, s->server, error,
                          error_size);

    if (err) {
        return err;
    }
    s->stream.server = s->server;
    s->stream.reconnect_ms = s->reconnect ? s->reconnect * 1000 : s->reconnect_ms;
    s->stream.unlink_path = s->addr.type == END_UNIX && !s->addr.abstract ? s->addr.path : NULL;
    return link_stream_start(&s->stream, error, error_size);
}

static void stream_uses(const struct net_backend *net, struct net_uses *uses)
{
    uses->connects = ((const struct socket_net *)net)->stream.reconnect_ms != 0;
}

const struct net_class net_stream_class = {
    .name = "stream",
    .size = sizeof(struct socket_net),
    .properties = stream_properties,
    .init = socket_init,
    .open = stream_open,
    .send = socket_send,
    .kick = socket_kick,
    .close = socket_close,
    .uses = stream_uses,
};

/* ---- dgram ----------------------------------------------------------------------------------- */

static const struct property dgram_properties[] = {
    END_PROPERTIES("local", local),
    END_PROPERTIES("remote", remote),
    PROPERTY_END,
};

static int dgram_open(struct net_backend *net, char *error, size_t error_size)
{
    struct socket_net *s = (struct socket_net *)net;
    struct socket_addresses to, local;

    s->is_dgram = true;
    if (s->local.type == END_FD && s->local.fd) {
        return take_fd(s, s->local.fd, error, error_size);
    }
    int err = resolve_end(&to, "remote", &s->remote, SOCK_DGRAM, false, error, error_size);

    if (err) {
        return err;
    }
    const struct sockaddr_in *in = (const struct sockaddr_in *)&to.address[0].at;

    if (in->sin_family == AF_INET && IN_MULTICAST(ntohl(in->sin_addr.s_addr))) {
        return open_group(s, &to.address[0], s->local.host, error, error_size);
    }
    err = resolve_end(&local, "local", &s->local, SOCK_DGRAM, true, error, error_size);
    if (err) {
        return err;
    }
    err = open_udp(s, &to.address[0], &local, error, error_size);
    if (!err && s->local.type == END_UNIX && !s->local.abstract) {
        s->dgram.unlink_path = s->local.path;
        ending_note_file(s->local.path);
    }
    return err;
}

const struct net_class net_dgram_class = {
    .name = "dgram",
    .size = sizeof(struct socket_net),
    .properties = dgram_properties,
    .init = socket_init,
    .open = dgram_open,
    .send = socket_send,
    .kick = socket_kick,
    .close = socket_close,
};
