/*
 * SysV shared memory in the guest's address space.
 *
 * shmdt() is given a start only, and regions join: so attachments have a table of their own. It is
 * as long as the most that were attached at once.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "accel/tcg/tcg.h"
#include "linux-user/mm-internal.h"

struct mm_attachment {
    uint64_t start, size; /* size 0: a free row */
};

static int64_t attempt_shmat(const struct mm_placement *map, uint64_t at)
{
    int64_t result = user_host_syscall(SYS_shmat, (uint64_t)map->shmid, mm_host(at),
                                       (uint64_t)map->flags, 0, 0, 0);

    return result == -EINVAL ? -EEXIST : result;
}

/* A free row for an attachment, or NULL when out of memory. */
static struct mm_attachment *attachment_row_locked(void)
{
    const size_t size = mm.attachment_count * sizeof(*mm.attachments);
    struct mm_attachment *rows;

    for (size_t i = 0; i < mm.attachment_count; i++) {
        if (mm.attachments[i].size == 0) {
            return &mm.attachments[i];
        }
    }
    rows = size == 0 ? mmap(NULL, MM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                            -1, 0)
                     : mremap(mm.attachments, size, 2 * size, MREMAP_MAYMOVE);
    if (rows == MAP_FAILED) {
        return NULL;
    }
    mm.attachments = rows;
    mm.attachment_count = size == 0 ? MM_PAGE_SIZE / sizeof(*rows) : 2 * mm.attachment_count;
    return &rows[size / sizeof(*rows)];
}

static int64_t shmat_locked(int shmid, uint64_t address, uint64_t size, int flags)
{
    const int host_flags = flags & ~SHM_EXEC;
    uint64_t from, to;
    int64_t result;

    if (address == 0 && !mm.we_place) {
        return user_host_syscall(SYS_shmat, (uint64_t)shmid, 0, (uint64_t)host_flags, 0, 0, 0);
    }
    if (address == 0) {
        const struct mm_placement map = {size, 0, host_flags, -1, 0, 0, 0, shmid};
        return mm_place_locked(&map, 0, attempt_shmat);
    }
    if (!mm_in_range(address, size)) {
        return -EINVAL;
    }
    if (!(flags & SHM_REMAP)) {
        return regions_run(&mm.regions, address, address + size, &from, &to)
                   ? -EINVAL
                   : user_host_syscall(SYS_shmat, (uint64_t)shmid, mm_host(address),
                                       (uint64_t)host_flags, 0, 0, 0);
    }
    if (mm_take_holes_locked(address, address + size) < 0) {
        return -EINVAL;
    }
    result = user_host_syscall(SYS_shmat, (uint64_t)shmid, mm_host(address), (uint64_t)host_flags,
                               0, 0, 0);
    if (result < 0) {
        mm_give_holes_locked(address, address + size);
    }
    return result;
}

int64_t mm_shmat(int shmid, uint64_t address, int flags)
{
    struct mm_attachment *row;
    struct shmid_ds segment;
    bool had_code = false;
    int64_t result;
    uint64_t size;

    if (address & ~MM_PAGE_MASK) {
        if (!(flags & SHM_RND)) {
            return -EINVAL;
        }
        address &= MM_PAGE_MASK;
    }
    if (address == 0 && flags & SHM_REMAP) {
        return -EINVAL;
    }
    result = user_host_syscall(SYS_shmctl, (uint64_t)shmid, IPC_STAT, (uint64_t)&segment, 0, 0, 0);
    if (result < 0) {
        return result;
    }
    size = mm_round_up(segment.shm_segsz);
    lock_acquire(&mm.lock);
    mm_find_growth_locked();
    row = attachment_row_locked();
    if (row == NULL || regions_reserve(&mm.regions, 2) != 0) {
        lock_release(&mm.lock);
        return -ENOMEM;
    }
    result = shmat_locked(shmid, address, size, flags);
    if (result >= 0) {
        const struct mm_region region = {
            .start = mem_guest_address((void *)result),
            .end = mem_guest_address((void *)result) + size,
            .prot = (uint8_t)(PROT_READ | (flags & SHM_RDONLY ? 0 : PROT_WRITE) |
                              (flags & SHM_EXEC ? PROT_EXEC : 0)),
            .shared = true,
        };
        had_code = regions_any(&mm.regions, region.start, region.end, PROT_EXEC);
        regions_set(&mm.regions, &region);
        *row = (struct mm_attachment){region.start, size};
        result = (int64_t)region.start;
    }
    lock_release(&mm.lock);
    if (had_code) {
        tcg_invalidate((uint64_t)result, (uint64_t)result + size);
    }
    return result;
}

int64_t mm_shmdt(uint64_t address)
{
    struct mm_attachment gone = {0, 0};
    int64_t result = -EINVAL;

    lock_acquire(&mm.lock);
    for (size_t i = 0; i < mm.attachment_count; i++) {
        struct mm_attachment *row = &mm.attachments[i];
        if (row->size == 0 || row->start != address) {
            continue;
        }
        result = regions_reserve(&mm.regions, 2);
        if (result == 0) {
            result = user_host_syscall(SYS_shmdt, mm_host(address), 0, 0, 0, 0, 0);
        }
        if (result == 0) {
            gone = *row;
            row->size = 0;
            regions_remove(&mm.regions, gone.start, gone.start + gone.size);
        }
        break;
    }
    lock_release(&mm.lock);
    if (gone.size != 0) {
        tcg_invalidate(gone.start, gone.start + gone.size);
    }
    return result;
}
