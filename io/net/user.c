/*
 * user: a network of the process's own, whose router is libslirp: TCP and UDP of the guest become
 * sockets of this process.
 *
 * Speed. slirp takes TCP segments of any size, so what the guest's card leaves to hardware is
 * finished with one checksum and not cut. In the other direction slirp sends what the guest's MSS
 * option allows; when the card takes large segments, that option is raised on its way to slirp,
 * and what comes is marked as if hardware had merged it. slirp's MTU is large therefore; what is
 * above the guest's and not TCP is cut to fragments here.
 *
 * Waiting. slirp is asked which sockets it waits for after whatever may have changed them: input,
 * events, timers. They are in an epoll set, which the loop watches as one descriptor. While frames
 * wait for the card nothing is read from them, so the sockets' buffers fill and the peers slow
 * down.
 *
 * Time is the guest's: while the VM is stopped slirp's timers stand still.
 */
#include "io/net/user.h"
#include "io/net/offload.h"
#include "util/log.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ETHERNET_HEADER = 14,
    MTU = 1500,         /* what guests reckon with */
    SLIRP_MTU = 65520,  /* the largest that slirp takes */
    MSS_RAISED = 32768, /* two segments fill slirp's window */
    TCP_SYN = 2,
    TCP_OPTION_END = 0,
    TCP_OPTION_NOP = 1,
    TCP_OPTION_MSS = 2,
};

struct user_polled {
    int fd, events;
};

struct user_registered {
    uint32_t events; /* in the epoll set; 0: not there */
    uint32_t got;
    unsigned generation; /* of the last fill that wanted it */
};

/* ---- sockets of slirp ------------------------------------------------------------------------ */

static void refresh(struct user_net *user);

static uint32_t to_epoll(int events)
{
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0U) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0U) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0U);
}

static int from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

static struct user_registered *registered_at(struct user_net *user, int fd)
{
    return fd >= 0 && (unsigned)fd < user->registered_room ? &user->registered[fd] : NULL;
}

/* A number that stands for another socket from now on, or for none. */
static void forget(int fd, void *opaque)
{
    struct user_net *user = opaque;
    struct user_registered *r = registered_at(user, fd);

    if (r && r->events) {
        epoll_ctl(user->epoll, EPOLL_CTL_DEL, fd, NULL);
        r->events = 0;
    }
}

static bool grow(struct user_net *user, int fd)
{
    unsigned room = user->registered_room;

    while (room <= (unsigned)fd) {
        room = room ? room * 2 : 64;
    }
    if (room != user->registered_room) {
        void *more = realloc(user->registered, room * sizeof(*user->registered));

        if (!more) {
            return false;
        }
        user->registered = more;
        memset(user->registered + user->registered_room, 0,
               (room - user->registered_room) * sizeof(*user->registered));
        user->registered_room = room;
    }
    if (user->polled_count == user->polled_room) {
        room = user->polled_room ? user->polled_room * 2 : 64;
        void *more = realloc(user->polled, room * sizeof(*user->polled));

        if (!more) {
            return false;
        }
        user->polled = more;
        user->polled_room = room;
    }
    return true;
}

/* slirp wants events of a socket. */
static int add_poll(int fd, int events, void *opaque)
{
    struct user_net *user = opaque;

    if (fd < 0 || !grow(user, fd)) {
        return -1;
    }
    user->registered[fd].generation = user->generation;
    user->polled[user->polled_count] = (struct user_polled){.fd = fd, .events = events};
    return (int)user->polled_count++;
}

static int get_events(int index, void *opaque)
{
    struct user_net *user = opaque;

    if (index < 0 || (unsigned)index >= user->polled_count) {
        return 0;
    }
    const struct user_polled *p = &user->polled[index];
    const struct user_registered *r = registered_at(user, p->fd);

    return r ? from_epoll(r->got) & (p->events | SLIRP_POLL_ERR | SLIRP_POLL_HUP) : 0;
}

