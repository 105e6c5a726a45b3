/*
 * Disks of the command line. A -drive is split into where the machine connects it, what the device
 * wants to know (error policies), and all the rest, which is the block layer's business.
 */
#include "system/drives.h"

#include "io/block/block.h"
#include "system/devices.h"
#include "util/error.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum drive_interface { DRIVE_NONE, DRIVE_VIRTIO, DRIVE_PFLASH, DRIVE_MTD, DRIVE_DEFAULT };

static const char *const interface_names[] = {"none", "virtio", "pflash", "mtd", NULL};

struct drive {
    struct drive *next;
    char *id; /* NULL: of -blockdev, which has no interface either */
    struct block_node *node;
    enum drive_interface interface;
    unsigned unit;
    char *werror, *rerror;
};

static struct drive *first, **last = &first;

/* The first unit of an interface that nobody has. */
static unsigned free_unit(enum drive_interface interface)
{
    unsigned unit = 0;

    for (const struct drive *d = first; d; d = d->next) {
        if (d->interface == interface && d->unit >= unit) {
            unit = d->unit + 1;
        }
    }
    return unit;
}

static int set_place(struct drive *drive, struct keyval *list, const struct machine *machine,
                     char *error, size_t error_size)
{
    static const char *const media[] = {"disk", "cdrom", NULL};
    uint64_t unit = 0, index = 0, bus = 0;
    int interface = DRIVE_DEFAULT, medium = 0, has_unit, has_index;

    if (keyval_take_enum(list, "if", interface_names, &interface, error, error_size) < 0 ||
        keyval_take_enum(list, "media", media, &medium, error, error_size) < 0) {
        return -EINVAL;
    }
    has_unit = keyval_take_number(list, "unit", &unit, error, error_size);
    has_index = keyval_take_number(list, "index", &index, error, error_size);
    if (has_unit < 0 || has_index < 0 ||
        keyval_take_number(list, "bus", &bus, error, error_size) < 0) {
        return -EINVAL;
    }
    if (has_unit && has_index) {
        snprintf(error, error_size, "-drive: index and unit exclude each other");
        return -EINVAL;
    }
    drive->interface = interface == DRIVE_DEFAULT ? DRIVE_VIRTIO : (enum drive_interface)interface;
    if (drive->interface == DRIVE_MTD ||
        (drive->interface == DRIVE_VIRTIO && !machine->type->drive_device)) {
        snprintf(error, error_size, "-drive: if=%s: the machine %s has no such interface",
                 interface_names[drive->interface], machine->type->name);
        return -EINVAL;
    }
    if (drive->interface == DRIVE_VIRTIO && medium) {
        snprintf(error, error_size, "-drive: media=cdrom: virtio disks are no CD-ROMs");
        return -EINVAL;
    }
    drive->unit = has_unit || has_index ? (unsigned)(unit + index) : free_unit(drive->interface);
    if (drive->interface != DRIVE_NONE) {
        for (const struct drive *d = first; d; d = d->next) {
            if (d->interface == drive->interface && d->unit == drive->unit) {
                snprintf(error, error_size, "-drive: if=%s,unit=%u: there are two of them",
                         interface_names[d->interface], d->unit);
                return -EEXIST;
            }
        }
    }
    return 0;
}

static int check_policy(struct keyval *list, const char *name, bool enospc, char **policy,
                        char *error, size_t error_size)
{
    static const char *const policies[] = {"ignore", "stop", "report", "enospc", NULL};
    const char *value = keyval_get(list, name);
    int n = 0, found = keyval_take_enum(list, name, policies, &n, error, error_size);

    if (found < 0 || (found && n == 3 && !enospc)) {
        snprintf(error, error_size, "-drive: %s=%s: expected ignore, stop%s or report", name, value,
                 enospc ? ", enospc" : "");
        return -EINVAL;
    }
    *policy = found ? strdup(value) : NULL;
    return 0;
}

