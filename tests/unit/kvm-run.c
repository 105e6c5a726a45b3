/* The run loop of the KVM accelerator: exits, kicks, pauses, registers. */
#include "tests/unit/kvm-bench.h"

/* ---- a device that writes down what it is asked ---- */

static struct {
    struct mem_region region;
    unsigned reads, writes;
    uint64_t sum; /* of what was written, by size and offset */
    uint64_t next;
} dev;

static int dev_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                    struct mem_attrs attrs)
{
    dev.reads++;
    *value = dev.next;
    dev.next = dev.next << 8 | dev.next >> 56;
    return 0;
}

static int dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                     struct mem_attrs attrs)
{
    dev.writes++;
    dev.sum = dev.sum * 31 + value * 7 + size * 3 + offset;
    return 0;
}

static const struct mem_ops dev_ops = {.read = dev_read, .write = dev_write, .unaligned = true};

static void check_ports(void)
{
    static const uint8_t code[] = {
        0xba, 0x00, 0x02,                               /* mov dx, 0x200 */
        0xb0, 0x11, 0xee,                               /* mov al, 0x11; out dx, al */
        0xb8, 0x22, 0x33, 0xef,                         /* mov ax, 0x3322; out dx, ax */
        0x66, 0xb8, 1,    2,    3,    4,    0x66, 0xef, /* mov eax, 0x04030201; out dx, eax */
        0xec, 0xa2, 0x00, 0x30,                         /* in al, dx; mov [0x3000], al */
        0xed, 0xa3, 0x02, 0x30,                         /* in ax, dx; mov [0x3002], ax */
        0x66, 0xed, 0x66, 0xa3, 0x04, 0x30,             /* in eax, dx; mov [0x3004], eax */
        0xbe, 0x00, 0x20, 0xb9, 100,  0,    0xf3, 0x6f, /* mov si, 0x2000; mov cx, 100; rep outsw */
        0xbf, 0x00, 0x31, 0xb9, 5,    0,    0xf3, 0x6c, /* mov di, 0x3100; mov cx, 5; rep insb */
        0xba, 0x00, 0x03, 0xed, 0xa3, 0x08, 0x30, /* mov dx, 0x300; in ax, dx; mov [0x3008], ax */
        0xee,                                     /* out dx, al */
        0xe6, 0xf4, 0xf4,                         /* out 0xf4, al; hlt */
    };
    uint64_t sum;

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    memset(&dev, 0, sizeof(dev));
    dev.next = 0xa1a2a3a4a5a6a7a8;
    mem_region_init_mmio(&dev.region, "dev", 8, &dev_ops, NULL, &bench_owner);
    mem_region_add(&bench.io_root, 0x200, &dev.region, 0);
    for (unsigned n = 0; n < 200; n++) {
        bench.ram->host[0x2000 + n] = (uint8_t)(n * 3);
    }
    bench_code(0, code, sizeof(code));
    if (bench_run(1)) {
        sum = dev.sum;
        dev.sum = 0;
        dev_write(NULL, 0, 1, 0x11, MEM_ATTRS_NONE);
        dev_write(NULL, 0, 2, 0x3322, MEM_ATTRS_NONE);
        dev_write(NULL, 0, 4, 0x04030201, MEM_ATTRS_NONE);
        for (unsigned n = 0; n < 200; n += 2) {
            dev_write(NULL, 0, 2, bench.ram->host[0x2000 + n] | bench.ram->host[0x2001 + n] << 8,
                      MEM_ATTRS_NONE);
        }
        tap_eq(sum, dev.sum, "writes of 8, 16 and 32 bits and of strings arrive in order");
        tap_eq(dev.writes, 206, "so many of them");
        tap_eq(dev.reads, 8, "and reads");
        tap_ok(bench.ram->host[0x3000] == 0xa8 &&
                   !memcmp(bench.ram->host + 0x3002, "\xa1\xa8", 2) &&
                   !memcmp(bench.ram->host + 0x3004, "\xa2\xa1\xa8\xa7", 4),
               "reads have their values");
        tap_ok(!memcmp(bench.ram->host + 0x3100, "\xa3\xa4\xa5\xa6\xa7", 5), "of strings too");
        tap_ok(!memcmp(bench.ram->host + 0x3008, "\xff\xff", 2), "nothing reads as ones");
        tap_eq(BENCH_COUNT(0, absent_port), 2, "and is counted");
    }
    mem_region_remove(&dev.region);
    bench_close();
}

