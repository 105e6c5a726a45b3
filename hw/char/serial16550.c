/*
 * 16550A (National Semiconductor PC16550D data sheet; section numbers are its).
 *
 * Receiver and transmitter are a FIFO each, which holds one byte when FIFO mode is off; LSR and IIR
 * are not stored but follow from the FIFOs. A byte leaves the transmit FIFO at once if the host
 * takes it: no time is spent on bits. When the host is slow, bytes stay in the FIFO and THRE stays
 * low until the chardev says that it takes more, so a driver that honours THRE loses nothing and no
 * vCPU ever waits. In the other direction the chardev keeps what the FIFO has no room for.
 *
 * The character time-out (section 8.4.1) is the one thing that depends on the baud rate.
 */
#include "hw/char/serial16550.h"
#include "io/chardev/chardev.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    IER_RECEIVED = 0x01,
    IER_EMPTY = 0x02,
    IER_LINE = 0x04,
    IER_MODEM = 0x08,

    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_EMPTY = 0x02,
    IIR_RECEIVED = 0x04,
    IIR_LINE = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFO = 0xc0,

    FCR_ENABLE = 0x01,
    FCR_RESET_RX = 0x02,
    FCR_RESET_TX = 0x04,
    FCR_KEPT = 0xc9,

    LCR_STOP = 0x04,
    LCR_PARITY = 0x08,
    LCR_DLAB = 0x80,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_ALL = 0x1f,

    LSR_READY = 0x01,
    LSR_OVERRUN = 0x02,
    LSR_BREAK = 0x10,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERROR = 0x80,

    MSR_TRAILING_RI = 0x04,
    MSR_DELTAS = 0x0f,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,

    DIVISOR_RESET = 12, /* 9600 baud of a PC's clock */
};

static bool in_fifo_mode(const struct serial16550 *s)
{
    return s->fcr & FCR_ENABLE;
}

static unsigned fifo_room(const struct serial16550 *s, const struct serial16550_fifo *fifo)
{
    return (in_fifo_mode(s) ? SERIAL16550_FIFO : 1u) - fifo->count;
}

static void fifo_put(struct serial16550_fifo *fifo, uint8_t byte, uint8_t flags)
{
    unsigned at = (fifo->first + fifo->count++) % SERIAL16550_FIFO;

    fifo->byte[at] = byte;
    fifo->flags[at] = flags;
}

static uint8_t fifo_take(struct serial16550_fifo *fifo)
{
    uint8_t byte = fifo->byte[fifo->first];

    fifo->first = (fifo->first + 1) % SERIAL16550_FIFO;
    fifo->count--;
    return byte;
}

static unsigned trigger_level(const struct serial16550 *s)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return in_fifo_mode(s) ? levels[s->fcr >> 6] : 1;
}

/* Section 8.6.3. Errors of a received byte show when it is the next to be read. */
static uint8_t line_status(const struct serial16550 *s)
{
    uint8_t lsr = s->overrun ? LSR_OVERRUN : 0;

    if (s->rx.count) {
        lsr |= LSR_READY | s->rx.flags[s->rx.first];
    }
    for (unsigned i = 0; in_fifo_mode(s) && i < s->rx.count; i++) {
        if (s->rx.flags[(s->rx.first + i) % SERIAL16550_FIFO]) {
            lsr |= LSR_FIFO_ERROR;
        }
    }
    return s->tx.count ? lsr : lsr | LSR_THRE | LSR_TEMT;
}

/* Section 8.6.5: the source of highest priority. */
static uint8_t interrupt_source(const struct serial16550 *s)
{
    if (s->ier & IER_LINE && line_status(s) & (LSR_OVERRUN | LSR_BREAK)) {
        return IIR_LINE;
    }
    if (s->ier & IER_RECEIVED && s->rx.count >= trigger_level(s)) {
        return IIR_RECEIVED;
    }
    if (s->ier & IER_RECEIVED && s->timeout) {
        return IIR_TIMEOUT;
    }
    if (s->ier & IER_EMPTY && s->thr_interrupt) {
        return IIR_EMPTY;
    }
    if (s->ier & IER_MODEM && s->msr & MSR_DELTAS) {
        return IIR_MODEM;
    }
    return IIR_NONE;
}

static void update(struct serial16550 *s)
{
    hw_irq_set(&s->out, interrupt_source(s) != IIR_NONE);
}

/* ---- receiver -------------------------------------------------------------------------------- */

