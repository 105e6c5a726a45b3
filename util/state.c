/*
 * Walking state tables. Writing leaves room for a length and fills it in; reading works on a range
 * of bytes from which every item is cut off before it is looked into, so no length in a stream can
 * reach beyond what contains it.
 */
#include "util/state.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS_MAX 256 /* of one table */

__attribute__((format(printf, 4, 5))) static int fail(int err, char *error, size_t size,
                                                      const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(error, size, fmt, ap);
    va_end(ap);
    return err;
}

/* Bytes of an element in the stream; 0 for structs. */
static unsigned element_bytes(enum state_type type)
{
    switch (type) {
    case STATE_U16:
        return 2;
    case STATE_U32:
        return 4;
    case STATE_U64:
        return 8;
    case STATE_STRUCT:
    case STATE_NONE:
        return 0;
    default:
        return 1;
    }
}

static uint32_t used_count(const struct state_field *f, const void *object)
{
    return f->varies ? *(const uint32_t *)((const char *)object + f->count_offset) : f->count;
}

/* ---- saving ---------------------------------------------------------------------------------- */

void state_buffer_free(struct state_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct state_buffer){0};
}

static int put(struct state_buffer *b, const void *bytes, size_t n)
{
    if (n > b->room - b->size) {
        size_t room = b->room ? b->room * 2 : 1024;

        while (room - b->size < n) {
            room *= 2;
        }
        uint8_t *data = realloc(b->data, room);

        if (!data) {
            return -ENOMEM;
        }
        b->data = data;
        b->room = room;
    }
    if (n) {
        memcpy(b->data + b->size, bytes, n);
    }
    b->size += n;
    return 0;
}

/* Tag and name. */
static int put_head(struct state_buffer *b, char tag, const char *name)
{
    size_t n = strlen(name);
    uint8_t head[2] = {(uint8_t)tag, (uint8_t)n};

    assert(n <= 255);
    int err = put(b, head, 2);

    return err ? err : put(b, name, n);
}

static int put_u32(struct state_buffer *b, uint32_t value)
{
    return put(b, &value, sizeof(value)); /* the host is little-endian */
}

static void patch_length(struct state_buffer *b, size_t at)
{
    uint32_t length = (uint32_t)(b->size - at - 4);

    memcpy(b->data + at, &length, sizeof(length));
}

static int save_table(const struct state_table *table, void *object, struct state_buffer *b,
                      char *error, size_t error_size);

static int save_content(const struct state_field *f, const void *object, uint32_t count,
                        struct state_buffer *b, char *error, size_t error_size)
{
    char *at = (char *)object + f->offset;
    int err = 0;

    if (f->type == STATE_BLOB) {
        return put(b, *(uint8_t **)at, count);
    }
    for (uint32_t i = 0; i < count && !err; i++, at += f->size) {
        if (f->type == STATE_STRUCT) {
            err = save_table(f->table, at, b, error, error_size);
        } else {
            err = put(b, at, element_bytes(f->type));
        }
    }
    return err;
}

static int save_field(const struct state_table *table, const struct state_field *f,
                      const void *object, struct state_buffer *b, char *error, size_t error_size)
{
    uint32_t count = used_count(f, object);
    uint8_t type = (uint8_t)f->type;

    assert(f->type == STATE_STRUCT || f->size == element_bytes(f->type));
    if (count > f->count) {
        return fail(-EOVERFLOW, error, error_size,
                    "state '%s': field '%s': %u elements, at most %u", table->name, f->name, count,
                    f->count);
    }
    int err = put_head(b, 'F', f->name);

    err = err ? err : put(b, &type, 1);
    size_t at = b->size;

    err = err ? err : put_u32(b, 0);
    err = err ? err : save_content(f, object, count, b, error, error_size);
    if (!err) {
        patch_length(b, at);
    }
    return err;
}

