/*
 * Character devices: the host's end of serial ports, consoles and monitors.
 *
 * A chardev has one front end at a time (a device), which gets bytes when it can take them, and
 * writes bytes. Everything here is called under the machine lock; callbacks run on the main loop,
 * but chardev_write() and chardev_accept() may come from any thread.
 */
#ifndef TINAMOU_IO_CHARDEV_CHARDEV_H
#define TINAMOU_IO_CHARDEV_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct chardev;
struct loop;

enum chardev_event {
    CHARDEV_OPENED, /* somebody is at the other end */
    CHARDEV_CLOSED,
    CHARDEV_BREAK,     /* a serial break */
    CHARDEV_FOCUS_IN,  /* of several front ends, this one gets what is typed */
    CHARDEV_FOCUS_OUT, /* not any more */
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
 * "none", "chardev:ID"); then id names it. "mon:" in front means mux=on; whoever calls attaches the
 * monitor. "mux=on" lets several front ends share one (Ctrl-A c changes, Ctrl-A x ends the process,
 * Ctrl-A b sends a break, Ctrl-A h helps). SIGPIPE is ignored from then on. 0 with *chr, or -errno
 * with a line in error[].
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
/* Its kind: "stdio", "socket", ... */
const char *chardev_kind(const struct chardev *chr);
/* Does it connect again, when its connection is lost? */
bool chardev_reconnects(const struct chardev *chr);
/* Frees one without a front end; chardev_destroy_all() also gives the terminal back as it was. */
void chardev_destroy(struct chardev *chr);
void chardev_destroy_all(void);

/*
 * Attaches a front end, or with handlers NULL detaches it (of several, the one of `opaque`). -EBUSY
 * when there is one already; a multiplexed one takes four, and the latest gets the focus. An open
 * chardev tells the front end so at once.
 */
int chardev_attach(struct chardev *chr, const struct chardev_handlers *handlers, void *opaque);
/* can_receive() may say something else now. */
void chardev_accept(struct chardev *chr);
/* Writes; how many bytes were taken, which is less than size when the host is slow. Nobody at the
 * other end: all are taken and lost. */
size_t chardev_write(struct chardev *chr, const uint8_t *bytes, size_t size);
bool chardev_is_open(const struct chardev *chr);

/* Gives the focus of a multiplexed one to the front end of `opaque`. */
void chardev_focus(struct chardev *chr, const void *opaque);

/* What the monitors' ringbuf-read and ringbuf-write do: how many bytes were taken from the ring, or
 * handed to the front end; -EINVAL for another kind. */
ssize_t chardev_ringbuf_read(struct chardev *chr, uint8_t *bytes, size_t size);
ssize_t chardev_ringbuf_write(struct chardev *chr, const uint8_t *bytes, size_t size);

/* The character that begins a command of a multiplexed console, 1 (Ctrl-A) unless set (-echr). */
void chardev_set_escape(unsigned char escape);

/* What "Ctrl-A x" and a closing terminal ask for; set once by system/. */
void chardev_set_quit(void (*quit)(void *opaque), void *opaque);

/* Puts the terminal back as it was. Async-signal-safe; for exits by signals. */
void chardev_restore_terminal(void);

#endif
