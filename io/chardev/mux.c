/*
 * One console for several front ends: what is typed goes to the one with the focus, what any of
 * them writes is shown. Commands begin with an escape character, Ctrl-A.
 *
 * Each front end has a ring of what was typed for it and it has not taken, so that commands work
 * while a guest does not read. When the ring is full, the terminal waits.
 */
#include "io/chardev/internal.h"
#include "io/loop/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 2048 };

struct ring {
    unsigned head, count;
    uint8_t bytes[RING];
};

struct chardev_mux {
    struct chardev *chr;
    unsigned focus;
    bool escaped; /* the escape character came last */
    bool flushing;
    bool stamps; /* lines of output get the time */
    bool midline;
    int64_t started; /* real time of the first stamp, or 0 */
    size_t pending;  /* bytes of a stamp that the kind has not taken */
    char stamp[32];
    struct ring rings[CHARDEV_MAX_FRONTS];
};

static unsigned char escape = 1;

static const struct {
    char key;
    const char *help;
} commands[] = {
    {'h', "print this help"},
    {'x', "exit emulator"},
    {'b', "send break"},
    {'c', "switch between console and monitor"},
    {'t', "toggle console timestamps"},
};

struct chardev_mux *mux_create(struct chardev *chr)
{
    struct chardev_mux *mux = calloc(1, sizeof(*mux));

    if (mux) {
        mux->chr = chr;
    }
    return mux;
}

void mux_destroy(struct chardev_mux *mux)
{
    free(mux);
}

void chardev_set_escape(unsigned char value)
{
    escape = value;
}

size_t mux_room(const struct chardev_mux *mux)
{
    return RING - mux->rings[mux->focus].count;
}

/* ---- focus ----------------------------------------------------------------------------------- */

static void tell(struct chardev_mux *mux, unsigned front, enum chardev_event event)
{
    const struct chardev_front *to = &mux->chr->fronts[front];

    if (to->handlers && to->handlers->event) {
        to->handlers->event(to->opaque, event);
    }
}

static void set_focus(struct chardev_mux *mux, unsigned front)
{
    if (mux->focus != front) {
        tell(mux, mux->focus, CHARDEV_FOCUS_OUT);
    }
    mux->focus = front;
    tell(mux, front, CHARDEV_FOCUS_IN);
}

void chardev_focus(struct chardev *chr, const void *opaque)
{
    for (unsigned i = 0; chr->mux && i < CHARDEV_MAX_FRONTS; i++) {
        if (chr->fronts[i].handlers && chr->fronts[i].opaque == opaque && chr->mux->focus != i) {
            set_focus(chr->mux, i);
        }
    }
}

/* To the next front end there is. */
static void change_focus(struct chardev_mux *mux)
{
    for (unsigned i = 1; i < CHARDEV_MAX_FRONTS; i++) {
        unsigned next = (mux->focus + i) % CHARDEV_MAX_FRONTS;

        if (mux->chr->fronts[next].handlers) {
            set_focus(mux, next);
            return;
        }
    }
}

void mux_attached(struct chardev_mux *mux, unsigned front)
{
    mux->rings[front].count = 0;
    set_focus(mux, front);
}

void mux_detached(struct chardev_mux *mux, unsigned front)
{
    mux->rings[front].count = 0;
    if (mux->focus == front) {
        change_focus(mux);
    }
}

/* ---- what is typed --------------------------------------------------------------------------- */

void mux_flush(struct chardev_mux *mux)
{
    if (mux->flushing) {
        return; /* a front end that asks for more while it gets some */
    }
    mux->flushing = true;
    for (unsigned i = 0; i < CHARDEV_MAX_FRONTS; i++) {
        struct ring *ring = &mux->rings[i];
        const struct chardev_front *front = &mux->chr->fronts[i];

        while (ring->count && front->handlers) {
            size_t room = front->handlers->can_receive(front->opaque);
            unsigned run = RING - ring->head < ring->count ? RING - ring->head : ring->count;
            unsigned n = room < run ? (unsigned)room : run;
            unsigned at = ring->head;

            if (!n) {
                break;
            }
            ring->head = (ring->head + n) % RING;
            ring->count -= n;
            front->handlers->receive(front->opaque, ring->bytes + at, n);
        }
    }
    mux->flushing = false;
}

