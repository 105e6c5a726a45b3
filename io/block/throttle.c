/*
 * Groups and their buckets. Requests that have to wait stand in one queue for reads and one for
 * writes; only the first of each has its timer armed, on its own loop, and whoever leaves arms the
 * next one's.
 */
#include "io/block/throttle.h"
#include "io/block/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND    1000000000.0
#define MAX_RATE  INT64_C(1000000000000000)
#define NO_BURSTS 10 /* a bucket without bursts holds 1/NO_BURSTS of a second */

enum bucket_kind { BPS_TOTAL, BPS_READ, BPS_WRITE, IOPS_TOTAL, IOPS_READ, IOPS_WRITE, BUCKETS };

static const char *const bucket_names[BUCKETS] = {"bps-total",  "bps-read",  "bps-write",
                                                  "iops-total", "iops-read", "iops-write"};

struct limits {
    uint64_t average[BUCKETS], max[BUCKETS];
    uint64_t length[BUCKETS]; /* seconds */
    uint64_t iops_size;
};

#define BUCKET(name_, kind_)                                                      \
    PROPERTY(SIZE, name_, struct limits, average[kind_], .max = MAX_RATE),        \
        PROPERTY(SIZE, name_ "-max", struct limits, max[kind_], .max = MAX_RATE), \
        PROPERTY(U64, name_ "-max-length", struct limits, length[kind_], .max = 1u << 20)

static const struct property limit_properties[] = {
    BUCKET("bps-total", BPS_TOTAL),
    BUCKET("bps-read", BPS_READ),
    BUCKET("bps-write", BPS_WRITE),
    BUCKET("iops-total", IOPS_TOTAL),
    BUCKET("iops-read", IOPS_READ),
    BUCKET("iops-write", IOPS_WRITE),
    PROPERTY(SIZE, "iops-size", struct limits, iops_size,
             .help = "a larger request counts as several"),
    PROPERTY_END,
};

struct throttle_group {
    char *name;
    unsigned references;
    struct throttle_group *next_group;
    pthread_mutex_t lock; /* of what follows */
    struct limits limits;
    double level[BUCKETS], burst[BUCKETS];
    int64_t drained; /* when levels were right */
    struct throttle_wait *first[2], **last[2];
};

static struct throttle_group *groups;

/* ---- groups ---- */

static int check_limits(const char *name, const struct limits *l, char *error, size_t error_size)
{
    for (unsigned b = 0; b < BUCKETS; b++) {
        const char *wrong = NULL;

        if (b % 3 && l->average[b] && l->average[b / 3 * 3]) {
            wrong = "expected a total or a limit of its own, not both";
        } else if (l->max[b] && !l->average[b]) {
            wrong = "expected an average with the maximum";
        } else if (l->max[b] && l->max[b] < l->average[b]) {
            wrong = "expected a maximum that is not less than the average";
        } else if (l->length[b] > 1 && !l->max[b]) {
            wrong = "expected a maximum with its length";
        }
        if (wrong) {
            snprintf(error, error_size, "throttle group %s: %s: %s", name, bucket_names[b], wrong);
            return -EINVAL;
        }
    }
    return 0;
}

static int set_limits(struct throttle_group *g, const char *options, char *error, size_t error_size)
{
    struct limits limits = {0};
    int err = property_set_list(limit_properties, &limits, "throttle group", options, NULL, NULL,
                                error, error_size);

    if (!err) {
        err = check_limits(g->name, &limits, error, error_size);
    }
    if (!err) {
        pthread_mutex_lock(&g->lock);
        g->limits = limits;
        memset(g->level, 0, sizeof(g->level));
        memset(g->burst, 0, sizeof(g->burst));
        g->drained = loop_clock_now(LOOP_CLOCK_REALTIME);
        for (unsigned w = 0; w < 2; w++) {
            if (g->first[w]) {
                loop_timer_arm(&g->first[w]->timer, 0); /* looks at the new limits */
            }
        }
        pthread_mutex_unlock(&g->lock);
    }
    return err;
}

