/* util/state: what is saved is loaded; whatever else is loaded is refused, and never harms. */
#include "util/state.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <stdlib.h>

struct queue {
    uint16_t index;
    bool ready;
};

struct dev {
    uint8_t a;
    uint16_t b;
    uint32_t c;
    int64_t d;
    bool on;
    uint32_t regs[4];
    uint8_t fifo[16];
    uint32_t fifo_used;
    struct queue queues[3];
    struct queue extra[4];
    uint32_t extra_used;
    uint8_t *blob;
    uint32_t blob_size;
    uint32_t newer;
    uint32_t part_value;
    unsigned saves, loads;
    int refuse;
};

static const struct state_field queue_fields[] = {
    STATE(U16, "index", struct queue, index),
    STATE(BOOL, "ready", struct queue, ready),
    STATE_END,
};
static const struct state_table queue_state = {
    .name = "queue", .version = 1, .min_version = 1, .fields = queue_fields};

static bool part_needed(const void *object)
{
    return ((const struct dev *)object)->part_value != 0;
}

static const struct state_field part_fields[] = {
    STATE(U32, "value", struct dev, part_value),
    STATE_END,
};
static const struct state_table part_state = {.name = "dev/part",
                                              .version = 1,
                                              .min_version = 1,
                                              .fields = part_fields,
                                              .needed = part_needed};
static const struct state_table *const parts[] = {&part_state, NULL};

static int pre_save(void *object)
{
    struct dev *dev = object;

    dev->saves++;
    return dev->refuse;
}

static int post_load(void *object, uint32_t version)
{
    struct dev *dev = object;

    dev->loads++;
    return dev->a == 0xee ? -EINVAL : 0;
}

#define FIELDS                                                                                     \
    STATE(U8, "a", struct dev, a), STATE(U16, "b", struct dev, b), STATE(U32, "c", struct dev, c), \
        STATE(U64, "d", struct dev, d), STATE(BOOL, "on", struct dev, on),                         \
        STATE_ARRAY(U32, "regs", struct dev, regs),                                                \
        STATE_USED(U8, "fifo", struct dev, fifo, fifo_used),                                       \
        STATE_ARRAY(STRUCT, "queues", struct dev, queues, .table = &queue_state),                  \
        STATE_USED(STRUCT, "extra", struct dev, extra, extra_used, .table = &queue_state),         \
        STATE_BYTES("blob", struct dev, blob, blob_size, 64)

static const struct state_field fields[] = {
    FIELDS,
    STATE(U32, "newer", struct dev, newer, .since = 2),
    STATE_END,
};
static const struct state_field old_fields[] = {FIELDS, STATE_END};

static const struct state_table state = {.name = "dev",
                                         .version = 2,
                                         .min_version = 1,
                                         .fields = fields,
                                         .parts = parts,
                                         .pre_save = pre_save,
                                         .post_load = post_load};
static const struct state_table old_state = {
    .name = "dev", .version = 1, .min_version = 1, .fields = old_fields};
static const struct state_table other_state = {.name = "other", .version = 1, .min_version = 1};

static char error[256];

static struct dev example(void)
{
    struct dev dev = {.a = 1,
                      .b = 0x1234,
                      .c = 0x12345678,
                      .d = -5,
                      .on = true,
                      .regs = {1, 2, 3, 4},
                      .fifo = "hello",
                      .fifo_used = 5,
                      .queues = {{7, true}, {8, false}, {9, true}},
                      .extra = {{4, true}},
                      .extra_used = 1,
                      .blob_size = 3,
                      .newer = 77,
                      .part_value = 5};

    dev.blob = malloc(3);
    memcpy(dev.blob, "xyz", 3);
    return dev;
}

static int load(struct dev *dev, const struct state_table *table, const uint8_t *data, size_t size)
{
    /* A copy of exactly this size, so that a sanitizer sees one byte too many. */
    uint8_t *copy = malloc(size ? size : 1);
    size_t used = 0;

    memcpy(copy, data, size);
    int err = state_load(table, dev, copy, size, &used, error, sizeof(error));

    free(copy);
    return err ? err : (int)used;
}

