/* vCPUs that spin under the translator are paused and resumed, and none misses it. */
#include "accel/accel.h"
#include "accel/vcpu.h"
#include "mem/space.h"
#include "target/riscv/cpu.h"

#include "tests/unit/tap.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RAM UINT64_C(0x80000000)

enum { CPUS = 2, SIZE = 0x100000 };

static struct mem_region root, io_root, region;
static struct mem_space memory, io;
static struct mem_ram *ram;

/* Time stands. */
static int64_t clock_now(struct cpu_clock_source *source, enum cpu_clock which)
{
    return 0;
}

static struct cpu_timer *clock_timer_create(struct cpu_clock_source *source, enum cpu_clock which,
                                            void (*fire)(void *opaque), void *opaque)
{
    static char timer;

    return (struct cpu_timer *)&timer;
}

static void clock_timer_arm(struct cpu_timer *timer, int64_t deadline)
{
}

static const struct cpu_clock_ops clock_ops = {
    .now = clock_now, .timer_create = clock_timer_create, .timer_arm = clock_timer_arm};
static struct cpu_clock_source clock_source = {&clock_ops};

static void event(enum accel_event what, struct cpu *cpu)
{
}

static uint32_t counter(unsigned n)
{
    return *(volatile uint32_t *)(ram->host + 0x1000 + 4 * n);
}

static bool make_cpu(unsigned n)
{
    static const uint32_t code[] = {
        0x0002a303, /* lw t1, 0(t0) */
        0x00130313, /* addi t1, t1, 1 */
        0x0062a023, /* sw t1, 0(t0) */
        0xff5ff06f, /* j .-12 */
    };
    struct cpu_system wiring = {
        .service = accel_system_tcg.service, .memory = &memory, .clock = &clock_source, .hart = n};
    struct cpu *cpu = accel_system_tcg.cpu_create(&riscv64_target_ops, n, n);
    char error[256];

    if (!cpu || riscv64_target_ops.set_model(cpu, "rv64", error, sizeof(error)) ||
        riscv64_target_ops.system->attach(cpu, &wiring, error, sizeof(error))) {
        return false;
    }
    memcpy(ram->host, code, sizeof(code));
    riscv64_target_ops.system->reset(cpu, RAM);
    riscv_cpu(cpu)->x[5] = RAM + 0x1000 + 4 * n;
    return vcpu_start(cpu->owner, "TCG") == 0;
}

static void check_pauses(void)
{
    unsigned still = 0;

    for (unsigned n = 0; n < 2000; n++) {
        struct timespec moment = {.tv_nsec = (long)(n * 7919 % 20011)};
        uint32_t before;

        vcpu_resume_all();
        if (n % 4 == 0) {
            nanosleep(&moment, NULL);
        }
        vcpu_pause_all(NULL, NULL);
        before = counter(0) + counter(1);
        if (n % 50 == 0) {
            usleep(1000);
        }
        still += before == counter(0) + counter(1);
    }
    tap_eq(still, 2000, "2000 pauses: nobody runs then");
    tap_ok(counter(0) && counter(1), "and all have run");
}

int main(void)
{
    struct accel_system_config config = {
        .memory = &memory, .io = &io, .cpus = CPUS, .max_cpus = CPUS, .event = event};
    struct mem_ram_config ram_config = {.name = "ram", .size = SIZE};
    char error[256] = "";

    alarm(120); /* a kick that is lost */
    mem_region_init_container(&root, "memory", MEM_SIZE_ALL);
    mem_region_init_container(&io_root, "io", 0x10000);
    mem_space_init(&memory, "memory", &root);
    mem_space_init(&io, "io", &io_root);
    if (mem_ram_create(&ram, &ram_config, error, sizeof(error)) ||
        mem_region_init_ram(&region, "ram", ram, 0, SIZE, false) ||
        mem_region_add(&root, RAM, &region, 0) ||
        accel_system_tcg.init(&config, error, sizeof(error)) || !make_cpu(0) || !make_cpu(1)) {
        tap_ok(false, "set-up: %s", error);
        return tap_done();
    }
    check_pauses();
    vcpu_stop_all(NULL, NULL);
    return tap_done();
}
