/*
 * Stream and datagram sockets for back ends: addresses from what users type, listening, connecting,
 * and how addresses are shown. Descriptors are made non-blocking and close on exec.
 *
 * Names are resolved when a back end is made, and block then as any other start-up does; what
 * happens later (accepting, reconnecting) never waits.
 */
#ifndef TINAMOU_IO_SOCKET_SOCKET_H
#define TINAMOU_IO_SOCKET_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    SOCKET_MAX_ADDRESSES = 8, /* of a name that are tried */
    SOCKET_TEXT_MAX = 160,    /* bytes of an address as text */
};

struct socket_address {
    struct sockaddr_storage at;
    socklen_t size;
};

struct socket_addresses {
    unsigned count;
    struct socket_address address[SOCKET_MAX_ADDRESSES];
};

/*
 * The addresses of host and port (names or numbers). `host` empty or NULL: any address, or with
 * `passive` false the loopback. family: AF_UNSPEC, AF_INET or AF_INET6; type: SOCK_STREAM or
 * SOCK_DGRAM. 0, or -errno with what is wrong, without a prefix, in error[].
 */
int socket_resolve(struct socket_addresses *to, const char *host, const char *port, int family,
                   int type, bool passive, char *error, size_t error_size);
/* A path in the file system or (`abstract`) a name; -EINVAL if it is empty or too long. */
int socket_unix(struct socket_addresses *to, const char *path, bool abstract, char *error,
                size_t error_size);

/*
 * Splits "host:port" or "[v6]:port"; the host may be empty. Each buffer has `size` bytes. Returns
 * what follows the port (which ends at one of `ends` or the end), or NULL.
 */
const char *socket_split(const char *text, const char *ends, char *host, char *port, size_t size);

/* A listening descriptor at the first address that can be had, or -errno with a message. A unix
 * path that nobody listens on any more is replaced. */
int socket_listen(const struct socket_addresses *at, char *error, size_t error_size);
/* A bound datagram descriptor, or -errno with a message. */
int socket_bind(const struct socket_addresses *at, char *error, size_t error_size);
/* A connected descriptor, or -errno with a message; waits. */
int socket_connect(const struct socket_addresses *to, char *error, size_t error_size);
/* Begins to connect: a descriptor that gets writable when that is decided (then
 * socket_error()), or -errno. */
int socket_connect_start(const struct socket_address *to);
/* The pending error of a descriptor: 0 or -errno. */
int socket_error(int fd);
/* The next connection of a listening descriptor, or -errno (-EAGAIN: none). */
int socket_accept(int fd);
void socket_set_nodelay(int fd, bool on);

/* "127.0.0.1:80", "[::1]:80" or the path ("@name" if abstract); text has SOCKET_TEXT_MAX bytes. */
void socket_print(const struct socket_address *address, char *text);
/* The address of a descriptor's own end, or of the other. */
void socket_print_end(int fd, bool peer, char *text);

#endif
