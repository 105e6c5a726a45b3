/*
 * LUKS version 1 headers: key slots, the master key, and where the encrypted data begins. Used by
 * the luks format, and by qcow2, which keeps such a header in clusters of its own.
 *
 * Specification: "LUKS On-Disk Format Specification" 1.2.3.
 */
#ifndef TINAMOU_IO_BLOCK_LUKS_HEADER_H
#define TINAMOU_IO_BLOCK_LUKS_HEADER_H

#include "io/block/crypto.h"
#include "util/property.h"

#include <stdbool.h>

#define LUKS_SLOTS 8

struct luks_slot {
    bool active;
    uint32_t iterations, stripes;
    uint64_t key_offset; /* bytes from the header's beginning */
};

struct luks_info {
    struct crypto_spec spec;
    int hash; /* enum crypto_hash, of key slots and digest */
    char uuid[41];
    uint32_t master_iterations;
    uint64_t payload_offset; /* bytes from the header's beginning */
    struct luks_slot slot[LUKS_SLOTS];
};

/* How the header is read and written; offsets are from its beginning. 0 or -errno. */
struct luks_io {
    int (*read)(void *opaque, uint64_t offset, void *data, size_t size);
    int (*write)(void *opaque, uint64_t offset, const void *data, size_t size);
    int (*flush)(void *opaque); /* for luks_amend() */
    void *opaque;
};

struct luks_create_options {
    struct crypto_spec spec; /* what is used by default: aes-256, xts, plain64 */
    int hash;
    unsigned iter_time; /* milliseconds of one attempt at the password; 0: 2000 */
};

/* Does it begin like a LUKS header of version 1? */
bool luks_probe(const uint8_t *head, size_t size);

/*
 * Reads the header, which is hostile, and with a password (not NULL) unlocks the master key:
 * *crypto is the cipher of the data. -EINVAL: a header that is wrong; -EPERM: no slot has this
 * password; a line in error[] in any case. `who` is the image's name for it. Without a password
 * *crypto is NULL.
 */
int luks_open(const struct luks_io *io, const char *who, const uint8_t *password,
              size_t password_size, struct luks_info *info, struct crypto **crypto, char *error,
              size_t error_size);

/* What query-block and `img info` show of a header (luks.c); a new reference. */
struct json_t *luks_describe(const struct luks_info *info);

/* The bytes that a header with these options takes: where the data may begin, 4 KiB-aligned. */
uint64_t luks_header_size(const struct luks_create_options *options);
/* Writes a header with one key slot; *crypto (may be NULL) is the cipher of the data. */
int luks_create(const struct luks_io *io, const char *who,
                const struct luks_create_options *options, const uint8_t *password,
                size_t password_size, struct crypto **crypto, char *error, size_t error_size);

/* ---- key slots (luks-amend.c) ---- */

/* What is asked for: the options state, new-secret, old-secret, keyslot and iter-time. */
struct luks_amend {
    int state; /* LUKS_ACTIVE, LUKS_INACTIVE; -1: not given */
    char *new_secret, *old_secret;
    int64_t keyslot;    /* -1: not given */
    uint64_t iter_time; /* milliseconds; 0: not given */
};
enum { LUKS_ACTIVE, LUKS_INACTIVE };
extern const struct property luks_amend_properties[]; /* of struct luks_amend */

/*
 * Adds a password, or erases some. `key_secret` is the id of a secret that opens the image.
 * `force`: also over a slot that is active, and also the last one, which loses all data. On success
 * *info is new. 0 or -errno with a line in error[].
 */
int luks_amend(const struct luks_io *io, const char *who, const char *key_secret,
               const struct luks_amend *amend, bool force, struct luks_info *info, char *error,
               size_t error_size);

#endif
