/*
 * What the files of mm share; mm.c has the design.
 */
#ifndef TINAMOU_LINUX_USER_MM_INTERNAL_H
#define TINAMOU_LINUX_USER_MM_INTERNAL_H

#include "linux-user/mm.h"
#include "linux-user/user.h"
#include "util/lock.h"

struct mm_attachment; /* mm-shm.c */

struct mm_state {
    struct lock lock; /* of all that follows, but for what is set before the guest runs */
    struct regions regions;
    unsigned growing;   /* mappings made with MAP_GROWSDOWN: the host may have extended them */
    uint64_t task_size; /* end of the guest's addresses */
    bool we_place;      /* mm.c, "Placement" */
    uint64_t brk_start, brk;
    struct mm_attachment *attachments; /* of SysV shared memory */
    size_t attachment_count;
};

extern struct mm_state mm;

static inline uint64_t mm_host(uint64_t guest)
{
    return (uint64_t)mem_guest_host(guest);
}

/* Rounds a size up to pages; 0 when the result would not be a size. */
static inline uint64_t mm_round_up(uint64_t size)
{
    return (size + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;
}

static inline bool mm_in_range(uint64_t start, uint64_t length)
{
    return length <= mm.task_size && start <= mm.task_size - length;
}

/* Takes note of how far the host has extended growing mappings. */
void mm_find_growth_locked(void);

/* Takes the holes of [start, end) for the guest, inaccessible; 0, or -EEXIST if something of the
 * host's is there. The other function gives them back, before the regions are changed. */
int mm_take_holes_locked(uint64_t start, uint64_t end);
void mm_give_holes_locked(uint64_t start, uint64_t end);

/* What is to be put at a place of our choosing. */
struct mm_placement {
    uint64_t length;
    int prot, flags, fd;
    uint64_t offset;
    uint64_t old, old_size; /* of mremap: host address and size */
    int shmid;
};

/* Calls attempt() with the hint if it is free, then with candidates from the top, until one gives
 * something else than -EEXIST: that, or -ENOMEM. */
int64_t mm_place_locked(const struct mm_placement *map, uint64_t hint,
                        int64_t (*attempt)(const struct mm_placement *map, uint64_t at));

#endif
