/*
 * Breakpoints, as translations know them.
 *
 * Units are shared by all vCPUs, so what counts here is whether anybody has a breakpoint at an
 * address. Where that is so no unit begins, and those that come from before end there: whoever gets
 * to the address finds neither a link nor an entry of a jump cache, and comes to the run loop,
 * which knows whose breakpoint it is.
 *
 * Debuggers take all breakpoints away whenever a vCPU stops, and put them back before it goes on.
 * So changes are only noted down, and units dropped when a vCPU is about to run: those that contain
 * an address at which things are not as they were.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "accel/tcg/internal.h"

/* The first that is not below pc. */
static struct tcg_break *at_or_behind(uint64_t pc)
{
    unsigned low = 0, high = tcg.breaks.count;

    while (low < high) {
        unsigned mid = low + (high - low) / 2;

        if (tcg.breaks.at[mid].pc < pc) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return tcg.breaks.at + low;
}

static bool is_end(const struct tcg_break *b)
{
    return b == tcg.breaks.at + tcg.breaks.count;
}

bool tcg_breaks_search_locked(uint64_t pc)
{
    const struct tcg_break *b = at_or_behind(pc);

    return !is_end(b) && b->pc == pc && b->heeded;
}

/* cpu_translate.ends_before */
bool tcg_breaks_end_before(void *opaque, uint64_t pc)
{
    return tcg_breaks_search_locked(pc);
}

static struct tcg_break *insert(uint64_t pc)
{
    unsigned n = (unsigned)(at_or_behind(pc) - tcg.breaks.at);
    struct tcg_break *at;

    if (tcg.breaks.count == tcg.breaks.room) {
        unsigned room = tcg.breaks.room ? 2 * tcg.breaks.room : 64;

        at = realloc(tcg.breaks.at, room * sizeof(*at));
        if (!at) {
            return NULL;
        }
        tcg.breaks.at = at;
        tcg.breaks.room = room;
    }
    at = tcg.breaks.at + n;
    memmove(at + 1, at, (tcg.breaks.count - n) * sizeof(*at));
    *at = (struct tcg_break){.pc = pc};
    tcg.breaks.count++;
    return at;
}

int tcg_breaks_add(uint64_t pc)
{
    struct tcg_break *b;

    lock_acquire(&tcg.lock);
    b = at_or_behind(pc);
    if (is_end(b) || b->pc != pc) {
        b = insert(pc);
    }
    if (b) {
        b->users++;
    }
    lock_release(&tcg.lock);
    return b ? 0 : -ENOMEM;
}

void tcg_breaks_remove(uint64_t pc)
{
    lock_acquire(&tcg.lock);
    at_or_behind(pc)->users--;
    lock_release(&tcg.lock);
}

static bool is_changed(const struct tcg_break *b)
{
    return b->heeded != (b->users > 0);
}

/* The unit that ends at an address is longer without the breakpoint there. */
static void drop_if_concerned(struct tcg_unit *unit)
{
    if (unit->dead) {
        return;
    }
    for (struct tcg_break *b = at_or_behind(unit->pc); !is_end(b) && b->pc <= unit->end; b++) {
        if (is_changed(b)) {
            tcg_drop_locked(unit);
            return;
        }
    }
}

void tcg_breaks_apply(void)
{
    unsigned heeded = 0, changed = 0;

    lock_acquire(&tcg.lock);
    for (unsigned i = 0; i < tcg.breaks.count; i++) {
        changed += is_changed(&tcg.breaks.at[i]);
    }
    if (changed) {
        tcg_each_unit_locked(drop_if_concerned);
    }
    for (unsigned i = 0; i < tcg.breaks.count; i++) {
        if (tcg.breaks.at[i].users) {
            tcg.breaks.at[heeded] = tcg.breaks.at[i];
            tcg.breaks.at[heeded++].heeded = true;
        }
    }
    tcg.breaks.count = heeded;
    atomic_store_explicit(&tcg.breaks.heeded, heeded, memory_order_relaxed);
    lock_release(&tcg.lock);
}
