/* The command line and environment of a user-mode emulator; see the header. */
#include "linux-user/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "accel/tcg/tcg.h"
#include "build/config.h"
#include "linux-user/abi.h"
#include "linux-user/mm.h"
#include "util/error.h"
#include "util/log.h"

#define STACK_MIN (64 << 10)

struct state {
    struct options *options;
    size_t environment_count;
};

static void print_line(void *opaque, const char *text)
{
    puts(text);
}

/* A number with an optional k, M or G behind it. `name` is what messages call the option. */
static uint64_t parse_size(const char *name, const char *text, bool suffixes)
{
    uint64_t value, scale = 1;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 0);
    if (suffixes && end != text && *end != 0 && end[1] == 0) {
        switch (*end) {
        case 'k':
        case 'K':
            scale = 1 << 10;
            break;
        case 'm':
        case 'M':
            scale = 1 << 20;
            break;
        case 'g':
        case 'G':
            scale = 1 << 30;
            break;
        default:
            scale = 0;
        }
        end++;
    }
    if (errno != 0 || end == text || *end != 0 || *text == '-' || scale == 0 ||
        value > UINT64_MAX / scale) {
        error_fatal("%s %s: expected a number%s", name, text,
                    suffixes ? ", perhaps followed by k, M or G" : "");
    }
    return value * scale;
}

static void set_ld_prefix(struct state *s, const char *name, const char *value)
{
    s->options->ld_prefix = value;
}

static void set_argv0(struct state *s, const char *name, const char *value)
{
    s->options->argv0 = value;
}

static void set_uname(struct state *s, const char *name, const char *value)
{
    s->options->uname_release = value;
}

static void set_cpu(struct state *s, const char *name, const char *value)
{
    if (strcmp(value, "help") == 0 || strcmp(value, "?") == 0) {
        abi_target->list_models(print_line, NULL);
        exit(0);
    }
    s->options->cpu_model = value;
}

static void set_guest_base(struct state *s, const char *name, const char *value)
{
    s->options->guest_base = parse_size(name, value, false);
    if (s->options->guest_base % MM_PAGE_SIZE != 0 || s->options->guest_base >= MM_TASK_SIZE / 2) {
        error_fatal("%s %s: expected a multiple of 0x%x below 0x%llx", name, value, MM_PAGE_SIZE,
                    MM_TASK_SIZE / 2);
    }
}

static void set_reserved(struct state *s, const char *name, const char *value)
{
    s->options->reserved_va = parse_size(name, value, true);
    if (s->options->reserved_va % MM_PAGE_SIZE != 0 || s->options->reserved_va > MM_TASK_SIZE) {
        error_fatal("%s %s: expected a multiple of 0x%x up to 0x%llx", name, value, MM_PAGE_SIZE,
                    MM_TASK_SIZE);
    }
}

static void set_stack(struct state *s, const char *name, const char *value)
{
    uint64_t size = (parse_size(name, value, true) + MM_PAGE_SIZE - 1) & MM_PAGE_MASK;

    if (size < STACK_MIN || size > MM_TASK_SIZE / 4) {
        error_fatal("%s %s: expected at least %dk", name, value, STACK_MIN >> 10);
    }
    s->options->stack_size = size;
}

static void set_log(struct state *s, const char *name, const char *value)
{
    const char *bad;
    size_t length;

    if (strcmp(value, "help") == 0 || strcmp(value, "?") == 0) {
        log_print_items(1);
        exit(0);
    }
    if (log_parse_items(value, &s->options->log_mask, &bad, &length) < 0) {
        error_fatal("%s %s: unknown item '%.*s' (-d help lists them)", name, value, (int)length,
                    bad);
    }
    s->options->log_items = value;
}

static void set_log_file(struct state *s, const char *name, const char *value)
{
    s->options->log_file = value;
}

static void set_strace(struct state *s, const char *name, const char *value)
{
    s->options->strace = true;
}

static void set_one_insn(struct state *s, const char *name, const char *value)
{
    s->options->one_insn = true;
}

static void set_perfmap(struct state *s, const char *name, const char *value)
{
    s->options->perfmap = true;
}

static void set_jitdump(struct state *s, const char *name, const char *value)
{
    s->options->jitdump = true;
}

