/*
 * socket: TCP and unix sockets, as server or client, with telnet on top if wanted.
 *
 * States: a server listens while nobody is connected, and keeps further clients waiting in the
 * backlog while somebody is. A client with reconnect tries again on a timer; connecting never
 * waits then, one address after the other. Without reconnect a client connects when it is made, and
 * once lost it stays closed.
 */
#include "io/chardev/internal.h"
#include "io/socket/socket.h"
#include "util/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

struct socket_chardev {
    struct chardev chr;
    /* options */
    char *path, *host, *port, *fd_number, *tls;
    uint16_t to;
    bool abstract, tight, ipv4, ipv6, server, wait, nodelay, delay, telnet, websocket;
    uint32_t reconnect, reconnect_ms;
    /* state */
    struct socket_addresses addresses;
    unsigned next; /* address to be tried */
    int listen_fd, fd;
    struct loop_fd *listen_watch, *connect_watch;
    struct loop_timer retry;
    struct stream stream;
    struct telnet protocol;
    bool unlink_path;
};

static const struct property socket_properties[] = {
    PROPERTY(STRING, "path", struct socket_chardev, path, .help = "of a unix socket"),
    PROPERTY(BOOL, "abstract", struct socket_chardev, abstract,
             .help = "the path is a name in the abstract namespace"),
    PROPERTY(BOOL, "tight", struct socket_chardev, tight, .number = 1,
             .help = "an abstract name is not padded"),
    PROPERTY(STRING, "host", struct socket_chardev, host, .help = "of a TCP socket"),
    PROPERTY(STRING, "port", struct socket_chardev, port, .help = "of a TCP socket"),
    PROPERTY(U16, "to", struct socket_chardev, to, .help = "last port that a server tries"),
    PROPERTY(BOOL, "ipv4", struct socket_chardev, ipv4, .help = "IPv4 only"),
    PROPERTY(BOOL, "ipv6", struct socket_chardev, ipv6, .help = "IPv6 only"),
    PROPERTY(STRING, "fd", struct socket_chardev, fd_number,
             .help = "descriptor of a socket that listens or is connected"),
    PROPERTY(BOOL, "server", struct socket_chardev, server, .help = "listens"),
    PROPERTY(BOOL, "wait", struct socket_chardev, wait, .number = 1,
             .help = "a server waits for its client before the machine starts"),
    PROPERTY(BOOL, "nodelay", struct socket_chardev, nodelay, .help = "TCP_NODELAY"),
    PROPERTY(BOOL, "delay", struct socket_chardev, delay, .number = 1,
             .help = "the opposite of nodelay"),
    PROPERTY(BOOL, "telnet", struct socket_chardev, telnet, .help = "speaks telnet"),
    PROPERTY(BOOL, "websocket", struct socket_chardev, websocket, .help = "not supported"),
    PROPERTY(STRING, "tls-creds", struct socket_chardev, tls, .help = "not supported"),
    PROPERTY(U32, "reconnect", struct socket_chardev, reconnect, .max = 1000000,
             .help = "seconds after which a lost client tries again"),
    PROPERTY(U32, "reconnect-ms", struct socket_chardev, reconnect_ms,
             .help = "the same in milliseconds"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static void listen_again(struct socket_chardev *s);
static void retry_later(struct socket_chardev *s);

/* ---- names ----------------------------------------------------------------------------------- */

/* "disconnected:unix:/x,server=on", "tcp:127.0.0.1:1 <-> 127.0.0.1:2", ... */
static void name_it(struct socket_chardev *s)
{
    const char *scheme = s->path ? "unix" : s->telnet ? "telnet" : "tcp";
    const char *server = s->server ? ",server=on" : "";
    char own[SOCKET_TEXT_MAX], other[SOCKET_TEXT_MAX];
    size_t size = sizeof(s->chr.filename);

    if (s->fd < 0 || !s->chr.open) {
        if (s->listen_fd >= 0) {
            socket_print_end(s->listen_fd, false, own);
        } else {
            socket_print(&s->addresses.address[0], own);
        }
        snprintf(s->chr.filename, size, "disconnected:%s:%s%s", scheme, own, server);
        return;
    }
    socket_print_end(s->fd, false, own);
    socket_print_end(s->fd, true, other);
    if (s->path || (!own[0] && !other[0])) {
        snprintf(s->chr.filename, size, "unix:%s%s", s->path ? s->path : "", server);
    } else {
        snprintf(s->chr.filename, size, "%s:%s%s <-> %s", scheme, own, server, other);
    }
}

/* ---- a connection ---------------------------------------------------------------------------- */

static size_t take_telnet(struct chardev *chr, uint8_t *bytes, size_t size)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;
    bool is_break;

    size = telnet_filter(&s->protocol, bytes, size, &is_break);
    if (is_break) {
        chardev_tell(chr, CHARDEV_BREAK);
    }
    return size;
}

static void lost(struct chardev *chr, int err)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;

    stream_stop(&s->stream);
    close(s->fd);
    s->fd = -1;
    chr->open = false;
    name_it(s);
    chardev_tell(chr, CHARDEV_CLOSED);
    chardev_has_room(chr);
    if (s->server) {
        listen_again(s);
    } else if (s->reconnect_ms) {
        retry_later(s);
    }
}

