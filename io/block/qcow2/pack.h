/* Packing and unpacking of one cluster's bytes. Any thread. */
#ifndef TINAMOU_IO_BLOCK_QCOW2_PACK_H
#define TINAMOU_IO_BLOCK_QCOW2_PACK_H

#include <stddef.h>
#include <stdint.h>

#include "io/block/qcow2/header.h"

/*
 * Packs `size` bytes into `out`, which has room for one less. Sets `packed` to the bytes used, 0 if
 * they would not be fewer than `size`. -ENOMEM.
 */
int qcow2_pack(uint32_t compression, const uint8_t *in, size_t size, uint8_t *out, size_t *packed);
/*
 * Unpacks `in` until `out` is full; what is behind that does not matter. -EIO: not such a stream,
 * or it is too short. -ENOMEM.
 */
int qcow2_unpack(uint32_t compression, const uint8_t *in, size_t in_size, uint8_t *out,
                 size_t out_size);

#endif
