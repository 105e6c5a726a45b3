/*
 * A PC's two 8259As (Intel data sheet 231468), as chip sets since the PIIX have them: what is
 * level- or edge-triggered is said by the ELCR and not by ICW1, and ICW3 is taken but not looked
 * at, for the wiring of slave to master is fixed.
 *
 * IRR is not stored: of a level-triggered input it is the line, of an edge-triggered one a latch.
 * There we keep to what hypervisors do and not to the data sheet: the latch stays when the line
 * falls before the acknowledge, for a vCPU may be later than any processor was, and short pulses of
 * a timer would be lost.
 *
 * The slave's output is an edge-triggered input of the master. An acknowledge lowers INT for a
 * moment, as on hardware, so that what waits in the slave makes another edge.
 *
 * Initialization takes ICW1 at port 0, then ICW2, ICW3 (unless single) and ICW4 (if ICW1 says so)
 * at port 1; `step` is the number of the one that is due.
 */
#include "hw/intc/i8259.h"
#include "hw/core/reset.h"
#include "util/bits.h"

#include <errno.h>

enum {
    ICW1 = 0x10, /* of what is written to port 0 */
    ICW1_NEEDS_ICW4 = 0x01,
    ICW1_SINGLE = 0x02,
    ICW4_AUTO_EOI = 0x02,
    ICW4_FULLY_NESTED = 0x10,

    OCW3 = 0x08, /* of what is written to port 0, without ICW1 */
    OCW3_READ_ISR = 0x01,
    OCW3_READ = 0x02,
    OCW3_POLL = 0x04,
    OCW3_SPECIAL = 0x20,
    OCW3_CHANGE_SPECIAL = 0x40,

    CASCADE = 2,
    SPURIOUS = 7,
    POLL_REQUEST = 0x80,
};

/* Interrupts 0, 1, 2, 8 and 13 are those of the board, and always edge-triggered. */
static const uint8_t elcr_mask[2] = {0xf8, 0xde};

static bool is_master(const struct i8259 *pic, const struct i8259_chip *chip)
{
    return chip == &pic->chip[0];
}

static uint8_t requests(const struct i8259_chip *chip)
{
    return (uint8_t)((chip->edges & ~chip->elcr) | (chip->lines & chip->elcr));
}

/* The input of a priority, 0 being the highest. */
static unsigned input_of(const struct i8259_chip *chip, unsigned rank)
{
    return (rank + chip->lowest + 1) & 7;
}

/* The highest priority among a set of inputs; 8: it is empty. */
static unsigned best_rank(const struct i8259_chip *chip, uint8_t set)
{
    unsigned rank = 0;

    while (rank < 8 && !(set >> input_of(chip, rank) & 1)) {
        rank++;
    }
    return rank;
}

/*
 * The input that the chip asks for an acknowledge of, or -1: the highest that is requested, not
 * masked, and above what is in service. In special mask mode, masked inputs that are in service do
 * not keep others off; in special fully nested mode, the slave's is not kept off by itself.
 */
static int pending(const struct i8259 *pic, const struct i8259_chip *chip)
{
    uint8_t serviced = (uint8_t)(chip->special_mask ? chip->isr & ~chip->imr : chip->isr);
    unsigned rank = best_rank(chip, (uint8_t)(requests(chip) & ~chip->imr));
    unsigned limit = best_rank(chip, serviced);
    unsigned input = input_of(chip, rank);

    if (rank < limit || (rank == limit && rank < 8 && chip->fully_nested && input == CASCADE &&
                         is_master(pic, chip))) {
        return (int)input;
    }
    return -1;
}

/* A line of a chip changes. */
static void set_line(struct i8259_chip *chip, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);

    if (level && !(chip->lines & bit)) {
        chip->edges |= bit & (uint8_t)~chip->elcr;
    }
    chip->lines = (uint8_t)(level ? chip->lines | bit : chip->lines & ~bit);
}

