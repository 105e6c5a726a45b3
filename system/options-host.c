/* Options that say what the machine's devices are connected to on the host. */
#include "system/options.h"

#include "util/error.h"

#include <stdlib.h>
#include <string.h>

static void add_drive(struct system_options *o, const char *name, const char *value)
{
    struct option_drive *drives = realloc(o->drives, (o->drive_count + 1) * sizeof(*drives));

    if (!drives) {
        error_fatal("out of memory");
    }
    o->drives = drives;
    drives[o->drive_count++] = (struct option_drive){.option = name, .text = value};
}

static void set_snapshot(struct system_options *o, const char *name, const char *value)
{
    o->snapshot = true;
}

static void set_chardev(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->chardevs, value);
}

static void set_serial(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->serials, value);
}

static void set_netdev(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->netdevs, value);
}

static void set_nic(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->nics, value);
}

static void set_net(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->legacy_net, value);
}

static void set_monitor(struct system_options *o, const char *name, const char *value)
{
    if (strcmp(value, "none") != 0 && strcmp(value, "null") != 0) {
        error_fatal("%s %s: expected none, for there are no monitors", name, value);
    }
}

static void set_parallel(struct system_options *o, const char *name, const char *value)
{
    if (strcmp(value, "none") != 0 && strcmp(value, "null") != 0) {
        error_fatal("%s %s: expected none, for there are no parallel ports", name, value);
    }
}

static void set_display(struct system_options *o, const char *name, const char *value)
{
    if (strcmp(value, "none") != 0) {
        error_fatal("%s %s: expected none, for there are no displays", name, value);
    }
    o->display_given = true;
}

static void set_vga(struct system_options *o, const char *name, const char *value)
{
    if (strcmp(value, "none") != 0) {
        error_fatal("%s %s: expected none, for there are no graphics cards", name, value);
    }
}

static void set_nographic(struct system_options *o, const char *name, const char *value)
{
    o->nographic = true;
}

static void ignore(struct system_options *o, const char *name, const char *value)
{
}

const struct option_row options_host_rows[] = {
    {"drive", "file=FILE[,PROP=VALUE...]", "a disk: if, id, format, unit, readonly, cache, ...",
     add_drive},
    {"blockdev", "[driver=]DRIVER,node-name=NAME,...", "a block node, for -device drive=NAME",
     add_drive},
    {"hda", "FILE", "the first disk", add_drive},
    {"hdb", "FILE", "the second disk", add_drive},
    {"hdc", "FILE", "the third disk", add_drive},
    {"hdd", "FILE", "the fourth disk", add_drive},
    {"pflash", "FILE", "a flash image; the first is bank 0, the second bank 1", add_drive},
    {"snapshot", NULL, "disks of -drive are not changed", set_snapshot},
    {"chardev", "TYPE,id=ID[,PROP=VALUE...]", "a character device for others to use", set_chardev},
    {"serial", "WHERE", "where the next serial port leads: stdio, mon:stdio, pty, file:, ...",
     set_serial},
    {"parallel", "none", "taken: there are no parallel ports", set_parallel},
    {"monitor", "none", "taken: there are no monitors", set_monitor},
    {"netdev", "TYPE,id=ID[,PROP=VALUE...]", "a network for -device netdev=ID", set_netdev},
    {"nic", "TYPE[,model=M][,mac=A]...", "a network and a card on it, or none", set_nic},
    {"net", "nic|user|none[,...]", "older form of -nic", set_net},
    {"display", "none", "taken: there are no displays", set_display},
    {"nographic", NULL, "serial port on the terminal; Ctrl-A x ends, Ctrl-A h helps",
     set_nographic},
    {"vga", "none", "taken: there are no graphics cards", set_vga},
    {"k", "LANGUAGE", "taken and ignored: there are no keyboards", ignore},
    {NULL, NULL, NULL, NULL},
};
