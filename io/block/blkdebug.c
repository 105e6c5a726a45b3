/*
 * The filter "blkdebug": lets requests fail on purpose.
 *
 * inject-error.N.* are rules as QEMU has them: when the event comes in the right state the rule is
 * armed, and requests of its kind and place fail, one of them or all. The events are what this node
 * can see by itself: read_aio, write_aio, pwritev_zero, flush_to_disk, and "none", with which a
 * rule is always armed. set-state.N.* change the state at an event.
 *
 * fail-request=N lets just the N-th request fail, and fail-from=N that and all after it, as when a
 * disk goes away, until blkdebug_heal(); fail-errno says with what, and with fail-late=on they are
 * done before they fail, as when only the answer is lost. With those a test walks through every
 * request of an operation. Changes of the size count as requests for them.
 */
#include "io/block/blkdebug.h"
#include "io/block/async.h"
#include "io/block/drivers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RULES 32

enum event { EVENT_NONE, EVENT_READ, EVENT_WRITE, EVENT_ZERO, EVENT_FLUSH, EVENT_DISCARD };
enum iotype { IO_READ, IO_WRITE, IO_ZERO, IO_DISCARD, IO_FLUSH };

static const char *const event_names[] = {"none",          "read_aio", "write_aio", "pwritev_zero",
                                          "flush_to_disk", "discard",  NULL};
static const char *const iotype_names[] = {"read",    "write", "write-zeroes",
                                           "discard", "flush", NULL};

struct rule {
    bool set; /* has an event */
    int event, state, error, iotype;
    int64_t sector;
    bool any_type, once, immediately, armed;
};

struct transition {
    bool set;
    int event, state, new_state;
};

struct options {
    uint64_t align, fail_request, fail_from;
    int fail_errno;
    bool fail_late;
    struct rule rule[MAX_RULES];
    struct transition transition[MAX_RULES];
};

struct blkdebug {
    pthread_mutex_t lock;
    int state;
    uint64_t requests;
    bool healed;
};

static const struct property blkdebug_properties[] = {
    PROPERTY(SIZE, "align", struct options, align, .max = 1u << 30,
             .help = "alignment that requests must have"),
    PROPERTY(U64, "fail-request", struct options, fail_request,
             .help = "number of the request that fails; 0: none"),
    PROPERTY(U64, "fail-from", struct options, fail_from,
             .help = "number of the request from which on all fail; 0: none"),
    PROPERTY(I32, "fail-errno", struct options, fail_errno, .number = EIO, .low = 1, .high = 4095,
             .help = "error of fail-request and fail-from; 5: EIO"),
    PROPERTY(BOOL, "fail-late", struct options, fail_late,
             .help = "those are done, and fail after it"),
    PROPERTY_END,
};

static const struct block_child_rule blkdebug_children[] = {
    {.name = "image", .role = BLOCK_ROLE_FILTERED, .required = true},
    {0},
};

#define RULE(type, name, field, ...) PROPERTY(type, name, struct rule, field, __VA_ARGS__)

static const struct property rule_properties[] = {
    RULE(ENUM, "event", event, .names = event_names),
    RULE(I32, "state", state),
    RULE(I32, "errno", error, .low = 1, .high = 4095),
    RULE(ENUM, "iotype", iotype, .names = iotype_names),
    RULE(I64, "sector", sector, .low = -1, .high = INT64_MAX),
    RULE(BOOL, "once", once),
    RULE(BOOL, "immediately", immediately),
    PROPERTY_END,
};

static const struct property transition_properties[] = {
    PROPERTY(ENUM, "event", struct transition, event, .names = event_names),
    PROPERTY(I32, "state", struct transition, state),
    PROPERTY(I32, "new_state", struct transition, new_state),
    PROPERTY_END,
};

/* "inject-error.3.errno" is a setting of rule 3. */
static int blkdebug_option(struct block_node *node, const char *name, const char *value,
                           char *error, size_t error_size)
{
    struct options *o = node->options;
    bool inject = strncmp(name, "inject-error.", 13) == 0;
    char *end;
    unsigned long n;

    if (!inject && strncmp(name, "set-state.", 10) != 0) {
        return -ENOENT;
    }
    n = strtoul(name + (inject ? 13 : 10), &end, 10);
    if (*end != '.' || n >= MAX_RULES || !value) {
        snprintf(error, error_size, "blkdebug: %s: expected a number below %d and a setting", name,
                 MAX_RULES);
        return -EINVAL;
    }
    end++;
    if (inject) {
        struct rule *r = &o->rule[n];

        if (!r->set) {
            *r = (struct rule){.set = true, .error = EIO, .sector = -1, .any_type = true};
        }
        r->any_type &= strcmp(end, "iotype") != 0;
        return property_set(rule_properties, r, "blkdebug: inject-error", end, value, error,
                            error_size);
    }
    o->transition[n].set = true;
    return property_set(transition_properties, &o->transition[n], "blkdebug: set-state", end, value,
                        error, error_size);
}

