/*
 * The guest's address space over the host's; see the header.
 *
 * The host gets the guest's protection without PROT_EXEC: what the guest may execute is asked of
 * the regions (mm_fetchable), and must be readable on the host, so PROT_EXEC alone becomes
 * PROT_READ.
 *
 * Placement. With guest addresses equal to host addresses the host kernel chooses where a mapping
 * goes, as it would for a native program. With a guest base, or a limit (-R), we choose: the
 * highest gap between our own regions, offered to the kernel with MAP_FIXED_NOREPLACE and lowered
 * when something of the host's is in the way.
 *
 * Ownership. Only memory inside regions is the guest's. A request over other memory first takes the
 * holes with MAP_FIXED_NOREPLACE; if that fails, they are ours and the request gets -ENOMEM.
 * Nothing of the emulator can be replaced that way, wherever malloc or the code buffer put it, and
 * no list of our own mappings is needed.
 *
 * Translations are dropped after the lock is released: the translator calls mm_fetchable() with its
 * own lock held. A unit translated in between from the old bytes is dropped as well, one from the
 * new bytes needlessly.
 */
#include "linux-user/mm.h"

#include <errno.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include "accel/tcg/tcg.h"
#include "linux-user/user.h"
#include "util/lock.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* Flags of x86-64's mmap that the guest's interface does not have. */
#define HOST_ONLY_FLAGS (0x40 /* MAP_32BIT */ | 0x80 /* MAP_ABOVE4G */)

/* Linux keeps as much free below a stack that grows; also what placement leaves below one. */
#define GUARD (256 * (uint64_t)MM_PAGE_SIZE)

#define GUEST_PROT (PROT_READ | PROT_WRITE | PROT_EXEC)

struct attachment {
    uint64_t start, size;
};

static struct {
    struct lock lock;
    struct regions regions;
    unsigned growing;   /* mappings made with MAP_GROWSDOWN: the host may have extended them */
    uint64_t task_size; /* end of the guest's addresses */
    bool we_place;      /* see "Placement" */
    uint64_t brk_start, brk;
    struct attachment *attachments; /* of SysV shared memory; start 0: free */
    size_t attachment_count;
} mm = {.lock = LOCK_INIT, .task_size = MM_TASK_SIZE};

static uint64_t host(uint64_t guest)
{
    return (uint64_t)mem_guest_host(guest);
}

static int host_prot(int prot)
{
    return (prot & (PROT_READ | PROT_WRITE)) | (prot & PROT_EXEC ? PROT_READ : 0);
}

static int64_t host_mmap(uint64_t start, uint64_t length, int prot, int flags, int fd,
                         uint64_t offset)
{
    return user_host_syscall(SYS_mmap, start, length, (uint64_t)prot, (uint64_t)flags,
                             (uint64_t)(int64_t)fd, offset);
}

static int64_t host_munmap(uint64_t start, uint64_t length)
{
    return user_host_syscall(SYS_munmap, start, length, 0, 0, 0, 0);
}

/* Maps at exactly this guest address if nothing is there, else -EEXIST. Kernels before 4.17 take
 * the flag for a hint. */
static int64_t map_unused(uint64_t start, uint64_t length, int prot, int flags, int fd,
                          uint64_t offset)
{
    int64_t result;

    flags = (flags & ~MAP_FIXED) | MAP_FIXED_NOREPLACE;
    result = host_mmap(host(start), length, prot, flags, fd, offset);
    if (result >= 0 && (uint64_t)result != host(start)) {
        host_munmap((uint64_t)result, length);
        return -EEXIST;
    }
    return result;
}