static void update(struct i8259 *pic)
{
    set_line(&pic->chip[0], CASCADE, pending(pic, &pic->chip[1]) >= 0);
    if (!hw_reset_is_active(&pic->device)) {
        hw_irq_set(&pic->out, pending(pic, &pic->chip[0]) >= 0);
    }
}

static void input_changed(void *opaque, unsigned n, bool level)
{
    struct i8259 *pic = opaque;

    if (n != CASCADE) {
        set_line(&pic->chip[n / 8], n % 8, level);
        update(pic);
    }
}

/* ---- acknowledge ----------------------------------------------------------------------------- */

/* An input goes into service; update() is the caller's. */
static void take(struct i8259 *pic, struct i8259_chip *chip, unsigned input)
{
    uint8_t bit = (uint8_t)(1u << input);

    chip->edges &= (uint8_t)~bit;
    if (!chip->auto_eoi) {
        chip->isr |= bit;
    } else if (chip->rotate_auto_eoi) {
        chip->lowest = (uint8_t)input;
    }
    if (is_master(pic, chip)) {
        hw_irq_set(&pic->out, false);
    } else {
        set_line(&pic->chip[0], CASCADE, false);
    }
}

int i8259_acknowledge(struct i8259 *pic)
{
    struct i8259_chip *master = &pic->chip[0], *slave = &pic->chip[1];
    int input = pending(pic, master);
    int vector = master->base + (input < 0 ? SPURIOUS : input);

    if (input >= 0) {
        take(pic, master, (unsigned)input);
    }
    if (input == CASCADE) {
        int behind = pending(pic, slave);

        vector = slave->base + (behind < 0 ? SPURIOUS : behind);
        if (behind >= 0) {
            take(pic, slave, (unsigned)behind);
        }
    }
    update(pic);
    return vector;
}

/* The word that a read gets after the poll command. */
static uint8_t poll(struct i8259 *pic, struct i8259_chip *chip, bool quiet)
{
    int input = pending(pic, chip);

    if (!quiet) {
        chip->poll = false;
        if (input >= 0) {
            take(pic, chip, (unsigned)input);
        }
        update(pic);
    }
    return input < 0 ? 0 : (uint8_t)(POLL_REQUEST | input);
}

/* ---- registers ------------------------------------------------------------------------------- */

static void reset_chip(struct i8259_chip *chip)
{
    *chip = (struct i8259_chip){.lines = chip->lines, .elcr = chip->elcr, .lowest = 7};
}

static void write_icw1(struct i8259_chip *chip, uint8_t value)
{
    uint8_t base = chip->base;

    reset_chip(chip);
    chip->base = base;
    chip->step = 2;
    chip->wants_icw4 = value & ICW1_NEEDS_ICW4;
    chip->single = value & ICW1_SINGLE;
}

/* ICW2 to ICW4. */
static void write_icw(struct i8259_chip *chip, uint8_t value)
{
    switch (chip->step) {
    case 2:
        chip->base = value & 0xf8;
        chip->step = chip->single ? chip->wants_icw4 ? 4 : 0 : 3;
        break;
    case 3:
        chip->step = chip->wants_icw4 ? 4 : 0;
        break;
    default:
        chip->auto_eoi = value & ICW4_AUTO_EOI;
        chip->fully_nested = value & ICW4_FULLY_NESTED;
        chip->step = 0;
    }
}

/*
 * The input in service that a non-specific EOI is for, or -1. In special mask mode it is none that
 * is masked.
 */
static int highest_in_service(const struct i8259_chip *chip)
{
    uint8_t set = (uint8_t)(chip->special_mask ? chip->isr & ~chip->imr : chip->isr);
    unsigned rank = best_rank(chip, set);

    return rank < 8 ? (int)input_of(chip, rank) : -1;
}