static void set_seed(struct state *s, const char *name, const char *value)
{
    uint64_t seed = parse_size(name, value, false);

    if (seed > UINT32_MAX) {
        error_fatal("%s %s: expected a number below 2^32", name, value);
    }
    s->options->seed = (uint32_t)seed;
    s->options->seeded = true;
}

/* In MiB, as QEMU takes it. Displacements of 32 bits reach no further than the upper limit. */
static void set_tb_size(struct state *s, const char *name, const char *value)
{
    uint64_t size = parse_size(name, value, false);

    if (size < 1 || size > 1024) {
        error_fatal("%s %s: expected a number of MiB from 1 to 1024", name, value);
    }
    s->options->tb_size = (uint32_t)size;
}

static void set_optimisations(struct state *s, const char *name, const char *value)
{
    char *joined;

    if (strcmp(value, "help") == 0 || strcmp(value, "?") == 0) {
        tcg_list_options(print_line, NULL);
        exit(0);
    }
    if (s->options->optimisations == NULL) {
        s->options->optimisations = value;
    } else if (asprintf(&joined, "%s,%s", s->options->optimisations, value) > 0) {
        s->options->optimisations = joined;
    }
}

static void set_jit(struct state *s, const char *name, const char *value)
{
    if (strcmp(value, "host") != 0 && strcmp(value, "interp") != 0) {
        error_fatal("%s %s: expected 'host' or 'interp'", name, value);
    }
    s->options->jit = value;
}

static void set_explain(struct state *s, const char *name, const char *value)
{
    s->options->explain = value;
}

/* Host pages are 4 KiB, and so are the guest's; other sizes can't be had. */
static void set_page_size(struct state *s, const char *name, const char *value)
{
    if (parse_size(name, value, true) != MM_PAGE_SIZE) {
        error_fatal("%s %s: pages have %u bytes", name, value, MM_PAGE_SIZE);
    }
}

static size_t find_variable(struct state *s, const char *name, size_t length)
{
    size_t i = 0;

    for (; i < s->environment_count; i++) {
        const char *entry = s->options->environment[i];
        if (strncmp(entry, name, length) == 0 && entry[length] == '=') {
            break;
        }
    }
    return i;
}

static void remove_variable(struct state *s, const char *name, size_t length)
{
    size_t i;

    while ((i = find_variable(s, name, length)) < s->environment_count) {
        /* With the NULL at the end. */
        memmove(&s->options->environment[i], &s->options->environment[i + 1],
                (s->environment_count - i) * sizeof(char *));
        s->environment_count--;
    }
}

/* Calls change() for each item of a comma-separated list. */
static void each_item(struct state *s, const char *name, const char *list,
                      void (*change)(struct state *s, const char *name, char *item))
{
    char *copy = strdup(list), *rest = NULL;

    if (copy == NULL) {
        error_fatal("out of memory");
    }
    /* The items live on in the guest's environment: the copy is kept. */
    for (char *item = strtok_r(copy, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest)) {
        change(s, name, item);
    }
}

static void add_variable(struct state *s, const char *name, char *item)
{
    const char *equals = strchr(item, '=');
    char **grown;

    if (equals == NULL || equals == item) {
        error_fatal("%s %s: expected VARIABLE=VALUE", name, item);
    }
    remove_variable(s, item, (size_t)(equals - item));
    grown = realloc(s->options->environment, (s->environment_count + 2) * sizeof(char *));
    if (grown == NULL) {
        error_fatal("out of memory");
    }
    s->options->environment = grown;
    grown[s->environment_count++] = item;
    grown[s->environment_count] = NULL;
}

static void drop_variable(struct state *s, const char *name, char *item)
{
    if (strchr(item, '=') != NULL) {
        error_fatal("%s %s: expected the name of a variable", name, item);
    }
    remove_variable(s, item, strlen(item));
}

static void set_variables(struct state *s, const char *name, const char *value)
{
    each_item(s, name, value, add_variable);
}

static void unset_variables(struct state *s, const char *name, const char *value)
{
    each_item(s, name, value, drop_variable);
}

static void print_help(struct state *s, const char *name, const char *value);

static void print_version(struct state *s, const char *name, const char *value)
{
    printf("tinamou-%s version %s\n", abi_target->name, CONFIG_VERSION);
    exit(0);
}

struct row {
    const char *name;     /* without the dash */
    const char *argument; /* NULL: takes none */
    const char *variable; /* without TINAMOU_; NULL: none */
    void (*set)(struct state *s, const char *name, const char *value);
    const char *help; /* NULL: another name for the row before */
};

