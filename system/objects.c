/*
 * Objects of the command line: a table of types, each of which makes one from a list of settings.
 * -object help lists them.
 */
#include "system/objects.h"

#include "io/block/block.h"
#include "io/block/secret.h"
#include "io/loop/thread.h"
#include "mem/ram.h"
#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object {
    struct object *next;
    char *id;
    struct mem_ram *memory;     /* of memory-backend-... */
    struct loop_thread *thread; /* of iothread */
};

struct object_type {
    const char *name, *help;
    int (*create)(struct object *object, struct keyval *list, const char *type, char *error,
                  size_t error_size);
};

static struct object *first;

static int create_memory(struct object *object, struct keyval *list, const char *type, char *error,
                         size_t error_size)
{
    struct mem_ram_config config = {.name = object->id, .dump = true};
    bool file = strcmp(type, "memory-backend-file") == 0;
    bool merge = false, discard = false, seal = true;
    uint64_t ignored;

    config.shared = strcmp(type, "memory-backend-memfd") == 0;
    config.path = file ? keyval_take(list, "mem-path") : NULL;
    if (keyval_take_size(list, "size", 1, &config.size, error, error_size) < 0 ||
        keyval_take_bool(list, "share", &config.shared, error, error_size) < 0 ||
        keyval_take_bool(list, "prealloc", &config.prealloc, error, error_size) < 0 ||
        keyval_take_bool(list, "dump", &config.dump, error, error_size) < 0 ||
        keyval_take_bool(list, "merge", &merge, error, error_size) < 0 ||
        keyval_take_number(list, "prealloc-threads", &ignored, error, error_size) < 0) {
        return -EINVAL;
    }
    if (file ? keyval_take_bool(list, "readonly", &config.readonly, error, error_size) < 0 ||
                   keyval_take_size(list, "offset", 1, &config.offset, error, error_size) < 0 ||
                   keyval_take_bool(list, "discard-data", &discard, error, error_size) < 0
             : keyval_take_bool(list, "hugetlb", &config.huge, error, error_size) < 0 ||
                   keyval_take_bool(list, "seal", &seal, error, error_size) < 0) {
        return -EINVAL;
    }
    if (config.size == 0 || (file && !config.path)) {
        snprintf(error, error_size, "-object %s,id=%s: %s=: has to be given", type, object->id,
                 config.size ? "mem-path" : "size");
        return -EINVAL;
    }
    return mem_ram_create(&object->memory, &config, error, error_size);
}

/* All sources of random numbers are the host's; devices check nothing but the name. */
static int create_rng(struct object *object, struct keyval *list, const char *type, char *error,
                      size_t error_size)
{
    static const char *const files[] = {"/dev/urandom", "/dev/random", "/dev/hwrng", NULL};
    int ignored;

    return strcmp(type, "rng-random") == 0 &&
                   keyval_take_enum(list, "filename", files, &ignored, error, error_size) < 0
               ? -EINVAL
               : 0;
}

/* Passwords are kept by the block layer, which is who asks for them. */
static int create_secret(struct object *object, struct keyval *list, const char *type, char *error,
                         size_t error_size)
{
    char *rest = keyval_to_text(list), *text = NULL;
    int err = -ENOMEM;

    if (rest && asprintf(&text, "id=%s%s%s", object->id, *rest ? "," : "", rest) >= 0) {
        err = secret_add(text, error, error_size);
        free(text);
    } else {
        snprintf(error, error_size, "-object secret: out of memory");
    }
    free(rest);
    for (unsigned i = 0; i < list->count; i++) {
        list->pairs[i].taken = true;
    }
    return err;
}

/* How long it polls is a matter of its own making. */
static int create_iothread(struct object *object, struct keyval *list, const char *type,
                           char *error, size_t error_size)
{
    static const char *const numbers[] = {"poll-max-ns",   "poll-grow",       "poll-shrink",
                                          "aio-max-batch", "thread-pool-min", "thread-pool-max"};
    uint64_t ignored;

    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (keyval_take_number(list, numbers[i], &ignored, error, error_size) < 0) {
            return -EINVAL;
        }
    }
    return loop_thread_create(&object->thread, object->id, error, error_size);
}

static const struct object_type types[] = {
    {"iothread", "a thread for disks", create_iothread},
    {"secret", "a password, for disks that are encrypted", create_secret},
    {"rng-random", "random numbers of the host's device", create_rng},
    {"rng-builtin", "random numbers of the host", create_rng},
    {"memory-backend-ram", "anonymous memory", create_memory},
    {"memory-backend-memfd", "memory that other processes can be given", create_memory},
    {"memory-backend-file", "memory that is a file's", create_memory},
};

static const struct object_type *find_type(const char *name)
{
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

static void print_types(void)
{
    puts("List of user creatable objects:");
    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        printf("  %-24s %s\n", types[i].name, types[i].help);
    }
}

static struct object *find(const char *id)
{
    struct object *object = first;

    while (object && strcmp(object->id, id) != 0) {
        object = object->next;
    }
    return object;
}

static void free_object(struct object *object)
{
    if (object->memory) {
        mem_ram_unref(object->memory);
    }
    if (object->thread) {
        (void)loop_thread_destroy(object->thread, block_loop_gone);
    }
    free(object->id);
    free(object);
}

static int create(struct keyval *list, char *error, size_t error_size)
{
    const char *name = keyval_take(list, "qom-type"), *id = keyval_take(list, "id");
    const struct object_type *type = name ? find_type(name) : NULL;
    struct object *object;
    int err;

    if (!type) {
        snprintf(error, error_size, "-object %s: no such object (-object help lists them)",
                 name ? name : "");
        return -EINVAL;
    }
    if (!id || find(id)) {
        snprintf(error, error_size, "-object %s: id=%s: %s", name, id ? id : "",
                 id ? "there is such an object already" : "has to be given");
        return -EINVAL;
    }
    object = calloc(1, sizeof(*object));
    if (!object || !(object->id = strdup(id))) {
        free(object);
        snprintf(error, error_size, "-object %s: out of memory", name);
        return -ENOMEM;
    }
    err = type->create(object, list, name, error, error_size);
    if (!err) {
        err = keyval_finish(list, error, error_size);
    }
    if (err) {
        free_object(object);
        return err;
    }
    object->next = first;
    first = object;
    return 0;
}

int objects_create(const struct system_options *options, char *error, size_t error_size)
{
    int err = 0;

    for (unsigned i = 0; i < options->objects.count && !err; i++) {
        struct keyval list;

        if (options_is_help(options->objects.text[i])) {
            print_types();
            exit(0);
        }
        err =
            keyval_parse(&list, "-object", options->objects.text[i], "qom-type", error, error_size);
        if (!err) {
            err = create(&list, error, error_size);
            keyval_free(&list);
        }
    }
    return err;
}

struct mem_ram *objects_memory(const char *id)
{
    struct object *object = find(id);

    return object ? object->memory : NULL;
}

void objects_destroy(void)
{
    while (first) {
        struct object *next = first->next;

        free_object(first);
        first = next;
    }
}