static void check_round_trip(void)
{
    struct dev dev = example(), back = {0};
    struct state_buffer buffer = {0};

    tap_eq(state_save(&state, &dev, &buffer, error, sizeof(error)), 0, "saved");
    tap_eq(load(&back, &state, buffer.data, buffer.size), buffer.size, "loaded, all of it");
    tap_ok(back.a == 1 && back.b == 0x1234 && back.c == 0x12345678 && back.d == -5 && back.on,
           "numbers");
    tap_ok(!memcmp(back.regs, dev.regs, sizeof(dev.regs)) && back.fifo_used == 5 &&
               !memcmp(back.fifo, "hello", 6),
           "arrays");
    tap_ok(back.queues[0].index == 7 && back.queues[0].ready && !back.queues[1].ready &&
               back.queues[2].index == 9 && back.extra_used == 1 && back.extra[0].index == 4,
           "structs");
    tap_ok(back.blob_size == 3 && !memcmp(back.blob, "xyz", 3), "a blob");
    tap_ok(back.newer == 77 && back.part_value == 5 && dev.saves == 1 && back.loads == 1,
           "a newer field, a part, and both hooks");
    size_t with_part = buffer.size;

    dev.part_value = 0;
    buffer.size = 0;
    state_save(&state, &dev, &buffer, error, sizeof(error));
    tap_ok(buffer.size < with_part, "a part that is not needed is not there");
    back.part_value = 42;
    load(&back, &state, buffer.data, buffer.size);
    tap_eq(back.part_value, 42, "and then stays as it was");

    buffer.size = 0;
    state_save(&old_state, &dev, &buffer, error, sizeof(error));
    back.newer = 1;
    tap_ok(load(&back, &state, buffer.data, buffer.size) > 0 && back.newer == 1,
           "an older version is read, without the newer field");
    buffer.size = 0;
    state_save(&state, &dev, &buffer, error, sizeof(error));
    tap_eq(load(&back, &old_state, buffer.data, buffer.size), -EINVAL, "a newer one is not");
    tap_str(error, "state 'dev': version 2, expected 1 to 1", "and says so");
    tap_eq(load(&back, &other_state, buffer.data, buffer.size), -EINVAL, "nor another object's");
    tap_str(error, "state 'other': found 'dev' instead", "and says so");

    size_t size = buffer.size;

    dev.refuse = -EBUSY;
    tap_eq(state_save(&state, &dev, &buffer, error, sizeof(error)), -EBUSY,
           "saving may be refused");
    tap_ok(buffer.size == size, "and leaves the buffer alone");
    dev.refuse = 0;
    dev.fifo_used = 17;
    tap_eq(state_save(&state, &dev, &buffer, error, sizeof(error)), -EOVERFLOW, "a wrong count");
    tap_str(error, "state 'dev': field 'fifo': 17 elements, at most 16", "is named");
    free(dev.blob);
    free(back.blob);
    state_buffer_free(&buffer);
}

/* Finds a field's head in the stream. */
static size_t find(const struct state_buffer *b, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 2; i + n < b->size; i++) {
        if (b->data[i - 2] == 'F' && b->data[i - 1] == n && !memcmp(b->data + i, name, n)) {
            return i;
        }
    }
    return 0;
}

static void check_hostile(void)
{
    struct dev dev = example(), back = {0};
    struct state_buffer buffer = {0};
    unsigned accepted = 0, silent = 0;

    state_save(&state, &dev, &buffer, error, sizeof(error));
    for (size_t n = 0; n < buffer.size; n++) {
        error[0] = 0;
        accepted += load(&back, &state, buffer.data, n) >= 0;
        silent += !error[0];
    }
    tap_ok(!accepted && !silent, "every truncation is refused with a message");

    /* Any byte changed to anything: no harm done, and counts stay in bounds. */
    unsigned out_of_bounds = 0;

    srand(3);
    for (int i = 0; i < 30000; i++) {
        size_t at = (size_t)rand() % buffer.size;
        uint8_t was = buffer.data[at];

        buffer.data[at] = rand() & 1 ? (uint8_t)rand() : (uint8_t)(was ^ 1 << rand() % 8);
        load(&back, &state, buffer.data, buffer.size);
        out_of_bounds += back.fifo_used > 16 || back.extra_used > 4 || back.blob_size > 64;
        buffer.data[at] = was;
    }
    tap_eq(out_of_bounds, 0, "30000 damaged streams leave counts in their bounds");

    size_t at = find(&buffer, "c");

    buffer.data[at] = 'z';
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': unknown field 'z'", "an unknown field is named");
    buffer.data[at] = 'b';
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': field 'b': is there twice", "so is one that comes twice");
    buffer.data[at] = 'c';
    buffer.data[at + 1] = STATE_U16;
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': field 'c': type 3, expected 4", "a wrong type is named");
    buffer.data[at + 1] = STATE_U32;
    at = find(&buffer, "on");
    buffer.data[at + 7] = 2;
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': field 'on': 2 is no bool", "so is a wrong value");
    buffer.data[at + 7] = 1;
    at = find(&buffer, "a");
    buffer.data[at + 6] = 0xee;
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': refused: Invalid argument", "so is what post_load refuses");

    buffer.size = 0;
    struct state_table short_state = state;

    short_state.fields = old_fields;
    state_save(&short_state, &dev, &buffer, error, sizeof(error));
    load(&back, &state, buffer.data, buffer.size);
    tap_str(error, "state 'dev': field 'newer': is missing", "so is a missing field");
    free(dev.blob);
    free(back.blob);
    state_buffer_free(&buffer);
}

int main(void)
{
    check_round_trip();
    check_hostile();
    return tap_done();
}
