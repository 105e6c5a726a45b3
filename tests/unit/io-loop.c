/* io/loop: descriptors, clocks and timers, bottom halves, posts, workers. */
#include "io/loop/clock.h"
#include "io/loop/loop.h"
#include "io/loop/pool.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MS INT64_C(1000000)

static struct loop *loop;
static char trace[128];

static void note(const char *what)
{
    strncat(trace, what, sizeof(trace) - strlen(trace) - 1);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void drain(void)
{
    while (loop_iterate(loop, false)) {
    }
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static struct loop_fd *watch;
static int ends[2];
static unsigned got_events;

static void on_fd(void *opaque, unsigned events)
{
    char c;

    got_events |= events;
    if (events & LOOP_IN && read(ends[0], &c, 1) == 1 && c == 'q') {
        loop_fd_remove(watch);
        watch = NULL;
        loop_quit(loop);
    }
}

static void check_fds(void)
{
    tap_eq(pipe(ends), 0, "a pipe");
    watch = loop_fd_add(loop, ends[0], LOOP_IN, on_fd, NULL);
    drain();
    tap_eq(got_events, 0, "nothing is ready");
    loop_fd_set_events(watch, 0);
    tap_eq(write(ends[1], "xq", 2), 2, "data");
    drain();
    tap_eq(got_events, 0, "is not reported when nobody asks");
    loop_fd_set_events(watch, LOOP_IN);
    loop_run(loop);
    tap_ok(got_events == LOOP_IN && !watch, "is reported; a watch may remove itself and quit");
    close(ends[1]);
    got_events = 0;
    watch = loop_fd_add(loop, ends[0], 0, on_fd, NULL);
    while (!got_events) {
        loop_iterate(loop, true);
    }
    tap_eq(got_events, LOOP_ERR, "a hang-up is always reported");
    loop_fd_remove(watch);
    close(ends[0]);
}

/* ---- clocks and timers ------------------------------------------------------------------------
 */

static void on_timer(void *name)
{
    note(name);
    if (*(char *)name == 'z') {
        loop_quit(loop);
    }
}

static struct loop_timer again;
static unsigned fired;

static void on_again(void *opaque)
{
    fired++;
    loop_timer_arm(&again, 0); /* long past */
}

static int late(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static int64_t fired_at;

static void on_precise(void *opaque)
{
    fired_at = loop_clock_now(LOOP_CLOCK_REALTIME);
    loop_quit(loop);
}

static void check_timers(void)
{
    struct loop_timer t[4], z, virtual;
    int64_t now = loop_clock_now(LOOP_CLOCK_REALTIME), delay[9];
    unsigned early = 0;

    for (int i = 0; i < 4; i++) {
        loop_timer_init(&t[i], loop, LOOP_CLOCK_REALTIME, on_timer,
                        (char *[]){"a", "b", "c", "d"}[i]);
    }
    loop_timer_init(&z, loop, LOOP_CLOCK_HOST, on_timer, "z");
    loop_timer_arm(&z, loop_clock_now(LOOP_CLOCK_HOST) + 12 * MS);
    loop_timer_arm(&t[2], now + 3 * MS);
    loop_timer_arm(&t[0], now - 1);
    loop_timer_arm(&t[3], now + 5 * MS);
    loop_timer_arm(&t[1], now + 50000 * MS);
    loop_timer_arm(&t[1], now + 2 * MS);
    loop_timer_cancel(&t[3]);
    tap_ok(loop_timer_is_armed(&t[1]) && !loop_timer_is_armed(&t[3]), "armed and cancelled");
    loop_run(loop);
    tap_str(trace, "abcz", "timers fire in order, on both kinds of host time");
    tap_ok(!loop_timer_is_armed(&t[1]), "once");

    loop_timer_init(&t[0], loop, LOOP_CLOCK_REALTIME, on_precise, NULL);
    for (int i = 0; i < 9; i++) {
        int64_t deadline = loop_clock_now(LOOP_CLOCK_REALTIME) + 300000;

        loop_timer_arm(&t[0], deadline);
        loop_run(loop);
        delay[i] = fired_at - deadline;
        early += delay[i] < 0;
    }
    qsort(delay, 9, sizeof(delay[0]), late);
    tap_eq(early, 0, "never early");
    tap_ok(delay[2] < MS, "and not rounded to milliseconds (%lld ns late)", (long long)delay[2]);

    loop_timer_init(&again, loop, LOOP_CLOCK_REALTIME, on_again, NULL);
    loop_timer_arm(&again, 0);
    loop_iterate(loop, true);
    tap_ok(fired >= 1 && fired < 10, "a timer that is always due does not keep the loop");
    loop_timer_cancel(&again);

    trace[0] = 0;
    tap_ok(loop_clock_now(LOOP_CLOCK_VIRTUAL) == 0 && !loop_clock_is_running(),
           "the virtual clock starts at 0, stopped");
    loop_timer_init(&virtual, loop, LOOP_CLOCK_VIRTUAL, on_timer, "z");
    loop_timer_arm(&virtual, 1000 * MS + 5 * MS);
    loop_clock_set_virtual(1000 * MS);
    loop_timer_arm(&t[1], loop_clock_now(LOOP_CLOCK_REALTIME) + 20 * MS);
    loop_timer_init(&t[0], loop, LOOP_CLOCK_REALTIME, on_precise, NULL);
    loop_timer_arm(&t[0], loop_clock_now(LOOP_CLOCK_REALTIME) + 25 * MS);
    loop_run(loop);
    tap_str(trace, "b", "a virtual timer does not fire while the VM is stopped");
    tap_eq(loop_clock_now(LOOP_CLOCK_VIRTUAL), 1000 * MS, "the clock stands");
    loop_clock_run(true);
    loop_run(loop);
    tap_str(trace, "bz", "and fires when it goes");
    int64_t first = loop_clock_now(LOOP_CLOCK_VIRTUAL);

    tap_ok(first >= 1005 * MS && first < 20000 * MS, "at its time");
    loop_clock_run(false);
    first = loop_clock_now(LOOP_CLOCK_VIRTUAL);
    sleep_ms(3);
    tap_eq(loop_clock_now(LOOP_CLOCK_VIRTUAL), first, "stopped again");
}

/* Many timers in random order, with changes: the heap keeps its order. */
static int64_t last_deadline, wrong_order;
static unsigned heap_fired;

struct heap_timer {
    struct loop_timer timer;
    int64_t deadline;
};

static void on_heap(void *opaque)
{
    struct heap_timer *t = opaque;

    wrong_order += t->deadline < last_deadline;
    last_deadline = t->deadline;
    heap_fired++;
}

static void check_heap(void)
{
    static struct heap_timer t[500];
    unsigned armed = 0;

    srand(5);
    for (int i = 0; i < 500; i++) {
        loop_timer_init(&t[i].timer, loop, LOOP_CLOCK_REALTIME, on_heap, &t[i]);
    }
    for (int i = 0; i < 3000; i++) {
        struct heap_timer *h = &t[rand() % 500];

        /* Far away, so that none fires before all are armed. */
        h->deadline = rand() % 4 ? INT64_MAX / 2 + rand() : LOOP_NEVER;
        loop_timer_arm(&h->timer, h->deadline);
    }
    for (int i = 0; i < 500; i++) {
        if (t[i].deadline != LOOP_NEVER && loop_timer_is_armed(&t[i].timer)) {
            t[i].deadline -= INT64_MAX / 2;
            armed++;
        }
    }
    for (int i = 0; i < 500; i++) {
        if (loop_timer_is_armed(&t[i].timer)) {
            loop_timer_arm(&t[i].timer, t[i].deadline % 1000000);
            t[i].deadline %= 1000000;
        }
    }
    while (heap_fired < armed) {
        loop_iterate(loop, true);
    }
    tap_ok(!wrong_order && armed > 300, "%u timers fire in the order of their deadlines", armed);
}

/* ---- bottom halves ----------------------------------------------------------------------------
 */

static struct loop_bh *bh, *victim;
static _Atomic unsigned bh_runs, stored;
static unsigned bh_seen;

static void on_bh(void *opaque)
{
    atomic_fetch_add(&bh_runs, 1);
    bh_seen = atomic_load(&stored);
    if (opaque) {
        loop_bh_destroy(victim);
        victim = NULL;
    }
}

static void on_signal(int number)
{
    /* Its contract says that it may be called here. */
    loop_bh_schedule(bh); /* NOLINT(bugprone-signal-handler) */
}

static void *schedule_main(void *arg)
{
    for (unsigned i = 1; i <= 20000; i++) {
        atomic_store(&stored, i);
        loop_bh_schedule(bh);
    }
    return arg;
}

static struct loop_bh *waiters[2];
static bool waited_for;

/* Whichever of the two comes first waits for the other, with a round inside of its call. */
static void on_waiter(void *opaque)
{
    if (!waited_for) {
        waited_for = true;
        bh_runs = 0;
        for (int i = 0; i < 3 && !bh_runs; i++) {
            loop_iterate(loop, false);
        }
    } else {
        bh_runs++;
    }
}

static void check_nested_bhs(void)
{
    for (int i = 0; i < 2; i++) {
        waiters[i] = loop_bh_create(loop, on_waiter, NULL);
        loop_bh_schedule(waiters[i]);
    }
    drain();
    tap_eq(bh_runs, 1, "a round inside of a bottom half calls the others");
    loop_bh_destroy(waiters[0]);
    loop_bh_destroy(waiters[1]);
}

static void check_bhs(void)
{
    pthread_t thread;

    bh = loop_bh_create(loop, on_bh, NULL);
    loop_bh_schedule(bh);
    loop_bh_schedule(bh);
    tap_eq(bh_runs, 0, "scheduling does not call");
    drain();
    tap_eq(bh_runs, 1, "the loop calls, once");
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    drain();
    tap_eq(bh_runs, 2, "a signal handler may schedule");
    pthread_create(&thread, NULL, schedule_main, NULL);
    while (bh_seen < 20000) {
        loop_iterate(loop, true);
    }
    pthread_join(thread, NULL);
    drain();
    tap_ok(bh_seen == 20000, "no schedule of another thread is lost (%u calls)", bh_runs - 2);
    loop_bh_destroy(bh);

    /* One of the two destroys the other; both are scheduled. */
    struct loop_bh *killer;

    bh_runs = 0;
    victim = loop_bh_create(loop, on_bh, NULL);
    killer = loop_bh_create(loop, on_bh, &victim);
    loop_bh_schedule(victim);
    loop_bh_schedule(killer);
    drain();
    tap_ok(bh_runs >= 1 && bh_runs <= 2 && !victim, "a bottom half may destroy another");
    loop_bh_destroy(killer);
}

/* ---- posts ------------------------------------------------------------------------------------
 */

struct letter {
    struct loop_post post;
    const char *text;
    unsigned more; /* how often it posts itself again */
};

static struct letter letters[3], endless;
static _Atomic unsigned letters_sent;
static unsigned letters_read;

static void on_letter(struct loop_post *post)
{
    struct letter *letter = (struct letter *)post;

    note(letter->text);
    if (letter->text[0] == 'n') {
        loop_iterate(loop, true); /* a round inside: the rest of the queue is not lost */
        note(")");
    }
    if (letter->more) {
        letter->more--;
        loop_post(loop, post);
    }
}

static void on_first_letter(struct loop_post *post)
{
    for (int i = 0; i < 3; i++) {
        letters[i].post.fn = on_letter;
        loop_post(loop, &letters[i].post);
    }
}

static void on_sent(struct loop_post *post)
{
    letters_read++;
    free(post);
}

static void *send_letters(void *arg)
{
    for (unsigned i = 0; i < 20000; i++) {
        struct loop_post *post = calloc(1, sizeof(*post));

        post->fn = on_sent;
        loop_post(loop, post);
        atomic_fetch_add(&letters_sent, 1);
    }
    return arg;
}

static void on_endless(struct loop_post *post)
{
    loop_post(loop, post);
}

static void check_posts(void)
{
    struct loop_post first = {.fn = on_first_letter};
    unsigned rounds_needed = 0;
    pthread_t thread[2];

    trace[0] = 0;
    letters[0].text = "a";
    letters[0].more = 2;
    letters[1].text = "n(";
    letters[2].text = "c";
    loop_post(loop, &first);
    tap_str(trace, "", "posting does not call");
    drain();
    tap_str(trace, "an(ca)a", "posts are called in their order, also by a round inside of one");

    for (int i = 0; i < 2; i++) {
        pthread_create(&thread[i], NULL, send_letters, NULL);
    }
    while (letters_read < 40000) {
        loop_iterate(loop, true);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
    }
    tap_eq(letters_read, letters_sent, "no post of other threads is lost");

    bh_runs = 0;
    bh = loop_bh_create(loop, on_bh, NULL);
    endless.post.fn = on_endless;
    loop_post(loop, &endless.post);
    loop_bh_schedule(bh);
    while (!bh_runs && rounds_needed < 100) {
        loop_iterate(loop, true);
        rounds_needed++;
    }
    tap_ok(bh_runs == 1 && rounds_needed <= LOOP_POSTS_ONLY + 1,
           "what is always posted does not keep descriptors from their turn (%u rounds)",
           rounds_needed);
    endless.post.fn = on_letter;
    endless.text = "";
    drain();
    loop_bh_destroy(bh);
}

/* ---- the lock ---------------------------------------------------------------------------------
 */

static pthread_mutex_t machine = PTHREAD_MUTEX_INITIALIZER;
static unsigned guarded;

static void lock_machine(void)
{
    pthread_mutex_lock(&machine);
}

static void unlock_machine(void)
{
    pthread_mutex_unlock(&machine);
}

static void *locker_main(void *arg)
{
    for (int i = 0; i < 50; i++) {
        lock_machine();
        guarded++;
        unlock_machine();
    }
    loop_quit(loop);
    return arg;
}

static void check_lock(void)
{
    pthread_t thread;

    loop_set_lock(loop, lock_machine, unlock_machine);
    lock_machine();
    pthread_create(&thread, NULL, locker_main, NULL);
    loop_run(loop);
    tap_eq(guarded, 50, "others get the lock while the loop waits");
    tap_eq(pthread_mutex_trylock(&machine), EBUSY, "and the loop has it again afterwards");
    unlock_machine();
    pthread_join(thread, NULL);
    loop_set_lock(loop, NULL, NULL);
}

/* ---- workers ----------------------------------------------------------------------------------
 */

struct sum_job {
    struct loop_job job;
    unsigned value;
    bool wrong_thread;
};

static _Atomic unsigned in_work, most_at_once;
static unsigned jobs_done, jobs_sum, rounds;
static struct loop_pool *pool;

static void sum_work(struct loop_job *job)
{
    struct sum_job *s = (struct sum_job *)job;
    unsigned now = atomic_fetch_add(&in_work, 1) + 1;

    if (now > most_at_once) {
        most_at_once = now;
    }
    s->wrong_thread = loop_is_current(loop);
    s->value *= 2;
    sleep_ms(1);
    atomic_fetch_sub(&in_work, 1);
}

static void sum_done(struct loop_job *job)
{
    struct sum_job *s = (struct sum_job *)job;

    if (s->wrong_thread || !loop_is_current(loop)) {
        jobs_sum += 1000000;
    }
    jobs_sum += s->value;
    jobs_done++;
    if (rounds) {
        rounds--;
        loop_pool_submit(pool, job);
    } else {
        free(job);
    }
}

static void check_pool(void)
{
    pool = loop_pool_create(3);
    rounds = 10;
    for (unsigned i = 0; i < 30; i++) {
        struct sum_job *s = calloc(1, sizeof(*s));

        s->job = (struct loop_job){.work = sum_work, .done = sum_done, .loop = loop};
        s->value = 1;
        loop_pool_submit(pool, &s->job);
    }
    loop_pool_destroy(pool);
    tap_eq(jobs_done, 40, "all jobs are done when the pool is gone, resubmitted ones too");
    tap_ok(jobs_sum >= 30 * 2 + 10 * 4 && jobs_sum < 1000000, "each on the right threads");
    tap_ok(most_at_once > 1 && most_at_once <= 3, "at most three at once (%u)", most_at_once);
}

int main(void)
{
    loop = loop_create();
    if (!tap_ok(loop != NULL, "a loop")) {
        return tap_done();
    }
    check_fds();
    check_timers();
    check_heap();
    check_bhs();
    check_nested_bhs();
    check_posts();
    check_lock();
    check_pool();
    loop_destroy(loop);
    return tap_done();
}
