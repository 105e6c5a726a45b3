/*
 * tap: a network interface of the host's (needs CAP_NET_ADMIN, an interface that is the user's, or
 * a descriptor from somebody who has).
 *
 * The interface is opened with virtio-net headers where the kernel has them (vnet_hdr=on), so large
 * segments and unfinished checksums go through in both directions without us looking. A card
 * without a header gets plain frames all the same: the header is put in and taken out here.
 *
 * A frame that the card has no room for is held, and reading stops until it is taken.
 */
#include "io/net/internal.h"
#include "io/net/offload.h"
#include "util/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define DEFAULT_SCRIPT      "/etc/qemu-ifup"
#define DEFAULT_DOWN_SCRIPT "/etc/qemu-ifdown"

enum { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
static const char *const switch_names[] = {"auto", "on", "off", NULL};

/* Frames that are read before others get their turn. */
enum { BURST = 64 };

struct tap {
    struct net_backend net;
    char *ifname, *script, *downscript, *fd_number, *bridge, *helper;
    int vnet_hdr, vhost;
    uint32_t queues, sndbuf;
    char name[IFNAMSIZ];
    int fd;
    const char *down; /* run at the end; NULL: nothing is */
    bool header_10;   /* the kernel's frames have a header that the card does not want */
    struct loop_fd *watch;
    size_t held; /* bytes of the frame in `frame` */
    uint8_t frame[NET_FRAME_MAX + sizeof(struct net_header)];
};

static const struct property tap_properties[] = {
    PROPERTY(STRING, "ifname", struct tap, ifname, .help = "name of the interface"),
    PROPERTY(STRING, "script", struct tap, script,
             .help = "is run with the name, no: none; " DEFAULT_SCRIPT " if that exists"),
    PROPERTY(STRING, "downscript", struct tap, downscript,
             .help = "is run at the end, no: none; " DEFAULT_DOWN_SCRIPT " if that exists"),
    PROPERTY(STRING, "fd", struct tap, fd_number, .help = "descriptor of an open interface"),
    PROPERTY(ENUM, "vnet_hdr", struct tap, vnet_hdr, .names = switch_names,
             .help = "offloads by the kernel"),
    PROPERTY(ENUM, "vhost", struct tap, vhost, .names = switch_names, .help = "not supported"),
    PROPERTY(U32, "queues", struct tap, queues, .number = 1, .min = 1, .max = 1,
             .help = "of the interface"),
    PROPERTY(U32, "sndbuf", struct tap, sndbuf, .help = "bytes that may wait in the kernel"),
    PROPERTY(STRING, "helper", struct tap, helper, .help = "not supported"),
    PROPERTY(STRING, "br", struct tap, bridge, .help = "not supported"),
    PROPERTY_END,
};

/* ---- frames ---------------------------------------------------------------------------------- */

static bool tap_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    static const struct net_header none;
    struct tap *tap = (struct tap *)net;
    struct iovec pieces[NET_MAX_PIECES + 1];

    if (tap->header_10) {
        pieces[0] = (struct iovec){(void *)(uintptr_t)&none, 10};
        memcpy(pieces + 1, iov, count * sizeof(*iov));
        iov = pieces;
        count++;
    }
    ssize_t n;

    do {
        n = writev(tap->fd, iov, (int)count);
    } while (n < 0 && errno == EINTR);
    return n >= 0; /* a full queue of the kernel loses the frame, as a wire would */
}

static bool offer_held(struct tap *tap)
{
    size_t skip = tap->header_10 ? 10 : 0;
    struct iovec iov = {tap->frame + skip, tap->held - skip};

    if (tap->held > skip && !net_deliver(&tap->net, &iov, 1, false)) {
        return false;
    }
    tap->held = 0;
    return true;
}

static void set_watch(struct tap *tap);