static int save_table(const struct state_table *table, void *object, struct state_buffer *b,
                      char *error, size_t error_size)
{
    int err = table->pre_save ? table->pre_save(object) : 0;

    if (err) {
        return fail(err, error, error_size, "state '%s': cannot be saved: %s", table->name,
                    strerror(-err));
    }
    err = put_head(b, 'T', table->name);
    err = err ? err : put_u32(b, table->version);
    size_t at = b->size;

    err = err ? err : put_u32(b, 0);
    for (const struct state_field *f = table->fields; f && f->name && !err; f++) {
        err = save_field(table, f, object, b, error, error_size);
    }
    for (const struct state_table *const *p = table->parts; p && *p && !err; p++) {
        if (!(*p)->needed || (*p)->needed(object)) {
            err = save_table(*p, object, b, error, error_size);
        }
    }
    if (!err) {
        patch_length(b, at);
    }
    return err;
}

int state_save(const struct state_table *table, void *object, struct state_buffer *buffer,
               char *error, size_t error_size)
{
    size_t before = buffer->size;
    int err;

    fail(0, error, error_size, "state '%s': no memory", table->name);
    err = save_table(table, object, buffer, error, error_size);
    if (err) {
        buffer->size = before;
    } else if (error_size) {
        error[0] = 0;
    }
    return err;
}

/* ---- loading --------------------------------------------------------------------------------- */

/* Bytes that are left to read. */
struct range {
    const uint8_t *data;
    size_t size;
};

static bool take(struct range *r, void *to, size_t n)
{
    if (n > r->size) {
        return false;
    }
    memcpy(to, r->data, n);
    r->data += n;
    r->size -= n;
    return true;
}

struct item {
    char tag;
    char name[256];
    uint8_t type;     /* of a field */
    uint32_t version; /* of a table */
    struct range content;
};

/* Cuts one item off; false when it is malformed. */
static bool take_item(struct range *r, struct item *item)
{
    uint8_t length;
    uint32_t n;

    if (!take(r, &item->tag, 1) || !take(r, &length, 1) || !take(r, item->name, length)) {
        return false;
    }
    item->name[length] = 0;
    if (item->tag == 'T' ? !take(r, &item->version, 4)
                         : item->tag != 'F' || !take(r, &item->type, 1)) {
        return false;
    }
    if (!take(r, &n, 4) || n > r->size) {
        return false;
    }
    item->content = (struct range){r->data, n};
    r->data += n;
    r->size -= n;
    return true;
}

static int load_table(const struct state_table *table, void *object, const struct item *item,
                      char *error, size_t error_size);

static int load_structs(const struct state_table *table, const struct state_field *f, char *at,
                        struct range content, uint32_t *count, char *error, size_t error_size)
{
    for (*count = 0; content.size; (*count)++) {
        struct item item;

        if (*count == f->count) {
            return fail(-EINVAL, error, error_size, "state '%s': field '%s': more than %u elements",
                        table->name, f->name, f->count);
        }
        if (!take_item(&content, &item) || item.tag != 'T' ||
            strcmp(item.name, f->table->name) != 0) {
            return fail(-EINVAL, error, error_size, "state '%s': field '%s': expected a '%s'",
                        table->name, f->name, f->table->name);
        }
        int err = load_table(f->table, at + (size_t)*count * f->size, &item, error, error_size);

        if (err) {
            return err;
        }
    }
    return 0;
}

