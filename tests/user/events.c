/*
 * Waiting for events: the layout of struct epoll_event, which differs between architectures, in
 * every call that has one, and io_uring, whose requests would pass it unseen.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "tests/user/tap.h"

#define EVENTS 100 /* more than an emulator may want on its stack */

static void test_epoll(void)
{
    struct epoll_event events[EVENTS];
    int fds[EVENTS], epoll = epoll_create1(0), bad = 0;
    uint64_t seen[2] = {0, 0};

    for (int i = 0; i < EVENTS; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x123456789abc0000u + i};

        fds[i] = eventfd(1, 0);
        bad += epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0;
    }
    is(bad, 0, "epoll_ctl adds");
    is(epoll_wait(epoll, events, EVENTS, 0), EVENTS, "epoll_wait finds all of many");
    for (int i = 0; i < EVENTS; i++) {
        unsigned n = (unsigned)(events[i].data.u64 & 0xffff);

        bad += events[i].events != EPOLLIN || events[i].data.u64 >> 16 != 0x123456789abc ||
               n >= EVENTS;
        seen[n / 64 % 2] |= 1ull << (n % 64);
    }
    is(bad, 0, "with the events and the data of each");
    ok(seen[0] == UINT64_MAX && seen[1] == (1ull << (EVENTS - 64)) - 1, "each once");

    struct epoll_event change = {.events = EPOLLOUT, .data.u64 = UINT64_MAX};

    for (int i = 1; i < EVENTS; i++) {
        bad += epoll_ctl(epoll, EPOLL_CTL_DEL, fds[i], NULL) != 0;
    }
    bad += epoll_ctl(epoll, EPOLL_CTL_MOD, fds[0], &change) != 0;
    is(bad, 0, "epoll_ctl deletes and modifies");
    events[1].data.u64 = 5;
    ok(epoll_wait(epoll, events, EVENTS, 0) == 1 && events[0].events == EPOLLOUT &&
           events[0].data.u64 == UINT64_MAX && events[1].data.u64 == 5,
       "and the wait after it sees that, and writes no more than one event");
    ok(epoll_wait(epoll, (struct epoll_event *)8, 1, 0) == -1 && errno == EFAULT,
       "events to an address that is not there: EFAULT");
    ok(epoll_wait(epoll, events, 0, 0) == -1 && errno == EINVAL, "no room for events: EINVAL");
}

#ifdef __riscv
static void test_uring(void)
{
    char params[120] = {0};

    ok(syscall(SYS_io_uring_setup, 4, params) == -1 && errno == ENOSYS, "io_uring: ENOSYS");
}
#endif

int main(void)
{
    test_epoll();
#ifdef __riscv
    test_uring();
#endif
    return tap_done();
}