/* Writes down sizes and offsets, and answers with them. */
static unsigned seen[64][2], seen_count;

static int note_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = 0x1111111111111111 * (offset % 16);
    return 0;
}

static int note_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    if (seen_count < 64) {
        seen[seen_count][0] = (unsigned)offset << 8 | size;
        seen[seen_count++][1] = (unsigned)value;
    }
    return 0;
}

static const struct mem_ops note_ops = {.read = note_read, .write = note_write, .unaligned = true};

static void check_memory(void)
{
    static const uint8_t code[] = {
        0xb8, 0x00, 0xd0, 0x8e, 0xd8,                         /* mov ax, 0xd000; mov ds, ax */
        0xc6, 0x06, 0x01, 0x00, 0x5a,                         /* mov byte [1], 0x5a */
        0xc7, 0x06, 0x02, 0x00, 0x34, 0x12,                   /* mov word [2], 0x1234 */
        0x66, 0xc7, 0x06, 0x05, 0x00, 0x78, 0x56, 0x34, 0x12, /* mov dword [5], 0x12345678 */
        0xa0, 0x02, 0x00, 0x26, 0xa2, 0x00, 0x30,             /* mov al, [2]; mov es:[0x3000], al */
        0x66, 0xa1, 0x13, 0x00, 0x26, 0x66, 0xa3, 0x04, 0x30, /* the same of 4 at 0x13 */
        0x66, 0xc7, 0x06, 0xfe, 0x0f, 4,    3,    2,    1,    /* mov dword [0xffe], over the end */
        0xb8, 0xff, 0xff, 0x8e, 0xd8,             /* mov ax, 0xffff; mov ds, ax: above 1 MiB */
        0xa1, 0x10, 0x00, 0x26, 0xa3, 0x08, 0x30, /* mov ax, [0x10]; mov es:[0x3008], ax */
        0xa3, 0x10, 0x00,                         /* mov [0x10], ax */
        0xe6, 0xf4, 0xf4,                         /* out 0xf4, al; hlt */
    };
    static const unsigned want[][2] = {{0x101, 0x5a}, {0x202, 0x1234}, {0x504, 0x12345678}};
    struct mem_region region = {0};

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    seen_count = 0;
    mem_region_init_mmio(&region, "note", 0x1000, &note_ops, NULL, &bench_owner);
    mem_region_add(&bench.root, 0xd0000, &region, 1);
    memset(bench.ram->host + 0xd1000, 0xee, 4);
    bench_code(0, code, sizeof(code));
    if (bench_run(1)) {
        tap_ok(seen_count >= 3 && !memcmp(seen, want, sizeof(want)),
               "writes of 8, 16 and 32 bits, unaligned too, come as they are");
        tap_eq(bench.ram->host[0x3000], 0x22, "a byte is read");
        tap_ok(!memcmp(bench.ram->host + 0x3004, "\x33\x33\x33\x33", 4), "and a word of 32 bits");
        tap_ok(!memcmp(bench.ram->host + 0xd1000, "\2\1\xee\xee", 4),
               "a write over the end of the registers goes on in RAM");
        tap_ok(!memcmp(bench.ram->host + 0x3008, "\xff\xff", 2), "nothing reads as ones");
        tap_eq(BENCH_COUNT(0, absent), 2, "and is counted");
    }
    mem_region_remove(&region);
    bench_close();
}

