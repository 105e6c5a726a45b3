/*
 * stdio: standard input and output, raw if they are a terminal.
 *
 * Non-blocking is a property of an open file, which standard input, output and error of a shell's
 * children share with the shell. So descriptors are opened anew through /proc where that works
 * (terminals, pipes); sockets take a flag with each call; the rest (files) never waits. Where a
 * terminal cannot be opened anew (another user's), the shared one is made non-blocking and given
 * back at exit.
 */
#include "io/chardev/internal.h"
#include "io/chardev/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct stdio_chardev {
    struct chardev chr;
    bool signals;
    struct stream stream;
    int in, out; /* -1: not opened */
};

static const struct property stdio_properties[] = {
    PROPERTY(BOOL, "signal", struct stdio_chardev, signals, .number = 1,
             .help = "Ctrl-C ends the process instead of going to the guest"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static struct stdio_chardev *owner; /* there is one */
static int shared_flags[2] = {-1, -1};

static void unshare_flags(void)
{
    for (int fd = 0; fd < 2; fd++) {
        if (shared_flags[fd] >= 0) {
            fcntl(fd, F_SETFL, shared_flags[fd]);
            shared_flags[fd] = -1;
        }
    }
}

/* A descriptor for the same thing that does not wait. */
static int open_anew(int fd, int mode)
{
    char path[32];
    struct stat st;

    if (fstat(fd, &st)) {
        return -1;
    }
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int anew = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (anew >= 0) {
            return anew;
        }
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0 && !(flags & O_NONBLOCK) && !fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
            shared_flags[fd] = flags;
        }
    }
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* Input that ends is no reason to stop showing output; a terminal that is gone is one to quit. */
static void stdio_hangup(struct chardev *chr, int err)
{
    struct stdio_chardev *s = (struct stdio_chardev *)chr;

    if (err == -EIO && isatty(0)) {
        chardev_quit();
    } else if (s->stream.failed) {
        chardev_set_open(chr, false);
    }
}

static int stdio_open(struct chardev *chr, char *error, size_t error_size)
{
    struct stdio_chardev *s = (struct stdio_chardev *)chr;
    static bool registered;

    s->in = s->out = -1;
    s->stream.in = s->stream.out = -1;
    if (owner) {
        snprintf(error, error_size, "stdio is in use by %s", owner->chr.node.id);
        return -EBUSY;
    }
    owner = s;
    if (!registered) {
        registered = true;
        atexit(unshare_flags);
    }
    s->in = open_anew(0, O_RDONLY);
    s->out = open_anew(1, O_WRONLY);
    terminal_set_raw(0, s->signals);
    s->stream.hangup = stdio_hangup;
    chr->open = true;
    stream_start(&s->stream, chr, s->in, s->out);
    return 0;
}

static size_t stdio_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    return stream_write(&((struct stdio_chardev *)chr)->stream, bytes, size);
}

static void stdio_kick(struct chardev *chr)
{
    stream_update(&((struct stdio_chardev *)chr)->stream);
}

static void stdio_close(struct chardev *chr)
{
    struct stdio_chardev *s = (struct stdio_chardev *)chr;

    if (owner != s) {
        return;
    }
    stream_stop(&s->stream);
    chardev_restore_terminal();
    unshare_flags();
    if (s->in >= 0) {
        close(s->in);
    }
    if (s->out >= 0) {
        close(s->out);
    }
    owner = NULL;
}

const struct chardev_class chardev_stdio = {
    .name = "stdio",
    .size = sizeof(struct stdio_chardev),
    .properties = stdio_properties,
    .open = stdio_open,
    .write = stdio_write,
    .kick = stdio_kick,
    .close = stdio_close,
};
