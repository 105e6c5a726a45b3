/* What the files of io/loop share. */
#ifndef TINAMOU_IO_LOOP_INTERNAL_H
#define TINAMOU_IO_LOOP_INTERNAL_H

#include "io/loop/clock.h"
#include "io/loop/loop.h"

struct loop_timers; /* the armed timers of a loop, with their timerfds */

/* The timers of a new loop; NULL when the host refuses. */
struct loop_timers *loop_timers_create(struct loop *loop);

/* No timer is armed any more. */
void loop_timers_destroy(struct loop_timers *timers);

struct loop_timers *loop_timers_of(struct loop *loop);

/* The virtual clock has been stopped, started or set: deadlines mean other host times now. */
void loop_timers_clock_changed(void);

/* When a deadline comes in the time of the host's clock (wall clock for HOST, else monotonic). */
int64_t loop_clock_host_deadline(enum loop_clock clock, int64_t deadline);

#endif
