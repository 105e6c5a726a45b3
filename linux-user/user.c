/* What all of linux-user shares: the process, its own file descriptors, guest strings. */
#include "linux-user/user.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "accel/tcg/tcg.h"
#include "util/log.h"

/* Descriptors of ours go below this, or below the limit of open files if that is lower: the
 * kernel's table is as long as the highest number. */
#define RESERVE_BELOW 1024
#define RESERVED_MAX  8

__thread struct user_thread *user_self;
const struct accel_ops *user_accel = &accel_tcg;
struct user_process user_process = {.ld_prefix_fd = -1, .host_exe_fd = -1};

static int reserved[RESERVED_MAX];
static unsigned reserved_count;

bool user_fd_reserved(int fd)
{
    for (unsigned i = 0; i < reserved_count; i++) {
        if (reserved[i] == fd) {
            return true;
        }
    }
    return fd > 2 && fd == log_fd();
}

int user_fd_reserve(int fd)
{
    struct rlimit limit;
    int low = 3, moved = -1;

    if (reserved_count == RESERVED_MAX) {
        close(fd);
        return -EMFILE;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t top = limit.rlim_cur < RESERVE_BELOW ? limit.rlim_cur : RESERVE_BELOW;
        low = top > 2 * RESERVED_MAX ? (int)top - 2 * RESERVED_MAX : low;
    }
    moved = fcntl(fd, F_DUPFD_CLOEXEC, low);
    if (moved < 0) {
        moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    }
    if (moved < 0) {
        moved = -errno;
        close(fd);
        return moved;
    }
    close(fd);
    reserved[reserved_count++] = moved;
    return moved;
}

void user_print_stats(const struct user_thread *t, const char *when)
{
    if (log_enabled(LOG_STATS) && !t->vfork_child) {
        tcg_print_stats(when);
    }
}

int64_t user_string(uint64_t guest, char *buffer, size_t size)
{
    int64_t length = mem_guest_strlen(guest, size - 1);

    if (length < 0) {
        return length;
    }
    if (mem_guest_read(buffer, guest, (size_t)length) < 0) {
        return -EFAULT;
    }
    buffer[length] = 0;
    return length;
}
