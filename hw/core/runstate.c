/* Run states: a table of changes, a list of listeners, and a word per kind of request. */
#include "hw/core/runstate.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

#define S(state) (1u << HW_RUNSTATE_##state)
#define ALWAYS   (S(SHUTDOWN) | S(INTERNAL_ERROR))

/* A row: name, does time go, and which states may follow. */
static const struct {
    const char *name;
    bool runs;
    uint32_t next;
} states[HW_RUNSTATE_COUNT] = {
    [HW_RUNSTATE_PRELAUNCH] = {"prelaunch", false,
                               S(RUNNING) | S(PAUSED) | S(INMIGRATE) | S(RESTORE_VM) |
                                   S(FINISH_MIGRATE) | S(SUSPENDED)},
    [HW_RUNSTATE_RUNNING] = {"running", true,
                             S(PAUSED) | S(SUSPENDED) | S(DEBUG) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                 S(RESTORE_VM) | S(IO_ERROR) | S(GUEST_PANICKED) | S(WATCHDOG)},
    [HW_RUNSTATE_PAUSED] = {"paused", false,
                            S(RUNNING) | S(SUSPENDED) | S(DEBUG) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                S(RESTORE_VM) | S(POSTMIGRATE) | S(PRELAUNCH)},
    [HW_RUNSTATE_SUSPENDED] = {"suspended", true,
                               S(RUNNING) | S(PAUSED) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                   S(RESTORE_VM) | S(DEBUG)},
    [HW_RUNSTATE_DEBUG] = {"debug", false,
                           S(RUNNING) | S(SUSPENDED) | S(PAUSED) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                               S(RESTORE_VM)},
    [HW_RUNSTATE_INMIGRATE] = {"inmigrate", false,
                               S(RUNNING) | S(PAUSED) | S(PRELAUNCH) | S(SUSPENDED) |
                                   S(POSTMIGRATE) | S(IO_ERROR) | S(GUEST_PANICKED) | S(WATCHDOG)},
    [HW_RUNSTATE_FINISH_MIGRATE] = {"finish-migrate", false,
                                    S(RUNNING) | S(PAUSED) | S(PRELAUNCH) | S(SUSPENDED) |
                                        S(POSTMIGRATE) | S(IO_ERROR) | S(GUEST_PANICKED) |
                                        S(WATCHDOG)},
    [HW_RUNSTATE_POSTMIGRATE] = {"postmigrate", false,
                                 S(RUNNING) | S(PAUSED) | S(FINISH_MIGRATE) | S(PRELAUNCH)},
    [HW_RUNSTATE_SAVE_VM] = {"save-vm", false,
                             S(RUNNING) | S(PAUSED) | S(SUSPENDED) | S(DEBUG) | S(IO_ERROR) |
                                 S(GUEST_PANICKED) | S(WATCHDOG)},
    [HW_RUNSTATE_RESTORE_VM] = {"restore-vm", false,
                                S(RUNNING) | S(PAUSED) | S(PRELAUNCH) | S(SUSPENDED)},
    [HW_RUNSTATE_IO_ERROR] = {"io-error", false,
                              S(RUNNING) | S(PAUSED) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                  S(RESTORE_VM)},
    [HW_RUNSTATE_INTERNAL_ERROR] = {"internal-error", false, S(PAUSED) | S(FINISH_MIGRATE)},
    [HW_RUNSTATE_GUEST_PANICKED] = {"guest-panicked", false,
                                    S(RUNNING) | S(PAUSED) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                        S(RESTORE_VM)},
    [HW_RUNSTATE_WATCHDOG] = {"watchdog", false,
                              S(RUNNING) | S(PAUSED) | S(FINISH_MIGRATE) | S(SAVE_VM) |
                                  S(RESTORE_VM)},
    [HW_RUNSTATE_SHUTDOWN] = {"shutdown", false,
                              S(PAUSED) | S(FINISH_MIGRATE) | S(PRELAUNCH) | S(RESTORE_VM)},
};

static _Atomic uint32_t current = HW_RUNSTATE_PRELAUNCH;
static struct hw_runstate_listener *first, *last;

static void (*notify)(void *opaque);
static void *notify_opaque;
/* 0: none; else bit 63, cause in bits 32 to 47, detail in the low half. */
static _Atomic uint64_t requests[HW_REQUEST_COUNT];

const char *hw_runstate_name(enum hw_runstate state)
{
    return states[state].name;
}

enum hw_runstate hw_runstate_get(void)
{
    return (enum hw_runstate)atomic_load(&current);
}

bool hw_runstate_runs(enum hw_runstate state)
{
    return states[state].runs;
}

int hw_runstate_set(enum hw_runstate state)
{
    enum hw_runstate before = hw_runstate_get();
    bool runs = states[state].runs;

    if (state == before) {
        return 0;
    }
    if (!((states[before].next | ALWAYS) >> state & 1)) {
        return -EPERM;
    }
    atomic_store(&current, state);
    for (struct hw_runstate_listener *l = runs ? first : last, *next; l; l = next) {
        next = runs ? l->next : l->prev; /* a listener may remove itself */
        l->changed(l, runs, state);
    }
    return 0;
}

void hw_runstate_add_listener(struct hw_runstate_listener *listener)
{
    struct hw_runstate_listener *after = last;

    while (after && after->priority > listener->priority) {
        after = after->prev;
    }
    listener->prev = after;
    listener->next = after ? after->next : first;
    *(after ? &after->next : &first) = listener;
    *(listener->next ? &listener->next->prev : &last) = listener;
}

void hw_runstate_remove_listener(struct hw_runstate_listener *listener)
{
    *(listener->prev ? &listener->prev->next : &first) = listener->next;
    *(listener->next ? &listener->next->prev : &last) = listener->prev;
}

void hw_runstate_request(enum hw_request request, enum hw_cause cause, uint32_t detail)
{
    uint64_t none = 0;

    atomic_compare_exchange_strong(&requests[request], &none,
                                   UINT64_C(1) << 63 | (uint64_t)cause << 32 | detail);
    if (notify) {
        notify(notify_opaque);
    }
}

bool hw_runstate_take(enum hw_request request, enum hw_cause *cause, uint32_t *detail)
{
    uint64_t word = atomic_exchange(&requests[request], 0);

    *cause = (enum hw_cause)(word >> 32 & 0xffff);
    *detail = (uint32_t)word;
    return word != 0;
}

void hw_runstate_set_notify(void (*fn)(void *opaque), void *opaque)
{
    notify = fn;
    notify_opaque = opaque;
}
