/*
 * Construction, in the order in which parts need each other:
 *
 *     options - log, background - event loop, clocks, signals - terminals, disks, networks, objects
 *     - machine type and its settings - memory - accelerator and vCPUs - the board - devices of the
 *     command line - firmware, kernel, device tree - [rights that are given up - run] - and all of
 * it back
 *
 * Everything here is on the main thread under the machine lock. A mistake is reported by one line
 * and ends the process with status 1 before the guest has run.
 */
#include "system/system.h"

#include "hw/core/lock.h"
#include "hw/nvram/fw-cfg.h"
#include "hw/pci/pci.h"
#include "io/block/block.h"
#include "io/chardev/chardev.h"
#include "io/loop/loop.h"
#include "io/loop/thread.h"
#include "io/net/net.h"
#include "system/clock.h"
#include "system/confine.h"
#include "system/daemon.h"
#include "system/devices.h"
#include "system/drives.h"
#include "system/firmware.h"
#include "system/nics.h"
#include "system/objects.h"
#include "system/run.h"
#include "system/setup.h"
#include "util/error.h"
#include "util/log.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define ERROR_SIZE 1024
#define LOOK_NS    8000 /* about what it costs to wake a thread */

struct session {
    struct system_options options;
    const struct accel_system_ops *accel;
    struct machine *machine;
    struct loop *loop;
    struct machine_default *globals;
    char error[ERROR_SIZE];
};

/* Ends the process when the last step has failed. */
static void check(struct session *s, int err)
{
    if (err < 0) {
        error_fatal("%s", s->error);
    }
}

/* ---- options of -M that are other options too ---- */

static const char *machine_only(struct session *s, struct keyval *list, const char *name,
                                const char *now)
{
    const char *value = keyval_take(list, name);

    return value ? value : now;
}

static void set_machine_properties(struct session *s)
{
    struct system_options *o = &s->options;

    for (unsigned i = 0; i < o->property_lists; i++) {
        struct keyval *list = &o->properties[i];

        o->kernel = machine_only(s, list, "kernel", o->kernel);
        o->initrd = machine_only(s, list, "initrd", o->initrd);
        o->append = machine_only(s, list, "append", o->append);
        o->dtb = machine_only(s, list, "dtb", o->dtb);
        o->bios = machine_only(s, list, "firmware", o->bios);
        for (unsigned n = 0; n < list->count; n++) {
            const struct keyval_pair *pair = &list->pairs[n];

            if (!pair->taken) {
                check(s, machine_set_property(s->machine, pair->name, pair->value, s->error,
                                              sizeof(s->error)));
            }
        }
    }
}

static void check_start(struct session *s)
{
    const struct system_options *o = &s->options;

    if (!o->kernel && (o->initrd || o->append)) {
        snprintf(s->error, sizeof(s->error), "%s: is only for use with -kernel",
                 o->initrd ? "-initrd" : "-append");
        check(s, -EINVAL);
    }
    if (o->daemonize && o->confine.exit_with_parent) {
        snprintf(s->error, sizeof(s->error), "-daemonize: excludes -run-with exit-with-parent=on");
        check(s, -EINVAL);
    }
    if (o->daemonize && o->nographic) {
        snprintf(s->error, sizeof(s->error), "-daemonize: excludes -nographic");
        check(s, -EINVAL);
    }
}

static void make_machine(struct session *s)
{
    struct system_options *o = &s->options;
    const struct machine_type *type;

    if (!o->machine) {
        error_fatal("-M: has to be given (-M help lists machines)");
    }
    type = machine_find_type(o->machine);
    if (!type) {
        error_fatal("-M %s: no such machine (-M help lists them)", o->machine);
    }
    s->machine = machine_create(type);
    if (!s->machine) {
        error_fatal("-M %s: out of memory", type->name);
    }
    set_machine_properties(s);
    check_start(s);
    check(s, setup_smp(o->smp, type->max_cpus, &s->machine->smp, s->error, sizeof(s->error)));
    if (s->machine->smp.dies > 1 && !type->has_dies) {
        error_fatal("-smp %s: dies=%u: the machine %s has one in a socket", o->smp,
                    s->machine->smp.dies, type->name);
    }
    check(s, setup_rtc(o->rtc, &s->machine->rtc_offset, s->error, sizeof(s->error)));
    check(s, setup_globals(&o->globals, &s->globals, s->error, sizeof(s->error)));
    s->machine->globals = s->globals;
    s->machine->loop = s->loop;
    s->machine->clock = clock_source(s->loop);
    s->machine->bios = o->bios;
    s->machine->kernel = o->kernel;
    s->machine->initrd = o->initrd;
    s->machine->append = o->append;
    s->machine->dtb = o->dtb;
    s->machine->find_firmware = firmware_find;
}

