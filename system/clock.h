/* The clock of targets, accelerators and devices (cpu/clock.h), over the event loop's. */
#ifndef TINAMOU_SYSTEM_CLOCK_H
#define TINAMOU_SYSTEM_CLOCK_H

#include "cpu/clock.h"

struct loop;

/* The clock source whose timers fire on this loop, which outlives them. Once. */
struct cpu_clock_source *clock_source(struct loop *loop);

#endif
