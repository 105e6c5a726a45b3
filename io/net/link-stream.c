/*
 * Frames over a stream socket: each behind its length in four bytes, most significant first.
 *
 * Reading: the length and the frame are collected in a buffer of the largest frame; a frame that
 * the card has no room for stays there, and the socket is not read. A length above the limit means
 * that the other end is no peer of ours: it is hung up.
 *
 * Writing: what the socket does not take at once waits in a buffer, and frames that don't fit there
 * either are dropped whole, so the stream stays in step.
 *
 * The card's link is up while a peer is there.
 */
#include "io/net/link.h"
#include "util/ending.h"
#include "util/error.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LENGTH = 4, OUT_MAX = 1 << 20 };

static void listen_again(struct link_stream *link);
static void retry_later(struct link_stream *link);

void link_stream_init(struct link_stream *link, struct net_backend *net)
{
    memset(link, 0, sizeof(*link));
    link->net = net;
    link->fd = link->listen_fd = -1;
}

static void set_watch(struct link_stream *link, struct loop_fd **watch, bool want, unsigned events,
                      void (*fn)(void *opaque, unsigned events))
{
    if (want && !*watch) {
        *watch = loop_fd_add(link->net->loop, link->fd, events, fn, link);
    } else if (!want && *watch) {
        loop_fd_remove(*watch);
        *watch = NULL;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t frame_length(const uint8_t *p)
{
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

static void hang_up(struct link_stream *link)
{
    link->connected = false;
    link_stream_kick(link);
    close(link->fd);
    link->fd = -1;
    net_set_carrier(link->net, false);
    if (link->server) {
        listen_again(link);
    } else if (link->reconnect_ms) {
        retry_later(link);
    }
}

/* Hands over the frames that are whole; false when the peer is none of ours. */
static bool take_frames(struct link_stream *link)
{
    size_t at = 0;

    link->full = false;
    while (link->got - at >= LENGTH) {
        size_t length = frame_length(link->in + at);
        if (length > NET_FRAME_MAX) {
            return false;
        }
        if (link->got - at < LENGTH + length) {
            break;
        }
        struct iovec iov = {link->in + at + LENGTH, length};

        if (!net_deliver(link->net, &iov, 1, false)) {
            link->full = true;
            break;
        }
        at += LENGTH + length;
    }
    link->got -= at;
    memmove(link->in, link->in + at, link->got);
    return true;
}

static void readable(void *opaque, unsigned events)
{
    struct link_stream *link = opaque;
    ssize_t n =
        recv(link->fd, link->in + link->got, LENGTH + NET_FRAME_MAX - link->got, MSG_DONTWAIT);

    if (n > 0) {
        link->got += (size_t)n;
        if (take_frames(link)) {
            link_stream_kick(link);
            return;
        }
        error_warn("netdev %s: the peer sends no frames", link->net->node.id);
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    hang_up(link);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void flush_out(struct link_stream *link)
{
    while (link->out_size) {
        ssize_t n =
            send(link->fd, link->out + link->out_at, link->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            link->failed = errno == EAGAIN ? 0 : -errno;
            return;
        }
        link->out_at += (size_t)n;
        link->out_size -= (size_t)n;
    }
    link->out_at = 0;
}

static void writable(void *opaque, unsigned events)
{
    struct link_stream *link = opaque;

    flush_out(link);
    link_stream_kick(link);
}

bool link_stream_send(struct link_stream *link, const struct iovec *iov, unsigned count)
{
    size_t size = net_iov_size(iov, count), done = 0;
    uint8_t length[LENGTH] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                              (uint8_t)size};
    struct iovec pieces[NET_MAX_PIECES + 1] = {{length, LENGTH}};

    if (!link->connected || link->failed || count > NET_MAX_PIECES) {
        return false;
    }
    memcpy(pieces + 1, iov, count * sizeof(*iov));
    if (!link->out_size) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count + 1};
        ssize_t n = sendmsg(link->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            link->failed = -errno;
            net_kick(link->net);
            return false;
        }
        done = n > 0 ? (size_t)n : 0;
    }
    size_t rest = size + LENGTH - done;

    if (!rest) {
        return true;
    }
    if (link->out_at + link->out_size + rest > OUT_MAX) {
        memmove(link->out, link->out + link->out_at, link->out_size);
        link->out_at = 0;
    }
    if (link->out_size + rest > OUT_MAX) {
        return false; /* nothing of it is out: a frame that has begun finds room */
    }
    net_iov_copy(pieces, count + 1, done, link->out + link->out_at + link->out_size, rest);
    link->out_size += rest;
    net_kick(link->net);
    return true;
}

/* ---- connections ----------------------------------------------------------------------------- */

static int connected(struct link_stream *link, int fd)
{
    if (!link->in) {
        link->in = malloc(LENGTH + NET_FRAME_MAX);
        link->out = malloc(OUT_MAX);
    }
    if (!link->in || !link->out) {
        close(fd);
        return -ENOMEM;
    }
    socket_set_nodelay(fd, true);
    link->fd = fd;
    link->got = link->out_at = link->out_size = 0;
    link->failed = 0;
    link->full = false;
    link->connected = true;
    net_set_carrier(link->net, true);
    net_kick(link->net);
    return 0;
}

static void peer_came(void *opaque, unsigned events)
{
    struct link_stream *link = opaque;
    int fd = socket_accept(link->listen_fd);

    if (fd >= 0) {
        loop_fd_remove(link->listen_watch);
        link->listen_watch = NULL;
        if (connected(link, fd)) {
            listen_again(link);
        }
    }
}

static void listen_again(struct link_stream *link)
{
    if (!link->listen_watch) {
        link->listen_watch =
            loop_fd_add(link->net->loop, link->listen_fd, LOOP_IN, peer_came, link);
    }
}

static void try_next(struct link_stream *link);

static void connect_decided(void *opaque, unsigned events)
{
    struct link_stream *link = opaque;
    int fd = link->fd, err = socket_error(fd);

    loop_fd_remove(link->connect_watch);
    link->connect_watch = NULL;
    link->fd = -1;
    if (!err && !connected(link, fd)) {
        return;
    }
    if (err) {
        close(fd);
    }
    try_next(link);
}

static void try_next(struct link_stream *link)
{
    while (link->next < link->addresses.count) {
        link->fd = socket_connect_start(&link->addresses.address[link->next++]);
        if (link->fd >= 0) {
            link->connect_watch =
                loop_fd_add(link->net->loop, link->fd, LOOP_OUT, connect_decided, link);
            return;
        }
    }
    link->fd = -1;
    retry_later(link);
}

static void retry(void *opaque)
{
    struct link_stream *link = opaque;

    link->next = 0;
    try_next(link);
}

static void retry_later(struct link_stream *link)
{
    loop_timer_arm(&link->retry,
                   loop_clock_now(LOOP_CLOCK_REALTIME) + (int64_t)link->reconnect_ms * 1000000);
}

/* ---- for kinds ------------------------------------------------------------------------------- */

int link_stream_start(struct link_stream *link, char *error, size_t error_size)
{
    loop_timer_init(&link->retry, link->net->loop, LOOP_CLOCK_REALTIME, retry, link);
    net_set_carrier(link->net, false);
    if (link->server) {
        link->listen_fd = socket_listen(&link->addresses, error, error_size);
        if (link->listen_fd < 0) {
            link->unlink_path = NULL;
            return link->listen_fd;
        }
        if (link->unlink_path) {
            ending_note_file(link->unlink_path);
        }
        listen_again(link);
        return 0;
    }
    link->unlink_path = NULL;
    if (link->reconnect_ms) {
        retry(link);
        return 0;
    }
    int fd = socket_connect(&link->addresses, error, error_size);

    return fd < 0 ? fd : connected(link, fd);
}

int link_stream_take(struct link_stream *link, int fd)
{
    loop_timer_init(&link->retry, link->net->loop, LOOP_CLOCK_REALTIME, retry, link);
    return connected(link, fd);
}

void link_stream_kick(struct link_stream *link)
{
    if (link->connected && link->failed) {
        hang_up(link);
        return;
    }
    if (link->connected && link->full && !take_frames(link)) {
        hang_up(link);
        return;
    }
    set_watch(link, &link->in_watch, link->connected && link->net->handlers && !link->full, LOOP_IN,
              readable);
    set_watch(link, &link->out_watch, link->connected && link->out_size, LOOP_OUT, writable);
}

void link_stream_stop(struct link_stream *link)
{
    if (!link->net) {
        return;
    }
    link->connected = false;
    set_watch(link, &link->in_watch, false, 0, readable);
    set_watch(link, &link->out_watch, false, 0, writable);
    if (link->retry.loop) {
        loop_timer_cancel(&link->retry);
    }
    if (link->listen_watch) {
        loop_fd_remove(link->listen_watch);
    }
    if (link->connect_watch) {
        loop_fd_remove(link->connect_watch);
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    if (link->listen_fd >= 0) {
        close(link->listen_fd);
    }
    if (link->unlink_path) {
        ending_remove_file(link->unlink_path);
    }
    free(link->in);
    free(link->out);
}
