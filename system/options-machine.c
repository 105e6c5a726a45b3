/* Options that say what the machine is: type, vCPUs, memory, accelerator, devices. */
#include "system/options.h"

#include "system/accel.h"
#include "system/devices.h"
#include "util/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list_machines(void)
{
    const struct machine_type *type;

    puts("Supported machines are:");
    for (unsigned n = 0; (type = machine_type_at(n)); n++) {
        if (type->alias) {
            printf("%-20s %s (alias of %s)\n", type->alias, type->help, type->name);
        }
        printf("%-20s %s\n", type->name, type->help);
    }
}

static void set_machine(struct system_options *o, const char *name, const char *value)
{
    struct keyval *lists, *list;
    const char *type, *accel;

    if (options_is_help(value)) {
        list_machines();
        exit(0);
    }
    lists = realloc(o->properties, (o->property_lists + 1) * sizeof(*lists));
    if (!lists) {
        error_fatal("out of memory");
    }
    o->properties = lists;
    list = &lists[o->property_lists++];
    options_keyval(list, name, value, "type");
    type = keyval_take(list, "type");
    if (type) {
        o->machine = type;
    }
    accel = keyval_take(list, "accel");
    if (accel) {
        options_append(&o->accels, accel);
    }
    if (keyval_get(list, "help") && o->machine) {
        devices_print_machine_help(o->machine);
        exit(0);
    }
}

static void print_line(void *opaque, const char *text)
{
    puts(text);
}

static void set_cpu(struct system_options *o, const char *name, const char *value)
{
    if (options_is_help(value)) {
        o->target->ops->list_models(print_line, NULL);
        exit(0);
    }
    o->cpu = value;
}

static void set_smp(struct system_options *o, const char *name, const char *value)
{
    o->smp = value;
}

/* Memory is whole pages; QEMU's slots and maxmem are for memory that is plugged in later. */
static void set_memory(struct system_options *o, const char *name, const char *value)
{
    struct keyval list;
    char error[256];
    uint64_t slots = 0, max;
    int has_size, has_max;

    options_keyval(&list, name, value, "size");
    has_size = keyval_take_size(&list, "size", 1 << 20, &o->ram_size, error, sizeof(error));
    has_max = keyval_take_size(&list, "maxmem", 1 << 20, &max, error, sizeof(error));
    if (has_size < 0 || has_max < 0 ||
        keyval_take_number(&list, "slots", &slots, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    if (has_size && (o->ram_size == 0 || o->ram_size > UINT64_C(1) << 48)) {
        error_fatal("%s %s: expected a size from 1 page to 256T", name, value);
    }
    if (has_max && has_size && max < o->ram_size) {
        error_fatal("%s %s: maxmem is less than the size", name, value);
    }
    o->ram_size = (o->ram_size + MEM_PAGE_SIZE - 1) & ~(MEM_PAGE_SIZE - 1);
    keyval_free(&list);
}

static void set_memory_path(struct system_options *o, const char *name, const char *value)
{
    o->ram_path = value;
}

static void set_memory_prealloc(struct system_options *o, const char *name, const char *value)
{
    o->ram_prealloc = true;
}

static void set_overcommit(struct system_options *o, const char *name, const char *value)
{
    struct keyval list;
    char error[256];
    bool power = false;

    options_keyval(&list, name, value, NULL);
    if (keyval_take_bool(&list, "mem-lock", &o->ram_lock, error, sizeof(error)) < 0 ||
        keyval_take_bool(&list, "cpu-pm", &power, error, sizeof(error)) < 0 ||
        keyval_finish(&list, error, sizeof(error))) {
        error_fatal("%s", error);
    }
    keyval_free(&list);
}

static void set_accel(struct system_options *o, const char *name, const char *value)
{
    if (options_is_help(value)) {
        accel_print_help(o->target);
        exit(0);
    }
    if (strcspn(value, ",") == 0) {
        error_fatal("%s %s: expected the name of an accelerator (-accel help)", name, value);
    }
    options_append(&o->accels, value);
}

static void set_kvm(struct system_options *o, const char *name, const char *value)
{
    set_accel(o, name, "kvm");
}

static void set_device(struct system_options *o, const char *name, const char *value)
{
    struct keyval list;
    const char *type;

    options_keyval(&list, name, value, "driver");
    type = keyval_get(&list, "driver");
    if (!type) {
        error_fatal("%s %s: driver=: has to be given", name, value);
    }
    if (options_is_help(type)) {
        devices_print_types();
        exit(0);
    }
    if (keyval_get(&list, "help") || keyval_get(&list, "?")) {
        devices_print_type_help(type);
        exit(0);
    }
    keyval_free(&list);
    options_append(&o->devices, value);
}

static void set_global(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->globals, value);
}

static void set_object(struct system_options *o, const char *name, const char *value)
{
    options_append(&o->objects, value);
}

static void set_nodefaults(struct system_options *o, const char *name, const char *value)
{
    o->nodefaults = true;
}

static void ignore(struct system_options *o, const char *name, const char *value)
{
}

const struct option_row options_machine_rows[] = {
    {"M", "TYPE[,PROP=VALUE...]", "machine type; help lists them, TYPE,help its properties",
     set_machine},
    {"machine", "TYPE[,PROP=VALUE...]", "the same", set_machine},
    {"cpu", "MODEL[,EXT=on|off...]", "CPU model; help lists models and extensions", set_cpu},
    {"smp", "[cpus=]N[,PROP=N...]", "vCPUs: cpus, maxcpus, sockets, dies, clusters, cores, threads",
     set_smp},
    {"m", "[size=]SIZE", "memory in MiB, or with a suffix K, M, G, T", set_memory},
    {"mem-path", "PATH", "file or folder that backs the memory", set_memory_path},
    {"mem-prealloc", NULL, "every page of memory exists before the guest starts",
     set_memory_prealloc},
    {"overcommit", "mem-lock=on|off", "keep all memory from being swapped out", set_overcommit},
    {"accel", "NAME[,PROP=VALUE...]", "what runs vCPUs; help lists it", set_accel},
    {"enable-kvm", NULL, "the same as -accel kvm", set_kvm},
    {"device", "TYPE[,PROP=VALUE...]", "adds a device; help lists types, TYPE,help properties",
     set_device},
    {"global", "TYPE.PROP=VALUE", "another default for a property of a device type", set_global},
    {"object", "TYPE,id=ID[,PROP=VALUE...]", "adds an object: memory, random numbers, a secret",
     set_object},
    {"nodefaults", NULL, "no devices but those asked for", set_nodefaults},
    {"no-user-config", NULL, "taken and ignored: there are no configuration files", ignore},
    {NULL, NULL, NULL, NULL},
};
