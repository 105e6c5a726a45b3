/*
 * vCPU threads.
 *
 * A thread goes round: do what others have asked for, wait while the VM stands or the vCPU is off,
 * wait while the guest has halted, run the guest. Whoever wants its attention changes something and
 * calls attend(), which raises `seen` and kicks; the thread sleeps on that word (a futex), so
 * waking it is async-signal-safe and nothing is lost between its last look and its sleep.
 *
 * Fewer host CPUs than vCPUs. Guests wait for each other by spinning, be it for a lock or for the
 * answer to an interrupt, and whoever they wait for may not have a host CPU. So a vCPU that has
 * woken another one lets go of its host CPU once (vcpu_has_woken()), and while more vCPUs run than
 * there are host CPUs, a thread asks all of them to do so every millisecond.
 *
 * The world. `world` guards the list of vCPUs, whether the VM goes, and who runs guest code
 * (`running`). Pausing and exclusive work are the same thing: nobody may begin, and one waits until
 * nobody runs. Work items of a vCPU are under its own lock.
 */
#include "accel/vcpu.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Of a vCPU's thread: the accelerator's frames and the shadow stack below them. */
enum { STACK_SIZE = 2 * 1024 * 1024 };

struct work {
    void (*fn)(struct cpu *cpu, void *arg);
    void *arg;
    struct work *next;
    bool wait, exclusive;
    bool done; /* under the vCPU's lock */
};

struct vcpu {
    struct cpu *cpu;
    unsigned index;
    const struct vcpu_ops *ops;
    const char *accel_name;
    struct vcpu *next;
    pthread_t thread;
    bool started;
    _Atomic uint32_t seen; /* futex: changes whenever the thread should look */
    _Atomic bool off, quit;
    _Atomic bool stands;  /* until the VM has been paused and goes again */
    _Atomic bool inside;  /* of ops->run() */
    _Atomic bool yield;   /* on the way out of it */
    bool woke;            /* others, since it was last asked; its own thread's */
    _Atomic bool halted;  /* the guest waits for an interrupt */
    pthread_mutex_t lock; /* of the work list */
    pthread_cond_t finished;
    struct work *first, **last;
    _Atomic bool has_work;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct vcpu *vcpus, **last;
    unsigned count;
    unsigned running; /* vCPUs in guest code */
    unsigned host_cpus;
    bool turns;         /* there is a thread that runs take_turns() */
    unsigned exclusive; /* who wants the others to stand */
    bool busy;          /* one of those is at work */
    _Atomic bool goes;
} world = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .last = &world.vcpus};

static __thread struct vcpu *current;

static struct vcpu *of(const struct cpu *cpu)
{
    return cpu->owner;
}

