/*
 * System calls on files whose layout, path or descriptor needs care: struct stat, the files of
 * /proc that are ours to answer, and descriptors of the emulator, which the guest sees as closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "linux-user/path.h"
#include "linux-user/procfs.h"
#include "linux-user/syscall-pass.h"
#include "linux-user/syscall.h"
#include "util/log.h"

#define RESERVED_BELOW 1024 /* user_fd_reserve() puts descriptors below it, log_open() anywhere */

/* ---- opening -------------------------------------------------------------------------------- */

int64_t sys_openat(struct user_thread *t, const uint64_t args[6])
{
    struct user_path_buffer *buffer = malloc(sizeof(*buffer));
    const char *path;
    int64_t result = !buffer                ? -ENOMEM
                     : args[2] & O_NOFOLLOW ? user_path_get_link(args[1], buffer, &path)
                                            : user_path_get(args[1], buffer, &path);

    if (result == 0) {
        result = procfs_open(t, (int)args[0], buffer->guest, (int)args[2]);
        if (result == PROCFS_NOT_OURS) {
            result =
                user_safe_syscall(t, SYS_openat, args[0], (uint64_t)path, args[2], args[3], 0, 0);
        }
    }
    free(buffer);
    return result;
}

int64_t sys_openat2(struct user_thread *t, const uint64_t args[6])
{
    struct user_path_buffer *buffer = malloc(sizeof(*buffer));
    struct open_how how = {0};
    const char *path;
    int64_t result = buffer ? user_path_get(args[1], buffer, &path) : -ENOMEM;

    /* With a restriction on how the path is resolved, the guest means what the kernel finds. */
    if (result == 0 && args[3] >= sizeof(how) && mem_guest_read(&how, args[2], sizeof(how)) == 0) {
        int64_t ours = PROCFS_NOT_OURS;

        if (how.resolve == 0) {
            ours = procfs_open(t, (int)args[0], buffer->guest, (int)how.flags);
        } else {
            path = buffer->guest;
        }
        if (ours != PROCFS_NOT_OURS) {
            free(buffer);
            return ours;
        }
    }
    if (result == 0) {
        result = user_safe_syscall(t, SYS_openat2, args[0], (uint64_t)path, pass_address(args[2]),
                                   args[3], 0, 0);
    }
    free(buffer);
    return result;
}

int64_t sys_readlinkat(struct user_thread *t, const uint64_t args[6])
{
    struct user_path_buffer *buffer = malloc(sizeof(*buffer));
    char target[PATH_MAX];
    const char *path;
    int64_t result = buffer ? user_path_get_link(args[1], buffer, &path) : -ENOMEM;

    if (result == 0) {
        if ((int)args[3] <= 0) {
            result = -EINVAL;
        } else {
            result = procfs_readlink(t, (int)args[0], buffer->guest, target, sizeof(target));
        }
        if (result == PROCFS_NOT_OURS) {
            result = user_safe_syscall(t, SYS_readlinkat, args[0], (uint64_t)path,
                                       pass_address(args[2]), args[3], 0, 0);
        } else if (result >= 0) {
            if (result > (int)args[3]) {
                result = (int)args[3];
            }
            if (mem_guest_write(args[2], target, (size_t)result) < 0) {
                result = -EFAULT;
            }
        }
    }
    free(buffer);
    return result;
}

/* ---- stat ----------------------------------------------------------------------------------- */

/* struct stat of asm-generic. */
struct guest_stat {
    uint64_t dev, ino;
    uint32_t mode, nlink, uid, gid;
    uint64_t rdev, padding1;
    int64_t size;
    int32_t blksize, padding2;
    int64_t blocks;
    int64_t atime;
    uint64_t atime_nsec;
    int64_t mtime;
    uint64_t mtime_nsec;
    int64_t ctime;
    uint64_t ctime_nsec;
    uint32_t unused[2];
};
_Static_assert(sizeof(struct guest_stat) == 128, "struct stat of asm-generic");

static int64_t write_stat(uint64_t to, const struct stat *host)
{
    struct guest_stat guest = {
        .dev = host->st_dev,
        .ino = host->st_ino,
        .mode = host->st_mode,
        .nlink = (uint32_t)host->st_nlink,
        .uid = host->st_uid,
        .gid = host->st_gid,
        .rdev = host->st_rdev,
        .size = (int64_t)host->st_size,
        .blksize = (int32_t)host->st_blksize,
        .blocks = (int64_t)host->st_blocks,
        .atime = (int64_t)host->st_atime,
        .atime_nsec = (uint64_t)host->st_atim.tv_nsec,
        .mtime = (int64_t)host->st_mtime,
        .mtime_nsec = (uint64_t)host->st_mtim.tv_nsec,
        .ctime = (int64_t)host->st_ctime,
        .ctime_nsec = (uint64_t)host->st_ctim.tv_nsec,
    };

    return mem_guest_write(to, &guest, sizeof(guest)) < 0 ? -EFAULT : 0;
}

