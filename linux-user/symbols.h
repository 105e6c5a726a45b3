/*
 * Names of guest functions, from the symbol tables of the ELF files that are mapped: for -perfmap
 * and -jitdump. Nothing is read until the first address is asked for.
 *
 * Neither function locks: the translator calls both under its own lock.
 */
#ifndef TINAMOU_LINUX_USER_SYMBOLS_H
#define TINAMOU_LINUX_USER_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

/* The function that contains the guest address, and how far behind its start the address is; NULL
 * if none is known. The name stays valid for the life of the process. */
const char *symbols_find(uint64_t pc, uint64_t *offset);

/* What is mapped in [start, end) has changed: it is looked at again when asked for. */
void symbols_forget(uint64_t start, uint64_t end);

#endif
