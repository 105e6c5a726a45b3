/*
 * The slow paths of the futex mutex. Its word is 0 (free), 1 (held) or 2 (held, and somebody may
 * be asleep). Whoever has waited takes the lock as 2, because others may still be asleep; the cost
 * is one needless wake-up at the end of a crowd, and no waiter is ever forgotten.
 */
#include "util/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Critical sections are short; a little patience is cheaper than two system calls. */
#define LOCK_SPINS 60

void lock_wait(struct lock *lock)
{
    int saved_errno = errno;

    for (int i = 0; i < LOCK_SPINS; i++) {
        __builtin_ia32_pause();
        if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 && lock_try(lock)) {
            return;
        }
    }
    while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0) {
        syscall(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    }
    errno = saved_errno;
}

void lock_wake(struct lock *lock)
{
    int saved_errno = errno;

    syscall(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved_errno;
}
