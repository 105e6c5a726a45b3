/* The system emulator: from a command line to an exit status. */
#ifndef TINAMOU_SYSTEM_SYSTEM_H
#define TINAMOU_SYSTEM_SYSTEM_H

#include "system/options.h"

/* The whole life of the process; what main() of a program for one target calls. */
int system_main(const struct system_target *target, int argc, char **argv);

#endif