/* Opens by file name, or by the options of a driver alone. */
static int open_node(struct drive *drive, struct keyval *list, const char *file, bool readonly,
                     char *error, size_t error_size)
{
    const char *format = keyval_take(list, "format");
    char *text = NULL;
    int err;

    if (!file) {
        struct json_t *json;

        if (!keyval_get(list, "driver") && !keyval_get(list, "file.driver") &&
            !keyval_get(list, "file.filename")) {
            snprintf(error, error_size, "%s: file=: has to be given", list->option);
            return -EINVAL;
        }
        json = keyval_to_json(list, error, error_size);
        err = json ? block_open(&drive->node, json, error, error_size) : -EINVAL;
        json_decref(json);
        return err;
    }
    text = keyval_to_text(list);
    if (!text) {
        snprintf(error, error_size, "%s: out of memory", list->option);
        return -ENOMEM;
    }
    err = block_open_file(&drive->node, file, format, text, readonly, error, error_size);
    free(text);
    return err;
}

static int name_drive(struct drive *drive, struct keyval *list)
{
    const char *id = keyval_take(list, "id");
    int err = 0;

    if (id) {
        drive->id = strdup(id);
    } else if (asprintf(&drive->id, "%s%u", interface_names[drive->interface], drive->unit) < 0) {
        drive->id = NULL;
    }
    if (!drive->id) {
        return -ENOMEM;
    }
    if (!keyval_get(list, "node-name")) {
        err = keyval_add(list, "node-name", drive->id);
    }
    return err;
}

static void free_drive(struct drive *drive)
{
    if (drive->node) {
        block_unref(drive->node);
    }
    free(drive->id);
    free(drive->werror);
    free(drive->rerror);
    free(drive);
}

static int open_drive(struct drive *drive, struct keyval *list, const struct machine *machine,
                      bool all_snapshots, char *error, size_t error_size)
{
    bool readonly = false;
    const char *file;
    int err = set_place(drive, list, machine, error, error_size);

    if (!err) {
        err = check_policy(list, "werror", true, &drive->werror, error, error_size);
    }
    if (!err) {
        err = check_policy(list, "rerror", false, &drive->rerror, error, error_size);
    }
    if (err) {
        return err;
    }
    if (keyval_take_bool(list, "readonly", &readonly, error, error_size) < 0 ||
        keyval_take_bool(list, "read-only", &readonly, error, error_size) < 0) {
        return -EINVAL;
    }
    if (all_snapshots && !keyval_get(list, "snapshot") && drive->interface != DRIVE_PFLASH &&
        keyval_add(list, "snapshot", "on")) {
        snprintf(error, error_size, "%s: out of memory", list->option);
        return -ENOMEM;
    }
    err = name_drive(drive, list);
    file = keyval_take(list, "file");
    return err ? err : open_node(drive, list, file, readonly, error, error_size);
}

static int open_blockdev(struct drive *drive, const struct option_drive *option, char *error,
                         size_t error_size)
{
    struct keyval list;
    struct json_t *json = NULL;
    int err = keyval_parse(&list, "-blockdev", option->text, "driver", error, error_size);

    if (err) {
        return err;
    }
    if (!keyval_get(&list, "node-name")) {
        snprintf(error, error_size, "-blockdev %s: node-name=: has to be given", option->text);
        err = -EINVAL;
    } else {
        json = keyval_to_json(&list, error, error_size);
        err = json ? block_open(&drive->node, json, error, error_size) : -EINVAL;
    }
    json_decref(json);
    keyval_free(&list);
    return err;
}

