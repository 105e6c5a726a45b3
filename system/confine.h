/*
 * What the process gives up when the machine is there and before its guest runs: -run-with, and
 * -sandbox. The order of the steps is the table in confine.c.
 */
#ifndef TINAMOU_SYSTEM_CONFINE_H
#define TINAMOU_SYSTEM_CONFINE_H

#include "system/sandbox.h"

#include <stdbool.h>
#include <stddef.h>

struct loop;

struct confine_options {
    /* -run-with, -runas, -chroot; NULL: as it is. The texts that name the options are for messages:
     * "-run-with user=", "-runas ". */
    const char *user, *user_option;
    const char *chroot, *chroot_option;
    bool exit_with_parent, async_teardown;
    /* -sandbox; of its groups those that are allowed */
    bool sandbox;
    enum sandbox_violation violation;
    bool obsolete, elevate, spawn, resource;
    bool daemonize; /* as in -daemonize */
};

/* First of all, before disks are opened and threads are made. */
void confine_begin(const struct confine_options *options);

/*
 * Carries all of it out. `accel` is the accelerator's name; `loop` the main loop, which the caller
 * runs. Disks, networks and chardevs are open, and no vCPU has a thread. 0, or -errno with a line
 * in error[]: then the process cannot go on.
 */
int confine(const struct confine_options *options, struct loop *loop, const char *accel,
            char *error, size_t error_size);

#endif