/* Rounds up; 0 when the result would not be a size. */
static uint64_t round_up(uint64_t size)
{
    return (size + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
}

static bool in_range(uint64_t start, uint64_t length)
{
    return length <= mm.task_size && start <= mm.task_size - length;
}

/*
 * A mapping that grows was extended by the host when the guest touched what is below it, without
 * our knowing: finds out how far. The kernel keeps a gap below it, so what is adjacent is the
 * mapping itself.
 */
static void find_growth_locked(void)
{
    unsigned char resident;

    if (mm.growing == 0 || regions_reserve(&mm.regions, 2) != 0) {
        return;
    }
    for (size_t i = 0; i < mm.regions.count; i++) {
        struct mm_region region = mm.regions.items[i];
        uint64_t floor = i == 0 ? 0 : mm.regions.items[i - 1].end, start = region.start;

        if (!region.grows_down) {
            continue;
        }
        while (start > floor &&
               user_host_syscall(SYS_mincore, host(start - MM_PAGE_SIZE), MM_PAGE_SIZE,
                                 (uint64_t)&resident, 0, 0, 0) == 0) {
            start -= MM_PAGE_SIZE;
        }
        mm.regions.items[i].start = start;
    }
}

/* Takes the holes of [start, end) for the guest, inaccessible. 0, or -EEXIST if something of the
 * host's is there. */
static int take_holes_locked(uint64_t start, uint64_t end)
{
    uint64_t from, to, at = start;

    while (regions_hole(&mm.regions, at, end, &from, &to)) {
        int64_t result = map_unused(from, to - from, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (result < 0) {
            uint64_t taken = from;
            for (at = start; at < taken && regions_hole(&mm.regions, at, taken, &from, &to);
                 at = to) {
                host_munmap(host(from), to - from);
            }
            return (int)result;
        }
        at = to;
    }
    return 0;
}

static void give_holes_locked(uint64_t start, uint64_t end)
{
    uint64_t from, to;

    for (uint64_t at = start; regions_hole(&mm.regions, at, end, &from, &to); at = to) {
        host_munmap(host(from), to - from);
    }
}

/* A place of our choosing. Calls attempt() with candidate addresses from the top until one is not
 * -EEXIST. */
struct placed_map {
    uint64_t length;
    int prot, flags, fd;
    uint64_t offset;
    uint64_t old, old_size; /* of mremap */
    int shmid;
};

static int64_t place_locked(const struct placed_map *map, uint64_t hint,
                            int64_t (*attempt)(const struct placed_map *map, uint64_t at))
{
    uint64_t high = mm.task_size, low = 0x10000, from, to;
    int64_t result;

    if (hint >= low && in_range(hint, map->length) &&
        !regions_run(&mm.regions, hint, hint + map->length, &from, &to)) {
        result = attempt(map, hint);
        if (result != -EEXIST) {
            return result;
        }
    }
    for (uint64_t step = MM_PAGE_SIZE;;) {
        uint64_t at = regions_gap(&mm.regions, low, high, map->length, mm.growing != 0 ? GUARD : 0);
        if (at == 0) {
            return -ENOMEM;
        }
        result = attempt(map, at);
        if (result != -EEXIST) {
            return result;
        }
        /* The host's own mapping is of unknown size: go down in growing steps. */
        high = at + map->length > step ? at + map->length - step : 0;
        step = step < (UINT64_C(1) << 34) ? step * 2 : step;
        if (high <= low) {
            return -ENOMEM;
        }
    }
}

static int64_t attempt_mmap(const struct placed_map *map, uint64_t at)
{
    return map_unused(at, map->length, map->prot, map->flags, map->fd, map->offset);
}

static int64_t attempt_mremap(const struct placed_map *map, uint64_t at)
{
    int64_t result =
        map_unused(at, map->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (result < 0) {
        return result;
    }
    result = user_host_syscall(SYS_mremap, map->old, map->old_size, map->length,
                               (uint64_t)(map->flags | MREMAP_MAYMOVE | MREMAP_FIXED), host(at), 0);
    if (result < 0) {
        host_munmap(host(at), map->length);
    }
    return result;
}

static int64_t attempt_shmat(const struct placed_map *map, uint64_t at)
{
    int64_t result =
        user_host_syscall(SYS_shmat, (uint64_t)map->shmid, host(at), (uint64_t)map->flags, 0, 0, 0);

    return result == -EINVAL ? -EEXIST : result;
}

void mm_init(uint64_t reserved)
{
    mm.we_place = mem_guest_base != 0 || reserved != 0;
    mm.task_size = reserved != 0 ? reserved & MM_PAGE_MASK : MM_TASK_SIZE;
    if (mm.task_size > MM_TASK_SIZE) {
        mm.task_size = MM_TASK_SIZE;
    }
    if (mem_guest_base != 0 && mm.task_size > MM_TASK_SIZE - mem_guest_base) {
        mm.task_size = MM_TASK_SIZE - mem_guest_base;
    }
}

uint64_t mm_task_size(void)
{
    return mm.task_size;
}

static int64_t map_fixed_locked(uint64_t start, uint64_t length, int prot, int flags, int fd,
                                uint64_t offset)
{
    uint64_t from, to, end = start + length;
    int64_t result;

    if (!regions_run(&mm.regions, start, end, &from, &to)) {
        result = map_unused(start, length, prot, flags, fd, offset);
        return result == -EEXIST && !(flags & MAP_FIXED_NOREPLACE) ? -ENOMEM : result;
    }
    if (flags & MAP_FIXED_NOREPLACE) {
        return -EEXIST;
    }
    result = take_holes_locked(start, end);
    if (result < 0) {
        return result == -EEXIST ? -ENOMEM : result;
    }
    result = host_mmap(host(start), length, prot, flags | MAP_FIXED, fd, offset);
    if (result < 0) {
        give_holes_locked(start, end);
    }
    return result;
}

int64_t mm_mmap_labelled(uint64_t start, uint64_t length, int prot, int flags, int fd,
                         uint64_t offset, enum mm_label label)
{
    bool had_code = false;
    int64_t result;

    if (length == 0 || offset & ~MM_PAGE_MASK) {
        return -EINVAL;
    }
    length = round_up(length);
    if (length == 0 || length > mm.task_size) {
        return -ENOMEM;
    }
    flags &= ~HOST_ONLY_FLAGS;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (start & ~MM_PAGE_MASK) {
            return -EINVAL;
        }
        if (!in_range(start, length)) {
            return -ENOMEM;
        }
    }
    lock_acquire(&mm.lock);
    find_growth_locked();
    if (regions_reserve(&mm.regions, 2) != 0) {
        lock_release(&mm.lock);
        return -ENOMEM;
    }
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        had_code = regions_any(&mm.regions, start, start + length, PROT_EXEC);
        result = map_fixed_locked(start, length, host_prot(prot), flags, fd, offset);
    } else if (mm.we_place) {
        const struct placed_map map = {length, host_prot(prot), flags, fd, offset, 0, 0, 0};
        result = place_locked(&map, start & MM_PAGE_MASK, attempt_mmap);
    } else {
        /* A hint that leaves no room below the end would make the kernel use addresses no guest
         * has. */
        result = host_mmap(in_range(start, length) ? start : 0, length, host_prot(prot), flags, fd,
                           offset);
    }
    if (result >= 0) {
        const struct mm_region region = {
            .start = mem_guest_address((void *)result),
            .end = mem_guest_address((void *)result) + length,
            .prot = prot & GUEST_PROT,
            .shared = (flags & MAP_TYPE) != MAP_PRIVATE,
            .grows_down = (flags & MAP_GROWSDOWN) != 0,
            .label = (uint8_t)label,
        };
        regions_set(&mm.regions, &region);
        mm.growing += region.grows_down;
        result = (int64_t)region.start;
    }
    lock_release(&mm.lock);
    if (had_code && result >= 0) {
        tcg_invalidate(start, start + length);
    }
    return result;
}

int64_t mm_mmap(uint64_t start, uint64_t length, int prot, int flags, int fd, uint64_t offset)
{
    return mm_mmap_labelled(start, length, prot, flags, fd, offset, MM_PLAIN);
}

int64_t mm_stack(uint64_t size)
{
    int64_t low =
        mm_mmap_labelled(0, size + GUARD, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0, MM_STACK);

    if (low < 0) {
        return low;
    }
    /* Out of the guest's view, but still in nobody else's way. */
    user_host_syscall(SYS_mprotect, host((uint64_t)low), GUARD, PROT_NONE, 0, 0, 0);
    lock_acquire(&mm.lock);
    regions_remove(&mm.regions, (uint64_t)low, (uint64_t)low + GUARD);
    lock_release(&mm.lock);
    return low + (int64_t)GUARD;
}

static int64_t munmap_locked(uint64_t start, uint64_t end)
{
    uint64_t from, to;

    for (uint64_t at = start; regions_run(&mm.regions, at, end, &from, &to); at = to) {
        int64_t result = host_munmap(host(from), to - from);
        if (result < 0) {
            return result;
        }
        regions_remove(&mm.regions, from, to);
    }
    return 0;
}

int64_t mm_munmap(uint64_t start, uint64_t length)
{
    bool had_code;
    int64_t result;

    length = round_up(length);
    if (start & ~MM_PAGE_MASK || length == 0 || !in_range(start, length)) {
        return -EINVAL;
    }
    lock_acquire(&mm.lock);
    find_growth_locked();
    had_code = regions_any(&mm.regions, start, start + length, PROT_EXEC);
    result = regions_reserve(&mm.regions, 2);
    if (result == 0) {
        result = munmap_locked(start, start + length);
    }
    lock_release(&mm.lock);
    if (had_code) {
        tcg_invalidate(start, start + length);
    }
    return result;
}

int64_t mm_mprotect(uint64_t start, uint64_t length, int prot)
{
    const int grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
    uint64_t end, covered;
    int64_t result = 0;
    bool had_code;

    if (start & ~MM_PAGE_MASK || grows == (PROT_GROWSDOWN | PROT_GROWSUP)) {
        return -EINVAL;
    }
    if (length == 0) {
        return 0;
    }
    length = round_up(length);
    if (length == 0 || !in_range(start, length)) {
        return -ENOMEM;
    }
    if (prot & ~(GUEST_PROT | 0x8 /* PROT_SEM */ | PROT_GROWSDOWN | PROT_GROWSUP)) {
        return -EINVAL;
    }
    end = start + length;
    lock_acquire(&mm.lock);
    find_growth_locked();
    if (regions_reserve(&mm.regions, 2) != 0) {
        lock_release(&mm.lock);
        return -ENOMEM;
    }
    if (grows) {
        const struct mm_region *region = regions_at(&mm.regions, start);
        if (region == NULL || !region->grows_down || grows == PROT_GROWSUP) {
            lock_release(&mm.lock);
            return region == NULL ? -ENOMEM : -EINVAL;
        }
        start = region->start;
    }
    covered = regions_covered_to(&mm.regions, start, end);
    had_code = regions_any(&mm.regions, start, covered, PROT_EXEC);
    if (covered > start) {
        result = user_host_syscall(SYS_mprotect, host(start), covered - start,
                                   (uint64_t)host_prot(prot), 0, 0, 0);
        if (result == 0) {
            regions_protect(&mm.regions, start, covered, prot & GUEST_PROT);
        }
    }
    lock_release(&mm.lock);
    if (had_code) {
        tcg_invalidate(start, covered);
    }
    return result == 0 && covered < end ? -ENOMEM : result;
}

/* The regions of [old, old + size) appear at `new` as well, the last one stretched to new_size. */
static void copy_regions_locked(uint64_t old, uint64_t size, uint64_t new, uint64_t new_size)
{
    const struct mm_region *region = regions_at(&mm.regions, old);
    uint64_t at = old;

    while (region != NULL && at - old < new_size) {
        struct mm_region moved = *region;
        uint64_t end = region->end - old;
        bool last = size == 0 || end >= size;

        moved.start = new + (at - old);
        moved.end = new + (last || end > new_size ? new_size : end);
        moved.grows_down = false;
        at = region->end;
        regions_set(&mm.regions, &moved);
        region = last ? NULL : regions_at(&mm.regions, at);
    }
}

static int64_t mremap_locked(uint64_t old, uint64_t old_size, uint64_t new_size, int flags,
                             uint64_t new)
{
    const bool keep = (flags & MREMAP_DONTUNMAP) != 0 || old_size == 0;
    const uint64_t span = old_size != 0 ? old_size : MM_PAGE_SIZE;
    uint64_t result_at;
    int64_t result;
    size_t pieces = 0;

    if (regions_covered_to(&mm.regions, old, old + span) != old + span) {
        return -EFAULT;
    }
    for (size_t i = regions_find(&mm.regions, old);
         i < mm.regions.count && mm.regions.items[i].start < old + span; i++) {
        pieces++;
    }
    if (regions_reserve(&mm.regions, 2 * pieces + 4) != 0) {
        return -ENOMEM;
    }
    if (flags & MREMAP_FIXED) {
        result = take_holes_locked(new, new + new_size);
        if (result < 0) {
            return result == -EEXIST ? -ENOMEM : result;
        }
        result = user_host_syscall(SYS_mremap, host(old), old_size, new_size, (uint64_t)flags,
                                   host(new), 0);
        if (result < 0) {
            give_holes_locked(new, new + new_size);
        }
    } else {
        const bool in_place = mm.we_place && !(flags & MREMAP_DONTUNMAP);
        result = in_place && !in_range(old, new_size)
                     ? -ENOMEM
                     : user_host_syscall(SYS_mremap, host(old), old_size, new_size,
                                         (uint64_t)(in_place ? 0 : flags), 0, 0);
        if (in_place && result == -ENOMEM && flags & MREMAP_MAYMOVE) {
            const struct placed_map map = {new_size, 0, flags, -1, 0, host(old), old_size, 0};
            result = place_locked(&map, 0, attempt_mremap);
        }
    }
    if (result < 0) {
        return result;
    }
    result_at = mem_guest_address((void *)result);
    if (result_at == old) {
        if (new_size < old_size) {
            regions_remove(&mm.regions, old + new_size, old + old_size);
        } else {
            copy_regions_locked(old + old_size - MM_PAGE_SIZE, MM_PAGE_SIZE,
                                old + old_size - MM_PAGE_SIZE, new_size - old_size + MM_PAGE_SIZE);
        }
    } else {
        copy_regions_locked(old, old_size, result_at, new_size);
        if (!keep) {
            regions_remove(&mm.regions, old, old + old_size);
        }
    }
    return (int64_t)result_at;
}

int64_t mm_mremap(uint64_t old, uint64_t old_size, uint64_t new_size, int flags, uint64_t new)
{
    bool had_code, hit_code;
    int64_t result;

    old_size = round_up(old_size);
    new_size = round_up(new_size);
    if (old & ~MM_PAGE_MASK || new_size == 0 ||
        flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP) ||
        (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) && !(flags & MREMAP_MAYMOVE))) {
        return -EINVAL;
    }
    if (!in_range(old, old_size)) {
        return -EFAULT;
    }
    if (new_size > mm.task_size) {
        return flags & MREMAP_FIXED ? -EINVAL : -ENOMEM;
    }
    if (flags & MREMAP_FIXED && (new & ~MM_PAGE_MASK || !in_range(new, new_size) ||
                                 (old < new + new_size &&new < old + old_size))) {
        return -EINVAL;
    }
    lock_acquire(&mm.lock);
    find_growth_locked();
    had_code = regions_any(&mm.regions, old, old + old_size, PROT_EXEC);
    hit_code = flags & MREMAP_FIXED && regions_any(&mm.regions, new, new + new_size, PROT_EXEC);
    result = mremap_locked(old, old_size, new_size, flags, new);
    lock_release(&mm.lock);
    if (result >= 0 && had_code) {
        tcg_invalidate(old, old + old_size);
    }
    if (result >= 0 && hit_code) {
        tcg_invalidate(new, new + new_size);
    }
    return result;
}

