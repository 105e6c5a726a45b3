/*
 * The devices of x86 boards against QEMU's: random accesses, the same to both, of which every
 * result is compared. QEMU's machine stands still (-S), so its clocks do; what it leaves out or has
 * in another way than the data sheets is left out here too, and said where.
 */
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/rtc/mc146818.h"
#include "hw/timer/i8254.h"

#include "tests/unit/hw-bench.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define QEMU "qemu-system-x86_64"

#define MACHINE "microvm,pic=on,pit=on,rtc=on,ioapic2=off"

static FILE *to_qemu, *from_qemu;
static pid_t qemu;
static unsigned pic_device[2]; /* where QEMU has master and slave in its tree */
static uint32_t seed;
static unsigned differences;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(seed ^ seed >> 15) * n >> 32);
}

/* ---- QEMU ---- */

/* The numbers of the two 8259s among the machine's devices; the master comes first. */
static bool find_pics(void)
{
    FILE *tree = popen("printf 'info qom-tree\\nquit\\n' | " QEMU " -M " MACHINE
                       " -accel tcg -S -nodefaults -display none -monitor stdio 2>/dev/null",
                       "r");
    char line[512];
    unsigned found = 0, n;

    while (tree && fgets(line, sizeof(line), tree)) {
        const char *at = strstr(line, "/device[");

        if (at && strstr(line, "(isa-i8259)") && sscanf(at, "/device[%u]", &n) == 1 && found < 2) {
            pic_device[found++] = n;
        }
    }
    if (tree) {
        pclose(tree);
    }
    if (found == 2 && pic_device[0] > pic_device[1]) {
        n = pic_device[0];
        pic_device[0] = pic_device[1];
        pic_device[1] = n;
    }
    return found == 2;
}

static bool start_qemu(void)
{
    static const char *const argv[] = {QEMU,
                                       "-M",
                                       MACHINE,
                                       "-accel",
                                       "tcg",
                                       "-S",
                                       "-display",
                                       "none",
                                       "-nodefaults",
                                       "-rtc",
                                       "base=2020-02-28T23:59:30,clock=vm",
                                       "-qtest",
                                       "stdio",
                                       "-qtest-log",
                                       "/dev/null",
                                       NULL};
    int there[2], back[2];

    if (pipe(there) || pipe(back)) {
        return false;
    }
    qemu = fork();
    if (qemu == 0) {
        dup2(there[0], 0);
        dup2(back[1], 1);
        close(there[1]);
        close(back[0]);
        execvp(QEMU, (char *const *)argv);
        _exit(127);
    }
    close(there[0]);
    close(back[1]);
    to_qemu = fdopen(there[1], "w");
    from_qemu = fdopen(back[0], "r");
    return qemu > 0 && to_qemu && from_qemu;
}

static void end_qemu(void)
{
    fclose(to_qemu);
    kill(qemu, SIGTERM);
    waitpid(qemu, NULL, 0);
    fclose(from_qemu);
}

/* The number in QEMU's answer to a command; a test that gets none cannot go on. */
static uint64_t answer(void)
{
    char line[256];
    unsigned long long value = 0;

    fflush(to_qemu);
    if (!fgets(line, sizeof(line), from_qemu) || strncmp(line, "OK", 2) != 0) {
        tap_ok(false, "QEMU answers");
        exit(1);
    }
    sscanf(line + 2, "%llx", &value);
    return value;
}

/* ---- both ---- */

static void write_port(unsigned port, uint8_t value)
{
    bench_write(port, 1, value);
    fprintf(to_qemu, "outb 0x%x 0x%x\n", port, value);
    answer();
}

static void compare(const char *what, uint64_t ours, uint64_t theirs, uint64_t mask)
{
    if ((ours ^ theirs) & mask && differences++ < 10) {
        tap_note("%s: %#llx, QEMU has %#llx", what, (unsigned long long)ours,
                 (unsigned long long)theirs);
    }
}

/* Reads from both, and compares some bits. */
static void check_port(const char *what, unsigned port, uint8_t mask)
{
    uint64_t ours = bench_read(port, 1);

    fprintf(to_qemu, "inb 0x%x\n", port);
    compare(what, ours, answer(), mask);
}

/* ---- the 8259s ---- */

static void set_pic_line(struct i8259 *pic, bool levels[16], unsigned n, bool level)
{
    if (n != 2 && levels[n] != level) {
        levels[n] = level;
        pic->in[n].handler(pic->in[n].opaque, n, level);
        fprintf(to_qemu, "set_irq_in /machine/unattached/device[%u] unnamed-gpio-in %u %u\n",
                pic_device[n / 8], n % 8, level);
        answer();
    }
}

