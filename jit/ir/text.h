/*
 * The text form of the IR: what `-d op` prints, and what file tests read. docs/ir.md has the
 * grammar.
 */
#ifndef TINAMOU_JIT_IR_TEXT_H
#define TINAMOU_JIT_IR_TEXT_H

#include <stddef.h>
#include "jit/ir/ir.h"

/* Prints the unit, one op a line, to write(opaque, text, length). */
void ir_print(const struct ir_unit *unit,
              void (*write)(void *opaque, const char *text, size_t length), void *opaque);

/* Reads a unit back. `text` ends with NUL. Globals and helpers are named as in target. Returns 0,
 * or -EINVAL with a message "line N: ..." in error[]. */
int ir_parse(struct ir_unit *unit, const struct ir_target *target, const char *text, char *error,
             size_t error_size);

#endif
