/*
 * Address spaces: a root region and the flat view of it, which is read without a lock.
 *
 * A machine has one for memory, on x86 another for I/O ports, and one for each bus master that sees
 * less. Readers bracket their use of a view by mem_space_enter() and mem_space_leave(); the checked
 * accessors of mem/access.h do so themselves.
 *
 * Listeners (accelerators with memory slots, vhost, the soft TLB) are told of every change as a
 * difference between two views.
 */
#ifndef TINAMOU_MEM_SPACE_H
#define TINAMOU_MEM_SPACE_H

#include "mem/view.h"

struct mem_space;

/*
 * Callbacks, each may be NULL; all run inside of the transaction that changes the space, on its
 * thread, when readers already see the new view. First each listener, from high priority to low,
 * gets begin, remove for what is gone and eventfd_remove; then each, from low to high, gets add for
 * what is new, log for what is logged differently, eventfd_add, and commit. After
 * commit returns, the listener keeps no pointer into a section that was removed: RAM blocks may go.
 * A section given to a callback is valid during it only.
 */
struct mem_listener {
    int priority; /* accelerators 10, others above */
    void (*begin)(struct mem_listener *listener, struct mem_space *space);
    void (*remove)(struct mem_listener *listener, const struct mem_section *section);
    void (*add)(struct mem_listener *listener, const struct mem_section *section);
    /* section->logging has changed, from `before`; nothing else has. */
    void (*log)(struct mem_listener *listener, const struct mem_section *section, uint32_t before);
    /* Bring what the accelerator knows of written pages into the dirty bits of section->ram. */
    void (*log_sync)(struct mem_listener *listener, const struct mem_section *section);
    void (*eventfd_remove)(struct mem_listener *listener, const struct mem_view_eventfd *eventfd);
    void (*eventfd_add)(struct mem_listener *listener, const struct mem_view_eventfd *eventfd);
    void (*commit)(struct mem_listener *listener, struct mem_space *space);
    struct mem_listener *next, *prev; /* private */
};

struct mem_space {
    const char *name; /* the caller's */
    struct mem_region *root;
    struct mem_view *_Atomic view;
    struct mem_listener *first, *last; /* by rising priority */
    struct mem_space *next;
};

/* Domain of flat views, regions and the RAM blocks behind them. */
extern struct epoch mem_epoch;

/*
 * Makes a space over root, which outlives it; root's own `enabled` counts, its place does not. May
 * be called inside of a transaction.
 */
void mem_space_init(struct mem_space *space, const char *name, struct mem_region *root);

/* The space has no listener any more, and nobody enters it from now on. */
void mem_space_destroy(struct mem_space *space);

/*
 * Adds a listener and shows it all that is there, as additions; or removes it and shows the same as
 * removals.
 */
void mem_space_add_listener(struct mem_space *space, struct mem_listener *listener);
void mem_space_remove_listener(struct mem_space *space, struct mem_listener *listener);

/*
 * The current view, which stays valid until the matching leave. Sections nest, also over several
 * spaces. Any thread made by pthread_create(); a thread that enters for the first time takes a lock
 * once. Never wait for another thread's progress inside.
 */
const struct mem_view *mem_space_enter(struct mem_space *space);
void mem_space_leave(void);

/*
 * Asks accelerators to keep dirty bits of a block for a client (migration or display), or not to
 * any more. Writes through this module set them always. The bits of a block that nobody has
 * cleared are set: start, then clear.
 */
void mem_space_log_start(struct mem_ram *ram, enum mem_dirty_client client);
void mem_space_log_stop(struct mem_ram *ram, enum mem_dirty_client client);

/* Has the listeners of all spaces bring in what they know; call it before reading dirty bits. */
void mem_space_log_sync(struct mem_ram *ram);

#endif