static int64_t character_time(const struct serial16550 *s)
{
    unsigned bits =
        1 + 5 + (s->lcr & 3) + (s->lcr & LCR_PARITY ? 1 : 0) + (s->lcr & LCR_STOP ? 2 : 1);

    return (int64_t)(bits * (uint64_t)(s->divisor ? s->divisor : 1) * 1000000000 / s->baudbase);
}

/* A byte has come or gone: the time-out begins anew, if there is something to be timed out. */
static void restart_timeout(struct serial16550 *s)
{
    int64_t deadline = CPU_CLOCK_NEVER;

    s->timeout = false;
    if (in_fifo_mode(s) && s->rx.count) {
        deadline = cpu_clock_now(s->clock, CPU_CLOCK_VIRTUAL) + 4 * character_time(s);
    }
    s->clock->ops->timer_arm(s->timeout_timer, deadline);
}

static void timeout_fired(void *opaque)
{
    struct serial16550 *s = opaque;

    s->timeout = in_fifo_mode(s) && s->rx.count;
    update(s);
}

/* A character arrives; one too many is lost, and in character mode it replaces the one there. */
static void arrive(struct serial16550 *s, uint8_t byte, uint8_t flags)
{
    if (!fifo_room(s, &s->rx)) {
        s->overrun = true;
        if (in_fifo_mode(s)) {
            return;
        }
        s->rx.count = 0;
    }
    fifo_put(&s->rx, byte, flags);
    restart_timeout(s);
}

static size_t can_receive(void *opaque)
{
    const struct serial16550 *s = opaque;

    return s->mcr & MCR_LOOP ? 0 : fifo_room(s, &s->rx);
}

static void receive(void *opaque, const uint8_t *bytes, size_t size)
{
    struct serial16550 *s = opaque;

    for (size_t i = 0; i < size; i++) {
        arrive(s, bytes[i], 0);
    }
    update(s);
}

static void event(void *opaque, enum chardev_event what)
{
    struct serial16550 *s = opaque;

    if (what == CHARDEV_BREAK && !(s->mcr & MCR_LOOP)) {
        arrive(s, 0, LSR_BREAK);
        update(s);
    }
}

/* Room may have come up in the receiver. */
static void accept_more(struct serial16550 *s)
{
    if (s->chr && can_receive(s)) {
        chardev_accept(s->chr);
    }
}

static uint8_t read_received(struct serial16550 *s)
{
    if (s->rx.count) {
        s->last = fifo_take(&s->rx);
        restart_timeout(s);
        update(s);
        accept_more(s);
    }
    return s->last;
}

/* ---- transmitter ----------------------------------------------------------------------------- */

/* Gives the host what it takes. */
static void transmit(struct serial16550 *s)
{
    bool had = s->tx.count;

    while (s->tx.count) {
        unsigned run = SERIAL16550_FIFO - s->tx.first;
        size_t taken;

        run = run < s->tx.count ? run : s->tx.count;
        taken = s->chr ? chardev_write(s->chr, &s->tx.byte[s->tx.first], run) : run;
        if (!taken) {
            break;
        }
        taken = taken < run ? taken : run;
        s->tx.first = (s->tx.first + (uint32_t)taken) % SERIAL16550_FIFO;
        s->tx.count -= (uint32_t)taken;
    }
    if (had && !s->tx.count) {
        s->thr_interrupt = true;
    }
}

static void writable(void *opaque)
{
    struct serial16550 *s = opaque;

    transmit(s);
    update(s);
}

