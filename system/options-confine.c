/* Options that say what the process gives up: user, root folder, system calls. */
#include "system/options.h"

#include "util/error.h"

#include <stdlib.h>
#include <string.h>

/* What an option says, kept for good. */
static const char *keep(const char *text)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy) {
        error_fatal("out of memory");
    }
    return copy;
}

static void set_run_with(struct system_options *o, const char *name, const char *value)
{
    struct confine_options *c = &o->confine;
    struct keyval list;
    char error[256];

    options_keyval(&list, name, value, NULL);
    if (keyval_take_bool(&list, "exit-with-parent", &c->exit_with_parent, error, sizeof(error)) <
            0 ||
        keyval_take_bool(&list, "async-teardown", &c->async_teardown, error, sizeof(error)) < 0) {
        error_fatal("%s", error);
    }
    if (keyval_get(&list, "chroot")) {
        c->chroot = keep(keyval_take(&list, "chroot"));
        c->chroot_option = "-run-with chroot=";
    }
    if (keyval_get(&list, "user")) {
        c->user = keep(keyval_take(&list, "user"));
        c->user_option = "-run-with user=";
    }
    if (keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    keyval_free(&list);
}

static void set_runas(struct system_options *o, const char *name, const char *value)
{
    o->confine.user = value;
    o->confine.user_option = "-runas ";
}

static void set_chroot(struct system_options *o, const char *name, const char *value)
{
    o->confine.chroot = value;
    o->confine.chroot_option = "-chroot ";
}

static void set_sandbox(struct system_options *o, const char *name, const char *value)
{
    static const char *const groups[] = {"deny", "allow", NULL};
    static const char *const elevate[] = {"deny", "allow", "children", NULL};
    static const char *const violation[] = {"kill", "errno", NULL};
    struct confine_options *c = &o->confine;
    int obsolete = 0, privileges = 0, spawn = 0, resource = 0, answer = 0;
    struct keyval list;
    char error[256];

    options_keyval(&list, name, value, "enable");
    if (!keyval_get(&list, "enable")) {
        error_fatal("%s %s: expected on or off", name, value);
    }
    if (keyval_take_bool(&list, "enable", &c->sandbox, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "obsolete", groups, &obsolete, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "elevateprivileges", elevate, &privileges, error, sizeof(error)) <
            0 ||
        keyval_take_enum(&list, "spawn", groups, &spawn, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "resourcecontrol", groups, &resource, error, sizeof(error)) < 0 ||
        keyval_take_enum(&list, "violation", violation, &answer, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    c->obsolete = obsolete;
    /* Children never get more rights than we have, so "children" is the same as "deny". */
    c->elevate = privileges == 1;
    c->spawn = spawn;
    c->resource = resource;
    c->violation = answer ? SANDBOX_ERRNO : SANDBOX_END;
    keyval_free(&list);
}

const struct option_row options_confine_rows[] = {
    {"sandbox", "on|off[,PROP=VALUE...]",
     "system calls: spawn, elevateprivileges, obsolete, resourcecontrol, violation", set_sandbox},
    {"run-with", "PROP=VALUE...", "user, chroot, exit-with-parent, async-teardown", set_run_with},
    {"runas", "USER", "the same as -run-with user=USER", set_runas},
    {"chroot", "FOLDER", "the same as -run-with chroot=FOLDER", set_chroot},
    {NULL, NULL, NULL, NULL},
};
