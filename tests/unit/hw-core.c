/* hw/core: devices and buses from descriptors, reset order, lines, run states, the machine lock. */
#include "hw/core/device.h"
#include "hw/core/irq.h"
#include "hw/core/lock.h"
#include "hw/core/reset.h"
#include "hw/core/runstate.h"
#include "mem/access.h"

#include "tests/unit/tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static char trace[256], error[256];

static void note(char what, const char *id)
{
    size_t n = strlen(trace);

    snprintf(trace + n, sizeof(trace) - n, "%c%s ", what, id ? id : "?");
}

/* A bridge with a bus of its own, and registers. */
struct bridge {
    struct hw_device device;
    struct hw_bus bus;
    struct mem_region registers;
    uint32_t lanes, serial;
    char *backend;
    bool trace;
    uint64_t counter;
};

static struct mem_region root;
static struct mem_space space;
static bool refuse;

static int plug(struct hw_bus *bus, struct hw_device *device, char *text, size_t size)
{
    note('p', device->id);
    return 0;
}

static void unplug(struct hw_bus *bus, struct hw_device *device)
{
    note('q', device->id);
}

static const struct hw_bus_type bridge_bus = {
    .name = "bridge-bus", .plug = plug, .unplug = unplug, .hotplug = true};
static const struct hw_bus_type other_bus = {.name = "other-bus"};

static void bridge_init(struct hw_device *device)
{
    hw_bus_init(&((struct bridge *)device)->bus, &bridge_bus, "down", device);
}

static int bridge_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value,
                       struct mem_attrs attrs)
{
    struct bridge *bridge = opaque;

    *value = ++bridge->counter + (hw_lock_is_held() ? 0 : 1000);
    return 0;
}

static const struct mem_ops bridge_ops = {.read = bridge_read};

static int bridge_realize(struct hw_device *device, char *text, size_t size)
{
    struct bridge *bridge = (struct bridge *)device;

    if (refuse) {
        snprintf(text, size, "bridge: no lanes left");
        return -ENOSPC;
    }
    mem_region_init_mmio(&bridge->registers, "bridge", 0x100, &bridge_ops, bridge, &device->owner);
    return mem_region_add(&root, bridge->serial * 0x1000u, &bridge->registers, 0);
}

static void bridge_unrealize(struct hw_device *device)
{
    note('u', device->id);
    mem_region_retire(&((struct bridge *)device)->registers, NULL, NULL);
}

static void bridge_enter(struct hw_device *device, bool cold)
{
    note(cold ? 'E' : 'e', device->id);
    ((struct bridge *)device)->counter = 0;
}

static void bridge_hold(struct hw_device *device)
{
    note(hw_reset_is_active(device) ? 'h' : '!', device->id);
    if (((struct bridge *)device)->trace) {
        hw_reset_device(device, false); /* a device that resets itself in its reset */
    }
}

static void bridge_exit(struct hw_device *device)
{
    note(hw_reset_is_active(device) ? '!' : 'x', device->id);
}

static const struct property bridge_properties[] = {
    PROPERTY(U32, "lanes", struct bridge, lanes, .number = 4, .min = 1, .max = 16, .help = "width"),
    PROPERTY(U32, "serial", struct bridge, serial, .required = true, .help = "where it is"),
    PROPERTY(STRING, "backend", struct bridge, backend, .help = "id of the host's end"),
    PROPERTY(BOOL, "trace", struct bridge, trace, .runtime = true, .help = "resets in reset"),
    PROPERTY_END,
};
static const struct state_field bridge_fields[] = {
    STATE(U64, "counter", struct bridge, counter),
    STATE_END,
};
static const struct state_table bridge_state = {
    .name = "bridge", .version = 1, .min_version = 1, .fields = bridge_fields};

static const struct hw_device_type bridge_type = {.name = "bridge",
                                                  .bus = "bridge-bus",
                                                  .help = "a bus on a bus",
                                                  .size = sizeof(struct bridge),
                                                  .properties = bridge_properties,
                                                  .state = &bridge_state,
                                                  .hotplug = true,
                                                  .init = bridge_init,
                                                  .realize = bridge_realize,
                                                  .unrealize = bridge_unrealize,
                                                  .reset_enter = bridge_enter,
                                                  .reset_hold = bridge_hold,
                                                  .reset_exit = bridge_exit};
