/*
 * The command line of the system emulator: a table of options, and what they say. Names and
 * meanings are QEMU's.
 *
 * Reading has no effect outside of the structure, but that help and mistakes end the process
 * (status 0 and 1). What depends on the machine, on files or on devices is looked at by who builds
 * it.
 */
#ifndef TINAMOU_SYSTEM_OPTIONS_H
#define TINAMOU_SYSTEM_OPTIONS_H

#include "accel/accel.h"
#include "hw/machine/machine.h"
#include "system/confine.h"
#include "system/keyval.h"

struct system_target {
    const char *name; /* "riscv64" */
    const struct cpu_target_ops *ops;
    const struct accel_system_ops *const *accels; /* NULL-terminated; the first is the default */
    const struct machine_type *const *machines;
    const struct hw_device_type *const *const *devices; /* lists; ends with NULL */
};

/* Texts of options that may be given many times, in their order. */
struct option_list {
    const char **text;
    unsigned count;
};

/* A disk by whatever option; see system/drives.h. */
struct option_drive {
    const char *option; /* "-drive", "-blockdev", "-hda", ... */
    const char *text;
};

struct system_options {
    const struct system_target *target;
    /* machine */
    const char *machine;
    struct keyval *properties; /* of -M, one list for each time it is given */
    unsigned property_lists;
    const char *cpu;
    const char *smp;
    uint64_t ram_size; /* 0: the machine's default */
    const char *ram_path;
    bool ram_prealloc, ram_lock;
    struct option_list accels; /* NAME[:NAME...][,PROP=VALUE...]; the first that can be had */
    struct option_list globals, devices, objects;
    /* start */
    const char *bios, *kernel, *initrd, *append, *dtb;
    struct option_list firmware_folders, fw_cfg;
    const char *process_name, *uuid, *rtc;
    /* host ends */
    struct option_drive *drives;
    unsigned drive_count;
    struct option_list chardevs, serials, netdevs, nics, legacy_net;
    bool nographic, display_given, nodefaults, snapshot;
    /* running */
    bool stopped, reboot_exits, shutdown_pauses;
    bool daemonize;
    const char *pidfile;
    struct confine_options confine; /* but for its copy of daemonize */
    uint32_t log_mask;
    const char *log_file;
};

/* A row of the table; rows of an area are an array that ends with a NULL name. */
struct option_row {
    const char *name;
    const char *argument; /* as help has it; NULL: takes none */
    const char *help;     /* one line */
    /* `name` as it was typed, with its dashes. Reports mistakes by error_fatal(). */
    void (*set)(struct system_options *options, const char *name, const char *value);
};

extern const struct option_row options_machine_rows[];
extern const struct option_row options_boot_rows[];
extern const struct option_row options_host_rows[];
extern const struct option_row options_run_rows[];
extern const struct option_row options_confine_rows[];

/* Reads argv into a zeroed structure. Texts stay argv's. */
void options_parse(struct system_options *options, const struct system_target *target, int argc,
                   char **argv);

/* Appends; ends the process when out of memory. */
void options_append(struct option_list *list, const char *text);

/* keyval_parse() that ends the process on a mistake. */
void options_keyval(struct keyval *list, const char *name, const char *value, const char *implied);

/* Is it "help" or "?"? */
bool options_is_help(const char *value);

#endif
