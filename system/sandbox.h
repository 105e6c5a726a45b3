/*
 * The filter of system calls: what the process may ask of the kernel from now on, by libseccomp.
 *
 * system/sandbox.def is the table: an allowed call a row, by feature, with its reason. A machine
 * gets the rows of the features that it uses, and everything else is refused. All threads are
 * under the filter, and those that come later; nothing takes it away.
 *
 * What is refused, and how. The kernel sends SIGSYS to the thread, whose handler (sandbox-trap.c)
 * reports the call in a line on standard error and in the log, and ends the process by SIGSYS, or
 * with SANDBOX_ERRNO lets the call fail with EPERM; then each call is reported once. The handler
 * cannot be replaced, and a thread that has blocked the signal is ended by the kernel. Calls of
 * another ABI of the host (32-bit, x32) end the process without a line.
 *
 * Ending is the default. A refused call is either a hole in the table, and then it is better found
 * at once than as a strange error later; or it is the doing of somebody who has taken over the
 * process, who must not get a second try.
 *
 * No file is opened. A filter cannot see paths, so it lets nobody open anything: what the machine
 * needs is open before. What libraries open again and again is asked of the keeper (keeper.h), from
 * inside of the handler: the caller does not notice. Landlock (landlock.h) says the same a second
 * time where the kernel has it, and says it to io_uring, too, which no filter sees.
 */
#ifndef TINAMOU_SYSTEM_SANDBOX_H
#define TINAMOU_SYSTEM_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sandbox_feature {
#define FEATURE(name, text, use) SANDBOX_##name,
#include "system/sandbox.def"
#undef FEATURE
    SANDBOX_FEATURES
};

#define SANDBOX_BIT(feature) (1u << (feature))

enum sandbox_action {
    SANDBOX_ALLOW,
    SANDBOX_SERVE, /* by the handler */
    SANDBOX_FAIL,  /* with `error`, by the kernel */
    SANDBOX_QUIET, /* with `error`, by the handler, without a report */
    SANDBOX_KILL,
};

enum sandbox_test { SANDBOX_NONE, SANDBOX_EQUAL, SANDBOX_SELF };

/* (argument & mask) equals value; SELF: value is our process's number. */
struct sandbox_condition {
    uint8_t test; /* enum sandbox_test; NONE: there is no condition */
    uint8_t argument;
    uint64_t mask, value;
};

enum { SANDBOX_CONDITIONS = 3 };

struct sandbox_row {
    enum sandbox_feature feature;
    enum sandbox_action action;
    const char *call;    /* as libseccomp has it */
    const char *request; /* of ioctl: its name; else NULL */
    int error;
    const char *reason;
    struct sandbox_condition conditions[SANDBOX_CONDITIONS];
};

/* The table, in the order of sandbox.def. */
extern const struct sandbox_row sandbox_rows[];
extern const unsigned sandbox_row_count;
/* A feature's name, and when it is in use. */
const char *sandbox_feature_name(enum sandbox_feature feature);
const char *sandbox_feature_use(enum sandbox_feature feature);

enum sandbox_violation { SANDBOX_END, SANDBOX_ERRNO };

/*
 * Puts all threads of the process under the filter; no_new_privs is set, too. `features` are
 * SANDBOX_BIT()s; CORE is always one. 0, or -errno with a line in error[]. Once, and last of what
 * gives up rights.
 */
int sandbox_apply(uint32_t features, enum sandbox_violation violation, char *error,
                  size_t error_size);

/* Of sandbox-trap.c: the names of calls for reports, then the handler. */
int sandbox_trap_install(uint32_t features, enum sandbox_violation violation);

#endif
