/*
 * CPU models: a name and switches, such as "rv64gc,zba=on", to a set of extensions.
 */
#ifndef TINAMOU_TARGET_RISCV_MODEL_H
#define TINAMOU_TARGET_RISCV_MODEL_H

#include <stddef.h>
#include "target/riscv/cpu.h"

/*
 * Reads "MODEL[,EXT=on|off|true|false]..." into *set. An empty model is the default one. Properties
 * of QEMU's vCPUs that have one value here (h=off) are taken with that. Switching
 * an extension on brings what it needs, switching one off takes away what needs it, unless that was
 * asked for in the same text. Returns 0, or -EINVAL with a one-line message in error[].
 */
int rv_model_parse(struct rv_ext_set *set, const char *spec, char *error, size_t error_size);

/* The same for full-system emulation: models have their privileged extensions. */
int rv_model_parse_system(struct rv_ext_set *set, const char *spec, char *error, size_t error_size);

/*
 * The extensions of a set in the canonical order of the manual's naming conventions: as text for
 * the device tree's riscv,isa ("rv64imafdc_zicsr_..."), and one name after the other, each with its
 * NUL, for riscv,isa-extensions. Both return the bytes needed, NULs included, and write no more
 * than `size`; the first ends what it has written with a NUL.
 */
size_t rv_model_isa(const struct rv_ext_set *set, char *text, size_t size);
size_t rv_model_isa_list(const struct rv_ext_set *set, char *list, size_t size);

/* The device tree's mmu-type: "riscv,sv57" for the largest format, "riscv,none" for none. */
const char *rv_model_mmu_type(const struct rv_ext_set *set);

/* A line for each model and extension. */
void rv_model_list(void (*line)(void *opaque, const char *text), void *opaque);

/* The name and help of an extension, as in extensions.def. */
const char *rv_ext_name(enum rv_ext ext);

static inline void rv_ext_add(struct rv_ext_set *set, enum rv_ext ext)
{
    set->bits[ext / 64] |= UINT64_C(1) << (ext % 64);
}

static inline void rv_ext_remove(struct rv_ext_set *set, enum rv_ext ext)
{
    set->bits[ext / 64] &= ~(UINT64_C(1) << (ext % 64));
}

#endif
