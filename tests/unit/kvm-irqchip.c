/* The kernel's interrupt controllers: lines, messages, routes, descriptors, the timer. */
#include "tests/unit/kvm-bench.h"

#include <errno.h>
#include <sys/eventfd.h>

/*
 * The guest: real mode with a handler for each vector from 0x20 on, which counts and ends the
 * interrupt, at the local APIC (ds reaches it) and at the 8259s.
 */
enum { COUNTS = 0x5000, HANDLERS = 0x8000, HANDLER_SIZE = 32 };

static void put(uint32_t at, const void *bytes, unsigned size)
{
    memcpy(bench.ram->host + at, bytes, size);
}

static void put_handlers(void)
{
    for (uint32_t vector = 0x20; vector < 0x100; vector++) {
        uint32_t at = HANDLERS + vector * HANDLER_SIZE, counter = COUNTS + vector * 4;
        uint8_t code[] = {
            0x66, 0xff, 0x06, 0,    0,                                  /* inc dword [counter] */
            0x67, 0x66, 0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0, 0, 0, 0, /* mov dword [EOI], 0 */
            0x50, 0xb0, 0x20, 0xe6, 0x20, 0xe6, 0xa0, 0x58, /* out 0x20, 0x20; out 0xa0, 0x20 */
            0xcf,                                           /* iret */
        };

        memcpy(code + 3, &counter, 2);
        put(at, code, sizeof(code));
        put(vector * 4, &at, 4);
    }
}

static bool open_guest(const char *options)
{
    static const uint8_t code[] = {
        0x67, 0x66, 0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0, 0, /* SVR = 0x1ff: APIC on */
        0x67, 0x66, 0xc7, 0x05, 0x50, 0x03, 0xe0, 0xfe, 0x00, 0x07, 0, 0, /* LINT0: the 8259s' */
        0xb0, 0x11, 0xe6, 0x20, 0xb0, 0x20, 0xe6, 0x21, /* 8259s: vectors 0x20 to 0x2f, */
        0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x01, 0xe6, 0x21, /* all but the timer unmasked */
        0xb0, 0x11, 0xe6, 0xa0, 0xb0, 0x28, 0xe6, 0xa1, /* */
        0xb0, 0x02, 0xe6, 0xa1, 0xb0, 0x01, 0xe6, 0xa1, /* */
        0xb0, 0x01, 0xe6, 0x21, 0xb0, 0x00, 0xe6, 0xa1, /* */
        0xfb, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd,             /* sti; out 0xf4, al; wait: hlt; jmp wait */
    };

    if (!bench_open(options, 1)) {
        return false;
    }
    put(BENCH_CODE, code, sizeof(code));
    put_handlers();
    bench_reset_unreal(0, BENCH_CODE);
    return true;
}

static struct cpu_irqchip *chip(void)
{
    return accel_system_kvm.irqchip();
}

static unsigned count(unsigned vector)
{
    return *(volatile uint32_t *)(bench.ram->host + COUNTS + vector * 4);
}

/* Waits until there were so many, and sees whether there are more. */
static bool counts(unsigned vector, unsigned want)
{
    for (unsigned ms = 0; ms < 5000 && count(vector) < want; ms++) {
        usleep(1000);
    }
    usleep(2000);
    return count(vector) == want;
}

static struct cpu_msi message(uint32_t vector)
{
    return (struct cpu_msi){.address = 0xfee00000, .data = vector};
}

static struct cpu_irq_route route_to(uint32_t vector)
{
    return (struct cpu_irq_route){.kind = CPU_IRQ_ROUTE_MSI, .msi = message(vector)};
}

/* ---- lines ---- */

static void pulse(unsigned gsi)
{
    chip()->ops->set_line(chip(), gsi, true);
    chip()->ops->set_line(chip(), gsi, false);
}

/* Routes a pin of the I/O APIC, by the registers that the guest has: of the kernel. */
static void set_redirection(unsigned pin, uint32_t low)
{
    struct kvm_ioapic_state state;

    chip()->ops->save(chip(), CPU_IRQCHIP_IOAPIC, &state, sizeof(state));
    state.redirtbl[pin].bits = low;
    chip()->ops->load(chip(), CPU_IRQCHIP_IOAPIC, &state, sizeof(state));
}

