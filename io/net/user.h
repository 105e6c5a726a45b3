/* Between the parts of the user network: its object, and what it forwards. */
#ifndef TINAMOU_IO_NET_USER_H
#define TINAMOU_IO_NET_USER_H

#include "io/net/internal.h"

#include <netinet/in.h>

struct Slirp;

struct user_forward; /* an option that was given, and what it became */

/* What the options came to. */
struct user_addresses {
    struct in_addr net, mask, host, dhcp, dns;
    struct in6_addr prefix6, host6, dns6;
    unsigned prefix6_length;
};

struct user_polled; /* of user.c */

struct user_net {
    struct net_backend net;
    /* options */
    int ipv4, ipv6; /* SWITCH_* */
    bool restricted;
    char *network, *host, *hostname, *tftp, *tftp_name, *bootfile, *dhcp_start, *dns;
    char *net6, *host6, *dns6, *prefix6, *domain, *smb, *smb_server;
    uint32_t prefix6_length;
    const char **search; /* ends with NULL */
    unsigned searches;
    struct user_forward *forwards;
    bool no_memory; /* for an option */
    /* state */
    struct user_addresses at;
    struct Slirp *slirp;
    bool inside; /* of slirp, which does not take a frame while it makes one */
    struct loop_timer timer;
    int epoll; /* the sockets of slirp; -1: none */
    struct loop_fd *watch;
    struct user_polled *polled; /* in the order of the last fill, then those of the one before */
    unsigned polled_count, polled_room;
    struct user_registered *registered; /* by descriptor */
    unsigned registered_room;
    unsigned generation;
    uint32_t wanted; /* NET_OFFLOAD_* that the card takes */
    uint16_t mss4, mss6;
};

/* Remembers a hostfwd= or guestfwd=; false when there is no memory. */
bool user_forward_add(struct user_net *user, bool guest, const char *spec);
/* Carries out what was remembered. 0 or -errno with a message. */
int user_forward_start(struct user_net *user, char *error, size_t error_size);
/* Is a command run by any? */
bool user_forward_runs_commands(const struct user_net *user);
/* More of what comes from chardevs can be taken now. */
void user_forward_accept(struct user_net *user);
void user_forward_end(struct user_net *user);

/* Makes or removes a forwarding of a port; 0 or -errno with a message. */
int user_forward_host(struct net_backend *net, const char *spec, bool add, char *error,
                      size_t error_size);

/* Addresses from the options. 0 or -EINVAL with a message. user-options.c */
int user_addresses(struct user_net *user, char *error, size_t error_size);

#endif
