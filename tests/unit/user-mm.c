/*
 * linux-user/mm: the guest's calls on memory, over real host mappings. The translator is replaced
 * by a recorder of what is dropped.
 */
#include "linux-user/mm.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

#include "accel/tcg/tcg.h"
#include "mem/guest.h"

#define PAGE MM_PAGE_SIZE
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW   (PROT_READ | PROT_WRITE)
#define RX   (PROT_READ | PROT_EXEC)

static uint64_t dropped_start, dropped_end;
static unsigned drops;

void tcg_invalidate(uint64_t start, uint64_t end)
{
    dropped_start = start;
    dropped_end = end;
    drops++;
}

static bool dropped(uint64_t start, uint64_t end)
{
    bool yes = drops == 1 && dropped_start == start && dropped_end == end;

    drops = 0;
    return yes;
}

static char *host(uint64_t guest)
{
    return mem_guest_host(guest);
}

/* The host's protection of a page as in /proc/self/maps, e.g. "rw-p". */
static void host_flags(uint64_t guest, char flags[8])
{
    unsigned long start, end, at = (unsigned long)mem_guest_host(guest);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];

    strcpy(flags, "none");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        char found[8];
        if (sscanf(line, "%lx-%lx %7s", &start, &end, found) == 3 && start <= at && at < end) {
            strcpy(flags, found);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
}

static void mappings(void)
{
    int64_t at = mm_mmap(0, 3 * PAGE, RW, ANON, -1, 0), moved;
    uint64_t a = (uint64_t)at;
    char flags[8];

    tap_ok(at > 0, "mmap chooses a place");
    strcpy(host(a), "text");
    tap_eq(mm_mprotect(a, PAGE, PROT_EXEC), 0, "mprotect to execute only");
    host_flags(a, flags);
    tap_ok(strcmp(flags, "r--p") == 0, "the host's page is readable and not executable (%s)",
           flags);
    tap_eq(mm_fetchable(a + 10, 100), 100, "it may be fetched from");
    tap_eq(mm_fetchable(a + PAGE - 10, 100), 10, "up to its end");
    tap_eq(mm_fetchable(a + PAGE, 4), 0, "and not from the page after it");
    drops = 0;
    tap_eq(mm_mprotect(a, 2 * PAGE, RW), 0, "back to data");
    tap_ok(dropped(a, a + 2 * PAGE), "drops its translations");
    mm_mprotect(a, PAGE, PROT_READ);
    tap_eq(drops, 0, "data does not");

    tap_eq(mm_munmap(a + PAGE, PAGE), 0, "munmap in the middle");
    tap_eq(mm_mprotect(a, 3 * PAGE, PROT_READ), -ENOMEM, "mprotect across the hole");
    tap_eq(mm_mapped_length(a, 3 * PAGE), PAGE, "what is mapped before it");
    tap_ok(mm_allows(a, PAGE, PROT_READ) && !mm_allows(a, 2 * PAGE, PROT_READ) &&
               !mm_allows(a, 1, PROT_WRITE),
           "what is allowed where");
    tap_eq(mm_munmap(a, 3 * PAGE), 0, "munmap takes holes");
    tap_eq(mm_munmap(a, 3 * PAGE), 0, "and nothing at all");

    at = mm_mmap(0, PAGE, RX, ANON, -1, 0);
    drops = 0;
    mm_munmap((uint64_t)at, PAGE);
    tap_ok(dropped((uint64_t)at, (uint64_t)at + PAGE), "munmap of code drops translations");

    at = mm_mmap(0, 2 * PAGE, RX, ANON, -1, 0);
    mm_mprotect((uint64_t)at, PAGE, RW);
    strcpy(host((uint64_t)at), "kept");
    drops = 0;
    moved = mm_mremap((uint64_t)at, PAGE, 64 * PAGE, MREMAP_MAYMOVE, 0);
    tap_ok(moved > 0 && strcmp(host((uint64_t)moved), "kept") == 0 &&
               mm_allows((uint64_t)moved, 64 * PAGE, RW),
           "mremap moves and grows");
    tap_eq(mm_mapped_length((uint64_t)at, PAGE), moved == at ? PAGE : 0, "the old place is free");
    tap_eq(mm_mremap((uint64_t)moved, 64 * PAGE, 2 * PAGE, 0, 0), moved, "mremap shrinks in place");
    tap_eq(mm_mapped_length((uint64_t)moved, 64 * PAGE), 2 * PAGE, "to that size");
    tap_eq(mm_mremap((uint64_t)moved, 8 * PAGE, 9 * PAGE, MREMAP_MAYMOVE, 0), -EFAULT,
           "mremap of what is not mapped");
    mm_munmap((uint64_t)moved, 2 * PAGE);
    mm_munmap((uint64_t)at, 2 * PAGE);
    drops = 0;
}