static void send(struct serial16550 *s, uint8_t byte)
{
    s->thr_interrupt = false;
    if (s->mcr & MCR_LOOP) {
        arrive(s, byte, 0);
        s->thr_interrupt = true;
    } else {
        if (!fifo_room(s, &s->tx)) {
            /* The driver did not look at THRE: what it wrote last is overwritten. */
            s->tx.count--;
        }
        fifo_put(&s->tx, byte, 0);
        transmit(s);
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

/* The modem inputs: the host is always ready, or in loopback the outputs (section 8.6.6). */
static void update_modem(struct serial16550 *s)
{
    uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
    uint8_t changed;

    if (s->mcr & MCR_LOOP) {
        lines = (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                          (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
    }
    changed = (uint8_t)((s->msr ^ lines) >> 4);
    if (lines & MSR_RI) {
        changed &= (uint8_t)~MSR_TRAILING_RI;
    }
    s->msr = (uint8_t)(lines | (s->msr & MSR_DELTAS) | changed);
}

/* Section 8.6.4; changing the mode empties both FIFOs. */
static void write_fcr(struct serial16550 *s, uint8_t value)
{
    if ((s->fcr ^ value) & FCR_ENABLE) {
        value |= FCR_RESET_RX | FCR_RESET_TX;
    }
    s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    if (value & FCR_RESET_RX) {
        s->rx.count = 0;
        restart_timeout(s);
        accept_more(s);
    }
    if (value & FCR_RESET_TX && s->tx.count) {
        s->tx.count = 0;
        s->thr_interrupt = true;
    }
}

static void write_mcr(struct serial16550 *s, uint8_t value)
{
    bool was_loop = s->mcr & MCR_LOOP;

    s->mcr = value & MCR_ALL;
    update_modem(s);
    if (was_loop) {
        accept_more(s);
    }
}

/* Reads with the side effects that they have; `quiet` has none. */
static uint8_t read_register(struct serial16550 *s, unsigned reg, bool quiet)
{
    uint8_t value;

    switch (reg) {
    case 0:
        if (s->lcr & LCR_DLAB) {
            return (uint8_t)s->divisor;
        }
        return quiet ? s->rx.count ? s->rx.byte[s->rx.first] : s->last : read_received(s);
    case 1:
        return s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier;
    case 2:
        value = interrupt_source(s);
        if (value == IIR_EMPTY && !quiet) {
            s->thr_interrupt = false;
        }
        return in_fifo_mode(s) ? value | IIR_FIFO : value;
    case 3:
        return s->lcr;
    case 4:
        return s->mcr;
    case 5:
        value = line_status(s);
        if (!quiet) {
            s->overrun = false;
            if (s->rx.count) {
                s->rx.flags[s->rx.first] = 0;
            }
        }
        return value;
    case 6:
        value = s->msr;
        if (!quiet) {
            s->msr &= (uint8_t)~MSR_DELTAS;
        }
        return value;
    default:
        return s->scr;
    }
}

static int serial_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct serial16550 *s = opaque;

    *value = read_register(s, (offset >> s->regshift) & 7, attrs.debug);
    update(s);
    return 0;
}

static int serial_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct serial16550 *s = opaque;
    uint8_t byte = (uint8_t)value;

    switch ((offset >> s->regshift) & 7) {
    case 0:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (uint16_t)((s->divisor & 0xff00) | byte);
        } else {
            send(s, byte);
        }
        break;
    case 1:
        if (s->lcr & LCR_DLAB) {
            s->divisor = (uint16_t)((s->divisor & 0xff) | byte << 8);
        } else {
            /* Enabling the interrupt while THR is empty raises it. */
            if (byte & ~s->ier & IER_EMPTY && !s->tx.count) {
                s->thr_interrupt = true;
            }
            s->ier = byte & 0x0f;
        }
        break;
    case 2:
        write_fcr(s, byte);
        break;
    case 3:
        s->lcr = byte;
        break;
    case 4:
        write_mcr(s, byte);
        break;
    case 7:
        s->scr = byte;
        break;
    default:
        break; /* LSR and MSR are not for writing (a factory test, section 8.6.3) */
    }
    update(s);
    return 0;
}

static const struct mem_ops serial_ops = {
    .read = serial_read, .write = serial_write, .min_size = 1, .max_size = 8};

/* The bus has eight bits: a wider access is one of each register. */
static const struct mem_ops narrow_ops = {
    .read = serial_read, .write = serial_write, .max_size = 1, .split = true, .unaligned = true};

/* ---- life ------------------------------------------------------------------------------------ */

static const struct chardev_handlers handlers = {
    .can_receive = can_receive, .receive = receive, .event = event, .writable = writable};

static int serial_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct serial16550 *s = (struct serial16550 *)device;
    int err;

    s->timeout_timer = s->clock->ops->timer_create(s->clock, CPU_CLOCK_VIRTUAL, timeout_fired, s);
    if (!s->timeout_timer) {
        snprintf(error, error_size, "serial: no memory for a timer");
        return -ENOMEM;
    }
    err = s->chr ? chardev_attach(s->chr, &handlers, s) : 0;
    if (err) {
        snprintf(error, error_size, "serial: chardev=%s: %s", chardev_id(s->chr),
                 err == -EBUSY ? "another device uses it" : strerror(-err));
        s->clock->ops->timer_destroy(s->timeout_timer);
        return err;
    }
    mem_region_init_mmio(&s->mmio, "serial", UINT64_C(8) << s->regshift,
                         s->narrow ? &narrow_ops : &serial_ops, s, &device->owner);
    return 0;
}

