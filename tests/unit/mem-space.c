/*
 * Flat views against a naive model: random trees of containers, RAM, registers and aliases are
 * changed at random; every probed address must show what a search of the tree says, and a listener
 * that only sees differences must end up with the same picture. Then readers race with rebuilds.
 */
#include "mem/access.h"
#include "mem/space.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define REGIONS 24
#define SPAN    (64 * MEM_PAGE_SIZE) /* addresses probed */
#define STEP    512
#define PROBES  (SPAN / STEP)
#define TREES   60
#define CHANGES 60

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t rnd(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

/* ---- the model: what each region is, kept apart from mem/'s own fields ----------------------- */

struct model {
    struct mem_region region;
    enum mem_region_kind kind;
    uint64_t size, target_offset, ram_offset, at;
    int target, parent; /* indices, -1: none */
    int priority;
    unsigned sequence; /* when it was added */
    bool enabled, readonly;
};

struct seen {
    const struct mem_region *region; /* NULL: nothing */
    uint64_t offset;
    bool readonly;
};

static struct model model[REGIONS];
static unsigned sequence;
static struct mem_ram *ram;

static bool resolve(int index, __int128 offset, bool readonly, struct seen *seen)
{
    const struct model *m = &model[index];
    bool tried[REGIONS] = {false};

    if (!m->enabled || offset < 0 || (m->size != MEM_SIZE_ALL && offset >= m->size)) {
        return false;
    }
    readonly |= m->readonly;
    if (m->kind == MEM_REGION_ALIAS) {
        return resolve(m->target, offset + m->target_offset, readonly, seen);
    }
    if (m->kind != MEM_REGION_CONTAINER) {
        *seen = (struct seen){&m->region, (uint64_t)offset, readonly};
        return true;
    }
    for (;;) {
        int best = -1;

        for (int i = 0; i < REGIONS; i++) {
            if (model[i].parent == index && !tried[i] &&
                (best < 0 || model[i].priority > model[best].priority ||
                 (model[i].priority == model[best].priority &&
                  model[i].sequence > model[best].sequence))) {
                best = i;
            }
        }
        if (best < 0) {
            return false;
        }
        tried[best] = true;
        if (resolve(best, offset - model[best].at, readonly, seen)) {
            return true;
        }
    }
}

/* Can `from` reach `to`, by whatever way? */
static bool reaches(int from, int to)
{
    if (from == to) {
        return true;
    }
    if (model[from].target >= 0 && reaches(model[from].target, to)) {
        return true;
    }
    for (int i = 0; i < REGIONS; i++) {
        if (model[i].parent == from && reaches(i, to)) {
            return true;
        }
    }
    return false;
}

static const struct mem_ops no_ops;

static void make_region(int index)
{
    struct model *m = &model[index];
    uint64_t pages = 1 + rnd(24), page = rnd(16);

    memset(m, 0, sizeof(*m));
    m->target = m->parent = -1;
    m->enabled = true;
    m->size = pages * MEM_PAGE_SIZE;
    switch (index == 0 ? 0 : rnd(5)) {
    case 0:
        m->kind = MEM_REGION_CONTAINER;
        m->size = index == 0 ? MEM_SIZE_ALL : m->size;
        mem_region_init_container(&m->region, "container", m->size);
        break;
    case 1:
        m->kind = MEM_REGION_RAM;
        m->ram_offset = page * MEM_PAGE_SIZE;
        m->readonly = rnd(4) == 0;
        mem_region_init_ram(&m->region, "ram", ram, m->ram_offset, m->size, m->readonly);
        break;
    case 2:
        m->kind = MEM_REGION_MMIO;
        m->size = STEP * (1 + rnd(80));
        mem_region_init_mmio(&m->region, "mmio", m->size, &no_ops, NULL, NULL);
        break;
    default:
        m->kind = MEM_REGION_ALIAS;
        m->target = (int)rnd((uint64_t)index);
        m->target_offset = STEP * rnd(64);
        mem_region_init_alias(&m->region, "alias", &model[m->target].region, m->target_offset,
                              m->size);
        break;
    }
}

/* One change in tree and model; returns false when mem/ answered otherwise than the model. */
static bool change(void)
{
    int i = 1 + (int)rnd(REGIONS - 1), parent = (int)rnd(REGIONS);
    struct model *m = &model[i];
    uint64_t at = rnd(16) ? STEP * rnd(PROBES) : UINT64_MAX - STEP * rnd(4) + 1;
    int priority = (int)rnd(5) - 2, want;

    /* Mostly a container, or little would ever be seen. */
    for (int tries = 0; tries < 6 && model[parent].kind != MEM_REGION_CONTAINER; tries++) {
        parent = (int)rnd(REGIONS);
    }
    parent = rnd(2) ? parent : 0;
    switch (rnd(8)) {
    case 0:
    case 6:
    case 7:
    case 1:
    case 2:
        want = model[parent].kind != MEM_REGION_CONTAINER ? -EINVAL
               : m->parent >= 0                           ? -EBUSY
               : reaches(i, parent)                       ? -ELOOP
                                                          : 0;
        if (mem_region_add(&model[parent].region, at, &m->region, priority) != want) {
            return false;
        }
        if (!want) {
            m->parent = parent;
            m->at = at;
            m->priority = priority;
            m->sequence = ++sequence;
        }
        return true;
    case 3:
        want = m->parent >= 0 ? 0 : -ENOENT;
        m->parent = -1;
        return mem_region_remove(&m->region) == want;
    case 4:
        m->enabled = !m->enabled || i == 0 || rnd(3);
        mem_region_set_enabled(&m->region, m->enabled);
        return true;
    default:
        if (m->kind == MEM_REGION_ALIAS && rnd(2)) {
            m->target_offset = STEP * rnd(64);
            mem_region_set_alias_offset(&m->region, m->target_offset);
        } else if (m->parent >= 0 && rnd(2)) {
            m->at = at;
            return mem_region_move(&m->region, at) == 0;
        } else {
            m->readonly = !m->readonly;
            mem_region_set_readonly(&m->region, m->readonly);
        }
        return true;
    }
}

/* ---- a listener that rebuilds the picture from differences ----------------------------------- */

static struct mem_section picture[4096];
static unsigned picture_count, picture_errors;
static bool in_update;

static void on_begin(struct mem_listener *listener, struct mem_space *space)
{
    in_update = true;
}

static void on_commit(struct mem_listener *listener, struct mem_space *space)
{
    in_update = false;
}

static void on_add(struct mem_listener *listener, const struct mem_section *section)
{
    for (unsigned i = 0; i < picture_count; i++) {
        picture_errors += picture[i].first.value <= section->last &&
                          section->first.value <= picture[i].last; /* an overlap */
    }
    picture_errors += !in_update;
    picture[picture_count++] = *section;
}

static void on_remove(struct mem_listener *listener, const struct mem_section *section)
{
    for (unsigned i = 0; i < picture_count; i++) {
        if (mem_view_same_section(&picture[i], section)) {
            picture[i] = picture[--picture_count];
            return;
        }
    }
    picture_errors++; /* was never added */
}

static const struct mem_section *picture_find(uint64_t address)
{
    for (unsigned i = 0; i < picture_count; i++) {
        if (picture[i].first.value <= address && address <= picture[i].last) {
            return &picture[i];
        }
    }
    return NULL;
}

static bool agrees(const struct mem_section *s, const struct seen *seen, uint64_t address)
{
    if (!s || !seen->region) {
        return !s && !seen->region;
    }
    uint64_t into = address - s->first.value;
    const struct model *m = (const struct model *)seen->region;

    if (s->region != seen->region || s->region_offset + into != seen->offset ||
        s->readonly != seen->readonly) {
        return false;
    }
    return m->kind != MEM_REGION_RAM ||
           (s->host + into == ram->host + m->ram_offset + seen->offset &&
            s->ram_offset + into == m->ram_offset + seen->offset);
}

static unsigned compare(struct mem_space *space)
{
    const struct mem_view *view = mem_space_enter(space);
    unsigned wrong = 0;

    for (int i = -4; i < (int)PROBES; i++) {
        /* Also the last byte of each step, and the top of the space. */
        uint64_t address = (uint64_t)((int64_t)i * STEP) + (rnd(2) ? STEP - 1 : rnd(STEP));
        struct seen seen = {0};

        resolve(0, address, false, &seen);
        wrong += !agrees(mem_view_find(view, mem_gpa(address)), &seen, address);
        wrong += !agrees(picture_find(address), &seen, address);
    }
    for (unsigned i = 1; i < view->count; i++) {
        wrong += view->sections[i - 1].last >= view->sections[i].first.value;
    }
    mem_space_leave();
    return wrong;
}

static void check_model(void)
{
    unsigned wrong = 0, refused = 0, sections = 0;

    for (int tree = 0; tree < TREES; tree++) {
        struct mem_space space;
        struct mem_listener listener = {
            .begin = on_begin, .commit = on_commit, .add = on_add, .remove = on_remove};

        for (int i = 0; i < REGIONS; i++) {
            make_region(i);
        }
        picture_count = 0;
        mem_space_init(&space, "model", &model[0].region);
        mem_space_add_listener(&space, &listener);
        for (int i = 0; i < CHANGES; i++) {
            unsigned batch = (unsigned)rnd(4);

            mem_region_begin();
            for (unsigned k = 0; k <= batch; k++) {
                refused += !change();
            }
            mem_region_commit();
            wrong += compare(&space);
            sections += picture_count;
        }
        mem_space_remove_listener(&space, &listener);
        picture_errors += picture_count;
        mem_space_destroy(&space);
        for (int i = REGIONS - 1; i >= 0; i--) {
            if (model[i].parent >= 0) {
                mem_region_remove(&model[i].region);
            }
        }
        for (int i = 0; i < REGIONS; i++) {
            mem_region_retire(&model[i].region, NULL, NULL);
        }
        epoch_wait(&mem_epoch);
    }
    tap_eq(wrong, 0, "every address of random trees shows what the model says");
    tap_eq(refused, 0, "changes are accepted and refused as the model says");
    tap_eq(picture_errors, 0, "a listener gets exact differences");
    tap_ok(sections > TREES * CHANGES, "the trees were not trivial (%u sections)", sections);
    tap_eq(atomic_load(&ram->references), 1, "no reference of the RAM block is left");
}

/* ---- logging, priorities of listeners ---------------------------------------------------------
 */

static char order[64];
static uint32_t logged_before, logged_now, synced;

struct named_listener {
    struct mem_listener listener;
    char name;
};

static void note(struct mem_listener *listener, char what)
{
    size_t n = strlen(order);

    if (n + 2 < sizeof(order)) {
        order[n] = what;
        order[n + 1] = ((struct named_listener *)listener)->name;
    }
}

static void note_add(struct mem_listener *listener, const struct mem_section *section)
{
    note(listener, '+');
}

static void note_remove(struct mem_listener *listener, const struct mem_section *section)
{
    note(listener, '-');
}

static void note_log(struct mem_listener *listener, const struct mem_section *section,
                     uint32_t before)
{
    logged_before = before;
    logged_now = section->logging;
}

static void note_sync(struct mem_listener *listener, const struct mem_section *section)
{
    synced++;
}

static void check_listeners(void)
{
    struct mem_region root = {0}, one = {0}, two = {0};
    struct mem_space space;
    struct mem_listener listener = {.add = note_add, .remove = note_remove};
    struct named_listener a = {listener, 'a'}, b = {listener, 'b'};

    a.listener.priority = 1;
    a.listener.log = note_log;
    a.listener.log_sync = note_sync;
    b.listener.priority = 2;
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_region_init_ram(&one, "one", ram, 0, MEM_PAGE_SIZE, false);
    mem_region_init_ram(&two, "two", ram, MEM_PAGE_SIZE, MEM_PAGE_SIZE, false);
    mem_region_add(&root, 0, &one, 0);
    mem_space_init(&space, "listeners", &root);
    mem_space_add_listener(&space, &b.listener);
    mem_space_add_listener(&space, &a.listener);
    tap_str(order, "+b+a", "a new listener is shown what is there");
    memset(order, 0, sizeof(order));
    mem_region_add(&root, 0, &two, 1);
    tap_str(order, "-b-a+a+b", "removals go from high priority to low, additions from low to high");
    memset(order, 0, sizeof(order));
    mem_region_begin();
    mem_region_remove(&two);
    mem_region_add(&root, 0, &two, 1);
    mem_region_commit();
    tap_str(order, "", "a transaction that changes nothing tells nobody");
    mem_space_log_start(ram, MEM_DIRTY_MIGRATION);
    tap_eq(logged_now, 1u << MEM_DIRTY_MIGRATION, "starting a log is told");
    mem_space_log_stop(ram, MEM_DIRTY_MIGRATION);
    tap_ok(logged_before == 1u << MEM_DIRTY_MIGRATION && !logged_now, "and stopping it");
    tap_str(order, "", "without removing and adding");
    mem_space_log_sync(ram);
    tap_eq(synced, 1, "log_sync reaches each section once");
    mem_space_remove_listener(&space, &a.listener);
    mem_space_remove_listener(&space, &b.listener);
    tap_str(order, "-a-b", "a listener that goes is shown removals");
    mem_space_destroy(&space);
    mem_region_retire(&one, NULL, NULL);
    mem_region_retire(&two, NULL, NULL);
    mem_region_retire(&root, NULL, NULL);
    epoch_wait(&mem_epoch);
}

/* ---- readers during rebuilds ------------------------------------------------------------------
 */

#define READERS 3
#define ROUNDS  3000

static struct mem_space raced;
static _Atomic bool stop;
static _Atomic unsigned torn, reads, freed_regions;

struct gone_device {
    struct mem_region region;
    _Atomic uint32_t alive;
};

static int gone_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    struct gone_device *device = opaque;

    *value = atomic_load(&device->alive);
    return 0;
}