static int blkdebug_open(struct block_node *node, char *error, size_t error_size)
{
    const struct block_node *image = node->file->node;
    const struct options *o = node->options;
    struct blkdebug *s = node->state;

    if (o->align & (o->align - 1)) {
        snprintf(error, error_size, "blkdebug: align=%llu: expected a power of two",
                 (unsigned long long)o->align);
        return -EINVAL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->state = 1;
    block_set_size(node, block_size(image));
    node->alignment = (uint32_t)o->align;
    node->write_flags = BLOCK_FUA;
    node->growable = image->growable;
    node->discard_granularity = image->discard_granularity;
    return 0;
}

static void blkdebug_close(struct block_node *node)
{
    struct blkdebug *s = node->state;

    pthread_mutex_destroy(&s->lock);
}

uint64_t blkdebug_requests(const struct block_node *node)
{
    const struct blkdebug *s = node->state;

    return s->requests;
}

void blkdebug_heal(struct block_node *node)
{
    struct blkdebug *s = node->state;

    pthread_mutex_lock(&s->lock);
    s->healed = true;
    pthread_mutex_unlock(&s->lock);
}

static void handle_event_locked(struct block_node *node, int event)
{
    struct options *o = node->options;
    struct blkdebug *s = node->state;
    int state = s->state;

    for (unsigned i = 0; i < MAX_RULES; i++) {
        struct rule *r = &o->rule[i];
        const struct transition *t = &o->transition[i];

        if (r->set && r->event == event && (!r->state || r->state == state)) {
            r->armed = true;
        }
        if (t->set && t->event == event && (!t->state || t->state == state)) {
            s->state = t->new_state;
        }
    }
}

/* What becomes of a request. */
struct fate {
    int err;   /* of it; 0: it is done */
    int later; /* when it is done */
};

static int result(struct fate fate, int err)
{
    return err ? err : fate.later;
}

/* By its number. */
static struct fate numbered_fate_locked(struct block_node *node)
{
    const struct options *o = node->options;
    struct blkdebug *s = node->state;
    uint64_t n = ++s->requests;
    bool fails = n == o->fail_request || (o->fail_from && n >= o->fail_from);
    int err = fails && !s->healed ? -o->fail_errno : 0;
    struct fate f = {0};

    *(o->fail_late ? &f.later : &f.err) = err;
    return f;
}

static struct fate fate(struct block_node *node, enum iotype type, uint64_t offset, uint64_t size)
{
    static const int events[] = {[IO_READ] = EVENT_READ,
                                 [IO_WRITE] = EVENT_WRITE,
                                 [IO_ZERO] = EVENT_ZERO,
                                 [IO_DISCARD] = EVENT_DISCARD,
                                 [IO_FLUSH] = EVENT_FLUSH};
    struct options *o = node->options;
    struct blkdebug *s = node->state;
    struct fate f;

    pthread_mutex_lock(&s->lock);
    f = numbered_fate_locked(node);
    handle_event_locked(node, events[type]);
    for (unsigned i = 0; i < MAX_RULES && !f.err; i++) {
        struct rule *r = &o->rule[i];
        bool here =
            r->sector < 0 || type == IO_FLUSH ||
            (offset <= (uint64_t)r->sector * 512 && (uint64_t)r->sector * 512 < offset + size);
        bool active = r->armed || (r->event == EVENT_NONE && (!r->state || r->state == s->state));

        if (r->set && active && here && (r->any_type || r->iotype == (int)type)) {
            f.err = -r->error;
            r->set = !r->once;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return f;
}

static int blkdebug_read(struct block_node *node, uint64_t offset, const struct block_vec *vec)
{
    struct fate f = fate(node, IO_READ, offset, vec->size);

    return f.err ? f.err : result(f, block_read(node->file->node, offset, vec));
}

static int blkdebug_write(struct block_node *node, uint64_t offset, const struct block_vec *vec,
                          unsigned flags)
{
    struct fate f = fate(node, IO_WRITE, offset, vec->size);

    return f.err ? f.err : result(f, block_write(node->file->node, offset, vec, flags));
}

static int blkdebug_zero(struct block_node *node, uint64_t offset, uint64_t size, unsigned flags)
{
    struct fate f = fate(node, IO_ZERO, offset, size);

    return f.err ? f.err : result(f, block_zero(node->file->node, offset, size, flags));
}

static int blkdebug_discard(struct block_node *node, uint64_t offset, uint64_t size)
{
    struct fate f = fate(node, IO_DISCARD, offset, size);

    return f.err ? f.err : result(f, block_discard(node->file->node, offset, size));
}

static int blkdebug_flush(struct block_node *node)
{
    struct fate f = fate(node, IO_FLUSH, 0, 0);

    return f.err ? f.err : result(f, block_flush(node->file->node));
}

static int blkdebug_truncate(struct block_node *node, uint64_t size, bool exact,
                             enum block_preallocation preallocation, char *error, size_t error_size)
{
    struct block_node *image = node->file->node;
    struct blkdebug *s = node->state;
    struct fate f;
    int err;

    pthread_mutex_lock(&s->lock);
    f = numbered_fate_locked(node);
    pthread_mutex_unlock(&s->lock);
    err = f.err ? f.err : block_truncate(image, size, exact, preallocation, error, error_size);
    block_set_size(node, block_size(image));
    return result(f, err);
}

const struct block_driver block_blkdebug = {
    .name = "blkdebug",
    .is_filter = true,
    .options = blkdebug_properties,
    .options_size = sizeof(struct options),
    .state_size = sizeof(struct blkdebug),
    .children = blkdebug_children,
    .option = blkdebug_option,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .read = blkdebug_read,
    .write = blkdebug_write,
    .zero = blkdebug_zero,
    .discard = blkdebug_discard,
    .flush = blkdebug_flush,
    .truncate = blkdebug_truncate,
    .submit = block_async_soon,
};