/* ICWs. Automatic EOI of the slave loses interrupts in QEMU; its special fully nested mode lets
 * lower priorities in. What is level-triggered is chosen while all lines are low. */
static void initialize_pics(struct i8259 *pic, bool levels[16])
{
    for (unsigned n = 0; n < 16; n++) {
        set_pic_line(pic, levels, n, false);
    }
    for (unsigned chip = 0; chip < 2; chip++) {
        unsigned port = chip ? I8259_SLAVE_PORT : I8259_MASTER_PORT;
        bool icw4 = random_below(4);

        write_port(port, icw4 ? 0x11 : 0x10);
        write_port(port + 1, (uint8_t)random_below(256));
        write_port(port + 1, chip ? 2 : 4);
        if (icw4) {
            write_port(port + 1, chip || random_below(3) ? 0x01 : 0x03);
        }
    }
    write_port(I8259_ELCR_PORT, (uint8_t)random_below(256));
    write_port(I8259_ELCR_PORT + 1, (uint8_t)random_below(256));
    check_port("ELCR", I8259_ELCR_PORT, 0xff);
    check_port("ELCR of the slave", I8259_ELCR_PORT + 1, 0xff);
}

struct pic_mode {
    bool special;
    uint8_t mask;
};

/*
 * One command. A non-specific EOI spares masked inputs in special mask mode, which QEMU does not
 * know: one of the two is asked for. Nor does it look for requests when that mode changes, but when
 * the mask is written.
 */
static void command_pic(unsigned port, struct pic_mode *mode)
{
    unsigned what = random_below(10);

    if (what < 3) {
        mode->mask = (uint8_t)(random_below(256) & random_below(256));
        write_port(port + 1, mode->mask);
    } else if (what < 7) {
        unsigned command = random_below(8);

        if (mode->special && (command == 1 || command == 5)) {
            command |= 2;
        }
        write_port(port, (uint8_t)(command << 5 | random_below(8)));
    } else {
        uint8_t ocw3 = (uint8_t)(0x08 | (random_below(256) & 0x67));

        mode->special = ocw3 & 0x40 ? ocw3 & 0x20 : mode->special;
        write_port(port, ocw3);
        write_port(port + 1, mode->mask);
    }
}

static void check_pics(void)
{
    struct i8259 *pic = bench_create(&i8259_type, "");
    bool levels[16] = {false};

    bench_realize(pic);
    bench_put(I8259_MASTER_PORT, &pic->master_io);
    bench_put(I8259_SLAVE_PORT, &pic->slave_io);
    bench_put(I8259_ELCR_PORT, &pic->elcr_io);
    differences = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct pic_mode modes[2] = {{false, 0}, {false, 0}};

        initialize_pics(pic, levels);
        for (unsigned i = 0; i < 150; i++) {
            unsigned chip = random_below(2), n = random_below(16);
            unsigned port = chip ? I8259_SLAVE_PORT : I8259_MASTER_PORT;

            if (i % 3 == 0) {
                set_pic_line(pic, levels, n, !levels[n]);
            } else if (i % 3 == 1) {
                command_pic(port, &modes[chip]);
            }
            check_port("a port of the 8259s", port + random_below(2), 0xff);
        }
    }
    tap_eq(differences, 0, "8259As");
    mem_region_remove(&pic->master_io);
    mem_region_remove(&pic->slave_io);
    mem_region_remove(&pic->elcr_io);
    hw_device_destroy(&pic->device);
}

/* ---- the 8254 ---- */

enum { STATUS = 0x3f }; /* QEMU has no null count, and the output of modes 2, 4 and 5 inverted */

/* What is latched of a counter: bytes of the count, and the status. */
struct latched {
    unsigned access, bytes;
    bool status;
};

static void read_latched(unsigned n, struct latched *l)
{
    if (l->status) {
        check_port("status of a counter", I8254_PORT + n, STATUS);
        l->status = false;
    }
    for (; l->bytes; l->bytes--) {
        check_port("latched count", I8254_PORT + n, 0xff);
    }
}

/* QEMU keeps latches when a counter gets a new mode, counts in binary only, and by two from odd
 * numbers; in modes 1 and 5 its counters load without a trigger. */