static void set_registered(struct user_net *user, int fd, uint32_t events)
{
    struct user_registered *r = &user->registered[fd];
    struct epoll_event event = {.events = events, .data.fd = fd};

    if (r->events == events) {
        return;
    }
    if (epoll_ctl(user->epoll, r->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event)) {
        /* Our book is wrong when a number has changed hands without a word. */
        epoll_ctl(user->epoll, errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    }
    r->events = events;
}

static void poll_slirp(struct user_net *user, bool failed)
{
    user->inside = true;
    slirp_pollfds_poll(user->slirp, failed, get_events, user);
    user->inside = false;
}

static void sockets_ready(void *opaque, unsigned events)
{
    struct user_net *user = opaque;
    struct epoll_event ready[64];
    int n = epoll_wait(user->epoll, ready, 64, 0);

    for (int i = 0; i < n; i++) {
        struct user_registered *r = registered_at(user, ready[i].data.fd);

        if (r) {
            r->got = ready[i].events;
        }
    }
    poll_slirp(user, n < 0);
    for (int i = 0; i < n; i++) {
        struct user_registered *r = registered_at(user, ready[i].data.fd);

        if (r) {
            r->got = 0;
        }
    }
    refresh(user);
}

static void time_passed(void *opaque)
{
    struct user_net *user = opaque;

    poll_slirp(user, false);
    refresh(user);
}

/* Asks slirp anew what it waits for. */
static void refresh(struct user_net *user)
{
    uint32_t timeout = UINT32_MAX;
    unsigned before = user->polled_count;
    struct user_polled *old = NULL;

    if (before) {
        old = malloc(before * sizeof(*old));
        if (old) {
            memcpy(old, user->polled, before * sizeof(*old));
        }
    }
    user->generation++;
    user->polled_count = 0;
    slirp_pollfds_fill(user->slirp, &timeout, add_poll, user);
    for (unsigned i = 0; i < user->polled_count; i++) {
        set_registered(user, user->polled[i].fd, to_epoll(user->polled[i].events));
    }
    for (unsigned i = 0; old && i < before; i++) {
        if (user->registered[old[i].fd].generation != user->generation) {
            forget(old[i].fd, user);
        }
    }
    free(old);
    bool watch = net_is_clear(&user->net);

    if (watch && !user->watch) {
        user->watch = loop_fd_add(user->net.loop, user->epoll, LOOP_IN, sockets_ready, user);
    } else if (!watch && user->watch) {
        loop_fd_remove(user->watch);
        user->watch = NULL;
    }
    if (timeout == UINT32_MAX) {
        loop_timer_cancel(&user->timer);
    } else {
        loop_timer_arm(&user->timer, loop_clock_now(LOOP_CLOCK_VIRTUAL) +
                                         (timeout ? timeout : 1) * INT64_C(1000000));
    }
}

/* ---- frames for the card --------------------------------------------------------------------- */

static void deliver(struct user_net *user, const struct net_header *header, const struct iovec *iov,
                    unsigned count)
{
    struct iovec pieces[4] = {{(void *)(uintptr_t)header, user->net.header}};

    for (unsigned i = 0; i < count && i < 3; i++) {
        pieces[i + 1] = iov[i];
    }
    if (user->net.header) {
        net_deliver(&user->net, pieces, count + 1, true);
    } else {
        net_deliver(&user->net, iov, count, true);
    }
}

static void deliver_plain(void *opaque, const struct iovec *iov, unsigned count)
{
    struct user_net *user = opaque;
    struct net_header header = {0};

    if (user->wanted & NET_OFFLOAD_CSUM) {
        header.flags = NET_HEADER_DATA_VALID; /* slirp has made the checksum just now */
    }
    deliver(user, &header, iov, count);
}

/* A large segment as the card takes it: its checksum is left to be completed (5.1.6.4.1). */
static bool deliver_large(struct user_net *user, uint8_t *frame, size_t size)
{
    struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM};
    struct net_layout layout;
    struct iovec iov = {frame, size};

    if (!net_parse_tcp(frame, size, &layout) || !user->net.header ||
        !(user->wanted & (layout.ipv6 ? NET_OFFLOAD_TSO6 : NET_OFFLOAD_TSO4))) {
        return false;
    }
    uint32_t sum = net_pseudo_sum(frame, &layout, IPPROTO_TCP, layout.end - layout.l4);
    uint16_t folded = (uint16_t)~net_checksum_end(sum);

    memcpy(frame + layout.l4 + 16, &folded, 2);
    header.gso_type = layout.ipv6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4;
    header.gso_size = htole16(layout.ipv6 ? user->mss6 : user->mss4);
    header.hdr_len = htole16((uint16_t)layout.data);
    header.csum_start = htole16((uint16_t)layout.l4);
    header.csum_offset = htole16(16);
    deliver(user, &header, &iov, 1);
    return true;
}

