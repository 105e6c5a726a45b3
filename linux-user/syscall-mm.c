/* System calls on memory: thin, over mm.h; those that change no mapping go to the host. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "linux-user/mm.h"
#include "linux-user/syscall.h"

int64_t sys_brk(struct user_thread *t, const uint64_t args[6])
{
    return mm_brk(args[0]);
}

int64_t sys_mmap(struct user_thread *t, const uint64_t args[6])
{
    int fd = (int)args[4];

    if (!((int)args[3] & MAP_ANONYMOUS) && user_fd_reserved(fd)) {
        return -EBADF;
    }
    return mm_mmap(args[0], args[1], (int)args[2], (int)args[3], fd, args[5]);
}

int64_t sys_munmap(struct user_thread *t, const uint64_t args[6])
{
    return mm_munmap(args[0], args[1]);
}

int64_t sys_mprotect(struct user_thread *t, const uint64_t args[6])
{
    return mm_mprotect(args[0], args[1], (int)args[2]);
}

int64_t sys_mremap(struct user_thread *t, const uint64_t args[6])
{
    return mm_mremap(args[0], args[1], args[2], (int)args[3], args[4]);
}

int64_t sys_madvise(struct user_thread *t, const uint64_t args[6])
{
    return mm_madvise(args[0], args[1], (int)args[2]);
}

int64_t sys_shmat(struct user_thread *t, const uint64_t args[6])
{
    return mm_shmat((int)args[0], args[1], (int)args[2]);
}

int64_t sys_shmdt(struct user_thread *t, const uint64_t args[6])
{
    return mm_shmdt(args[0]);
}

/*
 * A call on [start, start + length) that changes no mapping. Memory of ours in the range counts as
 * unmapped: the part before it gets the call, and the answer is -ENOMEM, as if nothing were there.
 */
static int64_t on_range(long nr, const uint64_t args[6], uint64_t third)
{
    uint64_t start = args[0], length, mapped;
    int64_t result;

    if (start & ~MM_PAGE_MASK && (nr == SYS_msync || nr == SYS_mincore)) {
        return -EINVAL;
    }
    length = (args[1] + (start & ~MM_PAGE_MASK) + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
    start &= MM_PAGE_MASK;
    if (start + length < start) {
        return nr == SYS_mlock || nr == SYS_mlock2 || nr == SYS_munlock ? -EINVAL : -ENOMEM;
    }
    mapped = mm_mapped_length(start, length);
    if (mapped < length && nr == SYS_mincore) {
        return -ENOMEM;
    }
    result = user_host_syscall(nr, (uint64_t)mem_guest_host(start), mapped, third, 0, 0, 0);
    return result == 0 && mapped < length ? -ENOMEM : result;
}

int64_t sys_msync(struct user_thread *t, const uint64_t args[6])
{
    return on_range(SYS_msync, args, args[2]);
}

int64_t sys_mincore(struct user_thread *t, const uint64_t args[6])
{
    return on_range(SYS_mincore, args, (uint64_t)mem_guest_host(args[2]));
}

int64_t sys_mlock(struct user_thread *t, const uint64_t args[6])
{
    return on_range(SYS_mlock, args, 0);
}

int64_t sys_mlock2(struct user_thread *t, const uint64_t args[6])
{
    return on_range(SYS_mlock2, args, args[2]);
}

int64_t sys_munlock(struct user_thread *t, const uint64_t args[6])
{
    return on_range(SYS_munlock, args, 0);
}

/* Locks the emulator's own memory too, which counts against the guest's limit. */
int64_t sys_mlockall(struct user_thread *t, const uint64_t args[6])
{
    return user_host_syscall(SYS_mlockall, args[0], 0, 0, 0, 0, 0);
}

int64_t sys_munlockall(struct user_thread *t, const uint64_t args[6])
{
    return user_host_syscall(SYS_munlockall, 0, 0, 0, 0, 0, 0);
}

/* The host kernel itself emulates this call with mappings of the same file. */
int64_t sys_remap_file_pages(struct user_thread *t, const uint64_t args[6])
{
    uint64_t start = args[0] & MM_PAGE_MASK, length = args[1] & MM_PAGE_MASK;

    if (start + length <= start || mm_mapped_length(start, length) != length) {
        return -EINVAL;
    }
    return user_host_syscall(SYS_remap_file_pages, (uint64_t)mem_guest_host(start), length, args[2],
                             args[3], args[4], 0);
}
