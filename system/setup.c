/* Parts of construction that are computation rather than order. */
#include "system/setup.h"

#include "accel/vcpu.h"
#include "cpu/system.h"
#include "hw/core/lock.h"
#include "hw/core/runstate.h"
#include "system/accel.h"
#include "system/devices.h"
#include "system/objects.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* ---- -smp ---- */

/*
 * What is not given is computed: the number of vCPUs from the topology, or the topology from the
 * number, with cores as the level that fills up.
 */
static void complete_smp(struct machine_smp *smp)
{
    uint64_t others; /* wider, for four factors may be more than 32 bits have */

    smp->dies += smp->dies == 0;
    smp->clusters += smp->clusters == 0;
    if (smp->cpus == 0 && smp->max_cpus == 0) {
        smp->sockets += smp->sockets == 0;
        smp->cores += smp->cores == 0;
        smp->threads += smp->threads == 0;
        smp->cpus = smp->sockets * smp->dies * smp->clusters * smp->cores * smp->threads;
    }
    if (smp->max_cpus == 0) {
        smp->max_cpus = smp->cpus;
    }
    smp->cpus = smp->cpus ? smp->cpus : smp->max_cpus;
    if (smp->cores == 0) {
        smp->sockets += smp->sockets == 0;
        smp->threads += smp->threads == 0;
        others = (uint64_t)smp->sockets * smp->dies * smp->clusters * smp->threads;
        smp->cores = (unsigned)(smp->max_cpus / others);
    } else if (smp->sockets == 0) {
        smp->threads += smp->threads == 0;
        others = (uint64_t)smp->dies * smp->clusters * smp->cores * smp->threads;
        smp->sockets = (unsigned)(smp->max_cpus / others);
    } else if (smp->threads == 0) {
        others = (uint64_t)smp->sockets * smp->dies * smp->clusters * smp->cores;
        smp->threads = (unsigned)(smp->max_cpus / others);
    }
}

int setup_smp(const char *text, unsigned max, struct machine_smp *smp, char *error,
              size_t error_size)
{
    const struct {
        const char *name;
        unsigned *value;
    } settings[] = {
        {"cpus", &smp->cpus},       {"maxcpus", &smp->max_cpus},  {"sockets", &smp->sockets},
        {"dies", &smp->dies},       {"clusters", &smp->clusters}, {"cores", &smp->cores},
        {"threads", &smp->threads},
    };
    struct keyval list;
    int err;

    *smp = (struct machine_smp){.cpus = text ? 0 : 1};
    err = text ? keyval_parse(&list, "-smp", text, "cpus", error, error_size) : 0;
    if (err) {
        return err;
    }
    for (unsigned i = 0; text && i < sizeof(settings) / sizeof(settings[0]) && !err; i++) {
        uint64_t value;
        int found = keyval_take_number(&list, settings[i].name, &value, error, error_size);

        if (found > 0 && (value == 0 || value > max)) {
            snprintf(error, error_size, "-smp: %s=%" PRIu64 ": expected a number from 1 to %u",
                     settings[i].name, value, max);
            found = -EINVAL;
        }
        if (found > 0) {
            *settings[i].value = (unsigned)value;
        }
        err = found < 0 ? found : 0;
    }
    if (text && !err) {
        err = keyval_finish(&list, error, error_size);
    }
    if (text) {
        keyval_free(&list);
    }
    if (err) {
        return err;
    }
    complete_smp(smp);
    if (smp->cpus > smp->max_cpus || smp->max_cpus > max ||
        (unsigned __int128)smp->sockets * smp->dies * smp->clusters * smp->cores * smp->threads !=
            smp->max_cpus) {
        snprintf(error, error_size,
                 "-smp %s: sockets (%u) * dies (%u) * clusters (%u) * cores (%u) * threads (%u) is "
                 "not maxcpus (%u), cpus (%u) is more, or maxcpus is more than the machine's %u",
                 text, smp->sockets, smp->dies, smp->clusters, smp->cores, smp->threads,
                 smp->max_cpus, smp->cpus, max);
        return -EINVAL;
    }
    return 0;
}

/* ---- -rtc ---- */

