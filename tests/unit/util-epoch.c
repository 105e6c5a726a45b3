/* util/epoch: nothing is freed under a reader, everything is freed in the end. */
#include "util/epoch.h"

#include "tests/unit/tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct object {
    struct epoch_node node;
    _Atomic unsigned alive;
};

static unsigned freed;

static void count_free(struct epoch_node *node)
{
    freed++;
}

static void check_order(void)
{
    struct epoch epoch;
    struct epoch_reader a = {0}, b = {0};
    struct epoch_node node[3];

    epoch_init(&epoch);
    epoch_register(&epoch, &a);
    epoch_register(&epoch, &b);
    epoch_defer(&epoch, &node[0], count_free);
    tap_eq(epoch_reclaim(&epoch), 1, "with nobody inside it is freed at once");

    epoch_enter(&a);
    epoch_defer(&epoch, &node[0], count_free);
    tap_eq(epoch_reclaim(&epoch), 0, "a reader inside holds it");
    epoch_enter(&b);
    epoch_defer(&epoch, &node[1], count_free);
    epoch_enter(&a);
    epoch_leave(&a);
    tap_eq(epoch_reclaim(&epoch), 0, "leaving a nested section is not leaving");
    epoch_leave(&a);
    tap_eq(epoch_reclaim(&epoch), 1, "a reader that came later does not hold the older one");
    tap_eq(epoch.deferred, 1, "and holds the one deferred since");
    epoch_defer(&epoch, &node[2], count_free);
    epoch_pass(&b);
    tap_eq(epoch_reclaim(&epoch), 2, "passing is leaving and entering");
    epoch_defer(&epoch, &node[2], count_free);
    tap_eq(epoch_reclaim(&epoch), 0, "and it is inside again");
    epoch_leave(&b);
    epoch_wait(&epoch);
    tap_eq(freed, 5, "all were freed once");
    epoch_unregister(&a);
    epoch_unregister(&b);
    tap_ok(!epoch.readers && !epoch.first && !epoch.last, "the domain is empty");
}

static void check_fork(void)
{
    struct epoch epoch = EPOCH_INIT;
    struct epoch_reader self = {0}, other = {0};
    struct epoch_node node;
    int status = -1;

    epoch_register(&epoch, &self);
    epoch_register(&epoch, &other);
    epoch_enter(&other);
    lock_acquire(&epoch.lock);
    pid_t pid = fork();
    if (pid == 0) {
        epoch_after_fork(&epoch, &self);
        epoch_defer(&epoch, &node, count_free);
        bool alone = epoch_reclaim(&epoch) == 1;
        epoch_enter(&self);
        epoch_defer(&epoch, &node, count_free);
        _exit(alone && epoch_reclaim(&epoch) == 0 ? 0 : 1);
    }
    lock_release(&epoch.lock);
    waitpid(pid, &status, 0);
    tap_eq(status, 0, "a child of fork keeps its own reader and no other");
}

#define READERS 3
#define ROUNDS  20000

static struct epoch shared = EPOCH_INIT;
static struct object *_Atomic current;
static _Atomic bool stop;
static _Atomic unsigned dead_seen;
static _Atomic unsigned made, gone;

static void object_free(struct epoch_node *node)
{
    struct object *object = (struct object *)node;

    atomic_store(&object->alive, 0);
    atomic_fetch_add(&gone, 1);
    free(object);
}

static struct object *object_new(void)
{
    struct object *object = calloc(1, sizeof(*object));

    atomic_store(&object->alive, 1);
    atomic_fetch_add(&made, 1);
    return object;
}

static void *reader_main(void *arg)
{
    struct epoch_reader reader = {0};

    epoch_register(&shared, &reader);
    while (!atomic_load(&stop)) {
        epoch_enter(&reader);
        struct object *object = atomic_load_explicit(&current, memory_order_acquire);

        for (int i = 0; i < 20; i++) {
            if (!atomic_load_explicit(&object->alive, memory_order_relaxed)) {
                atomic_fetch_add(&dead_seen, 1);
            }
        }
        epoch_leave(&reader);
    }
    epoch_unregister(&reader);
    return arg;
}

static void check_threads(void)
{
    pthread_t thread[READERS];

    atomic_store(&current, object_new());
    for (int i = 0; i < READERS; i++) {
        pthread_create(&thread[i], NULL, reader_main, NULL);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct object *old = atomic_exchange(&current, object_new());

        epoch_defer(&shared, &old->node, object_free);
        if (i % 64 == 0) {
            epoch_reclaim(&shared);
        }
        if (i % 4096 == 0) {
            epoch_wait(&shared);
        }
    }
    epoch_wait(&shared);
    tap_eq(gone, ROUNDS, "every object but the current one was freed while readers ran");
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
    }
    tap_eq(dead_seen, 0, "no reader saw a freed object");
    free(atomic_load(&current));
}

int main(void)
{
    check_order();
    check_fork();
    check_threads();
    return tap_done();
}
