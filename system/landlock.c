/* By system calls: libc has no functions for them, and headers lack what is newer than they. */
#include "system/landlock.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* landlock(7); numbers that all architectures share. */
enum { CREATE_RULESET = 444, RESTRICT_SELF = 446, VERSION_FLAG = 1 };

struct ruleset {
    uint64_t files, net, scope;
};

/* What a version of the interface added to the accesses that it can forbid. */
static const struct {
    int version;
    uint64_t files, net, scope;
    bool sockets; /* not for machines that make connections */
} versions[] = {
    {1, 0x1fff, 0, 0, false},   /* execute, read, write, list, remove, make of each kind */
    {2, 1u << 13, 0, 0, false}, /* link and rename across folders */
    {3, 1u << 14, 0, 0, false}, /* truncate */
    {4, 0, 3, 0, true},         /* bind and connect TCP */
    {5, 1u << 15, 0, 0, false}, /* ioctl of devices that are opened from then on */
    {6, 0, 0, 1, true},         /* connect to abstract unix sockets of others */
};

int landlock_prepare(bool sockets)
{
    long version = syscall(CREATE_RULESET, NULL, 0, VERSION_FLAG);
    struct ruleset ruleset = {0};
    size_t size = version >= 6 ? sizeof(ruleset) : version >= 4 ? 16 : 8;
    long fd;

    if (version < 1) {
        return -1;
    }
    for (unsigned i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (version >= versions[i].version && !(sockets && versions[i].sockets)) {
            ruleset.files |= versions[i].files;
            ruleset.net |= versions[i].net;
            ruleset.scope |= versions[i].scope;
        }
    }
    fd = syscall(CREATE_RULESET, &ruleset, size, 0);
    return fd < 0 ? -1 : (int)fd;
}

int landlock_apply(int rules)
{
    return syscall(RESTRICT_SELF, rules, 0) < 0 ? -errno : 0;
}