static void connected(struct socket_chardev *s, int fd)
{
    s->fd = fd;
    if (s->nodelay || !s->delay) {
        socket_set_nodelay(fd, true);
    }
    if (s->telnet) {
        memset(&s->protocol, 0, sizeof(s->protocol));
        s->stream.filter = take_telnet;
    }
    s->stream.hangup = lost;
    stream_start(&s->stream, &s->chr, fd, fd);
    if (s->telnet) {
        telnet_greet(&s->protocol);
        telnet_write(&s->protocol, &s->stream, NULL, 0);
    }
    s->chr.open = true;
    name_it(s);
    chardev_tell(&s->chr, CHARDEV_OPENED);
    chardev_kick(&s->chr);
}

/* ---- server ---------------------------------------------------------------------------------- */

static void client_came(void *opaque, unsigned events)
{
    struct socket_chardev *s = opaque;
    int fd = socket_accept(s->listen_fd);

    if (fd >= 0) {
        loop_fd_remove(s->listen_watch);
        s->listen_watch = NULL;
        connected(s, fd);
    }
}

static void listen_again(struct socket_chardev *s)
{
    if (!s->listen_watch && s->listen_fd >= 0) {
        s->listen_watch = loop_fd_add(s->chr.loop, s->listen_fd, LOOP_IN, client_came, s);
    }
}

static int wait_for_client(struct socket_chardev *s, char *error, size_t error_size)
{
    struct pollfd wait = {.fd = s->listen_fd, .events = POLLIN};

    fprintf(stderr, "waiting for connection on: %s\n", s->chr.filename);
    for (;;) {
        int fd = socket_accept(s->listen_fd);

        if (fd >= 0) {
            connected(s, fd);
            return 0;
        }
        if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED) {
            snprintf(error, error_size, "accept: %s", strerror(-fd));
            return fd;
        }
        poll(&wait, 1, -1);
    }
}

/* Tries the ports up to `to`. */
static int listen_somewhere(struct socket_chardev *s, char *error, size_t error_size)
{
    unsigned first = s->port ? (unsigned)strtoul(s->port, NULL, 10) : 0;
    int family = s->ipv4 == s->ipv6 ? AF_UNSPEC : s->ipv4 ? AF_INET : AF_INET6;
    int fd = socket_listen(&s->addresses, error, error_size);

    for (unsigned port = first + 1; !s->path && fd == -EADDRINUSE && port <= s->to; port++) {
        char text[16];

        snprintf(text, sizeof(text), "%u", port);
        int err = socket_resolve(&s->addresses, s->host, text, family, SOCK_STREAM, true, error,
                                 error_size);

        fd = err ? err : socket_listen(&s->addresses, error, error_size);
    }
    return fd;
}

static int start_server(struct socket_chardev *s, char *error, size_t error_size)
{
    if (s->listen_fd < 0) {
        s->listen_fd = listen_somewhere(s, error, error_size);
        s->unlink_path = s->listen_fd >= 0 && s->path && !s->abstract;
        if (s->unlink_path) {
            ending_note_file(s->path);
        }
    }
    if (s->listen_fd < 0) {
        return s->listen_fd;
    }
    name_it(s);
    if (s->wait) {
        return wait_for_client(s, error, error_size);
    }
    listen_again(s);
    return 0;
}

/* ---- client ---------------------------------------------------------------------------------- */

static void try_next(struct socket_chardev *s);

static void connect_decided(void *opaque, unsigned events)
{
    struct socket_chardev *s = opaque;
    int fd = s->fd;
    int err = socket_error(fd);

    loop_fd_remove(s->connect_watch);
    s->connect_watch = NULL;
    s->fd = -1;
    if (!err) {
        connected(s, fd);
        return;
    }
    close(fd);
    try_next(s);
}

/* Begins with the next address; after the last, the timer. */
static void try_next(struct socket_chardev *s)
{
    while (s->next < s->addresses.count) {
        s->fd = socket_connect_start(&s->addresses.address[s->next++]);
        if (s->fd >= 0) {
            s->connect_watch = loop_fd_add(s->chr.loop, s->fd, LOOP_OUT, connect_decided, s);
            return;
        }
    }
    s->fd = -1;
    retry_later(s);
}

