/* Options of -accel kvm, what is said where KVM cannot be had, and statistics. */
#include "tests/unit/kvm-bench.h"

#include "util/log.h"

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- messages ---- */

/* The line that starting the accelerator ends with; "" when it starts. */
static const char *answer(const char *options, unsigned cpus)
{
    static char error[512];

    error[0] = 0;
    bench_make_spaces();
    if (bench_init(options, cpus, error, sizeof(error)) == 0) {
        kvm_end();
    }
    bench_free_spaces();
    return error;
}

static void check_wrong(const char *options, const char *want)
{
    const char *line = answer(options, 1);

    if (!tap_ok(!strncmp(line, want, strlen(want)) && !strchr(line, '\n'), "%s: %s", options,
                want)) {
        tap_note("got '%s'", line);
    }
}

static void check_syntax(void)
{
    check_wrong("kernel-irqchip=maybe", "-accel kvm: kernel-irqchip=maybe: expected one of off, "
                                        "split, on");
    check_wrong("dirty-ring-size=100", "-accel kvm: dirty-ring-size=100: expected 0 or a power of "
                                       "two from 1024 up");
    check_wrong("dirty-ring-size=5000", "-accel kvm: dirty-ring-size=5000: expected");
    check_wrong("dirty-ring-size=-1", "-accel kvm: dirty-ring-size=-1: expected a number");
    check_wrong("kvm-shadow-mem=lots", "-accel kvm: kvm-shadow-mem=lots: expected a size");
    check_wrong("halt-poll-ns=5000000000", "-accel kvm: halt-poll-ns=5000000000: expected a number "
                                           "from 0 to 4294967295");
    check_wrong("coalesced-mmio=2", "-accel kvm: coalesced-mmio=2: expected on or off");
    check_wrong("tb-size=10", "-accel kvm: no property 'tb-size'; there are device, ");
    check_wrong("cpu-affinity=", "-accel kvm: cpu-affinity=: expected sets of host CPUs");
    check_wrong("cpu-affinity=0::0", "-accel kvm: cpu-affinity=0::0: expected sets of host CPUs");
    check_wrong("cpu-affinity=3-1", "-accel kvm: cpu-affinity=3-1: expected sets of host CPUs");
    check_wrong("cpu-affinity=0+", "-accel kvm: cpu-affinity=0+: expected sets of host CPUs");
    check_wrong("cpu-affinity=all", "-accel kvm: cpu-affinity=all: expected sets of host CPUs");
    check_wrong("cpu-affinity=99999", "-accel kvm: cpu-affinity=99999: expected sets of host CPUs");
    check_wrong("cpu-affinity=0:1023",
                "-accel kvm: cpu-affinity=0:1023: the set of vCPU 1 has host "
                "CPUs that are not there");
}

/* The answer of a process that is nobody. */
static void check_as_nobody(const char *options, const char *want)
{
    int status;
    pid_t child;

    fflush(stdout);
    child = fork();
    if (child == 0) {
        const char *line;

        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0) {
            _exit(2);
        }
        line = answer(options, 1);
        if (!strstr(line, want)) {
            tap_note("got '%s'", line);
            fflush(stdout);
            _exit(1);
        }
        _exit(0);
    }
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
        WEXITSTATUS(status) != 2) {
        tap_ok(WEXITSTATUS(status) == 0, "as nobody: %s", want);
    } else {
        tap_ok(false, "a process of nobody's");
    }
}

static void check_devices(void)
{
    char path[] = "/tmp/kvm-options-XXXXXX", options[100];
    int file = mkstemp(path);

    check_wrong("device=/dev/no-such-kvm",
                "-accel kvm,device=/dev/no-such-kvm: there is no such device");
    check_wrong("device=/dev/null", "-accel kvm: /dev/null is not the device of KVM: ");
    snprintf(options, sizeof(options), "device=%s", path);
    check_wrong(options, "-accel kvm: /tmp/kvm-options-");
    if (getuid() == 0 && chown(path, 0, 0) == 0) {
        fchmod(file, 0660);
        check_as_nobody(options, "permission denied: it is for group root: join it (usermod -aG "
                                 "root nobody) and log in again");
        fchmod(file, 0600);
        check_as_nobody(options, "permission denied, by its mode for its group too");
    } else {
        fchmod(file, 0);
        check_wrong(options, "-accel kvm: /tmp/kvm-options-");
    }
    close(file);
    unlink(path);
}

/* ---- effects ---- */

static void read_affinity(struct cpu *cpu, void *arg)
{
    sched_getaffinity(0, sizeof(cpu_set_t), arg);
}

