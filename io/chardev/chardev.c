/*
 * Character devices: the list of them, making one from options, and the way of bytes between a kind
 * (stdio, socket, ...) and its front ends.
 *
 * All state is under the machine lock. A write goes straight to the kind on the caller's thread;
 * reading, and telling front ends anything, happens on the loop's thread. So chardev_accept() from
 * a vCPU only schedules the bottom half.
 */
#include "io/chardev/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct chardev_class *const classes[] = {
    &chardev_null, &chardev_ringbuf, &chardev_file,   &chardev_pipe, &chardev_stdio,
    &chardev_pty,  &chardev_serial,  &chardev_socket, &chardev_udp,  NULL,
};

enum { ID_SIZE = IDLIST_MAX + 2 }; /* a byte more than fits, which shows */

static struct idlist all;
static void (*quit_fn)(void *opaque);
static void *quit_opaque;

/* ---- between kinds and front ends ------------------------------------------------------------ */

size_t chardev_room(struct chardev *chr)
{
    const struct chardev_front *front = &chr->fronts[0];

    if (chr->mux) {
        return mux_room(chr->mux);
    }
    return front->handlers ? front->handlers->can_receive(front->opaque) : 0;
}

void chardev_deliver(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    const struct chardev_front *front = &chr->fronts[0];

    if (chr->mux) {
        mux_deliver(chr->mux, bytes, size);
    } else if (front->handlers) {
        front->handlers->receive(front->opaque, bytes, size);
    }
}

void chardev_tell(struct chardev *chr, enum chardev_event event)
{
    for (unsigned i = 0; i < CHARDEV_MAX_FRONTS; i++) {
        const struct chardev_front *front = &chr->fronts[i];

        if (front->handlers && front->handlers->event) {
            front->handlers->event(front->opaque, event);
        }
    }
}

void chardev_set_open(struct chardev *chr, bool open)
{
    if (chr->open != open) {
        chr->open = open;
        chardev_tell(chr, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
    }
}

void chardev_has_room(struct chardev *chr)
{
    if (!chr->blocked) {
        return;
    }
    chr->blocked = false;
    for (unsigned i = 0; i < CHARDEV_MAX_FRONTS; i++) {
        const struct chardev_front *front = &chr->fronts[i];

        if (front->handlers && front->handlers->writable) {
            front->handlers->writable(front->opaque);
        }
    }
}

void chardev_kick(struct chardev *chr)
{
    loop_bh_schedule(chr->bh);
}

static void kicked(void *opaque)
{
    struct chardev *chr = opaque;

    if (chr->mux) {
        mux_flush(chr->mux);
    }
    if (chr->class->kick) {
        chr->class->kick(chr);
    }
}

void chardev_set_quit(void (*quit)(void *opaque), void *opaque)
{
    quit_fn = quit;
    quit_opaque = opaque;
}

void chardev_quit(void)
{
    if (quit_fn) {
        quit_fn(quit_opaque);
    }
}

int chardev_fail(char *error, size_t error_size, const char *option, const char *value)
{
    int err = errno;

    snprintf(error, error_size, "%s=%s: %s", option, value, strerror(err));
    return -err;
}

/* ---- for front ends -------------------------------------------------------------------------- */

int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque)
{
    unsigned limit = chr->mux ? CHARDEV_MAX_FRONTS : 1;

    for (unsigned i = 0; i < limit; i++) {
        struct chardev_front *front = &chr->fronts[i];

        if (handlers && !front->handlers) {
            *front = (struct chardev_front){.handlers = handlers, .opaque = opaque};
            if (chr->open && handlers->event) {
                handlers->event(opaque, CHARDEV_OPENED);
            }
            if (chr->mux) {
                mux_attached(chr->mux, i);
            }
            chardev_kick(chr);
            return 0;
        }
        if (!handlers && front->handlers && (!chr->mux || front->opaque == opaque)) {
            *front = (struct chardev_front){0};
            if (chr->mux) {
                mux_detached(chr->mux, i);
            }
            chardev_kick(chr);
            return 0;
        }
    }
    return handlers ? -EBUSY : 0;
}

void chardev_accept(struct chardev *chr)
{
    chardev_kick(chr);
}

/* What was written, to the log file; a log that cannot be written ends. */
static void log_output(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    while (size) {
        ssize_t n = write(chr->log_fd, bytes, size);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            close(chr->log_fd);
            chr->log_fd = -1;
            return;
        }
        bytes += n;
        size -= (size_t)n;
    }
}

size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size)
{
    size_t n = chr->mux ? mux_write(chr->mux, bytes, size) : chr->class->write(chr, bytes, size);

    chr->blocked |= n < size;
    if (chr->log_fd >= 0) {
        log_output(chr, bytes, n);
    }
    return n;
}

bool chardev_is_open(const struct chardev *chr)
{
    return chr->open;
}

/* ---- the list -------------------------------------------------------------------------------- */

