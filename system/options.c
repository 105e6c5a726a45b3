/* The command line: finding rows, and help. The rows are in options-AREA.c. */
#include "system/options.h"

#include "util/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512

static const struct {
    const char *title;
    const struct option_row *rows;
} areas[] = {
    {"Machine", options_machine_rows},
    {"Start", options_boot_rows},
    {"Disks, networks, terminals", options_host_rows},
    {"Running", options_run_rows},
    {"Rights", options_confine_rows},
};

void options_append(struct option_list *list, const char *text)
{
    const char **texts = realloc(list->text, (list->count + 1) * sizeof(*texts));

    if (!texts) {
        error_fatal("out of memory");
    }
    list->text = texts;
    texts[list->count++] = text;
}

void options_keyval(struct keyval *list, const char *name, const char *value, const char *implied)
{
    char error[LINE_MAX_BYTES];

    if (keyval_parse(list, name, value, implied, error, sizeof(error))) {
        error_fatal("%s", error);
    }
}

bool options_is_help(const char *value)
{
    return strcmp(value, "help") == 0 || strcmp(value, "?") == 0;
}

static void print_help(void)
{
    printf("usage: %s [options] [disk image]\n", error_program());
    for (unsigned a = 0; a < sizeof(areas) / sizeof(areas[0]); a++) {
        printf("\n%s\n", areas[a].title);
        for (const struct option_row *row = areas[a].rows; row->name; row++) {
            char head[64];

            snprintf(head, sizeof(head), "-%s%s%s", row->name, row->argument ? " " : "",
                     row->argument ? row->argument : "");
            printf("%-30s %s\n", head, row->help);
        }
    }
}

static const struct option_row *find(const char *name)
{
    for (unsigned a = 0; a < sizeof(areas) / sizeof(areas[0]); a++) {
        for (const struct option_row *row = areas[a].rows; row->name; row++) {
            if (strcmp(row->name, name) == 0) {
                return row;
            }
        }
    }
    return NULL;
}

void options_parse(struct system_options *options, const struct system_target *target, int argc,
                   char **argv)
{
    *options = (struct system_options){.target = target};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        const struct option_row *row;

        if (name[0] != '-' || name[1] == 0) {
            /* A bare word is the first disk. */
            find("hda")->set(options, "disk image", name);
            continue;
        }
        name += name[1] == '-' ? 2 : 1;
        if (strcmp(name, "h") == 0 || strcmp(name, "help") == 0) {
            print_help();
            exit(0);
        }
        row = find(name);
        if (!row) {
            error_fatal("%s: invalid option", argv[i]);
        }
        if (row->argument && i + 1 == argc) {
            error_fatal("%s: requires an argument", argv[i]);
        }
        row->set(options, argv[i], row->argument ? argv[i + 1] : NULL);
        i += row->argument != NULL;
    }
}