/* ---- the host's ends ---- */

/*
 * Serial ports without -serial: the first is on the terminal with -nographic, and also when nothing
 * was said of displays, of which there are none. With -display none it leads nowhere.
 */
static void open_serials(struct session *s)
{
    const struct system_options *o = &s->options;
    unsigned count = o->serials.count;
    const char *own = o->nographic || (!o->display_given && !o->daemonize) ? "mon:stdio" : "null";

    for (unsigned i = 0; i < o->chardevs.count; i++) {
        struct chardev *chr;

        check(s, chardev_create(&chr, s->loop, o->chardevs.text[i], s->error, sizeof(s->error)));
    }
    if (count == 0 && !o->nodefaults && !s->machine->dumpdtb) {
        check(s, chardev_create_legacy(&s->machine->serials[0], s->loop, "serial0", own, s->error,
                                       sizeof(s->error)));
    }
    for (unsigned i = 0; i < count; i++) {
        char id[24];

        if (i >= s->machine->type->serials) {
            error_fatal("-serial %s: the machine %s has %u serial port", o->serials.text[i],
                        s->machine->type->name, s->machine->type->serials);
        }
        snprintf(id, sizeof(id), "serial%u", i);
        if (strcmp(o->serials.text[i], "none") != 0) {
            check(s, chardev_create_legacy(&s->machine->serials[i], s->loop, id, o->serials.text[i],
                                           s->error, sizeof(s->error)));
        }
    }
}

/* -M pflash0=NODE and so on; -drive if=pflash has filled in others. */
static void connect_flash(struct session *s)
{
    for (unsigned i = 0; i < s->machine->type->flashes; i++) {
        char name[24], node[256] = "";

        snprintf(name, sizeof(name), "pflash%u", i);
        if (property_get(s->machine->type->properties, s->machine, name, node, sizeof(node)) ||
            !*node) {
            continue;
        }
        if (s->machine->flashes[i]) {
            error_fatal("-M %s=%s: there is a -drive for this bank too", name, node);
        }
        s->machine->flashes[i] = block_find(node);
        if (!s->machine->flashes[i]) {
            error_fatal("-M %s=%s: there is no such block node", name, node);
        }
    }
}

/* What firmware is told of the machine as a whole. */
static void tell_firmware(struct session *s)
{
    struct fw_cfg *fw = s->machine->fw_cfg;
    uint8_t uuid[16];

    if (!fw) {
        return;
    }
    setup_uuid(s->options.uuid, uuid);
    if (fw_cfg_add_bytes(fw, FW_CFG_UUID, uuid, sizeof(uuid)) ||
        fw_cfg_add_number(fw, FW_CFG_NOGRAPHIC, s->options.nographic, 2) ||
        fw_cfg_add_number(fw, FW_CFG_BOOT_MENU, 0, 2)) {
        error_fatal("fw_cfg: out of memory");
    }
}

static void add_devices(struct session *s)
{
    const struct system_options *o = &s->options;

    check(s, drives_add_devices(s->machine, s->error, sizeof(s->error)));
    check(s, nics_add_devices(o, s->machine, s->error, sizeof(s->error)));
    for (unsigned i = 0; i < o->devices.count; i++) {
        struct keyval list;

        check(s, keyval_parse(&list, "-device", o->devices.text[i], "driver", s->error,
                              sizeof(s->error)));
        check(s, devices_add(s->machine, &list, s->error, sizeof(s->error)));
        keyval_free(&list);
    }
    for (unsigned i = 0; i < o->fw_cfg.count; i++) {
        if (!s->machine->fw_cfg) {
            error_fatal("-fw_cfg %s: the machine %s has no such device", o->fw_cfg.text[i],
                        s->machine->type->name);
        }
        check(s,
              fw_cfg_add_option(s->machine->fw_cfg, o->fw_cfg.text[i], s->error, sizeof(s->error)));
    }
}