static int load_field(const struct state_table *table, const struct state_field *f, void *object,
                      const struct item *item, char *error, size_t error_size)
{
    char *at = (char *)object + f->offset;
    unsigned bytes = element_bytes(f->type);
    struct range content = item->content;
    uint32_t count = 0;

    if (item->type != f->type) {
        return fail(-EINVAL, error, error_size, "state '%s': field '%s': type %u, expected %u",
                    table->name, f->name, item->type, f->type);
    }
    if (f->type == STATE_STRUCT) {
        int err = load_structs(table, f, at, content, &count, error, error_size);

        if (err) {
            return err;
        }
    } else {
        count = (uint32_t)(content.size / bytes);
        if (content.size % bytes || count > f->count || (!f->varies && count != f->count)) {
            return fail(-EINVAL, error, error_size,
                        "state '%s': field '%s': %zu bytes, expected %s%u", table->name, f->name,
                        content.size, f->varies ? "at most " : "", f->count * bytes);
        }
    }
    if (!f->varies && count != f->count) {
        return fail(-EINVAL, error, error_size, "state '%s': field '%s': %u elements, expected %u",
                    table->name, f->name, count, f->count);
    }
    if (f->type == STATE_BLOB) {
        uint8_t *blob = count ? malloc(count) : NULL;

        if (count && !blob) {
            return fail(-ENOMEM, error, error_size, "state '%s': field '%s': no memory",
                        table->name, f->name);
        }
        free(*(uint8_t **)at);
        *(uint8_t **)at = blob;
        at = (char *)blob;
    }
    for (uint32_t i = 0; f->type == STATE_BOOL && i < count; i++) {
        if (content.data[i] > 1) {
            return fail(-EINVAL, error, error_size, "state '%s': field '%s': %u is no bool",
                        table->name, f->name, content.data[i]);
        }
    }
    if (f->type != STATE_STRUCT && count) {
        memcpy(at, content.data, content.size);
    }
    if (f->varies) {
        *(uint32_t *)((char *)object + f->count_offset) = count;
    }
    return 0;
}

static int load_item(const struct state_table *table, void *object, const struct item *item,
                     bool *seen, char *error, size_t error_size)
{
    unsigned n = 0;

    if (item->tag == 'T') {
        for (const struct state_table *const *p = table->parts; p && *p; p++) {
            if (strcmp((*p)->name, item->name) == 0) {
                return load_table(*p, object, item, error, error_size);
            }
        }
        return fail(-EINVAL, error, error_size, "state '%s': unknown part '%s'", table->name,
                    item->name);
    }
    for (const struct state_field *f = table->fields; f && f->name; f++, n++) {
        if (strcmp(f->name, item->name) == 0) {
            if (seen[n]) {
                return fail(-EINVAL, error, error_size, "state '%s': field '%s': is there twice",
                            table->name, f->name);
            }
            seen[n] = true;
            return load_field(table, f, object, item, error, error_size);
        }
    }
    return fail(-EINVAL, error, error_size, "state '%s': unknown field '%s'", table->name,
                item->name);
}

static int load_table(const struct state_table *table, void *object, const struct item *item,
                      char *error, size_t error_size)
{
    struct range r = item->content;
    bool seen[FIELDS_MAX] = {false};
    unsigned n = 0;

    if (item->version > table->version || item->version < table->min_version) {
        return fail(-EINVAL, error, error_size, "state '%s': version %u, expected %u to %u",
                    table->name, item->version, table->min_version, table->version);
    }
    while (r.size) {
        struct item inner;

        if (!take_item(&r, &inner)) {
            return fail(-EINVAL, error, error_size, "state '%s': malformed", table->name);
        }
        int err = load_item(table, object, &inner, seen, error, error_size);

        if (err) {
            return err;
        }
    }
    for (const struct state_field *f = table->fields; f && f->name; f++, n++) {
        assert(n < FIELDS_MAX);
        if (!seen[n] && f->since <= item->version) {
            return fail(-EINVAL, error, error_size, "state '%s': field '%s': is missing",
                        table->name, f->name);
        }
    }
    int err = table->post_load ? table->post_load(object, item->version) : 0;

    return err ? fail(err, error, error_size, "state '%s': refused: %s", table->name,
                      strerror(-err))
               : 0;
}

int state_load(const struct state_table *table, void *object, const uint8_t *data, size_t size,
               size_t *used, char *error, size_t error_size)
{
    struct range r = {data, size};
    struct item item;

    if (!take_item(&r, &item) || item.tag != 'T') {
        return fail(-EINVAL, error, error_size, "state '%s': malformed", table->name);
    }
    if (strcmp(item.name, table->name) != 0) {
        return fail(-EINVAL, error, error_size, "state '%s': found '%s' instead", table->name,
                    item.name);
    }
    if (used) {
        *used = size - r.size;
    }
    return load_table(table, object, &item, error, error_size);
}
