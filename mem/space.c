/*
 * Publishing views. At the end of a transaction each space gets a new view; if it differs, readers
 * are switched over first and listeners are told afterwards, so a vCPU that leaves its accelerator
 * because a slot is missing finds the right answer in the view. The old view is freed when its
 * readers are gone, and the listeners have been told: it holds the references of its RAM.
 */
#include "mem/space.h"
#include "mem/dirty.h"

#include <assert.h>
#include <pthread.h>

struct epoch mem_epoch = EPOCH_INIT;

static struct mem_space *spaces; /* under the topology lock */

static _Thread_local struct epoch_reader thread_reader;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void thread_ends(void *reader)
{
    epoch_unregister(reader);
}

static void thread_key_make(void)
{
    int err = pthread_key_create(&thread_key, thread_ends);

    assert(!err);
    (void)err;
}

static void thread_register(void)
{
    pthread_once(&thread_once, thread_key_make);
    epoch_register(&mem_epoch, &thread_reader);
    pthread_setspecific(thread_key, &thread_reader);
}

const struct mem_view *mem_space_enter(struct mem_space *space)
{
    if (__builtin_expect(!thread_reader.epoch, 0)) {
        thread_register();
    }
    epoch_enter(&thread_reader);
    return atomic_load_explicit(&space->view, memory_order_acquire);
}

void mem_space_leave(void)
{
    epoch_leave(&thread_reader);
}

static void view_retired(struct epoch_node *node)
{
    mem_view_free((struct mem_view *)((char *)node - offsetof(struct mem_view, node)));
}

static bool same_eventfd(const struct mem_view_eventfd *a, const struct mem_view_eventfd *b)
{
    return a->gpa.value == b->gpa.value && a->region == b->region && a->data == b->data &&
           a->fd == b->fd && a->size == b->size && a->match == b->match;
}

/* The section of `view` that shows the same as `section`, or NULL. */
static const struct mem_section *find_same(const struct mem_view *view,
                                           const struct mem_section *section)
{
    const struct mem_section *s = view ? mem_view_find(view, section->first) : NULL;

    return s && mem_view_same_section(s, section) ? s : NULL;
}

static bool has_eventfd(const struct mem_view *view, const struct mem_view_eventfd *eventfd)
{
    const struct mem_view_eventfd *e = view ? mem_view_find_eventfd(view, eventfd->gpa) : NULL;

    for (; e && e < view->eventfds + view->eventfd_count && e->gpa.value == eventfd->gpa.value;
         e++) {
        if (same_eventfd(e, eventfd)) {
            return true;
        }
    }
    return false;
}

/* Tells one listener what it loses between two views; either may be NULL. */
static void tell_losses(struct mem_listener *l, struct mem_space *space,
                        const struct mem_view *before, const struct mem_view *after)
{
    if (l->begin) {
        l->begin(l, space);
    }
    for (unsigned i = before ? before->count : 0; i-- > 0;) {
        if (l->remove && !find_same(after, &before->sections[i])) {
            l->remove(l, &before->sections[i]);
        }
    }
    for (unsigned i = before ? before->eventfd_count : 0; i-- > 0;) {
        if (l->eventfd_remove && !has_eventfd(after, &before->eventfds[i])) {
            l->eventfd_remove(l, &before->eventfds[i]);
        }
    }
}

static void tell_gains(struct mem_listener *l, struct mem_space *space,
                       const struct mem_view *before, const struct mem_view *after)
{
    for (unsigned i = 0; i < (after ? after->count : 0); i++) {
        const struct mem_section *s = &after->sections[i], *old = find_same(before, s);

        if (!old && l->add) {
            l->add(l, s);
        } else if (old && old->logging != s->logging && l->log) {
            l->log(l, s, old->logging);
        }
    }
    for (unsigned i = 0; i < (after ? after->eventfd_count : 0); i++) {
        if (l->eventfd_add && !has_eventfd(before, &after->eventfds[i])) {
            l->eventfd_add(l, &after->eventfds[i]);
        }
    }
    if (l->commit) {
        l->commit(l, space);
    }
}

