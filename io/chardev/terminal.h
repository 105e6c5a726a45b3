/*
 * The terminal that the process was started from: raw while a chardev uses it, and given back as it
 * was however the process stops.
 */
#ifndef TINAMOU_IO_CHARDEV_TERMINAL_H
#define TINAMOU_IO_CHARDEV_TERMINAL_H

#include <stdbool.h>

/* Makes it raw; with `signals`, Ctrl-C and the like still send signals. Nothing if fd is no
 * terminal. Once in the process at a time. */
void terminal_set_raw(int fd, bool signals);

#endif