static const struct hw_device_type fixed_type = {
    .name = "fixed", .bus = "bridge-bus", .size = sizeof(struct hw_device)};
static const struct hw_device_type *const types[] = {&bridge_type, &fixed_type, NULL};

static struct bridge *make(const char *id, const char *serial, struct hw_bus *bus)
{
    struct hw_device *device = hw_device_create(&bridge_type, id);

    if (!device || hw_device_set(device, "serial", serial, error, sizeof(error)) ||
        hw_device_realize(device, bus, false, error, sizeof(error))) {
        tap_ok(false, "%s", error);
        exit(1);
    }
    return (struct bridge *)device;
}

static void check_devices(void)
{
    struct hw_bus bus, other;
    uint64_t value = 0;

    hw_device_add_types(types);
    tap_ok(hw_device_find_type("fixed") == &fixed_type && !hw_device_find_type("none") &&
               hw_device_type_at(0) == &bridge_type && !hw_device_type_at(2),
           "types are found");
    hw_bus_init(&bus, &bridge_bus, "root", NULL);
    hw_bus_init(&other, &other_bus, "other", NULL);

    struct hw_device *d = hw_device_create(&bridge_type, "a");

    tap_ok(((struct bridge *)d)->lanes == 4, "a device has its defaults");
    tap_eq(hw_device_set(d, "lanes", "17", error, sizeof(error)), -ERANGE, "a wrong value");
    tap_str(error, "bridge a: lanes=17: expected a number from 1 to 16", "is named");
    tap_eq(hw_device_realize(d, &bus, false, error, sizeof(error)), -EINVAL, "without its serial");
    tap_str(error, "bridge a: serial: has to be given", "it is refused");
    hw_device_set(d, "serial", "1", error, sizeof(error));
    tap_eq(hw_device_realize(d, &other, false, error, sizeof(error)), -EINVAL, "on a wrong bus");
    tap_str(error, "bridge a: cannot be plugged into a bus of type other-bus", "it is refused");
    tap_eq(hw_device_realize(d, NULL, false, error, sizeof(error)), -EINVAL, "on none");
    tap_str(error, "bridge a: there is no bus of type bridge-bus", "as well");
    refuse = true;
    trace[0] = 0;
    tap_eq(hw_device_realize(d, &bus, false, error, sizeof(error)), -ENOSPC, "realize may refuse");
    tap_ok(!strcmp(trace, "pa qa ") && !bus.devices && !d->bus, "and nothing is left plugged");
    refuse = false;
    tap_eq(hw_device_realize(d, &bus, false, error, sizeof(error)), 0, "realized");
    tap_eq(hw_device_set(d, "lanes", "2", error, sizeof(error)), -EBUSY, "properties are final");
    tap_str(error, "bridge a: lanes: cannot be changed any more", "and say so");
    tap_eq(hw_device_set(d, "trace", "off", error, sizeof(error)), 0, "but for runtime ones");

    struct bridge *a = (struct bridge *)d, *b = make("b", "2", &bus);
    struct bridge *a1 = make("a1", "3", &a->bus), *a2 = make("a2", "4", &a->bus);

    tap_ok(hw_device_find(&bus, "a2") == &a2->device && !hw_device_find(&bus, "zz"), "found by id");
    tap_ok(!mem_access_load(&space, mem_gpa(0x3000), 4, &value, MEM_ATTRS_NONE) && value == 1,
           "registers are read under the machine lock");

    trace[0] = 0;
    hw_reset_bus(&bus, true);
    tap_str(trace, "Ea1 Ea2 Ea Eb ha1 ha2 ha hb xa1 xa2 xa xb ", "reset: phases, children first");
    tap_eq(a1->counter, 0, "state is reset");
    trace[0] = 0;
    hw_device_set(&a->device, "trace", "on", error, sizeof(error));
    hw_reset_device(&a->device, false);
    tap_str(trace, "ea1 ea2 ea ha1 ha2 ha xa1 xa2 xa ", "a part; reset in reset does nothing");

    struct state_buffer buffer = {0};

    a1->counter = 99;
    state_save(a1->device.type->state, a1, &buffer, error, sizeof(error));
    tap_ok(!state_load(b->device.type->state, b, buffer.data, buffer.size, NULL, error,
                       sizeof(error)) &&
               b->counter == 99,
           "state goes from one to another");
    state_buffer_free(&buffer);

    struct hw_device *fixed = hw_device_create(&fixed_type, NULL);

    tap_eq(hw_device_realize(fixed, &bus, true, error, sizeof(error)), -EPERM, "no hotplug");
    tap_str(error, "fixed: cannot be plugged while the machine runs", "is said");
    tap_eq(hw_device_realize(fixed, &bus, false, error, sizeof(error)), 0, "at start it may");
    tap_eq(hw_device_unplug(fixed, error, sizeof(error)), -EPERM, "but cannot be unplugged");
    trace[0] = 0;
    tap_eq(hw_device_unplug(&a->device, error, sizeof(error)), 0, "unplugging a bridge");
    tap_str(trace, "ua2 qa2 ua1 qa1 ua qa ", "takes what is on it first, last plugged first");
    tap_eq(mem_access_load(&space, mem_gpa(0x3000), 4, &value, MEM_ATTRS_NONE), -ENXIO,
           "its registers are gone");
    hw_device_destroy(fixed);
    hw_device_destroy(&b->device);
    epoch_wait(&mem_epoch);
    tap_ok(!bus.devices && !mem_epoch.deferred, "nothing is left");
}

