/*
 * Finding firmware: the path as given, then -L's folders, then those of Debian's packages. QEMU's
 * package has OpenSBI under another name than OpenSBI's own, so names have second ones.
 */
#include "system/firmware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const folders[] = {"/usr/local/share/qemu", "/usr/share/qemu",
                                      "/usr/share/qemu-firmware"};

/* What else is as good as a file that is not there. */
static const struct {
    const char *name, *path;
} others[] = {
    {"opensbi-riscv64-generic-fw_dynamic.bin",
     "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"},
};

static const struct option_list *given;

void firmware_set_folders(const struct option_list *list)
{
    given = list;
}

static char *in_folder(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        return NULL;
    }
    if (access(path, F_OK) != 0) {
        free(path);
        return NULL;
    }
    return path;
}

char *firmware_find(const char *name)
{
    char *path = NULL;

    if (access(name, F_OK) == 0) {
        return strdup(name);
    }
    if (strchr(name, '/')) {
        return NULL;
    }
    for (unsigned i = 0; given && i < given->count && !path; i++) {
        path = in_folder(given->text[i], name);
    }
    for (unsigned i = 0; i < sizeof(folders) / sizeof(folders[0]) && !path; i++) {
        path = in_folder(folders[i], name);
    }
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]) && !path; i++) {
        if (strcmp(others[i].name, name) == 0 && access(others[i].path, F_OK) == 0) {
            path = strdup(others[i].path);
        }
    }
    return path;
}
