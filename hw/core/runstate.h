/*
 * The run state of the machine: does guest time go, and if not, why. Names and meanings are those
 * of QMP's RunState.
 *
 * The state changes under the machine lock, on the main loop's thread. Requests (power off, reset,
 * stop) come from any thread and are carried out by the main loop.
 */
#ifndef TINAMOU_HW_CORE_RUNSTATE_H
#define TINAMOU_HW_CORE_RUNSTATE_H

#include <stdbool.h>
#include <stdint.h>

enum hw_runstate {
    HW_RUNSTATE_PRELAUNCH, /* not started yet */
    HW_RUNSTATE_RUNNING,
    HW_RUNSTATE_PAUSED,    /* by a monitor */
    HW_RUNSTATE_SUSPENDED, /* the guest sleeps; guest time goes */
    HW_RUNSTATE_DEBUG,     /* by a debugger */
    HW_RUNSTATE_INMIGRATE, /* waits for an incoming stream */
    HW_RUNSTATE_FINISH_MIGRATE,
    HW_RUNSTATE_POSTMIGRATE,
    HW_RUNSTATE_SAVE_VM,
    HW_RUNSTATE_RESTORE_VM,
    HW_RUNSTATE_IO_ERROR, /* a disk's error policy stopped it */
    HW_RUNSTATE_INTERNAL_ERROR,
    HW_RUNSTATE_GUEST_PANICKED,
    HW_RUNSTATE_WATCHDOG,
    HW_RUNSTATE_SHUTDOWN,
    HW_RUNSTATE_COUNT
};

/* As QMP has it: "running". */
const char *hw_runstate_name(enum hw_runstate state);

enum hw_runstate hw_runstate_get(void);

/* Does guest time go in this state? */
bool hw_runstate_runs(enum hw_runstate state);

/*
 * Changes the state and tells listeners. 0, or -EPERM when there is no such change (the table is in
 * runstate.c); changing to the present state does nothing.
 */
int hw_runstate_set(enum hw_runstate state);

/*
 * Told after each change, with whether guest time goes: in rising priority when it starts to go,
 * and in falling priority when it stops, so that what others build on starts first and stops last.
 */
struct hw_runstate_listener {
    int priority; /* clocks -10, devices 0, vCPUs 10 */
    void (*changed)(struct hw_runstate_listener *listener, bool runs, enum hw_runstate state);
    struct hw_runstate_listener *next, *prev; /* private */
};

void hw_runstate_add_listener(struct hw_runstate_listener *listener);
void hw_runstate_remove_listener(struct hw_runstate_listener *listener);

/* What others ask of the main loop; several may wait, each is taken once. */
enum hw_request {
    HW_REQUEST_SHUTDOWN, /* power off */
    HW_REQUEST_RESET,
    HW_REQUEST_POWERDOWN, /* press the power button */
    HW_REQUEST_WAKEUP,
    HW_REQUEST_STOP, /* leave the running states for the one given */
    HW_REQUEST_COUNT
};

/* Why, for QMP events and -no-reboot. */
enum hw_cause {
    HW_CAUSE_NONE,
    HW_CAUSE_HOST_SIGNAL,
    HW_CAUSE_MONITOR,
    HW_CAUSE_GUEST,
    HW_CAUSE_ERROR
};

/*
 * Makes a request and wakes the main loop. `detail` is the exit status for SHUTDOWN, the enum
 * hw_runstate for STOP, else 0. Any thread; async-signal-safe if notify is. A request that waits
 * already keeps its first cause.
 */
void hw_runstate_request(enum hw_request request, enum hw_cause cause, uint32_t detail);

/* Takes a waiting request: true, and its cause and detail. By the main loop. */
bool hw_runstate_take(enum hw_request request, enum hw_cause *cause, uint32_t *detail);

/* What wakes the main loop; set once at start. */
void hw_runstate_set_notify(void (*notify)(void *opaque), void *opaque);

#endif