static void program_counter(unsigned n, struct latched *l)
{
    static const uint8_t modes[] = {0, 2, 3, 4, 6, 7};

    read_latched(n, l);
    l->access = 1 + random_below(3);
    write_port(I8254_PORT + 3, (uint8_t)(n << 6 | l->access << 4 | modes[random_below(6)] << 1));
    if (l->access & 1) {
        write_port(I8254_PORT + n, (uint8_t)(random_below(256) & 0xfe));
    }
    if (l->access & 2) {
        write_port(I8254_PORT + n, (uint8_t)(random_below(256) & 0xfe));
    }
}

static unsigned bytes_of(const struct latched *l)
{
    return l->access == 3 ? 2 : 1;
}

static void check_pit(void)
{
    struct i8254 *pit = bench_create(&i8254_type, "");
    struct latched latched[3] = {0};

    pit->clock = &bench_clock;
    bench_realize(pit);
    bench_put(I8254_PORT, &pit->io);
    differences = 0;
    for (unsigned n = 0; n < 3; n++) {
        program_counter(n, &latched[n]);
    }
    for (unsigned i = 0; i < 8000; i++) {
        unsigned n = random_below(3), what = random_below(10);
        struct latched *l = &latched[n];

        if (what < 3) {
            program_counter(n, l);
        } else if (what < 5) {
            write_port(I8254_PORT + 3, (uint8_t)(n << 6 | random_below(16)));
            l->bytes = l->bytes ? l->bytes : bytes_of(l);
        } else if (what < 7) {
            unsigned command = 0xc0 | random_below(64);

            write_port(I8254_PORT + 3, (uint8_t)command);
            for (unsigned k = 0; k < 3; k++) {
                bool meant = command >> (k + 1) & 1;

                latched[k].status |= meant && !(command & 0x10);
                if (meant && !(command & 0x20) && !latched[k].bytes) {
                    latched[k].bytes = bytes_of(&latched[k]);
                }
            }
        } else if (l->status || l->bytes) {
            l->bytes -= !l->status;
            check_port("latched", I8254_PORT + n, l->status ? STATUS : 0xff);
            l->status = false;
        } else {
            check_port("count", I8254_PORT + n, 0xff);
        }
    }
    tap_eq(differences, 0, "8254");
    mem_region_remove(&pit->io);
    hw_device_destroy(&pit->device);
}

/* ---- the clock ---- */

static void write_rtc(unsigned n, uint8_t value)
{
    write_port(MC146818_PORT, (uint8_t)n);
    write_port(MC146818_PORT + 1, value);
}

static uint8_t to_mode(uint8_t mode, unsigned value)
{
    return (uint8_t)(mode & 4 ? value : value / 10 << 4 | value % 10);
}

/* A date, in the form of register B; before 1970 QEMU rounds fractions of seconds up. */
static void write_date(uint8_t mode)
{
    unsigned hour = random_below(24);
    uint8_t hours = to_mode(mode, hour);

    if (!(mode & 2)) {
        hours = to_mode(mode, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? 0x80 : 0);
    }
    write_rtc(0, to_mode(mode, random_below(60)));
    write_rtc(2, to_mode(mode, random_below(60)));
    write_rtc(4, hours);
    write_rtc(7, to_mode(mode, 1 + random_below(28)));
    write_rtc(8, to_mode(mode, 1 + random_below(12)));
    write_rtc(9, to_mode(mode, random_below(100)));
    write_rtc(MC146818_CENTURY, to_mode(mode, 20 + random_below(2)));
}

/* The day of the week follows from the date in QEMU, and is a counter of its own here. */
static void check_rtc(void)
{
    struct mc146818 *rtc = bench_create(&mc146818_type, "");
    char what[64];

    rtc->clock = &bench_clock;
    rtc->base_offset = INT64_C(1582934370) * 1000000000;
    bench_realize(rtc);
    bench_put(MC146818_PORT, &rtc->io);
    differences = 0;
    for (unsigned n = 1; n < 0x34; n++) {
        if (n == 1 || n == 3 || n == 5 || (n > 0x0d && n != MC146818_CENTURY)) {
            write_rtc(n, (uint8_t)random_below(256)); /* QEMU's machine has filled the memory */
        }
    }
    for (unsigned round = 0; round < 300; round++) {
        uint8_t mode = (uint8_t)(random_below(4) << 1);

        switch (random_below(4)) {
        case 0:
            write_rtc(0x0b, mode);
            break;
        case 1:
            write_rtc(0x0b, 0x80 | mode);
            write_date(mode);
            write_rtc(0x0b, mode | (uint8_t)(random_below(8) << 4));
            break;
        case 2:
            write_rtc(0x0a, 0x76);
            write_rtc(0x0b, mode);
            write_date(mode);
            write_rtc(0x0a, 0x26);
            break;
        default:
            write_rtc(0x0e + random_below(0x23), (uint8_t)random_below(256));
            write_rtc(1 + 2 * random_below(3), (uint8_t)random_below(256));
        }
        for (unsigned n = 0; n < 0x34; n++) {
            write_port(MC146818_PORT, (uint8_t)n);
            if (n != 6) {
                snprintf(what, sizeof(what), "byte %#x of the clock", n);
                check_port(what, MC146818_PORT + 1, 0xff);
            }
        }
    }
    tap_eq(differences, 0, "MC146818");
    mem_region_remove(&rtc->io);
    hw_device_destroy(&rtc->device);
}