static ssize_t from_slirp(const void *bytes, size_t size, void *opaque)
{
    struct user_net *user = opaque;
    struct iovec iov = {(void *)(uintptr_t)bytes, size};

    if (size <= ETHERNET_HEADER + MTU) {
        deliver_plain(user, &iov, 1);
        return (ssize_t)size;
    }
    if (size > NET_FRAME_MAX) {
        user->net.stats.receive_dropped++;
        return (ssize_t)size;
    }
    /* slirp's buffer is not ours to change. Sending has its own use of net->scratch. */
    uint8_t *frame = malloc(size);

    if (!frame) {
        user->net.stats.receive_dropped++;
        return (ssize_t)size;
    }
    memcpy(frame, bytes, size);
    iov.iov_base = frame;
    if (!deliver_large(user, frame, size) &&
        net_offload_fit(frame, size, MTU, user->mss4 < user->mss6 ? user->mss4 : user->mss6,
                        deliver_plain, user)) {
        deliver_plain(user, &iov, 1); /* such as a datagram of IPv6: the card decides */
    }
    free(frame);
    return (ssize_t)size;
}

/* ---- frames from the card -------------------------------------------------------------------- */

/* Raises the MSS that the guest offers when it opens a connection, and remembers it. */
static void raise_mss(struct user_net *user, uint8_t *frame, size_t size, bool has_sum)
{
    struct net_layout layout;

    if (!net_parse_tcp(frame, size, &layout) || !(frame[layout.l4 + 13] & TCP_SYN) ||
        !(user->wanted & (layout.ipv6 ? NET_OFFLOAD_TSO6 : NET_OFFLOAD_TSO4))) {
        return;
    }
    for (size_t at = layout.l4 + 20; at < layout.data && frame[at] != TCP_OPTION_END;) {
        if (frame[at] == TCP_OPTION_NOP) {
            at++;
            continue;
        }
        if (at + 2 > layout.data || frame[at + 1] < 2 || at + frame[at + 1] > layout.data) {
            return;
        }
        if (frame[at] == TCP_OPTION_MSS && frame[at + 1] == 4) {
            unsigned mss = (unsigned)frame[at + 2] << 8 | frame[at + 3];
            uint16_t *known = layout.ipv6 ? &user->mss6 : &user->mss4;

            *known = mss >= 536 && mss < *known ? (uint16_t)mss : *known;
            frame[at + 2] = MSS_RAISED >> 8;
            frame[at + 3] = MSS_RAISED & 0xff;
            if (has_sum) {
                memset(frame + layout.l4 + 16, 0, 2);
                uint32_t sum = net_pseudo_sum(frame, &layout, IPPROTO_TCP, layout.end - layout.l4);
                uint16_t whole = net_checksum_end(
                    net_checksum_add(sum, frame + layout.l4, layout.end - layout.l4));

                memcpy(frame + layout.l4 + 16, &whole, 2);
            }
            return;
        }
        at += frame[at + 1];
    }
}

