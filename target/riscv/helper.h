/*
 * Numbers of the helpers in helpers.def, and the table that tells the translator about them.
 */
#ifndef TINAMOU_TARGET_RISCV_HELPER_H
#define TINAMOU_TARGET_RISCV_HELPER_H

#include "jit/ir/ir.h"

enum rv_helper {
#define HELPER3(id, ...) RV_HELPER_##id##_s, RV_HELPER_##id##_d, RV_HELPER_##id##_h,
#define HELPER(id, ...)  RV_HELPER_##id,
#include "target/riscv/helpers.def"
    RV_HELPER_COUNT
};

extern const struct ir_helper rv_helpers[RV_HELPER_COUNT];

#endif
