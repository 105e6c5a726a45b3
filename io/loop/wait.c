/*
 * Looking before sleeping.
 *
 * Whoever signals a descriptor while the loop sleeps wakes it, which takes some microseconds of his
 * time, and he may be a vCPU. When the next event comes within less than that, both sides are
 * better off if the loop looks for it. What is bounded is the loss where it does not:
 *
 * - Nothing is looked for after a sleep that was long, so an idle loop costs nothing.
 * - A look is no longer than about what sleeping and waking cost.
 * - After a look in vain, one wait goes without, then three, seven and so on; so events that
 *   come just too late cost one look in RESTS of them.
 */
#include "io/loop/wait.h"
#include "io/loop/clock.h"

#define NEAR  4   /* times `most`: a sleep includes what waking takes */
#define RESTS 127 /* one less than a power of two */

static bool look(struct loop_wait *wait, struct pollfd *fds, nfds_t count, int64_t end, int *n)
{
    if (wait->left) {
        wait->left--;
        return false;
    }
    do {
        *n = poll(fds, count, 0);
        if (*n) {
            wait->rest = 0;
            return true;
        }
    } while (loop_clock_now(LOOP_CLOCK_REALTIME) < end);
    wait->rest = wait->rest < RESTS ? 2 * wait->rest + 1 : RESTS;
    wait->left = wait->rest;
    return false;
}

int loop_wait(struct loop_wait *wait, struct pollfd *fds, nfds_t count, int timeout)
{
    int64_t begin;
    int n;

    if (!wait->most || (timeout >= 0 && timeout * INT64_C(1000000) < wait->most)) {
        return poll(fds, count, timeout);
    }
    begin = loop_clock_now(LOOP_CLOCK_REALTIME);
    if (wait->is_near && look(wait, fds, count, begin + wait->most, &n)) {
        return n;
    }
    n = poll(fds, count, timeout);
    wait->is_near = loop_clock_now(LOOP_CLOCK_REALTIME) - begin < NEAR * wait->most;
    return n;
}