/* A large segment goes to slirp as it is, with a checksum over all of it. */
static bool finish_large(uint8_t *frame, size_t size)
{
    struct net_layout layout;

    if (!net_parse_tcp(frame, size, &layout)) {
        return false;
    }
    memset(frame + layout.l4 + 16, 0, 2);
    uint32_t sum = net_pseudo_sum(frame, &layout, IPPROTO_TCP, layout.end - layout.l4);
    uint16_t whole =
        net_checksum_end(net_checksum_add(sum, frame + layout.l4, layout.end - layout.l4));

    memcpy(frame + layout.l4 + 16, &whole, 2);
    return true;
}

static bool user_send(struct net_backend *net, const struct iovec *iov, unsigned count)
{
    struct user_net *user = (struct user_net *)net;
    struct net_header header = {0};
    uint8_t *frame = net->scratch;
    size_t size;

    if (user->inside) {
        return false; /* an answer from inside of receive(): no card does that */
    }
    net_iov_copy(iov, count, 0, &header, net->header);
    size = net_iov_copy(iov, count, net->header, frame, NET_FRAME_MAX);
    if (user->wanted & (NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6)) {
        raise_mss(user, frame, size, !(header.flags & NET_HEADER_NEEDS_CSUM));
    }
    unsigned type = header.gso_type & ~(unsigned)NET_GSO_ECN;

    if (type == NET_GSO_TCPV4 || type == NET_GSO_TCPV6) {
        if (!finish_large(frame, size)) {
            return false;
        }
    } else if (header.flags & NET_HEADER_NEEDS_CSUM && net_offload_checksum(frame, size, &header)) {
        return false;
    }
    slirp_input(user->slirp, frame, (int)size);
    net_kick(net);
    return true;
}

static void user_kick(struct net_backend *net)
{
    struct user_net *user = (struct user_net *)net;

    refresh(user);
    user_forward_accept(user);
}

static int user_set_header(struct net_backend *net, unsigned size)
{
    return 0; /* any size: net->header says it */
}

static void user_set_offloads(struct net_backend *net, uint32_t wanted)
{
    struct user_net *user = (struct user_net *)net;

    /* Large segments have unfinished checksums, so they need CSUM. */
    user->wanted = wanted & NET_OFFLOAD_CSUM ? wanted : 0;
}

/* ---- callbacks of slirp ---------------------------------------------------------------------- */

struct user_timer {
    struct loop_timer timer;
    struct user_net *user;
    SlirpTimerId id;
    void *opaque;
};

static void on_guest_error(const char *message, void *opaque)
{
    log_limited(LOG_GUEST_ERRORS, "netdev %s: %s\n", ((struct user_net *)opaque)->net.node.id,
                message);
}

static int64_t on_clock(void *opaque)
{
    return loop_clock_now(LOOP_CLOCK_VIRTUAL);
}

static void timer_fired(void *opaque)
{
    struct user_timer *t = opaque;

    slirp_handle_timer(t->user->slirp, t->id, t->opaque);
    net_kick(&t->user->net);
}

static void *on_timer_new(SlirpTimerId id, void *timer_opaque, void *opaque)
{
    struct user_net *user = opaque;
    struct user_timer *t = calloc(1, sizeof(*t));

    if (t) {
        t->user = user;
        t->id = id;
        t->opaque = timer_opaque;
        loop_timer_init(&t->timer, user->net.loop, LOOP_CLOCK_VIRTUAL, timer_fired, t);
    }
    return t;
}

static void on_timer_free(void *timer, void *opaque)
{
    if (timer) {
        loop_timer_cancel(&((struct user_timer *)timer)->timer);
        free(timer);
    }
}

static void on_timer_mod(void *timer, int64_t ms, void *opaque)
{
    if (timer) {
        loop_timer_arm(&((struct user_timer *)timer)->timer, ms * 1000000);
    }
}

