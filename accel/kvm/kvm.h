/*
 * KVM as an accelerator: shared by the files of this folder and by nobody else.
 *
 * Three layers. kvm.c is the core: the struct accel_system_ops, life of VM and vCPUs; options.c has
 * the options. Mechanisms know the kernel's interface but no architecture: check.c (capabilities
 * and the messages for what is missing), run.c (the run loop), exits.c (why the guest was left),
 * slots.c (memory), dirty.c (the kernel's logs of written pages), events.c (event descriptors),
 * coalesced.c (writes that need not be told at once), irqchip.c (routes, messages, irqfds),
 * stats.c. What differs by architecture is behind the functions kvm_arch_*(), in x86*.c.
 *
 * Threads. A vCPU's descriptor is used by its own thread; other threads that need it go through
 * vcpu_run_on_wait(), or find it paused. The VM's descriptor may be used by any thread; memory
 * slots change inside of transactions of mem/ only. Locks below are leaves: whoever holds one takes
 * no other.
 */
#ifndef TINAMOU_ACCEL_KVM_KVM_H
#define TINAMOU_ACCEL_KVM_KVM_H

#include "accel/accel.h"
#include "accel/vcpu.h"
#include "cpu/irq.h"
#include "mem/space.h"

#include <linux/kvm.h>
#include <sched.h>
#include <stdbool.h>

/* Of newer kernels than the headers that must do. */
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

enum { KVM_EXITS = 48 }; /* reasons that are counted apart */

enum kvm_irqchip_mode { KVM_IRQCHIP_OFF, KVM_IRQCHIP_SPLIT, KVM_IRQCHIP_ON };

/* Of -accel kvm,... */
struct kvm_options {
    char *device;         /* "/dev/kvm" */
    int irqchip;          /* enum kvm_irqchip_mode; -1: the machine's wish, or on */
    uint32_t dirty_ring;  /* entries of a vCPU's ring; 0: bitmaps */
    uint64_t shadow_mem;  /* bytes of shadow page tables; 0: as the kernel has it */
    int64_t halt_poll_ns; /* -1: as the kernel has it */
    bool coalesced_mmio;
    char *cpu_affinity; /* "0-3:4+6"; NULL: wherever the host likes */
    /* made of cpu_affinity: vCPU n runs on set n % sets */
    cpu_set_t *affinity;
    unsigned affinity_sets;
};

struct kvm {
    struct kvm_options options;
    int device; /* /dev/kvm */
    int vm;
    struct mem_space *memory, *io;
    unsigned cpus, max_cpus;
    size_t run_size; /* of the mapping of a vCPU */
    enum kvm_irqchip_mode irqchip_mode;
    struct cpu_irqchip *irqchip;                            /* NULL: off */
    void (*event)(enum accel_event event, struct cpu *cpu); /* these are accel_system_config's */
    void (*lock)(void);
    void (*unlock)(void);
    uint32_t coalesced_page;  /* of a vCPU's mapping, where the ring of coalesced writes is; or 0 */
    uint64_t coalesced_count; /* writes delivered; under the machine lock */
    struct kvm_cpu *first;    /* all vCPUs; changes under the lock of kvm_stop_others() */
};

extern struct kvm kvm;

struct kvm_cpu {
    struct cpu *cpu;
    struct kvm_cpu *next;
    int fd;
    int thread; /* id of its thread; 0: not started */
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring; /* NULL: none */
    uint32_t ring_next;         /* under the lock of dirty.c */
    unsigned ring_idle;         /* how often it was full without an entry */
    bool fetched;               /* the state has the guest's registers ... */
    bool changed;               /* ... and is to be taken over before the next run */
    _Atomic bool in_kernel;     /* in KVM_RUN, or about to be */
    void *arch;                 /* of x86.c */
    bool answered; /* an access of the guest, which the kernel finishes at the next KVM_RUN;
                      registers are fetched after that */
    /* counted by its thread with kvm_count(), read by any with kvm_counted() */
    uint64_t exits[KVM_EXITS]; /* by reason; the last is for all that are beyond */
    struct kvm_counters {
#define KVM_COUNTERS(X)                                              \
    X(interrupted, "returns from KVM_RUN for a signal or a request") \
    X(port, "port accesses dispatched to devices")                   \
    X(absent_port, "port accesses that nothing answers")             \
    X(mmio, "memory accesses dispatched to devices")                 \
    X(absent, "memory accesses that nothing answers")                \
    X(refused, "writes to read-only memory")                         \
    X(stopped, "waits for a change of memory slots")                 \
    X(fetched, "register files fetched from the kernel")             \
    X(stored, "register files given to the kernel")
#define X(name, help) uint64_t name;
        KVM_COUNTERS(X)
#undef X
    } count;
};