static void retry(void *opaque)
{
    struct socket_chardev *s = opaque;

    s->next = 0;
    try_next(s);
}

static void retry_later(struct socket_chardev *s)
{
    loop_timer_arm(&s->retry,
                   loop_clock_now(LOOP_CLOCK_REALTIME) + (int64_t)s->reconnect_ms * 1000000);
}

static int start_client(struct socket_chardev *s, char *error, size_t error_size)
{
    if (s->reconnect_ms) {
        name_it(s);
        retry(s);
        return 0;
    }
    int fd = socket_connect(&s->addresses, error, error_size);

    if (fd < 0) {
        return fd;
    }
    connected(s, fd);
    return 0;
}

/* ---- the kind -------------------------------------------------------------------------------- */

static int invalid(char *error, size_t error_size, const char *what)
{
    snprintf(error, error_size, "%s", what);
    return -EINVAL;
}

static int check_options(struct socket_chardev *s, char *error, size_t error_size)
{
    if (s->tls || s->websocket) {
        return invalid(error, error_size, "tls-creds= and websocket=on are not supported");
    }
    if (s->reconnect && s->reconnect_ms) {
        return invalid(error, error_size, "expected one of reconnect= and reconnect-ms=");
    }
    if (s->reconnect) {
        s->reconnect_ms = s->reconnect * 1000;
    }
    s->chr.reconnects = s->reconnect_ms != 0;
    if (s->reconnect_ms && s->server) {
        return invalid(error, error_size, "reconnect= is for clients: server=on has to go");
    }
    if (!s->path + !s->port + !s->fd_number != 2) {
        return invalid(error, error_size, "expected one of path=, port= and fd=");
    }
    return 0;
}

/* A socket that whoever started us has opened. */
static int take_fd(struct socket_chardev *s, char *error, size_t error_size)
{
    char *end;
    long fd = strtol(s->fd_number, &end, 10);
    int listens = 0;
    socklen_t size = sizeof(listens);

    if (*end || fd < 0 || fd > INT32_MAX ||
        getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size)) {
        snprintf(error, error_size, "fd=%s: expected the number of an open socket", s->fd_number);
        return -EINVAL;
    }
    if (listens != s->server) {
        snprintf(error, error_size, "fd=%s: expected a socket that %s", s->fd_number,
                 s->server ? "listens" : "is connected");
        return -EINVAL;
    }
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    if (listens) {
        s->listen_fd = (int)fd;
        return start_server(s, error, error_size);
    }
    connected(s, (int)fd);
    return 0;
}

static int socket_open(struct chardev *chr, char *error, size_t error_size)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;
    int family = s->ipv4 == s->ipv6 ? AF_UNSPEC : s->ipv4 ? AF_INET : AF_INET6;

    s->fd = s->listen_fd = -1;
    s->stream.in = s->stream.out = -1;
    loop_timer_init(&s->retry, chr->loop, LOOP_CLOCK_REALTIME, retry, s);
    int err = check_options(s, error, error_size);

    if (err) {
        return err;
    }
    if (s->fd_number) {
        return take_fd(s, error, error_size);
    }
    if (s->path) {
        err = socket_unix(&s->addresses, s->path, s->abstract, error, error_size);
        if (!err && s->abstract && !s->tight) {
            s->addresses.address[0].size = sizeof(struct sockaddr_un);
        }
    } else {
        err = socket_resolve(&s->addresses, s->host, s->port, family, SOCK_STREAM, s->server, error,
                             error_size);
    }
    if (err) {
        return err;
    }
    return s->server ? start_server(s, error, error_size) : start_client(s, error, error_size);
}

static size_t socket_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;

    if (!chr->open) {
        return size;
    }
    return s->telnet ? telnet_write(&s->protocol, &s->stream, bytes, size)
                     : stream_write(&s->stream, bytes, size);
}

static void socket_kick(struct chardev *chr)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;

    if (chr->open) {
        stream_update(&s->stream);
    }
}

static void socket_close(struct chardev *chr)
{
    struct socket_chardev *s = (struct socket_chardev *)chr;

    loop_timer_cancel(&s->retry);
    stream_stop(&s->stream);
    if (s->listen_watch) {
        loop_fd_remove(s->listen_watch);
    }
    if (s->connect_watch) {
        loop_fd_remove(s->connect_watch);
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    if (s->listen_fd >= 0) {
        close(s->listen_fd);
    }
    if (s->unlink_path) {
        ending_remove_file(s->path);
    }
}

const struct chardev_class chardev_socket = {
    .name = "socket",
    .size = sizeof(struct socket_chardev),
    .properties = socket_properties,
    .open = socket_open,
    .write = socket_write,
    .kick = socket_kick,
    .close = socket_close,
};