/* ---- lines ------------------------------------------------------------------------------------
 */

/* A board's own bus takes what has no type of bus; a bus of one slot takes one device. */
static void check_kinds_of_buses(void)
{
    static const struct hw_bus_type board_type = {.name = "board", .board = true};
    static const struct hw_bus_type slot_type = {.name = "slot", .single = true};
    static const struct hw_device_type soldered = {.name = "soldered",
                                                   .size = sizeof(struct hw_device)};
    static const struct hw_device_type card = {
        .name = "card", .bus = "slot", .size = sizeof(struct hw_device)};
    struct hw_device *devices[5];
    struct hw_bus board, slot, other;

    hw_bus_init(&board, &board_type, "board", NULL);
    hw_bus_init(&slot, &slot_type, "slot", NULL);
    hw_bus_init(&other, &other_bus, "other", NULL);
    for (unsigned i = 0; i < 5; i++) {
        devices[i] = hw_device_create(i < 2 ? &soldered : &card, NULL);
    }
    tap_ok(!hw_device_realize(devices[0], &board, false, error, sizeof(error)),
           "a device without a type of bus goes onto the board");
    tap_ok(hw_device_realize(devices[1], &other, false, error, sizeof(error)) == -EINVAL,
           "and onto no other bus");
    tap_ok(hw_device_realize(devices[2], &board, false, error, sizeof(error)) == -EINVAL,
           "the board takes no others");
    tap_ok(!hw_device_realize(devices[3], &slot, false, error, sizeof(error)), "a slot takes one");
    tap_ok(hw_device_realize(devices[4], &slot, false, error, sizeof(error)) == -EINVAL &&
               strstr(error, "already"),
           "and no second one");
    for (unsigned i = 0; i < 5; i++) {
        hw_device_destroy(devices[i]);
    }
}

static void on_line(void *opaque, unsigned n, bool level)
{
    char text[8];

    snprintf(text, sizeof(text), "%u", n);
    note(level ? '+' : '-', text);
}

