/*
 * Bytes between a pair of descriptors and a chardev; see internal.h.
 *
 * Descriptors are watched only while there is something to do, since a hang-up is reported for as
 * long as anybody looks: input while the front end has room, output after a short write. So an end
 * that closes while the front end is full keeps what it has sent until somebody reads it.
 */
#include "io/chardev/internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void hang_up(struct stream *stream, int err)
{
    stream->ended = true;
    stream_update(stream);
    if (stream->hangup) {
        stream->hangup(stream->chr, err);
    }
}

static void readable(void *opaque, unsigned events)
{
    struct stream *stream = opaque;
    uint8_t bytes[CHARDEV_CHUNK];
    size_t room = chardev_room(stream->chr);

    if (!room) {
        stream_update(stream);
        return;
    }
    ssize_t n = read(stream->in, bytes, room < sizeof(bytes) ? room : sizeof(bytes));

    if (n > 0) {
        size_t size = stream->filter ? stream->filter(stream->chr, bytes, (size_t)n) : (size_t)n;

        if (size) {
            chardev_deliver(stream->chr, bytes, size);
        }
        stream_update(stream);
    } else if (n == 0) {
        hang_up(stream, 0);
    } else if (errno != EAGAIN && errno != EINTR) {
        hang_up(stream, -errno);
    }
}

static void writable(void *opaque, unsigned events)
{
    struct stream *stream = opaque;

    stream->waiting = false;
    stream_update(stream);
    chardev_has_room(stream->chr);
}

static void set_watch(struct stream *stream, struct loop_fd **watch, int fd, unsigned events,
                      void (*fn)(void *opaque, unsigned events))
{
    if (events && !*watch) {
        *watch = loop_fd_add(stream->chr->loop, fd, events, fn, stream);
    } else if (!events && *watch) {
        loop_fd_remove(*watch);
        *watch = NULL;
    }
}

void stream_start(struct stream *stream, struct chardev *chr, int in, int out)
{
    stream->chr = chr;
    stream->in = in;
    stream->out = out;
    stream->no_socket = stream->ended = stream->waiting = false;
    stream->failed = 0;
    stream_update(stream);
}

void stream_update(struct stream *stream)
{
    if (stream->failed && !stream->ended) {
        hang_up(stream, stream->failed);
        return;
    }
    bool in = stream->in >= 0 && !stream->ended && chardev_room(stream->chr);
    bool out = stream->out >= 0 && stream->waiting && !stream->failed;

    set_watch(stream, &stream->in_watch, stream->in, in ? LOOP_IN : 0, readable);
    set_watch(stream, &stream->out_watch, stream->out, out ? LOOP_OUT : 0, writable);
}

void stream_stop(struct stream *stream)
{
    if (stream->chr) {
        set_watch(stream, &stream->in_watch, -1, 0, readable);
        set_watch(stream, &stream->out_watch, -1, 0, writable);
    }
    stream->in = stream->out = -1;
}

size_t stream_write(struct stream *stream, const uint8_t *bytes, size_t size)
{
    size_t done = 0;

    if (stream->out < 0 || stream->failed) {
        return size;
    }
    while (done < size) {
        /* A peer that is gone is an error here, not a signal. */
        ssize_t n = stream->no_socket
                        ? write(stream->out, bytes + done, size - done)
                        : send(stream->out, bytes + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == ENOTSOCK && !stream->no_socket) {
            stream->no_socket = true;
        } else if (errno == EAGAIN) {
            stream->waiting = true;
            chardev_kick(stream->chr);
            break;
        } else if (errno != EINTR) {
            stream->failed = -errno;
            chardev_kick(stream->chr);
            return size;
        }
    }
    return done;
}