static void type(struct chardev_mux *mux, uint8_t byte)
{
    struct ring *ring = &mux->rings[mux->focus];

    if (ring->count < RING) {
        ring->bytes[(ring->head + ring->count++) % RING] = byte;
    }
}

/* Best effort: a terminal that takes nothing now misses the text. */
static void show(struct chardev_mux *mux, const char *text)
{
    mux->chr->class->write(mux->chr, (const uint8_t *)text, strlen(text));
}

static void help(struct chardev_mux *mux)
{
    char text[512], name[16];
    int n;

    if (escape >= 1 && escape <= 26) {
        snprintf(name, sizeof(name), "C-%c", escape - 1 + 'a');
    } else {
        snprintf(name, sizeof(name), "\\x%02x", escape);
    }
    n = snprintf(text, sizeof(text), "\r\n");
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        n += snprintf(text + n, sizeof(text) - (size_t)n, "%-4s %c    %s\r\n", name,
                      commands[i].key, commands[i].help);
    }
    snprintf(text + n, sizeof(text) - (size_t)n, "%-4s %-4s %s\r\n", name, name,
             "sends the escape character");
    show(mux, text);
}

static void command(struct chardev_mux *mux, uint8_t key)
{
    if (key == escape) {
        type(mux, key);
        return;
    }
    switch (key) {
    case 'h':
    case '?':
        help(mux);
        break;
    case 'x':
        show(mux, "\r\n");
        chardev_quit();
        break;
    case 'b':
        tell(mux, mux->focus, CHARDEV_BREAK);
        break;
    case 'c':
        change_focus(mux);
        break;
    case 't':
        mux->stamps = !mux->stamps;
        mux->started = 0;
        mux->midline = false;
        break;
    default:
        break;
    }
}

void mux_deliver(struct chardev_mux *mux, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (mux->escaped) {
            mux->escaped = false;
            command(mux, bytes[i]);
        } else if (bytes[i] == escape) {
            mux->escaped = true;
        } else {
            type(mux, bytes[i]);
        }
    }
    mux_flush(mux);
}

/* ---- what is shown --------------------------------------------------------------------------- */

/* Writes out what is left of a stamp; false when the kind does not take all. */
static bool write_stamp(struct chardev_mux *mux)
{
    if (mux->pending) {
        const char *rest = mux->stamp + strlen(mux->stamp) - mux->pending;

        mux->pending -= mux->chr->class->write(mux->chr, (const uint8_t *)rest, mux->pending);
    }
    return !mux->pending;
}

static void make_stamp(struct chardev_mux *mux)
{
    int64_t now = loop_clock_now(LOOP_CLOCK_REALTIME);

    if (!mux->started) {
        mux->started = now;
    }
    int64_t ms = (now - mux->started) / 1000000;

    snprintf(mux->stamp, sizeof(mux->stamp), "[%02" PRId64 ":%02d:%02d.%03d] ", ms / 3600000,
             (int)(ms / 60000 % 60), (int)(ms / 1000 % 60), (int)(ms % 1000));
    mux->pending = strlen(mux->stamp);
}

size_t mux_write(struct chardev_mux *mux, const uint8_t *bytes, size_t size)
{
    struct chardev *chr = mux->chr;
    size_t done = 0;

    if (!write_stamp(mux)) {
        return 0;
    }
    if (!mux->stamps) {
        return chr->class->write(chr, bytes, size);
    }
    while (done < size) {
        if (!mux->midline) {
            make_stamp(mux);
            mux->midline = true;
        }
        if (!write_stamp(mux)) {
            break;
        }
        const uint8_t *end = memchr(bytes + done, '\n', size - done);
        size_t line = end ? (size_t)(end - bytes) + 1 - done : size - done;
        size_t n = chr->class->write(chr, bytes + done, line);

        done += n;
        if (n < line) {
            break;
        }
        mux->midline = !end;
    }
    return done;
}