static void serial_unrealize(struct hw_device *device)
{
    struct serial16550 *s = (struct serial16550 *)device;

    mem_region_retire(&s->mmio, NULL, NULL);
    if (s->chr) {
        chardev_attach(s->chr, NULL, s);
    }
    s->clock->ops->timer_destroy(s->timeout_timer);
}

static void serial_reset_enter(struct hw_device *device, bool cold)
{
    struct serial16550 *s = (struct serial16550 *)device;

    s->ier = s->fcr = s->lcr = s->mcr = s->scr = s->last = 0;
    s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    s->divisor = DIVISOR_RESET;
    s->overrun = s->thr_interrupt = false;
    s->rx.count = s->tx.count = 0;
    restart_timeout(s);
}

static void serial_reset_hold(struct hw_device *device)
{
    hw_irq_set(&((struct serial16550 *)device)->out, false);
}

static void serial_reset_exit(struct hw_device *device)
{
    accept_more((struct serial16550 *)device);
}

static int serial_post_load(void *object, uint32_t version)
{
    struct serial16550 *s = object;
    bool timeout = s->timeout;

    if (s->rx.first >= SERIAL16550_FIFO || s->rx.count > SERIAL16550_FIFO ||
        s->tx.first >= SERIAL16550_FIFO || s->tx.count > SERIAL16550_FIFO ||
        (!in_fifo_mode(s) && (s->rx.count > 1 || s->tx.count > 1))) {
        return -EINVAL;
    }
    if (!timeout) {
        restart_timeout(s);
    }
    transmit(s);
    update(s);
    accept_more(s);
    return 0;
}

static const struct property serial_properties[] = {
    PROPERTY(U8, "regshift", struct serial16550, regshift, .max = 3,
             .help = "registers are 1 << regshift bytes apart"),
    PROPERTY(U32, "baudbase", struct serial16550, baudbase, .number = 115200, .min = 1,
             .max = UINT32_MAX, .help = "bits a second at divisor 1"),
    PROPERTY_END,
};
static const struct state_field fifo_fields[] = {
    STATE_ARRAY(U8, "byte", struct serial16550_fifo, byte),
    STATE_ARRAY(U8, "flags", struct serial16550_fifo, flags),
    STATE(U32, "first", struct serial16550_fifo, first),
    STATE(U32, "count", struct serial16550_fifo, count),
    STATE_END,
};
static const struct state_table fifo_state = {
    .name = "serial-fifo", .version = 1, .min_version = 1, .fields = fifo_fields};
static const struct state_field serial_fields[] = {
    STATE(U8, "ier", struct serial16550, ier),
    STATE(U8, "fcr", struct serial16550, fcr),
    STATE(U8, "lcr", struct serial16550, lcr),
    STATE(U8, "mcr", struct serial16550, mcr),
    STATE(U8, "msr", struct serial16550, msr),
    STATE(U8, "scr", struct serial16550, scr),
    STATE(U16, "divisor", struct serial16550, divisor),
    STATE(U8, "last", struct serial16550, last),
    STATE(BOOL, "overrun", struct serial16550, overrun),
    STATE(BOOL, "thr_interrupt", struct serial16550, thr_interrupt),
    STATE(BOOL, "timeout", struct serial16550, timeout),
    STATE(STRUCT, "rx", struct serial16550, rx, .table = &fifo_state),
    STATE(STRUCT, "tx", struct serial16550, tx, .table = &fifo_state),
    STATE_END,
};
const struct state_table serial16550_state = {.name = "serial",
                                              .version = 1,
                                              .min_version = 1,
                                              .fields = serial_fields,
                                              .post_load = serial_post_load};

const struct hw_device_type serial16550_type = {
    .name = "serial-mm",
    .help = "16550A serial port",
    .size = sizeof(struct serial16550),
    .properties = serial_properties,
    .state = &serial16550_state,
    .internal = true,
    .realize = serial_realize,
    .unrealize = serial_unrealize,
    .reset_enter = serial_reset_enter,
    .reset_hold = serial_reset_hold,
    .reset_exit = serial_reset_exit,
};