static void check_affinity(void)
{
    cpu_set_t allowed, sets[3];
    int cpus[2] = {-1, -1}, n = 0;
    char options[80], name[16] = "";

    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
        if (CPU_ISSET(cpu, &allowed)) {
            cpus[n++] = cpu;
        }
    }
    cpus[1] = n < 2 ? cpus[0] : cpus[1];
    snprintf(options, sizeof(options), "kernel-irqchip=off,cpu-affinity=%d:%d+%d", cpus[0], cpus[0],
             cpus[1]);
    if (!bench_open(options, 3)) {
        return;
    }
    bench_start();
    for (unsigned i = 0; i < 3; i++) {
        vcpu_run_on_wait(bench.cpu[i], read_affinity, &sets[i]);
    }
    tap_ok(CPU_COUNT(&sets[0]) == 1 && CPU_ISSET(cpus[0], &sets[0]) &&
               CPU_ISSET(cpus[1], &sets[1]) && CPU_EQUAL(&sets[0], &sets[2]),
           "threads are where cpu-affinity has them, in turn");
    pthread_getname_np(vcpu_thread(bench.cpu[2]), name, sizeof(name));
    tap_str(name, "CPU 2/KVM", "their names");
    bench_close();
}

static void check_effects(void)
{
    const char *line;

    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        tap_skip("options that have an effect", "no usable /dev/kvm");
        return;
    }
    line = answer("halt-poll-ns=0", 1);
    tap_ok(!*line || strstr(line, "KVM_CAP_HALT_POLL"), "halt-poll-ns");
    line = answer("kvm-shadow-mem=64M", 1);
    tap_ok(!*line || !strncmp(line, "-accel kvm: kvm-shadow-mem=67108864: ", 37), "kvm-shadow-mem");
    line = answer("dirty-ring-size=1073741824", 1);
    tap_ok(!strncmp(line, "-accel kvm: dirty-ring-size=1073741824: ", 40), "a ring too large");
    line = answer("", 100000);
    tap_ok(!strncmp(line, "-smp 100000: KVM on this host runs at most ", 43), "too many vCPUs");
    tap_str(answer("device=/dev/kvm,kernel-irqchip=split", 1), "", "the device's own name");
    check_affinity();
}

/* The machine's wish for interrupt controllers, and the option. */
static void check_irqchip(const char *wish, const char *options, int want)
{
    struct accel_system_config config = {.options = options,
                                         .kernel_irqchip = wish,
                                         .memory = &bench.memory,
                                         .io = &bench.io,
                                         .cpus = 1,
                                         .max_cpus = 1};
    char error[256] = "";

    bench_make_spaces();
    if (accel_system_kvm.init(&config, error, sizeof(error))) {
        tap_ok(false, "%s", error);
    } else {
        tap_ok((int)kvm.irqchip_mode == want,
               "interrupt controllers: the machine says %s, -accel '%s'", wish ? wish : "nothing",
               options);
        kvm_end();
    }
    bench_free_spaces();
}

static void check_irqchips(void)
{
    if (access("/dev/kvm", R_OK | W_OK) < 0) {
        tap_skip("interrupt controllers", "no usable /dev/kvm");
        return;
    }
    check_irqchip(NULL, "", KVM_IRQCHIP_ON);
    check_irqchip("split", "", KVM_IRQCHIP_SPLIT);
    check_irqchip("off", "coalesced-mmio=on", KVM_IRQCHIP_OFF);
    check_irqchip("off", "kernel-irqchip=on", KVM_IRQCHIP_ON);
}

/* ---- statistics ---- */

static void check_stats(void)
{
    static const uint8_t code[] = {
        0xb9, 0x64, 0x00, 0xe4, 0x80, 0xe2, 0xfc, /* mov cx, 100; back: in al, 0x80; loop back */
        0xe6, 0xf4, 0xf4,                         /* out 0xf4, al; hlt */
    };
    char path[] = "/tmp/kvm-stats-XXXXXX", text[65536];
    int file = mkstemp(path);
    ssize_t length;

    if (!bench_open("kernel-irqchip=off", 2)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    bench_code(1, code, sizeof(code));
    bench.ram->host[BENCH_CODE + 0x108] = BENCH_END + 1;
    if (bench_run(2) && log_open(path) == 0) {
        bool kernel = kvm_check_extension(KVM_CAP_BINARY_STATS_FD);

        vcpu_pause_all(NULL, NULL);
        accel_system_kvm.print_stats();
        length = pread(file, text, sizeof(text) - 1, 0);
        text[length > 0 ? length : 0] = 0;
        tap_ok(strstr(text, "exit IO                  202  ") &&
                   strstr(text,
                          "\nabsent_port              200  port accesses that nothing answers\n"),
               "counts of exits and accesses, of all vCPUs");
        tap_ok(!kernel || (strstr(text, "\nkernel VM ") && strstr(text, "\nkernel vCPU ") &&
                           strstr(text, "exits ")),
               "and the kernel's");
    }
    unlink(path);
    close(file);
    bench_close();
}

int main(void)
{
    check_syntax();
    check_devices();
    check_effects();
    check_irqchips();
    check_stats();
    return tap_done();
}
