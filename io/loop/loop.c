/*
 * Descriptors, bottom halves and posts on a GLib main context.
 *
 * A watched descriptor is a GSource of ours with one GPollFD. Bottom halves of a loop share one
 * eventfd, which makes scheduling async-signal-safe (a flag and a write); the list of bottom halves
 * is walked when it fires. They are few, and a walk is cheaper than a lock in a signal handler.
 *
 * Posts are a queue that each round begins with, without GLib and without poll(): requests of disks
 * that the host answers at once go around in a microsecond. Those of other threads come in by a
 * queue with a lock, and the eventfd wakes the loop for them.
 *
 * The machine lock is released around poll() by a poll function of ours. GLib calls that without an
 * argument of ours, so the loop that a thread runs is in a thread-local variable.
 */
#include "io/loop/internal.h"
#include "io/loop/wait.h"
#include "util/lock.h"

#include <errno.h>
#include <glib.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct posts {
    struct loop_post *first, **last;
    unsigned count;
};

struct loop {
    GMainContext *context;
    void (*acquire)(void);
    void (*release)(void);
    bool may_wait; /* in this round: then the lock is released around poll() */
    _Atomic bool quit;
    struct loop_wait wait;
    struct loop_timers *timers;
    int bh_fd; /* eventfd: some bottom half is scheduled */
    struct loop_fd *bh_watch;
    struct lock bh_lock; /* of the list */
    struct loop_bh *bhs;
    unsigned bh_walking; /* depth of walks; entries are unlinked at depth 0 */
    struct posts posts;  /* the loop's thread */
    unsigned rounds;     /* in a row that did posts only */
    struct lock sent_lock;
    struct posts sent; /* by other threads; under sent_lock */
    _Atomic bool any_sent;
};

struct loop_fd {
    GSource source; /* first: GLib allocates the whole */
    GPollFD poll;
    void (*fn)(void *opaque, unsigned events);
    void *opaque;
};

struct loop_bh {
    struct loop *loop;
    struct loop_bh *next;
    _Atomic bool scheduled, dead;
    void (*fn)(void *opaque);
    void *opaque;
};

static _Thread_local struct loop *current;

/* ---- descriptors ----------------------------------------------------------------------------- */

static gboolean fd_check(GSource *source)
{
    return ((struct loop_fd *)source)->poll.revents != 0;
}

static gboolean fd_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return FALSE;
}