/* ---- the whole ---- */

static void start_process(struct session *s)
{
    const struct system_options *o = &s->options;

    log_set_mask(o->log_mask);
    if (o->log_file) {
        int err = log_open(o->log_file);

        if (err) {
            error_fatal("-D %s: %s", o->log_file, strerror(-err));
        }
    }
    if (o->process_name) {
        prctl(PR_SET_NAME, o->process_name);
    }
    if (o->daemonize) {
        daemon_fork();
    }
    s->options.confine.daemonize = o->daemonize;
    confine_begin(&o->confine);
    if (o->pidfile) {
        check(s, daemon_write_pidfile(o->pidfile, s->error, sizeof(s->error)));
    }
    firmware_set_folders(&o->firmware_folders);
    pci_set_rom_finder(firmware_find);
    s->loop = loop_create();
    if (!s->loop) {
        error_fatal("the event loop cannot be made: %s", strerror(errno));
    }
    loop_set_lock(s->loop, hw_lock_acquire, hw_lock_release);
    check(s, run_init(s->loop, s->error, sizeof(s->error)));
}

static void construct(struct session *s)
{
    const struct system_options *o = &s->options;
    int err;

    make_machine(s);
    check(s, objects_create(o, s->error, sizeof(s->error)));
    open_serials(s);
    check(s, drives_open(o, s->machine, s->error, sizeof(s->error)));
    connect_flash(s);
    check(s, nics_open(o, s->loop, s->error, sizeof(s->error)));
    check(s, setup_memory(o, s->machine, s->error, sizeof(s->error)));
    check(s, setup_cpus(o, s->machine, &s->accel, s->error, sizeof(s->error)));
    check(s, s->machine->type->init(s->machine, s->error, sizeof(s->error)));
    tell_firmware(s);
    add_devices(s);
    err = s->machine->type->boot(s->machine, s->error, sizeof(s->error));
    check(s, err);
    if (err == MACHINE_DONE) {
        exit(0);
    }
}

/* What has an effect outside of the process; memory is the host's to take back. */
static void destruct(struct session *s)
{
    machine_remove_devices(s->machine);
    objects_destroy();
    drives_close();
    net_destroy_all();
    block_loop_gone(s->loop);
    block_finish();
    chardev_destroy_all();
}

static void look(struct loop *loop, void *opaque)
{
    loop_set_look(loop, LOOK_NS);
}

/* Where looking saves the guest's time; it takes another processor to look meanwhile. */
static void look_for_notifications(struct session *s)
{
    cpu_set_t set;

    if (s->accel->signals_from_guest && sched_getaffinity(0, sizeof(set), &set) == 0 &&
        CPU_COUNT(&set) > 1) {
        look(s->loop, NULL);
        check(s, loop_thread_run_all(look, NULL));
    }
}

int system_main(const struct system_target *target, int argc, char **argv)
{
    static struct session s;
    int status;

    error_set_program(argv[0]);
    machine_add_types(target->machines);
    for (unsigned i = 0; target->devices[i]; i++) {
        hw_device_add_types(target->devices[i]);
    }
    options_parse(&s.options, target, argc, argv);
    atexit(chardev_restore_terminal);
    hw_lock_acquire();
    start_process(&s);
    construct(&s);
    look_for_notifications(&s);
    daemon_prepare();
    check(&s, confine(&s.options.confine, s.loop, s.accel->name, s.error, sizeof(s.error)));
    daemon_ready();
    status = run_machine(&(struct run_config){.machine = s.machine,
                                              .loop = s.loop,
                                              .stopped = s.options.stopped,
                                              .reboot_exits = s.options.reboot_exits,
                                              .shutdown_pauses = s.options.shutdown_pauses},
                         s.accel->name);
    if (log_enabled(LOG_STATS) && s.accel->print_stats) {
        s.accel->print_stats();
    }
    destruct(&s);
    return status;
}