static void futex_wait(struct vcpu *v, uint32_t value, const struct timespec *timeout)
{
    syscall(SYS_futex, &v->seen, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void attend(struct vcpu *v)
{
    if (current && current != v) {
        current->woke = true;
    }
    atomic_fetch_add(&v->seen, 1);
    v->ops->kick(v->cpu);
    syscall(SYS_futex, &v->seen, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

struct vcpu *vcpu_create(struct cpu *cpu, unsigned index, const struct vcpu_ops *ops)
{
    struct vcpu *v = calloc(1, sizeof(*v));

    if (!v) {
        return NULL;
    }
    v->cpu = cpu;
    v->index = index;
    v->ops = ops;
    v->last = &v->first;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->finished, NULL);
    cpu->owner = v;
    cpu->index = index;
    pthread_mutex_lock(&world.lock);
    if (!world.count) {
        /* Now: a sandbox does not let us read what the host says of itself. */
        world.host_cpus = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    }
    *world.last = v;
    world.last = &v->next;
    world.count++;
    pthread_mutex_unlock(&world.lock);
    return v;
}

bool vcpu_has_woken(void)
{
    bool woke = current && current->woke;

    if (woke) {
        current->woke = false;
    }
    return woke;
}

/* ---- the world ------------------------------------------------------------------------------- */

/* False when somebody wants this vCPU to stand: look again. */
static bool begin_running(void)
{
    bool may;

    pthread_mutex_lock(&world.lock);
    may = world.goes && !world.exclusive;
    if (may) {
        if (++world.running == world.host_cpus + 1) {
            pthread_cond_broadcast(&world.changed); /* take_turns() */
        }
    } else if (world.exclusive) {
        /* it ends by itself */
        pthread_cond_wait(&world.changed, &world.lock);
    }
    pthread_mutex_unlock(&world.lock);
    return may;
}

static void end_running(void)
{
    pthread_mutex_lock(&world.lock);
    world.running--;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

static void kick_all_locked(void)
{
    for (struct vcpu *v = world.vcpus; v; v = v->next) {
        if (v != current) {
            attend(v);
        }
    }
}

/* By a vCPU thread that runs nothing now. */
static void do_exclusive(struct vcpu *v, struct work *work)
{
    pthread_mutex_lock(&world.lock);
    world.exclusive++;
    kick_all_locked();
    while (world.running || world.busy) {
        pthread_cond_wait(&world.changed, &world.lock);
    }
    world.busy = true;
    pthread_mutex_unlock(&world.lock);
    work->fn(v->cpu, work->arg);
    pthread_mutex_lock(&world.lock);
    world.busy = false;
    world.exclusive--;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

/* The list does not change meanwhile: vCPUs are created and stopped by whoever pauses and resumes.
 */
static void tell_all(bool goes)
{
    for (struct vcpu *v = world.vcpus; v; v = v->next) {
        void (*tell)(struct cpu *) = goes ? v->ops->resuming : v->ops->paused;

        if (tell) {
            tell(v->cpu);
        }
    }
}

void vcpu_resume_all(void)
{
    if (!atomic_load(&world.goes)) {
        tell_all(true);
    }
    pthread_mutex_lock(&world.lock);
    for (struct vcpu *v = world.vcpus; v; v = v->next) {
        atomic_store(&v->stands, false);
    }
    world.goes = true;
    kick_all_locked();
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

void vcpu_pause_all(void (*release)(void), void (*acquire)(void))
{
    bool went = atomic_load(&world.goes);

    if (release) {
        release();
    }
    pthread_mutex_lock(&world.lock);
    world.goes = false;
    kick_all_locked();
    while (world.running) {
        pthread_cond_wait(&world.changed, &world.lock);
    }
    pthread_mutex_unlock(&world.lock);
    if (acquire) {
        acquire();
    }
    if (went) {
        tell_all(false);
    }
}

/* Sees to it that spinning vCPUs take turns. */
static void *take_turns(void *arg)
{
    static const struct timespec turn = {.tv_nsec = 1000000};

    prctl(PR_SET_NAME, "turns");
    for (;;) {
        pthread_mutex_lock(&world.lock);
        while (world.running <= world.host_cpus) {
            pthread_cond_wait(&world.changed, &world.lock);
        }
        for (struct vcpu *v = world.vcpus; v; v = v->next) {
            if (atomic_load(&v->inside)) {
                atomic_store(&v->yield, true);
                v->ops->kick(v->cpu);
            }
        }
        pthread_mutex_unlock(&world.lock);
        nanosleep(&turn, NULL);
    }
    return NULL;
}

/* ---- work ------------------------------------------------------------------------------------ */

static void submit(struct vcpu *v, struct work *work)
{
    pthread_mutex_lock(&v->lock);
    work->next = NULL;
    *v->last = work;
    v->last = &work->next;
    atomic_store(&v->has_work, true);
    pthread_mutex_unlock(&v->lock);
    attend(v);
}

static void do_work(struct vcpu *v)
{
    struct work *work;

    if (!atomic_load(&v->has_work)) {
        return;
    }
    pthread_mutex_lock(&v->lock);
    while ((work = v->first)) {
        v->first = work->next;
        if (!v->first) {
            v->last = &v->first;
        }
        pthread_mutex_unlock(&v->lock);
        if (work->exclusive) {
            do_exclusive(v, work);
        } else {
            work->fn(v->cpu, work->arg);
        }
        pthread_mutex_lock(&v->lock);
        if (work->wait) {
            work->done = true;
            pthread_cond_broadcast(&v->finished);
        } else {
            free(work);
        }
    }
    atomic_store(&v->has_work, false);
    pthread_mutex_unlock(&v->lock);
}

static void submit_copy(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg,
                        bool exclusive)
{
    struct work *work = malloc(sizeof(*work));

    if (!work) {
        abort(); /* a flush that is not done would be worse */
    }
    *work = (struct work){.fn = fn, .arg = arg, .exclusive = exclusive};
    submit(of(cpu), work);
}

void vcpu_run_on(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg)
{
    submit_copy(cpu, fn, arg, false);
}

void vcpu_exclusive(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg)
{
    submit_copy(cpu, fn, arg, true);
}

void vcpu_run_on_wait(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg)
{
    struct vcpu *v = of(cpu);
    struct work work = {.fn = fn, .arg = arg, .wait = true};

    if (v == current || !v->started) {
        fn(cpu, arg);
        return;
    }
    submit(v, &work);
    pthread_mutex_lock(&v->lock);
    while (!work.done) {
        pthread_cond_wait(&v->finished, &v->lock);
    }
    pthread_mutex_unlock(&v->lock);
}

void vcpu_wake(struct cpu *cpu)
{
    attend(of(cpu));
}

void vcpu_stand(struct cpu *cpu)
{
    atomic_store(&of(cpu)->stands, true);
}

void vcpu_unhalt(struct cpu *cpu)
{
    atomic_store(&of(cpu)->halted, false);
    atomic_store(&of(cpu)->stands, false);
    attend(of(cpu));
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Until somebody calls attend(), or the virtual clock reaches the deadline. */
static void wait_until(struct vcpu *v, uint32_t seen, int64_t deadline)
{
    struct cpu_system *system = v->cpu->ops->system->system(v->cpu);
    struct timespec timeout;
    int64_t left;

    if (deadline == CPU_CLOCK_NEVER || !system->clock) {
        futex_wait(v, seen, NULL);
        return;
    }
    left = deadline - cpu_clock_now(system->clock, CPU_CLOCK_VIRTUAL);
    if (left > 0) {
        timeout.tv_sec = left / 1000000000;
        timeout.tv_nsec = left % 1000000000;
        futex_wait(v, seen, &timeout);
    }
}

void vcpu_wait(struct cpu *cpu, int64_t deadline)
{
    struct vcpu *v = of(cpu);
    uint32_t seen = atomic_load(&v->seen);

    if (!cpu->ops->system->has_work(cpu) && !atomic_load(&v->has_work) && !atomic_load(&v->quit)) {
        wait_until(v, seen, deadline);
    }
}

static void *run(void *arg)
{
    struct vcpu *v = arg;
    struct cpu *cpu = v->cpu;
    const struct cpu_system_ops *ops = cpu->ops->system;
    char name[16];

    current = v;
    /* By the thread itself: another one's name is a file in /proc. */
    snprintf(name, sizeof(name), "CPU %u/%s", v->index % 10000, v->accel_name);
    prctl(PR_SET_NAME, name);
    if (v->ops->thread_init(cpu) < 0) {
        abort();
    }
    while (!atomic_load(&v->quit)) {
        uint32_t seen = atomic_load(&v->seen);

        do_work(v);
        if (atomic_load(&v->off) || atomic_load(&v->stands) || !atomic_load(&world.goes)) {
            futex_wait(v, seen, NULL);
            continue;
        }
        if (atomic_load(&v->halted) && !ops->has_work(cpu)) {
            wait_until(v, seen, ops->deadline(cpu));
            if (!ops->has_work(cpu)) {
                continue;
            }
        }
        if (begin_running()) {
            atomic_store(&v->inside, true);
            atomic_store(&v->halted, v->ops->run(cpu));
            atomic_store(&v->inside, false);
            end_running();
            if (atomic_exchange(&v->yield, false)) {
                sched_yield();
            }
        }
    }
    do_work(v);
    v->ops->thread_exit(cpu);
    return NULL;
}

/* With the second vCPU that has to share a host CPU. A failure costs speed only. */
static void start_turns(void)
{
    pthread_t thread;

    if (world.turns || world.vcpus->ops->host_schedules || world.count <= world.host_cpus) {
        return;
    }
    world.turns = pthread_create(&thread, NULL, take_turns, NULL) == 0;
    if (world.turns) {
        pthread_detach(thread);
    }
}

int vcpu_start(struct vcpu *vcpu, const char *accel_name)
{
    pthread_attr_t attr;
    int error;

    start_turns();
    vcpu->accel_name = accel_name;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    error = pthread_create(&vcpu->thread, &attr, run, vcpu);
    pthread_attr_destroy(&attr);
    if (error) {
        return -error;
    }
    vcpu->started = true;
    return 0;
}

void vcpu_stop_all(void (*release)(void), void (*acquire)(void))
{
    struct vcpu *v, *next;

    vcpu_pause_all(release, NULL);
    for (v = world.vcpus; v; v = v->next) {
        atomic_store(&v->quit, true);
        attend(v);
    }
    for (v = world.vcpus; v; v = next) {
        next = v->next;
        if (v->started) {
            pthread_join(v->thread, NULL);
        }
        v->cpu->owner = NULL;
        pthread_mutex_destroy(&v->lock);
        pthread_cond_destroy(&v->finished);
        free(v);
    }
    world.vcpus = NULL;
    world.last = &world.vcpus;
    world.count = 0;
    if (acquire) {
        acquire();
    }
}

void vcpu_set_power(struct cpu *cpu, bool on)
{
    atomic_store(&of(cpu)->off, !on);
    attend(of(cpu));
}

unsigned vcpu_count(void)
{
    return world.count;
}

struct cpu *vcpu_at(unsigned index)
{
    struct vcpu *v = world.vcpus;

    while (v && v->index != index) {
        v = v->next;
    }
    return v ? v->cpu : NULL;
}

pthread_t vcpu_thread(struct cpu *cpu)
{
    return of(cpu)->thread;
}

struct cpu *vcpu_current(void)
{
    return current ? current->cpu : NULL;
}
