/*
 * The run loop of a vCPU, how it is interrupted, and how all others are stopped.
 *
 * Kicks. kvm_run.immediate_exit makes KVM_RUN return before it enters the guest, and a signal makes
 * it return from there. A kick sets the byte, then sends the signal if the thread may be inside. No
 * kick is lost:
 *
 * - The byte is read by KVM_RUN alone and cleared only when run() returns, before the thread looks
 *   at what others want of it. Whoever asks for something does so before he kicks. So either the
 *   kick comes before the clearing, and the look that follows finds what is asked for; or after it,
 *   and then the byte is still set at the next KVM_RUN, which returns at once. In particular a kick
 *   between the look and KVM_RUN is found there.
 * - The thread says in_kernel, then KVM_RUN reads the byte; the kicker writes the byte, then reads
 *   in_kernel. Both orders are sequentially consistent, so either KVM_RUN sees the byte, or the
 *   kicker sees in_kernel and sends the signal, which arrives before KVM_RUN, where its handler has
 *   nothing to do, for the byte is set; or inside, where it is pending for the kernel's last check
 *   before the guest, or interrupts the guest.
 *
 * The signal is never blocked in a vCPU's thread, so KVM_SET_SIGNAL_MASK, which costs each KVM_RUN
 * a change of the mask, is not needed. A signal that comes late finds a thread that has left, or
 * another that has its number by now, and does nothing there.
 *
 * Pending accesses. After an exit for a port or for registers of a device the guest's state is
 * whole only when KVM_RUN was entered again. That is why a kick does not leave the loop by itself:
 * it has KVM_RUN finish the access and return. Whoever fetches registers from outside of run()
 * finds them whole.
 *
 * Stopping the others is for memory slots, which cannot be replaced in one step: between the
 * removal and the addition the guest would fetch code, or have the processor walk page tables, from
 * nowhere. A thread that finds `stopped` waits in front of KVM_RUN. The stopper waits only for
 * KVM_RUN to return, which takes no lock of ours; a vCPU that waits for a lock elsewhere is not
 * waited for. So rule 2 of docs/contracts.md is kept in spirit: a stopper inside of a reader
 * section waits for nobody who could wait for it.
 */
#include "accel/kvm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One that coalesces: any number of kicks is one pending signal. */
#define KICK_SIGNAL SIGUSR1

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a vCPU has left the kernel, or `stopped` was lifted */
    _Atomic bool stopped;
} others = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- kicks ----------------------------------------------------------------------------------- */

static void ignore_signal(int signal)
{
}

int kvm_run_init(void)
{
    struct sigaction action = {.sa_handler = ignore_signal, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    return sigaction(KICK_SIGNAL, &action, NULL) < 0 ? -errno : 0;
}

static void kick(struct cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(cpu);

    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load(&k->in_kernel)) {
        syscall(SYS_tgkill, getpid(), k->thread, KICK_SIGNAL);
    }
}

static void take_kick(struct kvm_cpu *k)
{
    (void)__atomic_exchange_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

/* ---- in the kernel, and out of it ------------------------------------------------------------ */

static void leave_kernel(struct kvm_cpu *k)
{
    atomic_store(&k->in_kernel, false);
    atomic_thread_fence(memory_order_seq_cst);
    if (__builtin_expect(atomic_load(&others.stopped), false)) {
        pthread_mutex_lock(&others.lock);
        pthread_cond_broadcast(&others.changed);
        pthread_mutex_unlock(&others.lock);
    }
}

static void enter_kernel(struct kvm_cpu *k)
{
    for (;;) {
        atomic_store(&k->in_kernel, true);
        atomic_thread_fence(memory_order_seq_cst);
        if (__builtin_expect(!atomic_load(&others.stopped), true)) {
            return;
        }
        leave_kernel(k);
        kvm_count(&k->count.stopped);
        pthread_mutex_lock(&others.lock);
        while (atomic_load(&others.stopped)) {
            pthread_cond_wait(&others.changed, &others.lock);
        }
        pthread_mutex_unlock(&others.lock);
    }
}

void kvm_stop_others(void)
{
    pthread_mutex_lock(&others.lock);
    assert(!others.stopped);
    atomic_store(&others.stopped, true);
    atomic_thread_fence(memory_order_seq_cst);
    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        if (atomic_load(&k->in_kernel)) {
            kick(k->cpu);
        }
    }
    for (struct kvm_cpu *k = kvm.first; k; k = k->next) {
        while (atomic_load(&k->in_kernel)) {
            pthread_cond_wait(&others.changed, &others.lock);
        }
    }
    pthread_mutex_unlock(&others.lock);
}

void kvm_go_on_others(void)
{
    pthread_mutex_lock(&others.lock);
    atomic_store(&others.stopped, false);
    pthread_cond_broadcast(&others.changed);
    pthread_mutex_unlock(&others.lock);
}