static void check_lines(void)
{
    tap_eq(chip()->ops->gsi_count(chip()), 24, "24 pins");
    pulse(5);
    tap_ok(counts(0x25, 1), "a line of the first 8259");
    pulse(12);
    tap_ok(counts(0x2c, 1), "and of the second");
    set_redirection(20, 0x54);
    pulse(20);
    tap_ok(counts(0x54, 1), "a line of the I/O APIC alone");
    set_redirection(5, 0x55);
    pulse(5);
    tap_ok(counts(0x55, 1) && counts(0x25, 2), "one that both have");
    set_redirection(5, 0x10000);
    set_redirection(21, 0x8056); /* level */
    chip()->ops->set_line(chip(), 21, true);
    for (unsigned ms = 0; ms < 5000 && count(0x56) < 3; ms++) {
        usleep(1000);
    }
    chip()->ops->set_line(chip(), 21, false);
    tap_ok(count(0x56) >= 3, "a level interrupts again until it falls");
    set_redirection(2, 0x57);
    pulse(0);
    tap_ok(counts(0x57, 1), "interrupt 0 is on pin 2 of the I/O APIC");
}

/* ---- messages and routes ---- */

static void check_messages(void)
{
    struct cpu_msi msi = message(0x40);

    tap_ok(!chip()->ops->send_msi(chip(), &msi) && counts(0x40, 1), "a message");
    msi.address = 0xfee0f000; /* to APIC 15 */
    tap_ok(chip()->ops->send_msi(chip(), &msi) <= 0 && counts(0x40, 1), "one to nobody");
}

static void signal_fd(int fd)
{
    uint64_t one = 1;

    if (write(fd, &one, sizeof(one)) != sizeof(one)) {
        tap_ok(false, "write to an event descriptor");
    }
}

static void check_routes(void)
{
    const struct cpu_irqchip_ops *ops = chip()->ops;
    struct cpu_irq_route route = route_to(0x41);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint32_t gsi = 0, again = 0, many = 0, last;

    tap_ok(!ops->route_add(chip(), &route, &gsi) && gsi >= 24, "a number behind the pins");
    tap_ok(!ops->route_commit(chip()) && !ops->eventfd_attach(chip(), gsi, fd, -1),
           "a descriptor that raises it");
    signal_fd(fd);
    tap_ok(counts(0x41, 1), "and does");
    route = route_to(0x42);
    tap_eq(ops->route_change(chip(), gsi, &route), 0, "its route changes");
    signal_fd(fd);
    tap_ok(counts(0x41, 2), "not before the commit");
    ops->route_commit(chip());
    signal_fd(fd);
    tap_ok(counts(0x42, 1) && count(0x41) == 2, "but then");
    tap_eq(ops->eventfd_detach(chip(), gsi, fd), 0, "the descriptor is taken away");
    signal_fd(fd);
    tap_ok(counts(0x42, 1), "and raises nothing");
    ops->route_remove(chip(), gsi);
    tap_eq(ops->route_change(chip(), gsi, &route), (uint64_t)-ENOENT, "a number given back");
    tap_ok(!ops->route_add(chip(), &route, &again) && again == gsi, "is given out again");
    while (ops->route_add(chip(), &route, &last) == 0) {
        many++;
    }
    tap_ok(many > 100 && ops->route_add(chip(), &route, &last) == -ENOSPC &&
               !ops->route_commit(chip()),
           "until there are no more");
    for (uint32_t n = gsi; n <= gsi + many; n++) {
        ops->route_remove(chip(), n);
    }
    tap_eq(ops->route_commit(chip()), 0, "all are given back");
    pulse(5);
    tap_ok(counts(0x25, 3), "the pins' routes are as before");
    close(fd);
}

static void check_resample(void)
{
    const struct cpu_irqchip_ops *ops = chip()->ops;
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t ends = 0;

    set_redirection(22, 0x8058); /* level */
    if (ops->eventfd_attach(chip(), 22, fd, done)) {
        tap_ok(false, "a descriptor for a level");
        return;
    }
    signal_fd(fd);
    tap_ok(counts(0x58, 1), "a level raised by a descriptor falls with the end of the interrupt");
    tap_ok(read(done, &ends, sizeof(ends)) == sizeof(ends) && ends == 1, "which is told");
    signal_fd(fd);
    tap_ok(counts(0x58, 2), "and again");
    ops->eventfd_detach(chip(), 22, fd);
    close(fd);
    close(done);
}

/* ---- the rest ---- */