static void bad_arguments(void)
{
    tap_eq(mm_mmap(0, 0, RW, ANON, -1, 0), -EINVAL, "mmap of nothing");
    tap_eq(mm_mmap(0, PAGE, RW, ANON, -1, 5), -EINVAL, "mmap at an odd offset");
    tap_eq(mm_mmap(0x1001, PAGE, RW, ANON | MAP_FIXED, -1, 0), -EINVAL, "mmap at an odd address");
    tap_eq(mm_mmap(0, UINT64_MAX - 5, RW, ANON, -1, 0), -ENOMEM, "mmap of everything");
    tap_eq(mm_mmap(mm_task_size() - PAGE, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM,
           "mmap across the end");
    tap_eq(mm_mmap(0, PAGE, RW, MAP_PRIVATE, -1, 0), -EBADF, "mmap of no file");
    tap_eq(mm_munmap(0x1001, PAGE), -EINVAL, "munmap at an odd address");
    tap_eq(mm_munmap(0x1000, 0), -EINVAL, "munmap of nothing");
    tap_eq(mm_munmap(UINT64_MAX & MM_PAGE_MASK, 2 * PAGE), -EINVAL, "munmap that wraps around");
    tap_eq(mm_mprotect(0x1000, PAGE, 0x100), -EINVAL, "mprotect with unknown bits");
    tap_eq(mm_mprotect(0x1000, UINT64_MAX, RW), -ENOMEM, "mprotect of everything");
    tap_eq(mm_mremap(0x1000, PAGE, 0, 0, 0), -EINVAL, "mremap to nothing");
    tap_eq(mm_mremap(0x1000, PAGE, PAGE, MREMAP_FIXED, 0x8000), -EINVAL,
           "mremap to a fixed place without MAYMOVE");
    tap_eq(mm_madvise(0x1001, PAGE, MADV_DONTNEED), -EINVAL, "madvise at an odd address");
}

/* What the guest may not touch: our own memory. */
static void ours(void)
{
    char *mine = mmap(NULL, 3 * PAGE, RW, ANON, -1, 0);
    uint64_t at = mem_guest_address(mine);
    int64_t near;

    strcpy(mine + PAGE, "mine");
    tap_eq(mm_mmap(at, 3 * PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM,
           "MAP_FIXED over our memory");
    tap_eq(mm_mmap(at, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), -EEXIST,
           "MAP_FIXED_NOREPLACE over our memory");
    tap_eq(mm_munmap(at, 3 * PAGE), 0, "munmap of it does nothing");
    tap_eq(mm_mprotect(at, PAGE, PROT_NONE), -ENOMEM, "mprotect of it");
    tap_eq(mm_madvise(at, 3 * PAGE, MADV_DONTNEED), -ENOMEM, "madvise of it");
    tap_eq(mm_mremap(at, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0), -EFAULT, "mremap of it");
    tap_ok(strcmp(mine + PAGE, "mine") == 0, "it is as it was");

    /* A guest mapping with ours right behind it. */
    munmap(mine, PAGE);
    near = mm_mmap(at, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    tap_eq(near, at, "the guest beside us");
    strcpy(host(at), "guest");
    tap_eq(mm_mmap(at, 2 * PAGE, RW, ANON | MAP_FIXED, -1, 0), -ENOMEM,
           "MAP_FIXED from its memory into ours");
    tap_ok(strcmp(host(at), "guest") == 0 && strcmp(mine + PAGE, "mine") == 0,
           "leaves both as they were");
    tap_eq(mm_mprotect(at, 2 * PAGE, PROT_READ), -ENOMEM, "mprotect across the border");
    mine[PAGE] = 'M'; /* still writable */
    tap_eq(mm_munmap(at, 3 * PAGE), 0, "munmap across the border");
    tap_ok(mine[PAGE] == 'M' && mm_mapped_length(at, PAGE) == 0, "unmaps the guest's part only");
    munmap(mine + PAGE, 2 * PAGE);
}

static void fixed(void)
{
    int64_t at = mm_mmap(0, 8 * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    uint64_t a = (uint64_t)at;

    mm_munmap(a + 2 * PAGE, PAGE);
    mm_mprotect(a, PAGE, RX);
    drops = 0;
    tap_eq(mm_mmap(a, 4 * PAGE, RW, ANON | MAP_FIXED, -1, 0), at,
           "MAP_FIXED over its own, with a hole");
    tap_ok(dropped(a, a + 4 * PAGE), "drops translations of the code it replaces");
    memset(host(a), 1, 4 * PAGE);
    tap_ok(mm_allows(a, 4 * PAGE, RW) && mm_allows(a, 8 * PAGE, 0), "all of it is there");
    tap_eq(mm_mmap(a + 7 * PAGE, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), -EEXIST,
           "MAP_FIXED_NOREPLACE over its own");
    tap_eq(mm_mmap(a, PAGE, RW, MAP_PRIVATE | MAP_FIXED, 9999, 0), -EBADF, "a failed MAP_FIXED");
    tap_eq(host(a)[5], 1, "keeps what was there");
    mm_munmap(a, 8 * PAGE);

    at = mm_mmap(0, UINT64_C(1) << 40, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
    tap_ok(at > 0 && mm_munmap((uint64_t)at, UINT64_C(1) << 40) == 0, "a TiB of nothing");
}

static void breaks(void)
{
    int64_t place = mm_mmap(0, 64 * PAGE, RW, ANON, -1, 0);
    uint64_t start = (uint64_t)place;

    mm_munmap(start, 64 * PAGE);
    mm_set_brk(start + 100);
    start += PAGE;
    tap_eq(mm_brk(0), start, "the break begins page-aligned");
    tap_eq(mm_brk(start + 5000), start + 5000, "it grows");
    memset(host(start), 7, 5000);
    tap_eq(mm_brk(start + 10), start + 10, "it shrinks");
    tap_eq(mm_mapped_length(start, 4 * PAGE), PAGE, "and gives pages back");
    tap_eq(mm_brk(start + 5000), start + 5000, "it grows again");
    tap_eq(host(start)[4999], 0, "with fresh pages");
    mm_mmap(start + 8 * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
    tap_eq(mm_brk(start + 20 * PAGE), start + 5000, "not over other mappings");
    tap_eq(mm_brk(start - 1), start + 5000, "not below its start");
    tap_eq(mm_brk(UINT64_MAX), start + 5000, "not around the end");
    mm_munmap(start, 64 * PAGE);
}

static void shared_memory(void)
{
    int id = shmget(IPC_PRIVATE, 2 * PAGE, IPC_CREAT | 0600);
    int64_t one, two;

    if (id < 0) {
        tap_skip("SysV shared memory", "shmget fails on this host");
        return;
    }
    one = mm_shmat(id, 0, 0);
    two = mm_shmat(id, 0, SHM_RDONLY);
    shmctl(id, IPC_RMID, NULL);
    tap_ok(one > 0 && two > 0 && one != two, "shmat twice");
    host((uint64_t)one)[9] = 9;
    tap_eq(host((uint64_t)two)[9], 9, "the same memory");
    tap_ok(mm_allows((uint64_t)one, 2 * PAGE, RW) && !mm_allows((uint64_t)two, 1, PROT_WRITE),
           "with the protection asked for");
    tap_eq(mm_shmdt((uint64_t)one + PAGE), -EINVAL, "shmdt of no attachment");
    tap_eq(mm_shmdt((uint64_t)one), 0, "shmdt");
    tap_eq(mm_shmdt((uint64_t)one), -EINVAL, "not twice");
    tap_eq(mm_mapped_length((uint64_t)one, PAGE), 0, "it is unmapped");
    tap_eq(mm_shmdt((uint64_t)two), 0, "the other one too");
}

static void growing(void)
{
    const uint64_t room = 1024 * PAGE; /* the kernel wants 256 pages free below */
    int64_t place = mm_mmap(0, room + PAGE, PROT_NONE, ANON, -1, 0), at;
    volatile char *below;

    mm_munmap((uint64_t)place, room + PAGE);
    at = mm_mmap((uint64_t)place + room, PAGE, RW, ANON | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
    below = host((uint64_t)at) - 2 * PAGE;

    below[0] = 3; /* the host's kernel extends the mapping */
    tap_eq(mm_mapped_length((uint64_t)at - 2 * PAGE, 3 * PAGE), 3 * PAGE,
           "what a growing mapping has grown by is the guest's");
    tap_eq(mm_munmap((uint64_t)at - 2 * PAGE, 3 * PAGE), 0, "and goes with it");
    tap_eq(mm_mapped_length((uint64_t)at - 2 * PAGE, PAGE), 0, "all of it");
}

static void stack(void)
{
    int64_t low = mm_stack(16 * PAGE);
    char flags[8];

    tap_ok(low > 0 && mm_allows((uint64_t)low, 16 * PAGE, RW), "a stack");
    tap_eq(mm_mapped_length((uint64_t)low - PAGE, PAGE), 0, "with nothing below it for the guest");
    host_flags((uint64_t)low - PAGE, flags);
    tap_ok(strcmp(flags, "---p") == 0, "and a guard on the host (%s)", flags);
}

int main(int argc, char **argv)
{
    /* The second round runs with a guest base, where mm does the placement. */
    for (int round = 0; round < 2; round++) {
        mem_guest_base = round == 0 ? 0 : 0x200000000000;
        mm_init(round == 0 ? 0 : 0x100000000000);
        tap_note("guest base 0x%llx", (unsigned long long)mem_guest_base);
        mappings();
        bad_arguments();
        if (round == 0) {
            ours();
            growing();
        }
        fixed();
        breaks();
        shared_memory();
        stack();
    }
    return tap_done();
}
