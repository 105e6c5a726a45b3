/* Where firmware files are. */
#ifndef TINAMOU_SYSTEM_FIRMWARE_H
#define TINAMOU_SYSTEM_FIRMWARE_H

#include "system/options.h"

/* Folders of -L, which are searched first; the list lives as long. */
void firmware_set_folders(const struct option_list *folders);

/* The file of that path, or of that base name in the folders: malloc'ed, or NULL. */
char *firmware_find(const char *name);

#endif