static void check_lines(void)
{
    struct hw_irq_input in = {on_line, NULL, 7};
    struct hw_irq a = {0}, b = {0};
    struct hw_irq_or gate;

    trace[0] = 0;
    hw_irq_set(&a, true);
    hw_irq_connect(&a, &in);
    hw_irq_set(&a, true);
    hw_irq_set(&a, false);
    hw_irq_pulse(&a);
    hw_irq_connect(&a, NULL);
    hw_irq_set(&a, true);
    hw_irq_set(&a, false);
    tap_str(trace, "+7 -7 +7 -7 ", "a line tells changes, and its level when connected");
    trace[0] = 0;
    hw_irq_or_init(&gate);
    hw_irq_connect(&gate.out, &in);
    hw_irq_connect(&a, &gate.in[0]);
    hw_irq_connect(&b, &gate.in[63]);
    hw_irq_set(&a, true);
    hw_irq_set(&b, true);
    hw_irq_set(&a, false);
    tap_str(trace, "+7 ", "an OR gate is high while any input is");
    hw_irq_set(&b, false);
    tap_str(trace, "+7 -7 ", "and low when none is");
}

/* ---- run states --------------------------------------------------------------------------------
 */

struct listener {
    struct hw_runstate_listener listener;
    const char *id;
};

static void on_change(struct hw_runstate_listener *listener, bool runs, enum hw_runstate state)
{
    note(runs ? '>' : '|', ((struct listener *)listener)->id);
}

static unsigned notified;

static void on_request(void *opaque)
{
    notified++;
}

static void check_runstate(void)
{
    struct listener cpu = {{.priority = 10, .changed = on_change}, "cpu"};
    struct listener clock = {{.priority = -10, .changed = on_change}, "clock"};
    enum hw_cause cause;
    uint32_t detail;

    hw_runstate_add_listener(&cpu.listener);
    hw_runstate_add_listener(&clock.listener);
    trace[0] = 0;
    tap_str(hw_runstate_name(hw_runstate_get()), "prelaunch", "a machine is not running at first");
    tap_eq(hw_runstate_set(HW_RUNSTATE_IO_ERROR), -EPERM, "there is no such change");
    tap_eq(hw_runstate_set(HW_RUNSTATE_RUNNING), 0, "it starts");
    tap_eq(hw_runstate_set(HW_RUNSTATE_RUNNING), 0, "once");
    tap_eq(hw_runstate_set(HW_RUNSTATE_IO_ERROR), 0, "and stops");
    tap_str(trace, ">clock >cpu |cpu |clock ", "in order of priority, and the reverse");
    tap_ok(!hw_runstate_set(HW_RUNSTATE_RUNNING) && !hw_runstate_set(HW_RUNSTATE_SHUTDOWN) &&
               hw_runstate_set(HW_RUNSTATE_RUNNING) == -EPERM,
           "after power-off it does not just go on");
    hw_runstate_remove_listener(&cpu.listener);
    hw_runstate_remove_listener(&clock.listener);
    unsigned unnamed = 0;

    for (unsigned s = 0; s < HW_RUNSTATE_COUNT; s++) {
        unnamed += !hw_runstate_name(s);
    }
    tap_eq(unnamed, 0, "every state has a name");

    hw_runstate_set_notify(on_request, NULL);
    hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, 3);
    hw_runstate_request(HW_REQUEST_SHUTDOWN, HW_CAUSE_HOST_SIGNAL, 0);
    tap_ok(notified == 2 && !hw_runstate_take(HW_REQUEST_RESET, &cause, &detail), "requests");
    tap_ok(hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail) && cause == HW_CAUSE_GUEST &&
               detail == 3,
           "keep their first cause");
    tap_ok(!hw_runstate_take(HW_REQUEST_SHUTDOWN, &cause, &detail), "and are taken once");
}

static unsigned counter;

static void *count_main(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        hw_lock_acquire();
        hw_lock_acquire();
        counter++;
        hw_lock_release();
        counter++;
        hw_lock_release();
    }
    return arg;
}

int main(void)
{
    pthread_t thread;

    mem_region_init_container(&root, "root", MEM_SIZE_ALL);
    mem_space_init(&space, "memory", &root);
    check_devices();
    check_kinds_of_buses();
    check_lines();
    check_runstate();
    pthread_create(&thread, NULL, count_main, NULL);
    count_main(NULL);
    pthread_join(thread, NULL);
    tap_ok(counter == 80000 && !hw_lock_is_held(), "the machine lock excludes, and nests");
    return tap_done();
}
