/* What all guests share, of 32 and of 64 bits: a console, checks, and the command line. */
#include "tests/kvm/common.h"
#include <stdarg.h>

#define COM1 0x3f8

const char *command_line = "";
uint32_t count;
static unsigned checks, wrong;
static char line[2048];
static bool held;
static unsigned line_length;

/* ---- output -------------------------------------------------------------------------------- */

/* As many bytes as the transmitter's queue holds, each time that it is empty. */
void flush(void)
{
    const char *text = line;
    unsigned left = line_length;

    while (left) {
        size_t n = left < 16 ? left : 16;

        left -= n;
        while (!(inb(COM1 + 5) & 0x20)) {
        }
        __asm__ volatile("rep outsb" : "+S"(text), "+c"(n) : "d"(COM1) : "memory");
    }
    line_length = 0;
}

void hold(bool on)
{
    held = on;
    if (!on) {
        flush();
    }
}

static void put(char c)
{
    line[line_length++] = c;
    if ((c == '\n' && !held) || line_length == sizeof(line)) {
        flush();
    }
}

/* Without division of 64 bits, for which there is no function here: a decimal number has 32. */
static void put_number(uint64_t value, bool decimal)
{
    char text[20];
    int n = 0;

    do {
        text[n++] = "0123456789abcdef"[decimal ? (uint32_t)value % 10 : value & 15];
        value = decimal ? (uint32_t)value / 10 : value >> 4;
    } while (value);
    while (n) {
        put(text[--n]);
    }
}

void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format; format++) {
        bool wide = false;

        if (*format != '%') {
            put(*format);
            continue;
        }
        while (*++format == 'l') {
            wide |= sizeof(long) == 8 || format[1] == 'l';
        }
        if (*format == 's') {
            for (const char *s = va_arg(args, const char *); *s; s++) {
                put(*s);
            }
        } else if (*format == '%') {
            put('%');
        } else {
            put_number(wide ? va_arg(args, unsigned long long) : va_arg(args, unsigned),
                       *format == 'd');
        }
    }
    va_end(args);
}

void count_check(bool good)
{
    checks++;
    wrong += !good;
}

void check(const char *what, bool good)
{
    count_check(good);
    say("%s: %s\n", what, good ? "yes" : "NO");
}

void expect(const char *what, uint64_t got, uint64_t want)
{
    count_check(got == want);
    if (got == want) {
        say("%s: %llx\n", what, (unsigned long long)got);
    } else {
        say("%s: %llx, NOT %llx\n", what, (unsigned long long)got, (unsigned long long)want);
    }
}

/* ---- command line -------------------------------------------------------------------------- */

static const char *find_key(const char *key)
{
    for (const char *s = command_line; *s; s++) {
        unsigned n = 0;

        if (s == command_line || s[-1] == ' ') {
            while (key[n] && s[n] == key[n]) {
                n++;
            }
            if (!key[n] && s[n] == '=') {
                return s + n + 1;
            }
        }
    }
    return NULL;
}

uint64_t argument(const char *key, uint64_t without)
{
    const char *s = find_key(key);
    uint64_t value = 0;

    if (!s) {
        return without;
    }
    for (; *s >= '0' && *s <= '9'; s++) {
        value = value * 10 + (*s - '0');
    }
    return value;
}

static bool listed(const char *list, const char *name)
{
    while (list && *list && *list != ' ') {
        unsigned n = 0;

        while (name[n] && list[n] == name[n]) {
            n++;
        }
        if (!name[n] && (!list[n] || list[n] == ',' || list[n] == ' ')) {
            return true;
        }
        while (*list && *list != ',' && *list != ' ') {
            list++;
        }
        list += *list == ',';
    }
    return false;
}

/* ---- the whole ----------------------------------------------------------------------------- */

unsigned guest_main(void);

unsigned guest_main(void)
{
    const char *only, *skip;

    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    outb(COM1 + 2, 7);
    if (start_info && start_info->magic == START_INFO_MAGIC && start_info->command_line) {
        command_line = (const char *)(uintptr_t)start_info->command_line;
    }
    only = find_key("only");
    skip = find_key("skip");
    count = argument("count", 5000);
    for (const struct part *part = parts; part->name; part++) {
        if (listed(skip, part->name)) {
            say("== %s: not here\n", part->name);
        } else if (!only || listed(only, part->name)) {
            say("== %s\n", part->name);
            part->run();
        }
    }
    say("%d checks, %d wrong\n", checks, wrong);
    return wrong > 0;
}
