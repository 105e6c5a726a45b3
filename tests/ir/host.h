/*
 * Engines of this host: code as the CPU allows it, and code for a CPU without any extension of
 * x86-64.
 */
#ifndef TINAMOU_TESTS_IR_HOST_H
#define TINAMOU_TESTS_IR_HOST_H

#include <errno.h>
#include <unistd.h>
#include "jit/x86_64/features.h"
#include "tests/ir/target.h"

int test_run_host(const struct ir_unit *unit, struct test_state *state, struct interp_exit *exit);
int test_run_baseline(const struct ir_unit *unit, struct test_state *state,
                      struct interp_exit *exit);

#endif