static bool same_view(const struct mem_view *a, const struct mem_view *b)
{
    if (a->count != b->count || a->eventfd_count != b->eventfd_count) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        if (!mem_view_same_section(&a->sections[i], &b->sections[i]) ||
            a->sections[i].logging != b->sections[i].logging) {
            return false;
        }
    }
    for (unsigned i = 0; i < a->eventfd_count; i++) {
        if (!same_eventfd(&a->eventfds[i], &b->eventfds[i])) {
            return false;
        }
    }
    return true;
}

static void update(struct mem_space *space)
{
    struct mem_view *before = atomic_load_explicit(&space->view, memory_order_relaxed);
    struct mem_view *after = mem_view_build(space->root);

    if (same_view(before, after)) {
        mem_view_free(after);
        return;
    }
    atomic_store_explicit(&space->view, after, memory_order_seq_cst);
    for (struct mem_listener *l = space->last; l; l = l->prev) {
        tell_losses(l, space, before, after);
    }
    for (struct mem_listener *l = space->first; l; l = l->next) {
        tell_gains(l, space, before, after);
    }
    epoch_defer(&mem_epoch, &before->node, view_retired);
}

static void update_all(void)
{
    for (struct mem_space *s = spaces; s; s = s->next) {
        update(s);
    }
}

void mem_space_init(struct mem_space *space, const char *name, struct mem_region *root)
{
    mem_region_begin();
    mem_region_changed = update_all;
    *space = (struct mem_space){.name = name, .root = root, .next = spaces};
    atomic_store(&space->view, mem_view_build(root));
    spaces = space;
    mem_region_commit();
}

void mem_space_destroy(struct mem_space *space)
{
    mem_region_begin();
    assert(!space->first);
    struct mem_space **link = &spaces;

    while (*link != space) {
        link = &(*link)->next;
    }
    *link = space->next;
    struct mem_view *view = atomic_exchange(&space->view, NULL);

    epoch_defer(&mem_epoch, &view->node, view_retired);
    mem_region_commit();
}

void mem_space_add_listener(struct mem_space *space, struct mem_listener *listener)
{
    mem_region_begin();
    struct mem_listener *after = space->last;

    while (after && after->priority > listener->priority) {
        after = after->prev;
    }
    listener->prev = after;
    listener->next = after ? after->next : space->first;
    *(after ? &after->next : &space->first) = listener;
    *(listener->next ? &listener->next->prev : &space->last) = listener;
    const struct mem_view *view = atomic_load(&space->view);

    tell_losses(listener, space, NULL, view);
    tell_gains(listener, space, NULL, view);
    mem_region_commit();
}

void mem_space_remove_listener(struct mem_space *space, struct mem_listener *listener)
{
    mem_region_begin();
    *(listener->prev ? &listener->prev->next : &space->first) = listener->next;
    *(listener->next ? &listener->next->prev : &space->last) = listener->prev;
    const struct mem_view *view = atomic_load(&space->view);

    tell_losses(listener, space, view, NULL);
    tell_gains(listener, space, view, NULL);
    mem_region_commit();
}

void mem_space_log_start(struct mem_ram *ram, enum mem_dirty_client client)
{
    mem_region_begin();
    atomic_fetch_or(&ram->logging, 1u << client);
    mem_region_commit_changed();
}

void mem_space_log_stop(struct mem_ram *ram, enum mem_dirty_client client)
{
    mem_region_begin();
    atomic_fetch_and(&ram->logging, ~(1u << client));
    mem_region_commit_changed();
}

void mem_space_log_sync(struct mem_ram *ram)
{
    mem_region_begin();
    for (struct mem_space *space = spaces; space; space = space->next) {
        const struct mem_view *view = atomic_load(&space->view);

        for (unsigned i = 0; i < view->count; i++) {
            for (struct mem_listener *l = space->first; l; l = l->next) {
                if (view->sections[i].ram == ram && l->log_sync) {
                    l->log_sync(l, &view->sections[i]);
                }
            }
        }
    }
    mem_region_commit();
}
