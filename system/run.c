/*
 * The main loop's part in running a machine. vCPUs, devices and signals make requests
 * (hw/core/runstate.h); the bottom half carries them out in a fixed order, with all vCPUs stopped
 * where that is needed.
 *
 * Two listeners of the run state make time and vCPUs go and stand: the virtual clock first, then
 * vCPUs, and back in the other order.
 */
#include "system/run.h"

#include "accel/vcpu.h"
#include "hw/core/lock.h"
#include "hw/core/runstate.h"
#include "io/chardev/chardev.h"
#include "io/loop/loop.h"
#include "util/error.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static struct {
    struct run_config config;
    struct loop *loop;
    struct loop_bh *requests;
    struct loop_fd *signals;
    int signal_fd;
    int status;
} run;

static void clock_changed(struct hw_runstate_listener *listener, bool runs, enum hw_runstate state)
{
    loop_clock_run(runs);
}

static void vcpus_changed(struct hw_runstate_listener *listener, bool runs, enum hw_runstate state)
{
    if (runs) {
        vcpu_resume_all();
    } else {
        vcpu_pause_all(hw_lock_release, hw_lock_acquire);
    }
}

static struct hw_runstate_listener clock_listener = {.priority = -10, .changed = clock_changed};
static struct hw_runstate_listener vcpu_listener = {.priority = 10, .changed = vcpus_changed};

static void finish(int status)
{
    run.status = status;
    loop_quit(run.loop);
}

static void power_off(enum hw_cause cause, int status)
{
    if (run.config.shutdown_pauses && cause == HW_CAUSE_GUEST) {
        (void)hw_runstate_set(HW_RUNSTATE_SHUTDOWN);
    } else {
        finish(status);
    }
}

/* Devices, memory and vCPUs as after power-on, while nobody runs. */
static void reset(void)
{
    bool ran = hw_runstate_runs(hw_runstate_get());

    if (ran) {
        vcpu_pause_all(hw_lock_release, hw_lock_acquire);
    }
    machine_reset(run.config.machine, false);
    for (unsigned n = 0; n < vcpu_count(); n++) {
        vcpu_unhalt(vcpu_at(n));
    }
    if (ran) {
        vcpu_resume_all();
    }
}

static void carry_out(void *opaque)
{
    enum hw_cause cause;
    uint32_t detail;

    if (hw_runstate_take(HW_REQUEST_STOP, &cause, &detail)) {
        (void)hw_runstate_set((enum hw_runstate)detail);
    }
    if (hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail)) {
        power_off(cause, (int)detail);
    }
    if (hw_runstate_take(HW_REQUEST_RESET, &cause, &detail)) {
        if (run.config.reboot_exits && cause == HW_CAUSE_GUEST) {
            power_off(cause, 0);
        } else {
            reset();
        }
    }
    if (hw_runstate_take(HW_REQUEST_WAKEUP, &cause, &detail) &&
        hw_runstate_get() == HW_RUNSTATE_SUSPENDED) {
        (void)hw_runstate_set(HW_RUNSTATE_RUNNING);
    }
    if (hw_runstate_take(HW_REQUEST_POWERDOWN, &cause, &detail) &&
        run.config.machine->type->powerdown) {
        run.config.machine->type->powerdown(run.config.machine);
    }
}

static void wake_loop(void *opaque)
{
    loop_bh_schedule(run.requests);
}

static void take_signal(void *opaque, unsigned events)
{
    struct signalfd_siginfo info;

    while (read(run.signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        error_report("terminating on signal %u%s", info.ssi_signo,
                     info.ssi_pid ? "" : " of the kernel");
        hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_HOST_SIGNAL, 0);
    }
}

static void quit_by_terminal(void *opaque)
{
    hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_MONITOR, 0);
}

int run_init(struct loop *loop, char *error, size_t error_size)
{
    sigset_t signals;
    int err;

    run.loop = loop;
    run.requests = loop_bh_create(loop, carry_out, NULL);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write behind the limit of files is an error (EFBIG), no end */
    err = -pthread_sigmask(SIG_BLOCK, &signals, NULL);
    run.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!err && run.signal_fd < 0) {
        err = -errno;
    }
    if (!err) {
        run.signals = loop_fd_add(loop, run.signal_fd, LOOP_IN, take_signal, NULL);
    }
    if (err || !run.requests || !run.signals) {
        err = err ? err : -ENOMEM;
        snprintf(error, error_size, "signals: %s", strerror(-err));
        return err;
    }
    hw_runstate_set_notify(wake_loop, NULL);
    chardev_set_quit(quit_by_terminal, NULL);
    return 0;
}

int run_machine(const struct run_config *config, const char *accel)
{
    run.config = *config;
    hw_runstate_add_listener(&clock_listener);
    hw_runstate_add_listener(&vcpu_listener);
    machine_reset(config->machine, true);
    for (unsigned n = 0; n < vcpu_count(); n++) {
        int err = vcpu_start(vcpu_at(n)->owner, accel);

        if (err) {
            error_report("vCPU %u: its thread cannot be started: %s", n, strerror(-err));
            finish(1);
        }
    }
    if (!config->stopped) {
        (void)hw_runstate_set(HW_RUNSTATE_RUNNING);
    }
    loop_run(run.loop);
    if (hw_runstate_runs(hw_runstate_get())) {
        (void)hw_runstate_set(HW_RUNSTATE_SHUTDOWN);
    }
    vcpu_stop_all(hw_lock_release, hw_lock_acquire);
    return run.status;
}
