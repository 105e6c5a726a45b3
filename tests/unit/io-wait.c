/* io/loop: waits that look before they sleep. */
#include "io/loop/wait.h"

#include "tests/unit/tap.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000000)

static int ends[2];
static struct pollfd fd;

static int wait_for(struct loop_wait *wait, int timeout)
{
    fd = (struct pollfd){.fd = ends[0], .events = POLLIN};
    return loop_wait(wait, &fd, 1, timeout);
}

static void take(void)
{
    char c;

    tap_eq(read(ends[0], &c, 1), 1, "the event is taken");
}

static void *give_later(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 5 * MS}, NULL);
    return write(ends[1], "x", 1) == 1 ? arg : NULL;
}

/* Events come early enough, and are found. */
static void check_found(void)
{
    struct loop_wait wait = {.most = 20000 * MS, .is_near = true, .rest = 7};
    pthread_t thread;

    pthread_create(&thread, NULL, give_later, NULL);
    tap_eq(wait_for(&wait, -1), 1, "an event is found");
    tap_eq(fd.revents, POLLIN, "that one");
    tap_ok(wait.is_near && !wait.rest && !wait.left, "and looking goes on");
    pthread_join(thread, NULL);
    take();
}

/* They do not, and looking becomes rare. */
static void check_in_vain(void)
{
    struct loop_wait wait = {.most = MS / 10};
    unsigned looks = 0, slept = 0;

    tap_eq(write(ends[1], "x", 1), 1, "an event that is there");
    wait.most = 20000 * MS;
    tap_eq(wait_for(&wait, -1), 1, "ends a wait at once");
    tap_ok(wait.is_near && !wait.rest, "so the next one looks");
    take();
    wait.most = MS / 10;
    for (unsigned i = 0; i < 600; i++) {
        unsigned rest = wait.rest, left = wait.left;

        wait.is_near = true;
        looks += wait_for(&wait, 1) == 0 && !left;
        slept += left && wait.left == left - 1 && wait.rest == rest;
    }
    tap_eq(looks, 10, "looks in vain: after 0, 1, 3 and so on to 127 others");
    tap_eq(slept, 590, "all other waits sleep");
    tap_eq(wait.rest, 127, "and no more than those");
    wait = (struct loop_wait){.most = MS / 10, .is_near = true};
    tap_eq(wait_for(&wait, 30), 0, "a long wait");
    tap_ok(!wait.is_near, "is the last one that looks");
}

/* A look in vain would leave a rest. */
static void check_idle(void)
{
    struct loop_wait wait = {.most = 20 * MS}, none = {0};

    for (unsigned i = 0; i < 3; i++) {
        tap_eq(wait_for(&wait, 100), 0, "an idle wait");
    }
    wait.is_near = true;
    tap_eq(wait_for(&wait, 0), 0, "without waiting");
    tap_eq(wait_for(&wait, 19), 0, "for less than a look");
    none.is_near = true;
    tap_eq(wait_for(&none, 50), 0, "when looking is off");
    tap_ok(!wait.rest && !none.rest, "do not look");
    fd = (struct pollfd){.fd = -1};
    tap_eq(loop_wait(&none, &fd, 1, 0), 0, "as poll()");
}

int main(void)
{
    if (!tap_ok(pipe(ends) == 0, "a pipe")) {
        return tap_done();
    }
    check_found();
    check_in_vain();
    check_idle();
    return tap_done();
}
