/*
 * udp: what is written goes out as datagrams, datagrams that come are read. There is no connection,
 * so it is open always; datagrams that the host refuses are lost, as UDP has it.
 */
#include "io/chardev/internal.h"
#include "io/socket/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct udp_chardev {
    struct chardev chr;
    char *host, *port, *localaddr, *localport;
    bool ipv4, ipv6;
    int fd;
    struct loop_fd *watch;
    struct socket_address to;
    size_t at, size; /* of the datagram in hand: the front end takes it piece by piece */
    uint8_t datagram[CHARDEV_CHUNK];
};

static const struct property udp_properties[] = {
    PROPERTY(STRING, "host", struct udp_chardev, host, .help = "where to; localhost if not given"),
    PROPERTY(STRING, "port", struct udp_chardev, port, .help = "port to send to"),
    PROPERTY(STRING, "localaddr", struct udp_chardev, localaddr, .help = "address of our end"),
    PROPERTY(STRING, "localport", struct udp_chardev, localport, .text = "0",
             .help = "port of our end"),
    PROPERTY(BOOL, "ipv4", struct udp_chardev, ipv4, .help = "IPv4 only"),
    PROPERTY(BOOL, "ipv6", struct udp_chardev, ipv6, .help = "IPv6 only"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static void udp_kick(struct chardev *chr);

static void udp_readable(void *opaque, unsigned events)
{
    struct udp_chardev *udp = opaque;
    ssize_t n = recv(udp->fd, udp->datagram, sizeof(udp->datagram), MSG_DONTWAIT);

    udp->at = 0;
    udp->size = n > 0 ? (size_t)n : 0;
    udp_kick(&udp->chr);
}

static void udp_kick(struct chardev *chr)
{
    struct udp_chardev *udp = (struct udp_chardev *)chr;
    size_t room;

    while (udp->at < udp->size && (room = chardev_room(chr))) {
        size_t n = udp->size - udp->at < room ? udp->size - udp->at : room;

        udp->at += n;
        chardev_deliver(chr, udp->datagram + udp->at - n, n);
    }
    bool want = udp->at == udp->size;

    if (want && !udp->watch) {
        udp->watch = loop_fd_add(chr->loop, udp->fd, LOOP_IN, udp_readable, udp);
    } else if (!want && udp->watch) {
        loop_fd_remove(udp->watch);
        udp->watch = NULL;
    }
}

static int udp_open(struct chardev *chr, char *error, size_t error_size)
{
    struct udp_chardev *udp = (struct udp_chardev *)chr;
    struct socket_addresses to, local;
    int family = udp->ipv4 == udp->ipv6 ? AF_UNSPEC : udp->ipv4 ? AF_INET : AF_INET6;

    udp->fd = -1;
    if (!udp->port || !*udp->port) {
        snprintf(error, error_size, "port= is missing");
        return -EINVAL;
    }
    int err =
        socket_resolve(&to, udp->host, udp->port, family, SOCK_DGRAM, false, error, error_size);

    if (!err) {
        udp->to = to.address[0];
        err = socket_resolve(&local, udp->localaddr, udp->localport, udp->to.at.ss_family,
                             SOCK_DGRAM, true, error, error_size);
    }
    if (err) {
        return err;
    }
    udp->fd = socket_bind(&local, error, error_size);
    if (udp->fd < 0) {
        return udp->fd;
    }
    chr->open = true;
    return 0;
}

static size_t udp_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    struct udp_chardev *udp = (struct udp_chardev *)chr;

    for (size_t done = 0; done < size;) {
        size_t n = size - done < 1024 ? size - done : 1024;

        sendto(udp->fd, bytes + done, n, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *)&udp->to.at, udp->to.size);
        done += n;
    }
    return size;
}

static void udp_close(struct chardev *chr)
{
    struct udp_chardev *udp = (struct udp_chardev *)chr;

    if (udp->watch) {
        loop_fd_remove(udp->watch);
    }
    if (udp->fd >= 0) {
        close(udp->fd);
    }
}

const struct chardev_class chardev_udp = {
    .name = "udp",
    .size = sizeof(struct udp_chardev),
    .properties = udp_properties,
    .open = udp_open,
    .write = udp_write,
    .kick = udp_kick,
    .close = udp_close,
};
