/*
 * Clocks of the event loop. The real-time clock is the host's monotonic one, the host clock its
 * wall clock; the virtual clock is the guest's time, which stands still while the VM is stopped.
 */
#ifndef TINAMOU_IO_LOOP_CLOCK_H
#define TINAMOU_IO_LOOP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

enum loop_clock { LOOP_CLOCK_REALTIME, LOOP_CLOCK_VIRTUAL, LOOP_CLOCK_HOST, LOOP_CLOCK_COUNT };

#define LOOP_NEVER INT64_MAX /* a deadline that does not come */

/*
 * Nanoseconds: since some time in the past, of guest time, or since 1970. REALTIME and VIRTUAL
 * never go back. Any thread, without a lock.
 */
int64_t loop_clock_now(enum loop_clock clock);

/*
 * Stops or continues the virtual clock, which is stopped at 0 when the process starts. Timers on it
 * do not fire while it is stopped. Under the machine lock (or before there are threads).
 */
void loop_clock_run(bool run);

/* Is the virtual clock going? Any thread. */
bool loop_clock_is_running(void);

/* Sets the virtual clock, for loading a saved state. Only while it is stopped. */
void loop_clock_set_virtual(int64_t now);

#endif