int64_t sys_newfstatat(struct user_thread *t, const uint64_t args[6])
{
    struct user_path_buffer *buffer = NULL;
    const char *path = NULL;
    struct stat host;
    int64_t result = 0;

    if (args[1]) {
        buffer = malloc(sizeof(*buffer));
        result = !buffer                         ? -ENOMEM
                 : args[3] & AT_SYMLINK_NOFOLLOW ? user_path_get_link(args[1], buffer, &path)
                                                 : user_path_get(args[1], buffer, &path);
    }
    if (result == 0) {
        result = user_safe_syscall(t, SYS_newfstatat, args[0], (uint64_t)path, (uint64_t)&host,
                                   args[3], 0, 0);
    }
    if (result == 0) {
        result = write_stat(args[2], &host);
    }
    free(buffer);
    return result;
}

int64_t sys_fstat(struct user_thread *t, const uint64_t args[6])
{
    struct stat host;
    int64_t result = user_safe_syscall(t, SYS_fstat, args[0], (uint64_t)&host, 0, 0, 0, 0);

    return result == 0 ? write_stat(args[1], &host) : result;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

int64_t sys_close(struct user_thread *t, const uint64_t args[6])
{
    if (user_fd_reserved((int)args[0])) {
        return -EBADF;
    }
    return user_safe_syscall(t, SYS_close, args[0], 0, 0, 0, 0, 0);
}

int64_t sys_dup(struct user_thread *t, const uint64_t args[6])
{
    if (user_fd_reserved((int)args[0])) {
        return -EBADF;
    }
    return user_safe_syscall(t, SYS_dup, args[0], 0, 0, 0, 0, 0);
}

int64_t sys_dup3(struct user_thread *t, const uint64_t args[6])
{
    if (user_fd_reserved((int)args[0]) || user_fd_reserved((int)args[1])) {
        return -EBADF;
    }
    return user_safe_syscall(t, SYS_dup3, args[0], args[1], args[2], 0, 0, 0);
}

/* The range, in pieces between descriptors of ours. */
int64_t sys_close_range(struct user_thread *t, const uint64_t args[6])
{
    uint32_t first = (uint32_t)args[0], last = (uint32_t)args[1];
    int64_t result;

    if (first > last) {
        return -EINVAL;
    }
    for (uint32_t fd = first; fd <= last; fd++) {
        if (fd >= RESERVED_BELOW) {
            fd = log_fd() >= (int)fd && (uint32_t)log_fd() <= last ? (uint32_t)log_fd() : last;
        }
        if (!user_fd_reserved((int)fd)) {
            if (fd == last) {
                break;
            }
            continue;
        }
        if (fd > first) {
            result = user_safe_syscall(t, SYS_close_range, first, fd - 1, args[2], 0, 0, 0);
            if (result < 0) {
                return result;
            }
        }
        first = fd + 1;
        if (fd == last) {
            break;
        }
    }
    if (first > last) {
        return 0;
    }
    return user_safe_syscall(t, SYS_close_range, first, last, args[2], 0, 0, 0);
}

int64_t sys_fcntl(struct user_thread *t, const uint64_t args[6])
{
    uint64_t argument = args[2];

    if (user_fd_reserved((int)args[0])) {
        return -EBADF;
    }
    switch ((int)args[1]) {
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
    case F_GETOWN_EX:
    case F_SETOWN_EX:
    case F_GET_RW_HINT:
    case F_SET_RW_HINT:
    case F_GET_FILE_RW_HINT:
    case F_SET_FILE_RW_HINT:
        argument = pass_address(argument);
        break;
    default:
        break;
    }
    return user_safe_syscall(t, SYS_fcntl, args[0], args[1], argument, 0, 0, 0);
}

/* Is the argument of an ioctl an address? Numbers made by _IO... say so; of the terminal's older
 * ones these take a number or nothing, and the socket's all take an address. */
static bool ioctl_takes_address(uint32_t request)
{
    switch (request) {
    case TCSBRK:
    case TCXONC:
    case TCFLSH:
    case TIOCEXCL:
    case TIOCNXCL:
    case TIOCSCTTY:
    case TIOCNOTTY:
    case TIOCCONS:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
    case TIOCVHANGUP:
    case FIONCLEX:
    case FIOCLEX:
        return false;
    default:
        return _IOC_DIR(request) != _IOC_NONE || _IOC_TYPE(request) == 'T' ||
               _IOC_TYPE(request) == 0x89 || request == 1 || request == 2; /* FIBMAP, FIGETBSZ */
    }
}

int64_t sys_ioctl(struct user_thread *t, const uint64_t args[6])
{
    uint64_t argument = args[2];

    if (user_fd_reserved((int)args[0])) {
        return -EBADF;
    }
    if (mem_guest_base != 0 && ioctl_takes_address((uint32_t)args[1])) {
        argument = pass_address(argument);
    }
    return user_safe_syscall(t, SYS_ioctl, args[0], args[1], argument, 0, 0, 0);
}