int setup_rtc(const char *text, int64_t *offset, char *error, size_t error_size)
{
    static const char *const clocks[] = {"host", "rt", "vm", NULL};
    static const char *const drift[] = {"none", "slew", NULL};
    struct keyval list;
    const char *base, *end = NULL;
    time_t now = time(NULL);
    struct tm tm = {0};
    int ignored = 0, err;

    *offset = 0;
    if (!text) {
        return 0;
    }
    err = keyval_parse(&list, "-rtc", text, NULL, error, error_size);
    if (err) {
        return err;
    }
    base = keyval_take(&list, "base");
    if (keyval_take_enum(&list, "clock", clocks, &ignored, error, error_size) < 0 ||
        keyval_take_enum(&list, "driftfix", drift, &ignored, error, error_size) < 0) {
        err = -EINVAL;
    } else if (!base || strcmp(base, "utc") == 0) {
        *offset = 0;
    } else if (strcmp(base, "localtime") == 0) {
        tzset();
        localtime_r(&now, &tm);
        *offset = (int64_t)tm.tm_gmtoff * 1000000000;
    } else {
        end = strptime(base, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!end || *end) {
            tm = (struct tm){0};
            end = strptime(base, "%Y-%m-%d", &tm);
        }
        if (!end || *end || tm.tm_year > 300) {
            snprintf(error, error_size,
                     "-rtc: base=%s: expected utc, localtime, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS",
                     base);
            err = -EINVAL;
        } else {
            *offset = (int64_t)(timegm(&tm) - now) * 1000000000;
        }
    }
    if (!err) {
        err = keyval_finish(&list, error, error_size);
    }
    keyval_free(&list);
    return err;
}

/* ---- -uuid ---- */

void setup_uuid(const char *text, uint8_t uuid[16])
{
    unsigned digits = 0;

    memset(uuid, 0, 16);
    for (; text && *text && digits < 32; text++) {
        static const char values[] = "0123456789abcdef";
        const char *digit = strchr(values, tolower((unsigned char)*text));

        if (digit) {
            uuid[digits / 2] |= (uint8_t)((digit - values) << (digits % 2 ? 0 : 4));
            digits++;
        }
    }
}

/* ---- -global ---- */

/* "TYPE.PROP=VALUE", or driver=TYPE,property=PROP,value=VALUE. Texts live as long as the process.
 */
static int parse_global(const char *text, struct machine_default *global, char *error,
                        size_t error_size)
{
    const char *equals = strchr(text, '='), *dot = strchr(text, '.');
    struct keyval list;
    int err;

    if (equals && dot && dot < equals) {
        /* Names of types have dots too ("cfi.pflash01"); those of properties have none. */
        dot = memrchr(text, '.', (size_t)(equals - text));
        *global = (struct machine_default){.type = strndup(text, (size_t)(dot - text)),
                                           .property = strndup(dot + 1, (size_t)(equals - dot - 1)),
                                           .value = strdup(equals + 1)};
    } else {
        const char *type, *property, *value;

        err = keyval_parse(&list, "-global", text, NULL, error, error_size);
        if (err) {
            return err;
        }
        type = keyval_take(&list, "driver");
        property = keyval_take(&list, "property");
        value = keyval_take(&list, "value");
        if (type && property && value) {
            *global = (struct machine_default){strdup(type), strdup(property), strdup(value)};
        }
        keyval_free(&list);
    }
    if (!global->type || !global->property || !global->value) {
        snprintf(error, error_size, "-global %s: expected TYPE.PROP=VALUE", text);
        return -EINVAL;
    }
    return 0;
}

int setup_globals(const struct option_list *options, struct machine_default **result, char *error,
                  size_t error_size)
{
    struct machine_default *list = calloc(options->count + 1, sizeof(*list));

    if (!list) {
        snprintf(error, error_size, "-global: out of memory");
        return -ENOMEM;
    }
    *result = list;
    for (unsigned i = 0; i < options->count; i++) {
        const struct hw_device_type *type;
        int err = parse_global(options->text[i], &list[i], error, error_size);

        if (err) {
            return err;
        }
        type = hw_device_find_type(list[i].type);
        if (!type || !devices_has_property(type, list[i].property)) {
            snprintf(error, error_size, "-global %s: there is no such %s", options->text[i],
                     type ? "property" : "device type");
            return -ENOENT;
        }
    }
    return 0;
}

/* ---- memory ---- */