static void on_notify(void *opaque)
{
    net_kick(&((struct user_net *)opaque)->net);
}

static void on_init_completed(Slirp *slirp, void *opaque)
{
    ((struct user_net *)opaque)->slirp = slirp;
}

static const SlirpCb callbacks = {
    .send_packet = from_slirp,
    .guest_error = on_guest_error,
    .clock_get_ns = on_clock,
    .timer_free = on_timer_free,
    .timer_mod = on_timer_mod,
    .register_poll_fd = forget,
    .unregister_poll_fd = forget,
    .notify = on_notify,
    .init_completed = on_init_completed,
    .timer_new_opaque = on_timer_new,
};

/* ---- the kind -------------------------------------------------------------------------------- */

enum { SWITCH_AUTO, SWITCH_ON, SWITCH_OFF };
static const char *const switch_names[] = {"auto", "on", "off", NULL};

static const struct property user_properties[] = {
    PROPERTY(ENUM, "ipv4", struct user_net, ipv4, .names = switch_names, .help = "IPv4"),
    PROPERTY(ENUM, "ipv6", struct user_net, ipv6, .names = switch_names, .help = "IPv6"),
    PROPERTY(BOOL, "restrict", struct user_net, restricted,
             .help = "the guest reaches nothing but what is forwarded"),
    PROPERTY(STRING, "net", struct user_net, network, .text = "10.0.2.0/24",
             .help = "network, ADDRESS[/MASK or /BITS]"),
    PROPERTY(STRING, "host", struct user_net, host, .help = "address of the router"),
    PROPERTY(STRING, "hostname", struct user_net, hostname, .help = "that DHCP gives"),
    PROPERTY(STRING, "tftp", struct user_net, tftp, .help = "folder of the TFTP server"),
    PROPERTY(STRING, "tftp-server-name", struct user_net, tftp_name, .help = "that DHCP gives"),
    PROPERTY(STRING, "bootfile", struct user_net, bootfile, .help = "that DHCP gives"),
    PROPERTY(STRING, "dhcpstart", struct user_net, dhcp_start,
             .help = "first of 16 addresses that DHCP gives"),
    PROPERTY(STRING, "dns", struct user_net, dns, .help = "address of the name server"),
    PROPERTY(STRING, "domainname", struct user_net, domain, .help = "that DHCP gives"),
    PROPERTY(STRING, "ipv6-net", struct user_net, net6, .help = "network, ADDRESS/BITS"),
    PROPERTY(STRING, "ipv6-prefix", struct user_net, prefix6, .help = "network, ADDRESS"),
    PROPERTY(U32, "ipv6-prefixlen", struct user_net, prefix6_length, .number = 64, .max = 126,
             .help = "bits of ipv6-prefix"),
    PROPERTY(STRING, "ipv6-host", struct user_net, host6, .help = "address of the router"),
    PROPERTY(STRING, "ipv6-dns", struct user_net, dns6, .help = "address of the name server"),
    PROPERTY(STRING, "smb", struct user_net, smb, .help = "not supported"),
    PROPERTY(STRING, "smbserver", struct user_net, smb_server, .help = "not supported"),
    PROPERTY_END,
};

/* Those that may come several times. */
static bool user_option(struct net_backend *net, const char *name, const char *value)
{
    struct user_net *user = (struct user_net *)net;

    if (!strcmp(name, "hostfwd") || !strcmp(name, "guestfwd")) {
        user->no_memory |= !user_forward_add(user, name[0] == 'g', value);
        return true;
    }
    if (!strcmp(name, "dnssearch")) {
        const char **more = realloc(user->search, (user->searches + 2) * sizeof(*user->search));
        char *copy = strdup(value);

        if (!more || !copy) {
            user->search = more ? more : user->search;
            free(copy);
            user->no_memory = true;
            return true;
        }
        user->search = more;
        user->search[user->searches++] = copy;
        user->search[user->searches] = NULL;
        return true;
    }
    return false;
}