/* ---- the I/O APIC ---- */

static void write_word(uint64_t at, uint32_t value)
{
    bench_write(at, 4, value);
    fprintf(to_qemu, "writel 0x%llx 0x%x\n", (unsigned long long)at, value);
    answer();
}

static void check_word(const char *what, uint64_t at, uint32_t mask)
{
    uint64_t ours = bench_read(at, 4);

    fprintf(to_qemu, "readl 0x%llx\n", (unsigned long long)at);
    compare(what, ours, answer(), mask);
}

static void set_pin(struct ioapic *ioapic, uint32_t *levels, unsigned pin, bool level)
{
    *levels = level ? *levels | 1u << pin : *levels & ~(1u << pin);
    ioapic->in[pin].handler(ioapic->in[pin].opaque, pin, level);
    fprintf(to_qemu, "set_irq_in /machine/ioapic unnamed-gpio-in %u %u\n", pin, level);
    answer();
}

/*
 * Pins from 1 on, since QEMU has line 0 at pin 2 and this test has not. Trigger modes change while
 * the line is low: QEMU sends an edge otherwise. Levels have the two delivery modes that know them.
 */
static void check_ioapic(void)
{
    struct ioapic *ioapic = bench_create(&ioapic_type, "");
    uint32_t levels = 0;

    bench_realize(ioapic);
    bench_put(IOAPIC_BASE, &ioapic->mmio);
    differences = 0;
    for (unsigned i = 0; i < 8000; i++) {
        unsigned pin = 3 + random_below(IOAPIC_PINS - 3), what = random_below(10);

        if (what < 3) {
            set_pin(ioapic, &levels, pin, !(levels >> pin & 1));
        } else if (what < 5) {
            if (levels >> pin & 1) {
                set_pin(ioapic, &levels, pin, false);
            }
            write_word(IOAPIC_BASE, 0x10 + 2 * pin);
            write_word(IOAPIC_BASE + 0x10, random_below(UINT32_MAX) & 0x1b9ff);
        } else if (what < 6) {
            write_word(IOAPIC_BASE, 0x11 + 2 * pin);
            write_word(IOAPIC_BASE + 0x10, random_below(256) << 24);
        } else if (what < 8) {
            write_word(IOAPIC_BASE + 0x40, 0);
            bench_write(IOAPIC_BASE, 4, 0x10 + 2 * pin);
            write_word(IOAPIC_BASE + 0x40, bench_read(IOAPIC_BASE + 0x10, 4) & 0xff);
        } else if (what < 9) {
            write_word(IOAPIC_BASE, random_below(3));
            write_word(IOAPIC_BASE + 0x10, random_below(16) << 24);
        }
        write_word(IOAPIC_BASE, 0x10 + 2 * pin + random_below(2));
        check_word("an entry", IOAPIC_BASE + 0x10,
                   bench_read(IOAPIC_BASE, 4) & 1 ? 0xff000000 : 0x1efff);
        write_word(IOAPIC_BASE, random_below(3));
        check_word("id and version", IOAPIC_BASE + 0x10, UINT32_MAX);
    }
    tap_eq(differences, 0, "I/O APIC");
    mem_region_remove(&ioapic->mmio);
    hw_device_destroy(&ioapic->device);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    if (system(QEMU " --version >/dev/null 2>&1") != 0) {
        tap_skip("devices of x86 boards as QEMU has them", QEMU " is not installed");
        return tap_done();
    }
    bench_init();
    hw_lock_acquire();
    seed = 1;
    if (!find_pics() || !start_qemu()) {
        tap_ok(false, "start " QEMU);
        return tap_done();
    }
    check_pics();
    check_pit();
    check_rtc();
    check_ioapic();
    end_qemu();
    hw_lock_release();
    return tap_done();
}
