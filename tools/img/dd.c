/* dd: copies a part of an image, with the operands of dd. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/block/create.h"
#include "tools/img/copy.h"

enum { BUFFER = 2 << 20, UNIT = 4096 };

struct values {
    struct img_source source;
    const char *target_format;
};

#define AT(field) offsetof(struct values, field)
static const struct img_option options[] = {
    {'f', "format", IMG_TEXT, AT(source.format), "FORMAT", 0},
    {'O', "target-format", IMG_TEXT, AT(target_format), "FORMAT", 0},
    {'U', "force-share", IMG_FLAG, AT(source.share), NULL, 0},
    {0, "image-opts", IMG_FLAG, AT(source.image_opts), NULL, 0},
    {0, "object", IMG_OBJECT, 0, "OBJECT", 0},
    {0},
};

struct operands {
    const char *in, *out;
    uint64_t block, count, skip;
    bool has_count;
};

static int parse_operand(struct operands *o, char *text)
{
    char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : "";
    size_t size = equals ? (size_t)(equals - text) : 0;
    uint64_t *number = NULL;

    if (size == 2 && strncmp(text, "if", 2) == 0) {
        o->in = value;
        return 0;
    }
    if (size == 2 && strncmp(text, "of", 2) == 0) {
        o->out = value;
        return 0;
    }
    if (size == 2 && strncmp(text, "bs", 2) == 0) {
        number = &o->block;
    } else if (size == 5 && strncmp(text, "count", 5) == 0) {
        number = &o->count;
        o->has_count = true;
    } else if (size == 4 && strncmp(text, "skip", 4) == 0) {
        number = &o->skip;
    } else {
        return img_fail("unrecognized operand '%s'; expected if=, of=, bs=, count= or skip=", text);
    }
    if (img_parse_size(value, number) ||
        (number == &o->block && (!o->block || o->block > INT32_MAX))) {
        return img_fail("invalid number: '%s'", value);
    }
    return 0;
}

/* [*start, *end) of the input. */
static void range(const struct operands *o, uint64_t size, uint64_t *start, uint64_t *end)
{
    uint64_t bytes;

    *start = o->skip > size / o->block ? size : o->skip * o->block;
    *end = size;
    if (o->has_count) {
        bytes = o->count > size / o->block ? size : o->count * o->block;
        *end = bytes < size - *start ? *start + bytes : size;
    }
}

/* Copies to the beginning of an empty image. */
static int copy(struct block_node *in, struct block_node *out, uint64_t start, uint64_t end)
{
    uint8_t *buffer = malloc(BUFFER);
    uint64_t size;
    int err = buffer ? 0 : -ENOMEM;

    for (uint64_t at = start; at < end && !err; at += size) {
        struct block_status status;

        size = end - at;
        err = block_status_above(in, NULL, at, size, &status);
        if (err) {
            break;
        }
        size = status.size < size ? status.size : size;
        if (status.flags & BLOCK_STATUS_ZERO) {
            continue;
        }
        size = size < BUFFER ? size : BUFFER;
        err = block_pread(in, at, buffer, (size_t)size);
        for (uint64_t i = 0; i < size && !err; i += UNIT) {
            size_t n = size - i < UNIT ? (size_t)(size - i) : UNIT;

            if (!img_is_zero(buffer + i, n)) {
                err = block_pwrite(out, at - start + i, buffer + i, n, 0);
            }
        }
        err = img_interrupted() && !err ? -EINTR : err;
    }
    free(buffer);
    return err ? err : block_flush(out);
}

static int dd(const struct values *v, const struct operands *o, struct block_node *in)
{
    const char *format = v->target_format ? v->target_format : "raw";
    struct img_source target = {.format = format, .cache = "unsafe"};
    struct block_create_request r = {.filename = o->out, .format = format, .has_size = true};
    struct block_node *out;
    uint64_t start, end;
    char error[1024];
    int err;

    range(o, block_size(in), &start, &end);
    r.size = end - start;
    if (block_create_image(&r, error, sizeof(error))) {
        return img_fail("%s: error while creating output image of type '%s': %s", o->out, format,
                        error);
    }
    if (img_open(&out, o->out, &target, IMG_WRITE)) {
        return 1;
    }
    img_catch_interrupts();
    err = copy(in, out, start, end);
    block_unref(out);
    if (err == -EINTR) {
        img_fail("interrupted: '%s' is incomplete", o->out);
        return 128 + img_interrupted();
    }
    return err ? img_fail("%s: %s", o->out, strerror(-err)) : 0;
}

static int run(void *opaque, int count, char **texts)
{
    const struct values *v = opaque;
    struct operands o = {.block = 512};
    struct block_node *in;
    int status;

    for (int i = 0; i < count; i++) {
        if (parse_operand(&o, texts[i])) {
            return 1;
        }
    }
    if (!o.in || !o.out) {
        return img_fail("Must specify both input and output file names (if=, of=)");
    }
    if (img_open(&in, o.in, &v->source, 0)) {
        return 1;
    }
    status = dd(v, &o, in);
    block_unref(in);
    return status;
}

const struct img_command img_dd = {
    .name = "dd",
    .operands = "[bs=SIZE] [count=BLOCKS] [skip=BLOCKS] if=FILE of=FILE",
    .summary = "copies a part of an image",
    .options = options,
    .values_size = sizeof(struct values),
    .min_operands = 0,
    .max_operands = -1,
    .run = run,
};
