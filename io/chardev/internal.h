/*
 * Between the kinds of character devices and what they share (chardev.c, mux.c, stream.c).
 *
 * The front end writes from any thread that holds the machine lock (a vCPU in a register access),
 * so write() only does the system call; whatever needs the loop (watching, closing, telling) is
 * left to kick(), which a bottom half calls on the loop's thread.
 */
#ifndef TINAMOU_IO_CHARDEV_INTERNAL_H
#define TINAMOU_IO_CHARDEV_INTERNAL_H

#include "io/chardev/chardev.h"
#include "io/loop/loop.h"
#include "util/idlist.h"
#include "util/property.h"

#include <sys/types.h>

enum {
    CHARDEV_MAX_FRONTS = 4, /* of a multiplexed one */
    CHARDEV_CHUNK = 4096,   /* bytes that are handed over at once */
    CHARDEV_FILENAME_MAX = 512,
};

struct chardev_class {
    const char *name; /* as -chardev has it */
    size_t size;      /* of the struct that begins with struct chardev */
    const struct property *properties;
    /* Properties are set. 0 or -errno with a message, without a prefix. */
    int (*open)(struct chardev *chr, char *error, size_t error_size);
    /* Takes bytes; never waits. After less than `size` it calls chardev_has_room() later. */
    size_t (*write)(struct chardev *chr, const uint8_t *bytes, size_t size);
    /* On the loop's thread: the front end may take more, or write() met something. May be NULL. */
    void (*kick)(struct chardev *chr);
    void (*close)(struct chardev *chr); /* may be NULL; also after an open() that failed */
};

struct chardev_front {
    const struct chardev_handlers *handlers; /* NULL: none */
    void *opaque;
};

struct chardev_mux;

/* The head of every kind's struct. */
struct chardev {
    struct idlist_node node; /* first */
    const struct chardev_class *class;
    struct loop *loop;
    struct loop_bh *bh;
    char filename[CHARDEV_FILENAME_MAX];
    bool open;       /* somebody is at the other end */
    bool reconnects; /* of itself, when nobody is there any more */
    bool blocked;    /* a write was short, and the front ends have not been told of room since */
    struct chardev_front fronts[CHARDEV_MAX_FRONTS];
    struct chardev_mux *mux; /* NULL: one front end */
    int log_fd;              /* -1: none */
    /* options of all kinds */
    bool with_mux, logappend;
    char *logfile;
};

/* The options that every kind has; at the end of its table. */
#define CHARDEV_PROPERTIES                                                                  \
    PROPERTY(BOOL, "mux", struct chardev, with_mux, .help = "several front ends share it"), \
        PROPERTY(STRING, "logfile", struct chardev, logfile, .help = "file of all output"), \
        PROPERTY(BOOL, "logappend", struct chardev, logappend,                              \
                 .help = "keep what the log file has")

extern const struct chardev_class chardev_null, chardev_ringbuf, chardev_file, chardev_pipe,
    chardev_stdio, chardev_pty, chardev_serial, chardev_socket, chardev_udp;

/* ---- what kinds call, on the loop's thread unless said otherwise ---- */

/* How many bytes the front end takes now. */
size_t chardev_room(struct chardev *chr);
/* Hands over at most chardev_room() bytes. */
void chardev_deliver(struct chardev *chr, const uint8_t *bytes, size_t size);
void chardev_set_open(struct chardev *chr, bool open);
void chardev_tell(struct chardev *chr, enum chardev_event event);
/* write() takes bytes again. */
void chardev_has_room(struct chardev *chr);
/* Has kick() called soon. Any thread. */
void chardev_kick(struct chardev *chr);
void chardev_quit(void);

/* ---- mux.c ---- */

/* The console in front of which several front ends sit; NULL: no memory. */
struct chardev_mux *mux_create(struct chardev *chr);
void mux_destroy(struct chardev_mux *mux);
size_t mux_room(const struct chardev_mux *mux);
void mux_deliver(struct chardev_mux *mux, const uint8_t *bytes, size_t size);
/* Hands over what the front ends have not taken before. */
void mux_flush(struct chardev_mux *mux);
size_t mux_write(struct chardev_mux *mux, const uint8_t *bytes, size_t size);
/* A front end came (it gets the focus) or went. */
void mux_attached(struct chardev_mux *mux, unsigned front);
void mux_detached(struct chardev_mux *mux, unsigned front);

/* ---- stream.c ---- */

/*
 * A pair of descriptors, non-blocking or such that never block, that carry bytes. Embedded by its
 * kind. They are the kind's to close.
 */
struct stream {
    struct chardev *chr;
    int in, out; /* may be the same; -1: none */
    struct loop_fd *in_watch, *out_watch;
    bool no_socket; /* `out` is no socket */
    bool ended;     /* nothing more comes in */
    bool waiting;   /* for `out` to take more */
    int failed;     /* -errno of a write; handled by stream_update() */
    /* Takes out of `size` bytes in place what is not data; how many are left. May be NULL. */
    size_t (*filter)(struct chardev *chr, uint8_t *bytes, size_t size);
    /* The other end is gone: `err` 0 at an end of file, else -errno. Once, by the loop's thread;
     * the stream may be stopped in it. */
    void (*hangup)(struct chardev *chr, int err);
};

/* Watches from now on what there is to be watched. */
void stream_start(struct stream *stream, struct chardev *chr, int in, int out);
/* The front end may take more, or a write met something. */
void stream_update(struct stream *stream);
/* Watches no more; in and out are -1. */
void stream_stop(struct stream *stream);
/* Takes bytes; any thread under the machine lock. After a failure everything is taken and lost. */
size_t stream_write(struct stream *stream, const uint8_t *bytes, size_t size);

/* ---- telnet.c ---- */

/* The protocol's state on one connection; zeroed at its start. */
struct telnet {
    unsigned state; /* of the parser of what comes in */
    uint8_t command;
    bool cr;     /* a carriage return came last */
    size_t held; /* bytes of `out` that the descriptor has not taken yet */
    uint8_t out[64];
};

/* Offers what a raw terminal needs. */
void telnet_greet(struct telnet *telnet);
/* Takes commands out of what has come; returns what is left, and whether a break was among it. */
size_t telnet_filter(struct telnet *telnet, uint8_t *bytes, size_t size, bool *is_break);
/* As stream_write(), of data that is escaped on its way. */
size_t telnet_write(struct telnet *telnet, struct stream *stream, const uint8_t *bytes,
                    size_t size);

/* The last error as a message of what was tried with a path: returns -errno. */
int chardev_fail(char *error, size_t error_size, const char *option, const char *value);

#endif
