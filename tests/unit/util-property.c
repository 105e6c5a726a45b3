/* util/property: values from text and back, and the exact messages. */
#include "util/property.h"

#include "tests/unit/tap.h"

#include <errno.h>

struct thing {
    bool flag;
    uint8_t small;
    uint32_t queues;
    uint64_t wide, size;
    int32_t offset;
    char *path;
    int mode;
    uint8_t mac[6];
};

static const char *const modes[] = {"ignore", "unmap", NULL};

static const struct property table[] = {
    PROPERTY(BOOL, "flag", struct thing, flag, .number = 1),
    PROPERTY(U8, "small", struct thing, small),
    PROPERTY(U32, "queues", struct thing, queues, .number = 2, .min = 1, .max = 64),
    PROPERTY(U64, "wide", struct thing, wide),
    PROPERTY(SIZE, "size", struct thing, size, .number = 4096, .min = 512, .max = 1 << 30),
    PROPERTY(I32, "offset", struct thing, offset, .number = -1),
    PROPERTY(STRING, "path", struct thing, path, .text = "none"),
    PROPERTY(ENUM, "mode", struct thing, mode, .names = modes),
    PROPERTY(MAC, "mac", struct thing, mac, .text = "52:54:00:12:34:56"),
    PROPERTY_END,
};

struct row {
    const char *name, *value;
    int err;
    const char *result; /* what it reads as, or the message */
};

static const struct row rows[] = {
    {"flag", "off", 0, "off"},
    {"flag", "true", 0, "on"},
    {"flag", "1", -EINVAL, "thing: flag=1: expected on or off"},
    {"small", "255", 0, "255"},
    {"small", "0x1f", 0, "31"},
    {"small", "256", -ERANGE, "thing: small=256: expected a number from 0 to 255"},
    {"small", "", -EINVAL, "thing: small=: expected a number from 0 to 255"},
    {"small", "-1", -EINVAL, "thing: small=-1: expected a number from 0 to 255"},
    {"small", " 1", -EINVAL, "thing: small= 1: expected a number from 0 to 255"},
    {"small", "0x", -EINVAL, "thing: small=0x: expected a number from 0 to 255"},
    {"queues", "64", 0, "64"},
    {"queues", "0", -ERANGE, "thing: queues=0: expected a number from 1 to 64"},
    {"queues", "6x", -EINVAL, "thing: queues=6x: expected a number from 1 to 64"},
    {"wide", "18446744073709551615", 0, "18446744073709551615"},
    {"wide", "0xffffffffffffffff", 0, "18446744073709551615"},
    {"wide", "18446744073709551616", -EINVAL,
     "thing: wide=18446744073709551616: expected a number from 0 to 18446744073709551615"},
    {"size", "1M", 0, "1M"},
    {"size", "1.5k", 0, "1536"},
    {"size", "0.25G", 0, "256M"},
    {"size", "4096B", 0, "4K"},
    {"size", "2G", -ERANGE,
     "thing: size=2G: expected a size in bytes, or with a suffix as in 512M, from 512 to 1G"},
    {"size", "1.M", -EINVAL,
     "thing: size=1.M: expected a size in bytes, or with a suffix as in 512M, from 512 to 1G"},
    {"size", "1000.5", -EINVAL,
     "thing: size=1000.5: expected a size in bytes, or with a suffix as in 512M, from 512 to 1G"},
    {"size", "16E", -EINVAL,
     "thing: size=16E: expected a size in bytes, or with a suffix as in 512M, from 512 to 1G"},
    {"offset", "-2147483648", 0, "-2147483648"},
    {"offset", "2147483648", -ERANGE,
     "thing: offset=2147483648: expected a number from -2147483648 to 2147483647"},
    {"path", "a=b", 0, "a=b"},
    {"path", "", 0, ""},
    {"mode", "unmap", 0, "unmap"},
    {"mode", "Unmap", -EINVAL, "thing: mode=Unmap: expected one of ignore, unmap"},
    {"mac", "00:11:22:aA:bB:cc", 0, "00:11:22:aa:bb:cc"},
    {"mac", "00:11:22:33:44", -EINVAL,
     "thing: mac=00:11:22:33:44: expected an address as in 52:54:00:12:34:56"},
    {"mac", "00:11:22:33:44:55:66", -EINVAL,
     "thing: mac=00:11:22:33:44:55:66: expected an address as in 52:54:00:12:34:56"},
    {"nope", "1", -ENOENT,
     "thing: no property 'nope'; there are flag, small, queues, wide, size, offset, path, mode, "
     "mac"},
};

static char seen[64];

static bool skip_id(void *opaque, const char *name, const char *value)
{
    if (strcmp(name, "id") == 0) {
        snprintf(seen, sizeof(seen), "%s", value);
        return true;
    }
    return false;
}

int main(void)
{
    struct thing thing;
    char text[256], before[256], after[256];

    memset(&thing, 0xff, sizeof(thing));
    tap_eq(property_set_defaults(table, &thing), 0, "defaults");
    tap_ok(thing.flag && !thing.small && thing.queues == 2 && thing.size == 4096 &&
               thing.offset == -1 && !thing.mode && thing.mac[5] == 0x56,
           "are set");
    tap_str(thing.path, "none", "strings too");

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];

        text[0] = 0;
        before[0] = after[0] = 0;
        (void)property_get(table, &thing, r->name, before, sizeof(before));
        int err = property_set(table, &thing, "thing", r->name, r->value, text, sizeof(text));
        bool ok = err == r->err;

        if (!err) {
            ok &= property_get(table, &thing, r->name, text, sizeof(text)) == 0;
        } else {
            (void)property_get(table, &thing, r->name, after, sizeof(after));
            ok &= strcmp(before, after) == 0;
        }
        if (!tap_ok(ok && strcmp(text, r->result) == 0, "%s=%s", r->name, r->value)) {
            tap_note("%d '%s'", err, text);
        }
    }

    tap_eq(property_set_list(table, &thing, "thing", "id=x,flag=off,path=a,,b=c,,,queues=3,flag",
                             skip_id, NULL, text, sizeof(text)),
           0, "a list");
    tap_ok(thing.flag && thing.queues == 3, "sets what it names; a bare name is on");
    tap_str(thing.path, "a,b=c,", "two commas are one");
    tap_str(seen, "x", "other names are handed out");
    tap_ok(property_set_list(table, &thing, "thing", "noflag", NULL, NULL, text, sizeof(text)) ==
                   0 &&
               !thing.flag,
           "a bare name with no in front is off");
    tap_eq(property_set_list(table, &thing, "thing", "noqueues", NULL, NULL, text, sizeof(text)),
           -ENOENT, "of a switch only");
    tap_eq(property_set_list(table, &thing, "thing", "noflag=on", NULL, NULL, text, sizeof(text)),
           -ENOENT, "and without a value only");
    tap_eq(property_set_list(table, &thing, "thing", "queues=4,=3", NULL, NULL, text, sizeof(text)),
           -EINVAL, "a value without a name");
    tap_str(text, "thing: '=3': expected NAME=VALUE", "is named");
    tap_eq(property_get(table, &thing, "path", text, 3), -ENOSPC, "no room for a value");
    property_clear(table, &thing);
    tap_ok(!thing.path, "cleared");
    return tap_done();
}
