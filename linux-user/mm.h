/*
 * The guest's address space: its mappings as the guest asked for them, over the host's.
 *
 * A sorted array of regions holds the guest's view (protection with PROT_EXEC, sharing, labels).
 * Host memory outside the regions is ours or nobody's, and a guest request never replaces, protects
 * or unmaps it: MAP_FIXED over a hole is made with MAP_FIXED_NOREPLACE, so that no list of our own
 * mappings is needed. Functions take and return guest addresses, return -errno like the system
 * calls of their names, drop stale translations (tcg_invalidate) after the lock is released, and
 * may be called by any guest thread.
 */
#ifndef TINAMOU_LINUX_USER_MM_H
#define TINAMOU_LINUX_USER_MM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "linux-user/regions.h"

#define MM_PAGE_SIZE 4096u
#define MM_PAGE_MASK (~(uint64_t)(MM_PAGE_SIZE - 1))
#define MM_TASK_SIZE 0x7ffffffff000ull /* end of a RISC-V Sv48 user space, and of the host's */

/* Before anything else here. guest_base is in mem_guest_base by then; with a base other than 0,
 * guest addresses are confined to [0, reserved) where reserved is 0 for the default. */
void mm_init(uint64_t reserved);

/* End of the guest's addresses. */
uint64_t mm_task_size(void);

int64_t mm_mmap(uint64_t start, uint64_t length, int prot, int flags, int fd, uint64_t offset);
/* mmap whose region carries a label. */
int64_t mm_mmap_labelled(uint64_t start, uint64_t length, int prot, int flags, int fd,
                         uint64_t offset, enum mm_label label);
int64_t mm_munmap(uint64_t start, uint64_t length);
int64_t mm_mprotect(uint64_t start, uint64_t length, int prot);
int64_t mm_mremap(uint64_t old, uint64_t old_size, uint64_t new_size, int flags, uint64_t new);
int64_t mm_madvise(uint64_t start, uint64_t length, int advice);
int64_t mm_shmat(int shmid, uint64_t address, int flags);
int64_t mm_shmdt(uint64_t address);

/* A stack of `size` bytes for the main thread, with inaccessible memory below it that counts as
 * unmapped. Its lowest address, or -errno. */
int64_t mm_stack(uint64_t size);

/* The break: where it starts (page-aligned up, set by the loader), and the system call. */
void mm_set_brk(uint64_t start);
int64_t mm_brk(uint64_t address);

/* Bytes from pc on, up to length, that the guest may execute (for tcg_config.fetchable). */
unsigned mm_fetchable(uint64_t pc, unsigned length);

/* Does the guest's view allow all of prot over [start, start + length)? */
bool mm_allows(uint64_t start, uint64_t length, int prot);

/* Bytes from start on, up to length, that are mapped, whatever their protection. */
uint64_t mm_mapped_length(uint64_t start, uint64_t length);

/* A copy of all regions; regions_free() gives it back. 0 or -ENOMEM. */
int mm_snapshot(struct regions *copy);

/* Around fork: nobody changes mappings between prepare and the matching call in parent and child. A
 * child that shares our memory (CLONE_VM) needs none of this. */
void mm_fork_prepare(void);
void mm_fork_parent(void);
void mm_fork_child(void);

#endif
