/*
 * What -serial, -monitor and the like have, made into what -chardev has. The old forms are a scheme
 * with what it needs behind a colon, then options, as in "tcp:localhost:4444,server=on".
 */
#include "io/chardev/internal.h"
#include "io/socket/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { OPTIONS_MAX = 2048, PART_MAX = 256 };

/* A value with its commas doubled; false when it does not fit. */
static bool quote(char *to, size_t size, const char *value)
{
    size_t n = 0;

    for (; *value; value++) {
        if (n + 3 > size) {
            return false;
        }
        to[n++] = *value;
        if (*value == ',') {
            to[n++] = ',';
        }
    }
    to[n] = 0;
    return true;
}

/* "tcp:", "telnet:": [HOST]:PORT[,OPTIONS]. */
static int make_tcp(char *to, size_t size, const char *rest, const char *more)
{
    char host[PART_MAX], port[PART_MAX];
    const char *end = socket_split(rest, ",", host, port, PART_MAX);

    if (!end) {
        return -EINVAL;
    }
    return snprintf(to, size, "socket,host=%s,port=%s%s%s", host, port, more, end) < (int)size
               ? 0
               : -EINVAL;
}

/* "udp:": [HOST]:PORT[@[LOCAL]:PORT]. */
static int make_udp(char *to, size_t size, const char *rest)
{
    char host[PART_MAX], port[PART_MAX], local[PART_MAX] = "", local_port[PART_MAX] = "0";
    const char *end = socket_split(rest, "@,", host, port, PART_MAX);

    if (end && *end == '@') {
        end = socket_split(end + 1, ",", local, local_port, PART_MAX);
    }
    if (!end) {
        return -EINVAL;
    }
    return snprintf(to, size, "udp,host=%s,port=%s,localaddr=%s,localport=%s%s", host, port, local,
                    local_port, end) < (int)size
               ? 0
               : -EINVAL;
}

/* A kind with a whole path, in which commas count. */
static int make_path(char *to, size_t size, const char *kind, const char *path)
{
    int n = snprintf(to, size, "%s,path=", kind);

    return quote(to + n, size - (size_t)n, path) ? 0 : -EINVAL;
}

static int translate(char *to, size_t size, const char *spec)
{
    const char *colon = strchr(spec, ':');
    size_t scheme = colon ? (size_t)(colon - spec) : 0;
    const char *rest = colon ? colon + 1 : spec;

#define IS(name) (scheme == sizeof(name) - 1 && !strncmp(spec, name, scheme))
    if (IS("tcp")) {
        return make_tcp(to, size, rest, "");
    }
    if (IS("telnet")) {
        return make_tcp(to, size, rest, ",telnet=on");
    }
    if (IS("udp")) {
        return make_udp(to, size, rest);
    }
    if (IS("unix")) {
        return snprintf(to, size, "socket,path=%s", rest) < (int)size ? 0 : -EINVAL;
    }
    if (IS("file")) {
        return make_path(to, size, "file", rest);
    }
    if (IS("pipe")) {
        return make_path(to, size, "pipe", rest);
    }
#undef IS
    if (!strncmp(spec, "/dev/", 5)) {
        return make_path(to, size, "serial", spec);
    }
    if (!strcmp(spec, "none")) {
        spec = "null";
    }
    /* The others are the names of kinds, with options: "stdio", "pty", "null", "ringbuf,size=1k".
     */
    return snprintf(to, size, "%s", spec) < (int)size ? 0 : -EINVAL;
}

int chardev_create_legacy(struct chardev **chr, struct loop *loop, const char *id, const char *spec,
                          char *error, size_t error_size)
{
    char options[OPTIONS_MAX], all[OPTIONS_MAX + PART_MAX];
    const char *mux = "";

    *chr = NULL;
    if (!strncmp(spec, "chardev:", 8)) {
        *chr = chardev_find(spec + 8);
        if (!*chr) {
            snprintf(error, error_size, "%s: there is no chardev with id=%s", spec, spec + 8);
            return -ENODEV;
        }
        return 0;
    }
    if (!strncmp(spec, "mon:", 4)) {
        spec += 4;
        /* A console that a monitor shares gets Ctrl-C for the guest. */
        mux = !strcmp(spec, "stdio") ? ",mux=on,signal=off" : ",mux=on";
    }
    int err = translate(options, sizeof(options), spec);

    if (err || snprintf(all, sizeof(all), "%s%s,id=%s", options, mux, id) >= (int)sizeof(all)) {
        snprintf(error, error_size,
                 "'%s': expected stdio, pty, null, none, file:PATH, pipe:PATH, unix:PATH, "
                 "tcp:[HOST]:PORT, telnet:[HOST]:PORT, udp:[HOST]:PORT, /dev/NAME or chardev:ID",
                 spec);
        return -EINVAL;
    }
    return chardev_create(chr, loop, all, error, error_size);
}
