/* Options that say how the process runs: start and end, log, background. */
#include "system/options.h"

#include "build/config.h"
#include "util/error.h"
#include "util/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_stopped(struct system_options *o, const char *name, const char *value)
{
    o->stopped = true;
}

static void set_no_reboot(struct system_options *o, const char *name, const char *value)
{
    o->reboot_exits = true;
}

static void set_no_shutdown(struct system_options *o, const char *name, const char *value)
{
    o->shutdown_pauses = true;
}

static void set_action(struct system_options *o, const char *name, const char *value)
{
    static const char *const reboot[] = {"reset", "shutdown", NULL};
    static const char *const shutdown[] = {"poweroff", "pause", NULL};
    static const char *const panic[] = {"pause", "shutdown", "exit-failure", "none", NULL};
    static const char *const watchdog[] = {"reset", "shutdown", "poweroff", "inject-nmi",
                                           "pause", "debug",    "none",     NULL};
    int on_reboot = o->reboot_exits, on_shutdown = o->shutdown_pauses, other;
    struct keyval list;
    char error[256];

    options_keyval(&list, name, value, NULL);
    if (keyval_take_enum(&list, "reboot", reboot, &on_reboot, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "shutdown", shutdown, &on_shutdown, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "panic", panic, &other, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "watchdog", watchdog, &other, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    o->reboot_exits = on_reboot;
    o->shutdown_pauses = on_shutdown;
    keyval_free(&list);
}

static void set_daemonize(struct system_options *o, const char *name, const char *value)
{
    o->daemonize = true;
}

static void set_pidfile(struct system_options *o, const char *name, const char *value)
{
    o->pidfile = value;
}

static void set_log(struct system_options *o, const char *name, const char *value)
{
    const char *bad;
    size_t length;
    uint32_t mask;

    if (options_is_help(value)) {
        log_print_items(1);
        exit(0);
    }
    if (log_parse_items(value, &mask, &bad, &length) < 0) {
        error_fatal("%s %s: unknown item '%.*s' (-d help lists them)", name, value, (int)length,
                    bad);
    }
    o->log_mask |= mask;
}

static void set_log_file(struct system_options *o, const char *name, const char *value)
{
    o->log_file = value;
}

static void set_message(struct system_options *o, const char *name, const char *value)
{
    struct keyval list;
    char error[256];
    bool flag;

    options_keyval(&list, name, value, NULL);
    if (keyval_take_bool(&list, "timestamp", &flag, error, sizeof(error)) < 0 ||
        keyval_take_bool(&list, "guest-name", &flag, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    keyval_free(&list);
}

static void print_version(struct system_options *o, const char *name, const char *value)
{
    printf("%s version %s\n", error_program(), CONFIG_VERSION);
    exit(0);
}

/* options_parse() answers these itself; the rows are for the list. */
static void ignore(struct system_options *o, const char *name, const char *value)
{
}

const struct option_row options_run_rows[] = {
    {"S", NULL, "vCPUs do not start", set_stopped},
    {"no-reboot", NULL, "the guest's reset ends the process", set_no_reboot},
    {"no-shutdown", NULL, "the guest's power-off stops the machine, not the process",
     set_no_shutdown},
    {"action", "EVENT=ACTION", "reboot=reset|shutdown, shutdown=poweroff|pause", set_action},
    {"daemonize", NULL, "go on in the background when the machine is there", set_daemonize},
    {"pidfile", "FILE", "where the process id is written", set_pidfile},
    {"msg", "timestamp=on|off", "taken and ignored", set_message},
    {"d", "ITEM[,ITEM...]", "log items; help lists them", set_log},
    {"D", "FILE", "write the log there, not to stderr", set_log_file},
    {"version", NULL, "print the version", print_version},
    {"h", NULL, "print this", ignore},
    {NULL, NULL, NULL, NULL},
};