static int user_open(struct net_backend *net, char *error, size_t error_size)
{
    struct user_net *user = (struct user_net *)net;
    int err = -ENOMEM;

    if (user->no_memory) {
        return err;
    }
    if (user->smb || user->smb_server) {
        snprintf(error, error_size, "smb= is not supported: run a server and forward to it");
        return -EINVAL;
    }
    if (user->ipv4 == SWITCH_AUTO && user->ipv6 == SWITCH_ON) {
        user->ipv4 = SWITCH_OFF;
    } else if (user->ipv6 == SWITCH_AUTO && user->ipv4 == SWITCH_ON) {
        user->ipv6 = SWITCH_OFF;
    }
    if (user->ipv4 == SWITCH_OFF && user->ipv6 == SWITCH_OFF) {
        snprintf(error, error_size, "ipv4=off: expected one of IPv4 and IPv6 to be on");
        return -EINVAL;
    }
    err = user_addresses(user, error, error_size);
    if (err) {
        return err;
    }
    SlirpConfig config = {
        .version = 4,
        .restricted = user->restricted,
        .in_enabled = user->ipv4 != SWITCH_OFF,
        .vnetwork = user->at.net,
        .vnetmask = user->at.mask,
        .vhost = user->at.host,
        .in6_enabled = user->ipv6 != SWITCH_OFF,
        .vprefix_addr6 = user->at.prefix6,
        .vprefix_len = (uint8_t)user->at.prefix6_length,
        .vhost6 = user->at.host6,
        .vhostname = user->hostname,
        .tftp_server_name = user->tftp_name,
        .tftp_path = user->tftp,
        .bootfile = user->bootfile,
        .vdhcp_start = user->at.dhcp,
        .vnameserver = user->at.dns,
        .vnameserver6 = user->at.dns6,
        .vdnssearch = user->search,
        .vdomainname = user->domain,
        .if_mtu = SLIRP_MTU,
        .if_mru = SLIRP_MTU,
    };

    net->offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN;
    net->headers = true;
    user->mss4 = MTU - 40;
    user->mss6 = MTU - 60;
    user->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (user->epoll < 0) {
        err = -errno;
        snprintf(error, error_size, "epoll: %s", strerror(-err));
        return err;
    }
    user->slirp = slirp_new(&config, &callbacks, user);
    if (!user->slirp) {
        snprintf(error, error_size, "libslirp refuses");
        return -EINVAL;
    }
    return user_forward_start(user, error, error_size);
}

static void user_init(struct net_backend *net)
{
    struct user_net *user = (struct user_net *)net;

    user->epoll = -1;
    loop_timer_init(&user->timer, net->loop, LOOP_CLOCK_VIRTUAL, time_passed, user);
}

static void user_close(struct net_backend *net)
{
    struct user_net *user = (struct user_net *)net;

    loop_timer_cancel(&user->timer);
    if (user->watch) {
        loop_fd_remove(user->watch);
    }
    user_forward_end(user);
    if (user->slirp) {
        slirp_cleanup(user->slirp);
    }
    if (user->epoll >= 0) {
        close(user->epoll);
    }
    for (unsigned i = 0; i < user->searches; i++) {
        free((void *)(uintptr_t)user->search[i]);
    }
    free(user->search);
    free(user->polled);
    free(user->registered);
}

static void user_uses(const struct net_backend *net, struct net_uses *uses)
{
    const struct user_net *user = (const struct user_net *)net;

    uses->commands = user_forward_runs_commands(user);
    uses->folder = user->tftp;
}

const struct net_class net_user = {
    .name = "user",
    .size = sizeof(struct user_net),
    .properties = user_properties,
    .init = user_init,
    .option = user_option,
    .open = user_open,
    .send = user_send,
    .kick = user_kick,
    .close = user_close,
    .set_header = user_set_header,
    .set_offloads = user_set_offloads,
    .uses = user_uses,
    .hostfwd = user_forward_host,
};