/* ---- kicks ---- */

static uint32_t counter(unsigned n)
{
    return *(volatile uint32_t *)(bench.ram->host + 0x3000 + 4 * n);
}

static void nothing(struct cpu *cpu, void *arg)
{
    ++*(unsigned *)arg;
}

static void check_pauses(unsigned cpus)
{
    static const uint8_t spin[] = {0x66, 0xff, 0x06, 0x00, 0x30, 0xeb, 0xf9}; /* inc; jmp */
    unsigned moved = 0, still = 0, work = 0;

    if (!bench_open("kernel-irqchip=off", cpus)) {
        return;
    }
    for (unsigned n = 0; n < cpus; n++) {
        bench_code(n, spin, sizeof(spin));
        bench.ram->host[BENCH_CODE + n * 0x100 + 3] = (uint8_t)(4 * n);
    }
    bench_start();
    for (unsigned n = 0; n < 2000; n++) {
        struct timespec moment = {.tv_nsec = (long)(n * 7919 % 20011)};
        uint32_t before;

        if (n % 4 == 0) {
            nanosleep(&moment, NULL);
        }
        vcpu_pause_all(NULL, NULL);
        before = counter(0) + counter(cpus - 1);
        if (n % 50 == 0) {
            usleep(1000);
        }
        still += before == counter(0) + counter(cpus - 1);
        vcpu_resume_all();
        if (n % 100 == 0) {
            uint32_t from = counter(0);

            for (unsigned ms = 0; ms < 5000 && counter(0) == from; ms++) {
                usleep(1000);
            }
            moved += counter(0) != from;
        }
    }
    tap_eq(still, 2000, "2000 pauses: nobody runs then");
    tap_eq(moved, 20, "and goes on afterwards");
    for (unsigned n = 0; n < 500; n++) {
        vcpu_run_on_wait(bench.cpu[n % cpus], nothing, &work);
    }
    tap_eq(work, 500, "500 pieces of work on a spinning vCPU's thread");
    bench_close();
}

/* A device whose answers count up, so that a lost or repeated one is seen by the guest. */
static int count_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    *value = ++*(uint8_t *)opaque;
    return 0;
}

static void check_whole_state(void)
{
    static const uint8_t code[] = {
        0xba, 0x00, 0x02, 0x30, 0xdb, /* mov dx, 0x200; xor bl, bl */
        0xec, 0xfe, 0xc3,             /* in al, dx; inc bl */
        0x38, 0xd8, 0x74, 0xf9,       /* cmp al, bl; je back */
        0xe6, 0xf4, 0xf4,             /* out 0xf4, al; hlt */
    };
    static const struct mem_ops ops = {.read = count_read};
    const struct cpu_service_ops *service = accel_system_kvm.service;
    struct mem_region region = {0};
    unsigned failed = 0;
    uint8_t count = 0;

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    mem_region_init_mmio(&region, "count", 1, &ops, &count, &bench_owner);
    mem_region_add(&bench.io_root, 0x200, &region, 0);
    bench_code(0, code, sizeof(code));
    bench_start();
    for (unsigned n = 0; n < 500; n++) {
        usleep(n % 7 * 30);
        vcpu_pause_all(NULL, NULL);
        failed += service->registers_fetch(bench.cpu[0]) != 0;
        failed += service->registers_changed(bench.cpu[0]) != 0;
        vcpu_resume_all();
    }
    tap_ok(!failed, "registers are fetched and given back between accesses to a port");
    tap_ok(!bench.done[0].times && BENCH_COUNT(0, port) > 500,
           "and no access is lost or made twice");
    tap_ok(BENCH_COUNT(0, stored) > 100, "registers were given back");
    vcpu_pause_all(NULL, NULL);
    mem_region_remove(&region);
    bench_close();
}

/* ---- events ---- */

static void restart(unsigned n, uint16_t pc)
{
    vcpu_pause_all(NULL, NULL);
    bench_reset(n, pc);
    vcpu_resume_all();
}