void kvm_run_add_cpu(struct kvm_cpu *cpu)
{
    pthread_mutex_lock(&others.lock);
    cpu->next = kvm.first;
    kvm.first = cpu;
    pthread_mutex_unlock(&others.lock);
}

void kvm_run_remove_cpu(struct kvm_cpu *cpu)
{
    struct kvm_cpu **link = &kvm.first;

    pthread_mutex_lock(&others.lock);
    while (*link != cpu) {
        link = &(*link)->next;
    }
    *link = cpu->next;
    pthread_mutex_unlock(&others.lock);
}

/* ---- registers ------------------------------------------------------------------------------- */

int kvm_registers_fetch(struct cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(cpu);
    int err = 0;

    /* What was changed is newer than what the kernel has. */
    if (!k->fetched && !k->changed) {
        err = kvm_arch_fetch(k);
        k->fetched = !err;
        kvm_count(&k->count.fetched);
    }
    return err;
}

int kvm_registers_changed(struct cpu *cpu)
{
    kvm_cpu(cpu)->changed = true;
    return 0;
}

static int store_registers(struct kvm_cpu *k)
{
    int err = kvm_arch_store(k);

    if (!err) {
        k->changed = false;
        kvm_count(&k->count.stored);
    }
    return err;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static enum kvm_outcome fail(struct kvm_cpu *k, const char *what, int err)
{
    char text[200];

    snprintf(text, sizeof(text), "%s: %s", what, strerror(err));
    kvm_internal_error(k, text);
    return KVM_LEAVE;
}

/* KVM_RUN has returned an error. */
static enum kvm_outcome handle_error(struct kvm_cpu *k, int err)
{
    switch (err) {
    case EINTR:
        kvm_count(&k->count.interrupted);
        return KVM_LEAVE;
    case EAGAIN: /* an application processor was woken before its start, and the like */
        return KVM_GO_ON;
    case EFAULT:
        /* Newer kernels say where; see KVM_CAP_MEMORY_FAULT_INFO. */
        if (k->run->exit_reason == KVM_EXIT_MEMORY_FAULT) {
            return kvm_handle_exit(k);
        }
        return fail(k, "the host cannot reach memory that the guest uses", err);
    case EHWPOISON:
        return fail(k, "a page of guest memory is broken in the host's memory", err);
    default:
        return fail(k, "KVM_RUN", err);
    }
}

static enum kvm_outcome run_once(struct kvm_cpu *k)
{
    int err;

    if (k->changed && (err = store_registers(k)) < 0) {
        return fail(k, "the kernel refuses the registers", -err);
    }
    if (!kvm_arch_before_run(k)) {
        return KVM_HALTED;
    }
    k->fetched = k->answered = false;
    enter_kernel(k);
    /* The kernel leaves the last reason there when it returns for a kick. */
    k->run->exit_reason = KVM_EXIT_INTR;
    err = ioctl(k->fd, KVM_RUN, NULL) < 0 ? errno : 0;
    leave_kernel(k);
    if (err == EINTR) {
        k->run->exit_reason = KVM_EXIT_INTR; /* immediate_exit leaves the one before */
    }
    kvm_arch_after_run(k);
    return err ? handle_error(k, err) : kvm_handle_exit(k);
}

static bool run(struct cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(cpu);
    enum kvm_outcome outcome;

    do {
        outcome = run_once(k);
    } while (outcome == KVM_GO_ON);
    take_kick(k);
    return outcome == KVM_HALTED;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static int thread_init(struct cpu *cpu)
{
    const struct kvm_options *o = &kvm.options;
    struct kvm_cpu *k = kvm_cpu(cpu);
    sigset_t signals;

    k->thread = (int)syscall(SYS_gettid);
    if (o->affinity_sets) {
        /* They were checked; a host CPU that went offline since then costs the pinning only. */
        (void)sched_setaffinity(0, sizeof(cpu_set_t), &o->affinity[cpu->index % o->affinity_sets]);
    }
    sigemptyset(&signals);
    sigaddset(&signals, KICK_SIGNAL);
    return -pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

static void thread_exit(struct cpu *cpu)
{
}

static void paused(struct cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(cpu);

    kvm_arch_clock_paused(k);
    if (!k->next) { /* once for all */
        kvm_arch_clock_stop();
        kvm_coalesced_drain(k);
    }
}

static void resuming(struct cpu *cpu)
{
    if (!kvm_cpu(cpu)->next) {
        kvm_arch_clock_go();
    }
}

const struct vcpu_ops kvm_vcpu_ops = {
    .thread_init = thread_init,
    .thread_exit = thread_exit,
    .run = run,
    .kick = kick,
    .paused = paused,
    .resuming = resuming,
    .host_schedules = true,
};