/* Bits 5 to 7 say what: EOI, specific, rotate. */
static void write_ocw2(struct i8259_chip *chip, uint8_t value)
{
    enum { EOI = 1, SPECIFIC = 2, ROTATE = 4 };
    unsigned command = value >> 5;
    int input = command & SPECIFIC ? value & 7 : highest_in_service(chip);

    if (command == 0 || command == ROTATE) {
        chip->rotate_auto_eoi = command & ROTATE;
        return;
    }
    if (input < 0) {
        return;
    }
    if (command & EOI) {
        chip->isr &= (uint8_t) ~(1u << input);
    }
    if (command & ROTATE) {
        chip->lowest = (uint8_t)input;
    }
}

static void write_ocw3(struct i8259_chip *chip, uint8_t value)
{
    if (value & OCW3_READ) {
        chip->read_isr = value & OCW3_READ_ISR;
    }
    if (value & OCW3_CHANGE_SPECIAL) {
        chip->special_mask = value & OCW3_SPECIAL;
    }
    if (value & OCW3_POLL) {
        chip->poll = true;
    }
}

static void write_chip(struct i8259 *pic, struct i8259_chip *chip, uint64_t offset, uint8_t value)
{
    if (offset) {
        if (chip->step) {
            write_icw(chip, value);
        } else {
            chip->imr = value;
        }
    } else if (value & ICW1) {
        write_icw1(chip, value);
    } else if (value & OCW3) {
        write_ocw3(chip, value);
    } else {
        write_ocw2(chip, value);
    }
    update(pic);
}

static uint8_t read_chip(struct i8259 *pic, struct i8259_chip *chip, uint64_t offset, bool quiet)
{
    if (chip->poll) {
        return poll(pic, chip, quiet);
    }
    return offset ? chip->imr : chip->read_isr ? chip->isr : requests(chip);
}

static int master_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct i8259 *pic = opaque;

    *value = read_chip(pic, &pic->chip[0], offset, attrs.debug);
    return 0;
}

static int master_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                        struct mem_attrs attrs)
{
    struct i8259 *pic = opaque;

    write_chip(pic, &pic->chip[0], offset, (uint8_t)value);
    return 0;
}

static int slave_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                      struct mem_attrs attrs)
{
    struct i8259 *pic = opaque;

    *value = read_chip(pic, &pic->chip[1], offset, attrs.debug);
    return 0;
}

static int slave_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                       struct mem_attrs attrs)
{
    struct i8259 *pic = opaque;

    write_chip(pic, &pic->chip[1], offset, (uint8_t)value);
    return 0;
}

static int elcr_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                     struct mem_attrs attrs)
{
    *value = ((struct i8259 *)opaque)->chip[offset].elcr;
    return 0;
}

static int elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value,
                      struct mem_attrs attrs)
{
    struct i8259 *pic = opaque;
    struct i8259_chip *chip = &pic->chip[offset];

    chip->elcr = (uint8_t)value & elcr_mask[offset];
    chip->edges &= (uint8_t)~chip->elcr;
    update(pic);
    return 0;
}

static const struct mem_ops master_ops = {
    .read = master_read, .write = master_write, .max_size = 1, .split = true};
static const struct mem_ops slave_ops = {
    .read = slave_read, .write = slave_write, .max_size = 1, .split = true};
static const struct mem_ops elcr_ops = {
    .read = elcr_read, .write = elcr_write, .max_size = 1, .split = true};

/* ---- life ------------------------------------------------------------------------------------ */

static int pic_realize(struct hw_device *device, char *error, size_t error_size)
{
    struct i8259 *pic = (struct i8259 *)device;

    for (unsigned i = 0; i < I8259_INPUTS; i++) {
        pic->in[i] = (struct hw_irq_input){input_changed, pic, i};
    }
    mem_region_init_mmio(&pic->master_io, "pic-master", 2, &master_ops, pic, &device->owner);
    mem_region_init_mmio(&pic->slave_io, "pic-slave", 2, &slave_ops, pic, &device->owner);
    mem_region_init_mmio(&pic->elcr_io, "pic-elcr", 2, &elcr_ops, pic, &device->owner);
    return 0;
}

