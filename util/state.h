/*
 * State tables: what of an object must survive a snapshot or a migration, as data.
 *
 *     static const struct state_field uart_fields[] = {
 *         STATE(U8, "ier", struct uart, ier),
 *         STATE_ARRAY(U8, "fifo", struct uart, fifo),
 *         STATE(BOOL, "thr_empty", struct uart, thr_empty, .since = 2),
 *         STATE_END,
 *     };
 *     const struct state_table uart_state = {.name = "uart", .version = 2, .fields = uart_fields};
 *
 * The stream names everything, so that a tool can show it without the tables, and a mismatch is an
 * error with a name instead of garbage. All numbers are little-endian:
 *
 *     table:  'T' u8 length of name, name, u32 version, u32 length of content, content
 *     field:  'F' u8 length of name, name, u8 element type, u32 length of content, content
 *
 * A table's content is its fields, then its parts, in any order. Content of a number is its
 * elements; of a struct, one table after the other without more.
 *
 * Loading is safe on any bytes. On error the object may be half loaded: whoever loads discards it.
 * No function keeps state; the object must not change meanwhile.
 */
#ifndef TINAMOU_UTIL_STATE_H
#define TINAMOU_UTIL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum state_type { /* numbers are part of the stream */
                  STATE_NONE = 0,
                  STATE_BOOL = 1,
                  STATE_U8 = 2,
                  STATE_U16 = 3,
                  STATE_U32 = 4,
                  STATE_U64 = 5,    /* signed numbers of the same width go as these */
                  STATE_STRUCT = 6, /* of the field's own table */
                  STATE_BLOB =
                      7, /* uint8_t * from malloc, its length in the uint32_t at count_offset */
};

struct state_table;

struct state_field {
    const char *name; /* at most 255 bytes, unique in the table */
    enum state_type type;
    uint32_t offset;
    uint32_t size;  /* of an element in memory */
    uint32_t count; /* elements; the most of them when it varies; bytes of a blob */
    /* With `varies`, a uint32_t at count_offset holds how many are in use; loading sets it. */
    bool varies;
    uint32_t count_offset;
    const struct state_table *table; /* of STATE_STRUCT */
    uint32_t since;                  /* version that has it first; 0: all */
};

struct state_table {
    const char *name;
    uint32_t version;     /* that is written */
    uint32_t min_version; /* the oldest that can be read */
    const struct state_field *fields;
    /* Parts are written only when needed(object) says so, so that a feature that is not in use does
     * not keep an older version from reading. Ends with NULL; may be NULL. */
    const struct state_table *const *parts;
    bool (*needed)(const void *object);
    /* Before saving, brings fields up to date; 0 or -errno. */
    int (*pre_save)(void *object);
    /* After loading, checks (a stream is not trusted) and derives the rest; 0 or -errno. Fields
     * newer than `version` have the value they had before. */
    int (*post_load)(void *object, uint32_t version);
};

#define STATE(type_, name_, struct_, field_, ...)                                              \
    {                                                                                          \
        .type = STATE_##type_, .name = (name_), .offset = (uint32_t)offsetof(struct_, field_), \
        .size = (uint32_t)sizeof(((struct_ *)0)->field_), .count = 1, __VA_ARGS__              \
    }
#define STATE_ARRAY(type_, name_, struct_, field_, ...)                                          \
    {                                                                                            \
        .type = STATE_##type_, .name = (name_), .offset = (uint32_t)offsetof(struct_, field_),   \
        .size = (uint32_t)sizeof(((struct_ *)0)->field_[0]),                                     \
        .count = (uint32_t)(sizeof(((struct_ *)0)->field_) / sizeof(((struct_ *)0)->field_[0])), \
        __VA_ARGS__                                                                              \
    }
/* The first used_ (a uint32_t field) elements of an array. */
#define STATE_USED(type_, name_, struct_, field_, used_, ...)  \
    STATE_ARRAY(type_, name_, struct_, field_, .varies = true, \
                .count_offset = (uint32_t)offsetof(struct_, used_), __VA_ARGS__)
#define STATE_BYTES(name_, struct_, field_, length_, max_)                                  \
    {                                                                                       \
        .type = STATE_BLOB, .name = (name_), .offset = (uint32_t)offsetof(struct_, field_), \
        .size = 1, .count = (max_), .varies = true,                                         \
        .count_offset = (uint32_t)offsetof(struct_, length_)                                \
    }
#define STATE_END    \
    {                \
        .name = NULL \
    }

/* A growing stream; zeroed is empty. */
struct state_buffer {
    uint8_t *data;
    size_t size, room;
};

void state_buffer_free(struct state_buffer *buffer);

/*
 * Appends the object's state. 0, -ENOMEM, -EOVERFLOW (a count above its limit: our own fault), or
 * what pre_save returned; error[] gets one line. The buffer keeps its former content on error.
 */
int state_save(const struct state_table *table, void *object, struct state_buffer *buffer,
               char *error, size_t error_size);

/*
 * Loads one table from the start of data[]; *used (may be NULL) is how long it was. 0, or -EINVAL
 * with one line naming table and field, -ENOMEM, or what post_load returned.
 */
int state_load(const struct state_table *table, void *object, const uint8_t *data, size_t size,
               size_t *used, char *error, size_t error_size);

#endif
