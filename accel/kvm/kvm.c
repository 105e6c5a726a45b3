/*
 * KVM as accelerator of machines: the host's processor runs the guest.
 *
 * One VM a process. It is made in the order in which the kernel wants it: VM, its settings,
 * interrupt controllers, memory; then vCPUs, whose interrupt controllers are there then. What fails
 * is taken back, so that the next accelerator of a list can be tried.
 */
#include "accel/kvm/kvm.h"

#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct kvm kvm = {.device = -1, .vm = -1};

/* ---- system calls ---------------------------------------------------------------------------- */

static int repeat_ioctl(int fd, unsigned long request, void *arg)
{
    int result;

    do {
        result = ioctl(fd, request, arg);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result;
}

int kvm_dev_ioctl(unsigned long request, void *arg)
{
    return repeat_ioctl(kvm.device, request, arg);
}

int kvm_vm_ioctl(unsigned long request, void *arg)
{
    return repeat_ioctl(kvm.vm, request, arg);
}

int kvm_vcpu_ioctl(struct kvm_cpu *cpu, unsigned long request, void *arg)
{
    return repeat_ioctl(cpu->fd, request, arg);
}

int kvm_check_extension(unsigned capability)
{
    int result = repeat_ioctl(kvm.vm >= 0 ? kvm.vm : kvm.device, KVM_CHECK_EXTENSION,
                              KVM_NUMBER(capability));

    return result > 0 ? result : 0;
}

/* ---- the VM ---------------------------------------------------------------------------------- */

static int create_vm(char *error, size_t error_size)
{
    int vm = kvm_dev_ioctl(KVM_CREATE_VM, NULL);

    if (vm >= 0) {
        kvm.vm = vm;
        return 0;
    }
    snprintf(error, error_size, "-accel kvm: a virtual machine cannot be made: %s%s", strerror(-vm),
             vm == -EBUSY   ? " (another hypervisor uses the processor)"
             : vm == -EPERM ? " (is virtualization disabled by the firmware?)"
                            : "");
    return vm;
}

static int enable(unsigned capability, uint64_t argument)
{
    struct kvm_enable_cap cap = {.cap = capability, .args = {argument}};

    return kvm_vm_ioctl(KVM_ENABLE_CAP, &cap);
}

/* What of the options is the VM's. */
static int apply_options(char *error, size_t error_size)
{
    const struct kvm_options *o = &kvm.options;
    int err;

    if (o->halt_poll_ns >= 0) {
        err = kvm_check_extension(KVM_CAP_HALT_POLL)
                  ? enable(KVM_CAP_HALT_POLL, (uint64_t)o->halt_poll_ns)
                  : -ENOTSUP;
        if (err < 0) {
            snprintf(error, error_size,
                     "-accel kvm: halt-poll-ns=%lld: %s (KVM_CAP_HALT_POLL, Linux 5.11)",
                     (long long)o->halt_poll_ns, strerror(-err));
            return err;
        }
    }
    if (o->shadow_mem) {
        err = kvm_vm_ioctl(KVM_SET_NR_MMU_PAGES, KVM_NUMBER(o->shadow_mem / 4096));
        if (err < 0) {
            snprintf(error, error_size, "-accel kvm: kvm-shadow-mem=%llu: %s",
                     (unsigned long long)o->shadow_mem, strerror(-err));
            return err;
        }
    }
    return 0;
}

static void choose_irqchip(const char *wish)
{
    if (kvm.options.irqchip >= 0) {
        kvm.irqchip_mode = (enum kvm_irqchip_mode)kvm.options.irqchip;
    } else if (wish && strcmp(wish, "split") == 0) {
        kvm.irqchip_mode = KVM_IRQCHIP_SPLIT;
    } else if (wish && strcmp(wish, "off") == 0) {
        kvm.irqchip_mode = KVM_IRQCHIP_OFF;
    } else {
        kvm.irqchip_mode = KVM_IRQCHIP_ON;
    }
}

static int check_cpus(char *error, size_t error_size)
{
    int most = kvm_check_extension(KVM_CAP_MAX_VCPUS);

    most = most ? most : kvm_check_extension(KVM_CAP_NR_VCPUS);
    most = most ? most : 4; /* so says the interface of a kernel that does not */
    if (kvm.max_cpus > (unsigned)most) {
        snprintf(error, error_size, "-smp %u: KVM on this host runs at most %d vCPUs", kvm.max_cpus,
                 most);
        return -ERANGE;
    }
    return 0;
}

static int make(const struct accel_system_config *config, char *error, size_t error_size)
{
    int err = kvm_options_parse(config->options, error, error_size);

    choose_irqchip(config->kernel_irqchip);
    err = err ? err : kvm_open(error, error_size);
    err = err ? err : check_cpus(error, error_size);
    err = err ? err : create_vm(error, error_size);
    err = err ? err : kvm_check_needs(error, error_size);
    err = err ? err : apply_options(error, error_size);
    err = err ? err : kvm_dirty_init(error, error_size);
    err = err ? err : kvm_arch_init_vm(error, error_size);
    err = err ? err : kvm_irqchip_create(error, error_size);
    if (err) {
        return err;
    }
    err = kvm_dev_ioctl(KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (err < (int)sizeof(struct kvm_run)) {
        snprintf(error, error_size, "-accel kvm: KVM_GET_VCPU_MMAP_SIZE: %s",
                 err < 0 ? strerror(-err) : "less than a struct kvm_run");
        return err < 0 ? err : -EINVAL;
    }
    kvm.run_size = (size_t)err;
    err = kvm_run_init();
    if (err) {
        snprintf(error, error_size, "-accel kvm: signals: %s", strerror(-err));
        return err;
    }
    kvm_coalesced_init();
    return kvm_slots_init(error, error_size);
}

void kvm_end(void)
{
    kvm_slots_end();
    if (kvm.vm >= 0) {
        close(kvm.vm);
    }
    if (kvm.device >= 0) {
        close(kvm.device);
    }
    kvm_options_free();
    kvm = (struct kvm){.device = -1, .vm = -1};
}

static int init(const struct accel_system_config *config, char *error, size_t error_size)
{
    int err;

    kvm.memory = config->memory;
    kvm.io = config->io;
    kvm.cpus = config->cpus;
    kvm.max_cpus = config->max_cpus;
    kvm.event = config->event;
    kvm.lock = config->lock;
    kvm.unlock = config->unlock;
    err = make(config, error, error_size);
    if (err) {
        kvm_end();
    }
    return err;
}

static struct cpu_irqchip *irqchip(void)
{
    return kvm.irqchip;
}

/* ---- vCPUs ----------------------------------------------------------------------------------- */

static void free_cpu(struct kvm_cpu *k)
{
    kvm_dirty_unmap_ring(k);
    if (k->run) {
        munmap(k->run, kvm.run_size);
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    free(k->cpu);
    free(k);
}

static int start_cpu(struct kvm_cpu *k, uint32_t id)
{
    void *run;

    k->fd = kvm_vm_ioctl(KVM_CREATE_VCPU, KVM_NUMBER(id));
    if (k->fd < 0) {
        return k->fd;
    }
    run = mmap(NULL, kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (run == MAP_FAILED) {
        return -errno;
    }
    k->run = run;
    return kvm_dirty_map_ring(k);
}

static struct cpu *cpu_create(const struct cpu_target_ops *ops, unsigned index, uint32_t id)
{
    size_t size = (ops->state_size + 63) & ~(size_t)63;
    struct kvm_cpu *k = calloc(1, sizeof(*k));
    struct cpu *cpu = aligned_alloc(64, size);
    int err;

    if (!k || !cpu) {
        free(k);
        free(cpu);
        return NULL;
    }
    memset(cpu, 0, size);
    cpu->ops = ops;
    cpu->accel = k;
    k->cpu = cpu;
    err = start_cpu(k, id);
    if (!err) {
        err = kvm_arch_init_cpu(k);
    }
    if (err) {
        error_report("-accel kvm: vCPU %u: %s", index, strerror(-err));
        free_cpu(k);
        return NULL;
    }
    ops->reset(cpu);
    k->fetched = k->changed = true;
    if (!vcpu_create(cpu, index, &kvm_vcpu_ops)) {
        kvm_arch_exit_cpu(k);
        free_cpu(k);
        return NULL;
    }
    kvm_run_add_cpu(k);
    return cpu;
}

static void cpu_destroy(struct cpu *cpu)
{
    struct kvm_cpu *k = kvm_cpu(cpu);

    kvm_run_remove_cpu(k);
    kvm_arch_exit_cpu(k);
    free_cpu(k);
}

/* ---- services -------------------------------------------------------------------------------- */

/* The processor keeps translations coherent as the architecture says. */
static void no_flush(struct cpu *cpu, const struct cpu_flush *what)
{
}

static void no_effect(struct cpu *cpu)
{
}

static void no_code(struct mem_gpa gpa, uint64_t size)
{
}

static int breakpoint(struct cpu *cpu, uint64_t address, bool insert)
{
    return kvm_arch_breakpoint(kvm_cpu(cpu), address, insert);
}

static int watchpoint(struct cpu *cpu, uint64_t address, uint64_t size, unsigned access,
                      bool insert)
{
    return kvm_arch_watchpoint(kvm_cpu(cpu), address, size, access, insert);
}

static int single_step(struct cpu *cpu, bool on)
{
    return kvm_arch_single_step(kvm_cpu(cpu), on);
}

static bool debug_stop(struct cpu *cpu, struct cpu_stop *why)
{
    return kvm_arch_debug_stop(kvm_cpu(cpu), why);
}

static const struct cpu_service_ops service = {
    .wake = vcpu_wake,
    .wait = vcpu_wait,
    .run_on = vcpu_run_on,
    .run_on_wait = vcpu_run_on_wait,
    .exclusive = vcpu_exclusive,
    .tlb_flush = no_flush,
    .tlb_flush_all = no_flush,
    .mode_changed = no_effect,
    .data_space_changed = no_effect,
    .code_changed = no_code,
    .code_fence = no_effect,
    .registers_fetch = kvm_registers_fetch,
    .registers_changed = kvm_registers_changed,
    .breakpoint = breakpoint,
    .watchpoint = watchpoint,
    .single_step = single_step,
    .debug_stop = debug_stop,
};

const struct accel_system_ops accel_system_kvm = {
    .name = "kvm",
    .help = "the host's processor runs the guest (Linux KVM)",
    .init = init,
    .cpu_create = cpu_create,
    .cpu_destroy = cpu_destroy,
    .service = &service,
    .irqchip = irqchip,
    .print_stats = kvm_stats_print,
    .signals_from_guest = true,
};
