/* What luks-header.c and luks-amend.c share. */
#ifndef TINAMOU_IO_BLOCK_LUKS_INTERNAL_H
#define TINAMOU_IO_BLOCK_LUKS_INTERNAL_H

#include "io/block/luks-header.h"

#define LUKS_HEADER_SIZE 592
#define LUKS_DIGEST_SIZE 20
#define LUKS_SALT_SIZE   32
#define LUKS_STRIPES     4000 /* of slots that are written */

/* The header with what luks_info does not show. */
struct luks_header {
    struct luks_info info;
    uint8_t digest[LUKS_DIGEST_SIZE], digest_salt[LUKS_SALT_SIZE];
    uint8_t slot_salt[LUKS_SLOTS][LUKS_SALT_SIZE];
};

/* Bytes of key material in whole sectors. */
size_t luks_material_size(size_t key_size, uint32_t stripes);

/* The header, which is hostile, checked. 0 or -errno with a line in error[]. */
int luks_read_header(const struct luks_io *io, const char *who, struct luks_header *h, char *error,
                     size_t error_size);
/* 0 or -errno of io. */
int luks_write_header(const struct luks_io *io, const struct luks_header *h);

/* The master key into key[CRYPTO_MAX_KEY], from the slot `number`, which is active. -EPERM: not
 * with this password. */
int luks_try_slot(const struct luks_io *io, const struct luks_header *h, unsigned number,
                  const uint8_t *password, size_t password_size, uint8_t *key, char *error,
                  size_t error_size);
/* From any slot; -EPERM or another -errno with a line in error[]. */
int luks_unlock(const struct luks_io *io, const char *who, const struct luks_header *h,
                const uint8_t *password, size_t password_size, uint8_t *key, char *error,
                size_t error_size);
/* Encrypts the master key for the password into a slot, whose place, iterations and salt are set.
 * The header is not written. */
int luks_write_slot(const struct luks_io *io, const struct luks_header *h, unsigned number,
                    const uint8_t *key, const uint8_t *password, size_t password_size, char *error,
                    size_t error_size);

#endif
