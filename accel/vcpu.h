/*
 * vCPU threads: what both accelerators have in common. A thread per vCPU runs it, waits when it
 * halts or when the VM is stopped, and does what others ask of it in between.
 *
 *     create all vCPUs -> wire them (cpu/system.h) -> vcpu_start() each -> vcpu_resume_all()
 *
 * The accelerator has attached a struct vcpu to each struct cpu (cpu->owner).
 */
#ifndef TINAMOU_ACCEL_VCPU_H
#define TINAMOU_ACCEL_VCPU_H

#include "cpu/system.h"

#include <pthread.h>

/* What the accelerator does on the vCPU's thread. */
struct vcpu_ops {
    /* Once, first and last thing on the thread. init: 0 or -errno. */
    int (*thread_init)(struct cpu *cpu);
    void (*thread_exit)(struct cpu *cpu);
    /* Runs the guest until it halts, is kicked, or has work for others; without locks. True if the
     * vCPU waits for an interrupt. */
    bool (*run)(struct cpu *cpu);
    /* Makes run() return soon. Any thread, async-signal-safe. */
    void (*kick)(struct cpu *cpu);
    /*
     * The VM has come to stand, or is about to go again: for each vCPU in turn, by whoever pauses
     * or resumes, with the locks that he holds. No vCPU is in guest code. May be NULL.
     */
    void (*paused)(struct cpu *cpu);
    void (*resuming)(struct cpu *cpu);
    /* vCPUs that spin are told apart from others by the host: they need not be asked to take turns
     * when they are more than there are host CPUs. */
    bool host_schedules;
};

struct vcpu;

/* A vCPU's thread, not started; NULL when out of memory. `index` numbers vCPUs from 0. */
struct vcpu *vcpu_create(struct cpu *cpu, unsigned index, const struct vcpu_ops *ops);
/* Starts the thread, named "CPU n/TCG"-like; the VM counts as stopped until vcpu_resume_all().
 * accel_name stays the caller's, and valid. 0 or -errno. */
int vcpu_start(struct vcpu *vcpu, const char *accel_name);
/* The VM goes, or stands. pause returns when no vCPU is in guest code; by the main loop, which lets
 * go of the machine lock meanwhile (release, acquire: NULL where it holds none). */
void vcpu_resume_all(void);
void vcpu_pause_all(void (*release)(void), void (*acquire)(void));
/* Ends all threads and frees the vcpus; the same rules as vcpu_pause_all(). */
void vcpu_stop_all(void (*release)(void), void (*acquire)(void));

/* A vCPU that is powered off does not run (RISC-V harts under HSM, x86 APs before SIPI). */
void vcpu_set_power(struct cpu *cpu, bool on);

/* The vCPU does not run again before the VM was paused and resumed, or vcpu_unhalt(). By its thread
 * inside of run(), which it leaves. */
void vcpu_stand(struct cpu *cpu);

/* The vCPU was reset: it does not wait for an interrupt any more. It is paused. Any thread. */
void vcpu_unhalt(struct cpu *cpu);

unsigned vcpu_count(void);
struct cpu *vcpu_at(unsigned index);
pthread_t vcpu_thread(struct cpu *cpu);
/* The vCPU whose thread calls, or NULL. */
struct cpu *vcpu_current(void);

/* Has the calling vCPU's thread woken another vCPU since it last asked? Then it does well to let go
 * of its host CPU (sched_yield()) when it holds no lock. */
bool vcpu_has_woken(void);

/* The parts of struct cpu_service_ops that need no accelerator. */
void vcpu_wake(struct cpu *cpu);
void vcpu_wait(struct cpu *cpu, int64_t deadline);
void vcpu_run_on(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);
void vcpu_run_on_wait(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);
void vcpu_exclusive(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *arg), void *arg);

#endif
