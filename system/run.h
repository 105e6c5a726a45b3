/* The machine goes: the main loop, requests to reset and to end, signals of the host. */
#ifndef TINAMOU_SYSTEM_RUN_H
#define TINAMOU_SYSTEM_RUN_H

#include "hw/machine/machine.h"

struct run_config {
    struct machine *machine;
    struct loop *loop;
    bool stopped;         /* -S */
    bool reboot_exits;    /* -no-reboot */
    bool shutdown_pauses; /* -no-shutdown */
};

/* Before threads are made: signals that end the process are taken, and make requests. */
int run_init(struct loop *loop, char *error, size_t error_size);

/*
 * Starts the vCPUs' threads and runs until something ends the machine; they have ended then. The
 * result is the process's exit status. With the machine lock held.
 */
int run_machine(const struct run_config *config, const char *accel);

#endif
