/*
 * Frames as datagrams, one each: to one peer, or to a multicast group. There is no telling whether
 * anybody listens, so the card's link is always up. A frame that the card has no room for is held
 * and the socket not read; the kernel drops what comes meanwhile.
 */
#include "io/net/link.h"
#include "util/ending.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void link_dgram_init(struct link_dgram *link, struct net_backend *net)
{
    memset(link, 0, sizeof(*link));
    link->net = net;
    link->fd = -1;
}

static bool offer(struct link_dgram *link)
{
    struct iovec iov = {link->frame, link->held};

    if (link->held && !net_deliver(link->net, &iov, 1, false)) {
        return false;
    }
    link->held = 0;
    return true;
}

static void readable(void *opaque, unsigned events)
{
    struct link_dgram *link = opaque;
    ssize_t n = recv(link->fd, link->frame, NET_FRAME_MAX, MSG_DONTWAIT);

    if (n > 0) {
        link->held = (size_t)n;
    }
    link_dgram_kick(link);
}

int link_dgram_start(struct link_dgram *link, int fd, const struct socket_address *to)
{
    link->fd = fd;
    link->frame = malloc(NET_FRAME_MAX);
    link->has_to = to != NULL;
    if (to) {
        link->to = *to;
    }
    return link->frame ? 0 : -ENOMEM;
}

bool link_dgram_send(struct link_dgram *link, const struct iovec *iov, unsigned count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};
    ssize_t n;

    if (link->has_to) {
        message.msg_name = &link->to.at;
        message.msg_namelen = link->to.size;
    }
    do {
        n = sendmsg(link->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

void link_dgram_kick(struct link_dgram *link)
{
    bool want = offer(link) && link->net->handlers;

    if (want && !link->watch) {
        link->watch = loop_fd_add(link->net->loop, link->fd, LOOP_IN, readable, link);
    } else if (!want && link->watch) {
        loop_fd_remove(link->watch);
        link->watch = NULL;
    }
}

void link_dgram_stop(struct link_dgram *link)
{
    if (!link->net) {
        return;
    }
    if (link->watch) {
        loop_fd_remove(link->watch);
    }
    if (link->fd >= 0) {
        close(link->fd);
    }
    if (link->unlink_path) {
        ending_remove_file(link->unlink_path);
    }
    free(link->frame);
}

int link_multicast(const struct socket_address *group, const char *local, char *error,
                   size_t error_size)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&group->at;
    struct ip_mreq request = {.imr_multiaddr = in->sin_addr};
    int one = 1, fd, err;

    if (in->sin_family != AF_INET || !IN_MULTICAST(ntohl(in->sin_addr.s_addr))) {
        snprintf(error, error_size, "expected an IPv4 multicast address, as 230.0.0.1:1234");
        return -EINVAL;
    }
    if (local && inet_pton(AF_INET, local, &request.imr_interface) != 1) {
        snprintf(error, error_size, "localaddr=%s: expected an IPv4 address", local);
        return -EINVAL;
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        err = -errno;
        snprintf(error, error_size, "multicast socket: %s", strerror(-err));
        return err;
    }
    /* Several members on one host share the port, and hear each other. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
        bind(fd, (const struct sockaddr *)in, sizeof(*in)) ||
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)) ||
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &one, sizeof(one)) ||
        (local && setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &request.imr_interface,
                             sizeof(request.imr_interface)))) {
        err = -errno;
        snprintf(error, error_size, "multicast group: %s", strerror(-err));
        close(fd);
        return err;
    }
    return fd;
}

int link_fd(const char *text, char *error, size_t error_size)
{
    char *end;
    long fd = strtol(text, &end, 10);
    int type;
    socklen_t size = sizeof(type);

    if (end == text || *end || fd < 0 || fd > INT32_MAX ||
        getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &size)) {
        snprintf(error, error_size, "fd=%s: expected the number of an open socket", text);
        return -EINVAL;
    }
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_NONBLOCK);
    return (int)fd;
}
