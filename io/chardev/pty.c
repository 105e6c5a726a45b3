/*
 * pty: a terminal of the host's for whoever opens it (screen /dev/pts/3).
 *
 * Linux reports a hang-up on our end for as long as nobody has the other open, at every poll; so
 * while nobody is there a timer looks once a second, and what is written is lost.
 */
#include "io/chardev/internal.h"
#include "util/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define LOOK_INTERVAL INT64_C(1000000000)

struct pty {
    struct chardev chr;
    char *path;
    bool linked;
    int fd;
    struct stream stream;
    struct loop_timer look;
};

static const struct property pty_properties[] = {
    PROPERTY(STRING, "path", struct pty, path, .help = "symbolic link to the terminal"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static void pty_look(void *opaque)
{
    struct pty *pty = opaque;
    struct pollfd poll_fd = {.fd = pty->fd, .events = POLLOUT};

    if (poll(&poll_fd, 1, 0) >= 0 && !(poll_fd.revents & POLLHUP)) {
        stream_start(&pty->stream, &pty->chr, pty->fd, pty->fd);
        chardev_set_open(&pty->chr, true);
        stream_update(&pty->stream);
        return;
    }
    loop_timer_arm(&pty->look, loop_clock_now(LOOP_CLOCK_REALTIME) + LOOK_INTERVAL);
}

static void pty_hangup(struct chardev *chr, int err)
{
    struct pty *pty = (struct pty *)chr;

    stream_stop(&pty->stream);
    chardev_set_open(chr, false);
    chardev_has_room(chr);
    loop_timer_arm(&pty->look, loop_clock_now(LOOP_CLOCK_REALTIME) + LOOK_INTERVAL);
}

static int pty_open(struct chardev *chr, char *error, size_t error_size)
{
    struct pty *pty = (struct pty *)chr;
    struct termios modes;
    char name[64];

    pty->stream.in = pty->stream.out = -1;
    loop_timer_init(&pty->look, chr->loop, LOOP_CLOCK_REALTIME, pty_look, pty);
    pty->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (pty->fd < 0 || grantpt(pty->fd) || unlockpt(pty->fd) ||
        ptsname_r(pty->fd, name, sizeof(name))) {
        int err = errno;

        snprintf(error, error_size, "no pseudo-terminal: %s", strerror(err));
        return -err;
    }
    /* The modes are the pair's and last; on Linux our end may set them. */
    if (!tcgetattr(pty->fd, &modes)) {
        cfmakeraw(&modes);
        tcsetattr(pty->fd, TCSANOW, &modes);
    }
    if (pty->path) {
        if (symlink(name, pty->path)) {
            return chardev_fail(error, error_size, "path", pty->path);
        }
        pty->linked = true;
        ending_note_file(pty->path);
    }
    snprintf(chr->filename, sizeof(chr->filename), "pty:%s", name);
    fprintf(stderr, "char device redirected to %s (label %s)\n", name, chr->node.id);
    pty->stream.hangup = pty_hangup;
    /* Opened and closed once, the other end hangs up; before that poll() would call it open. */
    int other = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (other >= 0) {
        close(other);
    }
    pty_look(pty);
    return 0;
}

static size_t pty_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    return stream_write(&((struct pty *)chr)->stream, bytes, size);
}

static void pty_kick(struct chardev *chr)
{
    struct pty *pty = (struct pty *)chr;

    if (pty->stream.in >= 0) {
        stream_update(&pty->stream);
    }
}

static void pty_close(struct chardev *chr)
{
    struct pty *pty = (struct pty *)chr;

    loop_timer_cancel(&pty->look);
    stream_stop(&pty->stream);
    if (pty->linked) {
        ending_remove_file(pty->path);
    }
    if (pty->fd >= 0) {
        close(pty->fd);
    }
}

const struct chardev_class chardev_pty = {
    .name = "pty",
    .size = sizeof(struct pty),
    .properties = pty_properties,
    .open = pty_open,
    .write = pty_write,
    .kick = pty_kick,
    .close = pty_close,
};