static void pic_unrealize(struct hw_device *device)
{
    struct i8259 *pic = (struct i8259 *)device;

    mem_region_retire(&pic->master_io, NULL, NULL);
    mem_region_retire(&pic->slave_io, NULL, NULL);
    mem_region_retire(&pic->elcr_io, NULL, NULL);
}

/*
 * Lines keep their level through a reset: their senders lower them in theirs. After power-on
 * nothing is defined before the ICWs; ours are masked, for guests that are started without
 * firmware.
 */
static void pic_reset_enter(struct hw_device *device, bool cold)
{
    struct i8259 *pic = (struct i8259 *)device;

    for (unsigned i = 0; i < 2; i++) {
        pic->chip[i].elcr = 0;
        reset_chip(&pic->chip[i]);
        pic->chip[i].imr = 0xff;
    }
}

static void pic_reset_hold(struct hw_device *device)
{
    hw_irq_set(&((struct i8259 *)device)->out, false);
}

static void pic_reset_exit(struct hw_device *device)
{
    update((struct i8259 *)device);
}

static int pic_post_load(void *object, uint32_t version)
{
    struct i8259 *pic = object;

    for (unsigned i = 0; i < 2; i++) {
        const struct i8259_chip *chip = &pic->chip[i];

        if (chip->lowest > 7 || chip->step > 4 || chip->step == 1 || chip->base & 7 ||
            chip->elcr & ~elcr_mask[i] || chip->edges & chip->elcr) {
            return -EINVAL;
        }
    }
    if (bits_extract(pic->chip[0].lines, CASCADE, 1) != (pending(pic, &pic->chip[1]) >= 0)) {
        return -EINVAL;
    }
    pic->out.level = pending(pic, &pic->chip[0]) >= 0;
    return 0;
}

static const struct state_field chip_fields[] = {
    STATE(U8, "lines", struct i8259_chip, lines),
    STATE(U8, "edges", struct i8259_chip, edges),
    STATE(U8, "isr", struct i8259_chip, isr),
    STATE(U8, "imr", struct i8259_chip, imr),
    STATE(U8, "elcr", struct i8259_chip, elcr),
    STATE(U8, "base", struct i8259_chip, base),
    STATE(U8, "lowest", struct i8259_chip, lowest),
    STATE(U8, "step", struct i8259_chip, step),
    STATE(BOOL, "wants_icw4", struct i8259_chip, wants_icw4),
    STATE(BOOL, "single", struct i8259_chip, single),
    STATE(BOOL, "auto_eoi", struct i8259_chip, auto_eoi),
    STATE(BOOL, "rotate_auto_eoi", struct i8259_chip, rotate_auto_eoi),
    STATE(BOOL, "fully_nested", struct i8259_chip, fully_nested),
    STATE(BOOL, "special_mask", struct i8259_chip, special_mask),
    STATE(BOOL, "poll", struct i8259_chip, poll),
    STATE(BOOL, "read_isr", struct i8259_chip, read_isr),
    STATE_END,
};
static const struct state_table chip_state = {
    .name = "i8259-chip", .version = 1, .min_version = 1, .fields = chip_fields};
static const struct state_field pic_fields[] = {
    STATE_ARRAY(STRUCT, "chip", struct i8259, chip, .table = &chip_state),
    STATE_END,
};
static const struct state_table pic_state = {.name = "i8259",
                                             .version = 1,
                                             .min_version = 1,
                                             .fields = pic_fields,
                                             .post_load = pic_post_load};

const struct hw_device_type i8259_type = {
    .name = "isa-i8259",
    .help = "two 8259A interrupt controllers",
    .size = sizeof(struct i8259),
    .state = &pic_state,
    .internal = true,
    .realize = pic_realize,
    .unrealize = pic_unrealize,
    .reset_enter = pic_reset_enter,
    .reset_hold = pic_reset_hold,
    .reset_exit = pic_reset_exit,
};
