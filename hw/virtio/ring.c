/*
 * Split rings (virtio 1.2, clause 2.7) from the device's side.
 *
 * The three areas of a ring are mapped when it is first used and again when the memory map has
 * changed, so that indices and descriptors are plain loads and stores. A queue's registers belong
 * to vCPUs; what the device's loop works with is a copy that it takes when queue->round has
 * changed. A chain remembers its round: one that comes back after a reset is only freed.
 *
 * Everything in a ring is the driver's word. Each value is read once, into a local, and checked
 * before use; a chain has at most as many descriptors as its table, so no loop is endless.
 *
 * Barriers, as clauses 2.7.13 and 2.7.14 have them for the other side: the driver's index is loaded
 * with acquire before the entries it covers; ours is stored with release behind the entries;
 * between publishing one's own index and looking at the other's wish (used_event, flags), and
 * between writing a wish (avail_event) and looking at the other's index, is a full fence.
 */
#include "hw/virtio/core.h"
#include "mem/dirty.h"
#include "util/bits.h"

#include <stdlib.h>
#include <string.h>

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY     1

enum { DESC, AVAIL, USED };

#define FIRST_PIECES 16 /* room of a new chain */

/* ---- mapping --------------------------------------------------------------------------------- */

static void unmap(struct virtio_queue *queue)
{
    for (unsigned i = 0; i < 3; i++) {
        mem_access_unmap(&queue->maps[i], 0);
    }
    queue->mapped = false;
}

void virtio_queue_release(struct virtio_queue *queue)
{
    unmap(queue);
    while (queue->spare) {
        struct virtio_chain *chain = queue->spare;

        queue->spare = chain->next;
        free(chain->pieces);
        free(chain);
    }
}

static bool map_area(struct virtio_queue *queue, unsigned area, uint64_t gpa, uint64_t size,
                     unsigned align)
{
    struct mem_mapping *map = &queue->maps[area];

    return gpa % align == 0 &&
           mem_access_map(queue->core->bus->space, mem_gpa(gpa), size, area == USED, map) == 0 &&
           map->size == size && (uintptr_t)map->host % align == 0;
}

static bool map_areas(struct virtio_queue *queue)
{
    const struct virtio_ring_setup *setup = &queue->setup;
    unsigned event = virtio_has(queue->core->device, VIRTIO_F_EVENT_IDX) ? 2 : 0;

    unmap(queue);
    queue->mapped = map_area(queue, DESC, setup->desc, UINT64_C(16) * setup->size, 16) &&
                    map_area(queue, AVAIL, setup->driver, 4 + 2 * setup->size + event, 2) &&
                    map_area(queue, USED, setup->device, 4 + 8 * setup->size + event, 4);
    if (!queue->mapped) {
        virtio_broken(queue->core->device, "a ring is not in RAM, or not aligned");
        return false;
    }
    queue->desc = (const struct virtio_ring_desc *)queue->maps[DESC].host;
    queue->avail = (const struct virtio_ring_avail *)queue->maps[AVAIL].host;
    queue->used = (struct virtio_ring_used *)queue->maps[USED].host;
    return true;
}

static uint16_t *avail_event(struct virtio_queue *queue)
{
    return (uint16_t *)&queue->used->ring[queue->setup.size];
}

static void used_dirty(struct virtio_queue *queue)
{
    struct mem_mapping *map = &queue->maps[USED];

    mem_dirty_set(map->ram, map->ram_offset, map->size);
}

/* Has the driver notify about the chain at next_avail. */
static void arm(struct virtio_queue *queue)
{
    if (virtio_has(queue->core->device, VIRTIO_F_EVENT_IDX)) {
        queue->armed = queue->next_avail;
        __atomic_store_n(avail_event(queue), queue->next_avail, __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&queue->used->flags, 0, __ATOMIC_RELAXED);
    }
    atomic_thread_fence(memory_order_seq_cst);
    used_dirty(queue);
}

/* Takes the driver's set-up over, or maps the areas again. */
static bool refresh(struct virtio_queue *queue)
{
    struct virtio_core *core = queue->core;
    bool fresh = false;
    uint32_t maps = atomic_load_explicit(&core->map_changes, memory_order_acquire);
    uint32_t round = atomic_load_explicit(&queue->round, memory_order_acquire);

    if (round != queue->seen) {
        lock_acquire(&core->lock);
        queue->seen = atomic_load_explicit(&queue->round, memory_order_relaxed);
        queue->setup = queue->published;
        lock_release(&core->lock);
        queue->next_avail = queue->last_avail = queue->setup.next_avail;
        queue->next_used = queue->setup.next_used;
        queue->pushed = 0;
        queue->in_use = 0;
        queue->quiet = false;
        queue->mapped = false;
        if (!(queue->seen & 1)) {
            return false;
        }
        fresh = true;
    }
    queue->seen_map = maps;
    if (!map_areas(queue)) {
        return false;
    }
    if (fresh) {
        arm(queue);
    }
    return true;
}

