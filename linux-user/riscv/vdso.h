/*
 * The vDSO's image, for tests.
 */
#ifndef TINAMOU_LINUX_USER_RISCV_VDSO_H
#define TINAMOU_LINUX_USER_RISCV_VDSO_H

#include <stddef.h>

const void *riscv_vdso_image(size_t *size);

#endif
