/*
 * tinamou-img: makes, looks at, checks, converts and changes disk images. Commands and options are
 * those of qemu-img, and some more.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "build/config.h"
#include "tools/img/img.h"
#include "util/error.h"

static const struct img_command *const commands[] = {
    &img_amend,   &img_bench,  &img_bitmap, &img_check,    &img_commit, &img_compare,
    &img_convert, &img_create, &img_dd,     &img_diff,     &img_info,   &img_map,
    &img_measure, &img_rebase, &img_resize, &img_snapshot, NULL,
};

static void help(void)
{
    printf("Usage: tinamou-img [-h | --help] [-V | --version] COMMAND [options]\n"
           "Disk images: the commands and options of qemu-img, and some more.\n\nCommands:\n");
    for (const struct img_command *const *c = commands; *c; c++) {
        img_command_usage(*c);
    }
    printf("\nFormats:");
    for (const struct block_driver *const *d = block_drivers; *d; d++) {
        printf(" %s", (*d)->name);
    }
    printf("\n\nSizes are bytes, or have one of the suffixes k, M, G, T, P, E. man tinamou-img says"
           " more.\n");
}

int main(int argc, char **argv)
{
    int status;

    error_set_program("tinamou-img");
    /* A write behind the limit of files is an error, which has a message. */
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        return img_fail("a command is expected; tinamou-img --help lists them");
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        help();
        return 0;
    }
    if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("tinamou-img version %s\n", CONFIG_VERSION);
        return 0;
    }
    for (const struct img_command *const *c = commands; *c; c++) {
        if (strcmp(argv[1], (*c)->name) == 0) {
            status = img_command_run(*c, argc - 2, argv + 2);
            block_finish();
            return fflush(stdout) ? img_fail("writing the output failed") : status;
        }
    }
    return img_fail("Command not found: %s; tinamou-img --help lists what there is", argv[1]);
}