/* -hda and the like are -drive with a file name that is taken as it is. */
static int parse_drive(struct keyval *list, const struct option_drive *option, char *error,
                       size_t error_size)
{
    static const struct {
        const char *option, *interface, *index;
    } shorts[] = {
        {"hda", NULL, "0"}, {"hdb", NULL, "1"},         {"hdc", NULL, "2"},
        {"hdd", NULL, "3"}, {"pflash", "pflash", NULL}, {"disk image", NULL, "0"},
    };
    const char *name = option->option + strspn(option->option, "-");

    for (unsigned i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++) {
        int err = 0;

        if (strcmp(shorts[i].option, name) != 0) {
            continue;
        }
        *list = (struct keyval){.option = option->option};
        err = keyval_add(list, "file", option->text);
        if (!err && shorts[i].interface) {
            err = keyval_add(list, "if", shorts[i].interface);
        }
        if (!err && shorts[i].index) {
            err = keyval_add(list, "index", shorts[i].index);
        }
        return err;
    }
    return keyval_parse(list, "-drive", option->text, NULL, error, error_size);
}

static int open_option(const struct system_options *options, const struct option_drive *option,
                       struct machine *machine, char *error, size_t error_size)
{
    struct drive *drive = calloc(1, sizeof(*drive));
    struct keyval list;
    int err;

    if (!drive) {
        snprintf(error, error_size, "%s: out of memory", option->option);
        return -ENOMEM;
    }
    if (strcmp(option->option + strspn(option->option, "-"), "blockdev") == 0) {
        err = open_blockdev(drive, option, error, error_size);
    } else {
        err = parse_drive(&list, option, error, error_size);
        if (!err) {
            err = open_drive(drive, &list, machine, options->snapshot, error, error_size);
            keyval_free(&list);
        }
    }
    if (err) {
        free_drive(drive);
        return err;
    }
    *last = drive;
    last = &drive->next;
    return 0;
}

int drives_open(const struct system_options *options, struct machine *machine, char *error,
                size_t error_size)
{
    for (unsigned i = 0; i < options->drive_count; i++) {
        int err = open_option(options, &options->drives[i], machine, error, error_size);

        if (err) {
            return err;
        }
    }
    for (const struct drive *d = first; d; d = d->next) {
        if (d->interface == DRIVE_PFLASH) {
            if (d->unit >= machine->type->flashes) {
                snprintf(error, error_size,
                         "-drive: if=pflash,unit=%u: the machine %s has %u of them", d->unit,
                         machine->type->name, machine->type->flashes);
                return -EINVAL;
            }
            machine->flashes[d->unit] = d->node;
        }
    }
    return 0;
}

int drives_add_devices(struct machine *machine, char *error, size_t error_size)
{
    for (const struct drive *d = first; d; d = d->next) {
        struct keyval list = {.option = "-drive"};
        int err = 0;

        if (d->interface != DRIVE_VIRTIO) {
            continue;
        }
        err = keyval_add(&list, "driver", machine->type->drive_device) ||
                      keyval_add(&list, "drive", d->id)
                  ? -ENOMEM
                  : devices_add(machine, &list, error, error_size);
        keyval_free(&list);
        if (err) {
            return err;
        }
    }
    return 0;
}

static int add_missing(struct keyval *list, const struct hw_device_type *type, const char *name,
                       const char *value)
{
    if (!value || keyval_get(list, name) || !devices_has_property(type, name)) {
        return 0;
    }
    return keyval_add(list, name, value);
}

int drives_complete_device(struct keyval *list, const struct hw_device_type *type, char *error,
                           size_t error_size)
{
    const char *id = keyval_get(list, "drive");

    for (const struct drive *d = first; id && d; d = d->next) {
        if (!d->id || strcmp(d->id, id) != 0) {
            continue;
        }
        if (add_missing(list, type, "werror", d->werror) ||
            add_missing(list, type, "rerror", d->rerror) ||
            (strcmp(block_name(d->node), id) != 0 &&
             keyval_add(list, "drive", block_name(d->node)))) {
            snprintf(error, error_size, "-device: out of memory");
            return -ENOMEM;
        }
        return 0;
    }
    return 0;
}

void drives_close(void)
{
    while (first) {
        struct drive *next = first->next;

        free_drive(first);
        first = next;
    }
    last = &first;
}