static void check_halt(void)
{
    static const uint8_t code[] = {0xf4, 0xb0, 0x07, 0xe6, 0xf4, 0xf4}; /* hlt; out 0xf4, 7; hlt */

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    bench_start();
    usleep(50000);
    tap_ok(!bench.done[0].times && BENCH_EXITS(0, HLT) == 1,
           "a vCPU halts, and waits outside of the kernel");
    bench_nmi(0);
    tap_ok(bench_wait(&bench.ended) && bench.done[0].al == 7, "an interrupt lets it go on");
    bench_close();
}

static void check_shutdown(void)
{
    static const uint8_t code[] = {
        0x0f, 0x01, 0x1e, 0x00, 0x20,                   /* lidt [0x2000], of nothing */
        0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, /* to protected mode */
        0x0f, 0x0b,                                     /* ud2 */
    };
    static const uint8_t after[] = {0xb0, 0x09, 0xe6, 0xf4, 0xf4};

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    bench_code(0, code, sizeof(code));
    memcpy(bench.ram->host + 0x1800, after, sizeof(after));
    bench_start();
    tap_ok(bench_wait(&bench.happened) && bench.event == ACCEL_EVENT_RESET,
           "a triple fault asks for a reset");
    usleep(20000);
    vcpu_wake(bench.cpu[0]);
    usleep(20000);
    tap_eq(BENCH_EXITS(0, SHUTDOWN), 1, "until then the vCPU stands");
    restart(0, 0x1800);
    tap_ok(bench_wait(&bench.ended) && bench.done[0].al == 9, "after a reset it runs");
    bench_close();
}

/* What goes to stderr meanwhile. */
static void caught(void (*fn)(void), char *text, size_t size)
{
    char path[] = "/tmp/kvm-run-XXXXXX";
    int file = mkstemp(path), old = dup(2);
    ssize_t length;

    dup2(file, 2);
    fn();
    dup2(old, 2);
    length = pread(file, text, size - 1, 0);
    text[length > 0 ? length : 0] = 0;
    close(old);
    close(file);
    unlink(path);
}

static void run_to_event(void)
{
    bench_start();
    tap_ok(bench_wait(&bench.happened) && bench.event == ACCEL_EVENT_INTERNAL_ERROR,
           "an instruction that cannot be is told");
    vcpu_pause_all(NULL, NULL);
}

static void check_internal_error(void)
{
    static const uint8_t code[] = {0xea, 0x00, 0x00, 0x00, 0xd0}; /* jmp 0xd000:0 */
    static const uint8_t after[] = {0xb0, 0x0b, 0xe6, 0xf4, 0xf4};
    struct mem_region region = {0};
    char text[4096];

    if (!bench_open("kernel-irqchip=off", 1)) {
        return;
    }
    mem_region_init_mmio(&region, "note", 0x1000, &note_ops, NULL, &bench_owner);
    mem_region_add(&bench.root, 0xd0000, &region, 1);
    bench_code(0, code, sizeof(code));
    memcpy(bench.ram->host + 0x1800, after, sizeof(after));
    caught(run_to_event, text, sizeof(text));
    tap_ok(strstr(text, "vCPU 0 cannot go on: KVM_EXIT_INTERNAL_ERROR 1, emulation failure: ") &&
               strstr(text, "try "),
           "with what happened and what to try");
    tap_eq(bench_pc(0), 0xd0000, "its registers are there");
    mem_region_remove(&region);
    restart(0, 0x1800);
    tap_ok(bench_wait(&bench.ended) && bench.done[0].al == 0x0b, "after a reset it runs");
    bench_close();
}

int main(void)
{
    alarm(240); /* a kick that is lost */
    check_ports();
    check_memory();
    check_pauses(1);
    check_pauses(3);
    check_whole_state();
    check_halt();
    check_shutdown();
    check_internal_error();
    return tap_done();
}