static void tap_readable(void *opaque, unsigned events)
{
    struct tap *tap = opaque;

    for (unsigned i = 0; i < BURST && !tap->held; i++) {
        ssize_t n = read(tap->fd, tap->frame, sizeof(tap->frame));

        if (n <= 0) {
            break;
        }
        tap->held = (size_t)n;
        offer_held(tap);
    }
    set_watch(tap);
}

static void set_watch(struct tap *tap)
{
    bool want = tap->net.handlers && !tap->held;

    if (want && !tap->watch) {
        tap->watch = loop_fd_add(tap->net.loop, tap->fd, LOOP_IN, tap_readable, tap);
    } else if (!want && tap->watch) {
        loop_fd_remove(tap->watch);
        tap->watch = NULL;
    }
}

static void tap_kick(struct net_backend *net)
{
    struct tap *tap = (struct tap *)net;

    if (tap->held) {
        offer_held(tap);
    }
    set_watch(tap);
}

/* ---- offloads -------------------------------------------------------------------------------- */

static int tap_set_header(struct net_backend *net, unsigned size)
{
    struct tap *tap = (struct tap *)net;
    int bytes = size ? (int)size : 10;

    if (net->headers && ioctl(tap->fd, TUNSETVNETHDRSZ, &bytes)) {
        return -errno;
    }
    tap->header_10 = net->headers && !size;
    tap->held = 0; /* it has the old form */
    return 0;
}

static void tap_set_offloads(struct net_backend *net, uint32_t wanted)
{
    struct tap *tap = (struct tap *)net;
    unsigned long flags = 0;

    if (wanted & NET_OFFLOAD_CSUM) {
        flags = TUN_F_CSUM | (wanted & NET_OFFLOAD_TSO4 ? TUN_F_TSO4 : 0UL) |
                (wanted & NET_OFFLOAD_TSO6 ? TUN_F_TSO6 : 0UL) |
                (wanted & NET_OFFLOAD_UFO ? TUN_F_UFO : 0UL);
        if (wanted & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6) && wanted & NET_OFFLOAD_ECN) {
            flags |= TUN_F_TSO_ECN;
        }
    }
    /* Fails for what the kernel does not have, which net_offloads() has not offered. */
    ioctl(tap->fd, TUNSETOFFLOAD, flags);
}

/* What the kernel takes, by trying. */
static uint32_t probe_offloads(int fd)
{
    uint32_t has = 0;

    if (!ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)) {
        has = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
    } else if (!ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM)) {
        has = NET_OFFLOAD_CSUM;
    }
    if (has && !ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_UFO)) {
        has |= NET_OFFLOAD_UFO;
    }
    ioctl(fd, TUNSETOFFLOAD, 0);
    return has;
}

/* ---- the interface --------------------------------------------------------------------------- */

/* The script that an option means, or NULL. */
static const char *script_of(const char *option, const char *by_default)
{
    if (!option) {
        return access(by_default, X_OK) ? NULL : by_default;
    }
    return *option && strcmp(option, "no") != 0 ? option : NULL;
}

static int open_interface(struct tap *tap, char *error, size_t error_size)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    unsigned features = 0;
    int err;

    tap->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap->fd < 0) {
        err = -errno;
        snprintf(error, error_size, "/dev/net/tun: %s", strerror(-err));
        return err;
    }
    if (tap->ifname && strlen(tap->ifname) >= IFNAMSIZ) {
        snprintf(error, error_size, "ifname=%s: expected at most %d bytes", tap->ifname,
                 IFNAMSIZ - 1);
        return -EINVAL;
    }
    snprintf(request.ifr_name, IFNAMSIZ, "%s", tap->ifname ? tap->ifname : "tap%d");
    if (tap->vnet_hdr != SWITCH_OFF && !ioctl(tap->fd, TUNGETFEATURES, &features) &&
        features & IFF_VNET_HDR) {
        request.ifr_flags |= IFF_VNET_HDR;
    }
    if (ioctl(tap->fd, TUNSETIFF, &request)) {
        err = -errno;
        snprintf(error, error_size, "ifname=%s: %s", request.ifr_name, strerror(-err));
        return err;
    }
    memcpy(tap->name, request.ifr_name, IFNAMSIZ);
    const char *script = script_of(tap->script, DEFAULT_SCRIPT);

    err = script ? ending_run_command(script, tap->name) : 0;
    if (err) {
        snprintf(error, error_size, "script=%s: %s", script,
                 err == -EIO ? "it failed" : strerror(-err));
        return err;
    }
    tap->down = script_of(tap->downscript, DEFAULT_DOWN_SCRIPT);
    if (tap->down) {
        ending_note_command(tap->down, tap->name);
    }
    return 0;
}

