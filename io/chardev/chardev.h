/*
 * Character devices: the host's end of serial ports, consoles and monitors.
 *
 * A chardev has one front end at a time (a device), which gets bytes when it can take them, and
 * writes bytes. All on the main loop, under the machine lock.
 */
#ifndef TINAMOU_IO_CHARDEV_CHARDEV_H
#define TINAMOU_IO_CHARDEV_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct loop;

enum chardev_event {
    CHARDEV_OPENED, /* somebody is at the other end */
    CHARDEV_CLOSED,
    CHARDEV_BREAK, /* a serial break */
};

/* The front end's callbacks. */
struct chardev_handlers {
    /* How many bytes receive() may get now; 0: none, until chardev_accept() is called. */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *bytes, size_t size);
    void (*event)(void *opaque, enum chardev_event event); /* may be NULL */
    /* The host takes more, after chardev_write() took less than asked. May be NULL. */
    void (*writable)(void *opaque);
};

/*
 * Makes one from what -chardev has ("socket,id=s0,path=/x,server=on,wait=off"), or with
 * chardev_create_legacy() from what -serial and the like have ("stdio", "mon:stdio", "pty",
 * "unix:/x,server,nowait", "tcp:host:port,server", "telnet:...", "file:x", "pipe:x", "null",
 * "none", "chardev:ID"); then id names it. "mux=on" lets several front ends share one (Ctrl-A c
 * changes, Ctrl-A x ends the process, Ctrl-A b sends a break, Ctrl-A h helps). 0 with *chr, or
 * -errno with a line in error[].
 */
int chardev_create(struct chardev **chr, struct loop *loop, const char *options, char *error,
                   size_t error_size);
int chardev_create_legacy(struct chardev **chr, struct loop *loop, const char *id, const char *spec,
                          char *error, size_t error_size);
struct chardev *chardev_find(const char *id);
const char *chardev_id(const struct chardev *chr);
/* The n-th, or NULL; and what `query-chardev` calls its filename. */
struct chardev *chardev_at(unsigned n);
const char *chardev_filename(const struct chardev *chr);
/* Frees one without a front end; chardev_destroy_all() also gives the terminal back as it was. */
void chardev_destroy(struct chardev *chr);
void chardev_destroy_all(void);

/* Attaches a front end, or with NULL detaches it. -EBUSY when there is one already. */
int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque);
/* can_receive() may say something else now. */
void chardev_accept(struct chardev *chr);
/* Writes; how many bytes were taken, which is less than size when the host is slow. Nobody at the
 * other end: all are taken and lost. */
size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size);
bool chardev_is_open(const struct chardev *chr);

/* What "Ctrl-A x" and a closing terminal ask for; set once by system/. */
void chardev_set_quit(void (*quit)(void *opaque), void *opaque);

/* Puts the terminal back as it was. Async-signal-safe; for exits by signals. */
void chardev_restore_terminal(void);

#endif
