/*
 * What profilers are told of generated code: -perfmap and -jitdump. Private to accel/tcg.
 *
 * All with the lock held. Where neither file is open, each call is one test.
 */
#ifndef TINAMOU_ACCEL_TCG_PERF_H
#define TINAMOU_ACCEL_TCG_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tcg_unit;

/* Opens what tcg_config asks for. 0, or -errno with a line in error[]. */
int tcg_perf_init(char *error, size_t error_size);

/* Is a file open? */
bool tcg_perf_enabled(void);

/* A unit was put into the code buffer. */
void tcg_perf_unit(const struct tcg_unit *unit);

/* The thunks are in the first `size` bytes of the code buffer. */
void tcg_perf_thunks(uint32_t size);

/* The code buffer was emptied but for the thunks. */
void tcg_perf_reset(void);

/* In a fork child: files of its own, which begin with what it has inherited. */
void tcg_perf_fork_child(void);

#endif