static const struct row rows[] = {
    {"h", NULL, NULL, print_help, "print this help"},
    {"help", NULL, NULL, print_help, NULL},
    {"version", NULL, "VERSION", print_version, "print the version"},
    {"L", "path", "LD_PREFIX", set_ld_prefix, "the guest's root folder: libraries are found there"},
    {"E", "var=value,...", "SET_ENV", set_variables, "set variables of the guest's environment"},
    {"U", "var,...", "UNSET_ENV", unset_variables, "remove variables from it"},
    {"0", "argv0", "ARGV0", set_argv0, "the program's argv[0]"},
    {"r", "release", "UNAME", set_uname, "the release that uname reports"},
    {"cpu", "model", "CPU", set_cpu, "CPU model and extensions (-cpu help lists them)"},
    {"s", "size", "STACK_SIZE", set_stack, "size of the main thread's stack (k, M, G)"},
    {"B", "address", "GUEST_BASE", set_guest_base, "host address of guest address 0"},
    {"R", "size", "RESERVED_VA", set_reserved, "end of the guest's address space (k, M, G)"},
    {"p", "size", "PAGESIZE", set_page_size, "page size: 4096 is the only one"},
    {"d", "item,...", "LOG", set_log, "write these to the log (-d help lists them)"},
    {"D", "file", "LOG_FILENAME", set_log_file, "the log's file; %d is the process id"},
    {"strace", NULL, "STRACE", set_strace, "log system calls"},
    {"one-insn-per-tb", NULL, "ONE_INSN_PER_TB", set_one_insn, "a unit per guest instruction"},
    {"singlestep", NULL, "SINGLESTEP", set_one_insn, NULL},
    {"tb-size", "MiB", "TB_SIZE", set_tb_size, "size of the buffer for generated code (128)"},
    {"seed", "number", "RAND_SEED", set_seed, "make the random bytes the guest starts with fixed"},
    {"O", "list", "OPTIMISE", set_optimisations, "optimisations to switch (-O help lists them)"},
    {"jit", "host|interp", "JIT", set_jit, "generate host code, or interpret"},
    {"perfmap", NULL, "PERFMAP", set_perfmap, "write /tmp/perf-PID.map: names of code for perf"},
    {"jitdump", NULL, "JITDUMP", set_jitdump, "write jit-PID.dump: code for perf inject -j"},
    {"explain", "insn", NULL, set_explain, "show how one instruction (hex) is translated"},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void print_help(struct state *s, const char *name, const char *value)
{
    printf("usage: tinamou-%s [options] program [arguments...]\n"
           "Runs a Linux program for %s.\n\n"
           "%-24s %-24s %s\n",
           abi_target->name, abi_machine, "Option", "Variable", "");
    for (unsigned i = 0; i < ROWS; i++) {
        char option[64], variable[64] = "";
        snprintf(option, sizeof(option), "-%s%s%s", rows[i].name,
                 rows[i].argument != NULL ? " " : "",
                 rows[i].argument != NULL ? rows[i].argument : "");
        if (rows[i].variable != NULL) {
            snprintf(variable, sizeof(variable), "TINAMOU_%s", rows[i].variable);
        }
        printf("%-24s %-24s %s\n", option, variable,
               rows[i].help != NULL ? rows[i].help : "the same");
    }
    puts(
        "\nWhere TINAMOU_X is not set, QEMU_X is honoured. -opt value, --opt value and -opt=value\n"
        "are the same.");
    exit(0);
}

static const struct row *find_row(const char *name, size_t length)
{
    for (unsigned i = 0; i < ROWS; i++) {
        if (strlen(rows[i].name) == length && memcmp(rows[i].name, name, length) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void read_environment(struct state *s)
{
    static const char *const families[] = {"TINAMOU_", "QEMU_"};

    for (unsigned i = 0; i < ROWS; i++) {
        for (unsigned f = 0; f < 2 && rows[i].variable != NULL; f++) {
            char name[64];
            const char *value;
            snprintf(name, sizeof(name), "%s%s", families[f], rows[i].variable);
            value = getenv(name);
            if (value != NULL) {
                rows[i].set(s, name, value);
                break;
            }
        }
    }
}

/* Parses options up to the first word that is none; its index. */
static int read_command_line(struct state *s, int argc, char **argv)
{
    int i = 1;

    while (i < argc && argv[i][0] == '-' && argv[i][1] != 0) {
        const char *word = argv[i++] + 1, *equals, *value = NULL;
        const struct row *row;
        char shown[80];

        if (*word == '-') {
            word++;
        }
        if (*word == 0) {
            break; /* "--" ends the options */
        }
        row = find_row(word, strlen(word));
        equals = row == NULL ? strchr(word, '=') : NULL;
        if (equals != NULL) {
            row = find_row(word, (size_t)(equals - word));
            value = equals + 1;
        }
        if (row == NULL) {
            error_fatal("unknown option '%s' (-h lists them)", argv[i - 1]);
        }
        snprintf(shown, sizeof(shown), "-%s", row->name);
        if (row->argument == NULL && value != NULL) {
            error_fatal("%s takes no value", shown);
        }
        if (row->argument != NULL && value == NULL) {
            if (i == argc) {
                error_fatal("%s: expected %s", shown, row->argument);
            }
            value = argv[i++];
        }
        row->set(s, shown, value);
    }
    return i;
}

void options_parse(struct options *options, int argc, char **argv, char **envp, bool preserve_argv0)
{
    struct state s = {.options = options};
    int next;

    memset(options, 0, sizeof(*options));
    options->cpu_model = abi_default_model;
    options->jit = "host";
    while (envp[s.environment_count] != NULL) {
        s.environment_count++;
    }
    options->environment = malloc((s.environment_count + 1) * sizeof(char *));
    if (options->environment == NULL) {
        error_fatal("out of memory");
    }
    memcpy(options->environment, envp, (s.environment_count + 1) * sizeof(char *));
    read_environment(&s);
    next = read_command_line(&s, argc, argv);
    if (options->explain != NULL) {
        return;
    }
    if (next >= argc) {
        error_fatal("no program given (-h shows the usage)");
    }
    options->program = argv[next];
    options->arguments = &argv[next];
    if (preserve_argv0 && next + 1 < argc) {
        options->arguments = &argv[next + 1];
    }
    if (options->argv0 != NULL) {
        options->arguments[0] = (char *)options->argv0;
    }
}

struct words {
    const char *words[32];
    size_t count;
};

static void word(struct words *w, const char *text)
{
    w->words[w->count++] = text;
}

static void number(struct words *w, const char *option, uint64_t value)
{
    char *text;

    if (value != 0 && asprintf(&text, "0x%" PRIx64, value) > 0) {
        word(w, option);
        word(w, text);
    }
}

static void text(struct words *w, const char *option, const char *value)
{
    if (value != NULL) {
        word(w, option);
        word(w, value);
    }
}

const char *const *options_exec_prefix(const struct options *options, const char *prefix,
                                       size_t *count)
{
    static struct words w;
    char *name;

    w.count = 0;
    word(&w, asprintf(&name, "tinamou-%s", abi_target->name) > 0 ? name : "tinamou");
    text(&w, "-L", prefix);
    text(&w, "-cpu", options->cpu_model != abi_default_model ? options->cpu_model : NULL);
    text(&w, "-r", options->uname_release);
    text(&w, "-d", options->log_items);
    if (options->log_file != NULL) {
        /* A second process would truncate the first one's log. */
        const bool own = strstr(options->log_file, "%d") != NULL;
        text(&w, "-D",
             own || asprintf(&name, "%s.%%d", options->log_file) <= 0 ? options->log_file : name);
    }
    text(&w, "-O", options->optimisations);
    text(&w, "-jit", strcmp(options->jit, "host") != 0 ? options->jit : NULL);
    number(&w, "-B", options->guest_base);
    number(&w, "-R", options->reserved_va);
    number(&w, "-s", options->stack_size);
    if (options->seeded && asprintf(&name, "%" PRIu32, options->seed) > 0) {
        text(&w, "-seed", name);
    }
    if (options->tb_size && asprintf(&name, "%" PRIu32, options->tb_size) > 0) {
        text(&w, "-tb-size", name);
    }
    if (options->strace) {
        word(&w, "-strace");
    }
    if (options->one_insn) {
        word(&w, "-one-insn-per-tb");
    }
    if (options->perfmap) {
        word(&w, "-perfmap");
    }
    if (options->jitdump) {
        word(&w, "-jitdump");
    }
    *count = w.count;
    return w.words;
}
