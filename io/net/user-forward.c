/*
 * What the user network forwards: ports of the host to the guest (hostfwd=), and addresses of the
 * guest's network to a command or a chardev of the host (guestfwd=).
 */
#include "io/chardev/chardev.h"
#include "io/net/user.h"
#include "io/socket/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum { NAME_MAX_SIZE = 256 };

struct user_forward {
    struct user_forward *next;
    struct user_net *user;
    bool guest;
    /* of a guestfwd to a chardev */
    struct chardev *chr;
    bool own, attached; /* made for it; we are its front end */
    struct in_addr address;
    int port;
    char spec[];
};

bool user_forward_add(struct user_net *user, bool guest, const char *spec)
{
    struct user_forward *f = calloc(1, sizeof(*f) + strlen(spec) + 1), **link = &user->forwards;

    if (!f) {
        return false;
    }
    f->user = user;
    f->guest = guest;
    strcpy(f->spec, spec);
    while (*link) {
        link = &(*link)->next;
    }
    *link = f;
    return true;
}

/* ---- host to guest --------------------------------------------------------------------------- */

struct endpoints {
    struct sockaddr_storage host, guest;
    socklen_t host_size, guest_size;
    int flags;
};

/* A literal address (empty: any) and a port. */
static bool endpoint(const char *host, const char *port, struct sockaddr_storage *to,
                     socklen_t *size)
{
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
    char *end;
    unsigned long number = strtoul(port, &end, 10);

    if (end == port || *end || number > 65535) {
        return false;
    }
    memset(to, 0, sizeof(*to));
    if (strchr(host, ':')) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)number);
        *size = sizeof(*in6);
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)number);
    *size = sizeof(*in);
    return !*host || inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

/* "[tcp|udp]:[HOST]:PORT" or "unix:PATH"; what follows, or NULL. */
static const char *parse_host_end(const char *spec, struct endpoints *to)
{
    char host[NAME_MAX_SIZE], port[NAME_MAX_SIZE];
    struct sockaddr_un *un = (struct sockaddr_un *)&to->host;
    const char *rest = strchr(spec, ':');
    size_t scheme = rest ? (size_t)(rest - spec) : 0;

    if (!rest) {
        return NULL;
    }
    rest++;
    if (scheme == 4 && !strncmp(spec, "unix", 4)) {
        size_t length = strcspn(rest, "-");

        if (!length || length >= sizeof(un->sun_path)) {
            return NULL;
        }
        memset(un, 0, sizeof(*un));
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, rest, length);
        to->host_size = sizeof(*un);
        return rest + length;
    }
    if (scheme == 3 && !strncmp(spec, "udp", 3)) {
        to->flags |= SLIRP_HOSTFWD_UDP;
    } else if (scheme && (scheme != 3 || strncmp(spec, "tcp", 3) != 0)) {
        return NULL;
    }
    rest = socket_split(rest, "-", host, port, NAME_MAX_SIZE);
    return rest && endpoint(host, port, &to->host, &to->host_size) ? rest : NULL;
}

static bool parse_host_forward(const char *spec, struct endpoints *to)
{
    char host[NAME_MAX_SIZE], port[NAME_MAX_SIZE];
    const char *rest = parse_host_end(spec, to);

    if (!rest || *rest != '-') {
        return false;
    }
    rest = socket_split(rest + 1, "", host, port, NAME_MAX_SIZE);
    return rest && endpoint(host, port, &to->guest, &to->guest_size) &&
           ((struct sockaddr_in *)&to->guest)->sin_port;
}

static int host_forward(struct user_net *user, const char *spec, bool add, char *error,
                        size_t error_size)
{
    struct endpoints to = {0};
    const char *rest = add ? NULL : parse_host_end(spec, &to);
    int result;

    if (add ? !parse_host_forward(spec, &to) : !rest || *rest) {
        snprintf(error, error_size, "hostfwd=%s: expected [tcp|udp]:[ADDRESS]:PORT%s", spec,
                 add ? "-[ADDRESS]:PORT or unix:PATH-[ADDRESS]:PORT" : " or unix:PATH");
        return -EINVAL;
    }
    if (add) {
        /* Without an address slirp takes the first that DHCP gives. */
        result = slirp_add_hostxfwd(user->slirp, (struct sockaddr *)&to.host, to.host_size,
                                    (struct sockaddr *)&to.guest, to.guest_size, to.flags);
    } else {
        result =
            slirp_remove_hostxfwd(user->slirp, (struct sockaddr *)&to.host, to.host_size, to.flags);
    }
    if (result < 0) {
        int err = add && errno ? -errno : -ENOENT;

        snprintf(error, error_size, "hostfwd=%s: %s", spec,
                 add ? strerror(-err) : "there is no such forwarding");
        return err;
    }
    net_kick(&user->net);
    return 0;
}

