/* Sizes as people write and read them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/img/img.h"

static const char suffixes[] = "BKMGTPE";

int img_parse_size(const char *text, uint64_t *size)
{
    uint64_t whole = 0;
    double fraction = 0, unit = 0.1;
    unsigned shift = 0;
    const char *p = text, *found;

    if (!(*p >= '0' && *p <= '9')) {
        return -EINVAL;
    }
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(*p - '0'), &whole)) {
            return -ERANGE;
        }
    }
    if (*p == '.') {
        for (p++; *p >= '0' && *p <= '9'; p++, unit /= 10) {
            fraction += unit * (*p - '0');
        }
    }
    if (*p) {
        found = strchr(suffixes, *p == 'k' ? 'K' : *p == 'b' ? 'B' : *p);
        if (!found || !*found || p[1]) {
            return -EINVAL;
        }
        shift = 10 * (unsigned)(found - suffixes);
    }
    if (shift && whole >> (64 - shift)) {
        return -ERANGE;
    }
    *size = (whole << shift) + (uint64_t)(fraction * (double)(UINT64_C(1) << shift));
    return *size > INT64_MAX ? -ERANGE : 0;
}

const char *img_size_text(uint64_t size, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    int exponent, unit;

    /* three digits, and up to 999 of a unit */
    frexp((double)size / (1000.0 / 1024.0), &exponent);
    unit = exponent > 0 ? (exponent - 1) / 10 : 0;
    snprintf(text, 32, "%0.3g %s", (double)size / (double)(UINT64_C(1) << (unit * 10)),
             units[unit]);
    return text;
}