int throttle_group_get(struct throttle_group **group, const char *name, const char *options,
                       char *error, size_t error_size)
{
    struct throttle_group *g = groups;
    int err = 0;

    while (g && strcmp(g->name, name) != 0) {
        g = g->next_group;
    }
    if (!g && !options) {
        snprintf(error, error_size, "throttle-group=%s: there is no such group", name);
        return -ENOENT;
    }
    if (!g) {
        g = calloc(1, sizeof(*g));
        if (!g || !(g->name = strdup(name))) {
            free(g);
            snprintf(error, error_size, "throttle group %s: out of memory", name);
            return -ENOMEM;
        }
        pthread_mutex_init(&g->lock, NULL);
        g->last[0] = &g->first[0];
        g->last[1] = &g->first[1];
        g->next_group = groups;
        groups = g;
    }
    g->references++;
    if (options) {
        err = set_limits(g, options, error, error_size);
    }
    if (err) {
        throttle_group_put(g);
        return err;
    }
    *group = g;
    return 0;
}

void throttle_group_put(struct throttle_group *g)
{
    if (!g || --g->references) {
        return;
    }
    struct throttle_group **at = &groups;

    while (*at != g) {
        at = &(*at)->next_group;
    }
    *at = g->next_group;
    pthread_mutex_destroy(&g->lock);
    free(g->name);
    free(g);
}

int throttle_group_describe(struct throttle_group *g, char *text, size_t size)
{
    size_t used = 0;

    pthread_mutex_lock(&g->lock);
    for (const struct property *p = limit_properties; p->name; p++) {
        uint64_t value = *(const uint64_t *)((const char *)&g->limits + p->offset);

        if (value && used < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s=%" PRIu64, used ? "," : "",
                                     p->name, value);
        }
    }
    pthread_mutex_unlock(&g->lock);
    if (!used && size) {
        text[0] = 0;
    }
    return used < size ? 0 : -ENOSPC;
}

const char *throttle_group_name(const struct throttle_group *g)
{
    return g->name;
}

uint64_t throttle_group_average(struct throttle_group *g, const char *name)
{
    uint64_t value = 0;

    pthread_mutex_lock(&g->lock);
    for (unsigned b = 0; b < BUCKETS; b++) {
        if (strcmp(bucket_names[b], name) == 0) {
            value = g->limits.average[b];
        }
    }
    pthread_mutex_unlock(&g->lock);
    return value;
}

void block_set_throttle(struct block_node *node, struct throttle_group *group)
{
    struct throttle_group *before = node->core->throttle;

    if (group) {
        group->references++;
    }
    node->core->throttle = group;
    throttle_group_put(before);
}

struct throttle_group *block_get_throttle(const struct block_node *node)
{
    return node->core->throttle;
}

/* ---- buckets ---- */

static void drain_locked(struct throttle_group *g, int64_t now)
{
    double seconds = (double)(now - g->drained) / SECOND;

    for (unsigned b = 0; b < BUCKETS && seconds > 0; b++) {
        g->level[b] -= (double)g->limits.average[b] * seconds;
        g->burst[b] -= (double)g->limits.max[b] * seconds;
        g->level[b] = g->level[b] < 0 ? 0 : g->level[b];
        g->burst[b] = g->burst[b] < 0 ? 0 : g->burst[b];
    }
    g->drained = now;
}

/* Seconds until the bucket is as empty as it has to be. */
static double bucket_wait(const struct throttle_group *g, unsigned b)
{
    double average = (double)g->limits.average[b], max = (double)g->limits.max[b];
    uint64_t length = g->limits.length[b] ? g->limits.length[b] : 1;
    double over;

    if (average == 0) {
        return 0;
    }
    over = g->level[b] - (max > 0 ? max * (double)length : average / NO_BURSTS);
    if (over > 0) {
        return over / average;
    }
    over = g->burst[b] - max / NO_BURSTS;
    return max > 0 && length > 1 && over > 0 ? over / max : 0;
}

