/* Redirection of the guest's paths below -L; see the header. */
#include "linux-user/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "linux-user/procfs.h"
#include "linux-user/user.h"
#include "util/lock.h"

#define MISSING_MAX  64
#define MISSING_NAME 32 /* longer names are asked for each time */

/* First components that the prefix does not have. Only grows; a reader that misses a name being
 * added asks the kernel. */
static struct {
    struct lock lock;
    char names[MISSING_MAX][MISSING_NAME];
    unsigned count;
} missing = {.lock = LOCK_INIT};

static const char *const hosts_own[] = {"proc", "dev", "sys", "run", "tmp"};

int user_path_init(const char *prefix)
{
    char absolute[PATH_MAX];
    int fd;

    user_process.ld_prefix = NULL;
    user_process.ld_prefix_fd = -1;
    missing.count = 0;
    if (prefix == NULL || prefix[0] == 0) {
        return 0;
    }
    if (realpath(prefix, absolute) == NULL) {
        return -errno;
    }
    if (strcmp(absolute, "/") == 0) {
        return 0;
    }
    fd = open(absolute, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    fd = user_fd_reserve(fd);
    if (fd < 0) {
        return fd;
    }
    user_process.ld_prefix = strdup(absolute);
    user_process.ld_prefix_fd = fd;
    return user_process.ld_prefix != NULL ? 0 : -ENOMEM;
}

static bool known_missing(const char *name, size_t length)
{
    unsigned count = __atomic_load_n(&missing.count, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < count; i++) {
        if (strncmp(missing.names[i], name, length) == 0 && missing.names[i][length] == 0) {
            return true;
        }
    }
    return false;
}

/* The path does not exist below the prefix: is it because of its first component? */
static void note_missing(const char *name, size_t length)
{
    char component[MISSING_NAME];

    if (length == 0 || length >= MISSING_NAME) {
        return;
    }
    memcpy(component, name, length);
    component[length] = 0;
    if (faccessat(user_process.ld_prefix_fd, component, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
        errno != ENOENT) {
        return;
    }
    lock_acquire(&missing.lock);
    if (missing.count < MISSING_MAX && !known_missing(component, length)) {
        memcpy(missing.names[missing.count], component, length + 1);
        __atomic_store_n(&missing.count, missing.count + 1, __ATOMIC_RELEASE);
    }
    lock_release(&missing.lock);
}

/* Without openat2 (before Linux 5.6): plain concatenation, links resolved by the host. */
static bool join_plain(const char *path, char *host, bool follow)
{
    if (faccessat(user_process.ld_prefix_fd, path + 1, F_OK, follow ? 0 : AT_SYMLINK_NOFOLLOW) !=
        0) {
        return false;
    }
    return snprintf(host, 2 * PATH_MAX, "%s%s", user_process.ld_prefix, path) < 2 * PATH_MAX;
}

static bool resolve(const char *path, char *host, bool follow)
{
    struct open_how how = {
        .flags = (uint64_t)(O_PATH | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)),
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    char link[64];
    ssize_t length;
    int64_t fd;

    fd = user_host_syscall(SYS_openat2, (uint64_t)user_process.ld_prefix_fd, (uint64_t)path,
                           (uint64_t)&how, sizeof(how), 0, 0);
    if (fd == -ENOSYS || fd == -EPERM) {
        return join_plain(path, host, follow);
    }
    if (fd < 0) {
        return false;
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", (int)fd);
    length = readlink(link, host, 2 * PATH_MAX - 1);
    close((int)fd);
    if (length <= 0) {
        return join_plain(path, host, follow);
    }
    host[length] = 0;
    return true;
}

static const char *map(const char *path, char *host, bool follow)
{
    const int saved_errno = errno;
    const char *name = path, *end;
    size_t length, prefix_length;

    if (path[0] != '/') {
        return path;
    }
    while (*name == '/') {
        name++;
    }
    end = strchrnul(name, '/');
    length = (size_t)(end - name);
    if (length == 4 && memcmp(name, "proc", 4) == 0) {
        return follow && procfs_is_exe(path) ? user_process.exe_path : path;
    }
    if (user_process.ld_prefix_fd < 0) {
        return path;
    }
    /* Already below the prefix: what readlink, getcwd or the command line gave. Absolute links on
     * the way are the guest's all the same. */
    prefix_length = strlen(user_process.ld_prefix);
    if (strncmp(path, user_process.ld_prefix, prefix_length) == 0 &&
        (path[prefix_length] == '/' || path[prefix_length] == 0)) {
        bool found = path[prefix_length] == '/' && resolve(path + prefix_length, host, follow);

        errno = saved_errno;
        return found ? host : path;
    }
    if (length == 0 || known_missing(name, length)) {
        return path;
    }
    for (unsigned i = 0; i < sizeof(hosts_own) / sizeof(hosts_own[0]); i++) {
        if (strncmp(hosts_own[i], name, length) == 0 && hosts_own[i][length] == 0) {
            return path;
        }
    }
    if (!resolve(path, host, follow)) {
        note_missing(name, length);
        host = NULL;
    }
    errno = saved_errno;
    return host != NULL ? host : path;
}

const char *user_path(const char *path, char *host)
{
    return map(path, host, true);
}

const char *user_path_link(const char *path, char *host)
{
    return map(path, host, false);
}

static int get(uint64_t guest, struct user_path_buffer *buffer, const char **host, bool follow)
{
    int64_t length = user_string(guest, buffer->guest, sizeof(buffer->guest));

    if (length < 0) {
        return (int)length;
    }
    *host = map(buffer->guest, buffer->host, follow);
    return 0;
}

int user_path_get(uint64_t guest, struct user_path_buffer *buffer, const char **host)
{
    return get(guest, buffer, host, true);
}

int user_path_get_link(uint64_t guest, struct user_path_buffer *buffer, const char **host)
{
    return get(guest, buffer, host, false);
}