static int take_fd(struct tap *tap, char *error, size_t error_size)
{
    char *end;
    long fd = strtol(tap->fd_number, &end, 10);
    struct ifreq request = {.ifr_flags = 0};

    if (*end || fd < 0 || fd > INT32_MAX || ioctl((int)fd, TUNGETIFF, &request) ||
        !(request.ifr_flags & IFF_TAP)) {
        snprintf(error, error_size, "fd=%s: expected the number of an open tap interface",
                 tap->fd_number);
        return -EINVAL;
    }
    if (tap->ifname || tap->script || tap->downscript) {
        snprintf(error, error_size, "fd=%s: ifname=, script= and downscript= don't go with it",
                 tap->fd_number);
        return -EINVAL;
    }
    tap->fd = (int)fd;
    fcntl(tap->fd, F_SETFD, FD_CLOEXEC);
    fcntl(tap->fd, F_SETFL, fcntl(tap->fd, F_GETFL) | O_NONBLOCK);
    memcpy(tap->name, request.ifr_name, IFNAMSIZ);
    return 0;
}

static int tap_open(struct net_backend *net, char *error, size_t error_size)
{
    struct tap *tap = (struct tap *)net;
    struct ifreq request = {.ifr_flags = 0};

    if (tap->vhost == SWITCH_ON) {
        snprintf(error, error_size, "vhost=on is not supported");
        return -EINVAL;
    }
    if (tap->helper || tap->bridge) {
        snprintf(error, error_size, "helper= and br= are not supported: use script= or fd=");
        return -EINVAL;
    }
    int err =
        tap->fd_number ? take_fd(tap, error, error_size) : open_interface(tap, error, error_size);

    if (err) {
        return err;
    }
    net->headers = !ioctl(tap->fd, TUNGETIFF, &request) && request.ifr_flags & IFF_VNET_HDR;
    if (!net->headers && tap->vnet_hdr == SWITCH_ON) {
        snprintf(error, error_size, "vnet_hdr=on: the interface has no such header");
        return -ENOTSUP;
    }
    if (tap->sndbuf) {
        int bytes = (int)tap->sndbuf;

        ioctl(tap->fd, TUNSETSNDBUF, &bytes);
    }
    if (net->headers) {
        net->offloads = probe_offloads(tap->fd);
    }
    return tap_set_header(net, 0);
}

static void tap_init(struct net_backend *net)
{
    ((struct tap *)net)->fd = -1;
}

static void tap_close(struct net_backend *net)
{
    struct tap *tap = (struct tap *)net;

    if (tap->watch) {
        loop_fd_remove(tap->watch);
    }
    if (tap->down) {
        ending_run_command(tap->down, tap->name);
    }
    if (tap->fd >= 0) {
        close(tap->fd);
    }
}

const struct net_class net_tap = {
    .name = "tap",
    .size = sizeof(struct tap),
    .properties = tap_properties,
    .init = tap_init,
    .open = tap_open,
    .send = tap_send,
    .kick = tap_kick,
    .close = tap_close,
    .set_header = tap_set_header,
    .set_offloads = tap_set_offloads,
};