/* Nanoseconds until a request of this direction may go; 0: now. */
static int64_t group_wait_locked(struct throttle_group *g, bool write, int64_t now)
{
    const unsigned mine[] = {BPS_TOTAL, write ? BPS_WRITE : BPS_READ, IOPS_TOTAL,
                             write ? IOPS_WRITE : IOPS_READ};
    double longest = 0;

    drain_locked(g, now);
    for (unsigned i = 0; i < 4; i++) {
        double wait = bucket_wait(g, mine[i]);

        longest = wait > longest ? wait : longest;
    }
    return longest > 0 ? (int64_t)(longest * SECOND) + 1 : 0;
}

static void account_locked(struct throttle_group *g, bool write, uint64_t size)
{
    uint64_t unit = g->limits.iops_size;
    double operations = unit && size > unit ? (double)size / (double)unit : 1;
    const unsigned bytes[] = {BPS_TOTAL, write ? BPS_WRITE : BPS_READ};

    for (unsigned i = 0; i < 2; i++) {
        g->level[bytes[i]] += (double)size;
        g->burst[bytes[i]] += (double)size;
        g->level[bytes[i] + IOPS_TOTAL] += operations;
        g->burst[bytes[i] + IOPS_TOTAL] += operations;
    }
}

/* ---- waiting ---- */

static void unqueue_locked(struct throttle_group *g, struct throttle_wait *wait)
{
    struct throttle_wait **at = &g->first[wait->write];

    while (*at != wait) {
        at = &(*at)->next;
    }
    *at = wait->next;
    if (!*at) {
        g->last[wait->write] = at;
    }
    wait->queued = false;
}

/* On the loop of the request, which is the first of its queue or in a hurry. */
static void timer_fired(void *opaque)
{
    struct throttle_wait *wait = opaque;
    struct throttle_group *g = wait->group;
    int64_t now = loop_clock_now(LOOP_CLOCK_REALTIME);

    pthread_mutex_lock(&g->lock);
    int64_t left = wait->unlimited ? 0 : group_wait_locked(g, wait->write, now);

    if (left) {
        loop_timer_arm(&wait->timer, now + left);
        pthread_mutex_unlock(&g->lock);
        return;
    }
    account_locked(g, wait->write, wait->size);
    unqueue_locked(g, wait);
    if (g->first[wait->write]) {
        loop_timer_arm(&g->first[wait->write]->timer, now + group_wait_locked(g, wait->write, now));
    }
    pthread_mutex_unlock(&g->lock);
    wait->admitted(wait);
}

bool throttle_admit(struct throttle_wait *wait)
{
    struct throttle_group *g = wait->group;
    int64_t now = loop_clock_now(LOOP_CLOCK_REALTIME);
    bool go;

    wait->next = NULL;
    wait->unlimited = false;
    wait->queued = false;
    loop_timer_init(&wait->timer, wait->loop, LOOP_CLOCK_REALTIME, timer_fired, wait);
    pthread_mutex_lock(&g->lock);
    int64_t left = group_wait_locked(g, wait->write, now);

    go = !g->first[wait->write] && !left;
    if (go) {
        account_locked(g, wait->write, wait->size);
    } else {
        wait->queued = true;
        if (!g->first[wait->write]) {
            loop_timer_arm(&wait->timer, now + left);
        }
        *g->last[wait->write] = wait;
        g->last[wait->write] = &wait->next;
    }
    pthread_mutex_unlock(&g->lock);
    return go;
}

void throttle_hurry(struct throttle_wait *wait)
{
    struct throttle_group *g = wait->group;

    pthread_mutex_lock(&g->lock);
    if (wait->queued) {
        wait->unlimited = true;
        loop_timer_arm(&wait->timer, 0);
    }
    pthread_mutex_unlock(&g->lock);
}

void throttle_block(struct throttle_group *g, bool write, uint64_t size)
{
    int64_t left;

    pthread_mutex_lock(&g->lock);
    while ((left = group_wait_locked(g, write, loop_clock_now(LOOP_CLOCK_REALTIME)))) {
        struct timespec ts = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};

        pthread_mutex_unlock(&g->lock);
        nanosleep(&ts, NULL);
        pthread_mutex_lock(&g->lock);
    }
    account_locked(g, write, size);
    pthread_mutex_unlock(&g->lock);
}