int64_t mm_madvise(uint64_t start, uint64_t length, int advice)
{
    uint64_t end, from, to, at;
    int64_t result = 0;
    bool had_code, drops;

    if (start & ~MM_PAGE_MASK) {
        return -EINVAL;
    }
    if (length != 0 && (round_up(length) == 0 || !in_range(start, round_up(length)))) {
        return -EINVAL;
    }
    length = round_up(length);
    end = start + length;
    if (length == 0) {
        return user_host_syscall(SYS_madvise, host(start), 0, (uint64_t)advice, 0, 0, 0);
    }
    drops = advice == MADV_DONTNEED || advice == MADV_REMOVE || advice == MADV_FREE ||
            advice == 24 /* MADV_DONTNEED_LOCKED */ || advice == 102 /* MADV_GUARD_INSTALL */;
    lock_acquire(&mm.lock);
    find_growth_locked();
    had_code = drops && regions_any(&mm.regions, start, end, PROT_EXEC);
    for (at = start; regions_run(&mm.regions, at, end, &from, &to); at = to) {
        result = user_host_syscall(SYS_madvise, host(from), to - from, (uint64_t)advice, 0, 0, 0);
        if (result < 0) {
            break;
        }
    }
    if (result >= 0 && regions_covered_to(&mm.regions, start, end) != end) {
        result = -ENOMEM;
    }
    lock_release(&mm.lock);
    if (had_code) {
        tcg_invalidate(start, end);
    }
    return result;
}