struct chardev *chardev_find(const char *id)
{
    return idlist_find(&all, id);
}

const char *chardev_id(const struct chardev *chr)
{
    return chr->node.id;
}

struct chardev *chardev_at(unsigned n)
{
    return idlist_at(&all, n);
}

const char *chardev_kind(const struct chardev *chr)
{
    return chr->class->name;
}

bool chardev_reconnects(const struct chardev *chr)
{
    return chr->reconnects;
}

const char *chardev_filename(const struct chardev *chr)
{
    return chr->filename;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* What is in a list of options and not a kind's own: the id goes to `opaque`. One that is too long
 * stays so. */
static bool common_option(void *opaque, const char *name, const char *value)
{
    if (!strcmp(name, "id")) {
        snprintf(opaque, ID_SIZE, "%s", value);
        return true;
    }
    return !strcmp(name, "backend");
}

static const struct chardev_class *find_class(const char *name)
{
    for (unsigned i = 0; classes[i]; i++) {
        if (!strcmp(classes[i]->name, name)) {
            return classes[i];
        }
    }
    return NULL;
}

/* Room for the message of a part, which gets a prefix. */
enum { PART_MAX = 384 };

static int open_log(struct chardev *chr, char *error, size_t error_size)
{
    if (chr->logfile) {
        int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (chr->logappend ? O_APPEND : O_TRUNC);

        chr->log_fd = open(chr->logfile, flags, 0666);
        if (chr->log_fd < 0) {
            return chardev_fail(error, error_size, "logfile", chr->logfile);
        }
    }
    return 0;
}

static void free_chardev(struct chardev *chr)
{
    mux_destroy(chr->mux);
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
    }
    if (chr->bh) {
        loop_bh_destroy(chr->bh);
    }
    property_clear(chr->class->properties, chr);
    free(chr->node.id);
    free(chr);
}

/* Options are set: makes it work. */
static int bring_up(struct chardev *chr, const char *who, char *error, size_t error_size)
{
    char text[PART_MAX] = "no memory";
    int err = -ENOMEM;

    chr->bh = loop_bh_create(chr->loop, kicked, chr);
    if (chr->bh && chr->with_mux) {
        chr->mux = mux_create(chr);
    }
    if (chr->bh && (chr->mux || !chr->with_mux)) {
        err = open_log(chr, text, sizeof(text));
    }
    if (!err) {
        err = chr->class->open(chr, text, sizeof(text));
        if (err && chr->class->close) {
            chr->class->close(chr);
        }
    }
    if (err) {
        snprintf(error, error_size, "%s: %s", who, text);
    }
    return err;
}

int chardev_create(struct chardev **chr, struct loop *loop, const char *options, char *error,
                   size_t error_size)
{
    char kind[32] = "", id[ID_SIZE] = "", who[192];
    size_t length = strcspn(options, ",=");

    *chr = NULL;
    /* The kind comes first, without its name ("backend="). */
    if (options[length] != '=') {
        snprintf(kind, sizeof(kind), "%.*s", (int)length, options);
        options += length + (options[length] == ',');
    } else if (!strncmp(options, "backend=", 8)) {
        snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(options + 8, ","), options + 8);
    }
    const struct chardev_class *class = find_class(kind);

    /* A reader that is gone is an error of write(), not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    if (!class) {
        snprintf(error, error_size,
                 "chardev '%s': expected null, ringbuf, file, pipe, stdio, pty, serial, socket or "
                 "udp",
                 kind);
        return -EINVAL;
    }
    struct chardev *made = calloc(1, class->size);

    if (!made) {
        snprintf(error, error_size, "chardev %s: no memory", class->name);
        return -ENOMEM;
    }
    made->class = class;
    made->loop = loop;
    made->log_fd = -1;
    snprintf(who, sizeof(who), "chardev %s", class->name);
    int err = property_set_defaults(class->properties, made);

    if (err) {
        snprintf(error, error_size, "%s: no memory", who);
    } else {
        err = property_set_list(class->properties, made, who, options, common_option, id, error,
                                error_size);
    }
    if (!err) {
        err = idlist_name(&all, &made->node, id, who, error, error_size);
    }
    if (!err) {
        snprintf(made->filename, sizeof(made->filename), "%s", class->name);
        snprintf(who, sizeof(who), "chardev %s", id);
        err = bring_up(made, who, error, error_size);
    }
    if (err) {
        free_chardev(made);
        return err;
    }
    idlist_add(&all, &made->node);
    *chr = made;
    chardev_kick(made);
    return 0;
}

void chardev_destroy(struct chardev *chr)
{
    idlist_remove(&all, &chr->node);
    if (chr->class->close) {
        chr->class->close(chr);
    }
    free_chardev(chr);
}

void chardev_destroy_all(void)
{
    while (all.first) {
        chardev_destroy(idlist_at(&all, 0));
    }
    chardev_restore_terminal();
}