static const struct mem_ops gone_ops = {.read = gone_read, .min_size = 4, .max_size = 4};

static void *race_reader(void *arg)
{
    while (!atomic_load(&stop)) {
        uint64_t value = 0;

        /* Page 0 is block page 1 or 2 at any time, never nothing. */
        if (mem_access_load(&raced, mem_gpa(8), 8, &value, MEM_ATTRS_NONE) ||
            (value != 0x1111 && value != 0x2222)) {
            atomic_fetch_add(&torn, 1);
        }
        /* Page 1 is a device or nothing; the device is alive while it is seen. */
        int err = mem_access_load(&raced, mem_gpa(MEM_PAGE_SIZE), 4, &value, MEM_ATTRS_NONE);

        if (err ? err != -ENXIO : value != 1) {
            atomic_fetch_add(&torn, 1);
        }
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    return arg;
}

static void free_device(void *opaque)
{
    struct gone_device *device = opaque;

    atomic_store(&device->alive, 0);
    atomic_fetch_add(&freed_regions, 1);
    free(device);
}

static void check_race(void)
{
    struct mem_region root = {0}, window = {0}, pages = {0};
    pthread_t thread[READERS];
    unsigned rounds = 0;

    *(uint64_t *)mem_ram_host(ram, MEM_PAGE_SIZE + 8, 8) = 0x1111;
    *(uint64_t *)mem_ram_host(ram, 2 * MEM_PAGE_SIZE + 8, 8) = 0x2222;
    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_region_init_ram(&pages, "pages", ram, 0, 4 * MEM_PAGE_SIZE, false);
    mem_region_init_alias(&window, "window", &pages, MEM_PAGE_SIZE, MEM_PAGE_SIZE);
    mem_region_add(&root, 0, &window, 0);
    mem_space_init(&raced, "raced", &root);
    for (int i = 0; i < READERS; i++) {
        pthread_create(&thread[i], NULL, race_reader, NULL);
    }
    /* A busy machine may let no reader run for longer than the rounds take. */
    for (; rounds < ROUNDS || atomic_load(&reads) < ROUNDS; rounds++) {
        struct gone_device *device = calloc(1, sizeof(*device));

        atomic_store(&device->alive, 1);
        mem_region_init_mmio(&device->region, "device", 16, &gone_ops, device, NULL);
        mem_region_begin();
        mem_region_set_alias_offset(&window, (1 + (uint64_t)rounds % 2) * MEM_PAGE_SIZE);
        mem_region_add(&root, MEM_PAGE_SIZE, &device->region, 0);
        mem_region_commit();
        mem_region_begin();
        mem_region_remove(&window);
        mem_region_retire(&device->region, free_device, device);
        mem_region_add(&root, 0, &window, 0);
        mem_region_commit();
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    epoch_wait(&mem_epoch);
    tap_eq(torn, 0, "readers see one state or the other while the view is rebuilt");
    tap_ok(reads >= ROUNDS, "and there were readers (%u reads)", atomic_load(&reads));
    tap_eq(freed_regions, rounds, "every retired region was freed");
    mem_space_destroy(&raced);
    mem_region_remove(&window);
    mem_region_retire(&window, NULL, NULL);
    mem_region_retire(&pages, NULL, NULL);
    mem_region_retire(&root, NULL, NULL);
    epoch_wait(&mem_epoch);
}

int main(void)
{
    char error[256] = "";
    struct mem_ram_config config = {.name = "test", .size = 40 * MEM_PAGE_SIZE};

    if (mem_ram_create(&ram, &config, error, sizeof(error))) {
        tap_ok(false, "a RAM block can be made");
        tap_note("%s", error);
        return tap_done();
    }
    check_model();
    check_listeners();
    check_race();
    tap_eq(atomic_load(&ram->references), 1, "no reference of the RAM block is left");
    mem_ram_unref(ram);
    return tap_done();
}