/* A free row for an attachment, or NULL when out of memory. */
static struct attachment *attachment_row_locked(void)
{
    const size_t size = mm.attachment_count * sizeof(*mm.attachments);
    struct attachment *rows;

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
        const struct placed_map map = {size, 0, host_flags, -1, 0, 0, 0, shmid};
        return place_locked(&map, 0, attempt_shmat);
    }
    if (!in_range(address, size)) {
        return -EINVAL;
    }
    if (!(flags & SHM_REMAP)) {
        return regions_run(&mm.regions, address, address + size, &from, &to)
                   ? -EINVAL
                   : user_host_syscall(SYS_shmat, (uint64_t)shmid, host(address),
                                       (uint64_t)host_flags, 0, 0, 0);
    }
    if (take_holes_locked(address, address + size) < 0) {
        return -EINVAL;
    }
    result =
        user_host_syscall(SYS_shmat, (uint64_t)shmid, host(address), (uint64_t)host_flags, 0, 0, 0);
    if (result < 0) {
        give_holes_locked(address, address + size);
    }
    return result;
}

int64_t mm_shmat(int shmid, uint64_t address, int flags)
{
    struct attachment *row;
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
    size = round_up(segment.shm_segsz);
    lock_acquire(&mm.lock);
    find_growth_locked();
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
        *row = (struct attachment){region.start, size};
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
    struct attachment gone = {0, 0};
    int64_t result = -EINVAL;

    lock_acquire(&mm.lock);
    for (size_t i = 0; i < mm.attachment_count; i++) {
        struct attachment *row = &mm.attachments[i];
        if (row->size == 0 || row->start != address) {
            continue;
        }
        result = regions_reserve(&mm.regions, 2);
        if (result == 0) {
            result = user_host_syscall(SYS_shmdt, host(address), 0, 0, 0, 0, 0);
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

void mm_set_brk(uint64_t start)
{
    mm.brk_start = mm.brk = round_up(start);
}

int64_t mm_brk(uint64_t address)
{
    uint64_t old_end, new_end, from, to;

    lock_acquire(&mm.lock);
    old_end = round_up(mm.brk);
    new_end = round_up(address);
    if (address < mm.brk_start || new_end < address || !in_range(new_end, 0)) {
        goto out;
    }
    if (regions_reserve(&mm.regions, 2) != 0) {
        goto out;
    }
    if (new_end < old_end) {
        if (munmap_locked(new_end, old_end) < 0) {
            goto out;
        }
    } else if (new_end > old_end) {
        const struct mm_region region = {
            .start = old_end, .end = new_end, .prot = PROT_READ | PROT_WRITE, .label = MM_HEAP};
        if (regions_run(&mm.regions, old_end, new_end, &from, &to) ||
            map_unused(old_end, new_end - old_end, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) < 0) {
            goto out;
        }
        regions_set(&mm.regions, &region);
    }
    mm.brk = address;
out:
    address = mm.brk;
    lock_release(&mm.lock);
    return (int64_t)address;
}

unsigned mm_fetchable(uint64_t pc, unsigned length)
{
    unsigned n = 0;

    lock_acquire(&mm.lock);
    for (size_t i = regions_find(&mm.regions, pc); n < length && i < mm.regions.count; i++) {
        const struct mm_region *region = &mm.regions.items[i];
        if (region->start > pc + n || !(region->prot & PROT_EXEC)) {
            break;
        }
        n = region->end - pc < length ? (unsigned)(region->end - pc) : length;
    }
    lock_release(&mm.lock);
    return n;
}

bool mm_allows(uint64_t start, uint64_t length, int prot)
{
    const uint64_t end = start + length;
    bool allows = end >= start;

    lock_acquire(&mm.lock);
    allows = allows && regions_covered_to(&mm.regions, start, end) == end;
    for (size_t i = regions_find(&mm.regions, start);
         allows && i < mm.regions.count && mm.regions.items[i].start < end; i++) {
        allows = (mm.regions.items[i].prot & prot) == prot;
    }
    lock_release(&mm.lock);
    return allows;
}

uint64_t mm_mapped_length(uint64_t start, uint64_t length)
{
    uint64_t end;

    lock_acquire(&mm.lock);
    find_growth_locked();
    end = regions_covered_to(&mm.regions, start, start + length);
    lock_release(&mm.lock);
    return end - start;
}

int mm_snapshot(struct regions *copy)
{
    int result;

    memset(copy, 0, sizeof(*copy));
    lock_acquire(&mm.lock);
    find_growth_locked();
    result = regions_reserve(copy, mm.regions.count);
    if (result == 0 && mm.regions.count != 0) {
        memcpy(copy->items, mm.regions.items, mm.regions.count * sizeof(*copy->items));
        copy->count = mm.regions.count;
    }
    lock_release(&mm.lock);
    return result;
}

void mm_fork_prepare(void)
{
    lock_acquire(&mm.lock);
}

void mm_fork_parent(void)
{
    lock_release(&mm.lock);
}

void mm_fork_child(void)
{
    lock_init(&mm.lock);
}