int setup_memory(const struct system_options *options, struct machine *machine, char *error,
                 size_t error_size)
{
    struct mem_ram_config config = {
        .name = "ram",
        .size = options->ram_size ? options->ram_size : machine->type->ram_size,
        .path = options->ram_path,
        .prealloc = options->ram_prealloc,
        .dump = machine->dump_guest_core,
    };
    int err;

    machine->ram_size = config.size;
    if (machine->memory_backend) {
        struct mem_ram *memory = objects_memory(machine->memory_backend);

        if (!memory) {
            snprintf(error, error_size, "-M memory-backend=%s: there is no such memory object",
                     machine->memory_backend);
            return -ENOENT;
        }
        if (options->ram_size && memory->size != options->ram_size) {
            snprintf(error, error_size,
                     "-M memory-backend=%s: has 0x%" PRIx64 " bytes, but -m says 0x%" PRIx64,
                     machine->memory_backend, memory->size, options->ram_size);
            return -EINVAL;
        }
        machine->ram_size = memory->size;
        machine->ram_block = mem_ram_ref(memory);
        err = 0;
    } else {
        err = mem_ram_create(&machine->ram_block, &config, error, error_size);
    }
    if (!err && options->ram_lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        err = -errno;
        snprintf(error, error_size, "-overcommit mem-lock=on: %s", strerror(-err));
    }
    return err;
}

/* ---- vCPUs ---- */

static int setup_cpu(const struct system_options *options, struct machine *machine,
                     const struct accel_system_ops *accel, unsigned index, char *error,
                     size_t error_size)
{
    const struct cpu_target_ops *ops = options->target->ops;
    const char *model = options->cpu ? options->cpu : machine->type->cpu_model;
    struct cpu_system wiring = {
        .service = accel->service,
        .memory = &machine->memory,
        .clock = machine->clock,
        .hart = machine->type->cpu_id ? machine->type->cpu_id(machine, index) : index,
    };
    struct cpu *cpu = accel->cpu_create(ops, index, wiring.hart);
    char why[256] = "";
    int err;

    if (!cpu) {
        snprintf(error, error_size, "vCPU %u: out of memory", index);
        return -ENOMEM;
    }
    machine->cpus[index] = cpu;
    err = ops->set_model(cpu, model, why, sizeof(why));
    if (err) {
        snprintf(error, error_size, "-cpu %s: %s", model, why);
        return err;
    }
    err = ops->system->attach(cpu, &wiring, why, sizeof(why));
    if (err) {
        snprintf(error, error_size, "vCPU %u: %s", index, why);
    }
    return err;
}

/* What befell a vCPU, as a request to the main loop. */
static void take_event(enum accel_event event, struct cpu *cpu)
{
    static const struct {
        enum hw_request request;
        enum hw_cause cause;
        uint32_t detail;
    } requests[] = {
        [ACCEL_EVENT_RESET] = {HW_REQUEST_RESET, HW_CAUSE_GUEST, 0},
        [ACCEL_EVENT_POWER_OFF] = {HW_REQUEST_SHUTDOWN, HW_CAUSE_GUEST, 0},
        [ACCEL_EVENT_CRASH] = {HW_REQUEST_STOP, HW_CAUSE_ERROR, HW_RUNSTATE_GUEST_PANICKED},
        [ACCEL_EVENT_DEBUG] = {HW_REQUEST_STOP, HW_CAUSE_NONE, HW_RUNSTATE_DEBUG},
        [ACCEL_EVENT_INTERNAL_ERROR] = {HW_REQUEST_STOP, HW_CAUSE_ERROR,
                                        HW_RUNSTATE_INTERNAL_ERROR},
    };

    hw_runstate_request(requests[event].request, requests[event].cause, requests[event].detail);
}

int setup_cpus(const struct system_options *options, struct machine *machine,
               const struct accel_system_ops **used, char *error, size_t error_size)
{
    struct accel_system_config config = {.memory = &machine->memory,
                                         .io = &machine->io,
                                         .kernel_irqchip = machine->kernel_irqchip,
                                         .cpus = machine->smp.cpus,
                                         .max_cpus = machine->smp.max_cpus,
                                         .event = take_event,
                                         .lock = hw_lock_acquire,
                                         .unlock = hw_lock_release};
    const struct accel_system_ops *accel;
    const char *chip = machine->kernel_irqchip;
    int err = -EINVAL;

    if (chip && strcmp(chip, "on") != 0 && strcmp(chip, "off") != 0 && strcmp(chip, "split") != 0) {
        snprintf(error, error_size, "-M kernel-irqchip=%s: expected on, split or off", chip);
        return err;
    }
    err = accel_start(options, &config, &accel, error, error_size);

    machine->cpus = calloc(machine->smp.cpus, sizeof(struct cpu *));
    if (!err && !machine->cpus) {
        snprintf(error, error_size, "-smp: out of memory");
        err = -ENOMEM;
    }
    if (!err) {
        *used = accel;
        machine->irqchip = accel->irqchip();
        machine->current_cpu = vcpu_current;
    }
    for (unsigned n = 0; n < machine->smp.cpus && !err; n++) {
        err = setup_cpu(options, machine, accel, n, error, error_size);
    }
    return err;
}
