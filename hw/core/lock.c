/* The machine lock. The depth belongs to the thread; the lock itself is not recursive. */
#include "hw/core/lock.h"
#include "util/lock.h"

#include <assert.h>

static struct lock machine_lock = LOCK_INIT;
static _Thread_local unsigned depth;

void hw_lock_acquire(void)
{
    if (!depth) {
        lock_acquire(&machine_lock);
    }
    depth++;
}

void hw_lock_release(void)
{
    assert(depth);
    if (--depth == 0) {
        lock_release(&machine_lock);
    }
}

bool hw_lock_is_held(void)
{
    return depth != 0;
}

void hw_lock_owner_lock(struct mem_owner *owner)
{
    hw_lock_acquire();
}

void hw_lock_owner_unlock(struct mem_owner *owner)
{
    hw_lock_release();
}
