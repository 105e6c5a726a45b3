/* Of libc's functions those that change all threads; capabilities are each thread's own. */
#include "system/identity.h"

#include "build/config.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if CONFIG_CAP_NG
#include <cap-ng.h>
#endif

/* A decimal number below the one that means "no change"; what follows it, or NULL. */
static const char *number(const char *text, uint32_t *value)
{
    char *end;
    unsigned long long n;

    if (*text < '0' || *text > '9') {
        return NULL;
    }
    errno = 0;
    n = strtoull(text, &end, 10);
    *value = (uint32_t)n;
    return errno || n >= UINT32_MAX ? NULL : end;
}

int identity_find(struct identity *identity, const char *option, const char *text, char *error,
                  size_t error_size)
{
    const struct passwd *entry = getpwnam(text);
    const char *rest;

    if (entry) {
        *identity = (struct identity){strdup(text), entry->pw_uid, entry->pw_gid};
        if (!identity->name) {
            snprintf(error, error_size, "%s: out of memory", option);
        }
        return identity->name ? 0 : -ENOMEM;
    }
    *identity = (struct identity){0};
    rest = number(text, &identity->uid);
    rest = rest && *rest == ':' ? number(rest + 1, &identity->gid) : NULL;
    if (!rest || *rest) {
        snprintf(error, error_size, "%s%s: there is no such user (expected NAME or UID:GID)",
                 option, text);
        return -ENOENT;
    }
    return 0;
}

int identity_become(const struct identity *identity, const char *option, char *error,
                    size_t error_size)
{
    const char *step = "groups";
    int failed =
        identity->name ? initgroups(identity->name, identity->gid) : setgroups(1, &identity->gid);
    int err;

    if (!failed) {
        step = "group";
        failed = setgid(identity->gid);
    }
    if (!failed) {
        step = "user";
        failed = setuid(identity->uid);
    }
    if (failed) {
        err = -errno;
        snprintf(error, error_size, "%s%" PRIu32 ":%" PRIu32 ": the %s cannot be changed: %s",
                 option, identity->uid, identity->gid, step, strerror(-err));
        return err;
    }
    /* What was given up cannot be had again. */
    if (identity->uid != 0 && setuid(0) == 0) {
        snprintf(error, error_size, "%s%" PRIu32 ":%" PRIu32 ": root can be had again", option,
                 identity->uid, identity->gid);
        return -EPERM;
    }
    return 0;
}

int identity_chroot(const char *option, const char *folder, char *error, size_t error_size)
{
    if (chroot(folder) < 0 || chdir("/") < 0) {
        int err = -errno;

        snprintf(error, error_size, "%s%s: %s", option, folder, strerror(-err));
        return err;
    }
    return 0;
}

#if CONFIG_CAP_NG

int identity_drop_bounds(void)
{
    if (capng_get_caps_process() < 0) {
        return -EPERM;
    }
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
        return 0;
    }
    capng_clear(CAPNG_SELECT_BOUNDS);
    return capng_apply(CAPNG_SELECT_BOUNDS) < 0 ? -EPERM : 0;
}

int identity_drop_capabilities(void)
{
    capng_clear(CAPNG_SELECT_ALL);
    if (capng_apply(CAPNG_SELECT_CAPS) < 0) {
        return -EPERM;
    }
    /* The kernel has taken the ambient ones along with the permitted; unless it has none. */
    return capng_apply(CAPNG_SELECT_AMBIENT) < 0 && errno != EINVAL ? -EPERM : 0;
}

#else

int identity_drop_bounds(void)
{
    return -ENOTSUP;
}

int identity_drop_capabilities(void)
{
    return -ENOTSUP;
}

#endif