static void check_state(void)
{
    const struct cpu_irqchip_ops *ops = chip()->ops;
    struct kvm_pic_state pic;
    struct kvm_ioapic_state ioapic;
    struct kvm_pit_state2 timer;

    tap_ok(!ops->save(chip(), CPU_IRQCHIP_PIC_MASTER, &pic, sizeof(pic)) && pic.irq_base == 0x20 &&
               pic.imr == 1,
           "state of an 8259");
    pic.imr = 0x21;
    tap_ok(!ops->load(chip(), CPU_IRQCHIP_PIC_MASTER, &pic, sizeof(pic)), "is loaded");
    pulse(5);
    tap_ok(counts(0x25, 3), "and masks an interrupt");
    pic.imr = 1;
    ops->load(chip(), CPU_IRQCHIP_PIC_MASTER, &pic, sizeof(pic));
    tap_ok(!ops->save(chip(), CPU_IRQCHIP_PIC_SLAVE, &pic, sizeof(pic)) && pic.irq_base == 0x28,
           "of the second");
    tap_ok(!ops->save(chip(), CPU_IRQCHIP_IOAPIC, &ioapic, sizeof(ioapic)) &&
               ioapic.redirtbl[20].fields.vector == 0x54,
           "of the I/O APIC");
    tap_ok(!ops->save(chip(), CPU_IRQCHIP_TIMER, &timer, sizeof(timer)) &&
               !ops->load(chip(), CPU_IRQCHIP_TIMER, &timer, sizeof(timer)),
           "of the timer");
    tap_ok(ops->save(chip(), CPU_IRQCHIP_IOAPIC, &ioapic, 1) == -EINVAL &&
               ops->load(chip(), CPU_IRQCHIP_TIMER, &timer, 1) == -EINVAL &&
               ops->save(chip(), 17, &ioapic, sizeof(ioapic)) == -EINVAL,
           "but not of another size, nor of what there is not");
}

static void check_full(void)
{
    if (!open_guest("kernel-irqchip=on")) {
        return;
    }
    tap_ok(!chip()->ops->split && !chip()->ops->add_timer(chip()), "a timer is added");
    if (bench_run(1)) {
        check_lines();
        check_messages();
        check_routes();
        check_resample();
        check_state();
    }
    bench_close();
}

static _Atomic unsigned ended[256];

static void count_eoi(void *opaque, uint8_t vector)
{
    ended[vector]++;
}

static void check_split(void)
{
    const struct cpu_irqchip_ops *ops;
    struct cpu_irq_route route = route_to(0xc050); /* level, asserted */
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct cpu_msi msi = message(0xc050);
    uint32_t gsi;

    if (!open_guest("kernel-irqchip=split")) {
        return;
    }
    ops = chip()->ops;
    ops->set_eoi(chip(), count_eoi, NULL);
    tap_ok(ops->split && ops->set_line(chip(), 5, true) == -ENOTSUP &&
               ops->add_timer(chip()) == -ENOTSUP &&
               ops->eventfd_attach(chip(), 5, fd, fd) == -ENOTSUP,
           "split: neither lines nor timer nor levels by descriptors");
    if (bench_run(1)) {
        tap_ok(!ops->route_change(chip(), 5, &route) && !ops->route_commit(chip()),
               "a pin of the machine's I/O APIC has a message");
        tap_ok(!ops->send_msi(chip(), &msi) && counts(0x50, 1), "which is sent");
        for (unsigned ms = 0; ms < 1000 && !ended[0x50]; ms++) {
            usleep(1000);
        }
        tap_eq(ended[0x50], 1, "its end is told");
        msi = message(0x51);
        tap_ok(!ops->send_msi(chip(), &msi) && counts(0x51, 1) && !ended[0x51],
               "not that of an edge");
        route = route_to(0x52);
        tap_ok(!ops->route_add(chip(), &route, &gsi) && gsi >= 24 && !ops->route_commit(chip()) &&
                   !ops->eventfd_attach(chip(), gsi, fd, -1),
               "a descriptor with a message");
        signal_fd(fd);
        tap_ok(counts(0x52, 1), "raises it");
        ops->eventfd_detach(chip(), gsi, fd);
    }
    close(fd);
    bench_close();
}

int main(void)
{
    alarm(240);
    check_full();
    check_split();
    if (bench_open("kernel-irqchip=off", 1)) {
        tap_ok(!chip(), "off: there is none");
        bench_close();
    }
    return tap_done();
}