static gboolean fd_dispatch(GSource *source, GSourceFunc unused, gpointer data)
{
    struct loop_fd *watch = (struct loop_fd *)source;
    unsigned got = watch->poll.revents, events = 0;

    events |= got & (G_IO_IN | G_IO_HUP) && watch->poll.events & G_IO_IN ? LOOP_IN : 0;
    events |= got & G_IO_OUT ? LOOP_OUT : 0;
    events |= got & (G_IO_ERR | G_IO_HUP | G_IO_NVAL) ? LOOP_ERR : 0;
    if (events) {
        watch->fn(watch->opaque, events);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs fd_funcs = {.prepare = fd_prepare, .check = fd_check, .dispatch = fd_dispatch};

static gushort poll_events(unsigned events)
{
    return (gushort)((events & LOOP_IN ? G_IO_IN : 0) | (events & LOOP_OUT ? G_IO_OUT : 0) |
                     G_IO_ERR | G_IO_HUP);
}

struct loop_fd *loop_fd_add(struct loop *loop, int fd, unsigned events,
                            void (*fn)(void *opaque, unsigned events), void *opaque)
{
    struct loop_fd *watch = (struct loop_fd *)g_source_new(&fd_funcs, sizeof(*watch));

    watch->poll.fd = fd;
    watch->poll.events = poll_events(events);
    watch->poll.revents = 0;
    watch->fn = fn;
    watch->opaque = opaque;
    g_source_add_poll(&watch->source, &watch->poll);
    g_source_set_can_recurse(&watch->source, TRUE);
    g_source_attach(&watch->source, loop->context);
    return watch;
}

void loop_fd_set_events(struct loop_fd *watch, unsigned events)
{
    watch->poll.events = poll_events(events);
    watch->poll.revents &= watch->poll.events;
}

void loop_fd_remove(struct loop_fd *watch)
{
    g_source_destroy(&watch->source);
    g_source_unref(&watch->source);
}

/* ---- bottom halves --------------------------------------------------------------------------- */

static void bh_sweep_locked(struct loop *loop)
{
    for (struct loop_bh **link = &loop->bhs; *link;) {
        struct loop_bh *bh = *link;

        if (atomic_load(&bh->dead)) {
            *link = bh->next;
            g_free(bh);
        } else {
            link = &bh->next;
        }
    }
}

static void bh_ready(void *opaque, unsigned events)
{
    struct loop *loop = opaque;
    uint64_t n;

    /* Cleared before the flags are read: what is scheduled from now on signals anew. */
    if (read(loop->bh_fd, &n, sizeof(n)) < 0 && errno != EAGAIN && errno != EINTR) {
        return;
    }
    lock_acquire(&loop->bh_lock);
    loop->bh_walking++;
    for (struct loop_bh *bh = loop->bhs; bh; bh = bh->next) {
        if (!atomic_exchange(&bh->scheduled, false) || atomic_load(&bh->dead)) {
            continue;
        }
        lock_release(&loop->bh_lock);
        bh->fn(bh->opaque);
        lock_acquire(&loop->bh_lock);
    }
    if (--loop->bh_walking == 0) {
        bh_sweep_locked(loop);
    }
    lock_release(&loop->bh_lock);
}

struct loop_bh *loop_bh_create(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    struct loop_bh *bh = g_try_new0(struct loop_bh, 1);

    if (!bh) {
        return NULL;
    }
    bh->loop = loop;
    bh->fn = fn;
    bh->opaque = opaque;
    lock_acquire(&loop->bh_lock);
    bh->next = loop->bhs;
    loop->bhs = bh;
    lock_release(&loop->bh_lock);
    return bh;
}

static void signal_eventfd(int fd)
{
    uint64_t one = 1;
    int saved = errno;
    ssize_t n;

    do {
        n = write(fd, &one, sizeof(one));
    } while (n < 0 && errno == EINTR);
    errno = saved;
}

void loop_bh_schedule(struct loop_bh *bh)
{
    if (!atomic_exchange(&bh->scheduled, true)) {
        signal_eventfd(bh->loop->bh_fd);
    }
}

void loop_bh_destroy(struct loop_bh *bh)
{
    struct loop *loop = bh->loop;

    lock_acquire(&loop->bh_lock);
    atomic_store(&bh->dead, true);
    if (!loop->bh_walking) {
        bh_sweep_locked(loop);
    }
    lock_release(&loop->bh_lock);
}

/* ---- posts ----------------------------------------------------------------------------------- */

static void posts_init(struct posts *posts)
{
    *posts = (struct posts){.last = &posts->first};
}

static void posts_add(struct posts *posts, struct loop_post *post)
{
    post->next = NULL;
    *posts->last = post;
    posts->last = &post->next;
    posts->count++;
}

static struct loop_post *posts_take(struct posts *posts)
{
    struct loop_post *post = posts->first;

    posts->first = post->next;
    posts->count--;
    if (!posts->first) {
        posts->last = &posts->first;
    }
    return post;
}

void loop_post(struct loop *loop, struct loop_post *post)
{
    bool first;

    if (current == loop) {
        posts_add(&loop->posts, post);
        return;
    }
    lock_acquire(&loop->sent_lock);
    first = !loop->sent.first;
    posts_add(&loop->sent, post);
    atomic_store(&loop->any_sent, true);
    lock_release(&loop->sent_lock);
    if (first) {
        signal_eventfd(loop->bh_fd);
    }
}

static void receive_posts(struct loop *loop)
{
    lock_acquire(&loop->sent_lock);
    atomic_store(&loop->any_sent, false);
    while (loop->sent.first) {
        posts_add(&loop->posts, posts_take(&loop->sent));
    }
    lock_release(&loop->sent_lock);
}

/* Those that are there now, one by one: a nested round does the others. */
static bool run_posts(struct loop *loop)
{
    unsigned n;

    if (atomic_load(&loop->any_sent)) {
        receive_posts(loop);
    }
    n = loop->posts.count;
    for (unsigned i = 0; i < n && loop->posts.first; i++) {
        struct loop_post *post = posts_take(&loop->posts);

        post->fn(post);
    }
    return n != 0;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static gint poll_unlocked(GPollFD *fds, guint count, gint timeout)
{
    struct loop *loop = current;
    bool unlock = loop && loop->release && loop->may_wait;

    if (unlock) {
        loop->release();
    }
    int n = loop ? loop_wait(&loop->wait, (struct pollfd *)fds, count, timeout)
                 : poll((struct pollfd *)fds, count, timeout);
    int saved = errno;

    if (unlock) {
        loop->acquire();
    }
    errno = saved;
    return n;
}

_Static_assert(sizeof(GPollFD) == sizeof(struct pollfd), "GLib's records are poll()'s");

struct loop *loop_create(void)
{
    struct loop *loop = g_try_new0(struct loop, 1);

    if (!loop) {
        return NULL;
    }
    loop->bh_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->bh_fd < 0) {
        g_free(loop);
        return NULL;
    }
    posts_init(&loop->posts);
    posts_init(&loop->sent);
    loop->context = g_main_context_new();
    g_main_context_set_poll_func(loop->context, poll_unlocked);
    loop->timers = loop_timers_create(loop);
    if (!loop->timers) {
        g_main_context_unref(loop->context);
        close(loop->bh_fd);
        g_free(loop);
        return NULL;
    }
    loop->bh_watch = loop_fd_add(loop, loop->bh_fd, LOOP_IN, bh_ready, loop);
    return loop;
}

void loop_destroy(struct loop *loop)
{
    loop_fd_remove(loop->bh_watch);
    loop_timers_destroy(loop->timers);
    bh_sweep_locked(loop);
    g_assert(!loop->bhs && !loop->posts.first && !loop->sent.first);
    close(loop->bh_fd);
    g_main_context_unref(loop->context);
    g_free(loop);
}

void loop_set_lock(struct loop *loop, void (*acquire)(void), void (*release)(void))
{
    loop->acquire = acquire;
    loop->release = release;
}

void loop_set_look(struct loop *loop, int64_t most)
{
    loop->wait.most = most;
}

/* A round inside of a bottom half: others of the same walk may be scheduled, whose signal was read
 * when the walk began. */
static void signal_rest(struct loop *loop)
{
    bool any = false;

    lock_acquire(&loop->bh_lock);
    for (struct loop_bh *bh = loop->bhs; bh && !any; bh = bh->next) {
        any = atomic_load(&bh->scheduled) && !atomic_load(&bh->dead);
    }
    lock_release(&loop->bh_lock);
    if (any) {
        signal_eventfd(loop->bh_fd);
    }
}

bool loop_iterate(struct loop *loop, bool wait)
{
    struct loop *outer = current;
    bool outer_may_wait = loop->may_wait;

    if (loop->bh_walking) {
        signal_rest(loop);
    }
    current = loop;
    loop->may_wait = wait;
    bool any = run_posts(loop);

    /* Who waits for the loop's lock has a chance in each round. */
    if (!any || loop->release || ++loop->rounds == LOOP_POSTS_ONLY) {
        loop->rounds = 0;
        any |= g_main_context_iteration(loop->context, wait && !any);
    }
    loop->may_wait = outer_may_wait;
    current = outer;
    return any;
}

void loop_run(struct loop *loop)
{
    while (!atomic_load(&loop->quit)) {
        loop_iterate(loop, true);
    }
    atomic_store(&loop->quit, false);
}

void loop_quit(struct loop *loop)
{
    atomic_store(&loop->quit, true);
    signal_eventfd(loop->bh_fd);
}

bool loop_is_current(const struct loop *loop)
{
    return current == loop;
}

struct _GMainContext *loop_context(struct loop *loop)
{
    return loop->context;
}

struct loop_timers *loop_timers_of(struct loop *loop)
{
    return loop->timers;
}