/* Is the ring of this round there, and does anybody want to see it? */
static inline bool usable(struct virtio_queue *queue)
{
    struct virtio_core *core = queue->core;
    uint32_t round = atomic_load_explicit(&queue->round, memory_order_acquire);

    if (!(round & 1) || atomic_load_explicit(&core->broken, memory_order_relaxed)) {
        return false;
    }
    if (round == queue->seen && queue->mapped &&
        atomic_load_explicit(&core->map_changes, memory_order_relaxed) == queue->seen_map) {
        return true;
    }
    return refresh(queue);
}

static bool works(const struct virtio_core *core)
{
    return atomic_load_explicit(&core->running, memory_order_acquire) &&
           atomic_load_explicit(&core->dma, memory_order_relaxed);
}

bool virtio_queue_is_ready(const struct virtio_queue *queue)
{
    return works(queue->core) && atomic_load_explicit(&queue->round, memory_order_acquire) & 1 &&
           !atomic_load_explicit(&queue->core->broken, memory_order_relaxed);
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* The windows that new chains use. */
static struct virtio_ram *current_ram(struct virtio_core *core, bool fresh)
{
    uint32_t maps = atomic_load_explicit(&core->map_changes, memory_order_acquire);

    if (!core->ram || core->ram_map != maps || fresh) {
        virtio_ram_unref(core->ram);
        core->ram = virtio_ram_create();
        core->ram_map = maps;
    }
    return core->ram;
}

static struct virtio_chain *chain_get(struct virtio_queue *queue)
{
    struct virtio_chain *chain = queue->spare;

    if (chain) {
        queue->spare = chain->next;
    } else {
        chain = calloc(1, sizeof(*chain));
        if (!chain) {
            return NULL;
        }
        chain->queue = queue;
        chain->room = FIRST_PIECES;
        chain->pieces = malloc(chain->room * sizeof(*chain->pieces));
        if (!chain->pieces) {
            free(chain);
            return NULL;
        }
    }
    chain->out_count = chain->in_count = 0;
    chain->out_size = chain->in_size = 0;
    chain->ram = NULL;
    return chain;
}

static void chain_put(struct virtio_chain *chain)
{
    struct virtio_queue *queue = chain->queue;

    virtio_ram_unref(chain->ram);
    chain->ram = NULL;
    chain->next = queue->spare;
    queue->spare = chain;
}

/* The device has no hold of the chain any more. */
static void chain_returned(struct virtio_chain *chain)
{
    struct virtio_queue *queue = chain->queue;

    queue->taken--;
    if (chain->round == queue->seen) {
        queue->in_use--;
    }
    chain_put(chain);
}

static bool add_piece(struct virtio_chain *chain, uint8_t *host, uint64_t size, bool write)
{
    unsigned n = chain->out_count + chain->in_count;

    if (n == chain->room) {
        struct iovec *more = realloc(chain->pieces, 2 * n * sizeof(*more));

        if (!more) {
            return false;
        }
        chain->pieces = more;
        chain->room = 2 * n;
    }
    chain->pieces[n] = (struct iovec){.iov_base = host, .iov_len = size};
    if (write) {
        chain->in_count++;
        chain->in_size += size;
    } else {
        chain->out_count++;
        chain->out_size += size;
    }
    return true;
}

/* The answer of those below when windows do not suffice: the chain is begun again with fresh ones,
 * for it holds only one set of them. */
static const char *const again = "again";

/* Each of these returns NULL, or why the chain is not taken. */
static const char *add_buffer(struct virtio_chain *chain, uint64_t gpa, uint64_t size, bool write)
{
    while (size) {
        uint64_t got;
        bool full;
        uint8_t *host = virtio_ram_find(chain->ram, chain->queue->core->bus->space, gpa, size,
                                        write, &got, &full);

        if (!host) {
            return full ? again : "a buffer is not in RAM";
        }
        if (chain->out_count + chain->in_count == VIRTIO_MAX_PIECES) {
            return "a chain is too long";
        }
        if (!add_piece(chain, host, got, write)) {
            return "out of memory";
        }
        gpa += got;
        size -= got;
    }
    return NULL;
}

/* A copy that the driver cannot change between checks. */
static struct virtio_ring_desc read_desc(const struct virtio_ring_desc *table, unsigned n)
{
    struct virtio_ring_desc desc;

    memcpy(&desc, (const uint8_t *)table + n * sizeof(desc), sizeof(desc));
    __asm__ volatile("" ::: "memory");
    return desc;
}

/* Collects the chain that starts at chain->head; NULL, or why not. */
static const char *walk(struct virtio_chain *chain)
{
    struct virtio_queue *queue = chain->queue;
    const struct virtio_ring_desc *table = queue->desc;
    unsigned count = queue->setup.size, seen = 0;
    bool indirect = false;

    for (unsigned n = chain->head;;) {
        struct virtio_ring_desc desc = read_desc(table, n);

        if (++seen > count) {
            return "a chain has a loop";
        }
        if (!desc.size) {
            return "a descriptor is empty";
        }
        if (desc.flags & DESC_INDIRECT) {
            uint64_t got;
            bool full;

            /* Clause 2.7.5.3.1. */
            if (indirect || desc.flags & DESC_NEXT ||
                !virtio_has(queue->core->device, VIRTIO_F_INDIRECT_DESC)) {
                return "an indirect descriptor where none may be";
            }
            if (desc.size % sizeof(desc)) {
                return "a table of descriptors is no multiple of one";
            }
            table = (const struct virtio_ring_desc *)virtio_ram_find(
                chain->ram, queue->core->bus->space, desc.address, desc.size, false, &got, &full);
            if (!table || got != desc.size) {
                return full ? again : "a table of descriptors is not in RAM";
            }
            indirect = true;
            count = desc.size / (unsigned)sizeof(desc);
            seen = n = 0;
            continue;
        }
        bool write = desc.flags & DESC_WRITE;

        if (!write && chain->in_count) {
            return "a chain has pieces to read behind pieces to write";
        }
        const char *why = add_buffer(chain, desc.address, desc.size, write);

        if (why) {
            return why;
        }
        if (!(desc.flags & DESC_NEXT)) {
            return NULL;
        }
        n = desc.next;
        if (n >= count) {
            return "a chain leads out of its table";
        }
    }
}

static const char *collect(struct virtio_chain *chain)
{
    const char *why = again;

    for (unsigned i = 0; i < 2 && why == again; i++) {
        chain->ram = current_ram(chain->queue->core, i);
        if (!chain->ram) {
            return "out of memory";
        }
        chain->ram->references++;
        chain->out_count = chain->in_count = 0;
        chain->out_size = chain->in_size = 0;
        why = walk(chain);
        if (why == again) {
            virtio_ram_unref(chain->ram);
            chain->ram = NULL;
        }
    }
    return why == again ? "a chain is scattered over too many RAMs" : why;
}

/* Is there a chain at next_avail? Breaks the device when the index says what cannot be. */
static bool is_available(struct virtio_queue *queue)
{
    if (queue->last_avail != queue->next_avail) {
        return true;
    }
    queue->last_avail = __atomic_load_n(&queue->avail->index, __ATOMIC_ACQUIRE);
    if ((uint16_t)(queue->last_avail - queue->next_avail) > queue->setup.size) {
        queue->last_avail = queue->next_avail;
        virtio_broken(queue->core->device, "a ring's index has jumped");
        return false;
    }
    return queue->last_avail != queue->next_avail;
}

/* With event indices a notification comes for the chain that avail_event names, and no other. */
static bool find_available(struct virtio_queue *queue)
{
    if (is_available(queue)) {
        return true;
    }
    if (queue->quiet || !virtio_has(queue->core->device, VIRTIO_F_EVENT_IDX) ||
        queue->armed == queue->next_avail) {
        return false;
    }
    arm(queue);
    return is_available(queue);
}

/* There are chains; has this call of the handler taken its share? It is called again, then. */
static bool is_exhausted(struct virtio_queue *queue)
{
    if (queue->handling && !queue->budget) {
        queue->exhausted = true;
        return true;
    }
    return false;
}

struct virtio_chain *virtio_pop(struct virtio_queue *queue)
{
    struct virtio_core *core = queue->core;

    if (!works(core) || !usable(queue) || !find_available(queue) || is_exhausted(queue)) {
        return NULL;
    }
    uint16_t head = __atomic_load_n(
        &queue->avail->ring[queue->next_avail & (queue->setup.size - 1)], __ATOMIC_RELAXED);
    const char *why = NULL;

    if (queue->in_use == queue->setup.size) {
        why = "more chains are under way than there are descriptors";
    } else if (head >= queue->setup.size) {
        why = "a chain starts outside of the table";
    }
    struct virtio_chain *chain = why ? NULL : chain_get(queue);

    if (chain) {
        chain->head = head;
        chain->round = queue->seen;
        why = collect(chain);
    }
    if (why || !chain) {
        if (chain) {
            chain_put(chain);
        }
        virtio_broken(core->device, why ? why : "out of memory");
        return NULL;
    }
    chain->out = chain->pieces;
    chain->in = chain->pieces + chain->out_count;
    queue->next_avail++;
    queue->in_use++;
    queue->taken++;
    queue->budget -= queue->handling;
    return chain;
}

static void mark_written(struct virtio_chain *chain)
{
    for (unsigned i = 0; i < chain->in_count; i++) {
        virtio_ram_dirty(chain->ram, chain->in[i].iov_base, chain->in[i].iov_len);
    }
}

/*
 * Has the queue not been reset since? What is given back must not bring the ring of a later round
 * in: whether that may be used, and with which features, is known only when queues run.
 */
static bool is_current(const struct virtio_queue *queue, uint32_t round)
{
    return round & 1 && atomic_load_explicit(&queue->round, memory_order_acquire) == round;
}

void virtio_push(struct virtio_chain *chain, uint32_t written)
{
    struct virtio_queue *queue = chain->queue;

    if (written) {
        mark_written(chain);
    }
    if (is_current(queue, chain->round) && usable(queue)) {
        unsigned n = (uint16_t)(queue->next_used + queue->pushed) & (queue->setup.size - 1);

        __atomic_store_n(&queue->used->ring[n].head, chain->head, __ATOMIC_RELAXED);
        __atomic_store_n(&queue->used->ring[n].written, written, __ATOMIC_RELAXED);
        queue->pushed++;
    }
    chain_returned(chain);
}

/* Clause 2.7.7.2: has the used index passed the one that the driver wants to hear of? */
static bool wants_interrupt(struct virtio_queue *queue, uint16_t before, uint16_t now)
{
    if (virtio_has(queue->core->device, VIRTIO_F_EVENT_IDX)) {
        uint16_t event = __atomic_load_n(&queue->avail->ring[queue->setup.size], __ATOMIC_RELAXED);

        return (uint16_t)(now - event - 1) < (uint16_t)(now - before);
    }
    return !(__atomic_load_n(&queue->avail->flags, __ATOMIC_RELAXED) & AVAIL_NO_INTERRUPT);
}

void virtio_flush(struct virtio_queue *queue)
{
    uint16_t before = queue->next_used;

    if (!queue->pushed || !is_current(queue, queue->seen) || !usable(queue)) {
        queue->pushed = 0;
        return;
    }
    queue->next_used = (uint16_t)(before + queue->pushed);
    queue->pushed = 0;
    __atomic_store_n(&queue->used->index, queue->next_used, __ATOMIC_RELEASE);
    atomic_thread_fence(memory_order_seq_cst);
    used_dirty(queue);
    if (wants_interrupt(queue, before, queue->next_used)) {
        virtio_core_interrupt(queue->core, UINT64_C(1) << queue->index, false);
    }
}

void virtio_unpop(struct virtio_chain *chain)
{
    struct virtio_queue *queue = chain->queue;

    if (chain->round == queue->seen) {
        queue->next_avail--;
    }
    chain_returned(chain);
}

void virtio_chain_free(struct virtio_chain *chain)
{
    mark_written(chain); /* who knows */
    chain_returned(chain);
}

bool virtio_want_notify(struct virtio_queue *queue, bool want)
{
    if (!works(queue->core) || !usable(queue)) {
        return false;
    }
    queue->quiet = !want;
    if (want) {
        arm(queue);
        return is_available(queue) && !is_exhausted(queue);
    }
    if (!virtio_has(queue->core->device, VIRTIO_F_EVENT_IDX)) {
        __atomic_store_n(&queue->used->flags, USED_NO_NOTIFY, __ATOMIC_RELAXED);
        used_dirty(queue);
    }
    return false;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static size_t copy(const struct iovec *iov, unsigned count, size_t offset, uint8_t *to,
                   const uint8_t *from, size_t size)
{
    size_t done = 0;

    for (unsigned i = 0; i < count && done < size; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t n = iov[i].iov_len - offset;

        n = n < size - done ? n : size - done;
        if (to) {
            memcpy(to + done, (const uint8_t *)iov[i].iov_base + offset, n);
        } else {
            memcpy((uint8_t *)iov[i].iov_base + offset, from + done, n);
        }
        done += n;
        offset = 0;
    }
    return done;
}

size_t virtio_iov_read(const struct iovec *iov, unsigned count, size_t offset, void *to,
                       size_t size)
{
    return copy(iov, count, offset, to, NULL, size);
}

size_t virtio_iov_write(const struct iovec *iov, unsigned count, size_t offset, const void *from,
                        size_t size)
{
    return copy(iov, count, offset, NULL, from, size);
}