int user_forward_host(struct net_backend *net, const char *spec, bool add, char *error,
                      size_t error_size)
{
    return host_forward((struct user_net *)net, spec, add, error, error_size);
}

/* ---- guest to host --------------------------------------------------------------------------- */

static size_t can_receive(void *opaque)
{
    struct user_forward *f = opaque;

    return slirp_socket_can_recv(f->user->slirp, f->address, f->port);
}

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct user_forward *f = opaque;

    slirp_socket_recv(f->user->slirp, f->address, f->port, bytes, (int)size);
    net_kick(&f->user->net);
}

static const struct chardev_handlers handlers = {.can_receive = can_receive, .receive = receive};

/* What the guest has sent; a chardev that is slow loses it, for slirp does not wait. */
static ssize_t from_guest(const void *bytes, size_t size, void *opaque)
{
    struct user_forward *f = opaque;

    chardev_write(f->chr, bytes, size);
    return (ssize_t)size;
}

/* "[tcp]:ADDRESS:PORT-TARGET"; the target, or NULL. */
static const char *parse_guest_forward(const char *spec, struct in_addr *address, int *port)
{
    char host[NAME_MAX_SIZE], number[NAME_MAX_SIZE], *end;
    const char *rest = strchr(spec, ':');

    if (!rest || (rest != spec && (rest - spec != 3 || strncmp(spec, "tcp", 3) != 0))) {
        return NULL;
    }
    rest = socket_split(rest + 1, "-", host, number, NAME_MAX_SIZE);
    if (!rest || *rest != '-' || inet_pton(AF_INET, host, address) != 1) {
        return NULL;
    }
    long value = strtol(number, &end, 10);

    *port = (int)value;
    return *end || value < 1 || value > 65535 ? NULL : rest + 1;
}

static int guest_forward(struct user_forward *f, unsigned n, char *error, size_t error_size)
{
    struct user_net *user = f->user;
    const char *target = parse_guest_forward(f->spec, &f->address, &f->port);
    char id[NAME_MAX_SIZE];
    int err = 0;

    if (!target || !*target) {
        snprintf(error, error_size,
                 "guestfwd=%s: expected [tcp]:ADDRESS:PORT-cmd:COMMAND or a character device",
                 f->spec);
        return -EINVAL;
    }
    if (!strncmp(target, "cmd:", 4)) {
        err = slirp_add_exec(user->slirp, target + 4, &f->address, f->port);
    } else {
        snprintf(id, sizeof(id), "%.200s-guestfwd-%u", user->net.node.id, n);
        err = chardev_create_legacy(&f->chr, user->net.loop, id, target, error, error_size);
        if (err) {
            return err;
        }
        f->own = strncmp(target, "chardev:", 8) != 0;
        err = slirp_add_guestfwd(user->slirp, from_guest, f, &f->address, f->port);
        if (!err && chardev_attach(f->chr, &handlers, f)) {
            snprintf(error, error_size, "guestfwd=%s: the character device is in use", f->spec);
            return -EBUSY;
        }
        f->attached = !err;
    }
    if (err) {
        snprintf(error, error_size,
                 "guestfwd=%s: expected a free port of an address in the guest's network", f->spec);
        return -EINVAL;
    }
    return 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

int user_forward_start(struct user_net *user, char *error, size_t error_size)
{
    unsigned n = 0;

    for (struct user_forward *f = user->forwards; f; f = f->next) {
        int err = f->guest ? guest_forward(f, n++, error, error_size)
                           : host_forward(user, f->spec, true, error, error_size);

        if (err) {
            return err;
        }
    }
    return 0;
}

bool user_forward_runs_commands(const struct user_net *user)
{
    for (const struct user_forward *f = user->forwards; f; f = f->next) {
        if (f->guest && !f->chr) {
            return true;
        }
    }
    return false;
}

void user_forward_accept(struct user_net *user)
{
    for (struct user_forward *f = user->forwards; f; f = f->next) {
        if (f->attached) {
            chardev_accept(f->chr);
        }
    }
}

void user_forward_end(struct user_net *user)
{
    while (user->forwards) {
        struct user_forward *f = user->forwards;

        user->forwards = f->next;
        if (f->attached) {
            chardev_attach(f->chr, NULL, f);
        }
        if (f->own) {
            chardev_destroy(f->chr);
        }
        free(f);
    }
}
