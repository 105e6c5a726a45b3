/*
 * Sockets: see socket.h. A list of addresses is tried in the order of the resolver, and the error
 * of the last one is what the user reads.
 */
#include "io/socket/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int socket_resolve(struct socket_addresses *to, const char *host, const char *port, int family,
                   int type, bool passive, char *error, size_t error_size)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = type}, *list;

    hints.ai_flags = passive ? AI_PASSIVE : 0;
    if (!host || !*host) {
        host = NULL;
        /* Any address of IPv4 by default, as users of "tcp::1234" expect. */
        hints.ai_family = family == AF_UNSPEC ? AF_INET : family;
    }
    int err = getaddrinfo(host, port, &hints, &list);

    if (err) {
        snprintf(error, error_size, "address '%s:%s': %s", host ? host : "", port ? port : "",
                 err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err));
        return -EINVAL;
    }
    to->count = 0;
    for (struct addrinfo *a = list; a && to->count < SOCKET_MAX_ADDRESSES; a = a->ai_next) {
        struct socket_address *address = &to->address[to->count];

        if (a->ai_addrlen <= sizeof(address->at)) {
            memcpy(&address->at, a->ai_addr, a->ai_addrlen);
            address->size = a->ai_addrlen;
            to->count++;
        }
    }
    freeaddrinfo(list);
    return 0;
}

int socket_unix(struct socket_addresses *to, const char *path, bool abstract, char *error,
                size_t error_size)
{
    struct sockaddr_un *at = (struct sockaddr_un *)&to->address[0].at;
    size_t length = strlen(path);

    if (!length || length + 1 > sizeof(at->sun_path)) {
        snprintf(error, error_size, "path '%.120s': expected 1 to %zu bytes", path,
                 sizeof(at->sun_path) - 1);
        return -EINVAL;
    }
    memset(at, 0, sizeof(*at));
    at->sun_family = AF_UNIX;
    memcpy(at->sun_path + abstract, path, length);
    /* An abstract name is not ended by a zero; a path counts its own. */
    to->address[0].size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
    to->count = 1;
    return 0;
}

const char *socket_split(const char *text, const char *ends, char *host, char *port, size_t size)
{
    const char *colon, *end;
    const char *name = text;
    size_t length;

    if (*text == '[') {
        const char *close = strchr(text, ']');

        if (!close || close[1] != ':') {
            return NULL;
        }
        name++;
        length = (size_t)(close - name);
        colon = close + 1;
    } else {
        length = strcspn(text, ":");
        colon = text + length;
    }
    if (*colon != ':' || length >= size) {
        return NULL;
    }
    memcpy(host, name, length);
    host[length] = 0;
    length = strcspn(colon + 1, ends);
    end = colon + 1 + length;
    if (!length || length >= size) {
        return NULL;
    }
    memcpy(port, colon + 1, length);
    port[length] = 0;
    return end;
}

/* A path that a dead listener has left behind: nobody answers there. */
static void unlink_stale(const struct socket_address *at)
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)&at->at;
    struct stat st;

    if (path->sun_family != AF_UNIX || !path->sun_path[0] || lstat(path->sun_path, &st) ||
        !S_ISSOCK(st.st_mode)) {
        return;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0) {
        if (connect(fd, (const struct sockaddr *)&at->at, at->size) && errno == ECONNREFUSED) {
            unlink(path->sun_path);
        }
        close(fd);
    }
}

/* A socket bound to the first address that is free. */
static int bind_first(const struct socket_addresses *at, int type, bool listening, char *error,
                      size_t error_size)
{
    char text[SOCKET_TEXT_MAX] = "";
    int err = -EADDRNOTAVAIL;

    for (unsigned i = 0; i < at->count; i++) {
        const struct socket_address *address = &at->address[i];
        int family = address->at.ss_family;
        int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int one = 1;

        if (fd < 0) {
            err = -errno;
            continue;
        }
        if (family != AF_UNIX) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        }
        if (family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
        }
        if (listening) {
            unlink_stale(address);
        }
        if (!bind(fd, (const struct sockaddr *)&address->at, address->size) &&
            (!listening || !listen(fd, 1))) {
            return fd;
        }
        err = -errno;
        socket_print(address, text);
        close(fd);
    }
    snprintf(error, error_size, "address %s: %s", text, strerror(-err));
    return err;
}

int socket_listen(const struct socket_addresses *at, char *error, size_t error_size)
{
    return bind_first(at, SOCK_STREAM, true, error, error_size);
}

int socket_bind(const struct socket_addresses *at, char *error, size_t error_size)
{
    return bind_first(at, SOCK_DGRAM, false, error, error_size);
}

int socket_connect_start(const struct socket_address *to)
{
    int fd = socket(to->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (const struct sockaddr *)&to->at, to->size) && errno != EINPROGRESS) {
        int err = -errno;

        close(fd);
        return err;
    }
    return fd;
}

int socket_error(int fd)
{
    int err = 0;
    socklen_t size = sizeof(err);

    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) ? -errno : -err;
}

int socket_connect(const struct socket_addresses *to, char *error, size_t error_size)
{
    char text[SOCKET_TEXT_MAX] = "";
    int err = -EADDRNOTAVAIL;

    for (unsigned i = 0; i < to->count; i++) {
        int fd = socket_connect_start(&to->address[i]);

        socket_print(&to->address[i], text);
        err = fd;
        if (fd >= 0) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            while (poll(&wait, 1, -1) < 0 && errno == EINTR) {
            }
            err = socket_error(fd);
            if (!err) {
                return fd;
            }
            close(fd);
        }
    }
    snprintf(error, error_size, "address %s: %s", text, strerror(-err));
    return err;
}

int socket_accept(int fd)
{
    int got = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    return got < 0 ? -errno : got;
}

void socket_set_nodelay(int fd, bool on)
{
    int value = on;

    /* Fails on what is not TCP, where there is nothing to be set. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof(value));
}

void socket_print(const struct socket_address *address, char *text)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->at;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->at;
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->at;
    char host[INET6_ADDRSTRLEN] = "";
    size_t length;

    switch (address->at.ss_family) {
    case AF_INET:
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(text, SOCKET_TEXT_MAX, "%s:%u", host, ntohs(in->sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(text, SOCKET_TEXT_MAX, "[%s]:%u", host, ntohs(in6->sin6_port));
        break;
    case AF_UNIX:
        length = address->size - offsetof(struct sockaddr_un, sun_path);
        if (!length || address->size < offsetof(struct sockaddr_un, sun_path)) {
            text[0] = 0;
        } else if (un->sun_path[0]) {
            snprintf(text, SOCKET_TEXT_MAX, "%.*s", (int)length, un->sun_path);
        } else {
            snprintf(text, SOCKET_TEXT_MAX, "@%.*s", (int)length - 1, un->sun_path + 1);
        }
        break;
    default:
        text[0] = 0;
        break;
    }
}

void socket_print_end(int fd, bool peer, char *text)
{
    struct socket_address address = {.size = sizeof(address.at)};
    struct sockaddr *at = (struct sockaddr *)&address.at;
    int err = peer ? getpeername(fd, at, &address.size) : getsockname(fd, at, &address.size);

    text[0] = 0;
    if (!err) {
        socket_print(&address, text);
    }
}
