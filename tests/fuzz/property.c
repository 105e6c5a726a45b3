/* Options and properties as text: the parser of lists, and that what it prints it reads again. */
#include "util/property.h"

#include "tests/fuzz/fuzz.h"

#include <assert.h>
#include <stdlib.h>

struct object {
    bool flag;
    uint8_t small;
    uint64_t large, bytes;
    int32_t below;
    char *text;
    int kind;
    uint8_t mac[6];
};

static const char *const kinds[] = {"none", "one", "two", NULL};
static const struct property properties[] = {
    PROPERTY(BOOL, "flag", struct object, flag),
    PROPERTY(U8, "small", struct object, small, .max = 100),
    PROPERTY(U64, "large", struct object, large),
    PROPERTY(SIZE, "bytes", struct object, bytes, .min = 512),
    PROPERTY(I32, "below", struct object, below, .low = -5, .high = 5),
    PROPERTY(STRING, "text", struct object, text),
    PROPERTY(ENUM, "kind", struct object, kind, .names = kinds),
    PROPERTY(MAC, "mac", struct object, mac),
    PROPERTY_END,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct object object = {0};
    char error[256] = "", text[4096];
    char *list = malloc(size + 1);
    int err;

    if (!list) {
        return 0;
    }
    if (size) {
        memcpy(list, data, size);
    }
    list[size] = '\0';
    err = property_set_defaults(properties, &object);
    assert(!err);
    err = property_set_list(properties, &object, "fuzz", list, NULL, NULL, error, sizeof(error));
    assert(!err || *error);
    assert(object.small <= 100 && object.below >= -5 && object.below <= 5);
    assert(object.kind >= 0 && object.kind < 3);
    for (const struct property *p = properties; p->name; p++) {
        err = property_get(properties, &object, p->name, text, sizeof(text));
        if (!err && p->type != PROPERTY_STRING && (p->type != PROPERTY_SIZE || object.bytes)) {
            err = property_set(properties, &object, "fuzz", p->name, text, error, sizeof(error));
            assert(!err);
        }
    }
    property_clear(properties, &object);
    free(list);
    return 0;
}
