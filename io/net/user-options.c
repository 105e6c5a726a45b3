/*
 * Addresses of the user network: what is not given is counted from the network: .2 is the router,
 * .3 the name server, .15 the first that DHCP gives.
 */
#include "io/net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wrong(char *error, size_t error_size, const char *option, const char *value,
                 const char *expected)
{
    snprintf(error, error_size, "%s=%s: expected %s", option, value, expected);
    return -EINVAL;
}

/* "A.B.C.D", with "/BITS" or "/MASK"; without, the mask of the address's class (RFC 791). */
static bool parse_network(const char *text, uint32_t *net, uint32_t *mask)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    struct in_addr at;

    if (length >= sizeof(address)) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = 0;
    if (!inet_pton(AF_INET, address, &at)) {
        return false;
    }
    *net = ntohl(at.s_addr);
    if (!slash) {
        *mask = !(*net >> 31) ? 0xff000000 : *net >> 30 == 2 ? 0xffff0000 : 0xffffff00;
    } else if (inet_pton(AF_INET, slash + 1, &at)) {
        *mask = ntohl(at.s_addr);
    } else {
        char *end;
        unsigned long bits = strtoul(slash + 1, &end, 10);

        if (end == slash + 1 || *end || bits < 4 || bits > 30) {
            return false;
        }
        *mask = ~0U << (32 - bits);
    }
    *net &= *mask;
    return true;
}

/* An address of the network, or the default when there is no text. */
static int in_network(const char *option, const char *text, uint32_t net, uint32_t mask,
                      uint32_t by_default, struct in_addr *to, char *error, size_t error_size)
{
    char expected[64], name[INET_ADDRSTRLEN];
    struct in_addr at = {htonl(net)};

    if (!text) {
        to->s_addr = htonl(net | (by_default & ~mask));
        return 0;
    }
    if (!inet_pton(AF_INET, text, to) || (ntohl(to->s_addr) & mask) != net) {
        inet_ntop(AF_INET, &at, name, sizeof(name));
        snprintf(expected, sizeof(expected), "an address of the network %s", name);
        return wrong(error, error_size, option, text, expected);
    }
    return 0;
}

/* The network of IPv6, from either of its options. */
static int parse_network6(struct user_net *user, char *error, size_t error_size)
{
    const char *text = user->net6 ? user->net6 : user->prefix6 ? user->prefix6 : "fec0::";
    const char *option = user->net6 ? "ipv6-net" : "ipv6-prefix";
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    char address[INET6_ADDRSTRLEN + 1], *end = NULL;
    unsigned long bits = slash ? strtoul(slash + 1, &end, 10) : user->prefix6_length;

    if (length >= sizeof(address) || (slash && (end == slash + 1 || *end)) || bits > 126) {
        return wrong(error, error_size, option, text, "ADDRESS/BITS with at most 126 bits");
    }
    memcpy(address, text, length);
    address[length] = 0;
    if (!inet_pton(AF_INET6, address, &user->at.prefix6)) {
        return wrong(error, error_size, option, text, "ADDRESS/BITS");
    }
    user->at.prefix6_length = (unsigned)bits;
    return 0;
}

static int address6(struct user_net *user, const char *option, const char *text, uint8_t by_default,
                    struct in6_addr *to, char *error, size_t error_size)
{
    if (!text) {
        *to = user->at.prefix6;
        to->s6_addr[15] |= by_default;
        return 0;
    }
    return inet_pton(AF_INET6, text, to)
               ? 0
               : wrong(error, error_size, option, text, "an IPv6 address");
}

int user_addresses(struct user_net *user, char *error, size_t error_size)
{
    struct user_addresses *at = &user->at;
    uint32_t net, mask;

    if (!parse_network(user->network, &net, &mask)) {
        return wrong(error, error_size, "net", user->network,
                     "ADDRESS, ADDRESS/BITS with 4 to 30 bits, or ADDRESS/MASK");
    }
    at->net.s_addr = htonl(net);
    at->mask.s_addr = htonl(mask);
    int err = in_network("host", user->host, net, mask, 2, &at->host, error, error_size);

    if (!err) {
        err =
            in_network("dhcpstart", user->dhcp_start, net, mask, 15, &at->dhcp, error, error_size);
    }
    if (!err) {
        err = in_network("dns", user->dns, net, mask, 3, &at->dns, error, error_size);
    }
    if (!err && at->host.s_addr == at->dns.s_addr) {
        err = wrong(error, error_size, "dns", user->dns ? user->dns : "",
                    "another address than the router's");
    }
    if (!err) {
        err = parse_network6(user, error, error_size);
    }
    if (!err) {
        err = address6(user, "ipv6-host", user->host6, 2, &at->host6, error, error_size);
    }
    if (!err) {
        err = address6(user, "ipv6-dns", user->dns6, 3, &at->dns6, error, error_size);
    }
    return err;
}
