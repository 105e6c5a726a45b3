/*
 * Kinds that are a file or a pair of files: file (output only, or input from another), pipe (FIFOs
 * PATH.in and PATH.out, or one for both), serial (a serial port of the host).
 */
#include "io/chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

struct fd_chardev {
    struct chardev chr;
    char *path, *input_path;
    bool append;
    struct stream stream;
    int in, out; /* -1: not opened */
};

static size_t fd_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    return stream_write(&((struct fd_chardev *)chr)->stream, bytes, size);
}

static void fd_kick(struct chardev *chr)
{
    stream_update(&((struct fd_chardev *)chr)->stream);
}

static void fd_close(struct chardev *chr)
{
    struct fd_chardev *f = (struct fd_chardev *)chr;

    stream_stop(&f->stream);
    if (f->in >= 0 && f->in != f->out) {
        close(f->in);
    }
    if (f->out >= 0) {
        close(f->out);
    }
}

/* The end of input changes nothing for output. */
static void fd_hangup(struct chardev *chr, int err)
{
    if (((struct fd_chardev *)chr)->stream.failed) {
        chardev_set_open(chr, false);
    }
}

static void fd_start(struct fd_chardev *f)
{
    f->stream.hangup = fd_hangup;
    f->chr.open = true;
    stream_start(&f->stream, &f->chr, f->in, f->out);
}

/* Nothing is open yet; the path is there. 0, or -EINVAL with a message. */
static int fd_begin(struct fd_chardev *f, char *error, size_t error_size)
{
    f->in = f->out = -1;
    f->stream.in = f->stream.out = -1;
    if (!f->path || !*f->path) {
        snprintf(error, error_size, "path= is missing");
        return -EINVAL;
    }
    return 0;
}

/* ---- file ------------------------------------------------------------------------------------ */

static const struct property file_properties[] = {
    PROPERTY(STRING, "path", struct fd_chardev, path, .help = "file that gets the output"),
    PROPERTY(STRING, "input-path", struct fd_chardev, input_path, .help = "file of input"),
    PROPERTY(BOOL, "append", struct fd_chardev, append, .help = "keep what the file has"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static int file_open(struct chardev *chr, char *error, size_t error_size)
{
    struct fd_chardev *f = (struct fd_chardev *)chr;
    int err = fd_begin(f, error, error_size);

    if (err) {
        return err;
    }
    f->out = open(f->path, O_WRONLY | O_CREAT | O_CLOEXEC | (f->append ? O_APPEND : O_TRUNC), 0666);
    if (f->out < 0) {
        return chardev_fail(error, error_size, "path", f->path);
    }
    if (f->input_path) {
        f->in = open(f->input_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (f->in < 0) {
            return chardev_fail(error, error_size, "input-path", f->input_path);
        }
    }
    fd_start(f);
    return 0;
}

const struct chardev_class chardev_file = {
    .name = "file",
    .size = sizeof(struct fd_chardev),
    .properties = file_properties,
    .open = file_open,
    .write = fd_write,
    .kick = fd_kick,
    .close = fd_close,
};

/* ---- pipe ------------------------------------------------------------------------------------ */

static const struct property pipe_properties[] = {
    PROPERTY(STRING, "path", struct fd_chardev, path,
             .help = "FIFOs PATH.in and PATH.out, or PATH for both"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

/* Opened for both directions, a FIFO has a reader and a writer always: it neither waits for the
 * other end to come nor ends when that goes. */
static int open_fifo(const char *path, const char *suffix)
{
    char name[4096];

    if ((size_t)snprintf(name, sizeof(name), "%s%s", path, suffix) >= sizeof(name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

static int pipe_open(struct chardev *chr, char *error, size_t error_size)
{
    struct fd_chardev *f = (struct fd_chardev *)chr;
    int err = fd_begin(f, error, error_size);

    if (err) {
        return err;
    }
    f->in = open_fifo(f->path, ".in");
    f->out = f->in >= 0 ? open_fifo(f->path, ".out") : -1;
    if (f->out < 0) {
        if (f->in >= 0) {
            close(f->in);
        }
        f->in = f->out = open_fifo(f->path, "");
    }
    if (f->out < 0) {
        return chardev_fail(error, error_size, "path", f->path);
    }
    fd_start(f);
    return 0;
}

const struct chardev_class chardev_pipe = {
    .name = "pipe",
    .size = sizeof(struct fd_chardev),
    .properties = pipe_properties,
    .open = pipe_open,
    .write = fd_write,
    .kick = fd_kick,
    .close = fd_close,
};

/* ---- serial ---------------------------------------------------------------------------------- */

static const struct property serial_properties[] = {
    PROPERTY(STRING, "path", struct fd_chardev, path, .help = "serial port of the host"),
    CHARDEV_PROPERTIES,
    PROPERTY_END,
};

static int serial_open(struct chardev *chr, char *error, size_t error_size)
{
    struct fd_chardev *f = (struct fd_chardev *)chr;
    struct termios modes;
    int err = fd_begin(f, error, error_size);

    if (err) {
        return err;
    }
    f->in = f->out = open(f->path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (f->in < 0 || tcgetattr(f->in, &modes)) {
        return chardev_fail(error, error_size, "path", f->path);
    }
    cfmakeraw(&modes);
    cfsetspeed(&modes, B115200);
    modes.c_cflag |= CREAD | CLOCAL;
    if (tcsetattr(f->in, TCSANOW, &modes)) {
        return chardev_fail(error, error_size, "path", f->path);
    }
    fd_start(f);
    return 0;
}

const struct chardev_class chardev_serial = {
    .name = "serial",
    .size = sizeof(struct fd_chardev),
    .properties = serial_properties,
    .open = serial_open,
    .write = fd_write,
    .kick = fd_kick,
    .close = fd_close,
};
