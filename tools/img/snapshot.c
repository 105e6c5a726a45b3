/* snapshot: internal snapshots, listed, made, gone back to and deleted. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "tools/img/img.h"

struct values {
    struct img_source source;
    int action;
    const char *name;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'l', NULL, IMG_ACTION, AT(action), NULL, 'l'},
    {'c', NULL, IMG_ACTION, AT(action), "NAME", 'c'},
    {'a', NULL, IMG_ACTION, AT(action), "NAME", 'a'},
    {'d', NULL, IMG_ACTION, AT(action), "NAME", 'd'},
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {'q', "quiet", IMG_FLAG, AT(source.quiet), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

static void print_one(const struct block_snapshot *s)
{
    uint64_t seconds = s->vm_clock_nsec / 1000000000;
    char size[32], date[64] = "", clock[64], icount[32] = "";
    time_t when = (time_t)s->date_sec;
    struct tm tm;

    if (localtime_r(&when, &tm)) {
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
    }
    snprintf(clock, sizeof(clock), "%02d:%02d:%02d.%03d", (int)(seconds / 3600),
             (int)(seconds / 60 % 60), (int)(seconds % 60),
             (int)(s->vm_clock_nsec / 1000000 % 1000));
    if (s->icount != UINT64_MAX) {
        snprintf(icount, sizeof(icount), "%" PRIu64, s->icount);
    }
    printf("%-10s%-17s%8s%20s%13s%11s\n", s->id, s->name, img_size_text(s->vm_state_size, size),
           date, clock, icount);
}

void img_snapshots_print(const struct block_snapshot *list, int count)
{
    printf("%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (int i = 0; i < count; i++) {
        print_one(&list[i]);
    }
}

static int list(struct block_node *node)
{
    struct block_snapshot *all = NULL;
    int count = node->driver->snapshot_list ? node->driver->snapshot_list(node, &all) : 0;

    if (count < 0) {
        return img_fail("Could not list snapshots: %s", strerror(-count));
    }
    if (count > 0) {
        printf("Snapshot list:\n");
        img_snapshots_print(all, count);
    }
    free(all);
    return 0;
}

static int create(struct block_node *node, const char *name)
{
    struct block_snapshot s = {.icount = UINT64_MAX};
    struct timeval now;
    int err;

    if (strlen(name) >= sizeof(s.name)) {
        return img_fail("snapshot name '%s': expected at most %zu bytes", name, sizeof(s.name) - 1);
    }
    memcpy(s.name, name, strlen(name));
    gettimeofday(&now, NULL);
    s.date_sec = now.tv_sec;
    s.date_nsec = (uint32_t)now.tv_usec * 1000;
    s.disk_size = block_size(node);
    err = node->driver->snapshot_create ? node->driver->snapshot_create(node, &s) : -ENOTSUP;
    return err ? img_fail("Could not create snapshot '%s': %s", name, strerror(-err)) : 0;
}

static int apply(struct block_node *node, const char *name)
{
    int err = node->driver->snapshot_goto ? node->driver->snapshot_goto(node, name) : -ENOTSUP;

    return err ? img_fail("Could not apply snapshot '%s': %s", name, strerror(-err)) : 0;
}

static int delete_one(struct block_node *node, const char *name)
{
    char error[512] = "the format has no snapshots";
    int err = node->driver->snapshot_delete
                  ? node->driver->snapshot_delete(node, name, error, sizeof(error))
                  : -ENOTSUP;

    return err ? img_fail("Could not delete snapshot '%s': %s", name,
                          error[0] ? error : strerror(-err))
               : 0;
}

static int run(void *opaque, int count, char **operands)
{
    struct values *v = opaque;
    int action = v->action ? v->action : 'l', status, err;
    struct block_node *node;

    if (img_open(&node, operands[0], &v->source,
                 action == 'l' ? IMG_NO_BACKING | IMG_NO_IO : IMG_WRITE | IMG_NO_BACKING)) {
        return 1;
    }
    switch (action) {
    case 'c':
        status = create(node, v->name);
        break;
    case 'a':
        status = apply(node, v->name);
        break;
    case 'd':
        status = delete_one(node, v->name);
        break;
    default:
        status = list(node);
        break;
    }
    if (action != 'l' && !status) {
        err = block_flush(node);
        status = err ? img_fail("%s: %s", operands[0], strerror(-err)) : 0;
    }
    block_unref(node);
    return status;
}

const struct img_command img_snapshot = {
    .name = "snapshot",
    .operands = "FILE",
    .summary = "lists (-l), creates (-c), applies (-a) and deletes (-d) internal snapshots",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