static inline struct kvm_cpu *kvm_cpu(struct cpu *cpu)
{
    return cpu->accel;
}

static inline void kvm_count(uint64_t *counter)
{
    __atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static inline uint64_t kvm_counted(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* ioctl() that is repeated after EINTR; the result, or -errno. `arg` is a pointer or a number. */
int kvm_dev_ioctl(unsigned long request, void *arg);
int kvm_vm_ioctl(unsigned long request, void *arg);
int kvm_vcpu_ioctl(struct kvm_cpu *cpu, unsigned long request, void *arg);
#define KVM_NUMBER(n) ((void *)(uintptr_t)(n))

/* KVM_CHECK_EXTENSION on the VM where there is one, else on the device; 0 when it is not known. */
int kvm_check_extension(unsigned capability);

/* Takes back what init() has done, all of it or its first part; there are no vCPUs (any more). */
void kvm_end(void);

/* options.c: kvm.options of the text, defaults for all else; the answer is -errno with one line. */
int kvm_options_parse(const char *text, char *error, size_t error_size);
void kvm_options_free(void);

/* check.c: opens kvm.options.device and checks it, in the order in which a person would mend
 * things; what is missing is one line in error[]: no such device (is it a module to load, is
 * virtualisation off), no permission (and the name of the group that has it), another architecture,
 * too old an interface, or a capability by name. */
int kvm_open(char *error, size_t error_size);
/* The capabilities, when there is a VM: a line names the one that is missing. */
int kvm_check_needs(char *error, size_t error_size);

/* ---- run.c ---- */

extern const struct vcpu_ops kvm_vcpu_ops;
int kvm_run_init(void); /* once: the signal that interrupts KVM_RUN; 0 or -errno */
/*
 * All vCPUs but the caller's own leave KVM_RUN and stay outside of it until kvm_go_on_others(). It
 * waits for the kernel only, not for anything that a vCPU does outside of it, so it may be called
 * with any lock held and inside of a reader section; under the topology lock, which makes it the
 * only one.
 */
void kvm_stop_others(void);
void kvm_go_on_others(void);
/* The list of vCPUs. */
void kvm_run_add_cpu(struct kvm_cpu *cpu);
void kvm_run_remove_cpu(struct kvm_cpu *cpu);
/* Of cpu_service_ops. */
int kvm_registers_fetch(struct cpu *cpu);
int kvm_registers_changed(struct cpu *cpu);

/* ---- exits.c ---- */

/* What comes of an exit. */
enum kvm_outcome {
    KVM_GO_ON,
    KVM_HALTED,   /* waits for an interrupt, which user space knows of first */
    KVM_LEAVE,    /* what comes next is not the vCPU's business: it was paused or reset */
    KVM_UNHANDLED /* not known; of kvm_arch_handle_exit() only */
};
/* Deals with run->exit_reason. On the vCPU's thread. */
enum kvm_outcome kvm_handle_exit(struct kvm_cpu *cpu);
/* KVM_EXIT_* as text: "IO". NULL: not known. */
const char *kvm_exit_name(uint32_t reason);
/* The vCPU stands until it is paused and resumed, or reset, and the machine is told. */
enum kvm_outcome kvm_tell(struct kvm_cpu *cpu, enum accel_event event);
/*
 * The guest cannot go on here: says so with the registers and the instruction, and what to try, and
 * tells accel_system_config.event. The state has been fetched, so whoever can go on may. The caller
 * leaves the run loop.
 */
void kvm_internal_error(struct kvm_cpu *cpu, const char *what);

/* ---- slots.c, dirty.c ---- */

int kvm_slots_init(char *error, size_t error_size); /* adds listeners to kvm.memory and kvm.io */
void kvm_slots_end(void);                           /* and removes them */

/* A memory slot. All of them under the topology lock; ram and offset of one that exists do not
 * change, so the rings' reader may look them up by number under its own lock. */
struct kvm_slot {
    uint64_t first, size; /* size 0: the number is free */
    uint8_t *host;
    struct mem_ram *ram;
    uint64_t ram_offset;
    bool readonly;
    uint32_t logging;
};
/* The slot of that number, or NULL. Under the topology lock, or that of dirty.c. */
struct kvm_slot *kvm_slot(uint32_t number);
/* KVM_SET_USER_MEMORY_REGION; 0 or -errno. */
int kvm_slot_set(uint32_t number, const struct kvm_slot *slot, uint64_t size);

int kvm_dirty_init(char *error, size_t error_size); /* before vCPUs are created */
int kvm_dirty_map_ring(struct kvm_cpu *cpu);        /* 0 or -errno */
void kvm_dirty_unmap_ring(struct kvm_cpu *cpu);
/* Brings what the kernel has logged of a slot into the dirty bits; with rings, of all. Under the
 * topology lock. `stopped`: the caller has called kvm_stop_others(). */
void kvm_dirty_fetch(uint32_t number, bool stopped);
/* The vCPU's ring is full. On its thread. False: it says so again and again, but is empty. */
bool kvm_dirty_ring_full(struct kvm_cpu *cpu);
/* Slots change under this, where rings are. */
void kvm_dirty_lock(void);
void kvm_dirty_unlock(void);

/* ---- events.c: descriptors signalled by the guest's writes ---- */

void kvm_eventfd_change(const struct mem_view_eventfd *eventfd, bool io, bool add);

/* ---- coalesced.c ---- */

void kvm_coalesced_init(void);
void kvm_coalesced_change(const struct mem_section *section, bool io, bool add);
/* Delivers the writes that wait; before anything that they could have an effect on. Takes the
 * machine lock, when there are some. Any thread. */
void kvm_coalesced_drain(struct kvm_cpu *cpu);

/* ---- irqchip.c ---- */

int kvm_irqchip_create(char *error, size_t error_size); /* by kvm.irqchip_mode */
/* A route of a pin that an architecture has from the start; several for one gsi add up. Before
 * kvm_irqchip_create() returns. 0 or -ENOSPC. */
int kvm_route_pin(uint32_t gsi, uint32_t chip, uint32_t pin);
/* An EOI of this vector was broadcast (split). On a vCPU's thread. */
void kvm_irqchip_eoi(uint8_t vector);

/* ---- stats.c ---- */

void kvm_stats_print(void);

/* ---- by architecture ---- */

/* Capabilities that must be there; ends with a NULL name. */
struct kvm_need {
    unsigned capability;
    const char *name; /* "KVM_CAP_IMMEDIATE_EXIT" */
};
extern const struct kvm_need kvm_arch_needs[];

extern const char kvm_arch_machine[]; /* of uname(2), where it can run */

int kvm_arch_init_vm(char *error, size_t error_size); /* after KVM_CREATE_VM */

/* KVM_CREATE_IRQCHIP or its like by kvm.irqchip_mode, and kvm_route_pin() for its pins. */
int kvm_arch_init_irqchip(char *error, size_t error_size);
extern const uint32_t kvm_arch_pins; /* interrupt numbers below are pins */
int kvm_arch_add_timer(void);        /* of cpu_irqchip_ops, as are these */
int kvm_arch_irqchip_save(unsigned part, void *state, uint32_t size);
int kvm_arch_irqchip_load(unsigned part, const void *state, uint32_t size);

/* The guest's idea of time: the VM stands, and goes on. vCPUs are paused. */
void kvm_arch_clock_stop(void);
void kvm_arch_clock_go(void);
/* The guest is to know that this vCPU was held up, lest it takes it for a lockup. */
void kvm_arch_clock_paused(struct kvm_cpu *cpu);

/* After KVM_CREATE_VCPU, before the model is chosen: 0 or -errno. */
int kvm_arch_init_cpu(struct kvm_cpu *cpu);
void kvm_arch_exit_cpu(struct kvm_cpu *cpu);

/* Registers into struct cpu, and back. 0 or -errno. On the vCPU's thread, or while it stands. */
int kvm_arch_fetch(struct kvm_cpu *cpu);
int kvm_arch_store(struct kvm_cpu *cpu);

/* Right before and after KVM_RUN, with registers stored: interrupts that user space injects, what
 * kvm_run mirrors. before: false when the vCPU waits and is not to be run. Without the machine
 * lock. */
bool kvm_arch_before_run(struct kvm_cpu *cpu);
void kvm_arch_after_run(struct kvm_cpu *cpu);

/* Exits that exits.c does not know. */
enum kvm_outcome kvm_arch_handle_exit(struct kvm_cpu *cpu);

/* Guest debugging, of cpu_service_ops. */
int kvm_arch_breakpoint(struct kvm_cpu *cpu, uint64_t address, bool insert);
int kvm_arch_watchpoint(struct kvm_cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                        bool insert);
int kvm_arch_single_step(struct kvm_cpu *cpu, bool on);
bool kvm_arch_debug_stop(struct kvm_cpu *cpu, struct cpu_stop *why);

/* Lines for kvm_internal_error(): registers and code. */
void kvm_arch_dump(struct kvm_cpu *cpu, void (*line)(void *opaque, const char *text), void *opaque);

#endif
